//! What all dialects can say survives a way through any two of them: requests, replies and streams, said once and compared as what they mean.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use fairlead_formats::eventstream;
use fairlead_formats::identity::Identity;
use fairlead_formats::sse;
use fairlead_formats::text;
use fairlead_formats::traits::Traits;
use fairlead_formats::translate::{Bridge, Face, Target, Wanted, dialects, stream::Stream};
use fairlead_ir::block::Arguments;
use fairlead_ir::request::Labels;
use fairlead_ir::{Block, Delta, Dialect, Event, Head, Kind, Losses, Manner, Request, Response, Role, Severity, Text, ToolKind, Usage};
use proptest::prelude::*;
use serde_json::{Value, json};

// --- what is said -----------------------------------------------------------------------------------------------------

/// A text that no dialect trims or leaves out.
fn words() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["hello", "a \"b\"\n\tc", "größe 世界 \u{1f600}", "x\\y", "{\"a\":1}", "line\u{2028}break", "0"])
        .prop_map(str::to_owned)
}

fn arguments() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        words().prop_map(Value::from),
        (-9..9_i64).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(json!([1, {"b": null}]))
    ];
    prop::collection::btree_map(prop::sample::select(vec!["a", "b c", "größe"]), value, 0..3).prop_map(|members| json!(members))
}

/// Name, arguments and result.
type Call = (String, Value, String);

/// A question and what the model did: it answered, or it called and got results and answered then.
fn round() -> impl Strategy<Value = (String, Vec<Call>, Option<String>, String)> {
    let call = (prop::sample::select(vec!["get", "read_file"]).prop_map(str::to_owned), arguments(), words());
    (words(), prop::collection::vec(call, 0..3), prop::option::of(words()), words())
}

prop_compose! {
    /// A chat request.
    fn conversation()(
        system in prop::option::of(words()),
        rounds in prop::collection::vec(round(), 0..4),
        question in words(),
        description in words(),
        limit in 16..9000_u64,
        heat in prop::option::of(prop::sample::select(vec![json!(0), json!(0.25), json!(1)])),
    ) -> Value {
        let mut messages: Vec<Value> = system.map(|text| json!({"role": "system", "content": text})).into_iter().collect();
        for (number, (question, calls, before, answer)) in rounds.into_iter().enumerate() {
            messages.push(json!({"role": "user", "content": question}));
            if !calls.is_empty() {
                let call = |(at, (name, arguments, _)): (usize, &(String, Value, String))| {
                    json!({"id": format!("call_{number}_{at}"), "type": "function", "function": {"name": name, "arguments": arguments.to_string()}})
                };
                let listed: Vec<Value> = calls.iter().enumerate().map(call).collect();
                messages.push(json!({"role": "assistant", "content": before, "tool_calls": listed}));
                messages.extend(calls.iter().enumerate().map(|(at, (.., result))| json!({"role": "tool", "tool_call_id": format!("call_{number}_{at}"), "content": result})));
            }
            messages.push(json!({"role": "assistant", "content": answer}));
        }
        messages.push(json!({"role": "user", "content": question}));
        let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
        let tool = |name: &str| json!({"type": "function", "function": {"name": name, "description": description, "parameters": schema}});
        let mut body = json!({"model": "m", "messages": messages, "tools": [tool("get"), tool("read_file")], "max_completion_tokens": limit});
        if let Some(heat) = heat {
            body["temperature"] = heat;
        }
        body
    }
}

// --- what it means ----------------------------------------------------------------------------------------------------

/// What a request says, in an order that every dialect keeps: calls and results by their places, ids are each dialect's own.
fn meaning(request: &Request<'_>) -> Value {
    let mut ids = Vec::new();
    let mut turns: Vec<Value> = Vec::new();
    for turn in &request.turns {
        let role = match turn.role {
            Role::System | Role::Developer => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        turns.extend(turn.blocks.iter().map(|block| json!([role, block_meaning(block, &mut ids)])));
    }
    let tool = |tool: &fairlead_ir::Tool<'_>| match &tool.kind {
        ToolKind::Function { parameters } => {
            json!([plain(&tool.name), tool.description.as_ref().map(plain), parameters.as_ref().map(|schema| parsed(schema.as_bytes()))])
        }
        other => panic!("{other:?}"),
    };
    let number = |raw: &fairlead_ir::Raw<'_>| parsed(raw.as_bytes()).as_f64();
    json!({
        "turns": turns,
        "tools": request.tools.iter().map(tool).collect::<Vec<_>>(),
        "limit": request.max_output_tokens,
        "temperature": request.sampling.temperature.as_ref().map(number),
    })
}

