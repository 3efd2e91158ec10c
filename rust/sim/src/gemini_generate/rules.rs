//! What a request for content must be, and what it asks for.

use super::shapes::{DATA, REQUEST};
use crate::ask::{Ask, Structure, Thinking, Tool, ToolChoice, Tools, Transcript};
use crate::base64;
use crate::cache::Policy;
use crate::context::Context;
use crate::intake::parse;
use crate::reply::Refusal;
use crate::shape::{self, Misfit, Step, What};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

const MAX_NAME_LETTERS: usize = 64;
const MAX_CANDIDATES: f64 = 8.0;
const MAX_STOPS: usize = 5;
/// What Google documents for calls that another model made.
const SKIP_VALIDATION: &[&str] = &["skip_thought_signature_validator", "context_engineering_is_the_way_to_go"];
/// What a signature on a text is over: not the text, which a stream has in pieces.
pub(super) const SIGNED_TEXT: &str = "text";
/// Fields with JSON of the caller's own.
const FOREIGN: &[&str] = &["args", "response", "parametersJsonSchema", "responseJsonSchema", "labels", "sim"];

/// What a signature on a call is over.
pub(super) fn signed_call(name: &str) -> String {
    format!("call {name}")
}

/// Judges `body`, and reads what it asks for.
pub(crate) fn read(context: &Context<'_>, body: &Value) -> Result<Ask<'static>, Refusal> {
    let body = &camel(body);
    shape::check(body, &REQUEST).map_err(|misfit| refusal(&misfit))?;
    let family = context.persona.family;
    let empty = json!({});
    let config = body.get("generationConfig").filter(|config| config.is_object()).unwrap_or(&empty);
    check_figures(context, config)?;
    let tools = read_tools(context, body)?;
    let structure = read_structure(config)?;
    if structure != Structure::Free && !tools.is_empty() && !family.takes_schema_with_tools {
        return Err(Refusal::bad_request("Function calling with a response mime type: 'application/json' is unsupported"));
    }
    let (thinking, shows_thoughts) = read_thinking(context, config)?;
    let walk = walk(context, body)?;
    let count = |name: &str| config.get(name).and_then(Value::as_f64).map(|number| number as u32);
    let wants_logprobs = config.get("responseLogprobs").is_some_and(|wanted| *wanted == true);
    let stops = config.get("stopSequences").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    Ok(Ask {
        prompt_tokens: walk.transcript.tokens(),
        last_user_text: Cow::Owned(walk.last_user_text),
        last_tool_result: walk.last_tool_result,
        tool_choice: read_choice(context, body, &tools)?,
        tools: Tools::Read(tools),
        max_tokens: count("maxOutputTokens"),
        stops: stops.map(str::to_owned).collect(),
        choices: count("candidateCount").unwrap_or(1),
        logprobs: wants_logprobs.then(|| count("logprobs").unwrap_or(0)),
        structure,
        thinking,
        shows_thoughts,
        prefix: walk.transcript.prefix(),
        cache: context.cache(&walk.transcript, Policy::Implicit, ""),
        media: walk.transcript.media,
        ..Ask::default()
    })
}

/// The answer to `:countTokens`.
pub(crate) fn count_tokens(context: &Context<'_>) -> Result<String, Refusal> {
    let body = camel(&parse(&context.request.body)?);
    let request = body.get("generateContentRequest").filter(|inner| inner.is_object()).unwrap_or(&body);
    shape::check(request, &REQUEST).map_err(|misfit| refusal(&misfit))?;
    read_tools(context, request)?;
    let transcript = walk(context, request)?.transcript;
    let tokens = transcript.tokens();
    let details: Value = serde_json::from_str(&super::modalities(tokens.into(), transcript.media)).unwrap_or_default();
    Ok(json!({"totalTokens": tokens, "promptTokensDetails": details}).to_string())
}

/// `value` with its keys in camel case, which Google takes in either; JSON of the caller's own stays as it is.
fn camel(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let renamed = fields.iter().map(|(name, value)| {
                let name = camel_name(name);
                let value = match name.as_str() {
                    foreign if FOREIGN.contains(&foreign) => value.clone(),
                    // Its keys are the caller's, what is behind them is not.
                    "properties" => Value::Object(
                        value.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), camel(value))).collect::<Map<_, _>>(),
                    ),
                    _ => camel(value),
                };
                (name, value)
            });
            Value::Object(renamed.collect())
        }
        Value::Array(values) => Value::Array(values.iter().map(camel).collect()),
        other => other.clone(),
    }
}

