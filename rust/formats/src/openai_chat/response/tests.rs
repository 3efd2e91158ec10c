//! Whole replies in both directions.

#![expect(clippy::unwrap_used, reason = "tests")]

use fairlead_ir::block::{Arguments, Citation, Media, MediaClass, MediaSource, Seal, Thought, ThoughtPart, ThoughtShape, ToolCall};
use fairlead_ir::{Block, Choice, Dialect, Kind, Losses, Manner, Member, NanoUsd, Origin, Raw, Response, Stop, StopReason, Text, Usage};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::decode::decode;
use super::encode::encode;
use crate::identity::Identity;
use crate::json::is_complete;
use crate::traits::Traits;
use crate::translate::{Bridge, Face};

fn read_with(body: &Value, traits: &[&str]) -> Response<'static> {
    decode(body.to_string().into_bytes().leak(), &Traits::from_names(traits).unwrap()).unwrap()
}

fn read(body: &Value) -> Response<'static> {
    read_with(body, &[])
}

/// A reply with this message and finish.
fn reply(message: Value, finish: Value) -> Value {
    json!({"id": "r1", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": finish}]})
}

fn reason(body: &Value) -> Option<StopReason> {
    read(body).choices[0].stop.as_ref().map(|stop| stop.reason)
}

fn call() -> Value {
    json!([{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}])
}

// --- in ---------------------------------------------------------------------------------------------------------------

#[test]
fn calls_decide_the_reason() {
    for (message, finish, expected) in [
        (json!({"content": "a"}), json!("stop"), Some(StopReason::End)),
        (json!({"content": null, "tool_calls": call()}), json!("stop"), Some(StopReason::ToolCalls)),
        (json!({"content": null, "tool_calls": call()}), json!("length"), Some(StopReason::MaxTokens)),
        (json!({"content": null, "tool_calls": call()}), Value::Null, Some(StopReason::ToolCalls)),
        (json!({"content": "a", "tool_calls": []}), json!("tool_calls"), Some(StopReason::End)),
        (json!({"content": "a"}), Value::Null, None),
        (json!({"content": "a"}), json!(""), None),
        (json!({"content": "a"}), json!("MODEL_LENGTH"), Some(StopReason::ContextWindow)),
    ] {
        assert_eq!(reason(&reply(message.clone(), finish.clone())), expected, "{message} {finish}");
    }
    let named =
        json!({"choices": [{"message": {"content": "a"}, "finish_reason": "stop", "stop_reason": "END", "native_finish_reason": "x"}]});
    let stop = read(&named).choices.remove(0).stop.unwrap();
    assert_eq!((stop.reason, stop.sequence, stop.native), (StopReason::StopSequence, Some(Text::word("END")), Text::word("x")));
    let by_id = json!({"choices": [{"message": {"content": "a"}, "finish_reason": "stop", "matched_stop": 151645}]});
    assert_eq!(reason(&by_id), Some(StopReason::End));
}

#[test]
fn thoughts_of_many_hosts() {
    let thought = |message: Value, traits: &[&str]| {
        let blocks = read_with(&reply(message, json!("stop")), traits).choices.remove(0).blocks;
        let texts = blocks.iter().map(|block| match &block.kind {
            Kind::Thought(thought) => format!(
                "thought:{}",
                thought.parts.iter().map(|part| String::from_utf8_lossy(part.text.as_bytes()).into_owned()).collect::<String>()
            ),
            Kind::Text { text, .. } => format!("text:{}", String::from_utf8_lossy(text.as_bytes())),
            other => format!("{other:?}"),
        });
        texts.collect::<Vec<_>>()
    };
    let both = ["thought:hm", "text:hi"];
    assert_eq!(thought(json!({"content": "hi", "reasoning": "hm"}), &[]), both);
    assert_eq!(thought(json!({"content": "hi", "reasoning_content": "hm", "reasoning": "hm"}), &[]), both);
    assert_eq!(
        thought(
            json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "hi"}]}),
            &[]
        ),
        both
    );
    assert_eq!(thought(json!({"content": "<think>hm</think>\n\nhi"}), &["think_tags"]), both);
    assert_eq!(thought(json!({"content": "<think>hm</think>hi"}), &[]), ["text:<think>hm</think>hi"]);
    assert_eq!(
        thought(
            json!({"content": "hi", "reasoning": "hm", "reasoning_details": [{"type": "reasoning.encrypted", "data": "x", "id": "rs_1"}]}),
            &[]
        )
        .len(),
        3
    );
}

