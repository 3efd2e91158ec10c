//! Chat completions and messages where they are judged: what is refused and how. Without a family, and without being told to, the simulator
//! takes nearly everything in these two.

use crate::client::{Client, Reply, ask, simulator};
use serde_json::{Value, json};

fn with(model: &str, more: Value) -> Value {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": "x"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// The error of `reply`, which must be a 400.
fn refused(body: &Value, reply: &Reply, needle: &str) {
    let message = reply.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(reply.status == 400 && message.contains(needle), "{body}: {} {}", reply.status, reply.text());
}

#[test]
fn judging_is_asked_for() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let odd = || json!({"unknown": 1, "sim": {"tag": 1}});
    assert_eq!(client.chat(with("sim/echo", odd())).status, 200);
    assert_eq!(client.chat(with("sim/echo-gpt", odd())).status, 400);
    assert_eq!(client.chat(with("sim/echo", json!({"unknown": 1, "sim": {"strict": true}}))).status, 400);
    assert_eq!(client.post("/sim/judge", r#"{"on":true}"#).json(), json!({"on": true}));
    assert_eq!(client.chat(with("sim/echo", odd())).status, 400);
    assert_eq!(client.messages(ask("sim/echo", "x", odd())).status, 400);
    assert_eq!(client.chat(with("sim/echo", json!({"unknown": 1, "sim": {"strict": false}}))).status, 200);
}

#[test]
fn what_openai_refuses_in_chats_is_refused() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let mut check = |model: &str, more: Value, needle: &str| {
        let body = with(model, more);
        let reply = client.chat(body.clone());
        refused(&body, &reply, needle);
    };
    let function = |name: &str| json!({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}});
    let mut plain = |more: Value, needle: &str| check("sim/echo-gpt", more, needle);
    plain(json!({"top_k": 5}), "Unrecognized request argument supplied: top_k");
    plain(json!({"messages": [{"role": "user", "content": "x", "cache_control": {}}]}), "Unknown parameter: 'messages[0].cache_control'.");
    plain(json!({"messages": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]}), "Invalid value: 'input_text'");
    plain(json!({"messages": [{"role": "assistant", "content": null}]}), "expected a string, got null");
    plain(json!({"messages": [{"role": "tool", "content": "x", "tool_call_id": "c"}]}), "must be a response to a preceeding message");
    plain(
        json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x.png"}}]}]}),
        "base64-encoded data URL",
    );
    plain(json!({"stop": ["a", "b", "c", "d", "e"]}), "maximum length 4");
    plain(json!({"tools": []}), "Invalid 'tools': empty array");
    plain(json!({"tool_choice": "auto"}), "only allowed when 'tools' are specified");
    plain(json!({"tools": [function("a.b")]}), "does not match pattern");
    plain(json!({"tools": [function("a")], "tool_choice": {"type": "function", "function": {"name": "b"}}}), "no function named b");
    plain(json!({"top_logprobs": 2}), "must be used with 'logprobs'");
    plain(json!({"reasoning_effort": "low"}), "Unrecognized request argument supplied: reasoning_effort");
    plain(json!({"response_format": {"type": "json_object"}}), "must contain the word 'json'");
    let call = |id: &str| json!({"role": "assistant", "content": null, "tool_calls": [{"id": id, "type": "function", "function": {"name": "a", "arguments": "{}"}}]});
    plain(json!({"messages": [call("c")]}), "did not have response messages: c");
    let long = "c".repeat(41);
    plain(json!({"messages": [call(&long), {"role": "tool", "tool_call_id": long, "content": "x"}]}), "maximum length 40");
    let images = json!([{"type": "image_url", "image_url": {"url": "http://a/b"}}]);
    plain(json!({"messages": [call("c"), {"role": "tool", "tool_call_id": "c", "content": images}]}), "Invalid value: 'image_url'");
    check("sim/gpt-new", json!({"max_tokens": 5}), "Use 'max_completion_tokens' instead");
    check("sim/gpt-new", json!({"temperature": 0.5}), "'temperature' is not supported with this model");
    check("sim/gpt-new", json!({"stop": ["a"]}), "'stop' is not supported with this model");
    check("sim/gpt-new", json!({"tools": [function("a")]}), "Please use /v1/responses instead");
    check(
        "sim/deepseek",
        json!({"messages": [{"role": "assistant", "content": "y"}], "tools": [function("a")]}),
        "Missing `reasoning_content`",
    );
}

