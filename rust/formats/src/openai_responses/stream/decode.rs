//! Reads the events of a stream.
//!
//! Servers differ in what they leave out: parts without their beginning, items that come whole at the end or in the last event only.
//! What was not said by the time it should have been is taken from where it is said. Nothing is said twice.

use fairlead_ir::block::{Arguments, Citation, MediaSource, ThoughtShape};
use fairlead_ir::{Block, Delta, ErrorKind, Event, Head, Kind, Origin, Raw, Stop, Text};

use super::shape::Shape;
use crate::error::{self, ProviderError};
use crate::json::{Kind as JsonKind, is_complete};
use crate::openai_responses::response::decode::{joined, read_output_item, usage};
use crate::openai_responses::wire::items::{read_citation, read_part};
use crate::openai_responses::wire::{Outline, stop_of};
use crate::read::{Malformed, Reader};
use crate::text::{escape, is_sound};
use crate::traits::Traits;

type Sink<'s> = dyn FnMut(Event<'_>) + 's;

/// The state of one stream. There is one reply, choice 0.
#[derive(Debug)]
pub(crate) struct Decoder {
    traits: Traits,
    started: bool,
    ended: bool,
    /// How many blocks were opened.
    blocks: u32,
    items: Vec<Item>,
    calls: bool,
    refusal: bool,
    /// What the pieces of a block look like, and what they are pieces of.
    pieces: Shape,
    piece: Option<(u32, PieceKind)>,
}

/// What a piece of text is a piece of.
#[derive(Clone, Copy, Debug)]
enum PieceKind {
    Text,
    Arguments,
    Thought(ThoughtShape, u32),
}

impl PieceKind {
    fn delta(self, text: Text<'_>) -> Delta<'_> {
        match self {
            PieceKind::Text => Delta::Text(text),
            PieceKind::Arguments => Delta::Arguments(text),
            PieceKind::Thought(shape, part) => Delta::Thought { shape, part, text },
        }
    }
}

/// An item of the output.
#[derive(Debug)]
struct Item {
    output_index: u64,
    shape: ItemShape,
    done: bool,
}

#[derive(Debug)]
enum ItemShape {
    Message(Vec<Part>),
    Thought {
        block: Option<u32>,
        parts: Vec<(ThoughtShape, u64)>,
        id: Vec<u8>,
    },
    Call {
        block: u32,
        free: bool,
        given: bool,
    },
    /// Comes whole at its end.
    Whole,
}

/// A part of a message.
#[derive(Debug, Default)]
struct Part {
    content_index: u64,
    /// The block, once there is something to say.
    block: Option<u32>,
    refusal: bool,
    citations: usize,
    closed: bool,
}

/// What the events say; each says some of it.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<Text<'a>>,
    output_index: Option<u64>,
    content_index: Option<u64>,
    summary_index: Option<u64>,
    delta: Option<Text<'a>>,
    /// `text`, `refusal`, `arguments` or `input` of the event that ends them.
    whole: Option<Text<'a>>,
    logprobs: Option<Raw<'a>>,
    annotation: Option<Reader<'a>>,
    item: Option<Reader<'a>>,
    part: Option<Reader<'a>>,
    response: Option<Reader<'a>>,
    error: bool,
}

