//! Writes a whole reply as Responses clients read it, with everything that strict ones insist on.
//!
//! A seal on something else than a thought (Gemini's) becomes a reasoning item of its own behind it: clients send such items back.

use std::borrow::Cow;

use fairlead_ir::block::{Arguments, Citation, Media, MediaClass, MediaSource, Seal, Thought, ThoughtShape, ToolCall};
use fairlead_ir::{Block, Choice, Dialect, Kind, Losses, NanoUsd, Response, Severity, Text};

use crate::error;
use crate::json::walk::write_string;
use crate::openai_responses::wire::envelope::{Envelope, Status, write_usage};
use crate::openai_responses::wire::items::OF_MESSAGE;
use crate::openai_responses::wire::stem;
use crate::read::Reader;
use crate::text::{self, decode};
use crate::translate::tier;
use crate::translate::{Bridge, Face};
use crate::write::{Array, Object, write_escaped};

/// Appends the reply; `cost` is what the caller pays.
pub(crate) fn encode(response: &Response<'_>, face: &Face<'_>, cost: Option<NanoUsd>, out: &mut Vec<u8>, losses: &mut Losses) {
    let identity = face.identity;
    let own = response.source == Dialect::OpenaiResponses;
    let nothing = Choice::default();
    let choice = response.choices.first().unwrap_or(&nothing);
    for number in 1..response.choices.len() {
        losses.at(format!("choices[{number}]"), Severity::Dropped, "replies of this kind are one");
    }
    let mut items = Items { own, stem: stem(identity.generation_id()), bridge: face.bridge, losses, count: 0 };
    let refusal = choice.blocks.iter().any(|block| matches!(block.kind, Kind::Refusal(_)));
    let native = choice.stop.as_ref().and_then(|stop| decode(&stop.native).map(Cow::into_owned)).unwrap_or_default();
    let mut status = choice.stop.as_ref().map_or(Status::Completed, |stop| Status::of(stop.reason, &native, refusal));
    let details = choice.stop.as_ref().and_then(|stop| stop.details.as_ref()).filter(|_| own);
    let failure = details.map(|details| error::read(details.as_bytes()));
    if let (Status::Failed { .. }, Some(failure)) = (&status, &failure) {
        status = Status::Failed { code: &failure.code, message: &failure.message, more: None };
    }
    let mut output = Vec::new();
    items.write(choice, matches!(status, Status::Incomplete(_)), &mut output);
    lose_rest(response, choice, own, losses);

    let openrouter = identity.is_openrouter();
    let usage = response.usage.map(|usage| {
        let mut json = Vec::new();
        write_usage(&usage, cost, openrouter, &mut json);
        json
    });
    let (id, model) = (shown(&response.id, identity.generation_id(), openrouter), shown(&response.model, identity.model(), openrouter));
    let tier = response.service_tier.as_ref().and_then(|word| {
        let told = tier::told(response.source, Dialect::OpenaiResponses, word);
        if told.is_none() {
            losses.at("service_tier".to_owned(), Severity::Hint, "responses have no word for this tier");
        }
        told.map(|told| {
            let mut json = Vec::new();
            write_escaped(&mut json, &told);
            json
        })
    });
    let envelope = Envelope {
        id: &id,
        model: &model,
        created_s: response.created_s.unwrap_or(identity.created_s()),
        status,
        output: &output,
        usage: usage.as_deref(),
        service_tier: tier.as_deref(),
        provider: openrouter.then(|| identity.provider()),
        kept_after: identity.kept_after_json(),
    };
    let mut json = Object::open(out);
    envelope.write_members(&mut json);
    if own {
        json.members(&response.rest);
    }
    json.close();
}

/// The provider's name on `/v1` where it has one, else ours; as JSON.
pub(crate) fn shown(theirs: &Text<'_>, ours: &str, openrouter: bool) -> Vec<u8> {
    let mut json = Vec::new();
    if openrouter || theirs.is_empty() {
        write_string(&mut json, ours);
    } else {
        write_escaped(&mut json, theirs);
    }
    json
}

fn lose_rest(response: &Response<'_>, choice: &Choice<'_>, own: bool, losses: &mut Losses) {
    if own {
        return;
    }
    for member in &response.rest {
        let path = String::from_utf8_lossy(member.name.as_bytes()).into_owned();
        losses.at(path, Severity::Hint, "replies of this dialect have no such member");
    }
    let Some(stop) = &choice.stop else { return };
    if stop.sequence.is_some() {
        losses.at("stop_sequence".to_owned(), Severity::Hint, "replies of this dialect do not name the stop sequence");
    }
    if stop.details.is_some() {
        losses.at("stop_details".to_owned(), Severity::Hint, "replies of this dialect say less about why they ended");
    }
}

