//! One request from its head to its settlement. The files are the steps, in this order: `admit`, `intake`, `plan`, `passage` (the caller's rates),
//! `waiting` (`queued`, where there is a line), `prepare`, `call` (reserve and settle), `attempt`, then `whole` or `relay`, and `failover` to the next attempt; `reply` turns every outcome into HTTP and `forward` serves what is not inference.
//! `stateful` and `kept` are for replies that are kept, `repeat` for those that are given again (`seeking` asks for one).

mod admit;
mod attempt;
mod call;
mod count;
mod decided;
mod explain;
mod failover;
mod failure;
mod forward;
mod head;
mod intake;
mod kept;
mod passage;
mod plan;
mod prepare;
mod preset;
mod queued;
mod receipt;
mod relay;
mod repeat;
mod replay;
mod reply;
mod seeking;
mod shadow;
mod stateful;
mod telling;
mod tier;
mod translate;
mod waiting;
mod whole;

pub(crate) use admit::KnownKey;
pub(crate) use explain::explain;
pub(crate) use intake::Arriving;
pub(crate) use preset::snapshot;
pub(crate) use receipt::Receipt;
pub use receipt::Settlement;
pub use replay::{Replay, ReplayError, Window};
pub(crate) use reply::{Broken, ReplyBody, refuse_head};

use crate::routes::{self, Ask, Route};
use crate::worker::Worker;
use attempt::Attempting;
use call::Call;
use failover::Standby;
use failure::Failure;
use fairlead_formats::request::{Purpose, RequestScan};
use fairlead_ir::{Dialect, Elsewhere, ErrorKind, Manner};
use fairlead_snapshot::{Limits, Principal, Snapshot};
use head::Head;
use http::request::Parts;
use http::{HeaderMap, Response};
use intake::Intake;
use plan::{Choice, Journey, Leg};
use prepare::{Prepared, Ready};
use queued::Queued;
use seeking::Seeking;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// What its connection knows of a request.
pub(crate) struct Arrival<'a> {
    /// When its first byte came.
    pub(crate) began: Instant,
    /// What is wrong with how its head says where the body ends.
    pub(crate) misframed: Option<&'static str>,
    pub(crate) caller: Caller<'a>,
}

/// Who asks.
#[derive(Clone, Copy)]
pub(crate) enum Caller<'a> {
    /// Whoever the key in the headers belongs to; with what the connection knows of keys.
    Client(&'a KnownKey),
    /// The process that this is part of.
    Process(&'a Own),
}

/// A call of the process's own: there is no key, and what came of it is told beside the reply.
pub(crate) struct Own {
    pub(crate) principal: Arc<Principal>,
    pub(crate) receipt: Rc<Receipt>,
}

impl<'a> Caller<'a> {
    fn receipt(self) -> Option<&'a Rc<Receipt>> {
        match self {
            Caller::Client(_) => None,
            Caller::Process(own) => Some(&own.receipt),
        }
    }
}

/// Answers a request.
pub(crate) async fn answer(worker: &Rc<Worker>, request: http::Request<Arriving>, arrival: Arrival<'_>) -> Response<ReplyBody> {
    let (route, face) = routes::find(request.method(), request.uri().path(), request.uri().query());
    let (mut parts, body) = request.into_parts();
    let mut body = Body { incoming: Some(body), began: arrival.began };
    let mut reply_count = ReplyCount { worker, status: 0 };
    let snapshot = worker.shared.snapshot();
    let outcome = match route {
        Route::Infer(ask) => infer(worker, &snapshot, &mut parts, &mut body, &arrival, ask).await,
        // Boxed: the rare case should not make every connection's task larger.
        route => Box::pin(serve(worker, &snapshot, &parts, &mut body, &arrival, route)).await,
    };
    let response = match outcome {
        Ok(response) => response,
        Err(failure) => {
            body.discard(worker).await;
            reply::refusal(arrival.caller.receipt().map_or(face, |_| Receipt::FACE), &failure)
        }
    };
    reply_count.status = response.status().as_u16();
    response
}

/// Counts a reply by its status, also the one that was never made because the client left.
struct ReplyCount<'a> {
    worker: &'a Worker,
    status: u16,
}

