//! Truncated and flipped bytes: no panic, no wrong amount, and every record before the damage is read.
#![expect(clippy::unwrap_used, reason = "tests")]

mod sample;

use fairlead_journal::{Cursor, Error, Journal, Options, Reader};
use fairlead_ledger::{Scopes, Settle};
use proptest::prelude::*;
use sample::{Folder, count, next, progress, read_all, reserve, seed, settle};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Bytes before the first record.
const HEADER_BYTES: usize = 64;

/// A dead process's journal: one chain over several segments, with a call left open at the end.
struct Remains {
    folder: Folder,
    /// Segments with records, and their content.
    segments: Vec<(PathBuf, Vec<u8>)>,
    /// For every settlement in order: its segment and where it ends there.
    ends: Vec<(u64, u64)>,
    /// The settlements themselves.
    settled: Vec<Settle>,
    /// Where the last record begins in its segment.
    last_record: u64,
}

fn remains(calls: u64) -> Remains {
    let folder = Folder::in_memory();
    let (journal, _) = Journal::open(folder.options(), &[]).unwrap();
    let mut writer = journal.writer(0).unwrap();
    let mut ends = Vec::new();
    for number in 0..calls {
        writer.reserve(&reserve(number)).unwrap();
        if number % 4 == 0 {
            (1..3).for_each(|note| writer.progress(&progress(number, note)).unwrap());
        }
        writer.settle(&settle(number)).unwrap();
        ends.push((writer.position().segment, writer.position().offset));
    }
    writer.reserve(&reserve(calls)).unwrap();
    writer.progress(&progress(calls, 1)).unwrap();
    let last_record = writer.position().offset;
    writer.progress(&progress(calls, 2)).unwrap();
    let last = writer.position().segment as usize;
    drop((writer, journal));
    let mut segments: Vec<(PathBuf, Vec<u8>)> = folder.segments().into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    segments.truncate(last + 1);
    Remains { folder, segments, ends, settled: (0..calls).map(settle).collect(), last_record }
}

impl Remains {
    /// Settlements that stand before `offset` of `segment`, or in another segment.
    fn untouched(&self, segment: u64, offset: u64) -> Vec<&Settle> {
        let rows = self.ends.iter().zip(&self.settled).filter(|((in_segment, end), _)| *in_segment != segment || *end <= offset);
        rows.map(|(_, row)| row).collect()
    }

    fn restore(&self) {
        for path in self.folder.segments() {
            fs::remove_file(path).unwrap();
        }
        for (path, content) in &self.segments {
            fs::write(path, content).unwrap();
        }
    }

    /// Everything read is something written, and everything before the damage is read. Returns what was reported.
    fn check(&self, segment: u64, offset: u64, what: &str) -> Vec<String> {
        // A later process life makes the chain a dead one.
        let recovery = match Journal::open(self.folder.options(), &[]) {
            Ok((journal, recovery)) => {
                journal.writer(0).unwrap();
                recovery
            }
            // A flip in the version's bytes looks like a newer format: the start is refused.
            Err(Error::Newer { .. }) => return vec!["Newer".to_owned()],
            Err(error) => unreachable!("{what}: {error}"),
        };
        let (found, cursors, problems) = read_all(&self.folder.0, &[]);
        let expected = self.untouched(segment, offset);
        assert!(found.len() >= expected.len(), "{what}: {} of {}", found.len(), expected.len());
        for row in &found {
            let number = row.scopes.0[3];
            assert_eq!(Some(row), self.settled.get(number as usize), "{what}");
        }
        let mut rest = found.iter();
        assert!(expected.iter().all(|wanted| rest.any(|row| row == *wanted)), "{what}: an intact record is missing");
        assert_eq!(recovery.settled, found.len() as u64, "{what}: recovery and reader agree");
        for orphan in &recovery.orphans {
            let number = orphan.reserve.scopes.0[3];
            assert_eq!(orphan.reserve, reserve(number), "{what}");
            let reach = |note| Some(progress(number, note).reach);
            assert!([None, reach(1), reach(2)].contains(&orphan.reach), "{what}: {:?}", orphan.reach);
        }
        let charged: i64 = found.iter().map(|row| row.charged.0).sum();
        let folded: i64 = recovery.unapplied.iter().filter(|sum| sum.scope == Scopes::ACCOUNT).map(|sum| sum.charged.0).sum();
        assert_eq!(folded, charged, "{what}: the fold is what was read");
        assert_eq!(read_all(&self.folder.0, &cursors).0, [], "{what}: a second reading adds nothing");
        problems
    }
}

