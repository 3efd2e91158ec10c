//! A request that may be answered with a reply that another one got or gets, with all that it needs, so that a stream's head can go out while
//! it waits for that: what comes then is the other's reply, or that of a call of its own where there is none, or it has come to nothing.

use super::failure::Failure;
use super::head::Head;
use super::intake::Intake;
use super::queued::{Departed, Queued};
use super::receipt::Receipt;
use super::relay::{Departure, Early, Voice};
use super::repeat::{self, Asking, Calling, Recorder, Repeat};
use super::reply::{self, ReplyBody};
use super::{Ask, is_strict, no_journal, passage, plan, preset, stateful};
use crate::tenants::Chain;
use crate::worker::Worker;
use fairlead_formats::identity::Identity;
use fairlead_formats::request::Purpose;
use fairlead_ir::traits::Traits;
use fairlead_ir::{Dialect, ErrorKind, GenerationId};
use fairlead_router::Board;
use fairlead_snapshot::{Principal, Snapshot};
use http::{HeaderMap, Response};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// A request before its plan.
pub(super) struct Seeking {
    pub(super) worker: Rc<Worker>,
    pub(super) board: Arc<Board>,
    pub(super) principal: Arc<Principal>,
    pub(super) payers: Option<Arc<Chain>>,
    pub(super) headers: HeaderMap,
    pub(super) ask: Ask,
    pub(super) intake: Intake,
    pub(super) generation: GenerationId,
    pub(super) began: Instant,
    pub(super) receipt: Option<Rc<Receipt>>,
}

/// What came of it.
enum Found {
    Reply(Response<ReplyBody>),
    /// Nothing: it goes on as a call, whose reply is perhaps kept.
    Nothing(Box<Queued>, Option<Box<Recorder>>),
}

/// Whether a request is one: something says that replies are given again, and a reply is what it wants.
pub(super) fn is_one(head: &Head<'_>, principal: &Principal, snapshot: &Snapshot, names_preset: bool, ask: &Ask) -> bool {
    repeat::is_wanted(head, principal, snapshot, names_preset) && ask.purpose != Purpose::CountTokens
}

impl Seeking {
    /// Waits as long as it takes, and answers.
    ///
    /// # Errors
    /// What is wrong before the head is out; later it is told in the stream.
    pub(super) async fn answer(self) -> Result<Response<ReplyBody>, Failure> {
        // Others wait in silence: their clients know no signs of life.
        let knows_signs = self.intake.facts.stream && self.ask.reply_dialect() != Dialect::GeminiGenerate;
        let (voice, generation) = (knows_signs.then(|| self.voice()), self.generation);
        let early_head = Duration::from_millis(self.board.snapshot().settings.timeouts.early_head_ms);
        let early_head_at = self.began + self.intake.waited + early_head;
        let mut finding = Box::pin(self.find());
        let found = match voice {
            None => finding.await,
            Some(voice) => match timeout_at(early_head_at, &mut finding).await {
                Ok(found) => found,
                Err(_) => {
                    let departing = async move {
                        Ok(match finding.await? {
                            Found::Reply(response) => Departure::Reply(response.into_body().into_bytes()),
                            Found::Nothing(queued, recorder) => {
                                let departed: Departed = queued.depart().await?;
                                Departure::Call(departed, recorder.map(|recorder| recorder.behind(generation)))
                            }
                        })
                    };
                    return Ok(reply::early(Early::new(Box::pin(departing), voice)));
                }
            },
        };
        let (queued, recorder) = match found? {
            Found::Reply(response) => return Ok(response),
            Found::Nothing(queued, recorder) => (queued, recorder),
        };
        let calling: Calling = Box::pin(queued.answer());
        match recorder {
            Some(recorder) => recorder.record(calling).await,
            None => calling.await,
        }
    }

    /// What speaks to the client while nobody has answered. Who will is not known: it looks like what was asked for.
    fn voice(&self) -> Voice {
        let Seeking { worker, board, ask, intake, generation, receipt, .. } = self;
        let (text, snapshot) = (generation.text(), board.snapshot());
        let id = std::str::from_utf8(&text).unwrap_or_default();
        let identity = Identity::new(ask.manner, id, &intake.facts.model, "", generation.unix_ms() / 1000);
        let identity = match stateful::keeps(worker, snapshot, ask, intake) {
            Some(previous) => identity.kept(previous.as_deref()),
            None => identity,
        };
        let voice = Voice::new(&snapshot.settings.timeouts, *generation, identity, ask, Traits::default(), receipt.clone());
        // Under a name it may be the generation that the name stands for.
        voice.unnamed_if(repeat::is_named(&self.headers))
    }

    async fn find(self) -> Result<Found, Failure> {
        let Seeking { worker, board, principal, payers, headers, ask, mut intake, generation, began, receipt } = self;
        let head = Head::read(&headers);
        let snapshot = board.snapshot().clone();
        let asking = Asking {
            worker: &worker,
            snapshot: &snapshot,
            principal: &principal,
            payers: payers.as_ref(),
            headers: &headers,
            head: &head,
            ask: &ask,
            generation,
            began,
        };
        let recorder = match repeat::look(&asking, &mut intake).await? {
            Repeat::Play(response) => return Ok(Found::Reply(response)),
            Repeat::Record(recorder) => Some(recorder),
            Repeat::No => None,
        };
        preset::fill(&snapshot, &mut intake).await?;
        let mut journey = plan::choose(&worker, board, (&principal, receipt.as_ref()), &head, &intake, &ask, generation)?;
        let strict = is_strict(&head, &principal, &journey)?;
        let choice = journey.best().ok_or_else(|| Failure::new(ErrorKind::Internal, "the plan is empty"))?;
        if !worker.shared.can_record() {
            return Err(no_journal());
        }
        passage::enter(&worker, &snapshot, &mut journey, payers, &intake, worker.unix_ms_at(began))?;
        journey.ended = recorder.as_ref().map(|recorder| recorder.ended());
        let queued = Queued { worker, snapshot, principal, journey, choice, headers, ask, intake, strict, began, receipt };
        Ok(Found::Nothing(Box::new(queued), recorder))
    }
}
