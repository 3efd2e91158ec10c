//! Reads a request of this dialect.
//!
//! Google's JSON has more than one spelling of most things: names with underscores beside those in camel case, `null` for what is absent,
//! numbers as texts, a lone element for a list of one, words of enumerations in any case.

use fairlead_ir::block::{Arguments, ToolCall, ToolResult};
use fairlead_ir::request::{Effort, Format, Show};
use fairlead_ir::{Block, Dialect, Kind as BlockKind, Member, Origin, Raw, Request, Role, Text, Tool, ToolChoice, ToolKind, Turn};

use super::schema::from_openapi;
use super::turns::Turns;
use crate::extension::is_extension;
use crate::gemini_generate::wire::media::prefixed;
use crate::gemini_generate::wire::part::{self, Call, Data, Outcome, Part};
use crate::json::walk::as_u64;
use crate::json::{Kind, is_complete};
use crate::read::{Malformed, Reader};

/// Reads a body that is known to be JSON. Model and streaming are in the path; a `model` in the body is taken over.
pub(crate) fn decode(body: &[u8]) -> Result<Request<'_>, Malformed> {
    let mut request = Request::new(Dialect::GeminiGenerate);
    let (mut system, mut turns, mut choice) = (None, Vec::new(), Choice::default());
    Reader::new(body).object(|key, reader| {
        if reader.kind()? == Kind::Null {
            return reader.skip();
        }
        match key.name() {
            "contents" => turns = read_contents(reader)?,
            "systemInstruction" | "system_instruction" => system = Some(read_system(reader)?),
            "tools" => request.tools = read_tools(reader)?,
            "toolConfig" | "tool_config" => read_tool_config(reader, &mut choice, &mut request.rest)?,
            "generationConfig" | "generation_config" => read_generation_config(reader, &mut request)?,
            "labels" => request.labels.metadata = Some(read_object(reader)?),
            "serviceTier" | "service_tier" => request.labels.service_tier = Some(reader.text()?),
            "store" => request.labels.store = Some(reader.flag()?),
            "model" => request.model = reader.text()?,
            name if is_extension(name) => reader.skip()?,
            _ => request.rest.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    request.turns = system.into_iter().chain(turns).collect();
    choice.apply(&mut request);
    Ok(request)
}

fn read_object<'a>(reader: &mut Reader<'a>) -> Result<Raw<'a>, Malformed> {
    if reader.kind()? == Kind::Object { reader.raw() } else { Err(Malformed::new("must be an object")) }
}

/// Reads a list; where its owner takes a lone element for a list of one, so do we.
fn each<'a>(reader: &mut Reader<'a>, mut element: impl FnMut(usize, &mut Reader<'a>) -> Result<(), Malformed>) -> Result<(), Malformed> {
    if reader.kind()? == Kind::Object { element(0, reader) } else { reader.array(element) }
}

fn read_system<'a>(reader: &mut Reader<'a>) -> Result<Turn<'a>, Malformed> {
    let origin = Origin::member("systemInstruction");
    let mut turn = Turn::new(Role::System, origin);
    reader.object(|key, reader| {
        match key.name() {
            "role" => reader.skip()?,
            "parts" => {
                turn.blocks.clear();
                each(reader, |index, reader| {
                    let origin = origin.part("parts", index);
                    let part = part::read(reader, origin)?;
                    turn.blocks.push(part::block_of(part, origin).ok_or_else(|| Malformed::new("must be a text"))?);
                    Ok(())
                })?;
            }
            _ => turn.rest.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    Ok(turn)
}

fn read_contents<'a>(reader: &mut Reader<'a>) -> Result<Vec<Turn<'a>>, Malformed> {
    let (mut turns, mut pairing) = (Turns::default(), Pairing::default());
    each(reader, |index, reader| {
        turns.add(read_content(index, reader, &mut pairing)?);
        Ok(())
    })?;
    turns.end_text();
    Ok(turns.turns)
}

