//! Replaces the model name in a body that is kept in pieces.

use std::ops::Range;

use bytes::Bytes;
use memchr::{memchr, memmem};

/// Why the model was not replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpliceError(pub(super) &'static str);

/// Replaces the value of `"model"`, which must be `from`, by `to`.
///
/// The first `"model":` counts. Inside a string the quotes would be escaped, so only a nested key of that name before
/// the real one could mislead it: good enough for a yardstick, not for a product.
pub(super) fn model(pieces: &mut Vec<Bytes>, from: &[u8], to: &Bytes) -> Result<(), SpliceError> {
    let mut found = find_in(pieces);
    if found.is_none() && pieces.len() > 1 {
        // Rare: the name straddles two reads.
        *pieces = vec![Bytes::from(pieces.concat())];
        found = find_in(pieces);
    }
    let (index, value) = found.ok_or(SpliceError("the body names no model"))?;
    let piece = pieces[index].clone();
    if piece[value.clone()] != *from {
        return Err(SpliceError("unknown model"));
    }
    let parts = [piece.slice(..value.start), to.clone(), piece.slice(value.end..)];
    pieces.splice(index..=index, parts);
    Ok(())
}

/// The piece that has the model's value whole, and where.
fn find_in(pieces: &[Bytes]) -> Option<(usize, Range<usize>)> {
    pieces.iter().enumerate().find_map(|(index, piece)| find(piece).map(|value| (index, value)))
}

/// Where the model's value stands, without its quotes.
fn find(body: &[u8]) -> Option<Range<usize>> {
    const KEY: &[u8] = b"\"model\"";
    let mut at = memmem::find(body, KEY)? + KEY.len();
    for expected in [b':', b'"'] {
        at += body[at..].iter().position(|byte| !byte.is_ascii_whitespace())?;
        if body[at] != expected {
            return None;
        }
        at += 1;
    }
    Some(at..at + memchr(b'"', &body[at..])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&str], expected: Result<&str, &str>) {
        let mut pieces: Vec<Bytes> = pieces.iter().map(|piece| Bytes::copy_from_slice(piece.as_bytes())).collect();
        let verdict = model(&mut pieces, b"bench/model", &Bytes::from_static(b"m"));
        let found = verdict.map(|()| String::from_utf8_lossy(&pieces.concat()).into_owned());
        assert_eq!(found.map_err(|error| error.0), expected.map(str::to_owned));
    }

    #[test]
    fn replaces_the_model_only() {
        check(&[r#"{"model":"bench/model","a":1}"#], Ok(r#"{"model":"m","a":1}"#));
        check(&["{\"a\":1, \"model\" :\n \"bench/model\"}"], Ok("{\"a\":1, \"model\" :\n \"m\"}"));
        check(&[r#"{"model":"bench"#, r#"/model"}"#], Ok(r#"{"model":"m"}"#));
        check(&[r#"{"text":"\"model\":\"x\"","model":"#, r#""bench/model"}"#], Ok(r#"{"text":"\"model\":\"x\"","model":"m"}"#));
        check(&[r#"{"a":1,"#, r#""model":"bench/model"}"#], Ok(r#"{"a":1,"model":"m"}"#));
        check(&[r#"{"model":"bench/model","#, r#""more":2}"#], Ok(r#"{"model":"m","more":2}"#));
        check(&[r#"{"model":"other"}"#], Err("unknown model"));
        check(&[r#"{"model":7}"#], Err("the body names no model"));
        check(&["{}"], Err("the body names no model"));
        check(&[], Err("the body names no model"));
    }
}
