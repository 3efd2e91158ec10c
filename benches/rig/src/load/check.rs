//! Judges replies: status, type, text, order, usage, terminal. A fast wrong answer must not count as an answer.
//!
//! The frames of a stream are read with a few substring searches, so that the generator stays cheaper than what it
//! measures. Every [`FULL_CHECK_EVERY`]th stream of a connection, the first included, is also parsed as JSON.

use std::sync::Arc;
use std::time::Instant;

use memchr::memchr;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::Value;

/// One stream in so many is parsed in full.
const FULL_CHECK_EVERY: u64 = 64;
/// Largest unary reply or unfinished frame, in bytes.
const MAX_PENDING_BYTES: usize = 8 << 20;

/// The dialect of requests and replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI chat completions.
    OpenaiChat,
    /// Anthropic messages.
    AnthropicMessages,
}

/// What a right reply looks like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// Whether it is a stream.
    pub stream: bool,
    /// Its whole text; absent: any text that is not empty.
    pub text: Option<String>,
    /// How many pieces of content a stream has; absent: any number.
    pub pieces: Option<u64>,
}

/// Checks one reply after the other on a connection. Errors are sentences for the report.
#[derive(Debug)]
pub struct Checker {
    dialect: Dialect,
    expected: Arc<Expected>,
    searches: Searches,
    replies: u64,
    /// An unary body, or the start of a frame whose end has not come yet.
    pending: Vec<u8>,
    progress: Progress,
    gaps_ns: Vec<u64>,
}

/// How far a stream has come.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    frames: u64,
    pieces: u64,
    text_bytes: usize,
    opened: bool,
    finish_reason: bool,
    usage: bool,
    terminal: bool,
    first_content_at: Option<Instant>,
    last_content_at: Option<Instant>,
}

#[derive(Debug)]
struct Searches {
    /// In front of the text of a piece.
    text: Finder<'static>,
    usage: Finder<'static>,
    finish_reason: Finder<'static>,
}

