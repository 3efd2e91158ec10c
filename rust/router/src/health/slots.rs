//! Successes and failures of the last while, in slots of time: fixed memory, no lock, nothing to tidy up.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts in `N` slots of equal width. A slot is one word (its number, successes, failures), so that it is always read whole.
#[derive(Debug)]
pub(crate) struct Slots<const N: usize> {
    width_ms: u64,
    slots: [AtomicU64; N],
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) good: u32,
    pub(crate) bad: u32,
}

impl Counted {
    pub(crate) const fn total(self) -> u32 {
        self.good + self.bad
    }
}

const NUMBER_SHIFT: u32 = 32;
const GOOD_SHIFT: u32 = 16;
const COUNT_MASK: u64 = 0xffff;

impl<const N: usize> Slots<N> {
    pub(crate) const fn new(width_ms: u64) -> Slots<N> {
        Slots { width_ms, slots: [const { AtomicU64::new(0) }; N] }
    }

    /// The number of the slot that `now_ms` falls into; 0 is never one, so that an untouched slot is an old one.
    pub(crate) const fn number(&self, now_ms: u64) -> u64 {
        (now_ms / self.width_ms + 1) & 0xffff_ffff
    }

    pub(crate) fn add(&self, now_ms: u64, good: bool) {
        let number = self.number(now_ms);
        let counted = |word: u64| {
            let (mut successes, mut failures) =
                if word >> NUMBER_SHIFT == number { ((word >> GOOD_SHIFT) & COUNT_MASK, word & COUNT_MASK) } else { (0, 0) };
            // A full counter halves both: what matters is their ratio.
            if successes.max(failures) == COUNT_MASK {
                (successes, failures) = (successes / 2, failures / 2);
            }
            let (successes, failures) = if good { (successes + 1, failures) } else { (successes, failures + 1) };
            Some(number << NUMBER_SHIFT | successes << GOOD_SHIFT | failures)
        };
        // The closure always has an answer.
        let _ = self.slots[number as usize % N].fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted);
    }

    /// What the last `back` slots counted, the running one included, but none before slot `since`.
    pub(crate) fn sum(&self, now_ms: u64, back: usize, since: u64) -> Counted {
        let newest = self.number(now_ms);
        let oldest = (newest + 1).saturating_sub(back.min(N) as u64).max(since);
        (oldest..=newest).fold(Counted::default(), |sum, number| {
            let word = self.slots[number as usize % N].load(Ordering::Relaxed);
            if word >> NUMBER_SHIFT != number {
                return sum;
            }
            Counted { good: sum.good + ((word >> GOOD_SHIFT) & COUNT_MASK) as u32, bad: sum.bad + (word & COUNT_MASK) as u32 }
        })
    }

    pub(crate) fn clear(&self) {
        for slot in &self.slots {
            slot.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_slots_are_forgotten() {
        let slots: Slots<6> = Slots::new(5_000);
        slots.add(0, true);
        slots.add(4_999, false);
        slots.add(5_000, false);
        let check = |now_ms, back, since, good, bad| assert_eq!(slots.sum(now_ms, back, since), Counted { good, bad }, "{now_ms} {back}");
        check(5_000, 6, 0, 1, 2);
        check(5_000, 1, 0, 0, 1);
        check(29_999, 6, 0, 1, 2);
        check(30_000, 6, 0, 0, 1);
        check(35_000, 6, 0, 0, 0);
        check(5_000, 6, 2, 0, 1);
        slots.add(30_001, true);
        check(30_001, 6, 0, 1, 1);
        slots.clear();
        check(30_001, 6, 0, 0, 0);
    }

    #[test]
    fn a_full_counter_keeps_the_ratio() {
        let slots: Slots<2> = Slots::new(1_000);
        for number in 0..200_000u32 {
            slots.add(0, number % 4 != 0);
        }
        let Counted { good, bad } = slots.sum(0, 2, 0);
        let ratio = f64::from(good) / f64::from(good + bad);
        assert!(good > 30_000 && (ratio - 0.75).abs() < 0.01, "{good} {bad}");
    }
}