/// The items of an output while they are written.
struct Items<'e> {
    own: bool,
    stem: String,
    bridge: &'e Bridge,
    losses: &'e mut Losses,
    count: usize,
}

impl Items<'_> {
    fn write(&mut self, choice: &Choice<'_>, incomplete: bool, out: &mut Vec<u8>) {
        let mut array = Array::open(out);
        let mut group: Vec<&Block<'_>> = Vec::new();
        let mut logprobs = choice.logprobs.as_ref().and_then(|raw| content_of(raw.as_bytes()));
        for (place, block) in choice.blocks.iter().enumerate() {
            let last = incomplete && place + 1 == choice.blocks.len();
            if self.is_text(block) {
                if self.own && group.last().is_some_and(|before| before.origin.inside("") != block.origin.inside("")) {
                    self.write_message(&mut group, &mut logprobs, false, &mut array);
                }
                group.push(block);
                if last {
                    self.write_message(&mut group, &mut logprobs, true, &mut array);
                }
                continue;
            }
            self.write_message(&mut group, &mut logprobs, false, &mut array);
            self.write_item(block, last, &mut array);
        }
        self.write_message(&mut group, &mut logprobs, false, &mut array);
        array.close();
    }

    fn is_text(&self, block: &Block<'_>) -> bool {
        match &block.kind {
            Kind::Text { .. } | Kind::Refusal(_) => true,
            Kind::ToolCall(call) => is_format(self.bridge, &call.name),
            Kind::Opaque { .. } => self.own && block.origin.inside("") != block.origin,
            _ => false,
        }
    }

    fn next_id(&mut self, prefix: &str) -> String {
        let id = format!("{prefix}_{}_{}", self.stem, self.count);
        self.count += 1;
        id
    }

    fn write_message(&mut self, group: &mut Vec<&Block<'_>>, logprobs: &mut Option<Vec<u8>>, incomplete: bool, array: &mut Array<'_>) {
        let blocks = std::mem::take(group);
        let Some(first) = blocks.first() else { return };
        let id = self.next_id("msg");
        array.object(|item| {
            item.text("id", &id).text("type", "message").text("status", status_of(incomplete)).text("role", "assistant");
            item.array("content", |parts| {
                for block in &blocks {
                    self.write_part(block, logprobs, parts);
                }
            });
            for member in first.rest.iter().filter(|_| self.own) {
                if let Some(name) = member.name.as_bytes().strip_prefix(OF_MESSAGE.as_bytes()) {
                    item.raw(&String::from_utf8_lossy(name), member.value.as_bytes());
                }
            }
        });
        for block in blocks {
            self.write_companion(block.seal.as_ref(), array);
        }
    }

    fn write_part(&mut self, block: &Block<'_>, logprobs: &mut Option<Vec<u8>>, parts: &mut Array<'_>) {
        let mut text_part = |text: &Text<'_>, citations: &[Citation<'_>], losses: &mut Losses, own: bool| {
            parts.object(|part| {
                part.text("type", "output_text").escaped("text", text);
                part.array("annotations", |array| {
                    for citation in citations {
                        match annotation(citation, text) {
                            Some(annotation) => {
                                array.raw(&annotation);
                            }
                            None => losses.block(block.origin, Severity::Hint, "a source without an address has no place here"),
                        }
                    }
                });
                part.raw("logprobs", logprobs.take().as_deref().unwrap_or(b"[]"));
                if own {
                    own_members(block, part);
                }
            });
        };
        match &block.kind {
            Kind::Text { text, citations } => text_part(text, citations, self.losses, self.own),
            Kind::ToolCall(call) => text_part(&arguments_text(&call.arguments), &[], self.losses, self.own),
            Kind::Refusal(text) => {
                parts.object(|part| {
                    part.text("type", "refusal").escaped("refusal", text);
                    if self.own {
                        own_members(block, part);
                    }
                });
            }
            Kind::Opaque { raw, .. } => {
                parts.raw(raw.as_bytes());
            }
            _ => {}
        }
        self.lose_members(block);
    }

    fn lose_members(&mut self, block: &Block<'_>) {
        if !self.own {
            self.losses.members(block.origin, &block.rest, Severity::Hint, "replies of this dialect have no such member");
        }
    }

    fn write_item(&mut self, block: &Block<'_>, incomplete: bool, array: &mut Array<'_>) {
        self.lose_members(block);
        match &block.kind {
            Kind::Thought(thought) => return self.write_thought(block, thought, array),
            Kind::ToolCall(call) => self.write_call(block, call, incomplete, array),
            Kind::Media(media) => self.write_media(block, media, array),
            Kind::Opaque { raw, .. } if self.own => {
                self.count += 1;
                array.raw(raw.as_bytes());
            }
            Kind::Opaque { word, .. } => {
                let reason = format!("replies of this dialect hold nothing like {}", String::from_utf8_lossy(word.as_bytes()));
                self.losses.block(block.origin, Severity::Dropped, reason);
            }
            Kind::ToolResult(_) => self.losses.block(block.origin, Severity::Dropped, "a reply holds no answers of tools"),
            Kind::Text { .. } | Kind::Refusal(_) => {}
        }
        self.write_companion(block.seal.as_ref(), array);
    }

    fn write_thought(&mut self, block: &Block<'_>, thought: &Thought<'_>, array: &mut Array<'_>) {
        let hidden = self.bridge.hide_thoughts;
        if block.seal.is_none() && (hidden || thought.parts.is_empty() && thought.id.is_none()) {
            return;
        }
        let minted = self.next_id("rs");
        array.object(|item| {
            match &thought.id {
                Some(id) => item.escaped("id", id),
                None => item.text("id", &minted),
            };
            item.text("type", "reasoning");
            let shown = |shape| thought.parts.iter().filter(move |part| !hidden && part.shape == shape);
            item.array("summary", |array| {
                for part in shown(ThoughtShape::Summary) {
                    array.object(|json| {
                        json.text("type", "summary_text").escaped("text", &part.text);
                    });
                }
            });
            if shown(ThoughtShape::Full).next().is_some() {
                item.array("content", |array| {
                    for part in shown(ThoughtShape::Full) {
                        array.object(|json| {
                            json.text("type", "reasoning_text").escaped("text", &part.text);
                        });
                    }
                });
            }
            item.optional_escaped("encrypted_content", block.seal.as_ref().map(|seal| &seal.data));
            if self.own {
                item.members(&block.rest);
            }
        });
    }

    fn write_call(&mut self, block: &Block<'_>, call: &ToolCall<'_>, incomplete: bool, array: &mut Array<'_>) {
        let (name, wrapped) = self.bridge.original(&call.name);
        let free = wrapped || matches!(call.arguments, Arguments::Free(_));
        let given = match &call.arguments {
            Arguments::Free(text) => text.borrowed(),
            arguments if wrapped => unwrapped(&arguments_text(arguments)),
            arguments => arguments_text(arguments).into_owned(),
        };
        let id = self.next_id(if free { "ctc" } else { "fc" });
        let call_id = if call.id.is_empty() { text::escape(&id) } else { call.id.borrowed() };
        array.object(|item| {
            item.text("id", &id).text("type", if free { "custom_tool_call" } else { "function_call" });
            item.text("status", status_of(incomplete)).escaped("call_id", &call_id).escaped("name", &name);
            item.escaped(if free { "input" } else { "arguments" }, &given);
            if self.own {
                item.members(&block.rest);
            }
        });
    }

    fn write_media(&mut self, block: &Block<'_>, media: &Media<'_>, array: &mut Array<'_>) {
        let id = self.next_id("ig");
        let mut item = Vec::new();
        if !write_picture(media, &id, &mut item) {
            return self.losses.block(
                block.origin,
                Severity::Dropped,
                "replies of this dialect hold pictures in base64, and no other media",
            );
        }
        if self.own {
            // Its own id and status are among its members.
            item.clear();
            let MediaSource::Base64 { data, .. } = &media.source else { return };
            let mut json = Object::open(&mut item);
            json.text("type", "image_generation_call").escaped("result", data);
            json.members(&block.rest);
            json.close();
        }
        array.raw(&item);
    }

    /// The seal of something that has no place for it here.
    fn write_companion(&mut self, seal: Option<&Seal<'_>>, array: &mut Array<'_>) {
        let Some(seal) = seal else { return };
        let id = self.next_id("rs");
        array.object(|item| write_sealed(&id, &seal.data, item));
    }
}

