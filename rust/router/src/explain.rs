//! Why a decision fell as it did, and what it takes to make the same one again.

use crate::board::Board;
use crate::health::{Pace, Pulse};
use crate::names::{Auto, Named, Pick, Variant};
use crate::need::{Need, Way};
use crate::plan::{Moment, Now, Order, Plan, plan};
use crate::sticky::Pin;
use crate::wishes::Wishes;
use fairlead_snapshot::Endpoint;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

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
        let total = |model: u16| plan.steps.iter().filter(|step| step.model == model).map(|step| step.weight).sum::<f64>();
        let candidate = |step: &crate::Step| {
            let entry = board.entry(step.entry);
            let pace = plan.paces.iter().find(|(position, _)| *position == step.entry).map(|(_, pace)| pace);
            Candidate {
                endpoint: entry.id,
                model: &board.model(entry).id,
                provider: &entry.tag,
                dialect: step.dialect.name(),
                expected_usd: step.expected_pico / PICO,
                chance: (step.weight > 0.0).then(|| step.weight / total(step.model)),
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
    }
}

/// Health as it is, each figure read once and remembered: what another worker changes meanwhile would make a record that never was. For
/// decisions that are logged.
#[derive(Debug)]
pub struct Recording {
    now: Now,
    pulses: HashMap<u64, Pulse>,
    paces: HashMap<u64, Pace>,
}

impl Recording {
    /// A recording that begins now.
    pub fn new(now: Now) -> Recording {
        Recording { now, pulses: HashMap::new(), paces: HashMap::new() }
    }
}

impl Moment for Recording {
    fn pulse(&mut self, entry: &crate::Entry, need: &Need) -> Pulse {
        let Recording { now, pulses, .. } = self;
        *pulses.entry(entry.health_id).or_insert_with(|| now.pulse(entry, need))
    }

    fn pace(&mut self, entry: &crate::Entry) -> Pace {
        let Recording { now, paces, .. } = self;
        *paces.entry(entry.health_id).or_insert_with(|| now.pace(entry))
    }
}

/// What is not as always, in the order of ids: most endpoints of most decisions are well, and say nothing.
fn told<T: Default + PartialEq>(read: HashMap<u64, T>) -> Vec<(u64, T)> {
    let mut told: Vec<(u64, T)> = read.into_iter().filter(|(_, value)| *value != T::default()).collect();
    told.sort_unstable_by_key(|(id, _)| *id);
    told
}

/// All that a decision went by, but for the descriptions of endpoints and what their dialects make of the request: with the same of both
/// the decision is the same, with others it is what they would have decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    seed: u64,
    /// Catalogue ids: positions change with the configuration.
    models: Vec<(String, Variant)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    router: Option<Router>,
    need: Need,
    #[serde(default, skip_serializing_if = "nothing")]
    wishes: Wishes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pin: Option<Pin>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pulses: Vec<(u64, Pulse)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    paces: Vec<(u64, Pace)>,
}

fn nothing(wishes: &Wishes) -> bool {
    *wishes == Wishes::NONE
}

/// A router, with what it may pick from; `None`: every model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Router {
    auto: Option<Auto>,
    pool: Option<Vec<String>>,
}

impl Inputs {
    /// What a decision went by, once it is made with this recording.
    pub fn new(board: &Board, order: &Order<'_>, recording: Recording) -> Inputs {
        let id = |model: usize| board.snapshot().models[model].id.to_string();
        let pool = || {
            let all = order.pool.len() == board.snapshot().models.len();
            (!all).then(|| order.pool.iter().map(|model| id(*model)).collect())
        };
        Inputs {
            seed: order.seed,
            models: order.models.iter().map(|named| (id(named.model), named.variant)).collect(),
            router: match order.pick {
                Pick::Listed => None,
                Pick::Auto(auto) => Some(Router { auto: Some(auto.clone()), pool: pool() }),
                Pick::Free => Some(Router { auto: None, pool: pool() }),
            },
            need: *order.need,
            wishes: order.wishes.clone(),
            pin: order.pin,
            pulses: told(recording.pulses),
            paces: told(recording.paces),
        }
    }

    /// As a line of a log.
    ///
    /// # Errors
    /// None that these inputs could have.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    /// From a line of a log.
    ///
    /// # Errors
    /// It is none.
    pub fn from_json(json: &[u8]) -> serde_json::Result<Inputs> {
        serde_json::from_slice(json)
    }
}

/// Health as it was.
struct Recorded<'a> {
    pulses: HashMap<u64, &'a Pulse>,
    paces: HashMap<u64, &'a Pace>,
}

