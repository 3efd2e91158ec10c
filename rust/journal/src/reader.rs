//! Follows the chains from cursors: what the applier and offline commands read.

use crate::Cursor;
use crate::error::{Error, Problem, ProblemKind};
use crate::frame::{self, Kind, Step};
use crate::record;
use crate::recovery::{Behind, Stop, newer_record};
use crate::segment::{self, ChainId, HEADER_BYTES, Header, SegmentId};
use fairlead_ir::GenerationId;
use fairlead_ledger::{Reserve, Settle};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes read at once: more than the longest record.
const READ_BYTES: usize = 128 << 10;

/// Reads settlements in the order of each chain, older epochs first. Works beside a running journal, of this process or another one,
/// and without one. It holds no lock and changes nothing.
pub struct Reader {
    directory: PathBuf,
    chains: BTreeMap<ChainId, Follower>,
    buffer: Vec<u8>,
    /// Which chain of the newest epoch goes first, so that a busy one does not starve the others.
    turn: usize,
    /// Reservations of the newest epoch that were read, without those whose settlement was.
    running: Running,
}

type Running = HashMap<GenerationId, Reserve, foldhash::fast::RandomState>;

/// Where a [`Reader`] stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadState {
    /// One cursor per chain, behind the records returned so far. Store them with the records, in one transaction.
    pub cursors: Vec<Cursor>,
    /// Whether all that had been written when the call began has been returned.
    pub caught_up: bool,
    /// What was stepped over during this call.
    pub problems: Vec<Problem>,
}

impl Reader {
    /// Starts behind `cursors`; chains without a cursor from their beginning. Cursors of chains that are no more are ignored.
    pub fn open(directory: impl Into<PathBuf>, cursors: &[Cursor]) -> Result<Reader, Error> {
        let directory = directory.into();
        let existing = segment::list(&directory)?;
        let mut chains = BTreeMap::new();
        for cursor in cursors {
            let id = ChainId::from(cursor);
            if existing.contains_key(&id) {
                chains.insert(id, Follower::at(cursor.segment, cursor.offset));
            }
        }
        Ok(Reader { directory, chains, buffer: vec![0; READ_BYTES], turn: 0, running: Running::default() })
    }

    /// Appends up to `max_records` settlements to `out`, those of shadows ([`fairlead_ledger::Flags::SHADOW`]) among them.
    ///
    /// A record that is still being written is left for the next call. Damage in a segment ends that segment: it is reported and the
    /// next one goes on. An error (I/O, a newer format) leaves the reader where it was for another try; what `out` got stays valid.
    pub fn read(&mut self, max_records: usize, out: &mut Vec<Settle>) -> Result<ReadState, Error> {
        let listing = segment::list(&self.directory)?;
        for chain in listing.keys() {
            self.chains.entry(*chain).or_insert_with(|| Follower::at(0, HEADER_BYTES));
        }
        let mut state = ReadState { caught_up: true, ..ReadState::default() };
        let limit = out.len().saturating_add(max_records);
        for chain in self.order() {
            let numbers = listing.get(&chain).map_or(&[][..], Vec::as_slice);
            let Some(follower) = self.chains.get_mut(&chain) else { continue };
            let dead = listing.keys().next_back().is_some_and(|newest| newest.epoch > chain.epoch);
            let (buffer, running) = (&mut self.buffer, &mut self.running);
            let mut pass = Pass { directory: &self.directory, chain, numbers, dead, buffer, running, limit, out };
            state.caught_up &= follower.follow(&mut pass, &mut state.problems)?;
        }
        state.cursors = self.chains.iter().map(|(chain, follower)| chain.cursor(follower.segment, follower.offset)).collect();
        Ok(state)
    }

    /// Calls in progress as of what was read: reserved by the process that writes now and not settled, in no order. Of those that were
    /// reserved before the cursors that this reader was opened with it knows nothing.
    pub fn running(&self) -> impl Iterator<Item = &Reserve> {
        self.running.values()
    }

    /// Chains by age; those of the newest epoch take turns at being first.
    fn order(&mut self) -> Vec<ChainId> {
        let mut order: Vec<ChainId> = self.chains.keys().copied().collect();
        let newest = order.last().map_or(0, |chain| chain.epoch);
        let older = order.partition_point(|chain| chain.epoch < newest);
        if let Some(living) = order.get_mut(older..).filter(|living| !living.is_empty()) {
            living.rotate_left(self.turn % living.len());
        }
        self.turn = self.turn.wrapping_add(1);
        order
    }
}

/// What following one chain during one call needs.
struct Pass<'a> {
    directory: &'a Path,
    chain: ChainId,
    /// Numbers of the chain's segments, ascending.
    numbers: &'a [u64],
    /// Whether its process is gone, so that nothing will be added.
    dead: bool,
    buffer: &'a mut [u8],
    running: &'a mut Running,
    /// Length of `out` at which to stop.
    limit: usize,
    out: &'a mut Vec<Settle>,
}