#[test]
fn what_anthropic_refuses_is_refused() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let mut check = |model: &str, more: Value, needle: &str| {
        let body = ask(model, "x", more);
        let reply = client.messages(body.clone());
        refused(&body, &reply, needle);
    };
    let tool = |name: &str| json!({"name": name, "input_schema": {"type": "object"}});
    let say = |content: Value| json!([{"role": "user", "content": content}]);
    let mut plain = |more: Value, needle: &str| check("sim/echo-claude", more, needle);
    plain(json!({"stop": ["x"]}), "stop: Extra inputs are not permitted");
    plain(json!({"temperature": 1.5}), "temperature: Input should be less than or equal to 1");
    plain(json!({"messages": say(json!([{"type": "text", "text": "x", "id": 1}]))}), "messages.0.content.0.id: Extra inputs");
    plain(json!({"messages": say(json!([{"type": "text", "text": ""}]))}), "text content blocks must be non-empty");
    plain(json!({"messages": say(json!(" "))}), "must contain non-whitespace text");
    plain(json!({"messages": say(json!([]))}), "must have non-empty content");
    plain(json!({"messages": say(json!([{"type": "image_url", "image_url": {}}]))}), "messages.0.content.0: Input tag 'image_url'");
    plain(json!({"messages": [{"role": "assistant", "content": "x"}]}), "first message must use the \"user\" role");
    plain(json!({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y "}]}), "trailing whitespace");
    plain(json!({"messages": [{"role": "user", "content": "x"}, {"role": "system", "content": "y"}]}), "not supported on this model");
    plain(json!({"system": ""}), "system.0: text content blocks must be non-empty");
    plain(json!({"stop_sequences": [" "]}), "must contain non-whitespace");
    plain(json!({"tools": [tool("a b")]}), "tools.0.custom.name: String should match pattern");
    plain(json!({"tools": [tool("a"), tool("a")]}), "Tool names must be unique");
    plain(json!({"tools": [{"name": "a", "input_schema": {"properties": {}}}]}), "tools.0.custom.input_schema.type: Field required");
    plain(json!({"tools": [{"name": "a", "input_schema": {"type": "object", "anyOf": []}}]}), "does not support oneOf, allOf, or anyOf");
    plain(json!({"tools": [{"name": "a", "parameters": {}}]}), "tools.0.custom.input_schema: Field required");
    plain(json!({"tool_choice": {"type": "auto"}}), "only be specified while providing tools");
    plain(json!({"tools": [tool("a")], "tool_choice": {"type": "tool", "name": "b"}}), "not found in provided tools");
    plain(json!({"tools": [tool("a")], "tool_choice": {"type": "required"}}), "Input tag 'required'");
    plain(json!({"context_management": {"edits": []}}), "context_management: Extra inputs");
    plain(json!({"thread": {"type": "create"}}), "thread: Extra inputs");
    plain(json!({"thinking": {"type": "adaptive"}}), "adaptive thinking is not supported");
    let open =
        json!({"format": {"type": "json_schema", "schema": {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}}});
    plain(json!({"output_config": open}), "output_config.format.schema: For 'object' type");
    let mark = |ttl: &str| json!({"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": ttl}});
    plain(json!({"messages": say(json!([mark("5m"), mark("5m"), mark("5m"), mark("5m"), mark("5m")]))}), "A maximum of 4 blocks");
    plain(json!({"messages": say(json!([mark("5m"), mark("1h")]))}), "must not come after");
    check("sim/claude-new", json!({"temperature": 1}), "`temperature` is deprecated");
    check("sim/claude-new", json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}), "is not supported for this model");
}

