//! Faults: what a caller sees of each, and what the ledger says afterwards.

use crate::client::{Client, End, HANG_LIMIT, ask, request, simulator};
use fairlead_sim::Simulator;
use serde_json::{Value, json};
use std::time::Instant;

/// A client whose request with `fault` has been sent.
fn faulty(simulator: &Simulator, path: &str, stream: bool, fault: &Value) -> Client {
    let mut client = Client::new(simulator);
    let body = ask("sim/fast", "x", json!({"stream": stream, "sim": {"fault": fault, "tokens": 10}}));
    client.send(request(path, &body.to_string()).as_bytes());
    client
}

/// The record of the only request, once it is there.
fn record(simulator: &Simulator) -> Value {
    let start = Instant::now();
    while start.elapsed() < HANG_LIMIT {
        let ledger: Value = serde_json::from_str(&simulator.ledger_json()).unwrap();
        if let Some(record) = ledger["records"].get(0) {
            return record.clone();
        }
        std::thread::yield_now();
    }
    panic!("the request has not ended")
}

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";

#[test]
fn status() {
    let check = |path: &str, fault: Value, retry_after: Option<&str>, kind: &str| {
        for stream in [false, true] {
            let simulator = simulator();
            let mut client = faulty(&simulator, path, stream, &fault);
            let reply = client.reply();
            assert_eq!((json!(reply.status), reply.header("retry-after")), (fault["status"].clone(), retry_after));
            assert_eq!(reply.json()["error"]["type"], kind, "{path} {fault}");
            let record = record(&simulator);
            assert_eq!((&record["outcome"], &record["fault"], &record["status"]), (&json!("fault"), &json!("status"), &fault["status"]));
            assert_eq!(record["billed"]["cancel_ignored"], json!({"prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0}));
            // The connection goes on.
            assert_eq!(client.call("GET", "/sim/healthz").status, 200);
        }
    };
    check(CHAT, json!({"kind": "status", "status": 503, "retry_after": "2"}), Some("2"), "server_error");
    check(CHAT, json!({"kind": "status", "status": 429}), None, "requests");
    check(MESSAGES, json!({"kind": "status", "status": 529}), None, "overloaded_error");
    check(MESSAGES, json!({"kind": "status", "status": 429, "retry_after": "6m0s"}), Some("6m0s"), "rate_limit_error");
    check(CHAT, json!({"kind": "status", "status": 500, "body": {"error": {"type": "own"}}}), None, "own");
    let simulator = simulator();
    let text = faulty(&simulator, CHAT, false, &json!({"kind": "status", "status": 502, "body": "<html>"})).reply();
    assert_eq!(text.text(), "<html>");
}

#[test]
fn error_event() {
    for (path, frames, content) in [(CHAT, 3, 2), (MESSAGES, 5, 2)] {
        let simulator = simulator();
        let reply = faulty(&simulator, path, true, &json!({"kind": "error_event", "after_frames": frames})).reply();
        assert_eq!((reply.status, &reply.end), (200, &End::Framed));
        let events = reply.event_json();
        assert_eq!(events.len(), frames + 1);
        assert!(events[frames]["error"]["message"].is_string());
        assert!(!reply.text().contains("[DONE]") && !reply.text().contains("message_stop"));
        let record = record(&simulator);
        assert_eq!((&record["outcome"], &record["delivered_tokens"]), (&json!("fault"), &json!(content)));
    }
    let simulator = simulator();
    let unary = faulty(&simulator, MESSAGES, false, &json!({"kind": "error_event"})).reply();
    assert_eq!((unary.status, &unary.json()["type"]), (200, &json!("error")));
}

#[test]
fn cut() {
    let check = |path: &str, stream: bool, fault: Value, end: End, outcome: &str, delivered: u64| {
        let simulator = simulator();
        let reply = faulty(&simulator, path, stream, &fault).reply();
        assert_eq!((reply.status, &reply.end), (200, &end), "{fault}");
        let record = record(&simulator);
        assert_eq!((&record["outcome"], &record["delivered_tokens"]), (&json!(outcome), &json!(delivered)), "{fault}");
        reply
    };
    let kind = |after: u64, bytes: u64, how: &str| json!({"kind": "cut", "after_frames": after, "after_bytes": bytes, "how": how});
    let reply = check(CHAT, true, kind(3, 0, "fin"), End::Closed, "cut", 2);
    assert_eq!(reply.event_json().len(), 3);
    let reply = check(CHAT, true, kind(3, 20, "fin"), End::Closed, "cut", 2);
    assert_eq!(reply.chunks.last().unwrap().len(), 20);
    assert!(reply.text().ends_with("\n\ndata: {\"id\":\"chatcmp"), "{}", reply.text());
    assert_eq!(check(CHAT, true, kind(0, 0, "fin"), End::Closed, "cut", 0).body, b"");
    check(CHAT, true, kind(2, 5, "rst"), End::Reset, "cut", 1);
    check(MESSAGES, true, kind(6, 0, "rst"), End::Reset, "cut", 3);
    let unary = check(CHAT, false, kind(0, 30, "fin"), End::Closed, "cut", 0);
    assert_eq!(unary.body.len(), 30);
    // Role, ten tokens, finish, [DONE]: at the very end only the end of the body is missing; beyond it, nothing is.
    let last = check(CHAT, true, kind(13, 0, "fin"), End::Closed, "cut", 10);
    assert!(last.text().ends_with("data: [DONE]\n\n"));
    check(CHAT, true, kind(14, 0, "fin"), End::Framed, "complete", 10);
}

#[test]
fn stalls_last_until_the_caller_leaves() {
    let check = |stream: bool, fault: Value, status: u64, produced: u64, needle: &[u8]| {
        let simulator = simulator();
        let mut client = faulty(&simulator, CHAT, stream, &fault);
        let mut seen = Vec::new();
        while !contains(&seen, needle) {
            let mut byte = [0];
            std::io::Read::read_exact(&mut client.stream, &mut byte).unwrap();
            seen.extend(byte);
        }
        let open: Value = serde_json::from_str(&simulator.ledger_json()).unwrap();
        assert_eq!(open["totals"]["requests"], 0, "{fault}");
        drop(client);
        let record = record(&simulator);
        assert_eq!((&record["outcome"], &record["status"]), (&json!("client_gone"), &json!(status)), "{fault}");
        assert_eq!(record["fault"], fault["kind"]);
        // The provider's own fault: it does not charge what it would have said.
        assert_eq!(record["billed"]["cancel_ignored"]["completion_tokens"], produced);
    };
    // The token before which it stalls has been made.
    check(true, json!({"kind": "stall", "after_frames": 3}), 200, 3, b" ipsum");
    check(true, json!({"kind": "stall"}), 200, 0, b"\r\n\r\n");
    check(true, json!({"kind": "comments", "after_frames": 1, "every_ms": 1}), 200, 1, b": keep-alive\n\n\r\ne\r\n: keep-alive");
    check(false, json!({"kind": "comments", "every_ms": 1}), 200, 10, b"1\r\n \r\n1\r\n \r\n");
    check(false, json!({"kind": "stall"}), 200, 10, b"\"chat.completion\"");
    check(true, json!({"kind": "stall_head"}), 0, 0, b"");
    check(false, json!({"kind": "stall_head"}), 0, 0, b"");
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || bytes.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn garbage_and_nothing() {
    for path in [CHAT, MESSAGES] {
        for stream in [false, true] {
            let garbage = faulty(&simulator(), path, stream, &json!({"kind": "garbage", "after_frames": 1})).reply();
            assert_eq!((garbage.status, &garbage.end), (200, &End::Framed));
            assert!(std::str::from_utf8(&garbage.body).is_err());
            let simulator = simulator();
            let mut client = faulty(&simulator, path, stream, &json!({"kind": "empty"}));
            let empty = client.reply();
            assert_eq!((empty.status, &empty.body, &empty.end), (200, &Vec::new(), &End::Framed));
            assert_eq!(record(&simulator)["outcome"], "fault");
            assert_eq!(client.call("GET", "/sim/healthz").status, 200);
        }
    }
}

#[test]
fn no_answer_at_all() {
    let simulator = simulator();
    let mut client = faulty(&simulator, CHAT, true, &json!({"kind": "close_before_head"}));
    assert_eq!(client.rest(), (Vec::new(), End::Closed));
    assert_eq!((&record(&simulator)["outcome"], &record(&simulator)["status"]), (&json!("fault"), &json!(0)));
}

#[test]
fn broken_framing() {
    let check = |which: &str, stream: bool| {
        let simulator = simulator();
        let (bytes, end) = faulty(&simulator, CHAT, stream, &json!({"kind": "bad_framing", "which": which})).rest();
        assert_eq!(end, End::Closed);
        assert_eq!(record(&simulator)["outcome"], "fault");
        String::from_utf8(bytes).unwrap()
    };
    for stream in [false, true] {
        let both = check("cl_te", stream);
        assert!(both.contains("content-length: ") && both.contains("transfer-encoding: chunked") && both.ends_with("\r\n0\r\n\r\n"));
        assert_eq!(check("dup_cl", stream).matches("content-length: ").count(), 2);
        assert!(check("bad_chunk", stream).contains("\r\n\r\nzz\r\n"));
        assert!(!check("bare_lf", stream).contains('\r'));
    }
}

#[test]
fn a_leaving_caller_stops_the_meter_or_not() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let script = json!({"tokens": 1_000_000, "pace_ms": 1, "token_text": "a"});
    client.send(request(CHAT, &ask("sim/fast", "x", json!({"stream": true, "max_tokens": 900_000, "sim": script})).to_string()).as_bytes());
    let mut head = [0; 600];
    std::io::Read::read_exact(&mut client.stream, &mut head).unwrap();
    drop(client);
    let record = record(&simulator);
    let number = |value: &Value| value.as_u64().unwrap();
    assert_eq!((&record["outcome"], &record["planned_tokens"]), (&json!("client_gone"), &json!(900_000)));
    assert!(number(&record["completion_tokens"]) < 900_000);
    assert!(number(&record["delivered_tokens"]) <= number(&record["completion_tokens"]));
    assert_eq!(record["billed"]["cancel_stops"]["completion_tokens"], record["completion_tokens"]);
    assert_eq!(record["billed"]["cancel_ignored"]["completion_tokens"], 900_000);
    assert_eq!(record["billed"]["cancel_stops"]["prompt_tokens"], record["prompt_tokens"]);
}

#[test]
fn a_caller_who_does_not_wait_for_a_unary_reply() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let script = json!({"tokens": 10, "first_token_ms": 3_600_000});
    client.send(request(CHAT, &ask("sim/fast", "x", json!({"sim": script})).to_string()).as_bytes());
    drop(client);
    let record = record(&simulator);
    assert_eq!(
        (&record["outcome"], &record["completion_tokens"], &record["head_after_ms"]),
        (&json!("client_gone"), &json!(0), &Value::Null)
    );
    assert_eq!(record["billed"]["cancel_ignored"]["completion_tokens"], 10);
}

#[test]
fn a_caller_who_does_not_read_is_noticed_when_it_leaves() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let script = json!({"tokens": 1_000_000, "token_bytes": 1000});
    client
        .send(request(CHAT, &ask("sim/fast", "x", json!({"stream": true, "max_tokens": 1_000_000, "sim": script})).to_string()).as_bytes());
    let mut first = [0];
    std::io::Read::read_exact(&mut client.stream, &mut first).unwrap();
    drop(client);
    let record = record(&simulator);
    assert_eq!(record["outcome"], "client_gone");
    assert!(record["delivered_tokens"].as_u64().unwrap() < 1_000_000);
}

/// Status, Retry-After, end.
type Seen = (u16, Option<String>, End);

#[test]
fn flaky_repeats_itself() {
    let run = |simulator: &Simulator| -> Vec<Seen> {
        let outcomes = (0..60).map(|_| {
            let reply = Client::new(simulator).chat(ask("sim/flaky", "x", json!({"stream": true})));
            (reply.status, reply.header("retry-after").map(str::to_owned), reply.end)
        });
        outcomes.collect()
    };
    let first = simulator();
    let outcomes = run(&first);
    let count = |matches: &dyn Fn(&Seen) -> bool| outcomes.iter().filter(|outcome| matches(outcome)).count();
    assert!(count(&|outcome| outcome.0 == 503 && outcome.1.is_some()) > 10);
    assert!(count(&|outcome| outcome.0 == 429 && outcome.1.is_some()) > 0);
    assert!(count(&|outcome| outcome.0 == 200 && outcome.2 == End::Closed) > 0);
    assert!(count(&|outcome| outcome.0 == 200 && outcome.2 == End::Framed) > 20);
    assert_eq!(run(&simulator()), outcomes, "another simulator with the same seed");
    Client::new(&first).call("DELETE", "/sim/ledger");
    assert_eq!(run(&first), outcomes, "the same simulator after a reset");
    // A scripted fault goes before.
    let scripted = ask("sim/flaky", "x", json!({"sim": {"fault": {"kind": "status", "status": 418}}}));
    assert_eq!(Client::new(&first).chat(scripted).status, 418);
}
