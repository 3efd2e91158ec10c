//! What a request asks for, in no dialect: all that a reply depends on. And the walk over a conversation that counts and hashes it.

use crate::cache::{Boundary, CacheUse, Lifetime};
use crate::digest::{Fingerprint, Trail};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Tokens that every message costs beside its text.
pub(crate) const TOKENS_PER_MESSAGE: u64 = 3;
/// Bytes of text that make one token.
pub(crate) const BYTES_PER_TOKEN: u64 = 4;
const TOKENS_PER_IMAGE: u64 = 85;
const TOKENS_PER_DOCUMENT: u64 = 250;
const TOKENS_PER_CLIP: u64 = 50;

/// A request for a reply.
#[derive(Debug, Default)]
pub(crate) struct Ask<'a> {
    pub(crate) prompt_tokens: u64,
    /// The text of the last message that the user wrote.
    pub(crate) last_user_text: Cow<'a, str>,
    /// Several prompts at once, each with choices of its own; usually empty.
    pub(crate) prompts: Vec<String>,
    /// The text of the last message, if it is the result of a tool.
    pub(crate) last_tool_result: Option<String>,
    pub(crate) tools: Tools<'a>,
    pub(crate) tool_choice: ToolChoice,
    /// At most one call at a time.
    pub(crate) single_call: bool,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) stops: Vec<String>,
    /// How many alternatives; 0 is taken as 1.
    pub(crate) choices: u32,
    /// Log probabilities are wanted, with so many alternatives each.
    pub(crate) logprobs: Option<u32>,
    pub(crate) structure: Structure,
    pub(crate) thinking: Thinking,
    /// Whether the caller wants to see the thoughts, and their seals; dialects that always show them do not look.
    pub(crate) shows_thoughts: bool,
    pub(crate) shows_seals: bool,
    /// Everything before the reply, for models that bind their seals to it.
    pub(crate) prefix: Fingerprint,
    pub(crate) cache: CacheUse,
    pub(crate) media: Media,
    /// Thoughts of the request that were left out, because the caller wanted that instead of a refusal.
    pub(crate) dropped: Vec<Dropped>,
}

/// A block that was left out of the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) message: usize,
    pub(crate) block: usize,
    pub(crate) reason: &'static str,
}

/// The offered tools: as they stood in the request, or read.
#[derive(Debug)]
pub(crate) enum Tools<'a> {
    Raw(Vec<&'a RawValue>),
    Read(Vec<Tool>),
}

impl Default for Tools<'_> {
    fn default() -> Self {
        Self::Read(Vec::new())
    }
}

/// A tool the caller offers: its name and the JSON schema of its arguments.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) schema: Value,
    /// Takes text instead of JSON (OpenAI's custom tools).
    pub(crate) takes_text: bool,
}

impl Tools<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Raw(tools) => tools.len(),
            Self::Read(tools) => tools.len(),
        }
    }

    /// Tool number `index`; `None` if there is none or it has no name.
    pub(crate) fn get(&self, index: usize) -> Option<Tool> {
        match self {
            Self::Raw(tools) => Tool::read(serde_json::from_str(tools.get(index)?.get()).ok()?),
            Self::Read(tools) => tools.get(index).cloned(),
        }
    }

    /// The place of the tool called `name`.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        (0..self.len()).find(|&index| self.get(index).is_some_and(|tool| tool.name == name))
    }
}

impl Tool {
    /// An offered tool in the shape of chat completions, Responses or Anthropic.
    pub(crate) fn read(mut offered: Value) -> Option<Self> {
        let inner = ["function", "custom"].into_iter().find(|name| offered.get(name).is_some_and(Value::is_object));
        let takes_text =
            inner == Some("custom") || offered.get("type").is_some_and(|kind| kind == "custom") && offered.get("input_schema").is_none();
        let description = match inner {
            Some(name) => offered.get_mut(name)?.take(),
            None => offered,
        };
        let schema = ["parameters", "input_schema"].into_iter().find_map(|name| description.get(name));
        Some(Self { name: description.get("name")?.as_str()?.to_owned(), schema: schema.cloned().unwrap_or_default(), takes_text })
    }
}

/// What the caller says about calling tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum ToolChoice {
    #[default]
    Auto,
    None,
    Any,
    Named(String),
}

/// What form the text must have.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Structure {
    #[default]
    Free,
    /// Any JSON object.
    Json,
    Schema(Value),
}

/// What the caller says about thinking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Thinking {
    #[default]
    Unsaid,
    Off,
    On,
}

/// How many of what is no text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Media {
    pub(crate) images: u32,
    pub(crate) documents: u32,
    pub(crate) clips: u32,
}

impl Media {
    /// The tokens of all images, all documents, all clips.
    pub(crate) fn tokens(self) -> [u64; 3] {
        let Self { images, documents, clips } = self;
        [u64::from(images) * TOKENS_PER_IMAGE, u64::from(documents) * TOKENS_PER_DOCUMENT, u64::from(clips) * TOKENS_PER_CLIP]
    }
}

