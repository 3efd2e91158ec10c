//! The events of a stream on their way through: cut out of bytes that arrive in any pieces, looked at, judged, and passed, changed or
//! left out, or written anew in another dialect. Knows no call and no clock.
//!
//! Nothing of an event passes before the whole of it was judged, and nothing of one that was judged a failure passes at all.

use super::weave::Weave;
use bytes::{Bytes, BytesMut};
use fairlead_formats::error::ProviderError;
use fairlead_formats::figures::believable;
use fairlead_formats::metadata;
use fairlead_formats::tap::{Action, Sight, Tap};
use fairlead_formats::translate::wire::Wire;
use fairlead_ir::{Dialect, NanoUsd};
use fairlead_ledger::settle::Bill;
use std::ops::Range;

/// What comes through, and what it ended with.
pub(super) struct Sifted<F> {
    /// For the client; empty when nothing is.
    pub(super) bytes: Bytes,
    pub(super) stop: Option<Stop<F>>,
}

/// Why nothing more comes through.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop<F> {
    /// An event exceeds the limit.
    TooLarge,
    /// An event was judged a failure.
    Failed(F),
    /// An event is so large that looking at it here would hold up everybody: see [`Sieve::look_at`].
    Large(Large),
    /// With an event there would be more content than may come through.
    Edge(Held),
}

/// An event that has been looked at and has not passed, and what came behind it in the same payload.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Held {
    event: Bytes,
    pub(super) rest: Bytes,
    pub(super) sight: Sight,
    /// Bytes of content that came before it.
    pub(super) content_before: u64,
    /// The tap has counted it.
    is_seen: bool,
}

impl Held {
    /// An event that nobody has looked at.
    pub(super) fn unseen(large: Large, tap: &Tap) -> Held {
        Held { event: large.event, rest: large.rest, sight: Sight::default(), content_before: tap.content_bytes(), is_seen: false }
    }
}

/// Why an event did not pass.
enum Halt<F> {
    Failed(F),
    Edge(Sight, u64),
}

/// Events from this size on are looked at beside the worker, so that no poll of it takes long.
pub(super) const LARGE_FROM_BYTES: usize = 64 << 10;

/// A large event, and what came behind it in the same payload.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Large {
    pub(super) event: Bytes,
    pub(super) rest: Bytes,
}

/// A large event that was looked at, and rewritten if that needs no bill.
pub(super) struct Looked {
    event: Bytes,
    tap: Tap,
    weave: Option<Box<Weave>>,
    sight: Sight,
    rewritten: Option<Vec<u8>>,
}

/// A weave that has written nothing but signs of life, and the events that it has not seen. Until there is content, the events can be left
/// behind and the weave can go on with those of another stream, numbers and all.
struct Asleep {
    weave: Box<Weave>,
    events: BytesMut,
}

/// The state of one stream.
pub(super) struct Sieve {
    pub(super) tap: Tap,
    wire: Wire,
    /// Writes the events anew where the client speaks another dialect.
    weave: Option<Box<Weave>>,
    /// The same while the events wait for the first content.
    asleep: Option<Asleep>,
    /// The beginning of an event whose end has not come yet.
    partial: BytesMut,
    /// The dialect's last event has passed.
    ended: bool,
    /// The event before ended with a CR, which may be half of a CRLF: an LF now belongs to it.
    after_cr: bool,
    /// That CR has passed to the client, and so does its LF.
    passes_line_feed: bool,
    /// The end is to be kept.
    keeps_end: bool,
    /// What the client gets of the dialect's last event.
    end: Option<Bytes>,
    postscript: Option<Postscript>,
    /// So many bytes of content, and tokens where the provider counts on the way, may come through; [`u64::MAX`] where nobody counts.
    edge_bytes: u64,
    edge_tokens: u64,
    /// Reads what passes as it came, to write the end of a dialect whose last event repeats the whole reply.
    shadow: Option<Box<Weave>>,
}

/// What the client's end is written with, where it is none of the provider's.
pub(super) struct Unheard {
    weave: Option<Box<Weave>>,
    postscript: Option<Postscript>,
}