/// Members of a part that its reader did not know.
fn own_members(block: &Block<'_>, part: &mut Object<'_>) {
    for member in &block.rest {
        if !member.name.as_bytes().starts_with(OF_MESSAGE.as_bytes()) {
            part.members(std::slice::from_ref(member));
        }
    }
}

/// A reasoning item that is nothing but its seal.
pub(crate) fn write_sealed(id: &str, seal: &Text<'_>, item: &mut Object<'_>) {
    item.text("id", id).text("type", "reasoning").raw("summary", b"[]").escaped("encrypted_content", seal);
}

/// A picture in base64 as an item; `false` when these media have none.
pub(crate) fn write_picture(media: &Media<'_>, id: &str, out: &mut Vec<u8>) -> bool {
    let (MediaClass::Image, MediaSource::Base64 { mime, data }) = (media.class, &media.source) else { return false };
    let mut item = Object::open(out);
    item.text("id", id).text("type", "image_generation_call").text("status", "completed").escaped("result", data);
    let format = mime.as_bytes().strip_prefix(b"image/").filter(|format| [&b"png"[..], b"webp", b"jpeg", b"gif"].contains(format));
    if let Some(format) = format {
        item.escaped("output_format", &Text::escaped(format));
    }
    item.close();
    true
}

/// Whether a call of this tool is the reply's text.
pub(crate) fn is_format(bridge: &Bridge, name: &Text<'_>) -> bool {
    bridge.format_tool.as_ref().is_some_and(|format| name.is(format))
}

