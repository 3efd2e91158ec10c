//! Tests of the codec as its caller sees it. The vectors are `tests/vectors/http1` at the top of the repository.
//!
//! `PROPTEST_CASES` sets how many cases each property runs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod bodies;
mod exchange;
mod heads;
mod oracle;
mod properties;
mod requests;
mod vectors;
