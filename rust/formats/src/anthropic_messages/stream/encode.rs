//! A reply of any dialect as the named events that a Messages client reads.
//!
//! One block is open at a time here. Where the provider mixes blocks, the first one is written as it comes and the others wait, whole,
//! until those before them have ended.

use std::sync::Arc;

use fairlead_ir::{Delta, Dialect, ErrorKind, Event, Head, Manner, NanoUsd, Raw, Stop, StopReason, Text, Usage};

use super::lines::{self, Piece};
use crate::anthropic_messages::error;
use crate::anthropic_messages::wire::stop::Ending;
use crate::anthropic_messages::wire::{citation, usage, write_line};
use crate::error::Details;
use crate::identity::Identity;
use crate::translate::Bridge;

/// The state of one stream.
#[derive(Debug)]
pub(crate) struct Encoder {
    own: bool,
    identity: Arc<Identity>,
    bridge: Arc<Bridge>,
    start: Start,
    /// Blocks that are not written to their end. Only the first is written; there is one, unless a provider mixes them.
    blocks: Vec<Block>,
    next_index: u64,
    called: bool,
    stop: Option<Stop<'static>>,
    usage: Option<Usage>,
    tier: Option<Text<'static>>,
    ended: bool,
}

/// The first event waits for the one behind it, which may bring the figures of the prompt.
#[derive(Debug)]
enum Start {
    Waiting { id: Text<'static>, model: Text<'static> },
    Written,
}

#[derive(Debug)]
struct Block {
    /// The decoder's number.
    block: u32,
    kind: Kind,
    /// Our number, once its start is written.
    index: Option<u64>,
    /// What came while it waits, piece by piece.
    held: Vec<(Piece, Vec<u8>)>,
    seal: Option<Vec<u8>>,
    part: u32,
    closed: bool,
}

#[derive(Debug)]
enum Kind {
    Text,
    Thought {
        redacted: bool,
    },
    Call {
        start: Vec<u8>,
        free: bool,
    },
    /// A call that stands for the reply's text.
    Form,
    /// A block of this dialect, as it came.
    Whole(Vec<u8>),
    /// What this dialect has no place for.
    Nothing,
}

impl Encoder {
    /// A stream that has not begun. `source` is the provider's dialect.
    pub(crate) fn new(source: Dialect, identity: Arc<Identity>, bridge: Arc<Bridge>) -> Encoder {
        Encoder {
            own: source == Dialect::AnthropicMessages,
            identity,
            bridge,
            start: Start::Waiting { id: Text::EMPTY, model: Text::EMPTY },
            blocks: Vec::new(),
            next_index: 0,
            called: false,
            stop: None,
            usage: None,
            tier: None,
            ended: false,
        }
    }

