//! What the caller's dialect has no place for in a stream. A stream's writer passes over such events in silence; this tells of them.

use fairlead_ir::block::{Media, MediaClass, MediaSource};
use fairlead_ir::{Delta, Dialect, Event, Head, Losses, Severity};

use super::tier;
use crate::text;

/// The losses of one stream, each told once.
#[derive(Debug)]
pub struct StreamLosses {
    source: Dialect,
    caller: Dialect,
    losses: Losses,
}

impl StreamLosses {
    /// Of a stream from a provider that speaks `source` to a caller who speaks `caller`.
    pub const fn new(source: Dialect, caller: Dialect) -> StreamLosses {
        StreamLosses { source, caller, losses: Losses::new() }
    }

    /// All that was lost so far.
    pub const fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Looks at an event on its way to the writer.
    #[inline]
    pub fn note(&mut self, event: &Event<'_>) {
        // Nearly every event is a piece of text.
        if !matches!(event, Event::Delta { choice: 0, delta: Delta::Text(_) | Delta::Arguments(_) | Delta::Thought { .. }, .. }) {
            self.note_rare(event);
        }
    }

    fn note_rare(&mut self, event: &Event<'_>) {
        if let Event::Open { choice, .. } | Event::Logprobs { choice, .. } = event
            && *choice >= self.choices_told()
        {
            return self.lose(format!("choices[{choice}]"), Severity::Dropped, "a reply has no room for so many here");
        }
        match event {
            Event::Open { choice, block, head } => self.open(&format!("choices[{choice}].blocks[{block}]"), head),
            Event::Delta { choice, block, delta: Delta::Citation(citation) } if citation.url.is_none() => {
                self.cite_without_address(format!("choices[{choice}].blocks[{block}].citations"));
            }
            Event::Tier(word) if tier::told(self.source, self.caller, word).is_none() => {
                self.lose("service_tier".to_owned(), Severity::Hint, "the reader's dialect has no word for this tier");
            }
            Event::Logprobs { choice, .. } if matches!(self.caller, Dialect::AnthropicMessages | Dialect::BedrockConverse) => {
                self.lose(format!("choices[{choice}].logprobs"), Severity::Dropped, "a reply has no probabilities here");
            }
            _ => {}
        }
    }

    fn open(&mut self, path: &str, head: &Head<'_>) {
        match head {
            Head::Opaque { word, .. } if self.source != self.caller => {
                let word = text::decode(word).unwrap_or_default();
                self.lose(format!("{path}.{word}"), Severity::Dropped, "only the provider's dialect knows it");
            }
            Head::Media(media) if !self.shows(media) => self.lose(path.to_owned(), Severity::Dropped, "replies hold no such media here"),
            Head::Refusal if matches!(self.caller, Dialect::BedrockConverse) => {
                self.lose(path.to_owned(), Severity::Hint, "refusals have no kind of their own here; it was sent as text");
            }
            _ => {}
        }
    }

    fn cite_without_address(&mut self, path: String) {
        let reason = "a source without an address cannot be cited here";
        match self.caller {
            _ if self.source == self.caller => {}
            Dialect::OpenaiChat => self.lose(path, Severity::Dropped, reason),
            Dialect::OpenaiResponses | Dialect::AnthropicMessages => self.lose(path, Severity::Hint, reason),
            Dialect::GeminiGenerate | Dialect::BedrockConverse => {}
        }
    }

    /// How many replies in one the caller's dialect has room for.
    const fn choices_told(&self) -> u32 {
        match self.caller {
            Dialect::OpenaiChat => u32::MAX,
            Dialect::GeminiGenerate => 64,
            Dialect::OpenaiResponses | Dialect::AnthropicMessages | Dialect::BedrockConverse => 1,
        }
    }

