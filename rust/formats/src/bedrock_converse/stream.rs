//! Streams: events in AWS's binary frames.

pub(crate) mod decode;
pub(crate) mod encode;
mod held;

#[cfg(test)]
mod tests;
