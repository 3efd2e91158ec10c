//! A snapshot as routing needs it: endpoints side by side with their health, so that a decision reads little and looks nothing up.
//! Made once per snapshot, shared by all workers.

use crate::health::budget::Budget;
use crate::health::lane::Turn;
use crate::health::queue::Queue;
use crate::health::{Endpoint as Health, Pulse, Registry, Shelves};
use crate::hedge::Hedges;
use crate::names::Named;
use crate::need::{Need, expected_pico};
use crate::random::{hash, join};
use crate::wishes::{Members, Wishes, covers, read, tier_of_tag};
use fairlead_ir::{PriceTable, Tier};
use fairlead_snapshot::{CredentialLimits, Endpoint, Modalities, Model, Provider, Snapshot, SnapshotError};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// A snapshot with health.
#[derive(Debug)]
pub struct Board {
    snapshot: Arc<Snapshot>,
    /// The endpoints, then their tiers.
    entries: Vec<Entry>,
    models: Vec<ModelEntry>,
    budgets: Vec<Arc<Budget>>,
    queue: Arc<Queue>,
    hedges: Arc<Hedges>,
    /// What a client may call a provider, in lower case, and what it is in tags.
    slugs: HashMap<String, Box<str>>,
    /// As the snapshot's presets.
    presets: Vec<Wishes>,
}

#[derive(Debug)]
struct ModelEntry {
    entries: Range<usize>,
    /// What its endpoints sell beside their usual tier: entries of their own.
    tiers: Range<usize>,
    /// Of its id: pins outlive snapshots.
    hash: u64,
}

/// An endpoint on the board, or one of the tiers that it sells beside the usual one.
#[derive(Debug)]
pub struct Entry {
    /// The endpoint's stable id.
    pub id: u64,
    /// Index into [`Snapshot::models`].
    pub model: usize,
    /// Index into its model's endpoints.
    pub endpoint: usize,
    /// Index into [`Snapshot::providers`].
    pub provider: usize,
    /// The provider's slug, with the region behind a slash where one is named, and a tier: what `order`, `only` and `ignore` speak of.
    pub tag: Box<str>,
    /// The tier that is asked for there, in words of the request: one that the endpoint sells beside the usual one.
    pub asks: Option<Tier>,
    /// What it has learned.
    pub health: Arc<Health>,
    /// What its health is known by: tiers come and go by themselves.
    pub(crate) health_id: u64,
    /// Where it is of another tier than the usual one.
    pub(crate) tier: Option<Tier>,
    /// The endpoint sells the other one of `priority` and `fast`, too.
    pub(crate) has_twin: bool,
    pub(crate) prices: PriceTable,
    pub(crate) cancel_stops_billing: bool,
    pub(crate) turns: Box<[Turn]>,
}

impl Entry {
    /// Whether a cached prompt is cheaper here than a new one.
    pub(crate) fn caches(&self) -> bool {
        self.prices.base().cache_read < self.prices.base().prompt
    }

    pub(crate) fn is_free(&self) -> bool {
        self.prices.is_free()
    }

    /// Whether it is what a request for this tier means.
    pub(crate) fn is_of(&self, asked: Tier) -> bool {
        self.tier.is_some_and(|tier| tier == asked || !self.has_twin && tier.is_as_good_as(asked))
    }

    /// The tier that its prices are asked for.
    pub(crate) fn priced_tier(&self) -> Tier {
        self.asks.unwrap_or_default()
    }

    /// What a request is expected to cost here, in pico-dollars.
    pub(crate) fn expected_pico(&self, need: &Need, usual_completion: u32, is_cached: bool) -> f64 {
        expected_pico(need, &self.prices, self.priced_tier(), usual_completion, is_cached)
    }

    /// Whether a slug means the endpoint that this is a tier of.
    pub(crate) fn is_sold_by(&self, slug: &str) -> bool {
        self.asks.is_some() && self.tag.rsplit_once('/').is_some_and(|(endpoint, _)| covers(slug, endpoint))
    }

    pub(crate) fn has_free_turn(&self, now_ms: u64, tokens: u64) -> bool {
        self.turns.iter().any(|turn| turn.is_free(now_ms, tokens))
    }

    /// How long until time alone could give a request with so many tokens a credential; 0 where that is up to other requests.
    pub(crate) fn wait_ms(&self, now_ms: u64, tokens: u64) -> u64 {
        let may = self.turns.iter().filter(|turn| turn.is_ever_free(tokens));
        may.map(|turn| turn.wait_ms(now_ms, tokens)).min().unwrap_or(0)
    }

