//! Blocks of 64 bytes at a time: the only module of this crate with `unsafe`.
//!
//! Inside a string three kinds of byte matter: the quote, the backslash, and whatever is below 0x20. One
//! implementation of [`Simd`] per instruction set finds them; [`Level`] says which of them this machine has. Code that
//! wants the wider one is written once as a [`Job`], generic over `Simd`, and [`Level::run`] enters it through a
//! function that has the instruction set switched on, so that everything below is inlined into it.

#![expect(unsafe_code, reason = "vector instructions; every block says why it is sound")]

/// Where the bytes that matter inside a string with escapes lie in a block of 64; bit n is byte n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Classes {
    pub(super) backslash: u64,
    /// Quotes and bytes below 0x20: what ends a string, rightly or wrongly, if no backslash stands before it.
    pub(super) ending: u64,
    /// Bytes that make a whole escape with the backslash before them: all that may stand there but `u`.
    pub(super) simple: u64,
}

/// Which bytes of a block can be which part of a `\u` escape; bit n is byte n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digits {
    /// The letter `u`.
    pub(super) unicode: u64,
    /// Hexadecimal digits.
    pub(super) hex: u64,
    /// `d` and `D`, with which both halves of a surrogate pair begin.
    pub(super) surrogate: u64,
    /// `8` to `b`: the second digit of a high surrogate.
    pub(super) high_half: u64,
    /// `c` to `f`: the second digit of a low surrogate.
    pub(super) low_half: u64,
}

/// One instruction set's way to look at 64 bytes. A value of the type proves that the machine has the set.
///
/// Each set gives a handful of operations on a block in registers; what is looked for is written once, below them.
pub(super) trait Simd: Copy {
    /// 64 bytes in registers. Comparisons give 0xff for yes and 0 for no in each byte.
    type Block: Copy;

    fn load(self, bytes: &[u8; 64]) -> Self::Block;
    fn equal(self, block: Self::Block, byte: u8) -> Self::Block;
    /// Unsigned `<`.
    fn below(self, block: Self::Block, byte: u8) -> Self::Block;
    /// Each byte minus `byte`, wrapping.
    fn minus(self, block: Self::Block, byte: u8) -> Self::Block;
    /// Each byte with the bits of `byte` flipped.
    fn flip(self, block: Self::Block, byte: u8) -> Self::Block;
    fn or(self, left: Self::Block, right: Self::Block) -> Self::Block;
    /// Each byte with the bits of `byte` set.
    fn with_bits(self, block: Self::Block, byte: u8) -> Self::Block;
    /// Whether the top bit of any byte is set.
    fn any(self, block: Self::Block) -> bool;
    /// The top bit of each byte.
    fn mask(self, block: Self::Block) -> u64;
    /// [`specials`](Self::specials) of 16 bytes, in the lower 16 bits.
    fn specials_16(self, bytes: &[u8; 16], high: &mut bool) -> u32;

    /// Where quotes, backslashes and control bytes are; sets `high` when a byte is 0x80 or above, else leaves it.
    #[inline(always)]
    fn specials(self, bytes: &[u8; 64], high: &mut bool) -> u64 {
        let block = self.load(bytes);
        *high |= self.any(block);
        let specials = self.or(self.equal(block, b'\\'), self.ending(block));
        // Most blocks of a long text have none, and asking so is cheaper than gathering the mask.
        if self.any(specials) { self.mask(specials) } else { 0 }
    }

    #[inline(always)]
    fn classify(self, block: Self::Block) -> Classes {
        Classes {
            backslash: self.mask(self.equal(block, b'\\')),
            ending: self.mask(self.ending(block)),
            simple: self.mask(self.simple(block)),
        }
    }

    /// Which bytes are a quote or below 0x20.
    #[inline(always)]
    fn ending(self, block: Self::Block) -> Self::Block {
        // Flipping this bit puts the quote right behind the control bytes, and moves those among themselves.
        self.below(self.flip(block, b'"' ^ 0x20), 0x21)
    }

