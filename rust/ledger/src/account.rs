//! What an account, a team, a user or a key may still spend: its budgets and its credit, against what was charged to it and what running calls
//! hold back. One of them; [`crate::hold`] has several at once.

use fairlead_ir::calendar::Turn;
use fairlead_ir::{Interval, NanoUsd};

/// So much in a calendar interval of UTC, or in total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// What is counted together. A generation counts in the interval that it is settled in.
    pub interval: Interval,
    /// The most; 0 admits nothing that costs.
    pub limit: NanoUsd,
    /// It never refuses; who watches over it is told.
    pub soft: bool,
}

/// What somebody may spend; by default as much as they like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// All of them hold.
    pub budgets: Vec<Budget>,
    /// Credit that was ever granted and has not been taken back, where it has to be paid in advance. It can be less than what was spent.
    pub granted: Option<NanoUsd>,
}

/// What was charged: today, this week, this month, and in total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    windows: [Charged; 3],
    total: NanoUsd,
}

/// What was charged in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Charged {
    start_ms: u64,
    amount: NanoUsd,
}

const WINDOWS: [Interval; 3] = [Interval::Daily, Interval::Weekly, Interval::Monthly];

impl Spent {
    /// What was charged in the day, the week and the month that `at_ms` lies in, and in total.
    pub fn resume(amounts: [NanoUsd; 3], total: NanoUsd, at_ms: u64) -> Spent {
        let charged = |window: usize| Charged { start_ms: WINDOWS[window].start_ms(at_ms), amount: amounts[window] };
        Spent { windows: [charged(0), charged(1), charged(2)], total }
    }

    /// What was charged in the interval that `now_ms` lies in.
    pub fn within(&self, interval: Interval, now_ms: u64) -> NanoUsd {
        match WINDOWS.iter().position(|window| *window == interval) {
            Some(window) => self.windows[window].at(interval, now_ms).amount,
            None => self.total,
        }
    }

    /// Counts what was charged at `at_ms`, which is now.
    pub fn add(&mut self, charged: NanoUsd, at_ms: u64) {
        for (window, interval) in self.windows.iter_mut().zip(WINDOWS) {
            *window = window.at(interval, at_ms);
            window.amount = sum(window.amount, charged);
        }
        self.total = sum(self.total, charged);
    }
}

impl Charged {
    fn at(self, interval: Interval, now_ms: u64) -> Charged {
        match interval.turn(self.start_ms, now_ms) {
            Turn::Stays => self,
            Turn::Begins(start_ms) => Charged { start_ms, amount: NanoUsd(0) },
            Turn::SetBack(start_ms) => Charged { start_ms, ..self },
        }
    }
}

/// What bounds a scope the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// A budget.
    Budget(Budget),
    /// Credit that is paid in advance.
    Credit(NanoUsd),
}

/// How much a scope has left, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// What a further call may hold back; below 0 where it is overdrawn.
    pub amount: NanoUsd,
    /// What leaves so little.
    pub bound: Bound,
    /// What was charged in its interval.
    pub spent: NanoUsd,
    /// What running calls hold back.
    pub reserved: NanoUsd,
}

/// A scope's books: `spent + reserved + left = limit` for each of its bounds.
#[derive(Clone, Debug, Default)]
pub struct Account {
    allowance: Allowance,
    spent: Spent,
    reserved: NanoUsd,
}

impl Account {
    /// Another allowance from now on. What was spent stays spent, and what is reserved reserved.
    pub fn allow(&mut self, allowance: Allowance) {
        self.allowance = allowance;
    }

    /// What it may spend.
    pub fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// What was charged before this process began to count.
    pub fn resume(&mut self, spent: Spent) {
        self.spent = spent;
    }

    /// What was charged.
    pub fn spent(&self) -> &Spent {
        &self.spent
    }

    /// What running calls hold back. Never below 0.
    pub fn reserved(&self) -> NanoUsd {
        self.reserved
    }

    /// The least that any of its bounds leaves; `None` where nothing bounds it.
    pub fn left(&self, now_ms: u64) -> Option<Left> {
        let left = |bound, limit: NanoUsd, spent: NanoUsd| {
            let amount = NanoUsd(limit.0.saturating_sub(spent.0).saturating_sub(self.reserved.0));
            Left { amount, bound, spent, reserved: self.reserved }
        };
        let hard = self.allowance.budgets.iter().filter(|budget| !budget.soft);
        let budgets = hard.map(|budget| left(Bound::Budget(*budget), budget.limit, self.spent.within(budget.interval, now_ms)));
        let credit = self.allowance.granted.map(|granted| left(Bound::Credit(granted), granted, self.spent.total));
        budgets.chain(credit).min_by_key(|left| left.amount)
    }

    /// Without asking.
    pub(crate) fn hold(&mut self, amount: NanoUsd) {
        self.reserved = sum(self.reserved, amount);
    }

    /// What was held is not needed.
    pub(crate) fn release(&mut self, amount: NanoUsd) {
        debug_assert!(amount <= self.reserved, "more is released than was held");
        self.reserved = NanoUsd(self.reserved.0.saturating_sub(amount.0).max(0));
    }

    /// What was charged, whether it was held or not.
    pub fn post(&mut self, charged: NanoUsd, at_ms: u64) {
        self.spent.add(charged, at_ms);
    }
}

/// Nine billion dollars and more are nobody's: what does not fit is the most there is.
fn sum(one: NanoUsd, other: NanoUsd) -> NanoUsd {
    NanoUsd(one.0.saturating_add(other.0))
}
