//! A chat request into the canonical representation: OpenAI's members, OpenRouter's, and those of open models' servers.

use fairlead_ir::block::CacheMark;
use fairlead_ir::request::{Effort, Format, Show};
use fairlead_ir::{Dialect, Member, Origin, Param, Raw, Request, Text, Tool, ToolChoice, ToolKind};

use super::turns::read_turns;
use crate::extension::is_extension;
use crate::json::Kind;
use crate::openai_chat::wire::leftover;
use crate::openai_chat::wire::parts::{keep_unknown, read_cache_mark};
use crate::read::{Key, Malformed, Reader};

/// Reads a body that is known to be JSON. Members that only the gateway reads (`provider`, `session_id` …) are stepped over.
///
/// # Errors
/// The path of the first member that has the wrong type or an impossible value.
pub(crate) fn decode<'a>(body: &'a [u8]) -> Result<Request<'a>, Malformed> {
    let mut reading = Reading::default();
    Reader::new(body).object(|key, reader| reading.member(key, reader))?;
    reading.settle()
}

/// What is read, and what can only be judged when everything is.
pub(crate) struct Reading<'a> {
    request: Request<'a>,
    max_completion_tokens: Option<u64>,
    max_tokens: Option<(u64, Member<'a>)>,
    /// `reasoning_effort`, and `effort` of `reasoning`.
    efforts: [Option<Effort>; 2],
    /// `reasoning.exclude`, then `include_reasoning` turned round.
    excluded: [Option<bool>; 2],
    wants_summary: bool,
    web_search: Option<Raw<'a>>,
    user: Option<Text<'a>>,
    safety_identifier: Option<(Text<'a>, Member<'a>)>,
}

impl Default for Reading<'_> {
    fn default() -> Self {
        Reading {
            request: Request::new(Dialect::OpenaiChat),
            max_completion_tokens: None,
            max_tokens: None,
            efforts: [None; 2],
            excluded: [None; 2],
            wants_summary: false,
            web_search: None,
            user: None,
            safety_identifier: None,
        }
    }
}

impl<'a> Reading<'a> {
    /// Takes one member of the body.
    pub(crate) fn member(&mut self, key: Key<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        let request = &mut self.request;
        match key.name() {
            "messages" => request.turns = read_turns(reader)?,
            "model" => request.model = reader.optional(Reader::text)?.unwrap_or_default(),
            "stream" => request.stream = reader.optional(Reader::flag)?.unwrap_or(false),
            "stream_options" => read_stream_options(reader, request)?,
            "max_completion_tokens" => self.max_completion_tokens = reader.optional(Reader::whole)?,
            "max_tokens" => {
                let member = reader.clone().member(&key)?;
                self.max_tokens = reader.optional(Reader::whole)?.map(|limit| (limit, member));
            }
            "tools" => {
                reader.optional(|reader| read_tools(reader, &mut request.tools))?;
            }
            "functions" => {
                request.spelt.push((Param::Tools, "functions"));
                reader.optional(|reader| read_functions(reader, &mut request.tools))?;
            }
            "tool_choice" => request.tool_choice = reader.optional(read_tool_choice)?,
            "function_call" => {
                request.spelt.push((Param::ToolChoice, "function_call"));
                request.tool_choice = reader.optional(read_function_choice)?;
            }
            "parallel_tool_calls" => request.parallel_tool_calls = reader.optional(Reader::flag)?,
            "web_search_options" => self.web_search = reader.optional(Reader::raw)?,
            "response_format" => request.output.format = reader.optional(|reader| read_format(reader, &mut request.rest))?,
            "verbosity" => request.output.verbosity = reader.optional(Reader::text)?,
            "modalities" => request.output.modalities = reader.optional(|reader| of_kind(Kind::Array, reader))?,
            "audio" => request.output.audio = reader.optional(|reader| of_kind(Kind::Object, reader))?,
            "reasoning" => {
                reader.optional(|reader| self.reasoning(reader))?;
            }
            "reasoning_effort" => self.efforts[0] = reader.optional(read_effort)?,
            "include_reasoning" => self.excluded[1] = reader.optional(Reader::flag)?.map(|included| !included),
            "prompt_cache_key" => request.cache.key = reader.optional(Reader::text)?,
            "prompt_cache_retention" => request.cache.retention = reader.optional(Reader::text)?,
            "cache_control" => request.cache.automatic = read_cache_mark(reader)?,
            "user" => self.user = reader.optional(Reader::text)?,
            "safety_identifier" => {
                let member = reader.clone().member(&key)?;
                self.safety_identifier = reader.optional(Reader::text)?.map(|text| (text, member));
            }
            "metadata" => request.labels.metadata = reader.optional(|reader| of_kind(Kind::Object, reader))?,
            "service_tier" => request.labels.service_tier = reader.optional(Reader::text)?,
            "store" => request.labels.store = reader.optional(Reader::flag)?,
            name if is_extension(name) => reader.skip()?,
            _ => return self.sampling(key, reader),
        }
        Ok(())
    }

