//! Whole replies in both directions.

#![expect(clippy::unwrap_used, reason = "tests")]

use fairlead_ir::block::{Arguments, Citation, Seal, Thought, ThoughtPart, ThoughtShape, ToolCall};
use fairlead_ir::response::{Choice, Stop};
use fairlead_ir::{Block, Dialect, Kind, Losses, Manner, NanoUsd, Origin, Raw, Response, Severity, StopReason, Text, Usage};
use proptest::prelude::*;

use super::decode::decode;
use super::encode::encode;
use crate::gemini_generate::request::tests::json;
use crate::identity::Identity;
use crate::json::is_complete;
use crate::traits::Traits;
use crate::translate::{Bridge, Face};

fn read(body: &str) -> Response<'_> {
    decode(body.as_bytes(), &Traits::NONE).unwrap()
}

fn written(response: &Response<'_>, bridge: &Bridge, cost: Option<NanoUsd>) -> (String, Vec<(String, Severity)>) {
    let identity = Identity::new(Manner::Native, "gen-1", "acme/fast", "Lab", 7);
    let (mut out, mut losses) = (Vec::new(), Losses::new());
    encode(response, &Face { identity: &identity, bridge }, cost, &mut out, &mut losses);
    assert!(is_complete(&out), "{}", String::from_utf8_lossy(&out));
    (String::from_utf8(out).unwrap(), losses.as_slice().iter().map(|loss| (loss.path.clone(), loss.severity)).collect())
}

fn stop_of<'r>(response: &'r Response<'_>) -> (StopReason, &'r [u8]) {
    let stop = response.choices[0].stop.as_ref().unwrap();
    (stop.reason, stop.native.as_bytes())
}

fn check_own(body: &str) {
    let response = read(body);
    let (out, losses) = written(&response, &Bridge::default(), None);
    assert_eq!(losses, [], "{body}");
    assert_eq!(placeless(read(&out)), placeless(response), "{out}");
}

/// Parts that say nothing are not written, so that those behind them move up.
fn placeless(mut response: Response<'_>) -> Response<'_> {
    response.choices.iter_mut().flat_map(|choice| &mut choice.blocks).for_each(|block| block.origin = Origin::default());
    response
}

const TOOLS: &str = concat!(
    r#"{"candidates":[{"content":{"parts":[{"text":"Hm.","thought":true},{"text":"Let me see."},{"functionCall":{"name":"f","args":{"a":1}},"thoughtSignature":"c2ln"},"#,
    r#"{"functionCall":{"name":"g"}},{"executableCode":{"code":"1"}}],"role":"model"},"finishReason":"STOP","index":0,"safetyRatings":[]}],"#,
    r#""usageMetadata":{"promptTokenCount":10,"cachedContentTokenCount":4,"candidatesTokenCount":5,"thoughtsTokenCount":3,"totalTokenCount":18},"#,
    r#""modelVersion":"gemini-3","responseId":"r1","createTime":"2026-11-20T23:59:59Z","new":1}"#
);

#[test]
fn calls_without_ids_get_some_and_end_a_reply_that_says_stop() {
    let response = read(TOOLS);
    assert_eq!(stop_of(&response), (StopReason::ToolCalls, &b"STOP"[..]));
    assert_eq!(response.created_s, Some(1_795_219_199));
    let usage = Usage { prompt_tokens: 6, cache_read_tokens: 4, completion_tokens: 8, reasoning_tokens: 3, ..Usage::default() };
    assert_eq!(response.usage, Some(usage));
    let ids: Vec<&[u8]> = response.choices[0]
        .blocks
        .iter()
        .filter_map(|block| match &block.kind {
            Kind::ToolCall(call) => Some(call.id.as_bytes()),
            _ => None,
        })
        .collect();
    assert_eq!(ids, [&b"call_08dc8307b57be76c_0"[..], b"call_08dc8307b57be76c_1"]);
    assert_ne!(read(&TOOLS.replace("r1", "r2")).choices, response.choices);
    check_own(TOOLS);
}

#[test]
fn own_replies_keep_their_meaning() {
    for body in [
        r#"{"candidates":[{"content":{"parts":[{"text":"a"},{"text":"","thoughtSignature":"c2ln"},{"inlineData":{"mimeType":"image/png","data":"aGk="}}],"role":"model"},"finishReason":"MAX_TOKENS","finishMessage":"m"}],"responseId":"r","modelVersion":"m"}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":"b"}]},"finishReason":"STOP","index":1},{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}],"responseId":"r","modelVersion":"m"}"#,
        r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT","safetyRatings":[]},"usageMetadata":{"promptTokenCount":3,"totalTokenCount":3},"responseId":"r","modelVersion":"m"}"#,
        r#"{"candidates":[{"finishReason":"SAFETY","index":0}],"promptFeedback":{"safetyRatings":[]},"responseId":"r","modelVersion":"m"}"#,
        r#"{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"aGk="},"thought":true}]},"finishReason":"STOP","logprobsResult":{"chosenCandidates":[{"token":"a","logProbability":-1}]}}],"responseId":"r","modelVersion":"m"}"#,
    ] {
        check_own(body);
    }
}

#[test]
fn why_it_ended() {
    for (body, expected) in [
        (r#"{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}"#, (StopReason::Failed, "MALFORMED_FUNCTION_CALL")),
        (r#"{"candidates":[{"finishReason":"CONTINUATION"}]}"#, (StopReason::MaxTokens, "CONTINUATION")),
        (r#"{"promptFeedback":{"blockReason":"OTHER"}}"#, (StopReason::ContentFilter, "OTHER")),
        (
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}}]},"finishReason":"MAX_TOKENS"}]}"#,
            (StopReason::MaxTokens, "MAX_TOKENS"),
        ),
    ] {
        let response = read(body);
        let (reason, native) = stop_of(&response);
        assert_eq!((reason, std::str::from_utf8(native).unwrap()), expected);
    }
    for body in [
        "{}",
        r#"{"usageMetadata":{"promptTokenCount":1}}"#,
        r#"{"candidates":[]}"#,
        r#"{"error":{"code":500}}"#,
        r#"{"promptFeedback":{}}"#,
    ] {
        assert!(decode(body.as_bytes(), &Traits::NONE).is_err(), "{body}");
    }
}

