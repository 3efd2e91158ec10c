//! What a message request must be where it is judged, and what it asks for.

use super::shapes::{BETAS, REQUEST, TOOL};
use crate::ask::{Ask, Dropped, Structure, Thinking, Tool, ToolChoice, Tools, Transcript};
use crate::base64;
use crate::cache::{Lifetime, Policy};
use crate::claude::{self, Wish, broken_thought, is_plain, is_tool_name, missing_thought, schema_mistake};
use crate::context::Context;
use crate::reply::Refusal;
use crate::seal::Broken;
use crate::shape::{self, Misfit, What};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::HashSet;

const MAX_MARKS: usize = 4;
const MAX_TOOL_NAME_LETTERS: usize = 128;
/// The first version without sampling.
pub(crate) const NEW_VERSION: &str = "2026-10-21";
/// How the types of tools begin that Anthropic has the schema of, or runs itself.
const OWN_TOOLS: &[&str] = &[
    "bash_",
    "text_editor_",
    "memory_",
    "computer_",
    "browser_",
    "web_search_",
    "web_fetch_",
    "code_execution_",
    "tool_search_",
    "mcp_toolset",
];

/// Judges `body` by the rules of an API version, and reads what it asks for.
pub(crate) fn read(context: &Context<'_>, body: &Value, version: &str) -> Result<Ask<'static>, Refusal> {
    shape::check(body, &REQUEST).map_err(|misfit| refusal(&misfit))?;
    check_betas(context, body)?;
    refuse_thread(body)?;
    check_sampling(context, body, version)?;
    let tools = read_tools(body)?;
    let (tool_choice, single_call) = read_choice(context, body, &tools)?;
    let forced = matches!(tool_choice, ToolChoice::Any | ToolChoice::Named(_));
    let max_tokens = body.get("max_tokens").and_then(Value::as_u64);
    let wish = claude::read(context.persona.family, body.get("thinking"), max_tokens, forced, body).map_err(Refusal::bad_request)?;
    let structure = read_structure(body)?;
    let stops = read_stops(body)?;
    let drops = body.pointer("/thinking/block_binding/prefix_mismatch_behavior").is_some_and(|wanted| wanted == "drop_block");
    let walk = Walk::over(context, body, version, wish, drops)?;
    Ok(Ask {
        prompt_tokens: walk.transcript.tokens(),
        last_user_text: Cow::Owned(walk.last_user_text),
        last_tool_result: walk.last_tool_result,
        tools: Tools::Read(tools),
        tool_choice,
        single_call,
        max_tokens: max_tokens.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
        stops,
        structure,
        thinking: wish.thinking,
        shows_thoughts: wish.shows,
        prefix: walk.transcript.prefix(),
        cache: context.cache(&walk.transcript, Policy::Marked, ""),
        media: walk.transcript.media,
        dropped: walk.dropped,
        ..Ask::default()
    })
}

/// The tokens of a prompt that is only to be counted.
pub(crate) fn count(context: &Context<'_>, body: &Value, version: &str) -> Result<u64, Refusal> {
    shape::check(body, &REQUEST).map_err(|misfit| refusal(&misfit))?;
    if let Some(name) = ["max_tokens", "stream"].into_iter().find(|name| body.get(name).is_some()) {
        return Err(extra(name));
    }
    read_tools(body)?;
    Ok(Walk::over(context, body, version, Wish::default(), true)?.transcript.tokens())
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::bad_request(message)
}

fn extra(place: &str) -> Refusal {
    invalid(format!("{place}: Extra inputs are not permitted"))
}

fn refusal(misfit: &Misfit) -> Refusal {
    let place = misfit.dotted();
    invalid(match &misfit.what {
        What::Unknown => return extra(&place),
        What::Missing => format!("{place}: Field required"),
        What::Type { expected, .. } => {
            let (_, kind) = expected.split_once(' ').unwrap_or_default();
            let kind = match kind {
                "array" => "list",
                "object" => "dictionary",
                "boolean" => "boolean",
                other => other,
            };
            format!("{place}: Input should be a valid {kind}")
        }
        What::Choice { found, known } => {
            let known = known.iter().map(|known| format!("'{known}'")).collect::<Vec<_>>().join(", ");
            match place.strip_suffix(".type") {
                Some(place) => format!("{place}: Input tag '{found}' found using 'type' does not match any of the expected tags: {known}"),
                None => format!("{place}: Input should be {known}"),
            }
        }
        What::Members(count) => format!("{place}: expected one field, found {count}"),
    })
}

fn check_betas(context: &Context<'_>, body: &Value) -> Result<(), Refusal> {
    let betas: Vec<&str> = context
        .request
        .headers()
        .filter(|(name, _)| name.eq_ignore_ascii_case("anthropic-beta"))
        .flat_map(|(_, value)| value.split(',').map(str::trim))
        .collect();
    for (pointer, beta) in BETAS {
        if body.pointer(pointer).is_some_and(|value| !value.is_null()) && !betas.iter().any(|given| given.starts_with(beta)) {
            return Err(extra(&pointer.trim_start_matches('/').replace('/', ".")));
        }
    }
    Ok(())
}

/// Conversations that the provider holds are there for some organizations only; this one has none.
fn refuse_thread(body: &Value) -> Result<(), Refusal> {
    match body.get("thread") {
        None | Some(Value::Null) => Ok(()),
        Some(_) => Err(invalid("thread: Threads are not available to this organization.").code("thread_unsupported_request")),
    }
}

fn check_sampling(context: &Context<'_>, body: &Value, version: &str) -> Result<(), Refusal> {
    let family = context.persona.family;
    let given = |name: &str| body.get(name).filter(|value| !value.is_null());
    let refused =
        if version >= NEW_VERSION { ["temperature", "top_p", "top_k"].into_iter().find(|name| given(name).is_some()) } else { None };
    if let Some(name) = refused {
        return Err(extra(name));
    }
    if let (false, Some(name)) = (family.takes_sampling, ["temperature", "top_p", "top_k"].into_iter().find(|name| given(name).is_some())) {
        return Err(invalid(format!("`{name}` is deprecated for this model.")));
    }
    for name in ["temperature", "top_p"] {
        let value = given(name).and_then(Value::as_f64).unwrap_or(0.0);
        if value < 0.0 {
            return Err(invalid(format!("{name}: Input should be greater than or equal to 0")));
        }
        if value > 1.0 {
            return Err(invalid(format!("{name}: Input should be less than or equal to 1")));
        }
    }
    Ok(())
}

fn read_stops(body: &Value) -> Result<Vec<String>, Refusal> {
    let stops: Vec<String> =
        body.get("stop_sequences").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    if stops.iter().any(|stop| stop.trim().is_empty()) {
        return Err(invalid("stop_sequences: each stop sequence must contain non-whitespace"));
    }
    Ok(stops)
}

fn read_tools(body: &Value) -> Result<Vec<Tool>, Refusal> {
    let mut tools = Vec::new();
    let mut names = HashSet::new();
    for (index, offered) in body.get("tools").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let kind = offered.get("type").and_then(Value::as_str).unwrap_or("custom");
        let name = offered.get("name").and_then(Value::as_str).unwrap_or_default();
        if !name.is_empty() && !names.insert(name) {
            return Err(invalid("tools: Tool names must be unique."));
        }
        if OWN_TOOLS.iter().any(|own| kind.starts_with(own)) {
            continue;
        }
        if kind != "custom" {
            let message = format!(
                "tools.{index}: Input tag '{kind}' found using 'type' does not match any of the expected tags: 'custom', 'bash_20250124'"
            );
            return Err(invalid(message));
        }
        let place = format!("tools.{index}.custom");
        shape::check(offered, &TOOL).map_err(|misfit| {
            let inner = refusal(&misfit);
            Refusal { message: format!("{place}.{}", inner.message), ..inner }
        })?;
        if !is_tool_name(name, MAX_TOOL_NAME_LETTERS) {
            return Err(invalid(format!("{place}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")));
        }
        check_schema(offered.get("input_schema").unwrap_or(&Value::Null), &place)?;
        tools.extend(Tool::read(offered.clone()));
    }
    Ok(tools)
}

