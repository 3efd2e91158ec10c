//! The validated snapshot: what a request may be sent to, with everything precomputed that does not depend on the request.

use crate::directory::{KeyHash, parse_hash};
use crate::facts::{CredentialLimits, Modalities, Names, Parameters, Quantizations, Vocabulary};
use crate::target::{Target, in_query, target};
use crate::wire;
use fairlead_ir::preset::Template;
use fairlead_ir::request::Effort;
use fairlead_ir::traits::UnknownTrait;
use fairlead_ir::{Dialect, Hours, Override, PicoUsd, PriceTable, Rates, Tier, Traits};
use http::HeaderValue;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Settings, providers and models of one moment. Immutable; a request keeps the one it started with.
#[derive(Debug)]
pub struct Snapshot {
    /// Grows with every snapshot; names the price table a reservation was made with.
    pub version: u64,
    /// Timeouts, bounds, switches.
    pub settings: wire::Settings,
    /// Hash of the token that opens `/metrics` on the traffic port; `None`: no token does.
    pub admin_token_hash: Option<KeyHash>,
    /// Providers; endpoints refer to them by index.
    pub providers: Vec<Provider>,
    /// Models; names refer to them by index.
    pub models: Vec<Model>,
    /// Any of them has rates of its own.
    pub has_model_rates: bool,
    /// Presets; their names begin with `@preset/` where a model is named.
    pub presets: Vec<Preset>,
    /// Splits; their names stand where a model is named.
    pub splits: Vec<Split>,
    absent_providers: Vec<wire::Absent>,
    absent_models: Vec<wire::Absent>,
    names: Known,
}

/// What requests that name it ask for.
#[derive(Debug, PartialEq, Eq)]
pub struct Preset {
    /// What stands behind `@preset/`.
    pub name: String,
    /// Its model as it is named, with suffixes; known. `None`: requests name one beside it.
    pub model: Option<String>,
    /// A translation that loses something is refused.
    pub strict_translation: bool,
    /// Where a client marks nothing for the prompt cache, it is marked by us.
    pub automatic_cache: bool,
    /// Whether replies to requests that name it are cached: `false` wins over the request, `true` stands in for it.
    pub cache_enabled: Option<bool>,
    /// How long they are, where the request does not say so.
    pub cache_ttl_seconds: Option<u64>,
    /// Models to fall back to; every one is known.
    pub models: Vec<String>,
    /// The `provider` object, as JSON.
    pub provider: Option<Box<str>>,
    /// Its `route`, as JSON.
    pub route: Option<Box<str>>,
    /// Names its content in records.
    pub version: String,
    /// What else it says for requests, in chat's words: a JSON object.
    pub fields: Option<Box<str>>,
    /// The same in the words of every dialect. Whoever knows dialects puts it here.
    pub template: Option<Template>,
}

/// A name that stands for several models, each for a share of the sessions.
#[derive(Debug, PartialEq, Eq)]
pub struct Split {
    /// The name.
    pub name: String,
    /// At least one; every model is known, and the shares are not all 0.
    pub arms: Vec<wire::Arm>,
}

/// What a name stands for: a model, and for a preset what else it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Index into [`Snapshot::models`].
    pub model: usize,
    /// A translation that loses something is refused.
    pub strict_translation: bool,
    /// Where a client marks nothing for the prompt cache, it is marked by us.
    pub automatic_cache: bool,
}

impl Found {
    const fn model(model: usize) -> Found {
        Found { model, strict_translation: false, automatic_cache: false }
    }
}

/// A provider.
#[derive(Debug)]
pub struct Provider {
    /// Routing slug.
    pub slug: String,
    /// The slug as a header's value.
    pub slug_header: HeaderValue,
    /// Display name.
    pub name: String,
    /// Whether closing the connection stops its meter.
    pub cancel_stops_billing: bool,
    /// Whether the `usage.cost` of its replies is what it charges.
    pub reports_cost: bool,
    /// What it does with prompts and replies.
    pub data_policy: wire::DataPolicy,
    /// Country of its seat, ISO 3166 in capitals.
    pub headquarters: Option<String>,
    /// Countries where it computes, ISO 3166 in capitals; empty: unknown.
    pub datacenters: Vec<String>,
    /// What each of its credentials may be used for, in the order of [`Target::heads`]; never empty.
    pub credentials: Vec<CredentialLimits>,
    /// Everything secret about its credentials, for redaction of texts it sends.
    pub secrets: Vec<Secret>,
}

