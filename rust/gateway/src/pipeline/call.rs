//! The record of one generation: reserved before the first byte goes upstream, settled exactly once, also when the client leaves.

use super::failure::Failure;
use super::intake::Intake;
use super::plan::Choice;
use crate::server::worker::{Worker, unix_ms};
use crate::upstream::{Exchange, ExchangeError};
use fairlead_formats::identity::Identity;
use fairlead_ir::{Dialect, ErrorKind, GenerationId, Manner, NanoUsd, Price, Usage};
use fairlead_ledger::settle::{Bill, Seen, bill};
use fairlead_ledger::{Attempt, Flags, Outcome, Reserve, Scopes, Settle, Timings, reserve};
use fairlead_snapshot::{Principal, Provider, Snapshot};
use http::{HeaderMap, header};
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// A generation in progress. Dropping it settles it as cancelled: nobody was left to take the answer.
pub(crate) struct Call {
    pub(crate) worker: Rc<Worker>,
    pub(crate) snapshot: Arc<Snapshot>,
    choice: Choice,
    record: Settle,
    price: Price,
    pub(crate) seen: Seen,
    began: Instant,
    /// When the attempt began: what lies before was our own work, but for `waited`.
    attempt_at: Instant,
    waited_us: u64,
    /// When the provider's part ended; what comes after is our own work again.
    upstream_done_at: Option<Instant>,
    open: bool,
    wants_nothing: bool,
}

