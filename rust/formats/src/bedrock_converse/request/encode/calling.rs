//! Which tools may or must be called. Converse cannot forbid calls nor hold the model to one at a time.

use fairlead_ir::{Param, Raw, Severity, Text, ToolChoice};

use super::Job;
use super::conversation::Message;
use super::fit::sent_name;
use super::tools::Offer;
use crate::text::join;
use crate::write::Object;

/// The choice as it will be sent.
pub(super) struct Calling<'r> {
    pub(super) choice: Choice<'r>,
    /// What must be said in words instead.
    pub(super) instruction: Option<Text<'static>>,
}

/// AWS's choices.
pub(super) enum Choice<'r> {
    Unsaid,
    Auto,
    Any,
    Tool(Text<'r>),
    /// As this dialect wrote it.
    Raw(&'r Raw<'r>),
}

impl Calling<'_> {
    /// Whether there is anything to write.
    pub(super) fn is_said(&self) -> bool {
        !matches!(self.choice, Choice::Unsaid)
    }

    /// Whether the model must call a tool.
    pub(super) fn is_forced(&self) -> bool {
        matches!(self.choice, Choice::Any | Choice::Tool(_))
    }

    /// Writes the member `toolChoice`.
    pub(super) fn write(&self, config: &mut Object<'_>) {
        match &self.choice {
            Choice::Unsaid => {}
            Choice::Auto => {
                config.raw("toolChoice", br#"{"auto":{}}"#);
            }
            Choice::Any => {
                config.raw("toolChoice", br#"{"any":{}}"#);
            }
            Choice::Raw(raw) => {
                config.raw("toolChoice", raw.as_bytes());
            }
            Choice::Tool(name) => {
                config.object("toolChoice", |choice| {
                    choice.object("tool", |tool| {
                        tool.escaped("name", name);
                    });
                });
            }
        }
    }
}

/// Decides the choice for `tools`, and takes them away where none may be called and none was.
pub(super) fn plan<'r>(job: &mut Job<'_, 'r>, tools: &mut Vec<Offer>, messages: &[Message<'_>]) -> Calling<'r> {
    let request = job.request;
    if job.own {
        return as_it_came(request.tool_choice.as_ref());
    }
    let mut calling = Calling { choice: Choice::Unsaid, instruction: None };
    if request.parallel_tool_calls == Some(false) && !tools.is_empty() {
        job.lose(Param::ParallelToolCalls, Severity::Dropped, "the model cannot be held to one call at a time");
    }
    if tools.is_empty() {
        if matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. })) {
            job.lose(Param::ToolChoice, Severity::Dropped, "there is no tool that could be called");
        }
        return calling;
    }
    match &request.tool_choice {
        Some(ToolChoice::None) => forbid(job, tools, messages, &mut calling),
        // Tools that were only declared for the conversation's sake.
        _ if request.tools.is_empty() => calling.instruction = Some(Text::word(NO_CALL)),
        None => {}
        Some(ToolChoice::Auto) => calling.choice = Choice::Auto,
        Some(ToolChoice::Required) => calling.choice = Choice::Any,
        Some(ToolChoice::Named(name)) => calling.choice = Choice::Tool(sent_name(name)),
        Some(ToolChoice::Allowed { required, .. }) => {
            job.lose(Param::ToolChoice, Severity::Hint, "only the allowed tools were sent, which the prompt's cache does not survive");
            calling.choice = if *required { Choice::Any } else { Choice::Auto };
        }
        Some(ToolChoice::Other(_)) => {
            job.lose(Param::ToolChoice, Severity::Dropped, "only the dialect it was written in knows this choice");
        }
    }
    if calling.is_forced() && job.target.traits.no_forced_tool_choice {
        ask_in_words(job, &mut calling);
    }
    calling
}

/// What this dialect said, word by word.
fn as_it_came<'r>(choice: Option<&'r ToolChoice<'r>>) -> Calling<'r> {
    let choice = match choice {
        Some(ToolChoice::Auto) => Choice::Auto,
        Some(ToolChoice::Required) => Choice::Any,
        Some(ToolChoice::Named(name)) => Choice::Tool(name.borrowed()),
        Some(ToolChoice::Other(raw)) => Choice::Raw(raw),
        // This dialect cannot say the others.
        Some(ToolChoice::None | ToolChoice::Allowed { .. }) | None => Choice::Unsaid,
    };
    Calling { choice, instruction: None }
}

const NO_CALL: &str = "Do not call any tool in your next reply.";

/// Without tools there are no calls; but a conversation with calls is refused without tools.
fn forbid(job: &mut Job<'_, '_>, tools: &mut Vec<Offer>, messages: &[Message<'_>], calling: &mut Calling<'_>) {
    if super::tools::are_used(messages) {
        job.lose(
            Param::ToolChoice,
            Severity::Changed,
            "calls cannot be forbidden where the conversation holds some; it was asked in words",
        );
        calling.instruction = Some(Text::word(NO_CALL));
    } else {
        tools.clear();
    }
}

fn ask_in_words(job: &mut Job<'_, '_>, calling: &mut Calling<'_>) {
    job.lose(Param::ToolChoice, Severity::Changed, "the model cannot be forced to call a tool; it was asked to in words");
    calling.instruction = Some(match &calling.choice {
        Choice::Tool(name) => join([&Text::word("In your next reply, call the tool \\\""), name, &Text::word("\\\".")], ""),
        _ => Text::word("In your next reply, call at least one of the tools."),
    });
    calling.choice = Choice::Auto;
}
