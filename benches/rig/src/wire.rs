//! What the floor and the load generator need of HTTP/1.1 responses: the head, and the body's payload.
//!
//! Deliberately not the product's own codec: a yardstick that shared it could not judge it.

use std::fmt;
use std::ops::Range;

/// Most headers a response may carry.
const MAX_HEADERS: usize = 64;
/// Longest accepted chunk-size line and trailer section, in bytes.
const MAX_LINE_BYTES: usize = 4096;

/// A parsed response head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Status code, 100 to 999.
    pub status: u16,
    /// Bytes of the head, its blank line included.
    pub len: usize,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the connection may carry another request after this reply.
    pub keep_alive: bool,
    /// Where the value of `content-type` stands in the input, if it was there.
    pub content_type: Option<Range<usize>>,
}

/// How a response body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes.
    Length(u64),
    /// After the chunk of size zero and its trailers.
    Chunked,
    /// When the peer closes.
    UntilClose,
}

/// Why a response cannot be read: a sentence for the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireError(pub &'static str);

impl fmt::Display for WireError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl std::error::Error for WireError {}

/// Parses a response head for a POST; `Ok(None)` means that more bytes are needed.
///
/// # Errors
/// When the head is malformed, has both or unknown framings, or more than 64 headers.
pub fn parse_head(input: &[u8]) -> Result<Option<Head>, WireError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let len = match response.parse(input) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(WireError("malformed response head")),
    };
    let status = response.code.unwrap_or_default();
    let mut head = Head { status, len, framing: Framing::UntilClose, keep_alive: response.version == Some(1), content_type: None };
    let mut length = None;
    let mut chunked = false;
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            if length.is_some() {
                return Err(WireError("two content-length headers"));
            }
            length = Some(parse_length(header.value)?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !header.value.eq_ignore_ascii_case(b"chunked") {
                return Err(WireError("transfer-encoding is not chunked"));
            }
            chunked = true;
        } else if header.name.eq_ignore_ascii_case("connection") {
            if header.value.eq_ignore_ascii_case(b"close") {
                head.keep_alive = false;
            }
        } else if header.name.eq_ignore_ascii_case("content-type") {
            // The value borrows from `input`, so the difference of the addresses is its place there.
            let start = header.value.as_ptr() as usize - input.as_ptr() as usize;
            head.content_type = Some(start..start + header.value.len());
        }
    }
    head.framing = match (length, chunked) {
        (Some(_), true) => return Err(WireError("content-length and chunked together")),
        (Some(length), false) => Framing::Length(length),
        (None, true) => Framing::Chunked,
        (None, false) if matches!(status, 204 | 304) => Framing::Length(0),
        (None, false) => Framing::UntilClose,
    };
    head.keep_alive &= head.framing != Framing::UntilClose;
    Ok(Some(head))
}

/// Decodes a body step by step; holds no bytes itself.
#[derive(Debug, Clone)]
pub struct Body {
    state: State,
}

/// What one step took from the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Bytes that are dealt with.
    pub consumed: usize,
    /// The payload among them.
    pub payload: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Sized { left: u64 },
    UntilClose,
    ChunkSize { size: u64, digits: u8 },
    ChunkLineEnd { size: u64, seen: usize },
    ChunkData { left: u64 },
    ChunkEndCr,
    ChunkEndLf,
    Trailer { line: usize, total: usize },
    Done,
}