fn camel_name(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

fn snake_name(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

fn snake_path(path: &[Step]) -> String {
    let steps: Vec<Step> =
        path.iter().map(|step| if let Step::Key(name) = step { Step::Key(snake_name(name)) } else { step.clone() }).collect();
    shape::bracketed(&steps)
}

fn refusal(misfit: &Misfit) -> Refusal {
    let place = snake_path(&misfit.path);
    let message = match &misfit.what {
        What::Unknown => {
            let parent = snake_path(misfit.parent());
            let at = if parent.is_empty() { String::new() } else { format!(" at '{parent}'") };
            let message = format!("Invalid JSON payload received. Unknown name \"{}\"{at}: Cannot find field.", misfit.name());
            return Refusal::bad_request(message).param(parent);
        }
        What::Missing => format!("* GenerateContentRequest.{place}: required field is not set"),
        What::Type { expected, found } => format!("Invalid value at '{place}': expected {expected}, found {found}"),
        What::Choice { found, .. } => format!("Invalid value at '{place}', \"{found}\""),
        What::Members(count) => format!("Invalid value at '{place}': expected one field, found {count}"),
    };
    Refusal::bad_request(message).param(place)
}

fn invalid(place: &str, what: &str) -> Refusal {
    Refusal::bad_request(format!("* GenerateContentRequest.{place}: {what}"))
}

fn check_figures(context: &Context<'_>, config: &Value) -> Result<(), Refusal> {
    let given = |name: &str| config.get(name).filter(|value| !value.is_null());
    if !context.persona.family.takes_sampling
        && let Some(name) = ["temperature", "topP", "topK"].into_iter().find(|name| given(name).is_some())
    {
        return Err(Refusal::bad_request(format!("{} is not supported for this model.", snake_name(name))));
    }
    let ranges = [
        ("temperature", 0.0, 2.0, "must be in the range [0.0, 2.0]."),
        ("topP", 0.0, 1.0, "must be in the range [0.0, 1.0]."),
        ("topK", 1.0, f64::MAX, "must be positive."),
        ("candidateCount", 1.0, MAX_CANDIDATES, "must be in the range [1, 8]."),
        ("maxOutputTokens", 1.0, f64::MAX, "must be positive."),
        ("logprobs", 0.0, 20.0, "must be in the range [0, 20]."),
        ("presencePenalty", -2.0, 2.0, "must be in the range [-2.0, 2.0)."),
        ("frequencyPenalty", -2.0, 2.0, "must be in the range [-2.0, 2.0)."),
    ];
    for (name, least, most, what) in ranges {
        let number = given(name).and_then(Value::as_f64);
        if number.is_some_and(|number| number < least || number > most) {
            let name = snake_name(name);
            return Err(invalid(&format!("generation_config.{name}"), &format!("{name} {what}")));
        }
    }
    let stops = given("stopSequences").and_then(Value::as_array);
    if stops.is_some_and(|stops| stops.len() > MAX_STOPS) {
        return Err(invalid("generation_config.stop_sequences", "only up to 5 stop sequences are allowed"));
    }
    if stops.is_some_and(|stops| stops.iter().any(|stop| stop == "")) {
        return Err(invalid("generation_config.stop_sequences", "stop sequence must not be empty"));
    }
    if given("logprobs").is_some() && config.get("responseLogprobs").is_none_or(|wanted| wanted == false) {
        return Err(Refusal::bad_request("Logprobs requires response_logprobs to be true."));
    }
    Ok(())
}

fn read_structure(config: &Value) -> Result<Structure, Refusal> {
    let given = |name: &str| config.get(name).filter(|value| !value.is_null());
    let kind = given("responseMimeType").and_then(Value::as_str).unwrap_or("text/plain");
    if !["text/plain", "application/json", "text/x.enum"].contains(&kind) {
        let what = "allowed mimetypes are `text/plain`, `application/json`, `application/xml`, `application/yaml` and `text/x.enum`.";
        return Err(invalid("generation_config.response_mime_type", what));
    }
    let schema = match (given("responseSchema"), given("responseJsonSchema")) {
        (Some(_), Some(_)) => return Err(Refusal::bad_request("Only one of response_schema and response_json_schema can be set.")),
        (Some(schema), None) => Some(schema),
        (None, Some(schema)) if has_key(schema, "const") => {
            return Err(invalid("generation_config.response_json_schema", "`const` is not supported, use `enum`"));
        }
        (None, schema) => schema,
    };
    match (kind, schema) {
        ("text/plain", Some(_)) => {
            Err(Refusal::bad_request("Response schema is only supported for response mime type: `application/json`"))
        }
        (_, Some(schema)) => Ok(Structure::Schema(schema.clone())),
        ("application/json", None) => Ok(Structure::Json),
        _ => Ok(Structure::Free),
    }
}

fn has_key(value: &Value, key: &str) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(name, value)| name == key || has_key(value, key)),
        Value::Array(values) => values.iter().any(|value| has_key(value, key)),
        _ => false,
    }
}