/// A member for the last event of a stream, in the client's dialect.
struct Postscript {
    dialect: Dialect,
    member: Vec<u8>,
    /// It stands in an event already: chat has it beside the figures, before `[DONE]`.
    written: bool,
}

impl Sieve {
    /// `wire` tells the events apart; what `tap` sees of them goes out through `weave`, if there is one.
    pub(super) fn new(tap: Tap, wire: Wire, weave: Option<Box<Weave>>) -> Sieve {
        Sieve {
            tap,
            wire,
            weave,
            asleep: None,
            partial: BytesMut::new(),
            ended: false,
            after_cr: false,
            passes_line_feed: false,
            keeps_end: false,
            end: None,
            postscript: None,
            edge_bytes: u64::MAX,
            edge_tokens: u64::MAX,
            shadow: None,
        }
    }

    /// No more content comes through than this, in bytes as written and in tokens where the provider counts them on the way: the event with
    /// which there would be more is handed back ([`Stop::Edge`]).
    pub(super) fn set_edge(&mut self, bytes: u64, tokens: u64) {
        (self.edge_bytes, self.edge_tokens) = (bytes, tokens);
    }

    /// Whether content is counted.
    pub(super) fn has_edge(&self) -> bool {
        self.edge_bytes != u64::MAX
    }

    /// The end of what passes as it came may have to be written by `shadow`.
    pub(super) fn shadow(&mut self, shadow: Box<Weave>) {
        self.shadow = Some(shadow);
    }

    /// What is seen from now on does not reach the client, whose stream ends before `held`, with what this returns.
    pub(super) fn mute(&mut self, held: &Held, out: &mut Vec<u8>) -> Unheard {
        (self.keeps_end, self.edge_bytes) = (false, u64::MAX);
        let weave = match self.weave.take() {
            Some(weave) => Some(weave),
            None => {
                self.tap.close_block(out);
                let events = self.tap.sequence_number().saturating_sub(u64::from(held.is_seen));
                let mut shadow = self.shadow.take();
                if let Some(shadow) = &mut shadow {
                    shadow.go_on_from(events);
                }
                shadow
            }
        };
        Unheard { weave, postscript: self.postscript.take() }
    }

    /// Writes the end of a stream that is cut.
    pub(super) fn cut(&mut self, unheard: Unheard, choices: u32, bill: &Bill, out: &mut Vec<u8>) {
        match unheard.weave {
            Some(mut weave) => weave.cut(choices, bill, out),
            None => self.tap.cut(&bill.usage, bill.charged, out),
        }
        self.postscript = unheard.postscript;
        self.write_postscript(true, out, 0);
    }

    /// The last event has a member more, which `dialect` is the client's to say where.
    pub(super) fn add_postscript(&mut self, dialect: Dialect, member: Vec<u8>) {
        self.postscript = Some(Postscript { dialect, member, written: false });
    }

    /// Writes the postscript into the last of the events `out[from..]`, which may be the last of all.
    pub(super) fn write_postscript(&mut self, is_last: bool, out: &mut Vec<u8>, from: usize) {
        let Some(Postscript { dialect, member, written }) = &mut self.postscript else { return };
        let is_chat = *dialect == Dialect::OpenaiChat;
        // Chat's last event may be the bare word, and the figures then came before it.
        if !is_last && !is_chat || is_last && is_chat && *written {
            return;
        }
        *written |= metadata::add_to_last_event(*dialect, member, out, from);
        if is_last && is_chat && !*written {
            let end = out.split_off(from);
            self.tap.write_chunk(member, out);
            out.extend_from_slice(&end);
        }
    }

    /// The end will be asked for.
    pub(super) fn keep_end(&mut self) {
        self.keeps_end = true;
    }

    /// What the client gets of the dialect's last event, once it has come and if it is to be kept.
    pub(super) fn take_end(&mut self) -> Option<Bytes> {
        self.end.take()
    }

