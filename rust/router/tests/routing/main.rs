//! Routing as a whole: a fleet of providers with a clock of its own, the balance of the draw, and what must hold whatever is asked.

#![expect(clippy::unwrap_used, reason = "tests")]

mod balance;
mod fleet;
mod names;
mod outages;
mod properties;
mod sticky;
mod wishes;
mod world;
