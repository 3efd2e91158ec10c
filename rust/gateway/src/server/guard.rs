//! A client's socket with its time limits (slow heads, idle connections, readers that do not read), and with words where hyper has none.

use super::arriving::{Arriving, Framing};
use super::passing::Passing;
use crate::pipeline::{self, KnownKey};
use crate::routes::{self, Face};
use crate::upstream::Deadline;
use fairlead_snapshot::Settings;
use memchr::memmem;
use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What a connection is doing, shared between its socket and its requests.
pub(crate) struct Activity {
    /// Requests in progress: HTTP/2 has several.
    requests: Cell<u32>,
    /// When the last request ended, or the connection was made.
    idle_since: Cell<Instant>,
    /// HTTP/1.1's requests as they come. HTTP/2 has no heads of its own to time; its codec bounds them.
    passing: RefCell<Passing>,
    pub(crate) is_http2: bool,
    pub(crate) known_key: KnownKey,
}

impl Activity {
    pub(crate) fn new(now: Instant, is_http2: bool) -> Rc<Activity> {
        Rc::new(Activity {
            requests: Cell::new(0),
            idle_since: Cell::new(now),
            passing: RefCell::default(),
            is_http2,
            known_key: KnownKey::default(),
        })
    }

    /// A request's head is complete; returns when it began to arrive, and what was seen of it.
    pub(crate) fn begin(&self) -> (Instant, Framing) {
        self.requests.set(self.requests.get() + 1);
        self.passing.borrow_mut().begin().unwrap_or_else(|| (Instant::now(), Framing::Unseen))
    }

    /// A request is over: its reply was sent or dropped.
    pub(crate) fn end(&self) {
        self.requests.set(self.requests.get().saturating_sub(1));
        self.idle_since.set(Instant::now());
        self.passing.borrow_mut().end();
    }

    fn is_idle(&self) -> bool {
        self.requests.get() == 0
    }

    fn arrived(&self, bytes: &[u8], at: impl Fn() -> Instant) {
        if !self.is_http2 {
            self.passing.borrow_mut().pass(bytes, !self.is_idle(), at);
        }
    }

    /// Until when the client may be silent now; `None` while it waits for us.
    fn patience(&self, limits: &ClientLimits) -> Option<Instant> {
        if !self.is_idle() {
            return None;
        }
        Some(match self.passing.borrow().head() {
            Some(head) => head.since + limits.head,
            None => self.idle_since.get() + limits.idle,
        })
    }

    /// The face of an error about the head that is now being read, where one has begun.
    fn face(&self) -> Option<Face> {
        self.passing.borrow().head().map(Arriving::face)
    }
}

/// Limits towards a client.
#[derive(Clone, Copy)]
pub(crate) struct ClientLimits {
    pub(crate) head: Duration,
    pub(crate) idle: Duration,
    pub(crate) write_stall: Duration,
    pub(crate) header_bytes: usize,
    pub(crate) headers: usize,
}

impl ClientLimits {
    pub(crate) fn of(settings: &Settings) -> ClientLimits {
        let (timeouts, limits) = (&settings.timeouts, &settings.limits);
        ClientLimits {
            head: Duration::from_millis(timeouts.client_head_ms),
            idle: Duration::from_millis(timeouts.client_idle_ms),
            write_stall: Duration::from_millis(timeouts.write_stall_ms),
            header_bytes: limits.header_bytes,
            headers: limits.headers,
        }
    }

    /// The reply to a head that will never be a request.
    fn refuse_head(&self, face: Face, status: u16) -> Vec<u8> {
        pipeline::refuse_head(face, status, self.header_bytes, self.headers)
    }
}

/// What was read of a connection to learn its protocol, and is still to be read by who speaks it.
pub(crate) struct First {
    pub(crate) bytes: Vec<u8>,
    /// When the first of them came.
    pub(crate) since: Instant,
}

