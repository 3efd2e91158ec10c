//! A stream of Converse as events.
//!
//! Texts and thoughts begin with their first piece: AWS announces tool calls and pictures only. The reply ends with `messageStop`, the figures
//! come behind it in `metadata`.

use fairlead_ir::block::{Citation, ThoughtShape};
use fairlead_ir::{Delta, ErrorKind, Event, Head, Member, Raw, Stop, Text};

use super::held::{Held, check_room};
use crate::bedrock_converse::error::read_exception;
use crate::bedrock_converse::wire::{citation, read_usage, required, stop_reason, stop_sequence};
use crate::error::ProviderError;
use crate::json::is_complete;
use crate::read::{Malformed, Reader};
use crate::text;
use crate::text::{escape, is_sound};
use crate::traits::Traits;

/// More blocks are never open at a time.
const MOST_OPEN_BLOCKS: usize = 256;

/// Where events go.
pub(crate) type Sink<'s> = dyn FnMut(Event<'_>) + 's;

/// Reads the events of one stream.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    started: bool,
    stopped: bool,
    ended: bool,
    /// How many blocks have begun.
    blocks: u32,
    called: bool,
    open: Vec<Open>,
}

/// A block that has begun at the provider.
#[derive(Debug)]
struct Open {
    /// Its number there.
    index: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Text { block: u32 },
    Thought { block: u32, redacted: bool },
    Call { block: u32, pieces: bool },
    Held(Held),
}

