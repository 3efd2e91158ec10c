//! Whole replies of this dialect.

pub(crate) mod decode;
pub(crate) mod encode;
#[cfg(test)]
pub(crate) mod tests;