impl Drop for ReplyCount<'_> {
    fn drop(&mut self) {
        self.worker.counters.replied(self.status);
    }
}

/// A request's body. Whoever reads it takes it; one that nobody wanted is taken off the wire before the refusal.
struct Body {
    incoming: Option<Arriving>,
    began: Instant,
}

impl Body {
    fn take(&mut self) -> Result<Arriving, Failure> {
        self.incoming.take().ok_or_else(|| Failure::new(ErrorKind::Internal, "the body was read twice"))
    }

    /// A client that asked first (Expect: 100-continue) and was refused has not sent anything.
    fn forget_if(&mut self, expects: bool) {
        if expects {
            self.incoming = None;
        }
    }

    async fn discard(&mut self, worker: &Worker) {
        if let Some(incoming) = self.incoming.take() {
            intake::discard(worker, incoming, self.began, &worker.shared.snapshot().settings).await;
        }
    }
}

/// An inference request that may run: who asks, for what, how, and where it goes.
pub(crate) struct Admitted<'a> {
    worker: &'a Rc<Worker>,
    snapshot: &'a Arc<Snapshot>,
    principal: &'a Principal,
    choice: Choice,
    /// The credential to take, by its place modulo how many there are; any will do where none is given.
    turn: Option<u32>,
    /// Another credential has failed: thoughts that are bound to it do not bring the request back there.
    turn_is_bound: bool,
    dialect: Dialect,
    /// The dialect of the reply.
    answers: Dialect,
    manner: Manner,
    head: &'a Head<'a>,
    /// The caller or its key would rather have it refused than lose anything in a translation.
    strict: bool,
    /// Where what came of it is told, of a call of the process's own.
    receipt: Option<&'a Rc<Receipt>>,
}

impl Admitted<'_> {
    /// Whether anybody who has a say would.
    fn is_strict(&self) -> bool {
        self.strict || self.choice.strict
    }
}

/// A call's attempt, and what the next one needs.
pub(crate) struct Sending {
    attempting: Attempting,
    way: Way,
    standby: Option<Box<Standby>>,
}

/// Everything but inference.
async fn serve(
    worker: &Worker,
    snapshot: &Snapshot,
    parts: &Parts,
    body: &mut Body,
    arrival: &Arrival<'_>,
    route: Route,
) -> Result<Response<ReplyBody>, Failure> {
    let mut head = checked_head(parts, body, arrival.misframed, &snapshot.settings.limits)?;
    if routes::face(parts.uri.path()).dialect == Dialect::GeminiGenerate {
        head.take_key_from(parts.uri.query());
    }
    match route {
        Route::Health => Ok(reply::plain(200, "ok\n")),
        Route::Ready if worker.shared.ready() => Ok(reply::plain(200, "ready\n")),
        Route::Ready => Ok(reply::plain(503, "not ready\n")),
        Route::Metrics => {
            admit::admin(worker, &head)?;
            Ok(reply::text(200, "text/plain; version=0.0.4; charset=utf-8", worker.shared.metrics()))
        }
        Route::Method(allowed) => {
            let message = format!("{} is not allowed here; use {allowed}", parts.method);
            Err(Failure::new(ErrorKind::MethodNotAllowed, message).allowing(allowed))
        }
        Route::Kept(kept) => {
            let principal = admit::inference(worker, &head, arrival.caller)?;
            kept::answer(worker, snapshot, &principal, kept, parts.uri.query()).await
        }
        Route::Control => forward::to_control(worker, snapshot, parts, &head, body, arrival.caller).await,
        Route::Infer(_) | Route::Unknown => Err(unknown_path(parts.uri.path())),
    }
}

