//! A journal's life: epochs, segments, readers, freeing, limits.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod sample;

use fairlead_ir::GenerationId;
use fairlead_journal::{Cursor, Durability, Error, Journal, Options, Orphan, Reader, recover};
use fairlead_ledger::{Flags, Outcome, Settle};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sample::{Folder, count, generation, orphan, progress, read_all, reserve, settle};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// The applier in a map: the first terminal of a generation counts.
#[derive(Default)]
struct Sql {
    rows: BTreeMap<u128, Settle>,
    cursors: BTreeMap<(u64, u16), Cursor>,
}

impl Sql {
    fn apply(&mut self, folder: &Folder) -> Vec<String> {
        let (settled, cursors, problems) = read_all(&folder.0, &self.cursors());
        self.take(settled, &cursors);
        problems
    }

    fn take(&mut self, settled: Vec<Settle>, cursors: &[Cursor]) {
        for row in settled {
            self.rows.entry(row.generation.0).or_insert(row);
        }
        for cursor in cursors {
            let known = self.cursors.insert((cursor.epoch, cursor.worker), *cursor);
            assert!(known.is_none_or(|known| known <= *cursor), "cursors only go forward");
        }
    }

    fn cursors(&self) -> Vec<Cursor> {
        self.cursors.values().copied().collect()
    }
}

#[test]
fn what_is_written_is_read_and_a_second_reading_adds_nothing() {
    let folder = Folder::new();
    let (journal, recovery) = Journal::open(folder.options(), &[]).unwrap();
    assert_eq!((recovery.epoch, recovery.settled, recovery.orphans.len()), (1, 0, 0));
    let mut writer = journal.writer(0).unwrap();
    for number in 0..1000 {
        writer.reserve(&reserve(number)).unwrap();
        writer.settle(&settle(number)).unwrap();
    }
    let (settled, cursors, problems) = read_all(&folder.0, &[]);
    assert_eq!(settled, (0..1000).map(settle).collect::<Vec<_>>());
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(cursors, journal.position());
    assert!(cursors[0].segment > 3, "several segments were filled");
    assert_eq!(read_all(&folder.0, &cursors).0, []);
}

/// A model of starts with changing numbers of workers, reads of any size in between, deaths with calls under way, and frees.
fn check_life(steps: &[(u16, u64, u64, bool)]) {
    let folder = Folder::in_memory();
    let mut sql = Sql::default();
    let (mut next, mut expected) = (0, BTreeMap::new());
    for (life, (workers, calls, left_open, drain)) in steps.iter().copied().enumerate() {
        let (journal, recovery) = Journal::open(folder.options(), &sql.cursors()).unwrap();
        assert_eq!(recovery.problems, []);
        let mut writers: Vec<_> = (0..workers).map(|worker| journal.writer(worker).unwrap()).collect();
        for orphan in &recovery.orphans {
            assert_eq!(expected.insert(orphan.reserve.generation.0, Outcome::Recovered), None, "an orphan has no other terminal");
        }
        recover(&mut writers[0], &recovery.orphans, 5).unwrap();
        for call in 0..calls {
            let reserving = call % u64::from(workers);
            // Terminals of another worker, where no segment is freed during the same life: that is the documented limit.
            let settling = if drain { reserving } else { (call * 7 + life as u64) % u64::from(workers) };
            writers[reserving as usize].reserve(&reserve(next)).unwrap();
            if call >= left_open {
                writers[settling as usize].settle(&settle(next)).unwrap();
                expected.insert(generation(next).0, Outcome::Completed);
            }
            next += 1;
        }
        if drain {
            sql.apply(&folder);
            journal.applied(&sql.cursors());
        }
    }
    sql.apply(&folder);
    let (journal, recovery) = Journal::open(folder.options(), &sql.cursors()).unwrap();
    assert_eq!(recovery.settled, 0);
    recover(&mut journal.writer(0).unwrap(), &recovery.orphans, 6).unwrap();
    expected.extend(recovery.orphans.iter().map(|orphan| (orphan.reserve.generation.0, Outcome::Recovered)));
    sql.apply(&folder);
    let found: BTreeMap<u128, Outcome> = sql.rows.iter().map(|(generation, row)| (*generation, row.outcome)).collect();
    assert_eq!(found, expected);
    assert_eq!(sql.rows.len() as u64, next, "every call has exactly one row");

    journal.applied(&sql.cursors());
    sql.apply(&folder);
    journal.applied(&sql.cursors());
    let left = folder.segments();
    assert!(left.len() <= 2, "everything but the segment in use and the next one is freed: {left:?}");
}

