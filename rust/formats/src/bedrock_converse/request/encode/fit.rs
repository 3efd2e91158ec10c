//! Blocks as Converse takes them: what fits where.

use fairlead_ir::block::{Arguments, Citation, Thought, ToolCall};
use fairlead_ir::{Block, Kind, Severity, Text};

use super::conversation::lose_members;
use super::media::{self, Names};
use super::{Job, Refusal};
use crate::bedrock_converse::wire::block::{Content, Piece};
use crate::text::{is_blank, quote, trim_end};
use crate::translate::message::{Piece as _, Speaker, unfit};
use crate::translate::{arguments, plain_name};

/// The longest name of a tool.
const LONGEST_NAME_BYTES: usize = 64;

/// A tool's name in the alphabet that is allowed.
pub(super) fn sent_name<'n>(name: &'n Text<'_>) -> Text<'n> {
    plain_name(name, LONGEST_NAME_BYTES, true)
}

/// `block` as `speaker` may say it; a loss, or nothing worth one, when there is no way.
pub(super) fn fit<'r>(
    job: &mut Job<'_, 'r>,
    block: &'r Block<'r>,
    speaker: Speaker,
    names: &mut Names,
) -> Result<Option<Piece<'r>>, Refusal> {
    let content = match (&block.kind, speaker) {
        (Kind::Text { text, citations }, _) => fit_text(job, block, text, citations, speaker),
        (Kind::Opaque { raw, .. }, _) if job.own => Some(Content::Raw(raw)),
        (Kind::Refusal(text), Speaker::Assistant) => {
            job.losses.block(block.origin, Severity::Hint, "refusals have no kind of their own here; it was sent as text");
            fit_text(job, block, text, &[], speaker)
        }
        (Kind::Thought(thought), Speaker::Assistant) => fit_thought(job, block, thought),
        (Kind::ToolCall(call), Speaker::Assistant) => Some(fit_call(job, block, call)),
        (Kind::ToolResult(result), _) if job.own => {
            let mut content = Vec::with_capacity(result.content.len());
            for inner in &result.content {
                content.extend(fit_inner(job, inner, names)?);
            }
            Some(Content::Result { id: result.id.borrowed(), content, is_error: result.is_error })
        }
        (Kind::Media(media), Speaker::User) => media::fit(job, block, media, names)?,
        (Kind::Media(media), Speaker::Assistant) if job.own => media::fit(job, block, media, names)?,
        _ => {
            job.losses.block(block.origin, Severity::Dropped, unfit(&block.kind, speaker));
            None
        }
    };
    let Some(content) = content else { return Ok(None) };
    lose_members(job, block);
    lose_seal(job, block);
    let rest = if job.own { &block.rest[..] } else { &[] };
    let mut piece = Piece { content, mark: block.cache, rest };
    if piece.mark.is_some() && !job.own && !piece.can_be_marked() {
        job.losses.block(block.origin, Severity::Hint, "no cache mark can stand behind a thought");
        piece.mark = None;
    }
    Ok(Some(piece))
}

/// Texts without a word are refused, and so is white space behind the assistant's last one: always taken off, so that a text is
/// written alike when it is no longer the last.
fn fit_text<'r>(
    job: &mut Job<'_, 'r>,
    block: &'r Block<'r>,
    text: &'r Text<'r>,
    citations: &'r [Citation<'r>],
    speaker: Speaker,
) -> Option<Content<'r>> {
    if job.own {
        let text = text.borrowed();
        return Some(if citations.is_empty() { Content::Text(text) } else { Content::Cited { text, citations, own: true } });
    }
    let text = if speaker == Speaker::Assistant { trim_end(text) } else { text.borrowed() };
    if is_blank(&text) {
        return None;
    }
    if !citations.is_empty() {
        // They point into documents and searches that the provider does not see again.
        job.losses.block(block.origin, Severity::Hint, "the sources of a text are not sent back");
    }
    Some(Content::Text(text))
}

fn fit_thought<'r>(job: &mut Job<'_, 'r>, block: &'r Block<'r>, thought: &'r Thought<'r>) -> Option<Content<'r>> {
    match &block.seal {
        Some(seal) if thought.redacted => Some(Content::Redacted(&seal.data)),
        Some(seal) => Some(Content::Thought { thought, signature: Some(&seal.data) }),
        None if job.own => Some(Content::Thought { thought, signature: None }),
        None => {
            job.losses.block(block.origin, Severity::Hint, "thoughts without this provider's signature are not taken back");
            None
        }
    }
}

fn fit_call<'r>(job: &mut Job<'_, 'r>, block: &'r Block<'r>, call: &'r ToolCall<'r>) -> Content<'r> {
    if let Arguments::Json(raw) = &call.arguments
        && job.own
    {
        return Content::Call { id: call.id.borrowed(), name: call.name.borrowed(), input: raw.borrowed() };
    }
    let (input, was_object) = arguments::as_object(&call.arguments);
    if !was_object {
        job.losses.block(block.origin, Severity::Changed, "arguments are an object here; these were put under \"_raw\"");
    }
    // The id is the conversation's to give.
    Content::Call { id: Text::EMPTY, name: sent_name(&call.name), input }
}

/// Signatures have a place on thoughts only.
fn lose_seal(job: &mut Job<'_, '_>, block: &Block<'_>) {
    if block.seal.is_some() && !matches!(block.kind, Kind::Thought(_)) {
        job.losses.block(block.origin, Severity::Hint, "a signature has no place on this block");
    }
}

/// A block inside a tool's result.
pub(super) fn fit_inner<'r>(job: &mut Job<'_, 'r>, block: &'r Block<'r>, names: &mut Names) -> Result<Option<Piece<'r>>, Refusal> {
    let content = match &block.kind {
        Kind::Text { text, .. } if !job.own && is_blank(text) => None,
        Kind::Text { text, .. } => Some(Content::Text(text.borrowed())),
        Kind::Opaque { word, raw } if word.is("json") && (job.own || raw.as_bytes().starts_with(b"{")) => {
            Some(Content::Json(raw.borrowed()))
        }
        Kind::Opaque { word, raw } if word.is("json") => Some(Content::Text(quote(raw))),
        Kind::Opaque { raw, .. } if job.own => Some(Content::Raw(raw)),
        Kind::Media(media) => media::fit_in_result(job, block, media, names)?,
        _ => {
            job.losses.block(block.origin, Severity::Dropped, "it cannot stand in a tool's result here");
            None
        }
    };
    lose_members(job, block);
    let rest = if job.own { &block.rest[..] } else { &[] };
    Ok(content.map(|content| Piece { rest, ..Piece::new(content) }))
}
