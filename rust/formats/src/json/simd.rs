//! Blocks of 64 bytes at a time: the only file of this crate with `unsafe`.
//!
//! Inside a string three kinds of byte matter: the quote, the backslash, and whatever is below 0x20. One
//! implementation of [`Simd`] per instruction set finds them; [`Level`] says which of them this machine has. Code that
//! wants the wider one is written once as a [`Job`], generic over `Simd`, and [`Level::run`] enters it through a
//! function that has the instruction set switched on, so that everything below is inlined into it.

#![expect(unsafe_code, reason = "vector instructions; every block says why it is sound")]

/// Where the bytes that matter inside a string lie in a block of 64; bit n is byte n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Classes {
    pub(super) quote: u64,
    pub(super) backslash: u64,
    /// Bytes below 0x20.
    pub(super) control: u64,
    /// Whether any byte is 0x80 or above.
    pub(super) high: bool,
}

/// One instruction set's way to look at 64 bytes. A value of the type proves that the machine has the set.
pub(super) trait Simd: Copy {
    /// All four classes at once.
    fn classify(self, block: &[u8; 64]) -> Classes;

    /// The union of quote, backslash and control; sets `high` when a byte is 0x80 or above, else leaves it.
    fn specials(self, block: &[u8; 64], high: &mut bool) -> u64;

    /// `specials` of 16 bytes, in the lower 16 bits.
    fn specials_16(self, block: &[u8; 16], high: &mut bool) -> u32;
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

/// The first quote, backslash or control byte at or after `from`, or the text's length.
#[inline(always)]
pub(super) fn skip_plain<S: Simd>(simd: S, bytes: &[u8], from: usize, high: &mut bool) -> usize {
    let mut at = from;
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<64>()) {
        let specials = simd.specials(block, high);
        if specials != 0 {
            return at + specials.trailing_zeros() as usize;
        }
        at += 64;
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

/// Plain Rust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scalar;

impl Simd for Scalar {
    #[inline]
    fn classify(self, block: &[u8; 64]) -> Classes {
        let mut classes = Classes { quote: 0, backslash: 0, control: 0, high: false };
        for (index, &byte) in block.iter().enumerate() {
            classes.quote |= u64::from(byte == b'"') << index;
            classes.backslash |= u64::from(byte == b'\\') << index;
            classes.control |= u64::from(byte < 0x20) << index;
            classes.high |= byte >= 0x80;
        }
        classes
    }

    #[inline]
    fn specials(self, block: &[u8; 64], high: &mut bool) -> u64 {
        let mut specials = 0;
        for (index, &byte) in block.iter().enumerate() {
            specials |= u64::from(is_special(byte)) << index;
            *high |= byte >= 0x80;
        }
        specials
    }

    #[inline]
    fn specials_16(self, block: &[u8; 16], high: &mut bool) -> u32 {
        let mut specials = 0;
        for (index, &byte) in block.iter().enumerate() {
            specials |= u32::from(is_special(byte)) << index;
            *high |= byte >= 0x80;
        }
        specials
    }
}

#[cfg(target_arch = "x86_64")]
use x86::run_avx2;
#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Sse2};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::{
        __m128i, __m256i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8, _mm256_cmpeq_epi8,
        _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    };

    use super::{Classes, Job, Simd};

    /// Part of every x86-64.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Sse2;

    /// AVX2 with the bit instructions that came with it. Made by `detect` only.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Avx2(());

    impl Avx2 {
        #[inline]
        pub(crate) fn detect() -> Option<Self> {
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1") && is_x86_feature_detected!("bmi2")).then_some(Self(()))
        }
    }

    /// The door into code with AVX2 switched on.
    #[target_feature(enable = "avx2,bmi1,bmi2")]
    pub(crate) fn run_avx2<J: Job>(job: J, avx2: Avx2) -> J::Output {
        job.run(avx2)
    }

    #[inline(always)]
    fn mask_128(vector: __m128i) -> u32 {
        // SAFETY: SSE2 is part of every x86-64.
        unsafe { _mm_movemask_epi8(vector) as u32 }
    }

    #[inline(always)]
    fn equal_128(vector: __m128i, byte: u8) -> __m128i {
        // SAFETY: SSE2 is part of every x86-64.
        unsafe { _mm_cmpeq_epi8(vector, _mm_set1_epi8(byte as i8)) }
    }

