//! Google's Gemini: contents of parts, whole function calls, signatures on parts, figures that run along.

mod rules;
mod shapes;
mod stream;

pub(crate) use rules::{count_tokens, read};
pub(crate) use stream::{Stream, error_event};

use crate::ask::Media;
use crate::openai_chat::logprob;
use crate::plan::{Finish, Model, Segment, SegmentKind};
use crate::reply::{Refusal, Reply, Usage, push, quoted};
use crate::script::ToolAnomaly;
use serde_json::{Value, json};

/// The headers that Google adds to every reply.
pub(crate) fn headers() -> Vec<(&'static str, String)> {
    vec![
        ("server-timing", "gfet4t7; dur=1".to_owned()),
        ("vary", "Origin".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
        ("x-frame-options", "SAMEORIGIN".to_owned()),
    ]
}

/// A `GenerateContentResponse`.
pub(crate) fn unary(reply: &Reply<'_>) -> Vec<u8> {
    let mut out = b"{".to_vec();
    if reply.plan.is_blocked() {
        out.extend_from_slice(BLOCKED.as_bytes());
    } else {
        out.extend_from_slice(br#""candidates":["#);
        for choice in 0..reply.plan.choices {
            if choice > 0 {
                out.push(b',');
            }
            push_candidate(reply, choice, &mut out);
        }
        out.push(b']');
    }
    if let Some(usage) = reply.usage() {
        out.push(b',');
        push_usage(usage, reply.ask.media, &mut out);
    }
    push(&mut out, format_args!(",{}}}", identity(reply)));
    out
}

const BLOCKED: &str = r#""promptFeedback":{"blockReason":"PROHIBITED_CONTENT"}"#;

fn identity(reply: &Reply<'_>) -> String {
    format!(r#""modelVersion":{},"responseId":"{}""#, quoted(reply.model), reply.id)
}

fn push_candidate(reply: &Reply<'_>, choice: u32, out: &mut Vec<u8>) {
    let said: Vec<&Segment> = reply.plan.segments.iter().filter(|segment| segment.choice == choice).collect();
    let last_text = said.iter().rposition(|segment| matches!(segment.kind, SegmentKind::Text | SegmentKind::Refusal));
    let mut parts = Vec::new();
    for (position, segment) in said.iter().enumerate() {
        match &segment.kind {
            SegmentKind::Reasoning if shows_thoughts(reply) => {
                parts.push(format!(r#"{{"text":{},"thought":true}}"#, quoted(&segment.text())))
            }
            SegmentKind::Reasoning => {}
            SegmentKind::Text | SegmentKind::Refusal => {
                let signature = if Some(position) == last_text { text_signature(reply) } else { None };
                parts.push(text_part(&segment.text(), signature.as_deref()));
            }
            SegmentKind::ToolCall { .. } => parts.extend(call_part(reply, segment)),
        }
    }
    let parts = parts.join(",");
    push(out, format_args!(r#"{{"content":{{"parts":[{parts}],"role":"model"}},{},"index":{choice}"#, finish(reply)));
    if let Some(top) = reply.ask.logprobs {
        let tokens: Vec<(&str, u32)> = said
            .iter()
            .filter(|segment| segment.kind == SegmentKind::Text)
            .flat_map(|segment| (0..segment.tokens).map(|index| (segment.piece(index), index)))
            .collect();
        push(out, format_args!(",{}", logprobs(&tokens, top)));
    }
    out.push(b'}');
}

fn text_part(text: &str, signature: Option<&str>) -> String {
    let signature = signature.map(|signature| format!(r#","thoughtSignature":"{signature}""#)).unwrap_or_default();
    format!(r#"{{"text":{}{signature}}}"#, quoted(text))
}

/// A whole call, if its arguments are an object.
fn call_part(reply: &Reply<'_>, segment: &Segment) -> Option<String> {
    let SegmentKind::ToolCall { index, name, .. } = &segment.kind else { return None };
    let arguments: Value = serde_json::from_str(&segment.text()).ok().filter(Value::is_object)?;
    let id = if reply.script.has(ToolAnomaly::NoId) { String::new() } else { format!(r#""id":"{}","#, call_id(reply, *index)) };
    let signature =
        call_signature(reply, *index, name).map(|signature| format!(r#","thoughtSignature":"{signature}""#)).unwrap_or_default();
    Some(format!(r#"{{"functionCall":{{{id}"name":{},"args":{arguments}}}{signature}}}"#, quoted(name)))
}

fn call_id(reply: &Reply<'_>, index: u32) -> String {
    reply.part_id("", 12, index.into())
}

/// Of several calls, the first is signed.
fn call_signature(reply: &Reply<'_>, index: u32, name: &str) -> Option<String> {
    (index == 0 && signs(reply)).then(|| reply.seal(&rules::signed_call(name), 0))
}

/// A text is signed if the model has thought and calls nothing.
fn text_signature(reply: &Reply<'_>) -> Option<String> {
    let calls = reply.plan.segments.iter().any(Segment::is_call);
    (reply.plan.reasoning_tokens() > 0 && !calls).then(|| reply.seal(rules::SIGNED_TEXT, 0))
}

fn signs(reply: &Reply<'_>) -> bool {
    reply.persona.family.demands_signatures || reply.plan.reasoning_tokens() > 0
}

fn shows_thoughts(reply: &Reply<'_>) -> bool {
    reply.ask.shows_thoughts && !reply.script.redacted
}

/// `finishReason`, and its message where there is one.
fn finish(reply: &Reply<'_>) -> String {
    let malformed = reply.plan.segments.iter().any(|segment| segment.is_call() && call_part(reply, segment).is_none());
    let own = match reply.plan.finish {
        Finish::Length => "MAX_TOKENS",
        _ if malformed => "MALFORMED_FUNCTION_CALL",
        Finish::Stop | Finish::StopSequence(_) | Finish::ToolCalls => "STOP",
        Finish::Refusal => "PROHIBITED_CONTENT",
        Finish::ContentFilter => "SAFETY",
    };
    let message = if malformed { r#","finishMessage":"Malformed function call""# } else { "" };
    format!(r#""finishReason":{}{message}"#, reply.finish(own))
}

/// `avgLogprobs` and `logprobsResult` of these tokens.
fn logprobs(tokens: &[(&str, u32)], top: u32) -> String {
    let entry = |token: &str, index: u32, rank: u32| {
        let text = if rank == 0 { token.to_owned() } else { format!("{token}{rank}") };
        format!(r#"{{"token":{},"tokenId":{},"logProbability":{:.2}}}"#, quoted(&text), 1000 + index * 32 + rank, logprob(index, rank))
    };
    let chosen: Vec<String> = tokens.iter().map(|&(token, index)| entry(token, index, 0)).collect();
    let ranks = |token: &str, index: u32| (0..top).map(|rank| entry(token, index, rank)).collect::<Vec<_>>().join(",");
    let tops: Vec<String> = tokens.iter().map(|&(token, index)| format!(r#"{{"candidates":[{}]}}"#, ranks(token, index))).collect();
    let sum: f64 = tokens.iter().map(|&(_, index)| logprob(index, 0)).sum();
    let average = sum / f64::from(u32::try_from(tokens.len().max(1)).unwrap_or(u32::MAX));
    let (tops, chosen) = (tops.join(","), chosen.join(","));
    format!(r#""avgLogprobs":{average:.4},"logprobsResult":{{"topCandidates":[{tops}],"chosenCandidates":[{chosen}]}}"#)
}

/// Thoughts are beside the candidates' tokens, what was cached is in the prompt's.
fn push_usage(usage: Usage, media: Media, out: &mut Vec<u8>) {
    let Usage { prompt, cached, completion, reasoning, .. } = usage;
    // Absurd figures (all alike) stay what they are.
    let absurd = prompt == cached && prompt == completion && prompt == reasoning;
    let candidates = if absurd { completion } else { completion - reasoning };
    let total = prompt + completion;
    push(
        out,
        format_args!(r#""usageMetadata":{{"promptTokenCount":{prompt},"candidatesTokenCount":{candidates},"totalTokenCount":{total}"#),
    );
    if cached != 0 {
        push(out, format_args!(r#","cachedContentTokenCount":{cached}"#));
        push(out, format_args!(r#","cacheTokensDetails":[{{"modality":"TEXT","tokenCount":{cached}}}]"#));
    }
    push(out, format_args!(r#","promptTokensDetails":{}"#, modalities(prompt, media)));
    if reasoning != 0 {
        push(out, format_args!(r#","thoughtsTokenCount":{reasoning}"#));
    }
    out.push(b'}');
}

/// The prompt's tokens by kind.
fn modalities(prompt: i128, media: Media) -> String {
    let [images, documents, clips] = media.tokens().map(i128::from);
    let kinds = [("TEXT", prompt - images - documents - clips), ("IMAGE", images), ("DOCUMENT", documents), ("AUDIO", clips)];
    let entries = kinds.iter().filter(|(name, tokens)| *name == "TEXT" || *tokens > 0);
    let entries: Vec<String> = entries.map(|(name, tokens)| format!(r#"{{"modality":"{name}","tokenCount":{tokens}}}"#)).collect();
    format!("[{}]", entries.join(","))
}

/// `{"error": {…}}` with the name that Google gives the status.
pub(crate) fn error_body(refusal: &Refusal) -> String {
    let status = match refusal.status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        500 => "INTERNAL",
        503 | 529 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INVALID_ARGUMENT",
    };
    let mut error = json!({"code": refusal.status, "message": refusal.message, "status": status});
    let mut details = Vec::new();
    if let Some(reason) = refusal.code {
        let metadata = json!({"service": "generativelanguage.googleapis.com"});
        details.push(json!({"@type": type_url("ErrorInfo"), "reason": reason, "domain": "googleapis.com", "metadata": metadata}));
    }
    if let Some(field) = &refusal.param {
        let violation = json!({"field": field, "description": refusal.message});
        details.push(json!({"@type": type_url("BadRequest"), "fieldViolations": [violation]}));
    }
    if refusal.status == 429 {
        let metric = "generativelanguage.googleapis.com/generate_content_requests";
        let violation = json!({"quotaMetric": metric, "quotaId": "GenerateRequestsPerMinutePerProjectPerModel", "quotaValue": "60"});
        details.push(json!({"@type": type_url("QuotaFailure"), "violations": [violation]}));
        if let Some(seconds) = refusal.retry_after.as_deref().and_then(|text| text.parse::<u32>().ok()) {
            details.push(json!({"@type": type_url("RetryInfo"), "retryDelay": format!("{seconds}s")}));
        }
    }
    if !details.is_empty() {
        error["details"] = json!(details);
    }
    json!({ "error": error }).to_string()
}

fn type_url(name: &str) -> String {
    format!("type.googleapis.com/google.rpc.{name}")
}

/// `GET /v1beta/models`.
pub(crate) fn models() -> String {
    let models: Vec<Value> = Model::ALL.iter().map(|model| model_entry(model.name())).collect();
    json!({ "models": models }).to_string()
}

/// `GET /v1beta/models/{id}`.
pub(crate) fn model(name: &str) -> String {
    model_entry(name).to_string()
}

fn model_entry(name: &str) -> Value {
    json!({
        "name": format!("models/{name}"), "version": "1", "displayName": name, "inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens"], "thinking": true,
    })
}
