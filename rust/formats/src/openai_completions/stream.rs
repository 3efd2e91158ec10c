//! Events as chunks of a completion: OpenAI's on `/v1`, with OpenRouter's names on `/api/v1`.
//!
//! Every chunk repeats the same head, rendered once. What is no text has no place and is stepped over.

use std::sync::Arc;

use fairlead_ir::{Delta, ErrorKind, Event, Head, NanoUsd, Raw, Stop, Text, Usage};

use super::error::write_event;
use super::wire::write_logprobs;
use crate::error::Details;
use crate::identity::Identity;
use crate::openai_chat::response::encode::{finish_word, is_format_tool, write_native};
use crate::openai_chat::stream::head::ChunkHead;
use crate::translate::Bridge;
use crate::write::{Object, write_escaped, write_number};

/// Writes a stream, event by event.
#[derive(Debug)]
pub(crate) struct Encoder {
    identity: Arc<Identity>,
    bridge: Arc<Bridge>,
    head: ChunkHead,
    choices: Vec<Choice>,
    closed: bool,
}

#[derive(Debug)]
struct Choice {
    index: u32,
    /// Whether each block is told as text.
    blocks: Vec<bool>,
    /// Characters of text whose probabilities have been told.
    offset: u64,
    stop: Option<Stop<'static>>,
}

impl Encoder {
    /// At the start of a stream to a client that shall see it as `identity` and `bridge` say.
    pub(crate) fn new(identity: Arc<Identity>, bridge: Arc<Bridge>) -> Encoder {
        let head = ChunkHead::new(Arc::clone(&identity), "text_completion");
        Encoder { identity, bridge, head, choices: Vec::new(), closed: false }
    }

    /// Appends what the client sees of an event: of stops and usage nothing yet.
    pub(crate) fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.closed {
            return;
        }
        match event {
            Event::Start { id, model, created_s } => self.head.start(id, model, *created_s),
            Event::Open { choice, head, .. } => self.open(*choice, head),
            Event::Delta { choice, block, delta: Delta::Text(text) | Delta::Arguments(text) } => self.text(*choice, *block, text, out),
            Event::Logprobs { choice, logprobs } => self.logprobs(*choice, logprobs, out),
            Event::Stop { choice, stop } => {
                let sequence = stop.sequence.clone().map(Text::into_owned);
                let stop = Stop { reason: stop.reason, native: stop.native.clone().into_owned(), sequence, details: None };
                self.choice(*choice).stop = Some(stop);
            }
            Event::KeepAlive => self.keep_alive(out),
            Event::Delta { .. } | Event::Close { .. } | Event::Tier(_) | Event::Usage(_) | Event::Fail { .. } | Event::End => {}
        }
    }

    /// Appends the end of the stream: why each choice ended, the usage for clients that see it, and the terminal.
    pub(crate) fn finish(&mut self, usage: Option<&Usage>, cost: Option<NanoUsd>, out: &mut Vec<u8>) {
        if self.closed {
            return;
        }
        self.closed = true;
        if self.choices.is_empty() {
            self.choice(0);
        }
        self.choices.iter().for_each(|choice| self.finish_choice(choice, out));
        self.head.end(usage, cost, self.bridge.include_usage, out);
    }

    /// Appends the error that ends the stream, and the terminal.
    pub(crate) fn fail(&mut self, kind: ErrorKind, message: &str, details: &Details<'_>, out: &mut Vec<u8>) {
        if self.closed {
            return;
        }
        self.closed = true;
        write_event(self.identity.manner(), &self.head.skeleton(), kind, message, details, out);
    }

    /// Appends a comment, which every client steps over.
    pub(crate) fn keep_alive(&mut self, out: &mut Vec<u8>) {
        if !self.closed {
            out.extend_from_slice(b": keep-alive\n\n");
        }
    }

    fn choice(&mut self, index: u32) -> &mut Choice {
        let at = match self.choices.iter().position(|choice| choice.index == index) {
            Some(at) => at,
            None => {
                self.choices.push(Choice { index, blocks: Vec::new(), offset: 0, stop: None });
                self.choices.len() - 1
            }
        };
        &mut self.choices[at]
    }

    fn open(&mut self, choice: u32, head: &Head<'_>) {
        let is_text = match head {
            Head::Text | Head::Refusal => true,
            Head::ToolCall { name, .. } => is_format_tool(name, &self.bridge),
            Head::Thought { .. } | Head::Media(_) | Head::Opaque { .. } => false,
        };
        self.choice(choice).blocks.push(is_text);
    }

    /// The common chunk.
    fn text(&mut self, choice: u32, block: u32, text: &Text<'_>, out: &mut Vec<u8>) {
        let is_told = self.choice(choice).blocks.get(block as usize).is_some_and(|is_text| *is_text);
        if !is_told || text.is_empty() {
            return;
        }
        out.extend_from_slice(self.head.bytes());
        out.extend_from_slice(b"{\"text\":");
        write_escaped(out, text);
        out.extend_from_slice(b",\"index\":");
        write_number(out, u64::from(choice));
        let tail: &[u8] = if self.identity.is_openrouter() {
            b",\"logprobs\":null,\"finish_reason\":null,\"native_finish_reason\":null}]}\n\n"
        } else {
            b",\"logprobs\":null,\"finish_reason\":null}]}\n\n"
        };
        out.extend_from_slice(tail);
    }

    /// Probabilities of text that was told before; clients join their lists.
    fn logprobs(&mut self, choice: u32, logprobs: &Raw<'_>, out: &mut Vec<u8>) {
        let mut written = Vec::new();
        write_logprobs(Some(logprobs), &mut self.choice(choice).offset, &mut written);
        if written == b"null" {
            return;
        }
        out.extend_from_slice(self.head.bytes());
        let mut object = Object::open(out);
        object.text("text", "").number("index", u64::from(choice)).raw("logprobs", &written).raw("finish_reason", b"null");
        if self.identity.is_openrouter() {
            object.raw("native_finish_reason", b"null");
        }
        object.close();
        out.extend_from_slice(b"]}\n\n");
    }

    fn finish_choice(&self, choice: &Choice, out: &mut Vec<u8>) {
        out.extend_from_slice(self.head.bytes());
        let mut object = Object::open(out);
        object.text("text", "").number("index", u64::from(choice.index)).raw("logprobs", b"null");
        object.text("finish_reason", finish_word(choice.stop.as_ref().map(|stop| stop.reason), false, false, &self.bridge));
        if self.identity.is_openrouter() {
            write_native(choice.stop.as_ref(), &mut object);
        }
        // As vLLM names it.
        object.optional_escaped("stop_reason", choice.stop.as_ref().and_then(|stop| stop.sequence.as_ref()));
        object.close();
        out.extend_from_slice(b"]}\n\n");
    }
}

#[cfg(test)]
mod tests;
