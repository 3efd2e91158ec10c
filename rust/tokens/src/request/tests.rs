use fairlead_ir::Dialect;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{RequestCount, count_request};
use crate::counter::Counter;

fn counted(dialect: Dialect, model: &str, body: &Value) -> RequestCount {
    count_request(body.to_string().as_bytes(), dialect, Some(model)).unwrap_or_default()
}

fn check(dialect: Dialect, model: &str, body: &Value, total: u64) {
    assert_eq!(counted(dialect, model, body).total(), total, "{model} {body}");
}

fn jargon() -> Value {
    let message = |role: &str, name: Option<&str>, content: &str| match name {
        Some(name) => json!({"role": role, "name": name, "content": content}),
        None => json!({"role": role, "content": content}),
    };
    json!({"messages": [
        message("system", None, "You are a helpful, pattern-following assistant that translates corporate jargon into plain English."),
        message("system", Some("example_user"), "New synergies will help drive top-line growth."),
        message("system", Some("example_assistant"), "Things working well together will increase revenue."),
        message("system", Some("example_user"), "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage."),
        message("system", Some("example_assistant"), "Let's talk later when we're less busy about how to do better."),
        message("user", None, "This late pivot means we don't have time to boil the ocean for the client deliverable."),
    ]})
}

fn weather() -> Value {
    json!({
        "name": "get_current_weather",
        "description": "Get the current weather in a given location",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
                "unit": {"type": "string", "description": "The unit of temperature to return", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["location"],
        },
    })
}

/// A 640 by 480 PNG, as far as it is looked at.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAoAAAAHgCAIAAAA=";

#[test]
fn openais_examples_count_as_its_api_counts_them() {
    check(Dialect::OpenaiChat, "gpt-4", &jargon(), 129);
    check(Dialect::OpenaiChat, "gpt-4o", &jargon(), 124);
    let asked = json!({
        "messages": [
            {"role": "system", "content": "You are a helpful assistant that can answer to questions about the weather."},
            {"role": "user", "content": "What's the weather like in San Francisco?"},
        ],
        "tools": [{"type": "function", "function": weather()}],
    });
    check(Dialect::OpenaiChat, "gpt-4", &asked, 105);
    check(Dialect::OpenaiChat, "gpt-4o-mini", &asked, 101);
}