fn read_thinking(context: &Context<'_>, config: &Value) -> Result<(Thinking, bool), Refusal> {
    let family = context.persona.family;
    let Some(thinking) = config.get("thinkingConfig").filter(|thinking| !thinking.is_null()) else { return Ok((Thinking::Unsaid, false)) };
    let budget = thinking.get("thinkingBudget").and_then(Value::as_i64);
    let level = thinking.get("thinkingLevel").and_then(Value::as_str);
    let shows = thinking.get("includeThoughts").is_some_and(|shows| *shows == true);
    if !family.reasons && (shows || level.is_some() || budget.is_some_and(|budget| budget != 0)) {
        return Err(Refusal::bad_request("Thinking is not enabled for this model"));
    }
    match (budget, level) {
        (Some(_), Some(_)) => Err(Refusal::bad_request("You can only set only one of thinking budget and thinking level.")),
        (_, Some(_)) if !family.takes_levels => Err(Refusal::bad_request("Thinking level is not supported for this model.")),
        (Some(0), _) if !family.takes_thinking_off => {
            Err(Refusal::bad_request("Budget 0 is invalid. This model only works in thinking mode."))
        }
        (Some(budget), _) if budget < -1 => Err(Refusal::bad_request("The thinking budget is invalid.")),
        (Some(0), _) => Ok((Thinking::Off, shows)),
        (None, None) if !shows => Ok((Thinking::Unsaid, shows)),
        _ => Ok((Thinking::On, shows)),
    }
}

fn read_tools(context: &Context<'_>, body: &Value) -> Result<Vec<Tool>, Refusal> {
    let mut tools: Vec<Tool> = Vec::new();
    for (index, tool) in body.get("tools").and_then(Value::as_array).into_iter().flatten().enumerate() {
        for (number, declared) in tool.get("functionDeclarations").and_then(Value::as_array).into_iter().flatten().enumerate() {
            let place = format!("tools[{index}].function_declarations[{number}]");
            let name = declared.get("name").and_then(Value::as_str).unwrap_or_default();
            check_name(name, &format!("{place}.name"))?;
            if tools.iter().any(|tool| tool.name == name) {
                return Err(Refusal::bad_request(format!("Duplicate function declaration found: {name}")));
            }
            let given = |field: &str| declared.get(field).filter(|schema| !schema.is_null());
            let schema = match (given("parameters"), given("parametersJsonSchema")) {
                (Some(_), Some(_)) => return Err(invalid(&place, "only one of parameters and parameters_json_schema can be set")),
                (Some(schema), None) => {
                    check_properties(schema, &format!("{place}.parameters"))?;
                    Some(schema)
                }
                (None, schema) => schema,
            };
            tools.push(Tool { name: name.to_owned(), schema: schema.cloned().unwrap_or_default(), takes_text: false });
        }
    }
    if !tools.is_empty() && !context.persona.family.takes_tools {
        return Err(Refusal::bad_request(format!("Function calling is not enabled for models/{}", context.persona.family.name)));
    }
    Ok(tools)
}

