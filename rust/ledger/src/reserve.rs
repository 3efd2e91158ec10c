//! How much to hold back before a call: an honest upper estimate (`reliability.md` 3.3, formula R).

use fairlead_ir::{NanoUsd, PicoUsd, Price, PriceTable, Tier};

/// Bytes of prompt per token assumed for the default estimate. English runs near 4 and code near 3; dense scripts run
/// below, so the estimate may be under by at most this factor (one byte per token is the hard bound of byte-level vocabularies).
pub const BYTES_PER_PROMPT_TOKEN: u64 = 3;

/// Upper estimate of a prompt's tokens from the size of its JSON.
pub const fn prompt_tokens(body_bytes: u64) -> u64 {
    body_bytes.div_ceil(BYTES_PER_PROMPT_TOKEN)
}

/// Bytes of a request's JSON per token where a prompt is billed without the provider's count: English near 4.5, code near 3.5, with
/// what the JSON around them adds.
const LIKELY_BYTES_PER_TOKEN: u64 = 4;

/// Likely tokens of a prompt's text from the size of its JSON: what is billed where the provider's own count never came. Never more than
/// [`prompt_tokens`] (`reserve` holds that much).
pub const fn likely_prompt_tokens(text_bytes: u64) -> u64 {
    text_bytes.div_ceil(LIKELY_BYTES_PER_TOKEN)
}

/// How far a call may go at an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<'a> {
    /// The longest its prompt can be.
    pub prompt_tokens: u64,
    /// The most it can be answered with.
    pub completion_tokens: u64,
    /// The most web searches its provider may make for it.
    pub web_searches: u64,
    /// The tiers it may be served in: the one that is asked for, and the usual one, which a provider may fall back to.
    pub tiers: &'a [Tier],
    /// When it began, Unix milliseconds.
    pub from_ms: u64,
    /// For how long a request to the provider may still begin.
    pub span_ms: u64,
}

/// The most a call may cost at these prices: at the dearest of those that it can still be billed at, prompt and completion at their dearest,
/// and the request itself. `None` when the figure does not fit, which only an absurd `max_tokens` can cause.
///
/// It covers every usage within the bounds, in every tier of theirs; not a dearer tier that the provider serves in unasked.
pub fn ceiling(table: &PriceTable, bounds: &Bounds<'_>) -> Option<NanoUsd> {
    let mut dearest = Some(NanoUsd(0));
    table.within(bounds.prompt_tokens, bounds.tiers, bounds.from_ms, bounds.span_ms, |price, prompt_tokens| {
        let one = ceiling_at(price, prompt_tokens, bounds.completion_tokens, bounds.web_searches);
        dearest = dearest.zip(one).map(|(dearest, one)| dearest.max(one));
    });
    dearest
}

/// The most completion tokens for which a call stays within `money` at these prices, whatever of them it is billed at: the inverse of
/// [`ceiling`]. `bounds.completion_tokens` does not matter. `None` where the prompt alone may cost more; [`u64::MAX`] where an answer of any
/// length costs nothing.
pub fn affordable(table: &PriceTable, bounds: &Bounds<'_>, money: NanoUsd) -> Option<u64> {
    let money = u128::try_from(money.0).ok()? * u128::from(PICO_PER_NANO);
    let mut fewest = Some(u64::MAX);
    table.within(bounds.prompt_tokens, bounds.tiers, bounds.from_ms, bounds.span_ms, |price, prompt_tokens| {
        let tokens = money.checked_sub(before_completion(price, prompt_tokens, bounds.web_searches)).map(|spare| {
            match price.dearest_completion().0 {
                0 => u64::MAX,
                each => u64::try_from(spare / u128::from(each)).unwrap_or(u64::MAX),
            }
        });
        fewest = fewest.zip(tokens).map(|(fewest, tokens)| fewest.min(tokens));
    });
    fewest
}

/// Pico-dollars in a nano-dollar.
const PICO_PER_NANO: u64 = 1_000;

fn ceiling_at(price: &Price, prompt_tokens: u64, completion_tokens: u64, web_searches: u64) -> Option<NanoUsd> {
    let completion = u128::from(price.dearest_completion().0) * u128::from(completion_tokens);
    NanoUsd::from_pico_ceil(before_completion(price, prompt_tokens, web_searches).checked_add(completion)?)
}

