//! Ordinary chunks, which differ from one another in one text and in figures only: recognised without being read.

use core::ops::Range;

use crate::json::Kind;
use crate::json::walk::{self, Cursor};
use crate::text::is_sound;
use memchr::memchr;

/// After so many chunks that were no use, no more are learned from.
const MAX_LESSONS: u8 = 8;
/// What stands around text and figures is kept up to this length.
const MAX_KEPT_BYTES: usize = 4096;

/// What is known of the ordinary chunks of a stream.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    known: Option<Shape>,
    lessons: u8,
}

/// The bytes of a chunk around its text and its figures.
#[derive(Debug)]
struct Shape {
    /// Up to the text, its quote included.
    head: Vec<u8>,
    /// From the quote behind the text up to the figures, or to the end.
    middle: Vec<u8>,
    /// Behind the figures; `None` where the chunk has none.
    tail: Option<Vec<u8>>,
    choice: u64,
    thought: bool,
}

/// What an ordinary chunk says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ordinary<'a> {
    pub(super) choice: u64,
    pub(super) thought: bool,
    /// The inside of the text's quotes, sound.
    pub(super) text: &'a [u8],
    /// What stands where the object of the figures is looked for: anything.
    pub(super) usage: Option<&'a [u8]>,
}

impl Shapes {
    /// What the chunk says, if it is like the one that was learned.
    #[inline]
    pub(super) fn read<'a>(&self, data: &'a [u8]) -> Option<Ordinary<'a>> {
        let shape = self.known.as_ref()?;
        let from = shape.head.len();
        if !data.starts_with(&shape.head) {
            return None;
        }
        let text = inside(data.get(from - 1..)?)?;
        let behind = data.get(from + text.len()..)?.strip_prefix(shape.middle.as_slice())?;
        let usage = match &shape.tail {
            Some(tail) => Some(behind.strip_suffix(tail.as_slice())?),
            None => {
                if !behind.is_empty() {
                    return None;
                }
                None
            }
        };
        Some(Ordinary { choice: shape.choice, thought: shape.thought, text, usage })
    }

    /// Looks at a chunk that was read and is JSON: is it an ordinary one?
    pub(super) fn learn(&mut self, data: &[u8]) {
        if self.lessons == MAX_LESSONS {
            return;
        }
        self.lessons += 1;
        if let Some(shape) = Shape::of(data) {
            self.known = Some(shape);
        }
    }
}

/// The inside of the string that begins with this quote, if it is sound.
fn inside(quoted: &[u8]) -> Option<&[u8]> {
    let [b'"', text @ .., b'"'] = Cursor::new(quoted).skip().ok()? else { return None };
    let sound = if memchr(b'\\', text).is_none() { simdutf8::basic::from_utf8(text).is_ok() } else { is_sound(text) };
    sound.then_some(text)
}

impl Shape {
    fn of(data: &[u8]) -> Option<Shape> {
        let (mut candidates, mut usage) = (None, None);
        for member in walk::members(data) {
            let member = member.ok()?;
            match (member.key, member.kind) {
                (b"candidates", Kind::Array) if candidates.is_none() => candidates = Some(member.value_range),
                (b"usageMetadata", Kind::Object) if usage.is_none() => usage = Some(member.value_range),
                (b"modelVersion" | b"responseId" | b"createTime", Kind::String) => {}
                _ => return None,
            }
        }
        let candidate = only(data, candidates?)?;
        let (mut content, mut choice) = (None, 0);
        for member in walk::members(&data[candidate.clone()]) {
            let member = member.ok()?;
            match (member.key, member.kind) {
                (b"content", Kind::Object) if content.is_none() => content = Some(within(&candidate, &member.value_range)),
                (b"index", Kind::Number) => choice = walk::as_u64(member.value)?,
                _ => return None,
            }
        }
        let (text, thought) = text_of(data, content?)?;
        let usage_start = usage.as_ref().map_or(data.len(), |usage| usage.start);
        let middle = data.get(text.end..usage_start)?.to_vec();
        let tail = usage.map(|usage| data[usage.end..].to_vec());
        let kept = text.start + middle.len() + tail.as_ref().map_or(0, Vec::len);
        (kept <= MAX_KEPT_BYTES).then(|| Shape { head: data[..text.start].to_vec(), middle, tail, choice, thought })
    }
}

