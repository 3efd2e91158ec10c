//! Whole replies of this dialect.
