//! OpenAI's Responses: items instead of messages, a stream of which every event has its place, and a memory of what was said.

mod rules;
mod shapes;
mod store;
mod stream;

pub(crate) use rules::read;
pub(crate) use store::{Store, manage, remember};
pub(crate) use stream::{Stream, error_event};

use crate::openai_chat::push_logprob;
use crate::plan::{Finish, Segment, SegmentKind};
use crate::reply::{Reply, Usage, push, push_segment, quoted};
use serde_json::{Value, json};

/// A `response`.
pub(crate) fn unary(reply: &Reply<'_>) -> Vec<u8> {
    finished(reply).into_bytes()
}

/// The response as it is in the end.
fn finished(reply: &Reply<'_>) -> String {
    let items: Vec<String> =
        reply.plan.segments.iter().enumerate().map(|(position, segment)| item(reply, position, segment, State::Done)).collect();
    let details = match reply.plan.finish {
        Finish::Length => r#"{"reason":"max_output_tokens"}"#,
        Finish::ContentFilter => r#"{"reason":"content_filter"}"#,
        _ => "null",
    };
    let object = Object { status: reply.finish(terminal(reply)), items: &items.join(","), details, error: "null", usage: reply.usage() };
    object.write(reply)
}

/// The status with which the response ends, and the name of its last event.
fn terminal(reply: &Reply<'_>) -> &'static str {
    match reply.plan.finish {
        Finish::Length | Finish::ContentFilter => "incomplete",
        _ => "completed",
    }
}

/// What changes in a response while it comes into being.
struct Object<'o> {
    /// As JSON.
    status: String,
    items: &'o str,
    details: &'o str,
    error: &'o str,
    usage: Option<Usage>,
}

