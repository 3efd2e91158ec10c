//! What a generation costs once it has ended: who is charged what, and what the provider will invoice.

use crate::record::{Flags, Outcome};
use fairlead_ir::{NanoUsd, PriceTable, Terms, Tier, Usage};

/// What was seen of a reply when it ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// The usage the provider reported, if it did.
    pub usage: Option<Usage>,
    /// Cost the provider reported itself (OpenRouter as an upstream); taken instead of price × usage.
    pub reported_cost: Option<NanoUsd>,
    /// The tier in which the provider says it served; `None` where it does not say.
    pub tier: Option<Tier>,
    /// The provider's usage does not tell the prompt, or not as a number; our estimate stands in for it.
    pub prompt_missing: bool,
    /// The same for the completion.
    pub completion_missing: bool,
    /// Our own estimate of the prompt, for replies that end without usage.
    pub prompt_tokens_estimate: u64,
    /// Our own estimate of the completion delivered so far.
    pub completion_tokens_estimate: u64,
    /// Whether any content reached us.
    pub content: bool,
    /// Whether the provider may have taken on the work: the request was sent and it did not refuse it.
    pub billable: bool,
}

/// The two integers of a generation, with the usage they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bill {
    /// What the caller pays.
    pub charged: NanoUsd,
    /// What the provider will invoice, as far as we know.
    pub upstream_cost: NanoUsd,
    /// The usage billed.
    pub usage: Usage,
    /// The tier billed by.
    pub tier: Tier,
    /// Estimated, missing, insured.
    pub flags: Flags,
    /// What the prompt would have cost more without a cache; negative where writing it cost more than was saved.
    pub cache_discount: NanoUsd,
}

/// A higher cost of one generation is not believed, whoever names it: a million dollars.
const MOST_REPORTED: NanoUsd = NanoUsd(1_000_000 * 1_000_000_000);

/// The provider's usage, with our estimate for what it leaves out. What it does tell of a half bounds that half from below.
fn completed(mut usage: Usage, seen: &Seen) -> Usage {
    if seen.prompt_missing {
        usage.prompt_tokens = seen.prompt_tokens_estimate.saturating_sub(usage.total_prompt_tokens());
    }
    if seen.completion_missing {
        usage.completion_tokens = seen.completion_tokens_estimate.max(usage.reasoning_tokens);
    }
    usage
}

/// Whether usage says that nothing at all was used although content came: no provider works for nothing, and such figures are those of a
/// host that does not count. A zero of one kind beside a figure of another is believed.
fn is_hollow(usage: &Usage, seen: &Seen) -> bool {
    let Usage { completion_tokens, reasoning_tokens, web_searches, .. } = *usage;
    let counted = [usage.total_prompt_tokens(), completion_tokens, reasoning_tokens, web_searches];
    seen.completion_tokens_estimate > 0 && counted == [0; 4]
}

