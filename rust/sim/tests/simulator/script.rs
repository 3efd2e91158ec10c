//! The script: each of its fields changes what it says, and nothing else.

use crate::client::{Client, End, Reply, ask, simulator};
use serde_json::{Value, json};

fn scripted(stream: bool, script: Value) -> Reply {
    Client::new(&simulator()).chat(ask("sim/fast", "x", json!({"stream": stream, "sim": script})))
}

fn scripted_messages(stream: bool, script: Value) -> Reply {
    Client::new(&simulator()).messages(ask("sim/fast", "x", json!({"stream": stream, "sim": script})))
}

#[test]
fn tokens_and_their_text() {
    let content = |script| scripted(false, script).json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    assert_eq!(content(json!({"tokens": 3})), "Lorem ipsum dolor");
    assert_eq!(content(json!({"tokens": 2, "token_text": "é\""})), "é\"é\"");
    assert_eq!(content(json!({"tokens": 3, "token_bytes": 100_000})), "x".repeat(300_000));
    assert_eq!(content(json!({"tokens": 0})), "");
    let reply = scripted(true, json!({"tokens": 1000, "token_text": "a"}));
    assert_eq!(reply.event_json().len(), 1002);
    assert_eq!(reply.end, End::Framed);
}

#[test]
fn prompt_figures() {
    let usage = scripted(false, json!({"prompt_tokens": 1000, "cached_tokens": 400, "cache_write_tokens": 5})).json()["usage"].clone();
    assert_eq!((&usage["prompt_tokens"], &usage["total_tokens"]), (&json!(1000), &json!(1032)));
    assert_eq!(usage["prompt_tokens_details"], json!({"cached_tokens": 400, "cache_write_tokens": 5, "audio_tokens": 0}));
}

#[test]
fn usage_can_lie() {
    let chat = |report: &str, stream: bool| -> Vec<Value> {
        let mut body = ask("sim/fast", "x", json!({"stream": stream, "sim": {"usage": report, "tokens": 8}}));
        if stream {
            body["stream_options"] = json!({"include_usage": true});
        }
        let reply = Client::new(&simulator()).chat(body);
        let objects = if stream { reply.event_json() } else { vec![reply.json()] };
        objects
            .into_iter()
            .filter(|object| object["usage"].is_object())
            .map(|object| object["usage"]["completion_tokens"].clone())
            .collect()
    };
    let messages = |report: &str| -> Vec<Value> {
        let events = scripted_messages(true, json!({"usage": report, "tokens": 8})).event_json();
        let deltas = events.into_iter().filter(|event| event["type"] == "message_delta");
        deltas.map(|event| event["usage"]["output_tokens"].clone()).collect()
    };
    let huge = json!(9_223_372_036_854_775_808_u64);
    for (report, unary, streamed) in [
        ("normal", vec![json!(8)], vec![json!(8)]),
        ("absent", vec![], vec![]),
        ("zero", vec![json!(0)], vec![json!(0)]),
        ("twice", vec![json!(8)], vec![json!(8), json!(8)]),
        ("changing", vec![json!(8)], vec![json!(4), json!(8)]),
        ("huge", vec![huge.clone()], vec![huge.clone()]),
        ("negative", vec![json!(-1)], vec![json!(-1)]),
    ] {
        assert_eq!(chat(report, false), unary, "{report}");
        assert_eq!(chat(report, true), streamed, "{report}");
        let streamed = if report == "absent" { vec![Value::Null] } else { streamed };
        assert_eq!(messages(report), streamed, "{report}");
    }
    let start = scripted_messages(true, json!({"usage": "absent"})).event_json()[0].clone();
    assert!(start["message"].get("usage").is_none());
    let huge_input = scripted_messages(false, json!({"usage": "huge"})).json()["usage"]["input_tokens"].clone();
    assert_eq!(huge_input, huge);
}

