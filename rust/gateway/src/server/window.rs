//! HTTP/2 readers that open no window. hyper then asks their reply's body for nothing, so the body can look at no clock itself: a
//! task beside it does, and takes the whole stream away when nothing was taken for too long.

use crate::pipeline::{Broken, ReplyBody};
use crate::worker::Worker;
use bytes::Bytes;
use fairlead_snapshot::Timeouts;
use http_body::{Body, Frame};
use std::cell::{Cell, OnceCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

tokio::task_local! {
    /// The task of the stream that is being polled.
    static STREAM: Rc<OnceCell<AbortHandle>>;
}

/// Runs HTTP/2's streams as tasks of the same thread, each of which can be taken away, and hears of a drain and a stop.
#[derive(Clone)]
pub(crate) struct StreamExecutor(pub(crate) Rc<Worker>);

impl<F> hyper::rt::Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        let stream = Rc::new(OnceCell::new());
        let worker = self.0.clone();
        let mut future = Box::pin(STREAM.scope(stream.clone(), future));
        let mut listening = None;
        let task = spawn_local(poll_fn(move |context| {
            listening.get_or_insert_with(|| Listening::new(&worker, context.waker()));
            worker.counters.turn(|| future.as_mut().poll(context))
        }));
        // Set before the task runs: it shares this thread.
        let _ = stream.set(task.abort_handle());
    }
}

/// A task that is woken when a drain or a stop begins, and that a drain waits for: it may outlive its connection by a moment.
struct Listening {
    worker: Rc<Worker>,
    place: usize,
    _awaited: Rc<()>,
}

impl Listening {
    fn new(worker: &Rc<Worker>, waker: &Waker) -> Listening {
        Listening { place: worker.enter(waker.clone()), _awaited: worker.awaited(), worker: worker.clone() }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.worker.leave(self.place);
    }
}

/// What a stream's reader takes of its reply.
pub(crate) struct Window {
    asked: Rc<Asked>,
    /// The rest of a frame that is given out in pieces.
    rest: Bytes,
    watcher: AbortHandle,
}

/// When a frame was last asked for, and whether the answer was to wait for the provider.
struct Asked {
    at: Cell<Instant>,
    waiting: Cell<bool>,
}

/// hyper keeps a whole frame for a reader that takes a byte of it, so frames are no larger than this.
const PIECE_BYTES: usize = 16 << 10;

impl Window {
    /// Watches the reader of the stream whose task this is.
    pub(crate) fn watch(timeouts: &Timeouts) -> Window {
        let stall = Duration::from_millis(timeouts.write_stall_ms);
        // A reply that waits for its provider is asked again when the provider's own time is up, if not before.
        let provider = Duration::from_millis(timeouts.idle_ms.max(timeouts.content_idle_ms).max(timeouts.upstream_head_ms));
        let asked = Rc::new(Asked { at: Cell::new(Instant::now()), waiting: Cell::new(false) });
        let stream = STREAM.try_with(|stream| stream.get().cloned()).ok().flatten();
        let watcher = spawn_local(give_up(asked.clone(), stall, stall + provider, stream)).abort_handle();
        Window { asked, rest: Bytes::new(), watcher }
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn poll_frame(&mut self, body: &mut ReplyBody, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.asked.at.set(Instant::now());
        if self.rest.is_empty() {
            let frame = Pin::new(body).poll_frame(context);
            self.asked.waiting.set(frame.is_pending());
            match frame {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                other => return other,
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// Ends the stream's task once nothing was asked for too long. That drops the reply, which settles it, and resets the stream.
async fn give_up(asked: Rc<Asked>, stall: Duration, stall_of_provider: Duration, stream: Option<AbortHandle>) {
    loop {
        let until = asked.at.get() + if asked.waiting.get() { stall_of_provider } else { stall };
        if Instant::now() >= until {
            return stream.iter().for_each(AbortHandle::abort);
        }
        tokio::time::sleep_until(until).await;
    }
}
