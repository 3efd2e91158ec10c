use crate::world::{board, serves, spec};
use fairlead_router::names::Named;
use fairlead_router::{Need, Now, Order, Plan, plan};

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