impl Provider {
    /// Its credentials as text, to look for.
    pub fn exposed_secrets(&self) -> Vec<&str> {
        self.secrets.iter().map(Secret::expose).collect()
    }
}

/// A credential: never printed, never serialised.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(crate) fn new(secret: String) -> Secret {
        Secret(secret)
    }

    /// The secret itself: for the wire and for redaction only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// A model.
#[derive(Debug)]
pub struct Model {
    /// Catalogue id.
    pub id: Arc<str>,
    /// The id as a header's value.
    pub id_header: HeaderValue,
    /// Most completion tokens it gives.
    pub max_completion_tokens: Option<u64>,
    /// Where it is served, in the order of preference.
    pub endpoints: Vec<Endpoint>,
    /// Where copies of some of its requests go.
    pub shadow: Option<Shadow>,
    /// What all callers together may ask of it, where that is limited.
    pub rates: Option<Box<ModelRates>>,
}

/// What all callers together may ask of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelRates {
    /// Requests per minute; not 0.
    pub rpm: Option<u64>,
    /// Tokens per minute; not 0.
    pub tpm: Option<u64>,
    /// Requests at the same time.
    pub max_concurrency: Option<NonZeroU32>,
}

/// A second model, and how many of a model's requests it gets a copy of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// Index into [`Snapshot::models`].
    pub model: usize,
    /// Of a million requests, so many; at least one, at most all.
    pub share_millionths: u32,
}

/// A model at a provider.
#[derive(Debug)]
pub struct Endpoint {
    /// Stable id.
    pub id: u64,
    /// Index into [`Snapshot::providers`].
    pub provider: usize,
    /// The provider's name for the model.
    pub upstream_model: Arc<str>,
    /// Prices.
    pub prices: PriceTable,
    /// Most completion tokens it gives, where it differs from the model.
    pub max_completion_tokens: Option<u64>,
    /// What it does differently from its dialects.
    pub traits: Traits,
    /// The steps of effort that it knows, least first; empty: unknown.
    pub efforts: Vec<Effort>,
    /// Where it is served, as its provider names it; empty: not said.
    pub region: String,
    /// How its weights are stored: exactly one.
    pub quantization: Quantizations,
    /// How far along its life it is.
    pub status: wire::Status,
    /// Prompt and completion together.
    pub context_tokens: Option<u64>,
    /// The longest prompt, where that is less than the context.
    pub max_prompt_tokens: Option<u64>,
    /// What a prompt may hold; empty: unknown.
    pub input_modalities: Modalities,
    /// What a reply may hold; empty: unknown.
    pub output_modalities: Modalities,
    /// The parameters that it knows; `None`: unknown.
    pub supported_parameters: Option<Parameters>,
    /// ISO date on which its provider said that it goes.
    pub deprecated_on: Option<String>,
    /// ISO date from which it is gone.
    pub shutdown_on: Option<String>,
    /// Whether it caches prompts by itself.
    pub implicit_caching: bool,
    /// How long its cache may keep a prompt, in seconds, the shortest first; empty: unknown.
    pub cache_ttl_seconds: Vec<u64>,
    /// The dialects that it has a [`Target`] for, in the order of preference; never empty.
    pub dialects: Vec<Dialect>,
    targets: [Option<Target>; Dialect::ALL.len()],
}

impl Endpoint {
    /// Where and how this endpoint speaks a dialect, if it does.
    pub fn target(&self, dialect: Dialect) -> Option<&Target> {
        self.targets[usize::from(dialect.number())].as_ref()
    }
}

