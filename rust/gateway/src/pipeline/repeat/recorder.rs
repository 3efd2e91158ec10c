//! Keeps a reply while it goes to its client, and tells who waits for it. Only what ended well and whole is kept.
//!
//! A request with a name runs to its end whoever leaves: its client comes back for the reply, and two runs would be paid for twice. As other
//! work that nobody hears, it is bounded in number and time.

use super::{Ended, played};
use crate::pipeline::call::{LONGEST_UNHEARD, UnheardPlace};
use crate::pipeline::failure::Failure;
use crate::pipeline::reply::{self, Broken, ReplyBody};
use crate::repeats::{COPY_BYTES_MAX, Copy, Digest, Facts, Key, Lead};
use crate::responses::Bounds;
use crate::worker::{Shared, Worker, unix_ms};
use bytes::{Bytes, BytesMut};
use fairlead_ir::GenerationId;
use http::{Response, StatusCode};
use http_body::{Body, Frame};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::task::{spawn_blocking, spawn_local};

/// A call that is answered, from its first attempt to the head of its reply.
pub(in crate::pipeline) type Calling = Pin<Box<dyn Future<Output = Result<Response<ReplyBody>, Failure>>>>;

/// Sees to it that the reply is kept.
pub(crate) struct Recorder {
    worker: Rc<Worker>,
    /// The key that pays.
    key: u64,
    streamed: bool,
    ended: Rc<Ended>,
    shelving: Option<Shelving>,
    claim: Option<Claim>,
    headers: Vec<(String, String)>,
    /// Its client has left, and what is left of its time is running.
    is_unheard: bool,
}

/// Where it is kept in the cache.
pub(super) struct Shelving {
    pub(super) shared: Arc<Shared>,
    pub(super) key: Key,
    pub(super) ttl_seconds: u64,
    pub(super) most_bytes: u64,
    /// Who waits for it.
    pub(super) lead: Option<Lead>,
}

/// The name that it is kept under.
pub(super) struct Claim {
    claimed: Claimed,
    /// Told of the call, once there is one.
    ended: Option<Rc<Ended>>,
}

/// A name that is taken, on whatever thread. Dropped, it is free again.
pub(super) struct Claimed(Option<Taken>);

struct Taken {
    shared: Arc<Shared>,
    key: Key,
    asks: Digest,
    bounds: Bounds,
    /// Who waits for it, until the file says what became of it.
    lead: Lead,
}

impl Recorder {
    pub(super) fn new(worker: Rc<Worker>, key: u64, streamed: bool, claim: Option<Claim>, shelving: Option<Shelving>) -> Recorder {
        let ended = Rc::<Ended>::default();
        let claim = claim.map(|claim| claim.told_by(&ended));
        Recorder { worker, key, streamed, ended, shelving, claim, headers: Vec::new(), is_unheard: false }
    }

    /// Where the call tells how it ended.
    pub(in crate::pipeline) fn ended(&self) -> Rc<Ended> {
        self.ended.clone()
    }

    /// Runs the call, and records its reply.
    ///
    /// # Errors
    /// Those of the call.
    pub(in crate::pipeline) async fn record(self: Box<Self>, calling: Calling) -> Result<Response<ReplyBody>, Failure> {
        let mut running = Running { calling: Some(calling), recorder: Some(self) };
        let response = poll_fn(|context| running.poll(context)).await?;
        match running.done() {
            Some(recorder) => recorder.answered(response).await,
            None => Ok(response),
        }
    }

    /// The head of the reply is there.
    async fn answered(mut self: Box<Self>, mut response: Response<ReplyBody>) -> Result<Response<ReplyBody>, Failure> {
        self.headers = played::kept(response.headers());
        if let Some(shelving) = &self.shelving {
            played::mark_miss(response.headers_mut(), shelving.ttl_seconds);
        }
        // A settlement that went well and is not certainly on the disk is told as a failure: that is no reply to give again.
        if response.status() != StatusCode::OK {
            return Ok(response);
        }
        if response.body().is_stream() {
            return Ok(response.map(|body| self.record_behind(BytesMut::new(), body)));
        }
        let (head, body) = response.into_parts();
        let body = body.into_bytes();
        self.finish(body.clone()).await;
        Ok(Response::from_parts(head, ReplyBody::from(body)))
    }

    /// The same of a stream whose head has gone out before its call began.
    pub(in crate::pipeline) fn behind(mut self: Box<Self>, generation: GenerationId) -> Box<Self> {
        self.headers = played::kept(&reply::early_headers(Some(generation), false));
        self
    }

    /// Records a stream from here on. `spoken` has gone out and belongs to it.
    pub(in crate::pipeline) fn record_behind(self: Box<Self>, spoken: BytesMut, body: ReplyBody) -> ReplyBody {
        ReplyBody::Recorded(Box::new(Recorded { body, tape: spoken, recorder: Some(self), keeping: None }))
    }

