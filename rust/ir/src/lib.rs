//! What every other crate talks in: dialects, ids, money, usage, finish reasons and the error table.
//!
//! Pure: nothing here reads a clock, opens a socket or knows a provider's name. Blocks, tools and stream events of the canonical
//! representation join when dialects are translated; until then nothing stands here that nobody uses.

#![forbid(unsafe_code)]

pub mod dialect;
pub mod error;
pub mod finish;
pub mod id;
pub mod money;
pub mod price;
pub mod usage;

pub use dialect::{Dialect, Manner};
pub use error::{ErrorKind, Fault};
pub use finish::Finish;
pub use id::GenerationId;
pub use money::{NanoUsd, PicoUsd};
pub use price::Price;
pub use usage::Usage;
