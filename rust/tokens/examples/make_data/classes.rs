//! The table of character classes, from `regex-syntax`, whose own tables OpenAI's tokenizer splits by.

use std::collections::HashMap;
use std::error::Error;

use regex_syntax::hir::{Class, HirKind};

const POINTS: usize = 0x11_0000;
const BLOCK: usize = 256;
/// A pattern and the bit that `src/classes.rs` knows its characters by. What no pattern has is 0. A later row wins.
const CLASSES: [(&str, u8); 7] = [
    (r"\p{M}", 1),
    (r"[\p{Lm}\p{Lo}]", 2),
    (r"\p{Ll}", 4),
    (r"[\p{Lu}\p{Lt}]", 8),
    (r"\p{N}", 16),
    (r"[\x{9}-\x{d}\x{20}\x{85}\p{Z}]", 32),
    (r"[\r\n]", 64),
];

/// Two stages: for each 256 code points the number of their block (u8), then the blocks, a byte per code point.
pub(crate) fn table() -> Result<Vec<u8>, Box<dyn Error>> {
    let mut classes = vec![0; POINTS];
    for (pattern, bit) in CLASSES {
        let HirKind::Class(Class::Unicode(class)) = regex_syntax::parse(pattern)?.into_kind() else {
            return Err(format!("{pattern} is no class").into());
        };
        for range in class.ranges() {
            classes[range.start() as usize..=range.end() as usize].fill(bit);
        }
    }
    let (mut numbers, mut blocks, mut known) = (Vec::new(), Vec::<u8>::new(), HashMap::new());
    for block in classes.chunks(BLOCK) {
        let next = known.len();
        let number = *known.entry(block).or_insert_with(|| {
            blocks.extend(block);
            next
        });
        numbers.push(u8::try_from(number)?);
    }
    numbers.extend(blocks);
    Ok(numbers)
}