impl Pass<'_> {
    fn path(&self, number: u64) -> PathBuf {
        SegmentId { chain: self.chain, number }.path(self.directory)
    }

    /// The first segment from `number` on.
    fn first_from(&self, number: u64) -> Option<u64> {
        self.numbers.get(self.numbers.partition_point(|known| *known < number)).copied()
    }

    /// The sequence number of the first record behind the segment `number`: where there is one, that segment gets no more records.
    fn first_behind(&mut self, number: u64) -> Result<Option<u64>, Error> {
        let numbers = self.numbers;
        for later in &numbers[numbers.partition_point(|known| *known <= number)..] {
            let id = SegmentId { chain: self.chain, number: *later };
            let path = id.path(self.directory);
            let sequence = match File::open(&path).and_then(|file| self.first_in(&file, id)) {
                Ok(sequence) => sequence,
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(Error::io("read", &path)(error)),
            };
            if sequence.is_some() {
                return Ok(sequence);
            }
        }
        Ok(None)
    }

    fn first_in(&mut self, file: &File, id: SegmentId) -> io::Result<Option<u64>> {
        // Nearly always nothing has been written there.
        let mut start = [0; 8];
        segment::read_at(file, &mut start, HEADER_BYTES)?;
        if start == [0; 8] {
            return Ok(None);
        }
        let length = segment::read_at(file, self.buffer, 0)?;
        let Header::Valid { seed, bytes } = segment::check_header(&self.buffer[..length], id) else { return Ok(None) };
        let rest = self.buffer.get(HEADER_BYTES as usize..length).unwrap_or_default();
        Ok(match frame::read(rest, bytes.saturating_sub(HEADER_BYTES) as usize, seed) {
            Step::Record(frame) => Some(frame.sequence),
            Step::Empty | Step::Short | Step::Bad { .. } => None,
        })
    }
}

/// A place in one chain.
struct Follower {
    segment: u64,
    offset: u64,
    /// Sequence number of the last record seen, once one was.
    sequence: Option<u64>,
    /// Segments before this place were passed over because they are gone. Whether records went with them, the next record tells.
    skipped: bool,
    open: Option<Open>,
    /// The end of a dead chain was looked at: nothing is left to do.
    finished: bool,
}

struct Open {
    file: File,
    seed: u32,
    bytes: u64,
}

/// Why reading a segment stopped.
#[derive(PartialEq, Eq)]
enum Halt {
    /// The call's limit.
    Full,
    /// No record of ours starts here.
    NoRecord,
}

impl Follower {
    fn at(segment: u64, offset: u64) -> Follower {
        Follower { segment, offset: offset.max(HEADER_BYTES), sequence: None, skipped: false, open: None, finished: false }
    }

    /// Reads on until the limit (false) or until there is nothing more for now (true).
    fn follow(&mut self, pass: &mut Pass<'_>, problems: &mut Vec<Problem>) -> Result<bool, Error> {
        while !self.finished {
            if self.open.is_none() && !self.open_segment(pass, problems)? {
                return Ok(true);
            }
            if self.read_records(pass, problems)? == Halt::Full {
                return Ok(false);
            }
            let first_behind = pass.first_behind(self.segment)?;
            if first_behind.is_none() && !pass.dead {
                return Ok(true);
            }
            // Records may have been added between the reading and the look at the next segment; now there can be no more.
            if self.read_records(pass, problems)? == Halt::Full {
                return Ok(false);
            }
            let stop = self.look_behind(pass)?;
            if stop != Stop::Clean && first_behind.is_some() && self.sequence.is_none() {
                self.sequence = self.number_here(pass)?;
            }
            self.leave(stop.problem(Behind::new(self.sequence, first_behind)), pass, problems);
        }
        Ok(true)
    }

    /// Opens the segment of this place, or the first one behind it. False when there is none.
    fn open_segment(&mut self, pass: &mut Pass<'_>, problems: &mut Vec<Problem>) -> Result<bool, Error> {
        while let Some(number) = pass.first_from(self.segment) {
            let path = pass.path(number);
            if number != self.segment {
                // After a segment that was read the next number follows; freed segments were read to their end by whoever freed them.
                let expected = if self.offset > HEADER_BYTES { self.segment + 1 } else { self.segment };
                self.skipped |= number > expected;
                (self.segment, self.offset) = (number, HEADER_BYTES);
            }
            let id = SegmentId { chain: pass.chain, number };
            let file = match File::open(&path) {
                Ok(file) => file,
                // Freed since the folder was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(Error::io("open", &path)(error)),
            };
            let mut header = [0; HEADER_BYTES as usize];
            let length = segment::read_at(&file, &mut header, 0).map_err(Error::io("read", &path))?;
            match segment::check_header(&header[..length], id) {
                Header::Valid { seed, bytes } => {
                    self.open = Some(Open { file, seed, bytes });
                    return Ok(true);
                }
                Header::Newer(version) => return Err(Error::Newer { path, found: format!("format {version}") }),
                Header::Damaged => {
                    problems.push(Problem { path, offset: 0, kind: ProblemKind::Damaged });
                    (self.segment, self.offset, self.sequence) = (number + 1, HEADER_BYTES, None);
                }
            }
        }
        Ok(false)
    }

