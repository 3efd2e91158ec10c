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
    let advice = advice(what, refused.refusal, tokens, free.filter(|free| guards[at].bought < free.credits_threshold));
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
