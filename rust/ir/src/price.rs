//! One dated price table of an endpoint, and price × usage.

use crate::money::{NanoUsd, PicoUsd};
use crate::usage::Usage;

/// Prices per unit. Absent cache prices are filled in when the table is made (`cache_read` = `prompt`, writes = `prompt`), so that
/// the sum below needs no decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// An uncached prompt token.
    pub prompt: PicoUsd,
    /// A completion token.
    pub completion: PicoUsd,
    /// A prompt token read from the cache.
    pub cache_read: PicoUsd,
    /// A prompt token written to the five-minute cache.
    pub cache_write: PicoUsd,
    /// A prompt token written to the one-hour cache.
    pub cache_write_1h: PicoUsd,
    /// A reasoning token; equals `completion` unless the provider lists it apart.
    pub reasoning: PicoUsd,
    /// The request itself.
    pub request: PicoUsd,
    /// A web search.
    pub web_search: PicoUsd,
}

impl Price {
    /// What `usage` costs, in pico-dollars, exactly. A product of two 64-bit numbers fits in 128 bits; the sum saturates and [`Price::cost`] refuses it.
    pub fn pico(&self, usage: &Usage) -> u128 {
        let reasoning = usage.reasoning_tokens.min(usage.completion_tokens);
        let product = |price: PicoUsd, units: u64| u128::from(price.0) * u128::from(units);
        [
            product(self.prompt, usage.prompt_tokens),
            product(self.cache_read, usage.cache_read_tokens),
            product(self.cache_write, usage.cache_write_tokens),
            product(self.cache_write_1h, usage.cache_write_1h_tokens),
            product(self.completion, usage.completion_tokens - reasoning),
            product(self.reasoning, reasoning),
            product(self.request, 1),
            product(self.web_search, usage.web_searches),
        ]
        .into_iter()
        .fold(0, u128::saturating_add)
    }

    /// What `usage` costs, rounded up once to the nano-dollar. `None` beyond nine billion dollars: the figures are not believable.
    pub fn cost(&self, usage: &Usage) -> Option<NanoUsd> {
        NanoUsd::from_pico_ceil(self.pico(usage))
    }

    /// The dearest price a prompt token can have here: what a reservation must assume.
    pub fn dearest_prompt(&self) -> PicoUsd {
        self.prompt.max(self.cache_read).max(self.cache_write).max(self.cache_write_1h)
    }

    /// The dearest price a completion token can have here.
    pub fn dearest_completion(&self) -> PicoUsd {
        self.completion.max(self.reasoning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICE: Price = Price {
        prompt: PicoUsd(3_000_000),
        completion: PicoUsd(15_000_000),
        cache_read: PicoUsd(300_000),
        cache_write: PicoUsd(3_750_000),
        cache_write_1h: PicoUsd(6_000_000),
        reasoning: PicoUsd(20_000_000),
        request: PicoUsd(7),
        web_search: PicoUsd(10_000_000_000),
    };

    #[test]
    fn every_bucket_is_priced_once() {
        let usage = Usage {
            prompt_tokens: 1,
            cache_read_tokens: 10,
            cache_write_tokens: 100,
            cache_write_1h_tokens: 1000,
            completion_tokens: 10_005,
            reasoning_tokens: 5,
            web_searches: 2,
        };
        let expected = 3_000_000u128 + 3_000_000 + 375_000_000 + 6_000_000_000 + 150_000_000_000 + 100_000_000 + 7 + 20_000_000_000;
        assert_eq!(PRICE.pico(&usage), expected);
        assert_eq!(PRICE.cost(&usage), Some(NanoUsd(expected.div_ceil(1000) as i64)));
    }

    #[test]
    fn absurd_usage_is_refused_not_wrapped() {
        let usage = Usage { completion_tokens: u64::MAX, ..Usage::default() };
        assert_eq!(PRICE.cost(&usage), None);
    }

    #[test]
    fn more_reasoning_than_completion_is_cut() {
        let usage = Usage { completion_tokens: 2, reasoning_tokens: 9, ..Usage::default() };
        assert_eq!(PRICE.pico(&usage), 40_000_007);
    }
}