/// What is wrong with a snapshot, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotError {
    /// Path into the JSON, such as `models.acme/fast.endpoints.0.provider`.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl SnapshotError {
    /// What is wrong at this place.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> SnapshotError {
        SnapshotError { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for SnapshotError {}

/// What the names of models, aliases and presets stand for.
type Known = HashMap<String, Found, foldhash::fast::RandomState>;

impl Snapshot {
    /// Reads and validates the JSON of [`wire::Snapshot`]. What comes out cannot be wrong in itself.
    ///
    /// # Errors
    /// The first thing that is wrong, with its path.
    pub fn from_json(json: &[u8]) -> Result<Snapshot, SnapshotError> {
        let wire: wire::Snapshot = serde_json::from_slice(json).map_err(|error| SnapshotError::new("snapshot", error.to_string()))?;
        let sources = Sources::new(&wire.providers)?;
        let mut models = Vec::with_capacity(wire.models.len());
        let mut names = Known::default();
        for model in wire.models {
            let index = models.len();
            for name in std::iter::once(&model.id).chain(&model.aliases) {
                if names.insert(name.clone(), Found::model(index)).is_some_and(|other| other.model != index) {
                    return Err(SnapshotError::new(format!("models.{}", model.id), format!("the name {name:?} is taken twice")));
                }
            }
            models.push(sources.model(model)?);
        }
        add_presets(&mut names, &wire.presets)?;
        let presets: Vec<Preset> = wire.presets.into_iter().map(|given| preset(given, &names)).collect::<Result<_, _>>()?;
        let splits = splits(wire.splits, &names)?;
        add_shadows(&mut models, wire.shadows, &names)?;
        let providers = wire.providers.into_iter().map(provider).collect::<Result<_, _>>()?;
        let admin_token_hash = admin_token_hash(&wire.admin_token_hash)?;
        let wire::Snapshot { version, settings, absent_providers, absent_models, .. } = wire;
        let has_model_rates = models.iter().any(|model| model.rates.is_some());
        Ok(Snapshot {
            version,
            settings,
            admin_token_hash,
            providers,
            models,
            has_model_rates,
            presets,
            splits,
            absent_providers,
            absent_models,
            names,
        })
    }

    /// What a client means: a catalogue id, an alias or `@preset/…`, with or without the prefix `openrouter/`.
    pub fn find(&self, name: &str) -> Option<Found> {
        self.names.get(name).or_else(|| self.names.get(name.strip_prefix("openrouter/")?)).copied()
    }

    /// The model that a name stands for, as [`Snapshot::find`].
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.get(self.find(name)?.model)
    }

    /// Why a provider of the catalogue, by any of its names, is not on here; `None` of one that nobody knows. Linear: only for errors.
    pub fn absent_provider(&self, name: &str) -> Option<&str> {
        why_absent(&self.absent_providers, name)
    }

    /// Why a model of the catalogue, by any of its names, cannot be had here; `None` of one that nobody knows. Linear: only for errors.
    pub fn absent_model(&self, name: &str) -> Option<&str> {
        why_absent(&self.absent_models, name.strip_prefix("openrouter/").unwrap_or(name))
    }

    /// The known name nearest to an unknown one, for an error text. Linear: only for errors.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        nearest(self.names.keys().map(String::as_str), name)
    }
}

fn why_absent<'a>(absent: &'a [wire::Absent], name: &str) -> Option<&'a str> {
    absent.iter().find(|absent| absent.names.iter().any(|known| known.eq_ignore_ascii_case(name))).map(|absent| &*absent.why)
}