fn read_content<'a>(index: usize, reader: &mut Reader<'a>, pairing: &mut Pairing<'a>) -> Result<Turn<'a>, Malformed> {
    let origin = Origin::item("contents", index);
    let mut turn = Turn::new(Role::User, origin);
    reader.object(|key, reader| {
        if reader.kind()? == Kind::Null {
            return reader.skip();
        }
        match key.name() {
            "role" => turn.role = role(&reader.decoded()?)?,
            "parts" => {
                turn.blocks.clear();
                each(reader, |number, reader| {
                    let origin = origin.part("parts", number);
                    let part = part::read(reader, origin)?;
                    turn.blocks.push(pairing.block(part, origin, (index, number))?);
                    Ok(())
                })?;
            }
            _ => turn.rest.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    Ok(turn)
}

fn role(word: &str) -> Result<Role, Malformed> {
    match word {
        "model" => Ok(Role::Assistant),
        // The last two are the older words for the turn of a function's answer.
        "user" | "" | "function" | "tool" => Ok(Role::User),
        _ => Err(Malformed::new("must be \"user\" or \"model\"")),
    }
}

/// Ties answers to calls where ids are left out: by name, in their order.
#[derive(Default)]
struct Pairing<'a> {
    /// Calls without an answer so far.
    open: Vec<OpenCall<'a>>,
    /// An answer came behind them, so that the next call begins a new step.
    answered: bool,
}

struct OpenCall<'a> {
    id: Text<'a>,
    name: Text<'a>,
    /// The id is ours.
    made: bool,
}

impl<'a> Pairing<'a> {
    fn block(&mut self, mut part: Part<'a>, origin: Origin, place: (usize, usize)) -> Result<Block<'a>, Malformed> {
        let kind = match std::mem::replace(&mut part.data, Data::Text(Text::EMPTY)) {
            Data::Call(call) => self.call(call, place, &mut part.rest)?,
            Data::Result(outcome) => self.result(outcome, place)?,
            data => {
                let part = Part { data, ..part };
                return part::block_of(part, origin).ok_or_else(|| Malformed::new("must be a part"));
            }
        };
        let block = part::block_of(part, origin).ok_or_else(|| Malformed::new("must be a part"))?;
        Ok(Block { kind, ..block })
    }

    fn call(&mut self, call: Call<'a>, place: (usize, usize), rest: &mut Vec<Member<'a>>) -> Result<BlockKind<'a>, Malformed> {
        let fault = |problem| Malformed::new(problem).in_member("functionCall");
        let name = call.name.ok_or_else(|| fault("must have a \"name\""))?;
        let arguments = match call.arguments {
            None => Arguments::Json(Raw::json(b"{}")),
            Some(Arguments::Json(raw)) => Arguments::Json(raw),
            Some(_) => return Err(Malformed::new("must be an object").in_member("args").in_member("functionCall")),
        };
        rest.extend(call.fragments.map(|fragments| prefixed("functionCall", "partialArgs", fragments)));
        if call.continues {
            rest.push(prefixed("functionCall", "willContinue", Raw::json(b"true")));
        }
        if std::mem::take(&mut self.answered) {
            self.open.clear();
        }
        let made = call.id.is_none();
        let id = call.id.unwrap_or_else(|| id_at(place));
        self.open.push(OpenCall { id: id.clone(), name: name.clone(), made });
        Ok(BlockKind::ToolCall(ToolCall { id, name, arguments }))
    }

    fn result(&mut self, outcome: Outcome<'a>, place: (usize, usize)) -> Result<BlockKind<'a>, Malformed> {
        let name = outcome.name.ok_or_else(|| Malformed::new("must have a \"name\"").in_member("functionResponse"))?;
        self.answered = true;
        let by_id = self.open.iter().position(|call| outcome.id.as_ref() == Some(&call.id));
        let by_name = || self.open.iter().position(|call| call.name == name && (outcome.id.is_none() || call.made));
        let id = match by_id.or_else(by_name) {
            Some(found) => self.open.remove(found).id,
            None => outcome.id.unwrap_or_else(|| id_at(place)),
        };
        Ok(BlockKind::ToolResult(ToolResult { id, name: Some(name), content: outcome.content, is_error: outcome.is_error, free: false }))
    }
}

/// An id for what stands at this content and part: the same whatever follows.
fn id_at((content, part): (usize, usize)) -> Text<'static> {
    Text::owned(format!("call_{content}_{part}").into_bytes())
}

fn read_tools<'a>(reader: &mut Reader<'a>) -> Result<Vec<Tool<'a>>, Malformed> {
    let mut tools = Vec::new();
    each(reader, |index, reader| {
        let origin = Origin::item("tools", index);
        reader.object(|key, reader| {
            if reader.kind()? == Kind::Null {
                return reader.skip();
            }
            if matches!(key.name(), "functionDeclarations" | "function_declarations") {
                return each(reader, |number, reader| {
                    tools.push(read_function(reader, origin.part("functionDeclarations", number))?);
                    Ok(())
                });
            }
            let word = reader.clone().member(&key)?;
            let raw = alone(&word);
            reader.skip()?;
            let kind = match key.name() {
                "googleSearch" | "google_search" | "googleSearchRetrieval" | "google_search_retrieval" => ToolKind::WebSearch { raw },
                _ => ToolKind::Hosted { word: word.name, raw },
            };
            tools.push(tool(Text::EMPTY, kind, origin));
            Ok(())
        })
    })?;
    Ok(tools)
}

