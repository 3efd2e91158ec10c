//! A decision: which endpoints, in which order, and what was left out.

use crate::board::{Board, Entry};
use crate::filter::{Demand, Reason};
use crate::health::{Pace, Pulse};
use crate::names::{Named, Pick, Variant};
use crate::need::{Need, Way};
use crate::random::Draws;
use crate::sticky::{Pin, ROUTER_HASH, key};
use crate::strategy::{self, auto};
use crate::wishes::Wishes;
use fairlead_ir::{Dialect, Tier};
use fairlead_snapshot::{Endpoint, Modalities, Parameters};

/// What a request asks for, and when. The same order on the same board with the same health gives the same plan.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// How models are picked.
    pub pick: &'a Pick,
    /// What a router may pick from.
    pub pool: &'a [Named],
    /// The models, in order.
    pub models: &'a [Named],
    /// What it wants.
    pub wishes: &'a Wishes,
    /// What it needs.
    pub need: &'a Need,
    /// Where its conversation is pinned ([`Order::pinned`]).
    pub pin: Option<Pin>,
    /// Everything random comes out of this.
    pub seed: u64,
}

impl<'a> Order<'a> {
    /// One model by its plain name, nothing wished.
    pub const fn model(models: &'a [Named], need: &'a Need, seed: u64) -> Order<'a> {
        Order { pick: &Pick::Listed, pool: &[], models, wishes: &NOTHING, need, pin: None, seed }
    }

    /// The same, with where its conversation is pinned.
    #[must_use]
    pub fn pinned(self, board: &Board, pins: &crate::Pins, now_ms: u64) -> Order<'a> {
        if self.need.conversation.is_none() || self.wishes.has_order() {
            return self;
        }
        let hash = match self.pick {
            Pick::Listed => self.models.first().map(|named| board.model_hash(named.model)),
            Pick::Auto(_) | Pick::Free => Some(ROUTER_HASH),
        };
        Order { pin: hash.and_then(|hash| key(self.need, hash)).and_then(|key| pins.get(key, now_ms)), ..self }
    }
}

static NOTHING: Wishes = Wishes::NONE;

/// Where health is read from: as it is, or as it was.
pub trait Moment {
    /// What every decision needs to know.
    fn pulse(&mut self, entry: &Entry, need: &Need) -> Pulse;
    /// What only some orders need to know.
    fn pace(&mut self, entry: &Entry) -> Pace;
}

/// Health as it is.
#[derive(Clone, Copy, Debug)]
pub struct Now(
    /// Milliseconds; never backwards.
    pub u64,
);

impl Moment for Now {
    fn pulse(&mut self, entry: &Entry, need: &Need) -> Pulse {
        entry.pulse(self.0, need.tokens_at_most())
    }

    fn pace(&mut self, entry: &Entry) -> Pace {
        entry.health.pace(self.0)
    }
}

/// An endpoint that may be tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Its position on the board.
    pub entry: usize,
    /// Position of its model in the order that was asked for.
    pub model: u16,
    /// In which dialect.
    pub dialect: Dialect,
    /// It will probably refuse.
    pub reluctant: bool,
    /// The endpoint has the conversation's prompt in its cache.
    pub pinned: bool,
    /// Which key to use if it is free: the one whose cache it is.
    pub key: Option<u16>,
    /// What the request is expected to cost here, in pico-dollars.
    pub expected_pico: f64,
    /// What it weighed in the draw; 0 where none was held.
    pub weight: f64,
    /// Health at that moment.
    pub pulse: Pulse,
    /// Behind those that meet the preferred throughput and latency.
    pub is_slow: bool,
    /// Its group inside its model; the lower go first.
    pub(crate) group: u8,
    /// Its place inside its group; the lower go first.
    pub(crate) place: f64,
    /// Where its pace stands in [`Plan::paces`], once it was read.
    pace: Option<u16>,
}

/// An endpoint that is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Its position on the board.
    pub entry: usize,
    /// Why.
    pub reason: Reason,
}

/// A decision. It can be used again for the next one, and keeps its memory.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What may be tried, the first choice first.
    pub steps: Vec<Step>,
    /// What is out.
    pub removed: Vec<Removed>,
    /// What was read of those whose order needed it, for the record: by position on the board.
    pub paces: Vec<(usize, Pace)>,
    /// A router picked the models.
    pub through_router: bool,
    pub(crate) models: Vec<Named>,
    /// Room for what a strategy compares.
    pub(crate) figures: Vec<f64>,
}

impl Plan {
    pub(crate) fn clear(&mut self) {
        self.steps.clear();
        self.removed.clear();
        self.paces.clear();
        self.models.clear();
        self.through_router = false;
    }