/// Arguments as the text that this dialect has for them.
pub(crate) fn arguments_text<'t>(arguments: &'t Arguments<'_>) -> Text<'t> {
    match arguments {
        Arguments::Json(value) => text::quote(value),
        Arguments::Quoted(text) if text.is_empty() => Text::word("{}"),
        Arguments::Quoted(text) | Arguments::Free(text) => text.borrowed(),
    }
}

/// The free text in `{"input": "…"}`, which a tool that takes free text was given as; anything else as it is.
pub(crate) fn unwrapped(arguments: &Text<'_>) -> Text<'static> {
    let inside = text::unquote(arguments).and_then(|value| {
        let mut input = None;
        let read = Reader::new(value.as_bytes()).object(|key, reader| match key.name() {
            "input" => {
                input = Some(reader.text()?.into_owned());
                Ok(())
            }
            _ => reader.skip(),
        });
        input.filter(|_| read.is_ok())
    });
    inside.unwrap_or_else(|| arguments.clone().into_owned())
}

/// The array in `{"content": […]}`.
pub(crate) fn content_of(logprobs: &[u8]) -> Option<Vec<u8>> {
    let mut content = None;
    let read = Reader::new(logprobs).object(|key, reader| {
        let value = reader.raw()?;
        if key.name() == "content" && value.as_bytes().starts_with(b"[") {
            content = Some(value.as_bytes().to_vec());
        }
        Ok(())
    });
    content.filter(|_| read.is_ok())
}

/// A source as an annotation; `text` is what cites it. `None` for one without an address.
pub(crate) fn annotation(citation: &Citation<'_>, text: &Text<'_>) -> Option<Vec<u8>> {
    if is_annotation(citation.raw.as_bytes()) {
        return Some(citation.raw.as_bytes().to_vec());
    }
    let url = citation.url.as_ref()?;
    // Where no place is given, all of the text cites it.
    let (start, end) = citation.range.unwrap_or_else(|| (0, decode(text).map_or(0, |text| text.chars().count() as u64)));
    let mut json = Vec::new();
    let mut annotation = Object::open(&mut json);
    annotation.text("type", "url_citation").escaped("url", url).escaped("title", citation.title.as_ref().unwrap_or(url));
    annotation.number("start_index", start).number("end_index", end);
    annotation.close();
    Some(json)
}

/// Whether a source is written as this dialect writes them already.
fn is_annotation(raw: &[u8]) -> bool {
    let reader = Reader::new(raw);
    match reader.peek("type").as_ref().map(Text::as_bytes) {
        Some(b"url_citation") => reader.peek("url").is_some(),
        Some(b"file_citation" | b"container_file_citation" | b"file_path") => reader.peek("file_id").is_some(),
        _ => false,
    }
}

fn status_of(incomplete: bool) -> &'static str {
    if incomplete { "incomplete" } else { "completed" }
}