fn tool<'a>(name: Text<'a>, kind: ToolKind<'a>, origin: Origin) -> Tool<'a> {
    Tool { name, description: None, kind, strict: None, cache: None, origin, rest: Vec::new() }
}

/// An object with this one member.
fn alone(member: &Member<'_>) -> Raw<'static> {
    let mut raw = Vec::new();
    let mut object = crate::write::Object::open(&mut raw);
    object.members(std::slice::from_ref(member));
    object.close();
    Raw::owned(raw)
}

fn read_function<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Tool<'a>, Malformed> {
    let (mut name, mut openapi, mut schema) = (None, None, None);
    let mut function = tool(Text::EMPTY, ToolKind::Function { parameters: None }, origin);
    reader.object(|key, reader| {
        if reader.kind()? == Kind::Null {
            return reader.skip();
        }
        match key.name() {
            "name" => name = Some(reader.text()?).filter(|name| !name.is_empty()),
            "description" => function.description = Some(reader.text()?),
            "parameters" => openapi = Some(from_openapi(&read_object(reader)?)?),
            "parametersJsonSchema" | "parameters_json_schema" => schema = Some(read_object(reader)?),
            _ => function.rest.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    function.name = name.ok_or_else(|| Malformed::new("must have a \"name\""))?;
    function.kind = ToolKind::Function { parameters: schema.or(openapi) };
    Ok(function)
}

/// What `toolConfig` says, until the tools are known.
#[derive(Default)]
struct Choice<'a> {
    choice: Option<ToolChoice<'a>>,
    /// `VALIDATED`: arguments of every function fit their schema.
    strict: bool,
}

impl<'a> Choice<'a> {
    fn apply(self, request: &mut Request<'a>) {
        request.tool_choice = self.choice;
        if self.strict {
            let functions = request.tools.iter_mut().filter(|tool| matches!(tool.kind, ToolKind::Function { .. }));
            functions.for_each(|tool| tool.strict = Some(true));
        }
    }
}

fn read_tool_config<'a>(reader: &mut Reader<'a>, choice: &mut Choice<'a>, rest: &mut Vec<Member<'a>>) -> Result<(), Malformed> {
    reader.object(|key, reader| match key.name() {
        "functionCallingConfig" | "function_calling_config" if reader.kind()? == Kind::Object => {
            *choice = read_calling_config(reader, rest)?;
            Ok(())
        }
        name => {
            rest.push(prefixed("toolConfig", name, reader.raw()?));
            Ok(())
        }
    })
}

fn read_calling_config<'a>(reader: &mut Reader<'a>, rest: &mut Vec<Member<'a>>) -> Result<Choice<'a>, Malformed> {
    let whole = reader.clone().raw()?;
    let (mut mode, mut names) = (String::new(), Vec::new());
    reader.object(|key, reader| {
        if reader.kind()? == Kind::Null {
            return reader.skip();
        }
        match key.name() {
            "mode" => mode = reader.decoded()?.to_ascii_uppercase(),
            "allowedFunctionNames" | "allowed_function_names" => {
                names.clear();
                reader.array(|_, reader| {
                    names.push(reader.text()?);
                    Ok(())
                })?;
            }
            name => rest.push(prefixed("toolConfig.functionCallingConfig", name, reader.raw()?)),
        }
        Ok(())
    })?;
    let choice = match (mode.as_str(), names.len()) {
        ("" | "MODE_UNSPECIFIED", 0) => None,
        ("AUTO" | "VALIDATED", 0) => Some(ToolChoice::Auto),
        ("NONE", _) => Some(ToolChoice::None),
        ("ANY", 0) => Some(ToolChoice::Required),
        ("ANY", 1) => names.pop().map(ToolChoice::Named),
        ("ANY", _) => Some(ToolChoice::Allowed { required: true, names }),
        ("" | "MODE_UNSPECIFIED" | "AUTO" | "VALIDATED", _) => Some(ToolChoice::Allowed { required: false, names }),
        _ => Some(ToolChoice::Other(whole)),
    };
    Ok(Choice { choice, strict: mode == "VALIDATED" })
}

/// What says what the reply's text shall look like, until all of it is known.
#[derive(Default)]
struct Shape<'a> {
    mime: Option<Text<'a>>,
    openapi: Option<Raw<'a>>,
    schema: Option<Raw<'a>>,
}

