#![expect(clippy::unwrap_used, reason = "tests")]

use fairlead_ir::Manner;
use proptest::prelude::{any, proptest};
use serde_json::{Value, json};

use super::*;
use crate::identity::Identity;
use crate::request::{Address, RequestScan};
use crate::tap::{Action, Tap};

const DIALECTS: [Dialect; 5] =
    [Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::AnthropicMessages, Dialect::GeminiGenerate, Dialect::BedrockConverse];

/// What a client offers, in its dialect; Converse is spoken with providers only, so there the client speaks chat.
fn offer_of(dialect: Dialect, tools: &[(&str, Option<Value>)], others: &[Value]) -> Option<Arc<Offer>> {
    let function = |(name, schema): &(&str, Option<Value>)| {
        let (mut tool, place) = match dialect {
            Dialect::AnthropicMessages => (json!({"name": name}), "input_schema"),
            Dialect::OpenaiResponses => (json!({"type": "function", "name": name}), "parameters"),
            _ => (json!({"name": name}), "parameters"),
        };
        if let Some(schema) = schema {
            tool[place] = schema.clone();
        }
        tool
    };
    let functions = tools.iter().map(function);
    let others = others.iter().cloned();
    let body = match dialect {
        Dialect::OpenaiResponses => json!({"model": "m", "input": "x", "tools": functions.chain(others).collect::<Vec<_>>()}),
        Dialect::AnthropicMessages => {
            json!({"model": "m", "max_tokens": 9, "messages": [], "tools": functions.chain(others).collect::<Vec<_>>()})
        }
        Dialect::GeminiGenerate => {
            json!({"contents": [], "tools": [{"functionDeclarations": functions.chain(others).collect::<Vec<_>>()}]})
        }
        Dialect::OpenaiChat | Dialect::BedrockConverse => {
            let wrapped = functions.map(|function| json!({"type": "function", "function": function}));
            json!({"model": "m", "messages": [], "tools": wrapped.chain(others).collect::<Vec<_>>()})
        }
    };
    let body = body.to_string();
    // Cut somewhere among the tools.
    let frames = [&body.as_bytes()[..body.len() / 2], &body.as_bytes()[body.len() / 2..]];
    let mut scan = match dialect {
        Dialect::GeminiGenerate => RequestScan::addressed(dialect, 64, Address { model: "m".to_owned(), stream: false }),
        Dialect::BedrockConverse => RequestScan::new(Dialect::OpenaiChat, 64),
        dialect => RequestScan::new(dialect, 64),
    };
    frames.iter().for_each(|frame| scan.feed(frame).unwrap());
    Offer::keep(&scan.finish(&frames).unwrap(), &frames)
}

