//! One dated price table of an endpoint: which price applies when, and price × usage.

use crate::money::{NanoUsd, PicoUsd};
use crate::tier::Tier;
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

/// Prices as they are listed: what is absent is inherited, and at last filled in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of Price")]
pub struct Rates {
    pub prompt: Option<PicoUsd>,
    pub completion: Option<PicoUsd>,
    pub cache_read: Option<PicoUsd>,
    pub cache_write: Option<PicoUsd>,
    pub cache_write_1h: Option<PicoUsd>,
    pub reasoning: Option<PicoUsd>,
    pub request: Option<PicoUsd>,
    pub web_search: Option<PicoUsd>,
}

impl Rates {
    /// These, with those of `base` where nothing is listed here.
    #[must_use]
    pub fn over(self, base: &Rates) -> Rates {
        Rates {
            prompt: self.prompt.or(base.prompt),
            completion: self.completion.or(base.completion),
            cache_read: self.cache_read.or(base.cache_read),
            cache_write: self.cache_write.or(base.cache_write),
            cache_write_1h: self.cache_write_1h.or(base.cache_write_1h),
            reasoning: self.reasoning.or(base.reasoning),
            request: self.request.or(base.request),
            web_search: self.web_search.or(base.web_search),
        }
    }

    /// The price they make: caches cost what the prompt does, an hour of it what five minutes do, reasoning what the completion does.
    pub fn price(&self) -> Price {
        let (prompt, completion) = (self.prompt.unwrap_or_default(), self.completion.unwrap_or_default());
        let cache_write = self.cache_write.unwrap_or(prompt);
        Price {
            prompt,
            completion,
            cache_read: self.cache_read.unwrap_or(prompt),
            cache_write,
            cache_write_1h: self.cache_write_1h.unwrap_or(cache_write),
            reasoning: self.reasoning.unwrap_or(completion),
            request: self.request.unwrap_or_default(),
            web_search: self.web_search.unwrap_or_default(),
        }
    }
}

/// Other prices under conditions, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Override {
    /// Strictly more prompt tokens than this, cached ones included: then the whole request is priced so.
    pub prompt_tokens_above: Option<u64>,
    /// Served in this tier.
    pub tier: Option<Tier>,
    /// Begun in one of these times of the week; none: at any time.
    pub hours: Vec<Hours>,
    /// What costs something else then.
    pub rates: Rates,
}

impl Override {
    fn holds(&self, prompt_tokens: u64, tier: Tier, minute: u16) -> bool {
        self.prompt_tokens_above.is_none_or(|above| prompt_tokens > above)
            && self.tier.is_none_or(|wanted| wanted == tier)
            && (self.hours.is_empty() || self.hours.iter().any(|hours| hours.has(minute)))
    }
}

/// A time of the week in minutes from Monday 00:00 UTC. One that reaches into the next Monday ends behind [`Hours::WEEK`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// The first minute; less than a week.
    pub from: u16,
    /// The minute behind the last; at most a week later.
    pub to: u16,
}

impl Hours {
    /// The minutes of a week.
    pub const WEEK: u16 = 7 * 24 * 60;

    /// The minute of the week of a moment.
    pub const fn minute(unix_ms: u64) -> u16 {
        // The first of January 1970 was a Thursday.
        const THURSDAY: u64 = 3 * 24 * 60;
        ((unix_ms / 60_000 + THURSDAY) % Hours::WEEK as u64) as u16
    }

    const fn has(self, minute: u16) -> bool {
        let next_week = minute + Hours::WEEK;
        (self.from <= minute && minute < self.to) || next_week < self.to
    }
}

/// What decides which price applies, beside the length of the prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The service tier.
    pub tier: Tier,
    /// When the request to the provider began, Unix milliseconds.
    pub unix_ms: u64,
}

/// The prices of an endpoint. Most have one price whatever happens, and nothing beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceTable {
    base: Price,
    conditional: Option<Box<Conditional>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Conditional {
    base: Rates,
    /// Later ones win, rate by rate.
    overrides: Vec<Override>,
}

impl PriceTable {
    /// The prices that are listed, and what changes them; of several overrides that hold, the later one wins, rate by rate.
    pub fn new(base: Rates, overrides: Vec<Override>) -> PriceTable {
        let conditional = (!overrides.is_empty()).then(|| Box::new(Conditional { base, overrides }));
        PriceTable { base: base.price(), conditional }
    }

    /// The price where no condition holds.
    pub const fn base(&self) -> &Price {
        &self.base
    }