    fn sampling(&mut self, key: Key<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        let sampling = &mut self.request.sampling;
        match key.name() {
            "temperature" => sampling.temperature = reader.optional(Reader::number)?,
            "top_p" => sampling.top_p = reader.optional(Reader::number)?,
            "top_k" => sampling.top_k = reader.optional(Reader::number)?,
            "min_p" => sampling.min_p = reader.optional(Reader::number)?,
            "top_a" => sampling.top_a = reader.optional(Reader::number)?,
            "frequency_penalty" => sampling.frequency_penalty = reader.optional(Reader::number)?,
            "presence_penalty" => sampling.presence_penalty = reader.optional(Reader::number)?,
            "repetition_penalty" => sampling.repetition_penalty = reader.optional(Reader::number)?,
            "seed" => sampling.seed = reader.optional(Reader::number)?,
            "stop" => sampling.stop = read_stop(reader)?,
            "n" => sampling.choices = reader.optional(Reader::whole)?,
            "logprobs" => sampling.logprobs = reader.optional(Reader::flag)?,
            "top_logprobs" => sampling.top_logprobs = reader.optional(Reader::whole)?,
            "logit_bias" => sampling.logit_bias = reader.optional(|reader| of_kind(Kind::Object, reader))?,
            "prediction" => sampling.prediction = reader.optional(|reader| of_kind(Kind::Object, reader))?,
            _ => keep_unknown(&key, reader, &mut self.request.rest)?,
        }
        Ok(())
    }

    /// OpenRouter's object.
    fn reasoning(&mut self, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        let mut inner = Vec::new();
        reader.object(|key, reader| {
            let reasoning = &mut self.request.reasoning;
            match key.name() {
                "effort" => self.efforts[1] = reader.optional(read_effort)?,
                "max_tokens" => reasoning.budget_tokens = reader.optional(Reader::whole)?,
                "enabled" => reasoning.enabled = reader.optional(Reader::flag)?,
                "exclude" => self.excluded[0] = reader.optional(Reader::flag)?,
                "summary" => {
                    let member = reader.clone().member(&key)?;
                    let wish = reader.optional(Reader::text)?;
                    self.wants_summary |= wish.is_some();
                    // How long a summary is a matter of this dialect.
                    inner.extend(wish.filter(|wish| !wish.is("auto")).map(|_| member));
                }
                _ => keep_unknown(&key, reader, &mut inner)?,
            }
            Ok(())
        })?;
        leftover::keep("reasoning", &inner, &mut self.request.rest);
        Ok(())
    }