    /// The most tokens that any of its credentials may ever take with one request, where that is less than `tokens`.
    pub(crate) fn key_tokens_below(&self, tokens: u64) -> Option<u64> {
        if self.turns.iter().any(|turn| turn.is_ever_free(tokens)) {
            return None;
        }
        self.turns.iter().filter_map(|turn| turn.limits.tpm).max()
    }

    /// What every decision needs to know, of a request with so many tokens.
    pub(crate) fn pulse(&self, now_ms: u64, tokens: u64) -> Pulse {
        Pulse { is_full: !self.has_free_turn(now_ms, tokens), ..self.health.pulse(now_ms) }
    }
}

impl Board {
    /// A board of this snapshot, with the health that the registry has of it.
    ///
    /// # Errors
    /// A preset wants what cannot be meant.
    pub fn new(snapshot: Arc<Snapshot>, registry: &Registry) -> Result<Board, SnapshotError> {
        let mut board = registry.open(|shelves| {
            let budgets = snapshot.providers.iter().map(|provider| shelves.budget(&provider.slug)).collect();
            let mut entries = Vec::new();
            let mut models = Vec::with_capacity(snapshot.models.len());
            for (index, model) in snapshot.models.iter().enumerate() {
                let first = entries.len();
                entries.extend((0..model.endpoints.len()).map(|position| entry(&snapshot, shelves, index, position, None)));
                models.push(ModelEntry { entries: first..entries.len(), tiers: 0..0, hash: hash(model.id.as_bytes()) });
            }
            for (index, model) in snapshot.models.iter().enumerate() {
                let first = entries.len();
                for (position, endpoint) in model.endpoints.iter().enumerate() {
                    entries.extend(endpoint.prices.tiers().map(|tier| entry(&snapshot, shelves, index, position, Some(tier))));
                }
                models[index].tiers = first..entries.len();
            }
            let (queue, hedges) = (shelves.queue(), shelves.hedges());
            Board { entries, models, budgets, queue, hedges, slugs: HashMap::new(), presets: Vec::new(), snapshot: Arc::clone(&snapshot) }
        });
        board.slugs = slugs(&board.snapshot, &board.entries);
        board.presets = snapshot.presets.iter().map(|preset| board.preset_wishes(preset)).collect::<Result<_, _>>()?;
        Ok(board)
    }

    fn preset_wishes(&self, preset: &fairlead_snapshot::Preset) -> Result<Wishes, SnapshotError> {
        let [provider, route] = [&preset.provider, &preset.route].map(|text| text.as_deref().map(str::as_bytes));
        read(Members { provider, route }, self)
            .map_err(|error| SnapshotError::new(format!("presets.{}.{}", preset.name, error.path), error.message))
    }

    /// What the board was made of.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// How many requests may be hedged.
    pub fn hedges(&self) -> &Hedges {
        &self.hedges
    }

    /// Where requests wait for a credential.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Whether a model has more than one endpoint, or its only one more than one credential.
    pub fn has_choice(&self, model: usize) -> bool {
        let entries = &self.entries[self.models[model].entries.clone()];
        entries.len() > 1 || entries.iter().any(|entry| entry.turns.len() > 1)
    }

    /// Whether the model of an entry has another endpoint.
    pub fn has_rivals(&self, entry: usize) -> bool {
        self.models[self.entries[entry].model].entries.len() > 1
    }

    /// Whether what a prompt holds beside text decides anything at the endpoints of these models: one of them is known not to take all of it.
    pub fn inputs_matter(&self, models: &[Named]) -> bool {
        let mut positions = models.iter().flat_map(|named| self.entries_of(named.model));
        positions.any(|position| {
            let takes = self.endpoint(&self.entries[position]).input_modalities;
            !takes.is_empty() && !takes.contains(Modalities::MEDIA)
        })
    }

    /// The endpoints of a model, in the order of preference.
    pub(crate) fn entries_of(&self, model: usize) -> Range<usize> {
        self.models[model].entries.clone()
    }

    /// An endpoint by its position on the board.
    pub fn entry(&self, position: usize) -> &Entry {
        &self.entries[position]
    }

    /// The tiers that a model's endpoints sell beside the usual one.
    pub(crate) fn tiers_of(&self, model: usize) -> Range<usize> {
        self.models[model].tiers.clone()
    }

