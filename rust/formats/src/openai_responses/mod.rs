//! OpenAI Responses, as OpenAI, its imitators and OpenRouter speak it.

pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod wire;
