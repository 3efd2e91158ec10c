//! What a start finds: what SQL has still to read and what it will charge, and the reservations whose process died before it settled
//! them.

use crate::Cursor;
use crate::error::{Error, Problem, ProblemKind};
use crate::frame::{self, Kind, Step};
use crate::record::{self, Charge};
use crate::retention::{Applied, Held, Holdings};
use crate::segment::{self, ChainId, HEADER_BYTES, Header, SegmentId};
use crate::writer::Writer;
use fairlead_ir::{Dialect, GenerationId, Manner, NanoUsd, Usage};
use fairlead_ledger::{Attempt, Delivered, Flags, Outcome, Progress, Reach, Reserve, Settle, Timings};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// What [`crate::Journal::open`] found.
#[derive(Debug, Default)]
pub struct Recovery {
    /// The epoch that begins.
    pub epoch: u64,
    /// Reservations without a terminal anywhere, oldest first; hand them to [`recover`] before traffic starts.
    pub orphans: Vec<Orphan>,
    /// Settlements that SQL has not committed yet.
    pub settled: u64,
    /// What these charge: balances as SQL has them, less this, are balances as of now. Ordered, without zeros.
    pub unapplied: Vec<Unapplied>,
    /// Damaged segments. Their records before the damage are in use; the files are set aside (`.quarantined`) instead of removed.
    pub quarantined: Vec<PathBuf>,
    /// Damage and torn ends, for the operator.
    pub problems: Vec<Problem>,
    /// Bytes of segments that were scanned.
    pub scanned_bytes: u64,
}

/// What settlements beyond the applied cursors come to for one scope on one day. A generation's first terminal counts, as it does in SQL,
/// and shadows count for nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unapplied {
    /// Place of the scope, such as [`fairlead_ledger::Scopes::KEY`].
    pub scope: usize,
    /// The scope's id, never 0.
    pub id: u64,
    /// The UTC day: its first moment, Unix milliseconds.
    pub day_start_ms: u64,
    /// What was settled on that day, in money.
    pub charged: NanoUsd,
    /// How many of them began on that day and have [`Flags::FREE_TIER`].
    pub free_requests: u64,
    /// Those that were settled on that day and began as late as [`crate::Options::recent_since_ms`] says.
    pub recent: Recent,
}

/// What generations took of rates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recent {
    /// How many there were.
    pub requests: u64,
    /// Prompt and completion tokens.
    pub tokens: u64,
    /// Those with [`Flags::FREE_TIER`].
    pub free_requests: u64,
}

/// A reservation whose process died before it settled it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The reservation.
    pub reserve: Reserve,
    /// How far the call is known to have come.
    pub reach: Option<Reach>,
}

/// The last note of a call: its number, how far the call had come and what was held for it.
type LastNote = (u32, Reach, NanoUsd);

/// Settles what a dead process left open, marked as recovered. Returns what that charges, which no balance has yet.
///
/// * A stream that had delivered content: what a client that left at its last note would have paid, and the cost of that. As after a
///   provider's failure, what was delivered is charged; what came after the note is not known.
/// * One that was sent and is not known to have delivered anything: charged 0, insured; upstream cost the estimated prompt.
/// * One that no provider can have got: void.
///
/// After a further crash the same orphans may be settled again; the applier keeps the first terminal of a generation.
pub fn recover(writer: &mut Writer, orphans: &[Orphan], now_ms: u64) -> Result<Vec<Unapplied>, Error> {
    let mut sums = Sums::default();
    for orphan in orphans {
        let settle = settlement(orphan, now_ms);
        writer.settle(&settle)?;
        let Settle { started_at_ms, settled_at_ms, scopes, flags, usage, charged, .. } = settle;
        sums.add(&Charge { started_at_ms, settled_at_ms, scopes, flags, usage, charged }, writer.recent_since_ms());
    }
    Ok(sums.into_sorted())
}

fn settlement(orphan: &Orphan, now_ms: u64) -> Settle {
    match &orphan.reach {
        Some(Reach::Waiting) => Settle { outcome: Outcome::Void, ..recovered(&orphan.reserve, now_ms, &unsent(&orphan.reserve)) },
        None | Some(Reach::Sent) => recovered(&orphan.reserve, now_ms, &undelivered(&orphan.reserve)),
        Some(Reach::Content(delivered)) => Settle { streamed: true, ..recovered(&orphan.reserve, now_ms, delivered) },
    }
}

