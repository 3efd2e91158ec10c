//! What a start says is not applied yet is what SQL will add when it has read on.
#![expect(clippy::unwrap_used, reason = "tests")]

mod sample;

use fairlead_ir::NanoUsd;
use fairlead_journal::{Cursor, Journal, Options, Reader, Unapplied};
use fairlead_ledger::{Flags, Reach, Reserve, Scopes, Settle};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sample::{Folder, count, orphan, progress, read_all, reserve, settle};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

const DAY_MS: u64 = 86_400_000;
/// Some of the generations of [`step`] began before, some after.
const RECENT_SINCE_MS: u64 = 20_001 * DAY_MS + 15_000_000;

/// SQL's side: the first terminal of a generation counts, shadows are rows without a charge.
struct Sql {
    recent_since_ms: u64,
    seen: BTreeSet<u128>,
    sums: BTreeMap<(usize, u64, u64), Unapplied>,
}

impl Sql {
    fn new(recent_since_ms: u64) -> Sql {
        Sql { recent_since_ms, seen: BTreeSet::new(), sums: BTreeMap::new() }
    }

    fn take(&mut self, rows: &[Settle]) {
        for row in rows.iter().filter(|row| !row.flags.has(Flags::SHADOW)) {
            if self.seen.insert(row.generation.0) {
                let day = |at_ms: u64| at_ms / DAY_MS * DAY_MS;
                let free = u64::from(row.flags.has(Flags::FREE_TIER));
                let is_recent = row.started_at_ms >= self.recent_since_ms;
                for (scope, id) in row.scopes.0.into_iter().enumerate().filter(|(_, id)| *id != 0) {
                    self.sum(scope, id, day(row.started_at_ms)).free_requests += free;
                    let sum = self.sum(scope, id, day(row.settled_at_ms));
                    sum.charged.0 += row.charged.0;
                    if is_recent {
                        sum.recent.requests += 1;
                        sum.recent.tokens += row.usage.total_prompt_tokens() + row.usage.completion_tokens;
                        sum.recent.free_requests += free;
                    }
                }
            }
        }
    }

    fn sum(&mut self, scope: usize, id: u64, day_start_ms: u64) -> &mut Unapplied {
        self.sums.entry((scope, id, day_start_ms)).or_insert(Unapplied { scope, id, day_start_ms, ..Unapplied::default() })
    }

    fn unapplied(self) -> Vec<Unapplied> {
        let is_something = |sum: &Unapplied| sum.charged.0 != 0 || sum.free_requests != 0 || sum.recent.requests != 0;
        self.sums.into_values().filter(is_something).collect()
    }
}

/// What SQL will add to what it has by `cursors`, if it knows the generations in `seen`.
fn will_add(folder: &Path, cursors: &[Cursor], recent_since_ms: u64, seen: BTreeSet<u128>) -> Vec<Unapplied> {
    let mut sql = Sql { seen, ..Sql::new(recent_since_ms) };
    sql.take(&read_all(folder, cursors).0);
    sql.unapplied()
}

/// One record that a worker writes.
#[derive(Clone, Debug)]
struct Step {
    worker: u16,
    call: u64,
    /// 0 to 3: reservation and terminal, terminal alone, shadow, reservation alone.
    what: u8,
    charged: i64,
    scopes: [u64; 8],
    day: u64,
}

fn step() -> impl Strategy<Value = Step> {
    let scopes = [0u64..2, 0..3, 0..3, 0..4, 0..3, 0..1, 0..1, 0..2];
    (0u16..3, 0u64..40, 0u8..4, prop_oneof![Just(0i64), 1i64..1 << 40], scopes, 20_000u64..20_003)
        .prop_map(|(worker, call, what, charged, scopes, day)| Step { worker, call, what, charged, scopes, day })
}

