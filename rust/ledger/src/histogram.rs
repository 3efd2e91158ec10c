//! Histograms of durations that add up: how often each bin was met. A bin reaches from 1.1ᵇ to 1.1ᵇ⁺¹ microseconds, so that its middle is at
//! most 5 % from any duration in it (McMahan's base of 1.1, `bin = floor(ln us / ln 1.1)`).
//!
//! Stored as bytes: for each bin in ascending order how far it is from the one before (the first: from 0) and its count, as LEB128.

use std::collections::BTreeMap;

const BIN_RATIO: f64 = 1.1;

/// Counts by bin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram(BTreeMap<u32, u64>);

/// Bytes that are no histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Histogram {
    /// Counts a duration in microseconds; what is shorter than one counts as one.
    pub fn count(&mut self, us: u64) {
        *self.0.entry(bin_of(us)).or_default() += 1;
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Histogram) {
        for (bin, count) in &other.0 {
            *self.0.entry(*bin).or_default() += count;
        }
    }

    /// Adds stored counts; on an error what stood before it is added.
    pub fn add_stored(&mut self, mut stored: &[u8]) -> Result<(), Malformed> {
        let mut bin = 0u32;
        while !stored.is_empty() {
            let step = u32::try_from(number(&mut stored)?).map_err(|_| Malformed)?;
            bin = bin.checked_add(step).ok_or(Malformed)?;
            let sum = self.0.entry(bin).or_default();
            *sum = sum.checked_add(number(&mut stored)?).ok_or(Malformed)?;
        }
        Ok(())
    }

    /// The bytes to be stored.
    pub fn stored(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(3 * self.0.len());
        let mut last = 0;
        for (bin, count) in &self.0 {
            put(&mut bytes, u64::from(bin - last));
            put(&mut bytes, *count);
            last = *bin;
        }
        bytes
    }

    /// How many durations were counted.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The duration in microseconds that at least `share` (0 to 1) of what was counted does not exceed, by the nearest rank: the middle of its
    /// bin. None where nothing was counted.
    pub fn quantile_us(&self, share: f64) -> Option<f64> {
        // 200 × 0.07 is a little over 14 for a machine, and still means the 14th.
        let rank = ((self.total() as f64 * share * (1.0 - 1e-12)).ceil() as u64).max(1);
        let mut met = 0;
        self.0.iter().find_map(|(bin, count)| {
            met += count;
            (met >= rank).then(|| BIN_RATIO.powf(f64::from(*bin) + 0.5))
        })
    }
}

fn bin_of(us: u64) -> u32 {
    if us > 1 { ((us as f64).ln() / BIN_RATIO.ln()) as u32 } else { 0 }
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn number(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut found = 0u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Malformed)?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part {
            return Err(Malformed);
        }
        found |= part << shift;
        if byte < 0x80 {
            return Ok(found);
        }
    }
    Err(Malformed)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn of(durations: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        durations.iter().for_each(|us| histogram.count(*us));
        histogram
    }

    proptest! {
        #[test]
        fn what_is_stored_adds_up(first in prop::collection::vec(any::<u64>(), 0..50), second in prop::collection::vec(0u64..10_000_000, 0..50)) {
            let mut sum = of(&first);
            sum.add_stored(&of(&second).stored()).unwrap();
            let both = of(&[first, second].concat());
            prop_assert_eq!(&sum, &both);
            let mut read = Histogram::default();
            read.add_stored(&both.stored()).unwrap();
            prop_assert_eq!(read, both);
        }

        #[test]
        fn a_quantile_is_at_most_five_percent_off(mut durations in prop::collection::vec(1u64..10_000_000_000, 1..200), percent in 1u32..=100) {
            let found = of(&durations).quantile_us(f64::from(percent) / 100.0).unwrap();
            durations.sort_unstable();
            let rank = (durations.len() * percent as usize).div_ceil(100);
            let exact = durations[rank - 1] as f64;
            prop_assert!((found / exact - 1.0).abs() < 0.05, "{} for {}", found, exact);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Histogram::default().add_stored(&bytes);
        }
    }

    #[test]
    fn a_share_that_no_machine_can_write_means_the_whole_rank() {
        let durations: Vec<u64> = [1; 14].into_iter().chain([1_000_000; 186]).collect();
        assert!(of(&durations).quantile_us(0.07).is_some_and(|found| found < 2.0));
    }

    #[test]
    fn nothing_has_no_quantile_and_takes_no_bytes() {
        assert_eq!(Histogram::default().quantile_us(0.5), None);
        assert_eq!(Histogram::default().stored(), []);
    }
}
