//! JSON by byte ranges: nothing is copied and no tree is built.
//!
//! Two tools with different promises:
//!
//! * [`Scanner`] takes a text in any number of slices and validates **all** of it: UTF-8, the grammar of RFC 8259,
//!   escapes and depth. It reports where the wanted top-level members lie. It decides authorisation (which model, how
//!   many tokens), so no provider's parser may read the same bytes differently.
//! * [`walk`] steps through one object or array that is complete in memory and checks only that level. Nested values
//!   are skipped by matching brackets. Use it on text whose verdict does not matter, such as a provider's frames.
//!
//! # Where parsers differ, and what is done about it
//!
//! The verdict equals `serde_json`'s (`from_slice::<Value>`) on every text, except:
//!
//! * A number that overflows a double (`1e999`) follows the grammar and is **accepted**; `serde_json` refuses it.
//!   Numbers are forwarded as text, and many parsers take them.
//! * A **wanted** member that occurs twice is refused: parsers differ on whether the first or the last one counts.
//!   Other members may repeat.
//! * A member whose name equals a wanted one **but for letter case** is refused (`"Model"` for `"model"`; also the
//!   long s and the Kelvin sign): Go's parser would read it as the wanted one.
//! * The depth limit is the caller's; `serde_json` refuses the 128th level.
//!
//! A lone surrogate escape (`"\ud800"`), a control character inside a string, invalid UTF-8, a byte-order mark and
//! anything behind the value are refused by both.

mod media;
mod members;
mod number;
mod scan;
mod simd;
mod string;
#[cfg(test)]
mod tests;
mod utf8;
pub mod walk;

use core::fmt;

pub use media::{FILE_BYTES_PER_TOKEN, Files, IMAGE_TOKENS, TOKEN_START};
pub use members::{Keys, MAX_WANTED, Members};
pub use scan::{DEFAULT_MAX_DEPTH, MAX_DEPTH, Scanner, is_complete};
pub(crate) use simd::plain_ascii;

/// What a JSON value is, told by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `"…"`
    String,
    /// `-1.5e3`
    Number,
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
    /// `{…}`
    Object,
    /// `[…]`
    Array,
}

impl Kind {
    /// The kind of the value that starts with `first`, or `None` when no value starts so.
    #[inline]
    #[must_use]
    pub fn of(first: u8) -> Option<Self> {
        Some(match first {
            b'"' => Self::String,
            b'-' | b'0'..=b'9' => Self::Number,
            b't' => Self::True,
            b'f' => Self::False,
            b'n' => Self::Null,
            b'{' => Self::Object,
            b'[' => Self::Array,
            _ => return None,
        })
    }

    /// The bytes that must follow the first one of `true`, `false` and `null`; empty for the others.
    #[inline]
    fn literal_rest(self) -> &'static [u8] {
        match self {
            Self::True => b"rue",
            Self::False => b"alse",
            Self::Null => b"ull",
            _ => b"",
        }
    }
}

/// Why a text is not acceptable, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Offset in bytes from the start of the text; the text's length when it ends too early.
    pub offset: usize,
    /// What is wrong there.
    pub reason: Reason,
}

impl Reject {
    #[cold]
    pub(crate) fn new(offset: usize, reason: Reason) -> Self {
        Self { offset, reason }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "invalid JSON at byte {}: {}", self.offset, self.reason)
    }
}

impl core::error::Error for Reject {}

/// What is wrong with a JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The text ends before its value does.
    Truncated,
    /// The top-level value is not an object.
    NotAnObject,
    /// A byte stands where something else must; the text says what.
    Expected(&'static str),
    /// A number breaks the grammar: leading zero, lone minus, no digit after the point or the exponent.
    Number,
    /// A word other than `true`, `false`, `null`.
    Literal,
    /// A byte below 0x20 inside a string.
    ControlCharacter,
    /// A backslash with something unknown after it, or `\u` without four hexadecimal digits.
    Escape,
    /// A `\u` escape that is half of a surrogate pair and stands alone.
    LoneSurrogate,
    /// Bytes that are not UTF-8.
    Utf8,
    /// More nested containers than the limit, which is given.
    TooDeep(u16),
    /// Something other than white space behind the value.
    Trailing,
    /// A wanted member occurs twice; its decoded name.
    DuplicateKey(String),
    /// A member's name differs from this wanted one only in letter case.
    KeyCase(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => formatter.write_str("the text ends too early"),
            Self::NotAnObject => formatter.write_str("the top level must be an object"),
            Self::Expected(what) => write!(formatter, "expected {what}"),
            Self::Number => formatter.write_str("malformed number"),
            Self::Literal => formatter.write_str("expected true, false or null"),
            Self::ControlCharacter => formatter.write_str("control character inside a string"),
            Self::Escape => formatter.write_str("malformed escape"),
            Self::LoneSurrogate => formatter.write_str("lone surrogate escape"),
            Self::Utf8 => formatter.write_str("not UTF-8"),
            Self::TooDeep(limit) => write!(formatter, "more than {limit} nested levels"),
            Self::Trailing => formatter.write_str("something follows the value"),
            Self::DuplicateKey(name) => write!(formatter, "member \"{name}\" occurs twice"),
            Self::KeyCase(name) => write!(formatter, "a member differs from \"{name}\" only in letter case"),
        }
    }
}

/// What the machines of this module report inside one slice; the scanner adds the slice's own offset.
#[derive(Debug)]
struct Fault {
    at: usize,
    reason: Reason,
}

impl Fault {
    #[cold]
    fn new(at: usize, reason: Reason) -> Self {
        Self { at, reason }
    }
}

/// The first byte at or after `at` that is no JSON white space, or the text's length.
#[inline(always)]
pub(crate) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at)
        && *byte <= b' '
    {
        match byte {
            // Indented text: take eight blanks at a time.
            b' ' if bytes.get(at..at + 8) == Some(b"        ") => at += 8,
            b' ' | b'\n' | b'\r' | b'\t' => at += 1,
            _ => break,
        }
    }
    at
}