/// All but the completion; what does not fit is the most there is.
fn before_completion(price: &Price, prompt_tokens: u64, web_searches: u64) -> u128 {
    let product = |price: PicoUsd, count: u64| u128::from(price.0) * u128::from(count);
    let parts = [product(price.dearest_prompt(), prompt_tokens), product(price.web_search, web_searches), u128::from(price.request.0)];
    parts.into_iter().fold(0, u128::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_ir::{Hours, Override, Rates, Terms, Usage};
    use proptest::prelude::*;

    fn rates() -> impl Strategy<Value = Rates> {
        let rate = || prop::option::of((0u64..10_000_000).prop_map(PicoUsd));
        (rate(), rate(), rate(), rate(), rate(), rate(), rate(), rate()).prop_map(|row| Rates {
            prompt: row.0,
            completion: row.1,
            cache_read: row.2,
            cache_write: row.3,
            cache_write_1h: row.4,
            reasoning: row.5,
            request: row.6,
            web_search: row.7,
        })
    }

    fn hours() -> impl Strategy<Value = Hours> {
        (0..Hours::WEEK, 1..=1440u16).prop_map(|(from, length)| Hours { from, to: from + length })
    }

    fn tier() -> impl Strategy<Value = Tier> {
        prop::sample::select(Tier::ALL.to_vec())
    }

    fn table() -> impl Strategy<Value = PriceTable> {
        let row = (prop::option::of(1u64..3_000), prop::option::of(tier()), prop::collection::vec(hours(), 0..3), rates())
            .prop_map(|(prompt_tokens_above, tier, hours, rates)| Override { prompt_tokens_above, tier, hours, rates });
        (rates(), prop::collection::vec(row, 0..5)).prop_map(|(base, overrides)| PriceTable::new(base, overrides))
    }

    const WEEK_MS: u64 = 7 * 24 * 3_600_000;

    proptest! {
        /// Whatever the provider reports within the bounds, in whichever bucket, tier asked for or fallen back to, begun whenever the call
        /// still could: the reservation covers it.
        #[test]
        fn covers_every_bill(
            table in table(), asked in tier(), fell_back in any::<bool>(),
            buckets in prop::array::uniform4(0u64..1000), completion in 0u64..1000, reasoning in 0u64..1000,
            (web_searches, spare_searches) in (0u64..5, 0u64..3), spare_prompt in 0u64..2000, spare_completion in 0u64..10, from_ms in 0..2 * WEEK_MS, span_ms in 0..WEEK_MS * 2, share in 0.0..=1.0,
        ) {
            let usage = Usage {
                prompt_tokens: buckets[0], cache_read_tokens: buckets[1], cache_write_tokens: buckets[2],
                cache_write_1h_tokens: buckets[3], completion_tokens: completion, reasoning_tokens: reasoning, web_searches,
            };
            let bounds = Bounds {
                prompt_tokens: usage.total_prompt_tokens() + spare_prompt,
                completion_tokens: completion + spare_completion,
                web_searches: web_searches + spare_searches,
                tiers: &[asked, Tier::Standard],
                from_ms,
                span_ms,
            };
            let terms = Terms { tier: if fell_back { Tier::Standard } else { asked }, unix_ms: from_ms + (span_ms as f64 * share) as u64 };
            prop_assert!(ceiling(&table, &bounds) >= table.cost(&usage, terms), "{bounds:?} {terms:?}");
        }
    }

    proptest! {
        /// It is the inverse of the ceiling: so many tokens fit, and one more would not.
        #[test]
        fn what_money_buys_fits(
            table in table(), tier in tier(), prompt_tokens in 0u64..5_000, web_searches in 0u64..4, money in 0i64..50_000_000, from_ms in 0..2 * WEEK_MS,
            span_ms in 0..WEEK_MS * 2,
        ) {
            let tiers = [tier, Tier::Standard];
            let bounds = |completion_tokens| Bounds { prompt_tokens, completion_tokens, web_searches, tiers: &tiers, from_ms, span_ms };
            let money = NanoUsd(money);
            match affordable(&table, &bounds(0), money) {
                None => prop_assert!(ceiling(&table, &bounds(0)).is_none_or(|cost| cost > money)),
                Some(u64::MAX) => prop_assert_eq!(ceiling(&table, &bounds(0)), ceiling(&table, &bounds(1 << 32))),
                Some(tokens) => {
                    prop_assert!(ceiling(&table, &bounds(tokens)).is_some_and(|cost| cost <= money));
                    prop_assert!(ceiling(&table, &bounds(tokens + 1)).is_none_or(|cost| cost > money));
                }
            }
        }
    }

    #[test]
    fn the_dearest_that_can_be_is_reserved_and_no_dearer() {
        let rates = |prompt: u64| Rates { prompt: Some(PicoUsd(prompt * 1000)), completion: Some(PicoUsd(0)), ..Rates::default() };
        let table = PriceTable::new(
            rates(10),
            vec![
                Override { prompt_tokens_above: Some(100), rates: rates(20), ..Override::default() },
                Override { tier: Some(Tier::Flex), rates: rates(5), ..Override::default() },
                Override { tier: Some(Tier::Priority), rates: rates(40), ..Override::default() },
                // Thursdays, as the first day of 1970 was.
                Override { hours: vec![Hours { from: 3 * 1440 + 60, to: 3 * 1440 + 120 }], rates: rates(1), ..Override::default() },
            ],
        );
        let check = |prompt_tokens, asked, from_minute: u64, span_minutes: u64, expected| {
            let (from_ms, span_ms) = (from_minute * 60_000, span_minutes * 60_000);
            let bounds = Bounds { prompt_tokens, completion_tokens: 9, web_searches: 0, tiers: &[asked, Tier::Standard], from_ms, span_ms };
            assert_eq!(ceiling(&table, &bounds), Some(NanoUsd(expected)), "{bounds:?}");
        };
        check(100, Tier::Standard, 0, 10, 1_000);
        check(101, Tier::Standard, 0, 10, 2_020);
        // What flex saves is not counted on: the provider may fall back to the usual tier.
        check(100, Tier::Flex, 0, 10, 1_000);
        check(100, Tier::Priority, 0, 10, 4_000);
        // Inside the cheap hour and out of it again.
        check(100, Tier::Standard, 70, 10, 100);
        check(100, Tier::Standard, 70, 60, 1_000);
        check(100, Tier::Standard, 50, 10, 1_000);
    }
}
