//! Converse through a real socket: what is refused and how, and the frames of its streams.

use crate::client::{Client, Reply, simulator};
use serde_json::{Value, json};

fn converse(client: &mut Client, model: &str, action: &str, body: &Value) -> Reply {
    client.post(&format!("/model/{}/{action}", model.replace('/', "%2F")), &body.to_string())
}

fn user(content: Value) -> Value {
    json!({"role": "user", "content": content})
}

/// A request that says `x`, with the fields of `more`.
fn with(more: Value) -> Value {
    let mut body = json!({"messages": [user(json!([{"text": "x"}]))]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn tools(name: &str) -> Value {
    json!({"tools": [{"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}}]})
}

#[test]
fn what_amazon_refuses_is_refused() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let mut check = |model: &str, body: Value, needle: &str| {
        let reply = converse(&mut client, model, "converse", &body);
        let kind = reply.header("x-amzn-errortype").unwrap_or_default().to_owned();
        let json = reply.json();
        assert!(reply.status == 400 && kind.starts_with("ValidationException:http"), "{body}: {json}");
        assert!(json["message"].as_str().unwrap().contains(needle), "{body}: {json}");
    };
    let mut plain = |more: Value, needle: &str| check("sim/echo", with(more), needle);
    plain(json!({"max_tokens": 5}), "extraneous key [max_tokens] is not permitted");
    plain(json!({"messages": []}), "must contain at least one message");
    plain(json!({"messages": [{"role": "assistant", "content": [{"text": "x"}]}]}), "must start with a user message");
    plain(json!({"messages": [user(json!([{"text": "x"}])), user(json!([{"text": "y"}]))]}), "must alternate between user and assistant");
    plain(
        json!({"messages": [{"role": "tool", "content": []}]}),
        "'messages.1.member.role' failed to satisfy constraint: Member must satisfy enum",
    );
    plain(json!({"messages": [user(json!([]))]}), "messages.0 is empty");
    plain(json!({"messages": [user(json!([{"text": " "}]))]}), "messages.0.content.0 is blank");
    plain(
        json!({"messages": [user(json!([{"text": "x", "image": {"format": "png", "source": {"bytes": "eA=="}}}]))]}),
        "exactly one of its members",
    );
    plain(json!({"inferenceConfig": {"maxTokens": 0}}), "greater than or equal to 1");
    plain(json!({"inferenceConfig": {"temperature": 1.5}}), "less than or equal to 1");
    plain(json!({"inferenceConfig": {"topK": 5}}), "extraneous key [topK]");
    plain(json!({"additionalModelRequestFields": {"seed": 5}}), "seed: Extra inputs are not permitted");
    plain(json!({"toolConfig": {"tools": []}}), "length greater than or equal to 1");
    plain(json!({"toolConfig": tools("a b")}), "regular expression pattern");
    plain(json!({"toolConfig": tools(&"x".repeat(65))}), "less than or equal to 64");
    let list = json!({"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "array"}}}}]});
    plain(json!({"toolConfig": list}), "inputSchema.json.type must be one of the following: object");
    let stranger = json!({"tools": tools("f")["tools"], "toolChoice": {"tool": {"name": "g"}}});
    plain(json!({"toolConfig": stranger}), "not defined in toolConfig");
    let document = |name: &str| json!({"document": {"format": "pdf", "name": name, "source": {"bytes": "eA=="}}});
    plain(json!({"messages": [user(json!([{"text": "x"}, document("a.pdf")]))]}), "can only contain alphanumeric");
    plain(json!({"messages": [user(json!([{"text": "x"}, document("a"), document("a")]))]}), "must be unique");
    plain(json!({"messages": [user(json!([document("a")]))]}), "a document needs one beside it");
    let point = json!({"cachePoint": {"type": "default"}});
    let marked: Vec<Value> = (0..5).flat_map(|_| [json!({"text": "x"}), point.clone()]).collect();
    plain(json!({"messages": [user(json!(marked))]}), "maximum of 4 blocks");
    let open = json!({"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": "{\"type\":\"object\"}"}}}});
    plain(json!({"outputConfig": open}), "'additionalProperties' must be explicitly set to false");
    check("sim/claude-new", with(json!({"inferenceConfig": {"temperature": 0.5}})), "`temperature` is not supported");
    let forced = json!({"tools": tools("f")["tools"], "toolChoice": {"any": {}}});
    check("sim/claude-new", with(json!({"toolConfig": forced})), "forced tool use is not supported");
    let prefill = json!([user(json!([{"text": "x"}])), {"role": "assistant", "content": [{"text": "y"}]}]);
    check("sim/claude-new", json!({"messages": prefill}), "prefill");
}

#[test]
fn calls_and_results_belong_together() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let call = |id: &str| json!({"role": "assistant", "content": [{"toolUse": {"toolUseId": id, "name": "f", "input": {}}}]});
    let result = |ids: &[&str]| {
        let blocks: Vec<Value> = ids.iter().map(|id| json!({"toolResult": {"toolUseId": id, "content": [{"text": "rain"}]}})).collect();
        user(json!(blocks))
    };
    let mut check = |messages: Vec<Value>, config: bool, needle: &str| {
        let mut body = json!({"messages": messages});
        if config {
            body["toolConfig"] = tools("f");
        }
        let reply = converse(&mut client, "sim/tools", "converse", &body).json();
        let message = reply["message"].as_str().unwrap_or_default();
        assert!(message.contains(needle) && message.is_empty() == needle.is_empty(), "{body}: {reply}");
    };
    let first = || user(json!([{"text": "x"}]));
    check(vec![first(), call("a"), result(&["a"])], true, "");
    check(vec![first(), call("a"), result(&["a"])], false, "toolConfig field must be defined");
    check(vec![first(), call("a"), result(&["b"])], true, "Expected toolResult blocks at messages.2.content for the following Ids: a");
    check(vec![first(), call("a"), result(&["a", "b"])], true, "exceeds the number of toolUse blocks");
    check(vec![first(), call("a"), first()], true, "Expected toolResult blocks");
    check(vec![first(), call(&"a".repeat(65)), result(&[&"a".repeat(65)])], true, "between 1 and 64");
    check(vec![first(), call("a b"), result(&["a b"])], true, "regular expression pattern");
}

/// The messages of Amazon's framing: names, payloads. Written apart from the crate's own, so that it can disagree.
fn messages(mut bytes: &[u8]) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let (total, headers) = (number(0) as usize, number(4) as usize);
        assert_eq!(crc32(&bytes[..8]), number(8));
        assert_eq!(crc32(&bytes[..total - 4]), number(total - 4));
        let mut name = String::new();
        let mut at = 12;
        while at < 12 + headers {
            let key_bytes = bytes[at] as usize;
            let key = std::str::from_utf8(&bytes[at + 1..at + 1 + key_bytes]).unwrap();
            at += 1 + key_bytes;
            assert_eq!(bytes[at], 7, "only texts are sent");
            let value_bytes = usize::from(u16::from_be_bytes([bytes[at + 1], bytes[at + 2]]));
            let value = std::str::from_utf8(&bytes[at + 3..at + 3 + value_bytes]).unwrap();
            at += 3 + value_bytes;
            if key.ends_with("-type") && [":event-type", ":exception-type"].contains(&key) {
                name = value.to_owned();
            }
        }
        found.push((name, serde_json::from_slice(&bytes[at..total - 4]).unwrap()));
        bytes = &bytes[total..];
    }
    found
}

/// Bit by bit, so that it shares nothing with the crate's.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |value: u32, _| if value & 1 == 1 { (value >> 1) ^ 0xEDB8_8320 } else { value >> 1 };
    !bytes.iter().fold(u32::MAX, |value, &byte| (0..8).fold(value ^ u32::from(byte), step))
}

#[test]
fn streams_are_framed() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let reply = converse(&mut client, "sim/tools", "converse-stream", &with(json!({"toolConfig": tools("f")})));
    assert_eq!(reply.header("content-type"), Some("application/vnd.amazon.eventstream"));
    let events = messages(&reply.body);
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"]);
    // No arguments are empty text.
    assert_eq!(events[2].1["delta"], json!({"toolUse": {"input": ""}}));
    let record = client.ledger()["records"][0].clone();
    assert_eq!(record["reply_id"], reply.header("x-amzn-requestid").unwrap());
    assert_eq!((&record["dialect"], &record["delivered_tokens"]), (&json!("bedrock_converse"), &record["planned_tokens"]));
}

