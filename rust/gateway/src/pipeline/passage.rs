//! The caller's own rates: requests and tokens per minute, and calls at the same time, of the key, its user, team and account, and the account's
//! requests to free models; from all of them or from none.

use super::call::{likely_prompt_tokens, usd};
use super::failure::Failure;
use super::intake::Intake;
use crate::tenants::{Chain, Rates, Tenant};
use fairlead_ir::{ErrorKind, Usage};
use fairlead_ledger::hold::Kind;
use fairlead_limits::{Claim, FreeTier, FreeTierLimits, Refusal, take_all};
use fairlead_snapshot::Settings;
use http::HeaderValue;
use parking_lot::MutexGuard;
use std::sync::Arc;

/// What a request has taken of the caller's rates. A place is given back when this is dropped, and with it all tokens that no settlement says
/// were used; a request counts once it was let in, one to a free model once it is made.
pub(crate) struct Passage {
    chain: Arc<Chain>,
    /// Whose rates it was taken of, a bit for each place in the chain.
    taken: u8,
    tokens: u64,
    /// The day of its free request, until that is made.
    free_day_ms: Option<u64>,
}

/// What a request is taken to need: an estimate, until it is settled.
#[derive(Clone, Copy)]
pub(crate) struct Tokens {
    prompt: u64,
    completion: u64,
    /// It asks for so many; else they are a guess, which no limit is too small for.
    is_asked: bool,
}

impl Tokens {
    /// Those of a reply that no model makes.
    pub(crate) const NONE: Tokens = Tokens { prompt: 0, completion: 0, is_asked: true };

    pub(crate) fn of(intake: &Intake, settings: &Settings) -> Tokens {
        let asked = intake.facts.max_completion_tokens;
        Tokens {
            prompt: likely_prompt_tokens(intake),
            completion: asked.unwrap_or(settings.reserve_completion_tokens).saturating_mul(intake.facts.choices.max(1)),
            is_asked: asked.is_some(),
        }
    }

    fn within(self, most: u64) -> u64 {
        let all = self.prompt.saturating_add(self.completion);
        if self.is_asked { all } else { all.min(most.max(self.prompt)) }
    }
}

/// Lets a request in, as one to a free model where `free` says how many of these there are; nothing is taken where no rate is limited.
///
/// # Errors
/// 429 with what is full, and when to come again.
pub(crate) fn admit(
    chain: &Arc<Chain>,
    tokens: impl FnOnce() -> Tokens,
    free: Option<FreeTierLimits>,
    now_ms: u64,
) -> Result<Option<Passage>, Failure> {
    if chain.limited(free.is_some()).next().is_none() {
        return Ok(None);
    }
    admit_limited(chain, tokens(), free, now_ms).map(Some)
}

/// Which rate of a tenant.
#[derive(Clone, Copy)]
enum What {
    Requests,
    Tokens,
    Places,
    FreeMinute,
    FreeDay,
}

