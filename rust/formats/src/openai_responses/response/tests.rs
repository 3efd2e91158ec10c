#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use fairlead_ir::block::{Arguments, Citation, Media, MediaClass, MediaSource, Seal, Thought, ThoughtPart, ThoughtShape, ToolCall};
use fairlead_ir::response::{Choice, Response, Stop};
use fairlead_ir::{Block, Dialect, Kind, Losses, Manner, Member, NanoUsd, Origin, Raw, StopReason, Text, Usage};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::decode::decode;
use super::encode::encode;
use crate::identity::Identity;
use crate::traits::Traits;
use crate::translate::{Bridge, Face};

fn identity(manner: Manner) -> Identity {
    Identity::new(manner, "gen-0199-ab", "acme/fast", "Lab", 7)
}

fn written(response: &Response<'_>, bridge: &Bridge, manner: Manner) -> (Value, Vec<String>) {
    let (mut out, mut losses) = (Vec::new(), Losses::new());
    let identity = identity(manner);
    encode(response, &Face { identity: &identity, bridge }, Some(NanoUsd(1500)), &mut out, &mut losses);
    let losses = losses.as_slice().iter().map(|loss| format!("{} {}", loss.path, loss.severity.name())).collect();
    (serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out))), losses)
}

fn reply(status: &str, output: Value) -> Value {
    json!({
        "id": "resp_1", "object": "response", "created_at": 1_741_476_777.0, "status": status, "model": "gpt-x", "output": output,
        "instructions": "echo", "tools": [], "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
    })
}

// --- reading ---

