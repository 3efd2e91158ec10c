//! A message stream as it comes from a provider, event by event.
//!
//! What providers really do is made good here: a second `message_start`, pieces of blocks that were never begun, blocks that are
//! never ended, calls without arguments, a stream that ends without saying so.

use fairlead_ir::block::ThoughtShape;
use fairlead_ir::{Delta, ErrorKind, Event, Head, Raw, Stop, Text};

use super::begin::{self, Begun};
use super::frame::{Frame, Piece, PieceKind};
use crate::anthropic_messages::wire::{Figures, Outline, citation, stop};
use crate::error;
use crate::json::walk::as_str;
use crate::read::{Malformed, Reader};
use crate::text::{escape, is_sound, quote};
use crate::traits::Traits;

/// The state of one stream.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    started: bool,
    /// The end or a failure was told: what follows is nobody's.
    ended: bool,
    /// Blocks that have begun and not ended; one, unless a provider mixes them.
    open: Vec<Open>,
    next_block: u32,
    called: bool,
    figures: Figures,
    stop: Option<Ended>,
    /// The provider's id of the message, for ids of calls that have none.
    message_id: String,
}

#[derive(Debug)]
struct Open {
    /// The provider's number.
    index: u64,
    /// Ours; none yet for a block that is told when it is whole.
    block: u32,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thought {
        redacted: bool,
    },
    /// What the start said of the arguments, until a piece of them comes.
    Call {
        input: Option<Raw<'static>>,
    },
    /// A block that nobody else knows, and the pieces that came for its `input` or `content`, as text.
    Whole {
        start: Vec<u8>,
        member: &'static str,
        pieces: Vec<u8>,
    },
}

/// What was said about the end.
#[derive(Debug, Default)]
struct Ended {
    native: Vec<u8>,
    sequence: Option<Vec<u8>>,
    details: Option<Vec<u8>>,
}

