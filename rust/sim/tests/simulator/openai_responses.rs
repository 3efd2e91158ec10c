//! Responses through a real socket: what is refused and how, what a seal is good for, what is remembered.

use crate::client::{Client, Reply, simulator};
use serde_json::{Value, json};

fn respond(client: &mut Client, body: Value) -> Reply {
    client.post("/v1/responses", &body.to_string())
}

/// A request with the fields of `more`.
fn ask(model: &str, input: Value, more: Value) -> Value {
    let mut body = json!({"model": model, "input": input});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn function(name: &str) -> Value {
    json!({"type": "function", "name": name, "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}})
}

#[test]
fn what_openai_refuses_is_refused() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let mut check = |body: Value, status: u16, param: Value, needle: &str| {
        let reply = respond(&mut client, body.clone());
        let error = &reply.json()["error"];
        assert_eq!((reply.status, &error["param"]), (status, &param), "{body}: {error}");
        assert!(error["message"].as_str().unwrap().contains(needle), "{body}: {error}");
    };
    let user = |content: Value| json!([{"role": "user", "content": content}]);
    let mut with = |model: &str, more: Value, param: &str, needle: &str| check(ask(model, json!("x"), more), 400, json!(param), needle);
    with("sim/echo", json!({"stop": ["x"]}), "stop", "Unknown parameter: 'stop'.");
    with("sim/echo", json!({"n": 2}), "n", "Unknown parameter");
    with("sim/echo", json!({"max_output_tokens": 5}), "max_output_tokens", "Expected a value >= 16, but got 5");
    with("sim/echo", json!({"temperature": 2.5}), "temperature", "decimal above maximum");
    with("sim/echo", json!({"temperature": "1"}), "temperature", "expected a number, but got a string");
    with("sim/echo", json!({"stream_options": {}}), "stream_options", "only allowed when 'stream'");
    with("sim/echo", json!({"include": ["x"]}), "include[0]", "Invalid value: 'x'");
    with("sim/echo", json!({"tools": [{"type": "function"}]}), "tools[0].name", "Missing required parameter");
    with("sim/echo", json!({"tools": [function("a b")]}), "tools[0].name", "does not match pattern");
    with("sim/echo", json!({"tools": [function("a"), function("a")]}), "tools", "Duplicate tool name");
    with("sim/echo", json!({"tools": [{"type": "function", "function": {"name": "a"}}]}), "tools[0].name", "Missing required");
    with("sim/echo", json!({"tool_choice": "required"}), "tool_choice", "must be specified with 'tools'");
    with(
        "sim/echo",
        json!({"tools": [function("a")], "tool_choice": {"type": "function", "name": "b"}}),
        "tool_choice",
        "not found in 'tools'",
    );
    with("sim/echo", json!({"text": {"format": {"type": "json_object"}}}), "input", "must contain the word 'json'");
    let loose =
        json!({"text": {"format": {"type": "json_schema", "name": "n", "strict": true, "schema": {"type": "object", "properties": {}}}}});
    with("sim/echo", loose, "text.format.schema", "'additionalProperties' is required");
    with("sim/echo-gpt-new", json!({"temperature": 0.5}), "temperature", "not supported with this model");
    with("sim/echo-gpt", json!({"reasoning": {"effort": "low"}}), "reasoning.effort", "not supported with this model");
    with("sim/echo-gpt", json!({"include": ["reasoning.encrypted_content"]}), "include", "Encrypted content is not supported");
    with("sim/echo", json!({"previous_response_id": "resp_x"}), "previous_response_id", "not found");
    check(json!({"model": "sim/echo"}), 400, json!("input"), "must be provided");
    check(json!({"model": "gpt-9", "input": "x"}), 404, Value::Null, "gpt-9");
    let mut items =
        |items: Value, status: u16, param: &str, needle: &str| check(ask("sim/echo", items, json!({})), status, json!(param), needle);
    items(json!([{"role": "tool", "content": "x"}]), 400, "input[0].role", "Invalid value: 'tool'");
    items(user(json!([{"type": "text", "text": "x"}])), 400, "input[0].content[0].type", "Invalid value: 'text'");
    items(user(json!([{"type": "output_text", "text": "x"}])), 400, "input[0].content[0]", "Supported values are: 'input_text'");
    items(user(json!([{"type": "input_image"}])), 400, "input[0].content[0]", "exactly one of 'image_url' and 'file_id'");
    let said = json!([{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]);
    items(said, 400, "input[0].content[0]", "'output_text' and 'refusal'");
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
    let output = json!({"type": "function_call_output", "call_id": "c", "output": "x"});
    items(json!([call.clone()]), 400, "input", "No tool output found for function call c.");
    items(json!([output.clone()]), 400, "input", "No tool call found for function call output with call_id c.");
    items(
        json!([{"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}, output]),
        400,
        "input[0].arguments",
        "expected a string",
    );
    items(json!([{"type": "message", "id": "x", "role": "user", "content": "x"}]), 400, "input[0].id", "begins with 'msg'");
    items(
        json!([{"type": "reasoning", "id": "rs_1", "summary": []}, {"role": "assistant", "content": "x"}]),
        404,
        "input",
        "Items are not persisted",
    );
    items(json!([{"type": "reasoning", "id": "rs_1"}]), 400, "input[0].summary", "Missing required parameter");
    items(json!([{"type": "item_reference", "id": "msg_1"}]), 404, "input", "'msg_1' not found");
}

/// One turn of a model that thinks and calls, with its items as they go back.
fn thoughtful_turn(client: &mut Client, model: &str) -> Vec<Value> {
    let settings = json!({"tools": [function("look")], "store": false, "include": ["reasoning.encrypted_content"]});
    let body = respond(client, ask(model, json!("x"), settings)).json();
    let mut items = vec![json!({"role": "user", "content": "x"})];
    items.extend(body["output"].as_array().unwrap().iter().cloned());
    items.push(json!({"type": "function_call_output", "call_id": body["output"][1]["call_id"], "output": "rain"}));
    items
}

#[test]
fn a_stream_adds_up_to_the_unary_reply() {
    // A simulator with the same seed gives the same ids, so both ways must say the same.
    let body = |stream: bool| {
        let script = json!({"tokens": 3, "tool_calls": 2, "tool_anomalies": ["interleaved"]});
        let settings =
            json!({"stream": stream, "tools": [function("look"), function("listen")], "reasoning": {"summary": "auto"}, "sim": script});
        ask("sim/agent", json!("x"), settings)
    };
    let whole = respond(&mut Client::new(&simulator()), body(false)).json();
    let events = respond(&mut Client::new(&simulator()), body(true)).event_json();
    let numbers: Vec<u64> = events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).collect::<Vec<_>>();
    let items: Vec<&Value> = of("response.output_item.done").iter().map(|event| &event["item"]).collect();
    assert_eq!((of("response.output_item.added").len(), items.len()), (4, 4));
    for (kind, field) in
        [("response.function_call_arguments", "arguments"), ("response.output_text", "text"), ("response.reasoning_summary_text", "text")]
    {
        for done in of(&format!("{kind}.done")) {
            let deltas = of(&format!("{kind}.delta")).into_iter().filter(|delta| delta["item_id"] == done["item_id"]);
            let text: String = deltas.map(|delta| delta["delta"].as_str().unwrap()).collect();
            assert_eq!(done[field], text, "{kind}");
        }
    }
    let last = &events.last().unwrap()["response"];
    assert_eq!((&last["output"], &last["usage"]), (&whole["output"], &whole["usage"]));
    for item in whole["output"].as_array().unwrap() {
        assert!(items.contains(&item), "{item}");
    }
}

#[test]
fn seals_are_bound() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let items = thoughtful_turn(&mut client, "sim/agent");
    let mut check = |items: Value, model: &str, key: &str, expected: Option<&str>| {
        let body = ask(model, items, json!({"tools": [function("look")], "store": false})).to_string();
        let head = format!(
            "POST /v1/responses HTTP/1.1\r\nHost: sim\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        client.send((head + &body).as_bytes());
        let json = client.reply().json();
        match expected {
            None => assert!(json["error"].is_null(), "{json}"),
            Some(needle) => {
                let message = json["error"]["message"].as_str().unwrap();
                assert!(message.contains(needle), "{model} {key}: {message}");
            }
        }
    };
    check(json!(items), "sim/agent", "k", None);
    let answered = |items: &[Value]| {
        let mut items = items.to_vec();
        items.push(json!({"role": "user", "content": "and?"}));
        json!(items)
    };
    check(answered(&items), "sim/tools", "k", Some("created by another model"));
    check(json!(items), "sim/agent", "other", Some("organization_id did not match"));
    let mut alone = items.clone();
    alone.truncate(2);
    check(json!(alone), "sim/agent", "k", Some("without its required following item"));
}

#[test]
fn kept_calls_need_their_reasoning() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let first = respond(&mut client, ask("sim/agent", json!("x"), json!({"tools": [function("look")]}))).json();
    let (reasoning, call) = (&first["output"][0], &first["output"][1]);
    let output = json!({"type": "function_call_output", "call_id": call["call_id"], "output": "rain"});
    let without = respond(&mut client, ask("sim/agent", json!([{"role": "user", "content": "x"}, call, output]), json!({})));
    assert!(without.json()["error"]["message"].as_str().unwrap().contains("without its required 'reasoning' item"));
    // Kept reasoning needs no encryption, and may come as a reference.
    for thought in [reasoning.clone(), json!({"type": "item_reference", "id": reasoning["id"]})] {
        let with = respond(&mut client, ask("sim/tools", json!([{"role": "user", "content": "x"}, thought, call, output]), json!({})));
        assert_eq!(with.json()["output"][0]["content"][0]["text"], "The tool said: rain");
    }
}

#[test]
fn hidden_tokens_are_delivered_too() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    respond(&mut client, ask("sim/agent", json!("x"), json!({"tools": [function("look")], "stream": true})));
    let record = client.ledger()["records"][0].clone();
    assert_eq!((&record["dialect"], &record["reasoning_tokens"]), (&json!("openai_responses"), &json!(12)));
    assert_eq!((&record["planned_tokens"], &record["completion_tokens"]), (&record["delivered_tokens"], &record["delivered_tokens"]));
    assert!(record["delivered_tokens"].as_u64().unwrap() > 12);
}

#[test]
fn usage_terminal_and_opening_can_be_odd() {
    let simulator = simulator();
    let names = |script: Value| -> Vec<String> {
        let reply = respond(&mut Client::new(&simulator), ask("sim/fast", json!("x"), json!({"stream": true, "sim": script})));
        reply.event_json().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(json!({"terminal": "twice"})).iter().filter(|name| *name == "response.completed").count(), 2);
    assert!(!names(json!({"terminal": "absent"})).contains(&"response.completed".to_owned()));
    assert_eq!(names(json!({"opening": "twice"}))[..3], ["response.created", "response.created", "response.in_progress"]);
    let usage = |report: &str| {
        let reply = respond(&mut Client::new(&simulator), ask("sim/fast", json!("x"), json!({"sim": {"usage": report}})));
        reply.json()["usage"].clone()
    };
    assert_eq!((usage("absent"), &usage("zero")["total_tokens"]), (Value::Null, &json!(0)));
}

#[test]
fn scripts_can_wait() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let mut queue = |body: &str| client.post("/sim/next", body);
    assert_eq!(queue(r#"[{"tokens":1,"token_text":"a"},{"tokens":1,"token_text":"b"}]"#).json(), json!({"queued": 2}));
    assert_eq!(queue(r#"[{"tokns":1}]"#).status, 400);
    let mut said = |more: Value| respond(&mut client, ask("sim/fast", json!("x"), more)).json()["output"][0]["content"][0]["text"].clone();
    assert_eq!(said(json!({})), "a");
    assert_eq!(said(json!({"sim": {"tokens": 1, "token_text": "own"}})), "own");
    assert_eq!(said(json!({})), "b");
    assert!(said(json!({})).as_str().unwrap().starts_with("Lorem"));
}
