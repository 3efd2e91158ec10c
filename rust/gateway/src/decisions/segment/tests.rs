#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::decisions::{Batch, Bounds, Notes, Tallies};
use std::cell::{Cell, RefCell};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;

/// A folder of its own that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("fairlead-decisions-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let folder = Folder(std::env::temp_dir().join(name));
        make_folder(&folder.0).unwrap();
        folder
    }

    fn read(&self, since_ms: u64) -> (Vec<Vec<u8>>, Unreadable) {
        let mut reader = Reader::open(&self.0, since_ms).unwrap();
        let mut found = Vec::new();
        while let Some(block) = reader.next().unwrap() {
            found.extend(records(&block).map(|record| record.unwrap().inputs.to_vec()));
        }
        (found, reader.unreadable)
    }

    fn only(&self) -> PathBuf {
        let segments = list(&self.0).unwrap();
        assert_eq!(segments.len(), 1);
        segments[0].path.clone()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn rules(now_ms: u64) -> Rules {
    Rules { bounds: Bounds { ttl_ms: 1_000_000_000, most_bytes: 1 << 30 }, now_ms }
}

fn record(inputs: &[u8]) -> Vec<u8> {
    let mut record = vec![0; RECORD_HEAD_BYTES];
    record.extend_from_slice(inputs);
    finish_record(&mut record, GenerationId(5 << 80), 3);
    record
}

const NOW_MS: u64 = 1_795_266_000_000;

#[test]
fn what_is_written_is_read() {
    let folder = Folder::new();
    let mut log = Log::new(&folder.0);
    log.write(&[record(b"one"), record(b""), record(b"three")].concat(), &rules(NOW_MS)).unwrap();
    log.write(&record(b"four"), &rules(NOW_MS)).unwrap();
    let mut reader = Reader::open(&folder.0, 0).unwrap();
    let block = reader.next().unwrap().unwrap();
    let read: Vec<_> = records(&block).map(Option::unwrap).collect();
    assert_eq!(read.iter().map(|record| record.inputs).collect::<Vec<_>>(), [b"one".as_slice(), b"", b"three"]);
    assert_eq!((read[0].generation.unix_ms(), read[0].asked), (5, 3));
    assert!(reader.next().unwrap().is_some());
    assert_eq!((reader.next().unwrap(), reader.unreadable), (None, Unreadable::default()));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder.0), mode(&folder.only())), (0o700, 0o600));
}

#[test]
fn a_torn_tail_costs_what_was_torn() {
    let folder = Folder::new();
    let mut log = Log::new(&folder.0);
    log.write(&record(b"one"), &rules(NOW_MS)).unwrap();
    let whole = std::fs::read(folder.only()).unwrap();
    log.write(&record(b"two"), &rules(NOW_MS)).unwrap();
    let path = folder.only();
    let both = std::fs::read(&path).unwrap();
    for length in whole.len()..both.len() {
        std::fs::write(&path, &both[..length]).unwrap();
        // Of the last segment it is not known whether it is being written.
        assert_eq!(folder.read(0), (vec![b"one".to_vec()], Unreadable::default()), "{length}");
    }
    std::fs::write(&path, &both[..both.len() - 1]).unwrap();
    let mut restarted = Log::new(&folder.0);
    restarted.write(&record(b"three"), &rules(NOW_MS + 1)).unwrap();
    assert_eq!(folder.read(0), (vec![b"one".to_vec(), b"three".to_vec()], Unreadable { cut_off: 1, ..Unreadable::default() }));
}

#[test]
fn a_flipped_bit_is_noticed_and_what_follows_is_read() {
    let folder = Folder::new();
    let mut log = Log::new(&folder.0);
    for inputs in [b"one".as_slice(), b"two", b"three"] {
        log.write(&record(inputs), &rules(NOW_MS)).unwrap();
    }
    let path = folder.only();
    let bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(3).position(|window| window == b"two").unwrap();
    let mut flipped = bytes.clone();
    flipped[at] ^= 4;
    std::fs::write(&path, flipped).unwrap();
    assert_eq!(folder.read(0), (vec![b"one".to_vec(), b"three".to_vec()], Unreadable { blocks: 1, ..Unreadable::default() }));
    // Whatever bit it is: nothing is read that was not written, and nothing ends the reading.
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, flipped).unwrap();
        let (found, unreadable) = folder.read(0);
        assert!(found.iter().all(|inputs| [b"one".as_slice(), b"two", b"three"].contains(&inputs.as_slice())), "{bit}");
        assert!(found.len() == 3 || found.len() < 3 && (unreadable != Unreadable::default() || bit / 8 >= MAGIC.len()), "{bit}");
    }
}

#[test]
fn another_version_is_counted_and_other_files_are_left_alone() {
    let folder = Folder::new();
    let mut log = Log::new(&folder.0);
    log.write(&record(b"one"), &rules(NOW_MS)).unwrap();
    let mut newer = std::fs::read(folder.only()).unwrap();
    newer[MAGIC.len() - 1] += 1;
    std::fs::write(folder.0.join(format!("{:013}{ENDING}", NOW_MS - 1)), newer).unwrap();
    std::fs::write(folder.0.join("notes.txt"), "mine").unwrap();
    std::fs::write(folder.0.join(format!("{:013}{ENDING}", NOW_MS - 2)), "").unwrap();
    assert_eq!(folder.read(0), (vec![b"one".to_vec()], Unreadable { segments: 1, ..Unreadable::default() }));
}

