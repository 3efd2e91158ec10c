//! A worker: what its thread lends to the requests on it. Pool, chain of the journal, counters, ids, clock.

use crate::decisions::{Decisions, Notes};
pub(crate) use crate::gateway::Shared;
use crate::telemetry::Counters;
use crate::upstream::Upstream;
use fairlead_formats::splice::Edits;
use fairlead_ir::id::IdSource;
use fairlead_journal::{self as journal, Durability, Durable, ReserveRef, Writer};
use fairlead_ledger::{Progress, Settle};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Everything a request needs that is not its own.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) upstream: Upstream,
    pub(crate) journal: RefCell<Books>,
    /// Decisions to be written down, where there is a folder for them.
    pub(crate) decisions: Option<Notes>,
    ids: RefCell<IdSource>,
    /// Grows with each use; spreads credentials and connection ages.
    turn: Cell<u32>,
    /// Wakers of connections and of HTTP/2's streams, so that a drain reaches those that sit idle, and a stop those that wait for a provider.
    connections: RefCell<Wakers>,
    draining: Cell<bool>,
    stopping: Cell<bool>,
    /// Held by whatever a drain waits for beside the connections.
    awaited: Rc<()>,
    /// Held by every shadow.
    shadows: Rc<()>,
    /// A moment on both clocks, renewed at every tick, so that a request asks only one of them.
    epoch: Cell<(Instant, u64)>,
    /// Edits of one body at a time; its buffers are kept.
    pub(crate) edits: RefCell<Edits>,
}

/// Where a worker writes what its calls cost.
pub(crate) enum Books {
    /// A chain of the journal.
    Journal(Writer),
    /// Nowhere: whoever makes the calls is told of each, and keeps what it wants.
    Told,
}

impl Books {
    pub(crate) fn reserve(&mut self, record: &ReserveRef<'_>) -> Result<(), journal::Error> {
        match self {
            Books::Journal(writer) => writer.reserve_ref(record),
            Books::Told => Ok(()),
        }
    }

    pub(crate) fn settle(&mut self, record: &Settle<&str>) -> Result<(), journal::Error> {
        match self {
            Books::Journal(writer) => writer.settle(record),
            Books::Told => Ok(()),
        }
    }

    pub(crate) fn progress(&mut self, record: &Progress<&str>) -> Result<(), journal::Error> {
        match self {
            Books::Journal(writer) => writer.progress(record),
            Books::Told => Ok(()),
        }
    }

    /// What to wait for before a terminal is released, where settlements must survive a power loss.
    pub(crate) fn durable(&self) -> Option<Durable> {
        match self {
            Books::Journal(writer) if writer.durability() == Durability::Power => Some(writer.durable()),
            _ => None,
        }
    }

    pub(crate) fn shadow(&mut self, record: &Settle<&str>) -> Result<(), journal::Error> {
        match self {
            Books::Journal(writer) => writer.shadow(record),
            Books::Told => Ok(()),
        }
    }
}

/// Wakers by place, with the places that are free.
#[derive(Default)]
struct Wakers {
    places: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Worker {
    /// The worker `index`, which writes to `journal`; `salt` differs from worker to worker and from start to start.
    pub(crate) fn new(shared: Arc<Shared>, counters: Arc<Counters>, journal: Books, index: u16, salt: u32) -> Worker {
        Worker {
            upstream: Upstream::new(shared.tls_configs.clone()),
            journal: RefCell::new(journal),
            decisions: shared.decisions.get().map(Decisions::notes),
            ids: RefCell::new(IdSource::new(shared.node, (index & 0xff) as u8, salt)),
            turn: Cell::new(salt),
            connections: RefCell::default(),
            draining: Cell::new(false),
            stopping: Cell::new(false),
            awaited: Rc::default(),
            shadows: Rc::default(),
            epoch: Cell::new((Instant::now(), unix_ms())),
            edits: RefCell::default(),
            counters,
            shared,
        }
    }

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

    /// A drain waits until this is dropped.
    pub(crate) fn awaited(&self) -> Rc<()> {
        self.awaited.clone()
    }

    /// Whether a drain has nothing to wait for but the connections.
    pub(crate) fn is_idle(&self) -> bool {
        Rc::strong_count(&self.awaited) == 1
    }

    /// A shadow's place, until it is dropped.
    pub(crate) fn shadow(&self) -> Rc<()> {
        self.shadows.clone()
    }

    /// How many of them are taken.
    pub(crate) fn shadows(&self) -> usize {
        Rc::strong_count(&self.shadows) - 1
    }

    /// Unix milliseconds at `moment`, which is recent. Follows the system's clock with a delay of one tick.
    pub(crate) fn unix_ms_at(&self, moment: Instant) -> u64 {
        let (instant, unix_ms) = self.epoch.get();
        unix_ms + moment.saturating_duration_since(instant).as_millis() as u64
    }

    /// What is done now and then: clocks, pool, gauges, decisions, and word of a drain to connections that sit idle.
    pub(crate) fn look_around(&self) {
        self.epoch.set((Instant::now(), unix_ms()));
        let snapshot = self.shared.snapshot();
        self.upstream.pool.sweep(Instant::now(), Duration::from_millis(snapshot.settings.timeouts.pool_idle_ms));
        self.counters.pool_idle.set(self.upstream.pool.len() as u64);
        if let Some(decisions) = &self.decisions {
            decisions.hand_over();
        }
        let drain_begins = self.shared.draining() && !self.draining.replace(true);
        let stop_begins = self.shared.stopping() && !self.stopping.replace(true);
        if drain_begins || stop_begins {
            self.connections.borrow().places.iter().flatten().for_each(Waker::wake_by_ref);
        }
    }
}

/// Unix time in milliseconds.
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64)
}
