//! OpenAI's chat completions, written by hand in the field order of the real thing.

mod odd;
mod rules;
mod shapes;

pub(crate) use rules::read;

use self::odd::{OddStream, is_odd};
use crate::call::Call;
use crate::intake::{check_roles, token_limit};
use crate::plan::{Finish, Model, Segment, SegmentKind};
use crate::reply::{Frames, Refusal, Reply, Usage, push, push_escaped, push_segment, quoted};
use crate::script::{Opening, Terminal};
use serde_json::{Value, json};

const FINGERPRINT: &str = "fp_51ab8c2e70";
const ROLES: &[&str] = &["system", "developer", "user", "assistant", "tool", "function"];
const MAX_CHOICES: i64 = 128;

/// The headers that OpenAI adds to every reply.
pub(crate) fn headers(request_id: &str) -> Vec<(&'static str, String)> {
    vec![
        ("x-request-id", request_id.to_owned()),
        ("openai-version", "2020-10-01".to_owned()),
        ("openai-processing-ms", "1".to_owned()),
        ("x-ratelimit-limit-requests", "10000".to_owned()),
        ("x-ratelimit-remaining-requests", "9999".to_owned()),
        ("x-ratelimit-reset-requests", "6ms".to_owned()),
    ]
}

/// The least that a request must have; returns the token limit.
pub(crate) fn check(call: &Call<'_>) -> Result<Option<u32>, Refusal> {
    if call.model.as_ref().is_none_or(|model| model.0.is_empty()) {
        return Err(Refusal::bad_request("you must provide a model parameter").param("model"));
    }
    match &call.messages {
        None => {
            return Err(Refusal::bad_request("Missing required parameter: 'messages'.")
                .param("messages")
                .code("missing_required_parameter"));
        }
        Some(messages) if messages.is_empty() => {
            return Err(Refusal::bad_request("Invalid 'messages': empty array.").param("messages").code("empty_array"));
        }
        Some(_) => check_roles(call, ROLES)?,
    }
    if call.stream_options.is_some() && call.stream != Some(true) {
        return Err(
            Refusal::bad_request("The 'stream_options' parameter is only allowed when 'stream' is enabled.").param("stream_options")
        );
    }
    if call.n.is_some_and(|n| !(1..=MAX_CHOICES).contains(&n)) {
        return Err(Refusal::bad_request(format!("Invalid 'n': must be between 1 and {MAX_CHOICES}.")).param("n"));
    }
    if call.max_tokens.is_some() && call.max_completion_tokens.is_some() {
        return Err(Refusal::bad_request("Set either 'max_tokens' or 'max_completion_tokens', not both.").param("max_tokens"));
    }
    token_limit(call.max_completion_tokens.or(call.max_tokens), 1)
}

