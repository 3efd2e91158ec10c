//! One request and its reply on one connection.

use super::Upstream;
use super::connection::{ConnectError, Connection, connect, connect_unix};
use bytes::{Bytes, BytesMut};
use fairlead_http1 as http1;
use fairlead_snapshot::{Origin, Timeouts};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// A request as it goes out: the head (with a small body behind it), then the body's slices, none of them copied.
pub(crate) struct Outgoing {
    head: Vec<u8>,
    body: Vec<Bytes>,
}

/// Slices given to one vectored write; more simply take another write.
const SLICES: usize = 16;

impl Outgoing {
    /// `head` ends with its blank line, or with a body that is not in `body`.
    pub(crate) fn new(head: Vec<u8>, body: Vec<Bytes>) -> Outgoing {
        Outgoing { head, body }
    }

    fn pieces(&self) -> usize {
        1 + self.body.len()
    }

    fn piece(&self, index: usize) -> &[u8] {
        match index.checked_sub(1) {
            None => &self.head,
            Some(index) => &self.body[index],
        }
    }
}

/// Timeouts of one exchange.
#[derive(Clone, Copy)]
pub(crate) struct Waits {
    /// From the request written to the reply's head.
    pub(crate) head: Duration,
    /// Silence while bytes are due.
    pub(crate) idle: Duration,
}

impl Waits {
    pub(crate) fn of(timeouts: &Timeouts) -> Waits {
        Waits { head: Duration::from_millis(timeouts.upstream_head_ms), idle: Duration::from_millis(timeouts.idle_ms) }
    }
}

/// Why an exchange failed.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// No connection: nothing was sent.
    Connect(ConnectError),
    /// Writing the request failed.
    Write,
    /// Reading the reply failed.
    Read,
    /// The connection closed before a reply began.
    Closed,
    /// The connection closed before the reply was complete.
    Truncated,
    /// No reply head in time.
    HeadTimeout,
    /// Silence in the middle of the reply or while taking the request.
    IdleTimeout,
    /// The reply is larger than allowed.
    TooLarge,
    /// The reply breaks HTTP.
    Protocol(http1::Error),
}

impl ExchangeError {
    /// A stable word for records and metrics.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            ExchangeError::Connect(ConnectError::Resolve(_)) => "resolve_failed",
            ExchangeError::Connect(ConnectError::Connect(_)) => "connect_failed",
            ExchangeError::Connect(ConnectError::Tls(_)) => "tls_failed",
            ExchangeError::Connect(ConnectError::Timeout(_)) => "connect_timeout",
            ExchangeError::Write => "write_failed",
            ExchangeError::Read => "read_failed",
            ExchangeError::Closed => "closed_before_reply",
            ExchangeError::Truncated => "truncated",
            ExchangeError::HeadTimeout => "head_timeout",
            ExchangeError::IdleTimeout => "idle_timeout",
            ExchangeError::TooLarge => "reply_too_large",
            ExchangeError::Protocol(_) => "protocol_error",
        }
    }

    /// Whether time ran out, as opposed to something having broken.
    pub(crate) const fn is_timeout(&self) -> bool {
        matches!(self, ExchangeError::HeadTimeout | ExchangeError::IdleTimeout | ExchangeError::Connect(ConnectError::Timeout(_)))
    }

    /// Whether a kept-alive connection may simply have been closed by the peer while it was idle.
    const fn may_be_stale(&self) -> bool {
        matches!(self, ExchangeError::Write | ExchangeError::Read | ExchangeError::Closed)
    }
}

impl std::fmt::Display for ExchangeError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ExchangeError::Connect(error) => error.fmt(formatter),
            ExchangeError::Write => formatter.write_str("the connection broke while the request was sent"),
            ExchangeError::Read => formatter.write_str("the connection broke while the reply was read"),
            ExchangeError::Closed => formatter.write_str("it closed the connection without a reply"),
            ExchangeError::Truncated => formatter.write_str("it closed the connection in the middle of the reply"),
            ExchangeError::HeadTimeout => formatter.write_str("it did not begin to reply in time"),
            ExchangeError::IdleTimeout => formatter.write_str("it fell silent in the middle of the reply"),
            ExchangeError::TooLarge => formatter.write_str("its reply is larger than allowed"),
            ExchangeError::Protocol(error) => write!(formatter, "its reply is not valid HTTP/1.1: {error}"),
        }
    }
}