impl<'a> Shape<'a> {
    fn format(self) -> Result<Option<Format<'a>>, Malformed> {
        let is = |word: &str| self.mime.as_ref().is_some_and(|mime| mime.is(word));
        let schema = match (&self.schema, &self.openapi) {
            (Some(schema), _) => Some(schema.clone()),
            (None, Some(openapi)) => Some(from_openapi(openapi).map_err(|fault| fault.in_member("responseSchema"))?),
            (None, None) => None,
        };
        Ok(match (schema, &self.mime) {
            (None, None) => None,
            (None, Some(_)) if is("application/json") => Some(Format::JsonObject),
            (None, Some(_)) if is("text/plain") => Some(Format::Text),
            (Some(schema), mime) if mime.is_none() || is("application/json") => {
                Some(Format::JsonSchema { name: None, description: None, schema, strict: None })
            }
            // `text/x.enum` and what is still to come.
            _ => Some(Format::Other(self.as_written())),
        })
    }

    fn as_written(&self) -> Raw<'static> {
        let mut raw = Vec::new();
        let mut object = crate::write::Object::open(&mut raw);
        object.optional_escaped("responseMimeType", self.mime.as_ref());
        for (key, schema) in [("responseSchema", &self.openapi), ("responseJsonSchema", &self.schema)] {
            if let Some(schema) = schema {
                object.raw(key, schema.as_bytes());
            }
        }
        object.close();
        Raw::owned(raw)
    }
}

