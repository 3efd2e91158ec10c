//! Calendar windows beside a list of what was used on each day, and under clocks that go anywhere.

use std::collections::HashMap;

use fairlead_ir::Interval;
use fairlead_ir::calendar::{DAY_MS, days_from_civil};
use fairlead_limits::{Refusal, SET_BACK_MS, Window};
use proptest::collection::vec;
use proptest::prelude::*;

const fn at_ms(year: u64, month: u64, day: u64, hour: u64) -> u64 {
    days_from_civil(year, month, day) * DAY_MS + hour * 3_600_000
}

const fn after(ms: u64) -> Result<(), Refusal> {
    Err(Refusal::After { retry_after_ns: ms * 1_000_000 })
}

/// Saturday, the 21st of November 2026, noon.
const NOON_MS: u64 = at_ms(2026, 11, 21, 12);

#[test]
fn a_window_begins_anew_at_its_border() {
    fn check(interval: Interval, reset_ms: Option<u64>) {
        let mut window = Window::new(interval, 10);
        assert_eq!((window.remaining(NOON_MS), window.reset_ms(NOON_MS)), (10, reset_ms));
        let given = (0..20).filter(|_| window.take(1, NOON_MS).is_ok()).count();
        assert_eq!((given, window.used(NOON_MS), window.remaining(NOON_MS)), (10, 10, 0), "exactly the limit");
        let refusal = reset_ms.map_or(Err(Refusal::Never), |reset_ms| after(reset_ms - NOON_MS));
        assert_eq!(window.take(1, NOON_MS), refusal, "{interval:?}");
        assert_eq!(window.peek(11, NOON_MS), Err(Refusal::Never));
        if let Some(reset_ms) = reset_ms {
            assert_eq!(window.peek(1, reset_ms - 1), after(1));
            assert_eq!(window.take(10, reset_ms), Ok(()));
            assert_eq!(window.start_ms(), reset_ms);
        }
    }
    check(Interval::Daily, Some(at_ms(2026, 11, 22, 0)));
    check(Interval::Weekly, Some(at_ms(2026, 11, 23, 0)));
    check(Interval::Monthly, Some(at_ms(2026, 12, 1, 0)));
    check(Interval::Total, None);
    let mut none = Window::new(Interval::Daily, 0);
    assert_eq!((none.take(0, NOON_MS), none.take(1, NOON_MS)), (Ok(()), Err(Refusal::Never)));
}

#[test]
fn what_is_used_afterwards_counts_and_what_comes_back_does_only_in_its_window() {
    let mut window = Window::new(Interval::Daily, 100);
    assert_eq!(window.take(60, NOON_MS), Ok(()));
    let today_ms = window.start_ms();
    window.refund(50, today_ms);
    assert_eq!(window.used(NOON_MS), 10);
    window.refund(50, today_ms);
    assert_eq!(window.used(NOON_MS), 0, "never below nothing");
    window.charge(130, NOON_MS);
    assert_eq!((window.remaining(NOON_MS), window.take(0, NOON_MS)), (0, after(DAY_MS / 2)));
    let tomorrow_ms = NOON_MS + DAY_MS;
    assert_eq!(window.take(20, tomorrow_ms), Ok(()), "a day's debt ends with it");
    window.refund(20, today_ms);
    assert_eq!(window.used(tomorrow_ms), 20, "yesterday is gone");
    assert_eq!(window.draw(100, tomorrow_ms), 80);
}

#[test]
fn a_window_survives_a_restart_and_a_change() {
    let mut before = Window::new(Interval::Daily, 10);
    assert_eq!(before.take(8, NOON_MS), Ok(()));
    let resumed = |limit, now_ms| Window::resume(Interval::Daily, limit, before.start_ms(), before.used(NOON_MS)).remaining(now_ms);
    assert_eq!((resumed(10, NOON_MS), resumed(50, NOON_MS), resumed(5, NOON_MS)), (2, 42, 0));
    assert_eq!(resumed(10, NOON_MS + DAY_MS), 10);
    let mut monthly = before;
    monthly.set_interval(Interval::Monthly, NOON_MS);
    assert_eq!((monthly.used(NOON_MS), monthly.start_ms()), (8, at_ms(2026, 11, 1, 0)));
    assert_eq!(monthly.reset_ms(NOON_MS), Some(at_ms(2026, 12, 1, 0)));
    let mut weekly = before;
    weekly.set_interval(Interval::Weekly, NOON_MS + DAY_MS);
    assert_eq!(weekly.used(NOON_MS + DAY_MS), 0, "that was yesterday's");
    before.set_limit(20);
    assert_eq!((before.limit(), before.remaining(NOON_MS), before.interval()), (20, 12, Interval::Daily));
    monthly.set_interval(Interval::Total, NOON_MS);
    assert_eq!((monthly.used(u64::MAX), monthly.take(3, u64::MAX)), (8, Err(Refusal::Never)));
}

