//! The fast path of a stream: frames that differ from an earlier one only in their texts.
//!
//! A provider writes thousands of frames that are equal byte for byte except for the token inside. One of them is walked, and
//! what lies around its texts is remembered, once as it came and once as the client shall see it. A later frame that has the
//! same bytes around its texts needs no JSON reading at all: comparing constants and finding the quote that ends each text
//! proves that it carries no usage, no finish and no error, and copying the other constants around the texts rewrites it.

use core::ops::Range;

use memchr::memchr2;

use crate::splice::{Edits, Piece};

/// More texts in one frame are no ordinary frame.
const MAX_TEXTS: usize = 6;

/// Longer constants are not kept: a template is bytes per open stream.
const MAX_CONSTANT_BYTES: usize = 4096;

/// Templates tried before a stream counts as one whose frames all differ (several choices in turn, log probabilities).
const MAX_VAIN_LESSONS: u32 = 16;

/// What is constant in an ordinary frame. Empty until something has been learned.
#[derive(Debug, Default)]
pub(crate) struct Template {
    /// Constants before each text and behind the last one; one more than there are texts.
    source: Constants,
    /// The same for the rewritten frame; empty when ordinary frames pass as they come.
    target: Constants,
    /// Whether each text counts as content.
    counted: Vec<bool>,
    lessons: u32,
    hits: u32,
}

impl Template {
    /// Bytes of content when `event` is an ordinary frame.
    #[inline]
    pub(crate) fn matches(&mut self, event: &[u8]) -> Option<u64> {
        if self.counted.is_empty() {
            return None;
        }
        let mut bytes = 0;
        let counted = &self.counted;
        self.source.texts(event, |number, text| bytes += if counted[number] { text.len() as u64 } else { 0 })?;
        self.hits = self.hits.saturating_add(1);
        Some(bytes)
    }

    /// Appends the rewritten frame when `event` is an ordinary one; else changes nothing and returns `false`.
    #[inline]
    pub(crate) fn render(&self, event: &[u8], out: &mut Vec<u8>) -> bool {
        if self.target.ends.is_empty() {
            return false;
        }
        let start = out.len();
        out.reserve(event.len() + self.target.bytes.len());
        let matched = self.source.texts(event, |number, text| {
            out.extend_from_slice(self.target.constant(number));
            out.extend_from_slice(text);
        });
        if matched.is_none() {
            out.truncate(start);
            return false;
        }
        out.extend_from_slice(self.target.constant(self.counted.len()));
        true
    }

    /// Whether another frame is worth learning from.
    pub(crate) fn is_curious(&self) -> bool {
        self.lessons < MAX_VAIN_LESSONS || self.hits >= self.lessons
    }

    /// Remembers `event` as an ordinary frame; `texts` in order, `edits` as applied to it, none when it passes as it came.
    pub(crate) fn learn(&mut self, event: &[u8], texts: &[(Range<usize>, bool)], edits: Option<&Edits>) {
        self.lessons = self.lessons.saturating_add(1);
        self.counted.clear();
        self.target.clear();
        // An empty text may be one that is always empty (`"content":""` beside reasoning): it is part of the constants.
        let texts: Vec<_> = texts.iter().filter(|(text, _)| !text.is_empty()).cloned().collect();
        if texts.is_empty() || texts.len() > MAX_TEXTS {
            return;
        }
        let Some(parts) = cut(event, &texts) else { return };
        self.source.clear();
        parts.iter().step_by(2).for_each(|constant| self.source.push(constant));
        if self.source.bytes.len() > MAX_CONSTANT_BYTES || edits.is_some_and(|edits| !self.learn_target(&parts, edits)) {
            self.target.clear();
            return;
        }
        self.counted.extend(texts.iter().map(|(_, counted)| *counted));
    }

    /// Applies `edits` to the parts, of which every second is a text. `false` when an edit touches a text.
    fn learn_target(&mut self, parts: &[&[u8]], edits: &Edits) -> bool {
        let mut pieces = Vec::new();
        if edits.apply_slices(parts, &mut pieces).is_err() {
            return false;
        }
        let mut constant = Vec::new();
        let mut next_text = 1;
        for piece in pieces {
            match piece {
                Piece::New { range } => constant.extend_from_slice(&edits.new_bytes()[range]),
                Piece::Original { frame, range } if frame % 2 == 0 => constant.extend_from_slice(&parts[frame][range]),
                Piece::Original { frame, range } => {
                    if frame != next_text || range != (0..parts[frame].len()) {
                        return false;
                    }
                    self.target.push(&constant);
                    constant.clear();
                    next_text += 2;
                }
            }
        }
        self.target.push(&constant);
        self.target.ends.len() == self.source.ends.len()
    }
}