    /// The price of a request with so many prompt tokens, cached ones included.
    #[inline]
    pub fn at(&self, prompt_tokens: u64, terms: Terms) -> Price {
        match &self.conditional {
            None => self.base,
            Some(conditional) => conditional.price(prompt_tokens, terms.tier, Hours::minute(terms.unix_ms)),
        }
    }

    /// What `usage` costs. `None` beyond nine billion dollars: the figures are not believable.
    pub fn cost(&self, usage: &Usage, terms: Terms) -> Option<NanoUsd> {
        self.at(usage.total_prompt_tokens(), terms).cost(usage)
    }

    /// Every price that a request can be billed at, with the most prompt tokens that it can be billed for at it: of a prompt of at most so
    /// many tokens, in one of these tiers, begun within `span_ms` from `from_ms` on.
    pub fn within(&self, most_prompt_tokens: u64, tiers: &[Tier], from_ms: u64, span_ms: u64, mut each: impl FnMut(&Price, u64)) {
        let Some(conditional) = &self.conditional else { return each(&self.base, most_prompt_tokens) };
        let first = Hours::minute(from_ms);
        let span_minutes = span_ms.div_ceil(60_000) + 1;
        let hours = conditional.overrides.iter().flat_map(|row| &row.hours);
        let edges = hours.flat_map(|hours| [hours.from % Hours::WEEK, hours.to % Hours::WEEK]);
        let is_reached = |edge: &u16| u64::from((edge + Hours::WEEK - first) % Hours::WEEK) <= span_minutes;
        for minute in std::iter::once(first).chain(edges.filter(is_reached)) {
            let above = conditional.overrides.iter().filter_map(|row| row.prompt_tokens_above);
            for tokens in std::iter::once(most_prompt_tokens).chain(above.filter(|above| *above < most_prompt_tokens)) {
                tiers.iter().for_each(|tier| each(&conditional.price(tokens, *tier, minute), tokens));
            }
        }
    }

    /// The tiers with prices of their own, each once.
    pub fn tiers(&self) -> impl Iterator<Item = Tier> {
        let lists = |tier: &Tier| self.overrides().iter().any(|row| row.tier == Some(*tier));
        Tier::ALL.into_iter().filter(move |tier| *tier != Tier::Standard && lists(tier))
    }

    /// Whether web searches cost anything, whenever.
    pub fn charges_searches(&self) -> bool {
        self.base.web_search.0 != 0 || self.overrides().iter().any(|row| row.rates.web_search.is_some_and(|price| price.0 != 0))
    }

    /// Whether a request costs nothing, whatever holds.
    pub fn is_free(&self) -> bool {
        let nothing = |price: &Price| [price.prompt, price.completion, price.request, price.reasoning].iter().all(|price| price.0 == 0);
        nothing(&self.base) && self.overrides().iter().all(|row| nothing(&row.rates.price()))
    }

    fn overrides(&self) -> &[Override] {
        self.conditional.as_ref().map_or(&[], |conditional| &conditional.overrides)
    }
}

impl From<Price> for PriceTable {
    fn from(base: Price) -> PriceTable {
        PriceTable { base, conditional: None }
    }
}

