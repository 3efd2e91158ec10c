//! Errors of this dialect.
