//! Bodies that nobody would write: whatever comes, there is an answer, and the simulator lives on.

use crate::client::{Client, simulator};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const PATHS: &[&str] = &[
    "/v1/chat/completions",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/responses",
    "/v1/responses/input_tokens",
    "/v1/completions",
    "/v1/embeddings",
    "/v1beta/models/sim/agent:generateContent",
    "/v1beta/models/sim/agent:streamGenerateContent",
    "/v1beta/models/sim/agent:countTokens",
    "/model/agent/converse",
    "/model/agent/converse-stream",
    "/model/agent/count-tokens",
];

const NAMES: &[&str] = &[
    "content",
    "parts",
    "text",
    "type",
    "role",
    "name",
    "input",
    "arguments",
    "call_id",
    "id",
    "tools",
    "function",
    "functionCall",
    "args",
    "functionResponse",
    "response",
    "toolUse",
    "toolResult",
    "toolUseId",
    "reasoningContent",
    "cachePoint",
    "thinking",
    "signature",
    "data",
    "source",
    "properties",
    "required",
    "items",
    "anyOf",
    "$ref",
    "enum",
    "input_schema",
    "parameters",
    "schema",
    "json_schema",
    "encrypted_content",
];
const TEXTS: &[&str] = &[
    "",
    " ",
    "x",
    "user",
    "assistant",
    "model",
    "system",
    "tool",
    "text",
    "function",
    "object",
    "#",
    "input_text",
    "tool_use",
    "tool_result",
    "thinking",
    "reasoning",
    "function_call",
];

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        proptest::sample::select(TEXTS).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((proptest::sample::select(NAMES), inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())),
        ]
    })
}

/// Bodies of all dialects with something odd at one of the places that are looked into.
fn bodies() -> impl Strategy<Value = Value> {
    let place = proptest::sample::select(
        &[
            "messages",
            "input",
            "contents",
            "tools",
            "system",
            "prompt",
            "response_format",
            "text",
            "toolConfig",
            "generationConfig",
            "thinking",
            "instructions",
            "tool_choice",
        ][..],
    );
    (place, anything(), any::<bool>()).prop_map(|(place, odd, listed)| {
        let odd = if listed { json!([odd]) } else { odd };
        let mut body = json!({"model": "sim/agent-claude-new", "max_tokens": 100, "input": "x"});
        body[place] = odd;
        body
    })
}

proptest! {
    #[test]
    fn there_is_always_an_answer(bodies in proptest::collection::vec(bodies(), 20)) {
        let simulator = simulator();
        let mut client = Client::new(&simulator);
        client.post("/sim/judge", r#"{"on":true}"#);
        for (number, body) in bodies.iter().enumerate() {
            // Every dialect refuses the fields of the others, so each gets its own.
            let path = PATHS[number % PATHS.len()];
            let mut body = body.clone();
            let foreign: &[&str] = match path {
                _ if path.contains(':') || path.starts_with("/model") => &["model", "max_tokens", "input"],
                "/v1/chat/completions" | "/v1/messages" | "/v1/completions" => &["input"],
                "/v1/messages/count_tokens" => &["input", "max_tokens"],
                _ => &["max_tokens"],
            };
            let odd = body.clone();
            for name in foreign {
                body.as_object_mut().unwrap().remove(*name);
            }
            // What is looked into only behind a good conversation gets one.
            let conversation = match path {
                "/v1/chat/completions" | "/v1/messages" | "/v1/messages/count_tokens" => Some(("messages", json!([{"role": "user", "content": "x"}]))),
                _ if path.contains(':') => Some(("contents", json!([{"parts": [{"text": "x"}]}]))),
                _ if path.starts_with("/model") => Some(("messages", json!([{"role": "user", "content": [{"text": "x"}]}]))),
                _ => None,
            };
            if let Some((name, conversation)) = conversation.filter(|(name, _)| odd.get(*name).is_none()) {
                body[name] = conversation;
            }
            let reply = client.post(path, &body.to_string());
            prop_assert!([200, 400, 404].contains(&reply.status), "{path} {body}: {}", reply.status);
        }
    }
}
