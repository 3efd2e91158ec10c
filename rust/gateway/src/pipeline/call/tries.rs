//! The attempts of a call: the one in progress, and those before it that came to nothing. Whoever learns from attempts (health, learned
//! limits) finds each of them here once it is over: a failed one in [`Call::begin_again`], the last one in [`Call::tries`].

use super::{Call, Presence, Tried};
use crate::pipeline::failure::Failure;
use crate::pipeline::plan::{Choice, Leg};
use crate::upstream::exchange::Stale;
use fairlead_formats::error::Previous;
use fairlead_ir::{ErrorKind, NanoUsd, Tier};
use fairlead_ledger::settle::{Bill, Seen};
use fairlead_ledger::{Attempt, Flags, Outcome, Scopes, Timings};
use fairlead_router::health::outcome::{Class, Outcome as Ended};
use std::rc::Rc;
use tokio::time::Instant;

/// An attempt that came to nothing, and was followed by another.
pub(super) struct Past {
    choice: Choice,
    upstream_id: String,
    status: u16,
    error: &'static str,
    latency_us: u64,
    pub(super) upstream_cost: NanoUsd,
    flags: Flags,
    tier: Tier,
    /// The provider had all of the request.
    pub(super) sent: bool,
    /// What the client would have been told, as word and status; `None` of a try on a connection that was dead.
    told: Option<(&'static str, u16)>,
}

/// An attempt beside the current one.
pub(super) struct Beside {
    leg: Leg,
    presence: Rc<Presence>,
    began: Instant,
}

/// How an attempt beside the current one failed: with which status, in the record's word, and what the router makes of it.
pub(crate) struct Lost {
    pub(crate) status: u16,
    pub(crate) word: &'static str,
    pub(crate) class: Class,
}

impl Call {
    /// Whether another attempt would still have somebody to answer.
    pub(crate) fn may_go_on(&self) -> bool {
        self.open && !self.seen.content && !self.presence.client_left() && !self.worker.shared.stopping()
    }

    /// Whether a refusal is not the last word: another model may be asked.
    pub(crate) fn may_change_model(&self) -> bool {
        self.changes_model
    }

    /// As [`Call::may_change_model`], of the attempt that begins.
    pub(crate) fn set_may_change_model(&mut self, may: bool) {
        self.changes_model = may;
    }

    /// The attempt has failed. Whether another follows is not known yet.
    pub(crate) fn attempt_over(&mut self, failure: &Failure, at: Instant) -> Class {
        if self.attempt.error.is_empty() {
            self.attempt.error = failure.word;
        }
        self.attempt.over = Some(Over { at, word: failure.kind.row().openrouter, status: failure.status() });
        self.note_failure(failure);
        self.learn_failed(at)
    }

    /// Another attempt begins, in place of the one that is over.
    pub(crate) fn begin_again(&mut self, leg: Leg) {
        self.go_on_with(leg, Instant::now());
    }

    /// An attempt begins beside the current one, at a provider whose meter stops when it is cut off. How far it gets can be seen in its
    /// presence.
    pub(crate) fn begin_beside(&mut self, leg: Leg) -> Rc<Presence> {
        self.presence.noted.may_be_sent(&self.worker);
        let noted = self.presence.noted.clone();
        let presence = Rc::new(Presence::new(self.worker.clone(), self.scopes.0[Scopes::KEY], false, noted));
        self.beside = Some(Box::new(Beside { leg, presence: presence.clone(), began: Instant::now() }));
        presence
    }

    /// The attempt beside the current one takes its place: that one has failed, or is slower.
    pub(crate) fn overtake(&mut self) {
        let Some(beside) = self.beside.take() else { return };
        let Beside { leg, presence, began } = *beside;
        if self.attempt.over.is_none() {
            self.end_early();
            self.attempt.error = OVERTAKEN;
            self.learn(Class::Cancelled, 0, Instant::now());
        }
        self.go_on_with(leg, began);
        self.presence = presence;
    }

