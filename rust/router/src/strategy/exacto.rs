//! Requests with tools: endpoints that are clearly slower, or clearly worse at calling tools, than their peers go behind them.

use super::DOWN;
use crate::board::Board;
use crate::health::Pace;
use crate::plan::{Moment, Plan};
use std::ops::Range;

/// Of fewer peers nothing can be said to be unlike them.
const LEAST_PEERS: usize = 4;
/// Fewer measurements say nothing.
const LEAST_REQUESTS: u32 = 100;
const LEAST_TOOL_REQUESTS: u32 = 200;
/// How far below the median is clearly below, in deviations.
const SLOW: f64 = 1.5;
const CLUMSY: f64 = 2.0;
/// The same of two that are compared with each other, in deviations of the difference.
const CLUMSIER: f64 = 3.0;
/// A median absolute deviation times this is a standard deviation.
const TO_SIGMA: f64 = 1.4826;
/// Where the peers are all alike, a hair's breadth is still no difference.
const LEAST_DISTANCE: f64 = 0.05;
const MEDIAN: usize = 3;

fn throughput(pace: &Pace) -> Option<f64> {
    (pace.throughput.samples >= LEAST_REQUESTS).then(|| f64::from(pace.throughput.values[MEDIAN]))
}

fn success(pace: &Pace) -> Option<f64> {
    let (sound, unsound) = pace.tools;
    (sound + unsound >= LEAST_TOOL_REQUESTS).then(|| f64::from(sound) / f64::from(sound + unsound))
}

/// The best at calling tools first; those of which too little is known behind.
pub(super) fn place(pace: &Pace) -> f64 {
    success(pace).map_or(1.0, |success| -success)
}

/// Moves the clearly worse into the group of those that are a fallback only.
pub(super) fn demote(board: &Board, range: Range<usize>, moment: &mut impl Moment, plan: &mut Plan) {
    if range.len() < 2 {
        return;
    }
    let slow = floor(board, range.clone(), moment, plan, throughput, SLOW);
    let clumsy = floor(board, range.clone(), moment, plan, success, CLUMSY);
    let best = if clumsy.is_none() { best(board, range.clone(), moment, plan) } else { None };
    if slow.is_none() && clumsy.is_none() && best.is_none() {
        return;
    }
    let below = |figure: Option<f64>, floor: Option<f64>| figure.zip(floor).is_some_and(|(figure, floor)| figure < floor);
    for position in range {
        let pace = plan.pace(position, board, moment);
        let is_clumsy = below(success(&pace), clumsy) || best.is_some_and(|best| is_clearly_worse(&pace, &best));
        if below(throughput(&pace), slow) || is_clumsy {
            plan.steps[position].group = plan.steps[position].group.max(DOWN);
        }
    }
}

/// Whoever is best at calling tools.
fn best(board: &Board, range: Range<usize>, moment: &mut impl Moment, plan: &mut Plan) -> Option<Pace> {
    let mut best: Option<Pace> = None;
    for position in range {
        let pace = plan.pace(position, board, moment);
        if success(&pace) > best.as_ref().and_then(success) {
            best = Some(pace);
        }
    }
    best
}

/// Too few to know how peers differ are held against the best of them: the difference is none that chance makes.
fn is_clearly_worse(pace: &Pace, best: &Pace) -> bool {
    let (Some(own), Some(most)) = (success(pace), success(best)) else { return false };
    let [count, best_count] = [pace, best].map(|pace| f64::from(pace.tools.0 + pace.tools.1));
    let share = (own * count + most * best_count) / (count + best_count);
    let sigma = (share * (1.0 - share) * (1.0 / count + 1.0 / best_count)).sqrt();
    own < most - (CLUMSIER * sigma).max(most * LEAST_DISTANCE)
}

/// What is clearly below the others.
fn floor(
    board: &Board,
    range: Range<usize>,
    moment: &mut impl Moment,
    plan: &mut Plan,
    figure: impl Fn(&Pace) -> Option<f64>,
    sigmas: f64,
) -> Option<f64> {
    plan.figures.clear();
    for position in range {
        let figure = figure(&plan.pace(position, board, moment));
        plan.figures.extend(figure);
    }
    floor_of(&mut plan.figures, sigmas)
}

fn floor_of(figures: &mut [f64], sigmas: f64) -> Option<f64> {
    if figures.len() < LEAST_PEERS {
        return None;
    }
    let middle = median(figures);
    figures.iter_mut().for_each(|figure| *figure = (*figure - middle).abs());
    let distance = sigmas * TO_SIGMA * median(figures);
    Some(middle - distance.max(middle * LEAST_DISTANCE))
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    let half = figures.len() / 2;
    if figures.len().is_multiple_of(2) { f64::midpoint(figures[half - 1], figures[half]) } else { figures[half] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_are_below_the_floor_and_peers_are_not() {
        let floor = floor_of(&mut [50.0, 52.0, 48.0, 51.0, 10.0], SLOW);
        assert!(floor.is_some_and(|floor| (10.0..48.0).contains(&floor)), "{floor:?}");
        assert_eq!(floor_of(&mut [50.0, 1.0, 2.0], SLOW), None);
        assert_eq!(floor_of(&mut [1.0, 1.0, 1.0, 0.99], CLUMSY), Some(0.95));
    }

    #[test]
    fn of_two_the_clearly_worse_is_worse() {
        for (own, best, expected) in [
            ((140, 60), (200, 0), true),
            ((140, 59), (200, 0), false),
            ((140, 60), (199, 0), false),
            ((192, 8), (200, 0), false),
            ((185, 15), (198, 2), true),
            ((160, 40), (176, 24), false),
            ((1600, 400), (1760, 240), true),
            ((0, 200), (0, 200), false),
        ] {
            let pace = |tools| Pace { tools, ..Pace::default() };
            assert_eq!(is_clearly_worse(&pace(own), &pace(best)), expected, "{own:?} {best:?}");
        }
    }
}