/// Presets that have a model are names too. They stand for a model or an alias, not for each other.
fn add_presets(names: &mut Known, presets: &[wire::Preset]) -> Result<(), SnapshotError> {
    let mut found = Vec::with_capacity(presets.len());
    for preset in presets {
        let wire::Preset { name, model, strict_translation, automatic_cache, .. } = preset;
        let model = model.as_ref().map(|model| known(names, model, || format!("presets.{name}.model"))).transpose()?;
        found.push(model.map(|Found { model, .. }| Found {
            model,
            strict_translation: *strict_translation,
            automatic_cache: *automatic_cache,
        }));
    }
    for (position, (preset, found)) in presets.iter().zip(found).enumerate() {
        if presets[..position].iter().any(|other| other.name == preset.name) {
            return Err(SnapshotError::new(format!("presets.{}", preset.name), "the name is taken twice"));
        }
        names.extend(found.map(|found| (format!("@preset/{}", preset.name), found)));
    }
    Ok(())
}

fn preset(given: wire::Preset, names: &Known) -> Result<Preset, SnapshotError> {
    for (position, model) in given.models.iter().enumerate() {
        known(names, model, || format!("presets.{}.models.{position}", given.name))?;
    }
    let wire::Preset { name, model, strict_translation, automatic_cache, cache_enabled, cache_ttl_seconds, .. } = given;
    let wire::Preset { models, provider, route, fields, version, .. } = given;
    let text = |given: Option<Box<RawValue>>| given.map(|given| given.get().into());
    let (provider, route, fields) = (text(provider), text(route), text(fields));
    Ok(Preset {
        name,
        model,
        strict_translation,
        automatic_cache,
        cache_enabled,
        cache_ttl_seconds,
        models,
        provider,
        route,
        version,
        fields,
        template: None,
    })
}

fn splits(given: Vec<wire::Split>, names: &Known) -> Result<Vec<Split>, SnapshotError> {
    let mut splits: Vec<Split> = Vec::with_capacity(given.len());
    for wire::Split { name, arms } in given {
        if names.contains_key(&name) || splits.iter().any(|split| split.name == name) {
            return Err(SnapshotError::new(format!("splits.{name}"), "the name is taken twice"));
        }
        for (position, arm) in arms.iter().enumerate() {
            known(names, &arm.model, || format!("splits.{name}.arms.{position}.model"))?;
        }
        if arms.iter().all(|arm| arm.share == 0) {
            return Err(SnapshotError::new(format!("splits.{name}.arms"), "no arm has a share"));
        }
        splits.push(Split { name, arms });
    }
    Ok(splits)
}

fn add_shadows(models: &mut [Model], given: Vec<wire::Shadow>, names: &Known) -> Result<(), SnapshotError> {
    for wire::Shadow { of, model, share_millionths } in given {
        let path = format!("shadows.{of}");
        let shadowed = known(names, &of, || path.clone())?.model;
        let shadow = known(names, &model, || format!("{path}.model"))?.model;
        let message = match () {
            () if shadow == shadowed => "a model cannot be its own shadow",
            () if !(1..=1_000_000).contains(&share_millionths) => "the share is not between 1 and 1000000 millionths",
            () if models[shadowed].shadow.is_some() => "the model has a shadow already",
            () => {
                models[shadowed].shadow = Some(Shadow { model: shadow, share_millionths });
                continue;
            }
        };
        return Err(SnapshotError::new(path, message));
    }
    Ok(())
}

/// A name with as few of its suffixes taken off as it needs to be known: what `:nitro` and the like wish is the router's to read.
fn known(names: &Known, model: &str, path: impl Fn() -> String) -> Result<Found, SnapshotError> {
    let mut shorter = std::iter::successors(Some(model), |name| Some(name.rsplit_once(':')?.0));
    shorter.find_map(|name| names.get(name)).copied().ok_or_else(|| {
        let message = format!("no model {model:?}{}", did_you_mean(names.keys().map(String::as_str), model));
        SnapshotError::new(path(), message)
    })
}

/// Providers as endpoints need them while a snapshot is being made.
struct Sources<'a> {
    providers: &'a [wire::Provider],
    index: HashMap<&'a str, usize>,
}