type Sink<'s> = &'s mut dyn FnMut(Event<'_>);

impl Decoder {
    /// A stream that has not begun. No trait changes how these streams are read.
    pub(crate) fn new(_: Traits) -> Decoder {
        Decoder::default()
    }

    /// Reads one event. `name` is what its `event:` line says; the data's own `type` counts where both are there.
    ///
    /// # Errors
    /// The data is no event of this dialect. The stream can be ended with [`Decoder::finish`].
    pub(crate) fn event(&mut self, name: Option<&[u8]>, data: &[u8], sink: Sink<'_>) -> Result<(), Malformed> {
        let data = data.trim_ascii();
        // Some gateways end the stream as chat does; some wrap comments into data.
        if self.ended || data.is_empty() || data.starts_with(b":") || data == b"[DONE]" {
            return Ok(());
        }
        let frame = Frame::read(data)?;
        if frame.error {
            self.fail(data, sink);
            return Ok(());
        }
        match frame.kind.or(name).unwrap_or_default() {
            b"content_block_delta" => self.piece(&frame, sink),
            b"content_block_start" => self.begin(&frame, sink),
            b"content_block_stop" => {
                self.end_block(frame.index, sink);
                Ok(())
            }
            b"message_start" => self.start(&frame, sink),
            b"message_delta" => {
                self.take_end(&frame, sink);
                Ok(())
            }
            b"message_stop" => {
                self.conclude(sink);
                Ok(())
            }
            b"ping" => {
                sink(Event::KeepAlive);
                Ok(())
            }
            b"error" => {
                self.fail(data, sink);
                Ok(())
            }
            // New events are nobody's business yet.
            _ => Ok(()),
        }
    }

    /// The connection has ended.
    pub(crate) fn finish(&mut self, sink: Sink<'_>) {
        match self.ended {
            true => {}
            false if self.stop.is_some() => self.conclude(sink),
            false => {
                self.ended = true;
                let message = Text::word("the provider's stream ended before the reply was complete");
                sink(Event::Fail { kind: ErrorKind::ProviderUnavailable, message, code: Some(Text::word("upstream_truncated")) });
            }
        }
    }

    fn fail(&mut self, data: &[u8], sink: Sink<'_>) {
        self.ended = true;
        let read = error::read(data);
        let code = Some(read.code).filter(|code| !code.is_empty());
        sink(Event::Fail { kind: read.kind, message: escape(&read.message), code: code.as_deref().map(escape) });
    }

    fn start(&mut self, frame: &Frame<'_>, sink: Sink<'_>) -> Result<(), Malformed> {
        let message = Outline::read(frame.message.unwrap_or(b"{}"))?;
        if !self.started {
            self.message_id = message.id.and_then(as_str).unwrap_or_default().into_owned();
            let [id, model] = [message.id, message.model].map(|value| value.map_or(Text::EMPTY, inside)).map(sound_or_empty);
            self.started = true;
            sink(Event::Start { id, model, created_s: None });
        }
        if let Some(usage) = message.usage {
            self.figures.merge(usage);
            // A number is always there and counts nothing yet.
            self.figures.forget_output();
            if let Some(tier) = crate::json::walk::member(usage, "service_tier")? {
                let tier = sound_or_empty(inside(tier.value));
                if !tier.is_empty() {
                    sink(Event::Tier(tier));
                }
            }
            self.figures.usage().into_iter().for_each(|usage| sink(Event::Usage(usage)));
        }
        Ok(())
    }

    fn start_unsaid(&mut self, sink: Sink<'_>) {
        if !self.started {
            self.started = true;
            sink(Event::Start { id: Text::EMPTY, model: Text::EMPTY, created_s: None });
        }
    }

    fn begin(&mut self, frame: &Frame<'_>, sink: Sink<'_>) -> Result<(), Malformed> {
        self.start_unsaid(sink);
        let index = frame.index.unwrap_or_else(|| self.open.last().map_or(0, |open| open.index + 1));
        // The same number again: the one before was never ended.
        self.end_block(Some(index), sink);
        match begin::read(frame.block.unwrap_or(b"{}"))? {
            Begun::Text { text, citations } => {
                let block = self.open(index, Kind::Text, Head::Text, sink);
                send_text(block, text, Delta::Text, sink);
                if let Some(citations) = citations {
                    send_citations(block, citations, sink)?;
                }
            }
            Begun::Thought { text, signature } => {
                let block = self.open_thought(index, false, sink);
                send_text(block, text, thought, sink);
                send_text(block, signature, Delta::Seal, sink);
            }
            Begun::Redacted(data) => {
                let block = self.open_thought(index, true, sink);
                send_text(block, data, Delta::Seal, sink);
            }
            Begun::Call { id, name, input } => {
                self.called = true;
                let id = if id.is_empty() { self.made_id() } else { id };
                self.open(index, Kind::Call { input: Some(input.into_owned()) }, Head::ToolCall { id, name, free: false }, sink);
            }
            Begun::Whole(raw) => {
                let kind = Kind::Whole { start: raw.as_bytes().to_vec(), member: "input", pieces: Vec::new() };
                self.open.push(Open { index, block: 0, kind });
            }
        }
        Ok(())
    }

    fn made_id(&self) -> Text<'static> {
        escape(&format!("call_{}_{}", self.message_id, self.next_block)).into_owned()
    }

    fn open_thought(&mut self, index: u64, redacted: bool, sink: Sink<'_>) -> u32 {
        self.open(index, Kind::Thought { redacted }, Head::Thought { id: None, redacted }, sink)
    }

    fn open(&mut self, index: u64, kind: Kind, head: Head<'_>, sink: Sink<'_>) -> u32 {
        let block = self.next_block;
        self.next_block += 1;
        self.open.push(Open { index, block, kind });
        sink(Event::Open { choice: 0, block, head });
        block
    }

    fn piece(&mut self, frame: &Frame<'_>, sink: Sink<'_>) -> Result<(), Malformed> {
        let piece = &frame.piece;
        if !is_sound(piece.text.as_bytes()) {
            return Err(Malformed::new("holds bytes that are no text").in_member("delta"));
        }
        let last = self.open.last().map_or(0, |open| open.index);
        let index = frame.index.unwrap_or(last);
        let place = self.open.iter().position(|open| open.index == index);
        match place.and_then(|place| self.open.get_mut(place)) {
            Some(open) if open.takes(piece.kind) => open.send(piece, sink),
            // A piece of another kind than its block, or of none: a block of its own.
            _ => {
                self.start_unsaid(sink);
                self.send_unbegun(index, piece, sink)
            }
        }
    }

    fn send_unbegun(&mut self, index: u64, piece: &Piece<'_>, sink: Sink<'_>) -> Result<(), Malformed> {
        let is_thought = match piece.kind {
            PieceKind::Text | PieceKind::Citation => false,
            PieceKind::Thinking | PieceKind::Signature => true,
            PieceKind::Arguments if !piece.text.is_empty() => {
                return Err(Malformed::new("belongs to no tool call").in_member("delta"));
            }
            PieceKind::Arguments | PieceKind::Content | PieceKind::Unknown => return Ok(()),
        };
        self.end_block(Some(index), sink);
        match is_thought {
            true => self.open_thought(index, false, sink),
            false => self.open(index, Kind::Text, Head::Text, sink),
        };
        self.open.last_mut().map_or(Ok(()), |open| open.send(piece, sink))
    }

    /// Ends the block with the provider's number `index`, without one the newest.
    fn end_block(&mut self, index: Option<u64>, sink: Sink<'_>) {
        let place = match index {
            Some(index) => self.open.iter().position(|open| open.index == index),
            None => self.open.len().checked_sub(1),
        };
        if let Some(place) = place {
            let open = self.open.remove(place);
            self.close(open, sink);
        }
    }

    fn close(&mut self, open: Open, sink: Sink<'_>) {
        let block = match open.kind {
            Kind::Whole { start, member, pieces } => {
                let raw = begin::joined(&start, member, &pieces);
                let (block, word) = (self.next_block, begin::word(&raw));
                self.next_block += 1;
                sink(Event::Open { choice: 0, block, head: Head::Opaque { word, raw: Raw::json(&raw) } });
                block
            }
            Kind::Call { input: Some(input) } => {
                sink(Event::Delta { choice: 0, block: open.block, delta: Delta::Arguments(quote(&input)) });
                open.block
            }
            _ => open.block,
        };
        sink(Event::Close { choice: 0, block });
    }

    fn take_end(&mut self, frame: &Frame<'_>, sink: Sink<'_>) {
        self.start_unsaid(sink);
        if let Some(reason) = frame.stop_reason {
            let ended = self.stop.get_or_insert_default();
            ended.native = sound_or_empty(inside(reason)).as_bytes().to_vec();
            ended.sequence = frame.stop_sequence.map(|text| sound_or_empty(inside(text)).as_bytes().to_vec());
            ended.details = frame.stop_details.map(<[u8]>::to_vec).or(ended.details.take());
        }
        if let Some(usage) = frame.usage {
            self.figures.merge(usage);
            self.figures.usage().into_iter().for_each(|usage| sink(Event::Usage(usage)));
        }
    }

    fn conclude(&mut self, sink: Sink<'_>) {
        self.start_unsaid(sink);
        while !self.open.is_empty() {
            let open = self.open.remove(0);
            self.close(open, sink);
        }
        self.ended = true;
        let ended = self.stop.take().unwrap_or_default();
        let stop = Stop {
            reason: stop::reason(&ended.native, self.called),
            native: Text::escaped(&ended.native),
            sequence: ended.sequence.as_deref().map(Text::escaped),
            details: ended.details.as_deref().map(Raw::json),
        };
        sink(Event::Stop { choice: 0, stop });
        sink(Event::End);
    }
}

