//! A worker's thread: one single-threaded runtime, the connections it is handed, and its looks at drain and stop flags.

use crate::gateway::Shared;
use crate::server::connection;
use crate::telemetry::Counters;
use crate::worker::{Books, Worker};
use std::io;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::spawn_local;
use tokio::time::Instant;

/// How often a worker looks at drain and stop flags, sweeps its pool and publishes its gauges.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// How long there is to tell those who are cut off.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(500);

/// What a worker thread is started with.
pub(crate) struct Seat {
    pub(crate) index: u16,
    pub(crate) connections: UnboundedReceiver<TcpStream>,
    pub(crate) open: Arc<AtomicUsize>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) journal: Books,
    pub(crate) salt: u32,
}

/// Threads beside a worker, for large bodies. Idle ones end after ten seconds.
const HELPERS: usize = 4;

/// Starts the thread; it ends when its connections are drained or the stop flag is up.
pub(crate) fn start(shared: Arc<Shared>, seat: Seat) -> io::Result<JoinHandle<()>> {
    let runtime_shared = shared.clone();
    std::thread::Builder::new().name(format!("fl-worker-{}", seat.index)).spawn(move || {
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(error) => return runtime_shared.fail(&format!("a worker could not start its runtime: {error}")),
        };
        runtime.block_on(run(shared, seat));
    })
}

/// A runtime for the thread that this is called on.
pub(crate) fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_io().enable_time().max_blocking_threads(HELPERS).build_local(LocalOptions::default())
}

async fn run(shared: Arc<Shared>, seat: Seat) {
    let Seat { index, mut connections, open, counters, journal, salt } = seat;
    let worker = Rc::new(Worker::new(shared, counters, journal, index, salt));
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Set when the stop begins: until then whoever is cut off can be told.
    let mut last_words = None;
    loop {
        tokio::select! {
            Some(stream) = connections.recv() => {
                worker.counters.connections_accepted.add(1);
                worker.counters.connections_open.add(1);
                spawn_local(serve(worker.clone(), stream, Closing { worker: worker.clone(), open: open.clone() }));
            }
            _ = tick.tick() => worker.look_around(),
        }
        if worker.shared.draining() && open.load(Ordering::Relaxed) == 0 && (worker.is_idle() || worker.shared.stopping()) {
            return;
        }
        if worker.shared.stopping() && Instant::now() >= *last_words.get_or_insert_with(|| Instant::now() + LAST_WORDS) {
            return;
        }
    }
}

async fn serve(worker: Rc<Worker>, stream: TcpStream, closing: Closing) {
    connection::serve(worker, stream).await;
    drop(closing);
}

/// Takes a connection off the books however its task ends.
struct Closing {
    worker: Rc<Worker>,
    open: Arc<AtomicUsize>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.worker.counters.connections_open.subtract(1);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}
