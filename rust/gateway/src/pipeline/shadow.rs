//! Shadow traffic: some requests to a model are also sent to a second one, so that it can be judged before anybody depends on it.
//!
//! Nobody waits for a shadow and nobody is charged for it. It begins when the caller's own request is with its provider, runs beside it on the
//! same worker, outlives it, and has one attempt with a key that is free at once. Its reply is read to the end and thrown away; what is
//! kept is how it went and what it cost: a record of the caller's generation, and what health learns of every attempt.
//!
//! A stream is asked for as a stream, so that the first token is timed as a caller would see it. The reply is never translated: nobody reads
//! it, and what translations remember of replies is for callers.
//!
//! There is no reservation: a process that is killed loses the records of the shadows that are under way.

use super::call::Call;
use super::head::Head;
use super::intake::Intake;
use super::plan::{Drawn, Journey};
use super::prepare::Prepared;
use super::{Admitted, Ask, Sending, Way, relay, whole};
use crate::worker::Worker;
use fairlead_formats::request::Purpose;
use fairlead_ir::Manner;
use fairlead_snapshot::{Operation, Principal, Snapshot};
use http::HeaderMap;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// Most shadows at a time, per worker; what is beyond it is dropped.
const MOST: usize = 32;
/// Longest body that is sent twice: it is held until the second time.
const LONGEST_BODY_BYTES: u64 = 1 << 20;

/// A copy of a request; its body is the caller's own bytes.
struct Shadow {
    worker: Rc<Worker>,
    journey: Box<Drawn>,
    principal: Arc<Principal>,
    headers: HeaderMap,
    ask: Ask,
    intake: Intake,
    /// Its place among those that run on this worker.
    _place: Rc<()>,
}

/// Has a request shadowed as soon as its own attempt has been sent. If that never happens there is no shadow.
pub(super) fn follow(call: &Call, drawn: Box<Drawn>, principal: &Arc<Principal>, headers: &HeaderMap, ask: &Ask, intake: &Intake) {
    let worker = &call.worker;
    if worker.shadows() >= MOST || intake.bytes > LONGEST_BODY_BYTES {
        return worker.counters.shadows_dropped.add(1);
    }
    let shadow = Shadow {
        worker: worker.clone(),
        journey: drawn,
        principal: principal.clone(),
        headers: headers.clone(),
        ask: ask.clone(),
        intake: intake.clone(),
        _place: worker.shadow(),
    };
    let begin = move || {
        // A drain waits for it; a stop drops it, which records it as it stands.
        let awaited = shadow.worker.awaited();
        tokio::task::spawn_local(async move {
            shadow.run().await;
            drop(awaited);
        });
    };
    call.presence().dispatch.then.set(Some(Box::new(begin)));
}

impl Shadow {
    async fn run(self) {
        let Shadow { worker, journey, principal, headers, ask, mut intake, _place } = self;
        let snapshot = journey.board().snapshot().clone();
        let Some((call, sending)) = prepare(&worker, &snapshot, *journey, &principal, &headers, &ask, &mut intake).await else {
            return worker.counters.shadows_dropped.add(1);
        };
        let streams = intake.facts.stream;
        drop((headers, intake));
        worker.counters.shadows_sent.add(1);
        if streams { relay::unheard(call, sending).await } else { whole::unheard(call, sending).await }
    }
}

/// The request as the second model gets it; `None` where nothing is free at once, or it cannot be said there.
async fn prepare(
    worker: &Rc<Worker>,
    snapshot: &Arc<Snapshot>,
    drawn: Drawn,
    principal: &Principal,
    headers: &HeaderMap,
    ask: &Ask,
    intake: &mut Intake,
) -> Option<(Box<Call>, Sending)> {
    let now_ms = worker.shared.routing_ms(std::time::Instant::now());
    let mut journey = Journey::of_shadow(drawn, intake, now_ms);
    if journey.board().queue().is_waited_for(journey.endpoints()) {
        return None;
    }
    let leg = journey.first(now_ms)?;
    let (choice, head) = (leg.choice, Head::read(headers));
    let admitted = Admitted {
        worker,
        snapshot,
        principal,
        choice,
        turn: leg.turn(),
        turn_is_bound: true,
        dialect: ask.dialect,
        answers: ask.reply_dialect(),
        manner: ask.manner,
        head: &head,
        strict: false,
        receipt: None,
    };
    let mut prepared = Prepared::make(&admitted, ask, intake).await.ok()?;
    // Whoever reads the reply reads it as the provider wrote it.
    let own = Admitted { answers: choice.upstream, manner: Manner::Native, ..admitted };
    let began = Instant::now();
    let call = Call::shadow(&own, &journey, leg, prepared.intake(intake), began);
    let attempting = prepared.ready(&admitted, ask, intake, began).ok()?.attempting;
    // What the second model was asked to do, whatever the caller asked.
    let purpose = match choice.operation {
        Operation::Embeddings => Purpose::Embeddings,
        Operation::Completions => Purpose::Completions,
        Operation::Generate | Operation::Stream | Operation::CountTokens => Purpose::Generate,
    };
    Some((call, Sending { attempting, way: Way::Bytes { purpose, withhold_usage: false }, standby: None }))
}
