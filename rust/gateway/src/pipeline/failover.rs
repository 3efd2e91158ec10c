//! Where else a request may go when an attempt came to nothing, and what that takes. Whoever runs attempts (`whole`, `relay`) asks here
//! after each that failed before anything of its reply reached the client.
//!
//! The request is kept only while there is somewhere else to go. It is written anew for each attempt, because the next endpoint may speak
//! another dialect, go by another model's name or want another credential.

use super::Admitted;
use super::call::Call;
use super::failure::Failure;
use super::head::Head;
use super::intake::Intake;
use super::plan::{Journey, Leg};
use super::prepare::{Prepared, Ready};
use super::whole;
use super::{Ask, Sending};
use crate::worker::Worker;
use fairlead_ir::Elsewhere;
use fairlead_router::health::outcome::Class;
use fairlead_snapshot::{Principal, Snapshot};
use http::HeaderMap;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// What another attempt needs.
pub(crate) struct Standby {
    principal: Arc<Principal>,
    headers: HeaderMap,
    ask: Ask,
    /// As it came.
    intake: Intake,
    strict: bool,
    journey: Box<Journey>,
}

/// The next attempt.
pub(crate) struct Next {
    pub(crate) leg: Leg,
    pub(crate) ready: Ready,
    /// What the one after it needs, if there may be one.
    pub(crate) standby: Option<Box<Standby>>,
}

impl Standby {
    /// Whatever the next attempt needs; `None` where there is none.
    pub(crate) fn new(
        journey: Box<Journey>,
        principal: Arc<Principal>,
        headers: &mut HeaderMap,
        ask: Ask,
        intake: Intake,
        strict: bool,
    ) -> Option<Box<Standby>> {
        let headers = journey.may_go_on().then(|| std::mem::take(headers))?;
        Some(Box::new(Standby { principal, headers, ask, intake, strict, journey }))
    }

    pub(crate) fn leads_to_another_model(&self) -> bool {
        self.journey.may_change_model()
    }

    /// The request, ready for the next endpoint that takes it.
    pub(crate) async fn next(mut self: Box<Self>, worker: Rc<Worker>, snapshot: Arc<Snapshot>, failed: Class) -> Option<Next> {
        let now_ms = || worker.shared.routing_ms(std::time::Instant::now());
        let mut leg = self.journey.next(failed, now_ms());
        loop {
            let mut found = leg?;
            match self.prepare(&worker, &snapshot, &found).await {
                Ok(ready) => {
                    let standby = self.journey.may_go_on().then_some(self);
                    return Some(Next { leg: found, ready, standby });
                }
                // What was never sent is no attempt.
                Err(_) => {
                    // Its place is free again for whoever comes next, which may be this request.
                    let unsent = found.moved.take();
                    drop(found);
                    leg = self.journey.instead(unsent, now_ms());
                }
            }
        }
    }

    /// After how long without a first token another attempt may begin beside the current one; `None` where nobody wants that.
    pub(crate) fn hedge_after_ms(&self, worker: &Worker) -> Option<u64> {
        let board = self.journey.board();
        if !board.snapshot().settings.hedge {
            return None;
        }
        board.hedges().deposit();
        self.journey.hedge_after_ms(worker.shared.routing_ms(std::time::Instant::now()))
    }

    /// The attempt beside the current one, ready to be sent. Given back where there is none.
    pub(crate) async fn beside(mut self: Box<Self>, worker: Rc<Worker>, snapshot: Arc<Snapshot>) -> Result<Next, Box<Standby>> {
        if !self.journey.board().hedges().withdraw() {
            return Err(self);
        }
        let Some(leg) = self.journey.beside(worker.shared.routing_ms(std::time::Instant::now())) else { return Err(self) };
        match self.prepare(&worker, &snapshot, &leg).await {
            Ok(ready) => Ok(Next { leg, ready, standby: Some(self) }),
            Err(_) => Err(self.rejoined()),
        }
    }

    /// The attempt beside the current one has failed.
    pub(crate) fn rejoined(mut self: Box<Self>) -> Box<Standby> {
        self.journey.rejoin();
        self
    }

    /// As it stands behind an attempt; nothing where no other may follow.
    pub(crate) fn left(self: Box<Self>) -> Option<Box<Standby>> {
        self.journey.may_go_on().then_some(self)
    }

    async fn prepare(&self, worker: &Rc<Worker>, snapshot: &Arc<Snapshot>, leg: &Leg) -> Result<Ready, Failure> {
        let Standby { principal, headers, ask, intake, strict, .. } = self;
        let (head, choice, turn) = (Head::read(headers), leg.choice, leg.turn());
        let admitted = Admitted {
            worker,
            snapshot,
            principal,
            choice,
            turn,
            turn_is_bound: true,
            dialect: ask.dialect,
            answers: ask.reply_dialect(),
            manner: ask.manner,
            head: &head,
            strict: *strict,
            // The call has it by now.
            receipt: None,
        };
        Prepared::make(&admitted, ask, intake).await?.ready(&admitted, ask, intake, Instant::now())
    }
}

impl Next {
    /// The call goes on with it.
    pub(crate) fn begin(self, call: &mut Call) -> Sending {
        call.begin_again(self.leg);
        self.ready.begin(call, self.standby)
    }
}

/// Whether a call whose attempt has failed goes on, with what `standby` has, and what the router makes of the failure. If so, the attempt
/// is over.
pub(crate) fn leave(call: &mut Call, standby: &mut Option<Box<Standby>>, failure: &Failure) -> Option<(Box<Standby>, Class)> {
    if standby.is_none() || failure.elsewhere == Elsewhere::Nowhere || !call.may_go_on() {
        return None;
    }
    let now = Instant::now();
    if now >= whole::total_deadline(call) {
        return None;
    }
    let class = call.attempt_over(failure, now);
    standby.take().map(|standby| (standby, class))
}