#[test]
fn every_call_ends_once_over_any_lives() {
    // Not the macro: PROPTEST_CASES would override the number of cases, and each of these takes long.
    let mut runner = TestRunner::new(ProptestConfig { cases: count(24, 1000), ..ProptestConfig::default() });
    let steps = prop::collection::vec((1u16..5, 0u64..400, 0u64..30, any::<bool>()), 1..6);
    runner
        .run(&steps, |steps| {
            check_life(&steps);
            Ok(())
        })
        .unwrap();
}

proptest! {
    #[test]
    fn reading_in_pieces_is_reading_at_once(calls in 1u64..600, sizes in prop::collection::vec(1usize..50, 1..20), again: bool) {
        let folder = Folder::new();
        let (journal, _) = Journal::open(folder.options(), &[]).unwrap();
        let mut writers: Vec<_> = (0..2).map(|worker| journal.writer(worker).unwrap()).collect();
        let mut reader = Reader::open(&folder.0, &[]).unwrap();
        let (mut sql, mut sizes) = (Sql::default(), sizes.into_iter().cycle());
        for number in 0..calls {
            writers[(number % 3 / 2) as usize].settle(&settle(number)).unwrap();
            if number % 10 == 9 {
                let mut out = Vec::new();
                let state = reader.read(sizes.next().unwrap(), &mut out).unwrap();
                prop_assert_eq!(state.problems, vec![]);
                sql.take(out, &state.cursors);
                if again {
                    reader = Reader::open(&folder.0, &sql.cursors()).unwrap();
                }
            }
        }
        sql.apply(&folder);
        prop_assert_eq!(sql.rows.into_values().collect::<Vec<_>>(), (0..calls).map(settle).collect::<Vec<_>>());
        prop_assert_eq!(sql.cursors.into_values().collect::<Vec<_>>(), journal.position());
    }
}

#[test]
fn a_reader_follows_live_writers_over_segments() {
    const CALLS: u64 = 3000;
    let folder = Folder::new();
    let (journal, _) = Journal::open(folder.options(), &[]).unwrap();
    let (mut sql, mut reader) = (Sql::default(), Reader::open(&folder.0, &[]).unwrap());
    thread::scope(|scope| {
        for worker in 0..2 {
            let mut writer = journal.writer(worker).unwrap();
            scope.spawn(move || {
                for number in (0..CALLS).filter(|number| number % 2 == u64::from(worker)) {
                    writer.reserve(&reserve(number)).unwrap();
                    writer.settle(&settle(number)).unwrap();
                }
            });
        }
        while (sql.rows.len() as u64) < CALLS {
            let mut out = Vec::new();
            let state = reader.read(50, &mut out).unwrap();
            assert_eq!(state.problems, []);
            sql.take(out, &state.cursors);
            journal.applied(&sql.cursors());
        }
    });
    assert_eq!(sql.rows.into_values().collect::<Vec<_>>(), (0..CALLS).map(settle).collect::<Vec<_>>());
    assert!(folder.segments().len() <= 6, "read segments are freed while the writers go on: {:?}", folder.segments());
}

#[test]
fn an_orphan_is_settled_for_nothing_with_its_estimate() {
    let folder = Folder::new();
    let (journal, _) = Journal::open(folder.options(), &[]).unwrap();
    journal.writer(3).unwrap().reserve(&reserve(4)).unwrap();
    drop(journal);
    // A second death right after the recovery, before SQL saw it, changes nothing.
    for life in 0..3 {
        let (journal, recovery) = Journal::open(folder.options(), &[]).unwrap();
        assert_eq!(recovery.orphans, if life == 0 { vec![orphan(4)] } else { vec![] });
        recover(&mut journal.writer(0).unwrap(), &recovery.orphans, 99).unwrap();
    }
    let (settled, ..) = read_all(&folder.0, &[]);
    let [row] = settled.as_slice() else { panic!("{settled:?}") };
    assert_eq!((row.generation, row.outcome, row.charged.0, row.settled_at_ms), (generation(4), Outcome::Recovered, 0, 99));
    assert!(row.flags.has(Flags::RECOVERED) && row.flags.has(Flags::ESTIMATED));
    assert_eq!(row.attempts[0].upstream_cost, reserve(4).prompt_cost_estimate);
    assert_eq!((&row.scopes, row.price_version), (&reserve(4).scopes, 7));
}

