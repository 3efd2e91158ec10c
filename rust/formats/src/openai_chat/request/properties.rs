//! What holds for every request.

#![expect(clippy::unwrap_used, reason = "tests")]

use fairlead_ir::{Block, Dialect, Kind, Losses, Origin, Request};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::decode::decode;
use super::encode::encode;
use super::tests::{target, written_for};
use crate::json::is_complete;
use crate::translate::Bridge;

/// An endpoint that takes everything this dialect can say.
const OPEN: [&str; 4] = ["openrouter_reasoning", "open_sampling", "media_tool_results", "cache_control_parts"];

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z \"\\\\\n]{1,12}", 1 => Just("é\u{2028}\u{1f600}".to_owned())]
}

fn mark() -> impl Strategy<Value = Option<Value>> {
    prop::option::weighted(0.2, prop_oneof![Just(json!({"type": "ephemeral"})), Just(json!({"type": "ephemeral", "ttl": "1h"}))])
}

fn part() -> impl Strategy<Value = Value> {
    let whole = prop_oneof![
        4 => any_text().prop_map(|text| json!({"type": "text", "text": text})),
        1 => Just(json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "high"}})),
        1 => Just(json!({"type": "image_url", "image_url": {"url": "https://example.org/a.png", "new": 1}})),
        1 => Just(json!({"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}})),
        1 => Just(json!({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}})),
        1 => Just(json!({"type": "file", "file": {"file_id": "file-1"}})),
        1 => Just(json!({"type": "new_part", "x": [1]})),
        1 => Just(json!({"type": "text", "text": "t", "citations": {"enabled": true}})),
    ];
    (whole, mark()).prop_map(|(mut part, mark)| {
        if let Some(mark) = mark.filter(|_| part["type"] != "new_part") {
            part["cache_control"] = mark;
        }
        part
    })
}

fn content() -> impl Strategy<Value = Value> {
    prop_oneof![any_text().prop_map(Value::from), prop::collection::vec(part(), 1..4).prop_map(Value::from)]
}

fn details() -> impl Strategy<Value = Value> {
    let block = prop_oneof![
        any_text().prop_map(|text| vec![json!({"type": "reasoning.text", "text": text, "signature": "s1"})]),
        any_text().prop_map(|text| vec![json!({"type": "reasoning.text", "text": text})]),
        Just(vec![json!({"type": "reasoning.encrypted", "data": "blob", "format": "anthropic-claude-v1"})]),
        any_text().prop_map(|text| vec![
            json!({"type": "reasoning.summary", "summary": text, "id": "rs_1"}),
            json!({"type": "reasoning.encrypted", "data": "x", "id": "rs_1"})
        ]),
    ];
    prop::collection::vec(block, 1..4).prop_map(|blocks| {
        let numbered = blocks.into_iter().enumerate().flat_map(|(index, entries)| {
            entries.into_iter().map(move |mut entry| {
                entry["index"] = json!(index);
                entry
            })
        });
        numbered.collect::<Vec<_>>().into()
    })
}

/// What belongs together: a user's message, or calls with all their answers.
fn round() -> impl Strategy<Value = Vec<Value>> {
    let user = (content(), prop::option::of(Just("ann"))).prop_map(|(content, name)| {
        let mut message = json!({"role": "user", "content": content});
        if let Some(name) = name {
            message["name"] = name.into();
        }
        vec![message]
    });
    let answer = (any_text(), prop::option::of(details())).prop_map(|(text, details)| {
        let mut message = json!({"role": "assistant", "content": text, "new_member": true});
        if let Some(details) = details {
            message["reasoning_details"] = details;
        }
        vec![message]
    });
    let calls = (1..3_usize, any_text(), content(), any::<bool>()).prop_map(|(count, argument, content, sealed)| {
        let ids: Vec<String> = (0..count).map(|number| format!("c{number}")).collect();
        let arguments = json!({"a": argument}).to_string();
        let calls: Vec<Value> =
            ids.iter().map(|id| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}})).collect();
        let mut message = json!({"role": "assistant", "content": null, "tool_calls": calls});
        if sealed {
            message["reasoning_details"] =
                json!([{"type": "reasoning.encrypted", "data": "sig", "id": "c0", "format": "google-gemini-v1", "index": 0}]);
        }
        let mut messages = vec![message];
        messages.extend(ids.iter().map(|id| json!({"role": "tool", "tool_call_id": id, "content": content})));
        messages
    });
    let late = any_text().prop_map(|text| vec![json!({"role": "system", "content": text})]);
    prop_oneof![3 => user, 2 => answer, 2 => calls, 1 => late]
}

