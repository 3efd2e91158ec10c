//! A whole completion into the canonical representation, whichever of the many hosts wrote it.

use fairlead_ir::{Block, Choice, Dialect, Kind, Origin, Response, Stop, StopReason, Text};

use crate::decimal::count;
use crate::error;
use crate::json;
use crate::openai_chat::wire::message::{OF_REPLY, Said, plain_thought};
use crate::openai_chat::wire::parts::keep_unknown;
use crate::openai_chat::wire::tags::{Piece, Tags};
use crate::openai_chat::wire::words::{settled, stop_reason};
use crate::openai_chat::wire::{is_error, read_usage_of};
use crate::read::{Malformed, Reader};
use crate::text::decode as plain;
use crate::traits::Traits;
use crate::translate::fnv1a;

/// Members that say something about the service, not about the reply.
const OF_SERVICE: [&str; 13] = [
    "object",
    "provider",
    "system_fingerprint",
    "x_groq",
    "prompt_filter_results",
    "openrouter_metadata",
    "metadata",
    "timings",
    "time_info",
    "perf_metrics",
    "kv_transfer_params",
    "prompt_logprobs",
    "warnings",
];

/// Reads a body that is known to be JSON.
///
/// # Errors
/// The body is an error, has no choices, or a member is not what it must be.
pub(crate) fn decode<'a>(body: &'a [u8], traits: &Traits) -> Result<Response<'a>, Malformed> {
    let mut response = Response::new(Dialect::OpenaiChat);
    let mut choices: Option<Vec<(u64, Choice<'a>)>> = None;
    let mut usage_elsewhere = None;
    let usage = |reader: &mut Reader<'a>| {
        let object = reader.raw()?;
        Ok::<_, Malformed>(read_usage_of(object.as_bytes(), traits.reasoning_outside_completion))
    };
    Reader::new(body).object(|key, reader| {
        match key.name() {
            "id" => response.id = reader.optional(Reader::text)?.unwrap_or_default(),
            "model" => response.model = reader.optional(Reader::text)?.unwrap_or_default(),
            // Some hosts write seconds with a fraction, Azure writes 0.
            "created" => response.created_s = count(reader.raw()?.as_bytes()).filter(|created| *created > 0),
            "service_tier" => response.service_tier = reader.optional(Reader::text)?,
            "error" => refuse_error(reader)?,
            "usage" if reader.kind()? == json::Kind::Object => response.usage = usage(reader)?,
            "choices" => {
                let list = choices.insert(Vec::new());
                reader.array(|at, reader| {
                    list.push(read_choice(reader, at, traits, &mut usage_elsewhere)?);
                    Ok(())
                })?;
            }
            name if OF_SERVICE.contains(&name) => reader.skip()?,
            _ => keep_unknown(&key, reader, &mut response.rest)?,
        }
        Ok(())
    })?;
    let mut choices = choices.filter(|choices| !choices.is_empty()).ok_or_else(|| Malformed::new("must have choices"))?;
    choices.sort_by_key(|(index, _)| *index);
    response.choices = choices.into_iter().map(|(_, choice)| choice).collect();
    response.usage = response.usage.or(usage_elsewhere);
    name_calls(&mut response);
    Ok(response)
}

/// An error under a good status is no reply; `null` beside a good reply is no error.
fn refuse_error(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let value = reader.raw()?;
    if is_error(value.as_bytes()) {
        return Err(Malformed::new(format!("says: {}", error::read(value.as_bytes()).message)));
    }
    Ok(())
}

