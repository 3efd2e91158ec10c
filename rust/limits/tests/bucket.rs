//! Buckets beside a model that keeps everything that ever happened, and under clocks that go anywhere.

#![expect(clippy::unwrap_used, reason = "tests")]

use fairlead_limits::{Bucket, InvalidRate, Level, MINUTE_NS, Rate, Refusal, SKEW_NS};
use proptest::collection::vec;
use proptest::prelude::*;

const SECOND_NS: u64 = 1_000_000_000;
const DAY_NS: u64 = 1_440 * MINUTE_NS;
const YEAR_NS: u64 = Rate::LONGEST_PERIOD_NS;
/// The 21st of November 2026.
const NOW_NS: u64 = 1_795_289_600_000_000_000;

fn rate(units: u64, period_ns: u64, burst: u64) -> Rate {
    Rate::new(units, period_ns).and_then(|rate| rate.with_burst(burst)).unwrap()
}

// --- the model: no state but the history ------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug)]
enum Step {
    Take(u64),
    Refund(u64),
    Charge(u64),
    Draw(u64),
}

/// What was added to (above 0) or given back to the bucket, and when.
struct Model {
    rate: Rate,
    history: Vec<(u64, i128)>,
}

impl Model {
    fn new(rate: Rate) -> Model {
        Model { rate, history: Vec::new() }
    }

    /// Units that are spent, times the period: since whichever past moment makes it the most, all that was added since, less all that was
    /// given and came back since. (A bucket that was full in between forgets what was before, and this maximum begins there.)
    fn spent(&self, now_ns: u64) -> i128 {
        let mut most = 0;
        let mut added = 0;
        for (at_ns, units) in self.history.iter().rev() {
            added += units * i128::from(self.rate.period_ns());
            most = most.max(added - i128::from(now_ns - at_ns) * i128::from(self.rate.units()));
        }
        most
    }

    fn fits(&self, n: u64, now_ns: u64) -> bool {
        self.spent(now_ns) + i128::from(n) * i128::from(self.rate.period_ns()) <= self.capacity()
    }

    fn capacity(&self) -> i128 {
        i128::from(self.rate.burst()) * i128::from(self.rate.period_ns())
    }

    fn remaining(&self, now_ns: u64) -> i128 {
        (self.capacity() - self.spent(now_ns)).max(0) / i128::from(self.rate.period_ns())
    }
}

/// The bucket does what the model says, step by step; a refusal's time is exact.
fn check(rate: Rate, steps: &[(u64, Step)]) -> Result<(), TestCaseError> {
    let (mut bucket, mut model, mut now_ns) = (Bucket::new(rate), Model::new(rate), NOW_NS);
    for (wait_ns, step) in steps {
        now_ns += wait_ns;
        match *step {
            Step::Take(n) => {
                let peeked = bucket.peek(n, now_ns);
                let taken = bucket.take(n, now_ns);
                prop_assert_eq!(peeked, taken);
                prop_assert_eq!(taken.is_ok(), model.fits(n, now_ns), "{} of {:?} at {}", n, bucket, now_ns);
                match taken {
                    Ok(()) => model.history.push((now_ns, i128::from(n))),
                    Err(Refusal::After { retry_after_ns }) => {
                        prop_assert!(model.fits(n, now_ns + retry_after_ns) && !model.fits(n, now_ns + retry_after_ns - 1));
                        prop_assert!(bucket.peek(n, now_ns + retry_after_ns).is_ok());
                        prop_assert!(bucket.peek(n, now_ns + retry_after_ns - 1).is_err());
                    }
                    Err(refusal) => prop_assert!(refusal == Refusal::Never && n > rate.burst()),
                }
            }
            Step::Refund(n) => {
                bucket.refund(n);
                model.history.push((now_ns, -i128::from(n)));
            }
            Step::Charge(n) => {
                bucket.charge(n, now_ns);
                model.history.push((now_ns, i128::from(n)));
            }
            Step::Draw(n) => {
                let drawn = bucket.draw(n, now_ns);
                prop_assert_eq!(i128::from(drawn), model.remaining(now_ns).min(i128::from(n)));
                model.history.push((now_ns, i128::from(drawn)));
            }
        }
        prop_assert_eq!(i128::from(bucket.remaining(now_ns)), model.remaining(now_ns));
        let debt = (model.spent(now_ns) - model.capacity()).max(0) as u128;
        prop_assert_eq!(u128::from(bucket.debt(now_ns)), debt.div_ceil(u128::from(rate.period_ns())));
        let full_after_ns = bucket.full_after_ns(now_ns);
        prop_assert_eq!(model.spent(now_ns + full_after_ns), 0);
        prop_assert!(full_after_ns == 0 || model.spent(now_ns + full_after_ns - 1) > 0);
    }
    Ok(())
}