/// Makes the bill of a reply that ended as `outcome`.
///
/// * The provider's usage is taken when present, zero included; otherwise, and for a half that it leaves out, our own count, flagged.
/// * Usage of nothing but zeros beside content is not believed, and neither is a reported cost of zero beside it: our own count, flagged.
/// * A failure without content is insured: the caller pays nothing, whatever the provider does.
/// * A request that never reached a provider, or that it refused, costs nothing.
/// * Figures too large to be believed are replaced by the estimate and flagged; so is a cost that the provider reports, by the price of
///   what was used.
/// * The price is the one of the prompt's length as billed, of the moment in `terms`, and of the tier that the provider reports; where it
///   reports none, of the one in `terms`.
pub fn bill(table: &PriceTable, terms: Terms, outcome: Outcome, seen: &Seen) -> Bill {
    let tier = seen.tier.unwrap_or(terms.tier);
    let terms = Terms { tier, ..terms };
    if !seen.billable {
        let nothing = NanoUsd(0);
        let (usage, flags) = (Usage::default(), Flags::default());
        return Bill { charged: nothing, upstream_cost: nothing, usage, tier, flags, cache_discount: nothing };
    }
    let mut flags = Flags::default();
    if seen.content {
        flags.add(Flags::CONTENT);
    }
    let is_hollow = seen.usage.is_some_and(|usage| is_hollow(&usage, seen));
    let reported = seen.usage.filter(|_| !is_hollow).map(|usage| completed(usage, seen)).filter(Usage::is_credible);
    let priced = reported.and_then(|usage| table.cost(&usage, terms).map(|cost| (usage, cost)));
    if seen.usage.is_some() && (seen.prompt_missing || seen.completion_missing) {
        flags.add(Flags::ESTIMATED);
    }
    let (usage, cost) = priced.unwrap_or_else(|| {
        flags.add(Flags::ESTIMATED);
        if seen.usage.is_none() {
            flags.add(Flags::USAGE_MISSING);
        }
        let usage =
            Usage { prompt_tokens: seen.prompt_tokens_estimate, completion_tokens: seen.completion_tokens_estimate, ..Usage::default() };
        // Our own estimates are bounded by the bytes that were seen, so this fits; what could not be priced is not charged.
        (usage, table.cost(&usage, terms).unwrap_or_default())
    });
    let believed = |cost: &NanoUsd| *cost <= MOST_REPORTED && (!is_hollow || *cost != NanoUsd(0));
    if seen.reported_cost.is_some_and(|cost| cost > MOST_REPORTED) {
        flags.add(Flags::ESTIMATED);
    }
    let upstream_cost = match seen.reported_cost.filter(believed) {
        Some(reported) => {
            flags.add(Flags::COST_REPORTED);
            reported
        }
        None => cost,
    };
    let insured = outcome == Outcome::Failed && !seen.content;
    if insured && upstream_cost != NanoUsd(0) {
        flags.add(Flags::INSURED);
    }
    let free = insured || matches!(outcome, Outcome::Void | Outcome::Recovered);
    let charged = if free { NanoUsd(0) } else { upstream_cost };
    Bill { charged, upstream_cost, usage, tier, flags, cache_discount: cache_discount(table, terms, &usage, cost) }
}

