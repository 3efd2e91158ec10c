//! A stream whose client has its head although its request still stands in line, or waits for the reply that another one gets: signs of life
//! until the request is on its way, then what its relay says, the other's reply, or the failure, told in the stream.

use super::{Relay, Weave, sign_of_life, write_failure};
use crate::pipeline::call::Attended;
use crate::pipeline::failure::Failure;
use crate::pipeline::queued::Departed;
use crate::pipeline::receipt::Receipt;
use crate::pipeline::repeat::Recorder;
use crate::pipeline::translate::Back;
use crate::routes::Ask;
use crate::upstream::Deadline;
use bytes::{Bytes, BytesMut};
use fairlead_formats::again;
use fairlead_formats::error::Details;
use fairlead_formats::identity::Identity;
use fairlead_formats::request::Purpose;
use fairlead_formats::tap::Tap;
use fairlead_ir::traits::Traits;
use fairlead_ir::{Dialect, GenerationId};
use fairlead_snapshot::Timeouts;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// A request that waits.
type Departing = Pin<Box<dyn Future<Output = Result<Departure, Failure>>>>;

/// What a request that has waited comes to.
pub(crate) enum Departure {
    /// A call, and what keeps its reply.
    Call(Departed, Option<Box<Recorder>>),
    /// The reply of another call: its events.
    Reply(Bytes),
}

/// A stream before its call.
pub(crate) struct Early {
    departing: Option<Departing>,
    voice: Voice,
    /// When the next sign of life is due; the first at once.
    quiet: Deadline,
    /// The signs of life that are part of the reply.
    spoken: BytesMut,
}

/// What becomes of it.
pub(crate) enum Said {
    /// The client gets this.
    Bytes(Bytes),
    /// The call goes on by itself; where its reply is kept, with what was said before it.
    Departed(Attended<Box<Relay>>, Option<(Box<Recorder>, BytesMut)>),
    /// That was all.
    End,
}

/// What speaks the client's dialect while there is no call.
pub(crate) struct Voice {
    generation: GenerationId,
    /// The reply is of this generation, whatever comes.
    is_named: bool,
    keepalive: Duration,
    tap: Tap,
    /// Writes Responses, whose signs of life are events with numbers.
    weave: Option<Box<Weave>>,
    receipt: Option<Rc<Receipt>>,
}

impl Early {
    pub(crate) fn new(departing: Departing, voice: Voice) -> Early {
        Early { departing: Some(departing), voice, quiet: Deadline::at(Instant::now()), spoken: BytesMut::new() }
    }

    /// What the head says of it, if that is certain already.
    pub(crate) fn generation(&self) -> Option<GenerationId> {
        self.voice.is_named.then_some(self.voice.generation)
    }

    /// What the client gets next.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Said> {
        let Some(departing) = &mut self.departing else { return Poll::Ready(Said::End) };
        let failure = match departing.as_mut().poll(context) {
            Poll::Ready(Ok(Departure::Call(departed, recorder))) => {
                let weave = self.voice.weave.take();
                let relay = Attended::new(Box::new(Relay::behind(departed, weave, self.quiet.moment())));
                let kept = recorder.map(|recorder| (recorder, std::mem::take(&mut self.spoken)));
                return Poll::Ready(Said::Departed(relay, kept));
            }
            Poll::Ready(Ok(Departure::Reply(reply))) => {
                self.departing = None;
                let goes_on = self.voice.weave.is_some();
                return Poll::Ready(Said::Bytes(if goes_on { again::behind(&self.spoken, &reply).into() } else { reply }));
            }
            Poll::Ready(Err(failure)) => failure,
            Poll::Pending => {
                return self.quiet.poll(context).map(|()| {
                    self.quiet.set(Instant::now() + self.voice.keepalive);
                    let sign = self.voice.sign_of_life();
                    if self.voice.weave.is_some() {
                        self.spoken.extend_from_slice(&sign);
                    }
                    Said::Bytes(sign)
                });
            }
        };
        self.departing = None;
        Poll::Ready(match self.voice.failure(&failure) {
            told if told.is_empty() => Said::End,
            told => Said::Bytes(told),
        })
    }
}

impl Voice {
    pub(crate) fn new(
        timeouts: &Timeouts,
        generation: GenerationId,
        identity: Identity,
        ask: &Ask,
        traits: Traits,
        receipt: Option<Rc<Receipt>>,
    ) -> Voice {
        let (identity, dialect) = (Arc::new(identity), ask.reply_dialect());
        let weave = (dialect == Dialect::OpenaiResponses)
            .then(|| Box::new(Weave::new(&Back::same(Dialect::OpenaiResponses, traits), identity.clone(), None)));
        let tap = match ask.purpose {
            Purpose::Completions => Tap::completions(identity, false),
            _ => Tap::new(dialect, identity, false),
        };
        let keepalive = Duration::from_millis(timeouts.keepalive_ms);
        Voice { generation, is_named: true, keepalive, tap, weave, receipt }
    }

    /// The reply may be that of another generation.
    pub(crate) fn unnamed_if(mut self, may_be_another: bool) -> Voice {
        self.is_named = !may_be_another;
        self
    }

    fn sign_of_life(&mut self) -> Bytes {
        let mut frame = Vec::new();
        sign_of_life(self.weave.as_deref_mut(), self.tap.dialect(), &mut frame);
        frame.into()
    }

    fn failure(&mut self, failure: &Failure) -> Bytes {
        let text = self.generation.text();
        let routing = failure.routing.as_deref();
        let details = Details {
            generation_id: std::str::from_utf8(&text).ok(),
            own: failure.own.as_deref(),
            param: failure.param.as_deref(),
            availability: routing.and_then(|routing| routing.availability.as_ref()),
            ..Details::default()
        };
        if let Some(receipt) = &self.receipt {
            receipt.fail(failure, &details);
            return Bytes::new();
        }
        let metadata = routing.and_then(|routing| routing.metadata.as_deref());
        let dialect = self.tap.dialect();
        write_failure(self.weave.as_deref_mut(), &self.tap, dialect, failure, &details, metadata).into()
    }
}
