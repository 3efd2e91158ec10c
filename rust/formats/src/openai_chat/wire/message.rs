//! What the model said: the members of an assistant's message, in requests and in replies, as blocks in order.

use fairlead_ir::block::{Citation, Media, MediaClass, MediaSource, Thought, ThoughtPart, ThoughtShape, ToolCall};
use fairlead_ir::{Block, Kind, Origin, Text};

use super::calls::{read_call, read_function};
use super::citations::read_annotations;
use super::parts::{keep_unknown, read_content, read_url};
use super::thoughts::{read_details, settle};
use crate::read::{Key, Malformed, Reader};

/// Where the members of a message stand, seen from the element of the body's list that holds it.
#[derive(Debug)]
pub(crate) struct Paths {
    pub(crate) content: &'static str,
    reasoning: &'static str,
    reasoning_details: &'static str,
    refusal: &'static str,
    images: &'static str,
    audio: &'static str,
    tool_calls: &'static str,
    function_call: &'static str,
}

/// In `messages[n]` of a request.
pub(crate) static OF_REQUEST: Paths = Paths {
    content: "content",
    reasoning: "reasoning",
    reasoning_details: "reasoning_details",
    refusal: "refusal",
    images: "images",
    audio: "audio",
    tool_calls: "tool_calls",
    function_call: "function_call",
};

/// In `choices[n]` of a reply.
pub(crate) static OF_REPLY: Paths = Paths {
    content: "message.content",
    reasoning: "message.reasoning",
    reasoning_details: "message.reasoning_details",
    refusal: "message.refusal",
    images: "message.images",
    audio: "message.audio",
    tool_calls: "message.tool_calls",
    function_call: "message.function_call",
};

/// The members of one message, by what they become.
#[derive(Debug, Default)]
pub(crate) struct Said<'a> {
    pub(crate) content: Vec<Block<'a>>,
    /// `reasoning` or `reasoning_content`.
    plain_thought: Option<Block<'a>>,
    details: Vec<Block<'a>>,
    refusal: Option<Block<'a>>,
    /// Pictures that the model drew.
    images: Vec<Block<'a>>,
    /// Sound that it made.
    audio: Option<Block<'a>>,
    pub(crate) calls: Vec<Block<'a>>,
    citations: Vec<Citation<'a>>,
}

impl<'a> Said<'a> {
    /// Takes a member that only the model's messages have; `false`: it is none of them, and not taken.
    pub(crate) fn take(&mut self, key: &Key<'a>, reader: &mut Reader<'a>, origin: Origin, paths: &Paths) -> Result<bool, Malformed> {
        let word = |reader: &mut Reader<'a>| Ok::<_, Malformed>(reader.optional(Reader::text)?.filter(|text| !text.is_empty()));
        match key.name() {
            "content" => self.content = read_content(reader, origin, paths.content)?,
            "tool_calls" => {
                reader.optional(|reader| self.read_calls(reader, origin, paths))?;
            }
            "function_call" => {
                reader.optional(|reader| self.read_function_call(reader, origin.inside(paths.function_call)))?;
            }
            "reasoning" | "reasoning_content" => {
                let thought = word(reader)?.map(|text| plain_thought(text, origin.inside(paths.reasoning)));
                self.plain_thought = thought.or(self.plain_thought.take());
            }
            "reasoning_details" => {
                let details = reader.optional(|reader| read_details(reader, origin, paths.reasoning_details))?;
                self.details = details.unwrap_or_default();
            }
            "refusal" => self.refusal = word(reader)?.map(|text| Block::new(Kind::Refusal(text), origin.inside(paths.refusal))),
            "annotations" => self.citations = read_annotations(reader)?,
            "images" => {
                reader.optional(|reader| read_images(reader, origin, paths, &mut self.images))?;
            }
            "audio" => self.audio = reader.optional(|reader| read_audio(reader, origin.inside(paths.audio)))?.flatten(),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn read_calls(&mut self, reader: &mut Reader<'a>, origin: Origin, paths: &Paths) -> Result<(), Malformed> {
        reader.array(|at, reader| {
            self.calls.push(read_call(reader, origin.part(paths.tool_calls, at))?);
            Ok(())
        })
    }

    /// The older way to call a tool, without an id.
    fn read_function_call(&mut self, reader: &mut Reader<'a>, origin: Origin) -> Result<(), Malformed> {
        let mut rest = Vec::new();
        let (name, arguments) = read_function(reader, &mut rest)?;
        let kind = Kind::ToolCall(ToolCall { id: Text::EMPTY, name, arguments });
        self.calls.push(Block { rest, ..Block::new(kind, origin) });
        Ok(())
    }

    /// The blocks in the order that a flat message can mean: thoughts, texts, media, calls.
    pub(crate) fn into_blocks(mut self) -> Vec<Block<'a>> {
        settle(&mut self.details, &mut self.calls);
        cite(&mut self.content, self.citations);
        let mut blocks = self.details;
        // The same thoughts under two names: the details say more.
        if !blocks.iter().any(is_readable) {
            blocks.splice(0..0, self.plain_thought);
        }
        blocks.append(&mut self.content);
        blocks.extend(self.refusal);
        blocks.append(&mut self.images);
        blocks.extend(self.audio);
        blocks.append(&mut self.calls);
        blocks
    }
}

/// A thought that came as plain text.
pub(crate) fn plain_thought<'a>(text: Text<'a>, origin: Origin) -> Block<'a> {
    let parts = vec![ThoughtPart { shape: ThoughtShape::Full, text }];
    Block::new(Kind::Thought(Thought { parts, ..Thought::default() }), origin)
}

