//! HTTP/1.1 as such: what is taken, what is refused and why, connections and stopping.

use crate::client::{Client, End, ask, request, simulator};
use fairlead_sim::{Options, Simulator};
use serde_json::json;
use std::io::Read;
use std::net::TcpStream;

fn body() -> String {
    ask("sim/echo", "hello", json!({})).to_string()
}

#[test]
fn bad_framing_is_refused_with_a_reason() {
    let simulator = simulator();
    let body = body();
    let check = |lines: &str, content: &str, status: u16, needle: &str| {
        let mut client = Client::new(&simulator);
        client.send(format!("POST /v1/chat/completions HTTP/1.1\r\n{lines}\r\n\r\n{content}").as_bytes());
        let reply = client.reply();
        assert_eq!(reply.status, status, "{lines}");
        let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(needle), "{lines}: {message}");
        assert_eq!(reply.header("connection"), Some("close"));
        assert_eq!(client.rest(), (Vec::new(), End::Closed), "{lines}");
    };
    let length = body.len();
    check(&format!("Content-Length: {length}"), &body, 400, "no Host");
    check(&format!("Host: a\r\nContent-Length: {length}\r\nContent-Length: {length}"), &body, 400, "twice");
    check(&format!("Host: a\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked"), &body, 400, "together");
    check("Host: a\r\nTransfer-Encoding: gzip", &body, 400, "other than chunked");
    check("Host: a\r\nTransfer-Encoding: chunked", "zz\r\n", 400, "hexadecimal");
    check("Host: a\r\nTransfer-Encoding: chunked", "5;a=b\r\nhello\r\n0\r\n\r\n", 400, "hexadecimal");
    check("Host: a\r\nTransfer-Encoding: chunked", "5\nhello\r\n0\r\n\r\n", 400, "bare LF");
    check("Host: a\r\nTransfer-Encoding: chunked", "4\r\nhello\r\n0\r\n\r\n", 400, "longer than its size");
    check("Host: a\r\nTransfer-Encoding: chunked", "0\r\nTrailer: x\r\n\r\n", 400, "trailers");
    check("Host: a\r\nTransfer-Encoding: chunked", "ffffffffffffffff\r\n", 400, "out of range");
    check("Host: a\r\nTransfer-Encoding: chunked", "00000000000000000001\r\n", 400, "too long");
    check("Host: a\r\nTransfer-Encoding: chunked", "fffffff\r\n", 413, "more than");
    check("Host: a\r\nContent-Length: 999999999999", "", 413, "more than");
    check("Host: a\r\nExpect: tea", "", 417, "100-continue");
}

#[test]
fn requests_come_in_any_pieces() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    for byte in request("/v1/chat/completions", &body()).as_bytes() {
        client.send(&[*byte]);
    }
    assert_eq!(client.reply().json()["choices"][0]["message"]["content"], "hello");
    let body = body();
    let (first, second) = body.split_at(10);
    let chunked = format!(
        "POST /chat/completions HTTP/1.1\r\nHost: a\r\nx-api-key: k\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
        {:x}\r\n{first}\r\n{:X}\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    );
    for byte in chunked.as_bytes() {
        client.send(&[*byte]);
    }
    assert_eq!(client.reply().json()["choices"][0]["message"]["content"], "hello");
}

#[test]
fn one_connection_serves_many_requests_also_pipelined() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let texts: Vec<_> = (0..20).map(|number| format!("text-{number}")).collect();
    let requests: String =
        texts.iter().map(|text| request("/v1/chat/completions", &ask("sim/echo", text, json!({})).to_string())).collect();
    client.send(requests.as_bytes());
    for text in &texts {
        assert_eq!(client.reply().json()["choices"][0]["message"]["content"], *text);
    }
}

#[test]
fn large_bodies_are_read_whole() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let text = "x".repeat(3 << 20);
    let reply = client.chat(ask("sim/echo", &text, json!({})));
    assert_eq!(reply.json()["choices"][0]["message"]["content"], text);
    assert_eq!(client.chat(ask("sim/echo", "small", json!({}))).json()["choices"][0]["message"]["content"], "small");
}

#[test]
fn asks_for_the_body_when_the_caller_waits() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let whole = request("/v1/chat/completions", &body()).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    let (head, content) = whole.split_once("\r\n\r\n").unwrap();
    client.send(format!("{head}\r\n\r\n").as_bytes());
    let mut interim = [0; 25];
    client.stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send(content.as_bytes());
    assert_eq!(client.reply().status, 200);
}