/// What a call has come to that no provider has got.
fn unsent(reserve: &Reserve) -> Delivered {
    Delivered {
        // A reservation does not say how its client spoke.
        dialect: Dialect::OpenaiChat,
        manner: Manner::Native,
        flags: Flags::default(),
        usage: Usage::default(),
        charged: NanoUsd(0),
        upstream_cost: NanoUsd(0),
        earlier_cost: NanoUsd(0),
        endpoint: 0,
        model: reserve.model.clone(),
        provider: reserve.provider.clone(),
        upstream_model: String::new(),
        upstream_id: String::new(),
    }
}

/// What a call has come to that is not known to have delivered anything.
fn undelivered(reserve: &Reserve) -> Delivered {
    let mut flags = Flags::ESTIMATED;
    if reserve.prompt_cost_estimate.0 != 0 {
        flags.add(Flags::INSURED);
    }
    let usage = Usage { prompt_tokens: reserve.prompt_tokens_estimate, ..Usage::default() };
    Delivered { flags, usage, upstream_cost: reserve.prompt_cost_estimate, ..unsent(reserve) }
}

fn recovered(reserve: &Reserve, now_ms: u64, delivered: &Delivered) -> Settle {
    let mut flags = delivered.flags;
    flags.add(Flags::RECOVERED);
    let error = "interrupted".to_owned();
    let last = Attempt {
        provider: delivered.provider.clone(),
        endpoint: delivered.endpoint,
        upstream_model: delivered.upstream_model.clone(),
        upstream_id: delivered.upstream_id.clone(),
        error: error.clone(),
        upstream_cost: delivered.upstream_cost,
        flags,
        ..Attempt::default()
    };
    // Which attempts came before is not noted, only what they cost.
    let earlier = (delivered.earlier_cost.0 != 0).then(|| Attempt {
        provider: delivered.provider.clone(),
        error: "merged".to_owned(),
        upstream_cost: delivered.earlier_cost,
        flags: Flags::ESTIMATED,
        ..Attempt::default()
    });
    Settle {
        generation: reserve.generation,
        started_at_ms: reserve.started_at_ms,
        settled_at_ms: now_ms,
        scopes: reserve.scopes,
        dialect: delivered.dialect,
        manner: delivered.manner,
        streamed: false,
        outcome: Outcome::Recovered,
        flags,
        status: 0,
        error,
        requested_model: reserve.model.clone(),
        model: delivered.model.clone(),
        provider: delivered.provider.clone(),
        finish: String::new(),
        native_finish: String::new(),
        usage: delivered.usage,
        reserved: reserve.reserved,
        charged: delivered.charged,
        price_version: reserve.price_version,
        timings: Timings::default(),
        referer: String::new(),
        title: String::new(),
        user_agent: String::new(),
        end_user: String::new(),
        session: String::new(),
        attempts: earlier.into_iter().chain([last]).collect(),
        upstream_dialect: None,
        losses: Vec::new(),
        losses_more: 0,
        split: String::new(),
        arm: String::new(),
        preset: String::new(),
        preset_version: String::new(),
        hit: None,
        particulars: fairlead_ledger::Particulars::default(),
    }
}

/// Scans every segment in `chains`. What has been freed is not there any more, so what is there matters.
pub(crate) fn scan(
    directory: &Path,
    chains: &BTreeMap<ChainId, Vec<u64>>,
    applied: &Applied,
    epoch: u64,
    recent_since_ms: u64,
) -> Result<(Recovery, Holdings), Error> {
    let ids: Vec<SegmentId> =
        chains.iter().flat_map(|(chain, numbers)| numbers.iter().map(|number| SegmentId { chain: *chain, number: *number })).collect();
    let segments = scan_all(directory, &ids, applied, recent_since_ms)?;

    let mut recovery = Recovery { epoch, ..Recovery::default() };
    let mut holdings = Holdings::default();
    for (at, found) in segments.iter().enumerate() {
        let later = segments[at + 1..].iter().take_while(|later| later.id.chain == found.id.chain);
        let behind = Behind::new(found.last_number, later.filter_map(|later| later.first_number).next());
        let problem = found.stop.problem(behind);
        let damaged = problem == Some(ProblemKind::Damaged);
        if let Some(kind) = problem {
            let path = found.id.path(directory);
            if damaged {
                recovery.quarantined.push(path.clone());
            }
            recovery.problems.push(Problem { path, offset: found.end, kind });
        }
        recovery.settled += found.settled;
        recovery.scanned_bytes += found.bytes;
        holdings.add(Held { end: Some(found.end), damaged, ..Held::new(found.id, found.bytes) });
    }
    recovery.unapplied = fold(&segments, recent_since_ms);
    recovery.orphans = match_up(segments, &mut holdings);
    Ok((recovery, holdings))
}

