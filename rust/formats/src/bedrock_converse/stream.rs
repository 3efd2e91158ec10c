//! Streams: events in AWS's binary frames. What each tells the tap stands here; the reader and the writer stand below.

pub(crate) mod decode;
pub(crate) mod encode;
mod held;

#[cfg(test)]
mod tests;

use fairlead_ir::{Delta, Event, Head};

use self::decode::Decoder;
use crate::error::ProviderError;
use crate::eventstream;
use crate::json::{Kind, walk};
use crate::reply::{Figured, Missing, Seen};
use crate::tap::{Action, Look};
use crate::text;

/// The part of a tap that belongs to this dialect. Its clients are never sent what comes: it is always translated.
#[derive(Debug, Default)]
pub(crate) struct MessageTap {
    decoder: Decoder,
}

impl MessageTap {
    /// Reads one message into `seen`.
    pub(crate) fn read(&mut self, message: &[u8], seen: &mut Seen) -> Look {
        let mut look = Look { action: Action::Withhold, ..Look::default() };
        let read = eventstream::read(message).map_err(|fault| fault.to_string()).and_then(|message| {
            if message.name() == Some(b"metadata") {
                let tier = walk::member(message.data(), "serviceTier").ok().flatten().filter(|tier| tier.kind == Kind::Object);
                seen.take_tier(tier.and_then(|tier| walk::member(tier.value, "type").ok()?).map(|word| word.value));
            }
            let mut sink = |event: Event<'_>| note(&event, seen, &mut look);
            self.decoder.event(message.name(), message.data(), &mut sink).map_err(|fault| fault.to_string())
        });
        if let Err(fault) = read {
            seen.error.get_or_insert_with(|| ProviderError::garbage(&fault));
            look.error = true;
        }
        look
    }
}

fn note(event: &Event<'_>, seen: &mut Seen, look: &mut Look) {
    match event {
        Event::Open { head: Head::ToolCall { .. } | Head::Media(_), .. } => seen.take_content(true, 0),
        Event::Delta { delta: Delta::Text(text) | Delta::Thought { text, .. } | Delta::Arguments(text), .. } => {
            seen.take_content(!text.is_empty(), text.as_bytes().len() as u64);
        }
        Event::Stop { stop, .. } => {
            let native = text::decode(&stop.native).unwrap_or_default();
            seen.take_finish(stop.reason.finish().name(), &native, stop.sequence.is_some());
            look.finish = true;
        }
        Event::Usage(usage) => {
            seen.take_figures(Figured { usage: *usage, missing: Missing::default(), cost: None, tier: None });
            (look.usage, look.bill) = (true, true);
        }
        Event::KeepAlive => look.keep_alive = true,
        Event::Fail { kind, message, code } => {
            seen.error.get_or_insert_with(|| ProviderError::in_stream(*kind, message, code.as_ref()));
            look.error = true;
        }
        Event::End => look.end = true,
        _ => {}
    }
}
