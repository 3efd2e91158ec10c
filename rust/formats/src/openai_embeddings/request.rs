//! What an embeddings request says, as far as routing and metering care.

use memchr::{memchr_iter, memchr2};

use crate::json::Kind;
use crate::request::{Body, FIRST_OWN, MESSAGES, keys};

/// The members that are looked for.
pub(crate) static KEYS: [&str; FIRST_OWN] = keys("input", []);

/// How many tokens stand in a prompt or input that is an array of tokens, or of arrays of tokens. `None` for texts and everything
/// else, whose size tells.
pub(crate) fn tokens_given<F: AsRef<[u8]>>(body: &Body<'_, F>) -> Option<u64> {
    let (Kind::Array, range) = body.value(MESSAGES)? else { return None };
    // An array of long texts is not put together only to be looked at.
    let start = body.text(range.start..range.end.min(range.start + LOOKED_AT_BYTES));
    if is_of_tokens(&start) { count(&body.text(range)) } else { None }
}

/// So much of an array shows what it is made of; white space before that is nobody's habit.
const LOOKED_AT_BYTES: usize = 64;

fn is_of_tokens(array: &[u8]) -> bool {
    matches!(array.get(1..).and_then(|inside| inside.trim_ascii_start().first()), Some(b'0'..=b'9' | b'['))
}

/// One more than there are commas. Texts or objects among the tokens: not counted.
fn count(array: &[u8]) -> Option<u64> {
    let commas = || memchr_iter(b',', array).count() as u64;
    memchr2(b'"', b'{', array).is_none().then(|| commas() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_from_texts() {
        let check = |array: &str, tokens: Option<u64>| {
            let found = if is_of_tokens(array.as_bytes()) { count(array.as_bytes()) } else { None };
            assert_eq!(found, tokens, "{array}");
        };
        check("[1]", Some(1));
        check("[ 15339, 1917 ]", Some(2));
        check("[[1,2],[3]]", Some(3));
        check("[[], [3]]", Some(2));
        check(r#"["1,2"]"#, None);
        check(r#"[1,"two"]"#, None);
        check(r#"[{"content":[1]}]"#, None);
        check("[]", None);
        check("[null]", None);
    }
}
