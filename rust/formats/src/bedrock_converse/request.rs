//! Requests: their bodies. The model stands in the path, which whoever sends them makes.

pub(crate) mod decode;
pub(crate) mod encode;

#[cfg(test)]
mod tests;
