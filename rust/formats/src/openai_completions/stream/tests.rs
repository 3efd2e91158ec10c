//! Streams of other dialects as completions.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use fairlead_ir::{Delta, Dialect, ErrorKind, Event, Head, Manner, NanoUsd, Raw, Stop, StopReason, Text, Usage};
use proptest::prelude::*;
use serde_json::Value;

use super::Encoder;
use crate::error::Details;
use crate::identity::Identity;
use crate::text::decode;
use crate::traits::Traits;
use crate::translate::promises::streams;
use crate::translate::stream::Stream;
use crate::translate::{Bridge, Wanted};

fn encoder(manner: Manner, include_usage: bool) -> Encoder {
    let identity = Identity::new(manner, "gen-1", "acme/fast", "Lab", 9);
    let mut bridge = Bridge::default();
    bridge.include_usage = include_usage;
    Encoder::new(Arc::new(identity), Arc::new(bridge))
}

fn start() -> Event<'static> {
    Event::Start { id: Text::word("cmpl-1"), model: Text::word("lab-1"), created_s: Some(5) }
}

fn open(block: u32, head: Head<'static>) -> Event<'static> {
    Event::Open { choice: 0, block, head }
}

fn piece(block: u32, text: &'static str) -> Event<'static> {
    Event::Delta { choice: 0, block, delta: Delta::Text(Text::word(text)) }
}

fn stop(reason: StopReason, native: &'static str) -> Event<'static> {
    Event::Stop { choice: 0, stop: Stop { reason, native: Text::word(native), sequence: None, details: None } }
}

fn written(mut encoder: Encoder, events: &[Event<'_>], usage: Option<Usage>, cost: Option<i64>) -> String {
    let mut out = Vec::new();
    events.iter().for_each(|event| encoder.event(event, &mut out));
    match events.last() {
        Some(Event::Fail { kind, message, .. }) => encoder.fail(*kind, &decode(message).unwrap(), &Details::default(), &mut out),
        _ => encoder.finish(usage.as_ref(), cost.map(NanoUsd), &mut out),
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn chunks_of_v1() {
    let events = [start(), open(0, Head::Text), piece(0, "Hi"), Event::KeepAlive, piece(0, ""), stop(StopReason::MaxTokens, "max_tokens")];
    let usage = Usage { prompt_tokens: 3, completion_tokens: 1, ..Usage::default() };
    let head = r#"data: {"id":"cmpl-1","object":"text_completion","created":5,"model":"lab-1","choices":["#;
    let expected = format!(
        "{head}{}\n\n: keep-alive\n\n{head}{}\n\n{head}{}\n\ndata: [DONE]\n\n",
        r#"{"text":"Hi","index":0,"logprobs":null,"finish_reason":null}]}"#,
        r#"{"text":"","index":0,"logprobs":null,"finish_reason":"length"}]}"#,
        r#"],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4,"cost":0.000000002,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}"#,
    );
    assert_eq!(written(encoder(Manner::Native, true), &events, Some(usage), Some(2)), expected);
    assert!(!written(encoder(Manner::Native, false), &events, Some(usage), Some(2)).contains("usage"));
}

#[test]
fn chunks_of_api_v1() {
    let events = [start(), open(0, Head::Refusal), piece(0, "no"), stop(StopReason::Refusal, "refusal")];
    let head = r#"data: {"id":"gen-1","object":"text_completion","created":5,"model":"acme/fast","provider":"Lab","system_fingerprint":null,"choices":["#;
    let expected = [
        format!(r#"{head}{{"text":"no","index":0,"logprobs":null,"finish_reason":null,"native_finish_reason":null}}]}}"#),
        format!(r#"{head}{{"text":"","index":0,"logprobs":null,"finish_reason":"content_filter","native_finish_reason":"refusal"}}]}}"#),
    ];
    let stream = written(encoder(Manner::Openrouter, false), &events, None, Some(0));
    assert!(stream.starts_with(&(expected.join("\n\n") + "\n\n")), "{stream}");
    assert!(
        stream.contains(r#"],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0,"cost":0,"is_byok":false,"#),
        "{stream}"
    );
}

#[test]
fn probabilities_follow_their_text() {
    let logprobs = |json: &'static str| Event::Logprobs { choice: 0, logprobs: Raw::json(json.as_bytes()) };
    let events = [
        start(),
        open(0, Head::Text),
        piece(0, "Hi"),
        logprobs(r#"{"content":[{"token":"Hi","logprob":-1}]}"#),
        logprobs(r#"{"content":[]}"#),
        logprobs(r#"{"content":[{"token":"!","logprob":-2}]}"#),
        stop(StopReason::End, "stop"),
    ];
    let stream = written(encoder(Manner::Native, false), &events, None, None);
    let told: Vec<&str> = stream.matches(r#""text_offset":[0]"#).chain(stream.matches(r#""text_offset":[2]"#)).collect();
    assert_eq!(told.len(), 2, "{stream}");
    assert!(stream.contains(r#"{"text":"","index":0,"logprobs":{"tokens":["Hi"],"token_logprobs":[-1],"top_logprobs":null,"text_offset":[0]},"finish_reason":null}"#));
}

#[test]
fn a_failure_ends_the_stream_in_its_form() {
    let fail = || Event::Fail { kind: ErrorKind::ProviderOverloaded, message: Text::word("busy"), code: None };
    let stream = written(encoder(Manner::Native, false), &[start(), open(0, Head::Text), piece(0, "a"), fail()], None, None);
    let last = stream.split_inclusive("\n\n").skip(1).collect::<String>();
    let expected = concat!(
        r#"data: {"id":"cmpl-1","object":"text_completion","created":5,"model":"lab-1","#,
        r#""choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"error"}],"#,
        r#""error":{"message":"busy","type":"server_error","param":null,"code":"provider_overloaded"}}"#,
        "\n\ndata: [DONE]\n\n"
    );
    assert_eq!(last, expected);
    let stream = written(encoder(Manner::Openrouter, false), &[fail()], None, None);
    let expected = r#""choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"error","native_finish_reason":"error"}],"error":{"code":503,"message":"busy","#;
    assert!(stream.contains(expected), "{stream}");
    let mut closed = encoder(Manner::Native, true);
    let mut out = Vec::new();
    closed.finish(None, None, &mut out);
    let length = out.len();
    closed.event(&piece(0, "a"), &mut out);
    closed.keep_alive(&mut out);
    closed.finish(None, None, &mut out);
    closed.fail(ErrorKind::Internal, "m", &Details::default(), &mut out);
    assert_eq!(out.len(), length);
}

/// The text of each choice, and why it ended.
fn told(stream: &str) -> BTreeMap<u64, (String, Option<String>)> {
    let mut told: BTreeMap<u64, (String, Option<String>)> = BTreeMap::new();
    let frames: Vec<&str> = stream.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    assert_eq!(frames.last(), Some(&"[DONE]"), "{stream}");
    for frame in &frames[..frames.len() - 1] {
        // Half of a surrogate pair is JSON that no parser here takes.
        let chunk: Value = serde_json::from_str(&frame.replace(r"\ud83d", "?").replace(r"\ude00", "?")).unwrap();
        assert_eq!(chunk["object"], "text_completion");
        for choice in chunk["choices"].as_array().unwrap() {
            let (text, reason) = told.entry(choice["index"].as_u64().unwrap()).or_default();
            assert!(choice.get("logprobs").is_some());
            text.push_str(choice["text"].as_str().unwrap());
            if let Some(word) = choice["finish_reason"].as_str() {
                assert_eq!(reason.replace(word.to_owned()), None, "a second end");
            }
        }
    }
    told
}

proptest! {
    #[test]
    fn every_stream_is_told_as_text(events in streams(), openrouter in any::<bool>(), include_usage in any::<bool>()) {
        let manner = if openrouter { Manner::Openrouter } else { Manner::Native };
        let told = told(&written(encoder(manner, include_usage), &events, None, Some(1)));
        let mut texts: BTreeMap<u64, String> = BTreeMap::new();
        let mut spoken = Vec::new();
        for event in &events {
            match event {
                Event::Open { choice, block, head: Head::Text | Head::Refusal } => spoken.push((*choice, *block)),
                Event::Delta { choice, block, delta: Delta::Text(text) } if spoken.contains(&(*choice, *block)) => {
                    let text = String::from_utf8(text.as_bytes().to_vec()).unwrap().replace(r"\ud83d", "?").replace(r"\ude00", "?");
                    texts.entry(u64::from(*choice)).or_default().push_str(&decode(&Text::word(&text)).unwrap());
                }
                Event::Stop { choice, .. } => drop(texts.entry(u64::from(*choice)).or_default()),
                _ => {}
            }
        }
        let failed = matches!(events.last(), Some(Event::Fail { .. }));
        for (choice, (text, reason)) in &told {
            prop_assert_eq!(text, texts.get(choice).map_or("", String::as_str));
            prop_assert!(reason.is_some() || failed);
        }
        prop_assert!(texts.iter().all(|(choice, text)| text.is_empty() && failed || told.contains_key(choice)));
    }

    #[test]
    fn any_chunking_of_a_stream_gives_the_same_bytes(
        texts in proptest::collection::vec("[a-z é\"\n]{0,6}", 0..8),
        messages in any::<bool>(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let source = if messages { Dialect::AnthropicMessages } else { Dialect::OpenaiChat };
        let input = provider_stream(source, &texts);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        cuts.push(input.len());
        let translate = |cuts: &[usize]| {
            let identity = Arc::new(Identity::new(Manner::Native, "gen-1", "acme/fast", "Lab", 9));
            let wanted = Wanted { source, identity, bridge: Arc::default(), json_array: false };
            let mut stream = Stream::completions(Traits::NONE, 1 << 20, wanted);
            let (mut out, mut from) = (Vec::new(), 0);
            for cut in cuts {
                stream.feed(&input.as_bytes()[from..*cut], &mut out);
                from = *cut;
            }
            stream.finish(None, &mut out);
            String::from_utf8(out).unwrap()
        };
        let whole = translate(&[input.len()]);
        prop_assert_eq!(&translate(&cuts), &whole);
        prop_assert_eq!(told(&whole)[&0].clone(), (texts.concat(), Some("stop".to_owned())));
    }
}

fn provider_stream(source: Dialect, texts: &[String]) -> String {
    use serde_json::json;
    let mut frames = Vec::new();
    if source == Dialect::AnthropicMessages {
        frames.push(json!({"type": "message_start", "message": {"id": "m1", "model": "c", "content": [], "usage": {"input_tokens": 1, "output_tokens": 1}}}));
        frames.push(json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}));
        frames.extend(
            texts.iter().map(|text| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})),
        );
        frames.push(json!({"type": "content_block_stop", "index": 0}));
        frames.push(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}}));
        frames.push(json!({"type": "message_stop"}));
        return frames.iter().map(|frame| format!("event: {}\ndata: {frame}\n\n", frame["type"].as_str().unwrap())).collect();
    }
    frames
        .extend(texts.iter().map(|text| json!({"id": "c", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]})));
    frames.push(json!({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}));
    frames.iter().map(|frame| format!("data: {frame}\n\n")).collect::<String>() + "data: [DONE]\n\n"
}
