//! OpenAI's chat completions, written by hand in the field order of the real thing.

use crate::plan::{Finish, Model, Plan, Segment, SegmentKind};
use crate::reply::{Frames, Refusal, Reply, Usage, push, push_escaped, push_segment, quoted};
use crate::script::Terminal;
use serde_json::{Value, json};

const FINGERPRINT: &str = "fp_51ab8c2e70";

/// The headers that OpenAI adds to every reply.
pub(crate) fn headers(request_id: &str) -> [(&'static str, String); 6] {
    [
        ("x-request-id", request_id.to_owned()),
        ("openai-version", "2020-10-01".to_owned()),
        ("openai-processing-ms", "1".to_owned()),
        ("x-ratelimit-limit-requests", "10000".to_owned()),
        ("x-ratelimit-remaining-requests", "9999".to_owned()),
        ("x-ratelimit-reset-requests", "6ms".to_owned()),
    ]
}

/// A `chat.completion`.
pub(crate) fn unary(reply: &Reply<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    push(&mut out, format_args!(r#"{{"id":"{}","object":"chat.completion","created":{}"#, reply.id, reply.created));
    push(&mut out, format_args!(r#","model":{},"choices":[{{"index":0,"message":{{"role":"assistant","content":"#, quoted(reply.model)));
    push_content(reply.plan, &mut out);
    out.extend_from_slice(br#","refusal":null,"annotations":[]"#);
    push_reasoning(reply.plan, &mut out);
    push_tool_calls(reply, &mut out);
    push(&mut out, format_args!(r#"}},"logprobs":null,"finish_reason":{}}}]"#, finish_reason(reply)));
    if let Some(usage) = reply.usage() {
        out.push(b',');
        push_usage(usage, &mut out);
    }
    push(&mut out, format_args!(r#","service_tier":"default","system_fingerprint":"{FINGERPRINT}"}}"#));
    out
}

fn push_content(plan: &Plan, out: &mut Vec<u8>) {
    let mut texts = plan.segments.iter().filter(|segment| segment.kind == SegmentKind::Text).peekable();
    // Only a reply of tool calls alone has no content; an empty one has an empty content.
    if texts.peek().is_none() && plan.segments.iter().any(|segment| matches!(segment.kind, SegmentKind::ToolCall { .. })) {
        out.extend_from_slice(b"null");
        return;
    }
    out.push(b'"');
    for segment in texts {
        push_segment(segment, out);
    }
    out.push(b'"');
}

/// OpenAI hides its reasoning; compatible hosts show it under this name.
fn push_reasoning(plan: &Plan, out: &mut Vec<u8>) {
    for segment in plan.segments.iter().filter(|segment| segment.kind == SegmentKind::Reasoning) {
        out.extend_from_slice(br#","reasoning_content":""#);
        push_segment(segment, out);
        out.push(b'"');
    }
}

fn push_tool_calls(reply: &Reply<'_>, out: &mut Vec<u8>) {
    let mut separator = r#","tool_calls":["#;
    for segment in &reply.plan.segments {
        let SegmentKind::ToolCall { index, name } = &segment.kind else { continue };
        out.extend_from_slice(separator.as_bytes());
        separator = ",";
        let id = call_id(reply, *index);
        push(out, format_args!(r#"{{"id":"{id}","type":"function","function":{{"name":{},"arguments":""#, quoted(name)));
        push_segment(segment, out);
        out.extend_from_slice(br#""}}"#);
    }
    if separator == "," {
        out.push(b']');
    }
}

fn call_id(reply: &Reply<'_>, index: u32) -> String {
    reply.part_id("call_", 24, index.into())
}

fn finish_reason(reply: &Reply<'_>) -> String {
    reply.finish(match reply.plan.finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
    })
}

fn push_usage(usage: Usage, out: &mut Vec<u8>) {
    let Usage { prompt, cached, cache_write, completion, reasoning } = usage;
    let total = prompt + completion;
    push(out, format_args!(r#""usage":{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{total}"#));
    push(out, format_args!(r#","prompt_tokens_details":{{"cached_tokens":{cached},"cache_write_tokens":{cache_write},"audio_tokens":0}}"#));
    push(out, format_args!(r#","completion_tokens_details":{{"reasoning_tokens":{reasoning},"audio_tokens":0"#));
    out.extend_from_slice(br#","accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#);
}

/// The frames of a stream. Nearly all are the same but for the delta, so what stands around it is kept ready.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    reply: &'a Reply<'a>,
    /// From `data:` to the choices.
    start: String,
    /// From behind the delta to the end of the line.
    rest: String,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(reply: &'a Reply<'a>) -> Self {
        let Reply { id, created, .. } = reply;
        let model = quoted(reply.model);
        let usage = if reply.include_usage { r#","usage":null"# } else { "" };
        Self {
            reply,
            start: format!(
                r#"data: {{"id":"{id}","object":"chat.completion.chunk","created":{created},"model":{model},"service_tier":"default","system_fingerprint":"{FINGERPRINT}","choices":["#
            ),
            rest: format!(r#","logprobs":null,"finish_reason":null}}]{usage}}}"#),
        }
    }

    pub(crate) fn opening(&mut self, frames: &mut Frames) {
        self.start_delta(frames);
        frames.push(r#"{"role":"assistant","content":"","refusal":null}"#);
        self.end_delta(0, frames);
    }

    pub(crate) fn piece(&mut self, segment: &Segment, index: u32, frames: &mut Frames) {
        self.start_delta(frames);
        let text = segment.piece(index);
        match &segment.kind {
            SegmentKind::Text => push_text(r#"{"content":""#, text, r#""}"#, frames),
            SegmentKind::Reasoning => push_text(r#"{"reasoning_content":""#, text, r#""}"#, frames),
            SegmentKind::ToolCall { index: call, name } if index == 0 => {
                let (id, name) = (call_id(self.reply, *call), quoted(name));
                push(
                    &mut frames.bytes,
                    format_args!(
                        r#"{{"tool_calls":[{{"index":{call},"id":"{id}","type":"function","function":{{"name":{name},"arguments":""}}}}]}}"#
                    ),
                );
            }
            SegmentKind::ToolCall { index: call, .. } => {
                push(&mut frames.bytes, format_args!(r#"{{"tool_calls":[{{"index":{call},"#));
                push_text(r#""function":{"arguments":""#, text, r#""}}]}"#, frames);
            }
        }
        self.end_delta(1, frames);
    }

    pub(crate) fn closing(&mut self, frames: &mut Frames) {
        let usage_null = if self.reply.include_usage { r#","usage":null"# } else { "" };
        self.start_delta(frames);
        push(&mut frames.bytes, format_args!(r#"{{}},"logprobs":null,"finish_reason":{}}}]{usage_null}}}"#, finish_reason(self.reply)));
        frames.end_line();
        frames.end_frame(0);
        if self.reply.include_usage {
            for usage in self.reply.stream_usages() {
                frames.push(&self.start);
                frames.push("],");
                push_usage(usage, &mut frames.bytes);
                frames.push("}");
                frames.end_line();
                frames.end_frame(0);
            }
        }
        let terminals = match self.reply.script.terminal {
            Terminal::Normal => 1,
            Terminal::Absent => 0,
            Terminal::Twice => 2,
        };
        for _ in 0..terminals {
            frames.push("data: [DONE]");
            frames.end_line();
            frames.end_frame(0);
        }
    }

    fn start_delta(&self, frames: &mut Frames) {
        frames.push(&self.start);
        frames.push(r#"{"index":0,"delta":"#);
    }

    fn end_delta(&self, tokens: u32, frames: &mut Frames) {
        frames.push(&self.rest);
        frames.end_line();
        frames.end_frame(tokens);
    }
}

fn push_text(before: &str, text: &str, after: &str, frames: &mut Frames) {
    frames.push(before);
    push_escaped(text, &mut frames.bytes);
    frames.push(after);
}

/// `{"error": {…}}` with the type that OpenAI gives the status.
pub(crate) fn error_body(refusal: &Refusal) -> String {
    let kind = match refusal.status {
        429 => "requests",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    let code = refusal.code.or((refusal.status == 429).then_some("rate_limit_exceeded"));
    json!({"error": {"message": refusal.message, "type": kind, "param": refusal.param, "code": code}}).to_string()
}

/// An error in the middle of a stream; returns the JSON that it carries.
pub(crate) fn error_event(frames: &mut Frames) -> String {
    let refusal = Refusal::new(500, "The server had an error while processing your request. Sorry about that!");
    let body = error_body(&refusal);
    frames.push("data: ");
    frames.push(&body);
    frames.end_line();
    frames.end_frame(0);
    body
}

/// `GET /v1/models`.
pub(crate) fn models(created: u64) -> String {
    let data: Vec<Value> = Model::ALL.iter().map(|&model| model_entry(model, created)).collect();
    json!({"object": "list", "data": data}).to_string()
}

/// `GET /v1/models/{id}`.
pub(crate) fn model(model: Model, created: u64) -> String {
    model_entry(model, created).to_string()
}

fn model_entry(model: Model, created: u64) -> Value {
    json!({"id": model.name(), "object": "model", "created": created, "owned_by": "sim"})
}
