//! One record's envelope in a segment: checksum, length, kind, version, sequence number.
//!
//! | bytes | field |
//! |---|---|
//! | 4 | CRC-32 (IEEE) of everything after it, started from the segment header's own CRC, so that a record is valid in its segment only |
//! | 4 | length of everything after this field |
//! | 1 | kind: RESERVE 1, SETTLE 2, PROGRESS 3, SHADOW 7; kept for later: VOID 4, LEASE 5, CURSOR 6 |
//! | 1 | version of the record: of RESERVE 1, of PROGRESS 1 and 2, of SETTLE 1 to 7, of SHADOW 4 to 7 |
//! | 8 | sequence number in the chain, from 1, without gaps |
//! | … | payload ([`crate::record`]) |
//!
//! Numbers are little-endian. Eight zero bytes where a record would start mean that nothing has been written there.

/// Kinds of records written so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A [`fairlead_ledger::Reserve`].
    Reserve = 1,
    /// A [`fairlead_ledger::Settle`].
    Settle = 2,
    /// A [`fairlead_ledger::Progress`].
    Progress = 3,
    /// What came of a shadow: the same content, but no terminal of its generation. It has no reservation.
    Shadow = 7,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Reserve, Kind::Settle, Kind::Progress, Kind::Shadow];

    /// Whether the reader hands it on, so that its appending is news.
    pub(crate) const fn is_read(self) -> bool {
        matches!(self, Kind::Settle | Kind::Shadow)
    }

    /// The version of its records that this build writes. It reads this one and all before it.
    pub const fn version(self) -> u8 {
        match self {
            Kind::Reserve => 1,
            // 1 did not say what was held.
            Kind::Progress => 2,
            // 1 ended behind the attempts, 2 behind the losses, 3 behind the tiers, 4 behind the arm, 5 behind the presets, 6 behind the
            // cache hit.
            Kind::Settle | Kind::Shadow => 7,
        }
    }

    /// The oldest version that there ever was.
    const fn first_version(self) -> u8 {
        match self {
            Kind::Reserve | Kind::Settle | Kind::Progress => 1,
            Kind::Shadow => 4,
        }
    }
}

/// Bytes before the payload.
pub const FRAME_BYTES: usize = CHECKED_FROM + BODY_HEAD_BYTES + 4;
/// Bytes of the longest payload; [`crate::record`] clips texts so that none is longer.
pub const PAYLOAD_BYTES_MAX: usize = 96 << 10;

/// The checksum covers everything from the length on.
const CHECKED_FROM: usize = 4;
/// Kind, version and sequence number: what the length counts besides the payload.
const BODY_HEAD_BYTES: usize = 10;
const PREFIX_BYTES: usize = 8;

/// A record whose checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The kind's number, known here or not.
    pub kind: u8,
    /// The record's version, known here or not.
    pub version: u8,
    /// Place in the chain.
    pub sequence: u64,
    /// The content.
    pub payload: &'a [u8],
    /// Bytes of the whole record.
    pub size: usize,
}

impl Frame<'_> {
    /// The kind, unless it or its version is newer than this build.
    pub fn known_kind(&self) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == self.kind && (kind.first_version()..=kind.version()).contains(&self.version))
    }
}

/// What stands at a place in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A record.
    Record(Frame<'a>),
    /// Nothing yet.
    Empty,
    /// A record may stand here, but `bytes` ends before it does.
    Short,
    /// Neither a record nor empty; a record would have covered `extent` bytes (unknown when the length is impossible).
    Bad {
        /// Bytes that an interrupted write can have touched.
        extent: Option<usize>,
    },
}

/// Reads what stands at the start of `bytes`; `room` bytes are left in the segment from there, of which `bytes` is the beginning.
pub fn read(bytes: &[u8], room: usize, seed: u32) -> Step<'_> {
    if room < FRAME_BYTES {
        return if bytes.iter().all(|byte| *byte == 0) { Step::Empty } else { Step::Bad { extent: Some(room) } };
    }
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX_BYTES>() else { return Step::Short };
    if *prefix == [0; PREFIX_BYTES] {
        return Step::Empty;
    }
    let [c0, c1, c2, c3, l0, l1, l2, l3] = *prefix;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length > BODY_HEAD_BYTES + PAYLOAD_BYTES_MAX || PREFIX_BYTES + length > room {
        return Step::Bad { extent: None };
    }
    let bad = Step::Bad { extent: Some(PREFIX_BYTES + length) };
    let Some(body) = rest.get(..length) else { return if length < BODY_HEAD_BYTES { bad } else { Step::Short } };
    let Some((&[kind, version, s0, s1, s2, s3, s4, s5, s6, s7], payload)) = body.split_first_chunk::<BODY_HEAD_BYTES>() else {
        return bad;
    };
    if checksum(&bytes[CHECKED_FROM..PREFIX_BYTES + length], seed) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return bad;
    }
    let sequence = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
    Step::Record(Frame { kind, version, sequence, payload, size: PREFIX_BYTES + length })
}

