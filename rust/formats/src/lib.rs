//! Wire formats: the bytes that clients and providers speak.
//!
//! The lower half of this crate knows bytes and no dialect:
//!
//! * [`json`] finds members in a JSON text without building a tree, and decides whether the text is JSON at all;
//! * [`splice`] changes a few byte ranges of a text and leaves the rest where it lies;
//! * [`sse`] finds, reads and writes server-sent events; [`eventstream`] does the same with AWS's binary framing;
//! * [`sigv4`] signs requests as AWS wants them.
//!
//! The dialects stand on these, one folder each with the same six files, and are reached through files that know both:
//!
//! * [`request`] reads what routing needs and splices the model name; [`extension`] lists the keys that only gateways know;
//! * [`reply`] reads and edits whole replies, [`tap`] streams; [`identity`] is what they say about themselves on `/api/v1`;
//! * [`conversation`] is what of a Responses reply is kept, to be looked at and gone on from;
//! * [`content`] is what was asked and said as text, where that is logged;
//! * [`figures`] keeps figures that nobody can believe from clients;
//! * [`counted`] answers who asks how many tokens a prompt has;
//! * [`metadata`] is what a reply tells of its routing where that is asked for;
//! * [`tool_calls`] judges whether the calls of a reply are what the request's tools ask for;
//! * [`error`] writes errors as clients read them and reads them as providers write them; [`redact`] hides credentials in them, and
//!   [`availability`] says in them why nothing can serve a request;
//! * [`cut`] is how a stream ends whose money is used up;
//! * [`canonical`] tells whether two requests ask the same, and [`again`] is the reply to the second of them.
//!
//! * [`preset`] puts what a preset says into the body of a request that does not say it itself;
//! * [`translate`] goes from one dialect to another through `fairlead_ir`; [`traits`] are what endpoints do differently, [`text`] the
//!   two spellings of a text.
//!
//! Two small relatives of chat have folders of their own: `openai_completions` and `openai_embeddings`.
//!
//! Where provider and client speak the same dialect nothing is translated. Deliberately absent: sockets, clocks, threads, and any value tree on a path that
//! only forwards. Text that nobody changes is never serialised again, because unknown fields, number spelling and
//! key order have to survive (prompt caches and signatures depend on them).

pub mod again;
mod anthropic_messages;
pub mod availability;
mod bedrock_converse;
pub mod canonical;
pub mod content;
pub mod conversation;
pub mod counted;
pub mod cut;
mod decimal;
pub mod error;
pub mod eventstream;
pub mod extension;
pub mod figures;
mod gemini_generate;
pub mod identity;
pub mod json;
pub mod metadata;
mod openai_chat;
mod openai_completions;
mod openai_embeddings;
mod openai_responses;
mod patch;
pub mod preset;
pub mod read;
pub mod redact;
pub mod reply;
pub mod request;
pub mod sigv4;
pub mod splice;
pub mod sse;
pub mod tap;
mod template;
pub mod text;
pub mod tool_calls;
pub mod translate;
mod write;

pub use fairlead_ir::traits;
pub use patch::Unspliced;