#[test]
fn a_reply_is_read_without_what_it_repeats() {
    let body = reply(
        "completed",
        json!([
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "c2VhbA"},
            {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [
                {"type": "output_text", "text": "hi", "annotations": [], "logprobs": [{"token": "hi", "logprob": -1}]},
            ]},
            {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"},
            {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}},
        ]),
    )
    .to_string();
    let response = decode(body.as_bytes(), &Traits::NONE).unwrap();
    assert_eq!(
        (response.id.clone(), response.model.clone(), response.created_s),
        (Text::word("resp_1"), Text::word("gpt-x"), Some(1_741_476_777))
    );
    assert_eq!(response.rest, []);
    let usage = Usage { prompt_tokens: 3, completion_tokens: 2, web_searches: 1, ..Usage::default() };
    assert_eq!(response.usage, Some(usage));
    let choice = &response.choices[0];
    assert_eq!(choice.blocks.len(), 4);
    assert_eq!(choice.blocks[0].seal, Some(Seal { data: Text::word("c2VhbA"), maker: None }));
    assert_eq!(choice.blocks[1].rest, []);
    assert_eq!(choice.logprobs, Some(Raw::json(br#"{"content":[{"logprob":-1,"token":"hi"}]}"#)));
    assert!(matches!(choice.blocks[3].kind, Kind::Opaque { .. }));
    let stop = choice.stop.clone().unwrap();
    assert_eq!((stop.reason, stop.native), (StopReason::ToolCalls, Text::word("completed")));
}

#[test]
fn why_replies_end() {
    let text = json!([{"type": "message", "content": [{"type": "output_text", "text": "a"}]}]);
    let refusal = json!([{"type": "message", "content": [{"type": "refusal", "refusal": "a"}]}]);
    let call = json!([{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{"}]);
    let check = |status: &str, reason: Option<&str>, output: &Value, expected: StopReason, native: &'static str| {
        let mut body = reply(status, output.clone());
        body["incomplete_details"] = reason.map_or(Value::Null, |reason| json!({ "reason": reason }));
        let body = body.to_string();
        let response = decode(body.as_bytes(), &Traits::NONE).unwrap();
        let stop = response.choices[0].stop.clone().unwrap();
        assert_eq!((stop.reason, stop.native), (expected, Text::word(native)), "{body}");
    };
    check("completed", None, &text, StopReason::End, "completed");
    check("completed", None, &refusal, StopReason::Refusal, "completed");
    check("completed", None, &call, StopReason::ToolCalls, "completed");
    check("incomplete", Some("max_output_tokens"), &text, StopReason::MaxTokens, "max_output_tokens");
    // A cut call is not to be run.
    check("incomplete", Some("max_output_tokens"), &call, StopReason::MaxTokens, "max_output_tokens");
    check("incomplete", Some("content_filter"), &text, StopReason::ContentFilter, "content_filter");
    check("incomplete", None, &text, StopReason::MaxTokens, "incomplete");
    check("failed", None, &json!([]), StopReason::Failed, "failed");
    let waiting = reply("in_progress", json!([])).to_string();
    assert_eq!(decode(waiting.as_bytes(), &Traits::NONE).unwrap_err().to_string(), r#""status" is not that of a finished reply"#);
    assert_eq!(decode(b"{}", &Traits::NONE).unwrap_err().to_string(), r#"the body has no "output""#);
}

// --- writing ---

fn block(kind: Kind<'static>, number: usize) -> Block<'static> {
    Block::new(kind, Origin::item("content", number))
}

fn text(text: &'static str) -> Kind<'static> {
    Kind::Text { text: Text::word(text), citations: Vec::new() }
}

fn stop(reason: StopReason) -> Option<Stop<'static>> {
    Some(Stop { reason, native: Text::word("end_turn"), sequence: None, details: None })
}

fn response(kinds: Vec<Kind<'static>>, reason: StopReason) -> Response<'static> {
    let blocks = kinds.into_iter().enumerate().map(|(number, kind)| block(kind, number)).collect();
    let choice = Choice { blocks, stop: stop(reason), logprobs: None };
    let usage = Usage {
        prompt_tokens: 3,
        cache_read_tokens: 2,
        cache_write_tokens: 1,
        completion_tokens: 4,
        reasoning_tokens: 1,
        ..Usage::default()
    };
    Response {
        id: Text::word("msg_theirs"),
        model: Text::word("claude-x"),
        choices: vec![choice],
        usage: Some(usage),
        ..Response::new(Dialect::AnthropicMessages)
    }
}

fn check(response: &Response<'_>, bridge: &Bridge, expected: Value, losses: &[&str]) {
    let (body, told) = written(response, bridge, Manner::Native);
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&body[key], value, "{key} of {body}");
    }
    assert_eq!(told, losses, "{body}");
}

#[test]
fn everything_that_strict_clients_want_is_there() {
    let (body, _) = written(&response(vec![text("hi")], StopReason::End), &Bridge::default(), Manner::Native);
    let keys = [
        "id",
        "object",
        "created_at",
        "completed_at",
        "status",
        "error",
        "incomplete_details",
        "instructions",
        "metadata",
        "model",
        "output",
        "parallel_tool_calls",
        "temperature",
        "top_p",
        "tool_choice",
        "tools",
        "presence_penalty",
        "frequency_penalty",
        "usage",
        "text",
    ];
    for key in keys {
        assert!(body.get(key).is_some(), "{key}");
    }
    assert_eq!((&body["id"], &body["model"], &body["created_at"]), (&json!("msg_theirs"), &json!("claude-x"), &json!(7)));
    assert!(body.get("provider").is_none());
    let usage = json!({
        "input_tokens": 6, "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 1},
        "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 1}, "total_tokens": 10, "cost": 0.0000015,
    });
    assert_eq!(body["usage"], usage);
    let (body, _) = written(&response(vec![text("hi")], StopReason::End), &Bridge::default(), Manner::Openrouter);
    assert_eq!((&body["id"], &body["model"], &body["provider"]), (&json!("gen-0199-ab"), &json!("acme/fast"), &json!("Lab")));
    assert_eq!(body["usage"]["is_byok"], json!(false));
}

#[test]
fn texts_that_follow_each_other_are_one_message() {
    let cited = Citation {
        url: Some(Text::word("https://a.org")),
        title: None,
        quote: None,
        range: None,
        raw: Raw::json(br#"{"type":"web_search_result_location"}"#),
    };
    let lost = Citation { url: None, title: None, quote: None, range: None, raw: Raw::json(br#"{"type":"char_location"}"#) };
    let kinds = vec![text("a"), Kind::Text { text: Text::word("bc"), citations: vec![cited, lost] }, Kind::Refusal(Text::word("no"))];
    let note = json!({"type": "url_citation", "url": "https://a.org", "title": "https://a.org", "start_index": 0, "end_index": 2});
    let parts = json!([
        {"type": "output_text", "text": "a", "annotations": [], "logprobs": []},
        {"type": "output_text", "text": "bc", "annotations": [note], "logprobs": []},
        {"type": "refusal", "refusal": "no"},
    ]);
    let item = json!({"id": "msg_0199ab_0", "type": "message", "status": "completed", "role": "assistant", "content": parts});
    check(
        &response(kinds, StopReason::Refusal),
        &Bridge::default(),
        json!({"output": [item], "status": "completed"}),
        &["content[1] hint"],
    );
}

#[test]
fn endings_as_this_dialect_tells_them() {
    for (reason, status, details) in [
        (StopReason::End, "completed", Value::Null),
        (StopReason::StopSequence, "completed", Value::Null),
        (StopReason::Pause, "completed", Value::Null),
        (StopReason::MaxTokens, "incomplete", json!({"reason": "max_output_tokens"})),
        (StopReason::ContextWindow, "incomplete", json!({"reason": "max_output_tokens"})),
        (StopReason::ContentFilter, "incomplete", json!({"reason": "content_filter"})),
        (StopReason::Refusal, "incomplete", json!({"reason": "content_filter"})),
        (StopReason::Failed, "failed", Value::Null),
    ] {
        let expected = json!({"status": status, "incomplete_details": details});
        check(&response(vec![text("a")], reason), &Bridge::default(), expected, &[]);
        let (body, _) = written(&response(vec![text("a")], reason), &Bridge::default(), Manner::Native);
        let item = if status == "incomplete" { "incomplete" } else { "completed" };
        assert_eq!(body["output"][0]["status"], json!(item));
        assert_eq!(body["error"].is_null(), reason != StopReason::Failed);
    }
}

#[test]
fn thoughts_and_seals() {
    let part = |shape, text| ThoughtPart { shape, text: Text::word(text) };
    let thought = Thought { parts: vec![part(ThoughtShape::Summary, "s"), part(ThoughtShape::Full, "f")], ..Thought::default() };
    let call = Kind::ToolCall(ToolCall { id: Text::word("c"), name: Text::word("f"), arguments: Arguments::Json(Raw::json(b"{}")) });
    let mut response = response(vec![Kind::Thought(thought), call], StopReason::ToolCalls);
    response.choices[0].blocks[0].seal = Some(Seal { data: Text::word("one"), maker: None });
    response.choices[0].blocks[1].seal = Some(Seal { data: Text::word("two"), maker: None });
    let mut reasoning = json!({
        "id": "rs_0199ab_0", "type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}],
        "content": [{"type": "reasoning_text", "text": "f"}], "encrypted_content": "one",
    });
    let call = json!({"id": "fc_0199ab_1", "type": "function_call", "status": "completed", "call_id": "c", "name": "f", "arguments": "{}"});
    let companion = json!({"id": "rs_0199ab_2", "type": "reasoning", "summary": [], "encrypted_content": "two"});
    check(&response, &Bridge::default(), json!({"output": [reasoning, call, companion]}), &[]);
    reasoning["summary"] = json!([]);
    reasoning.as_object_mut().unwrap().remove("content");
    let mut hidden = Bridge::default();
    hidden.hide_thoughts = true;
    check(&response, &hidden, json!({"output": [reasoning, call, companion]}), &[]);
    response.choices[0].blocks[0].seal = None;
    let (body, _) = written(&response, &hidden, Manner::Native);
    assert_eq!(body["output"].as_array().unwrap().len(), 2, "a thought that is hidden and has no seal says nothing");
}

#[test]
fn tools_come_back_as_the_caller_gave_them() {
    let called = |name, arguments| Kind::ToolCall(ToolCall { id: Text::word("c"), name, arguments });
    let mut bridge = Bridge::default();
    bridge.format_tool = Some("reply".to_owned());
    bridge.tool(&Text::word("mcp_read"), &Text::word("mcp.read"), false);
    bridge.tool(&Text::word("patch"), &Text::word("patch"), true);
    let kinds = vec![
        called(Text::word("mcp_read"), Arguments::Quoted(Text::EMPTY)),
        called(Text::word("patch"), Arguments::Json(Raw::json(br#"{"input":"a\nb"}"#))),
        called(Text::word("patch"), Arguments::Quoted(Text::word("broken"))),
        called(Text::word("reply"), Arguments::Json(Raw::json(br#"{"a":1}"#))),
    ];
    let custom = |id: &str, input: &str| json!({"id": id, "type": "custom_tool_call", "status": "completed", "call_id": "c", "name": "patch", "input": input});
    let part = json!({"type": "output_text", "text": "{\"a\":1}", "annotations": [], "logprobs": []});
    let output = json!([
        {"id": "fc_0199ab_0", "type": "function_call", "status": "completed", "call_id": "c", "name": "mcp.read", "arguments": "{}"},
        custom("ctc_0199ab_1", "a\nb"),
        custom("ctc_0199ab_2", "broken"),
        {"id": "msg_0199ab_3", "type": "message", "status": "completed", "role": "assistant", "content": [part]},
    ]);
    check(&response(kinds, StopReason::ToolCalls), &bridge, json!({ "output": output }), &[]);
}

#[test]
fn pictures_have_an_item_and_other_media_none() {
    let media = |class, source| Kind::Media(Media { class, source, detail: None, name: None });
    let base64 = || MediaSource::Base64 { mime: Text::word("image/png"), data: Text::word("QUJD") };
    let mut response = response(
        vec![
            media(MediaClass::Image, base64()),
            media(MediaClass::Audio, base64()),
            Kind::Opaque { word: Text::word("server_tool_use"), raw: Raw::json(b"{}") },
        ],
        StopReason::End,
    );
    response.choices.push(Choice::default());
    response.rest = vec![Member { name: Text::word("container"), value: Raw::json(b"{}") }];
    response.choices[0].stop.as_mut().unwrap().sequence = Some(Text::word("END"));
    let item =
        json!({"id": "ig_0199ab_0", "type": "image_generation_call", "status": "completed", "result": "QUJD", "output_format": "png"});
    let losses = ["choices[1] dropped", "content[1] dropped", "content[2] dropped", "container hint", "stop_sequence hint"];
    check(&response, &Bridge::default(), json!({"output": [item]}), &losses);
}

// --- its own dialect ---

fn placeless(mut response: Response<'_>) -> Response<'_> {
    for block in response.choices.iter_mut().flat_map(|choice| &mut choice.blocks) {
        block.origin = Origin::default();
    }
    response
}

fn item() -> impl Strategy<Value = Value> {
    let word = "[ -~é]{0,9}";
    let parts = prop_oneof![
        word.prop_map(|text| json!({"type": "output_text", "text": text, "annotations": [{"type": "file_citation", "file_id": "f", "index": 1, "filename": "a"}]})),
        word.prop_map(|text| json!({"type": "output_text", "text": text, "annotations": []})),
        word.prop_map(|text| json!({"type": "refusal", "refusal": text})),
    ];
    prop_oneof![
        prop::collection::vec(parts, 1..3).prop_map(|content| json!({"type": "message", "id": "m", "role": "assistant", "content": content, "phase": "commentary"})),
        "[a-z]{1,9}".prop_map(|text| json!({"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": text}], "encrypted_content": text})),
        word.prop_map(|text| json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": json!({"a": text}).to_string()})),
        word.prop_map(|text| json!({"type": "custom_tool_call", "call_id": "c", "name": "f", "input": text, "namespace": "n"})),
        Just(json!({"type": "image_generation_call", "id": "ig", "status": "completed", "result": "QUJD"})),
        Just(json!({"type": "mcp_call", "id": "mcp", "name": "x"})),
    ]
}

proptest! {
    #[test]
    fn its_own_dialect_keeps_everything(items in prop::collection::vec(item(), 0..5), status in 0_usize..3) {
        let mut body = reply(["completed", "incomplete", "failed"][status], items.into());
        body["moderation"] = json!({"a": 1});
        let text = body.to_string();
        let read = decode(text.as_bytes(), &Traits::NONE).unwrap();
        let (mut out, mut losses) = (Vec::new(), Losses::new());
        let identity = identity(Manner::Native);
        encode(&read, &Face { identity: &identity, bridge: &Bridge::default() }, None, &mut out, &mut losses);
        let mut again = placeless(decode(&out, &Traits::NONE).unwrap());
        let mut read = placeless(read);
        // Without a reason, `incomplete` gets the usual one.
        for response in [&mut again, &mut read] {
            let stop = response.choices[0].stop.as_mut().unwrap();
            (stop.native, stop.details) = (Text::EMPTY, None);
        }
        prop_assert_eq!(again, read, "{}", String::from_utf8_lossy(&out));
        prop_assert_eq!(losses.as_slice(), &[]);
    }

    #[test]
    fn no_body_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), items in prop::collection::vec(item(), 0..3), cut in any::<prop::sample::Index>()) {
        let _ = decode(&bytes, &Traits::NONE);
        let text = reply("completed", items.into()).to_string();
        let _ = decode(&text.as_bytes()[..cut.index(text.len())], &Traits::NONE);
        let _ = decode(text.replace("\"m\"", "[1]").replace("\"f\"", "{}").as_bytes(), &Traits::NONE);
    }
}
