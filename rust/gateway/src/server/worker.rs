//! A worker: one thread, one single-threaded runtime, its connections, its pool, its chain of the journal.

use crate::gateway::Shared;
use crate::server::connection;
use crate::telemetry::Counters;
use crate::upstream::Upstream;
use fairlead_formats::splice::Edits;
use fairlead_ir::id::IdSource;
use fairlead_journal::Writer;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::spawn_local;
use tokio::time::Instant;

/// Everything a request needs that is not its own.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) upstream: Upstream,
    pub(crate) journal: RefCell<Writer>,
    ids: RefCell<IdSource>,
    /// Grows with each use; spreads credentials and connection ages.
    turn: Cell<u32>,
    /// Wakers of the open connections, so that a drain reaches those that sit idle.
    connections: RefCell<Wakers>,
    draining: Cell<bool>,
    /// A moment on both clocks, renewed at every tick, so that a request asks only one of them.
    epoch: Cell<(Instant, u64)>,
    /// Edits of one body at a time; its buffers are kept.
    pub(crate) edits: RefCell<Edits>,
}

/// Wakers by place, with the places that are free.
#[derive(Default)]
struct Wakers {
    places: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// How often a worker looks at drain and stop flags, sweeps its pool and publishes its gauges.
const TICK: Duration = Duration::from_millis(100);

/// What a worker thread is started with.
pub(crate) struct Seat {
    pub(crate) index: u16,
    pub(crate) connections: UnboundedReceiver<TcpStream>,
    pub(crate) open: Arc<AtomicUsize>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) journal: Writer,
    pub(crate) salt: u32,
}

/// Threads beside a worker: for host names and for large bodies. Idle ones end after ten seconds.
const HELPERS: usize = 4;

/// Starts the thread; it ends when its connections are drained or the stop flag is up.
pub(crate) fn start(shared: Arc<Shared>, seat: Seat) -> io::Result<JoinHandle<()>> {
    let runtime_shared = shared.clone();
    std::thread::Builder::new().name(format!("fl-worker-{}", seat.index)).spawn(move || {
        let runtime = match Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(HELPERS)
            .build_local(LocalOptions::default())
        {
            Ok(runtime) => runtime,
            Err(error) => return runtime_shared.fail(&format!("a worker could not start its runtime: {error}")),
        };
        runtime.block_on(run(shared, seat));
    })
}

async fn run(shared: Arc<Shared>, mut seat: Seat) {
    let worker = Rc::new(Worker {
        upstream: Upstream::new(shared.tls_configs.clone()),
        journal: RefCell::new(seat.journal),
        ids: RefCell::new(IdSource::new(shared.node, (seat.index & 0xff) as u8, seat.salt)),
        turn: Cell::new(seat.salt),
        connections: RefCell::default(),
        draining: Cell::new(false),
        epoch: Cell::new((Instant::now(), unix_ms())),
        edits: RefCell::default(),
        counters: seat.counters,
        shared,
    });
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(stream) = seat.connections.recv() => {
                worker.counters.connections_accepted.add(1);
                worker.counters.connections_open.add(1);
                spawn_local(serve(worker.clone(), stream, Closing { worker: worker.clone(), open: seat.open.clone() }));
            }
            _ = tick.tick() => worker.look_around(),
        }
        if worker.shared.stopping() || worker.shared.draining() && seat.open.load(Ordering::Relaxed) == 0 {
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

impl Worker {
    /// A new generation id.
    pub(crate) fn generation(&self, unix_ms: u64) -> fairlead_ir::GenerationId {
        self.ids.borrow_mut().next(unix_ms)
    }

    /// A number that differs from call to call.
    pub(crate) fn turn(&self) -> u32 {
        let turn = self.turn.get().wrapping_add(0x9e37_79b9);
        self.turn.set(turn);
        turn
    }

    /// Whether connections shall end after their current request.
    pub(crate) fn draining(&self) -> bool {
        self.draining.get()
    }

    /// Remembers how to wake a connection's task. Its place is given back with [`Worker::leave`].
    pub(crate) fn enter(&self, waker: Waker) -> usize {
        let mut connections = self.connections.borrow_mut();
        match connections.free.pop() {
            Some(place) => {
                connections.places[place] = Some(waker);
                place
            }
            None => {
                connections.places.push(Some(waker));
                connections.places.len() - 1
            }
        }
    }

    pub(crate) fn leave(&self, place: usize) {
        let mut connections = self.connections.borrow_mut();
        connections.places[place] = None;
        connections.free.push(place);
    }

    /// Unix milliseconds at `moment`, which is recent. Follows the system's clock with a delay of one tick.
    pub(crate) fn unix_ms_at(&self, moment: Instant) -> u64 {
        let (instant, unix_ms) = self.epoch.get();
        unix_ms + moment.saturating_duration_since(instant).as_millis() as u64
    }

    fn look_around(&self) {
        self.epoch.set((Instant::now(), unix_ms()));
        let snapshot = self.shared.snapshot();
        self.upstream.pool.sweep(Instant::now(), Duration::from_millis(snapshot.settings.timeouts.pool_idle_ms));
        self.counters.pool_idle.set(self.upstream.pool.len() as u64);
        if self.shared.draining() && !self.draining.replace(true) {
            self.connections.borrow().places.iter().flatten().for_each(Waker::wake_by_ref);
        }
    }
}

/// Unix time in milliseconds.
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64)
}
