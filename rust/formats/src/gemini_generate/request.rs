//! Requests of this dialect.

pub(crate) mod decode;
pub(crate) mod encode;
mod schema;
#[cfg(test)]
pub(crate) mod tests;
