//! Events as a stream of Converse.
//!
//! One block is open at a time: what comes of a later one waits until the earlier has ended.

use std::collections::VecDeque;
use std::sync::Arc;

use fairlead_ir::block::{MediaClass, MediaSource};
use fairlead_ir::{Delta, ErrorKind, Event, Head, NanoUsd, Stop, StopReason, Text, Usage};

use crate::bedrock_converse::error::{exception, write_exception};
use crate::bedrock_converse::wire::media::format_of;
use crate::bedrock_converse::wire::{citation, stop_word, write_usage};
use crate::error::Details;
use crate::eventstream;
use crate::identity::Identity;
use crate::text::escape;
use crate::translate::Bridge;
use crate::write::{Object, write_escaped, write_number};

/// Writes the messages of one stream. The first choice is the reply.
#[derive(Debug)]
pub(crate) struct Encoder {
    bridge: Arc<Bridge>,
    blocks: Vec<Block>,
    /// How many blocks have a number in the stream.
    numbered: u32,
    /// The block whose pieces are written at once.
    current: Option<u32>,
    /// Blocks that wait for it, in their order.
    waiting: VecDeque<Waiting>,
    called: bool,
    stop: Option<(StopReason, Option<Text<'static>>)>,
    closed: bool,
}

/// A block of the events.
#[derive(Debug)]
struct Block {
    kind: BlockKind,
    /// Its number in the stream.
    index: u32,
    /// A piece of it has been written.
    begun: bool,
    /// The readable part that was written last.
    part: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BlockKind {
    Text,
    Thought {
        redacted: bool,
    },
    /// `free`: its text becomes an object with the text under `input`, as there are no tools that take text here.
    Call {
        free: bool,
    },
    Image,
    /// A thought that shall not be seen: only its seal is written, as a block of its own.
    Unseen {
        redacted: bool,
    },
    /// Nothing of it is written.
    Nothing,
}

#[derive(Debug)]
struct Waiting {
    block: Option<u32>,
    messages: Vec<u8>,
    closed: bool,
}

impl Encoder {
    /// At the start of a stream. Ids and names of the reply have no place in it.
    pub(crate) fn new(_identity: Arc<Identity>, bridge: Arc<Bridge>) -> Encoder {
        Encoder {
            bridge,
            blocks: Vec::new(),
            numbered: 0,
            current: None,
            waiting: VecDeque::new(),
            called: false,
            stop: None,
            closed: false,
        }
    }