/// The text of a content of one part, between its quotes, and whether it is a thought.
fn text_of(data: &[u8], content: Range<usize>) -> Option<(Range<usize>, bool)> {
    let mut parts = None;
    for member in walk::members(&data[content.clone()]) {
        let member = member.ok()?;
        match (member.key, member.kind) {
            (b"parts", Kind::Array) if parts.is_none() => parts = Some(within(&content, &member.value_range)),
            (b"role", Kind::String) => {}
            _ => return None,
        }
    }
    let part = only(data, parts?)?;
    let (mut text, mut thought) = (None, false);
    for member in walk::members(&data[part.clone()]) {
        let member = member.ok()?;
        match (member.key, member.kind) {
            (b"text", Kind::String) if text.is_none() => text = Some(within(&part, &member.value_range)),
            (b"thought", Kind::True) => thought = true,
            _ => return None,
        }
    }
    let quoted = text?;
    Some((quoted.start + 1..quoted.end - 1, thought))
}

/// The only element of the array at `array`, if it is an object.
fn only(data: &[u8], array: Range<usize>) -> Option<Range<usize>> {
    let mut elements = walk::elements(&data[array.clone()]);
    let element = elements.next()?.ok()?;
    (elements.next().is_none() && element.kind == Kind::Object).then(|| within(&array, &element.value_range))
}

fn within(outer: &Range<usize>, inner: &Range<usize>) -> Range<usize> {
    outer.start + inner.start..outer.start + inner.end
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const CHUNK: &str = r#"{"candidates": [{"content": {"parts": [{"text": "a\n","thought":true}],"role": "model"},"index": 1}],"usageMetadata": {"promptTokenCount": 4},"modelVersion": "m"}"#;

    #[test]
    fn a_chunk_like_the_one_before_is_recognised() {
        let mut shapes = Shapes::default();
        assert_eq!(shapes.read(CHUNK.as_bytes()), None);
        shapes.learn(CHUNK.as_bytes());
        let like = CHUNK.replace(r"a\n", r#"b \"c\" \ud83d"#).replace('4', "5,\"x\":[{}]");
        let read = shapes.read(like.as_bytes()).unwrap();
        let expected =
            Ordinary { choice: 1, thought: true, text: br#"b \"c\" \ud83d"#, usage: Some(br#"{"promptTokenCount": 5,"x":[{}]}"#) };
        assert_eq!(read, expected);
        for unlike in [
            CHUNK.replace("parts", "other"),
            CHUNK.replace("index", "other"),
            CHUNK.replace(r"a\n", r"\x"),
            CHUNK.replace(r"a\n", "\n"),
            CHUNK.replace("thought\":true", "thought\":false"),
            CHUNK.replace("\"m\"", "\"n\""),
            CHUNK.replace("}],\"usage", "},{}],\"usage"),
            CHUNK[..CHUNK.len() - 1].to_owned(),
        ] {
            assert_eq!(shapes.read(unlike.as_bytes()), None, "{unlike}");
        }
    }

    #[test]
    fn only_ordinary_chunks_are_learned_and_few_are_looked_at() {
        let mut shapes = Shapes::default();
        for other in [
            r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"a","thoughtSignature":"s"}]}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"a"},{"text":"b"}]}}]}"#,
            r#"{"candidates":[],"error":{}}"#,
        ] {
            shapes.learn(other.as_bytes());
            assert!(shapes.known.is_none(), "{other}");
        }
        (0..4).for_each(|_| shapes.learn(b"{}"));
        shapes.learn(CHUNK.as_bytes());
        assert!(shapes.known.is_none());
    }
}
