//! One client connection: which protocol it speaks, and its requests handed to the pipeline until it ends.

use crate::pipeline::{self, Arrival, ReplyBody};
use crate::server::guard::{Activity, ClientLimits, Guarded};
use crate::server::worker::Worker;
use fairlead_snapshot::Settings;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::TcpStream as StdTcpStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

/// What an HTTP/2 client sends first (RFC 9113 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// hyper's read buffer: bodies are read in pieces of up to this.
const READ_BUFFER_BYTES: usize = 400 << 10;

/// Serves a connection until it ends, by itself, by a limit or by a drain.
pub(crate) async fn serve(worker: Rc<Worker>, stream: StdTcpStream) {
    let Ok(stream) = TcpStream::from_std(stream) else {
        return;
    };
    let snapshot = worker.shared.snapshot();
    let settings = &snapshot.settings;
    let client = ClientLimits::of(&settings.timeouts);
    match &worker.shared.server_tls {
        None => {
            let wait = client.idle;
            if let Ok(Ok(http2)) = timeout(wait, speaks_http2(&stream)).await {
                serve_protocol(&worker, stream, http2, settings, client).await;
            }
        }
        Some(config) => {
            let handshake = TlsAcceptor::from(config.clone()).accept(stream);
            if let Ok(Ok(stream)) = timeout(Duration::from_millis(settings.timeouts.tls_ms), handshake).await {
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                serve_protocol(&worker, stream, http2, settings, client).await;
            }
        }
    }
}

/// Looks at the first bytes without taking them.
async fn speaks_http2(stream: &TcpStream) -> std::io::Result<bool> {
    let mut first = [0; HTTP2_PREFACE.len()];
    loop {
        let seen = stream.peek(&mut first).await?;
        if seen == 0 || first[..seen] != HTTP2_PREFACE[..seen] {
            return Ok(false);
        }
        if seen == first.len() {
            return Ok(true);
        }
        // Part of the preface: the rest is on its way, and a peek returns at once while anything is there.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn serve_protocol<S>(worker: &Rc<Worker>, socket: S, is_http2: bool, settings: &Settings, client: ClientLimits)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let activity = Activity::new(Instant::now());
    activity.multiplexed.set(is_http2);
    let io = TokioIo::new(Guarded::new(socket, activity.clone(), client));
    let service = service_fn(|request: Request<Incoming>| answer(worker.clone(), activity.clone(), request));
    if is_http2 {
        let mut builder = http2::Builder::new(LocalExecutor);
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(settings.limits.http2_streams)
            .max_header_list_size(settings.limits.header_bytes as u32)
            .keep_alive_interval(client.idle)
            .keep_alive_timeout(client.head);
        until_drained(worker, builder.serve_connection(io, service), |connection| connection.graceful_shutdown()).await;
    } else {
        let mut builder = http1::Builder::new();
        builder
            .max_headers(settings.limits.headers)
            .max_header_size(settings.limits.header_bytes)
            .max_buf_size(READ_BUFFER_BYTES)
            .half_close(false);
        until_drained(worker, builder.serve_connection(io, service), |connection| connection.graceful_shutdown()).await;
    }
}

/// Runs a connection; when the drain begins it is told once to end after what is in progress.
async fn until_drained<C>(worker: &Rc<Worker>, connection: C, shut_down: impl Fn(Pin<&mut C>))
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    let place = poll_fn(|context| Poll::Ready(worker.enter(context.waker().clone()))).await;
    let mut told = false;
    let outcome = poll_fn(|context| {
        if !told && worker.draining() {
            told = true;
            shut_down(connection.as_mut());
        }
        connection.as_mut().poll(context)
    })
    .await;
    worker.leave(place);
    // How a connection ends is the client's affair; what it cost us is settled by the requests themselves.
    drop(outcome);
}

async fn answer(worker: Rc<Worker>, activity: Rc<Activity>, request: Request<Incoming>) -> Result<Response<Tracked>, Infallible> {
    let began = activity.begin();
    let tracked = Tracked::new(worker.clone(), activity.clone());
    let conflict = request.headers().contains_key(http::header::TRANSFER_ENCODING) && activity.framing_conflicts();
    let arrival = Arrival { began, conflict, known_key: &activity.known_key };
    let response = pipeline::answer(&worker, request, arrival).await;
    Ok(response.map(|body| tracked.with(body)))
}

