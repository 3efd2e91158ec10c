//! What holds for every stream, whatever a host or a decoder makes of it.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use fairlead_ir::{Delta, Event, Head, Manner, StopReason};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::decode::Decoder;
use super::tests::{data, decoded, encoded, encoder, text};
use crate::traits::Traits;
use crate::translate::promises::{check, kept, streams};

/// Chunks as some host might send them.
fn any_chunk() -> impl Strategy<Value = String> {
    let text = || "[a-z\"\\\\\n<>/é]{0,5}";
    let fragment = (
        prop::option::of(0..3_u8),
        prop::option::of(prop::sample::select(vec!["c1", "c2", ""])),
        prop::option::of(prop::sample::select(vec!["f", "g"])),
        prop::option::of(prop::sample::select(vec!["", "{}", "{\"a\":", "1}", "}"])),
    );
    let call = prop::collection::vec(fragment, 1..3).prop_map(|fragments| {
        let calls: Vec<Value> = fragments
            .into_iter()
            .map(|(index, id, name, arguments)| json!({"index": index, "id": id, "function": {"name": name, "arguments": arguments}}))
            .collect();
        json!({"tool_calls": calls})
    });
    let detail = (prop::sample::select(vec!["reasoning.text", "reasoning.summary", "reasoning.encrypted", "reasoning.odd"]), text(), prop::option::of(prop::sample::select(vec!["c1", "rs_1"])), prop::option::of(0..2_u8), prop::option::of(Just("sig")), prop::sample::select(vec!["google-gemini-v1", "anthropic-claude-v1", "unknown"]))
        .prop_map(|(word, text, id, index, signature, format)| json!({"reasoning_details": [{"type": word, "text": text, "summary": text, "data": text, "id": id, "index": index, "signature": signature, "format": format}]}));
    let delta = prop_oneof![
        4 => text().prop_map(|text| json!({"content": text})),
        1 => text().prop_map(|text| json!({"content": "<think>".to_owned() + &text})),
        2 => text().prop_map(|text| json!({"reasoning": text})),
        1 => text().prop_map(|text| json!({"refusal": text})),
        3 => call,
        2 => detail,
        1 => Just(json!({"images": [{"image_url": {"url": "data:image/png;base64,AA=="}}]})),
        1 => Just(json!({"annotations": [{"type": "url_citation", "url_citation": {"url": "u"}}]})),
        1 => Just(json!({"function_call": {"name": "f", "arguments": "{"}})),
        1 => Just(json!({"content": [{"type": "text", "text": "t"}, {"type": "odd"}]})),
    ];
    let chunk = (delta, 0..2_u8, prop::option::weighted(0.1, prop::sample::select(vec!["stop", "tool_calls", "length", "error"])))
        .prop_map(|(delta, index, finish)| {
            json!({"id": "c", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}).to_string()
        });
    prop_oneof![
        20 => chunk,
        1 => Just("[DONE]".to_owned()),
        1 => Just(json!({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}).to_string()),
        1 => Just(json!({"error": {"message": "m"}}).to_string()),
    ]
}

