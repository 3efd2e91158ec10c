//! Money's rules: what a call may cost at most (reserve), what it did cost (settle), and the record of both.
//!
//! Pure: `now` and prices are arguments. Absent on purpose: the journal (which carries these records) and SQL (which keeps them).
//! Balances, budgets and leases will live here too; the places of their scope ids are in every record already.

#![forbid(unsafe_code)]

pub mod record;
pub mod reserve;
pub mod settle;

pub use record::{Attempt, Delivered, Flags, Loss, Outcome, Progress, Reach, Reserve, Scopes, Settle, Timings};
