//! A rate limit: a bucket that is refilled continuously, as an exact meter of what was taken from it.
//!
//! ```text
//! spent   what was taken and has not come back yet, in units × period_ns: an integer, in which a nanosecond gives back exactly `units`
//! take    spent −= units × (now − at), not below 0;   if spent + n × period_ns ≤ burst × period_ns: spent += n × period_ns
//! ```
//!
//! This is the GCRA with its times multiplied by the rate, so that nothing is ever divided or rounded except in what is told to callers.

use crate::rate::Rate;
use crate::refusal::Refusal;

/// How far back a clock may step unnoticed: threads that have read the same clock do not arrive in order.
///
/// Within it, time stands still until the clock has caught up, so that no order of arrival makes a refill. A clock that is further back has
/// been set: the bucket goes on from there with what it had, and the step costs it a refill of this long at most. If it is set forward again
/// later, the bucket refills for the time it then sees, up to the burst and no further.
pub const SKEW_NS: u64 = 1_000_000_000;

/// A rate limit and how much of it is there. A new one is full.
///
/// Over any time *t* it gives at most burst + rate × *t*, and with a clock that stands still exactly its burst. All times of a bucket are of
/// one clock, monotonic or Unix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    rate: Rate,
    level: Level,
}

/// What a bucket keeps beside its rate: 24 bytes, to be written down and read again ([`Bucket::resume`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(Rust, packed(8))]
pub struct Level {
    spent: u128,
    at_ns: u64,
}

impl Level {
    /// From the two numbers of an earlier one. Every two numbers are a level.
    pub const fn new(spent: u128, at_ns: u64) -> Level {
        Level { spent, at_ns }
    }

    /// What was taken and had not come back at [`Level::at_ns`], in units × nanoseconds of the period; more than the burst: a debt.
    pub const fn spent(self) -> u128 {
        self.spent
    }

    /// Up to when it was refilled.
    pub const fn at_ns(self) -> u64 {
        self.at_ns
    }

    /// The same level at `now_ns`, or where time stands still for now.
    fn refilled(self, rate: &Rate, now_ns: u64) -> Level {
        let at_ns = self.at_ns.min(now_ns.saturating_add(SKEW_NS));
        let back = u128::from(rate.units()) * u128::from(now_ns.saturating_sub(at_ns));
        Level { spent: self.spent.saturating_sub(back), at_ns: at_ns.max(now_ns) }
    }
}

impl Bucket {
    /// A full bucket.
    pub const fn new(rate: Rate) -> Bucket {
        Bucket { rate, level: Level { spent: 0, at_ns: 0 } }
    }

    /// A bucket that goes on where another one of the same rate was, in an earlier process for example.
    ///
    /// If the rate has changed since, resume with the old one and [`Bucket::change`] it.
    pub const fn resume(rate: Rate, level: Level) -> Bucket {
        Bucket { rate, level }
    }

    /// Its rate.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// What has to be kept for [`Bucket::resume`].
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Takes `n` units, or says when they would be there. In debt not even 0 units are.
    pub fn take(&mut self, n: u64, now_ns: u64) -> Result<(), Refusal> {
        self.refill(now_ns);
        self.fits(n, now_ns)?;
        self.spend(n);
        Ok(())
    }

    /// What [`Bucket::take`] would say.
    pub fn peek(&self, n: u64, now_ns: u64) -> Result<(), Refusal> {
        self.at(now_ns).fits(n, now_ns)
    }

    /// Takes as many whole units as there are, `most` at most, and says how many: a grant for somebody else ([`crate::Lease`]).
    pub fn draw(&mut self, most: u64, now_ns: u64) -> u64 {
        self.refill(now_ns);
        let drawn = most.min(self.available());
        self.spend(drawn);
        drawn
    }

    /// Gives back `n` units that were taken and not used; never above the burst.
    ///
    /// Needs no time: a refill before or after comes to the same.
    pub fn refund(&mut self, n: u64) {
        self.level.spent = self.level.spent.saturating_sub(self.cost(n));
    }

