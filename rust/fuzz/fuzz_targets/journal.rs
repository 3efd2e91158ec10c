//! Any bytes as records of a journal: nothing panics, what is read is written the same, no cut of a segment makes a record.

#![no_main]

use fairlead_journal::frame::{self, Kind, Step};
use fairlead_journal::record;
use libfuzzer_sys::fuzz_target;

// The first byte chooses how much is cut off.
fuzz_target!(|data: &[u8]| {
    let [cut, payload @ ..] = data else { return };
    round_trip(payload);
    walk(payload);
    if payload.len() <= frame::PAYLOAD_BYTES_MAX {
        enveloped(payload, usize::from(*cut));
    }
});

fn round_trip(payload: &[u8]) {
    let mut again = Vec::new();
    if let Ok(reserve) = record::decode_reserve(payload) {
        record::encode_reserve(&(&reserve).into(), &mut again);
        assert_eq!(again, payload);
        assert_eq!(record::generation(payload), Ok(reserve.generation));
    }
    for version in 1..=Kind::Settle.version() {
        again.clear();
        if let Ok(settle) = record::decode_settle(payload, version) {
            record::encode_settle(&settle, &mut again);
            assert_eq!(again.strip_prefix(payload), Some(&added_since(version, settle.attempts.len())[..]));
            assert_eq!(record::generation(payload), Ok(settle.generation));
        }
    }
}

/// What a settlement of that version has more when it is written again.
fn added_since(version: u8, attempts: usize) -> Vec<u8> {
    let translation = if version < 2 { 6 } else { 0 };
    let tiers = if version < 3 { attempts } else { 0 };
    let split = if version < 4 { 4 } else { 0 };
    vec![0; translation + tiers + split]
}

/// The bytes as a segment's content.
fn walk(mut bytes: &[u8]) {
    while let Step::Record(frame) = frame::read(bytes, bytes.len(), 0) {
        assert!(frame.size <= bytes.len() && frame.size == frame.payload.len() + frame::FRAME_BYTES);
        bytes = &bytes[frame.size..];
    }
}

/// The bytes as a payload: read as they were, and not at all when the record is cut.
fn enveloped(payload: &[u8], cut: usize) {
    let mut bytes = Vec::new();
    frame::begin(&mut bytes);
    bytes.extend_from_slice(payload);
    frame::finish(&mut bytes, Kind::Reserve, 1, 5);
    let Step::Record(read) = frame::read(&bytes, bytes.len(), 5) else { panic!("a record does not read back") };
    assert_eq!((read.payload, read.sequence, read.known_kind()), (payload, 1, Some(Kind::Reserve)));
    let room = bytes.len();
    let left = room.saturating_sub(cut + 1);
    assert_eq!(frame::read(&bytes[..left], room, 5), Step::Short);
    assert!(!matches!(frame::read(&bytes[..left], left, 5), Step::Record(_)));
}
