#![expect(clippy::unwrap_used, reason = "tests")]

use fairlead_ir::block::{Arguments, Media, MediaClass, MediaSource, Seal, Thought, ThoughtPart, ThoughtShape, ToolCall};
use fairlead_ir::{Block, Choice, Dialect, Kind, Losses, NanoUsd, Origin, Raw, Response, Severity, Stop, StopReason, Text, Usage};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::decode::decode;
use super::encode::encode;
use crate::identity::Identity;
use crate::traits::Traits;
use crate::translate::{Bridge, Face};

fn reply(content: Value, stop_reason: &str) -> Value {
    json!({
        "output": {"message":{"role":"assistant","content":content}}, "stopReason": stop_reason,
        "usage": {"inputTokens":5,"outputTokens":3,"totalTokens":8}, "metrics": {"latencyMs":100}
    })
}

fn check_stop(body: &Value, reason: StopReason, sequence: Option<&'static str>) {
    let body = body.to_string();
    let response = decode(body.as_bytes(), &Traits::NONE).unwrap();
    let stop = response.choices[0].stop.as_ref().unwrap();
    assert_eq!((stop.reason, stop.sequence.clone()), (reason, sequence.map(Text::word)), "{body}");
}

#[test]
fn why_it_ended() {
    let call = json!([{"toolUse":{"toolUseId":"t","name":"f","input":{}}}]);
    check_stop(&reply(json!([{"text":"a"}]), "end_turn"), StopReason::End, None);
    check_stop(&reply(call.clone(), "tool_use"), StopReason::ToolCalls, None);
    // Some models say so although they called.
    check_stop(&reply(call.clone(), "end_turn"), StopReason::ToolCalls, None);
    check_stop(&reply(call, "max_tokens"), StopReason::MaxTokens, None);
    check_stop(&reply(json!([]), "guardrail_intervened"), StopReason::ContentFilter, None);
    check_stop(&reply(json!([]), "malformed_tool_use"), StopReason::Failed, None);
    let mut stopped = reply(json!([{"text":"a"}]), "stop_sequence");
    stopped["additionalModelResponseFields"] = json!({"stop_sequence":"END"});
    check_stop(&stopped, StopReason::StopSequence, Some("END"));
}

#[test]
fn what_is_no_reply_is_a_fault() {
    for (body, expected) in [
        (json!({}), "\"output\" is missing"),
        (json!({"output":{}}), "\"output\" is missing"),
        (json!({"output":{"message":{"content":[]}}}), "\"stopReason\" is missing"),
        (json!({"output":{"message":{"content":[{"text":1}]}}}), "\"output.message.content[0].text\" must be a string"),
        (json!({"usage":[]}), "\"usage\" must be an object"),
        (json!([]), "the body must be an object"),
    ] {
        let fault = decode(body.to_string().as_bytes(), &Traits::NONE).unwrap_err();
        assert_eq!(fault.to_string(), expected);
    }
}

#[test]
fn what_the_service_ran_is_opaque() {
    let body = reply(
        json!([
            {"toolUse":{"toolUseId":"t","name":"nova_grounding","input":{},"type":"server_tool_use"}},
            {"toolResult":{"toolUseId":"t","content":[],"type":"nova_grounding_result"}},
            {"citationsContent":{"content":[{"text":"a"},{"text":"b"}],"citations":[{"title":"T","sourceContent":[{"text":"q"}],"location":{"web":{"url":"https://x","domain":"x"}}}]}}]),
        "end_turn",
    )
    .to_string();
    let response = decode(body.as_bytes(), &Traits::NONE).unwrap();
    let blocks = &response.choices[0].blocks;
    assert!(matches!(&blocks[0].kind, Kind::Opaque { word, .. } if word.is("toolUse")));
    assert!(matches!(&blocks[1].kind, Kind::Opaque { word, .. } if word.is("toolResult")));
    let Kind::Text { text, citations } = &blocks[2].kind else { unreachable!() };
    assert_eq!(
        (text, citations[0].url.as_ref(), citations[0].quote.as_ref()),
        (&Text::word("ab"), Some(&Text::word("https://x")), Some(&Text::word("q")))
    );
    assert_eq!(response.choices[0].stop.as_ref().unwrap().reason, StopReason::End);
}