#[test]
fn anthropics_example_is_near() {
    let example = json!({"system": "You are a scientist", "messages": [{"role": "user", "content": "Hello, Claude"}]});
    let count = counted(Dialect::AnthropicMessages, "claude-opus-4-6", &example);
    assert!((13..=16).contains(&count.total()), "{count:?}; Anthropic says 14");
    let asked = json!({
        "tools": [{"name": "get_weather", "description": "Get the current weather in a given location", "input_schema": {
            "type": "object",
            "properties": {"location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}},
            "required": ["location"],
        }}],
        "messages": [{"role": "user", "content": "What's the weather like in San Francisco?"}],
    });
    let count = counted(Dialect::AnthropicMessages, "claude-opus-4-6", &asked);
    assert!((385..=425).contains(&count.total()), "{count:?}; Anthropic says 403");
}

/// The same conversation in every dialect, for one model: what is text is the same, whatever frames it.
#[test]
fn every_dialect_has_the_same_texts() {
    let (system, question, call, result, answer) =
        ("Be brief.", "What is the weather in Paris?", r#"{"city":"Paris"}"#, "18 degrees", "It is 18 degrees.");
    let arguments: Value = json!({"city": "Paris"});
    let bodies = [
        (
            Dialect::OpenaiChat,
            json!({"messages": [
                {"role": "system", "content": system},
                {"role": "user", "content": [{"type": "text", "text": question}, {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PNG}")}}]},
                {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": call}}]},
                {"role": "tool", "tool_call_id": "c1", "content": result},
                {"role": "assistant", "content": answer},
            ]}),
            ["system", "user", "assistant", "tool", "assistant"].as_slice(),
        ),
        (
            Dialect::OpenaiResponses,
            json!({"instructions": system, "input": [
                {"role": "user", "content": [{"type": "input_text", "text": question}, {"type": "input_image", "image_url": format!("data:image/png;base64,{PNG}")}]},
                {"type": "reasoning", "summary": [], "encrypted_content": "x".repeat(1000)},
                {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": call},
                {"type": "function_call_output", "call_id": "c1", "output": result},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": answer}]},
            ]}),
            &["system", "user", "tool", "assistant"],
        ),
        (
            Dialect::AnthropicMessages,
            json!({"system": [{"type": "text", "text": system}], "messages": [
                {"role": "user", "content": [{"type": "text", "text": question}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}]},
                {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}, {"type": "tool_use", "id": "t1", "name": "weather", "input": arguments}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": result}]},
                {"role": "assistant", "content": answer},
            ]}),
            &[],
        ),
        (
            Dialect::BedrockConverse,
            json!({"system": [{"text": system}, {"cachePoint": {"type": "default"}}], "messages": [
                {"role": "user", "content": [{"text": question}, {"image": {"format": "png", "source": {"bytes": PNG}}}]},
                {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t1", "name": "weather", "input": arguments}}]},
                {"role": "user", "content": [{"toolResult": {"toolUseId": "t1", "content": [{"text": result}]}}]},
                {"role": "assistant", "content": [{"text": answer}]},
            ]}),
            &[],
        ),
    ];
    for model in ["gpt-4o", "claude-sonnet-4.5", "acme/fast"] {
        let counter = Counter::for_model(model);
        for (dialect, body, roles) in &bodies {
            let expected: u64 =
                [system, question, "weather", call, result, answer].iter().chain(*roles).map(|text| counter.count(text)).sum();
            let count = counted(*dialect, model, body);
            assert_eq!(count.text, expected, "{dialect:?} {model}");
            assert!(count.overhead >= 10 && count.tools == 0, "{dialect:?} {model} {count:?}");
            assert_eq!(count.media, counted(Dialect::OpenaiChat, model, &bodies[0].1).media, "{dialect:?} {model}");
        }
    }
}

#[test]
fn geminis_parts_are_counted_in_either_spelling() {
    let camel = json!({
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Hi"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "x"}, {}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "f"}]}],
        "generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_LOW"},
    });
    let snake = json!({
        "system_instruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Hi"}, {"inline_data": {"mime_type": "image/png", "data": PNG}}]},
            {"role": "model", "parts": [{"function_call": {"name": "f", "args": {}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "f"}]}],
        "generation_config": {"mediaResolution": "MEDIA_RESOLUTION_LOW"},
    });
    let count = counted(Dialect::GeminiGenerate, "gemini-3.1-pro", &camel);
    assert_eq!(count, counted(Dialect::GeminiGenerate, "gemini-3.1-pro", &snake));
    assert_eq!(count, counted(Dialect::GeminiGenerate, "gemini-3.1-pro", &json!({"generateContentRequest": camel})));
    assert_eq!((count.media, count.overhead), (280, 2));
    assert!(count.text > 5 && count.tools > 5);
}

#[test]
fn media_are_counted_by_what_they_are() {
    let media =
        |model: &str, part: Value| counted(Dialect::OpenaiChat, model, &json!({"messages": [{"role": "user", "content": [part]}]})).media;
    let image = |detail: &str| json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PNG}"), "detail": detail}});
    assert_eq!(media("gpt-4o", image("low")), 85);
    assert_eq!(media("gpt-4o", image("high")), 85 + 2 * 170);
    assert_eq!(media("gpt-4o", json!({"type": "image_url", "image_url": "https://example.com/a.png"})), 765);
    assert_eq!(media("gpt-audio", json!({"type": "input_audio", "input_audio": {"format": "mp3", "data": "A".repeat(64_000)}})), 30);
    assert_eq!(
        media("gpt-4o", json!({"type": "file", "file": {"file_data": format!("data:application/pdf;base64,{}", "A".repeat(80_000))}})),
        6000
    );
    assert_eq!(media("gpt-4o", json!({"type": "file", "file": {"file_id": "file-1"}})), 3000);
    // A text in a file is text.
    let note = json!({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": "data:text/plain;base64,SGVsbG8gd29ybGQ="}}]}]});
    let count = counted(Dialect::OpenaiChat, "gpt-4o", &note);
    assert_eq!((count.text, count.media), (3, 0));
    let film = json!({"contents": [{"parts": [{"inlineData": {"mimeType": "video/mp4", "data": "A".repeat(500_000)}}]}]});
    assert_eq!(counted(Dialect::GeminiGenerate, "gemini-2.5-pro", &film).media, 3 * 263);
}

#[test]
fn definitions_within_definitions_count() {
    let with = |parameters: Value| {
        let body =
            json!({"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function", "name": "f", "parameters": parameters}]});
        counted(Dialect::OpenaiResponses, "gpt-5", &json!({"input": "x", "tools": body["tools"]})).tools
    };
    let flat = with(json!({"properties": {"a": {"type": "string"}}}));
    let nested = with(json!({"properties": {"a": {"type": "object", "properties": {"b": {"type": "string"}}}}}));
    let listed = with(json!({"properties": {"a": {"type": "array", "items": {"properties": {"b": {"type": ["string", "null"]}}}}}}));
    let either = with(json!({"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}));
    let stopped = with(json!({"properties": {"a": {"type": "string", "description": "A city."}}}));
    assert_eq!(stopped, with(json!({"properties": {"a": {"type": "string", "description": "A city"}}})));
    assert!(with(json!({})) < flat && flat < nested && nested < listed && flat < either);
    // However deep.
    let mut deep = json!({"type": "string"});
    for _ in 0..60 {
        deep = json!({"type": "object", "properties": {"a": deep}});
    }
    assert!(with(deep) > 100);
}

#[test]
fn mistakes_are_named_with_their_place() {
    let check = |dialect: Dialect, body: &str, error: &str| {
        assert_eq!(count_request(body.as_bytes(), dialect, None).map_err(|found| found.to_string()), Err(error.to_owned()), "{body}");
    };
    check(Dialect::OpenaiChat, "{", "the body is no JSON: EOF while parsing an object at line 1 column 1");
    check(Dialect::OpenaiChat, "[]", "the body must be an object");
    check(Dialect::OpenaiChat, "{}", "messages: must have messages");
    check(Dialect::AnthropicMessages, r#"{"messages":{}}"#, "messages: must be an array");
    check(Dialect::OpenaiChat, r#"{"messages":[{"role":"user"},7]}"#, "messages[1]: must be an object");
    check(Dialect::OpenaiChat, r#"{"messages":[{"role":"user","content":7}]}"#, "messages[0].content: must be a string or an array");
    check(Dialect::OpenaiChat, r#"{"messages":[{"content":[{"type":"text","text":7}]}]}"#, "messages[0].content[0].text: must be a string");
    check(Dialect::OpenaiResponses, r#"{"input":[{"type":"function_call","name":[]}]}"#, "input[0].name: must be a string");
    check(Dialect::GeminiGenerate, r#"{"contents":[{"parts":"x"}]}"#, "contents[0].parts: must be an array");
    check(Dialect::GeminiGenerate, r#"{"contents":{"parts":"x"}}"#, "contents.parts: must be an array");
    check(Dialect::GeminiGenerate, r#"{"contents":[]}"#, "contents: must have contents");
    let inside = r#"{"generateContentRequest":{"contents":[{"parts":[{"inlineData":{"data":7}}]}]}}"#;
    check(Dialect::GeminiGenerate, inside, "generateContentRequest.contents[0].parts[0].data: must be a string");
    check(Dialect::GeminiGenerate, r#"{"generateContentRequest":[]}"#, "generateContentRequest: must be an object");
    check(
        Dialect::BedrockConverse,
        r#"{"messages":[{"content":[{"text":1}]}],"toolConfig":{}}"#,
        "messages[0].content[0].text: must be a string",
    );
    check(Dialect::BedrockConverse, r#"{"messages":[{}],"toolConfig":{"tools":3}}"#, "toolConfig.tools: must be an array");
}

#[test]
fn a_request_inside_a_request_counts_as_itself() {
    let request =
        json!({"contents": [{"role": "user", "parts": [{"text": "Hello world"}]}], "systemInstruction": {"parts": [{"text": "Be brief"}]}});
    let alone = counted(Dialect::GeminiGenerate, "gemini-2.5-pro", &request);
    assert!(alone.total() > 3);
    for name in ["generateContentRequest", "generate_content_request"] {
        assert_eq!(counted(Dialect::GeminiGenerate, "gemini-2.5-pro", &json!({name: request})), alone, "{name}");
    }
    let lone =
        json!({"contents": {"role": "user", "parts": {"text": "Hello world"}}, "systemInstruction": {"parts": {"text": "Be brief"}}});
    assert_eq!(counted(Dialect::GeminiGenerate, "gemini-2.5-pro", &lone), alone);
}

#[test]
fn the_body_names_the_model_unless_the_caller_does() {
    let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"नमस्ते दुनिया"}]}"#.as_bytes();
    let own = count_request(body, Dialect::OpenaiChat, None);
    assert_eq!(own, count_request(body, Dialect::OpenaiChat, Some("gpt-5")));
    assert_ne!(own, count_request(body, Dialect::OpenaiChat, Some("gpt-4")));
}

fn any_json() -> impl Strategy<Value = Value> {
    let keys = "messages|content|role|name|type|text|source|data|parts|contents|input|tools|function|parameters|properties|items|toolUse|image|url";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "text|image|tool_use|tool_result|function|image_url|base64|[a-z ]{0,9}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys, inner), 0..5).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_body_is_counted_or_refused(value in any_json(), bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        for dialect in Dialect::ALL {
            for body in [value.to_string().into_bytes(), json!({"messages": [value], "contents": [value], "input": [value]}).to_string().into_bytes(), bytes.clone()] {
                if let Err(error) = count_request(&body, dialect, Some("claude-opus-5")) {
                    prop_assert!(!error.reason.is_empty());
                }
            }
        }
    }
}
