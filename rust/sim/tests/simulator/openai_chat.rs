//! The OpenAI side through a real socket: shapes, order and numbers of replies and errors.

use crate::client::{Client, Reply, ask, simulator};
use serde_json::{Value, json};

fn chat(body: Value) -> Reply {
    Client::new(&simulator()).chat(body)
}

/// The text of all content deltas; checks what every chunk must have.
fn streamed_text(reply: &Reply, field: &str) -> String {
    let events = reply.event_json();
    let mut text = String::new();
    for chunk in &events {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["id"], events[0]["id"]);
        assert!(chunk["created"].is_u64() && chunk["model"].is_string() && chunk["system_fingerprint"].is_string(), "{chunk}");
        for choice in chunk["choices"].as_array().unwrap() {
            assert_eq!(choice["index"], 0);
            assert!(choice.get("finish_reason").is_some() && choice["delta"].is_object() && choice["logprobs"].is_null(), "{chunk}");
            text.push_str(choice["delta"][field].as_str().unwrap_or_default());
        }
    }
    text
}

#[test]
fn unary_reply_is_complete() {
    let reply = chat(ask("sim/echo", "Hello \"big\" world\n🦀", json!({})));
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert!(reply.header("x-request-id").unwrap().starts_with("req_"));
    let body = reply.json();
    assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], "sim/echo");
    assert_eq!(body["service_tier"], "default");
    let choice = &body["choices"][0];
    assert_eq!(choice["message"], json!({"role": "assistant", "content": "Hello \"big\" world\n🦀", "refusal": null, "annotations": []}));
    assert_eq!(choice["finish_reason"], "stop");
    assert!(choice.as_object().unwrap().contains_key("logprobs"));
    // 22 bytes of text.
    let usage = json!({
        "prompt_tokens": 3 + 3 + 6, "completion_tokens": 4, "total_tokens": 16,
        "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
    });
    assert_eq!(body["usage"], usage);
}

#[test]
fn stream_has_role_tokens_finish_and_done() {
    let reply = chat(ask("echo", "one two three", json!({"stream": true})));
    assert_eq!(reply.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(streamed_text(&reply, "content"), "one two three");
    let events = reply.events();
    assert!(events.iter().all(|(name, _)| name.is_none()));
    assert_eq!(events.last().unwrap().1, "[DONE]");
    let chunks = reply.event_json();
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": "", "refusal": null}));
    assert_eq!(chunks[0]["model"], "echo");
    assert_eq!(chunks.len(), 1 + 3 + 1);
    assert_eq!(chunks[4]["choices"][0], json!({"index": 0, "delta": {}, "logprobs": null, "finish_reason": "stop"}));
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
    // Every frame is a chunk of its own, the last one too.
    assert_eq!(reply.chunks.len(), 6);
}

#[test]
fn usage_chunk_only_when_asked_for() {
    let reply = chat(ask("sim/fast", "x", json!({"stream": true, "stream_options": {"include_usage": true}})));
    let chunks = reply.event_json();
    let (last, before) = chunks.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 32);
    assert!(before.iter().all(|chunk| chunk.as_object().unwrap().contains_key("usage") && chunk["usage"].is_null()));
    let without = chat(ask("sim/fast", "x", json!({"stream": true, "stream_options": {"include_usage": false}})));
    assert!(without.event_json().iter().all(|chunk| chunk.get("usage").is_none()));
}

#[test]
fn reasoning_comes_first_and_is_counted() {
    let unary = chat(ask("sim/reason", "x", json!({}))).json();
    let message = &unary["choices"][0]["message"];
    assert!(message["reasoning_content"].as_str().unwrap().starts_with("First look"));
    assert_eq!(unary["usage"]["completion_tokens"], 12 + 24);
    assert_eq!(unary["usage"]["completion_tokens_details"]["reasoning_tokens"], 12);
    let stream = chat(ask("sim/reason", "x", json!({"stream": true})));
    assert_eq!(streamed_text(&stream, "reasoning_content"), message["reasoning_content"].as_str().unwrap());
    assert_eq!(streamed_text(&stream, "content"), message["content"].as_str().unwrap());
    assert!(stream.event_json()[1]["choices"][0]["delta"]["reasoning_content"].is_string());
}

