//! OpenAI's legacy completions: a text goes on, without roles.
//!
//! A small relative of chat: whatever is not said here (members of requests, figures, words for the end) is chat's. Providers that
//! serve it themselves are read by chat's own readers; this folder writes it for callers whose model is served in another dialect.

pub(crate) mod error;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod stream;
pub(crate) mod wire;