/// A whole reply with these calls. `None` where the dialect cannot say them: arguments that are no JSON.
fn reply(dialect: Dialect, calls: &[(&str, &str)]) -> Option<Value> {
    let value = |arguments: &str| serde_json::from_str::<Value>(if arguments.is_empty() { "{}" } else { arguments }).ok();
    let each = |make: &dyn Fn(&str, &str) -> Option<Value>| {
        calls.iter().map(|(name, arguments)| make(name, arguments)).collect::<Option<Vec<_>>>()
    };
    Some(match dialect {
        Dialect::OpenaiChat => {
            let calls =
                each(&|name, arguments| Some(json!({"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}})))?;
            json!({"choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": "Let me", "tool_calls": calls}}]})
        }
        Dialect::OpenaiResponses => {
            let output = each(&|name, arguments| {
                Some(json!({"type": "function_call", "id": "i", "call_id": "c", "name": name, "arguments": arguments}))
            })?;
            json!({"id": "r", "object": "response", "status": "completed", "model": "m", "output": output})
        }
        Dialect::AnthropicMessages => {
            let content = each(&|name, arguments| Some(json!({"type": "tool_use", "id": "c", "name": name, "input": value(arguments)?})))?;
            json!({"id": "r", "type": "message", "role": "assistant", "model": "m", "content": content, "stop_reason": "tool_use"})
        }
        Dialect::GeminiGenerate => {
            let parts = each(&|name, arguments| Some(json!({"functionCall": {"name": name, "args": value(arguments)?}})))?;
            json!({"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}]})
        }
        Dialect::BedrockConverse => {
            let content = each(&|name, arguments| Some(json!({"toolUse": {"toolUseId": "c", "name": name, "input": value(arguments)?}})))?;
            json!({"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "tool_use"})
        }
    })
}

/// The same as the events of a stream: names and data.
fn stream(dialect: Dialect, calls: &[(&str, &str)]) -> Option<Vec<(Option<&'static str>, Value)>> {
    let mut events = Vec::new();
    let halves = |arguments: &str| {
        let half = arguments.len() / 2;
        [arguments[..half].to_owned(), arguments[half..].to_owned()]
    };
    match dialect {
        Dialect::OpenaiChat => {
            let chunk = |delta: Value| (None, json!({"id": "r", "choices": [{"index": 0, "delta": delta}]}));
            events.push(chunk(json!({"role": "assistant", "content": "Let me", "tool_calls": []})));
            for (index, (name, arguments)) in calls.iter().enumerate() {
                let begin =
                    json!({"index": index, "id": format!("c{index}"), "type": "function", "function": {"name": name, "arguments": ""}});
                events.push(chunk(json!({"tool_calls": [begin]})));
                for piece in halves(arguments) {
                    events.push(chunk(json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})));
                }
            }
            events.push((None, json!({"id": "r", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})));
        }
        Dialect::OpenaiResponses => {
            for (index, (name, arguments)) in calls.iter().enumerate() {
                let item = |arguments: &str| json!({"type": "function_call", "id": "i", "call_id": format!("c{index}"), "name": name, "arguments": arguments});
                let event = |name: &'static str, more: Value| {
                    let mut event = json!({"type": name, "output_index": index});
                    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                    (Some(name), event)
                };
                events.push(event("response.output_item.added", json!({"item": item("")})));
                for piece in halves(arguments) {
                    events.push(event("response.function_call_arguments.delta", json!({"delta": piece})));
                }
                events.push(event("response.function_call_arguments.done", json!({"arguments": arguments})));
                events.push(event("response.output_item.done", json!({"item": item(arguments)})));
            }
            events.push((Some("response.completed"), json!({"type": "response.completed", "response": reply(dialect, calls)?})));
        }
        Dialect::AnthropicMessages => {
            for (index, (name, arguments)) in calls.iter().enumerate() {
                let block = json!({"type": "tool_use", "id": format!("c{index}"), "name": name, "input": {}});
                events.push((Some("content_block_start"), json!({"type": "content_block_start", "index": index, "content_block": block})));
                for piece in halves(arguments) {
                    let delta = json!({"type": "input_json_delta", "partial_json": piece});
                    events.push((Some("content_block_delta"), json!({"type": "content_block_delta", "index": index, "delta": delta})));
                }
                events.push((Some("content_block_stop"), json!({"type": "content_block_stop", "index": index})));
            }
            events.push((Some("message_delta"), json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}})));
            events.push((Some("message_stop"), json!({"type": "message_stop"})));
        }
        Dialect::GeminiGenerate => {
            for call in calls {
                events.push((None, reply(dialect, &[*call])?));
            }
        }
        Dialect::BedrockConverse => {
            for (index, (name, arguments)) in calls.iter().enumerate() {
                let start = json!({"toolUse": {"toolUseId": format!("c{index}"), "name": name}});
                events.push((Some("contentBlockStart"), json!({"contentBlockIndex": index, "start": start})));
                for piece in halves(arguments) {
                    let delta = json!({"toolUse": {"input": piece}});
                    events.push((Some("contentBlockDelta"), json!({"contentBlockIndex": index, "delta": delta})));
                }
                events.push((Some("contentBlockStop"), json!({"contentBlockIndex": index})));
            }
            events.push((Some("messageStop"), json!({"stopReason": "tool_use"})));
        }
    }
    Some(events)
}

/// Judges the calls whichever way they come: whole and streamed, unread and read by a translator.
fn check(dialect: Dialect, offer: &Arc<Offer>, calls: &[(&str, &str)], expected: Option<bool>) {
    let bridge = Arc::new(Bridge::default());
    if let Some(reply) = reply(dialect, calls) {
        let body = reply.to_string();
        if dialect != Dialect::BedrockConverse {
            assert_eq!(offer.judge_body(dialect, body.as_bytes()), expected, "{dialect:?} whole {calls:?}");
        }
        let read = dialects::decode_response(dialect, body.as_bytes(), &Traits::NONE).unwrap();
        assert_eq!(offer.judge_reply(&read, Some(&bridge)), expected, "{dialect:?} read {calls:?}");
    }
    let Some(events) = stream(dialect, calls) else { return };
    let (mut passing, mut read) = (Watch::new(offer.clone(), None), Watch::new(offer.clone(), Some(bridge)));
    let mut decoder = StreamDecoder::new(dialect, Traits::NONE);
    for (name, data) in events {
        let (name, data) = (name.map(str::as_bytes), data.to_string());
        passing.read(dialect, name, data.as_bytes());
        decoder.event(name, data.as_bytes(), &mut |event| read.event(&event)).unwrap();
    }
    decoder.finish(&mut |event| read.event(&event));
    assert_eq!(passing.verdict(), expected, "{dialect:?} stream {calls:?}");
    assert_eq!(read.verdict(), expected, "{dialect:?} stream, read {calls:?}");
}

