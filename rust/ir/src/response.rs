//! A whole reply, in no dialect.

use crate::block::Block;
use crate::dialect::Dialect;
use crate::finish::Finish;
use crate::text::{Member, Raw, Text};
use crate::usage::Usage;

/// A whole reply. Borrows from the body it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// The dialect it was read from.
    pub source: Dialect,
    /// The provider's id of the reply. Empty where it gives none.
    pub id: Text<'a>,
    /// The model as the provider names it. Empty where it does not.
    pub model: Text<'a>,
    /// Unix seconds, where the provider says so.
    pub created_s: Option<u64>,
    /// The replies, one unless more were asked for.
    pub choices: Vec<Choice<'a>>,
    /// What was used, where the provider says so.
    pub usage: Option<Usage>,
    /// The tier that served it, as written.
    pub service_tier: Option<Text<'a>>,
    /// Top-level members that only [`source`](Response::source) knows.
    pub rest: Vec<Member<'a>>,
}

impl<'a> Response<'a> {
    /// The tier that served it, unless it is the usual one: what a caller who asked for none expects anyway.
    pub fn unusual_tier(&self) -> Option<&Text<'a>> {
        self.service_tier.as_ref().filter(|tier| !["default", "standard", "STANDARD", "auto"].iter().any(|usual| tier.is(usual)))
    }

    /// A reply without choices.
    pub fn new(source: Dialect) -> Response<'a> {
        Response {
            source,
            id: Text::EMPTY,
            model: Text::EMPTY,
            created_s: None,
            choices: Vec::new(),
            usage: None,
            service_tier: None,
            rest: Vec::new(),
        }
    }
}

/// One of the replies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice<'a> {
    /// What the model said, in order.
    pub blocks: Vec<Block<'a>>,
    /// Why it ended, where the provider says so.
    pub stop: Option<Stop<'a>>,
    /// Probabilities, as OpenAI writes them.
    pub logprobs: Option<Raw<'a>>,
}

/// Why a reply ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop<'a> {
    /// In our words. [`StopReason::ToolCalls`] stands whenever there are calls, whatever the provider's flag says.
    pub reason: StopReason,
    /// The provider's own word.
    pub native: Text<'a>,
    /// The stop sequence that was met.
    pub sequence: Option<Text<'a>>,
    /// More, as the dialect it was read from writes it (Anthropic's `stop_details`).
    pub details: Option<Raw<'a>>,
}

/// Why a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// The model had said everything.
    End,
    /// A stop sequence was met.
    StopSequence,
    /// The limit of output tokens was reached.
    MaxTokens,
    /// The context window was full.
    ContextWindow,
    /// The model wants tools run.
    ToolCalls,
    /// A filter ended it.
    ContentFilter,
    /// The model refused.
    Refusal,
    /// A long turn of hosted tools paused; the same conversation sent again goes on.
    Pause,
    /// The conversation was compacted.
    Compaction,
    /// The model or the provider failed (malformed calls and the like).
    Failed,
}

impl StopReason {
    /// In OpenRouter's five words.
    pub const fn finish(self) -> Finish {
        match self {
            StopReason::End | StopReason::StopSequence | StopReason::Pause | StopReason::Compaction => Finish::Stop,
            StopReason::MaxTokens | StopReason::ContextWindow => Finish::Length,
            StopReason::ToolCalls => Finish::ToolCalls,
            StopReason::ContentFilter | StopReason::Refusal => Finish::ContentFilter,
            StopReason::Failed => Finish::Error,
        }
    }
}
