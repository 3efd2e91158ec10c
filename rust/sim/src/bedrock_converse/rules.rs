//! What a request to Converse must be, and what it asks for.

use super::shapes::{ADDITIONAL, REQUEST};
use crate::ask::{Ask, Structure, Thinking, Tool, ToolChoice, Tools, Transcript};
use crate::base64;
use crate::cache::{Lifetime, Policy};
use crate::claude::{self, broken_thought, is_tool_name, missing_thought, schema_mistake};
use crate::context::Context;
use crate::intake::parse;
use crate::reply::Refusal;
use crate::shape::{self, Misfit, Step, What};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::HashSet;

const MAX_CACHE_POINTS: usize = 4;
const MAX_TOOL_NAME_LETTERS: usize = 64;

/// Judges `body`, and reads what it asks for.
pub(crate) fn read(context: &Context<'_>, body: &Value) -> Result<Ask<'static>, Refusal> {
    shape::check(body, &REQUEST).map_err(|misfit| refusal(&misfit))?;
    let nothing = json!({});
    let part = |name: &str| body.get(name).filter(|part| part.is_object()).unwrap_or(&nothing);
    let (inference, additional) = (part("inferenceConfig"), part("additionalModelRequestFields"));
    shape::check(additional, &ADDITIONAL).map_err(|misfit| model_error(format!("{}: Extra inputs are not permitted", misfit.dotted())))?;
    check_figures(context, inference)?;
    let tools = read_tools(body)?;
    let tool_choice = read_choice(context, body, &tools)?;
    let forced = matches!(tool_choice, ToolChoice::Any | ToolChoice::Named(_));
    let max_tokens = inference.get("maxTokens").and_then(Value::as_u64);
    let sampling = json!({"temperature": inference.get("temperature"), "top_p": inference.get("topP"), "top_k": additional.get("top_k")});
    let mut wish = claude::read(context.persona.family, additional.get("thinking"), max_tokens, forced, &sampling).map_err(model_error)?;
    if wish.thinking == Thinking::Unsaid && body.pointer("/outputConfig/effort").is_some_and(Value::is_string) {
        wish.thinking = Thinking::On;
    }
    let structure = read_structure(body)?;
    let walk = walk(context, body, wish.leads)?;
    let stops = inference.get("stopSequences").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    Ok(Ask {
        prompt_tokens: walk.transcript.tokens(),
        last_user_text: Cow::Owned(walk.last_user_text),
        last_tool_result: walk.last_tool_result,
        tools: Tools::Read(tools),
        tool_choice,
        single_call: additional.pointer("/tool_choice/disable_parallel_tool_use").is_some_and(|disabled| *disabled == true),
        max_tokens: max_tokens.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
        stops: stops.map(str::to_owned).collect(),
        structure,
        thinking: wish.thinking,
        shows_thoughts: wish.shows,
        prefix: walk.transcript.prefix(),
        cache: context.cache(&walk.transcript, Policy::Marked, ""),
        media: walk.transcript.media,
        ..Ask::default()
    })
}

/// The answer to `count-tokens`.
pub(crate) fn count_tokens(context: &Context<'_>) -> Result<String, Refusal> {
    let body = parse(&context.request.body)?;
    let Some(request) = body.pointer("/input/converse").filter(|request| request.is_object()) else {
        return Err(Refusal::bad_request("The simulator counts tokens of the Converse form only: input.converse."));
    };
    shape::check(request, &REQUEST).map_err(|misfit| refusal(&misfit))?;
    read_tools(request)?;
    Ok(json!({"inputTokens": walk(context, request, false)?.transcript.tokens()}).to_string())
}

fn model_error(message: impl std::fmt::Display) -> Refusal {
    Refusal::bad_request(format!("The model returned the following errors: {message}"))
}

/// `messages.1.member.role`
fn member_path(path: &[Step]) -> String {
    let steps: Vec<String> =
        path.iter().map(|step| if let Step::Index(index) = step { format!("{}.member", index + 1) } else { step.to_string() }).collect();
    steps.join(".")
}

fn constraint(value: &str, place: &str, constraint: &str) -> Refusal {
    let value = if value.is_empty() { String::new() } else { format!(" '{value}'") };
    Refusal::bad_request(format!("1 validation error detected: Value{value} at '{place}' failed to satisfy constraint: {constraint}"))
}

fn refusal(misfit: &Misfit) -> Refusal {
    let place = member_path(&misfit.path);
    match &misfit.what {
        What::Unknown => Refusal::bad_request(format!(
            "Malformed input request: #/{}: extraneous key [{}] is not permitted, please reformat your input and try again.",
            misfit.parent().iter().map(Step::to_string).collect::<Vec<_>>().join("/"),
            misfit.name()
        )),
        What::Missing => constraint("", &place, "Member must not be null"),
        What::Type { .. } => {
            let code = "SerializationException";
            Refusal::bad_request(format!("Unexpected value type at {}", misfit.dotted())).code(code)
        }
        What::Choice { found, known } => constraint(found, &place, &format!("Member must satisfy enum value set: [{}]", known.join(", "))),
        What::Members(_) => {
            Refusal::bad_request(format!("The value at {} is invalid. Provide exactly one of its members, and try again.", misfit.dotted()))
        }
    }
}

fn check_figures(context: &Context<'_>, inference: &Value) -> Result<(), Refusal> {
    let number = |name: &str| inference.get(name).and_then(Value::as_f64);
    for (name, least, most) in [("maxTokens", 1.0, f64::MAX), ("temperature", 0.0, 1.0), ("topP", 0.0, 1.0)] {
        let Some(value) = number(name) else { continue };
        if value < least {
            return Err(constraint(
                &value.to_string(),
                &format!("inferenceConfig.{name}"),
                &format!("Member must have value greater than or equal to {least}"),
            ));
        }
        if value > most {
            return Err(constraint(
                &value.to_string(),
                &format!("inferenceConfig.{name}"),
                &format!("Member must have value less than or equal to {most}"),
            ));
        }
    }
    let family = context.persona.family;
    if let (false, Some(name)) = (family.takes_sampling, ["temperature", "topP"].into_iter().find(|name| number(name).is_some())) {
        let name = if name == "topP" { "top_p" } else { name };
        return Err(model_error(format!("`{name}` is not supported for this model.")));
    }
    if inference
        .get("stopSequences")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .any(|stop| stop.as_str().is_some_and(|stop| stop.trim().is_empty()))
    {
        return Err(model_error("stop_sequences: each stop sequence must contain non-whitespace"));
    }
    Ok(())
}

fn read_tools(body: &Value) -> Result<Vec<Tool>, Refusal> {
    let mut tools: Vec<Tool> = Vec::new();
    let Some(listed) = body.pointer("/toolConfig/tools").and_then(Value::as_array) else { return Ok(tools) };
    if listed.is_empty() {
        return Err(constraint("[]", "toolConfig.tools", "Member must have length greater than or equal to 1"));
    }
    for (index, spec) in listed.iter().enumerate().filter_map(|(index, tool)| Some((index, tool.get("toolSpec")?))) {
        let name = spec.get("name").and_then(Value::as_str).unwrap_or_default();
        let place = format!("toolConfig.tools.{}.member.toolSpec", index + 1);
        check_name(name, &format!("{place}.name"))?;
        if tools.iter().any(|tool| tool.name == name) {
            return Err(Refusal::bad_request(format!(
                "The tool name {name} is already defined in toolConfig. Use unique tool names, and try again."
            )));
        }
        if spec.get("description").is_some_and(|description| description == "") {
            return Err(constraint("", &format!("{place}.description"), "Member must have length greater than or equal to 1"));
        }
        let schema = spec.pointer("/inputSchema/json").cloned().unwrap_or_default();
        if schema.get("type").is_none_or(|kind| kind != "object") {
            let message =
                format!("The value at toolConfig.tools.{index}.toolSpec.inputSchema.json.type must be one of the following: object.");
            return Err(Refusal::bad_request(message));
        }
        tools.push(Tool { name: name.to_owned(), schema, takes_text: false });
    }
    Ok(tools)
}

fn check_name(name: &str, place: &str) -> Result<(), Refusal> {
    if is_tool_name(name, usize::MAX) && name.len() > MAX_TOOL_NAME_LETTERS {
        return Err(constraint(name, place, "Member must have length less than or equal to 64"));
    }
    if is_tool_name(name, MAX_TOOL_NAME_LETTERS) {
        Ok(())
    } else {
        Err(constraint(name, place, "Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+"))
    }
}

fn check_id(id: &str, place: &str) -> Result<(), Refusal> {
    if id.is_empty() || id.len() > 64 {
        return Err(constraint(id, place, "Member must have length between 1 and 64"));
    }
    if id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte)) {
        return Ok(());
    }
    Err(constraint(id, place, "Member must satisfy regular expression pattern: [a-zA-Z0-9_.:-]+"))
}

