//! The inside of a string, resumable at any byte.
//!
//! Plain text is skipped in blocks of 64 bytes. Where backslashes come, whole blocks are judged at once: which bytes
//! are escaped follows from the runs of backslashes by one addition (see [`escaped_bytes`]), what stands there from
//! a table. A block is cut before an escape that does not fit into it, so blocks need no state. The byte-wise machine
//! [`Text::step`] does the rest: escapes near the end of a slice, and the exact reason when something is wrong.

use super::simd::{Digits, Simd, Window, skip_plain};
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
                    let (next, closed) = read_escapes(simd, bytes, at, high);
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

/// Reads whole blocks from the backslash at `from` while they hold backslashes.
///
/// Returns where it stopped, and whether that is behind the closing quote. If it stopped at a backslash, the byte-wise
/// machine must take over.
#[inline(always)]
fn read_escapes<S: Simd>(simd: S, bytes: &[u8], from: usize, high: &mut bool) -> (usize, bool) {
    let mut at = from;
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<64>()) {
        let classes = simd.classify(block);
        if classes.backslash == 0 {
            break;
        }
        *high |= classes.high;
        let escaped = escaped_bytes(classes.backslash);
        let quote = classes.quote & !escaped;
        let stop = (quote | classes.control).trailing_zeros();
        let text = below(stop);
        if escaped & text & !classes.escapable != 0 {
            break;
        }
        // A backslash as the last byte belongs to the next block.
        let mut done = if (classes.backslash & !escaped & text) >> 63 == 1 { 63 } else { stop };
        let unicode = escaped & text & classes.unicode;
        if unicode != 0 {
            let Some(cut) = judge_unicode(unicode, simd.digits(block)) else { break };
            done = done.min(cut);
        }
        at += done as usize;
        if done == stop && stop < 64 {
            return match quote >> stop & 1 {
                1 => (at + 1, true),
                // A control byte: if it is escaped, its backslash is not taken, so that the machine sees both.
                _ => (at - (escaped >> stop & 1) as usize, false),
            };
        }
    }
    (at, false)
}

/// Judges the `\u` escapes of a block, given where their letters `u` are: `None` when one is wrong, else how many bytes
/// of the block are done. That ends before an escape whose digits, or whose other half, lie in the next block.
#[inline(always)]
fn judge_unicode(unicode: u64, digits: Digits) -> Option<u32> {
    // A bit of these masks is the place of a `u`: moved up by n it is the place of the nth digit.
    let surrogate = unicode & digits.surrogate >> 1;
    let high = surrogate & digits.high_half >> 2;
    let low = surrogate & digits.low_half >> 2;
    // The block ends at 64: four digits behind a `u` fit below place 60, a whole pair behind one below place 54.
    let cut = ((unicode & !below(60)) | (high & !below(54))).trailing_zeros();
    let whole = unicode & below(cut);
    let digit_places = whole << 1 | whole << 2 | whole << 3 | whole << 4;
    // Behind each high half, and only there, comes a low half.
    let due = (high & whole) << 6;
    if digit_places & !digits.hex != 0 || due & !low != 0 || low & whole & !due != 0 {
        return None;
    }
    // Without a cut `trailing_zeros` says 64: all is done. Else up to the backslash before the `u`.
    Some(if cut == 64 { 64 } else { cut - 1 })
}

/// The bytes that a backslash escapes, given where backslashes are; the block's first byte is not escaped.
///
/// In a run of backslashes the first, third, … escapes the byte behind it. So where a run starts at an even place, the
/// escaped bytes are the odd places behind its members, and the other way round. Adding the start of a run to the run
/// carries through it and clears it, which tells the two sorts of run apart without a loop.
#[inline(always)]
fn escaped_bytes(backslash: u64) -> u64 {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    let starts = backslash & !(backslash << 1);
    let carried = backslash.wrapping_add(starts & EVEN);
    let from_even = backslash & !carried;
    let from_odd = backslash & carried;
    (from_even << 1 & !EVEN) | (from_odd << 1 & EVEN)
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
