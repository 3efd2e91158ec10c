//! The journal of one process: opened once, one writer per worker.

use crate::chain::{Carried, Chain, Shared, lock};
use crate::error::Error;
use crate::flusher::{self, sync_directory};
use crate::frame::{self, Kind, Step};
use crate::recovery::{self, Recovery};
use crate::retention::{Applied, Held, Holdings};
use crate::segment::{self, ChainId, Header, SegmentId};
use crate::writer::Writer;
use crate::{Cursor, Options, record};
use fairlead_ir::GenerationId;
use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

/// Full segments a chain may have behind its oldest one before the open reservations in that one are written again.
const CARRY_AFTER_SEGMENTS: usize = 4;

/// The journal of one process.
pub struct Journal {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Held as long as the journal is open.
    _lock: File,
}

impl Journal {
    /// Opens the folder (making it with mode 0700), takes the next epoch, and scans what earlier epochs left, all segments in
    /// parallel. `applied` is how far SQL has committed; chains without a cursor count as not applied at all.
    ///
    /// Refuses a folder that another process has open or that a newer version wrote. Damage is stepped over and reported.
    pub fn open(options: Options, applied: &[Cursor]) -> Result<(Journal, Recovery), Error> {
        check(&options)?;
        let directory = options.directory.clone();
        DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(Error::io("create", &directory))?;
        let held_lock = lock_folder(&directory)?;
        segment::remove_unfinished(&directory)?;
        let chains = segment::list(&directory)?;
        let newest = chains.keys().map(|chain| chain.epoch).chain(applied.iter().map(|cursor| cursor.epoch)).max().unwrap_or(0);
        let mut place = Applied::default();
        place.advance(applied);
        let (recovery, earlier) = recovery::scan(&directory, &chains, &place, newest + 1, options.recent_since_ms)?;
        let shared = Arc::new(Shared::new(options, newest + 1, earlier, recovery.scanned_bytes));
        let thread = start(&shared)?;
        let journal = Journal { shared, thread: Some(thread), _lock: held_lock };
        journal.applied(applied);
        Ok((journal, recovery))
    }

    /// This process life's number.
    pub fn epoch(&self) -> u64 {
        self.shared.epoch
    }

    /// The writer of one worker. There is one per worker and journal.
    pub fn writer(&self, worker: u16) -> Result<Writer, Error> {
        let options = &self.shared.options;
        let id = SegmentId { chain: ChainId { epoch: self.shared.epoch, node: options.node, worker }, number: 0 };
        let mut chains = lock(&self.shared.chains);
        if chains.iter().any(|chain| chain.id == id.chain) {
            return Err(Error::WorkerTaken(worker));
        }
        let fresh = segment::create(&options.directory, id, options.segment_bytes).map_err(Error::DiskFull)?;
        fresh.file.sync_all().map_err(Error::io("sync", &options.directory))?;
        sync_directory(&options.directory).map_err(Error::io("sync", &options.directory))?;
        let mut holdings = Holdings::default();
        holdings.add(Held::new(id, options.segment_bytes));
        let chain = Arc::new(Chain::new(id.chain, Arc::clone(&fresh.file), holdings));
        chains.push(Arc::clone(&chain));
        self.shared.signal.want_segment();
        Ok(Writer::new(Arc::clone(&self.shared), chain, fresh))
    }

    /// The end of every chain now, those of earlier epochs included while they have segments.
    pub fn position(&self) -> Vec<Cursor> {
        let mut position = lock(&self.shared.earlier).ends();
        position.extend(self.shared.all_chains().iter().map(|chain| chain.position()));
        position
    }

    /// SQL has durably committed everything before these cursors. Frees the segments that nobody needs any more; one that cannot be
    /// removed now is found again at the next start.
    pub fn applied(&self, cursors: &[Cursor]) {
        let mut applied = lock(&self.shared.applied);
        applied.advance(cursors);
        let earlier = lock(&self.shared.earlier).release_epochs(&applied);
        self.discard(earlier);
        if !lock(&self.shared.earlier).is_empty() {
            return;
        }
        applied.forget_before(self.shared.epoch);
        for chain in self.shared.all_chains() {
            self.carry_stragglers(&chain, &applied);
            let freed = lock(&chain.holdings).release(&applied);
            self.discard(freed);
        }
    }

    /// False after a write or sync error: paid work must be refused, and the process restarted.
    pub fn healthy(&self) -> bool {
        self.shared.failure().is_none()
    }

    /// Why the journal is not healthy.
    pub fn failure(&self) -> Option<String> {
        self.shared.failure().map(str::to_owned)
    }

    /// Bytes of full segments on disk: what [`Options::backlog_bytes`] limits.
    pub fn backlog_bytes(&self) -> u64 {
        self.shared.backlog_bytes.load(Ordering::Relaxed)
    }

    /// Sets the hook that says "there are new settlements". It runs on the side thread, at most once per sync (20 ms), must be quick
    /// and must not own the journal.
    pub fn set_waker(&self, wake: Box<dyn Fn() + Send + Sync>) {
        *lock(&self.shared.waker) = Some(wake);
    }

    /// Syncs everything and stops the side thread. Writers should be gone: what they append afterwards is synced by nobody.
    pub fn sync_and_close(mut self) -> Result<(), Error> {
        self.stop();
        self.failure().map_or(Ok(()), |reason| Err(Error::Failed(reason)))
    }

