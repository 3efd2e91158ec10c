//! The order of the endpoints that nothing speaks against. A strategy says for each step in which group it is and at which place therein;
//! one sort does the rest.

use crate::board::{Board, Entry};
use crate::health::{Pace, Standing, State};
use crate::names::Named;
use crate::plan::{Moment, Order, Plan, Step};
use crate::random::Draws;
use crate::wishes::{By, Cutoffs, Partition, Wishes, covers};

pub(crate) mod auto;
mod balanced;
mod exacto;
mod sorted;

/// Groups of the default order: sound endpoints first, the shut-out last.
const SOUND: u8 = 0;
const SHAKY: u8 = 1;
const DOWN: u8 = 2;
const FULL: u8 = 3;
const OPEN: u8 = 4;
/// Endpoints that will probably refuse are behind all of these.
const RELUCTANT: u8 = 8;
/// Behind those that `order` names, everything else keeps its own groups.
const UNLISTED: u8 = 16;
/// Behind those of the tier that is asked for, the usual ones keep theirs.
const FALLBACK: u8 = 32;

/// Puts the steps in order.
pub(crate) fn arrange(board: &Board, order: &Order<'_>, models: &[Named], moment: &mut impl Moment, draws: &mut Draws, plan: &mut Plan) {
    // Most models have one endpoint: nothing to read, nothing to draw.
    if plan.steps.len() < 2 {
        return;
    }
    let together = order.wishes.sort.partition == Partition::None;
    let mut first = 0;
    while first < plan.steps.len() {
        let model = plan.steps[first].model;
        let same = |step: &&Step| together || step.model == model;
        let last = first + plan.steps[first..].iter().take_while(same).count();
        let sort = order.wishes.sort.by.or(models[usize::from(model)].variant.sort);
        group(board, order, sort, first..last, moment, draws, plan);
        first = last;
    }
    prefer(board, order.wishes, moment, plan);
    let model = |step: &Step| if together { 0 } else { step.model };
    plan.steps.sort_unstable_by(|left, right| {
        let front = |step: &Step| (step.is_slow, model(step), step.group);
        let order = front(left).cmp(&front(right)).then(left.place.total_cmp(&right.place));
        // What is equal keeps the catalogue's order of preference.
        order.then(left.model.cmp(&right.model)).then(left.entry.cmp(&right.entry))
    });
    stick(plan);
}

/// One model's steps, or all.
fn group(
    board: &Board,
    order: &Order<'_>,
    sort: Option<By>,
    range: std::ops::Range<usize>,
    moment: &mut impl Moment,
    draws: &mut Draws,
    plan: &mut Plan,
) {
    match sort {
        Some(by) if order.wishes.order.is_empty() => sorted::place(board, by, range.clone(), moment, plan),
        _ => {
            let tools = order.need.has_tools && order.wishes.order.is_empty();
            balanced::place(&mut plan.steps[range.clone()], draws);
            if tools {
                exacto::demote(board, range.clone(), moment, plan);
            }
        }
    }
    let asked = order.wishes.asked_tier();
    let has_tier = asked.is_some_and(|asked| plan.steps.iter().any(|step| board.entry(step.entry).is_of(asked)));
    for step in &mut plan.steps[range] {
        let entry = board.entry(step.entry);
        let falls_back = has_tier && asked.is_some_and(|asked| !entry.is_of(asked));
        if step.reluctant {
            step.group += RELUCTANT;
        }
        match listed(order.wishes, entry) {
            // As it was asked for, whatever its health: the breaker lets nobody in when it is his turn.
            Some(position) => {
                let behind_its_tier = if falls_back { 0.5 } else { 0.0 };
                (step.group, step.place) = (0, f64::from(position) + behind_its_tier + health_place(step));
                continue;
            }
            None if !order.wishes.order.is_empty() => step.group += UNLISTED,
            None => {}
        }
        if falls_back {
            step.group += FALLBACK;
        }
    }
}

/// Where several endpoints have the same place in `order`, the sound ones go first.
fn health_place(step: &Step) -> f64 {
    f64::from(health_group(step)) / 16.0
}

/// The position in `order` that names an entry; of a tier, else the one that names its endpoint.
pub(crate) fn listed(wishes: &Wishes, entry: &Entry) -> Option<u16> {
    let position = |names: &dyn Fn(&str) -> bool| wishes.order.iter().position(|slug| names(slug));
    let found = position(&|slug| covers(slug, &entry.tag)).or_else(|| position(&|slug| entry.is_sold_by(slug)));
    found.map(|position| position as u16)
}

/// The group that its health puts a step into.
fn health_group(step: &Step) -> u8 {
    let pulse = &step.pulse;
    match (pulse.state, pulse.standing) {
        (State::Open, _) => OPEN,
        _ if pulse.is_full => FULL,
        // One request shall find out: where it stands among the sound ones, it will soon be the first.
        (State::Due, _) => SOUND,
        (State::Closed, Standing::Down) => DOWN,
        (State::Closed, Standing::Degraded) => SHAKY,
        (State::Closed, Standing::Normal) => {
            if pulse.outage {
                SHAKY
            } else {
                SOUND
            }
        }
    }
}

/// Endpoints that miss what is preferred go behind those that do not; those of which nothing is known miss nothing.
fn prefer(board: &Board, wishes: &Wishes, moment: &mut impl Moment, plan: &mut Plan) {
    if wishes.min_throughput == Cutoffs::NONE && wishes.max_latency == Cutoffs::NONE {
        return;
    }
    for position in 0..plan.steps.len() {
        let pace = plan.pace(position, board, moment);
        plan.steps[position].is_slow = is_slow(wishes, &pace);
    }
}

/// Where the percentiles of [`Cutoffs`] stand among those that are kept: of latencies that so many requests stay below, and of throughputs
/// that so many stay above.
const BELOW: [usize; 4] = [3, 4, 5, 7];
const ABOVE: [usize; 4] = [3, 2, 1, 0];

fn is_slow(wishes: &Wishes, pace: &Pace) -> bool {
    let Pace { first_token_ms: latency, throughput, .. } = pace;
    let late = |(cutoff, kept): (&Option<f64>, usize)| cutoff.is_some_and(|seconds| f64::from(latency.values[kept]) > seconds * 1000.0);
    let low = |(cutoff, kept): (&Option<f64>, usize)| cutoff.is_some_and(|least| f64::from(throughput.values[kept]) < least * 10.0);
    latency.samples > 0 && wishes.max_latency.0.iter().zip(BELOW).any(late)
        || throughput.samples > 0 && wishes.min_throughput.0.iter().zip(ABOVE).any(low)
}

/// The endpoint that has the prompt in its cache goes first, unless it is in no state to answer or of another tier than is asked for.
fn stick(plan: &mut Plan) {
    let pinned = plan.steps.iter().position(|step| step.pinned && health_group(step) == SOUND && step.group < FALLBACK);
    if let Some(position) = pinned.filter(|position| *position > 0) {
        plan.steps[..=position].rotate_right(1);
    }
}

#[cfg(test)]
mod tests;