impl Body {
    /// A decoder at the start of a body.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(left) => State::Sized { left },
            Framing::Chunked => State::ChunkSize { size: 0, digits: 0 },
            Framing::UntilClose => State::UntilClose,
        };
        Self { state }
    }

    /// Whether the whole body was seen.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes still to come, where the head announced them.
    #[must_use]
    pub fn announced(&self) -> Option<u64> {
        match self.state {
            State::Sized { left } => Some(left),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// The peer closed.
    ///
    /// # Errors
    /// When the body was not complete.
    pub fn finish(&mut self) -> Result<(), WireError> {
        match self.state {
            State::UntilClose | State::Done => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(WireError("the connection closed inside a reply")),
        }
    }

    /// One step over unread bytes: at most one stretch of payload. Call again with the rest until nothing is consumed.
    ///
    /// # Errors
    /// When chunked framing is malformed.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, WireError> {
        let mut at = 0;
        while at < input.len() {
            match self.state {
                State::Sized { left } | State::ChunkData { left } => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - at);
                    self.take(left - take as u64);
                    return Ok(Step { consumed: at + take, payload: at..at + take });
                }
                State::UntilClose => {
                    return Ok(Step { consumed: input.len(), payload: at..input.len() });
                }
                State::Done => break,
                _ => {
                    self.framing_byte(input[at])?;
                    at += 1;
                }
            }
        }
        Ok(Step { consumed: at, payload: at..at })
    }

    fn take(&mut self, left: u64) {
        self.state = match (self.state, left) {
            (State::ChunkData { .. }, 0) => State::ChunkEndCr,
            (State::ChunkData { .. }, left) => State::ChunkData { left },
            (_, 0) => State::Done,
            (_, left) => State::Sized { left },
        };
    }

    fn framing_byte(&mut self, byte: u8) -> Result<(), WireError> {
        self.state = match (self.state, byte) {
            (State::ChunkSize { size, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if digits == 15 {
                    return Err(WireError("chunk size too large"));
                }
                State::ChunkSize { size: size << 4 | hex(byte), digits: digits + 1 }
            }
            (State::ChunkSize { size, digits: 1.. }, b'\r' | b';' | b' ') => State::ChunkLineEnd { size, seen: usize::from(byte != b'\r') },
            (State::ChunkSize { .. }, _) => return Err(WireError("malformed chunk size")),
            (State::ChunkLineEnd { size: 0, .. }, b'\n') => State::Trailer { line: 0, total: 0 },
            (State::ChunkLineEnd { size, .. }, b'\n') => State::ChunkData { left: size },
            (State::ChunkLineEnd { seen: 0, .. }, _) => return Err(WireError("malformed chunk line")),
            (State::ChunkLineEnd { seen: MAX_LINE_BYTES.., .. }, _) => return Err(WireError("chunk line too long")),
            (State::ChunkLineEnd { size, seen }, _) => State::ChunkLineEnd { size, seen: seen + 1 },
            (State::ChunkEndCr, b'\r') => State::ChunkEndLf,
            (State::ChunkEndLf, b'\n') => State::ChunkSize { size: 0, digits: 0 },
            (State::ChunkEndCr | State::ChunkEndLf, _) => return Err(WireError("chunk data without its line end")),
            (State::Trailer { line: 0, .. }, b'\n') => State::Done,
            (State::Trailer { total, .. }, b'\n') => State::Trailer { line: 0, total },
            (State::Trailer { line, total }, b'\r') => State::Trailer { line, total },
            (State::Trailer { total: MAX_LINE_BYTES.., .. }, _) => return Err(WireError("trailers too long")),
            (State::Trailer { line, total }, _) => State::Trailer { line: line + 1, total: total + 1 },
            (state @ (State::Sized { .. } | State::ChunkData { .. } | State::UntilClose | State::Done), _) => state,
        };
        Ok(())
    }
}

fn hex(byte: u8) -> u64 {
    u64::from(match byte {
        b'0'..=b'9' => byte - b'0',
        _ => (byte | 0x20) - b'a' + 10,
    })
}