#[test]
fn segments_go_when_sql_has_them_and_stay_while_a_call_is_open() {
    let folder = Folder::new();
    let (journal, _) = Journal::open(folder.options(), &[]).unwrap();
    let mut writer = journal.writer(0).unwrap();
    writer.reserve(&reserve(0)).unwrap();
    let fill = |writer: &mut fairlead_journal::Writer, from: u64| {
        let segment = writer.position().segment;
        (from..).take_while(|number| writer.settle(&settle(*number)).is_ok() && writer.position().segment < segment + 2).count()
    };
    fill(&mut writer, 1);
    assert_eq!(journal.backlog_bytes(), 2 * Options::SEGMENT_BYTES_MIN);
    let (_, cursors, _) = read_all(&folder.0, &[]);
    journal.applied(&cursors);
    assert_eq!(journal.backlog_bytes(), 2 * Options::SEGMENT_BYTES_MIN, "the open call keeps both");
    writer.settle(&settle(0)).unwrap();
    journal.applied(&cursors);
    assert_eq!(journal.backlog_bytes(), 2 * Options::SEGMENT_BYTES_MIN, "its terminal is not in SQL yet");
    let (_, cursors, _) = read_all(&folder.0, &cursors);
    journal.applied(&cursors);
    assert_eq!(journal.backlog_bytes(), 0);
}

fn running(reader: &mut Reader) -> Vec<GenerationId> {
    assert!(reader.read(usize::MAX, &mut Vec::new()).unwrap().caught_up);
    let mut running: Vec<_> = reader.running().map(|reserve| reserve.generation).collect();
    running.sort();
    running
}

#[test]
fn calls_in_progress_are_those_of_this_process_that_are_not_settled() {
    let folder = Folder::new();
    let (journal, _) = Journal::open(folder.options(), &[]).unwrap();
    let (mut writer, mut reader) = (journal.writer(0).unwrap(), Reader::open(&folder.0, &[]).unwrap());
    assert_eq!(running(&mut reader), []);
    (0..3).for_each(|number| writer.reserve(&reserve(number)).unwrap());
    assert_eq!(running(&mut reader), [0, 1, 2].map(|number| reserve(number).generation));
    writer.settle(&settle(1)).unwrap();
    assert_eq!(running(&mut reader), [0, 2].map(|number| reserve(number).generation));
    // Written again, because its segment is old, and settled: it does not come back.
    for number in 3..6000 {
        writer.settle(&settle(number)).unwrap();
        if number % 100 == 0 {
            assert_eq!(running(&mut reader).len(), 2);
            journal.applied(&reader.read(0, &mut Vec::new()).unwrap().cursors);
        }
    }
    writer.settle(&settle(2)).unwrap();
    assert_eq!(running(&mut reader), [reserve(0).generation]);
    // Whoever starts now has its orphan to settle, and nothing in progress.
    drop((writer, journal));
    let (journal, recovery) = Journal::open(folder.options(), &[]).unwrap();
    let mut writer = journal.writer(0).unwrap();
    writer.reserve(&reserve(9000)).unwrap();
    assert_eq!(recovery.orphans.len(), 1);
    assert_eq!(running(&mut Reader::open(&folder.0, &[]).unwrap()), [reserve(9000).generation]);
}

#[test]
fn one_long_call_does_not_keep_everything_and_is_still_an_orphan_after_a_crash() {
    let folder = Folder::new();
    let (journal, _) = Journal::open(folder.options(), &[]).unwrap();
    let mut writer = journal.writer(0).unwrap();
    writer.reserve(&reserve(0)).unwrap();
    writer.reserve(&reserve(1)).unwrap();
    let mut sql = Sql::default();
    for number in 2..6000 {
        writer.settle(&settle(number)).unwrap();
        // Its last notes stand in an old segment when that goes.
        if let Ok(note @ 10..20) = u32::try_from(number / 100) {
            writer.progress(&progress(0, note)).unwrap();
        }
        if number % 100 == 0 {
            sql.apply(&folder);
            journal.applied(&sql.cursors());
        }
    }
    assert!(writer.position().segment > 20);
    assert!(journal.backlog_bytes() <= 5 * Options::SEGMENT_BYTES_MIN, "{}", journal.backlog_bytes());
    writer.settle(&settle(1)).unwrap();
    drop((writer, journal));
    let (_, recovery) = Journal::open(folder.options(), &sql.cursors()).unwrap();
    assert_eq!(recovery.orphans, [Orphan { reach: Some(progress(0, 19).reach), ..orphan(0) }]);
    assert_eq!(recovery.problems, []);
}