    /// Takes records until the limit or until there is none.
    fn read_records(&mut self, pass: &mut Pass<'_>, problems: &mut Vec<Problem>) -> Result<Halt, Error> {
        loop {
            let Some(open) = &self.open else { return Ok(Halt::NoRecord) };
            let path = pass.path(self.segment);
            let length = segment::read_at(&open.file, pass.buffer, self.offset).map_err(Error::io("read", &path))?;
            let (seed, room) = (open.seed, open.bytes.saturating_sub(self.offset) as usize);
            let mut at = 0;
            loop {
                if pass.out.len() >= pass.limit {
                    return Ok(Halt::Full);
                }
                let frame = match frame::read(&pass.buffer[at..length], room - at, seed) {
                    Step::Record(frame) => frame,
                    // Less than a record of what was read is left: read on from here. (At the start of the buffer the file is cut off.)
                    Step::Short if at > 0 => break,
                    Step::Short | Step::Empty | Step::Bad { .. } => return Ok(Halt::NoRecord),
                };
                let missing = !self.is_followed_by(frame.sequence);
                if missing && (self.offset > HEADER_BYTES || at > 0) {
                    return Ok(Halt::NoRecord);
                }
                match frame.known_kind() {
                    Some(Kind::Reserve) if !pass.dead => {
                        // One that cannot be read is a start's to tell of.
                        if let Ok(reserve) = record::decode_reserve(frame.payload) {
                            pass.running.insert(reserve.generation, reserve);
                        }
                    }
                    Some(Kind::Reserve | Kind::Progress) => {}
                    Some(Kind::Settle | Kind::Shadow) => match record::decode_settle(frame.payload, frame.version) {
                        Ok(settle) => {
                            pass.running.remove(&settle.generation);
                            pass.out.push(settle);
                        }
                        Err(record::Malformed) => return Ok(Halt::NoRecord),
                    },
                    None => return Err(newer_record(&path, &frame)),
                }
                if missing {
                    problems.push(Problem { path: path.clone(), offset: HEADER_BYTES, kind: ProblemKind::Missing });
                }
                (self.sequence, self.skipped) = (Some(frame.sequence), false);
                self.offset += frame.size as u64;
                at += frame.size;
            }
        }
    }

    /// Whether no record is missing between this place and the record with that number.
    fn is_followed_by(&self, sequence: u64) -> bool {
        self.sequence.map_or(!self.skipped, |before| before + 1 == sequence)
    }

    /// The number of the record that ends here, which a cursor does not tell: looked for from the segment's beginning on.
    fn number_here(&self, pass: &Pass<'_>) -> Result<Option<u64>, Error> {
        let Some(open) = &self.open else { return Ok(None) };
        let mut bytes = vec![0; self.offset.min(open.bytes) as usize];
        let length = segment::read_at(&open.file, &mut bytes, 0).map_err(Error::io("read", &pass.path(self.segment)))?;
        let (mut at, mut number) = (HEADER_BYTES as usize, None);
        while at < length {
            let Step::Record(frame) = frame::read(&bytes[at..length], bytes.len() - at, open.seed) else { return Ok(None) };
            (at, number) = (at + frame.size, Some(frame.sequence));
        }
        Ok(number)
    }

    /// What stands behind the last record of a segment that gets no more.
    fn look_behind(&self, pass: &mut Pass<'_>) -> Result<Stop, Error> {
        let Some(open) = &self.open else { return Ok(Stop::Clean) };
        let path = pass.path(self.segment);
        let length = segment::read_at(&open.file, pass.buffer, self.offset).map_err(Error::io("read", &path))?;
        let room = open.bytes.saturating_sub(self.offset) as usize;
        let (written, stop) = match frame::read(&pass.buffer[..length], room, open.seed) {
            Step::Empty => (0, Stop::Clean),
            Step::Bad { extent: Some(extent) } => (extent as u64, Stop::Incomplete),
            Step::Bad { extent: None } | Step::Short | Step::Record(_) => return Ok(Stop::Damaged),
        };
        let empty = segment::rest_is_zero(&open.file, self.offset + written).map_err(Error::io("read", &path))?;
        Ok(if empty { stop } else { Stop::Damaged })
    }

    /// Goes on behind a segment that has been read as far as it can be.
    ///
    /// At the end of a dead chain that is also through a segment that was prepared and never used: else it could never be freed.
    fn leave(&mut self, problem: Option<ProblemKind>, pass: &Pass<'_>, problems: &mut Vec<Problem>) {
        if let Some(kind) = problem {
            problems.push(Problem { path: pass.path(self.segment), offset: self.offset, kind });
        }
        if problem == Some(ProblemKind::Damaged) {
            // What is missing has been reported.
            self.sequence = None;
        }
        self.open = None;
        if problem.is_some() || pass.first_from(self.segment + 1).is_some() {
            (self.segment, self.offset) = (self.segment + 1, HEADER_BYTES);
        } else {
            self.finished = true;
        }
    }
}
