//! Writes a stream in this dialect.
//!
//! Its readers are the most particular of all: the literal `data: ` with its space, one line of data, no comments, names, ids or `[DONE]`,
//! no U+2028 or U+2029 as such. Calls are whole, so that their arguments are gathered; citations and the end stand in the last chunk.
//! Nothing can keep such a stream alive.

use std::sync::Arc;

use fairlead_ir::block::{Arguments, Citation};
use fairlead_ir::{Delta, Dialect, ErrorKind, Event, Head, NanoUsd, Raw, Text, Usage};
use memchr::memchr3_iter;

use crate::error::Details;
use crate::gemini_generate::error::write_body;
use crate::gemini_generate::response::encode::{stands_for_text, write_names};
use crate::gemini_generate::wire::grounding::{Collected, is_plain};
use crate::gemini_generate::wire::part::{write_call, write_media, write_opaque, write_text};
use crate::gemini_generate::wire::{finish_word, logprobs, write_usage};
use crate::identity::Identity;
use crate::translate::Bridge;
use crate::write::{Array, Object, write_number};

/// So many candidates are written.
const MAX_CHOICES: u32 = 64;

/// A chunk without a part makes Google's Python client forget the whole turn.
const EMPTY_CONTENT: &[u8] = br#"{"parts":[{"text":""}],"role":"model"}"#;

/// How chunks stand in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `alt=sse`: events.
    Events,
    /// Without it: one JSON array, an element each.
    Array,
}

/// The state of one stream.
#[derive(Debug)]
pub(crate) struct Encoder {
    identity: Arc<Identity>,
    bridge: Arc<Bridge>,
    framing: Framing,
    /// The provider speaks this dialect: what only it knows has a place here.
    own: bool,
    /// The names at the end of every chunk, with the comma before them and the brace behind.
    tail: Vec<u8>,
    /// Something was written.
    begun: bool,
    /// The end or an error was written.
    ended: bool,
    open: Vec<OpenBlock>,
    choices: Vec<Channel>,
}

/// A block that is open.
#[derive(Debug)]
struct OpenBlock {
    choice: u32,
    block: u32,
    kind: Kind,
    seal: Option<Vec<u8>>,
    /// A call that is whole waits for the calls before it.
    is_whole: bool,
}

#[derive(Debug)]
enum Kind {
    Text,
    Thought,
    /// Written when it is whole.
    Call {
        id: Vec<u8>,
        name: Vec<u8>,
        free: bool,
        arguments: Vec<u8>,
    },
    /// A part that lacks its seal only; empty where there is no place for it.
    Whole(Vec<u8>),
}

/// One candidate.
#[derive(Debug, Default)]
struct Channel {
    seen: bool,
    /// Text blocks so far, and whether their characters are bytes.
    texts: u32,
    foreign: bool,
    cited: Collected,
    /// `finishReason` and `finishMessage`, once known.
    stop: Option<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Encoder {
    /// Before the first event of a provider that speaks `source`.
    pub(crate) fn new(source: Dialect, framing: Framing, identity: Arc<Identity>, bridge: Arc<Bridge>) -> Encoder {
        Encoder {
            identity,
            bridge,
            framing,
            own: source == Dialect::GeminiGenerate,
            tail: Vec::new(),
            begun: false,
            ended: false,
            open: Vec::new(),
            choices: Vec::new(),
        }
    }

    /// Appends what the event becomes. Ends and figures are remembered for [`finish`](Self::finish).
    pub(crate) fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        let choice = match event {
            Event::Open { choice, .. } | Event::Delta { choice, .. } | Event::Close { choice, .. } => *choice,
            Event::Logprobs { choice, .. } | Event::Stop { choice, .. } => *choice,
            Event::Start { .. } | Event::Tier(_) | Event::Usage(_) | Event::KeepAlive | Event::Fail { .. } | Event::End => 0,
        };
        if self.ended || choice >= MAX_CHOICES {
            return;
        }
        match event {
            Event::Start { id, model, created_s } => self.start(id, model, *created_s),
            Event::Open { choice, block, head } => self.open(*choice, *block, head),
            Event::Delta { choice, block, delta } => self.delta(*choice, *block, delta, out),
            Event::Close { choice, block } => self.close(*choice, *block, out),
            Event::Logprobs { choice, logprobs } => self.logprobs(*choice, logprobs, out),
            Event::Stop { choice, stop } => {
                let native = if self.own { stop.native.as_bytes() } else { finish_word(stop.reason).as_bytes() };
                // What others say besides is an object in their words; a text is our own.
                let fits = |details: &&Raw<'_>| self.own || details.as_bytes().starts_with(b"\"");
                let message = stop.details.as_ref().filter(fits).map(|details| details.as_bytes().to_vec());
                let native = native.to_vec();
                self.channel(*choice).stop = Some((native, message));
            }
            // `finish` and `fail` are told what there is to tell.
            Event::Tier(_) | Event::Usage(_) | Event::KeepAlive | Event::Fail { .. } | Event::End => {}
        }
    }

