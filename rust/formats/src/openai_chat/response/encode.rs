//! The canonical representation as a completion: OpenAI's on `/v1`, OpenRouter's on `/api/v1`.

use fairlead_ir::block::{Arguments, Citation, Media, MediaClass, MediaSource, ToolCall};
use fairlead_ir::{Block, Choice, Dialect, Kind, Losses, NanoUsd, Response, Severity, Stop, StopReason, Text, Usage};

use crate::identity::Identity;
use crate::json::walk;
use crate::openai_chat::wire::calls::{as_value, write_call, write_function};
use crate::openai_chat::wire::citations::{characters, write_annotation};
use crate::openai_chat::wire::parts::write_address;
use crate::openai_chat::wire::thoughts::Details;
use crate::openai_chat::wire::usage::write_usage;
use crate::text::{join, quote};
use crate::translate::tier;
use crate::translate::{Bridge, Face};
use crate::write::{Object, write_escaped};

/// Appends the completion as the caller shall see it; `cost` is what it pays.
pub(crate) fn encode(response: &Response<'_>, face: &Face<'_>, cost: Option<NanoUsd>, out: &mut Vec<u8>, losses: &mut Losses) {
    let identity = face.identity;
    let own = response.source == Dialect::OpenaiChat;
    let mut body = Object::open(out);
    write_head(response, identity, "chat.completion", &mut body);
    body.array("choices", |list| {
        for (at, choice) in response.choices.iter().enumerate() {
            list.object(|object| write_choice(choice, at, &mut Writing { face, own, losses }, object));
        }
    });
    let usage = response.usage.or_else(|| cost.map(|_| Usage::default()));
    if let Some(usage) = usage {
        body.object("usage", |object| write_usage(&usage, cost, identity.is_openrouter(), object));
    }
    write_tier(response, &mut body, losses);
    write_rest(response, own, &mut body, losses);
    body.close();
}

/// Writes what stands before the choices of a completion of either kind.
pub(crate) fn write_head(response: &Response<'_>, identity: &Identity, object: &str, body: &mut Object<'_>) {
    if identity.is_openrouter() {
        body.raw("id", identity.generation_id_json());
    } else {
        write_or(&response.id, identity.generation_id(), "id", body);
    }
    body.text("object", object).number("created", response.created_s.unwrap_or(identity.created_s()));
    if identity.is_openrouter() {
        body.raw("model", identity.model_json()).raw("provider", identity.provider_json()).raw("system_fingerprint", b"null");
    } else {
        write_or(&response.model, identity.model(), "model", body);
    }
}

/// A name of the provider's, or ours where it gives none.
pub(crate) fn write_or(own: &Text<'_>, otherwise: &str, key: &str, body: &mut Object<'_>) {
    if own.is_empty() {
        body.text(key, otherwise);
    } else {
        body.escaped(key, own);
    }
}

fn write_tier(response: &Response<'_>, body: &mut Object<'_>, losses: &mut Losses) {
    let Some(word) = &response.service_tier else { return };
    match tier::told(response.source, Dialect::OpenaiChat, word) {
        Some(told) => {
            body.escaped("service_tier", &told);
        }
        None => losses.at("service_tier".to_owned(), Severity::Hint, "chat has no word for this tier"),
    }
}

fn write_rest(response: &Response<'_>, own: bool, body: &mut Object<'_>, losses: &mut Losses) {
    if own {
        body.members(&response.rest);
        return;
    }
    for member in &response.rest {
        let name = String::from_utf8_lossy(member.name.as_bytes()).into_owned();
        losses.at(name, Severity::Hint, "only the dialect it was written in knows it");
    }
}

/// One reply on its way out.
struct Writing<'w> {
    face: &'w Face<'w>,
    own: bool,
    losses: &'w mut Losses,
}

/// What a reply says, by the members it goes into.
#[derive(Default)]
struct Told<'b> {
    texts: Vec<Text<'b>>,
    /// With the characters of the whole text that cite.
    citations: Vec<(&'b Citation<'b>, (u64, u64))>,
    characters: u64,
    refusals: Vec<&'b Text<'b>>,
    /// Thoughts and whatever else is sealed; of a call with its number.
    sealed: Vec<(&'b Block<'b>, Option<usize>)>,
    images: Vec<&'b Media<'b>>,
    audio: Option<(&'b Block<'b>, &'b Text<'b>)>,
    calls: Vec<(&'b Block<'b>, &'b ToolCall<'b>)>,
}

fn write_choice(choice: &Choice<'_>, at: usize, writing: &mut Writing<'_>, object: &mut Object<'_>) {
    let mut told = Told::default();
    choice.blocks.iter().for_each(|block| told.take(block, writing));
    object.number("index", at as u64).object("message", |message| told.write(writing, message));
    object.raw("logprobs", choice.logprobs.as_ref().map_or(b"null", |logprobs| logprobs.as_bytes()));
    let identity = writing.face.identity;
    let has_calls = !told.calls.is_empty();
    let word = finish_word(
        choice.stop.as_ref().map(|stop| stop.reason),
        has_calls,
        told.refusals.iter().any(|text| !text.is_empty()),
        writing.face.bridge,
    );
    object.text("finish_reason", word);
    if identity.is_openrouter() {
        write_native(choice.stop.as_ref(), object);
    }
    if let Some(stop) = &choice.stop {
        // As vLLM names it.
        object.optional_escaped("stop_reason", stop.sequence.as_ref());
        if stop.details.is_some() {
            writing.losses.at("stop_details".to_owned(), Severity::Hint, "chat says why a reply ended in one word");
        }
    }
}

