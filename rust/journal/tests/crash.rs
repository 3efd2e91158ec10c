//! Real processes: killed at random moments, or limited by the operating system so that writes fail.
//!
//! The test binary starts itself again as the child; the child's acknowledgements come over its standard error.
#![expect(clippy::unwrap_used, reason = "tests")]

mod sample;

use fairlead_journal::{Cursor, Error, Journal, Options, recover};
use fairlead_ledger::{Outcome, Settle};
use sample::{Folder, count, next, orphan, read_all, reserve, settle, settle_with_losses};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs, thread};

const ROLE: &str = "FAIRLEAD_JOURNAL_TEST_ROLE";
const DIRECTORY: &str = "FAIRLEAD_JOURNAL_TEST_DIRECTORY";
const LIFE: &str = "FAIRLEAD_JOURNAL_TEST_LIFE";

/// An acknowledgement: a letter and a call's number.
const ACK_BYTES: usize = 9;

fn child(role: &str, directory: &Path, life: u64) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "in_the_child", "--nocapture", "--test-threads", "1"])
        .env(ROLE, role)
        .env(DIRECTORY, directory)
        .env(LIFE, life.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What the child does. Alone, that is without the parent's variables, it has nothing to do.
#[test]
fn in_the_child() {
    let Ok(role) = env::var(ROLE) else { return };
    let options = Options {
        segment_bytes: Options::SEGMENT_BYTES_MIN,
        ..Options::new(PathBuf::from(env::var_os(DIRECTORY).unwrap()).join("journal"))
    };
    match role.as_str() {
        "work" => work(options, env::var(LIFE).unwrap().parse().unwrap()),
        "full" => fill_the_disk(options),
        "broken" => break_the_disk(options),
        other => unreachable!("{other}"),
    }
}

fn acknowledge(letter: u8, number: u64) {
    let mut ack = [letter; ACK_BYTES];
    ack[1..].copy_from_slice(&number.to_le_bytes());
    // One write of a few bytes is whole or absent in a pipe.
    std::io::stderr().write_all(&ack).unwrap();
}

/// Reserves and settles on several workers until killed; some calls stay open for a while.
fn work(options: Options, life: u64) {
    let cursors = load_cursors(options.directory.parent().unwrap());
    let (journal, recovery) = Journal::open(options, &cursors).unwrap();
    let workers = (life % 3 + 1) as u16;
    let mut writers: Vec<_> = (0..workers).map(|worker| journal.writer(worker).unwrap()).collect();
    recover(&mut writers[0], &recovery.orphans, 1).unwrap();
    acknowledge(b'O', 0);
    thread::scope(|scope| {
        for (worker, mut writer) in writers.into_iter().enumerate() {
            scope.spawn(move || {
                let first = life << 32 | (worker as u64) << 24;
                for number in first.. {
                    writer.reserve(&reserve(number)).unwrap();
                    acknowledge(b'R', number);
                    // Every eighth call lasts for eight others.
                    let ended = if number % 8 == 7 { number - 7 } else { number };
                    if ended % 8 != 0 || ended != number {
                        writer.settle(&settle(ended)).unwrap();
                        acknowledge(b'S', ended);
                    }
                    if number % 8 == 7 {
                        writer.settle(&settle(number)).unwrap();
                        acknowledge(b'S', number);
                    }
                }
            });
        }
    });
}

fn load_cursors(directory: &Path) -> Vec<Cursor> {
    let text = fs::read_to_string(directory.join("cursors")).unwrap_or_default();
    text.lines().map(parse_cursor).collect()
}

fn parse_cursor(line: &str) -> Cursor {
    let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
    Cursor { node: numbers[0] as u16, epoch: numbers[1], worker: numbers[2] as u16, segment: numbers[3], offset: numbers[4] }
}

fn store_cursors(directory: &Path, cursors: &[Cursor]) {
    let line = |cursor: &Cursor| format!("{} {} {} {} {}\n", cursor.node, cursor.epoch, cursor.worker, cursor.segment, cursor.offset);
    fs::write(directory.join("cursors"), cursors.iter().map(line).collect::<String>()).unwrap();
}

/// The parent's side of one life: reads `acks` acknowledgements, kills, reads what is left.
fn live(directory: &Path, life: u64, acks: u64, reserved: &mut BTreeSet<u64>, settled: &mut BTreeSet<u64>) {
    let mut child = child("work", directory, life);
    let mut pipe = child.stderr.take().unwrap();
    let mut seen = Vec::new();
    let mut buffer = [0; ACK_BYTES];
    for _ in 0..acks {
        pipe.read_exact(&mut buffer).unwrap();
        seen.extend_from_slice(&buffer);
    }
    child.kill().unwrap();
    pipe.read_to_end(&mut seen).unwrap();
    child.wait().unwrap();
    for ack in seen.chunks_exact(ACK_BYTES) {
        let number = u64::from_le_bytes(ack[1..].try_into().unwrap());
        match ack[0] {
            b'R' => drop(reserved.insert(number)),
            b'S' => drop(settled.insert(number)),
            b'O' => {}
            // A panic message of the child.
            _ => unreachable!("{}", String::from_utf8_lossy(&seen)),
        }
    }
}

#[test]
fn killed_at_any_moment_nothing_settled_is_lost_and_nothing_is_billed_twice() {
    let seed = sample::seed();
    let folder = Folder::new();
    let (directory, journal_directory) = (&folder.0, folder.0.join("journal"));
    let (mut random, mut reserved, mut settled) = (seed, BTreeSet::new(), BTreeSet::new());
    let mut rows: BTreeMap<u128, Settle> = BTreeMap::new();
    let mut most_segments = 0;
    for life in 0..u64::from(count(12, 100)) {
        // Sometimes during the start, mostly under way.
        let acks = if life % 4 == 3 { next(&mut random) % 3 } else { next(&mut random) % 4000 };
        live(directory, life, acks, &mut reserved, &mut settled);
        // SQL follows after two of three lives.
        if life % 3 != 2 && journal_directory.exists() {
            let (found, cursors, problems) = read_all(&journal_directory, &load_cursors(directory));
            // The kernel may stop a write between two pages when its process is killed; that append never returned.
            assert!(problems.iter().all(|problem| problem == "Torn"), "{problems:?}");
            take(&mut rows, found);
            store_cursors(directory, &cursors);
        }
        let files = fs::read_dir(&journal_directory).map_or(0, Iterator::count);
        most_segments = most_segments.max(files);
    }
    let options = Options { segment_bytes: Options::SEGMENT_BYTES_MIN, ..Options::new(&journal_directory) };
    let (journal, recovery) = Journal::open(options, &load_cursors(directory)).unwrap();
    recover(&mut journal.writer(0).unwrap(), &recovery.orphans, 1).unwrap();
    take(&mut rows, read_all(&journal_directory, &load_cursors(directory)).0);

    for number in &settled {
        assert_eq!(rows.get(&settle(*number).generation.0), Some(&settle(*number)), "acknowledged call {number:x}");
    }
    for number in &reserved {
        let row = rows.get(&reserve(*number).generation.0);
        assert!(row.is_some_and(|row| row.outcome == Outcome::Recovered || *row == settle(*number)), "reserved call {number:x}: {row:?}");
    }
    println!("{} reserved, {} settled, {} rows, at most {most_segments} files", reserved.len(), settled.len(), rows.len());
    assert!(most_segments < 400, "segments are freed over lives: {most_segments}");
}

/// No generation comes twice: what SQL has to skip are only records it read before, and the cursors spare it these.
fn take(rows: &mut BTreeMap<u128, Settle>, found: Vec<Settle>) {
    for row in found {
        let before = rows.insert(row.generation.0, row);
        assert_eq!(before, None, "a second terminal");
    }
}

fn check_child(role: &str) {
    let folder = Folder::new();
    let mut child = child(role, &folder.0, 0);
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
}

#[test]
fn a_full_disk_refuses_new_calls_and_keeps_room_for_those_under_way() {
    check_child("full");
}

#[test]
fn a_failed_write_stops_paid_work() {
    check_child("broken");
}

/// Files of this process may have `bytes` bytes from now on; writing beyond is an error instead of a signal.
fn limit_files(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: both calls take values and a pointer to a live struct; the handler is the built-in "ignore".
    unsafe {
        assert_ne!(libc::signal(libc::SIGXFSZ, libc::SIG_IGN), libc::SIG_ERR);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit), 0);
    }
}

