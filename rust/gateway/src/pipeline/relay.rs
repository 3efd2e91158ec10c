//! A streamed answer. Head and frames are held until the first content, so that a failure before it keeps its real status; then frames
//! pass as they come, and only those the tap points at are changed. The terminal is released after the settlement is written.

mod awaited;
mod cut;
mod early;
mod hedge;
mod judging;
mod sieve;
mod weave;

pub(crate) use self::early::{Departure, Early, Said, Voice};

use self::cut::Cut;
use self::hedge::{Course, Hedge, Racer};
use self::judging::{complete, judge, note};
use self::sieve::{Held, Large, Looked, Sieve, Sifted, Stop};
use self::weave::Weave;
use super::call::{Attended, Call, Presence, Work};
use super::failover::{self, Next, Standby};
use super::failure::Failure;
use super::queued::Departed;
use super::reply::{self, Broken, ReplyBody};
use super::translate::Back;
use super::whole::{self, Refusal};
use super::{Sending, Way};
use crate::upstream::{Deadline, Exchange, ExchangeError, Fill};
use bytes::{Bytes, BytesMut};
use fairlead_formats::error::Details;
use fairlead_formats::identity::Identity;
use fairlead_formats::metadata;
use fairlead_formats::request::Purpose;
use fairlead_formats::tap::Tap;
use fairlead_formats::tool_calls::Watch;
use fairlead_formats::translate::wire::Wire;
use fairlead_ir::{Dialect, Elsewhere, ErrorKind};
use fairlead_ledger::Outcome;
use http::{HeaderMap, Response};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Runs a call whose client wants a stream.
pub(crate) async fn answer(call: Box<Call>, sending: Sending, headers: HeaderMap) -> Response<ReplyBody> {
    let mut relay = Attended::new(Box::new(Relay::new(call, sending, headers)));
    match poll_fn(|context| relay.poll(|relay| relay.poll_commit(context))).await {
        Commit::Stream(headers) => reply::stream(relay, headers),
        Commit::Failed(response) => *response,
    }
}

/// Runs a call whose stream nobody reads, to its end.
pub(crate) async fn unheard(call: Box<Call>, sending: Sending) {
    let mut relay = Box::new(Relay::new(call, sending, HeaderMap::new()));
    while poll_fn(|context| relay.poll_output(context)).await.is_some() {}
}

/// What decides the response's head.
enum Commit {
    /// Content has come, or nothing for so long that the client gets its head now: 200, and it stays 200.
    Stream(HeaderMap),
    /// It failed first.
    Failed(Box<Response<ReplyBody>>),
}

/// A stream in progress.
pub(crate) struct Relay {
    pub(crate) call: Box<Call>,
    stage: Stage,
    /// While another attempt may still answer in place of this one: what it needs.
    standby: Option<Box<Standby>>,
    /// A second attempt, which has the standby once it begins.
    hedge: Option<Hedge>,
    sieve: Sieve,
    /// What the client gets next. Before the commitment: what is held back.
    ready: BytesMut,
    /// What is held back after an early head, while another attempt may follow.
    held: BytesMut,
    committed: bool,
    /// What is in `ready` is the last.
    told: bool,
    /// A large event that is looked at elsewhere; nothing is read meanwhile.
    aside: Option<JoinHandle<Looked>>,
    /// What came behind it.
    unsifted: Bytes,
    /// The reply while it is being kept; its end waits for that, so that the next request finds it.
    keeping: Option<JoinHandle<()>>,
    /// Bytes taken since the worker had its turn.
    unyielded: usize,
    /// The client's stream ends short of the provider's: with what, once it is known what that has cost.
    cut: Option<Box<Cut>>,
    /// A failure to tell, or an end to write, after the output that came before it.
    pending_failure: Option<Box<Step>>,
    /// When bytes last came from the provider.
    read_at: Instant,
    /// The client reads one JSON array.
    json_array: bool,
    /// The provider's headers that the client sees.
    passed: HeaderMap,
    /// Until the commitment: when the head goes out without content. After an early one: the next keep-alive.
    quiet: Deadline,
    content_at: Instant,
}

