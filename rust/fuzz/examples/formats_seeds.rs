//! Writes the vectors of `tests/vectors/json` and `tests/vectors/sse` as seeds for the targets `json_scan` and `sse`, those of translation and of the
//! dialects for `codec_request`, `codec_response` and `codec_stream`, and a stream of messages for `eventstream`.

use std::path::Path;

use fairlead_formats::eventstream::{self, Header, Value as Typed};
use serde_json::Value;

#[path = "../../formats/tests/codecs/seeds.rs"]
mod seeds;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for (vectors, target) in [("json/verdicts.json", "json_scan"), ("json/members.json", "json_scan"), ("sse/events.json", "sse")] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = root.join("corpus").join(target);
        std::fs::create_dir_all(&folder)?;
        let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(root.join("../../tests/vectors").join(vectors))?)?;
        for (index, case) in cases.iter().enumerate() {
            let Some(text) = text(case) else { continue };
            // One byte chooses the piece length; see the targets.
            std::fs::write(folder.join(format!("{}-{index}", vectors.replace('/', "-"))), [&[6][..], &text].concat())?;
        }
    }
    write_messages()?;
    for kind in ["request", "response", "stream"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(format!("codec_{kind}"));
        std::fs::create_dir_all(&folder)?;
        for (index, (_, seed)) in seeds::of(kind).into_iter().chain(seeds::findings(kind)).enumerate() {
            std::fs::write(folder.join(format!("{index:04}")), seed)?;
        }
    }
    Ok(())
}

/// Small streams of messages, one per kind of header.
fn write_messages() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/eventstream");
    std::fs::create_dir_all(&folder)?;
    let values = [
        Typed::Flag(true),
        Typed::Byte(-1),
        Typed::Short(2),
        Typed::Int(3),
        Typed::Long(4),
        Typed::Bytes(b"bytes"),
        Typed::Text(b"event"),
        Typed::Timestamp(5),
        Typed::Uuid([6; 16]),
    ];
    for (index, value) in values.into_iter().enumerate() {
        // Piece length and place of the damage; see the target.
        let mut stream = vec![10, 13];
        eventstream::encode(&[Header { name: b":message-type", value }], br#"{"role":"assistant"}"#, &mut stream);
        eventstream::encode(&[], b"", &mut stream);
        std::fs::write(folder.join(index.to_string()), stream)?;
    }
    Ok(())
}

/// The case's input; none for those that are made by repetition, which are long and say little to a fuzzer.
fn text(case: &Value) -> Option<Vec<u8>> {
    if let Some(hex) = case["hex"].as_str() {
        return (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect();
    }
    Some(case["text"].as_str()?.as_bytes().to_vec())
}
