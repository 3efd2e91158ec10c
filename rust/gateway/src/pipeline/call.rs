//! The record of one generation: reserved before the first byte goes upstream, settled exactly once, also when the client leaves.

mod content;
mod edge;
mod hit;
mod learning;
mod leaving;
mod progress;
mod short;
mod translation;
mod tries;

pub(super) use hit::{Hit, settle as settle_hit};
pub(crate) use leaving::{Attended, CutOff, LONGEST as LONGEST_UNHEARD, Place as UnheardPlace, Presence, Work};
pub(super) use short::usd;
pub(crate) use tries::Lost;

use super::Admitted;
use super::failure::{Failure, SHUTTING_DOWN};
use super::head::Head;
use super::intake::Intake;
use super::passage::Passage;
use super::plan::{Choice, Journey, Leg};
use super::receipt::Receipt;
use super::repeat::Ended;
use super::stateful::Keeping;
use super::telling::Telling;
use super::whole;
use crate::content::Recorder;
use crate::routes::Face;
use crate::upstream::{Exchange, ExchangeError};
use crate::worker::Worker;
use edge::{Asked, Ceiling, Edge};
use fairlead_formats::identity::Identity;
use fairlead_formats::reply::Missing;
use fairlead_formats::request::Purpose;
use fairlead_formats::tool_calls::Offer;
use fairlead_ir::{Dialect, ErrorKind, Finish, GenerationId, Loss, Losses, Manner, NanoUsd, Terms, Tier, Usage};
use fairlead_journal::{Durable, ReserveRef};
use fairlead_ledger::hold::{self, Hold};
use fairlead_ledger::reserve;
use fairlead_ledger::settle::{Bill, Seen, bill};
use fairlead_ledger::{Api, Flags, Outcome, Particulars, Scopes, Settle, Timings};
use fairlead_router::names::Arm;
use fairlead_snapshot::{Endpoint, Model, Preset, Principal, Provider, Snapshot};
use http::HeaderValue;
use learning::Learning;
use progress::{Due, Noted};
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;
use translation::Translation;
use tries::{Beside, Over, Past};

/// A generation in progress. Dropping it settles it as cancelled: nobody was left to take the answer.
pub(crate) struct Call {
    pub(crate) worker: Rc<Worker>,
    pub(crate) snapshot: Arc<Snapshot>,
    choice: Choice,
    generation: GenerationId,
    /// The split that it was drawn from.
    arm: Option<Arm>,
    /// The presets that it named and their versions, as the record has them.
    presets: Option<Box<(String, String)>>,
    /// It is a copy of a request to this model, that nobody waits for and nobody pays.
    shadow_of: Option<usize>,
    started_at_ms: u64,
    scopes: Scopes,
    dialect: Dialect,
    manner: Manner,
    streamed: bool,
    reserved: NanoUsd,
    client: Client,
    /// Attempts that failed before this one.
    past: Vec<Past>,
    attempt: Tried,
    /// One that runs at the same time.
    beside: Option<Box<Beside>>,
    learning: Learning,
    /// The tools, where it is learned whether the reply calls them as it should.
    pub(crate) offer: Option<Arc<Offer>>,
    /// Why it went where it went, for a client that asked.
    pub(crate) explanation: Option<HeaderValue>,
    /// What a client that asked is told of the routing.
    telling: Option<Rc<Telling>>,
    /// An attempt of another model may follow.
    changes_model: bool,
    prompt_tokens_estimate: u64,
    length: Asked,
    note_due: Due,
    timings: Timings,
    finish: Option<Finish>,
    native_finish: String,
    translation: Translation,
    pub(crate) seen: Seen,
    presence: Rc<Presence>,
    began: Instant,
    /// When the request had come whole: a client has waited in silence since then.
    whole_at: Instant,
    /// When the attempt began: what lies before was our own work, but for `waited_us`, which others took.
    attempt_at: Instant,
    waited_us: u64,
    /// When the provider's part ended; what comes after is our own work again.
    upstream_done_at: Option<Instant>,
    wants_nothing: bool,
    /// Where the reply is to be kept.
    keeping: Option<Box<Keeping>>,
    /// The same, said in the reply: what it went on from.
    kept_after: Option<Option<String>>,
    particulars: Particulars,
    /// Its content, where that is logged.
    pub(crate) recorder: Option<Box<Recorder>>,
    /// Where what came of it is told, of a call of the process's own.
    receipt: Option<Rc<Receipt>>,
    /// What is held back for it wherever it is paid.
    hold: Option<Hold>,
    /// How far its stream may go on that, where nobody else stops it before.
    edge: Option<Box<Edge>>,
    /// It was stopped there.
    is_cut: bool,
    /// What it has taken of the caller's rates.
    passage: Option<Passage>,
    /// It counts as one of the account's requests to free models.
    is_free: bool,
    /// Where whoever keeps the reply is told how it ended.
    ended: Option<Rc<Ended>>,
    /// What the end of the reply waits for, where settlements must be on the disk first.
    pub(crate) durable: Option<Durable>,
    open: bool,
}

