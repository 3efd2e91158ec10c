//! A provider's stream as bytes: where its events end, and what one says.

use fairlead_ir::{Dialect, Event};

use super::dialects::StreamDecoder;
use crate::read::Malformed;
use crate::{eventstream, sse};

/// Where the events of a stream end.
#[derive(Debug)]
pub enum Wire {
    /// Server-sent events.
    Events(sse::Framer),
    /// AWS's binary messages.
    Messages(eventstream::Framer),
}

impl Wire {
    /// The framing of a dialect's streams. An event may have `max_event_bytes`.
    pub fn new(dialect: Dialect, max_event_bytes: usize) -> Wire {
        match dialect {
            Dialect::BedrockConverse => Wire::Messages(eventstream::Framer::new(max_event_bytes)),
            _ => Wire::Events(sse::Framer::new(max_event_bytes)),
        }
    }

    /// The end of the next complete event in the piece `new`, going on from `from`.
    ///
    /// # Errors
    /// An event is too large, or the bytes cannot be framed: why, in words.
    #[inline]
    pub fn next_end(&mut self, new: &[u8], from: usize) -> Result<Option<usize>, String> {
        match self {
            Wire::Events(framer) => framer.next_end(new, from).map_err(|error| error.to_string()),
            Wire::Messages(framer) => framer.next_end(new, from).map_err(|error| error.to_string()),
        }
    }

    /// Whether events are lines of text.
    pub const fn is_text(&self) -> bool {
        matches!(self, Wire::Events(_))
    }

    /// Whether what lies there when the connection ends is an event that lacks only its last line end.
    pub fn is_whole(&self, rest: &[u8]) -> bool {
        self.is_text() && sse::is_whole(rest)
    }
}

impl StreamDecoder {
    /// Takes one event as it came, as [`Wire::next_end`] cut it. `scratch` is room for data on several lines.
    ///
    /// # Errors
    /// It is nothing that the dialect sends: the stream has failed.
    pub fn read(&mut self, event: &[u8], scratch: &mut Vec<u8>, sink: &mut dyn FnMut(Event<'_>)) -> Result<(), Malformed> {
        if self.is_binary() {
            return match eventstream::read(event) {
                Ok(message) => self.event(message.name(), message.data(), sink),
                Err(problem) => Err(Malformed::new(problem.to_string())),
            };
        }
        match sse::data(event, scratch) {
            Some(data) => self.event(sse::event_name(event), data, sink),
            None => Ok(()),
        }
    }
}