impl<'a> Fields<'a> {
    fn read(data: &'a [u8]) -> Result<Fields<'a>, Malformed> {
        let mut fields = Fields::default();
        Reader::new(data).object(|key, reader| {
            let kind = reader.kind()?;
            match (key.name(), kind) {
                ("type", JsonKind::String) => fields.kind = Some(reader.text()?),
                ("output_index", JsonKind::Number) => fields.output_index = Some(reader.whole()?),
                ("content_index", JsonKind::Number) => fields.content_index = Some(reader.whole()?),
                ("summary_index", JsonKind::Number) => fields.summary_index = Some(reader.whole()?),
                ("delta", JsonKind::String) => fields.delta = Some(sound(reader.text()?)?),
                ("text" | "refusal" | "arguments" | "input", JsonKind::String) => fields.whole = Some(reader.text()?),
                ("logprobs", JsonKind::Array) => fields.logprobs = Some(reader.raw()?),
                ("annotation", JsonKind::Object) => fields.annotation = Some(next(reader)?),
                ("item", JsonKind::Object) => fields.item = Some(next(reader)?),
                ("part", JsonKind::Object) => fields.part = Some(next(reader)?),
                ("response", JsonKind::Object) => fields.response = Some(next(reader)?),
                ("error", kind) => {
                    fields.error = kind != JsonKind::Null;
                    reader.skip()?;
                }
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(fields)
    }
}

/// A reader before the value that is stepped over.
fn next<'a>(reader: &mut Reader<'a>) -> Result<Reader<'a>, Malformed> {
    let here = reader.clone();
    reader.skip()?;
    Ok(here)
}

fn sound_text(text: &Text<'_>) -> bool {
    is_sound(text.as_bytes())
}

fn sound(text: Text<'_>) -> Result<Text<'_>, Malformed> {
    if sound_text(&text) { Ok(text) } else { Err(Malformed::new("is no text")) }
}

/// What was never read as JSON is checked before it gets on.
fn sound_block(block: Block<'_>) -> Result<Block<'_>, Malformed> {
    let is_good = match &block.kind {
        Kind::Text { text, citations } => sound_text(text) && citations.iter().all(is_sound_citation),
        Kind::Refusal(text) => sound_text(text),
        Kind::Thought(thought) => thought.parts.iter().all(|part| sound_text(&part.text)) && thought.id.as_ref().is_none_or(sound_text),
        Kind::ToolCall(call) => {
            let arguments = match &call.arguments {
                Arguments::Json(value) => is_complete(value.as_bytes()),
                Arguments::Quoted(text) | Arguments::Free(text) => sound_text(text),
            };
            arguments && sound_text(&call.id) && sound_text(&call.name)
        }
        Kind::Media(media) => match &media.source {
            MediaSource::Base64 { mime, data } => sound_text(mime) && sound_text(data),
            MediaSource::Url { url, .. } => sound_text(url),
            MediaSource::File(text) | MediaSource::Plain(text) => sound_text(text),
        },
        Kind::Opaque { word, raw } => sound_text(word) && is_complete(raw.as_bytes()),
        Kind::ToolResult(_) => false,
    };
    let seal = block.seal.as_ref().is_none_or(|seal| sound_text(&seal.data));
    if is_good && seal { Ok(block) } else { Err(Malformed::new("is not valid JSON")) }
}

fn is_sound_citation(citation: &Citation<'_>) -> bool {
    [&citation.url, &citation.title, &citation.quote].into_iter().flatten().all(sound_text) && is_complete(citation.raw.as_bytes())
}

impl Decoder {
    pub(crate) fn new(traits: Traits) -> Decoder {
        Decoder {
            traits,
            started: false,
            ended: false,
            blocks: 0,
            items: Vec::new(),
            calls: false,
            refusal: false,
            pieces: Shape::default(),
            piece: None,
        }
    }

    /// Reads one event.
    ///
    /// # Errors
    /// What should be an event of this dialect is none: the provider failed.
    pub(crate) fn event(&mut self, name: Option<&[u8]>, data: &[u8], sink: &mut Sink<'_>) -> Result<(), Malformed> {
        if self.ended || data.is_empty() || data == b"[DONE]" {
            return Ok(());
        }
        if let Some(text) = self.pieces.piece(data)
            && let Some((block, kind)) = self.piece
        {
            if !text.is_empty() {
                sink(Event::Delta { choice: 0, block, delta: kind.delta(sound(text)?) });
            }
            return Ok(());
        }
        self.pieces.forget();
        self.piece = None;
        self.read(name, data, sink)?;
        if self.piece.is_some() {
            self.pieces.learn(data);
        }
        Ok(())
    }

    fn read(&mut self, name: Option<&[u8]>, data: &[u8], sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let fields = Fields::read(data)?;
        let kind = fields.kind.as_ref().map(Text::as_bytes).or(name).unwrap_or_default();
        match kind {
            b"response.output_text.delta" => self.take_text(&fields, fields.delta.as_ref(), false, sink),
            b"response.refusal.delta" => self.take_text(&fields, fields.delta.as_ref(), true, sink),
            b"response.reasoning_summary_text.delta" => self.take_thought(&fields, ThoughtShape::Summary, true, sink),
            b"response.reasoning_text.delta" => self.take_thought(&fields, ThoughtShape::Full, true, sink),
            b"response.function_call_arguments.delta" | b"response.custom_tool_call_input.delta" => {
                self.take_arguments(&fields, fields.delta.as_ref(), sink)
            }
            b"response.output_text.done" => self.take_whole_text(&fields, false, sink),
            b"response.refusal.done" => self.take_whole_text(&fields, true, sink),
            b"response.reasoning_summary_text.done" => self.take_thought(&fields, ThoughtShape::Summary, false, sink),
            b"response.reasoning_text.done" => self.take_thought(&fields, ThoughtShape::Full, false, sink),
            b"response.function_call_arguments.done" | b"response.custom_tool_call_input.done" => self.take_whole_arguments(&fields, sink),
            b"response.output_text.annotation.added" => self.take_annotation(&fields, sink),
            b"response.output_item.added" => self.add_item(&fields, sink),
            b"response.output_item.done" => self.end_item(&fields, sink),
            b"response.content_part.done" => self.end_part(&fields, sink),
            // A part begins with its first piece.
            b"response.content_part.added" | b"response.reasoning_summary_part.added" | b"response.reasoning_summary_part.done" => Ok(()),
            b"response.created" | b"response.in_progress" | b"response.queued" => self.start(&fields, sink),
            b"response.completed" | b"response.incomplete" | b"response.failed" | b"response.cancelled" => self.end(&fields, sink),
            b"error" | b"response.error" => {
                self.fail(error::read(data), sink);
                Ok(())
            }
            _ if fields.error => {
                self.fail(error::read(data), sink);
                Ok(())
            }
            // Progress of a provider's own tools, padding, what is yet to be invented.
            _ => {
                sink(Event::KeepAlive);
                Ok(())
            }
        }
    }

    /// The connection has ended.
    pub(crate) fn finish(&mut self, sink: &mut Sink<'_>) {
        if !self.ended {
            let message = "the provider's stream ended before its reply did".to_owned();
            let code = "upstream_truncated".to_owned();
            let (kind, told, own) = (ErrorKind::ProviderUnavailable, error::Told::ByUs, error::OwnWords::default());
            self.fail(ProviderError { kind, told, message, code, own }, sink);
        }
    }

    fn fail(&mut self, error: ProviderError, sink: &mut Sink<'_>) {
        self.ended = true;
        let code = Some(error.code.as_str()).filter(|code| !code.is_empty()).map(escape);
        sink(Event::Fail { kind: error.kind, message: escape(&error.message), code });
    }

    fn start(&mut self, fields: &Fields<'_>, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let Some(response) = &fields.response else {
            self.begin(sink);
            return Ok(());
        };
        if self.started {
            return Ok(());
        }
        let (mut id, mut model, mut created_s) = (Text::EMPTY, Text::EMPTY, None);
        response.clone().object(|key, reader| {
            match (key.name(), reader.kind()?) {
                ("id", JsonKind::String) => id = sound(reader.text()?)?,
                ("model", JsonKind::String) => model = sound(reader.text()?)?,
                ("created_at", JsonKind::Number) => created_s = crate::decimal::count(reader.raw()?.as_bytes()),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        self.started = true;
        sink(Event::Start { id, model, created_s });
        Ok(())
    }

    fn begin(&mut self, sink: &mut Sink<'_>) {
        if !self.started {
            self.started = true;
            sink(Event::Start { id: Text::EMPTY, model: Text::EMPTY, created_s: None });
        }
    }

    fn open(&mut self, head: Head<'_>, sink: &mut Sink<'_>) -> u32 {
        self.begin(sink);
        let block = self.blocks;
        self.blocks += 1;
        sink(Event::Open { choice: 0, block, head });
        block
    }

    /// Says a piece of a block. More of the kind are expected, if the event says what it is.
    fn say(&mut self, fields: &Fields<'_>, block: u32, kind: PieceKind, text: &Text<'_>, sink: &mut Sink<'_>) {
        let is_piece = fields.kind.as_ref().is_some_and(|word| word.as_bytes().ends_with(b".delta"));
        self.piece = Some((block, kind)).filter(|_| is_piece);
        sink(Event::Delta { choice: 0, block, delta: kind.delta(text.borrowed()) });
    }

    /// The item of an event; the last one where the event does not say.
    fn item(&mut self, output_index: Option<u64>) -> Option<&mut Item> {
        self.items.iter_mut().rev().find(|item| output_index.is_none_or(|index| item.output_index == index))
    }

    fn next_index(&self, output_index: Option<u64>) -> u64 {
        output_index.unwrap_or_else(|| self.items.iter().map(|item| item.output_index.saturating_add(1)).max().unwrap_or(0))
    }

    /// The part that an event is about, made where the provider did not announce it.
    fn part(&mut self, fields: &Fields<'_>) -> Option<&mut Part> {
        let at = match self.items.iter().rposition(|item| fields.output_index.is_none_or(|index| item.output_index == index)) {
            Some(at) => at,
            None => {
                let output_index = self.next_index(fields.output_index);
                self.items.push(Item { output_index, shape: ItemShape::Message(Vec::new()), done: false });
                self.items.len() - 1
            }
        };
        let Item { shape: ItemShape::Message(parts), done: false, .. } = self.items.get_mut(at)? else { return None };
        let content_index = fields.content_index.unwrap_or(0);
        let at = match parts.iter().rposition(|part| part.content_index == content_index) {
            Some(at) => at,
            None => {
                parts.push(Part { content_index, ..Part::default() });
                parts.len() - 1
            }
        };
        parts.get_mut(at).filter(|part| !part.closed)
    }

    fn take_text(&mut self, fields: &Fields<'_>, text: Option<&Text<'_>>, refusal: bool, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(()) };
        let Some(part) = self.part(fields) else { return Ok(()) };
        let block = match part.block {
            Some(block) => block,
            None => {
                self.refusal |= refusal;
                let block = self.open(if refusal { Head::Refusal } else { Head::Text }, sink);
                if let Some(part) = self.part(fields) {
                    (part.block, part.refusal) = (Some(block), refusal);
                }
                block
            }
        };
        self.say(fields, block, PieceKind::Text, text, sink);
        let logprobs = fields.logprobs.as_ref().filter(|raw| !raw.is("[]") && is_complete(raw.as_bytes()));
        if let Some(logprobs) = logprobs.and_then(|raw| joined(std::slice::from_ref(raw))) {
            self.piece = None;
            sink(Event::Logprobs { choice: 0, logprobs });
        }
        Ok(())
    }

    /// The text as a whole, where no piece of it came.
    fn take_whole_text(&mut self, fields: &Fields<'_>, refusal: bool, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let unsaid = self.part(fields).is_some_and(|part| part.block.is_none());
        let Some(text) = fields.whole.clone().filter(|_| unsaid) else { return Ok(()) };
        self.take_text(fields, Some(&sound(text)?), refusal, sink)
    }

    fn take_annotation(&mut self, fields: &Fields<'_>, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let Some(annotation) = &fields.annotation else { return Ok(()) };
        let citation = read_citation(&mut annotation.clone())?;
        if !is_sound_citation(&citation) {
            return Err(Malformed::new("is not valid JSON").in_member("annotation"));
        }
        // A source of a text that is yet to come is told when the part ends.
        let Some(part) = self.part(fields).filter(|part| !part.refusal) else { return Ok(()) };
        let Some(block) = part.block else { return Ok(()) };
        part.citations += 1;
        sink(Event::Delta { choice: 0, block, delta: Delta::Citation(citation) });
        Ok(())
    }

    fn end_part(&mut self, fields: &Fields<'_>, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let Some(part) = &fields.part else { return Ok(()) };
        let is_thought = part.peek("type").is_some_and(|word| word.is("reasoning_text"));
        if is_thought {
            return Ok(());
        }
        let block = sound_block(read_part(&mut part.clone(), Origin::default())?)?;
        self.end_part_as(fields, &block, sink)
    }

    /// Says what of a part is yet unsaid, and closes it.
    fn end_part_as(&mut self, fields: &Fields<'_>, whole: &Block<'_>, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let unsaid = match self.part(fields) {
            Some(part) => part.block.is_none(),
            None => return Ok(()),
        };
        match &whole.kind {
            Kind::Text { text, .. } if unsaid => self.take_text(fields, Some(text), false, sink)?,
            Kind::Refusal(text) if unsaid => self.take_text(fields, Some(text), true, sink)?,
            Kind::Opaque { word, raw } => {
                let block = self.open(Head::Opaque { word: word.borrowed(), raw: raw.borrowed() }, sink);
                sink(Event::Close { choice: 0, block });
            }
            _ => {}
        }
        let Some(part) = self.part(fields) else { return Ok(()) };
        part.closed = true;
        let Some(block) = part.block else { return Ok(()) };
        if let (Kind::Text { citations, .. }, false) = (&whole.kind, part.refusal) {
            for citation in citations.iter().skip(part.citations) {
                sink(Event::Delta { choice: 0, block, delta: Delta::Citation(citation.clone()) });
            }
        }
        sink(Event::Close { choice: 0, block });
        Ok(())
    }

    fn take_thought(&mut self, fields: &Fields<'_>, shape: ThoughtShape, piece: bool, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let whole = if piece { fields.delta.as_ref() } else { fields.whole.as_ref() };
        let Some(text) = whole.filter(|text| !text.is_empty()) else { return Ok(()) };
        let index = if shape == ThoughtShape::Summary { fields.summary_index } else { fields.content_index };
        let wanted = (shape, index.unwrap_or(0));
        if self.item(fields.output_index).is_none() {
            let output_index = self.next_index(fields.output_index);
            self.items.push(Item { output_index, shape: ItemShape::thought(b""), done: false });
        }
        let Some(Item { shape: ItemShape::Thought { parts, .. }, done: false, .. }) = self.item(fields.output_index) else { return Ok(()) };
        let known = parts.iter().rposition(|part| *part == wanted);
        let part = match known {
            Some(_) if !piece => return Ok(()),
            // Pieces of a part come together: a later one that goes back to an earlier part goes on with the last.
            Some(_) => parts.len() - 1,
            None => {
                parts.push(wanted);
                parts.len() - 1
            }
        };
        if !piece && !sound_text(text) {
            return Err(Malformed::new("is no text").in_member("text"));
        }
        let block = self.thought_block(fields.output_index, sink);
        let kind = PieceKind::Thought(shape, u32::try_from(part).unwrap_or(u32::MAX));
        self.say(fields, block, kind, text, sink);
        Ok(())
    }

    /// The block of a thought, opened by the first thing that is said of it.
    fn thought_block(&mut self, output_index: Option<u64>, sink: &mut Sink<'_>) -> u32 {
        let id = match self.item(output_index) {
            Some(Item { shape: ItemShape::Thought { block: Some(block), .. }, .. }) => return *block,
            Some(Item { shape: ItemShape::Thought { id, .. }, .. }) => std::mem::take(id),
            _ => Vec::new(),
        };
        let id = if id.is_empty() { None } else { Some(Text::owned(id)) };
        let opened = self.open(Head::Thought { id, redacted: false }, sink);
        if let Some(Item { shape: ItemShape::Thought { block, .. }, .. }) = self.item(output_index) {
            *block = Some(opened);
        }
        opened
    }

    fn take_arguments(&mut self, fields: &Fields<'_>, text: Option<&Text<'_>>, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(()) };
        if let Some(Item { shape: ItemShape::Call { block, given, .. }, done: false, .. }) = self.item(fields.output_index) {
            *given = true;
            let block = *block;
            self.say(fields, block, PieceKind::Arguments, text, sink);
        }
        Ok(())
    }

    fn take_whole_arguments(&mut self, fields: &Fields<'_>, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let unsaid = matches!(self.item(fields.output_index), Some(Item { shape: ItemShape::Call { given: false, .. }, done: false, .. }));
        let Some(text) = fields.whole.clone().filter(|_| unsaid) else { return Ok(()) };
        self.take_arguments(fields, Some(&sound(text)?), sink)
    }

    fn add_item(&mut self, fields: &Fields<'_>, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let Some(item) = &fields.item else { return Ok(()) };
        let output_index = self.next_index(fields.output_index);
        if self.items.iter().any(|item| item.output_index == output_index) {
            return Ok(());
        }
        self.begin(sink);
        let shape = match item.peek("type").as_ref().map(Text::as_bytes) {
            Some(b"message") => ItemShape::Message(Vec::new()),
            Some(b"reasoning") => ItemShape::thought(item.peek("id").unwrap_or_default().as_bytes()),
            Some(word @ (b"function_call" | b"custom_tool_call")) => {
                let name = sound(item.peek("name").unwrap_or_default())?;
                let (id, item_id) = (item.peek("call_id").unwrap_or_default(), item.peek("id").unwrap_or_default());
                let id = call_id(&sound(id)?, &sound(item_id)?, output_index);
                self.open_call(id, name, word == b"custom_tool_call", sink)
            }
            _ => ItemShape::Whole,
        };
        self.items.push(Item { output_index, shape, done: false });
        Ok(())
    }

    fn open_call(&mut self, id: Text<'_>, name: Text<'_>, free: bool, sink: &mut Sink<'_>) -> ItemShape {
        self.calls = true;
        let block = self.open(Head::ToolCall { id, name, free }, sink);
        ItemShape::Call { block, free, given: false }
    }

    fn end_item(&mut self, fields: &Fields<'_>, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let Some(item) = &fields.item else { return Ok(()) };
        self.end_item_as(fields.output_index, item.clone(), sink)
    }

    /// Says what of an item is yet unsaid, and closes it.
    fn end_item_as(&mut self, output_index: Option<u64>, mut whole: Reader<'_>, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let item_id = whole.peek("id").filter(sound_text).unwrap_or_default().into_owned();
        let blocks: Vec<Block<'_>> =
            read_output_item(&mut whole, Origin::default())?.into_iter().map(sound_block).collect::<Result<_, _>>()?;
        let known = self.item(output_index).filter(|item| output_index.is_some() || !item.done);
        let (output_index, done) = match known {
            Some(item) => (item.output_index, item.done),
            None => (self.next_index(output_index), false),
        };
        if done || self.item(Some(output_index)).is_some_and(|item| item.done) {
            return Ok(());
        }
        if !self.items.iter().any(|item| item.output_index == output_index) {
            let shape = self.shape_of(&blocks, &item_id, output_index, sink);
            self.items.push(Item { output_index, shape, done: false });
        }
        let at = Some(output_index);
        for (index, block) in blocks.iter().enumerate() {
            self.end_block(at, index, block, sink)?;
        }
        self.close_item(at, sink);
        Ok(())
    }

    /// An item that was not announced.
    fn shape_of(&mut self, blocks: &[Block<'_>], item_id: &Text<'_>, output_index: u64, sink: &mut Sink<'_>) -> ItemShape {
        match blocks.first().map(|block| &block.kind) {
            Some(Kind::Thought(_)) => ItemShape::thought(item_id.as_bytes()),
            Some(Kind::ToolCall(call)) => {
                let id = call_id(&call.id, item_id, output_index);
                self.open_call(id, call.name.borrowed(), matches!(call.arguments, Arguments::Free(_)), sink)
            }
            Some(Kind::Text { .. } | Kind::Refusal(_)) | None => ItemShape::Message(Vec::new()),
            Some(_) => ItemShape::Whole,
        }
    }

    fn end_block(&mut self, output_index: Option<u64>, index: usize, block: &Block<'_>, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let fields = Fields { output_index, content_index: Some(index as u64), ..Fields::default() };
        match (&block.kind, self.item(output_index).map(|item| &item.shape)) {
            (Kind::Text { .. } | Kind::Refusal(_) | Kind::Opaque { .. }, Some(ItemShape::Message(_))) => {
                self.end_part_as(&fields, block, sink)?
            }
            (Kind::Thought(thought), Some(ItemShape::Thought { parts, .. })) => {
                let unsaid = parts.is_empty();
                let said_of = block.seal.is_some() || thought.id.is_some();
                for (part, text) in thought.parts.iter().enumerate().filter(|_| unsaid) {
                    let fields = Fields {
                        summary_index: Some(part as u64),
                        content_index: Some(part as u64),
                        delta: Some(text.text.borrowed()),
                        output_index,
                        ..Fields::default()
                    };
                    self.take_thought(&fields, text.shape, true, sink)?;
                }
                if said_of {
                    let opened = self.thought_block(output_index, sink);
                    if let Some(seal) = &block.seal {
                        sink(Event::Delta { choice: 0, block: opened, delta: Delta::Seal(seal.data.borrowed()) });
                    }
                }
            }
            (Kind::ToolCall(call), Some(ItemShape::Call { given: false, .. })) => {
                if let Arguments::Quoted(text) | Arguments::Free(text) = &call.arguments {
                    self.take_arguments(&fields, Some(text), sink)?;
                }
            }
            (Kind::Media(media), _) => {
                let block = self.open(Head::Media(media.clone()), sink);
                sink(Event::Close { choice: 0, block });
            }
            (Kind::Opaque { word, raw }, _) => {
                let block = self.open(Head::Opaque { word: word.borrowed(), raw: raw.borrowed() }, sink);
                sink(Event::Close { choice: 0, block });
            }
            _ => {}
        }
        Ok(())
    }

    /// Closes what an item has open.
    fn close_item(&mut self, output_index: Option<u64>, sink: &mut Sink<'_>) {
        let Some(item) = self.item(output_index).filter(|item| !item.done) else { return };
        item.done = true;
        match &mut item.shape {
            ItemShape::Message(parts) => {
                for part in parts.iter_mut().filter(|part| !part.closed) {
                    part.closed = true;
                    if let Some(block) = part.block {
                        sink(Event::Close { choice: 0, block });
                    }
                }
            }
            ItemShape::Thought { block: Some(block), .. } => sink(Event::Close { choice: 0, block: *block }),
            ItemShape::Call { block, free, given } => {
                if !*free && !*given {
                    sink(Event::Delta { choice: 0, block: *block, delta: Delta::Arguments(Text::word("{}")) });
                }
                sink(Event::Close { choice: 0, block: *block });
            }
            ItemShape::Thought { .. } | ItemShape::Whole => {}
        }
    }

    /// The event that ends the reply: with figures, and with the whole output where it was not streamed.
    fn end(&mut self, fields: &Fields<'_>, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let Some(response) = &fields.response else { return Err(Malformed::new("has no \"response\"")) };
        let response = response.clone();
        let raw = response.clone().raw()?;
        let outline = Outline::read(raw.as_bytes())?;
        let kind = fields.kind.as_ref().map(Text::as_bytes).unwrap_or_default();
        let by_kind = kind.strip_prefix(b"response.").unwrap_or(b"completed");
        let status = if outline.status.is_empty() || outline.status == b"in_progress" { by_kind } else { outline.status };
        if status == b"failed" {
            let error = outline.error.map_or_else(|| error::read(b""), error::read);
            self.fail(error, sink);
            return Ok(());
        }
        self.start(fields, sink)?;
        self.take_output(response, sink)?;
        for at in 0..self.items.len() {
            let output_index = self.items[at].output_index;
            self.close_item(Some(output_index), sink);
        }
        if let Some(tier) = outline.tier.map(crate::openai_responses::wire::inside).map(Text::escaped).filter(sound_text) {
            sink(Event::Tier(tier));
        }
        if let Some(usage) = usage(&outline, &self.traits) {
            sink(Event::Usage(usage));
        }
        let stop = stop_of(status, outline.reason, self.calls, self.refusal);
        let Some((reason, native)) = stop else { return Err(Malformed::new("is not that of a finished reply").in_member("status")) };
        let native = Some(Text::escaped(native)).filter(sound_text).unwrap_or_default();
        sink(Event::Stop { choice: 0, stop: Stop { reason, native, sequence: None, details: None } });
        self.ended = true;
        sink(Event::End);
        Ok(())
    }

    /// Takes what was never streamed, or never ended, from the whole output.
    fn take_output(&mut self, response: Reader<'_>, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let nothing_streamed = self.items.is_empty();
        let mut response = response;
        response.object(|key, reader| match (key.name(), reader.kind()?) {
            ("output", JsonKind::Array) => reader.array(|index, reader| {
                let item = next(reader)?;
                let index = index as u64;
                let unfinished = self.items.iter().any(|item| item.output_index == index && !item.done);
                if nothing_streamed || unfinished { self.end_item_as(Some(index), item, sink) } else { Ok(()) }
            }),
            _ => reader.skip(),
        })
    }
}

impl ItemShape {
    fn thought(id: &[u8]) -> ItemShape {
        let id = if sound_text(&Text::escaped(id)) { id.to_vec() } else { Vec::new() };
        ItemShape::Thought { block: None, parts: Vec::new(), id }
    }
}

/// The id that ties a call to its answer: the provider's, else the item's, else its place.
fn call_id<'t>(id: &Text<'t>, item_id: &Text<'t>, output_index: u64) -> Text<'t> {
    match (id.is_empty(), item_id.is_empty()) {
        (false, _) => id.clone(),
        (true, false) => item_id.clone(),
        (true, true) => Text::owned(format!("call_{output_index}").into_bytes()),
    }
}
