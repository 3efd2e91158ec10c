//! What a request needs, as far as choosing goes.

use crate::random::{hash, join};
use fairlead_ir::{Dialect, PriceTable, Terms, Tier, Usage};
use fairlead_snapshot::{Modalities, Parameters};

/// What a request needs of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The prompt, estimated.
    pub prompt_tokens: u64,
    /// The caller's bound on the completion.
    pub max_tokens: Option<u64>,
    /// Its size is not held against an endpoint's windows: it is estimated, and the provider says itself that it is too much.
    pub is_unsized: bool,
    /// What the prompt holds.
    pub inputs: Modalities,
    /// What the reply shall hold; none: text, or what the model gives.
    pub outputs: Modalities,
    /// The parameters that are sent.
    pub parameters: Parameters,
    /// Tools are on offer.
    pub has_tools: bool,
    /// Who pays: pins are theirs alone.
    pub account: u64,
    /// The conversation that it belongs to.
    pub conversation: Option<Conversation>,
    /// When it is asked for, Unix milliseconds: some prices depend on the hour.
    pub unix_ms: u64,
}

impl Need {
    /// A request of so many tokens and nothing special.
    pub const fn tokens(prompt_tokens: u64, max_tokens: Option<u64>) -> Need {
        Need {
            prompt_tokens,
            max_tokens,
            is_unsized: false,
            inputs: Modalities::NONE,
            outputs: Modalities::NONE,
            parameters: Parameters::NONE,
            has_tools: false,
            account: 0,
            conversation: None,
            unix_ms: 0,
        }
    }

    /// What decides which price applies in this tier, beside the prompt's length.
    pub(crate) const fn terms(&self, tier: Tier) -> Terms {
        Terms { tier, unix_ms: self.unix_ms }
    }

    /// All that it may take, for a provider's token limits.
    pub(crate) fn tokens_at_most(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.max_tokens.unwrap_or(0))
    }
}

/// What a request continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Names it, inside an account.
    pub hash: u64,
    /// The caller names it: it is kept together from the first request on.
    pub explicit: bool,
}

impl Conversation {
    /// By `session_id` or `prompt_cache_key`.
    pub fn named(name: &str) -> Conversation {
        Conversation { hash: hash(name.as_bytes()), explicit: true }
    }

    /// By its beginning: the first message of the system or developer, and the first of anybody else, as they stand in the body.
    pub fn begun(system: &[u8], first: &[u8]) -> Conversation {
        Conversation { hash: join(hash(system), hash(first)), explicit: false }
    }
}

/// How an endpoint would be spoken to: the caller's choice, made for each endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// In this dialect.
    pub dialect: Dialect,
    /// It will probably refuse: behind all others.
    pub reluctant: bool,
}

/// What is expected of a reply where nothing was learned.
const USUAL_COMPLETION: u64 = 512;
/// So much of a prompt is taken to be in the cache of an endpoint that has the conversation: all but the newest turn.
const CACHED_NUMERATOR: u64 = 9;
const CACHED_DENOMINATOR: u64 = 10;

/// What a request is expected to cost at the price that applies to it, in pico-dollars: the prompt at the price of its cache state, and what
/// endpoints of this kind usually give, within the caller's bound.
pub(crate) fn expected_pico(need: &Need, prices: &PriceTable, tier: Tier, usual_completion: u32, is_cached: bool) -> f64 {
    let cached = if is_cached { need.prompt_tokens / CACHED_DENOMINATOR * CACHED_NUMERATOR } else { 0 };
    let usual = if usual_completion == 0 { USUAL_COMPLETION } else { u64::from(usual_completion) };
    let usage = Usage {
        prompt_tokens: need.prompt_tokens - cached,
        cache_read_tokens: cached,
        completion_tokens: need.max_tokens.map_or(usual, |most| most.min(usual)),
        ..Usage::default()
    };
    prices.at(need.prompt_tokens, need.terms(tier)).pico(&usage) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_ir::{Override, PicoUsd, Price, Rates};

    #[test]
    fn what_is_cached_is_cheaper_and_a_bound_is_one() {
        let price =
            Price { prompt: PicoUsd(10), completion: PicoUsd(100), cache_read: PicoUsd(1), request: PicoUsd(5), ..Price::default() };
        let check = |max_tokens, usual, cached, expected: f64| {
            let pico = expected_pico(&Need::tokens(1_000, max_tokens), &price.into(), Tier::Standard, usual, cached);
            assert!((pico - expected).abs() < 1e-6, "{max_tokens:?} {usual} {cached}: {pico}");
        };
        check(None, 0, false, 10_000.0 + 51_200.0 + 5.0);
        check(None, 20, false, 10_000.0 + 2_000.0 + 5.0);
        check(Some(3), 20, false, 10_000.0 + 300.0 + 5.0);
        check(Some(3), 20, true, 1_000.0 + 900.0 + 300.0 + 5.0);
    }

    #[test]
    fn the_price_that_applies_is_expected() {
        let rates = |prompt| Rates { prompt: Some(PicoUsd(prompt)), ..Rates::default() };
        let row = |above, tier, prompt| Override { prompt_tokens_above: above, tier, rates: rates(prompt), ..Override::default() };
        let prices = PriceTable::new(rates(10), vec![row(Some(1_000), None, 20), row(None, Some(Tier::Flex), 5)]);
        let check = |prompt_tokens, tier, expected: f64| {
            let pico = expected_pico(&Need::tokens(prompt_tokens, Some(0)), &prices, tier, 0, false);
            assert!((pico - expected).abs() < 1e-6, "{prompt_tokens} {tier:?}: {pico}");
        };
        check(1_000, Tier::Standard, 10_000.0);
        check(1_001, Tier::Standard, 20_020.0);
        check(1_001, Tier::Flex, 5_005.0);
    }
}
