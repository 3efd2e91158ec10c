//! Reads a Responses request.
//!
//! `null` counts as absent everywhere. Members of objects that are known but have members of their own that are not (`reasoning.mode`,
//! `text.…`) are kept under such a dotted name, so that a report of losses names their place.

use fairlead_ir::block::{Block, Kind, ToolCall, ToolResult};
use fairlead_ir::request::{Effort, Format, Show};
use fairlead_ir::{Dialect, Member, Origin, Param, Raw, Request, Role, Text, Tool, ToolChoice, ToolKind, Turn};

use crate::extension::is_extension;
use crate::json::Kind as JsonKind;
use crate::openai_responses::wire::items::{Message, is_users, read_item, read_mark, read_result, take_rest, under};
use crate::read::{Key, Malformed, Reader};
use crate::write::{Array, write_escaped};

/// What `include` names to get the probabilities of tokens.
pub(crate) const INCLUDE_LOGPROBS: &str = "message.output_text.logprobs";
/// What `include` names to get sealed thoughts.
pub(crate) const INCLUDE_SEALS: &str = "reasoning.encrypted_content";
/// Before the name of a member of `reasoning` that only this dialect knows.
pub(crate) const OF_REASONING: &str = "reasoning.";
/// As [`OF_REASONING`], of `text`.
pub(crate) const OF_TEXT: &str = "text.";

/// Reads a body that is known to be JSON.
///
/// # Errors
/// The first member that is not what the dialect wants there.
pub(crate) fn decode(body: &[u8]) -> Result<Request<'_>, Malformed> {
    let mut reading = Reading { request: Request::new(Dialect::OpenaiResponses), instructions: None, safety_identifier: None };
    Reader::new(body).object(|key, reader| match reader.kind()? {
        JsonKind::Null => reader.skip(),
        _ => reading.member(&key, reader),
    })?;
    Ok(reading.finish())
}

struct Reading<'a> {
    request: Request<'a>,
    /// Stand before the input, wherever the member stands.
    instructions: Option<Turn<'a>>,
    safety_identifier: Option<Text<'a>>,
}

impl<'a> Reading<'a> {
    fn member(&mut self, key: &Key<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        let request = &mut self.request;
        match key.name() {
            "model" => request.model = reader.text()?,
            "stream" => request.stream = reader.flag()?,
            "input" => request.turns = read_input(reader)?,
            "instructions" => self.instructions = Some(read_instructions(reader)?),
            "tools" => request.tools = read_tools(reader)?,
            "tool_choice" => request.tool_choice = Some(read_tool_choice(reader)?),
            "parallel_tool_calls" => request.parallel_tool_calls = Some(reader.flag()?),
            "max_output_tokens" => request.max_output_tokens = Some(reader.whole()?),
            "include" => self.read_include(reader)?,
            "reasoning" => self.read_reasoning(reader)?,
            "text" => self.read_text(reader)?,
            "modalities" => request.output.modalities = Some(reader.raw()?),
            "prompt_cache_key" => request.cache.key = Some(reader.text()?),
            "prompt_cache_retention" => request.cache.retention = Some(reader.text()?),
            "cache_control" => request.cache.automatic = Some(read_mark(reader)?),
            "user" => request.labels.user = Some(reader.text()?),
            "safety_identifier" => self.safety_identifier = Some(reader.text()?),
            "metadata" if reader.kind()? != JsonKind::Object => return Err(Malformed::new("must be an object")),
            "metadata" => request.labels.metadata = Some(reader.raw()?),
            "service_tier" => request.labels.service_tier = Some(reader.text()?),
            "store" => request.labels.store = Some(reader.flag()?),
            name if is_extension(name) => reader.skip()?,
            _ => return self.sampling(key, reader),
        }
        Ok(())
    }

