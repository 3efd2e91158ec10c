//! How much the model thinks. `outputConfig.effort` is Converse's own word for it; Claude's `thinking` goes to the model as it is.

use fairlead_ir::request::{Effort, Show};
use fairlead_ir::{Param, Severity};

use super::Job;
use super::conversation::Message;
use crate::translate::calling::Calling;
use crate::translate::thinking::{Mode, budget, effort, hindrance, nearest, steps, wants, write_binding};
use crate::write::Object;

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

impl Thinking {
    /// Whether Claude thinks because of it.
    pub(super) fn is_on(&self) -> bool {
        self.mode.is_on()
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
            self.mode.write(thinking);
            thinking.optional_text("display", self.display);
            if self.drop_unbound {
                write_binding(thinking);
            }
        });
        if self.drop_unbound {
            fields.raw("anthropic_beta", BINDING_BETA);
        }
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
                job.lose(job.request.reasoning.said_whether(), Severity::Changed, reason);
                thinking.mode = Mode::Off;
            }
            None => switch_on(job, &mut thinking),
        },
        Some(false) if job.target.traits.always_thinking => {
            job.lose(
                job.request.reasoning.said_whether(),
                Severity::Changed,
                "the model always thinks; it was asked to think as little as it can",
            );
            thinking.mode = Mode::Adaptive;
            thinking.effort = steps(job).first().copied();
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
    let knows_none = job.target.efforts.contains(&Effort::None);
    if wants(job) == Some(false) {
        if !knows_none {
            job.lose(job.request.reasoning.said_whether(), Severity::Hint, "there is no word for not thinking; nothing was said about it");
        }
        return knows_none.then_some(Effort::None);
    }
    effort(job, limit(job)).or_else(|| nearest(job, Effort::Medium))
}

fn switch_on(job: &mut Job<'_, '_>, thinking: &mut Thinking) {
    if !job.target.traits.budget_thinking {
        thinking.mode = Mode::Adaptive;
        thinking.effort = effort(job, limit(job));
        return;
    }
    thinking.mode = match budget(job, limit(job)) {
        Some(tokens) => Mode::Budget(tokens),
        None => {
            job.lose(
                job.request.reasoning.said_whether(),
                Severity::Dropped,
                "the output limit leaves no room for the least budget of thoughts",
            );
            Mode::Off
        }
    };
}

/// The output limit that counts: a caller's that is above the model's is sent as the model's.
fn limit(job: &Job<'_, '_>) -> Option<u64> {
    job.request.max_output_tokens.into_iter().chain(job.target.max_output_tokens).min()
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
