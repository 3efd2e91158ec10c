//! Texts between their two spellings: escaped, as they stand in JSON, and plain.

use std::borrow::Cow;

use fairlead_ir::{Raw, Text};

use crate::json::is_complete;
use crate::json::walk::{unescape, write_string};

/// `plain` as it stands between the quotes of a JSON string.
pub fn escape(plain: &str) -> Text<'_> {
    let mut quoted = Vec::with_capacity(plain.len() + 2);
    write_string(&mut quoted, plain);
    if quoted.len() == plain.len() + 2 {
        return Text::escaped(plain.as_bytes());
    }
    quoted.pop();
    quoted.remove(0);
    Text::owned(quoted)
}

/// What the text means. `None` when it holds half of a surrogate pair or is no valid text.
pub fn decode<'t>(text: &'t Text<'_>) -> Option<Cow<'t, str>> {
    unescape(text.as_bytes())
}

/// A JSON value as the text of a JSON string: how OpenAI's dialects carry arguments.
pub fn quote(value: &Raw<'_>) -> Text<'static> {
    // Values were validated as JSON, hence as UTF-8, when they were read.
    escape(&String::from_utf8_lossy(value.as_bytes())).into_owned()
}

/// The JSON value that a text holds. `None` when it holds none; an empty text is no value.
pub fn unquote(text: &Text<'_>) -> Option<Raw<'static>> {
    let plain = decode(text)?;
    let plain = plain.trim_matches([' ', '\t', '\n', '\r']);
    is_complete(plain.as_bytes()).then(|| Raw::owned(plain.as_bytes().to_vec()))
}

/// Several texts as one, with `between` (escaped) between them.
pub(crate) fn join<'a>(texts: impl IntoIterator<Item = &'a Text<'a>>, between: &str) -> Text<'static> {
    let mut joined = Vec::new();
    for (index, text) in texts.into_iter().enumerate() {
        if index > 0 {
            joined.extend_from_slice(between.as_bytes());
        }
        joined.extend_from_slice(text.as_bytes());
    }
    Text::owned(joined)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn arguments_move_between_text_and_value() {
        for (value, text) in [("{}", "{}"), (r#"{"a":"b\n"}"#, r#"{\"a\":\"b\\n\"}"#), ("[1, 2]", "[1, 2]"), ("\"ü\"", r#"\"ü\""#)] {
            assert_eq!(quote(&Raw::json(value.as_bytes())), Text::escaped(text.as_bytes()));
            assert_eq!(unquote(&Text::escaped(text.as_bytes())), Some(Raw::json(value.as_bytes())));
        }
        for text in ["", " ", "{", r#"{\"a\":}"#, r"\ud83d", "{} {}"] {
            assert_eq!(unquote(&Text::escaped(text.as_bytes())), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_was_escaped_is_decoded(plain in any::<String>()) {
            let escaped = escape(&plain);
            prop_assert_eq!(decode(&escaped).unwrap(), &*plain);
        }
    }
}
