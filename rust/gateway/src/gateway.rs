//! The engine's life: made, given a snapshot and keys, started, drained, stopped.

use crate::content::{self, Contents};
use crate::decisions::{self, Decisions};
use crate::events::{Event, Events};
use crate::options::Options;
use crate::pipeline;
use crate::repeats::{Named, Repeats};
use crate::responses::{Bounds, Purpose, Responses};
use crate::server::accept::{self, Acceptor};
use crate::server::signals::Signals;
use crate::server::{thread, tls};
use crate::telemetry::{Counters, Gauges, render};
use crate::tenants::{self, Tenants};
use crate::upstream::tls::TlsConfigs;
use crate::worker::{Books, unix_ms};
use arc_swap::ArcSwap;
use fairlead_formats::translate::seals::{self, Keeper};
use fairlead_journal::{Cursor, Durability, Journal, Unapplied};
use fairlead_ledger::account::Broken;
use fairlead_ledger::hold::Kind;
use fairlead_router::{Board, Pins, Registry};
use fairlead_snapshot::{Directory, KeyHasher, Snapshot, SnapshotError, wire};
use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::unbounded_channel;

/// Conversations whose endpoint is remembered: 24 bytes each.
const PINNED_CONVERSATIONS: usize = 1 << 16;

/// What all threads of the data plane share.
pub(crate) struct Shared {
    /// The configuration in force, side by side with the health of what is in it.
    board: ArcSwap<Board>,
    registry: Registry,
    /// Which endpoint has which conversation in its cache.
    pub(crate) pins: Pins,
    /// What the router's clock counts from.
    began: Instant,
    began_unix_ms: u64,
    pub(crate) directory: Directory,
    /// Who pays for what a key asks for.
    pub(crate) tenants: Tenants,
    pub(crate) hasher: KeyHasher,
    /// Keeps the state of thoughts for clients of other dialects.
    pub(crate) keeper: Keeper,
    /// Where paid work is recorded; none: whoever asks for it is told what it costs.
    pub(crate) journal: Option<Arc<Journal>>,
    /// Responses that are kept, where there is a folder for them.
    pub(crate) responses: Option<Responses>,
    /// The content of generations, where there is a folder for it.
    pub(crate) content: OnceLock<Arc<Contents>>,
    /// Replies that are given again.
    pub(crate) repeats: Repeats,
    /// Wakes who looks after what is kept; gone with this, it ends.
    keys_changed: Sender<()>,
    /// The log of decisions, where there is a folder for it.
    pub(crate) decisions: OnceLock<Decisions>,
    pub(crate) events: Events,
    pub(crate) node: u16,
    pub(crate) control_socket: String,
    pub(crate) server_tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) tls_configs: Arc<TlsConfigs>,
    counters: Vec<Arc<Counters>>,
    ready: AtomicBool,
    draining: AtomicBool,
    stopping: AtomicBool,
    /// Whoever embeds the engine has come to stop it.
    released: AtomicBool,
    drain_ms: AtomicU64,
    failure: Mutex<Option<String>>,
    /// Invariants of the ledger that did not hold, by their place in [`VIOLATIONS`].
    violations: [AtomicU64; VIOLATIONS.len()],
}

/// What may be wrong with the ledger, as metrics have it: of books in memory, and between them and the database.
pub(crate) const VIOLATIONS: [&str; Broken::ALL.len() + 1] =
    [Broken::Reserved.name(), Broken::Spent.name(), Broken::Windows.name(), "database"];

/// Begins the log of decisions in this folder, for workers that are made from then on.
pub(crate) fn log_decisions(shared: &Arc<Shared>, folder: &Path) -> Result<(), StartError> {
    let weak = Arc::downgrade(shared);
    let rules = move || weak.upgrade().and_then(|shared| shared.decision_rules());
    let decisions = Decisions::start(folder, rules).map_err(|error| failed("the log of decisions", &error))?;
    let _ = shared.decisions.set(decisions);
    Ok(())
}

