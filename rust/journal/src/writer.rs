//! One worker's end of the journal.

use crate::chain::{Chain, Shared, lock};
use crate::error::Error;
use crate::flusher::{Durable, SYNC_BYTES};
use crate::frame::{self, Kind};
use crate::record::{self, ReserveRef};
use crate::retention::Held;
use crate::segment::{self, Fresh, SegmentId};
use crate::{Cursor, Durability};
use fairlead_ir::GenerationId;
use fairlead_ledger::{Progress, Reserve, Settle};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Room kept for the settlement of each open reservation. Settlements are near 500 bytes and few have more than one attempt, but a
/// translation may leave [`record::LOSSES_MAX`] losses of some 100 bytes.
const SETTLE_ROOM_BYTES: u64 = 4 << 10;

/// Appends to one chain. Nothing is kept back: when a call returns, the record is in the page cache.
pub struct Writer {
    shared: Arc<Shared>,
    chain: Arc<Chain>,
    file: Arc<File>,
    seed: u32,
    number: u64,
    offset: u64,
    sequence: u64,
    /// Open reservations when last looked at.
    open: u64,
    unsynced_bytes: u64,
    buffer: Vec<u8>,
}

impl Writer {
    /// Starts the chain `chain`, whose segment 0 is `fresh`.
    pub(crate) fn new(shared: Arc<Shared>, chain: Arc<Chain>, fresh: Fresh) -> Writer {
        Writer {
            shared,
            chain,
            file: fresh.file,
            seed: fresh.seed,
            number: 0,
            offset: segment::HEADER_BYTES,
            sequence: 0,
            open: 0,
            unsynced_bytes: 0,
            buffer: Vec::with_capacity(segment::RECORD_BYTES_MAX),
        }
    }

    /// [`crate::Options::recent_since_ms`].
    pub(crate) fn recent_since_ms(&self) -> u64 {
        self.shared.options.recent_since_ms
    }

    /// Writes a reservation. Must come before the first byte goes upstream.
    ///
    /// Refuses with [`Error::Failed`], [`Error::Backlog`] or [`Error::DiskFull`]; then the call must not be made.
    pub fn reserve(&mut self, record: &Reserve) -> Result<(), Error> {
        self.reserve_ref(&ReserveRef::from(record))
    }

    /// [`Writer::reserve`] for texts that stand elsewhere.
    pub fn reserve_ref(&mut self, record: &ReserveRef<'_>) -> Result<(), Error> {
        self.refuse_when_stopped()?;
        self.keep_room_for_settlements()?;
        frame::begin(&mut self.buffer);
        record::encode_reserve(record, &mut self.buffer);
        self.append_reserve(record.generation)?;
        self.carry_one();
        Ok(())
    }

    /// Writes a terminal. Must come before the client sees the end of its reply.
    ///
    /// It belongs to the writer that reserved. Another one's is taken too, but its segment may be freed before the reservation's; a
    /// crash in between then makes an orphan of a settled call, whose second terminal the applier ignores.
    ///
    /// Fails only when the operating system refuses; the journal is then unhealthy. Still tried when it already was.
    pub fn settle<T: AsRef<str>>(&mut self, record: &Settle<T>) -> Result<(), Error> {
        frame::begin(&mut self.buffer);
        record::encode_settle(record, &mut self.buffer);
        self.append(Kind::Settle).inspect_err(|error| self.shared.fail(error.to_string()))?;
        let at = self.position();
        let here = {
            let mut holdings = lock(&self.chain.holdings);
            let here = holdings.settled(record.generation, at);
            self.open = holdings.open_count();
            here
        };
        if !here {
            self.shared.settled_elsewhere(record.generation, at);
        }
        self.carry_one();
        Ok(())
    }

    /// Writes how far a call has come. Should it be refused nothing is lost but the closeness of an estimate, and only if the process dies:
    /// so it must not take the room of settlements.
    pub fn progress<T: AsRef<str>>(&mut self, record: &Progress<T>) -> Result<(), Error> {
        self.refuse_when_stopped()?;
        self.keep_room_for_settlements()?;
        frame::begin(&mut self.buffer);
        record::encode_progress(record, &mut self.buffer);
        self.append(Kind::Progress)
    }

    /// Writes what came of a shadow. Nothing was reserved for it and its generation has a terminal of its own, so it must not take the room of
    /// those: where there is no other it is refused, and lost.
    pub fn shadow<T: AsRef<str>>(&mut self, record: &Settle<T>) -> Result<(), Error> {
        if let Some(reason) = self.shared.failure() {
            return Err(Error::Failed(reason.to_owned()));
        }
        self.keep_room_for_settlements()?;
        frame::begin(&mut self.buffer);
        record::encode_settle(record, &mut self.buffer);
        self.append(Kind::Shadow)
    }

    /// The end of the chain.
    pub fn position(&self) -> Cursor {
        self.chain.id.cursor(self.number, self.offset)
    }