fn steps(most: u64, longest_ns: u64) -> impl Strategy<Value = Vec<(u64, Step)>> {
    let wait_ns = prop_oneof![3 => Just(0), 3 => 0..SECOND_NS, 1 => 0..longest_ns];
    let step = prop_oneof![
        5 => (0..=most).prop_map(Step::Take),
        1 => (0..=most).prop_map(Step::Refund),
        1 => (0..=most).prop_map(Step::Charge),
        1 => (0..=most).prop_map(Step::Draw),
    ];
    vec((wait_ns, step), 1..60)
}

proptest! {
    #[test]
    fn small_rates_are_what_the_model_says(units in 1..9_u64, period_ns in 1..40_u64, burst in 1..9_u64, steps in vec((0..30_u64, small_step()), 1..80)) {
        check(rate(units, period_ns, burst), &steps)?;
    }

    #[test]
    fn usual_rates_are_what_the_model_says(units in 1..200_u64, burst in 1..200_u64, steps in steps(60, 2 * MINUTE_NS)) {
        check(rate(units, MINUTE_NS, burst), &steps)?;
    }

    #[test]
    fn rates_at_the_bounds_are_what_the_model_says(
        units in Rate::MOST_UNITS / 10..=Rate::MOST_UNITS,
        period_ns in MINUTE_NS..=YEAR_NS,
        burst in 1_000_000_000_000..=Rate::MOST_UNITS,
        steps in steps(Rate::MOST_UNITS / 16, YEAR_NS / 16),
    ) {
        check(rate(units, period_ns, burst), &steps)?;
    }
}

fn small_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..10_u64).prop_map(Step::Take),
        1 => (0..6_u64).prop_map(Step::Refund),
        1 => (0..6_u64).prop_map(Step::Charge),
        1 => (0..10_u64).prop_map(Step::Draw),
    ]
}

// --- exactly so many --------------------------------------------------------------------------------------------------

#[test]
fn at_a_frozen_clock_exactly_the_burst_is_given() {
    for (units, burst) in [(1, 1), (60, 60), (60, 10), (7, 1_000), (1_000_000_000_000, 5)] {
        let mut bucket = Bucket::new(rate(units, MINUTE_NS, burst));
        let given = (0..2_000).filter(|_| bucket.take(1, NOW_NS).is_ok()).count();
        assert_eq!(given as u64, burst.min(2_000), "{units} {burst}");
    }
    let mut bucket = Bucket::new(Rate::per_minute(1_000_000_000_000).unwrap());
    assert_eq!(bucket.draw(u64::MAX, NOW_NS), 1_000_000_000_000);
    assert_eq!(bucket.draw(u64::MAX, NOW_NS), 0);
}

#[test]
fn the_millionth_unit_comes_at_its_nanosecond() {
    // Seven a minute: 8,571,428,571 3/7 ns each, for three months, each taken at the first nanosecond that is said. With a burst of one, what
    // is made in the part of a nanosecond before would be lost: it is full.
    let mut bucket = Bucket::new(rate(7, MINUTE_NS, 2));
    assert_eq!(bucket.draw(2, NOW_NS), 2);
    let mut now_ns = NOW_NS;
    for unit in 1..=1_000_000_u128 {
        let retry_after_ns = bucket.take(1, now_ns).unwrap_err().retry_after_ns().unwrap();
        assert!(bucket.take(1, now_ns + retry_after_ns - 1).is_err());
        now_ns += retry_after_ns;
        assert_eq!(bucket.take(1, now_ns), Ok(()));
        assert_eq!(u128::from(now_ns - NOW_NS), (unit * u128::from(MINUTE_NS)).div_ceil(7));
    }
}