    /// Appends the last chunk, with the ends of all replies and what was used and paid.
    pub(crate) fn finish(&mut self, usage: Option<&Usage>, cost: Option<NanoUsd>, out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        while let Some(OpenBlock { choice, block, .. }) = self.open.first() {
            let (choice, block) = (*choice, *block);
            self.close(choice, block, out);
        }
        let from = self.begin(out);
        self.write_ends(usage, cost, out);
        self.end(from, out);
        self.end_body(out);
    }

    /// Appends the error that ends the stream.
    pub(crate) fn fail(&mut self, kind: ErrorKind, message: &str, details: &Details<'_>, out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        self.begin(out);
        write_body(kind, message, details, out);
        if self.framing == Framing::Events {
            out.extend_from_slice(b"\n\n");
        }
        self.end_body(out);
    }

    /// Appends nothing: this dialect's readers take neither comments nor events of other kinds.
    pub(crate) fn keep_alive(&mut self, _out: &mut Vec<u8>) {}

    fn start(&mut self, id: &Text<'_>, model: &Text<'_>, created_s: Option<u64>) {
        let mut names = Vec::new();
        let mut object = Object::open(&mut names);
        write_names(id, model, created_s, &self.identity, &mut object);
        object.close();
        names[0] = b',';
        self.tail = names;
    }

    fn channel(&mut self, choice: u32) -> &mut Channel {
        let place = choice as usize;
        if place >= self.choices.len() {
            self.choices.resize_with(place + 1, Channel::default);
        }
        let channel = &mut self.choices[place];
        channel.seen = true;
        channel
    }

    fn open(&mut self, choice: u32, block: u32, head: &Head<'_>) {
        self.channel(choice);
        let kind = match head {
            Head::Text | Head::Refusal => {
                self.channel(choice).texts += 1;
                Kind::Text
            }
            Head::Thought { .. } => Kind::Thought,
            Head::ToolCall { name, .. } if stands_for_text(name, &self.bridge) => Kind::Text,
            Head::ToolCall { id, name, free } => {
                let (name, _) = self.bridge.original(name);
                let (id, name) = (id.as_bytes().to_vec(), name.as_bytes().to_vec());
                Kind::Call { id, name, free: *free, arguments: Vec::new() }
            }
            Head::Media(media) => {
                let mut part = Vec::new();
                match write_media(media, self.own, None, &[], &mut part) {
                    Ok(()) => Kind::Whole(part),
                    Err(_) => Kind::Whole(Vec::new()),
                }
            }
            // The words of other dialects have no place here.
            Head::Opaque { raw, .. } => Kind::Whole(if self.own { raw.as_bytes().to_vec() } else { Vec::new() }),
        };
        self.open.push(OpenBlock { choice, block, kind, seal: None, is_whole: false });
    }

    fn delta(&mut self, choice: u32, block: u32, delta: &Delta<'_>, out: &mut Vec<u8>) {
        let Some(open) = self.open.iter_mut().find(|open| (open.choice, open.block) == (choice, block)) else { return };
        match (delta, &mut open.kind) {
            (Delta::Seal(seal), _) => open.seal = Some(seal.as_bytes().to_vec()),
            (Delta::Text(text) | Delta::Arguments(text), Kind::Text) => self.text(choice, text, out),
            (Delta::Thought { text, .. }, Kind::Thought) if !self.bridge.hide_thoughts => self.thought(choice, text, out),
            (Delta::Arguments(text), Kind::Call { arguments, .. }) => arguments.extend_from_slice(text.as_bytes()),
            (Delta::Citation(citation), _) => self.cite(choice, citation),
            _ => {}
        }
    }

