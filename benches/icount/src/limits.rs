//! What limits cost: four of them at once, as a request of a key with all of them takes them, and what is settled afterwards.

use std::hint::black_box;
use std::num::NonZeroU32;

use fairlead_ir::Interval;
use fairlead_limits::{Bucket, Claim, Concurrency, Rate, Refusal, Window, take_all};

use crate::cases::{Case, Work};

/// The 21st of November 2026.
const NOW_NS: u64 = 1_795_289_600_000_000_000;
const TOKENS: u64 = 3_000;

/// Requests, tokens, a day's requests and places.
struct Limits {
    requests: Bucket,
    tokens: Bucket,
    day: Window,
    places: Concurrency,
}

impl Limits {
    /// Enough for `requests`.
    fn new(requests: u64) -> Limits {
        let bucket = |units| Bucket::new(Rate::per_minute(units).unwrap());
        Limits {
            requests: bucket(requests),
            tokens: bucket(requests * TOKENS),
            day: Window::new(Interval::Daily, requests),
            places: Concurrency::new(NonZeroU32::new(8).unwrap()),
        }
    }

    fn take(&mut self, now_ns: u64) -> Result<(), Refusal> {
        let mut claims = [
            Claim::Rate(&mut self.requests, 1),
            Claim::Rate(&mut self.tokens, TOKENS),
            Claim::Window(&mut self.day, 1),
            Claim::Place(&mut self.places),
        ];
        take_all(&mut claims, black_box(now_ns)).map_err(|refused| refused.refusal)
    }

    /// Of the estimate a third was not used.
    fn settle(&mut self) {
        self.tokens.refund(black_box(TOKENS / 3));
        assert!(self.places.release());
    }
}

/// So many items of `work`, with the limits in the middle of their life.
fn case(name: &str, limit: u64, work: fn(&mut Limits, u64)) -> Case {
    const ITEMS: usize = 16;
    let prepare = move || -> Work {
        let mut limits = Limits::new(limit);
        limits.take(NOW_NS).unwrap();
        limits.settle();
        Box::new(move || {
            (1..=ITEMS as u64).for_each(|item| work(&mut limits, NOW_NS + item * 1_000_000));
            ITEMS
        })
    };
    Case { name: name.to_owned(), items: ITEMS, prepare: Box::new(prepare) }
}

/// Taken, taken and settled, refused.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("limits.4", 1_000, |limits, now_ns| {
            limits.take(now_ns).unwrap();
            assert!(limits.places.release());
        }),
        case("limits.4.settled", 1_000, |limits, now_ns| {
            limits.take(now_ns).unwrap();
            limits.settle();
        }),
        case("limits.4.refused", 1, |limits, now_ns| assert!(limits.take(now_ns).is_err())),
    ]
}
