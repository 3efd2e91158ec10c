//! How much the model thinks: newer models are told how hard, older ones how many tokens.

use fairlead_ir::request::{Effort, Show};
use fairlead_ir::{Param, Severity, Text};

use super::Job;
use super::conversation::Message;
use crate::translate::calling::Calling;
use crate::translate::remainder;
use crate::translate::thinking::{Mode, budget, effort, hindrance, nearest, steps, wants, write_binding};
use crate::write::Object;

/// What is said about thinking.
pub(super) struct Thinking {
    mode: Mode,
    /// `output_config.effort`.
    pub(super) effort: Option<Effort>,
    display: Option<&'static str>,
}

impl Thinking {
    /// Whether the model thinks because of it.
    pub(super) fn is_on(&self) -> bool {
        self.mode.is_on()
    }

    /// Writes the member `thinking`.
    pub(super) fn write(&self, job: &Job<'_, '_>, body: &mut Object<'_>) {
        let carried = remainder::of(job, "thinking");
        if self.mode == Mode::Unsaid && carried.is_none() {
            return;
        }
        body.object("thinking", |thinking| {
            // A type that nobody else knows is carried.
            if !remainder::has(carried, "type") {
                self.mode.write(thinking);
            }
            thinking.optional_text("display", self.display);
            if self.is_on() && job.target.traits.block_binding && !job.own {
                write_binding(thinking);
            }
            remainder::write(carried, thinking);
        });
    }
}

/// Decides, given the output limit and the rest of the request.
pub(super) fn plan(job: &mut Job<'_, '_>, limit: u64, calling: &Calling<'_>, messages: &[Message<'_>]) -> Thinking {
    let mut thinking = Thinking { mode: Mode::Unsaid, effort: None, display: None };
    match wants(job) {
        Some(true) => match hindrance(job, calling, messages) {
            Some(reason) => {
                job.lose(job.request.reasoning.said_whether(), Severity::Changed, reason);
                thinking.mode = Mode::Off;
            }
            None => switch_on(job, limit, &mut thinking),
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

fn switch_on(job: &mut Job<'_, '_>, limit: u64, thinking: &mut Thinking) {
    if job.target.traits.adaptive_thinking || job.target.traits.always_thinking {
        thinking.mode = Mode::Adaptive;
        thinking.effort = effort(job, Some(limit));
        return;
    }
    thinking.mode = match budget(job, Some(limit)) {
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
    if job.own && !job.target.efforts.is_empty() {
        thinking.effort = job.request.reasoning.effort.and_then(|effort| nearest(job, effort));
    }
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
    let effort = Effort::from_word(verbosity.as_bytes()).filter(|effort| knows_effort(job) && steps(job).contains(effort));
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
