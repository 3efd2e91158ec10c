//! One client connection: which protocol it speaks, and its requests handed to the pipeline until it ends.

use crate::pipeline::{self, Arrival, Arriving, Caller, ReplyBody};
use crate::server::arriving::Framing;
use crate::server::guard::{Activity, ClientLimits, First, Guarded};
use crate::server::window::{StreamExecutor, Window};
use crate::worker::Worker;
use bytes::Bytes;
use fairlead_snapshot::Settings;
use http::{Method, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::TcpStream as StdTcpStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

/// What an HTTP/2 client sends first (RFC 9113 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// hyper's read buffer: bodies are read in pieces of up to this.
const READ_BUFFER_BYTES: usize = 400 << 10;

/// HTTP/2's codec answers a header list beyond its limit with a bare 431 or a GOAWAY. One that is only somewhat larger than ours is read,
/// so that the pipeline can say what is wrong with it; more is not, because it would have to be kept.
const HTTP2_HEADERS_READ: usize = 2;

/// What hyper's first buffer holds.
const FIRST_READ_BYTES: usize = 8 << 10;

/// Serves a connection until it ends, by itself, by a limit or by a drain.
pub(crate) async fn serve(worker: Rc<Worker>, stream: StdTcpStream) {
    let Ok(stream) = TcpStream::from_std(stream) else {
        return;
    };
    let snapshot = worker.shared.snapshot();
    let settings = &snapshot.settings;
    match &worker.shared.server_tls {
        None => serve_plain(&worker, stream, settings).await,
        // What few connections are should not make the task of every connection larger.
        Some(config) => Box::pin(serve_tls(&worker, stream, TlsAcceptor::from(config.clone()), settings)).await,
    }
}

async fn serve_plain(worker: &Rc<Worker>, mut stream: TcpStream, settings: &Settings) {
    let limits = ClientLimits::of(settings);
    if let Some(first) = read_first(&mut stream, &limits).await {
        match first.bytes.starts_with(HTTP2_PREFACE) {
            true => Box::pin(serve_http2(worker, stream, first, settings, limits)).await,
            false => serve_http1(worker, stream, first, settings, limits).await,
        }
    }
}

async fn serve_tls(worker: &Rc<Worker>, stream: TcpStream, acceptor: TlsAcceptor, settings: &Settings) {
    let limits = ClientLimits::of(settings);
    if let Ok(Ok(stream)) = timeout(Duration::from_millis(settings.timeouts.tls_ms), acceptor.accept(stream)).await {
        let first = First { bytes: Vec::new(), since: Instant::now() };
        match stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            true => serve_http2(worker, stream, first, settings, limits).await,
            false => serve_http1(worker, stream, first, settings, limits).await,
        }
    }
}

/// Reads until the bytes show whether they are HTTP/2's preface. Usually that is one read, of a whole small request: it goes into hyper's
/// first buffer as it is. `None` when nothing came.
async fn read_first(stream: &mut TcpStream, limits: &ClientLimits) -> Option<First> {
    let mut bytes = Vec::with_capacity(FIRST_READ_BYTES);
    timeout(limits.idle, stream.read_buf(&mut bytes)).await.ok()?.ok().filter(|read| *read > 0)?;
    let since = Instant::now();
    while bytes.len() < HTTP2_PREFACE.len() && HTTP2_PREFACE.starts_with(&bytes) {
        // Whatever goes wrong, the protocol's own code meets it again and knows what to say.
        let read = timeout_at(since + limits.head, stream.read_buf(&mut bytes)).await;
        if !matches!(read, Ok(Ok(1..))) {
            break;
        }
    }
    bytes.shrink_to_fit();
    Some(First { bytes, since })
}

async fn serve_http1<S>(worker: &Rc<Worker>, socket: S, first: First, settings: &Settings, limits: ClientLimits)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let activity = Activity::new(Instant::now(), false);
    let io = TokioIo::new(Guarded::new(socket, first, activity.clone(), limits));
    let service = service_fn(|request| Box::pin(answer(worker.clone(), activity.clone(), request)));
    let mut builder = http1::Builder::new();
    builder
        .max_headers(settings.limits.headers)
        .max_header_size(settings.limits.header_bytes)
        .max_buf_size(READ_BUFFER_BYTES)
        .half_close(false);
    until_drained(worker, builder.serve_connection(io, service), |connection| connection.graceful_shutdown()).await;
}

