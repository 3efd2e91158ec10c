//! A whole reply of any dialect as Converse.

use fairlead_ir::block::{MediaSource, Thought};
use fairlead_ir::{Block, Choice, Dialect, Kind, Losses, NanoUsd, Response, Severity, StopReason, Text};

use crate::bedrock_converse::wire::block::{Content, Piece};
use crate::bedrock_converse::wire::media::{Source, format_of};
use crate::bedrock_converse::wire::{stop_word, write_cache_point, write_usage};
use crate::text::{escape, quote};
use crate::translate::{Face, arguments};
use crate::write::Object;

/// Writes `response` for a caller of this dialect, with what it pays. Ids and the model's name have no place.
pub(crate) fn encode(response: &Response<'_>, face: &Face<'_>, cost: Option<NanoUsd>, out: &mut Vec<u8>, losses: &mut Losses) {
    let own = response.source == Dialect::BedrockConverse;
    let empty = Choice::default();
    let choice = response.choices.first().unwrap_or(&empty);
    if response.choices.len() > 1 {
        losses.at("choices".to_owned(), Severity::Dropped, "a reply is one message here; the first was taken");
    }
    if choice.logprobs.is_some() {
        losses.at("logprobs".to_owned(), Severity::Hint, "a reply has no probabilities here");
    }
    let mut job = Job { own, face, losses };
    let mut pieces: Vec<Piece<'_>> = Vec::with_capacity(choice.blocks.len());
    for block in &choice.blocks {
        if let Some(piece) = job.fit(block) {
            pieces.push(piece);
            pieces.extend(carrier(block));
        }
    }
    let mut body = Object::open(out);
    body.object("output", |output| {
        output.object("message", |message| {
            message.text("role", "assistant").array("content", |list| {
                for piece in &pieces {
                    piece.write(list.element());
                    if let Some(mark) = piece.mark {
                        write_cache_point(mark, list.element());
                    }
                }
            });
        });
    });
    body.escaped("stopReason", &stop(choice, own, &pieces));
    body.object("usage", |object| write_usage(&response.usage.unwrap_or_default(), cost, object));
    write_tier(response, own, &mut body);
    write_rest(response, own, job.losses, &mut body);
    body.close();
}

/// A thought of which nothing is seen.
const UNSEEN: &Thought<'static> = &Thought { parts: Vec::new(), redacted: false, id: None };

/// A seal that sits on something else than a thought has no place in this dialect. Clients return every block as it was, so it travels
/// in a thought without words behind the block it belongs to.
fn carrier<'r>(block: &'r Block<'_>) -> Option<Piece<'r>> {
    let seal = block.seal.as_ref().filter(|_| !matches!(block.kind, Kind::Thought(_)))?;
    Some(Piece::new(Content::Thought { thought: UNSEEN, signature: Some(&seal.data) }))
}

/// The word for why it ended: its own where it is this dialect's. A tool that stood for the form of the reply was no call.
fn stop<'r>(choice: &'r Choice<'_>, own: bool, pieces: &[Piece<'_>]) -> Text<'r> {
    let called = pieces.iter().any(|piece| matches!(piece.content, Content::Call { .. }));
    match &choice.stop {
        Some(stop) if own && (called || stop.reason != StopReason::ToolCalls) => stop.native.borrowed(),
        Some(stop) if stop.reason == StopReason::ToolCalls && !called => Text::word(stop_word(StopReason::End)),
        Some(stop) => Text::word(stop_word(stop.reason)),
        None => Text::word(stop_word(if called { StopReason::ToolCalls } else { StopReason::End })),
    }
}

fn write_tier(response: &Response<'_>, own: bool, body: &mut Object<'_>) {
    let known = |tier: &&Text<'_>| own || ["default", "flex", "priority", "reserved"].iter().any(|word| tier.is(word));
    if let Some(tier) = response.service_tier.as_ref().filter(known) {
        body.object("serviceTier", |object| {
            object.escaped("type", tier);
        });
    }
}

