//! Writes events as a Responses stream: `created`, `in_progress`, items with their parts, one terminal with the whole reply.
//!
//! A message stays open while texts follow each other, so that they are parts of one message. Everything is gathered beside, because
//! the events that end parts, items and the reply repeat it.

use std::sync::Arc;

use fairlead_ir::block::{Citation, Media, ThoughtShape};
use fairlead_ir::{Delta, ErrorKind, Event, Head, NanoUsd, Raw, StopReason, Text, Usage};

use super::frame::Frames;
use crate::error::Details;
use crate::identity::Identity;
use crate::json::walk;
use crate::openai_responses::error::failure;
use crate::openai_responses::response::encode::{annotation, content_of, is_format, shown, unwrapped, write_picture, write_sealed};
use crate::openai_responses::wire::envelope::{Envelope, Status, write_usage};
use crate::openai_responses::wire::items::is_foreign_item;
use crate::openai_responses::wire::{stem, string_in};
use crate::read::Reader;
use crate::text::decode;
use crate::translate::Bridge;
use crate::write::{Array, Object, write_escaped};

/// The state of one stream.
#[derive(Debug)]
pub(crate) struct Encoder {
    identity: Arc<Identity>,
    bridge: Arc<Bridge>,
    stem: String,
    frames: Frames,
    names: Option<Names>,
    /// Items that were begun, in order: as JSON once they are done.
    items: Vec<Item>,
    /// Blocks by their number; `None` when closed or not shown.
    blocks: Vec<Option<Block>>,
    /// Where the message is that goes on with the next text.
    message: Option<usize>,
    stop: Option<(StopReason, String)>,
    refusal: bool,
    /// The tier that serves it, with its quotes.
    tier: Option<Vec<u8>>,
    /// Ids that the provider has given to items that are not begun here yet, with the kinds of the items.
    theirs: Vec<(&'static str, String)>,
    done: bool,
}

/// What the envelope says, fixed by the first event.
#[derive(Debug)]
struct Names {
    id: Vec<u8>,
    model: Vec<u8>,
    created_s: u64,
}

#[derive(Debug)]
struct Item {
    id: String,
    /// The item, done; empty before.
    json: Vec<u8>,
    message: Option<Message>,
}

/// A message while its parts come.
#[derive(Debug, Default)]
struct Message {
    /// Parts as JSON, by their index; empty while a part is open.
    parts: Vec<Vec<u8>>,
    open: usize,
    /// Something else has begun: it ends with its last part.
    ending: bool,
}

/// A block that is open.
#[derive(Debug)]
struct Block {
    shape: Shape,
    seal: Option<Vec<u8>>,
}

#[derive(Debug)]
enum Shape {
    /// A text, begun with its first piece.
    Text {
        refusal: bool,
        part: Option<Part>,
    },
    Thought {
        id: Option<Vec<u8>>,
        thought: Option<Thought>,
    },
    Call(Call),
    /// Said whole when it was opened, or not at all.
    Whole,
}

#[derive(Debug, Default)]
struct Part {
    item: usize,
    content_index: usize,
    text: Vec<u8>,
    annotations: Vec<Vec<u8>>,
    logprobs: Vec<u8>,
    /// What stands between the number of an event and its text.
    middle: Vec<u8>,
}

#[derive(Debug, Default)]
struct Thought {
    item: usize,
    /// Parts that are done, as JSON: summaries and full ones.
    summary: Vec<Vec<u8>>,
    content: Vec<Vec<u8>>,
    open: Option<OpenThought>,
}

#[derive(Debug)]
struct OpenThought {
    shape: ThoughtShape,
    part: u32,
    text: Vec<u8>,
    middle: Vec<u8>,
}

#[derive(Debug)]
struct Call {
    item: usize,
    call_id: Vec<u8>,
    name: Vec<u8>,
    free: bool,
    /// Free text that comes wrapped: known when it is whole.
    wrapped: bool,
    text: Vec<u8>,
    middle: Vec<u8>,
}

impl Encoder {
    /// An encoder at the start of a stream.
    pub(crate) fn new(identity: Arc<Identity>, bridge: Arc<Bridge>) -> Encoder {
        let stem = stem(identity.generation_id());
        Encoder {
            identity,
            bridge,
            stem,
            frames: Frames::default(),
            names: None,
            items: Vec::new(),
            blocks: Vec::new(),
            message: None,
            stop: None,
            refusal: false,
            tier: None,
            theirs: Vec::new(),
            done: false,
        }
    }