    /// All of the reply is there: keeps it, if it is one to keep, and lets those who wait have it.
    async fn finish(mut self: Box<Self>, body: Bytes) {
        let good = self.ended.take_good().filter(|_| body.len() <= COPY_BYTES_MAX);
        // Otherwise both are dropped: who waits is told so, and the name is free again or stays claimed.
        let Some(good) = good else { return };
        let facts = Facts {
            generation: good.generation,
            model: good.model,
            provider: good.provider,
            finish: good.finish,
            native_finish: good.native_finish,
            charged: good.charged,
            streamed: self.streamed,
            headers: std::mem::take(&mut self.headers),
        };
        let copy = Arc::new(Copy { facts, body });
        if let Some(shelving) = self.shelving.take() {
            shelving.keep(&copy);
        }
        if let Some(claim) = self.claim.take() {
            claim.keep(copy).await;
        }
    }

    /// Whether the work goes on without its client, and its place among such work. Once only: it ends with its time.
    fn outliving(&mut self) -> Option<UnheardPlace> {
        let may = self.claim.is_some() && !self.is_unheard && !self.worker.shared.stopping();
        self.is_unheard = true;
        may.then(|| UnheardPlace::take(self.key)).flatten()
    }
}

/// Runs on what a client has left.
fn run_on(place: UnheardPlace, worker: &Rc<Worker>, work: impl Future<Output = ()> + 'static) {
    let awaited = worker.awaited();
    spawn_local(async move {
        // Out of time, it is dropped and settles itself.
        let _ = tokio::time::timeout(LONGEST_UNHEARD, work).await;
        drop((place, awaited));
    });
}

/// A call before the head of its reply, which may outlive its client.
struct Running {
    calling: Option<Calling>,
    recorder: Option<Box<Recorder>>,
}

impl Running {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Response<ReplyBody>, Failure>> {
        // It is polled until it is done, and not again.
        let Some(calling) = &mut self.calling else { return Poll::Pending };
        let answered = ready!(calling.as_mut().poll(context));
        self.calling = None;
        Poll::Ready(answered)
    }

    fn done(mut self) -> Option<Box<Recorder>> {
        self.recorder.take()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (Some(calling), Some(mut recorder)) = (self.calling.take(), self.recorder.take()) else { return };
        let Some(place) = recorder.outliving() else {
            // In this order: the call tells how it ended.
            drop(calling);
            return drop(recorder);
        };
        let worker = recorder.worker.clone();
        run_on(place, &worker, async move {
            let Ok(response) = calling.await else { return drop(recorder) };
            if let Ok(response) = recorder.answered(response).await {
                let mut body = pin!(response.into_body());
                while poll_fn(|context| body.as_mut().poll_frame(context)).await.is_some_and(|frame| frame.is_ok()) {}
            }
        });
    }
}

/// A stream that is recorded on its way.
pub(crate) struct Recorded {
    body: ReplyBody,
    /// What it has said.
    tape: BytesMut,
    /// Until all is there.
    recorder: Option<Box<Recorder>>,
    /// The end waits until the reply is kept, so that the next request finds it.
    keeping: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Recorded {
    pub(in crate::pipeline) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if let Some(keeping) = &mut self.keeping {
                ready!(keeping.as_mut().poll(context));
                self.keeping = None;
                return Poll::Ready(None);
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                Some(Err(broken)) => {
                    self.body = ReplyBody::empty();
                    self.recorder = None;
                    return Poll::Ready(Some(Err(broken)));
                }
                None => match self.recorder.take() {
                    Some(recorder) => {
                        self.keeping = Some(Box::pin(recorder.finish(std::mem::take(&mut self.tape).freeze())));
                        continue;
                    }
                    None => return Poll::Ready(None),
                },
            };
            // One byte more than is kept tells that it is too long.
            let room = (COPY_BYTES_MAX + 1).saturating_sub(self.tape.len());
            if let (Some(data), Some(_)) = (frame.data_ref(), &self.recorder) {
                self.tape.extend_from_slice(&data[..data.len().min(room)]);
            }
            return Poll::Ready(Some(Ok(frame)));
        }
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        let body = std::mem::replace(&mut self.body, ReplyBody::empty());
        if let Some(keeping) = self.keeping.take() {
            // It is complete; only the client has not waited for the end of it.
            spawn_local(keeping);
            return;
        }
        let Some(mut recorder) = self.recorder.take() else { return };
        let Some(place) = recorder.outliving() else {
            // In this order: the call tells how it ended.
            drop(body);
            return drop(recorder);
        };
        let worker = recorder.worker.clone();
        let mut rest = Recorded { body, tape: std::mem::take(&mut self.tape), recorder: Some(recorder), keeping: None };
        run_on(place, &worker, async move { while poll_fn(|context| rest.poll(context)).await.is_some_and(|frame| frame.is_ok()) {} });
    }
}

