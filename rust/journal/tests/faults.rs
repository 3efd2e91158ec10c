//! The Nth call of a kind to the operating system fails, for N = 1, 2, … until there is no Nth one: nothing acknowledged is lost, nothing
//! is there twice, nothing is half there, and no paid work begins once the journal cannot be trusted.
//!
//! The test binary starts itself again as the child, with a library loaded before C's (`faults.c`, made by the C compiler that Rust links
//! with).
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "tests")]

mod sample;

use fairlead_journal::{Durability, Error, Journal, Options, recover};
use sample::{Folder, count, progress, read_all, reserve, settle};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::task::{Context, Waker};
use std::time::Instant;
use std::{env, thread};

const DIRECTORY: &str = "FAIRLEAD_JOURNAL_FAULTS_DIRECTORY";
const CALLS: u64 = 500;
/// Calls under way at once.
const IN_FLIGHT: u64 = 8;

/// What the child does: calls over several segments, some of them open for a while. It tells what the journal took and what it refused.
/// Alone, that is without the parent's variables, it has nothing to do.
#[test]
fn in_the_child() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let options = options(Path::new(&directory));
    let Ok((journal, recovery)) = Journal::open(options, &[]) else { return tell('X', 0) };
    let Ok(mut writer) = journal.writer(0) else { return tell('X', 1) };
    assert!(recovery.orphans.is_empty());
    let mut open = BTreeSet::new();
    for number in 0..CALLS + IN_FLIGHT {
        if number < CALLS {
            let healthy = journal.healthy();
            match writer.reserve(&reserve(number)) {
                Ok(()) => {
                    assert!(healthy, "paid work begins although {:?}", journal.failure());
                    open.insert(number);
                    tell('R', number);
                }
                // Heals by itself, and says so: the journal is well.
                Err(Error::DiskFull(_)) => {
                    assert!(journal.healthy());
                    tell('F', number);
                }
                Err(Error::Failed(_) | Error::Io { .. }) => {
                    assert!(!journal.healthy(), "whoever refuses for good says why: {:?}", journal.failure());
                    tell('E', number);
                }
                Err(other) => unreachable!("{other}"),
            }
            if number % 3 == 0 {
                let _ = writer.progress(&progress(number, 1));
            }
        }
        // What was refused is not made, and has no room.
        if let Some(ended) = number.checked_sub(IN_FLIGHT).filter(|ended| open.remove(ended)) {
            match writer.settle(&settle(ended)) {
                Ok(()) => tell('S', ended),
                Err(error) => {
                    assert!(!matches!(error, Error::DiskFull(_)), "there is always room for a settlement: {error}");
                    assert!(!journal.healthy());
                    tell('L', ended);
                }
            }
        }
        if number % 50 == 49 {
            // The side thread gets its turn, and a caller waits for the disk.
            let began = Instant::now();
            let mut durable = pin!(writer.durable());
            while durable.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                assert!(began.elapsed().as_secs() < 20, "who waits for the disk is told, whatever happens to it");
                thread::yield_now();
            }
        }
    }
    drop(writer);
    // Its last sync may fail, too.
    let (healthy, closed) = (journal.healthy(), journal.sync_and_close());
    assert!(healthy || closed.is_err(), "the end tells of the failure");
}

fn tell(letter: char, number: u64) {
    // One write of a few bytes.
    std::io::stdout().write_all(format!("{letter} {number}\n").as_bytes()).unwrap();
}

fn options(directory: &Path) -> Options {
    Options { segment_bytes: Options::SEGMENT_BYTES_MIN, durability: Durability::Power, ..Options::new(directory) }
}

/// The library, made once per test.
fn library(folder: &Folder) -> PathBuf {
    let (source, library) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults.c"), folder.0.join("faults.so"));
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").status().unwrap();
    assert!(compiled.success(), "the C compiler that Rust links with");
    library
}

