//! What a generation used, in buckets that never overlap, so that a price table is a dot product.

/// Tokens and other units of one reply. `prompt` excludes what is in the cache buckets; `completion` includes reasoning and
/// `reasoning` is the part of it that is known to be reasoning (billed as completion unless a price says otherwise).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Prompt tokens that were neither read from nor written to a cache.
    pub prompt_tokens: u64,
    /// Prompt tokens read from a cache.
    pub cache_read_tokens: u64,
    /// Prompt tokens written to a cache that lives five minutes (or a provider's only kind).
    pub cache_write_tokens: u64,
    /// Prompt tokens written to a cache that lives an hour.
    pub cache_write_1h_tokens: u64,
    /// Completion tokens, reasoning included.
    pub completion_tokens: u64,
    /// The part of `completion_tokens` that was reasoning.
    pub reasoning_tokens: u64,
    /// Web searches the provider ran and bills each.
    pub web_searches: u64,
}

impl Usage {
    /// More tokens of one kind in one generation are not believed: a thousand times the largest window there is.
    pub const MOST_TOKENS: u64 = 1 << 32;

    /// Whether figures like these can be of one generation.
    pub fn is_credible(&self) -> bool {
        [self.total_prompt_tokens(), self.completion_tokens, self.web_searches].into_iter().all(|count| count <= Usage::MOST_TOKENS)
    }

    /// All prompt tokens, cached ones included. Saturates: providers have sent 2⁶³.
    pub fn total_prompt_tokens(&self) -> u64 {
        self.prompt_tokens
            .saturating_add(self.cache_read_tokens)
            .saturating_add(self.cache_write_tokens)
            .saturating_add(self.cache_write_1h_tokens)
    }
}