fn tools() -> Value {
    let function = |name: &str| json!({"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}});
    json!([function("look"), function("listen")])
}

#[test]
fn tools_are_called_and_their_results_repeated() {
    let unary = chat(ask("sim/tools", "x", json!({"tools": tools()}))).json();
    let choice = &unary["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert!(choice["message"]["content"].is_null());
    let call = &choice["message"]["tool_calls"][0];
    assert!(call["id"].as_str().unwrap().starts_with("call_"));
    assert_eq!(call["function"], json!({"name": "look", "arguments": r#"{"city":"example"}"#}));
    let answer = chat(json!({"model": "sim/tools", "tools": tools(), "messages": [
        {"role": "user", "content": "x"}, choice["message"], {"role": "tool", "tool_call_id": call["id"], "content": "rain"}]}));
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "The tool said: rain");
    let refused = chat(ask("sim/tools", "x", json!({"tools": tools(), "tool_choice": "none"}))).json();
    assert_eq!(refused["choices"][0]["finish_reason"], "stop");
}

#[test]
fn streamed_tool_calls_add_up() {
    let reply = chat(ask("fast", "x", json!({"stream": true, "tools": tools(), "sim": {"tool_calls": 2, "tokens": 1}})));
    streamed_text(&reply, "content");
    let mut calls = [(String::new(), String::new()), (String::new(), String::new())];
    for chunk in reply.event_json() {
        for delta in chunk["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let (name, arguments) = &mut calls[usize::try_from(delta["index"].as_u64().unwrap()).unwrap()];
            assert_eq!(delta.get("id").is_some(), name.is_empty(), "id and name come once, first: {delta}");
            name.push_str(delta["function"]["name"].as_str().unwrap_or_default());
            arguments.push_str(delta["function"]["arguments"].as_str().unwrap());
        }
    }
    assert_eq!(calls[0], ("look".to_owned(), r#"{"city":"example"}"#.to_owned()));
    assert_eq!(calls[1], ("listen".to_owned(), r#"{"city":"example"}"#.to_owned()));
}

#[test]
fn the_token_limit_ends_the_reply() {
    for field in ["max_tokens", "max_completion_tokens"] {
        let mut body = ask("sim/echo", "a b c d", json!({}));
        body.as_object_mut().unwrap().remove("max_tokens");
        body[field] = json!(2);
        let reply = chat(body).json();
        assert_eq!(reply["choices"][0]["message"]["content"], "a b");
        assert_eq!(reply["choices"][0]["finish_reason"], "length");
        assert_eq!(reply["usage"]["completion_tokens"], 2);
    }
}

#[test]
fn errors_have_openai_shape() {
    let simulator = simulator();
    let check = |body: &str, status: u16, needle: &str, code: Value| {
        let reply = Client::new(&simulator).post("/v1/chat/completions", body);
        assert_eq!(reply.status, status, "{body}");
        let error = &reply.json()["error"];
        assert!(error["message"].as_str().unwrap().contains(needle), "{body}: {error}");
        assert_eq!(error["type"], "invalid_request_error");
        assert_eq!(error["code"], code);
        assert!(error.as_object().unwrap().contains_key("param"));
    };
    let good = r#""messages":[{"role":"user","content":"x"}]"#;
    check("{", 400, "parse the JSON body", Value::Null);
    check("{\"model\":\"sim/fast\"", 400, "EOF", Value::Null);
    check(&format!("{{{good}}}"), 400, "model parameter", Value::Null);
    check(&format!(r#"{{"model":"gpt-9",{good}}}"#), 404, "gpt-9", json!("model_not_found"));
    check(&format!(r#"{{"model":"sim/fast","model":"sim/echo",{good}}}"#), 400, "duplicate field", Value::Null);
    check(r#"{"model":"sim/fast"}"#, 400, "messages", json!("missing_required_parameter"));
    check(r#"{"model":"sim/fast","messages":[]}"#, 400, "empty array", json!("empty_array"));
    check(r#"{"model":"sim/fast","messages":[{"role":"robot","content":"x"}]}"#, 400, "messages[0].role", Value::Null);
    check(&format!(r#"{{"model":"sim/fast","stream_options":{{}},{good}}}"#), 400, "stream_options", Value::Null);
    check(&format!(r#"{{"model":"sim/fast","max_tokens":0,{good}}}"#), 400, "at least 1", Value::Null);
    check(&format!(r#"{{"model":"sim/fast","n":0,{good}}}"#), 400, "Invalid 'n'", Value::Null);
    check(&format!(r#"{{"model":"sim/fast","sim":{{"tokns":1}},{good}}}"#), 400, "tokns", Value::Null);
    check(&format!(r#"{{"model":"sim/fast","sim":{{"tool_calls":1}},{good}}}"#), 400, "needs tools", Value::Null);
    check(&format!(r#"{{"model":"sim/fast","sim":{{"tokens":9999999,"token_bytes":1000}},{good}}}"#), 400, "at most", Value::Null);
}

#[test]
fn lists_models_and_unknown_paths() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let list = client.call("GET", "/v1/models").json();
    assert_eq!(list["object"], "list");
    let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["sim/echo", "sim/fast", "sim/slow", "sim/flaky", "sim/reason", "sim/tools", "sim/agent"]);
    assert_eq!(client.call("GET", "/v1/models/sim/fast").json()["id"], "sim/fast");
    assert_eq!(client.call("GET", "/models/sim%2Ffast").json()["object"], "model");
    assert_eq!(client.call("GET", "/v1/models/gpt-9").json()["error"]["code"], "model_not_found");
    assert_eq!(client.call("GET", "/v1/nothing").json()["error"]["code"], "unknown_url");
    assert_eq!(client.call("GET", "/v1/chat/completions").status, 405);
}