    /// Takes one event. A message is one reply: those of other choices are left out. A failure is told by [`Encoder::fail`], in words
    /// that have been made fit for the caller.
    pub(crate) fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        match event {
            Event::Delta { choice: 0, block, delta } => self.piece(*block, delta, out),
            Event::Open { choice: 0, block, head } => self.open(*block, head, out),
            Event::Close { choice: 0, block } => self.close(*block, out),
            Event::Start { id, model, .. } if matches!(self.start, Start::Waiting { .. }) => {
                self.start = Start::Waiting { id: id.clone().into_owned(), model: model.clone().into_owned() };
            }
            Event::Stop { choice: 0, stop } => self.stop = Some(owned(stop)),
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Tier(tier) => self.tier = Some(tier.clone().into_owned()),
            Event::KeepAlive => self.keep_alive(out),
            _ => {}
        }
    }

    /// Writes the end, once. `usage` is what the caller shall see where that is not what the provider told.
    pub(crate) fn finish(&mut self, usage: Option<&Usage>, cost: Option<NanoUsd>, out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        self.begin(out);
        self.blocks.iter_mut().for_each(|block| block.closed = true);
        self.advance(out);
        if let Some(stop) = self.stop.take_if(|stop| stop.reason == StopReason::Failed) {
            let native = String::from_utf8_lossy(stop.native.as_bytes()).into_owned();
            let message = format!("the model failed to reply ({native})");
            return self.fail(ErrorKind::ProviderUnavailable, &message, &Details::default(), out);
        }
        self.ended = true;
        let figures = usage.copied().or(self.usage).unwrap_or_default();
        let beside = usage::Beside { cost, openrouter: self.identity.is_openrouter(), service_tier: self.tier.as_ref() };
        lines::event("message_delta", out, |event| {
            event.object("delta", |delta| Ending::new(self.stop.as_ref(), self.own, self.called).write(delta));
            usage::write(&figures, &beside, event);
        });
        lines::event("message_stop", out, |_| {});
    }

    /// Writes the failure. Nothing follows.
    pub(crate) fn fail(&mut self, kind: ErrorKind, message: &str, details: &Details<'_>, out: &mut Vec<u8>) {
        if !self.ended {
            self.ended = true;
            error::write_event(self.identity.manner(), kind, message, details, out);
        }
    }

    /// Writes a sign of life, which may stand anywhere.
    pub(crate) fn keep_alive(&mut self, out: &mut Vec<u8>) {
        if !self.ended {
            lines::event("ping", out, |_| {});
        }
    }

    #[inline]
    fn begin(&mut self, out: &mut Vec<u8>) {
        if let Start::Waiting { id, model } = &self.start {
            self.write_start(id, model, out);
            self.start = Start::Written;
        }
    }

    #[cold]
    fn write_start(&self, id: &Text<'_>, model: &Text<'_>, out: &mut Vec<u8>) {
        let identity = &*self.identity;
        let ours = identity.manner() == Manner::Openrouter;
        lines::event("message_start", out, |event| {
            event.object("message", |message| {
                match ours || id.is_empty() {
                    true => message.text("id", identity.generation_id()),
                    false => message.escaped("id", id),
                };
                message.text("type", "message").text("role", "assistant");
                match ours || model.is_empty() {
                    true => message.text("model", identity.model()),
                    false => message.escaped("model", model),
                };
                if ours {
                    message.text("provider", identity.provider());
                }
                message.raw("content", b"[]").raw("stop_reason", b"null").raw("stop_sequence", b"null");
                usage::write(&self.usage.unwrap_or_default(), &usage::Beside::default(), message);
            });
        });
    }

    fn open(&mut self, block: u32, head: &Head<'_>, out: &mut Vec<u8>) {
        self.begin(out);
        let kind = match head {
            Head::Text | Head::Refusal => Kind::Text,
            Head::Thought { redacted, .. } => Kind::Thought { redacted: *redacted },
            Head::ToolCall { name, .. } if self.bridge.format_tool.as_deref().is_some_and(|form| name.is(form)) => Kind::Form,
            Head::ToolCall { id, name, free } => {
                self.called = true;
                Kind::Call { start: lines::call(id, &self.bridge.original(name).0), free: *free }
            }
            Head::Opaque { raw, .. } if self.own => Kind::Whole(one_line(raw)),
            Head::Opaque { .. } | Head::Media(_) => Kind::Nothing,
        };
        self.blocks.push(Block { block, kind, index: None, held: Vec::new(), seal: None, part: 0, closed: false });
        if let [front] = self.blocks.as_mut_slice() {
            front.arrive(&mut self.next_index, out);
        }
    }

    #[inline]
    fn piece(&mut self, block: u32, delta: &Delta<'_>, out: &mut Vec<u8>) {
        let Some(place) = self.blocks.iter().position(|known| known.block == block) else { return };
        let Some(known) = self.blocks.get_mut(place) else { return };
        let (piece, text) = match (delta, &known.kind) {
            (Delta::Text(text), Kind::Text) => (Piece::Text, text),
            (Delta::Thought { text, part, .. }, Kind::Thought { redacted: false }) => {
                if !self.bridge.hide_thoughts && !text.is_empty() {
                    known.take_thought(place == 0, *part, text, &mut self.next_index, out);
                }
                return;
            }
            (Delta::Arguments(text), Kind::Form) => (Piece::Text, text),
            (Delta::Arguments(text), Kind::Call { free: false, .. }) => (Piece::Arguments, text),
            (Delta::Arguments(text), Kind::Call { .. }) => {
                // The text stands inside a JSON text now.
                let again = lines::escape_again(text.as_bytes());
                return known.take(place == 0, Piece::Arguments, &again, &mut self.next_index, out);
            }
            (Delta::Seal(seal), _) => {
                known.seal = Some(seal.as_bytes().to_vec()).filter(|seal| !seal.is_empty());
                return;
            }
            (Delta::Citation(cited), Kind::Text) => {
                let (mut json, mut line) = (Vec::new(), Vec::new());
                if citation::write(cited, self.own, &mut json) {
                    write_line(&json, &mut line);
                    known.take(place == 0, Piece::Citation, &line, &mut self.next_index, out);
                }
                return;
            }
            _ => return,
        };
        if !text.is_empty() {
            known.take(place == 0, piece, text.as_bytes(), &mut self.next_index, out);
        }
    }

    fn close(&mut self, block: u32, out: &mut Vec<u8>) {
        if let Some(known) = self.blocks.iter_mut().find(|known| known.block == block) {
            known.closed = true;
        }
        self.advance(out);
    }

    /// Ends the blocks at the front that have ended, and lets the next one speak.
    fn advance(&mut self, out: &mut Vec<u8>) {
        while self.blocks.first().is_some_and(|front| front.closed) {
            let front = self.blocks.remove(0);
            front.leave(&mut self.next_index, out);
            if let Some(next) = self.blocks.first_mut() {
                next.arrive(&mut self.next_index, out);
            }
        }
    }
}