/// One run with the fault. Returns how many calls of the kind there were.
fn run(library: &Path, call: &str, at: u64, errno: i32, lasts: bool) -> u64 {
    let folder = Folder::in_memory();
    let directory = folder.0.join("journal");
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "in_the_child", "--nocapture", "--test-threads", "1"]);
    child.env(DIRECTORY, &directory).env("LD_PRELOAD", library);
    child.env("FAULT_CALL", call).env("FAULT_AT", at.to_string()).env("FAULT_ERRNO", errno.to_string());
    if lasts {
        child.env("FAULT_LASTS", "1");
    }
    let output = child.output().unwrap();
    let what = format!("{call} {at} fails with {errno}, for good: {lasts}");
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));

    let mut told: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    let text = String::from_utf8(output.stdout).unwrap();
    for line in text.lines() {
        if let Some((letter @ ("R" | "F" | "E" | "S" | "L" | "X" | "CALLS"), number)) = line.trim().split_once(' ')
            && let Ok(number) = number.parse()
        {
            told.entry(letter).or_default().insert(number);
        }
    }
    let of = |letter: &str| told.get(letter).cloned().unwrap_or_default();
    let (reserved, settled, lost) = (of("R"), of("S"), of("L"));
    if let Some(first) = of("E").first() {
        assert!(reserved.iter().all(|number| number < first), "{what}: no paid work begins after a failure");
    }

    // The next start, with a disk that works.
    if directory.exists() {
        let (journal, recovery) = Journal::open(options(&directory), &[]).unwrap();
        let orphans: BTreeSet<u64> = recovery.orphans.iter().map(|orphan| orphan.reserve.scopes.0[3]).collect();
        recover(&mut journal.writer(0).unwrap(), &recovery.orphans, 1).unwrap();
        let (rows, _, problems) = read_all(&directory, &[]);
        assert!(problems.iter().all(|problem| problem == "Torn"), "{what}: {problems:?}");
        assert!(recovery.quarantined.is_empty(), "{what}: {:?}", recovery.problems);
        let mut seen = BTreeMap::new();
        for row in rows {
            let number = row.scopes.0[3];
            assert!(seen.insert(number, row).is_none(), "{what}: call {number} has two terminals");
        }
        for number in &settled {
            assert_eq!(seen.get(number), Some(&settle(*number)), "{what}: settlement {number} was acknowledged");
        }
        for number in &reserved {
            assert!(seen.contains_key(number), "{what}: call {number} has a terminal");
            assert!(settled.contains(number) || orphans.contains(number) || lost.contains(number), "{what}: call {number}");
        }
        for number in seen.keys() {
            // A reservation that was refused may stand there all the same, whole: it is settled for nothing. Nobody else's is there.
            assert!(*number < CALLS, "{what}: call {number}");
        }
    }
    of("CALLS").last().copied().unwrap_or(0)
}

/// N = 1, 2, … until nothing fails; a sample of them where not every one is wanted.
fn check(call: &str, errno: i32, lasts: bool) {
    let folder = Folder::new();
    let library = library(&folder);
    let calls = run(&library, call, u64::MAX >> 1, errno, lasts);
    assert!(calls > 0, "{call} is called");
    let step = calls.div_ceil(u64::from(count(12, u32::MAX))).max(1) as usize;
    for at in (1..=calls + 1).step_by(step) {
        run(&library, call, at, errno, lasts);
    }
    println!("{call}: {calls} calls, every {step}. of them failed");
}

#[test]
fn writes_that_fail() {
    check("pwrite", libc::EIO, false);
    check("pwrite", libc::EIO, true);
    check("pwrite", libc::ENOSPC, true);
}

#[test]
fn syncs_that_fail() {
    check("fdatasync", libc::EIO, false);
    check("fdatasync", libc::EIO, true);
    check("fsync", libc::EIO, false);
}

#[test]
fn segments_that_cannot_be_made() {
    check("fallocate", libc::ENOSPC, false);
    check("fallocate", libc::ENOSPC, true);
    check("rename", libc::EIO, true);
}
