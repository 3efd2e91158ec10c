//! The messages of a chat request, one turn each.

use fairlead_ir::block::{Arguments, CacheMark, ToolCall, ToolResult};
use fairlead_ir::{Block, Kind, Member, Origin, Role, Text, Turn};

use crate::json;
use crate::openai_chat::wire::message::{OF_REQUEST, Said};
use crate::openai_chat::wire::parts::{keep_unknown, read_cache_mark, read_content};
use crate::read::{Key, Malformed, Reader};

/// Reads `messages`.
pub(crate) fn read_turns<'a>(reader: &mut Reader<'a>) -> Result<Vec<Turn<'a>>, Malformed> {
    let mut turns = Vec::new();
    // Ids of calls of tools that take free text: their results are told from others by nothing else.
    let mut free_calls: Vec<Text<'a>> = Vec::new();
    reader.array(|at, reader| {
        let origin = Origin::item("messages", at);
        let message = Message::read(reader, origin)?;
        free_calls.extend(message.said.calls.iter().filter_map(free_id));
        turns.push(message.into_turn(origin, &free_calls));
        Ok(())
    })?;
    Ok(turns)
}

fn free_id<'a>(block: &Block<'a>) -> Option<Text<'a>> {
    match &block.kind {
        Kind::ToolCall(ToolCall { id, arguments: Arguments::Free(_), .. }) => Some(id.clone()),
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
    said: Said<'a>,
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
        let mut message = Message { speaker, said: Said::default(), name: None, tool_call_id: Text::EMPTY, cache: None, rest: Vec::new() };
        reader.object(|key, reader| message.take(&key, reader, origin))?;
        Ok(message)
    }

    fn take(&mut self, key: &Key<'a>, reader: &mut Reader<'a>, origin: Origin) -> Result<(), Malformed> {
        match (key.name(), self.speaker) {
            ("role", _) => reader.skip()?,
            ("content", _) => self.said.content = read_content(reader, origin, OF_REQUEST.content)?,
            ("name", _) => self.name = reader.optional(Reader::text)?,
            ("cache_control" | "prompt_cache_breakpoint", _) => self.cache = read_cache_mark(reader)?,
            ("tool_call_id", Speaker::Tool) => self.tool_call_id = reader.optional(Reader::text)?.unwrap_or_default(),
            (_, Speaker::Of(Role::Assistant)) if self.said.take(key, reader, origin, &OF_REQUEST)? => {}
            _ => keep_unknown(key, reader, &mut self.rest)?,
        }
        Ok(())
    }

    fn into_turn(self, origin: Origin, free_calls: &[Text<'a>]) -> Turn<'a> {
        let role = match self.speaker {
            Speaker::Of(role) => role,
            Speaker::Tool | Speaker::Function => return self.into_result(origin, free_calls),
        };
        let mut blocks = self.said.into_blocks();
        if let (Some(mark), Some(last)) = (self.cache, blocks.last_mut()) {
            last.cache = Some(mark);
        }
        Turn { role, blocks, name: self.name, origin, rest: self.rest }
    }

    fn into_result(self, origin: Origin, free_calls: &[Text<'a>]) -> Turn<'a> {
        let free = free_calls.contains(&self.tool_call_id);
        let result = ToolResult { id: self.tool_call_id, name: self.name, content: self.said.content, is_error: false, free };
        let block = Block { cache: self.cache, rest: self.rest, ..Block::new(Kind::ToolResult(result), origin) };
        Turn { blocks: vec![block], ..Turn::new(Role::User, origin) }
    }
}
