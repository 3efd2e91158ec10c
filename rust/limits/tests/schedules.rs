//! Rates of several owners at once, under every order in which threads can meet at their locks: the gate's own source, compiled with the locks
//! of `shuttle`, which runs the threads in one schedule after another and finds those in which nobody can go on.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, missing_docs, unreachable_pub, reason = "the crate's own source, of which not all is used here")]

#[path = "../src/gate.rs"]
mod gate;
mod sync {
    pub(crate) use shuttle::sync::{Mutex, MutexGuard};
}
/// Where the gate's source finds the rest of the crate.
mod bucket {
    pub(crate) use fairlead_limits::Bucket;
}
mod claim {
    pub(crate) use fairlead_limits::{Claim, take_all};
}
mod concurrency {
    pub(crate) use fairlead_limits::Concurrency;
}
mod free_tier {
    pub(crate) use fairlead_limits::{FreeTier, FreeTierLimits};
}
mod rate {
    pub(crate) use fairlead_limits::Rate;
}
mod refusal {
    pub(crate) use fairlead_limits::Refusal;
}

use fairlead_limits::Rate;
use gate::{Gate, RateLimits, Taken, Wanted, What};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner, thread};
use std::num::NonZeroU32;
use std::sync::Arc;

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

fn gate(requests: Option<u64>, tokens: Option<u64>, places: Option<u32>) -> Arc<Gate> {
    let rate = |units: Option<u64>| units.map(|units| Rate::per_minute(units).unwrap());
    let gate = Arc::new(Gate::default());
    let limits = RateLimits { requests: rate(requests), tokens: rate(tokens), places: places.and_then(NonZeroU32::new) };
    gate.rates().limit(&limits, NOW_MS * 1_000_000);
    gate
}

fn left(gate: &Gate) -> (Option<u64>, Option<u64>, u32) {
    let rates = gate.rates();
    let left = |bucket: Option<fairlead_limits::Bucket>| bucket.map(|bucket| bucket.remaining(NOW_MS * 1_000_000));
    (left(rates.requests), left(rates.tokens), rates.places.held())
}

const WANTED: Wanted = Wanted { tokens: 40, least_tokens: 40, free: None };

/// Two keys of an account and a model that both use: exactly as many are let in as there is room for, and who is refused has taken of nobody.
#[test]
fn all_or_none() {
    explore("all or none", || {
        let (account, model) = (gate(Some(4), None, None), gate(None, Some(100), None));
        let keys = [gate(Some(1), None, None), gate(None, None, Some(1))];
        let threads: Vec<_> = [0, 0, 1, 1, 1]
            .map(|key| {
                let gates = [account.clone(), keys[key].clone(), model.clone()];
                thread::spawn(move || {
                    let places = [&*gates[0], &*gates[1], &*gates[2]];
                    let Ok(taken) = Gate::enter(&places, WANTED, NOW_MS) else { return (key, 0) };
                    assert_eq!(taken, Taken { tokens: 40, free_day_ms: None });
                    for gate in &gates {
                        gate.settle(taken.tokens, 30, NOW_MS);
                        assert!(gate.leave(Taken { tokens: 0, free_day_ms: None }));
                    }
                    (key, 1)
                })
            })
            .into();
        let mut let_in = [0; 2];
        threads.into_iter().map(|thread| thread.join().unwrap()).for_each(|(key, one)| let_in[key] += one);
        let all = let_in[0] + let_in[1];
        assert!(let_in[0] <= 1 && (1..=3).contains(&all), "{let_in:?}");
        assert_eq!(left(&account), (Some(4 - all), None, 0));
        assert_eq!(left(&model), (None, Some(100 - 30 * all), 0));
        assert_eq!((left(&keys[0]), left(&keys[1])), ((Some(1 - let_in[0]), None, 0), (None, None, 0)));
    });
}

/// Places: never more than there are, whoever comes and goes and whoever changes the limit meanwhile.
#[test]
fn places() {
    explore("places", || {
        let narrow = gate(None, None, Some(2));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let narrow = narrow.clone();
                thread::spawn(move || {
                    let Err(full) = Gate::enter(&[&narrow], WANTED, NOW_MS) else {
                        assert!(narrow.rates().places.held() <= 2);
                        return assert!(narrow.leave(Taken { tokens: 0, free_day_ms: None }));
                    };
                    assert_eq!((full.what, full.limit, full.gate), (What::Places, 2, 0));
                })
            })
            .collect();
        let other = narrow.clone();
        let changes = thread::spawn(move || {
            other.rates().limit(&RateLimits { places: NonZeroU32::new(2), ..RateLimits::default() }, NOW_MS * 1_000_000);
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        changes.join().unwrap();
        assert_eq!(left(&narrow), (None, None, 0));
        assert!(!narrow.leave(Taken { tokens: 0, free_day_ms: None }), "nobody holds one any more");
    });
}
