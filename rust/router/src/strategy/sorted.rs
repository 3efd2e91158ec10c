//! A strict order by one figure. Health does not change it: who asks for the cheapest gets the cheapest that lets a request in.

use super::exacto;
use crate::board::Board;
use crate::plan::{Moment, Plan};
use crate::wishes::By;
use std::ops::Range;

/// The median among the kept percentiles.
const MEDIAN: usize = 3;

pub(super) fn place(board: &Board, by: By, range: Range<usize>, moment: &mut impl Moment, plan: &mut Plan) {
    for position in range.clone() {
        let place = match by {
            By::Price => plan.steps[position].expected_pico,
            By::Latency => {
                let latency = plan.pace(position, board, moment).first_token_ms;
                if latency.samples == 0 { f64::INFINITY } else { f64::from(latency.values[MEDIAN]) }
            }
            By::Throughput => -f64::from(plan.pace(position, board, moment).throughput.values[MEDIAN]),
            By::Exacto => exacto::place(&plan.pace(position, board, moment)),
        };
        let step = &mut plan.steps[position];
        (step.group, step.place) = (0, place);
    }
    if by == By::Exacto {
        exacto::demote(board, range, moment, plan);
    }
}
