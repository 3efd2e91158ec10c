//! Items and the parts of their content, read into blocks: the same in a request's `input`, a reply's `output` and a stream's items.
//!
//! What carries no meaning to a model is left out: `status` everywhere, and the `id` of items that are named by a `call_id` or by nothing.

use fairlead_ir::block::{
    Arguments, CacheMark, CacheTtl, Citation, Media, MediaClass, MediaSource, Seal, Thought, ThoughtPart, ThoughtShape,
};
use fairlead_ir::block::{ToolCall, ToolResult};
use fairlead_ir::loss::OUTER;
use fairlead_ir::{Block, Kind, Member, Origin, Text};

use super::media;
use crate::json::Kind as JsonKind;
use crate::read::{Key, Malformed, Reader};

/// Before the name of a member of a message whose turn has no place for it: it stands with the message's first block.
pub(crate) const OF_MESSAGE: &str = OUTER;

/// A `message` item.
pub(crate) struct Message<'a> {
    /// Who speaks, as written.
    pub(crate) role: Option<Text<'a>>,
    pub(crate) blocks: Vec<Block<'a>>,
    /// Members beside those that every message has, such as `phase`.
    pub(crate) rest: Vec<Member<'a>>,
}

impl<'a> Message<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>, origin: Origin) -> Result<Message<'a>, Malformed> {
        let mut message = Message { role: None, blocks: Vec::new(), rest: Vec::new() };
        reader.object(|key, reader| match key.name() {
            "type" | "id" | "status" => reader.skip(),
            "role" => {
                message.role = Some(reader.text()?);
                Ok(())
            }
            "content" => {
                message.blocks.clear();
                read_content(reader, origin, "content", &mut message.blocks)
            }
            _ => take_rest(&key, reader, &mut message.rest),
        })?;
        Ok(message)
    }

    /// The blocks, with the message's own members at the first one.
    pub(crate) fn into_blocks(mut self) -> Vec<Block<'a>> {
        if let Some(first) = self.blocks.first_mut() {
            let own = self.rest.into_iter().map(|member| under(OF_MESSAGE, member));
            first.rest.extend(own);
        }
        self.blocks
    }
}

/// The same member under a name that says where it stood.
pub(crate) fn under<'a>(place: &str, member: Member<'a>) -> Member<'a> {
    Member { name: Text::owned([place.as_bytes(), member.name.as_bytes()].concat()), value: member.value }
}

/// Keeps a member that is not known; `null` says nothing.
pub(crate) fn take_rest<'a>(key: &Key<'a>, reader: &mut Reader<'a>, rest: &mut Vec<Member<'a>>) -> Result<(), Malformed> {
    if reader.kind()? == JsonKind::Null {
        return reader.skip();
    }
    let member = reader.member(key)?;
    rest.retain(|before| before.name != member.name);
    rest.push(member);
    Ok(())
}

/// Reads a content: one text, or an array of parts. `inner` is the member's name.
pub(crate) fn read_content<'a>(
    reader: &mut Reader<'a>,
    origin: Origin,
    inner: &'static str,
    blocks: &mut Vec<Block<'a>>,
) -> Result<(), Malformed> {
    match reader.kind()? {
        JsonKind::Null => reader.skip(),
        JsonKind::String => {
            let text = reader.text()?;
            if !text.is_empty() {
                blocks.push(Block::text(text, origin.inside(inner)));
            }
            Ok(())
        }
        JsonKind::Array => reader.array(|index, reader| {
            blocks.push(read_part(reader, origin.part(inner, index))?);
            Ok(())
        }),
        _ => Err(Malformed::new("must be a string or an array")),
    }
}

/// Reads one part of a content.
pub(crate) fn read_part<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Block<'a>, Malformed> {
    if reader.kind()? != JsonKind::Object {
        return Err(Malformed::new("must be an object"));
    }
    let word = reader.peek("type").ok_or_else(|| Malformed::new("has no \"type\""))?;
    match word.as_bytes() {
        b"input_text" | b"output_text" | b"text" => read_text(reader, origin),
        b"refusal" => read_refusal(reader, origin),
        b"input_image" => read_media(reader, origin, MediaClass::Image),
        b"input_file" => read_media(reader, origin, MediaClass::Document),
        b"input_audio" => read_media(reader, origin, MediaClass::Audio),
        _ => Ok(Block::new(Kind::Opaque { word, raw: reader.raw()? }, origin)),
    }
}

fn read_text<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Block<'a>, Malformed> {
    let (mut text, mut citations) = (None, Vec::new());
    let mut block = Block::text(Text::EMPTY, origin);
    reader.object(|key, reader| match key.name() {
        "type" => reader.skip(),
        "text" => {
            text = Some(reader.text()?);
            Ok(())
        }
        "annotations" => reader
            .optional(|reader| {
                citations.clear();
                reader.array(|_, reader| {
                    citations.push(read_citation(reader)?);
                    Ok(())
                })
            })
            .map(drop),
        "logprobs" if reader.clone().raw()?.is("[]") => reader.skip(),
        _ => take_mark_or_rest(&key, reader, &mut block),
    })?;
    let text = text.ok_or_else(|| Malformed::new("has no \"text\""))?;
    block.kind = Kind::Text { text, citations };
    Ok(block)
}

