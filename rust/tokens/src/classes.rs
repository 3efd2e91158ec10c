//! Classes of characters as the pre-tokenizers of OpenAI's encodings tell them apart.

/// A set of classes; every character is in exactly one, or in none (punctuation, symbols, controls, unassigned).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class(u8);

impl Class {
    /// `\p{M}`.
    pub(crate) const MARK: Class = Class(1);
    /// `\p{Lm}` and `\p{Lo}`: letters without case.
    pub(crate) const CASELESS: Class = Class(2);
    /// `\p{Ll}`.
    pub(crate) const LOWER: Class = Class(4);
    /// `\p{Lu}` and `\p{Lt}`.
    pub(crate) const UPPER: Class = Class(8);
    /// `\p{N}`.
    pub(crate) const NUMBER: Class = Class(16);
    /// `\s` without the next one.
    pub(crate) const SPACE: Class = Class(32);
    /// `[\r\n]`.
    pub(crate) const NEWLINE: Class = Class(64);

    /// `\p{L}`.
    pub(crate) const LETTER: Class = Class::CASELESS.or(Class::LOWER).or(Class::UPPER);
    /// `\s`.
    pub(crate) const WHITESPACE: Class = Class::SPACE.or(Class::NEWLINE);

    pub(crate) const fn or(self, other: Class) -> Class {
        Class(self.0 | other.0)
    }

    pub(crate) const fn is(self, any: Class) -> bool {
        self.0 & any.0 != 0
    }

    pub(crate) const fn is_other(self) -> bool {
        self.0 == 0
    }
}

/// `examples/make_data` writes it: for each 256 code points the number of their block, then the blocks.
static TABLE: &[u8] = include_bytes!("../data/character.classes");
const BLOCKS: usize = 0x11_0000 / 256;

/// The class of a character.
pub(crate) fn class_of(character: u32) -> Class {
    let point = character as usize;
    let block = TABLE.get(point >> 8).map_or(0, |&number| usize::from(number));
    Class(TABLE.get(BLOCKS + (block << 8) + (point & 0xff)).copied().unwrap_or(0))
}

/// The class of the character that begins at byte `at`, and where the next one begins; `None` at the end.
#[inline]
pub(crate) fn class_at(text: &[u8], at: usize) -> Option<(Class, usize)> {
    let &first = text.get(at)?;
    if first < 0x80 {
        return Some((ASCII[usize::from(first)], at + 1));
    }
    let (character, length) = decoded(text, at);
    Some((class_of(character), at + length))
}

const fn ascii() -> [Class; 256] {
    let mut classes = [Class(0); 256];
    let mut byte = 0;
    while byte < 128 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' => Class::LOWER,
            b'A'..=b'Z' => Class::UPPER,
            b'0'..=b'9' => Class::NUMBER,
            b'\r' | b'\n' => Class::NEWLINE,
            b' ' | b'\t' | 0x0b | 0x0c => Class::SPACE,
            _ => Class(0),
        };
        byte += 1;
    }
    classes
}

static ASCII: [Class; 256] = ascii();

/// Decodes the character of several bytes that begins at `at`, and says how many they are. What calls this holds a `str`, so that the bytes
/// that follow are there and are continuations.
pub(crate) fn decoded(text: &[u8], at: usize) -> (u32, usize) {
    let byte = |offset: usize| text.get(at + offset).map_or(0, |&byte| u32::from(byte));
    let more = |offset: usize| byte(offset) & 0x3f;
    match byte(0) {
        first @ 0..=0xdf => ((first & 0x1f) << 6 | more(1), 2),
        first @ 0xe0..=0xef => ((first & 0xf) << 12 | more(1) << 6 | more(2), 3),
        first => ((first & 7) << 18 | more(1) << 12 | more(2) << 6 | more(3), 4),
    }
}

#[cfg(test)]
mod tests {
    use super::{class_at, class_of};

    #[test]
    fn every_character_is_found_where_it_stands() {
        for character in '\0'..=char::MAX {
            let text = format!("x{character}y");
            let found = class_at(text.as_bytes(), 1);
            assert!(found == Some((class_of(character.into()), 1 + character.len_utf8())), "{character:?}");
        }
    }
}
