//! Replies of `/responses` that the gateway keeps, so that later requests go on from them.
//!
//! The state is ours alone, whoever serves the model: what a request goes on from is put before its input, the provider is told to keep
//! nothing, and a provider of the same dialect is asked to seal its thoughts into the reply, because nobody else could bring them back.
//! Nothing of this is looked at while the setting is off; then a provider of the same dialect may have a state of its own, and others have none.

use super::Admitted;
use super::failure::{Failure, shown};
use super::intake::Intake;
use super::reply::ReplyBody;
use super::whole::{aside, undone};
use crate::responses::{Bounds, Head, Response};
use crate::routes::Ask;
use crate::worker::{Shared, Worker, unix_ms};
use bytes::Bytes;
use fairlead_formats::conversation;
use fairlead_formats::error::OwnWords;
use fairlead_formats::request::{Facts, Purpose, Refusal, RequestScan, Resume};
use fairlead_ir::request::Effort;
use fairlead_ir::{Dialect, Elsewhere, ErrorKind};
use fairlead_snapshot::Snapshot;
use std::sync::Arc;
use tokio::task::{JoinHandle, spawn_blocking};

/// A reply that will be kept.
pub(crate) struct Keeping {
    shared: Arc<Shared>,
    bounds: Bounds,
    account: u64,
    key: u64,
    /// All items of the input, as an array.
    input: Bytes,
    /// The response that the request goes on from.
    pub(crate) previous: Option<String>,
}

/// A request that needs nobody's memory any more.
pub(crate) struct Resumed {
    pub(crate) intake: Intake,
    /// Where its reply is to be kept.
    pub(crate) keeping: Option<Box<Keeping>>,
}

/// The bytes that the response is in.
pub(crate) enum Reply {
    /// A body.
    Whole(Vec<Bytes>),
    /// The last events of a stream.
    Events(Bytes),
}

/// Makes the request one that needs nobody's memory: what it goes on from stands in its input. `None` where it stays as it is.
///
/// # Errors
/// It goes on from something that is not known, or not here.
pub(crate) async fn resume(admitted: &Admitted<'_>, ask: &Ask, intake: &Intake) -> Result<Option<Box<Resumed>>, Failure> {
    if ask.dialect != Dialect::OpenaiResponses || !matches!(ask.purpose, Purpose::Generate | Purpose::CountTokens) {
        return Ok(None);
    }
    // Boxed: other dialects shall not carry the room for this.
    Ok(Box::pin(resume_response(admitted, ask, intake)).await?.map(Box::new))
}

async fn resume_response(admitted: &Admitted<'_>, ask: &Ask, intake: &Intake) -> Result<Option<Resumed>, Failure> {
    let Admitted { worker, snapshot, principal, choice, .. } = *admitted;
    if ask.reply_dialect() != ask.dialect {
        // There is no response to go on from, and none to keep.
        return refuse_dependence(intake).map(|()| None);
    }
    let generates = ask.purpose == Purpose::Generate;
    let native = generates && choice.upstream == Dialect::OpenaiResponses;
    let Some((_, bounds)) = worker.shared.kept(snapshot) else {
        return if native { Ok(None) } else { refuse_dependence(intake).map(|()| None) };
    };
    let state = intake.facts.state(&intake.frames).map_err(refused)?;
    if state.conversation {
        let message = "\"conversation\" is not in this version; go on with \"previous_response_id\"";
        return Err(Failure::new(ErrorKind::InvalidRequest, message).param(Some("conversation")));
    }
    if state.previous.is_none() && !(generates && state.keeps) {
        return Ok(None);
    }
    let endpoint = choice.endpoint(snapshot);
    let seals = state.keeps && !endpoint.traits.no_encrypted_reasoning && endpoint.efforts != [Effort::None];
    let before = match state.previous.clone() {
        Some(previous) => before(worker.shared.clone(), bounds, principal.account, previous, native).await?,
        None => Vec::new(),
    };
    let (facts, frames, depth) = (intake.facts.clone(), intake.frames.clone(), snapshot.settings.limits.json_depth);
    let rewritten =
        aside(intake.bytes as usize + before.len(), move || rewrite(&facts, &frames, &Resume { before: &before, native, seals }, depth));
    let (body, facts) = rewritten.await?.map_err(refused)?;
    check_size(body.len() as u64, snapshot.settings.limits.body_bytes)?;
    let input = body.slice(facts.messages_range.clone());
    let intake = Intake { bytes: body.len() as u64, frames: vec![body], facts, waited: intake.waited, queued: intake.queued, said: None };
    let (account, key) = (principal.account, principal.key);
    let keeping = Keeping { shared: worker.shared.clone(), bounds, account, key, input, previous: state.previous };
    Ok(Some(Resumed { intake, keeping: (generates && state.keeps).then(|| Box::new(keeping)) }))
}

