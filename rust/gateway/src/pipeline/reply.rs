//! Every outcome as HTTP: the one place where an error becomes a response, and where the contract's headers are set.

use super::call::{Attended, Call};
use super::failure::Failure;
use super::relay::{Early, Relay, Said};
use super::repeat::Recorded;
use crate::routes::Face;
use bytes::Bytes;
use fairlead_formats::error::{self, Details};
use fairlead_formats::metadata;
use fairlead_formats::redact::redact;
use fairlead_ir::{ErrorKind, GenerationId, Loss};
use fairlead_snapshot::Model;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A reply's body.
pub(crate) enum ReplyBody {
    /// Known bytes, in slices.
    Whole { first: Bytes, more: std::vec::IntoIter<Bytes>, bytes: u64 },
    /// A stream whose request stands in line.
    Early(Box<Early>),
    /// A stream in progress.
    Relay(Attended<Box<Relay>>),
    /// A stream that is kept for whoever asks for it again.
    Recorded(Box<Recorded>),
}

/// The connection must break: nothing that could still be sent would be true.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) &'static str);

impl std::fmt::Display for Broken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0)
    }
}

impl std::error::Error for Broken {}

impl ReplyBody {
    pub(crate) fn empty() -> ReplyBody {
        ReplyBody::from(Bytes::new())
    }

    /// A body of JSON with one more member at its end.
    fn with_member(self, member: Vec<u8>) -> ReplyBody {
        let ReplyBody::Whole { first, more, .. } = self else { return self };
        let mut pieces: Vec<Bytes> = [first].into_iter().chain(more).filter(|piece| !piece.is_empty()).collect();
        let last = pieces.iter().rposition(|piece| !piece.trim_ascii_end().is_empty());
        let place = last.and_then(|at| Some((at, metadata::place_in_body(&pieces[at])?)));
        if let Some((at, place)) = place {
            let brace = pieces[at].split_off(place);
            pieces.splice(at + 1..at + 1, [Bytes::from(member), brace]);
        }
        ReplyBody::pieces(pieces)
    }

    /// Whether it comes as it is made.
    pub(crate) fn is_stream(&self) -> bool {
        !matches!(self, ReplyBody::Whole { .. })
    }

    /// The bytes of one that is no stream, joined.
    pub(crate) fn into_bytes(self) -> Bytes {
        let ReplyBody::Whole { first, more, .. } = self else { return Bytes::new() };
        let pieces: Vec<Bytes> = [first].into_iter().chain(more).filter(|piece| !piece.is_empty()).collect();
        if let [piece] = &*pieces { piece.clone() } else { Bytes::from(pieces.concat()) }
    }

    pub(crate) fn pieces(pieces: Vec<Bytes>) -> ReplyBody {
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        ReplyBody::Whole { first: Bytes::new(), more: pieces.into_iter(), bytes }
    }
}