/// A prompt on its way through a reader: message by message, block by block.
#[derive(Debug)]
pub(crate) struct Transcript {
    trail: Trail,
    /// Tokens of the messages that have ended.
    tokens: u64,
    /// Bytes of text in the open message.
    open_bytes: Option<u64>,
    pub(crate) boundaries: Vec<Boundary>,
    pub(crate) media: Media,
}

impl Transcript {
    pub(crate) fn new() -> Self {
        Self { trail: Trail::new(), tokens: TOKENS_PER_MESSAGE, open_bytes: None, boundaries: Vec::new(), media: Media::default() }
    }

    /// Begins a message.
    pub(crate) fn message(&mut self, role: &str) {
        self.tokens = self.text_tokens();
        self.open_bytes = Some(0);
        self.trail.text(role);
    }

    /// Counts text of the open message.
    pub(crate) fn text(&mut self, text: &str) {
        *self.open_bytes.get_or_insert(0) += text.len() as u64;
    }

    pub(crate) fn image(&mut self) {
        self.media.images += 1;
    }

    pub(crate) fn document(&mut self) {
        self.media.documents += 1;
    }

    pub(crate) fn clip(&mut self) {
        self.media.clips += 1;
    }

    /// Ends a block, which was `block` as JSON and may carry a cache mark.
    pub(crate) fn end_block(&mut self, block: &Value, mark: Option<Lifetime>) {
        self.trail.json(block);
        self.boundaries.push(Boundary { prefix: self.trail.fingerprint(), tokens: self.tokens(), mark });
    }

    /// Puts a mark behind the last block.
    pub(crate) fn mark(&mut self, lifetime: Lifetime) {
        if let Some(last) = self.boundaries.last_mut() {
            last.mark = Some(lifetime);
        }
    }

    /// How many blocks carry a mark.
    pub(crate) fn marks(&self) -> usize {
        self.boundaries.iter().filter(|boundary| boundary.mark.is_some()).count()
    }

    /// Everything so far.
    pub(crate) fn prefix(&self) -> Fingerprint {
        self.trail.fingerprint()
    }

    /// The tokens of everything so far: 3, and for each message 3 and a quarter of the bytes of its text, rounded up; and media.
    pub(crate) fn tokens(&self) -> u64 {
        self.text_tokens() + self.media.tokens().iter().sum::<u64>()
    }

    fn text_tokens(&self) -> u64 {
        self.tokens + self.open_bytes.map_or(0, |bytes| TOKENS_PER_MESSAGE + bytes.div_ceil(BYTES_PER_TOKEN))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_transcript_counts_and_compares() {
        let walk = |last: &str| {
            let mut transcript = Transcript::new();
            transcript.message("system");
            transcript.text("12345");
            transcript.end_block(&json!("12345"), Some(Lifetime::Short));
            transcript.message("user");
            transcript.text(last);
            transcript.end_block(&json!(last), None);
            transcript.image();
            transcript
        };
        let (first, second) = (walk("one"), walk("three"));
        assert_eq!((first.tokens(), second.tokens()), (3 + 5 + 4 + 85, 3 + 5 + 5 + 85));
        assert_eq!(first.boundaries[0], second.boundaries[0]);
        assert_eq!(first.boundaries[0].tokens, 3 + 5);
        assert_ne!(first.boundaries[1].prefix, second.boundaries[1].prefix);
        assert_eq!((first.prefix(), first.marks()), (first.boundaries[1].prefix, 1));
    }

    #[test]
    fn reads_tools_of_several_dialects() {
        let check = |offered: Value, name: Option<&str>, takes_text: bool| {
            let tool = Tool::read(offered.clone());
            assert_eq!(tool.as_ref().map(|tool| tool.name.as_str()), name, "{offered}");
            assert_eq!(tool.is_some_and(|tool| tool.takes_text), takes_text, "{offered}");
        };
        check(json!({"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}), Some("look"), false);
        check(json!({"type": "function", "name": "look", "parameters": {"type": "object"}}), Some("look"), false);
        check(json!({"name": "look", "input_schema": {"type": "object"}}), Some("look"), false);
        check(json!({"type": "custom", "name": "look", "input_schema": {"type": "object"}}), Some("look"), false);
        check(json!({"type": "custom", "name": "patch"}), Some("patch"), true);
        check(json!({"type": "custom", "custom": {"name": "patch"}}), Some("patch"), true);
        check(json!({"type": "function"}), None, false);
        let tools = Tools::Read(vec![Tool::read(json!({"name": "a"})).unwrap(), Tool::read(json!({"name": "b"})).unwrap()]);
        assert_eq!((tools.position("b"), tools.position("c")), (Some(1), None));
    }
}
