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

/// Whether these bytes can stand between the quotes of a JSON string: UTF-8, whole escapes, no quote and no control character.
/// Halves of surrogate pairs may: a provider splits pairs over two deltas.
pub(crate) fn is_sound(inside: &[u8]) -> bool {
    let (mut at, mut high) = (0, false);
    while let Some(&byte) = inside.get(at) {
        at += match byte {
            b'\\' => match inside.get(at + 1) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
                Some(b'u') if inside.get(at + 2..at + 6).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) => 6,
                _ => return false,
            },
            b'"' | 0..0x20 => return false,
            _ => {
                high |= byte >= 0x80;
                1
            }
        };
    }
    !high || simdutf8::basic::from_utf8(inside).is_ok()
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

    #[test]
    fn what_may_stand_between_quotes() {
        for (inside, sound) in [
            (&b""[..], true),
            (b"a \xc3\xa9 /", true),
            (br#"\" \\ \/ \b\f\n\r\t \u00e9"#, true),
            (br"\ud83d", true),
            (br"\ude00", true),
            (b"\"", false),
            (b"\n", false),
            (b"\\", false),
            (br"\x", false),
            (br"\u00g0", false),
            (br"\u00e", false),
            (b"\xc3", false),
        ] {
            assert_eq!(is_sound(inside), sound, "{inside:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_escaped_is_sound(plain in any::<String>(), bytes in any::<Vec<u8>>()) {
            prop_assert!(is_sound(escape(&plain).as_bytes()));
            // Where it is a whole text, a parser agrees.
            let quoted = [b"\"", &bytes[..], b"\""].concat();
            if serde_json::from_slice::<String>(&quoted).is_ok() {
                prop_assert!(is_sound(&bytes));
            }
        }

        #[test]
        fn what_was_escaped_is_decoded(plain in any::<String>()) {
            let escaped = escape(&plain);
            prop_assert_eq!(decode(&escaped).unwrap(), &*plain);
        }
    }
}
