//! What a request for a response must be, and what it asks for.

use super::shapes::REQUEST;
use super::store::input_items;
use crate::Shared;
use crate::ask::{Ask, Structure, Thinking, Tool, ToolChoice, Tools, Transcript};
use crate::cache::{Lifetime, Policy};
use crate::context::Context;
use crate::intake::find;
use crate::ledger::Dialect;
use crate::openai::{
    check, check_length, check_metadata, check_name, check_range, check_sampling, check_strict_schema, invalid, listed, speaks_of_json,
    unsupported,
};
use crate::reply::Refusal;
use crate::request::Request;
use crate::seal::Broken;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashSet;

const MAX_BREAKPOINTS: usize = 4;
const MAX_ID_LETTERS: usize = 64;
const MIN_OUTPUT_TOKENS: f64 = 16.0;

/// Judges `body`, and reads what it asks for.
pub(crate) fn read(context: &Context<'_>, body: &Value) -> Result<Ask<'static>, Refusal> {
    check(body, &REQUEST)?;
    let family = context.persona.family;
    check_figures(context, body)?;
    let tools = read_tools(body)?;
    let structure = read_structure(body)?;
    let reasoning = body.get("reasoning").filter(|reasoning| !reasoning.is_null());
    let asked = reasoning.and_then(Value::as_object).into_iter().flatten().find(|(_, value)| !value.is_null());
    if let (false, Some((name, _))) = (family.reasons, asked) {
        return Err(unsupported(&format!("reasoning.{name}")));
    }
    let includes =
        |name: &str| body.get("include").and_then(Value::as_array).is_some_and(|include| include.iter().any(|value| value == name));
    if includes("reasoning.encrypted_content") && !family.reasons {
        return Err(Refusal::bad_request("Encrypted content is not supported with this model.").param("include"));
    }
    let items = conversation(context, body)?;
    let walk = walk(context, body, &items)?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let effort = text(reasoning.and_then(|reasoning| reasoning.get("effort")));
    let key = text(body.get("prompt_cache_key")).unwrap_or_default();
    let explicit = walk.transcript.marks() > 0 || body.pointer("/prompt_cache_options/mode").is_some_and(|mode| mode == "explicit");
    let policy = if explicit { Policy::Marked } else { Policy::Implicit };
    let single_call = body.get("parallel_tool_calls").is_some_and(|parallel| parallel == false);
    let logprobs = includes("message.output_text.logprobs").then(|| body.get("top_logprobs").and_then(Value::as_u64).unwrap_or(0));
    Ok(Ask {
        prompt_tokens: walk.transcript.tokens(),
        last_user_text: Cow::Owned(walk.last_user_text),
        last_tool_result: walk.last_tool_result,
        tool_choice: read_choice(body, &tools)?,
        tools: Tools::Read(tools),
        single_call,
        max_tokens: body.get("max_output_tokens").and_then(Value::as_u64).map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
        logprobs: logprobs.map(|top| u32::try_from(top).unwrap_or(0)),
        structure,
        thinking: match effort.as_deref() {
            None => Thinking::Unsaid,
            Some("none") => Thinking::Off,
            Some(_) => Thinking::On,
        },
        shows_thoughts: reasoning
            .is_some_and(|reasoning| ["summary", "generate_summary"].iter().any(|name| reasoning.get(name).is_some_and(Value::is_string))),
        shows_seals: includes("reasoning.encrypted_content"),
        prefix: walk.transcript.prefix(),
        cache: context.cache(&walk.transcript, policy, &key),
        media: walk.transcript.media,
        ..Ask::default()
    })
}

/// The tokens of a prompt that is only to be counted.
pub(super) fn count(shared: &Shared, request: &Request, credential: String, body: &Value) -> Result<u64, Refusal> {
    let dialect = Dialect::OpenaiResponses;
    check(body, &REQUEST)?;
    let persona = find(body.get("model").and_then(Value::as_str).unwrap_or_default(), dialect)?;
    let context = Context { shared, request, dialect, persona, credential };
    read_tools(body)?;
    let items = conversation(&context, body)?;
    Ok(walk(&context, body, &items)?.transcript.tokens())
}

fn check_figures(context: &Context<'_>, body: &Value) -> Result<(), Refusal> {
    let family = context.persona.family;
    check_sampling(body, family, &[("temperature", 1.0), ("top_p", 1.0)])?;
    check_range(body, "temperature", 0.0, 2.0)?;
    check_range(body, "top_p", 0.0, 1.0)?;
    check_range(body, "top_logprobs", 0.0, 20.0)?;
    check_range(body, "max_output_tokens", MIN_OUTPUT_TOKENS, f64::MAX)?;
    check_metadata(body)?;
    check_length(body.get("safety_identifier").and_then(Value::as_str).unwrap_or_default(), 64, "safety_identifier")?;
    check_length(body.get("prompt_cache_key").and_then(Value::as_str).unwrap_or_default(), 64, "prompt_cache_key")?;
    if body.get("background").is_some_and(|background| background == true) {
        return Err(Refusal::bad_request("Background responses are not available here.").param("background"));
    }
    if body.get("stream_options").is_some_and(Value::is_object) && body.get("stream") != Some(&Value::Bool(true)) {
        return Err(
            Refusal::bad_request("The 'stream_options' parameter is only allowed when 'stream' is enabled.").param("stream_options")
        );
    }
    let given = |name: &str| body.get(name).is_some_and(|value| !value.is_null());
    if given("previous_response_id") && given("conversation") {
        return Err(Refusal::bad_request("Mutually exclusive parameters: 'previous_response_id' and 'conversation'.")
            .code("mutually_exclusive_parameters"));
    }
    if !["input", "previous_response_id", "prompt", "conversation"].into_iter().any(given) {
        let message = "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation' must be provided.";
        return Err(Refusal::bad_request(message).param("input").code("missing_required_parameter"));
    }
    Ok(())
}

fn read_tools(body: &Value) -> Result<Vec<Tool>, Refusal> {
    let mut tools: Vec<Tool> = Vec::new();
    for (index, offered) in body.get("tools").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let Some(name) = offered.get("name").and_then(Value::as_str) else { continue };
        check_name(name, &format!("tools[{index}].name"))?;
        if tools.iter().any(|tool| tool.name == name) {
            return Err(Refusal::bad_request(format!("Duplicate tool name: '{name}'.")).param("tools"));
        }
        let schema = offered.get("parameters").filter(|schema| !schema.is_null());
        if let (Some(schema), true) = (schema, offered.get("strict").is_some_and(|strict| strict == true)) {
            check_strict_schema(schema, &format!("function '{name}'"), &format!("tools[{index}].parameters"))?;
        }
        tools.extend(Tool::read(offered.clone()));
    }
    Ok(tools)
}