#[test]
fn anthropics_calls_and_results_belong_together() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let used = |id: &str| json!({"type": "tool_use", "id": id, "name": "f", "input": {}});
    let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": "rain"});
    let text = || json!({"type": "text", "text": "x"});
    let mut check = |turns: Vec<Vec<Value>>, tools: bool, needle: &str| {
        let roles = ["user", "assistant"].iter().cycle();
        let messages: Vec<Value> = turns.iter().zip(roles).map(|(content, role)| json!({"role": role, "content": content})).collect();
        let offered = if tools { json!([{"name": "f", "input_schema": {"type": "object"}}]) } else { json!([]) };
        let body = ask("sim/tools-claude", "", json!({"messages": messages, "tools": offered}));
        let reply = client.messages(body.clone());
        if needle.is_empty() {
            assert_eq!(reply.status, 200, "{}", reply.text());
        } else {
            refused(&body, &reply, needle);
        }
    };
    check(vec![vec![text()], vec![used("a"), used("b")], vec![result("b"), result("a"), text()]], true, "");
    check(vec![vec![text()], vec![used("a")], vec![result("a")]], false, "must define tools");
    check(vec![vec![text()], vec![used("a")], vec![text(), result("a")]], true, "without `tool_result` blocks immediately after: a");
    check(vec![vec![text()], vec![used("a"), used("b")], vec![result("a")]], true, "immediately after: b");
    check(vec![vec![text()], vec![used("a")], vec![text()]], true, "immediately after: a");
    check(vec![vec![text()], vec![text()], vec![result("a")]], true, "unexpected `tool_use_id`");
    check(vec![vec![text()], vec![used("a b")], vec![result("a b")]], true, "should match pattern '^[a-zA-Z0-9_-]+$'");
    check(vec![vec![text()], vec![used("a"), used("a")], vec![result("a")]], true, "must be unique");
    check(vec![vec![text(), result("a")]], true, "unexpected `tool_use_id`");
    check(vec![vec![used("a")]], true, "can only be in `assistant` messages");
}

#[test]
fn the_new_version_has_no_sampling() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let body = ask("sim/echo-claude", "x", json!({"temperature": 1.0})).to_string();
    let mut status = |version: &str| {
        let head = format!(
            "POST /v1/messages HTTP/1.1\r\nHost: a\r\nx-api-key: k\r\nanthropic-version: {version}\r\nContent-Type: application/json\r\n\
            Content-Length: {}\r\n\r\n",
            body.len()
        );
        client.send((head + &body).as_bytes());
        client.reply().status
    };
    assert_eq!((status("2023-06-01"), status("2026-10-21")), (200, 400));
}

/// The deltas of tool calls in a stream of `sim/tools` under `script`, and the last finish reason.
fn calls(model: &str, script: Value) -> (Vec<Value>, Value) {
    let simulator = simulator();
    let tools = json!([{"type": "function", "function": {"name": "look", "parameters": {"properties": {"city": {"type": "string"}}}}}]);
    let reply = Client::new(&simulator).chat(with(model, json!({"stream": true, "tools": tools, "sim": script})));
    let chunks = reply.event_json();
    let deltas = chunks.iter().flat_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].as_array().cloned().unwrap_or_default());
    let finish = chunks.iter().rev().find_map(|chunk| chunk["choices"].get(0)?.get("finish_reason").filter(|reason| !reason.is_null()));
    (deltas.collect(), finish.cloned().unwrap_or_default())
}

