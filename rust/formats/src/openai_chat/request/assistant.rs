//! The model's own messages, written: the flat members of chat out of blocks in order.

use fairlead_ir::block::{Arguments, Media, MediaClass, MediaSource, Thought, ToolCall};
use fairlead_ir::{Block, Kind, Severity, Text, Turn};

use super::encode::Writing;
use super::messages::known_arguments;
use crate::openai_chat::wire::calls::{as_value, write_call};
use crate::openai_chat::wire::leftover;
use crate::openai_chat::wire::parts::write_address;
use crate::openai_chat::wire::thoughts::Details;
use crate::text::join;
use crate::traits::Traits;
use crate::write::Object;

/// What a turn of the model says, by the members it goes into.
#[derive(Default)]
pub(super) struct Said<'b> {
    /// Texts, refusals and parts that only this dialect knows, in order.
    content: Vec<&'b Block<'b>>,
    /// Thoughts, and whatever else is sealed, in order.
    thoughts: Vec<(&'b Block<'b>, Option<Text<'b>>)>,
    images: Vec<&'b Media<'b>>,
    audio: Option<&'b Text<'b>>,
    calls: Vec<(Text<'b>, &'b Block<'b>, &'b ToolCall<'b>)>,
}

/// Where earlier thoughts go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Details,
    Plain(&'static str),
    Nowhere,
}

impl Place {
    fn of(traits: Traits) -> Place {
        match traits {
            Traits { openrouter_reasoning: true, .. } => Place::Details,
            Traits { reasoning_content_in: true, .. } | Traits { reasoning_content_required: true, .. } => {
                Place::Plain("reasoning_content")
            }
            Traits { reasoning_in: true, .. } => Place::Plain("reasoning"),
            _ => Place::Nowhere,
        }
    }
}

impl<'b> Said<'b> {
    /// Sorts the blocks of a turn and tells what has no place. `id_of` gives a call its id.
    pub(super) fn of(
        writing: &mut Writing<'_, '_>,
        turn: &'b Turn<'b>,
        mut id_of: impl FnMut(&'b ToolCall<'b>, usize) -> Text<'b>,
    ) -> Said<'b> {
        let mut said = Said::default();
        for (number, block) in turn.blocks.iter().enumerate() {
            match &block.kind {
                Kind::Thought(thought) => said.thought(writing, block, thought),
                Kind::ToolCall(call) => said.call(writing, block, call, id_of(call, number)),
                Kind::Media(media) => said.media(writing, block, media),
                _ => said.content(writing, block),
            }
        }
        said
    }

    fn thought(&mut self, writing: &mut Writing<'_, '_>, block: &'b Block<'b>, thought: &'b Thought<'b>) {
        let (is_taken, loss) = match Place::of(writing.traits) {
            Place::Details => (true, None),
            Place::Plain(_) if thought.parts.is_empty() => (false, Some("the endpoint takes readable thoughts only")),
            Place::Plain(_) => (true, block.seal.as_ref().map(|_| "the endpoint takes no signatures of thoughts")),
            Place::Nowhere => (false, Some("the endpoint takes no earlier thoughts")),
        };
        if let Some(reason) = loss {
            writing.losses.block(block.origin, Severity::Hint, reason);
        }
        if is_taken {
            self.thoughts.push((block, None));
        }
    }

    fn call(&mut self, writing: &mut Writing<'_, '_>, block: &'b Block<'b>, call: &'b ToolCall<'b>, id: Text<'b>) {
        if block.cache.is_some() {
            writing.losses.block(block.origin, Severity::Hint, "chat has no cache marks on calls");
        }
        if block.seal.is_some() {
            match Place::of(writing.traits) {
                Place::Details => self.thoughts.push((block, Some(id.clone()))),
                _ => writing.losses.block(block.origin, Severity::Hint, "the endpoint takes no thought signatures"),
            }
        }
        if writing.traits.object_arguments && !as_value(&call.arguments).1 {
            writing.losses.block(
                block.origin,
                Severity::Changed,
                "the arguments are no JSON and the endpoint wants an object: they stand in one",
            );
        }
        writing.lose_members(block.origin, &block.rest);
        self.calls.push((id, block, call));
    }

    fn media(&mut self, writing: &mut Writing<'_, '_>, block: &'b Block<'b>, media: &'b Media<'b>) {
        match (media.class, &media.source) {
            (MediaClass::Audio, MediaSource::File(id)) if writing.own => self.audio = Some(id),
            (MediaClass::Image, MediaSource::Base64 { .. } | MediaSource::Url { .. })
                if writing.own || writing.traits.openrouter_reasoning =>
            {
                self.images.push(media);
            }
            _ => writing.losses.block(block.origin, Severity::Dropped, "chat takes no media from the assistant"),
        }
    }

    fn content(&mut self, writing: &mut Writing<'_, '_>, block: &'b Block<'b>) {
        if !writing.style.takes(block, writing.losses) {
            return;
        }
        if !writing.own && !self.calls.is_empty() {
            writing.losses.block(block.origin, Severity::Changed, "chat has texts before calls: this one came after a call");
        }
        if !writing.own && matches!(block.kind, Kind::Refusal(_)) {
            writing.losses.block(block.origin, Severity::Hint, "not every endpoint knows refusals in a conversation; it is sent as text");
        }
        self.content.push(block);
    }

    /// Writes the members of the message.
    pub(super) fn write(&self, writing: &Writing<'_, '_>, turn: &Turn<'_>, message: &mut Object<'_>) {
        message.text("role", "assistant").optional_escaped("name", turn.name.as_ref());
        self.write_content(writing, message);
        self.write_thoughts(writing, message);
        if !self.images.is_empty() {
            message.array("images", |list| {
                for media in &self.images {
                    list.object(|image| {
                        image.text("type", "image_url").object("image_url", |inner| {
                            write_address(media, inner.key("url"));
                        });
                    });
                }
            });
        }
        if let Some(id) = self.audio {
            message.object("audio", |audio| {
                audio.escaped("id", id);
            });
        }
        self.write_calls(writing, message);
        if writing.own {
            self.write_citations(message);
            message.members(&turn.rest);
        }
    }

    fn write_content(&self, writing: &Writing<'_, '_>, message: &mut Object<'_>) {
        let is_text = |block: &&&Block<'_>| matches!(block.kind, Kind::Text { .. });
        // A refusal has a member of its own where its reader is sure to know it; it is a text to others.
        let (refusals, content): (Vec<&Block<'_>>, Vec<&Block<'_>>) =
            self.content.iter().partition(|block| writing.own && matches!(block.kind, Kind::Refusal(_)));
        let style = writing.style;
        let needs_parts = content.iter().any(|block| style.needs_part(block) && !matches!(block.kind, Kind::Refusal(_)));
        match content.as_slice() {
            [] if self.calls.is_empty() && refusals.is_empty() && self.audio.is_none() => {
                message.text("content", "");
            }
            [] => {
                message.raw("content", b"null");
            }
            several if needs_parts || several.len() > 1 && writing.own && several.iter().all(|block| is_text(&block)) => {
                message.array("content", |parts| several.iter().for_each(|block| style.write(block, parts)));
            }
            texts => {
                message.escaped("content", &joined(texts));
            }
        }
        if !refusals.is_empty() {
            message.escaped("refusal", &joined(&refusals));
        }
    }

    fn write_thoughts(&self, writing: &Writing<'_, '_>, message: &mut Object<'_>) {
        match Place::of(writing.traits) {
            Place::Details if !self.thoughts.is_empty() => {
                message.array("reasoning_details", |entries| {
                    let mut details = Details::default();
                    for (block, id) in &self.thoughts {
                        match (&block.kind, &block.seal) {
                            (Kind::Thought(thought), seal) => details.thought(thought, seal.as_ref(), true, entries),
                            (_, Some(seal)) => details.loose(seal, id.as_ref(), entries),
                            _ => {}
                        }
                    }
                });
            }
            Place::Plain(name) => {
                let texts: Vec<&Text<'_>> = self.thoughts.iter().flat_map(|(block, _)| texts_of(block)).collect();
                if !texts.is_empty() || writing.traits.reasoning_content_required {
                    message.escaped(name, &join(texts, r"\n\n"));
                }
            }
            Place::Details | Place::Nowhere => {}
        }
    }

    fn write_calls(&self, writing: &Writing<'_, '_>, message: &mut Object<'_>) {
        if self.calls.is_empty() {
            return;
        }
        message.array("tool_calls", |list| {
            for (id, block, call) in &self.calls {
                let name = writing.sent_name(&call.name);
                let arguments = known_arguments(&call.arguments, writing.traits.no_custom_tools);
                let rest: &[_] = if writing.own { &block.rest } else { &[] };
                list.object(|object| {
                    if writing.traits.object_arguments && !matches!(arguments, Arguments::Free(_)) {
                        object.escaped("id", id).text("type", "function").object("function", |function| {
                            function.escaped("name", &name).raw("arguments", as_value(&arguments).0.as_bytes());
                        });
                        leftover::write_others(rest, &["function"], object);
                    } else {
                        write_call(id, &name, &arguments, rest, object);
                    }
                });
            }
        });
    }

    fn write_citations(&self, message: &mut Object<'_>) {
        let cited = || {
            self.content.iter().flat_map(|block| match &block.kind {
                Kind::Text { citations, .. } => citations.as_slice(),
                _ => &[],
            })
        };
        if cited().next().is_some() {
            message.array("annotations", |list| {
                cited().for_each(|citation| {
                    list.raw(citation.raw.as_bytes());
                })
            });
        }
    }
}

/// Texts as one; a refusal among them is a paragraph.
fn joined(blocks: &[&Block<'_>]) -> Text<'static> {
    let mut texts: Vec<Text<'_>> = Vec::with_capacity(blocks.len());
    let mut before = None;
    for block in blocks {
        let (text, refusal) = match &block.kind {
            Kind::Text { text, .. } => (text, false),
            Kind::Refusal(text) => (text, true),
            _ => continue,
        };
        if before.replace(refusal).is_some_and(|before| before != refusal) {
            texts.push(Text::word(r"\n\n"));
        }
        texts.push(text.borrowed());
    }
    join(&texts, "")
}

fn texts_of<'b>(block: &'b Block<'b>) -> impl Iterator<Item = &'b Text<'b>> {
    let parts = match &block.kind {
        Kind::Thought(thought) => thought.parts.as_slice(),
        _ => &[],
    };
    parts.iter().map(|part| &part.text)
}
