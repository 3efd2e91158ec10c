//! How much a model thinks: newer ones are told how hard, older ones how many tokens.

use fairlead_ir::request::Effort;
use fairlead_ir::{Param, Severity};

use super::Job;
use super::calling::Calling;
use super::message::{Message, Piece, Speaker, is_thoughtless_loop};
use crate::write::Object;

/// OpenRouter's documented bounds of a budget: Claude refuses less than the first.
const LEAST_BUDGET_TOKENS: u64 = 1024;
const MOST_BUDGET_TOKENS: u64 = 128_000;

/// The output limit that an effort is a share of, where neither caller nor catalogue says one: without a limit the model's own counts, and
/// every model that thinks writes about as much.
const USUAL_OUTPUT_TOKENS: u64 = 32_000;

/// Steps of effort that Messages and Converse have words for, where the model's own are not known.
const CLAUDE_EFFORTS: [Effort; 5] = [Effort::Low, Effort::Medium, Effort::High, Effort::Xhigh, Effort::Max];

/// Steps of OpenAI's effort that a budget can become, whatever the model's own are.
pub(crate) const OPENAI_EFFORTS: [Effort; 5] = [Effort::Minimal, Effort::Low, Effort::Medium, Effort::High, Effort::Xhigh];

/// What Claude is told about thinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Unsaid,
    Off,
    Budget(u64),
    Adaptive,
}

impl Mode {
    /// Whether the model thinks because of it.
    pub(crate) fn is_on(self) -> bool {
        matches!(self, Mode::Budget(_) | Mode::Adaptive)
    }

    /// Writes the first members of `thinking`.
    pub(crate) fn write(self, thinking: &mut Object<'_>) {
        match self {
            Mode::Unsaid => thinking,
            Mode::Off => thinking.text("type", "disabled"),
            Mode::Budget(tokens) => thinking.text("type", "enabled").number("budget_tokens", tokens),
            Mode::Adaptive => thinking.text("type", "adaptive"),
        };
    }
}

/// What a translation changes before a thought makes the thought invalid: better dropped than refused.
pub(crate) fn write_binding(thinking: &mut Object<'_>) {
    thinking.raw("block_binding", br#"{"prefix_mismatch_behavior":"drop_block"}"#);
}

/// Whether the caller wants thoughts, or the model thinks anyway.
pub(crate) fn is_wanted(job: &Job<'_, '_>) -> bool {
    job.target.traits.always_thinking || wants(job) == Some(true)
}

/// On, off, or nothing said. A caller of Claude's dialects says `effort` of all its tokens, not of thoughts alone.
pub(crate) fn wants(job: &Job<'_, '_>) -> Option<bool> {
    let reasoning = &job.request.reasoning;
    match (reasoning.enabled, reasoning.budget_tokens, reasoning.effort) {
        (Some(enabled), ..) => Some(enabled),
        (None, Some(_), _) => Some(true),
        (None, None, Some(effort)) if !job.own => Some(effort != Effort::None),
        _ => None,
    }
}

/// Why a model that could think cannot in this request. One that always thinks is not asked.
pub(crate) fn hindrance<P: Piece>(job: &Job<'_, '_>, calling: &Calling<'_>, messages: &[Message<'_, P>]) -> Option<&'static str> {
    let traits = &job.target.traits;
    if traits.always_thinking {
        return None;
    }
    if calling.is_forced() {
        return Some("the model cannot think when it must call a tool; thinking was switched off");
    }
    if messages.last().is_some_and(|message| message.speaker == Speaker::Assistant) {
        return Some("the model cannot think when it continues its own message; thinking was switched off");
    }
    if !traits.adaptive_thinking && is_thoughtless_loop(messages) {
        return Some("the thought before the tool call is not in the conversation; thinking was switched off until it ends");
    }
    None
}

/// The budget below the output limit `limit`; `None` when it leaves no room for the least one.
pub(crate) fn budget(job: &mut Job<'_, '_>, limit: Option<u64>) -> Option<u64> {
    let most = match limit {
        Some(limit) => limit.checked_sub(1).filter(|most| *most >= LEAST_BUDGET_TOKENS)?,
        None => MOST_BUDGET_TOKENS,
    };
    if let Some(wish) = job.request.reasoning.budget_tokens {
        let tokens = wish.clamp(LEAST_BUDGET_TOKENS, most);
        if tokens != wish {
            job.lose(
                Param::ReasoningBudget,
                Severity::Changed,
                "a budget is at least 1024 tokens and less than the output limit; the nearest was sent",
            );
        }
        return Some(tokens);
    }
    let effort = said_effort(job);
    if effort.is_some() {
        job.lose(Param::Effort, Severity::Hint, "the model is told how much to think; the effort became a share of the output limit");
    }
    let share = u128::from(effort.unwrap_or(Effort::Medium).budget_per_mille());
    let wish = u128::from(limit.unwrap_or(USUAL_OUTPUT_TOKENS)) * share / 1000;
    let wish = u64::try_from(wish).unwrap_or(u64::MAX);
    Some(wish.clamp(LEAST_BUDGET_TOKENS, MOST_BUDGET_TOKENS).min(most))
}

/// The step for a model that is told how hard to think, if the caller says how much.
pub(crate) fn effort(job: &mut Job<'_, '_>, limit: Option<u64>) -> Option<Effort> {
    match (said_effort(job), job.request.reasoning.budget_tokens) {
        (Some(effort), _) => nearest(job, effort),
        (None, Some(tokens)) => {
            job.lose(
                Param::ReasoningBudget,
                Severity::Changed,
                "the model is told how hard to think, not how much; the budget became an effort",
            );
            effort_of_budget(tokens, limit, &steps(job))
        }
        (None, None) => None,
    }
}

fn said_effort(job: &Job<'_, '_>) -> Option<Effort> {
    job.request.reasoning.effort.filter(|effort| *effort != Effort::None)
}

/// The steps of effort that can be sent.
pub(crate) fn steps(job: &Job<'_, '_>) -> Vec<Effort> {
    let known: Vec<Effort> = job.target.efforts.iter().copied().filter(|effort| *effort != Effort::None).collect();
    if known.is_empty() { CLAUDE_EFFORTS.to_vec() } else { known }
}

/// The step that is nearest to an effort.
pub(crate) fn nearest(job: &mut Job<'_, '_>, effort: Effort) -> Option<Effort> {
    let nearest = effort.nearest(&steps(job))?;
    if nearest != effort {
        job.lose(Param::Effort, Severity::Changed, "the model does not know this step; the nearest was sent");
    }
    Some(nearest)
}

/// The step whose share of the output limit is nearest to a budget.
pub(crate) fn effort_of_budget(budget_tokens: u64, limit: Option<u64>, steps: &[Effort]) -> Option<Effort> {
    let share = budget_tokens.saturating_mul(1000) / limit.unwrap_or(USUAL_OUTPUT_TOKENS).max(1);
    steps.iter().copied().min_by_key(|step| step.budget_per_mille().abs_diff(share))
}
