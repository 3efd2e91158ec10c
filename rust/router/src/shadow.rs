//! Which requests a second model gets a copy of.

use crate::random::Draws;
use fairlead_snapshot::Shadow;

const MILLION: u64 = 1_000_000;

/// Whether the request is one of the share, by the seed of its decision. Independent of what else is drawn from it.
pub fn is_shadowed(shadow: Shadow, seed: u64) -> bool {
    let drawn = Draws::new(seed ^ 0x5ad0_77ed_5ad0_77ed).number() >> 32;
    (drawn * MILLION) >> 32 < u64::from(shadow.share_millionths)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of 100,000 requests are shadowed.
    fn check(share_millionths: u32, expected: std::ops::RangeInclusive<usize>) {
        let shadow = Shadow { model: 0, share_millionths };
        // As a worker makes them: seeds that are far from random.
        let seeds = (0..100_000u64).map(|n| n.wrapping_mul(0x9e37_79b9) << 32 | n);
        let count = seeds.filter(|seed| is_shadowed(shadow, *seed)).count();
        assert!(expected.contains(&count), "{share_millionths}: {count}");
    }

    #[test]
    fn the_share_is_kept() {
        check(1_000_000, 100_000..=100_000);
        check(500_000, 49_000..=51_000);
        check(100_000, 9_600..=10_400);
        check(1, 0..=3);
    }
}
