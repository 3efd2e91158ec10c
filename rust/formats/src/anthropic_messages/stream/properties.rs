//! What holds for every stream.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use fairlead_ir::{Delta, Dialect, Event, Head, Manner, Raw, Text};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use super::decode::Decoder;
use super::encode::Encoder;
use crate::error::Details;
use crate::identity::Identity;
use crate::sse::{self, Framer};
use crate::traits::Traits;
use crate::translate::{Bridge, promises};

fn decode(bytes: &[u8], cuts: &[usize]) -> Vec<Event<'static>> {
    let mut decoder = Decoder::new(Traits::NONE);
    let mut events = Vec::new();
    let mut sink = |event: Event<'_>| events.push(promises::kept(&event));
    let mut framer = Framer::new(1 << 20);
    let (mut pending, mut scratch) = (Vec::new(), Vec::new());
    for piece in pieces(bytes, cuts) {
        let mut from = 0;
        while let Some(end) = framer.next_end(piece, from).unwrap() {
            pending.extend_from_slice(&piece[from..end]);
            from = end;
            if let Some(data) = sse::data(&pending, &mut scratch) {
                let _ = decoder.event(sse::event_name(&pending), data, &mut sink);
            }
            pending.clear();
        }
        pending.extend_from_slice(&piece[from..]);
    }
    decoder.finish(&mut sink);
    events
}

fn pieces<'b>(bytes: &'b [u8], cuts: &[usize]) -> Vec<&'b [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([0, bytes.len()]).collect();
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn encode(events: &[Event<'_>], source: Dialect) -> Vec<u8> {
    let identity = Identity::new(Manner::Native, "gen-1", "acme/fast", "Lab", 7);
    let mut encoder = Encoder::new(source, Arc::new(identity), Arc::new(Bridge::default()));
    let mut out = Vec::new();
    for event in events {
        match event {
            Event::Fail { kind, .. } => encoder.fail(*kind, "failed", &Details::default(), &mut out),
            event => encoder.event(event, &mut out),
        }
    }
    encoder.finish(None, None, &mut out);
    out
}

/// Halves of characters are text to everybody but a strict parser.
fn without_halves(json: &str) -> String {
    json.replace(r"\\", "\u{2}").replace(r"\ud83d", "x").replace(r"\ude00", "y").replace('\u{2}', r"\\")
}

/// The grammar of the dialect's own documentation.
fn check_grammar(written: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(written).map_err(|fault| fault.to_string())?;
    let (mut open, mut next, mut stage) = (None, 0, 0);
    for event in text.split_terminator("\n\n") {
        let (name, data) = event.strip_prefix("event: ").and_then(|rest| rest.split_once("\ndata: ")).ok_or("an event without a name")?;
        let data: Value = serde_json::from_str(&without_halves(data)).map_err(|fault| format!("{fault} in {data}"))?;
        if data["type"] != name {
            return Err(format!("{name} says {}", data["type"]));
        }
        let index = data["index"].as_u64();
        let good = match name {
            "ping" => true,
            "message_start" => std::mem::replace(&mut stage, 1) == 0,
            "content_block_start" => {
                let good = stage == 1 && open.is_none() && index == Some(next);
                (open, next) = (index, next + 1);
                good
            }
            "content_block_delta" => stage == 1 && open.is_some() && open == index,
            "content_block_stop" => stage == 1 && open.is_some() && open.take() == index,
            "message_delta" => open.is_none() && std::mem::replace(&mut stage, 2) == 1 && data["usage"].is_object(),
            "message_stop" => std::mem::replace(&mut stage, 3) == 2,
            "error" => std::mem::replace(&mut stage, 3) < 3,
            _ => false,
        };
        if !good {
            return Err(format!("{name} at the wrong place: {text}"));
        }
    }
    if stage == 3 { Ok(()) } else { Err("no end".to_owned()) }
}

/// What a block says: kind, joined pieces, last seal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    kind: String,
    text: String,
    seal: String,
}

