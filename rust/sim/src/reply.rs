//! What the dialects have in common: a reply's facts, its frames, its errors; and the choice between them.

use crate::Shared;
use crate::ask::Ask;
use crate::context::provenance;
use crate::identity;
use crate::ledger::Dialect;
use crate::plan::{Finish, Persona, Plan, Segment};
use crate::script::{LineEnding, Script, UsageReport};
use crate::seal::Sealer;
use crate::{
    anthropic_messages, anthropic_vertex, bedrock_converse, gemini_generate, openai_chat, openai_completions, openai_embeddings,
    openai_responses,
};
use serde_json::Value;
use std::borrow::Cow;
use std::io::Write as _;

/// Everything that a dialect needs to write a reply.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) dialect: Dialect,
    pub(crate) id: String,
    /// Seconds since 1970.
    pub(crate) created: u64,
    /// As the caller named it.
    pub(crate) model: &'a str,
    pub(crate) persona: Persona,
    /// Whether the request was judged, and the reply may be what only careful callers expect.
    pub(crate) strict: bool,
    pub(crate) wire: Wire,
    pub(crate) wishes: Wishes,
    /// The request, for dialects that repeat parts of it; null where nobody does.
    pub(crate) request: &'a Value,
    pub(crate) ask: &'a Ask<'a>,
    pub(crate) plan: &'a Plan,
    pub(crate) script: &'a Script,
    pub(crate) sealer: &'a Sealer,
    /// Who asks.
    pub(crate) credential: &'a str,
}

/// What a stream is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Server-sent events.
    #[default]
    Events,
    /// The members of one JSON array.
    Array,
    /// Amazon's binary messages.
    Binary,
}

/// How the caller wants the stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// With usage, where the caller has a say in that.
    pub(crate) usage: bool,
    /// With padding against eavesdroppers.
    pub(crate) obfuscation: bool,
    /// Served in this tier, where the dialect tells.
    pub(crate) tier: &'static str,
}

/// The tier that serves who asks so: the one that is asked for.
pub(crate) fn tier(asked: Option<&Value>) -> &'static str {
    let asked = asked.and_then(Value::as_str).unwrap_or_default();
    ["flex", "priority", "fast", "ultrafast", "scale"].into_iter().find(|tier| *tier == asked).unwrap_or("default")
}

/// Token counts as reported; signed and wide, because scripts can make them absurd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) prompt: i128,
    pub(crate) cached: i128,
    pub(crate) cache_write: i128,
    pub(crate) completion: i128,
    pub(crate) reasoning: i128,
}

impl Usage {
    fn all(value: i128) -> Self {
        Self { prompt: value, cached: value, cache_write: value, completion: value, reasoning: value }
    }

    fn halved(self) -> Self {
        Self { completion: self.completion / 2, reasoning: self.reasoning / 2, ..self }
    }
}