fn read_choice(context: &Context<'_>, body: &Value, tools: &[Tool]) -> Result<ToolChoice, Refusal> {
    let Some(choice) = body.pointer("/toolConfig/toolChoice").filter(|choice| choice.is_object()) else { return Ok(ToolChoice::Auto) };
    let named = choice.pointer("/tool/name").and_then(Value::as_str);
    if (choice.get("any").is_some() || named.is_some()) && !context.persona.family.takes_forced_tools {
        return Err(model_error("tool_choice: forced tool use is not supported for this model."));
    }
    match named {
        Some(name) if tools.iter().any(|tool| tool.name == name) => Ok(ToolChoice::Named(name.to_owned())),
        Some(name) => Err(Refusal::bad_request(format!("The tool {name} in toolChoice is not defined in toolConfig.tools."))),
        None if choice.get("any").is_some_and(Value::is_object) => Ok(ToolChoice::Any),
        None => Ok(ToolChoice::Auto),
    }
}

fn read_structure(body: &Value) -> Result<Structure, Refusal> {
    let Some(text) = body.pointer("/outputConfig/textFormat/structure/jsonSchema/schema").and_then(Value::as_str) else {
        return Ok(Structure::Free);
    };
    let schema: Value = serde_json::from_str(text)
        .map_err(|error| Refusal::bad_request(format!("The JSON schema in outputConfig is not JSON: {error}")))?;
    match schema_mistake(&schema) {
        Some(mistake) => Err(model_error(format!("output_config.format.schema: {mistake}"))),
        None => Ok(Structure::Schema(schema)),
    }
}