impl Checker {
    /// A checker for one connection.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        let (text, finish_reason) = match dialect {
            Dialect::OpenaiChat => ("\"content\":", "\"finish_reason\":"),
            Dialect::AnthropicMessages => ("\"text\":", "\"stop_reason\":"),
        };
        let searches = Searches { text: Finder::new(text), usage: Finder::new("\"usage\":"), finish_reason: Finder::new(finish_reason) };
        Self {
            dialect,
            expected: Arc::default(),
            searches,
            replies: 0,
            pending: Vec::new(),
            progress: Progress::default(),
            gaps_ns: Vec::new(),
        }
    }

    /// A new reply comes.
    pub fn begin(&mut self, expected: &Arc<Expected>) {
        self.expected = Arc::clone(expected);
        self.replies += 1;
        self.pending.clear();
        self.progress = Progress::default();
        self.gaps_ns.clear();
    }

    /// Events seen so far.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.progress.frames
    }

    /// When the first text of a stream was read.
    #[must_use]
    pub fn first_content_at(&self) -> Option<Instant> {
        self.progress.first_content_at
    }

    /// Times between the pieces of content, in nanoseconds.
    #[must_use]
    pub fn gaps_ns(&self) -> &[u64] {
        &self.gaps_ns
    }

    /// Judges the head.
    ///
    /// # Errors
    /// When the status is not 200 or the type is not the asked one.
    pub fn head(&mut self, status: u16, content_type: &[u8]) -> Result<(), String> {
        if status != 200 {
            return Err(format!("status {status}"));
        }
        let wanted: &[u8] = if self.expected.stream { b"text/event-stream" } else { b"application/json" };
        if !content_type.starts_with(wanted) {
            return Err(format!("content type {}", String::from_utf8_lossy(content_type)));
        }
        Ok(())
    }

    /// Takes payload that was read at `now`.
    ///
    /// # Errors
    /// When a frame is wrong, or something grows without end.
    pub fn payload(&mut self, payload: &[u8], now: Instant) -> Result<(), String> {
        if !self.expected.stream {
            self.pending.extend_from_slice(payload);
        } else if self.pending.is_empty() {
            let used = self.events(payload, now)?;
            self.pending.extend_from_slice(&payload[used..]);
        } else {
            let mut pending = std::mem::take(&mut self.pending);
            pending.extend_from_slice(payload);
            let used = self.events(&pending, now)?;
            pending.drain(..used);
            self.pending = pending;
        }
        if self.pending.len() > MAX_PENDING_BYTES { Err("a reply without end".to_owned()) } else { Ok(()) }
    }

    /// The reply is complete.
    ///
    /// # Errors
    /// When something that it must have is missing.
    pub fn finish(&mut self) -> Result<(), String> {
        if self.expected.stream { self.finish_stream() } else { self.finish_unary() }
    }

    fn finish_stream(&self) -> Result<(), String> {
        let Progress { pieces, text_bytes, finish_reason, usage, terminal, .. } = self.progress;
        let missing = |what: &str| Err(format!("the stream has no {what}"));
        if !self.pending.is_empty() {
            return Err("the stream ends inside a frame".to_owned());
        }
        if !terminal {
            return missing("terminal event");
        }
        if !finish_reason {
            return missing("finish reason");
        }
        if !usage {
            return missing("usage");
        }
        if pieces == 0 || self.expected.text.as_ref().is_some_and(|text| text.len() != text_bytes) {
            return Err(format!("the stream's text breaks off after {text_bytes} bytes"));
        }
        match self.expected.pieces {
            Some(wanted) if wanted != pieces => Err(format!("{pieces} pieces of content, expected {wanted}")),
            _ => Ok(()),
        }
    }

    fn finish_unary(&self) -> Result<(), String> {
        let text = match self.dialect {
            Dialect::OpenaiChat => chat_text(&self.pending)?,
            Dialect::AnthropicMessages => messages_text(&self.pending)?,
        };
        match &self.expected.text {
            Some(wanted) if *wanted != text => Err(format!("wrong text: {}", shortened(text.as_bytes()))),
            None if text.is_empty() => Err("empty text".to_owned()),
            _ => Ok(()),
        }
    }

    /// Handles all whole events; says how many bytes they were.
    fn events(&mut self, bytes: &[u8], now: Instant) -> Result<usize, String> {
        let (mut used, mut at) = (0, 0);
        while let Some(length) = memchr(b'\n', &bytes[at..]) {
            let line = &bytes[at..at + length];
            at += length + 1;
            if line.is_empty() || line == b"\r" {
                used = at;
            } else if let Some(data) = line.strip_prefix(b"data:") {
                // Only a line whose event is complete may be acted on, else it would be seen again with the rest.
                match bytes.get(at) {
                    Some(b'\n') => {}
                    Some(b'\r') if bytes.get(at + 1) == Some(&b'\n') => {}
                    Some(b'\r') | None => return Ok(used),
                    Some(_) => return Err("an event of several lines of data".to_owned()),
                }
                self.event(data.trim_ascii(), now)?;
            } else if line.starts_with(b"event:") && line[6..].trim_ascii() == b"error" {
                return Err(format!("error event: {}", shortened(&bytes[at..])));
            }
        }
        Ok(used)
    }

    fn event(&mut self, data: &[u8], now: Instant) -> Result<(), String> {
        if self.progress.terminal {
            return Err(format!("data after the terminal event: {}", shortened(data)));
        }
        self.progress.frames += 1;
        match self.dialect {
            Dialect::OpenaiChat => self.chat_event(data, now),
            Dialect::AnthropicMessages => self.messages_event(data, now),
        }
    }

    fn chat_event(&mut self, data: &[u8], now: Instant) -> Result<(), String> {
        if data == b"[DONE]" {
            self.progress.terminal = true;
            return Ok(());
        }
        if data.starts_with(b"{\"error\"") {
            return Err(format!("error in the stream: {}", shortened(data)));
        }
        if self.is_full_check() {
            let chunk: Value = serde_json::from_slice(data).map_err(|error| format!("chunk is not JSON: {error}"))?;
            if chunk["object"] != "chat.completion.chunk" || !chunk["choices"].is_array() || chunk["id"].is_null() {
                return Err(format!("not a chunk: {}", shortened(data)));
            }
        }
        self.progress.usage |= value_after(&self.searches.usage, data).is_some_and(|value| value.starts_with(b"{"));
        self.progress.finish_reason |= value_after(&self.searches.finish_reason, data).is_some_and(|value| value.starts_with(b"\""));
        self.text(data, now)
    }

    fn messages_event(&mut self, data: &[u8], now: Instant) -> Result<(), String> {
        if self.is_full_check() {
            let event: Value = serde_json::from_slice(data).map_err(|error| format!("event is not JSON: {error}"))?;
            if !event["type"].is_string() {
                return Err(format!("not an event: {}", shortened(data)));
            }
        }
        let kind = value_after(&Finder::new("\"type\":"), data).unwrap_or_default();
        if kind.starts_with(b"\"content_block_delta\"") {
            return self.text(data, now);
        }
        if kind.starts_with(b"\"message_start\"") {
            self.progress.opened = true;
        } else if kind.starts_with(b"\"message_delta\"") {
            self.progress.usage |= value_after(&self.searches.usage, data).is_some_and(|value| value.starts_with(b"{"));
            self.progress.finish_reason |= value_after(&self.searches.finish_reason, data).is_some_and(|value| value.starts_with(b"\""));
        } else if kind.starts_with(b"\"message_stop\"") {
            self.progress.terminal = true;
        } else if kind.starts_with(b"\"error\"") {
            return Err(format!("error in the stream: {}", shortened(data)));
        }
        if self.progress.opened { Ok(()) } else { Err("the stream does not begin with message_start".to_owned()) }
    }

    /// Compares a piece of text with the place where it belongs.
    fn text(&mut self, data: &[u8], now: Instant) -> Result<(), String> {
        let Some(literal) = value_after(&self.searches.text, data).and_then(string_literal) else { return Ok(()) };
        if literal.len() == 2 {
            return Ok(());
        }
        let inner = &literal[1..literal.len() - 1];
        let decoded;
        let piece = if memchr(b'\\', inner).is_none() {
            inner
        } else {
            decoded = serde_json::from_slice::<String>(literal).map_err(|error| format!("text: {error}"))?;
            decoded.as_bytes()
        };
        let progress = &mut self.progress;
        if let Some(text) = &self.expected.text
            && !text.as_bytes()[progress.text_bytes.min(text.len())..].starts_with(piece)
        {
            return Err(format!("wrong text after {} bytes: {}", progress.text_bytes, shortened(piece)));
        }
        progress.text_bytes += piece.len();
        progress.pieces += 1;
        progress.first_content_at.get_or_insert(now);
        if let Some(last) = progress.last_content_at.replace(now) {
            self.gaps_ns.push(u64::try_from(now.saturating_duration_since(last).as_nanos()).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    fn is_full_check(&self) -> bool {
        self.replies % FULL_CHECK_EVERY == 1
    }
}

/// What follows a key that is found with its colon.
fn value_after<'a>(key: &Finder<'_>, data: &'a [u8]) -> Option<&'a [u8]> {
    let at = key.find(data)? + key.needle().len();
    Some(data[at..].trim_ascii_start())
}

/// The string literal that `value` begins with, quotes included.
fn string_literal(value: &[u8]) -> Option<&[u8]> {
    if value.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', value.get(at..)?)?;
        if value[at] == b'"' {
            return Some(&value[..=at]);
        }
        at += 2;
    }
}

fn chat_text(body: &[u8]) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Completion {
        choices: Vec<Choice>,
        usage: Usage,
    }
    #[derive(Deserialize)]
    struct Choice {
        message: Message,
        finish_reason: String,
    }
    #[derive(Deserialize)]
    struct Message {
        content: String,
    }
    #[derive(Deserialize)]
    struct Usage {
        prompt_tokens: u64,
        completion_tokens: u64,
    }
    let reply: Completion = parse(body)?;
    let choice = reply.choices.into_iter().next().ok_or("no choice")?;
    check_usage(reply.usage.prompt_tokens, reply.usage.completion_tokens, &choice.finish_reason)?;
    Ok(choice.message.content)
}

