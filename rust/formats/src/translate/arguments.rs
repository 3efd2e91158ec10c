//! What a tool is given: an object in some dialects, other things elsewhere.

use fairlead_ir::block::Arguments;
use fairlead_ir::{Raw, Text};

use crate::text::{is_blank, unquote};
use crate::write::{Object, write_escaped};

/// The `input` of a call, which must be an object, and whether the arguments were one. What is none stands under `_raw`; free text
/// stands under `input`, as the tool was offered.
pub(crate) fn as_object<'r>(arguments: &'r Arguments<'_>) -> (Raw<'r>, bool) {
    match arguments {
        Arguments::Json(raw) => object(raw.borrowed()),
        Arguments::Free(text) => (wrapped("input", text), true),
        Arguments::Quoted(text) if is_empty_object(text) => (Raw::json(b"{}"), true),
        Arguments::Quoted(text) => match unquote(text) {
            Some(raw) => object(raw),
            None => (wrapped("_raw", text), false),
        },
    }
}

fn object(raw: Raw<'_>) -> (Raw<'_>, bool) {
    match raw.as_bytes() {
        [b'{', ..] => (raw, true),
        b"null" => (Raw::json(b"{}"), true),
        other => {
            let mut json = Vec::with_capacity(other.len() + 10);
            let mut object = Object::open(&mut json);
            object.raw("_raw", other);
            object.close();
            (Raw::owned(json), false)
        }
    }
}

/// Models that have nothing to say write nothing.
fn is_empty_object(text: &Text<'_>) -> bool {
    text.is("{}") || is_blank(text)
}

fn wrapped(key: &str, text: &Text<'_>) -> Raw<'static> {
    let mut json = Vec::with_capacity(text.as_bytes().len() + key.len() + 8);
    let mut object = Object::open(&mut json);
    write_escaped(object.key(key), text);
    object.close();
    Raw::owned(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: Arguments<'_>, expected: &str, was_object: bool) {
        assert_eq!(as_object(&arguments), (Raw::json(expected.as_bytes()), was_object), "{arguments:?}");
    }

    #[test]
    fn whatever_a_model_wrote_becomes_an_object() {
        check(Arguments::Json(Raw::json(br#"{"a": 1}"#)), r#"{"a": 1}"#, true);
        check(Arguments::Json(Raw::json(b"null")), "{}", true);
        check(Arguments::Json(Raw::json(b"[1]")), r#"{"_raw":[1]}"#, false);
        check(Arguments::Quoted(Text::escaped(br#"{\"a\":\"b\\n\"}"#)), r#"{"a":"b\n"}"#, true);
        check(Arguments::Quoted(Text::EMPTY), "{}", true);
        check(Arguments::Quoted(Text::escaped(br" \n")), "{}", true);
        check(Arguments::Quoted(Text::word(" null ")), "{}", true);
        check(Arguments::Quoted(Text::escaped(br#"{\"a\":"#)), r#"{"_raw":"{\"a\":"}"#, false);
        check(Arguments::Quoted(Text::word("3")), r#"{"_raw":3}"#, false);
        check(Arguments::Quoted(Text::word("[1]")), r#"{"_raw":[1]}"#, false);
        check(Arguments::Free(Text::escaped(br"*** Begin\n")), r#"{"input":"*** Begin\n"}"#, true);
    }
}