/// What one segment holds; reservations and terminals of the same segment have cancelled out.
struct Found {
    id: SegmentId,
    bytes: u64,
    end: u64,
    stop: Stop,
    /// Sequence number of the first record.
    first_number: Option<u64>,
    /// The same of the last one, where all of them have been read.
    last_number: Option<u64>,
    settled: u64,
    open: Vec<Reserve>,
    /// How far calls have come that have no terminal here.
    notes: Vec<Progress>,
    /// Generations reserved and settled here.
    closed: Vec<GenerationId>,
    /// What SQL has still to take of them.
    sums: Sums,
    recent_since_ms: u64,
    /// Terminals of reservations that stand elsewhere.
    terminals: Vec<Terminal>,
}

struct Terminal {
    generation: GenerationId,
    at: Cursor,
    /// What SQL has still to take of it.
    charge: Option<Charge>,
}

/// Ids are random enough, and our own: the cheapest hash there is will do.
type ByGeneration<V> = HashMap<GenerationId, V, foldhash::fast::RandomState>;

/// Sums by scope, id and day.
#[derive(Default)]
struct Sums(HashMap<(usize, u64, u64), Sum, foldhash::fast::RandomState>);

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    charged: i64,
    free_requests: u64,
    recent: Recent,
}

impl Sum {
    fn add(&mut self, other: &Sum) {
        self.charged = self.charged.saturating_add(other.charged);
        self.free_requests += other.free_requests;
        self.recent.requests += other.recent.requests;
        self.recent.tokens = self.recent.tokens.saturating_add(other.recent.tokens);
        self.recent.free_requests += other.recent.free_requests;
    }
}

impl Sums {
    fn add(&mut self, charge: &Charge, recent_since_ms: u64) {
        let day = |at_ms: u64| at_ms - at_ms % DAY_MS;
        let free_requests = u64::from(charge.flags.has(Flags::FREE_TIER));
        let mut recent = Recent::default();
        if charge.started_at_ms >= recent_since_ms {
            let tokens = charge.usage.total_prompt_tokens().saturating_add(charge.usage.completion_tokens);
            recent = Recent { requests: 1, tokens, free_requests };
        }
        let settled = Sum { charged: charge.charged.0, free_requests: 0, recent };
        for (scope, id) in charge.scopes.0.iter().enumerate().filter(|(_, id)| **id != 0) {
            self.add_sum((scope, *id, day(charge.settled_at_ms)), &settled);
            if free_requests > 0 {
                self.add_sum((scope, *id, day(charge.started_at_ms)), &Sum { free_requests, ..Sum::default() });
            }
        }
    }

    fn add_sum(&mut self, place: (usize, u64, u64), more: &Sum) {
        self.0.entry(place).or_default().add(more);
    }

    fn into_sorted(self) -> Vec<Unapplied> {
        let unapplied = |((scope, id, day_start_ms), Sum { charged, free_requests, recent })| Unapplied {
            scope,
            id,
            day_start_ms,
            charged: NanoUsd(charged),
            free_requests,
            recent,
        };
        let mut sorted: Vec<Unapplied> = self.0.into_iter().filter(|(_, sum)| *sum != Sum::default()).map(unapplied).collect();
        sorted.sort_unstable();
        sorted
    }
}

/// What SQL has still to take of all segments' settlements. Terminals beside their reservation have been summed while scanning; one that
/// stands elsewhere counts unless its generation has another one before it.
fn fold(segments: &[Found], recent_since_ms: u64) -> Vec<Unapplied> {
    let mut elsewhere: ByGeneration<Option<Charge>> = ByGeneration::default();
    for terminal in segments.iter().flat_map(|found| &found.terminals) {
        elsewhere.entry(terminal.generation).or_insert(terminal.charge);
    }
    if !elsewhere.is_empty() {
        for generation in segments.iter().flat_map(|found| &found.closed) {
            elsewhere.remove(generation);
        }
    }
    let mut sums = Sums::default();
    segments.iter().flat_map(|found| &found.sums.0).for_each(|(place, sum)| sums.add_sum(*place, sum));
    elsewhere.values().flatten().for_each(|charge| sums.add(charge, recent_since_ms));
    sums.into_sorted()
}

