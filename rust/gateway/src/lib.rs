//! The data plane: accepts clients, forwards to providers, meters, records.
//!
//! One [`Gateway`] per process, or any number of [`Library`]s, which serve the process that they are in and listen nowhere. A gateway owns its threads (`fl-accept`, `fl-worker-N`, `fl-drain`, `fl-kept`, `fl-content`, `fl-decisions`; the journal has `fl-journal`) and never
//! calls into Python; news travels through [`Events`]. What may use what: `server` → `pipeline` → {`worker`, `routes`, `upstream`,
//! `telemetry`}; `upstream` knows no dialect, `pipeline` knows no socket of a client.
//!
//! Absent on purpose: SQL (the journal carries everything that becomes a row), the public API beside inference (forwarded to the
//! control plane), and any provider's name.

mod content;
mod decisions;
mod events;
mod gateway;
mod library;
mod options;
mod pipeline;
mod repeats;
mod responses;
mod routes;
mod server;
mod telemetry;
mod tenants;
mod upstream;
mod worker;

pub use events::{Event, Events};
pub use gateway::{Gateway, StartError, explain, read_content};
pub use library::{Feed, Library, LibraryOptions, News, Order, Over};
pub use options::{Options, TlsFiles};
pub use pipeline::{Replay, ReplayError, Settlement, Window};