/// Where a connection goes back to.
#[derive(Clone)]
enum Home {
    Pool(Arc<Origin>),
    /// The control plane's socket: opened per request, closed after it.
    None,
}

/// How far a request has got: for whoever must know it after the request failed or its future is gone.
#[derive(Default)]
pub(crate) struct Dispatch {
    /// When all of it had been handed to the connection that is tried now; `None` before that.
    pub(crate) sent_at: Cell<Option<Instant>>,
    /// It went out on a kept-alive connection first, which turned out to be dead.
    pub(crate) stale: Cell<Option<Stale>>,
    /// What is to be done once it has been sent. Quick, as the reply waits for it.
    pub(crate) then: Cell<Option<Box<dyn FnOnce()>>>,
}

/// A kept-alive connection that was dead.
#[derive(Clone, Copy)]
pub(crate) struct Stale {
    /// All of the request had been handed to it, so it is not certain that the provider has not seen it.
    pub(crate) sent: bool,
    /// What went wrong, as [`ExchangeError::word`] has it.
    pub(crate) word: &'static str,
    /// When that was known.
    pub(crate) failed_at: Instant,
}

/// A connection that dies this soon after a whole request was dead before. Later the provider may have been at work.
const STALE_WITHIN: Duration = Duration::from_millis(100);

/// A reply whose head has arrived.
pub(crate) struct Exchange {
    connection: Box<Connection>,
    home: Home,
    body: http1::Body,
    head: Bytes,
    read_bytes: usize,
    idle: Duration,
    ended: bool,
    /// When the whole request had been written.
    pub(crate) sent_at: Instant,
    /// When the head was complete.
    pub(crate) head_at: Instant,
    /// When bytes last came.
    pub(crate) read_at: Instant,
}

/// What one step of reading gave.
pub(crate) enum Fill {
    /// Payload, framing removed; never empty.
    Payload(Bytes),
    /// The reply is complete.
    End,
}

/// Reads go through a buffer of the thread and are copied out in their own size: what waits for a provider holds no buffer, and many
/// slow streams share a few warm cache lines. A reply that fills it is read in place instead, with more and more room.
const SHARED_READ_BYTES: usize = 16 << 10;
const LARGEST_READ_BYTES: usize = 256 << 10;

thread_local! {
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; SHARED_READ_BYTES].into_boxed_slice());
}

/// Payload pieces at least this long are passed on as slices; shorter ones of one read are joined.
const SLICE_FROM_BYTES: usize = 4 << 10;

/// How long the answer of a peer is awaited that closed while the request was being written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Most interim heads (100, 103) before the final one.
const INTERIM_HEADS: usize = 8;

impl Dispatch {
    /// Of a request that has just failed: whether its connection had nothing to do with that.
    fn died_at_once(&self) -> bool {
        self.sent_at.get().is_none_or(|sent_at| sent_at.elapsed() <= STALE_WITHIN)
    }
}

impl Exchange {
    /// Sends a request to an origin and waits for the reply's head. A reused connection that turns out to be dead is replaced once by
    /// a fresh one: no reply byte came, and it took less than the whole request or broke at once.
    pub(crate) async fn open(
        upstream: &Upstream,
        origin: &Arc<Origin>,
        outgoing: &Outgoing,
        timeouts: &Timeouts,
        jitter: u32,
        now: Instant,
        dispatch: &Dispatch,
    ) -> Result<Exchange, ExchangeError> {
        let waits = Waits::of(timeouts);
        let pooled = upstream.pool.take(origin, now, Duration::from_millis(timeouts.pool_idle_ms));
        if let Some(connection) = pooled {
            match Exchange::run(connection, Home::Pool(origin.clone()), outgoing, waits, now, dispatch).await {
                Err(Failed { error, replied: false }) if error.may_be_stale() && dispatch.died_at_once() => {
                    let stale = Stale { sent: dispatch.sent_at.take().is_some(), word: error.word(), failed_at: Instant::now() };
                    dispatch.stale.set(Some(stale));
                }
                Err(failed) => return Err(failed.error),
                Ok(exchange) => return Ok(exchange),
            }
        }
        // Boxed: a handshake is rare, and large.
        let connection = Box::pin(connect(upstream, origin, timeouts, jitter)).await.map_err(ExchangeError::Connect)?;
        let home = Home::Pool(origin.clone());
        Exchange::run(connection, home, outgoing, waits, Instant::now(), dispatch).await.map_err(|failed| failed.error)
    }

