//! Whole replies: checked as they arrive, read once complete, edited by byte ranges.

use core::ops::Range;

use std::sync::LazyLock;

use fairlead_ir::{Dialect, ErrorKind, Finish, NanoUsd, Tier, Usage};

use crate::decimal::count;
use crate::error::{self, ProviderError, Told};
use crate::figures::may_be_absurd_usage;
use crate::identity::Identity;
use crate::json::walk::as_str;
use crate::json::{DEFAULT_MAX_DEPTH, Keys, Reject, Scanner};
use crate::openai_chat::response::{COMPLETION_PART, ToolCalls, set_cost};
use crate::openai_chat::wire::TEXT_PART;
use crate::patch::{Patch, Unspliced};
use crate::request::Purpose;
use crate::splice::{Edits, Misplaced};
use crate::{anthropic_messages, bedrock_converse, gemini_generate, openai_chat, openai_embeddings, openai_responses};

/// Checks a provider's body while it arrives, then reads it.
///
/// The check is whole (grammar, UTF-8, depth): what passes it can be spliced and will parse at the client.
#[derive(Debug)]
pub struct ReplyScan {
    dialect: Dialect,
    purpose: Purpose,
    /// None yet where nothing was fed.
    scanner: Option<Scanner<'static>>,
}

/// What a whole reply says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The provider's own reply id; empty when it sent none.
    pub upstream_id: String,
    /// The figures, in disjoint buckets; zero is a figure, `None` means not reported.
    pub usage: Option<Usage>,
    /// What of these figures is none of the provider's.
    pub missing: Missing,
    /// The cost in `usage.cost`, if the provider sent a number there.
    pub reported_cost: Option<NanoUsd>,
    /// The service tier in which the provider says it served, if it is one that is known here.
    pub tier: Option<Tier>,
    /// Why it ended.
    pub finish: Option<Finish>,
    /// The provider's own word for that; empty when it gave none.
    pub native_finish: String,
    /// Whether there is any text, reasoning, refusal, media or tool call.
    pub content: bool,
    /// Bytes of content as written in JSON, for an estimate where usage is missing.
    pub content_bytes: u64,
    /// Whether this is a failure that looks like a reply: no content, no filter, no matched stop, no completion token.
    /// A request for zero tokens (Anthropic's cache warming) is the one that may want it.
    pub empty: bool,
    dialect: Dialect,
    purpose: Purpose,
    /// Where the usage object lies in the body.
    usage_range: Option<Range<usize>>,
}

/// Halves of a usage object that are absent, or no number that can be one. Zero is a figure; these are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// The tokens of the prompt.
    pub prompt: bool,
    /// The tokens of the completion.
    pub completion: bool,
}

/// What a usage object says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figured {
    pub(crate) usage: Usage,
    pub(crate) missing: Missing,
    pub(crate) cost: Option<NanoUsd>,
    /// Where the tier stands among the figures.
    pub(crate) tier: Option<Tier>,
}

/// Replies are walked once they are whole; the scan only judges them.
static NO_KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::new(&[]));

fn scanner() -> Scanner<'static> {
    Scanner::prepared(&NO_KEYS, DEFAULT_MAX_DEPTH)
}

impl ReplyScan {
    /// A scan of a reply in `dialect`.
    pub fn new(dialect: Dialect) -> ReplyScan {
        ReplyScan::of(dialect, Purpose::Generate)
    }

    /// A scan of legacy completions, from a provider that serves them itself.
    pub fn completions() -> ReplyScan {
        ReplyScan::of(Dialect::OpenaiChat, Purpose::Completions)
    }

    /// A scan of embeddings. Vectors are stepped over.
    pub fn embeddings() -> ReplyScan {
        ReplyScan::of(Dialect::OpenaiChat, Purpose::Embeddings)
    }

    fn of(dialect: Dialect, purpose: Purpose) -> ReplyScan {
        ReplyScan { dialect, purpose, scanner: None }
    }

    /// Checks and reads a body that came whole, and that nothing of was fed, in one pass: `None` where that is not enough to know.
    /// Then [`feed`](ReplyScan::feed) and [`finish`](ReplyScan::finish) tell, which would have said the same of what this has read.
    #[must_use]
    pub fn read_at_once(&self, body: &[u8]) -> Option<Reply> {
        let part = match (self.purpose, self.dialect) {
            (Purpose::Completions, _) => TEXT_PART,
            (Purpose::Generate, Dialect::OpenaiChat) => COMPLETION_PART,
            _ => return None,
        };
        simdutf8::basic::from_utf8(body).ok()?;
        let mut seen = Seen::default();
        let is_reply = openai_chat::response::read_strictly(body, part, &mut seen).ok()?;
        (is_reply && seen.error.is_none()).then(|| seen.into_reply(self.dialect, self.purpose))
    }