/// Members of this dialect go back; `metrics` must be there, but how long it took is not the codec's to know.
fn write_rest(response: &Response<'_>, own: bool, losses: &mut Losses, body: &mut Object<'_>) {
    body.raw("metrics", br#"{"latencyMs":0}"#);
    let sequence = response.choices.first().and_then(|choice| choice.stop.as_ref()?.sequence.as_ref());
    let is_there = own && response.rest.iter().any(|member| member.name.is("additionalModelResponseFields"));
    if let Some(sequence) = sequence.filter(|_| !is_there) {
        body.object("additionalModelResponseFields", |fields| {
            fields.escaped("stop_sequence", sequence);
        });
    }
    if own {
        body.members(&response.rest);
        return;
    }
    for member in &response.rest {
        let path = String::from_utf8_lossy(member.name.as_bytes()).into_owned();
        losses.at(path, Severity::Hint, "a reply has no such member here");
    }
}

struct Job<'j> {
    own: bool,
    face: &'j Face<'j>,
    losses: &'j mut Losses,
}

impl<'j> Job<'j> {
    fn fit<'r>(&mut self, block: &'r Block<'r>) -> Option<Piece<'r>>
    where
        'j: 'r,
    {
        let content = match &block.kind {
            Kind::Text { text, citations } if citations.is_empty() => Content::Text(text.borrowed()),
            Kind::Text { text, citations } => Content::Cited { text: text.borrowed(), citations, own: self.own },
            Kind::Opaque { raw, .. } if self.own => Content::Raw(raw),
            Kind::Refusal(text) => {
                self.losses.block(block.origin, Severity::Hint, "refusals have no kind of their own here; it was sent as text");
                Content::Text(text.borrowed())
            }
            Kind::Thought(thought) => self.fit_thought(block, thought)?,
            Kind::ToolCall(call) if self.is_format_tool(&call.name) => Content::Text(quote(&arguments::as_object(&call.arguments).0)),
            Kind::ToolCall(call) => {
                let (input, was_object) = arguments::as_object(&call.arguments);
                if !was_object {
                    self.losses.block(block.origin, Severity::Changed, "arguments are an object here; these were put under \"_raw\"");
                }
                let name = self.face.bridge.original(&call.name).0.into_owned();
                Content::Call { id: call.id.borrowed(), name, input }
            }
            Kind::Media(media) => match (&media.source, format_of_source(media.class, &media.source)) {
                (MediaSource::Base64 { data, .. }, Some(format)) => {
                    let name = media.name.as_ref().map(Text::borrowed);
                    Content::Media { class: media.class, format: Some(format), name, source: Source::Bytes(data.borrowed()) }
                }
                _ => return self.lose(block, "media are sent in base64 and in few formats here"),
            },
            Kind::ToolResult(_) | Kind::Opaque { .. } => return self.lose(block, "only the dialect it was written in knows it"),
        };
        let rest = if self.own { &block.rest[..] } else { &[] };
        if !self.own {
            self.losses.members(block.origin, &block.rest, Severity::Hint, "a block has no such member here");
        }
        Some(Piece { content, mark: block.cache, rest })
    }

    /// A thought that shall not be seen keeps its seal.
    fn fit_thought<'r>(&self, block: &'r Block<'r>, thought: &'r Thought<'r>) -> Option<Content<'r>> {
        let signature = block.seal.as_ref().map(|seal| &seal.data);
        match (signature, self.face.bridge.hide_thoughts) {
            (Some(data), _) if thought.redacted => Some(Content::Redacted(data)),
            (Some(_), true) => Some(Content::Thought { thought: UNSEEN, signature }),
            (None, true) => None,
            (_, false) => Some(Content::Thought { thought, signature }),
        }
    }

    fn is_format_tool(&self, name: &Text<'_>) -> bool {
        self.face.bridge.format_tool.as_ref().is_some_and(|tool| escape(tool) == *name)
    }

    fn lose<'r>(&mut self, block: &Block<'_>, reason: &'static str) -> Option<Piece<'r>> {
        self.losses.block(block.origin, Severity::Dropped, reason);
        None
    }
}

fn format_of_source(class: fairlead_ir::block::MediaClass, source: &MediaSource<'_>) -> Option<&'static str> {
    match source {
        MediaSource::Base64 { mime, .. } => format_of(class, mime),
        _ => None,
    }
}