impl<'a> Sources<'a> {
    fn new(providers: &'a [wire::Provider]) -> Result<Sources<'a>, SnapshotError> {
        let mut index = HashMap::new();
        for (position, provider) in providers.iter().enumerate() {
            if index.insert(provider.slug.as_str(), position).is_some() {
                return Err(SnapshotError::new(format!("providers.{}", provider.slug), "the slug is taken twice"));
            }
            if provider.dialects.is_empty() {
                return Err(SnapshotError::new(format!("providers.{}.dialects", provider.slug), "it speaks nothing"));
            }
            check_provider(provider)?;
        }
        Ok(Sources { providers, index })
    }

    fn model(&self, model: wire::Model) -> Result<Model, SnapshotError> {
        let path = |position: usize, field: &str| format!("models.{}.endpoints.{position}.{field}", model.id);
        if model.endpoints.is_empty() {
            return Err(SnapshotError::new(format!("models.{}", model.id), "no endpoint serves it"));
        }
        let mut endpoints = Vec::with_capacity(model.endpoints.len());
        for (position, endpoint) in model.endpoints.iter().enumerate() {
            let index = *self
                .index
                .get(endpoint.provider.as_str())
                .ok_or_else(|| SnapshotError::new(path(position, "provider"), format!("no provider {:?}", endpoint.provider)))?;
            endpoints.push(self.endpoint(endpoint, index).map_err(|error| SnapshotError::new(path(position, &error.path), error.message))?);
        }
        let id_header = header_value(&model.id, || format!("models.{}", model.id))?;
        let rates = model_rates(&model)?;
        Ok(Model { id_header, id: model.id.into(), max_completion_tokens: model.max_completion_tokens, endpoints, shadow: None, rates })
    }

    fn endpoint(&self, endpoint: &wire::Endpoint, index: usize) -> Result<Endpoint, SnapshotError> {
        let provider = &self.providers[index];
        // The provider's were checked by themselves.
        quirks("quirks", &endpoint.quirks)?;
        let traits = quirks("quirks", provider.quirks.iter().chain(&endpoint.quirks))?;
        let named =
            if endpoint.dialects.is_empty() { provider.dialects.keys().collect() } else { endpoint.dialects.iter().collect::<Vec<_>>() };
        let mut targets = [const { None }; Dialect::ALL.len()];
        let mut dialects = Vec::with_capacity(named.len());
        for name in named {
            let Some(base_url) = provider.dialects.get(name) else {
                return Err(SnapshotError::new("dialects", format!("provider {:?} does not speak {name:?}", provider.slug)));
            };
            let (dialect, target) = target(provider, name, base_url, &endpoint.upstream_model, &traits)?;
            if targets[usize::from(dialect.number())].replace(target).is_none() {
                dialects.push(dialect);
            }
        }
        Ok(Endpoint {
            id: endpoint.id,
            provider: index,
            upstream_model: endpoint.upstream_model.as_str().into(),
            prices: prices(&endpoint.price)?,
            max_completion_tokens: endpoint.max_completion_tokens,
            traits,
            efforts: efforts(&endpoint.efforts)?,
            region: endpoint.region.clone(),
            quantization: names("quantization", std::slice::from_ref(&endpoint.quantization))?,
            status: endpoint.status,
            context_tokens: endpoint.context_tokens,
            max_prompt_tokens: endpoint.max_prompt_tokens,
            input_modalities: names("input_modalities", &endpoint.input_modalities)?,
            output_modalities: names("output_modalities", &endpoint.output_modalities)?,
            supported_parameters: endpoint
                .supported_parameters
                .as_ref()
                .map(|parameters| names("supported_parameters", parameters))
                .transpose()?,
            deprecated_on: endpoint.deprecated_on.clone(),
            shutdown_on: endpoint.shutdown_on.clone(),
            implicit_caching: endpoint.implicit_caching,
            cache_ttl_seconds: ascending(&endpoint.cache_ttl_seconds),
            dialects,
            targets,
        })
    }
}

/// What is wrong with a provider also where no model is served by it.
fn check_provider(provider: &wire::Provider) -> Result<(), SnapshotError> {
    for (dialect, base_url) in &provider.dialects {
        target(provider, dialect, base_url, "", &Traits::NONE)?;
    }
    if let Some(unknown) = provider.dialect_auth.keys().find(|name| !provider.dialects.contains_key(*name)) {
        let path = format!("providers.{}.dialect_auth.{unknown}", provider.slug);
        return Err(SnapshotError::new(path, "the provider does not speak this dialect"));
    }
    quirks(&format!("providers.{}.quirks", provider.slug), &provider.quirks).map(drop)
}

/// The traits with these names; `path` is where they stand.
fn quirks<'a>(path: &str, names: impl IntoIterator<Item = &'a String> + Clone) -> Result<Traits, SnapshotError> {
    let traits = Traits::from_names(names.clone());
    traits.map_err(|UnknownTrait(unknown)| {
        let position = names.into_iter().position(|name| *name == unknown).unwrap_or_default();
        let hint = did_you_mean(Traits::ALL.iter().map(|(name, _)| *name), &unknown);
        SnapshotError::new(format!("{path}.{position}"), format!("{unknown:?} is no quirk{hint}"))
    })
}

