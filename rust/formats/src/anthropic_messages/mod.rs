//! Anthropic Messages, as Anthropic and its imitators speak it, with OpenRouter's additions.

pub(crate) mod error;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod stream;
pub(crate) mod wire;