    fn text(&mut self, choice: u32, text: &Text<'_>, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let channel = self.channel(choice);
        channel.foreign = channel.foreign || !is_plain(text);
        let from = self.begin(out);
        write_escaped_part(choice, text, b"\"}],\"role\":\"model\"},\"index\":", out);
        self.end(from, out);
    }

    fn thought(&mut self, choice: u32, text: &Text<'_>, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let from = self.begin(out);
        write_escaped_part(choice, text, b"\",\"thought\":true}],\"role\":\"model\"},\"index\":", out);
        self.end(from, out);
    }

    fn cite(&mut self, choice: u32, citation: &Citation<'_>) {
        let channel = self.channel(choice);
        // Ours count characters of the block, Google's bytes of the whole text: the same while it is one block of plain characters.
        let bytes = citation.range.filter(|_| channel.texts == 1 && !channel.foreign);
        channel.cited.add(0, bytes, citation);
    }

    fn close(&mut self, choice: u32, block: u32, out: &mut Vec<u8>) {
        let Some(open) = self.open.iter_mut().find(|open| (open.choice, open.block) == (choice, block)) else { return };
        open.is_whole = true;
        while let Some(place) = self.next_whole(choice) {
            let block = self.open.remove(place);
            self.write_block(block, out);
        }
    }

    /// The first whole block of a reply that waits for no other.
    fn next_whole(&self, choice: u32) -> Option<usize> {
        let mut calls_wait = false;
        let mut blocks = self.open.iter().enumerate().filter(|(_, open)| open.choice == choice);
        let found = blocks.find(|(_, open)| {
            let is_call = matches!(open.kind, Kind::Call { .. });
            calls_wait |= is_call && !open.is_whole;
            open.is_whole && !(is_call && calls_wait)
        });
        found.map(|(place, _)| place)
    }

    fn write_block(&mut self, block: OpenBlock, out: &mut Vec<u8>) {
        let OpenBlock { choice, kind, seal, .. } = block;
        let seal = seal.map(Text::owned);
        let part = match kind {
            Kind::Text => seal.map(|seal| empty_part(false, &seal)),
            Kind::Thought => seal.map(|seal| empty_part(true, &seal)),
            Kind::Call { id, name, free, arguments } => Some(call_part(id, name, free, arguments, seal.as_ref())),
            Kind::Whole(part) if part.is_empty() => None,
            Kind::Whole(part) => {
                let mut sealed = Vec::with_capacity(part.len());
                write_opaque(&Raw::owned(part), seal.as_ref(), &[], &mut sealed);
                Some(sealed)
            }
        };
        if let Some(part) = part {
            self.write_part(choice, &part, out);
        }
    }

    fn write_part(&mut self, choice: u32, part: &[u8], out: &mut Vec<u8>) {
        let from = self.begin(out);
        out.extend_from_slice(b"{\"candidates\":[{\"content\":{\"parts\":[");
        out.extend_from_slice(part);
        out.extend_from_slice(b"],\"role\":\"model\"},\"index\":");
        write_number(out, u64::from(choice));
        out.extend_from_slice(b"}]");
        self.end(from, out);
    }

    fn logprobs(&mut self, choice: u32, theirs: &Raw<'_>, out: &mut Vec<u8>) {
        let mut result = Vec::new();
        self.channel(choice);
        if !logprobs::write(theirs, &mut result) {
            return;
        }
        let from = self.begin(out);
        out.extend_from_slice(b"{\"candidates\":[");
        let mut candidate = Object::open(out);
        candidate.raw("content", EMPTY_CONTENT).number("index", u64::from(choice)).raw("logprobsResult", &result);
        candidate.close();
        out.push(b']');
        self.end(from, out);
    }

    fn write_ends(&self, usage: Option<&Usage>, cost: Option<NanoUsd>, out: &mut Vec<u8>) {
        let mut chunk = Object::open(out);
        match self.feedback() {
            Some(feedback) => drop(chunk.raw("promptFeedback", feedback)),
            None => {
                let mut candidates = Array::open(chunk.key("candidates"));
                for (index, channel) in (0_u64..).zip(&self.choices).filter(|(_, channel)| channel.seen) {
                    candidates.object(|candidate| channel.write_end(index, candidate));
                }
                if candidates.is_empty() {
                    candidates.object(|candidate| Channel::default().write_end(0, candidate));
                }
                candidates.close();
            }
        }
        if usage.is_some() || cost.is_some() {
            chunk.object("usageMetadata", |object| write_usage(usage, cost, object));
        }
        // The tail closes it.
    }

