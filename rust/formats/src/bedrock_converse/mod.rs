//! AWS Bedrock's Converse, spoken to providers only. Read and written whole in both directions, because the library translates any to any.

pub(crate) mod error;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod stream;
pub(crate) mod wire;
