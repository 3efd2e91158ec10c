//! Whole replies in both directions, case by case.

#![expect(clippy::unwrap_used, reason = "tests")]

use fairlead_ir::block::{Arguments, Citation, Media, MediaClass, MediaSource, Seal, Thought, ThoughtPart, ThoughtShape, ToolCall};
use fairlead_ir::{Block, Choice, Dialect, Kind, Losses, Manner, Member, NanoUsd, Origin, Raw, Response, Stop, StopReason, Text, Usage};
use serde_json::{Value, json};

use super::decode::decode;
use super::encode::encode;
use crate::identity::Identity;
use crate::traits::Traits;
use crate::translate::{Bridge, Face};

fn written(response: &Response<'_>, manner: Manner, bridge: &Bridge) -> (Value, Vec<(String, &'static str)>) {
    let identity = Identity::new(manner, "gen-00ff", "acme/fast", "Lab", 7);
    let (mut out, mut losses) = (Vec::new(), Losses::new());
    encode(response, &Face { identity: &identity, bridge }, Some(NanoUsd(2_000_000)), &mut out, &mut losses);
    let losses = losses.as_slice().iter().map(|loss| (loss.path.clone(), loss.severity.name())).collect();
    (serde_json::from_slice(&out).unwrap(), losses)
}

fn block(kind: Kind<'static>) -> Block<'static> {
    Block::new(kind, Origin::item("output", 0))
}

fn sealed(kind: Kind<'static>, seal: &'static str) -> Block<'static> {
    Block { seal: Some(Seal { data: Text::word(seal), maker: None }), ..block(kind) }
}