/// The steps with these words, least first and each once.
fn efforts(words: &[String]) -> Result<Vec<Effort>, SnapshotError> {
    let mut efforts = Vec::with_capacity(words.len());
    for (position, word) in words.iter().enumerate() {
        efforts.push(Effort::from_word(word.as_bytes()).ok_or_else(|| {
            let known = Effort::ALL.map(Effort::word).join(", ");
            SnapshotError::new(format!("efforts.{position}"), format!("{word:?} is no effort; there are {known}"))
        })?);
    }
    efforts.sort_unstable();
    efforts.dedup();
    Ok(efforts)
}

/// The set of these names; `path` is where they stand.
fn names<V: Vocabulary>(path: &str, names: &[String]) -> Result<Names<V>, SnapshotError> {
    Names::from_names(names).map_err(|position| {
        let unknown = names.get(position).map(String::as_str).unwrap_or_default();
        let hint = did_you_mean(V::NAMES.iter().copied(), unknown);
        SnapshotError::new(format!("{path}.{position}"), format!("{unknown:?} is no {}{hint}", V::WHAT))
    })
}

fn ascending(numbers: &[u64]) -> Vec<u64> {
    let mut numbers = numbers.to_vec();
    numbers.sort_unstable();
    numbers
}

fn admin_token_hash(text: &str) -> Result<Option<KeyHash>, SnapshotError> {
    if text.is_empty() {
        return Ok(None);
    }
    parse_hash(text).map(Some).ok_or_else(|| SnapshotError::new("admin_token_hash", "not 64 hexadecimal digits"))
}

fn provider(wire: wire::Provider) -> Result<Provider, SnapshotError> {
    Ok(Provider {
        slug_header: header_value(&wire.slug, || format!("providers.{}.slug", wire.slug))?,
        slug: wire.slug,
        name: wire.name,
        cancel_stops_billing: wire.cancel_stops_billing,
        reports_cost: wire.reports_cost,
        data_policy: wire.data_policy,
        headquarters: wire.headquarters,
        datacenters: wire.datacenters,
        credentials: credentials(&wire.keys),
        secrets: wire.keys.into_iter().flat_map(known_secrets).map(Secret).collect(),
    })
}

/// Everything secret about a credential, also as a query spells it.
fn known_secrets(key: wire::ProviderKey) -> impl Iterator<Item = String> {
    let spelt = Some(in_query(&key.secret)).filter(|spelt| *spelt != key.secret);
    [Some(key.secret), spelt, key.session_token].into_iter().flatten()
}

fn credentials(keys: &[wire::ProviderKey]) -> Vec<CredentialLimits> {
    let limits =
        |key: &wire::ProviderKey| CredentialLimits { weight: key.weight, rpm: key.rpm, tpm: key.tpm, max_concurrency: key.max_concurrency };
    if keys.is_empty() { vec![CredentialLimits::NONE] } else { keys.iter().map(limits).collect() }
}