/// What a walk over the messages finds.
struct Walk {
    transcript: Transcript,
    last_user_text: String,
    last_tool_result: Option<String>,
}

fn walk(context: &Context<'_>, body: &Value, leads: bool) -> Result<Walk, Refusal> {
    let mut walk = Walk { transcript: Transcript::new(), last_user_text: String::new(), last_tool_result: None };
    let list = |pointer: &str| body.pointer(pointer).and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
    for tool in list("/toolConfig/tools") {
        if mark_of(tool, &mut walk.transcript) {
            continue;
        }
        walk.transcript.message("tool");
        walk.transcript.text(&tool.to_string());
        walk.transcript.end_block(tool, None);
    }
    if !list("/system").is_empty() {
        walk.transcript.message("system");
    }
    for block in list("/system") {
        if mark_of(block, &mut walk.transcript) {
            continue;
        }
        if block.get("text").is_some_and(|text| text == "") {
            return Err(constraint("", "system.1.member.text", "Member must have length greater than or equal to 1"));
        }
        walk.transcript.text(block.get("text").and_then(Value::as_str).unwrap_or_default());
        walk.transcript.end_block(block, None);
    }
    let messages = list("/messages");
    check_turns(context, messages)?;
    check_calls(messages, body.get("toolConfig").is_some_and(Value::is_object))?;
    if leads {
        check_lead(messages)?;
    }
    for (index, message) in messages.iter().enumerate() {
        read_message(context, index, message, &mut walk)?;
    }
    if walk.transcript.marks() > MAX_CACHE_POINTS {
        let message =
            format!("A maximum of {MAX_CACHE_POINTS} blocks with cache_control may be provided. Found {}.", walk.transcript.marks());
        return Err(model_error(message));
    }
    Ok(walk)
}

/// Whether `block` is a cache point, which marks what stands before it.
fn mark_of(block: &Value, transcript: &mut Transcript) -> bool {
    let Some(point) = block.get("cachePoint").filter(|point| point.is_object()) else { return false };
    transcript.mark(if point.get("ttl").is_some_and(|ttl| ttl == "1h") { Lifetime::Long } else { Lifetime::Short });
    true
}

fn blocks(message: &Value) -> &[Value] {
    message.get("content").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn role(message: &Value) -> &str {
    message.get("role").and_then(Value::as_str).unwrap_or_default()
}

/// User and assistant in turns, the user first.
fn check_turns(context: &Context<'_>, messages: &[Value]) -> Result<(), Refusal> {
    let turns: Vec<&str> = messages.iter().map(role).filter(|role| *role != "system").collect();
    match turns.first() {
        None => return Err(Refusal::bad_request("A conversation must contain at least one message. Try again with at least one message.")),
        Some(&"user") => {}
        Some(_) => {
            return Err(Refusal::bad_request(
                "A conversation must start with a user message. Try again with a conversation that starts with a user message.",
            ));
        }
    }
    if turns.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(Refusal::bad_request(
            "A conversation must alternate between user and assistant roles. Make sure the conversation alternates between user and assistant roles and try again.",
        ));
    }
    if turns.last() == Some(&"assistant") && !context.persona.family.takes_prefill {
        return Err(model_error("This model does not support assistant message prefill. The conversation must end with a user message."));
    }
    if let Some(index) = messages.iter().position(|message| blocks(message).is_empty()) {
        return Err(Refusal::bad_request(format!(
            "The content field in the Message object at messages.{index} is empty. Add a ContentBlock object to the content field and try again."
        )));
    }
    Ok(())
}