enum Stage {
    /// The attempt has failed, and another is made ready. With the failure, in case there is none.
    Preparing(Pin<Box<dyn Future<Output = Option<Next>>>>, Option<Box<Failure>>),
    /// On the way to the provider's head.
    Attempting(Pin<Box<dyn Future<Output = Result<Exchange, ExchangeError>>>>),
    /// The provider's answer is a status that is no success; what it says to it is read.
    Refused(Pin<Box<dyn Future<Output = Refusal>>>),
    /// Frames are coming.
    Streaming(Box<Exchange>),
    /// Nothing more comes from the provider.
    Ended,
}

/// What one step gave.
enum Step {
    /// Complete events for the client; empty when all were withheld.
    Output(Bytes),
    /// The provider is done.
    End,
    Failed(Failure),
    /// With this event there would be more than is held for.
    Edge(Box<Held>),
}

/// After so many bytes in one go others get their turn: what comes fast and passes fast never waits by itself.
const TURN_BYTES: usize = 32 << 10;

/// How long the end of the provider's framing may lag behind its terminal event.
const TAIL: Duration = Duration::from_secs(1);

impl Relay {
    fn new(mut call: Box<Call>, sending: Sending, headers: HeaderMap) -> Relay {
        let settings = &call.snapshot.settings;
        let now = Instant::now();
        let Sending { attempting, way, standby } = sending;
        let json_array = matches!(&way, Way::Translated(back) if back.is_json_array());
        if let Some(recorder) = call.recorder.as_mut().filter(|_| json_array) {
            recorder.hears_array();
        }
        Relay {
            json_array,
            sieve: sieve(&call, way, standby.is_some()),
            ready: BytesMut::new(),
            held: BytesMut::new(),
            committed: false,
            told: false,
            aside: None,
            unsifted: Bytes::new(),
            keeping: None,
            unyielded: 0,
            cut: None,
            pending_failure: None,
            read_at: now,
            passed: headers,
            quiet: Deadline::after(call.whole_at(), Duration::from_millis(settings.timeouts.early_head_ms)),
            content_at: now,
            stage: Stage::Attempting(Box::pin(attempting.send(call.presence().clone()))),
            hedge: Hedge::new(&call, standby.as_deref(), now),
            standby,
            call,
        }
    }

    /// One whose client has its head already, and what `spoken` has written. The next sign of life is due at `quiet_at`.
    fn behind(departed: Departed, spoken: Option<Box<Weave>>, quiet_at: Instant) -> Relay {
        let Departed { call, sending, headers } = departed;
        let mut relay = Relay::new(call, sending, headers);
        relay.committed = true;
        relay.quiet = Deadline::at(quiet_at);
        if let Some(spoken) = spoken {
            relay.continue_after(*spoken);
        }
        relay
    }

    /// Whether another attempt may still answer in place of this one.
    fn may_leave(&self) -> bool {
        self.standby.is_some() || matches!(self.hedge, Some(Hedge::Preparing(_) | Hedge::Racing(_)))
    }

    /// Goes on to another attempt, if there is one to be made; the failure is given back where it is the last.
    fn leave(&mut self, failure: Failure) -> Option<Failure> {
        let hedge = self.hedge.take();
        let goes_on = failure.elsewhere != Elsewhere::Nowhere && self.call.may_go_on();
        match hedge {
            Some(Hedge::Racing(racer)) if goes_on => {
                self.call.attempt_over(&failure, Instant::now());
                self.overtake(*racer);
                return None;
            }
            Some(Hedge::Preparing(preparing)) if goes_on => {
                let class = self.call.attempt_over(&failure, Instant::now());
                let (worker, snapshot) = (self.call.worker.clone(), self.call.snapshot.clone());
                let next = async move {
                    match preparing.await {
                        Ok(next) => Some(next),
                        Err(standby) => standby.next(worker, snapshot, class).await,
                    }
                };
                self.stage = Stage::Preparing(Box::pin(next), Some(Box::new(failure)));
                return None;
            }
            _ => {}
        }
        let Some((standby, class)) = failover::leave(&mut self.call, &mut self.standby, &failure) else { return Some(failure) };
        let next = standby.next(self.call.worker.clone(), self.call.snapshot.clone(), class);
        self.stage = Stage::Preparing(Box::pin(next), Some(Box::new(failure)));
        None
    }

    /// Another attempt.
    fn begin_again(&mut self, sending: Sending) {
        let Sending { attempting, way, standby } = sending;
        self.forget_attempt(way, standby);
        self.stage = Stage::Attempting(Box::pin(attempting.send(self.call.presence().clone())));
    }

