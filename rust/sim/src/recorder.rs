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

    /// Request number `request` as it was received, if it is kept: method, target, headers with their secrets taken out, and up to
    /// `body_bytes` of the body.
    pub(crate) fn received(&self, request: u64, body_bytes: usize) -> Option<Value> {
        let raw = self.requests.iter().rev().find(|raw| raw.request == request)?;
        let line = String::from_utf8_lossy(raw.head.split(|&byte| byte == b'\r').next().unwrap_or_default()).into_owned();
        let mut words = line.split(' ');
        let (method, target) = (words.next(), words.next().map(without_key));
        let headers: Vec<[String; 2]> = headers(&raw.head).into_iter().map(without_secret).collect();
        let shown = raw.body.get(..body_bytes).unwrap_or(&raw.body);
        let mut value = json!({"method": method, "target": target, "headers": headers, "body_is_cut": shown.len() < raw.body.len()});
        put_body(shown, &mut value);
        Some(value)
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
        put_body(&self.body, &mut value);
        value
    }
}

/// `body`, or `body_base64` where it is no text.
fn put_body(body: &[u8], value: &mut Value) {
    match std::str::from_utf8(body) {
        Ok(text) => value["body"] = json!(text),
        Err(_) => value["body_base64"] = json!(base64::encode(body)),
    }
}

/// A header whose value, if it is a secret, is only its scheme.
fn without_secret([name, value]: [String; 2]) -> [String; 2] {
    const SECRETS: &[&str] = &["authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie", "x-amz-security-token"];
    if !SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
        return [name, value];
    }
    let scheme = value.split_once(' ').map_or(String::new(), |(scheme, _)| format!("{scheme} "));
    [name, format!("{scheme}…")]
}

/// A target without the key that Gemini takes there.
fn without_key(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let pairs: Vec<&str> = query.split('&').map(|pair| if pair.starts_with("key=") { "key=…" } else { pair }).collect();
    format!("{path}?{}", pairs.join("&"))
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
    fn what_was_received_is_shown_without_secrets() {
        let mut recorder = Recorder::default();
        let head =
            b"POST /v1beta/models/x?alt=sse&key=s3cret HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer s3cret\r\nX-API-Key: s3cret\r\n\r\n";
        recorder.push(7, head, b"{\"a\":1}");
        assert_eq!(recorder.received(8, 99), None);
        let received = recorder.received(7, 4).unwrap();
        let headers = json!([["Host", "a"], ["Authorization", "Bearer …"], ["X-API-Key", "…"]]);
        let target = "/v1beta/models/x?alt=sse&key=…";
        assert_eq!(received, json!({"method": "POST", "target": target, "headers": headers, "body": "{\"a\"", "body_is_cut": true}));
        assert_eq!(recorder.received(7, 99).unwrap()["body_is_cut"], false);
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