/// What the record says of the client's request.
struct Client {
    requested_model: String,
    referer: String,
    title: String,
    user_agent: String,
    end_user: String,
    session: String,
}

/// What the record says of the attempt, besides what the choice says.
#[derive(Default)]
struct Tried {
    upstream_id: String,
    status: u16,
    error: &'static str,
    /// It has failed; whether another follows is being seen to.
    over: Option<Over>,
}

impl Call {
    /// Writes the RESERVE record: from here on the call has a price. It is enough for the dearest endpoint that may be asked.
    pub(crate) fn reserve(
        admitted: &Admitted<'_>,
        journey: &mut Journey,
        mut leg: Leg,
        intake: &mut Intake,
        began: Instant,
    ) -> Result<Box<Call>, Failure> {
        if let Some(moved) = leg.moved.take() {
            journey.passage.get_or_insert_default().move_to(moved);
        }
        let Admitted { worker, snapshot, choice, dialect, principal, .. } = *admitted;
        let generation = journey.generation;
        let started_at_ms = generation.unix_ms();
        let prices = &choice.endpoint(snapshot).prices;
        let prompt_tokens_estimate = likely_prompt_tokens(intake);
        let too_dear = || {
            let message = "the token limit is beyond anything that can be paid for; lower it";
            Failure::new(ErrorKind::InvalidRequest, message).param(Some("max_tokens"))
        };
        let is_strict = principal.strict_budget;
        let ceiling = Ceiling::new(snapshot, dialect, intake, started_at_ms, is_strict);
        let most = |of: &dyn Fn(Choice) -> Option<NanoUsd>| {
            let most = of(choice)?;
            journey.choices().try_fold(most, |most, choice| Some(most.max(of(choice)?)))
        };
        let mut reserved = most(&|choice| ceiling.cost(choice)).ok_or_else(too_dear)?;
        let (mut hold, mut edge) = (None, None);
        if let Some(payers) = &journey.payers {
            let choices = || journey.choices().chain([choice]);
            // Only what can be cut can begin with less.
            let least = if intake.facts.stream { most(&|choice| ceiling.least(choice)).ok_or_else(too_dear)? } else { reserved };
            let held = hold::reserve(&payers.scopes, least, reserved, started_at_ms).map_err(|shortage| {
                let fits = ceiling.fitting(choices(), shortage.left.amount);
                short::refusal(&shortage, reserved, fits, started_at_ms)
            })?;
            if is_strict && held.is_bounded() {
                ceiling.check_bounded(choices())?;
            }
            edge = ceiling.edge(choices(), &held);
            reserved = held.amount();
            hold = Some(held);
        }
        let terms = Terms { tier: choice.asks.unwrap_or_default(), unix_ms: started_at_ms };
        let prompt_usage = Usage { prompt_tokens: prompt_tokens_estimate, ..Usage::default() };
        let reservation = ReserveRef {
            generation,
            started_at_ms,
            scopes: scopes(principal, journey.end_user(), journey.rated_model()),
            reserved,
            model: &choice.model(snapshot).id,
            provider: &choice.provider(snapshot).slug,
            prompt_tokens_estimate,
            prompt_cost_estimate: prices.cost(&prompt_usage, terms).ok_or_else(too_dear)?,
            price_version: snapshot.version,
        };
        worker.journal.borrow_mut().reserve(&reservation).map_err(|error| {
            worker.counters.journal_failures.add(1);
            Failure::store(format!("the usage journal cannot take this call: {error}"))
        })?;
        worker.counters.reserved_nanousd.add(reserved.0.unsigned_abs());
        let mut call = Call::new(admitted, journey, leg, intake, (reserved, prompt_tokens_estimate), began);
        (call.hold, call.edge, call.passage) = (hold, edge, journey.passage.take());
        call.is_free = call.passage.as_mut().is_some_and(Passage::make);
        call.ended = journey.ended.take().inspect(|ended| ended.begin());
        Ok(call)
    }