    /// Nobody waits for the call any more while two attempts run. The caller pays for one of them as for any call that is left: for the first, or for
    /// the second where that one's provider alone has the request.
    pub(super) fn settle_race(&mut self) {
        let second_was_sent = self.beside.as_ref().is_some_and(|beside| beside.presence.dispatch.sent_at.get().is_some());
        if second_was_sent && !self.seen.billable {
            self.overtake();
            self.end_early();
        }
    }

    /// The attempt beside the current one is over, if there was one: that one was faster, or it `failed` by itself.
    pub(crate) fn end_beside(&mut self, failed: Option<Lost>) {
        let Some(beside) = self.beside.take() else { return };
        let (now, Beside { leg, presence, began }) = (Instant::now(), *beside);
        let Lost { status, word, class } = failed.unwrap_or(Lost { status: 0, word: OVERTAKEN, class: Class::Cancelled });
        let sent = presence.dispatch.sent_at.get().is_some();
        let billable = sent && (status == 0 || (200..300).contains(&status));
        let seen = Seen { billable, prompt_tokens_estimate: self.prompt_tokens_estimate, ..Seen::default() };
        let Bill { upstream_cost, flags, tier, .. } = self.bill_at(leg.choice, began, Outcome::Failed, &seen);
        self.past.push(Past {
            choice: leg.choice,
            upstream_id: String::new(),
            status,
            error: word,
            latency_us: microseconds(began, now),
            upstream_cost,
            flags,
            tier,
            sent,
            told: (class != Class::Cancelled)
                .then(|| (ErrorKind::ProviderUnavailable.row().openrouter, if status >= 400 { status } else { 502 })),
        });
        leg.attempt.finish(&Ended::of(class), None, self.worker.shared.routing_ms(now.into_std()));
    }

    fn go_on_with(&mut self, leg: Leg, began: Instant) {
        let (now, Leg { choice, attempt, moved }) = (Instant::now(), leg);
        if let Some(moved) = moved {
            let passage = self.passage.get_or_insert_default();
            passage.move_to(moved);
            self.scopes.0[Scopes::MODEL] = passage.model();
        }
        self.learning.begin_again(attempt);
        let Tried { upstream_id, status, error, over } = std::mem::take(&mut self.attempt);
        let over_at = over.as_ref().map_or(now, |over| over.at);
        let stale = self.presence.dispatch.stale.get();
        if let Some(stale) = stale {
            self.past.push(self.past_stale(stale));
        }
        let began_at = stale.map_or(self.attempt_at, |stale| stale.failed_at);
        // Nobody has seen what it had of a reply.
        let seen = Seen { content: false, ..self.seen };
        let Bill { upstream_cost, flags, tier, .. } = self.bill_of(Outcome::Failed, &seen);
        self.past.push(Past {
            choice: self.choice,
            upstream_id,
            status,
            error,
            latency_us: microseconds(began_at, over_at),
            upstream_cost,
            flags,
            tier,
            sent: self.seen.billable,
            told: over.map(|over| (over.word, if status >= 400 { status } else { over.status })),
        });
        // What the provider had was no work of ours.
        self.waited_us += microseconds(self.attempt_at, over_at.min(began));
        self.presence.begin_again(!choice.provider(&self.snapshot).cancel_stops_billing);
        self.seen = Seen { prompt_tokens_estimate: self.prompt_tokens_estimate, ..Seen::default() };
        (self.timings, self.upstream_done_at) = (Timings::default(), None);
        (self.finish, self.translation) = (None, Default::default());
        self.native_finish.clear();
        (self.choice, self.attempt_at) = (choice, began);
    }

    /// How many times the request was sent.
    pub(crate) fn attempts(&self) -> usize {
        self.past.len() + 1 + usize::from(self.presence.dispatch.stale.get().is_some())
    }

    /// What a client that asked is told of the routing, should the attempt in progress end with this status.
    pub(crate) fn metadata(&self, status: u16) -> Option<Vec<u8>> {
        let telling = self.telling.as_deref()?;
        // Those that were cut off, by us or by a dead connection, have no status of their own.
        let past = self.past.iter().map(|past| (past.choice, past.told.map_or(CUT_OFF, |told| told.1)));
        let stale = self.presence.dispatch.stale.get().map(|_| (self.choice, CUT_OFF));
        let attempts: Vec<_> = past.chain(stale).chain([(self.choice, status)]).collect();
        Some(telling.member(&self.snapshot, &attempts))
    }

