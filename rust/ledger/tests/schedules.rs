//! Reserve, extend, settle and void under every order in which threads can meet at the locks: the ledger's own sources, compiled with the
//! locks of `shuttle`, which runs the threads in one schedule after another and finds those in which nobody can go on.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, missing_docs, unreachable_pub, reason = "the crate's own sources, of which not all is used here")]

#[path = "../src/account.rs"]
mod account;
#[path = "../src/hold.rs"]
mod hold;
mod sync {
    pub(crate) use shuttle::sync::{Mutex, MutexGuard};
}

use account::{Allowance, Budget};
use fairlead_ir::{Interval, NanoUsd};
use hold::{Kind, Scope, reserve};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner, thread};
use std::sync::Arc;

type Chain = Arc<[Arc<Scope>]>;

const NOW_MS: u64 = 20_000 * 86_400_000;

/// The count, or a sample of it.
fn schedules() -> usize {
    if std::env::var_os("FAIRLEAD_PROOF").is_some() { 20_000 } else { 1_000 }
}

fn explore(name: &str, run: impl Fn() + Send + Sync + Clone + 'static) {
    let run_with = |scheduler: Box<dyn Scheduler + Send>| Runner::new(scheduler, Config::default()).run(run.clone());
    let ran = run_with(Box::new(RandomScheduler::new(schedules()))) + run_with(Box::new(PctScheduler::new(4, schedules())));
    println!("{name}: {ran} schedules");
    assert_eq!(ran, 2 * schedules());
}

fn scope(kind: Kind, id: u64, limit: Option<i64>) -> Arc<Scope> {
    let scope = Arc::new(Scope::new(kind, id));
    let budgets = limit.map(|limit| Budget { interval: Interval::Daily, limit: NanoUsd(limit), soft: false }).into_iter().collect();
    scope.books().allow(Allowance { budgets, granted: None });
    scope
}

fn spent(scope: &Scope) -> i64 {
    scope.books().spent().within(Interval::Daily, NOW_MS).0
}

/// Whoever looks at a scope, whenever: nothing is below zero and nothing beyond the limit.
fn look(scope: &Scope, limit: i64) {
    let books = scope.books();
    assert_eq!(books.audit(NOW_MS), Ok(()));
    let taken = books.reserved().0 + books.spent().within(Interval::Daily, NOW_MS).0;
    assert!(books.reserved().0 >= 0 && taken <= limit, "{taken} of {limit}");
}

/// Two keys of one team of one account, each used by two calls; one that voids, one that extends; a stranger to the team in the same account.
#[test]
fn reserve_and_settle() {
    explore("reserve and settle", || {
        let (account, team) = (scope(Kind::Account, 1, Some(100)), scope(Kind::Team, 2, Some(60)));
        let keys = [scope(Kind::Key, 3, Some(40)), scope(Kind::Key, 4, None), scope(Kind::Key, 5, None)];
        let of_team = |key: usize| -> Chain { Arc::new([account.clone(), team.clone(), keys[key].clone()]) };
        let chains: [Chain; 3] = [of_team(0), of_team(1), Arc::new([account.clone(), keys[2].clone()])];
        // The chain, what is held at least and at most, what is added, what is charged; less than nothing: nobody is charged.
        let calls =
            [(0, 25, 25, 0, 25), (0, 10, 30, 5, 12), (1, 30, 30, 0, -1), (1, 20, 35, 10, 20), (2, 45, 45, 0, 40), (2, 30, 60, 0, 30)];
        let threads: Vec<_> = calls
            .map(|(chain, least, most, more, charged)| {
                let scopes = chains[chain].clone();
                thread::spawn(move || {
                    let Ok(mut held) = reserve(&scopes, NanoUsd(least), NanoUsd(most), NOW_MS) else { return (chain, 0) };
                    assert!((least..=most).contains(&held.amount().0));
                    if more > 0 && held.extend(NanoUsd(more), NanoUsd(2 * more), NOW_MS).is_ok() {
                        assert!(held.amount().0 >= least + more);
                    }
                    if charged < 0 {
                        return (chain, 0);
                    }
                    // Where less was held, the call was cut.
                    let charged = charged.min(held.amount().0);
                    held.settle(NanoUsd(charged), NOW_MS);
                    (chain, charged)
                })
            })
            .into();
        let watched = (account.clone(), team.clone(), keys[0].clone());
        let watcher = thread::spawn(move || {
            look(&watched.0, 100);
            look(&watched.1, 60);
            look(&watched.2, 40);
        });
        let mut charged = [0; 3];
        threads.into_iter().map(|thread| thread.join().unwrap()).for_each(|(chain, amount)| charged[chain] += amount);
        watcher.join().unwrap();
        assert_eq!(keys.each_ref().map(|key| spent(key)), charged);
        assert_eq!((spent(&team), spent(&account)), (charged[0] + charged[1], charged.iter().sum()));
        for scope in [&account, &team].into_iter().chain(&keys) {
            let books = scope.books();
            assert_eq!((books.reserved(), books.audit(NOW_MS)), (NanoUsd(0), Ok(())));
        }
        // Whoever came first, one of them was let in.
        assert!(charged.iter().sum::<i64>() > 0);
    });
}

/// A budget for two of five: two are let in, whoever they are, and another allowance on the way lets nobody in twice.
#[test]
fn a_budget_for_two() {
    explore("a budget for two", || {
        let (account, key) = (scope(Kind::Account, 1, None), scope(Kind::Key, 2, Some(20)));
        let chain: Chain = Arc::new([account.clone(), key.clone()]);
        let threads: Vec<_> = (0..5)
            .map(|_| {
                let chain = chain.clone();
                thread::spawn(move || {
                    reserve(&chain, NanoUsd(10), NanoUsd(10), NOW_MS).map(|held| held.settle(NanoUsd(10), NOW_MS)).is_ok()
                })
            })
            .collect();
        let again = key.clone();
        let changes = thread::spawn(move || {
            let allowance = again.books().allowance().clone();
            again.books().allow(allowance);
        });
        let let_in = threads.into_iter().map(|thread| thread.join().unwrap()).filter(|is_in| *is_in).count();
        changes.join().unwrap();
        assert_eq!((let_in, spent(&key), spent(&account)), (2, 20, 20));
    });
}