    /// Checks the next bytes of the body.
    ///
    /// # Errors
    /// The body is not one JSON object. Read it with [`error::read_response`] for the provider's words, if it has any.
    pub fn feed(&mut self, slice: &[u8]) -> Result<(), ProviderError> {
        self.scanner.get_or_insert_with(scanner).feed(slice).map_err(garbage)
    }

    /// Reads the whole `body`, the same bytes that were fed.
    ///
    /// # Errors
    /// The body is cut, is no reply of this dialect, or is an error object under a good status.
    pub fn finish(self, body: &[u8]) -> Result<Reply, ProviderError> {
        self.scanner.unwrap_or_else(scanner).finish().map_err(garbage)?;
        let mut seen = Seen::default();
        let is_reply = match (self.purpose, self.dialect) {
            (Purpose::Embeddings, _) => openai_embeddings::response::read(body, &mut seen),
            (Purpose::Completions, _) => openai_chat::response::read(body, TEXT_PART, &mut seen),
            (_, Dialect::AnthropicMessages) => anthropic_messages::response::read(body, &mut seen),
            (_, Dialect::GeminiGenerate) => gemini_generate::response::read(body, &mut seen),
            (_, Dialect::OpenaiResponses) => openai_responses::response::read(body, &mut seen),
            (_, Dialect::BedrockConverse) => Ok(bedrock_converse::response::read(body, &mut seen)),
            (_, Dialect::OpenaiChat) => openai_chat::response::read(body, COMPLETION_PART, &mut seen),
        }
        .map_err(garbage)?;
        match seen.error.take() {
            Some(error) => Err(error),
            None if !is_reply => Err(failure(Told::ByUs, "the provider's reply is JSON but not a reply")),
            None => Ok(seen.into_reply(self.dialect, self.purpose)),
        }
    }
}

impl Reply {
    /// Writes down the edits that make `body`, which this was read from, what the client shall see; `cost` is what it pays.
    ///
    /// `/v1`: `usage` gains `cost`. `/api/v1`: id, model, provider and OpenRouter's mandatory fields as well; `usage` among them, whose
    /// figures are `billed` where the provider sent none.
    ///
    /// # Errors
    /// `body` is another one, or `edits` was not empty.
    pub fn edits(&self, body: &[u8], identity: &Identity, billed: &Usage, cost: NanoUsd, edits: &mut Edits) -> Result<(), Unspliced> {
        let cost = Some(cost);
        if identity.renames() {
            return match (self.purpose, self.dialect) {
                (Purpose::Embeddings, _) => openai_embeddings::response::edit(body, identity, cost, billed, edits),
                (Purpose::Completions, _) => {
                    let shape = openai_chat::response::Shape::Text(billed);
                    openai_chat::response::edit(body, 0, shape, identity, cost, &mut ToolCalls::default(), edits).map(drop)
                }
                (_, Dialect::AnthropicMessages) => anthropic_messages::response::edit_message(body, 0, identity, cost, Some(billed), edits),
                // OpenRouter has no such dialect.
                (_, Dialect::GeminiGenerate) => self.edit_cost(body, cost, edits),
                (_, Dialect::OpenaiResponses) => {
                    openai_responses::response::edit(body, 0, "completed", identity, cost, Some(billed), edits)
                }
                _ => {
                    let shape = openai_chat::response::Shape::Completion(billed);
                    openai_chat::response::edit(body, 0, shape, identity, cost, &mut ToolCalls::default(), edits).map(drop)
                }
            };
        }
        self.edit_cost(body, cost, edits)
    }

    /// Whether figures of `body` may be such that nobody can believe them: see [`figures`](crate::figures).
    pub fn is_absurd(&self, body: &[u8]) -> bool {
        self.usage_range.clone().and_then(|range| body.get(range)).is_some_and(may_be_absurd_usage)
    }

    fn edit_cost(&self, body: &[u8], cost: Option<NanoUsd>, edits: &mut Edits) -> Result<(), Unspliced> {
        let Some(range) = self.usage_range.clone() else { return Ok(()) };
        let Some(usage) = body.get(range.clone()) else { return Err(Misplaced { range }.into()) };
        let mut patch = Patch::default();
        set_cost(usage, range.start, cost, &mut patch, edits)?;
        patch.write(usage, range.start, edits)
    }
}