    /// The second attempt takes the first one's place.
    fn overtake(&mut self, racer: Racer) {
        let Racer { entry, standby, course, .. } = racer;
        let standby = standby.and_then(Standby::left);
        self.call.overtake();
        self.call.set_may_change_model(standby.as_ref().is_some_and(|standby| standby.leads_to_another_model()));
        let way = entry.enter(&mut self.call);
        self.forget_attempt(way, standby);
        match course {
            Course::Attempting(attempt) => self.stage = Stage::Attempting(attempt),
            Course::Speaking(exchange, heard) => {
                self.read_at = exchange.read_at;
                match self.head_arrived(*exchange) {
                    Ok(()) => self.unsifted = heard.into_bytes(),
                    Err(failure) => self.pending_failure = Some(Box::new(Step::Failed(failure))),
                }
            }
        }
    }

    /// Goes on with the second attempt, as long as the first has brought nothing. Ready when it has taken the first one's place.
    fn poll_hedge(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.hedge {
                None => return Poll::Pending,
                Some(Hedge::Waiting(deadline)) => {
                    ready!(deadline.poll(context));
                    let standby = self.standby.take().filter(|_| self.call.may_go_on());
                    let preparing = standby.map(|standby| standby.beside(self.call.worker.clone(), self.call.snapshot.clone()));
                    self.hedge = preparing.map(|preparing| Hedge::Preparing(Box::pin(preparing)));
                }
                Some(Hedge::Preparing(preparing)) => match ready!(preparing.as_mut().poll(context)) {
                    Ok(next) => self.hedge = Some(Hedge::Racing(Racer::begin(&mut self.call, next))),
                    Err(standby) => (self.hedge, self.standby) = (None, standby.left()),
                },
                Some(Hedge::Racing(racer)) => {
                    let outcome = ready!(racer.poll(context));
                    let Some(Hedge::Racing(racer)) = self.hedge.take() else { return Poll::Pending };
                    match outcome {
                        Ok(()) => {
                            self.overtake(*racer);
                            return Poll::Ready(());
                        }
                        Err(lost) => {
                            self.call.end_beside(Some(lost));
                            self.standby = racer.standby.map(Standby::rejoined).and_then(Standby::left);
                        }
                    }
                }
            }
        }
    }

    /// No other attempt answers any more.
    fn end_hedge(&mut self) {
        self.hedge = None;
        self.call.end_beside(None);
    }

    /// Nothing is left of an attempt but what the client has of it: signs of life.
    fn forget_attempt(&mut self, way: Way, standby: Option<Box<Standby>>) {
        let spoken = self.sieve.take_sleeper().filter(|_| self.committed);
        self.sieve = sieve(&self.call, way, standby.is_some());
        if let Some(spoken) = spoken {
            self.continue_after(*spoken);
        }
        (self.unsifted, self.pending_failure, self.unyielded) = (Bytes::new(), None, 0);
        self.held.clear();
        if !self.committed {
            self.ready.clear();
        }
        self.passed.clear();
        (self.standby, self.hedge) = (standby, None);
    }

    /// The client has signs of life that `spoken` has numbered: what comes is numbered on.
    fn continue_after(&mut self, spoken: Weave) {
        if !self.sieve.has_weave() {
            self.sieve.sleep(Some(self.numbering()), BytesMut::new());
        }
        if let Some(weave) = self.sieve.weave() {
            weave.continue_after(spoken);
        }
    }

    /// Runs until it is known what the head of the response is.
    fn poll_commit(&mut self, context: &mut Context<'_>) -> Poll<Commit> {
        loop {
            if self.is_cut_off() {
                let failure = self.call.cut_off();
                return self.fail_first(failure);
            }
            let step = match self.poll_step(context) {
                Poll::Ready(step) => step,
                Poll::Pending => {
                    ready!(self.poll_quiet(context));
                    return self.commit(true);
                }
            };
            match step {
                Step::Output(bytes) => {
                    match self.ready.is_empty() {
                        // What is large is not copied.
                        true => self.ready = BytesMut::from(bytes),
                        false => self.ready.extend_from_slice(&bytes),
                    }
                    if self.is_decided(self.ready.len()) {
                        return self.commit(false);
                    }
                }
                Step::End if self.sieve.tap.saw_content() || self.sieve.tap.terminal() && self.call.wants_nothing() => {
                    return self.commit(false);
                }
                Step::End => {
                    let message = format!("{} ended its stream without content", self.call.provider().name);
                    let failure = Failure::new(ErrorKind::ProviderUnavailable, message).word("empty_reply");
                    if let Some(last) = self.leave(failure) {
                        return self.fail_first(last);
                    }
                }
                Step::Failed(failure) => {
                    if let Some(last) = self.leave(failure) {
                        return self.fail_first(last);
                    }
                }
                Step::Edge(held) => {
                    let commit = self.commit(false);
                    self.cut(*held);
                    return commit;
                }
            }
        }
    }

    /// From here on a failure is told in the stream. `early`: nothing has come yet.
    fn commit(&mut self, early: bool) -> Poll<Commit> {
        self.committed = true;
        if !early {
            self.settle_on_it();
        }
        Poll::Ready(Commit::Stream(match early {
            true => {
                let mut headers = reply::early_headers(Some(self.call.generation()), self.json_array);
                reply::mark_budget(&mut headers, &self.call);
                headers
            }
            false => reply::stream_headers(&self.call, std::mem::take(&mut self.passed), self.json_array),
        }))
    }

    /// Whether the attempt is the one that answers, with so many bytes held back.
    fn is_decided(&self, held_bytes: usize) -> bool {
        let most = self.call.snapshot.settings.limits.hold_bytes;
        self.call.seen.content || self.sieve.ended() || held_bytes + self.sieve.waiting_bytes() > most
    }

    /// The attempt is the one that answers: what it said so far goes out, and what another would have needed goes away.
    fn settle_on_it(&mut self) {
        self.standby = None;
        self.end_hedge();
        let held = std::mem::take(&mut self.held);
        self.ready.extend_from_slice(&held);
        let mut written = Vec::new();
        if let Err(error) = self.sieve.wake(&mut written) {
            let failure = whole::reported(&self.call, &error).word("garbage");
            self.pending_failure = Some(Box::new(Step::Failed(failure)));
        }
        self.ready.extend_from_slice(&written);
    }

    /// It failed while its real status could still be told.
    fn fail_first(&mut self, failure: Failure) -> Poll<Commit> {
        self.stage = Stage::Ended;
        self.end_hedge();
        Poll::Ready(Commit::Failed(Box::new(whole::fail(&mut self.call, failure, std::mem::take(&mut self.passed)))))
    }

    /// The next bytes for the client, once the head is out.
    pub(crate) fn poll_output(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        let polled = self.poll_next(context);
        if let Poll::Ready(Some(Ok(bytes))) = &polled {
            self.call.record_piece(bytes);
        }
        polled
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        loop {
            ready!(self.poll_kept(context));
            if let Err(broken) = ready!(self.poll_durable(context)) {
                return Poll::Ready(Some(Err(broken)));
            }
            if !self.ready.is_empty() {
                return Poll::Ready(Some(Ok(self.ready.split().freeze())));
            }
            if self.told {
                return Poll::Ready(None);
            }
            if self.cut.is_some() {
                ready!(self.poll_rest(context));
                self.end_cut();
                continue;
            }
            if self.is_cut_off() {
                let failure = self.call.cut_off();
                self.fail(failure);
                continue;
            }
            let step = match self.poll_step(context) {
                Poll::Ready(step) => step,
                Poll::Pending if self.call.seen.content => return Poll::Pending,
                Poll::Pending => {
                    ready!(self.poll_quiet(context));
                    continue;
                }
            };
            match step {
                Step::Output(bytes) if self.may_leave() => {
                    self.held.extend_from_slice(&bytes);
                    if self.is_decided(self.held.len()) {
                        self.settle_on_it();
                    }
                }
                Step::Output(bytes) if self.keeping.is_some() || self.call.durable.is_some() => self.ready.extend_from_slice(&bytes),
                Step::Output(bytes) if !bytes.is_empty() => return Poll::Ready(Some(Ok(bytes))),
                Step::Output(_) => {}
                Step::End => match self.missing_end() {
                    None => self.end(),
                    Some(failure) => self.leave_or_fail(failure),
                },
                Step::Failed(failure) => self.leave_or_fail(failure),
                Step::Edge(held) => {
                    self.settle_on_it();
                    self.cut(*held);
                }
            }
        }
    }

    fn leave_or_fail(&mut self, failure: Failure) {
        if let Some(last) = self.leave(failure) {
            self.fail(last);
        }
    }

    /// Whether the process stops under a client that waits. A large event that is looked at elsewhere is awaited: until it is back,
    /// nothing is known here of what came before.
    fn is_cut_off(&self) -> bool {
        self.call.is_open() && self.aside.is_none() && self.call.presence().is_cut_off()
    }

    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        loop {
            match self.poll_attempt(context) {
                Poll::Pending if self.hedge.is_some() && !self.call.seen.content && self.aside.is_none() => {
                    ready!(self.poll_hedge(context))
                }
                polled => return polled,
            }
        }
    }

    /// The next step of the attempt that would answer.
    fn poll_attempt(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        if let Some(failed) = self.pending_failure.take() {
            return Poll::Ready(*failed);
        }
        if let Stage::Preparing(next, failure) = &mut self.stage {
            let next = ready!(next.as_mut().poll(context)).filter(|_| self.call.may_go_on());
            match (next, failure.take()) {
                (Some(next), _) => {
                    let sending = next.begin(&mut self.call);
                    self.begin_again(sending);
                }
                (None, failure) => {
                    self.stage = Stage::Ended;
                    let lost = || Failure::new(ErrorKind::Internal, "the next attempt was lost");
                    return Poll::Ready(Step::Failed(failure.map_or_else(lost, |failure| *failure)));
                }
            }
        }
        if let Stage::Attempting(attempt) = &mut self.stage {
            let exchange = match ready!(attempt.as_mut().poll(context)) {
                Ok(exchange) => exchange,
                Err(error) => return Poll::Ready(Step::Failed(whole::unreachable(&mut self.call, &error))),
            };
            if let Err(failure) = self.head_arrived(exchange) {
                return Poll::Ready(Step::Failed(failure));
            }
        }
        if let Stage::Refused(refusal) = &mut self.stage {
            let refusal = ready!(refusal.as_mut().poll(context));
            self.stage = Stage::Ended;
            return Poll::Ready(Step::Failed(whole::refused(&self.call, refusal)));
        }
        if self.unyielded >= TURN_BYTES {
            self.unyielded = 0;
            // Polled once, it has this task woken after the runtime has looked at its sockets; a plain wake would come before that.
            return pin!(tokio::task::yield_now()).poll(context).map(|()| Step::Output(Bytes::new()));
        }
        if self.aside.is_some() || !self.unsifted.is_empty() {
            return self.poll_aside(context);
        }
        let Stage::Streaming(exchange) = &mut self.stage else {
            return Poll::Ready(Step::End);
        };
        let fill = match exchange.poll_fill(context) {
            Poll::Ready(fill) => fill,
            Poll::Pending => {
                let timeouts = &self.call.snapshot.settings.timeouts;
                let until = if self.sieve.ended() {
                    exchange.read_at + TAIL
                } else {
                    let content_idle = self.content_at + Duration::from_millis(timeouts.content_idle_ms);
                    exchange.silent_at().min(content_idle).min(whole::total_deadline(&self.call))
                };
                ready!(exchange.poll_until(until, context));
                Err(ExchangeError::IdleTimeout)
            }
        };
        self.read_at = exchange.read_at;
        Poll::Ready(match fill {
            Ok(Fill::Payload(payload)) => self.take(payload),
            Ok(Fill::End) => self.take_rest(),
            // After the terminal nothing can be missing.
            Err(_) if self.sieve.ended() => Step::End,
            Err(error) => Step::Failed(whole::broken(&self.call, &error)),
        })
    }

    /// Looks at the head: frames may be read, or what the refusal says.
    fn head_arrived(&mut self, exchange: Exchange) -> Result<(), Failure> {
        self.call.head_arrived(&exchange);
        whole::pass_headers(&exchange, &mut self.passed);
        self.content_at = exchange.head_at;
        if self.call.seen.billable {
            if let Some(coding) = whole::unasked_coding(&exchange) {
                self.stage = Stage::Ended;
                return Err(whole::garbage(&self.call, &whole::compressed(coding)));
            }
            self.stage = Stage::Streaming(Box::new(exchange));
            return Ok(());
        }
        let until = whole::total_deadline(&self.call);
        let refusal = whole::read_refusal(exchange, until, self.call.worker.clone(), self.call.snapshot.clone());
        self.stage = Stage::Refused(Box::pin(refusal));
        Ok(())
    }

    /// The large event, then what came behind it.
    fn poll_aside(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        let Some(work) = &mut self.aside else {
            let rest = std::mem::take(&mut self.unsifted);
            return Poll::Ready(self.take(rest));
        };
        let looked = match ready!(Pin::new(work).poll(context)) {
            Ok(looked) => looked,
            Err(error) => return Poll::Ready(Step::Failed(whole::undone(error))),
        };
        self.aside = None;
        let (call, content_at, read_at) = (&mut self.call, &mut self.content_at, self.read_at);
        let sifted = self.sieve.resume(looked, &mut |tap, sight| judge(call, content_at, read_at, tap, sight));
        Poll::Ready(self.step_of(sifted))
    }

    /// Has a large event looked at by the runtime's helper threads.
    fn look_aside(&mut self, large: Large) {
        // Should the client leave meanwhile, what is known by now is what counts.
        note(&mut self.call, &self.sieve.tap);
        let stand_in = Tap::new(self.sieve.tap.dialect(), Arc::new(self.call.identity()), false);
        self.put_back(large.rest);
        self.aside = Some(tokio::task::spawn_blocking(self.sieve.look_at(large.event, stand_in)));
    }

    /// What came behind an event is looked at after it.
    fn put_back(&mut self, rest: Bytes) {
        self.unsifted = match self.unsifted.is_empty() {
            true => rest,
            false => [rest, std::mem::take(&mut self.unsifted)].concat().into(),
        };
    }

    /// Complete events of a payload, changed where the tap says so. The rest waits for its end.
    fn take(&mut self, mut payload: Bytes) -> Step {
        if payload.len() > TURN_BYTES {
            self.unsifted = payload.split_off(TURN_BYTES);
        }
        self.unyielded += payload.len();
        let (call, content_at, read_at) = (&mut self.call, &mut self.content_at, self.read_at);
        let sifted = self.sieve.take(payload, &mut |tap, sight| judge(call, content_at, read_at, tap, sight));
        self.step_of(sifted)
    }

    /// The provider closed its body.
    fn take_rest(&mut self) -> Step {
        if let Stage::Streaming(exchange) = std::mem::replace(&mut self.stage, Stage::Ended) {
            exchange.release(&self.call.worker.upstream, self.call.snapshot.settings.limits.pool_idle);
        }
        let (call, content_at, read_at) = (&mut self.call, &mut self.content_at, self.read_at);
        let sifted = self.sieve.take_rest(&mut |tap, sight| judge(call, content_at, read_at, tap, sight));
        self.step_of(sifted)
    }

    fn step_of(&mut self, sifted: Sifted<Failure>) -> Step {
        if let Some(end) = self.sieve.take_end() {
            self.keep(end);
        }
        match sifted.stop {
            None => Step::Output(sifted.bytes),
            Some(Stop::Failed(failure)) => self.after(sifted.bytes, Step::Failed(failure)),
            Some(Stop::Large(large)) => self.at_large(sifted.bytes, large),
            Some(Stop::Edge(held)) => self.at_edge(sifted.bytes, held),
            Some(Stop::TooLarge) => self.after(sifted.bytes, Step::Failed(self.too_large())),
        }
    }

    /// What is wrong with a reply that ends here, if anything is.
    fn missing_end(&self) -> Option<Failure> {
        if !self.call.is_open() {
            return None;
        }
        if !self.sieve.tap.saw_content() && self.sieve.tap.terminal() && !self.call.wants_nothing() {
            return Some(whole::empty(&self.call));
        }
        (!self.sieve.tap.terminal()).then(|| {
            let name = &self.call.provider().name;
            Failure::new(ErrorKind::ProviderUnavailable, format!("{name}: {}", ExchangeError::Truncated)).word("truncated")
        })
    }

    /// The provider is done and nothing of it is left.
    fn end(&mut self) {
        self.told = true;
        if !self.call.is_open() {
            return;
        }
        let mut last = Vec::new();
        if let Err(error) = self.sieve.close(&mut last) {
            let failure = whole::reported(&self.call, &error).word("stream_error");
            return self.fail(failure);
        }
        match complete(&mut self.call, &self.sieve.tap, self.read_at) {
            Ok(bill) => {
                if let Some(weave) = self.sieve.weave() {
                    weave.finish(&bill, &mut last);
                }
                if self.call.is_kept() {
                    self.keep(Bytes::copy_from_slice(&last));
                }
                self.sieve.write_postscript(true, &mut last, 0);
                self.ready.extend_from_slice(&last);
            }
            Err(failure) => self.tell(&failure),
        }
    }

    /// A failure after the head went out: settled, then told in the stream.
    fn fail(&mut self, failure: Failure) {
        (self.told, self.stage, self.standby) = (true, Stage::Ended, None);
        self.end_hedge();
        let held = std::mem::take(&mut self.held);
        self.ready.extend_from_slice(&held);
        self.note();
        self.call.note_failure(&failure);
        self.call.record_failure(&failure);
        let settled = self.call.settle(Outcome::Failed, 200, failure.word);
        self.tell(settled.as_ref().err().unwrap_or(&failure));
    }

    /// Takes over what the tap knows. While a large event is elsewhere so is the tap, and what it knew was noted before.
    fn note(&mut self) {
        if self.aside.is_none() {
            note(&mut self.call, &self.sieve.tap);
        }
    }

    fn tell(&mut self, failure: &Failure) {
        let text = self.call.generation().text();
        let previous = self.call.previous_errors();
        let details = Details {
            provider_name: Some(&self.call.provider().name),
            raw: failure.raw.as_deref(),
            provider_code: failure.code.as_deref(),
            own: failure.own.as_deref(),
            generation_id: std::str::from_utf8(&text).ok(),
            param: failure.param.as_deref(),
            status: None,
            previous: &previous,
            availability: None,
        };
        if let Some(receipt) = self.call.receipt() {
            return receipt.fail(failure, &details);
        }
        let (dialect, metadata) = (self.call.dialect(), self.call.metadata_of(failure));
        let (weave, tap) = self.sieve.voices();
        self.ready.extend_from_slice(&write_failure(weave, tap, dialect, failure, &details, metadata.as_deref()));
    }

    /// Output that precedes a failure must reach the client before the failure is told.
    fn after(&mut self, before: Bytes, failed: Step) -> Step {
        if before.is_empty() || !self.committed && !self.call.seen.content {
            return failed;
        }
        self.pending_failure = Some(Box::new(failed));
        Step::Output(before)
    }

    fn too_large(&self) -> Failure {
        let most = self.call.snapshot.settings.limits.event_bytes;
        let message = format!("{} sent an event larger than the {most} bytes allowed", self.call.provider().name);
        Failure::new(ErrorKind::ProviderUnavailable, message).word("event_too_large")
    }

    /// Until content comes: waits for the next sign of life towards the client, and writes it. Gemini's clients know none.
    fn poll_quiet(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.call.dialect() == Dialect::GeminiGenerate || self.aside.is_some() {
            return Poll::Pending;
        }
        ready!(self.quiet.poll(context));
        self.keep_alive();
        let wait = Duration::from_millis(self.call.snapshot.settings.timeouts.keepalive_ms);
        self.quiet.set(Instant::now() + wait);
        Poll::Ready(())
    }

    /// Proof of life; only ever between events.
    fn keep_alive(&mut self) {
        let mut frame = Vec::new();
        if self.may_leave() && !self.committed {
            self.held = std::mem::take(&mut self.ready);
        }
        if !self.sieve.has_weave() && self.call.dialect() == Dialect::OpenaiResponses {
            self.leave_byte_path();
        }
        sign_of_life(self.sieve.weave(), self.call.dialect(), &mut frame);
        self.ready.extend_from_slice(&frame);
    }

    /// What numbers the events of Responses anew.
    fn numbering(&self) -> Box<Weave> {
        let traits = self.call.endpoint().traits;
        Box::new(Weave::new(&Back::same(Dialect::OpenaiResponses, traits), Arc::new(self.call.identity()), None))
    }

    /// Responses' signs of life are events with numbers, so those of the provider must be numbered anew.
    fn leave_byte_path(&mut self) {
        let weave = self.numbering();
        if self.may_leave() {
            let events = std::mem::take(&mut self.held);
            return self.sieve.sleep(Some(weave), events);
        }
        let passed = std::mem::take(&mut self.ready);
        let mut written = Vec::new();
        match self.sieve.weave_from(weave, &passed, &mut written) {
            Ok(()) => self.ready.extend_from_slice(&written),
            // What came so far makes no sense to us, so it goes on as it came.
            Err(_) => self.ready = passed,
        }
    }
}

