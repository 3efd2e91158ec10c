//! How much to hold back before a call: an honest upper estimate (`reliability.md` 3.3, formula R).

use fairlead_ir::{NanoUsd, Price};

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

/// The most a call may cost at these prices: prompt and completion at their dearest, and the request itself.
/// `None` when the figure does not fit, which only an absurd `max_tokens` can cause.
pub fn ceiling(price: &Price, prompt_tokens: u64, completion_tokens: u64) -> Option<NanoUsd> {
    let prompt = u128::from(price.dearest_prompt().0) * u128::from(prompt_tokens);
    let completion = u128::from(price.dearest_completion().0) * u128::from(completion_tokens);
    let total = prompt.checked_add(completion)?.checked_add(u128::from(price.request.0))?;
    NanoUsd::from_pico_ceil(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_ir::{PicoUsd, Usage};
    use proptest::prelude::*;

    proptest! {
        /// Whatever mix of buckets the provider reports, the reservation covers it if the counts were within the estimate.
        #[test]
        fn covers_every_mix(buckets in prop::array::uniform4(0u64..1000), completion in 0u64..1000, reasoning in 0u64..1000, prices in prop::array::uniform6(0u64..10_000_000)) {
            let price = Price {
                prompt: PicoUsd(prices[0]), cache_read: PicoUsd(prices[1]), cache_write: PicoUsd(prices[2]),
                cache_write_1h: PicoUsd(prices[3]), completion: PicoUsd(prices[4]), reasoning: PicoUsd(prices[5]),
                ..Price::default()
            };
            let usage = Usage {
                prompt_tokens: buckets[0], cache_read_tokens: buckets[1], cache_write_tokens: buckets[2],
                cache_write_1h_tokens: buckets[3], completion_tokens: completion, reasoning_tokens: reasoning, web_searches: 0,
            };
            prop_assert!(ceiling(&price, usage.total_prompt_tokens(), completion) >= price.cost(&usage));
        }
    }
}