fn check_name(name: &str, place: &str) -> Result<(), Refusal> {
    let begins = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
    let fits = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte));
    if begins && fits && name.len() <= MAX_NAME_LETTERS {
        return Ok(());
    }
    Err(invalid(
        place,
        "Invalid function name. Must start with a letter or an underscore. Must be alphameric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of 64.",
    ))
}

/// Objects of Google's own schemas must have properties, and lists must say of what.
fn check_properties(schema: &Value, place: &str) -> Result<(), Refusal> {
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    let properties = schema.get("properties").and_then(Value::as_object);
    if kind.eq_ignore_ascii_case("object") && properties.is_none_or(Map::is_empty) {
        return Err(invalid(&format!("{place}.properties"), "should be non-empty for OBJECT type"));
    }
    if kind.eq_ignore_ascii_case("array") && schema.get("items").is_none_or(Value::is_null) {
        return Err(invalid(&format!("{place}.items"), "missing field."));
    }
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if properties.is_none_or(|properties| !properties.contains_key(name)) {
            return Err(invalid(&format!("{place}.required"), &format!("property is not defined: {name}")));
        }
    }
    for (name, property) in properties.into_iter().flatten() {
        check_properties(property, &format!("{place}.properties[{name}]"))?;
    }
    schema.get("items").map_or(Ok(()), |items| check_properties(items, &format!("{place}.items")))
}

fn read_choice(context: &Context<'_>, body: &Value, tools: &[Tool]) -> Result<ToolChoice, Refusal> {
    let Some(calling) = body.pointer("/toolConfig/functionCallingConfig").filter(|calling| !calling.is_null()) else {
        return Ok(ToolChoice::Auto);
    };
    let mode = calling.get("mode").and_then(Value::as_str).unwrap_or("AUTO");
    let allowed: Vec<&str> =
        calling.get("allowedFunctionNames").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if !allowed.is_empty() && !["ANY", "VALIDATED"].contains(&mode) {
        return Err(Refusal::bad_request("Allowed function names should only be set when function calling mode is ANY or VALIDATED."));
    }
    if let Some(stranger) = allowed.iter().find(|name| tools.iter().all(|tool| tool.name != **name)) {
        return Err(Refusal::bad_request(format!("Allowed function name {stranger} is not in the function declarations.")));
    }
    match (mode, allowed.first()) {
        ("ANY", _) if tools.is_empty() => Err(Refusal::bad_request("Function calling config is set without function_declarations.")),
        ("ANY", _) if !context.persona.family.takes_forced_tools => {
            Err(Refusal::bad_request("Forced function calling (mode = ANY) is not supported for this model."))
        }
        ("ANY", Some(name)) => Ok(ToolChoice::Named((*name).to_owned())),
        ("ANY", None) => Ok(ToolChoice::Any),
        ("NONE", _) => Ok(ToolChoice::None),
        _ => Ok(ToolChoice::Auto),
    }
}

/// What a walk over the contents finds.
struct Walk {
    transcript: Transcript,
    last_user_text: String,
    last_tool_result: Option<String>,
}