fn read_choice(body: &Value, tools: &[Tool]) -> Result<ToolChoice, Refusal> {
    let Some(choice) = body.get("tool_choice").filter(|choice| !choice.is_null()) else { return Ok(ToolChoice::Auto) };
    let kind = choice.as_str().or_else(|| choice.get("type")?.as_str()).unwrap_or_default();
    let name = choice.get("name").and_then(Value::as_str);
    if tools.is_empty() && kind == "required" {
        return Err(Refusal::bad_request("Tool choice 'required' must be specified with 'tools' parameter.").param("tool_choice"));
    }
    match (kind, name) {
        ("none", _) => Ok(ToolChoice::None),
        ("required", _) => Ok(ToolChoice::Any),
        ("function" | "custom", Some(name)) if tools.iter().any(|tool| tool.name == name) => Ok(ToolChoice::Named(name.to_owned())),
        ("function" | "custom", Some(_)) => {
            Err(Refusal::bad_request(format!("Tool choice '{kind}' not found in 'tools' parameter.")).param("tool_choice"))
        }
        ("function" | "custom", None) => Err(Refusal::bad_request("Missing required parameter: 'tool_choice.name'.")
            .param("tool_choice.name")
            .code("missing_required_parameter")),
        ("allowed_tools", _) => {
            let allowed = choice.get("tools").and_then(Value::as_array).and_then(|tools| tools.first()).and_then(|tool| tool.get("name"));
            let required = choice.get("mode").is_some_and(|mode| mode == "required");
            Ok(match allowed.and_then(Value::as_str) {
                Some(name) if required => ToolChoice::Named(name.to_owned()),
                _ => ToolChoice::Auto,
            })
        }
        _ => Ok(ToolChoice::Auto),
    }
}