fn read_choice<'a>(
    reader: &mut Reader<'a>,
    at: usize,
    traits: &Traits,
    usage: &mut Option<fairlead_ir::Usage>,
) -> Result<(u64, Choice<'a>), Malformed> {
    let origin = Origin::item("choices", at);
    let (mut index, mut said, mut choice) = (at as u64, Said::default(), Choice::default());
    let (mut finish, mut native, mut sequence) = (None, None, None);
    let word = |reader: &mut Reader<'a>| Ok::<_, Malformed>(reader.optional(Reader::text)?.filter(|word| !word.is_empty()));
    reader.object(|key, reader| {
        match (key.name(), reader.kind()?) {
            ("index", json::Kind::Number) => index = reader.whole()?,
            ("message", json::Kind::Object) => read_message(reader, origin, &mut said)?,
            ("finish_reason", _) => finish = word(reader)?,
            ("native_finish_reason", _) => native = word(reader)?,
            // Named by vLLM and SGLang; a number is the id of the usual end.
            ("stop_reason" | "matched_stop", json::Kind::String) => sequence = word(reader)?,
            ("logprobs", json::Kind::Object) => choice.logprobs = Some(reader.raw()?),
            // Moonshot's place.
            ("usage", json::Kind::Object) => {
                *usage = read_usage_of(reader.raw()?.as_bytes(), traits.reasoning_outside_completion).or(*usage);
            }
            ("error", _) => refuse_error(reader)?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    choice.blocks = said.into_blocks();
    if traits.think_tags {
        choice.blocks = take_thoughts_out(choice.blocks);
    }
    choice.stop = stop(&choice.blocks, finish, native, sequence);
    Ok((index, choice))
}

fn read_message<'a>(reader: &mut Reader<'a>, origin: Origin, said: &mut Said<'a>) -> Result<(), Malformed> {
    reader.object(|key, reader| if said.take(&key, reader, origin, &OF_REPLY)? { Ok(()) } else { reader.skip() })
}

fn stop<'a>(blocks: &[Block<'a>], finish: Option<Text<'a>>, native: Option<Text<'a>>, sequence: Option<Text<'a>>) -> Option<Stop<'a>> {
    let has_calls = blocks.iter().any(|block| matches!(block.kind, Kind::ToolCall(_)));
    let Some(word) = finish else {
        // Calls are a reason by themselves.
        let reason = StopReason::ToolCalls;
        return has_calls.then(|| Stop { reason, native: native.unwrap_or_default(), sequence: None, details: None });
    };
    let reason = match stop_reason(&plain(&word).unwrap_or_default()) {
        StopReason::End if sequence.is_some() => StopReason::StopSequence,
        reason => reason,
    };
    let refused = blocks.iter().any(|block| matches!(block.kind, Kind::Refusal(_)));
    Some(Stop { reason: settled(reason, has_calls, refused), native: native.unwrap_or(word), sequence, details: None })
}

/// Thoughts between tags at the start of a text become thoughts.
fn take_thoughts_out(blocks: Vec<Block<'_>>) -> Vec<Block<'_>> {
    let mut taken = Vec::with_capacity(blocks.len() + 1);
    let mut is_first = true;
    for mut block in blocks {
        let Kind::Text { text, .. } = &mut block.kind else {
            taken.push(block);
            continue;
        };
        if std::mem::take(&mut is_first) {
            let (thought, said) = split(text);
            if !thought.is_empty() {
                taken.push(plain_thought(thought, block.origin));
            }
            *text = said;
        }
        if !matches!(&block.kind, Kind::Text { text, citations } if text.is_empty() && citations.is_empty()) {
            taken.push(block);
        }
    }
    taken
}

/// What was thought and what was said.
fn split(text: &Text<'_>) -> (Text<'static>, Text<'static>) {
    let (mut thought, mut said) = (Vec::new(), Vec::new());
    let mut sink = |piece: Piece<'_>| match piece {
        Piece::Thought(text) => thought.extend_from_slice(text),
        Piece::Said(text) => said.extend_from_slice(text),
    };
    let mut tags = Tags::default();
    tags.feed(text.as_bytes(), &mut sink);
    tags.finish(&mut sink);
    (Text::owned(thought), Text::owned(said))
}

/// Gives ids to calls that came without, as the reader of streams does.
fn name_calls(response: &mut Response<'_>) {
    let salt = salt(response.id.as_bytes(), response.model.as_bytes(), response.created_s);
    for (at, choice) in response.choices.iter_mut().enumerate() {
        let mut number = 0;
        for block in &mut choice.blocks {
            if let Kind::ToolCall(call) = &mut block.kind {
                if call.id.is_empty() {
                    call.id = made_id(salt, at as u32, number);
                }
                number += 1;
            }
        }
    }
}

/// What tells this reply's made ids from another's.
pub(crate) fn salt(id: &[u8], model: &[u8], created_s: Option<u64>) -> u32 {
    fnv1a(&[id, b"\0", model, b"\0", &created_s.unwrap_or(0).to_le_bytes()].concat())
}

/// An id for a call that came without one: the same in a stream and in a whole reply.
pub(crate) fn made_id(salt: u32, choice: u32, number: u32) -> Text<'static> {
    Text::owned(format!("call_{salt:08x}{choice:02x}{number:04x}").into_bytes())
}