fn read_generation_config<'a>(reader: &mut Reader<'a>, request: &mut Request<'a>) -> Result<(), Malformed> {
    let mut shape = Shape::default();
    reader.object(|key, reader| {
        if reader.kind()? == Kind::Null {
            return reader.skip();
        }
        let sampling = &mut request.sampling;
        match key.name() {
            "temperature" => sampling.temperature = Some(number(reader)?),
            "topP" | "top_p" => sampling.top_p = Some(number(reader)?),
            "topK" | "top_k" => sampling.top_k = Some(number(reader)?),
            "presencePenalty" | "presence_penalty" => sampling.presence_penalty = Some(number(reader)?),
            "frequencyPenalty" | "frequency_penalty" => sampling.frequency_penalty = Some(number(reader)?),
            "seed" => sampling.seed = Some(number(reader)?),
            "candidateCount" | "candidate_count" => sampling.choices = Some(whole(reader)?),
            "maxOutputTokens" | "max_output_tokens" => request.max_output_tokens = Some(whole(reader)?),
            "responseLogprobs" | "response_logprobs" => sampling.logprobs = Some(reader.flag()?),
            "logprobs" => sampling.top_logprobs = Some(whole(reader)?),
            "stopSequences" | "stop_sequences" => {
                sampling.stop.clear();
                reader.array(|_, reader| {
                    sampling.stop.push(reader.text()?);
                    Ok(())
                })?;
            }
            "responseMimeType" | "response_mime_type" => shape.mime = Some(reader.text()?).filter(|mime| !mime.is_empty()),
            "responseSchema" | "response_schema" => shape.openapi = Some(read_object(reader)?),
            "responseJsonSchema" | "response_json_schema" | "_responseJsonSchema" => shape.schema = Some(read_object(reader)?),
            "responseModalities" | "response_modalities" => request.output.modalities = Some(reader.raw()?),
            "speechConfig" | "speech_config" => request.output.audio = Some(read_object(reader)?),
            "thinkingConfig" | "thinking_config" => read_thinking(reader, request)?,
            name => request.rest.push(prefixed("generationConfig", name, reader.raw()?)),
        }
        Ok(())
    })?;
    request.output.format = shape.format()?;
    Ok(())
}

fn read_thinking<'a>(reader: &mut Reader<'a>, request: &mut Request<'a>) -> Result<(), Malformed> {
    reader.object(|key, reader| {
        if reader.kind()? == Kind::Null {
            return reader.skip();
        }
        let reasoning = &mut request.reasoning;
        match key.name() {
            "includeThoughts" | "include_thoughts" => {
                reasoning.show = Some(if reader.flag()? { Show::Summary } else { Show::Nothing });
            }
            "thinkingBudget" | "thinking_budget" => match number(reader)?.as_bytes() {
                b"-1" => reasoning.enabled = Some(true),
                b"0" => reasoning.enabled = Some(false),
                tokens => {
                    reasoning.budget_tokens = Some(as_u64(tokens).ok_or_else(|| Malformed::new("must be a whole number, -1 or more"))?)
                }
            },
            "thinkingLevel" | "thinking_level" => reasoning.effort = effort(&reader.decoded()?)?,
            name => request.rest.push(prefixed("generationConfig.thinkingConfig", name, reader.raw()?)),
        }
        Ok(())
    })
}

fn effort(word: &str) -> Result<Option<Effort>, Malformed> {
    match word.to_ascii_uppercase().as_str() {
        "" | "THINKING_LEVEL_UNSPECIFIED" => Ok(None),
        "MINIMAL" => Ok(Some(Effort::Minimal)),
        "LOW" => Ok(Some(Effort::Low)),
        "MEDIUM" => Ok(Some(Effort::Medium)),
        "HIGH" => Ok(Some(Effort::High)),
        "XHIGH" => Ok(Some(Effort::Xhigh)),
        _ => Err(Malformed::new("must be MINIMAL, LOW, MEDIUM, HIGH or XHIGH")),
    }
}

/// A number, or a text that holds one.
fn number<'a>(reader: &mut Reader<'a>) -> Result<Raw<'a>, Malformed> {
    if reader.kind()? != Kind::String {
        return reader.number();
    }
    let text = reader.decoded()?;
    let is_number = text.bytes().next().and_then(Kind::of) == Some(Kind::Number) && is_complete(text.as_bytes());
    if is_number { Ok(Raw::owned(text.into_owned().into_bytes())) } else { Err(Malformed::new("must be a number")) }
}

/// A whole number that is not negative, also as a text or with a point and zeros.
fn whole(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    let number = number(reader)?;
    let digits = number.as_bytes();
    let point = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
    let zeros = digits[point..].iter().skip(1).all(|byte| *byte == b'0');
    as_u64(&digits[..point]).filter(|_| zeros).ok_or_else(|| Malformed::new("must be a whole number that is not negative"))
}