fn ids<'m>(message: Option<&'m Value>, kind: &str) -> Vec<&'m str> {
    let used = message.map_or(&[] as &[Value], blocks).iter().filter_map(|block| block.get(kind)?.get("toolUseId")?.as_str());
    used.collect()
}

/// Every use of a tool has its result in the next message, and every result its use.
fn check_calls(messages: &[Value], has_tools: bool) -> Result<(), Refusal> {
    for (index, message) in messages.iter().enumerate() {
        let (used, results) = (ids(Some(message), "toolUse"), ids(Some(message), "toolResult"));
        let speaks_of_tools = used.len() + results.len() > 0;
        if speaks_of_tools && !has_tools {
            return Err(Refusal::bad_request("The toolConfig field must be defined when using toolUse and toolResult content blocks."));
        }
        let wrong_role = if role(message) == "user" { "toolUse" } else { "toolResult" };
        if blocks(message).iter().any(|block| block.get(wrong_role).is_some_and(Value::is_object)) {
            let needed = if wrong_role == "toolUse" { "assistant" } else { "user" };
            return Err(Refusal::bad_request(format!(
                "The {wrong_role} block at messages.{index}.content can only be in a message of the {needed} role."
            )));
        }
        if used.iter().collect::<HashSet<_>>().len() != used.len() {
            return Err(model_error(format!("messages.{index}.content: `tool_use` ids must be unique")));
        }
        let asked = index.checked_sub(1).map(|before| ids(messages.get(before), "toolUse")).unwrap_or_default();
        if results.len() > asked.len() {
            return Err(Refusal::bad_request(format!(
                "The number of toolResult blocks at messages.{index}.content exceeds the number of toolUse blocks of previous turn."
            )));
        }
        let missing: Vec<&str> = asked.iter().filter(|id| !results.contains(id)).copied().collect();
        if !missing.is_empty() {
            return Err(Refusal::bad_request(format!(
                "Expected toolResult blocks at messages.{index}.content for the following Ids: {}",
                missing.join(", ")
            )));
        }
    }
    Ok(())
}

/// Inside a tool loop, the last assistant message begins with a thought.
fn check_lead(messages: &[Value]) -> Result<(), Refusal> {
    if ids(messages.last(), "toolResult").is_empty() {
        return Ok(());
    }
    let Some(index) = messages.iter().rposition(|message| role(message) == "assistant") else { return Ok(()) };
    let first = messages.get(index).and_then(|message| blocks(message).first());
    if first.is_some_and(|block| block.get("reasoningContent").is_some_and(Value::is_object)) {
        return Ok(());
    }
    let found = if first.is_some_and(|block| block.get("text").is_some()) { "text" } else { "tool_use" };
    Err(model_error(missing_thought(&format!("messages.{index}.content.0"), found)))
}

fn read_message(context: &Context<'_>, index: usize, message: &Value, walk: &mut Walk) -> Result<(), Refusal> {
    let role = role(message);
    let prefix = walk.transcript.prefix();
    walk.transcript.message(role);
    let mut said = Said::default();
    for (number, block) in blocks(message).iter().enumerate() {
        if mark_of(block, &mut walk.transcript) {
            continue;
        }
        let place = format!("messages.{index}.content.{number}");
        read_block(context, block, &place, prefix, &mut walk.transcript, &mut said)?;
        walk.transcript.end_block(block, None);
    }
    if !said.documents.is_empty() && said.text.is_empty() && said.result.is_none() {
        return Err(Refusal::bad_request(format!("Add a text block to the content at messages.{index}: a document needs one beside it.")));
    }
    let distinct: HashSet<&String> = said.documents.iter().collect();
    if distinct.len() != said.documents.len() {
        return Err(model_error("Document names must be unique within a message"));
    }
    walk.last_tool_result = said.result;
    if role == "user" && walk.last_tool_result.is_none() {
        walk.last_user_text = said.text;
    }
    Ok(())
}