#[test]
fn a_segment_cut_anywhere_in_its_tail() {
    let remains = remains(150);
    let (path, content) = &remains.segments[0];
    let end = remains.ends.last().unwrap().1 as usize;
    let step = count(1009, 1) as usize;
    let last_record = end - 700..content.len().min(end + 700);
    for length in (end.saturating_sub(64 << 10)..content.len()).step_by(step).chain(last_record.step_by(step.min(37))) {
        remains.restore();
        fs::write(path, &content[..length]).unwrap();
        let problems = remains.check(0, length as u64, &format!("cut to {length}"));
        let whole = content[length..].iter().all(|byte| *byte == 0);
        assert!(whole || !problems.is_empty(), "cut to {length}: a lost record is reported");
    }
}

/// What a write that was interrupted leaves: a beginning of the last record, then zeros.
#[test]
fn a_torn_last_record_is_reported_and_costs_nothing_else() {
    let remains = remains(3);
    let (path, content) = &remains.segments[0];
    let (start, end) = (remains.last_record as usize, content.iter().rposition(|byte| *byte != 0).unwrap());
    for torn in start + 1..=end {
        remains.restore();
        let file = fs::File::options().write(true).open(path).unwrap();
        file.write_all_at(&vec![0; end + 1 - torn], torn as u64).unwrap();
        let problems = remains.check(0, torn as u64, &format!("torn at {torn}"));
        assert_eq!(problems, ["Torn"], "torn at {torn}");
    }
}

#[test]
fn damage_in_the_middle_quarantines_the_segment_and_the_next_goes_on() {
    let remains = remains(600);
    assert!(remains.segments.len() >= 3);
    let (path, content) = &remains.segments[1];
    let mut flipped = content.clone();
    flipped[40_000] ^= 4;
    fs::write(path, flipped).unwrap();
    assert_eq!(remains.check(1, 40_000, "flip"), ["Damaged"]);

    // The file is kept as evidence when its turn to be freed comes.
    let (_, cursors, _) = read_all(&remains.folder.0, &[]);
    let (journal, recovery) = Journal::open(remains.folder.options(), &cursors).unwrap();
    assert_eq!((recovery.quarantined.as_slice(), recovery.problems.len()), (std::slice::from_ref(path), 1));
    let mut writer = journal.writer(0).unwrap();
    fairlead_journal::recover(&mut writer, &recovery.orphans, 1).unwrap();
    let (_, cursors, _) = read_all(&remains.folder.0, &cursors);
    journal.applied(&cursors);
    assert!(!path.exists() && path.with_extension("quarantined").exists());
    assert!(!remains.segments[0].0.exists());
}

/// A sound record in the wrong place, as a disk leaves it that lost a write: the number tells.
#[test]
fn a_record_in_the_place_of_another_is_damage() {
    let remains = remains(20);
    let (path, content) = &remains.segments[0];
    let (from, to) = (remains.ends[8].1 as usize, remains.ends[9].1 as usize);
    let mut displaced = content.clone();
    displaced.copy_within(from..to, to);
    fs::write(path, displaced).unwrap();
    assert_eq!(remains.check(0, to as u64, "displaced"), ["Damaged"]);
}

