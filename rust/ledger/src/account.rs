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
    legs: Legs,
}

/// The other side of every entry, which nothing is decided by: what the books are held against ([`Account::audit`]).
#[derive(Clone, Debug, Default)]
struct Legs {
    held: i128,
    given_back: i128,
    posted: i128,
}

/// What books say that cannot be (`reliability.md` 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// What is reserved is not what was held less what was given back.
    Reserved,
    /// What was spent is not what was posted.
    Spent,
    /// More was spent in a day than in its week, or in an interval than in all.
    Windows,
}

impl Broken {
    /// All, in order.
    pub const ALL: [Broken; 3] = [Broken::Reserved, Broken::Spent, Broken::Windows];

    /// The word in metrics and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Broken::Reserved => "reserved",
            Broken::Spent => "spent",
            Broken::Windows => "windows",
        }
    }

    /// What it means, in words.
    pub const fn what(self) -> &'static str {
        match self {
            Broken::Reserved => "what is reserved is not what was held less what was given back",
            Broken::Spent => "what was spent is not what was posted",
            Broken::Windows => "more was spent in a day than in its week, or in an interval than in all",
        }
    }
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
        self.legs.posted += i128::from(spent.total.0) - i128::from(self.spent.total.0);
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
        self.legs.held += i128::from(amount.0);
    }

    /// What was held is not needed.
    pub(crate) fn release(&mut self, amount: NanoUsd) {
        debug_assert!(amount <= self.reserved, "more is released than was held");
        self.reserved = NanoUsd(self.reserved.0.saturating_sub(amount.0).max(0));
        self.legs.given_back += i128::from(amount.0);
    }

    /// What was charged, whether it was held or not.
    pub fn post(&mut self, charged: NanoUsd, at_ms: u64) {
        self.spent.add(charged, at_ms);
        self.legs.posted += i128::from(charged.0);
    }

    /// Holds the books against the other side of every entry: a few additions, true whenever nobody has the books. What is left needs no
    /// check: it is never kept, only what the limit leaves over.
    ///
    /// # Errors
    /// What cannot be; the first of them.
    pub fn audit(&self, now_ms: u64) -> Result<(), Broken> {
        let Legs { held, given_back, posted } = self.legs;
        if i128::from(self.reserved.0) != (held - given_back).min(i128::from(i64::MAX)) || self.reserved.0 < 0 {
            return Err(Broken::Reserved);
        }
        if i128::from(self.spent.total.0) != posted.min(i128::from(i64::MAX)) {
            return Err(Broken::Spent);
        }
        let [day, week, month] = WINDOWS.map(|interval| self.spent.within(interval, now_ms));
        if day > week || week.max(month) > self.spent.total { Err(Broken::Windows) } else { Ok(()) }
    }

    /// Puts a wrong number into the books, for who tests that it is found.
    #[doc(hidden)]
    pub fn falsify(&mut self, broken: Broken) {
        match broken {
            Broken::Reserved => self.reserved.0 += 1,
            Broken::Spent => self.spent.total.0 += 1,
            Broken::Windows => self.spent.windows[0].amount.0 = self.spent.total.0 + 1,
        }
    }
}

/// Nine billion dollars and more are nobody's: what does not fit is the most there is.
fn sum(one: NanoUsd, other: NanoUsd) -> NanoUsd {
    NanoUsd(one.0.saturating_add(other.0))
}
