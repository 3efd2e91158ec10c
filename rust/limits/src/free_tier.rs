//! The limits of free models: requests per minute, and requests per day that are more for accounts that have ever bought credits.

use std::num::NonZeroU32;

use fairlead_ir::{Interval, NanoUsd};

use crate::bucket::Bucket;
use crate::claim::{Claim, Refused, take_all};
use crate::rate::Rate;
use crate::window::Window;

/// `[free_tier]` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeTierLimits {
    /// Refilled continuously.
    pub requests_per_minute: NonZeroU32,
    /// In a day of UTC.
    pub requests_per_day: u64,
    /// The same for an account that has bought the threshold.
    pub requests_per_day_with_credits: u64,
    /// What an account has to have bought in all its time. Reached is enough.
    pub credits_threshold: NanoUsd,
}

impl FreeTierLimits {
    /// Requests in a day for an account that has bought credits of this amount in all its time.
    pub fn per_day(&self, bought: NanoUsd) -> u64 {
        if bought >= self.credits_threshold { self.requests_per_day_with_credits } else { self.requests_per_day }
    }
}

/// How many free requests an account has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeTier {
    /// Of the minute. Its rate is that of the last call.
    pub minute: Bucket,
    /// Of the day. Its limit is that of the last call: which one holds is asked with every request, so that a top-up helps at once.
    pub day: Window,
}

impl FreeTier {
    /// Which of the claims is that of the minute.
    pub const MINUTE: usize = 0;
    /// Which of the claims is that of the day.
    pub const DAY: usize = 1;

    /// Nothing made yet.
    pub fn new(limits: &FreeTierLimits) -> FreeTier {
        let minute = Bucket::new(Rate::requests(limits.requests_per_minute));
        FreeTier { minute, day: Window::new(Interval::Daily, limits.requests_per_day) }
    }

    /// One more request at `now_ns` (Unix time); where it is refused, [`Refused::claim`] is [`FreeTier::MINUTE`] or [`FreeTier::DAY`].
    pub fn take(&mut self, limits: &FreeTierLimits, bought: NanoUsd, now_ns: u64) -> Result<(), Refused> {
        take_all(&mut self.claims(limits, bought, now_ns), now_ns)
    }

    /// The same as claims, to be taken together with others.
    pub fn claims(&mut self, limits: &FreeTierLimits, bought: NanoUsd, now_ns: u64) -> [Claim<'_>; 2] {
        let rate = Rate::requests(limits.requests_per_minute);
        if self.minute.rate() != rate {
            self.minute.change(rate, now_ns);
        }
        self.day.set_limit(limits.per_day(bought));
        [Claim::Rate(&mut self.minute, 1), Claim::Window(&mut self.day, 1)]
    }

    /// A request that was taken and never made after all; `day_ms` is the [`Window::start_ms`] of `day` after it was taken.
    pub fn refund(&mut self, day_ms: u64) {
        self.minute.refund(1);
        self.day.refund(1, day_ms);
    }
}
