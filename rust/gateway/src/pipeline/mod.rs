//! One request from its head to its settlement. The files are the steps, in this order: `admit`, `intake`, `plan`, `call` (reserve and
//! settle), `attempt`, then `whole` or `relay`; `reply` turns every outcome into HTTP and `forward` serves what is not inference.

mod admit;
mod attempt;
mod call;
mod failure;
mod forward;
mod intake;
mod plan;
mod relay;
mod reply;
mod whole;

pub(crate) use reply::{Broken, ReplyBody};

use crate::server::routes::{self, Route};
use crate::server::worker::Worker;
use crate::telemetry::Ending;
use attempt::Attempting;
use call::Call;
use failure::Failure;
use fairlead_ir::{Dialect, ErrorKind, Manner};
use http::request::Parts;
use http::{HeaderMap, Response, header};
use hyper::body::Incoming;
use std::rc::Rc;
use tokio::time::Instant;

/// Answers a request. `began`: when its first byte came; `conflict`: its head announced two different body lengths.
pub(crate) async fn answer(worker: &Rc<Worker>, request: http::Request<Incoming>, began: Instant, conflict: bool) -> Response<ReplyBody> {
    let (route, face) = routes::find(request.method(), request.uri().path());
    let (head, body) = request.into_parts();
    let mut incoming = Request { head, body: Some(body), began };
    let response = match dispatch(worker, &mut incoming, route, conflict).await {
        Ok(response) => response,
        Err(failure) => {
            incoming.discard_body(worker).await;
            reply::refusal(face, &failure)
        }
    };
    worker.counters.replied(Ending { status: response.status().as_u16() });
    response
}

/// A request as the steps pass it on. Whoever reads the body takes it; one that nobody wanted is taken off the wire before the refusal.
struct Request {
    head: Parts,
    body: Option<Incoming>,
    began: Instant,
}

impl Request {
    fn path(&self) -> &str {
        self.head.uri.path()
    }

    fn take_body(&mut self) -> Result<Incoming, Failure> {
        self.body.take().ok_or_else(|| Failure::new(ErrorKind::Internal, "the body was read twice"))
    }

    async fn discard_body(&mut self, worker: &Worker) {
        // A client that asked first (Expect: 100-continue) has not sent anything.
        if let Some(body) = self.body.take().filter(|_| !self.head.headers.contains_key(header::EXPECT)) {
            intake::discard(body, self.began, &worker.shared.snapshot().settings).await;
        }
    }
}

async fn dispatch(worker: &Rc<Worker>, request: &mut Request, route: Route, conflict: bool) -> Result<Response<ReplyBody>, Failure> {
    check_head(worker, &request.head.headers, conflict)?;
    match route {
        Route::Generate(dialect, manner) => generate(worker, request, dialect, manner).await,
        Route::Health => Ok(reply::plain(200, "ok\n")),
        Route::Ready if worker.shared.ready() => Ok(reply::plain(200, "ready\n")),
        Route::Ready => Ok(reply::plain(503, "not ready\n")),
        Route::Metrics => {
            admit::admin(worker, &request.head.headers)?;
            Ok(reply::text(200, "text/plain; version=0.0.4; charset=utf-8", worker.shared.metrics()))
        }
        Route::Control => forward::to_control(worker, request).await,
        Route::Absent(feature) => Err(absent(worker, request, feature)),
        Route::Method(allowed) => {
            let message = format!("{} is not allowed here; use {allowed}", request.head.method);
            Err(Failure::new(ErrorKind::MethodNotAllowed, message).allowing(allowed))
        }
        Route::Unknown => Err(unknown_path(request.path())),
    }
}

/// Inference, from the key to the first bytes of the answer.
async fn generate(worker: &Rc<Worker>, request: &mut Request, dialect: Dialect, manner: Manner) -> Result<Response<ReplyBody>, Failure> {
    let snapshot = worker.shared.snapshot();
    let principal = admit::inference(worker, &request.head.headers)?;
    let body = request.take_body()?;
    let headers = &request.head.headers;
    let intake = intake::read(headers, body, dialect, &snapshot.settings, request.began).await?;
    let choice = plan::choose(&snapshot, &principal, &intake.facts, dialect)?;
    if !worker.shared.journal.healthy() {
        let message = "the usage journal cannot be written, so no paid work is accepted; see the server's log";
        return Err(Failure::new(ErrorKind::StoreUnavailable, message));
    }
    let call = Call::reserve(worker, &snapshot, &principal, choice, dialect, manner, headers, &intake, request.began)?;
    let attempting = Attempting::prepare(worker, &snapshot, &principal, choice, dialect, manner, headers, &intake)?;
    if intake.facts.stream { Ok(relay::answer(call, attempting, &intake.facts).await) } else { Ok(whole::answer(call, attempting).await) }
}

fn check_head(worker: &Worker, headers: &HeaderMap, conflict: bool) -> Result<(), Failure> {
    if conflict {
        let message = "the request has both Content-Length and Transfer-Encoding; send one of them";
        return Err(Failure::new(ErrorKind::InvalidRequest, message).closing());
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let most = worker.shared.snapshot().settings.limits.header_bytes;
    if bytes > most {
        return Err(Failure::new(ErrorKind::HeadersTooLarge, format!("the headers take {bytes} bytes; {most} are allowed")).closing());
    }
    if headers.contains_key(header::UPGRADE) {
        return Err(Failure::new(ErrorKind::InvalidRequest, "protocol upgrades (WebSocket) are not supported; send a plain HTTP request"));
    }
    Ok(())
}

fn absent(worker: &Worker, request: &Request, feature: &str) -> Failure {
    match admit::inference(worker, &request.head.headers) {
        Ok(_) => Failure::new(ErrorKind::NotFound, format!("{}: {feature} is not in this version", request.path())),
        Err(failure) => failure,
    }
}

fn unknown_path(path: &str) -> Failure {
    let hint =
        if path.ends_with("/chat/completions") || path.ends_with("/messages") { "; the base URL ends with /v1 or /api/v1" } else { "" };
    Failure::new(ErrorKind::NotFound, format!("there is nothing at {}{hint}", failure::shown(path)))
}
