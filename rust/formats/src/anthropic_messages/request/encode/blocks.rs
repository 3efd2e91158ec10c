//! Blocks as Anthropic takes them: what fits where, and how it is written.

use std::borrow::Cow;

use fairlead_ir::block::{CacheMark, Citation, MediaClass, Thought, ThoughtPart, ToolCall, ToolResult};
use fairlead_ir::{Block, Kind, Member, Raw, Severity, Text};

use super::Job;
use super::media::{self, Source};
use super::{cache, media::write_source};
use crate::anthropic_messages::wire::citation;
use crate::text::{is_blank, join, quote, trim_end};
use crate::translate::message::{self, Part, Piece as _, Speaker, unfit};
use crate::translate::{arguments, plain_name};
use crate::write::Object;

/// A block that can be written.
pub(super) struct Piece<'r> {
    pub(super) content: Content<'r>,
    pub(super) mark: Option<CacheMark>,
    rest: &'r [Member<'r>],
}

/// What it says.
pub(super) enum Content<'r> {
    Text {
        text: Text<'r>,
        citations: &'r [Citation<'r>],
    },
    Media {
        class: MediaClass,
        source: Source<'r>,
        title: Option<&'r Text<'r>>,
    },
    Thinking {
        thought: &'r Thought<'r>,
        signature: &'r Text<'r>,
    },
    Redacted(&'r Text<'r>),
    Call {
        id: Text<'r>,
        name: Text<'r>,
        input: Raw<'r>,
    },
    Result {
        id: Text<'r>,
        content: Vec<Piece<'r>>,
        is_error: bool,
    },
    /// The result that a call never got.
    Unanswered(Text<'r>),
    /// As this dialect wrote it.
    Raw(&'r Raw<'r>),
}

/// `block` as `speaker` may say it; a loss, or nothing worth one, when there is no way.
pub(super) fn fit<'r>(job: &mut Job<'_, 'r>, block: &'r Block<'r>, speaker: Speaker) -> Option<Piece<'r>> {
    let content = match (&block.kind, speaker) {
        (Kind::Text { text, citations }, _) => fit_text(text, citations, speaker)?,
        (Kind::Opaque { raw, .. }, _) if job.own => Content::Raw(raw),
        (Kind::Refusal(text), Speaker::Assistant) => {
            job.losses.block(block.origin, Severity::Hint, "refusals have no kind of their own here; it was sent as text");
            fit_text(text, &[], speaker)?
        }
        (Kind::Thought(thought), Speaker::Assistant) => fit_thought(job, block, thought)?,
        (Kind::ToolCall(call), Speaker::Assistant) => fit_call(job, block, call),
        (Kind::Media(media), Speaker::User) => media::fit(job, block, media)?,
        (Kind::Media(media), Speaker::Assistant) if job.own => media::fit(job, block, media)?,
        _ => {
            job.losses.block(block.origin, Severity::Dropped, unfit(&block.kind, speaker));
            return None;
        }
    };
    Some(Piece::of_block(job, block, content))
}

/// Texts without a word are refused, and so is white space behind the assistant's last one: always taken off, so that a text is
/// written alike when it is no longer the last.
fn fit_text<'r>(text: &'r Text<'r>, citations: &'r [Citation<'r>], speaker: Speaker) -> Option<Content<'r>> {
    let text = if speaker == Speaker::Assistant { trim_end(text) } else { text.borrowed() };
    (!is_blank(&text)).then_some(Content::Text { text, citations })
}

fn fit_thought<'r>(job: &mut Job<'_, 'r>, block: &'r Block<'r>, thought: &'r Thought<'r>) -> Option<Content<'r>> {
    match &block.seal {
        Some(seal) if thought.redacted => Some(Content::Redacted(&seal.data)),
        Some(seal) => Some(Content::Thinking { thought, signature: &seal.data }),
        None => {
            job.losses.block(block.origin, Severity::Hint, "thoughts without this provider's signature are not taken back");
            None
        }
    }
}

fn fit_call<'r>(job: &mut Job<'_, 'r>, block: &'r Block<'r>, call: &'r ToolCall<'r>) -> Content<'r> {
    let (input, was_object) = arguments::as_object(&call.arguments);
    if !was_object {
        job.losses.block(block.origin, Severity::Changed, "arguments are an object here; these were put under \"_raw\"");
    }
    // The id is the conversation's to give.
    Content::Call { id: Text::EMPTY, name: sent_name(&call.name), input }
}

/// A tool's name in the alphabet that is allowed.
pub(super) fn sent_name<'r>(name: &'r Text<'_>) -> Text<'r> {
    const LONGEST_NAME_BYTES: usize = 128;
    plain_name(name, LONGEST_NAME_BYTES, false)
}

impl message::Piece for Piece<'_> {
    fn part(&self) -> Part<'_> {
        match &self.content {
            Content::Thinking { .. } | Content::Redacted(_) => Part::Thought,
            Content::Call { name, .. } => Part::Call(name),
            Content::Result { .. } | Content::Unanswered(_) => Part::Result,
            Content::Text { .. } | Content::Media { .. } | Content::Raw(_) => Part::Other,
        }
    }

    fn can_be_marked(&self) -> bool {
        match &self.content {
            Content::Thinking { .. } | Content::Redacted(_) => false,
            Content::Raw(raw) => !cache::is_marked(raw),
            _ => true,
        }
    }

    fn mark(&mut self) -> &mut Option<CacheMark> {
        &mut self.mark
    }
}