#[test]
fn grounding_becomes_citations_in_characters() {
    let body = concat!(
        r#"{"candidates":[{"content":{"parts":[{"text":"gr\u00fcn ist gut"}]},"finishReason":"STOP","groundingMetadata":{"webSearchQueries":["a","b"],"#,
        r#""groundingChunks":[{"web":{"uri":"https://a","title":"A"}},{"web":{"uri":"https://b","title":"B"}}],"#,
        r#""groundingSupports":[{"segment":{"startIndex":6,"endIndex":9,"text":"ist"},"groundingChunkIndices":[1,0,7]}]},"#,
        r#""citationMetadata":{"citationSources":[{"endIndex":5,"uri":"https://c"}]}}],"usageMetadata":{"promptTokenCount":1},"responseId":"r","modelVersion":"m"}"#
    );
    let response = read(body);
    let Kind::Text { citations, .. } = &response.choices[0].blocks[0].kind else { unreachable!() };
    let found: Vec<_> = citations.iter().map(|one| (one.url.clone(), one.quote.clone(), one.range)).collect();
    let (url, quote) = (|url| Some(Text::word(url)), || Some(Text::word("ist")));
    assert_eq!(
        found,
        [(url("https://b"), quote(), Some((5, 8))), (url("https://a"), quote(), Some((5, 8))), (url("https://c"), None, Some((0, 4)))]
    );
    assert_eq!(response.usage.unwrap().web_searches, 2);
    check_own(body);
}