fn is_readable(block: &Block<'_>) -> bool {
    matches!(&block.kind, Kind::Thought(thought) if !thought.parts.is_empty())
}

/// Puts citations on the first text: the dialect keeps them apart from it.
fn cite<'a>(content: &mut [Block<'a>], cited: Vec<Citation<'a>>) {
    let first = content.iter_mut().find_map(|block| match &mut block.kind {
        Kind::Text { citations, .. } => Some(citations),
        _ => None,
    });
    if let Some(citations) = first {
        citations.extend(cited);
    }
}

/// What a model drew, in OpenRouter's spelling.
fn read_images<'a>(reader: &mut Reader<'a>, origin: Origin, paths: &Paths, media: &mut Vec<Block<'a>>) -> Result<(), Malformed> {
    reader.array(|at, reader| {
        media.extend(read_image(reader)?.map(|picture| Block::new(Kind::Media(picture), origin.part(paths.images, at))));
        Ok(())
    })
}

/// One of `images`.
pub(crate) fn read_image<'a>(reader: &mut Reader<'a>) -> Result<Option<Media<'a>>, Malformed> {
    let (mut picture, mut rest) = (None, Vec::new());
    reader.object(|key, reader| {
        match key.name() {
            "image_url" => picture = Some(read_url(reader, MediaClass::Image, &mut rest)?),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(picture)
}

/// Sound that a model made; in later requests only its id, which means something to the same provider.
fn read_audio<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Option<Block<'a>>, Malformed> {
    let (mut id, mut data, mut rest) = (None, None, Vec::new());
    reader.object(|key, reader| {
        match key.name() {
            "id" => id = Some((reader.clone().member(&key)?, reader.text()?)),
            "data" => data = reader.optional(Reader::text)?,
            _ => keep_unknown(&key, reader, &mut rest)?,
        }
        Ok(())
    })?;
    let source = match (data, &id) {
        (Some(data), _) => MediaSource::Base64 { mime: Text::EMPTY, data },
        (None, Some((_, id))) => MediaSource::File(id.clone()),
        (None, None) => return Ok(None),
    };
    if matches!(source, MediaSource::Base64 { .. }) {
        rest.extend(id.map(|(member, _)| member));
    }
    let media = Media { class: MediaClass::Audio, source, detail: None, name: None };
    Ok(Some(Block { rest, ..Block::new(Kind::Media(media), origin) }))
}