impl Shelving {
    /// In this order: who comes meanwhile finds it or follows.
    fn keep(self, copy: &Arc<Copy>) {
        let Shelving { shared, key, ttl_seconds, most_bytes, lead } = self;
        if lead.as_ref().is_none_or(Lead::is_current) {
            shared.repeats.cache.keep(key, copy.clone(), ttl_seconds, most_bytes, unix_ms());
        }
        if let Some(lead) = lead {
            lead.land(copy.clone());
        }
    }
}

impl Claim {
    pub(super) fn new(claimed: Claimed) -> Claim {
        Claim { claimed, ended: None }
    }

    fn told_by(mut self, ended: &Rc<Ended>) -> Claim {
        self.ended = Some(ended.clone());
        self
    }

    /// Puts the reply in the claim's place. Should that fail the claim stays, so that nothing runs twice.
    pub(super) async fn keep(mut self, copy: Arc<Copy>) {
        let Some(Taken { shared, key, asks, bounds, lead }) = self.claimed.0.take() else { return };
        let work = move || {
            if let Some(named) = &shared.repeats.named {
                // The store tells of its failures itself.
                let _ = named.keep(&key, asks, &copy, bounds, unix_ms());
            }
            lead.land(copy);
        };
        let _ = spawn_blocking(work).await;
    }
}

impl Drop for Claim {
    /// There is no reply to keep. The name is free again, unless somebody has paid for what came of it.
    fn drop(&mut self) {
        if self.ended.as_ref().is_some_and(|ended| !ended.was_free()) {
            self.claimed.0 = None;
        }
    }
}

impl Claimed {
    pub(super) fn new(shared: Arc<Shared>, key: Key, asks: Digest, bounds: Bounds, lead: Lead) -> Claimed {
        Claimed(Some(Taken { shared, key, asks, bounds, lead }))
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let Some(Taken { shared, key, lead, .. }) = self.0.take() else { return };
        // The caller may know before the file is gone, and use the name again.
        lead.let_go();
        let stopping = shared.stopping();
        let release = move || {
            if let Some(named) = &shared.repeats.named {
                named.release(&key);
            }
            // Who waits looks only now.
            drop(lead);
        };
        if stopping || tokio::runtime::Handle::try_current().is_err() {
            return release();
        }
        spawn_blocking(release);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;
    use crate::repeats::Entered;
    use crate::repeats::tests::scope;
    use crate::worker::Books;
    use std::future::pending;
    use tokio::task::LocalSet;
    use tokio::time::timeout;

    fn worker() -> Rc<Worker> {
        let shared = Arc::new(Shared::new(&[7; 32], None, 0, 1).unwrap());
        let counters = shared.counters(0);
        Rc::new(Worker::new(shared, counters, Books::Told, 0, 1))
    }

    /// A stream under a name, whose provider says nothing more.
    fn silent(worker: &Rc<Worker>, key: Key) -> Recorded {
        let Entered::Lead(lead) = worker.shared.repeats.flights.enter(key, [4; 32]) else { panic!("somebody is on the way") };
        let claim = Claim::new(Claimed::new(worker.shared.clone(), key, [4; 32], Bounds::NONE, lead));
        let recorder = Box::new(Recorder::new(worker.clone(), 2, true, Some(claim), None));
        let silence: Pin<Box<dyn Future<Output = ()>>> = Box::pin(pending());
        let body = Recorded { body: ReplyBody::empty(), tape: BytesMut::new(), recorder: None, keeping: Some(silence) };
        Recorded { body: ReplyBody::Recorded(Box::new(body)), tape: BytesMut::new(), recorder: Some(recorder), keeping: None }
    }

    #[tokio::test]
    async fn a_name_that_is_let_go_of_is_nobodys() {
        let (worker, key) = (worker(), Key::new(scope(1, 2), [3; 32]));
        let flights = &worker.shared.repeats.flights;
        for _ in 0..100 {
            let Entered::Lead(lead) = flights.enter(key, [4; 32]) else { panic!("somebody is on the way") };
            drop(Claim::new(Claimed::new(worker.shared.clone(), key, [4; 32], Bounds::NONE, lead)));
            match flights.enter(key, [5; 32]) {
                Entered::Lead(lead) => drop(lead),
                Entered::Follow(following) => {
                    assert!(!following.is_under_way());
                    assert!(following.arrival().await.is_none());
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn unheard_work_has_its_time_once() {
        let local = LocalSet::new();
        local
            .run_until(async {
                let (worker, key) = (worker(), Key::new(scope(1, 2), [3; 32]));
                let stream = silent(&worker, key);
                let Entered::Follow(following) = worker.shared.repeats.flights.enter(key, [4; 32]) else { panic!("nobody is on the way") };
                drop(stream);
                let mut arrival = pin!(following.arrival());
                assert!(timeout(LONGEST_UNHEARD / 2, &mut arrival).await.is_err(), "it runs on");
                assert!(timeout(LONGEST_UNHEARD, arrival).await.is_ok_and(|copy| copy.is_none()), "and ends");
            })
            .await;
    }
}