/// OpenAI's word for the end of a reply. `refused`: it holds the words of a refusal.
pub(crate) fn finish_word(reason: Option<StopReason>, has_calls: bool, refused: bool, bridge: &Bridge) -> &'static str {
    match reason {
        // A call that stood for the form of the reply is its text.
        Some(StopReason::ToolCalls) | None if has_calls => {
            if bridge.legacy_functions {
                "function_call"
            } else {
                "tool_calls"
            }
        }
        Some(StopReason::ToolCalls) | None => "stop",
        // A refusal in words has a member of its own, and ends like any reply: clients take `content_filter` for an error.
        Some(StopReason::Refusal) if refused => "stop",
        Some(reason) => reason.finish().name(),
    }
}

/// The provider's own word for the end, for OpenRouter's clients.
pub(crate) fn write_native(stop: Option<&Stop<'_>>, object: &mut Object<'_>) {
    match stop.filter(|stop| !stop.native.is_empty()) {
        Some(stop) => object.escaped("native_finish_reason", &stop.native),
        None => object.raw("native_finish_reason", b"null"),
    };
}

impl<'b> Told<'b> {
    fn take(&mut self, block: &'b Block<'b>, writing: &mut Writing<'_>) {
        let mut lose = |reason| writing.losses.block(block.origin, Severity::Dropped, reason);
        let mut sealed = block.seal.is_some().then_some((block, None));
        match &block.kind {
            Kind::Text { text, citations } => {
                self.cite(text, citations, block, writing);
                self.text(text.borrowed());
            }
            Kind::Refusal(text) => self.refusals.push(text),
            Kind::Thought(_) => sealed = Some((block, None)),
            Kind::ToolCall(call) if is_format_tool(&call.name, writing.face.bridge) => self.text(arguments_text(&call.arguments)),
            Kind::ToolCall(_) if writing.face.bridge.legacy_functions && !self.calls.is_empty() => {
                lose("the caller's way of calling knows one call at a time");
            }
            Kind::ToolCall(call) => {
                sealed = sealed.map(|(block, _)| (block, Some(self.calls.len())));
                self.calls.push((block, call));
            }
            Kind::Media(media) => match (media.class, &media.source) {
                (MediaClass::Image, MediaSource::Base64 { .. } | MediaSource::Url { .. }) => self.images.push(media),
                (MediaClass::Audio, MediaSource::Base64 { data, .. }) if self.audio.is_none() => self.audio = Some((block, data)),
                _ => lose("chat replies hold pictures and one sound"),
            },
            Kind::Opaque { .. } => lose("only the dialect it was written in knows it"),
            Kind::ToolResult(_) => lose("chat replies hold no results of tools"),
        }
        self.sealed.extend(sealed);
    }

    fn text(&mut self, text: Text<'b>) {
        self.characters += characters(&text);
        self.texts.push(text);
    }