fn body() -> impl Strategy<Value = Value> {
    let parameters = prop::collection::vec(
        prop::sample::select(vec![
            json!({"temperature": 0.25}),
            json!({"max_tokens": 100}),
            json!({"max_tokens": 100, "max_completion_tokens": 200}),
            json!({"stop": ["a", "b"]}),
            json!({"reasoning": {"effort": "high", "exclude": true}}),
            json!({"reasoning": {"max_tokens": 1000, "mode": "pro"}}),
            json!({"reasoning_effort": "high"}),
            json!({"tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": false, "x": 1}}], "tool_choice": "auto"}),
            json!({"tools": [{"type": "custom", "custom": {"name": "p"}}, {"type": "web_search"}], "parallel_tool_calls": false}),
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": true}}}),
            json!({"metadata": {"a": "b"}, "user": "u", "safety_identifier": "v", "store": false, "service_tier": "flex"}),
            json!({"logit_bias": {"1": 2}, "seed": 3, "n": 2}),
            json!({"stream": true, "stream_options": {"include_usage": true, "include_obfuscation": false}}),
            json!({"new": {"deep": [1, null]}}),
            json!({"top_k": 5, "min_p": 0.1}),
            json!({"web_search_options": {"search_context_size": "low"}}),
            json!({"cache_control": {"type": "ephemeral"}, "prompt_cache_key": "k"}),
        ]),
        0..5,
    );
    (prop::collection::vec(round(), 0..5), parameters).prop_map(|(rounds, parameters)| {
        let mut body = json!({"model": "m", "messages": rounds.concat()});
        for (name, value) in parameters.iter().flat_map(|some| some.as_object().unwrap()) {
            body[name] = value.clone();
        }
        body
    })
}

/// The same without what writing changes on purpose: places of parts, and usage being asked for.
fn meaning(mut request: Request<'_>) -> Request<'_> {
    request.labels.include_usage = None;
    request.spelt.clear();
    let clear = |block: &mut Block<'_>| block.origin = Origin::default();
    for turn in &mut request.turns {
        for block in &mut turn.blocks {
            if let Kind::ToolResult(result) = &mut block.kind {
                result.content.iter_mut().for_each(clear);
            }
            clear(block);
        }
    }
    request.rest.sort_by(|left, right| left.name.as_bytes().cmp(right.name.as_bytes()));
    request
}

proptest! {
    #[test]
    fn own_requests_keep_their_meaning(body in body()) {
        let text = body.to_string();
        let request = decode(text.as_bytes()).unwrap();
        let (mut out, mut losses) = (Vec::new(), Losses::new());
        encode(&request, &target(&OPEN), &mut out, &mut losses, &mut Bridge::of(&request)).unwrap();
        prop_assert_eq!(losses.as_slice(), &[]);
        prop_assert!(is_complete(&out));
        let again = decode(&out).unwrap();
        prop_assert_eq!(meaning(request), meaning(again), "{}", String::from_utf8_lossy(&out));
    }

    #[test]
    fn a_longer_conversation_begins_with_the_shorter(
        rounds in prop::collection::vec(round(), 1..6),
        traits in prop::collection::vec(prop::sample::select(vec!["no_system_role", "no_mid_system", "media_tool_results", "openrouter_reasoning", "object_arguments", "reasoning_content_required", "no_json_schema"]), 0..4),
        own in any::<bool>(),
    ) {
        let format = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {}}});
        let mut before: Vec<Value> = Vec::new();
        for count in 1..=rounds.len() {
            let body = json!({"messages": rounds[..count].concat(), "response_format": format}).to_string();
            let mut request = decode(body.as_bytes()).unwrap();
            if !own {
                request.source = Dialect::AnthropicMessages;
            }
            let (out, _) = written_for(&request, &target(&traits));
            let pieces = pieces(&out["messages"]);
            prop_assert!(pieces.starts_with(&before), "{:#?}\n{:#?}", before, pieces);
            before = pieces;
        }
    }

    #[test]
    fn nothing_panics(text in "\\PC{0,60}", body in body(), at in any::<prop::sample::Index>(), put in prop::sample::select(vec!["null", "1", "\"x\"", "[]", "{}", "[{}]", "{\"type\":\"function\"}"])) {
        let _ = decode(text.as_bytes());
        // Any value in the place of another.
        let text = body.to_string();
        let starts: Vec<usize> = text.match_indices(':').map(|(at, _)| at + 1).collect();
        let start = *at.get(&starts);
        let mut cursor = crate::json::walk::Cursor::new(&text.as_bytes()[start..]);
        if let Ok(value) = cursor.skip() {
            let damaged = format!("{}{put}{}", &text[..start], &text[start + value.len()..]);
            if is_complete(damaged.as_bytes())
                && let Ok(request) = decode(damaged.as_bytes())
            {
                written_for(&request, &target(&[]));
            }
        }
    }
}

/// Messages taken apart: each part with the role of its message, so that a message may grow at its end.
fn pieces(messages: &Value) -> Vec<Value> {
    let mut pieces = Vec::new();
    for message in messages.as_array().unwrap() {
        match message["content"].as_array() {
            Some(parts) if message["role"] == "user" => pieces.extend(parts.iter().map(|part| json!({"role": "user", "part": part}))),
            _ => pieces.push(message.clone()),
        }
    }
    pieces
}