/// What `usage`, which costs `cost`, would cost more without a cache.
fn cache_discount(table: &PriceTable, terms: Terms, usage: &Usage, cost: NanoUsd) -> NanoUsd {
    let prompt_tokens = usage.total_prompt_tokens();
    if prompt_tokens == usage.prompt_tokens {
        return NanoUsd(0);
    }
    let Usage { completion_tokens, reasoning_tokens, web_searches, .. } = *usage;
    let plain = Usage { prompt_tokens, completion_tokens, reasoning_tokens, web_searches, ..Usage::default() };
    table.cost(&plain, terms).map_or(NanoUsd(0), |plain| NanoUsd(plain.0.saturating_sub(cost.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_ir::{Override, PicoUsd, Price, Rates};

    const PRICE: Price = Price {
        prompt: PicoUsd(1_000_000),
        completion: PicoUsd(2_000_000),
        cache_read: PicoUsd(1_000_000),
        cache_write: PicoUsd(1_000_000),
        cache_write_1h: PicoUsd(1_000_000),
        reasoning: PicoUsd(2_000_000),
        request: PicoUsd(0),
        web_search: PicoUsd(0),
    };

    fn seen(usage: Option<(u64, u64)>, content: bool) -> Seen {
        Seen {
            usage: usage.map(|(prompt_tokens, completion_tokens)| Usage { prompt_tokens, completion_tokens, ..Usage::default() }),
            reported_cost: None,
            tier: None,
            prompt_missing: false,
            completion_missing: false,
            prompt_tokens_estimate: 5,
            completion_tokens_estimate: 3,
            content,
            billable: true,
        }
    }

    fn check(outcome: Outcome, seen: Seen, charged: i64, upstream_cost: i64, flags: &[Flags]) {
        let bill = bill(&PriceTable::from(PRICE), Terms::default(), outcome, &seen);
        assert_eq!((bill.charged, bill.upstream_cost), (NanoUsd(charged), NanoUsd(upstream_cost)), "{outcome:?} {seen:?}");
        let mut expected = Flags::default();
        flags.iter().for_each(|flag| expected.add(*flag));
        assert_eq!(bill.flags, expected, "{outcome:?} {seen:?}");
    }

    #[test]
    fn who_pays_what() {
        use Flags as F;
        check(Outcome::Completed, seen(Some((10, 4)), true), 18_000, 18_000, &[F::CONTENT]);
        check(Outcome::Completed, seen(None, true), 11_000, 11_000, &[F::CONTENT, F::ESTIMATED, F::USAGE_MISSING]);
        check(Outcome::Cancelled, seen(None, true), 11_000, 11_000, &[F::CONTENT, F::ESTIMATED, F::USAGE_MISSING]);
        check(Outcome::Failed, seen(None, true), 11_000, 11_000, &[F::CONTENT, F::ESTIMATED, F::USAGE_MISSING]);
        check(Outcome::Failed, seen(Some((10, 0)), false), 0, 10_000, &[F::INSURED]);
        check(Outcome::Completed, seen(Some((1 << 40, 4)), true), 11_000, 11_000, &[F::CONTENT, F::ESTIMATED]);
        check(Outcome::Completed, seen(Some((u64::MAX, 4)), true), 11_000, 11_000, &[F::CONTENT, F::ESTIMATED]);
    }

    #[test]
    fn zeros_beside_content_are_not_believed() {
        use Flags as F;
        let nothing = seen(Some((0, 0)), true);
        let estimated = [F::CONTENT, F::ESTIMATED];
        check(Outcome::Completed, nothing, 11_000, 11_000, &estimated);
        check(Outcome::Cancelled, nothing, 11_000, 11_000, &estimated);
        check(Outcome::Completed, Seen { reported_cost: Some(NanoUsd(0)), ..nothing }, 11_000, 11_000, &estimated);
        // It says what it will invoice.
        let costs = Seen { reported_cost: Some(NanoUsd(42)), ..nothing };
        check(Outcome::Completed, costs, 42, 42, &[F::CONTENT, F::ESTIMATED, F::COST_REPORTED]);
        // Both halves of what was told are no figures: already an estimate, and the same one.
        check(Outcome::Completed, Seen { prompt_missing: true, ..nothing }, 11_000, 11_000, &estimated);
        // Nothing was said, so that nothing may have been used.
        let silent = Seen { completion_tokens_estimate: 0, ..nothing };
        check(Outcome::Completed, silent, 0, 0, &[F::CONTENT]);
        check(Outcome::Completed, Seen { content: false, ..silent }, 0, 0, &[]);
        // One half of zero is a figure: a prompt that came from a cache, a reply of which nothing is billed.
        check(Outcome::Completed, seen(Some((10, 0)), true), 10_000, 10_000, &[F::CONTENT]);
        check(Outcome::Completed, seen(Some((0, 4)), true), 8_000, 8_000, &[F::CONTENT]);
        let cached = Usage { cache_read_tokens: 7, ..Usage::default() };
        check(Outcome::Completed, Seen { usage: Some(cached), ..nothing }, 7_000, 7_000, &[F::CONTENT]);
        let thought = Usage { reasoning_tokens: 3, ..Usage::default() };
        check(Outcome::Completed, Seen { usage: Some(thought), ..nothing }, 0, 0, &[F::CONTENT]);
        // What is free stays free.
        let bill = bill(&PriceTable::default(), Terms::default(), Outcome::Completed, &nothing);
        assert_eq!((bill.charged, bill.usage.completion_tokens), (NanoUsd(0), 3));
    }

    #[test]
    fn what_a_cache_saves() {
        let rates = |prompt, cache_read, cache_write| Rates {
            prompt: Some(PicoUsd(prompt)),
            cache_read: Some(PicoUsd(cache_read)),
            cache_write: Some(PicoUsd(cache_write)),
            ..Rates::default()
        };
        let table = PriceTable::new(rates(1_000_000, 100_000, 1_250_000), Vec::new());
        let check = |usage: Usage, expected| {
            let bill = bill(&table, Terms::default(), Outcome::Completed, &Seen { usage: Some(usage), ..seen(None, true) });
            assert_eq!(bill.cache_discount, NanoUsd(expected), "{usage:?}");
        };
        check(Usage { prompt_tokens: 10, completion_tokens: 4, ..Usage::default() }, 0);
        check(Usage { prompt_tokens: 10, cache_read_tokens: 100, completion_tokens: 4, ..Usage::default() }, 90_000);
        check(Usage { cache_write_tokens: 100, completion_tokens: 4, ..Usage::default() }, -25_000);
        check(Usage { cache_read_tokens: 100, cache_write_tokens: 100, ..Usage::default() }, 65_000);
    }

    #[test]
    fn a_half_that_is_missing_is_estimated() {
        use Flags as F;
        let estimated = [F::CONTENT, F::ESTIMATED];
        check(Outcome::Completed, Seen { prompt_missing: true, ..seen(Some((0, 4)), true) }, 13_000, 13_000, &estimated);
        check(Outcome::Completed, Seen { completion_missing: true, ..seen(Some((10, 0)), true) }, 16_000, 16_000, &estimated);
        let both = Seen { prompt_missing: true, completion_missing: true, ..seen(Some((0, 0)), true) };
        check(Outcome::Completed, both, 11_000, 11_000, &estimated);
        // Cached tokens that were told are part of the prompt that was not.
        let cached = Usage { cache_read_tokens: 3, completion_tokens: 4, ..Usage::default() };
        check(Outcome::Completed, Seen { usage: Some(cached), prompt_missing: true, ..seen(None, true) }, 13_000, 13_000, &estimated);
        let reasoning = Usage { prompt_tokens: 10, reasoning_tokens: 7, ..Usage::default() };
        check(
            Outcome::Completed,
            Seen { usage: Some(reasoning), completion_missing: true, ..seen(None, true) },
            24_000,
            24_000,
            &estimated,
        );
        // Without any usage there are no halves.
        check(
            Outcome::Completed,
            Seen { prompt_missing: true, ..seen(None, true) },
            11_000,
            11_000,
            &[F::CONTENT, F::ESTIMATED, F::USAGE_MISSING],
        );
    }

    #[test]
    fn what_no_provider_took_on_is_free() {
        check(Outcome::Failed, Seen { billable: false, ..seen(None, false) }, 0, 0, &[]);
        check(Outcome::Cancelled, Seen { billable: false, ..seen(None, false) }, 0, 0, &[]);
    }

    #[test]
    fn a_reported_cost_is_taken() {
        let seen = Seen { reported_cost: Some(NanoUsd(42)), ..seen(Some((10, 4)), true) };
        check(Outcome::Completed, seen, 42, 42, &[Flags::CONTENT, Flags::COST_REPORTED]);
    }

    #[test]
    fn a_reported_cost_that_nobody_can_believe_is_not() {
        let flags = [Flags::CONTENT, Flags::ESTIMATED];
        let check = |cost, flags: &[Flags], charged| {
            let seen = Seen { reported_cost: Some(cost), ..seen(Some((10, 4)), true) };
            super::tests::check(Outcome::Completed, seen, charged, charged, flags);
        };
        check(NanoUsd(i64::MAX), &flags, 18_000);
        check(NanoUsd(MOST_REPORTED.0 + 1), &flags, 18_000);
        check(MOST_REPORTED, &[Flags::CONTENT, Flags::COST_REPORTED], MOST_REPORTED.0);
    }

    #[test]
    fn the_tier_that_was_used_is_billed() {
        let rates = |prompt| Rates { prompt: Some(PicoUsd(prompt)), completion: Some(PicoUsd(0)), ..Rates::default() };
        let above = |above, tier, prompt| Override { prompt_tokens_above: above, tier, rates: rates(prompt), ..Override::default() };
        let table = PriceTable::new(
            rates(1_000_000),
            vec![above(Some(9), None, 2_000_000), above(None, Some(Tier::Flex), 500_000), above(None, Some(Tier::Priority), 3_000_000)],
        );
        let check = |asked, reported, usage, tier, charged| {
            let seen = Seen { tier: reported, ..seen(usage, true) };
            let bill = bill(&table, Terms { tier: asked, unix_ms: 0 }, Outcome::Completed, &seen);
            assert_eq!((bill.tier, bill.charged), (tier, NanoUsd(charged)), "{asked:?} {reported:?} {usage:?}");
        };
        use Tier::{Flex, Priority, Standard};
        check(Standard, None, Some((9, 0)), Standard, 9_000);
        check(Standard, None, Some((10, 0)), Standard, 20_000);
        check(Flex, None, Some((10, 0)), Flex, 5_000);
        // What the provider says counts, whatever was asked for.
        check(Flex, Some(Standard), Some((9, 0)), Standard, 9_000);
        check(Standard, Some(Priority), Some((9, 0)), Priority, 27_000);
        check(Priority, Some(Tier::Scale), Some((9, 0)), Tier::Scale, 9_000);
        // Without figures, our own estimate of the prompt (5) decides.
        check(Priority, None, None, Priority, 15_000);
    }
}