/// Proof of life in the client's dialect: by what writes its events, where something does.
fn sign_of_life(weave: Option<&mut Weave>, dialect: Dialect, out: &mut Vec<u8>) {
    match (weave, dialect) {
        (Some(weave), _) => weave.keep_alive(out),
        (None, Dialect::AnthropicMessages) => out.extend_from_slice(b"event: ping\ndata: {\"type\": \"ping\"}\n\n"),
        (None, _) => out.extend_from_slice(b": keep-alive\n\n"),
    }
}

/// The end of a stream that has failed, with what the client asked to be told of the routing.
fn write_failure(
    weave: Option<&mut Weave>,
    tap: &Tap,
    dialect: Dialect,
    failure: &Failure,
    details: &Details<'_>,
    metadata: Option<&[u8]>,
) -> Vec<u8> {
    let mut frames = Vec::new();
    match weave {
        Some(weave) => weave.fail(failure.kind, &failure.message, details, &mut frames),
        None => tap.write_error(failure.kind, &failure.message, details, &mut frames),
    }
    if let Some(metadata) = metadata {
        metadata::add_to_last_event(dialect, metadata, &mut frames, 0);
    }
    frames
}

/// What looks at the provider's events.
fn tap(way: &Way, dialect: Dialect, identity: Arc<Identity>) -> Tap {
    match way {
        Way::Bytes { purpose: Purpose::Completions, withhold_usage } => Tap::completions(identity, *withhold_usage),
        Way::Bytes { withhold_usage, .. } => Tap::new(dialect, identity, *withhold_usage),
        Way::Translated(back) => Tap::new(back.upstream(), identity, false),
    }
}

