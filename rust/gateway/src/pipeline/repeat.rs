//! Requests that may be answered with a reply that another one got: from the response cache, because they ask the same, or because they were
//! sent twice under one `Idempotency-Key`. Nothing of this runs for a request that asks for neither ([`is_wanted`]).
//!
//! Both are looked for before anything is planned. Where nothing is found the request goes on as any other, and its reply is kept when it has
//! ended well: [`recorder`] sees to that from the outside, so that neither `whole` nor `relay` know of it.

mod asked;
mod ended;
mod played;
mod recorder;

pub(super) use asked::is_named;
pub(crate) use ended::Ended;
pub(super) use recorder::Calling;
pub(crate) use recorder::{Recorded, Recorder};

use super::call::{Hit, settle_hit};
use super::failure::Failure;
use super::head::Head;
use super::intake::Intake;
use super::passage::{self, Tokens};
use super::reply::ReplyBody;
use super::translate::join;
use super::whole::{aside, undone};
use super::{preset, stateful};
use crate::repeats::{Cached, Copy, Digest, Entered, Found, Key, Scope, bounds};
use crate::routes::Ask;
use crate::tenants::Chain;
use crate::worker::{Worker, unix_ms};
use asked::{Asked, Caching};
use fairlead_formats::again;
use fairlead_formats::canonical::Fingerprint;
use fairlead_formats::error::OwnWords;
use fairlead_ir::{ErrorKind, GenerationId, Manner};
use fairlead_snapshot::{Principal, Snapshot};
use http::{HeaderMap, HeaderValue, Response};
use recorder::{Claim, Claimed, Shelving};
use std::rc::Rc;
use std::sync::Arc;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// What becomes of a request.
pub(super) enum Repeat {
    /// It goes on as if nothing had been looked for.
    No,
    /// It is answered.
    Play(Response<ReplyBody>),
    /// It goes on, and its reply is kept.
    Record(Box<Recorder>),
}

/// A request, before anything is planned.
pub(super) struct Asking<'a> {
    pub(super) worker: &'a Rc<Worker>,
    pub(super) snapshot: &'a Arc<Snapshot>,
    pub(super) principal: &'a Arc<Principal>,
    pub(super) payers: Option<&'a Arc<Chain>>,
    pub(super) headers: &'a HeaderMap,
    pub(super) head: &'a Head<'a>,
    pub(super) ask: &'a Ask,
    pub(super) generation: GenerationId,
    pub(super) began: Instant,
}

/// Whether there is anything to look for. All that others pay for this.
pub(super) fn is_wanted(head: &Head<'_>, principal: &Principal, snapshot: &Snapshot, names_preset: bool) -> bool {
    let by_preset = || snapshot.presets.iter().any(|preset| preset.cache_enabled == Some(true));
    head.repeats || principal.response_cache.unwrap_or(snapshot.settings.response_cache) || names_preset && by_preset()
}

/// Looks for a reply to give again.
///
/// # Errors
/// What the request says about it makes no sense; its name stands for another request, or for one whose reply cannot be given again; or the
/// reply that was found cannot be recorded.
pub(super) async fn look(asking: &Asking<'_>, intake: &mut Intake) -> Result<Repeat, Failure> {
    let Asking { worker, snapshot, principal, .. } = *asking;
    let presets = preset::all_named(snapshot, &intake.facts);
    let asked = Asked::read(asking.headers, snapshot, &presets, principal)?;
    let scope = Scope::of(principal).filter(|_| !asked.is_nothing());
    let Some(scope) = scope else { return Ok(Repeat::No) };
    let looking = Looking { asking, scope, presets: &presets, asks: fingerprint(asking, intake).await? };
    let claim = match &asked.name {
        Some(name) => match looking.named(name).await? {
            Ok(claim) => Some(claim),
            Err(copy) => {
                let _visit = asking.admit(intake)?;
                worker.counters.idempotent_replays.add(1);
                return Ok(Repeat::Play(played::replay(&copy)));
            }
        },
        None => None,
    };
    let shelving = match looking.cached(&asked).await {
        Ok(shelving) => shelving,
        Err(cached) => {
            let (response, copy) = looking.hit(&cached, intake).await?;
            if let Some(claim) = claim {
                claim.keep(Arc::new(copy)).await;
            }
            return Ok(Repeat::Play(response));
        }
    };
    if claim.is_none() && shelving.is_none() {
        return Ok(Repeat::No);
    }
    if shelving.is_some() {
        worker.counters.cache_misses.add(1);
    }
    Ok(Repeat::Record(Box::new(Recorder::new(worker.clone(), principal.key, intake.facts.stream, claim, shelving))))
}

