//! A stream from bytes to bytes: framing, reading, writing.

use fairlead_ir::{Dialect, ErrorKind, Event, Losses, NanoUsd, Usage};

use super::dialects::{StreamDecoder, StreamEncoder, Wanted};
use super::streamed::StreamLosses;
use super::wire::Wire;
use crate::error::Details;
use crate::text;
use crate::traits::Traits;

/// A provider's stream on its way to a caller who speaks another dialect, cut anywhere.
#[derive(Debug)]
pub struct Stream {
    wire: Wire,
    /// Bytes of an event that is not complete yet.
    pending: Vec<u8>,
    scratch: Vec<u8>,
    decoder: StreamDecoder,
    writing: Writing,
}

/// What was seen, and where it is written.
#[derive(Debug)]
struct Writing {
    encoder: StreamEncoder,
    usage: Option<Usage>,
    lost: StreamLosses,
    ended: bool,
}

impl Stream {
    /// Before the first byte. An event may have `max_event_bytes`.
    pub fn new(target: Dialect, traits: Traits, max_event_bytes: usize, wanted: Wanted) -> Stream {
        Stream::to(|wanted| StreamEncoder::new(target, wanted), target, traits, max_event_bytes, wanted)
    }

    /// As [`Stream::new`], for a caller of legacy completions.
    pub fn completions(traits: Traits, max_event_bytes: usize, wanted: Wanted) -> Stream {
        Stream::to(StreamEncoder::completions, Dialect::OpenaiChat, traits, max_event_bytes, wanted)
    }

    fn to(
        encoder: impl FnOnce(Wanted) -> StreamEncoder,
        caller: Dialect,
        traits: Traits,
        max_event_bytes: usize,
        wanted: Wanted,
    ) -> Stream {
        let wire = Wire::new(wanted.source, max_event_bytes);
        let decoder = StreamDecoder::new(wanted.source, traits);
        let lost = StreamLosses::new(wanted.source, caller);
        let writing = Writing { encoder: encoder(wanted), usage: None, lost, ended: false };
        Stream { wire, pending: Vec::new(), scratch: Vec::new(), decoder, writing }
    }

    /// Takes the provider's next bytes and appends what they become. A failure of the stream is written in the caller's dialect;
    /// nothing follows it.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let known = self.pending.len();
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(bytes);
        let (mut begin, mut from) = (0, 0);
        while !self.writing.ended {
            match self.wire.next_end(bytes, from) {
                Ok(Some(end)) => {
                    self.take(&pending[begin..known + end], out);
                    (begin, from) = (known + end, end);
                }
                Ok(None) => break,
                Err(problem) => self.writing.fail(&problem, out),
            }
        }
        pending.drain(..begin);
        self.pending = pending;
    }

    /// The provider's connection has ended: appends the end of the stream, or its failure.
    pub fn finish(&mut self, cost: Option<NanoUsd>, out: &mut Vec<u8>) {
        // Some providers close without their last blank line.
        let last = std::mem::take(&mut self.pending);
        if self.wire.is_whole(&last) {
            self.take(&last, out);
        }
        let Stream { decoder, writing, .. } = self;
        decoder.finish(&mut |event| writing.write(&event, out));
        if !writing.ended {
            writing.ended = true;
            writing.encoder.finish(writing.usage.as_ref(), cost, out);
        }
    }

    /// What the provider says was used, as far as it said so.
    pub fn usage(&self) -> Option<&Usage> {
        self.writing.usage.as_ref()
    }

    /// What the caller's dialect has no place for.
    pub fn losses(&self) -> &Losses {
        self.writing.lost.losses()
    }

    fn take(&mut self, event: &[u8], out: &mut Vec<u8>) {
        let Stream { decoder, writing, scratch, .. } = self;
        let read = decoder.read(event, scratch, &mut |event| writing.write(&event, out));
        if let Err(problem) = read {
            writing.fail(&format!("the provider sent something else than its dialect: {problem}"), out);
        }
    }
}

impl Writing {
    fn write(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        match event {
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Fail { kind, message, code } => {
                let message = text::decode(message).unwrap_or_default();
                let code = code.as_ref().and_then(text::decode);
                self.ended = true;
                let details = Details { provider_code: code.as_deref(), ..Details::default() };
                return self.encoder.fail(*kind, &message, &details, out);
            }
            _ => {}
        }
        self.lost.note(event);
        self.encoder.event(event, out);
    }

    fn fail(&mut self, problem: &str, out: &mut Vec<u8>) {
        self.ended = true;
        self.encoder.fail(ErrorKind::ProviderUnavailable, problem, &Details::default(), out);
    }
}
