//! How much the model thinks. `outputConfig.effort` is Converse's own word for it; Claude's `thinking` goes to the model as it is.

use fairlead_ir::request::{Effort, Show};
use fairlead_ir::{Param, Severity};

use super::Job;
use super::calling::Calling;
use super::conversation::{Message, Speaker, is_thoughtless_loop};
use crate::write::Object;

/// OpenRouter's documented bounds of a budget: Claude refuses less than the first.
const LEAST_BUDGET_TOKENS: u64 = 1024;
const MOST_BUDGET_TOKENS: u64 = 128_000;

/// The output limit that an effort is a share of, where neither caller nor catalogue says one: without a limit the model's own counts, and
/// every Claude that thinks writes at least twice as much.
const USUAL_OUTPUT_TOKENS: u64 = 32_000;

/// The beta that knows `block_binding`; Converse takes betas in the body.
const BINDING_BETA: &[u8] = br#"["thinking-binding-controls-2026-08-01"]"#;

/// What is said about thinking.
pub(super) struct Thinking {
    mode: Mode,
    /// `outputConfig.effort`.
    pub(super) effort: Option<Effort>,
    display: Option<&'static str>,
    /// Ask for thoughts that do not fit their prefix to be dropped, not refused.
    drop_unbound: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Unsaid,
    Off,
    Budget(u64),
    Adaptive,
}

impl Thinking {
    /// Whether Claude thinks because of it.
    pub(super) fn is_on(&self) -> bool {
        matches!(self.mode, Mode::Budget(_) | Mode::Adaptive)
    }

    /// Whether there is anything to write.
    pub(super) fn is_said(&self) -> bool {
        self.mode != Mode::Unsaid
    }

    /// Writes what goes to the model as it is.
    pub(super) fn write(&self, fields: &mut Object<'_>) {
        if !self.is_said() {
            return;
        }
        fields.object("thinking", |thinking| {
            match self.mode {
                Mode::Unsaid | Mode::Off => thinking.text("type", "disabled"),
                Mode::Budget(tokens) => thinking.text("type", "enabled").number("budget_tokens", tokens),
                Mode::Adaptive => thinking.text("type", "adaptive"),
            };
            thinking.optional_text("display", self.display);
            if self.drop_unbound {
                // What a translation changes before a thought makes the thought invalid: better dropped than refused.
                thinking.raw("block_binding", br#"{"prefix_mismatch_behavior":"drop_block"}"#);
            }
        });
        if self.drop_unbound {
            fields.raw("anthropic_beta", BINDING_BETA);
        }
    }
}

/// Whether the caller wants thoughts, or the model thinks anyway.
pub(super) fn is_wanted(job: &Job<'_, '_>) -> bool {
    job.target.traits.always_thinking || wants(job) == Some(true)
}

/// On, off, or nothing said.
fn wants(job: &Job<'_, '_>) -> Option<bool> {
    let reasoning = &job.request.reasoning;
    match (reasoning.enabled, reasoning.budget_tokens, reasoning.effort) {
        (Some(enabled), ..) => Some(enabled),
        (None, Some(_), _) => Some(true),
        (None, None, Some(effort)) => Some(effort != Effort::None),
        (None, None, None) => None,
    }
}

/// Whether the model takes Claude's `thinking`.
fn takes_thinking(job: &Job<'_, '_>) -> bool {
    let traits = &job.target.traits;
    traits.adaptive_thinking || traits.always_thinking || traits.budget_thinking
}

/// Decides, given the rest of the request.
pub(super) fn plan(job: &mut Job<'_, '_>, calling: &Calling<'_>, messages: &[Message<'_>]) -> Thinking {
    if job.own {
        return as_it_came(job);
    }
    let mut thinking = Thinking { mode: Mode::Unsaid, effort: None, display: None, drop_unbound: false };
    match wants(job) {
        None => {}
        Some(_) if !takes_thinking(job) => thinking.effort = effort_alone(job),
        Some(true) => match hindrance(job, calling, messages) {
            Some(reason) => {
                job.lose(Param::ReasoningEnabled, Severity::Changed, reason);
                thinking.mode = Mode::Off;
            }
            None => switch_on(job, &mut thinking),
        },
        Some(false) if job.target.traits.always_thinking => {
            job.lose(Param::ReasoningEnabled, Severity::Changed, "the model always thinks; it was asked to think as little as it can");
            thinking.mode = Mode::Adaptive;
            thinking.effort = efforts(job).first().copied();
        }
        Some(false) => thinking.mode = Mode::Off,
    }
    thinking.display = display(job, &thinking);
    thinking.drop_unbound = thinking.is_on() && job.target.traits.block_binding;
    lose_verbosity(job);
    thinking
}

