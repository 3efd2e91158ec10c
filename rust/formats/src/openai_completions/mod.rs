//! OpenAI's legacy completions: a text goes on, without roles.
//!
//! A small relative of chat: whatever is not said here (members of requests, figures, words for the end) is chat's. Providers that
//! serve it themselves are read by chat's own readers.

pub(crate) mod error;
pub(crate) mod request;
