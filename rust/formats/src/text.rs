//! Texts between their two spellings: escaped, as they stand in JSON, and plain.

use std::borrow::Cow;

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
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

/// Padding may be there or not, and bits behind the last byte say nothing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
);

/// The bytes that a text in base64 of either alphabet means; slashes may be escaped. `None` when it is none.
pub(crate) fn base64_bytes(text: &Text<'_>) -> Option<Vec<u8>> {
    let usual = |byte: &u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => *byte,
    };
    let plain: Vec<u8> = text.as_bytes().iter().filter(|byte| **byte != b'\\').map(usual).collect();
    BASE64.decode(plain).ok()
}

/// Bytes as a text in base64.
pub(crate) fn base64_text(bytes: &[u8]) -> Text<'static> {
    Text::owned(BASE64.encode(bytes).into_bytes())
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

/// Whether there is nothing but white space.
pub(crate) fn is_blank(text: &Text<'_>) -> bool {
    trimmed_len(text.as_bytes()) == 0
}

/// The text without white space behind it.
pub(crate) fn trim_end<'t>(text: &'t Text<'_>) -> Text<'t> {
    Text::escaped(&text.as_bytes()[..trimmed_len(text.as_bytes())])
}

fn trimmed_len(escaped: &[u8]) -> usize {
    let mut end = escaped.len();
    loop {
        end -= match &escaped[..end] {
            [.., b' '] => 1,
            [before @ .., b'\\', b'n' | b'r' | b't' | b'f'] if ends_plain(before) => 2,
            [before @ .., b'\\', b'u', a, b, c, d] if ends_plain(before) && is_space_code(&[*a, *b, *c, *d]) => 6,
            [.., last] if !last.is_ascii() => match space_behind(&escaped[..end]) {
                Some(length) => length,
                None => return end,
            },
            _ => return end,
        };
    }
}

/// Whether a backslash behind these bytes begins an escape, and is not escaped itself.
fn ends_plain(escaped: &[u8]) -> bool {
    escaped.iter().rev().take_while(|byte| **byte == b'\\').count().is_multiple_of(2)
}

fn is_space_code(hex: &[u8]) -> bool {
    let code = std::str::from_utf8(hex).ok().and_then(|hex| u32::from_str_radix(hex, 16).ok());
    code.and_then(char::from_u32).is_some_and(char::is_whitespace)
}

/// The bytes of the white space outside ASCII that the text ends with.
fn space_behind(text: &[u8]) -> Option<usize> {
    let is_space = |length: &usize| {
        let last = text.len().checked_sub(*length).and_then(|from| std::str::from_utf8(&text[from..]).ok());
        last.is_some_and(|last| last.chars().all(char::is_whitespace))
    };
    [2, 3].into_iter().find(is_space)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn base64_is_read_in_all_its_spellings() {
        for (base64, bytes) in [
            ("", Some(&b""[..])),
            ("Zg==", Some(b"f")),
            ("Zg", Some(b"f")),
            ("Zm8=", Some(b"fo")),
            ("Zm9v", Some(b"foo")),
            ("Zm9vYg==", Some(b"foob")),
            ("Pz8+", Some(b"??>")),
            ("Pz8-", Some(b"??>")),
            (r"Pz8\/", Some(b"???")),
            ("Pz8_", Some(b"???")),
            ("Zh==", Some(b"f")),
            ("a b", None),
        ] {
            assert_eq!(base64_bytes(&Text::word(base64)).as_deref(), bytes, "{base64}");
        }
        assert_eq!(base64_text(b"foob"), Text::word("Zm9vYg=="));
    }

    #[test]
    fn white_space_is_found_behind_its_escapes() {
        for (text, trimmed) in [
            ("", ""),
            (" ", ""),
            ("a", "a"),
            ("a ", "a"),
            (" a", " a"),
            (r"\n\t \r\f", ""),
            (r"a\n\n", "a"),
            (r"a\\n", r"a\\n"),
            (r"a\\\n", r"a\\"),
            (r"\\", r"\\"),
            (r"a\u00a0", "a"),
            (r"a\\u00a0", r"a\\u00a0"),
            (r"a\u00e9", r"a\u00e9"),
            (r"a\ud83d", r"a\ud83d"),
            ("a\u{a0}\u{3000} ", "a"),
            ("aé", "aé"),
            (r"\t\u0020", ""),
        ] {
            assert_eq!(trim_end(&Text::escaped(text.as_bytes())), Text::escaped(trimmed.as_bytes()), "{text}");
            assert_eq!(is_blank(&Text::escaped(text.as_bytes())), trimmed.is_empty(), "{text}");
        }
    }

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