    /// The endpoints, in the order of positions.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.all_entries().filter(|entry| entry.asks.is_none())
    }

    /// The endpoints, and behind them all the tiers that they sell, in the order of positions.
    pub(crate) fn all_entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// An endpoint by its stable id. Linear: for showing.
    pub fn find(&self, id: u64) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == id)
    }

    /// The model of an entry.
    pub fn model(&self, entry: &Entry) -> &Model {
        &self.snapshot.models[entry.model]
    }

    /// The endpoint of an entry.
    pub fn endpoint(&self, entry: &Entry) -> &Endpoint {
        &self.snapshot.models[entry.model].endpoints[entry.endpoint]
    }

    /// The provider of an entry.
    pub fn provider(&self, entry: &Entry) -> &Provider {
        &self.snapshot.providers[entry.provider]
    }

    pub(crate) fn budget(&self, provider: usize) -> &Budget {
        &self.budgets[provider]
    }

    pub(crate) fn model_hash(&self, model: usize) -> u64 {
        self.models[model].hash
    }

    /// What tags say where a client says this; `None`: there is no such provider.
    pub(crate) fn slug(&self, text: &str) -> Option<Box<str>> {
        self.slugs.get(text).or_else(|| self.slugs.get(text.to_lowercase().as_str())).cloned()
    }

    /// Every slug, for hints.
    pub(crate) fn slugs(&self) -> impl Iterator<Item = &str> {
        self.slugs.values().map(|slug| &**slug)
    }

    /// The wishes of a preset, and its position among the snapshot's.
    pub(crate) fn preset(&self, name: &str) -> Option<(usize, &Wishes)> {
        let position = self.snapshot.presets.iter().position(|preset| preset.name == name)?;
        Some((position, &self.presets[position]))
    }
}

/// An endpoint, or one of its tiers.
fn entry(snapshot: &Snapshot, shelves: &mut Shelves, model: usize, position: usize, asks: Option<Tier>) -> Entry {
    let endpoint = &snapshot.models[model].endpoints[position];
    let provider = &snapshot.providers[endpoint.provider];
    let own = tag(provider, endpoint);
    let health_id = health_id(endpoint.id, asks);
    let tag = asks.map_or_else(|| own.clone(), |tier| format!("{own}/{}", tier.name()).into());
    let sells = |wanted: Tier| endpoint.prices.tiers().any(|tier| tier == wanted);
    let turn = |(position, name): (usize, &String)| Turn {
        lane: shelves.lane(health_id, name),
        key: shelves.key(&provider.slug, name),
        limits: provider.credentials.get(position).copied().unwrap_or(CredentialLimits::NONE),
    };
    let turns = credentials(endpoint).iter().enumerate().map(turn).collect();
    Entry {
        id: endpoint.id,
        model,
        endpoint: position,
        provider: endpoint.provider,
        asks,
        health: shelves.endpoint(health_id),
        health_id,
        tier: asks.or_else(|| tier_of_tag(&own)),
        has_twin: asks.is_some() && sells(Tier::Priority) && sells(Tier::Fast),
        tag,
        prices: endpoint.prices.clone(),
        cancel_stops_billing: provider.cancel_stops_billing,
        turns,
    }
}

/// What the health of an endpoint is kept by, or that of a tier it sells.
pub(crate) fn health_id(endpoint: u64, asks: Option<Tier>) -> u64 {
    // The ids of endpoints leave the highest bit alone.
    asks.map_or(endpoint, |tier| join(endpoint, u64::from(tier.number())) | 1 << 63)
}

fn tag(provider: &Provider, endpoint: &Endpoint) -> Box<str> {
    if endpoint.region.is_empty() { provider.slug.as_str().into() } else { format!("{}/{}", provider.slug, endpoint.region).into() }
}

/// The names of an endpoint's credentials: the same in every dialect.
fn credentials(endpoint: &Endpoint) -> &[String] {
    let target = endpoint.dialects.first().and_then(|dialect| endpoint.target(*dialect));
    target.map_or(&[], |target| &target.credential_names)
}

fn slugs(snapshot: &Snapshot, entries: &[Entry]) -> HashMap<String, Box<str>> {
    let names = snapshot.providers.iter().map(|provider| (provider.name.as_str(), provider.slug.as_str()));
    let tags = snapshot.providers.iter().map(|provider| provider.slug.as_str()).chain(entries.iter().map(|entry| &*entry.tag));
    let bases = tags.clone().filter_map(|tag| tag.split_once('/')).map(|(base, _)| (base, base));
    // Slugs last: one of them wins over a display name that looks the same.
    names.chain(bases).chain(tags.map(|tag| (tag, tag))).map(|(name, slug)| (name.to_lowercase(), slug.into())).collect()
}
