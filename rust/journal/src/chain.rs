//! What the writers, the side thread and the journal's owner share: the chains of this process life and the state of the whole.

use crate::flusher::{Signal, sync_directory};
use crate::retention::{Applied, Holdings};
use crate::segment::{self, ChainId, Fresh, SegmentId};
use crate::{Cursor, Options};
use fairlead_ir::GenerationId;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

/// Locks; a panic elsewhere while it was held leaves nothing half-done here that would matter more than going on.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// State of one open journal.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) epoch: u64,
    pub(crate) signal: Signal,
    /// Chains of this epoch.
    pub(crate) chains: Mutex<Vec<Arc<Chain>>>,
    /// Chains of earlier epochs.
    pub(crate) earlier: Mutex<Holdings>,
    pub(crate) applied: Mutex<Applied>,
    /// Bytes of full segments on disk.
    pub(crate) backlog_bytes: AtomicU64,
    pub(crate) waker: Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
    /// Tasks that wait for a sync.
    pub(crate) waiting: Mutex<Vec<Waker>>,
    failure: OnceLock<String>,
}

impl Shared {
    pub(crate) fn new(options: Options, epoch: u64, earlier: Holdings, backlog_bytes: u64) -> Shared {
        Shared {
            options,
            epoch,
            signal: Signal::default(),
            chains: Mutex::default(),
            earlier: Mutex::new(earlier),
            applied: Mutex::default(),
            backlog_bytes: AtomicU64::new(backlog_bytes),
            waker: Mutex::default(),
            waiting: Mutex::default(),
            failure: OnceLock::new(),
        }
    }

    /// The first failure, after which no paid work may start.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Remembers the first failure and tells those who wait for a sync.
    pub(crate) fn fail(&self, reason: String) {
        let _ = self.failure.set(reason);
        self.wake_waiting();
    }

    pub(crate) fn wake_waiting(&self) {
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn all_chains(&self) -> Vec<Arc<Chain>> {
        lock(&self.chains).clone()
    }

    /// The terminal of a reservation that does not stand in the chain of the worker that settles it.
    pub(crate) fn settled_elsewhere(&self, generation: GenerationId, at: Cursor) {
        let known = lock(&self.earlier).settled(generation, at);
        if !known {
            self.all_chains().iter().any(|chain| lock(&chain.holdings).settled(generation, at));
        }
    }
}

/// One worker's chain.
pub(crate) struct Chain {
    pub(crate) id: ChainId,
    pub(crate) holdings: Mutex<Holdings>,
    pub(crate) files: Mutex<Files>,
    /// How many segments are there to follow the current one; spares the worker the lock.
    pub(crate) segments_ready: AtomicU64,
    /// Whether `carry` has something; spares the worker the lock.
    pub(crate) carry_waits: AtomicBool,
    carry: Mutex<Vec<Carried>>,
    /// Whether the worker made segments itself, whose names no sync of the folder has covered.
    new_names: AtomicBool,
    next: Mutex<Next>,
    position: AtomicU64,
    synced: AtomicU64,
}

/// A reservation that keeps an old segment from being freed: the worker writes it once more.
pub(crate) struct Carried {
    pub(crate) generation: GenerationId,
    pub(crate) from: SegmentId,
    pub(crate) payload: Box<[u8]>,
    /// The last note of how far it has come, where there is one.
    pub(crate) progress: Option<Box<[u8]>>,
}

/// The segments that follow the one being written: one, or more while very many calls are open.
struct Next {
    /// The first one's number.
    number: u64,
    fresh: VecDeque<Fresh>,
}

/// Files with records that may not be on disk yet.
pub(crate) struct Files {
    /// Full segments that no sync has covered since they were full.
    pub(crate) full: Vec<Arc<File>>,
    pub(crate) current: Arc<File>,
}

impl Chain {
    /// A chain whose segment 0 is `file`.
    pub(crate) fn new(id: ChainId, file: Arc<File>, holdings: Holdings) -> Chain {
        let start = pack(0, segment::HEADER_BYTES);
        Chain {
            id,
            holdings: Mutex::new(holdings),
            files: Mutex::new(Files { full: Vec::new(), current: file }),
            segments_ready: AtomicU64::new(0),
            carry_waits: AtomicBool::new(false),
            carry: Mutex::default(),
            new_names: AtomicBool::new(false),
            next: Mutex::new(Next { number: 1, fresh: VecDeque::new() }),
            position: AtomicU64::new(start),
            synced: AtomicU64::new(start),
        }
    }

    /// Everything before this place has been written.
    pub(crate) fn position(&self) -> Cursor {
        self.unpack(self.packed_position())
    }

    pub(crate) fn packed_position(&self) -> u64 {
        self.position.load(Ordering::SeqCst)
    }

    /// Says how far the worker has written. Sequentially consistent with the signal's flags: see [`Signal::written`].
    pub(crate) fn publish(&self, segment: u64, offset: u64) {
        self.position.store(pack(segment, offset), Ordering::SeqCst);
    }

