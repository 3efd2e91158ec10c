//! Taps: single frames that decide something, and properties of whole streams.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use fairlead_formats::error::{Details, Told};
use fairlead_formats::identity::Identity;
use fairlead_formats::reply::ReplyScan;
use fairlead_formats::splice::Edits;
use fairlead_formats::tap::{Action, Sight, Tap};
use fairlead_ir::{Dialect, ErrorKind, Manner, NanoUsd, Usage};
use proptest::prelude::*;
use serde_json::{Value, json};

const CHAT: Dialect = Dialect::OpenaiChat;
const RESPONSES: Dialect = Dialect::OpenaiResponses;
const MESSAGES: Dialect = Dialect::AnthropicMessages;

fn tap(dialect: Dialect, manner: Manner) -> Tap {
    let identity = Identity::new(manner, "gen-1-abcd", "acme/fast", "Acme", 7);
    Tap::new(dialect, Arc::new(identity), manner == Manner::Native)
}

fn event(data: &str) -> Vec<u8> {
    format!("data: {data}\n\n").into_bytes()
}

/// Runs the events through a tap of `/v1`, returns the last sight.
fn last(dialect: Dialect, events: &[&str]) -> (Sight, Tap) {
    let mut tap = tap(dialect, Manner::Native);
    let sights: Vec<Sight> = events.iter().map(|data| tap.inspect(&event(data))).collect();
    (sights.last().copied().unwrap(), tap)
}

const HELLO: &str = r#"{"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}"#;

fn check_failure(dialect: Dialect, events: &[&str], kind: ErrorKind, message: &str) {
    let (sight, tap) = last(dialect, events);
    assert_eq!((sight.action, sight.error, sight.first_content, sight.terminal), (Action::Withhold, true, false, false), "{events:?}");
    let error = tap.error().unwrap();
    assert_eq!((error.kind, error.message.as_str()), (kind, message), "{events:?}");
}

