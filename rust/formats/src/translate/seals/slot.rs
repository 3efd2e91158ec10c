//! Where in a reply a seal was, and on what: enough to put it back although a client took the reply apart.
//!
//! Texts are measured in UTF-16 units: the same number however a text is escaped, and additive even where a stream splits a surrogate
//! pair over two pieces.

use fairlead_ir::block::{Thought, ThoughtPart, ThoughtShape};
use fairlead_ir::{Block, Kind, Text};

use crate::text::join;

/// Where a block stood in its reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The block's number.
    pub(super) ordinal: u32,
    /// Units of all texts before it.
    pub(super) text_units: u64,
    /// Calls before it.
    pub(super) calls: u32,
}

/// What a seal was on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A thought: whether its text was hidden, its id, and shape and units of its parts.
    Thought { redacted: bool, id: Option<Text<'static>>, parts: Vec<(ThoughtShape, u64)> },
    /// A text of so many units.
    Text { units: u64 },
    /// The call with this id.
    Call { id: Text<'static> },
    /// Media, a refusal, or what only the maker's dialect knows.
    Other,
}

/// Both of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) place: Place,
    pub(super) shape: Shape,
}

impl Place {
    /// Steps behind `block`.
    pub(super) fn pass(&mut self, block: &Block<'_>) {
        self.ordinal = self.ordinal.saturating_add(1);
        match &block.kind {
            Kind::Text { text, .. } => self.text_units += units(text),
            Kind::ToolCall(_) => self.calls = self.calls.saturating_add(1),
            _ => {}
        }
    }
}

impl Shape {
    pub(super) fn of(block: &Block<'_>) -> Shape {
        match &block.kind {
            Kind::Thought(thought) => Shape::Thought {
                redacted: thought.redacted,
                id: thought.id.clone().map(Text::into_owned),
                parts: thought.parts.iter().map(|part| (part.shape, units(&part.text))).collect(),
            },
            Kind::Text { text, .. } => Shape::Text { units: units(text) },
            Kind::ToolCall(call) => Shape::Call { id: call.id.clone().into_owned() },
            _ => Shape::Other,
        }
    }
}

/// UTF-16 units of a text.
pub(super) fn units(text: &Text<'_>) -> u64 {
    let (bytes, mut at, mut count) = (text.as_bytes(), 0, 0);
    while let Some(byte) = bytes.get(at) {
        let (length, more) = step(*byte, bytes.get(at + 1));
        at += length;
        count += more;
    }
    count
}

/// The text up to so many units, and the rest. `None` where there are not so many, or a character would be cut.
pub(super) fn cut<'a>(text: &Text<'a>, wanted: u64) -> Option<(Text<'a>, Text<'a>)> {
    let (bytes, mut at, mut count) = (text.as_bytes(), 0, 0);
    while count < wanted {
        let (length, more) = step(*bytes.get(at)?, bytes.get(at + 1));
        at += length;
        count += more;
    }
    // The bytes of the last character that were not stepped over yet.
    while bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80) {
        at += 1;
    }
    let splits_pair = matches!(bytes.get(at..at + 4), Some([b'\\', b'u', b'd' | b'D', b'c'..=b'f' | b'C'..=b'F'])) && at > 0;
    (count == wanted && !splits_pair).then(|| (text.piece(0..at), text.piece(at..bytes.len())))
}

/// Bytes and units of what begins with `byte`. A character's units come with its first byte.
fn step(byte: u8, next: Option<&u8>) -> (usize, u64) {
    match (byte, next) {
        (b'\\', Some(b'u')) => (6, 1),
        (b'\\', _) => (2, 1),
        (0x80..=0xbf, _) => (1, 0),
        (0xf0..=0xff, _) => (1, 2),
        _ => (1, 1),
    }
}

/// Gives a thought the parts that it had, out of texts that came back joined, split, or with a blank line between them.
/// `false`: they are not the texts that were sent; they stay as they came.
pub(super) fn regroup(thought: &mut Thought<'_>, wanted: &[(ThoughtShape, u64)]) -> bool {
    let are = thought.parts.iter().map(|part| units(&part.text));
    if are.eq(wanted.iter().map(|(_, units)| *units)) {
        thought.parts.iter_mut().zip(wanted).for_each(|(part, (shape, _))| part.shape = *shape);
        return true;
    }
    let whole = join(thought.parts.iter().map(|part| &part.text), "");
    match split(&whole, wanted, 0).or_else(|| split(&whole, wanted, BLANK_LINE_UNITS)) {
        Some(parts) => {
            thought.parts = parts;
            true
        }
        None => {
            if let [(shape, _), ..] = wanted {
                thought.parts.iter_mut().for_each(|part| part.shape = *shape);
            }
            false
        }
    }
}