    /// Takes over what a stream has said that came to nothing before its first item: how it is called, and the next number.
    pub(crate) fn continue_after(&mut self, other: Encoder) {
        (self.names, self.frames) = (other.names, other.frames);
    }

    /// The client has this event as the provider sent it: what is written of its item has the same id.
    pub(crate) fn adopt(&mut self, name: Option<&[u8]>, event: &[u8]) {
        if name.or_else(|| string_in(event, "type")) != Some(b"response.output_item.added") {
            return;
        }
        let Some(item) = walk::member(event, "item").ok().flatten() else { return };
        let kind = match string_in(item.value, "type") {
            Some(b"message") => "msg",
            Some(b"function_call") => "fc",
            Some(b"custom_tool_call") => "ctc",
            Some(b"image_generation_call") => "ig",
            // A thought brings its own, and what else there is goes on whole.
            _ => return,
        };
        if let Some(id) = string_in(item.value, "id").and_then(|id| core::str::from_utf8(id).ok()) {
            self.theirs.push((kind, id.to_owned()));
        }
    }

    /// The client has had so many events from somebody else.
    pub(crate) fn go_on_from(&mut self, next: u64) {
        self.frames.go_on_from(next);
    }

    /// Writes what an event says. Replies of this kind are one: other choices are not shown.
    pub(crate) fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.done {
            return;
        }
        match event {
            Event::Start { id, model, created_s } => self.begin(id, model, *created_s, out),
            Event::Open { choice: 0, block, head } => self.open(*block, head, out),
            Event::Delta { choice: 0, block, delta } => self.delta(*block, delta, out),
            Event::Close { choice: 0, block } => self.close(*block, out),
            Event::Logprobs { choice: 0, logprobs } => self.take_logprobs(logprobs),
            Event::Stop { choice: 0, stop } => {
                self.stop = Some((stop.reason, decode(&stop.native).unwrap_or_default().into_owned()));
            }
            Event::Tier(tier) => {
                let mut json = Vec::new();
                write_escaped(&mut json, tier);
                self.tier = Some(json);
            }
            // The figures come with `finish`, failures with `fail`, silence with `keep_alive`.
            _ => {}
        }
    }

    /// Writes the end of the reply, once.
    pub(crate) fn finish(&mut self, usage: Option<&Usage>, cost: Option<NanoUsd>, out: &mut Vec<u8>) {
        if self.done {
            return;
        }
        self.begin_unnamed(out);
        for block in 0..self.blocks.len() {
            self.close(block as u32, out);
        }
        let (reason, native) = self.stop.take().unwrap_or((StopReason::End, String::new()));
        let status = Status::of(reason, &native, self.refusal);
        self.end_message(matches!(status, Status::Incomplete(_)), out);
        let usage = usage.map(|usage| {
            let mut json = Vec::new();
            write_usage(usage, cost, self.identity.is_openrouter(), &mut json);
            json
        });
        self.end(status, usage.as_deref(), out);
    }

    /// Writes a failure and nothing after it.
    pub(crate) fn fail(&mut self, kind: ErrorKind, message: &str, details: &Details<'_>, out: &mut Vec<u8>) {
        if self.done {
            return;
        }
        self.begin_unnamed(out);
        self.end(failure(self.identity.manner(), kind, message, details), None, out);
    }

