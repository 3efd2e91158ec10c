//! Reserve, settle and void over several scopes: held against a model that is nothing but sums, and from several threads at once.
#![expect(clippy::unwrap_used, reason = "tests")]

use fairlead_ir::{Interval, NanoUsd};
use fairlead_ledger::account::{Allowance, Bound, Budget, Spent};
use fairlead_ledger::hold::{self, Hold, Kind, Scope, Shortage};
use proptest::prelude::*;
use std::sync::Arc;
use std::thread;

const DAY_MS: u64 = 86_400_000;

/// All of it or nothing.
fn reserve(scopes: &Arc<[Arc<Scope>]>, amount: NanoUsd, now_ms: u64) -> Result<Hold, Shortage> {
    hold::reserve(scopes, amount, amount, now_ms)
}

fn budget(interval: Interval, limit: i64) -> Budget {
    Budget { interval, limit: NanoUsd(limit), soft: false }
}

/// Who pays together.
type Chain = Arc<[Arc<Scope>]>;

fn scopes(kinds: &[Kind]) -> Chain {
    kinds.iter().enumerate().map(|(at, kind)| Arc::new(Scope::new(*kind, at as u64 + 1))).collect()
}

fn allow(scope: &Scope, budgets: Vec<Budget>, granted: Option<i64>) {
    scope.books().allow(Allowance { budgets, granted: granted.map(NanoUsd) });
}

/// What a test does next.
#[derive(Clone, Debug)]
enum Step {
    Reserve { chain: usize, amount: i64 },
    Between { chain: usize, least: i64, more: i64 },
    Extend { which: usize, least: i64, more: i64 },
    Settle { which: usize, percent: i64 },
    Void { which: usize },
    Pass { ms: u64 },
    Limit { scope: usize, interval: usize, limit: Option<i64> },
    Grant { scope: usize, granted: Option<i64> },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2usize, 0..200i64).prop_map(|(chain, amount)| Step::Reserve { chain, amount }),
        2 => (0..2usize, 0..200i64, 0..500i64).prop_map(|(chain, least, more)| Step::Between { chain, least, more }),
        2 => (any::<usize>(), 0..200i64, 0..500i64).prop_map(|(which, least, more)| Step::Extend { which, least, more }),
        3 => (any::<usize>(), 0..150i64).prop_map(|(which, percent)| Step::Settle { which, percent }),
        1 => any::<usize>().prop_map(|which| Step::Void { which }),
        1 => (0..3 * DAY_MS).prop_map(|ms| Step::Pass { ms }),
        1 => (0..4usize, 0..4usize, prop::option::of(0..1000i64))
            .prop_map(|(scope, interval, limit)| Step::Limit { scope, interval, limit }),
        1 => (0..4usize, prop::option::of(-100..1000i64)).prop_map(|(scope, granted)| Step::Grant { scope, granted }),
    ]
}

const INTERVALS: [Interval; 4] = [Interval::Daily, Interval::Weekly, Interval::Monthly, Interval::Total];

/// A scope as sums over everything that ever happened.
#[derive(Clone, Default)]
struct Model {
    settled: Vec<(u64, i64)>,
    reserved: i64,
    limit: Option<(Interval, i64)>,
    granted: Option<i64>,
}

impl Model {
    fn spent(&self, interval: Interval, now_ms: u64) -> i64 {
        let from = interval.start_ms(now_ms);
        self.settled.iter().filter(|(at_ms, _)| *at_ms >= from).map(|(_, amount)| amount).sum()
    }

    fn left(&self, now_ms: u64) -> Option<i64> {
        let budget = self.limit.map(|(interval, limit)| limit - self.spent(interval, now_ms) - self.reserved);
        let credit = self.granted.map(|granted| granted - self.spent(Interval::Total, now_ms) - self.reserved);
        budget.into_iter().chain(credit).min()
    }
}

