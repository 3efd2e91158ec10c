//! Byte-exact edits: a few ranges of a text change, everything else stays where it lies.
//!
//! [`Edits`] is the list of changes over a text's offsets. A text in one piece is written out by [`Edits::apply`]; a
//! body that arrived in several frames is never copied: [`Edits::apply_slices`] tells which ranges of which frame and
//! which new bytes make up the result, for a vectored write. [`MemberEdits`] turns "set this member, remove that one"
//! into edits of a scanned object, with the commas right.

use core::fmt;
use core::ops::Range;
use std::borrow::Cow;

use crate::json::Members;
use crate::json::walk::write_string;

/// A list of changes to one text, in the order of their places. Its buffers can be used again.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    edits: Vec<Edit>,
    /// The new bytes of all edits, in the order in which they were made.
    new: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Edit {
    /// What is replaced in the text; empty for an insertion.
    old: Range<usize>,
    /// What comes there, in `Edits::new`.
    new: Range<usize>,
}

/// An edit that overlaps another one, runs backwards, or lies behind the end of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misplaced {
    /// The range that cannot be replaced.
    pub range: Range<usize>,
}

impl fmt::Display for Misplaced {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "bytes {}..{} cannot be replaced: overlapping or outside the text", self.range.start, self.range.end)
    }
}

impl core::error::Error for Misplaced {}

/// A part of the result of [`Edits::apply_slices`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of a frame, as they came.
    Original {
        /// The frame's place in the list.
        frame: usize,
        /// The bytes of that frame.
        range: Range<usize>,
    },
    /// New bytes.
    New {
        /// Their place in [`Edits::new_bytes`].
        range: Range<usize>,
    },
}

impl Edits {
    /// No edits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all edits and keeps the memory.
    pub fn clear(&mut self) {
        self.edits.clear();
        self.new.clear();
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Replaces `range` of the text by `bytes`. An empty range inserts, empty `bytes` delete.
    ///
    /// Edits may be made in any order. Insertions at the same place stand in the order in which they were made, and
    /// before a replacement that begins there.
    ///
    /// # Errors
    /// When `range` overlaps an earlier edit or runs backwards; nothing is changed then.
    pub fn replace(&mut self, range: Range<usize>, bytes: &[u8]) -> Result<(), Misplaced> {
        let place = self.edits.partition_point(|edit| (edit.old.start, edit.old.end) <= (range.start, range.end));
        let after_previous = place == 0 || self.edits[place - 1].old.end <= range.start;
        let before_next = self.edits.get(place).is_none_or(|next| range.end <= next.old.start);
        if !after_previous || !before_next || range.start > range.end {
            return Err(Misplaced { range });
        }
        let from = self.new.len();
        self.new.extend_from_slice(bytes);
        self.edits.insert(place, Edit { old: range, new: from..self.new.len() });
        Ok(())
    }

    /// Puts `bytes` before the byte at `offset`.
    ///
    /// # Errors
    /// When `offset` lies inside a replaced range.
    pub fn insert(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Misplaced> {
        self.replace(offset..offset, bytes)
    }

    /// Removes `range`.
    ///
    /// # Errors
    /// As [`replace`](Self::replace).
    pub fn delete(&mut self, range: Range<usize>) -> Result<(), Misplaced> {
        self.replace(range, b"")
    }

    /// The length of the result for a text of `text_len` bytes.
    #[must_use]
    pub fn result_len(&self, text_len: usize) -> usize {
        let removed: usize = self.edits.iter().map(|edit| edit.old.len()).sum();
        text_len.saturating_sub(removed) + self.new.len()
    }

    /// The new bytes that [`Piece::New`] points into.
    #[must_use]
    pub fn new_bytes(&self) -> &[u8] {
        &self.new
    }

    /// Appends the edited `text` to `out`.
    ///
    /// # Errors
    /// When an edit lies behind the end of `text`; `out` is unchanged then.
    pub fn apply(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Misplaced> {
        self.check_end(text.len())?;
        out.reserve(self.result_len(text.len()));
        let mut done = 0;
        for edit in &self.edits {
            out.extend_from_slice(&text[done..edit.old.start]);
            out.extend_from_slice(&self.new[edit.new.clone()]);
            done = edit.old.end;
        }
        out.extend_from_slice(&text[done..]);
        Ok(())
    }

    /// Appends to `pieces` what the edited text consists of, where the text is the concatenation of `frames`. No byte
    /// is copied, and no piece is empty.
    ///
    /// # Errors
    /// When an edit lies behind the end of the text; `pieces` is unchanged then.
    pub fn apply_slices<F: AsRef<[u8]>>(&self, frames: &[F], pieces: &mut Vec<Piece>) -> Result<(), Misplaced> {
        self.check_end(frames.iter().map(|frame| frame.as_ref().len()).sum())?;
        let mut cursor = FrameCursor { frames, frame: 0, frame_start: 0 };
        let mut done = 0;
        for edit in &self.edits {
            cursor.push(done..edit.old.start, pieces);
            if !edit.new.is_empty() {
                pieces.push(Piece::New { range: edit.new.clone() });
            }
            done = edit.old.end;
        }
        cursor.push(done..usize::MAX, pieces);
        Ok(())
    }

    fn check_end(&self, text_len: usize) -> Result<(), Misplaced> {
        match self.edits.last() {
            Some(edit) if edit.old.end > text_len => Err(Misplaced { range: edit.old.clone() }),
            _ => Ok(()),
        }
    }
}

/// Walks over the frames once, in step with the edits.
struct FrameCursor<'a, F> {
    frames: &'a [F],
    frame: usize,
    /// Offset of the frame's first byte in the text.
    frame_start: usize,
}

impl<F: AsRef<[u8]>> FrameCursor<'_, F> {
    /// Adds the parts of the frames that `range` of the text covers; ranges come in ascending order.
    fn push(&mut self, range: Range<usize>, pieces: &mut Vec<Piece>) {
        while let Some(frame) = self.frames.get(self.frame) {
            let length = frame.as_ref().len();
            let from = range.start.saturating_sub(self.frame_start);
            let to = range.end.saturating_sub(self.frame_start).min(length);
            if from < to {
                pieces.push(Piece::Original { frame: self.frame, range: from..to });
            }
            if range.end <= self.frame_start + length {
                return;
            }
            self.frame += 1;
            self.frame_start += length;
        }
    }
}

/// The bytes `range` of the text that `frames` make up: borrowed when they lie in one frame, else joined.
///
/// What lies behind the end of the text is missing from the result.
#[must_use]
pub fn gather<F: AsRef<[u8]>>(frames: &[F], range: Range<usize>) -> Cow<'_, [u8]> {
    let mut frame_start = 0;
    let mut joined = Cow::Borrowed(&[][..]);
    for frame in frames {
        let frame = frame.as_ref();
        let from = range.start.saturating_sub(frame_start).min(frame.len());
        let to = range.end.saturating_sub(frame_start).min(frame.len());
        if from < to {
            let part = &frame[from..to];
            if joined.is_empty() {
                joined = Cow::Borrowed(part);
            } else {
                joined.to_mut().extend_from_slice(part);
            }
        }
        frame_start += frame.len();
        if frame_start >= range.end {
            break;
        }
    }
    joined
}

