//! Which tools may or must be called. Converse cannot forbid calls nor hold the model to one at a time.

use fairlead_ir::{Param, Severity, Text, ToolChoice};

use super::Job;
use super::conversation::Message;
use super::fit::sent_name;
use crate::translate::calling::{Calling, Choice, choose, lose_forced};
use crate::translate::message::uses_tools;
use crate::translate::tools::Offer;
use crate::write::Object;

/// Writes the member `toolChoice`.
pub(super) fn write(calling: &Calling<'_>, config: &mut Object<'_>) {
    match &calling.choice {
        // There is no word for none.
        Choice::Unsaid | Choice::None => {}
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

/// Decides the choice for `tools`, and takes them away where none may be called and none was.
pub(super) fn plan<'r>(job: &mut Job<'_, 'r>, tools: &mut Vec<Offer>, messages: &[Message<'_>]) -> Calling<'r> {
    let request = job.request;
    if job.own {
        return as_it_came(request.tool_choice.as_ref());
    }
    let mut calling = Calling::new(Choice::Unsaid);
    if tools.iter().all(|tool| tool.is_empty) {
        lose_forced(job);
        calling.instruction = (!tools.is_empty()).then(|| Text::word(NO_CALL));
        return calling;
    }
    if request.parallel_tool_calls == Some(false) {
        job.lose(Param::ParallelToolCalls, Severity::Dropped, "the model cannot be held to one call at a time");
    }
    match &request.tool_choice {
        Some(ToolChoice::None) => forbid(job, tools, messages, &mut calling),
        _ => calling.choice = choose(job, sent_name),
    }
    calling.soften(job);
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
    Calling::new(choice)
}

const NO_CALL: &str = "Do not call any tool in your next reply.";

/// Without tools there are no calls; but a conversation with calls is refused without tools.
fn forbid(job: &mut Job<'_, '_>, tools: &mut Vec<Offer>, messages: &[Message<'_>], calling: &mut Calling<'_>) {
    if uses_tools(messages) {
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
