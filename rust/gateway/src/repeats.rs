//! Replies that are given again: to a request that asks the same ([`Cache`]), or to one that was sent twice under one name ([`Named`],
//! `Idempotency-Key`). Both stand on the same two things: a [`Copy`] of a reply, and [`Flights`], which make requests that come while the first
//! of them is on its way wait for what comes of it.
//!
//! Nothing here is found without a [`Scope`], and a scope is made of a principal and of nothing else: what one key was told is never told to
//! another. A response that was deleted is not given again. Nothing here knows a clock; nothing here knows a dialect, but for the ids of responses.

mod cache;
mod deleted;
mod flights;
mod named;

pub(crate) use cache::{Cache, Cached};
pub(crate) use flights::{Entered, Flights, Lead};
pub(crate) use named::{Found, Named};

use crate::responses::Bounds;
use bytes::Bytes;
use deleted::Deleted;
use fairlead_ir::{GenerationId, NanoUsd};
use fairlead_snapshot::{Principal, Settings};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::io;
use std::sync::Arc;

/// The longest reply that is kept.
pub(crate) const COPY_BYTES_MAX: usize = 4 << 20;

/// SHA-256 of what is asked, or of the name that it was given.
pub(crate) type Digest = [u8; 32];

/// Whose replies: those of one API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    account: u64,
    key: u64,
}

impl Scope {
    /// The only way to make one. `None` for the process itself, which has no key.
    pub(crate) fn of(principal: &Principal) -> Option<Scope> {
        (principal.key != 0).then_some(Scope { account: principal.account, key: principal.key })
    }
}

/// What a reply is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    scope: Scope,
    digest: Digest,
}

impl Key {
    pub(crate) fn new(scope: Scope, digest: Digest) -> Key {
        Key { scope, digest }
    }
}

/// A reply as its client got it: whole, successful, settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) facts: Facts,
    pub(crate) body: Bytes,
}

/// What is known of it beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// The generation id as text.
    pub(crate) generation: String,
    /// Catalogue id of the model that answered, and the slug of its provider.
    pub(crate) model: String,
    pub(crate) provider: String,
    pub(crate) finish: String,
    pub(crate) native_finish: String,
    /// Nano-dollars.
    pub(crate) charged: i64,
    pub(crate) streamed: bool,
    /// Headers of the response, those left out that are about one moment only.
    pub(crate) headers: Vec<(String, String)>,
}

impl Copy {
    pub(crate) fn generation(&self) -> GenerationId {
        GenerationId::parse(&self.facts.generation).unwrap_or(GenerationId(0))
    }

    pub(crate) fn charged(&self) -> NanoUsd {
        NanoUsd(self.facts.charged)
    }

    /// What it takes of the memory, about.
    fn bytes(&self) -> u64 {
        let Facts { generation, model, provider, finish, native_finish, headers, .. } = &self.facts;
        let headers: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 64).sum();
        let texts = generation.len() + model.len() + provider.len() + finish.len() + native_finish.len();
        (self.body.len() + headers + texts + 512) as u64
    }
}

/// All of it, of a process.
pub(crate) struct Repeats {
    pub(crate) cache: Cache,
    pub(crate) flights: Arc<Flights>,
    /// Where there is a folder for them.
    pub(crate) named: Option<Named>,
    deleted: Arc<Deleted>,
}

/// So far a clock may be set back between a response and the copy of it.
const CLOCK_STEP_MS: u64 = 3_600_000;

impl Repeats {
    pub(crate) fn new(named: Option<Named>) -> Repeats {
        let deleted = Arc::<Deleted>::default();
        let named = named.map(|named| named.without(deleted.clone()));
        Repeats { cache: Cache::without(deleted.clone()), flights: Arc::default(), named, deleted }
    }

    /// Lets go of the copies of a response that this key made then: it is deleted. A copy that is still on its way is not kept either. Reads
    /// and writes files: not on a worker's thread.
    ///
    /// # Errors
    /// When a copy under a name cannot be taken out of its file.
    pub(crate) fn forget_response(&self, key: u64, id: &str, made_at_ms: u64, now_ms: u64) -> io::Result<()> {
        self.deleted.add(key, id, now_ms);
        self.cache.forget_response(key, id);
        self.named.as_ref().map_or(Ok(()), |named| named.forget_response(key, id, made_at_ms.saturating_sub(CLOCK_STEP_MS)))
    }

    /// Lets go of what is too old, too much, or of a key that is not known any more.
    pub(crate) fn sweep(&self, settings: &Settings, known: Option<&HashSet<u64>>, now_ms: u64) {
        self.cache.sweep(settings.response_cache_bytes, known, now_ms);
        if let Some(named) = &self.named {
            named.sweep(bounds(settings), known, now_ms);
        }
    }
}

/// How long named replies are kept, and how much of the disk they may take.
pub(crate) fn bounds(settings: &Settings) -> Bounds {
    Bounds { ttl_ms: settings.idempotency_ttl_seconds.saturating_mul(1000), most_bytes: settings.idempotency_bytes }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A scope as a key of an account has it.
    pub(crate) fn scope(account: u64, key: u64) -> Scope {
        Scope { account, key }
    }

    pub(crate) fn copy(body: &str) -> Arc<Copy> {
        Arc::new(Copy { facts: facts(false), body: Bytes::copy_from_slice(body.as_bytes()) })
    }

    /// Replies to `/responses`: whole, as a stream, and one that went on from it.
    pub(crate) fn responses(id: &str) -> [Arc<Copy>; 3] {
        let whole = format!(r#"{{"id":"{id}","object":"response","status":"completed","output":[]}}"#);
        let stream = format!("event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{whole}}}\n\n");
        let later = format!(r#"{{"id":"resp_later","status":"completed","previous_response_id":"{id}"}}"#);
        [copy(&whole), Arc::new(Copy { facts: facts(true), body: stream.into() }), copy(&later)]
    }

    fn facts(streamed: bool) -> Facts {
        Facts {
            generation: "gen-019331aa-0000-7000-8000-000000000001".to_owned(),
            model: "acme/fast".to_owned(),
            provider: "acme".to_owned(),
            finish: "stop".to_owned(),
            native_finish: "stop".to_owned(),
            charged: 7,
            streamed,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        }
    }

    #[test]
    fn the_process_itself_has_no_scope() {
        assert_eq!(Scope::of(&Principal::process(1)), None);
    }
}