proptest! {
    /// All or nothing, once, and never more than is left: whatever happens in whatever order.
    #[test]
    fn it_is_what_the_sums_say(steps in prop::collection::vec(step(), 1..120)) {
        let all = scopes(&[Kind::Account, Kind::Team, Kind::Key, Kind::Key]);
        // Two keys of a team: what they share is locked first.
        let chains: [(Chain, [usize; 3]); 2] = [
            (Arc::new([all[0].clone(), all[1].clone(), all[2].clone()]), [0, 1, 2]),
            (Arc::new([all[0].clone(), all[1].clone(), all[3].clone()]), [0, 1, 3]),
        ];
        let mut models = vec![Model::default(); 4];
        let mut now_ms = 20_000 * DAY_MS;
        let mut open: Vec<(Hold, usize)> = Vec::new();
        for step in steps {
            match step {
                Step::Reserve { chain, amount } => {
                    let (scopes, places) = &chains[chain];
                    let least = places.iter().filter_map(|place| models[*place].left(now_ms)).min();
                    let held = reserve(scopes, NanoUsd(amount), now_ms);
                    prop_assert_eq!(held.is_ok(), least.is_none_or(|least| least >= amount && least >= 0));
                    match held {
                        Ok(hold) => {
                            places.iter().for_each(|place| models[*place].reserved += amount);
                            open.push((hold, chain));
                        }
                        Err(shortage) => prop_assert_eq!(Some(shortage.left.amount.0), least),
                    }
                }
                Step::Between { chain, least, more } => {
                    let (scopes, places) = &chains[chain];
                    let left = places.iter().filter_map(|place| models[*place].left(now_ms)).min();
                    match hold::reserve(scopes, NanoUsd(least), NanoUsd(least + more), now_ms) {
                        Ok(hold) => {
                            prop_assert_eq!(hold.amount().0, left.map_or(least + more, |left| left.min(least + more)));
                            prop_assert_eq!(hold.is_bounded(), left.is_some());
                            places.iter().for_each(|place| models[*place].reserved += hold.amount().0);
                            open.push((hold, chain));
                        }
                        Err(shortage) => {
                            prop_assert_eq!(Some(shortage.left.amount.0), left);
                            prop_assert!(left.is_some_and(|left| left < least || left < 0));
                        }
                    }
                }
                Step::Extend { which, least, more } if !open.is_empty() => {
                    let at = which % open.len();
                    let (hold, chain) = &mut open[at];
                    let places = chains[*chain].1;
                    let left = places.iter().filter_map(|place| models[*place].left(now_ms)).min();
                    let before = hold.amount().0;
                    let extended = hold.extend(NanoUsd(least), NanoUsd(least + more), now_ms);
                    prop_assert_eq!(extended.is_ok(), left.is_none_or(|left| left >= least && left >= 0));
                    let added = if extended.is_ok() { left.map_or(least + more, |left| left.min(least + more)) } else { 0 };
                    prop_assert_eq!(hold.amount().0, before + added);
                    places.iter().for_each(|place| models[*place].reserved += added);
                }
                Step::Settle { which, percent } if !open.is_empty() => {
                    let (hold, chain) = open.swap_remove(which % open.len());
                    let (amount, charged) = (hold.amount().0, hold.amount().0 * percent / 100);
                    hold.settle(NanoUsd(charged), now_ms);
                    for place in chains[chain].1 {
                        models[place].reserved -= amount;
                        models[place].settled.push((now_ms, charged));
                    }
                }
                Step::Void { which } if !open.is_empty() => {
                    let (hold, chain) = open.swap_remove(which % open.len());
                    chains[chain].1.into_iter().for_each(|place| models[place].reserved -= hold.amount().0);
                }
                Step::Pass { ms } => now_ms += ms,
                Step::Limit { scope, interval, limit } => {
                    models[scope].limit = limit.map(|limit| (INTERVALS[interval], limit));
                }
                Step::Grant { scope, granted } => models[scope].granted = granted,
                Step::Extend { .. } | Step::Settle { .. } | Step::Void { .. } => {}
            }
            for (scope, model) in all.iter().zip(&models) {
                allow(scope, model.limit.map(|(interval, limit)| budget(interval, limit)).into_iter().collect(), model.granted);
                let books = scope.books();
                prop_assert_eq!(books.reserved().0, model.reserved);
                prop_assert_eq!(books.left(now_ms).map(|left| left.amount.0), model.left(now_ms));
                for interval in INTERVALS {
                    prop_assert_eq!(books.spent().within(interval, now_ms).0, model.spent(interval, now_ms), "{:?}", interval);
                }
            }
        }
    }
}

