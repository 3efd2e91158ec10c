//! What clients make of a reply, and what they send back: as official SDKs do, as those that take replies apart do, and as those that
//! know texts and calls only.

use fairlead_formats::eventstream;
use fairlead_formats::sse;
use fairlead_ir::Dialect;
use serde_json::{Map, Value, json};

/// How much of a reply a client sends back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Everything, as it came.
    Faithful,
    /// As `@openrouter/ai-sdk-provider` does: neighbouring reasoning texts are one, with the first signature; unknown keys are gone.
    Merging,
    /// As langchain-openrouter does: without `format`, grouped by type and index, the ids of items stripped.
    Grouping,
    /// Texts and calls only.
    Plain,
}

/// The second request of a conversation: the reply sent back, and an answer to each of its calls.
pub(crate) fn second_request(client: Dialect, reply: &[u8], streamed: bool, habit: Habit) -> Vec<u8> {
    let said = match (client, streamed) {
        (Dialect::OpenaiChat, false) => vec![whole(reply)["choices"][0]["message"].clone()],
        (Dialect::OpenaiChat, true) => vec![chat_message(&events(reply))],
        (Dialect::OpenaiResponses, false) => whole(reply)["output"].as_array().unwrap().clone(),
        (Dialect::OpenaiResponses, true) => {
            let events = events(reply);
            let done = events.iter().filter(|event| event["type"] == "response.output_item.done");
            let items: Vec<Value> = done.map(|event| event["item"].clone()).collect();
            assert_eq!(events.last().unwrap()["response"]["output"], Value::Array(items.clone()));
            items
        }
        (Dialect::AnthropicMessages, false) => vec![json!({"role": "assistant", "content": whole(reply)["content"]})],
        (Dialect::AnthropicMessages, true) => vec![json!({"role": "assistant", "content": blocks(&events(reply))})],
        (Dialect::GeminiGenerate, false) => vec![whole(reply)["candidates"][0]["content"].clone()],
        (Dialect::GeminiGenerate, true) => contents(&events(reply)),
        (Dialect::BedrockConverse, false) => vec![whole(reply)["output"]["message"].clone()],
        (Dialect::BedrockConverse, true) => vec![converse_message(reply)],
    };
    let said = match habit {
        Habit::Plain => said.into_iter().filter_map(|piece| plain(client, piece)).collect(),
        _ => said.into_iter().map(|piece| fondled(piece, habit)).collect(),
    };
    serde_json::to_vec(&conversation(client, said)).unwrap()
}

fn whole(reply: &[u8]) -> Value {
    serde_json::from_slice(reply).unwrap()
}

fn events(reply: &[u8]) -> Vec<Value> {
    let mut decoder = sse::Decoder::new(1 << 20);
    let mut events = Vec::new();
    decoder.feed(reply, &mut events).unwrap();
    decoder.finish(&mut events);
    events.iter().filter_map(|event| serde_json::from_str(&event.data).ok()).collect()
}

// --- streams put together ---------------------------------------------------------------------------------------------

fn chat_message(chunks: &[Value]) -> Value {
    let (mut content, mut details, mut calls) = (String::new(), Vec::new(), Vec::<Value>::new());
    for delta in chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]) {
        content.push_str(delta["content"].as_str().unwrap_or_default());
        details.extend(delta["reasoning_details"].as_array().into_iter().flatten().cloned());
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().unwrap() as usize;
            if index == calls.len() {
                calls.push(json!({"id": call["id"], "type": "function", "function": {"name": call["function"]["name"], "arguments": ""}}));
            }
            let known = calls[index]["function"]["arguments"].as_str().unwrap().to_owned();
            calls[index]["function"]["arguments"] = json!(known + call["function"]["arguments"].as_str().unwrap());
        }
    }
    let mut message = json!({"role": "assistant", "content": content, "tool_calls": calls});
    if !details.is_empty() {
        message["reasoning_details"] = json!(details);
    }
    message
}

fn blocks(events: &[Value]) -> Vec<Value> {
    let mut blocks = Vec::new();
    for event in events {
        let last = blocks.len().saturating_sub(1);
        match event["type"].as_str().unwrap() {
            "content_block_start" => blocks.push(event["content_block"].clone()),
            "content_block_delta" => {
                let delta = &event["delta"];
                let mut add = |key: &str, piece: &Value| {
                    let known = blocks[last][key].as_str().unwrap_or_default().to_owned();
                    blocks[last][key] = json!(known + piece.as_str().unwrap());
                };
                match delta["type"].as_str().unwrap() {
                    "text_delta" => add("text", &delta["text"]),
                    "thinking_delta" => add("thinking", &delta["thinking"]),
                    "signature_delta" => blocks[last]["signature"] = delta["signature"].clone(),
                    _ => add("partial", &delta["partial_json"]),
                }
            }
            "content_block_stop" => {
                if let Some(partial) = blocks[last].as_object_mut().unwrap().remove("partial") {
                    blocks[last]["input"] = serde_json::from_str(partial.as_str().unwrap()).unwrap();
                }
            }
            _ => {}
        }
    }
    blocks
}