    /// What was read of a step's endpoint for this decision, reading it once.
    pub(crate) fn pace(&mut self, step: usize, board: &Board, moment: &mut impl Moment) -> Pace {
        let entry = self.steps[step].entry;
        if let Some(known) = self.steps[step].pace {
            return self.paces[usize::from(known)].1;
        }
        let pace = moment.pace(board.entry(entry));
        self.steps[step].pace = u16::try_from(self.paces.len()).ok();
        self.paces.push((entry, pace));
        pace
    }

    /// What the request said of a step's model beside its name.
    pub fn variant(&self, step: &Step) -> Variant {
        self.models.get(usize::from(step.model)).map_or(Variant::PLAIN, |named| named.variant)
    }

    /// The reason that keeps most endpoints out, for an error; that they are of another tier, or cost something, only where nothing else does.
    pub fn main_reason(&self) -> Option<Reason> {
        let same = |reason: Reason| self.removed.iter().filter(|removed| removed.reason.word() == reason.word()).count();
        self.removed.iter().map(|removed| removed.reason).max_by_key(|reason| (reason.rank(), same(*reason)))
    }

    /// The position on the board of the endpoint that has the conversation's prompt in its cache, if it may be tried.
    pub fn pinned(&self) -> Option<usize> {
        self.steps.iter().find(|step| step.pinned).map(|step| step.entry)
    }

    /// Why nothing can be tried, and what would change that; for a 404. Endpoints that the same would let in share the advice.
    pub fn refusal(&self, board: &Board) -> String {
        const SHOWN: usize = 5;
        let mut groups: Vec<(Reason, Vec<String>)> = Vec::new();
        let mut told: Vec<&Removed> = self.removed.iter().collect();
        // A router looks at every model: what only follows from the rest would leave no room for the cause.
        told.sort_by_key(|removed| std::cmp::Reverse(removed.reason.rank()));
        for Removed { entry, reason } in told.into_iter().take(SHOWN) {
            let entry = board.entry(*entry);
            let named = format!("{} at {}", board.model(entry).id, entry.tag);
            match groups.iter_mut().find(|(other, _)| other.is_relaxed_like(*reason)) {
                Some((_, endpoints)) => endpoints.push(named),
                None => groups.push((*reason, vec![named])),
            }
        }
        let mut text = match self.main_reason() {
            // OpenRouter's words, which clients look for.
            Some(Reason::Inputs(missing)) => {
                format!("no endpoints found that support {} input:", missing.names().collect::<Vec<_>>().join(" and "))
            }
            _ => "no endpoint satisfies this request:".to_owned(),
        };
        for (reason, endpoints) in groups {
            text.push_str(&format!(" {} ({}: {});", endpoints.join(", "), reason.word(), reason.relax()));
        }
        if self.removed.len() > SHOWN {
            text.push_str(&format!(" and {} more", self.removed.len() - SHOWN));
        }
        text.trim_end_matches([';', ':']).to_owned()
    }
}

/// Decides. `serves` says how an endpoint would be spoken to about this request, if it can be; `plan` is overwritten.
pub fn plan(board: &Board, order: &Order<'_>, moment: &mut impl Moment, serves: impl Fn(&Endpoint) -> Option<Way>, plan: &mut Plan) {
    plan.clear();
    let mut draws = Draws::new(order.seed);
    match order.pick {
        Pick::Listed => plan.models.extend_from_slice(order.models),
        Pick::Auto(_) | Pick::Free => {
            plan.through_router = true;
            auto::pick(board, order, moment, &serves, &mut draws, plan);
            plan.steps.clear();
            plan.paces.clear();
            // Where nothing is picked, what stood in the way is worth telling.
            if !plan.models.is_empty() {
                plan.removed.clear();
            }
            plan.models.extend(order.models);
        }
    }
    let models = std::mem::take(&mut plan.models);
    collect(board, order, &models, moment, &serves, plan);
    strategy::arrange(board, order, &models, moment, &mut draws, plan);
    plan.models = models;
    if order.wishes.allow_fallbacks == Some(false) {
        without_fallbacks(board, order.wishes, plan);
    }
}

/// Decides as [`plan`] does. Where nothing but guesses (the size of the prompt, its files) stands in the way, once more without them: the
/// provider says itself that it is too much.
pub fn decide(board: &Board, order: &Order<'_>, moment: &mut impl Moment, serves: impl Fn(&Endpoint) -> Option<Way>, made: &mut Plan) {
    plan(board, order, moment, &serves, made);
    if made.steps.is_empty() && made.removed.iter().any(|removed| removed.reason.is_a_guess()) {
        let unsized_need = Need { is_unsized: true, inputs: order.need.inputs.without(Modalities::FILE), ..*order.need };
        plan(board, &Order { need: &unsized_need, ..*order }, moment, &serves, made);
    }
}