    /// As [`Call::metadata`], of an attempt that failed so.
    pub(crate) fn metadata_of(&self, failure: &Failure) -> Option<Vec<u8>> {
        self.metadata(if self.attempt.status >= 400 { self.attempt.status } else { failure.status() })
    }

    /// The failures before the last one, for who asks on OpenRouter's routes.
    pub(crate) fn previous_errors(&self) -> Vec<Previous<'_>> {
        let told = |past: &Past| past.told.map(|told| (past.choice, told));
        let previous = self.past.iter().filter_map(told);
        previous.map(|(choice, (code, status))| Previous { provider: &choice.provider(&self.snapshot).name, code, status }).collect()
    }

    /// The rows of all attempts, the last of which ended with this bill.
    pub(super) fn tries<'a>(&'a self, bill: &Bill, error: &'a str, now: Instant) -> Vec<Attempt<&'a str>> {
        let stale = self.presence.dispatch.stale.get();
        let began_at = stale.map_or(self.attempt_at, |stale| stale.failed_at);
        let last = Attempt {
            upstream_id: self.attempt.upstream_id.as_str(),
            status: self.attempt.status,
            error: if self.attempt.error.is_empty() { error } else { self.attempt.error },
            latency_us: microseconds(began_at, now),
            upstream_cost: bill.upstream_cost,
            flags: bill.flags,
            tier: bill.tier,
            ..self.row(self.choice)
        };
        let past = self.past.iter().map(|past| self.past_row(past));
        let stale = stale.map(|stale| {
            let Past { status, error, latency_us, upstream_cost, flags, tier, .. } = self.past_stale(stale);
            Attempt { status, error, latency_us, upstream_cost, flags, tier, ..self.row(self.choice) }
        });
        past.chain(stale).chain([last]).collect()
    }

    /// Whether any attempt but the one in progress may have reached a provider whole.
    pub(super) fn was_sent_before(&self) -> bool {
        self.past.iter().any(|past| past.sent) || self.presence.dispatch.stale.get().is_some_and(|stale| stale.sent)
    }

    /// The try on a connection that was dead. What the provider may have got of the request whole, it may bill.
    fn past_stale(&self, stale: Stale) -> Past {
        let uncertain = Seen { billable: stale.sent, prompt_tokens_estimate: self.prompt_tokens_estimate, ..Seen::default() };
        let Bill { upstream_cost, mut flags, tier, .. } = self.bill_of(Outcome::Failed, &uncertain);
        flags.add(Flags::RESENT);
        Past {
            choice: self.choice,
            upstream_id: String::new(),
            status: 0,
            error: stale.word,
            latency_us: microseconds(self.attempt_at, stale.failed_at),
            upstream_cost,
            flags,
            tier,
            sent: stale.sent,
            told: None,
        }
    }

    fn past_row<'a>(&'a self, past: &'a Past) -> Attempt<&'a str> {
        Attempt {
            upstream_id: past.upstream_id.as_str(),
            status: past.status,
            error: past.error,
            latency_us: past.latency_us,
            upstream_cost: past.upstream_cost,
            flags: past.flags,
            tier: past.tier,
            ..self.row(past.choice)
        }
    }

    /// Whose attempt it is.
    fn row(&self, choice: Choice) -> Attempt<&str> {
        let endpoint = choice.endpoint(&self.snapshot);
        Attempt {
            provider: choice.provider(&self.snapshot).slug.as_str(),
            endpoint: endpoint.id,
            upstream_model: &endpoint.upstream_model,
            ..Attempt::default()
        }
    }
}

/// What a client is told as the status of an attempt that never had one: nginx's word for a request that was closed.
const CUT_OFF: u16 = 499;

/// The record's word for an attempt that another was faster than.
const OVERTAKEN: &str = "overtaken";

/// How an attempt ended that failed: when, and what the client would have been told.
pub(super) struct Over {
    at: Instant,
    word: &'static str,
    status: u16,
}

fn microseconds(from: Instant, to: Instant) -> u64 {
    to.saturating_duration_since(from).as_micros() as u64
}
