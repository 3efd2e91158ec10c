#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use fairlead_ir::block::{Media, MediaClass, MediaSource, ThoughtShape};
use fairlead_ir::{Delta, ErrorKind, Event, Head, Manner, NanoUsd, Raw, Stop, StopReason, Text, Usage};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::decode::Decoder;
use super::encode::Encoder;
use crate::error::Details;
use crate::identity::Identity;
use crate::sse;
use crate::traits::Traits;
use crate::translate::{Bridge, promises};

// --- reading ---

/// The events of a stream, given as the data of each event, and whether all of it was understood.
fn read(data: &[Value]) -> Vec<Event<'static>> {
    let mut events = Vec::new();
    let mut decoder = Decoder::new(Traits::NONE);
    for data in data {
        decoder.event(None, data.to_string().as_bytes(), &mut |event| events.push(promises::kept(&event))).unwrap();
    }
    decoder.finish(&mut |event| events.push(promises::kept(&event)));
    promises::check(&events).unwrap_or_else(|broken| panic!("{broken} in {events:#?}"));
    events
}

/// Events as short words.
fn told(events: &[Event<'_>]) -> Vec<String> {
    let plain = |text: &Text<'_>| String::from_utf8_lossy(text.as_bytes()).into_owned();
    let word = |event: &Event<'_>| match event {
        Event::Start { id, model, created_s } => format!("start {} {} {created_s:?}", plain(id), plain(model)),
        Event::Open { block, head, .. } => match head {
            Head::Text => format!("{block} text"),
            Head::Refusal => format!("{block} refusal"),
            Head::Thought { id, .. } => format!("{block} thought {}", id.as_ref().map(plain).unwrap_or_default()),
            Head::ToolCall { id, name, free } => format!("{block} {} {} {}", if *free { "free" } else { "call" }, plain(id), plain(name)),
            Head::Media(_) => format!("{block} media"),
            Head::Opaque { word, .. } => format!("{block} opaque {}", plain(word)),
        },
        Event::Delta { block, delta, .. } => match delta {
            Delta::Text(text) | Delta::Arguments(text) => format!("{block}+{}", plain(text)),
            Delta::Thought { shape, part, text } => {
                format!("{block}+{}{part} {}", if *shape == ThoughtShape::Summary { "s" } else { "f" }, plain(text))
            }
            Delta::Seal(seal) => format!("{block}+seal {}", plain(seal)),
            Delta::Citation(citation) => format!("{block}+cite {}", citation.url.as_ref().map(plain).unwrap_or_default()),
        },
        Event::Close { block, .. } => format!("{block}."),
        Event::Logprobs { logprobs, .. } => format!("logprobs {}", String::from_utf8_lossy(logprobs.as_bytes())),
        Event::Stop { stop, .. } => format!("stop {:?} {}", stop.reason, plain(&stop.native)),
        Event::Tier(tier) => format!("tier {}", String::from_utf8_lossy(tier.as_bytes())),
        Event::Usage(usage) => format!("usage {}+{}", usage.total_prompt_tokens(), usage.completion_tokens),
        Event::KeepAlive => "alive".to_owned(),
        Event::Fail { kind, message, code } => format!("fail {kind:?} {} {}", plain(message), code.as_ref().map(plain).unwrap_or_default()),
        Event::End => "end".to_owned(),
    };
    events.iter().map(word).collect()
}

fn check(data: &[Value], expected: &[&str]) {
    assert_eq!(told(&read(data)), expected);
}

fn created() -> Value {
    json!({"type": "response.created", "response": {"id": "resp_1", "model": "gpt-x", "created_at": 7, "status": "in_progress", "output": []}})
}

fn ended(word: &str, output: Value) -> Value {
    let usage = json!({"input_tokens": 3, "output_tokens": 2, "total_tokens": 5});
    json!({"type": format!("response.{word}"), "response": {"id": "resp_1", "status": word, "output": output, "usage": usage}})
}

const START: &str = "start resp_1 gpt-x Some(7)";

