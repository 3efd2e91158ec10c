use std::net::SocketAddr;
use std::time::Duration;

use fairlead_rig::floor::{self, Variant};
use fairlead_rig::load::bodies::{self, Kind, Prepared};
use fairlead_rig::load::check::Dialect;
use fairlead_rig::load::{self, Mode, Options, Report};

use crate::provider::{self, Answer, Provider};

/// Words of every request here.
const WORDS: usize = 3;
const TEXT: &str = "word0 word1 word2";

fn prepared(target: SocketAddr, stream: bool) -> Prepared {
    let model = "bench/model".to_owned();
    let kind = Kind { dialect: Dialect::OpenaiChat, model, stream, words: WORDS, fill_bytes: 0, pace_ms: None };
    let (body, expected) = bodies::generate(&kind);
    let headers = [("authorization".to_owned(), "Bearer secret".to_owned())];
    bodies::prepare(&target.to_string(), "/v1/chat/completions", &headers, &body, expected)
}

fn options(target: SocketAddr, stream: bool, mode: Mode, connections: usize) -> Options {
    let request = prepared(target, stream);
    Options {
        target,
        connections,
        mode,
        warmup: Duration::ZERO,
        stagger: Duration::ZERO,
        warmup_request: request.clone(),
        request,
        dialect: Dialect::OpenaiChat,
    }
}

/// One request per connection.
const ONCE: Mode = Mode::Closed { duration: Duration::ZERO };

fn run(target: SocketAddr, stream: bool, mode: Mode, connections: usize) -> Report {
    load::run(&options(target, stream, mode, connections), &mut || Ok(())).unwrap()
}

fn unary_body(text: &str) -> String {
    format!(
        "{{\"choices\":[{{\"message\":{{\"content\":\"{text}\"}},\"finish_reason\":\"stop\"}}],\"usage\":{{\"prompt_tokens\":3,\"completion_tokens\":3}}}}"
    )
}

fn stream_parts() -> Vec<String> {
    let chunk = |rest: &str| format!("data: {{\"id\":\"1\",\"object\":\"chat.completion.chunk\",{rest}}}\n\n");
    let piece = |text: &str| chunk(&format!("\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]"));
    vec![
        piece("word0"),
        piece(" word1"),
        piece(" word2"),
        chunk("\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]"),
        chunk("\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":3}"),
        "data: [DONE]\n\n".to_owned(),
    ]
}

/// A provider whose stream is `change`d before it is sent.
fn streaming(change: impl Fn(&mut Vec<String>) + Send + Sync + 'static) -> Provider {
    provider::start(move |_, _| {
        let mut parts = stream_parts();
        change(&mut parts);
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Answer { writes: provider::chunked("text/event-stream", &parts), close: false }
    })
}

fn unary(text: &'static str) -> Provider {
    provider::start(move |_, _| Answer { writes: vec![provider::sized("application/json", &unary_body(text))], close: false })
}

#[test]
fn right_replies_are_counted() {
    let provider = unary(TEXT);
    let report = run(provider.address, false, ONCE, 4);
    assert_eq!((report.requests, report.errors, report.reconnects), (4, 0, 0), "{:?}", report.first_error);
    assert_eq!(report.latency_ns.unwrap().count, 4);
    // A warm-up request and one of the window on each connection, which is kept.
    assert_eq!(provider.requests.lock().unwrap().len(), 8);

    let provider = streaming(|_| {});
    let report = run(provider.address, true, ONCE, 2);
    assert_eq!((report.requests, report.errors, report.frames), (2, 0, 12), "{:?}", report.first_error);
    assert_eq!(report.first_content_ns.unwrap().count, 2);
    assert_eq!(report.gap_ns.unwrap().count, 4);
}

#[test]
fn a_fixed_rate_sends_what_it_should() {
    let provider = unary(TEXT);
    let mode = Mode::Rate { duration: Duration::from_millis(100), per_second: 400.0 };
    let report = run(provider.address, false, mode, 3);
    assert_eq!((report.requests, report.errors), (40, 0), "{:?}", report.first_error);
    assert_eq!(report.late_ns.unwrap().count, 40);
}

#[test]
fn held_streams_are_open_at_the_gate() {
    let provider = provider::start(|_, _| {
        let parts = stream_parts();
        let mut writes = provider::chunked("text/event-stream", &[&parts[0]]);
        writes.pop();
        Answer { writes, close: false }
    });
    let mut gates = 0;
    let report = load::run(&options(provider.address, true, Mode::Hold, 5), &mut || {
        gates += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!((report.requests, report.errors, gates), (5, 0, 1), "{:?}", report.first_error);
}

/// The provider's replies must be found wrong, with a sentence that has `failure` in it.
fn check_wrong(provider: &Provider, stream: bool, failure: &str) {
    let report = run(provider.address, stream, ONCE, 1);
    let found = report.first_error.unwrap_or_default();
    assert!(report.requests == 0 && found.contains(failure), "expected {failure:?}, found {found:?}");
}

#[test]
fn wrong_replies_are_errors() {
    check_wrong(&unary("word0 word1"), false, "wrong text");
    check_wrong(&streaming(|parts| parts.swap(1, 2)), true, "wrong text");
    check_wrong(&streaming(|parts| drop(parts.remove(2))), true, "breaks off");
    check_wrong(&streaming(|parts| parts.truncate(5)), true, "terminal");
    check_wrong(&streaming(|parts| drop(parts.remove(4))), true, "usage");
    check_wrong(&streaming(|parts| parts.insert(3, "data: {\"error\":{}}\n\n".to_owned())), true, "error");

    let answers: [(&[u8], bool, &str); 6] = [
        (b"HTTP/1.1 500 No\r\ncontent-length: 4\r\n\r\noops", false, "status 500: oops"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\n{}", false, "content type text/html"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{}", true, "closed inside"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}x", false, "follow the end"),
        (b"hello\r\n\r\n", false, "malformed response head"),
        (b"", true, "closed before a reply"),
    ];
    for (reply, close, failure) in answers {
        let provider = provider::start(move |_, _| Answer { writes: vec![reply.to_vec()], close });
        check_wrong(&provider, false, failure);
    }
}

#[test]
fn the_whole_chain_stays_right() {
    for variant in [Variant::Hand, Variant::Hyper] {
        for stream in [false, true] {
            let provider = if stream { streaming(|_| {}) } else { unary(TEXT) };
            let running = floor::start(&floor::Options {
                listen: "127.0.0.1:0".parse().unwrap(),
                upstream: provider.address,
                key: "secret".to_owned(),
                model_from: "bench/model".to_owned(),
                model_to: "sim/echo".to_owned(),
                variant,
                threads: 2,
            })
            .unwrap();
            let mode = Mode::Rate { duration: Duration::from_millis(100), per_second: 1000.0 };
            let report = run(running.address, stream, mode, 8);
            assert_eq!((report.requests, report.errors), (100, 0), "{variant:?} {:?}", report.first_error);
        }
    }
}
