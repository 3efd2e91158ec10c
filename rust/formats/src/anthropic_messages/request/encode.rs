//! A request of any dialect as Messages.

mod blocks;
mod cache;
mod calling;
mod conversation;
mod media;
mod sampling;
mod thinking;
mod tools;

use fairlead_ir::{Losses, Member, Param, Request, Severity, Tier};

use super::{RAW_PREDICT_VERSION, VERSION_NAME};
use crate::request::Refusal;
use crate::translate::calling::Calling;
use crate::translate::message::Speaker;
use crate::translate::tools::Offer;
use crate::translate::{Bridge, Job, Target, form, remainder, schema};
use crate::write::{Array, Object};

/// Writes `request` for `target`, and into `bridge`, made of the same request, what of its tools the way back needs.
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

/// How the form of a reply is said here.
const FORM: form::Writer =
    form::Writer { native: tools::hold, fits_arguments: schema::is_object, tool: tools::of_form, sent_name: blocks::sent_name };

/// The request, laid out: what depends on other parts of it is decided before anything is written.
struct Parts<'r> {
    limit: u64,
    system: Vec<blocks::Piece<'r>>,
    messages: Vec<conversation::Message<'r>>,
    tools: Vec<Offer>,
    calling: Calling<'r>,
    thinking: thinking::Thinking,
    /// `output_config.format`.
    format: Option<Vec<u8>>,
}

impl<'r> Parts<'r> {
    fn plan(job: &mut Job<'_, 'r>) -> Result<Parts<'r>, Refusal> {
        let limit = max_tokens(job);
        let mut system = conversation::system(job);
        let mut messages = conversation::lay_out(job);
        refuse_impossible(job, &messages)?;
        let mut tools = tools::offer(job, &messages);
        let mut calling = calling::plan(job, &tools);
        let form = form::plan(job, &FORM, &tools, &mut calling);
        tools.extend(form.tool);
        let thinking = thinking::plan(job, limit, &calling, &messages);
        system.extend(calling.instruction.take().into_iter().chain(form.instruction).map(blocks::Piece::of_text));
        cache::place(job, &mut tools, &mut system, &mut messages);
        Ok(Parts { limit, system, messages, tools, calling, thinking, format: form.format })
    }

    fn write(&self, job: &mut Job<'_, 'r>, out: &mut Vec<u8>) {
        let mut body = Object::open(out);
        match job.target.traits.raw_predict {
            true => body.text(VERSION_NAME, RAW_PREDICT_VERSION),
            false => body.text("model", job.target.model),
        };
        body.number("max_tokens", self.limit);
        if job.request.stream {
            body.flag("stream", true);
        }
        self.write_settings(job, &mut body);
        write_labels(job, &mut body);
        if !self.tools.is_empty() {
            body.array("tools", |list| self.tools.iter().for_each(|tool| cache::write_marked(&tool.json, tool.mark, list.element())));
        }
        if !self.system.is_empty() {
            body.array("system", |list| write_pieces(&self.system, list));
        }
        body.array("messages", |list| self.messages.iter().for_each(|message| write_message(message, list)));
        write_rest(job, &mut body);
        body.close();
    }

    fn write_settings(&self, job: &mut Job<'_, 'r>, body: &mut Object<'_>) {
        calling::write(&self.calling, job, body);
        self.thinking.write(job, body);
        let carried = remainder::of(job, "output_config");
        if self.format.is_some() || self.thinking.effort.is_some() || carried.is_some() {
            body.object("output_config", |config| {
                if let Some(effort) = self.thinking.effort {
                    config.text("effort", effort.word());
                }
                if let Some(format) = &self.format {
                    config.raw("format", format);
                }
                remainder::write(carried, config);
            });
        }
        sampling::write(job, self.thinking.is_on(), body);
        if let Some(mark) = job.request.cache.automatic {
            cache::write(mark, body.key("cache_control"));
        }
    }
}

/// All models take this much; a limit must be given.
const LEAST_MODELS_TOKENS: u64 = 4096;

fn max_tokens(job: &mut Job<'_, '_>) -> u64 {
    match (job.request.max_output_tokens, job.target.max_output_tokens) {
        (Some(wish), Some(most)) if wish > most => {
            job.lose(Param::MaxOutputTokens, Severity::Changed, "the model writes fewer tokens at most; its own limit was sent");
            most
        }
        (Some(wish), _) => wish,
        (None, Some(most)) => most,
        (None, None) => {
            job.lose(Param::MaxOutputTokens, Severity::Changed, "a limit is required and the model's is not known; 4096 was sent");
            LEAST_MODELS_TOKENS
        }
    }
}

fn refuse_impossible(job: &Job<'_, '_>, messages: &[conversation::Message<'_>]) -> Result<(), Refusal> {
    match messages.last() {
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

fn write_pieces(pieces: &[blocks::Piece<'_>], list: &mut Array<'_>) {
    pieces.iter().for_each(|piece| piece.write(list.element()));
}

fn write_labels(job: &mut Job<'_, '_>, body: &mut Object<'_>) {
    let labels = &job.request.labels;
    let carried = remainder::of(job, "metadata");
    if labels.user.is_some() || carried.is_some() {
        body.object("metadata", |metadata| {
            metadata.optional_escaped("user_id", labels.user.as_ref());
            remainder::write(carried, metadata);
        });
    }
    job.lose_metadata();
    job.lose_keeping();
    if job.target.speed {
        body.text("speed", Tier::Fast.name());
        return;
    }
    match labels.service_tier.as_ref().map(|tier| tier.as_bytes()) {
        Some(tier @ (b"auto" | b"standard_only")) => {
            body.raw("service_tier", &[b"\"", tier, b"\""].concat());
        }
        Some(b"default" | b"standard") => {
            body.text("service_tier", "standard_only");
        }
        Some(_) => job.lose(Param::ServiceTier, Severity::Changed, "the provider has no such tier; its usual one serves"),
        None => {}
    }
}

/// The members whose objects are read in part.
const PARTLY_KNOWN: [&str; 4] = ["thinking", "output_config", "metadata", "tool_choice"];

/// What only the caller's dialect knows: back in its place, or a loss.
fn write_rest(job: &mut Job<'_, '_>, body: &mut Object<'_>) {
    for member in &job.request.rest {
        if !job.own {
            job.lose_parameter(member);
        } else if !is_written(job, member) {
            body.members(std::slice::from_ref(member));
        }
    }
}

/// Whether the member stands in the body already, as its object or as the version that is known there.
fn is_written(job: &Job<'_, '_>, member: &Member<'_>) -> bool {
    let is_version = job.target.traits.raw_predict && member.name.is(VERSION_NAME);
    is_version || PARTLY_KNOWN.iter().any(|name| member.name.is(name))
}