impl Step {
    fn settle(&self) -> Settle {
        let mut flags = if self.what == 2 { Flags::SHADOW } else { Flags::CONTENT };
        if self.call.is_multiple_of(3) {
            flags.add(Flags::FREE_TIER);
        }
        let settled_at_ms = self.day * DAY_MS + self.call * 1_000_003 % DAY_MS;
        // Some across midnight, some across that moment.
        let started_at_ms = settled_at_ms - self.call * 7919 % 13 * 1_000_000;
        Settle { started_at_ms, settled_at_ms, scopes: Scopes(self.scopes), charged: NanoUsd(self.charged), flags, ..settle(self.call) }
    }
}

/// Writes `lives`, reads `applied` records as SQL would, and compares at the next start.
fn check_fold(lives: &[Vec<Step>], applied: usize) {
    let folder = Folder::in_memory();
    let mut met = BTreeSet::new();
    for steps in lives {
        let (journal, _) = Journal::open(folder.options(), &[]).unwrap();
        let mut writers: Vec<_> = (0..3).map(|worker| journal.writer(worker).unwrap()).collect();
        for step in steps {
            let (writer, record) = (&mut writers[usize::from(step.worker)], step.settle());
            // A call is reserved once, before anything else of it: what comes again is a second terminal.
            if step.what != 2 && met.insert(step.call) && matches!(step.what, 0 | 3) {
                writer.reserve(&reserve(step.call)).unwrap();
            }
            match step.what {
                0 | 1 => writer.settle(&record).unwrap(),
                2 => writer.shadow(&record).unwrap(),
                _ => {}
            }
        }
    }
    let (mut first, mut sql) = (Vec::new(), Sql::new(RECENT_SINCE_MS));
    let cursors = Reader::open(&folder.0, &[]).unwrap().read(applied, &mut first).unwrap().cursors;
    sql.take(&first);
    let expected = will_add(&folder.0, &cursors, RECENT_SINCE_MS, sql.seen);
    let options = Options { recent_since_ms: RECENT_SINCE_MS, ..folder.options() };
    let (_, recovery) = Journal::open(options, &cursors).unwrap();
    assert_eq!(recovery.problems, []);
    assert_eq!(recovery.unapplied, expected);
}