impl Moment for Recorded<'_> {
    fn pulse(&mut self, entry: &crate::Entry, _: &Need) -> Pulse {
        self.pulses.get(&entry.health_id).map_or_else(Pulse::default, |pulse| **pulse)
    }

    fn pace(&mut self, entry: &crate::Entry) -> Pace {
        self.paces.get(&entry.health_id).map_or_else(Pace::default, |pace| **pace)
    }
}

/// Decides again, on this board, what was decided by these inputs. Models that the board does not have are left out.
pub fn replay(board: &Board, inputs: &Inputs, serves: impl Fn(&Endpoint) -> Option<Way>, into: &mut Plan) {
    let find = |id: &str| board.snapshot().find(id).map(|found| found.model);
    let named = |(id, variant): &(String, Variant)| find(id).map(|model| Named { model, variant: *variant });
    let models: Vec<Named> = inputs.models.iter().filter_map(named).collect();
    let pool = inputs.router.as_ref().map_or_else(Vec::new, |router| match &router.pool {
        Some(ids) => ids.iter().filter_map(|id| find(id)).collect(),
        None => (0..board.snapshot().models.len()).collect(),
    });
    let pick = match &inputs.router {
        None => Pick::Listed,
        Some(Router { auto: Some(auto), .. }) => Pick::Auto(auto.clone()),
        Some(Router { auto: None, .. }) => Pick::Free,
    };
    let Inputs { seed, need, wishes, pin, .. } = inputs;
    let order = Order { pick: &pick, pool: &pool, models: &models, wishes, need, pin: *pin, seed: *seed };
    let mut recorded = Recorded {
        pulses: inputs.pulses.iter().map(|(id, pulse)| (*id, pulse)).collect(),
        paces: inputs.paces.iter().map(|(id, pace)| (*id, pace)).collect(),
    };
    plan(board, &order, &mut recorded, serves, into);
}

/// Sets of names, prices and figures as they are written down: by name and exactly, so that what is read is what was meant.
pub(crate) mod exact {
    use fairlead_ir::PicoUsd;
    use fairlead_snapshot::facts::{Names, Vocabulary};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) mod names {
        use super::{Deserialize, Deserializer, Error, Names, Serialize, Serializer, Vocabulary};

        pub(crate) fn serialize<V: Vocabulary, S: Serializer>(names: &Names<V>, serializer: S) -> Result<S::Ok, S::Error> {
            names.names().collect::<Vec<_>>().serialize(serializer)
        }

        pub(crate) fn deserialize<'de, V: Vocabulary, D: Deserializer<'de>>(deserializer: D) -> Result<Names<V>, D::Error> {
            let names = Vec::<String>::deserialize(deserializer)?;
            Names::from_names(&names).map_err(|position| D::Error::custom(format!("{:?} is no {}", names.get(position), V::WHAT)))
        }
    }

    pub(crate) mod tier {
        use super::{Deserialize, Deserializer, Error, Serialize, Serializer};
        use fairlead_ir::Tier;

        #[expect(clippy::ref_option, reason = "serde hands it over so")]
        pub(crate) fn serialize<S: Serializer>(tier: &Option<Tier>, serializer: S) -> Result<S::Ok, S::Error> {
            tier.map(Tier::name).serialize(serializer)
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Tier>, D::Error> {
            let word = Option::<String>::deserialize(deserializer)?;
            let known = |word: String| Tier::from_word(word.as_bytes()).ok_or_else(|| D::Error::custom(format!("{word:?} is no tier")));
            word.map(known).transpose()
        }
    }

    pub(crate) mod price {
        use super::{Deserialize, Deserializer, PicoUsd, Serialize, Serializer};

        #[expect(clippy::ref_option, reason = "serde hands it over so")]
        pub(crate) fn serialize<S: Serializer>(price: &Option<PicoUsd>, serializer: S) -> Result<S::Ok, S::Error> {
            price.map(|price| price.0).serialize(serializer)
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PicoUsd>, D::Error> {
            Ok(Option::<u64>::deserialize(deserializer)?.map(PicoUsd))
        }
    }

    /// Bits: a decimal that is read back may be the neighbour.
    pub(crate) mod cutoffs {
        use super::{Deserialize, Deserializer, Serialize, Serializer};

        pub(crate) fn serialize<S: Serializer>(cutoffs: &[Option<f64>; 4], serializer: S) -> Result<S::Ok, S::Error> {
            cutoffs.map(|cutoff| cutoff.map(f64::to_bits)).serialize(serializer)
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[Option<f64>; 4], D::Error> {
            Ok(<[Option<u64>; 4]>::deserialize(deserializer)?.map(|cutoff| cutoff.map(f64::from_bits)))
        }
    }
}