fn walk(context: &Context<'_>, body: &Value) -> Result<Walk, Refusal> {
    let mut walk = Walk { transcript: Transcript::new(), last_user_text: String::new(), last_tool_result: None };
    if let Some(system) = body.get("systemInstruction").filter(|system| !system.is_null()) {
        if !context.persona.family.takes_system {
            return Err(Refusal::bad_request(format!("Developer instruction is not enabled for models/{}", context.persona.family.name)));
        }
        walk.transcript.message("system");
        read_parts(context, system, "system_instruction", &mut walk.transcript)?;
    }
    for tool in body.get("tools").and_then(Value::as_array).into_iter().flatten() {
        walk.transcript.message("tool");
        walk.transcript.text(&tool.to_string());
        walk.transcript.end_block(tool, None);
    }
    let contents = body.get("contents").and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
    if contents.is_empty() {
        return Err(invalid("contents", "contents is not specified"));
    }
    check_turns(contents)?;
    check_steps(context, contents)?;
    for (index, content) in contents.iter().enumerate() {
        let role = content.get("role").and_then(Value::as_str).unwrap_or("user");
        if !["user", "model"].contains(&role) {
            return Err(Refusal::bad_request("Please use a valid role: user, model.").param(format!("contents[{index}].role")));
        }
        walk.transcript.message(role);
        let said = read_parts(context, content, &format!("contents[{index}]"), &mut walk.transcript)?;
        walk.last_tool_result = said.result;
        if role == "user" && walk.last_tool_result.is_none() {
            walk.last_user_text = said.text;
        }
    }
    Ok(walk)
}

struct Said {
    text: String,
    result: Option<String>,
}

fn read_parts(context: &Context<'_>, content: &Value, place: &str, transcript: &mut Transcript) -> Result<Said, Refusal> {
    let parts = parts(content);
    if parts.is_empty() {
        return Err(invalid(&format!("{place}.parts"), "contents.parts must not be empty."));
    }
    let mut said = Said { text: String::new(), result: None };
    for (index, part) in parts.iter().enumerate() {
        let place = format!("{place}.parts[{index}]");
        let data: Vec<&str> = DATA.iter().filter(|name| part.get(**name).is_some_and(|data| !data.is_null())).copied().collect();
        let [kind] = data.as_slice() else {
            let what = "required oneof field 'data' must have one initialized field";
            return Err(invalid(&format!("{place}.data"), what));
        };
        check_signature(context, part, kind)?;
        let data = part.get(*kind).unwrap_or(&Value::Null);
        let field = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
        match *kind {
            "text" => {
                let text = data.as_str().unwrap_or_default();
                transcript.text(text);
                if part.get("thought") != Some(&Value::Bool(true)) {
                    said.text.push_str(text);
                }
            }
            "functionCall" => {
                check_name(field("name"), &format!("{place}.function_call.name"))?;
                transcript.text(field("name"));
                transcript.text(&data.get("args").map(Value::to_string).unwrap_or_default());
            }
            "functionResponse" => {
                if field("name").is_empty() {
                    return Err(invalid(&format!("{place}.function_response.name"), "Name cannot be empty."));
                }
                let Some(response) = data.get("response").filter(|response| response.is_object()) else {
                    return Err(invalid(&format!("{place}.function_response.response"), "required field is not set"));
                };
                let text = result_text(response);
                transcript.text(&text);
                said.result = Some(said.result.take().unwrap_or_default() + &text);
                for media in data.get("parts").and_then(Value::as_array).into_iter().flatten() {
                    read_media(media.get("inlineData").or_else(|| media.get("fileData")).unwrap_or(&Value::Null), &place, transcript)?;
                }
            }
            "inlineData" | "fileData" => read_media(data, &place, transcript)?,
            _ => {}
        }
        transcript.end_block(part, None);
    }
    Ok(said)
}

