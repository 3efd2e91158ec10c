//! The floor: the cheapest gateway that is still honest.
//!
//! It checks the caller's key (SHA-256, one hash map), finds and replaces the model name, forwards the rest of the body
//! as it came and streams the reply back as it arrives. Nothing else: no limits, ledger, journal, metrics, time-outs or
//! header policy. What a product costs above this is the price of its features; below it there is no gateway.
//!
//! Two variants differ in the upstream side only: [`Variant::Hand`] writes and reads HTTP/1.1 itself, [`Variant::Hyper`]
//! uses hyper's client.

mod hand;
mod pieces;
mod plain;
mod splice;

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ring::digest;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use pieces::Pieces;

/// Connections that may wait for `accept`.
const BACKLOG: i32 = 1024;
/// Largest request body, in bytes.
const MAX_BODY_BYTES: usize = 64 << 20;

/// How the floor talks to the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Hand-written HTTP/1.1 over the socket.
    Hand,
    /// hyper's client connection.
    Hyper,
}

/// What a floor serves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 picks one.
    pub listen: SocketAddr,
    /// The provider.
    pub upstream: SocketAddr,
    /// The one key that callers may use.
    pub key: String,
    /// The model name that callers use.
    pub model_from: String,
    /// The name that the provider gets instead.
    pub model_to: String,
    /// The upstream side.
    pub variant: Variant,
    /// Worker threads, each with its own runtime, listener and upstream pool.
    pub threads: usize,
}

/// A running floor. Its threads end with the process.
#[derive(Debug)]
pub struct Floor {
    /// The address it listens on.
    pub address: SocketAddr,
    /// Its workers; they never return on their own.
    pub workers: Vec<JoinHandle<io::Result<()>>>,
}

/// Binds and starts the workers.
///
/// # Errors
/// When the address cannot be bound or a thread cannot be started.
pub fn start(options: &Options) -> io::Result<Floor> {
    let gateway = Arc::new(Gateway::new(options)?);
    let mut address = options.listen;
    let mut workers = Vec::new();
    for index in 0..options.threads.max(1) {
        let listener = listen(address)?;
        address = listener.local_addr()?;
        let gateway = Arc::clone(&gateway);
        let name = format!("floor-{index}");
        workers.push(std::thread::Builder::new().name(name).spawn(move || work(listener, gateway))?);
    }
    Ok(Floor { address, workers })
}

/// Each worker has its own listening socket on the same port, so the kernel spreads the connections.
fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn work(listener: std::net::TcpListener, gateway: Arc<Gateway>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async move {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream, Arc::clone(&gateway)));
        }
    })
}

async fn serve(stream: TcpStream, gateway: Arc<Gateway>) {
    let service = service_fn(move |request| {
        let gateway = Arc::clone(&gateway);
        async move { Ok::<_, Infallible>(gateway.answer(request).await.unwrap_or_else(Refusal::into_response)) }
    });
    // A failed connection is its client's affair; the load generator counts it.
    let _ended = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

thread_local! {
    /// Idle upstream connections of this worker, newest last. One upstream, so one list.
    static IDLE_HAND: RefCell<Vec<hand::Connection>> = const { RefCell::new(Vec::new()) };
    static IDLE_HYPER: RefCell<Vec<plain::Connection>> = const { RefCell::new(Vec::new()) };
}

/// What every worker shares: all of it read-only.
struct Gateway {
    keys: HashMap<[u8; digest::SHA256_OUTPUT_LEN], Principal>,
    model_from: Vec<u8>,
    model_to: Bytes,
    upstream: SocketAddr,
    host: HeaderValue,
    authorization: HeaderValue,
    variant: Variant,
}

/// Who a key belongs to; the floor knows only that it is known.
struct Principal;

impl Gateway {
    fn new(options: &Options) -> io::Result<Self> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        Ok(Self {
            keys: HashMap::from([(hash(options.key.as_bytes()), Principal)]),
            model_from: options.model_from.clone().into_bytes(),
            model_to: Bytes::from(options.model_to.clone()),
            upstream: options.upstream,
            host: HeaderValue::from_str(&options.upstream.to_string()).map_err(invalid)?,
            authorization: HeaderValue::from_static("Bearer upstream-secret"),
            variant: options.variant,
        })
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<ReplyBody>, Refusal> {
        if request.method() != Method::POST {
            return Err(Refusal(StatusCode::NOT_FOUND, "only POST is served"));
        }
        self.admit(&request)?;
        let (parts, body) = request.into_parts();
        let mut body = collect(body).await?;
        splice::model(&mut body, &self.model_from, &self.model_to).map_err(|error| Refusal(StatusCode::NOT_FOUND, error.0))?;
        let body = Pieces::from(body);
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let sent = match self.variant {
            Variant::Hand => hand::send(self, path, body).await,
            Variant::Hyper => plain::send(self, path, body).await,
        };
        sent.map_err(|_error| Refusal(StatusCode::BAD_GATEWAY, "the upstream failed"))
    }

    fn admit(&self, request: &Request<Incoming>) -> Result<&Principal, Refusal> {
        let value = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let key = value.and_then(|value| value.strip_prefix(b"Bearer "));
        key.and_then(|key| self.keys.get(&hash(key))).ok_or(Refusal(StatusCode::UNAUTHORIZED, "unknown key"))
    }
}

fn hash(key: &[u8]) -> [u8; digest::SHA256_OUTPUT_LEN] {
    let mut hash = [0; digest::SHA256_OUTPUT_LEN];
    hash.copy_from_slice(digest::digest(&digest::SHA256, key).as_ref());
    hash
}

/// The body's frames as hyper read them.
async fn collect(mut body: Incoming) -> Result<Vec<Bytes>, Refusal> {
    let mut frames = Vec::new();
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_error| Refusal(StatusCode::BAD_REQUEST, "the body broke off"))?;
        if let Ok(data) = frame.into_data() {
            total += data.len();
            if total > MAX_BODY_BYTES {
                return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"));
            }
            frames.push(data);
        }
    }
    Ok(frames)
}

/// A reply of the floor itself.
#[derive(Debug)]
struct Refusal(StatusCode, &'static str);

impl Refusal {
    fn into_response(self) -> Response<ReplyBody> {
        let mut response = Response::new(ReplyBody::Own(Full::from(self.1)));
        *response.status_mut() = self.0;
        response
    }
}

/// The body of any reply of the floor.
enum ReplyBody {
    Own(Full<Bytes>),
    Hand(hand::Reply),
    Hyper(plain::Reply),
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = ReplyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>> {
        match self.get_mut() {
            Self::Own(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::Hand(body) => Pin::new(body).poll_frame(context),
            Self::Hyper(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Hand(body) => body.is_end_stream(),
            Self::Hyper(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Hand(body) => body.size_hint(),
            Self::Hyper(body) => body.size_hint(),
        }
    }
}

/// The upstream failed inside a reply: hyper closes the client's connection, so the client sees the cut too.
#[derive(Debug)]
struct ReplyError;

impl fmt::Display for ReplyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the upstream failed inside a reply")
    }
}

impl std::error::Error for ReplyError {}