    /// Sends a request to the control plane's socket.
    pub(crate) async fn open_unix(path: &str, outgoing: &Outgoing, waits: Waits) -> Result<Exchange, ExchangeError> {
        let connection = connect_unix(path).await.map_err(|error| ExchangeError::Connect(ConnectError::Connect(error.to_string())))?;
        Exchange::run(connection, Home::None, outgoing, waits, Instant::now(), &Dispatch::default()).await.map_err(|failed| failed.error)
    }

    async fn run(
        mut connection: Box<Connection>,
        home: Home,
        outgoing: &Outgoing,
        waits: Waits,
        now: Instant,
        dispatch: &Dispatch,
    ) -> Result<Exchange, Failed> {
        let limits = http1::Limits::default();
        connection.deadline.set(now + waits.idle);
        let mut progress = Progress::default();
        let early = poll_fn(|context| poll_write_all(&mut connection, outgoing, &mut progress, waits.idle, context))
            .await
            .map_err(|error| Failed { error, replied: false })?;
        let sent_at = Instant::now();
        dispatch.sent_at.set(Some(sent_at));
        if let Some(then) = dispatch.then.take() {
            then();
        }
        connection.deadline.set(sent_at + waits.head);
        let mut interim = 0;
        let head = poll_fn(|context| poll_head(&mut connection, &limits, &mut interim, context)).await?;
        let head_at = Instant::now();
        let body = http1::Body::new(connection.head.framing, &limits);
        // A reply to half a request leaves the connection in a state that nobody can use again.
        connection.head.keep_alive &= !early;
        Ok(Exchange {
            connection,
            home,
            body,
            head,
            read_bytes: SHARED_READ_BYTES,
            idle: waits.idle,
            ended: false,
            sent_at,
            head_at,
            read_at: head_at,
        })
    }

    /// The reply's status.
    pub(crate) fn status(&self) -> u16 {
        self.connection.head.status
    }