fn read_structure(body: &Value) -> Result<Structure, Refusal> {
    let Some(format) = body.pointer("/text/format").filter(|format| !format.is_null()) else { return Ok(Structure::Free) };
    match format.get("type").and_then(Value::as_str) {
        Some("json_object") => {
            let words = [body.get("input"), body.get("instructions")];
            if words.into_iter().flatten().any(speaks_of_json) {
                return Ok(Structure::Json);
            }
            let message = "Response input messages must contain the word 'json' in some form to use 'text.format' of type 'json_object'.";
            Err(Refusal::bad_request(message).param("input"))
        }
        Some("json_schema") => {
            let name = format.get("name").and_then(Value::as_str).unwrap_or_default();
            check_name(name, "text.format.name")?;
            let schema = format.get("schema").cloned().unwrap_or_default();
            if format.get("strict").is_some_and(|strict| strict == true) {
                check_strict_schema(&schema, &format!("response_format '{name}'"), "text.format.schema")?;
            }
            Ok(Structure::Schema(schema))
        }
        _ => Ok(Structure::Free),
    }
}

/// All input items, those of the earlier response first, references resolved.
fn conversation(context: &Context<'_>, body: &Value) -> Result<Vec<Value>, Refusal> {
    let account = context.account();
    let store = context.shared.responses();
    let mut items = match body.get("previous_response_id").and_then(Value::as_str) {
        Some(id) => store.conversation(account, id).ok_or_else(|| {
            let message = format!("Previous response with id '{id}' not found.");
            Refusal::bad_request(message).param("previous_response_id").code("previous_response_not_found")
        })?,
        None => Vec::new(),
    };
    let kept = items.len();
    for (index, item) in input_items(body).into_iter().enumerate() {
        let kind = item.get("type").and_then(Value::as_str).unwrap_or("message");
        let id = item.get("id").and_then(Value::as_str);
        if let Some(id) = id {
            check_id(kind, id, index)?;
        }
        let known = id.and_then(|id| store.item(account, id));
        match (kind, known) {
            ("item_reference", Some((item, _))) => items.push(item),
            ("item_reference", None) => return Err(unknown_item(id.unwrap_or_default())),
            ("reasoning", None) if item.get("encrypted_content").is_none_or(Value::is_null) => {
                // Without an id there is nothing to look up: it is taken as a note.
                id.map_or(Ok(()), |id| Err(unknown_item(id)))?;
                items.push(item);
            }
            ("function_call" | "custom_tool_call", Some((_, Some(before))))
                if before.get("type").is_some_and(|kind| kind == "reasoning") =>
            {
                let thought = before.get("id").and_then(Value::as_str).unwrap_or_default();
                if !items.iter().skip(kept).any(|item| item.get("id").is_some_and(|known| known == thought)) {
                    let (id, what) = (id.unwrap_or_default(), "was provided without its required 'reasoning' item");
                    return Err(Refusal::bad_request(format!("Item '{id}' of type '{kind}' {what}: '{thought}'.")).param("input"));
                }
                items.push(item);
            }
            _ => items.push(item),
        }
    }
    Ok(items)
}

fn unknown_item(id: &str) -> Refusal {
    Refusal::new(
        404,
        format!(
            "Item with id '{id}' not found. Items are not persisted when `store` is set to false. Try again with `store` set to true, or remove this item from your input."
        ),
    )
    .param("input")
}

