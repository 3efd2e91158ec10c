//! The limits of end users: of those that requests name in their body's `user` field. Whoever has a key, a team, a user or an account may say what
//! each of their end users may spend and how fast. Nobody makes end users known before: one is there from its first request on, and is forgotten
//! when its interval is over and nothing of it is left to remember. How many are remembered at once is bounded.

use super::{Limits, Tenant, short_id};
use fairlead_ir::{Interval, NanoUsd};
use fairlead_journal::{Recent, Unapplied};
use fairlead_ledger::Scopes;
use fairlead_ledger::account::Spent;
use fairlead_ledger::hold::Kind;
use fairlead_snapshot::KeyHasher;
use fairlead_snapshot::wire::{EndUserSpending, Spending};
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// How many are looked at, whether they may be forgotten, for each that comes while there is not much room: a request must not pay for all.
const LOOKED_AT: usize = 64;

/// The end users of one owner.
pub(crate) struct EndUsers {
    owner: (Kind, u64),
    state: Mutex<State>,
}

struct State {
    limits: Limits,
    /// Which limits these are: who has others gets them with the next request.
    version: u64,
    /// A request has to name one.
    is_required: bool,
    users: HashMap<u64, User, RandomState>,
    /// All of them, in the order in which they are looked at.
    turns: VecDeque<u64>,
}

struct User {
    tenant: Arc<Tenant>,
    /// Of the limits that it has.
    version: u64,
}

/// Why a request is not anybody's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// It names no end user and has to.
    Nameless,
    /// No more of them can be remembered, and all who are have something to remember.
    TooMany,
}

impl EndUsers {
    pub(super) fn new(owner: (Kind, u64)) -> EndUsers {
        let (users, turns) = (HashMap::default(), VecDeque::new());
        let state = State { limits: Limits::default(), version: 0, is_required: false, users, turns };
        EndUsers { owner, state: Mutex::new(state) }
    }

    /// Other limits for all of them, from their next request on.
    pub(super) fn change(&self, limits: Limits, is_required: bool) {
        let mut state = self.state.lock();
        state.version += 1;
        (state.limits, state.is_required) = (limits, is_required);
    }

    /// All who are remembered.
    pub(super) fn all(&self) -> Vec<Arc<Tenant>> {
        self.state.lock().users.values().map(|user| user.tenant.clone()).collect()
    }

    /// The end user that a request names. `None`: it names none, and need not.
    pub(super) fn find(&self, name: Option<&str>, known: &Remembered, most: usize, now_ms: u64) -> Result<Option<Arc<Tenant>>, Stranger> {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return if self.state.lock().is_required { Err(Stranger::Nameless) } else { Ok(None) };
        };
        let (kind, owner) = self.owner;
        let id = short_id(known.hasher, &[b"end user", kind.name().as_bytes(), &owner.to_le_bytes(), name.as_bytes()]);
        let (mut guard, now_ns) = (self.state.lock(), now_ms.saturating_mul(1_000_000));
        let state = &mut *guard;
        if let Some(user) = state.users.get_mut(&id) {
            if std::mem::replace(&mut user.version, state.version) != state.version {
                user.tenant.change(&state.limits, now_ns);
            }
            return Ok(Some(user.tenant.clone()));
        }
        if state.users.len() >= most / 2 {
            state.forget_some(now_ms);
            if state.users.len() >= most {
                return Err(Stranger::TooMany);
            }
        }
        let user = Arc::new(Tenant::new(Kind::EndUser, id));
        user.change(&state.limits, now_ns);
        if let Some(before) = known.before.lock().remove(&id) {
            user.scope.books().resume(before.spent);
            user.resume(before.recent, before.at_ms.saturating_mul(1_000_000));
        }
        state.users.insert(id, User { tenant: user.clone(), version: state.version });
        state.turns.push_back(id);
        Ok(Some(user))
    }
}

impl State {
    /// Looks at those who were longest not looked at, and forgets those of whom nothing is left to remember.
    fn forget_some(&mut self, now_ms: u64) {
        let intervals: Vec<Interval> = self.limits.allowance.budgets.iter().map(|budget| budget.interval).collect();
        for _ in 0..LOOKED_AT.min(self.turns.len()) {
            let Some(id) = self.turns.pop_front() else { return };
            if self.users.get(&id).is_some_and(|user| user.tenant.is_remembered_for(&intervals, now_ms)) {
                self.turns.push_back(id);
            } else {
                self.users.remove(&id);
            }
        }
    }
}

impl Tenant {
    /// Whether there is anything to remember of an end user: a request, money, or rates that were taken.
    fn is_remembered_for(self: &Arc<Self>, intervals: &[Interval], now_ms: u64) -> bool {
        let is_idle = || {
            let books = self.scope.books();
            let spent = |interval: &Interval| books.spent().within(*interval, now_ms) > NanoUsd(0);
            books.reserved() == NanoUsd(0) && !intervals.iter().any(spent)
        };
        // Whoever else has it is a request of its.
        Arc::strong_count(self) > 1 || !is_idle() || !self.gate.rates().is_untouched(now_ms.saturating_mul(1_000_000))
    }
}

/// What is known of end users who have not been seen since the start, and what their ids are made with.
pub(super) struct Remembered<'a> {
    pub(super) hasher: &'a KeyHasher,
    pub(super) before: &'a Mutex<Before>,
}

/// End users by their ids.
pub(super) type Before = HashMap<u64, Earlier, RandomState>;

/// What one of them had spent before this start, and taken in the minute before it.
#[derive(Clone, Copy, Default)]
pub(super) struct Earlier {
    spent: Spent,
    recent: Recent,
    at_ms: u64,
}

/// By the database, and by what the journal holds beyond it.
pub(super) fn before(spending: &Spending, unapplied: &[Unapplied]) -> Before {
    let mut sums: HashMap<u64, ([i64; 3], Recent)> = HashMap::new();
    for &EndUserSpending { id, day, week, month, requests, tokens } in &spending.end_users {
        sums.insert(id, ([day, week, month], Recent { requests, tokens, ..Recent::default() }));
    }
    for more in unapplied.iter().filter(|more| more.scope == Scopes::END_USER) {
        let (amounts, recent) = sums.entry(more.id).or_default();
        recent.requests += more.recent.requests;
        recent.tokens = recent.tokens.saturating_add(more.recent.tokens);
        for (sum, interval) in amounts.iter_mut().zip([Interval::Daily, Interval::Weekly, Interval::Monthly]) {
            if more.day_start_ms >= interval.start_ms(spending.at_ms) {
                *sum = sum.saturating_add(more.charged.0);
            }
        }
    }
    let earlier = |(amounts, recent): ([i64; 3], Recent)| {
        // Nobody's budget counts in all, so that nobody has to be remembered for ever.
        let total = NanoUsd(amounts.into_iter().max().unwrap_or_default());
        Earlier { spent: Spent::resume(amounts.map(NanoUsd), total, spending.at_ms), recent, at_ms: spending.at_ms }
    };
    sums.into_iter().map(|(id, sums)| (id, earlier(sums))).collect()
}
