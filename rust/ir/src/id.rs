//! Generation ids: `gen-` and a version-7 UUID whose random part carries the node, the worker and a counter.

use std::fmt;

/// The id of one generation. Ordered by time to the millisecond, unique across nodes and workers without coordination.
///
/// Layout of the 128 bits (RFC 9562, version 7): 48 bits of Unix milliseconds, version `7`, 12 bits of node, variant `10`,
/// 8 bits of worker, 22 bits of counter, 32 random bits drawn when the source was made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GenerationId(pub u128);

/// Characters of a generation id as text: `gen-` and 36 of the UUID.
pub const TEXT_BYTES: usize = 40;

impl GenerationId {
    /// Unix milliseconds at which the id was made.
    pub const fn unix_ms(self) -> u64 {
        (self.0 >> 80) as u64
    }

    /// The id as text without allocating: 40 ASCII bytes.
    pub fn text(self) -> [u8; TEXT_BYTES] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = *b"gen-00000000-0000-0000-0000-000000000000";
        let mut at = 4;
        for (index, byte) in self.0.to_be_bytes().into_iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 15)];
            at += 2;
        }
        text
    }

    /// Reads what [`GenerationId::text`] wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<GenerationId> {
        let uuid = text.strip_prefix("gen-")?;
        if uuid.len() != 36 {
            return None;
        }
        let mut value = 0u128;
        for (index, byte) in uuid.bytes().enumerate() {
            if matches!(index, 8 | 13 | 18 | 23) {
                if byte != b'-' {
                    return None;
                }
                continue;
            }
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                _ => return None,
            };
            value = value << 4 | u128::from(digit);
        }
        Some(GenerationId(value))
    }
}

impl fmt::Display for GenerationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl fmt::Debug for GenerationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Makes ids for one worker. Two sources never make the same id unless node, worker and the random salt all agree.
pub struct IdSource {
    fixed: u128,
    counter: u32,
}

const COUNTER_BITS: u32 = 22;

impl IdSource {
    /// `node` is cut to 12 bits; `salt` should be random per process start.
    pub fn new(node: u16, worker: u8, salt: u32) -> IdSource {
        let version_and_node = (0x7000 | u128::from(node & 0x0fff)) << 64;
        let variant = 0b10u128 << 62;
        let worker = u128::from(worker) << 54;
        IdSource { fixed: version_and_node | variant | worker | u128::from(salt), counter: 0 }
    }

    /// The next id at `unix_ms` (cut to 48 bits). More than four million in one millisecond would repeat.
    pub fn next(&mut self, unix_ms: u64) -> GenerationId {
        self.counter = (self.counter + 1) & ((1 << COUNTER_BITS) - 1);
        let time = (u128::from(unix_ms) & 0xffff_ffff_ffff) << 80;
        GenerationId(time | self.fixed | u128::from(self.counter) << 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_a_version_7_uuid_and_reads_back() {
        let mut source = IdSource::new(0xabc, 3, 0xdead_beef);
        let id = source.next(0x0192_f00d_cafe);
        let text = id.to_string();
        assert_eq!(text, "gen-0192f00d-cafe-7abc-80c0-0001deadbeef");
        assert_eq!(GenerationId::parse(&text), Some(id));
        assert_eq!(id.unix_ms(), 0x0192_f00d_cafe);
    }

    #[test]
    fn sources_do_not_collide() {
        let mut seen = std::collections::HashSet::new();
        for worker in 0..4 {
            let mut source = IdSource::new(1, worker, 7);
            for _ in 0..1000 {
                assert!(seen.insert(source.next(5)));
            }
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "gen-",
            "gen-0192f00d-cafe-7abc-80c0-0001deadbee",
            "gen-0192f00d_cafe-7abc-80c0-0001deadbeef",
            "0192f00d-cafe-7abc-80c0-0001deadbeef",
        ] {
            assert_eq!(GenerationId::parse(text), None, "{text}");
        }
    }
}
