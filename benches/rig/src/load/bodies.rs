//! The requests that are sent: whole HTTP messages, prepared once.
//!
//! The model behind them echoes the last user text, so a reply's right text is known without any script, and a peer
//! that drops unknown fields can be measured too. Only a pace needs the simulator's `sim` field.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};

use super::check::{Dialect, Expected};

/// A request ready to be written, and what its reply must be.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Head and body.
    pub bytes: Vec<u8>,
    /// The right reply.
    pub expected: Arc<Expected>,
}

/// What a generated body looks like.
#[derive(Debug, Clone)]
pub struct Kind {
    /// The dialect.
    pub dialect: Dialect,
    /// The model's name at the gateway.
    pub model: String,
    /// Whether the reply is streamed.
    pub stream: bool,
    /// Words of the last user text, each of which comes back as one piece of content.
    pub words: usize,
    /// Size that the body is filled up to with earlier turns, in bytes.
    pub fill_bytes: usize,
    /// Time between two pieces of the reply, in milliseconds; absent: no script.
    pub pace_ms: Option<u64>,
}

/// A generated body and what its reply must be.
#[must_use]
pub fn generate(kind: &Kind) -> (Vec<u8>, Expected) {
    let text = numbered_words(kind.words);
    let mut messages = earlier_turns(kind.fill_bytes);
    messages.push(json!({"role": "user", "content": text}));
    // The model comes behind the messages, as in the bodies of the most used SDK: nobody may stop at the first bytes.
    let mut body = json!({"model": kind.model, "max_tokens": kind.words.max(64) * 4, "messages": messages});
    if kind.stream {
        body["stream"] = Value::Bool(true);
        if kind.dialect == Dialect::OpenaiChat {
            body["stream_options"] = json!({"include_usage": true});
        }
    }
    if let Some(pace_ms) = kind.pace_ms {
        body["sim"] = json!({"pace_ms": pace_ms});
    }
    let pieces = kind.stream.then_some(kind.words as u64);
    (body.to_string().into_bytes(), Expected { stream: kind.stream, text: Some(text), pieces })
}

/// The HTTP message around a body.
#[must_use]
pub fn prepare(target: &str, path: &str, headers: &[(String, String)], body: &[u8], expected: Expected) -> Prepared {
    let mut head = format!("POST {path} HTTP/1.1\r\nhost: {target}\r\ncontent-type: application/json\r\n");
    for (name, value) in headers {
        // Writing to a string cannot fail.
        let _written = write!(head, "{name}: {value}\r\n");
    }
    let _written = write!(head, "content-length: {}\r\n\r\n", body.len());
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    Prepared { bytes, expected: Arc::new(expected) }
}

/// Words that are all different, so that a missing, doubled or misplaced piece shows.
fn numbered_words(count: usize) -> String {
    let words: Vec<String> = (0..count).map(|index| format!("word{index}")).collect();
    words.join(" ")
}

/// Turns of an agent that reads code: text with the escapes that real bodies are full of.
fn earlier_turns(fill_bytes: usize) -> Vec<Value> {
    let mut turns = Vec::new();
    let mut size = 0;
    let mut line = 0;
    while size < fill_bytes {
        let mut text = String::with_capacity(2200);
        while text.len() < 2000 {
            let _written = writeln!(text, "{line:>6}\tlet value_{line} = \"a\\tb\"; // grüße, line {line} of a file");
            line += 1;
        }
        let role = if turns.len() % 2 == 0 { "user" } else { "assistant" };
        let turn = json!({"role": role, "content": text});
        size += turn.to_string().len() + 1;
        turns.push(turn);
    }
    if turns.len() % 2 == 1 {
        turns.push(json!({"role": "assistant", "content": "Read."}));
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(stream: bool, fill_bytes: usize, pace_ms: Option<u64>) -> Kind {
        Kind { dialect: Dialect::OpenaiChat, model: "m".to_owned(), stream, words: 3, fill_bytes, pace_ms }
    }

    #[test]
    fn bodies_have_their_size_and_text() {
        for (fill_bytes, least, most) in [(0, 80, 400), (100_000, 100_000, 104_000), (400_000, 400_000, 404_000)] {
            let (body, expected) = generate(&kind(false, fill_bytes, None));
            assert!((least..=most).contains(&body.len()), "{} bytes", body.len());
            assert_eq!(expected.text.as_deref(), Some("word0 word1 word2"));
            assert_eq!(expected.pieces, None);
            let parsed: Value = serde_json::from_slice(&body).unwrap_or_default();
            assert_eq!(parsed["model"], "m");
            let roles = parsed["messages"].as_array().map(|turns| turns.iter().map(|turn| turn["role"] == "user").collect());
            let roles: Vec<bool> = roles.unwrap_or_default();
            assert!(roles.chunks(2).all(|pair| pair[0] && pair.get(1) != Some(&true)), "turns alternate");
        }
    }

    #[test]
    fn streams_ask_for_usage_and_pace() {
        let (body, expected) = generate(&kind(true, 0, Some(10)));
        let parsed: Value = serde_json::from_slice(&body).unwrap_or_default();
        assert_eq!(parsed["stream_options"]["include_usage"], true);
        assert_eq!(parsed["sim"]["pace_ms"], 10);
        assert_eq!(expected.pieces, Some(3));
    }

    #[test]
    fn the_message_has_its_length() {
        let headers = [("authorization".to_owned(), "Bearer k".to_owned())];
        let prepared = prepare("h:1", "/p", &headers, b"{}", Expected::default());
        let wanted =
            "POST /p HTTP/1.1\r\nhost: h:1\r\ncontent-type: application/json\r\nauthorization: Bearer k\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(String::from_utf8_lossy(&prepared.bytes), wanted);
    }
}