/// A reply's body that tells its connection when it is over, however it ends.
pub(crate) struct Tracked {
    body: Carried,
    worker: Rc<Worker>,
    activity: Rc<Activity>,
}

enum Carried {
    Plain(ReplyBody),
    /// A stream on HTTP/2, where the socket may be writable although this reader takes nothing.
    Watched(Rc<RefCell<Watched>>),
}

impl Tracked {
    fn new(worker: Rc<Worker>, activity: Rc<Activity>) -> Tracked {
        worker.counters.requests_open.add(1);
        Tracked { body: Carried::Plain(ReplyBody::empty()), worker, activity }
    }

    fn with(mut self, body: ReplyBody) -> Tracked {
        self.body = match body {
            ReplyBody::Relay(_) if self.activity.multiplexed.get() => {
                let stall_ms = self.worker.shared.snapshot().settings.timeouts.write_stall_ms;
                Carried::Watched(Watched::start(body, Duration::from_millis(stall_ms)))
            }
            body => Carried::Plain(body),
        };
        self
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.worker.counters.requests_open.subtract(1);
        self.activity.end();
    }
}

impl http_body::Body for Tracked {
    type Data = bytes::Bytes;
    type Error = pipeline::Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        match &mut self.body {
            Carried::Plain(body) => Pin::new(body).poll_frame(context),
            Carried::Watched(watched) => watched.borrow_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.body, Carried::Plain(body) if body.is_end_stream())
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match &self.body {
            Carried::Plain(body) => body.size_hint(),
            Carried::Watched(_) => http_body::SizeHint::default(),
        }
    }
}

/// A stream that is given up when its reader opens no window for too long: a body that is not asked for looks at no clock itself.
struct Watched {
    body: Option<ReplyBody>,
    /// When a frame was last asked for, or became ready to be asked for.
    asked_at: Instant,
    /// Who waits for the provider, when the last answer was "not yet".
    waiting: Option<Waker>,
    /// A frame that came and has not been asked for.
    ready: Option<FramePoll>,
}

type FramePoll = Option<Result<http_body::Frame<bytes::Bytes>, pipeline::Broken>>;

impl Watched {
    fn start(body: ReplyBody, stall: Duration) -> Rc<RefCell<Watched>> {
        let watched = Rc::new(RefCell::new(Watched { body: Some(body), asked_at: Instant::now(), waiting: None, ready: None }));
        let weak = Rc::downgrade(&watched);
        tokio::task::spawn_local(async move {
            let mut until = Instant::now() + stall;
            loop {
                tokio::time::sleep_until(until).await;
                let Some(watched) = weak.upgrade() else { return };
                match watched.borrow_mut().look(stall) {
                    Some(next) => until = next,
                    None => return,
                }
            }
        });
        watched
    }

    /// When to look again; `None` once the reader has been given up.
    fn look(&mut self, stall: Duration) -> Option<Instant> {
        let now = Instant::now();
        if let Some(waker) = self.waiting.clone() {
            // Without a window nobody asks again when the provider's frame comes. So it is fetched here, and its reader told.
            let body = self.body.as_mut()?;
            let Poll::Ready(frame) = http_body::Body::poll_frame(Pin::new(body), &mut Context::from_waker(&waker)) else {
                return Some(now + stall);
            };
            (self.ready, self.waiting, self.asked_at) = (Some(frame), None, now);
            waker.wake();
        }
        if now < self.asked_at + stall {
            return Some(self.asked_at + stall);
        }
        // Dropping the stream settles it; if its reader ever asks for more, it gets a reset.
        (self.body, self.ready) = (None, None);
        None
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<FramePoll> {
        self.asked_at = Instant::now();
        if let Some(frame) = self.ready.take() {
            return Poll::Ready(frame);
        }
        let Some(body) = &mut self.body else {
            return Poll::Ready(Some(Err(pipeline::Broken("the client took nothing for too long"))));
        };
        let frame = http_body::Body::poll_frame(Pin::new(body), context);
        self.waiting = frame.is_pending().then(|| context.waker().clone());
        frame
    }
}

/// HTTP/2 runs its streams as tasks of the same thread.
#[derive(Clone)]
struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