/// Empties `buffer` and leaves room for the envelope; the payload is appended by the caller.
pub fn begin(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(FRAME_BYTES, 0);
}

/// Fills in the envelope around the payload that follows [`begin`].
pub fn finish(buffer: &mut [u8], kind: Kind, sequence: u64, seed: u32) {
    let length = (buffer.len() - PREFIX_BYTES) as u32;
    buffer[4..8].copy_from_slice(&length.to_le_bytes());
    buffer[8] = kind as u8;
    buffer[9] = kind.version();
    buffer[10..FRAME_BYTES].copy_from_slice(&sequence.to_le_bytes());
    let checksum = checksum(&buffer[CHECKED_FROM..], seed);
    buffer[..4].copy_from_slice(&checksum.to_le_bytes());
}

fn checksum(bytes: &[u8], seed: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(payload: &[u8], sequence: u64, seed: u32) -> Vec<u8> {
        let mut buffer = Vec::new();
        begin(&mut buffer);
        buffer.extend_from_slice(payload);
        finish(&mut buffer, Kind::Settle, sequence, seed);
        buffer
    }

    proptest! {
        #[test]
        fn a_record_reads_back_and_every_prefix_is_short(payload in prop::collection::vec(any::<u8>(), 0..300), sequence: u64, seed: u32) {
            let bytes = frame(&payload, sequence, seed);
            let expected = Frame { kind: 2, version: 7, sequence, payload: &payload, size: bytes.len() };
            prop_assert_eq!(read(&bytes, bytes.len(), seed), Step::Record(expected));
            for length in 0..bytes.len() {
                prop_assert_eq!(read(&bytes[..length], bytes.len(), seed), Step::Short);
            }
        }

        #[test]
        fn a_flipped_bit_is_never_a_record(payload in prop::collection::vec(any::<u8>(), 0..300), seed: u32, bit: prop::sample::Index) {
            let mut bytes = frame(&payload, 7, seed);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!matches!(read(&bytes, bytes.len(), seed), Step::Record(_)));
        }

        #[test]
        fn a_record_of_another_segment_is_bad(payload in prop::collection::vec(any::<u8>(), 0..300), seed: u32) {
            let bytes = frame(&payload, 7, seed);
            prop_assert_eq!(read(&bytes, bytes.len(), !seed), Step::Bad { extent: Some(bytes.len()) });
        }
    }

    #[test]
    fn a_version_is_known_from_the_first_to_our_own() {
        let known = |kind, version| Frame { kind, version, sequence: 1, payload: &[], size: FRAME_BYTES }.known_kind();
        for (kind, version, expected) in [
            (1, 1, Some(Kind::Reserve)),
            (2, 1, Some(Kind::Settle)),
            (2, 2, Some(Kind::Settle)),
            (2, 3, Some(Kind::Settle)),
            (2, 4, Some(Kind::Settle)),
            (2, 5, Some(Kind::Settle)),
            (2, 6, Some(Kind::Settle)),
            (2, 7, Some(Kind::Settle)),
            (7, 4, Some(Kind::Shadow)),
            (7, 5, Some(Kind::Shadow)),
            (7, 6, Some(Kind::Shadow)),
            (7, 7, Some(Kind::Shadow)),
            (1, 0, None),
            (1, 2, None),
            (2, 0, None),
            (2, 8, None),
            (7, 3, None),
            (7, 8, None),
            (0, 1, None),
            (3, 1, Some(Kind::Progress)),
            (3, 2, Some(Kind::Progress)),
            (3, 3, None),
            (4, 1, None),
        ] {
            assert_eq!(known(kind, version), expected, "kind {kind} version {version}");
        }
    }

    #[test]
    fn zeros_are_empty_and_a_full_segment_ends() {
        assert_eq!(read(&[0; 64], 64, 1), Step::Empty);
        assert_eq!(read(&[0; 3], 3, 1), Step::Empty);
        assert_eq!(read(&[], 0, 1), Step::Empty);
        assert_eq!(read(&[0, 1], 2, 1), Step::Bad { extent: Some(2) });
        assert_eq!(read(&[0xff; 64], 64, 1), Step::Bad { extent: None });
    }
}
