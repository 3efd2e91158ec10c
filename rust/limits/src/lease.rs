//! A part of a limit that somebody else granted, where several processes share one.
//!
//! The granter has the whole limit as a [`crate::Bucket`] or [`crate::Window`] and takes from it what it grants (`draw`); a replica spends its
//! lease and asks nobody. So all of them together never take more than the limit, whatever is lost on the way: what a replica that died still
//! had is lost to everybody until the limit is refilled. The granter must not take a lease back because it has expired: what of it was spent and
//! not yet reported cannot be known. It takes back what a replica reports ([`Lease::give_back`]), and nothing else.

use crate::refusal::Refusal;

/// Granted units, to be spent until they expire.
///
/// The expiry keeps a replica that has lost its granter from hoarding: without news, spending ends. News renews: a further grant also renews
/// what is left of the earlier ones. `Lease::default()` has nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    left: u64,
    /// Taken, as far as it can still be refunded.
    spent: u64,
    /// Used beyond what was granted.
    owed: u64,
    /// Expired unspent.
    lapsed: u64,
    expires_ns: u64,
}

impl Lease {
    /// A further grant. Debts are paid first; what is left of earlier grants and has not expired by `now_ns` gets the new expiry.
    pub fn top_up(&mut self, units: u64, expires_ns: u64, now_ns: u64) {
        self.expire(now_ns);
        let paid = units.min(self.owed);
        self.owed -= paid;
        self.spent = self.spent.saturating_add(paid);
        self.left = self.left.saturating_add(units - paid);
        self.expires_ns = expires_ns;
    }

    /// Takes `n` units. Where they are not there, nobody here knows when they will be; in debt not even 0 are.
    pub fn take(&mut self, n: u64, now_ns: u64) -> Result<(), Refusal> {
        self.expire(now_ns);
        self.fits(n)?;
        self.spend(n);
        Ok(())
    }

    /// Puts back `n` units that were taken and not used; never more than were taken. A debt is paid with them first.
    pub fn refund(&mut self, n: u64) {
        let paid = n.min(self.owed);
        self.owed -= paid;
        let back = (n - paid).min(self.spent);
        self.spent -= back;
        self.left = self.left.saturating_add(back);
    }

    /// Takes `n` units that have been used already: what is missing is a debt, which the next grants pay.
    pub fn charge(&mut self, n: u64, now_ns: u64) {
        self.expire(now_ns);
        let there = n.min(self.left);
        self.spend(there);
        self.owed = self.owed.saturating_add(n - there);
    }

    /// Empties it for the granter, which may refund so many units: what is left and what expired unspent.
    pub fn give_back(&mut self) -> u64 {
        std::mem::take(&mut self.left).saturating_add(std::mem::take(&mut self.lapsed))
    }

    /// Units that can be taken now.
    pub const fn remaining(&self, now_ns: u64) -> u64 {
        if now_ns < self.expires_ns { self.left } else { 0 }
    }

    /// Units that were used and not granted.
    pub const fn debt(&self) -> u64 {
        self.owed
    }

    /// Whether it is time to ask for a further grant: fewer than `low_water` units can be taken, or there is a debt.
    pub const fn needs_more(&self, low_water: u64, now_ns: u64) -> bool {
        self.owed > 0 || self.remaining(now_ns) < low_water
    }

    /// Sets aside what nobody may spend any more. For good: a clock that is set back does not bring it back.
    pub(crate) const fn expire(&mut self, now_ns: u64) {
        if now_ns >= self.expires_ns {
            self.lapsed = self.lapsed.saturating_add(self.left);
            self.left = 0;
        }
    }

    /// Whether `n` are there, after what expired is gone.
    pub(crate) const fn fits(&self, n: u64) -> Result<(), Refusal> {
        if self.owed == 0 && n <= self.left { Ok(()) } else { Err(Refusal::UntilGiven) }
    }

    /// What is there.
    pub(crate) const fn spend(&mut self, n: u64) {
        self.left -= n;
        self.spent = self.spent.saturating_add(n);
    }
}
