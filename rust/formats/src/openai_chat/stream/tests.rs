//! Streams in both directions: what hosts do to them, and what clients insist on.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use fairlead_ir::{Delta, ErrorKind, Event, Head, Manner, NanoUsd, StopReason, Text, Usage};
use serde_json::{Value, json};

use super::decode::Decoder;
use super::encode::Encoder;
use crate::error::Details;
use crate::identity::Identity;
use crate::text::decode;
use crate::traits::Traits;
use crate::translate::Bridge;
use crate::translate::promises::{check, kept};

pub(super) fn decoded(frames: &[&str], traits: &[&str]) -> Vec<Event<'static>> {
    let mut decoder = Decoder::new(Traits::from_names(traits).unwrap());
    let mut events = Vec::new();
    for frame in frames {
        decoder.event(None, frame.as_bytes(), &mut |event| events.push(kept(&event))).unwrap();
    }
    decoder.finish(&mut |event| events.push(kept(&event)));
    assert_eq!(check(&events), Ok(()), "{frames:?}\n{events:#?}");
    events
}

/// A chunk of one choice.
fn chunk(delta: Value, finish: Value) -> String {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}).to_string()
}

/// What a stream of these deltas says, in short.
fn told(deltas: &[Value], traits: &[&str]) -> Vec<String> {
    let mut frames: Vec<String> = deltas.iter().map(|delta| chunk(delta.clone(), Value::Null)).collect();
    frames.push(chunk(json!({}), json!("stop")));
    frames.push("[DONE]".to_owned());
    let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
    decoded(&frames, traits).iter().filter_map(short).collect()
}

pub(super) fn text(text: &Text<'_>) -> String {
    String::from_utf8(text.as_bytes().to_vec()).unwrap()
}

/// An event in a few words: `text+`, `=…` for a piece of the block, `-` for its end.
fn short(event: &Event<'_>) -> Option<String> {
    Some(match event {
        Event::Open { block, head, .. } => match head {
            Head::Text => format!("{block} text"),
            Head::Refusal => format!("{block} refusal"),
            Head::Thought { id, redacted } => {
                format!(
                    "{block} thought{}{}",
                    id.as_ref().map(|id| format!(" {}", text(id))).unwrap_or_default(),
                    if *redacted { " hidden" } else { "" }
                )
            }
            Head::ToolCall { id, name, free } => format!(
                "{block} {} {}{}",
                if *free { "free" } else { "call" },
                text(name),
                if id.as_bytes().starts_with(b"call_") && id.as_bytes().len() == 19 {
                    " made".to_owned()
                } else {
                    format!(" {}", text(id))
                }
            ),
            Head::Media(media) => format!("{block} {:?}", media.class),
            Head::Opaque { word, .. } => format!("{block} {}", text(word)),
        },
        Event::Delta { block, delta, .. } => match delta {
            Delta::Text(piece) | Delta::Arguments(piece) => format!("{block}={}", text(piece)),
            Delta::Thought { text: piece, part, .. } => format!("{block}.{part}={}", text(piece)),
            Delta::Seal(seal) => format!("{block}!{}", text(seal)),
            Delta::Citation(citation) => format!("{block}@{}", citation.url.as_ref().map(text).unwrap_or_default()),
        },
        Event::Close { block, .. } => format!("{block}-"),
        Event::Stop { stop, .. } => format!("{:?}", stop.reason),
        Event::Fail { kind, message, .. } => format!("{kind:?}: {}", text(message)),
        _ => return None,
    })
}

// --- in ---------------------------------------------------------------------------------------------------------------