#[test]
fn a_backlog_beyond_the_limit_refuses_reservations_only() {
    let folder = Folder::new();
    let options = Options { backlog_bytes: Options::SEGMENT_BYTES_MIN, ..folder.options() };
    let (journal, _) = Journal::open(options, &[]).unwrap();
    let mut writer = journal.writer(0).unwrap();
    let mut number = 0;
    let refused = loop {
        match writer.reserve(&reserve(number)) {
            Ok(()) => number += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::Backlog { .. }), "{refused}");
    assert!(journal.healthy());
    (0..number).for_each(|number| writer.settle(&settle(number)).unwrap());
    let (_, cursors, _) = read_all(&folder.0, &[]);
    journal.applied(&cursors);
    writer.reserve(&reserve(number)).unwrap();
}

#[test]
fn one_process_one_writer_per_worker() {
    let folder = Folder::new();
    let (journal, _) = Journal::open(folder.options(), &[]).unwrap();
    assert!(matches!(Journal::open(folder.options(), &[]), Err(Error::Locked(_))));
    let writer = journal.writer(1).unwrap();
    assert!(matches!(journal.writer(1), Err(Error::WorkerTaken(1))));
    drop((journal, writer));
    let (journal, _) = Journal::open(folder.options(), &[]).unwrap();
    assert_eq!(journal.epoch(), 2);
    assert!(matches!(Journal::open(Options { segment_bytes: 1, ..folder.options() }, &[]), Err(Error::Option(_))));
}

#[test]
fn an_epoch_is_never_used_twice_even_if_the_folder_is_empty() {
    let folder = Folder::new();
    let cursor = Cursor { node: 0, epoch: 41, worker: 0, segment: 3, offset: 700 };
    let (journal, _) = Journal::open(folder.options(), &[cursor]).unwrap();
    assert_eq!(journal.epoch(), 42);
}

#[test]
fn folder_and_segments_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let options = Options { directory: folder.0.join("a/journal"), ..folder.options() };
    let (journal, _) = Journal::open(options, &[]).unwrap();
    let _writer = journal.writer(0).unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.0.join("a/journal")), 0o700);
    for entry in std::fs::read_dir(folder.0.join("a/journal")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077 & if path.ends_with("lock") { 0 } else { 0o777 }, 0, "{path:?}");
    }
}

#[test]
fn the_waker_is_called_for_settlements_and_few_times() {
    let folder = Folder::new();
    let (journal, _) = Journal::open(folder.options(), &[]).unwrap();
    let (sender, woken) = mpsc::channel();
    journal.set_waker(Box::new(move || sender.send(()).unwrap()));
    let mut writer = journal.writer(0).unwrap();
    writer.reserve(&reserve(0)).unwrap();
    writer.settle(&settle(0)).unwrap();
    // Only a guard against hanging: the hook comes within milliseconds or never.
    woken.recv_timeout(Duration::from_secs(60)).unwrap();
    (1..500).for_each(|number| writer.settle(&settle(number)).unwrap());
    journal.sync_and_close().unwrap();
    let calls = woken.try_iter().count();
    assert!((1..100).contains(&calls), "{calls}");
}

/// The side thread is as fast as it can be here, so that a round of it may come at any moment of an append.
#[test]
fn no_settlement_goes_unheard() {
    let folder = Folder::in_memory();
    let (journal, _) = Journal::open(Options { durability: Durability::Power, ..folder.options() }, &[]).unwrap();
    let (sender, woken) = mpsc::channel();
    journal.set_waker(Box::new(move || {
        let _ = sender.send(());
    }));
    let mut writer = journal.writer(0).unwrap();
    for number in 0..u64::from(count(3000, 100_000)) {
        writer.settle(&settle(number)).unwrap();
        // Only a guard against hanging, as above.
        woken.recv_timeout(Duration::from_secs(60)).unwrap();
        while woken.try_recv().is_ok() {}
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn durable_resolves_in_both_levels_and_over_segments() {
    for durability in [Durability::Process, Durability::Power] {
        let folder = Folder::new();
        let (journal, _) = Journal::open(Options { durability, ..folder.options() }, &[]).unwrap();
        let mut writer = journal.writer(0).unwrap();
        wait(writer.durable()).unwrap();
        for number in 0..20 {
            (0..60).for_each(|call| writer.settle(&settle(number * 60 + call)).unwrap());
            wait(writer.durable()).unwrap();
        }
        assert!(writer.position().segment > 3);
    }
}