proptest! {
    #[test]
    fn decoders_keep_the_promises(frames in prop::collection::vec(any_chunk(), 0..20), tags in any::<bool>()) {
        let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
        let traits: &[&str] = if tags { &["think_tags"] } else { &[] };
        decoded(&frames, traits);
    }

    #[test]
    fn any_chunking_of_a_stream_gives_the_same_events(frames in prop::collection::vec(any_chunk(), 0..8), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let stream: String = frames.iter().map(|frame| format!("data: {frame}\n\n")).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        cuts.push(stream.len());
        let (mut sse, mut events, mut from) = (crate::sse::Decoder::new(1 << 20), Vec::new(), 0);
        for cut in cuts {
            sse.feed(&stream.as_bytes()[from..cut], &mut events).unwrap();
            from = cut;
        }
        let cut_frames: Vec<&str> = events.iter().map(|event| event.data.as_str()).collect();
        let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
        prop_assert_eq!(decoded(&cut_frames, &[]), decoded(&frames, &[]));
    }

    #[test]
    fn no_bytes_panic(name in prop::option::of(any::<Vec<u8>>()), bytes in any::<Vec<u8>>(), frame in any_chunk(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut decoder = Decoder::new(Traits::from_names(["think_tags"]).unwrap());
        let mut events = Vec::new();
        let mut damaged = frame.into_bytes();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        let _ = decoder.event(None, &damaged, &mut |event| events.push(kept(&event)));
        let _ = decoder.event(name.as_deref(), &bytes, &mut |event| events.push(kept(&event)));
        let _ = decoder.event(None, &damaged, &mut |event| events.push(kept(&event)));
        decoder.finish(&mut |event| events.push(kept(&event)));
        prop_assert_eq!(check(&events), Ok(()));
        // What a host breaks does not break what we write.
        data(&encoded(encoder(Manner::Openrouter, |_| {}), &events));
    }

    #[test]
    fn streams_that_are_written_can_be_read(events in streams(), openrouter in any::<bool>()) {
        let manner = if openrouter { Manner::Openrouter } else { Manner::Native };
        let stream = encoded(encoder(manner, |_| {}), &events);
        let frames: Vec<&str> = stream.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
        for frame in &frames[..frames.len() - 1] {
            let chunk: Value = serde_json::from_str(frame).or_else(|_| lone_halves(frame)).unwrap();
            prop_assert_eq!(&chunk["object"], "chat.completion.chunk");
            prop_assert!(chunk["choices"].as_array().unwrap().iter().all(|choice| choice.get("finish_reason").is_some() && choice["delta"].is_object()));
        }
        let again = decoded(&frames, &[]);
        match events.last() {
            Some(Event::Fail { message, .. }) => {
                let told = matches!(again.last(), Some(Event::Fail { message: told, .. }) if told == message);
                prop_assert!(told, "{:?}", again.last());
            }
            _ => prop_assert_eq!(content(&again), content(&events)),
        }
    }
}

/// Half of a surrogate pair is JSON that no parser here takes.
fn lone_halves(frame: &str) -> serde_json::Result<Value> {
    serde_json::from_str(&frame.replace(r"\ud83d", "?").replace(r"\ude00", "?"))
}

/// What a choice says, without the order that chat cannot keep.
#[derive(Debug, Default, PartialEq)]
struct Content {
    text: String,
    refusal: String,
    thoughts: String,
    /// Id, name and arguments by block.
    calls: BTreeMap<u32, String>,
    reason: Option<StopReason>,
}

/// What a stream says per choice; the blocks of calls are numbered anew.
fn content(events: &[Event<'_>]) -> BTreeMap<u32, Content> {
    let mut choices: BTreeMap<u32, Content> = BTreeMap::new();
    let mut refusals = BTreeSet::new();
    for event in events {
        match event {
            Event::Open { choice, block, head } => {
                let told = choices.entry(*choice).or_default();
                match head {
                    Head::ToolCall { id, name, .. } => drop(told.calls.insert(*block, format!("{} {} ", text(id), text(name)))),
                    Head::Refusal => drop(refusals.insert((*choice, *block))),
                    _ => {}
                }
            }
            Event::Delta { choice, block, delta } => {
                let told = choices.entry(*choice).or_default();
                match delta {
                    Delta::Text(piece) if refusals.contains(&(*choice, *block)) => told.refusal.push_str(&text(piece)),
                    Delta::Text(piece) => told.text.push_str(&text(piece)),
                    Delta::Thought { text: piece, .. } => told.thoughts.push_str(&text(piece)),
                    Delta::Arguments(piece) => told.calls.entry(*block).or_default().push_str(&text(piece)),
                    Delta::Seal(_) | Delta::Citation(_) => {}
                }
            }
            Event::Stop { choice, stop } => choices.entry(*choice).or_default().reason = Some(stop.reason),
            _ => {}
        }
    }
    for told in choices.values_mut() {
        if told.reason == Some(StopReason::End) && !told.refusal.is_empty() {
            told.reason = Some(StopReason::Refusal);
        }
        told.calls = std::mem::take(&mut told.calls).into_values().zip(0..).map(|(call, number)| (number, call)).collect();
    }
    choices
}