/// As Google's clients keep a stream: one content per chunk.
fn contents(chunks: &[Value]) -> Vec<Value> {
    let contents = chunks.iter().map(|chunk| &chunk["candidates"][0]["content"]);
    contents.filter(|content| content["parts"].as_array().is_some_and(|parts| !parts.is_empty())).cloned().collect()
}

fn converse_message(reply: &[u8]) -> Value {
    let (mut framer, mut from, mut content) = (eventstream::Framer::new(1 << 20), 0, Vec::<Value>::new());
    let mut inputs: Vec<String> = Vec::new();
    while let Some(end) = framer.next_end(reply, from).unwrap() {
        let message = eventstream::read(&reply[from..end]).unwrap();
        from = end;
        let data: Value = serde_json::from_slice(message.data()).unwrap();
        let index = data["contentBlockIndex"].as_u64().unwrap_or_default() as usize;
        if matches!(message.name(), Some(b"contentBlockStart" | b"contentBlockDelta")) && index >= content.len() {
            content.resize(index + 1, json!({}));
            inputs.resize(index + 1, String::new());
        }
        match message.name() {
            Some(b"contentBlockStart") => content[index] = data["start"].clone(),
            Some(b"contentBlockDelta") => {
                for (key, delta) in data["delta"].as_object().unwrap() {
                    match key.as_str() {
                        "text" => add(&mut content[index]["text"], delta),
                        "toolUse" => inputs[index].push_str(delta["input"].as_str().unwrap()),
                        "reasoningContent" if delta.get("redactedContent").is_some() => content[index]["reasoningContent"] = delta.clone(),
                        "reasoningContent" => {
                            for (key, piece) in delta.as_object().unwrap() {
                                add(&mut content[index]["reasoningContent"]["reasoningText"][key], piece);
                            }
                        }
                        other => panic!("{other}"),
                    }
                }
            }
            Some(b"contentBlockStop") if content[index].get("toolUse").is_some() => {
                content[index]["toolUse"]["input"] = serde_json::from_str(&inputs[index]).unwrap();
            }
            _ => {}
        }
    }
    for block in &mut content {
        if block["reasoningContent"]["reasoningText"].get("signature").is_some() {
            let text = &mut block["reasoningContent"]["reasoningText"]["text"];
            *text = json!(text.as_str().unwrap_or_default());
        }
    }
    content.iter_mut().for_each(|block| block.as_object_mut().unwrap().retain(|_, value| !value.is_null()));
    json!({"role": "assistant", "content": content})
}

fn add(place: &mut Value, piece: &Value) {
    *place = json!(place.as_str().unwrap_or_default().to_owned() + piece.as_str().unwrap());
}

// --- what is left out -------------------------------------------------------------------------------------------------

/// What clients that know texts and calls only keep.
fn plain(client: Dialect, mut piece: Value) -> Option<Value> {
    match client {
        Dialect::OpenaiChat => {
            let message = piece.as_object_mut().unwrap();
            message.retain(|key, _| matches!(key.as_str(), "role" | "content" | "tool_calls"));
        }
        Dialect::OpenaiResponses => return Some(piece).filter(|item| item["type"] != "reasoning"),
        Dialect::AnthropicMessages => keep(&mut piece["content"], |block| block.get("text").is_some() || block.get("input").is_some()),
        Dialect::BedrockConverse => keep(&mut piece["content"], |block| block.get("reasoningContent").is_none()),
        Dialect::GeminiGenerate => {
            keep(&mut piece["parts"], |part| part.get("thought").is_none() && part["text"] != "");
            for part in piece["parts"].as_array_mut().unwrap() {
                part.as_object_mut().unwrap().remove("thoughtSignature");
            }
            return Some(piece).filter(|content| content["parts"] != json!([]));
        }
    }
    Some(piece)
}

fn keep(list: &mut Value, is_kept: impl Fn(&Value) -> bool) {
    list.as_array_mut().unwrap().retain(is_kept);
}

/// What clients of OpenRouter do to its details.
fn fondled(mut message: Value, habit: Habit) -> Value {
    let Some(details) = message.get_mut("reasoning_details").and_then(Value::as_array_mut) else { return message };
    *details = match habit {
        Habit::Merging => merged(details),
        Habit::Grouping => grouped(details),
        Habit::Faithful | Habit::Plain => return message,
    };
    message.as_object_mut().unwrap().retain(|key, _| !matches!(key.as_str(), "reasoning" | "reasoning_content"));
    message
}

