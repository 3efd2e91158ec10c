//! A request that may have to stand in line, with all that it needs, so that it can go on behind an early head: a client that wants a stream has
//! its head and signs of life after `timeouts.early_head_ms` of silence, however much of it was spent in line and however much with a provider.

use super::call::Call;
use super::failover::Standby;
use super::failure::Failure;
use super::head::Head;
use super::intake::Intake;
use super::plan::{Choice, Journey};
use super::receipt::Receipt;
use super::relay::{self, Departure, Early, Voice};
use super::reply::{self, ReplyBody};
use super::{Admitted, Ask, Sending, make_ready, stateful, waiting, whole};
use crate::worker::Worker;
use fairlead_ir::Dialect;
use fairlead_snapshot::{Principal, Snapshot};
use http::{HeaderMap, Response};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// A request without a credential.
pub(super) struct Queued {
    pub(super) worker: Rc<Worker>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) principal: Arc<Principal>,
    pub(super) journey: Box<Journey>,
    /// What the plan prefers.
    pub(super) choice: Choice,
    pub(super) headers: HeaderMap,
    pub(super) ask: Ask,
    pub(super) intake: Intake,
    pub(super) strict: bool,
    pub(super) began: Instant,
    pub(super) receipt: Option<Rc<Receipt>>,
}

/// A call on its way, and the map for the headers of its reply.
pub(crate) struct Departed {
    pub(crate) call: Box<Call>,
    pub(crate) sending: Sending,
    pub(crate) headers: HeaderMap,
}

impl Queued {
    /// Waits, and answers.
    ///
    /// # Errors
    /// What is wrong before the head is out; later it is told in the stream.
    pub(super) async fn answer(self) -> Result<Response<ReplyBody>, Failure> {
        if !self.intake.facts.stream {
            let Departed { call, sending, headers } = self.depart().await?;
            return Ok(whole::answer(call, sending, headers).await);
        }
        let voice = (self.ask.reply_dialect() != Dialect::GeminiGenerate).then(|| self.voice());
        let early_head_at = self.began + self.intake.waited + Duration::from_millis(self.snapshot.settings.timeouts.early_head_ms);
        let mut departing = Box::pin(self.depart());
        let departed = match voice {
            None => departing.await,
            Some(voice) => match timeout_at(early_head_at, &mut departing).await {
                Ok(departed) => departed,
                Err(_) => {
                    let departing = async move { departing.await.map(|departed| Departure::Call(departed, None)) };
                    return Ok(reply::early(Early::new(Box::pin(departing), voice)));
                }
            },
        };
        let Departed { call, sending, headers } = departed?;
        Ok(relay::answer(call, sending, headers).await)
    }

    /// What speaks to the client while nobody has answered.
    fn voice(&self) -> Voice {
        let Queued { worker, snapshot, journey, choice, ask, intake, receipt, .. } = self;
        // Whoever will answer is not known yet: it looks like the first choice.
        let identity = choice.identity(snapshot, ask.manner, journey.generation);
        let identity = match stateful::keeps(worker, snapshot, ask, intake) {
            Some(previous) => identity.kept(previous.as_deref()),
            None => identity,
        };
        let traits = choice.endpoint(snapshot).traits;
        Voice::new(&snapshot.settings.timeouts, journey.generation, identity, ask, traits, receipt.clone())
    }

    /// Waits for a credential if need be, and reserves.
    ///
    /// # Errors
    /// None became free in time, or the request cannot be sent or paid.
    pub(super) async fn depart(self) -> Result<Departed, Failure> {
        let Queued { worker, snapshot, principal, mut journey, choice, mut headers, ask, mut intake, strict, began, receipt } = self;
        let leg = match waiting::at_once(&worker, &mut journey) {
            Some(leg) => leg,
            None => {
                let since = Instant::now();
                let leg = waiting::in_line(&worker, &mut journey, principal.key, &ask, &intake.facts).await;
                // Waiting is no work of ours.
                intake.queued = since.elapsed();
                leg.map_err(|failure| journey.tell_with(failure))?
            }
        };
        let head = Head::read(&headers);
        let mut admitted = Admitted {
            worker: &worker,
            snapshot: &snapshot,
            principal: &principal,
            choice,
            turn: None,
            turn_is_bound: false,
            dialect: ask.dialect,
            answers: ask.reply_dialect(),
            manner: ask.manner,
            head: &head,
            strict,
            receipt: receipt.as_ref(),
        };
        let (mut call, ready) = make_ready(&mut admitted, &mut journey, leg, &ask, &mut intake, (&principal, &headers), began).await?;
        let standby = Standby::new(journey, principal, &mut headers, ask, intake, strict);
        headers.clear();
        let sending = ready.begin(&mut call, standby);
        Ok(Departed { call, sending, headers })
    }
}
