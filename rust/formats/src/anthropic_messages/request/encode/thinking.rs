//! How much the model thinks: newer models are told how hard, older ones how many tokens.

use fairlead_ir::request::{Effort, Show};
use fairlead_ir::{Param, Severity, Text};

use super::Job;
use super::calling::Calling;
use super::conversation::{Message, Speaker, is_thoughtless_loop};
use crate::anthropic_messages::wire::remainder;
use crate::write::Object;

/// OpenRouter's documented bounds of a budget: Anthropic refuses less than the first.
const LEAST_BUDGET_TOKENS: u64 = 1024;
const MOST_BUDGET_TOKENS: u64 = 128_000;

/// Steps of `output_config.effort`, where the model's own are not known.
const EFFORTS: [Effort; 5] = [Effort::Low, Effort::Medium, Effort::High, Effort::Xhigh, Effort::Max];

/// What is said about thinking.
pub(super) struct Thinking {
    mode: Mode,
    /// `output_config.effort`.
    pub(super) effort: Option<Effort>,
    display: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Unsaid,
    Off,
    Budget(u64),
    Adaptive,
}

impl Thinking {
    /// Whether the model thinks because of it.
    pub(super) fn is_on(&self) -> bool {
        matches!(self.mode, Mode::Budget(_) | Mode::Adaptive)
    }

    /// Writes the member `thinking`.
    pub(super) fn write(&self, job: &Job<'_, '_>, body: &mut Object<'_>) {
        let carried = remainder::of(job.request, job.own, "thinking");
        if self.mode == Mode::Unsaid && carried.is_none() {
            return;
        }
        body.object("thinking", |thinking| {
            match self.mode {
                // A type that nobody else knows.
                _ if remainder::has(carried, "type") => {}
                Mode::Unsaid => {}
                Mode::Off => {
                    thinking.text("type", "disabled");
                }
                Mode::Budget(tokens) => {
                    thinking.text("type", "enabled").number("budget_tokens", tokens);
                }
                Mode::Adaptive => {
                    thinking.text("type", "adaptive");
                }
            }
            thinking.optional_text("display", self.display);
            if self.is_on() && job.target.traits.block_binding && !job.own {
                // What a translation changes before a thought makes the thought invalid: better dropped than refused.
                thinking.raw("block_binding", br#"{"prefix_mismatch_behavior":"drop_block"}"#);
            }
            remainder::write(carried, thinking);
        });
    }
}

/// Whether the caller wants thoughts, or the model thinks anyway.
pub(super) fn is_wanted(job: &Job<'_, '_>) -> bool {
    job.target.traits.always_thinking || wants(job) == Some(true)
}

/// On, off, or nothing said. A caller of this dialect says `effort` of all its tokens, not of thoughts alone.
fn wants(job: &Job<'_, '_>) -> Option<bool> {
    let reasoning = &job.request.reasoning;
    match (reasoning.enabled, reasoning.budget_tokens, reasoning.effort) {
        (Some(enabled), ..) => Some(enabled),
        (None, Some(_), _) => Some(true),
        (None, None, Some(effort)) if !job.own => Some(effort != Effort::None),
        _ => None,
    }
}

/// The parameter that says so.
fn said(job: &Job<'_, '_>) -> Param {
    let reasoning = &job.request.reasoning;
    match (reasoning.enabled, reasoning.budget_tokens) {
        (Some(_), _) => Param::ReasoningEnabled,
        (None, Some(_)) => Param::ReasoningBudget,
        (None, None) => Param::Effort,
    }
}

/// Decides, given the output limit and the rest of the request.
pub(super) fn plan(job: &mut Job<'_, '_>, limit: u64, calling: &Calling<'_>, messages: &[Message<'_>]) -> Thinking {
    let mut thinking = Thinking { mode: Mode::Unsaid, effort: None, display: None };
    match wants(job) {
        Some(true) => match hindrance(job, calling, messages) {
            Some(reason) => {
                job.lose(said(job), Severity::Changed, reason);
                thinking.mode = Mode::Off;
            }
            None => switch_on(job, limit, &mut thinking),
        },
        Some(false) if job.target.traits.always_thinking => {
            job.lose(said(job), Severity::Changed, "the model always thinks; it was asked to think as little as it can");
            thinking.mode = Mode::Adaptive;
            thinking.effort = efforts(job).first().copied();
        }
        Some(false) => thinking.mode = Mode::Off,
        None => {}
    }
    if job.own && !thinking.is_on() {
        set_effort_alone(job, &mut thinking);
    }
    if let Some(verbosity) = &job.request.output.verbosity {
        set_verbosity(job, verbosity, &mut thinking);
    }
    thinking.display = display(job, &thinking);
    thinking
}