fn header_value(text: &str, path: impl Fn() -> String) -> Result<HeaderValue, SnapshotError> {
    HeaderValue::from_str(text).map_err(|_| SnapshotError::new(path(), "a header cannot carry this name; use visible ASCII characters"))
}

/// What all callers together may ask of a model.
fn model_rates(model: &wire::Model) -> Result<Option<Box<ModelRates>>, SnapshotError> {
    let wire::Model { id, rpm, tpm, max_concurrency, .. } = model;
    if let Some((name, _)) = [("rpm", rpm), ("tpm", tpm)].into_iter().find(|(_, units)| **units == Some(0)) {
        return Err(SnapshotError::new(format!("models.{id}.{name}"), "is 0: leave it out, or the model".to_owned()));
    }
    let is_limited = rpm.is_some() || tpm.is_some() || max_concurrency.is_some();
    Ok(is_limited.then(|| Box::new(ModelRates { rpm: *rpm, tpm: *tpm, max_concurrency: *max_concurrency })))
}

fn prices(wire: &wire::Price) -> Result<PriceTable, SnapshotError> {
    let wire::Price { cache_read, cache_write, cache_write_1h, reasoning, .. } = *wire;
    let base = wire::Rates {
        prompt: Some(wire.prompt),
        completion: Some(wire.completion),
        cache_read,
        cache_write,
        cache_write_1h,
        reasoning,
        request: Some(wire.request),
        web_search: Some(wire.web_search),
    };
    let overrides = wire.overrides.iter().enumerate().map(|(position, given)| price_override(position, given));
    Ok(PriceTable::new(rates(&base), overrides.collect::<Result<_, _>>()?))
}

fn price_override(position: usize, wire: &wire::Override) -> Result<Override, SnapshotError> {
    let wrong = |field: &str, message: String| SnapshotError::new(format!("price.overrides.{position}.{field}"), message);
    let tier = match wire.service_tier.as_deref() {
        None => None,
        Some(word) => Some(Tier::ALL.into_iter().find(|tier| tier.name() == word).ok_or_else(|| {
            let known = Tier::ALL.map(Tier::name).join(", ");
            wrong("service_tier", format!("{word:?} is no service tier; there are {known}"))
        })?),
    };
    const DAY: u16 = 24 * 60;
    if let Some((from, to)) = wire.hours.iter().find(|(from, to)| !(*from < Hours::WEEK && from < to && to - from <= DAY)) {
        let message = format!("{from} to {to} is no time of a week of {} minutes, of a day at most", Hours::WEEK);
        return Err(wrong("hours", message));
    }
    let hours = wire.hours.iter().map(|(from, to)| Hours { from: *from, to: *to }).collect();
    Ok(Override { prompt_tokens_above: wire.prompt_tokens_above, tier, hours, rates: rates(&wire.rates) })
}

fn rates(wire: &wire::Rates) -> Rates {
    Rates {
        prompt: wire.prompt.map(PicoUsd),
        completion: wire.completion.map(PicoUsd),
        cache_read: wire.cache_read.map(PicoUsd),
        cache_write: wire.cache_write.map(PicoUsd),
        cache_write_1h: wire.cache_write_1h.map(PicoUsd),
        reasoning: wire.reasoning.map(PicoUsd),
        request: wire.request.map(PicoUsd),
        web_search: wire.web_search.map(PicoUsd),
    }
}

/// `; did you mean …?`, if something is near enough; else nothing. Linear: only for errors.
pub fn did_you_mean<'a>(known: impl Iterator<Item = &'a str>, name: &str) -> String {
    nearest(known, name).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default()
}

/// The known name nearest to one that is not, if it is near at all.
pub fn nearest<'a>(known: impl Iterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    known
        .map(|known| (distance(known, name), known))
        .filter(|(distance, known)| *distance * 3 <= known.len().max(3))
        .min()
        .map(|(_, known)| known)
}

/// Edit distance between two short names (Levenshtein, one row).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(128).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, left) in left.chars().take(128).enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (at, right) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(left != *right);
            diagonal = row[at + 1];
            row[at + 1] = substituted.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests;
