//! A second attempt beside one that is slow to bring its first token (`routing.hedge`): both run, and whichever has the first content answers, whatever
//! it said before. The other is cut off, which is why it is only begun where that stops the provider's meter; its row and what it cost are in the record.

use super::tap;
use crate::pipeline::call::{Call, Lost};
use crate::pipeline::failover::{Next, Standby};
use crate::pipeline::prepare::{Entry, Ready};
use crate::upstream::{Deadline, Exchange, ExchangeError, Fill};
use bytes::{Bytes, BytesMut};
use fairlead_formats::tap::Tap;
use fairlead_formats::translate::wire::Wire;
use fairlead_router::health::outcome::Class;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// A second attempt, from the wish for one on.
pub(super) enum Hedge {
    /// The first is not slow yet.
    Waiting(Deadline),
    /// The request is written for the other endpoint.
    Preparing(Preparing),
    Racing(Box<Racer>),
}

pub(super) type Preparing = Pin<Box<dyn Future<Output = Result<Next, Box<Standby>>>>>;

/// A second attempt on its way.
pub(super) struct Racer {
    pub(super) entry: Entry,
    pub(super) standby: Option<Box<Standby>>,
    pub(super) course: Course,
    /// For when it speaks.
    heard: Option<Box<Heard>>,
}

/// How far it has come.
pub(super) enum Course {
    Attempting(Pin<Box<dyn Future<Output = Result<Exchange, ExchangeError>>>>),
    /// Its head has come, and what is heard of it.
    Speaking(Box<Exchange>, Box<Heard>),
}

/// What the second attempt has said: kept as it came, and listened to for its first content.
pub(super) struct Heard {
    bytes: BytesMut,
    /// Where the event begins that is not whole yet.
    at: usize,
    wire: Wire,
    tap: Tap,
    most_bytes: usize,
    /// A reply without content is what the client wants.
    wants_nothing: bool,
}

impl Heard {
    fn new(call: &Call, entry: &Entry) -> Heard {
        let tap = tap(entry.way(), call.dialect(), Arc::new(call.identity()));
        let limits = &call.snapshot.settings.limits;
        let wire = Wire::new(tap.dialect(), limits.event_bytes);
        Heard { bytes: BytesMut::new(), at: 0, wire, tap, most_bytes: limits.hold_bytes, wants_nothing: call.wants_nothing() }
    }

    /// All of it.
    pub(super) fn into_bytes(self) -> Bytes {
        self.bytes.freeze()
    }

    /// Whether it has begun to answer; `Err` with the record's word where it has failed.
    fn take(&mut self, payload: &[u8]) -> Result<bool, &'static str> {
        let before = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        let mut from = 0;
        while let Some(end) = self.wire.next_end(payload, from).map_err(|_| "garbage")? {
            let sight = self.tap.inspect(&self.bytes[self.at..before + end]);
            (self.at, from) = (before + end, end);
            if sight.error {
                return Err("stream_error");
            }
            if sight.first_content || sight.end && self.wants_nothing {
                return Ok(true);
            }
            if sight.end {
                return Err("empty_reply");
            }
        }
        // What the relay would not hold back either is taken for an answer.
        Ok(self.bytes.len() > self.most_bytes)
    }
}

impl Hedge {
    /// What waits for the first attempt to be slow; `None` where nothing is hedged.
    pub(super) fn new(call: &Call, standby: Option<&Standby>, now: Instant) -> Option<Hedge> {
        let after_ms = standby?.hedge_after_ms(&call.worker)?;
        Some(Hedge::Waiting(Deadline::after(now, Duration::from_millis(after_ms))))
    }
}

impl Racer {
    /// The attempt begins.
    pub(super) fn begin(call: &mut Call, next: Next) -> Box<Racer> {
        let Next { leg, ready: Ready { attempting, entry }, standby } = next;
        let heard = Box::new(Heard::new(call, &entry));
        let course = Course::Attempting(Box::pin(attempting.send(call.begin_beside(leg))));
        Box::new(Racer { entry, standby, course, heard: Some(heard) })
    }

    /// Ready when it begins to answer, or has failed.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        if let Course::Attempting(attempt) = &mut self.course {
            let exchange = match ready!(attempt.as_mut().poll(context)) {
                Ok(exchange) => exchange,
                Err(error) => {
                    let class = if error.is_timeout() { Class::TimedOut } else { Class::Unreachable };
                    return Poll::Ready(Err(Lost { status: 0, word: error.word(), class }));
                }
            };
            let status = exchange.status();
            if !(200..300).contains(&status) {
                return Poll::Ready(Err(Lost { status, word: "provider_status", class: Class::of_status(status) }));
            }
            let Some(heard) = self.heard.take() else { return Poll::Pending };
            self.course = Course::Speaking(Box::new(exchange), heard);
        }
        let Course::Speaking(exchange, heard) = &mut self.course else { return Poll::Pending };
        let word = loop {
            match ready!(exchange.poll_fill(context)) {
                Ok(Fill::Payload(payload)) => match heard.take(&payload) {
                    Ok(true) => return Poll::Ready(Ok(())),
                    Ok(false) => {}
                    Err(word) => break word,
                },
                Ok(Fill::End) => break "empty_reply",
                Err(error) => break error.word(),
            }
        };
        Poll::Ready(Err(Lost { status: exchange.status(), word, class: Class::Broken }))
    }
}