#[test]
fn a_missing_segment_is_reported_where_a_later_record_tells() {
    let check = |removed: usize, from: Option<(u64, u64)>, expected: &[&str]| {
        let remains = remains(900);
        let cursors: Vec<Cursor> =
            from.map(|(segment, offset)| Cursor { node: 0, epoch: 1, worker: 0, segment, offset }).into_iter().collect();
        fs::remove_file(&remains.segments[removed].0).unwrap();
        // A later process life makes the chain a dead one.
        let (journal, _) = Journal::open(remains.folder.options(), &[]).unwrap();
        journal.writer(0).unwrap();
        let (_, _, problems) = read_all(&remains.folder.0, &cursors);
        assert_eq!(problems, expected, "without segment {removed}, from {from:?}");
    };
    let whole = remains(900);
    let (start, last) = (HEADER_BYTES as u64, whole.segments.len() - 1);
    assert!(last >= 3);
    for (removed, segment) in (0..last).zip(0..) {
        check(removed, None, &["Missing"]);
        check(removed, Some((segment, start)), &["Missing"]);
        let (_, end) = whole.ends.iter().rfind(|(of, _)| *of == segment).unwrap();
        check(removed, Some((segment, *end)), &[]);
        check(removed, Some((segment + 1, start)), &[]);
    }
    // Only the prepared segment stands behind the last one: an idle chain that is being freed looks the same.
    check(last, None, &[]);
}

/// Half a record at the end of a segment that a failed write left: the next record had room in a later segment only. Its number tells that
/// nothing is missing; the same half in the place of a record is a loss.
#[test]
fn half_a_record_before_another_segment_is_no_damage_unless_one_is_missing() {
    let remains = remains(600);
    let (path, content) = &remains.segments[0];
    let end = content.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let (_, last) = remains.ends.iter().rfind(|(segment, _)| *segment == 0).unwrap();
    let check = |at: usize, rest: &[u8], from: Option<u64>, expected: &str| {
        let what = format!("{} bytes at {at}, from {from:?}", rest.len());
        remains.restore();
        let mut torn = content[..at].to_vec();
        torn.extend_from_slice(rest);
        torn.resize(content.len(), 0);
        fs::write(path, torn).unwrap();
        assert_eq!(remains.check(0, at as u64, &what), [expected], "{what}");
        let (_, recovery) = Journal::open(remains.folder.options(), &[]).unwrap();
        let kinds: Vec<String> = recovery.problems.iter().map(|problem| format!("{:?}", problem.kind)).collect();
        assert_eq!((kinds, recovery.quarantined.len()), (vec![expected.to_owned()], usize::from(expected == "Damaged")), "{what}");
        if let Some(offset) = from {
            let cursor = Cursor { node: 0, epoch: 1, worker: 0, segment: 0, offset };
            assert_eq!(read_all(&remains.folder.0, &[cursor]).2, [expected], "{what}");
        }
    };
    let room = content.len() - end;
    assert!(room > 30, "{room}");
    let half = |bytes: usize| {
        let length = (bytes - 8) as u32;
        [&[1, 2, 3, 4][..], &length.to_le_bytes(), &[2, 7], &vec![9; bytes / 2 - 10]].concat()
    };
    let (short, long, endless) = (half(22), half(room), vec![0xff; room]);
    for rest in [&short, &long, &endless] {
        check(end, rest, None, "Torn");
        check(end, rest, Some(end as u64), "Torn");
        check(*last as usize - 300, rest, None, "Damaged");
    }
}

/// The end of a segment lost as a whole page is as empty as one never written; the next segment's numbers tell.
#[test]
fn a_lost_end_before_another_segment_is_reported() {
    let remains = remains(600);
    let (path, content) = &remains.segments[0];
    let (_, end) = remains.ends.iter().rfind(|(segment, end)| *segment == 0 && *end < 100_000).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&vec![0; content.len() - *end as usize], *end).unwrap();
    assert_eq!(remains.check(0, *end, "lost end"), ["Missing"]);
}

