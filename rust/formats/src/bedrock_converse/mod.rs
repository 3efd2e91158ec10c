//! AWS Bedrock's Converse, spoken to providers only.

pub(crate) mod request;