/// What the attempt's stream goes through. `leaves`: another may follow, so that nothing is numbered before there is content.
fn sieve(call: &Call, way: Way, leaves: bool) -> Sieve {
    let identity = Arc::new(call.identity());
    let mut tap = tap(&way, call.dialect(), identity.clone());
    let shadow = way.shadow(call);
    let weave = match way {
        Way::Bytes { .. } => None,
        Way::Translated(back) => {
            let watch = call.offer.as_ref().map(|offer| back.watch(offer));
            Some(Box::new(Weave::new(&back, identity, watch)))
        }
    };
    if let (Some(offer), None) = (&call.offer, &weave) {
        tap.watch(Box::new(Watch::new(offer.clone(), None)));
    }
    let numbers = weave.is_some() && leaves && call.dialect() == Dialect::OpenaiResponses;
    let wire = Wire::new(tap.dialect(), call.snapshot.settings.limits.event_bytes);
    let mut sieve = Sieve::new(tap, wire, weave);
    if call.is_kept() {
        sieve.keep_end();
    }
    if let Some(metadata) = call.metadata(200) {
        sieve.add_postscript(call.dialect(), metadata);
    }
    if numbers {
        sieve.sleep(None, BytesMut::new());
    }
    if let Some((bytes, tokens)) = call.edge() {
        sieve.set_edge(bytes, tokens);
        if let Some(shadow) = shadow {
            sieve.shadow(Box::new(Weave::new(&shadow, Arc::new(call.identity()), None)));
        }
    }
    sieve
}

impl Work for Box<Relay> {
    fn billed_whole(&self) -> Option<&Rc<Presence>> {
        self.call.billed_whole()
    }

    async fn finish(mut self) {
        let next = |relay: &mut Box<Relay>, context: &mut Context<'_>| match relay.poll_output(context) {
            // Nobody will read it: an event that grows so large is not worth waiting for.
            Poll::Pending if relay.sieve.held_bytes() > whole::UNHEARD_BYTES => Poll::Ready(None),
            polled => polled,
        };
        while poll_fn(|context| next(&mut self, context)).await.is_some() {}
    }
}

impl Drop for Relay {
    /// The client left, or all was said. What is known by now is what the call is settled with.
    fn drop(&mut self) {
        if self.call.is_open() {
            self.note();
        }
    }
}
