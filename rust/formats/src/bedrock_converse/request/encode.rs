//! A request of any dialect as Converse.
//!
//! What grows with a conversation, its messages, is written last, so that all that comes before keeps its bytes.

mod cache;
mod calling;
mod conversation;
mod fit;
mod inference;
mod labels;
mod media;
mod thinking;
mod tools;

use fairlead_ir::{ErrorKind, Losses, Request};

use crate::bedrock_converse::wire::block::Piece;
use crate::bedrock_converse::wire::write_cache_point;
use crate::request::Refusal;
use crate::translate::calling::{Calling, Choice};
use crate::translate::message::Speaker;
use crate::translate::tools::Offer;
use crate::translate::{Bridge, Job, Target, form, remainder};
use crate::write::{Array, Object};

/// Writes `request` for `target`.
pub(crate) fn encode(
    request: &Request<'_>,
    target: &Target<'_>,
    out: &mut Vec<u8>,
    losses: &mut Losses,
    bridge: &mut Bridge,
) -> Result<(), Refusal> {
    let mut job = Job::new(request, target, losses, bridge);
    let parts = Parts::plan(&mut job)?;
    parts.write(&mut job, out);
    Ok(())
}

fn refuse(message: String) -> Refusal {
    Refusal { kind: ErrorKind::InvalidRequest, message, param: None }
}

/// How the form of a reply is said here.
const FORM: form::Writer =
    form::Writer { native: tools::hold, fits_arguments: tools::is_object_schema, tool: tools::of_form, sent_name: fit::sent_name };

/// The request, laid out: what depends on other parts of it is decided before anything is written.
struct Parts<'r> {
    system: Vec<Piece<'r>>,
    messages: Vec<conversation::Message<'r>>,
    tools: Vec<Offer>,
    calling: Calling<'r>,
    thinking: thinking::Thinking,
    /// `outputConfig.textFormat`.
    format: Option<Vec<u8>>,
}

impl<'r> Parts<'r> {
    fn plan(job: &mut Job<'_, 'r>) -> Result<Parts<'r>, Refusal> {
        let mut system = conversation::system(job)?;
        let mut messages = conversation::lay_out(job, &mut system)?;
        refuse_impossible(job, &messages)?;
        let mut tools = tools::offer(job, &messages);
        let mut calling = calling::plan(job, &mut tools, &messages);
        let form = form::plan(job, &FORM, &tools, &mut calling);
        tools.extend(form.tool);
        let thinking = thinking::plan(job, &calling, &messages);
        let instructions = calling.instruction.take().into_iter().chain(form.instruction);
        conversation::instruct(job, instructions, &mut system, &mut messages);
        cache::place(job, &mut tools, &mut system, &mut messages);
        Ok(Parts { system, messages, tools, calling, thinking, format: form.format })
    }

    fn write(&self, job: &mut Job<'_, 'r>, out: &mut Vec<u8>) {
        let mut body = Object::open(out);
        inference::write(job, self.thinking.is_on(), &mut body);
        self.write_tools(job, &mut body);
        self.write_output(job, &mut body);
        self.write_additional(job, &mut body);
        labels::write(job, &mut body);
        if !self.system.is_empty() {
            body.array("system", |list| write_pieces(&self.system, list));
        }
        body.array("messages", |list| self.messages.iter().for_each(|message| write_message(message, list)));
        body.close();
    }

    fn write_tools(&self, job: &Job<'_, 'r>, body: &mut Object<'_>) {
        let carried = remainder::of(job, "toolConfig");
        if self.tools.is_empty() && matches!(self.calling.choice, Choice::Unsaid) && carried.is_none() {
            return;
        }
        body.object("toolConfig", |config| {
            if !self.tools.is_empty() {
                config.array("tools", |list| self.tools.iter().for_each(|tool| write_tool(tool, list)));
            }
            calling::write(&self.calling, config);
            remainder::write(carried, config);
        });
    }

    fn write_output(&self, job: &Job<'_, 'r>, body: &mut Object<'_>) {
        let carried = remainder::of(job, "outputConfig");
        if self.format.is_none() && self.thinking.effort.is_none() && carried.is_none() {
            return;
        }
        body.object("outputConfig", |config| {
            if let Some(format) = &self.format {
                config.raw("textFormat", format);
            }
            config.optional_text("effort", self.thinking.effort.map(|effort| effort.word()));
            remainder::write(carried, config);
        });
    }

    /// What goes to the model as it is.
    fn write_additional(&self, job: &mut Job<'_, 'r>, body: &mut Object<'_>) {
        let carried = remainder::of(job, "additionalModelRequestFields");
        let top_k = inference::top_k(job, self.thinking.is_on());
        if !self.thinking.is_said() && top_k.is_none() && carried.is_none() {
            return;
        }
        body.object("additionalModelRequestFields", |fields| {
            self.thinking.write(fields);
            if let Some(top_k) = top_k {
                fields.raw("top_k", top_k.as_bytes());
            }
            remainder::write(carried, fields);
        });
    }
}

fn refuse_impossible(job: &Job<'_, '_>, messages: &[conversation::Message<'_>]) -> Result<(), Refusal> {
    match messages.last() {
        // What this dialect says is the provider's to judge.
        _ if job.own => Ok(()),
        None => Err(job.nothing_left()),
        Some(last) if last.speaker == Speaker::Assistant && job.target.traits.no_prefill => Err(job.unfinished()),
        Some(_) => Ok(()),
    }
}

fn write_message(message: &conversation::Message<'_>, list: &mut Array<'_>) {
    list.object(|object| {
        object.text("role", message.speaker.word());
        object.array("content", |list| write_pieces(&message.pieces, list));
        object.members(&message.rest);
    });
}

fn write_tool(tool: &Offer, list: &mut Array<'_>) {
    list.raw(&tool.json);
    if let Some(mark) = tool.mark {
        write_cache_point(mark, list.element());
    }
}

/// Blocks with the cache points behind them.
fn write_pieces(pieces: &[Piece<'_>], list: &mut Array<'_>) {
    for piece in pieces {
        piece.write(list.element());
        if let Some(mark) = piece.mark {
            write_cache_point(mark, list.element());
        }
    }
}
