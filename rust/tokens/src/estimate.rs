//! Estimating tokens from classes of characters, without a vocabulary.
//!
//! An estimate is a sum: what a character weighs depends on its class and on that of the character before it. Vowels, rare consonants,
//! capitals, digits, each common sign and each script are classes, so the sum follows the kind of text without being told: a capital
//! after a small letter begins a token, a digit after a letter does, a space after a space hardly ever, a rare letter after another one
//! mostly does. The weights are fitted to `o200k_base` (`benches/micro/calibrate_tokens.py`); for other vocabularies they are
//! multiplied by a factor for each group of characters ([`Family`]). `docs/library.md` lists the error per kind of text.
//!
//! A byte costs one look into two small tables, 1 ns. Bounds: a vocabulary of bytes never makes more tokens than a text has bytes, and an
//! estimate is never more either. An estimate that is too small is possible for texts that nobody writes: every weight has a floor, and no text was
//! found (alternating rare characters of a class) whose tokens in `o200k_base` are more than ten times the estimate. What must hold counts bytes.

use std::sync::LazyLock;

mod weights;

use crate::classes::decoded;
use weights::{CLASSES, PAIRS, SCRIPTS};

/// What a factor of a family is for.
#[derive(Clone, Copy)]
enum Group {
    /// ASCII letters and spaces: words.
    Letters,
    /// Other ASCII: punctuation, line ends, tabs, controls.
    Signs,
    /// ASCII digits.
    Digits,
    /// Letters with diacritics, and phonetic ones.
    Latin,
    Greek,
    Cyrillic,
    /// Hebrew and Arabic.
    Semitic,
    /// The scripts of India and Sri Lanka.
    Indic,
    /// Armenian, Georgian, Ethiopic, Thai, Lao, Tibetan, Burmese, Khmer, Mongolian and what else is between them.
    Eastern,
    /// General punctuation, arrows, box drawing, mathematics; private and rare planes.
    Symbols,
    /// Ideographs, their punctuation, full-width forms.
    Han,
    Kana,
    Hangul,
    Emoji,
}

const GROUPS: usize = 14;

/// Vocabularies that count alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// OpenAI since GPT-4o: `o200k_base`.
    O200k,
    /// OpenAI's GPT-4 and GPT-3.5: `cl100k_base`.
    Cl100k,
    /// Claude up to 4.6.
    Claude,
    /// Claude from Opus 4.7 on, whose vocabulary makes more tokens of Latin text.
    ClaudeFine,
    /// Gemini and Gemma.
    Gemini,
    /// Llama 3 and later.
    Llama,
    /// Mistral since Nemo (Tekken).
    Mistral,
    /// DeepSeek V3 and later.
    Deepseek,
    /// Qwen 2 and later.
    Qwen,
    /// Kimi K2 and later.
    Kimi,
    /// GLM 4 and later.
    Glm,
    /// MiniMax M2 and later.
    Minimax,
    /// Not known: rather too much.
    Other,
}

/// Percentages of what the weights say, per group of characters, and where they come from.
///
/// "Measured" are fits to the public vocabulary (crate `tiktoken` 4.1.2) over 24 MB of manual pages, message catalogues, sources and made-up
/// data in 68 kinds; the error that is left is the mean over these kinds. Anthropic and Google publish none: Claude's are from counts by
/// Anthropic's `count_tokens` that others published (VentureBeat, May 2025: articles +16 %, Python +30 % against GPT-4o; claudecodecamp.com, April 2026:
/// prose +10 %; sol.ava.dev, April 2026: Opus 4.7 against 4.6: prose ×1.45, sources ×1.15 to 1.3, other scripts ×1.0), with `cl100k_base` for
/// other scripts; Gemini's from ai.google.dev ("about 4 characters") with single digits.
const FAMILIES: [(Family, [u16; GROUPS]); 13] = [
    // letters, signs, digits, Latin, Greek, Cyrillic, Semitic, Indic, Eastern, symbols, Han, kana, hangul, emoji
    (Family::O200k, [100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100]), // measured, 4 %
    (Family::Cl100k, [105, 95, 100, 165, 185, 150, 200, 325, 235, 120, 125, 140, 150, 105]), // measured, 10 %
    (Family::Claude, [105, 150, 120, 165, 185, 150, 200, 325, 235, 120, 125, 140, 150, 105]), // published counts
    (Family::ClaudeFine, [145, 160, 125, 165, 185, 150, 200, 325, 235, 120, 125, 140, 150, 105]), // published counts
    (Family::Gemini, [108, 105, 175, 105, 110, 105, 110, 110, 110, 120, 95, 90, 105, 105]),  // documentation
    (Family::Llama, [105, 90, 100, 110, 105, 110, 115, 230, 150, 120, 95, 95, 105, 105]),    // measured, 14 %
    (Family::Mistral, [105, 105, 175, 95, 100, 105, 95, 125, 130, 120, 115, 85, 95, 115]),   // measured, 9 %
    (Family::Deepseek, [105, 110, 90, 140, 120, 110, 120, 165, 125, 125, 75, 95, 110, 95]),  // measured, 9 %
    (Family::Qwen, [105, 90, 175, 135, 180, 125, 125, 290, 170, 110, 90, 90, 115, 90]),      // measured, 10 %
    (Family::Kimi, [100, 100, 95, 175, 145, 130, 145, 180, 170, 120, 85, 105, 130, 100]),    // measured, 8 %
    (Family::Glm, [100, 95, 120, 120, 110, 100, 135, 325, 235, 120, 85, 100, 130, 105]),     // measured, 10 %
    (Family::Minimax, [100, 105, 100, 150, 160, 115, 120, 215, 240, 125, 70, 50, 90, 95]),   // measured, 11 %
    (Family::Other, [115, 115, 150, 165, 185, 150, 150, 250, 200, 125, 125, 140, 150, 115]), // a guess
];