    fn shows(&self, media: &Media<'_>) -> bool {
        let in_base64 = matches!(media.source, MediaSource::Base64 { .. });
        match self.caller {
            Dialect::AnthropicMessages => false,
            Dialect::OpenaiChat => match media.class {
                MediaClass::Image => in_base64 || matches!(media.source, MediaSource::Url { .. }),
                MediaClass::Audio => in_base64,
                MediaClass::Document | MediaClass::Video => false,
            },
            Dialect::OpenaiResponses | Dialect::BedrockConverse => media.class == MediaClass::Image && in_base64,
            Dialect::GeminiGenerate => !matches!(media.source, MediaSource::Plain(_)),
        }
    }

    fn lose(&mut self, path: String, severity: Severity, reason: &'static str) {
        if self.losses.as_slice().iter().all(|loss| loss.path != path) {
            self.losses.at(path, severity, reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_ir::block::Citation;
    use fairlead_ir::{Raw, Stop, StopReason, Text};

    fn open(choice: u32, head: Head<'static>) -> Event<'static> {
        Event::Open { choice, block: 2, head }
    }

    fn media(class: MediaClass, source: MediaSource<'static>) -> Event<'static> {
        open(0, Head::Media(Media { class, source, detail: None, name: None }))
    }

    fn cite(url: Option<&'static str>) -> Event<'static> {
        let citation = Citation { url: url.map(Text::word), title: None, quote: None, range: None, raw: Raw::json(b"{}") };
        Event::Delta { choice: 0, block: 1, delta: Delta::Citation(citation) }
    }

    /// The losses with callers of chat, Responses, Messages, Gemini and Converse; `-` is none.
    fn check(event: &Event<'_>, expected: [&str; 5]) {
        for (caller, expected) in Dialect::ALL.into_iter().zip(expected) {
            // A source that is nobody's caller dialect here.
            let source = if caller == Dialect::OpenaiChat { Dialect::GeminiGenerate } else { Dialect::OpenaiChat };
            let mut lost = StreamLosses::new(source, caller);
            lost.note(event);
            lost.note(event);
            let told: Vec<_> = lost.losses().as_slice().iter().map(|loss| format!("{} {}", loss.severity.name(), loss.path)).collect();
            assert_eq!(if told.is_empty() { "-".to_owned() } else { told.join("; ") }, expected, "{event:?} to {caller:?}");
        }
    }

    #[test]
    fn what_has_no_place_is_told_once() {
        let [image, sound] = [MediaClass::Image, MediaClass::Audio];
        let data = || MediaSource::Base64 { mime: Text::word("image/png"), data: Text::word("AAAA") };
        let lost = "dropped choices[0].blocks[2]";
        check(&open(0, Head::Text), ["-"; 5]);
        check(&open(1, Head::Text), ["-", "dropped choices[1]", "dropped choices[1]", "-", "dropped choices[1]"]);
        check(&media(image, data()), ["-", "-", lost, "-", "-"]);
        check(&media(sound, data()), ["-", lost, lost, "-", lost]);
        check(&media(image, MediaSource::File(Text::word("f"))), [lost, lost, lost, "-", lost]);
        let opaque = open(0, Head::Opaque { word: Text::word("web_search_call"), raw: Raw::json(b"{}") });
        check(&opaque, ["dropped choices[0].blocks[2].web_search_call"; 5]);
        check(&open(0, Head::Refusal), ["-", "-", "-", "-", "hint choices[0].blocks[2]"]);
        let cited = "choices[0].blocks[1].citations";
        check(&cite(None), [&format!("dropped {cited}"), &format!("hint {cited}"), &format!("hint {cited}"), "-", "-"]);
        check(&cite(Some("https://example.com")), ["-"; 5]);
        let logprobs = Event::Logprobs { choice: 0, logprobs: Raw::json(b"{}") };
        check(&logprobs, ["-", "-", "dropped choices[0].logprobs", "-", "dropped choices[0].logprobs"]);
        // Every dialect has a failure for it.
        let stop = Stop { reason: StopReason::Failed, native: Text::word("x"), sequence: None, details: None };
        check(&Event::Stop { choice: 0, stop }, ["-"; 5]);
    }
}