#[test]
fn finish_and_terminal() {
    let check = |script: Value, finish: Value, stop: Value, terminals: usize| {
        assert_eq!(scripted(false, script.clone()).json()["choices"][0]["finish_reason"], finish, "{script}");
        assert_eq!(scripted_messages(false, script.clone()).json()["stop_reason"], stop, "{script}");
        let chat = scripted(true, script.clone());
        assert_eq!(chat.event_json().last().unwrap()["choices"][0]["finish_reason"], finish);
        assert_eq!(chat.events().iter().filter(|(_, data)| data == "[DONE]").count(), terminals);
        let messages = scripted_messages(true, script).event_json();
        assert_eq!(messages.iter().find(|event| event["type"] == "message_delta").unwrap()["delta"]["stop_reason"], stop);
        assert_eq!(messages.iter().filter(|event| event["type"] == "message_stop").count(), terminals);
    };
    check(json!({}), json!("stop"), json!("end_turn"), 1);
    check(json!({"finish": "content_filter"}), json!("content_filter"), json!("content_filter"), 1);
    check(json!({"finish": null, "terminal": "absent"}), Value::Null, Value::Null, 0);
    check(json!({"terminal": "twice"}), json!("stop"), json!("end_turn"), 2);
}

#[test]
fn writes_can_be_split_and_batched() {
    let plain = scripted(true, json!({"tokens": 10}));
    let check = |script: Value, chunks: &dyn Fn(&[Vec<u8>]) -> bool| {
        let reply = scripted(true, script.clone());
        assert_eq!(without_created(reply.text()), without_created(plain.text()), "{script}");
        assert!(chunks(&reply.chunks), "{script}: {:?}", reply.chunks.iter().map(Vec::len).collect::<Vec<_>>());
    };
    check(json!({"tokens": 10}), &|chunks| chunks.len() == 13);
    check(json!({"tokens": 10, "split": 7}), &|chunks| chunks.iter().all(|chunk| chunk.len() <= 7));
    check(json!({"tokens": 10, "split": "byte"}), &|chunks| chunks.len() == 13);
    check(json!({"tokens": 10, "batch": 4}), &|chunks| chunks.len() == 4);
    check(json!({"tokens": 10, "batch": 4, "split": 1000}), &|chunks| chunks[0].len() == 1000);
    let unary = scripted(false, json!({"split": 5, "token_text": "🦀", "tokens": 5}));
    assert!(unary.chunks.iter().all(|chunk| chunk.len() <= 5));
    assert_eq!(unary.json()["choices"][0]["message"]["content"], "🦀🦀🦀🦀🦀");
    assert_eq!(scripted(false, json!({"split": "byte"})).status, 200);
}

/// Replies of two simulators with one seed are alike but for the second in which they were made.
fn without_created(text: &str) -> String {
    let parts = text.split("\"created\":").map(|part| part.trim_start_matches(|character: char| character.is_ascii_digit()));
    parts.collect::<Vec<_>>().join("\"created\":")
}

#[test]
fn line_endings() {
    let lf = without_created(scripted(true, json!({})).text());
    assert_eq!(without_created(scripted(true, json!({"line_ending": "crlf"})).text()), lf.replace('\n', "\r\n"));
    assert_eq!(without_created(scripted(true, json!({"line_ending": "cr"})).text()), lf.replace('\n', "\r"));
    let messages = scripted_messages(true, json!({"line_ending": "crlf"}));
    assert_eq!(messages.text().replace("\r\n", "").matches(['\r', '\n']).count(), 0);
}

#[test]
fn framing_without_chunks() {
    let unary = scripted(false, json!({"chunked": false}));
    assert!(unary.header("content-length").is_some() && unary.header("transfer-encoding").is_none());
    assert_eq!(unary.json()["object"], "chat.completion");
    let stream = scripted(true, json!({"chunked": false}));
    assert_eq!((stream.header("content-length"), stream.header("connection"), &stream.end), (None, Some("close"), &End::Closed));
    assert_eq!(stream.events().last().unwrap().1, "[DONE]");
}

