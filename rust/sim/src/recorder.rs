//! The last requests as they came in, for tests that look at what a gateway really sends. Off unless asked for.

use crate::base64;
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
            Err(_) => value["body_base64"] = json!(base64::encode(&self.body)),
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

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
