//! Why a message ended, in Anthropic's words.

use std::borrow::Cow;

use fairlead_ir::{Raw, Stop, StopReason, Text};

use crate::write::Object;

/// What a `stop_reason` means; words that nobody knows yet mean that the model ended. `called`: the message holds tool calls. Imitators
/// say `end_turn` then too; a message that was cut stays cut, because its last call may be.
pub(crate) fn reason(word: &[u8], called: bool) -> StopReason {
    match word {
        b"tool_use" => StopReason::ToolCalls,
        b"max_tokens" => StopReason::MaxTokens,
        b"model_context_window_exceeded" => StopReason::ContextWindow,
        b"pause_turn" => StopReason::Pause,
        b"refusal" => StopReason::Refusal,
        b"compaction" => StopReason::Compaction,
        _ if called => StopReason::ToolCalls,
        b"stop_sequence" => StopReason::StopSequence,
        _ => StopReason::End,
    }
}

/// The `stop_reason` of a reason. A filter's nearest word is a refusal; so is a failure's, where it cannot be told as an error.
const fn word(reason: StopReason) -> &'static str {
    match reason {
        StopReason::End => "end_turn",
        StopReason::StopSequence => "stop_sequence",
        StopReason::MaxTokens => "max_tokens",
        StopReason::ContextWindow => "model_context_window_exceeded",
        StopReason::ToolCalls => "tool_use",
        StopReason::ContentFilter | StopReason::Refusal | StopReason::Failed => "refusal",
        StopReason::Pause => "pause_turn",
        StopReason::Compaction => "compaction",
    }
}

/// How a message ends for its reader.
#[derive(Debug)]
pub(crate) struct Ending<'s> {
    word: Cow<'s, Text<'s>>,
    sequence: Option<&'s Text<'s>>,
    details: Option<Cow<'s, Raw<'s>>>,
}

impl<'s> Ending<'s> {
    /// `own`: `stop` was read from this dialect. `called`: the message, as its reader sees it, holds tool calls; a call that stands for
    /// the form of the reply is none.
    pub(crate) fn new(stop: Option<&'s Stop<'s>>, own: bool, called: bool) -> Ending<'s> {
        let reason = match stop.map(|stop| stop.reason) {
            Some(StopReason::ToolCalls) if !called => StopReason::End,
            Some(reason) => reason,
            None if called => StopReason::ToolCalls,
            None => StopReason::End,
        };
        let native = stop.filter(|stop| own && stop.reason == reason && !stop.native.is_empty()).map(|stop| &stop.native);
        let details = match stop {
            Some(stop) if own => stop.details.as_ref().map(Cow::Borrowed),
            Some(stop) if reason == StopReason::Failed => Some(Cow::Owned(failure(&stop.native))),
            _ => None,
        };
        let word = native.map_or_else(|| Cow::Owned(Text::word(word(reason))), Cow::Borrowed);
        Ending { word, sequence: stop.and_then(|stop| stop.sequence.as_ref()), details }
    }

    /// Writes the members that say so.
    pub(crate) fn write(&self, object: &mut Object<'_>) {
        object.escaped("stop_reason", &self.word);
        match self.sequence {
            Some(sequence) => object.escaped("stop_sequence", sequence),
            None => object.raw("stop_sequence", b"null"),
        };
        if let Some(details) = &self.details {
            super::write_line(details.as_bytes(), object.key("stop_details"));
        }
    }
}

/// A failure in the words of a refusal, so that it is not taken for a good end.
fn failure(native: &Text<'_>) -> Raw<'static> {
    let mut json = Vec::new();
    let mut object = Object::open(&mut json);
    let explanation = crate::text::join([&Text::word("the model failed to reply: "), native], "");
    object.text("type", "refusal").raw("category", b"null").escaped("explanation", &explanation);
    object.close();
    Raw::owned(json)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn written(reason: StopReason, native: &'static str, own: bool, called: bool) -> String {
        let stop = Stop { reason, native: Text::word(native), sequence: None, details: None };
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        Ending::new(Some(&stop), own, called).write(&mut object);
        object.close();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn words_of_others_and_our_own() {
        let check = |reason, native, own, called, word: &str| {
            assert_eq!(written(reason, native, own, called), format!(r#"{{"stop_reason":"{word}","stop_sequence":null}}"#));
        };
        check(StopReason::End, "STOP", false, false, "end_turn");
        check(StopReason::ToolCalls, "stop", false, true, "tool_use");
        check(StopReason::ToolCalls, "tool_use", true, false, "end_turn");
        check(StopReason::ContentFilter, "SAFETY", false, false, "refusal");
        check(StopReason::ContextWindow, "length", false, false, "model_context_window_exceeded");
        check(StopReason::End, "brand_new", true, false, "brand_new");
        let failed = r#"{"stop_reason":"refusal","stop_sequence":null,"stop_details":{"type":"refusal","category":null,"explanation":"the model failed to reply: MALFORMED"}}"#;
        assert_eq!(written(StopReason::Failed, "MALFORMED", false, false), failed);
    }

    #[test]
    fn words_of_providers() {
        for (word, called, expected) in [
            ("end_turn", false, StopReason::End),
            ("end_turn", true, StopReason::ToolCalls),
            ("stop_sequence", false, StopReason::StopSequence),
            ("max_tokens", true, StopReason::MaxTokens),
            ("model_context_window_exceeded", false, StopReason::ContextWindow),
            ("tool_use", false, StopReason::ToolCalls),
            ("pause_turn", true, StopReason::Pause),
            ("refusal", false, StopReason::Refusal),
            ("compaction", false, StopReason::Compaction),
            ("brand_new", false, StopReason::End),
        ] {
            assert_eq!(reason(word.as_bytes(), called), expected, "{word}");
        }
    }
}
