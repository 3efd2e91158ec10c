//! Whole replies of other dialects as completions.

#![expect(clippy::unwrap_used, reason = "tests")]

use fairlead_ir::{Dialect, Manner, NanoUsd};
use serde_json::{Value, json};

use crate::identity::Identity;
use crate::traits::Traits;
use crate::translate::{Bridge, Face, completions, dialects};

fn shown(body: &Value, manner: Manner, bridge: &Bridge, cost: Option<i64>) -> (String, Vec<String>) {
    let body = body.to_string();
    let response = dialects::decode_response(Dialect::OpenaiChat, body.as_bytes(), &Traits::NONE).unwrap();
    let identity = Identity::new(manner, "gen-1", "acme/fast", "Lab", 7);
    let mut out = Vec::new();
    let losses = completions::encode_response(&response, &Face { identity: &identity, bridge }, cost.map(NanoUsd), &mut out);
    (String::from_utf8(out).unwrap(), losses.as_slice().iter().map(ToString::to_string).collect())
}

fn reply(message: Value, finish: &str) -> Value {
    json!({"id": "r1", "created": 5, "model": "lab-1", "choices": [{"index": 0, "message": message, "finish_reason": finish}]})
}

#[test]
fn the_mandatory_members_of_both_manners() {
    let mut body = reply(json!({"content": "Hi \"you\"\n"}), "stop");
    body["usage"] = json!({"prompt_tokens": 3, "completion_tokens": 2});
    let figures =
        r#""prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}"#;
    let native = format!(
        "{}{}{figures}",
        r#"{"id":"r1","object":"text_completion","created":5,"model":"lab-1","choices":[{"text":"Hi \"you\"\n","index":0,"logprobs":null,"finish_reason":"stop"}],"#,
        r#""usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"cost":0.0000015,"#
    );
    assert_eq!(shown(&body, Manner::Native, &Bridge::default(), Some(1500)), (native, vec![]));
    let openrouter = format!(
        "{}{}{}{figures}",
        r#"{"id":"gen-1","object":"text_completion","created":5,"model":"acme/fast","provider":"Lab","system_fingerprint":null,"#,
        r#""choices":[{"text":"Hi \"you\"\n","index":0,"logprobs":null,"finish_reason":"stop","native_finish_reason":"stop"}],"#,
        r#""usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"cost":0.0000015,"is_byok":false,"#
    );
    assert_eq!(shown(&body, Manner::Openrouter, &Bridge::default(), Some(1500)), (openrouter, vec![]));
}

fn check(message: Value, finish: &str, text: &str, reason: &str, losses: &[&str]) {
    let (shown, lost) = shown(&reply(message.clone(), finish), Manner::Native, &Bridge::default(), None);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let choice = &shown["choices"][0];
    assert_eq!((choice["text"].as_str(), choice["finish_reason"].as_str()), (Some(text), Some(reason)), "{message}");
    assert_eq!(shown.get("usage"), None);
    assert_eq!(lost, losses, "{message}");
}

#[test]
fn what_is_text_and_what_is_lost() {
    check(json!({"content": "a"}), "length", "a", "length", &[]);
    check(json!({"content": null, "refusal": "I will not"}), "content_filter", "I will not", "content_filter", &[]);
    let thought = "choices[0].message.reasoning hint: completions have no place for thoughts";
    check(json!({"content": "a", "reasoning_content": "hm"}), "stop", "a", "stop", &[thought]);
    let call = json!({"content": "a", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    check(call, "tool_calls", "a", "stop", &["choices[0].message.tool_calls[0] dropped: completions hold text only"]);
    let cited =
        json!({"content": "a", "annotations": [{"type": "url_citation", "url_citation": {"url": "u", "start_index": 0, "end_index": 1}}]});
    check(cited, "stop", "a", "stop", &["choices[0].message.content dropped: completions cite nothing"]);
}

#[test]
fn a_form_that_was_a_tool_is_text() {
    let mut bridge = Bridge::default();
    bridge.format_tool = Some("json".to_owned());
    let call =
        json!({"content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "json", "arguments": "{\"a\":1}"}}]});
    let (shown, lost) = shown(&reply(call, "tool_calls"), Manner::Native, &bridge, None);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((shown["choices"][0]["text"].as_str(), lost), (Some("{\"a\":1}"), vec![]));
}

#[test]
fn several_replies_and_their_probabilities() {
    let logprobs = json!({"content": [{"token": "a", "logprob": -1, "top_logprobs": [{"token": "a", "logprob": -1}]}]});
    let body = json!({"choices": [
        {"index": 1, "message": {"content": "b"}, "finish_reason": "stop", "stop_reason": "END"},
        {"index": 0, "message": {"content": "a"}, "finish_reason": "stop", "logprobs": logprobs},
    ], "service_tier": "flex", "odd": 1});
    let (shown, lost) = shown(&body, Manner::Native, &Bridge::default(), None);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let expected = json!([
        {"text": "a", "index": 0, "logprobs": {"tokens": ["a"], "token_logprobs": [-1], "top_logprobs": [{"a": -1}], "text_offset": [0]}, "finish_reason": "stop"},
        {"text": "b", "index": 1, "logprobs": null, "finish_reason": "stop", "stop_reason": "END"},
    ]);
    assert_eq!((&shown["choices"], shown["id"].as_str()), (&expected, Some("gen-1")));
    assert_eq!(lost, ["service_tier hint: completions have no place for it", "odd hint: only the dialect it was written in knows it"]);
}
