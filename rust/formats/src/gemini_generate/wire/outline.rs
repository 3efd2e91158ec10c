//! What a reply or chunk says, as far as the byte path cares: read in one pass, nothing built.

use core::ops::Range;

use fairlead_ir::Finish;

use super::{Figures, stop_reason};
use crate::json::walk::{self, Cursor, as_str};
use crate::json::{Kind, Reject};
use crate::openai_chat::wire::{is_error, is_hollow};
use crate::reply::Seen;

/// What a reply or chunk says.
#[derive(Debug, Default)]
pub(crate) struct Outline<'a> {
    pub(crate) id: Option<&'a [u8]>,
    pub(crate) model: Option<&'a [u8]>,
    /// A top-level `error` that reports one.
    pub(crate) error: bool,
    /// Where `usageMetadata` lies, if it is an object.
    pub(crate) usage: Option<Range<usize>>,
    /// Candidates there are.
    pub(crate) candidates: usize,
    /// Any text, thought, media or call.
    pub(crate) content: bool,
    /// Bytes of texts and calls as written in JSON, for an estimate.
    pub(crate) content_bytes: u64,
    pub(crate) calls: bool,
    /// The first candidate's reason.
    finish: Option<&'a [u8]>,
    /// Why the prompt got no answer.
    blocked: Option<&'a [u8]>,
    /// Web searches that were run.
    searches: u64,
}

impl<'a> Outline<'a> {
    pub(crate) fn read(object: &'a [u8]) -> Result<Outline<'a>, Reject> {
        let mut outline = Outline::default();
        let mut cursor = Cursor::new(object);
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            match (&*key, cursor.kind()?) {
                (b"candidates", Kind::Array) => outline.read_candidates(&mut cursor)?,
                (b"usageMetadata", Kind::Object) => {
                    let start = cursor.at();
                    let length = cursor.skip()?.len();
                    outline.usage = Some(start..start + length);
                }
                (b"promptFeedback", Kind::Object) => {
                    outline.blocked = walk::member(cursor.skip()?, "blockReason")?.map(|reason| reason.value);
                }
                (b"responseId", _) => outline.id = Some(cursor.skip()?),
                (b"modelVersion", _) => outline.model = Some(cursor.skip()?),
                (b"error", _) => outline.error |= is_error(cursor.skip()?),
                _ => drop(cursor.skip()?),
            }
        }
        cursor.end()?;
        Ok(outline)
    }

    /// Takes all of it into `seen`; `figures` are those of the stream so far. Whether there is a `usageMetadata`,
    /// with new ones or without: the cost stands there.
    pub(crate) fn tell(&self, object: &[u8], figures: &mut Figures, calls: &mut bool, seen: &mut Seen) -> bool {
        seen.take_names(self.id, self.model, None);
        seen.take_content(self.content, self.content_bytes);
        *calls |= self.calls;
        figures.web_searches = figures.web_searches.max(self.searches);
        self.tell_finish(*calls, seen);
        let Some(usage) = self.usage.clone().and_then(|range| object.get(range)) else { return false };
        figures.merge(usage);
        seen.usage_range = self.usage.clone();
        figures.figured().into_iter().for_each(|figured| seen.take_figures(figured));
        true
    }

    /// Some models say `STOP` on every chunk: the last word counts. It is the same word for an answer and for calls.
    fn tell_finish(&self, calls: bool, seen: &mut Seen) {
        let word = |value: Option<&'a [u8]>| value.and_then(as_str).filter(|word| !word.is_empty() && !word.ends_with("_UNSPECIFIED"));
        if let Some(native) = word(self.finish) {
            let finish = match stop_reason(native.as_bytes()).finish() {
                Finish::Stop if calls => Finish::ToolCalls,
                finish => finish,
            };
            seen.take_finish(finish.name(), &native, false);
        } else if let (Some(native), 0) = (word(self.blocked), self.candidates) {
            seen.take_finish(Finish::ContentFilter.name(), &native, false);
        }
    }