fn admit_limited(chain: &Arc<Chain>, tokens: Tokens, free: Option<FreeTierLimits>, now_ms: u64) -> Result<Passage, Failure> {
    let now_ns = now_ms.saturating_mul(1_000_000);
    let tenants: Vec<(usize, &Tenant)> = chain.limited(free.is_some()).collect();
    let mut guards: Vec<MutexGuard<'_, Rates>> = tenants.iter().map(|(_, tenant)| tenant.rates()).collect();
    let most = guards.iter().filter_map(|rates| Some(rates.tokens?.rate().burst())).min().unwrap_or(u64::MAX);
    let tokens = tokens.within(most);
    let (mut claims, mut whats) = (Vec::with_capacity(14), Vec::with_capacity(14));
    for (at, rates) in guards.iter_mut().enumerate() {
        let Rates { requests, tokens: tokens_left, places, free: free_left, bought } = &mut **rates;
        if let Some(limits) = free.filter(|_| tenants[at].1.scope.kind == Kind::Account) {
            let free_left = free_left.get_or_insert_with(|| Box::new(FreeTier::new(&limits)));
            claims.extend(free_left.claims(&limits, *bought, now_ns));
            whats.extend([(at, What::FreeMinute), (at, What::FreeDay)]);
        }
        let requests = requests.as_mut().map(|bucket| (Claim::Rate(bucket, 1), What::Requests));
        let tokens = tokens_left.as_mut().map(|bucket| (Claim::Rate(bucket, tokens), What::Tokens));
        for (claim, what) in requests.into_iter().chain(tokens).chain([(Claim::Place(places), What::Places)]) {
            claims.push(claim);
            whats.push((at, what));
        }
    }
    let refused = match take_all(&mut claims, now_ns) {
        Ok(()) => {
            let taken = tenants.iter().fold(0, |taken, (place, _)| taken | 1 << place);
            let free_day_ms = free.and_then(|_| guards.iter().find_map(|rates| Some(rates.free.as_ref()?.day.start_ms())));
            return Ok(Passage { chain: chain.clone(), taken, tokens, free_day_ms });
        }
        Err(refused) => refused,
    };
    drop(claims);
    let (at, what) = whats[refused.claim];
    let bought = guards[at].bought;
    let may_have_more = |free: &FreeTierLimits| free.per_day(free.credits_threshold) > free.per_day(bought);
    let advice = advice(what, refused.refusal, tokens, free.filter(may_have_more));
    Err(refusal(tenants[at].1.scope.kind, &guards[at], what, &advice, refused.refusal, now_ms))
}

impl What {
    /// What it is called in `X-RateLimit-Resource`, in the record, and in a sentence.
    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            What::Requests => ("requests", "rpm_limit", "requests per minute"),
            What::Tokens => ("tokens", "tpm_limit", "tokens per minute"),
            What::Places => ("concurrency", "concurrency_limit", "requests at the same time"),
            What::FreeMinute => ("free_requests_per_minute", "free_rpm_limit", "requests to free models per minute"),
            What::FreeDay => ("free_requests_per_day", "free_daily_limit", "requests to free models per day"),
        }
    }

    /// The limit, what is left of it, and when all of it is there again (Unix milliseconds), where time alone brings it.
    fn level(self, rates: &Rates, now_ms: u64) -> (u64, u64, Option<u64>) {
        let now_ns = now_ms.saturating_mul(1_000_000);
        let bucket = match self {
            What::Requests => rates.requests,
            What::Tokens => rates.tokens,
            What::FreeMinute => rates.free.as_ref().map(|free| free.minute),
            What::Places | What::FreeDay => None,
        };
        match (self, bucket, &rates.free) {
            (_, Some(bucket), _) => {
                let full_at_ms = now_ms.saturating_add(bucket.full_after_ns(now_ns).div_ceil(1_000_000));
                (bucket.rate().units(), bucket.remaining(now_ns), Some(full_at_ms))
            }
            (What::FreeDay, _, Some(free)) => (free.day.limit(), free.day.remaining(now_ms), free.day.reset_ms(now_ms)),
            _ => (u64::from(rates.places.limit().get()), 0, None),
        }
    }
}

/// What the caller can do about it. `poor`: the limits, where more credit would give it more free requests.
fn advice(what: What, refusal: Refusal, tokens: u64, poor: Option<FreeTierLimits>) -> String {
    match (what, refusal, poor) {
        (What::Tokens, Refusal::Never, _) => {
            format!("; this request may take {tokens}; it can never fit: make the prompt shorter or max_tokens smaller")
        }
        (What::Tokens, ..) => format!("; this request may take {tokens}"),
        (What::FreeDay, _, Some(limits)) => {
            let (more, threshold) = (limits.requests_per_day_with_credits, usd(limits.credits_threshold));
            format!("; once it has bought credit of {threshold}, to {more}")
        }
        (_, Refusal::UntilGiven, _) => "; try again when one of them has ended".to_owned(),
        _ => String::new(),
    }
}

