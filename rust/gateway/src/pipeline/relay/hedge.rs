//! A second attempt beside one that is slow to bring its first token (`routing.hedge`): both run, and whichever speaks first answers. The other is
//! cut off, which is why it is only begun where that stops the provider's meter; its row and what it cost are in the record.

use crate::pipeline::call::{Call, Lost};
use crate::pipeline::failover::{Next, Standby};
use crate::pipeline::prepare::{Entry, Ready};
use crate::upstream::{Deadline, Exchange, ExchangeError, Fill};
use bytes::Bytes;
use fairlead_router::health::outcome::Class;
use std::future::Future;
use std::pin::Pin;
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
}

/// How far it has come.
pub(super) enum Course {
    Attempting(Pin<Box<dyn Future<Output = Result<Exchange, ExchangeError>>>>),
    /// Its head has come, and then the first bytes.
    Speaking(Box<Exchange>, Bytes),
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
        let course = Course::Attempting(Box::pin(attempting.send(call.begin_beside(leg))));
        Box::new(Racer { entry, standby, course })
    }

    /// Ready when it speaks, or has failed.
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
            self.course = Course::Speaking(Box::new(exchange), Bytes::new());
        }
        let Course::Speaking(exchange, first) = &mut self.course else { return Poll::Pending };
        let word = match ready!(exchange.poll_fill(context)) {
            Ok(Fill::Payload(payload)) => {
                *first = payload;
                return Poll::Ready(Ok(()));
            }
            Ok(Fill::End) => "empty_reply",
            Err(error) => error.word(),
        };
        Poll::Ready(Err(Lost { status: exchange.status(), word, class: Class::Broken }))
    }
}