fn block_meaning(block: &Block<'_>, ids: &mut Vec<String>) -> Value {
    match &block.kind {
        Kind::Text { text, .. } => json!(plain(text)),
        Kind::ToolCall(call) => {
            ids.push(plain(&call.id));
            json!(["call", plain(&call.name), arguments_of(&call.arguments)])
        }
        Kind::ToolResult(result) => {
            let of = ids.iter().rposition(|id| *id == plain(&result.id));
            json!(["result", of, result.content.iter().map(result_text).collect::<String>(), result.is_error])
        }
        other => panic!("{other:?}"),
    }
}

/// Gemini and Converse may wrap a result's text as an object: what it says is what counts.
fn result_text(block: &Block<'_>) -> String {
    match &block.kind {
        Kind::Text { text, .. } => plain(text),
        Kind::Opaque { raw, .. } => {
            let value = parsed(raw.as_bytes());
            value["output"].as_str().map_or_else(|| value.to_string(), str::to_owned)
        }
        other => panic!("{other:?}"),
    }
}

fn arguments_of(arguments: &Arguments<'_>) -> Value {
    match arguments {
        Arguments::Json(raw) => parsed(raw.as_bytes()),
        Arguments::Quoted(text) => parsed(plain(text).as_bytes()),
        Arguments::Free(text) => panic!("{text:?}"),
    }
}

fn plain(text: &Text<'_>) -> String {
    text::decode(text).unwrap().into_owned()
}

fn parsed(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap()
}

/// No more than hints.
fn check_losses(losses: &Losses) {
    let grave: Vec<String> = losses.as_slice().iter().filter(|loss| loss.severity != Severity::Hint).map(ToString::to_string).collect();
    assert!(grave.is_empty(), "{grave:?}");
}

// --- the ways ---------------------------------------------------------------------------------------------------------

/// A dialect to go through, and one to end in.
fn way() -> impl Strategy<Value = (Dialect, Dialect)> {
    (prop::sample::select(Dialect::ALL.to_vec()), prop::sample::select(Dialect::ALL.to_vec()))
}

fn write_request(request: &Request<'_>, dialect: Dialect) -> Vec<u8> {
    let made = dialects::encode_request(request, &Target::new(dialect, "m")).unwrap();
    check_losses(&made.losses);
    made.body
}

fn write_reply(response: &Response<'_>, dialect: Dialect) -> Vec<u8> {
    let (identity, bridge, mut out) = (identity(), Bridge::default(), Vec::new());
    let losses = dialects::encode_response(dialect, response, &Face { identity: &identity, bridge: &bridge }, None, &mut out);
    check_losses(&losses);
    out
}

/// The blocks of a reply, why it ended and what it used.
fn reply_meaning(response: &Response<'_>) -> Value {
    let choice = response.choices.first().unwrap();
    let blocks: Vec<Value> = choice.blocks.iter().map(|block| block_meaning(block, &mut Vec::new())).collect();
    json!([blocks, format!("{:?}", choice.stop.as_ref().unwrap().reason), response.usage.as_ref().map(used)])
}

/// What all dialects report. A prompt's tokens together: not every dialect tells apart what was written to a cache.
fn used(usage: &Usage) -> Value {
    json!([usage.total_prompt_tokens(), usage.cache_read_tokens, usage.completion_tokens])
}

fn identity() -> Identity {
    Identity::new(Manner::Native, "gen-1", "acme/fast", "Lab", 7)
}

/// A step of a stream: a piece of text, or a whole call in pieces.
#[derive(Clone, Debug)]
enum Told {
    Text(String),
    Call(String, Value),
}

fn told() -> impl Strategy<Value = Vec<Told>> {
    let call = (prop::sample::select(vec!["get", "read_file"]).prop_map(str::to_owned), arguments());
    let step = prop_oneof![2 => words().prop_map(Told::Text), 1 => call.prop_map(|(name, arguments)| Told::Call(name, arguments))];
    prop::collection::vec(step, 1..8)
}