    /// Which bytes are one of `" \ / b f n r t`.
    #[inline(always)]
    fn simple(self, block: Self::Block) -> Self::Block {
        let mut simple = self.b_or_r(block);
        // A loop, not a fold: a closure would be compiled without the instruction set.
        for byte in [b'"', b'\\', b'/', b'f', b'n', b't'] {
            simple = self.or(simple, self.equal(block, byte));
        }
        simple
    }

    /// Which bytes are `b` or `r`: one bit is all that tells them apart.
    #[inline(always)]
    fn b_or_r(self, block: Self::Block) -> Self::Block {
        self.equal(self.with_bits(block, b'b' ^ b'r'), b'r')
    }

    #[inline(always)]
    fn digits(self, block: Self::Block) -> Digits {
        // Maps letters to lower case; it maps nothing else into a to f, and digits keep their bit 5 anyway.
        let lower = self.with_bits(block, 0x20);
        let decimal = self.between(block, b'0', b'9');
        let letter = self.between(lower, b'a', b'f');
        let low_half = self.between(lower, b'c', b'f');
        let high_half = self.or(self.between(block, b'8', b'9'), self.between(lower, b'a', b'b'));
        Digits {
            unicode: self.mask(self.equal(block, b'u')),
            hex: self.mask(self.or(decimal, letter)),
            surrogate: self.mask(self.equal(lower, b'd')),
            high_half: self.mask(high_half),
            low_half: self.mask(low_half),
        }
    }

    /// Which bytes lie in `first..=last`.
    #[inline(always)]
    fn between(self, block: Self::Block, first: u8, last: u8) -> Self::Block {
        self.below(self.minus(block, first), last - first + 1)
    }
}

/// Work that is generic over the instruction set.
pub(super) trait Job {
    type Output;
    /// Mark the implementation `#[inline(always)]`, or the instruction set is not switched on inside.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// An instruction set, widest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Plain Rust, for any machine.
    #[cfg_attr(
        any(target_arch = "x86_64", target_arch = "aarch64"),
        cfg_attr(not(test), expect(dead_code, reason = "only tests force it here"))
    )]
    Scalar,
    /// SSE2 or NEON: part of the target, no detection needed.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
}

impl Level {
    /// The widest set of this machine. The standard library remembers what it found, so this is one load.
    #[inline]
    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = Avx2::detect() {
            return Self::Avx2(avx2);
        }
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        return Self::Baseline;
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        return Self::Scalar;
    }

    #[inline]
    pub(super) fn run<J: Job>(self, job: J) -> J::Output {
        match self {
            Self::Scalar => job.run(Scalar),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            Self::Baseline => job.run(baseline()),
            // SAFETY: a value of `Avx2` exists only where `Avx2::detect` found the features that `run_avx2` enables.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => unsafe { run_avx2(job, avx2) },
        }
    }

    /// Every level that this machine can run, so that a test can force each.
    #[cfg(test)]
    pub(super) fn all() -> Vec<Self> {
        let mut levels = vec![Self::Scalar];
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        levels.push(Self::Baseline);
        #[cfg(target_arch = "x86_64")]
        levels.extend(Avx2::detect().map(Self::Avx2));
        levels
    }
}

/// The bytes of [`Simd::simple`] but `b` and `r`, each at its lower four bits. An entry of no such byte has other lower
/// bits than its index, so that no byte equals its entry by chance.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const SIMPLE_BUT_B_AND_R: [u8; 16] = {
    let mut table = [0; 16];
    table[0] = 1;
    let bytes = b"\"\\/fnt";
    let mut index = 0;
    while index < bytes.len() {
        table[(bytes[index] & 0xf) as usize] = bytes[index];
        index += 1;
    }
    table
};

#[cfg(target_arch = "x86_64")]
pub(super) type Baseline = Sse2;
#[cfg(target_arch = "aarch64")]
pub(super) type Baseline = Neon;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) type Baseline = Scalar;