/// Inference, from the key to the first bytes of the answer.
async fn infer(
    worker: &Rc<Worker>,
    snapshot: &Arc<Snapshot>,
    parts: &mut Parts,
    body: &mut Body,
    arrival: &Arrival<'_>,
    mut ask: Ask,
) -> Result<Response<ReplyBody>, Failure> {
    let mut head = checked_head(parts, body, arrival.misframed, &snapshot.settings.limits)?;
    if ask.dialect == Dialect::GeminiGenerate {
        head.take_key_from(parts.uri.query());
    }
    let principal = admit::inference(worker, &head, arrival.caller).inspect_err(|_| body.forget_if(head.expects))?;
    let scan = scan(&mut ask, snapshot.settings.limits.json_depth);
    // Boxed: the rare case should not make every request's task larger.
    let otherwise = ask.answers.map(|_| Box::new(RequestScan::new(Dialect::OpenaiResponses, snapshot.settings.limits.json_depth)));
    let mut intake = intake::read(worker, &head, body.take()?, scan, otherwise, &snapshot.settings, arrival.began).await?;
    if ask.answers.is_some() {
        ask.dialect = intake.facts.dialect;
    }
    let generation = worker.generation(worker.unix_ms_at(arrival.began));
    let board = worker.shared.board();
    let payers = admit::payers(worker, &principal)?;
    let names_preset = !board.snapshot().presets.is_empty() && preset::is_named(&intake.facts);
    if seeking::is_one(&head, &principal, board.snapshot(), names_preset, &ask) {
        let (worker, headers, receipt) = (worker.clone(), std::mem::take(&mut parts.headers), arrival.caller.receipt().cloned());
        let began = arrival.began;
        let seeking = Seeking { worker, board, principal, payers, headers, ask, intake, generation, began, receipt };
        // Boxed: the rare case should not make every connection's task larger.
        return Box::pin(seeking.answer()).await;
    }
    if names_preset {
        // Boxed: the rare case should not make every request's task larger.
        Box::pin(preset::fill(board.snapshot(), &mut intake)).await?;
    }
    let mut journey = plan::choose(worker, board, (&principal, arrival.caller.receipt()), &head, &intake, &ask, generation)?;
    let strict = is_strict(&head, &principal, &journey)?;
    let (dialect, manner) = (ask.dialect, ask.manner);
    let snapshot = journey.board().snapshot().clone();
    let choice = journey.best().ok_or_else(|| Failure::new(ErrorKind::Internal, "the plan is empty"))?;
    let mut admitted = Admitted {
        worker,
        snapshot: &snapshot,
        principal: &principal,
        choice,
        turn: None,
        turn_is_bound: false,
        dialect,
        answers: ask.reply_dialect(),
        manner,
        head: &head,
        strict,
        receipt: arrival.caller.receipt(),
    };
    if ask.purpose == Purpose::CountTokens {
        // Nothing is sent, so that no key's limit is touched.
        return count::answer(&admitted, stateful::resume(&admitted, &ask, &intake).await?.map_or(intake, |resumed| resumed.intake)).await;
    }
    if !worker.shared.can_record() {
        return Err(no_journal());
    }
    passage::enter(worker, &snapshot, &mut journey, payers, &intake, worker.unix_ms_at(arrival.began))?;
    let Some(leg) = waiting::at_once(worker, &mut journey) else {
        let (receipt, worker) = (admitted.receipt.cloned(), worker.clone());
        let (headers, began) = (std::mem::take(&mut parts.headers), arrival.began);
        let queued = Queued { worker, snapshot, principal, journey, choice, headers, ask, intake, strict, began, receipt };
        // Boxed: the rare case should not make every connection's task larger.
        return Box::pin(queued.answer()).await;
    };
    let caller = (&principal, &parts.headers);
    let (mut call, ready) = make_ready(&mut admitted, &mut journey, leg, &ask, &mut intake, caller, arrival.began).await?;
    let streams = intake.facts.stream;
    let mut headers = std::mem::take(&mut parts.headers);
    let standby = Standby::new(journey, principal, &mut headers, ask, intake, strict);
    if standby.is_none() {
        // The request's map is filled anew for the reply: making one costs more than clearing one.
        headers.clear();
        // Nothing of the request lies in hyper's buffer any more, so that it is read into again and no new one made.
        parts.uri = http::Uri::default();
    }
    let sending = ready.begin(&mut call, standby);
    if streams { Ok(relay::answer(call, sending, headers).await) } else { Ok(whole::answer(call, sending, headers).await) }
}

/// Whether nothing may be lost in translation.
fn is_strict(head: &Head<'_>, principal: &Principal, journey: &Journey) -> Result<bool, Failure> {
    Ok(head.strict()? || principal.strict_translation || journey.require_parameters)
}