fn text(text: &'static str) -> Kind<'static> {
    Kind::Text { text: Text::word(text), citations: Vec::new() }
}

fn thought(parts: &[&'static str]) -> Thought<'static> {
    let part = |text: &&'static str| ThoughtPart { shape: ThoughtShape::Summary, text: Text::word(text) };
    Thought { parts: parts.iter().map(part).collect(), redacted: false, id: None }
}

fn call(id: &'static str, name: &'static str, arguments: &'static str) -> Kind<'static> {
    let arguments = Arguments::Quoted(Text::escaped(arguments.as_bytes()));
    Kind::ToolCall(ToolCall { id: Text::word(id), name: Text::word(name), arguments })
}

fn reply(blocks: Vec<Block<'static>>, reason: StopReason) -> Response<'static> {
    let stop = Stop { reason, native: Text::word("native"), sequence: None, details: None };
    Response { choices: vec![Choice { blocks, stop: Some(stop), logprobs: None }], ..Response::new(Dialect::OpenaiResponses) }
}

fn hiding() -> Bridge {
    let mut bridge = Bridge::default();
    bridge.hide_thoughts = true;
    bridge
}

fn with_form() -> Bridge {
    let mut bridge = Bridge::default();
    bridge.format_tool = Some("reply".to_owned());
    bridge
}

#[track_caller]
fn check(bridge: &Bridge, response: &Response<'_>, content: &Value, stop_reason: &str, losses: &[(&str, &str)]) {
    let (message, met) = written(response, Manner::Native, bridge);
    assert_eq!(&message["content"], content);
    assert_eq!(message["stop_reason"], stop_reason);
    let met: Vec<(&str, &str)> = met.iter().map(|(path, severity)| (path.as_str(), *severity)).collect();
    assert_eq!(met, losses);
}

#[test]
fn a_message_has_all_its_members() {
    let usage = Usage { prompt_tokens: 10, cache_write_tokens: 2, completion_tokens: 4, ..Usage::default() };
    let response = Response {
        id: Text::word("resp_1"),
        model: Text::word("lab-1"),
        usage: Some(usage),
        ..reply(vec![block(text("Hi"))], StopReason::End)
    };
    let figures = json!({"input_tokens": 10, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 0}, "output_tokens": 4, "cost": 0.002});
    let expected = json!({"id": "resp_1", "type": "message", "role": "assistant", "model": "lab-1", "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn", "stop_sequence": null, "usage": figures});
    assert_eq!(written(&response, Manner::Native, &Bridge::default()), (expected, vec![]));
    let (message, _) = written(&response, Manner::Openrouter, &Bridge::default());
    assert_eq!((&message["id"], &message["model"], &message["provider"]), (&json!("gen-00ff"), &json!("acme/fast"), &json!("Lab")));
    assert_eq!(message["usage"]["is_byok"], false);
}

#[test]
fn a_reply_without_names_or_figures_still_has_them() {
    let (message, _) = written(&Response::new(Dialect::GeminiGenerate), Manner::Native, &Bridge::default());
    assert_eq!((&message["id"], &message["model"]), (&json!("gen-00ff"), &json!("acme/fast")));
    assert_eq!((&message["stop_reason"], &message["usage"]["output_tokens"]), (&json!("end_turn"), &json!(0)));
}

#[test]
fn thoughts_and_their_seals() {
    let redacted = Kind::Thought(Thought { redacted: true, ..Thought::default() });
    let blocks = vec![
        sealed(Kind::Thought(thought(&["a", "b"])), "s1"),
        sealed(Kind::Thought(thought(&[])), "s2"),
        block(Kind::Thought(thought(&["c"]))),
        sealed(redacted, "s3"),
        sealed(call("c1", "get", "{}"), "s4"),
    ];
    let thinking = |text: &str, signature: &str| json!({"type": "thinking", "thinking": text, "signature": signature});
    let tool = json!({"type": "tool_use", "id": "c1", "name": "get", "input": {}});
    let content = json!([thinking("a\n\nb", "s1"), thinking("", "s2"), thinking("c", ""), {"type": "redacted_thinking", "data": "s3"}, tool, thinking("", "s4")]);
    check(&Bridge::default(), &reply(blocks.clone(), StopReason::ToolCalls), &content, "tool_use", &[]);
    let hidden = json!([thinking("", "s1"), thinking("", "s2"), {"type": "redacted_thinking", "data": "s3"}, tool, thinking("", "s4")]);
    check(&hiding(), &reply(blocks, StopReason::ToolCalls), &hidden, "tool_use", &[]);
}

#[test]
fn calls_come_home() {
    let mut bridge = Bridge::default();
    bridge.tool(&Text::word("mcp_read_1"), &Text::word("mcp.read"), false);
    let blocks = vec![block(call("", "mcp_read_1", r#"{\"a\":1}"#)), block(call("c2", "get", "{")), block(call("c3", "get", ""))];
    let tool = |id: &str, name: &str, input: Value| json!({"type": "tool_use", "id": id, "name": name, "input": input});
    let content =
        json!([tool("call_00ff_0", "mcp.read", json!({"a": 1})), tool("c2", "get", json!({"_raw": "{"})), tool("c3", "get", json!({}))]);
    check(&bridge, &reply(blocks, StopReason::ToolCalls), &content, "tool_use", &[("output[0]", "changed")]);
}

#[test]
fn the_tool_that_stands_for_a_form_is_the_reply() {
    let bridge = with_form();
    let form = || block(call("c1", "reply", r#"{\"a\":1}"#));
    let content = json!([{"type": "text", "text": "{\"a\":1}"}]);
    check(&bridge, &reply(vec![form()], StopReason::ToolCalls), &content, "end_turn", &[]);
    let both = json!([{"type": "text", "text": "{\"a\":1}"}, {"type": "tool_use", "id": "c2", "name": "get", "input": {}}]);
    check(&bridge, &reply(vec![form(), block(call("c2", "get", "{}"))], StopReason::ToolCalls), &both, "tool_use", &[]);
}

#[test]
fn what_a_message_has_no_place_for() {
    let media = Media { class: MediaClass::Image, source: MediaSource::File(Text::word("f")), detail: None, name: None };
    let file = Citation { url: None, title: None, quote: None, range: None, raw: Raw::json(b"{}") };
    let link = Citation { url: Some(Text::word("https://x")), ..file.clone() };
    let mut response = reply(
        vec![
            block(Kind::Media(media)),
            block(Kind::Opaque { word: Text::word("odd"), raw: Raw::json(b"{}") }),
            block(Kind::Text { text: Text::word("a"), citations: vec![file, link] }),
            block(text("")),
            block(Kind::Refusal(Text::word("no"))),
        ],
        StopReason::Refusal,
    );
    response.choices[0].logprobs = Some(Raw::json(b"{}"));
    response.choices.push(Choice::default());
    response.rest.push(Member { name: Text::word("moderation"), value: Raw::json(b"{}") });
    let cited = json!([{"type": "web_search_result_location", "cited_text": "", "url": "https://x", "title": null, "encrypted_index": ""}]);
    let content = json!([{"type": "text", "text": "a", "citations": cited}, {"type": "text", "text": "no"}]);
    let losses = [
        ("choices[1]", "dropped"),
        ("choices[0].logprobs", "dropped"),
        ("moderation", "hint"),
        ("output[0]", "dropped"),
        ("output[0]", "dropped"),
        ("output[0]", "hint"),
    ];
    check(&Bridge::default(), &response, &content, "refusal", &losses);
}

#[test]
fn a_failure_is_not_a_good_end() {
    let (message, losses) = written(&reply(vec![], StopReason::Failed), Manner::Native, &Bridge::default());
    assert_eq!(message["stop_details"]["explanation"], "the model failed to reply: native");
    assert_eq!(losses, [("stop_reason".to_owned(), "changed")]);
}

const WHOLE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude","container":{"id":"c"},"content":[
    {"type":"thinking","thinking":"hm","signature":"s"},{"type":"redacted_thinking","data":"x"},
    {"type":"text","text":"Hi\n","citations":[{"type":"char_location","document_title":"D","cited_text":"q","start_char_index":1}]},
    {"type":"server_tool_use","id":"srv","name":"web_search","input":{"q":1}},
    {"type":"tool_use","id":"t1","name":"get","input":{"a":[1, 2]},"caller":{"type":"direct"}}],
    "stop_reason":"tool_use","stop_sequence":null,"stop_details":null,
    "usage":{"input_tokens":3,"cache_creation_input_tokens":5,"cache_creation":{"ephemeral_5m_input_tokens":1,"ephemeral_1h_input_tokens":4},"cache_read_input_tokens":2,"output_tokens":9,"output_tokens_details":{"thinking_tokens":4},"service_tier":"standard"}}"#;

#[test]
fn a_message_is_read_block_by_block() {
    let response = decode(WHOLE.as_bytes(), &Traits::NONE).unwrap();
    let choice = &response.choices[0];
    assert_eq!((response.id.as_bytes(), response.model.as_bytes()), (&b"msg_1"[..], &b"claude"[..]));
    let usage = Usage {
        prompt_tokens: 3,
        cache_read_tokens: 2,
        cache_write_tokens: 1,
        cache_write_1h_tokens: 4,
        completion_tokens: 9,
        reasoning_tokens: 4,
        web_searches: 0,
    };
    assert_eq!((response.usage, response.service_tier), (Some(usage), Some(Text::word("standard"))));
    assert_eq!(choice.stop.as_ref().unwrap().reason, StopReason::ToolCalls);
    let kinds: Vec<&str> = choice
        .blocks
        .iter()
        .map(|block| match &block.kind {
            Kind::Thought(thought) if thought.redacted => "redacted",
            Kind::Thought(_) => "thought",
            Kind::Text { citations, .. } if citations.len() == 1 => "cited",
            Kind::Opaque { .. } => "opaque",
            Kind::ToolCall(_) => "call",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["thought", "redacted", "cited", "opaque", "call"]);
    assert_eq!(choice.blocks[3].origin.to_string(), "content[3]");
}

#[test]
fn a_message_of_this_dialect_is_written_as_it_was_read() {
    let response = decode(WHOLE.as_bytes(), &Traits::NONE).unwrap();
    let (message, losses) = written(&response, Manner::Native, &Bridge::default());
    let mut expected: Value = serde_json::from_str(WHOLE).unwrap();
    expected["usage"]["cost"] = json!(0.002);
    expected["content"][4].as_object_mut().unwrap().remove("caller");
    expected.as_object_mut().unwrap().remove("stop_details");
    assert_eq!((message, losses), (expected, vec![]));
    let again = serde_json::to_string(&written(&response, Manner::Native, &Bridge::default()).0).unwrap();
    let second = decode(again.as_bytes(), &Traits::NONE).unwrap();
    assert_eq!(second.choices[0].stop, response.choices[0].stop);
}

#[test]
fn ends_of_imitators() {
    let reason = |word: &str, content: &str| {
        let body = format!(r#"{{"content":[{content}],"stop_reason":{word}}}"#);
        decode(body.as_bytes(), &Traits::NONE).unwrap().choices[0].stop.as_ref().map(|stop| stop.reason)
    };
    let call = r#"{"type":"tool_use","id":"t","name":"get","input":{}}"#;
    assert_eq!(reason("\"end_turn\"", call), Some(StopReason::ToolCalls));
    assert_eq!(reason("\"max_tokens\"", call), Some(StopReason::MaxTokens));
    assert_eq!(reason("null", ""), None);
}

#[test]
fn what_is_no_message_is_a_fault() {
    for (body, fault) in [
        ("[]", "the body must be an object"),
        (r#"{"type":"error","error":{}}"#, "\"content\" is missing"),
        (r#"{"content":"hi"}"#, "\"content\" must be an array"),
        (r#"{"content":[{"type":"text"}]}"#, "\"content[0].text\" is missing"),
    ] {
        assert_eq!(decode(body.as_bytes(), &Traits::NONE).unwrap_err().to_string(), fault, "{body}");
    }
    let page = crate::translate::dialects::decode_response(Dialect::AnthropicMessages, b"<html>", &Traits::NONE);
    assert_eq!(page.unwrap_err().to_string(), "the body is not valid JSON");
}