#[test]
fn old_http_and_close_end_the_connection() {
    let simulator = simulator();
    let check = |whole: String, stream: bool| {
        let mut client = Client::new(&simulator);
        client.send(whole.as_bytes());
        let reply = client.reply();
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("connection"), Some("close"));
        if stream {
            assert_eq!(reply.event_json().len(), 3);
        } else {
            assert_eq!(reply.json()["choices"][0]["message"]["content"], "hello");
        }
        assert_eq!(client.rest(), (Vec::new(), End::Closed));
        reply
    };
    for stream in [false, true] {
        let whole = request("/v1/chat/completions", &ask("sim/echo", "hello", json!({"stream": stream})).to_string());
        check(whole.replace("Host: sim", "Host: sim\r\nConnection: close"), stream);
        let reply = check(whole.replace("HTTP/1.1", "HTTP/1.0"), stream);
        assert_eq!(reply.header("transfer-encoding"), None);
    }
}

#[test]
fn keys_are_checked() {
    let simulator = Simulator::start(Options { api_key: Some("right".to_owned()), ..Options::default() }).unwrap();
    let check = |line: &str, path: &str, status: u16, kind: &str| {
        let whole = request(path, &body()).replace("Authorization: Bearer k\r\n", line);
        let mut client = Client::new(&simulator);
        client.send(whole.as_bytes());
        let reply = client.reply();
        assert_eq!(reply.status, status, "{line} {path}");
        if status == 401 {
            assert_eq!(reply.json()["error"]["type"], kind);
        }
    };
    for path in ["/v1/chat/completions", "/v1/messages"] {
        let kind = if path.ends_with("messages") { "authentication_error" } else { "invalid_request_error" };
        check("", path, 401, kind);
        check("Authorization: Bearer \r\n", path, 401, kind);
        check("Authorization: Basic right\r\n", path, 401, kind);
        check("Authorization: Bearer wrong\r\n", path, 401, kind);
        check("Authorization: Bearer right\r\n", path, 200, kind);
        check("x-api-key: right\r\n", path, 200, kind);
        check("x-api-key: wrong\r\n", path, 401, kind);
    }
}

#[test]
fn content_type_must_be_json() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    client.send(request("/v1/chat/completions", &body()).replace("application/json", "text/plain").as_bytes());
    assert_eq!(client.reply().status, 400);
    client.send(request("/v1/chat/completions", &body()).replace("application/json", "Application/JSON; charset=utf-8").as_bytes());
    assert_eq!(client.reply().status, 200);
}

#[test]
fn many_threads_share_the_connections() {
    let simulator = Simulator::start(Options { threads: 3, ..Options::default() }).unwrap();
    let mut clients: Vec<_> = (0..7).map(|_| Client::new(&simulator)).collect();
    for _ in 0..3 {
        for (number, client) in clients.iter_mut().enumerate() {
            let text = format!("client-{number}");
            assert_eq!(client.chat(ask("sim/echo", &text, json!({}))).json()["choices"][0]["message"]["content"], text);
        }
    }
    assert_eq!(clients[0].ledger()["totals"]["complete"], 21);
}

#[test]
fn stopping_ends_everything() {
    let simulator = Simulator::start(Options { threads: 2, drain_ms: 0, ..Options::default() }).unwrap();
    let mut idle = Client::new(&simulator);
    assert_eq!(idle.call("GET", "/sim/healthz").json(), json!({"status": "ok"}));
    let mut busy = Client::new(&simulator);
    busy.send(
        request("/v1/chat/completions", &ask("sim/fast", "x", json!({"stream": true, "sim": {"fault": {"kind": "stall"}}})).to_string())
            .as_bytes(),
    );
    // The head is out: the request is in the works.
    let mut first = [0];
    busy.stream.read_exact(&mut first).unwrap();
    simulator.stop();
    assert_eq!(idle.rest().1, End::Closed);
    busy.rest();
    assert!(TcpStream::connect(simulator.address()).is_err());
    let ledger: serde_json::Value = serde_json::from_str(&simulator.ledger_json()).unwrap();
    assert_eq!((&ledger["totals"]["cut"], &ledger["totals"]["open"]), (&json!(1), &json!(0)));
    simulator.stop();
}

#[test]
fn stopping_lets_a_request_end() {
    let simulator = Simulator::start(Options { drain_ms: 20_000, ..Options::default() }).unwrap();
    let mut client = Client::new(&simulator);
    let script = json!({"tokens": 20, "pace_ms": 5});
    client.send(request("/v1/chat/completions", &ask("sim/fast", "x", json!({"stream": true, "sim": script})).to_string()).as_bytes());
    let mut first = [0];
    client.stream.read_exact(&mut first).unwrap();
    assert_eq!(first, *b"H");
    simulator.stop();
    let (rest, end) = client.rest();
    assert_eq!(end, End::Closed);
    assert!(rest.ends_with(b"data: [DONE]\n\n\r\n0\r\n\r\n"), "{}", String::from_utf8_lossy(&rest));
}

#[test]
fn a_taken_address_is_an_error() {
    let simulator = simulator();
    assert!(Simulator::start(Options { address: simulator.address(), ..Options::default() }).is_err());
}
