//! A stream at the edge of what is held for it (`call/edge`): more is held and it goes on, or it ends there, for the client at least.

use super::judging::{judge, note};
use super::sieve::{Held, Large, Sifted, Unheard};
use super::{Relay, Stage, Step};
use crate::pipeline::Way;
use crate::pipeline::call::{Call, LONGEST_UNHEARD};
use crate::pipeline::translate::Back;
use crate::pipeline::whole;
use crate::upstream::Deadline;
use bytes::Bytes;
use fairlead_ir::Dialect;
use fairlead_ledger::Outcome;
use std::task::{Context, Poll, ready};
use tokio::time::Instant;

/// A stream that ends where its money does, while the provider may go on.
pub(super) struct Cut {
    unheard: Unheard,
    /// How long the provider's figures are waited for.
    until: Deadline,
}

impl Relay {
    /// An event that is looked at elsewhere. How much content it brings is known after that, so that all of it may be.
    pub(super) fn at_large(&mut self, before: Bytes, large: Large) -> Step {
        if self.sieve.has_edge() {
            let content_bytes = self.sieve.tap.content_bytes().saturating_add(large.event.len() as u64);
            match self.call.may_say(content_bytes, 0, false) {
                Some((bytes, tokens)) => self.sieve.set_edge(bytes, tokens),
                None => return self.hold_back(before, Held::unseen(large, &self.sieve.tap)),
            }
        }
        self.look_aside(large);
        Step::Output(before)
    }

    /// It ends with what comes before this event.
    fn hold_back(&mut self, before: Bytes, held: Held) -> Step {
        let edge = Step::Edge(Box::new(held));
        if before.is_empty() {
            return edge;
        }
        self.pending_failure = Some(Box::new(edge));
        Step::Output(before)
    }

    /// More than is held for would come through: it does where more can be held, else it ends here. `before` comes before that.
    pub(super) fn at_edge(&mut self, before: Bytes, mut held: Held) -> Step {
        let ends = held.sight.finish || held.sight.end;
        // Where more is held, the journal is told how far it has come.
        note(&mut self.call, &self.sieve.tap);
        let Some((bytes, tokens)) = self.call.go_on(&self.sieve.tap, ends) else {
            return self.hold_back(before, held);
        };
        self.sieve.set_edge(bytes, tokens);
        self.put_back(std::mem::take(&mut held.rest));
        let (call, content_at, read_at) = (&mut self.call, &mut self.content_at, self.read_at);
        let passed = self.sieve.pass(held, &mut |tap, sight| judge(call, content_at, read_at, tap, sight));
        let bytes = if before.is_empty() { passed.bytes } else { [before, passed.bytes].concat().into() };
        self.step_of(Sifted { bytes, stop: passed.stop })
    }

    /// The money that is held has been used up before this event, and no more of it could be. Where the provider's meter stops with the
    /// connection that ends here; where it runs on, what is still coming is heard for its figures, as for a client that has left.
    pub(super) fn cut(&mut self, held: Held) {
        note(&mut self.call, &self.sieve.tap);
        self.call.cut(held.content_before);
        let mut closing = Vec::new();
        let unheard = self.sieve.mute(&held, &mut closing);
        self.ready.extend_from_slice(&closing);
        match self.call.billed_whole().is_some() {
            true => self.put_back(held.rest),
            false => (self.stage, self.unsifted) = (Stage::Ended, Bytes::new()),
        }
        self.cut = Some(Box::new(Cut { unheard, until: Deadline::after(Instant::now(), LONGEST_UNHEARD) }));
    }

    /// Until the provider has said the rest, nobody waits for it any more, or there is none.
    pub(super) fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !matches!(self.stage, Stage::Ended) && self.call.is_open() && !self.is_cut_off() {
            match self.poll_step(context) {
                Poll::Ready(Step::Output(_)) => {}
                Poll::Ready(Step::End | Step::Failed(_) | Step::Edge(_)) => break,
                Poll::Pending if self.sieve.held_bytes() > whole::UNHEARD_BYTES => break,
                Poll::Pending => {
                    let Some(cut) = &mut self.cut else { break };
                    ready!(cut.until.poll(context));
                    self.note();
                    break;
                }
            }
        }
        Poll::Ready(())
    }

    /// The end of a stream that was cut: settled, then told with its figures.
    pub(super) fn end_cut(&mut self) {
        let Some(cut) = self.cut.take() else { return };
        (self.told, self.stage) = (true, Stage::Ended);
        self.call.upstream_done(self.read_at);
        match self.call.settle(Outcome::Completed, 200, "") {
            Ok(bill) => {
                let mut last = Vec::new();
                self.sieve.cut(cut.unheard, self.call.choices(), &bill, &mut last);
                if self.call.is_kept() {
                    self.keep(Bytes::copy_from_slice(&last));
                }
                self.ready.extend_from_slice(&last);
            }
            Err(failure) => self.tell(&failure),
        }
    }
}

impl Way {
    /// What can write the end of a stream that passes as it comes, where that must have read the whole of it: should it be cut.
    pub(super) fn shadow(&self, call: &Call) -> Option<Back> {
        let Way::Bytes { purpose, withhold_usage } = *self else { return None };
        let reads_all = call.edge().is_some() && (call.dialect() == Dialect::OpenaiResponses || call.choices() > 1);
        reads_all.then(|| Back::shadow(call.dialect(), purpose, !withhold_usage, call.endpoint().traits))
    }
}