#[test]
fn a_newer_format_or_record_is_refused_and_nothing_is_touched() {
    let remains = remains(3);
    let (path, content) = &remains.segments[0];
    let mut newer = content.clone();
    newer[8] = 2;
    fs::write(path, &newer).unwrap();
    assert!(matches!(Journal::open(remains.folder.options(), &[]), Err(Error::Newer { .. })));
    let read = Reader::open(&remains.folder.0, &[]).unwrap().read(10, &mut Vec::new());
    assert!(matches!(read, Err(Error::Newer { .. })));
    assert_eq!(&fs::read(path).unwrap(), &newer);

    // A record whose checksum is right but whose kind or version is not known.
    for (at, number, expected) in [(8, 4, "record kind 4 version 1"), (9, 2, "record kind 1 version 2")] {
        let mut newer = content.clone();
        let length = 4 + 4 + u32::from_le_bytes(newer[HEADER_BYTES + 4..HEADER_BYTES + 8].try_into().unwrap()) as usize;
        newer[HEADER_BYTES + at] = number;
        let mut hasher = crc32fast::Hasher::new_with_initial(u32::from_le_bytes(newer[60..64].try_into().unwrap()));
        hasher.update(&newer[HEADER_BYTES + 4..HEADER_BYTES + length]);
        newer[HEADER_BYTES..HEADER_BYTES + 4].copy_from_slice(&hasher.finalize().to_le_bytes());
        fs::write(path, &newer).unwrap();
        let Err(error) = Journal::open(remains.folder.options(), &[]) else { unreachable!("a newer record was taken") };
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn an_unfinished_segment_is_cleared_away() {
    let remains = remains(3);
    let unfinished = remains.segments[0].0.with_extension("preparing");
    fs::write(&unfinished, [1; 10]).unwrap();
    assert_eq!(remains.check(9, 0, "unfinished"), Vec::<String>::new());
    assert!(!unfinished.exists());
}

#[test]
fn random_bit_flips() {
    let remains = remains(80);
    let seed = seed();
    let mut random = seed;
    for _ in 0..count(300, 100_000) {
        remains.restore();
        let mut first = None;
        // One to three flips in one segment, each in what was written.
        let segment = (next(&mut random) % remains.segments.len() as u64) as usize;
        let (path, content) = &remains.segments[segment];
        let written = content.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        let mut flipped = content.clone();
        for _ in 0..=next(&mut random) % 3 {
            let bit = (next(&mut random) % (written as u64 * 8)) as usize;
            flipped[bit / 8] ^= 1 << (bit % 8);
            first = Some(first.map_or(bit / 8, |before: usize| before.min(bit / 8)));
        }
        fs::write(path, &flipped).unwrap();
        let at = first.unwrap() as u64;
        remains.check(segment as u64, if at < HEADER_BYTES as u64 { 0 } else { at }, &format!("seed {seed}: segment {segment} byte {at}"));
    }
}

proptest! {
    /// Files of any content with a segment's name.
    #[test]
    fn any_bytes_as_a_segment(contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..50)) {
        let remains = remains(3);
        for content in contents {
            remains.restore();
            let mut bytes = remains.segments[0].1[..HEADER_BYTES + 300].to_vec();
            bytes.extend_from_slice(&content);
            fs::write(&remains.segments[0].0, &bytes).unwrap();
            remains.check(0, 0, "any bytes");
        }
    }
}

#[test]
fn segments_of_a_size_that_was_changed_are_read() {
    let remains = remains(600);
    let options = Options { segment_bytes: 1 << 20, ..remains.folder.options() };
    let (journal, recovery) = Journal::open(options, &[]).unwrap();
    assert_eq!((recovery.settled, recovery.orphans.len(), journal.epoch()), (600, 1, 2));
}