    /// A header of the reply, by lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        self.connection.head.header(&self.head, name)
    }

    /// All headers of the reply.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.connection.head.headers(&self.head)
    }

    /// The announced length of the body, if it has one.
    pub(crate) fn length(&self) -> Option<u64> {
        match self.connection.head.framing {
            http1::Framing::Length(length) => Some(length),
            http1::Framing::Empty => Some(0),
            http1::Framing::Chunked | http1::Framing::UntilClose => None,
        }
    }

    /// When the provider has been silent for too long.
    pub(crate) fn silent_at(&self) -> Instant {
        self.read_at + self.idle
    }

    /// The timer of this exchange: ready when `at` has passed. Ask it only after [`Exchange::poll_fill`] was pending.
    pub(crate) fn poll_until(&mut self, at: Instant, context: &mut Context<'_>) -> Poll<()> {
        self.connection.deadline.set(at);
        self.connection.deadline.poll(context)
    }

    /// The next payload. Errors are final. Watches no clock: see [`Exchange::poll_until`].
    pub(crate) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<Result<Fill, ExchangeError>> {
        loop {
            if let Some(payload) = self.decode()? {
                return Poll::Ready(Ok(Fill::Payload(payload)));
            }
            if self.body.is_done() {
                self.ended = true;
                return Poll::Ready(Ok(Fill::End));
            }
            let read = ready!(self.poll_read(context))?;
            if read == 0 {
                self.body.finish().map_err(|error| {
                    if matches!(error, http1::Error::Truncated) { ExchangeError::Truncated } else { ExchangeError::Protocol(error) }
                })?;
            } else {
                self.read_at = Instant::now();
            }
        }
    }

    /// Gives the connection back for reuse if this exchange left it in a state where that is safe; otherwise it is closed.
    pub(crate) fn release(self, upstream: &Upstream, most_idle: usize) {
        let reusable = self.ended && self.connection.head.keep_alive && self.connection.received.is_empty();
        if let (true, Home::Pool(origin)) = (reusable, &self.home) {
            upstream.pool.put(origin, self.connection, self.read_at, most_idle);
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<usize, ExchangeError>> {
        let read = match ready!(poll_receive(&mut self.connection, self.read_bytes, context)) {
            Ok(read) => read,
            // A missing close_notify is judged by the framing, like any other end.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(_) => return Poll::Ready(Err(ExchangeError::Read)),
        };
        if read >= self.read_bytes {
            self.read_bytes = (self.read_bytes * 2).min(LARGEST_READ_BYTES);
        } else if read < SHARED_READ_BYTES / 2 {
            self.read_bytes = SHARED_READ_BYTES;
        }
        Poll::Ready(Ok(read))
    }

    /// Takes the payload out of what was received: a slice where it lies in one piece, joined where many small chunks came at once.
    fn decode(&mut self) -> Result<Option<Bytes>, ExchangeError> {
        let received = &mut self.connection.received;
        let mut joined = BytesMut::new();
        while !received.is_empty() {
            let step = self.body.step(received).map_err(ExchangeError::Protocol)?;
            if step.consumed == 0 {
                break;
            }
            let payload = step.payload;
            let last = step.consumed == received.len() || self.body.is_done();
            if joined.is_empty() && (last || payload.len() >= SLICE_FROM_BYTES) {
                let taken = received.split_to(step.consumed).freeze();
                if payload.is_empty() {
                    continue;
                }
                return Ok(Some(taken.slice(payload)));
            }
            if joined.is_empty() {
                joined.reserve(received.len());
            }
            joined.extend_from_slice(&received[payload]);
            let _ = received.split_to(step.consumed);
        }
        Ok((!joined.is_empty()).then(|| joined.freeze()))
    }
}

/// Why an exchange did not get as far as a head, and whether any byte of a reply had come.
struct Failed {
    error: ExchangeError,
    replied: bool,
}

/// How much of a request has been written.
#[derive(Default)]
struct Progress {
    piece: usize,
    offset: usize,
    /// Writing failed; only what the peer may have said is of interest now.
    broken: bool,
}

impl Progress {
    fn advance(&mut self, outgoing: &Outgoing, mut written: usize) {
        while self.piece < outgoing.pieces() {
            let left = outgoing.piece(self.piece).len() - self.offset;
            if written < left {
                self.offset += written;
                return;
            }
            written -= left;
            self.piece += 1;
            self.offset = 0;
        }
    }
}

/// Writes the whole request. `Ok(true)` when a reply began before that: then the rest is not sent.
fn poll_write_all(
    connection: &mut Connection,
    outgoing: &Outgoing,
    progress: &mut Progress,
    idle: Duration,
    context: &mut Context<'_>,
) -> Poll<Result<bool, ExchangeError>> {
    while progress.piece < outgoing.pieces() {
        match poll_write_some(connection, outgoing, progress, context) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(ExchangeError::Write)),
            Poll::Ready(Ok(written)) => {
                progress.advance(outgoing, written);
                if progress.piece < outgoing.pieces() {
                    connection.deadline.set(Instant::now() + idle);
                }
            }
            Poll::Ready(Err(_)) => {
                // The peer may have refused the request and closed: its words are worth more than our error, and may be on their way.
                progress.piece = outgoing.pieces();
                progress.broken = true;
                connection.deadline.set(Instant::now() + LAST_WORDS);
            }
            Poll::Pending => {
                return match pin!(connection.io.read_buf(&mut connection.received)).poll(context) {
                    Poll::Ready(Ok(0)) => Poll::Ready(Err(ExchangeError::Closed)),
                    Poll::Ready(Ok(_)) => Poll::Ready(Ok(true)),
                    Poll::Ready(Err(_)) => Poll::Ready(Err(ExchangeError::Read)),
                    Poll::Pending => {
                        ready!(connection.deadline.poll(context));
                        Poll::Ready(Err(ExchangeError::IdleTimeout))
                    }
                };
            }
        }
    }
    if progress.broken {
        return match pin!(connection.io.read_buf(&mut connection.received)).poll(context) {
            Poll::Ready(Ok(read)) if read > 0 => Poll::Ready(Ok(true)),
            Poll::Ready(_) => Poll::Ready(Err(ExchangeError::Write)),
            Poll::Pending => connection.deadline.poll(context).map(|()| Err(ExchangeError::Write)),
        };
    }
    match Pin::new(&mut connection.io).poll_flush(context) {
        Poll::Ready(result) => Poll::Ready(result.map(|()| false).map_err(|_| ExchangeError::Write)),
        Poll::Pending => {
            ready!(connection.deadline.poll(context));
            Poll::Ready(Err(ExchangeError::IdleTimeout))
        }
    }
}

