//! One thread accepts and hands each connection to the worker with the fewest open ones.
//!
//! The alternative, one listener per worker (`SO_REUSEPORT`), spreads few connections unevenly: the figures stand under "Accepting" in
//! `rust/README.md`. Handing over costs a wake-up per connection and nothing per request.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// Where accepted connections go.
pub(crate) struct Seat {
    /// The worker's inbox; bounded by the limit on open connections.
    pub(crate) sender: UnboundedSender<TcpStream>,
    /// Connections handed over and not closed yet.
    pub(crate) open: Arc<AtomicUsize>,
}

/// The accepting thread.
pub(crate) struct Acceptor {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    pub(crate) address: SocketAddr,
}

/// Connections the kernel queues for us.
const BACKLOG: i32 = 1024;

/// How often the thread looks whether it shall stop.
const LOOK_MS: i32 = 200;

/// Binds the traffic port. Fails when anything else listens there, also something that would share the port.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    // Only lets a restart bind while old connections linger; two listeners still exclude each other.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl Acceptor {
    /// Starts accepting. `most` is the limit on open connections over all seats.
    pub(crate) fn start(listener: TcpListener, seats: Vec<Seat>, most: impl Fn() -> usize + Send + 'static) -> io::Result<Acceptor> {
        let stop = Arc::new(AtomicBool::new(false));
        let address = listener.local_addr()?;
        let thread = std::thread::Builder::new().name("fl-accept".to_owned()).spawn({
            let stop = stop.clone();
            move || accept_until(&stop, &listener, &seats, &most)
        })?;
        Ok(Acceptor { stop, thread: Some(thread), address })
    }

    /// Closes the listener; queued connections are refused by the kernel from here on.
    pub(crate) fn stop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic in there has nothing to tell that its message did not.
            let _ = thread.join();
        }
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept_until(stop: &AtomicBool, listener: &TcpListener, seats: &[Seat], most: &dyn Fn() -> usize) {
    while !stop.load(Ordering::Acquire) {
        match listener.accept() {
            Ok((stream, _)) => seat(stream, seats, most()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_readable(listener),
            // Out of descriptors: others must close first. Anything else concerns one connection that is gone.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)) => {
                std::thread::sleep(Duration::from_millis(10))
            }
            Err(_) => {}
        }
    }
}

fn seat(mut stream: TcpStream, seats: &[Seat], most: usize) {
    let total: usize = seats.iter().map(|seat| seat.open.load(Ordering::Relaxed)).sum();
    let Some(seat) = seats.iter().min_by_key(|seat| seat.open.load(Ordering::Relaxed)).filter(|_| total < most) else {
        // One try without waiting; a client that cannot take 100 bytes loses nothing it needs.
        let _ = stream.set_nonblocking(true);
        let _ = stream.write(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        return;
    };
    if stream.set_nonblocking(true).is_err() || stream.set_nodelay(true).is_err() {
        return;
    }
    seat.open.fetch_add(1, Ordering::Relaxed);
    if seat.sender.send(stream).is_err() {
        seat.open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn wait_readable(listener: &TcpListener) {
    let mut entry = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid entry that outlives the call.
    let _ = unsafe { libc::poll(&raw mut entry, 1, LOOK_MS) };
}