impl Asking<'_> {
    /// Who has asked, and what a reply takes of their rates that is given again: a request, for as long as it takes.
    fn admit(&self, intake: &Intake) -> Result<Option<Visit>, Failure> {
        let Some(payers) = self.payers else { return Ok(None) };
        let now_ms = self.worker.unix_ms_at(self.began);
        let payers = passage::with_end_user(self.worker, self.snapshot, payers.clone(), intake, now_ms)?;
        let passage = passage::admit(&payers, || Tokens::NONE, None, now_ms)?;
        Ok(Some(Visit { end_user: payers.end_user(), _passage: passage }))
    }
}

/// A caller that is given a reply again.
struct Visit {
    /// Its end user's id among the scopes; 0 where none has limits.
    end_user: u64,
    /// Held for as long as it takes.
    _passage: Option<passage::Passage>,
}

/// A request that is looked for.
struct Looking<'a> {
    asking: &'a Asking<'a>,
    scope: Scope,
    presets: &'a [usize],
    /// What it asks.
    asks: Digest,
}

impl Looking<'_> {
    /// Takes the name, or finds the reply that it stands for.
    async fn named(&self, name: &[u8]) -> Result<Result<Claim, Arc<Copy>>, Failure> {
        let Asking { worker, snapshot, generation, .. } = *self.asking;
        let bounds = bounds(&snapshot.settings);
        let key = Key::new(self.scope, Fingerprint::new("name").part(name).finish());
        let lead = loop {
            match worker.shared.repeats.flights.enter(key, self.asks) {
                Entered::Lead(lead) => break lead,
                Entered::Follow(following) if following.asks != self.asks && following.is_under_way() => return Err(another_request(None)),
                Entered::Follow(following) => {
                    let asks = following.asks;
                    match following.arrival().await {
                        Some(copy) if asks != self.asks => return Err(another_request(Some(copy.facts.generation.clone()))),
                        Some(copy) => return Ok(Err(copy)),
                        None => {}
                    }
                }
            }
        };
        let (shared, asks) = (worker.shared.clone(), self.asks);
        let text = String::from_utf8_lossy(&generation.text()).into_owned();
        // What is claimed is handed on as what lets go of it: a client that leaves meanwhile drops this future, and never gets to see it.
        let found = spawn_blocking(move || {
            let Some(named) = &shared.repeats.named else { return Err(no_names("it has no folder for them")) };
            match named.find(&key, bounds, unix_ms()) {
                Found::Nothing => {}
                found => return Ok(Err((found, lead))),
            }
            let claimed = Claimed::new(shared.clone(), key, asks, bounds, lead);
            named.claim(&key, asks, &text, bounds, unix_ms()).map_err(|error| no_names(&error.to_string()))?;
            Ok(Ok(claimed))
        });
        let (found, lead) = match found.await.map_err(undone)?? {
            Ok(claimed) => return Ok(Ok(Claim::new(claimed))),
            Err(found) => found,
        };
        match found {
            Found::Claimed { asks, generation } if asks != self.asks => Err(another_request(Some(generation))),
            Found::Kept { asks, copy } if asks != self.asks => Err(another_request(Some(copy.facts.generation))),
            Found::Claimed { generation, .. } => Err(not_again(generation)),
            Found::Nothing | Found::Unreadable => Err(no_names("what came of it before cannot be read")),
            Found::Kept { copy, .. } => {
                let copy = Arc::new(copy);
                lead.land(copy.clone());
                Ok(Err(copy))
            }
        }
    }

    /// Where the reply is to be kept, if it is; or the one that is there.
    async fn cached(&self, asked: &Asked) -> Result<Option<Shelving>, Cached> {
        let Asking { worker, snapshot, principal, .. } = *self.asking;
        // What a configuration has made of a request, the next one may make something else of.
        let digest = Fingerprint::new("request").part(&self.asks).part(&snapshot.version.to_le_bytes()).finish();
        let (key, repeats) = (Key::new(self.scope, digest), &worker.shared.repeats);
        if asked.clears {
            repeats.cache.forget(&key);
        }
        let Some(Caching { ttl_seconds }) = asked.cache else { return Ok(None) };
        // What the key may not use any more it is refused by the plan, as if nothing were there.
        let find = || repeats.cache.find(&key, unix_ms()).filter(|cached| principal.may_use(&cached.copy.facts.model));
        let shelving = |lead| {
            let most_bytes = snapshot.settings.response_cache_bytes;
            Ok(Some(Shelving { shared: worker.shared.clone(), key, ttl_seconds, most_bytes, lead }))
        };
        if asked.clears {
            return shelving(Some(repeats.flights.lead(key, self.asks)));
        }
        if let Some(cached) = find() {
            return Err(cached);
        }
        match repeats.flights.enter(key, self.asks) {
            Entered::Lead(lead) => match find() {
                // It landed between the two looks.
                Some(cached) => {
                    lead.land(cached.copy.clone());
                    Err(cached)
                }
                None => shelving(Some(lead)),
            },
            Entered::Follow(following) => match following.arrival().await {
                Some(copy) if principal.may_use(&copy.facts.model) => Err(Cached { copy, age_ms: 0, ttl_seconds }),
                // Each by itself: nobody waits twice.
                _ => shelving(None),
            },
        }
    }

    /// Answers with a reply from the cache, as a generation of its own that is free.
    async fn hit(&self, cached: &Cached, intake: &mut Intake) -> Result<(Response<ReplyBody>, Copy), Failure> {
        let Asking { worker, snapshot, principal, head, ask, generation, began, .. } = *self.asking;
        if !worker.shared.can_record() {
            let message = "the usage journal cannot be written, so that nothing can be answered; see the server's log";
            return Err(Failure::store(message));
        }
        let visit = self.asking.admit(intake)?;
        let end_user = visit.as_ref().map_or(0, |visit| visit.end_user);
        let copy = cached.copy.clone();
        let form = match (intake.facts.stream, ask.json_array) {
            (false, _) => again::Form::Whole,
            (true, true) => again::Form::List,
            (true, false) => again::Form::Events,
        };
        // A response that is kept is gone on from by its id.
        let keeps_id = stateful::keeps(worker, snapshot, ask, intake).is_some();
        let body = aside(copy.body.len(), move || {
            let mut body = again::free(form, &copy.body);
            if !keeps_id {
                played::rename(&mut body, copy.facts.generation.as_bytes(), &generation.text());
            }
            body
        });
        let body = body.await?;
        let hit = Hit { worker, snapshot, principal, head, ask, presets: self.presets, end_user, generation, began, copy: &cached.copy };
        let (durable, own_us) = settle_hit(&hit, intake)?;
        if let Some(durable) = durable {
            durable
                .await
                .map_err(|error| Failure::store(format!("whether the usage journal has kept this call is not certain: {error}")))?;
        }
        Ok(played::hit(cached, generation, body, own_us))
    }
}