    /// A shadow's call: nothing is reserved, and what comes of it is charged to nobody.
    pub(crate) fn shadow(admitted: &Admitted<'_>, journey: &Journey, leg: Leg, intake: &mut Intake, began: Instant) -> Box<Call> {
        let prompt_tokens_estimate = likely_prompt_tokens(intake);
        Call::new(admitted, journey, leg, intake, (NanoUsd(0), prompt_tokens_estimate), began)
    }

    fn new(
        admitted: &Admitted<'_>,
        journey: &Journey,
        leg: Leg,
        intake: &mut Intake,
        (reserved, prompt_tokens_estimate): (NanoUsd, u64),
        began: Instant,
    ) -> Box<Call> {
        let Admitted { worker, snapshot, choice, answers, manner, head, principal, .. } = *admitted;
        let generation = journey.generation;
        let noted = Noted::new(journey.shadow_of.is_none().then_some(generation));
        Box::new(Call {
            worker: worker.clone(),
            snapshot: snapshot.clone(),
            choice,
            generation,
            arm: journey.arm,
            presets: (!journey.presets.is_empty()).then(|| Box::new(presets(journey.board().snapshot(), &journey.presets))),
            shadow_of: journey.shadow_of,
            started_at_ms: generation.unix_ms(),
            scopes: scopes(principal, journey.end_user(), journey.rated_model()),
            dialect: answers,
            manner,
            streamed: intake.facts.stream,
            reserved,
            client: Client::new(head, intake),
            past: Vec::new(),
            attempt: Tried::default(),
            beside: None,
            learning: Learning::new(journey, leg),
            offer: journey.judges_calls.then(|| Offer::keep(&intake.facts, &intake.frames)).flatten(),
            explanation: journey.explanation.clone(),
            telling: journey.telling.clone(),
            changes_model: false,
            prompt_tokens_estimate,
            length: Asked::new(&intake.facts),
            note_due: Due::new(began),
            timings: Timings::default(),
            finish: None,
            native_finish: String::new(),
            translation: Translation::default(),
            seen: Seen { prompt_tokens_estimate, ..Seen::default() },
            presence: Rc::new(Presence::new(worker.clone(), principal.key, !choice.provider(snapshot).cancel_stops_billing, noted)),
            began,
            whole_at: began + intake.waited,
            attempt_at: Instant::now(),
            waited_us: (intake.waited + intake.queued).as_micros() as u64,
            upstream_done_at: None,
            wants_nothing: intake.facts.purpose == Purpose::Generate && intake.facts.max_completion_tokens == Some(0),
            keeping: None,
            kept_after: None,
            particulars: particulars(intake),
            recorder: content::record(admitted, journey, intake),
            receipt: admitted.receipt.cloned(),
            hold: None,
            edge: None,
            is_cut: false,
            passage: None,
            is_free: false,
            ended: None,
            durable: None,
            open: true,
        })
    }