fn chat(blocks: Vec<Kind<'static>>, reason: StopReason) -> Response<'static> {
    let blocks = blocks.into_iter().enumerate().map(|(at, kind)| Block::new(kind, Origin::item("content", at))).collect();
    let stop = Some(Stop { reason, native: Text::word("x"), sequence: None, details: None });
    Response { id: Text::word("chatcmpl-1"), choices: vec![Choice { blocks, stop, logprobs: None }], ..Response::new(Dialect::OpenaiChat) }
}

fn check(response: &Response<'_>, bridge: &Bridge, candidate: &str, losses: &[(&str, Severity)]) {
    let (out, lost) = written(response, bridge, Some(NanoUsd(2_000_000)));
    let expected =
        format!(r#"{{"candidates":[{candidate}],"usageMetadata":{{"cost":0.002}},"modelVersion":"acme/fast","responseId":"chatcmpl-1"}}"#);
    let losses: Vec<_> = losses.iter().map(|(path, severity)| ((*path).to_owned(), *severity)).collect();
    assert_eq!((out, lost), (expected, losses));
}

#[test]
fn another_dialects_reply_is_written() {
    let thought =
        Kind::Thought(Thought { parts: vec![ThoughtPart { shape: ThoughtShape::Full, text: Text::word("hm") }], ..Thought::default() });
    let source = Citation { url: Some(Text::word("https://a")), title: None, quote: None, range: Some((1, 2)), raw: Raw::json(b"{}") };
    let call = |id, arguments| Kind::ToolCall(ToolCall { id: Text::word(id), name: Text::word("f_1"), arguments });
    let mut response = chat(
        vec![
            thought,
            Kind::Text { text: Text::escaped("ü\u{2028}".as_bytes()), citations: vec![source] },
            call("a", Arguments::Quoted(Text::escaped(br#"{\"x\":\"\\n\"}"#))),
            call("b", Arguments::Quoted(Text::EMPTY)),
            Kind::Opaque { word: Text::word("web_search_call"), raw: Raw::json(b"{}") },
        ],
        StopReason::ToolCalls,
    );
    response.choices[0].blocks[0].seal = Some(Seal { data: Text::word("dG9r"), maker: None });
    let mut bridge = Bridge::default();
    bridge.tool(&Text::word("f_1"), &Text::word("f.1"), false);
    check(
        &response,
        &bridge,
        concat!(
            r#"{"content":{"parts":[{"text":"hm","thought":true,"thoughtSignature":"dG9r"},{"text":"ü"#,
            "\u{2028}",
            r#""},{"functionCall":{"id":"a","name":"f.1","args":{"x":"\n"}}},"#,
            r#"{"functionCall":{"id":"b","name":"f.1","args":{}}}],"role":"model"},"finishReason":"STOP","index":0,"#,
            r#""groundingMetadata":{"groundingChunks":[{"web":{"uri":"https://a"}}],"groundingSupports":[{"segment":{"partIndex":1,"startIndex":2,"endIndex":5},"groundingChunkIndices":[0]}]}}"#
        ),
        &[("content[4]", Severity::Dropped)],
    );
}

#[test]
fn hidden_thoughts_keep_their_seal_and_a_format_tool_is_the_text() {
    let thought =
        Kind::Thought(Thought { parts: vec![ThoughtPart { shape: ThoughtShape::Full, text: Text::word("hm") }], ..Thought::default() });
    let call = Kind::ToolCall(ToolCall {
        id: Text::word("a"),
        name: Text::word("final_answer"),
        arguments: Arguments::Json(Raw::json(br#"{"a":"b"}"#)),
    });
    let mut response = chat(vec![thought.clone(), thought, call], StopReason::ToolCalls);
    response.choices[0].blocks[0].seal = Some(Seal { data: Text::word("dG9r"), maker: None });
    let mut bridge = Bridge::default();
    bridge.hide_thoughts = true;
    bridge.format_tool = Some("final_answer".to_owned());
    check(
        &response,
        &bridge,
        r#"{"content":{"parts":[{"text":"","thought":true,"thoughtSignature":"dG9r"},{"text":"{\"a\":\"b\"}"}],"role":"model"},"finishReason":"STOP","index":0}"#,
        &[],
    );
}

#[test]
fn ends_of_other_dialects() {
    for (reason, word) in [
        (StopReason::End, "STOP"),
        (StopReason::StopSequence, "STOP"),
        (StopReason::MaxTokens, "MAX_TOKENS"),
        (StopReason::ContextWindow, "MAX_TOKENS"),
        (StopReason::Refusal, "SAFETY"),
        (StopReason::Failed, "OTHER"),
    ] {
        let candidate = format!(r#"{{"content":{{"parts":[],"role":"model"}},"finishReason":"{word}","index":0}}"#);
        check(&chat(Vec::new(), reason), &Bridge::default(), &candidate, &[]);
    }
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused(body in json()) {
        if let Ok(response) = decode(body.as_bytes(), &Traits::NONE) {
            written(&response, &Bridge::default(), None);
        }
    }

    #[test]
    fn any_candidate_keeps_its_meaning(parts in prop::collection::vec(part(), 0..6), finish in prop::sample::select(vec!["STOP", "SAFETY", "NEW"])) {
        let body = format!(
            r#"{{"candidates":[{{"content":{{"parts":[{}],"role":"model"}},"finishReason":"{finish}"}}],"responseId":"r","modelVersion":"m"}}"#,
            parts.join(",")
        );
        check_own(&body);
    }
}

/// A part that a model may say.
pub(crate) fn part() -> impl Strategy<Value = String> {
    let text = prop::sample::select(vec!["", "a", "\\n", "\u{2028}", "\\ud83d\\ude00", "b c"]);
    let seal = prop::sample::select(vec!["", r#","thoughtSignature":"c2ln""#]);
    let datum = prop_oneof![
        text.clone().prop_map(|text| format!(r#""text":"{text}""#)),
        text.clone().prop_map(|text| format!(r#""text":"{text}","thought":true"#)),
        (text, prop::sample::select(vec![r#","id":"i""#, ""]))
            .prop_map(|(text, id)| format!(r#""functionCall":{{"name":"f","args":{{"a":"{text}"}}{id}}}"#)),
        Just(r#""inlineData":{"mimeType":"image/png","data":"aGk="}"#.to_owned()),
        Just(r#""executableCode":{"code":"1"}"#.to_owned()),
        Just(r#""fileData":{"fileUri":"gs://b/f.png","mimeType":"image/png"},"videoMetadata":{}"#.to_owned()),
    ];
    (datum, seal).prop_map(|(datum, seal)| format!("{{{datum}{seal}}}"))
}
