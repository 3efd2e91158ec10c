//! A Converse request as its caller wrote it. Model and streaming stand in the path.

use fairlead_ir::request::{Effort, Format, Show};
use fairlead_ir::{Dialect, Member, Origin, Raw, Request, Role, Text, Tool, ToolChoice, ToolKind, Turn};

use crate::bedrock_converse::wire::block::{Place, read_list};
use crate::bedrock_converse::wire::{read_cache_point, required};
use crate::json::Kind;
use crate::read::{Key, Malformed, Reader};
use crate::text::unquote;
use crate::translate::remainder;

/// Reads the body of a request; it is known to be JSON.
pub(crate) fn decode<'a>(body: &'a [u8]) -> Result<Request<'a>, Malformed> {
    let mut request = Request::new(Dialect::BedrockConverse);
    let mut system = None;
    Reader::new(body).object(|key, reader| {
        match key.name() {
            "system" => system = reader.optional(read_system)?,
            name => take(&mut request, name, &key, reader)?,
        }
        Ok(())
    })?;
    // An empty list says nothing.
    if let Some(system) = system.filter(|turn| !turn.blocks.is_empty()) {
        request.turns.insert(0, system);
    }
    Ok(request)
}

fn take<'a>(request: &mut Request<'a>, name: &str, key: &Key<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
    match name {
        "messages" => {
            reader.array(|index, reader| {
                request.turns.push(read_message(reader, Origin::item("messages", index))?);
                Ok(())
            })?;
        }
        "inferenceConfig" => {
            reader.optional(|reader| read_inference(request, reader))?;
        }
        "toolConfig" => {
            reader.optional(|reader| read_tool_config(request, reader))?;
        }
        "outputConfig" => {
            reader.optional(|reader| read_output_config(request, reader))?;
        }
        "additionalModelRequestFields" if reader.kind()? == Kind::Object => read_additional(request, reader)?,
        "requestMetadata" => {
            request.labels.user = reader.peek("user");
            request.labels.metadata = reader.optional(|reader| match reader.kind()? {
                Kind::Object => reader.raw(),
                _ => Err(Malformed::new("must be an object")),
            })?;
        }
        "serviceTier" => match read_service_tier(reader.clone())? {
            Some(tier) => {
                request.labels.service_tier = Some(tier);
                reader.skip()?;
            }
            None => request.rest.push(reader.member(key)?),
        },
        _ => request.rest.push(reader.member(key)?),
    }
    Ok(())
}

fn read_system<'a>(reader: &mut Reader<'a>) -> Result<Turn<'a>, Malformed> {
    let blocks = read_list(reader, Place::System, |index| Origin::item("system", index))?;
    Ok(Turn { blocks, ..Turn::new(Role::System, Origin::member("system")) })
}