    /// When settlements are on disk.
    pub fn durability(&self) -> Durability {
        self.shared.options.durability
    }

    /// A future that resolves when everything appended so far is on disk.
    pub fn durable(&self) -> Durable {
        Durable::new(&self.shared, &self.chain)
    }

    /// Writes a reservation of a long call once more, so that its old segment can go. One at a time: a worker must not stall. Should it
    /// fail, the old segment stays; a failed write has been noted.
    fn carry_one(&mut self) {
        if !self.chain.carry_waits.load(Ordering::Acquire) {
            return;
        }
        let Some(carried) = self.chain.take_offered() else { return };
        if lock(&self.chain.holdings).is_open_in(carried.generation, carried.from) {
            frame::begin(&mut self.buffer);
            self.buffer.extend_from_slice(&carried.payload);
            let written = self.append_reserve(carried.generation);
            if let (Ok(()), Some(progress)) = (written, carried.progress) {
                frame::begin(&mut self.buffer);
                self.buffer.extend_from_slice(&progress);
                let _ = self.append(Kind::Progress);
            }
        }
    }

    fn append_reserve(&mut self, generation: GenerationId) -> Result<(), Error> {
        self.append(Kind::Reserve)?;
        let mut holdings = lock(&self.chain.holdings);
        holdings.reserved(generation, self.segment(self.number));
        self.open = holdings.open_count();
        Ok(())
    }

    fn refuse_when_stopped(&self) -> Result<(), Error> {
        if let Some(reason) = self.shared.failure() {
            return Err(Error::Failed(reason.to_owned()));
        }
        let (bytes, limit) = (self.shared.backlog_bytes.load(Ordering::Relaxed), self.shared.options.backlog_bytes);
        if bytes > limit { Err(Error::Backlog { bytes, limit }) } else { Ok(()) }
    }

    /// Sees to it that every call under way can be settled in segments that exist, whatever happens to the disk.
    fn keep_room_for_settlements(&self) -> Result<(), Error> {
        let segment_bytes = self.shared.options.segment_bytes;
        let needed = (self.open + 1) * SETTLE_ROOM_BYTES + segment::RECORD_BYTES_MAX as u64;
        let room = || {
            let ready = self.chain.segments_ready.load(Ordering::Acquire);
            segment_bytes - self.offset + ready * (segment_bytes - segment::HEADER_BYTES - SETTLE_ROOM_BYTES)
        };
        while room() < needed {
            self.chain.prepare_another(&self.shared.options).map_err(Error::DiskFull)?;
        }
        Ok(())
    }

    /// Writes the record in the buffer. On an error the chain ends where it ended before.
    fn append(&mut self, kind: Kind) -> Result<(), Error> {
        let size = self.buffer.len() as u64;
        if self.offset + size > self.shared.options.segment_bytes {
            self.roll().map_err(Error::DiskFull)?;
        }
        frame::finish(&mut self.buffer, kind, self.sequence + 1, self.seed);
        if let Err(source) = self.file.write_all_at(&self.buffer, self.offset) {
            let path = self.segment(self.number).path(&self.shared.options.directory);
            let error = Error::Io { action: "write", path, source };
            self.shared.fail(error.to_string());
            return Err(error);
        }
        self.sequence += 1;
        self.offset += size;
        self.chain.publish(self.number, self.offset);
        if kind.is_read() {
            // Before the request for a sync: the round that answers it takes the news along, and there may be no other for long.
            self.shared.signal.settled();
        }
        self.ask_for_sync(size);
        Ok(())
    }

    /// Goes on to the next segment, which the side thread has prepared unless the worker was faster.
    fn roll(&mut self) -> io::Result<()> {
        let segment_bytes = self.shared.options.segment_bytes;
        let (number, fresh) = self.chain.take_next(&self.shared.options)?;
        {
            let mut holdings = lock(&self.chain.holdings);
            holdings.seal(self.offset);
            holdings.add(Held::new(self.segment(number), segment_bytes));
        }
        {
            let mut files = lock(&self.chain.files);
            let full = std::mem::replace(&mut files.current, Arc::clone(&fresh.file));
            files.full.push(full);
        }
        self.shared.backlog_bytes.fetch_add(segment_bytes, Ordering::Relaxed);
        (self.file, self.seed, self.number, self.offset) = (fresh.file, fresh.seed, number, segment::HEADER_BYTES);
        self.shared.signal.want_segment();
        Ok(())
    }

    fn ask_for_sync(&mut self, size: u64) {
        self.shared.signal.written();
        self.unsynced_bytes += size;
        if self.unsynced_bytes >= SYNC_BYTES {
            self.unsynced_bytes = 0;
            self.shared.signal.much_written();
        }
    }

    fn segment(&self, number: u64) -> SegmentId {
        SegmentId { chain: self.chain.id, number }
    }
}