/// What a delta brings.
enum Piece<'a> {
    Text(Text<'a>),
    Thought(Text<'a>),
    Signature(Text<'a>),
    Redacted(Text<'a>),
    /// Boxed, so that the usual pieces are small.
    Citation(Box<Citation<'a>>),
    Input(Text<'a>),
    Image(Text<'a>),
    Result(Raw<'a>),
    Unknown,
}

impl Decoder {
    /// At the start of a stream. What endpoints do differently concerns requests only.
    pub(crate) fn new(_traits: Traits) -> Decoder {
        Decoder::default()
    }

    /// Reads an event by its type and payload, an exception by its type and payload.
    pub(crate) fn event(&mut self, name: Option<&[u8]>, data: &[u8], sink: &mut Sink<'_>) -> Result<(), Malformed> {
        if self.ended {
            return Ok(());
        }
        match name.unwrap_or_default() {
            b"contentBlockDelta" => self.delta(data, sink),
            b"contentBlockStart" => self.begin(data, sink),
            b"contentBlockStop" => self.end_block(data, sink),
            b"messageStart" => {
                self.start(sink);
                Ok(())
            }
            b"messageStop" => self.stop(data, sink),
            b"metadata" => self.metadata(data, sink),
            class if class.ends_with(b"Exception") => {
                self.fail(&read_exception(class, data), sink);
                Ok(())
            }
            // Events that nobody knows yet.
            _ => Ok(()),
        }
    }

    /// The connection has ended.
    pub(crate) fn finish(&mut self, sink: &mut Sink<'_>) {
        if self.ended {
            return;
        }
        if self.stopped {
            return self.end(sink);
        }
        self.ended = true;
        let message = Text::word("the provider's stream ended before the reply did");
        sink(Event::Fail { kind: ErrorKind::ProviderUnavailable, message, code: Some(Text::word("upstream_truncated")) });
    }

    fn start(&mut self, sink: &mut Sink<'_>) {
        if !std::mem::replace(&mut self.started, true) {
            // Ids and the model's name stand in headers, if anywhere.
            sink(Event::Start { id: Text::EMPTY, model: Text::EMPTY, created_s: None });
        }
    }

    fn begin(&mut self, data: &[u8], sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let (mut index, mut start) = (0, None);
        Reader::new(data).object(|key, reader| {
            match key.name() {
                "contentBlockIndex" => index = reader.whole()?,
                "start" => start = read_start(reader)?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        if self.stopped {
            return Ok(());
        }
        self.start(sink);
        self.close_at(index, sink);
        let state = match start {
            Some(Start::Call { id, name }) => {
                let block = self.next_block();
                self.called = true;
                let made = || Text::owned(format!("tooluse_{block}").into_bytes());
                let id = if id.is_empty() { made() } else { id };
                sink(Event::Open { choice: 0, block, head: Head::ToolCall { id, name, free: false } });
                State::Call { block, pieces: false }
            }
            Some(Start::Held(held)) => State::Held(held),
            // Texts and thoughts begin with their first piece.
            None => return Ok(()),
        };
        self.push(index, state)
    }

    fn delta(&mut self, data: &[u8], sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let (mut index, mut piece) = (0, Piece::Unknown);
        Reader::new(data).object(|key, reader| {
            match key.name() {
                "contentBlockIndex" => index = reader.whole()?,
                "delta" => piece = read_piece(reader)?,
                // Padding that hides the length of texts, among others.
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        if self.stopped {
            return Ok(());
        }
        self.start(sink);
        match piece {
            Piece::Text(text) => self.text(index, text, sink),
            Piece::Thought(text) => {
                let Some(block) = self.thought(index, false, !text.is_empty(), sink)? else { return Ok(()) };
                let delta = Delta::Thought { shape: ThoughtShape::Full, part: 0, text };
                sink(Event::Delta { choice: 0, block, delta });
                Ok(())
            }
            Piece::Signature(data) => self.seal(index, false, data, sink),
            Piece::Redacted(data) => self.seal(index, true, data, sink),
            Piece::Citation(citation) => {
                let Some(block) = self.text_block(index, true, sink)? else { return Ok(()) };
                sink(Event::Delta { choice: 0, block, delta: Delta::Citation(*citation) });
                Ok(())
            }
            Piece::Input(text) => self.input(index, text, sink),
            Piece::Image(base64) => self.hold(index, |held| held.add_image(&base64)),
            Piece::Result(content) => self.hold(index, |held| {
                held.add_content(&content);
                Ok(())
            }),
            Piece::Unknown => Ok(()),
        }
    }

    fn text(&mut self, index: u64, text: Text<'_>, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        if let Some(block) = self.text_block(index, !text.is_empty(), sink)? {
            sink(Event::Delta { choice: 0, block, delta: Delta::Text(text) });
        }
        Ok(())
    }

    /// The open block of text at `index`, begun where there is none and `begin` says so.
    fn text_block(&mut self, index: u64, begin: bool, sink: &mut Sink<'_>) -> Result<Option<u32>, Malformed> {
        match self.state_at(index) {
            Some(State::Text { block }) => return Ok(Some(*block)),
            _ if !begin => return Ok(None),
            _ => self.close_at(index, sink),
        }
        let block = self.next_block();
        sink(Event::Open { choice: 0, block, head: Head::Text });
        self.push(index, State::Text { block })?;
        Ok(Some(block))
    }

    /// As [`Decoder::text_block`], of a thought.
    fn thought(&mut self, index: u64, redacted: bool, begin: bool, sink: &mut Sink<'_>) -> Result<Option<u32>, Malformed> {
        match self.state_at(index) {
            Some(State::Thought { block, redacted: is }) if *is == redacted => return Ok(Some(*block)),
            _ if !begin => return Ok(None),
            _ => self.close_at(index, sink),
        }
        let block = self.next_block();
        sink(Event::Open { choice: 0, block, head: Head::Thought { id: None, redacted } });
        self.push(index, State::Thought { block, redacted })?;
        Ok(Some(block))
    }

    fn seal(&mut self, index: u64, redacted: bool, data: Text<'_>, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        // Some models send an empty one for none.
        if !data.is_empty()
            && let Some(block) = self.thought(index, redacted, true, sink)?
        {
            sink(Event::Delta { choice: 0, block, delta: Delta::Seal(data) });
        }
        Ok(())
    }

    fn input(&mut self, index: u64, text: Text<'_>, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        match self.state_at(index) {
            Some(State::Call { block, pieces }) => {
                *pieces |= !text.is_empty();
                let block = *block;
                sink(Event::Delta { choice: 0, block, delta: Delta::Arguments(text) });
                Ok(())
            }
            Some(State::Held(_)) => self.hold(index, |held| {
                held.add_input(&text);
                Ok(())
            }),
            // A piece of a call that was never announced: it has no name to be called by.
            _ => Err(Malformed::new("belongs to no tool call that was begun").in_member("delta.toolUse")),
        }
    }

    /// Adds to what is held at `index`; pieces of what was never announced cannot be told.
    fn hold(&mut self, index: u64, add: impl FnOnce(&mut Held) -> Result<(), Malformed>) -> Result<(), Malformed> {
        if let Some(State::Held(held)) = self.state_at(index) {
            add(held)?;
        }
        check_room(self.open.iter().map(|open| if let State::Held(held) = &open.state { held.bytes() } else { 0 }).sum())
    }

    fn end_block(&mut self, data: &[u8], sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let mut index = 0;
        Reader::new(data).object(|key, reader| {
            match key.name() {
                "contentBlockIndex" => index = reader.whole()?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        self.close_at(index, sink);
        Ok(())
    }

    fn stop(&mut self, data: &[u8], sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let (mut word, mut fields) = (None, None);
        Reader::new(data).object(|key, reader| {
            match key.name() {
                "stopReason" => word = Some(sound(reader)?),
                "additionalModelResponseFields" => {
                    fields = stop_sequence(reader).filter(|text| is_sound(text.as_bytes()));
                    reader.skip()?;
                }
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let native = required(word, "stopReason")?;
        if self.stopped {
            return Ok(());
        }
        self.start(sink);
        while let Some(open) = self.open.first() {
            self.close_at(open.index, sink);
        }
        self.stopped = true;
        let reason = stop_reason(native.as_bytes(), self.called);
        sink(Event::Stop { choice: 0, stop: Stop { reason, native, sequence: fields, details: None } });
        Ok(())
    }

    fn metadata(&mut self, data: &[u8], sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let (mut usage, mut tier) = (None, None);
        Reader::new(data).object(|key, reader| {
            match key.name() {
                "serviceTier" => {
                    tier = reader.peek("type");
                    reader.skip()?;
                }
                "usage" => usage = reader.optional(read_usage)?.flatten(),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        self.start(sink);
        if let Some(tier) = tier.filter(|tier| text::decode(tier).is_some()) {
            sink(Event::Tier(tier));
        }
        if let Some(usage) = usage {
            sink(Event::Usage(usage));
        }
        if self.stopped {
            self.end(sink);
        }
        Ok(())
    }

    fn end(&mut self, sink: &mut Sink<'_>) {
        self.ended = true;
        sink(Event::End);
    }

    fn fail(&mut self, error: &ProviderError, sink: &mut Sink<'_>) {
        if !std::mem::replace(&mut self.ended, true) {
            let code = Some(escape(&error.code)).filter(|code| !code.is_empty());
            sink(Event::Fail { kind: error.kind, message: escape(&error.message), code });
        }
    }

    fn state_at(&mut self, index: u64) -> Option<&mut State> {
        self.open.iter_mut().find(|open| open.index == index).map(|open| &mut open.state)
    }

    fn next_block(&mut self) -> u32 {
        let block = self.blocks;
        self.blocks += 1;
        block
    }

    fn push(&mut self, index: u64, state: State) -> Result<(), Malformed> {
        if self.open.len() >= MOST_OPEN_BLOCKS {
            return Err(Malformed::new("is one block too many at a time").in_member("contentBlockIndex"));
        }
        self.open.push(Open { index, state });
        Ok(())
    }

    /// Ends the block at `index`, if one is open.
    fn close_at(&mut self, index: u64, sink: &mut Sink<'_>) {
        let Some(at) = self.open.iter().position(|open| open.index == index) else { return };
        let block = match self.open.remove(at).state {
            State::Text { block } | State::Thought { block, .. } => block,
            State::Call { block, pieces } => {
                if !pieces {
                    sink(Event::Delta { choice: 0, block, delta: Delta::Arguments(Text::word("{}")) });
                }
                block
            }
            State::Held(held) => {
                let Some(head) = held.into_head() else { return };
                let block = self.next_block();
                sink(Event::Open { choice: 0, block, head });
                block
            }
        };
        sink(Event::Close { choice: 0, block });
    }
}

/// What is announced.
enum Start<'a> {
    Call { id: Text<'a>, name: Text<'a> },
    Held(Held),
}

fn read_start<'a>(reader: &mut Reader<'a>) -> Result<Option<Start<'a>>, Malformed> {
    let mut start = None;
    reader.object(|key, reader| {
        start = Some(match key.name() {
            "toolUse" => read_call(reader)?,
            "toolResult" => Start::Held(Held::Result { members: kept_members(reader)?, content: Vec::new() }),
            "image" => {
                let format = reader.peek("format").unwrap_or_default().as_bytes().to_vec();
                reader.skip()?;
                Start::Held(Held::Image { format, bytes: Vec::new() })
            }
            _ => {
                reader.skip()?;
                Start::Held(Held::Unknown)
            }
        });
        Ok(())
    })?;
    Ok(start)
}

/// A call, or one that the service runs itself (`type`).
fn read_call<'a>(reader: &mut Reader<'a>) -> Result<Start<'a>, Malformed> {
    if reader.peek("type").is_some() {
        return Ok(Start::Held(Held::Call { members: kept_members(reader)?, input: Vec::new() }));
    }
    let (mut id, mut name) = (Text::EMPTY, None);
    reader.object(|key, reader| {
        match key.name() {
            "toolUseId" => id = sound(reader)?,
            "name" => name = Some(sound(reader)?),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(Start::Call { id, name: required(name, "name")? })
}

fn kept_members(reader: &mut Reader<'_>) -> Result<Vec<Member<'static>>, Malformed> {
    let mut members = Vec::new();
    reader.object(|key, reader| {
        let member = reader.member(&key)?;
        check_json(&member.value)?;
        let name = escape(key.name()).into_owned();
        members.push(Member { name, value: member.value.into_owned() });
        Ok(())
    })?;
    Ok(members)
}

fn read_piece<'a>(reader: &mut Reader<'a>) -> Result<Piece<'a>, Malformed> {
    let mut piece = Piece::Unknown;
    reader.object(|key, reader| {
        piece = match key.name() {
            "text" => Piece::Text(sound(reader)?),
            "toolUse" => read_inner(reader, |name| (name == "input").then_some(Piece::Input))?,
            "reasoningContent" => read_inner(reader, |name| match name {
                "text" => Some(Piece::Thought),
                "signature" => Some(Piece::Signature),
                "redactedContent" => Some(Piece::Redacted),
                _ => None,
            })?,
            "citation" => {
                let citation = citation::read(reader)?;
                check_json(&citation.raw)?;
                Piece::Citation(Box::new(citation))
            }
            "image" => read_image(reader)?,
            "toolResult" => {
                let content = reader.raw()?;
                check_json(&content)?;
                Piece::Result(content)
            }
            _ => {
                reader.skip()?;
                Piece::Unknown
            }
        };
        Ok(())
    })?;
    Ok(piece)
}

/// The one text of an object that `make` knows by its name.
fn read_inner<'a>(reader: &mut Reader<'a>, make: impl Fn(&str) -> Option<fn(Text<'a>) -> Piece<'a>>) -> Result<Piece<'a>, Malformed> {
    let mut piece = Piece::Unknown;
    reader.object(|key, reader| {
        match make(key.name()) {
            Some(make) => piece = make(sound(reader)?),
            None => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(piece)
}

fn read_image<'a>(reader: &mut Reader<'a>) -> Result<Piece<'a>, Malformed> {
    let mut piece = Piece::Unknown;
    reader.object(|key, reader| match key.name() {
        "source" => {
            piece = read_inner(reader, |name| (name == "bytes").then_some(Piece::Image))?;
            Ok(())
        }
        _ => reader.skip(),
    })?;
    Ok(piece)
}

/// A text that can be written again. The payload's checksum says that it came as it was sent, not that it is JSON.
fn sound<'a>(reader: &mut Reader<'a>) -> Result<Text<'a>, Malformed> {
    let text = reader.text()?;
    if is_sound(text.as_bytes()) { Ok(text) } else { Err(Malformed::new("is no valid text")) }
}

fn check_json(raw: &Raw<'_>) -> Result<(), Malformed> {
    if is_complete(raw.as_bytes()) { Ok(()) } else { Err(Malformed::new("is not valid JSON")) }
}
