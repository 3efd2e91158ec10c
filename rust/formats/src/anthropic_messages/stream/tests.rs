//! Streams in both directions, case by case.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use fairlead_ir::block::Citation;
use fairlead_ir::{Delta, Dialect, ErrorKind, Event, Head, Manner, NanoUsd, Raw, Stop, StopReason, Text, Usage};

use super::decode::Decoder;
use super::encode::Encoder;
use crate::error::Details;
use crate::identity::Identity;
use crate::read::Malformed;
use crate::traits::Traits;
use crate::translate::{Bridge, promises};

fn plain(text: &Text<'_>) -> String {
    String::from_utf8_lossy(text.as_bytes()).into_owned()
}

/// An event in few words.
fn shown(event: &Event<'_>) -> String {
    match event {
        Event::Start { id, model, .. } => format!("start {} {}", plain(id), plain(model)),
        Event::Open { block, head, .. } => match head {
            Head::Thought { redacted: true, .. } => format!("open {block} redacted"),
            Head::Thought { .. } => format!("open {block} thought"),
            Head::ToolCall { id, name, .. } => format!("open {block} call {} {}", plain(id), plain(name)),
            Head::Opaque { word, raw } => format!("open {block} {} {}", plain(word), String::from_utf8_lossy(raw.as_bytes())),
            head => format!("open {block} {head:?}").to_lowercase(),
        },
        Event::Delta { block, delta, .. } => match delta {
            Delta::Text(text) => format!("text {block} {}", plain(text)),
            Delta::Thought { text, .. } => format!("thought {block} {}", plain(text)),
            Delta::Arguments(text) => format!("arguments {block} {}", plain(text)),
            Delta::Seal(text) => format!("seal {block} {}", plain(text)),
            Delta::Citation(cited) => format!("cites {block} {}", cited.url.as_ref().map_or(String::new(), plain)),
        },
        Event::Close { block, .. } => format!("close {block}"),
        Event::Stop { stop, .. } => format!("stop {:?} {}", stop.reason, plain(&stop.native)),
        Event::Tier(tier) => format!("tier {}", String::from_utf8_lossy(tier.as_bytes())),
        Event::Usage(usage) => format!("usage {}+{}", usage.total_prompt_tokens(), usage.completion_tokens),
        Event::KeepAlive => "alive".to_owned(),
        Event::Fail { kind, message, code } => format!("fail {kind:?} {} {}", plain(message), code.as_ref().map_or(String::new(), plain)),
        Event::Logprobs { .. } => "logprobs".to_owned(),
        Event::End => "end".to_owned(),
    }
}

fn decoded(data: &[&str]) -> (Vec<Event<'static>>, Option<Malformed>) {
    let mut decoder = Decoder::new(Traits::NONE);
    let (mut events, mut fault) = (Vec::new(), None);
    let mut sink = |event: Event<'_>| events.push(promises::kept(&event));
    for data in data {
        fault = fault.or(decoder.event(None, data.as_bytes(), &mut sink).err());
    }
    decoder.finish(&mut sink);
    (events, fault)
}

#[track_caller]
fn check(data: &[&str], expected: &[&str]) {
    let (events, fault) = decoded(data);
    assert_eq!(fault, None);
    promises::check(&events).unwrap();
    assert_eq!(events.iter().map(shown).collect::<Vec<_>>(), expected);
}

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","model":"claude","usage":{"input_tokens":10,"cache_read_input_tokens":5,"output_tokens":1}}}"#;
const TEXT: &str = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
const HI: &str = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#;
const STOP_0: &str = r#"{"type":"content_block_stop","index":0}"#;
const DELTA: &str = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":7}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

