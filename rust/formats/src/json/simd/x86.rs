//! x86-64: SSE2, which every machine has, and AVX2.

use core::arch::x86_64::{
    __m128i, __m256i, _mm_add_epi8, _mm_cmpeq_epi8, _mm_cmpgt_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    _mm_xor_si128, _mm256_add_epi8, _mm256_broadcastsi128_si256, _mm256_cmpeq_epi8, _mm256_cmpgt_epi8, _mm256_loadu_si256,
    _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8, _mm256_shuffle_epi8, _mm256_xor_si256,
};

use super::{Job, SIMPLE_BUT_B_AND_R, Simd};

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

impl Simd for Sse2 {
    type Block = [__m128i; 4];

    #[inline(always)]
    fn load(self, bytes: &[u8; 64]) -> Self::Block {
        let (quarters, _) = bytes.as_chunks::<16>();
        [load_128(&quarters[0]), load_128(&quarters[1]), load_128(&quarters[2]), load_128(&quarters[3])]
    }

    #[inline(always)]
    fn equal(self, block: Self::Block, byte: u8) -> Self::Block {
        block.map(|lanes| equal_128(lanes, byte))
    }

    #[inline(always)]
    fn below(self, block: Self::Block, byte: u8) -> Self::Block {
        block.map(|lanes| below_128(lanes, byte))
    }

    #[inline(always)]
    fn minus(self, block: Self::Block, byte: u8) -> Self::Block {
        // SAFETY: SSE2 is part of every x86-64.
        block.map(|lanes| unsafe { _mm_add_epi8(lanes, _mm_set1_epi8(byte.wrapping_neg() as i8)) })
    }

    #[inline(always)]
    fn flip(self, block: Self::Block, byte: u8) -> Self::Block {
        // SAFETY: SSE2 is part of every x86-64.
        block.map(|lanes| unsafe { _mm_xor_si128(lanes, _mm_set1_epi8(byte as i8)) })
    }

    #[inline(always)]
    fn or(self, left: Self::Block, right: Self::Block) -> Self::Block {
        let ([a, b, c, d], [e, f, g, h]) = (left, right);
        [or_128(a, e), or_128(b, f), or_128(c, g), or_128(d, h)]
    }

    #[inline(always)]
    fn with_bits(self, block: Self::Block, byte: u8) -> Self::Block {
        // SAFETY: SSE2 is part of every x86-64.
        block.map(|lanes| or_128(lanes, unsafe { _mm_set1_epi8(byte as i8) }))
    }

    #[inline(always)]
    fn any(self, block: Self::Block) -> bool {
        let [a, b, c, d] = block;
        mask_128(or_128(or_128(a, b), or_128(c, d))) != 0
    }

    #[inline(always)]
    fn mask(self, block: Self::Block) -> u64 {
        let [a, b, c, d] = block.map(|lanes| u64::from(mask_128(lanes)));
        a | b << 16 | c << 32 | d << 48
    }

    #[inline(always)]
    fn specials_16(self, bytes: &[u8; 16], high: &mut bool) -> u32 {
        let lanes = load_128(bytes);
        *high |= mask_128(lanes) != 0;
        mask_128(or_128(or_128(equal_128(lanes, b'"'), equal_128(lanes, b'\\')), below_128(lanes, 0x20)))
    }
}

#[inline(always)]
fn load_128(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: SSE2 is part of every x86-64; the reference covers 16 readable bytes; the load needs no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline(always)]
fn equal_128(lanes: __m128i, byte: u8) -> __m128i {
    // SAFETY: SSE2 is part of every x86-64.
    unsafe { _mm_cmpeq_epi8(lanes, _mm_set1_epi8(byte as i8)) }
}

#[inline(always)]
fn below_128(lanes: __m128i, byte: u8) -> __m128i {
    // SAFETY: SSE2 is part of every x86-64. The compare is signed; with the top bits flipped that makes no difference.
    unsafe { _mm_cmpgt_epi8(_mm_set1_epi8((byte ^ 0x80) as i8), _mm_xor_si128(lanes, _mm_set1_epi8(i8::MIN))) }
}

