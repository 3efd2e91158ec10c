//! A request's head as its bytes pass by on their way to hyper. hyper drops a Content-Length that contradicts a Transfer-Encoding and
//! answers a head it cannot read without a word, so what it takes to do better is noted here.

use crate::routes::{self, Face};
use fairlead_http1 as http1;
use tokio::time::Instant;

/// A head of which bytes have come and which no request has been made of yet.
pub(crate) struct Arriving {
    /// When its first byte came: the request's beginning.
    pub(crate) since: Instant,
    /// The beginning of the request line: method and path.
    line: [u8; LINE_BYTES],
    line_bytes: usize,
    /// The beginning of a line that a read cut.
    cut: Vec<u8>,
    has_length: bool,
    /// The body's length, where it is told once and clearly.
    length: Option<u64>,
    has_coding: bool,
    /// Chunked is the only coding, and told once.
    chunked: bool,
    /// A length or a coding is told twice, or a length not plainly: others may read another end of the body out of it.
    doubtful: bool,
    stage: Stage,
}

/// What a request's head says of the body's end, besides what hyper tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A Content-Length was seen, or not.
    Seen { length: bool },
    /// What it says of the body's end can be understood in more than one way.
    Doubtful,
    /// It is not known which bytes the head was made of.
    Unseen,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    RequestLine,
    Fields,
    Complete,
    /// It does not begin with a request line.
    Unclear,
}

/// The longest path of ours, and its method.
const LINE_BYTES: usize = 64;

/// Of a line that is cut no more than this is kept: enough for a name, or for the end of a request line.
const CUT_BYTES: usize = 16 << 10;

const CONTENT_LENGTH: &[u8] = b"content-length";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";

/// The digits of the largest length.
const LENGTH_DIGITS: usize = 20;

impl Arriving {
    pub(crate) fn new(since: Instant) -> Arriving {
        Arriving {
            since,
            line: [0; LINE_BYTES],
            line_bytes: 0,
            cut: Vec::new(),
            has_length: false,
            length: None,
            has_coding: false,
            chunked: false,
            doubtful: false,
            stage: Stage::RequestLine,
        }
    }

    /// Looks at the next bytes of the connection; how many of them are the head's.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while matches!(self.stage, Stage::RequestLine | Stage::Fields) {
            let rest = &bytes[at..];
            let Some(end) = memchr::memchr(b'\n', rest) else {
                let room = CUT_BYTES.saturating_sub(self.cut.len());
                self.cut.extend_from_slice(&rest[..rest.len().min(room)]);
                return bytes.len();
            };
            at += end + 1;
            if self.cut.is_empty() {
                self.read_line(&rest[..end]);
            } else {
                let mut line = std::mem::take(&mut self.cut);
                line.extend_from_slice(&rest[..end]);
                self.read_line(&line);
            }
        }
        if self.stage == Stage::Unclear { bytes.len() } else { at }
    }

    fn read_line(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.stage {
            // Empty lines before a request are allowed.
            Stage::RequestLine if line.is_empty() => {}
            Stage::RequestLine => {
                self.line_bytes = line.len().min(LINE_BYTES);
                self.line[..self.line_bytes].copy_from_slice(&line[..self.line_bytes]);
                let version = line.len().checked_sub(9).and_then(|from| line.get(from..));
                self.stage = if version.is_some_and(|version| version.starts_with(b" HTTP/1.")) { Stage::Fields } else { Stage::Unclear };
            }
            _ if line.is_empty() => self.stage = Stage::Complete,
            _ => self.read_field(line),
        }
    }

    fn read_field(&mut self, line: &[u8]) {
        match line.first().map(u8::to_ascii_lowercase) {
            Some(b'c') => {
                if let Some(value) = value_of(CONTENT_LENGTH, line) {
                    self.length = number(value);
                    self.doubtful |= self.has_length || self.length.is_none();
                    self.has_length = true;
                }
            }
            Some(b't') => {
                if let Some(value) = value_of(TRANSFER_ENCODING, line) {
                    self.chunked = value.eq_ignore_ascii_case(b"chunked");
                    self.doubtful |= self.has_coding;
                    self.has_coding = true;
                }
            }
            _ => {}
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.stage == Stage::Complete
    }

    /// What the body behind a complete head is; `None` where others might understand it differently.
    pub(crate) fn body(&self) -> Option<http1::Framing> {
        match (self.has_length, self.has_coding) {
            _ if self.doubtful => None,
            (false, false) => Some(http1::Framing::Empty),
            (true, false) => self.length.map(http1::Framing::Length),
            (false, true) => self.chunked.then_some(http1::Framing::Chunked),
            (true, true) => None,
        }
    }

    /// What is known once hyper has read the head.
    pub(crate) fn framing(&self) -> Framing {
        match self.is_complete() {
            false => Framing::Unseen,
            true if self.doubtful => Framing::Doubtful,
            true => Framing::Seen { length: self.has_length },
        }
    }

    /// The face of an error about this head.
    pub(crate) fn face(&self) -> Face {
        let line = if self.line_bytes > 0 { &self.line[..self.line_bytes] } else { &self.cut[..self.cut.len().min(LINE_BYTES)] };
        let path = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        routes::face(std::str::from_utf8(path).unwrap_or_default())
    }
}

