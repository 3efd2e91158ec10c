//! Which endpoints serve a request, in which order, and what is learned from how it went.
//!
//! A snapshot becomes a [`Board`] once: its endpoints side by side with their health. A request's names become models ([`names`]), its
//! `provider` object [`Wishes`], what it needs a [`Need`]; [`plan`] filters, orders and remembers why ([`Plan`]). A [`Run`] then hands out
//! attempts one after the other, and each [`Attempt`] takes back how it went and says where to go next.
//!
//! ```text
//! names ─┐                       ┌► Explanation (why)
//! wishes ┼► filter ► strategy ► Plan ► Run ► Attempt ► outcome ─► health, pins
//! need ──┘        ▲    ▲         └► Decided ► Inputs (the same again)       │
//!        Board ───┘    └──────────────── pulses ◄──────────────────────────┘
//! ```
//!
//! A caller keeps a [`Registry`] and [`Pins`] for the life of the process, a [`Board`] beside each snapshot, and a [`Plan`] to use again
//! per worker. For a request: [`names::resolve`] (where the name is plain and nothing is wished, [`names::Named::model`] is enough),
//! [`read`] where there are wishes, [`Order::pinned`], [`plan`], [`Run::new`]; then [`Run::first`], [`Attempt::finish`] with what happened,
//! [`Run::next`] with its class, until there is none. `tests/routing/fleet.rs` is such a caller.
//!
//! Pure: the time and the seed are arguments, nothing opens a socket, nothing draws by itself. What changes (health, pins, budgets) is
//! atomics that all workers share; a lock is taken only when a board is made.
//!
//! Absent on purpose: waiting (a queue for a provider that is full belongs to whoever can wake up), sending, money (the caller reserves the
//! dearest step of the plan), and the caller's own limits. No trait for strategies: there are five, and a `match` shows them all.

#![forbid(unsafe_code)]

mod board;
mod decision;
mod explain;
mod filter;
pub mod health;
pub mod hedge;
pub mod names;
mod need;
mod plan;
mod random;
mod run;
mod shadow;
mod sticky;
mod strategy;
mod wishes;

pub use board::{Board, Entry};
pub use decision::{Chosen, Decided, Inputs, Malformed, Recording, replay};
pub use explain::Explanation;
pub use fairlead_ir::Tier;
pub use filter::{PriceMember, Reason};
pub use health::Registry;
pub use need::{Conversation, Need, Way};
pub use plan::{Moment, Now, Order, Plan, Removed, Step, decide, plan};
pub use random::hash;
pub use run::{Attempt, Run, Told};
pub use shadow::is_shadowed;
pub use sticky::{Pin, Pins};
pub use wishes::{By, Cutoffs, MaxPrice, Members, Partition, Sort, WishError, Wished, Wishes, read, read_models};
