//! Places, several limits at once, and the limits of free models.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::num::NonZeroU32;

use fairlead_ir::{Interval, NanoUsd};
use fairlead_limits::{Bucket, Claim, Concurrency, FreeTier, FreeTierLimits, Lease, MINUTE_NS, Rate, Refusal, Refused, Window, take_all};
use proptest::collection::vec;
use proptest::prelude::*;

/// The 21st of November 2026, 19:33:20.
const NOW_NS: u64 = 1_795_289_600_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;
const DAY_NS: u64 = 1_440 * MINUTE_NS;

fn per_minute(units: u64) -> Bucket {
    Bucket::new(Rate::per_minute(units).unwrap())
}

fn places(limit: u32) -> Concurrency {
    Concurrency::new(NonZeroU32::new(limit).unwrap())
}

#[test]
fn places_are_given_back_once() {
    let mut places = places(2);
    assert_eq!((places.acquire(), places.acquire(), places.acquire()), (Ok(()), Ok(()), Err(Refusal::UntilGiven)));
    assert_eq!((places.held(), places.remaining(), places.peek()), (2, 0, Err(Refusal::UntilGiven)));
    assert!(places.release() && places.release() && !places.release(), "the third is a mistake");
    assert_eq!((places.held(), places.remaining()), (0, 2), "which changes nothing");
    assert_eq!((places.acquire(), places.acquire()), (Ok(()), Ok(())));
    places.set_limit(NonZeroU32::MIN);
    assert_eq!((places.held(), places.remaining(), places.limit()), (2, 0, NonZeroU32::MIN));
    assert!(places.release());
    assert_eq!(places.acquire(), Err(Refusal::UntilGiven), "one is still held");
    assert!(places.release());
    assert_eq!(places.acquire(), Ok(()));
}

#[test]
fn refusals_are_ordered_by_how_long_they_last() {
    let after = |retry_after_ns| Refusal::After { retry_after_ns };
    let order = [Refusal::UntilGiven, after(0), after(7), after(u64::MAX), Refusal::Never];
    assert!(order.is_sorted());
    assert_eq!(order.map(Refusal::retry_after_ns), [None, Some(0), Some(7), Some(u64::MAX), None]);
}

