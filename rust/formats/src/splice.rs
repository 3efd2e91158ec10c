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
