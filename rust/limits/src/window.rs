//! A counter that begins anew with each calendar day, week or month.

use fairlead_ir::Interval;
use fairlead_ir::calendar::Turn;

use crate::refusal::Refusal;

/// So many units per interval of UTC. Takes 16 bytes beside its limit, to be written down and read again ([`Window::resume`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    interval: Interval,
    limit: u64,
    start_ms: u64,
    used: u64,
}

impl Window {
    /// A counter with nothing used. A limit of 0 admits nothing.
    pub const fn new(interval: Interval, limit: u64) -> Window {
        Window { interval, limit, start_ms: 0, used: 0 }
    }

    /// A counter that goes on where an earlier one of the same interval was; `start_ms` is its [`Window::start_ms`].
    pub const fn resume(interval: Interval, limit: u64, start_ms: u64, used: u64) -> Window {
        Window { interval, limit, start_ms, used }
    }

    /// Takes `n` units, or says when they would fit.
    pub fn take(&mut self, n: u64, now_ms: u64) -> Result<(), Refusal> {
        self.turn(now_ms);
        self.fits(n, now_ms)?;
        self.spend(n);
        Ok(())
    }

    /// What [`Window::take`] would say.
    pub fn peek(&self, n: u64, now_ms: u64) -> Result<(), Refusal> {
        self.at(now_ms).fits(n, now_ms)
    }

    /// Takes as many units as are left, `most` at most, and says how many: a grant for somebody else ([`crate::Lease`]).
    pub fn draw(&mut self, most: u64, now_ms: u64) -> u64 {
        self.turn(now_ms);
        let drawn = most.min(self.left());
        self.spend(drawn);
        drawn
    }

    /// Gives back `n` units that were taken in the window that began at `start_ms`. What was taken in an earlier one is gone with it.
    pub const fn refund(&mut self, n: u64, start_ms: u64) {
        if start_ms == self.start_ms {
            self.used = self.used.saturating_sub(n);
        }
    }

    /// Counts `n` units that have been used already, whether they fit or not. What is too much is forgotten when the next window begins.
    pub fn charge(&mut self, n: u64, now_ms: u64) {
        self.turn(now_ms);
        self.spend(n);
    }

    /// When the window began that was last counted in, Unix milliseconds: after a `take`, what [`Window::refund`] asks for.
    pub const fn start_ms(&self) -> u64 {
        self.start_ms
    }

    /// Units used in this window.
    pub fn used(&self, now_ms: u64) -> u64 {
        self.at(now_ms).used
    }

    /// Units that are left in this window.
    pub fn remaining(&self, now_ms: u64) -> u64 {
        self.at(now_ms).left()
    }

    /// When the next window begins, Unix milliseconds; `None` for a total.
    pub fn reset_ms(&self, now_ms: u64) -> Option<u64> {
        self.at(now_ms).end_ms()
    }

    /// Units per interval.
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// What is counted together.
    pub const fn interval(&self) -> Interval {
        self.interval
    }

    /// Another limit from now on. What is used stays used.
    pub const fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Another interval from now on. What was used in the old window stays used in the new one that `now_ms` lies in.
    pub fn set_interval(&mut self, interval: Interval, now_ms: u64) {
        self.turn(now_ms);
        self.interval = interval;
        self.start_ms = interval.start_ms(now_ms.max(self.start_ms));
    }

    /// Begins the window that `now_ms` lies in, if it is another one.
    pub(crate) fn turn(&mut self, now_ms: u64) {
        *self = self.at(now_ms);
    }

    /// Whether `n` fit, after a turn.
    pub(crate) fn fits(&self, n: u64, now_ms: u64) -> Result<(), Refusal> {
        if self.used.checked_add(n).is_some_and(|used| used <= self.limit) {
            return Ok(());
        }
        match self.end_ms() {
            Some(end_ms) if n <= self.limit => {
                Err(Refusal::After { retry_after_ns: end_ms.saturating_sub(now_ms).saturating_mul(1_000_000) })
            }
            _ => Err(Refusal::Never),
        }
    }

    /// Without asking.
    pub(crate) const fn spend(&mut self, n: u64) {
        self.used = self.used.saturating_add(n);
    }

    fn at(&self, now_ms: u64) -> Window {
        match self.interval.turn(self.start_ms, now_ms) {
            Turn::Stays => *self,
            Turn::Begins(start_ms) => Window { start_ms, used: 0, ..*self },
            Turn::SetBack(start_ms) => Window { start_ms, ..*self },
        }
    }

    const fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    fn end_ms(&self) -> Option<u64> {
        self.interval.end_ms(self.start_ms)
    }
}