    fn stop(&mut self) {
        self.shared.signal.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            self.shared.fail("the journal's thread has died".to_owned());
        }
    }

    fn discard(&self, freed: Vec<Held>) {
        for held in freed {
            if segment::discard(&self.shared.options.directory, held.id, held.damaged).is_ok() {
                self.shared.backlog_bytes.fetch_sub(held.bytes, Ordering::Relaxed);
            }
        }
    }

    /// Lets a chain's worker write the open reservations of its oldest segment again, so that one call of an hour does not keep an hour
    /// of segments. A segment that cannot be read simply stays.
    fn carry_stragglers(&self, chain: &Chain, applied: &Applied) {
        if chain.carry_waits.load(Ordering::Acquire) {
            return;
        }
        let straggler = lock(&chain.holdings).straggler(applied, CARRY_AFTER_SEGMENTS);
        let Some((from, open)) = straggler else { return };
        if let Ok(bytes) = fs::read(from.path(&self.shared.options.directory)) {
            let open = open.into_iter().collect();
            let mut carried = reservations(&bytes, from, &open);
            // Their notes stand there or in one of the segments that may be freed along with it.
            let mut notes = HashMap::new();
            last_notes(&bytes, from, &open, &mut notes);
            for number in from.number + 1..=chain.position().segment {
                let id = SegmentId { number, ..from };
                if let Ok(bytes) = fs::read(id.path(&self.shared.options.directory)) {
                    last_notes(&bytes, id, &open, &mut notes);
                }
            }
            carried.iter_mut().for_each(|carried| carried.progress = notes.remove(&carried.generation));
            chain.offer(carried);
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The reservations in a segment that are among `open`.
fn reservations(bytes: &[u8], from: SegmentId, open: &HashSet<GenerationId>) -> Vec<Carried> {
    let mut found = Vec::new();
    each_record(bytes, from, Kind::Reserve, open, |generation, payload| {
        found.push(Carried { generation, from, payload: payload.into(), progress: None });
    });
    found
}

/// The last notes in a segment of how far calls among `open` have come, in place of earlier ones.
fn last_notes(bytes: &[u8], id: SegmentId, open: &HashSet<GenerationId>, notes: &mut HashMap<GenerationId, Box<[u8]>>) {
    let number = |payload: &[u8]| record::progress_number(payload).unwrap_or(0);
    each_record(bytes, id, Kind::Progress, open, |generation, payload| {
        if notes.get(&generation).is_none_or(|last| number(last) <= number(payload)) {
            notes.insert(generation, payload.into());
        }
    });
}

/// The records of a kind in a segment whose generation is among `open`.
fn each_record(bytes: &[u8], id: SegmentId, kind: Kind, open: &HashSet<GenerationId>, mut take: impl FnMut(GenerationId, &[u8])) {
    let Header::Valid { seed, .. } = segment::check_header(bytes, id) else { return };
    let mut rest = bytes.get(segment::HEADER_BYTES as usize..).unwrap_or_default();
    while let Step::Record(frame) = frame::read(rest, rest.len(), seed) {
        if frame.known_kind() == Some(kind)
            && let Ok(generation) = record::generation(frame.payload)
            && open.contains(&generation)
        {
            take(generation, frame.payload);
        }
        rest = &rest[frame.size..];
    }
}

fn check(options: &Options) -> Result<(), Error> {
    if !(Options::SEGMENT_BYTES_MIN..=Options::SEGMENT_BYTES_MAX).contains(&options.segment_bytes) {
        return Err(Error::Option("a segment has from 128 KiB to 1 GiB"));
    }
    Ok(())
}

/// Refuses a second process: both would take the same epoch.
fn lock_folder(directory: &Path) -> Result<File, Error> {
    let path = directory.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked(directory.to_path_buf())),
        Err(TryLockError::Error(source)) => Err(Error::Io { action: "lock", path, source }),
    }
}

fn start(shared: &Arc<Shared>) -> Result<JoinHandle<()>, Error> {
    let for_thread = Arc::clone(shared);
    let spawned = thread::Builder::new().name("fl-journal".to_owned()).spawn(move || flusher::run(&for_thread));
    let handle = spawned.map_err(Error::io("start the thread of", &shared.options.directory))?;
    shared.signal.set_thread(handle.thread());
    Ok(handle)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use fairlead_ledger::{Reserve, Scopes};
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn a_failed_sync_stops_paid_work() {
        let directory = std::env::temp_dir().join(format!("fairlead-journal-sync-{}", std::process::id()));
        let (journal, _) = Journal::open(Options::new(&directory), &[]).unwrap();
        let mut writer = journal.writer(0).unwrap();
        let reserve = Reserve {
            generation: GenerationId(1),
            started_at_ms: 0,
            scopes: Scopes::default(),
            reserved: fairlead_ir::NanoUsd(1),
            model: String::new(),
            provider: String::new(),
            prompt_tokens_estimate: 0,
            prompt_cost_estimate: fairlead_ir::NanoUsd(1),
            price_version: 0,
        };
        // A device that cannot be synced stands in for a disk that fails.
        lock(&journal.shared.all_chains()[0].files).current = Arc::new(File::open("/dev/null").unwrap());
        writer.reserve(&reserve).unwrap();
        let durable = writer.durable();
        flusher::sync(&journal.shared);
        let polled = std::pin::pin!(durable).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(Err(Error::Failed(_)))));
        assert!(!journal.healthy());
        assert!(matches!(writer.reserve(&reserve), Err(Error::Failed(_))));
        assert!(journal.sync_and_close().is_err());
        fs::remove_dir_all(directory).unwrap();
    }
}
