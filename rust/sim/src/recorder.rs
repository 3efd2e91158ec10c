//! The last requests as they came in, for tests that look at what a gateway really sends. Off unless asked for.

use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::VecDeque;

const MAX_REQUESTS: usize = 256;
const MAX_BYTES: usize = 64 << 20;

/// A ring of raw requests, bounded in number and bytes.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    requests: VecDeque<RawRequest>,
    bytes: usize,
    dropped: u64,
}

#[derive(Debug)]
struct RawRequest {
    request: u64,
    head: Bytes,
    body: Bytes,
}

impl Recorder {
    /// Keeps request number `request`; older ones make room. One that is too big by itself is counted as dropped.
    pub(crate) fn push(&mut self, request: u64, head: &[u8], body: &[u8]) {
        let bytes = head.len() + body.len();
        if bytes > MAX_BYTES {
            self.dropped += 1;
            return;
        }
        self.bytes += bytes;
        // Copies: the originals are slices of a connection's buffer, which they would keep alive.
        self.requests.push_back(RawRequest { request, head: Bytes::copy_from_slice(head), body: Bytes::copy_from_slice(body) });
        while self.requests.len() > MAX_REQUESTS || self.bytes > MAX_BYTES {
            if let Some(oldest) = self.requests.pop_front() {
                self.bytes -= oldest.head.len() + oldest.body.len();
                self.dropped += 1;
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// `{"requests": […], "dropped": n}` with the last `count` requests, oldest first.
    pub(crate) fn json(&self, count: usize) -> String {
        let skip = self.requests.len().saturating_sub(count);
        let requests: Vec<Value> = self.requests.iter().skip(skip).map(RawRequest::json).collect();
        json!({"requests": requests, "dropped": self.dropped}).to_string()
    }
}

impl RawRequest {
    fn json(&self) -> Value {
        let mut value = json!({
            "request": self.request,
            "head": String::from_utf8_lossy(&self.head),
            "headers": headers(&self.head),
        });
        match std::str::from_utf8(&self.body) {
            Ok(text) => value["body"] = json!(text),
            Err(_) => value["body_base64"] = json!(base64(&self.body)),
        }
        value
    }
}

/// Names and values in the order in which they came, names spelled as sent.
fn headers(head: &[u8]) -> Vec<[String; 2]> {
    let lines = head.split(|&byte| byte == b'\n').skip(1);
    lines
        .filter_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let (name, value) = line.split_at_checked(colon)?;
            let value = value.get(1..)?;
            Some([String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(value).trim().to_owned()])
        })
        .collect()
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().chain(&[0, 0]).take(3).fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte));
        for position in 0..4 {
            let index = (bits >> (18 - 6 * position)) as usize & 63;
            let letter = if position > group.len() { b'=' } else { ALPHABET.get(index).copied().unwrap_or(b'=') };
            text.push(char::from(letter));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    #[test]
    fn base64_pads() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd]), "//79");
    }

    #[test]
    fn keeps_the_last_ones() {
        let mut recorder = Recorder::default();
        for request in 0..300 {
            recorder.push(request, b"POST / HTTP/1.1\r\nHost: a\r\nX-Two:  b \r\n\r\n", b"\xff");
        }
        let last: Value = serde_json::from_str(&recorder.json(2)).unwrap();
        assert_eq!(last["dropped"], 300 - MAX_REQUESTS);
        assert_eq!(last["requests"].as_array().unwrap().len(), 2);
        assert_eq!(last["requests"][1]["request"], 299);
        assert_eq!(last["requests"][1]["headers"], json!([["Host", "a"], ["X-Two", "b"]]));
        assert_eq!(last["requests"][1]["body_base64"], "/w==");
    }

    #[test]
    fn is_bounded_in_bytes() {
        let mut recorder = Recorder::default();
        let body = vec![b'x'; MAX_BYTES / 2];
        for request in 0..3 {
            recorder.push(request, b"", &body);
        }
        assert_eq!((recorder.requests.len(), recorder.bytes, recorder.dropped), (2, MAX_BYTES, 1));
        recorder.push(9, b"x", &vec![0; MAX_BYTES]);
        assert_eq!((recorder.requests.len(), recorder.dropped), (2, 2));
    }
}