/// The set that every machine of this target has: no detection, no call across a feature boundary.
#[inline(always)]
pub(super) fn baseline() -> Baseline {
    #[cfg(target_arch = "x86_64")]
    return Sse2;
    #[cfg(target_arch = "aarch64")]
    return Neon;
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return Scalar;
}

/// The specials of the 64 bytes that were looked at last.
///
/// Short strings lie many to a block. Where one ends then follows from a shift of the mask that is there already,
/// instead of a new load that cannot begin before the end of the string before it is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    start: usize,
    specials: u64,
}

impl Window {
    /// Nothing looked at yet. No offset lies in it: none is so near to the end of the address space.
    pub(super) const NONE: Self = Self { start: usize::MAX - 64, specials: 0 };

    /// The window on the block at `start`, given what is in it.
    #[inline(always)]
    pub(super) fn new(start: usize, classes: Classes) -> Self {
        Self { start, specials: classes.backslash | classes.ending }
    }

    /// Where the block begins that `at` lies in: that of the window, or a new one.
    #[inline(always)]
    pub(super) fn block_of(self, at: usize) -> usize {
        if at.wrapping_sub(self.start) < 64 { self.start } else { at }
    }
}

/// The first quote, backslash or control byte at or after `from`, or the text's length.
///
/// `window` belongs to this text. `high` is set when a byte from `from` on to there is 0x80 or above, in this call or in
/// the one that filled the window; it may be set for bytes near by, too.
#[inline(always)]
pub(super) fn skip_plain<S: Simd>(simd: S, bytes: &[u8], from: usize, window: &mut Window, high: &mut bool) -> usize {
    let mut at = from;
    let into = at.wrapping_sub(window.start);
    if into < 64 {
        let specials = window.specials >> into;
        if specials != 0 {
            return at + specials.trailing_zeros() as usize;
        }
        at = window.start + 64;
    }
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<64>()) {
        let specials = simd.specials(block, high);
        if specials != 0 {
            *window = Window { start: at, specials };
            return at + specials.trailing_zeros() as usize;
        }
        at += 64;
    }
    skip_plain_tail(simd, bytes, at, window, high)
}

/// `skip_plain` where less than a block is left.
#[inline(always)]
fn skip_plain_tail<S: Simd>(simd: S, bytes: &[u8], from: usize, window: &mut Window, high: &mut bool) -> usize {
    let mut at = from;
    if at >= bytes.len() {
        return bytes.len();
    }
    if let Some(block) = bytes.last_chunk::<64>() {
        // The last whole block begins before `at`; what lies there is shifted out.
        *window = Window { start: bytes.len() - 64, specials: simd.specials(block, high) };
        let specials = window.specials >> (at - window.start);
        return if specials == 0 { bytes.len() } else { at + specials.trailing_zeros() as usize };
    }
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        let specials = simd.specials_16(block, high);
        if specials != 0 {
            return at + specials.trailing_zeros() as usize;
        }
        at += 16;
    }
    while let Some(&byte) = bytes.get(at) {
        if is_special(byte) {
            return at;
        }
        *high |= byte >= 0x80;
        at += 1;
    }
    at
}

#[inline(always)]
fn is_special(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// The text, if it is ASCII that stands in JSON as it is: nearly every name and word does, and most are too short for wider steps than these.
#[inline]
pub(crate) fn plain_ascii(bytes: &[u8]) -> Option<&str> {
    let special = if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        let mut special = special_bytes(u64::from_ne_bytes(*first)) | special_bytes(u64::from_ne_bytes(*last));
        let mut rest = &bytes[8..];
        // Names of up to sixteen bytes, nearly all, are done.
        while let (Some(word), true) = (rest.first_chunk::<8>(), rest.len() > 8) {
            special |= special_bytes(u64::from_ne_bytes(*word));
            rest = &rest[8..];
        }
        special
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        special_bytes(u64::from(u32::from_ne_bytes(*first)) << 32 | u64::from(u32::from_ne_bytes(*last)))
    } else {
        bytes.iter().fold(0, |special, byte| special | u64::from(is_special(*byte) || !byte.is_ascii()))
    };
    // SAFETY: no byte has its top bit set, and ASCII is UTF-8.
    (special == 0).then(|| unsafe { str::from_utf8_unchecked(bytes) })
}