fn written(response: &Response<'_>, bridge: &Bridge) -> (Value, Vec<(String, Severity)>) {
    let identity = Identity::unnamed();
    let (mut out, mut losses) = (Vec::new(), Losses::new());
    encode(response, &Face { identity: &identity, bridge }, Some(NanoUsd(1_000)), &mut out, &mut losses);
    let losses = losses.as_slice().iter().map(|loss| (loss.path.clone(), loss.severity)).collect();
    (serde_json::from_slice(&out).unwrap(), losses)
}

fn bridge(change: impl FnOnce(&mut Bridge)) -> Bridge {
    let mut bridge = Bridge::default();
    change(&mut bridge);
    bridge
}

fn chat(kinds: Vec<Kind<'static>>, reason: StopReason) -> Response<'static> {
    let origin = |part| Origin::item("choices", 0).part("message.content", part);
    let blocks = kinds.into_iter().enumerate().map(|(part, kind)| Block::new(kind, origin(part))).collect();
    let stop = Some(Stop { reason, native: Text::word("x"), sequence: None, details: None });
    let usage = Usage { prompt_tokens: 5, completion_tokens: 3, ..Usage::default() };
    Response { choices: vec![Choice { blocks, stop, logprobs: None }], usage: Some(usage), ..Response::new(Dialect::OpenaiChat) }
}

fn call(name: &'static str) -> Kind<'static> {
    Kind::ToolCall(ToolCall { id: Text::word("c"), name: Text::word(name), arguments: Arguments::Quoted(Text::word(r#"{\"a\":1}"#)) })
}

fn thought() -> Kind<'static> {
    let parts = vec![
        ThoughtPart { shape: ThoughtShape::Summary, text: Text::word("one") },
        ThoughtPart { shape: ThoughtShape::Summary, text: Text::word("two") },
    ];
    Kind::Thought(Thought { parts, ..Thought::default() })
}

#[test]
fn a_reply_of_another_dialect() {
    let mut bridge = Bridge::default();
    bridge.tool(&Text::word("sent_1"), &Text::word("mcp.read"), false);
    let mut response =
        chat(vec![thought(), Kind::Text { text: Text::word("hi"), citations: vec![] }, call("sent_1")], StopReason::ToolCalls);
    response.rest.push(fairlead_ir::Member { name: Text::word("system_fingerprint"), value: Raw::json(b"null") });
    let (body, losses) = written(&response, &bridge);
    let expected = json!({
        "output": {"message":{"role":"assistant","content":[
            {"reasoningContent":{"reasoningText":{"text":"one\n\ntwo"}}}, {"text":"hi"},
            {"toolUse":{"toolUseId":"c","name":"mcp.read","input":{"a":1}}}]}},
        "stopReason": "tool_use", "usage": {"inputTokens":5,"outputTokens":3,"totalTokens":8,"cost":0.000001}, "metrics": {"latencyMs":0}
    });
    assert_eq!((body, losses), (expected, vec![("system_fingerprint".to_owned(), Severity::Hint)]));
}

#[test]
fn a_form_that_was_a_tool_is_text_again() {
    let bridge = bridge(|bridge| bridge.format_tool = Some("reply".to_owned()));
    let (body, _) = written(&chat(vec![call("reply")], StopReason::ToolCalls), &bridge);
    assert_eq!((&body["output"]["message"]["content"], &body["stopReason"]), (&json!([{"text":"{\"a\":1}"}]), &json!("end_turn")));
}

#[test]
fn hidden_thoughts_keep_their_seal() {
    let bridge = bridge(|bridge| bridge.hide_thoughts = true);
    let mut response = chat(vec![thought(), thought()], StopReason::End);
    response.choices[0].blocks[1].seal = Some(Seal { data: Text::word("c2ln"), maker: None });
    let (body, losses) = written(&response, &bridge);
    assert_eq!(body["output"]["message"]["content"], json!([{"reasoningContent":{"reasoningText":{"text":"","signature":"c2ln"}}}]));
    assert!(losses.is_empty());
}

#[test]
fn what_has_no_place_in_a_reply_is_told() {
    let url = MediaSource::Url { url: Text::word("https://x"), mime: None };
    let media = Kind::Media(Media { class: MediaClass::Image, source: url, detail: None, name: None });
    let mut response = chat(vec![media, Kind::Refusal(Text::word("no"))], StopReason::Refusal);
    response.choices.push(Choice::default());
    let (body, losses) = written(&response, &Bridge::default());
    assert_eq!((&body["output"]["message"]["content"], &body["stopReason"]), (&json!([{"text":"no"}]), &json!("content_filtered")));
    let paths = ["choices", "choices[0].message.content[0]", "choices[0].message.content[1]"];
    let severities = [Severity::Dropped, Severity::Dropped, Severity::Hint];
    assert_eq!(losses, paths.map(str::to_owned).into_iter().zip(severities).collect::<Vec<_>>());
}

fn block() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!({"text":"a\n\"b\""}),
        json!({"text":""}),
        json!({"toolUse":{"toolUseId":"t","name":"f","input":{"a":[1.50]},"odd":1}}),
        json!({"toolUse":{"toolUseId":"t","name":"f","input":{},"type":"server_tool_use"}}),
        json!({"reasoningContent":{"reasoningText":{"text":"t","signature":"s"}}}),
        json!({"reasoningContent":{"reasoningText":{"text":"t"}}}),
        json!({"reasoningContent":{"redactedContent":"AAEC"}}),
        json!({"citationsContent":{"content":[{"text":"a"}],"citations":[{"title":"t"}]}}),
        json!({"image":{"format":"webp","source":{"bytes":"AAAA"}}}),
        json!({"brandNew":{}}),
    ])
}

/// What is the same before and after.
fn meaning<'r>(response: &Response<'r>) -> Response<'r> {
    let mut response = response.clone();
    response.choices.iter_mut().flat_map(|choice| &mut choice.blocks).for_each(|block| block.origin = Origin::default());
    response.rest.sort_by(|one, other| one.name.as_bytes().cmp(other.name.as_bytes()));
    response
}

