//! Decisions, written down for `fairlead replay`: what each went by and what came of it, without anything that a prompt holds.
//!
//! A worker appends to a buffer of its own; full ones, and at every tick those that are not empty, go to a thread (`fl-decisions`) that
//! writes them ([`segment`]) and deletes what is too old or too much. Nobody waits: where the thread is behind, decisions are dropped and
//! counted. A killed process loses those of its last tick.

pub(crate) mod segment;

use fairlead_ir::GenerationId;
use segment::Log;
use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A buffer goes to the thread when it has so many bytes.
const BATCH_BYTES: usize = 32 << 10;
/// A longer record is dropped: a request that lists thousands of models.
const MOST_RECORD_BYTES: usize = 256 << 10;
/// Batches that may wait for the thread.
const MOST_WAITING: usize = 64;
/// How often what is too old is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// What the log may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// How long decisions are kept.
    pub(crate) ttl_ms: u64,
    /// What they may take of the disk together.
    pub(crate) most_bytes: u64,
}

/// What the thread goes by.
pub(crate) struct Rules {
    pub(crate) bounds: Bounds,
    pub(crate) now_ms: u64,
}

/// The log of a process.
pub(crate) struct Decisions {
    sender: SyncSender<Batch>,
    thread: parking_lot::Mutex<Option<JoinHandle<()>>>,
    folder: PathBuf,
    tallies: Arc<Tallies>,
}

/// What became of decisions.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    pub(crate) written: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

enum Batch {
    Records {
        bytes: Vec<u8>,
        count: u64,
    },
    /// Nothing follows.
    End,
}

impl Decisions {
    /// The log in this folder, which is made with mode 0700 when it is missing. `rules` are asked for whenever something is to be written or
    /// deleted; without them nothing is.
    pub(crate) fn start(folder: &Path, rules: impl Fn() -> Option<Rules> + Send + 'static) -> Result<Decisions, String> {
        let fail = |error: io::Error| format!("{}: {error}", folder.display());
        segment::make_folder(folder).map_err(fail)?;
        let (sender, batches) = sync_channel(MOST_WAITING);
        let tallies = Arc::new(Tallies::default());
        let keeping = Keeping { log: Log::new(folder), rules, tallies: tallies.clone(), is_failing: false };
        let thread = std::thread::Builder::new().name("fl-decisions".to_owned()).spawn(move || keeping.run(&batches)).map_err(fail)?;
        Ok(Decisions { sender, thread: parking_lot::Mutex::new(Some(thread)), folder: folder.to_owned(), tallies })
    }

    /// A worker's own end of it.
    pub(crate) fn notes(&self) -> Notes {
        Notes { sender: self.sender.clone(), tallies: self.tallies.clone(), bytes: RefCell::default(), count: Cell::new(0) }
    }

    pub(crate) fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// What the log takes of the disk.
    pub(crate) fn bytes(&self) -> u64 {
        segment::list(&self.folder).map_or(0, |segments| segments.iter().map(|segment| segment.bytes).sum())
    }

    /// Writes what waits and ends the thread. What comes later is dropped.
    pub(crate) fn close(&self) {
        if let Some(thread) = self.thread.lock().take() {
            // Waits for room if need be: the thread takes all there is.
            let _ = self.sender.send(Batch::End);
            let _ = thread.join();
        }
    }
}

/// Decisions of one worker that have not been handed over yet.
pub(crate) struct Notes {
    sender: SyncSender<Batch>,
    tallies: Arc<Tallies>,
    bytes: RefCell<Vec<u8>>,
    count: Cell<u64>,
}

impl Notes {
    /// Writes a decision down. `asked`: how the endpoints would have been spoken to, in a byte of the caller's.
    pub(crate) fn add(&self, generation: GenerationId, asked: u8, write: impl FnOnce(&mut Vec<u8>)) {
        self.append(generation, asked, write, 1);
    }

    /// Writes down what became of a decision. It is none itself, and not counted as one.
    pub(crate) fn add_about(&self, generation: GenerationId, word: u8) {
        self.append(generation, word, |_| (), 0);
    }

    fn append(&self, generation: GenerationId, asked: u8, write: impl FnOnce(&mut Vec<u8>), decisions: u64) {
        let mut bytes = self.bytes.borrow_mut();
        if bytes.capacity() == 0 {
            bytes.reserve(BATCH_BYTES + (BATCH_BYTES >> 2));
        }
        let start = bytes.len();
        bytes.extend_from_slice(&[0; segment::RECORD_HEAD_BYTES]);
        write(&mut bytes);
        if bytes.len() - start > MOST_RECORD_BYTES {
            bytes.truncate(start);
            self.tallies.dropped.fetch_add(1, Relaxed);
            return;
        }
        segment::finish_record(&mut bytes[start..], generation, asked);
        self.count.set(self.count.get() + decisions);
        let is_full = bytes.len() >= BATCH_BYTES;
        drop(bytes);
        if is_full {
            self.hand_over();
        }
    }

    /// Gives what there is to the thread.
    pub(crate) fn hand_over(&self) {
        if self.bytes.borrow().is_empty() {
            return;
        }
        let (bytes, count) = (self.bytes.take(), self.count.take());
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.sender.try_send(Batch::Records { bytes, count }) {
            self.tallies.dropped.fetch_add(count, Relaxed);
        }
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        self.hand_over();
    }
}

/// The thread's own.
struct Keeping<R> {
    log: Log,
    rules: R,
    tallies: Arc<Tallies>,
    is_failing: bool,
}

impl<R: Fn() -> Option<Rules>> Keeping<R> {
    fn run(mut self, batches: &Receiver<Batch>) {
        self.sweep();
        loop {
            match batches.recv_timeout(SWEEP_EVERY) {
                Ok(Batch::Records { bytes, count }) => self.write(&bytes, count),
                Err(RecvTimeoutError::Timeout) => self.sweep(),
                Ok(Batch::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn write(&mut self, records: &[u8], count: u64) {
        let written = match (self.rules)() {
            Some(rules) => self.log.write(records, &rules),
            // Whoever would say what to do is gone, or nothing has been configured.
            None => Err(io::Error::other("no configuration is in force")),
        };
        let tally = if written.is_ok() { &self.tallies.written } else { &self.tallies.dropped };
        tally.fetch_add(count, Relaxed);
        self.report(written);
    }

    fn sweep(&mut self) {
        if let Some(rules) = (self.rules)() {
            let swept = self.log.sweep(&rules);
            self.report(swept);
        }
    }

    /// Says once that something is wrong, until it is right again.
    fn report(&mut self, outcome: io::Result<()>) {
        if let Err(error) = &outcome
            && !self.is_failing
        {
            eprintln!("fairlead: decisions are not being logged in {}: {error}", self.log.folder().display());
        }
        self.is_failing = outcome.is_err();
    }
}