/// Not zero if any of eight bytes is a quote, a backslash, below 0x20, or 0x80 and above.
#[inline(always)]
const fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    // What is subtracted from a smaller byte borrows into its top bit; those that had it before do not matter, as they count anyway.
    let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    (quote | backslash | word.wrapping_sub(ONES * 0x20) | word) & (ONES << 7)
}

/// Plain Rust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scalar;

impl Simd for Scalar {
    type Block = [u8; 64];

    #[inline]
    fn load(self, bytes: &[u8; 64]) -> [u8; 64] {
        *bytes
    }

    #[inline]
    fn equal(self, block: [u8; 64], byte: u8) -> [u8; 64] {
        block.map(|lane| if lane == byte { 0xff } else { 0 })
    }

    #[inline]
    fn below(self, block: [u8; 64], byte: u8) -> [u8; 64] {
        block.map(|lane| if lane < byte { 0xff } else { 0 })
    }

    #[inline]
    fn minus(self, block: [u8; 64], byte: u8) -> [u8; 64] {
        block.map(|lane| lane.wrapping_sub(byte))
    }

    #[inline]
    fn flip(self, block: [u8; 64], byte: u8) -> [u8; 64] {
        block.map(|lane| lane ^ byte)
    }

    #[inline]
    fn or(self, mut left: [u8; 64], right: [u8; 64]) -> [u8; 64] {
        left.iter_mut().zip(right).for_each(|(left, right)| *left |= right);
        left
    }

    #[inline]
    fn with_bits(self, block: [u8; 64], byte: u8) -> [u8; 64] {
        block.map(|lane| lane | byte)
    }

    #[inline]
    fn any(self, block: [u8; 64]) -> bool {
        block.iter().any(|lane| *lane >= 0x80)
    }

    #[inline]
    fn mask(self, block: [u8; 64]) -> u64 {
        block.iter().rev().fold(0, |mask, lane| mask << 1 | u64::from(lane >> 7))
    }

    #[inline]
    fn specials_16(self, bytes: &[u8; 16], high: &mut bool) -> u32 {
        *high |= !bytes.is_ascii();
        bytes.iter().rev().fold(0, |mask, &byte| mask << 1 | u32::from(is_special(byte)))
    }
}

#[cfg(target_arch = "x86_64")]
use x86::run_avx2;
#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Sse2};

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "aarch64")]
pub(super) use arm::Neon;

