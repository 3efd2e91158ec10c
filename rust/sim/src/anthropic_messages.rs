//! Anthropic's messages, written by hand in the field order of the real thing.

mod rules;
mod shapes;

pub(crate) use rules::{NEW_VERSION, count, read};

use crate::ask::Dropped;
use crate::call::Call;
use crate::intake::{check_roles, token_limit};
use crate::plan::{Finish, Model, Segment, SegmentKind};
use crate::reply::{Frames, Refusal, Reply, Usage, push, push_escaped, push_segment, quoted};
use crate::script::{Opening, Terminal};
use serde_json::{Value, json};

const ROLES: &[&str] = &["user", "assistant", "system"];

/// The headers that Anthropic adds to every reply.
pub(crate) fn headers(request_id: &str) -> Vec<(&'static str, String)> {
    vec![
        ("request-id", request_id.to_owned()),
        ("anthropic-organization-id", "5f0d1a2e-51ab-4c2e-9d70-0000000051ab".to_owned()),
        ("anthropic-ratelimit-requests-limit", "4000".to_owned()),
        ("anthropic-ratelimit-requests-remaining", "3999".to_owned()),
        ("anthropic-ratelimit-requests-reset", "2026-01-01T00:00:00Z".to_owned()),
        ("anthropic-ratelimit-tokens-remaining", "400000".to_owned()),
    ]
}

/// The least that a request must have; returns the token limit.
pub(crate) fn check(call: &Call<'_>) -> Result<Option<u32>, Refusal> {
    if call.model.as_ref().is_none_or(|model| model.0.is_empty()) {
        return Err(Refusal::bad_request("model: Field required"));
    }
    if call.max_tokens.is_none() {
        return Err(Refusal::bad_request("max_tokens: Field required"));
    }
    match &call.messages {
        None => return Err(Refusal::bad_request("messages: Field required")),
        Some(messages) if messages.is_empty() => return Err(Refusal::bad_request("messages: at least one message is required")),
        Some(_) => check_roles(call, ROLES)?,
    }
    token_limit(call.max_tokens, 0)
}