#[test]
fn scripts_are_framed_too() {
    let simulator = simulator();
    let script = json!({"reply_frames": ["messageStart {\"role\":\"assistant\"}", "throttlingException {\"message\":\"slow\"}"],
        "extra_frames": ["odd {}"]});
    let body = with(json!({"additionalModelRequestFields": {"sim": script}}));
    let events = messages(&converse(&mut Client::new(&simulator), "sim/fast", "converse-stream", &body).body);
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["messageStart", "odd", "throttlingException"]);
}

#[test]
fn prefixes_are_bound() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let settings = |messages: Value, system: &str| {
        let additional = json!({"thinking": {"type": "adaptive"}});
        json!({"messages": messages, "system": [{"text": system}], "toolConfig": tools("f"), "additionalModelRequestFields": additional})
    };
    let first = user(json!([{"text": "x"}]));
    let said = converse(&mut client, "sim/claude-new", "converse", &settings(json!([first]), "one")).json()["output"]["message"].clone();
    let id = &said["content"][1]["toolUse"]["toolUseId"];
    let result = user(json!([{"toolResult": {"toolUseId": id, "content": [{"text": "rain"}]}}]));
    let mut check = |messages: Value, system: &str, needle: &str| {
        let reply = converse(&mut client, "sim/claude-new", "converse", &settings(messages, system)).json();
        let message = reply["message"].as_str().unwrap_or_default();
        assert!(message.contains(needle) && message.is_empty() == needle.is_empty(), "{system}: {reply}");
    };
    check(json!([first, said, result]), "one", "");
    check(json!([first, said, result]), "two", "bound to the content that precedes them");
    // A cache point is no change.
    let marked = user(json!([{"text": "x"}, {"cachePoint": {"type": "default"}}]));
    check(json!([marked, said, result]), "one", "");
}
