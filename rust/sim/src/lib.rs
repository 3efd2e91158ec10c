//! A simulated LLM provider: it answers like OpenAI, Anthropic, Google and Amazon Bedrock, with scripted timing, splits and faults, refuses
//! what they refuse, and keeps a ledger of what it really did. It is a product feature (a gateway without keys has something to talk to,
//! outages can be rehearsed), the upstream of the benchmarks, and the judge in the tests.
//!
//! Being the judge, it shares no code with what it judges: the HTTP server and all dialects are written here by hand, so that
//! every byte, write and end of connection is under control. What is wrong or ambiguous in a request is refused with a text
//! that says why.
//!
//! A request goes `server` → `request` → `routes` → `intake` (the dialect's `rules` read it into an `ask`) → `plan` (what will be said) →
//! `exchange` (when, and with which faults), which asks the dialect for its bytes.
//!
//! `README.md` beside this crate lists models, scripts and endpoints.
//!
//! Deliberately absent: TLS, HTTP/2, real tokenising (see [`Options`] for how tokens are counted), hosted tools, audio and images as output.

#![forbid(unsafe_code)]

mod anthropic_messages;
mod anthropic_vertex;
mod ask;
mod base64;
mod bedrock_converse;
mod cache;
mod call;
mod claude;
mod connection;
mod context;
mod digest;
mod example;
mod exchange;
mod family;
mod gemini_generate;
mod identity;
mod intake;
mod ledger;
mod openai;
mod openai_chat;
mod openai_completions;
mod openai_embeddings;
mod openai_responses;
mod outgoing;
mod plan;
mod recorder;
mod reply;
mod request;
mod routes;
mod script;
mod seal;
mod server;
mod shape;
mod sigv4;
mod tally;

use crate::cache::PromptCache;
use crate::ledger::Ledger;
use crate::openai_responses::Store;
use crate::recorder::Recorder;
use crate::script::Script;
use crate::seal::Sealer;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{Notify, watch};

/// Scripts that can wait for requests.
const MAX_NEXT_SCRIPTS: usize = 4_096;

/// What a simulator is started with.
///
/// Tokens are counted alike everywhere: a completion has as many as pieces were produced (a streamed delta is one); a prompt has 3,
/// and for each message 3 and a quarter of the bytes of its text, rounded up. Tools and media count where requests are judged.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// Threads that serve, at least one. Connections are dealt out to them in turn.
    pub threads: usize,
    /// Decides everything that looks random: ids, and when `sim/flaky` fails.
    pub seed: u64,
    /// The key that callers must show; `None`: any that is not empty.
    pub api_key: Option<String>,
    /// The secret with which requests to Bedrock must be signed; any access key goes with it.
    pub aws_secret_access_key: String,
    /// Whether raw requests are kept from the start (`POST /sim/record` changes it).
    pub record_requests: bool,
    /// Records that the ledger keeps (about 100 bytes each); the oldest go first, the totals keep everything.
    pub ledger_capacity: usize,
    /// A longer request body gets 413.
    pub max_body_bytes: usize,
    /// How long [`Simulator::stop`] lets requests in the works go on.
    pub drain_ms: u64,
}

impl Default for Options {
    /// A free port of 127.0.0.1, one thread, seed 0, any key, the AWS secret `simulator`, 4 million records, bodies up to 128 MiB, 1 s of drain.
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            threads: 1,
            seed: 0,
            api_key: None,
            aws_secret_access_key: "simulator".to_owned(),
            record_requests: false,
            ledger_capacity: 4_000_000,
            max_body_bytes: 128 << 20,
            drain_ms: 1_000,
        }
    }
}

