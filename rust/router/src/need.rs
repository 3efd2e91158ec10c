//! What a request needs, as far as choosing goes.

use crate::random::{hash, join};
use fairlead_ir::{Dialect, Price, Usage};
use fairlead_snapshot::{Modalities, Parameters};

/// What a request needs of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The prompt, estimated.
    pub prompt_tokens: u64,
    /// The caller's bound on the completion.
    pub max_tokens: Option<u64>,
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
}

impl Need {
    /// A request of so many tokens and nothing special.
    pub const fn tokens(prompt_tokens: u64, max_tokens: Option<u64>) -> Need {
        Need {
            prompt_tokens,
            max_tokens,
            inputs: Modalities::NONE,
            outputs: Modalities::NONE,
            parameters: Parameters::NONE,
            has_tools: false,
            account: 0,
            conversation: None,
        }
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

/// What a request is expected to cost at a price, in pico-dollars: the prompt at the price of its cache state, and what endpoints of this
/// kind usually give, within the caller's bound.
pub(crate) fn expected_pico(need: &Need, price: &Price, usual_completion: u32, is_cached: bool) -> f64 {
    let cached = if is_cached { need.prompt_tokens / CACHED_DENOMINATOR * CACHED_NUMERATOR } else { 0 };
    let usual = if usual_completion == 0 { USUAL_COMPLETION } else { u64::from(usual_completion) };
    let usage = Usage {
        prompt_tokens: need.prompt_tokens - cached,
        cache_read_tokens: cached,
        completion_tokens: need.max_tokens.map_or(usual, |most| most.min(usual)),
        ..Usage::default()
    };
    price.pico(&usage) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_ir::PicoUsd;

    #[test]
    fn what_is_cached_is_cheaper_and_a_bound_is_one() {
        let price =
            Price { prompt: PicoUsd(10), completion: PicoUsd(100), cache_read: PicoUsd(1), request: PicoUsd(5), ..Price::default() };
        let check = |max_tokens, usual, cached, expected: f64| {
            let pico = expected_pico(&Need::tokens(1_000, max_tokens), &price, usual, cached);
            assert!((pico - expected).abs() < 1e-6, "{max_tokens:?} {usual} {cached}: {pico}");
        };
        check(None, 0, false, 10_000.0 + 51_200.0 + 5.0);
        check(None, 20, false, 10_000.0 + 2_000.0 + 5.0);
        check(Some(3), 20, false, 10_000.0 + 300.0 + 5.0);
        check(Some(3), 20, true, 1_000.0 + 900.0 + 300.0 + 5.0);
    }
}
