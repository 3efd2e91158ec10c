//! Whole replies.

pub(crate) mod decode;
pub(crate) mod encode;

#[cfg(test)]
mod tests;