async fn serve_http2<S>(worker: &Rc<Worker>, socket: S, first: First, settings: &Settings, limits: ClientLimits)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let activity = Activity::new(Instant::now(), true);
    let io = TokioIo::new(Guarded::new(socket, first, activity.clone(), limits));
    let service = service_fn(|request| Box::pin(answer(worker.clone(), activity.clone(), request)));
    let mut builder = http2::Builder::new(StreamExecutor(worker.clone()));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.limits.http2_streams)
        .max_header_list_size((settings.limits.header_bytes * HTTP2_HEADERS_READ) as u32)
        .keep_alive_interval(limits.idle)
        .keep_alive_timeout(limits.head);
    until_drained(worker, builder.serve_connection(io, service), |connection| connection.graceful_shutdown()).await;
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
        worker.counters.turn(|| connection.as_mut().poll(context))
    })
    .await;
    worker.leave(place);
    // How a connection ends is the client's affair; what it cost us is settled by the requests themselves.
    drop(outcome);
}

async fn answer(worker: Rc<Worker>, activity: Rc<Activity>, request: Request<Incoming>) -> Result<Response<Tracked>, Infallible> {
    let (began, framing) = activity.begin();
    let mut tracked = Tracked::new(worker.clone(), activity.clone());
    let headless = request.method() == Method::HEAD;
    let arrival = Arrival { began, misframed: misframed(&request, framing), caller: Caller::Client(&activity.known_key) };
    let response = pipeline::answer(&worker, request.map(Arriving::Wire), arrival).await;
    if headless {
        return Ok(without_body(response).map(|body| tracked.with(body)));
    }
    if activity.is_http2 {
        tracked.window = Some(Window::watch(&worker.shared.snapshot().settings.timeouts));
    }
    Ok(response.map(|body| tracked.with(body)))
}

/// What is wrong with the framing of a request that is not simply sized.
fn misframed(request: &Request<Incoming>, framing: Framing) -> Option<&'static str> {
    if request.version() == Version::HTTP_2 {
        return None;
    }
    if framing == Framing::Doubtful {
        return Some("the request tells twice, or not plainly, how long its body is; send one Content-Length or one Transfer-Encoding");
    }
    if !request.headers().contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    match framing {
        Framing::Seen { length: false } => None,
        Framing::Seen { length: true } => Some("the request has both Content-Length and Transfer-Encoding; send one of them"),
        _ => Some("a request with Transfer-Encoding is not accepted behind a body of so many pieces; send it on a new connection"),
    }
}

/// The answer to HEAD: HTTP/1.1 leaves the body out by itself, HTTP/2 does not.
fn without_body(mut response: Response<ReplyBody>) -> Response<ReplyBody> {
    if let Some(bytes) = response.body().size_hint().exact() {
        response.headers_mut().insert(header::CONTENT_LENGTH, bytes.into());
    }
    response.map(|_| ReplyBody::empty())
}

/// A reply's body that tells its connection when it is over, however it ends.
pub(crate) struct Tracked {
    body: ReplyBody,
    worker: Rc<Worker>,
    activity: Rc<Activity>,
    /// On HTTP/2, where the socket may be writable although this reader takes nothing.
    window: Option<Window>,
}

impl Tracked {
    fn new(worker: Rc<Worker>, activity: Rc<Activity>) -> Tracked {
        worker.counters.requests_open.add(1);
        Tracked { body: ReplyBody::empty(), worker, activity, window: None }
    }

    fn with(mut self, body: ReplyBody) -> Tracked {
        self.body = body;
        self
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.worker.counters.requests_open.subtract(1);
        self.activity.end();
    }
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = pipeline::Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        match &mut this.window {
            None => Pin::new(&mut this.body).poll_frame(context),
            Some(window) => window.poll_frame(&mut this.body, context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.window.as_ref().is_none_or(Window::is_drained)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
