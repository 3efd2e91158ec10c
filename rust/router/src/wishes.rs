//! What a request wants of the choice, typed: OpenRouter's `provider` object and what stands beside it. Where nothing is wished,
//! [`Wishes::NONE`] costs nothing.

use crate::names::Variant;
use fairlead_ir::{PicoUsd, Tier};
use fairlead_snapshot::Quantizations;

mod read;

pub use read::{Members, WishError, read, read_models};
pub(crate) use read::{json, shown};

/// What a request, a preset or a policy wants of the choice. The default wants nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Wishes {
    /// Providers to try first, in this order. Switches balancing and stickiness off.
    pub order: Vec<Box<str>>,
    /// The only providers that may be used; empty: all.
    pub only: Vec<Box<str>>,
    /// Providers that may not be used.
    pub ignore: Vec<Box<str>>,
    /// Whether anything may be tried after the first choice, or after those of `order`. Default: yes.
    pub allow_fallbacks: Option<bool>,
    /// Whether an endpoint must know every parameter that is sent. Default: no.
    pub require_parameters: Option<bool>,
    /// Whether endpoints that keep or train on prompts are out. Default: no.
    pub deny_data_collection: Option<bool>,
    /// Whether only endpoints are in that keep nothing. Default: no.
    pub zdr: Option<bool>,
    /// How weights may be stored; none: as they like.
    pub quantizations: Quantizations,
    /// What endpoints are put in order by, instead of being balanced.
    pub sort: Sort,
    /// Endpoints that are slower, in tokens per second, go behind the others.
    pub min_throughput: Cutoffs,
    /// Endpoints whose first token comes later, in seconds, go behind the others.
    pub max_latency: Cutoffs,
    /// Endpoints that are dearer are out.
    pub max_price: MaxPrice,
    /// The service tier.
    pub tier: Option<Tier>,
}

/// Wishes that most requests do not have: then they are a null pointer, wherever they are handed on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wished(Option<Box<Wishes>>);

impl Wished {
    /// Nothing is wished.
    pub const NONE: Wished = Wished(None);

    /// Whether nothing is wished.
    pub const fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// The wishes themselves.
    pub fn into_wishes(self) -> Wishes {
        self.0.map_or(Wishes::NONE, |wishes| *wishes)
    }
}

impl From<Wishes> for Wished {
    fn from(wishes: Wishes) -> Wished {
        Wished((wishes != Wishes::NONE).then(|| Box::new(wishes)))
    }
}

impl std::ops::Deref for Wished {
    type Target = Wishes;