/// What a request asks, however it is written: its body as it came, the route, and the headers that a provider or a translation looks at.
async fn fingerprint(asking: &Asking<'_>, intake: &Intake) -> Result<Digest, Failure> {
    let Asking { head, ask, principal, .. } = *asking;
    let mut print = Fingerprint::new("asks").part(&[
        ask.purpose as u8,
        intake.facts.dialect.number(),
        ask.reply_dialect().number(),
        u8::from(ask.manner == Manner::Openrouter),
        u8::from(ask.json_array),
        u8::from(intake.facts.stream),
        u8::from(head.strict()? || principal.strict_translation),
    ]);
    // Where the path names the model, the body does not.
    print = print.part(intake.facts.model.as_bytes());
    let mut lines: Vec<(&str, &[u8])> = head.passed_to(ask.dialect, ask.dialect).filter(|(name, _)| !name.starts_with("trace")).collect();
    lines.sort_unstable();
    for (name, value) in lines {
        print = print.part(name.as_bytes()).part(value);
    }
    let frames = intake.frames.clone();
    let digest = aside(intake.bytes as usize, move || print.body(&join(&frames)).map(Fingerprint::finish)).await?;
    digest.map_err(|reject| Failure::new(ErrorKind::InvalidRequest, reject.to_string()))
}

/// The name stands for another request.
fn another_request(generation: Option<String>) -> Failure {
    let whose = generation.as_ref().map_or_else(String::new, |generation| format!(" ({generation})"));
    let message = format!("this Idempotency-Key was used for another request{whose}; each request has a key of its own");
    let mut failure = named_failure(422, "idempotency_key_reused", message);
    failure.hints.extend(generation.and_then(|generation| Some(("x-generation-id", HeaderValue::try_from(generation).ok()?))));
    failure
}

/// Its reply is not there: the process died under it, it ended after content, or it was too long.
fn not_again(generation: String) -> Failure {
    let message = format!(
        "the request with this Idempotency-Key has run before, and its reply is not kept any more or never was. What came of it is at GET /generation?id={generation} \
         (404: it reached no provider). It is not run again; send it with a new key if it shall be"
    );
    let mut failure = named_failure(409, "idempotency_reply_lost", message);
    failure.hints.extend(HeaderValue::try_from(generation).ok().map(|generation| ("x-generation-id", generation)));
    failure
}

fn named_failure(status: u16, code: &str, message: String) -> Failure {
    let words = OwnWords { code: Some(code.to_owned()), ..OwnWords::default() };
    let mut failure = Failure::new(ErrorKind::InvalidRequest, message).own(words);
    failure.status = Some(status);
    failure
}

fn no_names(why: &str) -> Failure {
    let message =
        format!("this gateway cannot promise now that a request with an Idempotency-Key runs once ({why}); send it later, or without");
    Failure::store(message)
}