/// A `message`.
pub(crate) fn unary(reply: &Reply<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let model = quoted(reply.model);
    push(&mut out, format_args!(r#"{{"model":{model},"id":"{}","type":"message","role":"assistant","content":["#, reply.id));
    for (number, segment) in reply.plan.segments.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        push_block(reply, segment, &mut out);
    }
    push(&mut out, format_args!("],{}", stop_fields(reply)));
    if let Some(usage) = reply.usage() {
        out.push(b',');
        push_full_usage(reply, usage, usage.completion, &mut out);
    }
    push_transformations(reply, &mut out);
    out.push(b'}');
    out
}

/// Which blocks of the request were left out, if any.
fn push_transformations(reply: &Reply<'_>, out: &mut Vec<u8>) {
    for (number, dropped) in reply.ask.dropped.iter().enumerate() {
        let start = if number == 0 { r#","input_transformations":["# } else { "," };
        let Dropped { message, block, reason } = dropped;
        push(
            out,
            format_args!(
                r#"{start}{{"type":"thinking_block_dropped","message_index":{message},"content_index":{block},"reason":"{reason}"}}"#
            ),
        );
    }
    if !reply.ask.dropped.is_empty() {
        out.push(b']');
    }
}

fn push_block(reply: &Reply<'_>, segment: &Segment, out: &mut Vec<u8>) {
    match &segment.kind {
        SegmentKind::Text | SegmentKind::Refusal => {
            out.extend_from_slice(br#"{"type":"text","text":""#);
            push_segment(segment, out);
            out.extend_from_slice(br#""}"#);
        }
        SegmentKind::Reasoning if reply.script.redacted => out.extend_from_slice(redacted(reply).as_bytes()),
        SegmentKind::Reasoning => {
            out.extend_from_slice(br#"{"type":"thinking","thinking":""#);
            if shows_thoughts(reply) {
                push_segment(segment, out);
            }
            push(out, format_args!(r#"","signature":"{}"}}"#, signature(reply, segment)));
        }
        SegmentKind::ToolCall { index, name, .. } => {
            let (id, name) = (tool_use_id(reply, *index), quoted(name));
            // The limit may have cut the arguments: what is no object is reported as none.
            let arguments = segment.text();
            let input = if serde_json::from_str::<Value>(&arguments).is_ok() { &arguments } else { "{}" };
            push(out, format_args!(r#"{{"type":"tool_use","id":"{id}","name":{name},"input":{input}}}"#));
        }
    }
}

fn tool_use_id(reply: &Reply<'_>, index: u32) -> String {
    reply.part_id("toolu_01", 22, index.into())
}

fn redacted(reply: &Reply<'_>) -> String {
    format!(r#"{{"type":"redacted_thinking","data":"{}"}}"#, reply.seal("", 1))
}

/// Whether the caller is to read the thoughts. Who is not judged always may.
fn shows_thoughts(reply: &Reply<'_>) -> bool {
    !reply.strict || reply.ask.shows_thoughts
}

/// Opaque to callers, who must send it back as it is.
fn signature(reply: &Reply<'_>, segment: &Segment) -> String {
    reply.seal(&segment.text(), 0)
}

/// `stop_reason`, `stop_sequence` and `stop_details`.
fn stop_fields(reply: &Reply<'_>) -> String {
    let own = match reply.plan.finish {
        Finish::Stop => "end_turn",
        Finish::StopSequence(_) => "stop_sequence",
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
        Finish::Refusal | Finish::ContentFilter => "refusal",
    };
    let details = match reply.plan.finish {
        Finish::Refusal | Finish::ContentFilter => {
            r#"{"type":"refusal","category":"cyber","explanation":"The simulator was told to decline."}"#
        }
        _ => "null",
    };
    let (reason, sequence) = (reply.finish(own), reply.stop_sequence());
    format!(r#""stop_reason":{reason},"stop_sequence":{sequence},"stop_details":{details}"#)
}

/// Input as Anthropic counts it: without what the cache took part in.
fn push_input(usage: Usage, out: &mut Vec<u8>) {
    let Usage { prompt, cached, cache_write, .. } = usage;
    // Absurd figures (all alike) stay what they are.
    let input = if prompt == cached && prompt != 0 && cache_write == prompt { prompt } else { prompt - cached - cache_write };
    push(out, format_args!(r#""input_tokens":{input},"cache_creation_input_tokens":{cache_write},"cache_read_input_tokens":{cached}"#));
}

fn push_full_usage(reply: &Reply<'_>, usage: Usage, output: i128, out: &mut Vec<u8>) {
    out.extend_from_slice(br#""usage":{"#);
    push_input(usage, out);
    let long = i128::from(reply.ask.cache.written_long).min(usage.cache_write.max(0));
    let short = usage.cache_write - long;
    push(out, format_args!(r#","cache_creation":{{"ephemeral_5m_input_tokens":{short},"ephemeral_1h_input_tokens":{long}}}"#));
    push(out, format_args!(r#","output_tokens":{output}"#));
    push_thinking(usage, out);
    out.extend_from_slice(br#","service_tier":"standard"}"#);
}

fn push_thinking(usage: Usage, out: &mut Vec<u8>) {
    if usage.reasoning != 0 {
        push(out, format_args!(r#","output_tokens_details":{{"thinking_tokens":{}}}"#, usage.reasoning));
    }
}

/// The events of a stream; blocks are numbered as they open.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    reply: &'a Reply<'a>,
    pinged: bool,
    /// Tokens that no event has carried yet.
    hidden: u32,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(reply: &'a Reply<'a>) -> Self {
        Self { reply, pinged: false, hidden: 0 }
    }

    pub(crate) fn opening(&mut self, frames: &mut Frames) {
        match self.reply.script.opening {
            Opening::Normal => {}
            Opening::Twice => self.message_start(frames),
            Opening::PingFirst => {
                start_event("ping", frames);
                end_event(0, frames);
            }
        }
        self.message_start(frames);
    }

    fn message_start(&self, frames: &mut Frames) {
        let (id, model) = (&self.reply.id, quoted(self.reply.model));
        start_event("message_start", frames);
        push(
            &mut frames.bytes,
            format_args!(r#","message":{{"model":{model},"id":"{id}","type":"message","role":"assistant","content":[]"#),
        );
        frames.push(r#","stop_reason":null,"stop_sequence":null,"stop_details":null"#);
        if let Some(usage) = self.reply.usage() {
            frames.push(",");
            // One output token, as the real one says it here: a placeholder that nobody should bill.
            push_full_usage(self.reply, Usage { reasoning: 0, ..usage }, usage.completion.min(1), &mut frames.bytes);
        }
        push_transformations(self.reply, &mut frames.bytes);
        frames.push("}");
        end_event(0, frames);
    }

    pub(crate) fn piece(&mut self, position: usize, segment: &Segment, index: u32, frames: &mut Frames) {
        if index == 0 {
            self.open_block(position, segment, frames);
        }
        let text = segment.piece(index);
        match segment.kind {
            SegmentKind::Text | SegmentKind::Refusal => self.delta(position, r#"{"type":"text_delta","text":""#, text, 1, frames),
            // Opaque thoughts stand in the start of their block, others may be for nobody to see.
            SegmentKind::Reasoning if self.reply.script.redacted || !shows_thoughts(self.reply) => self.hidden += 1,
            SegmentKind::Reasoning => self.delta(position, r#"{"type":"thinking_delta","thinking":""#, text, 1, frames),
            SegmentKind::ToolCall { .. } if self.reply.strict && segment.tokens == 2 && text == "{}" => self.hidden += 1,
            SegmentKind::ToolCall { .. } => self.delta(position, r#"{"type":"input_json_delta","partial_json":""#, text, 1, frames),
        }
        if index + 1 == segment.tokens {
            self.close_block(position, segment, frames);
        }
    }

    pub(crate) fn closing(&mut self, frames: &mut Frames) {
        let usages = self.reply.stream_usages();
        // Without usage there still is the event with the reason.
        for usage in usages.iter().copied().map(Some).chain(usages.is_empty().then_some(None)) {
            start_event("message_delta", frames);
            push(&mut frames.bytes, format_args!(r#","delta":{{{}}}"#, stop_fields(self.reply)));
            if let Some(usage) = usage {
                frames.push(r#","usage":{"#);
                push_input(usage, &mut frames.bytes);
                push(&mut frames.bytes, format_args!(r#","output_tokens":{}"#, usage.completion));
                push_thinking(usage, &mut frames.bytes);
                frames.push("}");
            }
            end_event(0, frames);
        }
        let terminals = match self.reply.script.terminal {
            Terminal::Normal => 1,
            Terminal::Absent => 0,
            Terminal::Twice => 2,
        };
        for _ in 0..terminals {
            start_event("message_stop", frames);
            end_event(0, frames);
        }
    }

    fn open_block(&mut self, position: usize, segment: &Segment, frames: &mut Frames) {
        start_event("content_block_start", frames);
        push(&mut frames.bytes, format_args!(r#","index":{position},"content_block":"#));
        match &segment.kind {
            SegmentKind::Text | SegmentKind::Refusal => frames.push(r#"{"type":"text","text":""}"#),
            SegmentKind::Reasoning if self.reply.script.redacted => frames.push(&redacted(self.reply)),
            SegmentKind::Reasoning => frames.push(r#"{"type":"thinking","thinking":"","signature":""}"#),
            SegmentKind::ToolCall { index, name, .. } => {
                let (id, name) = (tool_use_id(self.reply, *index), quoted(name));
                push(&mut frames.bytes, format_args!(r#"{{"type":"tool_use","id":"{id}","name":{name},"input":{{}}}}"#));
            }
        }
        end_event(0, frames);
        if !std::mem::replace(&mut self.pinged, true) {
            start_event("ping", frames);
            end_event(0, frames);
        }
    }

    fn close_block(&mut self, position: usize, segment: &Segment, frames: &mut Frames) {
        if segment.kind == SegmentKind::Reasoning && !self.reply.script.redacted {
            self.delta(position, r#"{"type":"signature_delta","signature":""#, &signature(self.reply, segment), 0, frames);
        }
        start_event("content_block_stop", frames);
        push(&mut frames.bytes, format_args!(r#","index":{position}"#));
        end_event(std::mem::take(&mut self.hidden), frames);
    }

    fn delta(&mut self, position: usize, before: &str, text: &str, tokens: u32, frames: &mut Frames) {
        start_event("content_block_delta", frames);
        push(&mut frames.bytes, format_args!(r#","index":{position},"delta":"#));
        frames.push(before);
        push_escaped(text, &mut frames.bytes);
        frames.push("\"}");
        end_event(tokens + std::mem::take(&mut self.hidden), frames);
    }
}

/// The `event:` line and the data up to behind the type.
fn start_event(name: &str, frames: &mut Frames) {
    frames.push("event: ");
    frames.push(name);
    frames.end_line();
    frames.push("data: {\"type\":\"");
    frames.push(name);
    frames.push("\"");
}

fn end_event(tokens: u32, frames: &mut Frames) {
    frames.push("}");
    frames.end_line();
    frames.end_frame(tokens);
}

/// `{"type": "error", …}` with the type that Anthropic gives the status.
pub(crate) fn error_body(refusal: &Refusal, request_id: &str) -> String {
    let kind = match refusal.status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    let mut error = json!({"type": kind, "message": refusal.message});
    // Of its codes Anthropic tells those of threads.
    if let Some(code) = refusal.code.filter(|code| code.starts_with("thread_")) {
        error["details"] = json!({"error_code": code});
    }
    json!({"type": "error", "error": error, "request_id": request_id}).to_string()
}

/// An error in the middle of a stream; returns the JSON that it carries.
pub(crate) fn error_event(frames: &mut Frames) -> String {
    let body = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}).to_string();
    frames.push("event: error");
    frames.end_line();
    frames.push("data: ");
    frames.push(&body);
    frames.end_line();
    frames.end_frame(0);
    body
}

/// `GET /v1/models`.
pub(crate) fn models() -> String {
    let data: Vec<Value> = Model::ALL.iter().map(|model| model_entry(model.name())).collect();
    let id = |model: Option<&Model>| model.map(|model| model.name());
    json!({"data": data, "has_more": false, "first_id": id(Model::ALL.first()), "last_id": id(Model::ALL.last())}).to_string()
}

/// `GET /v1/models/{id}`.
pub(crate) fn model(name: &str) -> String {
    model_entry(name).to_string()
}

fn model_entry(name: &str) -> Value {
    json!({"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z", "lifecycle": "active"})
}
