//! The locks by one name: `tests/schedules.rs` compiles what uses them with shuttle's, which it schedules itself.

pub(crate) use std::sync::{Mutex, MutexGuard};
