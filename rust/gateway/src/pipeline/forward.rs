//! Everything of the public API that is not inference, handed to the control plane over its private socket. The principal is asserted
//! here; a client's own claim to be one is dropped.

use super::failure::Failure;
use super::head::Head;
use super::reply::ReplyBody;
use super::{Body, Caller, admit, intake};
use crate::routes;
use crate::upstream::{Exchange, ExchangeError, Fill, Outgoing, Waits};
use crate::worker::Worker;
use fairlead_http1::RequestHead;
use fairlead_ir::ErrorKind;
use fairlead_snapshot::Snapshot;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

/// Bodies and replies of the control plane are small.
const BODY_BYTES: u64 = 1 << 20;
const REPLY_BYTES: usize = 64 << 20;

/// How long the control plane may take. It is not on the path of traffic; a busy interpreter must not hold connections for ever.
const WAIT: Duration = Duration::from_secs(10);

/// Client headers the control plane may see.
const PASSED: [&str; 7] =
    ["accept", "anthropic-version", "content-type", "if-none-match", "user-agent", "x-goog-api-key", "idempotency-key"];

/// Headers of the control plane's reply that clients see.
const RETURNED: [&str; 8] =
    ["allow", "www-authenticate", "content-type", "cache-control", "etag", "location", "retry-after", "x-content-type-options"];

/// Forwards a request and its reply.
pub(crate) async fn to_control(
    worker: &Worker,
    snapshot: &Snapshot,
    parts: &Parts,
    head: &Head<'_>,
    body: &mut Body,
    caller: Caller<'_>,
) -> Result<Response<ReplyBody>, Failure> {
    let principal = principal(worker, snapshot, parts, head, caller)?;
    let frames = intake::read_small(worker, body.take()?, body.began, &snapshot.settings, BODY_BYTES).await?;
    let target = routes::without_cursor(parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str));
    let malformed = |_| Failure::new(ErrorKind::InvalidRequest, "a header holds characters that cannot be passed on");
    // What GET gives; whoever sends the reply to HEAD leaves the body out and says how long it would have been.
    let method = if parts.method == Method::HEAD { Method::GET } else { parts.method.clone() };
    let mut text = Vec::with_capacity(512);
    let mut writing = RequestHead::start(&mut text, method.as_str(), &target, "control")
        .map_err(malformed)?
        .header("x-fairlead-principal", principal.as_bytes())
        .map_err(malformed)?;
    for name in PASSED {
        if let Some(value) = parts.headers.get(name) {
            // The value of a key header is a secret; that it was there is what tells the dialect.
            let value = if name == "x-goog-api-key" { b"present".as_slice() } else { value.as_bytes() };
            writing = writing.header(name, value).map_err(malformed)?;
        }
    }
    writing.end_with_body(frames.iter().map(|frame| frame.len() as u64).sum());
    let outgoing = Outgoing::new(text, frames);
    let mut exchange = pin!(exchange(&worker.shared.control_socket, &outgoing));
    poll_fn(|context| match exchange.as_mut().poll(context) {
        Poll::Pending if worker.shared.stopping() => Poll::Ready(Err(Failure::draining())),
        polled => polled.map_err(unavailable),
    })
    .await
}

/// `key=…;account=…;management=…`, or `anonymous` where the catalogue is open.
fn principal(worker: &Worker, snapshot: &Snapshot, parts: &Parts, head: &Head<'_>, caller: Caller<'_>) -> Result<String, Failure> {
    if routes::is_catalogue(parts.uri.path()) && snapshot.settings.open_catalogue && head.key().is_none() {
        return Ok("anonymous".to_owned());
    }
    let principal = match caller {
        Caller::Client(known) => admit::any(worker, head, known)?,
        Caller::Process(own) => own.principal.clone(),
    };
    Ok(format!("key={};account={};management={}", principal.key, principal.account, u8::from(principal.management)))
}

async fn exchange(socket: &str, outgoing: &Outgoing) -> Result<Response<ReplyBody>, ExchangeError> {
    let until = Instant::now() + WAIT;
    let mut exchange = Exchange::open_unix(socket, outgoing, Waits { head: WAIT, idle: WAIT }).await?;
    let mut pieces = Vec::new();
    let mut bytes = 0;
    loop {
        let fill = poll_fn(|context| match exchange.poll_fill(context) {
            Poll::Pending => exchange.poll_until(until, context).map(|()| Err(ExchangeError::IdleTimeout)),
            ready => ready,
        });
        match fill.await? {
            Fill::End => break,
            Fill::Payload(piece) => {
                bytes += piece.len();
                if bytes > REPLY_BYTES {
                    return Err(ExchangeError::Truncated);
                }
                pieces.push(piece);
            }
        }
    }
    let mut response = Response::new(ReplyBody::pieces(pieces));
    *response.status_mut() = StatusCode::from_u16(exchange.status()).unwrap_or(StatusCode::BAD_GATEWAY);
    for name in RETURNED {
        if let Some(value) = exchange.header(name).and_then(|value| HeaderValue::from_bytes(value).ok()) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    Ok(response)
}

fn unavailable(error: ExchangeError) -> Failure {
    let message = format!("the control plane does not answer ({}); inference is not affected, try again in a moment", error.word());
    Failure::store(message).word("control_unavailable")
}
