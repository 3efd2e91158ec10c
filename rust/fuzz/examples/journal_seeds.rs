//! Writes a reservation and settlements of the first version and of this one as seeds into corpus/journal.

use fairlead_ir::{GenerationId, NanoUsd};
use fairlead_journal::record;
use fairlead_ledger::{Reserve, Scopes};
use std::{fs, io};

fn main() -> io::Result<()> {
    let reserve = Reserve {
        generation: GenerationId(1 << 80),
        started_at_ms: 1_767_225_600_000,
        scopes: Scopes([1, 0, 0, 12, 0, 0, 0, 0]),
        reserved: NanoUsd(61_440_000),
        model: "anthropic/claude-sonnet-4.5".to_owned(),
        provider: "anthropic".to_owned(),
        prompt_tokens_estimate: 1100,
        prompt_cost_estimate: NanoUsd(3_300_000),
        price_version: 7,
    };
    let mut bytes = vec![0];
    record::encode_reserve(&(&reserve).into(), &mut bytes);
    fs::create_dir_all("corpus/journal")?;
    fs::write("corpus/journal/reserve", &bytes)?;
    // All fields of a settlement up to its texts may be zero; eleven empty texts and one attempt of zeros follow.
    let mut settle = settlement_of_zeros();
    fs::write("corpus/journal/settle_version_1", &settle)?;
    settle.extend_from_slice(&TRANSLATED);
    fs::write("corpus/journal/settle", settle)
}

/// The last dialect, one loss (dropped, a path of one byte, a reason of none), 7 more; the usual tier; a split and an arm of one byte each.
const TRANSLATED: [u8; 19] = [5, 1, 2, 1, 0, b'n', 0, 0, 7, 0, 0, 0, 0, 1, 0, b's', 1, 0, b'a'];

/// A cut byte, 226 bytes of fields, 11 texts of no length, one attempt with 30 bytes of fields and 4 texts.
fn settlement_of_zeros() -> Vec<u8> {
    let mut bytes = vec![0; 1 + 226 + 22];
    bytes.push(1);
    bytes.resize(bytes.len() + 30 + 8, 0);
    bytes
}