proptest! {
    /// From a debt on, all that is there taken at any times: nothing is lost to rounding, however odd the rate and however long it goes on.
    #[test]
    fn the_sum_over_years_is_exact(units in 1..1_000_000_u64, period_ns in MINUTE_NS..=YEAR_NS, waits in vec(0..YEAR_NS / 40, 1..200)) {
        let mut bucket = Bucket::new(rate(units, period_ns, Rate::MOST_UNITS));
        bucket.charge(Rate::MOST_UNITS, NOW_NS);
        let (mut now_ns, mut drawn) = (NOW_NS, 0_u128);
        for wait_ns in waits {
            now_ns += wait_ns;
            drawn += u128::from(bucket.draw(u64::MAX, now_ns));
            prop_assert_eq!(drawn, u128::from(now_ns - NOW_NS) * u128::from(units) / u128::from(period_ns));
        }
    }

    /// Over any window of one period at most the limit and the burst, however the takes fall.
    #[test]
    fn no_window_has_more_than_limit_and_burst(units in 1..30_u64, burst in 1..30_u64, takes in vec((0..500_u64, 1..5_u64), 1..150)) {
        let period_ns = 1_000;
        let mut bucket = Bucket::new(rate(units, period_ns, burst));
        let (mut now_ns, mut taken) = (NOW_NS, Vec::new());
        for (wait_ns, n) in takes {
            now_ns += wait_ns;
            if bucket.take(n, now_ns).is_ok() {
                taken.push((now_ns, n));
            }
        }
        for (start, (from_ns, _)) in taken.iter().enumerate() {
            let within = taken[start..].iter().take_while(|(at_ns, _)| at_ns - from_ns < period_ns);
            let sum: u64 = within.map(|(_, n)| n).sum();
            prop_assert!(sum <= units + burst, "{} in a period of {:?}", sum, bucket);
        }
    }
}

// --- clocks -----------------------------------------------------------------------------------------------------------

fn any_clock() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => NOW_NS..NOW_NS + 120 * MINUTE_NS,
        2 => NOW_NS - 120 * MINUTE_NS..NOW_NS,
        1 => any::<u64>(),
        1 => Just(0),
        1 => Just(u64::MAX),
    ]
}

proptest! {
    /// Whatever the clock says: no panic, never more than the burst at once, no more in all than the burst and what the clock went forward;
    /// and a refusal's time holds from there on.
    #[test]
    fn a_hostile_clock_gains_nothing_but_its_own_time(
        units in 1..1_000_u64, burst in 1..1_000_u64, calls in vec((any_clock(), 0..100_u64), 1..100)
    ) {
        let rate = rate(units, MINUTE_NS, burst);
        let mut bucket = Bucket::new(rate);
        let (mut before_ns, mut forward_ns, mut taken) = (calls[0].0, 0_u128, 0_u128);
        for (now_ns, n) in calls {
            forward_ns += u128::from(now_ns.saturating_sub(before_ns));
            before_ns = now_ns;
            prop_assert!(bucket.remaining(now_ns) <= burst);
            match bucket.take(n, now_ns) {
                Ok(()) => taken += u128::from(n),
                Err(Refusal::After { retry_after_ns }) => {
                    let longest = u128::from(n) * u128::from(MINUTE_NS) / u128::from(units) + 1 + u128::from(SKEW_NS);
                    prop_assert!(u128::from(retry_after_ns) <= longest, "{} for {} units", retry_after_ns, n);
                    if let Some(then_ns) = now_ns.checked_add(retry_after_ns) {
                        prop_assert!(bucket.peek(n, then_ns).is_ok() && bucket.peek(n, then_ns - 1).is_err());
                    }
                }
                Err(refusal) => prop_assert!(refusal == Refusal::Never && n > burst),
            }
            let most = u128::from(burst) * u128::from(MINUTE_NS) + forward_ns * u128::from(units);
            prop_assert!(taken * u128::from(MINUTE_NS) <= most);
        }
    }

    /// Threads that read one clock and arrive in any order get what one thread would get at the latest of their times.
    #[test]
    fn the_order_of_arrival_makes_no_refill(units in 1..1_000_u64, behind_ns in vec(0..=SKEW_NS, 1..200), burst in 1..50_u64) {
        let mut bucket = Bucket::new(rate(units, MINUTE_NS, burst));
        let (mut clock_ns, mut taken) = (NOW_NS, u128::from(bucket.draw(1, NOW_NS)));
        for behind_ns in behind_ns {
            clock_ns += 1_000_000;
            taken += u128::from(bucket.draw(1, clock_ns - behind_ns));
        }
        let most = u128::from(burst) * u128::from(MINUTE_NS) + u128::from(clock_ns - NOW_NS) * u128::from(units);
        prop_assert!(taken * u128::from(MINUTE_NS) <= most);
    }

    /// Any two numbers are a level, and nothing that is done to it overflows.
    #[test]
    fn any_saved_level_can_be_resumed(spent: u128, at_ns: u64, now_ns: u64, n: u64, units in 1..=Rate::MOST_UNITS, period_ns in 1..=YEAR_NS) {
        let (one, other) = (rate(units, period_ns, units), rate(Rate::MOST_UNITS, YEAR_NS, 1));
        for (before, after) in [(one, other), (other, one)] {
            let mut bucket = Bucket::resume(before, Level::new(spent, at_ns));
            let _ = (bucket.peek(n, now_ns), bucket.debt(now_ns), bucket.full_after_ns(now_ns));
            bucket.charge(n, now_ns);
            bucket.change(after, now_ns);
            bucket.charge(u64::MAX, now_ns);
            prop_assert!(bucket.take(n, now_ns).is_err());
            bucket.refund(n);
            prop_assert!(bucket.remaining(now_ns) <= after.burst());
        }
    }
}

