//! One connection to a provider, and how it is made.

use super::io::Io;
use super::{Deadline, Upstream};
use bytes::BytesMut;
use fairlead_snapshot::{Origin, Timeouts};
use std::io;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

/// A connection with the bytes read from it but not used yet.
pub(crate) struct Connection {
    pub(crate) io: Io,
    pub(crate) received: BytesMut,
    pub(crate) head: fairlead_http1::Head,
    /// After this moment it is not used again, so that changes of address are followed.
    pub(crate) expires_at: Instant,
    /// Whether it has carried an exchange before: only then may a failure mean that it had gone stale.
    pub(crate) reused: bool,
    /// The timer of whatever exchange runs on it; kept, because arming one anew costs more than moving it.
    pub(crate) deadline: Deadline,
}

impl Connection {
    fn new(io: Io, expires_at: Instant) -> Box<Connection> {
        Box::new(Connection {
            io,
            received: BytesMut::new(),
            head: fairlead_http1::Head::new(),
            expires_at,
            reused: false,
            deadline: Deadline::at(expires_at),
        })
    }
}

/// Why no connection could be made. Nothing was sent, so trying elsewhere is always safe.
#[derive(Debug)]
pub(crate) enum ConnectError {
    Resolve(String),
    Connect(String),
    Tls(String),
    Timeout(&'static str),
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConnectError::Resolve(text) => write!(formatter, "its host name cannot be resolved: {text}"),
            ConnectError::Connect(text) => write!(formatter, "it cannot be reached: {text}"),
            ConnectError::Tls(text) => write!(formatter, "TLS failed: {text}"),
            ConnectError::Timeout(step) => write!(formatter, "{step} took too long"),
        }
    }
}

/// Connects to an origin: every resolved address in turn, each with the connect timeout, then TLS where the origin wants it.
pub(crate) async fn connect(
    upstream: &Upstream,
    origin: &Origin,
    timeouts: &Timeouts,
    jitter: u32,
) -> Result<Box<Connection>, ConnectError> {
    let tcp = connect_tcp(upstream, origin, Duration::from_millis(timeouts.connect_ms)).await?;
    let io = if origin.tls { tls(upstream, origin, tcp, Duration::from_millis(timeouts.tls_ms)).await? } else { Io::Tcp(tcp) };
    Ok(Connection::new(io, Instant::now() + age(timeouts.pool_age_ms, jitter)))
}

/// Connects to the control plane's socket.
pub(crate) async fn connect_unix(path: &str) -> io::Result<Box<Connection>> {
    let stream = UnixStream::connect(path).await?;
    Ok(Connection::new(Io::Unix(stream), Instant::now() + Duration::from_secs(300)))
}

/// Four fifths of the age to six fifths, so that connections made together do not end together.
fn age(age_ms: u64, jitter: u32) -> Duration {
    Duration::from_millis(age_ms * 4 / 5 + age_ms * 2 / 5 * u64::from(jitter % 1024) / 1024)
}

async fn connect_tcp(upstream: &Upstream, origin: &Origin, wait: Duration) -> Result<TcpStream, ConnectError> {
    let addresses = upstream.names.resolve(&origin.host, origin.port, wait).await?;
    let mut last = ConnectError::Resolve("no address".to_owned());
    for address in addresses.iter() {
        last = match timeout(wait, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                prepare(&stream).map_err(|error| ConnectError::Connect(error.to_string()))?;
                return Ok(stream);
            }
            Ok(Err(error)) => ConnectError::Connect(error.to_string()),
            Err(_) => ConnectError::Timeout("connecting"),
        };
    }
    // The address may have moved; the next attempt asks again.
    upstream.names.forget(&origin.host);
    Err(last)
}

/// No Nagle delay; a dead peer is noticed within about a minute even when nothing is sent, within 20 s when something is.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10)))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(Duration::from_secs(20)))?;
    Ok(())
}

async fn tls(upstream: &Upstream, origin: &Origin, tcp: TcpStream, wait: Duration) -> Result<Io, ConnectError> {
    let config = upstream.tls.for_roots(origin.ca_file.as_deref()).map_err(ConnectError::Tls)?;
    let name = rustls::pki_types::ServerName::try_from(origin.host.clone()).map_err(|error| ConnectError::Tls(error.to_string()))?;
    match timeout(wait, tokio_rustls::TlsConnector::from(config).connect(name, tcp)).await {
        Ok(Ok(stream)) => Ok(Io::Tls(Box::new(stream))),
        Ok(Err(error)) => Err(ConnectError::Tls(error.to_string())),
        Err(_) => Err(ConnectError::Timeout("the TLS handshake")),
    }
}
