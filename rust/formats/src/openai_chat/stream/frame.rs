//! One chunk, taken apart in one pass: values as they lie, looked at later.

use crate::json::Kind;
use crate::json::walk::{Cursor, as_u64};
use crate::openai_chat::wire::is_error;
use crate::read::Malformed;

/// What a chunk holds. Values are as written.
#[derive(Debug, Default)]
pub(super) struct Frame<'d> {
    pub(super) id: Option<&'d [u8]>,
    pub(super) model: Option<&'d [u8]>,
    pub(super) created: Option<&'d [u8]>,
    pub(super) tier: Option<&'d [u8]>,
    pub(super) usage: Option<&'d [u8]>,
    /// The chunk reports an error, itself or inside `x_groq`.
    pub(super) error: Option<&'d [u8]>,
    /// The first choice; nearly always the only one.
    pub(super) first: Option<Choice<'d>>,
    pub(super) others: Vec<Choice<'d>>,
}

/// One choice of a chunk.
#[derive(Debug, Default)]
pub(super) struct Choice<'d> {
    pub(super) index: Option<u64>,
    pub(super) delta: Parts<'d>,
    pub(super) finish: Option<&'d [u8]>,
    pub(super) native: Option<&'d [u8]>,
    pub(super) sequence: Option<&'d [u8]>,
    pub(super) logprobs: Option<&'d [u8]>,
    pub(super) usage: Option<&'d [u8]>,
    pub(super) error: Option<&'d [u8]>,
}

/// What a delta holds.
#[derive(Debug, Default)]
pub(super) struct Parts<'d> {
    pub(super) content: Option<&'d [u8]>,
    pub(super) reasoning: Option<&'d [u8]>,
    pub(super) details: Option<&'d [u8]>,
    pub(super) refusal: Option<&'d [u8]>,
    pub(super) images: Option<&'d [u8]>,
    pub(super) audio: Option<&'d [u8]>,
    pub(super) annotations: Option<&'d [u8]>,
    pub(super) calls: Option<&'d [u8]>,
    pub(super) function_call: Option<&'d [u8]>,
}

impl<'d> Frame<'d> {
    pub(super) fn read(data: &'d [u8]) -> Result<Frame<'d>, Malformed> {
        let mut frame = Frame::default();
        let mut cursor = Cursor::new(data);
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            match (&*key, cursor.kind()?) {
                (_, Kind::Null) => drop(cursor.skip()?),
                (b"choices", Kind::Array) => frame.read_choices(&mut cursor)?,
                (b"id", Kind::String) => frame.id = Some(cursor.skip()?),
                (b"model", Kind::String) => frame.model = Some(cursor.skip()?),
                (b"created", Kind::Number) => frame.created = Some(cursor.skip()?),
                (b"service_tier", Kind::String) => frame.tier = Some(cursor.skip()?),
                (b"usage", Kind::Object) => frame.usage = Some(cursor.skip()?),
                (b"error", _) => frame.error = Some(cursor.skip()?).filter(|value| is_error(value)).map(|_| data).or(frame.error),
                (b"x_groq", Kind::Object) => frame.read_groq(&mut cursor)?,
                _ => drop(cursor.skip()?),
            }
        }
        cursor.end()?;
        Ok(frame)
    }

    /// Whether it says anything at all; some hosts begin with a chunk that does not.
    pub(super) fn says_something(&self) -> bool {
        self.first.is_some() || self.usage.is_some()
    }

    fn read_choices(&mut self, cursor: &mut Cursor<'d>) -> Result<(), Malformed> {
        let mut level = cursor.enter(b'[')?;
        while cursor.next_element(&mut level)? {
            let choice = Choice::read(cursor)?;
            if self.first.is_none() {
                self.first = Some(choice);
            } else {
                self.others.push(choice);
            }
        }
        Ok(())
    }

    /// Groq's own corner: usage and errors stand there as well.
    fn read_groq(&mut self, cursor: &mut Cursor<'d>) -> Result<(), Malformed> {
        let whole = cursor.clone().skip()?;
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_key(&mut level)? {
            let kind = cursor.kind()?;
            let value = cursor.skip()?;
            match (key, kind) {
                (b"usage", Kind::Object) => self.usage = self.usage.or(Some(value)),
                (b"error", _) if is_error(value) => self.error = self.error.or(Some(whole)),
                _ => {}
            }
        }
        Ok(())
    }
}

impl<'d> Choice<'d> {
    fn read(cursor: &mut Cursor<'d>) -> Result<Choice<'d>, Malformed> {
        let mut choice = Choice::default();
        let mut has_delta = false;
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            match (&*key, cursor.kind()?) {
                (_, Kind::Null) => drop(cursor.skip()?),
                (b"index", Kind::Number) => choice.index = as_u64(cursor.skip()?),
                (b"delta", Kind::Object) => {
                    choice.delta = Parts::read(cursor)?;
                    has_delta = true;
                }
                // A whole reply in one chunk; Perplexity repeats the text so far beside each delta.
                (b"message", Kind::Object) if !has_delta => choice.delta = Parts::read(cursor)?,
                (b"finish_reason", Kind::String) => choice.finish = word(cursor.skip()?),
                (b"native_finish_reason", Kind::String) => choice.native = word(cursor.skip()?),
                (b"stop_reason" | b"matched_stop", Kind::String) => choice.sequence = word(cursor.skip()?),
                (b"logprobs", Kind::Object) => choice.logprobs = Some(cursor.skip()?),
                (b"usage", Kind::Object) => choice.usage = Some(cursor.skip()?),
                (b"error", _) => choice.error = Some(cursor.skip()?).filter(|value| is_error(value)),
                _ => drop(cursor.skip()?),
            }
        }
        Ok(choice)
    }
}

