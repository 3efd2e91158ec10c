//! Percentiles of the last five and thirty minutes in fixed memory: histograms with buckets that grow by an eighth to a quarter, in slots
//! of time. A figure is right to about an eighth, which is less than it changes from one minute to the next.

use std::sync::atomic::{AtomicU32, Ordering};

/// Buckets of a histogram: four to each doubling, up to a million.
const BUCKETS: usize = 76;
const LARGEST: u32 = (1 << 20) - 1;

/// Ten slots of half a minute and six of five minutes.
const SHORT_SLOTS: usize = 10;
const SHORT_MS: u64 = 30_000;
const LONG_SLOTS: usize = 6;
const LONG_MS: u64 = 300_000;

/// How far back one looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Five minutes: what routing goes by.
    Five,
    /// Thirty minutes: what is shown.
    Thirty,
}

/// The percentiles of something that was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// Measurements.
    pub samples: u32,
    /// The values at 1, 10, 25, 50, 75, 90, 95 and 99 %.
    pub values: [u32; POINTS.len()],
}

/// The percentiles that are kept: those that are shown, from both ends (a request that *outdoes* 90 % of the others is at 10 %), and 95
/// for hedging.
pub(crate) const POINTS: [u32; 8] = [1, 10, 25, 50, 75, 90, 95, 99];

/// Values of one kind, as they come.
#[derive(Debug)]
pub(crate) struct Rolling {
    short: [Slot; SHORT_SLOTS],
    long: [Slot; LONG_SLOTS],
}

#[derive(Debug)]
struct Slot {
    number: AtomicU32,
    buckets: [AtomicU32; BUCKETS],
}

impl Slot {
    const fn new() -> Slot {
        Slot { number: AtomicU32::new(0), buckets: [const { AtomicU32::new(0) }; BUCKETS] }
    }

    /// Counts in the slot of this number. Whoever opens it empties it; a value that another worker adds in that very moment may be lost.
    fn add(&self, number: u32, bucket: usize) {
        let before = self.number.load(Ordering::Relaxed);
        if before != number && self.number.compare_exchange(before, number, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            for bucket in &self.buckets {
                bucket.store(0, Ordering::Relaxed);
            }
        }
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
    }
}

impl Rolling {
    pub(crate) const fn new() -> Rolling {
        Rolling { short: [const { Slot::new() }; SHORT_SLOTS], long: [const { Slot::new() }; LONG_SLOTS] }
    }

    pub(crate) fn add(&self, now_ms: u64, value: u32) {
        let bucket = bucket(value);
        let (short, long) = (number(now_ms, SHORT_MS), number(now_ms, LONG_MS));
        self.short[short as usize % SHORT_SLOTS].add(short, bucket);
        self.long[long as usize % LONG_SLOTS].add(long, bucket);
    }

    pub(crate) fn percentiles(&self, now_ms: u64, window: Window) -> Percentiles {
        let mut counts = [0u32; BUCKETS];
        match window {
            Window::Five => sum(&self.short, number(now_ms, SHORT_MS), &mut counts),
            Window::Thirty => sum(&self.long, number(now_ms, LONG_MS), &mut counts),
        }
        let samples = counts.iter().fold(0, |sum: u32, count| sum.saturating_add(*count));
        if samples == 0 {
            return Percentiles::default();
        }
        Percentiles { samples, values: POINTS.map(|point| value_at(&counts, samples, point)) }
    }
}

const fn number(now_ms: u64, width_ms: u64) -> u32 {
    (now_ms / width_ms + 1) as u32
}

fn sum(slots: &[Slot], newest: u32, counts: &mut [u32; BUCKETS]) {
    let oldest = (newest + 1).saturating_sub(slots.len() as u32);
    for slot in slots.iter().filter(|slot| (oldest..=newest).contains(&slot.number.load(Ordering::Relaxed))) {
        for (count, bucket) in counts.iter_mut().zip(&slot.buckets) {
            *count = count.saturating_add(bucket.load(Ordering::Relaxed));
        }
    }
}

/// The value below which `point` percent of the samples lie: within its bucket by proportion.
fn value_at(counts: &[u32; BUCKETS], samples: u32, point: u32) -> u32 {
    let wanted = (u64::from(samples) * u64::from(point)).div_ceil(100).max(1);
    let mut below = 0u64;
    for (bucket, count) in counts.iter().enumerate() {
        let count = u64::from(*count);
        if below + count >= wanted {
            let (low, width) = bounds(bucket);
            return low + (u64::from(width) * (2 * (wanted - below) - 1) / (2 * count)) as u32;
        }
        below += count;
    }
    LARGEST
}

const fn bucket(value: u32) -> usize {
    let value = if value > LARGEST { LARGEST } else { value };
    if value < 4 {
        return value as usize;
    }
    let doubling = value.ilog2();
    (4 * (doubling - 1) + ((value >> (doubling - 2)) & 3)) as usize
}

/// The least value of a bucket, and how many there are.
const fn bounds(bucket: usize) -> (u32, u32) {
    if bucket < 4 {
        return (bucket as u32, 1);
    }
    let shift = bucket as u32 / 4 - 1;
    ((4 + bucket as u32 % 4) << shift, 1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_lie_side_by_side() {
        let mut next = 0;
        for at in 0..BUCKETS {
            let (low, width) = bounds(at);
            assert_eq!(low, next, "{at}");
            assert_eq!((bucket(low), bucket(low + width - 1)), (at, at));
            next = low + width;
        }
        assert_eq!(next, LARGEST + 1);
        assert_eq!(bucket(u32::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_right_to_an_eighth() {
        let rolling = Rolling::new();
        for value in 1..=10_000 {
            rolling.add(1_000, value);
        }
        let found = rolling.percentiles(1_000, Window::Five);
        assert_eq!(found.samples, 10_000);
        for (point, value) in POINTS.iter().zip(found.values) {
            let right = f64::from(point * 100);
            assert!((f64::from(value) - right).abs() <= right / 8.0, "{point}: {value}");
        }
    }

    #[test]
    fn windows_forget_after_their_time() {
        let rolling = Rolling::new();
        rolling.add(0, 100);
        let check = |now_ms, window, samples| assert_eq!(rolling.percentiles(now_ms, window).samples, samples, "{now_ms} {window:?}");
        check(299_999, Window::Five, 1);
        check(300_000, Window::Five, 0);
        check(300_000, Window::Thirty, 1);
        check(1_800_000, Window::Thirty, 0);
        rolling.add(1_800_000, 5);
        check(1_800_000, Window::Thirty, 1);
    }
}
