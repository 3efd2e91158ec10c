//! How often a failure may be followed by another attempt: a fifth of the first attempts, with a small reserve, so that a brown-out is not
//! made worse by those who suffer from it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Each first attempt puts one in, each further one takes five out: a fifth.
const DEPOSIT: u64 = 1;
const WITHDRAWAL: u64 = 5;
/// A further attempt after a timeout costs twice as much: the provider may still work on the first.
const TIMEOUT_WITHDRAWAL: u64 = 10;
/// Enough for the twenty attempts that may fail before a breaker opens. Good times save no more than that: what they saved would be spent in a
/// brown-out that breakers do not see.
const CAPACITY: u64 = 100;
/// Below this, first attempts go elsewhere if they can: those under way may still need ten.
const LOW: u64 = 50;

/// The retry budget of a provider.
#[derive(Debug)]
pub(crate) struct Budget(AtomicU64);

impl Default for Budget {
    fn default() -> Budget {
        Budget(AtomicU64::new(CAPACITY))
    }
}

impl Budget {
    /// Whether so little is left that it is kept for attempts that are under way.
    pub(crate) fn is_low(&self) -> bool {
        self.0.load(Ordering::Relaxed) < LOW
    }

    /// A first attempt goes out, or would have gone.
    pub(crate) fn deposit(&self) {
        let more = |left: u64| (left < CAPACITY).then_some(left + DEPOSIT);
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Whether another attempt may follow a failure here; if so, it is paid.
    pub(crate) fn withdraw(&self, after_timeout: bool) -> bool {
        let price = if after_timeout { TIMEOUT_WITHDRAWAL } else { WITHDRAWAL };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(price)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_and_the_reserve() {
        let budget = Budget::default();
        let retries = (0..10_000)
            .filter(|_| {
                budget.deposit();
                budget.withdraw(false)
            })
            .count();
        assert_eq!(retries as u64, (CAPACITY + 9_999 * DEPOSIT) / WITHDRAWAL);
        assert!(!budget.withdraw(true));
    }
}
