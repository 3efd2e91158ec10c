//! Money's rules: what a call may cost at most (reserve), who has so much left (hold, account), what it did cost (settle), and the record of it.
//!
//! Pure: `now` and prices are arguments. Absent on purpose: the journal (which carries these records) and SQL (which keeps them).

#![forbid(unsafe_code)]

pub mod account;
pub mod histogram;
pub mod hold;
pub mod record;
pub mod reserve;
pub mod rollup;
pub mod settle;
mod sync;

pub use record::{Api, Attempt, CacheHit, Delivered, Flags, Loss, Outcome, Particulars, Progress, Reach, Reserve, Scopes, Settle, Timings};
