//! Gemini through a real socket: what is refused and how, what a signature is good for.

use crate::client::{Client, Reply, simulator};
use fairlead_sim::{Options, Simulator};
use serde_json::{Value, json};

fn generate(client: &mut Client, model: &str, key: &str, body: &Value) -> Reply {
    let body = body.to_string();
    let head = format!(
        "POST /v1beta/models/{model}:generateContent HTTP/1.1\r\nHost: sim\r\nx-goog-api-key: {key}\r\nContent-Type: application/json\r\n\
        Content-Length: {}\r\n\r\n",
        body.len()
    );
    client.send((head + &body).as_bytes());
    client.reply()
}

/// A request that says `x`, with the fields of `more`.
fn with(more: Value) -> Value {
    let mut body = json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn tools(name: &str) -> Value {
    json!([{"functionDeclarations": [{"name": name, "parametersJsonSchema": {"type": "object"}}]}])
}

#[test]
fn what_google_refuses_is_refused() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let mut check = |model: &str, body: Value, needle: &str| {
        let reply = generate(&mut client, model, "k", &body);
        let error = &reply.json()["error"];
        assert_eq!((reply.status, &error["code"], &error["status"]), (400, &json!(400), &json!("INVALID_ARGUMENT")), "{body}: {error}");
        assert!(error["message"].as_str().unwrap().contains(needle), "{body}: {error}");
    };
    let mut plain = |more: Value, needle: &str| check("sim/echo", with(more), needle);
    plain(json!({"messages": []}), "Unknown name \"messages\": Cannot find field.");
    plain(json!({"contents": []}), "contents is not specified");
    plain(json!({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}), "Please use a valid role: user, model.");
    plain(json!({"contents": [{"role": "user", "parts": []}]}), "parts must not be empty");
    plain(json!({"contents": [{"parts": [{}]}]}), "contents[0].parts[0].data: required oneof field 'data'");
    plain(json!({"contents": [{"parts": [{"text": "x", "cacheControl": {}}]}]}), "\"cacheControl\" at 'contents[0].parts[0]'");
    plain(json!({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "???"}}]}]}), "Base64 decoding failed");
    plain(json!({"generationConfig": {"maxTokens": 5}}), "Unknown name \"maxTokens\" at 'generation_config'");
    plain(json!({"generationConfig": {"temperature": 3}}), "[0.0, 2.0]");
    plain(json!({"generationConfig": {"stopSequences": ["a", "b", "c", "d", "e", "f"]}}), "up to 5 stop sequences");
    plain(json!({"generationConfig": {"candidateCount": 9}}), "[1, 8]");
    plain(json!({"generationConfig": {"logprobs": 2}}), "requires response_logprobs");
    plain(json!({"generationConfig": {"responseSchema": {"type": "STRING"}}}), "only supported for response mime type");
    let closed = json!({"responseMimeType": "application/json", "responseSchema": {"type": "OBJECT", "additionalProperties": false}});
    plain(json!({"generationConfig": closed}), "Unknown name \"additionalProperties\"");
    let constant = json!({"responseMimeType": "application/json", "responseJsonSchema": {"const": 1}});
    plain(json!({"generationConfig": constant}), "`const` is not supported");
    let both = json!({"thinkingConfig": {"thinkingBudget": 5, "thinkingLevel": "LOW"}});
    plain(json!({"generationConfig": both}), "only one of thinking budget and thinking level");
    plain(json!({"tools": tools("a b")}), "Invalid function name");
    let empty = json!([{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT", "properties": {}}}]}]);
    plain(json!({"tools": empty}), "should be non-empty for OBJECT type");
    let allowed = json!({"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["f"]}});
    plain(json!({"tools": tools("f"), "toolConfig": allowed}), "mode is ANY");
    let stranger = json!({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["g"]}});
    plain(json!({"tools": tools("f"), "toolConfig": stranger}), "not in the function declarations");
    check("sim/gemma", with(json!({"systemInstruction": {"parts": [{"text": "x"}]}})), "Developer instruction is not enabled");
    check("sim/gemma", with(json!({"tools": tools("f")})), "Function calling is not enabled");
    let level = json!({"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}});
    check("sim/gemini", with(level), "Thinking level is not supported");
    let off = json!({"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}});
    check("sim/gemini-new", with(off), "Budget 0 is invalid");
    let schema_and_tools = json!({"tools": tools("f"), "generationConfig": {"responseMimeType": "application/json"}});
    check("sim/gemini", with(schema_and_tools), "Function calling with a response mime type");
}

#[test]
fn both_spellings_are_read() {
    let simulator = simulator();
    let schema = json!({"type": "OBJECT", "properties": {"snake_name": {"type": "STRING"}}, "property_ordering": ["snake_name"]});
    let body = with(json!({"generation_config": {"response_mime_type": "application/json", "response_schema": schema}}));
    let reply = generate(&mut Client::new(&simulator), "sim/fast", "k", &body).json();
    assert_eq!(reply["candidates"][0]["content"]["parts"][0]["text"], r#"{"snake_name":"example"}"#, "{reply}");
}

fn call(name: &str, signature: &Value) -> Value {
    let mut part = json!({"functionCall": {"name": name, "args": {}}});
    if !signature.is_null() {
        part["thoughtSignature"] = signature.clone();
    }
    part
}

fn result(name: &str) -> Value {
    json!({"functionResponse": {"name": name, "response": {"output": "rain"}}})
}

#[test]
fn calls_and_results_keep_their_order() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let mut check = |turns: &[(&str, Vec<Value>)], needle: &str| {
        let contents: Vec<Value> = turns.iter().map(|(role, parts)| json!({"role": role, "parts": parts})).collect();
        let reply = generate(&mut client, "sim/tools-gemini", "k", &json!({"contents": contents, "tools": tools("f")})).json();
        let message = reply["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(needle) && message.is_empty() == needle.is_empty(), "{contents:?}: {reply}");
    };
    let (user, called) = (("user", vec![json!({"text": "x"})]), ("model", vec![call("f", &Value::Null)]));
    let answered = ("user", vec![result("f")]);
    check(&[user.clone(), called.clone(), answered.clone()], "");
    check(&[user.clone(), called.clone(), answered.clone(), called.clone(), answered.clone()], "");
    check(std::slice::from_ref(&called), "function call turn comes immediately after a user turn");
    check(&[user.clone(), answered.clone()], "function response turn comes immediately after");
    check(&[user.clone(), called.clone(), ("user", vec![result("f"), result("f")])], "number of function response parts is equal");
    check(&[user.clone(), called.clone(), user.clone()], "number of function response parts is equal");
    check(&[user, called, ("user", vec![json!({"functionResponse": {"name": "", "response": {}}})])], "Name cannot be empty");
}

#[test]
fn signatures_are_bound() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let first = generate(&mut client, "sim/tools", "k.1", &with(json!({"tools": tools("f")}))).json();
    let signed = first["candidates"][0]["content"]["parts"][0]["thoughtSignature"].clone();
    assert!(signed.is_string(), "{first}");
    let mut check = |model: &str, key: &str, name: &str, signature: &Value, later: bool, needle: &str| {
        let mut contents = vec![
            json!({"role": "user", "parts": [{"text": "x"}]}),
            json!({"role": "model", "parts": [call(name, signature)]}),
            json!({"role": "user", "parts": [result(name)]}),
        ];
        if later {
            contents.push(json!({"role": "model", "parts": [{"text": "rain"}]}));
            contents.push(json!({"role": "user", "parts": [{"text": "and?"}]}));
        }
        let reply = generate(&mut client, model, key, &json!({"contents": contents, "tools": tools("f")})).json();
        let message = reply["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(needle) && message.is_empty() == needle.is_empty(), "{model} {key} {name}: {reply}");
    };
    check("sim/tools", "k.2", "f", &signed, false, "");
    check("sim/tools", "k.1", "f", &Value::Null, false, "default_api:f` , position 2");
    // An earlier turn may be without.
    check("sim/tools", "k.1", "f", &Value::Null, true, "");
    check("sim/tools", "other", "f", &signed, false, "not valid");
    check("sim/agent", "k.1", "f", &signed, false, "not valid");
    check("sim/tools", "k.1", "g", &signed, false, "not valid");
    check("sim/tools", "k.1", "f", &json!("bm8="), false, "not valid");
    check("sim/tools-gemini", "k.1", "f", &Value::Null, false, "");
    check("sim/tools", "k.1", "f", &json!("context_engineering_is_the_way_to_go"), false, "");
}

#[test]
fn keys_are_asked_for_as_google_does() {
    let simulator = Simulator::start(Options { api_key: Some("right".to_owned()), ..Options::default() }).unwrap();
    let mut client = Client::new(&simulator);
    let mut check = |query: &str, status: u16, reason: &str| {
        let target = format!("/v1/models/sim/echo:generateContent{query}");
        let body = with(json!({})).to_string();
        let length = body.len();
        let head = format!("POST {target} HTTP/1.1\r\nHost: sim\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
        client.send((head + &body).as_bytes());
        let reply = client.reply();
        assert_eq!(reply.status, status, "{query}");
        assert!(reply.text().contains(reason), "{query}: {}", reply.text());
    };
    check("?key=right", 200, "candidates");
    check("?key=wrong", 400, "API_KEY_INVALID");
    check("", 403, "PERMISSION_DENIED");
}

#[test]
fn hidden_thoughts_and_calls_are_delivered_too() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    for query in ["", "?alt=sse"] {
        client.post(&format!("/v1beta/models/sim/agent:streamGenerateContent{query}"), &with(json!({"tools": tools("f")})).to_string());
    }
    for record in client.ledger()["records"].as_array().unwrap() {
        assert_eq!((&record["dialect"], &record["outcome"]), (&json!("gemini_generate"), &json!("complete")));
        assert_eq!((&record["planned_tokens"], &record["reasoning_tokens"]), (&record["delivered_tokens"], &json!(12)));
    }
}

#[test]
fn malformed_calls_have_a_reason_of_their_own() {
    let simulator = simulator();
    let script = json!({"arguments": "{\"broken", "tool_calls": 1});
    let reply = generate(&mut Client::new(&simulator), "sim/tools", "k", &with(json!({"tools": tools("f"), "sim": script}))).json();
    let candidate = &reply["candidates"][0];
    assert_eq!((&candidate["finishReason"], &candidate["content"]["parts"]), (&json!("MALFORMED_FUNCTION_CALL"), &json!([])));
}