fn read_refusal<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Block<'a>, Malformed> {
    let mut refusal = None;
    let mut block = Block::text(Text::EMPTY, origin);
    reader.object(|key, reader| match key.name() {
        "type" => reader.skip(),
        "refusal" => {
            refusal = Some(reader.text()?);
            Ok(())
        }
        _ => take_mark_or_rest(&key, reader, &mut block),
    })?;
    block.kind = Kind::Refusal(refusal.ok_or_else(|| Malformed::new("has no \"refusal\""))?);
    Ok(block)
}

fn read_media<'a>(reader: &mut Reader<'a>, origin: Origin, class: MediaClass) -> Result<Block<'a>, Malformed> {
    let mut reading = media::Reading::default();
    let mut audio = None;
    let mut block = Block::text(Text::EMPTY, origin);
    reader.object(|key, reader| match key.name() {
        "type" => reader.skip(),
        "input_audio" => {
            audio = Some(media::read_audio(reader)?);
            Ok(())
        }
        name => {
            if reading.member(name, reader)? {
                return Ok(());
            }
            take_mark_or_rest(&key, reader, &mut block)
        }
    })?;
    block.kind = Kind::Media(match (class, audio) {
        (MediaClass::Audio, Some(audio)) => audio,
        (MediaClass::Audio, None) => return Err(Malformed::new("has no \"input_audio\"")),
        _ => reading.media(class)?,
    });
    Ok(block)
}

fn take_mark_or_rest<'a>(key: &Key<'a>, reader: &mut Reader<'a>, block: &mut Block<'a>) -> Result<(), Malformed> {
    match key.name() {
        "prompt_cache_breakpoint" | "cache_control" => {
            block.cache = reader.optional(read_mark)?;
            Ok(())
        }
        _ => take_rest(key, reader, &mut block.rest),
    }
}

/// Reads a cache mark, in OpenAI's words or in Anthropic's, which OpenRouter takes for the same.
pub(crate) fn read_mark(reader: &mut Reader<'_>) -> Result<CacheMark, Malformed> {
    let mut mark = CacheMark::default();
    reader.object(|key, reader| match key.name() {
        "ttl" => {
            mark.ttl = reader.optional(|reader| {
                let ttl = reader.text()?;
                CacheTtl::from_word(ttl.as_bytes()).ok_or_else(|| Malformed::new("must be 5m, 30m, 1h or 12h"))
            })?;
            Ok(())
        }
        _ => reader.skip(),
    })?;
    Ok(mark)
}

/// Reads an annotation of an output text.
pub(crate) fn read_citation<'a>(reader: &mut Reader<'a>) -> Result<Citation<'a>, Malformed> {
    let mut inside = reader.clone();
    let mut citation = Citation { url: None, title: None, quote: None, range: None, raw: reader.raw()? };
    let (mut start, mut end) = (None, None);
    inside.object(|key, reader| {
        match key.name() {
            "url" => citation.url = reader.optional(Reader::text)?,
            "title" | "filename" => citation.title = reader.optional(Reader::text)?,
            "start_index" => start = reader.optional(Reader::whole)?,
            "end_index" => end = reader.optional(Reader::whole)?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    citation.range = start.zip(end);
    Ok(citation)
}

/// Reads an item that an assistant's turn is made of, `message` apart. What has no shape of its own is taken as it is.
pub(crate) fn read_item<'a>(reader: &mut Reader<'a>, word: Text<'a>, origin: Origin) -> Result<Block<'a>, Malformed> {
    match word.as_bytes() {
        b"reasoning" => read_reasoning(reader, origin),
        b"function_call" => read_call(reader, origin, "arguments", Arguments::Quoted),
        b"custom_tool_call" => read_call(reader, origin, "input", Arguments::Free),
        b"image_generation_call" if reader.peek("result").is_some() => read_image(reader, origin),
        _ => Ok(Block::new(Kind::Opaque { word, raw: reader.raw()? }, origin)),
    }
}

fn read_reasoning<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Block<'a>, Malformed> {
    let mut thought = Thought::default();
    let (mut summary, mut content) = (Vec::new(), Vec::new());
    let mut block = Block::text(Text::EMPTY, origin);
    reader.object(|key, reader| match key.name() {
        "type" | "status" => reader.skip(),
        "id" => {
            thought.id = reader.optional(Reader::text)?.filter(|id| !id.is_empty());
            Ok(())
        }
        "summary" => read_thoughts(reader, ThoughtShape::Summary, &mut summary),
        "content" => read_thoughts(reader, ThoughtShape::Full, &mut content),
        "encrypted_content" => {
            block.seal = reader.optional(Reader::text)?.filter(|data| !data.is_empty()).map(|data| Seal { data, maker: None });
            Ok(())
        }
        _ => take_rest(&key, reader, &mut block.rest),
    })?;
    thought.parts = summary;
    thought.parts.append(&mut content);
    block.kind = Kind::Thought(thought);
    Ok(block)
}

fn read_thoughts<'a>(reader: &mut Reader<'a>, shape: ThoughtShape, parts: &mut Vec<ThoughtPart<'a>>) -> Result<(), Malformed> {
    parts.clear();
    let read = reader.optional(|reader| {
        reader.array(|_, reader| {
            let mut text = None;
            reader.object(|key, reader| match key.name() {
                "text" => {
                    text = Some(reader.text()?);
                    Ok(())
                }
                _ => reader.skip(),
            })?;
            let text = text.ok_or_else(|| Malformed::new("has no \"text\""))?;
            if !text.is_empty() {
                parts.push(ThoughtPart { shape, text });
            }
            Ok(())
        })
    });
    read.map(drop)
}