fn read_message<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Turn<'a>, Malformed> {
    let role = match required(reader.peek("role"), "role")?.as_bytes() {
        b"user" => Role::User,
        b"assistant" => Role::Assistant,
        b"system" => Role::System,
        _ => return Err(Malformed::new("must be \"user\", \"assistant\" or \"system\"").in_member("role")),
    };
    let place = match role {
        Role::User => Place::User,
        Role::Assistant => Place::Assistant,
        Role::System | Role::Developer => Place::System,
    };
    let (mut blocks, mut rest) = (None, Vec::new());
    reader.object(|key, reader| {
        match key.name() {
            "role" => reader.skip()?,
            "content" => blocks = Some(read_list(reader, place, |index| origin.part("content", index))?),
            _ => rest.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    Ok(Turn { blocks: required(blocks, "content")?, rest, ..Turn::new(role, origin) })
}

fn read_inference<'a>(request: &mut Request<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
    let mut unknown = Vec::new();
    reader.object(|key, reader| {
        let sampling = &mut request.sampling;
        match key.name() {
            "maxTokens" => request.max_output_tokens = reader.optional(Reader::whole)?,
            "temperature" => sampling.temperature = reader.optional(Reader::number)?,
            "topP" => sampling.top_p = reader.optional(Reader::number)?,
            "stopSequences" => {
                reader.optional(|reader| {
                    reader.array(|_, reader| {
                        sampling.stop.push(reader.text()?);
                        Ok(())
                    })
                })?;
            }
            _ => unknown.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    request.rest.extend(remainder::carry("inferenceConfig", &unknown));
    Ok(())
}

fn read_tool_config<'a>(request: &mut Request<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
    let mut unknown = Vec::new();
    reader.object(|key, reader| {
        match key.name() {
            "tools" => {
                reader.array(|index, reader| read_tool(&mut request.tools, reader, Origin::member("toolConfig").part("tools", index)))?;
            }
            "toolChoice" => request.tool_choice = reader.optional(read_tool_choice)?,
            _ => unknown.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    request.rest.extend(remainder::carry("toolConfig", &unknown));
    Ok(())
}

/// Reads a tool, or the mark of the one before it.
fn read_tool<'a>(tools: &mut Vec<Tool<'a>>, reader: &mut Reader<'a>, origin: Origin) -> Result<(), Malformed> {
    let raw = reader.clone().raw()?;
    let (mut members, mut tool, mut mark, mut word) = (0, None, None, Text::EMPTY);
    reader.object(|key, reader| {
        members += 1;
        match key.name() {
            "toolSpec" => tool = Some(read_tool_spec(reader, origin)?),
            "cachePoint" => mark = read_cache_point(reader)?,
            _ => reader.skip()?,
        }
        word = crate::text::escape(key.name()).into_owned();
        Ok(())
    })?;
    match (tool, mark, tools.last_mut()) {
        (Some(tool), ..) if members == 1 => tools.push(tool),
        (None, Some(mark), Some(marked)) if members == 1 && marked.cache.is_none() => marked.cache = Some(mark),
        _ => {
            let name = Text::EMPTY;
            let kind = ToolKind::Hosted { word, raw };
            tools.push(Tool { name, description: None, kind, strict: None, cache: None, origin, rest: Vec::new() });
        }
    }
    Ok(())
}

fn read_tool_spec<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Tool<'a>, Malformed> {
    let (mut name, mut description, mut parameters, mut strict, mut rest) = (None, None, None, None, Vec::new());
    reader.object(|key, reader| {
        match key.name() {
            "name" => name = Some(reader.text()?),
            "description" => description = reader.optional(Reader::text)?,
            "inputSchema" => match read_schema(reader.clone())? {
                Some(schema) => {
                    parameters = Some(schema);
                    reader.skip()?;
                }
                None => rest.push(reader.member(&key)?),
            },
            "strict" => strict = reader.optional(Reader::flag)?,
            _ => rest.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    let kind = ToolKind::Function { parameters };
    Ok(Tool { name: required(name, "name")?, description, kind, strict, cache: None, origin, rest })
}

/// `{"json": …}`; `None` for another kind of schema.
fn read_schema<'a>(mut reader: Reader<'a>) -> Result<Option<Raw<'a>>, Malformed> {
    let (mut schema, mut members) = (None, 0);
    reader.object(|key, reader| {
        members += 1;
        schema = match (key.name(), reader.kind()?) {
            ("json", Kind::Object) => Some(reader.raw()?),
            ("json", _) => return Err(Malformed::new("must be an object")),
            _ => None,
        };
        if schema.is_none() { reader.skip() } else { Ok(()) }
    })?;
    Ok(schema.filter(|_| members == 1))
}

fn read_tool_choice<'a>(reader: &mut Reader<'a>) -> Result<ToolChoice<'a>, Malformed> {
    let raw = reader.clone().raw()?;
    let (mut choice, mut members) = (None, 0);
    reader.object(|key, reader| {
        members += 1;
        choice = match key.name() {
            "auto" => Some(ToolChoice::Auto),
            "any" => Some(ToolChoice::Required),
            "tool" => Some(ToolChoice::Named(required(reader.peek("name"), "name")?)),
            _ => None,
        };
        reader.skip()
    })?;
    Ok(choice.filter(|_| members == 1).unwrap_or(ToolChoice::Other(raw)))
}

fn read_output_config<'a>(request: &mut Request<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
    let mut unknown = Vec::new();
    reader.object(|key, reader| {
        match key.name() {
            "textFormat" => request.output.format = reader.optional(read_format)?,
            "effort" => {
                let word = reader.clone().optional(Reader::text)?;
                let member = reader.member(&key)?;
                request.reasoning.effort = word.as_ref().and_then(|word| Effort::from_word(word.as_bytes()));
                unknown.extend((word.is_some() && request.reasoning.effort.is_none()).then_some(member));
            }
            _ => unknown.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    request.rest.extend(remainder::carry("outputConfig", &unknown));
    Ok(())
}

/// The schema stands in a string.
fn read_format<'a>(reader: &mut Reader<'a>) -> Result<Format<'a>, Malformed> {
    let raw = reader.clone().raw()?;
    let mut format = None;
    reader.object(|key, reader| match key.name() {
        "structure" => reader.object(|key, reader| match key.name() {
            "jsonSchema" => {
                format = Some(read_json_schema(reader)?);
                Ok(())
            }
            _ => reader.skip(),
        }),
        _ => reader.skip(),
    })?;
    Ok(format.unwrap_or(Format::Other(raw)))
}

fn read_json_schema<'a>(reader: &mut Reader<'a>) -> Result<Format<'a>, Malformed> {
    let (mut schema, mut name, mut description) = (None, None, None);
    reader.object(|key, reader| {
        match key.name() {
            "schema" => {
                schema = Some(
                    unquote(&reader.text()?)
                        .filter(|schema| schema.as_bytes().starts_with(b"{"))
                        .ok_or_else(|| Malformed::new("must hold a JSON Schema as a string"))?,
                )
            }
            "name" => name = reader.optional(Reader::text)?,
            "description" => description = reader.optional(Reader::text)?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(Format::JsonSchema { name, description, schema: required(schema, "schema")?, strict: None })
}

/// What goes to the model as it is: Claude's thinking and `top_k` are known.
fn read_additional<'a>(request: &mut Request<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
    let mut unknown = Vec::new();
    reader.object(|key, reader| {
        match key.name() {
            "top_k" if reader.kind()? == Kind::Number => request.sampling.top_k = Some(reader.number()?),
            "thinking" if reader.kind()? == Kind::Object => unknown.extend(read_thinking(request, reader, &key)?),
            _ => unknown.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    request.rest.extend(remainder::carry("additionalModelRequestFields", &unknown));
    Ok(())
}

/// `thinking`, given back where it says what nobody else knows.
fn read_thinking<'a>(request: &mut Request<'a>, reader: &mut Reader<'a>, key: &Key<'a>) -> Result<Option<Member<'a>>, Malformed> {
    let member = reader.clone().member(key)?;
    let (mut enabled, mut budget, mut show, mut known) = (None, None, None, true);
    reader.object(|key, reader| {
        match key.name() {
            "type" => enabled = Some(reader.text()?),
            "budget_tokens" => budget = reader.optional(Reader::whole)?,
            "display" => {
                show = reader.optional(Reader::text)?.map(|word| match word.as_bytes() {
                    b"summarized" => Some(Show::Summary),
                    b"omitted" => Some(Show::Nothing),
                    _ => None,
                });
                known &= show != Some(None);
            }
            _ => {
                known = false;
                reader.skip()?;
            }
        }
        Ok(())
    })?;
    let enabled = match (required(enabled, "type")?.as_bytes(), budget) {
        (b"enabled", Some(_)) | (b"adaptive", None) => Some(true),
        (b"disabled", None) => Some(false),
        _ => None,
    };
    if !known || enabled.is_none() {
        return Ok(Some(member));
    }
    let reasoning = &mut request.reasoning;
    (reasoning.enabled, reasoning.budget_tokens, reasoning.show) = (enabled, budget, show.flatten());
    Ok(None)
}

/// `{"type": …}`; `None` for another shape.
fn read_service_tier(mut reader: Reader<'_>) -> Result<Option<Text<'_>>, Malformed> {
    let (mut tier, mut members) = (None, 0);
    reader.object(|key, reader| {
        members += 1;
        match key.name() {
            "type" => tier = Some(reader.text()?),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(tier.filter(|_| members == 1))
}