impl Conditional {
    #[cold]
    fn price(&self, prompt_tokens: u64, tier: Tier, minute: u16) -> Price {
        let holding = self.overrides.iter().filter(|row| row.holds(prompt_tokens, tier, minute));
        holding.fold(self.base, |rates, row| row.rates.over(&rates)).price()
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

    /// Ten a token, twenty above a thousand; half of it in flex, thirty in priority; five at weekends, and from Sunday 22:00 to Monday 02:00.
    fn table() -> PriceTable {
        let rates = |prompt| Rates { prompt: Some(PicoUsd(prompt)), completion: Some(PicoUsd(2 * prompt)), ..Rates::default() };
        let base = Rates { request: Some(PicoUsd(1)), ..rates(10) };
        let hours = |from, to| vec![Hours { from, to }];
        PriceTable::new(
            base,
            vec![
                Override { prompt_tokens_above: Some(1000), rates: rates(20), ..Override::default() },
                Override { tier: Some(Tier::Flex), rates: rates(5), ..Override::default() },
                Override { tier: Some(Tier::Flex), prompt_tokens_above: Some(1000), rates: rates(9), ..Override::default() },
                Override { tier: Some(Tier::Priority), rates: Rates { cache_read: Some(PicoUsd(3)), ..rates(30) }, ..Override::default() },
                Override {
                    hours: hours(5 * 1440, 7 * 1440),
                    rates: Rates { prompt: Some(PicoUsd(5)), ..Rates::default() },
                    ..Override::default()
                },
                Override {
                    hours: hours(6 * 1440 + 1320, 7 * 1440 + 120),
                    rates: Rates { completion: Some(PicoUsd(7)), ..Rates::default() },
                    ..Override::default()
                },
            ],
        )
    }

    /// Monday the 2nd of November 2026, 00:00 UTC.
    const MONDAY: u64 = 1_793_577_600_000;
    const HOUR: u64 = 3_600_000;

    #[test]
    fn later_overrides_win_rate_by_rate() {
        let check = |prompt_tokens, tier, after_ms, expected: [u64; 3]| {
            let price = table().at(prompt_tokens, Terms { tier, unix_ms: MONDAY + after_ms });
            let found = [price.prompt, price.completion, price.cache_read].map(|price| price.0);
            assert_eq!(found, expected, "{prompt_tokens} {tier:?} {after_ms}");
            assert_eq!(price.request, PicoUsd(1), "what no override names is inherited");
        };
        let noon = 12 * HOUR;
        check(0, Tier::Standard, noon, [10, 20, 10]);
        // "Above" is strict; absent cache prices follow the prompt that applies.
        check(1000, Tier::Standard, noon, [10, 20, 10]);
        check(1001, Tier::Standard, noon, [20, 40, 20]);
        check(1000, Tier::Flex, noon, [5, 10, 5]);
        check(1001, Tier::Flex, noon, [9, 18, 9]);
        check(1001, Tier::Priority, noon, [30, 60, 3]);
        // A tier without a price of its own is served at the usual one.
        check(1001, Tier::Scale, noon, [20, 40, 20]);
        // The window of Sunday wraps into Monday and covers its first minute, not its last.
        check(0, Tier::Standard, 0, [10, 7, 10]);
        check(0, Tier::Standard, 2 * HOUR - 1, [10, 7, 10]);
        check(0, Tier::Standard, 2 * HOUR, [10, 20, 10]);
        check(0, Tier::Standard, 5 * 24 * HOUR - 1, [10, 20, 10]);
        check(1001, Tier::Standard, 5 * 24 * HOUR, [5, 40, 5]);
        check(0, Tier::Standard, 7 * 24 * HOUR - 1, [5, 7, 5]);
    }

    #[test]
    fn what_can_be_billed_is_found() {
        let check = |most: u64, tiers: &[Tier], after_ms: u64, span_ms: u64, expected: &[(u64, u64)]| {
            let mut found = Vec::new();
            table().within(most, tiers, MONDAY + after_ms, span_ms, |price, tokens| found.push((price.prompt.0, tokens)));
            found.sort_unstable();
            found.dedup();
            assert_eq!(found, expected, "{most} {tiers:?} {after_ms} {span_ms}");
        };
        let (standard, friday) = ([Tier::Standard], 4 * 24 * HOUR);
        check(7, &standard, friday, HOUR, &[(10, 7)]);
        check(1000, &standard, friday, HOUR, &[(10, 1000)]);
        check(5000, &standard, friday, HOUR, &[(10, 1000), (20, 5000)]);
        check(7, &standard, friday + 23 * HOUR, HOUR, &[(5, 7), (10, 7)]);
        check(7, &standard, friday + 26 * HOUR, HOUR, &[(5, 7)]);
        check(5000, &[Tier::Standard, Tier::Flex], friday, HOUR, &[(5, 1000), (9, 5000), (10, 1000), (20, 5000)]);
        let mut flat = Vec::new();
        PriceTable::from(PRICE).within(9, &standard, MONDAY, HOUR, |price, tokens| flat.push((*price, tokens)));
        assert_eq!(flat, [(PRICE, 9)]);
    }

    #[test]
    fn a_table_without_conditions_is_small() {
        assert!(size_of::<PriceTable>() == size_of::<Price>() + size_of::<usize>());
        assert_eq!(table().tiers().collect::<Vec<_>>(), [Tier::Flex, Tier::Priority]);
        assert!(!table().is_free() && PriceTable::default().is_free());
        let later =
            Override { tier: Some(Tier::Priority), rates: Rates { prompt: Some(PicoUsd(1)), ..Rates::default() }, ..Override::default() };
        assert!(!PriceTable::new(Rates::default(), vec![later]).is_free());
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