    pub(crate) fn generation(&self) -> GenerationId {
        self.generation
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(crate) fn manner(&self) -> Manner {
        self.manner
    }

    pub(crate) fn receipt(&self) -> Option<&Receipt> {
        self.receipt.as_deref()
    }

    /// The face that its errors wear.
    pub(crate) fn face(&self) -> Face {
        self.receipt.as_ref().map_or(Face { dialect: self.dialect, manner: self.manner }, |_| Receipt::FACE)
    }

    pub(crate) fn model(&self) -> &Model {
        self.choice.model(&self.snapshot)
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        self.choice.endpoint(&self.snapshot)
    }

    pub(crate) fn provider(&self) -> &Provider {
        self.choice.provider(&self.snapshot)
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    pub(crate) fn whole_at(&self) -> Instant {
        self.whole_at
    }

    pub(crate) fn attempt_at(&self) -> Instant {
        self.attempt_at
    }

    pub(crate) fn identity(&self) -> Identity {
        let identity = self.choice.identity(&self.snapshot, self.manner, self.generation);
        match &self.kept_after {
            Some(previous) => identity.kept(previous.as_deref()),
            None => identity,
        }
    }

    /// The reply will be kept.
    pub(crate) fn keep(&mut self, keeping: Box<Keeping>) {
        self.kept_after = Some(keeping.previous.clone());
        self.keeping = Some(keeping);
    }

    /// Whether the reply says of itself that it is kept.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept_after.is_some()
    }

    /// Where the reply is to be kept, once.
    pub(crate) fn take_keeping(&mut self) -> Option<Box<Keeping>> {
        self.keeping.take()
    }

    /// The provider's head has arrived.
    pub(crate) fn head_arrived(&mut self, exchange: &Exchange) {
        self.timings.sent_us = self.since_began(exchange.sent_at);
        self.timings.head_us = self.since_began(exchange.head_at);
        self.attempt.status = exchange.status();
        self.learning.head_arrived(exchange, self.worker.unix_ms_at(exchange.head_at));
        self.seen.billable = (200..300).contains(&self.attempt.status);
    }

    /// The attempt ended without a head.
    pub(crate) fn attempt_failed(&mut self, error: &ExchangeError) {
        self.attempt.error = error.word();
        self.end_without_head();
    }

    /// It ends by no doing of the provider's, wherever the attempt is.
    fn end_early(&mut self) {
        if self.attempt.status == 0 {
            self.end_without_head();
        }
    }

    /// Without a head nobody knows what the provider did. Once it has the whole request it may be at work, and bill.
    fn end_without_head(&mut self) {
        if let Some(sent_at) = self.presence.dispatch.sent_at.get() {
            self.timings.sent_us = self.since_began(sent_at);
            self.seen.billable = true;
        }
    }

    /// What the client's side and the work both see.
    pub(crate) fn presence(&self) -> &Rc<Presence> {
        &self.presence
    }

    /// The presence of a call that the provider bills whole whoever leaves.
    pub(crate) fn billed_whole(&self) -> Option<&Rc<Presence>> {
        Some(&self.presence).filter(|presence| self.open && presence.is_billed_whole())
    }

    /// The process stops while the client waits. What to tell it.
    pub(crate) fn cut_off(&mut self) -> Failure {
        self.end_early();
        Failure::draining()
    }

    /// The first content has arrived.
    pub(crate) fn content_arrived(&mut self, at: Instant) {
        self.seen.content = true;
        if self.timings.content_us == 0 {
            self.timings.content_us = self.since_began(at);
        }
    }

    /// What looked like content cannot be shown: the client has got nothing.
    pub(crate) fn nothing_was_shown(&mut self) {
        (self.seen.content, self.timings.content_us) = (false, 0);
    }

    /// The provider's part is over.
    pub(crate) fn upstream_done(&mut self, at: Instant) {
        self.upstream_done_at = Some(at);
    }

    /// The provider's figures, and the tier in which it says it served. Its own word for the cost counts only where it is known to bill by it.
    pub(crate) fn note_usage(&mut self, usage: Option<Usage>, missing: Missing, cost: Option<NanoUsd>, tier: Option<Tier>) {
        (self.seen.usage, self.seen.tier) = (usage, tier);
        (self.seen.prompt_missing, self.seen.completion_missing) = (missing.prompt, missing.completion);
        self.seen.reported_cost = cost.filter(|_| self.provider().reports_cost);
    }

    /// What the provider's whole reply calls itself and its end.
    pub(crate) fn take_words(&mut self, upstream_id: String, finish: Option<Finish>, native_finish: String) {
        (self.attempt.upstream_id, self.finish, self.native_finish) = (upstream_id, finish, native_finish);
    }

    pub(crate) fn note_upstream_id(&mut self, id: &str) {
        id.clone_into(&mut self.attempt.upstream_id);
    }

    pub(crate) fn note_finish(&mut self, finish: Option<Finish>, native: &str) {
        self.finish = finish;
        native.clone_into(&mut self.native_finish);
    }

    /// The dialect spoken with the provider. The record tells it where it is not the client's own.
    pub(crate) fn note_upstream_dialect(&mut self, dialect: Dialect) {
        self.translation.upstream_dialect = (dialect != self.dialect).then_some(dialect);
    }

    /// What did not reach the other side as it was; called once for the request and again for the reply.
    pub(crate) fn note_losses(&mut self, losses: &Losses) {
        self.translation.note(losses);
    }

    /// What the reply's stream has lost so far; what was noted of it before counts once.
    pub(crate) fn note_stream_losses(&mut self, losses: &Losses) {
        self.translation.note_stream(losses);
    }

    /// Losses so far, the worst of them where they are many, and how many more there are.
    pub(crate) fn losses(&self) -> (&[Loss], usize) {
        (self.translation.noted(), self.translation.losses_more as usize)
    }

    /// The bill as it stands: what the usage seen so far costs.
    pub(crate) fn bill(&self, outcome: Outcome) -> Bill {
        self.bill_of(outcome, &self.seen)
    }

    /// What the current attempt costs, of which this was seen.
    fn bill_of(&self, outcome: Outcome, seen: &Seen) -> Bill {
        self.bill_at(self.choice, self.attempt_at, outcome, seen)
    }

    /// What an attempt there costs. Its price is that of the tier that it asks for, and of the moment at which it began. Our own count of the
    /// reply is no more than where it has to stop.
    fn bill_at(&self, choice: Choice, began: Instant, outcome: Outcome, seen: &Seen) -> Bill {
        let terms = Terms { tier: choice.asks.unwrap_or_default(), unix_ms: self.worker.unix_ms_at(began) };
        let completion_tokens_estimate = seen.completion_tokens_estimate.min(self.length.most(choice, &self.snapshot));
        bill(&choice.endpoint(&self.snapshot).prices, terms, outcome, &Seen { completion_tokens_estimate, ..*seen })
    }

    /// Our own work so far in microseconds; final once settled.
    pub(crate) fn own_us(&self) -> u64 {
        if self.open { self.own_us_at(Instant::now()) } else { self.timings.own_us }
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
        let (outcome, status, error) = match (self.presence.client_left(), outcome) {
            (false, _) => (outcome, status, error),
            // The provider's failure is insured whether or not somebody waited for it.
            (true, Outcome::Failed) if self.seen.billable => (outcome, 0, error),
            (true, _) => (self.outcome_of_leaving(), 0, CLIENT_GONE),
        };
        let mut bill = self.bill(outcome);
        if self.shadow_of.is_some() {
            bill.charged = NanoUsd(0);
            bill.flags.add(Flags::SHADOW);
        }
        if !std::mem::take(&mut self.open) {
            return Ok(bill);
        }
        self.end_beside(None);
        let now = Instant::now();
        self.timings.own_us = self.own_us_at(now);
        self.timings.total_us = self.since_began(now);
        let (hold, passage) = (self.hold.take(), self.passage.take());
        let record = self.record(&bill, outcome, status, error, now);
        // Before anybody can ask for the balance, and also where the journal fails: it was spent.
        if let Some(hold) = hold {
            hold.settle(record.charged, record.settled_at_ms);
        }
        if let Some(passage) = passage {
            passage.settle(&record.usage, record.settled_at_ms);
        }
        let written = if self.shadow_of.is_some() {
            self.worker.counters.shadow_settled(&record);
            self.worker.journal.borrow_mut().shadow(&record)
        } else {
            self.worker.counters.settled(&record);
            self.worker.journal.borrow_mut().settle(&record)
        };
        if let Some(receipt) = &self.receipt {
            receipt.settle(&record);
        }
        if let Some(ended) = &self.ended {
            ended.note(&record, written.is_ok() && !self.is_cut);
        }
        self.learn_settled(outcome, Some(&bill.usage), now);
        self.durable = self.worker.journal.borrow().durable();
        written.map(|()| bill).map_err(|error| {
            self.worker.counters.journal_failures.add(1);
            Failure::store(format!("the usage journal could not record this call: {error}"))
        })
    }

    /// What the record says of the call, besides what the bill says.
    fn flags(&self, bill: &Bill) -> Flags {
        let mut flags = bill.flags;
        if self.is_free {
            flags.add(Flags::FREE_TIER);
        }
        flags
    }

    fn record<'a>(&'a self, bill: &Bill, outcome: Outcome, status: u16, error: &'a str, now: Instant) -> Settle<&'a str> {
        let shadow = self.shadow_of.map(|of| (&*self.snapshot.models[of].id, &*self.model().id));
        let arm = self.arm.map(|arm| arm.names(&self.snapshot)).or(shadow);
        let (finish, native_finish) = self.ending();
        Settle {
            generation: self.generation,
            started_at_ms: self.started_at_ms,
            settled_at_ms: self.worker.unix_ms_at(now).max(self.started_at_ms),
            scopes: self.scopes,
            dialect: self.dialect,
            manner: self.manner,
            streamed: self.streamed,
            outcome,
            flags: self.flags(bill),
            status,
            error,
            requested_model: &self.client.requested_model,
            model: &self.model().id,
            provider: &self.provider().slug,
            finish,
            native_finish,
            usage: bill.usage,
            reserved: self.reserved,
            charged: bill.charged,
            price_version: self.snapshot.version,
            timings: self.timings,
            referer: &self.client.referer,
            title: &self.client.title,
            user_agent: &self.client.user_agent,
            end_user: &self.client.end_user,
            session: &self.client.session,
            attempts: self.tries(bill, error, now),
            upstream_dialect: self.translation.upstream_dialect,
            losses: self.translation.losses(),
            losses_more: self.translation.losses_more,
            split: arm.map_or("", |(split, _)| split),
            arm: arm.map_or("", |(_, arm)| arm),
            preset: self.presets.as_ref().map_or("", |presets| &presets.0),
            preset_version: self.presets.as_ref().map_or("", |presets| &presets.1),
            hit: None,
            particulars: Particulars { cache_discount: bill.cache_discount, ..self.particulars },
        }
    }

    /// How a call ends whose client left: void if no provider can have got the request.
    fn outcome_of_leaving(&self) -> Outcome {
        if self.seen.billable || self.was_sent_before() { Outcome::Cancelled } else { Outcome::Void }
    }

    fn own_us_at(&self, now: Instant) -> u64 {
        let before = self.since_began(self.attempt_at).saturating_sub(self.waited_us);
        let after = self.upstream_done_at.map_or(0, |done| now.saturating_duration_since(done).as_micros() as u64);
        before + after
    }

    fn since_began(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.began).as_micros() as u64
    }
}

