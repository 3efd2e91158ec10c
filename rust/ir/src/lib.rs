//! What every other crate talks in: dialects and what endpoints do differently from them ([`traits`]), ids, money, the calendar, usage, finish
//! reasons, the error table, and the canonical representation.
//!
//! The canonical representation is what requests, replies and streams are translated through: [`Request`], [`Response`], [`Event`],
//! made of [`block`]s. Its texts are JSON as written ([`text`]), borrowed from the body they were read from. What a dialect says that
//! no other one knows is carried with its origin (`rest`, opaque blocks), so that nothing is dropped in silence ([`loss`]).
//!
//! Pure: nothing here reads a clock, opens a socket or knows a provider's name.

#![forbid(unsafe_code)]

pub mod block;
pub mod calendar;
pub mod dialect;
pub mod error;
pub mod event;
pub mod finish;
pub mod id;
pub mod loss;
pub mod money;
pub mod param;
pub mod percent;
pub mod preset;
pub mod price;
pub mod request;
pub mod response;
pub mod text;
pub mod tier;
pub mod traits;
pub mod usage;

pub use block::{Block, Kind, Origin};
pub use calendar::Interval;
pub use dialect::{Dialect, Manner};
pub use error::{Elsewhere, ErrorKind, Fault};
pub use event::{Delta, Event, Head};
pub use finish::Finish;
pub use id::GenerationId;
pub use loss::{Loss, Losses, Severity};
pub use money::{NanoUsd, PicoUsd};
pub use param::Param;
pub use price::{Hours, Override, Price, PriceTable, Rates, Terms};
pub use request::{Request, Role, Tool, ToolChoice, ToolKind, Turn};
pub use response::{Choice, Response, Stop, StopReason};
pub use text::{Member, Raw, Text};
pub use tier::Tier;
pub use traits::Traits;
pub use usage::Usage;
