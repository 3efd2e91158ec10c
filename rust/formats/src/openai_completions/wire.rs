//! Probabilities of tokens as completions have them: four lists beside each other, where chat has one list of objects.

use fairlead_ir::{Raw, Text};

use crate::json::Kind;
use crate::openai_chat::wire::citations::characters;
use crate::read::{Malformed, Reader};
use crate::write::{Object, write_escaped, write_number};

/// A token with the logarithm of its probability, as written.
struct Token<'a> {
    token: Text<'a>,
    logprob: Raw<'a>,
    top: Vec<Token<'a>>,
}

/// Appends chat's `logprobs` in the old form; `null` where they are none, or not of chat's shape.
///
/// `offset` is how many characters of the reply's text came before, and moves on. Alternatives that are written alike (parts of one
/// character) are one member: the likelier, which comes first.
pub(crate) fn write_logprobs(logprobs: Option<&Raw<'_>>, offset: &mut u64, out: &mut Vec<u8>) {
    match logprobs.map(read).transpose() {
        Ok(Some(tokens)) if !tokens.is_empty() => write(&tokens, offset, out),
        _ => out.extend_from_slice(b"null"),
    }
}

fn write(tokens: &[Token<'_>], offset: &mut u64, out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    object.array("tokens", |list| tokens.iter().for_each(|token| write_escaped(list.element(), &token.token)));
    object.array("token_logprobs", |list| tokens.iter().for_each(|token| list.element().extend_from_slice(token.logprob.as_bytes())));
    if tokens.iter().all(|token| token.top.is_empty()) {
        object.raw("top_logprobs", b"null");
    } else {
        object.array("top_logprobs", |list| tokens.iter().for_each(|token| write_top(&token.top, list.element())));
    }
    object.array("text_offset", |list| {
        for token in tokens {
            write_number(list.element(), *offset);
            *offset = offset.saturating_add(characters(&token.token));
        }
    });
    object.close();
}

fn write_top(alternatives: &[Token<'_>], out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    for (at, alternative) in alternatives.iter().enumerate() {
        if alternatives[..at].iter().all(|before| before.token != alternative.token) {
            object.escaped_key(&alternative.token).extend_from_slice(alternative.logprob.as_bytes());
        }
    }
    object.close();
}

fn read<'a>(logprobs: &'a Raw<'_>) -> Result<Vec<Token<'a>>, Malformed> {
    let mut tokens = Vec::new();
    Reader::checked(logprobs.as_bytes())?.object(|key, reader| match (key.name(), reader.kind()?) {
        // A refusal is told as text.
        ("content" | "refusal", Kind::Array) => read_tokens(reader, &mut tokens, true),
        _ => reader.skip(),
    })?;
    Ok(tokens)
}

fn read_tokens<'a>(reader: &mut Reader<'a>, tokens: &mut Vec<Token<'a>>, with_top: bool) -> Result<(), Malformed> {
    reader.array(|_, reader| {
        let mut token = Token { token: Text::EMPTY, logprob: Raw::json(b"null"), top: Vec::new() };
        reader.object(|key, reader| {
            match (key.name(), reader.kind()?) {
                ("token", Kind::String) => token.token = reader.text()?,
                ("logprob", Kind::Number) => token.logprob = reader.raw()?,
                ("top_logprobs", Kind::Array) if with_top => read_tokens(reader, &mut token.top, false)?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        tokens.push(token);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn check(chat: Option<&str>, offset: u64, expected: &str, end: u64) {
        let (mut out, mut at) = (Vec::new(), offset);
        write_logprobs(chat.map(|chat| Raw::json(chat.as_bytes())).as_ref(), &mut at, &mut out);
        assert_eq!((String::from_utf8(out).unwrap().as_str(), at), (expected, end), "{chat:?}");
    }

    #[test]
    fn one_list_becomes_four() {
        let chat = r#"{"content":[{"token":"\u00e9x","logprob":-0.10,"bytes":[1],"top_logprobs":[{"token":"\u00e9x","logprob":-0.1},{"token":"y","logprob":-2e1},{"token":"y","logprob":-3}]},{"token":"z","logprob":-9999.0,"top_logprobs":[]}],"refusal":null}"#;
        let text = r#"{"tokens":["\u00e9x","z"],"token_logprobs":[-0.10,-9999.0],"top_logprobs":[{"\u00e9x":-0.1,"y":-2e1},{}],"text_offset":[3,5]}"#;
        check(Some(chat), 3, text, 6);
    }

    #[test]
    fn without_alternatives() {
        let chat = r#"{"content":[{"token":"a","logprob":-1}]}"#;
        check(Some(chat), 0, r#"{"tokens":["a"],"token_logprobs":[-1],"top_logprobs":null,"text_offset":[0]}"#, 1);
    }

    #[test]
    fn what_are_no_probabilities() {
        for chat in
            [None, Some("null"), Some("{}"), Some(r#"{"content":null}"#), Some(r#"{"content":[]}"#), Some(r#"{"content":[7]}"#), Some("{")]
        {
            check(chat, 5, "null", 5);
        }
    }
}