    fn read_candidates(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Reject> {
        let mut level = cursor.enter(b'[')?;
        while cursor.next_element(&mut level)? {
            self.candidates += 1;
            match cursor.kind()? {
                Kind::Object => self.read_candidate(cursor)?,
                _ => drop(cursor.skip()?),
            }
        }
        Ok(())
    }

    fn read_candidate(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Reject> {
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            match (&*key, cursor.kind()?) {
                (b"content", Kind::Object) => self.read_content(cursor)?,
                (b"finishReason", Kind::String) => self.finish = self.finish.or(Some(cursor.skip()?)),
                (b"groundingMetadata", Kind::Object) => {
                    let queries = walk::member(cursor.skip()?, "webSearchQueries")?.filter(|queries| queries.kind == Kind::Array);
                    self.searches += queries.map_or(0, |queries| walk::elements(queries.value).map_while(Result::ok).count() as u64);
                }
                _ => drop(cursor.skip()?),
            }
        }
        Ok(())
    }

    fn read_content(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Reject> {
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            if &*key != b"parts" || cursor.kind()? != Kind::Array {
                cursor.skip()?;
                continue;
            }
            let mut parts = cursor.enter(b'[')?;
            while cursor.next_element(&mut parts)? {
                match cursor.kind()? {
                    Kind::Object => self.read_part(cursor)?,
                    _ => drop(cursor.skip()?),
                }
            }
        }
        Ok(())
    }

    fn read_part(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Reject> {
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            match (&*key, cursor.kind()?) {
                (b"text", Kind::String) => {
                    let length = cursor.skip()?.len() as u64 - 2;
                    self.content |= length > 0;
                    self.content_bytes = self.content_bytes.saturating_add(length);
                }
                (b"functionCall", Kind::Object) => {
                    let call = cursor.skip()?;
                    self.calls = true;
                    self.content = true;
                    self.content_bytes = self.content_bytes.saturating_add(if is_hollow(call) { 0 } else { call.len() as u64 });
                }
                // Proves thoughts that are not shown.
                (b"thoughtSignature", Kind::String) => self.content |= cursor.skip()?.len() > 2,
                // Media, code and what is still to come; their bytes are no measure of tokens.
                (_, Kind::Object) => self.content |= !is_hollow(cursor.skip()?),
                _ => drop(cursor.skip()?),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn check(object: &str, finish: Option<Finish>, content: bool, bytes: u64, searches: u64) {
        let (mut seen, mut figures, mut calls) = (Seen::default(), Figures::default(), false);
        let outline = Outline::read(object.as_bytes()).unwrap();
        outline.tell(object.as_bytes(), &mut figures, &mut calls, &mut seen);
        assert_eq!((seen.finish, seen.content, seen.content_bytes, figures.web_searches), (finish, content, bytes, searches), "{object}");
    }

    #[test]
    fn what_a_chunk_says() {
        check("{}", None, false, 0, 0);
        check(r#"{"candidates":[{"content":{"parts":[{"text":""}]},"finishReason":"STOP"}]}"#, Some(Finish::Stop), false, 0, 0);
        check(r#"{"candidates":[{"content":{"parts":[{"text":"ab"},{"text":"c","thought":true}]}}]}"#, None, true, 3, 0);
        let call = r#"{"candidates":[{"finishReason":"STOP","content":{"parts":[{"functionCall":{"name":"f"}}]}}]}"#;
        check(call, Some(Finish::ToolCalls), true, 12, 0);
        check(r#"{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"s"}]}}]}"#, None, true, 0, 0);
        check(r#"{"candidates":[{"content":{"parts":[{"inlineData":{"data":"x"}}]}}]}"#, None, true, 0, 0);
        check(r#"{"candidates":[{"finishReason":"FINISH_REASON_UNSPECIFIED"}]}"#, None, false, 0, 0);
        check(r#"{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}"#, Some(Finish::Error), false, 0, 0);
        check(r#"{"candidates":[{"finishReason":"CONTINUATION"}]}"#, Some(Finish::Length), false, 0, 0);
        check(r#"{"promptFeedback":{"blockReason":"OTHER"}}"#, Some(Finish::ContentFilter), false, 0, 0);
        check(r#"{"candidates":[{}],"promptFeedback":{"blockReason":"OTHER"}}"#, None, false, 0, 0);
        check(r#"{"candidates":[{"groundingMetadata":{"webSearchQueries":["a","b"]}}]}"#, None, false, 0, 2);
    }
}