impl Reply<'_> {
    /// The service tier, in words that need no escapes.
    pub(crate) fn service_tier(&self) -> &str {
        self.script.service_tier.as_deref().unwrap_or(self.wishes.tier)
    }

    /// The final usage; `None` if it is to be left out.
    pub(crate) fn usage(&self) -> Option<Usage> {
        match self.script.usage {
            UsageReport::Absent => None,
            UsageReport::Zero => Some(Usage::all(0)),
            UsageReport::Huge => Some(Usage::all(1 << 63)),
            UsageReport::Negative => Some(Usage::all(-1)),
            UsageReport::Normal | UsageReport::Twice | UsageReport::Changing => Some(Usage {
                prompt: self.plan.prompt_tokens.into(),
                cached: self.plan.cached_tokens.into(),
                cache_write: self.plan.cache_write_tokens.into(),
                completion: self.plan.completion_tokens().into(),
                reasoning: self.plan.reasoning_tokens().into(),
            }),
        }
    }

    /// The usage reports at the end of a stream, one after another.
    pub(crate) fn stream_usages(&self) -> Vec<Usage> {
        let last = self.usage();
        let before = match self.script.usage {
            UsageReport::Twice => last,
            UsageReport::Changing => last.map(Usage::halved),
            _ => None,
        };
        before.into_iter().chain(last).collect()
    }

    /// The finish reason, `own` unless scripted, as JSON.
    pub(crate) fn finish(&self, own: &str) -> String {
        let reason = match &self.script.finish {
            Some(scripted) => scripted.as_deref(),
            None => Some(own),
        };
        Value::from(reason).to_string()
    }

    /// An id for a part of the reply (a tool call, a signature).
    pub(crate) fn part_id(&self, prefix: &str, length: usize, part: u64) -> String {
        let seed = self.id.bytes().fold(0, |number: u64, byte| number.wrapping_mul(31).wrapping_add(byte.into()));
        identity::id(prefix, length, seed, part)
    }

    /// The seal over `text` in part number `part`.
    pub(crate) fn seal(&self, text: &str, part: u64) -> String {
        let seed = self.id.bytes().fold(part, |number: u64, byte| number.wrapping_mul(31).wrapping_add(byte.into()));
        self.sealer.seal(provenance(self.dialect, self.persona, self.credential, self.ask.prefix), text, seed)
    }

    /// The stop sequence that ended the reply, as JSON.
    pub(crate) fn stop_sequence(&self) -> String {
        match &self.plan.finish {
            Finish::StopSequence(stop) => quoted(stop),
            _ => "null".to_owned(),
        }
    }

    /// The body of a unary reply.
    pub(crate) fn unary(&self) -> Vec<u8> {
        match (&self.script.reply, self.dialect) {
            (Some(reply), _) => reply.get().as_bytes().to_vec(),
            (None, Dialect::OpenaiChat) => openai_chat::unary(self),
            (None, Dialect::AnthropicMessages | Dialect::AnthropicVertex) => anthropic_messages::unary(self),
            (None, Dialect::OpenaiResponses) => openai_responses::unary(self),
            (None, Dialect::GeminiGenerate) => gemini_generate::unary(self),
            (None, Dialect::BedrockConverse) => bedrock_converse::unary(self),
            (None, Dialect::OpenaiCompletions) => openai_completions::unary(self),
            (None, Dialect::OpenaiEmbeddings) => openai_embeddings::unary(self),
        }
    }

    /// Keeps what later requests may refer to, where the dialect has that.
    pub(crate) fn remember(&self, shared: &Shared) {
        if self.dialect == Dialect::OpenaiResponses {
            openai_responses::remember(self, shared);
        }
    }

    /// The type of a stream.
    pub(crate) fn stream_type(&self) -> &'static str {
        match (self.wire, self.dialect) {
            (Wire::Array, _) => "application/json; charset=UTF-8",
            (Wire::Binary, _) => "application/vnd.amazon.eventstream",
            (Wire::Events, Dialect::GeminiGenerate) => "text/event-stream",
            (Wire::Events, _) => "text/event-stream; charset=utf-8",
        }
    }

    /// What ends a line of the stream.
    pub(crate) fn line_ending(&self) -> LineEnding {
        let own = if self.dialect == Dialect::GeminiGenerate { LineEnding::Crlf } else { LineEnding::Lf };
        self.script.line_ending.unwrap_or(own)
    }

    /// The event that ends a broken stream after `written` frames, and the body of a unary 200 that is an error.
    pub(crate) fn error_event(&self, written: u64, frames: &mut Frames) -> String {
        match self.dialect {
            Dialect::OpenaiChat | Dialect::OpenaiCompletions | Dialect::OpenaiEmbeddings => openai_chat::error_event(frames),
            Dialect::AnthropicMessages | Dialect::AnthropicVertex => anthropic_messages::error_event(frames),
            Dialect::OpenaiResponses => openai_responses::error_event(self, written, frames),
            Dialect::GeminiGenerate => gemini_generate::error_event(self, written, frames),
            Dialect::BedrockConverse => bedrock_converse::error_event(frames),
        }
    }

    /// A scripted frame, as it stands or in the framing that everything here has.
    pub(crate) fn scripted_frame<'r>(&self, raw: &'r str) -> Cow<'r, [u8]> {
        match self.wire {
            Wire::Binary => Cow::Owned(bedrock_converse::scripted(raw)),
            Wire::Events | Wire::Array => Cow::Borrowed(raw.as_bytes()),
        }
    }

    /// What keeps a silent stream alive; `None` where there is no such thing.
    pub(crate) fn keep_alive(&self) -> Option<String> {
        let line_end = self.line_ending().text();
        match self.wire {
            Wire::Events => Some(format!(": keep-alive{line_end}{line_end}")),
            Wire::Array => Some(line_end.to_owned()),
            Wire::Binary => None,
        }
    }
}

