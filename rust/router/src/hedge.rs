//! Hedging: a second attempt beside a first one that is slow to begin. Off unless the operator switches it on.

use crate::board::Entry;
use std::sync::atomic::{AtomicU64, Ordering};

/// Below so many measurements nobody knows what slow is.
const LEAST_SAMPLES: u32 = 20;
/// Sooner than this nothing is hedged, however fast the endpoint usually is.
const LEAST_MS: u64 = 50;
/// Where the 95th percentile stands among the kept ones.
const P95: usize = 6;
/// Each request puts one in, a hedge takes twenty out: five in a hundred.
const PRICE: u64 = 20;
/// Five hedges at once are the most that idle times earn.
const CAPACITY: u64 = 5 * PRICE;

/// The right to hedge five requests in a hundred.
#[derive(Debug, Default)]
pub struct Hedges(AtomicU64);

impl Hedges {
    /// A request that could be hedged goes out.
    pub fn deposit(&self) {
        let more = |left: u64| (left < CAPACITY).then_some(left + 1);
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Whether a hedge may start now; if so, it is paid.
    pub fn withdraw(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(PRICE)).is_ok()
    }
}

/// After how long without a first token a second attempt at `other` may start beside the one at `first`: where 95 of 100 have begun. `None`:
/// never, because too little is known, because the first may be asleep, or because one of the two goes on billing after it is cut off.
pub fn delay_ms(first: &Entry, other: &Entry, now_ms: u64) -> Option<u64> {
    let stops = first.cancel_stops_billing && other.cancel_stops_billing;
    if !stops || first.id == other.id || first.health.is_cold(now_ms) {
        return None;
    }
    let latency = first.health.pace(now_ms).first_token_ms;
    (latency.samples >= LEAST_SAMPLES).then(|| u64::from(latency.values[P95]).max(LEAST_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_in_a_hundred_are_hedged() {
        let hedges = Hedges::default();
        assert!(!hedges.withdraw());
        let hedged = (0..10_000)
            .filter(|_| {
                hedges.deposit();
                hedges.withdraw()
            })
            .count();
        assert_eq!(hedged, 500);
        (0..10_000).for_each(|_| hedges.deposit());
        assert_eq!((0..100).filter(|_| hedges.withdraw()).count(), 5);
    }
}