#[test]
fn a_canonical_stream() {
    let item = |kind: &str, item: &Value| json!({"type": format!("response.output_item.{kind}"), "output_index": 0, "item": item});
    let at = |index: u64, event: &str, more: Value| {
        let mut event = json!({"type": format!("response.{event}"), "output_index": index, "item_id": "x"});
        more.as_object().unwrap().iter().for_each(|(key, value)| event[key] = value.clone());
        event
    };
    let sealed =
        json!({"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm ha"}], "encrypted_content": "c2VhbA"});
    let note = json!({"type": "url_citation", "url": "https://a.org", "title": "A", "start_index": 0, "end_index": 1});
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": [note]});
    let data = [
        created(),
        json!({"type": "response.in_progress", "response": {"id": "resp_1"}}),
        item("added", &json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "bm90IHlldA"})),
        at(0, "reasoning_summary_part.added", json!({"summary_index": 0, "part": {"type": "summary_text", "text": ""}})),
        at(0, "reasoning_summary_text.delta", json!({"summary_index": 0, "delta": "hm", "obfuscation": "xx"})),
        at(0, "reasoning_summary_text.done", json!({"summary_index": 0, "text": "hm"})),
        at(0, "reasoning_summary_text.delta", json!({"summary_index": 1, "delta": "ha"})),
        item("done", &sealed),
        at(1, "output_item.added", json!({"item": {"type": "message", "id": "msg_1", "role": "assistant", "content": []}})),
        at(1, "content_part.added", json!({"content_index": 0, "part": {"type": "output_text", "text": ""}})),
        at(1, "output_text.delta", json!({"content_index": 0, "delta": "hel", "logprobs": []})),
        at(1, "output_text.delta", json!({"content_index": 0, "delta": "lo", "logprobs": [{"token": "lo"}]})),
        at(1, "output_text.annotation.added", json!({"content_index": 0, "annotation_index": 0, "annotation": note})),
        at(1, "output_text.done", json!({"content_index": 0, "text": "hello"})),
        at(1, "content_part.done", json!({"content_index": 0, "part": part("hello")})),
        at(1, "output_item.done", json!({"item": {"type": "message", "role": "assistant", "content": [part("hello")]}})),
        at(2, "output_item.added", json!({"item": {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": ""}})),
        at(2, "function_call_arguments.delta", json!({"delta": "{\"a\":"})),
        at(2, "function_call_arguments.delta", json!({"delta": "1}"})),
        at(2, "function_call_arguments.done", json!({"arguments": "{\"a\":1}"})),
        at(2, "output_item.done", json!({"item": {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"a\":1}"}})),
        at(3, "output_item.added", json!({"item": {"type": "web_search_call", "id": "ws"}})),
        at(3, "web_search_call.searching", json!({})),
        at(3, "output_item.done", json!({"item": {"type": "web_search_call", "id": "ws", "status": "completed"}})),
        ended("completed", json!([])),
        json!({"type": "response.completed", "response": {}}),
    ];
    let expected = [
        START,
        "0 thought rs_1",
        "0+s0 hm",
        "0+s1 ha",
        "0+seal c2VhbA",
        "0.",
        "1 text",
        "1+hel",
        "1+lo",
        r#"logprobs {"content":[{"token":"lo"}]}"#,
        "1+cite https://a.org",
        "1.",
        "2 call c f",
        r#"2+{\"a\":"#,
        "2+1}",
        "2.",
        "alive",
        "3 opaque web_search_call",
        "3.",
        "usage 3+2",
        "stop ToolCalls completed",
        "end",
    ];
    check(&data, &expected);
}

#[test]
fn a_server_that_tells_items_only_at_their_end() {
    let item = |index: u64, item: Value| json!({"type": "response.output_item.done", "output_index": index, "item": item});
    let data = [
        created(),
        item(0, json!({"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]})),
        item(1, json!({"type": "message", "content": [{"type": "output_text", "text": "hi"}, {"type": "refusal", "refusal": "no"}]})),
        item(2, json!({"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "*"})),
        item(3, json!({"type": "function_call", "id": "fc_9", "call_id": "", "name": "f", "arguments": ""})),
        item(4, json!({"type": "image_generation_call", "id": "ig", "result": "QUJD"})),
        ended("completed", json!([])),
    ];
    let expected = [
        START,
        "0 thought rs_1",
        "0+f0 hm",
        "0.",
        "1 text",
        "1+hi",
        "1.",
        "2 refusal",
        "2+no",
        "2.",
        "3 free c patch",
        "3+*",
        "3.",
        "4 call fc_9 f",
        "4+{}",
        "4.",
        "5 media",
        "5.",
        "usage 3+2",
        "stop ToolCalls completed",
        "end",
    ];
    check(&data, &expected);
}

#[test]
fn a_server_that_tells_everything_in_its_last_event() {
    let output = json!([{"type": "message", "content": [{"type": "output_text", "text": "hi"}]}]);
    check(&[ended("completed", output)], &["start resp_1  None", "0 text", "0+hi", "0.", "usage 3+2", "stop End completed", "end"]);
}

#[test]
fn a_server_that_announces_nothing() {
    let data = [
        json!({"type": "response.output_text.delta", "item_id": "m", "delta": "a"}),
        json!({"type": "response.output_text.delta", "item_id": "m", "delta": "b"}),
        ended("completed", json!([{"type": "message", "content": [{"type": "output_text", "text": "ab"}]}])),
    ];
    check(
        &data,
        &["start  ", "0 text", "0+a", "0+b", "0.", "usage 3+2", "stop End completed", "end"]
            .map(|word| if word == "start  " { "start   None" } else { word }),
    );
}

#[test]
fn texts_that_come_whole_are_told_once() {
    let at = |word: &str, more: Value| {
        let mut event = json!({"type": format!("response.{word}"), "output_index": 0, "content_index": 0});
        more.as_object().unwrap().iter().for_each(|(key, value)| event[key] = value.clone());
        event
    };
    let data = [
        created(),
        at("output_item.added", json!({"item": {"type": "message"}})),
        at("output_text.done", json!({"text": "whole"})),
        at("content_part.done", json!({"part": {"type": "output_text", "text": "whole"}})),
        ended("completed", json!([{"type": "message", "content": [{"type": "output_text", "text": "whole"}]}])),
    ];
    check(&data, &[START, "0 text", "0+whole", "0.", "usage 3+2", "stop End completed", "end"]);
}

#[test]
fn a_call_without_arguments_has_an_empty_object() {
    let item = json!({"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": ""});
    let data = [created(), json!({"type": "response.output_item.added", "output_index": 0, "item": item}), ended("completed", json!([]))];
    check(&data, &[START, "0 call c f", "0+{}", "0.", "usage 3+2", "stop ToolCalls completed", "end"]);
}

#[test]
fn an_unfinished_item_is_finished_by_the_last_event() {
    let item = |seal: Value| json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal});
    let data = [
        created(),
        json!({"type": "response.output_item.added", "output_index": 0, "item": item(Value::Null)}),
        ended("incomplete", json!([item(json!("c2VhbA"))])),
    ];
    check(&data, &[START, "0 thought rs_1", "0+seal c2VhbA", "0.", "usage 3+2", "stop MaxTokens incomplete", "end"]);
}

#[test]
fn failures_are_told_once_and_last() {
    let failed =
        json!({"type": "response.failed", "response": {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "slow"}}});
    check(&[created(), failed.clone(), created()], &[START, "fail ProviderRateLimited slow rate_limit_exceeded"]);
    let flat = json!({"type": "error", "code": "server_error", "message": "oops", "param": null, "sequence_number": 3});
    check(&[created(), flat, failed], &[START, "fail ProviderUnavailable oops server_error"]);
    let nested = json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}});
    check(&[nested], &["fail ProviderOverloaded busy overloaded_error"]);
    check(&[json!({"error": {"message": "gone", "code": 503}})], &["fail ProviderOverloaded gone 503"]);
}

#[test]
fn a_cut_stream_is_a_failure() {
    check(&[created()], &[START, "fail ProviderUnavailable the provider's stream ended before its reply did upstream_truncated"]);
    check(&[], &["fail ProviderUnavailable the provider's stream ended before its reply did upstream_truncated"]);
}

#[test]
fn what_is_no_event() {
    let check = |data: &[u8], good: bool| {
        let result = Decoder::new(Traits::NONE).event(Some(b"response.output_text.delta"), data, &mut |_| {});
        assert_eq!(result.is_ok(), good, "{}", String::from_utf8_lossy(data));
    };
    check(b"[DONE]", true);
    check(b"", true);
    check(br#"{"delta":"a"}"#, true);
    check(br#"{"delta":"\ud83d"}"#, true);
    check(br#"{"delta":"\x"}"#, false);
    check(b"{\"delta\":\"\xff\"}", false);
    check(br#"{"delta":"a""#, false);
    check(b"hello", false);
    check(br#"["a"]"#, false);
}

#[test]
fn halves_of_a_character_pass() {
    let raw = |half: &str| format!(r#"{{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"{half}"}}"#);
    let mut texts = Vec::new();
    let mut decoder = Decoder::new(Traits::NONE);
    for half in [r"\ud83d", r"\ude00"] {
        decoder
            .event(None, raw(half).as_bytes(), &mut |event| {
                if let Event::Delta { delta: Delta::Text(text), .. } = event {
                    texts.push(text.into_owned());
                }
            })
            .unwrap();
    }
    assert_eq!(texts, [Text::word(r"\ud83d"), Text::word(r"\ude00")]);
}

// --- writing ---

fn encoder(manner: Manner, bridge: Bridge) -> Encoder {
    Encoder::new(Arc::new(Identity::new(manner, "gen-0199-ab", "acme/fast", "Lab", 7)), Arc::new(bridge))
}

fn usage() -> Usage {
    Usage { prompt_tokens: 3, completion_tokens: 2, ..Usage::default() }
}

/// What the client gets for `events`.
fn written(events: &[Event<'_>], bridge: Bridge) -> Vec<u8> {
    let (mut encoder, mut out) = (encoder(Manner::Native, bridge), Vec::new());
    events.iter().for_each(|event| encoder.event(event, &mut out));
    if matches!(events.last(), Some(Event::Fail { .. })) {
        encoder.fail(ErrorKind::ProviderOverloaded, "busy", &Details::default(), &mut out);
    } else {
        encoder.finish(Some(&usage()), Some(NanoUsd(1500)), &mut out);
    }
    out
}

/// The frames as JSON. Halves of characters are no JSON to the reader used here, so they are replaced.
fn frames(out: &[u8]) -> Vec<Value> {
    let text = String::from_utf8(out.to_vec()).unwrap().replace(r"\ud83d", "<").replace(r"\ude00", ">");
    let frames = text.strip_suffix("\n\n").unwrap_or_else(|| panic!("no end: {text}")).split("\n\n");
    frames
        .map(|frame| {
            let (event, data) = frame.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
            let data: Value = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
            assert_eq!(data["type"], event);
            data
        })
        .collect()
}

/// The grammar of a stream, checked event by event.
#[derive(Default)]
struct Grammar {
    /// Items begun, each with what came of it: `None` while it is open.
    items: Vec<Option<Value>>,
    /// Parts begun: item, kind of index, index; the text so far; whether it is done.
    parts: Vec<(u64, String, u64, String, bool)>,
}

fn check_grammar(frames: &[Value]) {
    let mut grammar = Grammar::default();
    for (number, frame) in frames.iter().enumerate() {
        assert_eq!(frame["sequence_number"], number, "{frame}");
        let word = frame["type"].as_str().unwrap();
        match number {
            0 => assert_eq!(word, "response.created"),
            1 => assert_eq!(word, "response.in_progress"),
            last if last + 1 == frames.len() => grammar.end(word, &frame["response"]),
            _ => grammar.take(word, frame),
        }
        assert!(frame.get("error").is_none());
    }
}

impl Grammar {
    fn take(&mut self, word: &str, frame: &Value) {
        let output_index = frame["output_index"].as_u64().unwrap_or_else(|| panic!("{frame}"));
        let at = usize::try_from(output_index).unwrap();
        match word {
            "response.output_item.added" => {
                assert_eq!(at, self.items.len(), "{frame}");
                self.items.push(None);
            }
            "response.output_item.done" => {
                assert!(self.items[at].is_none(), "done twice: {frame}");
                assert!(self.parts.iter().all(|part| part.0 != output_index || part.4), "a part is open: {frame}");
                self.items[at] = Some(frame["item"].clone());
            }
            _ => {
                assert!(self.items[at].is_none(), "after its end: {frame}");
                self.take_part(word, output_index, frame);
            }
        }
    }

    fn take_part(&mut self, word: &str, item: u64, frame: &Value) {
        let (name, index) = match (frame["content_index"].as_u64(), frame["summary_index"].as_u64()) {
            (Some(index), _) => ("content", index),
            (_, Some(index)) => ("summary", index),
            _ => ("whole", 0),
        };
        let at = self.parts.iter().position(|part| (part.0, part.1.as_str(), part.2) == (item, name, index));
        match word.rsplit('.').next().unwrap() {
            "added" if word.ends_with("part.added") => {
                assert_eq!(at, None, "{frame}");
                let before = self.parts.iter().filter(|part| part.0 == item && part.1 == name).count();
                assert_eq!(index, before as u64, "{frame}");
                self.parts.push((item, name.to_owned(), index, String::new(), false));
            }
            "added" => assert!(!self.parts[at.unwrap()].4, "{frame}"),
            "delta" => {
                let at = at.unwrap_or_else(|| {
                    assert_eq!(name, "whole", "{frame}");
                    self.parts.push((item, name.to_owned(), 0, String::new(), false));
                    self.parts.len() - 1
                });
                assert!(!self.parts[at].4, "{frame}");
                self.parts[at].3.push_str(frame["delta"].as_str().unwrap());
            }
            "done" if word.ends_with("part.done") => self.parts[at.unwrap()].4 = true,
            "done" => {
                let whole = ["text", "refusal", "arguments", "input"].iter().find_map(|key| frame[key].as_str()).unwrap();
                assert_eq!(at.map_or("", |at| &self.parts[at].3), whole, "{frame}");
                if let Some(at) = at.filter(|_| name == "whole") {
                    self.parts[at].4 = true;
                }
            }
            _ => panic!("{frame}"),
        }
    }

    fn end(&mut self, word: &str, response: &Value) {
        let done: Vec<Value> = self.items.iter().flatten().cloned().collect();
        assert_eq!(response["output"], Value::from(done), "{response}");
        if word != "response.failed" {
            assert!(self.items.iter().all(Option::is_some), "an item is open");
        }
        assert_eq!(response["status"], word.strip_prefix("response.").unwrap());
    }
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
    Event::Stop { choice: 0, stop: Stop { reason, native: Text::word("x"), sequence: None, details: None } }
}

fn start() -> Event<'static> {
    Event::Start { id: Text::word("msg_theirs"), model: Text::word("claude-x"), created_s: None }
}

fn text(text: &'static str) -> Delta<'static> {
    Delta::Text(Text::word(text))
}

fn call(id: &'static str, name: &'static str) -> Head<'static> {
    Head::ToolCall { id: Text::word(id), name: Text::word(name), free: false }
}

/// The words of the frames between beginning and end, with what they are about.
fn steps(frames: &[Value]) -> Vec<String> {
    let step = |frame: &Value| {
        let word = frame["type"].as_str().unwrap().strip_prefix("response.").unwrap().to_owned();
        let piece = frame["delta"].as_str().map(|delta| format!(" {delta}")).unwrap_or_default();
        format!("{} {word}{piece}", frame["output_index"])
    };
    frames[2..frames.len() - 1].iter().map(step).collect()
}

#[test]
fn a_whole_stream() {
    let events = [
        start(),
        open(0, Head::Thought { id: None, redacted: false }),
        piece(0, Delta::Thought { shape: ThoughtShape::Summary, part: 0, text: Text::word("hm") }),
        piece(0, Delta::Seal(Text::word("c2VhbA"))),
        close(0),
        open(1, Head::Text),
        piece(1, text("a")),
        close(1),
        open(2, Head::Text),
        piece(2, text("b")),
        close(2),
        open(3, call("c", "f")),
        piece(3, Delta::Arguments(Text::word("{}"))),
        close(3),
        stop(StopReason::ToolCalls),
        Event::End,
    ];
    let frames = frames(&written(&events, Bridge::default()));
    check_grammar(&frames);
    let expected = [
        "0 output_item.added",
        "0 reasoning_summary_part.added",
        "0 reasoning_summary_text.delta hm",
        "0 reasoning_summary_text.done",
        "0 reasoning_summary_part.done",
        "0 output_item.done",
        "1 output_item.added",
        "1 content_part.added",
        "1 output_text.delta a",
        "1 output_text.done",
        "1 content_part.done",
        "1 content_part.added",
        "1 output_text.delta b",
        "1 output_text.done",
        "1 content_part.done",
        "1 output_item.done",
        "2 output_item.added",
        "2 function_call_arguments.delta {}",
        "2 function_call_arguments.done",
        "2 output_item.done",
    ];
    assert_eq!(steps(&frames), expected);
    let response = &frames.last().unwrap()["response"];
    assert_eq!((&response["id"], &response["model"], &response["created_at"]), (&json!("msg_theirs"), &json!("claude-x"), &json!(7)));
    assert_eq!(response["usage"]["cost"], json!(0.0000015));
    let reasoning = json!({"id": "rs_0199ab_0", "type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "c2VhbA"});
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
    let output = json!([
        reasoning,
        {"id": "msg_0199ab_1", "type": "message", "status": "completed", "role": "assistant", "content": [part("a"), part("b")]},
        {"id": "fc_0199ab_2", "type": "function_call", "status": "completed", "call_id": "c", "name": "f", "arguments": "{}"},
    ]);
    assert_eq!(response["output"], output);
}

#[test]
fn a_message_waits_for_its_last_part() {
    let events = [
        start(),
        open(0, Head::Text),
        piece(0, text("a")),
        open(1, call("c", "f")),
        piece(0, text("b")),
        piece(1, Delta::Arguments(Text::word("{}"))),
        close(1),
        close(0),
        open(2, Head::Text),
        piece(2, text("c")),
        close(2),
        stop(StopReason::MaxTokens),
        Event::End,
    ];
    let frames = frames(&written(&events, Bridge::default()));
    check_grammar(&frames);
    let done: Vec<_> = steps(&frames).into_iter().filter(|step| step.ends_with("item.done")).collect();
    assert_eq!(done, ["1 output_item.done", "0 output_item.done", "2 output_item.done"]);
    let response = &frames.last().unwrap()["response"];
    assert_eq!(response["incomplete_details"]["reason"], "max_output_tokens");
    assert_eq!(response["output"][2]["status"], "incomplete");
}

#[test]
fn tools_come_back_as_the_caller_gave_them() {
    let mut bridge = Bridge::default();
    bridge.format_tool = Some("reply".to_owned());
    bridge.tool(&Text::word("patch"), &Text::word("my.patch"), true);
    let events = [
        start(),
        open(0, call("a", "patch")),
        piece(0, Delta::Arguments(Text::escaped(br#"{\"input\":"#))),
        piece(0, Delta::Arguments(Text::escaped(br#"\"a\\nb\"}"#))),
        close(0),
        open(1, call("b", "reply")),
        piece(1, Delta::Arguments(Text::escaped(br#"{\"x\":1}"#))),
        close(1),
        stop(StopReason::ToolCalls),
        Event::End,
    ];
    let frames = frames(&written(&events, bridge));
    check_grammar(&frames);
    let output = &frames.last().unwrap()["response"]["output"];
    assert_eq!(
        (&output[0]["type"], &output[0]["name"], &output[0]["input"]),
        (&json!("custom_tool_call"), &json!("my.patch"), &json!("a\nb"))
    );
    assert_eq!(output[1]["content"][0]["text"], "{\"x\":1}");
}

#[test]
fn hidden_thoughts_leave_their_seal() {
    let mut bridge = Bridge::default();
    bridge.hide_thoughts = true;
    let thought = |block| open(block, Head::Thought { id: None, redacted: false });
    let words = |block| piece(block, Delta::Thought { shape: ThoughtShape::Full, part: 0, text: Text::word("hm") });
    let events = [
        start(),
        thought(0),
        words(0),
        piece(0, Delta::Seal(Text::word("x"))),
        close(0),
        thought(1),
        words(1),
        close(1),
        stop(StopReason::End),
        Event::End,
    ];
    let frames = frames(&written(&events, bridge));
    check_grammar(&frames);
    let sealed = json!([{"id": "rs_0199ab_0", "type": "reasoning", "summary": [], "encrypted_content": "x"}]);
    assert_eq!(frames.last().unwrap()["response"]["output"], sealed);
}

#[test]
fn seals_of_other_blocks_follow_them() {
    let events = [
        start(),
        open(0, call("c", "f")),
        piece(0, Delta::Seal(Text::word("x"))),
        piece(0, Delta::Arguments(Text::word("{}"))),
        close(0),
        stop(StopReason::ToolCalls),
        Event::End,
    ];
    let frames = frames(&written(&events, Bridge::default()));
    check_grammar(&frames);
    let output = &frames.last().unwrap()["response"]["output"];
    assert_eq!((&output[0]["type"], &output[1]["encrypted_content"]), (&json!("function_call"), &json!("x")));
}

#[test]
fn what_comes_whole() {
    let media = |class| {
        Head::Media(Media {
            class,
            source: MediaSource::Base64 { mime: Text::word("image/png"), data: Text::word("QUJD") },
            detail: None,
            name: None,
        })
    };
    let opaque = |word: &'static str, raw: &'static str| Head::Opaque { word: Text::word(word), raw: Raw::json(raw.as_bytes()) };
    let mut events = vec![start()];
    let heads = [
        media(MediaClass::Image),
        media(MediaClass::Audio),
        opaque("web_search_call", r#"{"type":"web_search_call","id":"ws"}"#),
        opaque("server_tool_use", r#"{"type":"server_tool_use","id":"x"}"#),
    ];
    for (block, head) in heads.into_iter().enumerate() {
        events.extend([open(block as u32, head), close(block as u32)]);
    }
    events.extend([stop(StopReason::End), Event::End]);
    let frames = frames(&written(&events, Bridge::default()));
    check_grammar(&frames);
    let types: Vec<_> = frames.last().unwrap()["response"]["output"].as_array().unwrap().iter().map(|item| item["type"].clone()).collect();
    assert_eq!(types, ["image_generation_call", "web_search_call"]);
}

#[test]
fn signs_of_life_are_events() {
    let (mut encoder, mut out) = (encoder(Manner::Openrouter, Bridge::default()), Vec::new());
    encoder.keep_alive(&mut out);
    encoder.event(&start(), &mut out);
    encoder.keep_alive(&mut out);
    encoder.finish(None, None, &mut out);
    encoder.keep_alive(&mut out);
    encoder.finish(None, None, &mut out);
    let frames = frames(&out);
    let words: Vec<_> = frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    assert_eq!(words, ["response.created", "response.in_progress", "response.in_progress", "response.in_progress", "response.completed"]);
    for (number, frame) in frames.iter().enumerate() {
        assert_eq!((&frame["sequence_number"], &frame["response"]["id"]), (&json!(number), &json!("gen-0199-ab")));
    }
}

#[test]
fn nothing_follows_a_failure() {
    let (mut encoder, mut out) = (encoder(Manner::Openrouter, Bridge::default()), Vec::new());
    [start(), open(0, Head::Text), piece(0, text("a"))].iter().for_each(|event| encoder.event(event, &mut out));
    encoder.fail(ErrorKind::ProviderTimeout, "late", &Details::default(), &mut out);
    let length = out.len();
    encoder.fail(ErrorKind::ProviderTimeout, "late", &Details::default(), &mut out);
    encoder.event(&close(0), &mut out);
    encoder.finish(Some(&usage()), None, &mut out);
    assert_eq!(out.len(), length);
    let last = frames(&out).pop().unwrap();
    assert_eq!(last["type"], "response.failed");
    let error = json!({"code": "server_error", "message": "late", "metadata": {"error_type": "timeout"}});
    assert_eq!((&last["response"]["error"], &last["response"]["error_type"]), (&error, &json!("timeout")));
}

// --- properties ---

fn events_of(bytes: &[u8], cuts: &[usize]) -> Vec<Event<'static>> {
    let mut framer = sse::Framer::new(1 << 20);
    let (mut decoder, mut events, mut pending, mut scratch) = (Decoder::new(Traits::NONE), Vec::new(), Vec::new(), Vec::new());
    let mut from = 0;
    for to in cuts.iter().copied().chain([bytes.len()]) {
        let piece = &bytes[from..to];
        let mut at = 0;
        while let Some(end) = framer.next_end(piece, at).unwrap() {
            pending.extend_from_slice(&piece[at..end]);
            if let Some(data) = sse::data(&pending, &mut scratch) {
                decoder.event(sse::event_name(&pending), data, &mut |event| events.push(promises::kept(&event))).unwrap();
            }
            pending.clear();
            at = end;
        }
        pending.extend_from_slice(&piece[at..]);
        from = to;
    }
    decoder.finish(&mut |event| events.push(promises::kept(&event)));
    events
}

/// Events in which anything may be wrong but the JSON.
fn any_event() -> impl Strategy<Value = Value> {
    let index = || prop_oneof![Just(json!(0)), Just(json!(1)), Just(json!(2)), Just(Value::Null)];
    let word = prop::sample::select(vec![
        "created",
        "in_progress",
        "output_item.added",
        "output_item.done",
        "content_part.added",
        "content_part.done",
        "output_text.delta",
        "output_text.done",
        "output_text.annotation.added",
        "refusal.delta",
        "refusal.done",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_text.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "web_search_call.searching",
        "completed",
        "incomplete",
        "failed",
    ]);
    let item = prop::sample::select(vec![
        json!({"type": "message", "content": []}),
        json!({"type": "message", "content": [{"type": "output_text", "text": "x", "annotations": [{"type": "url_citation", "url": "u"}]}, {"type": "odd"}]}),
        json!({"type": "reasoning", "id": "rs", "summary": [{"text": "s"}, {"text": "t"}], "content": [{"text": "u"}]}),
        json!({"type": "reasoning", "summary": [], "encrypted_content": "x"}),
        json!({"type": "function_call", "name": "f", "call_id": "c", "arguments": ""}),
        json!({"type": "function_call", "name": "f", "arguments": "{\"a\":1}"}),
        json!({"type": "custom_tool_call", "name": "g", "call_id": "", "input": "x"}),
        json!({"type": "image_generation_call", "result": "QUJD"}),
        json!({"type": "mcp_call"}),
    ]);
    let rare = any::<u8>();
    (word, index(), index(), item, rare).prop_map(|(word, output, inner, item, rare)| {
        let mut event = json!({"type": format!("response.{word}"), "output_index": output, "content_index": inner, "summary_index": inner});
        let terminal = matches!(word, "completed" | "incomplete" | "failed");
        if terminal && rare > 40 {
            event["type"] = json!("response.output_text.delta");
        }
        event["delta"] = json!(["a", "", "{", "\"}"][usize::from(rare % 4)]);
        event["text"] = json!("whole");
        event["arguments"] = json!("{}");
        event["annotation"] = json!({"type": "url_citation", "url": "u"});
        event["part"] =
            json!({"type": (["output_text", "refusal", "reasoning_text", "odd"][usize::from(rare % 4)]), "text": "p", "refusal": "r"});
        event["response"] = json!({"id": "resp", "output": [item.clone(), item.clone()], "usage": {"input_tokens": 1, "output_tokens": 1}});
        event["item"] = item;
        event
    })
}

proptest! {
    #[test]
    fn promises_hold_whatever_comes(data in prop::collection::vec(any_event(), 0..30)) {
        // `read` checks them; a frame may also be refused.
        let mut events = Vec::new();
        let mut decoder = Decoder::new(Traits::NONE);
        let mut good = true;
        for data in &data {
            good &= decoder.event(None, data.to_string().as_bytes(), &mut |event| events.push(promises::kept(&event))).is_ok();
            if !good {
                break;
            }
        }
        decoder.finish(&mut |event| events.push(promises::kept(&event)));
        prop_assert_eq!(promises::check(&events), Ok(()), "{:#?}", events);
        // What was read can be written.
        check_grammar(&frames(&written(&events, Bridge::default())));
    }

    /// Pieces that are recognised by what lies around them are read like those that are not.
    #[test]
    fn the_fast_path_reads_the_same(data in prop::collection::vec((any_event(), 1_usize..4), 0..12)) {
        let read = |interrupted: bool| {
            let (mut events, mut decoder) = (Vec::new(), Decoder::new(Traits::NONE));
            let each = data.iter().flat_map(|(event, times)| std::iter::repeat_n(event, *times));
            for (number, event) in each.enumerate() {
                let mut event = event.clone();
                event["sequence_number"] = json!(number);
                let good = decoder.event(None, event.to_string().as_bytes(), &mut |event| events.push(promises::kept(&event))).is_ok();
                if interrupted && good {
                    decoder.event(None, br#"{"type":"padding"}"#, &mut |_| {}).unwrap();
                }
                if !good {
                    break;
                }
            }
            decoder.finish(&mut |event| events.push(promises::kept(&event)));
            events
        };
        prop_assert_eq!(read(false), read(true));
    }

    #[test]
    fn the_grammar_holds_for_every_stream(events in promises::streams()) {
        check_grammar(&frames(&written(&events, Bridge::default())));
    }

    #[test]
    fn what_was_written_is_read(events in promises::streams()) {
        let out = written(&events, Bridge::default());
        let again = events_of(&out, &[]);
        prop_assert_eq!(promises::check(&again), Ok(()));
        prop_assert_eq!(said(&again), said(&events), "{}", String::from_utf8_lossy(&out));
    }

    #[test]
    fn any_pieces_of_a_stream_are_the_same_stream(events in promises::streams(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let out = written(&events, Bridge::default());
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(out.len())).collect();
        cuts.sort_unstable();
        prop_assert_eq!(events_of(&out, &cuts), events_of(&out, &[]));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), event in any_event(), cut in any::<prop::sample::Index>()) {
        let mut decoder = Decoder::new(Traits::NONE);
        let _ = decoder.event(Some(b"response.completed"), &bytes, &mut |_| {});
        let text = event.to_string();
        let _ = decoder.event(None, &text.as_bytes()[..cut.index(text.len())], &mut |_| {});
        let _ = decoder.event(None, text.replace("\"output_text\"", "[1]").replace("\"x\"", "{}").as_bytes(), &mut |_| {});
        decoder.finish(&mut |_| {});
    }
}

/// What a stream says, whichever way: texts, thoughts, calls and seals of the first choice, and why it ended.
fn said(events: &[Event<'_>]) -> (String, String, Vec<String>, Vec<String>, Option<bool>) {
    let plain = |text: &Text<'_>| String::from_utf8_lossy(text.as_bytes()).into_owned();
    let (mut texts, mut thoughts, mut calls, mut seals, mut end) = (String::new(), String::new(), Vec::new(), Vec::new(), None);
    let mut of_call = std::collections::BTreeMap::new();
    let mut sealed = std::collections::BTreeMap::new();
    for event in events {
        match event {
            Event::Open { choice: 0, block, head: Head::ToolCall { id, name, free } } => {
                of_call.insert(*block, calls.len());
                calls.push(format!("{} {} {free} ", plain(id), plain(name)));
            }
            Event::Delta { choice: 0, block, delta } => match delta {
                Delta::Text(text) => texts.push_str(&plain(text)),
                Delta::Thought { text, .. } => thoughts.push_str(&plain(text)),
                Delta::Arguments(text) => calls[of_call[block]].push_str(&plain(text)),
                Delta::Seal(seal) => drop(sealed.insert(*block, plain(seal))),
                Delta::Citation(_) => {}
            },
            Event::Stop { choice: 0, stop } => end = Some(stop.reason == StopReason::ToolCalls),
            _ => {}
        }
    }
    // Texts and thoughts that are told at the same time are told one after the other.
    let sorted = |text: String| {
        let mut characters: Vec<char> = text.chars().collect();
        characters.sort_unstable();
        characters.into_iter().collect()
    };
    // A seal is told when its block ends, which a failure prevents.
    if end.is_some() {
        seals.extend(sealed.into_values());
    }
    seals.sort();
    calls.sort();
    (sorted(texts), sorted(thoughts), calls, seals, end)
}
