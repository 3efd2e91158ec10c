use crate::fleet::START_MS;
use crate::world::{board, board_of, serves, spec};
use fairlead_router::health::outcome::{Class, Outcome};
use fairlead_router::names::Named;
use fairlead_router::{Board, By, Cutoffs, Need, Now, Order, Partition, Plan, Registry, Sort, Wishes, hedge, plan};

/// The first choice of many seeds against the expected shares; χ² beyond this has one chance in a thousand to be an accident, and the seeds
/// are always the same.
fn check(prices: &[u64], shares: &[f64], bound: f64) {
    const DRAWS: u32 = 40_000;
    let specs: Vec<_> = prices.iter().enumerate().map(|(number, pico)| spec("a/b", &format!("p{number}"), *pico, "")).collect();
    let (board, need, models) = (board(&specs), Need::tokens(1_000, Some(500)), [Named::model(0)]);
    let mut counts = vec![0u32; prices.len()];
    let mut made = Plan::default();
    for seed in 0..u64::from(DRAWS) {
        plan(&board, &Order::model(&models, &need, seed), &mut Now(0), serves, &mut made);
        counts[made.steps[0].entry] += 1;
    }
    let total: f64 = shares.iter().sum();
    let expected = shares.iter().map(|share| share / total * f64::from(DRAWS));
    let chi_squared: f64 = counts.iter().zip(expected).map(|(count, expected)| (f64::from(*count) - expected).powi(2) / expected).sum();
    assert!(chi_squared < bound, "{counts:?}: {chi_squared}");
}

#[test]
fn first_choices_weigh_the_inverse_square_of_the_price() {
    check(&[1_000_000, 3_000_000], &[9.0, 1.0], 10.83);
    check(&[10_000, 10_000, 10_000, 10_000], &[1.0, 1.0, 1.0, 1.0], 16.27);
    check(&[10_000, 20_000, 40_000, 50_000], &[1.0, 1.0 / 4.0, 1.0 / 16.0, 1.0 / 25.0], 16.27);
    check(&[0, 0], &[1.0, 1.0], 10.83);
}