fn refusal(kind: Kind, rates: &Rates, what: What, advice: &str, refusal: Refusal, now_ms: u64) -> Failure {
    let (resource, word, units) = what.names();
    let (limit, remaining, reset_ms) = what.level(rates, now_ms);
    let wait_s = refusal.retry_after_ns().map(|wait_ns| wait_ns.div_ceil(1_000_000_000).max(1));
    let again = wait_s.map_or(String::new(), |wait_s| format!("; try again in {wait_s} s"));
    let message = format!("this {} is limited to {limit} {units}{advice}{again}", kind.name());
    let mut failure = Failure::new(ErrorKind::RateLimited, message).word(word);
    failure.hint("x-ratelimit-limit", limit);
    failure.hint("x-ratelimit-remaining", remaining);
    if let Some(reset_ms) = reset_ms {
        failure.hint("x-ratelimit-reset", reset_ms);
    }
    failure.hints.push(("x-ratelimit-resource", HeaderValue::from_static(resource)));
    match (refusal, wait_s) {
        (Refusal::Never, _) => failure.hints.push(("x-should-retry", HeaderValue::from_static("false"))),
        // Somebody else's call has to end: a second is as good a guess as any.
        (_, wait_s) => failure.hint("retry-after", wait_s.unwrap_or(1)),
    }
    failure
}

impl Passage {
    /// The request will be made: from here on a free one counts. Whether it is one.
    pub(crate) fn make(&mut self) -> bool {
        self.free_day_ms.take().is_some()
    }

    /// What was really used; the difference to the estimate is given back or charged.
    pub(crate) fn settle(mut self, usage: &Usage, now_ms: u64) {
        let used = usage.total_prompt_tokens().saturating_add(usage.completion_tokens);
        let estimate = std::mem::take(&mut self.tokens);
        self.each(|rates| {
            let Some(bucket) = &mut rates.tokens else { return };
            if used <= estimate {
                bucket.refund(estimate - used);
            } else {
                bucket.charge(used - estimate, now_ms.saturating_mul(1_000_000));
            }
        });
    }