    fn sampling(&mut self, key: &Key<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        let sampling = &mut self.request.sampling;
        let number = match key.name() {
            "temperature" => &mut sampling.temperature,
            "top_p" => &mut sampling.top_p,
            // OpenRouter's additions, and what bodies meant for chat bring along.
            "top_k" => &mut sampling.top_k,
            "min_p" => &mut sampling.min_p,
            "top_a" => &mut sampling.top_a,
            "frequency_penalty" => &mut sampling.frequency_penalty,
            "presence_penalty" => &mut sampling.presence_penalty,
            "repetition_penalty" => &mut sampling.repetition_penalty,
            "seed" => &mut sampling.seed,
            "top_logprobs" => {
                sampling.top_logprobs = Some(reader.whole()?);
                return Ok(());
            }
            "stop" => {
                sampling.stop = read_stop(reader)?;
                return Ok(());
            }
            _ => return take_rest(key, reader, &mut self.request.rest),
        };
        *number = Some(reader.number()?);
        Ok(())
    }

    fn read_include(&mut self, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        let mut others = Vec::new();
        reader.array(|_, reader| {
            let word = reader.text()?;
            match () {
                () if word.is(INCLUDE_LOGPROBS) => self.request.sampling.logprobs = Some(true),
                () if word.is(INCLUDE_SEALS) => self.request.reasoning.seals = Some(true),
                () => others.push(word),
            }
            Ok(())
        })?;
        if !others.is_empty() {
            let mut value = Vec::new();
            let mut array = Array::open(&mut value);
            others.iter().for_each(|word| {
                array.escaped(word);
            });
            array.close();
            self.request.rest.push(Member { name: Text::word("include"), value: Raw::owned(value) });
        }
        Ok(())
    }

    fn read_reasoning(&mut self, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        let mut rest = Vec::new();
        let Request { reasoning, spelt, .. } = &mut self.request;
        reader.object(|key, reader| match (key.name(), reader.kind()?) {
            (_, JsonKind::Null) => reader.skip(),
            ("effort", _) => {
                let word = reader.text()?;
                let effort = Effort::from_word(word.as_bytes());
                let wrong = || Malformed::new("must be none, minimal, low, medium, high, xhigh or max");
                reasoning.effort = Some(effort.ok_or_else(wrong)?);
                Ok(())
            }
            ("summary" | "generate_summary", _) => {
                reasoning.show = Some(match reader.clone().text()?.as_bytes() {
                    b"auto" => Show::Summary,
                    b"detailed" => Show::Full,
                    b"concise" => {
                        take_rest(&key, reader, &mut rest)?;
                        reasoning.show = Some(Show::Summary);
                        return Ok(());
                    }
                    _ => return Err(Malformed::new("must be auto, concise or detailed")),
                });
                if key.name() == "generate_summary" {
                    spelt.push((Param::ReasoningShow, "reasoning.generate_summary"));
                }
                reader.skip()
            }
            // OpenRouter's.
            ("max_tokens", _) => {
                reasoning.budget_tokens = Some(reader.whole()?);
                Ok(())
            }
            ("enabled", _) => {
                reasoning.enabled = Some(reader.flag()?);
                Ok(())
            }
            ("exclude", _) => {
                if reader.flag()? {
                    reasoning.show = Some(Show::Nothing);
                    spelt.push((Param::ReasoningShow, "reasoning.exclude"));
                }
                Ok(())
            }
            _ => take_rest(&key, reader, &mut rest),
        })?;
        self.request.rest.extend(rest.into_iter().map(|member| under(OF_REASONING, member)));
        Ok(())
    }

    fn read_text(&mut self, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        let mut rest = Vec::new();
        let output = &mut self.request.output;
        reader.object(|key, reader| match (key.name(), reader.kind()?) {
            (_, JsonKind::Null) => reader.skip(),
            ("format", _) => {
                output.format = Some(read_format(reader)?);
                Ok(())
            }
            ("verbosity", _) => {
                output.verbosity = Some(reader.text()?);
                Ok(())
            }
            _ => take_rest(&key, reader, &mut rest),
        })?;
        self.request.rest.extend(rest.into_iter().map(|member| under(OF_TEXT, member)));
        Ok(())
    }