/// Five endpoints of two models that have been used: by id, the time to the first token, the whole time of a hundred tokens, and how many of
/// ten tool calls are sound.
fn used() -> Board {
    const USE: [(u64, u32, u32, u64); 5] =
        [(1, 400, 2_000, 10), (2, 200, 2_100, 10), (3, 800, 1_600, 10), (4, 600, 20_000, 10), (5, 100, 4_000, 5)];
    let specs: Vec<_> = ["a/b", "a/b", "a/b", "a/b", "c/d"]
        .iter()
        .enumerate()
        .map(|(number, model)| spec(model, &format!("p{number}"), 1_000, ""))
        .collect();
    let slugs: Vec<String> = (0..4).map(|number| format!("p{number}")).collect();
    let stops: Vec<(&str, &str)> = slugs.iter().map(|slug| (slug.as_str(), r#""cancel_stops_billing":true"#)).collect();
    let board = board_of(&specs, &stops, "", &Registry::default());
    for (id, first_token_ms, total_ms, sound) in USE {
        for number in 0..250 {
            let outcome = Outcome {
                first_token_ms: Some(first_token_ms),
                total_ms: Some(total_ms),
                completion_tokens: 100,
                tools: Some(number % 10 < sound),
                ..Outcome::of(Class::Success)
            };
            board.find(id).unwrap().health.note(&outcome, START_MS + number, 1);
        }
    }
    board
}

fn order(board: &Board, wishes: &Wishes, has_tools: bool, seed: u64) -> Vec<u64> {
    let need = Need { has_tools, ..Need::tokens(100, Some(100)) };
    let mut made = Plan::default();
    let models = [Named::model(0), Named::model(1)];
    plan(board, &Order { wishes, ..Order::model(&models, &need, seed) }, &mut Now(START_MS + 1_000), serves, &mut made);
    made.steps.iter().map(|step| board.entry(step.entry).id).collect()
}

#[test]
fn sorts_and_preferences_go_by_what_was_measured() {
    let board = used();
    let check = |wishes: Wishes, expected: &[u64]| assert_eq!(order(&board, &wishes, false, 1), expected, "{wishes:?}");
    let sort = |by, partition| Wishes { sort: Sort { by: Some(by), partition }, ..Wishes::NONE };
    check(sort(By::Latency, Partition::Model), &[2, 1, 4, 3, 5]);
    check(sort(By::Latency, Partition::None), &[5, 2, 1, 4, 3]);
    check(sort(By::Throughput, Partition::Model), &[3, 1, 2, 4, 5]);
    check(sort(By::Exacto, Partition::Model), &[1, 2, 3, 4, 5]);
    // Those that miss it go behind those that do not, of whatever model.
    let quick = Wishes { max_latency: Cutoffs([Some(0.5), None, None, None]), ..sort(By::Latency, Partition::Model) };
    check(quick, &[2, 1, 5, 4, 3]);
    let fast = Wishes { min_throughput: Cutoffs([None, None, Some(30.0), None]), ..sort(By::Latency, Partition::Model) };
    check(fast, &[2, 1, 3, 4, 5]);
}

#[test]
fn requests_with_tools_avoid_what_is_clearly_slower_than_its_peers() {
    let board = used();
    let last = |has_tools| (0..100).filter(|seed| order(&board, &Wishes::NONE, has_tools, *seed)[3] == 4).count();
    assert_eq!(last(true), 100);
    assert!(last(false) < 50);
}

/// The order of two endpoints, of which so many of two hundred replies with tool calls were sound, by many seeds.
fn check_two(sound: [u64; 2], sort: Option<By>, has_tools: bool, firsts: std::ops::RangeInclusive<usize>) {
    let board = board_of(&[spec("a/b", "p0", 1_000, ""), spec("a/b", "p1", 1_000, "")], &[], "", &Registry::default());
    for (id, sound) in [1, 2].into_iter().zip(sound) {
        for number in 0..200 {
            let outcome = Outcome { tools: Some(number < sound), ..Outcome::of(Class::Success) };
            board.find(id).unwrap().health.note(&outcome, START_MS + number, 1);
        }
    }
    let (need, models) = (Need { has_tools, ..Need::tokens(100, Some(100)) }, [Named::model(0)]);
    let wishes = Wishes { sort: Sort { by: sort, partition: Partition::Model }, ..Wishes::NONE };
    let second_is_first = |seed: &u64| {
        let mut made = Plan::default();
        let order = Order { wishes: &wishes, ..Order::model(&models, &need, *seed) };
        plan(&board, &order, &mut Now(START_MS + 1_000), serves, &mut made);
        board.entry(made.steps[0].entry).id == 2
    };
    let count = (0..100).filter(second_is_first).count();
    assert!(firsts.contains(&count), "{sound:?} {sort:?} {has_tools}: {count}");
}

#[test]
fn of_two_endpoints_the_one_with_sound_tool_calls_is_preferred() {
    check_two([140, 200], None, true, 100..=100);
    check_two([140, 200], Some(By::Exacto), true, 100..=100);
    check_two([200, 140], Some(By::Exacto), true, 0..=0);
    // Not by who calls no tools, by price, or where the difference may be chance.
    check_two([140, 200], None, false, 30..=70);
    check_two([140, 200], Some(By::Price), true, 0..=0);
    check_two([194, 200], None, true, 30..=70);
    check_two([194, 200], Some(By::Exacto), true, 100..=100);
}

#[test]
fn hedges_wait_for_the_slow_and_only_where_cancelling_stops_the_meter() {
    let board = used();
    let delay = |first, other, after_ms| hedge::delay_ms(board.find(first).unwrap(), board.find(other).unwrap(), START_MS + after_ms);
    let check = |first, other, expected: std::ops::RangeInclusive<u64>| {
        let delay = delay(first, other, 1_000).unwrap();
        assert!(expected.contains(&delay), "{first} {other}: {delay}");
    };
    check(1, 2, 380..=450);
    check(3, 2, 760..=900);
    for (first, other, after_ms) in [(1, 1, 1_000), (5, 1, 1_000), (1, 5, 1_000), (1, 2, 700_000)] {
        assert_eq!(delay(first, other, after_ms), None, "{first} {other} {after_ms}");
    }
}
