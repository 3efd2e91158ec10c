//! The messages of a chat request, one turn each.

use fairlead_ir::block::{CacheMark, Media, MediaClass, MediaSource, Thought, ThoughtPart, ThoughtShape, ToolCall, ToolResult};
use fairlead_ir::{Block, Kind, Member, Origin, Role, Text, Turn};

use crate::json;
use crate::openai_chat::wire::calls::{read_call, read_function};
use crate::openai_chat::wire::citations::read_annotations;
use crate::openai_chat::wire::parts::{keep_unknown, read_cache_mark, read_content, read_url};
use crate::openai_chat::wire::thoughts::{read_details, settle};
use crate::read::{Key, Malformed, Reader};

/// Reads `messages`.
pub(crate) fn read_turns<'a>(reader: &mut Reader<'a>) -> Result<Vec<Turn<'a>>, Malformed> {
    let mut turns = Vec::new();
    // Ids of calls of tools that take free text: their results are told from others by nothing else.
    let mut free_calls: Vec<Text<'a>> = Vec::new();
    reader.array(|at, reader| {
        let origin = Origin::item("messages", at);
        let message = Message::read(reader, origin)?;
        free_calls.extend(message.calls.iter().filter_map(free_id));
        turns.push(message.into_turn(origin, &free_calls));
        Ok(())
    })?;
    Ok(turns)
}

fn free_id<'a>(block: &Block<'a>) -> Option<Text<'a>> {
    match &block.kind {
        Kind::ToolCall(ToolCall { id, arguments: fairlead_ir::block::Arguments::Free(_), .. }) => Some(id.clone()),
        _ => None,
    }
}

/// Who speaks, in this dialect's words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaker {
    Of(Role),
    /// A tool, in the newer and the older word.
    Tool,
    Function,
}

impl Speaker {
    fn of(word: &Text<'_>) -> Option<Speaker> {
        Some(match word.as_bytes() {
            b"system" => Speaker::Of(Role::System),
            b"developer" => Speaker::Of(Role::Developer),
            b"user" => Speaker::Of(Role::User),
            b"assistant" => Speaker::Of(Role::Assistant),
            b"tool" => Speaker::Tool,
            b"function" => Speaker::Function,
            _ => return None,
        })
    }
}

/// The members of one message.
struct Message<'a> {
    speaker: Speaker,
    content: Vec<Block<'a>>,
    /// `reasoning` or `reasoning_content`.
    plain_thought: Option<Block<'a>>,
    details: Vec<Block<'a>>,
    refusal: Option<Block<'a>>,
    /// Pictures and sound that the model made.
    media: Vec<Block<'a>>,
    calls: Vec<Block<'a>>,
    name: Option<Text<'a>>,
    tool_call_id: Text<'a>,
    cache: Option<CacheMark>,
    rest: Vec<Member<'a>>,
}