fn read_call<'a>(
    reader: &mut Reader<'a>,
    origin: Origin,
    given: &'static str,
    arguments: fn(Text<'a>) -> Arguments<'a>,
) -> Result<Block<'a>, Malformed> {
    let (mut id, mut name, mut input) = (Text::EMPTY, None, Text::EMPTY);
    let mut rest = Vec::new();
    reader.object(|key, reader| match key.name() {
        "type" | "id" | "status" => reader.skip(),
        "call_id" => {
            id = reader.optional(Reader::text)?.unwrap_or_default();
            Ok(())
        }
        "name" => {
            name = Some(reader.text()?);
            Ok(())
        }
        key if key == given => {
            input = reader.optional(Reader::text)?.unwrap_or_default();
            Ok(())
        }
        _ => take_rest(&key, reader, &mut rest),
    })?;
    let name = name.ok_or_else(|| Malformed::new("has no \"name\""))?;
    let call = ToolCall { id, name, arguments: arguments(input) };
    Ok(Block { rest, ..Block::new(Kind::ToolCall(call), origin) })
}

/// Reads the answer to a call.
pub(crate) fn read_result<'a>(reader: &mut Reader<'a>, origin: Origin, free: bool) -> Result<Block<'a>, Malformed> {
    let mut result = ToolResult { id: Text::EMPTY, name: None, content: Vec::new(), is_error: false, free };
    let (mut rest, mut has_output) = (Vec::new(), false);
    reader.object(|key, reader| match key.name() {
        "type" | "id" | "status" => reader.skip(),
        "call_id" => {
            result.id = reader.optional(Reader::text)?.unwrap_or_default();
            Ok(())
        }
        "name" => {
            result.name = reader.optional(Reader::text)?;
            Ok(())
        }
        "output" => {
            has_output = true;
            result.content.clear();
            read_content(reader, origin, "output", &mut result.content)
        }
        _ => take_rest(&key, reader, &mut rest),
    })?;
    if !has_output {
        return Err(Malformed::new("has no \"output\""));
    }
    Ok(Block { rest, ..Block::new(Kind::ToolResult(result), origin) })
}

/// A picture that the provider made.
fn read_image<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Block<'a>, Malformed> {
    let (mut data, mut format, mut rest) = (Text::EMPTY, None, Vec::new());
    reader.object(|key, reader| match key.name() {
        "type" => reader.skip(),
        "result" => {
            data = reader.text()?;
            Ok(())
        }
        "output_format" => {
            format = reader.optional(Reader::text)?;
            Ok(())
        }
        _ => take_rest(&key, reader, &mut rest),
    })?;
    let mime = match format {
        Some(format) => Text::owned([b"image/", format.as_bytes()].concat()),
        None => Text::word("image/png"),
    };
    let media = Media { class: MediaClass::Image, source: MediaSource::Base64 { mime, data }, detail: None, name: None };
    Ok(Block { rest, ..Block::new(Kind::Media(media), origin) })
}

/// Words of items that a provider's own tools leave in a conversation, and of what else only this dialect knows.
const FOREIGN_ITEMS: [&[u8]; 23] = [
    b"web_search_call",
    b"file_search_call",
    b"code_interpreter_call",
    b"image_generation_call",
    b"computer_call",
    b"computer_call_output",
    b"local_shell_call",
    b"local_shell_call_output",
    b"shell_call",
    b"shell_call_output",
    b"apply_patch_call",
    b"apply_patch_call_output",
    b"mcp_list_tools",
    b"mcp_call",
    b"mcp_approval_request",
    b"mcp_approval_response",
    b"tool_search_call",
    b"tool_search_output",
    b"program",
    b"program_output",
    b"additional_tools",
    b"compaction",
    b"item_reference",
];

/// Whether `word` is the type of an item that is carried as it is.
pub(crate) fn is_foreign_item(word: &Text<'_>) -> bool {
    FOREIGN_ITEMS.contains(&word.as_bytes())
}

/// Whether an item that is carried as it is stands on the side of user and tools.
pub(crate) fn is_users(word: &Text<'_>) -> bool {
    let word = word.as_bytes();
    word.ends_with(b"_output")
        || matches!(word, b"mcp_approval_response" | b"additional_tools" | b"configuration_update" | b"compaction_trigger")
}
