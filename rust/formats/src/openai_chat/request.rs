//! What a chat request says beside the members that both dialects have.

mod assistant;
pub(crate) mod decode;
pub(crate) mod encode;
mod messages;
mod parts;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
mod tools;
pub(crate) mod turns;

use core::ops::Range;

use crate::json::Kind;
use crate::json::walk::{self, as_bool};
use crate::request::{Body, FIRST_OWN, LimitName, Refusal, keys};
use crate::splice::{Edits, MemberEdits, Misplaced};

const STREAM_OPTIONS: usize = FIRST_OWN;
const MAX_COMPLETION_TOKENS: usize = FIRST_OWN + 1;
const MAX_TOKENS: usize = FIRST_OWN + 2;
const CHOICES: usize = FIRST_OWN + 3;
pub(crate) const TOOLS: usize = FIRST_OWN + 4;
const EFFORT: usize = FIRST_OWN + 5;
const REASONING: usize = FIRST_OWN + 6;
pub(crate) const CACHE_KEY: usize = FIRST_OWN + 7;
pub(crate) const METADATA: usize = FIRST_OWN + 8;
pub(crate) const WEB_SEARCH_OPTIONS: usize = FIRST_OWN + 9;

/// The members that are looked for.
pub(crate) static KEYS: [&str; FIRST_OWN + 10] = keys(
    "messages",
    [
        "stream_options",
        "max_completion_tokens",
        "max_tokens",
        "n",
        "tools",
        "reasoning_effort",
        "reasoning",
        "prompt_cache_key",
        "metadata",
        "web_search_options",
    ],
);

/// The cap on completion tokens; of the old and the new name the larger one, so that a reservation is never too small.
pub(crate) fn max_completion_tokens<F: AsRef<[u8]>>(body: &Body<'_, F>) -> Result<Option<u64>, Refusal> {
    let new = body.whole_number(MAX_COMPLETION_TOKENS)?;
    Ok(new.max(body.whole_number(MAX_TOKENS)?))
}

/// Says the limit under one name.
pub(crate) fn name_limit(limit: Option<u64>, name: LimitName, changes: &mut MemberEdits<'_, '_>) {
    let (place, other, name) = match name {
        LimitName::Newer => (MAX_COMPLETION_TOKENS, MAX_TOKENS, "max_completion_tokens"),
        LimitName::Older => (MAX_TOKENS, MAX_COMPLETION_TOKENS, "max_tokens"),
    };
    if let Some(limit) = limit {
        changes.remove(other);
        changes.set(place, name, limit.to_string().into_bytes());
    }
}

/// How many choices are asked for.
pub(crate) fn choices<F: AsRef<[u8]>>(body: &Body<'_, F>) -> Result<u64, Refusal> {
    Ok(body.whole_number(CHOICES)?.unwrap_or(1))
}

/// Whether there are tools, and the model may think before it calls them: some models take that in Responses only.
pub(crate) fn thinks_with_tools<F: AsRef<[u8]>>(body: &Body<'_, F>) -> bool {
    let has_tools = body.value(TOOLS).is_some_and(|(kind, range)| kind == Kind::Array && body.text(range).contains(&b'{'));
    has_tools && body.value(EFFORT).is_none_or(|(_, range)| *body.text(range) != *b"\"none\"")
}

/// Whether the wish about thinking is told in OpenRouter's own object.
pub(crate) fn wishes_in_an_object<F: AsRef<[u8]>>(body: &Body<'_, F>) -> bool {
    body.value(REASONING).is_some_and(|(kind, _)| kind != Kind::Null)
}

/// What stands in `stream_options`, and how `include_usage` gets there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamOptions {
    /// What the client said about `include_usage`.
    pub(crate) include_usage: Option<bool>,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// There is no object yet.
    Nowhere,
    /// The value of `include_usage`.
    Value(Range<usize>),
    /// Behind the object's `{`; whether members follow.
    Inside(usize, bool),
}

impl StreamOptions {
    pub(crate) fn read<F: AsRef<[u8]>>(body: &Body<'_, F>) -> Result<StreamOptions, Refusal> {
        let mut options = StreamOptions { include_usage: None, place: Place::Nowhere };
        let Some((kind, range)) = body.value(STREAM_OPTIONS).filter(|(kind, _)| *kind != Kind::Null) else { return Ok(options) };
        if kind != Kind::Object {
            return Err(body.wrong_type(STREAM_OPTIONS, "an object"));
        }
        let text = body.text(range.clone());
        let mut any_member = false;
        for member in walk::members(&text).map_while(Result::ok) {
            any_member = true;
            if !member.is("include_usage") {
                continue;
            }
            if matches!(options.place, Place::Value(_)) {
                return Err(Refusal::field("stream_options", "\"stream_options.include_usage\" occurs twice; send it once".to_owned()));
            }
            options.include_usage = match (member.kind, as_bool(member.value)) {
                (Kind::Null, _) => None,
                (_, Some(wish)) => Some(wish),
                _ => return Err(Refusal::field("stream_options", "\"stream_options.include_usage\" must be true or false".to_owned())),
            };
            options.place = Place::Value(range.start + member.value_range.start..range.start + member.value_range.end);
        }
        if options.place == Place::Nowhere {
            options.place = Place::Inside(range.start + 1, any_member);
        }
        Ok(options)
    }

    /// Asks the provider for usage at the stream's end, whatever the client wished: it is what the bill is made from.
    pub(crate) fn ask_for_usage(&self, changes: &mut MemberEdits<'_, '_>, edits: &mut Edits) -> Result<(), Misplaced> {
        match &self.place {
            _ if self.include_usage == Some(true) => Ok(()),
            Place::Nowhere => {
                changes.set(STREAM_OPTIONS, "stream_options", br#"{"include_usage":true}"#.as_slice());
                Ok(())
            }
            Place::Value(range) => edits.replace(range.clone(), b"true"),
            Place::Inside(at, true) => edits.insert(*at, br#""include_usage":true,"#),
            Place::Inside(at, false) => edits.insert(*at, br#""include_usage":true"#),
        }
    }
}