/// A `chat.completion`.
pub(crate) fn unary(reply: &Reply<'_>) -> Vec<u8> {
    if is_odd(reply) {
        return odd::unary(reply).to_string().into_bytes();
    }
    let mut out = Vec::with_capacity(1024);
    push(&mut out, format_args!(r#"{{"id":"{}","object":"chat.completion","created":{}"#, reply.id, reply.created));
    push(&mut out, format_args!(r#","model":{},"choices":["#, quoted(reply.model)));
    for choice in 0..reply.plan.choices {
        if choice > 0 {
            out.push(b',');
        }
        let said: Vec<&Segment> = reply.plan.segments.iter().filter(|segment| segment.choice == choice).collect();
        push_choice(reply, choice, &said, &mut out);
    }
    out.push(b']');
    if let Some(usage) = reply.usage() {
        out.push(b',');
        push_usage(usage, &mut out);
    }
    push(&mut out, format_args!(r#","service_tier":"{}","system_fingerprint":"{FINGERPRINT}"}}"#, reply.service_tier()));
    out
}

fn push_choice(reply: &Reply<'_>, choice: u32, said: &[&Segment], out: &mut Vec<u8>) {
    push(out, format_args!(r#"{{"index":{choice},"message":{{"role":"assistant","content":"#));
    push_content(said, out);
    let refusal = said.iter().find(|segment| segment.kind == SegmentKind::Refusal);
    let refusal = refusal.map_or_else(|| "null".to_owned(), |segment| quoted(&segment.text()));
    push(out, format_args!(r#","refusal":{refusal},"annotations":[]"#));
    push_reasoning(said, out);
    push_tool_calls(reply, said, out);
    out.extend_from_slice(br#"},"logprobs":"#);
    push_logprobs(reply, said, out);
    push(out, format_args!(r#","finish_reason":{}}}"#, finish_reason(reply)));
}

fn push_content(said: &[&Segment], out: &mut Vec<u8>) {
    let mut texts = said.iter().filter(|segment| segment.kind == SegmentKind::Text).peekable();
    // Only a reply of tool calls or of a refusal alone has no content; an empty one has an empty content.
    if texts.peek().is_none() && said.iter().any(|segment| segment.is_call() || segment.kind == SegmentKind::Refusal) {
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
fn push_reasoning(said: &[&Segment], out: &mut Vec<u8>) {
    for segment in said.iter().filter(|segment| segment.kind == SegmentKind::Reasoning) {
        out.extend_from_slice(br#","reasoning_content":""#);
        push_segment(segment, out);
        out.push(b'"');
    }
}

fn push_tool_calls(reply: &Reply<'_>, said: &[&Segment], out: &mut Vec<u8>) {
    let mut separator = r#","tool_calls":["#;
    for segment in said {
        let SegmentKind::ToolCall { index, name, .. } = &segment.kind else { continue };
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

/// `{"content": […], "refusal": null}`, or null if nobody asked.
fn push_logprobs(reply: &Reply<'_>, said: &[&Segment], out: &mut Vec<u8>) {
    let Some(top) = reply.ask.logprobs else { return out.extend_from_slice(b"null") };
    out.extend_from_slice(br#"{"content":["#);
    let texts = said.iter().filter(|segment| segment.kind == SegmentKind::Text);
    for (number, (segment, index)) in texts.flat_map(|segment| (0..segment.tokens).map(move |index| (segment, index))).enumerate() {
        if number > 0 {
            out.push(b',');
        }
        push_logprob(segment.piece(index), index, top, out);
    }
    out.extend_from_slice(br#"],"refusal":null}"#);
}

/// One token with its probability, and `top` alternatives of which it is the first.
pub(crate) fn push_logprob(token: &str, index: u32, top: u32, out: &mut Vec<u8>) {
    let entry = |rank: u32| {
        let text = if rank == 0 { token.to_owned() } else { format!("{token}{rank}") };
        format!(r#""token":{},"logprob":{:.2},"bytes":{:?}"#, quoted(&text), logprob(index, rank), text.as_bytes())
    };
    push(out, format_args!(r#"{{{},"top_logprobs":["#, entry(0)));
    for rank in 0..top {
        push(out, format_args!("{}{{{}}}", if rank > 0 { "," } else { "" }, entry(rank)));
    }
    out.extend_from_slice(b"]}");
}

/// The logarithm of a probability that looks like one, and falls with the rank.
pub(crate) fn logprob(index: u32, rank: u32) -> f64 {
    -0.01 * f64::from(1 + index % 7) - 1.25 * f64::from(rank)
}

fn call_id(reply: &Reply<'_>, index: u32) -> String {
    reply.part_id("call_", 24, index.into())
}

fn finish_reason(reply: &Reply<'_>) -> String {
    reply.finish(match reply.plan.finish {
        Finish::Stop | Finish::StopSequence(_) | Finish::Refusal => "stop",
        Finish::ContentFilter => "content_filter",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
    })
}

/// What stands behind `usage`.
fn usage_json(usage: Usage) -> Value {
    let mut out = b"{".to_vec();
    push_usage(usage, &mut out);
    out.push(b'}');
    serde_json::from_slice::<Value>(&out).ok().and_then(|mut object| Some(object.get_mut("usage")?.take())).unwrap_or_default()
}

pub(crate) fn push_usage(usage: Usage, out: &mut Vec<u8>) {
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
    /// Writes instead, where something is odd.
    odd: Option<OddStream<'a>>,
    /// From `data:` to the choices.
    start: String,
    /// From behind the delta to the end of the line.
    rest: String,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(reply: &'a Reply<'a>) -> Self {
        let Reply { id, created, .. } = reply;
        let (model, tier) = (quoted(reply.model), reply.service_tier());
        let usage = if reply.wishes.usage { r#","usage":null"# } else { "" };
        Self {
            reply,
            odd: is_odd(reply).then(|| OddStream::new(reply)),
            start: format!(
                r#"data: {{"id":"{id}","object":"chat.completion.chunk","created":{created},"model":{model},"service_tier":"{tier}","system_fingerprint":"{FINGERPRINT}","choices":["#
            ),
            rest: format!(r#","finish_reason":null}}]{usage}}}"#),
        }
    }

    pub(crate) fn opening(&mut self, frames: &mut Frames) {
        if let Some(odd) = &mut self.odd {
            return odd.opening(frames);
        }
        match self.reply.script.opening {
            Opening::Normal => {}
            Opening::Twice => self.role(0, frames),
            Opening::PingFirst => frames.lone_line(": ping"),
        }
        for choice in 0..self.reply.plan.choices {
            self.role(choice, frames);
        }
    }

    fn role(&self, choice: u32, frames: &mut Frames) {
        self.start_delta(choice, frames);
        frames.push(r#"{"role":"assistant","content":"","refusal":null}"#);
        self.end_delta(0, frames);
    }

    pub(crate) fn piece(&mut self, segment: &Segment, index: u32, frames: &mut Frames) {
        if let Some(odd) = &mut self.odd {
            return odd.piece(segment, index, frames);
        }
        self.start_delta(segment.choice, frames);
        let text = segment.piece(index);
        match &segment.kind {
            SegmentKind::Text => push_text(r#"{"content":""#, text, r#""}"#, frames),
            SegmentKind::Refusal => push_text(r#"{"refusal":""#, text, r#""}"#, frames),
            SegmentKind::Reasoning => push_text(r#"{"reasoning_content":""#, text, r#""}"#, frames),
            SegmentKind::ToolCall { index: call, name, .. } if index == 0 => {
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
        match self.reply.ask.logprobs {
            Some(top) if segment.kind == SegmentKind::Text => {
                frames.push(r#","logprobs":{"content":["#);
                push_logprob(text, index, top, &mut frames.bytes);
                frames.push(r#"],"refusal":null}"#);
                self.end_choice(1, frames);
            }
            _ => self.end_delta(1, frames),
        }
    }

    pub(crate) fn closing(&mut self, frames: &mut Frames) {
        if let Some(odd) = &mut self.odd {
            return odd.closing(frames);
        }
        let usage_null = if self.reply.wishes.usage { r#","usage":null"# } else { "" };
        for choice in 0..self.reply.plan.choices {
            self.start_delta(choice, frames);
            push(&mut frames.bytes, format_args!(r#"{{}},"logprobs":null,"finish_reason":{}}}]{usage_null}}}"#, finish_reason(self.reply)));
            frames.end_line();
            frames.end_frame(0);
        }
        if self.reply.wishes.usage {
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

    fn start_delta(&self, choice: u32, frames: &mut Frames) {
        frames.push(&self.start);
        if choice == 0 {
            frames.push(r#"{"index":0,"delta":"#);
        } else {
            push(&mut frames.bytes, format_args!(r#"{{"index":{choice},"delta":"#));
        }
    }

    fn end_delta(&self, tokens: u32, frames: &mut Frames) {
        frames.push(r#","logprobs":null"#);
        self.end_choice(tokens, frames);
    }

    fn end_choice(&self, tokens: u32, frames: &mut Frames) {
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
    let data: Vec<Value> = Model::ALL.iter().map(|model| model_entry(model.name(), created)).collect();
    json!({"object": "list", "data": data}).to_string()
}

/// `GET /v1/models/{id}`.
pub(crate) fn model(name: &str, created: u64) -> String {
    model_entry(name, created).to_string()
}

fn model_entry(name: &str, created: u64) -> Value {
    json!({"id": name, "object": "model", "created": created, "owned_by": "sim"})
}