#[test]
fn an_ordinary_stream() {
    let events =
        ["start msg_1 claude", "usage 15+0", "alive", "open 0 text", "text 0 Hi", "close 0", "usage 15+7", "stop End end_turn", "end"];
    check(&[START, r#"{"type": "ping"}"#, TEXT, HI, STOP_0, DELTA, STOP], &events);
}

#[test]
fn thoughts_and_calls() {
    let thinking = r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#;
    let hm = r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm","estimated_tokens":3}}"#;
    let signature = r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}"#;
    let redacted = r#"{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"eHl6"}}"#;
    let call = r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_1","name":"get","input":{}}}"#;
    let empty = r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":""}}"#;
    let piece = r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}"#;
    let more = r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"1}"}}"#;
    let (stop_1, stop_2) = (r#"{"type":"content_block_stop","index":1}"#, r#"{"type":"content_block_stop","index":2}"#);
    let delta = r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}"#;
    let expected = [
        "start msg_1 claude",
        "usage 15+0",
        "open 0 thought",
        "thought 0 hm",
        "seal 0 c2ln",
        "close 0",
        "open 1 redacted",
        "seal 1 eHl6",
        "close 1",
        "open 2 call toolu_1 get",
        r#"arguments 2 {\"a\":"#,
        "arguments 2 1}",
        "close 2",
        "usage 15+9",
        "stop ToolCalls tool_use",
        "end",
    ];
    check(&[START, thinking, hm, signature, STOP_0, redacted, stop_1, call, empty, piece, more, stop_2, delta, STOP], &expected);
}

#[test]
fn a_call_without_pieces_has_arguments() {
    let call = |input: &str| {
        format!(r#"{{"type":"content_block_start","index":0,"content_block":{{"type":"tool_use","id":"","name":"get","input":{input}}}}}"#)
    };
    for (input, arguments) in [("{}", "arguments 0 {}"), (r#"{"a":"b"}"#, r#"arguments 0 {\"a\":\"b\"}"#), ("null", "arguments 0 {}")] {
        let expected = [
            "start msg_1 claude",
            "usage 15+0",
            "open 0 call call_msg_1_0 get",
            arguments,
            "close 0",
            "usage 15+7",
            "stop ToolCalls end_turn",
            "end",
        ];
        check(&[START, &call(input), STOP_0, DELTA, STOP], &expected);
    }
}

#[test]
fn a_second_message_start_changes_nothing() {
    let again = r#"{"type":"message_start","message":{"id":"msg_2","model":"other","usage":{"input_tokens":20}}}"#;
    let expected =
        ["start msg_1 claude", "usage 15+0", "usage 25+0", "open 0 text", "text 0 Hi", "close 0", "usage 25+7", "stop End end_turn", "end"];
    check(&[START, again, TEXT, HI, STOP_0, DELTA, STOP], &expected);
}

#[test]
fn a_piece_of_no_block_gets_one() {
    let expected = ["start  ", "open 0 text", "text 0 Hi", "usage 0+7", "close 0", "stop End end_turn", "end"];
    check(&[HI, DELTA, STOP], &expected);
    let thought = r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#;
    let mixed = ["start  ", "open 0 text", "text 0 Hi", "close 0", "open 1 thought", "thought 1 hm", "close 1", "stop End ", "end"];
    check(&[TEXT, HI, thought, STOP], &mixed);
}

#[test]
fn blocks_that_are_mixed_or_never_ended() {
    let second = r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"get","input":{}}}"#;
    let piece = r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#;
    let expected =
        ["start  ", "open 0 text", "open 1 call t get", "text 0 Hi", "arguments 1 {}", "close 0", "close 1", "stop ToolCalls ", "end"];
    check(&[TEXT, second, HI, piece, STOP], &expected);
    let again = ["start  ", "open 0 text", "text 0 Hi", "close 0", "open 1 text", "text 1 Hi", "close 1", "stop End ", "end"];
    check(&[TEXT, HI, TEXT, HI, STOP], &again);
}

#[test]
fn only_known_events_and_pieces_count() {
    let unknown = r#"{"type":"content_block_flash","index":0,"delta":{"type":"flash"}}"#;
    let piece = r#"{"type":"content_block_delta","index":0,"delta":{"type":"flash_delta","flash":"x"}}"#;
    let expected = ["start msg_1 claude", "usage 15+0", "open 0 text", "text 0 Hi", "close 0", "usage 15+7", "stop End end_turn", "end"];
    check(&[START, unknown, TEXT, piece, HI, STOP_0, DELTA, "[DONE]", ": keepalive", "", STOP, HI], &expected);
}

#[test]
fn blocks_that_nobody_else_knows_come_whole() {
    let search =
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}}"#;
    let query = r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"query\":\"x\"}"}}"#;
    let result = r#"{"type":"content_block_start","index":0,"content_block":{"type":"compaction","content":""}}"#;
    let content = r#"{"type":"content_block_delta","index":0,"delta":{"type":"compaction_delta","content":"a\nb"}}"#;
    let expected = [
        "start  ",
        r#"open 0 server_tool_use {"type":"server_tool_use","id":"s","name":"web_search","input":{"query":"x"}}"#,
        "close 0",
        r#"open 1 compaction {"type":"compaction","content":"a\nb"}"#,
        "close 1",
        "stop End ",
        "end",
    ];
    check(&[search, query, STOP_0, result, content, STOP], &expected);
}