/// Why a scan stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// At the end of the records.
    Clean,
    /// At an incomplete record with nothing behind it.
    Incomplete,
    /// At something else.
    Damaged,
}

impl Stop {
    /// What to report of a segment that gets no more records. An append that failed or did not return is no damage, unless records followed
    /// it and one between them may be missing.
    pub(crate) fn problem(self, behind: Behind) -> Option<ProblemKind> {
        match (self, behind) {
            (Stop::Clean, _) => None,
            (Stop::Incomplete, Behind::Nothing) | (_, Behind::Next) => Some(ProblemKind::Torn),
            _ => Some(ProblemKind::Damaged),
        }
    }
}

/// What stands in the chain behind a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// No record.
    Nothing,
    /// The one that follows the segment's last by its number: none is missing between them, whatever stands there.
    Next,
    /// Another one, or nobody knows.
    Other,
}

impl Behind {
    /// By the number of the segment's last record and that of the first one behind it.
    pub(crate) fn new(last: Option<u64>, first: Option<u64>) -> Behind {
        match (last, first) {
            (_, None) => Behind::Nothing,
            (Some(last), Some(first)) if first.checked_sub(1) == Some(last) => Behind::Next,
            _ => Behind::Other,
        }
    }
}

/// Open reservations whose terminal is nowhere, by age, each with its last note; the others tell their segment what to wait for.
fn match_up(segments: Vec<Found>, holdings: &mut Holdings) -> Vec<Orphan> {
    let terminals: ByGeneration<Cursor> =
        segments.iter().flat_map(|found| &found.terminals).map(|terminal| (terminal.generation, terminal.at)).collect();
    let (mut orphans, mut notes) = (BTreeMap::new(), ByGeneration::<LastNote>::default());
    for found in segments {
        for reserve in found.open {
            let generation = reserve.generation;
            holdings.reserved(generation, found.id);
            match terminals.get(&generation) {
                Some(at) => {
                    holdings.settled(generation, *at);
                }
                None => {
                    orphans.insert(generation, Orphan { reserve, reach: None });
                }
            }
        }
        for note in found.notes {
            let last = notes.entry(note.generation).or_insert((note.number, Reach::Sent, note.reserved));
            if note.number >= last.0 {
                *last = (note.number, note.reach, note.reserved);
            }
        }
    }
    for (generation, orphan) in &mut orphans {
        let Some((_, reach, reserved)) = notes.remove(generation) else { continue };
        orphan.reach = Some(reach);
        // What is held only grows.
        orphan.reserve.reserved = orphan.reserve.reserved.max(reserved);
    }
    orphans.into_values().collect()
}

/// Scans segments on as many threads as there are cores, in the order of `ids`.
fn scan_all(directory: &Path, ids: &[SegmentId], applied: &Applied, recent_since_ms: u64) -> Result<Vec<Found>, Error> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(ids.len());
    let (turn, results) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(ids.len())));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut bytes = Vec::new();
                while let Some(id) = ids.get(turn.fetch_add(1, Ordering::Relaxed)) {
                    let found = scan_segment(directory, *id, applied, recent_since_ms, &mut bytes);
                    crate::chain::lock(&results).push(found);
                }
            });
        }
    });
    let mut found = results.into_inner().unwrap_or_default().into_iter().collect::<Result<Vec<_>, _>>()?;
    found.sort_unstable_by_key(|found| found.id);
    Ok(found)
}

fn scan_segment(directory: &Path, id: SegmentId, applied: &Applied, recent_since_ms: u64, bytes: &mut Vec<u8>) -> Result<Found, Error> {
    let path = id.path(directory);
    bytes.clear();
    File::open(&path).and_then(|mut file| file.read_to_end(bytes)).map_err(Error::io("read", &path))?;
    let mut found = Found {
        id,
        bytes: bytes.len() as u64,
        end: HEADER_BYTES,
        stop: Stop::Damaged,
        first_number: None,
        last_number: None,
        settled: 0,
        open: Vec::new(),
        notes: Vec::new(),
        closed: Vec::new(),
        sums: Sums::default(),
        recent_since_ms,
        terminals: Vec::new(),
    };
    match segment::check_header(bytes, id) {
        Header::Valid { seed, bytes: size } => found.read_records(bytes, size, seed, applied, &path)?,
        Header::Damaged => {}
        Header::Newer(version) => return Err(Error::Newer { path, found: format!("format {version}") }),
    }
    Ok(found)
}