fn check_id(kind: &str, id: &str, index: usize) -> Result<(), Refusal> {
    let place = format!("input[{index}].id");
    check_length(id, MAX_ID_LETTERS, &place)?;
    let prefix = match kind {
        "message" => "msg",
        "function_call" => "fc",
        "reasoning" => "rs",
        "custom_tool_call" => "ctc",
        _ => return Ok(()),
    };
    if id.starts_with(prefix) {
        return Ok(());
    }
    Err(invalid(&place, &format!("'{id}'. Expected an ID that begins with '{prefix}'."), "invalid_value"))
}

/// What a walk over the items finds.
struct Walk {
    transcript: Transcript,
    last_user_text: String,
    last_tool_result: Option<String>,
}

fn walk(context: &Context<'_>, body: &Value, items: &[Value]) -> Result<Walk, Refusal> {
    let mut walk = Walk { transcript: Transcript::new(), last_user_text: String::new(), last_tool_result: None };
    let transcript = &mut walk.transcript;
    for tool in body.get("tools").and_then(Value::as_array).into_iter().flatten() {
        transcript.message("tool");
        transcript.text(&tool.to_string());
        transcript.end_block(tool, None);
    }
    if let Some(instructions) = body.get("instructions").filter(|text| text.is_string()) {
        transcript.message("instructions");
        transcript.text(instructions.as_str().unwrap_or_default());
        transcript.end_block(instructions, None);
    }
    check_calls(items)?;
    for (index, item) in items.iter().enumerate() {
        read_item(context, item, items.get(index + 1), index, &mut walk)?;
    }
    if walk.transcript.marks() > MAX_BREAKPOINTS {
        let message = format!("At most {MAX_BREAKPOINTS} prompt cache breakpoints may be set.");
        return Err(Refusal::bad_request(message).param("input"));
    }
    Ok(walk)
}

fn read_item(context: &Context<'_>, item: &Value, next: Option<&Value>, index: usize, walk: &mut Walk) -> Result<(), Refusal> {
    let field = |name: &str| item.get(name).and_then(Value::as_str);
    walk.last_tool_result = None;
    match field("type").unwrap_or("message") {
        "message" => {
            let role = field("role").unwrap_or_default();
            walk.transcript.message(role);
            let place = format!("input[{index}].content");
            let text = read_content(item.get("content"), Some(role), &place, &mut walk.transcript)?;
            if role == "user" {
                walk.last_user_text = text;
            }
        }
        "function_call" | "custom_tool_call" => {
            let name = field("name").unwrap_or_default();
            check_name(name, &format!("input[{index}].name"))?;
            check_length(field("call_id").unwrap_or_default(), MAX_ID_LETTERS, &format!("input[{index}].call_id"))?;
            walk.transcript.message("call");
            walk.transcript.text(name);
            walk.transcript.text(field("arguments").or(field("input")).unwrap_or_default());
            walk.transcript.end_block(item, None);
        }
        "function_call_output" | "custom_tool_call_output" => {
            walk.transcript.message("output");
            let place = format!("input[{index}].output");
            walk.last_tool_result = Some(read_content(item.get("output"), None, &place, &mut walk.transcript)?);
        }
        "reasoning" => {
            check_reasoning(context, item, next)?;
            walk.transcript.message("reasoning");
            walk.transcript.end_block(item, None);
        }
        other => {
            walk.transcript.message(other);
            walk.transcript.end_block(item, None);
        }
    }
    Ok(())
}

