//! New members for an object that is walked, not scanned: collected first, inserted behind its `{` in one edit.

use core::fmt;
use std::borrow::Cow;

use crate::json::walk::decoded;
use crate::json::{Reject, plain_ascii};
use crate::splice::{Edits, Misplaced};

/// Why a reply or frame could not be edited. It is then forwarded as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unspliced {
    /// It is not the JSON it should be.
    Json(Reject),
    /// Two edits met in one place, as with members nested in an unexpected way.
    Edit(Misplaced),
}

impl fmt::Display for Unspliced {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unspliced::Json(reject) => reject.fmt(formatter),
            Unspliced::Edit(misplaced) => misplaced.fmt(formatter),
        }
    }
}

impl core::error::Error for Unspliced {}

impl From<Reject> for Unspliced {
    fn from(reject: Reject) -> Self {
        Unspliced::Json(reject)
    }
}

impl From<Misplaced> for Unspliced {
    fn from(misplaced: Misplaced) -> Self {
        Unspliced::Edit(misplaced)
    }
}

/// A member's name with its escapes decoded: nobody writes `"\u0063hoices"`, but it means the same to every client.
pub(crate) fn name(key: &[u8]) -> Cow<'_, [u8]> {
    if plain_ascii(key).is_some() || !key.contains(&b'\\') { Cow::Borrowed(key) } else { decoded(key) }
}

/// Members to be inserted into one object.
#[derive(Debug, Default)]
pub(crate) struct Patch {
    members: Vec<u8>,
}

/// As much as a cost, or an id, takes.
const USUAL_BYTES: usize = 64;

impl Patch {
    /// `key` is one of our own words: plain ASCII without anything to escape.
    pub(crate) fn insert(&mut self, key: &'static str, value: &[u8]) {
        self.insert_written(key, |members| members.extend_from_slice(value));
    }

    /// As `insert`, for a value that `write` appends.
    pub(crate) fn insert_written(&mut self, key: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        if self.members.is_empty() {
            self.members.reserve(USUAL_BYTES);
        } else {
            self.members.push(b',');
        }
        self.members.push(b'"');
        self.members.extend_from_slice(key.as_bytes());
        self.members.extend_from_slice(b"\":");
        write(&mut self.members);
    }

    pub(crate) fn insert_if(&mut self, missing: bool, key: &'static str, value: &[u8]) {
        if missing {
            self.insert(key, value);
        }
    }

    /// Writes the insertion into `object`, whose first byte stands at `base` of the edited text.
    pub(crate) fn write(self, object: &[u8], base: usize, edits: &mut Edits) -> Result<(), Unspliced> {
        let brace = object.iter().position(|byte| *byte == b'{').unwrap_or(0);
        let is_empty = object.get(brace + 1..).is_some_and(|inside| inside.trim_ascii_start().starts_with(b"}"));
        self.write_behind(base + brace, is_empty, edits)
    }

    /// Writes the insertion into the object whose `{` stands at `brace` of the edited text, and which has no members so far or some.
    pub(crate) fn write_behind(mut self, brace: usize, is_empty: bool, edits: &mut Edits) -> Result<(), Unspliced> {
        if self.members.is_empty() {
            return Ok(());
        }
        if !is_empty {
            self.members.push(b',');
        }
        Ok(edits.insert(brace + 1, &self.members)?)
    }
}

/// The absolute place of `range` when its text begins at `base`.
pub(crate) fn shifted(range: &core::ops::Range<usize>, base: usize) -> core::ops::Range<usize> {
    base + range.start..base + range.end
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn check(object: &str, expected: &str) {
        let mut patch = Patch::default();
        patch.insert("a", b"1");
        patch.insert_if(false, "b", b"2");
        patch.insert_if(true, "c", b"3");
        let mut edits = Edits::new();
        patch.write(object.as_bytes(), 1, &mut edits).unwrap();
        let mut out = Vec::new();
        edits.apply(format!(":{object}").as_bytes(), &mut out).unwrap();
        assert_eq!(std::str::from_utf8(&out).unwrap(), format!(":{expected}"));
    }

    #[test]
    fn commas_are_right() {
        check("{}", r#"{"a":1,"c":3}"#);
        check("{ }", r#"{"a":1,"c":3 }"#);
        check(r#"{ "x":0}"#, r#"{"a":1,"c":3, "x":0}"#);
        check(r#" {"x":0}"#, r#" {"a":1,"c":3,"x":0}"#);
    }
}
