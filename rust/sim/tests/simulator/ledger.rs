//! The ledger and the other endpoints under `/sim/`.

use crate::client::{Client, ask, request, simulator};
use fairlead_sim::{Options, Simulator};
use serde_json::{Value, json};

#[test]
fn one_record_per_request() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let body = ask("fast", "x", json!({"sim": {"tokens": 5, "reasoning_tokens": 2, "prompt_tokens": 50, "cached_tokens": 20, "tag": 77}}));
    let reply_id = client.chat(body.clone()).json()["id"].clone();
    let streamed = client.messages(ask("sim/echo", "a b", json!({"stream": true})));
    let message_id = streamed.event_json()[0]["message"]["id"].clone();
    client.chat(ask("gpt-9", "x", json!({})));
    let mut stray = Client::new(&simulator);
    stray.send(b"nonsense\r\n\r\n");
    stray.reply();

    let mut ledger = client.ledger();
    let records = ledger["records"].as_array_mut().unwrap();
    for record in &mut *records {
        for time in ["received_unix_ms", "head_after_ms", "end_after_ms"] {
            assert!(record[time].is_u64(), "{record}");
            record.as_object_mut().unwrap().remove(time);
        }
    }
    let billed = |prompt: u64, cached: u64, completion: u64| json!({"prompt_tokens": prompt, "cached_tokens": cached, "completion_tokens": completion});
    let both = |bill: Value| json!({"cancel_stops": bill.clone(), "cancel_ignored": bill});
    assert_eq!(
        records[0],
        json!({
            "sequence": 1, "request": 0, "tag": 77, "reply_id": reply_id, "model": "fast", "dialect": "openai_chat", "stream": false,
            "status": 200, "outcome": "complete", "fault": null, "received_bytes": body.to_string().len(),
            "body_crc32": format!("{:08x}", crc32(body.to_string().as_bytes())),
            "prompt_tokens": 50, "cached_tokens": 20, "cache_write_tokens": 0, "reasoning_tokens": 2,
            "planned_tokens": 7, "completion_tokens": 7, "delivered_tokens": 7, "billed": both(billed(50, 20, 7)),
        })
    );
    assert_eq!(
        (&records[1]["reply_id"], &records[1]["dialect"], &records[1]["stream"]),
        (&message_id, &json!("anthropic_messages"), &json!(true))
    );
    assert_eq!(records[1]["billed"], both(billed(3 + 3 + 1, 0, 2)));
    assert_eq!((&records[2]["outcome"], &records[2]["status"]), (&json!("refused"), &json!(404)));
    assert_eq!((&records[3]["outcome"], &records[3]["dialect"], &records[3]["reply_id"]), (&json!("refused"), &Value::Null, &Value::Null));
    assert_eq!(records.len(), 4);
    let totals = &ledger["totals"];
    assert_eq!(
        (&totals["requests"], &totals["complete"], &totals["refused"], &totals["open"]),
        (&json!(4), &json!(2), &json!(2), &json!(0))
    );
    assert_eq!(totals["billed"], both(billed(57, 20, 9)));
}

/// Bit by bit, so that it shares nothing with the crate's.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |value: u32, _| if value & 1 == 1 { (value >> 1) ^ 0xEDB8_8320 } else { value >> 1 };
    !bytes.iter().fold(u32::MAX, |value, &byte| (0..8).fold(value ^ u32::from(byte), step))
}

#[test]
fn a_reply_is_in_the_ledger_as_soon_as_it_is_out() {
    let simulator = Simulator::start(Options { threads: 2, ..Options::default() }).unwrap();
    // Opened one after the other, so they are served by different threads.
    let (mut client, mut reader) = (Client::new(&simulator), Client::new(&simulator));
    for number in 1..=200_u64 {
        client.chat(ask("sim/fast", "x", json!({"stream": number % 2 == 0, "sim": {"tokens": 2}})));
        let page = reader.call("GET", "/sim/ledger?limit=0").json();
        assert_eq!((&page["totals"]["requests"], &page["totals"]["open"]), (&json!(number), &json!(0)));
    }
}

#[test]
fn pages_and_reset() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    for _ in 0..5 {
        client.chat(ask("sim/fast", "x", json!({})));
    }
    let page = client.call("GET", "/sim/ledger?after=3&limit=1").json();
    assert_eq!((&page["records"][0]["sequence"], page["records"].as_array().unwrap().len()), (&json!(4), 1));
    assert_eq!(client.call("GET", "/sim/ledger?befor=3").status, 400);
    assert_eq!(client.call("POST", "/sim/ledger").status, 405);
    assert_eq!(client.call("DELETE", "/sim/ledger").status, 200);
    let empty = client.ledger();
    assert_eq!((&empty["records"], &empty["totals"]["requests"]), (&json!([]), &json!(0)));
    client.chat(ask("sim/fast", "x", json!({})));
    let next = client.ledger()["records"][0].clone();
    assert_eq!((&next["sequence"], &next["request"]), (&json!(1), &json!(5)), "reply ids are never used again");
}

#[test]
fn requests_are_kept_when_asked_for() {
    let simulator = simulator();
    let mut client = Client::new(&simulator);
    let body = ask("sim/fast", "secret", json!({})).to_string();
    client.post("/v1/chat/completions", &body);
    assert_eq!(client.call("GET", "/sim/requests").json(), json!({"requests": [], "dropped": 0}));
    let mut switch = |on: bool| {
        let reply = client.post("/sim/record", &json!({"on": on}).to_string());
        assert_eq!(reply.json(), json!({"on": on}));
        client.post("/v1/chat/completions", &body);
    };
    switch(true);
    switch(false);
    let kept = client.call("GET", "/sim/requests?last=5").json();
    let requests = kept["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 1);
    assert_eq!((&requests[0]["request"], &requests[0]["body"]), (&json!(1), &json!(body)));
    let whole = request("/v1/chat/completions", &body);
    assert_eq!(requests[0]["head"].as_str().unwrap(), &whole[..whole.len() - body.len()]);
    assert_eq!(requests[0]["headers"][1], json!(["Authorization", "Bearer k"]));
    client.call("DELETE", "/sim/requests");
    assert_eq!(client.call("GET", "/sim/requests").json()["requests"], json!([]));
    assert_eq!(client.post("/sim/record", "{\"of\":true}").status, 400);
    assert_eq!(client.call("GET", "/sim/nothing").status, 404);
}
