//! A call that cannot go on: what to tell the caller, and what to record.

use crate::worker::unix_ms;
use fairlead_formats::availability::Availability;
use fairlead_formats::error::OwnWords;
use fairlead_ir::{Elsewhere, ErrorKind};
use fairlead_router::health::retry_after_ms;
use http::HeaderValue;
use std::borrow::Cow;
use std::ops::{Deref, DerefMut};

/// After so long a full disk may have room again, or another process may have taken this one's place.
const STORE_RETRY_SECONDS: u64 = 5;

/// The record's word for a call that a stop of the process ended.
pub(crate) const SHUTTING_DOWN: &str = "shutting_down";

/// Why a call failed. [`super::reply`] gives it the caller's dialect. Boxed, so that what does not fail is not moved about in its size.
#[derive(Debug)]
pub(crate) struct Failure(Box<Reason>);

/// What there is to know of a failure.
#[derive(Debug)]
pub(crate) struct Reason {
    pub(crate) kind: ErrorKind,
    /// A stable word for the record.
    pub(crate) word: &'static str,
    /// Where the call may fare better at once.
    pub(crate) elsewhere: Elsewhere,
    pub(crate) message: String,
    /// The request field that is wrong.
    pub(crate) param: Option<Box<str>>,
    /// What the provider said, redacted.
    pub(crate) raw: Option<String>,
    /// The provider's own code, redacted.
    pub(crate) code: Option<String>,
    /// The provider's own words where its error is the caller's answer, redacted.
    pub(crate) own: Option<Box<OwnWords>>,
    /// What the caller is told of the routing.
    pub(crate) routing: Option<Box<Routing>>,
    /// The provider's status where the caller shall see it rather than the kind's.
    pub(crate) status: Option<u16>,
    /// The provider's hints about retrying, which may pass.
    pub(crate) hints: Vec<(&'static str, HeaderValue)>,
    /// The method that is allowed instead.
    pub(crate) allow: Option<&'static str>,
    /// Whether the connection cannot be used again.
    pub(crate) close: bool,
}

/// What a failure before anything was sent tells of the routing.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    /// Why nothing can serve the request.
    pub(crate) availability: Option<Availability>,
    /// How far it got, where the caller asked: the member of the error's body.
    pub(crate) metadata: Option<Vec<u8>>,
    /// Why it would go where it would go, where the caller asked.
    pub(crate) explanation: Option<HeaderValue>,
}

impl Deref for Failure {
    type Target = Reason;

    fn deref(&self) -> &Reason {
        &self.0
    }
}

impl DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut Reason {
        &mut self.0
    }
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Failure {
        Failure(Box::new(Reason {
            kind,
            word: kind.row().openrouter,
            elsewhere: kind.row().elsewhere,
            message: message.into(),
            param: None,
            raw: None,
            code: None,
            own: None,
            routing: None,
            status: None,
            hints: Vec::new(),
            allow: None,
            close: false,
        }))
    }

    /// The process stops.
    pub(crate) fn draining() -> Failure {
        Failure::new(ErrorKind::Draining, "the gateway is shutting down").word(SHUTTING_DOWN)
    }

    /// What must be kept cannot be, for now: nobody is served for nothing, and nobody is told that it was his fault.
    pub(crate) fn store(message: impl Into<String>) -> Failure {
        let mut failure = Failure::new(ErrorKind::StoreUnavailable, message);
        failure.hint("retry-after", STORE_RETRY_SECONDS);
        failure
    }

    pub(crate) fn word(mut self, word: &'static str) -> Failure {
        self.word = word;
        self
    }

    pub(crate) fn elsewhere(mut self, elsewhere: Elsewhere) -> Failure {
        self.elsewhere = elsewhere;
        self
    }

    pub(crate) fn param(mut self, param: Option<impl Into<Cow<'static, str>>>) -> Failure {
        self.param = param.map(|param| param.into().into());
        self
    }

    pub(crate) fn unavailable(mut self, availability: Option<Availability>) -> Failure {
        if availability.is_some() {
            self.routing.get_or_insert_default().availability = availability;
        }
        self
    }

    pub(crate) fn telling(mut self, metadata: Vec<u8>) -> Failure {
        self.routing.get_or_insert_default().metadata = Some(metadata);
        self
    }

    pub(crate) fn explained(mut self, explanation: Option<HeaderValue>) -> Failure {
        if explanation.is_some() {
            self.routing.get_or_insert_default().explanation = explanation;
        }
        self
    }

    /// This failure, where another endpoint stood in line and failed in the same way: it is affected too.
    pub(crate) fn and(mut self, mut other: Failure) -> Failure {
        let theirs = other.routing.take().and_then(|routing| routing.availability);
        let ours = self.routing.as_mut().and_then(|routing| routing.availability.as_mut());
        if let (Some(ours), Some(theirs)) = (ours, theirs) {
            let new = theirs.affected_providers.into_iter().filter(|slug| !ours.affected_providers.contains(slug));
            let new: Vec<String> = new.collect();
            ours.affected_providers.extend(new);
        }
        self
    }

    /// The words that clients look for.
    pub(crate) fn own(mut self, words: OwnWords) -> Failure {
        self.own = Some(Box::new(words));
        self
    }

    pub(crate) fn allowing(mut self, method: &'static str) -> Failure {
        self.allow = Some(method);
        self
    }

    pub(crate) fn closing(mut self) -> Failure {
        self.close = true;
        self
    }

    /// A header that is a number.
    pub(crate) fn hint(&mut self, name: &'static str, value: u64) {
        self.hints.push((name, HeaderValue::from(value)));
    }

    /// When the provider, or a line of ours, wants to be asked again.
    pub(crate) fn retry_after_ms(&self) -> Option<u64> {
        let hints = self.hints.iter().filter_map(|(name, value)| Some((*name, value.to_str().ok()?)));
        retry_after_ms(hints, None, unix_ms())
    }

    pub(crate) fn into_message(self) -> String {
        self.0.message
    }

    pub(crate) fn status(&self) -> u16 {
        self.status.unwrap_or(self.kind.row().status)
    }
}

/// A caller's text inside an error: quoted, bounded, without control characters.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 120;
    let short: String = text.chars().take(MOST).map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect();
    let more = if text.chars().nth(MOST).is_some() { "…" } else { "" };
    format!("\"{short}{more}\"")
}