/// The headers that a provider adds to every reply.
pub(crate) fn headers(dialect: Dialect, request_id: &str) -> Vec<(&'static str, String)> {
    match dialect {
        Dialect::AnthropicMessages => anthropic_messages::headers(request_id),
        Dialect::AnthropicVertex => anthropic_vertex::headers(request_id),
        Dialect::GeminiGenerate => gemini_generate::headers(),
        Dialect::BedrockConverse => bedrock_converse::headers(request_id),
        _ => openai_chat::headers(request_id),
    }
}

/// Writes the frames of one stream.
#[derive(Debug)]
pub(crate) enum StreamWriter<'a> {
    OpenaiChat(openai_chat::Stream<'a>),
    AnthropicMessages(anthropic_messages::Stream<'a>),
    OpenaiResponses(openai_responses::Stream<'a>),
    GeminiGenerate(gemini_generate::Stream<'a>),
    BedrockConverse(bedrock_converse::Stream<'a>),
    OpenaiCompletions(openai_completions::Stream<'a>),
}

impl<'a> StreamWriter<'a> {
    pub(crate) fn new(reply: &'a Reply<'a>) -> Self {
        match reply.dialect {
            // Nobody can ask for a stream of embeddings.
            Dialect::OpenaiChat | Dialect::OpenaiEmbeddings => Self::OpenaiChat(openai_chat::Stream::new(reply)),
            Dialect::OpenaiCompletions => Self::OpenaiCompletions(openai_completions::Stream::new(reply)),
            Dialect::AnthropicMessages | Dialect::AnthropicVertex => Self::AnthropicMessages(anthropic_messages::Stream::new(reply)),
            Dialect::OpenaiResponses => Self::OpenaiResponses(openai_responses::Stream::new(reply)),
            Dialect::GeminiGenerate => Self::GeminiGenerate(gemini_generate::Stream::new(reply)),
            Dialect::BedrockConverse => Self::BedrockConverse(bedrock_converse::Stream::new(reply)),
        }
    }

    /// What comes before the first token.
    pub(crate) fn opening(&mut self, frames: &mut Frames) {
        match self {
            Self::OpenaiChat(stream) => stream.opening(frames),
            Self::AnthropicMessages(stream) => stream.opening(frames),
            Self::OpenaiResponses(stream) => stream.opening(frames),
            Self::GeminiGenerate(stream) => stream.opening(frames),
            Self::BedrockConverse(stream) => stream.opening(frames),
            Self::OpenaiCompletions(stream) => stream.opening(frames),
        }
    }

    /// Piece number `index` of segment number `position`, with what must stand around it.
    pub(crate) fn piece(&mut self, position: usize, segment: &Segment, index: u32, frames: &mut Frames) {
        match self {
            Self::OpenaiChat(stream) => stream.piece(segment, index, frames),
            Self::AnthropicMessages(stream) => stream.piece(position, segment, index, frames),
            Self::OpenaiResponses(stream) => stream.piece(position, segment, index, frames),
            Self::GeminiGenerate(stream) => stream.piece(segment, index, frames),
            Self::BedrockConverse(stream) => stream.piece(position, segment, index, frames),
            Self::OpenaiCompletions(stream) => stream.piece(segment, index, frames),
        }
    }

    /// What comes after the last token.
    pub(crate) fn closing(&mut self, frames: &mut Frames) {
        match self {
            Self::OpenaiChat(stream) => stream.closing(frames),
            Self::AnthropicMessages(stream) => stream.closing(frames),
            Self::OpenaiResponses(stream) => stream.closing(frames),
            Self::GeminiGenerate(stream) => stream.closing(frames),
            Self::BedrockConverse(stream) => stream.closing(frames),
            Self::OpenaiCompletions(stream) => stream.closing(frames),
        }
    }
}

/// Frames of a stream, one behind the other, and where each ends.
#[derive(Debug)]
pub(crate) struct Frames {
    pub(crate) bytes: Vec<u8>,
    ends: Vec<(usize, u32)>,
    line_end: &'static str,
}

impl Frames {
    pub(crate) fn new(line_ending: LineEnding) -> Self {
        Self { bytes: Vec::new(), ends: Vec::new(), line_end: line_ending.text() }
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub(crate) fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// A frame of one line: a comment, or data that is no object.
    pub(crate) fn lone_line(&mut self, text: &str) {
        self.push(text);
        self.end_line();
        self.end_frame(0);
    }

    pub(crate) fn end_line(&mut self) {
        self.push(self.line_end);
    }

    /// Ends a frame (its lines must have ended) that carries so many completion tokens.
    pub(crate) fn end_frame(&mut self, tokens: u32) {
        self.end_line();
        self.ends.push((self.bytes.len(), tokens));
    }

    /// Ends a frame as it stands.
    pub(crate) fn end_raw(&mut self, tokens: u32) {
        self.ends.push((self.bytes.len(), tokens));
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Frame number `index`, and its tokens.
    pub(crate) fn get(&self, index: usize) -> Option<(&[u8], u32)> {
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |&(end, _)| end);
        let &(end, tokens) = self.ends.get(index)?;
        self.bytes.get(start..end).map(|bytes| (bytes, tokens))
    }
}

/// Why a request is refused, before a dialect has put it into words.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) message: String,
    /// OpenAI's `param`.
    pub(crate) param: Option<Cow<'static, str>>,
    /// The provider's own name of the mistake, where the status does not say it all.
    pub(crate) code: Option<&'static str>,
    /// When to come back, as the header says it.
    pub(crate) retry_after: Option<String>,
}

impl Refusal {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), ..Self::default() }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    pub(crate) fn param(self, param: impl Into<Cow<'static, str>>) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    pub(crate) fn code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    /// The body, with `request_id` where the dialect has it there.
    pub(crate) fn body(&self, dialect: Dialect, request_id: &str) -> String {
        match dialect {
            Dialect::AnthropicMessages => anthropic_messages::error_body(self, request_id),
            Dialect::AnthropicVertex => anthropic_vertex::error_body(self, request_id),
            Dialect::GeminiGenerate => gemini_generate::error_body(self),
            Dialect::BedrockConverse => bedrock_converse::error_body(self),
            _ => openai_chat::error_body(self),
        }
    }

    /// The headers of a reply with that body.
    pub(crate) fn headers(&self, dialect: Dialect, request_id: &str) -> Vec<(&'static str, String)> {
        let mut headers = headers(dialect, request_id);
        headers.extend((dialect == Dialect::BedrockConverse).then(|| bedrock_converse::error_type(self)));
        headers
    }
}

/// Appends formatted text.
pub(crate) fn push(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail.
    let _ = out.write_fmt(arguments);
}

/// Appends all text of `segment` as the inside of a JSON string.
pub(crate) fn push_segment(segment: &Segment, out: &mut Vec<u8>) {
    for index in 0..segment.tokens {
        push_escaped(segment.piece(index), out);
    }
}

/// Appends `text` as the inside of a JSON string.
pub(crate) fn push_escaped(text: &str, out: &mut Vec<u8>) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.extend_from_slice(text.as_bytes());
    } else {
        let quoted = Value::from(text).to_string();
        out.extend_from_slice(quoted.as_bytes().get(1..quoted.len() - 1).unwrap_or_default());
    }
}

/// `text` as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn escaped_text_reads_back(text: String) {
            let mut out = vec![b'"'];
            push_escaped(&text, &mut out);
            out.push(b'"');
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