#[test]
fn the_connection_after_the_reply() {
    let simulator = simulator();
    for (wish, announced) in [("close", Some("close")), ("drop", None)] {
        for stream in [false, true] {
            let mut client = Client::new(&simulator);
            let reply = client.chat(ask("sim/fast", "x", json!({"stream": stream, "sim": {"connection": wish}})));
            assert_eq!((reply.header("connection"), &reply.end), (announced, &End::Framed));
            assert_eq!(client.rest(), (Vec::new(), End::Closed));
        }
    }
}

#[test]
fn headers_are_added_or_replaced() {
    let reply = scripted(true, json!({"headers": {"X-Quirk": "1", "Content-Type": "application/json", "X-Request-Id": "mine"}}));
    assert_eq!(reply.header("x-quirk"), Some("1"));
    let count = |name: &str| reply.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).count();
    assert_eq!((count("content-type"), count("x-request-id")), (1, 1));
    assert_eq!((reply.header("content-type"), reply.header("x-request-id")), (Some("application/json"), Some("mine")));
}

#[test]
fn raw_frames_go_where_they_are_put() {
    let extra = json!([": first\n\n", {"after_frames": 0, "raw": "\u{feff}"}, {"after_frames": 2, "raw": "event: x\ndata: {}\n\n"}, {"after_frames": 99, "raw": "tail"}]);
    let reply = scripted(true, json!({"tokens": 1, "extra_frames": extra}));
    let text = reply.text();
    assert!(text.starts_with("\u{feff}data: "));
    assert!(text.ends_with("data: [DONE]\n\ntail"));
    let position = |needle: &str| text.find(needle).unwrap();
    assert!(position("\"role\"") < position(": first") && position(": first") < position("Lorem"));
    assert!(position("Lorem") < position("event: x") && position("event: x") < position("\"finish_reason\":\"stop\""));
}

#[test]
fn raw_replies() {
    let unary = scripted(false, json!({"reply": {"z": 1.10, "a": [true ,null]}}));
    assert_eq!(unary.json(), json!({"z": 1.1, "a": [true, null]}));
    // The text is kept as the caller wrote it.
    let body = r#"{"model":"sim/fast","messages":[{"role":"user","content":"x"}],"sim":{"reply":{ "n" : 1.10 }}}"#;
    assert_eq!(Client::new(&simulator()).post("/v1/chat/completions", body).text(), r#"{ "n" : 1.10 }"#);
    let stream = scripted(true, json!({"reply_frames": ["data:{\"a\":1}\n\n", "data: [DONE]"], "tokens": 4}));
    assert_eq!(stream.text(), "data:{\"a\":1}\n\ndata: [DONE]");
    assert_eq!(stream.chunks.len(), 2);
}

#[test]
fn delays_show_in_the_ledger() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let script = json!({"delay_ms": 20, "first_token_ms": 30, "pace_ms": 10, "tokens": 3, "tag": 9});
    for stream in [false, true] {
        client.chat(ask("sim/fast", "x", json!({"stream": stream, "sim": script})));
    }
    let records = client.ledger()["records"].as_array().unwrap().clone();
    // Only lower bounds: they hold on any machine.
    let at_least = |record: &Value, head: u64, end: u64| {
        assert_eq!(record["tag"], 9);
        assert!(record["head_after_ms"].as_u64().unwrap() >= head && record["end_after_ms"].as_u64().unwrap() >= end, "{record}");
    };
    at_least(&records[0], 70, 70);
    at_least(&records[1], 20, 70);
}

#[test]
fn the_script_may_be_null() {
    let body = r#"{"model":"sim/fast","sim":null,"messages":[{"role":"user","content":"x"}]}"#;
    assert_eq!(Client::new(&simulator()).post("/v1/chat/completions", body).status, 200);
}
