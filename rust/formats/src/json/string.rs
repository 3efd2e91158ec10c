//! The inside of a string, resumable at any byte.
//!
//! Plain text is skipped in blocks of 64 bytes. From the first backslash on, whole blocks are judged at once: which
//! bytes are escaped follows from the runs of backslashes by one addition (see [`escapers`]), what stands there from
//! masks. What a block's end cuts, a backslash from its byte or a `\u` from its digits, goes on in the next block. The
//! byte-wise machine [`Text::step`] does the rest: escapes near the end of a slice, and the exact reason when something
//! is wrong.

use super::simd::{Simd, Window, skip_plain};
use super::{Fault, Reason};

/// Where inside a string the scanner stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    step: Step,
    /// The `\u` value so far.
    value: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Plain,
    /// After a backslash.
    Escape,
    /// After `\u` and so many digits; `low` when the second half of a surrogate pair is due.
    Hex {
        digits: u8,
        low: bool,
    },
    /// After a high surrogate: a backslash must follow.
    LowBackslash,
    /// After a high surrogate and a backslash: `u` must follow.
    LowU,
}

impl Text {
    /// Just behind the opening quote.
    pub(super) const OPENED: Self = Self { step: Step::Plain, value: 0 };

    /// Reads on at `from`; returns the offset behind the closing quote, or `None` when `bytes` ends before it.
    /// `window` and `high`
    /// are those of [`skip_plain`].
    #[inline(always)]
    pub(super) fn read<S: Simd>(
        &mut self,
        simd: S,
        bytes: &[u8],
        from: usize,
        window: &mut Window,
        high: &mut bool,
    ) -> Result<Option<usize>, Fault> {
        let mut at = from;
        loop {
            if self.step != Step::Plain {
                at = self.step_to_plain(bytes, at)?;
            }
            at = skip_plain(simd, bytes, at, window, high);
            match bytes.get(at) {
                None => return Ok(None),
                Some(b'"') => return Ok(Some(at + 1)),
                Some(b'\\') => {
                    let (next, closed) = read_escapes(simd, bytes, at, window, high);
                    if closed {
                        return Ok(Some(next));
                    }
                    at = next;
                    // Not past it: too close to the end of the slice, or wrong. Byte-wise from here to the next text.
                    if bytes.get(at) == Some(&b'\\') {
                        self.step = Step::Escape;
                        at += 1;
                    }
                }
                Some(_) => return Err(Fault::new(at, Reason::ControlCharacter)),
            }
        }
    }

    /// Byte-wise until the escape is over or the slice ends.
    fn step_to_plain(&mut self, bytes: &[u8], from: usize) -> Result<usize, Fault> {
        let mut at = from;
        while self.step != Step::Plain
            && let Some(&byte) = bytes.get(at)
        {
            self.step(byte).map_err(|reason| Fault::new(at, reason))?;
            at += 1;
        }
        Ok(at)
    }

    /// One byte of an escape.
    fn step(&mut self, byte: u8) -> Result<(), Reason> {
        self.step = match self.step {
            Step::Plain => Step::Plain,
            Step::Escape => match ESCAPES[usize::from(byte)] {
                SIMPLE => Step::Plain,
                UNICODE => Step::Hex { digits: 0, low: false },
                _ => return Err(Reason::Escape),
            },
            Step::LowBackslash if byte == b'\\' => Step::LowU,
            Step::LowU if byte == b'u' => Step::Hex { digits: 0, low: true },
            Step::LowBackslash | Step::LowU => return Err(Reason::LoneSurrogate),
            Step::Hex { digits, low } => {
                let digit = HEX[usize::from(byte)];
                if digit > 0xf {
                    return Err(Reason::Escape);
                }
                self.value = self.value << 4 | u16::from(digit);
                match (digits, low, self.value) {
                    (0..3, ..) => Step::Hex { digits: digits + 1, low },
                    (_, false, 0xd800..=0xdbff) => Step::LowBackslash,
                    (_, false, 0xdc00..=0xdfff) => return Err(Reason::LoneSurrogate),
                    (_, true, 0xdc00..=0xdfff) | (_, false, _) => Step::Plain,
                    (_, true, _) => return Err(Reason::LoneSurrogate),
                }
            }
        };
        Ok(())
    }
}

/// Reads whole blocks from the backslash at `from` to the string's end.
///
/// Returns where it stopped, and whether that is behind the closing quote. If it stopped at a backslash, the byte-wise
/// machine must take over.
///
/// Text with escapes has one in most blocks, but not in all, and nothing says in which. So a block with and a block
/// without take the same path, with one branch that both pass alike.
#[inline(always)]
fn read_escapes<S: Simd>(simd: S, bytes: &[u8], from: usize, window: &mut Window, high: &mut bool) -> (usize, bool) {
    // The block where the backslash was seen is looked at again from its start: that is known before its place is.
    let mut at = window.block_of(from);
    let mut fresh = !below((from - at) as u32);
    let mut carry = 0;
    let mut open = Open::NONE;
    let mut seen = simd.load(&[0; 64]);
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<64>()) {
        let block = simd.load(block);
        let classes = simd.classify(block);
        seen = simd.or(seen, block);
        let escapers = escapers(classes.backslash & fresh, carry);
        let escaped = escapers << 1 | carry;
        let ends = classes.ending & fresh & !escaped;
        let others = escaped & !classes.simple;
        if ends | others | open.from != 0 {
            let end = ends.trailing_zeros();
            let Some(still_open) = open.judge(simd, block, others & below(end)) else { break };
            if end < 64 {
                if still_open.from != 0 {
                    break;
                }
                *high |= simd.any(seen);
                *window = Window::new(at, classes);
                let end = at + end as usize;
                let closed = bytes.get(end) == Some(&b'"');
                return (end + usize::from(closed), closed);
            }
            open = still_open;
        }
        at += 64;
        carry = escapers >> 63;
        fresh = u64::MAX;
    }
    *high |= simd.any(seen);
    // What is not whole goes to the machine from its first byte: a `\u` escape, or a backslash that was the last byte of
    // a block.
    let back = if open.from == 0 { carry } else { u64::from(open.from.leading_zeros()) + 1 };
    (at.max(from) - back as usize, false)
}