/// 4,096ths of a token.
const UNITS: u64 = 4096;
/// The row and the number of a character before it that is beyond ASCII.
const BEYOND: u8 = CLASSES.len() as u8;

/// The weights of one family.
struct Table {
    /// Of an ASCII character, by the class before it and its own.
    pairs: [[u16; 32]; 32],
    /// Of the first and of a further character of a script's run.
    scripts: [[u16; 2]; SCRIPTS.len()],
}

static TABLES: LazyLock<Vec<Table>> = LazyLock::new(|| FAMILIES.iter().map(|(_, percents)| Table::new(percents)).collect());

impl Table {
    fn new(percents: &[u16; GROUPS]) -> Table {
        let weigh =
            |weight: u16, group: Group| (u32::from(weight) * u32::from(percents[group as usize]) / 100).clamp(1, 4 * UNITS as u32) as u16;
        let mut table =
            Table { pairs: [[0; 32]; 32], scripts: SCRIPTS.map(|(_, group, first, further)| [weigh(first, group), weigh(further, group)]) };
        for (row, weights) in table.pairs.iter_mut().zip(&PAIRS) {
            for ((weight, &fitted), members) in row.iter_mut().zip(weights).zip(CLASSES) {
                *weight = weigh(fitted, group_of(members));
            }
        }
        table
    }

    fn of(family: Family) -> Option<&'static Table> {
        FAMILIES.iter().position(|(listed, _)| *listed == family).and_then(|index| TABLES.get(index))
    }
}

fn group_of(members: &str) -> Group {
    match members.as_bytes().first() {
        Some(b' ' | b'a'..=b'z' | b'A'..=b'Z') => Group::Letters,
        Some(b'0'..=b'9') => Group::Digits,
        _ => Group::Signs,
    }
}

/// The class of each ASCII character.
static ASCII: [u8; 128] = {
    let mut classes = [0; 128];
    let mut class = 0;
    while class < CLASSES.len() {
        let members = CLASSES[class].as_bytes();
        let mut index = 0;
        while index < members.len() {
            classes[members[index] as usize] = class as u8;
            index += 1;
        }
        class += 1;
    }
    classes
};

/// The script of each 64 code points up to U+2FFFF.
static BLOCKS: [u8; 0x3_0000 / 64] = {
    let mut blocks = [0; 0x3_0000 / 64];
    let mut script = 0;
    while script < SCRIPTS.len() {
        let mut block = SCRIPTS[script].0 as usize / 64;
        while block < blocks.len() {
            blocks[block] = script as u8;
            block += 1;
        }
        script += 1;
    }
    blocks
};

/// The estimated number of tokens of a text; 0 for an empty one only.
pub fn estimate(text: &str, family: Family) -> u64 {
    let mut estimation = Estimation::new(family);
    estimation.add(text);
    estimation.tokens()
}

/// An estimate of a text that arrives in pieces. How it is cut makes no difference.
#[derive(Clone, Debug)]
pub struct Estimation {
    family: Family,
    bytes: u64,
    units: u64,
    /// The class of the last character, or [`BEYOND`] and its script.
    last: u8,
}

impl Estimation {
    /// Of no text yet. A text begins as a line does.
    pub const fn new(family: Family) -> Estimation {
        Estimation { family, bytes: 0, units: 0, last: ASCII[b'\n' as usize] }
    }

    /// The next piece of the text.
    pub fn add(&mut self, text: &str) {
        let Some(table) = Table::of(self.family) else { return };
        let bytes = text.as_bytes();
        let (mut at, mut last, mut units) = (0, self.last, 0);
        while let Some(&byte) = bytes.get(at) {
            if byte < 0x80 {
                let class = ASCII[usize::from(byte)];
                units += u64::from(table.pairs[usize::from(last.min(BEYOND))][usize::from(class & 31)]);
                last = class;
                at += 1;
                continue;
            }
            let (character, length) = decoded(bytes, at);
            let script = BLOCKS.get(character as usize / 64).copied().unwrap_or(SCRIPTS.len() as u8 - 1);
            let further = last == BEYOND + script;
            units += u64::from(table.scripts[usize::from(script)][usize::from(further)]);
            last = BEYOND + script;
            at += length;
        }
        (self.last, self.units, self.bytes) = (last, self.units + units, self.bytes + bytes.len() as u64);
    }

    /// The tokens of all pieces so far.
    pub fn tokens(&self) -> u64 {
        self.units.div_ceil(UNITS).min(self.bytes)
    }
}
