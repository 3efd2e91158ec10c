use super::*;
use crate::health::Percentiles;

#[test]
fn percentiles_are_compared_from_the_right_end() {
    // At 1, 10, 25, 50, 75, 90, 95 and 99 %.
    let latency = Percentiles { samples: 100, values: [100, 200, 300, 400, 500, 600, 700, 800] };
    let throughput = Percentiles { samples: 100, values: [100, 200, 300, 400, 500, 600, 700, 800] };
    let pace = Pace { first_token_ms: latency, throughput, ..Pace::default() };
    let check = |cutoffs: [Option<f64>; 4], latency: bool, throughput: bool| {
        let late = Wishes { max_latency: Cutoffs(cutoffs), ..Wishes::NONE };
        let slow = Wishes { min_throughput: Cutoffs(cutoffs.map(|cutoff| cutoff.map(|figure| figure * 100.0))), ..Wishes::NONE };
        assert_eq!((is_slow(&late, &pace), is_slow(&slow, &pace)), (latency, throughput), "{cutoffs:?}");
    };
    // Seconds, and tokens per second that are kept as tenths.
    check([Some(0.4), None, None, None], false, false);
    check([Some(0.39), None, None, None], true, false);
    check([Some(0.41), None, None, None], false, true);
    check([None, Some(0.5), None, None], false, true);
    check([None, None, Some(0.6), None], false, true);
    check([None, None, None, Some(0.1)], true, false);
    check([Some(0.4), None, None, Some(0.79)], true, true);
    let unknown = Wishes { max_latency: Cutoffs([Some(0.001), None, None, None]), ..Wishes::NONE };
    assert!(!is_slow(&unknown, &Pace::default()), "of an endpoint that nobody has measured nothing bad is known");
}
