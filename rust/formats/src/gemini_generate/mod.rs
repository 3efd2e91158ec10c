//! Google's Gemini `generateContent`, as the Gemini API, Vertex AI and their clients speak it.
//!
//! The model and whether to stream stand in the path, not in the body; a chunk of a stream is a whole partial reply, whose parts are
//! appended; ids of calls are optional; there is no event that ends a stream, and nothing that keeps one alive.

pub(crate) mod count;
pub(crate) mod error;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod stream;
pub(crate) mod wire;
