//! The shared cases of `tests/vectors/translate`: requests, replies and streams from one dialect to another, with what was lost.
//!
//! `FAIRLEAD_BLESS=1` writes what is made now into the cases; read the difference before it is committed.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::PathBuf;
use std::sync::Arc;
use std::{env, fs};

use fairlead_formats::eventstream::{self, Header, Value as HeaderValue};
use fairlead_formats::identity::Identity;
use fairlead_formats::traits::Traits;
use fairlead_formats::translate::{Bridge, Face, Target, Wanted, completions, dialects, stream};
use fairlead_ir::{Dialect, Losses, Manner};
use serde_json::{Value, json};

#[test]
fn requests() {
    run("request", 50, |case| {
        let body = serde_json::to_vec(&case["input"]).unwrap();
        let request = dialects::decode_request(dialect(case, "source"), &body).unwrap();
        let automatic_cache = case["automatic_cache"] == true;
        let target = Target { traits: traits(case), automatic_cache, ..Target::new(dialect(case, "target"), "m") };
        let made = dialects::encode_request(&request, &target).unwrap();
        (serde_json::from_slice(&made.body).unwrap(), Some(made.losses))
    });
}

#[test]
fn replies() {
    run("response", 50, |case| {
        let body = serde_json::to_vec(&case["input"]).unwrap();
        let response = dialects::decode_response(dialect(case, "source"), &body, &traits(case)).unwrap();
        let (identity, bridge, mut out) = (identity(), Bridge::default(), Vec::new());
        let face = Face { identity: &identity, bridge: &bridge };
        let losses = dialects::encode_response(dialect(case, "target"), &response, &face, None, &mut out);
        (serde_json::from_slice(&out).unwrap(), Some(losses))
    });
}

/// In one piece and byte by byte.
#[test]
fn streams() {
    run("stream", 50, |case| told(case, |traits, wanted| stream::Stream::new(dialect(case, "target"), traits, 1 << 20, wanted)));
}

/// Legacy completions, which is no dialect of a provider.
#[test]
fn requests_of_completions() {
    run("completions.request", 8, |case| {
        let body = serde_json::to_vec(&case["input"]).unwrap();
        let request = completions::decode_request(&body).unwrap();
        let target = Target { traits: traits(case), ..Target::new(dialect(case, "target"), "m") };
        let made = dialects::encode_request(&request, &target).unwrap();
        (serde_json::from_slice(&made.body).unwrap(), Some(made.losses))
    });
}

#[test]
fn replies_as_completions() {
    run("completions.response", 8, |case| {
        let body = serde_json::to_vec(&case["input"]).unwrap();
        let response = dialects::decode_response(dialect(case, "source"), &body, &traits(case)).unwrap();
        let (identity, bridge, mut out) = (identity(), Bridge::default(), Vec::new());
        let losses = completions::encode_response(&response, &Face { identity: &identity, bridge: &bridge }, None, &mut out);
        (serde_json::from_slice(&out).unwrap(), Some(losses))
    });
}

#[test]
fn streams_as_completions() {
    run("completions.stream", 8, |case| told(case, |traits, wanted| stream::Stream::completions(traits, 1 << 20, wanted)));
}

/// The events that a stream becomes.
fn told(case: &Value, make: impl Fn(Traits, Wanted) -> stream::Stream) -> (Value, Option<Losses>) {
    let source = dialect(case, "source");
    let input: Vec<u8> = case["input"].as_array().unwrap().iter().flat_map(|event| bytes_of(source, event.as_str().unwrap())).collect();
    let translate = |size: usize| {
        let wanted = Wanted { source, identity: Arc::new(identity()), bridge: Arc::default(), json_array: false };
        let mut stream = make(traits(case), wanted);
        let mut out = Vec::new();
        input.chunks(size).for_each(|piece| stream.feed(piece, &mut out));
        stream.finish(None, &mut out);
        String::from_utf8(out).unwrap()
    };
    let whole = translate(input.len());
    assert_eq!(translate(1), whole, "byte by byte");
    let events: Vec<Value> = whole.split_inclusive("\n\n").flat_map(|part| part.split_inclusive("\r\n\r\n")).map(Value::from).collect();
    (Value::Array(events), None)
}

fn run(kind: &str, least: usize, make: impl Fn(&Value) -> (Value, Option<Losses>)) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/translate");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(kind));
    files.sort();
    let bless = env::var_os("FAIRLEAD_BLESS").is_some();
    let (mut wrong, mut number) = (Vec::new(), 0);
    for path in files {
        let mut cases: Vec<Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let before = wrong.len();
        for case in &mut cases {
            let (made, losses) = make(case);
            let losses = losses.map(|losses| losses.as_slice().iter().map(|loss| json!([loss.path, loss.severity.name()])).collect());
            let losses: Value = losses.map_or_else(|| case["losses"].clone(), Value::Array);
            if made != case["output"] || losses != case["losses"] {
                wrong.push(format!(
                    "{}: {}\n  made     {made} {losses}\n  expected {} {}",
                    path.display(),
                    case["name"],
                    case["output"],
                    case["losses"]
                ));
                (case["output"], case["losses"]) = (made, losses);
            }
            number += 1;
        }
        if bless && wrong.len() > before {
            fs::write(&path, serde_json::to_string_pretty(&cases).unwrap() + "\n").unwrap();
        }
    }
    assert!(number >= least, "{number} cases of {kind}");
    assert!(wrong.is_empty() || bless, "{} of {number} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// A Converse event stands in the cases as its type and its payload.
fn bytes_of(source: Dialect, event: &str) -> Vec<u8> {
    if source != Dialect::BedrockConverse {
        return event.as_bytes().to_vec();
    }
    let (name, payload) = event.split_once(' ').unwrap();
    let is_exception = name.ends_with("Exception");
    let (sort, key): (&[u8], &[u8]) = if is_exception { (b"exception", b":exception-type") } else { (b"event", b":event-type") };
    let header = |name, value| Header { name, value: HeaderValue::Text(value) };
    let mut out = Vec::new();
    eventstream::encode(&[header(b":message-type", sort), header(key, name.as_bytes())], payload.as_bytes(), &mut out);
    out
}

fn identity() -> Identity {
    Identity::new(Manner::Native, "gen-1", "acme/fast", "Lab", 7)
}

fn dialect(case: &Value, key: &str) -> Dialect {
    Dialect::from_name(case[key].as_str().unwrap()).unwrap_or_else(|| panic!("{} is no dialect", case[key]))
}

fn traits(case: &Value) -> Traits {
    Traits::from_names(case["traits"].as_array().unwrap().iter().map(|name| name.as_str().unwrap())).unwrap()
}