#[cfg(target_arch = "aarch64")]
mod arm;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Classes, Digits, Job, Level, Scalar, Simd, Window, is_special, plain_ascii, skip_plain};

    struct Classify<'a>(&'a [u8; 64]);

    impl Job for Classify<'_> {
        type Output = (Classes, Digits, u64, u32, [bool; 2]);
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Self::Output {
            let mut high = [false; 2];
            let mut quarter = [0; 16];
            quarter.copy_from_slice(&self.0[48..]);
            let specials = simd.specials(self.0, &mut high[0]);
            let last_quarter = simd.specials_16(&quarter, &mut high[1]);
            let block = simd.load(self.0);
            (simd.classify(block), simd.digits(block), specials, last_quarter, high)
        }
    }

    /// From each of the places in turn, with one window.
    struct Skip<'a>(&'a [u8], &'a [usize]);

    impl Job for Skip<'_> {
        type Output = (Vec<usize>, bool);
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Self::Output {
            let (mut window, mut high) = (Window::NONE, false);
            let mut stops = Vec::new();
            for &from in self.1 {
                stops.push(skip_plain(simd, self.0, from, &mut window, &mut high));
            }
            (stops, high)
        }
    }

    /// Every level says of `block` what plain Rust says.
    fn check(block: &[u8; 64]) {
        let expected = Level::Scalar.run(Classify(block));
        let (classes, _, specials, last_quarter, high) = expected;
        assert_eq!(specials, classes.backslash | classes.ending);
        assert_eq!(u64::from(last_quarter), specials >> 48);
        assert_eq!(high, [!block.is_ascii(), !block[48..].is_ascii()]);
        for level in Level::all() {
            assert_eq!(level.run(Classify(block)), expected, "{level:?} {block:?}");
        }
    }

    #[test]
    fn every_byte_in_every_lane() {
        for byte in 0..=u8::MAX {
            for lane in 0..64 {
                let mut block = [b'x'; 64];
                block[lane] = byte;
                check(&block);
                let at_lane = |mask: u64| mask >> lane & 1 == 1;
                let classes = Scalar.classify(block);
                assert_eq!(at_lane(classes.backslash), byte == b'\\');
                assert_eq!(at_lane(classes.ending), byte == b'"' || byte < 0x20);
                assert_eq!(at_lane(classes.simple), br#""\/bfnrt"#.contains(&byte));
                let digits = Scalar.digits(block);
                assert_eq!(at_lane(digits.unicode), byte == b'u');
                assert_eq!(at_lane(digits.hex), byte.is_ascii_hexdigit());
                assert_eq!(at_lane(digits.surrogate), b"dD".contains(&byte));
                assert_eq!(at_lane(digits.high_half), b"89abAB".contains(&byte));
                assert_eq!(at_lane(digits.low_half), b"cdefCDEF".contains(&byte));
            }
        }
    }

    /// Every level stops where a plain search stops, and misses no byte of 0x80 or above on the way.
    fn check_skip(text: &[u8], places: &[usize]) {
        let plain = |&from: &usize| text[from..].iter().position(|byte| is_special(*byte)).map_or(text.len(), |found| from + found);
        let expected: Vec<usize> = places.iter().map(plain).collect();
        let ascii = places.iter().zip(&expected).all(|(from, stop)| text[*from..*stop].is_ascii());
        for level in Level::all() {
            let (stops, high) = level.run(Skip(text, places));
            assert_eq!(stops, expected, "{level:?} {places:?} {text:?}");
            assert!(high || ascii, "{level:?} {places:?} {text:?}");
            assert!(!(high && text.is_ascii()), "{level:?} {places:?} {text:?}");
        }
    }

    #[test]
    fn skip_stops_at_each_place() {
        for length in 0..200 {
            for stop in 0..=length {
                let mut text = vec![b'x'; length];
                if let Some(byte) = text.get_mut(stop) {
                    *byte = [b'"', b'\\', 0, 0x1f][stop % 4];
                }
                check_skip(&text, &[0, stop / 2, stop, (stop + 1).min(length), length]);
            }
        }
    }

    proptest! {
        #[test]
        fn plain_ascii_has_nothing_that_matters(bytes in proptest::collection::vec(prop_oneof![20 => 0x20..0x7f_u8, 1 => any::<u8>(), 1 => proptest::sample::select(&b"\"\\\x1f\x20\x7f\x80"[..])], 0..40)) {
            let expected = str::from_utf8(&bytes).ok().filter(|text| text.is_ascii() && !bytes.iter().any(|byte| is_special(*byte)));
            prop_assert_eq!(plain_ascii(&bytes), expected);
        }

        #[test]
        fn random_blocks_agree(block in proptest::collection::vec(any::<u8>(), 64)) {
            let mut array = [0; 64];
            array.copy_from_slice(&block);
            check(&array);
        }

        #[test]
        fn skipping_agrees_with_a_plain_search(
            text in proptest::collection::vec(prop_oneof![6 => Just(b'x'), 1 => 0x1e_u8..=0xff], 0..300),
            mut places in proptest::collection::vec(0_usize..300, 1..12),
        ) {
            places.iter_mut().for_each(|place| *place = (*place).min(text.len()));
            places.sort_unstable();
            check_skip(&text, &places);
        }
    }
}