fn messages_text(body: &[u8]) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Message {
        content: Vec<Block>,
        usage: Usage,
        stop_reason: String,
    }
    #[derive(Deserialize)]
    struct Block {
        text: String,
    }
    #[derive(Deserialize)]
    struct Usage {
        input_tokens: u64,
        output_tokens: u64,
    }
    let reply: Message = parse(body)?;
    check_usage(reply.usage.input_tokens, reply.usage.output_tokens, &reply.stop_reason)?;
    Ok(reply.content.into_iter().map(|block| block.text).collect())
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("{error}: {}", shortened(body)))
}

fn check_usage(input: u64, output: u64, finish_reason: &str) -> Result<(), String> {
    if input == 0 || output == 0 || finish_reason.is_empty() {
        return Err(format!("usage {input} + {output}, finish reason {finish_reason:?}"));
    }
    Ok(())
}

fn shortened(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Dialect::{AnthropicMessages, OpenaiChat};

    const HELLO: &str = r#"data: {"id":"1","object":"chat.completion.chunk","choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}

data: {"id":"1","object":"chat.completion.chunk","choices":[{"delta":{"content":"hel"},"finish_reason":null}]}

data: {"id":"1","object":"chat.completion.chunk","choices":[{"delta":{"content":"lo\n"},"finish_reason":null}]}

data: {"id":"1","object":"chat.completion.chunk","choices":[{"delta":{},"finish_reason":"stop"}]}

data: {"id":"1","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}

data: [DONE]

"#;
    const MESSAGES: &str = r#"event: message_start
data: {"type":"message_start","message":{"content":[],"usage":{"input_tokens":3}}}

event: ping
data: {"type": "ping"}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hel"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"lo\n"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}

event: message_stop
data: {"type":"message_stop"}

"#;

    /// Judges `reply` in one piece, byte by byte and in other splits; all must agree.
    fn check(dialect: Dialect, stream: bool, reply: &str, expected: Result<(), &str>) {
        for size in [1, 2, 3, 50, 1 << 20] {
            let verdict = judge(dialect, stream, reply, size);
            match (&verdict, expected) {
                (Ok(()), Ok(())) => {}
                (Err(found), Err(wanted)) if found.contains(wanted) => {}
                _ => assert_eq!(verdict, expected.map_err(str::to_owned), "{reply} in pieces of {size}"),
            }
        }
    }

    fn judge(dialect: Dialect, stream: bool, reply: &str, size: usize) -> Result<(), String> {
        let expected = Arc::new(Expected { stream, text: Some("hello\n".to_owned()), pieces: stream.then_some(2) });
        let mut checker = Checker::new(dialect);
        checker.begin(&expected);
        let kind = if stream { "text/event-stream; charset=utf-8" } else { "application/json" };
        checker.head(200, kind.as_bytes())?;
        for piece in reply.as_bytes().chunks(size) {
            checker.payload(piece, Instant::now())?;
        }
        checker.finish()
    }

    #[test]
    fn right_streams_pass() {
        check(OpenaiChat, true, HELLO, Ok(()));
        check(OpenaiChat, true, &HELLO.replace('\n', "\r\n"), Ok(()));
        check(OpenaiChat, true, &HELLO.replace("\"content\":", "\"content\": "), Ok(()));
        check(OpenaiChat, true, &format!(": keep-alive\n\n{HELLO}"), Ok(()));
        check(AnthropicMessages, true, MESSAGES, Ok(()));
    }

    #[test]
    fn wrong_streams_fail() {
        let cases = [
            ("data: [DONE]\n\n", "", "terminal"),
            ("\"finish_reason\":\"stop\"", "\"finish_reason\":null", "finish reason"),
            ("\"usage\":{", "\"other\":{", "usage"),
            ("\"hel\"", "\"hex\"", "wrong text after 0"),
            ("\"lo\\n\"", "\"lo\"", "breaks off after 5"),
            ("\"lo\\n\"", "\"lo\\nhello\"", "wrong text after 3"),
            ("data: [DONE]\n\n", "data: [DONE]\n\ndata: {}\n\n", "after the terminal"),
            ("data: [DONE]\n\n", "data: [DONE]\n\ndata: [DO", "inside a frame"),
            ("data: [DONE]", "data: {\"error\":{\"message\":\"no\"}}\n\ndata: [DONE]", "error in the stream"),
            ("data: [DONE]", "event: error\ndata: {}\n\ndata: [DONE]", "error event"),
            ("data: [DONE]", "data: {\ndata: }\n\ndata: [DONE]", "several lines"),
            ("data: [DONE]", "data: nonsense\n\ndata: [DONE]", "not JSON"),
            ("data: [DONE]", "data: {\"id\":\"1\"}\n\ndata: [DONE]", "not a chunk"),
        ];
        for (from, to, failure) in cases {
            assert!(HELLO.contains(from), "{from}");
            check(OpenaiChat, true, &HELLO.replace(from, to), Err(failure));
        }
        let swapped = HELLO.replace("\"hel\"", "\"X\"").replace("\"lo\\n\"", "\"hel\"").replace("\"X\"", "\"lo\\n\"");
        check(OpenaiChat, true, &swapped, Err("wrong text"));
        check(OpenaiChat, true, &HELLO.replace("\"hel\"", "\"h\"").replace("\"lo", "\"ello"), Ok(()));
        let third =
            HELLO.replace("data: [DONE]", "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"choices\":[]}\n\ndata: [DONE]");
        check(OpenaiChat, true, &third, Ok(()));
        let merged = HELLO.replace("\"hel\"", "\"hello\\n\"").replace("\"lo\\n\"", "\"\"");
        check(OpenaiChat, true, &merged, Err("1 pieces of content, expected 2"));
    }

    #[test]
    fn wrong_messages_fail() {
        let cases = [
            ("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", "", "terminal"),
            ("\"stop_reason\":\"end_turn\"", "\"stop_reason\":null", "finish reason"),
            ("\"text\":\"hel\"", "\"text\":\"he\"", "wrong text after 2"),
            ("event: message_start\ndata: {\"type\":\"message_start\"", "data: {\"type\":\"ping\"", "begin with message_start"),
            ("data: {\"type\": \"ping\"}", "data: {\"type\":\"error\",\"error\":{}}", "error in the stream"),
        ];
        for (from, to, failure) in cases {
            assert!(MESSAGES.contains(from), "{from}");
            check(AnthropicMessages, true, &MESSAGES.replace(from, to), Err(failure));
        }
    }

    #[test]
    fn unary_replies() {
        let chat = r#"{"choices":[{"message":{"content":"hello\n"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"cost":0.1}}"#;
        check(OpenaiChat, false, chat, Ok(()));
        check(OpenaiChat, false, &chat.replace("hello", "hullo"), Err("wrong text"));
        check(OpenaiChat, false, &chat.replace("\"completion_tokens\":2,", ""), Err("completion_tokens"));
        check(OpenaiChat, false, &chat.replace("_tokens\":2", "_tokens\":0"), Err("usage 1 + 0"));
        check(OpenaiChat, false, &chat[..chat.len() - 1], Err("EOF"));
        check(OpenaiChat, false, &format!("{chat}}}"), Err("trailing"));
        let messages =
            r#"{"content":[{"type":"text","text":"hello\n"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2}}"#;
        check(AnthropicMessages, false, messages, Ok(()));
        check(AnthropicMessages, false, &messages.replace("end_turn", ""), Err("finish reason"));
    }

    #[test]
    fn heads() {
        let mut checker = Checker::new(OpenaiChat);
        checker.begin(&Arc::new(Expected::default()));
        assert_eq!(checker.head(200, b"application/json; charset=utf-8"), Ok(()));
        assert_eq!(checker.head(503, b"application/json"), Err("status 503".to_owned()));
        assert_eq!(checker.head(200, b"text/html"), Err("content type text/html".to_owned()));
    }
}