/// Changes to the top-level members of one scanned object, turned into [`Edits`] with the commas right.
///
/// New members go to the front, right behind the `{`, in the order in which they were set: that place is known even
/// when the object is empty, and a client's own prefix of messages stays one piece.
///
/// ```
/// use fairlead_formats::{json::Scanner, splice::{Edits, MemberEdits}};
///
/// let text = br#"{"route":1,"model":"a", "stream":true}"#;
/// let names = ["model", "route", "user"];
/// let mut scanner = Scanner::new(&names, 128);
/// scanner.feed(text)?;
/// let members = scanner.finish()?;
///
/// let mut changes = MemberEdits::new(&members);
/// changes.set(0, "model", br#""b""#);
/// changes.remove(1);
/// changes.set(2, "user", b"7");
/// let mut edits = Edits::new();
/// changes.write(&mut edits)?;
/// let mut out = Vec::new();
/// edits.apply(text, &mut out)?;
/// assert_eq!(out, br#"{"user":7,"model":"b", "stream":true}"#);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MemberEdits<'m, 'b> {
    members: &'m Members,
    /// Bit per index.
    removed: u64,
    /// Value range and new value.
    replaced: Vec<(usize, Cow<'b, [u8]>)>,
    inserted: Vec<(Cow<'b, str>, Cow<'b, [u8]>)>,
}

impl<'m, 'b> MemberEdits<'m, 'b> {
    /// No changes to the object that `members` describes.
    #[must_use]
    pub fn new(members: &'m Members) -> Self {
        Self { members, removed: 0, replaced: Vec::new(), inserted: Vec::new() }
    }

