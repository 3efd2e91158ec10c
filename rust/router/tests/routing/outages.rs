use crate::fleet::Fleet;
use crate::world::{Spec, spec};
use fairlead_router::health::outcome::{Class, Outcome};

fn specs(prices: &[u64]) -> Vec<Spec> {
    prices.iter().enumerate().map(|(number, pico)| spec("a/b", &format!("p{}", number + 1), *pico, "")).collect()
}

fn good() -> Outcome {
    Outcome::of(Class::Success)
}

#[test]
fn one_that_failed_within_thirty_seconds_goes_to_the_back() {
    // OpenRouter's example: A for 1 dollar, B for 2 with recent outages, C for 3.
    let mut fleet = Fleet::new(&specs(&[1_000, 2_000, 3_000]), &[], |_, _, _| good());
    fleet.board.entry(1).health.note(&Outcome::of(Class::Unavailable), fleet.now_ms, 1);
    let orders: Vec<_> = (0..200).map(|_| fleet.plan()).collect();
    assert!(orders.iter().all(|order| order[2] == 2));
    let first = orders.iter().filter(|order| order[0] == 1).count();
    assert!((165..=195).contains(&first), "nine to one: {first} of 200");
    fleet.now_ms += 30_000;
    assert!((0..200).any(|_| fleet.plan()[0] == 2));
}

#[test]
fn an_outage_is_not_seen_and_the_load_comes_back_in_steps() {
    let out = 30_000..90_000;
    let is_out = out.clone();
    let mut fleet = Fleet::new(&specs(&[1_000, 1_000, 1_000]), &[], move |id, at_ms, _| {
        if id == 1 && is_out.contains(&at_ms) { Outcome::of(Class::Unavailable) } else { good() }
    });
    assert!((fleet.load(3_000, 30_000, 1) - 1.0 / 3.0).abs() < 0.05);
    let during = fleet.load(6_000, 60_000, 1);
    assert!(during < 0.01, "{during}");
    assert_eq!(fleet.failed, 0);
    assert!(fleet.total_attempts() * 100 <= fleet.requests * 101, "{} {}", fleet.total_attempts(), fleet.requests);
    // Back within half a minute, and no second brings a herd.
    let shares: Vec<f64> = (0..60).map(|_| fleet.load(1_000, 1_000, 1)).collect();
    let full = shares.iter().position(|share| *share > 0.28).unwrap_or(60);
    assert!(full <= 30, "{shares:?}");
    assert!(shares.windows(2).all(|pair| pair[1] - pair[0] <= 0.10), "{shares:?}");
    assert_eq!(fleet.failed, 0);
}

#[test]
fn a_brown_out_of_rate_limits_costs_a_fifth_at_most() {
    let limited = Outcome { retry_after_ms: Some(2_000), ..Outcome::of(Class::RateLimited) };
    let mut fleet = Fleet::new(
        &specs(&[1_000, 1_100]),
        &[],
        move |id, at_ms, number| {
            if id == 1 && at_ms < 60_000 && number % 2 == 0 { limited } else { good() }
        },
    );
    fleet.load(6_000, 60_000, 1);
    assert_eq!(fleet.failed, 0);
    assert!(fleet.total_attempts() * 10 <= fleet.requests * 12, "{} {}", fleet.total_attempts(), fleet.requests);
    let after = fleet.load(1_000, 10_000, 1);
    assert!(after > 0.4, "a 429 is no broken server: {after}");
}

#[test]
fn who_prefers_a_provider_that_often_fails_is_answered_all_the_same() {
    // Two of five fail, never five in a row: no breaker opens, and a fifth of retries is not enough.
    let brown_out = |id, number| if id == 1 && number % 5 < 2 { Outcome::of(Class::Unavailable) } else { good() };
    let check = |specs: &[Spec], failed: bool| {
        let mut fleet = Fleet::new(specs, &[], |id, _, number| brown_out(id, number));
        fleet.wishes.order = vec!["p1".into()];
        fleet.load(20_000, 200_000, 1);
        assert_eq!(fleet.failed > 0, failed, "{}", fleet.failed);
        assert!(fleet.total_attempts() * 10 <= fleet.requests * 12 + 10 * 20, "{} {}", fleet.total_attempts(), fleet.requests);
        // It keeps as many requests as retries can be paid for, in bad times and after.
        assert!(failed || fleet.attempts[&1] * 10 >= fleet.requests * 4, "{:?}", fleet.attempts);
    };
    check(&specs(&[1_000, 2_000]), false);
    check(&specs(&[1_000]), true);
    let other_model = [spec("a/b", "p1", 1_000, ""), spec("c/d", "p2", 1_000, "")];
    check(&other_model, true);
}