    #[inline(always)]
    fn control_128(vector: __m128i) -> __m128i {
        // SAFETY: SSE2 is part of every x86-64. There is no unsigned compare; `min(v, 31) == v` says `v <= 31`.
        unsafe { _mm_cmpeq_epi8(_mm_min_epu8(vector, _mm_set1_epi8(0x1f)), vector) }
    }

    #[inline(always)]
    fn or_128(left: __m128i, right: __m128i) -> __m128i {
        // SAFETY: SSE2 is part of every x86-64.
        unsafe { _mm_or_si128(left, right) }
    }

    #[inline(always)]
    fn specials_128(vector: __m128i) -> __m128i {
        or_128(or_128(equal_128(vector, b'"'), equal_128(vector, b'\\')), control_128(vector))
    }

    #[inline(always)]
    fn load_128(block: &[u8; 16]) -> __m128i {
        // SAFETY: SSE2 is part of every x86-64; the reference covers 16 readable bytes; the load needs no alignment.
        unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
    }

    #[inline(always)]
    fn load_4x128(block: &[u8; 64]) -> [__m128i; 4] {
        let (quarters, _) = block.as_chunks::<16>();
        [load_128(&quarters[0]), load_128(&quarters[1]), load_128(&quarters[2]), load_128(&quarters[3])]
    }

    #[inline(always)]
    fn mask_4x128(vectors: [__m128i; 4]) -> u64 {
        let [a, b, c, d] = vectors.map(|vector| u64::from(mask_128(vector)));
        a | b << 16 | c << 32 | d << 48
    }

    impl Simd for Sse2 {
        #[inline(always)]
        fn classify(self, block: &[u8; 64]) -> Classes {
            let vectors = load_4x128(block);
            let [a, b, c, d] = vectors;
            Classes {
                quote: mask_4x128(vectors.map(|vector| equal_128(vector, b'"'))),
                backslash: mask_4x128(vectors.map(|vector| equal_128(vector, b'\\'))),
                control: mask_4x128(vectors.map(control_128)),
                high: mask_128(or_128(or_128(a, b), or_128(c, d))) != 0,
            }
        }

        #[inline(always)]
        fn specials(self, block: &[u8; 64], high: &mut bool) -> u64 {
            let vectors = load_4x128(block);
            let [a, b, c, d] = vectors;
            *high |= mask_128(or_128(or_128(a, b), or_128(c, d))) != 0;
            let found = vectors.map(specials_128);
            let [a, b, c, d] = found;
            if mask_128(or_128(or_128(a, b), or_128(c, d))) == 0 {
                return 0;
            }
            mask_4x128(found)
        }

        #[inline(always)]
        fn specials_16(self, block: &[u8; 16], high: &mut bool) -> u32 {
            let vector = load_128(block);
            *high |= mask_128(vector) != 0;
            mask_128(specials_128(vector))
        }
    }

    // The functions below take `Avx2` values, so they are reached only where `detect` found the set.

