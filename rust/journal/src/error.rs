//! What can go wrong: errors that stop a call, and problems that a reader or recovery steps over and reports.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a call failed.
#[derive(Debug)]
pub enum Error {
    /// The operating system refused.
    Io {
        /// What was tried, such as `create segment`.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// Another process has this journal open.
    Locked(PathBuf),
    /// The folder was written by a newer Fairlead; this one would misread it.
    Newer {
        /// The segment.
        path: PathBuf,
        /// What is not known here, such as `format 2`.
        found: String,
    },
    /// No room for another segment, and the room left is kept for settlements of calls that are under way. Heals when space returns.
    DiskFull(io::Error),
    /// SQL is too far behind; see [`crate::Options::backlog_bytes`]. Heals when it catches up.
    Backlog {
        /// Bytes of segments that cannot be freed yet.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A write or sync failed earlier; what the disk holds is uncertain and no paid work may start. Needs a restart.
    Failed(String),
    /// This worker number already has a writer, or is reserved.
    WorkerTaken(u16),
    /// An option is out of range.
    Option(&'static str),
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { action, path: path.to_path_buf(), source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { action, path, source } => write!(formatter, "journal: {action} {}: {source}", path.display()),
            Error::Locked(path) => write!(formatter, "journal: {} is in use by another process", path.display()),
            Error::Newer { path, found } => {
                write!(formatter, "journal: {} was written by a newer version ({found}); start that version", path.display())
            }
            Error::DiskFull(source) => write!(formatter, "journal: no room for another segment: {source}"),
            Error::Backlog { bytes, limit } => {
                write!(formatter, "journal: {bytes} bytes are not in the database yet, the limit is {limit}")
            }
            Error::Failed(reason) => write!(formatter, "journal: stopped after an error: {reason}"),
            Error::WorkerTaken(worker) => write!(formatter, "journal: worker {worker} already has a writer"),
            Error::Option(reason) => write!(formatter, "journal: {reason}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } | Error::DiskFull(source) => Some(source),
            _ => None,
        }
    }
}

/// Something in a segment that was stepped over. Records before it were taken, records after it in the same segment were not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The segment.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What.
    pub kind: ProblemKind,
}

/// Kinds of [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// What stands behind the last record is none. In the last segment: an append never returned, or power was lost before it was synced. In
    /// one before: an append failed, and the record that followed it says by its number that none is missing.
    Torn,
    /// Bytes that are neither a record nor empty, where records are missing or may be: the rest of this segment was not read.
    Damaged,
    /// Records or segments before this place are gone.
    Missing,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ProblemKind::Torn => "the last record is incomplete",
            ProblemKind::Damaged => "damaged, the rest of the segment was not read",
            ProblemKind::Missing => "records before this place are missing",
        };
        write!(formatter, "{} at byte {}: {what}", self.path.display(), self.offset)
    }
}