    /// What all members say together.
    pub(crate) fn settle(mut self) -> Result<Request<'a>, Malformed> {
        self.settle_limit();
        self.settle_user();
        self.settle_reasoning()?;
        let mut request = self.request;
        if let Some(raw) = self.web_search {
            let origin = Origin::member("web_search_options");
            request.tools.push(new_tool(Text::EMPTY, ToolKind::WebSearch { raw }, origin));
        }
        Ok(request)
    }

    /// Of the old and the new name of the limit the new one counts; where they differ, the old one is kept as what it is: a leftover.
    fn settle_limit(&mut self) {
        let older = self.max_tokens.take();
        if self.max_completion_tokens.is_none() && older.is_some() {
            self.request.spelt.push((Param::MaxOutputTokens, "max_tokens"));
        }
        self.request.max_output_tokens = self.max_completion_tokens.or(older.as_ref().map(|(limit, _)| *limit));
        let differs = older.filter(|(limit, _)| Some(*limit) != self.request.max_output_tokens);
        self.request.rest.extend(differs.map(|(_, member)| member));
    }

    /// As [`settle_limit`](Self::settle_limit), of `user` and its newer name.
    fn settle_user(&mut self) {
        let newer = self.safety_identifier.take();
        if self.user.is_none() && newer.is_some() {
            self.request.spelt.push((Param::User, "safety_identifier"));
        }
        self.request.labels.user = self.user.take().or(newer.as_ref().map(|(user, _)| user.clone()));
        let differs = newer.filter(|(user, _)| Some(user) != self.request.labels.user.as_ref());
        self.request.rest.extend(differs.map(|(_, member)| member));
    }

    fn settle_reasoning(&mut self) -> Result<(), Malformed> {
        let [outer, inner] = self.efforts;
        if outer.is_some() && inner.is_some() && outer != inner {
            return Err(Malformed::new("differs from reasoning.effort").in_member("reasoning_effort"));
        }
        self.request.reasoning.effort = inner.or(outer);
        let [excluded, unwanted] = self.excluded;
        let spelt = [
            (Param::Effort, "reasoning.effort", outer.is_none() && inner.is_some()),
            (Param::ReasoningShow, "include_reasoning", excluded.is_none() && unwanted.is_some()),
            (Param::ReasoningShow, "reasoning.summary", excluded.or(unwanted) != Some(true) && self.wants_summary),
        ];
        self.request.spelt.extend(spelt.iter().filter(|(.., is)| *is).map(|(param, name, _)| (*param, *name)));
        self.request.reasoning.show = match excluded.or(unwanted) {
            Some(true) => Some(Show::Nothing),
            _ if self.wants_summary => Some(Show::Summary),
            Some(false) => Some(Show::Full),
            None => None,
        };
        Ok(())
    }
}

/// A value as written, which must be of this kind.
fn of_kind<'a>(kind: Kind, reader: &mut Reader<'a>) -> Result<Raw<'a>, Malformed> {
    match (kind, reader.kind()?) {
        (wanted, found) if wanted == found => reader.raw(),
        (Kind::Array, _) => Err(Malformed::new("must be an array")),
        _ => Err(Malformed::new("must be an object")),
    }
}

fn read_stream_options<'a>(reader: &mut Reader<'a>, request: &mut Request<'a>) -> Result<(), Malformed> {
    let mut inner = Vec::new();
    reader.optional(|reader| {
        reader.object(|key, reader| match key.name() {
            "include_usage" => {
                request.labels.include_usage = reader.optional(Reader::flag)?;
                Ok(())
            }
            _ => keep_unknown(&key, reader, &mut inner),
        })
    })?;
    leftover::keep("stream_options", &inner, &mut request.rest);
    Ok(())
}

fn read_effort(reader: &mut Reader<'_>) -> Result<Effort, Malformed> {
    let word = reader.decoded()?;
    Effort::from_word(word.as_bytes()).ok_or_else(|| Malformed::new("must be none, minimal, low, medium, high, xhigh or max"))
}

/// A text or a list of texts.
fn read_stop<'a>(reader: &mut Reader<'a>) -> Result<Vec<Text<'a>>, Malformed> {
    let mut stops = Vec::new();
    match reader.kind()? {
        Kind::Null => reader.skip()?,
        Kind::String => stops.push(reader.text()?),
        Kind::Array => reader.array(|_, reader| {
            stops.push(reader.text()?);
            Ok(())
        })?,
        _ => return Err(Malformed::new("must be a string or an array of strings")),
    }
    Ok(stops)
}

