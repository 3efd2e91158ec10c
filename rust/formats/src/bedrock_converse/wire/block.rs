//! Blocks: read as AWS writes them, written as it reads them.
//!
//! A block is an object with one member that says what it is. Whatever has another number of members, or a member that nobody else knows, is
//! opaque, whole. A `cachePoint` is a block of its own behind what it marks.

use fairlead_ir::block::{Arguments, CacheMark, Citation, MediaClass, Thought, ThoughtPart, ThoughtShape, ToolCall, ToolResult};
use fairlead_ir::{Block, Kind, Member, Origin, Raw, Text};

use super::media::{self, Source};
use super::{citation, read_cache_point, required};
use crate::read::{Key, Malformed, Reader};
use crate::text::{escape, join};
use crate::translate::message::{self, Part};
use crate::write::{Object, write_escaped};

/// Where blocks stand: what they can be depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The system prompt.
    System,
    /// A user's message.
    User,
    /// The model's message.
    Assistant,
    /// Inside a tool's result.
    Result,
}

#[expect(clippy::large_enum_variant, reason = "moved once, into the list; nearly all are blocks")]
enum Item<'a> {
    Block(Block<'a>),
    Point(CacheMark),
}

/// Reads a list of blocks; `origin_of` says where one stands.
pub(crate) fn read_list<'a>(
    reader: &mut Reader<'a>,
    place: Place,
    origin_of: impl Fn(usize) -> Origin,
) -> Result<Vec<Block<'a>>, Malformed> {
    let mut blocks: Vec<Block<'a>> = Vec::new();
    reader.array(|index, reader| {
        let (origin, whole) = (origin_of(index), reader.clone());
        match (read(reader, place, origin)?, blocks.last_mut()) {
            (Item::Block(block), _) => blocks.push(block),
            (Item::Point(mark), Some(marked)) if marked.cache.is_none() => marked.cache = Some(mark),
            (Item::Point(_), _) => blocks.push(opaque(Text::word("cachePoint"), whole, origin)?),
        }
        Ok(())
    })?;
    Ok(blocks)
}

fn read<'a>(reader: &mut Reader<'a>, place: Place, origin: Origin) -> Result<Item<'a>, Malformed> {
    let whole = reader.clone();
    let (mut first, mut members, mut item) = (None, 0, None);
    reader.object(|key, reader| {
        members += 1;
        if members > 1 {
            return reader.skip();
        }
        item = read_member(key.name(), reader, place, origin)?;
        first = Some(key);
        Ok(())
    })?;
    match item {
        Some(item) if members == 1 => Ok(item),
        _ => Ok(Item::Block(opaque(first.as_ref().map_or(Text::EMPTY, word), whole, origin)?)),
    }
}

fn word(key: &Key<'_>) -> Text<'static> {
    escape(key.name()).into_owned()
}

fn opaque<'a>(word: Text<'a>, mut whole: Reader<'a>, origin: Origin) -> Result<Block<'a>, Malformed> {
    Ok(Block::new(Kind::Opaque { word, raw: whole.raw()? }, origin))
}

fn read_member<'a>(name: &str, reader: &mut Reader<'a>, place: Place, origin: Origin) -> Result<Option<Item<'a>>, Malformed> {
    let block = match (name, place) {
        ("cachePoint", Place::System | Place::User | Place::Assistant) => return Ok(read_cache_point(reader)?.map(Item::Point)),
        ("text", _) => Some(Block::text(reader.text()?, origin)),
        ("json", Place::Result) => Some(Block::new(Kind::Opaque { word: Text::word("json"), raw: reader.raw()? }, origin)),
        ("image", Place::User | Place::Assistant | Place::Result) => media::read(MediaClass::Image, reader, origin)?,
        ("document", Place::User | Place::Assistant | Place::Result) => media::read(MediaClass::Document, reader, origin)?,
        ("video", Place::User | Place::Assistant | Place::Result) => media::read(MediaClass::Video, reader, origin)?,
        ("audio", Place::User | Place::Assistant) => media::read(MediaClass::Audio, reader, origin)?,
        ("toolUse", Place::Assistant) => read_call(reader, origin)?,
        ("toolResult", Place::User) => read_result(reader, origin)?,
        ("reasoningContent", Place::Assistant) => read_thought(reader, origin)?,
        ("citationsContent", Place::User | Place::Assistant) => read_cited(reader, origin)?,
        _ => {
            reader.skip()?;
            None
        }
    };
    Ok(block.map(Item::Block))
}

