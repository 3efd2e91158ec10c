//! Replies with state, whole and in events, and what their makers want back.

use fairlead_formats::traits::Traits;
use fairlead_ir::Dialect;
use serde_json::{Value, json};

/// A reply of a provider.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) name: &'static str,
    pub(crate) dialect: Dialect,
    pub(crate) traits: &'static [&'static str],
    /// The pieces of what the model says, as the dialect lists them.
    pub(crate) pieces: Value,
}

pub(crate) fn replies() -> Vec<Reply> {
    vec![
        Reply {
            name: "thinking and redacted thinking before a call",
            dialect: Dialect::AnthropicMessages,
            traits: &[],
            pieces: json!([
                {"type": "thinking", "thinking": "Let me \"see\" é😀.\nSo.", "signature": "EqQBCgIYAhIk/+x="},
                {"type": "redacted_thinking", "data": "EmwKAhgBEgy3+/=="},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "x"}},
            ]),
        },
        Reply {
            name: "thinking between texts and calls",
            dialect: Dialect::AnthropicMessages,
            traits: &[],
            pieces: json!([
                {"type": "thinking", "thinking": "one", "signature": "c2lnMQ=="},
                {"type": "thinking", "thinking": "two", "signature": "c2lnMg=="},
                {"type": "text", "text": "First é."},
                {"type": "thinking", "thinking": "", "signature": "c2lnMw=="},
                {"type": "text", "text": "Second."},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
                {"type": "thinking", "thinking": "three", "signature": "c2lnNA=="},
                {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {}},
            ]),
        },
        Reply {
            name: "encrypted items with and without summary",
            dialect: Dialect::OpenaiResponses,
            traits: &[],
            pieces: json!([
                {"type": "reasoning", "id": "rs_0a1", "summary": [{"type": "summary_text", "text": "**First**\n\nA"}, {"type": "summary_text", "text": "B"}],
                 "encrypted_content": "gAAAAABo/+=="},
                {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                 "content": [{"type": "output_text", "text": "Well.", "annotations": []}]},
                {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": "{\"at\":\"x\"}", "status": "completed"},
                {"type": "reasoning", "id": "rs_0a2", "summary": [], "encrypted_content": "gAAAAABp"},
                {"type": "function_call", "id": "fc_2", "call_id": "call_2", "name": "look", "arguments": "{}", "status": "completed"},
            ]),
        },
        Reply {
            name: "an encrypted item with the thought itself",
            dialect: Dialect::OpenaiResponses,
            traits: &[],
            pieces: json!([
                {"type": "reasoning", "id": "rs_0a1", "summary": [{"type": "summary_text", "text": "short"}],
                 "content": [{"type": "reasoning_text", "text": "long"}], "encrypted_content": "gAAAAABo"},
                {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": "{}", "status": "completed"},
            ]),
        },
        Reply {
            name: "signatures on a text and on the first of two calls",
            dialect: Dialect::GeminiGenerate,
            traits: &["no_function_ids", "thought_signatures"],
            pieces: json!([
                {"text": "**Thinking** about it", "thought": true},
                {"text": "I look.", "thoughtSignature": "c2lnbmF0dXJlIDE="},
                {"functionCall": {"name": "look", "args": {"at": "x"}}, "thoughtSignature": "c2lnbmF0dXJlIDI="},
                {"functionCall": {"name": "look", "args": {}}},
            ]),
        },
        Reply {
            name: "signatures on a thought, a text among texts and a later call",
            dialect: Dialect::GeminiGenerate,
            traits: &["no_function_ids"],
            pieces: json!([
                {"text": "hm", "thought": true, "thoughtSignature": "dGhvdWdodA=="},
                {"text": "One é. ", "thoughtSignature": "dGV4dA=="},
                {"text": "Two."},
                {"functionCall": {"name": "look", "args": {}}},
                {"functionCall": {"name": "see", "args": {}}, "thoughtSignature": "Y2FsbA=="},
            ]),
        },
        Reply {
            name: "a signature on an empty text",
            dialect: Dialect::GeminiGenerate,
            traits: &["no_function_ids"],
            pieces: json!([
                {"text": "Done."},
                {"text": "", "thoughtSignature": "ZW1wdHk="},
                {"functionCall": {"name": "look", "args": {}}},
            ]),
        },
        Reply {
            name: "signature and redacted content",
            dialect: Dialect::BedrockConverse,
            traits: &[],
            pieces: json!([
                {"reasoningContent": {"reasoningText": {"text": "Let me see.", "signature": "ErcBCkgIAhAB/+=="}}},
                {"reasoningContent": {"redactedContent": "cmVkYWN0ZWQ="}},
                {"text": "I look."},
                {"toolUse": {"toolUseId": "tooluse_1", "name": "look", "input": {"at": "x"}}},
            ]),
        },
        Reply {
            name: "details of thinking",
            dialect: Dialect::OpenaiChat,
            traits: &["openrouter_reasoning"],
            pieces: json!([
                {"type": "reasoning.text", "text": "Let me see.", "signature": "c2ln/+==", "format": "anthropic-claude-v1", "index": 0},
                {"type": "reasoning.encrypted", "data": "cmVk", "format": "anthropic-claude-v1", "index": 1},
            ]),
        },
        Reply {
            name: "details of an encrypted item",
            dialect: Dialect::OpenaiChat,
            traits: &["openrouter_reasoning"],
            pieces: json!([
                {"type": "reasoning.summary", "summary": "so", "id": "rs_1", "format": "openai-responses-v1", "index": 0},
                {"type": "reasoning.encrypted", "data": "gAAA", "id": "rs_1", "format": "openai-responses-v1", "index": 0},
            ]),
        },
        Reply {
            name: "details of a call",
            dialect: Dialect::OpenaiChat,
            traits: &["openrouter_reasoning"],
            pieces: json!([
                {"type": "reasoning.encrypted", "data": "c2ln", "id": "call_1", "format": "google-gemini-v1", "index": 0},
            ]),
        },
    ]
}