fn fill_the_disk(options: Options) {
    // Not a multiple of a reservation's size: the limit below must meet new segments, not the last byte of this one.
    let segment_bytes = options.segment_bytes + 1000;
    let options = Options { segment_bytes, ..options };
    let (journal, _) = Journal::open(options.clone(), &[]).unwrap();
    let mut writer = journal.writer(0).unwrap();
    // No segment can be made any more, records can be written.
    limit_files(segment_bytes - 1);
    let mut open = 0;
    let refused = loop {
        match writer.reserve(&reserve(open)) {
            Ok(()) => open += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::DiskFull(_)), "{refused}");
    assert!(open >= 5, "{open}");
    (0..open).for_each(|number| writer.settle(&settle_with_losses(number)).unwrap());
    assert!(journal.healthy());
    // With space it goes on by itself.
    limit_files(libc::RLIM_INFINITY);
    writer.reserve(&reserve(open)).unwrap();
    drop((writer, journal));
    let (_, recovery) = Journal::open(options, &[]).unwrap();
    assert_eq!((recovery.settled, recovery.orphans), (open, vec![orphan(open)]));
}

fn break_the_disk(options: Options) {
    let (journal, _) = Journal::open(options.clone(), &[]).unwrap();
    let mut writer = journal.writer(0).unwrap();
    writer.reserve(&reserve(0)).unwrap();
    writer.settle(&settle(0)).unwrap();
    writer.reserve(&reserve(1)).unwrap();
    // In the middle of the next settlement.
    limit_files(writer.position().offset + 200);
    let error = writer.settle(&settle(1)).unwrap_err();
    assert!(matches!(error, Error::Io { action: "write", .. }), "{error}");
    assert!(!journal.healthy() && journal.failure().is_some());
    assert!(matches!(writer.reserve(&reserve(2)), Err(Error::Failed(_))));
    // A settlement is tried all the same, over the torn one.
    limit_files(libc::RLIM_INFINITY);
    writer.settle(&settle(1)).unwrap();
    assert!(!journal.healthy(), "there is no way back but a restart");
    assert!(journal.sync_and_close().is_err());
    drop(writer);
    let (_, recovery) = Journal::open(options, &[]).unwrap();
    assert_eq!((recovery.settled, recovery.orphans.len(), recovery.problems.len()), (2, 0, 0));
}