impl Shared {
    /// Everything that a data plane needs of itself, without the ways in: no socket, no key, no kept response.
    pub(crate) fn new(secret: &[u8], journal: Option<Arc<Journal>>, node: u16, workers: usize) -> Result<Shared, StartError> {
        let empty = Snapshot::from_json(br#"{"version":0,"providers":[],"models":[]}"#).map_err(|error| failed("snapshot", &error))?;
        let registry = Registry::default();
        let board = Board::new(Arc::new(empty), &registry).map_err(|error| failed("snapshot", &error))?;
        Ok(Shared {
            board: ArcSwap::from_pointee(board),
            registry,
            pins: Pins::new(PINNED_CONVERSATIONS),
            began: Instant::now(),
            began_unix_ms: unix_ms(),
            directory: Directory::default(),
            tenants: Tenants::default(),
            hasher: KeyHasher::new(secret),
            keeper: Keeper::new(secret, seals::Limits::default()).map_err(|error| failed("secret", &error))?,
            journal,
            responses: None,
            content: OnceLock::new(),
            repeats: Repeats::new(None),
            keys_changed: channel().0,
            decisions: OnceLock::new(),
            events: Events::new().map_err(|error| failed("eventfd", &error))?,
            node,
            control_socket: String::new(),
            server_tls: None,
            tls_configs: Arc::default(),
            counters: (0..workers).map(|_| Arc::default()).collect(),
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            released: AtomicBool::new(false),
            drain_ms: AtomicU64::new(0),
            failure: Mutex::new(None),
            violations: Default::default(),
        })
    }

    pub(crate) fn board(&self) -> Arc<Board> {
        self.board.load_full()
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.board.load().snapshot().clone()
    }

    /// The router's clock: Unix milliseconds of the start, and on from there without ever stepping back.
    pub(crate) fn routing_ms(&self, moment: Instant) -> u64 {
        self.began_unix_ms + moment.saturating_duration_since(self.began).as_millis() as u64
    }

    /// Whether requests can be served: started, not draining, and paid work can be recorded.
    pub(crate) fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed) && !self.draining() && self.can_record()
    }

    /// Whether paid work can be recorded.
    pub(crate) fn can_record(&self) -> bool {
        self.journal.as_ref().is_none_or(|journal| journal.healthy())
    }

    /// Puts a new configuration in force for every request that starts from now on. Requests in progress keep theirs.
    pub(crate) fn load_snapshot(&self, json: &[u8]) -> Result<u64, SnapshotError> {
        let snapshot = pipeline::snapshot(json)?;
        let version = snapshot.version;
        let board = Board::new(Arc::new(snapshot), &self.registry)?;
        // Before anybody can ask for a model that has rates now.
        self.tenants.models.apply(board.snapshot(), &self.hasher, unix_ms())?;
        self.board.store(Arc::new(board));
        Ok(version)
    }

    /// The counters of a worker.
    pub(crate) fn counters(&self, worker: usize) -> Arc<Counters> {
        self.counters[worker].clone()
    }

    /// Ends what is running: whoever waits is told so.
    pub(crate) fn stop(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// A thread could not do its work: the process must not pretend to be healthy.
    pub(crate) fn fail(&self, message: &str) {
        self.failure.lock().get_or_insert_with(|| message.to_owned());
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The kept responses and their bounds, where the configuration in force wants them kept.
    pub(crate) fn kept(&self, snapshot: &Snapshot) -> Option<(&Responses, Bounds)> {
        let responses = self.responses.as_ref().filter(|_| snapshot.settings.responses_store)?;
        Some((responses, bounds(snapshot)))
    }

    /// What is kept in files, and for how long.
    fn kept_files(&self) -> impl Iterator<Item = (&Responses, Bounds)> {
        let snapshot = self.snapshot();
        let responses = self.responses.as_ref().map(|responses| (responses, bounds(&snapshot)));
        let content = self.content.get().map(|content| (content.files(), content::bounds(&snapshot)));
        responses.into_iter().chain(content)
    }

    fn sweep_kept(&self) {
        let (snapshot, known) = (self.snapshot(), self.directory.ids());
        self.kept_files().for_each(|(files, bounds)| files.sweep(bounds, known.as_ref(), unix_ms()));
        // Before the first configuration nobody knows for how long.
        if snapshot.version > 0 {
            self.repeats.sweep(&snapshot.settings, known.as_ref(), unix_ms());
        }
    }

    /// What an earlier process kept.
    fn find_kept(&self) -> std::io::Result<()> {
        self.kept_files().try_for_each(|(files, _)| files.look_through())?;
        self.repeats.named.as_ref().map_or(Ok(()), Named::look_through)
    }

    /// What the log of decisions goes by. Before the first configuration nobody knows.
    fn decision_rules(&self) -> Option<decisions::Rules> {
        let snapshot = self.snapshot();
        let (ttl_ms, most_bytes) = (snapshot.settings.decisions_ttl_seconds.saturating_mul(1000), snapshot.settings.decisions_bytes);
        (snapshot.version > 0).then(|| decisions::Rules { bounds: decisions::Bounds { ttl_ms, most_bytes }, now_ms: unix_ms() })
    }

    pub(crate) fn metrics(&self) -> String {
        let gauges = Gauges {
            responses: self.responses.as_ref(),
            content: self.content.get().map(Arc::as_ref),
            repeats: Some(&self.repeats),
            decisions: self.decisions.get(),
            ready: self.ready(),
            draining: self.draining(),
            journal_healthy: self.can_record(),
            snapshot_version: self.board.load().snapshot().version,
            keys: self.directory.len(),
            waiting: self.board.load().queue().len(),
            violations: std::array::from_fn(|at| (VIOLATIONS[at], self.violations[at].load(Ordering::Relaxed))),
        };
        render(self.counters.iter().map(Arc::as_ref), &gauges)
    }
}

fn bounds(snapshot: &Snapshot) -> Bounds {
    let settings = &snapshot.settings;
    match snapshot.version {
        // Before the first configuration nobody knows them.
        0 => Bounds::NONE,
        _ => Bounds { ttl_ms: settings.responses_ttl_seconds.saturating_mul(1000), most_bytes: settings.responses_store_bytes },
    }
}

/// The content that was logged of a generation, in the folder of a process that does not run. As [`Gateway::content`] has it.
///
/// # Errors
/// The secret is too short.
pub fn read_content(folder: &Path, secret: &[u8], account: u64, id: &str) -> Result<Option<Vec<u8>>, StartError> {
    let files = Responses::new(folder, secret, Purpose::Content).map_err(StartError)?;
    Ok(files.find(account, id, Bounds::NONE, unix_ms(), |_, content| [content.input, content.reply].concat()))
}

/// Why a request would go where it would go by this configuration, where nothing has happened yet: JSON in, JSON out.
///
/// # Errors
/// The configuration is not valid.
pub fn explain(snapshot: &[u8], question: &[u8]) -> Result<Vec<u8>, SnapshotError> {
    let snapshot = Arc::new(pipeline::snapshot(snapshot)?);
    let board = Board::new(snapshot, &Registry::default())?;
    Ok(pipeline::explain(&Arc::new(board), &Pins::new(1), unix_ms(), question))
}

/// Why the engine could not start. The text names what to change.
#[derive(Debug)]
pub struct StartError(pub(crate) String);

/// A start that failed at `what`.
pub(crate) fn failed(what: &str, error: &dyn fmt::Display) -> StartError {
    StartError(format!("{what}: {error}"))
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// The data plane of a process.
pub struct Gateway {
    shared: Arc<Shared>,
    journal: Arc<Journal>,
    /// What the journal held beyond the database at the start, until somebody says what the database has.
    unapplied: Mutex<Vec<Unapplied>>,
    workers: usize,
    data: SocketAddr,
    handle_signals: bool,
    address: Mutex<Option<SocketAddr>>,
    warden: Mutex<Option<JoinHandle<()>>>,
}

impl Gateway {
    /// Opens the journal, settles what a crash left open, and prepares everything up to binding the port.
    ///
    /// # Errors
    /// When the journal, the secret, TLS files or the random source cannot be used.
    pub fn new(options: Options) -> Result<Gateway, StartError> {
        let secret = secret_bytes(&options.secret)?;
        let server_tls = options.tls.as_ref().map(tls::server_config).transpose().map_err(StartError)?;
        let workers = if options.workers == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { options.workers };
        let durability: Durability = options.durability.into();
        let (journal, unapplied) = open_journal(&options.journal_dir, options.node, &options.cursors, workers, durability)?;
        let conversations = |folder: &Path| Responses::new(folder, &secret, Purpose::Conversations);
        let responses = options.responses_dir.as_deref().map(conversations).transpose().map_err(StartError)?;
        let forced = durability == Durability::Power;
        let named = options.idempotency_dir.as_deref().map(|folder| Named::new(folder, &secret, forced)).transpose().map_err(StartError)?;
        let (keys_changed, changes) = channel();
        let shared = Shared {
            responses,
            repeats: Repeats::new(named),
            keys_changed,
            control_socket: options.control_socket,
            server_tls,
            drain_ms: AtomicU64::new(options.drain_ms),
            ..Shared::new(&secret, Some(journal.clone()), options.node, workers)?
        };
        let shared = Arc::new(shared);
        wake_at_settlements(&shared);
        if let Some(folder) = &options.content_dir {
            let weak = Arc::downgrade(&shared);
            let knows = move |key| weak.upgrade().is_some_and(|shared| shared.directory.knows(key));
            let _ = shared.content.set(Arc::new(Contents::start(folder, &secret, knows).map_err(StartError)?));
        }
        let weak = Arc::downgrade(&shared);
        let tending = std::thread::Builder::new().name("fl-kept".to_owned()).spawn(move || tend_kept(&weak, &changes));
        tending.map_err(|error| failed("cannot start a thread", &error))?;
        if let Some(folder) = &options.decisions_dir {
            log_decisions(&shared, folder)?;
        }
        Ok(Gateway {
            shared,
            journal,
            unapplied: Mutex::new(unapplied),
            workers,
            data: options.data,
            handle_signals: options.handle_signals,
            address: Mutex::new(None),
            warden: Mutex::new(None),
        })
    }

    /// Puts a new configuration in force for every request that starts from now on. Requests in progress keep theirs.
    ///
    /// # Errors
    /// When it is not valid; the one in force stays.
    pub fn load_snapshot(&self, json: &[u8]) -> Result<u64, SnapshotError> {
        self.shared.load_snapshot(json)
    }

    /// What is known of the endpoints that were used: JSON, one object per endpoint.
    pub fn health(&self) -> Vec<u8> {
        let board = self.shared.board();
        let reports: Vec<_> = board.reports(self.shared.routing_ms(Instant::now())).collect();
        serde_json::to_vec(&reports).unwrap_or_default()
    }

    /// Why a request would go where it would go: JSON in, JSON out.
    pub fn explain(&self, question: &[u8]) -> Vec<u8> {
        let shared = &self.shared;
        pipeline::explain(&shared.board(), &shared.pins, shared.routing_ms(Instant::now()), question)
    }

    /// Forgets what is known of endpoints and provider keys: outages, cool-downs, limits, latencies. For an operator who has mended something.
    pub fn forget_health(&self) {
        self.shared.registry.forget();
        let snapshot = self.shared.snapshot();
        if let Ok(board) = Board::new(snapshot, &self.shared.registry) {
            self.shared.board.store(Arc::new(board));
        }
    }

    /// Applies a delta of keys; it holds for the very next request.
    ///
    /// # Errors
    /// When it is not valid; nothing is changed then.
    pub fn apply_keys(&self, json: &[u8]) -> Result<u64, SnapshotError> {
        let mut gone = Vec::new();
        let position = self.shared.directory.apply(json, |delta| {
            gone.clone_from(&delta.delete);
            self.shared.tenants.apply(delta, unix_ms())
        })?;
        self.shared.tenants.forget(&gone);
        // Fails where nobody listens, because nothing is kept.
        let _ = self.shared.keys_changed.send(());
        Ok(position)
    }

    /// What everybody had spent, and taken of rates, before this start, as of the cursors that the journal was opened with: JSON of
    /// [`wire::Spending`]. Once, after the first snapshot and the first keys, before [`Gateway::start`].
    ///
    /// # Errors
    /// When it is not valid; nothing is changed then.
    pub fn resume_spending(&self, json: &[u8]) -> Result<(), SnapshotError> {
        let spending: wire::Spending = serde_json::from_slice(json).map_err(|error| SnapshotError::new("spending", error.to_string()))?;
        let free_tier = tenants::free_tier(&self.shared.snapshot().settings);
        self.shared.tenants.resume(&spending, &std::mem::take(&mut *self.unapplied.lock()), free_tier.as_ref());
        Ok(())
    }

    /// How many requests to free models an account has in a day, and how many of them it has made today. `None`: they are not limited.
    pub fn free_requests(&self, account: u64) -> Option<(u64, u64)> {
        let limits = tenants::free_tier(&self.shared.snapshot().settings)?;
        Some(self.shared.tenants.free_requests(account, &limits, unix_ms()))
    }

    /// What an account, a team, a user or a key has spent in the day, the week, the month and in total, and what its running calls hold back:
    /// nano-dollars, as of now. `None`: there is no such kind.
    pub fn spending(&self, kind: &str, id: u64) -> Option<[i64; 5]> {
        let kind = Kind::from_name(kind)?;
        Some(self.shared.tenants.spending(kind, id, unix_ms()).map(|amount| amount.0))
    }

    /// Holds the books of everybody who pays against the other side of every entry (`reliability.md` 3.2), and counts what does not hold: whose it
    /// is, and what is wrong in a word and in a sentence. A few additions for each, none of them while a request waits.
    pub fn audit(&self) -> Vec<(&'static str, u64, &'static str, &'static str)> {
        let found = self.shared.tenants.audit(unix_ms());
        found
            .into_iter()
            .map(|(kind, id, broken)| {
                self.shared.violations[broken as usize].fetch_add(1, Ordering::Relaxed);
                (kind.name(), id, broken.name(), broken.what())
            })
            .collect()
    }

    /// Counts so many who have spent something else by the books than by the database.
    pub fn count_database_violations(&self, more: u64) {
        self.shared.violations[VIOLATIONS.len() - 1].fetch_add(more, Ordering::Relaxed);
    }

    /// Binds the port and starts the threads.
    ///
    /// # Errors
    /// When the port is taken or a thread cannot be started.
    pub fn start(&self) -> Result<SocketAddr, StartError> {
        let listener = accept::bind(self.data).map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => StartError(format!(
                "port {} is taken: another program listens on {}; stop it or choose another address with --data-addr or [server] data",
                self.data.port(),
                self.data
            )),
            _ => StartError(format!("cannot listen on {}: {error}", self.data)),
        })?;
        let signals = if self.handle_signals {
            Signals::listen().map_err(|error| StartError(format!("signals: {error}")))?
        } else {
            Signals::default()
        };
        let random = SystemRandom::new();
        let mut seats = Vec::with_capacity(self.workers);
        let mut threads = Vec::with_capacity(self.workers);
        for index in 0..self.workers {
            let (sender, connections) = unbounded_channel();
            let open = Arc::new(AtomicUsize::new(0));
            let mut salt = [0; 4];
            random.fill(&mut salt).map_err(|_| StartError("the system's random source failed".to_owned()))?;
            let journal = self.journal.writer(index as u16).map_err(|error| failed("journal", &error))?;
            let seat = thread::Seat {
                index: index as u16,
                connections,
                open: open.clone(),
                counters: self.shared.counters(index),
                journal: Books::Journal(journal),
                salt: u32::from_ne_bytes(salt),
            };
            threads.push(thread::start(self.shared.clone(), seat).map_err(|error| StartError(format!("cannot start a worker: {error}")))?);
            seats.push(accept::Seat { sender, open });
        }
        let shared = self.shared.clone();
        let most = move || shared.board.load().snapshot().settings.limits.connections;
        // Before the first connection is taken: whoever gets one finds everything behind it.
        self.shared.ready.store(true, Ordering::Release);
        let acceptor = Acceptor::start(listener, seats, most).map_err(|error| StartError(format!("cannot start accepting: {error}")))?;
        let address = acceptor.address;
        *self.address.lock() = Some(address);
        let warden = Warden { shared: self.shared.clone(), signals, acceptor, threads };
        let thread = std::thread::Builder::new().name("fl-drain".to_owned()).spawn(move || warden.watch());
        *self.warden.lock() = Some(thread.map_err(|error| StartError(format!("cannot start the drain thread: {error}")))?);
        Ok(address)
    }

    /// Where the traffic port listens, once started.
    pub fn address(&self) -> Option<SocketAddr> {
        *self.address.lock()
    }

    /// News for the control plane.
    pub fn events(&self) -> &Events {
        &self.shared.events
    }

    /// The content that was logged of a generation, as a JSON object with `input`, `output`, `error` and `truncated`. `None` where there is
    /// none: logging was off for its key, or it is gone.
    pub fn content(&self, account: u64, id: &str) -> Option<Vec<u8>> {
        self.shared.content.get()?.show(account, id, content::bounds(&self.shared.snapshot()))
    }

    /// The journal: positions out, applied cursors in.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Prometheus text.
    pub fn metrics(&self) -> String {
        self.shared.metrics()
    }

    /// Why a thread gave up, if one did.
    pub fn failure(&self) -> Option<String> {
        self.shared.failure.lock().clone()
    }

    /// Begins a drain: no new connections, running requests may take `grace_ms`, then they are cut and settled.
    pub fn drain(&self, grace_ms: u64) {
        self.shared.drain_ms.store(grace_ms, Ordering::Relaxed);
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Whether a drain has begun.
    pub fn draining(&self) -> bool {
        self.shared.draining()
    }

    /// Ends everything now and waits until it has ended. Whoever waits is told so, and running requests are settled.
    pub fn stop(&self) {
        self.shared.released.store(true, Ordering::Relaxed);
        self.drain(0);
        if let Some(warden) = self.warden.lock().take() {
            // A panic in there was printed when it happened; stopping goes on.
            let _ = warden.join();
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How often what is too old is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Looks after all that is kept until the data plane is gone: once for what an earlier process left, then whenever keys have changed,
/// so that what a deleted key made goes with it, and now and then.
fn tend_kept(shared: &Weak<Shared>, keys_changed: &Receiver<()>) {
    if let Some(shared) = shared.upgrade()
        && let Err(error) = shared.find_kept()
    {
        eprintln!("fairlead: not all that is kept could be looked at, so that some may be kept for longer than it should: {error}");
    }
    loop {
        if keys_changed.recv_timeout(SWEEP_EVERY) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
        let Some(shared) = shared.upgrade() else { return };
        shared.sweep_kept();
    }
}

/// Waits for the drain and carries it out; needs nobody else to be alive.
struct Warden {
    shared: Arc<Shared>,
    signals: Signals,
    acceptor: Acceptor,
    threads: Vec<JoinHandle<()>>,
}

/// How long the control plane may take to end after the traffic has.
const CONTROL_GRACE: Duration = Duration::from_secs(20);

/// How often the warden looks.
const LOOK: Duration = Duration::from_millis(50);

impl Warden {
    fn watch(mut self) {
        while !self.shared.draining() {
            if self.signals.asked() {
                self.shared.draining.store(true, Ordering::Relaxed);
            }
            self.give_up_without_a_journal();
            std::thread::sleep(LOOK);
        }
        self.shared.events.ring(Event::Draining);
        self.acceptor.stop();
        let began = Instant::now();
        while self.threads.iter().any(|thread| !thread.is_finished()) {
            // Read each time: `stop` or a second signal may shorten a drain that is under way.
            if self.signals.hurried() || began.elapsed() >= Duration::from_millis(self.shared.drain_ms.load(Ordering::Relaxed)) {
                self.shared.stopping.store(true, Ordering::Relaxed);
            }
            std::thread::sleep(LOOK);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        if let Some(decisions) = self.shared.decisions.get() {
            decisions.close();
        }
        if let Some(content) = self.shared.content.get() {
            content.close();
        }
        self.shared.ready.store(false, Ordering::Relaxed);
        self.shared.events.ring(Event::Stopped);
        if self.signals.asked() || self.shared.failure.lock().is_some() {
            self.outlive_the_control_plane();
        }
    }

    /// A write or sync that failed cannot be made good in this process: nobody knows what the disk has. Paid work is refused from that moment
    /// on; calls under way may end, then the process does, with an error, so that whoever supervises it starts it again.
    fn give_up_without_a_journal(&self) {
        if let Some(reason) = self.shared.journal.as_ref().and_then(|journal| journal.failure()) {
            self.shared.fail(&format!("the journal cannot be trusted any more ({reason}); mend the disk and start again"));
        }
    }

    /// The process is to end. The control plane finishes its own work and then stops the engine; one that hangs must not
    /// keep the process, its ports and its lock for ever. Nothing is lost: what SQL has not got yet stays in the journal.
    fn outlive_the_control_plane(&self) {
        let began = Instant::now();
        while !self.shared.released.load(Ordering::Relaxed) {
            if began.elapsed() > CONTROL_GRACE {
                eprintln!(
                    "fairlead: the control plane did not end within {} s; leaving. Its records stay in the journal until the next start.",
                    CONTROL_GRACE.as_secs()
                );
                // SAFETY: ends the process without running anybody's exit handlers, which is the point: the interpreter is stuck.
                unsafe { libc::_exit(1) };
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Opens the journal and settles what a crash left open. `cursors` are how far SQL has applied it; what was charged beyond them is told.
pub(crate) fn open_journal(
    folder: &Path,
    node: u16,
    cursors: &[(u16, u64, u16, u64, u64)],
    workers: usize,
    durability: Durability,
) -> Result<(Arc<Journal>, Vec<Unapplied>), StartError> {
    let cursor = |&(node, epoch, worker, segment, offset): &_| Cursor { node, epoch, worker, segment, offset };
    let applied: Vec<Cursor> = cursors.iter().map(cursor).collect();
    // What rates per minute still remember.
    let recent_since_ms = unix_ms().saturating_sub(60_000);
    let options = fairlead_journal::Options { node, durability, recent_since_ms, ..fairlead_journal::Options::new(folder) };
    let (journal, recovery) = Journal::open(options, &applied).map_err(|error| failed("journal", &error))?;
    let mut unapplied = recovery.unapplied;
    if !recovery.orphans.is_empty() {
        // The chain behind the workers' belongs to recovery.
        let mut recovering = journal.writer(workers as u16).map_err(|error| failed("journal", &error))?;
        let recovered = fairlead_journal::recover(&mut recovering, &recovery.orphans, unix_ms());
        unapplied.extend(recovered.map_err(|error| failed("journal recovery", &error))?);
    }
    Ok((Arc::new(journal), unapplied))
}

/// Rings when the journal has grown.
pub(crate) fn wake_at_settlements(shared: &Arc<Shared>) {
    let weak = Arc::downgrade(shared);
    if let Some(journal) = &shared.journal {
        journal.set_waker(Box::new(move || {
            if let Some(shared) = weak.upgrade() {
                shared.events.ring(Event::Journal);
            }
        }));
    }
}

pub(crate) fn secret_bytes(hex: &str) -> Result<Vec<u8>, StartError> {
    let wrong = || StartError("the server secret must be at least 64 hexadecimal digits".to_owned());
    if hex.len() < 64 || !hex.len().is_multiple_of(2) || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).map_err(|_| wrong())).collect()
}
