//! JSON by byte ranges.
