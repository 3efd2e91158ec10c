//! Wire formats: the bytes that clients and providers speak.
//!
//! The lower half of this crate knows bytes and no dialect:
//!
//! * [`json`] finds members in a JSON text without building a tree, and decides whether the text is JSON at all;
//! * [`splice`] changes a few byte ranges of a text and leaves the rest where it lies;
//! * [`sse`] finds, reads and writes server-sent events.
//!
//! The dialects stand on these. Deliberately absent: sockets, clocks, threads, and any value tree on a path that
//! only forwards. Text that nobody changes is never serialised again, because unknown fields, number spelling and
//! key order have to survive (prompt caches and signatures depend on them).

pub mod json;
pub mod splice;
pub mod sse;