#[test]
fn all_or_nothing_and_the_longest_wait() {
    #[derive(Debug)]
    struct Case {
        requests: u64,
        tokens: u64,
        day: u64,
        granted: u64,
        held: u32,
        refused: Option<Refused>,
    }
    fn check(case: &Case) {
        let (mut requests, mut tokens) = (per_minute(60), per_minute(1_000));
        let (mut day, mut granted, mut at_once) = (Window::new(Interval::Daily, 50), Lease::default(), places(2));
        requests.charge(case.requests, NOW_NS);
        tokens.charge(case.tokens, NOW_NS);
        day.charge(case.day, NOW_NS / 1_000_000);
        granted.top_up(case.granted, NOW_NS + 1, NOW_NS);
        (0..case.held).for_each(|_| at_once.acquire().unwrap());
        let before = (requests, tokens, day, granted, at_once);
        let mut claims = [
            Claim::Rate(&mut requests, 1),
            Claim::Rate(&mut tokens, 300),
            Claim::Window(&mut day, 1),
            Claim::Lease(&mut granted, 5),
            Claim::Place(&mut at_once),
        ];
        assert_eq!(take_all(&mut claims, NOW_NS).err(), case.refused, "{case:?}");
        let taken = u64::from(case.refused.is_none());
        let left = [before.0.remaining(NOW_NS) - requests.remaining(NOW_NS), before.1.remaining(NOW_NS) - tokens.remaining(NOW_NS)];
        assert_eq!(left, [taken, 300 * taken], "{case:?}");
        assert_eq!(day.used(NOW_NS / 1_000_000), case.day + taken, "{case:?}");
        assert_eq!(granted.remaining(NOW_NS), case.granted - 5 * taken, "{case:?}");
        assert_eq!(u64::from(at_once.held()), u64::from(case.held) + taken, "{case:?}");
    }
    let refused = |claim, refusal| Some(Refused { claim, refusal });
    let after = |retry_after_ns| Refusal::After { retry_after_ns };
    let fits = || Case { requests: 59, tokens: 700, day: 49, granted: 5, held: 1, refused: None };
    check(&fits());
    check(&Case { requests: 60, refused: refused(0, after(SECOND_NS)), ..fits() });
    check(&Case { tokens: 701, refused: refused(1, after(60_000_000)), ..fits() });
    check(&Case { requests: 60, tokens: 701, refused: refused(0, after(SECOND_NS)), ..fits() });
    check(&Case { requests: 60, tokens: 1_000, refused: refused(1, after(18 * SECOND_NS)), ..fits() });
    check(&Case { requests: 60, day: 50, refused: refused(2, after(DAY_NS - NOW_NS % DAY_NS)), ..fits() });
    check(&Case { granted: 4, held: 2, refused: refused(3, Refusal::UntilGiven), ..fits() });
    check(&Case { held: 2, refused: refused(4, Refusal::UntilGiven), ..fits() });
    check(&Case { held: 2, requests: 60, refused: refused(0, after(SECOND_NS)), ..fits() });
    assert_eq!(take_all(&mut [], NOW_NS), Ok(()));
    let mut none = Window::new(Interval::Daily, 1);
    assert_eq!(take_all(&mut [Claim::Window(&mut none, 1)], NOW_NS + 5), Ok(()));
    let midnight = after(DAY_NS - NOW_NS % DAY_NS - 7);
    assert_eq!(take_all(&mut [Claim::Window(&mut none, 1)], NOW_NS + 7), Err(Refused { claim: 0, refusal: midnight }), "to the nanosecond");
    let mut expired = Lease::default();
    expired.top_up(9, NOW_NS, NOW_NS - 1);
    assert_eq!(take_all(&mut [Claim::Lease(&mut expired, 1)], NOW_NS), Err(Refused { claim: 0, refusal: Refusal::UntilGiven }));
    let (mut small, mut empty) = (per_minute(1), per_minute(1));
    empty.charge(1, NOW_NS);
    let mut claims = [Claim::Rate(&mut empty, 1), Claim::Rate(&mut small, 2)];
    assert_eq!(take_all(&mut claims, NOW_NS), Err(Refused { claim: 1, refusal: Refusal::Never }));
}

proptest! {
    /// Several rates at once are what each of them alone would allow, and the longest wait is when all of them fit.
    #[test]
    fn together_is_what_each_allows(
        limits in vec((1..50_u64, 1..50_u64), 1..5),
        calls in vec((0..5 * SECOND_NS, vec(0..20_u64, 5)), 1..60),
    ) {
        let mut buckets: Vec<Bucket> =
            limits.iter().map(|(units, burst)| Bucket::new(Rate::per_minute(*units).unwrap().with_burst(*burst).unwrap())).collect();
        let mut now_ns = NOW_NS;
        for (wait_ns, amounts) in calls {
            now_ns += wait_ns;
            let before = buckets.clone();
            let alone: Vec<_> = before.iter().zip(&amounts).map(|(bucket, n)| bucket.peek(*n, now_ns)).collect();
            let mut claims: Vec<_> = buckets.iter_mut().zip(&amounts).map(|(bucket, n)| Claim::Rate(bucket, *n)).collect();
            match take_all(&mut claims, now_ns) {
                Ok(()) => {
                    prop_assert!(alone.iter().all(Result::is_ok));
                    for ((mut before, after), n) in before.into_iter().zip(&buckets).zip(&amounts) {
                        prop_assert_eq!(before.take(*n, now_ns), Ok(()));
                        prop_assert_eq!(&before, after);
                    }
                }
                Err(refused) => {
                    prop_assert_eq!(alone.iter().filter_map(|each| each.err()).max(), Some(refused.refusal));
                    prop_assert_eq!(alone[refused.claim], Err(refused.refusal));
                    for (before, after) in before.iter().zip(&buckets) {
                        prop_assert_eq!(before.full_after_ns(now_ns), after.full_after_ns(now_ns));
                    }
                    if let Some(retry_after_ns) = refused.refusal.retry_after_ns() {
                        let fit = |at_ns| buckets.iter().zip(&amounts).all(|(bucket, n)| bucket.peek(*n, at_ns).is_ok());
                        prop_assert!(fit(now_ns + retry_after_ns) && !fit(now_ns + retry_after_ns - 1));
                    }
                }
            }
        }
    }
}

