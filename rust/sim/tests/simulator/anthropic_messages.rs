//! The Anthropic side through a real socket: shapes, order and numbers of replies and errors.

use crate::client::{Client, Reply, ask, simulator};
use serde_json::{Value, json};

fn messages(body: Value) -> Reply {
    Client::new(&simulator()).messages(body)
}

/// The content blocks that a stream adds up to, built as a client would; checks the grammar on the way.
fn assembled(reply: &Reply) -> Vec<Value> {
    let mut blocks: Vec<Value> = Vec::new();
    let mut arguments = String::new();
    let mut open = false;
    for (name, data) in reply.events() {
        let event: Value = serde_json::from_str(&data).unwrap();
        assert_eq!(event["type"], name.unwrap(), "the event line must repeat the type");
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert!(!std::mem::replace(&mut open, true), "blocks are one after another");
                assert_eq!(event["index"], blocks.len());
                blocks.push(event["content_block"].clone());
                arguments.clear();
            }
            "content_block_delta" => {
                assert!(open && event["index"] == blocks.len() - 1);
                let delta = &event["delta"];
                let (field, target) = match delta["type"].as_str().unwrap() {
                    "text_delta" => ("text", "text"),
                    "thinking_delta" => ("thinking", "thinking"),
                    "signature_delta" => ("signature", "signature"),
                    "input_json_delta" => {
                        arguments.push_str(delta["partial_json"].as_str().unwrap());
                        continue;
                    }
                    other => panic!("{other}"),
                };
                let block = blocks.last_mut().unwrap();
                block[target] = json!(block[target].as_str().unwrap().to_owned() + delta[field].as_str().unwrap());
            }
            "content_block_stop" => {
                assert!(std::mem::replace(&mut open, false));
                let block = blocks.last_mut().unwrap();
                if block["type"] == "tool_use" {
                    block["input"] = serde_json::from_str(&arguments).unwrap();
                }
            }
            _ => {}
        }
    }
    blocks
}

#[test]
fn unary_reply_is_complete() {
    let reply = messages(ask("sim/echo", "Hello world", json!({"system": "12345"})));
    assert!(reply.header("request-id").unwrap().starts_with("req_"));
    let mut body = reply.json();
    assert!(body["id"].as_str().unwrap().starts_with("msg_01"));
    body["id"] = Value::Null;
    let expected = json!({
        "model": "sim/echo", "id": null, "type": "message", "role": "assistant", "content": [{"type": "text", "text": "Hello world"}],
        "stop_reason": "end_turn", "stop_sequence": null, "stop_details": null,
        "usage": {
            "input_tokens": 3 + (3 + 2) + (3 + 3), "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}, "output_tokens": 2, "service_tier": "standard",
        },
    });
    assert_eq!(body, expected);
}

#[test]
fn stream_follows_the_grammar() {
    let reply = messages(ask("sim/echo", "one two three", json!({"stream": true})));
    let names: Vec<_> = reply.events().into_iter().filter_map(|(name, _)| name).collect();
    let expected = [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(names, expected);
    assert_eq!(assembled(&reply), [json!({"type": "text", "text": "one two three"})]);
    let events = reply.event_json();
    let start = &events[0]["message"];
    assert_eq!((&start["content"], &start["stop_reason"], &start["usage"]["output_tokens"]), (&json!([]), &Value::Null, &json!(1)));
    assert_eq!(start["usage"]["input_tokens"], 3 + 3 + 4);
    let delta = &events[7];
    assert_eq!(delta["delta"]["stop_reason"], "end_turn");
    let usage = json!({"input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 3});
    assert_eq!(delta["usage"], usage);
}

#[test]
fn cache_buckets_are_disjoint() {
    let script = json!({"prompt_tokens": 100, "cached_tokens": 60, "cache_write_tokens": 30});
    let usage = messages(ask("sim/fast", "x", json!({"sim": script}))).json()["usage"].clone();
    assert_eq!(
        (&usage["input_tokens"], &usage["cache_read_input_tokens"], &usage["cache_creation_input_tokens"]),
        (&json!(10), &json!(60), &json!(30))
    );
    assert_eq!(usage["cache_creation"]["ephemeral_5m_input_tokens"], 30);
    assert_eq!(messages(ask("sim/fast", "x", json!({"sim": {"cached_tokens": 99}}))).status, 400);
}

#[test]
fn thinking_is_signed() {
    let unary = messages(ask("sim/reason", "x", json!({}))).json();
    assert_eq!(unary["content"][0]["type"], "thinking");
    assert!(unary["content"][0]["signature"].as_str().unwrap().len() > 100);
    assert_eq!(unary["usage"]["output_tokens_details"]["thinking_tokens"], 12);
    let stream = messages(ask("sim/reason", "x", json!({"stream": true})));
    // A new simulator with the same seed gives the same ids, so both ways must say the same.
    assert_eq!(json!(assembled(&stream)), unary["content"]);
}

#[test]
fn tools_are_used() {
    let tools = json!([{"name": "look", "input_schema": {"type": "object", "properties": {"days": {"type": "integer"}}}}]);
    let unary = messages(ask("sim/tools", "x", json!({"tools": tools}))).json();
    assert_eq!(unary["stop_reason"], "tool_use");
    assert_eq!((&unary["content"][0]["name"], &unary["content"][0]["input"]), (&json!("look"), &json!({"days": 1})));
    let stream = messages(ask("sim/tools", "x", json!({"tools": tools, "stream": true})));
    assert_eq!(json!(assembled(&stream)), unary["content"]);
    let result =
        json!([{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "sun"}]}]}]);
    let answer = messages(ask("sim/tools", "", json!({"tools": tools, "messages": result}))).json();
    assert_eq!(answer["content"][0]["text"], "The tool said: sun");
}

