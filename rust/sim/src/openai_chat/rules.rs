//! What a chat completion must be where it is judged, and what it asks for.

use super::shapes::REQUEST;
use crate::ask::{Ask, Structure, Thinking, Tool, ToolChoice, Tools, Transcript};
use crate::cache::{Lifetime, Policy};
use crate::context::Context;
use crate::family::{Host, ReasoningPlace};
use crate::openai::{
    check, check_length, check_metadata, check_name, check_range, check_sampling, check_strict_schema, invalid, speaks_of_json, unsupported,
};
use crate::reply::Refusal;
use serde_json::Value;
use std::borrow::Cow;

const MAX_BREAKPOINTS: usize = 4;
const MAX_CALL_ID_LETTERS: usize = 40;
const MAX_STOPS: usize = 4;

/// Judges `body`, and reads what it asks for.
pub(crate) fn read(context: &Context<'_>, body: &Value) -> Result<Ask<'static>, Refusal> {
    let family = context.persona.family;
    // Hosts have parameters of their own, which nobody lists.
    if !family.takes_unknown_fields {
        check(body, &REQUEST).map_err(unrecognized)?;
    }
    check_figures(context, body)?;
    let tools = read_tools(context, body)?;
    let tool_choice = read_choice(body, &tools)?;
    let structure = read_structure(body)?;
    let walk = walk(context, body, !tools.is_empty())?;
    let number = |name: &str| body.get(name).and_then(Value::as_u64).map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    let is = |name: &str, wanted: bool| body.get(name).is_some_and(|value| *value == wanted);
    let key = body.get("prompt_cache_key").and_then(Value::as_str).unwrap_or_default();
    let explicit = walk.transcript.marks() > 0 || body.pointer("/prompt_cache_options/mode").is_some_and(|mode| mode == "explicit");
    Ok(Ask {
        prompt_tokens: walk.transcript.tokens(),
        last_user_text: Cow::Owned(walk.last_user_text),
        last_tool_result: walk.last_tool_result,
        tools: Tools::Read(tools),
        tool_choice,
        single_call: is("parallel_tool_calls", false),
        max_tokens: number("max_completion_tokens").or(number("max_tokens")),
        stops: stops(body).into_iter().map(str::to_owned).collect(),
        choices: number("n").unwrap_or(1),
        logprobs: is("logprobs", true).then(|| number("top_logprobs").unwrap_or(0)),
        structure,
        thinking: thinking(family.host, body),
        shows_thoughts: true,
        prefix: walk.transcript.prefix(),
        cache: context.cache(&walk.transcript, if explicit { Policy::Marked } else { Policy::Implicit }, key),
        media: walk.transcript.media,
        ..Ask::default()
    })
}

/// What is wished about thinking, in OpenAI's word or, where the host is OpenRouter, in its object.
fn thinking(host: &Host, body: &Value) -> Thinking {
    let wish = body.get("reasoning").filter(|_| host.reasoning == ReasoningPlace::Details);
    let inner = |name: &str| wish.and_then(|wish| wish.get(name));
    match body.get("reasoning_effort").or_else(|| inner("effort")).and_then(Value::as_str) {
        Some("none") => Thinking::Off,
        Some(_) => Thinking::On,
        None => match (inner("enabled").and_then(Value::as_bool), inner("max_tokens").and_then(Value::as_u64)) {
            (Some(false), _) => Thinking::Off,
            (Some(true), _) | (None, Some(1..)) => Thinking::On,
            (None, _) => Thinking::Unsaid,
        },
    }
}

/// Chat completions have words of their own for an unknown field at the top.
fn unrecognized(refusal: Refusal) -> Refusal {
    match (&refusal.param, refusal.code) {
        (Some(place), Some("unknown_parameter")) if !place.contains(['.', '[']) => {
            Refusal::bad_request(format!("Unrecognized request argument supplied: {place}"))
        }
        _ => refusal,
    }
}

fn stops(body: &Value) -> Vec<&str> {
    match body.get("stop") {
        Some(Value::String(stop)) => vec![stop.as_str()],
        Some(Value::Array(stops)) => stops.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn check_figures(context: &Context<'_>, body: &Value) -> Result<(), Refusal> {
    let family = context.persona.family;
    let given = |name: &str| body.get(name).is_some_and(|value| !value.is_null());
    let sampling = [("temperature", 1.0), ("top_p", 1.0), ("presence_penalty", 0.0), ("frequency_penalty", 0.0)];
    check_sampling(body, family, &sampling)?;
    check_range(body, "temperature", 0.0, 2.0)?;
    check_range(body, "top_p", 0.0, 1.0)?;
    check_range(body, "presence_penalty", -2.0, 2.0)?;
    check_range(body, "frequency_penalty", -2.0, 2.0)?;
    check_range(body, "top_logprobs", 0.0, 20.0)?;
    check_metadata(body)?;
    if !family.takes_sampling && given("logit_bias") {
        return Err(unsupported("logit_bias"));
    }
    if !family.takes_max_tokens && given("max_tokens") {
        let message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
        return Err(Refusal::bad_request(message).param("max_tokens").code("unsupported_parameter"));
    }
    if !family.takes_stops && !stops(body).is_empty() {
        return Err(unsupported("stop"));
    }
    if stops(body).len() > MAX_STOPS {
        let what = format!(
            "array too long. Expected an array with maximum length {MAX_STOPS}, but got an array with length {} instead.",
            stops(body).len()
        );
        return Err(invalid("stop", &what, "array_above_max_length"));
    }
    if given("top_logprobs") && body.get("logprobs") != Some(&Value::Bool(true)) {
        return Err(Refusal::bad_request("Invalid value for 'top_logprobs': must be used with 'logprobs'.").param("top_logprobs"));
    }
    if !family.reasons && given("reasoning_effort") {
        return Err(Refusal::bad_request("Unrecognized request argument supplied: reasoning_effort"));
    }
    Ok(())
}

fn read_tools(context: &Context<'_>, body: &Value) -> Result<Vec<Tool>, Refusal> {
    let family = context.persona.family;
    let Some(listed) = body.get("tools").and_then(Value::as_array) else {
        // Neither has a meaning without tools.
        let stray = ["tool_choice", "parallel_tool_calls"]
            .into_iter()
            .find(|name| body.get(*name).is_some_and(|value| !value.is_null() && value != "none"));
        return match stray {
            Some(name) => {
                Err(Refusal::bad_request(format!("Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified."))
                    .param(name))
            }
            None => Ok(Vec::new()),
        };
    };
    if listed.is_empty() {
        let what = "empty array. Expected an array with minimum length 1, but got an empty array instead.";
        return Err(invalid("tools", what, "empty_array"));
    }
    if !family.takes_tools {
        return Err(Refusal::bad_request("tools is not supported in this model.").param("tools"));
    }
    let mut tools = Vec::new();
    for (index, offered) in listed.iter().enumerate() {
        let kind = if offered.get("custom").is_some() { "custom" } else { "function" };
        let Some(tool) = Tool::read(offered.clone()) else { continue };
        check_name(&tool.name, &format!("tools[{index}].{kind}.name"))?;
        if offered.pointer("/function/strict").is_some_and(|strict| *strict == true) && !tool.schema.is_null() {
            check_strict_schema(&tool.schema, &format!("function '{}'", tool.name), &format!("tools[{index}].function.parameters"))?;
        }
        tools.push(tool);
    }
    let effort = body.get("reasoning_effort").and_then(Value::as_str);
    if !family.takes_tools_with_effort && effort != Some("none") {
        let message = "Function tools with reasoning_effort are not supported for this model in /v1/chat/completions. Please use /v1/responses instead.";
        return Err(Refusal::bad_request(message).param("reasoning_effort"));
    }
    Ok(tools)
}

fn read_choice(body: &Value, tools: &[Tool]) -> Result<ToolChoice, Refusal> {
    let Some(choice) = body.get("tool_choice").filter(|choice| !choice.is_null()) else { return Ok(ToolChoice::Auto) };
    let kind = choice.as_str().or_else(|| choice.get("type")?.as_str()).unwrap_or_default();
    let named =
        |value: &Value| ["function", "custom"].into_iter().find_map(|kind| value.get(kind)?.get("name")?.as_str().map(str::to_owned));
    match kind {
        "none" => Ok(ToolChoice::None),
        "required" => Ok(ToolChoice::Any),
        "function" | "custom" => {
            let name = named(choice).ok_or_else(|| {
                let place = format!("tool_choice.{kind}");
                Refusal::bad_request(format!("Missing required parameter: '{place}'.")).param(place).code("missing_required_parameter")
            })?;
            if tools.iter().any(|tool| tool.name == name) {
                return Ok(ToolChoice::Named(name));
            }
            Err(Refusal::bad_request(format!(
                "Invalid value for 'tool_choice': no function named {name} was specified in the 'tools' parameter."
            ))
            .param("tool_choice"))
        }
        "allowed_tools" => {
            let allowed = choice.pointer("/allowed_tools/tools/0").and_then(named);
            let required = choice.pointer("/allowed_tools/mode").is_some_and(|mode| mode == "required");
            Ok(allowed.filter(|_| required).map_or(ToolChoice::Auto, ToolChoice::Named))
        }
        _ => Ok(ToolChoice::Auto),
    }
}

fn read_structure(body: &Value) -> Result<Structure, Refusal> {
    let format = body.get("response_format");
    match format.and_then(|format| format.get("type")).and_then(Value::as_str) {
        Some("json_object") if body.get("messages").is_some_and(speaks_of_json) => Ok(Structure::Json),
        Some("json_object") => {
            let message = "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.";
            Err(Refusal::bad_request(message).param("messages"))
        }
        Some("json_schema") => {
            let given = |name: &str| format.and_then(|format| format.get("json_schema")?.get(name));
            let name = given("name").and_then(Value::as_str).unwrap_or_default();
            check_name(name, "response_format.json_schema.name")?;
            let Some(schema) = given("schema") else { return Ok(Structure::Json) };
            if given("strict").is_some_and(|strict| *strict == true) {
                check_strict_schema(schema, &format!("response_format '{name}'"), "response_format")?;
            }
            Ok(Structure::Schema(schema.clone()))
        }
        _ => Ok(Structure::Free),
    }
}

/// What a walk over the messages finds.
struct Walk {
    transcript: Transcript,
    last_user_text: String,
    last_tool_result: Option<String>,
}

fn walk(context: &Context<'_>, body: &Value, has_tools: bool) -> Result<Walk, Refusal> {
    let mut walk = Walk { transcript: Transcript::new(), last_user_text: String::new(), last_tool_result: None };
    for tool in body.get("tools").and_then(Value::as_array).into_iter().flatten() {
        walk.transcript.message("tool");
        walk.transcript.text(&tool.to_string());
        walk.transcript.end_block(tool, None);
    }
    let messages = body.get("messages").and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
    check_calls(messages)?;
    for (index, message) in messages.iter().enumerate() {
        let field = |name: &str| message.get(name).filter(|value| !value.is_null());
        let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
        walk.transcript.message(role);
        let text = read_content(field("content"), index, &mut walk.transcript)?;
        if role == "assistant" {
            let says = ["content", "tool_calls", "function_call", "audio", "refusal"].into_iter().any(|name| field(name).is_some());
            if !says {
                let message = "Invalid value for 'content': expected a string, got null.";
                return Err(Refusal::bad_request(message).param(format!("messages[{index}].content")));
            }
            if context.persona.family.demands_reasoning && has_tools && field("reasoning_content").is_none() {
                return Err(Refusal::bad_request(format!(
                    "Missing `reasoning_content` field in the assistant message at message index {index}"
                )));
            }
        }
        for call in field("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            let called = call.get("function").or_else(|| call.get("custom")).unwrap_or(&Value::Null);
            for name in ["name", "arguments", "input"] {
                walk.transcript.text(called.get(name).and_then(Value::as_str).unwrap_or_default());
            }
            walk.transcript.end_block(call, None);
        }
        walk.last_tool_result = (role == "tool" || role == "function").then(|| text.clone());
        if role == "user" {
            walk.last_user_text = text;
        }
    }
    if walk.transcript.marks() > MAX_BREAKPOINTS {
        return Err(Refusal::bad_request(format!("At most {MAX_BREAKPOINTS} prompt cache breakpoints may be set.")).param("messages"));
    }
    Ok(walk)
}

fn read_content(content: Option<&Value>, index: usize, transcript: &mut Transcript) -> Result<String, Refusal> {
    match content {
        Some(Value::String(text)) => {
            transcript.text(text);
            transcript.end_block(&Value::from(text.as_str()), None);
            Ok(text.clone())
        }
        Some(Value::Array(parts)) => {
            let mut text = String::new();
            for (number, part) in parts.iter().enumerate() {
                text.push_str(read_part(part, &format!("messages[{index}].content[{number}]"), transcript)?);
            }
            Ok(text)
        }
        _ => Ok(String::new()),
    }
}

fn read_part<'p>(part: &'p Value, place: &str, transcript: &mut Transcript) -> Result<&'p str, Refusal> {
    let mut text = "";
    match part.get("type").and_then(Value::as_str) {
        Some("image_url") => {
            let url = part.pointer("/image_url/url").and_then(Value::as_str).unwrap_or_default();
            if !["data:image/", "http://", "https://"].iter().any(|start| url.starts_with(start)) {
                let place = format!("{place}.image_url.url");
                let what = "Expected a base64-encoded data URL with an image MIME type (e.g. 'data:image/png;base64,aW1nIGJ5dGVzIGhlcmU='), or an http(s) URL.";
                return Err(invalid(&place, what, "invalid_value"));
            }
            transcript.image();
        }
        Some("file") => transcript.document(),
        Some("input_audio") => transcript.clip(),
        _ => {
            text = ["text", "refusal"].into_iter().find_map(|name| part.get(name)?.as_str()).unwrap_or_default();
            transcript.text(text);
        }
    }
    let mark = part.get("prompt_cache_breakpoint").filter(|mark| !mark.is_null());
    let lifetime = mark.map(|mark| if mark.get("ttl").is_some_and(|ttl| ttl == "12h") { Lifetime::Long } else { Lifetime::Short });
    transcript.end_block(part, lifetime);
    Ok(text)
}

/// Results follow the message with their calls, all of them.
fn check_calls(messages: &[Value]) -> Result<(), Refusal> {
    let mut open: Vec<&str> = Vec::new();
    let mut caller = 0;
    for (index, message) in messages.iter().enumerate() {
        let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
        if role == "tool" {
            let id = message.get("tool_call_id").and_then(Value::as_str).unwrap_or_default();
            let Some(position) = open.iter().position(|known| *known == id) else {
                let message = "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.";
                return Err(Refusal::bad_request(message).param(format!("messages.[{index}].role")));
            };
            open.remove(position);
            continue;
        }
        all_answered(&open, caller)?;
        caller = index;
        for (number, call) in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten().enumerate() {
            let id = call.get("id").and_then(Value::as_str).unwrap_or_default();
            check_length(id, MAX_CALL_ID_LETTERS, &format!("messages[{index}].tool_calls[{number}].id"))?;
            if open.contains(&id) {
                return Err(
                    Refusal::bad_request(format!("Duplicate value for 'tool_call_id' of '{id}' in message[{index}].")).param("messages")
                );
            }
            open.push(id);
        }
    }
    all_answered(&open, caller)
}

fn all_answered(open: &[&str], caller: usize) -> Result<(), Refusal> {
    if open.is_empty() {
        return Ok(());
    }
    let message = format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: {}",
        open.join(", ")
    );
    Err(Refusal::bad_request(message).param(format!("messages.[{caller}].role")))
}
