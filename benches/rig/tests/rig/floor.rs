use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;

use fairlead_rig::floor::{self, Variant};

use crate::provider::{self, Answer, Provider};

const VARIANTS: [Variant; 2] = [Variant::Hand, Variant::Hyper];

fn floor_before(provider: &Provider, variant: Variant) -> SocketAddr {
    let options = floor::Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        upstream: provider.address,
        key: "secret".to_owned(),
        model_from: "bench/model".to_owned(),
        model_to: "up".to_owned(),
        variant,
        threads: 1,
    };
    floor::start(&options).unwrap().address
}

fn keep_open(writes: Vec<Vec<u8>>) -> Answer {
    Answer { writes, close: false }
}

fn ask(stream: &mut TcpStream, key: &str, body: &str) {
    let length = body.len();
    let request = format!("POST /v1/x?y=1 HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {key}\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
}

fn sized_reply(stream: &mut TcpStream) -> String {
    String::from_utf8(provider::read_message(stream).unwrap()).unwrap()
}

#[test]
fn bodies_pass_with_another_model_and_replies_pass_as_they_came() {
    for variant in VARIANTS {
        let provider = provider::start(|_, _| keep_open(vec![provider::sized("application/json", "{\"ok\":1}")]));
        let mut stream = TcpStream::connect(floor_before(&provider, variant)).unwrap();
        let long = format!("{{\"text\":\"{}\",\"model\":\"bench/model\",\"z\":[1, 2]}}", "ä\\n".repeat(60_000));
        for body in ["{\"model\": \"bench/model\"}", &long] {
            ask(&mut stream, "secret", body);
            let reply = sized_reply(&mut stream);
            assert!(reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.ends_with("\r\n\r\n{\"ok\":1}"), "{reply}");
            assert!(reply.contains("content-type: application/json\r\n"), "{reply}");
            let sent = provider.requests.lock().unwrap().pop().unwrap();
            assert!(provider::body(&sent) == body.replace("bench/model", "up").as_bytes(), "{variant:?}");
            let head = String::from_utf8_lossy(&sent[..sent.len() - provider::body(&sent).len()]).into_owned();
            assert!(head.starts_with("POST /v1/x?y=1 HTTP/1.1\r\n"), "{head}");
            assert!(!head.contains("secret\r\n") || head.contains("upstream-secret\r\n"), "the caller's key stays here: {head}");
        }
        assert_eq!(provider.connections.load(Ordering::SeqCst), 1, "the upstream connection is kept");
    }
}

#[test]
fn streams_pass_frame_by_frame_and_the_connection_lives_on() {
    for variant in VARIANTS {
        let parts = ["data: 1\n\n", "data: 2\n\n", "data: [DONE]\n\n"];
        let provider = provider::start(move |_, _| keep_open(provider::chunked("text/event-stream", &parts)));
        let mut stream = TcpStream::connect(floor_before(&provider, variant)).unwrap();
        for _ in 0..3 {
            ask(&mut stream, "secret", "{\"model\":\"bench/model\"}");
            let mut reply = String::new();
            while !reply.ends_with("\r\n0\r\n\r\n") {
                let mut buffer = [0; 4096];
                let count = stream.read(&mut buffer).unwrap();
                assert_ne!(count, 0, "closed after {reply}");
                reply.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
            }
            let payload: String = parts.iter().map(|part| format!("{:X}\r\n{part}\r\n", part.len())).collect();
            assert!(reply.contains("content-type: text/event-stream\r\n"), "{reply}");
            assert!(reply.ends_with(&format!("\r\n\r\n{payload}0\r\n\r\n")), "{reply}");
        }
        assert_eq!(provider.connections.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn what_is_not_allowed_never_reaches_the_upstream() {
    for variant in VARIANTS {
        let provider = provider::start(|_, _| keep_open(vec![provider::sized("application/json", "{}")]));
        let mut stream = TcpStream::connect(floor_before(&provider, variant)).unwrap();
        let good = "{\"model\":\"bench/model\"}";
        for (key, body, status) in [("wrong", good, 401), ("secret", "{\"model\":\"other\"}", 404), ("secret", "{}", 404)] {
            ask(&mut stream, key, body);
            let reply = sized_reply(&mut stream);
            assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{reply}");
        }
        assert!(provider.requests.lock().unwrap().is_empty());
    }
}

#[test]
fn a_stale_connection_is_replaced_and_a_dead_upstream_is_502() {
    for variant in VARIANTS {
        // The provider promises keep-alive and closes all the same.
        let provider = provider::start(|_, _| Answer { writes: vec![provider::sized("application/json", "{\"ok\":1}")], close: true });
        let mut stream = TcpStream::connect(floor_before(&provider, variant)).unwrap();
        for _ in 0..3 {
            ask(&mut stream, "secret", "{\"model\":\"bench/model\"}");
            let reply = sized_reply(&mut stream);
            assert!(reply.ends_with("{\"ok\":1}"), "{variant:?} {reply}");
        }
        let mute = provider::start(|_, _| Answer { writes: vec![], close: true });
        let mut stream = TcpStream::connect(floor_before(&mute, variant)).unwrap();
        ask(&mut stream, "secret", "{\"model\":\"bench/model\"}");
        let reply = sized_reply(&mut stream);
        assert!(reply.starts_with("HTTP/1.1 502 "), "{reply}");
    }
}

#[test]
fn a_cut_stream_is_cut_for_the_client_too() {
    for variant in VARIANTS {
        let provider = provider::start(|_, _| {
            let mut writes = provider::chunked("text/event-stream", &["data: 1\n\n", "data: 2\n\n"]);
            writes.pop();
            Answer { writes, close: true }
        });
        let mut stream = TcpStream::connect(floor_before(&provider, variant)).unwrap();
        ask(&mut stream, "secret", "{\"model\":\"bench/model\"}");
        let mut reply = String::new();
        // A reset is as good as a close here.
        let _ended = stream.read_to_string(&mut reply);
        assert!(!reply.ends_with("0\r\n\r\n"), "{variant:?} {reply}");
    }
}

#[test]
fn a_reply_without_length_ends_with_the_connection() {
    for variant in VARIANTS {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        let provider = provider::start(move |_, _| Answer {
            writes: vec![head.into(), b"data: 1\n\n".to_vec(), b"data: 2\n\n".to_vec()],
            close: true,
        });
        let mut stream = TcpStream::connect(floor_before(&provider, variant)).unwrap();
        for _ in 0..2 {
            ask(&mut stream, "secret", "{\"model\":\"bench/model\"}");
            let mut reply = String::new();
            while !reply.ends_with("\r\n0\r\n\r\n") {
                let mut buffer = [0; 4096];
                let count = stream.read(&mut buffer).unwrap();
                assert_ne!(count, 0, "closed after {reply}");
                reply.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
            }
            assert!(reply.contains("data: 1\n\n") && reply.contains("data: 2\n\n"), "{reply}");
        }
    }
}
