//! A stream of whole partial responses: as events, or as the members of one JSON array.

use super::{BLOCKED, call_part, finish, identity, logprobs, push_usage, shows_thoughts, text_part, text_signature};
use crate::plan::{Segment, SegmentKind};
use crate::reply::{Frames, Refusal, Reply, Usage, Wire, push};
use crate::script::{Opening, Terminal, UsageReport};

/// Writes the chunks of one reply.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    reply: &'a Reply<'a>,
    /// Chunks so far.
    chunks: u64,
    /// Tokens so far, and the thoughts among them.
    tokens: u32,
    thoughts: u32,
    /// Tokens that no chunk has carried yet.
    hidden: u32,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(reply: &'a Reply<'a>) -> Self {
        Self { reply, chunks: 0, tokens: 0, thoughts: 0, hidden: 0 }
    }

    pub(crate) fn opening(&mut self, frames: &mut Frames) {
        match self.reply.script.opening {
            Opening::Normal => {}
            Opening::Twice => self.chunk(0, &text_part("", None), "", "", frames),
            Opening::PingFirst => frames.lone_line(": ping"),
        }
    }

    pub(crate) fn piece(&mut self, segment: &Segment, index: u32, frames: &mut Frames) {
        self.tokens += 1;
        self.hidden += 1;
        let text = segment.piece(index);
        let choice = segment.choice;
        match segment.kind {
            SegmentKind::Reasoning => {
                self.thoughts += 1;
                if shows_thoughts(self.reply) {
                    let part = text_part(text, None);
                    let part = format!(r#"{},"thought":true}}"#, part.trim_end_matches('}'));
                    self.chunk(choice, &part, "", "", frames);
                }
            }
            SegmentKind::Text | SegmentKind::Refusal => {
                let likely = match self.reply.ask.logprobs {
                    Some(top) if segment.kind == SegmentKind::Text => format!(",{}", logprobs(&[(text, index)], top)),
                    _ => String::new(),
                };
                self.chunk(choice, &text_part(text, None), "", &likely, frames);
            }
            SegmentKind::ToolCall { .. } if index + 1 == segment.tokens => {
                if let Some(part) = call_part(self.reply, segment) {
                    self.chunk(choice, &part, "", "", frames);
                }
            }
            SegmentKind::ToolCall { .. } => {}
        }
    }

    pub(crate) fn closing(&mut self, frames: &mut Frames) {
        let terminals = match self.reply.script.terminal {
            Terminal::Normal => 1,
            Terminal::Absent => return,
            Terminal::Twice => 2,
        };
        for _ in 0..terminals {
            if self.reply.plan.is_blocked() {
                self.object(BLOCKED, frames);
                continue;
            }
            let part = text_part("", text_signature(self.reply).as_deref());
            for choice in 0..self.reply.plan.choices {
                self.chunk(choice, &part, &format!("{},", finish(self.reply)), "", frames);
            }
        }
        if self.reply.wire == Wire::Array {
            frames.push("]");
            frames.end_raw(0);
        }
    }

    fn chunk(&mut self, choice: u32, part: &str, finish: &str, rest: &str, frames: &mut Frames) {
        let content = format!(r#"{{"parts":[{part}],"role":"model"}}"#);
        self.object(&format!(r#""candidates":[{{"content":{content},{finish}"index":{choice}{rest}}}]"#), frames);
    }

    fn object(&mut self, start: &str, frames: &mut Frames) {
        let mut object = format!("{{{start}").into_bytes();
        if let Some(usage) = self.usage() {
            object.push(b',');
            push_usage(usage, self.reply.ask.media, &mut object);
        }
        push(&mut object, format_args!(",{}}}", identity(self.reply)));
        write_object(self.reply.wire, self.chunks, &String::from_utf8_lossy(&object), std::mem::take(&mut self.hidden), frames);
        self.chunks += 1;
    }

    /// The figures so far; absurd ones from the start.
    fn usage(&self) -> Option<Usage> {
        let usage = self.reply.usage()?;
        Some(match self.reply.script.usage {
            UsageReport::Zero | UsageReport::Huge | UsageReport::Negative => usage,
            _ => Usage { completion: self.tokens.into(), reasoning: self.thoughts.into(), ..usage },
        })
    }
}

/// One member of the stream, `before` of which there were already.
fn write_object(wire: Wire, before: u64, object: &str, tokens: u32, frames: &mut Frames) {
    if wire == Wire::Array {
        frames.push(if before == 0 { "[" } else { ",\r\n" });
        frames.push(object);
        return frames.end_raw(tokens);
    }
    frames.push("data: ");
    frames.push(object);
    frames.end_line();
    frames.end_frame(tokens);
}

/// An error after `written` chunks; returns the JSON that it carries.
pub(crate) fn error_event(reply: &Reply<'_>, written: u64, frames: &mut Frames) -> String {
    let body = super::error_body(&Refusal::new(503, "The model is overloaded. Please try again later."));
    write_object(reply.wire, written, &body, 0, frames);
    if reply.wire == Wire::Array {
        frames.push("]");
        frames.end_raw(0);
    }
    body
}
