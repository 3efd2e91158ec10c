//! The data plane without a listener: calls come from the process that it is in, and go through the pipeline like any other. One thread
//! (`fl-library`) does the work; orders go to it through a bounded queue, news comes back in batches behind one bell ([`Events`]).
//!
//! Absent on purpose: keys (the process is its own principal), kept responses, the control plane, and threads per call.

mod feed;
mod thread;

pub use feed::Feed;

use crate::events::{Event, Events};
use crate::gateway::{Shared, StartError, failed, log_decisions, open_journal, secret_bytes, wake_at_settlements};
use crate::pipeline::Settlement;
use crate::worker::Books;
use bytes::Bytes;
use fairlead_journal::{Durability, Journal};
use fairlead_snapshot::{Principal, SnapshotError};
use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// What a library is made with; everything that may change while it runs is in the snapshot.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibraryOptions {
    /// Server secret in hexadecimal digits, at least 32 bytes.
    pub secret: String,
    /// Folder of the journal; none: nothing is written anywhere.
    #[serde(default)]
    pub journal_dir: Option<PathBuf>,
    /// Folder of the log of decisions; none: none are logged.
    #[serde(default)]
    pub decisions_dir: Option<PathBuf>,
    /// This node's number, 0 to 4095.
    #[serde(default)]
    pub node: u16,
    /// How far SQL has applied the journal: node, epoch, worker, segment, offset.
    #[serde(default)]
    pub cursors: Vec<(u16, u64, u16, u64, u64)>,
    /// The account that pays.
    pub account: u64,
    /// Orders that may wait for the thread; more are refused.
    pub queue: usize,
}

/// A call to be made.
#[derive(Debug)]
pub struct Order {
    /// The caller's own number for it.
    pub call: u64,
    /// What would be the request's path on the traffic port.
    pub path: String,
    /// What would be its headers, but for a key.
    pub headers: Vec<(String, String)>,
    /// The body in the dialect that belongs to the path.
    pub body: Bytes,
}

/// News of a call.
#[derive(Debug)]
pub enum News {
    /// Its reply is a stream, whose events come through the feed.
    Began {
        /// The caller's number.
        call: u64,
        /// The generation id.
        generation: String,
        /// The events.
        feed: Arc<Feed>,
        /// Why it went where it went, as JSON, where the order asked for that (`X-Fairlead-Explain`).
        explanation: Option<Vec<u8>>,
    },
    /// Its feed, which was empty when it was last asked, has events.
    Ready {
        /// The caller's number.
        call: u64,
    },
    /// Nothing more comes of it.
    Over(Over),
}

/// How a call ended.
#[derive(Debug)]
pub struct Over {
    /// The caller's number.
    pub call: u64,
    /// The HTTP status, of a stream that failed that of its failure; 0 where the call was cancelled or lost.
    pub status: u16,
    /// The reply, or the error in OpenRouter's shape; empty behind a stream that went well.
    pub body: Vec<Bytes>,
    /// What it came to, if it came so far that there was something to settle.
    pub settlement: Option<Box<Settlement>>,
    /// As of [`News::Began`], of a call that never was a stream.
    pub explanation: Option<Vec<u8>>,
    /// Of a failure: when to come again, in milliseconds, where that is known.
    pub retry_after_ms: Option<u64>,
}

/// What is told to the thread.
enum Command {
    Begin(Order),
    Cancel(u64),
    Stop { grace: Duration },
}

/// Where news waits to be taken.
struct Outbox {
    shared: Arc<Shared>,
    news: Mutex<Vec<News>>,
}

impl Outbox {
    fn put(&self, news: News) {
        self.news.lock().push(news);
        self.shared.events.ring(Event::Calls);
    }
}

/// The data plane for calls of this process.
pub struct Library {
    shared: Arc<Shared>,
    journal: Option<Arc<Journal>>,
    commands: Sender<Command>,
    outbox: Arc<Outbox>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Library {
    /// Starts the thread. Calls are refused until a snapshot is loaded.
    ///
    /// # Errors
    /// When the secret, the folder of the journal or of decisions, or the random source cannot be used, or the thread cannot be started.
    pub fn start(options: &LibraryOptions) -> Result<Library, StartError> {
        let secret = secret_bytes(&options.secret)?;
        // A library's calls are limited by nobody.
        let open = |folder| open_journal(folder, options.node, &options.cursors, 1, Durability::Process).map(|(journal, _)| journal);
        let journal = options.journal_dir.as_deref().map(open).transpose()?;
        let books = match &journal {
            Some(journal) => Books::Journal(journal.writer(0).map_err(|error| failed("journal", &error))?),
            None => Books::Told,
        };
        // Nodes keep generation ids apart; processes that share no folder have no numbers, and let chance do it.
        let mut salt = [0; 4];
        SystemRandom::new().fill(&mut salt).map_err(|_| StartError("the system's random source failed".to_owned()))?;
        let shared = Arc::new(Shared::new(&secret, journal.clone(), options.node, 1)?);
        wake_at_settlements(&shared);
        if let Some(folder) = &options.decisions_dir {
            log_decisions(&shared, folder)?;
        }
        let outbox = Arc::new(Outbox { shared: shared.clone(), news: Mutex::default() });
        let (commands, orders) = channel(options.queue.max(1));
        let seat = Seat {
            outbox: outbox.clone(),
            orders,
            books,
            principal: Arc::new(Principal::process(options.account)),
            salt: u32::from_ne_bytes(salt),
        };
        let thread = thread::start(seat).map_err(|error| failed("cannot start the library's thread", &error))?;
        Ok(Library { shared, journal, commands, outbox, thread: Mutex::new(Some(thread)) })
    }

    /// Puts a new configuration in force for every call that begins from now on. Calls in progress keep theirs.
    ///
    /// # Errors
    /// When it is not valid; the one in force stays.
    pub fn load_snapshot(&self, json: &[u8]) -> Result<u64, SnapshotError> {
        self.shared.load_snapshot(json)
    }

    /// Begins a call; `false` where the thread has ended or is so far behind that its queue is full.
    pub fn begin(&self, order: Order) -> bool {
        self.commands.try_send(Command::Begin(order)).is_ok()
    }

    /// Nobody waits for a call any more: it ends as if its client had left. `false` as for [`Library::begin`].
    pub fn cancel(&self, call: u64) -> bool {
        self.commands.try_send(Command::Cancel(call)).is_ok()
    }

    /// The bell: readable when there is news of calls or of the journal.
    pub fn events(&self) -> &Events {
        &self.shared.events
    }

    /// Takes what came, oldest first.
    pub fn take(&self) -> Vec<News> {
        std::mem::take(&mut *self.outbox.news.lock())
    }

    /// The journal, where one is written.
    pub fn journal(&self) -> Option<&Journal> {
        self.journal.as_deref()
    }

    /// Lets what is running come to its end within `grace`, cuts off, tells and settles what is left, and waits for the thread. Whoever
    /// calls must not begin anything meanwhile.
    pub fn stop(&self, grace: Duration) {
        if let Some(thread) = self.thread.lock().take() {
            // Waits where the queue is full; an error is that of a thread that has ended.
            let _ = self.commands.blocking_send(Command::Stop { grace });
            // A panic in there was printed when it happened.
            let _ = thread.join();
            if let Some(decisions) = self.shared.decisions.get() {
                decisions.close();
            }
        }
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// What the thread is started with.
struct Seat {
    outbox: Arc<Outbox>,
    orders: Receiver<Command>,
    books: Books,
    principal: Arc<Principal>,
    salt: u32,
}
