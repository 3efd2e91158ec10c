//! What the end of a stream waits for: that its reply is kept, and its settlement on the disk, where that is asked for.

use super::Relay;
use crate::pipeline::reply::Broken;
use crate::pipeline::stateful;
use bytes::Bytes;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

impl Relay {
    /// Until the reply is kept. If that came to nothing it is still a reply.
    pub(super) fn poll_kept(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(keeping) = &mut self.keeping {
            let _ = ready!(Pin::new(keeping).poll(context));
            self.keeping = None;
        }
        Poll::Ready(())
    }

    /// Until the settlement is on the disk, where that is asked for. If that is not certain, the stream breaks before its end.
    pub(super) fn poll_durable(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if let Some(durable) = &mut self.call.durable {
            let kept = ready!(Pin::new(durable).poll(context));
            self.call.durable = None;
            if kept.is_err() {
                self.ready.clear();
                self.told = true;
                return Poll::Ready(Err(Broken("the usage journal failed")));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Has the reply kept that ends with these events.
    pub(super) fn keep(&mut self, end: Bytes) {
        if let Some(keeping) = self.call.take_keeping() {
            self.keeping = Some(keeping.keep(stateful::Reply::Events(end)));
        }
    }
}
