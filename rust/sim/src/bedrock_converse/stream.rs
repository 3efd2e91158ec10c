//! The events of a reply in Amazon's framing. Texts and thoughts have no start of their own.

use super::event_stream::named;
use super::{additional_fields, push_usage, redacted, stop_reason, tool_use_id};
use crate::plan::{Segment, SegmentKind};
use crate::reply::{Frames, Reply, push, push_escaped, quoted};
use crate::script::{Opening, Terminal};

const PADDING: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// Writes the events of one reply.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    reply: &'a Reply<'a>,
    events: usize,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(reply: &'a Reply<'a>) -> Self {
        Self { reply, events: 0 }
    }

    pub(crate) fn opening(&mut self, frames: &mut Frames) {
        if self.reply.script.opening == Opening::Twice {
            self.event("messageStart", r#""role":"assistant""#, 0, frames);
        }
        self.event("messageStart", r#""role":"assistant""#, 0, frames);
    }

    pub(crate) fn piece(&mut self, position: usize, segment: &Segment, index: u32, frames: &mut Frames) {
        let text = segment.piece(index);
        match &segment.kind {
            SegmentKind::Text | SegmentKind::Refusal => self.delta(position, r#"{"text":""#, text, r#""}"#, 1, frames),
            SegmentKind::Reasoning if self.reply.script.redacted => {
                let whole = if index == 0 { redacted(self.reply) } else { String::new() };
                self.delta(position, r#"{"reasoningContent":{"redactedContent":""#, &whole, r#""}}"#, 1, frames);
            }
            SegmentKind::Reasoning => self.delta(position, r#"{"reasoningContent":{"text":""#, text, r#""}}"#, 1, frames),
            SegmentKind::ToolCall { index: call, name, .. } if index == 0 => {
                let (id, name) = (tool_use_id(self.reply, *call), quoted(name));
                let start = format!(r#""contentBlockIndex":{position},"start":{{"toolUse":{{"name":{name},"toolUseId":"{id}"}}}}"#);
                self.event("contentBlockStart", &start, 1, frames);
            }
            SegmentKind::ToolCall { .. } => {
                // Without arguments there is empty text instead of an empty object.
                let text = if segment.tokens == 2 && text == "{}" { "" } else { text };
                self.delta(position, r#"{"toolUse":{"input":""#, text, r#""}}"#, 1, frames);
            }
        }
        if index + 1 == segment.tokens {
            if segment.kind == SegmentKind::Reasoning && !self.reply.script.redacted {
                let signature = self.reply.seal(&segment.text(), 0);
                self.delta(position, r#"{"reasoningContent":{"signature":""#, &signature, r#""}}"#, 0, frames);
            }
            self.event("contentBlockStop", &format!(r#""contentBlockIndex":{position}"#), 0, frames);
        }
    }

    pub(crate) fn closing(&mut self, frames: &mut Frames) {
        let terminals = match self.reply.script.terminal {
            Terminal::Normal => 1,
            Terminal::Absent => 0,
            Terminal::Twice => 2,
        };
        for _ in 0..terminals {
            let fields = format!(r#"{}"stopReason":{}"#, additional_fields(self.reply), stop_reason(self.reply));
            self.event("messageStop", &fields, 0, frames);
        }
        for usage in self.reply.stream_usages() {
            let mut fields = br#""metrics":{"latencyMs":1},"#.to_vec();
            push_usage(usage, self.reply.ask.cache.written_long, &mut fields);
            self.event("metadata", &String::from_utf8_lossy(&fields), 0, frames);
        }
    }

    fn delta(&mut self, position: usize, before: &str, text: &str, after: &str, tokens: u32, frames: &mut Frames) {
        let mut fields = Vec::new();
        push(&mut fields, format_args!(r#""contentBlockIndex":{position},"delta":{before}"#));
        push_escaped(text, &mut fields);
        fields.extend_from_slice(after.as_bytes());
        self.event("contentBlockDelta", &String::from_utf8_lossy(&fields), tokens, frames);
    }

    /// One event, with padding of a changing length.
    fn event(&mut self, name: &str, fields: &str, tokens: u32, frames: &mut Frames) {
        self.events += 1;
        let padding = PADDING.get(..self.events * 7 % PADDING.len()).unwrap_or_default();
        let payload = format!(r#"{{{fields},"p":"{padding}"}}"#);
        frames.bytes.extend_from_slice(&named(name, payload.as_bytes()));
        frames.end_raw(tokens);
    }
}

/// An exception in the stream; returns the JSON that it carries.
pub(crate) fn error_event(frames: &mut Frames) -> String {
    let message = "The model encountered an unexpected error during processing. Try your request again.";
    let body = format!(r#"{{"message":"{message}","originalMessage":"Overloaded","originalStatusCode":529}}"#);
    frames.bytes.extend_from_slice(&named("modelStreamErrorException", body.as_bytes()));
    frames.end_raw(0);
    body
}

/// A scripted frame: the event's (or exception's) name, a space, the payload.
pub(crate) fn scripted(raw: &str) -> Vec<u8> {
    let (name, payload) = raw.split_once(' ').unwrap_or((raw, "{}"));
    named(name, payload.as_bytes())
}
