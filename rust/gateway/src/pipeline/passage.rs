//! The caller's own rates: requests and tokens per minute, and calls at the same time, of the key, its user, team and account; from all of them
//! or from none.

use super::call::likely_prompt_tokens;
use super::failure::Failure;
use super::intake::Intake;
use crate::tenants::{Chain, Rates, Tenant};
use fairlead_ir::{ErrorKind, Usage};
use fairlead_ledger::hold::Kind;
use fairlead_limits::{Claim, Refusal, take_all};
use fairlead_snapshot::Settings;
use http::HeaderValue;
use parking_lot::MutexGuard;
use std::sync::Arc;

/// What a request has taken of the caller's rates. A place is given back when this is dropped, and with it all tokens that no settlement says
/// were used; a request counts once it was let in.
pub(crate) struct Passage {
    chain: Arc<Chain>,
    /// Whose rates it was taken of, a bit for each place in the chain.
    taken: u8,
    tokens: u64,
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

/// Lets a request in; nothing is taken where no rate is limited.
///
/// # Errors
/// 429 with what is full, and when to come again.
pub(crate) fn admit(chain: &Arc<Chain>, tokens: impl FnOnce() -> Tokens, now_ms: u64) -> Result<Option<Passage>, Failure> {
    if chain.limited().next().is_none() {
        return Ok(None);
    }
    admit_limited(chain, tokens(), now_ms).map(Some)
}

/// Which rate of a tenant.
#[derive(Clone, Copy)]
enum What {
    Requests,
    Tokens,
    Places,
}

fn admit_limited(chain: &Arc<Chain>, tokens: Tokens, now_ms: u64) -> Result<Passage, Failure> {
    let now_ns = now_ms.saturating_mul(1_000_000);
    let tenants: Vec<(usize, &Tenant)> = chain.limited().collect();
    let mut guards: Vec<MutexGuard<'_, Rates>> = tenants.iter().map(|(_, tenant)| tenant.rates()).collect();
    let most = guards.iter().filter_map(|rates| Some(rates.tokens?.rate().burst())).min().unwrap_or(u64::MAX);
    let tokens = tokens.within(most);
    let (mut claims, mut whats) = (Vec::with_capacity(12), Vec::with_capacity(12));
    for (at, rates) in guards.iter_mut().enumerate() {
        let Rates { requests, tokens: tokens_left, places } = &mut **rates;
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
            return Ok(Passage { chain: chain.clone(), taken, tokens });
        }
        Err(refused) => refused,
    };
    drop(claims);
    let (at, what) = whats[refused.claim];
    Err(refusal(tenants[at].1.scope.kind, &guards[at], what, tokens, refused.refusal, now_ms))
}

fn refusal(kind: Kind, rates: &Rates, what: What, tokens: u64, refusal: Refusal, now_ms: u64) -> Failure {
    let now_ns = now_ms.saturating_mul(1_000_000);
    let whose = kind.name();
    let wait_s = refusal.retry_after_ns().map(|wait_ns| wait_ns.div_ceil(1_000_000_000).max(1));
    let again = wait_s.map_or(String::new(), |wait_s| format!("; try again in {wait_s} s"));
    let (bucket, name, message) = match what {
        What::Requests => (rates.requests, "requests", "requests per minute"),
        What::Tokens => (rates.tokens, "tokens", "tokens per minute"),
        What::Places => (None, "concurrency", "requests at the same time"),
    };
    let limit = bucket.map_or(u64::from(rates.places.limit().get()), |bucket| bucket.rate().units());
    let wanted = if matches!(what, What::Tokens) { format!("; this request may take {tokens}") } else { String::new() };
    let advice = match refusal {
        Refusal::Never => "; it can never fit: make the prompt shorter or max_tokens smaller",
        Refusal::UntilGiven => "; try again when one of them has ended",
        Refusal::After { .. } => "",
    };
    let message = format!("this {whose} is limited to {limit} {message}{wanted}{advice}{again}");
    let mut failure = Failure::new(ErrorKind::RateLimited, message).word(match what {
        What::Requests => "rpm_limit",
        What::Tokens => "tpm_limit",
        What::Places => "concurrency_limit",
    });
    let remaining = bucket.map_or(0, |bucket| bucket.remaining(now_ns));
    failure.hint("x-ratelimit-limit", limit);
    failure.hint("x-ratelimit-remaining", remaining);
    if let Some(bucket) = bucket {
        failure.hint("x-ratelimit-reset", now_ms + bucket.full_after_ns(now_ns).div_ceil(1_000_000));
    }
    failure.hints.push(("x-ratelimit-resource", HeaderValue::from_static(name)));
    match (refusal, wait_s) {
        (Refusal::Never, _) => failure.hints.push(("x-should-retry", HeaderValue::from_static("false"))),
        // Somebody else's call has to end: a second is as good a guess as any.
        (_, wait_s) => failure.hint("retry-after", wait_s.unwrap_or(1)),
    }
    failure
}

impl Passage {
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
        let unused = self.tokens;
        self.each(|rates| {
            if let Some(bucket) = &mut rates.tokens {
                bucket.refund(unused);
            }
            let held = rates.places.release();
            debug_assert!(held, "a place is given back twice");
        });
    }
}