#[test]
fn a_clock_that_is_set_back_an_hour_costs_a_second() {
    let hour_ns = 60 * MINUTE_NS;
    let mut bucket = Bucket::new(rate(60, MINUTE_NS, 60));
    assert_eq!(bucket.draw(60, NOW_NS), 60);
    let back_ns = NOW_NS - hour_ns;
    assert_eq!(bucket.take(1, back_ns), Err(Refusal::After { retry_after_ns: 2 * SECOND_NS }), "a second of standing still, then a unit");
    assert_eq!(bucket.draw(60, back_ns + 11 * SECOND_NS), 10, "and from then on as ever");
    // The clock is set right: the hour comes, and the bucket is full, not fuller.
    assert_eq!(bucket.draw(u64::MAX, NOW_NS + 12 * SECOND_NS), 60);
    assert_eq!(bucket.draw(u64::MAX, NOW_NS + 13 * SECOND_NS), 1);
}

// --- refunds, charges, changes ----------------------------------------------------------------------------------------

#[test]
fn what_was_too_much_comes_back_and_what_was_too_little_is_owed() {
    let mut tokens = Bucket::new(Rate::per_minute(1_000).unwrap());
    assert_eq!(tokens.take(800, NOW_NS), Ok(()));
    tokens.refund(700);
    assert_eq!(tokens.remaining(NOW_NS), 900);
    tokens.refund(500);
    assert_eq!(tokens.remaining(NOW_NS), 1_000, "never above the burst");
    tokens.charge(1_500, NOW_NS);
    assert_eq!((tokens.remaining(NOW_NS), tokens.debt(NOW_NS)), (0, 500));
    let refused = |retry_after_ns| Err(Refusal::After { retry_after_ns });
    assert_eq!(tokens.take(0, NOW_NS), refused(30 * SECOND_NS), "the debt first");
    assert_eq!(tokens.take(1, NOW_NS), refused(30 * SECOND_NS + 60_000_000));
    assert_eq!(tokens.take(1_000, NOW_NS), refused(90 * SECOND_NS));
    assert_eq!(tokens.take(1_001, NOW_NS), Err(Refusal::Never));
    assert_eq!(tokens.full_after_ns(NOW_NS), 90 * SECOND_NS);
    assert_eq!(tokens.take(1_000, NOW_NS + 90 * SECOND_NS), Ok(()));
}

