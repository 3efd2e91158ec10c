//! OpenAI's embeddings: vectors of texts, always on the byte path.
//!
//! A small relative of chat: errors, keys of the gateway and figures are chat's. Vectors are stepped over, never read.

pub(crate) mod request;
pub(crate) mod response;
