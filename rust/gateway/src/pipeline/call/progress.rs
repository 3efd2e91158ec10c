//! Notes in the journal of how far a call has come, so that one whose process dies is settled close to the truth.
//!
//! A call that is sent at once, as nearly all are, is noted nowhere: its reservation alone says that it was sent. One whose first attempt
//! waits for a connection is noted as waiting, and again once that may have ended. A stream is noted every [`STEP_TOKENS`] by our own
//! count, and with the first frame [`STEP`] after the last note: a frame that is neither costs two comparisons.

use super::Call;
use crate::pipeline::whole::estimate_tokens;
use crate::upstream::exchange::Dispatch;
use crate::worker::Worker;
use fairlead_ir::{GenerationId, NanoUsd};
use fairlead_ledger::{Delivered, Outcome, Progress, Reach};
use std::cell::Cell;
use std::time::Duration;
use tokio::time::Instant;

/// Completion tokens between two notes.
const STEP_TOKENS: u64 = 256;
/// Time between two notes of a stream that is slower than that.
const STEP: Duration = Duration::from_secs(2);

/// When a stream is noted next.
pub(super) struct Due {
    tokens: u64,
    at: Instant,
}

impl Due {
    pub(super) fn new(began: Instant) -> Due {
        Due { tokens: STEP_TOKENS, at: began + STEP }
    }
}

impl Call {
    /// Whether it is time to note how far a stream with so much content has come.
    #[inline]
    pub(crate) fn is_note_due(&self, content_bytes: u64, at: Instant) -> bool {
        estimate_tokens(content_bytes) >= self.note_due.tokens || at >= self.note_due.at
    }

    /// Notes what a client that left now would pay. `seen` must be up to date.
    #[cold]
    pub(crate) fn note_progress(&mut self, at: Instant) {
        self.note_due = Due { tokens: self.seen.completion_tokens_estimate + STEP_TOKENS, at: at + STEP };
        if !self.seen.content || !self.open {
            return;
        }
        let bill = self.bill(Outcome::Cancelled);
        let endpoint = self.endpoint();
        let delivered = Delivered {
            dialect: self.dialect,
            manner: self.manner,
            flags: self.flags(&bill),
            usage: bill.usage,
            charged: bill.charged,
            upstream_cost: bill.upstream_cost,
            earlier_cost: NanoUsd(self.past.iter().fold(0, |sum, past| past.upstream_cost.0.saturating_add(sum))),
            endpoint: endpoint.id,
            model: &*self.model().id,
            provider: &*self.provider().slug,
            upstream_model: &*endpoint.upstream_model,
            upstream_id: &*self.attempt.upstream_id,
        };
        self.presence.noted.write(&self.worker, Reach::Content(Box::new(delivered)), self.reserved);
    }

    /// Notes that more is held for it now, so that a start after a crash knows of all that was. `seen` must be up to date.
    #[cold]
    pub(super) fn note_hold(&mut self, at: Instant) {
        match self.seen.content {
            true => self.note_progress(at),
            false => self.presence.noted.write(&self.worker, Reach::Sent, self.reserved),
        }
    }
}

/// Nothing is held beyond what the reservation says.
const AS_RESERVED: NanoUsd = NanoUsd(0);

/// What the journal has been told of how far a call has come.
#[derive(Clone)]
pub(crate) struct Noted {
    /// None of a shadow, for which nothing is reserved.
    generation: Option<GenerationId>,
    /// How often.
    times: Cell<u32>,
    /// The last time: that no provider has it.
    waits: Cell<bool>,
}

impl Noted {
    pub(super) fn new(generation: Option<GenerationId>) -> Noted {
        Noted { generation, times: Cell::new(0), waits: Cell::new(false) }
    }

    /// An attempt has been polled and is not done: notes where the first one has to wait before it can be sent, and when that is over.
    pub(crate) fn look(&self, worker: &Worker, dispatch: &Dispatch) {
        let sent = dispatch.sent_at.get().is_some() || dispatch.stale.get().is_some_and(|stale| stale.sent);
        match (self.times.get(), self.waits.get()) {
            (0, _) if !sent => self.write(worker, Reach::Waiting, AS_RESERVED),
            (_, true) if sent => self.write(worker, Reach::Sent, AS_RESERVED),
            _ => {}
        }
    }

    /// Another attempt begins, beside the first or in its place: from here on nobody looks which of them waits.
    pub(super) fn may_be_sent(&self, worker: &Worker) {
        if self.waits.get() {
            self.write(worker, Reach::Sent, AS_RESERVED);
        }
        self.times.set(self.times.get().max(1));
    }

    /// A note that the journal cannot take costs nothing but the closeness of an estimate.
    fn write(&self, worker: &Worker, reach: Reach<&str>, reserved: NanoUsd) {
        let Some(generation) = self.generation else { return };
        self.waits.set(reach == Reach::Waiting);
        self.times.set(self.times.get() + 1);
        let note = Progress { generation, number: self.times.get(), reach, reserved };
        if worker.journal.borrow_mut().progress(&note).is_err() {
            worker.counters.journal_failures.add(1);
        }
    }
}