#[test]
fn a_changed_rate_keeps_what_was_taken() {
    #[derive(Debug)]
    struct Case {
        before: Rate,
        charged: u64,
        after: Rate,
        remaining: u64,
        debt: u64,
    }
    fn check(case: &Case) {
        let mut bucket = Bucket::new(case.before);
        bucket.charge(case.charged, NOW_NS);
        // Over a restart, too.
        let mut bucket = Bucket::resume(case.before, Level::new(bucket.level().spent(), bucket.level().at_ns()));
        bucket.change(case.after, NOW_NS);
        assert_eq!((bucket.remaining(NOW_NS), bucket.debt(NOW_NS)), (case.remaining, case.debt), "{case:?}");
        assert_eq!(bucket.rate(), case.after);
        // What it lacks comes at the new rate.
        let lacks = u128::from(case.after.burst() - case.remaining + case.debt) * u128::from(case.after.period_ns());
        assert_eq!(u128::from(bucket.full_after_ns(NOW_NS)), lacks.div_ceil(u128::from(case.after.units())), "{case:?}");
    }
    let minute = |units, burst| rate(units, MINUTE_NS, burst);
    check(&Case { before: minute(10, 10), charged: 10, after: minute(20, 20), remaining: 10, debt: 0 });
    check(&Case { before: minute(10, 10), charged: 4, after: minute(20, 10), remaining: 6, debt: 0 });
    check(&Case { before: minute(600, 600), charged: 600, after: minute(10, 10), remaining: 0, debt: 0 });
    check(&Case { before: minute(20, 20), charged: 5, after: minute(10, 10), remaining: 5, debt: 0 });
    check(&Case { before: minute(20, 20), charged: 0, after: minute(10, 10), remaining: 10, debt: 0 });
    check(&Case { before: minute(20, 20), charged: 25, after: minute(10, 10), remaining: 0, debt: 5 });
    check(&Case { before: minute(10, 10), charged: 15, after: minute(20, 12), remaining: 0, debt: 3 });
    check(&Case { before: minute(10, 10), charged: 15, after: minute(20, 20), remaining: 5, debt: 0 });
    check(&Case { before: minute(10, 10), charged: 4, after: rate(7, DAY_NS, 10), remaining: 6, debt: 0 });
    check(&Case { before: rate(7, YEAR_NS, 100), charged: 120, after: minute(1, 50), remaining: 0, debt: 20 });
}

#[test]
fn a_rate_changes_when_it_is_changed_and_not_before() {
    let mut bucket = Bucket::new(rate(60, MINUTE_NS, 60));
    bucket.charge(60, NOW_NS);
    bucket.change(rate(600, MINUTE_NS, 600), NOW_NS + 10 * SECOND_NS);
    assert_eq!(bucket.remaining(NOW_NS + 10 * SECOND_NS), 550, "ten came back at the old rate, fifty are still taken");
    // A nanosecond of seven a minute is no whole nanosecond of one in seven: it is rounded against the caller.
    let mut bucket = Bucket::new(rate(7, MINUTE_NS, 10));
    bucket.charge(1, NOW_NS);
    bucket.change(rate(1, 7, 10), NOW_NS + 1);
    assert_eq!(bucket.full_after_ns(NOW_NS + 1), 7);
}

#[test]
fn an_absurd_debt_is_told_as_the_most_there_is() {
    let mut bucket = Bucket::resume(rate(1, 1, 1), Level::new(u128::MAX, NOW_NS));
    assert_eq!((bucket.debt(NOW_NS), bucket.full_after_ns(NOW_NS)), (u64::MAX, u64::MAX));
    assert_eq!(bucket.take(1, NOW_NS), Err(Refusal::After { retry_after_ns: u64::MAX }));
}

#[test]
fn a_level_is_small() {
    assert_eq!((size_of::<Level>(), size_of::<Bucket>()), (24, 48));
}

#[test]
fn rates_that_limit_nothing_are_refused() {
    fn check(units: u64, period_ns: u64, burst: u64, wrong: Option<InvalidRate>) {
        let made = Rate::new(units, period_ns).and_then(|rate| rate.with_burst(burst));
        assert_eq!(made.err(), wrong, "{units} {period_ns} {burst}");
    }
    check(1, 1, 1, None);
    check(Rate::MOST_UNITS, Rate::LONGEST_PERIOD_NS, Rate::MOST_UNITS, None);
    check(0, MINUTE_NS, 1, Some(InvalidRate::Units));
    check(Rate::MOST_UNITS + 1, MINUTE_NS, 1, Some(InvalidRate::Units));
    check(1, 0, 1, Some(InvalidRate::Period));
    check(1, Rate::LONGEST_PERIOD_NS + 1, 1, Some(InvalidRate::Period));
    check(1, 1, 0, Some(InvalidRate::Burst));
    check(1, 1, Rate::MOST_UNITS + 1, Some(InvalidRate::Burst));
    assert_eq!(Rate::LONGEST_PERIOD_NS, 366 * 86_400 * SECOND_NS);
    assert!(InvalidRate::Units.to_string().contains("1 to 1000000000000000000 units"));
}
