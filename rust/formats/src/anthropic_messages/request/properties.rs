//! What holds for every request.

#![expect(clippy::unwrap_used, reason = "tests")]

use fairlead_ir::{Block, Dialect, Kind, Losses, Origin, Request};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::decode::decode;
use super::encode::encode;
use crate::json::is_complete;
use crate::traits::Traits;
use crate::translate::{Bridge, Target};

/// A text that begins and ends with a letter, so that nothing of it is taken off.
fn text() -> impl Strategy<Value = String> {
    ".{0,6}".prop_map(|inside| format!("a{inside}z"))
}

fn mark() -> impl Strategy<Value = Option<Value>> {
    proptest::option::weighted(0.05, Just(json!({"type": "ephemeral", "ttl": "1h"})))
}

fn with_mark(block: Value, mark: Option<Value>) -> Value {
    let mut block = block;
    mark.into_iter().for_each(|mark| block["cache_control"] = mark);
    block
}

fn text_block() -> impl Strategy<Value = Value> {
    (text(), mark()).prop_map(|(text, mark)| with_mark(json!({"type": "text", "text": text}), mark))
}

fn media_block() -> impl Strategy<Value = Value> {
    select(vec![
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0K"}}),
        json!({"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}),
        json!({"type": "image", "source": {"type": "file", "file_id": "file_1"}}),
        json!({"type": "document", "title": "t", "context": "c", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}),
        json!({"type": "document", "citations": {"enabled": true}, "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}),
        json!({"type": "search_result", "source": "s", "title": "t", "content": []}),
    ])
}

fn thought_block() -> impl Strategy<Value = Value> {
    select(vec![
        json!({"type": "thinking", "thinking": "hm\n", "signature": "c2ln"}),
        json!({"type": "thinking", "thinking": "", "signature": "c2ln"}),
        json!({"type": "redacted_thinking", "data": "eHl6"}),
    ])
}

/// A user's message, the reply to it, and the answers to the calls in the reply, perhaps with an instruction behind.
fn round() -> impl Strategy<Value = Vec<Value>> {
    let said = proptest::collection::vec(prop_oneof![3 => text_block(), 1 => media_block()], 1..3);
    let reply = (proptest::collection::vec(thought_block(), 0..3), proptest::collection::vec(text_block(), 0..2), 0..3_usize);
    (said, reply, text(), any::<bool>()).prop_map(|(said, (thoughts, texts, calls), word, instruct)| {
        let call = |index: usize| json!({"type": "tool_use", "id": format!("ID{index}"), "name": "get", "input": {"word": word}});
        let calls: Vec<Value> = (0..calls).map(call).collect();
        let results =
            calls.iter().map(|call| json!({"type": "tool_result", "tool_use_id": call["id"], "content": [{"type": "text", "text": word}]}));
        let results: Vec<Value> = results.collect();
        let mut reply = [thoughts, texts, calls].concat();
        if reply.is_empty() {
            reply.push(json!({"type": "text", "text": word}));
        }
        let mut messages = vec![json!({"role": "user", "content": said}), json!({"role": "assistant", "content": reply})];
        if !results.is_empty() {
            messages.push(json!({"role": "user", "content": results}));
        }
        if instruct {
            messages.push(json!({"role": "system", "content": [{"type": "text", "text": word}]}));
        }
        messages
    })
}

/// Calls get ids of their own, and one speaker's messages become one.
fn conversation(rounds: Vec<Vec<Value>>) -> Vec<Value> {
    let mut messages: Vec<Value> = Vec::new();
    for (number, round) in rounds.into_iter().enumerate() {
        for message in round {
            let text = message.to_string().replace("\"ID", &format!("\"call_{number}_"));
            let message: Value = serde_json::from_str(&text).unwrap();
            match messages.last_mut() {
                Some(last) if last["role"] == message["role"] => {
                    let more = message["content"].as_array().unwrap().clone();
                    last["content"].as_array_mut().unwrap().extend(more);
                }
                _ => messages.push(message),
            }
        }
    }
    // Nobody asks with a reply.
    if messages.last().is_some_and(|last| last["role"] == "assistant") {
        messages.push(json!({"role": "user", "content": [{"type": "text", "text": "go on"}]}));
    }
    messages
}

fn settings() -> impl Strategy<Value = Map<String, Value>> {
    let one_of = |values: Vec<Value>| proptest::option::of(select(values));
    (
        one_of(vec![
            json!("be brief"),
            json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}}]),
        ]),
        one_of(vec![
            json!({"type": "adaptive"}),
            json!({"type": "adaptive", "display": "omitted"}),
            json!({"type": "disabled"}),
            json!({"type": "between_tools"}),
        ]),
        one_of(vec![
            json!({"effort": "high"}),
            json!({"effort": "new"}),
            json!({"format": {"type": "json_schema", "schema": {"type": "object"}}, "task_budget": {}}),
        ]),
        one_of(vec![json!({"user_id": "u"}), json!({"user_id": null, "x": "y"})]),
        one_of(vec![json!({"type": "auto", "disable_parallel_tool_use": false}), json!({"type": "none"}), json!({"type": "later"})]),
        one_of(vec![
            json!({"top_k": 4, "stop_sequences": ["END"], "service_tier": "auto"}),
            json!({"container": "c", "stream": true}),
            json!({"cache_control": {"type": "ephemeral"}}),
        ]),
    )
        .prop_map(|(system, thinking, output_config, metadata, tool_choice, more)| {
            let mut body = more.map_or_else(Map::new, |more| more.as_object().unwrap().clone());
            let named = [
                ("system", system),
                ("thinking", thinking),
                ("output_config", output_config),
                ("metadata", metadata),
                ("tool_choice", tool_choice),
            ];
            for (name, value) in named {
                value.into_iter().for_each(|value| drop(body.insert(name.to_owned(), value)));
            }
            if body.contains_key("thinking") {
                body.remove("top_k");
            }
            body
        })
}