/// Eight threads, two keys of one account with less than all of them want: never more than there is, and nothing is held at the end.
#[test]
fn threads_never_spend_more_than_there_is() {
    let all = scopes(&[Kind::Account, Kind::Key, Kind::Key]);
    allow(&all[0], vec![budget(Interval::Total, 10_000)], None);
    allow(&all[1], vec![budget(Interval::Daily, 7_000)], None);
    let chains: [Chain; 2] = [Arc::new([all[0].clone(), all[1].clone()]), Arc::new([all[0].clone(), all[2].clone()])];
    let workers: Vec<_> = (0..8u64)
        .map(|worker| {
            let scopes = chains[worker as usize % 2].clone();
            thread::spawn(move || {
                let mut settled = 0;
                for turn in 0..2_000u64 {
                    let amount = ((worker * 31 + turn * 17) % 23) as i64;
                    let Ok(hold) = reserve(&scopes, NanoUsd(amount), 0) else { continue };
                    match turn % 3 {
                        0 => drop(hold),
                        part => {
                            let charged = amount * part as i64 / 2;
                            hold.settle(NanoUsd(charged), 0);
                            settled += charged;
                        }
                    }
                }
                settled
            })
        })
        .collect();
    let settled: i64 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    let total = |scope: &Scope| scope.books().spent().within(Interval::Total, 0).0;
    assert_eq!(total(&all[0]), settled);
    assert_eq!(total(&all[1]) + total(&all[2]), settled);
    assert!(settled <= 10_000 && total(&all[1]) <= 7_000 && settled > 9_900, "{settled}");
    assert!(all.iter().all(|scope| scope.books().reserved() == NanoUsd(0)));
}

#[test]
fn what_bounds_the_most_is_named() {
    let all = scopes(&[Kind::Account, Kind::Key]);
    allow(&all[0], vec![budget(Interval::Monthly, 900)], Some(500));
    allow(&all[1], vec![budget(Interval::Daily, 300), Budget { soft: true, ..budget(Interval::Total, 1) }], None);
    all[1].books().resume(Spent::resume([NanoUsd(100), NanoUsd(150), NanoUsd(150)], NanoUsd(150), 5 * DAY_MS));
    let shortage = reserve(&all, NanoUsd(201), 5 * DAY_MS).unwrap_err();
    assert_eq!((shortage.kind, shortage.id, shortage.left.amount, shortage.left.spent), (Kind::Key, 2, NanoUsd(200), NanoUsd(100)));
    assert_eq!(shortage.left.bound, Bound::Budget(budget(Interval::Daily, 300)));
    // Tomorrow it is the credit.
    let shortage = reserve(&all, NanoUsd(501), 6 * DAY_MS).unwrap_err();
    assert_eq!((shortage.kind, shortage.left.amount), (Kind::Key, NanoUsd(300)));
    allow(&all[1], Vec::new(), None);
    let shortage = reserve(&all, NanoUsd(501), 6 * DAY_MS).unwrap_err();
    assert_eq!((shortage.kind, shortage.left.bound), (Kind::Account, Bound::Credit(NanoUsd(500))));
    // An overdrawn account gets nothing, not even what is free.
    all[0].books().post(NanoUsd(501), 6 * DAY_MS);
    assert!(reserve(&all, NanoUsd(0), 6 * DAY_MS).is_err());
}

/// The clock is set by up to an hour, forth and back, around midnight: a budget gives at most once more for each step, nothing is locked, and books hold.
#[test]
fn clocks_that_are_set_give_no_more_than_a_window_each() {
    const HOUR_MS: i64 = 3_600_000;
    for (steps, most) in [
        (vec![0, HOUR_MS, -HOUR_MS, 0], 200),
        (vec![HOUR_MS, 0, 0, -HOUR_MS], 200),
        (vec![-HOUR_MS, HOUR_MS, 0, 0], 100),
        (vec![0, -HOUR_MS, -HOUR_MS, 0], 100),
        (vec![HOUR_MS / 2, -HOUR_MS, HOUR_MS, -HOUR_MS], 200),
    ] {
        let all = scopes(&[Kind::Account, Kind::Key]);
        allow(&all[1], vec![budget(Interval::Daily, 100), budget(Interval::Weekly, 1_000)], Some(1_000));
        // Twenty minutes before a midnight, which is no Monday's.
        let mut clock_ms = (20_001 * DAY_MS - 20 * 60_000) as i64;
        for step in &steps {
            clock_ms += step;
            for _ in 0..20 {
                if let Ok(held) = reserve(&all, NanoUsd(10), clock_ms as u64) {
                    held.settle(NanoUsd(10), clock_ms as u64);
                }
                all.iter().for_each(|scope| assert_eq!(scope.books().audit(clock_ms as u64), Ok(()), "{steps:?}"));
            }
        }
        let spent = |interval, now_ms| all[1].books().spent().within(interval, now_ms).0;
        let total = spent(Interval::Total, 0);
        assert!((100..=most).contains(&total), "{total} by {steps:?}");
        assert_eq!(spent(Interval::Weekly, clock_ms as u64), total, "{steps:?}");
        // The day after that is a day like any other.
        let tomorrow_ms = clock_ms as u64 + 2 * DAY_MS;
        assert_eq!(
            (0..20).filter_map(|_| reserve(&all, NanoUsd(10), tomorrow_ms).ok()).map(|held| held.settle(NanoUsd(10), tomorrow_ms)).count(),
            10
        );
    }
}