/// Such a stream as chat has it; text that follows a call stands before it there, so calls come last.
fn chat_stream(steps: &[Told]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chunk = |delta: Value, finish: Option<&str>| {
        let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        sse::encode(None, &chunk.to_string(), &mut out);
    };
    chunk(json!({"role": "assistant", "content": ""}), None);
    let (texts, calls): (Vec<&Told>, Vec<&Told>) = steps.iter().partition(|step| matches!(step, Told::Text(_)));
    for step in texts {
        if let Told::Text(text) = step {
            chunk(json!({"content": text}), None);
        }
    }
    for (index, step) in calls.iter().enumerate() {
        if let Told::Call(name, arguments) = step {
            let head =
                json!({"index": index, "id": format!("call_{index}"), "type": "function", "function": {"name": name, "arguments": ""}});
            chunk(json!({"tool_calls": [head]}), None);
            let text: Vec<char> = arguments.to_string().chars().collect();
            for piece in text.chunks(5) {
                let piece: String = piece.iter().collect();
                chunk(json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}), None);
            }
        }
    }
    chunk(json!({}), Some(if calls.is_empty() { "stop" } else { "tool_calls" }));
    let usage = json!({"id": "c", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14, "prompt_tokens_details": {"cached_tokens": 4}}});
    sse::encode(None, &usage.to_string(), &mut out);
    sse::encode(None, "[DONE]", &mut out);
    out
}

fn through(source: Dialect, target: Dialect, stream: &[u8], piece_bytes: usize) -> Vec<u8> {
    let labels = Labels { include_usage: Some(true), ..Labels::default() };
    let bridge = Bridge::of(&Request { labels, ..Request::new(target) });
    let wanted = Wanted { source, identity: Arc::new(identity()), bridge: Arc::new(bridge), json_array: false };
    let mut translated = Stream::new(target, Traits::NONE, 1 << 20, wanted);
    let mut out = Vec::new();
    stream.chunks(piece_bytes).for_each(|piece| translated.feed(piece, &mut out));
    translated.finish(None, &mut out);
    check_losses(translated.losses());
    out
}

/// Texts, calls, the end and what was used, as a reader of the dialect sees them.
fn stream_meaning(dialect: Dialect, stream: &[u8]) -> Value {
    let (mut text, mut calls, mut stop, mut usage) = (String::new(), BTreeMap::<u32, (String, String)>::new(), String::new(), None);
    for_each_event(dialect, stream, |event| match event {
        Event::Delta { delta: Delta::Text(piece), .. } => text.push_str(&plain(&piece)),
        Event::Open { block, head: Head::ToolCall { name, .. }, .. } => drop(calls.insert(block, (plain(&name), String::new()))),
        Event::Delta { block, delta: Delta::Arguments(piece), .. } => calls.get_mut(&block).unwrap().1.push_str(&plain(&piece)),
        Event::Stop { stop: found, .. } => stop = format!("{:?}", found.reason),
        Event::Usage(found) => usage = Some(used(&found)),
        Event::Fail { message, .. } => panic!("{message:?}"),
        _ => {}
    });
    let calls: Vec<Value> = calls.values().map(|(name, arguments)| json!([name, parsed(arguments.as_bytes())])).collect();
    json!([text, calls, stop, usage])
}

