//! Hard filters: what takes an endpoint out of the choice, and what would let it in again. An endpoint that is out is never tried.

use crate::board::{Board, Entry};
use crate::names::Named;
use crate::need::{Need, Way};
use crate::wishes::{MaxPrice, Wishes, covers};
use fairlead_ir::{PicoUsd, Tier};
use fairlead_snapshot::{Modalities, Parameters};

/// Why an endpoint is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It cannot be spoken to about this at all.
    NoDialect,
    /// It costs something, and `:free` wants what does not.
    NotFree,
    /// The same of `openrouter/free`.
    NotFreeToPick,
    /// `only` does not name it.
    NotAllowed,
    /// `order` does not name it, and nothing else may be tried.
    NotListed,
    /// `ignore` names it.
    Ignored,
    /// Its service tier, which is this one, was not asked for, or another one was.
    OtherTier(Tier),
    /// The dialect that it is spoken to in has no word for its tier.
    NoWord(Tier),
    /// Its provider may keep or train on prompts, or does not say.
    DataCollection,
    /// Its provider keeps something, or does not say.
    NotZdr,
    /// Its weights are stored in another way.
    Quantization,
    /// It is dearer, in the member of `max_price` that is named.
    TooDear(PriceMember),
    /// The prompt and what may follow are longer than its context of so many tokens.
    Context(u64),
    /// The prompt is longer than the so many tokens it takes.
    Prompt(u64),
    /// The caller wants more tokens than the so many it gives.
    Completion(u64),
    /// The request takes more tokens than the provider's keys are allowed in a minute.
    KeyTokens {
        /// The largest `tpm` among them.
        tpm: u64,
        /// What the request takes: its prompt, estimated, and `max_tokens`.
        needs: u64,
    },
    /// It does not take these.
    Inputs(Modalities),
    /// It does not give these.
    Outputs(Modalities),
    /// It knows no tools.
    Tools,
    /// It does not know these parameters.
    Parameters(Parameters),
}

/// A member of `max_price`, with the price that is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriceMember {
    /// Per prompt token.
    Prompt(PicoUsd),
    /// Per completion token.
    Completion(PicoUsd),
    /// Per request.
    Request(PicoUsd),
}

impl Reason {
    /// The word of those that lack a parameter, or say it in another way, where that is not wanted.
    pub const REQUIRE_PARAMETERS: &'static str = "require_parameters";