impl Call {
    /// Writes the RESERVE record: from here on the call has a price.
    #[expect(clippy::too_many_arguments, reason = "everything a generation's record is made of, once")]
    pub(crate) fn reserve(
        worker: &Rc<Worker>,
        snapshot: &Arc<Snapshot>,
        principal: &Principal,
        choice: Choice,
        dialect: Dialect,
        manner: Manner,
        headers: &HeaderMap,
        intake: &Intake,
        began: Instant,
    ) -> Result<Call, Failure> {
        let started_at_ms = unix_ms();
        let endpoint = choice.endpoint(snapshot);
        let price = endpoint.price;
        let prompt_tokens_estimate = reserve::prompt_tokens(intake.bytes);
        let too_dear = || {
            Failure::new(ErrorKind::InvalidRequest, "the token limit is beyond anything that can be paid for; lower it")
                .param(Some("max_tokens"))
        };
        let completion_tokens = completion_ceiling(snapshot, choice, &intake.facts);
        let reserved = reserve::ceiling(&price, prompt_tokens_estimate, completion_tokens).ok_or_else(too_dear)?;
        let prompt_usage = Usage { prompt_tokens: prompt_tokens_estimate, ..Usage::default() };
        let scopes = scopes(principal);
        let generation = worker.generation(started_at_ms);
        let reservation = Reserve {
            generation,
            started_at_ms,
            scopes,
            reserved,
            model: choice.model(snapshot).id.to_string(),
            provider: choice.provider(snapshot).slug.clone(),
            prompt_tokens_estimate,
            prompt_cost_estimate: price.cost(&prompt_usage).ok_or_else(too_dear)?,
            price_version: snapshot.version,
        };
        worker.journal.borrow_mut().reserve(&reservation).map_err(|error| {
            worker.counters.journal_failures.add(1);
            Failure::new(ErrorKind::StoreUnavailable, format!("the usage journal cannot take this call: {error}"))
        })?;
        worker.counters.reserved_nanousd.add(reserved.0.unsigned_abs());
        let text = |name: &str| headers.get(name).map_or_else(String::new, |value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let record = Settle {
            generation,
            started_at_ms,
            settled_at_ms: 0,
            scopes,
            dialect,
            manner,
            streamed: intake.facts.stream,
            outcome: Outcome::Cancelled,
            flags: Flags::default(),
            status: 0,
            error: String::new(),
            requested_model: intake.facts.model.clone(),
            model: reservation.model,
            provider: reservation.provider,
            finish: String::new(),
            native_finish: String::new(),
            usage: Usage::default(),
            reserved,
            charged: NanoUsd(0),
            price_version: snapshot.version,
            timings: Timings::default(),
            referer: text("referer"),
            title: ["x-openrouter-title", "x-title"].into_iter().map(text).find(|title| !title.is_empty()).unwrap_or_default(),
            user_agent: text(header::USER_AGENT.as_str()),
            end_user: intake.facts.user.clone().unwrap_or_default(),
            session: intake.facts.session_id.clone().unwrap_or_else(|| text("x-session-id")),
            attempts: vec![Attempt {
                provider: choice.provider(snapshot).slug.clone(),
                endpoint: endpoint.id,
                upstream_model: endpoint.upstream_model.to_string(),
                ..Attempt::default()
            }],
        };
        Ok(Call {
            worker: worker.clone(),
            snapshot: snapshot.clone(),
            choice,
            record,
            price,
            seen: Seen { prompt_tokens_estimate, ..Seen::default() },
            began,
            attempt_at: Instant::now(),
            waited_us: intake.waited.as_micros() as u64,
            upstream_done_at: None,
            open: true,
            wants_nothing: intake.facts.max_completion_tokens == Some(0),
        })
    }

    pub(crate) fn generation(&self) -> GenerationId {
        self.record.generation
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.record.dialect
    }

    pub(crate) fn manner(&self) -> Manner {
        self.record.manner
    }

    pub(crate) fn model(&self) -> &str {
        &self.record.model
    }

    pub(crate) fn provider(&self) -> &Provider {
        self.choice.provider(&self.snapshot)
    }

    pub(crate) fn created_s(&self) -> u64 {
        self.record.started_at_ms / 1000
    }

    pub(crate) fn attempts(&self) -> usize {
        self.record.attempts.len()
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    pub(crate) fn identity(&self) -> Identity {
        let text = self.generation().text();
        let id = std::str::from_utf8(&text).unwrap_or_default();
        Identity::new(self.manner(), id, self.model(), &self.provider().name, self.created_s())
    }

    /// The provider's head has arrived.
    pub(crate) fn head_arrived(&mut self, exchange: &Exchange) {
        self.record.timings.sent_us = self.since_began(exchange.sent_at);
        self.record.timings.head_us = self.since_began(exchange.head_at);
        let status = exchange.status();
        self.seen.billable = (200..300).contains(&status);
        let attempt = self.attempt();
        attempt.status = status;
        if exchange.resent {
            attempt.flags.add(Flags::RESENT);
        }
    }

    /// The attempt ended without a head. Whether the provider took the work on decides what it may cost.
    pub(crate) fn attempt_failed(&mut self, error: &ExchangeError) {
        self.seen.billable = matches!(error, ExchangeError::HeadTimeout);
        self.attempt().error = error.word().to_owned();
    }

    /// The first content has arrived.
    pub(crate) fn content_arrived(&mut self, at: Instant) {
        self.seen.content = true;
        if self.record.timings.content_us == 0 {
            self.record.timings.content_us = self.since_began(at);
        }
    }

    /// The provider's part is over.
    pub(crate) fn upstream_done(&mut self, at: Instant) {
        self.upstream_done_at = Some(at);
    }

    pub(crate) fn note_upstream_id(&mut self, id: &str) {
        id.clone_into(&mut self.attempt().upstream_id);
    }

    pub(crate) fn note_finish(&mut self, finish: &str, native: &str) {
        finish.clone_into(&mut self.record.finish);
        native.clone_into(&mut self.record.native_finish);
    }

    /// The bill as it stands: what the usage seen so far costs.
    pub(crate) fn bill(&self, outcome: Outcome) -> Bill {
        bill(&self.price, outcome, &self.seen)
    }

    /// Our own work so far in microseconds.
    pub(crate) fn own_us(&self) -> u64 {
        let before = self.since_began(self.attempt_at).saturating_sub(self.waited_us);
        let after = self.upstream_done_at.map_or(0, |done| done.elapsed().as_micros() as u64);
        before + after
    }

    /// Whether the client asked for no completion at all (Anthropic's cache warming): then an empty reply is what it wants.
    pub(crate) fn wants_nothing(&self) -> bool {
        self.wants_nothing
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Writes the SETTLE record. The second and later calls change nothing.
    ///
    /// # Errors
    /// When the journal cannot take it; the terminal must not be released then.
    pub(crate) fn settle(&mut self, outcome: Outcome, status: u16, error: &str) -> Result<Bill, Failure> {
        let bill = self.bill(outcome);
        if !std::mem::take(&mut self.open) {
            return Ok(bill);
        }
        let own_us = self.own_us();
        let total_us = self.since_began(Instant::now());
        let latency_us = total_us.saturating_sub(self.since_began(self.attempt_at));
        let attempt = self.attempt();
        attempt.latency_us = latency_us;
        attempt.upstream_cost = bill.upstream_cost;
        attempt.flags.add(bill.flags);
        if outcome != Outcome::Completed && attempt.error.is_empty() {
            error.clone_into(&mut attempt.error);
        }
        let record = &mut self.record;
        record.settled_at_ms = unix_ms().max(record.started_at_ms);
        record.outcome = outcome;
        record.flags.add(bill.flags);
        record.status = status;
        error.clone_into(&mut record.error);
        record.usage = bill.usage;
        record.charged = bill.charged;
        record.timings.total_us = total_us;
        record.timings.own_us = own_us;
        let written = self.worker.journal.borrow_mut().settle(&self.record);
        self.worker.counters.settled(&self.record);
        written.map(|()| bill).map_err(|error| {
            self.worker.counters.journal_failures.add(1);
            Failure::new(ErrorKind::StoreUnavailable, format!("the usage journal could not record this call: {error}"))
        })
    }

    fn attempt(&mut self) -> &mut Attempt {
        if self.record.attempts.is_empty() {
            self.record.attempts.push(Attempt::default());
        }
        let last = self.record.attempts.len() - 1;
        &mut self.record.attempts[last]
    }

    fn since_began(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.began).as_micros() as u64
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.open {
            let outcome = if self.seen.billable { Outcome::Cancelled } else { Outcome::Void };
            // Nobody is left to tell; the journal's own health flag stops further work.
            let _ = self.settle(outcome, 0, "client_gone");
        }
    }
}

/// Most completion tokens the call may produce: what it asks for, else the setting, never more than the model gives.
fn completion_ceiling(snapshot: &Snapshot, choice: Choice, facts: &fairlead_formats::request::Facts) -> u64 {
    let asked = facts.max_completion_tokens.unwrap_or(snapshot.settings.reserve_completion_tokens);
    let most = choice.model(snapshot).max_completion_tokens.unwrap_or(u64::MAX);
    asked.min(most).saturating_mul(facts.choices.max(1))
}

fn scopes(principal: &Principal) -> Scopes {
    let mut scopes = Scopes::default();
    scopes.0[Scopes::ACCOUNT] = principal.account;
    scopes.0[Scopes::TEAM] = principal.team;
    scopes.0[Scopes::USER] = principal.user;
    scopes.0[Scopes::KEY] = principal.key;
    scopes
}