    fn each(&self, mut change: impl FnMut(&mut Rates)) {
        for tenant in self.chain.at_places(self.taken) {
            change(&mut tenant.rates());
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let (unused, free_day_ms) = (self.tokens, self.free_day_ms);
        self.each(|rates| {
            if let (Some(free), Some(day_ms)) = (&mut rates.free, free_day_ms) {
                free.refund(day_ms);
            }
            if let Some(bucket) = &mut rates.tokens {
                bucket.refund(unused);
            }
            let held = rates.places.release();
            debug_assert!(held, "a place is given back twice");
        });
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::tenants::Tenants;
    use fairlead_ir::NanoUsd;
    use std::num::NonZeroU32;

    const DAY_MS: u64 = 86_400_000;
    const NOW_MS: u64 = 20_454 * DAY_MS + 12 * 3_600_000;
    const TOKENS: Tokens = Tokens { prompt: 10, completion: 0, is_asked: true };

    fn tenants(scopes: &str) -> Tenants {
        let tenants = Tenants::default();
        let keys = r#"{"id":3,"hash":"","account":1},{"id":4,"hash":"","account":1}"#;
        let delta = format!(r#"{{"epoch":1,"seq":1,"upsert":[{keys}],"scopes":[{scopes}]}}"#);
        tenants.apply(&serde_json::from_str(&delta).unwrap(), NOW_MS).unwrap();
        tenants
    }

    fn free(minute: u32, day: u64) -> Option<FreeTierLimits> {
        Some(FreeTierLimits {
            requests_per_minute: NonZeroU32::new(minute).unwrap(),
            requests_per_day: day,
            requests_per_day_with_credits: 2 * day,
            credits_threshold: NanoUsd(10_000_000_000),
        })
    }

    /// Whether it was let in, and made.
    fn ask(tenants: &Tenants, key: u64, free: Option<FreeTierLimits>) -> Result<(), Failure> {
        admit(&tenants.chain(key).unwrap(), || TOKENS, free, NOW_MS)
            .map(|passage| passage.into_iter().for_each(|mut passage| _ = passage.make()))
    }

    fn used(tenants: &Tenants) -> u64 {
        tenants.free_requests(1, &free(1, 1).unwrap(), NOW_MS).1
    }

    /// How many of ten requests by each of two keys of an account are let in, and what the next one is told.
    fn check(scopes: &str, limits: Option<FreeTierLimits>, expected: usize, word: &str, hints: &[(&str, &str)], message: &str) {
        let tenants = tenants(scopes);
        let let_in = (0..20).filter(|turn| ask(&tenants, 3 + turn % 2, limits).is_ok()).count();
        assert_eq!(let_in, expected, "{scopes}");
        let Err(failure) = ask(&tenants, 3, limits) else { return assert_eq!(word, "", "{scopes}") };
        assert_eq!((failure.word, failure.message.as_str()), (word, message));
        for (name, value) in hints {
            let found = failure.hints.iter().find(|(hint, _)| hint == name).map(|(_, value)| value.to_str().unwrap());
            assert_eq!(found, Some(*value), "{name}");
        }
        let used = used(&tenants);
        assert_eq!(used, if limits.is_some() { expected as u64 } else { 0 }, "what is refused is not counted");
    }

    #[test]
    fn free_requests_are_the_accounts() {
        let now_and = |ms: u64| (NOW_MS + ms).to_string();
        check("", None, 20, "", &[], "");
        check("", free(100, 100), 20, "", &[], "");
        let hints = [
            ("x-ratelimit-limit", "6"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", &now_and(60_000)),
            ("x-ratelimit-resource", "free_requests_per_minute"),
            ("retry-after", "10"),
        ];
        check(
            "",
            free(6, 100),
            6,
            "free_rpm_limit",
            &hints,
            "this account is limited to 6 requests to free models per minute; try again in 10 s",
        );
        let hints = [
            ("x-ratelimit-limit", "7"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", &now_and(DAY_MS / 2)),
            ("x-ratelimit-resource", "free_requests_per_day"),
            ("retry-after", "43200"),
        ];
        let message =
            "this account is limited to 7 requests to free models per day; once it has bought credit of $10, to 14; try again in 43200 s";
        check("", free(100, 7), 7, "free_daily_limit", &hints, message);
        let rich = r#"{"kind":"account","id":1,"bought_nanousd":10000000000}"#;
        let message = "this account is limited to 14 requests to free models per day; try again in 43200 s";
        check(rich, free(100, 7), 14, "free_daily_limit", &hints[3..], message);
        // Which of them lasts longest is told.
        check(
            "",
            free(7, 7),
            7,
            "free_daily_limit",
            &hints,
            &message.replace("14", "7").replace(";", "; once it has bought credit of $10, to 14;"),
        );
        let message = "this account is limited to 0 requests to free models per day";
        check("", free(7, 0), 0, "free_daily_limit", &[("x-should-retry", "false")], message);
    }

    #[test]
    fn free_requests_are_taken_with_the_other_rates_or_not_at_all() {
        let account = r#"{"kind":"account","id":1,"rpm":3}"#;
        let message = "this account is limited to 3 requests per minute; try again in 20 s";
        check(account, free(100, 100), 3, "rpm_limit", &[("x-ratelimit-resource", "requests")], message);
        // The key's rate is not touched where the account has no free request left.
        let tenants = tenants(r#"{"kind":"key","id":3,"rpm":3}"#);
        assert!(ask(&tenants, 4, free(1, 9)).is_ok());
        assert!((0..9).all(|_| ask(&tenants, 3, free(1, 9)).is_err()));
        assert!((0..3).all(|_| ask(&tenants, 3, None).is_ok()));
        assert_eq!(ask(&tenants, 3, None).unwrap_err().word, "rpm_limit");
    }

    #[test]
    fn a_free_request_that_is_never_made_is_given_back() {
        let tenants = tenants("");
        let chain = tenants.chain(3).unwrap();
        for _ in 0..5 {
            let passage = admit(&chain, || TOKENS, free(1, 1), NOW_MS).unwrap();
            assert_eq!(used(&tenants), 1);
            drop(passage);
            assert_eq!(used(&tenants), 0);
        }
        let mut passage = admit(&chain, || TOKENS, free(1, 1), NOW_MS).unwrap().unwrap();
        assert!(passage.make() && !passage.make());
        drop(passage);
        assert_eq!(used(&tenants), 1);
        assert!(!admit(&chain, || TOKENS, None, NOW_MS).unwrap().is_some_and(|mut passage| passage.make()), "it is none");
    }
}