fn no_journal() -> Failure {
    Failure::store("the usage journal cannot be written, so no paid work is accepted; see the server's log")
}

/// With a credential: the call, reserved, and what is sent for it.
async fn make_ready(
    admitted: &mut Admitted<'_>,
    journey: &mut Journey,
    leg: Leg,
    ask: &Ask,
    intake: &mut Intake,
    (principal, headers): (&Arc<Principal>, &HeaderMap),
    began: Instant,
) -> Result<(Box<Call>, Ready), Failure> {
    (admitted.choice, admitted.turn) = (leg.choice, leg.turn());
    let prepared = prepare_first(admitted, journey, leg, ask, intake).await;
    let (mut prepared, leg) = prepared.map_err(|failure| journey.tell_with(failure))?;
    let call = Call::reserve(admitted, journey, leg, prepared.intake(intake), began)?;
    let ready = prepared.ready(admitted, ask, intake, call.attempt_at())?;
    // The process's own calls have none: what they cost is told to whoever makes them, and a shadow's cost would be told to nobody.
    if let Some(drawn) = journey.shadow.take().filter(|_| admitted.receipt.is_none()) {
        shadow::follow(&call, drawn, principal, headers, ask, intake);
    }
    Ok((call, ready))
}

/// The request as the first endpoint gets it that it can be said to; those before it are passed over.
async fn prepare_first(
    admitted: &mut Admitted<'_>,
    journey: &mut Journey,
    mut leg: Leg,
    ask: &Ask,
    intake: &Intake,
) -> Result<(Prepared, Leg), Failure> {
    let mut refused: Option<Failure> = None;
    loop {
        let failure = match Prepared::make(admitted, ask, intake).await {
            Ok(prepared) => return Ok((prepared, leg)),
            Err(failure) => failure,
        };
        let unsent = leg.moved.take();
        drop(leg);
        let next = if failure.elsewhere == Elsewhere::Nowhere {
            None
        } else {
            journey.instead(unsent, admitted.worker.shared.routing_ms(std::time::Instant::now()))
        };
        // The best endpoint's reason is the one to tell.
        let first = match refused.take() {
            Some(first) => first.and(failure),
            None => failure,
        };
        leg = match next {
            Some(next) => next,
            None => return Err(first),
        };
        refused = Some(first);
        (admitted.choice, admitted.turn) = (leg.choice, leg.turn());
    }
}

/// What reads the facts of a body.
fn scan(ask: &mut Ask, most_depth: u16) -> RequestScan {
    match (ask.purpose, ask.address.take()) {
        (Purpose::CountTokens, address) => RequestScan::count(ask.dialect, most_depth, address.map(|address| address.model)),
        (Purpose::Completions, _) => RequestScan::completions(most_depth),
        (Purpose::Embeddings, _) => RequestScan::embeddings(most_depth),
        (Purpose::Generate, Some(address)) => RequestScan::addressed(ask.dialect, most_depth, address),
        (Purpose::Generate, None) => RequestScan::new(ask.dialect, most_depth),
    }
}

/// How a reply reaches the client.
pub(crate) enum Way {
    /// As it comes, but for what is spliced in. `withhold_usage`: and for the usage chunk, which the client did not ask for.
    Bytes { purpose: Purpose, withhold_usage: bool },
    /// In another dialect, or another form of its own.
    Translated(Box<translate::Back>),
}

/// The headers, read once; what no request may have is refused, and its body forgotten if it has not been sent.
fn checked_head<'a>(parts: &'a Parts, body: &mut Body, misframed: Option<&'static str>, limits: &Limits) -> Result<Head<'a>, Failure> {
    let head = Head::read(&parts.headers);
    let checked = check_framing(misframed).and_then(|()| head::check_size(parts, limits)).and_then(|()| head.check(parts.version));
    checked.inspect_err(|_| body.forget_if(head.expects))?;
    Ok(head)
}

fn check_framing(misframed: Option<&'static str>) -> Result<(), Failure> {
    misframed.map_or(Ok(()), |message| Err(Failure::new(ErrorKind::InvalidRequest, message).closing()))
}

fn unknown_path(path: &str) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("there is nothing at {}{}", failure::shown(path), routes::hint(path)))
}
