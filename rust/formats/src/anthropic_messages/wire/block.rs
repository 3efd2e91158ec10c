//! Content blocks as they stand in messages, replies and events.

use fairlead_ir::block::{
    Arguments, CacheMark, CacheTtl, Media, MediaClass, MediaSource, Seal, Thought, ThoughtPart, ThoughtShape, ToolCall, ToolResult,
};
use fairlead_ir::{Block, Kind, Member, Origin, Raw, Text};

use super::citation;
use crate::json;
use crate::read::{Malformed, Reader};

/// Reads a content block. A block that no other dialect knows is kept whole.
pub(crate) fn read<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Block<'a>, Malformed> {
    let kind = kind_of(reader)?;
    match kind.as_bytes() {
        b"thinking" => read_thinking(reader, origin),
        b"redacted_thinking" => read_redacted(reader, origin),
        b"tool_use" => read_call(reader, origin),
        b"tool_result" => read_result(reader, origin),
        _ => read_piece(&kind, reader, origin),
    }
}

/// Reads what may stand inside a tool's result too.
fn read_piece<'a>(kind: &Text<'a>, reader: &mut Reader<'a>, origin: Origin) -> Result<Block<'a>, Malformed> {
    match kind.as_bytes() {
        b"text" => read_text(reader, origin),
        b"image" => read_media(MediaClass::Image, kind, reader, origin),
        b"document" => read_media(MediaClass::Document, kind, reader, origin),
        _ => Ok(Block::new(Kind::Opaque { word: kind.clone(), raw: reader.raw()? }, origin)),
    }
}

fn kind_of<'a>(reader: &Reader<'a>) -> Result<Text<'a>, Malformed> {
    if reader.kind()? != json::Kind::Object {
        return Err(Malformed::new("must be an object"));
    }
    reader.peek("type").ok_or_else(|| Malformed::new("must be the name of a content block").in_member("type"))
}

/// A list of blocks, or a text that stands for one.
pub(crate) fn read_content<'a>(reader: &mut Reader<'a>, origin: Origin, inner: &'static str) -> Result<Vec<Block<'a>>, Malformed> {
    read_list(reader, origin.inside(inner), |index| origin.part(inner, index), read)
}

fn read_list<'a>(
    reader: &mut Reader<'a>,
    whole: Origin,
    each: impl Fn(usize) -> Origin,
    read: impl Fn(&mut Reader<'a>, Origin) -> Result<Block<'a>, Malformed>,
) -> Result<Vec<Block<'a>>, Malformed> {
    let mut blocks = Vec::new();
    match reader.kind()? {
        json::Kind::String => blocks.push(Block::text(reader.text()?, whole)),
        json::Kind::Array => reader.array(|index, reader| {
            blocks.push(read(reader, each(index))?);
            Ok(())
        })?,
        _ => return Err(Malformed::new("must be a text or an array of content blocks")),
    }
    Ok(blocks)
}

/// The blocks of the top-level `system`.
pub(crate) fn read_system<'a>(reader: &mut Reader<'a>) -> Result<Vec<Block<'a>>, Malformed> {
    read_list(reader, Origin::member("system"), |index| Origin::item("system", index), read)
}

fn read_text<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Block<'a>, Malformed> {
    let (mut text, mut citations) = (None, Vec::new());
    let mut frame = Frame::default();
    reader.object(|key, reader| {
        match key.name() {
            "text" => text = Some(reader.text()?),
            "citations" => citations = reader.optional(citation::read_list)?.unwrap_or_default(),
            name => return frame.take(name, &key, reader),
        }
        Ok(())
    })?;
    Ok(frame.close(Kind::Text { text: required(text, "text")?, citations }, origin))
}

fn read_media<'a>(class: MediaClass, word: &Text<'a>, reader: &mut Reader<'a>, origin: Origin) -> Result<Block<'a>, Malformed> {
    let mut whole = reader.clone();
    let (mut source, mut name) = (None, None);
    let mut frame = Frame::default();
    reader.object(|key, reader| {
        match key.name() {
            "source" => source = Some(read_source(reader)?),
            "title" if class == MediaClass::Document => name = reader.optional(Reader::text)?,
            name => return frame.take(name, &key, reader),
        }
        Ok(())
    })?;
    Ok(match required(source, "source")? {
        Some(source) => frame.close(Kind::Media(Media { class, source, detail: None, name }), origin),
        None => Block::new(Kind::Opaque { word: word.clone(), raw: whole.raw()? }, origin),
    })
}