    #[inline(always)]
    fn mask_256(_: Avx2, vector: __m256i) -> u32 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_movemask_epi8(vector) as u32 }
    }

    #[inline(always)]
    fn equal_256(_: Avx2, vector: __m256i, byte: u8) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_cmpeq_epi8(vector, _mm256_set1_epi8(byte as i8)) }
    }

    #[inline(always)]
    fn control_256(_: Avx2, vector: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2. `min(v, 31) == v` says `v <= 31` without a sign.
        unsafe { _mm256_cmpeq_epi8(_mm256_min_epu8(vector, _mm256_set1_epi8(0x1f)), vector) }
    }

    #[inline(always)]
    fn or_256(_: Avx2, left: __m256i, right: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_or_si256(left, right) }
    }

    #[inline(always)]
    fn specials_256(avx2: Avx2, vector: __m256i) -> __m256i {
        or_256(avx2, or_256(avx2, equal_256(avx2, vector, b'"'), equal_256(avx2, vector, b'\\')), control_256(avx2, vector))
    }

    #[inline(always)]
    fn load_2x256(_: Avx2, block: &[u8; 64]) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2; 32 readable bytes start at offset 0 and at offset 32; no alignment needed.
        unsafe { [_mm256_loadu_si256(block.as_ptr().cast()), _mm256_loadu_si256(block.as_ptr().add(32).cast())] }
    }

    #[inline(always)]
    fn mask_2x256(avx2: Avx2, low: __m256i, high: __m256i) -> u64 {
        u64::from(mask_256(avx2, low)) | u64::from(mask_256(avx2, high)) << 32
    }

    impl Simd for Avx2 {
        #[inline(always)]
        fn classify(self, block: &[u8; 64]) -> Classes {
            let [a, b] = load_2x256(self, block);
            Classes {
                quote: mask_2x256(self, equal_256(self, a, b'"'), equal_256(self, b, b'"')),
                backslash: mask_2x256(self, equal_256(self, a, b'\\'), equal_256(self, b, b'\\')),
                control: mask_2x256(self, control_256(self, a), control_256(self, b)),
                high: mask_256(self, or_256(self, a, b)) != 0,
            }
        }

        #[inline(always)]
        fn specials(self, block: &[u8; 64], high: &mut bool) -> u64 {
            let [a, b] = load_2x256(self, block);
            *high |= mask_256(self, or_256(self, a, b)) != 0;
            let (a, b) = (specials_256(self, a), specials_256(self, b));
            if mask_256(self, or_256(self, a, b)) == 0 {
                return 0;
            }
            mask_2x256(self, a, b)
        }

        #[inline(always)]
        fn specials_16(self, block: &[u8; 16], high: &mut bool) -> u32 {
            Sse2.specials_16(block, high)
        }
    }
}

#[cfg(target_arch = "aarch64")]
pub(super) use arm::Neon;

#[cfg(target_arch = "aarch64")]
mod arm {
    use core::arch::aarch64::{
        uint8x16_t, vaddv_u8, vandq_u8, vceqq_u8, vcltq_u8, vdupq_n_u8, vget_high_u8, vget_low_u8, vgetq_lane_u64, vld1q_u8, vmaxvq_u8,
        vorrq_u8, vpaddq_u8, vreinterpretq_u64_u8,
    };

    use super::{Classes, Simd};

    /// Part of every aarch64 that Rust's Linux targets know.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Neon;