#[test]
fn citations_are_told() {
    let cites = r#"{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"type":"web_search_result_location","url":"https://x","title":"T","cited_text":"c"}}}"#;
    check(&[TEXT, HI, cites, STOP_0, STOP], &["start  ", "open 0 text", "text 0 Hi", "cites 0 https://x", "close 0", "stop End ", "end"]);
}

#[test]
fn figures_are_cumulative_and_the_first_output_counts_nothing() {
    let first = r#"{"type":"message_delta","delta":{},"usage":{"output_tokens":3}}"#;
    let last = r#"{"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"input_tokens":12,"cache_read_input_tokens":null,"output_tokens":9}}"#;
    check(
        &[START, first, last, STOP],
        &["start msg_1 claude", "usage 15+0", "usage 15+3", "usage 17+9", "stop MaxTokens max_tokens", "end"],
    );
}

#[test]
fn a_stream_that_is_cut() {
    let truncated = "fail ProviderUnavailable the provider's stream ended before the reply was complete upstream_truncated";
    check(&[START, TEXT, HI], &["start msg_1 claude", "usage 15+0", "open 0 text", "text 0 Hi", truncated]);
    check(&[], &[truncated]);
    // What it was cut behind says that it was complete.
    let whole = ["start msg_1 claude", "usage 15+0", "open 0 text", "text 0 Hi", "usage 15+7", "close 0", "stop End end_turn", "end"];
    check(&[START, TEXT, HI, DELTA], &whole);
}