    /// Why the prompt got no answer, in this dialect's own words.
    fn feedback(&self) -> Option<&[u8]> {
        let [Channel { stop: Some((_, Some(details))), .. }] = self.choices.as_slice() else { return None };
        Some(details.as_slice()).filter(|details| details.starts_with(b"{"))
    }

    /// Begins a chunk; answers where it begins.
    fn begin(&mut self, out: &mut Vec<u8>) -> usize {
        let begun = std::mem::replace(&mut self.begun, true);
        out.extend_from_slice(match (self.framing, begun) {
            (Framing::Events, _) => b"data: ".as_slice(),
            (Framing::Array, false) => b"[",
            (Framing::Array, true) => b",\n",
        });
        out.len()
    }

    /// Ends the chunk that begins at `from`, which lacks its names and last brace.
    fn end(&mut self, from: usize, out: &mut Vec<u8>) {
        if self.tail.is_empty() {
            self.start(&Text::EMPTY, &Text::EMPTY, None);
        }
        out.extend_from_slice(&self.tail);
        keep_to_one_line(from, out);
        if self.framing == Framing::Events {
            out.extend_from_slice(b"\n\n");
        }
    }

    fn end_body(&mut self, out: &mut Vec<u8>) {
        self.ended = true;
        if self.framing == Framing::Array {
            out.push(b']');
        }
    }
}

impl Channel {
    fn write_end(&self, index: u64, candidate: &mut Object<'_>) {
        candidate.raw("content", EMPTY_CONTENT);
        match &self.stop {
            Some((native, message)) => {
                candidate.escaped("finishReason", &Text::escaped(native));
                if let Some(message) = message {
                    candidate.raw("finishMessage", message);
                }
            }
            None => drop(candidate.text("finishReason", "OTHER")),
        }
        candidate.number("index", index);
        self.cited.write(candidate);
    }
}

/// Writes a chunk of one text up to the names; `behind` stands between the text and the candidate's number.
fn write_escaped_part(choice: u32, text: &Text<'_>, behind: &[u8], out: &mut Vec<u8>) {
    const BEFORE: &[u8] = b"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"";
    out.reserve(BEFORE.len() + text.as_bytes().len() + behind.len() + 160);
    out.extend_from_slice(BEFORE);
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(behind);
    write_number(out, u64::from(choice));
    out.extend_from_slice(b"}]");
}

fn empty_part(thought: bool, seal: &Text<'_>) -> Vec<u8> {
    let mut part = Vec::new();
    write_text(&Text::EMPTY, thought, Some(seal), &[], &mut part);
    part
}

fn call_part(id: Vec<u8>, name: Vec<u8>, free: bool, arguments: Vec<u8>, seal: Option<&Text<'_>>) -> Vec<u8> {
    let (id, name, text) = (Text::owned(id), Text::owned(name), Text::owned(arguments));
    let arguments = if free { Arguments::Free(text) } else { Arguments::Quoted(text) };
    let mut part = Vec::new();
    // What is no object stands as a text in one; there is nobody to tell.
    let _ = write_call(Some(&id), &name, &arguments, seal, &[], &mut part);
    part
}

/// Escapes what some readers take for the end of a line, and lets no line end be between tokens.
fn keep_to_one_line(from: usize, out: &mut Vec<u8>) {
    let Some(first) = line_end(&out[from..]) else { return };
    let rest = out.split_off(from + first);
    let mut at = 0;
    while let Some(found) = line_end(&rest[at..]).map(|found| at + found) {
        out.extend_from_slice(&rest[at..found]);
        let (instead, length): (&[u8], usize) = match rest.get(found..found + 3) {
            Some([0xe2, 0x80, 0xa8]) => (b"\\u2028", 3),
            Some([0xe2, 0x80, 0xa9]) => (b"\\u2029", 3),
            // White space between tokens; inside a string JSON has none.
            _ => (b" ", 1),
        };
        out.extend_from_slice(instead);
        at = found + length;
    }
    out.extend_from_slice(&rest[at..]);
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    memchr3_iter(b'\n', b'\r', 0xe2, bytes).find(|at| bytes[*at] != 0xe2 || matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xa8 | 0xa9])))
}