/// What this dialect said, word by word.
fn as_it_came(job: &Job<'_, '_>) -> Thinking {
    let reasoning = &job.request.reasoning;
    let mode = match (reasoning.enabled, reasoning.budget_tokens) {
        (Some(false), _) => Mode::Off,
        (_, Some(tokens)) => Mode::Budget(tokens),
        (Some(true), None) => Mode::Adaptive,
        (None, None) => Mode::Unsaid,
    };
    let display = match reasoning.show {
        Some(Show::Nothing) => Some("omitted"),
        Some(Show::Full | Show::Summary) => Some("summarized"),
        None => None,
    };
    Thinking { mode, effort: reasoning.effort, display, drop_unbound: false }
}

/// The effort of a model that knows nothing else.
fn effort_alone(job: &mut Job<'_, '_>) -> Option<Effort> {
    let reasoning = job.request.reasoning;
    let knows_none = job.target.efforts.contains(&Effort::None);
    if wants(job) == Some(false) {
        if !knows_none {
            job.lose(Param::ReasoningEnabled, Severity::Hint, "there is no word for not thinking; nothing was said about it");
        }
        return knows_none.then_some(Effort::None);
    }
    match (reasoning.effort.filter(|effort| *effort != Effort::None), reasoning.budget_tokens) {
        (Some(effort), _) => nearest(job, effort),
        (None, Some(tokens)) => effort_of(job, tokens),
        (None, None) => nearest(job, Effort::Medium),
    }
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

fn switch_on(job: &mut Job<'_, '_>, thinking: &mut Thinking) {
    let reasoning = job.request.reasoning;
    let effort = reasoning.effort.filter(|effort| *effort != Effort::None);
    if !job.target.traits.budget_thinking {
        thinking.mode = Mode::Adaptive;
        thinking.effort = match (effort, reasoning.budget_tokens) {
            (Some(effort), _) => nearest(job, effort),
            (None, Some(tokens)) => effort_of(job, tokens),
            (None, None) => None,
        };
        return;
    }
    thinking.mode = match budget(job, effort) {
        Some(tokens) => Mode::Budget(tokens),
        None => {
            job.lose(Param::ReasoningEnabled, Severity::Dropped, "the output limit leaves no room for the least budget of thoughts");
            Mode::Off
        }
    };
}

fn budget(job: &mut Job<'_, '_>, effort: Option<Effort>) -> Option<u64> {
    let most = match limit(job) {
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
    if effort.is_some() {
        job.lose(Param::Effort, Severity::Hint, "the model is told how much to think; the effort became a share of the output limit");
    }
    let wish = u128::from(likely_limit(job)) * u128::from(effort.unwrap_or(Effort::Medium).budget_per_mille()) / 1000;
    let wish = u64::try_from(wish).unwrap_or(u64::MAX);
    Some(wish.clamp(LEAST_BUDGET_TOKENS, MOST_BUDGET_TOKENS).min(most))
}

/// The output limit that counts: a caller's that is above the model's is sent as the model's.
fn limit(job: &Job<'_, '_>) -> Option<u64> {
    job.request.max_output_tokens.into_iter().chain(job.target.max_output_tokens).min()
}

fn likely_limit(job: &Job<'_, '_>) -> u64 {
    limit(job).unwrap_or(USUAL_OUTPUT_TOKENS)
}

/// The effort whose share of the output limit is nearest to a budget.
fn effort_of(job: &mut Job<'_, '_>, tokens: u64) -> Option<Effort> {
    job.lose(Param::ReasoningBudget, Severity::Changed, "the model is told how hard to think, not how much; the budget became an effort");
    let share = tokens.saturating_mul(1000) / likely_limit(job).max(1);
    efforts(job).into_iter().min_by_key(|effort| effort.budget_per_mille().abs_diff(share))
}

fn nearest(job: &mut Job<'_, '_>, effort: Effort) -> Option<Effort> {
    let nearest = effort.nearest(&efforts(job))?;
    if nearest != effort {
        job.lose(Param::Effort, Severity::Changed, "the model does not know this step; the nearest was sent");
    }
    Some(nearest)
}

/// The steps of effort that can be sent: the model's, or those that Converse has a word for.
fn efforts(job: &Job<'_, '_>) -> Vec<Effort> {
    let known: Vec<Effort> = job.target.efforts.iter().copied().filter(|effort| *effort != Effort::None).collect();
    match known.is_empty() {
        false => known,
        true => vec![Effort::Low, Effort::Medium, Effort::High, Effort::Xhigh, Effort::Max],
    }
}

/// Newer models show nothing unless asked. Older ones always show.
fn display(job: &Job<'_, '_>, thinking: &Thinking) -> Option<&'static str> {
    match (thinking.mode, job.request.reasoning.show) {
        (Mode::Adaptive, Some(Show::Nothing)) => Some("omitted"),
        (Mode::Adaptive, _) => Some("summarized"),
        _ => None,
    }
}

fn lose_verbosity(job: &mut Job<'_, '_>) {
    if job.request.output.verbosity.is_some() {
        job.lose(Param::Verbosity, Severity::Dropped, "the model does not know verbosity");
    }
}
