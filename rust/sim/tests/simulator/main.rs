//! The simulator through real sockets. Nothing here measures time: waits are on events, and the figures checked are counts.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod anthropic_messages;
mod bedrock_converse;
mod bodies;
mod client;
mod faults;
mod gemini_generate;
mod http;
mod judged;
mod ledger;
mod openai_chat;
mod openai_responses;
mod script;