/// The `\u` escapes and pairs of them that the end of a block cut; masks of that block, all 0 when none was cut.
#[derive(Clone, Copy)]
struct Open {
    /// The backslash of the first that was cut.
    from: u64,
    /// The letters `u`.
    unicode: u64,
    /// First digits of surrogates.
    first: u64,
    /// Second digits of high surrogates.
    high: u64,
}

impl Open {
    const NONE: Self = Self { from: 0, unicode: 0, first: 0, high: 0 };

    /// Judges the escapes of the next block that are not simple, given where their second bytes are, and what it holds of
    /// those that were open: `None` when one is wrong, else what is open now.
    #[inline(always)]
    fn judge<S: Simd>(&self, simd: S, block: S::Block, others: u64) -> Option<Self> {
        if others | self.from == 0 {
            return Some(Self::NONE);
        }
        let digits = simd.digits(block);
        let unicode = others & digits.unicode;
        let first = behind(1, unicode, self.unicode) & digits.surrogate;
        let second = behind(1, first, self.first);
        let (high, low) = (second & digits.high_half, second & digits.low_half);
        let digit_places = behind(1, unicode, self.unicode)
            | behind(2, unicode, self.unicode)
            | behind(3, unicode, self.unicode)
            | behind(4, unicode, self.unicode);
        // Behind each high half, and only there, comes a low half.
        let due = behind(6, high, self.high);
        if others != unicode || digit_places & !digits.hex != 0 || due != low {
            return None;
        }
        // The block ends at 64: four digits behind a `u` fit below place 60, a whole pair behind one below place 54.
        let cut = (unicode & !below(60)) | (high >> 2 & !below(54));
        if cut == 0 {
            return Some(Self::NONE);
        }
        Some(Self { from: cut >> 1 & (cut >> 1).wrapping_neg(), unicode, first, high })
    }
}

/// The places `count` (1 to 63) behind those of `mask` and of the mask of the block before.
#[inline(always)]
fn behind(count: u32, mask: u64, before: u64) -> u64 {
    mask << count | before >> (64 - count)
}

/// The backslashes that escape the byte behind them, given where backslashes are; `carry` is 1 when the block's first
/// byte is escaped, else 0.
///
/// In a run of backslashes the first, third, … escapes the byte behind it: the even places if the run starts at an even
/// place, else the odd ones. Adding the start of a run to the run carries through it and clears it, which tells the two
/// sorts of run apart without a loop.
#[inline(always)]
fn escapers(backslash: u64, carry: u64) -> u64 {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    let backslash = backslash & !carry;
    let starts = backslash & !(backslash << 1);
    let without_even_runs = backslash.wrapping_add(starts & EVEN);
    backslash & (without_even_runs ^ EVEN)
}

/// The bits below `count`, all when it is 64.
#[inline(always)]
fn below(count: u32) -> u64 {
    1_u64.checked_shl(count).map_or(u64::MAX, |bit| bit - 1)
}

const SIMPLE: u8 = 0;
const UNICODE: u8 = 1;
const UNKNOWN: u8 = 2;

/// What a byte means behind a backslash.
static ESCAPES: [u8; 256] = {
    let mut table = [UNKNOWN; 256];
    let simple = b"\"\\/bfnrt";
    let mut index = 0;
    while index < simple.len() {
        table[simple[index] as usize] = SIMPLE;
        index += 1;
    }
    table[b'u' as usize] = UNICODE;
    table
};

/// A hexadecimal digit's value, 0xff for any other byte.
static HEX: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit] as usize] = digit as u8;
        table[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::escapers;

    /// Byte by byte: a backslash that is not escaped escapes the next byte.
    fn plain_escapers(backslash: u64, carry: u64) -> u64 {
        let (mut escapers, mut escaped) = (0, carry == 1);
        for place in 0..64 {
            escaped = !escaped && backslash >> place & 1 == 1;
            escapers |= u64::from(escaped) << place;
        }
        escapers
    }

    fn check(backslash: u64) {
        for carry in [0, 1] {
            assert_eq!(escapers(backslash, carry), plain_escapers(backslash, carry), "{backslash:064b} {carry}");
        }
    }

    #[test]
    fn runs_of_backslashes() {
        for length in 0..=64 {
            let run = u64::MAX.checked_shr(64 - length).unwrap_or_default();
            (0..64).for_each(|from| check(run << from));
        }
    }

    proptest! {
        #[test]
        fn any_backslashes(few in any::<u64>(), more in any::<u64>()) {
            check(few & more);
            check(few | more);
        }
    }
}