fn check_schema(schema: &Value, place: &str) -> Result<(), Refusal> {
    match schema.get("type").and_then(Value::as_str) {
        None => return Err(invalid(format!("{place}.input_schema.type: Field required"))),
        Some("object") => {}
        Some(_) => return Err(invalid(format!("{place}.input_schema.type: Input should be 'object'"))),
    }
    if ["oneOf", "allOf", "anyOf"].iter().any(|name| schema.get(*name).is_some()) {
        return Err(invalid(format!("{place}.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level")));
    }
    Ok(())
}

/// What the caller wants called, and whether only one call at a time.
fn read_choice(context: &Context<'_>, body: &Value, tools: &[Tool]) -> Result<(ToolChoice, bool), Refusal> {
    let Some(choice) = body.get("tool_choice").filter(|choice| !choice.is_null()) else { return Ok((ToolChoice::Auto, false)) };
    let single = choice.get("disable_parallel_tool_use").is_some_and(|disabled| *disabled == true);
    let kind = choice.get("type").and_then(Value::as_str).unwrap_or_default();
    let name = choice.get("name").and_then(Value::as_str).unwrap_or_default();
    if ["any", "tool"].contains(&kind) && !context.persona.family.takes_forced_tools {
        return Err(invalid(format!("tool_choice: '{kind}' is not supported for this model. Use 'auto' or 'none'.")));
    }
    if kind != "none" && body.get("tools").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        return Err(invalid("tool_choice may only be specified while providing tools."));
    }
    match kind {
        "none" => Ok((ToolChoice::None, single)),
        "any" => Ok((ToolChoice::Any, single)),
        "tool" if tools.iter().any(|tool| tool.name == name) => Ok((ToolChoice::Named(name.to_owned()), single)),
        "tool" => Err(invalid(format!("Tool '{name}' not found in provided tools"))),
        _ => Ok((ToolChoice::Auto, single)),
    }
}