    /// Writes an event; stop, usage and end are written by [`Encoder::finish`], a failure by [`Encoder::fail`].
    pub(crate) fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.closed {
            return;
        }
        match event {
            Event::Start { .. } => eventstream::event("messageStart", out, |out| out.extend_from_slice(br#"{"role":"assistant"}"#)),
            Event::Open { choice: 0, head, .. } => self.open(head, out),
            Event::Delta { choice: 0, block, delta } => self.delta(*block, delta, out),
            Event::Close { choice: 0, block } => self.close(*block, out),
            Event::Stop { choice: 0, stop } => self.take_stop(stop),
            _ => {}
        }
    }

    /// Ends the stream, once.
    pub(crate) fn finish(&mut self, usage: Option<&Usage>, cost: Option<NanoUsd>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let (reason, sequence) = self.stop.take().unwrap_or((StopReason::End, None));
        let reason = if reason == StopReason::ToolCalls && !self.called { StopReason::End } else { reason };
        eventstream::event("messageStop", out, |out| {
            let mut object = Object::open(out);
            object.text("stopReason", stop_word(reason));
            if let Some(sequence) = &sequence {
                object.object("additionalModelResponseFields", |fields| {
                    fields.object("delta", |delta| {
                        delta.escaped("stop_sequence", sequence);
                    });
                });
            }
            object.close();
        });
        eventstream::event("metadata", out, |out| {
            let mut object = Object::open(out);
            object.object("usage", |object| write_usage(usage.unwrap_or(&Usage::default()), cost, object));
            // How long it took is not the codec's to know.
            object.raw("metrics", br#"{"latencyMs":0}"#);
            object.close();
        });
    }

    /// Ends the stream with an error, once.
    pub(crate) fn fail(&mut self, kind: ErrorKind, message: &str, details: &Details<'_>, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.closed, true) {
            write_failure(kind, message, details, out);
        }
    }

    /// There is no message that says nothing: AWS's clients read every one as an event.
    pub(crate) fn keep_alive(&mut self, _out: &mut Vec<u8>) {}

    fn open(&mut self, head: &Head<'_>, out: &mut Vec<u8>) {
        let hide = self.bridge.hide_thoughts;
        let kind = match head {
            Head::Text | Head::Refusal => BlockKind::Text,
            Head::Thought { redacted, .. } if hide => BlockKind::Unseen { redacted: *redacted },
            Head::Thought { redacted, .. } => BlockKind::Thought { redacted: *redacted },
            Head::ToolCall { name, .. } if self.is_format_tool(name) => BlockKind::Text,
            Head::ToolCall { free, .. } => BlockKind::Call { free: *free },
            Head::Media(media) if image(media).is_some() => BlockKind::Image,
            Head::Media(_) | Head::Opaque { .. } => BlockKind::Nothing,
        };
        let block = self.blocks.len() as u32;
        let mut index = 0;
        if !matches!(kind, BlockKind::Unseen { .. } | BlockKind::Nothing) {
            index = self.number();
            match self.current {
                None => self.current = Some(block),
                Some(_) => self.waiting.push_back(Waiting { block: Some(block), messages: Vec::new(), closed: false }),
            }
        }
        self.blocks.push(Block { kind, index, begun: false, part: 0 });
        self.called |= matches!(kind, BlockKind::Call { .. });
        let bridge = Arc::clone(&self.bridge);
        let Some(out) = self.place(block, out) else { return };
        match head {
            Head::ToolCall { id, name, .. } => {
                if let BlockKind::Call { free } = kind {
                    write_call(index, id, &bridge.original(name).0, out);
                    if free {
                        write_nested(index, "toolUse", "input", &Text::word(r#"{\"input\":\""#), out);
                    }
                }
            }
            Head::Media(media) => {
                if let Some((format, data)) = image(media) {
                    write_image(index, format, data, out);
                }
            }
            _ => {}
        }
    }

    fn number(&mut self) -> u32 {
        let index = self.numbered;
        self.numbered += 1;
        index
    }

    /// Where the messages of `block` go; `None` for one that has none.
    fn place<'p>(&'p mut self, block: u32, out: &'p mut Vec<u8>) -> Option<&'p mut Vec<u8>> {
        if self.current == Some(block) {
            return Some(out);
        }
        self.waiting.iter_mut().find(|waiting| waiting.block == Some(block)).map(|waiting| &mut waiting.messages)
    }

    fn delta(&mut self, block: u32, delta: &Delta<'_>, out: &mut Vec<u8>) {
        let Some(state) = self.blocks.get_mut(block as usize) else { return };
        let (kind, index) = (state.kind, state.index);
        let new_part = match delta {
            Delta::Thought { part, .. } => std::mem::replace(&mut state.part, *part) != *part && state.begun,
            _ => false,
        };
        state.begun |= !matches!(delta, Delta::Seal(_)) || matches!(kind, BlockKind::Thought { .. });
        match (kind, delta) {
            (BlockKind::Unseen { redacted }, Delta::Seal(data)) => return self.write_unseen(redacted, data, out),
            // See the carrier of whole replies: a seal on anything but a thought travels in a thought without words behind it.
            (BlockKind::Text | BlockKind::Call { .. } | BlockKind::Image, Delta::Seal(data)) => return self.write_unseen(false, data, out),
            _ => {}
        }
        let Some(out) = self.place(block, out) else { return };
        match (kind, delta) {
            (BlockKind::Text, Delta::Text(text) | Delta::Arguments(text)) => write_text(index, text, out),
            (BlockKind::Text, Delta::Citation(citation)) => {
                write_delta(index, out, |out| write_in("citation", out, |out| citation::write(citation, out)));
            }
            (BlockKind::Call { free: false }, Delta::Arguments(text)) => write_nested(index, "toolUse", "input", text, out),
            (BlockKind::Call { free: true }, Delta::Arguments(text)) => {
                let deeper = escape(&String::from_utf8_lossy(text.as_bytes())).into_owned();
                write_nested(index, "toolUse", "input", &deeper, out);
            }
            (BlockKind::Thought { redacted: false }, Delta::Thought { text, .. }) => {
                if new_part {
                    write_nested(index, "reasoningContent", "text", &Text::word(r"\n\n"), out);
                }
                write_nested(index, "reasoningContent", "text", text, out);
            }
            (BlockKind::Thought { redacted }, Delta::Seal(data)) => write_nested(index, "reasoningContent", seal_word(redacted), data, out),
            _ => {}
        }
    }

    /// A seal alone, as a block of its own behind those that are open.
    fn write_unseen(&mut self, redacted: bool, data: &Text<'_>, out: &mut Vec<u8>) {
        let index = self.number();
        let mut messages = Vec::new();
        write_nested(index, "reasoningContent", seal_word(redacted), data, &mut messages);
        write_stop(index, &mut messages);
        match self.current {
            None => out.append(&mut messages),
            Some(_) => self.waiting.push_back(Waiting { block: None, messages, closed: true }),
        }
    }

    fn close(&mut self, block: u32, out: &mut Vec<u8>) {
        let Some(state) = self.blocks.get(block as usize) else { return };
        let (kind, index, begun) = (state.kind, state.index, state.begun);
        let Some(place) = self.place(block, out) else { return };
        match kind {
            // A block must have a piece to be seen.
            BlockKind::Text if !begun => write_text(index, &Text::EMPTY, place),
            BlockKind::Call { free: true } => write_nested(index, "toolUse", "input", &Text::word(r#"\"}"#), place),
            BlockKind::Thought { .. } if !begun => write_nested(index, "reasoningContent", "text", &Text::EMPTY, place),
            _ => {}
        }
        write_stop(index, place);
        if self.current == Some(block) {
            self.current = None;
            self.next(out);
        } else if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.block == Some(block)) {
            waiting.closed = true;
        }
    }

    /// Writes what waited, up to a block that goes on.
    fn next(&mut self, out: &mut Vec<u8>) {
        while let Some(mut waiting) = self.waiting.pop_front() {
            out.append(&mut waiting.messages);
            if !waiting.closed {
                self.current = waiting.block;
                return;
            }
        }
    }

    fn take_stop(&mut self, stop: &Stop<'_>) {
        self.stop = Some((stop.reason, stop.sequence.clone().map(Text::into_owned)));
    }

    fn is_format_tool(&self, name: &Text<'_>) -> bool {
        self.bridge.format_tool.as_ref().is_some_and(|tool| escape(tool) == *name)
    }
}

/// Appends the exception that ends a stream.
pub(crate) fn write_failure(kind: ErrorKind, message: &str, details: &Details<'_>, out: &mut Vec<u8>) {
    eventstream::exception(exception(kind), out, |out| write_exception(kind, message, details, out));
}

/// Format and bytes of a picture that can be sent.
fn image<'m>(media: &'m fairlead_ir::block::Media<'_>) -> Option<(&'static str, &'m Text<'m>)> {
    match &media.source {
        MediaSource::Base64 { mime, data } if media.class == MediaClass::Image => Some((format_of(MediaClass::Image, mime)?, data)),
        _ => None,
    }
}

const fn seal_word(redacted: bool) -> &'static str {
    if redacted { "redactedContent" } else { "signature" }
}

/// An object with one member whose value `write` appends.
fn write_in(key: &'static str, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    write(out);
    out.push(b'}');
}

fn write_delta(index: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    eventstream::event("contentBlockDelta", out, |out| {
        out.extend_from_slice(br#"{"contentBlockIndex":"#);
        write_number(out, u64::from(index));
        out.extend_from_slice(br#","delta":"#);
        write(out);
        out.push(b'}');
    });
}

fn write_text(index: u32, text: &Text<'_>, out: &mut Vec<u8>) {
    write_delta(index, out, |out| write_in("text", out, |out| write_escaped(out, text)));
}

fn write_nested(index: u32, outer: &'static str, inner: &'static str, text: &Text<'_>, out: &mut Vec<u8>) {
    write_delta(index, out, |out| write_in(outer, out, |out| write_in(inner, out, |out| write_escaped(out, text))));
}

fn write_start(index: u32, out: &mut Vec<u8>, start: impl FnOnce(&mut Object<'_>)) {
    eventstream::event("contentBlockStart", out, |out| {
        let mut object = Object::open(out);
        object.number("contentBlockIndex", u64::from(index)).object("start", start);
        object.close();
    });
}

fn write_call(index: u32, id: &Text<'_>, name: &Text<'_>, out: &mut Vec<u8>) {
    write_start(index, out, |start| {
        start.object("toolUse", |call| {
            call.escaped("toolUseId", id).escaped("name", name);
        });
    });
}

fn write_image(index: u32, format: &str, data: &Text<'_>, out: &mut Vec<u8>) {
    write_start(index, out, |start| {
        start.object("image", |image| {
            image.text("format", format);
        });
    });
    write_delta(index, out, |out| {
        write_in("image", out, |out| write_in("source", out, |out| write_in("bytes", out, |out| write_escaped(out, data))));
    });
}

fn write_stop(index: u32, out: &mut Vec<u8>) {
    eventstream::event("contentBlockStop", out, |out| {
        out.extend_from_slice(br#"{"contentBlockIndex":"#);
        write_number(out, u64::from(index));
        out.push(b'}');
    });
}
