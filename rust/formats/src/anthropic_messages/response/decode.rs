//! A whole Messages reply as a provider wrote it.

use fairlead_ir::{Choice, Dialect, Kind, Origin, Raw, Response, Stop, Text};

use crate::anthropic_messages::wire::{Figures, block, stop};
use crate::json::walk;
use crate::read::{Malformed, Reader};
use crate::traits::Traits;

/// Reads the body of a good reply. An error object is none: it has no content. No trait changes how these replies are read.
pub(crate) fn decode<'a>(body: &'a [u8], _: &Traits) -> Result<Response<'a>, Malformed> {
    let mut response = Response::new(Dialect::AnthropicMessages);
    let (mut blocks, mut word, mut sequence, mut details, mut usage) = (None, None, None, None, None);
    Reader::new(body).object(|key, reader| {
        match key.name() {
            "type" | "role" => reader.skip()?,
            "id" => response.id = reader.optional(Reader::text)?.unwrap_or_default(),
            "model" => response.model = reader.optional(Reader::text)?.unwrap_or_default(),
            "content" => blocks = Some(content(reader)?),
            "stop_reason" => word = reader.optional(Reader::text)?,
            "stop_sequence" => sequence = reader.optional(Reader::text)?,
            "stop_details" => details = reader.optional(Reader::raw)?,
            "usage" => usage = reader.optional(Reader::raw)?,
            _ => response.rest.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    let blocks = block::required(blocks, "content")?;
    let called = blocks.iter().any(|block| matches!(block.kind, Kind::ToolCall(_)));
    let stop = word.map(|native| Stop { reason: stop::reason(native.as_bytes(), called), native, sequence, details });
    response.choices.push(Choice { blocks, stop, logprobs: None });
    if let Some(usage) = usage {
        let mut figures = Figures::default();
        figures.merge(usage.as_bytes());
        response.usage = figures.usage();
        response.service_tier = service_tier(&usage);
    }
    Ok(response)
}

fn content<'a>(reader: &mut Reader<'a>) -> Result<Vec<fairlead_ir::Block<'a>>, Malformed> {
    let mut blocks = Vec::new();
    reader.array(|index, reader| {
        blocks.push(block::read(reader, Origin::item("content", index))?);
        Ok(())
    })?;
    Ok(blocks)
}

fn service_tier<'a>(usage: &Raw<'a>) -> Option<Text<'a>> {
    match walk::member(usage.as_bytes(), "service_tier").ok()??.value {
        [b'"', inside @ .., b'"'] => Some(Text::escaped(inside).into_owned()),
        _ => None,
    }
}
