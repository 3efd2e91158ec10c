//! Clocks that are set: an hour forth, an hour back, and both. Nothing is locked by it, and it gives no more than a window for each step.

#![expect(clippy::unwrap_used, reason = "tests")]

use fairlead_ir::Interval;
use fairlead_limits::{Gate, Rate, RateLimits, Taken, Wanted, Window};
use proptest::prelude::*;

const HOUR_MS: i64 = 3_600_000;
/// Half an hour before a midnight.
const NOW_MS: i64 = 20_000 * 86_400_000 - HOUR_MS / 2;
const RPM: u64 = 10;
const WANTED: Wanted = Wanted { tokens: 0, least_tokens: 0, free: None };

fn gate() -> Gate {
    let gate = Gate::default();
    gate.rates().limit(&RateLimits { requests: Some(Rate::per_minute(RPM).unwrap()), ..RateLimits::default() }, NOW_MS as u64 * 1_000_000);
    gate
}

fn is_let_in(gate: &Gate, now_ms: i64) -> bool {
    let taken = Gate::enter(&[gate], WANTED, now_ms as u64);
    taken.is_ok_and(|taken| gate.leave(Taken { tokens: taken.tokens, ..taken }))
}

/// Steps of the clock, and how far real time goes on between two requests.
fn steps() -> impl Strategy<Value = Vec<(i64, i64)>> {
    let step = prop_oneof![8 => Just(0), 1 => Just(HOUR_MS), 1 => Just(-HOUR_MS), 1 => -HOUR_MS..HOUR_MS];
    prop::collection::vec((step, 0..4_000i64), 1..300)
}

proptest! {
    #[test]
    fn a_rate_gives_a_burst_more_for_each_step_at_most(steps in steps()) {
        let gate = gate();
        let (mut real_ms, mut offset_ms, mut let_in, mut set) = (0, 0, 0, 0);
        for (step_ms, pause_ms) in steps {
            real_ms += pause_ms;
            offset_ms += step_ms;
            set += u64::from(step_ms != 0);
            let_in += u64::from(is_let_in(&gate, NOW_MS + real_ms + offset_ms));
        }
        // The burst, what came back in real time, and a burst for each step of the clock.
        prop_assert!(let_in <= RPM + real_ms as u64 * RPM / 60_000 + 1 + set * RPM, "{let_in} in {real_ms} ms with {set} steps");
        // Whatever the clock has been through, a minute later it is as full as it ever was.
        let later_ms = NOW_MS + real_ms + offset_ms + 61_000;
        prop_assert!((0..RPM).all(|_| is_let_in(&gate, later_ms)));
        prop_assert!(!is_let_in(&gate, later_ms));
    }

    #[test]
    fn a_day_gives_a_day_more_for_each_step_at_most(steps in steps()) {
        let mut day = Window::new(Interval::Daily, 20);
        let (mut real_ms, mut offset_ms, mut let_in, mut set) = (0, 0, 0, 0);
        for (step_ms, pause_ms) in steps {
            real_ms += pause_ms;
            offset_ms += step_ms;
            set += u64::from(step_ms != 0);
            let_in += u64::from(day.take(1, (NOW_MS + real_ms + offset_ms) as u64).is_ok());
        }
        let days = 1 + real_ms as u64 / 86_400_000 + 1;
        prop_assert!(let_in <= 20 * (days + set), "{let_in} in {days} days with {set} steps");
        // Two days later it is a day like any other.
        let later_ms = (NOW_MS + real_ms + offset_ms + 2 * 86_400_000) as u64;
        prop_assert_eq!((0..30).filter(|_| day.take(1, later_ms).is_ok()).count(), 20);
    }
}

/// The clock is set an hour forth and back again: what was taken stays taken.
#[test]
fn forth_and_back() {
    let gate = gate();
    assert!((0..RPM).all(|_| is_let_in(&gate, NOW_MS)) && !is_let_in(&gate, NOW_MS));
    assert!(!is_let_in(&gate, NOW_MS - HOUR_MS), "an hour back gives nothing");
    assert!(!is_let_in(&gate, NOW_MS - HOUR_MS + 5_000), "and no time is made up");
    assert!(is_let_in(&gate, NOW_MS - HOUR_MS + 7_500), "but it goes on from there");
}