const FREE: FreeTierLimits = FreeTierLimits {
    requests_per_minute: NonZeroU32::new(20).unwrap(),
    requests_per_day: 50,
    requests_per_day_with_credits: 1_000,
    credits_threshold: NanoUsd(10_000_000_000),
};

#[test]
fn free_requests_of_an_account_that_has_bought_nothing_and_of_one_that_has() {
    fn check(bought: NanoUsd, a_day: u64) {
        let mut free = FreeTier::new(&FREE);
        assert_eq!(FREE.per_day(bought), a_day);
        let at_once = (0..100).filter(|_| free.take(&FREE, bought, NOW_NS).is_ok()).count();
        assert_eq!(at_once, 20, "a minute's, at a frozen clock");
        let refused = free.take(&FREE, bought, NOW_NS).unwrap_err();
        assert_eq!(refused, Refused { claim: FreeTier::MINUTE, refusal: Refusal::After { retry_after_ns: 3 * SECOND_NS } });
        let midnight_ns = NOW_NS - NOW_NS % DAY_NS + DAY_NS;
        let more = (1..).map(|nth| NOW_NS + nth * 3 * SECOND_NS).take_while(|at_ns| *at_ns < midnight_ns);
        let in_all = 20 + more.filter(|at_ns| free.take(&FREE, bought, *at_ns).is_ok()).count();
        assert_eq!(in_all as u64, a_day);
        let refused = free.take(&FREE, bought, midnight_ns - SECOND_NS).unwrap_err();
        assert_eq!(refused, Refused { claim: FreeTier::DAY, refusal: Refusal::After { retry_after_ns: SECOND_NS } });
        assert_eq!(free.take(&FREE, bought, midnight_ns), Ok(()));
    }
    check(NanoUsd(0), 50);
    check(NanoUsd(9_999_999_999), 50);
    check(NanoUsd(10_000_000_000), 1_000);
}

#[test]
fn credits_that_are_bought_help_at_once_and_a_request_that_was_never_made_comes_back() {
    let mut free = FreeTier::new(&FREE);
    free.day.charge(50, NOW_NS / 1_000_000);
    let poor = free.take(&FREE, NanoUsd(0), NOW_NS).unwrap_err();
    assert_eq!((poor.claim, free.minute.remaining(NOW_NS)), (FreeTier::DAY, 20), "the minute's is not taken");
    assert_eq!(free.take(&FREE, FREE.credits_threshold, NOW_NS), Ok(()));
    assert_eq!((free.minute.remaining(NOW_NS), free.day.remaining(NOW_NS / 1_000_000)), (19, 949));
    free.refund(free.day.start_ms());
    assert_eq!((free.minute.remaining(NOW_NS), free.day.remaining(NOW_NS / 1_000_000)), (20, 950));
}

#[test]
fn other_limits_hold_from_the_next_request_on_and_keep_what_was_taken() {
    let mut free = FreeTier::new(&FREE);
    (0..15).for_each(|_| free.take(&FREE, NanoUsd(0), NOW_NS).unwrap());
    let fewer = FreeTierLimits { requests_per_minute: NonZeroU32::new(10).unwrap(), ..FREE };
    let refused = free.take(&fewer, NanoUsd(0), NOW_NS).unwrap_err();
    assert_eq!(refused, Refused { claim: FreeTier::MINUTE, refusal: Refusal::After { retry_after_ns: 6 * SECOND_NS } });
    let more = FreeTierLimits { requests_per_minute: NonZeroU32::new(30).unwrap(), requests_per_day: 18, ..FREE };
    assert_eq!((0..30).filter(|_| free.take(&more, NanoUsd(0), NOW_NS).is_ok()).count(), 3, "15 of the day's 18 are used");
}