    /// Takes `n` units that have been used already, there or not: what is missing is a debt, which is refilled before anything else is given.
    pub fn charge(&mut self, n: u64, now_ns: u64) {
        self.refill(now_ns);
        self.spend(n);
    }

    /// Whole units that can be taken now: `X-RateLimit-Remaining`.
    pub fn remaining(&self, now_ns: u64) -> u64 {
        self.at(now_ns).available()
    }

    /// Units of debt, begun ones counted whole.
    pub fn debt(&self, now_ns: u64) -> u64 {
        let debt = self.at(now_ns).level.spent.saturating_sub(self.capacity());
        saturated(debt.div_ceil(u128::from(self.rate.period_ns())))
    }

    /// After how many nanoseconds it is full, if nobody takes anything: `X-RateLimit-Reset`. 0: it is.
    pub fn full_after_ns(&self, now_ns: u64) -> u64 {
        let bucket = self.at(now_ns);
        bucket.wait_ns(bucket.level.spent, now_ns)
    }

    /// Another rate from now on.
    ///
    /// What was taken stays taken, in units, so that a raised burst holds at once and only once; but never more than the new burst, so that
    /// a lowered one does not make anybody wait for units of the old. A debt stays whole. Where the period changes, a part of a unit
    /// less than 1/`period_ns` is rounded, against the caller.
    pub fn change(&mut self, rate: Rate, now_ns: u64) {
        self.refill(now_ns);
        let debt = self.level.spent.saturating_sub(self.capacity());
        let taken = self.level.spent - debt;
        let (old_ns, new_ns) = (self.rate.period_ns(), rate.period_ns());
        self.rate = rate;
        let taken = rescaled(taken, old_ns, new_ns).min(self.capacity());
        self.level.spent = taken.saturating_add(rescaled(debt, old_ns, new_ns));
    }

    pub(crate) fn refill(&mut self, now_ns: u64) {
        self.level = self.level.refilled(&self.rate, now_ns);
    }

    /// Whether `n` fit, after a refill.
    pub(crate) fn fits(&self, n: u64, now_ns: u64) -> Result<(), Refusal> {
        let Some(room) = self.capacity().checked_sub(self.cost(n)) else { return Err(Refusal::Never) };
        match self.level.spent.checked_sub(room) {
            None | Some(0) => Ok(()),
            Some(excess) => Err(Refusal::After { retry_after_ns: self.wait_ns(excess, now_ns) }),
        }
    }

    /// Without asking. What does not fit the integer, some 10²¹ units of debt, is forgotten.
    pub(crate) fn spend(&mut self, n: u64) {
        self.level.spent = self.level.spent.saturating_add(self.cost(n));
    }

    fn at(&self, now_ns: u64) -> Bucket {
        Bucket { rate: self.rate, level: self.level.refilled(&self.rate, now_ns) }
    }

    /// Whole units, after a refill.
    fn available(&self) -> u64 {
        saturated(self.capacity().saturating_sub(self.level.spent) / u128::from(self.rate.period_ns()))
    }

    /// From `now_ns` until so much has come back, after a refill.
    fn wait_ns(&self, spent: u128, now_ns: u64) -> u64 {
        let still_ns = self.level.at_ns.saturating_sub(now_ns);
        if spent == 0 { 0 } else { saturated(spent.div_ceil(u128::from(self.rate.units()))).saturating_add(still_ns) }
    }

    fn capacity(&self) -> u128 {
        self.cost(self.rate.burst())
    }

    fn cost(&self, n: u64) -> u128 {
        u128::from(n) * u128::from(self.rate.period_ns())
    }
}

fn saturated(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// ⌈spent × new ÷ old⌉ without a product that is too large.
fn rescaled(spent: u128, old_ns: u64, new_ns: u64) -> u128 {
    let (old, new) = (u128::from(old_ns), u128::from(new_ns));
    (spent / old).saturating_mul(new).saturating_add((spent % old * new).div_ceil(old))
}