proptest! {
    #[test]
    fn this_dialect_keeps_its_meaning(
        content in prop::collection::vec(block(), 0..5),
        stop in prop::sample::select(vec!["end_turn", "tool_use", "max_tokens", "guardrail_intervened", "brand_new"]),
        more in any::<bool>(),
        fields in prop::sample::select(vec![json!({"stop_sequence":"x"}), json!({"delta":{"stop_sequence":"x"}}), json!({"stop_sequence":"x","new":1}), json!({"delta":{"new":1}}), json!(null)]),
    ) {
        let mut body = reply(Value::Array(content), stop);
        if more {
            body["trace"] = json!({"guardrail":{}});
            body["serviceTier"] = json!({"type":"flex"});
            body["additionalModelResponseFields"] = fields;
        }
        let body = body.to_string();
        let response = decode(body.as_bytes(), &Traits::NONE).unwrap();
        let identity = Identity::unnamed();
        let (mut out, mut losses) = (Vec::new(), Losses::new());
        encode(&response, &Face { identity: &identity, bridge: &Bridge::default() }, None, &mut out, &mut losses);
        prop_assert!(losses.is_empty());
        let again = decode(&out, &Traits::NONE).unwrap();
        let (mut again, mut response) = (meaning(&again), meaning(&response));
        // A reply that says it called without a call is not told so again.
        if stop == "tool_use" {
            again.choices[0].stop.as_mut().unwrap().native = Text::EMPTY;
            response.choices[0].stop.as_mut().unwrap().native = Text::EMPTY;
        }
        prop_assert_eq!(again, response);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, &Traits::NONE);
    }
}