/// A call that the service runs itself (`type`) is nobody else's.
fn read_call<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Option<Block<'a>>, Malformed> {
    let (mut id, mut name, mut input, mut hosted, mut rest) = (None, None, Raw::json(b"{}"), false, Vec::new());
    reader.object(|key, reader| {
        match key.name() {
            "toolUseId" => id = Some(reader.text()?),
            "name" => name = Some(reader.text()?),
            "input" => input = reader.raw()?,
            "type" => hosted |= reader.optional(Reader::text)?.is_some(),
            _ => rest.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    let call = ToolCall { id: required(id, "toolUseId")?, name: required(name, "name")?, arguments: Arguments::Json(input) };
    Ok((!hosted).then(|| Block { rest, ..Block::new(Kind::ToolCall(call), origin) }))
}

fn read_result<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Option<Block<'a>>, Malformed> {
    let (mut id, mut content, mut is_error, mut hosted, mut rest) = (None, None, false, false, Vec::new());
    reader.object(|key, reader| {
        match key.name() {
            "toolUseId" => id = Some(reader.text()?),
            "content" => content = Some(read_list(reader, Place::Result, |_| origin)?),
            "status" => is_error = reader.optional(read_status)?.unwrap_or(false),
            "type" => hosted |= reader.optional(Reader::text)?.is_some(),
            _ => rest.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    let (id, content) = (required(id, "toolUseId")?, required(content, "content")?);
    let result = ToolResult { id, name: None, content, is_error, free: false };
    Ok((!hosted).then(|| Block { rest, ..Block::new(Kind::ToolResult(result), origin) }))
}

fn read_status(reader: &mut Reader<'_>) -> Result<bool, Malformed> {
    match reader.text()?.as_bytes() {
        b"success" => Ok(false),
        b"error" => Ok(true),
        _ => Err(Malformed::new("must be \"success\" or \"error\"")),
    }
}

fn read_thought<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Option<Block<'a>>, Malformed> {
    let (mut block, mut members) = (None, 0);
    reader.object(|key, reader| {
        members += 1;
        block = match key.name() {
            "reasoningText" => Some(read_reasoning_text(reader, origin)?),
            "redactedContent" => {
                let thought = Thought { redacted: true, ..Thought::default() };
                let seal = Some(seal(reader.text()?));
                Some(Block { seal, ..Block::new(Kind::Thought(thought), origin) })
            }
            _ => {
                reader.skip()?;
                None
            }
        };
        Ok(())
    })?;
    Ok(block.filter(|_| members == 1))
}

fn read_reasoning_text<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Block<'a>, Malformed> {
    let (mut text, mut signature, mut rest) = (None, None, Vec::new());
    reader.object(|key, reader| {
        match key.name() {
            "text" => text = Some(reader.text()?),
            "signature" => signature = reader.optional(Reader::text)?,
            _ => rest.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    let text = required(text, "text")?;
    let parts = if text.is_empty() { Vec::new() } else { vec![ThoughtPart { shape: ThoughtShape::Full, text }] };
    let thought = Thought { parts, redacted: false, id: None };
    // Some models send an empty one for none.
    let seal = signature.filter(|signature| !signature.is_empty()).map(seal);
    Ok(Block { seal, rest, ..Block::new(Kind::Thought(thought), origin) })
}

fn seal(data: Text<'_>) -> fairlead_ir::block::Seal<'_> {
    fairlead_ir::block::Seal { data, maker: None }
}

fn read_cited<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Option<Block<'a>>, Malformed> {
    let (mut texts, mut citations, mut plain, mut rest) = (Vec::new(), Vec::new(), true, Vec::new());
    reader.object(|key, reader| {
        match key.name() {
            "content" => {
                reader.optional(|reader| {
                    reader.array(|_, reader| {
                        plain &= reader.peek("text").map(|text| texts.push(text)).is_some();
                        reader.skip()
                    })
                })?;
            }
            "citations" => {
                reader.optional(|reader| {
                    reader.array(|_, reader| {
                        citations.push(citation::read(reader)?);
                        Ok(())
                    })
                })?;
            }
            _ => rest.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    let text = match &texts[..] {
        [text] => text.clone(),
        several => join(several, ""),
    };
    // Without a citation it would be written as a plain text.
    let usual = plain && !citations.is_empty();
    Ok(usual.then(|| Block { rest, ..Block::new(Kind::Text { text, citations }, origin) }))
}

/// A block that can be written.
pub(crate) enum Content<'r> {
    /// A text.
    Text(Text<'r>),
    /// A text with its sources; `own`: they are as this dialect wrote them.
    Cited { text: Text<'r>, citations: &'r [Citation<'r>], own: bool },
    /// A thought that can be read, signed or not.
    Thought { thought: &'r Thought<'r>, signature: Option<&'r Text<'r>> },
    /// A thought whose text is hidden for safety.
    Redacted(&'r Text<'r>),
    /// A tool call with an object as input.
    Call { id: Text<'r>, name: Text<'r>, input: Raw<'r> },
    /// A tool's result.
    Result { id: Text<'r>, content: Vec<Piece<'r>>, is_error: bool },
    /// An object of a tool's result.
    Json(Raw<'r>),
    /// Media.
    Media { class: MediaClass, format: Option<&'static str>, name: Option<Text<'r>>, source: Source<'r> },
    /// As this dialect wrote it.
    Raw(&'r Raw<'r>),
}

/// A block that can be written, and its mark, which is written behind it.
pub(crate) struct Piece<'r> {
    pub(crate) content: Content<'r>,
    pub(crate) mark: Option<CacheMark>,
    pub(crate) rest: &'r [Member<'r>],
}

impl<'r> Piece<'r> {
    pub(crate) const fn new(content: Content<'r>) -> Piece<'r> {
        Piece { content, mark: None, rest: &[] }
    }

    pub(crate) const fn text(text: Text<'r>) -> Piece<'r> {
        Piece::new(Content::Text(text))
    }

    /// Appends the block, without its mark.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match &self.content {
            Content::Raw(raw) => out.extend_from_slice(raw.as_bytes()),
            Content::Media { class, format, name, source } => media::write(*class, *format, name.as_ref(), source, self.rest, out),
            Content::Text(text) => write_one("text", out, |out| write_escaped(out, text)),
            Content::Json(raw) => write_one("json", out, |out| out.extend_from_slice(raw.as_bytes())),
            _ => self.write_object(out),
        }
    }

    fn write_object(&self, out: &mut Vec<u8>) {
        let rest = self.rest;
        let mut block = Object::open(out);
        match &self.content {
            Content::Cited { text, citations, own } => block.object("citationsContent", |object| {
                object.array("content", |list| write_one("text", list.element(), |out| write_escaped(out, text)));
                object.array("citations", |list| {
                    for citation in *citations {
                        let out = list.element();
                        match own {
                            true => out.extend_from_slice(citation.raw.as_bytes()),
                            false => citation::write(citation, out),
                        }
                    }
                });
                object.members(rest);
            }),
            Content::Thought { thought, signature } => block.object("reasoningContent", |object| {
                object.object("reasoningText", |object| {
                    match &thought.parts[..] {
                        [part] => object.escaped("text", &part.text),
                        parts => object.escaped("text", &join(parts.iter().map(|part| &part.text), r"\n\n")),
                    };
                    object.optional_escaped("signature", *signature).members(rest);
                });
            }),
            Content::Redacted(data) => block.object("reasoningContent", |object| {
                object.escaped("redactedContent", data);
            }),
            Content::Call { id, name, input } => block.object("toolUse", |object| {
                object.escaped("toolUseId", id).escaped("name", name).raw("input", input.as_bytes()).members(rest);
            }),
            Content::Result { id, content, is_error } => block.object("toolResult", |object| {
                object.escaped("toolUseId", id);
                object.array("content", |list| content.iter().for_each(|piece| piece.write(list.element())));
                if *is_error {
                    object.text("status", "error");
                }
                object.members(rest);
            }),
            // Written by the caller.
            Content::Raw(_) | Content::Media { .. } | Content::Text(_) | Content::Json(_) => &mut block,
        };
        block.close();
    }
}

impl message::Piece for Piece<'_> {
    fn part(&self) -> Part<'_> {
        match &self.content {
            Content::Thought { .. } | Content::Redacted(_) => Part::Thought,
            Content::Call { name, .. } => Part::Call(name),
            Content::Result { .. } => Part::Result,
            _ => Part::Other,
        }
    }

    fn can_be_marked(&self) -> bool {
        !matches!(self.content, Content::Thought { .. } | Content::Redacted(_))
    }

    fn mark(&mut self) -> &mut Option<CacheMark> {
        &mut self.mark
    }
}

/// An object with one member whose value `write` appends.
fn write_one(key: &str, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut object = Object::open(out);
    write(object.key(key));
    object.close();
}
