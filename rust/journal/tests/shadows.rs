//! What came of a shadow is read like a settlement, and ends nothing.
#![expect(clippy::unwrap_used, reason = "tests")]

mod sample;

use fairlead_journal::Journal;
use fairlead_ledger::{Flags, Settle};
use sample::{Folder, read_all, reserve, settle};

fn shadow(number: u64) -> Settle {
    Settle { flags: Flags::SHADOW, model: "other/model".to_owned(), ..settle(number) }
}

/// Whether call 0 is an orphan after its process died with these records behind its reservation.
fn check(records: &[&Settle], is_orphan: bool) {
    let folder = Folder::new();
    {
        let (journal, _) = Journal::open(folder.options(), &[]).unwrap();
        let mut writer = journal.writer(0).unwrap();
        writer.reserve(&reserve(0)).unwrap();
        for record in records {
            if record.flags.has(Flags::SHADOW) { writer.shadow(record).unwrap() } else { writer.settle(record).unwrap() }
        }
    }
    let (_, recovery) = Journal::open(folder.options(), &[]).unwrap();
    assert_eq!((recovery.orphans.len(), recovery.problems), (usize::from(is_orphan), Vec::new()), "{records:?}");
    let (found, _, problems) = read_all(&folder.0, &[]);
    assert_eq!((found.iter().collect::<Vec<_>>(), problems), (records.to_vec(), Vec::new()));
}

#[test]
fn a_shadow_is_no_terminal_of_its_generation() {
    check(&[], true);
    check(&[&shadow(0)], true);
    check(&[&settle(0)], false);
    check(&[&shadow(0), &settle(0)], false);
    check(&[&settle(0), &shadow(0)], false);
}