    fn note_end(&mut self, written: &[u8]) {
        if self.ended && self.keeps_end {
            self.end = Some(Bytes::copy_from_slice(written));
        }
    }

    /// Whether the dialect's last event has passed.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Bytes held of an event whose end has not come.
    pub(super) fn held_bytes(&self) -> usize {
        self.partial.len()
    }

    /// Lets the weave sleep until there is content. `events` have passed and not gone out yet.
    pub(super) fn sleep(&mut self, weave: Option<Box<Weave>>, events: BytesMut) {
        self.asleep = weave.or_else(|| self.weave.take()).map(|weave| Asleep { weave, events });
    }

    /// The weave that sleeps.
    pub(super) fn take_sleeper(&mut self) -> Option<Box<Weave>> {
        self.asleep.take().map(|asleep| asleep.weave)
    }

    /// How much waits for it to wake.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.asleep.as_ref().map_or(0, |asleep| asleep.events.len())
    }

    /// Whether something writes the client's dialect, awake or asleep.
    pub(super) fn has_weave(&self) -> bool {
        self.weave.is_some() || self.asleep.is_some()
    }

    /// What writes the client's dialect where that is not what comes; also while it sleeps.
    pub(super) fn weave(&mut self) -> Option<&mut Weave> {
        self.weave.as_deref_mut().or(self.asleep.as_mut().map(|asleep| &mut *asleep.weave))
    }

    /// What could write to the client: the weave, where there is one, and the tap.
    pub(super) fn voices(&mut self) -> (Option<&mut Weave>, &Tap) {
        (self.weave.as_deref_mut().or(self.asleep.as_mut().map(|asleep| &mut *asleep.weave)), &self.tap)
    }

    /// Wakes the weave: what has waited is written.
    pub(super) fn wake(&mut self, out: &mut Vec<u8>) -> Result<(), ProviderError> {
        let Some(Asleep { weave, events }) = self.asleep.take() else { return Ok(()) };
        self.weave_from(weave, &events, out)
    }

    /// What comes through of the next payload. `judge` is asked about every event; it says what the client pays where the sight asks
    /// for the bill.
    pub(super) fn take<F>(&mut self, payload: Bytes, judge: &mut impl FnMut(&Tap, &Sight) -> Result<Option<Bill>, F>) -> Sifted<F> {
        if self.ended || self.partial.is_empty() {
            return self.take_events(payload, judge);
        }
        match self.wire.next_end(&payload, 0) {
            Err(problem) => Sifted { bytes: Bytes::new(), stop: Some(self.unframed(&problem, judge)) },
            Ok(None) => {
                self.partial.extend_from_slice(&payload);
                Sifted { bytes: Bytes::new(), stop: None }
            }
            Ok(Some(end)) => {
                self.partial.extend_from_slice(&payload[..end]);
                let mut first = self.take_partial(judge);
                match &mut first.stop {
                    Some(Stop::Large(large)) => large.rest = payload.slice(end..),
                    Some(Stop::Edge(held)) => held.rest = payload.slice(end..),
                    _ => {}
                }
                if first.stop.is_some() || end == payload.len() {
                    return first;
                }
                let more = self.take_events(payload.slice(end..), judge);
                Sifted { bytes: join(first.bytes, more.bytes), stop: more.stop }
            }
        }
    }

    /// The work of looking at a large event, to be done anywhere. Until [`Sieve::resume`] has its result, `stand_in` is the tap here.
    pub(super) fn look_at(&mut self, event: Bytes, stand_in: Tap) -> impl FnOnce() -> Looked + Send + 'static + use<> {
        let mut tap = std::mem::replace(&mut self.tap, stand_in);
        let mut weave = self.weave.take();
        move || {
            let mut sight = tap.inspect(&event);
            let rewrites = sight.action == Action::Rewrite && !sight.bill;
            let rewritten = (weave.is_some() || rewrites).then(|| {
                let mut out = Vec::with_capacity(event.len() + 256);
                match &mut weave {
                    Some(weave) => sight = woven(weave, &mut tap, &event, sight, &mut out),
                    None => tap.rewrite(&event, None, &mut out),
                }
                out
            });
            Looked { event, tap, weave, sight, rewritten }
        }
    }

    /// What comes through of a large event.
    pub(super) fn resume<F>(&mut self, looked: Looked, judge: &mut impl FnMut(&Tap, &Sight) -> Result<Option<Bill>, F>) -> Sifted<F> {
        let Looked { event, tap, weave, sight, rewritten } = looked;
        (self.tap, self.weave) = (tap, weave);
        let bill = match judge(&self.tap, &sight) {
            Ok(bill) => bill,
            Err(failure) => return Sifted { bytes: Bytes::new(), stop: Some(Stop::Failed(failure)) },
        };
        self.ended = sight.end;
        if let Some(shadow) = &mut self.shadow {
            shadow.follow(&event);
        }
        let mut bytes = match (&mut self.weave, sight.action) {
            (Some(weave), _) => {
                let mut out = rewritten.unwrap_or_default();
                if let Some(bill) = bill.filter(|_| sight.end) {
                    weave.finish(&bill, &mut out);
                }
                Bytes::from(out)
            }
            (None, Action::Pass) => event.clone(),
            (None, Action::Withhold) => Bytes::new(),
            (None, Action::Rewrite) => Bytes::from(rewritten.unwrap_or_else(|| {
                let mut out = Vec::with_capacity(event.len() + 256);
                self.tap.rewrite(&event, cost(&sight, bill), &mut out);
                out
            })),
        };
        if let Some(better) = bill.filter(|_| sight.absurd).and_then(|bill| believable(&bytes, &bill.usage)) {
            bytes = Bytes::from(better);
        }
        self.note_end(&bytes);
        if self.postscript.is_some() && bill.is_some_and(|_| sight.bill || sight.end) {
            let mut out = Vec::from(bytes);
            self.write_postscript(sight.end, &mut out, 0);
            bytes = Bytes::from(out);
        }
        self.after_cr = self.wire.is_text() && event.ends_with(b"\r");
        self.passes_line_feed = self.weave.is_none() && bytes.ends_with(b"\r");
        Sifted { bytes, stop: None }
    }

    /// The provider closed its body. An event without its blank line counts if its data is whole; a piece of one does not.
    pub(super) fn take_rest<F>(&mut self, judge: &mut impl FnMut(&Tap, &Sight) -> Result<Option<Bill>, F>) -> Sifted<F> {
        if self.ended || self.partial.is_empty() {
            return Sifted { bytes: Bytes::new(), stop: None };
        }
        if self.partial.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            // The LF of a CRLF whose CR ended the last event: no event, but it passes as it came.
            return Sifted { bytes: self.partial.split().freeze(), stop: None };
        }
        if !self.wire.is_whole(&self.partial) {
            return Sifted { bytes: Bytes::new(), stop: None };
        }
        self.partial.extend_from_slice(b"\n\n");
        self.take_partial(judge)
    }

    /// The event that was gathered, now that it is complete.
    fn take_partial<F>(&mut self, judge: &mut impl FnMut(&Tap, &Sight) -> Result<Option<Bill>, F>) -> Sifted<F> {
        let event = self.partial.split().freeze();
        let mut batch = Batch::new(event.clone());
        let place = self.behind_line_feed(&event, 0..event.len(), &mut batch);
        if place.len() >= LARGE_FROM_BYTES {
            let woken = self.wake_before(place.start, &mut batch, judge);
            let large = Large { event: event.slice(place.clone()), rest: Bytes::new() };
            return Sifted { bytes: batch.finish(place.start), stop: Some(woken.map_or_else(Stop::Failed, |()| Stop::Large(large))) };
        }
        match self.see(&event, place.clone(), &mut batch, judge) {
            Ok(()) => Sifted { bytes: batch.finish(event.len()), stop: None },
            Err(Halt::Failed(failure)) => Sifted { bytes: batch.finish(0), stop: Some(Stop::Failed(failure)) },
            Err(Halt::Edge(sight, content_before)) => {
                let held = Held { event: event.slice(place.clone()), rest: Bytes::new(), sight, content_before, is_seen: true };
                Sifted { bytes: batch.finish(place.start), stop: Some(Stop::Edge(held)) }
            }
        }
    }

    /// What comes through of an event that was held back, now that it may pass.
    pub(super) fn pass<F>(&mut self, held: Held, judge: &mut impl FnMut(&Tap, &Sight) -> Result<Option<Bill>, F>) -> Sifted<F> {
        let Held { event, sight, .. } = held;
        let mut batch = Batch::new(event.clone());
        match self.pass_on(&event, 0..event.len(), sight, &mut batch, judge) {
            Ok(()) => Sifted { bytes: batch.finish(event.len()), stop: None },
            Err(failure) => Sifted { bytes: batch.finish(0), stop: Some(Stop::Failed(failure)) },
        }
    }

    /// Complete events of a payload. The rest waits for its end.
    fn take_events<F>(&mut self, payload: Bytes, judge: &mut impl FnMut(&Tap, &Sight) -> Result<Option<Bill>, F>) -> Sifted<F> {
        let mut batch = Batch::new(payload.clone());
        let mut at = 0;
        while !self.ended {
            let end = match self.wire.next_end(&payload, at) {
                Ok(Some(end)) => end,
                Ok(None) => break,
                Err(problem) => return Sifted { bytes: batch.finish(at), stop: Some(self.unframed(&problem, judge)) },
            };
            let place = self.behind_line_feed(&payload, at..end, &mut batch);
            if place.len() >= LARGE_FROM_BYTES {
                let woken = self.wake_before(place.start, &mut batch, judge);
                let large = Large { event: payload.slice(place.clone()), rest: payload.slice(end..) };
                return Sifted { bytes: batch.finish(place.start), stop: Some(woken.map_or_else(Stop::Failed, |()| Stop::Large(large))) };
            }
            match self.see(&payload, place.clone(), &mut batch, judge) {
                Ok(()) => at = end,
                Err(Halt::Failed(failure)) => return Sifted { bytes: batch.finish(at), stop: Some(Stop::Failed(failure)) },
                Err(Halt::Edge(sight, content_before)) => {
                    let held =
                        Held { event: payload.slice(place.clone()), rest: payload.slice(end..), sight, content_before, is_seen: true };
                    return Sifted { bytes: batch.finish(place.start), stop: Some(Stop::Edge(held)) };
                }
            }
        }
        if self.ended {
            // Nothing passes after the end but the LF of a CRLF.
            at += self.cut_line_feed(&payload[at..]) * usize::from(self.passes_line_feed);
        } else if at < payload.len() {
            self.partial.extend_from_slice(&payload[at..]);
        }
        Sifted { bytes: batch.finish(at), stop: None }
    }

    /// How long the cut line end of the event before is in `next`: 0 or 1.
    fn cut_line_feed(&mut self, next: &[u8]) -> usize {
        let cut = !next.is_empty() && std::mem::take(&mut self.after_cr);
        usize::from(cut && next.starts_with(b"\n"))
    }

    /// Where the event at `place` begins once the line end of the one before is done with.
    #[inline]
    fn behind_line_feed(&mut self, payload: &[u8], place: Range<usize>, batch: &mut Batch) -> Range<usize> {
        if !self.after_cr {
            return place;
        }
        let line_feed = place.start..place.start + self.cut_line_feed(&payload[place.clone()]);
        let start = line_feed.end;
        if !self.passes_line_feed {
            batch.change(line_feed);
        }
        start..place.end
    }

    /// One event: what it tells, and what becomes of it.
    #[inline]
    fn see<F>(
        &mut self,
        payload: &[u8],
        place: Range<usize>,
        batch: &mut Batch,
        judge: &mut impl FnMut(&Tap, &Sight) -> Result<Option<Bill>, F>,
    ) -> Result<(), Halt<F>> {
        let event = &payload[place.clone()];
        self.after_cr = self.wire.is_text() && event.ends_with(b"\r");
        let content_before = self.tap.content_bytes();
        let sight = self.tap.inspect(event);
        if self.tap.content_bytes() > self.edge_bytes || sight.usage && self.counts_beyond_edge() {
            return Err(Halt::Edge(sight, content_before));
        }
        self.pass_on(payload, place, sight, batch, judge).map_err(Halt::Failed)
    }

    /// Whether the provider's running total is beyond the edge. Final figures are for the settlement.
    fn counts_beyond_edge(&self) -> bool {
        let counted = self.tap.usage().map_or(0, |usage| usage.completion_tokens);
        self.has_edge() && !self.tap.terminal() && counted > self.edge_tokens
    }

    /// What becomes of an event that was looked at.
    #[inline]
    fn pass_on<F>(
        &mut self,
        payload: &[u8],
        place: Range<usize>,
        sight: Sight,
        batch: &mut Batch,
        judge: &mut impl FnMut(&Tap, &Sight) -> Result<Option<Bill>, F>,
    ) -> Result<(), F> {
        let event = &payload[place.clone()];
        if let Some(asleep) = &mut self.asleep {
            self.passes_line_feed = false;
            if !sight.first_content && !sight.end {
                asleep.events.extend_from_slice(event);
                batch.change(place);
                return judge(&self.tap, &sight).map(drop);
            }
            self.wake_before(place.start, batch, judge)?;
        }
        if let Some(weave) = &mut self.weave {
            self.passes_line_feed = false;
            let out = batch.change(place);
            let before = out.len();
            let sight = woven(weave, &mut self.tap, event, sight, out);
            let bill = judge(&self.tap, &sight).inspect_err(|_| out.truncate(before))?;
            self.ended = sight.end;
            if let Some(bill) = bill.filter(|_| sight.end) {
                weave.finish(&bill, out);
            }
            self.note_end(&out[before..]);
            if sight.end {
                self.write_postscript(true, out, before);
            }
            return Ok(());
        }
        let bill = judge(&self.tap, &sight)?;
        self.ended = sight.end;
        if let Some(shadow) = &mut self.shadow {
            shadow.follow(event);
        }
        if let Some(bill) = bill.filter(|_| sight.absurd && sight.action != Action::Withhold) {
            self.pass_believable(event, sight, bill, batch.change(place));
            return Ok(());
        }
        self.passes_line_feed = match sight.action {
            Action::Pass if sight.end && self.postscript.is_some() => {
                let out = batch.change(place);
                let before = out.len();
                self.note_end(event);
                out.extend_from_slice(event);
                self.write_postscript(true, out, before);
                out.ends_with(b"\r")
            }
            Action::Pass => {
                self.note_end(event);
                self.after_cr
            }
            Action::Withhold => {
                batch.change(place);
                false
            }
            Action::Rewrite => {
                let out = batch.change(place);
                let before = out.len();
                self.tap.rewrite(event, cost(&sight, bill), out);
                self.note_end(&out[before..]);
                if bill.is_some() {
                    self.write_postscript(sight.end, out, before);
                }
                out.ends_with(b"\r")
            }
        };
        Ok(())
    }

    /// An event with figures that nobody can believe: what is billed stands in their place.
    #[cold]
    fn pass_believable(&mut self, event: &[u8], sight: Sight, bill: Bill, out: &mut Vec<u8>) {
        let before = out.len();
        match sight.action {
            Action::Rewrite => self.tap.rewrite(event, cost(&sight, Some(bill)), out),
            Action::Pass | Action::Withhold => out.extend_from_slice(event),
        }
        if let Some(better) = believable(&out[before..], &bill.usage) {
            out.truncate(before);
            out.extend_from_slice(&better);
        }
        self.note_end(&out[before..]);
        if sight.bill || sight.end {
            self.write_postscript(sight.end, out, before);
        }
        self.passes_line_feed = out.ends_with(b"\r");
    }

    /// Wakes the weave before the event at `start`.
    fn wake_before<F>(
        &mut self,
        start: usize,
        batch: &mut Batch,
        judge: &mut impl FnMut(&Tap, &Sight) -> Result<Option<Bill>, F>,
    ) -> Result<(), F> {
        if self.asleep.is_none() {
            return Ok(());
        }
        match self.wake(batch.change(start..start)) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.tap.fail(error);
                judge(&self.tap, &Sight { error: true, ..Sight::default() }).map(drop)
            }
        }
    }

    /// The bytes cannot be cut into events.
    fn unframed<F>(&mut self, problem: &str, judge: &mut impl FnMut(&Tap, &Sight) -> Result<Option<Bill>, F>) -> Stop<F> {
        if self.wire.is_text() {
            return Stop::TooLarge;
        }
        self.tap.fail(ProviderError::garbage(problem));
        judge(&self.tap, &Sight { error: true, ..Sight::default() }).map_or_else(Stop::Failed, |_| Stop::TooLarge)
    }

    /// From here on events are written anew; so are `passed`, the complete events that have not gone out yet.
    pub(super) fn weave_from(&mut self, mut weave: Box<Weave>, passed: &[u8], out: &mut Vec<u8>) -> Result<(), ProviderError> {
        let mut wire = Wire::new(self.tap.dialect(), passed.len());
        let mut at = 0;
        self.shadow = None;
        while let Ok(Some(end)) = wire.next_end(passed, at) {
            weave.write(&passed[at..end], out)?;
            at = end;
        }
        self.weave = Some(weave);
        Ok(())
    }

    /// What is still promised once the provider has closed its body without a last event, and the end.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) -> Result<(), ProviderError> {
        self.wake(out)?;
        let Some(weave) = &mut self.weave else { return Ok(()) };
        let closed = weave.close(out);
        self.tap.know_losses(weave.losses());
        take_watch(weave, &mut self.tap);
        closed
    }
}