#[test]
fn texts_thoughts_and_refusals_are_blocks() {
    let say = |deltas: &[Value], expected: &[&str]| assert_eq!(told(deltas, &[]), expected, "{deltas:?}");
    say(
        &[json!({"role": "assistant", "content": ""}), json!({"content": "a"}), json!({"content": "b\n"})],
        &["0 text", "0=a", r"0=b\n", "0-", "End"],
    );
    say(
        &[
            json!({"reasoning_content": "hm", "content": null}),
            json!({"reasoning": "m", "reasoning_content": "m"}),
            json!({"content": "a"}),
            json!({"reasoning": "x"}),
        ],
        &["0 thought", "0.0=hm", "0.0=m", "0-", "1 text", "1=a", "1-", "2 thought", "2.0=x", "2-", "End"],
    );
    say(&[json!({"refusal": "no"}), json!({"content": "a"})], &["0 refusal", "0=no", "0-", "1 text", "1=a", "1-", "Refusal"]);
    say(
        &[json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "a"}]})],
        &["0 thought", "0.0=hm", "0-", "1 text", "1=a", "1-", "End"],
    );
    say(&[json!({"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]})], &["0 Image", "0-", "End"]);
    say(
        &[json!({"content": "a", "annotations": [{"type": "url_citation", "url_citation": {"url": "https://e.org"}}]})],
        &["0 text", "0=a", "0@https://e.org", "0-", "End"],
    );
    say(
        &[json!({"audio": {"id": "a", "transcript": "hi"}}), json!({"audio": {"data": "AA=="}})],
        &["0 text", "0=hi", "0-", "1 Audio", "1-", "End"],
    );
}

#[test]
fn thoughts_between_tags() {
    let deltas = ["<thi", "nk>\n", "h", "m</th", "ink>\n\n", "a", "b"].map(|text| json!({"content": text}));
    assert_eq!(told(&deltas, &["think_tags"]), ["0 thought", "0.0=h", "0.0=m", "0-", "1 text", "1=a", "1=b", "1-", "End"]);
    assert_eq!(told(&[json!({"content": "<thi"})], &["think_tags"]), ["0 text", "0=<thi", "0-", "End"]);
}

#[test]
fn details_of_thoughts() {
    let details = |entries: Value| json!({"reasoning": "x", "reasoning_details": entries});
    assert_eq!(
        told(
            &[
                details(json!([{"type": "reasoning.text", "text": "h", "index": 0}])),
                details(json!([{"type": "reasoning.text", "text": "m", "index": 0}])),
                json!({"reasoning_details": [{"type": "reasoning.text", "signature": "s", "index": 0}]}),
                details(json!([{"type": "reasoning.text", "text": "n", "index": 1}])),
                json!({"content": "a"})
            ],
            &[]
        ),
        ["0 thought", "0.0=h", "0.0=m", "0!s", "0-", "1 thought", "1.0=n", "1-", "2 text", "2=a", "2-", "End"],
    );
    assert_eq!(
        told(
            &[
                details(json!([{"type": "reasoning.summary", "summary": "so", "index": 0}])),
                json!({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x", "id": "rs_1", "index": 0}]})
            ],
            &[]
        ),
        ["0 thought", "0.0=so", "0!x", "0-", "End"],
    );
    assert_eq!(
        told(
            &[json!({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x", "format": "anthropic-claude-v1", "index": 0}]})],
            &[]
        ),
        ["0 thought hidden", "0!x", "0-", "End"],
    );
    assert_eq!(
        told(&[json!({"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": ""}]})], &[]),
        ["0 thought", "0.0=hm", "0-", "End"]
    );
}

#[test]
fn signatures_of_calls_find_them() {
    let seal = json!({"type": "reasoning.encrypted", "data": "sig", "id": "c1", "format": "google-gemini-v1", "index": 0});
    let call = json!({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}]});
    let expected = ["0 call f c1", "0!sig", "0={}", "0-", "ToolCalls"];
    assert_eq!(told(&[json!({"reasoning_details": [seal]}), call.clone()], &[]), expected);
    let mut together = call.clone();
    together["reasoning_details"] = json!([seal]);
    assert_eq!(told(&[together], &[]), expected);
    assert_eq!(told(&[call, json!({"reasoning_details": [seal]})], &[]), expected);
    assert_eq!(told(&[json!({"reasoning_details": [seal]})], &[]), ["0 thought c1", "0!sig", "0-", "End"], "its call never came");
}

/// Each is a stream that some host sends; the calls are `f({"a":1})` and, where there are two, `g({})`.
#[test]
fn calls_of_many_hosts() {
    let fragment = |fields: Value| json!({"tool_calls": [fields]});
    let one = ["0 call f c1", r#"0={\"a\":1}"#, "0-", "ToolCalls"];
    let check = |deltas: &[Value], expected: &[&str], protects: &str| assert_eq!(told(deltas, &[]), expected, "{protects}");
    check(
        &[
            fragment(json!({"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}})),
            fragment(json!({"index": 0, "function": {"arguments": "{\"a\""}})),
            fragment(json!({"index": 0, "function": {"arguments": ":1}"}})),
        ],
        &["0 call f c1", r#"0={\"a\""#, "0=:1}", "0-", "ToolCalls"],
        "OpenAI",
    );
    check(
        &[fragment(json!({"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{\"a\":1}"}}))],
        &one,
        "a whole call in one chunk",
    );
    check(&[fragment(json!({"id": "c1", "function": {"name": "f", "arguments": {"a": 1}}}))], &one, "arguments as an object, no index");
    check(
        &[
            fragment(json!({"index": 0, "function": {"name": "f", "arguments": "{\"a\":1}"}})),
            fragment(json!({"index": 0, "function": {"name": "g"}})),
        ],
        &["0 call f made", r#"0={\"a\":1}"#, "0-", "1 call g made", "1={}", "1-", "ToolCalls"],
        "no ids, always number 0",
    );
    check(
        &[
            fragment(json!({"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{\"a\":1}"}})),
            fragment(json!({"index": 0, "id": "c2", "function": {"name": "g", "arguments": "{}"}})),
        ],
        &["0 call f c1", r#"0={\"a\":1}"#, "0-", "1 call g c2", "1={}", "1-", "ToolCalls"],
        "two ids are never merged",
    );
    check(
        &[
            fragment(json!({"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{\"a\""}})),
            fragment(json!({"index": 0, "id": "c1", "function": {"name": "f", "arguments": ":1}"}})),
        ],
        &["0 call f c1", r#"0={\"a\""#, "0=:1}", "0-", "ToolCalls"],
        "id and name are repeated",
    );
    check(
        &[
            fragment(json!({"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{\"a\""}})),
            fragment(json!({"index": 3, "function": {"arguments": ":1}"}})),
        ],
        &["0 call f c1", r#"0={\"a\""#, "0=:1}", "0-", "ToolCalls"],
        "the number shifts",
    );
    check(
        &[
            fragment(json!({"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}})),
            fragment(json!({"index": 0, "function": {"arguments": "{\"a\":1}"}})),
        ],
        &one,
        "a placeholder before the arguments",
    );
    check(
        &[
            fragment(json!({"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{\"a\":1}"}})),
            fragment(json!({"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{\"a\":1}"}})),
        ],
        &one,
        "the call is repeated at the end",
    );
    check(
        &[
            fragment(json!({"index": 0, "id": "c1", "function": {"arguments": "{\"a\":1}"}})),
            fragment(json!({"index": 0, "function": {"name": "f"}})),
        ],
        &one,
        "the name comes last",
    );
    check(
        &[
            json!({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{\"a\":"}}, {"index": 1, "id": "c2", "function": {"name": "g", "arguments": "{"}}]}),
            json!({"tool_calls": [{"index": 1, "function": {"arguments": "}"}}, {"index": 0, "function": {"arguments": "1}"}}]}),
        ],
        &["0 call f c1", r#"0={\"a\":"#, "1 call g c2", "1={", "1=}", "0=1}", "0-", "1-", "ToolCalls"],
        "fragments interleave",
    );
    check(
        &[json!({"function_call": {"name": "f", "arguments": "{\"a\""}}), json!({"function_call": {"arguments": ":1}"}})],
        &["0 call f made", r#"0={\"a\""#, "0=:1}", "0-", "ToolCalls"],
        "the older way",
    );
    check(
        &[
            fragment(json!({"index": 0, "id": "c1", "type": "custom", "custom": {"name": "p", "input": "*** B"}})),
            fragment(json!({"index": 0, "custom": {"input": "egin"}})),
        ],
        &["0 free p c1", "0=*** B", "0=egin", "0-", "ToolCalls"],
        "free text",
    );
    check(
        &[fragment(json!({"index": 0, "id": "c1", "function": {"name": "f", "arguments": null}}))],
        &["0 call f c1", "0={}", "0-", "ToolCalls"],
        "no arguments",
    );
    check(
        &[
            json!({"content": "so"}),
            fragment(json!({"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}})),
            json!({"content": ""}),
        ],
        &["0 text", "0=so", "0-", "1 call f c1", "1={}", "1-", "ToolCalls"],
        "empty content beside a call",
    );
    check(
        &[1, 2].map(|number| fragment(json!({"index": 0, "function": {"name": "f", "arguments": format!("{{\"a\":{number}}}")}}))),
        &["0 call f made", r#"0={\"a\":1}"#, "0-", "1 call f made", r#"1={\"a\":2}"#, "1-", "ToolCalls"],
        "one tool twice without ids",
    );
    let twice = json!({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{\"a\":1}"}}, {"index": 1, "id": "c1", "function": {"name": "g"}}]});
    check(&[twice], &["0 call f c1", r#"0={\"a\":1}"#, "0-", "1 call g made", "1={}", "1-", "ToolCalls"], "one id for two calls");
    check(&[fragment(json!({"index": 0}))], &["End"], "a fragment that says nothing");
}

#[test]
fn ends_and_cuts() {
    let end = |frames: &[&str]| decoded(frames, &[]).iter().rev().find_map(short).unwrap();
    let a = chunk(json!({"content": "a"}), Value::Null);
    let stop = chunk(json!({}), json!("stop"));
    let cut = "ProviderUnavailable: the provider's stream ended before the reply was complete";
    assert_eq!(end(&[&a]), cut);
    assert_eq!(end(&[]), cut);
    assert_eq!(end(&[&a, &stop]), "End", "a finish is evidence enough");
    assert_eq!(end(&[&a, "[DONE]"]), "End", "some hosts never name a reason");
    assert_eq!(end(&[&a, "[DONE]", &a]), "End", "nothing counts behind the end");
    assert_eq!(end(&["[DONE]"]), "End");
    assert_eq!(end(&[&a, &chunk(json!({}), json!("length"))]), "MaxTokens");
    assert_eq!(end(&[&a, &stop, &chunk(json!({}), json!("length"))]), "End", "the first word counts");
    assert_eq!(end(&[&a, &chunk(json!({}), json!("error"))]), "ProviderUnavailable: the provider reported an error without a message");
    let two =
        json!({"choices": [{"index": 1, "delta": {"content": "b"}, "finish_reason": "stop"}, {"index": 0, "delta": {"content": "a"}}]})
            .to_string();
    assert_eq!(end(&[&two]), cut, "one of two choices is cut");
}

#[test]
fn errors_come_before_choices() {
    let fail = |frame: &str| decoded(&[&chunk(json!({"content": "a"}), Value::Null), frame], &[]).iter().rev().find_map(short).unwrap();
    assert_eq!(
        fail(r#"{"choices":[{"delta":{"content":""},"finish_reason":"error"}],"error":{"code":429,"message":"slow"}}"#),
        "ProviderRateLimited: slow"
    );
    assert_eq!(fail(r#"{"choices":[{"delta":{},"error":{"code":503,"message":"down"}}]}"#), "ProviderOverloaded: down");
    assert_eq!(fail(r#"{"x_groq":{"error":"over capacity"}}"#), "ProviderUnavailable: over capacity");
    assert_eq!(fail(r#"{"error":{"message":"cut"},"status_code":503}"#), "ProviderOverloaded: cut");
    let mut events = Vec::new();
    Decoder::new(Traits::NONE).event(Some(b"error"), br#"{"message":"gone"}"#, &mut |event| events.push(kept(&event))).unwrap();
    assert_eq!(events.iter().filter_map(short).collect::<Vec<_>>(), ["ProviderUnavailable: gone"]);
}

#[test]
fn odd_chunks_are_no_content() {
    let azure = r#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0}]}"#;
    let last = r#"{"id":"c","created":7,"model":"m","choices":[{"index":0,"finish_reason":"stop","content_filter_offsets":{}}]}"#;
    let events = decoded(&[azure, ": keepalive", "", &chunk(json!({"content": "a"}), Value::Null), last, "[DONE]"], &[]);
    assert_eq!(events[..2], [Event::KeepAlive, Event::KeepAlive]);
    assert_eq!(events[2], Event::Start { id: Text::word("c"), model: Text::word("m"), created_s: Some(7) });
    let perplexity = json!({"choices": [{"index": 0, "message": {"content": "ab"}, "delta": {"content": "b"}}]}).to_string();
    assert_eq!(decoded(&[&perplexity, "[DONE]"], &[]).iter().filter_map(short).collect::<Vec<_>>(), ["0 text", "0=b", "0-", "End"]);
    let whole = json!({"object": "chat.completion", "choices": [{"message": {"content": "ab"}, "finish_reason": "stop"}]}).to_string();
    assert_eq!(decoded(&[&whole], &[]).iter().filter_map(short).collect::<Vec<_>>(), ["0 text", "0=ab", "0-", "End"]);
}

#[test]
fn usage_in_every_place() {
    let usage = |frame: Value, traits: &[&str]| {
        let events = decoded(&[&frame.to_string(), "[DONE]"], traits);
        events
            .iter()
            .find_map(|event| if let Event::Usage(usage) = event { Some((usage.prompt_tokens, usage.completion_tokens)) } else { None })
    };
    let figures = json!({"prompt_tokens": 3, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 4}});
    assert_eq!(usage(json!({"choices": [], "usage": figures}), &[]), Some((3, 2)));
    assert_eq!(usage(json!({"choices": [], "usage": figures}), &["reasoning_outside_completion"]), Some((3, 6)));
    assert_eq!(usage(json!({"choices": [{"delta": {}, "usage": figures}]}), &[]), Some((3, 2)));
    assert_eq!(usage(json!({"choices": [{"delta": {}}], "x_groq": {"usage": figures}}), &[]), Some((3, 2)));
    assert_eq!(usage(json!({"choices": [{"delta": {}}], "usage": null}), &[]), None);
}

#[test]
fn chunks_that_differ_in_their_text_only_are_told_the_same() {
    let words = ["a", "b", "é", "\\ud83d", "\\ude00", "\\\"", "x\\\\"];
    let frame = |delta: &str, word: &str| {
        let delta = delta.replace("WORD", word);
        format!(r#"{{"id":"c","choices":[{{"index":0,"delta":{delta},"finish_reason":null}}],"usage":null}}"#)
    };
    let mut decoder = Decoder::new(Traits::NONE);
    let call = r#"{"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":"["}}]}"#;
    for (deltas, head, before) in [
        ([r#"{"reasoning_content":"WORD"}"#, r#"{"content":"","reasoning_content":"WORD"}"#], &["0 thought"][..], "0.0="),
        ([r#"{"content":"WORD"}"#, r#"{"role":"assistant","content":"WORD"}"#], &["0-", "1 text"], "1="),
        ([r#"{"tool_calls":[{"index":0,"function":{"arguments":"WORD"}}]}"#, call], &["1-", "2 call f c1", "2=["], "2="),
    ] {
        let mut told = Vec::new();
        let begins = deltas[1] == call;
        let first = begins.then(|| frame(call, ""));
        let frames = first.into_iter().chain(words.iter().map(|word| frame(deltas[0], word)));
        for frame in frames.chain((!begins).then(|| frame(deltas[1], ""))) {
            decoder.event(None, frame.as_bytes(), &mut |event| told.extend(short(&event))).unwrap();
        }
        let expected = head.iter().map(|word| (*word).to_owned()).chain(words.iter().map(|word| format!("{before}{word}")));
        assert_eq!(told, expected.collect::<Vec<_>>());
    }
    let frame = |word: &str| frame(r#"{"tool_calls":[{"index":0,"function":{"arguments":"WORD"}}]}"#, word);
    // What breaks out of the string is no text.
    for broken in [r#"x"},"finish_reason":"stop"}],"y":[{"z":{"w":"q"#, "\u{7}", "\\x"] {
        let result = decoder.event(None, frame(broken).as_bytes(), &mut |_| {});
        assert!(result.is_err() || broken.contains("stop"), "{broken}");
    }
}

#[test]
fn what_is_no_chunk_is_a_fault() {
    for (frame, expected) in [
        ("<html>", "the body is invalid JSON at byte 0: expected '{'"),
        (r#"{"choices":[{"delta":{"content":7}}]}"#, r#""choices[0].delta.content" must be a string or an array"#),
        (r#"{"choices":[{"delta":{"content":"\x"}}]}"#, r#""choices[0].delta.content" is no text"#),
        (r#"{"choices":[{"index":4000000000,"delta":{}}]}"#, r#""choices[0].index" must be below 128"#),
        (
            r#"{"choices":[{"delta":{"tool_calls":[{"id":"c","function":{"name":"f","arguments":tru}}]}}]}"#,
            r#""choices[0].delta.tool_calls" is invalid JSON at byte 0: expected true, false or null"#,
        ),
    ] {
        let fault = Decoder::new(Traits::NONE).event(None, frame.as_bytes(), &mut |_| {}).unwrap_err().to_string();
        if !frame.contains("tru}") {
            assert_eq!(fault, expected, "{frame}");
        }
    }
}

// --- out --------------------------------------------------------------------------------------------------------------

pub(super) fn encoder(manner: Manner, change: impl FnOnce(&mut Bridge)) -> Encoder {
    let mut bridge = Bridge::default();
    change(&mut bridge);
    Encoder::new(Arc::new(Identity::new(manner, "gen-0-00ff", "acme/fast", "Lab", 9)), Arc::new(bridge))
}

const USAGE: Usage = Usage {
    prompt_tokens: 3,
    cache_read_tokens: 0,
    cache_write_tokens: 0,
    cache_write_1h_tokens: 0,
    completion_tokens: 2,
    reasoning_tokens: 1,
    web_searches: 0,
};

pub(super) fn encoded(mut encoder: Encoder, events: &[Event<'_>]) -> String {
    let mut out = Vec::new();
    events.iter().for_each(|event| encoder.event(event, &mut out));
    if let Some(Event::Fail { kind, message, .. }) = events.last() {
        encoder.fail(*kind, &decode(message).unwrap(), &Details::default(), &mut out);
    }
    encoder.finish(Some(&USAGE), Some(NanoUsd(1500)), &mut out);
    encoder.finish(Some(&USAGE), None, &mut out);
    encoder.fail(ErrorKind::Internal, "never", &Details::default(), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// The data of a stream's events that are JSON.
pub(super) fn data(stream: &str) -> Vec<Value> {
    let events: Vec<&str> = stream.split("\n\n").filter(|event| !event.is_empty() && !event.starts_with(':')).collect();
    assert_eq!(events.last(), Some(&"data: [DONE]"), "{stream}");
    events[..events.len() - 1].iter().map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap()).collect()
}

fn deltas(stream: &str) -> Vec<Value> {
    data(stream).iter().filter(|chunk| !chunk["choices"][0]["delta"].is_null()).map(|chunk| chunk["choices"][0]["delta"].clone()).collect()
}

fn start() -> Event<'static> {
    Event::Start { id: Text::word("msg_1"), model: Text::word("lab-1"), created_s: None }
}

fn open(block: u32, head: Head<'static>) -> Event<'static> {
    Event::Open { choice: 0, block, head }
}

fn piece(block: u32, delta: Delta<'static>) -> Event<'static> {
    Event::Delta { choice: 0, block, delta }
}

fn close(block: u32) -> Event<'static> {
    Event::Close { choice: 0, block }
}

fn stop(reason: StopReason, native: &'static str) -> Event<'static> {
    Event::Stop { choice: 0, stop: fairlead_ir::Stop { reason, native: Text::word(native), sequence: None, details: None } }
}

fn call(block: u32, id: &'static str, name: &'static str, pieces: &[&'static str]) -> Vec<Event<'static>> {
    let mut events = vec![open(block, Head::ToolCall { id: Text::word(id), name: Text::word(name), free: false })];
    events.extend(pieces.iter().map(|text| piece(block, Delta::Arguments(Text::word(text)))));
    events.push(close(block));
    events
}

#[test]
fn a_text_in_both_manners() {
    let events = [
        start(),
        open(0, Head::Text),
        piece(0, Delta::Text(Text::word("a"))),
        piece(0, Delta::Text(Text::word(r"\n"))),
        close(0),
        stop(StopReason::End, "end_turn"),
        Event::End,
    ];
    let native = encoded(encoder(Manner::Native, |_| {}), &events);
    let head = r#"data: {"id":"msg_1","object":"chat.completion.chunk","created":9,"model":"lab-1","choices":["#;
    let expected = [
        format!("{head}{}]}}", r#"{"index":0,"delta":{"role":"assistant","content":"a"},"finish_reason":null}"#),
        format!("{head}{}]}}", r#"{"index":0,"delta":{"content":"\n"},"finish_reason":null}"#),
        format!("{head}{}]}}", r#"{"index":0,"delta":{},"finish_reason":"stop"}"#),
        "data: [DONE]".to_owned(),
    ];
    assert_eq!(native, expected.join("\n\n") + "\n\n");
    let chunks = data(&encoded(encoder(Manner::Openrouter, |_| {}), &events));
    assert_eq!(
        chunks[0],
        json!({"id": "gen-0-00ff", "object": "chat.completion.chunk", "created": 9, "model": "acme/fast", "provider": "Lab", "system_fingerprint": null,
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": "a"}, "finish_reason": null, "native_finish_reason": null}]})
    );
    assert_eq!(chunks[2]["choices"], json!([{"index": 0, "delta": {}, "finish_reason": "stop", "native_finish_reason": "end_turn"}]));
    assert_eq!(chunks[3]["choices"], json!([]));
    assert_eq!(chunks[3]["usage"]["cost"].to_string(), "1.5e-6");
    assert_eq!(chunks.len(), 4, "one usage chunk");
}

#[test]
fn the_usage_chunk_is_for_those_who_asked() {
    let events = [start(), stop(StopReason::End, ""), Event::End];
    assert_eq!(data(&encoded(encoder(Manner::Native, |_| {}), &events)).len(), 1);
    let asked = data(&encoded(encoder(Manner::Native, |bridge| bridge.include_usage = true), &events));
    assert_eq!((&asked[1]["choices"], &asked[1]["usage"]["total_tokens"]), (&json!([]), &json!(5)));
    assert_eq!(asked[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
}

#[test]
fn calls_are_dense_and_say_who_they_are_once() {
    let mut events = vec![start(), open(0, Head::Thought { id: None, redacted: false }), close(0)];
    events.extend(call(1, "a", "f", &[r#"{\"x\":"#, "1}"]));
    events.extend(call(2, "b", "g", &["{}"]));
    events.extend([stop(StopReason::ToolCalls, "tool_use"), Event::End]);
    let stream = encoded(encoder(Manner::Native, |_| {}), &events);
    let told: Vec<Value> = deltas(&stream).into_iter().map(|delta| delta["tool_calls"][0].clone()).collect();
    let expected = [
        json!({"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}),
        json!({"index": 0, "function": {"arguments": "{\"x\":"}}),
        json!({"index": 0, "function": {"arguments": "1}"}}),
        json!({"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}),
        json!({"index": 1, "function": {"arguments": "{}"}}),
        Value::Null,
    ];
    assert_eq!(told, expected);
    assert_eq!(data(&stream).last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
}

#[test]
fn tools_come_back_as_the_caller_gave_them() {
    let events = |name: &'static str, pieces: &[&'static str]| {
        [vec![start()], call(0, "a", name, pieces), vec![stop(StopReason::ToolCalls, "tool_use"), Event::End]].concat()
    };
    let renamed = |bridge: &mut Bridge| bridge.tool(&Text::word("mcp_1"), &Text::word("mcp.read"), false);
    assert_eq!(
        deltas(&encoded(encoder(Manner::Native, renamed), &events("mcp_1", &["{}"])))[0]["tool_calls"][0]["function"]["name"],
        "mcp.read"
    );
    let wrapped = |bridge: &mut Bridge| bridge.tool(&Text::word("p"), &Text::word("p"), true);
    let told = deltas(&encoded(encoder(Manner::Native, wrapped), &events("p", &[r#"{\"input\":"#, r#"\"a\\nb\""#, "}"])));
    assert_eq!(told[0]["tool_calls"][0], json!({"index": 0, "id": "a", "type": "custom", "custom": {"name": "p", "input": ""}}));
    assert_eq!(told[1]["tool_calls"][0], json!({"index": 0, "custom": {"input": "a\nb"}}));
    let legacy = encoded(encoder(Manner::Native, |bridge| bridge.legacy_functions = true), &events("f", &["{}"]));
    assert_eq!(deltas(&legacy)[0]["function_call"], json!({"name": "f", "arguments": ""}));
    assert_eq!(deltas(&legacy)[1]["function_call"], json!({"arguments": "{}"}));
    assert_eq!(data(&legacy)[2]["choices"][0]["finish_reason"], "function_call");
    let form =
        encoded(encoder(Manner::Native, |bridge| bridge.format_tool = Some("answer".to_owned())), &events("answer", &[r#"{\"a\":1}"#]));
    assert_eq!((&deltas(&form)[0]["content"], &data(&form)[1]["choices"][0]["finish_reason"]), (&json!("{\"a\":1}"), &json!("stop")));
}

#[test]
fn thoughts_with_their_seals() {
    let thought = |block, text: &'static str, seal: &'static str| {
        let delta = Delta::Thought { shape: fairlead_ir::block::ThoughtShape::Full, part: 0, text: Text::word(text) };
        vec![
            open(block, Head::Thought { id: None, redacted: false }),
            piece(block, delta.clone()),
            piece(block, delta),
            piece(block, Delta::Seal(Text::word(seal))),
            close(block),
        ]
    };
    let events =
        [vec![start()], thought(0, "a", "s1"), thought(1, "b", "s2"), vec![stop(StopReason::End, "end_turn"), Event::End]].concat();
    let told = deltas(&encoded(encoder(Manner::Openrouter, |_| {}), &events));
    let entries: Vec<Value> = told.iter().flat_map(|delta| delta["reasoning_details"].as_array().cloned().unwrap_or_default()).collect();
    let expected = [
        json!({"type": "reasoning.text", "text": "a", "format": "unknown", "index": 0}),
        json!({"type": "reasoning.text", "text": "a", "format": "unknown", "index": 0}),
        json!({"type": "reasoning.text", "signature": "s1", "format": "anthropic-claude-v1", "index": 0}),
        json!({"type": "reasoning.encrypted", "data": "s1", "format": "anthropic-claude-v1", "index": 0}),
        json!({"type": "reasoning.text", "text": "b", "format": "unknown", "index": 1}),
        json!({"type": "reasoning.text", "text": "b", "format": "unknown", "index": 1}),
        json!({"type": "reasoning.text", "signature": "s2", "format": "anthropic-claude-v1", "index": 1}),
    ];
    assert_eq!(entries, expected);
    assert_eq!(told[0]["reasoning"], "a");
    let native = deltas(&encoded(encoder(Manner::Native, |_| {}), &events));
    assert_eq!(native[0]["reasoning_content"], "a");
    let hidden = deltas(&encoded(encoder(Manner::Native, |bridge| bridge.hide_thoughts = true), &events));
    assert!(hidden.iter().all(|delta| delta.get("reasoning_content").is_none()));
    assert_eq!(hidden[0]["reasoning_details"][0]["signature"], "s1");
}

#[test]
fn an_error_ends_the_stream_in_the_manner() {
    let mut encoder = encoder(Manner::Openrouter, |_| {});
    let mut out = Vec::new();
    encoder.event(&start(), &mut out);
    encoder.event(&open(0, Head::Text), &mut out);
    encoder.event(&piece(0, Delta::Text(Text::word("a"))), &mut out);
    encoder.fail(ErrorKind::ProviderOverloaded, "busy", &Details::default(), &mut out);
    encoder.event(&piece(0, Delta::Text(Text::word("b"))), &mut out);
    encoder.keep_alive(&mut out);
    encoder.finish(None, None, &mut out);
    let stream = String::from_utf8(out).unwrap();
    let chunks = data(&stream);
    assert_eq!(chunks.len(), 2);
    assert_eq!(
        (&chunks[1]["id"], &chunks[1]["error"]["code"], &chunks[1]["choices"][0]["finish_reason"]),
        (&json!("gen-0-00ff"), &json!(503), &json!("error"))
    );
}
