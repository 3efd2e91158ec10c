//! Segment files: their names, their header, how they are made and listed.
//!
//! A segment is made under another name and renamed when its header stands, so every file with a segment's name has a header.

use crate::error::Error;
use crate::{Cursor, frame};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of the header; the first record follows.
pub(crate) const HEADER_BYTES: u64 = 64;

const MAGIC: [u8; 8] = *b"FLJOURNL";
const FORMAT_VERSION: u32 = 1;
const CHECKED_BYTES: usize = 60;
const SUFFIX: &str = ".segment";
const PREPARING_SUFFIX: &str = ".preparing";
const QUARANTINE_SUFFIX: &str = ".quarantined";

/// One worker's chain in one life of the process. The order is the order of age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChainId {
    pub(crate) epoch: u64,
    pub(crate) node: u16,
    pub(crate) worker: u16,
}

impl ChainId {
    pub(crate) fn cursor(self, segment: u64, offset: u64) -> Cursor {
        Cursor { node: self.node, epoch: self.epoch, worker: self.worker, segment, offset }
    }
}

impl From<&Cursor> for ChainId {
    fn from(cursor: &Cursor) -> ChainId {
        ChainId { epoch: cursor.epoch, node: cursor.node, worker: cursor.worker }
    }
}

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentId {
    pub(crate) chain: ChainId,
    pub(crate) number: u64,
}

impl SegmentId {
    pub(crate) fn path(self, directory: &Path) -> PathBuf {
        directory.join(self.name() + SUFFIX)
    }

    fn name(self) -> String {
        let ChainId { epoch, node, worker } = self.chain;
        format!("{epoch:010}-{node:05}-{worker:05}-{:010}", self.number)
    }

    fn parse(name: &str) -> Option<SegmentId> {
        let mut parts = name.strip_suffix(SUFFIX)?.split('-');
        let id = SegmentId {
            chain: ChainId { epoch: number(parts.next()?)?, node: number(parts.next()?)?, worker: number(parts.next()?)? },
            number: number(parts.next()?)?,
        };
        // A name that we would not write ourselves is not ours.
        (name.strip_suffix(SUFFIX) == Some(&id.name())).then_some(id)
    }

    fn header(self, created_ms: u64, segment_bytes: u64) -> [u8; HEADER_BYTES as usize] {
        let mut header = [0; HEADER_BYTES as usize];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        header[12..14].copy_from_slice(&self.chain.node.to_le_bytes());
        header[14..16].copy_from_slice(&self.chain.worker.to_le_bytes());
        header[16..24].copy_from_slice(&self.chain.epoch.to_le_bytes());
        header[24..32].copy_from_slice(&self.number.to_le_bytes());
        header[32..40].copy_from_slice(&created_ms.to_le_bytes());
        header[40..48].copy_from_slice(&segment_bytes.to_le_bytes());
        let checksum = crc32fast::hash(&header[..CHECKED_BYTES]);
        header[CHECKED_BYTES..].copy_from_slice(&checksum.to_le_bytes());
        header
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// What a file's first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// The segment that its name says; records are checked with `seed`, and the file had `bytes` bytes when it was made.
    Valid { seed: u32, bytes: u64 },
    /// Not a header, or another segment's.
    Damaged,
    /// A format that this build does not know.
    Newer(u32),
}

/// Checks the beginning of the file named `id`.
pub(crate) fn check_header(bytes: &[u8], id: SegmentId) -> Header {
    let Some(header) = bytes.first_chunk::<{ HEADER_BYTES as usize }>() else { return Header::Damaged };
    let (magic, rest) = header.split_at(8);
    let version = little_endian_u32(rest);
    if magic != MAGIC {
        return Header::Damaged;
    }
    // Before the checksum, whose place a newer format may have moved. A flipped bit here stops the start too: better than a wrong guess.
    if version > FORMAT_VERSION {
        return Header::Newer(version);
    }
    let (created_ms, bytes) = (little_endian_u64(&header[32..]), little_endian_u64(&header[40..]));
    if *header != id.header(created_ms, bytes) {
        return Header::Damaged;
    }
    Header::Valid { seed: little_endian_u32(&header[CHECKED_BYTES..]), bytes }
}

fn little_endian_u32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn little_endian_u64(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// A segment made and not yet written to.
pub(crate) struct Fresh {
    pub(crate) file: Arc<File>,
    pub(crate) seed: u32,
}

/// Makes a segment of `segment_bytes`, all of it allocated on the disk. Not synced.
pub(crate) fn create(directory: &Path, id: SegmentId, segment_bytes: u64) -> io::Result<Fresh> {
    let preparing = directory.join(id.name() + PREPARING_SUFFIX);
    let made = prepare(&preparing, id, segment_bytes).and_then(|fresh| fs::rename(&preparing, id.path(directory)).map(|()| fresh));
    if made.is_err() {
        // A full disk must not be filled by the attempt; a rest that cannot be removed now is removed at the next start.
        let _ = fs::remove_file(&preparing);
    }
    made
}

fn prepare(path: &Path, id: SegmentId, segment_bytes: u64) -> io::Result<Fresh> {
    let created_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
    allocate(&file, segment_bytes)?;
    let header = id.header(created_ms, segment_bytes);
    file.write_all_at(&header, 0)?;
    let seed = crc32fast::hash(&header[..CHECKED_BYTES]);
    Ok(Fresh { file: Arc::new(file), seed })
}

/// Reserves the blocks, so that a record can neither meet a full disk nor make `fdatasync` wait for the file to grow.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        let length = libc::off_t::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
        loop {
            // SAFETY: the descriptor is open for the whole call because `file` is borrowed; fallocate touches no memory of ours.
            if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length) } == 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => continue,
                Some(libc::EOPNOTSUPP) => break,
                _ => return Err(error),
            }
        }
    }
    fill_with_zeros(file, bytes)
}