impl Found {
    fn read_records(&mut self, bytes: &[u8], size: u64, seed: u32, applied: &Applied, path: &Path) -> Result<(), Error> {
        // Reservations are decoded at the end, when most of them have met their terminal.
        let mut open: ByGeneration<&[u8]> = ByGeneration::default();
        let mut notes: ByGeneration<(u32, u8, &[u8])> = ByGeneration::default();
        let mut sequence = None;
        let mut resume_at = applied.offset_in(self.id).filter(|offset| *offset <= bytes.len() as u64);
        let mut damaged = false;
        self.stop = loop {
            let rest = &bytes[self.end as usize..];
            let frame = match frame::read(rest, size.saturating_sub(self.end) as usize, seed) {
                Step::Record(frame) if sequence.is_none_or(|before: u64| before + 1 == frame.sequence) => frame,
                // SQL has what is damaged here, and will read on behind it.
                _ if resume_at.is_some_and(|offset| offset > self.end) => {
                    self.end = resume_at.take().unwrap_or(self.end);
                    (sequence, damaged) = (None, true);
                    continue;
                }
                other => break stop(&other, rest),
            };
            let Some(kind) = frame.known_kind() else { return Err(newer_record(path, &frame)) };
            let Ok(generation) = record::generation(frame.payload) else { break Stop::Damaged };
            self.end += frame.size as u64;
            match kind {
                Kind::Reserve => drop(open.insert(generation, frame.payload)),
                Kind::Settle => {
                    let Ok(charge) = record::charge(frame.payload) else { break Stop::Damaged };
                    self.settle(generation, open.remove(&generation).is_some(), charge, applied);
                    if !notes.is_empty() {
                        notes.remove(&generation);
                    }
                }
                Kind::Progress => {
                    let Ok(number) = record::progress_number(frame.payload) else { break Stop::Damaged };
                    let last = notes.entry(generation).or_insert((number, frame.version, frame.payload));
                    // One that was carried over is older than those between.
                    if number >= last.0 {
                        *last = (number, frame.version, frame.payload);
                    }
                }
                // Its generation has, or gets, a terminal of its own.
                Kind::Shadow => {}
            }
            sequence = Some(frame.sequence);
            self.first_number = self.first_number.or(sequence);
        };
        self.last_number = sequence;
        if damaged {
            (self.stop, self.last_number) = (Stop::Damaged, None);
        }
        for payload in open.into_values() {
            match record::decode_reserve(payload) {
                Ok(reserve) => self.open.push(reserve),
                Err(record::Malformed) => (self.stop, self.last_number) = (Stop::Damaged, None),
            }
        }
        for (_, version, payload) in notes.into_values() {
            match record::decode_progress(payload, version) {
                Ok(note) => self.notes.push(note),
                Err(record::Malformed) => (self.stop, self.last_number) = (Stop::Damaged, None),
            }
        }
        Ok(())
    }

    fn settle(&mut self, generation: GenerationId, reserved_here: bool, charge: Charge, applied: &Applied) {
        let at = self.id.chain.cursor(self.id.number, self.end);
        let charge = (!applied.covers(&at)).then_some(charge);
        self.settled += u64::from(charge.is_some());
        if reserved_here {
            self.closed.push(generation);
            charge.iter().for_each(|charge| self.sums.add(charge, self.recent_since_ms));
        } else {
            self.terminals.push(Terminal { generation, at, charge });
        }
    }
}

/// Why there is no record at the start of `rest`, which reaches to the end of the segment.
fn stop(step: &Step<'_>, rest: &[u8]) -> Stop {
    let (written, otherwise) = match step {
        Step::Empty => (0, Stop::Clean),
        Step::Bad { extent: Some(extent) } => (*extent, Stop::Incomplete),
        // An impossible length, a record out of order, or a file cut off.
        Step::Bad { extent: None } | Step::Short | Step::Record(_) => return Stop::Damaged,
    };
    let behind = rest.get(written..).unwrap_or_default();
    if segment::is_zero(behind) { otherwise } else { Stop::Damaged }
}

pub(crate) fn newer_record(path: &Path, frame: &frame::Frame<'_>) -> Error {
    Error::Newer { path: path.to_path_buf(), found: format!("record kind {} version {}", frame.kind, frame.version) }
}
