//! A call whose process died is settled from the last note of how far it had come.
#![expect(clippy::unwrap_used, reason = "tests")]

mod sample;

use fairlead_ir::{NanoUsd, Usage};
use fairlead_journal::{Journal, Unapplied, recover};
use fairlead_ledger::{Attempt, Flags, Outcome, Progress, Reach, Settle};
use sample::{Folder, generation, progress, read_all, reserve, settle};

fn note(number: u32, reach: Reach) -> Progress {
    Progress { generation: generation(4), number, reach, reserved: NanoUsd(0) }
}

/// What call 4 becomes at the next start, with these notes behind its reservation.
fn recovered(notes: &[Progress]) -> (Settle, Vec<Unapplied>) {
    let folder = Folder::new();
    {
        let (journal, _) = Journal::open(folder.options(), &[]).unwrap();
        let mut writer = journal.writer(0).unwrap();
        writer.reserve(&reserve(4)).unwrap();
        for note in notes {
            // Others are between them, which fill segments.
            (100..200).for_each(|number| writer.settle(&settle(number)).unwrap());
            writer.progress(note).unwrap();
        }
    }
    let (journal, recovery) = Journal::open(folder.options(), &[]).unwrap();
    assert_eq!(recovery.orphans.len(), 1);
    let charges = recover(&mut journal.writer(0).unwrap(), &recovery.orphans, 1_767_225_600_099).unwrap();
    drop(journal);
    let (mut settled, ..) = read_all(&folder.0, &[]);
    settled.retain(|row| row.generation == generation(4));
    assert_eq!(settled.len(), 1);
    // At the start after that it is a settlement like any other, which the fold has.
    let (_, recovery) = Journal::open(folder.options(), &[]).unwrap();
    assert_eq!(recovery.orphans, []);
    (settled.remove(0), charges)
}

fn check(notes: &[Progress], outcome: Outcome, charged: i64, costs: &[i64], flags: &[Flags]) -> Settle {
    let (row, charges) = recovered(notes);
    let mut expected = Flags::RECOVERED;
    flags.iter().for_each(|flag| expected.add(*flag));
    assert_eq!((row.outcome, row.charged.0, row.flags), (outcome, charged, expected), "{notes:?}");
    assert_eq!(row.attempts.iter().map(|attempt| attempt.upstream_cost.0).collect::<Vec<_>>(), costs, "{notes:?}");
    assert_eq!((row.error.as_str(), row.reserved, row.scopes), ("interrupted", reserve(4).reserved, reserve(4).scopes));
    let sum = |scope, id| Unapplied { scope, id, day_start_ms: 1_767_225_600_000, charged: NanoUsd(charged), ..Unapplied::default() };
    assert_eq!(charges, if charged == 0 { vec![] } else { vec![sum(0, 1), sum(3, 4)] }, "{notes:?}");
    row
}

#[test]
fn what_is_known_of_a_call_is_what_it_is_settled_with() {
    let prompt = reserve(4).prompt_cost_estimate.0;
    let insured = [Flags::ESTIMATED, Flags::INSURED];
    let (waiting, sent) = (|number| note(number, Reach::Waiting), |number| note(number, Reach::Sent));
    let row = check(&[], Outcome::Recovered, 0, &[prompt], &insured);
    assert_eq!(row.usage, Usage { prompt_tokens: reserve(4).prompt_tokens_estimate, ..Usage::default() });
    let row = check(&[waiting(1)], Outcome::Void, 0, &[0], &[]);
    assert_eq!((row.usage, row.provider.as_str()), (Usage::default(), "anthropic"));
    check(&[waiting(1), sent(2)], Outcome::Recovered, 0, &[prompt], &insured);

    let row = check(&[waiting(1), sent(2), progress(4, 3)], Outcome::Recovered, 103, &[7, 93], &[Flags::CONTENT]);
    assert_eq!(row.usage, Usage { prompt_tokens: 904, completion_tokens: 3 * 256, ..Usage::default() });
    assert!(row.streamed);
    let Attempt { endpoint, upstream_model, upstream_id, error, .. } = &row.attempts[1];
    assert_eq!((*endpoint, upstream_model.as_str(), error.as_str()), (12, "claude-sonnet-4-5", "interrupted"));
    assert_eq!((upstream_id.as_str(), row.attempts[0].error.as_str()), ("msg_01XFDUDYJgAACzvnptvVoYEL", "merged"));
}

/// A note that was written again behind a later one does not take its place, in the same segment or another.
#[test]
fn the_note_with_the_highest_number_counts() {
    check(&[progress(4, 2), progress(4, 9), progress(4, 8)], Outcome::Recovered, 109, &[7, 99], &[Flags::CONTENT]);
    let folder = Folder::new();
    {
        let (journal, _) = Journal::open(folder.options(), &[]).unwrap();
        let mut writer = journal.writer(0).unwrap();
        writer.reserve(&reserve(4)).unwrap();
        [1, 3, 2].iter().for_each(|number| writer.progress(&progress(4, *number)).unwrap());
    }
    let (_, recovery) = Journal::open(folder.options(), &[]).unwrap();
    assert_eq!(recovery.orphans[0].reach, Some(progress(4, 3).reach));
    assert_eq!(read_all(&folder.0, &[]).0, [], "a note is no row");
}

#[test]
fn a_settled_call_needs_no_note() {
    let folder = Folder::new();
    {
        let (journal, _) = Journal::open(folder.options(), &[]).unwrap();
        let mut writer = journal.writer(0).unwrap();
        writer.reserve(&reserve(4)).unwrap();
        writer.progress(&progress(4, 1)).unwrap();
        writer.settle(&settle(4)).unwrap();
    }
    let (_, recovery) = Journal::open(folder.options(), &[]).unwrap();
    assert_eq!((recovery.orphans.len(), recovery.settled), (0, 1));
}

/// What was held for a call is what it was reserved with and all that was held later, however much of it the notes after that repeat.
#[test]
fn what_was_held_on_the_way_is_not_forgotten() {
    let reserved = reserve(4).reserved;
    let held = |number, more: i64| Progress { reserved: NanoUsd(reserved.0 + more), ..progress(4, number) };
    for (notes, expected) in [
        (vec![held(1, 500)], 500),
        (vec![held(1, 500), held(2, 900)], 900),
        (vec![held(1, 500), progress(4, 2)], 0),
        (vec![Progress { reserved: NanoUsd(reserved.0 + 70), ..note(1, Reach::Sent) }], 70),
    ] {
        assert_eq!(recovered(&notes).0.reserved.0, reserved.0 + expected, "{notes:?}");
    }
}
