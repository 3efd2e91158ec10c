//! `openrouter/auto` and `openrouter/free`: which models, from what is known here. Auto takes the fifth of the models, by what this request
//! would cost there, that fits the size of the task, and draws among those by how much they are used and by how well it goes.

use crate::board::Board;
use crate::names::{Auto, CostTier, Named, Pick, Variant};
use crate::need::Way;
use crate::plan::{Moment, Order, Plan, collect};
use crate::random::Draws;
use fairlead_snapshot::Endpoint;

/// A prompt below so many tokens without tools is a small task, above the other a large one.
const SMALL_TOKENS: u64 = 2_000;
const LARGE_TOKENS: u64 = 32_000;
/// So many models are kept, the first choice and what may follow.
const MOST_MODELS: usize = 5;

/// A model that could serve.
struct Eligible {
    model: usize,
    pico: f64,
    used: u32,
}

/// Puts the picked models into the plan, in order.
pub(crate) fn pick(
    board: &Board,
    order: &Order<'_>,
    moment: &mut impl Moment,
    serves: &impl Fn(&Endpoint) -> Option<Way>,
    draws: &mut Draws,
    plan: &mut Plan,
) {
    let auto = if let Pick::Auto(auto) = order.pick { Some(auto) } else { None };
    let may_pick = |named: &Named| auto.is_none_or(|auto| auto.may_pick(&board.snapshot().models[named.model].id));
    let pool: Vec<Named> = order.pool.iter().copied().filter(may_pick).collect();
    collect(board, order, &pool, moment, serves, plan);
    let pinned = plan.steps.iter().find(|step| step.pinned).map(|step| board.entry(step.entry).model);
    let mut eligible = eligible(board, order, moment, plan);
    if let Some(auto) = auto {
        eligible = band(eligible, auto, order);
    }
    let mut placed: Vec<(f64, usize)> =
        eligible.iter().map(|eligible| (-draws.unit().ln() / f64::from(eligible.used + 1), eligible.model)).collect();
    placed.sort_unstable_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
    let drawn = placed.into_iter().map(|(_, model)| model).filter(|model| Some(*model) != pinned);
    // The suffixes of a router are those of all that it picks from.
    let variant = pool.first().map_or(Variant::PLAIN, |named| named.variant);
    plan.models.extend(pinned.into_iter().chain(drawn).take(MOST_MODELS).map(|model| Named { model, variant }));
}

/// The models that something serves: what the request costs there at least, and how much they are used.
fn eligible(board: &Board, order: &Order<'_>, moment: &mut impl Moment, plan: &mut Plan) -> Vec<Eligible> {
    let mut found: Vec<Eligible> = Vec::new();
    for position in 0..plan.steps.len() {
        let step = plan.steps[position];
        let model = board.entry(step.entry).model;
        // Free models share alike.
        let used = if matches!(order.pick, Pick::Free) { 0 } else { plan.pace(position, board, moment).day };
        match found.last_mut().filter(|last| last.model == model) {
            Some(last) => {
                last.pico = last.pico.min(step.expected_pico);
                last.used = last.used.saturating_add(used);
            }
            None => found.push(Eligible { model, pico: step.expected_pico, used }),
        }
    }
    found
}

/// The fifth that is asked for or fits the task; never none.
fn band(mut eligible: Vec<Eligible>, auto: &Auto, order: &Order<'_>) -> Vec<Eligible> {
    let tier = auto.cost_tier.unwrap_or_else(|| tier_of_task(order));
    eligible.sort_unstable_by(|left, right| left.pico.total_cmp(&right.pico).then(left.model.cmp(&right.model)));
    let (count, fifths) = (eligible.len(), CostTier::ALL.len());
    let fifth = CostTier::ALL.iter().position(|(_, known)| *known == tier).unwrap_or_default();
    let first = (count * fifth / fifths).min(count.saturating_sub(1));
    let last = (count * (fifth + 1)).div_ceil(fifths).max(first + 1).min(count);
    eligible.drain(first..last).collect()
}

fn tier_of_task(order: &Order<'_>) -> CostTier {
    match (order.need.prompt_tokens, order.need.has_tools) {
        (0..SMALL_TOKENS, false) => CostTier::Low,
        (0..LARGE_TOKENS, false) => CostTier::Medium,
        (0..LARGE_TOKENS, true) => CostTier::High,
        (LARGE_TOKENS.., _) => CostTier::Xhigh,
    }
}