impl<B: Into<Bytes>> From<B> for ReplyBody {
    fn from(bytes: B) -> ReplyBody {
        let first = bytes.into();
        ReplyBody::Whole { bytes: first.len() as u64, first, more: Vec::new().into_iter() }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let body = self.get_mut();
        if let ReplyBody::Early(early) = body {
            match ready!(early.poll(context)) {
                Said::Bytes(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Said::End => return Poll::Ready(None),
                Said::Departed(relay, None) => *body = ReplyBody::Relay(relay),
                Said::Departed(relay, Some((recorder, spoken))) => *body = recorder.record_behind(spoken, ReplyBody::Relay(relay)),
            }
        }
        match body {
            ReplyBody::Early(_) => Poll::Ready(None),
            ReplyBody::Recorded(recorded) => recorded.poll(context),
            ReplyBody::Whole { first, more, bytes } => {
                let next = Some(std::mem::take(first)).filter(|first| !first.is_empty()).or_else(|| more.next());
                Poll::Ready(next.map(|piece| {
                    *bytes -= piece.len() as u64;
                    Ok(Frame::data(piece))
                }))
            }
            ReplyBody::Relay(relay) => {
                relay.poll(|relay| relay.poll_output(context)).map(|output| output.map(|output| output.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ReplyBody::Whole { bytes, .. } => *bytes == 0,
            ReplyBody::Early(_) | ReplyBody::Relay(_) | ReplyBody::Recorded(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ReplyBody::Whole { bytes, .. } => SizeHint::with_exact(*bytes),
            ReplyBody::Early(_) | ReplyBody::Relay(_) | ReplyBody::Recorded(_) => SizeHint::default(),
        }
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const GENERATION: HeaderName = HeaderName::from_static("x-generation-id");
pub(super) const MODEL: HeaderName = HeaderName::from_static("x-fairlead-model");
pub(super) const PROVIDER: HeaderName = HeaderName::from_static("x-fairlead-provider");
pub(super) const ATTEMPTS: HeaderName = HeaderName::from_static("x-fairlead-attempts");
const LOSS: HeaderName = HeaderName::from_static("x-fairlead-loss");
pub(super) const EXPLAIN: HeaderName = HeaderName::from_static("x-fairlead-explain");
pub(super) const BUDGET_TOKENS: HeaderName = HeaderName::from_static("x-fairlead-budget-tokens");
pub(super) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A unary answer.
pub(crate) fn answer(call: &Call, passed: HeaderMap, body: ReplyBody) -> Response<ReplyBody> {
    let body = match call.metadata(200) {
        Some(metadata) => body.with_member(metadata),
        None => body,
    };
    let mut response = Response::new(body);
    *response.headers_mut() = passed;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    mark(response.headers_mut(), call);
    response
}

/// What counting a request came to.
pub(crate) fn counted(model: &Model, body: Vec<u8>) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response.headers_mut().insert(MODEL, model.id_header.clone());
    response
}

/// A streamed answer, with the headers made for it.
pub(crate) fn stream(relay: Attended<Box<Relay>>, headers: HeaderMap) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::Relay(relay));
    *response.headers_mut() = headers;
    response
}

/// A streamed answer whose request stands in line.
pub(crate) fn early(early: Early) -> Response<ReplyBody> {
    let headers = early_headers(early.generation(), false);
    let mut response = Response::new(ReplyBody::Early(Box::new(early)));
    *response.headers_mut() = headers;
    response
}

/// The headers of a streamed answer.
pub(crate) fn stream_headers(call: &Call, passed: HeaderMap, json_array: bool) -> HeaderMap {
    let mut headers = passed;
    mark(&mut headers, call);
    mark_budget(&mut headers, call);
    streaming(headers, json_array)
}

/// How long the reply may become, where the caller's money buys less than it asked for.
pub(crate) fn mark_budget(headers: &mut HeaderMap, call: &Call) {
    if let Some(tokens) = call.budget_tokens() {
        headers.insert(BUDGET_TOKENS, HeaderValue::from(tokens));
    }
}

/// The same before the provider has said anything: what is not known is left out.
pub(crate) fn early_headers(generation: Option<GenerationId>, json_array: bool) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    if let Some(generation) = generation {
        mark_generation(&mut headers, generation);
    }
    streaming(headers, json_array)
}

fn streaming(mut headers: HeaderMap, json_array: bool) -> HeaderMap {
    let content_type = if json_array { JSON } else { HeaderValue::from_static("text/event-stream") };
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    headers
}

/// A call that was reserved and failed before anything was sent to the client. `passed` are the provider's headers that clients see.
pub(crate) fn failed(call: &Call, failure: &Failure, passed: HeaderMap) -> Response<ReplyBody> {
    let text = call.generation().text();
    let previous = call.previous_errors();
    let details = Details {
        provider_name: Some(&call.provider().name),
        generation_id: std::str::from_utf8(&text).ok(),
        previous: &previous,
        ..Details::default()
    };
    let mut response = error_response(call.face(), failure, details, call.metadata_of(failure).as_deref());
    let secrets = call.provider().exposed_secrets();
    response.headers_mut().extend(passed.into_iter().filter_map(|(name, value)| Some((name?, redacted(&value, &secrets)?))));
    mark(response.headers_mut(), call);
    response
}

/// A header of a provider that has failed, without anything that looks like a credential.
fn redacted(value: &HeaderValue, secrets: &[&str]) -> Option<HeaderValue> {
    HeaderValue::try_from(redact(value.to_str().ok()?, secrets)).ok()
}

/// A request that was refused before it had a generation.
pub(crate) fn refusal(face: Face, failure: &Failure) -> Response<ReplyBody> {
    let metadata = failure.routing.as_ref().and_then(|routing| routing.metadata.as_deref());
    let mut response = error_response(face, failure, Details::default(), metadata);
    if let Some(explanation) = failure.routing.as_ref().and_then(|routing| routing.explanation.as_ref()) {
        response.headers_mut().insert(EXPLAIN, explanation.clone());
    }
    response
}

/// The whole reply, as written, to a head that hyper could not read or that never came to its end.
pub(crate) fn refuse_head(face: Face, status: u16, header_bytes: usize, headers: usize) -> Vec<u8> {
    let (kind, message) = match status {
        408 => (ErrorKind::RequestTimeout, "the request's head came too slowly".to_owned()),
        414 => (ErrorKind::InvalidRequest, "the URL is too long".to_owned()),
        431 => (ErrorKind::HeadersTooLarge, headers_too_large(headers, header_bytes)),
        _ => (
            ErrorKind::InvalidRequest,
            "the request's head is not valid HTTP/1.1: look at its request line, header lines and lengths".to_owned(),
        ),
    };
    let mut failure = Failure::new(kind, message).closing();
    failure.status = Some(status);
    let body =
        error::body(face.dialect, face.manner, failure.kind, &failure.message, &Details { status: failure.status, ..Details::default() });
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nconnection: close\r\ncontent-type: application/json\r\ncache-control: no-store\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

/// What a head of more than the limits is told.
pub(crate) fn headers_too_large(headers: usize, header_bytes: usize) -> String {
    format!("the request's head has more than {headers} header lines or {header_bytes} bytes")
}

/// A short text for probes.
pub(crate) fn plain(status: u16, text: &'static str) -> Response<ReplyBody> {
    self::text(status, "text/plain; charset=utf-8", text)
}

/// A text of some type.
pub(crate) fn text(status: u16, content_type: &'static str, text: impl Into<Bytes>) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::from(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn error_response(face: Face, failure: &Failure, details: Details<'_>, metadata: Option<&[u8]>) -> Response<ReplyBody> {
    let details = Details {
        status: failure.status,
        raw: failure.raw.as_deref(),
        provider_code: failure.code.as_deref(),
        own: failure.own.as_deref(),
        param: failure.param.as_deref(),
        availability: failure.routing.as_ref().and_then(|routing| routing.availability.as_ref()),
        ..details
    };
    let body = error::body(face.dialect, face.manner, failure.kind, &failure.message, &details);
    let body = ReplyBody::from(body);
    let mut response = Response::new(match metadata {
        Some(metadata) => body.with_member(metadata.to_vec()),
        None => body,
    });
    *response.status_mut() = StatusCode::from_u16(failure.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in &failure.hints {
        headers.insert(*name, value.clone());
    }
    if !failure.kind.row().retry {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    if let Some(method) = failure.allow {
        headers.insert(header::ALLOW, HeaderValue::from_static(method));
    }
    if failure.close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

pub(super) fn mark_generation(headers: &mut HeaderMap, generation: GenerationId) {
    if let Ok(id) = HeaderValue::from_bytes(&generation.text()) {
        headers.insert(GENERATION, id);
    }
}

/// The contract's headers.
fn mark(headers: &mut HeaderMap, call: &Call) {
    mark_generation(headers, call.generation());
    headers.insert(MODEL, call.model().id_header.clone());
    headers.insert(PROVIDER, call.provider().slug_header.clone());
    headers.insert(ATTEMPTS, HeaderValue::from(call.attempts()));
    if let Some(losses) = losses_header(call.losses()) {
        headers.insert(LOSS, losses);
    }
    if let Some(explanation) = &call.explanation {
        headers.insert(EXPLAIN, explanation.clone());
    }
    if let Ok(timing) = HeaderValue::from_maybe_shared(server_timing(call.own_us())) {
        headers.insert(SERVER_TIMING, timing);
    }
}

/// Clients and proxies take header lines of some kilobytes.
const LOSSES_BYTES: usize = 2 << 10;

/// A list as RFC 9651 writes it: per loss the place, with its severity and the reason. What does not fit, and `more` that nobody keeps,
/// is counted by a last member.
fn losses_header((all, more): (&[Loss], usize)) -> Option<HeaderValue> {
    let mut text = String::new();
    let mut told = 0;
    for loss in all {
        let member = format!("{};severity={};reason={}", quoted(&loss.path), loss.severity.name(), quoted(&loss.reason));
        if text.len() + member.len() > LOSSES_BYTES {
            break;
        }
        text.push_str(if told == 0 { "" } else { ", " });
        text.push_str(&member);
        told += 1;
    }
    let untold = all.len() - told + more;
    if untold > 0 {
        let separator = if told == 0 { "" } else { ", " };
        text.push_str(&format!("{separator}more;count={untold}"));
    }
    HeaderValue::try_from(text).ok().filter(|value| !value.is_empty())
}

/// A string of RFC 9651: printable ASCII.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

/// `fairlead;dur=` and our own work in milliseconds.
pub(super) fn server_timing(own_us: u64) -> Bytes {
    const NAME: &[u8] = b"fairlead;dur=";
    let mut buffer = itoa::Buffer::new();
    let whole = buffer.format(own_us / 1000).as_bytes();
    let [tenths, hundredths, thousandths] = [100, 10, 1].map(|scale| b'0' + (own_us / scale % 10) as u8);
    // Joined to exactly its length: then the header takes it over without a copy.
    Bytes::from([NAME, whole, &[b'.', tenths, hundredths, thousandths]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_ir::{Losses, Severity};

    #[test]
    fn losses_are_a_list_that_fits() {
        let mut losses = Losses::new();
        assert_eq!(losses_header((losses.as_slice(), 0)), None);
        losses.at("tools[0].strict".to_owned(), Severity::Hint, "not known there");
        losses.at("a\"b\n".to_owned(), Severity::Dropped, "gr\u{fc}n");
        let expected = r#""tools[0].strict";severity=hint;reason="not known there", "a\"b?";severity=dropped;reason="gr?n""#;
        assert_eq!(losses_header((losses.as_slice(), 0)), HeaderValue::from_str(expected).ok());
        (0..1000).for_each(|number| losses.at(format!("messages[{number}]"), Severity::Changed, "why"));
        let long = losses_header((losses.as_slice(), 0)).map(|value| value.to_str().unwrap_or_default().to_owned()).unwrap_or_default();
        assert!(long.len() < LOSSES_BYTES + 32 && long.contains(", more;count="), "{long}");
        assert_eq!(losses_header((&[], 7)), Some(HeaderValue::from_static("more;count=7")));
        let two = losses_header((&losses.as_slice()[..2], 7));
        assert_eq!(two, HeaderValue::try_from(format!("{expected}, more;count=7")).ok());
    }

    #[test]
    fn own_work_is_written_in_milliseconds() {
        assert_eq!(server_timing(7), "fairlead;dur=0.007");
        assert_eq!(server_timing(12_345), "fairlead;dur=12.345");
    }
}