fn read_structure(body: &Value) -> Result<Structure, Refusal> {
    let Some(schema) = body.pointer("/output_config/format/schema") else { return Ok(Structure::Free) };
    match schema_mistake(schema) {
        Some(mistake) => Err(invalid(format!("output_config.format.schema: {mistake}"))),
        None => Ok(Structure::Schema(schema.clone())),
    }
}

/// A walk over the prompt, and what it finds.
struct Walk<'w> {
    context: &'w Context<'w>,
    version: &'w str,
    /// Thoughts with another prefix are left out instead of refused.
    drops: bool,
    transcript: Transcript,
    last_user_text: String,
    last_tool_result: Option<String>,
    dropped: Vec<Dropped>,
}

impl<'w> Walk<'w> {
    fn over(context: &'w Context<'w>, body: &Value, version: &'w str, wish: Wish, drops: bool) -> Result<Self, Refusal> {
        let transcript = Transcript::new();
        let mut walk =
            Self { context, version, drops, transcript, last_user_text: String::new(), last_tool_result: None, dropped: Vec::new() };
        walk.tools_and_system(body)?;
        let messages = body.get("messages").and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
        check_turns(context, messages, wish)?;
        check_calls(messages, body.get("tools").and_then(Value::as_array).is_some_and(|tools| !tools.is_empty()))?;
        if wish.leads {
            check_lead(messages)?;
        }
        for (index, message) in messages.iter().enumerate() {
            walk.message(index, message)?;
        }
        if let Some(mark) = lifetime(body) {
            walk.transcript.mark(mark);
        }
        walk.check_marks()?;
        Ok(walk)
    }