#[test]
fn errors_have_anthropic_shape() {
    let simulator = simulator();
    let check = |body: &str, status: u16, kind: &str, needle: &str| {
        let reply = Client::new(&simulator).post("/v1/messages", body);
        let json = reply.json();
        assert_eq!((reply.status, &json["type"], &json["error"]["type"]), (status, &json!("error"), &json!(kind)), "{body}");
        assert!(json["error"]["message"].as_str().unwrap().contains(needle), "{body}: {json}");
        assert_eq!(json["request_id"], reply.header("request-id").unwrap());
    };
    let good = r#""messages":[{"role":"user","content":"x"}]"#;
    check("nonsense", 400, "invalid_request_error", "parse the JSON");
    check(&format!(r#"{{"model":"sim/fast",{good}}}"#), 400, "invalid_request_error", "max_tokens: Field required");
    check(&format!(r#"{{"max_tokens":5,{good}}}"#), 400, "invalid_request_error", "model: Field required");
    check(r#"{"model":"sim/fast","max_tokens":5}"#, 400, "invalid_request_error", "messages: Field required");
    check(r#"{"model":"sim/fast","max_tokens":5,"messages":[{"role":"tool","content":"x"}]}"#, 400, "invalid_request_error", "role");
    check(&format!(r#"{{"model":"claude-9","max_tokens":5,{good}}}"#), 404, "not_found_error", "claude-9");
    check(&format!(r#"{{"model":"sim/fast","max_tokens":5,"sim":{{"x":1}},{good}}}"#), 400, "invalid_request_error", "unknown field `x`");
}

#[test]
fn counts_tokens_and_lists_models() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let count = client.post("/v1/messages/count_tokens", r#"{"model":"sim/fast","messages":[{"role":"user","content":"12345678"}]}"#);
    assert_eq!(count.json(), json!({"input_tokens": 3 + 3 + 2}));
    client.send(b"GET /v1/models?limit=1000 HTTP/1.1\r\nHost: a\r\nx-api-key: k\r\nanthropic-version: 2023-06-01\r\n\r\n");
    let list = client.reply().json();
    assert_eq!((&list["has_more"], &list["first_id"], &list["last_id"]), (&json!(false), &json!("sim/echo"), &json!("sim/agent")));
    assert_eq!((&list["data"][1]["type"], &list["data"][1]["lifecycle"]), (&json!("model"), &json!("active")));
}

#[test]
fn a_limit_of_nothing_gives_nothing() {
    let reply = messages(ask("sim/fast", "x", json!({"max_tokens": 0}))).json();
    assert_eq!((&reply["content"], &reply["stop_reason"], &reply["usage"]["output_tokens"]), (&json!([]), &json!("max_tokens"), &json!(0)));
}

#[test]
fn the_version_header_is_required() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    client.send(b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nx-api-key: k\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
    let reply = client.reply();
    assert_eq!(reply.status, 400);
    assert!(reply.json()["error"]["message"].as_str().unwrap().contains("anthropic-version"));
}