/// The names and versions of these presets, as the record has them.
fn presets(snapshot: &Snapshot, named: &[usize]) -> (String, String) {
    let all = |text: fn(&Preset) -> &str| named.iter().map(|position| text(&snapshot.presets[*position])).collect::<Vec<_>>().join(",");
    (all(|preset| &preset.name), all(|preset| &preset.version))
}

/// What the record tells of the request beside the client's own words.
fn particulars(intake: &Intake) -> Particulars {
    let media = intake.facts.media(&intake.frames);
    let api = if intake.facts.purpose == Purpose::Embeddings { Api::Embeddings } else { Api::Completions };
    Particulars { api, prompt_media: media.all, prompt_sounds: media.sounds, cache_discount: NanoUsd(0) }
}

/// The record's word for a client that left.
const CLIENT_GONE: &str = "client_gone";

impl Drop for Call {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        self.end_early();
        self.settle_race();
        // Of an unstreamed answer that is dropped before its end, the bytes that came are all there is to count by.
        if self.seen.completion_tokens_estimate == 0 {
            self.seen.completion_tokens_estimate = whole::estimate_tokens(self.presence.held_bytes.get() as u64);
        }
        if self.attempt.over.is_some() && self.seen.billable {
            // The provider had failed already: that is insured.
            let _ = self.settle(Outcome::Failed, 0, self.attempt.error);
            return;
        }
        let (outcome, word) = match (self.outcome_of_leaving(), self.presence.is_cut_off()) {
            // The client did not leave: the drain is out of time.
            (Outcome::Cancelled, true) => (Outcome::Failed, SHUTTING_DOWN),
            (outcome, true) => (outcome, SHUTTING_DOWN),
            (outcome, false) => (outcome, CLIENT_GONE),
        };
        // Nobody is left to tell; the journal's own health flag stops further work.
        let _ = self.settle(outcome, 0, word);
    }
}

