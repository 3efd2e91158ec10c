//! Segments of earlier builds, as those wrote them, are read for good.
#![expect(clippy::unwrap_used, reason = "tests")]

mod sample;

use fairlead_ir::Tier;
use fairlead_journal::{Journal, Options, recover};
use fairlead_ledger::{Outcome, Settle};
use sample::{Folder, orphan, read_all, reserve, settle, settle_with_losses};
use std::fs;

/// Every file has calls 0 and 2 reserved and settled, and call 1 reserved; the zeros that fill the segment are cut off.
fn check(segment: &[u8], second_settled: &Settle) {
    let folder = Folder::new();
    let mut segment = segment.to_vec();
    segment.resize(Options::SEGMENT_BYTES_MIN as usize, 0);
    fs::write(folder.0.join("0000000001-00000-00000-0000000000.segment"), &segment).unwrap();

    let (journal, recovery) = Journal::open(folder.options(), &[]).unwrap();
    assert_eq!((recovery.settled, &recovery.orphans, &recovery.problems), (2, &vec![orphan(1)], &vec![]));
    let mut writer = journal.writer(0).unwrap();
    recover(&mut writer, &recovery.orphans, 99).unwrap();
    writer.reserve(&reserve(3)).unwrap();
    writer.settle(&settle_with_losses(3)).unwrap();

    let (found, _, problems) = read_all(&folder.0, &[]);
    let [first, second, orphan, new] = found.as_slice() else { unreachable!("{found:?}") };
    assert_eq!((first, second, new), (&settle(0), second_settled, &settle_with_losses(3)));
    assert_eq!((orphan.generation, orphan.outcome), (reserve(1).generation, Outcome::Recovered));
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn settle_version_1_is_taken_over() {
    check(include_bytes!("golden/settle_version_1.segment"), &settle(2));
}

#[test]
fn settle_version_2_is_taken_over() {
    let mut second = settle_with_losses(2);
    second.losses.truncate(3);
    check(include_bytes!("golden/settle_version_2.segment"), &second);
}

#[test]
fn settle_version_3_is_taken_over() {
    let mut second = settle_with_losses(2);
    second.losses.truncate(3);
    second.attempts[0].tier = Tier::Flex;
    check(include_bytes!("golden/settle_version_3.segment"), &second);
}

#[test]
fn settle_version_4_is_read() {
    let mut second = settle_with_losses(2);
    second.losses.truncate(3);
    second.attempts[0].tier = Tier::Flex;
    (second.split, second.arm) = ("acme/assistant".to_owned(), "acme/fast:nitro".to_owned());
    check(include_bytes!("golden/settle_version_4.segment"), &second);
}
