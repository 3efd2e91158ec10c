//! The pre-tokenizers: where a text is cut into pieces, which byte pairs are then merged in.
//!
//! OpenAI publishes a regular expression per encoding (`tiktoken_ext/openai_public.py`). A regular expression takes the first alternative
//! that matches, and each function here is one alternative, in the same order. Written out they need no back-tracking: every piece is
//! found in one pass over its own characters and at most one more, so a text costs its length, whatever is in it.

use crate::classes::{Class, class_at};

/// Where the piece of `o200k_base` that begins at `start` ends. `start` is before the end of the text and at the edge of a character.
///
/// ```text
/// [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?
/// [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?
/// \p{N}{1,3}
///  ?[^\s\p{L}\p{N}]+[\r\n/]*
/// \s*[\r\n]+
/// \s+(?!\S)
/// \s+
/// ```
pub(crate) fn o200k_end(text: &[u8], start: usize) -> usize {
    let Some((class, next)) = class_at(text, start) else { return text.len() };
    let word = if class.is(Class::LETTER) {
        cased_word(text, start).end()
    } else if class.is(Class::MARK) {
        // A mark may stand before a word or be its first letter. The first way goes first, but in the first alternative only.
        cased_word(text, next).lowered.or(cased_word(text, start).lowered)
    } else if class.is(Class::NUMBER) {
        return number_end(text, next);
    } else if class.is(Class::NEWLINE) {
        None
    } else {
        cased_word(text, next).end()
    };
    match word {
        Some(end) => contraction_end(text, end).unwrap_or(end),
        None => symbols_end(text, start, b"\r\n/").unwrap_or_else(|| space_end(text, start)),
    }
}

/// Where the piece of `cl100k_base` that begins at `start` ends, as [`o200k_end`].
///
/// ```text
/// '(?i:[sdmt]|ll|ve|re)
/// [^\r\n\p{L}\p{N}]?+\p{L}++
/// \p{N}{1,3}+
///  ?[^\s\p{L}\p{N}]++[\r\n]*+
/// \s++$
/// \s*[\r\n]
/// \s+(?!\S)
/// \s
/// ```
pub(crate) fn cl100k_end(text: &[u8], start: usize) -> usize {
    let Some((class, next)) = class_at(text, start) else { return text.len() };
    if class.is(Class::LETTER) {
        return run_end(text, next, Class::LETTER);
    }
    if class.is(Class::NUMBER) {
        return number_end(text, next);
    }
    if let Some(end) = contraction_end(text, start) {
        return end;
    }
    if !class.is(Class::NEWLINE) {
        let end = run_end(text, next, Class::LETTER);
        if end > next {
            return end;
        }
    }
    symbols_end(text, start, b"\r\n").unwrap_or_else(|| {
        let end = run_end(text, start, Class::WHITESPACE);
        if end == text.len() { end } else { space_end(text, start) }
    })
}

/// How far the two alternatives of a word reach from where its letters begin.
struct CasedWord {
    /// Any number of capitals, then at least one letter that is none.
    lowered: Option<usize>,
    /// At least one capital, then any number of letters that are none.
    raised: Option<usize>,
}

impl CasedWord {
    fn end(&self) -> Option<usize> {
        self.lowered.or(self.raised)
    }
}