/// `event` as constant, text, constant, …, constant. `None` when the texts are not in order.
fn cut<'e>(event: &'e [u8], texts: &[(Range<usize>, bool)]) -> Option<Vec<&'e [u8]>> {
    let mut parts = Vec::with_capacity(texts.len() * 2 + 1);
    let mut at = 0;
    for (text, _) in texts {
        parts.push(event.get(at..text.start)?);
        parts.push(event.get(text.clone())?);
        at = text.end;
    }
    parts.push(event.get(at..)?);
    Some(parts)
}

/// Several byte strings in one buffer.
#[derive(Debug, Default)]
struct Constants {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Constants {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn push(&mut self, constant: &[u8]) {
        self.bytes.extend_from_slice(constant);
        self.ends.push(self.bytes.len());
    }

    fn constant(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[number]]
    }

    /// Calls `each` with the texts between the constants. `None` when `event` is not made of them.
    #[inline]
    fn texts(&self, event: &[u8], mut each: impl FnMut(usize, &[u8])) -> Option<()> {
        let mut rest = event.strip_prefix(self.constant(0))?;
        for number in 1..self.ends.len() {
            let end = text_end(rest)?;
            let (text, after) = rest.split_at(end);
            rest = after.strip_prefix(self.constant(number))?;
            each(number - 1, text);
        }
        rest.is_empty().then_some(())
    }
}

/// Where the string that begins at the start of `bytes` meets its closing quote.
#[inline]
pub(crate) fn text_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn learned(edits: Option<&Edits>) -> Template {
        let mut template = Template::default();
        template.learn(br#"{"id":1,"a":"xy","b":"z"}"#, &[(13..15, true), (22..23, false)], edits);
        template
    }

    fn check(event: &str, bytes: Option<u64>, rendered: Option<&str>) {
        let mut edits = Edits::new();
        edits.replace(6..7, b"22").unwrap();
        edits.insert(24, b",\"c\":3").unwrap();
        let mut template = learned(Some(&edits));
        assert_eq!(template.matches(event.as_bytes()), bytes, "{event}");
        let mut out = b"kept".to_vec();
        assert_eq!(template.render(event.as_bytes(), &mut out), rendered.is_some(), "{event}");
        assert_eq!(std::str::from_utf8(&out).unwrap(), format!("kept{}", rendered.unwrap_or_default()));
        assert_eq!(learned(None).matches(event.as_bytes()), bytes, "{event}");
    }

    #[test]
    fn frames_that_differ_in_texts_only() {
        check(r#"{"id":1,"a":"xy","b":"z"}"#, Some(2), Some(r#"{"id":22,"a":"xy","b":"z","c":3}"#));
        check(r#"{"id":1,"a":"","b":""}"#, Some(0), Some(r#"{"id":22,"a":"","b":"","c":3}"#));
        check(r#"{"id":1,"a":"\"\\","b":"é"}"#, Some(4), Some(r#"{"id":22,"a":"\"\\","b":"é","c":3}"#));
    }

    #[test]
    fn other_frames() {
        for event in [
            r#"{"id":2,"a":"xy","b":"z"}"#,
            r#"{"id":1,"a":"xy","c":"z"}"#,
            r#"{"id":1,"a":"x"y","b":"z"}"#,
            r#"{"id":1,"a":"xy\","b":"z"}"#,
            r#"{"id":1,"a":"xy","b":"z"}}"#,
            r#"{"id":1,"a":"xy","b":"z"#,
            r#"{"id":1,"a":"xy","b":"z\"#,
            "",
        ] {
            check(event, None, None);
        }
    }

    #[test]
    fn a_template_without_edits_renders_nothing() {
        assert!(!learned(None).render(br#"{"id":1,"a":"xy","b":"z"}"#, &mut Vec::new()));
        assert_eq!(Template::default().matches(b""), None);
    }

    #[test]
    fn learning_stops_when_it_does_not_pay() {
        let mut template = Template::default();
        for _ in 0..MAX_VAIN_LESSONS {
            assert!(template.is_curious());
            template.learn(b"\"x\"", &[(1..2, true)], None);
        }
        assert!(!template.is_curious());
        for _ in 0..MAX_VAIN_LESSONS {
            assert_eq!(template.matches(b"\"y\""), Some(1));
        }
        assert!(template.is_curious());
    }
}
