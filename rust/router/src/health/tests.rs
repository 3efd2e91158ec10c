#![expect(clippy::unwrap_used, reason = "tests")]

use super::outcome::Class;
use super::*;

const START_MS: u64 = 1_000_000_000;

fn note(endpoint: &Endpoint, class: Class, now_ms: u64) {
    endpoint.note(&Outcome::of(class), now_ms, 1);
}

/// So many good and bad attempts at a moment give this standing.
fn check(good: u32, bad: u32, standing: Standing, uptime: Option<f64>) {
    let endpoint = Endpoint::default();
    for number in 0..good + bad {
        // A timeout of the caller's connection does not open the breaker, so that only the uptime speaks.
        let class = if number % (good + bad).div_ceil(bad.max(1)) == 0 && bad > 0 { Class::Unauthorized } else { Class::Success };
        note(&endpoint, class, START_MS);
        note(&endpoint, Class::RateLimited, START_MS);
    }
    assert_eq!(endpoint.pulse(START_MS).standing, standing, "{good} {bad}");
    assert_eq!(endpoint.uptime(START_MS, 5), uptime, "{good} {bad}");
    assert_eq!(endpoint.uptime(START_MS, 1440), uptime, "{good} {bad}");
}

#[test]
fn uptime_is_counted_as_openrouter_does() {
    check(99, 0, Standing::Normal, None);
    check(100, 0, Standing::Normal, Some(1.0));
    check(95, 5, Standing::Normal, Some(0.95));
    check(90, 10, Standing::Degraded, Some(0.9));
    check(50, 50, Standing::Down, Some(0.5));
}

#[test]
fn an_uptime_of_before_the_recovery_is_forgiven() {
    let endpoint = Endpoint::default();
    for _ in 0..200 {
        note(&endpoint, Class::Unavailable, START_MS);
    }
    let pulse = endpoint.pulse(START_MS);
    assert_eq!((pulse.state, pulse.standing, pulse.outage), (State::Open, Standing::Down, true));
    assert_eq!(endpoint.admit(START_MS + 2_000), Admission::Probe);
    note(&endpoint, Class::Success, START_MS + 2_000);
    let pulse = endpoint.pulse(START_MS + 2_000);
    assert_eq!((pulse.state, pulse.standing, pulse.outage, pulse.ramp), (State::Closed, Standing::Normal, false, 100));
    assert_eq!(endpoint.pulse(START_MS + 30_000).ramp, FULL);
}

#[test]
fn rate_limits_and_refused_keys_never_open_the_breaker() {
    let endpoint = Endpoint::default();
    for class in [Class::RateLimited, Class::Unauthorized, Class::Unpaid, Class::Forbidden, Class::Loading, Class::Rejected] {
        (0..50).for_each(|_| note(&endpoint, class, START_MS));
        assert_eq!(endpoint.admit(START_MS), Admission::Open, "{class:?}");
    }
    note(&endpoint, Class::UnknownModel, START_MS);
    assert_eq!(endpoint.admit(START_MS + 59_999), Admission::Denied);
}

#[test]
fn measurements_skip_the_first_after_a_sleep() {
    let endpoint = Endpoint::default();
    let reply = |first_token_ms| Outcome {
        first_token_ms: Some(first_token_ms),
        total_ms: Some(2_000),
        completion_tokens: 100,
        ..Outcome::of(Class::Success)
    };
    assert!(endpoint.is_cold(START_MS));
    endpoint.note(&reply(9_000), START_MS, 1);
    assert!(!endpoint.is_cold(START_MS));
    for second in 1..=10 {
        endpoint.note(&reply(200), START_MS + second * 1_000, 1);
    }
    let pace = endpoint.pace(START_MS + 10_000);
    assert_eq!((pace.first_token_ms.samples, pace.throughput.samples), (10, 10));
    assert!((190..=225).contains(&pace.first_token_ms.values[7]), "{pace:?}");
    assert!((450..=550).contains(&pace.throughput.values[3]), "50 tokens a second: {pace:?}");
    assert_eq!(pace.day, 11);
    assert_eq!(endpoint.pulse(START_MS + 10_000).completion_tokens, 100);
    assert!(endpoint.is_cold(START_MS + 611_000));
}

#[test]
fn what_is_read_often_is_at_most_a_second_old() {
    let endpoint = Endpoint::default();
    let reply = Outcome { first_token_ms: Some(5), ..Outcome::of(Class::Success) };
    let samples = |now_ms| endpoint.pace(now_ms).first_token_ms.samples;
    endpoint.note(&reply, START_MS, 1);
    endpoint.note(&reply, START_MS, 1);
    assert_eq!(samples(START_MS), 1);
    endpoint.note(&reply, START_MS, 1);
    assert_eq!((samples(START_MS + 999), samples(START_MS + 1_000)), (1, 2));
    assert_eq!(endpoint.percentiles(START_MS, Window::Thirty).0.samples, 2);
}

#[test]
fn workers_may_note_at_the_same_time() {
    let endpoint = Endpoint::default();
    std::thread::scope(|scope| {
        for worker in 0..4u64 {
            let endpoint = &endpoint;
            scope.spawn(move || {
                for number in 0..5_000u64 {
                    let class = if number % 2 == 0 { Class::Success } else { Class::Unauthorized };
                    endpoint.note(&Outcome::of(class), START_MS + number % 7, worker);
                }
            });
        }
    });
    assert_eq!(endpoint.uptime(START_MS, 5).unwrap(), 0.5);
    assert_eq!(endpoint.pace(START_MS).day, 20_000);
}