/// The value of a header line of this name.
fn value_of<'a>(name: &[u8], line: &'a [u8]) -> Option<&'a [u8]> {
    let (own, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    own.eq_ignore_ascii_case(name).then_some(value.trim_ascii())
}

/// A decimal number of usual length. A longer one may have been cut.
fn number(digits: &[u8]) -> Option<u64> {
    let plain = digits.len() <= LENGTH_DIGITS && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_ir::Dialect;

    fn pass(reads: &[&str]) -> Arriving {
        let mut arriving = Arriving::new(Instant::now());
        for read in reads {
            arriving.pass(read.as_bytes());
        }
        arriving
    }

    fn check(head: &str, expected: Framing) {
        for split in 0..=head.len() {
            let (first, second) = head.split_at(split);
            assert_eq!(pass(&[first, second]).framing(), expected, "{head:?} cut at {split}");
        }
    }

    #[test]
    fn lengths_are_seen_however_the_head_is_cut() {
        let seen = |length| Framing::Seen { length };
        check("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\n", seen(false));
        check("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nCONTENT-length: 5\r\n\r\n", seen(true));
        check("\r\n\r\nPOST / HTTP/1.0\nContent-Length: 5\n\n", seen(true));
        check("POST / HTTP/1.1\r\nx: content-length: 5\r\n\r\ncontent-length: 5\r\n", seen(false));
        check("POST / HTTP/1.1\r\ncontent-length: 5\r\n", Framing::Unseen);
        check("POST / HTTP/1.1\r\ncontent-length: 5\r\nContent-Length: 5\r\n\r\n", Framing::Doubtful);
        check("POST / HTTP/1.1\r\ncontent-length: 0000000000000000000005\r\n\r\n", Framing::Doubtful);
        check("POST / HTTP/1.1\r\ncontent-length: 5, 5\r\n\r\n", Framing::Doubtful);
        check("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", Framing::Doubtful);
        check("th: 5\r\ntransfer-encoding: chunked\r\n\r\n", Framing::Unseen);
    }

    #[test]
    fn the_face_follows_the_path() {
        assert_eq!(pass(&["POST /v1/mess", "ages HTTP/1.1\r\nx"]).face().dialect, Dialect::AnthropicMessages);
        assert_eq!(pass(&["POST /v1/messages"]).face().dialect, Dialect::AnthropicMessages);
        assert_eq!(pass(&["\0\0\0"]).face().dialect, Dialect::OpenaiChat);
        assert_eq!(pass(&[&format!("GET /{} HTTP/1.1\r\n", "a".repeat(20_000))]).face().dialect, Dialect::OpenaiChat);
    }
}
