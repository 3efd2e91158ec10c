//! The journal: the only carrier of anything that becomes a row.
//!
//! A worker writes RESERVE before the first byte goes upstream and SETTLE before the terminal event is released, and PROGRESS now
//! and then in a long stream. Each append is one
//! `pwrite` into a preallocated segment of the worker's own chain; when it returns, the bytes are in the page cache and survive
//! `kill -9`. A side thread (`fl-journal`) syncs to disk, prepares the next segments and wakes the reader. SQL follows behind with a
//! [`Reader`] and reports how far it has committed ([`Journal::applied`]); segments behind that are freed.
//!
//! Absent on purpose: SQL, balances, retries of a failed fsync, compression, and memory maps (an I/O error on a mapped page is a
//! signal, not a result). The README beside this crate has the format, the figures and why workers write inline.
//!
//! ```
//! use fairlead_journal::{Journal, Options, Reader, recover};
//! # let directory = std::env::temp_dir().join(format!("fairlead-journal-doc-{}", std::process::id()));
//! let (journal, recovery) = Journal::open(Options::new(&directory), &[])?;
//! let mut writer = journal.writer(0)?;
//! recover(&mut writer, &recovery.orphans, 1_767_225_600_000)?;
//!
//! let mut reader = Reader::open(&directory, &[])?;
//! let mut settled = Vec::new();
//! let state = reader.read(500, &mut settled)?;
//! journal.applied(&state.cursors);
//! journal.sync_and_close()?;
//! # std::fs::remove_dir_all(&directory).ok();
//! # Ok::<(), fairlead_journal::Error>(())
//! ```

mod chain;
mod error;
mod flusher;
pub mod frame;
mod journal;
mod reader;
pub mod record;
mod recovery;
mod retention;
mod segment;
mod writer;

pub use error::{Error, Problem, ProblemKind};
pub use flusher::Durable;
pub use journal::Journal;
pub use reader::{ReadState, Reader};
pub use record::ReserveRef;
pub use recovery::{Orphan, Recent, Recovery, Unapplied, recover};
pub use writer::Writer;

use std::path::PathBuf;

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of the segments; made with mode 0700 when absent.
    pub directory: PathBuf,
    /// This node's number, part of every cursor.
    pub node: u16,
    /// Size of a segment, from [`Options::SEGMENT_BYTES_MIN`] to [`Options::SEGMENT_BYTES_MAX`].
    pub segment_bytes: u64,
    /// When settlements are on disk.
    pub durability: Durability,
    /// Segments kept because SQL has not caught up may take this many bytes; beyond it [`Writer::reserve`] returns [`Error::Backlog`].
    pub backlog_bytes: u64,
    /// From when on generations began that are recent, Unix milliseconds: what they took of rates is told at the start.
    pub recent_since_ms: u64,
}

impl Options {
    /// The smallest segment: the largest record fits with room to spare.
    pub const SEGMENT_BYTES_MIN: u64 = 128 << 10;
    /// The largest segment: offsets fit 32 bits.
    pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

    /// The defaults: node 0, segments of 16 MiB, durability `process`, at most 4 GiB of backlog, nothing recent.
    pub fn new(directory: impl Into<PathBuf>) -> Options {
        Options {
            directory: directory.into(),
            node: 0,
            segment_bytes: 16 << 20,
            durability: Durability::Process,
            backlog_bytes: 4 << 30,
            recent_since_ms: u64::MAX,
        }
    }
}

/// When a settlement is safe from a power loss. Both survive the death of the process at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The side thread syncs 20 ms after the first unsynced record, or at 1 MiB of a chain: a power loss can take that much.
    Process,
    /// The side thread syncs as soon as there is something; who must not lose a settlement awaits [`Writer::durable`].
    Power,
}

/// A place in the chain of one worker of one process life: everything before it has been read or written.
/// Cursors of the same chain are ordered by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cursor {
    /// The node that wrote the chain.
    pub node: u16,
    /// The process life: one more at every start.
    pub epoch: u64,
    /// The worker that wrote the chain.
    pub worker: u16,
    /// Number of the segment in the chain, from 0.
    pub segment: u64,
    /// Bytes from the start of the segment's file.
    pub offset: u64,
}