    /// Writes an event that says nothing new: clients of this dialect do not count comments as signs of life.
    pub(crate) fn keep_alive(&mut self, out: &mut Vec<u8>) {
        if !self.done {
            self.begin_unnamed(out);
            self.lifecycle("response.in_progress", Status::InProgress, &[], None, out);
        }
    }

    fn begin_unnamed(&mut self, out: &mut Vec<u8>) {
        self.begin(&Text::EMPTY, &Text::EMPTY, None, out);
    }

    fn begin(&mut self, id: &Text<'_>, model: &Text<'_>, created_s: Option<u64>, out: &mut Vec<u8>) {
        if self.names.is_some() {
            return;
        }
        let openrouter = self.identity.is_openrouter();
        self.names = Some(Names {
            id: shown(id, self.identity.generation_id(), openrouter),
            model: shown(model, self.identity.model(), openrouter),
            created_s: created_s.unwrap_or(self.identity.created_s()),
        });
        self.lifecycle("response.created", Status::InProgress, &[], None, out);
        self.lifecycle("response.in_progress", Status::InProgress, &[], None, out);
    }

    /// Writes an event of the reply's own life; `output`: the items so far.
    fn lifecycle(&mut self, word: &str, status: Status<'_>, output: &[u8], usage: Option<&[u8]>, out: &mut Vec<u8>) {
        let Some(names) = &self.names else { return };
        let provider = self.identity.is_openrouter().then(|| self.identity.provider());
        let output = if output.is_empty() { b"[]" } else { output };
        let envelope = Envelope {
            id: &names.id,
            model: &names.model,
            created_s: names.created_s,
            status,
            output,
            usage,
            service_tier: self.tier.as_deref(),
            provider,
            kept_after: self.identity.kept_after_json(),
        };
        self.frames.event(word, out, |json| envelope.write(json.key("response")));
    }

    fn end(&mut self, status: Status<'_>, usage: Option<&[u8]>, out: &mut Vec<u8>) {
        let mut output = Vec::new();
        let mut array = Array::open(&mut output);
        self.items.iter().filter(|item| !item.json.is_empty()).for_each(|item| {
            array.raw(&item.json);
        });
        array.close();
        let word = match status {
            Status::Failed { .. } => "response.failed",
            Status::Incomplete(_) => "response.incomplete",
            Status::Completed | Status::InProgress => "response.completed",
        };
        self.lifecycle(word, status, &output, usage, out);
        self.done = true;
    }

    fn open(&mut self, block: u32, head: &Head<'_>, out: &mut Vec<u8>) {
        self.begin_unnamed(out);
        let shape = match head {
            Head::Text => Shape::Text { refusal: false, part: None },
            Head::Refusal => Shape::Text { refusal: true, part: None },
            Head::Thought { id, .. } => Shape::Thought { id: id.as_ref().map(|id| id.as_bytes().to_vec()), thought: None },
            Head::ToolCall { name, .. } if is_format(&self.bridge, name) => Shape::Text { refusal: false, part: None },
            Head::ToolCall { id, name, free } => Shape::Call(self.begin_call(id, name, *free, out)),
            Head::Media(media) => self.picture(media, out),
            Head::Opaque { word, raw } => self.foreign(word, raw, out),
        };
        let at = block as usize;
        if self.blocks.len() <= at {
            self.blocks.resize_with(at + 1, || None);
        }
        self.blocks[at] = Some(Block { shape, seal: None });
    }