/// What the first choice says, block by block.
fn said(events: &[Event<'_>]) -> Vec<Said> {
    let (mut blocks, mut parts, mut free) = (Vec::<Said>::new(), Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Open { choice: 0, head, .. } => {
                let (kind, text) = match head {
                    Head::Text | Head::Refusal => ("text".to_owned(), ""),
                    Head::Thought { redacted: true, .. } => ("redacted".to_owned(), ""),
                    Head::Thought { .. } => ("thought".to_owned(), ""),
                    Head::ToolCall { id, name, free: true } => (format!("call {} {}", lossy(id), lossy(name)), r#"{\"input\":\""#),
                    Head::ToolCall { id, name, .. } => (format!("call {} {}", lossy(id), lossy(name)), ""),
                    Head::Media(_) => ("media".to_owned(), ""),
                    Head::Opaque { raw, .. } => (String::from_utf8_lossy(raw.as_bytes()).into_owned(), ""),
                };
                free.push(matches!(head, Head::ToolCall { free: true, .. }));
                parts.push(0);
                blocks.push(Said { kind, text: text.to_owned(), seal: String::new() });
            }
            Event::Delta { choice: 0, block, delta } => {
                let at = *block as usize;
                let said = &mut blocks[at];
                match delta {
                    Delta::Text(piece) => said.text.push_str(&lossy(piece)),
                    Delta::Thought { text: piece, part, .. } => {
                        if *part > parts[at] && !piece.is_empty() {
                            parts[at] = *part;
                            said.text.push_str(if said.text.is_empty() { "" } else { r"\n\n" });
                        }
                        said.text.push_str(&lossy(piece));
                    }
                    Delta::Arguments(piece) if free[at] => said.text.push_str(&lossy(piece).replace('\\', r"\\").replace('"', r#"\""#)),
                    Delta::Arguments(piece) => said.text.push_str(&lossy(piece)),
                    Delta::Seal(piece) => said.seal = lossy(piece),
                    Delta::Citation(_) => said.text.push_str("[cites]"),
                }
            }
            _ => {}
        }
    }
    blocks.iter_mut().zip(free).filter(|(_, free)| *free).for_each(|(said, _)| said.text.push_str(r#"\"}"#));
    blocks
}

/// The same as a message can say it: without what says nothing or has no place, and with the seals of others behind them.
fn sayable(blocks: Vec<Said>, own: bool) -> Vec<Said> {
    let carrier = |seal: &String| Said { kind: "thought".to_owned(), text: String::new(), seal: seal.clone() };
    let mut kept = Vec::new();
    for block in blocks {
        let is_thought = matches!(block.kind.as_str(), "thought" | "redacted");
        let has_place = match block.kind.as_str() {
            "redacted" => !block.seal.is_empty(),
            "thought" => !block.text.is_empty() || !block.seal.is_empty(),
            "text" => !block.text.is_empty(),
            "media" => false,
            kind => own || kind.starts_with("call"),
        };
        let seal = carrier(&block.seal);
        if has_place {
            kept.push(Said { seal: if is_thought { block.seal } else { String::new() }, ..block });
        }
        if !is_thought && !seal.seal.is_empty() {
            kept.push(seal);
        }
    }
    kept
}

fn lossy(text: &Text<'_>) -> String {
    String::from_utf8_lossy(text.as_bytes()).into_owned()
}

/// Events as a confused provider might send them.
fn fragment() -> impl Strategy<Value = String> {
    let index = prop_oneof![4 => (0..3_u64).prop_map(|index| json!(index)), 1 => Just(Value::Null), 1 => Just(json!("x"))];
    let block = select(vec![
        json!({"type": "text", "text": ""}),
        json!({"type": "text", "text": "a", "citations": [{"type": "x", "url": "u"}]}),
        json!({"type": "text"}),
        json!({"type": "thinking", "thinking": "", "signature": ""}),
        json!({"type": "thinking", "thinking": "hm", "signature": "s"}),
        json!({"type": "redacted_thinking", "data": "d"}),
        json!({"type": "tool_use", "id": "t", "name": "get", "input": {}}),
        json!({"type": "tool_use", "name": "get", "input": {"a": 1}}),
        json!({"type": "server_tool_use", "input": {}}),
        json!({"type": 5}),
        json!([]),
    ]);
    let delta = select(vec![
        json!({"type": "text_delta", "text": "a"}),
        json!({"type": "text_delta", "text": ""}),
        json!({"type": "text_delta", "text": null}),
        json!({"type": "thinking_delta", "thinking": "b"}),
        json!({"type": "signature_delta", "signature": "s"}),
        json!({"type": "input_json_delta", "partial_json": "{}"}),
        json!({"type": "input_json_delta", "partial_json": ""}),
        json!({"type": "citations_delta", "citation": {"url": "u"}}),
        json!({"type": "citations_delta"}),
        json!({"type": "compaction_delta", "content": "c"}),
        json!({"stop_reason": "end_turn", "stop_sequence": "x", "stop_details": {}}),
        json!({"stop_reason": null}),
        json!({}),
    ]);
    let kind = select(vec![
        "message_start",
        "content_block_start",
        "content_block_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
        "error",
        "new_event",
    ]);
    (kind, index, block, delta, 0..12_u8).prop_map(|(kind, index, block, delta, odd)| {
        let usage = json!({"input_tokens": 3, "output_tokens": 2});
        let event = json!({"type": kind, "index": index, "content_block": block, "delta": delta, "usage": usage, "message": {"id": "m", "model": "c"}});
        match odd {
            0 => event.to_string()[..20].to_owned(),
            1 => json!({"type": kind}).to_string(),
            _ => event.to_string(),
        }
    })
}

proptest! {
    #[test]
    fn a_decoder_keeps_its_promises(fragments in proptest::collection::vec(fragment(), 0..30)) {
        let mut decoder = Decoder::new(Traits::NONE);
        let mut events = Vec::new();
        let mut sink = |event: Event<'_>| events.push(promises::kept(&event));
        for fragment in &fragments {
            let _ = decoder.event(None, fragment.as_bytes(), &mut sink);
        }
        decoder.finish(&mut sink);
        decoder.finish(&mut sink);
        prop_assert_eq!(promises::check(&events), Ok(()), "{:#?}", fragments);
        let written = encode(&events, Dialect::AnthropicMessages);
        prop_assert_eq!(check_grammar(&written), Ok(()));
    }

    #[test]
    fn a_decoder_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120), fragment in fragment(), at in any::<Index>(), byte in any::<u8>()) {
        let mut decoder = Decoder::new(Traits::NONE);
        let mut events = Vec::new();
        let mut sink = |event: Event<'_>| events.push(promises::kept(&event));
        let _ = decoder.event(None, &bytes, &mut sink);
        let mut damaged = fragment.into_bytes();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        let _ = decoder.event(Some(&bytes), &damaged, &mut sink);
        decoder.finish(&mut sink);
        prop_assert_eq!(promises::check(&events), Ok(()));
    }

    #[test]
    fn whatever_is_told_is_written_in_good_grammar(events in promises::streams(), own in any::<bool>()) {
        let source = if own { Dialect::AnthropicMessages } else { Dialect::OpenaiResponses };
        let written = encode(&events, source);
        prop_assert_eq!(check_grammar(&written), Ok(()));
        let again = decode(&written, &[]);
        prop_assert_eq!(promises::check(&again), Ok(()));
        // What waited when the stream failed is not written.
        if events.last() == Some(&Event::End) {
            prop_assert_eq!(sayable(said(&events), own), said(&again));
        }
    }

    #[test]
    fn any_cut_gives_the_same_events(events in promises::streams(), cuts in proptest::collection::vec(any::<usize>(), 0..8)) {
        let written = encode(&events, Dialect::OpenaiChat);
        prop_assert_eq!(decode(&written, &[]), decode(&written, &cuts));
    }
}

#[test]
fn every_single_cut_of_a_stream() {
    let events = [
        Event::Start { id: Text::word("m"), model: Text::word("c"), created_s: None },
        Event::Open { choice: 0, block: 0, head: Head::Text },
        Event::Delta { choice: 0, block: 0, delta: Delta::Text(Text::word("é\u{2028}")) },
        Event::Close { choice: 0, block: 0 },
        Event::Open { choice: 0, block: 1, head: Head::Opaque { word: Text::word("x"), raw: Raw::json(b"{\"type\":\"x\"}") } },
        Event::Close { choice: 0, block: 1 },
    ];
    let written = encode(&events, Dialect::AnthropicMessages);
    let whole = decode(&written, &[]);
    for cut in 0..written.len() {
        assert_eq!(decode(&written, &[cut]), whole, "{cut}");
    }
}
