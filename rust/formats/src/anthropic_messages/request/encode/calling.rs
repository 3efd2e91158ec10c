//! Which tools may or must be called.

use fairlead_ir::{Param, Severity};

use super::Job;
use super::blocks::sent_name;
use crate::translate::calling::{Calling, Choice, choose, lose_forced};
use crate::translate::remainder;
use crate::translate::tools::Offer;
use crate::write::Object;

/// Writes the member `tool_choice`.
pub(super) fn write(calling: &Calling<'_>, job: &Job<'_, '_>, body: &mut Object<'_>) {
    let carried = remainder::of(job, "tool_choice");
    let (word, name) = match &calling.choice {
        Choice::Unsaid if calling.serial != Some(true) => return,
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
        if let Some(serial) = calling.serial.filter(|_| word != "none") {
            choice.flag("disable_parallel_tool_use", serial);
        }
        remainder::write(carried, choice);
    });
}

/// Decides the choice for `tools`.
pub(super) fn plan<'r>(job: &mut Job<'_, 'r>, tools: &[Offer]) -> Calling<'r> {
    let mut calling = Calling::new(Choice::Unsaid);
    if tools.iter().all(|tool| tool.is_empty) {
        lose_forced(job);
        if !tools.is_empty() {
            calling.choice = Choice::None;
        }
        return calling;
    }
    calling.serial = serial(job);
    calling.choice = choose(job, sent_name);
    calling.soften(job);
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
