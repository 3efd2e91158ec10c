//! Chance that can be repeated: everything random in a decision comes out of its seed, and every hash is the same on each machine and in
//! each version, because shares and pins rest on them.

/// Numbers out of a seed (SplitMix64: one multiplication more than a counter, and every seed is a good one).
#[derive(Clone, Debug)]
pub(crate) struct Draws(u64);

impl Draws {
    pub(crate) const fn new(seed: u64) -> Draws {
        Draws(seed)
    }

    pub(crate) const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Above 0, at most 1: its logarithm is finite.
    pub(crate) const fn unit(&mut self) -> f64 {
        ((self.number() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }
}

/// Every bit of what comes out depends on every bit of what goes in.
pub(crate) const fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// One hash of two.
pub(crate) const fn join(left: u64, right: u64) -> u64 {
    mix(left.rotate_left(23) ^ right.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// FNV-1a with a last stir. No defence against chosen collisions is needed: who collides shares a preference, nothing else.
pub fn hash(bytes: &[u8]) -> u64 {
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_a_hash_stays() {
        let draw = |seed| (0..4).scan(Draws::new(seed), |draws, _| Some(draws.number())).collect::<Vec<_>>();
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        // Written down, because splits and pins of running systems depend on it.
        assert_eq!(hash(b""), mix(0xcbf2_9ce4_8422_2325));
        assert_ne!(hash(b"session-1"), hash(b"session-2"));
        assert_ne!(join(1, 2), join(2, 1));
    }

    #[test]
    fn units_are_above_zero_and_even() {
        let mut draws = Draws::new(1);
        let mean = (0..10_000).map(|_| draws.unit()).inspect(|unit| assert!(*unit > 0.0 && *unit <= 1.0)).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }
}
