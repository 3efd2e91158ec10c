//! AWS Bedrock's Converse, spoken to providers only. Read and written whole in both directions, because the library translates any to any.

pub(crate) mod request;

pub(crate) mod wire;
