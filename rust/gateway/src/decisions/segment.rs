//! Files of decisions: how they are named, what stands in them, how they are written and read.
//!
//! A segment is named by the Unix millisecond in which it was begun, with 13 digits, so that names sort by age. It begins with [`MAGIC`] and
//! goes on in blocks: length of the payload (4 bytes, little-endian), CRC-32 of the payload (4), payload. A block is one `write`; one that
//! was cut off, or whose CRC is wrong, says nothing. The payload is records, each the length of what follows (4), the generation (16), a byte
//! of what was asked (`pipeline/decided`), and what the router wrote. Endpoints are meant by their ids in the database. A record that says
//! what became of an earlier one has another such byte and nothing of the router's.
//!
//! What changes in a record is a new number in [`MAGIC`]. Version 1 has no records about earlier ones.

use super::Rules;
use fairlead_ir::GenerationId;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The last byte is the version.
const MAGIC: [u8; 8] = *b"fl-dec\0\x02";
/// The oldest version that can be read.
const OLDEST: u8 = 1;
const BLOCK_HEAD_BYTES: usize = 8;
/// Length, generation, what was asked.
pub(crate) const RECORD_HEAD_BYTES: usize = LENGTH_BYTES + 17;
const LENGTH_BYTES: usize = 4;
const ENDING: &str = ".decisions";
/// A segment is this part of what all may take, so that little is lost when one makes room, between these bounds.
const SEGMENTS: u64 = 16;
const SMALLEST_SEGMENT_BYTES: u64 = 1 << 20;
const LARGEST_SEGMENT_BYTES: u64 = 16 << 20;
/// A segment gets no more after so long, so that what is too old can go.
const LONGEST_SEGMENT_MS: u64 = 6 * 3_600_000;
/// No block is longer.
const MOST_BLOCK_BYTES: usize = 1 << 20;

/// Makes the folder, for nobody else.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Fills in what stands before what the router wrote.
pub(crate) fn finish_record(record: &mut [u8], generation: GenerationId, asked: u8) {
    let length = (record.len() - LENGTH_BYTES) as u32;
    record[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    record[LENGTH_BYTES..RECORD_HEAD_BYTES - 1].copy_from_slice(&generation.0.to_le_bytes());
    record[RECORD_HEAD_BYTES - 1] = asked;
}

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    /// When it was begun.
    pub(crate) began_ms: u64,
    pub(crate) bytes: u64,
}

/// The segments of a folder, the oldest first.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(ENDING)).filter(|digits| digits.len() == 13);
        let Some(began_ms) = number.and_then(|digits| digits.parse().ok()) else { continue };
        match entry.metadata() {
            Ok(metadata) => segments.push(Segment { path: entry.path(), began_ms, bytes: metadata.len() }),
            // Deleted since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    segments.sort_unstable_by_key(|segment| segment.began_ms);
    Ok(segments)
}

/// The writing end.
pub(crate) struct Log {
    folder: PathBuf,
    open: Option<Open>,
}

struct Open {
    file: File,
    began_ms: u64,
    bytes: u64,
}

impl Log {
    pub(crate) fn new(folder: &Path) -> Log {
        Log { folder: folder.to_owned(), open: None }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Appends records. A segment that could not be written to is not gone on with: what was cut off stays the last thing in it.
    pub(crate) fn write(&mut self, records: &[u8], rules: &Rules) -> io::Result<()> {
        let mut open = match self.open.take().filter(|open| !open.is_over(records.len(), rules)) {
            Some(open) => open,
            None => self.begin(rules)?,
        };
        open.append(records)?;
        self.open = Some(open);
        Ok(())
    }

    /// Deletes what is too old, and the oldest until what is left fits.
    pub(crate) fn sweep(&mut self, rules: &Rules) -> io::Result<()> {
        self.make_room(rules, 0)
    }

    fn begin(&self, rules: &Rules) -> io::Result<Open> {
        self.make_room(rules, segment_bytes(rules))?;
        // A clock that was set back must not name a segment before those that are there.
        let last_ms = list(&self.folder)?.last().map_or(0, |segment| segment.began_ms);
        let began_ms = rules.now_ms.max(last_ms + 1);
        let path = self.folder.join(format!("{began_ms:013}{ENDING}"));
        let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&MAGIC)?;
        Ok(Open { file, began_ms, bytes: MAGIC.len() as u64 })
    }

    fn make_room(&self, rules: &Rules, room: u64) -> io::Result<()> {
        let segments = list(&self.folder)?;
        let current_ms = self.open.as_ref().map(|open| open.began_ms);
        let mut total: u64 = segments.iter().map(|segment| segment.bytes).sum();
        // What the one in use may still grow by is its own.
        let most = rules.bounds.most_bytes.saturating_sub(room);
        for (place, segment) in segments.iter().enumerate() {
            if Some(segment.began_ms) == current_ms {
                break;
            }
            // All in it is older than the segment after it.
            let ended_ms = segments.get(place + 1).map_or(segment.began_ms.saturating_add(LONGEST_SEGMENT_MS), |next| next.began_ms);
            let is_old = ended_ms.saturating_add(rules.bounds.ttl_ms) < rules.now_ms;
            if !is_old && total <= most {
                break;
            }
            std::fs::remove_file(&segment.path)?;
            total -= segment.bytes;
        }
        Ok(())
    }
}

