//! A stream on its way into another dialect: what each event of the provider becomes for the client.

use crate::pipeline::translate::Back;
use crate::worker::unix_ms;
use fairlead_formats::error::{Details, ProviderError};
use fairlead_formats::identity::Identity;
use fairlead_formats::tool_calls::Watch;
use fairlead_formats::translate::dialects::{StreamDecoder, StreamEncoder};
use fairlead_formats::translate::seals::StreamKeeper;
use fairlead_formats::translate::streamed::StreamLosses;
use fairlead_ir::{Delta, ErrorKind, Event, Losses, Usage};
use fairlead_ledger::settle::Bill;
use std::sync::Arc;

/// The state of one translated stream.
pub(super) struct Weave {
    decoder: StreamDecoder,
    passage: Passage,
    scratch: Vec<u8>,
}

/// What an event goes through between the decoder and the client.
struct Passage {
    keeper: Option<StreamKeeper>,
    /// Thoughts without state are marked before they are closed.
    marks_thoughts: bool,
    encoder: StreamEncoder,
    lost: StreamLosses,
    watch: Option<Box<Watch>>,
    /// The choices that have ended, a bit each.
    ended: u64,
    usage: Option<Usage>,
    /// The first failure of the event, or of the end, that is being read.
    failed: Option<ProviderError>,
}

impl Weave {
    /// `watch`: of its tool calls, where somebody wants to know whether they are sound.
    pub(super) fn new(back: &Back, identity: Arc<Identity>, watch: Option<Box<Watch>>) -> Weave {
        let (decoder, keeper, encoder) = back.stream(identity);
        let marks_thoughts = back.marks_thoughts();
        let passage = Passage { keeper, marks_thoughts, encoder, lost: back.losses(), watch, ended: 0, usage: None, failed: None };
        Weave { decoder, passage, scratch: Vec::new() }
    }

    /// Goes on after another that has written nothing but signs of life.
    pub(super) fn continue_after(&mut self, other: Weave) {
        self.passage.encoder.continue_after(other.passage.encoder);
    }

    /// Appends what one event becomes. The end is written by [`Weave::finish`], a failure by [`Weave::fail`].
    ///
    /// # Errors
    /// The reply has failed, in the provider's words or because it makes no sense.
    pub(super) fn write(&mut self, event: &[u8], out: &mut Vec<u8>) -> Result<(), ProviderError> {
        let Weave { decoder, passage, scratch } = self;
        let now_ms = unix_ms();
        let read = decoder.read(event, scratch, &mut |event| passage.take(event, now_ms, out));
        match (passage.failed.take(), read) {
            (Some(error), _) => Err(error),
            (None, Err(fault)) => Err(ProviderError::garbage(&fault.to_string())),
            (None, Ok(())) => Ok(()),
        }
    }

    /// Appends what is still promised once the provider has closed its body.
    ///
    /// # Errors
    /// Something is missing.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) -> Result<(), ProviderError> {
        let Weave { decoder, passage, .. } = self;
        let now_ms = unix_ms();
        decoder.finish(&mut |event| passage.take(event, now_ms, out));
        passage.failed.take().map_or(Ok(()), Err)
    }

    /// Appends the end. The bill's usage stands in for figures that the provider did not give, or that nobody can believe.
    pub(super) fn finish(&mut self, bill: &Bill, out: &mut Vec<u8>) {
        let Passage { encoder, usage, .. } = &mut self.passage;
        encoder.finish(Some(usage.as_ref().unwrap_or(&bill.usage)), Some(bill.charged), out);
    }

    /// Appends the end of a stream that is cut here: every one of its `choices` that has not ended ends as one that is too long.
    pub(super) fn cut(&mut self, choices: u32, bill: &Bill, out: &mut Vec<u8>) {
        let Passage { encoder, ended, .. } = &mut self.passage;
        encoder.cut(choices, *ended, &bill.usage, bill.charged, out);
    }

    /// Takes an event that the client gets as it came. One that makes no sense here is the client's to judge.
    pub(super) fn follow(&mut self, event: &[u8]) {
        let mut unsent = Vec::new();
        self.passage.encoder.adopt(event, &mut self.scratch);
        let _ = self.write(event, &mut unsent);
    }

    /// So many events have gone out as they came.
    pub(super) fn go_on_from(&mut self, events: u64) {
        self.passage.encoder.go_on_from(events);
    }

    /// What watched the tool calls, for whoever judges the stream, which is over.
    pub(super) fn take_watch(&mut self) -> Option<Box<Watch>> {
        self.passage.watch.take()
    }

    /// What the client's dialect had no place for so far.
    pub(super) fn losses(&self) -> &Losses {
        self.passage.lost.losses()
    }

    pub(super) fn fail(&mut self, kind: ErrorKind, message: &str, details: &Details<'_>, out: &mut Vec<u8>) {
        self.passage.encoder.fail(kind, message, details, out);
    }

    pub(super) fn keep_alive(&mut self, out: &mut Vec<u8>) {
        self.passage.encoder.keep_alive(out);
    }
}

impl Passage {
    /// Writes an event, its state of thoughts sealed; a failure is kept instead.
    fn take(&mut self, event: Event<'_>, now_ms: u64, out: &mut Vec<u8>) {
        if let Some(watch) = &mut self.watch {
            watch.event(&event);
        }
        if let Some(mark) = self.mark(&event) {
            self.encoder.event(&mark, out);
        }
        let event = match &mut self.keeper {
            Some(keeper) => keeper.event(event, now_ms),
            None => event,
        };
        self.lost.note(&event);
        match &event {
            Event::Fail { kind, message, code } => {
                self.failed.get_or_insert_with(|| ProviderError::in_stream(*kind, message, code.as_ref()));
                return;
            }
            // The bill has others in the place of these.
            Event::Usage(figures) if !figures.is_credible() => return,
            Event::Usage(figures) => self.usage = Some(*figures),
            Event::Stop { choice, .. } => self.ended |= 1_u64.checked_shl(*choice).unwrap_or(0),
            _ => {}
        }
        self.encoder.event(&event, out);
    }

    /// What goes before the end of a thought that has no state.
    fn mark(&self, event: &Event<'_>) -> Option<Event<'static>> {
        let Event::Close { choice, block } = *event else { return None };
        let keeper = self.keeper.as_ref().filter(|_| self.marks_thoughts)?;
        Some(Event::Delta { choice, block, delta: Delta::Seal(keeper.mark(choice, block)?) })
    }
}