#[test]
fn good_times_save_nothing_for_a_brown_out() {
    let begins_at_ms = 20_000;
    let mut fleet = Fleet::new(&specs(&[1_000, 1_100]), &[], move |_, at_ms, number| {
        if at_ms >= begins_at_ms && number % 5 < 2 { Outcome::of(Class::Unavailable) } else { good() }
    });
    fleet.load(2_000, begins_at_ms, 1);
    let before = (fleet.total_attempts(), fleet.requests);
    fleet.load(600, 6_000, 1);
    let (attempts, requests) = (fleet.total_attempts() - before.0, fleet.requests - before.1);
    // A fifth, and the reserve of twenty for each provider.
    assert!(attempts <= requests * 12 / 10 + 2 * 20, "{attempts} {requests}");
}

#[test]
fn everything_failing_is_not_made_worse() {
    let mut fleet = Fleet::new(&specs(&[1_000, 1_000, 1_000]), &[], |_, _, _| Outcome::of(Class::Unavailable));
    fleet.load(5_000, 50_000, 1);
    assert_eq!(fleet.failed, 5_000);
    // A fifth, and the reserve of twenty for each provider.
    assert!(fleet.total_attempts() <= fleet.requests * 12 / 10 + 3 * 20, "{} {}", fleet.total_attempts(), fleet.requests);
    assert!(fleet.total_attempts() >= fleet.requests, "and everybody is tried at least once");
}

#[test]
fn the_last_endpoint_is_never_ejected() {
    for class in [Class::Unavailable, Class::RateLimited, Class::Unauthorized, Class::UnknownModel] {
        let mut fleet = Fleet::new(&specs(&[1_000]), &[("p1", r#""keys":[{"secret":"k"}]"#)], move |_, _, _| Outcome::of(class));
        for _ in 0..50 {
            fleet.now_ms += 10;
            assert_eq!(fleet.request(), (vec![1], Some(class)), "{class:?}");
        }
    }
}

#[test]
fn one_request_probes_and_the_others_go_elsewhere() {
    let mut fleet = Fleet::new(&specs(&[1, 1_000]), &[], |_, _, _| good());
    let health = std::sync::Arc::clone(&fleet.board.entry(0).health);
    (0..5).for_each(|_| health.note(&Outcome::of(Class::Unavailable), fleet.now_ms, 1));
    let elsewhere = fleet.hold().unwrap();
    assert_eq!(fleet.board.entry(elsewhere.entry).id, 2, "it is shut out");
    fleet.now_ms += 2_000;
    let held: Vec<_> = (0..10).map(|_| fleet.hold().unwrap()).collect();
    let ids: Vec<u64> = held.iter().map(|attempt| fleet.board.entry(attempt.entry).id).collect();
    assert_eq!((ids[0], held[0].is_probe()), (1, true));
    assert!(ids[1..].iter().all(|id| *id == 2), "{ids:?}");
    drop(held);
    assert!(fleet.hold().unwrap().is_probe(), "a probe that told nothing lets the next one try");
}

#[test]
fn a_refused_key_is_passed_over_then_the_endpoint() {
    let keys = r#""keys":[{"secret":"one"},{"secret":"two"}]"#;
    let mut fleet =
        Fleet::new(
            &specs(&[1, 1_000]),
            &[("p1", keys)],
            |id, _, number| {
                if id == 1 && number == 1 { Outcome::of(Class::Unauthorized) } else { good() }
            },
        );
    assert_eq!(fleet.request(), (vec![1, 1], Some(Class::Success)), "the other key");
    assert_eq!(fleet.request(), (vec![1], Some(Class::Success)), "the first one cools down");
    let mut fleet =
        Fleet::new(&specs(&[1, 1_000]), &[("p1", keys)], |id, _, _| Outcome::of(if id == 1 { Class::Unpaid } else { Class::Success }));
    assert_eq!(fleet.request(), (vec![1, 1, 2], Some(Class::Success)));
    assert_eq!(fleet.request(), (vec![2], Some(Class::Success)));
}

#[test]
fn what_is_the_callers_is_final_and_another_model_is_another_chance() {
    let check = |class: Class, expected: &[u64]| {
        let mut fleet = Fleet::new(&specs(&[1, 1_000]), &[], move |_, _, number| if number == 1 { Outcome::of(class) } else { good() });
        fleet.wishes.order = vec!["p1".into()];
        assert_eq!(fleet.request().0, expected, "{class:?}");
    };
    check(Class::Rejected, &[1]);
    check(Class::Cancelled, &[1]);
    check(Class::BrokenLate, &[1]);
    check(Class::ContextOverflow, &[1]);
    check(Class::Broken, &[1, 2]);
    check(Class::TimedOut, &[1, 2]);
}

#[test]
fn a_configured_limit_is_never_exceeded() {
    let keys = r#""keys":[{"secret":"one","max_concurrency":2}]"#;
    let mut fleet = Fleet::new(&specs(&[1]), &[("p1", keys)], |_, _, _| good());
    let held = [fleet.hold(), fleet.hold()];
    assert!(held.iter().all(Option::is_some) && fleet.hold().is_none());
    drop(held);
    assert!(fleet.hold().is_some());
}