    /// OpenRouter's word for it in `excluded_by`, ours where they have none.
    pub const fn word(self) -> &'static str {
        match self {
            Reason::NoDialect => "dialect",
            Reason::NotFree | Reason::NotFreeToPick => "free",
            Reason::NotAllowed | Reason::NotListed | Reason::Ignored => "allowed_providers",
            Reason::OtherTier(_) | Reason::NoWord(_) => "service_tier",
            Reason::DataCollection => "data_policy:training",
            Reason::NotZdr => "data_policy:zdr",
            Reason::Quantization => "quantization",
            Reason::TooDear(_) => "max_price",
            Reason::Context(_) | Reason::Prompt(_) => "context_length",
            Reason::Completion(_) => "max_tokens",
            Reason::KeyTokens { .. } => "provider_tpm",
            Reason::Inputs(_) => "input_modalities",
            Reason::Outputs(_) => "output_modalities",
            Reason::Tools => "tools",
            Reason::Parameters(_) => Reason::REQUIRE_PARAMETERS,
        }
    }

    /// Whether the endpoint may take the request all the same: the prompt's size is estimated; and a file that a model does not take may go there
    /// as text, catalogues are often silent about files.
    pub(crate) fn is_a_guess(self) -> bool {
        match self {
            Reason::Context(_) | Reason::Prompt(_) => true,
            Reason::Inputs(missing) => missing == Modalities::FILE,
            _ => false,
        }
    }

    /// The member of a request that it comes from, as clients of OpenRouter write it; `None` where it is the model's own nature.
    pub const fn field(self) -> Option<&'static str> {
        Some(match self {
            Reason::NoDialect => return None,
            Reason::NotFree | Reason::NotFreeToPick => "model",
            Reason::NotAllowed => "provider.only",
            Reason::NotListed => "provider.order",
            Reason::Ignored => "provider.ignore",
            Reason::OtherTier(_) | Reason::NoWord(_) => "service_tier",
            Reason::DataCollection => "provider.data_collection",
            Reason::NotZdr => "provider.zdr",
            Reason::Quantization => "provider.quantizations",
            Reason::TooDear(PriceMember::Prompt(_)) => "provider.max_price.prompt",
            Reason::TooDear(PriceMember::Completion(_)) => "provider.max_price.completion",
            Reason::TooDear(PriceMember::Request(_)) => "provider.max_price.request",
            Reason::Context(_) | Reason::Prompt(_) | Reason::KeyTokens { .. } | Reason::Inputs(_) => "messages",
            Reason::Completion(_) => "max_tokens",
            Reason::Outputs(_) => "modalities",
            Reason::Tools => "tools",
            Reason::Parameters(_) => "provider.require_parameters",
        })
    }

    /// How much of a cause it is. Where another filter takes out the tier that is asked for, or what costs nothing, that the rest is of other
    /// tiers, or costs something, only follows.
    pub(crate) const fn rank(self) -> u8 {
        match self {
            Reason::OtherTier(_) | Reason::NotFree | Reason::NotFreeToPick => 0,
            Reason::NoWord(_) => 1,
            _ => 2,
        }
    }

    /// Whether the same would let the endpoint in.
    pub(crate) fn is_relaxed_like(self, other: Reason) -> bool {
        self.word() == other.word() && self.relax() == other.relax()
    }

    /// What would let the endpoint in.
    pub fn relax(self) -> String {
        let list = |names: &mut dyn Iterator<Item = &'static str>| names.collect::<Vec<_>>().join(", ");
        match self {
            Reason::NoDialect => "nothing: it does not do this kind of work".to_owned(),
            Reason::NotFree => "leave :free away".to_owned(),
            Reason::NotFreeToPick => "name the model itself: openrouter/free picks what costs nothing".to_owned(),
            Reason::NotAllowed => "name it in provider.only".to_owned(),
            Reason::NotListed => "name it in provider.order, or leave provider.allow_fallbacks away".to_owned(),
            Reason::Ignored => "take it out of provider.ignore".to_owned(),
            Reason::OtherTier(Tier::Standard) => "leave service_tier away".to_owned(),
            Reason::OtherTier(Tier::Batch) => "name it in provider.order or provider.only".to_owned(),
            Reason::OtherTier(tier) => format!("ask for service_tier {:?}, or name it in provider.order or provider.only", tier.name()),
            Reason::NoWord(tier) => format!("nothing: its dialect has no word for service_tier {:?}", tier.name()),
            Reason::DataCollection => "set provider.data_collection to allow, or declare the provider's data_policy".to_owned(),
            Reason::NotZdr => "leave provider.zdr away, or declare the provider's data_policy".to_owned(),
            Reason::Quantization => "widen provider.quantizations".to_owned(),
            Reason::TooDear(PriceMember::Prompt(price)) => format!("raise provider.max_price.prompt to {}", per_million(price)),
            Reason::TooDear(PriceMember::Completion(price)) => format!("raise provider.max_price.completion to {}", per_million(price)),
            Reason::TooDear(PriceMember::Request(price)) => format!("raise provider.max_price.request to {}", decimal(price, 12)),
            Reason::Context(tokens) => format!("prompt and max_tokens must fit into {tokens} tokens together"),
            Reason::Prompt(tokens) => format!("the prompt must fit into {tokens} tokens"),
            Reason::Completion(tokens) => format!("lower max_tokens to {tokens}"),
            Reason::KeyTokens { tpm, needs } => format!(
                "its keys are limited to {tpm} tokens a minute (tpm) and the request needs about {needs}: shorten the prompt, lower max_tokens, or have tpm raised"
            ),
            Reason::Inputs(missing) => format!("it does not take: {}", list(&mut missing.names())),
            Reason::Outputs(missing) => format!("it does not give: {}", list(&mut missing.names())),
            Reason::Tools => "leave the tools away".to_owned(),
            Reason::Parameters(missing) => format!("leave provider.require_parameters away, or these: {}", list(&mut missing.names())),
        }
    }
}

