#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use fairlead_ir::block::{MediaSource, ThoughtShape};
use fairlead_ir::{Delta, ErrorKind, Event, Head, NanoUsd, StopReason, Text, Usage};
use proptest::prelude::*;
use serde_json::Value;

use super::decode::Decoder;
use super::encode::Encoder;
use crate::error::Details;
use crate::eventstream::{self, Framer, Header, Kind, MAX_PAYLOAD_BYTES};
use crate::identity::Identity;
use crate::read::Malformed;
use crate::traits::Traits;
use crate::translate::Bridge;
use crate::translate::promises::{check as check_promises, kept, streams};

/// What a stream of `(type, payload)` says, and how it failed.
fn decode(events: &[(&str, &str)]) -> (Vec<Event<'static>>, Option<Malformed>) {
    let mut decoder = Decoder::new(Traits::NONE);
    let mut got = Vec::new();
    for (name, data) in events {
        if let Err(fault) = decoder.event(Some(name.as_bytes()), data.as_bytes(), &mut |event| got.push(kept(&event))) {
            return (got, Some(fault));
        }
    }
    decoder.finish(&mut |event| got.push(kept(&event)));
    (got, None)
}

fn shown(event: &Event<'_>) -> String {
    let text = |text: &Text<'_>| String::from_utf8_lossy(text.as_bytes()).into_owned();
    match event {
        Event::Start { .. } => "start".to_owned(),
        Event::Open { block, head, .. } => match head {
            Head::Text => format!("{block} text"),
            Head::Refusal => format!("{block} refusal"),
            Head::Thought { redacted, .. } => format!("{block} thought{}", if *redacted { " redacted" } else { "" }),
            Head::ToolCall { id, name, .. } => format!("{block} call {} {}", text(id), text(name)),
            Head::Media(media) => match &media.source {
                MediaSource::Base64 { mime, data } => format!("{block} media {} {}", text(mime), text(data)),
                _ => format!("{block} media"),
            },
            Head::Opaque { word, raw } => format!("{block} opaque {} {}", text(word), String::from_utf8_lossy(raw.as_bytes())),
        },
        Event::Delta { block, delta, .. } => match delta {
            Delta::Text(piece) | Delta::Arguments(piece) => format!("{block} + {}", text(piece)),
            Delta::Thought { text: piece, .. } => format!("{block} ~ {}", text(piece)),
            Delta::Seal(data) => format!("{block} seal {}", text(data)),
            Delta::Citation(citation) => format!("{block} cites {}", citation.url.as_ref().map(text).unwrap_or_default()),
        },
        Event::Close { block, .. } => format!("{block} end"),
        Event::Logprobs { .. } => "logprobs".to_owned(),
        Event::Stop { stop, .. } => {
            let sequence = stop.sequence.as_ref().map(|sequence| format!(" at {}", text(sequence))).unwrap_or_default();
            format!("stop {:?} {}{sequence}", stop.reason, text(&stop.native))
        }
        Event::Tier(tier) => format!("tier {}", String::from_utf8_lossy(tier.as_bytes())),
        Event::Usage(usage) => format!("usage {}+{}", usage.prompt_tokens, usage.completion_tokens),
        Event::KeepAlive => "alive".to_owned(),
        Event::Fail { kind, message, code } => format!("fail {kind:?} {} {}", code.as_ref().map(text).unwrap_or_default(), text(message)),
        Event::End => "END".to_owned(),
    }
}

fn check(events: &[(&str, &str)], expected: &[&str]) {
    let (got, fault) = decode(events);
    assert_eq!(fault, None, "{events:?}");
    assert_eq!(check_promises(&got), Ok(()), "{events:?}");
    assert_eq!(got.iter().map(shown).collect::<Vec<_>>(), expected, "{events:?}");
}

