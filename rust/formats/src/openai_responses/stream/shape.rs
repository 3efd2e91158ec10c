//! The fast path of a stream: pieces of one block, which differ in their text, their number and their padding only.
//!
//! What lies around these in an event that was read is remembered; an event with the same bytes around them needs no reading of JSON.

use core::ops::Range;

use fairlead_ir::Text;

use crate::json::Kind;
use crate::json::walk;
use crate::template::text_end;

/// What is constant in the pieces of one block. Empty until something has been learned.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// What stands before each hole and behind the last one, one after the other.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    holes: Vec<Hole>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hole {
    /// The text of the piece.
    Piece,
    /// Digits.
    Number,
    /// A text that is not looked at.
    Padding,
}

impl Shape {
    /// Another event has come: what was learned may no longer hold.
    pub(super) fn forget(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.holes.clear();
    }

    /// The text of an event that is like the learned one.
    #[inline]
    pub(super) fn piece<'d>(&self, event: &'d [u8]) -> Option<Text<'d>> {
        if self.holes.is_empty() {
            return None;
        }
        let mut piece = None;
        let mut rest = event.strip_prefix(self.constant(0))?;
        for (number, hole) in self.holes.iter().enumerate() {
            let end = match hole {
                Hole::Number => rest.iter().position(|byte| !byte.is_ascii_digit()).filter(|digits| *digits > 0)?,
                Hole::Piece | Hole::Padding => text_end(rest)?,
            };
            let (text, after) = rest.split_at(end);
            if *hole == Hole::Piece {
                piece = Some(Text::escaped(text));
            }
            rest = after.strip_prefix(self.constant(number + 1))?;
        }
        piece.filter(|_| rest.is_empty())
    }

    /// Remembers what lies around the text of an event that was read.
    pub(super) fn learn(&mut self, event: &[u8]) {
        self.forget();
        let mut from = 0;
        for member in walk::members(event) {
            let Ok(member) = member else { return self.forget() };
            let inside = member.value_range.start + 1..member.value_range.end - 1;
            let (hole, range): (Hole, Range<usize>) = match (member.key, member.kind) {
                (b"delta", Kind::String) => (Hole::Piece, inside),
                (b"obfuscation", Kind::String) => (Hole::Padding, inside),
                (b"sequence_number", Kind::Number) => (Hole::Number, member.value_range),
                _ => continue,
            };
            self.bytes.extend_from_slice(&event[from..range.start]);
            self.ends.push(self.bytes.len());
            self.holes.push(hole);
            from = range.end;
        }
        self.bytes.extend_from_slice(&event[from..]);
        self.ends.push(self.bytes.len());
        // Of two texts of one name the last one counts, which only reading tells.
        if self.holes.iter().filter(|hole| **hole == Hole::Piece).count() != 1 {
            self.forget();
        }
    }

    fn constant(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[number]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_are_alike() {
        let mut shape = Shape::default();
        assert_eq!(shape.piece(b""), None);
        shape.learn(br#"{"type":"t","sequence_number":9,"delta":"","obfuscation":"xx","n":1}"#);
        let check = |event: &str, piece: Option<&'static str>| assert_eq!(shape.piece(event.as_bytes()), piece.map(Text::word), "{event}");
        check(r#"{"type":"t","sequence_number":10,"delta":"a\"b","obfuscation":"","n":1}"#, Some(r#"a\"b"#));
        check(r#"{"type":"t","sequence_number":10,"delta":"","obfuscation":"yyy","n":1}"#, Some(""));
        check(r#"{"type":"u","sequence_number":10,"delta":"a","obfuscation":"","n":1}"#, None);
        check(r#"{"type":"t","sequence_number":,"delta":"a","obfuscation":"","n":1}"#, None);
        check(r#"{"type":"t","sequence_number":1,"delta":"a","obfuscation":"","n":2}"#, None);
        check(r#"{"type":"t","sequence_number":1,"delta":"a","obfuscation":"","n":1}}"#, None);
        check(r#"{"type":"t","sequence_number":1,"delta":"a"#, None);
    }

    #[test]
    fn what_cannot_be_learned() {
        for event in ["{}", r#"{"delta":"a","delta":"b"}"#, r#"{"delta":"a","#, r#"{"delta":1}"#] {
            let mut shape = Shape::default();
            shape.learn(event.as_bytes());
            assert_eq!(shape.piece(event.as_bytes()), None, "{event}");
        }
    }
}
