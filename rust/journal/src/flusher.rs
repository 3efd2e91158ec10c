//! The side thread `fl-journal`: syncs to disk, prepares the next segments, wakes the reader.

use crate::Durability;
use crate::chain::{Chain, Shared, lock};
use crate::error::Error;
use std::fs::File;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How long a record may wait for its sync under [`Durability::Process`].
const SYNC_INTERVAL: Duration = Duration::from_millis(20);
/// Bytes of one chain after which the sync does not wait for the interval.
pub(crate) const SYNC_BYTES: u64 = 1 << 20;

/// What the workers tell the side thread. A worker pays a system call only for the first record after a sync.
#[derive(Default)]
pub(crate) struct Signal {
    dirty: AtomicBool,
    urgent: AtomicBool,
    news: AtomicBool,
    prepare: AtomicBool,
    closing: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Signal {
    pub(crate) fn set_thread(&self, thread: &Thread) {
        let _ = self.thread.set(thread.clone());
    }

    /// A record stands behind the position published before this call. If `dirty` is still set here, the side thread clears it later
    /// and then reads that position; both are sequentially consistent, so one of the two sees the other.
    pub(crate) fn written(&self) {
        if !self.dirty.load(SeqCst) && !self.dirty.swap(true, SeqCst) {
            self.unpark();
        }
    }

    /// Much has been written: sync now.
    pub(crate) fn much_written(&self) {
        self.urgent.store(true, SeqCst);
        self.unpark();
    }

    /// A settlement stands behind the position published before this call; the reader is woken with the sync that the next call of
    /// [`Signal::written`] asks for.
    pub(crate) fn settled(&self) {
        self.news.swap(true, SeqCst);
    }

    /// A chain has no next segment.
    pub(crate) fn want_segment(&self) {
        self.prepare.store(true, SeqCst);
        self.unpark();
    }

    pub(crate) fn close(&self) {
        self.closing.store(true, SeqCst);
        self.unpark();
    }

    fn unpark(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// The side thread's life, until [`Signal::close`].
pub(crate) fn run(shared: &Shared) {
    let signal = &shared.signal;
    let mut due: Option<Instant> = None;
    while !signal.closing.load(SeqCst) {
        if signal.prepare.swap(false, SeqCst) {
            prepare_segments(shared);
        }
        if !signal.dirty.load(SeqCst) {
            thread::park();
            continue;
        }
        let now = Instant::now();
        let wait = due.get_or_insert(now + SYNC_INTERVAL).saturating_duration_since(now);
        if shared.options.durability == Durability::Process && !wait.is_zero() && !signal.urgent.load(SeqCst) {
            thread::park_timeout(wait);
            continue;
        }
        due = None;
        round(shared);
    }
    round(shared);
}

/// One round: wake the reader (the page cache has the records already), then sync.
fn round(shared: &Shared) {
    shared.signal.urgent.store(false, SeqCst);
    shared.signal.dirty.store(false, SeqCst);
    if shared.signal.news.swap(false, SeqCst)
        && let Some(wake) = &*lock(&shared.waker)
    {
        wake();
    }
    sync(shared);
    shared.wake_waiting();
}

/// Syncs every chain. After an error nothing is synced again: the kernel may have dropped the pages it could not write, and a second
/// call on the same descriptor would report success.
pub(crate) fn sync(shared: &Shared) {
    for chain in shared.all_chains() {
        if shared.failure().is_some() {
            return;
        }
        if let Err(error) = chain.sync(&shared.options.directory) {
            shared.fail(format!("sync: {error}"));
        }
    }
}

/// Makes what is missing. Without room nothing happens here: the worker that needs the segment tries again and reports.
fn prepare_segments(shared: &Shared) {
    let directory = &shared.options.directory;
    let mut made = false;
    for chain in shared.all_chains() {
        if let Ok(Some(file)) = chain.prepare_next(&shared.options) {
            made = true;
            if let Err(error) = file.sync_all() {
                shared.fail(format!("sync of a new segment: {error}"));
            }
        }
    }
    if made && let Err(error) = sync_directory(directory) {
        shared.fail(format!("sync of the journal's folder: {error}"));
    }
}

/// Makes names in a folder durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Resolves when everything that its writer had appended is on disk, or with [`Error::Failed`] when that can no longer be known.
pub struct Durable {
    shared: Arc<Shared>,
    chain: Arc<Chain>,
    target: u64,
}

impl Durable {
    pub(crate) fn new(shared: &Arc<Shared>, chain: &Arc<Chain>) -> Durable {
        Durable { shared: Arc::clone(shared), chain: Arc::clone(chain), target: chain.packed_position() }
    }

    fn outcome(&self) -> Poll<Result<(), Error>> {
        if self.chain.packed_synced() >= self.target {
            return Poll::Ready(Ok(()));
        }
        match self.shared.failure() {
            Some(reason) => Poll::Ready(Err(Error::Failed(reason.to_owned()))),
            None => Poll::Pending,
        }
    }
}

impl Future for Durable {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.outcome().is_ready() {
            return self.outcome();
        }
        lock(&self.shared.waiting).push(context.waker().clone());
        // A round may have ended between the look and the registration.
        self.outcome()
    }
}