impl<'a> Message<'a> {
    fn read(reader: &mut Reader<'a>, origin: Origin) -> Result<Message<'a>, Malformed> {
        if reader.kind()? != json::Kind::Object {
            return Err(Malformed::new("must be an object"));
        }
        let word = reader.peek("role").ok_or_else(|| Malformed::new("must have a role"))?;
        let unknown = || Malformed::new("must be system, developer, user, assistant, tool or function").in_member("role");
        let speaker = Speaker::of(&word).ok_or_else(unknown)?;
        let mut message = Message {
            speaker,
            content: Vec::new(),
            plain_thought: None,
            details: Vec::new(),
            refusal: None,
            media: Vec::new(),
            calls: Vec::new(),
            name: None,
            tool_call_id: Text::EMPTY,
            cache: None,
            rest: Vec::new(),
        };
        let mut citations = Vec::new();
        reader.object(|key, reader| {
            match (key.name(), speaker) {
                ("role", _) => reader.skip()?,
                ("content", _) => message.content = read_content(reader, origin)?,
                ("name", _) => message.name = reader.optional(Reader::text)?,
                ("cache_control" | "prompt_cache_breakpoint", _) => message.cache = read_cache_mark(reader)?,
                ("tool_call_id", Speaker::Tool) => message.tool_call_id = reader.optional(Reader::text)?.unwrap_or_default(),
                ("annotations", Speaker::Of(Role::Assistant)) => citations = read_annotations(reader)?,
                (_, Speaker::Of(Role::Assistant)) => message.of_assistant(&key, reader, origin)?,
                _ => keep_unknown(&key, reader, &mut message.rest)?,
            }
            Ok(())
        })?;
        cite(&mut message.content, citations);
        Ok(message)
    }

    /// What only the model's own messages have.
    fn of_assistant(&mut self, key: &Key<'a>, reader: &mut Reader<'a>, origin: Origin) -> Result<(), Malformed> {
        match key.name() {
            "tool_calls" => {
                reader.optional(|reader| {
                    reader.array(|at, reader| {
                        self.calls.push(read_call(reader, origin.part("tool_calls", at))?);
                        Ok(())
                    })
                })?;
            }
            "function_call" => {
                reader.optional(|reader| {
                    let mut rest = Vec::new();
                    let (name, arguments) = read_function(reader, &mut rest)?;
                    let kind = Kind::ToolCall(ToolCall { id: Text::EMPTY, name, arguments });
                    self.calls.push(Block { rest, ..Block::new(kind, origin.inside("function_call")) });
                    Ok(())
                })?;
            }
            "reasoning" | "reasoning_content" => {
                let text = reader.optional(Reader::text)?.filter(|text| !text.is_empty());
                self.plain_thought = text.map(|text| plain_thought(text, origin.inside("reasoning"))).or(self.plain_thought.take());
            }
            "reasoning_details" => {
                self.details = reader.optional(|reader| read_details(reader, origin))?.unwrap_or_default();
            }
            "refusal" => {
                let text = reader.optional(Reader::text)?.filter(|text| !text.is_empty());
                self.refusal = text.map(|text| Block::new(Kind::Refusal(text), origin.inside("refusal")));
            }
            "images" => {
                reader.optional(|reader| read_images(reader, origin, &mut self.media))?;
            }
            "audio" => self.media.extend(reader.optional(|reader| read_earlier_audio(reader, origin))?.flatten()),
            _ => keep_unknown(key, reader, &mut self.rest)?,
        }
        Ok(())
    }

    fn into_turn(mut self, origin: Origin, free_calls: &[Text<'a>]) -> Turn<'a> {
        let role = match self.speaker {
            Speaker::Of(role) => role,
            Speaker::Tool | Speaker::Function => return self.into_result(origin, free_calls),
        };
        settle(&mut self.details, &mut self.calls);
        let mut blocks = self.details;
        // The same thoughts under two names: the details say more.
        if !blocks.iter().any(is_readable) {
            blocks.splice(0..0, self.plain_thought);
        }
        blocks.append(&mut self.content);
        blocks.extend(self.refusal);
        blocks.append(&mut self.media);
        blocks.append(&mut self.calls);
        if let (Some(mark), Some(last)) = (self.cache, blocks.last_mut()) {
            last.cache = Some(mark);
        }
        Turn { role, blocks, name: self.name, origin, rest: self.rest }
    }

    fn into_result(self, origin: Origin, free_calls: &[Text<'a>]) -> Turn<'a> {
        let free = free_calls.contains(&self.tool_call_id);
        let result = ToolResult { id: self.tool_call_id, name: self.name, content: self.content, is_error: false, free };
        let block = Block { cache: self.cache, rest: self.rest, ..Block::new(Kind::ToolResult(result), origin) };
        Turn { blocks: vec![block], ..Turn::new(Role::User, origin) }
    }
}

/// A thought that came as plain text.
pub(crate) fn plain_thought<'a>(text: Text<'a>, origin: Origin) -> Block<'a> {
    let parts = vec![ThoughtPart { shape: ThoughtShape::Full, text }];
    Block::new(Kind::Thought(Thought { parts, ..Thought::default() }), origin)
}

/// Whether there is a text in it that was thought.
pub(crate) fn is_readable(block: &Block<'_>) -> bool {
    matches!(&block.kind, Kind::Thought(thought) if !thought.parts.is_empty())
}

/// Puts citations on the first text: the dialect keeps them apart from it.
pub(crate) fn cite<'a>(content: &mut [Block<'a>], cited: Vec<fairlead_ir::block::Citation<'a>>) {
    let first = content.iter_mut().find_map(|block| match &mut block.kind {
        Kind::Text { citations, .. } => Some(citations),
        _ => None,
    });
    if let Some(citations) = first {
        citations.extend(cited);
    }
}

/// `images` of a message: what a model drew, in OpenRouter's spelling.
pub(crate) fn read_images<'a>(reader: &mut Reader<'a>, origin: Origin, media: &mut Vec<Block<'a>>) -> Result<(), Malformed> {
    reader.array(|at, reader| {
        let mut rest = Vec::new();
        reader.object(|key, reader| {
            if key.name() != "image_url" {
                return reader.skip();
            }
            let picture = read_url(reader, MediaClass::Image, &mut rest)?;
            media.push(Block::new(Kind::Media(picture), origin.part("images", at)));
            Ok(())
        })
    })
}

/// `audio` of an earlier reply: only its id, which means something to the same provider.
fn read_earlier_audio<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Option<Block<'a>>, Malformed> {
    let mut id = None;
    reader.object(|key, reader| {
        match key.name() {
            "id" => id = Some(reader.text()?),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(id.map(|id| {
        let media = Media { class: MediaClass::Audio, source: MediaSource::File(id), detail: None, name: None };
        Block::new(Kind::Media(media), origin.inside("audio"))
    }))
}