#[test]
fn usage_in_every_place() {
    let usage = |body: Value, traits: &[&str]| read_with(&body, traits).usage.map(|usage| (usage.prompt_tokens, usage.completion_tokens));
    let figures = json!({"prompt_tokens": 9, "completion_tokens": 2});
    let choice = json!([{"message": {"content": "a"}}]);
    assert_eq!(usage(json!({"choices": choice, "usage": figures}), &[]), Some((9, 2)));
    assert_eq!(usage(json!({"choices": [{"message": {"content": "a"}, "usage": figures}], "usage": null}), &[]), Some((9, 2)));
    assert_eq!(usage(json!({"choices": choice}), &[]), None);
    let beside = json!({"choices": choice, "usage": {"prompt_tokens": 9, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 5}}});
    assert_eq!(usage(beside.clone(), &["reasoning_outside_completion"]), Some((9, 7)));
    assert_eq!(usage(beside, &[]), Some((9, 2)));
}

#[test]
fn calls_without_ids_get_them() {
    let body = reply(
        json!({"content": null, "tool_calls": [{"function": {"name": "f", "arguments": {}}}, {"id": "", "function": {"name": "g"}}]}),
        json!("stop"),
    );
    let ids: Vec<Text<'_>> = read(&body)
        .choices
        .remove(0)
        .blocks
        .into_iter()
        .filter_map(|block| match block.kind {
            Kind::ToolCall(call) => Some(call.id),
            _ => None,
        })
        .collect();
    assert!(ids[0] != ids[1] && ids.iter().all(|id| id.as_bytes().starts_with(b"call_")), "{ids:?}");
    let other = Value::Object(
        body.as_object()
            .unwrap()
            .clone()
            .into_iter()
            .map(|(name, value)| if name == "id" { (name, json!("r2")) } else { (name, value) })
            .collect(),
    );
    let Kind::ToolCall(call) = read(&other).choices.remove(0).blocks.remove(0).kind else { unreachable!() };
    assert_ne!(call.id, ids[0], "another reply's ids are others");
}

#[test]
fn choices_come_in_their_order() {
    let choice = |index: u8, text: &str| json!({"index": index, "message": {"content": text}});
    let choices = read(&json!({"choices": [choice(1, "b"), choice(0, "a")]})).choices;
    let texts = choices.iter().map(|choice| &choice.blocks[0].kind);
    assert!(texts.map(|kind| matches!(kind, Kind::Text { text, .. } if text.is("a"))).eq([true, false]));
}

#[test]
fn what_is_about_the_service_is_no_rest() {
    let body = json!({"object": "chat.completion", "provider": "Lab", "system_fingerprint": null, "x_groq": {"id": "r"}, "citations": ["https://e.org"], "choices": [{"message": {"content": "a"}}]});
    assert_eq!(read(&body).rest.iter().map(|member| member.name.clone()).collect::<Vec<_>>(), [Text::word("citations")]);
}