impl<'r> Piece<'r> {
    pub(super) const fn new(content: Content<'r>) -> Piece<'r> {
        Piece { content, mark: None, rest: &[] }
    }

    pub(super) const fn of_text(text: Text<'r>) -> Piece<'r> {
        Piece::new(Content::Text { text, citations: &[] })
    }

    fn of_block(job: &mut Job<'_, 'r>, block: &'r Block<'r>, content: Content<'r>) -> Piece<'r> {
        let mut piece = Piece { content, mark: block.cache, rest: &block.rest };
        if !job.own {
            lose_rest(job, block);
            piece.rest = &[];
        }
        if block.seal.is_some() && !matches!(block.kind, Kind::Thought(_)) {
            job.losses.block(block.origin, Severity::Hint, "only thoughts have signatures here");
        }
        if piece.mark.is_some() && !piece.can_be_marked() {
            piece.mark = None;
            job.losses.block(block.origin, Severity::Hint, "a cache mark cannot stand here");
        }
        piece
    }

    /// The result of the call that was sent as `id`.
    pub(super) fn of_result(job: &mut Job<'_, 'r>, block: &'r Block<'r>, result: &'r ToolResult<'r>, id: Text<'r>) -> Piece<'r> {
        let mut content: Vec<Piece<'r>> = result.content.iter().filter_map(|inner| Piece::of_inner(job, inner)).collect();
        let inner_mark = content.iter_mut().filter_map(|piece| piece.mark.take()).last();
        let mut piece = Piece::of_block(job, block, Content::Result { id, content, is_error: result.is_error });
        piece.mark = piece.mark.or(inner_mark);
        piece
    }

    /// A block of a tool's result.
    pub(super) fn of_inner(job: &mut Job<'_, 'r>, inner: &'r Block<'r>) -> Option<Piece<'r>> {
        match &inner.kind {
            Kind::Opaque { word, raw } if word.is("json") && !job.own => Some(Piece::of_text(quote(raw))),
            _ => fit(job, inner, Speaker::User),
        }
    }

    /// Whether it came with a mark that is written as it came.
    pub(super) fn is_marked_inside(&self) -> bool {
        matches!(&self.content, Content::Raw(raw) if cache::is_marked(raw))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if let Content::Raw(raw) = &self.content {
            return cache::write_marked(raw.as_bytes(), self.mark, out);
        }
        let mut object = Object::open(out);
        match &self.content {
            Content::Text { text, citations } => write_text(text, citations, &mut object),
            Content::Media { class, source, title } => {
                object.text("type", if *class == MediaClass::Image { "image" } else { "document" });
                write_source(source, &mut object);
                object.optional_escaped("title", title.filter(|_| *class == MediaClass::Document));
            }
            Content::Thinking { thought, signature } => {
                object.text("type", "thinking").escaped("thinking", &readable(thought)).escaped("signature", signature);
            }
            Content::Redacted(data) => {
                object.text("type", "redacted_thinking").escaped("data", data);
            }
            Content::Call { id, name, input } => {
                object.text("type", "tool_use").escaped("id", id).escaped("name", name).raw("input", input.as_bytes());
            }
            Content::Result { id, content, is_error } => write_result(id, content, *is_error, &mut object),
            Content::Unanswered(id) => {
                object.text("type", "tool_result").escaped("tool_use_id", id);
                object.text("content", "The call was not answered.").flag("is_error", true);
            }
            Content::Raw(_) => {}
        }
        if let Some(mark) = self.mark {
            cache::write(mark, object.key("cache_control"));
        }
        object.members(self.rest);
        object.close();
    }
}

fn lose_rest(job: &mut Job<'_, '_>, block: &Block<'_>) {
    job.losses.members(block.origin, &block.rest, Severity::Dropped, "this provider's blocks have no such member");
}

fn write_text(text: &Text<'_>, citations: &[Citation<'_>], object: &mut Object<'_>) {
    object.text("type", "text").escaped("text", text);
    if !citations.is_empty() {
        object.array("citations", |list| {
            citations.iter().for_each(|cited| {
                citation::write(cited, true, list.element());
            });
        });
    }
}

fn write_result(id: &Text<'_>, content: &[Piece<'_>], is_error: bool, object: &mut Object<'_>) {
    object.text("type", "tool_result").escaped("tool_use_id", id);
    if !content.is_empty() {
        object.array("content", |list| content.iter().for_each(|piece| piece.write(list.element())));
    }
    if is_error {
        object.flag("is_error", true);
    }
}

/// What can be read of a thought.
fn readable<'t>(thought: &'t Thought<'_>) -> Cow<'t, Text<'t>> {
    match thought.parts.as_slice() {
        [] => Cow::Owned(Text::EMPTY),
        [ThoughtPart { text, .. }] => Cow::Borrowed(text),
        parts => Cow::Owned(join(parts.iter().map(|part| &part.text), "")),
    }
}