    fn finish(mut self) -> Request<'a> {
        if let Some(instructions) = self.instructions.filter(|turn| !turn.blocks.is_empty()) {
            self.request.turns.insert(0, instructions);
        }
        match (self.safety_identifier, &mut self.request.labels.user) {
            (Some(identifier), Some(_)) => {
                let mut value = Vec::new();
                write_escaped(&mut value, &identifier);
                self.request.rest.push(Member { name: Text::word("safety_identifier"), value: Raw::owned(value) });
            }
            (Some(identifier), user @ None) => {
                *user = Some(identifier);
                self.request.spelt.push((Param::User, "safety_identifier"));
            }
            (None, _) => {}
        }
        self.request
    }
}

fn read_instructions<'a>(reader: &mut Reader<'a>) -> Result<Turn<'a>, Malformed> {
    let origin = Origin::member("instructions");
    let mut turn = Turn::new(Role::System, origin);
    let text = reader.text()?;
    if !text.is_empty() {
        turn.blocks.push(Block::text(text, origin));
    }
    Ok(turn)
}

fn read_input<'a>(reader: &mut Reader<'a>) -> Result<Vec<Turn<'a>>, Malformed> {
    match reader.kind()? {
        JsonKind::String => {
            let origin = Origin::member("input");
            let text = reader.text()?;
            let blocks = if text.is_empty() { Vec::new() } else { vec![Block::text(text, origin)] };
            Ok(vec![Turn { blocks, ..Turn::new(Role::User, origin) }])
        }
        JsonKind::Array => {
            let mut turns = Turns::default();
            reader.array(|index, reader| turns.item(index, reader))?;
            Ok(turns.all)
        }
        _ => Err(Malformed::new("must be a string or an array")),
    }
}

/// Only providers leave out what ties an answer to its call.
fn tied(block: Block<'_>) -> Result<Block<'_>, Malformed> {
    match &block.kind {
        Kind::ToolCall(ToolCall { id, .. }) | Kind::ToolResult(ToolResult { id, .. }) if id.is_empty() => {
            Err(Malformed::new("has no \"call_id\""))
        }
        _ => Ok(block),
    }
}

/// Items become turns: what the assistant says in one go is one turn, and so are the answers of tools.
#[derive(Default)]
struct Turns<'a> {
    all: Vec<Turn<'a>>,
    /// What the last turn goes on with.
    open: Option<Role>,
}

impl<'a> Turns<'a> {
    fn item(&mut self, index: usize, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        if reader.kind()? != JsonKind::Object {
            return Err(Malformed::new("must be an object"));
        }
        let origin = Origin::item("input", index);
        let word = match reader.peek("type") {
            Some(word) => word,
            None if reader.peek("role").is_some() => Text::word("message"),
            // Only references may leave their type out.
            None if reader.peek("id").is_some() => Text::word("item_reference"),
            None => return Err(Malformed::new("has neither a \"type\" nor a \"role\"")),
        };
        match word.as_bytes() {
            b"message" => self.message(reader, origin),
            b"function_call_output" => self.go_on(Role::User, origin, tied(read_result(reader, origin, false)?)?),
            b"custom_tool_call_output" => self.go_on(Role::User, origin, tied(read_result(reader, origin, true)?)?),
            _ if is_users(&word) => self.go_on(Role::User, origin, read_item(reader, word, origin)?),
            _ => self.go_on(Role::Assistant, origin, tied(read_item(reader, word, origin)?)?),
        }
    }

