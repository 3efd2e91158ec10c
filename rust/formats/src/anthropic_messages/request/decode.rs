//! A Messages request as its caller wrote it.

use fairlead_ir::request::{Effort, Format, Show};
use fairlead_ir::{Dialect, Origin, Param, Raw, Request, Role, Text, Tool, ToolChoice, ToolKind, Turn};

use crate::anthropic_messages::wire::block;
use crate::extension::is_extension;
use crate::json;
use crate::read::{Key, Malformed, Reader};
use crate::translate::remainder;

/// Reads the body of a request; it is known to be JSON. What only gateways know is left out, whoever reads it for the gateway has seen it.
pub(crate) fn decode<'a>(body: &'a [u8]) -> Result<Request<'a>, Malformed> {
    let mut reading = Reading { request: Request::new(Dialect::AnthropicMessages), system: None, older_format: None, messages: false };
    Reader::new(body).object(|key, reader| reading.take(&key, reader))?;
    reading.finish()
}

struct Reading<'a> {
    request: Request<'a>,
    system: Option<Turn<'a>>,
    /// What stood in `output_format`, the older name of `output_config.format`.
    older_format: Option<Format<'a>>,
    messages: bool,
}

impl<'a> Reading<'a> {
    fn take(&mut self, key: &Key<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        let request = &mut self.request;
        match key.name() {
            "model" => request.model = reader.text()?,
            "max_tokens" => request.max_output_tokens = reader.optional(Reader::whole)?,
            "stream" => request.stream = reader.optional(Reader::flag)?.unwrap_or_default(),
            "system" => self.system = reader.optional(system)?,
            "messages" => {
                self.messages = true;
                reader.array(|index, reader| {
                    request.turns.push(message(reader, Origin::item("messages", index))?);
                    Ok(())
                })?;
            }
            "tools" => {
                reader.optional(|reader| {
                    reader.array(|index, reader| {
                        request.tools.push(tool(reader, Origin::item("tools", index))?);
                        Ok(())
                    })
                })?;
            }
            "tool_choice" => {
                reader.optional(|reader| tool_choice(reader, request))?;
            }
            "thinking" => {
                reader.optional(|reader| thinking(reader, request))?;
            }
            "output_config" => {
                reader.optional(|reader| output_config(reader, request))?;
            }
            "output_format" => self.older_format = reader.optional(format)?,
            "metadata" => {
                reader.optional(|reader| metadata(reader, request))?;
            }
            // OpenRouter's name for it.
            "user" => {
                let user = reader.optional(Reader::text)?;
                request.labels.user = request.labels.user.take().or(user);
            }
            "stop_sequences" => {
                reader.optional(|reader| {
                    reader.array(|_, reader| {
                        request.sampling.stop.push(reader.text()?);
                        Ok(())
                    })
                })?;
            }
            "temperature" => request.sampling.temperature = reader.optional(Reader::number)?,
            "top_p" => request.sampling.top_p = reader.optional(Reader::number)?,
            "top_k" => request.sampling.top_k = reader.optional(Reader::number)?,
            "cache_control" => request.cache.automatic = reader.optional(block::read_mark)?,
            "service_tier" => request.labels.service_tier = reader.optional(Reader::text)?,
            // What is missing of such a conversation is with somebody else.
            "thread" => {
                if reader.optional(Reader::skip)?.is_some() {
                    return Err(Malformed::new("is not known here; send the whole conversation without it"));
                }
            }
            name if is_extension(name) => reader.skip()?,
            _ => request.rest.push(reader.member(key)?),
        }
        Ok(())
    }

    fn finish(self) -> Result<Request<'a>, Malformed> {
        let mut request = self.request;
        if !self.messages {
            return Err(Malformed::new("is missing; send the conversation as an array").in_member("messages"));
        }
        if let Some(system) = self.system {
            request.turns.insert(0, system);
        }
        if request.output.format.is_none() && self.older_format.is_some() {
            request.spelt.push((Param::Format, "output_format"));
        }
        request.output.format = request.output.format.or(self.older_format);
        Ok(request)
    }
}

fn system<'a>(reader: &mut Reader<'a>) -> Result<Turn<'a>, Malformed> {
    let blocks = block::read_system(reader)?;
    Ok(Turn { blocks, ..Turn::new(Role::System, Origin::member("system")) })
}

