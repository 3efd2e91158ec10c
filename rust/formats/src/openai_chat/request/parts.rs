//! Parts of messages, written.

use fairlead_ir::block::{CacheMark, CacheTtl, Media, MediaClass, MediaSource};
use fairlead_ir::{Block, Dialect, Kind, Losses, Severity, Text};

use crate::openai_chat::wire::leftover;
use crate::openai_chat::wire::parts::{audio_format, write_address};
use crate::traits::Traits;
use crate::write::{Array, Object};

/// How a target takes parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// The request was read from this dialect, so that what only it knows may be written back.
    pub(super) own: bool,
    /// Ids of files that were uploaded to OpenAI mean something.
    openai_files: bool,
    /// A file may be an address.
    file_addresses: bool,
    marks: Marks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marks {
    None,
    /// Anthropic's word for it, which OpenRouter and its like take.
    CacheControl,
    /// OpenAI's.
    Breakpoint,
}

impl Style {
    pub(super) fn new(source: Dialect, traits: Traits) -> Style {
        let own = source == Dialect::OpenaiChat;
        let marks = match traits {
            Traits { cache_control_parts: true, .. } => Marks::CacheControl,
            Traits { cache_breakpoints: true, .. } => Marks::Breakpoint,
            _ => Marks::None,
        };
        let openai_files = own || source == Dialect::OpenaiResponses;
        Style { own, openai_files, file_addresses: own || traits.openrouter_reasoning, marks }
    }

    /// Whether the block must stand in a list of parts to be whole.
    pub(super) fn needs_part(&self, block: &Block<'_>) -> bool {
        !matches!(block.kind, Kind::Text { .. }) || block.cache.is_some() && self.marks != Marks::None || self.own && !block.rest.is_empty()
    }

    /// Whether the block can be written as a part; otherwise its loss is told.
    pub(super) fn takes(&self, block: &Block<'_>, losses: &mut Losses) -> bool {
        let obstacle = match &block.kind {
            Kind::Text { .. } | Kind::Refusal(_) => None,
            Kind::Media(media) => self.obstacle(media),
            Kind::Opaque { .. } if self.own => None,
            Kind::Opaque { .. } => Some("only the dialect it was written in knows it"),
            Kind::Thought(_) | Kind::ToolCall(_) | Kind::ToolResult(_) => Some("chat has no place for it here"),
        };
        if let Some(obstacle) = obstacle {
            losses.block(block.origin, Severity::Dropped, obstacle);
            return false;
        }
        self.tell_changes(block, losses);
        true
    }

