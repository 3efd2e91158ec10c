//! JSON text that moves from one dialect to another as it was written.
//!
//! Every dialect writes its texts as JSON strings, so that a text can be moved without decoding and encoding its escapes. It also
//! survives that way: halves of a surrogate pair that a provider splits over two deltas cannot be held by a `str`.

use std::borrow::Cow;
use std::ops::Range;

use crate::loss::Severity;

/// The inside of a JSON string as written: no quotes, escapes not decoded. Two texts that mean the same may differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Text<'a>(Cow<'a, [u8]>);

/// A JSON value as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Raw<'a>(Cow<'a, [u8]>);

/// A member of an object that the reader of a dialect did not know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member<'a> {
    /// Its name as written.
    pub name: Text<'a>,
    /// Its value.
    pub value: Raw<'a>,
}

impl Member<'_> {
    /// How much it matters that it finds no place: one that is empty asks for nothing, and some say nothing to the model.
    pub fn loss(&self) -> Severity {
        let is_empty = matches!(self.value.as_bytes(), b"null" | b"false" | b"\"\"" | b"[]" | b"{}");
        let is_label = ["client_metadata", "phase"].iter().any(|label| self.name.is(label));
        if is_empty || is_label { Severity::Hint } else { Severity::Dropped }
    }
}

impl<'a> Text<'a> {
    /// No text.
    pub const EMPTY: Text<'static> = Text(Cow::Borrowed(&[]));

    /// What stood between the quotes of a JSON string.
    pub const fn escaped(inside: &'a [u8]) -> Text<'a> {
        Text(Cow::Borrowed(inside))
    }

    /// As [`Text::escaped`], owned.
    pub const fn owned(inside: Vec<u8>) -> Text<'static> {
        Text(Cow::Owned(inside))
    }

    /// A word of our own that needs no escapes: letters, digits and signs other than `"` and `\`.
    pub const fn word(word: &'a str) -> Text<'a> {
        Text::escaped(word.as_bytes())
    }

    /// As written, escapes not decoded.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is nothing between the quotes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is `word`, written without escapes.
    pub fn is(&self, word: &str) -> bool {
        *self.0 == *word.as_bytes()
    }

    /// A piece of it, by bytes as written; no text where the range does not lie in it. It must not cut a character or an escape.
    pub fn piece(&self, range: Range<usize>) -> Text<'a> {
        match &self.0 {
            Cow::Borrowed(inside) => Text(Cow::Borrowed(inside.get(range).unwrap_or_default())),
            Cow::Owned(inside) => Text(Cow::Owned(inside.get(range).unwrap_or_default().to_vec())),
        }
    }

    /// The same text, borrowed from this one.
    pub fn borrowed(&self) -> Text<'_> {
        Text(Cow::Borrowed(&self.0))
    }

    /// The same text, free of what it was read from.
    pub fn into_owned(self) -> Text<'static> {
        Text(Cow::Owned(self.0.into_owned()))
    }
}

impl<'a> Raw<'a> {
    /// A value as written; must be one JSON value without white space around it.
    pub const fn json(value: &'a [u8]) -> Raw<'a> {
        Raw(Cow::Borrowed(value))
    }

    /// As [`Raw::json`], owned.
    pub const fn owned(value: Vec<u8>) -> Raw<'static> {
        Raw(Cow::Owned(value))
    }

    /// As written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is written exactly like `json`.
    pub fn is(&self, json: &str) -> bool {
        *self.0 == *json.as_bytes()
    }

    /// The same value, borrowed from this one.
    pub fn borrowed(&self) -> Raw<'_> {
        Raw(Cow::Borrowed(&self.0))
    }

    /// The same value, free of what it was read from.
    pub fn into_owned(self) -> Raw<'static> {
        Raw(Cow::Owned(self.0.into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asks_for_nothing_is_missed_by_nobody() {
        let check = |name: &'static str, value: &'static str, loss| {
            let member = Member { name: Text::word(name), value: Raw::json(value.as_bytes()) };
            assert_eq!(member.loss(), loss, "{name} {value}");
        };
        check("mcp_servers", "[]", Severity::Hint);
        check("container", "null", Severity::Hint);
        check("client_metadata", r#"{"a":"b"}"#, Severity::Hint);
        check("mcp_servers", "[1]", Severity::Dropped);
        check("speed", r#""fast""#, Severity::Dropped);
    }

    #[test]
    fn pieces_of_texts() {
        let text = Text::word("data:x");
        for text in [text.borrowed(), text.clone().into_owned()] {
            assert_eq!(text.piece(5..6), Text::word("x"));
            assert_eq!(text.piece(6..6), Text::EMPTY);
            assert_eq!(text.piece(5..7), Text::EMPTY);
        }
    }
}