impl<'d> Parts<'d> {
    fn read(cursor: &mut Cursor<'d>) -> Result<Parts<'d>, Malformed> {
        let mut parts = Parts::default();
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            match (&*key, cursor.kind()?) {
                (_, Kind::Null) => drop(cursor.skip()?),
                (b"content", _) => parts.content = Some(cursor.skip()?),
                // One and the same text under two names, where a host serves two kinds of clients.
                (b"reasoning", Kind::String) => parts.reasoning = Some(cursor.skip()?),
                (b"reasoning_content", Kind::String) => parts.reasoning = parts.reasoning.or(Some(cursor.skip()?)),
                (b"reasoning_details", Kind::Array) => parts.details = Some(cursor.skip()?),
                (b"refusal", Kind::String) => parts.refusal = Some(cursor.skip()?),
                (b"images", Kind::Array) => parts.images = Some(cursor.skip()?),
                (b"audio", Kind::Object) => parts.audio = Some(cursor.skip()?),
                (b"annotations", Kind::Array) => parts.annotations = Some(cursor.skip()?),
                (b"tool_calls", Kind::Array) => parts.calls = Some(cursor.skip()?),
                (b"function_call", Kind::Object) => parts.function_call = Some(cursor.skip()?),
                _ => drop(cursor.skip()?),
            }
        }
        Ok(parts)
    }

    /// The piece of text in this delta, if that is all there is in it.
    pub(super) fn sole_text(&self) -> Option<(Hole, &'d [u8])> {
        let Parts { details, refusal, images, audio, annotations, function_call, .. } = self;
        if [details, refusal, images, audio, annotations, function_call].iter().any(|part| part.is_some()) {
            return None;
        }
        // Many hosts send an empty text beside everything else.
        let content = self.content.filter(|content| *content != b"\"\"");
        match (content, self.reasoning, self.calls) {
            (Some(text), None, None) => Some((Hole::Content, word(text)?)),
            (None, Some(text), None) => Some((Hole::Reasoning, word(text)?)),
            (None, None, Some(calls)) => Fragment::sole_text(calls),
            _ => None,
        }
    }
}

/// What the text that differs from chunk to chunk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Hole {
    #[default]
    Content,
    Reasoning,
    /// Arguments of the call with this number.
    Arguments(Option<u64>),
}

/// The inside of a string that is not empty.
fn word(value: &[u8]) -> Option<&[u8]> {
    match value {
        [b'"', inside @ .., b'"'] if !inside.is_empty() => Some(inside),
        _ => None,
    }
}

/// A piece of a tool call.
#[derive(Debug, Default)]
pub(super) struct Fragment<'d> {
    pub(super) index: Option<u64>,
    pub(super) id: Option<&'d [u8]>,
    pub(super) name: Option<&'d [u8]>,
    /// As written: a string with a piece of the text, or with some hosts a whole value.
    pub(super) arguments: Option<&'d [u8]>,
    /// Of a tool that takes free text.
    pub(super) free: bool,
}

impl<'d> Fragment<'d> {
    /// Reads the next element of `tool_calls`.
    pub(super) fn read(cursor: &mut Cursor<'d>) -> Result<Fragment<'d>, Malformed> {
        let mut fragment = Fragment::default();
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            match (&*key, cursor.kind()?) {
                (b"index", Kind::Number) => fragment.index = as_u64(cursor.skip()?),
                (b"id", Kind::String) => fragment.id = word(cursor.skip()?),
                (b"function", Kind::Object) => fragment.read_function(cursor)?,
                (b"custom", Kind::Object) => {
                    fragment.free = true;
                    fragment.read_function(cursor)?;
                }
                _ => drop(cursor.skip()?),
            }
        }
        Ok(fragment)
    }

    /// The piece of arguments in this list of fragments, if it goes on with one call and that is all.
    fn sole_text(calls: &'d [u8]) -> Option<(Hole, &'d [u8])> {
        let mut cursor = Cursor::new(calls);
        let mut level = cursor.enter(b'[').ok()?;
        let fragment = cursor.next_element(&mut level).ok()?.then(|| Fragment::read(&mut cursor).ok())??;
        let is_last = !cursor.next_element(&mut level).ok()?;
        let goes_on = fragment.id.is_none() && fragment.name.is_none() && !fragment.free;
        let text = word(fragment.arguments?)?;
        (is_last && goes_on).then_some((Hole::Arguments(fragment.index), text))
    }

    /// Reads the older `function_call`.
    pub(super) fn read_older(cursor: &mut Cursor<'d>) -> Result<Fragment<'d>, Malformed> {
        let mut fragment = Fragment::default();
        fragment.read_function(cursor)?;
        Ok(fragment)
    }

    fn read_function(&mut self, cursor: &mut Cursor<'d>) -> Result<(), Malformed> {
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            match (&*key, cursor.kind()?) {
                (b"name", Kind::String) => self.name = word(cursor.skip()?),
                (_, Kind::Null) => drop(cursor.skip()?),
                (b"arguments" | b"input", _) => self.arguments = Some(cursor.skip()?),
                _ => drop(cursor.skip()?),
            }
        }
        Ok(())
    }
}