    /// The weight of each lane within its group of eight.
    const WEIGHTS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];

    #[inline(always)]
    fn load(block: &[u8; 16]) -> uint8x16_t {
        // SAFETY: NEON is part of the target; the reference covers 16 readable bytes.
        unsafe { vld1q_u8(block.as_ptr()) }
    }

    #[inline(always)]
    fn load_4(block: &[u8; 64]) -> [uint8x16_t; 4] {
        let (quarters, _) = block.as_chunks::<16>();
        [load(&quarters[0]), load(&quarters[1]), load(&quarters[2]), load(&quarters[3])]
    }

    #[inline(always)]
    fn equal(vector: uint8x16_t, byte: u8) -> uint8x16_t {
        // SAFETY: NEON is part of the target.
        unsafe { vceqq_u8(vector, vdupq_n_u8(byte)) }
    }

    #[inline(always)]
    fn control(vector: uint8x16_t) -> uint8x16_t {
        // SAFETY: NEON is part of the target.
        unsafe { vcltq_u8(vector, vdupq_n_u8(0x20)) }
    }

    #[inline(always)]
    fn or(left: uint8x16_t, right: uint8x16_t) -> uint8x16_t {
        // SAFETY: NEON is part of the target.
        unsafe { vorrq_u8(left, right) }
    }

    #[inline(always)]
    fn largest(vector: uint8x16_t) -> u8 {
        // SAFETY: NEON is part of the target.
        unsafe { vmaxvq_u8(vector) }
    }

    #[inline(always)]
    fn specials_of(vector: uint8x16_t) -> uint8x16_t {
        or(or(equal(vector, b'"'), equal(vector, b'\\')), control(vector))
    }

    /// One bit per lane of four vectors whose lanes are 0 or 255: weigh each lane, add neighbours three times.
    #[inline(always)]
    fn mask_4(vectors: [uint8x16_t; 4]) -> u64 {
        let weights = load(&WEIGHTS);
        // SAFETY: NEON is part of the target.
        unsafe {
            let [a, b, c, d] = vectors.map(|vector| vandq_u8(vector, weights));
            let sum = vpaddq_u8(vpaddq_u8(a, b), vpaddq_u8(c, d));
            vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(sum, sum)))
        }
    }

    impl Simd for Neon {
        #[inline(always)]
        fn classify(self, block: &[u8; 64]) -> Classes {
            let vectors = load_4(block);
            let [a, b, c, d] = vectors;
            Classes {
                quote: mask_4(vectors.map(|vector| equal(vector, b'"'))),
                backslash: mask_4(vectors.map(|vector| equal(vector, b'\\'))),
                control: mask_4(vectors.map(control)),
                high: largest(or(or(a, b), or(c, d))) >= 0x80,
            }
        }

        #[inline(always)]
        fn specials(self, block: &[u8; 64], high: &mut bool) -> u64 {
            let vectors = load_4(block);
            let [a, b, c, d] = vectors;
            *high |= largest(or(or(a, b), or(c, d))) >= 0x80;
            let found = vectors.map(specials_of);
            let [a, b, c, d] = found;
            if largest(or(or(a, b), or(c, d))) == 0 {
                return 0;
            }
            mask_4(found)
        }

        #[inline(always)]
        fn specials_16(self, block: &[u8; 16], high: &mut bool) -> u32 {
            let vector = load(block);
            *high |= largest(vector) >= 0x80;
            // SAFETY: NEON is part of the target.
            unsafe {
                let weighed = vandq_u8(specials_of(vector), load(&WEIGHTS));
                u32::from(vaddv_u8(vget_low_u8(weighed))) | u32::from(vaddv_u8(vget_high_u8(weighed))) << 8
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Classes, Job, Level, Scalar, Simd, is_special, skip_plain};

    struct Classify<'a>(&'a [u8; 64]);

    impl Job for Classify<'_> {
        type Output = (Classes, u64, u32, [bool; 2]);
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Self::Output {
            let mut high = [false; 2];
            let mut quarter = [0; 16];
            quarter.copy_from_slice(&self.0[48..]);
            let specials = simd.specials(self.0, &mut high[0]);
            (simd.classify(self.0), specials, simd.specials_16(&quarter, &mut high[1]), high)
        }
    }

    struct Skip<'a>(&'a [u8], usize);

    impl Job for Skip<'_> {
        type Output = (usize, bool);
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Self::Output {
            let mut high = false;
            (skip_plain(simd, self.0, self.1, &mut high), high)
        }
    }

    /// Every level says of `block` what plain Rust says.
    fn check(block: &[u8; 64]) {
        let expected = Level::Scalar.run(Classify(block));
        assert_eq!(expected.1, expected.0.quote | expected.0.backslash | expected.0.control);
        assert_eq!(expected.3, [block.iter().any(|byte| *byte >= 0x80), block[48..].iter().any(|byte| *byte >= 0x80)]);
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
                let classes = Scalar.classify(&block);
                let bit = |condition: bool| u64::from(condition) << lane;
                assert_eq!(classes.quote, bit(byte == b'"'));
                assert_eq!(classes.backslash, bit(byte == b'\\'));
                assert_eq!(classes.control, bit(byte < 0x20));
                assert_eq!(classes.high, byte >= 0x80);
            }
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
                for level in Level::all() {
                    for from in [0, stop / 2, stop] {
                        assert_eq!(level.run(Skip(&text, from)), (stop, false), "{level:?} {length} {from}");
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn random_blocks_agree(block in proptest::collection::vec(any::<u8>(), 64)) {
            let mut array = [0; 64];
            array.copy_from_slice(&block);
            check(&array);
        }

        #[test]
        fn skipping_agrees_with_a_plain_search(text in proptest::collection::vec(0x1e_u8..=0xff, 0..300), from in 0_usize..300) {
            let from = from.min(text.len());
            let expected = text[from..].iter().position(|byte| is_special(*byte)).map_or(text.len(), |found| from + found);
            for level in Level::all() {
                let (stop, high) = level.run(Skip(&text, from));
                prop_assert_eq!(stop, expected);
                // The flag may also report bytes behind the stop, never miss one before it.
                prop_assert!(high || text[from..stop].is_ascii());
            }
        }
    }
}
