//! Which tools may or must be called.

use fairlead_ir::text::Raw;
use fairlead_ir::{Param, Severity, Text, ToolChoice};

use super::Job;
use super::blocks::sent_name;
use super::tools::Offer;
use crate::anthropic_messages::wire::remainder;
use crate::text::join;
use crate::write::Object;

/// The choice as it will be sent.
pub(super) struct Calling<'r> {
    pub(super) choice: Choice<'r>,
    /// `Some(true)`: one call at a time.
    serial: Option<bool>,
    /// What must be said in words instead.
    pub(super) instruction: Option<Text<'static>>,
}

/// Anthropic's choices.
pub(super) enum Choice<'r> {
    Unsaid,
    Auto,
    Any,
    None,
    Tool(Text<'r>),
    /// As this dialect wrote it.
    Raw(&'r Raw<'r>),
}

impl Calling<'_> {
    /// Whether the model must call a tool.
    pub(super) fn is_forced(&self) -> bool {
        matches!(self.choice, Choice::Any | Choice::Tool(_))
    }

    /// Writes the member `tool_choice`.
    pub(super) fn write(&self, job: &Job<'_, '_>, body: &mut Object<'_>) {
        let carried = remainder::of(job.request, job.own, "tool_choice");
        let (word, name) = match &self.choice {
            Choice::Unsaid if self.serial != Some(true) => return,
            Choice::Raw(raw) => {
                body.raw("tool_choice", raw.as_bytes());
                return;
            }
            Choice::Unsaid | Choice::Auto => ("auto", None),
            Choice::Any => ("any", None),
            Choice::None => ("none", None),
            Choice::Tool(name) => ("tool", Some(name)),
        };
        body.object("tool_choice", |choice| {
            choice.text("type", word).optional_escaped("name", name);
            if let Some(serial) = self.serial.filter(|_| word != "none") {
                choice.flag("disable_parallel_tool_use", serial);
            }
            remainder::write(carried, choice);
        });
    }
}

/// Decides the choice for `tools`.
pub(super) fn plan<'r>(job: &mut Job<'_, 'r>, tools: &[Offer]) -> Calling<'r> {
    let request = job.request;
    let mut calling = Calling { choice: Choice::Unsaid, serial: None, instruction: None };
    if tools.iter().all(|tool| tool.is_empty) {
        if matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. })) {
            job.lose(Param::ToolChoice, Severity::Dropped, "there is no tool that could be called");
        }
        if !tools.is_empty() {
            calling.choice = Choice::None;
        }
        return calling;
    }
    calling.serial = serial(job);
    calling.choice = match &request.tool_choice {
        None => Choice::Unsaid,
        Some(ToolChoice::Auto) => Choice::Auto,
        Some(ToolChoice::None) => Choice::None,
        Some(ToolChoice::Required) => Choice::Any,
        Some(ToolChoice::Named(name)) => Choice::Tool(sent_name(name)),
        Some(ToolChoice::Allowed { required, .. }) => {
            job.lose(Param::ToolChoice, Severity::Hint, "only the allowed tools were sent, which the prompt's cache does not survive");
            if *required { Choice::Any } else { Choice::Auto }
        }
        Some(ToolChoice::Other(raw)) if job.own => Choice::Raw(raw),
        Some(ToolChoice::Other(_)) => {
            job.lose(Param::ToolChoice, Severity::Dropped, "only the dialect it was written in knows this choice");
            Choice::Unsaid
        }
    };
    if calling.is_forced() && job.target.traits.no_forced_tool_choice {
        ask_in_words(job, &mut calling);
    }
    calling
}

fn serial(job: &mut Job<'_, '_>) -> Option<bool> {
    let parallel = job.request.parallel_tool_calls?;
    if job.target.traits.no_parallel_tool_calls {
        if !parallel {
            job.lose(Param::ParallelToolCalls, Severity::Dropped, "the model cannot be held to one call at a time");
        }
        return None;
    }
    Some(!parallel)
}

fn ask_in_words(job: &mut Job<'_, '_>, calling: &mut Calling<'_>) {
    job.lose(Param::ToolChoice, Severity::Changed, "the model cannot be forced to call a tool; it was asked to in words");
    calling.instruction = Some(match &calling.choice {
        Choice::Tool(name) => join([&Text::word("In your next reply, call the tool \\\""), name, &Text::word("\\\".")], ""),
        _ => Text::word("In your next reply, call at least one of the tools."),
    });
    calling.choice = Choice::Auto;
}
