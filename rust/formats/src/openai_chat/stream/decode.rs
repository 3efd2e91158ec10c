//! Chunks into events, whatever a host does to them.

use fairlead_ir::{ErrorKind, Event, Text};

use super::DONE;
use super::choice::{Choice, Sink};
use super::frame::{self, Frame, Hole};
use crate::decimal::count;
use crate::error;
use crate::openai_chat::response::decode::salt;
use crate::openai_chat::wire::read_usage_of;
use crate::read::Malformed;
use crate::text::{escape, is_sound};
use crate::traits::Traits;

/// So many choices a stream may have: OpenAI's own limit.
const MAX_CHOICES: u64 = 128;
/// The longest chunk that is remembered.
const MAX_PLAIN_BYTES: usize = 4 << 10;
/// So often chunks may be remembered in vain.
const MAX_MISSES: u32 = 16;

/// Reads a stream, event by event.
#[derive(Debug)]
pub(crate) struct Decoder {
    traits: Traits,
    salt: u32,
    started: bool,
    tier_told: bool,
    ended: bool,
    choices: Vec<Choice>,
    plain: Plain,
}

/// The last chunk that held a piece of text and nothing else: most chunks differ from it in that text only, and need not be taken apart.
#[derive(Debug, Default)]
struct Plain {
    before: Vec<u8>,
    behind: Vec<u8>,
    /// What the text is.
    hole: Hole,
    /// The place of its choice in the list.
    choice: usize,
    misses: u32,
}

impl Decoder {
    /// At the start of a stream from an endpoint with these traits.
    pub(crate) fn new(traits: Traits) -> Decoder {
        Decoder { traits, salt: 0, started: false, tier_told: false, ended: false, choices: Vec::new(), plain: Plain::default() }
    }

