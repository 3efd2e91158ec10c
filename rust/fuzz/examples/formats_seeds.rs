//! Writes the vectors of `tests/vectors/json` and `tests/vectors/sse` as seeds for the targets `json_scan` and `sse`.

use std::path::Path;

use serde_json::Value;

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
    Ok(())
}

/// The case's input; none for those that are made by repetition, which are long and say little to a fuzzer.
fn text(case: &Value) -> Option<Vec<u8>> {
    if let Some(hex) = case["hex"].as_str() {
        return (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect();
    }
    Some(case["text"].as_str()?.as_bytes().to_vec())
}