fn read_format<'a>(reader: &mut Reader<'a>, rest: &mut Vec<Member<'a>>) -> Result<Format<'a>, Malformed> {
    if reader.kind()? != Kind::Object {
        return Err(Malformed::new("must be an object"));
    }
    let word = reader.peek("type").ok_or_else(|| Malformed::new("must have a type"))?;
    match word.as_bytes() {
        b"text" => reader.skip().map(|()| Format::Text),
        b"json_object" => reader.skip().map(|()| Format::JsonObject),
        b"json_schema" => read_schema(reader, rest),
        _ => Ok(Format::Other(reader.raw()?)),
    }
}

fn read_schema<'a>(reader: &mut Reader<'a>, rest: &mut Vec<Member<'a>>) -> Result<Format<'a>, Malformed> {
    // Without a schema, any JSON will do.
    let (mut name, mut description, mut schema, mut strict) = (None, None, Raw::json(b"{}"), None);
    let (mut inner, mut described) = (Vec::new(), false);
    reader.object(|key, reader| {
        if key.name() != "json_schema" {
            return reader.skip();
        }
        described = true;
        reader.object(|key, reader| {
            match key.name() {
                "name" => name = reader.optional(Reader::text)?,
                "description" => description = reader.optional(Reader::text)?,
                "schema" => schema = reader.optional(|reader| of_kind(Kind::Object, reader))?.unwrap_or(Raw::json(b"{}")),
                "strict" => strict = reader.optional(Reader::flag)?,
                _ => keep_unknown(&key, reader, &mut inner)?,
            }
            Ok(())
        })
    })?;
    if !described {
        return Err(Malformed::new("must have a json_schema"));
    }
    leftover::keep("response_format", &inner, rest);
    Ok(Format::JsonSchema { name, description, schema, strict })
}

fn new_tool<'a>(name: Text<'a>, kind: ToolKind<'a>, origin: Origin) -> Tool<'a> {
    Tool { name, description: None, kind, strict: None, cache: None, origin, rest: Vec::new() }
}

fn read_tools<'a>(reader: &mut Reader<'a>, tools: &mut Vec<Tool<'a>>) -> Result<(), Malformed> {
    reader.array(|at, reader| {
        tools.push(read_tool(reader, Origin::item("tools", at))?);
        Ok(())
    })
}

fn read_tool<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Tool<'a>, Malformed> {
    if reader.kind()? != Kind::Object {
        return Err(Malformed::new("must be an object"));
    }
    let word = reader.peek("type").ok_or_else(|| Malformed::new("must have a type"))?;
    match word.as_bytes() {
        b"function" => read_own_tool(reader, "function", origin),
        b"custom" => read_own_tool(reader, "custom", origin),
        b"web_search" | b"openrouter:web_search" => Ok(new_tool(Text::EMPTY, ToolKind::WebSearch { raw: reader.raw()? }, origin)),
        known if known.starts_with(b"web_search_preview") => Ok(new_tool(Text::EMPTY, ToolKind::WebSearch { raw: reader.raw()? }, origin)),
        _ => Ok(new_tool(Text::EMPTY, ToolKind::Hosted { word, raw: reader.raw()? }, origin)),
    }
}

/// A tool of the caller's, whose description stands in the member `place`.
fn read_own_tool<'a>(reader: &mut Reader<'a>, place: &'static str, origin: Origin) -> Result<Tool<'a>, Malformed> {
    let (mut tool, mut cache, mut rest) = (None, None, Vec::new());
    reader.object(|key, reader| {
        match key.name() {
            "type" => reader.skip()?,
            "cache_control" => cache = read_cache_mark(reader)?,
            name if name == place => tool = Some(read_description(reader, place, origin)?),
            _ => keep_unknown(&key, reader, &mut rest)?,
        }
        Ok(())
    })?;
    let mut tool = tool.ok_or_else(|| Malformed::new(format!("must have a {place}")))?;
    tool.cache = cache.or(tool.cache);
    tool.rest.append(&mut rest);
    Ok(tool)
}

