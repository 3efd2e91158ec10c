//! OpenAI Responses, as OpenAI, its imitators and OpenRouter speak it.

pub(crate) mod error;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod stream;
pub(crate) mod wire;