/// A running simulator. Dropping it stops it.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Simulator {
    /// Binds and serves on threads of its own, named `sim-0`, `sim-1` …; ready when it returns.
    ///
    /// # Errors
    /// The address cannot be bound, or threads cannot be had.
    pub fn start(options: Options) -> io::Result<Self> {
        let listener = server::bind(options.address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(options));
        let (stop, stopped) = watch::channel(false);
        let simulator = Self { address, shared, stop, threads: Mutex::default() };
        // From here on a failure drops the simulator, which stops the threads there are.
        server::spawn(listener, &simulator.shared, &stopped, &mut simulator.threads())?;
        Ok(simulator)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything in the ledger, as `GET /sim/ledger` gives it: `{"records": […], "totals": {…}}`.
    pub fn ledger_json(&self) -> String {
        while self.shared.is_settling() {
            std::thread::yield_now();
        }
        self.shared.ledger_json(0, usize::MAX, None)
    }

    /// Takes no more connections, lets requests in the works end (for `drain_ms`), closes everything and joins the threads.
    /// Must not be called from one of an async runtime's tasks, which it would block. A second call does nothing.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.stop.send_replace(true);
        let threads = std::mem::take(&mut *self.threads());
        for thread in threads {
            // A thread that panicked has nothing left to stop.
            let _ = thread.join();
        }
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    options: Options,
    ledger: Mutex<Ledger>,
    recorder: Mutex<Recorder>,
    recording: AtomicBool,
    /// Whether everybody is judged.
    judging: AtomicBool,
    prompt_cache: Mutex<PromptCache>,
    /// Responses that can be gone on from.
    responses: Mutex<Store>,
    /// Scripts for requests that bring none, first come, first served.
    next_scripts: Mutex<VecDeque<String>>,
    sealer: Sealer,
    /// Requests seen; numbers ids.
    requests: AtomicU64,
    /// Requests to `sim/flaky` since the last reset.
    flaky_requests: AtomicU64,
    /// Requests in the works, and who waits for there being none.
    open: AtomicU64,
    drained: Notify,
    /// Replies that are out while their record is not yet in the ledger.
    settling: AtomicU64,
    stopping: AtomicBool,
}

impl Shared {
    fn new(options: Options) -> Self {
        Self {
            ledger: Mutex::new(Ledger::new(options.seed, options.ledger_capacity)),
            recorder: Mutex::default(),
            recording: AtomicBool::new(options.record_requests),
            judging: AtomicBool::new(false),
            prompt_cache: Mutex::default(),
            responses: Mutex::default(),
            next_scripts: Mutex::default(),
            sealer: Sealer::new(options.seed),
            requests: AtomicU64::new(0),
            flaky_requests: AtomicU64::new(0),
            open: AtomicU64::new(0),
            drained: Notify::new(),
            settling: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            options,
        }
    }

    // A thread that panicked while holding a lock left a ledger that is at worst one record short.
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prompt_cache(&self) -> MutexGuard<'_, PromptCache> {
        self.prompt_cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn responses(&self) -> MutexGuard<'_, Store> {
        self.responses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_scripts(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.next_scripts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_script(&self) -> Option<String> {
        self.next_scripts().pop_front()
    }

    /// Adds scripts for the next requests, all or none; returns how many wait now.
    fn queue_scripts(&self, scripts: impl Iterator<Item = String>) -> Result<usize, String> {
        let scripts: Vec<String> = scripts.collect();
        scripts.iter().try_for_each(|script| Script::parse(script).map(drop))?;
        let mut waiting = self.next_scripts();
        if waiting.len() + scripts.len() > MAX_NEXT_SCRIPTS {
            return Err(format!("at most {MAX_NEXT_SCRIPTS} scripts can wait"));
        }
        waiting.extend(scripts);
        Ok(waiting.len())
    }

    fn forget_scripts(&self) {
        self.next_scripts().clear();
    }

    fn is_settling(&self) -> bool {
        self.settling.load(Ordering::SeqCst) > 0
    }

    /// The ledger; with `body_bytes`, each record has the request as it was received, with so many bytes of its body at most.
    fn ledger_json(&self, after: u64, limit: usize, body_bytes: Option<usize>) -> String {
        let recorder = self.recorder();
        let received = |request: u64| body_bytes.and_then(|bytes| recorder.received(request, bytes)).map(|received| received.to_string());
        self.ledger().json(after, limit, self.open.load(Ordering::SeqCst), received)
    }
}