/// Letters without case and marks count as capitals and as small letters. So if no small letter follows the capitals, the last one without
/// case among them is the small letter that the first alternative wants.
fn cased_word(text: &[u8], start: usize) -> CasedWord {
    const CAPITALS: Class = Class::UPPER.or(Class::CASELESS).or(Class::MARK);
    const SMALL: Class = Class::LOWER.or(Class::CASELESS).or(Class::MARK);
    let (mut at, mut last_caseless) = (start, None);
    while let Some((class, next)) = class_at(text, at) {
        if class.is(Class::LOWER) {
            let end = run_end(text, next, SMALL);
            return CasedWord { lowered: Some(end), raised: None };
        }
        if !class.is(CAPITALS) {
            break;
        }
        at = next;
        if !class.is(Class::UPPER) {
            last_caseless = Some(at);
        }
    }
    CasedWord { lowered: last_caseless, raised: (at > start).then_some(at) }
}

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)` at `start`. Without regard to case, `s` is also `ſ`.
fn contraction_end(text: &[u8], start: usize) -> Option<usize> {
    let [b'\'', rest @ ..] = text.get(start..)? else { return None };
    match rest {
        [b's' | b'S' | b't' | b'T' | b'm' | b'M' | b'd' | b'D', ..] => Some(start + 2),
        [b'r' | b'R' | b'v' | b'V', b'e' | b'E', ..] | [b'l' | b'L', b'l' | b'L', ..] | [0xc5, 0xbf, ..] => Some(start + 3),
        _ => None,
    }
}

/// `\p{N}{1,3}` of which the first ends at `second`.
fn number_end(text: &[u8], second: usize) -> usize {
    let mut end = second;
    for _ in 0..2 {
        match class_at(text, end) {
            Some((class, next)) if class.is(Class::NUMBER) => end = next,
            _ => break,
        }
    }
    end
}

/// ` ?[^\s\p{L}\p{N}]+`, then any of `tail`.
fn symbols_end(text: &[u8], start: usize, tail: &[u8]) -> Option<usize> {
    let first = start + usize::from(text.get(start) == Some(&b' '));
    let mut end = first;
    while let Some((class, next)) = class_at(text, end) {
        if !class.is_other() && !class.is(Class::MARK) {
            break;
        }
        end = next;
    }
    let trailing = text.get(end..)?.iter().take_while(|byte| tail.contains(byte)).count();
    (end > first).then_some(end + trailing)
}

/// `\s*[\r\n]+`, else `\s+(?!\S)`, else `\s+`: up to the last line end; else all of it at the end of the text, and without its last
/// character before anything else, unless that is its only one.
fn space_end(text: &[u8], start: usize) -> usize {
    let (mut end, mut last, mut last_line_end) = (start, start, None);
    while let Some((class, next)) = class_at(text, end) {
        if !class.is(Class::WHITESPACE) {
            break;
        }
        if class.is(Class::NEWLINE) {
            last_line_end = Some(next);
        }
        (last, end) = (end, next);
    }
    last_line_end.unwrap_or(if end == text.len() || last == start { end } else { last })
}

fn run_end(text: &[u8], start: usize, classes: Class) -> usize {
    let mut end = start;
    while let Some((class, next)) = class_at(text, end) {
        if !class.is(classes) {
            break;
        }
        end = next;
    }
    end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{cl100k_end, o200k_end};

    fn pieces(text: &str, end_of_piece: impl Fn(&[u8], usize) -> usize) -> Vec<&str> {
        let (mut found, mut at) = (Vec::new(), 0);
        while at < text.len() {
            let end = end_of_piece(text.as_bytes(), at);
            assert!(end > at, "no progress in {text:?} at {at}");
            found.push(&text[at..end]);
            at = end;
        }
        found
    }

    /// Pieces are written with `|` between them; the text is what is left without. They are those of the patterns in Python's `regex`.
    fn check(o200k: &str, cl100k: &str) {
        let text = o200k.replace('|', "");
        assert_eq!(pieces(&text, o200k_end), o200k.split('|').collect::<Vec<_>>());
        assert_eq!(pieces(&text, cl100k_end), cl100k.split('|').collect::<Vec<_>>());
    }

    #[test]
    fn texts_are_cut_as_the_patterns_say() {
        check("Hello| world|!", "Hello| world|!");
        check("camel|Case|HTTPServer|X", "camelCaseHTTPServerX");
        check("don't| WE'LL", "don|'t| WE|'LL");
        check("it's|'s", "it|'s|'s");
        check("x'\u{17f}|t", "x|'\u{17f}|t");
        check("\u{301}|ABC| \u{301}a", "\u{301}ABC| \u{301}|a");
        check("123|456", "123|456");
        check("a|  |\u{a0}b", "a|  |\u{a0}b");
        check("(word|).\n//|x", "(word|).\n|//|x");
        check("a|  \n\n| | b|  ", "a|  \n\n| | b|  ");
        check("a|\n|  ", "a|\n  ");
        check("中文|，字", "中文|，字");
    }

    proptest! {
        #[test]
        fn any_text_is_cut_into_pieces(text in "\\PC{0,40}|[ \\t\r\na'sSL.1/\u{301}\u{3000}é中]{0,20}") {
            for end_of_piece in [o200k_end, cl100k_end] {
                assert_eq!(pieces(&text, end_of_piece).concat(), text);
            }
        }
    }
}
