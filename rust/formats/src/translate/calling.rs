//! Which tools may or must be called, for dialects whose choices are Claude's.

use fairlead_ir::{Param, Raw, Severity, Text, ToolChoice};

use super::Job;
use crate::text::join;

/// The choice as it will be sent.
pub(crate) struct Calling<'r> {
    pub(crate) choice: Choice<'r>,
    /// `Some(true)`: one call at a time, where that can be said.
    pub(crate) serial: Option<bool>,
    /// What must be said in words instead.
    pub(crate) instruction: Option<Text<'static>>,
}

/// Which tool is called.
pub(crate) enum Choice<'r> {
    Unsaid,
    Auto,
    Any,
    None,
    Tool(Text<'r>),
    /// As the target's dialect wrote it.
    Raw(&'r Raw<'r>),
}

impl<'r> Calling<'r> {
    pub(crate) const fn new(choice: Choice<'r>) -> Calling<'r> {
        Calling { choice, serial: None, instruction: None }
    }

    /// Whether the model must call a tool.
    pub(crate) fn is_forced(&self) -> bool {
        matches!(self.choice, Choice::Any | Choice::Tool(_))
    }

    /// Asks in words for a call where the model cannot be forced to one.
    pub(crate) fn soften(&mut self, job: &mut Job<'_, '_>) {
        if !self.is_forced() || !job.target.traits.no_forced_tool_choice {
            return;
        }
        job.lose(Param::ToolChoice, Severity::Changed, "the model cannot be forced to call a tool; it was asked to in words");
        self.instruction = Some(match &self.choice {
            Choice::Tool(name) => join([&Text::word("In your next reply, call the tool \\\""), name, &Text::word("\\\".")], ""),
            _ => Text::word("In your next reply, call at least one of the tools."),
        });
        self.choice = Choice::Auto;
    }
}

/// The caller's choice between the tools that are sent, which are only the allowed ones; `sent_name` spells a tool's name.
pub(crate) fn choose<'r>(job: &mut Job<'_, 'r>, sent_name: fn(&'r Text<'r>) -> Text<'r>) -> Choice<'r> {
    match &job.request.tool_choice {
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
    }
}

/// Tells the loss of a forced call where there is nothing to call.
pub(crate) fn lose_forced(job: &mut Job<'_, '_>) {
    if matches!(job.request.tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. })) {
        job.lose(Param::ToolChoice, Severity::Dropped, "there is no tool that could be called");
    }
}