/// A socket that gives up on a client that is too slow.
pub(crate) struct Guarded<S> {
    socket: S,
    first: First,
    activity: Rc<Activity>,
    limits: ClientLimits,
    silence: Option<Deadline>,
    stall: Option<Deadline>,
    stalled: bool,
    /// Our reply in place of hyper's bare one, and how much of it has been written.
    refusal: Option<(Vec<u8>, usize)>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guarded<S> {
    pub(crate) fn new(socket: S, first: First, activity: Rc<Activity>, limits: ClientLimits) -> Guarded<S> {
        Guarded { socket, first, activity, limits, silence: None, stall: None, stalled: false, refusal: None }
    }

    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(until) = self.activity.patience(&self.limits) else {
            return Poll::Pending;
        };
        let silence = self.silence.get_or_insert_with(|| Deadline::at(until));
        silence.set(until);
        ready!(silence.poll(context));
        if let Some(face) = self.activity.face() {
            let reply = self.limits.refuse_head(face, 408);
            // Nothing else has been written on this connection lately, so it fits; who sends no head may miss it.
            let _ = Pin::new(&mut self.socket).poll_write(context, &reply);
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
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

    /// hyper refuses a head with a status and nothing else. Such a reply is replaced by one in the caller's dialect; `None` for any other.
    fn poll_refusal(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Option<Poll<io::Result<usize>>> {
        if self.refusal.is_none() {
            if self.activity.is_http2 || !self.activity.is_idle() {
                return None;
            }
            let status = bare_refusal(bytes)?;
            let face = self.activity.face().unwrap_or_else(|| routes::face(""));
            self.refusal = Some((self.limits.refuse_head(face, status), 0));
        }
        let (reply, sent) = self.refusal.as_mut()?;
        while *sent < reply.len() {
            match Pin::new(&mut self.socket).poll_write(context, &reply[*sent..]) {
                Poll::Ready(Ok(0)) => return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Ok(written)) => *sent += written,
                other => return Some(self.watch(other, context)),
            }
        }
        // hyper believes that its own words went out; there is nothing behind them.
        Some(Poll::Ready(Ok(bytes.len())))
    }
}

/// The status of a whole HTTP/1.1 reply of the 4xx kind without a body. Our own always have one, or its length in answer to HEAD.
fn bare_refusal(bytes: &[u8]) -> Option<u16> {
    let status = bytes.strip_prefix(b"HTTP/1.1 ")?.first_chunk::<3>()?;
    let bare = status[0] == b'4' && bytes.ends_with(b"\r\n\r\n") && memmem::find(bytes, b"\r\ncontent-length: 0\r\n").is_some();
    std::str::from_utf8(status).ok()?.parse().ok().filter(|_| bare)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if !this.first.bytes.is_empty() {
            let taken = this.first.bytes.len().min(buffer.remaining());
            buffer.put_slice(&this.first.bytes[..taken]);
            // Not kept as an empty buffer: a connection lives long.
            this.first.bytes = this.first.bytes.split_off(taken);
            this.activity.arrived(&buffer.filled()[before..], || this.first.since);
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut this.socket).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {
                this.activity.arrived(&buffer.filled()[before..], Instant::now);
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
        if let Some(refused) = this.poll_refusal(context, bytes) {
            return refused;
        }
        let written = Pin::new(&mut this.socket).poll_write(context, bytes);
        this.watch(written, context)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let [only] = slices
            && let Some(refused) = this.poll_refusal(context, only)
        {
            return refused;
        }
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

#[cfg(test)]
mod tests {
    use super::bare_refusal;

    #[test]
    fn only_replies_without_a_body_are_hypers() {
        for (reply, status) in [
            ("HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", Some(400)),
            ("HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\ndate: now\r\n\r\n", Some(431)),
            ("HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 119\r\n\r\n", None),
            ("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}", None),
            ("HTTP/1.1 200 OK\r\n\r\n", None),
            ("HTTP/1.1 100 Continue\r\n\r\n", None),
            ("data: x\n\n", None),
        ] {
            assert_eq!(bare_refusal(reply.as_bytes()), status, "{reply}");
        }
    }
}