impl Client {
    fn new(head: &Head<'_>, intake: &mut Intake) -> Client {
        let text = |value: Option<&[u8]>| value.map_or_else(String::new, |value| String::from_utf8_lossy(value).into_owned());
        let facts = &mut intake.facts;
        Client {
            requested_model: std::mem::take(&mut facts.model),
            referer: text(head.referer),
            title: text(head.title()),
            user_agent: text(head.user_agent),
            end_user: facts.user.clone().unwrap_or_default(),
            session: facts.session_id.take().unwrap_or_else(|| text(head.session)),
        }
    }
}

/// Tokens that the prompt likely has: its text by size, its files by what they are. What is not for the model does not count.
pub(crate) fn likely_prompt_tokens(intake: &Intake) -> u64 {
    if let Some(tokens) = intake.facts.prompt_tokens {
        return tokens;
    }
    let files = intake.facts.files();
    reserve::likely_prompt_tokens(intake.bytes.saturating_sub(files.bytes + intake.facts.aside_bytes() as u64)) + files.tokens
}

/// `end_user` and `model`: 0 for none.
fn scopes(principal: &Principal, end_user: u64, model: u64) -> Scopes {
    let mut scopes = Scopes::default();
    scopes.0[Scopes::ACCOUNT] = principal.account;
    scopes.0[Scopes::TEAM] = principal.team;
    scopes.0[Scopes::USER] = principal.user;
    scopes.0[Scopes::KEY] = principal.key;
    scopes.0[Scopes::END_USER] = end_user;
    scopes.0[Scopes::MODEL] = model;
    scopes
}
