//! A client's socket with its time limits: slow heads, idle connections, readers that do not read.

use crate::pipeline::KnownKey;
use crate::upstream::Deadline;
use fairlead_snapshot::Timeouts;
use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What a connection is doing, shared between its socket and its requests.
pub(crate) struct Activity {
    /// Requests in progress: HTTP/2 has several.
    requests: Cell<u32>,
    /// When the last request ended, or the connection was made.
    idle_since: Cell<Instant>,
    /// When the first byte of the head that is now being read came; it is the request's beginning.
    head_since: Cell<Option<Instant>>,
    /// The bytes of that head, kept because hyper drops a Content-Length that contradicts Transfer-Encoding.
    head: RefCell<Vec<u8>>,
    /// HTTP/2 has no head of its own to time; its codec bounds it.
    pub(crate) multiplexed: Cell<bool>,
    pub(crate) known_key: KnownKey,
}

/// Of a head no more than this is kept; hyper refuses longer ones.
const HEAD_BYTES: usize = 32 << 10;

impl Activity {
    pub(crate) fn new(now: Instant) -> Rc<Activity> {
        Rc::new(Activity {
            requests: Cell::new(0),
            idle_since: Cell::new(now),
            head_since: Cell::new(None),
            head: RefCell::default(),
            multiplexed: Cell::new(false),
            known_key: KnownKey::default(),
        })
    }

    /// A request's head is complete; returns when it began to arrive.
    pub(crate) fn begin(&self) -> Instant {
        self.requests.set(self.requests.get() + 1);
        self.head_since.take().unwrap_or_else(Instant::now)
    }

    /// A request is over: its reply was sent or dropped.
    pub(crate) fn end(&self) {
        self.requests.set(self.requests.get().saturating_sub(1));
        self.idle_since.set(Instant::now());
        let mut head = self.head.borrow_mut();
        head.clear();
        // One long head should not stay with an idle connection for ever.
        head.shrink_to(1 << 10);
    }

    /// Whether the head that was just read names both Content-Length and Transfer-Encoding. Only called for the rare chunked request.
    pub(crate) fn framing_conflicts(&self) -> bool {
        let head = self.head.borrow();
        let head = memchr::memmem::find(&head, b"\r\n\r\n").map_or(head.as_slice(), |end| &head[..end]);
        head.split(|byte| *byte == b'\n')
            .any(|line| line.split(|byte| *byte == b':').next().is_some_and(|name| name.eq_ignore_ascii_case(b"content-length")))
    }

    fn is_idle(&self) -> bool {
        self.requests.get() == 0
    }

    fn arrived(&self, bytes: &[u8]) {
        if !self.is_idle() || self.multiplexed.get() {
            return;
        }
        if self.head_since.get().is_none() {
            self.head_since.set(Some(Instant::now()));
        }
        let mut head = self.head.borrow_mut();
        let room = HEAD_BYTES - head.len().min(HEAD_BYTES);
        head.extend_from_slice(&bytes[..bytes.len().min(room).min(HEAD_BYTES)]);
    }

    /// Until when the client may be silent now; `None` while it waits for us.
    fn patience(&self, limits: &ClientLimits) -> Option<Instant> {
        if !self.is_idle() {
            return None;
        }
        Some(match self.head_since.get() {
            Some(since) => since + limits.head,
            None => self.idle_since.get() + limits.idle,
        })
    }
}

/// Time limits towards a client.
#[derive(Clone, Copy)]
pub(crate) struct ClientLimits {
    pub(crate) head: Duration,
    pub(crate) idle: Duration,
    pub(crate) write_stall: Duration,
}

impl ClientLimits {
    pub(crate) fn of(timeouts: &Timeouts) -> ClientLimits {
        ClientLimits {
            head: Duration::from_millis(timeouts.client_head_ms),
            idle: Duration::from_millis(timeouts.client_idle_ms),
            write_stall: Duration::from_millis(timeouts.write_stall_ms),
        }
    }
}

/// A socket that gives up on a client that is too slow.
pub(crate) struct Guarded<S> {
    socket: S,
    activity: Rc<Activity>,
    limits: ClientLimits,
    silence: Option<Deadline>,
    stall: Option<Deadline>,
    stalled: bool,
}

impl<S> Guarded<S> {
    pub(crate) fn new(socket: S, activity: Rc<Activity>, limits: ClientLimits) -> Guarded<S> {
        Guarded { socket, activity, limits, silence: None, stall: None, stalled: false }
    }

    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(until) = self.activity.patience(&self.limits) else {
            return Poll::Pending;
        };
        let silence = self.silence.get_or_insert_with(|| Deadline::at(until));
        silence.set(until);
        silence.poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Looks at the outcome of a write: while the client takes nothing, the stall timer runs.
    fn watch<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = false;
            return written;
        }
        let until = || Instant::now() + self.limits.write_stall;
        match &mut self.stall {
            Some(stall) if self.stalled => return stall.poll(context).map(|()| Err(io::ErrorKind::TimedOut.into())),
            Some(stall) => stall.set(until()),
            None => self.stall = Some(Deadline::at(until())),
        }
        self.stalled = true;
        match &mut self.stall {
            Some(stall) => stall.poll(context).map(|()| Err(io::ErrorKind::TimedOut.into())),
            None => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(&mut this.socket).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {
                this.activity.arrived(&buffer.filled()[before..]);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => this.poll_silence(context),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write(context, bytes);
        this.watch(written, context)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write_vectored(context, slices);
        this.watch(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.socket).poll_flush(context);
        this.watch(flushed, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}
