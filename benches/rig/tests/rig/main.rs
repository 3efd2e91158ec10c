//! The floor must be right before it may be a yardstick, and the load generator must count right replies only.
#![expect(clippy::unwrap_used, reason = "tests")]

mod floor;
mod load;
mod provider;