#[test]
fn errors_end_the_stream() {
    let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}"#;
    check(&[overloaded, START], &["fail ProviderOverloaded Overloaded overloaded_error"]);
    let expected = ["start msg_1 claude", "usage 15+0", "open 0 text", "text 0 Hi", "fail ProviderOverloaded Overloaded overloaded_error"];
    check(&[START, TEXT, HI, overloaded, HI], &expected);
    check(&[r#"{"error":{"message":"no \"x\"","code":429}}"#], &[r#"fail ProviderRateLimited no \"x\" 429"#]);
}

#[test]
fn what_is_no_event_is_a_fault() {
    for (data, fault) in [
        ("<html>", "the body is invalid JSON at byte 0: expected '{'"),
        (r#"{"type":"content_block_delta""#, "the body is invalid JSON at byte 29: the text ends too early"),
        (r#"{"type":"content_block_start","content_block":{"type":x}}"#, "\"content_block\" is not valid JSON"),
        (r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\x"}}"#, "\"delta\" holds bytes that are no text"),
        (
            r#"{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{"}}"#,
            "\"delta\" belongs to no tool call",
        ),
    ] {
        let (events, met) = decoded(&[data]);
        assert_eq!(met.map(|met| met.to_string()).as_deref(), Some(fault), "{data}");
        assert!(matches!(events.last(), Some(Event::Fail { .. })), "{data}");
    }
}

#[test]
fn halves_of_a_character_move_as_they_are() {
    let half = |half: &str| format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{half}"}}}}"#);
    let expected = ["start  ", "open 0 text", r"text 0 \ud83d", r"text 0 \ude00", "close 0", "stop End ", "end"];
    check(&[&half(r"\ud83d"), &half(r"\ude00"), STOP], &expected);
}

fn encoder(manner: Manner, source: Dialect, bridge: Bridge) -> Encoder {
    let identity = Identity::new(manner, "gen-1", "acme/fast", "Lab", 7);
    Encoder::new(source, Arc::new(identity), Arc::new(bridge))
}

fn written(mut encoder: Encoder, events: &[Event<'_>]) -> String {
    let mut out = Vec::new();
    events.iter().for_each(|event| encoder.event(event, &mut out));
    encoder.finish(None, Some(NanoUsd(1_500)), &mut out);
    let once = out.len();
    encoder.finish(None, None, &mut out);
    encoder.keep_alive(&mut out);
    encoder.fail(ErrorKind::Internal, "late", &Details::default(), &mut out);
    assert_eq!(out.len(), once, "something follows the end");
    String::from_utf8(out).unwrap()
}

fn hiding() -> Bridge {
    let mut bridge = Bridge::default();
    bridge.hide_thoughts = true;
    bridge
}

fn with_form() -> Bridge {
    let mut bridge = Bridge::default();
    bridge.format_tool = Some("reply".to_owned());
    bridge
}

/// The data of each event, with `message_start` and the end left out.
fn blocks(written: &str) -> Vec<&str> {
    let data: Vec<&str> = written.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    data.into_iter()
        .filter(|data| data.contains("content_block"))
        .map(|data| data.strip_prefix(r#"{"type":"content_block_"#).unwrap())
        .collect()
}

fn start() -> Event<'static> {
    Event::Start { id: Text::word("chatcmpl-1"), model: Text::word("lab-1"), created_s: None }
}

fn open(block: u32, head: Head<'static>) -> Event<'static> {
    Event::Open { choice: 0, block, head }
}

fn call(block: u32, name: &'static str, free: bool) -> Event<'static> {
    open(block, Head::ToolCall { id: Text::word("c1"), name: Text::word(name), free })
}

fn delta(block: u32, delta: Delta<'static>) -> Event<'static> {
    Event::Delta { choice: 0, block, delta }
}

fn text(block: u32, text: &'static str) -> Event<'static> {
    delta(block, Delta::Text(Text::word(text)))
}

fn arguments(block: u32, text: &'static str) -> Event<'static> {
    delta(block, Delta::Arguments(Text::word(text)))
}

fn thought(block: u32, part: u32, text: &'static str) -> Event<'static> {
    delta(block, Delta::Thought { shape: Default::default(), part, text: Text::word(text) })
}

fn seal(block: u32, seal: &'static str) -> Event<'static> {
    delta(block, Delta::Seal(Text::word(seal)))
}

fn close(block: u32) -> Event<'static> {
    Event::Close { choice: 0, block }
}

fn stop(reason: StopReason, native: &'static str) -> Event<'static> {
    Event::Stop { choice: 0, stop: Stop { reason, native: Text::word(native), sequence: None, details: None } }
}

const THOUGHT: Head<'static> = Head::Thought { id: None, redacted: false };

#[track_caller]
fn check_blocks(bridge: Bridge, events: &[Event<'_>], expected: &[&str]) {
    let written = written(encoder(Manner::Native, Dialect::OpenaiChat, bridge), events);
    assert_eq!(blocks(&written), expected);
}

#[test]
fn a_whole_stream_is_written() {
    let usage = Usage { prompt_tokens: 10, cache_read_tokens: 5, ..Usage::default() };
    let end = Usage { completion_tokens: 7, reasoning_tokens: 2, web_searches: 1, cache_write_1h_tokens: 3, ..usage };
    let events = [
        start(),
        Event::Usage(usage),
        open(0, Head::Text),
        text(0, "Hi"),
        close(0),
        stop(StopReason::End, "stop"),
        Event::Usage(end),
        Event::End,
    ];
    let expected = r#"event: message_start
data: {"type":"message_start","message":{"id":"chatcmpl-1","type":"message","role":"assistant","model":"lab-1","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":0,"cache_read_input_tokens":5,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":0}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":10,"cache_creation_input_tokens":3,"cache_read_input_tokens":5,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":3},"output_tokens":7,"output_tokens_details":{"thinking_tokens":2},"server_tool_use":{"web_search_requests":1},"cost":0.0000015}}

event: message_stop
data: {"type":"message_stop"}

"#;
    assert_eq!(written(encoder(Manner::Native, Dialect::OpenaiChat, Bridge::default()), &events), expected);
}

#[test]
fn openrouters_manner_has_its_own_names() {
    let written = written(encoder(Manner::Openrouter, Dialect::OpenaiChat, Bridge::default()), &[start()]);
    let first = r#"data: {"type":"message_start","message":{"id":"gen-1","type":"message","role":"assistant","model":"acme/fast","provider":"Lab","content":[],"#;
    assert!(written.lines().nth(1).unwrap().starts_with(first), "{written}");
    assert!(written.contains(r#""cost":0.0000015,"is_byok":false}}"#), "{written}");
}

#[test]
fn a_stream_without_a_start_or_figures_still_has_them() {
    let written = written(encoder(Manner::Native, Dialect::OpenaiChat, Bridge::default()), &[]);
    assert_eq!(written.matches("event: message_start").count(), 1);
    assert!(written.contains(r#""id":"gen-1""#) && written.contains(r#""model":"acme/fast""#));
    assert_eq!(written.matches(r#""usage":{"input_tokens":0"#).count(), 2);
}

#[test]
fn one_block_at_a_time() {
    let events = [
        start(),
        call(0, "get", false),
        call(1, "put", false),
        open(2, Head::Text),
        arguments(1, "{"),
        arguments(0, "{}"),
        text(2, "after"),
        arguments(1, "}"),
        close(1),
        close(0),
        close(2),
        stop(StopReason::ToolCalls, "tool_calls"),
    ];
    let expected = [
        r#"start","index":0,"content_block":{"type":"tool_use","id":"c1","name":"get","input":{}}}"#,
        r#"delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
        r#"stop","index":0}"#,
        r#"start","index":1,"content_block":{"type":"tool_use","id":"c1","name":"put","input":{}}}"#,
        r#"delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
        r#"stop","index":1}"#,
        r#"start","index":2,"content_block":{"type":"text","text":""}}"#,
        r#"delta","index":2,"delta":{"type":"text_delta","text":"after"}}"#,
        r#"stop","index":2}"#,
    ];
    check_blocks(Bridge::default(), &events, &expected);
}

#[test]
fn an_empty_block_is_not_there() {
    let events =
        [start(), open(0, Head::Text), text(0, ""), close(0), open(1, THOUGHT), close(1), open(2, Head::Refusal), text(2, "no"), close(2)];
    let expected = [
        r#"start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"delta","index":0,"delta":{"type":"text_delta","text":"no"}}"#,
        r#"stop","index":0}"#,
    ];
    check_blocks(Bridge::default(), &events, &expected);
}

#[test]
fn thoughts_end_with_one_signature() {
    let events = [start(), open(0, THOUGHT), seal(0, "early"), thought(0, 0, "a"), thought(0, 1, "b"), seal(0, "last"), close(0)];
    let expected = [
        r#"start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
        r#"delta","index":0,"delta":{"type":"thinking_delta","thinking":"a"}}"#,
        r#"delta","index":0,"delta":{"type":"thinking_delta","thinking":"\n\n"}}"#,
        r#"delta","index":0,"delta":{"type":"thinking_delta","thinking":"b"}}"#,
        r#"delta","index":0,"delta":{"type":"signature_delta","signature":"last"}}"#,
        r#"stop","index":0}"#,
    ];
    check_blocks(Bridge::default(), &events, &expected);
    let hidden = hiding();
    check_blocks(hidden, &events, &[expected[0], expected[4], expected[5]]);
    let redacted = [start(), open(0, Head::Thought { id: None, redacted: true }), seal(0, "x"), close(0)];
    let whole = r#"start","index":0,"content_block":{"type":"redacted_thinking","data":"x"}}"#;
    check_blocks(Bridge::default(), &redacted, &[whole, expected[5]]);
}

#[test]
fn a_seal_of_a_call_travels_behind_it() {
    let events = [start(), call(0, "get", false), arguments(0, "{}"), seal(0, "g"), close(0)];
    let expected = [
        r#"start","index":0,"content_block":{"type":"tool_use","id":"c1","name":"get","input":{}}}"#,
        r#"delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
        r#"stop","index":0}"#,
        r#"start","index":1,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
        r#"delta","index":1,"delta":{"type":"signature_delta","signature":"g"}}"#,
        r#"stop","index":1}"#,
    ];
    check_blocks(Bridge::default(), &events, &expected);
}

#[test]
fn the_tool_that_stands_for_a_form_is_the_reply() {
    let bridge = with_form();
    let events = [
        start(),
        call(0, "reply", false),
        arguments(0, r#"{\"a\":"#),
        arguments(0, "1}"),
        close(0),
        stop(StopReason::ToolCalls, "tool_use"),
    ];
    let expected = [
        r#"start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"delta","index":0,"delta":{"type":"text_delta","text":"{\"a\":"}}"#,
        r#"delta","index":0,"delta":{"type":"text_delta","text":"1}"}}"#,
        r#"stop","index":0}"#,
    ];
    check_blocks(bridge.clone(), &events, &expected);
    let whole = written(encoder(Manner::Native, Dialect::BedrockConverse, bridge), &events);
    assert!(whole.contains(r#""stop_reason":"end_turn""#));
}

#[test]
fn tools_come_home_under_their_names() {
    let mut bridge = Bridge::default();
    bridge.tool(&Text::word("mcp_read_1"), &Text::word("mcp.read"), false);
    let events = [start(), call(0, "mcp_read_1", false), arguments(0, "{}"), close(0)];
    let written = written(encoder(Manner::Native, Dialect::OpenaiChat, bridge), &events);
    assert!(written.contains(r#""name":"mcp.read""#));
}

#[test]
fn free_text_is_wrapped() {
    let events = [start(), call(0, "patch", true), arguments(0, r#"a\n\"b\""#), arguments(0, "c"), close(0)];
    let written = written(encoder(Manner::Native, Dialect::OpenaiResponses, Bridge::default()), &events);
    let pieces: Vec<serde_json::Value> = blocks(&written)
        .iter()
        .filter(|data| data.starts_with("delta"))
        .map(|data| serde_json::from_str(&format!(r#"{{"type":"{data}"#)).unwrap())
        .collect();
    let joined: String = pieces.iter().map(|piece| piece["delta"]["partial_json"].as_str().unwrap()).collect();
    assert_eq!(joined, r#"{"input":"a\n\"b\"c"}"#);
}

#[test]
fn citations_are_written_in_our_words_or_as_they_came() {
    let cited = |raw: &'static str| {
        let citation = Citation {
            url: Some(Text::word("https://x")),
            title: None,
            quote: Some(Text::word("c")),
            range: None,
            raw: Raw::json(raw.as_bytes()),
        };
        [start(), open(0, Head::Text), text(0, "a"), delta(0, Delta::Citation(citation)), close(0)]
    };
    let expected = r#"delta","index":0,"delta":{"type":"citations_delta","citation":{"type":"web_search_result_location","cited_text":"c","url":"https://x","title":null,"encrypted_index":""}}}"#;
    let foreign = written(encoder(Manner::Native, Dialect::OpenaiChat, Bridge::default()), &cited("{}"));
    assert_eq!(blocks(&foreign)[2], expected);
    let own = written(encoder(Manner::Native, Dialect::AnthropicMessages, Bridge::default()), &cited("{\"type\":\n\"x\"}"));
    assert_eq!(blocks(&own)[2], r#"delta","index":0,"delta":{"type":"citations_delta","citation":{"type": "x"}}}"#);
}

#[test]
fn blocks_of_this_dialect_pass_and_others_do_not() {
    let head = || Head::Opaque { word: Text::word("x"), raw: Raw::json(b"{\"type\":\r\n\"x\"}") };
    let events = [start(), open(0, head()), close(0), open(1, Head::Text), text(1, "a"), close(1)];
    let own = written(encoder(Manner::Native, Dialect::AnthropicMessages, Bridge::default()), &events);
    assert_eq!(blocks(&own)[..2], [r#"start","index":0,"content_block":{"type":  "x"}}"#, r#"stop","index":0}"#]);
    let foreign = written(encoder(Manner::Native, Dialect::GeminiGenerate, Bridge::default()), &events);
    assert_eq!(blocks(&foreign).len(), 3);
    assert!(blocks(&foreign)[0].starts_with(r#"start","index":0,"content_block":{"type":"text""#));
}

#[test]
fn a_failed_reply_is_an_error_and_no_end() {
    let events = [start(), open(0, Head::Text), text(0, "a"), close(0), stop(StopReason::Failed, "MALFORMED_FUNCTION_CALL")];
    let written = written(encoder(Manner::Native, Dialect::GeminiGenerate, Bridge::default()), &events);
    let last = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"the model failed to reply (MALFORMED_FUNCTION_CALL)\"}}\n\n";
    assert!(written.ends_with(last), "{written}");
    assert!(!written.contains("message_stop"));
}

#[test]
fn failures_and_signs_of_life() {
    let mut encoder = encoder(Manner::Native, Dialect::OpenaiChat, Bridge::default());
    let mut out = Vec::new();
    encoder.event(&Event::KeepAlive, &mut out);
    encoder.fail(ErrorKind::ProviderOverloaded, "busy", &Details::default(), &mut out);
    encoder.finish(None, None, &mut out);
    let expected = "event: ping\ndata: {\"type\":\"ping\"}\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}