#[test]
fn what_an_older_version_wrote_is_read() {
    let folder = Folder::new();
    Log::new(&folder.0).write(&record(b"one"), &rules(NOW_MS)).unwrap();
    let path = folder.only();
    let written = std::fs::read(&path).unwrap();
    let check = |version: u8, expected: usize| {
        let mut other = written.clone();
        other[MAGIC.len() - 1] = version;
        std::fs::write(&path, other).unwrap();
        assert_eq!(folder.read(0).0.len(), expected, "{version}");
    };
    check(0, 0);
    check(1, 1);
    check(2, 1);
    check(3, 0);
}

#[test]
fn the_disk_is_bounded_by_size_and_by_age() {
    let folder = Folder::new();
    let most_bytes = 24 << 20;
    let bounds = Bounds { ttl_ms: 3_600_000, most_bytes };
    let mut log = Log::new(&folder.0);
    let batch = record(&[7; 200_000]);
    let taken = || list(&folder.0).unwrap().iter().map(|segment| segment.bytes).sum::<u64>();
    for step in 0..400 {
        log.write(&batch, &Rules { bounds, ..rules(NOW_MS + step) }).unwrap();
        assert!(taken() <= most_bytes, "{step}");
    }
    assert!(taken() > most_bytes * 3 / 4, "{} of {most_bytes}", taken());
    let segments = list(&folder.0).unwrap();
    assert!(segments.iter().all(|segment| segment.bytes <= most_bytes / SEGMENTS));
    // A smaller bound holds from the next sweep on.
    let fewer = Bounds { most_bytes: 4 << 20, ..bounds };
    log.sweep(&Rules { bounds: fewer, ..rules(NOW_MS + 400) }).unwrap();
    assert!(taken() <= 4 << 20);
    // After a while there is a new segment, and what is too old goes.
    log.write(&batch, &Rules { bounds, ..rules(NOW_MS + LONGEST_SEGMENT_MS + 400) }).unwrap();
    log.sweep(&Rules { bounds, ..rules(NOW_MS + LONGEST_SEGMENT_MS + 400) }).unwrap();
    let left = list(&folder.0).unwrap();
    assert!(left.len() == 2 && left[1].began_ms == NOW_MS + LONGEST_SEGMENT_MS + 400, "{left:?}");
    log.sweep(&Rules { bounds, ..rules(NOW_MS + 3 * LONGEST_SEGMENT_MS) }).unwrap();
    assert_eq!(list(&folder.0).unwrap(), left[1..], "the one in use stays");
}

#[test]
fn a_window_opens_only_the_segments_that_it_can_be_in() {
    let folder = Folder::new();
    for (step, inputs) in [b"one".as_slice(), b"two", b"three"].into_iter().enumerate() {
        Log::new(&folder.0).write(&record(inputs), &rules(NOW_MS + step as u64 * 1_000)).unwrap();
    }
    let check = |since_ms, expected| assert_eq!(folder.read(since_ms).0.len(), expected, "{since_ms}");
    check(0, 3);
    check(NOW_MS + 999, 3);
    check(NOW_MS + 1_000, 2);
    check(NOW_MS + 1_999, 2);
    check(NOW_MS + 9_000, 1);
    // A clock that was set back begins no segment before those that are there.
    Log::new(&folder.0).write(&record(b"four"), &rules(NOW_MS - 50_000)).unwrap();
    assert_eq!(folder.read(0).0.last().unwrap(), b"four");
}

#[test]
fn what_became_of_a_decision_is_handed_over_and_not_counted() {
    let (sender, batches) = sync_channel(2);
    let notes = Notes { sender, tallies: Arc::default(), bytes: RefCell::default(), count: Cell::new(0) };
    notes.add(GenerationId(1), 0, |out| out.push(7));
    notes.add_about(GenerationId(1), 200);
    notes.hand_over();
    notes.add_about(GenerationId(2), 200);
    notes.hand_over();
    notes.hand_over();
    let handed_over: Vec<_> = batches.try_iter().collect();
    let found: Vec<_> = handed_over
        .iter()
        .map(|batch| match batch {
            Batch::Records { bytes, count } => (*count, records(bytes).flatten().map(|record| record.asked).collect::<Vec<_>>()),
            Batch::End => (0, Vec::new()),
        })
        .collect();
    assert_eq!(found, [(1, vec![0, 200]), (0, vec![200])]);
}

#[test]
fn nobody_waits_for_a_log_that_is_behind() {
    let (sender, batches) = sync_channel(1);
    let tallies = Arc::new(Tallies::default());
    let notes = Notes { sender, tallies: tallies.clone(), bytes: RefCell::default(), count: Cell::new(0) };
    let add = |inputs: &'static [u8]| notes.add(GenerationId(1), 0, |out| out.extend_from_slice(inputs));
    add(b"one");
    notes.hand_over();
    add(b"two");
    add(b"three");
    notes.hand_over();
    notes.hand_over();
    assert_eq!(tallies.dropped.load(Relaxed), 2);
    // One that would be too long is dropped alone.
    notes.add(GenerationId(1), 0, |out| out.resize(out.len() + (1 << 20), 0));
    assert_eq!(tallies.dropped.load(Relaxed), 3);
    drop(batches);
    add(b"four");
    drop(notes);
    assert_eq!(tallies.dropped.load(Relaxed), 4);
}
