//! Amazon Bedrock's Converse: Claude's blocks under other names, a binary stream, exceptions by name.

pub(crate) mod event_stream;
mod rules;
mod shapes;
mod stream;

pub(crate) use rules::{count_tokens, read};
pub(crate) use stream::{Stream, error_event, scripted};

use crate::plan::{Finish, Segment, SegmentKind};
use crate::reply::{Refusal, Reply, Usage, push, quoted};
use crate::script::ToolAnomaly;
use serde_json::{Value, json};

/// The headers that Bedrock adds to every reply.
pub(crate) fn headers(request_id: &str) -> Vec<(&'static str, String)> {
    vec![("x-amzn-requestid", request_id.to_owned())]
}

/// A `ConverseResponse`.
pub(crate) fn unary(reply: &Reply<'_>) -> Vec<u8> {
    let blocks: Vec<String> = reply.plan.segments.iter().map(|segment| block(reply, segment)).collect();
    let mut out = Vec::with_capacity(1024);
    push(&mut out, format_args!(r#"{{{}"metrics":{{"latencyMs":1}}"#, additional_fields(reply)));
    push(&mut out, format_args!(r#","output":{{"message":{{"content":[{}],"role":"assistant"}}}}"#, blocks.join(",")));
    push(&mut out, format_args!(r#","stopReason":{}"#, stop_reason(reply)));
    if let Some(usage) = reply.usage() {
        out.push(b',');
        push_usage(usage, reply.ask.cache.written_long, &mut out);
    }
    out.push(b'}');
    out
}

fn block(reply: &Reply<'_>, segment: &Segment) -> String {
    match &segment.kind {
        SegmentKind::Text | SegmentKind::Refusal => format!(r#"{{"text":{}}}"#, quoted(&segment.text())),
        SegmentKind::Reasoning if reply.script.redacted => format!(r#"{{"reasoningContent":{{"redactedContent":"{}"}}}}"#, redacted(reply)),
        SegmentKind::Reasoning => {
            let (text, signature) = (quoted(&segment.text()), reply.seal(&segment.text(), 0));
            format!(r#"{{"reasoningContent":{{"reasoningText":{{"signature":"{signature}","text":{text}}}}}}}"#)
        }
        SegmentKind::ToolCall { index, name, .. } => {
            let input = arguments(segment).unwrap_or_else(|| json!({}));
            format!(r#"{{"toolUse":{{"input":{input},"name":{},"toolUseId":"{}"}}}}"#, quoted(name), tool_use_id(reply, *index))
        }
    }
}

fn redacted(reply: &Reply<'_>) -> String {
    reply.seal("", 1)
}

fn tool_use_id(reply: &Reply<'_>, index: u32) -> String {
    let index = if reply.script.has(ToolAnomaly::RepeatedId) { 0 } else { index };
    reply.part_id("tooluse_", 22, index.into())
}

/// The arguments of a call, if they are an object.
fn arguments(segment: &Segment) -> Option<Value> {
    serde_json::from_str(&segment.text()).ok().filter(Value::is_object)
}

fn stop_reason(reply: &Reply<'_>) -> String {
    let malformed = reply.plan.segments.iter().any(|segment| segment.is_call() && arguments(segment).is_none());
    reply.finish(match reply.plan.finish {
        Finish::Length => "max_tokens",
        Finish::ToolCalls if malformed => "malformed_tool_use",
        Finish::ToolCalls => "tool_use",
        Finish::Stop => "end_turn",
        Finish::StopSequence(_) => "stop_sequence",
        Finish::Refusal => "content_filtered",
        Finish::ContentFilter => "guardrail_intervened",
    })
}

/// `additionalModelResponseFields` where the caller has asked for the one there is, with a comma behind.
fn additional_fields(reply: &Reply<'_>) -> String {
    let paths = reply.request.get("additionalModelResponseFieldPaths").and_then(Value::as_array);
    if !paths.is_some_and(|paths| paths.iter().any(|path| path == "/stop_sequence")) {
        return String::new();
    }
    format!(r#""additionalModelResponseFields":{{"stop_sequence":{}}},"#, reply.stop_sequence())
}

/// Input without what the cache took part in.
fn push_usage(usage: Usage, written_long: u32, out: &mut Vec<u8>) {
    let Usage { prompt, cached, cache_write, completion, .. } = usage;
    // Absurd figures (all alike) stay what they are.
    let absurd = prompt == cached && prompt == cache_write && prompt == completion;
    let input = if absurd { prompt } else { prompt - cached - cache_write };
    let total = prompt + completion;
    push(out, format_args!(r#""usage":{{"cacheReadInputTokens":{cached},"cacheWriteInputTokens":{cache_write}"#));
    if cache_write > 0 && !absurd {
        let long = i128::from(written_long).min(cache_write);
        let details = [("5m", cache_write - long), ("1h", long)];
        let details = details.iter().filter(|(_, tokens)| *tokens > 0);
        let details: Vec<String> = details.map(|(ttl, tokens)| format!(r#"{{"inputTokens":{tokens},"ttl":"{ttl}"}}"#)).collect();
        push(out, format_args!(r#","cacheDetails":[{}]"#, details.join(",")));
    }
    push(out, format_args!(r#","inputTokens":{input},"outputTokens":{completion},"totalTokens":{total}}}"#));
}

/// The exception that a refusal is.
pub(crate) fn exception(refusal: &Refusal) -> &'static str {
    refusal.code.filter(|code| code.ends_with("Exception")).unwrap_or(match refusal.status {
        401 | 403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 | 504 => "ModelTimeoutException",
        424 => "ModelErrorException",
        429 => "ThrottlingException",
        503 | 529 => "ServiceUnavailableException",
        500.. => "InternalServerException",
        _ => "ValidationException",
    })
}

/// `{"message": …}`; the exception's name is in a header.
pub(crate) fn error_body(refusal: &Refusal) -> String {
    json!({"message": refusal.message}).to_string()
}

/// `x-amzn-errortype` of a refusal, with the address that Bedrock puts behind the name.
pub(crate) fn error_type(refusal: &Refusal) -> (&'static str, String) {
    ("x-amzn-errortype", format!("{}:http://internal.amazon.com/coral/com.amazon.bedrock/", exception(refusal)))
}