/// What the blocks of one message say.
#[derive(Default)]
struct Said {
    text: String,
    result: Option<String>,
    documents: Vec<String>,
}

fn read_block(
    context: &Context<'_>,
    block: &Value,
    place: &str,
    prefix: u64,
    transcript: &mut Transcript,
    said: &mut Said,
) -> Result<(), Refusal> {
    let fields = block.as_object().into_iter().flatten().find(|(_, value)| !value.is_null());
    let Some((kind, data)) = fields else { return Ok(()) };
    let field = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
    match kind.as_str() {
        "text" => {
            let text = data.as_str().unwrap_or_default();
            if text.trim().is_empty() {
                return Err(Refusal::bad_request(format!(
                    "The text field in the ContentBlock object at {place} is blank. Add text to the text field, and try again."
                )));
            }
            transcript.text(text);
            said.text.push_str(text);
        }
        "toolUse" => {
            check_id(field("toolUseId"), &format!("{place}.toolUse.toolUseId"))?;
            check_name(field("name"), &format!("{place}.toolUse.name"))?;
            transcript.text(field("name"));
            transcript.text(&data.get("input").map(Value::to_string).unwrap_or_default());
        }
        "toolResult" => {
            check_id(field("toolUseId"), &format!("{place}.toolResult.toolUseId"))?;
            let mut text = String::new();
            for part in blocks(data) {
                text.push_str(&read_result_part(part, place, transcript, said)?);
            }
            transcript.text(&text);
            said.result = Some(text);
        }
        "reasoningContent" => check_thought(context, data, place, prefix)?,
        "image" | "document" | "video" | "audio" => read_media(kind, data, place, transcript, said)?,
        _ => {}
    }
    Ok(())
}

fn read_result_part(part: &Value, place: &str, transcript: &mut Transcript, said: &mut Said) -> Result<String, Refusal> {
    let Some((kind, data)) = part.as_object().into_iter().flatten().find(|(_, value)| !value.is_null()) else { return Ok(String::new()) };
    match kind.as_str() {
        "text" => Ok(data.as_str().unwrap_or_default().to_owned()),
        "json" => Ok(data.to_string()),
        "image" | "document" | "video" => read_media(kind, data, place, transcript, said).map(|()| String::new()),
        _ => Ok(String::new()),
    }
}

fn read_media(kind: &str, data: &Value, place: &str, transcript: &mut Transcript, said: &mut Said) -> Result<(), Refusal> {
    if let Some(bytes) = data.pointer("/source/bytes").and_then(Value::as_str)
        && base64::decode(bytes).is_none_or(|bytes| bytes.is_empty())
    {
        return Err(Refusal::bad_request(format!("The bytes at {place}.{kind}.source are not base64.")).code("SerializationException"));
    }
    match kind {
        "image" => transcript.image(),
        "document" => {
            let name = data.get("name").and_then(Value::as_str).unwrap_or_default();
            check_document_name(name)?;
            said.documents.push(name.to_owned());
            transcript.document();
        }
        _ => transcript.clip(),
    }
    Ok(())
}

fn check_document_name(name: &str) -> Result<(), Refusal> {
    let known = name.chars().all(|letter| letter.is_ascii_alphanumeric() || " -()[]".contains(letter));
    if known && !name.is_empty() && name.len() <= 200 && !name.contains("  ") {
        return Ok(());
    }
    Err(Refusal::bad_request(
        "The document file name can only contain alphanumeric characters, whitespace characters, hyphens, parentheses, and square brackets. The name can't contain more than one consecutive whitespace character.",
    ))
}

fn check_thought(context: &Context<'_>, data: &Value, place: &str, prefix: u64) -> Result<(), Refusal> {
    if let Some(redacted) = data.get("redactedContent").and_then(Value::as_str) {
        let checked = context.check_seal(redacted, Some(""), prefix);
        return checked.map_err(|broken| model_error(broken_thought(place, "data", "redacted_thinking", broken)));
    }
    let field = |name: &str| data.pointer(&format!("/reasoningText/{name}")).and_then(Value::as_str);
    let Some(signature) = field("signature") else {
        return Err(model_error(format!("{place}.thinking.signature: Field required")));
    };
    let text = field("text").filter(|text| !text.is_empty());
    let checked = context.check_seal(signature, text, prefix);
    checked.map_err(|broken| model_error(broken_thought(place, "signature", "thinking", broken)))
}
