//! What a running call holds back in all scopes that pay for it: in all of them or in none, given back exactly once.
//!
//! ```text
//! reserve ──► settle   what it cost is charged, the rest is given back
//!    │ ▲ │
//!    └─┘ └──► drop     nothing was charged: all of it is given back (void)
//!  extend              the call goes on for longer than what was held back for it
//! ```

use crate::account::{Account, Left};
use crate::sync::{Mutex, MutexGuard};
use fairlead_ir::NanoUsd;
use std::sync::{Arc, PoisonError};

/// Who pays. The order is the one in which they are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Every call has one.
    Account,
    /// A part of an account.
    Team,
    /// A person with a log-in.
    User,
    /// What a request comes with.
    Key,
    /// Whom the request names in its body's `user` field.
    EndUser,
}

impl Kind {
    /// All, in order.
    pub const ALL: [Kind; 5] = [Kind::Account, Kind::Team, Kind::User, Kind::Key, Kind::EndUser];

    /// The word in messages and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Account => "account",
            Kind::Team => "team",
            Kind::User => "user",
            Kind::Key => "key",
            Kind::EndUser => "end user",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One payer. It outlives what is written about it: another allowance changes the books that there are.
#[derive(Debug)]
pub struct Scope {
    /// What it is.
    pub kind: Kind,
    /// Its id in the database, never reused.
    pub id: u64,
    account: Mutex<Account>,
}

impl Scope {
    /// One that has spent nothing and may spend anything.
    pub fn new(kind: Kind, id: u64) -> Scope {
        Scope { kind, id, account: Mutex::default() }
    }

    /// Its books, for as long as the guard lives.
    pub fn books(&self) -> MutexGuard<'_, Account> {
        // A panic between two additions is none of theirs.
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// More scopes than this pay for no call.
pub const MOST_SCOPES: usize = 8;

/// Nothing was held: this scope has less left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// What it is.
    pub kind: Kind,
    /// Its id.
    pub id: u64,
    /// What it has left and by what.
    pub left: Left,
}

/// What a call holds back.
#[derive(Debug)]
pub struct Hold {
    scopes: Arc<[Arc<Scope>]>,
    amount: NanoUsd,
    is_bounded: bool,
}

/// Holds `most` back in all of these scopes, or what the one with the least left has, but no less than `least`; or nothing in any.
/// They are in the order of [`Kind`], each once.
///
/// # Errors
/// The scope that has the least left, where that is less than `least`, or nothing.
pub fn reserve(scopes: &Arc<[Arc<Scope>]>, least: NanoUsd, most: NanoUsd, now_ms: u64) -> Result<Hold, Shortage> {
    let (amount, is_bounded) = take(scopes, least, most, now_ms)?;
    Ok(Hold { scopes: scopes.clone(), amount, is_bounded })
}

/// What was held, and whether anything bounds it.
fn take(scopes: &[Arc<Scope>], least: NanoUsd, most: NanoUsd, now_ms: u64) -> Result<(NanoUsd, bool), Shortage> {
    debug_assert!(scopes.len() <= MOST_SCOPES && scopes.is_sorted_by(|one, next| (one.kind, one.id) < (next.kind, next.id)));
    let mut books: [Option<MutexGuard<'_, Account>>; MOST_SCOPES] = Default::default();
    let mut poorest: Option<Shortage> = None;
    for (place, scope) in books.iter_mut().zip(scopes) {
        let account = place.insert(scope.books());
        if let Some(left) = account.left(now_ms)
            && poorest.is_none_or(|poorest| left.amount < poorest.left.amount)
        {
            poorest = Some(Shortage { kind: scope.kind, id: scope.id, left });
        }
    }
    // What costs nothing needs no money, but an overdrawn scope gets nothing more.
    if let Some(poorest) = poorest.filter(|poorest| poorest.left.amount < least.max(NanoUsd(0))) {
        return Err(poorest);
    }
    let amount = poorest.map_or(most, |poorest| most.min(poorest.left.amount)).max(least);
    books.iter_mut().flatten().for_each(|account| account.hold(amount));
    Ok((amount, poorest.is_some()))
}

impl Hold {
    /// What is held back.
    pub fn amount(&self) -> NanoUsd {
        self.amount
    }

    /// Whether any scope had a budget or credit that could run out when something was last held back. Soft budgets never do.
    pub fn is_bounded(&self) -> bool {
        self.is_bounded
    }

    /// Holds `most` more back in all scopes, or what the one with the least left has, but no less than `least`; or nothing more in any.
    ///
    /// # Errors
    /// The scope that has the least left, where that is less than `least`, or nothing. What was held before stays held.
    pub fn extend(&mut self, least: NanoUsd, most: NanoUsd, now_ms: u64) -> Result<(), Shortage> {
        let (amount, is_bounded) = take(&self.scopes, least, most, now_ms)?;
        self.amount = NanoUsd(self.amount.0.saturating_add(amount.0));
        self.is_bounded = is_bounded;
        Ok(())
    }

    /// The end of the call: what it cost is charged at `at_ms`, and nothing is held any more.
    pub fn settle(mut self, charged: NanoUsd, at_ms: u64) {
        let amount = std::mem::take(&mut self.amount);
        for scope in &*self.scopes {
            let mut account = scope.books();
            account.release(amount);
            account.post(charged, at_ms);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.amount != NanoUsd(0) {
            self.scopes.iter().for_each(|scope| scope.books().release(self.amount));
        }
    }
}
