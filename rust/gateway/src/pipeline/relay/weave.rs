//! A stream on its way into another dialect: what each event of the provider becomes for the client.

use crate::pipeline::translate::Back;
use crate::worker::unix_ms;
use fairlead_formats::error::{Details, ProviderError};
use fairlead_formats::identity::Identity;
use fairlead_formats::translate::dialects::{StreamDecoder, StreamEncoder};
use fairlead_formats::translate::seals::StreamKeeper;
use fairlead_formats::translate::streamed::StreamLosses;
use fairlead_ir::{Delta, ErrorKind, Event, Losses, Usage};
use fairlead_ledger::settle::Bill;
use std::sync::Arc;

/// The state of one translated stream.
pub(super) struct Weave {
    decoder: StreamDecoder,
    keeper: Option<StreamKeeper>,
    /// Thoughts without state are marked before they are closed.
    marks_thoughts: bool,
    encoder: StreamEncoder,
    lost: StreamLosses,
    usage: Option<Usage>,
    scratch: Vec<u8>,
}

impl Weave {
    pub(super) fn new(back: &Back, identity: Arc<Identity>) -> Weave {
        let (decoder, keeper, encoder) = back.stream(identity);
        Weave { decoder, keeper, marks_thoughts: back.marks_thoughts(), encoder, lost: back.losses(), usage: None, scratch: Vec::new() }
    }

    /// Appends what one event becomes. The end is written by [`Weave::finish`], a failure by [`Weave::fail`].
    ///
    /// # Errors
    /// The reply has failed, in the provider's words or because it makes no sense.
    pub(super) fn write(&mut self, event: &[u8], out: &mut Vec<u8>) -> Result<(), ProviderError> {
        let Weave { decoder, keeper, marks_thoughts, encoder, lost, usage, scratch } = self;
        let (mut failed, now_ms) = (None, unix_ms());
        let read = decoder.read(event, scratch, &mut |event| {
            if let Some(mark) = mark(&event, keeper.as_ref().filter(|_| *marks_thoughts)) {
                encoder.event(&mark, out);
            }
            let event = kept(event, keeper, now_ms);
            lost.note(&event);
            failed = pass(&event, encoder, usage, out).or(failed.take());
        });
        match (failed, read) {
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
        let Weave { decoder, keeper, marks_thoughts, encoder, lost, usage, .. } = self;
        let (mut failed, now_ms) = (None, unix_ms());
        decoder.finish(&mut |event| {
            if let Some(mark) = mark(&event, keeper.as_ref().filter(|_| *marks_thoughts)) {
                encoder.event(&mark, out);
            }
            let event = kept(event, keeper, now_ms);
            lost.note(&event);
            failed = pass(&event, encoder, usage, out).or(failed.take());
        });
        failed.map_or(Ok(()), Err)
    }

    /// Appends the end. The bill's usage stands in for figures that the provider did not give.
    pub(super) fn finish(&mut self, bill: &Bill, out: &mut Vec<u8>) {
        self.encoder.finish(Some(self.usage.as_ref().unwrap_or(&bill.usage)), Some(bill.charged), out);
    }

    /// What the client's dialect had no place for so far.
    pub(super) fn losses(&self) -> &Losses {
        self.lost.losses()
    }

    pub(super) fn fail(&mut self, kind: ErrorKind, message: &str, details: &Details<'_>, out: &mut Vec<u8>) {
        self.encoder.fail(kind, message, details, out);
    }

    pub(super) fn keep_alive(&mut self, out: &mut Vec<u8>) {
        self.encoder.keep_alive(out);
    }
}

/// What goes before the end of a thought that has no state.
fn mark(event: &Event<'_>, keeper: Option<&StreamKeeper>) -> Option<Event<'static>> {
    let Event::Close { choice, block } = *event else { return None };
    Some(Event::Delta { choice, block, delta: Delta::Seal(keeper?.mark(choice, block)?) })
}

/// State of thoughts goes out sealed.
fn kept<'a>(event: Event<'a>, keeper: &mut Option<StreamKeeper>, now_ms: u64) -> Event<'a> {
    match keeper {
        Some(keeper) => keeper.event(event, now_ms),
        None => event,
    }
}

/// Writes an event; its failure comes back instead.
fn pass(event: &Event<'_>, encoder: &mut StreamEncoder, usage: &mut Option<Usage>, out: &mut Vec<u8>) -> Option<ProviderError> {
    match event {
        Event::Fail { kind, message, code } => return Some(ProviderError::in_stream(*kind, message, code.as_ref())),
        Event::Usage(figures) => *usage = Some(*figures),
        _ => {}
    }
    encoder.event(event, out);
    None
}
