//! Threads and connections. The first thread accepts and deals connections out in turn, so that few of them are spread as evenly as many.

use crate::Shared;
use crate::connection::Connection;
use crate::exchange::After;
use crate::request::{NoRequest, read_request};
use crate::routes;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

const BACKLOG: i32 = 4_096;
/// Connections on their way to another thread; beyond it they are dropped.
const MAX_HANDED_OVER: usize = 4_096;
/// Pause after a failed accept (no file descriptors left, most likely).
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A listening socket.
pub(crate) fn bind(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Starts the threads and adds them to `threads`.
pub(crate) fn spawn(
    listener: StdListener,
    shared: &Arc<Shared>,
    stopped: &watch::Receiver<bool>,
    threads: &mut Vec<JoinHandle<()>>,
) -> io::Result<()> {
    let mut others = Vec::new();
    for number in 1..shared.options.threads.max(1) {
        let (sender, receiver) = mpsc::channel(MAX_HANDED_OVER);
        others.push(sender);
        let (shared, stopped) = (Arc::clone(shared), stopped.clone());
        threads.push(spawn_thread(number, runtime()?, serve_handed_over(receiver, shared, stopped))?);
    }
    let runtime = runtime()?;
    let listener = {
        let _context = runtime.enter();
        TcpListener::from_std(listener)?
    };
    threads.push(spawn_thread(0, runtime, accept(listener, others, Arc::clone(shared), stopped.clone()))?);
    Ok(())
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn spawn_thread(number: usize, runtime: Runtime, work: impl Future<Output = ()> + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("sim-{number}")).spawn(move || runtime.block_on(work))
}

async fn accept(listener: TcpListener, others: Vec<mpsc::Sender<StdStream>>, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut turn = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => break,
        };
        let Ok((stream, _)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // A socket that cannot be set up or handed over is closed by dropping it.
        let _ = stream.set_nodelay(true);
        turn = (turn + 1) % (others.len() + 1);
        match others.get(turn) {
            None => drop(tokio::spawn(serve(stream, Arc::clone(&shared)))),
            Some(other) => drop(stream.into_std().map(|stream| other.try_send(stream))),
        }
    }
    drop(listener);
    drain(&shared).await;
}

async fn serve_handed_over(mut streams: mpsc::Receiver<StdStream>, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    loop {
        let stream = tokio::select! {
            Some(stream) = streams.recv() => stream,
            _ = stopped.changed() => break,
        };
        if let Ok(stream) = TcpStream::from_std(stream) {
            tokio::spawn(serve(stream, Arc::clone(&shared)));
        }
    }
    drain(&shared).await;
}

/// Waits until no request is in the works. The runtime then ends, and with it every connection.
async fn drain(shared: &Shared) {
    let none_open = async {
        loop {
            let mut drained = std::pin::pin!(shared.drained.notified());
            // Listening must begin before looking, or the last notice is missed.
            drained.as_mut().enable();
            if shared.open.load(Ordering::SeqCst) == 0 {
                return;
            }
            drained.await;
        }
    };
    let _ = timeout(Duration::from_millis(shared.options.drain_ms), none_open).await;
}

/// One connection, request by request.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut connection = Connection::new(stream);
    let after = loop {
        let after = match read_request(&mut connection, shared.options.max_body_bytes).await {
            Ok(request) => routes::answer(&mut connection, &shared, &request).await,
            Err(NoRequest::Gone) => After::Close,
            Err(NoRequest::Refused(status, text)) => routes::refuse_unreadable(&mut connection, &shared, status, &text).await,
        };
        if after != After::Keep || shared.stopping.load(Ordering::SeqCst) {
            break after;
        }
        connection.shrink();
    };
    match after {
        After::Keep | After::Close => drop(connection),
        After::Reset => connection.reset(),
        After::CloseUnread => connection.close_unread().await,
    }
}
