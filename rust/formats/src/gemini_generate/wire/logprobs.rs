//! Probabilities of tokens, between `logprobsResult` and OpenAI's shape. This dialect has no bytes of tokens.

use fairlead_ir::{Raw, Text};

use crate::json::Kind;
use crate::read::{Malformed, Reader};
use crate::write::{Array, Object};

/// A token with the logarithm of its probability, as written.
struct Token<'a> {
    token: Text<'a>,
    logprob: Raw<'a>,
    top: Vec<Token<'a>>,
}

/// Reads a `logprobsResult` as OpenAI would have written it.
pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Raw<'static>, Malformed> {
    let (mut chosen, mut tops) = (Vec::new(), Vec::new());
    reader.object(|key, reader| match (key.name(), reader.kind()?) {
        ("chosenCandidates", Kind::Array) => read_tokens(reader, &mut chosen, false),
        ("topCandidates", Kind::Array) => reader.array(|_, reader| {
            let mut top = Vec::new();
            reader.object(|key, reader| match (key.name(), reader.kind()?) {
                ("candidates", Kind::Array) => read_tokens(reader, &mut top, false),
                _ => reader.skip(),
            })?;
            tops.push(top);
            Ok(())
        }),
        _ => reader.skip(),
    })?;
    let mut tops = tops.into_iter();
    chosen.iter_mut().for_each(|token| token.top = tops.next().unwrap_or_default());
    let mut out = Vec::new();
    let mut object = Object::open(&mut out);
    object.array("content", |list| chosen.iter().for_each(|token| write_theirs(token, true, list))).raw("refusal", b"null");
    object.close();
    Ok(Raw::owned(out))
}

/// Reads a list of tokens in either dialect's spelling, with their alternatives where these stand inside.
fn read_tokens<'a>(reader: &mut Reader<'a>, tokens: &mut Vec<Token<'a>>, with_top: bool) -> Result<(), Malformed> {
    reader.array(|_, reader| {
        let mut token = Token { token: Text::EMPTY, logprob: Raw::json(b"0"), top: Vec::new() };
        reader.object(|key, reader| {
            match (key.name(), reader.kind()?) {
                ("token", Kind::String) => token.token = reader.text()?,
                ("logProbability" | "logprob", Kind::Number) => token.logprob = reader.raw()?,
                ("top_logprobs", Kind::Array) if with_top => read_tokens(reader, &mut token.top, false)?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        tokens.push(token);
        Ok(())
    })
}

fn write_theirs(token: &Token<'_>, with_top: bool, list: &mut Array<'_>) {
    list.object(|object| {
        object.escaped("token", &token.token).raw("logprob", token.logprob.as_bytes()).raw("bytes", b"null");
        if with_top {
            object.array("top_logprobs", |list| token.top.iter().for_each(|token| write_theirs(token, false, list)));
        }
    });
}

/// Writes OpenAI's shape as the value of `logprobsResult`. What is not of that shape is left out, and the answer is `false`.
pub(crate) fn write(logprobs: &Raw<'_>, out: &mut Vec<u8>) -> bool {
    let mut tokens = Vec::new();
    let read = Reader::new(logprobs.as_bytes()).object(|key, reader| match (key.name(), reader.kind()?) {
        ("content", Kind::Array) => read_tokens(reader, &mut tokens, true),
        _ => reader.skip(),
    });
    let mut object = Object::open(out);
    let list = |tokens: &[Token<'_>], list: &mut Array<'_>| {
        for token in tokens {
            list.object(|object| {
                object.escaped("token", &token.token).raw("logProbability", token.logprob.as_bytes());
            });
        }
    };
    if tokens.iter().any(|token| !token.top.is_empty()) {
        object.array("topCandidates", |tops| {
            for token in &tokens {
                tops.object(|top| {
                    top.array("candidates", |candidates| list(&token.top, candidates));
                });
            }
        });
    }
    object.array("chosenCandidates", |chosen| list(&tokens, chosen));
    object.close();
    read.is_ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn probabilities_move_both_ways() {
        let ours = concat!(
            r#"{"topCandidates":[{"candidates":[{"token":"a","logProbability":-0.1},{"token":"b","logProbability":-2}]}],"#,
            r#""chosenCandidates":[{"token":"a","logProbability":-0.1}]}"#
        );
        let theirs = concat!(
            r#"{"content":[{"token":"a","logprob":-0.1,"bytes":null,"top_logprobs":[{"token":"a","logprob":-0.1,"bytes":null},"#,
            r#"{"token":"b","logprob":-2,"bytes":null}]}],"refusal":null}"#
        );
        let read = read(&mut Reader::new(ours.as_bytes())).unwrap();
        assert_eq!(std::str::from_utf8(read.as_bytes()).unwrap(), theirs);
        let mut out = Vec::new();
        assert!(write(&read, &mut out));
        assert_eq!(std::str::from_utf8(&out).unwrap(), ours);
    }
}
