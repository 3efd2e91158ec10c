//! Streams in both directions.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use fairlead_ir::{Delta, Dialect, ErrorKind, Event, Head, Manner, NanoUsd, StopReason, Text, Usage};
use proptest::prelude::*;

use super::decode::Decoder;
use super::encode::{Encoder, Framing};
use crate::error::Details;
use crate::gemini_generate::request::tests::json;
use crate::gemini_generate::response::tests::part;
use crate::identity::Identity;
use crate::json::is_complete;
use crate::traits::Traits;
use crate::translate::{Bridge, promises};

/// The events of these chunks, up to the first fault.
fn events<S: AsRef<[u8]>>(chunks: &[S]) -> Vec<Event<'static>> {
    let (mut decoder, mut events) = (Decoder::new(Traits::NONE), Vec::new());
    let mut keep = |event: Event<'_>| events.push(promises::kept(&event));
    for chunk in chunks {
        if let Err(fault) = decoder.event(None, chunk.as_ref(), &mut keep) {
            keep(Event::Fail { kind: ErrorKind::ProviderUnavailable, message: Text::owned(fault.to_string().into_bytes()), code: None });
            return events;
        }
    }
    decoder.finish(&mut keep);
    events
}

/// Events as short words.
fn words(events: &[Event<'_>]) -> String {
    let text = |text: &Text<'_>| String::from_utf8_lossy(text.as_bytes()).into_owned();
    let word = |event: &Event<'_>| match event {
        Event::Start { id, model, created_s } => format!("start({},{},{created_s:?})", text(id), text(model)),
        Event::Open { choice, block, head } => match head {
            Head::Text => format!("{choice}.{block}:text"),
            Head::Thought { .. } => format!("{choice}.{block}:thought"),
            Head::ToolCall { id, name, .. } => format!("{choice}.{block}:call({},{})", text(id), text(name)),
            Head::Media(_) => format!("{choice}.{block}:media"),
            Head::Opaque { word, raw } => format!("{choice}.{block}:opaque({},{})", text(word), String::from_utf8_lossy(raw.as_bytes())),
            Head::Refusal => format!("{choice}.{block}:refusal"),
        },
        Event::Delta { delta, .. } => match delta {
            Delta::Text(piece) | Delta::Arguments(piece) => format!("'{}'", text(piece)),
            Delta::Thought { text: piece, .. } => format!("'{}'", text(piece)),
            Delta::Seal(seal) => format!("seal({})", text(seal)),
            Delta::Citation(citation) => format!("cite({},{:?})", citation.url.as_ref().map(text).unwrap_or_default(), citation.range),
        },
        Event::Close { .. } => "close".to_owned(),
        Event::Logprobs { .. } => "logprobs".to_owned(),
        Event::Stop { choice, stop } => format!("{choice}:{:?}({})", stop.reason, text(&stop.native)),
        Event::Tier(tier) => format!("tier {}", String::from_utf8_lossy(tier.as_bytes())),
        Event::Usage(usage) => format!("usage({}+{})", usage.total_prompt_tokens(), usage.completion_tokens),
        Event::KeepAlive => "alive".to_owned(),
        Event::Fail { kind, message, .. } => format!("fail({kind:?},{})", text(message)),
        Event::End => "end".to_owned(),
    };
    events.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn check(chunks: &[&str], expected: &str) {
    let events = events(chunks);
    assert_eq!(words(&events), expected, "{chunks:?}");
    if !matches!(events.last(), Some(Event::Fail { .. })) {
        promises::check(&events).unwrap();
    }
}

fn candidate(parts: &str, rest: &str) -> String {
    format!(r#"{{"candidates":[{{"content":{{"parts":[{parts}],"role":"model"}}{rest}}}],"responseId":"r","modelVersion":"m"}}"#)
}

#[test]
fn texts_of_chunks_are_pieces_of_one_block() {
    check(
        &[
            r#"{"candidates":[{"content":{"parts":[{"text":"Hm","thought":true}]},"index":0}],"usageMetadata":{"trafficType":"x"},"modelVersion":"m","responseId":"r","createTime":"1970-01-01T00:00:07Z"}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":".","thought":true},{"text":"A "}]}}],"usageMetadata":{"promptTokenCount":3,"totalTokenCount":3}}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"b\n"},{"text":""}],"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2,"totalTokenCount":5}}"#,
        ],
        r"start(r,m,Some(7)) 0.0:thought 'Hm' '.' close 0.1:text 'A ' usage(3+0) 'b\n' usage(3+2) close 0:End(STOP) end",
    );
}

#[test]
fn a_signature_stays_with_its_part() {
    check(
        &[
            &candidate(r#"{"text":"a"},{"text":"b","thoughtSignature":"-_-_"},{"text":"c"}"#, ""),
            &candidate(r#"{"text":"","thoughtSignature":"c2ln"}"#, r#","finishReason":"STOP""#),
        ],
        "start(r,m,None) 0.0:text 'a' close 0.1:text 'b' seal(+/+/) close 0.2:text 'c' close 0.3:text seal(c2ln) close 0:End(STOP) end",
    );
}

#[test]
fn calls_come_whole_and_end_as_tool_calls() {
    check(
        &[
            &candidate(r#"{"functionCall":{"name":"f","args":{"a":"\n"}},"thoughtSignature":"c2ln"},{"functionCall":{"name":"g"}}"#, ""),
            &candidate(
                r#"{"functionCall":{"id":"own","name":"g","args":{}}},{"functionCall":{"name":"g","args":"{}"}}"#,
                r#","finishReason":"STOP""#,
            ),
        ],
        concat!(
            r#"start(r,m,None) 0.0:call(call_af63ef4c86020cd5_0,f) '{\"a\":\"\\n\"}' seal(c2ln) close 0.1:call(call_af63ef4c86020cd5_1,g) '{}' close "#,
            "0.2:call(own,g) '{}' close 0.3:call(call_af63ef4c86020cd5_2,g) '{}' close 0:ToolCalls(STOP) end"
        ),
    );
}

#[test]
fn pieces_of_arguments_come_together() {
    let piece = |json: &str| candidate(&format!(r#"{{"functionCall":{{{json}}}}}"#), "");
    check(
        &[
            &candidate(r#"{"functionCall":{"id":"i","name":"f","willContinue":true},"thoughtSignature":"c2ln"}"#, ""),
            &piece(r#""partialArgs":[{"jsonPath":"$.city","stringValue":"New ","willContinue":true}],"willContinue":true"#),
            &piece(r#""partialArgs":[{"jsonPath":"$.city","stringValue":"Delhi"}],"willContinue":true"#),
            &piece(""),
            &piece(r#""id":"j","name":"g","partialArgs":[{"jsonPath":"$.n","numberValue":1}]"#),
            &candidate("", r#","finishReason":"STOP""#),
        ],
        r#"start(r,m,None) 0.0:call(i,f) '{\"city\":\"New Delhi\"}' seal(c2ln) close 0.1:call(j,g) '{\"n\":1}' close 0:ToolCalls(STOP) end"#,
    );
}

#[test]
fn what_only_gemini_knows_is_opaque() {
    check(
        &[&candidate(
            r#"{"executableCode":{"code":"1"}},{"inlineData":{"mimeType":"image/png","data":"aGk="},"thought":true},{"inlineData":{"mimeType":"image/png","data":"aGk="}}"#,
            r#","finishReason":"STOP""#,
        )],
        concat!(
            r#"start(r,m,None) 0.0:opaque(executableCode,{"executableCode":{"code":"1"}}) close "#,
            r#"0.1:opaque(inlineData,{"inlineData":{"mimeType":"image/png","data":"aGk="},"thought":true}) close 0.2:media close 0:End(STOP) end"#
        ),
    );
}

#[test]
fn a_refused_prompt_has_no_candidates() {
    check(
        &[
            r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":3,"totalTokenCount":3},"responseId":"r"}"#,
        ],
        "start(r,,None) usage(3+0) 0:ContentFilter(PROHIBITED_CONTENT) end",
    );
}

#[test]
fn the_last_end_word_counts() {
    check(
        &[
            &candidate(r#"{"text":"a"}"#, r#","finishReason":"STOP""#),
            &candidate(r#"{"text":"b"}"#, r#","finishReason":"MAX_TOKENS""#),
            "[DONE]",
            "",
            ": x",
        ],
        "start(r,m,None) 0.0:text 'a' 'b' close 0:MaxTokens(MAX_TOKENS) end",
    );
    check(
        &[&candidate("", r#","finishReason":"MALFORMED_FUNCTION_CALL","finishMessage":"m""#)],
        "start(r,m,None) 0:Failed(MALFORMED_FUNCTION_CALL) end",
    );
}

#[test]
fn a_stream_that_breaks_off_has_failed() {
    let cut = "fail(ProviderUnavailable,the provider's stream ended before the reply did)";
    check(&[], &format!("start(,,None) {cut}"));
    check(&[&candidate(r#"{"text":"a"}"#, "")], &format!("start(r,m,None) 0.0:text 'a' {cut}"));
    check(&[r#"{"usageMetadata":{"promptTokenCount":3}}"#], &format!("start(,,None) usage(3+0) {cut}"));
}

#[test]
fn errors_in_mid_stream_are_told_once() {
    let error = r#"{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}"#;
    let started = "start(r,m,None) 0.0:text 'a'";
    check(&[&candidate(r#"{"text":"a"}"#, ""), error, error], &format!("{started} fail(ProviderOverloaded,overloaded)"));
    check(&[&candidate(r#"{"text":"a"}"#, ""), &format!("[{error}]")], &format!("{started} fail(ProviderOverloaded,overloaded)"));
    check(&[error], "start(,,None) fail(ProviderOverloaded,overloaded)");
    check(&["<html>"], "fail(ProviderUnavailable,the body is not valid JSON)");
    check(&[r#"{"candidates":[{"index":64}]}"#], r#"start(,,None) fail(ProviderUnavailable,"candidates[0]" is a candidate too many)"#);
    check(
        &[r#"{"candidates":[{"content":{"parts":[{"text":1}]}}]}"#],
        r#"start(,,None) fail(ProviderUnavailable,"candidates[0].parts[0].text" must be a string)"#,
    );
}

#[test]
fn several_candidates_keep_apart() {
    check(
        &[
            r#"{"candidates":[{"content":{"parts":[{"text":"b"}]},"index":1},{"content":{"parts":[{"text":"a"}]}}]}"#,
            r#"[{"candidates":[{"content":{"parts":[{"text":"A"}]},"finishReason":"STOP"}]},{"candidates":[{"finishReason":"SAFETY","index":1}]}]"#,
        ],
        "start(,,None) 1.0:text 'b' 0.0:text 'a' 'A' close 0:End(STOP) close 1:ContentFilter(SAFETY) end",
    );
}

#[test]
fn citations_come_once_and_with_places_that_are_known() {
    let grounded = |text: &str| {
        candidate(
            &format!(r#"{{"text":"{text}"}}"#),
            r#","finishReason":"STOP","groundingMetadata":{"webSearchQueries":["q"],"groundingChunks":[{"web":{"uri":"u"}}],"groundingSupports":[{"segment":{"endIndex":2},"groundingChunkIndices":[0]}]}"#,
        )
    };
    check(&[&grounded("ab"), &grounded("c")], "start(r,m,None) 0.0:text 'ab' cite(u,Some((0, 2))) 'c' close 0:End(STOP) end");
    check(&[&grounded("ü")], "start(r,m,None) 0.0:text 'ü' cite(u,None) close 0:End(STOP) end");
}

#[test]
fn halves_of_a_pair_move_as_they_are() {
    check(
        &[&candidate(r#"{"text":"\ud83d"}"#, ""), &candidate(r#"{"text":"\ude00"}"#, r#","finishReason":"STOP""#)],
        r"start(r,m,None) 0.0:text '\ud83d' '\ude00' close 0:End(STOP) end",
    );
    check(&[&candidate(r#"{"text":"\ux"}"#, "")], "fail(ProviderUnavailable,the body is not valid JSON)");
}

fn encoder(source: Dialect, framing: Framing, bridge: Bridge) -> Encoder {
    let identity = Identity::new(Manner::Native, "gen-1", "acme/fast", "Lab", 7);
    Encoder::new(source, framing, Arc::new(identity), Arc::new(bridge))
}

fn encoded(events: &[Event<'_>], mut encoder: Encoder) -> String {
    let (mut out, mut usage) = (Vec::new(), None);
    for event in events {
        encoder.event(event, &mut out);
        encoder.keep_alive(&mut out);
        match event {
            Event::Usage(told) => usage = Some(*told),
            Event::Fail { kind, message, .. } => {
                encoder.fail(*kind, std::str::from_utf8(message.as_bytes()).unwrap(), &Details::default(), &mut out)
            }
            Event::End => encoder.finish(usage.as_ref(), Some(NanoUsd(2_000_000)), &mut out),
            _ => {}
        }
    }
    // Nothing follows the end.
    let length = out.len();
    encoder.fail(ErrorKind::Internal, "late", &Details::default(), &mut out);
    encoder.finish(None, None, &mut out);
    assert_eq!(out.len(), length);
    String::from_utf8(out).unwrap()
}

/// The data of events that every one of Google's clients reads.
fn strict_data(stream: &str) -> Vec<String> {
    let mut rest = stream;
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (event, behind) = rest.split_once("\n\n").unwrap();
        let data = event.strip_prefix("data: ").unwrap();
        assert!(!data.contains(['\n', '\r', '\u{2028}', '\u{2029}']), "{data}");
        assert!(data.starts_with('{'), "{data}");
        all.push(data.to_owned());
        rest = behind;
    }
    all
}

fn check_encoded(events: &[Event<'_>], bridge: Bridge, expected: &[&str]) {
    let stream = encoded(events, encoder(Dialect::OpenaiChat, Framing::Events, bridge));
    let short = |data: &String| data.replace(r#","modelVersion":"acme/fast","responseId":"chatcmpl-1"}"#, "…");
    assert_eq!(strict_data(&stream).iter().map(short).collect::<Vec<_>>(), expected);
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

fn start() -> Event<'static> {
    Event::Start { id: Text::word("chatcmpl-1"), model: Text::EMPTY, created_s: None }
}

fn stop(reason: StopReason) -> Event<'static> {
    Event::Stop { choice: 0, stop: fairlead_ir::Stop { reason, native: Text::word("x"), sequence: None, details: None } }
}

#[test]
fn interleaved_calls_are_written_whole_and_in_order() {
    let call = |id, name| Head::ToolCall { id: Text::word(id), name: Text::word(name), free: false };
    let arguments = |text: &'static str| Delta::Arguments(Text::word(text));
    let mut bridge = Bridge::default();
    bridge.tool(&Text::word("f_1"), &Text::word("f.1"), false);
    check_encoded(
        &[
            start(),
            open(0, Head::Text),
            piece(0, Delta::Text(Text::owned("a\u{2028}b\u{e9}\u{201c}".as_bytes().to_vec()))),
            open(1, call("x", "f_1")),
            open(2, call("y", "g")),
            piece(1, arguments(r#"{\"a\":"#)),
            piece(2, arguments(r"{}")),
            piece(0, Delta::Seal(Text::word("c2ln"))),
            piece(1, arguments("\\n1}")),
            close(2),
            close(0),
            close(1),
            stop(StopReason::ToolCalls),
            Event::Usage(Usage { prompt_tokens: 3, completion_tokens: 2, ..Usage::default() }),
            Event::End,
        ],
        bridge,
        &[
            "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\\u2028b\u{e9}\u{201c}\"}],\"role\":\"model\"},\"index\":0}]…",
            r#"{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"c2ln"}],"role":"model"},"index":0}]…"#,
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{"id":"x","name":"f.1","args":{"a": 1}}}],"role":"model"},"index":0}]…"#,
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{"id":"y","name":"g","args":{}}}],"role":"model"},"index":0}]…"#,
            r#"{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2,"totalTokenCount":5,"cost":0.002}…"#,
        ],
    );
}

#[test]
fn thoughts_are_hidden_and_a_format_tool_is_text() {
    let mut bridge = Bridge::default();
    bridge.hide_thoughts = true;
    bridge.format_tool = Some("final_answer".to_owned());
    let thought = |text| Delta::Thought { shape: fairlead_ir::block::ThoughtShape::Full, part: 0, text: Text::word(text) };
    check_encoded(
        &[
            start(),
            open(0, Head::Thought { id: None, redacted: false }),
            piece(0, thought("hm")),
            piece(0, Delta::Seal(Text::word("c2ln"))),
            close(0),
            open(1, Head::ToolCall { id: Text::word("x"), name: Text::word("final_answer"), free: false }),
            piece(1, Delta::Arguments(Text::word(r#"{\"a\":1}"#))),
            close(1),
            stop(StopReason::ToolCalls),
            Event::End,
        ],
        bridge,
        &[
            r#"{"candidates":[{"content":{"parts":[{"text":"","thought":true,"thoughtSignature":"c2ln"}],"role":"model"},"index":0}]…"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"{\"a\":1}"}],"role":"model"},"index":0}]…"#,
            r#"{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"cost":0.002}…"#,
        ],
    );
}

#[test]
fn a_failure_is_the_last_event() {
    let fail = Event::Fail { kind: ErrorKind::ProviderOverloaded, message: Text::word("busy"), code: None };
    let error = concat!(
        r#"{"error":{"code":503,"message":"busy","status":"UNAVAILABLE","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","#,
        r#""reason":"PROVIDER_OVERLOADED","domain":"fairlead"}]}}"#
    );
    check_encoded(&[start(), fail.clone()], Bridge::default(), &[error]);
    let text = encoded(&[start(), fail], encoder(Dialect::OpenaiChat, Framing::Array, Bridge::default()));
    assert_eq!(text, format!("[{error}]"));
}

/// What a reply says, however it is cut.
#[derive(Debug, Default, PartialEq)]
struct Said {
    texts: BTreeMap<u32, String>,
    thoughts: BTreeMap<u32, String>,
    /// In the order they began, by reply.
    calls: BTreeMap<(u32, u32), (String, serde_json::Value)>,
    seals: Vec<String>,
    media: usize,
    ends: Vec<u32>,
    failed: bool,
}

fn said(events: &[Event<'_>]) -> Said {
    let text = |text: &Text<'_>| String::from_utf8_lossy(text.as_bytes()).into_owned();
    let (mut said, mut open) = (Said::default(), BTreeMap::new());
    let mut seals = BTreeMap::new();
    for event in events {
        match event {
            Event::Open { choice, block, head } => {
                open.insert((*choice, *block), (head.clone(), String::new()));
            }
            Event::Delta { choice, block, delta } => {
                let (head, arguments) = open.get_mut(&(*choice, *block)).unwrap();
                match (delta, head) {
                    (Delta::Text(piece), _) => said.texts.entry(*choice).or_default().push_str(&text(piece)),
                    (Delta::Thought { text: piece, .. }, _) => said.thoughts.entry(*choice).or_default().push_str(&text(piece)),
                    (Delta::Arguments(piece), _) => arguments.push_str(&text(piece)),
                    (Delta::Seal(seal), head) if !matches!(head, Head::Opaque { .. }) => {
                        seals.insert((*choice, *block), text(seal));
                    }
                    _ => {}
                }
            }
            Event::Close { choice, block } => {
                said.seals.extend(seals.remove(&(*choice, *block)));
                let closed = open.remove(&(*choice, *block));
                said.media += usize::from(matches!(closed, Some((Head::Media(_), _))));
                if let Some((Head::ToolCall { name, free, .. }, arguments)) = closed {
                    let plain: String = serde_json::from_str(&format!("\"{arguments}\"")).unwrap_or_else(|_| arguments.clone());
                    let value = match free {
                        true => serde_json::json!({ "input": plain }),
                        false => serde_json::from_str(&plain).unwrap(),
                    };
                    said.calls.insert((*choice, *block), (text(&name), value));
                }
            }
            Event::Stop { choice, .. } => said.ends.push(*choice),
            Event::Fail { .. } => said.failed = true,
            _ => {}
        }
    }
    said.texts.retain(|_, text| !text.is_empty());
    said.thoughts.retain(|_, text| !text.is_empty());
    said.seals.sort();
    // Blocks may be other ones; what counts is which call of a reply it is.
    let mut numbers = BTreeMap::new();
    said.calls = std::mem::take(&mut said.calls)
        .into_iter()
        .map(|((choice, _), call)| {
            let number = numbers.entry(choice).or_insert(0);
            *number += 1;
            ((choice, *number), call)
        })
        .collect();
    said
}

/// Whether a free text can be an argument: halves of pairs cannot be compared once they are decoded.
fn is_comparable(events: &[Event<'_>]) -> bool {
    let free: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Open { choice, block, head: Head::ToolCall { free: true, .. } } => Some((*choice, *block)),
            _ => None,
        })
        .collect();
    !events.iter().any(|event| {
        matches!(event, Event::Delta { choice, block, delta: Delta::Arguments(text) }
        if free.contains(&(*choice, *block)) && text.as_bytes().starts_with(b"\\u"))
    })
}

proptest! {
    #[test]
    fn any_stream_is_written_in_the_strict_grammar(events in promises::streams()) {
        let stream = encoded(&events, encoder(Dialect::OpenaiChat, Framing::Events, Bridge::default()));
        let data = strict_data(&stream);
        let array = encoded(&events, encoder(Dialect::OpenaiChat, Framing::Array, Bridge::default()));
        prop_assert!(is_complete(array.as_bytes()) || array.contains("\\ud83d") || array.contains("\\ude00"), "{array}");
        if is_comparable(&events) {
            let read = super::tests::events(&data);
            promises::check(&read).unwrap();
            let (mut wanted, got) = (said(&events), said(&read));
            if wanted.failed {
                // What was gathered goes with the failure: calls that are not whole, and those that waited for them.
                wanted.calls.retain(|place, _| got.calls.contains_key(place));
                prop_assert!(got.seals.iter().all(|seal| wanted.seals.contains(seal)));
                wanted.seals.clone_from(&got.seals);
            }
            prop_assert_eq!(got, wanted, "{}", stream);
        }
    }

    #[test]
    fn any_cut_into_chunks_gives_the_same_events(parts in prop::collection::vec((part(), any::<bool>()), 1..10)) {
        let whole = parts.iter().map(|(part, _)| part.as_str()).collect::<Vec<_>>().join(",");
        let mut chunks: Vec<Vec<&str>> = vec![Vec::new()];
        for (part, cut) in &parts {
            if *cut {
                chunks.push(Vec::new());
            }
            chunks.last_mut().unwrap().push(part);
        }
        let end = candidate("", r#","finishReason":"STOP""#);
        let mut cut: Vec<String> = chunks.iter().map(|parts| candidate(&parts.join(","), "")).collect();
        cut.push(end.clone());
        let (cut, whole) = (events(&cut), events(&[candidate(&whole, ""), end]));
        promises::check(&cut).unwrap();
        prop_assert_eq!(cut, whole);
    }

    #[test]
    fn any_chunks_keep_the_promises(chunks in prop::collection::vec(json(), 0..5)) {
        let events = events(&chunks);
        if let Err(broken) = promises::check(&events) {
            panic!("{broken}: {chunks:?}");
        }
        encoded(&events, encoder(Dialect::GeminiGenerate, Framing::Events, Bridge::default()));
    }

    #[test]
    fn any_bytes_are_no_panic(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4)) {
        events(&chunks);
    }
}
