//! A request of any dialect as Messages.

mod blocks;
mod cache;
mod calling;
mod conversation;
mod form;
mod media;
mod sampling;
pub(crate) mod schema;
mod thinking;
mod tools;

use fairlead_ir::{ErrorKind, Losses, Param, Request, Severity};

use crate::anthropic_messages::wire::remainder;
use crate::request::Refusal;
use crate::translate::{Bridge, Job, Target};
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

/// The request, laid out: what depends on other parts of it is decided before anything is written.
struct Parts<'r> {
    limit: u64,
    system: Vec<blocks::Piece<'r>>,
    messages: Vec<conversation::Message<'r>>,
    tools: Vec<tools::Offer>,
    calling: calling::Calling<'r>,
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
        let form = form::plan(job, &tools, &mut calling);
        tools.extend(form.tool);
        let thinking = thinking::plan(job, limit, &calling, &messages);
        system.extend(calling.instruction.take().into_iter().chain(form.instruction).map(blocks::Piece::of_text));
        cache::place(job, &mut tools, &mut system, &mut messages);
        Ok(Parts { limit, system, messages, tools, calling, thinking, format: form.format })
    }

    fn write(&self, job: &mut Job<'_, 'r>, out: &mut Vec<u8>) {
        let mut body = Object::open(out);
        body.text("model", job.target.model).number("max_tokens", self.limit);
        if job.request.stream {
            body.flag("stream", true);
        }
        self.write_settings(job, &mut body);
        write_labels(job, &mut body);
        if !self.tools.is_empty() {
            body.array("tools", |list| self.tools.iter().for_each(|tool| tool.write(list.element())));
        }
        if !self.system.is_empty() {
            body.array("system", |list| write_pieces(&self.system, list));
        }
        body.array("messages", |list| self.messages.iter().for_each(|message| write_message(message, list)));
        write_rest(job, &mut body);
        body.close();
    }

    fn write_settings(&self, job: &mut Job<'_, 'r>, body: &mut Object<'_>) {
        self.calling.write(job, body);
        self.thinking.write(job, body);
        let carried = remainder::of(job.request, job.own, "output_config");
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
    let refuse = |message: String| Err(Refusal { kind: ErrorKind::InvalidRequest, message, param: None });
    match messages.last() {
        None => Err(job.nothing_left()),
        Some(last) if last.speaker == conversation::Speaker::Assistant && job.target.traits.no_prefill => refuse(format!(
            "the conversation ends with the assistant, whose message \"{}\" does not continue; end with a user's message",
            job.target.model
        )),
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
    let carried = remainder::of(job.request, job.own, "metadata");
    if labels.user.is_some() || carried.is_some() {
        body.object("metadata", |metadata| {
            metadata.optional_escaped("user_id", labels.user.as_ref());
            remainder::write(carried, metadata);
        });
    }
    if labels.metadata.as_ref().is_some_and(|metadata| !matches!(metadata.as_bytes(), b"{}" | b"null")) {
        job.lose(Param::Metadata, Severity::Hint, "labels are not sent to the provider");
    }
    if labels.store == Some(true) {
        job.lose(Param::Store, Severity::Hint, "the provider does not keep replies");
    }
    if job.request.cache.key.is_some() {
        job.lose(Param::CacheKey, Severity::Hint, "the provider's cache has no keys");
    }
    if job.request.cache.retention.is_some() {
        job.lose(Param::CacheRetention, Severity::Hint, "the provider's cache is told by marks how long to keep");
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

/// What only the caller's dialect knows: back in its place, or a loss.
fn write_rest(job: &mut Job<'_, '_>, body: &mut Object<'_>) {
    for member in &job.request.rest {
        if !job.own {
            let path = String::from_utf8_lossy(member.name.as_bytes()).into_owned();
            job.losses.at(path, Severity::Dropped, "this provider has no such parameter");
        } else if !remainder::PARTLY_KNOWN.iter().any(|name| member.name.is(name)) {
            body.members(std::slice::from_ref(member));
        }
    }
}