/// The stream is over: the tap is asked about its tool calls.
fn take_watch(weave: &mut Weave, tap: &mut Tap) {
    if let Some(watch) = weave.take_watch() {
        tap.watch(watch);
    }
}

/// Writes an event anew. That it makes no sense to the weaver is a failure too.
fn woven(weave: &mut Weave, tap: &mut Tap, event: &[u8], sight: Sight, out: &mut Vec<u8>) -> Sight {
    let written = weave.write(event, out);
    tap.know_losses(weave.losses());
    if sight.end {
        take_watch(weave, tap);
    }
    match written {
        Ok(()) => sight,
        Err(error) => {
            tap.fail(error);
            Sight { error: true, ..sight }
        }
    }
}

/// What the client pays, where the event shows it.
fn cost(sight: &Sight, bill: Option<Bill>) -> Option<NanoUsd> {
    bill.filter(|_| sight.bill).map(|bill| bill.charged)
}

/// The events of one payload on their way out: a slice of it while nothing changes, a copy from the first change on.
struct Batch {
    payload: Bytes,
    kept_from: usize,
    changed: Option<Vec<u8>>,
}

impl Batch {
    fn new(payload: Bytes) -> Batch {
        Batch { payload, kept_from: 0, changed: None }
    }

    /// Leaves out the event at `place`; what is written to the returned buffer comes in its stead.
    fn change(&mut self, place: Range<usize>) -> &mut Vec<u8> {
        let buffer = self.changed.get_or_insert_with(|| Vec::with_capacity(self.payload.len() + 256));
        buffer.extend_from_slice(&self.payload[self.kept_from..place.start]);
        self.kept_from = place.end;
        buffer
    }

    /// Everything up to `end`.
    fn finish(self, end: usize) -> Bytes {
        let kept = self.kept_from..end.max(self.kept_from);
        match self.changed {
            None => self.payload.slice(kept),
            Some(mut buffer) => {
                buffer.extend_from_slice(&self.payload[kept]);
                Bytes::from(buffer)
            }
        }
    }
}

fn join(first: Bytes, second: Bytes) -> Bytes {
    match (first.is_empty(), second.is_empty()) {
        (true, _) => second,
        (_, true) => first,
        _ => [first, second].concat().into(),
    }
}

#[cfg(test)]
mod tests;
