//! aarch64: NEON.

use core::arch::aarch64::{
    uint8x16_t, vaddv_u8, vandq_u8, vceqq_u8, vcltq_u8, vdupq_n_u8, veorq_u8, vget_high_u8, vget_low_u8, vgetq_lane_u64, vld1q_s8,
    vld1q_u8, vmaxvq_u8, vorrq_u8, vpaddq_u8, vqtbl1q_u8, vreinterpretq_u64_u8, vshlq_u8, vshrq_n_u8, vsubq_u8,
};

use super::{SIMPLE_BUT_B_AND_R, Simd};

/// Part of every aarch64 that Rust's Linux targets know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Neon;

/// The place of each lane within its group of eight.
const PLACES: [i8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7];

impl Simd for Neon {
    type Block = [uint8x16_t; 4];

    #[inline(always)]
    fn load(self, bytes: &[u8; 64]) -> Self::Block {
        let (quarters, _) = bytes.as_chunks::<16>();
        [load(&quarters[0]), load(&quarters[1]), load(&quarters[2]), load(&quarters[3])]
    }

    #[inline(always)]
    fn equal(self, block: Self::Block, byte: u8) -> Self::Block {
        block.map(|lanes| equal(lanes, byte))
    }

    #[inline(always)]
    fn below(self, block: Self::Block, byte: u8) -> Self::Block {
        block.map(|lanes| below(lanes, byte))
    }

    #[inline(always)]
    fn minus(self, block: Self::Block, byte: u8) -> Self::Block {
        // SAFETY: NEON is part of the target.
        block.map(|lanes| unsafe { vsubq_u8(lanes, vdupq_n_u8(byte)) })
    }

    #[inline(always)]
    fn flip(self, block: Self::Block, byte: u8) -> Self::Block {
        // SAFETY: NEON is part of the target.
        block.map(|lanes| unsafe { veorq_u8(lanes, vdupq_n_u8(byte)) })
    }

    #[inline(always)]
    fn or(self, left: Self::Block, right: Self::Block) -> Self::Block {
        let ([a, b, c, d], [e, f, g, h]) = (left, right);
        [or(a, e), or(b, f), or(c, g), or(d, h)]
    }

    #[inline(always)]
    fn with_bits(self, block: Self::Block, byte: u8) -> Self::Block {
        // SAFETY: NEON is part of the target.
        block.map(|lanes| or(lanes, unsafe { vdupq_n_u8(byte) }))
    }

    #[inline(always)]
    fn any(self, block: Self::Block) -> bool {
        let [a, b, c, d] = block;
        largest(or(or(a, b), or(c, d))) >= 0x80
    }

    /// Moves each lane's top bit to the lane's place in its group, then adds neighbours three times.
    #[inline(always)]
    fn mask(self, block: Self::Block) -> u64 {
        // SAFETY: NEON is part of the target.
        unsafe {
            let [a, b, c, d] = block.map(placed_top_bits);
            let sum = vpaddq_u8(vpaddq_u8(a, b), vpaddq_u8(c, d));
            vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(sum, sum)))
        }
    }

    #[inline(always)]
    fn simple(self, block: Self::Block) -> Self::Block {
        self.or(self.b_or_r(block), block.map(is_its_entry))
    }

    #[inline(always)]
    fn specials_16(self, bytes: &[u8; 16], high: &mut bool) -> u32 {
        let lanes = load(bytes);
        *high |= largest(lanes) >= 0x80;
        let specials = or(or(equal(lanes, b'"'), equal(lanes, b'\\')), below(lanes, 0x20));
        let bits = placed_top_bits(specials);
        // SAFETY: NEON is part of the target.
        unsafe { u32::from(vaddv_u8(vget_low_u8(bits))) | u32::from(vaddv_u8(vget_high_u8(bits))) << 8 }
    }
}

#[inline(always)]
fn placed_top_bits(lanes: uint8x16_t) -> uint8x16_t {
    // SAFETY: NEON is part of the target; `PLACES` has 16 readable bytes.
    unsafe { vshlq_u8(vshrq_n_u8::<7>(lanes), vld1q_s8(PLACES.as_ptr())) }
}

#[inline(always)]
fn load(bytes: &[u8; 16]) -> uint8x16_t {
    // SAFETY: NEON is part of the target; the reference covers 16 readable bytes.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

#[inline(always)]
fn equal(lanes: uint8x16_t, byte: u8) -> uint8x16_t {
    // SAFETY: NEON is part of the target.
    unsafe { vceqq_u8(lanes, vdupq_n_u8(byte)) }
}

#[inline(always)]
fn below(lanes: uint8x16_t, byte: u8) -> uint8x16_t {
    // SAFETY: NEON is part of the target.
    unsafe { vcltq_u8(lanes, vdupq_n_u8(byte)) }
}

/// Which bytes equal their entry of the table.
#[inline(always)]
fn is_its_entry(lanes: uint8x16_t) -> uint8x16_t {
    // SAFETY: NEON is part of the target.
    unsafe { vceqq_u8(vqtbl1q_u8(load(&SIMPLE_BUT_B_AND_R), vandq_u8(lanes, vdupq_n_u8(0xf))), lanes) }
}

#[inline(always)]
fn or(left: uint8x16_t, right: uint8x16_t) -> uint8x16_t {
    // SAFETY: NEON is part of the target.
    unsafe { vorrq_u8(left, right) }
}

#[inline(always)]
fn largest(lanes: uint8x16_t) -> u8 {
    // SAFETY: NEON is part of the target.
    unsafe { vmaxvq_u8(lanes) }
}