    pub(crate) fn packed_synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// Syncs what had been written when the call began, to segments in `directory`.
    pub(crate) fn sync(&self, directory: &Path) -> io::Result<()> {
        let target = self.packed_position();
        if target == self.packed_synced() {
            return Ok(());
        }
        // Taken after the position was read, so every byte before it is in one of these files.
        let (full, current) = {
            let mut files = lock(&self.files);
            (std::mem::take(&mut files.full), Arc::clone(&files.current))
        };
        full.iter().try_for_each(|file| file.sync_data())?;
        current.sync_data()?;
        if self.new_names.swap(false, Ordering::AcqRel) {
            sync_directory(directory)?;
        }
        self.synced.store(target, Ordering::Release);
        Ok(())
    }

    /// Hands reservations to the worker, which writes one of them after each of its next records.
    pub(crate) fn offer(&self, carried: Vec<Carried>) {
        let mut carry = lock(&self.carry);
        carry.extend(carried);
        self.carry_waits.store(!carry.is_empty(), Ordering::Release);
    }

    /// Takes one of what was offered.
    pub(crate) fn take_offered(&self) -> Option<Carried> {
        let mut carry = lock(&self.carry);
        let taken = carry.pop();
        self.carry_waits.store(!carry.is_empty(), Ordering::Release);
        taken
    }

    /// Makes the next segment unless there is one. Returns its file when it was made now; it is not synced.
    pub(crate) fn prepare_next(&self, options: &Options) -> io::Result<Option<Arc<File>>> {
        let mut next = lock(&self.next);
        if next.fresh.is_empty() { self.add_fresh(&mut next, options).map(Some) } else { Ok(None) }
    }

    /// Makes one more segment to follow those that are there. The sync of the first record behind this call covers its name.
    pub(crate) fn prepare_another(&self, options: &Options) -> io::Result<()> {
        self.add_fresh(&mut lock(&self.next), options)?;
        self.new_names.store(true, Ordering::Release);
        Ok(())
    }

    /// Hands out the next segment and its number, made now if there is none.
    pub(crate) fn take_next(&self, options: &Options) -> io::Result<(u64, Fresh)> {
        let mut next = lock(&self.next);
        let fresh = match next.fresh.pop_front() {
            Some(fresh) => fresh,
            None => {
                let made = self.create(next.number, options)?;
                self.new_names.store(true, Ordering::Release);
                made
            }
        };
        let number = next.number;
        next.number += 1;
        self.segments_ready.store(next.fresh.len() as u64, Ordering::Release);
        Ok((number, fresh))
    }

    fn add_fresh(&self, next: &mut Next, options: &Options) -> io::Result<Arc<File>> {
        let fresh = self.create(next.number + next.fresh.len() as u64, options)?;
        let file = Arc::clone(&fresh.file);
        next.fresh.push_back(fresh);
        self.segments_ready.store(next.fresh.len() as u64, Ordering::Release);
        Ok(file)
    }

    fn create(&self, number: u64, options: &Options) -> io::Result<Fresh> {
        segment::create(&options.directory, SegmentId { chain: self.id, number }, options.segment_bytes)
    }

    fn unpack(&self, packed: u64) -> Cursor {
        self.id.cursor(packed >> 32, packed & u64::from(u32::MAX))
    }
}

/// Segment and offset in one word, so that both are read together. An offset is below 2³⁰; 2³² segments are 64 PiB.
fn pack(segment: u64, offset: u64) -> u64 {
    segment << 32 | offset
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::fs;

    /// A folder that is not there any more stands in for one that cannot be synced: whoever syncs it notices.
    #[test]
    fn names_of_segments_that_the_worker_made_are_synced_with_its_records() {
        let check = |name: &str, make: fn(&Chain, &Options), needs_folder: bool| {
            let directory = std::env::temp_dir().join(format!("fairlead-journal-names-{name}-{}", std::process::id()));
            fs::create_dir(&directory).unwrap();
            let options = Options { segment_bytes: Options::SEGMENT_BYTES_MIN, ..Options::new(&directory) };
            let id = ChainId { epoch: 1, node: 0, worker: 0 };
            let first = segment::create(&directory, SegmentId { chain: id, number: 0 }, options.segment_bytes).unwrap();
            let chain = Chain::new(id, first.file, Holdings::default());
            make(&chain, &options);
            chain.publish(0, 100);
            fs::remove_dir_all(&directory).unwrap();
            assert_eq!(chain.sync(&directory).is_err(), needs_folder, "{name}");
            assert_eq!(chain.packed_synced() == chain.packed_position(), !needs_folder, "{name}");
        };
        check("none", |_, _| {}, false);
        check("next", |chain, options| drop(chain.take_next(options).unwrap()), true);
        check("another", |chain, options| chain.prepare_another(options).unwrap(), true);
        // The side thread syncs the folder itself after this one.
        check("prepared", |chain, options| drop(chain.prepare_next(options).unwrap()), false);
    }
}