    fn cite(&mut self, text: &Text<'_>, citations: &'b [Citation<'b>], block: &Block<'_>, writing: &mut Writing<'_>) {
        let before = self.characters;
        for citation in citations {
            if citation.url.is_none() && !writing.own {
                writing.losses.block(block.origin, Severity::Dropped, "chat cites addresses only");
                continue;
            }
            let (start, end) = citation.range.unwrap_or_else(|| (0, characters(text)));
            self.citations.push((citation, (before.saturating_add(start), before.saturating_add(end))));
        }
    }

    fn write(&self, writing: &Writing<'_>, message: &mut Object<'_>) {
        message.text("role", "assistant");
        let says_otherwise = !self.calls.is_empty() || !self.refusals.is_empty() || self.audio.is_some();
        if self.texts.is_empty() && says_otherwise {
            message.raw("content", b"null");
        } else {
            message.escaped("content", &join(&self.texts, ""));
        }
        match self.refusals.as_slice() {
            [] => message.raw("refusal", b"null"),
            texts => message.escaped("refusal", &join(texts.iter().copied(), "")),
        };
        self.write_thoughts(writing, message);
        self.write_citations(writing, message);
        if !self.images.is_empty() {
            message.array("images", |list| self.images.iter().for_each(|media| write_image(media, list.element())));
        }
        if let Some((block, data)) = self.audio {
            message.object("audio", |audio| write_audio(data, block, writing.own, writing.face.identity, audio));
        }
        self.write_calls(writing, message);
    }

    fn write_thoughts(&self, writing: &Writing<'_>, message: &mut Object<'_>) {
        let show = !writing.face.bridge.hide_thoughts;
        let texts: Vec<&Text<'_>> = self.sealed.iter().filter(|_| show).flat_map(|(block, _)| thought_texts(block)).collect();
        if !texts.is_empty() {
            let name = if writing.face.identity.is_openrouter() { "reasoning" } else { "reasoning_content" };
            message.escaped(name, &join(texts, ""));
        }
        let mut sealed = self.sealed.iter().filter(|(block, _)| show || block.seal.is_some()).peekable();
        if sealed.peek().is_none() {
            return;
        }
        message.array("reasoning_details", |entries| {
            let mut details = Details::default();
            for (block, call) in sealed {
                match (&block.kind, &block.seal) {
                    (Kind::Thought(thought), seal) => details.thought(thought, seal.as_ref(), show, entries),
                    (Kind::ToolCall(tool), Some(seal)) => {
                        let id = call_id(tool, call.unwrap_or_default(), writing.face.identity);
                        details.loose(seal, Some(&id), entries);
                    }
                    (_, Some(seal)) => details.loose(seal, None, entries),
                    _ => {}
                }
            }
        });
    }

    fn write_citations(&self, writing: &Writing<'_>, message: &mut Object<'_>) {
        if self.citations.is_empty() {
            return;
        }
        message.array("annotations", |list| {
            for (citation, range) in &self.citations {
                match &citation.url {
                    Some(url) if !writing.own => {
                        list.object(|annotation| write_annotation(citation, url, *range, annotation));
                    }
                    _ => {
                        list.raw(citation.raw.as_bytes());
                    }
                }
            }
        });
    }

    fn write_calls(&self, writing: &Writing<'_>, message: &mut Object<'_>) {
        let bridge = writing.face.bridge;
        match self.calls.first() {
            None => {}
            Some((_, call)) if bridge.legacy_functions => {
                let (name, _) = bridge.original(&call.name);
                message.object("function_call", |function| write_function(&name, &call.arguments, function));
            }
            Some(_) => {
                message.array("tool_calls", |list| {
                    for (number, (block, call)) in self.calls.iter().enumerate() {
                        let (name, free) = bridge.original(&call.name);
                        let id = call_id(call, number, writing.face.identity);
                        let rest: &[_] = if writing.own { &block.rest } else { &[] };
                        list.object(|object| match &call.arguments {
                            Arguments::Free(_) => write_call(&id, &name, &call.arguments, rest, object),
                            arguments if free => write_call(&id, &name, &freed(arguments), rest, object),
                            arguments => write_call(&id, &name, arguments, rest, object),
                        });
                    }
                });
            }
        }
    }
}

fn thought_texts<'b>(block: &'b Block<'b>) -> impl Iterator<Item = &'b Text<'b>> {
    let parts = match &block.kind {
        Kind::Thought(thought) => thought.parts.as_slice(),
        _ => &[],
    };
    parts.iter().map(|part| &part.text)
}

/// Whether a call of this name stands for the form of the reply.
pub(crate) fn is_format_tool(name: &Text<'_>, bridge: &Bridge) -> bool {
    bridge.format_tool.as_ref().is_some_and(|tool| name.is(tool))
}

/// Arguments as a text of the reply.
pub(crate) fn arguments_text<'a>(arguments: &'a Arguments<'_>) -> Text<'a> {
    match arguments {
        Arguments::Json(value) => quote(value),
        Arguments::Quoted(text) | Arguments::Free(text) => text.borrowed(),
    }
}

/// The text that was wrapped for a provider that knows no custom tools.
pub(crate) fn freed(arguments: &Arguments<'_>) -> Arguments<'static> {
    let (value, _) = as_value(arguments);
    match walk::member(value.as_bytes(), "input") {
        Ok(Some(walk::Member { value: [b'"', inside @ .., b'"'], .. })) => Arguments::Free(Text::owned(inside.to_vec())),
        _ => Arguments::Free(arguments_text(arguments).into_owned()),
    }
}

fn call_id<'c>(call: &'c ToolCall<'_>, number: usize, identity: &Identity) -> Text<'c> {
    if !call.id.is_empty() {
        return call.id.borrowed();
    }
    let mut quoted = identity.tool_call_id_json(number);
    quoted.pop();
    quoted.remove(0);
    Text::owned(quoted)
}

/// Appends one of `images`.
pub(crate) fn write_image(media: &Media<'_>, out: &mut Vec<u8>) {
    let mut image = Object::open(out);
    image.text("type", "image_url").object("image_url", |inner| {
        write_address(media, inner.key("url"));
    });
    image.close();
}

/// Sound with the members that OpenAI's clients demand.
fn write_audio(data: &Text<'_>, block: &Block<'_>, own: bool, identity: &Identity, audio: &mut Object<'_>) {
    write_escaped(audio.key("data"), data);
    if own {
        audio.members(&block.rest);
        return;
    }
    write_new_audio(identity, audio);
}

/// The members of sound that another dialect does not have.
pub(crate) fn write_new_audio(identity: &Identity, audio: &mut Object<'_>) {
    audio.text("id", &format!("audio_{}", identity.generation_id()));
    audio.text("transcript", "").number("expires_at", identity.created_s());
}
