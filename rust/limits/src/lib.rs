//! Limits: rates of requests and tokens, places for calls at the same time, and counters per day, week and month.
//!
//! Pure: no clock, no I/O. `now` is an argument, nanoseconds (`now_ns`) or Unix milliseconds (`now_ms`), and everything is integers, so that
//! the same calls give the same answers, exactly, for years. Only [`Gate`] has a lock. Absent on purpose: the place where limits are kept by
//! their owner's id, money (`ledger`), and the words of a refusal in a reply.
//!
//! * [`Bucket`]: so many units per period, refilled continuously, with a burst ([`Rate`]).
//! * [`Window`]: so many units per calendar day, week or month of UTC, or in total.
//! * [`Concurrency`]: so many at the same time.
//! * [`Lease`]: what somebody else granted of such a limit, where several processes share it.
//! * [`FreeTier`]: the two limits of free models.
//! * [`take_all`]: from several of them or from none.
//! * [`Gate`]: somebody's rates and places, shared by requests that take of several gates at once.
//!
//! Why not the `governor` crate: one quota per limiter instead of per key, and nothing can be given back or charged afterwards.

#![forbid(unsafe_code)]

mod bucket;
mod claim;
mod concurrency;
mod free_tier;
mod gate;
mod lease;
mod rate;
mod refusal;
mod sync;
mod window;

pub use bucket::{Bucket, Level, SKEW_NS};
pub use claim::{Claim, Refused, take_all};
pub use concurrency::Concurrency;
pub use fairlead_ir::calendar::SET_BACK_MS;
pub use free_tier::{FreeTier, FreeTierLimits};
pub use gate::{Full, Gate, RateLimits, Rates, Taken, Wanted, What};
pub use lease::Lease;
pub use rate::{InvalidRate, MINUTE_NS, Rate};
pub use refusal::Refusal;
pub use window::Window;