fn body() -> impl Strategy<Value = Value> {
    (proptest::collection::vec(round(), 1..4), settings()).prop_map(|(rounds, settings)| {
        let tools = json!([
            {"name": "get", "description": "Gets", "input_schema": {"type": "object", "properties": {}}, "strict": true, "defer_loading": true},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 2},
            {"type": "memory_20250818", "name": "memory"},
        ]);
        let mut body = settings;
        body.insert("model".to_owned(), json!("claude-x"));
        body.insert("max_tokens".to_owned(), json!(100));
        body.insert("tools".to_owned(), tools);
        body.insert("messages".to_owned(), Value::Array(conversation(rounds)));
        Value::Object(body)
    })
}

fn newest() -> Target<'static> {
    let traits = Traits::from_names(["adaptive_thinking", "native_schema"]).unwrap();
    Target { traits, ..Target::new(Dialect::AnthropicMessages, "claude-x") }
}

/// `None` when nothing of the conversation can be sent.
fn written(request: &Request<'_>, target: &Target<'_>) -> Option<(Vec<u8>, Losses)> {
    let (mut out, mut losses) = (Vec::new(), Losses::new());
    encode(request, target, &mut out, &mut losses, &mut Bridge::default()).ok()?;
    Some((out, losses))
}

/// Places differ where a text became a list of one block.
fn without_places(mut request: Request<'_>) -> Request<'_> {
    fn clear(block: &mut Block<'_>) {
        block.origin = Origin::default();
        if let Kind::ToolResult(result) = &mut block.kind {
            result.content.iter_mut().for_each(clear);
        }
    }
    for turn in &mut request.turns {
        turn.origin = Origin::default();
        turn.blocks.iter_mut().for_each(clear);
    }
    request.tools.iter_mut().for_each(|tool| tool.origin = Origin::default());
    request.rest.sort_by(|one, other| one.name.as_bytes().cmp(other.name.as_bytes()));
    request
}

/// Role and block, one by one, without cache marks: they move on with the conversation.
fn steps(body: &[u8]) -> (Value, Vec<(String, Value)>) {
    fn unmark(value: &mut Value) {
        match value {
            Value::Object(object) => {
                object.remove("cache_control");
                object.values_mut().for_each(unmark);
            }
            Value::Array(list) => list.iter_mut().for_each(unmark),
            _ => {}
        }
    }
    let mut body: Value = serde_json::from_slice(body).unwrap();
    unmark(&mut body);
    let messages = body["messages"].take();
    let steps = messages.as_array().unwrap().iter().flat_map(|message| {
        let role = message["role"].as_str().unwrap().to_owned();
        message["content"].as_array().unwrap().iter().map(move |block| (role.clone(), block.clone())).collect::<Vec<_>>()
    });
    let steps = steps.collect();
    (json!([body["system"], body["tools"]]), steps)
}

/// The node that comes at `count` when all are counted, in place of which `junk` is put.
fn replace(value: &mut Value, count: &mut usize, junk: &Value) {
    if *count == 0 {
        *value = junk.clone();
    }
    *count = count.wrapping_sub(1);
    match value {
        Value::Object(object) => object.values_mut().for_each(|value| replace(value, count, junk)),
        Value::Array(list) => list.iter_mut().for_each(|value| replace(value, count, junk)),
        _ => {}
    }
}

fn junk() -> impl Strategy<Value = Value> {
    select(vec![
        json!(null),
        json!(1.5),
        json!("x"),
        json!([]),
        json!({}),
        json!({"type": "text"}),
        json!([{"type": "x"}]),
        json!(true),
        json!(""),
    ])
}

proptest! {
    #[test]
    fn a_request_of_this_dialect_means_the_same_when_it_is_written_again(body in body()) {
        let text = body.to_string();
        let first = decode(text.as_bytes()).unwrap();
        let (again, losses) = written(&first, &newest()).unwrap();
        let second = decode(&again).unwrap();
        prop_assert_eq!(losses.as_slice().iter().filter(|loss| loss.path != "cache_control").count(), 0, "{:?}", losses);
        if losses.is_empty() {
            prop_assert_eq!(without_places(first), without_places(second));
        }
    }

    #[test]
    fn a_conversation_that_goes_on_keeps_its_beginning(body in body(), names in proptest::sample::subsequence(vec!["no_mid_system", "adaptive_thinking"], 0..=2), automatic in any::<bool>()) {
        let target = Target { traits: Traits::from_names(names).unwrap(), automatic_cache: automatic, ..newest() };
        let messages = body["messages"].as_array().unwrap();
        let mut before: Option<(Value, Vec<(String, Value)>)> = None;
        for length in 1..=messages.len() {
            let mut shorter = body.clone();
            shorter["messages"] = Value::Array(messages[..length].to_vec());
            let text = shorter.to_string();
            let mut request = decode(text.as_bytes()).unwrap();
            request.source = Dialect::OpenaiChat;
            let Some((out, _)) = written(&request, &target) else { continue };
            let now = steps(&out);
            if let Some((prefix, steps)) = &before {
                prop_assert_eq!(prefix, &now.0);
                prop_assert_eq!(steps.as_slice(), &now.1[..steps.len()]);
            }
            // Calls that still wait for their results are answered with errors, which real results replace.
            let waits = now.1.iter().any(|(_, block)| block["content"] == "The call was not answered.");
            before = (!waits).then_some(now);
        }
    }

    #[test]
    fn whatever_is_read_can_be_written(body in body(), count in 0..200_usize, junk in junk(), own in any::<bool>()) {
        let (mut body, mut count) = (body, count);
        replace(&mut body, &mut count, &junk);
        let text = body.to_string();
        if let Ok(mut request) = decode(text.as_bytes()) {
            request.source = if own { Dialect::AnthropicMessages } else { Dialect::OpenaiResponses };
            let (mut out, mut losses) = (Vec::new(), Losses::new());
            if encode(&request, &newest(), &mut out, &mut losses, &mut Bridge::default()).is_ok() {
                prop_assert!(is_complete(&out), "{}", String::from_utf8_lossy(&out));
                prop_assert!(decode(&out).is_ok(), "{}", String::from_utf8_lossy(&out));
            }
        }
    }

    #[test]
    fn whatever_is_sent_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in r#"[\{\}\[\],:"a-z\\ 0-9]{0,60}"#) {
        let _ = decode(&bytes);
        let _ = decode(text.as_bytes());
    }
}