    fn tools_and_system(&mut self, body: &Value) -> Result<(), Refusal> {
        for tool in body.get("tools").and_then(Value::as_array).into_iter().flatten() {
            self.transcript.message("tool");
            self.transcript.text(&tool.to_string());
            self.transcript.end_block(tool, lifetime(tool));
        }
        let Some(system) = body.get("system").filter(|system| !system.is_null()) else { return Ok(()) };
        self.transcript.message("system");
        for (number, block) in blocks_of(system).iter().enumerate() {
            let text = block.get("text").and_then(Value::as_str).unwrap_or_default();
            if text.is_empty() {
                return Err(invalid(format!("system.{number}: text content blocks must be non-empty")));
            }
            self.transcript.text(text);
            self.transcript.end_block(block, lifetime(block));
        }
        Ok(())
    }

    fn message(&mut self, index: usize, message: &Value) -> Result<(), Refusal> {
        let role = role(message);
        let prefix = self.transcript.prefix();
        self.transcript.message(role);
        let (mut text, mut result) = (String::new(), None);
        for (number, block) in content(message).iter().enumerate() {
            let place = format!("messages.{index}.content.{number}");
            let field = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
            match field("type") {
                "text" => {
                    self.text(block, &place)?;
                    text.push_str(field("text"));
                }
                "tool_use" => {
                    check_call(block, &place)?;
                    self.transcript.text(field("name"));
                    self.transcript.text(&block.get("input").map(Value::to_string).unwrap_or_default());
                }
                "tool_result" => result = Some(format!("{}{}", result.unwrap_or_default(), self.result(block, &place)?)),
                "thinking" | "redacted_thinking" => {
                    if let Some(reason) = self.thought(block, &place, prefix)? {
                        self.dropped.push(Dropped { message: index, block: number, reason });
                        continue;
                    }
                }
                "image" | "document" => self.media(block, &place, role)?,
                _ => {}
            }
            self.transcript.end_block(block, lifetime(block));
        }
        self.last_tool_result = result;
        if role == "user" && self.last_tool_result.is_none() {
            self.last_user_text = text;
        }
        Ok(())
    }

    fn text(&mut self, block: &Value, place: &str) -> Result<(), Refusal> {
        let text = block.get("text").and_then(Value::as_str).unwrap_or_default();
        if text.is_empty() {
            return Err(invalid(format!("{place}: text content blocks must be non-empty")));
        }
        if text.trim().is_empty() {
            return Err(invalid(format!("{place}: text content blocks must contain non-whitespace text")));
        }
        self.transcript.text(text);
        Ok(())
    }

    fn result(&mut self, block: &Value, place: &str) -> Result<String, Refusal> {
        let mut text = String::new();
        for (number, part) in content(block).iter().enumerate() {
            let place = format!("{place}.content.{number}");
            match part.get("type").and_then(Value::as_str) {
                Some("text") => {
                    self.text(part, &place)?;
                    text.push_str(part.get("text").and_then(Value::as_str).unwrap_or_default());
                }
                Some("image" | "document") => self.media(part, &place, "user")?,
                _ => {}
            }
        }
        Ok(text)
    }

    fn media(&mut self, block: &Value, place: &str, role: &str) -> Result<(), Refusal> {
        let kind = block.get("type").and_then(Value::as_str).unwrap_or_default();
        if kind == "document" && role == "assistant" && self.version >= NEW_VERSION {
            return Err(invalid(format!("{place}: `document` blocks are not permitted in `assistant` messages")));
        }
        let source = block.get("source").unwrap_or(&Value::Null);
        let is_encoded = source.get("type").is_some_and(|kind| kind == "base64");
        let data = source.get("data").and_then(Value::as_str).unwrap_or_default();
        if is_encoded && base64::decode(data).is_none_or(|bytes| bytes.is_empty()) {
            return Err(invalid(format!("{place}.source.base64.data: Invalid base64 data")));
        }
        if kind == "image" {
            self.transcript.image()
        } else {
            self.transcript.document()
        }
        Ok(())
    }