/// What dialects without parts of thoughts write between two of them: `\n\n`.
const BLANK_LINE_UNITS: u64 = 2;

fn split(whole: &Text<'_>, wanted: &[(ThoughtShape, u64)], between: u64) -> Option<Vec<ThoughtPart<'static>>> {
    let mut rest = whole.clone().into_owned();
    let mut parts = Vec::with_capacity(wanted.len().min(64));
    for (number, (shape, units)) in wanted.iter().enumerate() {
        let skipped = if number == 0 { 0 } else { between };
        let (separator, behind) = cut(&rest, skipped)?;
        let (text, behind) = cut(&behind, *units)?;
        if skipped > 0 && separator != Text::word(r"\n\n") {
            return None;
        }
        parts.push(ThoughtPart { shape: *shape, text });
        rest = behind;
    }
    rest.is_empty().then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_those_of_utf_16() {
        for (text, count) in
            [("", 0), ("ab", 2), ("é\u{1f600}", 3), (r#"\n\"\\"#, 3), (r"\u00e9x", 2), (r"\ud83d\ude00", 2), (r"\ud83d", 1)]
        {
            assert_eq!(units(&Text::word(text)), count, "{text}");
        }
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let check = |text: &'static str, at, expected: Option<(&'static str, &'static str)>| {
            let expected = expected.map(|(before, behind)| (Text::word(before), Text::word(behind)));
            assert_eq!(cut(&Text::word(text), at), expected, "{text} at {at}");
        };
        check("", 0, Some(("", "")));
        check("ab", 1, Some(("a", "b")));
        check("éa", 1, Some(("é", "a")));
        check(r"\n\u00e9a", 2, Some((r"\n\u00e9", "a")));
        check("\u{1f600}a", 2, Some(("\u{1f600}", "a")));
        check("\u{1f600}a", 1, None);
        check(r"\ud83d\ude00", 1, None);
        check("a", 2, None);
    }

    #[test]
    fn parts_of_thoughts_are_found_again() {
        use ThoughtShape::{Full, Summary};
        let part = |shape, text| ThoughtPart { shape, text: Text::word(text) };
        let check = |parts: Vec<ThoughtPart<'static>>, wanted: &[(ThoughtShape, u64)], expected: Option<Vec<ThoughtPart<'static>>>| {
            let mut thought = Thought { parts: parts.clone(), ..Thought::default() };
            assert_eq!(regroup(&mut thought, wanted), expected.is_some(), "{parts:?}");
            assert_eq!(thought.parts, expected.unwrap_or(parts));
        };
        let two = vec![part(Summary, "ab"), part(Summary, "c")];
        let wanted = &[(Summary, 2), (Summary, 1)][..];
        check(vec![part(Full, "ab"), part(Full, "c")], wanted, Some(two.clone()));
        check(vec![part(Summary, "abc")], wanted, Some(two.clone()));
        check(vec![part(Full, r"ab\n\nc")], wanted, Some(two));
        check(vec![part(Summary, "abcd")], wanted, None);
        check(vec![part(Summary, r"ab\nxc")], wanted, None);
        check(vec![], &[], Some(vec![]));
        check(vec![part(Full, "a"), part(Full, "b")], &[(Full, 2)], Some(vec![part(Full, "ab")]));
    }

    proptest! {
        #[test]
        fn any_cut_is_one_of_two_texts(text in any::<String>(), at in 0_u64..40) {
            let escaped = crate::text::escape(&text);
            prop_assert_eq!(units(&escaped), text.encode_utf16().count() as u64);
            if let Some((before, behind)) = cut(&escaped, at) {
                prop_assert_eq!(units(&before), at);
                prop_assert_eq!([before.as_bytes(), behind.as_bytes()].concat(), escaped.as_bytes());
                prop_assert!(crate::text::decode(&before).is_some() && crate::text::decode(&behind).is_some());
            } else {
                let wide: Vec<u16> = text.encode_utf16().collect();
                let splits = wide.get(at as usize).is_some_and(|unit| (0xdc00..0xe000).contains(unit));
                prop_assert!(at > wide.len() as u64 || splits);
            }
        }

        #[test]
        fn nothing_panics_on_what_is_no_text(bytes in any::<Vec<u8>>(), at in 0_u64..40) {
            let text = Text::escaped(&bytes);
            units(&text);
            cut(&text, at);
        }
    }
}