fn read_description<'a>(reader: &mut Reader<'a>, place: &'static str, origin: Origin) -> Result<Tool<'a>, Malformed> {
    let (mut name, mut description, mut value, mut strict, mut cache) = (None, None, None, None, None::<CacheMark>);
    let mut inner = Vec::new();
    reader.object(|key, reader| {
        match key.name() {
            "name" => name = Some(reader.text()?),
            "description" => description = reader.optional(Reader::text)?,
            "parameters" if place == "function" => value = reader.optional(|reader| of_kind(Kind::Object, reader))?,
            "format" if place == "custom" => value = reader.optional(|reader| of_kind(Kind::Object, reader))?,
            "strict" if place == "function" => strict = reader.optional(Reader::flag)?,
            "cache_control" => cache = read_cache_mark(reader)?,
            _ => keep_unknown(&key, reader, &mut inner)?,
        }
        Ok(())
    })?;
    let name = name.ok_or_else(|| Malformed::new("must have a name"))?;
    let kind = if place == "custom" { ToolKind::Custom { format: value } } else { ToolKind::Function { parameters: value } };
    let mut tool = Tool { description, strict, cache, ..new_tool(name, kind, origin) };
    leftover::keep(place, &inner, &mut tool.rest);
    Ok(tool)
}

/// The older list of functions.
fn read_functions<'a>(reader: &mut Reader<'a>, tools: &mut Vec<Tool<'a>>) -> Result<(), Malformed> {
    reader.array(|at, reader| {
        tools.push(read_description(reader, "function", Origin::item("functions", at))?);
        Ok(())
    })
}

fn read_tool_choice<'a>(reader: &mut Reader<'a>) -> Result<ToolChoice<'a>, Malformed> {
    if reader.kind()? == Kind::String {
        return match &*reader.decoded()? {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            // `any` is Mistral's.
            "required" | "any" => Ok(ToolChoice::Required),
            _ => Err(Malformed::new("must be none, auto, required or an object")),
        };
    }
    if reader.kind()? != Kind::Object {
        return Err(Malformed::new("must be none, auto, required or an object"));
    }
    match reader.peek("type") {
        Some(word) if word.is("allowed_tools") => read_allowed(reader),
        Some(word) if word.is("function") || word.is("custom") => read_named(reader).map(ToolChoice::Named),
        _ => Ok(ToolChoice::Other(reader.raw()?)),
    }
}

/// The name in `{"type":"function","function":{"name":…}}`, or in the same of a custom tool.
fn read_named<'a>(reader: &mut Reader<'a>) -> Result<Text<'a>, Malformed> {
    let mut name = None;
    reader.object(|key, reader| match key.name() {
        "function" | "custom" => reader.object(|key, reader| {
            match key.name() {
                "name" => name = Some(reader.text()?),
                _ => reader.skip()?,
            }
            Ok(())
        }),
        _ => reader.skip(),
    })?;
    name.ok_or_else(|| Malformed::new("must have a name"))
}

fn read_allowed<'a>(reader: &mut Reader<'a>) -> Result<ToolChoice<'a>, Malformed> {
    let (mut required, mut names) = (false, Vec::new());
    reader.object(|key, reader| match key.name() {
        "allowed_tools" => reader.object(|key, reader| {
            match key.name() {
                "mode" => required = reader.decoded()? == "required",
                "tools" => reader.array(|_, reader| {
                    names.push(read_named(reader)?);
                    Ok(())
                })?,
                _ => reader.skip()?,
            }
            Ok(())
        }),
        _ => reader.skip(),
    })?;
    Ok(ToolChoice::Allowed { required, names })
}

/// The older `function_call`: a word, or an object with a name.
fn read_function_choice<'a>(reader: &mut Reader<'a>) -> Result<ToolChoice<'a>, Malformed> {
    if reader.kind()? == Kind::String {
        return read_tool_choice(reader);
    }
    let mut name = None;
    reader.object(|key, reader| {
        match key.name() {
            "name" => name = Some(reader.text()?),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    name.map(ToolChoice::Named).ok_or_else(|| Malformed::new("must have a name"))
}