    /// Gives the wanted member `index` the value `value` (a JSON text): replaced where it is, inserted with the name
    /// `key` where it is not. Of several values for one index the last one counts.
    pub fn set(&mut self, index: usize, key: impl Into<Cow<'b, str>>, value: impl Into<Cow<'b, [u8]>>) {
        if self.members.find(index).is_none() {
            return self.insert(key, value);
        }
        self.removed &= !bit(index);
        self.replaced.retain(|(other, _)| *other != index);
        self.replaced.push((index, value.into()));
    }

    /// Adds a member that the object does not have. The caller knows that it does not.
    pub fn insert(&mut self, key: impl Into<Cow<'b, str>>, value: impl Into<Cow<'b, [u8]>>) {
        let key = key.into();
        self.inserted.retain(|(other, _)| *other != key);
        self.inserted.push((key, value.into()));
    }

    /// Removes the wanted member `index`, if the object has it.
    pub fn remove(&mut self, index: usize) {
        if self.members.find(index).is_some() {
            self.removed |= bit(index);
        }
        self.replaced.retain(|(other, _)| *other != index);
    }

    /// Writes the changes down as edits of the text that was scanned.
    ///
    /// # Errors
    /// When `edits` already holds an edit that overlaps one of these.
    pub fn write(&self, edits: &mut Edits) -> Result<(), Misplaced> {
        for (index, value) in &self.replaced {
            if let Some(range) = self.members.value(*index) {
                edits.replace(range, value)?;
            }
        }
        self.write_removals(edits)?;
        self.write_insertions(edits)
    }

    /// Removes each run of neighbouring members together with one comma.
    fn write_removals(&self, edits: &mut Edits) -> Result<(), Misplaced> {
        // The members were found in the order of the text.
        let mut removed = self.members.found().iter().filter(|found| self.removed & bit(found.index()) != 0).peekable();
        while let Some(first) = removed.next() {
            let mut last = first;
            while let Some(next) = removed.next_if(|next| next.ordinal == last.ordinal + 1) {
                last = next;
            }
            let range = match (first.previous_end(), last.next_start()) {
                // The comma before the run goes, the one behind it stays.
                (Some(previous_end), _) => previous_end..last.member.end,
                (None, Some(next_start)) => first.member.start..next_start,
                (None, None) => first.member.start..last.member.end,
            };
            edits.delete(range)?;
        }
        Ok(())
    }

    fn write_insertions(&self, edits: &mut Edits) -> Result<(), Misplaced> {
        if self.inserted.is_empty() {
            return Ok(());
        }
        let mut text = Vec::new();
        for (number, (key, value)) in self.inserted.iter().enumerate() {
            if number > 0 {
                text.push(b',');
            }
            write_string(&mut text, key);
            text.push(b':');
            text.extend_from_slice(value);
        }
        let survivors = self.members.len() > self.removed.count_ones() as usize;
        if survivors {
            text.push(b',');
        }
        edits.insert(self.members.open() + 1, &text)
    }
}