fn for_each_event(dialect: Dialect, stream: &[u8], mut sink: impl FnMut(Event<'_>)) {
    let mut decoder = dialects::StreamDecoder::new(dialect, Traits::NONE);
    if dialect == Dialect::BedrockConverse {
        let (mut framer, mut from) = (eventstream::Framer::new(eventstream::MAX_PAYLOAD_BYTES), 0);
        while let Some(end) = framer.next_end(stream, from).unwrap() {
            let message = eventstream::read(&stream[from..end]).unwrap();
            decoder.event(message.name(), message.data(), &mut sink).unwrap();
            from = end;
        }
    } else {
        let mut events = Vec::new();
        sse::Decoder::new(usize::MAX).feed(stream, &mut events).unwrap();
        events.iter().for_each(|event| decoder.event(Some(event.event.as_bytes()), event.data.as_bytes(), &mut sink).unwrap());
    }
    decoder.finish(&mut sink);
}

/// The conversation of a body in pieces that a longer one may only add to, and everything else.
fn taken_apart(dialect: Dialect, body: &[u8]) -> (Vec<Value>, Value) {
    let (list, parts) = match dialect {
        Dialect::OpenaiResponses => ("input", "content"),
        Dialect::GeminiGenerate => ("contents", "parts"),
        _ => ("messages", "content"),
    };
    let mut body = parsed(body);
    let Value::Array(messages) = body[list].take() else { panic!("{body}") };
    let mut pieces = Vec::new();
    for mut message in messages {
        match message[parts].take() {
            Value::Array(elements) => pieces.extend(elements.into_iter().map(|element| json!([message, element]))),
            whole => pieces.push(json!([message, whole])),
        }
    }
    (pieces, body)
}

proptest! {
    /// Prompt caches and the signatures of thoughts depend on the prefix.
    #[test]
    fn a_longer_conversation_begins_with_the_shorter(body in conversation(), at in any::<prop::sample::Index>(), (first, second) in way()) {
        let mut shorter = body.clone();
        let messages = shorter["messages"].as_array_mut().unwrap();
        let questions: Vec<usize> = (0..messages.len()).filter(|place| messages[*place]["role"] == "user").collect();
        messages.truncate(at.get(&questions) + 1);
        let [shorter, longer] = [shorter, body].map(|body| {
            let body = body.to_string();
            let there = write_request(&dialects::decode_request(Dialect::OpenaiChat, body.as_bytes()).unwrap(), first);
            let further = write_request(&dialects::decode_request(first, &there).unwrap(), second);
            taken_apart(second, &further)
        });
        prop_assert_eq!(&longer.0[..shorter.0.len()], &shorter.0[..], "{:?}, {:?}", first, second);
        prop_assert_eq!(longer.1, shorter.1);
    }

    #[test]
    fn a_request_means_the_same_behind_any_two_dialects(body in conversation(), (first, second) in way()) {
        let body = body.to_string();
        let said = dialects::decode_request(Dialect::OpenaiChat, body.as_bytes()).unwrap();
        let wanted = meaning(&said);
        let there = write_request(&said, first);
        let read = dialects::decode_request(first, &there).unwrap();
        let further = write_request(&read, second);
        let again = dialects::decode_request(second, &further).unwrap();
        prop_assert_eq!(meaning(&again), wanted, "{:?}, {:?}: {}\n{}", first, second, String::from_utf8_lossy(&there), String::from_utf8_lossy(&further));
    }

    #[test]
    fn a_reply_means_the_same_behind_any_two_dialects(
        answer in prop::option::of(words()),
        calls in prop::collection::vec((prop::sample::select(vec!["get", "read_file"]), arguments()), 0..3),
        cut in any::<bool>(),
        tokens in (0..9000_u64, 0..9000_u64, 0..9000_u64),
        (first, second) in way(),
    ) {
        let calls: Vec<Value> = calls.iter().enumerate().map(|(at, (name, arguments))| {
            json!({"id": format!("call_{at}"), "type": "function", "function": {"name": name, "arguments": arguments.to_string()}})
        }).collect();
        let finish = if !calls.is_empty() { "tool_calls" } else if cut { "length" } else { "stop" };
        let answer = answer.or_else(|| calls.is_empty().then(|| "so".to_owned()));
        let mut message = json!({"role": "assistant", "content": answer});
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
        }
        let (fresh, cached, completion) = tokens;
        let usage = json!({"prompt_tokens": fresh + cached, "completion_tokens": completion, "total_tokens": fresh + cached + completion, "prompt_tokens_details": {"cached_tokens": cached}});
        let body = json!({"id": "c", "object": "chat.completion", "created": 7, "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage}).to_string();
        let said = dialects::decode_response(Dialect::OpenaiChat, body.as_bytes(), &Traits::NONE).unwrap();
        let wanted = reply_meaning(&said);
        let there = write_reply(&said, first);
        let read = dialects::decode_response(first, &there, &Traits::NONE).unwrap();
        let further = write_reply(&read, second);
        let again = dialects::decode_response(second, &further, &Traits::NONE).unwrap();
        prop_assert_eq!(reply_meaning(&again), wanted, "{:?}, {:?}: {}\n{}", first, second, String::from_utf8_lossy(&there), String::from_utf8_lossy(&further));
    }

    #[test]
    fn a_stream_means_the_same_behind_any_two_dialects(steps in told(), piece_bytes in 1..300_usize, (first, second) in way()) {
        let stream = chat_stream(&steps);
        let wanted = stream_meaning(Dialect::OpenaiChat, &stream);
        let there = through(Dialect::OpenaiChat, first, &stream, piece_bytes);
        let further = through(first, second, &there, piece_bytes);
        prop_assert_eq!(stream_meaning(second, &further), wanted, "{:?}, {:?}: {}\n{}", first, second, String::from_utf8_lossy(&there), String::from_utf8_lossy(&further));
    }
}
