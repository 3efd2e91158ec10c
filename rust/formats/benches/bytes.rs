//! What the byte tools cost: nanoseconds per call and bytes per second, lowest of many short windows.
//!
//! `cargo bench -p fairlead-formats --bench bytes`. The lowest window is shown because other work on the machine only
//! ever adds time. Each case first checks that the tool does its work on the text at hand.

#![expect(clippy::unwrap_used, reason = "a measurement may stop")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use fairlead_formats::json::{Scanner, walk};
use fairlead_formats::splice::{Edits, MemberEdits};
use fairlead_formats::sse::{self, Decoder, Framer};

/// About what routing asks of a chat body.
const WANTED: [&str; 24] = [
    "model",
    "models",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "tools",
    "tool_choice",
    "response_format",
    "provider",
    "plugins",
    "route",
    "transforms",
    "preset",
    "session_id",
    "trace",
    "usage",
    "user",
    "reasoning",
    "service_tier",
    "metadata",
    "prompt_cache_key",
    "n",
    "messages",
];

fn main() {
    println!("{:34} {:>9} {:>12} {:>8}", "case", "bytes", "ns", "GB/s");
    for (name, body) in bodies() {
        measure(&format!("scan, {name}"), body.len(), || scan(black_box(&body)));
    }
    let body = chat_body(&prose(100_000));
    measure("scan, 100 KB in reads of 16 KB", body.len(), || {
        let mut scanner = Scanner::new(&WANTED, 128);
        for slice in black_box(&body).chunks(16 * 1024) {
            scanner.feed(slice).unwrap();
        }
        scanner.finish().unwrap().value(0).unwrap().start
    });
    measure("scan and list the pieces, 100 KB", body.len(), || splice(black_box(&body)));
    measure("serde_json::Value, 100 KB", body.len(), || {
        serde_json::from_slice::<serde_json::Value>(black_box(&body)).unwrap().as_object().unwrap().len()
    });
    streams();
}

fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    assert!(Scanner::new(&WANTED, 128).feed(&deep).is_err());
    let indented = serde_json::to_string_pretty(&serde_json::from_slice::<serde_json::Value>(&tools_body()).unwrap()).unwrap();
    let messages: String = (0..2_000).map(|_| r#"{"role":"user","content":"Yes, do."},"#).collect();
    vec![
        ("chat 1 KB", chat_body(&prose(800))),
        ("chat 100 KB, plain", chat_body(&prose(100_000))),
        ("chat 100 KB, Chinese", chat_body(&"世界很大，".repeat(6_700))),
        ("200 KB escaped code", chat_body(&code(200_000))),
        ("100 KB of an agent's turns", agent_body(100_000)),
        ("100 KB of such turns, ASCII", ascii_only(&agent_body(100_000))),
        ("100 KB prose with \\n", chat_body(&lines(100_000))),
        ("100 KB of \\u escapes", chat_body_raw(&r"\u4e16\u754c\ud83d\ude00".repeat(4_200))),
        ("4 MB base64", chat_body(&"iVBORw0KGgoAAAANSUhEUg".repeat(190_000))),
        ("tool definitions, compact", tools_body()),
        ("tool definitions, indented", indented.into_bytes()),
        ("many short messages", format!(r#"{{"model":"m","messages":[{}null]}}"#, messages).into_bytes()),
        ("40 KB of token ids", format!(r#"{{"model":"m","input":[{}0]}}"#, "12345,678,".repeat(4_000)).into_bytes()),
    ]
}

fn scan(body: &[u8]) -> usize {
    let mut scanner = Scanner::new(&WANTED, 128);
    scanner.feed(body).unwrap();
    scanner.finish().unwrap().value(0).unwrap().start
}

fn splice(body: &[u8]) -> usize {
    let mut scanner = Scanner::new(&WANTED, 128);
    scanner.feed(body).unwrap();
    let members = scanner.finish().unwrap();
    let mut changes = MemberEdits::new(&members);
    changes.set(0, "model", &b"\"gpt-x\""[..]);
    changes.set(3, "stream_options", &br#"{"include_usage":true}"#[..]);
    let mut edits = Edits::new();
    changes.write(&mut edits).unwrap();
    let mut pieces = Vec::new();
    edits.apply_slices(&[body], &mut pieces).unwrap();
    pieces.len()
}

fn streams() {
    let chunk = r#"{"id":"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG","object":"chat.completion.chunk","created":1741570283,"model":"gpt-x","choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}]}"#;
    let mut event = Vec::new();
    sse::encode(None, chunk, &mut event);
    let stream = event.repeat(1_000);
    per_event("frame", event.len(), || {
        let mut framer = Framer::new(1 << 20);
        black_box(&stream).chunks(16 * 1024).map(|read| frame(&mut framer, read)).sum()
    });
    per_event("frame, reads of 1460", event.len(), || {
        let mut framer = Framer::new(1 << 20);
        black_box(&stream).chunks(1460).map(|read| frame(&mut framer, read)).sum()
    });
    let mut events = Vec::new();
    per_event("decode", event.len(), || {
        events.clear();
        Decoder::new(1 << 20).feed(black_box(&stream), &mut events).unwrap();
        events.len()
    });
    measure("data_range of a chunk", event.len(), || sse::data_range(black_box(&event)).unwrap().end);
    measure("event_name of a chunk", event.len(), || usize::from(sse::event_name(black_box(&event)).is_some()));
    measure("walk a chunk's members", chunk.len(), || walk::members(black_box(chunk.as_bytes())).filter(Result::is_ok).count());
    measure("find a chunk's choices", chunk.len(), || {
        walk::member(black_box(chunk.as_bytes()), "choices").unwrap().unwrap().value_range.start
    });
}

fn frame(framer: &mut Framer, read: &[u8]) -> usize {
    let (mut from, mut count) = (0, 0);
    while let Some(end) = framer.next_end(read, from).unwrap() {
        from = end;
        count += 1;
    }
    count
}

/// Prints the time for each of 1,000 events.
fn per_event(name: &str, bytes: usize, mut work: impl FnMut() -> usize) {
    assert_eq!(work(), 1_000);
    print(name, bytes, lowest_ns(&mut work) / 1_000.0);
}

fn measure(name: &str, bytes: usize, mut work: impl FnMut() -> usize) {
    print(name, bytes, lowest_ns(&mut work));
}

fn print(name: &str, bytes: usize, ns: f64) {
    println!("{name:34} {bytes:>9} {ns:>12.1} {:>8.2}", bytes as f64 / ns);
}

/// The lowest time of one call over 40 windows of about two milliseconds.
fn lowest_ns(work: &mut impl FnMut() -> usize) -> f64 {
    let start = Instant::now();
    black_box(work());
    let calls = (2_000_000 / start.elapsed().as_nanos().max(20)).clamp(1, 100_000);
    let mut lowest = f64::MAX;
    for _ in 0..40 {
        let start = Instant::now();
        for _ in 0..calls {
            black_box(work());
        }
        lowest = lowest.min(start.elapsed().as_nanos() as f64 / calls as f64);
    }
    lowest
}

fn chat_body(content: &str) -> Vec<u8> {
    let mut text = Vec::new();
    walk::write_string(&mut text, content);
    chat_body_raw(std::str::from_utf8(&text[1..text.len() - 1]).unwrap())
}

fn chat_body_raw(content: &str) -> Vec<u8> {
    format!(
        r#"{{"model":"openai/gpt-x","messages":[{{"role":"system","content":"You are a helpful assistant."}},{{"role":"user","content":"{content}"}}],"stream":true,"max_tokens":1024,"temperature":0.7}}"#
    )
    .into_bytes()
}

fn prose(bytes: usize) -> String {
    "The harbour was quiet, and nobody on the pier had seen the boat leave before dawn. ".repeat(bytes / 83 + 1)
}

fn code(bytes: usize) -> String {
    "\tif let Some(value) = map.get(\"key\") {\n\t\tprintln!(\"{}\\n\", value);\n\t}\n\n".repeat(bytes / 76)
}

/// Prose in paragraphs of one or two sentences.
fn lines(bytes: usize) -> String {
    "The harbour was quiet.\nNobody on the pier had seen the boat leave before dawn, nor heard it.\n\n".repeat(bytes / 93 + 1)
}

/// Turns of an agent that reads code, as the load generator sends them: an escape every 15 bytes or so, and a byte of
/// 0x80 or above in every line.
fn agent_body(bytes: usize) -> Vec<u8> {
    let mut turns = String::new();
    let mut line = 0;
    while turns.len() < bytes {
        let mut text = String::new();
        while text.len() < 2_000 {
            let _ = writeln!(text, "{line:>6}\tlet value_{line} = \"a\\tb\"; // grüße, line {line} of a file");
            line += 1;
        }
        let mut content = Vec::new();
        walk::write_string(&mut content, &text);
        let _ = write!(turns, r#"{{"role":"user","content":{}}},"#, String::from_utf8(content).unwrap());
    }
    format!(r#"{{"max_tokens":256,"messages":[{turns}null],"model":"m"}}"#).into_bytes()
}

/// As some clients write JSON. For letters of the first plane.
fn ascii_only(body: &[u8]) -> Vec<u8> {
    let mut text = String::new();
    for letter in str::from_utf8(body).unwrap().chars() {
        let _ = if letter.is_ascii() { write!(text, "{letter}") } else { write!(text, "\\u{:04x}", u32::from(letter)) };
    }
    text.into_bytes()
}

fn tools_body() -> Vec<u8> {
    let mut tools = String::new();
    for number in 0..60 {
        let _ = write!(
            tools,
            r#"{}{{"type":"function","function":{{"name":"tool_{number}","description":"Reads a file from the disk.","parameters":{{"type":"object","properties":{{"path":{{"type":"string"}},"limit":{{"type":"integer","minimum":0}}}},"required":["path"],"additionalProperties":false}}}}}}"#,
            if number > 0 { "," } else { "" }
        );
    }
    format!(r#"{{"model":"m","tools":[{tools}]}}"#).into_bytes()
}