impl Object<'_> {
    /// The whole object, with everything that it repeats of the request.
    fn write(&self, reply: &Reply<'_>) -> String {
        let Self { status, items, details, error, usage } = self;
        let given = |name: &str| reply.request.get(name).filter(|value| !value.is_null());
        let echo = |name: &str, default: &str| given(name).map_or_else(|| default.to_owned(), Value::to_string);
        let mut out = Vec::with_capacity(2048);
        push(&mut out, format_args!(r#"{{"id":"{}","object":"response","created_at":{},"status":{status}"#, reply.id, reply.created));
        let completed = if status == "\"completed\"" { reply.created.to_string() } else { "null".to_owned() };
        push(&mut out, format_args!(r#","background":{},"completed_at":{completed},"error":{error}"#, echo("background", "false")));
        push(&mut out, format_args!(r#","incomplete_details":{details},"instructions":{}"#, echo("instructions", "null")));
        push(&mut out, format_args!(r#","max_output_tokens":{}"#, echo("max_output_tokens", "null")));
        push(
            &mut out,
            format_args!(r#","max_tool_calls":{},"model":{},"output":[{items}]"#, echo("max_tool_calls", "null"), quoted(reply.model)),
        );
        push(&mut out, format_args!(r#","parallel_tool_calls":{}"#, echo("parallel_tool_calls", "true")));
        push(&mut out, format_args!(r#","previous_response_id":{}"#, echo("previous_response_id", "null")));
        push(&mut out, format_args!(r#","prompt_cache_key":{}"#, echo("prompt_cache_key", "null")));
        let part = |name: &str, default: Value| given("reasoning").and_then(|reasoning| reasoning.get(name)).cloned().unwrap_or(default);
        let reasoning = json!({"effort": part("effort", json!("medium")), "summary": part("summary", Value::Null)});
        let reasoning = if reply.persona.family.reasons { reasoning } else { json!({"effort": null, "summary": null}) };
        push(&mut out, format_args!(r#","reasoning":{reasoning},"safety_identifier":{}"#, echo("safety_identifier", "null")));
        push(&mut out, format_args!(r#","service_tier":"{}","store":{}"#, reply.service_tier(), echo("store", "true")));
        push(&mut out, format_args!(r#","temperature":{}"#, echo("temperature", "1.0")));
        push(&mut out, format_args!(r#","text":{},"tool_choice":{}"#, text_settings(given("text")), echo("tool_choice", r#""auto""#)));
        push(&mut out, format_args!(r#","tools":{},"top_logprobs":{}"#, tools(given("tools")), echo("top_logprobs", "0")));
        push(&mut out, format_args!(r#","top_p":{},"truncation":{},"usage":"#, echo("top_p", "1.0"), echo("truncation", r#""disabled""#)));
        match usage {
            Some(usage) => push_usage(*usage, &mut out),
            None => out.extend_from_slice(b"null"),
        }
        push(&mut out, format_args!(r#","user":{},"metadata":{}}}"#, echo("user", "null"), echo("metadata", "{}")));
        // All pieces are text.
        String::from_utf8(out).unwrap_or_default()
    }
}

/// `text` with its defaults.
fn text_settings(given: Option<&Value>) -> Value {
    let mut settings = json!({"format": {"type": "text"}, "verbosity": "medium"});
    if let (Some(settings), Some(given)) = (settings.as_object_mut(), given.and_then(Value::as_object)) {
        settings.extend(given.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.clone(), value.clone())));
    }
    if let Some(format) = settings.get_mut("format").and_then(Value::as_object_mut).filter(|format| format.contains_key("schema")) {
        format.entry("strict").or_insert(Value::Bool(false));
        format.entry("description").or_insert(Value::Null);
    }
    settings
}

/// The tools, functions with their defaults.
fn tools(given: Option<&Value>) -> Value {
    let mut tools = given.cloned().unwrap_or_else(|| json!([]));
    for tool in tools.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        if tool.get("type").is_some_and(|kind| kind == "function") {
            for (name, default) in [("description", Value::Null), ("parameters", Value::Null), ("strict", Value::Bool(true))] {
                tool.entry(name).or_insert(default);
            }
        }
    }
    tools
}

fn push_usage(usage: Usage, out: &mut Vec<u8>) {
    let Usage { prompt, cached, cache_write, completion, reasoning } = usage;
    let total = prompt + completion;
    push(
        out,
        format_args!(r#"{{"input_tokens":{prompt},"input_tokens_details":{{"cached_tokens":{cached},"cache_write_tokens":{cache_write}}}"#),
    );
    push(
        out,
        format_args!(
            r#","output_tokens":{completion},"output_tokens_details":{{"reasoning_tokens":{reasoning}}},"total_tokens":{total}}}"#
        ),
    );
}

/// Whether an item is just begun or done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Begun,
    Done,
}

/// Output item number `position`.
fn item(reply: &Reply<'_>, position: usize, segment: &Segment, state: State) -> String {
    let id = item_id(reply, position, segment);
    let done = state == State::Done;
    let status = match state {
        State::Begun => "in_progress",
        State::Done if segment.whole => "completed",
        State::Done => "incomplete",
    };
    let text = || if done { quoted(&segment.text()) } else { r#""""#.to_owned() };
    match &segment.kind {
        SegmentKind::Text | SegmentKind::Refusal => {
            let part = if done { part(reply, segment, true) } else { String::new() };
            format!(r#"{{"id":"{id}","type":"message","status":"{status}","content":[{part}],"role":"assistant"}}"#)
        }
        SegmentKind::Reasoning => {
            let sealed = reply.ask.shows_seals.then(|| format!(r#","encrypted_content":"{}""#, reply.seal("", position as u64)));
            let summary = if done && shows_summary(reply) { summary_part(&segment.text()) } else { String::new() };
            format!(r#"{{"id":"{id}","type":"reasoning"{},"summary":[{summary}]}}"#, sealed.unwrap_or_default())
        }
        SegmentKind::ToolCall { index, name, takes_text } => {
            let (kind, field) = if *takes_text { ("custom_tool_call", "input") } else { ("function_call", "arguments") };
            let (call, name) = (call_id(reply, *index), quoted(name));
            format!(r#"{{"id":"{id}","type":"{kind}","status":"{status}","{field}":{},"call_id":"{call}","name":{name}}}"#, text())
        }
    }
}

fn item_id(reply: &Reply<'_>, position: usize, segment: &Segment) -> String {
    let prefix = match segment.kind {
        SegmentKind::Text | SegmentKind::Refusal => "msg_",
        SegmentKind::Reasoning => "rs_",
        SegmentKind::ToolCall { takes_text: true, .. } => "ctc_",
        SegmentKind::ToolCall { .. } => "fc_",
    };
    reply.part_id(prefix, 50, position as u64)
}

fn call_id(reply: &Reply<'_>, index: u32) -> String {
    reply.part_id("call_", 24, u64::from(index) + (1 << 32))
}

/// Whether the caller is to see a summary of the thoughts.
fn shows_summary(reply: &Reply<'_>) -> bool {
    reply.ask.shows_thoughts && !reply.script.redacted
}

fn summary_part(text: &str) -> String {
    format!(r#"{{"type":"summary_text","text":{}}}"#, quoted(text))
}

/// The one content part of a message, with its text or before it.
fn part(reply: &Reply<'_>, segment: &Segment, done: bool) -> String {
    let mut out = Vec::new();
    if segment.kind == SegmentKind::Refusal {
        out.extend_from_slice(br#"{"type":"refusal","refusal":""#);
    } else {
        out.extend_from_slice(br#"{"type":"output_text","annotations":[],"logprobs":["#);
        if let (true, Some(top)) = (done, reply.ask.logprobs) {
            for index in 0..segment.tokens {
                if index > 0 {
                    out.push(b',');
                }
                push_logprob(segment.piece(index), index, top, &mut out);
            }
        }
        out.extend_from_slice(br#"],"text":""#);
    }
    if done {
        push_segment(segment, &mut out);
    }
    out.extend_from_slice(b"\"}");
    String::from_utf8(out).unwrap_or_default()
}