#[test]
fn tool_calls_go_wrong_as_told() {
    let odd = |anomaly: &str| calls("sim/tools", json!({"tool_anomalies": [anomaly], "tool_calls": 2, "argument_bytes": 6})).0;
    let field = |deltas: &[Value], pointer: &str| -> Vec<Value> {
        deltas.iter().map(|delta| delta.pointer(pointer).cloned().unwrap_or_default()).collect()
    };
    let null = Value::Null;
    // Without anomalies: name, `{"city`, `":"exa`, `mple"}`, for each of the two.
    let usual = calls("sim/tools", json!({"tool_calls": 2, "argument_bytes": 6})).0;
    assert_eq!(field(&usual, "/index"), [0, 0, 0, 0, 1, 1, 1, 1]);
    assert!(field(&odd("no_index"), "/index").iter().all(Value::is_null));
    assert_eq!(field(&odd("zero_index"), "/index"), [0; 8]);
    assert_eq!(field(&odd("shifted_index"), "/index"), [1, 1, 1, 1, 2, 2, 2, 2]);
    assert!(field(&odd("no_id"), "/id").iter().all(Value::is_null));
    let repeated = field(&odd("repeated_id"), "/id");
    assert!(repeated[0].is_string() && repeated[0] == repeated[3] && repeated[4] != repeated[3]);
    assert!(field(&odd("repeated_name"), "/function/name").iter().all(|name| name == "look"));
    let late = odd("late_name");
    assert_eq!(field(&late[..3], "/function/name"), [null.clone(), json!("look"), null.clone()]);
    assert_eq!(field(&odd("empty_arguments"), "/function/arguments"), ["", ""]);
    assert_eq!(field(&odd("whole"), "/function/arguments"), [r#"{"city":"example"}"#, r#"{"city":"example"}"#]);
    assert_eq!(field(&odd("object_arguments"), "/function/arguments"), [json!({"city": "example"}), json!({"city": "example"})]);
    assert_eq!(field(&odd("interleaved"), "/index"), [0, 1, 0, 1, 0, 1, 0, 1]);
}

#[test]
fn blocks_can_overlap() {
    let simulator = simulator();
    let tools = json!([{"name": "look", "input_schema": {"properties": {"city": {"type": "string"}}}}]);
    let script = json!({"tool_calls": 2, "tool_anomalies": ["interleaved", "whole"]});
    let body = ask("sim/tools", "x", json!({"stream": true, "tools": tools, "sim": script}));
    let events = Client::new(&simulator).messages(body).event_json();
    let order: Vec<(&str, u64)> = events
        .iter()
        .filter_map(|event| Some((event["type"].as_str()?.strip_prefix("content_block_")?, event["index"].as_u64()?)))
        .collect();
    let expected = [("start", 0), ("delta", 0), ("start", 1), ("delta", 1), ("delta", 0), ("stop", 0), ("delta", 1), ("stop", 1)];
    assert_eq!(order, expected);
}

#[test]
fn openings_can_be_odd() {
    let simulator = simulator();
    let names = |script: Value| -> Vec<String> {
        let events = Client::new(&simulator).messages(ask("sim/fast", "x", json!({"stream": true, "sim": script}))).events();
        events.into_iter().filter_map(|(name, _)| name).take(3).collect()
    };
    assert_eq!(names(json!({"opening": "twice"})), ["message_start", "message_start", "content_block_start"]);
    assert_eq!(names(json!({"opening": "ping_first"})), ["ping", "message_start", "content_block_start"]);
    let chat = Client::new(&simulator).chat(with("sim/fast", json!({"stream": true, "sim": {"opening": "ping_first"}})));
    assert!(chat.text().starts_with(": ping\n\ndata: {"), "{}", chat.text());
}

#[test]
fn hosts_have_their_quirks() {
    let (deltas, finish) = calls("sim/tools-ollama", json!({"tool_calls": 2}));
    assert_eq!((deltas.len(), &deltas[1]["index"], finish), (2, &json!(0), json!("stop")));
    let (deltas, _) = calls("sim/tools-mistral", json!({}));
    assert_eq!(deltas[0]["function"]["arguments"], json!({"city": "example"}));
    assert!(calls("sim/tools-sglang", json!({})).0.iter().all(|delta| delta.get("index").is_none()));

    let simulator = simulator();
    let stream = |family: &str, usage: bool| {
        let script = json!({"reasoning_tokens": 2, "tokens": 2, "cached_tokens": 1});
        let options = if usage { json!({"include_usage": true}) } else { Value::Null };
        let body = with(&format!("sim/fast-{family}"), json!({"stream": true, "stream_options": options, "sim": script}));
        Client::new(&simulator).chat(body)
    };
    let chunks = |family: &str, usage: bool| {
        let text = stream(family, usage).text().to_owned();
        let data = text.split("\n\n").filter_map(|frame| frame.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
        data.map(|data| serde_json::from_str::<Value>(data).unwrap()).collect::<Vec<_>>()
    };
    let delta = |chunk: &Value, name: &str| chunk["choices"][0]["delta"][name].clone();
    assert_eq!(delta(&chunks("deepseek", false)[1], "reasoning_content"), "First");
    assert_eq!(delta(&chunks("groq", false)[1], "reasoning"), "First");
    assert_eq!(delta(&chunks("together", false)[1], "content"), "<think>First");
    assert_eq!(delta(&chunks("openrouter", false)[1], "reasoning_details")[0]["text"], "First");
    assert_eq!(delta(&chunks("mistral", false)[1], "content")[0]["thinking"][0]["text"], "First");
    assert_eq!(delta(&chunks("mistral", false)[3], "content"), json!([{"type": "text", "text": "Lorem"}]));
    assert_eq!((&chunks("azure", false)[0]["id"], &chunks("azure", false)[0]["object"]), (&json!(""), &json!("")));
    assert!(stream("deepseek", false).text().starts_with(": keep-alive\n\n"));
    let last = |family: &str, usage: bool| chunks(family, usage).pop().unwrap();
    assert_eq!(last("groq", false)["x_groq"]["usage"]["completion_tokens"], 4);
    assert_eq!(last("moonshot", false)["choices"][0]["usage"]["completion_tokens"], 4);
    assert_eq!(last("fireworks", false)["usage"]["completion_tokens"], 4);
    assert_eq!(last("openrouter", false)["choices"][0]["delta"]["content"], "");
    assert_eq!(last("perplexity", false)["usage"]["cost"]["total_cost"], 0.003);
    let xai = &last("xai", true)["usage"];
    assert_eq!(
        (&xai["completion_tokens"], xai["total_tokens"].as_i64()),
        (&json!(2), xai["prompt_tokens"].as_i64().map(|prompt| prompt + 4))
    );
    assert_eq!(last("deepseek", true)["usage"]["prompt_cache_hit_tokens"], 1);
    let running: Vec<i64> = chunks("vllm", true).iter().filter_map(|chunk| chunk["usage"]["completion_tokens"].as_i64()).collect();
    assert_eq!(running, [0, 1, 2, 3, 4, 4]);
    let unary = Client::new(&simulator).chat(with("sim/fast-together", json!({"sim": {"reasoning_tokens": 2, "tokens": 1}}))).json();
    assert_eq!(unary["choices"][0]["message"]["content"], "<think>First look</think>Lorem");
}

#[test]
fn openrouter_takes_its_own_object_about_reasoning() {
    let simulator = simulator();
    let thinks = |family: &str, wish: Value| {
        let reply = Client::new(&simulator).chat(with(&format!("sim/agent-{family}"), wish)).json();
        reply["usage"]["completion_tokens_details"]["reasoning_tokens"] != 0
    };
    for (wish, expected) in [
        (json!({"effort": "low"}), true),
        (json!({"effort": "none"}), false),
        (json!({"max_tokens": 2000}), true),
        (json!({"enabled": true}), true),
        (json!({"enabled": false}), false),
        (json!({}), false),
    ] {
        assert_eq!(thinks("openrouter", json!({ "reasoning": wish })), expected, "{wish}");
        assert!(!thinks("groq", json!({ "reasoning": wish })), "{wish}");
    }
}

#[test]
fn conversations_are_not_held() {
    let simulator = simulator();
    let body = ask("sim/echo-claude", "x", json!({"thread": {"type": "create"}})).to_string();
    let head = "POST /v1/messages HTTP/1.1\r\nHost: sim\r\nx-api-key: k\r\nanthropic-version: 2023-06-01\r\nanthropic-beta: message-threads-2026-08-12\r\n";
    let mut client = Client::new(&simulator);
    client.send(
        format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).as_bytes(),
    );
    let reply = String::from_utf8(client.rest().0).unwrap();
    assert!(reply.starts_with("HTTP/1.1 400 ") && reply.contains(r#""details":{"error_code":"thread_unsupported_request"}"#), "{reply}");
}

#[test]
fn the_ledger_shows_what_was_received() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    client.call("GET", "/sim/healthz");
    client.post("/sim/record", r#"{"on":true}"#);
    let body = with("sim/echo", json!({}));
    client.chat(body.clone());
    let record = |client: &mut Client, query: &str| client.call("GET", &format!("/sim/ledger{query}")).json()["records"][0].clone();
    assert!(record(&mut client, "").get("received").is_none());
    let received = record(&mut client, "?body_bytes=1000")["received"].clone();
    assert_eq!((&received["method"], &received["target"]), (&json!("POST"), &json!("/v1/chat/completions")));
    assert_eq!((&received["body"], &received["body_is_cut"]), (&json!(body.to_string()), &json!(false)));
    assert!(received["headers"].as_array().unwrap().contains(&json!(["Authorization", "Bearer …"])), "{received}");
    assert_eq!(record(&mut client, "?body_bytes=3")["received"]["body_is_cut"], true);
}