    fn message(&mut self, reader: &mut Reader<'a>, origin: Origin) -> Result<(), Malformed> {
        let mut message = Message::read(reader, origin)?;
        // What a token's probability was is nothing to a model.
        message.blocks.iter_mut().for_each(|block| block.rest.retain(|member| !member.name.is("logprobs")));
        let role = match message.role.as_ref().map(Text::as_bytes) {
            Some(b"user") => Role::User,
            Some(b"system") => Role::System,
            Some(b"developer") => Role::Developer,
            Some(b"assistant") => {
                for block in message.into_blocks() {
                    self.go_on(Role::Assistant, origin, block)?;
                }
                return Ok(());
            }
            Some(_) => return Err(Malformed::new("must be user, assistant, system or developer").in_member("role")),
            None => return Err(Malformed::new("has no \"role\"")),
        };
        self.open = None;
        self.all.push(Turn { blocks: message.blocks, rest: message.rest, ..Turn::new(role, origin) });
        Ok(())
    }

    fn go_on(&mut self, role: Role, origin: Origin, block: Block<'a>) -> Result<(), Malformed> {
        match self.all.last_mut().filter(|_| self.open == Some(role)) {
            Some(turn) => turn.blocks.push(block),
            None => {
                self.open = Some(role);
                self.all.push(Turn { blocks: vec![block], ..Turn::new(role, origin) });
            }
        }
        Ok(())
    }
}

fn read_tools<'a>(reader: &mut Reader<'a>) -> Result<Vec<Tool<'a>>, Malformed> {
    let mut tools = Vec::new();
    reader.array(|index, reader| {
        tools.push(read_tool(reader, Origin::item("tools", index))?);
        Ok(())
    })?;
    Ok(tools)
}

fn read_tool<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Tool<'a>, Malformed> {
    if reader.kind()? != JsonKind::Object {
        return Err(Malformed::new("must be an object"));
    }
    let word = reader.peek("type").ok_or_else(|| Malformed::new("has no \"type\""))?;
    let is_hosted = !matches!(word.as_bytes(), b"function" | b"custom");
    let mut tool = Tool {
        name: Text::EMPTY,
        description: None,
        kind: ToolKind::Function { parameters: None },
        strict: None,
        cache: None,
        origin,
        rest: Vec::new(),
    };
    if is_hosted {
        tool.name = reader.peek("name").unwrap_or_default();
        let raw = reader.raw()?;
        let is_search = word.as_bytes().starts_with(b"web_search");
        tool.kind = if is_search { ToolKind::WebSearch { raw } } else { ToolKind::Hosted { word, raw } };
        return Ok(tool);
    }
    let (mut parameters, mut format) = (None, None);
    reader.object(|key, reader| {
        match (key.name(), reader.kind()?) {
            ("type", _) | (_, JsonKind::Null) => reader.skip()?,
            ("name", _) => tool.name = reader.text()?,
            ("description", _) => tool.description = Some(reader.text()?),
            ("parameters", JsonKind::Object) => parameters = Some(reader.raw()?),
            ("parameters", _) => return Err(Malformed::new("must be an object")),
            // Anthropic's name for it, in bodies that Cursor writes.
            ("input_schema", JsonKind::Object) if parameters.is_none() => parameters = Some(reader.raw()?),
            ("format", JsonKind::Object) => format = Some(reader.raw()?),
            ("format", _) => return Err(Malformed::new("must be an object")),
            ("strict", _) => tool.strict = Some(reader.flag()?),
            ("cache_control" | "prompt_cache_breakpoint", _) => tool.cache = Some(read_mark(reader)?),
            _ => take_rest(&key, reader, &mut tool.rest)?,
        }
        Ok(())
    })?;
    if tool.name.is_empty() {
        return Err(Malformed::new("has no \"name\""));
    }
    tool.kind = if word.is("custom") { ToolKind::Custom { format } } else { ToolKind::Function { parameters } };
    Ok(tool)
}