    /// Whether the thought is left out, and why.
    fn thought(&self, block: &Value, place: &str, prefix: u64) -> Result<Option<&'static str>, Refusal> {
        let field = |name: &str| block.get(name).and_then(Value::as_str);
        let (kind, seal_field, text) = match field("data") {
            Some(_) => ("redacted_thinking", "data", Some("")),
            None => ("thinking", "signature", field("thinking").filter(|text| !text.is_empty())),
        };
        match self.context.check_seal(field(seal_field).unwrap_or_default(), text, prefix) {
            Ok(()) => Ok(None),
            Err(Broken::Prefix) if self.drops => Ok(Some("prefix_mismatch")),
            Err(broken) => Err(invalid(broken_thought(place, seal_field, kind, broken))),
        }
    }

    /// At most four marks, and the long ones first.
    fn check_marks(&self) -> Result<(), Refusal> {
        let marks: Vec<Lifetime> = self.transcript.boundaries.iter().filter_map(|boundary| boundary.mark).collect();
        if marks.len() > MAX_MARKS {
            let count = marks.len();
            return Err(invalid(format!("A maximum of {MAX_MARKS} blocks with cache_control may be provided. Found {count}.")));
        }
        if marks.windows(2).any(|pair| pair == [Lifetime::Short, Lifetime::Long]) {
            return Err(invalid("a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block."));
        }
        Ok(())
    }
}

fn lifetime(block: &Value) -> Option<Lifetime> {
    let mark = block.get("cache_control").filter(|mark| !mark.is_null())?;
    Some(if mark.get("ttl").is_some_and(|ttl| ttl == "1h") { Lifetime::Long } else { Lifetime::Short })
}

/// Blocks, also of what is written as a text.
fn blocks_of(value: &Value) -> Cow<'_, [Value]> {
    match value {
        Value::String(text) => Cow::Owned(vec![json!({"type": "text", "text": text})]),
        Value::Array(blocks) => Cow::Borrowed(blocks),
        _ => Cow::Borrowed(&[]),
    }
}

fn content(message: &Value) -> Cow<'_, [Value]> {
    blocks_of(message.get("content").unwrap_or(&Value::Null))
}

fn role(message: &Value) -> &str {
    message.get("role").and_then(Value::as_str).unwrap_or_default()
}

fn check_turns(context: &Context<'_>, messages: &[Value], wish: Wish) -> Result<(), Refusal> {
    let family = context.persona.family;
    if messages.iter().any(|message| role(message) == "system") && !family.takes_late_system {
        return Err(invalid("messages: role 'system' is not supported on this model"));
    }
    if messages.iter().find(|message| role(message) != "system").is_some_and(|first| role(first) != "user") {
        return Err(invalid("messages: first message must use the \"user\" role"));
    }
    for (index, message) in messages.iter().enumerate() {
        let is_final_assistant = index + 1 == messages.len() && role(message) == "assistant";
        if content(message).is_empty() && !is_final_assistant {
            return Err(invalid(format!(
                "messages.{index}: all messages must have non-empty content except for the optional final assistant message"
            )));
        }
    }
    let Some(last) = messages.last().filter(|last| role(last) == "assistant") else { return Ok(()) };
    if !family.takes_prefill {
        return Err(invalid("This model does not support assistant message prefill. The conversation must end with a user message."));
    }
    if wish.thinking == Thinking::On {
        return Err(invalid("Assistant message prefill is not supported when thinking is enabled."));
    }
    let text = content(last).last().and_then(|block| block.get("text")?.as_str().map(str::to_owned)).unwrap_or_default();
    if text.ends_with(char::is_whitespace) {
        return Err(invalid("messages: final assistant content cannot end with trailing whitespace"));
    }
    Ok(())
}

fn check_call(block: &Value, place: &str) -> Result<(), Refusal> {
    let field = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
    if field("id").is_empty() || !is_plain(field("id")) {
        return Err(invalid(format!("{place}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")));
    }
    if !is_tool_name(field("name"), MAX_TOOL_NAME_LETTERS) {
        return Err(invalid(format!("{place}.tool_use.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")));
    }
    Ok(())
}