fn message<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Turn<'a>, Malformed> {
    let (mut role, mut blocks) = (None, None);
    let mut rest = Vec::new();
    reader.object(|key, reader| {
        match key.name() {
            "role" => {
                role = Some(match reader.text()?.as_bytes() {
                    b"user" => Role::User,
                    b"assistant" => Role::Assistant,
                    b"system" => Role::System,
                    _ => return Err(Malformed::new("must be \"user\", \"assistant\" or \"system\"")),
                });
            }
            "content" => blocks = Some(block::read_content(reader, origin, "content")?),
            _ => rest.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    let (role, blocks) = (block::required(role, "role")?, block::required(blocks, "content")?);
    Ok(Turn { role, blocks, name: None, origin, rest })
}

fn tool<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Tool<'a>, Malformed> {
    let raw = reader.clone().raw()?;
    let mut tool = Tool {
        name: Text::EMPTY,
        description: None,
        kind: ToolKind::Function { parameters: None },
        strict: None,
        cache: None,
        origin,
        rest: Vec::new(),
    };
    let (mut word, mut parameters, mut named) = (None, None, false);
    reader.object(|key, reader| {
        match key.name() {
            "type" => word = reader.optional(Reader::text)?,
            "name" => {
                tool.name = reader.text()?;
                named = true;
            }
            "description" => tool.description = reader.optional(Reader::text)?,
            "input_schema" if reader.kind()? == json::Kind::Object => parameters = Some(reader.raw()?),
            "input_schema" => return Err(Malformed::new("must be a JSON Schema")),
            "strict" => tool.strict = reader.optional(Reader::flag)?,
            "cache_control" => tool.cache = reader.optional(block::read_mark)?,
            _ => tool.rest.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    match word {
        Some(word) if !word.is("custom") => {
            // All of it stands in `raw`.
            tool.rest.clear();
            tool.kind =
                if word.as_bytes().starts_with(b"web_search_") { ToolKind::WebSearch { raw } } else { ToolKind::Hosted { word, raw } };
        }
        _ if !named => return Err(Malformed::new("is missing").in_member("name")),
        _ => tool.kind = ToolKind::Function { parameters },
    }
    Ok(tool)
}

fn tool_choice<'a>(reader: &mut Reader<'a>, request: &mut Request<'a>) -> Result<(), Malformed> {
    let raw = reader.clone().raw()?;
    let (mut kind, mut name, mut serial, mut unknown) = (None, None, None, Vec::new());
    reader.object(|key, reader| {
        match key.name() {
            "type" => kind = Some(reader.text()?),
            "name" => name = Some(reader.text()?),
            "disable_parallel_tool_use" => serial = reader.optional(Reader::flag)?,
            _ => unknown.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    let choice = match block::required(kind, "type")?.as_bytes() {
        b"auto" => ToolChoice::Auto,
        b"any" => ToolChoice::Required,
        b"none" => ToolChoice::None,
        b"tool" => ToolChoice::Named(block::required(name, "name")?),
        _ => {
            request.tool_choice = Some(ToolChoice::Other(raw));
            return Ok(());
        }
    };
    request.tool_choice = Some(choice);
    request.parallel_tool_calls = serial.map(|serial| !serial);
    request.rest.extend(remainder::carry("tool_choice", &unknown));
    Ok(())
}

fn thinking<'a>(reader: &mut Reader<'a>, request: &mut Request<'a>) -> Result<(), Malformed> {
    let reasoning = &mut request.reasoning;
    let (mut unknown, mut by_budget) = (Vec::new(), false);
    reader.object(|key, reader| {
        match key.name() {
            "type" => {
                let member = reader.member(&key)?;
                by_budget = word(&member.value)? == b"enabled";
                reasoning.enabled = Some(word(&member.value)? != b"disabled");
                if !matches!(word(&member.value)?, b"enabled" | b"adaptive" | b"disabled") {
                    unknown.push(member);
                }
            }
            "budget_tokens" => reasoning.budget_tokens = reader.optional(Reader::whole)?,
            "display" => {
                let member = reader.member(&key)?;
                match member.value.as_bytes() {
                    b"null" => {}
                    br#""summarized""# => reasoning.show = Some(Show::Summary),
                    br#""omitted""# => reasoning.show = Some(Show::Nothing),
                    _ => unknown.push(word(&member.value).map(|_| member.clone())?),
                }
            }
            _ => unknown.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    block::required(reasoning.enabled, "type")?;
    if by_budget {
        block::required(reasoning.budget_tokens, "budget_tokens")?;
    }
    request.rest.extend(remainder::carry("thinking", &unknown));
    Ok(())
}

fn output_config<'a>(reader: &mut Reader<'a>, request: &mut Request<'a>) -> Result<(), Malformed> {
    let mut unknown = Vec::new();
    reader.object(|key, reader| {
        match key.name() {
            "effort" => {
                let member = reader.member(&key)?;
                if !member.value.is("null") {
                    request.reasoning.effort = Effort::from_word(word(&member.value)?);
                    unknown.extend(request.reasoning.effort.is_none().then_some(member));
                }
            }
            "format" => request.output.format = reader.optional(format)?,
            _ => unknown.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    request.rest.extend(remainder::carry("output_config", &unknown));
    Ok(())
}

fn format<'a>(reader: &mut Reader<'a>) -> Result<Format<'a>, Malformed> {
    let raw = reader.clone().raw()?;
    let (mut kind, mut schema) = (None, None);
    reader.object(|key, reader| {
        match key.name() {
            "type" => kind = Some(reader.text()?),
            "schema" if reader.kind()? == json::Kind::Object => schema = Some(reader.raw()?),
            "schema" => return Err(Malformed::new("must be a JSON Schema")),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    if !block::required(kind, "type")?.is("json_schema") {
        return Ok(Format::Other(raw));
    }
    Ok(Format::JsonSchema { name: None, description: None, schema: block::required(schema, "schema")?, strict: None })
}

fn metadata<'a>(reader: &mut Reader<'a>, request: &mut Request<'a>) -> Result<(), Malformed> {
    let mut unknown = Vec::new();
    reader.object(|key, reader| {
        match key.name() {
            "user_id" => request.labels.user = reader.optional(Reader::text)?.or(request.labels.user.take()),
            _ => unknown.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    request.rest.extend(remainder::carry("metadata", &unknown));
    Ok(())
}

/// The inside of a string that is kept as a value.
fn word<'r>(value: &'r Raw<'_>) -> Result<&'r [u8], Malformed> {
    match value.as_bytes() {
        [b'"', inside @ .., b'"'] => Ok(inside),
        _ => Err(Malformed::new("must be a string")),
    }
}