fn read_tool_choice<'a>(reader: &mut Reader<'a>) -> Result<ToolChoice<'a>, Malformed> {
    if reader.kind()? == JsonKind::String {
        return match reader.text()?.as_bytes() {
            b"auto" => Ok(ToolChoice::Auto),
            b"none" => Ok(ToolChoice::None),
            b"required" => Ok(ToolChoice::Required),
            _ => Err(Malformed::new("must be auto, none, required or an object")),
        };
    }
    if reader.kind()? != JsonKind::Object {
        return Err(Malformed::new("must be a string or an object"));
    }
    match reader.peek("type").as_ref().map(Text::as_bytes) {
        Some(b"function" | b"custom") => {
            let name = reader.peek("name").ok_or_else(|| Malformed::new("has no \"name\""))?;
            reader.skip()?;
            Ok(ToolChoice::Named(name))
        }
        Some(b"allowed_tools") => read_allowed(reader),
        Some(_) => Ok(ToolChoice::Other(reader.raw()?)),
        None => Err(Malformed::new("has no \"type\"")),
    }
}

/// Allowed tools, if all of them are the caller's own.
fn read_allowed<'a>(reader: &mut Reader<'a>) -> Result<ToolChoice<'a>, Malformed> {
    let (mut required, mut names, mut all_own) = (false, Vec::new(), true);
    let mut inside = reader.clone();
    let raw = reader.raw()?;
    inside.object(|key, reader| match key.name() {
        "mode" => {
            required = match reader.text()?.as_bytes() {
                b"auto" => false,
                b"required" => true,
                _ => return Err(Malformed::new("must be auto or required")),
            };
            Ok(())
        }
        "tools" => reader.array(|_, reader| {
            let own = reader.peek("type").is_some_and(|word| word.is("function") || word.is("custom"));
            match reader.peek("name").filter(|_| own) {
                Some(name) => names.push(name),
                None => all_own = false,
            }
            reader.skip()
        }),
        _ => reader.skip(),
    })?;
    Ok(if all_own { ToolChoice::Allowed { required, names } } else { ToolChoice::Other(raw) })
}

fn read_stop<'a>(reader: &mut Reader<'a>) -> Result<Vec<Text<'a>>, Malformed> {
    if reader.kind()? == JsonKind::String {
        return Ok(vec![reader.text()?]);
    }
    let mut all = Vec::new();
    reader.array(|_, reader| {
        all.push(reader.text()?);
        Ok(())
    })?;
    Ok(all)
}

fn read_format<'a>(reader: &mut Reader<'a>) -> Result<Format<'a>, Malformed> {
    if reader.kind()? != JsonKind::Object {
        return Err(Malformed::new("must be an object"));
    }
    match reader.peek("type").as_ref().map(Text::as_bytes) {
        Some(b"text") => reader.skip().map(|()| Format::Text),
        Some(b"json_object") => reader.skip().map(|()| Format::JsonObject),
        Some(b"json_schema") => read_schema(reader),
        Some(_) => Ok(Format::Other(reader.raw()?)),
        None => Err(Malformed::new("has no \"type\"")),
    }
}

fn read_schema<'a>(reader: &mut Reader<'a>) -> Result<Format<'a>, Malformed> {
    let (mut name, mut description, mut schema, mut strict) = (None, None, None, None);
    reader.object(|key, reader| {
        match key.name() {
            "name" => name = reader.optional(Reader::text)?,
            "description" => description = reader.optional(Reader::text)?,
            "schema" if reader.kind()? != JsonKind::Object => return Err(Malformed::new("must be an object")),
            "schema" => schema = Some(reader.raw()?),
            "strict" => strict = reader.optional(Reader::flag)?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    let schema = schema.ok_or_else(|| Malformed::new("has no \"schema\""))?;
    Ok(Format::JsonSchema { name, description, schema, strict })
}

/// Whether the turn is what stood in `instructions`.
pub(crate) fn is_instructions(turn: &Turn<'_>) -> bool {
    turn.origin == Origin::member("instructions")
        && matches!(turn.blocks.as_slice(), [Block { kind: Kind::Text { .. }, cache: None, rest, .. }] if rest.is_empty())
}