    fn deref(&self) -> &Wishes {
        static NONE: Wishes = Wishes::NONE;
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl Default for Wishes {
    fn default() -> Wishes {
        Wishes::NONE
    }
}

impl Wishes {
    /// Nothing is wished.
    pub const NONE: Wishes = Wishes {
        order: Vec::new(),
        only: Vec::new(),
        ignore: Vec::new(),
        allow_fallbacks: None,
        require_parameters: None,
        deny_data_collection: None,
        zdr: None,
        quantizations: Quantizations::NONE,
        sort: Sort { by: None, partition: Partition::Model },
        min_throughput: Cutoffs::NONE,
        max_latency: Cutoffs::NONE,
        max_price: MaxPrice::NONE,
        tier: None,
    };

    /// These wishes with those of a preset where nothing is said here: the request wins, member by member.
    #[must_use]
    pub fn over(self, preset: &Wishes) -> Wishes {
        let list = |mine: Vec<Box<str>>, theirs: &Vec<Box<str>>| if mine.is_empty() { theirs.clone() } else { mine };
        Wishes {
            order: list(self.order, &preset.order),
            only: list(self.only, &preset.only),
            ignore: list(self.ignore, &preset.ignore),
            allow_fallbacks: self.allow_fallbacks.or(preset.allow_fallbacks),
            require_parameters: self.require_parameters.or(preset.require_parameters),
            deny_data_collection: self.deny_data_collection.or(preset.deny_data_collection),
            zdr: self.zdr.or(preset.zdr),
            quantizations: if self.quantizations.is_empty() { preset.quantizations } else { self.quantizations },
            sort: if self.sort == Sort::NONE { preset.sort } else { self.sort },
            min_throughput: if self.min_throughput == Cutoffs::NONE { preset.min_throughput } else { self.min_throughput },
            max_latency: if self.max_latency == Cutoffs::NONE { preset.max_latency } else { self.max_latency },
            max_price: if self.max_price == MaxPrice::NONE { preset.max_price } else { self.max_price },
            tier: self.tier.or(preset.tier),
        }
    }

    /// These wishes under a policy, which can only take away: allow lists intersect, bans unite, the stricter of two demands holds.
    #[must_use]
    pub fn under(mut self, policy: &Wishes) -> Wishes {
        self.only = intersection(self.only, &policy.only);
        self.ignore.extend(policy.ignore.iter().cloned());
        self.deny_data_collection = stricter(self.deny_data_collection, policy.deny_data_collection);
        self.zdr = stricter(self.zdr, policy.zdr);
        self.require_parameters = stricter(self.require_parameters, policy.require_parameters);
        self.max_price = self.max_price.lower(policy.max_price);
        if !policy.quantizations.is_empty() {
            let both = self.quantizations.without(self.quantizations.without(policy.quantizations));
            self.quantizations = if self.quantizations.is_empty() || both.is_empty() { policy.quantizations } else { both };
        }
        self
    }

    /// The tier that is asked for, if it is not the usual one.
    pub(crate) fn asked_tier(&self) -> Option<Tier> {
        self.tier.filter(|tier| *tier != Tier::Standard)
    }

    /// The tier that a suffix opens beside the usual one. Whoever asks for a tier, be it the usual one, means that.
    pub(crate) fn opened_tier(&self, variant: Variant) -> Option<Tier> {
        if self.tier.is_some() { None } else { variant.opens }
    }

    /// Whether a tier is named where endpoints are.
    pub(crate) fn spells_a_tier(&self) -> bool {
        self.order.iter().chain(&self.only).any(|slug| tier_of_tag(slug).is_some())
    }

    /// Whether anything but the default order is asked for.
    pub(crate) fn has_order(&self) -> bool {
        !self.order.is_empty()
    }
}

/// Matches nothing: a slug cannot be empty.
const NOBODY: &str = "";

fn intersection(mine: Vec<Box<str>>, theirs: &[Box<str>]) -> Vec<Box<str>> {
    if mine.is_empty() || theirs.is_empty() {
        return if mine.is_empty() { theirs.to_vec() } else { mine };
    }
    // The narrower of two slugs, where one of them names a part of the other.
    let both = |left: &str, right: &str| match () {
        () if covers(left, right) => Some(right.into()),
        () if covers(right, left) => Some(left.into()),
        () => None,
    };
    let found: Vec<Box<str>> = mine.iter().flat_map(|left| theirs.iter().filter_map(move |right| both(left, right))).collect();
    if found.is_empty() { vec![NOBODY.into()] } else { found }
}

fn stricter(mine: Option<bool>, theirs: Option<bool>) -> Option<bool> {
    if theirs == Some(true) { theirs } else { mine }
}

/// Whether a slug means an endpoint with this tag: itself, or as its base any variant or region but a service tier's.
pub(crate) fn covers(slug: &str, tag: &str) -> bool {
    match tag.strip_prefix(slug) {
        Some("") => true,
        Some(rest) => !slug.is_empty() && rest.starts_with('/') && tier_of_tag(tag).is_none(),
        None => false,
    }
}

/// What endpoints are put in order by, and how far that order reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// `None`: balanced by price.
    pub by: Option<By>,
    /// Whether the models of a list stay apart.
    pub partition: Partition,
}

impl Sort {
    /// The default: balanced, one model after the other.
    pub const NONE: Sort = Sort { by: None, partition: Partition::Model };
}

/// What endpoints are put in order by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// What this request is expected to cost there.
    Price,
    /// Tokens per second, the median of five minutes.
    Throughput,
    /// Time to the first token, the median of five minutes.
    Latency,
    /// How well tools are called there.
    Exacto,
}

impl By {
    pub(crate) const ALL: [(&'static str, By); 4] =
        [("price", By::Price), ("throughput", By::Throughput), ("latency", By::Latency), ("exacto", By::Exacto)];
}

/// Whether an order reaches across the models of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partition {
    /// One model after the other.
    Model,
    /// The endpoints of all models together.
    None,
}

/// Demands on the percentiles 50, 75, 90 and 99; all that are given must hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cutoffs(
    /// In the order of [`Cutoffs::NAMES`].
    pub [Option<f64>; 4],
);

impl Cutoffs {
    /// No demand.
    pub const NONE: Cutoffs = Cutoffs([None; 4]);
    /// The percentiles' names.
    pub const NAMES: [&'static str; 4] = ["p50", "p75", "p90", "p99"];
}

/// Most that may be charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPrice {
    /// Per prompt token.
    pub prompt: Option<PicoUsd>,
    /// Per completion token.
    pub completion: Option<PicoUsd>,
    /// Per request.
    pub request: Option<PicoUsd>,
}

impl MaxPrice {
    /// No bound.
    pub const NONE: MaxPrice = MaxPrice { prompt: None, completion: None, request: None };

    fn lower(self, other: MaxPrice) -> MaxPrice {
        let least = |left: Option<PicoUsd>, right: Option<PicoUsd>| left.into_iter().chain(right).min();
        MaxPrice {
            prompt: least(self.prompt, other.prompt),
            completion: least(self.completion, other.completion),
            request: least(self.request, other.request),
        }
    }
}

/// The service tier that an endpoint's tag names, if it is not the standard one: its last part, as in `openai/flex`.
pub(crate) fn tier_of_tag(tag: &str) -> Option<Tier> {
    let (_, last) = tag.rsplit_once('/')?;
    Tier::from_word(last.as_bytes()).filter(|tier| *tier != Tier::Standard)
}
