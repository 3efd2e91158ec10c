//! The contract with Python: what it compiles from configuration, catalogue and database arrives here as JSON, is validated once, and
//! becomes immutable indexes that every worker reads without a lock.
//!
//! * [`wire`]: the JSON as it arrives. Unknown fields are errors: both sides are one product.
//! * [`Snapshot`]: settings, providers and models, valid by construction; swapped whole.
//! * [`facts`]: sets of modalities, parameters and quantizations, for choosing among endpoints.
//! * [`Directory`]: keys, which may be a million and change one by one; updated by deltas.
//!
//! Absent on purpose: anything that changes by itself (balances, health, pools). Those live in registries keyed by the ids in here and
//! survive a swap.

#![forbid(unsafe_code)]

pub mod directory;
pub mod facts;
mod snapshot;
mod target;
pub mod wire;

pub use directory::{Directory, KeyHasher, Principal, matches, parse_hash};
pub use facts::{CredentialLimits, Modalities, Parameters, Quantizations};
pub use snapshot::{
    Endpoint, Found, Model, ModelRates, Preset, Provider, Secret, Shadow, Snapshot, SnapshotError, Split, did_you_mean, nearest,
};
pub use target::{ANTHROPIC_VERSION, Operation, Origin, Signing, SigningKey, Target};
pub use wire::{Arm, DataPolicy, Limits, Settings, Status, Timeouts};