#[test]
fn the_fold_is_what_a_reader_sums_up() {
    let mut runner = TestRunner::new(ProptestConfig { cases: count(200, 20_000), ..ProptestConfig::default() });
    let steps = prop::collection::vec(prop::collection::vec(step(), 0..60), 1..4);
    // One worker per call: the order of two workers' terminals of one call is nobody's promise.
    let lives = steps.prop_map(|mut lives| {
        lives.iter_mut().flatten().for_each(|step| step.worker = (step.call % 3) as u16);
        lives
    });
    runner
        .run(&(lives, 0usize..150), |(lives, applied)| {
            check_fold(&lives, applied);
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_fold_goes_over_segments_and_is_empty_where_all_is_applied() {
    let folder = Folder::in_memory();
    {
        let (journal, _) = Journal::open(folder.options(), &[]).unwrap();
        let mut writers: Vec<_> = (0..2).map(|worker| journal.writer(worker).unwrap()).collect();
        for number in 0..2000 {
            writers[(number % 2) as usize].reserve(&reserve(number)).unwrap();
            // Settled up to 60 calls later, so that terminals stand in other segments than their reservations.
            if let Some(ended) = number.checked_sub(60) {
                writers[(number % 2) as usize].settle(&settle(ended)).unwrap();
            }
        }
    }
    let (_, cursors, _) = read_all(&folder.0, &[]);
    let (journal, recovery) = Journal::open(folder.options(), &[]).unwrap();
    assert_eq!(recovery.unapplied, will_add(&folder.0, &[], u64::MAX, BTreeSet::new()));
    let sum: i64 = (0..1940).map(|number| settle(number).charged.0).sum();
    let account =
        Unapplied { scope: Scopes::ACCOUNT, id: 1, day_start_ms: 1_767_225_600_000, charged: NanoUsd(sum), ..Unapplied::default() };
    assert_eq!(recovery.unapplied[0], account);
    drop(journal);
    assert_eq!(Journal::open(folder.options(), &cursors).unwrap().1.unapplied, []);
}

/// Damage in what SQL has already neither hides what stands behind it nor frees it.
#[test]
fn damage_before_the_cursor_hides_nothing_behind_it() {
    let folder = Folder::in_memory();
    {
        let (journal, _) = Journal::open(folder.options(), &[]).unwrap();
        let mut writer = journal.writer(0).unwrap();
        for number in 0..20 {
            writer.reserve(&reserve(number)).unwrap();
            writer.settle(&settle(number)).unwrap();
        }
        writer.reserve(&reserve(20)).unwrap();
    }
    let mut first = Vec::new();
    let cursors = Reader::open(&folder.0, &[]).unwrap().read(10, &mut first).unwrap().cursors;
    let file = fs::File::options().write(true).open(&folder.segments()[0]).unwrap();
    file.write_all_at(&[0xff; 8], 300).unwrap();
    for _ in 0..2 {
        let (_journal, recovery) = Journal::open(folder.options(), &cursors).unwrap();
        assert_eq!((recovery.settled, recovery.problems.len()), (10, 1));
        // The first call's terminal is what was hit. SQL has it, and ignores a second one.
        assert_eq!(recovery.orphans, [orphan(0), orphan(20)]);
        assert_eq!(recovery.unapplied, will_add(&folder.0, &cursors, u64::MAX, BTreeSet::new()));
        assert!(!recovery.unapplied.is_empty());
    }
}

/// A start with 1 GiB that SQL has not seen, in the default segments, of calls each of which was noted twice under way, and some of which were
/// under way at the end. Under `make proof`, in a release build.
#[test]
fn a_gibibyte_is_folded_in_two_seconds() {
    if count(0, 1) == 0 {
        return;
    }
    let folder = Folder::new();
    let options = Options::new(&folder.0);
    let (journal, _) = Journal::open(options.clone(), &[]).unwrap();
    let mut writers: Vec<_> = (0..2).map(|worker| journal.writer(worker).unwrap()).collect();
    let mut calls = 0;
    while journal.backlog_bytes() < 1 << 30 {
        let writer = &mut writers[(calls % 2) as usize];
        writer.reserve(&Reserve { scopes: scopes(calls), ..reserve(calls) }).unwrap();
        writer.progress(&progress(calls, 1)).unwrap();
        // The call that began this long before ends, with a second note.
        if let Some(ended) = calls.checked_sub(UNDER_WAY) {
            writer.progress(&progress(ended, 2)).unwrap();
            writer.settle(&Settle { scopes: scopes(ended), ..settle(ended) }).unwrap();
        }
        calls += 1;
    }
    drop(writers);
    journal.sync_and_close().unwrap();
    let start = || {
        let (wall, cpu) = (Instant::now(), cpu_time());
        let (_journal, recovery) = Journal::open(options.clone(), &[]).unwrap();
        (cpu_time() - cpu, wall.elapsed(), recovery)
    };
    // CPU time of all threads, which is what it takes on one core that has nothing else to do: the machine's other work is nobody's fault.
    let (took, wall, recovery) = (0..3).map(|_| start()).min_by_key(|(took, _, _)| *took).unwrap();
    println!("{} MB, {calls} calls, {} sums: {took:?} of CPU in {wall:?}", recovery.scanned_bytes / 1_000_000, recovery.unapplied.len());
    assert_eq!((recovery.settled, recovery.orphans.len() as u64), (calls - UNDER_WAY, UNDER_WAY));
    assert!(recovery.orphans.iter().all(|orphan| matches!(orphan.reach, Some(Reach::Content(_)))), "each was noted");
    assert!(took.as_secs() < 2, "{took:?}");
}

fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills the struct it is given, which lives through it.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Calls under way at once, an even number: each is settled by the writer that reserved it.
const UNDER_WAY: u64 = 1000;

/// Those of 1,000 keys, 50 users and 7 teams.
fn scopes(call: u64) -> Scopes {
    Scopes([1, call % 7 + 1, call % 50 + 1, call % 1000 + 1, 0, 0, 0, 0])
}