impl Reply {
    pub(crate) fn traits(&self) -> Traits {
        Traits::from_names(self.traits).unwrap()
    }

    fn pieces(&self) -> &[Value] {
        self.pieces.as_array().unwrap()
    }

    /// The body of the whole reply.
    pub(crate) fn body(&self) -> Vec<u8> {
        let pieces = &self.pieces;
        let body = match self.dialect {
            Dialect::AnthropicMessages => json!({
                "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": pieces, "stop_reason": "tool_use",
                "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1},
            }),
            Dialect::OpenaiResponses => {
                json!({"id": "resp_1", "object": "response", "status": "completed", "model": "m", "output": pieces})
            }
            Dialect::GeminiGenerate => json!({
                "candidates": [{"content": {"parts": pieces, "role": "model"}, "finishReason": "STOP", "index": 0}], "responseId": "r-1",
            }),
            Dialect::BedrockConverse => json!({
                "output": {"message": {"role": "assistant", "content": pieces}}, "stopReason": "tool_use",
                "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}, "metrics": {"latencyMs": 1},
            }),
            Dialect::OpenaiChat => {
                json!({"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, "message": {
                    "role": "assistant", "content": "I look.", "reasoning_details": pieces, "tool_calls": [chat_call()],
                }, "finish_reason": "tool_calls"}]})
            }
        };
        serde_json::to_vec(&body).unwrap()
    }

    /// The same as events, each with its name: texts come in pieces of one character.
    pub(crate) fn events(&self) -> Vec<(Option<&'static str>, Value)> {
        match self.dialect {
            Dialect::AnthropicMessages => self.messages_events(),
            Dialect::OpenaiResponses => self.responses_events(),
            Dialect::GeminiGenerate => self.gemini_events(),
            Dialect::BedrockConverse => self.converse_events(),
            Dialect::OpenaiChat => self.chat_events(),
        }
    }

    fn messages_events(&self) -> Vec<(Option<&'static str>, Value)> {
        let start = json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
            "content": [], "stop_reason": null, "usage": {"input_tokens": 1, "output_tokens": 1}}});
        let mut events = vec![(Some("message_start"), start)];
        for (index, piece) in self.pieces().iter().enumerate() {
            let kind = piece["type"].as_str().unwrap();
            let (begin, deltas): (Value, Vec<Value>) = match kind {
                "text" => (json!({"type": kind, "text": ""}), each(&piece["text"], |one| json!({"type": "text_delta", "text": one}))),
                "thinking" => {
                    let mut deltas = each(&piece["thinking"], |one| json!({"type": "thinking_delta", "thinking": one}));
                    deltas.push(json!({"type": "signature_delta", "signature": piece["signature"]}));
                    (json!({"type": kind, "thinking": "", "signature": ""}), deltas)
                }
                "tool_use" => {
                    let begin = json!({"type": kind, "id": piece["id"], "name": piece["name"], "input": {}});
                    (begin, vec![json!({"type": "input_json_delta", "partial_json": piece["input"].to_string()})])
                }
                _ => (piece.clone(), Vec::new()),
            };
            events.push((Some("content_block_start"), json!({"type": "content_block_start", "index": index, "content_block": begin})));
            let delta = |delta| (Some("content_block_delta"), json!({"type": "content_block_delta", "index": index, "delta": delta}));
            events.extend(deltas.into_iter().map(delta));
            events.push((Some("content_block_stop"), json!({"type": "content_block_stop", "index": index})));
        }
        let end =
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 2}});
        events.push((Some("message_delta"), end));
        events.push((Some("message_stop"), json!({"type": "message_stop"})));
        events
    }

    fn responses_events(&self) -> Vec<(Option<&'static str>, Value)> {
        let response =
            |status: &str, output: &Value| json!({"id": "resp_1", "object": "response", "status": status, "model": "m", "output": output});
        let mut events = vec![json!({"type": "response.created", "response": response("in_progress", &json!([]))})];
        for (index, item) in self.pieces().iter().enumerate() {
            let mut begin = item.clone();
            for key in ["summary", "content"] {
                if begin.get(key).is_some() {
                    begin[key] = json!([]);
                }
            }
            if begin.get("arguments").is_some() {
                begin["arguments"] = json!("");
            }
            if begin.get("encrypted_content").is_some() {
                // Only the one of the end counts.
                begin["encrypted_content"] = json!("gAAAearly");
            }
            events.push(json!({"type": "response.output_item.added", "output_index": index, "item": begin}));
            for (part, summary) in item["summary"].as_array().into_iter().flatten().enumerate() {
                let at = |kind: &str| json!({"type": kind, "item_id": item["id"], "output_index": index, "summary_index": part});
                let mut added = at("response.reasoning_summary_part.added");
                added["part"] = json!({"type": "summary_text", "text": ""});
                events.push(added);
                events.extend(each(&summary["text"], |one| {
                    let mut delta = at("response.reasoning_summary_text.delta");
                    delta["delta"] = json!(one);
                    delta
                }));
            }
            for (part, content) in item["content"].as_array().into_iter().flatten().enumerate().filter(|_| item["type"] == "reasoning") {
                let kind = "response.reasoning_text.delta";
                events.extend(each(
                    &content["text"],
                    |one| json!({"type": kind, "item_id": item["id"], "output_index": index, "content_index": part, "delta": one}),
                ));
            }
            events.push(json!({"type": "response.output_item.done", "output_index": index, "item": item}));
        }
        events.push(json!({"type": "response.completed", "response": response("completed", &self.pieces)}));
        events.into_iter().map(|event| (None, event)).collect()
    }

    fn gemini_events(&self) -> Vec<(Option<&'static str>, Value)> {
        let chunk = |part: Value| json!({"candidates": [{"content": {"parts": [part], "role": "model"}, "index": 0}], "responseId": "r-1"});
        let mut chunks: Vec<Value> = Vec::new();
        let mut joinable = false;
        for part in self.pieces() {
            let is_open_text = part.get("text").is_some() && part.get("thoughtSignature").is_none();
            // Two plain texts in a row would be one.
            assert!(!(joinable && is_open_text && part.get("thought").is_none()));
            joinable = is_open_text && part.get("thought").is_none();
            match is_open_text {
                true => chunks.extend(each(&part["text"], |one| {
                    let mut piece = part.clone();
                    piece["text"] = json!(one);
                    chunk(piece)
                })),
                false => chunks.push(chunk(part.clone())),
            }
        }
        chunks.push(json!({"candidates": [{"finishReason": "STOP", "index": 0}], "responseId": "r-1"}));
        chunks.into_iter().map(|chunk| (None, chunk)).collect()
    }

    fn converse_events(&self) -> Vec<(Option<&'static str>, Value)> {
        let mut events = vec![(Some("messageStart"), json!({"role": "assistant"}))];
        for (index, block) in self.pieces().iter().enumerate() {
            let delta = |delta: Value| (Some("contentBlockDelta"), json!({"contentBlockIndex": index, "delta": delta}));
            if let Some(call) = block.get("toolUse") {
                let start = json!({"toolUse": {"toolUseId": call["toolUseId"], "name": call["name"]}});
                events.push((Some("contentBlockStart"), json!({"contentBlockIndex": index, "start": start})));
                events.push(delta(json!({"toolUse": {"input": call["input"].to_string()}})));
            }
            events.extend(each(&block["text"], |one| json!({"text": one})).into_iter().map(delta));
            let thought = &block["reasoningContent"];
            events.extend(each(&thought["reasoningText"]["text"], |one| json!({"reasoningContent": {"text": one}})).into_iter().map(delta));
            for (key, data) in [("signature", &thought["reasoningText"]["signature"]), ("redactedContent", &thought["redactedContent"])] {
                if !data.is_null() {
                    events.push(delta(json!({"reasoningContent": {key: data}})));
                }
            }
            events.push((Some("contentBlockStop"), json!({"contentBlockIndex": index})));
        }
        events.push((Some("messageStop"), json!({"stopReason": "tool_use"})));
        let usage = json!({"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}, "metrics": {"latencyMs": 1}});
        events.push((Some("metadata"), usage));
        events
    }

    fn chat_events(&self) -> Vec<(Option<&'static str>, Value)> {
        let chunk = |delta: Value, finish: Value| {
            (
                None,
                json!({"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}),
            )
        };
        let of_call = |detail: &&Value| detail["id"] == "call_1";
        let mut events: Vec<_> = self
            .pieces()
            .iter()
            .filter(|detail| !of_call(detail))
            .map(|detail| chunk(json!({"role": "assistant", "content": "", "reasoning_details": [detail]}), Value::Null))
            .collect();
        events.push(chunk(json!({"content": "I look."}), Value::Null));
        let mut call = chat_call();
        call["index"] = json!(0);
        let signed: Vec<&Value> = self.pieces().iter().filter(of_call).collect();
        events.push(chunk(json!({"tool_calls": [call], "reasoning_details": signed}), Value::Null));
        events.push(chunk(json!({}), json!("tool_calls")));
        events
    }

    /// What of a request to the provider is the reply that came back.
    pub(crate) fn returned(&self, body: &[u8]) -> Value {
        let body: Value = serde_json::from_slice(body).unwrap();
        match self.dialect {
            Dialect::OpenaiChat => body["messages"][1]["reasoning_details"].clone(),
            Dialect::GeminiGenerate => body["contents"][1]["parts"].clone(),
            Dialect::AnthropicMessages | Dialect::BedrockConverse => body["messages"][1]["content"].clone(),
            Dialect::OpenaiResponses => {
                let items = body["input"].as_array().unwrap()[1..].iter();
                items.filter(|item| item["type"] != "function_call_output").map(essence).collect()
            }
        }
    }

    /// What the provider wants back.
    pub(crate) fn wanted(&self) -> Value {
        match self.dialect {
            Dialect::OpenaiResponses => self.pieces().iter().map(essence).collect(),
            _ => self.pieces.clone(),
        }
    }
}

/// Of an item: reasoning whole, of others what they say.
fn essence(item: &Value) -> Value {
    match item["type"].as_str() {
        Some("reasoning") => item.clone(),
        Some("function_call") => json!({"call_id": item["call_id"], "arguments": item["arguments"]}),
        _ => json!({"text": item["content"].as_str().map_or_else(|| item["content"][0]["text"].clone(), |text| json!(text))}),
    }
}

fn chat_call() -> Value {
    json!({"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{\"at\":\"x\"}"}})
}

fn each(text: &Value, make: impl Fn(String) -> Value) -> Vec<Value> {
    text.as_str().unwrap_or_default().chars().map(|one| make(one.to_string())).collect()
}
