//! Why a decision fell as it did.

use crate::board::Board;
use crate::health::{Pace, Pulse, ToolCalls};
use crate::plan::Plan;
use serde::Serialize;

/// A decision as it is shown.
#[derive(Debug, Serialize)]
pub struct Explanation<'a> {
    /// What the draw came out of.
    pub seed: u64,
    /// What may be tried, in order.
    pub candidates: Vec<Candidate<'a>>,
    /// What is out.
    pub removed: Vec<Out<'a>>,
}

/// An endpoint that may be tried.
#[derive(Debug, Serialize)]
pub struct Candidate<'a> {
    /// Stable id of the endpoint.
    pub endpoint: u64,
    /// Catalogue id of the model.
    pub model: &'a str,
    /// What `order`, `only` and `ignore` know the endpoint by.
    pub provider: &'a str,
    /// In which dialect.
    pub dialect: &'static str,
    /// What the request is expected to cost, in US dollars.
    pub expected_usd: f64,
    /// Its chance to be drawn first among its model's, as far as it was held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chance: Option<f64>,
    /// The conversation's prompt is in its cache.
    pub pinned: bool,
    /// It misses the preferred throughput or latency.
    pub slow: bool,
    /// It will probably refuse what is asked.
    pub reluctant: bool,
    /// Health at that moment.
    pub health: Shown,
}

/// Health as it is shown.
#[derive(Debug, Serialize)]
pub struct Shown {
    #[serde(flatten)]
    state: ShownPulse,
    /// The median of the time to the first token, where the order needed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_token_ms: Option<u32>,
    /// The median throughput, where the order needed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_per_second: Option<f64>,
    /// How many replies called tools soundly, and how many did not, where the order needed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<ToolCalls>,
}

#[derive(Debug, Serialize)]
struct ShownPulse {
    breaker: crate::health::State,
    outage: bool,
    standing: crate::health::Standing,
    share: f64,
    full: bool,
}

/// An endpoint that is out.
#[derive(Debug, Serialize)]
pub struct Out<'a> {
    /// Stable id of the endpoint.
    pub endpoint: u64,
    /// Catalogue id of the model.
    pub model: &'a str,
    /// What `order`, `only` and `ignore` know the endpoint by.
    pub provider: &'a str,
    /// The filter that removed it.
    pub excluded_by: &'static str,
    /// What would let it in.
    pub relax: String,
}

const PICO: f64 = 1e12;
const MEDIAN: usize = 3;

impl<'a> Explanation<'a> {
    /// Explains a plan that was made on this board.
    pub fn new(board: &'a Board, plan: &Plan, seed: u64) -> Explanation<'a> {
        // Of a model's endpoints only those of its front group are drawn; the others stand behind whoever is.
        let front = |model: u16| plan.steps.iter().find(|step| step.model == model);
        let is_drawn =
            |step: &crate::Step| front(step.model).is_some_and(|front| (front.is_slow, front.group) == (step.is_slow, step.group));
        let total = |model: u16| {
            let drawn = plan.steps.iter().filter(|step| step.model == model && is_drawn(step));
            drawn.map(|step| step.weight).sum::<f64>()
        };
        let chance = |step: &crate::Step| if is_drawn(step) { step.weight / total(step.model) } else { 0.0 };
        let candidate = |step: &crate::Step| {
            let entry = board.entry(step.entry);
            let pace = plan.paces.iter().find(|(position, _)| *position == step.entry).map(|(_, pace)| pace);
            Candidate {
                endpoint: entry.id,
                model: &board.model(entry).id,
                provider: &entry.tag,
                dialect: step.dialect.name(),
                expected_usd: step.expected_pico / PICO,
                chance: (step.weight > 0.0).then(|| chance(step)),
                pinned: step.pinned,
                slow: step.is_slow,
                reluctant: step.reluctant,
                health: shown(&step.pulse, pace),
            }
        };
        let out = |removed: &crate::Removed| {
            let entry = board.entry(removed.entry);
            Out {
                endpoint: entry.id,
                model: &board.model(entry).id,
                provider: &entry.tag,
                excluded_by: removed.reason.word(),
                relax: removed.reason.relax(),
            }
        };
        Explanation { seed, candidates: plan.steps.iter().map(candidate).collect(), removed: plan.removed.iter().map(out).collect() }
    }
}

fn shown(pulse: &Pulse, pace: Option<&Pace>) -> Shown {
    let Pulse { state: breaker, outage, standing, ramp, is_full: full, .. } = *pulse;
    let state = ShownPulse { breaker, outage, standing, share: f64::from(ramp) / f64::from(crate::health::FULL_SHARE), full };
    let latency = pace.map(|pace| &pace.first_token_ms).filter(|latency| latency.samples > 0);
    let throughput = pace.map(|pace| &pace.throughput).filter(|throughput| throughput.samples > 0);
    Shown {
        state,
        first_token_ms: latency.map(|latency| latency.values[MEDIAN]),
        tokens_per_second: throughput.map(|throughput| f64::from(throughput.values[MEDIAN]) / 10.0),
        tool_calls: pace.and_then(|pace| ToolCalls::of(pace.tools)),
    }
}