    /// Takes one event: its name, if it has one, and its data.
    ///
    /// # Errors
    /// The data are no chunk. What was told before stands.
    pub(crate) fn event(&mut self, name: Option<&[u8]>, data: &[u8], sink: &mut dyn FnMut(Event<'_>)) -> Result<(), Malformed> {
        if self.ended {
            return Ok(());
        }
        if let Some(text) = self.plain.find(data) {
            return self.choices[self.plain.choice].go_on(self.plain.hole, text, sink);
        }
        match data.trim_ascii() {
            [] => Ok(()),
            // Vertex's partner models send comments as data.
            [b':', ..] => {
                sink(Event::KeepAlive);
                Ok(())
            }
            DONE => {
                self.end(sink);
                Ok(())
            }
            data if name == Some(b"error") => {
                self.fail(data, sink);
                Ok(())
            }
            data => self.chunk(data, sink),
        }
    }

    /// The connection ended. A stream whose every choice said why it ended is complete without `[DONE]`.
    pub(crate) fn finish(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        if self.ended {
            return;
        }
        if !self.choices.is_empty() && self.choices.iter().all(Choice::is_finished) {
            return self.end(sink);
        }
        self.ended = true;
        sink(Event::Fail {
            kind: ErrorKind::ProviderUnavailable,
            message: Text::word("the provider's stream ended before the reply was complete"),
            code: Some(Text::word("upstream_truncated")),
        });
    }

    fn chunk(&mut self, data: &[u8], sink: Sink<'_>) -> Result<(), Malformed> {
        let frame = Frame::read(data)?;
        // An error beside choices is an error, not an empty success.
        if let Some(error) = frame.error {
            self.fail(error, sink);
            return Ok(());
        }
        if !frame.says_something() {
            sink(Event::KeepAlive);
            return Ok(());
        }
        self.start(&frame, sink);
        self.tier(&frame, sink);
        let mut usage = frame.usage;
        for (at, choice) in frame.first.iter().chain(&frame.others).enumerate() {
            if let Some(error) = choice.error {
                self.fail(error, sink);
                return Ok(());
            }
            let place = self.place(choice, at)?;
            self.choices[place].take(choice, sink).map_err(|fault| fault.in_element(at).in_member("choices"))?;
            usage = usage.or(choice.usage);
            if self.choices[place].has_failed() {
                self.fail(b"", sink);
                return Ok(());
            }
        }
        if let Some(usage) = usage.and_then(|usage| read_usage_of(usage, self.traits.reasoning_outside_completion)) {
            sink(Event::Usage(usage));
        } else if let (Some(choice), true) = (&frame.first, frame.others.is_empty()) {
            self.remember(data, choice);
        }
        Ok(())
    }

    fn start(&mut self, frame: &Frame<'_>, sink: Sink<'_>) {
        if self.started {
            return;
        }
        self.started = true;
        let text = |value: Option<&[u8]>| match value {
            Some([b'"', inside @ .., b'"']) if is_sound(inside) => Text::owned(inside.to_vec()),
            _ => Text::EMPTY,
        };
        let (id, model) = (text(frame.id), text(frame.model));
        let created_s = frame.created.and_then(count).filter(|created| *created > 0);
        self.salt = salt(id.as_bytes(), model.as_bytes(), created_s);
        sink(Event::Start { id, model, created_s });
    }

    /// Every chunk may say it; the first one counts.
    fn tier(&mut self, frame: &Frame<'_>, sink: Sink<'_>) {
        if let (Some([b'"', inside @ .., b'"']), false) = (frame.tier, self.tier_told)
            && is_sound(inside)
        {
            self.tier_told = true;
            sink(Event::Tier(Text::escaped(inside)));
        }
    }

    /// The place in the list of the choice that this is about.
    fn place(&mut self, choice: &frame::Choice<'_>, at: usize) -> Result<usize, Malformed> {
        let index = choice.index.unwrap_or(at as u64);
        if let Some(place) = self.choices.iter().position(|choice| u64::from(choice.index) == index) {
            return Ok(place);
        }
        if index >= MAX_CHOICES {
            let fault = Malformed::new(format!("must be below {MAX_CHOICES}"));
            return Err(fault.in_member("index").in_element(at).in_member("choices"));
        }
        self.choices.push(Choice::new(index as u32, self.salt, self.traits.think_tags));
        Ok(self.choices.len() - 1)
    }

    fn remember(&mut self, data: &[u8], choice: &frame::Choice<'_>) {
        let is_plain = choice.finish.is_none() && choice.logprobs.is_none() && choice.sequence.is_none();
        if !is_plain || data.len() > MAX_PLAIN_BYTES || self.plain.misses > MAX_MISSES {
            return;
        }
        let index = choice.index.unwrap_or(0);
        let place = self.choices.iter().position(|choice| u64::from(choice.index) == index);
        if let (Some(place), Some((hole, text))) = (place, choice.delta.sole_text()) {
            self.plain.learn(data, text, hole, place);
        }
    }

    fn end(&mut self, sink: Sink<'_>) {
        self.ended = true;
        if !self.started {
            sink(Event::Start { id: Text::EMPTY, model: Text::EMPTY, created_s: None });
        }
        if self.choices.is_empty() {
            self.choices.push(Choice::new(0, self.salt, false));
        }
        self.choices.iter_mut().for_each(|choice| choice.stop(sink));
        sink(Event::End);
    }

    fn fail(&mut self, data: &[u8], sink: Sink<'_>) {
        self.ended = true;
        let error = error::read(data);
        let code = (!error.code.is_empty()).then(|| escape(&error.code));
        sink(Event::Fail { kind: error.kind, message: escape(&error.message), code });
    }
}

impl Plain {
    /// The text of a chunk that differs from the remembered one in its text only.
    fn find<'d>(&self, data: &'d [u8]) -> Option<&'d [u8]> {
        if self.before.is_empty() {
            return None;
        }
        let text = data.strip_prefix(self.before.as_slice())?.strip_suffix(self.behind.as_slice())?;
        is_sound(text).then_some(text)
    }

    /// Remembers a chunk with the text that was found in it.
    fn learn(&mut self, data: &[u8], text: &[u8], hole: Hole, choice: usize) {
        let at = (text.as_ptr() as usize).wrapping_sub(data.as_ptr() as usize);
        let (Some(before), Some(behind)) = (data.get(..at), data.get(at.saturating_add(text.len())..)) else { return };
        self.misses += u32::from(!self.before.is_empty());
        self.before.clear();
        self.before.extend_from_slice(before);
        self.behind.clear();
        self.behind.extend_from_slice(behind);
        (self.hole, self.choice) = (hole, choice);
    }
}