#[test]
fn what_is_no_reply_is_a_fault() {
    for (body, expected) in [
        (json!({}), "the body must have choices"),
        (json!({"choices": []}), "the body must have choices"),
        (json!({"error": {"message": "busy"}, "choices": []}), r#""error" says: busy"#),
        (json!({"choices": [{"error": {"message": "busy"}}]}), r#""choices[0].error" says: busy"#),
        (json!({"choices": [{"message": {"content": 1}}]}), r#""choices[0].message.content" must be a string or an array of parts"#),
        (json!({"choices": [{"message": {"tool_calls": [{}]}}]}), r#""choices[0].message.tool_calls[0]" must have a function"#),
    ] {
        assert_eq!(decode(body.to_string().as_bytes(), &Traits::NONE).unwrap_err().to_string(), expected, "{body}");
    }
    assert!(decode(br#"{"error":null,"choices":[{"message":{"content":"a"}}]}"#, &Traits::NONE).is_ok());
}

// --- out --------------------------------------------------------------------------------------------------------------

fn identity(manner: Manner) -> Identity {
    Identity::new(manner, "gen-0-00ff", "acme/fast", "Lab", 7)
}

fn changed(change: impl FnOnce(&mut Bridge)) -> Bridge {
    let mut bridge = Bridge::default();
    change(&mut bridge);
    bridge
}

fn written_with(response: &Response<'_>, manner: Manner, bridge: &Bridge) -> (Value, Vec<(String, &'static str)>) {
    let (mut out, mut losses, identity) = (Vec::new(), Losses::new(), identity(manner));
    encode(response, &Face { identity: &identity, bridge }, Some(NanoUsd(2_500)), &mut out, &mut losses);
    assert!(is_complete(&out), "{}", String::from_utf8_lossy(&out));
    let losses = losses.as_slice().iter().map(|loss| (loss.path.clone(), loss.severity.name())).collect();
    (serde_json::from_slice(&out).unwrap(), losses)
}

fn written(response: &Response<'_>, manner: Manner) -> Value {
    let (out, losses) = written_with(response, manner, &Bridge::default());
    assert_eq!(losses, []);
    out
}

/// A reply of another dialect with these blocks.
fn foreign(blocks: Vec<Block<'static>>, reason: StopReason, native: &'static str) -> Response<'static> {
    let stop = Some(Stop { reason, native: Text::word(native), sequence: None, details: None });
    let usage = Some(Usage { prompt_tokens: 3, cache_read_tokens: 2, completion_tokens: 4, reasoning_tokens: 1, ..Usage::default() });
    let choices = vec![Choice { blocks, stop, logprobs: None }];
    Response { id: Text::word("msg_1"), model: Text::word("lab-1"), choices, usage, ..Response::new(Dialect::AnthropicMessages) }
}

fn block(kind: Kind<'static>) -> Block<'static> {
    Block::new(kind, Origin::item("content", 0))
}

fn said(text: &'static str) -> Block<'static> {
    Block::text(Text::word(text), Origin::item("content", 0))
}

fn tool_call(name: &'static str, arguments: Arguments<'static>) -> Block<'static> {
    block(Kind::ToolCall(ToolCall { id: Text::word("toolu_1"), name: Text::word(name), arguments }))
}

fn thought(text: &'static str, seal: Option<&'static str>) -> Block<'static> {
    let parts = vec![ThoughtPart { shape: ThoughtShape::Full, text: Text::word(text) }];
    let seal = seal.map(|data| Seal { data: Text::word(data), maker: None });
    Block { seal, ..block(Kind::Thought(Thought { parts, ..Thought::default() })) }
}

const DETAILS: &str = r#"{"prompt_tokens":5,"completion_tokens":4,"total_tokens":9,"cost":0.0000025,"prompt_tokens_details":{"cached_tokens":2,"cache_write_tokens":0},"completion_tokens_details":{"reasoning_tokens":1}}"#;

#[test]
fn both_manners() {
    let response = foreign(vec![said("a"), said("b")], StopReason::End, "end_turn");
    let mut usage: Value = serde_json::from_str(DETAILS).unwrap();
    let message = json!({"role": "assistant", "content": "ab", "refusal": null});
    let native = json!({"id": "msg_1", "object": "chat.completion", "created": 7, "model": "lab-1",
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"}], "usage": usage});
    assert_eq!(written(&response, Manner::Native), native);
    usage["is_byok"] = json!(false);
    let openrouter = json!({"id": "gen-0-00ff", "object": "chat.completion", "created": 7, "model": "acme/fast", "provider": "Lab", "system_fingerprint": null,
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": "stop", "native_finish_reason": "end_turn"}], "usage": usage});
    assert_eq!(written(&response, Manner::Openrouter), openrouter);
}

#[test]
fn thoughts_and_calls() {
    let blocks = vec![thought("hm", Some("sig")), tool_call("f", Arguments::Json(Raw::json(br#"{"a":1}"#)))];
    let choice = &written(&foreign(blocks.clone(), StopReason::ToolCalls, "tool_use"), Manner::Openrouter)["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    let expected = json!({"role": "assistant", "content": null, "refusal": null, "reasoning": "hm",
        "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "sig", "format": "anthropic-claude-v1", "index": 0}],
        "tool_calls": [{"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]});
    assert_eq!(choice["message"], expected);
    let hidden = changed(|bridge| bridge.hide_thoughts = true);
    let (out, _) = written_with(&foreign(blocks, StopReason::ToolCalls, "tool_use"), Manner::Openrouter, &hidden);
    assert_eq!(out["choices"][0]["message"].get("reasoning"), None);
    assert_eq!(
        out["choices"][0]["message"]["reasoning_details"],
        json!([{"type": "reasoning.text", "signature": "sig", "format": "anthropic-claude-v1", "index": 0}])
    );
}

#[test]
fn signatures_of_calls_carry_the_calls_id() {
    let mut call = tool_call("f", Arguments::Json(Raw::json(b"{}")));
    call.seal = Some(Seal { data: Text::word("sig"), maker: None });
    let out = written(&foreign(vec![call], StopReason::ToolCalls, "STOP"), Manner::Native);
    let entry = json!([{"type": "reasoning.encrypted", "data": "sig", "id": "toolu_1", "format": "google-gemini-v1", "index": 0}]);
    assert_eq!(out["choices"][0]["message"]["reasoning_details"], entry);
}

#[test]
fn tools_come_back_as_the_caller_gave_them() {
    let mut bridge = Bridge::default();
    bridge.tool(&Text::word("mcp_read_1"), &Text::word("mcp.read"), false);
    bridge.tool(&Text::word("patch"), &Text::word("patch"), true);
    let blocks = vec![
        tool_call("mcp_read_1", Arguments::Quoted(Text::word("{}"))),
        tool_call("patch", Arguments::Json(Raw::json(br#"{"input":"a\nb"}"#))),
    ];
    let response = foreign(blocks, StopReason::ToolCalls, "tool_use");
    let (out, _) = written_with(&response, Manner::Native, &bridge);
    let calls = &out["choices"][0]["message"]["tool_calls"];
    assert_eq!(calls[0]["function"]["name"], "mcp.read");
    assert_eq!(calls[1], json!({"id": "toolu_1", "type": "custom", "custom": {"name": "patch", "input": "a\nb"}}));
    let legacy = changed(|bridge| bridge.legacy_functions = true);
    let (out, losses) = written_with(&response, Manner::Native, &legacy);
    assert_eq!(out["choices"][0]["message"]["function_call"], json!({"name": "mcp_read_1", "arguments": "{}"}));
    assert_eq!((out["choices"][0]["finish_reason"].as_str(), losses), (Some("function_call"), vec![("content[0]".to_owned(), "dropped")]));
}

#[test]
fn a_tool_that_stands_for_the_form_is_the_text() {
    let bridge = changed(|bridge| bridge.format_tool = Some("answer".to_owned()));
    let response = foreign(vec![tool_call("answer", Arguments::Json(Raw::json(br#"{"a":1}"#)))], StopReason::ToolCalls, "tool_use");
    let (out, _) = written_with(&response, Manner::Native, &bridge);
    assert_eq!((&out["choices"][0]["message"]["content"], &out["choices"][0]["finish_reason"]), (&json!("{\"a\":1}"), &json!("stop")));
}

#[test]
fn citations_count_from_the_start_of_the_reply() {
    let citation = |url: Option<&'static str>| Citation {
        url: url.map(Text::word),
        title: Some(Text::word("E")),
        quote: None,
        range: None,
        raw: Raw::json(b"{}"),
    };
    let cited = block(Kind::Text { text: Text::word("cd"), citations: vec![citation(Some("https://e.org")), citation(None)] });
    let (out, losses) = written_with(&foreign(vec![said("ab"), cited], StopReason::End, "end_turn"), Manner::Native, &Bridge::default());
    let annotation =
        json!([{"type": "url_citation", "url_citation": {"url": "https://e.org", "title": "E", "start_index": 2, "end_index": 4}}]);
    assert_eq!(out["choices"][0]["message"]["annotations"], annotation);
    assert_eq!(losses, [("content[0]".to_owned(), "dropped")]);
}

#[test]
fn media_and_refusals() {
    let media = |class| {
        block(Kind::Media(Media {
            class,
            source: MediaSource::Base64 { mime: Text::word("image/png"), data: Text::word("AA==") },
            detail: None,
            name: None,
        }))
    };
    let message =
        written(&foreign(vec![media(MediaClass::Image), media(MediaClass::Audio)], StopReason::End, "STOP"), Manner::Native)["choices"][0]
            ["message"]
            .clone();
    assert_eq!(message["images"], json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]));
    assert_eq!(message["audio"], json!({"data": "AA==", "id": "audio_gen-0-00ff", "transcript": "", "expires_at": 7}));
    let refused = written(&foreign(vec![block(Kind::Refusal(Text::word("no")))], StopReason::Refusal, "refusal"), Manner::Native);
    assert_eq!((&refused["choices"][0]["message"]["refusal"], &refused["choices"][0]["finish_reason"]), (&json!("no"), &json!("stop")));
}

#[test]
fn losses_of_replies() {
    let mut response =
        foreign(vec![block(Kind::Opaque { word: Text::word("server_tool_use"), raw: Raw::json(b"{}") })], StopReason::Refusal, "refusal");
    response.rest.push(Member { name: Text::word("container"), value: Raw::json(b"{}") });
    response.service_tier = Some(Text::word("batch"));
    if let Some(stop) = &mut response.choices[0].stop {
        stop.details = Some(Raw::json(b"{}"));
    }
    let (_, losses) = written_with(&response, Manner::Native, &Bridge::default());
    let expected = [("content[0]", "dropped"), ("stop_details", "hint"), ("service_tier", "hint"), ("container", "hint")];
    assert_eq!(losses, expected.map(|(path, severity)| (path.to_owned(), severity)));
}

// --- properties -------------------------------------------------------------------------------------------------------

fn message() -> impl Strategy<Value = Value> {
    let text = || "[a-zé \"\\\\\n]{0,12}";
    let member = prop_oneof![
        text().prop_map(|text| json!({"content": text})),
        text().prop_map(|text| json!({"refusal": text})),
        text().prop_map(|text| json!({"reasoning": text})),
        Just(json!({"tool_calls": call()})),
        Just(json!({"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]})),
        Just(json!({"audio": {"id": "a", "data": "AA==", "transcript": "t", "expires_at": 9}})),
        Just(
            json!({"content": "cited", "annotations": [{"type": "url_citation", "url_citation": {"url": "https://e.org", "title": "E", "start_index": 0, "end_index": 2}}]})
        ),
        Just(
            json!({"reasoning_details": [{"type": "reasoning.text", "text": "a", "signature": "s", "index": 0}, {"type": "reasoning.text", "text": "b", "signature": "t", "index": 1}]})
        ),
        Just(
            json!({"reasoning_details": [{"type": "reasoning.summary", "summary": "a", "id": "rs_1", "index": 0}, {"type": "reasoning.encrypted", "data": "x", "id": "rs_1", "index": 0}]})
        ),
    ];
    prop::collection::vec(member, 0..4).prop_map(|members| {
        let mut message = json!({"role": "assistant", "content": null});
        for (name, value) in members.iter().flat_map(|some| some.as_object().unwrap()) {
            message[name] = value.clone();
        }
        message
    })
}

proptest! {
    #[test]
    fn own_replies_keep_their_meaning(messages in prop::collection::vec((message(), prop::sample::select(vec!["stop", "length", "content_filter", "tool_calls"])), 1..3)) {
        let choices: Vec<Value> = messages.iter().enumerate().map(|(at, (message, finish))| json!({"index": at, "message": message, "finish_reason": finish, "logprobs": {"content": []}})).collect();
        let body = json!({"id": "r", "model": "m", "created": 5, "choices": choices, "usage": {"prompt_tokens": 5, "completion_tokens": 3}, "service_tier": "flex", "new": [1]}).to_string();
        let response = decode(body.as_bytes(), &Traits::NONE).unwrap();
        let (mut out, mut losses, identity) = (Vec::new(), Losses::new(), identity(Manner::Native));
        encode(&response, &Face { identity: &identity, bridge: &Bridge::default() }, None, &mut out, &mut losses);
        prop_assert_eq!(losses.as_slice(), &[]);
        let again = decode(&out, &Traits::NONE).unwrap();
        prop_assert_eq!(meaning(response), meaning(again), "{}", String::from_utf8_lossy(&out));
    }

    #[test]
    fn nothing_panics(text in "\\PC{0,60}", message in message(), at in any::<prop::sample::Index>(), put in prop::sample::select(vec!["null", "1", "\"x\"", "[]", "{}", "[{}]"])) {
        let _ = decode(text.as_bytes(), &Traits::NONE);
        let text = reply(message, json!("stop")).to_string();
        let starts: Vec<usize> = text.match_indices(':').map(|(at, _)| at + 1).collect();
        let start = *at.get(&starts);
        let mut cursor = crate::json::walk::Cursor::new(&text.as_bytes()[start..]);
        if let Ok(value) = cursor.skip() {
            let damaged = format!("{}{put}{}", &text[..start], &text[start + value.len()..]);
            if is_complete(damaged.as_bytes())
                && let Ok(response) = decode(damaged.as_bytes(), &Traits::from_names(["think_tags"]).unwrap())
            {
                written_with(&response, Manner::Openrouter, &Bridge::default());
            }
        }
    }
}

/// The same without the native word, which is one of OpenAI's five now, and places.
fn meaning(mut response: Response<'_>) -> Response<'_> {
    for choice in &mut response.choices {
        for block in &mut choice.blocks {
            block.origin = Origin::default();
            block.rest.sort_by(|left, right| left.name.as_bytes().cmp(right.name.as_bytes()));
        }
        if let Some(stop) = &mut choice.stop {
            stop.native = Text::EMPTY;
        }
    }
    response
}