    fn obstacle(&self, media: &Media<'_>) -> Option<&'static str> {
        match (media.class, &media.source) {
            (_, MediaSource::Plain(_)) | (MediaClass::Audio, MediaSource::Base64 { .. }) => None,
            (MediaClass::Audio, _) => Some("chat takes sound as bytes only"),
            (MediaClass::Document, MediaSource::File(_)) if self.openai_files => None,
            (_, MediaSource::File(_)) => Some("a file that was uploaded to another provider means nothing here"),
            (MediaClass::Document, MediaSource::Url { .. }) if !self.file_addresses => Some("chat takes files as bytes, not by address"),
            (_, MediaSource::Url { url, .. }) if !self.own && !is_public(url) => Some("the provider cannot read from this address"),
            _ => None,
        }
    }

    fn tell_changes(&self, block: &Block<'_>, losses: &mut Losses) {
        if block.cache.is_some() && self.marks == Marks::None {
            losses.block(block.origin, Severity::Hint, "the endpoint takes no cache marks");
        }
        match &block.kind {
            Kind::Media(Media { source: MediaSource::Plain(_), .. }) => {
                losses.block(block.origin, Severity::Changed, "chat has no documents of plain text: it stands as text");
            }
            Kind::Media(Media { class, name: Some(_), .. }) if *class != MediaClass::Document => {
                losses.block(block.origin, Severity::Hint, "chat has no names for pictures and sound");
            }
            Kind::Text { citations, .. } if !citations.is_empty() && !self.own => {
                losses.block(block.origin, Severity::Hint, "chat requests carry no citations");
            }
            _ => {}
        }
        if !self.own {
            losses.members(block.origin, &block.rest, Severity::Dropped, "only the dialect it was written in knows it");
        }
        if block.seal.is_some() {
            losses.block(block.origin, Severity::Hint, "chat has no place for its signature");
        }
    }

    /// Writes a block that [`takes`](Self::takes) took.
    pub(super) fn write(&self, block: &Block<'_>, parts: &mut Array<'_>) {
        match &block.kind {
            Kind::Opaque { raw, .. } => {
                parts.raw(raw.as_bytes());
            }
            Kind::Text { text, .. } | Kind::Media(Media { source: MediaSource::Plain(text), .. }) => {
                self.part(block, "text", &[], parts, |part| {
                    part.escaped("text", text);
                });
            }
            Kind::Refusal(text) if self.own => self.part(block, "refusal", &[], parts, |part| {
                part.escaped("refusal", text);
            }),
            Kind::Refusal(text) => self.part(block, "text", &[], parts, |part| {
                part.escaped("text", text);
            }),
            Kind::Media(media) => self.write_media(block, media, parts),
            Kind::Thought(_) | Kind::ToolCall(_) | Kind::ToolResult(_) => {}
        }
    }

    fn write_media(&self, block: &Block<'_>, media: &Media<'_>, parts: &mut Array<'_>) {
        let name = match (media.class, &media.source) {
            (MediaClass::Image, _) => "image_url",
            (MediaClass::Video, _) => "video_url",
            (MediaClass::Audio, _) => "input_audio",
            (MediaClass::Document, _) => "file",
        };
        self.part(block, name, &[name], parts, |part| {
            part.object(name, |inner| {
                match (media.class, &media.source) {
                    (MediaClass::Audio, MediaSource::Base64 { mime, data }) => {
                        inner.escaped("data", data).text("format", &audio_format(mime));
                    }
                    (MediaClass::Document, source) => write_file(media, source, inner),
                    _ => {
                        write_address(media, inner.key("url"));
                        inner.optional_escaped("detail", media.detail.as_ref());
                    }
                }
                if self.own {
                    leftover::restore(&block.rest, name, inner);
                }
            });
        });
    }

    fn part(&self, block: &Block<'_>, word: &str, inner: &[&str], parts: &mut Array<'_>, members: impl FnOnce(&mut Object<'_>)) {
        parts.object(|part| {
            part.text("type", word);
            members(part);
            self.write_mark(block.cache, part);
            if self.own {
                leftover::write_others(&block.rest, inner, part);
            }
        });
    }

    /// Writes a mark in the words that the target takes, if it takes any.
    pub(super) fn write_mark(&self, mark: Option<CacheMark>, object: &mut Object<'_>) {
        let Some(mark) = mark else { return };
        let (name, key, word, steps): (_, _, _, &[CacheTtl]) = match self.marks {
            Marks::None => return,
            Marks::CacheControl => ("cache_control", "type", "ephemeral", &[CacheTtl::FiveMinutes, CacheTtl::OneHour]),
            Marks::Breakpoint => ("prompt_cache_breakpoint", "mode", "explicit", &[CacheTtl::ThirtyMinutes, CacheTtl::TwelveHours]),
        };
        let ttl = mark.ttl.and_then(|ttl| ttl.nearest(steps));
        object.object(name, |inner| {
            inner.text(key, word).optional_text("ttl", ttl.map(CacheTtl::word));
        });
    }

    /// Whether the target takes marks on parts.
    pub(super) fn takes_marks(&self) -> bool {
        self.marks != Marks::None
    }

    /// Whether the target takes Anthropic's marks, also on tools and on the whole request.
    pub(super) fn takes_cache_control(&self) -> bool {
        self.marks == Marks::CacheControl
    }
}

fn write_file(media: &Media<'_>, source: &MediaSource<'_>, inner: &mut Object<'_>) {
    if let MediaSource::File(id) = source {
        inner.escaped("file_id", id).optional_escaped("filename", media.name.as_ref());
        return;
    }
    // OpenAI demands a name beside bytes.
    inner.escaped("filename", media.name.as_ref().unwrap_or(&Text::word("document.pdf")));
    write_address(media, inner.key("file_data"));
}

/// An address that anybody can read, or one that holds the bytes.
fn is_public(url: &Text<'_>) -> bool {
    [&b"https:"[..], b"http:", b"data:"].iter().any(|scheme| url.as_bytes().starts_with(scheme))
}
