//! The events of a response, all of them, in the order in which OpenAI sends them.

use super::{Object, State, call_id, finished, item, item_id, part, shows_summary, summary_part, terminal};
use crate::openai_chat::push_logprob;
use crate::plan::{Segment, SegmentKind};
use crate::reply::{Frames, Reply, push, push_escaped, quoted};
use crate::script::{Opening, Terminal};

/// Deltas are padded to a multiple of this, so that their length says less about their text.
const PADDED_BYTES: usize = 16;

/// Writes the events of one response.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    reply: &'a Reply<'a>,
    /// Number of the next event.
    sequence: u64,
    /// Tokens that are not shown; they go with the next event.
    hidden: u32,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(reply: &'a Reply<'a>) -> Self {
        Self { reply, sequence: 0, hidden: 0 }
    }

    pub(crate) fn opening(&mut self, frames: &mut Frames) {
        match self.reply.script.opening {
            Opening::Normal => {}
            Opening::Twice => self.lifecycle("response.created", &unfinished(self.reply, None), frames),
            Opening::PingFirst => frames.lone_line(": ping"),
        }
        self.lifecycle("response.created", &unfinished(self.reply, None), frames);
        // Reports before the last one have no other place.
        let usages = self.reply.stream_usages();
        let early = if usages.len() > 1 { usages.first().copied() } else { None };
        self.lifecycle("response.in_progress", &unfinished(self.reply, early), frames);
    }

    pub(crate) fn piece(&mut self, position: usize, segment: &Segment, index: u32, frames: &mut Frames) {
        if index == 0 {
            self.open(position, segment, frames);
        }
        self.delta(position, segment, index, frames);
        if index + 1 == segment.tokens {
            self.close(position, segment, frames);
        }
    }

    pub(crate) fn closing(&mut self, frames: &mut Frames) {
        let terminals = match self.reply.script.terminal {
            Terminal::Normal => 1,
            Terminal::Absent => 0,
            Terminal::Twice => 2,
        };
        for _ in 0..terminals {
            let name = format!("response.{}", terminal(self.reply));
            self.lifecycle(&name, &finished(self.reply), frames);
        }
    }

    fn open(&mut self, position: usize, segment: &Segment, frames: &mut Frames) {
        let begun = item(self.reply, position, segment, State::Begun);
        self.event("response.output_item.added", &format!(r#""output_index":{position},"item":{begun}"#), 0, frames);
        match segment.kind {
            SegmentKind::Text | SegmentKind::Refusal => {
                let part = part(self.reply, segment, false);
                let place = self.place(position, segment);
                self.event("response.content_part.added", &format!(r#"{place},"content_index":0,"part":{part}"#), 0, frames);
            }
            SegmentKind::Reasoning if shows_summary(self.reply) => {
                let (place, part) = (self.place(position, segment), summary_part(""));
                self.event("response.reasoning_summary_part.added", &format!(r#"{place},"summary_index":0,"part":{part}"#), 0, frames);
            }
            SegmentKind::Reasoning | SegmentKind::ToolCall { .. } => {}
        }
    }

    fn delta(&mut self, position: usize, segment: &Segment, index: u32, frames: &mut Frames) {
        let text = segment.piece(index);
        let name = match &segment.kind {
            SegmentKind::Text => "response.output_text.delta",
            SegmentKind::Refusal => "response.refusal.delta",
            SegmentKind::Reasoning if shows_summary(self.reply) => "response.reasoning_summary_text.delta",
            SegmentKind::Reasoning => return self.hidden += 1,
            // The name, which stands in the item.
            SegmentKind::ToolCall { .. } if index == 0 => return self.hidden += 1,
            SegmentKind::ToolCall { takes_text: true, .. } => "response.custom_tool_call_input.delta",
            SegmentKind::ToolCall { .. } => "response.function_call_arguments.delta",
        };
        let mut fields = self.place(position, segment).into_bytes();
        fields.extend_from_slice(match segment.kind {
            SegmentKind::Text | SegmentKind::Refusal => br#","content_index":0"#,
            SegmentKind::Reasoning => br#","summary_index":0"#,
            SegmentKind::ToolCall { .. } => b"",
        });
        fields.extend_from_slice(br#","delta":""#);
        push_escaped(text, &mut fields);
        fields.push(b'"');
        if segment.kind == SegmentKind::Text {
            fields.extend_from_slice(br#","logprobs":["#);
            if let Some(top) = self.reply.ask.logprobs {
                push_logprob(text, index, top, &mut fields);
            }
            fields.push(b']');
        }
        if self.reply.wishes.obfuscation {
            let length = PADDED_BYTES - text.len() % PADDED_BYTES;
            push(&mut fields, format_args!(r#","obfuscation":"{}""#, self.reply.part_id("", length, self.sequence)));
        }
        self.event(name, &String::from_utf8_lossy(&fields), 1, frames);
    }

    fn close(&mut self, position: usize, segment: &Segment, frames: &mut Frames) {
        let place = self.place(position, segment);
        let text = quoted(&segment.text());
        match &segment.kind {
            SegmentKind::Text | SegmentKind::Refusal => {
                let part = part(self.reply, segment, true);
                if segment.kind == SegmentKind::Text {
                    self.event(
                        "response.output_text.done",
                        &format!(r#"{place},"content_index":0,"text":{text},"logprobs":[]"#),
                        0,
                        frames,
                    );
                } else {
                    self.event("response.refusal.done", &format!(r#"{place},"content_index":0,"refusal":{text}"#), 0, frames);
                }
                self.event("response.content_part.done", &format!(r#"{place},"content_index":0,"part":{part}"#), 0, frames);
            }
            SegmentKind::Reasoning if shows_summary(self.reply) => {
                let part = summary_part(&segment.text());
                self.event("response.reasoning_summary_text.done", &format!(r#"{place},"summary_index":0,"text":{text}"#), 0, frames);
                self.event("response.reasoning_summary_part.done", &format!(r#"{place},"summary_index":0,"part":{part}"#), 0, frames);
            }
            SegmentKind::Reasoning => {}
            SegmentKind::ToolCall { takes_text: true, .. } => {
                self.event("response.custom_tool_call_input.done", &format!(r#"{place},"input":{text}"#), 0, frames);
            }
            SegmentKind::ToolCall { index, name, .. } => {
                let (name, call) = (quoted(name), call_id(self.reply, *index));
                let fields = format!(r#"{place},"name":{name},"call_id":"{call}","arguments":{text}"#);
                self.event("response.function_call_arguments.done", &fields, 0, frames);
            }
        }
        let done = item(self.reply, position, segment, State::Done);
        self.event("response.output_item.done", &format!(r#""output_index":{position},"item":{done}"#), 0, frames);
    }

    fn place(&self, position: usize, segment: &Segment) -> String {
        format!(r#""item_id":"{}","output_index":{position}"#, item_id(self.reply, position, segment))
    }

    fn lifecycle(&mut self, name: &str, object: &str, frames: &mut Frames) {
        self.event(name, &format!(r#""response":{object}"#), 0, frames);
    }

    fn event(&mut self, name: &str, fields: &str, tokens: u32, frames: &mut Frames) {
        write_event(name, self.sequence, fields, tokens + std::mem::take(&mut self.hidden), frames);
        self.sequence += 1;
    }
}

fn write_event(name: &str, sequence: u64, fields: &str, tokens: u32, frames: &mut Frames) {
    frames.push("event: ");
    frames.push(name);
    frames.end_line();
    push(&mut frames.bytes, format_args!(r#"data: {{"type":"{name}","sequence_number":{sequence},{fields}}}"#));
    frames.end_line();
    frames.end_frame(tokens);
}

/// The response before there is anything in it.
fn unfinished(reply: &Reply<'_>, usage: Option<crate::reply::Usage>) -> String {
    Object { status: r#""in_progress""#.to_owned(), items: "", details: "null", error: "null", usage }.write(reply)
}

/// An error after `written` events, and the end that follows from it; returns the JSON of the latter's response.
pub(crate) fn error_event(reply: &Reply<'_>, written: u64, frames: &mut Frames) -> String {
    let message = "The server had an error while processing your request. Sorry about that!";
    let error = format!(r#"{{"code":"server_error","message":"{message}"}}"#);
    write_event("error", written, &format!(r#""code":"server_error","message":"{message}","param":null"#), 0, frames);
    let failed = Object { status: r#""failed""#.to_owned(), items: "", details: "null", error: &error, usage: None }.write(reply);
    write_event("response.failed", written + 1, &format!(r#""response":{failed}"#), 0, frames);
    failed
}
