//! The end of a stream that is cut: what the client had as the provider sent it, and the end in the same names.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use fairlead_formats::cut::SAID;
use fairlead_formats::identity::Identity;
use fairlead_formats::tap::Tap;
use fairlead_formats::translate::dialects::{StreamDecoder, StreamEncoder};
use fairlead_formats::translate::{Bridge, Wanted};
use fairlead_ir::traits::Traits;
use fairlead_ir::{Dialect, Manner, NanoUsd, Usage};

fn identity(manner: Manner) -> Arc<Identity> {
    Arc::new(Identity::new(manner, "gen-1-ab", "lab/m", "Lab", 7))
}

fn usage() -> Usage {
    Usage { prompt_tokens: 5, completion_tokens: 2, ..Usage::default() }
}

/// What ends a stream on the byte path after these events.
fn cut(dialect: Dialect, manner: Manner, withhold_usage: bool, events: &[&str]) -> String {
    let mut tap = Tap::new(dialect, identity(manner), withhold_usage);
    for event in events {
        tap.inspect(event.as_bytes());
    }
    let mut out = Vec::new();
    tap.close_block(&mut out);
    tap.cut(&usage(), NanoUsd(1500), &mut out);
    String::from_utf8(out).unwrap()
}

const CHAT: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":3,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"finish_reason\":null}]}\n\n";

#[test]
fn chat_ends_in_the_names_it_began_with() {
    let finish = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":3,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n";
    let told = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":3,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,\"total_tokens\":7,\"cost\":0.0000015,";
    let withheld = cut(Dialect::OpenaiChat, Manner::Native, true, &[CHAT]);
    assert_eq!(withheld, format!(": {SAID}\n{finish}data: [DONE]\n\n"));
    let asked = cut(Dialect::OpenaiChat, Manner::Native, false, &[CHAT]);
    assert!(asked.starts_with(&format!(": {SAID}\n{finish}{told}")) && asked.ends_with("}\n\ndata: [DONE]\n\n"), "{asked}");
    let ours = cut(Dialect::OpenaiChat, Manner::Openrouter, false, &[CHAT]);
    assert!(ours.contains(r#""id":"gen-1-ab""#) && ours.contains(r#""finish_reason":"length","native_finish_reason":"budget""#), "{ours}");
}

const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":5,\"output_tokens\":1}}}\n\n";
const OPEN: &str = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":3,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
const DELTA: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":3,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n";
const CLOSE: &str = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":3}\n\n";

#[test]
fn messages_end_the_block_that_is_open_and_no_other() {
    let check = |events: &[&str], closes: bool| {
        let end = cut(Dialect::AnthropicMessages, Manner::Native, false, events);
        assert_eq!(end.starts_with(CLOSE), closes, "{end}");
        let rest = end.strip_prefix(CLOSE).unwrap_or(&end);
        let delta = format!(
            ": {SAID}\nevent: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"max_tokens\",\"stop_sequence\":null"
        );
        assert!(rest.starts_with(&delta) && rest.contains(r#""input_tokens":5"#) && rest.contains(r#""cost":0.0000015"#), "{rest}");
        assert!(rest.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"), "{rest}");
    };
    check(&[START], false);
    check(&[START, OPEN], true);
    check(&[START, OPEN, DELTA, DELTA, DELTA], true);
    check(&[START, OPEN, DELTA, CLOSE], false);
}

#[test]
fn gemini_says_it_in_its_last_chunk() {
    let chunk = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hi\"}],\"role\":\"model\"},\"index\":0}],\"modelVersion\":\"m\",\"responseId\":\"r1\"}\r\n\r\n";
    let end = cut(Dialect::GeminiGenerate, Manner::Native, false, &[chunk]);
    assert!(end.starts_with("data: {\"candidates\":[{") && end.matches("data: ").count() == 1, "{end}");
    for part in [
        format!(r#""finishReason":"MAX_TOKENS","finishMessage":"{SAID}""#),
        r#""candidatesTokenCount":2"#.to_owned(),
        r#""modelVersion":"m""#.to_owned(),
        r#""responseId":"r1""#.to_owned(),
    ] {
        assert!(end.contains(&part), "{part} in {end}");
    }
}

#[test]
fn responses_go_on_under_the_providers_numbers_and_ids() {
    let response = r#""response":{"id":"resp_1","object":"response","created_at":3,"status":"in_progress","model":"m","output":[]}"#;
    let item = r#"{"id":"msg_theirs","type":"message","status":"in_progress","role":"assistant","content":[]}"#;
    let event = |name: &str, number: u32, rest: &str| {
        format!("event: {name}\ndata: {{\"type\":\"{name}\",\"sequence_number\":{number},{rest}}}\n\n")
    };
    let events = [
        event("response.created", 0, response),
        event("response.in_progress", 1, response),
        event("response.output_item.added", 2, &format!(r#""output_index":0,"item":{item}"#)),
        event(
            "response.content_part.added",
            3,
            r#""item_id":"msg_theirs","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}"#,
        ),
        event("response.output_text.delta", 4, r#""item_id":"msg_theirs","output_index":0,"content_index":0,"delta":"Hi","logprobs":[]"#),
    ];
    let dialect = Dialect::OpenaiResponses;
    let wanted = Wanted { source: dialect, identity: identity(Manner::Native), bridge: Arc::new(Bridge::default()), json_array: false };
    let (mut decoder, mut encoder) = (StreamDecoder::new(dialect, Traits::NONE), StreamEncoder::new(dialect, wanted));
    let (mut out, mut scratch) = (Vec::new(), Vec::new());
    for event in &events {
        encoder.adopt(event.as_bytes(), &mut scratch);
        decoder.read(event.as_bytes(), &mut scratch, &mut |event| encoder.event(&event, &mut out)).unwrap();
    }
    out.clear();
    encoder.go_on_from(events.len() as u64);
    encoder.cut(1, 0, &usage(), NanoUsd(1500), &mut out);
    let end = String::from_utf8(out).unwrap();
    let names: Vec<&str> = end.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let expected = ["response.output_text.done", "response.content_part.done", "response.output_item.done", "response.incomplete"];
    assert_eq!(names, expected, "{end}");
    assert!(end.starts_with(&format!(": {SAID}\n")) && end.matches("msg_").count() == end.matches("msg_theirs").count(), "{end}");
    assert!(end.contains(r#""sequence_number":5,"#) && end.contains(r#""sequence_number":8,"#), "{end}");
    assert!(end.contains(r#""incomplete_details":{"reason":"max_output_tokens"}"#) && end.contains(r#""text":"Hi""#), "{end}");
}
