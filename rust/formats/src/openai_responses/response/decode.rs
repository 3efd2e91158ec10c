//! Reads a whole reply.
//!
//! What a reply repeats of its request is the caller's own and is left out.

use fairlead_ir::response::{Choice, Response, Stop};
use fairlead_ir::{Block, Dialect, Kind, Member, Origin, Raw, Text};

use crate::decimal::count;
use crate::json::Kind as JsonKind;
use crate::openai_responses::wire::items::{Message, read_item, take_rest};
use crate::openai_responses::wire::{Content, Figures, Outline, stop_of};
use crate::read::{Malformed, Reader};
use crate::traits::Traits;
use crate::write::Array;

/// Members that repeat the request, or say what the figures or the status say.
const ECHO: [&str; 29] = [
    "object",
    "completed_at",
    "background",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "top_k",
    "truncation",
    "user",
    "presence_penalty",
    "frequency_penalty",
    "image",
    "provider",
];

/// Reads a body that is known to be JSON.
///
/// # Errors
/// The first member that is not what the dialect wants there, or a reply that is not finished.
pub(crate) fn decode<'a>(body: &'a [u8], traits: &Traits) -> Result<Response<'a>, Malformed> {
    let mut outline = Outline::default();
    let mut response = Response::new(Dialect::OpenaiResponses);
    let mut choice = Choice::default();
    let mut has_output = false;
    Reader::new(body).object(|key, reader| {
        match key.name() {
            "id" => response.id = reader.optional(Reader::text)?.unwrap_or_default(),
            "model" => response.model = reader.optional(Reader::text)?.unwrap_or_default(),
            "created_at" => response.created_s = reader.optional(Reader::number)?.and_then(|seconds| count(seconds.as_bytes())),
            "service_tier" => response.service_tier = reader.optional(Reader::text)?,
            "output" => {
                has_output = true;
                choice = read_output(reader)?;
            }
            name @ ("status" | "usage" | "error" | "incomplete_details" | "tool_usage") => {
                let kind = reader.kind()?;
                outline.take(name.as_bytes(), kind, reader.slice()?);
            }
            echo if ECHO.contains(&echo) => reader.skip()?,
            _ => take_rest(&key, reader, &mut response.rest)?,
        }
        Ok(())
    })?;
    if !has_output {
        return Err(Malformed::new("has no \"output\""));
    }
    outline.content = Some(searches(&choice.blocks));
    choice.stop = Some(read_stop(&outline, &choice.blocks)?);
    response.usage = usage(&outline, traits);
    response.choices.push(choice);
    Ok(response)
}

/// The searches that a reply shows.
fn searches(blocks: &[Block<'_>]) -> Content {
    let mut content = Content::default();
    for block in blocks {
        if let Kind::Opaque { word, raw } = &block.kind
            && word.is("web_search_call")
        {
            // What is none has nothing to count.
            let _ = content.add_item(raw.as_bytes());
        }
    }
    content
}

/// What was used.
pub(crate) fn usage(outline: &Outline<'_>, traits: &Traits) -> Option<fairlead_ir::Usage> {
    Figures::read(outline.usage?).outside(traits.reasoning_outside_completion).usage(outline.web_searches())
}

fn read_stop<'a>(outline: &Outline<'a>, blocks: &[Block<'_>]) -> Result<Stop<'a>, Malformed> {
    let calls = blocks.iter().any(|block| matches!(block.kind, Kind::ToolCall(_)));
    let refusal = blocks.iter().any(|block| matches!(block.kind, Kind::Refusal(_)));
    // Some servers leave the status out: what they send is finished.
    let status: &[u8] = if outline.status.is_empty() { b"completed" } else { outline.status };
    let Some((reason, native)) = stop_of(status, outline.reason, calls, refusal) else {
        return Err(Malformed::new("is not that of a finished reply").in_member("status"));
    };
    let details = outline.error.map(Raw::json);
    Ok(Stop { reason, native: Text::escaped(native), sequence: None, details })
}

fn read_output<'a>(reader: &mut Reader<'a>) -> Result<Choice<'a>, Malformed> {
    let mut choice = Choice::default();
    let mut logprobs = Vec::new();
    reader.array(|index, reader| {
        for mut block in read_output_item(reader, Origin::item("output", index))? {
            take_logprobs(&mut block.rest, &mut logprobs);
            choice.blocks.push(block);
        }
        Ok(())
    })?;
    choice.logprobs = joined(&logprobs);
    Ok(choice)
}

/// The blocks of one item.
pub(crate) fn read_output_item<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Vec<Block<'a>>, Malformed> {
    if reader.kind()? != JsonKind::Object {
        return Err(Malformed::new("must be an object"));
    }
    let word = reader.peek("type").ok_or_else(|| Malformed::new("has no \"type\""))?;
    match word.as_bytes() {
        b"message" => Ok(Message::read(reader, origin)?.into_blocks()),
        _ => Ok(vec![read_item(reader, word, origin)?]),
    }
}

fn take_logprobs<'a>(rest: &mut Vec<Member<'a>>, all: &mut Vec<Raw<'a>>) {
    rest.retain(|member| {
        let found = member.name.is("logprobs");
        if found {
            all.push(member.value.clone());
        }
        !found
    });
}

/// Probabilities of all texts as chat writes them: `{"content":[…]}`.
pub(crate) fn joined(lists: &[Raw<'_>]) -> Option<Raw<'static>> {
    let mut json = br#"{"content":"#.to_vec();
    let mut array = Array::open(&mut json);
    for list in lists {
        // A list that is none holds nothing.
        let _ = Reader::new(list.as_bytes()).array(|_, reader| {
            array.raw(reader.raw()?.as_bytes());
            Ok(())
        });
    }
    let none = array.is_empty();
    array.close();
    json.push(b'}');
    if none { None } else { Some(Raw::owned(json)) }
}
