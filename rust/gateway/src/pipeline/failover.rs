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
use super::plan::{Choice, Plan};
use super::prepare::{Prepared, Ready};
use super::whole;
use super::{Ask, Sending};
use crate::worker::Worker;
use fairlead_ir::Elsewhere;
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
    route: Route,
}

/// Where a request has been, and where it may still go: every endpoint once, and every key of an endpoint once.
pub(crate) struct Route {
    current: Choice,
    others: std::vec::IntoIter<Choice>,
    /// The credential that was used last, and how many others of that endpoint were not.
    turn: u32,
    keys: usize,
    attempts: usize,
}

/// The next attempt.
pub(crate) struct Next {
    choice: Choice,
    ready: Ready,
    /// What the one after it needs, if there may be one.
    standby: Option<Box<Standby>>,
}

impl Route {
    /// The way that begins with the first attempt, which used the credential `turn`; `None` where it ends there too.
    pub(crate) fn begin(plan: Plan, snapshot: &Snapshot, turn: u32) -> Option<Route> {
        let Plan { first, rest } = plan;
        let keys = first.credentials(snapshot).saturating_sub(1);
        let attempts = snapshot.settings.attempts.saturating_sub(1);
        let route = Route { current: first, others: rest.into_iter(), turn, keys, attempts };
        (!route.is_at_its_end()).then_some(route)
    }

    fn is_at_its_end(&self) -> bool {
        self.attempts == 0 || self.keys == 0 && self.others.as_slice().is_empty()
    }

    /// Whether another model may still be asked.
    fn leads_to_another_model(&self) -> bool {
        self.attempts > 0 && self.others.as_slice().iter().any(|other| !other.is_of_model_of(self.current))
    }

    /// Goes on. The place for whoever knows better than the plan's order: what is asked next depends on how the last attempt failed alone.
    fn next(&mut self, elsewhere: Elsewhere, snapshot: &Snapshot) -> Option<(Choice, Option<u32>)> {
        self.attempts = self.attempts.checked_sub(1)?;
        if elsewhere == Elsewhere::Key
            && let Some(keys) = self.keys.checked_sub(1)
        {
            self.keys = keys;
            return Some((self.current, Some(self.turn.wrapping_add(1))));
        }
        let before = self.current;
        self.current = match elsewhere {
            Elsewhere::Nowhere => None,
            Elsewhere::Key | Elsewhere::Endpoint => self.others.next(),
            Elsewhere::Model => self.others.find(|other| !other.is_of_model_of(before)),
        }?;
        self.keys = self.current.credentials(snapshot).saturating_sub(1);
        Some((self.current, None))
    }
}

impl Standby {
    pub(crate) fn new(route: Route, principal: Arc<Principal>, headers: HeaderMap, ask: Ask, intake: Intake, strict: bool) -> Box<Standby> {
        Box::new(Standby { principal, headers, ask, intake, strict, route })
    }

    pub(crate) fn leads_to_another_model(&self) -> bool {
        self.route.leads_to_another_model()
    }

    /// The request, ready for the next endpoint that takes it.
    pub(crate) async fn next(mut self: Box<Self>, worker: Rc<Worker>, snapshot: Arc<Snapshot>, mut elsewhere: Elsewhere) -> Option<Next> {
        loop {
            let (choice, turn) = self.route.next(elsewhere, &snapshot)?;
            match self.prepare(&worker, &snapshot, choice, turn).await {
                Ok(ready) => {
                    self.route.turn = ready.turn();
                    let standby = (!self.route.is_at_its_end()).then_some(self);
                    return Some(Next { choice, ready, standby });
                }
                // What was never sent is no attempt.
                Err(_) => {
                    self.route.attempts += 1;
                    elsewhere = Elsewhere::Endpoint;
                }
            }
        }
    }

    async fn prepare(&self, worker: &Rc<Worker>, snapshot: &Arc<Snapshot>, choice: Choice, turn: Option<u32>) -> Result<Ready, Failure> {
        let Standby { principal, headers, ask, intake, strict, .. } = self;
        let head = Head::read(headers);
        let admitted =
            Admitted { worker, snapshot, principal, choice, turn, dialect: ask.dialect, manner: ask.manner, head: &head, strict: *strict };
        Prepared::make(&admitted, ask, intake).await?.ready(&admitted, ask, intake, Instant::now())
    }
}

impl Next {
    /// The call goes on with it.
    pub(crate) fn begin(self, call: &mut Call) -> Sending {
        call.begin_again(self.choice);
        call.set_may_change_model(self.standby.as_ref().is_some_and(|standby| standby.leads_to_another_model()));
        let (attempting, way) = self.ready.enter(call);
        Sending { attempting, way, standby: self.standby }
    }
}

/// Whether a call whose attempt has failed goes on, with what `standby` has. If so, the attempt is over.
pub(crate) fn leave(call: &mut Call, standby: &mut Option<Box<Standby>>, failure: &Failure) -> Option<Box<Standby>> {
    if standby.is_none() || failure.elsewhere == Elsewhere::Nowhere || !call.may_go_on() {
        return None;
    }
    let now = Instant::now();
    if now >= whole::total_deadline(call) {
        return None;
    }
    call.attempt_over(failure, now);
    standby.take()
}