fn weather() -> Value {
    json!({
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "unit": {"type": "string", "enum": ["c", "f"]},
            "place": {"type": "object", "properties": {"zip": {"type": "string"}}, "required": ["zip"]},
            "hours": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["city"],
    })
}

#[test]
fn calls_are_judged_alike_in_every_dialect() {
    for dialect in DIALECTS {
        let offer = offer_of(dialect, &[("weather", Some(weather())), ("now", None)], &[]).unwrap();
        for (name, arguments, expected) in [
            ("weather", r#"{"city":"Rome"}"#, Some(true)),
            ("weather", r#"{"city":"R\u00f6m \"x\"","days":3,"unit":"c","place":{"zip":"1"},"hours":[1,2]}"#, Some(true)),
            ("weather", r#"{"ci\u0074y":"Rome","more":1}"#, Some(true)),
            ("whether", r#"{"city":"Rome"}"#, Some(false)),
            ("weather", r#"{"city":"Rome""#, Some(false)),
            ("weather", r"I do not know", Some(false)),
            ("weather", r#"{"city":"Rome"} and more"#, Some(false)),
            ("weather", r"{}", Some(false)),
            ("weather", r"", Some(false)),
            ("weather", r#"{"days":3}"#, Some(false)),
            ("weather", r#"{"city":7}"#, Some(false)),
            ("weather", r#"{"city":"Rome","days":"3"}"#, Some(false)),
            ("weather", r#"{"city":"Rome","days":1.5}"#, Some(false)),
            ("weather", r#"{"city":"Rome","unit":"k"}"#, Some(false)),
            ("weather", r#"{"city":"Rome","place":{}}"#, Some(false)),
            ("weather", r#"{"city":"Rome","hours":[1,"2"]}"#, Some(false)),
            ("now", r"{}", Some(true)),
            ("now", r"", Some(true)),
            ("now", r#"{"zone":"utc"}"#, Some(true)),
        ] {
            check(dialect, &offer, &[(name, arguments)], expected);
        }
        check(dialect, &offer, &[("now", "{}"), ("weather", r#"{"city":"Rome"}"#)], Some(true));
        check(dialect, &offer, &[("now", "{}"), ("weather", r#"{"city":1}"#)], Some(false));
        check(dialect, &offer, &[], None);
    }
}

#[test]
fn arguments_must_be_an_object() {
    for dialect in [Dialect::OpenaiChat, Dialect::OpenaiResponses] {
        let offer = offer_of(dialect, &[("now", None)], &[]).unwrap();
        for arguments in ["7", r#""text""#, "[]", "null"] {
            check(dialect, &offer, &[("now", arguments)], Some(false));
        }
    }
}

#[test]
fn what_is_too_large_is_not_judged() {
    let long = "x".repeat(MOST_BYTES);
    for dialect in DIALECTS {
        let described = json!({"type": "object", "description": long});
        assert!(offer_of(dialect, &[("now", Some(described))], &[]).is_none());
        assert!(dialect == Dialect::GeminiGenerate || offer_of(dialect, &[], &[]).is_none(), "{dialect:?}: no tools");
        let offer = offer_of(dialect, &[("now", None)], &[]).unwrap();
        check(dialect, &offer, &[("now", &json!({"zone": long}).to_string())], None);
        let many: Vec<(&str, &str)> = std::iter::repeat_n(("now", "{}"), MOST_CALLS + 1).collect();
        check(dialect, &offer, &many, None);
    }
}

#[test]
fn tools_of_other_kinds() {
    let offer = offer_of(Dialect::OpenaiResponses, &[("now", None)], &[json!({"type": "custom", "name": "patch"})]).unwrap();
    let body =
        json!({"output": [{"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "*** Begin"}], "status": "completed"});
    assert_eq!(offer.judge_body(Dialect::OpenaiResponses, body.to_string().as_bytes()), Some(true));
    // The provider's own tools may bring names along.
    let hosted = json!({"type": "bash_20250124", "name": "bash"});
    let offer = offer_of(Dialect::AnthropicMessages, &[("now", None)], &[hosted]).unwrap();
    check(Dialect::AnthropicMessages, &offer, &[("bash", r#"{"command":"ls"}"#)], Some(true));
    check(Dialect::AnthropicMessages, &offer, &[("elsewhere", "{}")], None);
    check(Dialect::AnthropicMessages, &offer, &[("elsewhere", "{}"), ("now", "{")], Some(false));
}

#[test]
fn names_come_back_as_they_were_given() {
    let offer = offer_of(Dialect::OpenaiChat, &[("mcp.read", Some(weather()))], &[]).unwrap();
    let mut bridge = Bridge::default();
    bridge.tool(&Text::word("mcp_read_1"), &Text::word("mcp.read"), false);
    bridge.format_tool = Some("reply".to_owned());
    let judged = |calls: &[(&str, &str)]| {
        let body = reply(Dialect::AnthropicMessages, calls).unwrap().to_string();
        let read = dialects::decode_response(Dialect::AnthropicMessages, body.as_bytes(), &Traits::NONE).unwrap();
        offer.judge_reply(&read, Some(&bridge))
    };
    assert_eq!(judged(&[("mcp_read_1", r#"{"city":"Rome"}"#)]), Some(true));
    assert_eq!(judged(&[("mcp_read_1", "{}")]), Some(false));
    assert_eq!(judged(&[("mcp_read_2", r#"{"city":"Rome"}"#)]), Some(false));
    // The reply's own form is no call.
    assert_eq!(judged(&[("reply", r#"{"x":1}"#)]), None);
    assert_eq!(judged(&[("reply", r#"{"x":1}"#), ("mcp_read_1", r#"{"city":"Rome"}"#)]), Some(true));
}

#[test]
fn only_calls_are_read() {
    for (dialect, data, expected) in [
        (Dialect::OpenaiChat, r#"{"choices":[{"delta":{"content":"hi","tool_calls":[]}}]}"#, false),
        (Dialect::OpenaiChat, r#"{"choices":[{"delta":{"tool_calls":null},"finish_reason":"tool_calls"}]}"#, false),
        (Dialect::OpenaiChat, r#"{"choices":[{"delta":{"tool_calls" : [ {"index":0}]}}]}"#, true),
        (Dialect::AnthropicMessages, r#"{"type":"content_block_start","content_block":{"type":"server_tool_use"}}"#, false),
        (Dialect::AnthropicMessages, r#"{"type":"content_block_start","content_block":{"type":"tool_use"}}"#, true),
        (Dialect::OpenaiResponses, r#"{"type":"response.output_text.delta","delta":"a \"function_call\""}"#, false),
        (Dialect::GeminiGenerate, r#"{"candidates":[{"content":{"parts":[{"text":"\"functionCall\""}]}}]}"#, false),
    ] {
        assert_eq!(mentions_calls(dialect, data.as_bytes()), expected, "{data}");
        let mut watch = Watch::new(offer_of(Dialect::OpenaiChat, &[("now", None)], &[]).unwrap(), None);
        watch.read(dialect, None, data.as_bytes());
        assert_eq!(watch.has_begun(), expected, "{data}");
    }
}

/// Frames that differ in their texts only are recognised without being read: those with pieces of arguments must not be.
#[test]
fn pieces_of_arguments_are_seen_among_frames_that_are_alike() {
    let chat = |delta: &Value| format!("data: {}\n\n", json!({"id": "r", "choices": [{"index": 0, "delta": delta}]}));
    let piece = |text: &str| chat(&json!({"tool_calls": [{"index": 0, "function": {"arguments": text}}]}));
    let begin =
        chat(&json!({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "weather", "arguments": ""}}]}));
    let offer = offer_of(Dialect::OpenaiChat, &[("weather", Some(weather()))], &[]).unwrap();
    for manner in [Manner::Native, Manner::Openrouter] {
        for (arguments, expected) in [(r#"{"city":"Rome"}"#, true), (r#"{"city":123456}"#, false)] {
            let identity = Identity::new(manner, "gen-1", "acme/m", "Acme", 1);
            let mut tap = Tap::new(Dialect::OpenaiChat, Arc::new(identity), false);
            tap.watch(Box::new(Watch::new(offer.clone(), None)));
            let texts = (0..8).map(|number| chat(&json!({"content": format!("word{number}")})));
            let pieces = arguments.split_inclusive(|_| true).map(&piece);
            let mut out = Vec::new();
            for event in texts.chain([begin.clone()]).chain(pieces) {
                if tap.inspect(event.as_bytes()).action == Action::Rewrite {
                    tap.rewrite(event.as_bytes(), None, &mut out);
                }
            }
            assert_eq!(tap.has_sound_calls(), Some(expected), "{manner:?} {arguments}");
        }
    }
}

proptest! {
    #[test]
    fn anything_is_judged_or_not(schema in any::<Vec<u8>>(), value in any::<Vec<u8>>(), keyword in "[a-zA-Z$]{0,12}", text in ".{0,20}") {
        let _ = schema::check(&schema, &value, &mut schema::Fuel::new());
        let schema = json!({keyword: {"type": text.clone()}, "properties": {text.clone(): {"enum": [text]}}}).to_string();
        let _ = schema::check(schema.as_bytes(), &value, &mut schema::Fuel::new());
    }
}