fn bit(index: usize) -> u64 {
    u32::try_from(index).ok().and_then(|index| 1_u64.checked_shl(index)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::borrow::Cow;
    use std::ops::Range;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::{Edits, MemberEdits, Misplaced, Piece, gather};
    use crate::json::Scanner;

    fn edits(changes: &[(Range<usize>, &str)]) -> Result<Edits, Misplaced> {
        let mut edits = Edits::new();
        for (range, bytes) in changes {
            edits.replace(range.clone(), bytes.as_bytes())?;
        }
        Ok(edits)
    }

    /// The edited text, made in one piece and from frames of every size; all must agree.
    fn apply(edits: &Edits, text: &[u8]) -> String {
        let mut whole = Vec::new();
        edits.apply(text, &mut whole).unwrap();
        assert_eq!(edits.result_len(text.len()), whole.len());
        for size in 1..=text.len() + 1 {
            let frames: Vec<&[u8]> = text.chunks(size).collect();
            let mut pieces = Vec::new();
            edits.apply_slices(&frames, &mut pieces).unwrap();
            let part = |piece: &Piece| match piece {
                Piece::Original { frame, range } => frames[*frame][range.clone()].to_vec(),
                Piece::New { range } => edits.new_bytes()[range.clone()].to_vec(),
            };
            let parts: Vec<Vec<u8>> = pieces.iter().map(part).collect();
            assert!(parts.iter().all(|part| !part.is_empty()));
            assert_eq!(parts.concat(), whole, "frames of {size}");
        }
        String::from_utf8(whole).unwrap()
    }

    #[test]
    fn edits_table() {
        let check = |changes: &[(Range<usize>, &str)], expected: &str| {
            assert_eq!(apply(&edits(changes).unwrap(), b"0123456789"), expected, "{changes:?}");
        };
        check(&[], "0123456789");
        check(&[(2..5, "abc")], "01abc56789");
        check(&[(0..10, "")], "");
        check(&[(0..0, "<"), (10..10, ">")], "<0123456789>");
        check(&[(5..6, "b"), (2..3, "a")], "01a34b6789");
        check(&[(4..4, "a"), (4..4, "b")], "0123ab456789");
        check(&[(4..6, "x"), (4..4, "a"), (6..6, "b")], "0123axb6789");
        check(&[(4..6, ""), (6..8, "")], "012389");
    }

    #[test]
    fn misplaced_edits() {
        let backwards = Range { start: 5, end: 4 };
        for changes in [
            &[(2..5, ""), (4..6, "")][..],
            &[(2..5, ""), (2..5, "")],
            &[(2..5, ""), (3..3, "x")],
            &[(3..3, ""), (2..5, "x")],
            &[(backwards, "")],
        ] {
            let last = changes[changes.len() - 1].0.clone();
            assert_eq!(edits(changes).unwrap_err(), Misplaced { range: last }, "{changes:?}");
        }
        let beyond = edits(&[(9..11, "x")]).unwrap();
        assert!(beyond.apply(b"0123456789", &mut Vec::new()).is_err());
        assert!(beyond.apply_slices(&[b"01234", b"56789"], &mut Vec::new()).is_err());
    }

    #[test]
    fn buffers_are_used_again() {
        let mut edits = edits(&[(0..1, "abc")]).unwrap();
        edits.clear();
        assert!(edits.is_empty() && edits.new_bytes().is_empty());
        edits.insert(0, b"x").unwrap();
        assert_eq!(apply(&edits, b"1"), "x1");
    }

    #[test]
    fn gathering() {
        let frames: [&[u8]; 4] = [b"012", b"", b"345", b"6789"];
        let check = |range: Range<usize>, expected: &str, borrowed: bool| {
            let gathered = gather(&frames, range.clone());
            assert_eq!(gathered, expected.as_bytes(), "{range:?}");
            assert_eq!(matches!(gathered, Cow::Borrowed(_)), borrowed, "{range:?}");
        };
        check(0..3, "012", true);
        check(3..6, "345", true);
        check(4..5, "4", true);
        check(2..7, "23456", false);
        check(0..10, "0123456789", false);
        check(8..99, "89", true);
        check(20..30, "", true);
        check(5..5, "", true);
        assert_eq!(gather::<&[u8]>(&[], 0..1), &b""[..]);
    }

    const KEYS: [&str; 4] = ["a", "b", "c", "d"];

    /// `text` with the members of `removed` removed, `set` set and `inserted` put in.
    fn edit_object(text: &str, removed: &[usize], set: &[(usize, &str)], inserted: &[(&str, &str)]) -> String {
        let mut scanner = Scanner::new(&KEYS, 128);
        scanner.feed(text.as_bytes()).unwrap();
        let members = scanner.finish().unwrap();
        let mut changes = MemberEdits::new(&members);
        for index in removed {
            changes.remove(*index);
        }
        for (index, value) in set {
            changes.set(*index, KEYS[*index], value.as_bytes());
        }
        for (key, value) in inserted {
            changes.insert(*key, value.as_bytes());
        }
        let mut edits = Edits::new();
        changes.write(&mut edits).unwrap();
        apply(&edits, text.as_bytes())
    }

    #[test]
    fn objects_table() {
        type Set<'a> = &'a [(usize, &'a str)];
        type Inserted<'a> = &'a [(&'a str, &'a str)];
        let check = |text: &str, removed: &[usize], set: Set<'_>, inserted: Inserted<'_>, expected: &str| {
            assert_eq!(edit_object(text, removed, set, inserted), expected, "{text}");
        };
        let text = r#"{"a":1, "b" : [2],"x":0,"c":3}"#;
        check(text, &[], &[], &[], text);
        check(text, &[0], &[], &[], r#"{"b" : [2],"x":0,"c":3}"#);
        check(text, &[1], &[], &[], r#"{"a":1,"x":0,"c":3}"#);
        check(text, &[2], &[], &[], r#"{"a":1, "b" : [2],"x":0}"#);
        check(text, &[0, 1], &[], &[], r#"{"x":0,"c":3}"#);
        check(text, &[0, 1, 2], &[], &[], r#"{"x":0}"#);
        check(text, &[0, 2], &[], &[("n\"", "9")], r#"{"n\"":9,"b" : [2],"x":0}"#);
        check(text, &[3], &[(1, "{}")], &[], r#"{"a":1, "b" : {},"x":0,"c":3}"#);
        check(text, &[], &[(3, "4"), (3, "5"), (0, "6")], &[("n", "9")], r#"{"d":5,"n":9,"a":6, "b" : [2],"x":0,"c":3}"#);
        check(r#"{ "a":1 }"#, &[0], &[], &[], "{  }");
        check(r#"{ "a":1 }"#, &[0], &[(1, "2")], &[("c", "3")], r#"{"b":2,"c":3  }"#);
        check(r#"{"a":1,"b":2}"#, &[0, 1], &[], &[], "{}");
        check(r#"{"a":1,"b":2}"#, &[0, 1], &[(0, "7")], &[], r#"{"a":7}"#);
        check("{}", &[0], &[(1, "1")], &[], r#"{"b":1}"#);
        check(" {\n} ", &[], &[(0, "1"), (1, "2")], &[], " {\"a\":1,\"b\":2\n} ");
    }

    #[derive(Clone, Debug)]
    enum Change {
        Keep,
        Remove,
        Set(u8),
    }

    proptest! {
        #[test]
        fn edits_equal_the_naive_way(text in "[a-z]{0,20}", changes in proptest::collection::vec((0_usize..22, 0_usize..6, "[A-Z]{0,4}"), 0..6)) {
            let mut edits = Edits::new();
            let mut done: Vec<(Range<usize>, String)> = Vec::new();
            for (start, length, bytes) in changes {
                let range = start..start + length;
                let fits = range.end <= text.len();
                if fits && edits.replace(range.clone(), bytes.as_bytes()).is_ok() {
                    done.push((range, bytes));
                }
            }
            // A stable sort keeps insertions at one place in their order; they stand before what is replaced there.
            done.sort_by_key(|(range, _)| (range.start, range.end));
            let mut expected = text.clone();
            for (range, bytes) in done.iter().rev() {
                expected.replace_range(range.clone(), bytes);
            }
            prop_assert_eq!(apply(&edits, text.as_bytes()), expected);
        }

        #[test]
        fn gathering_equals_joining(frames in proptest::collection::vec("[a-z]{0,5}", 0..6), from in 0_usize..20, length in 0_usize..20) {
            let text = frames.concat();
            let range = from.min(text.len())..(from + length).min(text.len());
            let gathered = gather(&frames, from..from + length);
            prop_assert_eq!(&gathered[..], &text.as_bytes()[range]);
        }

        /// Any members of any object removed, replaced and added: the text stays JSON and means what was asked for.
        #[test]
        fn objects_mean_what_was_asked_for(
            names in proptest::sample::subsequence(vec!["a", "x", "b", "y", "c", "z", "d"], 0..=7).prop_shuffle(),
            changes in proptest::collection::vec(prop_oneof![Just(Change::Keep), Just(Change::Remove), any::<u8>().prop_map(Change::Set)], 4),
            added in proptest::option::of(any::<u8>()),
            space in "[ \n]{0,2}",
        ) {
            let member = |name: &&str| format!("{space}\"{name}\"{space}:{space}\"{name}\"{space}");
            let text = format!("{{{}}}", names.iter().map(member).collect::<Vec<_>>().join(","));
            let mut expected: serde_json::Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), Value::from(*name))).collect();
            let (mut removed, mut set) = (Vec::new(), Vec::new());
            for (index, change) in changes.iter().enumerate() {
                match change {
                    Change::Keep => {}
                    Change::Remove => {
                        removed.push(index);
                        expected.remove(KEYS[index]);
                    }
                    Change::Set(value) => {
                        set.push((index, value.to_string()));
                        expected.insert(KEYS[index].to_owned(), Value::from(*value));
                    }
                }
            }
            let inserted = added.map(|value| value.to_string());
            if let Some(value) = added {
                expected.insert("added".to_owned(), Value::from(value));
            }
            let set: Vec<_> = set.iter().map(|(index, value)| (*index, value.as_str())).collect();
            let inserted: Vec<_> = inserted.iter().map(|value| ("added", value.as_str())).collect();
            let result = edit_object(&text, &removed, &set, &inserted);
            prop_assert_eq!(serde_json::from_str::<Value>(&result).unwrap(), Value::Object(expected), "{}", result);
        }
    }
}