/// Why a model that could think cannot in this request. One that always thinks is not asked.
fn hindrance(job: &Job<'_, '_>, calling: &Calling<'_>, messages: &[Message<'_>]) -> Option<&'static str> {
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

fn switch_on(job: &mut Job<'_, '_>, limit: u64, thinking: &mut Thinking) {
    if job.target.traits.adaptive_thinking || job.target.traits.always_thinking {
        thinking.mode = Mode::Adaptive;
        thinking.effort = adaptive_effort(job, limit);
        return;
    }
    thinking.mode = match budget(job, limit) {
        Some(tokens) => Mode::Budget(tokens),
        None => {
            job.lose(said(job), Severity::Dropped, "the output limit leaves no room for the least budget of thoughts");
            Mode::Off
        }
    };
    if job.own && !job.target.efforts.is_empty() {
        thinking.effort = job.request.reasoning.effort.and_then(|effort| nearest(job, effort));
    }
}

fn adaptive_effort(job: &mut Job<'_, '_>, limit: u64) -> Option<Effort> {
    let reasoning = job.request.reasoning;
    match (reasoning.effort.filter(|effort| *effort != Effort::None), reasoning.budget_tokens) {
        (Some(effort), _) => nearest(job, effort),
        (None, Some(tokens)) => {
            job.lose(
                Param::ReasoningBudget,
                Severity::Changed,
                "the model is told how hard to think, not how much; the budget became an effort",
            );
            let share = tokens.saturating_mul(1000) / limit.max(1);
            efforts(job).into_iter().min_by_key(|effort| effort.budget_per_mille().abs_diff(share))
        }
        (None, None) => None,
    }
}

fn budget(job: &mut Job<'_, '_>, limit: u64) -> Option<u64> {
    let most = limit.checked_sub(1).filter(|most| *most >= LEAST_BUDGET_TOKENS)?;
    let reasoning = job.request.reasoning;
    if let Some(wish) = reasoning.budget_tokens {
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
    let effort = reasoning.effort.filter(|effort| *effort != Effort::None);
    if effort.is_some() {
        job.lose(Param::Effort, Severity::Hint, "the model is told how much to think; the effort became a share of the output limit");
    }
    let wish = u128::from(limit) * u128::from(effort.unwrap_or(Effort::Medium).budget_per_mille()) / 1000;
    let wish = u64::try_from(wish).unwrap_or(u64::MAX);
    Some(wish.clamp(LEAST_BUDGET_TOKENS, MOST_BUDGET_TOKENS))
}

/// This dialect's effort is of all tokens, thoughts or none.
fn set_effort_alone(job: &mut Job<'_, '_>, thinking: &mut Thinking) {
    match job.request.reasoning.effort {
        Some(effort) if knows_effort(job) => thinking.effort = nearest(job, effort),
        Some(_) => job.lose(Param::Effort, Severity::Dropped, "the model does not know effort"),
        None => {}
    }
}

/// How much the caller wants to read: OpenRouter takes it for an effort where none is said.
fn set_verbosity(job: &mut Job<'_, '_>, verbosity: &Text<'_>, thinking: &mut Thinking) {
    let effort = Effort::from_word(verbosity.as_bytes()).filter(|effort| knows_effort(job) && efforts(job).contains(effort));
    match effort {
        Some(_) if thinking.effort.is_none() => {
            thinking.effort = effort;
            job.lose(Param::Verbosity, Severity::Changed, "the nearest thing the model knows is effort");
        }
        _ => job.lose(Param::Verbosity, Severity::Dropped, "the model does not know verbosity"),
    }
}

fn knows_effort(job: &Job<'_, '_>) -> bool {
    job.target.traits.adaptive_thinking || !job.target.efforts.is_empty()
}

fn nearest(job: &mut Job<'_, '_>, effort: Effort) -> Option<Effort> {
    let nearest = effort.nearest(&efforts(job))?;
    if nearest != effort {
        job.lose(Param::Effort, Severity::Changed, "the model does not know this step; the nearest was sent");
    }
    Some(nearest)
}

/// The steps of effort that can be sent.
fn efforts(job: &Job<'_, '_>) -> Vec<Effort> {
    let own: Vec<Effort> = job.target.efforts.iter().copied().filter(|effort| *effort != Effort::None).collect();
    if own.is_empty() { EFFORTS.to_vec() } else { own }
}

/// Newer models show nothing unless asked. Older ones always show, and are not asked by callers of other dialects.
fn display(job: &Job<'_, '_>, thinking: &Thinking) -> Option<&'static str> {
    let show = job.request.reasoning.show;
    match (show, thinking.mode) {
        (_, Mode::Off | Mode::Unsaid) => None,
        (None, _) if job.own => None,
        (_, Mode::Budget(_)) if !job.own => None,
        (Some(Show::Nothing), _) => Some("omitted"),
        _ => Some("summarized"),
    }
}