/// A turn: messages of one role in a row are one.
struct Turn {
    /// Of the last of them.
    index: usize,
    role: String,
    blocks: Vec<Value>,
}

fn turns(messages: &[Value]) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        match turns.last_mut().filter(|turn| turn.role == role(message)) {
            Some(turn) => {
                turn.index = index;
                turn.blocks.extend(content(message).iter().cloned());
            }
            None => turns.push(Turn { index, role: role(message).to_owned(), blocks: content(message).into_owned() }),
        }
    }
    turns
}

fn ids<'b>(blocks: impl Iterator<Item = &'b Value>, kind: &str, field: &str) -> Vec<&'b str> {
    blocks.filter(|block| block.get("type").is_some_and(|known| known == kind)).filter_map(|block| block.get(field)?.as_str()).collect()
}

/// Every use of a tool has its result at the start of the next turn, and every result its use.
fn check_calls(messages: &[Value], has_tools: bool) -> Result<(), Refusal> {
    let turns = turns(messages);
    let mut known = HashSet::new();
    for (number, turn) in turns.iter().enumerate() {
        let Turn { index, role, blocks } = turn;
        let (used, results) = (ids(blocks.iter(), "tool_use", "id"), ids(blocks.iter(), "tool_result", "tool_use_id"));
        if !has_tools && used.len() + results.len() > 0 {
            return Err(invalid("Requests which include `tool_use` or `tool_result` blocks must define tools."));
        }
        if (role != "assistant" && !used.is_empty()) || (role != "user" && !results.is_empty()) {
            let (kind, home) = if used.is_empty() { ("tool_result", "user") } else { ("tool_use", "assistant") };
            return Err(invalid(format!("messages.{index}: `{kind}` blocks can only be in `{home}` messages")));
        }
        if let Some(again) = used.iter().find(|id| !known.insert((**id).to_owned())) {
            return Err(invalid(format!("messages.{index}.content: `tool_use` ids must be unique: {again}")));
        }
        let asked = number
            .checked_sub(1)
            .and_then(|before| turns.get(before))
            .map(|turn| ids(turn.blocks.iter(), "tool_use", "id"))
            .unwrap_or_default();
        if let Some(stray) = results.iter().find(|id| !asked.contains(id)) {
            return Err(invalid(format!(
                "messages.{index}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: {stray}. Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            )));
        }
        if results.iter().collect::<HashSet<_>>().len() != results.len() {
            return Err(invalid(format!(
                "messages.{index}.content: each tool_use must have a single result. Found multiple `tool_result` blocks."
            )));
        }
        let following = turns.get(number + 1);
        let leading = following
            .map_or(&[] as &[Value], |turn| turn.blocks.as_slice())
            .iter()
            .take_while(|block| block.get("type").is_some_and(|kind| kind == "tool_result"));
        let answered = ids(leading, "tool_result", "tool_use_id");
        let missing: Vec<&str> = used.iter().filter(|id| !answered.contains(id)).copied().collect();
        if !missing.is_empty() {
            return Err(invalid(format!(
                "messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block must have a corresponding `tool_result` block in the next message.",
                missing.join(", ")
            )));
        }
    }
    Ok(())
}

/// Inside a tool loop, the last assistant turn begins with a thought.
fn check_lead(messages: &[Value]) -> Result<(), Refusal> {
    let turns = turns(messages);
    let [.., said, answered] = turns.as_slice() else { return Ok(()) };
    if ids(answered.blocks.iter(), "tool_result", "tool_use_id").is_empty() {
        return Ok(());
    }
    let first = said.blocks.first().and_then(|block| block.get("type")).and_then(Value::as_str).unwrap_or_default();
    if ["thinking", "redacted_thinking"].contains(&first) {
        return Ok(());
    }
    Err(invalid(missing_thought(&format!("messages.{}.content.0", said.index), first)))
}