const fn segment_bytes(rules: &Rules) -> u64 {
    let part = rules.bounds.most_bytes / SEGMENTS;
    if part < SMALLEST_SEGMENT_BYTES {
        SMALLEST_SEGMENT_BYTES
    } else if part > LARGEST_SEGMENT_BYTES {
        LARGEST_SEGMENT_BYTES
    } else {
        part
    }
}

impl Open {
    fn is_over(&self, more: usize, rules: &Rules) -> bool {
        let too_long = self.bytes + (more + BLOCK_HEAD_BYTES) as u64 > segment_bytes(rules);
        too_long || rules.now_ms >= self.began_ms.saturating_add(LONGEST_SEGMENT_MS)
    }

    fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let mut block = Vec::with_capacity(BLOCK_HEAD_BYTES + payload.len());
        block.extend_from_slice(&length.to_le_bytes());
        block.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
        block.extend_from_slice(payload);
        self.file.write_all(&block)?;
        self.bytes += block.len() as u64;
        Ok(())
    }
}

/// A decision as it stands in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) generation: GenerationId,
    pub(crate) asked: u8,
    /// What the router wrote.
    pub(crate) inputs: &'a [u8],
}

/// The records of a block; `None` where one of them is cut off, which a block whose CRC is right does not have.
pub(crate) fn records(mut block: &[u8]) -> impl Iterator<Item = Option<Record<'_>>> {
    std::iter::from_fn(move || {
        if block.is_empty() {
            return None;
        }
        let record = next_record(&mut block);
        if record.is_none() {
            block = &[];
        }
        Some(record)
    })
}

fn next_record<'a>(block: &mut &'a [u8]) -> Option<Record<'a>> {
    let (length, rest) = block.split_first_chunk::<LENGTH_BYTES>()?;
    let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *block = rest;
    let (generation, record) = record.split_first_chunk::<16>()?;
    let (asked, inputs) = record.split_first()?;
    Some(Record { generation: GenerationId(u128::from_le_bytes(*generation)), asked: *asked, inputs })
}

/// What of a log could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// Segments of another version, or of none.
    pub(crate) segments: u64,
    /// Blocks whose CRC is wrong.
    pub(crate) blocks: u64,
    /// Segments that end in the middle of a block: the process was killed, or the disk was full.
    pub(crate) cut_off: u64,
}

/// Reads segments from their beginning, one block at a time. The log may be written to and swept meanwhile: what is deleted before it was
/// opened is passed over, and what follows what was there at the start is left.
pub(crate) struct Reader {
    segments: std::vec::IntoIter<Segment>,
    open: Option<File>,
    pub(crate) unreadable: Unreadable,
}

impl Reader {
    /// Those segments of a folder that can hold what is not older than `since_ms`.
    pub(crate) fn open(folder: &Path, since_ms: u64) -> io::Result<Reader> {
        let segments = list(folder)?;
        // All in a segment was decided before the next was begun.
        let first = segments.partition_point(|segment| segment.began_ms <= since_ms).saturating_sub(1);
        let segments: Vec<Segment> = segments.into_iter().skip(first).collect();
        Ok(Reader { segments: segments.into_iter(), open: None, unreadable: Unreadable::default() })
    }

    /// The next block that can be read, for [`records`].
    pub(crate) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let Some(file) = &mut self.open else {
                let Some(segment) = self.segments.next() else { return Ok(None) };
                self.open_segment(&segment)?;
                continue;
            };
            let mut head = [0; BLOCK_HEAD_BYTES];
            let read = fill(file, &mut head)?;
            let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
            let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            if read < BLOCK_HEAD_BYTES || length > MOST_BLOCK_BYTES {
                self.leave(read == 0);
                continue;
            }
            let mut payload = vec![0; length];
            if fill(file, &mut payload)? < length {
                self.leave(false);
                continue;
            }
            if crc32fast::hash(&payload) == u32::from_le_bytes([c0, c1, c2, c3]) {
                return Ok(Some(payload));
            }
            self.unreadable.blocks += 1;
        }
    }

    fn open_segment(&mut self, segment: &Segment) -> io::Result<()> {
        let mut file = match File::open(&segment.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", segment.path.display()))),
        };
        let mut magic = [0; MAGIC.len()];
        match fill(&mut file, &mut magic)? {
            // Just made, or the disk was full.
            length if length < MAGIC.len() && magic[..length] == MAGIC[..length] => {}
            _ if is_known(magic) => self.open = Some(file),
            _ => self.unreadable.segments += 1,
        }
        Ok(())
    }

    /// Goes on with the next segment. In the last one a block may be in the middle of being written.
    fn leave(&mut self, is_at_end: bool) {
        self.open = None;
        if !is_at_end && !self.segments.as_slice().is_empty() {
            self.unreadable.cut_off += 1;
        }
    }
}

fn is_known(magic: [u8; MAGIC.len()]) -> bool {
    let ([name @ .., version], [known @ .., newest]) = (magic, MAGIC);
    name == known && (OLDEST..=newest).contains(&version)
}

/// As many bytes as there are.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests;