#[inline(always)]
fn or_128(left: __m128i, right: __m128i) -> __m128i {
    // SAFETY: SSE2 is part of every x86-64.
    unsafe { _mm_or_si128(left, right) }
}

#[inline(always)]
fn mask_128(lanes: __m128i) -> u32 {
    // SAFETY: SSE2 is part of every x86-64.
    unsafe { _mm_movemask_epi8(lanes) as u32 }
}

impl Simd for Avx2 {
    type Block = [__m256i; 2];

    #[inline(always)]
    fn load(self, bytes: &[u8; 64]) -> Self::Block {
        // SAFETY: the token proves AVX2; 32 readable bytes start at offset 0 and at offset 32; no alignment needed.
        unsafe { [_mm256_loadu_si256(bytes.as_ptr().cast()), _mm256_loadu_si256(bytes.as_ptr().add(32).cast())] }
    }

    #[inline(always)]
    fn equal(self, [low, high]: Self::Block, byte: u8) -> Self::Block {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_cmpeq_epi8(low, _mm256_set1_epi8(byte as i8)), _mm256_cmpeq_epi8(high, _mm256_set1_epi8(byte as i8))] }
    }

    #[inline(always)]
    fn below(self, [low, high]: Self::Block, byte: u8) -> Self::Block {
        let [low, high] = self.flip([low, high], 0x80);
        // SAFETY: the token proves AVX2. The compare is signed; with the top bits flipped that makes no difference.
        unsafe {
            let limit = _mm256_set1_epi8((byte ^ 0x80) as i8);
            [_mm256_cmpgt_epi8(limit, low), _mm256_cmpgt_epi8(limit, high)]
        }
    }

    #[inline(always)]
    fn minus(self, [low, high]: Self::Block, byte: u8) -> Self::Block {
        // SAFETY: the token proves AVX2.
        unsafe {
            let negative = _mm256_set1_epi8(byte.wrapping_neg() as i8);
            [_mm256_add_epi8(low, negative), _mm256_add_epi8(high, negative)]
        }
    }

    #[inline(always)]
    fn flip(self, [low, high]: Self::Block, byte: u8) -> Self::Block {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_xor_si256(low, _mm256_set1_epi8(byte as i8)), _mm256_xor_si256(high, _mm256_set1_epi8(byte as i8))] }
    }

    #[inline(always)]
    fn or(self, [a, b]: Self::Block, [c, d]: Self::Block) -> Self::Block {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_or_si256(a, c), _mm256_or_si256(b, d)] }
    }

    #[inline(always)]
    fn with_bits(self, [low, high]: Self::Block, byte: u8) -> Self::Block {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_or_si256(low, _mm256_set1_epi8(byte as i8)), _mm256_or_si256(high, _mm256_set1_epi8(byte as i8))] }
    }

    #[inline(always)]
    fn any(self, [low, high]: Self::Block) -> bool {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_movemask_epi8(_mm256_or_si256(low, high)) != 0 }
    }

    #[inline(always)]
    fn mask(self, [low, high]: Self::Block) -> u64 {
        // SAFETY: the token proves AVX2.
        unsafe { u64::from(_mm256_movemask_epi8(low) as u32) | u64::from(_mm256_movemask_epi8(high) as u32) << 32 }
    }

    #[inline(always)]
    fn specials_16(self, bytes: &[u8; 16], high: &mut bool) -> u32 {
        Sse2.specials_16(bytes, high)
    }

    #[inline(always)]
    fn simple(self, [low, high]: Self::Block) -> Self::Block {
        // SAFETY: the token proves AVX2.
        let others = unsafe {
            // Above 0x7f the shuffle gives 0, which such a byte does not equal either.
            let table = _mm256_broadcastsi128_si256(load_128(&SIMPLE_BUT_B_AND_R));
            [_mm256_cmpeq_epi8(_mm256_shuffle_epi8(table, low), low), _mm256_cmpeq_epi8(_mm256_shuffle_epi8(table, high), high)]
        };
        self.or(self.b_or_r([low, high]), others)
    }
}
