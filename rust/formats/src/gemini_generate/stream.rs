//! Streams of this dialect.

pub(crate) mod decode;
pub(crate) mod encode;
mod fragments;
mod shape;
#[cfg(test)]
mod tests;