/// What has been seen of a reply or stream so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) upstream_id: String,
    pub(crate) model: String,
    pub(crate) created_s: Option<u64>,
    pub(crate) usage: Option<Usage>,
    pub(crate) missing: Missing,
    pub(crate) usage_range: Option<Range<usize>>,
    pub(crate) reported_cost: Option<NanoUsd>,
    pub(crate) tier: Option<Tier>,
    pub(crate) finish: Option<Finish>,
    pub(crate) native_finish: String,
    pub(crate) matched_stop: bool,
    pub(crate) content: bool,
    pub(crate) content_bytes: u64,
    pub(crate) error: Option<ProviderError>,
}

impl Seen {
    /// Whether this much is a reply: content, or an end that is known to be meant.
    pub(crate) fn is_answer(&self) -> bool {
        let ended_as_meant = match self.finish {
            Some(Finish::ContentFilter) => true,
            Some(_) => self.matched_stop || self.usage.is_some_and(|usage| usage.completion_tokens > 0),
            None => false,
        };
        self.content || ended_as_meant
    }

    pub(crate) fn take_content(&mut self, content: bool, bytes: u64) {
        self.content |= content;
        self.content_bytes = self.content_bytes.saturating_add(bytes);
    }

    /// Later figures take the place of earlier ones.
    pub(crate) fn take_figures(&mut self, figured: Figured) {
        self.usage = Some(figured.usage);
        self.missing = figured.missing;
        self.reported_cost = figured.cost.or(self.reported_cost);
        self.tier = figured.tier.or(self.tier);
    }

    /// The last word for the tier counts: the first chunks of a stream repeat what was asked for.
    pub(crate) fn take_tier(&mut self, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.tier = as_str(value).and_then(|word| Tier::from_word(word.as_bytes())).or(self.tier);
        }
    }

    /// Raw JSON values of a reply's first members; what is there already stays.
    pub(crate) fn take_names(&mut self, id: Option<&[u8]>, model: Option<&[u8]>, created: Option<&[u8]>) {
        take_text(&mut self.upstream_id, id);
        take_text(&mut self.model, model);
        self.created_s = self.created_s.or_else(|| count(created?));
    }

    pub(crate) fn take_finish(&mut self, finish: &str, native: &str, matched_stop: bool) {
        self.finish = Some(Finish::from_native(finish));
        self.native_finish = error::shorten(native, LONGEST_WORD_BYTES);
        self.matched_stop |= matched_stop;
    }

    /// The first error counts.
    pub(crate) fn fail(&mut self, body: &[u8]) {
        self.error.get_or_insert_with(|| error::read(body));
    }

    /// A body that is no event stream.
    pub(crate) fn fail_with_body(&mut self, body: &[u8]) {
        self.error.get_or_insert_with(|| error::read_or(body, "the provider sent one body where a stream was asked for"));
    }

    pub(crate) fn fail_without_message(&mut self) {
        self.error.get_or_insert_with(|| failure(Told::WithoutWords, "the provider ended the reply with an error and did not say which"));
    }

    pub(crate) fn fail_with_garbage(&mut self, reject: Reject) {
        self.error.get_or_insert_with(|| garbage(reject));
    }

    fn into_reply(self, dialect: Dialect, purpose: Purpose) -> Reply {
        Reply {
            dialect,
            purpose,
            usage_range: self.usage_range.clone(),
            empty: !self.is_answer(),
            upstream_id: self.upstream_id,
            usage: self.usage,
            missing: self.missing,
            reported_cost: self.reported_cost,
            tier: self.tier,
            finish: self.finish,
            native_finish: self.native_finish,
            content: self.content,
            content_bytes: self.content_bytes,
        }
    }
}

/// Ids and words are kept for the record; a longer one is no id.
const LONGEST_WORD_BYTES: usize = 256;

fn take_text(slot: &mut String, value: Option<&[u8]>) {
    if slot.is_empty()
        && let Some(text) = value.filter(|value| value.len() <= 6 * LONGEST_WORD_BYTES).and_then(as_str)
    {
        *slot = error::shorten(&text, LONGEST_WORD_BYTES);
    }
}

fn garbage(reject: Reject) -> ProviderError {
    failure(Told::ByUs, &format!("the provider sent something else than a reply: {reject}"))
}

/// A failure in our words.
fn failure(told: Told, message: &str) -> ProviderError {
    let own = error::OwnWords::default();
    ProviderError { kind: ErrorKind::ProviderUnavailable, told, message: message.to_owned(), code: String::new(), own }
}