impl Open {
    fn takes(&self, piece: PieceKind) -> bool {
        match self.kind {
            Kind::Text => matches!(piece, PieceKind::Text | PieceKind::Citation),
            // A hidden thought has no text.
            Kind::Thought { redacted } => piece == PieceKind::Signature || piece == PieceKind::Thinking && !redacted,
            Kind::Call { .. } => piece == PieceKind::Arguments,
            Kind::Whole { .. } => true,
        }
    }

    fn send(&mut self, piece: &Piece<'_>, sink: Sink<'_>) -> Result<(), Malformed> {
        let block = self.block;
        match (&mut self.kind, piece.kind) {
            (Kind::Whole { member, pieces, .. }, kind) => {
                *member = if kind == PieceKind::Content { "content" } else { "input" };
                if matches!(kind, PieceKind::Content | PieceKind::Arguments) {
                    pieces.extend_from_slice(piece.text.as_bytes());
                }
            }
            (_, PieceKind::Citation) => return send_citation(block, piece.citation.unwrap_or(b"null"), sink),
            (Kind::Call { input }, _) if !piece.text.is_empty() => {
                *input = None;
                send_text(block, piece.text.borrowed(), Delta::Arguments, sink);
            }
            (_, PieceKind::Text) => send_text(block, piece.text.borrowed(), Delta::Text, sink),
            (_, PieceKind::Thinking) => send_text(block, piece.text.borrowed(), thought, sink),
            (_, PieceKind::Signature) => send_text(block, piece.text.borrowed(), Delta::Seal, sink),
            _ => {}
        }
        Ok(())
    }
}

#[inline]
fn send_text<'t>(block: u32, text: Text<'t>, delta: impl FnOnce(Text<'t>) -> Delta<'t>, sink: Sink<'_>) {
    if !text.is_empty() {
        sink(Event::Delta { choice: 0, block, delta: delta(text) });
    }
}

fn thought(text: Text<'_>) -> Delta<'_> {
    Delta::Thought { shape: ThoughtShape::Full, part: 0, text }
}

fn send_citation(block: u32, citation: &[u8], sink: Sink<'_>) -> Result<(), Malformed> {
    let citation = Reader::checked(citation).and_then(|mut reader| citation::read(&mut reader));
    let citation = citation.map_err(|fault| fault.in_member("citation").in_member("delta"))?;
    sink(Event::Delta { choice: 0, block, delta: Delta::Citation(citation) });
    Ok(())
}

fn send_citations(block: u32, citations: &[u8], sink: Sink<'_>) -> Result<(), Malformed> {
    let citations = Reader::checked(citations).and_then(|mut reader| citation::read_list(&mut reader));
    for citation in citations.map_err(|fault| fault.in_member("citations").in_member("content_block"))? {
        sink(Event::Delta { choice: 0, block, delta: Delta::Citation(citation) });
    }
    Ok(())
}

/// The inside of a string value; nothing of any other value.
pub(super) fn inside(value: &[u8]) -> Text<'_> {
    match value {
        [b'"', inside @ .., b'"'] => Text::escaped(inside),
        _ => Text::EMPTY,
    }
}

/// Ids and words that are no text are left out.
fn sound_or_empty(text: Text<'_>) -> Text<'_> {
    if is_sound(text.as_bytes()) { text } else { Text::EMPTY }
}
