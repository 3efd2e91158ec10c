//! Streams of this dialect.