fn parse_length(value: &[u8]) -> Result<u64, WireError> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).ok_or(WireError("malformed content-length"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn check_head(input: &str, expected: Result<Option<(u16, Framing, bool)>, &str>) {
        let found = parse_head(input.as_bytes()).map(|head| head.map(|head| (head.status, head.framing, head.keep_alive)));
        assert_eq!(found.map_err(|error| error.0), expected, "{input:?}");
    }

    #[test]
    fn heads() {
        check_head("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", Ok(Some((200, Framing::Length(5), true))));
        check_head("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", Ok(Some((200, Framing::Chunked, true))));
        check_head("HTTP/1.1 204 \r\n\r\n", Ok(Some((204, Framing::Length(0), true))));
        check_head("HTTP/1.1 200 OK\r\n\r\n", Ok(Some((200, Framing::UntilClose, false))));
        check_head("HTTP/1.1 429 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", Ok(Some((429, Framing::Length(0), false))));
        check_head("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n", Ok(Some((200, Framing::Length(1), false))));
        check_head("HTTP/1.1 200 OK\r\ncontent-le", Ok(None));
        check_head("HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\n", Err("malformed content-length"));
        check_head("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n", Err("two content-length headers"));
        check_head(
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
            Err("content-length and chunked together"),
        );
        check_head("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", Err("transfer-encoding is not chunked"));
        check_head("SMTP ready\r\n\r\n", Err("malformed response head"));
    }

    #[test]
    fn content_type_is_found_in_place() {
        let input = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        let range = parse_head(input).unwrap().unwrap().content_type.unwrap();
        assert_eq!(&input[range], b"text/event-stream");
    }

    /// Feeds `input` in pieces of `size` bytes; gives the payload and what was left over.
    fn decode(framing: Framing, input: &[u8], size: usize) -> Result<(Vec<u8>, Vec<u8>), WireError> {
        let (mut body, mut payload, mut pending) = (Body::new(framing), Vec::new(), Vec::new());
        for piece in input.chunks(size) {
            pending.extend_from_slice(piece);
            loop {
                let step = body.step(&pending)?;
                payload.extend_from_slice(&pending[step.payload]);
                pending.drain(..step.consumed);
                if step.consumed == 0 || body.is_done() {
                    break;
                }
            }
        }
        body.finish()?;
        Ok((payload, pending))
    }

    fn check_body(framing: Framing, input: &str, expected: Result<(&str, &str), &str>) {
        for size in [1, 2, 3, 7, 4096] {
            let found = decode(framing, input.as_bytes(), size);
            let found = found.map(|(a, b)| (String::from_utf8(a).unwrap(), String::from_utf8(b).unwrap()));
            let expected = expected.map(|(a, b)| (a.to_owned(), b.to_owned()));
            assert_eq!(found.map_err(|error| error.0), expected, "{input:?} in pieces of {size}");
        }
    }

    #[test]
    fn bodies() {
        check_body(Framing::Length(5), "hello", Ok(("hello", "")));
        check_body(Framing::Length(5), "hello!", Ok(("hello", "!")));
        check_body(Framing::Length(6), "hello", Err("the connection closed inside a reply"));
        check_body(Framing::UntilClose, "hello", Ok(("hello", "")));
        check_body(Framing::Chunked, "5\r\nhello\r\n0\r\n\r\n", Ok(("hello", "")));
        check_body(Framing::Chunked, "1\r\nh\r\nA;x=y\r\nello world\r\n0\r\nx: y\r\n\r\nH", Ok(("hello world", "H")));
        check_body(Framing::Chunked, "5\r\nhello\r\n", Err("the connection closed inside a reply"));
        check_body(Framing::Chunked, "\r\nhello", Err("malformed chunk size"));
        check_body(Framing::Chunked, "5\r\nhello!\r\n", Err("chunk data without its line end"));
        check_body(Framing::Chunked, "5\rxhello", Err("malformed chunk line"));
        check_body(Framing::Chunked, "ffffffffffffffff\r\n", Err("chunk size too large"));
    }

    proptest! {
        #[test]
        fn any_payload_survives_any_split(parts in prop::collection::vec("[a-z\r\n]{1,40}", 0..8), size in 1_usize..64) {
            let mut wire = String::new();
            for part in &parts {
                wire.push_str(&format!("{:x}\r\n{part}\r\n", part.len()));
            }
            wire.push_str("0\r\n\r\n");
            let (payload, rest) = decode(Framing::Chunked, wire.as_bytes(), size).unwrap();
            prop_assert_eq!(payload, parts.concat().into_bytes());
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn garbage_never_panics(input in prop::collection::vec(any::<u8>(), 0..200), size in 1_usize..32) {
            let _verdict = decode(Framing::Chunked, &input, size);
            let _verdict = parse_head(&input);
        }
    }
}