fn poll_write_some(
    connection: &mut Connection,
    outgoing: &Outgoing,
    progress: &Progress,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let first = &outgoing.piece(progress.piece)[progress.offset..];
    let rest = progress.piece + 1..outgoing.pieces();
    if rest.is_empty() {
        return Pin::new(&mut connection.io).poll_write(context, first);
    }
    let mut slices = [IoSlice::new(&[]); SLICES];
    slices[0] = IoSlice::new(first);
    let mut count = 1;
    for (slot, index) in slices[1..].iter_mut().zip(rest) {
        *slot = IoSlice::new(outgoing.piece(index));
        count += 1;
    }
    Pin::new(&mut connection.io).poll_write_vectored(context, &slices[..count])
}

/// Reads what has come, up to about `most` bytes; 0 at the end.
fn poll_receive(connection: &mut Connection, most: usize, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let Connection { io, received, .. } = connection;
    if most <= SHARED_READ_BYTES {
        return SHARED.with_borrow_mut(|shared| {
            let mut buffer = ReadBuf::new(shared);
            ready!(Pin::new(io).poll_read(context, &mut buffer))?;
            received.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        });
    }
    if received.capacity() - received.len() < most / 2 {
        received.reserve(most);
    }
    pin!(io.read_buf(received)).poll(context)
}

/// Reads until the reply's head is complete and returns its bytes; interim heads are dropped.
fn poll_head(
    connection: &mut Connection,
    limits: &http1::Limits,
    interim: &mut usize,
    context: &mut Context<'_>,
) -> Poll<Result<Bytes, Failed>> {
    loop {
        while !connection.received.is_empty() {
            let failed = |error| Failed { error: ExchangeError::Protocol(error), replied: true };
            // No request of ours is a HEAD.
            match connection.head.parse(&connection.received, false, limits).map_err(failed)? {
                http1::Parsed::Complete => return Poll::Ready(Ok(connection.received.split_to(connection.head.len).freeze())),
                http1::Parsed::Partial => break,
                http1::Parsed::Interim { len } => {
                    *interim += 1;
                    if *interim > INTERIM_HEADS {
                        return Poll::Ready(Err(failed(http1::Error::HeadTooLarge)));
                    }
                    let _ = connection.received.split_to(len);
                }
            }
        }
        // An interim head is an answer too: whoever sent it has seen the request.
        let replied = *interim > 0 || !connection.received.is_empty();
        let failed = |error| Poll::Ready(Err(Failed { error, replied }));
        match poll_receive(connection, SHARED_READ_BYTES, context) {
            Poll::Ready(Ok(0)) => return failed(if replied { ExchangeError::Truncated } else { ExchangeError::Closed }),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(_)) => return failed(ExchangeError::Read),
            Poll::Pending => {
                ready!(connection.deadline.poll(context));
                return failed(ExchangeError::HeadTimeout);
            }
        }
    }
}
