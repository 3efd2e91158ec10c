//! Replies that are given again: to a request that asks the same ([`Cache`]), or to one that was sent twice under one name ([`Named`],
//! `Idempotency-Key`). Both stand on the same two things: a [`Copy`] of a reply, and [`Flights`], which make requests that come while the first
//! of them is on its way wait for what comes of it.
//!
//! Nothing here is found without a [`Scope`], and a scope is made of a principal and of nothing else: what one key was told is never told to
//! another. Nothing here knows a clock; nothing here knows a dialect.

mod cache;
mod flights;
mod named;

pub(crate) use cache::{Cache, Cached};
pub(crate) use flights::{Entered, Flights, Lead};
pub(crate) use named::{Found, Named};

use crate::responses::Bounds;
use bytes::Bytes;
use fairlead_ir::{GenerationId, NanoUsd};
use fairlead_snapshot::{Principal, Settings};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
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
}

impl Repeats {
    pub(crate) fn new(named: Option<Named>) -> Repeats {
        Repeats { cache: Cache::default(), flights: Arc::default(), named }
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
        let facts = Facts {
            generation: "gen-019331aa-0000-7000-8000-000000000001".to_owned(),
            model: "acme/fast".to_owned(),
            provider: "acme".to_owned(),
            finish: "stop".to_owned(),
            native_finish: "stop".to_owned(),
            charged: 7,
            streamed: false,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        };
        Arc::new(Copy { facts, body: Bytes::copy_from_slice(body.as_bytes()) })
    }

    #[test]
    fn the_process_itself_has_no_scope() {
        assert_eq!(Scope::of(&Principal::process(1)), None);
    }
}