fn per_million(price: PicoUsd) -> String {
    decimal(price, 6)
}

/// A price as a plain decimal with at most so many places.
fn decimal(price: PicoUsd, places: usize) -> String {
    let scale = 10u64.pow(places as u32);
    let text = format!("{}.{:0places$}", price.0 / scale, price.0 % scale);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What a request demands, beside what its wishes say.
pub(crate) struct Demand<'a> {
    pub(crate) board: &'a Board,
    pub(crate) need: &'a Need,
    pub(crate) wishes: &'a Wishes,
    /// Whether any endpoint that may be chosen belongs to the tier that is asked for.
    pub(crate) has_tier: bool,
    /// Only endpoints that cost nothing.
    pub(crate) only_free: bool,
    /// The parameter that offers tools, where they are on offer.
    pub(crate) tools: Parameters,
}

impl Demand<'_> {
    /// How the endpoint is spoken to, or why it is out. The cheapest tests go first.
    pub(crate) fn judge(&self, entry: &Entry, named: Named, way: Option<Way>) -> Result<Way, Reason> {
        let way = way.ok_or(Reason::NoDialect)?;
        if let Some(tier) = entry.asks.filter(|tier| tier.word(way.dialect).is_none()) {
            return Err(Reason::NoWord(tier));
        }
        if (named.variant.free || self.only_free) && !entry.is_free() {
            return Err(if named.variant.free { Reason::NotFree } else { Reason::NotFreeToPick });
        }
        self.providers(entry, named)?;
        self.policy(entry)?;
        self.price(entry)?;
        if !self.need.is_unsized {
            self.size(entry)?;
        }
        self.completion(entry)?;
        self.keys(entry)?;
        self.abilities(entry)?;
        Ok(way)
    }

    fn providers(&self, entry: &Entry, named: Named) -> Result<(), Reason> {
        let Wishes { order, only, ignore, .. } = self.wishes;
        let asked = self.wishes.asked_tier();
        let is_asked_for = asked.or_else(|| self.wishes.opened_tier(named.variant)).is_some_and(|wanted| entry.is_of(wanted));
        // A base slug does not mean a tier, unless the request asks for the tier in another way.
        let names = |slug: &str| covers(slug, &entry.tag) || is_asked_for && entry.is_sold_by(slug);
        if !only.is_empty() && !only.iter().any(|slug| names(slug)) {
            return Err(Reason::NotAllowed);
        }
        if ignore.iter().any(|slug| covers(slug, &entry.tag) || entry.is_sold_by(slug)) {
            return Err(Reason::Ignored);
        }
        match (entry.tier, asked) {
            (None, None) => Ok(()),
            (None, Some(asked)) if asked.is_as_good_as(Tier::Priority) => Ok(()),
            // Where no endpoint is of the tier, the usual one serves.
            (None, Some(_)) if !self.has_tier => Ok(()),
            (None, Some(_)) => Err(Reason::OtherTier(Tier::Standard)),
            (Some(_), _) if is_asked_for => Ok(()),
            // Whoever spells a tier out means it.
            (Some(_), _) if order.iter().chain(only).any(|slug| **slug == *entry.tag) => Ok(()),
            (Some(tier), _) => Err(Reason::OtherTier(tier)),
        }
    }

    /// Unknown satisfies no demand for privacy.
    fn policy(&self, entry: &Entry) -> Result<(), Reason> {
        let Wishes { deny_data_collection, zdr, quantizations, .. } = self.wishes;
        if *deny_data_collection == Some(true) || *zdr == Some(true) {
            let policy = self.board.provider(entry).data_policy;
            let keeps_nothing = policy.zdr == Some(true) || policy.retention_days == Some(0);
            if *zdr == Some(true) && !keeps_nothing {
                return Err(Reason::NotZdr);
            }
            if *deny_data_collection == Some(true) && policy.training != Some(false) && policy.zdr != Some(true) {
                return Err(Reason::DataCollection);
            }
        }
        if !quantizations.is_empty() && !quantizations.contains(self.board.endpoint(entry).quantization) {
            return Err(Reason::Quantization);
        }
        Ok(())
    }

    fn price(&self, entry: &Entry) -> Result<(), Reason> {
        let bound = self.wishes.max_price;
        let above = |most: Option<PicoUsd>, price: PicoUsd| most.is_some_and(|most| price > most);
        if bound == MaxPrice::NONE {
            return Ok(());
        }
        match entry.prices.at(self.need.prompt_tokens, self.need.terms(entry.priced_tier())) {
            price if above(bound.prompt, price.prompt) => Err(Reason::TooDear(PriceMember::Prompt(price.prompt))),
            price if above(bound.completion, price.completion) => Err(Reason::TooDear(PriceMember::Completion(price.completion))),
            price if above(bound.request, price.request) => Err(Reason::TooDear(PriceMember::Request(price.request))),
            _ => Ok(()),
        }
    }

    fn size(&self, entry: &Entry) -> Result<(), Reason> {
        let endpoint = self.board.endpoint(entry);
        let (prompt, most) = (self.need.prompt_tokens, self.need.max_tokens.unwrap_or(0));
        if let Some(context) = endpoint.context_tokens.filter(|context| prompt.saturating_add(most) > *context) {
            return Err(Reason::Context(context));
        }
        endpoint.max_prompt_tokens.filter(|longest| prompt > *longest).map_or(Ok(()), |longest| Err(Reason::Prompt(longest)))
    }

    /// What the caller says and what is known of the endpoint are no estimates.
    fn completion(&self, entry: &Entry) -> Result<(), Reason> {
        let most = self.need.max_tokens.unwrap_or(0);
        let gives = self.board.endpoint(entry).max_completion_tokens.or(self.board.model(entry).max_completion_tokens);
        gives.filter(|gives| most > *gives).map_or(Ok(()), |gives| Err(Reason::Completion(gives)))
    }

    /// What is configured is no estimate: no key will ever take a request that is larger.
    fn keys(&self, entry: &Entry) -> Result<(), Reason> {
        let needs = self.need.tokens_at_most();
        entry.key_tokens_below(needs).map_or(Ok(()), |tpm| Err(Reason::KeyTokens { tpm, needs }))
    }

    fn abilities(&self, entry: &Entry) -> Result<(), Reason> {
        let endpoint = self.board.endpoint(entry);
        let lacks = |has: Modalities, wanted: Modalities| if has.is_empty() { Modalities::NONE } else { wanted.without(has) };
        let inputs = lacks(endpoint.input_modalities, self.need.inputs);
        if !inputs.is_empty() {
            return Err(Reason::Inputs(inputs));
        }
        let outputs = lacks(endpoint.output_modalities, self.need.outputs);
        if !outputs.is_empty() {
            return Err(Reason::Outputs(outputs));
        }
        let Some(known) = endpoint.supported_parameters else { return Ok(()) };
        if !known.contains(self.tools) {
            return Err(Reason::Tools);
        }
        let missing = self.need.parameters.without(known);
        if self.wishes.require_parameters == Some(true) && !missing.is_empty() {
            return Err(Reason::Parameters(missing));
        }
        Ok(())
    }
}
