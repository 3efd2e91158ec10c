//! A reply as it comes, in no dialect.
//!
//! What decoders promise, whatever the provider does: [`Event::Start`] first and once; per choice, blocks are numbered from 0
//! without gaps and in the order of their first piece; pieces belong to a block that is open; every block that was opened is closed
//! before its choice stops; the pieces of a tool call's arguments join to one JSON text (`{}` when the provider sent none) or to
//! free text; one [`Event::Stop`] per choice; [`Event::End`] or [`Event::Fail`] last and once. Several blocks may be open at a time.

use crate::block::{Citation, Media, ThoughtShape};
use crate::error::ErrorKind;
use crate::response::Stop;
use crate::text::{Raw, Text};
use crate::usage::Usage;

/// One step of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The reply begins.
    Start {
        /// The provider's id of the reply. May be empty.
        id: Text<'a>,
        /// The model as the provider names it. May be empty.
        model: Text<'a>,
        /// Unix seconds, where the provider says so.
        created_s: Option<u64>,
    },
    /// A block begins.
    Open {
        /// Which reply, from 0.
        choice: u32,
        /// Which block of it, from 0.
        block: u32,
        /// What it is.
        head: Head<'a>,
    },
    /// A piece of an open block.
    Delta {
        /// Which reply.
        choice: u32,
        /// Which block of it.
        block: u32,
        /// The piece.
        delta: Delta<'a>,
    },
    /// A block has ended.
    Close {
        /// Which reply.
        choice: u32,
        /// Which block of it.
        block: u32,
    },
    /// Probabilities of the text that came before, as OpenAI writes them.
    Logprobs {
        /// Which reply.
        choice: u32,
        /// The object as written.
        logprobs: Raw<'a>,
    },
    /// A reply has ended.
    Stop {
        /// Which reply.
        choice: u32,
        /// Why.
        stop: Stop<'a>,
    },
    /// The service tier that serves it, in the provider's word.
    Tier(Text<'a>),
    /// What was used so far; replaces what was said before.
    Usage(Usage),
    /// The provider lives but says nothing.
    KeepAlive,
    /// The reply failed. Nothing follows.
    Fail {
        /// What it means to us.
        kind: ErrorKind,
        /// The provider's words, neither redacted nor shortened.
        message: Text<'a>,
        /// The provider's code or type word.
        code: Option<Text<'a>>,
    },
    /// The reply is complete. Nothing follows.
    End,
}

/// How a block begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head<'a> {
    /// Text.
    Text,
    /// The model's words for why it does not answer.
    Refusal,
    /// What the model thinks.
    Thought {
        /// The item's id.
        id: Option<Text<'a>>,
        /// Hidden for safety: only a seal comes.
        redacted: bool,
    },
    /// A tool call.
    ToolCall {
        /// Never empty: a decoder makes one where the provider gives none.
        id: Text<'a>,
        /// The tool's name.
        name: Text<'a>,
        /// Whether the tool takes free text instead of JSON.
        free: bool,
    },
    /// Media, whole.
    Media(Media<'a>),
    /// Something that only the provider's dialect knows, whole.
    Opaque {
        /// Its `type` word or key.
        word: Text<'a>,
        /// All of it.
        raw: Raw<'a>,
    },
}

/// A piece of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta<'a> {
    /// Text of a text block or a refusal.
    Text(Text<'a>),
    /// Readable text of a thought.
    Thought {
        /// Whether it is a summary.
        shape: ThoughtShape,
        /// Which readable part of the thought, from 0.
        part: u32,
        /// The text.
        text: Text<'a>,
    },
    /// Arguments of a tool call: a piece of their JSON text, or of free text, escaped once as any text.
    Arguments(Text<'a>),
    /// The block's opaque state, whole; a later one replaces it.
    Seal(Text<'a>),
    /// A source that the text cites.
    Citation(Citation<'a>),
}
