//! Kept replies as responses.

use crate::pipeline::reply::{self, ReplyBody};
use crate::repeats::{Cached, Copy, Facts};
use bytes::Bytes;
use fairlead_ir::GenerationId;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Response};

const REPLAY: HeaderName = HeaderName::from_static("idempotent-replay");
const STATUS: HeaderName = HeaderName::from_static("x-openrouter-cache-status");
const AGE: HeaderName = HeaderName::from_static("x-openrouter-cache-age");
const TTL: HeaderName = HeaderName::from_static("x-openrouter-cache-ttl");
const SOURCE: HeaderName = HeaderName::from_static("x-openrouter-cache-source-id");

/// Headers that are about one moment: they are not kept.
const MOMENTARY: [HeaderName; 3] = [reply::SERVER_TIMING, reply::EXPLAIN, reply::BUDGET_TOKENS];

/// Those of a response that are kept with it. A stream whose head went out early has not told who answered.
pub(super) fn kept(headers: &HeaderMap) -> Vec<(String, String)> {
    let lasting = headers.iter().filter(|(name, _)| !MOMENTARY.contains(name));
    lasting.filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))).collect()
}

/// The same reply of the same generation.
pub(super) fn replay(copy: &Copy) -> Response<ReplyBody> {
    let mut response = response(&copy.facts, copy.body.clone());
    response.headers_mut().insert(REPLAY, HeaderValue::from_static("true"));
    response
}

/// A generation of its own, and what is kept of it under its own name.
pub(super) fn hit(cached: &Cached, generation: GenerationId, body: Vec<u8>, own_us: u64) -> (Response<ReplyBody>, Copy) {
    let (source, body) = (&cached.copy.facts, Bytes::from(body));
    let mut response = response(source, body.clone());
    let headers = response.headers_mut();
    reply::mark_generation(headers, generation);
    headers.insert(reply::ATTEMPTS, HeaderValue::from(0));
    mark(headers, HeaderValue::from_static("HIT"), cached.ttl_seconds);
    headers.insert(AGE, HeaderValue::from(cached.age_ms / 1000));
    if let Ok(id) = HeaderValue::try_from(&*source.generation) {
        headers.insert(SOURCE, id);
    }
    let generation = String::from_utf8_lossy(&generation.text()).into_owned();
    let facts = Facts { generation, charged: 0, headers: kept(headers), ..source.clone() };
    if let Ok(timing) = HeaderValue::from_maybe_shared(reply::server_timing(own_us)) {
        headers.insert(reply::SERVER_TIMING, timing);
    }
    (response, Copy { facts, body })
}

/// Says of a reply that it was looked for in the cache in vain.
pub(super) fn mark_miss(headers: &mut HeaderMap, ttl_seconds: u64) {
    mark(headers, HeaderValue::from_static("MISS"), ttl_seconds);
}

fn mark(headers: &mut HeaderMap, status: HeaderValue, ttl_seconds: u64) {
    headers.insert(STATUS, status);
    headers.insert(TTL, HeaderValue::from(ttl_seconds));
}

fn response(facts: &Facts, body: Bytes) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::from(body));
    let headers = response.headers_mut();
    for (name, value) in &facts.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    for (name, text) in [(reply::GENERATION, &facts.generation), (reply::MODEL, &facts.model), (reply::PROVIDER, &facts.provider)] {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    }
    response
}

/// Puts one generation's id in the place of another's, wherever it stands: both are as long, and nobody else has either.
pub(super) fn rename(body: &mut [u8], old: &[u8], new: &[u8]) {
    let places: Vec<usize> = memchr::memmem::find_iter(body, old).collect();
    if old.len() == new.len() {
        places.into_iter().for_each(|at| body[at..at + new.len()].copy_from_slice(new));
    }
}