    fn delta(&mut self, number: u32, delta: &Delta<'_>, out: &mut Vec<u8>) {
        let Some(slot) = self.blocks.get_mut(number as usize) else { return };
        let Some(mut block) = slot.take() else { return };
        match (&mut block.shape, delta) {
            (_, Delta::Seal(seal)) => block.seal = Some(seal.as_bytes().to_vec()),
            (Shape::Text { refusal, part }, Delta::Text(text) | Delta::Arguments(text)) => {
                let part = part.get_or_insert_with(|| self.begin_part(*refusal, out));
                part.text.extend_from_slice(text.as_bytes());
                let (word, tail) =
                    if *refusal { ("response.refusal.delta", "") } else { ("response.output_text.delta", r#","logprobs":[]"#) };
                self.frames.delta(word, &part.middle, text, tail, out);
            }
            (Shape::Text { refusal: false, part }, Delta::Citation(citation)) => {
                let part = part.get_or_insert_with(|| self.begin_part(false, out));
                self.cite(part, citation, out);
            }
            (Shape::Thought { id, thought }, Delta::Thought { shape, part, text }) if !self.bridge.hide_thoughts => {
                let thought = thought.get_or_insert_with(|| self.begin_thought(id.take(), out));
                self.think(thought, *shape, *part, text, out);
            }
            (Shape::Call(call), Delta::Arguments(text)) => {
                call.text.extend_from_slice(text.as_bytes());
                if !call.wrapped {
                    self.frames.delta(call_delta(call.free), &call.middle, text, "", out);
                }
            }
            _ => {}
        }
        self.blocks[number as usize] = Some(block);
    }

    fn close(&mut self, number: u32, out: &mut Vec<u8>) {
        let Some(block) = self.blocks.get_mut(number as usize).and_then(Option::take) else { return };
        match block.shape {
            Shape::Text { refusal, part } => {
                if let Some(part) = part {
                    self.end_part(part, refusal, out);
                }
            }
            Shape::Thought { id, thought } => {
                let seal = block.seal.map(Text::owned);
                let thought = match thought {
                    Some(thought) => thought,
                    None if seal.is_some() || id.is_some() && !self.bridge.hide_thoughts => self.begin_thought(id, out),
                    None => return,
                };
                return self.end_thought(thought, seal.as_ref(), out);
            }
            Shape::Call(call) => self.end_call(call, out),
            Shape::Whole => {}
        }
        if let Some(seal) = block.seal {
            self.companion(&Text::owned(seal), out);
        }
    }

    // --- items ---

    /// A new item at the end, announced as `json` says it begins. The message before it goes on no more.
    fn begin_item(&mut self, prefix: &str, out: &mut Vec<u8>, write: impl FnOnce(&str, &mut Object<'_>)) -> usize {
        self.end_message(false, out);
        let at = self.items.len();
        let known = self.theirs.iter().position(|(kind, _)| *kind == prefix).map(|known| self.theirs.remove(known).1);
        let id = known.filter(|id| self.is_free(id)).unwrap_or_else(|| format!("{prefix}_{}_{at}", self.stem));
        self.frames.event("response.output_item.added", out, |json| {
            json.number("output_index", at as u64).object("item", |item| write(&id, item));
        });
        self.items.push(Item { id, json: Vec::new(), message: None });
        at
    }

    fn end_item(&mut self, at: usize, json: Vec<u8>, out: &mut Vec<u8>) {
        self.frames.event("response.output_item.done", out, |event| {
            event.number("output_index", at as u64).raw("item", &json);
        });
        self.items[at].json = json;
    }

    /// `,"item_id":…,"output_index":…` and, where there is one, an index inside.
    fn middle(&self, at: usize, index: Option<(&str, usize)>) -> Vec<u8> {
        let index = index.map(|(name, index)| format!(r#","{name}":{index}"#)).unwrap_or_default();
        let id = self.items.get(at).map_or("", |item| &item.id);
        format!(r#","item_id":"{id}","output_index":{at}{index}"#).into_bytes()
    }

    /// Whether an id can stand in JSON as it is, and is no other item's: helpers of clients find items by their ids.
    fn is_free(&self, id: &str) -> bool {
        let plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
        plain && self.items.iter().all(|item| item.id != id)
    }

    // --- messages ---

    fn begin_part(&mut self, refusal: bool, out: &mut Vec<u8>) -> Part {
        self.refusal |= refusal;
        let item = match self.message {
            Some(item) => item,
            None => {
                let item = self.begin_item("msg", out, |id, json| {
                    json.text("id", id)
                        .text("type", "message")
                        .text("status", "in_progress")
                        .text("role", "assistant")
                        .raw("content", b"[]");
                });
                self.items[item].message = Some(Message::default());
                self.message = Some(item);
                item
            }
        };
        let content_index = match &mut self.items[item].message {
            Some(message) => {
                message.open += 1;
                message.parts.push(Vec::new());
                message.parts.len() - 1
            }
            None => 0,
        };
        let middle = self.middle(item, Some(("content_index", content_index)));
        let empty: &[u8] = if refusal {
            br#"{"type":"refusal","refusal":""}"#
        } else {
            br#"{"type":"output_text","text":"","annotations":[],"logprobs":[]}"#
        };
        self.frames.event("response.content_part.added", out, |json| {
            json.place(&middle).raw("part", empty);
        });
        Part { item, content_index, middle, ..Part::default() }
    }

    fn cite(&mut self, part: &mut Part, citation: &Citation<'_>, out: &mut Vec<u8>) {
        let Some(json) = annotation(citation, &Text::escaped(&part.text)) else { return };
        self.frames.event("response.output_text.annotation.added", out, |event| {
            event.place(&part.middle).number("annotation_index", part.annotations.len() as u64).raw("annotation", &json);
        });
        part.annotations.push(json);
    }

    fn take_logprobs(&mut self, logprobs: &Raw<'_>) {
        let Some(content) = content_of(logprobs.as_bytes()) else { return };
        let Some(inside) = content.strip_prefix(b"[").and_then(|list| list.strip_suffix(b"]")).filter(|list| !list.trim_ascii().is_empty())
        else {
            return;
        };
        // They belong to the text that came before.
        let parts = self.blocks.iter_mut().rev().flatten().filter_map(|block| match &mut block.shape {
            Shape::Text { refusal: false, part: Some(part) } => Some(part),
            _ => None,
        });
        for part in parts.take(1) {
            if !part.logprobs.is_empty() {
                part.logprobs.push(b',');
            }
            part.logprobs.extend_from_slice(inside);
        }
    }

    fn end_part(&mut self, part: Part, refusal: bool, out: &mut Vec<u8>) {
        let text = Text::escaped(&part.text);
        let logprobs = [b"[", part.logprobs.as_slice(), b"]"].concat();
        let mut json = Vec::new();
        let mut object = Object::open(&mut json);
        if refusal {
            object.text("type", "refusal").escaped("refusal", &text);
            self.frames.event("response.refusal.done", out, |event| {
                event.place(&part.middle).escaped("refusal", &text);
            });
        } else {
            object.text("type", "output_text").escaped("text", &text);
            object.array("annotations", |array| {
                part.annotations.iter().for_each(|json| {
                    array.raw(json);
                })
            });
            object.raw("logprobs", &logprobs);
            self.frames.event("response.output_text.done", out, |event| {
                event.place(&part.middle).escaped("text", &text).raw("logprobs", &logprobs);
            });
        }
        object.close();
        self.frames.event("response.content_part.done", out, |event| {
            event.place(&part.middle).raw("part", &json);
        });
        let Some(message) = &mut self.items[part.item].message else { return };
        message.open = message.open.saturating_sub(1);
        message.parts[part.content_index] = json;
        if message.ending && message.open == 0 {
            self.write_message(part.item, false, out);
        }
    }

    /// The message goes on no more: it ends now, or with its last open part.
    fn end_message(&mut self, incomplete: bool, out: &mut Vec<u8>) {
        let Some(at) = self.message.take() else { return };
        let Some(message) = &mut self.items[at].message else { return };
        if message.open > 0 {
            message.ending = true;
        } else {
            self.write_message(at, incomplete, out);
        }
    }

    fn write_message(&mut self, at: usize, incomplete: bool, out: &mut Vec<u8>) {
        let Some(message) = self.items[at].message.take() else { return };
        let mut json = Vec::new();
        let mut object = Object::open(&mut json);
        object.text("id", &self.items[at].id).text("type", "message");
        object.text("status", if incomplete { "incomplete" } else { "completed" }).text("role", "assistant");
        object.array("content", |array| {
            message.parts.iter().for_each(|part| {
                array.raw(part);
            })
        });
        object.close();
        self.end_item(at, json, out);
    }

    // --- thoughts ---

    fn begin_thought(&mut self, id: Option<Vec<u8>>, out: &mut Vec<u8>) -> Thought {
        let theirs = id.map(Text::owned).and_then(|id| decode(&id).map(|id| id.into_owned())).filter(|id| self.is_free(id));
        let item = self.begin_item("rs", out, |minted, json| {
            json.text("id", theirs.as_deref().unwrap_or(minted)).text("type", "reasoning").raw("summary", b"[]");
        });
        if let Some(id) = theirs {
            self.items[item].id = id;
        }
        Thought { item, ..Thought::default() }
    }

    fn think(&mut self, thought: &mut Thought, shape: ThoughtShape, part: u32, text: &Text<'_>, out: &mut Vec<u8>) {
        let goes_on = thought.open.as_ref().is_some_and(|open| open.shape == shape && open.part == part);
        if !goes_on {
            self.end_thought_part(thought, out);
            let (name, index) = match shape {
                ThoughtShape::Summary => ("summary_index", thought.summary.len()),
                ThoughtShape::Full => ("content_index", thought.content.len()),
            };
            let middle = self.middle(thought.item, Some((name, index)));
            let (word, empty): (_, &[u8]) = match shape {
                ThoughtShape::Summary => ("response.reasoning_summary_part.added", br#"{"type":"summary_text","text":""}"#),
                ThoughtShape::Full => ("response.content_part.added", br#"{"type":"reasoning_text","text":""}"#),
            };
            self.frames.event(word, out, |event| {
                event.place(&middle).raw("part", empty);
            });
            thought.open = Some(OpenThought { shape, part, text: Vec::new(), middle });
        }
        let Some(open) = &mut thought.open else { return };
        open.text.extend_from_slice(text.as_bytes());
        let word = match shape {
            ThoughtShape::Summary => "response.reasoning_summary_text.delta",
            ThoughtShape::Full => "response.reasoning_text.delta",
        };
        self.frames.delta(word, &open.middle, text, "", out);
    }

    fn end_thought_part(&mut self, thought: &mut Thought, out: &mut Vec<u8>) {
        let Some(open) = thought.open.take() else { return };
        let text = Text::escaped(&open.text);
        let (kind, text_done, part_done, parts) = match open.shape {
            ThoughtShape::Summary => {
                ("summary_text", "response.reasoning_summary_text.done", "response.reasoning_summary_part.done", &mut thought.summary)
            }
            ThoughtShape::Full => ("reasoning_text", "response.reasoning_text.done", "response.content_part.done", &mut thought.content),
        };
        let mut json = Vec::new();
        let mut object = Object::open(&mut json);
        object.text("type", kind).escaped("text", &text);
        object.close();
        self.frames.event(text_done, out, |event| {
            event.place(&open.middle).escaped("text", &text);
        });
        self.frames.event(part_done, out, |event| {
            event.place(&open.middle).raw("part", &json);
        });
        parts.push(json);
    }

    fn end_thought(&mut self, mut thought: Thought, seal: Option<&Text<'_>>, out: &mut Vec<u8>) {
        self.end_thought_part(&mut thought, out);
        let mut json = Vec::new();
        let mut object = Object::open(&mut json);
        object.text("id", &self.items[thought.item].id).text("type", "reasoning");
        object.array("summary", |array| {
            thought.summary.iter().for_each(|part| {
                array.raw(part);
            })
        });
        if !thought.content.is_empty() {
            object.array("content", |array| {
                thought.content.iter().for_each(|part| {
                    array.raw(part);
                })
            });
        }
        object.optional_escaped("encrypted_content", seal);
        object.close();
        self.end_item(thought.item, json, out);
    }

    /// The seal of something that has no place for it here, as a reasoning item behind it.
    fn companion(&mut self, seal: &Text<'_>, out: &mut Vec<u8>) {
        let mut json = Vec::new();
        let at = self.begin_item("rs", out, |id, item| {
            let mut object = Object::open(&mut json);
            write_sealed(id, seal, &mut object);
            object.close();
            write_sealed(id, seal, item);
        });
        self.end_item(at, json, out);
    }

    // --- calls ---

    fn begin_call(&mut self, id: &Text<'_>, name: &Text<'_>, free: bool, out: &mut Vec<u8>) -> Call {
        let bridge = Arc::clone(&self.bridge);
        let (name, wrapped) = bridge.original(name);
        let wrapped = wrapped && !free;
        let mut call = Call {
            item: 0,
            call_id: id.as_bytes().to_vec(),
            name: name.as_bytes().to_vec(),
            free: free || wrapped,
            wrapped,
            text: Vec::new(),
            middle: Vec::new(),
        };
        call.item = self.begin_item(if call.free { "ctc" } else { "fc" }, out, |id, item| write_call(&call, id, "in_progress", item));
        call.middle = self.middle(call.item, None);
        call
    }

    fn end_call(&mut self, mut call: Call, out: &mut Vec<u8>) {
        if call.wrapped {
            let input = unwrapped(&Text::escaped(&call.text));
            self.frames.delta(call_delta(true), &call.middle, &input, "", out);
            call.text = input.as_bytes().to_vec();
        }
        let (word, given) = match call.free {
            true => ("response.custom_tool_call_input.done", "input"),
            false => ("response.function_call_arguments.done", "arguments"),
        };
        self.frames.event(word, out, |event| {
            event.place(&call.middle).escaped(given, &Text::escaped(&call.text));
            if !call.free {
                event.escaped("name", &Text::escaped(&call.name));
            }
        });
        let mut json = Vec::new();
        let mut object = Object::open(&mut json);
        write_call(&call, &self.items[call.item].id, "completed", &mut object);
        object.close();
        self.end_item(call.item, json, out);
    }

    // --- what comes whole ---

    fn picture(&mut self, media: &Media<'_>, out: &mut Vec<u8>) -> Shape {
        let mut json = Vec::new();
        let id = format!("ig_{}_{}", self.stem, self.items.len());
        if write_picture(media, &id, &mut json) {
            let at = self.begin_item("ig", out, |id, item| {
                item.text("id", id).text("type", "image_generation_call").text("status", "in_progress").raw("result", b"null");
            });
            self.end_item(at, json, out);
        }
        Shape::Whole
    }

    /// An item that only this dialect has goes on as it came; others have no place here.
    fn foreign(&mut self, word: &Text<'_>, raw: &Raw<'_>, out: &mut Vec<u8>) -> Shape {
        let reader = Reader::new(raw.as_bytes());
        if is_foreign_item(word) && reader.peek("type").as_ref() == Some(word) {
            let at = self.items.len();
            self.end_message(false, out);
            self.frames.event("response.output_item.added", out, |event| {
                event.number("output_index", at as u64).raw("item", raw.as_bytes());
            });
            self.items.push(Item { id: String::new(), json: Vec::new(), message: None });
            self.end_item(at, raw.as_bytes().to_vec(), out);
        }
        Shape::Whole
    }
}

fn call_delta(free: bool) -> &'static str {
    if free { "response.custom_tool_call_input.delta" } else { "response.function_call_arguments.delta" }
}

fn write_call(call: &Call, id: &str, status: &str, item: &mut Object<'_>) {
    item.text("id", id).text("type", if call.free { "custom_tool_call" } else { "function_call" });
    item.text("status", status).escaped("call_id", &Text::escaped(&call.call_id)).escaped("name", &Text::escaped(&call.name));
    write_escaped(item.key(if call.free { "input" } else { "arguments" }), &Text::escaped(&call.text));
}