const START: (&str, &str) = ("messageStart", r#"{"role":"assistant","p":"abc"}"#);
const STOP: (&str, &str) = ("messageStop", r#"{"stopReason":"end_turn"}"#);
const METADATA: (&str, &str) = ("metadata", r#"{"usage":{"inputTokens":5,"outputTokens":3,"totalTokens":8},"metrics":{"latencyMs":1}}"#);

fn delta(index: u32, delta: &str) -> String {
    format!(r#"{{"contentBlockIndex":{index},"delta":{delta},"p":"abcdefgh"}}"#)
}

#[test]
fn texts_and_thoughts_begin_with_their_first_piece() {
    let (thought, signature) =
        (delta(0, r#"{"reasoningContent":{"text":"hm"}}"#), delta(0, r#"{"reasoningContent":{"signature":"c2ln"}}"#));
    let (one, two) = (delta(1, r#"{"text":"a\ud83d"}"#), delta(1, r#"{"text":"\ude00"}"#));
    check(
        &[
            START,
            ("contentBlockDelta", &thought),
            ("contentBlockDelta", &signature),
            ("contentBlockStop", r#"{"contentBlockIndex":0}"#),
            ("contentBlockDelta", &one),
            ("contentBlockDelta", &two),
            ("contentBlockStop", r#"{"contentBlockIndex":1}"#),
            STOP,
            METADATA,
        ],
        &[
            "start",
            "0 thought",
            "0 ~ hm",
            "0 seal c2ln",
            "0 end",
            "1 text",
            r"1 + a\ud83d",
            r"1 + \ude00",
            "1 end",
            "stop End end_turn",
            "usage 5+3",
            "END",
        ],
    );
}

#[test]
fn redacted_thoughts_are_a_seal() {
    let redacted = delta(0, r#"{"reasoningContent":{"redactedContent":"AAEC"}}"#);
    check(
        &[START, ("contentBlockDelta", &redacted), STOP],
        &["start", "0 thought redacted", "0 seal AAEC", "0 end", "stop End end_turn", "END"],
    );
    let empty = delta(0, r#"{"reasoningContent":{"signature":""}}"#);
    check(&[START, ("contentBlockDelta", &empty), STOP], &["start", "stop End end_turn", "END"]);
}

#[test]
fn calls_have_arguments_even_without_any() {
    let call = |index: u32, id: &str| format!(r#"{{"contentBlockIndex":{index},"start":{{"toolUse":{{"toolUseId":"{id}","name":"f"}}}}}}"#);
    let (first, second, none) = (call(0, "a"), call(1, "b"), call(2, ""));
    let piece = |index: u32, text: &str| delta(index, &format!(r#"{{"toolUse":{{"input":"{text}"}}}}"#));
    let (open, other, rest) = (piece(0, r#"{\"x\":"#), piece(1, r#"{\"y\":\"\\n\"}"#), piece(0, "1}"));
    check(
        &[
            START,
            ("contentBlockStart", &first),
            ("contentBlockDelta", &open),
            ("contentBlockStart", &second),
            ("contentBlockDelta", &other),
            ("contentBlockDelta", &rest),
            ("contentBlockStop", r#"{"contentBlockIndex":0}"#),
            ("contentBlockStop", r#"{"contentBlockIndex":1}"#),
            ("contentBlockStart", &none),
            ("contentBlockStop", r#"{"contentBlockIndex":2}"#),
            ("messageStop", r#"{"stopReason":"end_turn"}"#),
        ],
        &[
            "start",
            "0 call a f",
            r#"0 + {\"x\":"#,
            "1 call b f",
            r#"1 + {\"y\":\"\\n\"}"#,
            "0 + 1}",
            "0 end",
            "1 end",
            "2 call tooluse_2 f",
            "2 + {}",
            "2 end",
            "stop ToolCalls end_turn",
            "END",
        ],
    );
}

#[test]
fn what_is_missing_is_made_good() {
    let text = delta(3, r#"{"text":"a"}"#);
    // No start, no stop of the block, another's number, a kind that changes.
    check(&[("contentBlockDelta", &text), STOP], &["start", "0 text", "0 + a", "0 end", "stop End end_turn", "END"]);
    let thought = delta(3, r#"{"reasoningContent":{"text":"hm"}}"#);
    check(
        &[
            START,
            ("contentBlockDelta", &text),
            ("contentBlockDelta", &thought),
            START,
            ("contentBlockStop", r#"{"contentBlockIndex":9}"#),
            STOP,
        ],
        &["start", "0 text", "0 + a", "0 end", "1 thought", "1 ~ hm", "1 end", "stop End end_turn", "END"],
    );
    // Figures before the end; nothing counts behind it.
    check(
        &[START, METADATA, STOP, ("contentBlockDelta", &text), METADATA, ("contentBlockDelta", &text), METADATA],
        &["start", "usage 5+3", "stop End end_turn", "usage 5+3", "END"],
    );
    check(&[START, ("brandNewEvent", "{"), STOP], &["start", "stop End end_turn", "END"]);
}

#[test]
fn a_stream_that_is_cut_is_a_failure() {
    let text = delta(0, r#"{"text":"a"}"#);
    let cut = "fail ProviderUnavailable upstream_truncated the provider's stream ended before the reply did";
    check(&[], &[cut]);
    check(&[START, ("contentBlockDelta", &text)], &["start", "0 text", "0 + a", cut]);
    check(&[START, METADATA], &["start", "usage 5+3", cut]);
}

#[test]
fn exceptions_are_frames() {
    let text = delta(0, r#"{"text":"a"}"#);
    let slow = ("throttlingException", r#"{"message":"Too many \"tokens\""}"#);
    check(&[slow, START], &[r#"fail ProviderRateLimited throttlingException Too many \"tokens\""#]);
    let model = ("modelStreamErrorException", r#"{"message":"m","originalStatusCode":529,"originalMessage":"o"}"#);
    check(
        &[START, ("contentBlockDelta", &text), model, STOP],
        &["start", "0 text", "0 + a", "fail ProviderOverloaded modelStreamErrorException m"],
    );
}

#[test]
fn an_error_without_payload_is_one_too() {
    let text =
        |name: &'static str, value: &'static str| Header { name: name.as_bytes(), value: eventstream::Value::Text(value.as_bytes()) };
    let mut frame = Vec::new();
    let headers = [text(":message-type", "error"), text(":error-code", "InternalFailure"), text(":error-message", "down")];
    eventstream::encode(&headers, b"", &mut frame);
    let mut got = Vec::new();
    let message = eventstream::read(&frame).unwrap();
    Decoder::new(Traits::NONE).event(message.name(), message.data(), &mut |event| got.push(shown(&event))).unwrap();
    assert_eq!(got, ["fail ProviderUnavailable internalServerException down"]);
}

#[test]
fn stop_sequences_citations_and_pictures() {
    let stop = ("messageStop", r#"{"stopReason":"stop_sequence","additionalModelResponseFields":{"delta":{"stop_sequence":"END"}}}"#);
    check(&[START, stop], &["start", "stop StopSequence stop_sequence at END", "END"]);
    let citation = delta(0, r#"{"citation":{"title":"t","location":{"web":{"url":"https://x"}}}}"#);
    check(&[START, ("contentBlockDelta", &citation), STOP], &["start", "0 text", "0 cites https://x", "0 end", "stop End end_turn", "END"]);
    let image = ("contentBlockStart", r#"{"contentBlockIndex":0,"start":{"image":{"format":"png"}}}"#);
    // Two pieces, each padded.
    let piece = |base64: &str| delta(0, &format!(r#"{{"image":{{"source":{{"bytes":"{base64}"}}}}}}"#));
    let (one, two) = (piece("Zg=="), piece("b28="));
    let events = [START, image, ("contentBlockDelta", &one), ("contentBlockDelta", &two), STOP];
    check(&events, &["start", "0 media image/png Zm9v", "0 end", "stop End end_turn", "END"]);
}

#[test]
fn what_the_service_runs_is_told_whole() {
    let call =
        ("contentBlockStart", r#"{"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"t","name":"g","type":"server_tool_use"}}}"#);
    let input = delta(0, r#"{"toolUse":{"input":"{\"q\":1}"}}"#);
    let result = ("contentBlockStart", r#"{"contentBlockIndex":1,"start":{"toolResult":{"toolUseId":"t","type":"r"}}}"#);
    let (one, two) = (delta(1, r#"{"toolResult":[{"text":"a"}]}"#), delta(1, r#"{"toolResult":[{"json":{}}]}"#));
    check(
        &[START, call, ("contentBlockDelta", &input), result, ("contentBlockDelta", &one), ("contentBlockDelta", &two), STOP],
        &[
            "start",
            r#"0 opaque toolUse {"toolUse":{"toolUseId":"t","name":"g","type":"server_tool_use","input":{"q":1}}}"#,
            "0 end",
            r#"1 opaque toolResult {"toolResult":{"toolUseId":"t","type":"r","content":[{"text":"a"},{"json":{}}]}}"#,
            "1 end",
            "stop End end_turn",
            "END",
        ],
    );
}

#[test]
fn what_breaks_the_dialect_is_a_fault() {
    for (name, data, expected) in [
        ("contentBlockDelta", "[]", "the body must be an object"),
        ("contentBlockDelta", r#"{"delta":{"text":1}}"#, "\"delta.text\" must be a string"),
        ("contentBlockDelta", r#"{"delta":{"text":"\x"}}"#, "\"delta.text\" is no valid text"),
        ("contentBlockDelta", r#"{"contentBlockIndex":-1}"#, "\"contentBlockIndex\" must be a whole number that is not negative"),
        ("contentBlockDelta", r#"{"delta":{"toolUse":{"input":"x"}}}"#, "\"delta.toolUse\" belongs to no tool call that was begun"),
        ("contentBlockStart", r#"{"start":{"toolUse":{"toolUseId":"x"}}}"#, "\"start.toolUse.name\" is missing"),
        ("messageStop", "{}", "\"stopReason\" is missing"),
        ("metadata", r#"{"usage":{"inputTokens":"x"}}"#, "\"usage.inputTokens\" must be a number"),
    ] {
        assert_eq!(decode(&[(name, data)]).1.map(|fault| fault.to_string()).as_deref(), Some(expected), "{data}");
    }
    let many: Vec<String> = (0..300).map(|index| delta(index, r#"{"text":"a"}"#)).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|data| ("contentBlockDelta", data.as_str())).collect();
    assert!(decode(&many).1.unwrap().to_string().contains("one block too many"));
}

// --- writing ------------------------------------------------------------------------------------------------------

/// The events of a stream as written: type and payload.
fn messages(stream: &[u8]) -> Vec<(String, String)> {
    let mut framer = Framer::new(MAX_PAYLOAD_BYTES);
    let (mut messages, mut from) = (Vec::new(), 0);
    while let Some(end) = framer.next_end(stream, from).unwrap() {
        let message = eventstream::read(&stream[from..end]).unwrap();
        let (Kind::Event(name) | Kind::Exception(name)) = message.kind() else { unreachable!() };
        messages.push((String::from_utf8(name.to_vec()).unwrap(), String::from_utf8(message.payload().to_vec()).unwrap()));
        from = end;
    }
    assert_eq!(from, stream.len());
    messages
}

const USAGE: Usage = Usage {
    prompt_tokens: 5,
    completion_tokens: 3,
    cache_read_tokens: 0,
    cache_write_tokens: 0,
    cache_write_1h_tokens: 0,
    reasoning_tokens: 0,
    web_searches: 0,
};

fn bridge(change: impl FnOnce(&mut Bridge)) -> Bridge {
    let mut bridge = Bridge::default();
    change(&mut bridge);
    bridge
}

fn encode(events: &[Event<'_>], bridge: Bridge) -> Vec<u8> {
    let mut encoder = Encoder::new(Arc::new(Identity::unnamed()), Arc::new(bridge));
    let mut out = Vec::new();
    events.iter().for_each(|event| encoder.event(event, &mut out));
    match events.last() {
        Some(Event::Fail { kind, .. }) => encoder.fail(*kind, "no", &Details::default(), &mut out),
        _ => encoder.finish(Some(&USAGE), Some(NanoUsd(7)), &mut out),
    }
    let length = out.len();
    encoder.finish(None, None, &mut out);
    encoder.fail(ErrorKind::Internal, "late", &Details::default(), &mut out);
    encoder.event(&Event::KeepAlive, &mut out);
    encoder.keep_alive(&mut out);
    assert_eq!(out.len(), length, "something follows the end");
    out
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

fn stop(reason: StopReason) -> Event<'static> {
    Event::Stop { choice: 0, stop: fairlead_ir::Stop { reason, native: Text::word("x"), sequence: None, details: None } }
}

fn call(name: &'static str) -> Head<'static> {
    Head::ToolCall { id: Text::word("c"), name: Text::word(name), free: false }
}

fn begin() -> Event<'static> {
    Event::Start { id: Text::EMPTY, model: Text::EMPTY, created_s: None }
}

fn check_written(events: &[Event<'_>], bridge: Bridge, expected: &[(&str, &str)]) {
    let written = messages(&encode(events, bridge));
    let written: Vec<(&str, &str)> = written.iter().map(|(name, data)| (name.as_str(), data.as_str())).collect();
    assert_eq!(written[0], ("messageStart", r#"{"role":"assistant"}"#));
    let metadata = r#"{"usage":{"inputTokens":5,"outputTokens":3,"totalTokens":8,"cost":0.000000007},"metrics":{"latencyMs":0}}"#;
    assert_eq!(written[written.len() - 1], ("metadata", metadata));
    assert_eq!(written[1..written.len() - 1], *expected);
}

#[test]
fn one_block_is_open_at_a_time() {
    let arguments = |text| Delta::Arguments(Text::word(text));
    let events = [
        begin(),
        open(0, call("f")),
        open(1, call("g")),
        piece(0, arguments("{")),
        piece(1, arguments("{}")),
        open(2, Head::Text),
        close(1),
        piece(0, arguments("}")),
        close(0),
        piece(2, Delta::Text(Text::word("a"))),
        close(2),
        stop(StopReason::ToolCalls),
        Event::End,
    ];
    let start =
        |index: u32, name: &str| format!(r#"{{"contentBlockIndex":{index},"start":{{"toolUse":{{"toolUseId":"c","name":"{name}"}}}}}}"#);
    let input = |index: u32, text: &str| format!(r#"{{"contentBlockIndex":{index},"delta":{{"toolUse":{{"input":"{text}"}}}}}}"#);
    let expected = [
        ("contentBlockStart", start(0, "f")),
        ("contentBlockDelta", input(0, "{")),
        ("contentBlockDelta", input(0, "}")),
        ("contentBlockStop", r#"{"contentBlockIndex":0}"#.to_owned()),
        ("contentBlockStart", start(1, "g")),
        ("contentBlockDelta", input(1, "{}")),
        ("contentBlockStop", r#"{"contentBlockIndex":1}"#.to_owned()),
        ("contentBlockDelta", r#"{"contentBlockIndex":2,"delta":{"text":"a"}}"#.to_owned()),
        ("contentBlockStop", r#"{"contentBlockIndex":2}"#.to_owned()),
        ("messageStop", r#"{"stopReason":"tool_use"}"#.to_owned()),
    ];
    check_written(&events, Bridge::default(), &expected.each_ref().map(|(name, data)| (*name, data.as_str())));
}

#[test]
fn thoughts_are_shown_or_only_sealed() {
    let thought = |part, text| Delta::Thought { shape: ThoughtShape::Summary, part, text: Text::word(text) };
    let events = [
        begin(),
        open(0, Head::Thought { id: None, redacted: false }),
        piece(0, thought(0, "one")),
        piece(0, thought(1, "two")),
        piece(0, Delta::Seal(Text::word("c2ln"))),
        close(0),
        open(1, Head::Thought { id: None, redacted: false }),
        close(1),
        stop(StopReason::End),
        Event::End,
    ];
    let shown = [
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"one"}}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"\n\n"}}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"two"}}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"c2ln"}}}"#),
        ("contentBlockStop", r#"{"contentBlockIndex":0}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"reasoningContent":{"text":""}}}"#),
        ("contentBlockStop", r#"{"contentBlockIndex":1}"#),
        ("messageStop", r#"{"stopReason":"end_turn"}"#),
    ];
    check_written(&events, Bridge::default(), &shown);
    let hidden = [
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"c2ln"}}}"#),
        ("contentBlockStop", r#"{"contentBlockIndex":0}"#),
        ("messageStop", r#"{"stopReason":"end_turn"}"#),
    ];
    check_written(&events, bridge(|bridge| bridge.hide_thoughts = true), &hidden);
}

#[test]
fn a_form_that_was_a_tool_is_text_again() {
    let events = [
        begin(),
        open(0, call("reply")),
        piece(0, Delta::Arguments(Text::word(r#"{\"a\":1}"#))),
        close(0),
        stop(StopReason::ToolCalls),
        Event::End,
    ];
    let expected = [
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"{\"a\":1}"}}"#),
        ("contentBlockStop", r#"{"contentBlockIndex":0}"#),
        ("messageStop", r#"{"stopReason":"end_turn"}"#),
    ];
    check_written(&events, bridge(|bridge| bridge.format_tool = Some("reply".to_owned())), &expected);
}

#[test]
fn a_failure_is_an_exception() {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(Arc::new(Identity::unnamed()), Arc::new(Bridge::default()));
    encoder.event(&begin(), &mut out);
    encoder.fail(ErrorKind::ProviderTimeout, "late", &Details::default(), &mut out);
    let written = messages(&out);
    assert_eq!(written[1], ("modelStreamErrorException".to_owned(), r#"{"message":"late","originalStatusCode":504}"#.to_owned()));
    assert_eq!(written.len(), 2);
}

// --- properties ---------------------------------------------------------------------------------------------------

/// What may come in a frame, well-formed or not.
fn frames() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let index = 0..3_u32;
    let start = prop::sample::select(vec![
        r#"{"toolUse":{"toolUseId":"t","name":"f"}}"#,
        r#"{"toolUse":{"toolUseId":"t","name":"f","type":"server_tool_use"}}"#,
        r#"{"toolResult":{"toolUseId":"t"}}"#,
        r#"{"image":{"format":"png"}}"#,
        r#"{"brandNew":{}}"#,
        "{}",
    ]);
    let piece = prop::sample::select(vec![
        r#"{"text":"a"}"#,
        r#"{"text":""}"#,
        r#"{"text":"\ud83d"}"#,
        r#"{"reasoningContent":{"text":"t"}}"#,
        r#"{"reasoningContent":{"signature":"s"}}"#,
        r#"{"reasoningContent":{"redactedContent":"AAEC"}}"#,
        r#"{"toolUse":{"input":"{}"}}"#,
        r#"{"toolUse":{"input":""}}"#,
        r#"{"citation":{"title":"t"}}"#,
        r#"{"image":{"source":{"bytes":"Zg=="}}}"#,
        r#"{"toolResult":[{"text":"r"}]}"#,
        r#"{"toolResult":{}}"#,
        r#"{"brandNew":1}"#,
    ]);
    let frame = prop_oneof![
        1 => Just(("messageStart", r#"{"role":"assistant"}"#.to_owned())),
        3 => (index.clone(), start).prop_map(|(index, start)| ("contentBlockStart", format!(r#"{{"start":{start},"contentBlockIndex":{index}}}"#))),
        8 => (index.clone(), piece).prop_map(|(index, piece)| ("contentBlockDelta", delta(index, piece))),
        3 => index.prop_map(|index| ("contentBlockStop", format!(r#"{{"contentBlockIndex":{index}}}"#))),
        1 => prop::sample::select(vec!["end_turn", "tool_use", "max_tokens"]).prop_map(|word| ("messageStop", format!(r#"{{"stopReason":"{word}"}}"#))),
        1 => Just(("metadata", METADATA.1.to_owned())),
        1 => Just(("throttlingException", r#"{"message":"slow"}"#.to_owned())),
    ];
    prop::collection::vec(frame, 0..30)
}

/// What stands around the text of a call that takes no object.
const FREE: [&str; 2] = [r#"{\"input\":\""#, r#"\"}"#];

/// Texts and kinds of the blocks of choice 0, in order, as far as this dialect tells them.
fn told(events: &[Event<'_>]) -> Vec<String> {
    let (mut blocks, mut free): (Vec<(bool, String)>, Vec<bool>) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Open { choice: 0, head, .. } => {
                let kind = match head {
                    Head::Text | Head::Refusal => Some("text ".to_owned()),
                    Head::Thought { .. } => Some("thought ".to_owned()),
                    Head::ToolCall { id, name, .. } => {
                        Some(shown(&open(0, Head::ToolCall { id: id.clone().into_owned(), name: name.clone().into_owned(), free: false })))
                    }
                    Head::Media(_) => Some("media ".to_owned()),
                    Head::Opaque { .. } => None,
                };
                blocks.push((kind.is_some(), kind.unwrap_or_default()));
                free.push(matches!(head, Head::ToolCall { free: true, .. }));
                if free[free.len() - 1] {
                    blocks[free.len() - 1].1.push_str(FREE[0]);
                }
            }
            Event::Delta { choice: 0, block, delta } => {
                let text = match delta {
                    Delta::Text(text) | Delta::Arguments(text) | Delta::Thought { text, part: 0, .. } => {
                        String::from_utf8_lossy(text.as_bytes()).into_owned()
                    }
                    _ => String::new(),
                };
                let quoted = serde_json::to_string(&text).unwrap();
                let text = if free[*block as usize] { quoted[1..quoted.len() - 1].to_owned() } else { text };
                blocks[*block as usize].1.push_str(&text);
            }
            Event::Close { choice: 0, block } if free[*block as usize] => blocks[*block as usize].1.push_str(FREE[1]),
            _ => {}
        }
    }
    // An empty text begins with no piece.
    blocks.into_iter().filter(|(told, block)| *told && block != "text " && block != "thought ").map(|(_, block)| block).collect()
}

fn decode_stream(stream: &[u8], size: usize) -> (Vec<Event<'static>>, Option<Malformed>) {
    let mut decoder = Decoder::new(Traits::NONE);
    let (mut framer, mut got, mut pending) = (Framer::new(MAX_PAYLOAD_BYTES), Vec::new(), Vec::new());
    for chunk in stream.chunks(size) {
        let mut from = 0;
        while let Some(end) = framer.next_end(chunk, from).unwrap() {
            pending.extend_from_slice(&chunk[from..end]);
            let message = eventstream::read(&pending).unwrap();
            if let Err(fault) = decoder.event(message.name(), message.data(), &mut |event| got.push(kept(&event))) {
                return (got, Some(fault));
            }
            pending.clear();
            from = end;
        }
        pending.extend_from_slice(&chunk[from..]);
    }
    decoder.finish(&mut |event| got.push(kept(&event)));
    (got, None)
}

proptest! {
    #[test]
    fn the_promises_hold_whatever_comes(frames in frames()) {
        let events: Vec<(&str, &str)> = frames.iter().map(|(name, data)| (*name, data.as_str())).collect();
        let (mut got, fault) = decode(&events);
        if fault.is_some() {
            // Whoever reads tells the failure.
            got.push(Event::Fail { kind: ErrorKind::ProviderUnavailable, message: Text::EMPTY, code: None });
        }
        prop_assert_eq!(check_promises(&got), Ok(()));
    }

    #[test]
    fn no_cut_matters(frames in frames(), size in 1..200_usize) {
        let mut stream = Vec::new();
        for (name, data) in &frames {
            let write = |out: &mut Vec<u8>| out.extend_from_slice(data.as_bytes());
            if name.ends_with("Exception") { eventstream::exception(name, &mut stream, write) } else { eventstream::event(name, &mut stream, write) }
        }
        prop_assert_eq!(decode_stream(&stream, size), decode_stream(&stream, usize::MAX));
    }

    #[test]
    fn any_payload_is_read_or_refused(
        name in prop::sample::select(vec!["contentBlockStart", "contentBlockDelta", "messageStop", "metadata", "throttlingException"]),
        mut payload in prop::sample::select(vec![delta(0, r#"{"text":"aé"}"#), delta(0, r#"{"citation":{"title":"é"}}"#), STOP.1.to_owned(), METADATA.1.to_owned()]).prop_map(String::into_bytes),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let at = at.index(payload.len());
        payload[at] = byte;
        let mut decoder = Decoder::new(Traits::NONE);
        let mut got = Vec::new();
        let read = decoder.event(Some(name.as_bytes()), &payload, &mut |event| got.push(kept(&event)));
        decoder.finish(&mut |event| got.push(kept(&event)));
        prop_assert!(read.is_err() || check_promises(&got).is_ok());
        // What is told can be written: every payload is JSON again.
        for (_, data) in messages(&encode(&got, Bridge::default())) {
            prop_assert!(serde_json::from_str::<Value>(&data).is_ok() || data.contains(r"\ud") || data.contains(r"\uD"), "{data}");
        }
    }

    #[test]
    fn the_grammar_is_kept_for_any_events(events in streams(), hide_thoughts in any::<bool>()) {
        let stream = encode(&events, bridge(|bridge| bridge.hide_thoughts = hide_thoughts));
        let mut open: Option<u64> = None;
        let mut next = 0;
        let messages = messages(&stream);
        for (at, (name, data)) in messages.iter().enumerate() {
            let index = || crate::json::walk::member(data.as_bytes(), "contentBlockIndex").unwrap().and_then(|member| crate::json::walk::as_u64(member.value)).unwrap();
            match name.as_str() {
                "messageStart" => prop_assert_eq!(at, 0),
                "contentBlockStart" | "contentBlockDelta" if open.is_none() => {
                    prop_assert_eq!(index(), next);
                    open = Some(next);
                    next += 1;
                }
                "contentBlockStart" => prop_assert!(false, "a block begins in another"),
                "contentBlockDelta" => prop_assert_eq!(Some(index()), open),
                "contentBlockStop" => prop_assert_eq!(Some(index()), open.take()),
                "messageStop" => prop_assert_eq!((at, open), (messages.len() - 2, None)),
                "metadata" => prop_assert_eq!(at, messages.len() - 1),
                exception => prop_assert!(exception.ends_with("Exception") && at == messages.len() - 1),
            }
        }
        // And it is read again: the same blocks with the same texts.
        let (got, fault) = decode_stream(&stream, 1000);
        prop_assert_eq!(fault, None);
        prop_assert_eq!(check_promises(&got), Ok(()));
        let parts = events.iter().any(|event| matches!(event, Event::Delta { delta: Delta::Thought { part: 1.., .. }, .. }));
        if !hide_thoughts && !parts && !matches!(events.last(), Some(Event::Fail { .. })) {
            prop_assert_eq!(told(&got), told(&events));
        }
    }
}