#[test]
fn a_clock_that_is_set_back_gives_nothing_twice_and_locks_nobody_out() {
    let midnight_ms = at_ms(2026, 11, 22, 0);
    let mut window = Window::new(Interval::Daily, 10);
    assert_eq!(window.take(10, midnight_ms - 1), Ok(()));
    assert_eq!(window.take(7, midnight_ms), Ok(()));
    // An hour back, into yesterday: what is taken counts in the day that has begun, of which the other seven are gone.
    assert_eq!(window.draw(10, midnight_ms - SET_BACK_MS), 3);
    assert_eq!(window.take(1, midnight_ms - 1), after(DAY_MS + 1));
    assert_eq!(window.take(1, midnight_ms + 1), after(DAY_MS - 1));
    // It had been a year ahead: the day is that of the clock again, with what was used in the wrong one.
    let year_ms = 365 * DAY_MS;
    let mut window = Window::new(Interval::Daily, 10);
    assert_eq!(window.take(4, NOON_MS + year_ms), Ok(()));
    assert_eq!(window.draw(10, NOON_MS), 6);
    assert_eq!(window.take(1, NOON_MS), after(DAY_MS / 2));
    assert_eq!(window.take(10, NOON_MS + DAY_MS), Ok(()));
}

proptest! {
    /// Beside a list of days.
    #[test]
    fn days_are_counted_apart(limit in 0..40_u64, calls in vec((0..DAY_MS, 0..20_u64, 0..3_u8), 1..100)) {
        let mut window = Window::new(Interval::Daily, limit);
        let mut days: HashMap<u64, u64> = HashMap::new();
        let mut now_ms = NOON_MS;
        for (wait_ms, n, what) in calls {
            now_ms += wait_ms / 4;
            let used = days.entry(now_ms / DAY_MS).or_default();
            match what {
                0 => {
                    window.charge(n, now_ms);
                    *used += n;
                }
                1 => {
                    let drawn = window.draw(n, now_ms);
                    prop_assert_eq!(drawn, n.min(limit.saturating_sub(*used)));
                    *used += drawn;
                }
                _ => {
                    let fits = *used + n <= limit;
                    prop_assert_eq!(window.peek(n, now_ms).is_ok(), fits);
                    prop_assert_eq!(window.take(n, now_ms).is_ok(), fits);
                    *used += if fits { n } else { 0 };
                }
            }
            prop_assert_eq!((window.used(now_ms), window.remaining(now_ms)), (*used, limit.saturating_sub(*used)));
        }
    }

    /// Whatever the clock says: no panic, never more than the limit in a window, no new window but by going forward into one; and a
    /// refusal's time holds.
    #[test]
    fn a_hostile_clock_gains_nothing_but_windows_that_it_enters(
        interval in prop::sample::select(vec![Interval::Daily, Interval::Weekly, Interval::Monthly, Interval::Total]),
        limit in 0..50_u64,
        calls in vec((prop_oneof![4 => NOON_MS - 3 * DAY_MS..NOON_MS + 3 * DAY_MS, 1 => any::<u64>()], 0..30_u64), 1..60),
    ) {
        let mut window = Window::new(interval, limit);
        let (mut before_ms, mut entered, mut taken) = (calls[0].0, 1, 0);
        for (now_ms, n) in calls {
            entered += u64::from(now_ms > before_ms && interval.start_ms(now_ms) > interval.start_ms(before_ms));
            before_ms = now_ms;
            match window.take(n, now_ms) {
                Ok(()) => taken += n,
                Err(Refusal::After { retry_after_ns }) if retry_after_ns < u64::MAX => {
                    let then_ms = now_ms + retry_after_ns / 1_000_000;
                    prop_assert!(window.peek(n, then_ms).is_ok() && window.peek(n, then_ms - 1).is_err());
                }
                Err(_) => {}
            }
            prop_assert!(window.used(now_ms) <= limit && taken <= limit * entered);
        }
    }
}