/// Of a request whose reply will be kept, wherever it goes: the response that it goes on from.
pub(crate) fn keeps(worker: &Worker, snapshot: &Snapshot, ask: &Ask, intake: &Intake) -> Option<Option<String>> {
    if ask.dialect != Dialect::OpenaiResponses || ask.reply_dialect() != ask.dialect || ask.purpose != Purpose::Generate {
        return None;
    }
    worker.shared.kept(snapshot)?;
    let state = intake.facts.state(&intake.frames).ok()?;
    state.keeps.then_some(state.previous)
}

/// The items of the conversation that ends with the response `id`.
async fn before(shared: Arc<Shared>, bounds: Bounds, account: u64, id: String, native: bool) -> Result<Vec<u8>, Failure> {
    let unknown = Failure::new(ErrorKind::InvalidRequest, format!("Previous response with id {} not found.", shown(&id)))
        .param(Some("previous_response_id"))
        // As OpenAI says it.
        .own(OwnWords { code: Some("previous_response_not_found".to_owned()), ..OwnWords::default() });
    let found = spawn_blocking(move || {
        find(&shared, bounds, account, &id, |_, response| conversation::items(response.input, response.reply, native)).flatten()
    });
    found.await.map_err(undone)?.ok_or(unknown)
}

/// A kept response, unless the key that made it has been deleted: then its file is on its way out. Not for a worker's thread.
pub(crate) fn find<T>(shared: &Shared, bounds: Bounds, account: u64, id: &str, read: impl FnOnce(Head, &Response<'_>) -> T) -> Option<T> {
    let responses = shared.responses.as_ref()?;
    responses
        .find(account, id, bounds, unix_ms(), |head, response| shared.directory.knows(head.key).then(|| read(head, response)))
        .flatten()
}

fn rewrite(facts: &Facts, frames: &[Bytes], resume: &Resume<'_>, depth: u16) -> Result<(Bytes, Facts), Refusal> {
    let body = Bytes::from(facts.resume(frames, resume)?);
    let mut scan = RequestScan::again(facts, depth);
    scan.feed(&body)?;
    let facts = scan.finish(std::slice::from_ref(&body))?;
    Ok((body, facts))
}

/// Without kept responses a request must say everything itself.
fn refuse_dependence(intake: &Intake) -> Result<(), Failure> {
    let state = intake.facts.state(&intake.frames).map_err(refused)?;
    let Some(param) = state.depends_on() else { return Ok(()) };
    let message = format!(
        "\"{param}\" needs replies that are kept, and this gateway keeps none ([responses] store is false); send the whole conversation in \"input\""
    );
    // A provider of the dialect may keep them.
    Err(Failure::new(ErrorKind::InvalidRequest, message).param(Some(param)).elsewhere(Elsewhere::Endpoint))
}

fn check_size(bytes: u64, most_bytes: u64) -> Result<(), Failure> {
    if bytes <= most_bytes {
        return Ok(());
    }
    let message =
        format!("with all that it goes on from the body has {bytes} bytes, and {most_bytes} are allowed; begin a new conversation");
    Err(Failure::new(ErrorKind::PayloadTooLarge, message).param(Some("previous_response_id")))
}

fn refused(refusal: Refusal) -> Failure {
    Failure::new(refusal.kind, refusal.message).param(refusal.param)
}

impl Keeping {
    /// Has the reply kept by a helper thread. What cannot be kept is counted and told to the operator; the reply goes on, because it is
    /// paid for and the caller may never ask for it again.
    pub(crate) fn keep(self: Box<Self>, reply: Reply) -> JoinHandle<()> {
        spawn_blocking(move || match reply {
            Reply::Whole(pieces) => self.write(&pieces.concat()),
            Reply::Events(events) => {
                if let Some(response) = conversation::response_in(&events) {
                    self.write(&response);
                }
            }
        })
    }

    fn write(&self, reply: &[u8]) {
        let Keeping { shared, bounds, account, key, input, .. } = self;
        let Some(responses) = &shared.responses else { return };
        let Some(id) = conversation::id_of(reply).filter(|_| shared.directory.knows(*key)) else { return };
        let head = Head { key: *key, kept_at_ms: unix_ms() };
        // The store tells of its failures itself.
        let _ = responses.keep(*account, &id, head, &Response { input, reply }, *bounds);
    }
}

/// The bytes of an answer that is sent whole.
pub(crate) fn whole(body: &ReplyBody) -> Option<Reply> {
    match body {
        ReplyBody::Whole { first, more, .. } => Some(Reply::Whole(std::iter::once(first).chain(more.as_slice()).cloned().collect())),
        ReplyBody::Early(_) | ReplyBody::Relay(_) | ReplyBody::Recorded(_) => None,
    }
}