impl Block {
    /// It is the first one now: what was held is written. Texts begin with their first piece, so that empty ones are not there at all.
    fn arrive(&mut self, next_index: &mut u64, out: &mut Vec<u8>) {
        if let Kind::Call { start, free } = &self.kind {
            let index = begin(&mut self.index, next_index, start, out);
            if *free {
                lines::delta(Piece::Arguments, index, br#"{\"input\":\""#, out);
            }
        }
        for (piece, text) in std::mem::take(&mut self.held) {
            self.write(piece, &text, next_index, out);
        }
    }

    #[inline]
    fn take(&mut self, is_first: bool, piece: Piece, text: &[u8], next_index: &mut u64, out: &mut Vec<u8>) {
        if is_first {
            return self.write(piece, text, next_index, out);
        }
        match self.held.last_mut() {
            Some((last, held)) if *last == piece && piece != Piece::Citation => held.extend_from_slice(text),
            _ => self.held.push((piece, text.to_vec())),
        }
    }

    /// The parts of a thought are paragraphs.
    fn take_thought(&mut self, is_first: bool, part: u32, text: &Text<'_>, next_index: &mut u64, out: &mut Vec<u8>) {
        if part > self.part {
            self.part = part;
            if self.index.is_some() || !self.held.is_empty() {
                self.take(is_first, Piece::Thinking, br"\n\n", next_index, out);
            }
        }
        self.take(is_first, Piece::Thinking, text.as_bytes(), next_index, out);
    }

    #[inline]
    fn write(&mut self, piece: Piece, text: &[u8], next_index: &mut u64, out: &mut Vec<u8>) {
        let index = match self.index {
            Some(index) => index,
            None => begin(&mut self.index, next_index, lines::start_of(piece), out),
        };
        lines::delta(piece, index, text, out);
    }

    /// It has ended: its seal, and whatever else comes last, is written.
    fn leave(mut self, next_index: &mut u64, out: &mut Vec<u8>) {
        match &self.kind {
            Kind::Thought { redacted: true } => {
                if let Some(seal) = self.seal.take() {
                    lines::stop(begin(&mut None, next_index, &lines::redacted(&seal), out), out);
                }
            }
            Kind::Thought { redacted: false } => {
                if let Some(seal) = self.seal.take() {
                    self.write(Piece::Signature, &seal, next_index, out);
                }
            }
            Kind::Call { free: true, .. } => self.write(Piece::Arguments, br#"\"}"#, next_index, out),
            Kind::Whole(raw) => {
                begin(&mut self.index, next_index, raw, out);
            }
            Kind::Call { .. } | Kind::Text | Kind::Form | Kind::Nothing => {}
        }
        if let Some(index) = self.index {
            lines::stop(index, out);
        }
        if let Some(seal) = self.seal {
            // See the carrier of whole replies: a seal on anything but a thought travels in a thought without words behind it.
            let index = begin(&mut None, next_index, lines::start_of(Piece::Signature), out);
            lines::delta(Piece::Signature, index, &seal, out);
            lines::stop(index, out);
        }
    }
}

/// Writes the start of a block under the next number.
fn begin(index: &mut Option<u64>, next_index: &mut u64, start: &[u8], out: &mut Vec<u8>) -> u64 {
    let number = *next_index;
    *next_index += 1;
    *index = Some(number);
    lines::start(number, start, out);
    number
}

fn one_line(raw: &Raw<'_>) -> Vec<u8> {
    let mut line = Vec::with_capacity(raw.as_bytes().len());
    write_line(raw.as_bytes(), &mut line);
    line
}

fn owned(stop: &Stop<'_>) -> Stop<'static> {
    Stop {
        reason: stop.reason,
        native: stop.native.clone().into_owned(),
        sequence: stop.sequence.clone().map(Text::into_owned),
        details: stop.details.clone().map(Raw::into_owned),
    }
}
