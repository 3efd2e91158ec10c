//! The shared vectors as inputs of the judge, for tests and for the fuzz targets' corpora.

use std::fs;
use std::path::{Path, PathBuf};

use fairlead_formats::eventstream::{self, Header, Value as HeaderValue};
use fairlead_ir::Dialect;
use serde_json::Value;

/// Every vector of a kind with a name, in the judge's form: dialect, choice, body or stream.
pub(crate) fn of(kind: &str) -> Vec<(String, Vec<u8>)> {
    let mut seeds = cases(kind);
    let extension = match kind {
        "response" => "reply",
        other => other,
    };
    for (number, dialect) in (0..).zip(Dialect::ALL) {
        for path in files(&vectors().join(dialect.name()), |name| name.ends_with(&format!(".{extension}"))) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            seeds.push((format!("{}-{name}", dialect.name()), [&[number, 6][..], &read(&path)].concat()));
        }
    }
    seeds
}

/// Inputs on which a codec once failed, as the fuzzer left them.
pub(crate) fn findings(kind: &str) -> Vec<(String, Vec<u8>)> {
    let paths = files(&vectors().join("findings").join(kind), |_| true);
    paths.iter().map(|path| (path.display().to_string(), read(path))).collect()
}

/// What goes in and what comes out of the cases of `tests/vectors/translate`.
fn cases(kind: &str) -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for path in files(&vectors().join("translate"), |name| name.starts_with(kind)) {
        let listed: Vec<Value> = serde_json::from_slice(&read(&path)).unwrap_or_default();
        for case in &listed {
            for (side, part) in [("source", "input"), ("target", "output")] {
                let dialect = case[side].as_str().and_then(Dialect::from_name).unwrap_or(Dialect::OpenaiChat);
                let name = format!("{}-{}-{part}", dialect.name(), case["name"].as_str().unwrap_or_default());
                seeds.push((name, [&[dialect.number(), 6][..], &bytes_of(dialect, &case[part])].concat()));
            }
        }
    }
    seeds
}

/// A body, or a stream's events one behind the other. A Converse event stands in the cases as its type and its payload.
fn bytes_of(dialect: Dialect, part: &Value) -> Vec<u8> {
    let Some(events) = part.as_array() else { return part.to_string().into_bytes() };
    let mut out = Vec::new();
    for event in events.iter().filter_map(Value::as_str) {
        match event.split_once(' ') {
            Some((name, payload)) if dialect == Dialect::BedrockConverse => {
                let header = |name, value| Header { name, value: HeaderValue::Text(value) };
                let sort: (&[u8], &[u8]) =
                    if name.ends_with("Exception") { (b"exception", b":exception-type") } else { (b"event", b":event-type") };
                eventstream::encode(&[header(b":message-type", sort.0), header(sort.1, name.as_bytes())], payload.as_bytes(), &mut out);
            }
            _ => out.extend_from_slice(event.as_bytes()),
        }
    }
    out
}

fn files(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = listed.filter(|path| path.file_name().is_some_and(|name| wanted(&name.to_string_lossy()))).collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_default()
}

fn vectors() -> PathBuf {
    // `rust/formats` and `rust/fuzz` alike.
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}