#[test]
fn failures_inside_a_stream() {
    use ErrorKind as K;
    let both = r#"{"error":{"message":"busy","code":503},"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}"#;
    check_failure(CHAT, &[both], K::ProviderOverloaded, "busy");
    check_failure(CHAT, &[HELLO, r#"{"error":"model crashed"}"#], K::ProviderUnavailable, "model crashed");
    check_failure(CHAT, &[r#"{"choices":[{"delta":{},"error":{"code":429,"message":"slow"}}]}"#], K::ProviderRateLimited, "slow");
    let nameless = "the provider ended the reply with an error and did not say which";
    check_failure(CHAT, &[HELLO, r#"{"choices":[{"delta":{},"finish_reason":"error"}]}"#], K::ProviderUnavailable, nameless);
    check_failure(CHAT, &["<html><title>502 Bad Gateway</title></html>"], K::ProviderUnavailable, "502 Bad Gateway");
    check_failure(CHAT, &["upstream reset"], K::ProviderUnavailable, "upstream reset");
    let cut = "the provider sent something else than a reply: invalid JSON at byte 12: the text ends too early";
    check_failure(CHAT, &[r#"{"choices":["#], K::ProviderUnavailable, cut);
    check_failure(MESSAGES, &[r#"{"type":"error","error":{"type":"rate_limit_error","message":"m"}}"#], K::ProviderRateLimited, "m");
    check_failure(MESSAGES, &[r#"{"error":{"message":"gateway","code":502}}"#], K::ProviderUnavailable, "gateway");
    let failed = r#"{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"m"},"output":[]}}"#;
    check_failure(RESPONSES, &[failed], K::ProviderRateLimited, "m");
    check_failure(RESPONSES, &[r#"{"type":"response.failed","response":{"error":null}}"#], K::ProviderUnavailable, nameless);
    check_failure(RESPONSES, &[r#"{"type":"error","code":"server_error","message":"m","param":null}"#], K::ProviderUnavailable, "m");
    check_failure(RESPONSES, &[r#"{"error":{"message":"gateway","code":503}}"#], K::ProviderOverloaded, "gateway");
}

#[test]
fn a_body_that_is_no_event_stream() {
    let mut tap = tap(CHAT, Manner::Native);
    let sight = tap.inspect(b"{\"error\":{\"message\":\"no\",\"code\":429}}\n\n");
    assert!(sight.error);
    assert_eq!(tap.error().unwrap().kind, ErrorKind::ProviderRateLimited);
}

#[test]
fn what_is_no_failure() {
    for data in [
        r#"{"error":null,"choices":[]}"#,
        r#"{"error":{},"choices":[]}"#,
        r#"{"error":"","choices":[]}"#,
        r#"{"choices":[{"delta":{"content":"\"error\":{\"message\":1}"}}]}"#,
        r#"{"choices":null}"#,
    ] {
        let (sight, tap) = last(CHAT, &[data]);
        assert_eq!((sight.action, sight.error), (Action::Pass, false), "{data}");
        assert!(tap.error().is_none(), "{data}");
    }
}

fn check_begins(dialect: Dialect, events: &[&str], expected: bool) {
    let mut tap = tap(dialect, Manner::Native);
    let begun = events.iter().filter(|data| tap.inspect(&event(data)).first_content).count();
    assert_eq!((begun, tap.saw_content()), (usize::from(expected), expected), "{events:?}");
}

#[test]
fn where_a_reply_begins() {
    let finish = |word: &str| format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{word}"}}]}}"#);
    let usage = |tokens: u64| format!(r#"{{"choices":[],"usage":{{"prompt_tokens":3,"completion_tokens":{tokens}}}}}"#);
    let role = r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#;
    check_begins(CHAT, &[role], false);
    check_begins(CHAT, &[role, HELLO, HELLO], true);
    check_begins(CHAT, &[role, &finish("stop"), "[DONE]"], false);
    check_begins(CHAT, &[role, &finish("content_filter")], true);
    check_begins(CHAT, &[role, &finish("stop"), &usage(0), "[DONE]"], false);
    check_begins(CHAT, &[role, &finish("length"), &usage(9), "[DONE]"], true);
    check_begins(CHAT, &[role, r#"{"choices":[{"delta":{},"finish_reason":"stop","stop_reason":"END"}]}"#], true);
    let item = |inner: &str| format!(r#"{{"type":"response.output_item.added","output_index":0,"item":{inner}}}"#);
    check_begins(RESPONSES, &[r#"{"type":"response.created","response":{}}"#, &item(r#"{"type":"message","content":[]}"#)], false);
    check_begins(RESPONSES, &[&item(r#"{"type":"reasoning","summary":[],"encrypted_content":"x"}"#)], false);
    check_begins(RESPONSES, &[&item(r#"{"type":"function_call","name":"f","arguments":""}"#)], true);
    check_begins(RESPONSES, &[r#"{"type":"response.output_text.delta","delta":""}"#], false);
    check_begins(RESPONSES, &[r#"{"type":"response.reasoning_summary_text.delta","delta":"x"}"#], true);
    let end = |word: &str, more: &str| format!(r#"{{"type":"response.{word}","response":{{"status":"{word}","output":[]{more}}}}}"#);
    check_begins(RESPONSES, &[&end("completed", "")], false);
    check_begins(RESPONSES, &[&end("completed", r#","usage":{"input_tokens":3,"output_tokens":0}"#)], false);
    check_begins(RESPONSES, &[&end("completed", r#","usage":{"input_tokens":3,"output_tokens":9}"#)], true);
    check_begins(RESPONSES, &[&end("incomplete", r#","incomplete_details":{"reason":"content_filter"}"#)], true);
    let block = |inner: &str| format!(r#"{{"type":"content_block_start","index":0,"content_block":{inner}}}"#);
    check_begins(MESSAGES, &[r#"{"type":"ping"}"#, &block(r#"{"type":"text","text":""}"#)], false);
    check_begins(MESSAGES, &[&block(r#"{"type":"tool_use","id":"t","name":"f","input":{}}"#)], true);
    let delta = |inner: &str| format!(r#"{{"type":"message_delta","delta":{inner},"usage":{{"output_tokens":0}}}}"#);
    check_begins(MESSAGES, &[&delta(r#"{"stop_reason":"end_turn"}"#), r#"{"type":"message_stop"}"#], false);
    check_begins(MESSAGES, &[&delta(r#"{"stop_reason":"stop_sequence","stop_sequence":"X"}"#)], true);
}

#[test]
fn an_end_is_seen_without_done() {
    let (_, tap) = last(CHAT, &[HELLO]);
    assert!(!tap.terminal());
    let (sight, tap) = last(CHAT, &[HELLO, r#"{"choices":[{"delta":{},"finish_reason":"MAX_TOKENS"}]}"#]);
    assert!(sight.terminal && tap.terminal() && !sight.end);
    let (sight, tap) = last(CHAT, &[HELLO, "[DONE]"]);
    assert!(sight.terminal && tap.terminal() && sight.end);
    let (sight, _) = last(CHAT, &[HELLO, "[DONE]", HELLO]);
    assert_eq!(sight.action, Action::Withhold);
}

#[test]
fn calls_without_numbers_get_theirs() {
    let mut tap = tap(CHAT, Manner::Openrouter);
    let begin = r#"{"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":""}}]}}]}"#;
    let go_on = r#"{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"1"}}]}}]}"#;
    for (data, index) in [(begin, 0), (go_on, 0), (go_on, 0), (begin, 1), (go_on, 1)] {
        let mut out = Vec::new();
        assert_eq!(tap.inspect(&event(data)).action, Action::Rewrite);
        tap.rewrite(&event(data), None, &mut out);
        assert_eq!(data_of(&out)["choices"][0]["delta"]["tool_calls"][0]["index"], index, "{data}");
    }
}

#[test]
fn moonshots_usage_inside_a_choice() {
    let inside = r#"{"choices":[{"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":5,"completion_tokens":2,"cached_tokens":4}}]}"#;
    let (sight, mut tap) = last(CHAT, &[HELLO, inside]);
    assert_eq!((sight.action, sight.bill), (Action::Rewrite, true));
    assert_eq!((tap.usage().unwrap().prompt_tokens, tap.usage().unwrap().cache_read_tokens), (1, 4));
    let mut out = Vec::new();
    tap.rewrite(&event(inside), Some(NanoUsd(5)), &mut out);
    assert!(String::from_utf8(out).unwrap().contains(r#""usage":{"cost":0.000000005,"prompt_tokens":5"#));
}

/// The last of `events` as the client sees it where it is the bill.
fn billed(dialect: Dialect, manner: Manner, events: &[String]) -> String {
    let mut tap = tap(dialect, manner);
    let (last, before) = events.split_last().unwrap();
    for data in before {
        let sight = tap.inspect(&event(data));
        assert_eq!((sight.usage, sight.absurd, sight.bill), (data.contains("\"usage"), data.contains(":-1"), false), "{data}");
    }
    let sight = tap.inspect(&event(last));
    assert_eq!((sight.action, sight.usage, sight.bill), (Action::Rewrite, true, true), "{last}");
    assert!(tap.usage().is_none(), "{last}");
    let mut out = Vec::new();
    tap.rewrite(&event(last), Some(NanoUsd(5)), &mut out);
    String::from_utf8(out).unwrap()
}

/// A usage object without any figure says what it costs, where one with figures would; whole ones do the same.
#[test]
fn usage_that_holds_no_figures_gets_its_cost() {
    const GEMINI: Dialect = Dialect::GeminiGenerate;
    let ours = r#""cost":0.000000005"#;
    for [prompt, completion] in [["-1", "-1"], ["null", "null"], [r#""3""#, "{}"]] {
        let chat = format!(r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion}}}"#);
        let responses = format!(r#"{{"input_tokens":{prompt},"output_tokens":{completion}}}"#);
        let gemini = format!(r#"{{"promptTokenCount":{prompt},"candidatesTokenCount":{completion}}}"#);
        let chunk = |choices: &str| format!(r#"{{"choices":[{choices}],"usage":{chat}}}"#);
        let running = chunk(r#"{"index":0,"delta":{"content":"hi"}}"#);
        let finish = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#.to_owned();
        let part = |end: &str| format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"hi"}}]}}{end}}}],"usageMetadata":{gemini}}}"#);
        let output = r#"[{"type":"message","content":[{"type":"output_text","text":"hi"}]}]"#;
        let response = format!(r#"{{"status":"completed","output":{output},"usage":{responses}}}"#);
        let completed = format!(r#"{{"type":"response.completed","response":{response}}}"#);
        let streams = [
            (CHAT, vec![running.clone(), chunk(r#"{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}"#)]),
            (CHAT, vec![running, finish, chunk("")]),
            (RESPONSES, vec![completed]),
            (GEMINI, vec![part(""), part(""), part(r#","finishReason":"STOP""#)]),
        ];
        for (dialect, events) in streams {
            for manner in [Manner::Native, Manner::Openrouter] {
                // Of `/v1` a usage chunk that nobody asked for does not pass at all.
                if (dialect, manner, events.len()) != (CHAT, Manner::Native, 3) {
                    let seen = billed(dialect, manner, &events);
                    assert_eq!(seen.matches(ours).count(), 1, "{seen}");
                }
            }
        }
        let whole = format!(r#"{{"choices":[{{"message":{{"content":"hi"}},"finish_reason":"stop"}}],"usage":{chat}}}"#);
        for (dialect, body) in [(CHAT, whole), (RESPONSES, response), (GEMINI, part(""))] {
            let mut scan = ReplyScan::new(dialect);
            scan.feed(body.as_bytes()).unwrap();
            let reply = scan.finish(body.as_bytes()).unwrap();
            assert!(reply.usage.is_none() && reply.is_absurd(body.as_bytes()) == (prompt == "-1"), "{body}");
            let (mut edits, mut out) = (Edits::new(), Vec::new());
            reply.edits(body.as_bytes(), &Identity::unnamed(), &Usage::default(), NanoUsd(5), &mut edits).unwrap();
            edits.apply(body.as_bytes(), &mut out).unwrap();
            let seen = String::from_utf8(out).unwrap();
            assert_eq!(
                seen,
                body.replace("{\"prompt", &format!("{{{ours},\"prompt")).replace("{\"input", &format!("{{{ours},\"input")),
                "{body}"
            );
        }
    }
}

#[test]
fn a_cut_message_stream_knows_its_prompt() {
    let start = r#"{"type":"message_start","message":{"id":"msg_1","model":"c","usage":{"input_tokens":25,"cache_read_input_tokens":5,"output_tokens":1}}}"#;
    let (_, tap) = last(MESSAGES, &[start]);
    assert!(tap.usage().is_none());
    let prompt = tap.prompt_usage().unwrap();
    assert_eq!((prompt.prompt_tokens, prompt.cache_read_tokens, prompt.completion_tokens), (25, 5, 0));
}

#[test]
fn an_error_is_told_in_the_names_seen_so_far() {
    let native = r#"{"id":"chatcmpl-1","model":"gpt","created":9,"choices":[{"index":0,"delta":{"content":"x"}}]}"#;
    let told = |manner, events: &[&str]| {
        let mut tap = tap(CHAT, manner);
        for data in events {
            let _ = tap.inspect(&event(data));
        }
        let mut out = Vec::new();
        tap.write_error(ErrorKind::ProviderTimeout, "late", &Details::default(), &mut out);
        let text = String::from_utf8(out).unwrap();
        let data = text.strip_prefix("data: ").unwrap().strip_suffix("\n\ndata: [DONE]\n\n").unwrap().to_owned();
        let chunk: Value = serde_json::from_str(&data).unwrap();
        assert_eq!(chunk["choices"][0]["finish_reason"], "error");
        (chunk["id"].clone(), chunk["model"].clone(), chunk["created"].clone(), chunk["error"]["code"].clone())
    };
    assert_eq!(told(Manner::Native, &[native]), (json!("chatcmpl-1"), json!("gpt"), json!(9), json!("timeout")));
    assert_eq!(told(Manner::Openrouter, &[native]), (json!("gen-1-abcd"), json!("acme/fast"), json!(9), json!(504)));
    assert_eq!(told(Manner::Native, &[]), (json!("gen-1-abcd"), json!("acme/fast"), json!(7), json!("timeout")));
}

#[test]
fn an_error_of_a_responses_stream_goes_on_counting() {
    let mut tap = tap(RESPONSES, Manner::Native);
    for data in [
        r#"{"type":"response.created","response":{"id":"resp_1","model":"gpt","created_at":9.0}}"#,
        ": x",
        r#"{"type":"response.x"}"#,
        r#"{"type":"error","message":"m"}"#,
    ] {
        let _ = tap.inspect(&event(data));
    }
    let mut out = Vec::new();
    tap.write_error(ErrorKind::ProviderTimeout, "late", &Details::default(), &mut out);
    let text = String::from_utf8(out).unwrap();
    let told: Value = serde_json::from_str(text.strip_prefix("event: response.failed\ndata: ").unwrap()).unwrap();
    let response = &told["response"];
    assert_eq!((&told["type"], &told["sequence_number"], &response["status"]), (&json!("response.failed"), &json!(2), &json!("failed")));
    assert_eq!((&response["id"], &response["model"], &response["created_at"]), (&json!("resp_1"), &json!("gpt"), &json!(9)));
    assert_eq!(response["error"], json!({"code": "server_error", "message": "late"}));
}

#[test]
fn bodies_that_are_no_reply() {
    for (dialect, body) in [
        (CHAT, "{}"),
        (CHAT, r#"{"choices":[]}"#),
        (CHAT, r#"{"choices":{}}"#),
        (RESPONSES, r#"{"id":"resp_1"}"#),
        (MESSAGES, r#"{"type":"message"}"#),
    ] {
        let mut scan = ReplyScan::new(dialect);
        scan.feed(body.as_bytes()).unwrap();
        let error = scan.finish(body.as_bytes()).unwrap_err();
        assert_eq!((error.kind, error.told), (ErrorKind::ProviderUnavailable, Told::ByUs), "{body}");
    }
    for body in ["", "[]", "<html>", r#"{"choices":["#, "{}{}"] {
        let mut scan = ReplyScan::new(CHAT);
        let fed = scan.feed(body.as_bytes());
        let error = fed.and_then(|()| scan.finish(body.as_bytes()).map(drop)).unwrap_err();
        assert_eq!((error.told, error.code.as_str()), (Told::ByUs, ""), "{body}");
    }
}

/// One chunk of a stream: ordinary ones that a template may know, and all that must not be taken for one.
fn any_chunk() -> impl Strategy<Value = Value> {
    let text = "\\PC{0,12}|\"\\\\?\"|[\"\\\\{}:,]{0,6}";
    let delta = prop_oneof![
        8 => text.prop_map(|text| json!({"content": text})),
        3 => text.prop_map(|text| json!({"content": null, "reasoning_content": text})),
        3 => text.prop_map(|text| json!({"tool_calls": [{"index": 0, "function": {"arguments": text}}]})),
        1 => text.prop_map(|text| json!({"tool_calls": [{"id": "c9", "function": {"name": "f", "arguments": text}}]})),
        1 => text.prop_map(|text| json!({"tool_calls": [{"function": {"arguments": text}}]})),
        1 => Just(json!({"role": "assistant"})),
    ];
    let finish = prop_oneof![9 => Just(Value::Null), 1 => Just(json!("stop")), 1 => Just(json!("eos"))];
    let usage = prop_oneof![9 => Just(None), 1 => Just(Some(Value::Null)), 1 => Just(Some(json!({"prompt_tokens": 3, "completion_tokens": 4, "cost": 1})))];
    (delta, finish, usage, prop_oneof![9 => Just(0), 1 => Just(1)], "[a-z]{0,5}", any::<bool>()).prop_map(
        |(delta, finish, usage, index, padding, padded)| {
            let choice = json!({"index": index, "delta": delta, "finish_reason": finish, "x_unknown": {"kept": [1, "\u{e9}"]}});
            let mut chunk = json!({"id": "c1", "object": "chat.completion.chunk", "created": 5, "model": "m", "choices": [choice]});
            if let Some(usage) = usage {
                chunk["usage"] = usage;
            }
            if padded {
                chunk["obfuscation"] = json!(padding);
            }
            chunk
        },
    )
}

/// The chunk as a client of `/api/v1` must get it, said a second time over a value tree.
fn openrouter(mut chunk: Value, cost: Option<f64>, calls: &mut u64) -> Value {
    chunk["id"] = json!("gen-1-abcd");
    chunk["model"] = json!("acme/fast");
    chunk["provider"] = json!("Acme");
    chunk["system_fingerprint"] = Value::Null;
    let choice = &mut chunk["choices"][0];
    choice["native_finish_reason"] = choice["finish_reason"].clone();
    if choice["finish_reason"] == "eos" {
        choice["finish_reason"] = json!("stop");
    }
    if let Some(call) = choice["delta"].get_mut("tool_calls").map(|calls| &mut calls[0]) {
        if call.get("index").is_none() {
            *calls += u64::from(call.get("id").is_some() || *calls == 0);
            call["index"] = json!(*calls - 1);
        }
        *calls = (*calls).max(call["index"].as_u64().unwrap() + 1);
    }
    if let Some(usage) = chunk.get_mut("usage").filter(|usage| usage.is_object()) {
        if let Some(cost) = cost {
            usage["cost"] = json!(cost);
        }
        usage["is_byok"] = json!(false);
        usage["total_tokens"] = json!(7);
        usage["prompt_tokens_details"] = json!({"cached_tokens": 0});
        usage["completion_tokens_details"] = json!({"reasoning_tokens": 0});
    }
    chunk
}

fn data_of(event: &[u8]) -> Value {
    serde_json::from_slice(event.strip_prefix(b"data: ").unwrap()).unwrap()
}

proptest! {
    #[test]
    fn frames_of_the_openrouter_manner(chunks in proptest::collection::vec(any_chunk(), 1..40)) {
        let mut tap = tap(CHAT, Manner::Openrouter);
        let mut calls = 0;
        for chunk in chunks {
            let event = event(&chunk.to_string());
            let sight = tap.inspect(&event);
            prop_assert_eq!(sight.action, Action::Rewrite);
            let mut out = Vec::new();
            tap.rewrite(&event, sight.bill.then_some(NanoUsd(2_500_000_000)), &mut out);
            prop_assert_eq!(&out[out.len() - 2..], b"\n\n");
            prop_assert_eq!(data_of(&out), openrouter(chunk, sight.bill.then_some(2.5), &mut calls));
        }
    }

    #[test]
    fn frames_of_the_native_manner(chunks in proptest::collection::vec(any_chunk(), 1..40)) {
        let mut tap = tap(CHAT, Manner::Native);
        let (mut bytes, mut finished) = (0, false);
        for chunk in chunks {
            let event = event(&chunk.to_string());
            let sight = tap.inspect(&event);
            finished |= !chunk["choices"][0]["finish_reason"].is_null();
            bytes += texts(&chunk["choices"][0]["delta"]);
            let bill = finished && chunk["usage"].is_object();
            prop_assert_eq!((sight.action == Action::Rewrite, sight.bill), (bill, bill), "{}", chunk);
            if bill {
                let mut out = Vec::new();
                tap.rewrite(&event, Some(NanoUsd(25)), &mut out);
                // Everything outside the cost is the same bytes.
                let text = String::from_utf8(out).unwrap().replace(r#""cost":0.000000025"#, r#""cost":1"#);
                prop_assert_eq!(text.as_bytes(), &event[..]);
            }
        }
        prop_assert_eq!(tap.content_bytes(), bytes);
    }

    #[test]
    fn garbage_is_no_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 1..10), dialect in proptest::sample::select(vec![CHAT, RESPONSES, MESSAGES])) {
        for manner in [Manner::Native, Manner::Openrouter] {
            let mut tap = tap(dialect, manner);
            for piece in &pieces {
                let event = [b"data: ", &piece[..], b"\n\n"].concat();
                let _ = tap.inspect(&event);
                tap.rewrite(&event, Some(NanoUsd(1)), &mut Vec::new());
            }
        }
    }
}

/// Bytes of text in a delta as JSON writes them, without quotes.
fn texts(delta: &Value) -> u64 {
    let text = |value: &Value| value.as_str().map_or(0, |_| value.to_string().len() as u64 - 2);
    let function = &delta["tool_calls"][0]["function"];
    text(&delta["content"]) + text(&delta["reasoning_content"]) + text(&function["name"]) + text(&function["arguments"])
}