/// Where media are; `None` for a kind of place that only this dialect knows (a document made of blocks).
fn read_source<'a>(reader: &mut Reader<'a>) -> Result<Option<MediaSource<'a>>, Malformed> {
    let (mut kind, mut mime, mut data, mut url, mut file) = (None, None, None, None, None);
    reader.object(|key, reader| {
        match key.name() {
            "type" => kind = Some(reader.text()?),
            "media_type" => mime = reader.optional(Reader::text)?,
            "data" => data = Some(reader.text()?),
            "url" => url = Some(reader.text()?),
            "file_id" => file = Some(reader.text()?),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    let kind = required(kind, "type")?;
    Ok(Some(match kind.as_bytes() {
        b"base64" => MediaSource::Base64 { mime: required(mime, "media_type")?, data: required(data, "data")? },
        b"url" => MediaSource::Url { url: required(url, "url")?, mime },
        b"file" => MediaSource::File(required(file, "file_id")?),
        b"text" => MediaSource::Plain(required(data, "data")?),
        _ => return Ok(None),
    }))
}

fn read_thinking<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Block<'a>, Malformed> {
    let (mut text, mut signature) = (None, None);
    let mut frame = Frame::default();
    reader.object(|key, reader| {
        match key.name() {
            "thinking" => text = Some(reader.text()?),
            "signature" => signature = reader.optional(Reader::text)?,
            name => return frame.take(name, &key, reader),
        }
        Ok(())
    })?;
    let parts = match required(text, "thinking")? {
        text if text.is_empty() => Vec::new(),
        text => vec![ThoughtPart { shape: ThoughtShape::Full, text }],
    };
    Ok(sealed(frame.close(Kind::Thought(Thought { parts, redacted: false, id: None }), origin), signature))
}

fn read_redacted<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Block<'a>, Malformed> {
    let mut data = None;
    let mut frame = Frame::default();
    reader.object(|key, reader| {
        match key.name() {
            "data" => data = Some(reader.text()?),
            name => return frame.take(name, &key, reader),
        }
        Ok(())
    })?;
    let kind = Kind::Thought(Thought { parts: Vec::new(), redacted: true, id: None });
    Ok(sealed(frame.close(kind, origin), Some(required(data, "data")?)))
}

fn sealed<'a>(block: Block<'a>, seal: Option<Text<'a>>) -> Block<'a> {
    // Imitators without signatures send an empty one.
    let seal = seal.filter(|data| !data.is_empty()).map(|data| Seal { data, maker: None });
    Block { seal, ..block }
}

fn read_call<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Block<'a>, Malformed> {
    let (mut id, mut name, mut input) = (None, None, None);
    let mut frame = Frame::default();
    reader.object(|key, reader| {
        match key.name() {
            "id" => id = Some(reader.text()?),
            "name" => name = Some(reader.text()?),
            "input" => input = Some(reader.raw()?),
            // Said of every call that the model makes itself.
            "caller" if reader.peek("type").is_some_and(|kind| kind.is("direct")) => reader.skip()?,
            name => return frame.take(name, &key, reader),
        }
        Ok(())
    })?;
    let arguments = Arguments::Json(input.unwrap_or(Raw::json(b"{}")));
    let call = ToolCall { id: required(id, "id")?, name: required(name, "name")?, arguments };
    Ok(frame.close(Kind::ToolCall(call), origin))
}

fn read_result<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Block<'a>, Malformed> {
    let (mut id, mut content, mut is_error) = (None, Vec::new(), false);
    let mut frame = Frame::default();
    reader.object(|key, reader| {
        match key.name() {
            "tool_use_id" => id = Some(reader.text()?),
            "content" => content = reader.optional(|reader| read_result_content(reader, origin))?.unwrap_or_default(),
            "is_error" => is_error = reader.optional(Reader::flag)?.unwrap_or_default(),
            name => return frame.take(name, &key, reader),
        }
        Ok(())
    })?;
    let result = ToolResult { id: required(id, "tool_use_id")?, name: None, content, is_error, free: false };
    Ok(frame.close(Kind::ToolResult(result), origin))
}

fn read_result_content<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Vec<Block<'a>>, Malformed> {
    read_list(
        reader,
        origin,
        |_| origin,
        |reader, origin| {
            let kind = kind_of(reader)?;
            read_piece(&kind, reader, origin)
        },
    )
}

/// What every block may have.
#[derive(Default)]
struct Frame<'a> {
    cache: Option<CacheMark>,
    rest: Vec<Member<'a>>,
}

impl<'a> Frame<'a> {
    fn take(&mut self, name: &str, key: &crate::read::Key<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        match name {
            "type" => reader.skip()?,
            "cache_control" => self.cache = reader.optional(read_mark)?,
            _ => self.rest.push(reader.member(key)?),
        }
        Ok(())
    }

    fn close(self, kind: Kind<'a>, origin: Origin) -> Block<'a> {
        Block { kind, cache: self.cache, seal: None, origin, rest: self.rest }
    }
}

/// A `cache_control`. What it may say beside the time is advice to Anthropic's cache and not kept.
pub(crate) fn read_mark(reader: &mut Reader<'_>) -> Result<CacheMark, Malformed> {
    let mut mark = CacheMark::default();
    reader.object(|key, reader| {
        match key.name() {
            "type" if !reader.text()?.is("ephemeral") => return Err(Malformed::new("must be \"ephemeral\"")),
            "ttl" => {
                let unknown = || Malformed::new("must be \"5m\" or \"1h\"");
                mark.ttl = reader.optional(|reader| CacheTtl::from_word(reader.text()?.as_bytes()).ok_or_else(unknown))?;
            }
            "type" => {}
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(mark)
}

/// The value of a member that must be there.
pub(crate) fn required<T>(value: Option<T>, name: &str) -> Result<T, Malformed> {
    value.ok_or_else(|| Malformed::new("is missing").in_member(name))
}