fn fill_with_zeros(file: &File, bytes: u64) -> io::Result<()> {
    let zeros = [0; 64 << 10];
    let mut offset = 0;
    while offset < bytes {
        let length = zeros.len().min((bytes - offset) as usize);
        file.write_all_at(&zeros[..length], offset)?;
        offset += length as u64;
    }
    Ok(())
}

/// Segment numbers of every chain in the folder, both in ascending order.
pub(crate) fn list(directory: &Path) -> Result<BTreeMap<ChainId, Vec<u64>>, Error> {
    let mut chains: BTreeMap<ChainId, Vec<u64>> = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(Error::io("list", directory))? {
        let entry = entry.map_err(Error::io("list", directory))?;
        if let Some(id) = entry.file_name().to_str().and_then(SegmentId::parse) {
            chains.entry(id.chain).or_default().push(id.number);
        }
    }
    chains.values_mut().for_each(|numbers| numbers.sort_unstable());
    Ok(chains)
}

/// Removes what interrupted [`create`] calls left behind.
pub(crate) fn remove_unfinished(directory: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(directory).map_err(Error::io("list", directory))? {
        let path = entry.map_err(Error::io("list", directory))?.path();
        if path.to_str().is_some_and(|name| name.ends_with(PREPARING_SUFFIX)) {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Takes a segment out of the journal: a sound one is removed, a damaged one is set aside under another name, as evidence.
pub(crate) fn discard(directory: &Path, id: SegmentId, damaged: bool) -> io::Result<()> {
    let path = id.path(directory);
    if damaged { fs::rename(&path, directory.join(id.name() + QUARANTINE_SUFFIX)) } else { fs::remove_file(&path) }
}

/// Whether everything from `offset` to the end of the file is zero.
pub(crate) fn rest_is_zero(file: &File, mut offset: u64) -> io::Result<bool> {
    let mut buffer = [0; 64 << 10];
    loop {
        match file.read_at(&mut buffer, offset) {
            Ok(0) => return Ok(true),
            Ok(length) if !is_zero(&buffer[..length]) => return Ok(false),
            Ok(length) => offset += length as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Compares in blocks, which `memcmp` does at memory speed.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|chunk| *chunk == ZEROS[..chunk.len()])
}

/// Fills `buffer` from `offset`, with less only at the end of the file.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Bytes of the longest record, envelope included.
pub(crate) const RECORD_BYTES_MAX: usize = frame::FRAME_BYTES + frame::PAYLOAD_BYTES_MAX;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const ID: SegmentId = SegmentId { chain: ChainId { epoch: 7, node: 1, worker: 2 }, number: 3 };

    #[test]
    fn names_read_back_and_others_do_not() {
        let name = ID.name() + SUFFIX;
        assert_eq!(SegmentId::parse(&name), Some(ID));
        for other in ["lock", "1-1-1-1.segment", "0000000007-00001-00002-0000000003.preparing", "0000000007-00001-00002.segment"] {
            assert_eq!(SegmentId::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_header_is_valid_under_its_own_name_only() {
        let header = ID.header(5, 1 << 20);
        assert!(matches!(check_header(&header, ID), Header::Valid { bytes: 0x10_0000, .. }));
        assert_eq!(check_header(&header, SegmentId { number: 4, ..ID }), Header::Damaged);
        assert_eq!(check_header(&header[..63], ID), Header::Damaged);
        for bit in 0..header.len() * 8 {
            let mut flipped = header;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(check_header(&flipped, ID), Header::Valid { .. }), "bit {bit}");
        }
        let mut newer = header;
        newer[8] = 2;
        assert_eq!(check_header(&newer, ID), Header::Newer(2));
    }

    #[test]
    fn zeros_fill_a_file_where_allocation_is_not_supported() {
        let path = std::env::temp_dir().join(format!("fairlead-journal-zeros-{}", std::process::id()));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        fill_with_zeros(&file, 200_000).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 200_000);
        assert!(rest_is_zero(&file, 0).unwrap());
        file.write_all_at(&[1], 199_999).unwrap();
        assert!(!rest_is_zero(&file, 0).unwrap());
        fs::remove_file(path).unwrap();
    }
}