/// What a function has answered: its `output` or `result` where there is one, else all of it.
fn result_text(response: &Value) -> String {
    let plain = ["output", "result", "content"].into_iter().find_map(|name| response.get(name));
    match plain.unwrap_or(response) {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn read_media(data: &Value, place: &str, transcript: &mut Transcript) -> Result<(), Refusal> {
    let kind = data.get("mimeType").and_then(Value::as_str).unwrap_or_default();
    if let Some(bytes) = data.get("data").and_then(Value::as_str) {
        if kind.is_empty() {
            return Err(invalid(&format!("{place}.inline_data.mime_type"), "mime_type is required"));
        }
        if base64::decode(bytes).is_none() {
            return Err(Refusal::bad_request(format!("Invalid value at '{place}.inline_data.data' (TYPE_BYTES), Base64 decoding failed")));
        }
    } else if data.get("fileUri").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err(invalid(&format!("{place}.data"), "neither data nor file_uri is set"));
    }
    match kind.split('/').next().unwrap_or_default() {
        "image" => transcript.image(),
        "audio" | "video" => transcript.clip(),
        "application" | "text" | "" => transcript.document(),
        _ => return Err(Refusal::bad_request(format!("Unsupported MIME type: {kind}"))),
    }
    Ok(())
}

fn parts(content: &Value) -> &[Value] {
    content.get("parts").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn count(content: &Value, kind: &str) -> usize {
    parts(content).iter().filter(|part| part.get(kind).is_some_and(Value::is_object)).count()
}

/// Calls follow the user or results, results follow calls, and there are as many of both.
fn check_turns(contents: &[Value]) -> Result<(), Refusal> {
    let role = |content: &Value| content.get("role").and_then(Value::as_str).unwrap_or("user").to_owned();
    for (index, content) in contents.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| contents.get(before));
        if count(content, "functionCall") > 0 && before.is_none_or(|before| role(before) == "model") {
            let message = "Please ensure that function call turn comes immediately after a user turn or after a function response turn.";
            return Err(Refusal::bad_request(message));
        }
        let calls = before.map_or(0, |before| count(before, "functionCall"));
        let results = count(content, "functionResponse");
        if results > 0 && calls == 0 {
            return Err(Refusal::bad_request("Please ensure that function response turn comes immediately after a function call turn."));
        }
        if results != calls {
            let message = "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.";
            return Err(Refusal::bad_request(message));
        }
    }
    Ok(())
}

/// In the turn that goes on, the first call of every step must be signed.
fn check_steps(context: &Context<'_>, contents: &[Value]) -> Result<(), Refusal> {
    if !context.persona.family.demands_signatures {
        return Ok(());
    }
    let is_user = |content: &Value| content.get("role").is_none_or(|role| role != "model") && count(content, "functionResponse") == 0;
    let start = contents.iter().rposition(is_user).unwrap_or(0);
    for (index, content) in contents.iter().enumerate().skip(start) {
        let call = parts(content).iter().find(|part| part.get("functionCall").is_some_and(Value::is_object));
        let Some(call) = call.filter(|part| part.get("thoughtSignature").and_then(Value::as_str).is_none_or(str::is_empty)) else {
            continue;
        };
        let name = call.pointer("/functionCall/name").and_then(Value::as_str).unwrap_or_default();
        return Err(Refusal::bad_request(format!(
            "Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, and missing thought_signature may lead to degraded model performance. Additional data, function call `default_api:{name}` , position {}. Please refer to https://ai.google.dev/gemini-api/docs/thought-signatures for more details.",
            index + 1
        )));
    }
    Ok(())
}

fn check_signature(context: &Context<'_>, part: &Value, kind: &str) -> Result<(), Refusal> {
    let Some(signature) = part.get("thoughtSignature").and_then(Value::as_str).filter(|signature| !signature.is_empty()) else {
        return Ok(());
    };
    let decoded = base64::decode(signature).unwrap_or_default();
    if SKIP_VALIDATION.iter().any(|skip| *skip == signature || skip.as_bytes() == decoded) {
        return Ok(());
    }
    let over = match kind {
        "functionCall" => signed_call(part.pointer("/functionCall/name").and_then(Value::as_str).unwrap_or_default()),
        _ => SIGNED_TEXT.to_owned(),
    };
    context.check_seal(signature, Some(&over), 0).map_err(|_| Refusal::bad_request("Thought signature is not valid."))
}