/// Those endpoints of these models that nothing speaks against.
pub(crate) fn collect(
    board: &Board,
    order: &Order<'_>,
    models: &[Named],
    moment: &mut impl Moment,
    serves: &impl Fn(&Endpoint) -> Option<Way>,
    plan: &mut Plan,
) {
    let asked = order.wishes.asked_tier();
    let spells_a_tier = order.wishes.spells_a_tier();
    // Tiers are looked at where one is asked for in whichever way.
    let positions = |named: &Named| {
        let are_looked_at = asked.is_some() || spells_a_tier || order.wishes.opened_tier(named.variant).is_some();
        let tiers = if are_looked_at { board.tiers_of(named.model) } else { 0..0 };
        board.entries_of(named.model).chain(tiers)
    };
    let only_free = matches!(order.pick, Pick::Free);
    let tools = Parameters::one("tools").filter(|_| order.need.has_tools).unwrap_or(Parameters::NONE);
    for (model, named) in models.iter().enumerate() {
        // A model that nobody sells in the tier is served in the usual one, whatever the others are sold in. What the dialect that is spoken
        // there has no word for is not sold.
        let sells = |entry: &Entry, asked| {
            let can_say = |tier: Tier| serves(board.endpoint(entry)).is_some_and(|way| tier.word(way.dialect).is_some());
            entry.is_of(asked) && entry.asks.is_none_or(can_say)
        };
        let has_tier = asked.is_some_and(|asked| positions(named).any(|position| sells(board.entry(position), asked)));
        let demand = Demand { board, need: order.need, wishes: order.wishes, has_tier, only_free, tools };
        // A model may be listed again, with another suffix: what it adds is new, what is there stays.
        let is_again = models[..model].iter().any(|earlier| earlier.model == named.model);
        for position in positions(named) {
            if is_again && plan.steps.iter().any(|step| step.entry == position) {
                continue;
            }
            if is_again {
                plan.removed.retain(|removed| removed.entry != position);
            }
            let entry = board.entry(position);
            match demand.judge(entry, *named, serves(board.endpoint(entry))) {
                Ok(way) => plan.steps.push(step(order, entry, position, model as u16, way, moment)),
                Err(reason) => plan.removed.push(Removed { entry: position, reason }),
            }
        }
        expect_alike(board, order, model as u16, &mut plan.steps);
    }
}

/// How long a reply is depends on the model, not on who serves it: what some endpoints have learned of it holds for those, too, that have not
/// been asked yet. Otherwise the unknown ones would look dear.
fn expect_alike(board: &Board, order: &Order<'_>, model: u16, steps: &mut [Step]) {
    let known = || steps.iter().filter(|step| step.model == model).map(|step| step.pulse.completion_tokens).filter(|tokens| *tokens > 0);
    let count = known().count() as u64;
    if count == 0 {
        return;
    }
    let mean = (known().map(u64::from).sum::<u64>() / count) as u32;
    for step in steps.iter_mut().filter(|step| step.model == model && step.pulse.completion_tokens != mean) {
        step.expected_pico = board.entry(step.entry).expected_pico(order.need, mean, step.pinned);
    }
}

fn step(order: &Order<'_>, entry: &Entry, position: usize, model: u16, way: Way, moment: &mut impl Moment) -> Step {
    let pulse = moment.pulse(entry, order.need);
    let pin = order.pin.filter(|pin| pin.endpoint == entry.id && !order.wishes.has_order());
    Step {
        entry: position,
        model,
        dialect: way.dialect,
        reluctant: way.reluctant,
        pinned: pin.is_some(),
        key: pin.map(|pin| pin.key),
        expected_pico: entry.expected_pico(order.need, pulse.completion_tokens, pin.is_some()),
        weight: 0.0,
        pulse,
        is_slow: false,
        group: 0,
        place: 0.0,
        pace: None,
    }
}

/// Only those that `order` names, or the first choice alone.
fn without_fallbacks(board: &Board, wishes: &Wishes, plan: &mut Plan) {
    if wishes.has_order() {
        let Plan { steps, removed, .. } = plan;
        steps.retain(|step| {
            let is_listed = strategy::listed(wishes, board.entry(step.entry)).is_some();
            if !is_listed {
                removed.push(Removed { entry: step.entry, reason: Reason::NotListed });
            }
            is_listed
        });
    } else {
        // The first of each model: `models` are no fallbacks of a provider.
        let mut seen = Vec::new();
        plan.steps.retain(|step| {
            let is_first = !seen.contains(&step.model);
            seen.push(step.model);
            is_first
        });
    }
}