/// The text of a message of `role`, or of a call's output if there is none.
fn read_content(content: Option<&Value>, role: Option<&str>, place: &str, transcript: &mut Transcript) -> Result<String, Refusal> {
    if let Some(text) = content.and_then(Value::as_str) {
        transcript.text(text);
        transcript.end_block(&Value::from(text), None);
        return Ok(text.to_owned());
    }
    let known: &[&str] = match role {
        Some("assistant") => &["output_text", "refusal"],
        Some("system" | "developer") => &["input_text", "input_image", "input_file"],
        _ => &["input_text", "input_image", "input_file", "input_audio"],
    };
    let mut whole = String::new();
    for (index, part) in content.and_then(Value::as_array).into_iter().flatten().enumerate() {
        let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
        let place = format!("{place}[{index}]");
        if !known.contains(&kind) {
            let message = format!("Invalid value: '{kind}'. Supported values are: {}.", listed(known));
            return Err(Refusal::bad_request(message).param(place).code("invalid_value"));
        }
        match kind {
            "input_image" => {
                check_one_of(part, &["image_url", "file_id"], &place)?;
                transcript.image();
            }
            "input_file" => {
                check_one_of(part, &["file_data", "file_id", "file_url"], &place)?;
                transcript.document();
            }
            "input_audio" => transcript.clip(),
            _ => {
                let text = part.get("text").or_else(|| part.get("refusal")).and_then(Value::as_str).unwrap_or_default();
                transcript.text(text);
                whole.push_str(text);
            }
        }
        let mark = part.get("prompt_cache_breakpoint").filter(|mark| !mark.is_null());
        let lifetime = mark.map(|mark| if mark.get("ttl").is_some_and(|ttl| ttl == "12h") { Lifetime::Long } else { Lifetime::Short });
        transcript.end_block(part, lifetime);
    }
    Ok(whole)
}

fn check_one_of(part: &Value, names: &[&str], place: &str) -> Result<(), Refusal> {
    let given = names.iter().filter(|name| part.get(**name).is_some_and(|value| !value.is_null())).count();
    if given == 1 {
        return Ok(());
    }
    let message = format!("Invalid '{place}': expected exactly one of {}.", listed(names));
    Err(Refusal::bad_request(message).param(place.to_owned()).code("invalid_value"))
}

/// Every call has its output, every output its call.
fn check_calls(items: &[Value]) -> Result<(), Refusal> {
    let mut open: Vec<(&str, &str)> = Vec::new();
    let mut answered = HashSet::new();
    for item in items {
        let field = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
        let call = field("call_id");
        match field("type") {
            kind @ ("function_call" | "custom_tool_call") => open.push((kind, call)),
            kind @ ("function_call_output" | "custom_tool_call_output") => {
                let owner = kind.trim_end_matches("_output");
                if !open.contains(&(owner, call)) {
                    let what = owner.replace('_', " ");
                    return Err(Refusal::bad_request(format!("No tool call found for {what} output with call_id {call}.")).param("input"));
                }
                answered.insert((owner, call));
            }
            _ => {}
        }
    }
    match open.iter().find(|call| !answered.contains(*call)) {
        Some((kind, call)) => {
            Err(Refusal::bad_request(format!("No tool output found for {} {call}.", kind.replace('_', " "))).param("input"))
        }
        None => Ok(()),
    }
}

fn check_reasoning(context: &Context<'_>, item: &Value, next: Option<&Value>) -> Result<(), Refusal> {
    let field = |name: &str| item.get(name).and_then(Value::as_str);
    if let Some(sealed) = field("encrypted_content") {
        let reason = match context.check_seal(sealed, None, 0) {
            Ok(()) | Err(Broken::Prefix) => None,
            Err(Broken::Altered) => Some("Encrypted content could not be decrypted or parsed."),
            Err(Broken::Foreign("account")) => Some("Encrypted content organization_id did not match the target organization."),
            Err(Broken::Foreign("model")) => Some("Encrypted content was created by another model."),
            Err(Broken::Foreign(_)) => Some("Encrypted content was not created by this API."),
        };
        if let Some(reason) = reason {
            let start: String = sealed.chars().take(8).collect();
            let message = format!("The encrypted content {start}... could not be verified. Reason: {reason}");
            return Err(Refusal::bad_request(message).code("invalid_encrypted_content"));
        }
    }
    let follows = next.is_some_and(|next| {
        let kind = next.get("type").and_then(Value::as_str).unwrap_or("message");
        !kind.ends_with("_output") && (kind != "message" || next.get("role").is_some_and(|role| role == "assistant"))
    });
    if follows {
        return Ok(());
    }
    let id = field("id").unwrap_or_default();
    Err(Refusal::bad_request(format!("Item '{id}' of type 'reasoning' was provided without its required following item.")).param("input"))
}