fn merged(details: &[Value]) -> Vec<Value> {
    let mut merged: Vec<Value> = Vec::new();
    for entry in details {
        let is_text = |entry: &Value| entry["type"] == "reasoning.text";
        match merged.last_mut().filter(|last| is_text(last) && is_text(entry)) {
            Some(last) => {
                add(&mut last["text"], entry.get("text").unwrap_or(&json!("")));
                for key in ["signature", "format"] {
                    let better = last.get(key).is_none_or(|value| value.is_null() || value == "unknown");
                    if let Some(value) = entry.get(key).filter(|_| better) {
                        last[key] = value.clone();
                    }
                }
            }
            None => merged.push(entry.clone()),
        }
    }
    merged
}

fn grouped(details: &[Value]) -> Vec<Value> {
    let mut groups: Vec<Map<String, Value>> = Vec::new();
    for entry in details {
        let same = |group: &&mut Map<String, Value>| group["type"] == entry["type"] && group["index"] == entry["index"];
        let group = match groups.iter_mut().find(same) {
            Some(group) => group,
            None => {
                groups.push(Map::from_iter([("type".to_owned(), entry["type"].clone()), ("index".to_owned(), entry["index"].clone())]));
                groups.last_mut().unwrap()
            }
        };
        for (key, value) in entry.as_object().unwrap() {
            match key.as_str() {
                "text" | "summary" => add(group.entry(key).or_insert(Value::Null), value),
                "format" => {}
                "id" if value.as_str().unwrap().starts_with("rs_") => {}
                _ => drop(group.insert(key.clone(), value.clone())),
            }
        }
    }
    groups.into_iter().map(Value::Object).collect()
}

// --- the conversation -------------------------------------------------------------------------------------------------

/// A question, what was said to it, and an answer to each call.
fn conversation(client: Dialect, said: Vec<Value>) -> Value {
    let ask = |key: &str, parts: Value| json!({"role": "user", key: parts});
    match client {
        Dialect::OpenaiChat => {
            let ids: Vec<Value> = said[0]["tool_calls"].as_array().into_iter().flatten().map(|call| call["id"].clone()).collect();
            let answers = ids.iter().map(|id| json!({"role": "tool", "tool_call_id": id, "content": "42"}));
            json!({"model": "m", "messages": list(ask("content", json!("?")), said, answers)})
        }
        Dialect::OpenaiResponses => {
            let calls: Vec<Value> = said.iter().filter(|item| item["type"] == "function_call").cloned().collect();
            let answers = calls.iter().map(|call| json!({"type": "function_call_output", "call_id": call["call_id"], "output": "42"}));
            json!({"model": "m", "input": list(ask("content", json!("?")), said, answers)})
        }
        Dialect::AnthropicMessages => {
            let calls: Vec<Value> =
                said[0]["content"].as_array().unwrap().iter().filter(|block| block["type"] == "tool_use").cloned().collect();
            let results: Vec<Value> =
                calls.iter().map(|call| json!({"type": "tool_result", "tool_use_id": call["id"], "content": "42"})).collect();
            json!({"model": "m", "max_tokens": 9, "messages": list(ask("content", json!("?")), said, [ask("content", json!(results))])})
        }
        Dialect::GeminiGenerate => {
            let parts = said.iter().flat_map(|content| content["parts"].as_array().unwrap());
            let calls: Vec<Value> = parts.filter_map(|part| part.get("functionCall")).cloned().collect();
            let answer = |call: &Value| json!({"functionResponse": {"id": call["id"], "name": call["name"], "response": {"output": "42"}}});
            let answers: Vec<Value> = calls.iter().map(answer).collect();
            json!({"contents": list(ask("parts", json!([{"text": "?"}])), said, [ask("parts", json!(answers))])})
        }
        Dialect::BedrockConverse => {
            let calls: Vec<Value> =
                said[0]["content"].as_array().unwrap().iter().filter_map(|block| block.get("toolUse")).cloned().collect();
            let result = |call: &Value| json!({"toolResult": {"toolUseId": call["toolUseId"], "content": [{"text": "42"}]}});
            let results: Vec<Value> = calls.iter().map(result).collect();
            json!({"messages": list(ask("content", json!([{"text": "?"}])), said, [ask("content", json!(results))])})
        }
    }
}

fn list(ask: Value, said: Vec<Value>, answers: impl IntoIterator<Item = Value>) -> Value {
    Value::Array([ask].into_iter().chain(said).chain(answers).collect())
}
