//! The caller's own rates: requests and tokens per minute, and calls at the same time, of the end user, the key, its user, team and account, the
//! account's requests to free models, and the rates of the model; from all of them or from none.

use super::call::{likely_prompt_tokens, usd};
use super::failure::Failure;
use super::intake::Intake;
use super::plan::Journey;
use crate::tenants::end_users::Stranger;
use crate::tenants::models::{Admission, ModelGate};
use crate::tenants::{Chain, Tenant};
use crate::worker::Worker;
use fairlead_ir::{ErrorKind, Usage};
use fairlead_ledger::hold::Kind;
use fairlead_limits::{FreeTierLimits, Full, Gate, Refusal, Taken, Wanted, What};
use fairlead_snapshot::{Settings, Snapshot};
use http::HeaderValue;
use std::sync::Arc;

/// What a request has taken of rates. A place is given back when this is dropped, and with it all tokens that no settlement says were used; a
/// request counts once it was let in, one to a free model once it is made.
#[derive(Default)]
pub(crate) struct Passage {
    /// Whose rates it was taken of, with a bit for each place in their chain.
    payers: Option<(Arc<Chain>, u8)>,
    tokens: u64,
    /// The day of its free request, until that is made.
    free_day_ms: Option<u64>,
    /// The same of the model that is asked, where it has rates of its own.
    model: Option<Admission>,
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

    fn wanted(self, free: Option<(usize, FreeTierLimits)>) -> Wanted {
        let tokens = self.prompt.saturating_add(self.completion);
        Wanted { tokens, least_tokens: if self.is_asked { tokens } else { self.prompt }, free }
    }
}

/// Lets a request in: the journey has what it has taken, and who pays. A model that is full is passed over, where another one may answer.
///
/// # Errors
/// 429 with what is full, and when to come again; 400 where an end user has to be named.
pub(crate) fn enter(
    worker: &Worker,
    snapshot: &Snapshot,
    journey: &mut Journey,
    payers: Option<Arc<Chain>>,
    intake: &Intake,
    now_ms: u64,
) -> Result<(), Failure> {
    let payers = payers.map(|payers| with_end_user(worker, snapshot, payers, intake, now_ms)).transpose()?;
    let tokens = || Tokens::of(intake, &snapshot.settings);
    let free = |journey: &Journey| payers.as_ref().and_then(|_| journey.free_tier());
    if snapshot.has_model_rates {
        journey.passage = enter_rated(worker, journey, payers.as_ref(), tokens(), free, now_ms)?;
    } else if let Some(payers) = &payers {
        journey.passage = admit(payers, tokens, free(journey), now_ms)?;
    }
    journey.payers = payers;
    Ok(())
}

/// Whoever pays, with the request's end user among them, where those have limits of their own.
pub(crate) fn with_end_user(
    worker: &Worker,
    snapshot: &Snapshot,
    payers: Arc<Chain>,
    intake: &Intake,
    now_ms: u64,
) -> Result<Arc<Chain>, Failure> {
    let most = snapshot.settings.limits.end_users;
    let hashed = (&worker.shared.hasher, most);
    let with_end_user = worker.shared.tenants.with_end_user(payers, intake.facts.user.as_deref(), hashed, now_ms);
    with_end_user.map_err(|stranger| turned_away(&stranger, most))
}

/// The same where models have rates.
fn enter_rated(
    worker: &Worker,
    journey: &mut Journey,
    payers: Option<&Arc<Chain>>,
    tokens: Tokens,
    free: impl Fn(&Journey) -> Option<FreeTierLimits>,
    now_ms: u64,
) -> Result<Option<Passage>, Failure> {
    let models = &worker.shared.tenants.models;
    let mut first_refusal = None;
    loop {
        let (at, model) = journey.first_model(models);
        match admit_all(payers, model, tokens, free(journey), now_ms) {
            Ok(passage) => {
                if let Some(at) = at {
                    journey.enter_model(models, tokens.wanted(None), at);
                }
                return Ok(passage);
            }
            Err((failure, true)) => {
                let told = first_refusal.get_or_insert(failure);
                if !at.is_some_and(|at| journey.pass_over(at)) {
                    return Err(std::mem::replace(told, Failure::draining()));
                }
            }
            Err((failure, false)) => return Err(failure),
        }
    }
}

fn turned_away(stranger: &Stranger, most: usize) -> Failure {
    match stranger {
        Stranger::Nameless => {
            let message = "the end users of this key have limits of their own: say whom this is for in \"user\"";
            Failure::new(ErrorKind::InvalidRequest, message).param(Some("user"))
        }
        Stranger::TooMany => {
            let message = format!("{most} end users have limits to keep to already, and no more are remembered (limits.end_users)");
            let mut failure = Failure::new(ErrorKind::RateLimited, message).word("end_user_limit");
            failure.hint("retry-after", 60);
            failure
        }
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
    admit_all(Some(chain), None, tokens(), free, now_ms).map_err(|(failure, _)| failure)
}

/// Of all who pay and of the model, or of none; `Err` with whether it is the model that is full.
fn admit_all(
    payers: Option<&Arc<Chain>>,
    model: Option<Arc<ModelGate>>,
    tokens: Tokens,
    free: Option<FreeTierLimits>,
    now_ms: u64,
) -> Result<Option<Passage>, (Failure, bool)> {
    let tenants: Vec<(usize, &Tenant)> = payers.into_iter().flat_map(|chain| chain.limited(free.is_some())).collect();
    let of_account = |limits: FreeTierLimits| Some((tenants.iter().position(|(_, tenant)| tenant.scope.kind == Kind::Account)?, limits));
    let free = free.and_then(of_account);
    // In the order of their kinds, and models last, as everybody locks them.
    let gates: Vec<&Gate> = tenants.iter().map(|(_, tenant)| &tenant.gate).chain(model.as_deref().map(|model| &model.gate)).collect();
    if gates.is_empty() {
        return Ok(None);
    }
    let full = match Gate::enter(&gates, tokens.wanted(free), now_ms) {
        Ok(Taken { tokens, free_day_ms }) => {
            let taken = tenants.iter().fold(0, |taken, (place, _)| taken | 1 << place);
            let payers = payers.map(|chain| (chain.clone(), taken));
            return Ok(Some(Passage { payers, tokens, free_day_ms, model: model.map(|model| Admission::of(model, tokens)) }));
        }
        Err(full) => full,
    };
    Err(match tenants.get(full.gate) {
        Some((_, tenant)) => {
            let may_have_more = |free: &FreeTierLimits| free.per_day(free.credits_threshold) > free.per_day(full.bought);
            (refusal(&full, &format!("this {}", tenant.scope.kind.name()), None, free.map(|free| free.1).filter(may_have_more)), false)
        }
        None => {
            let name = model.as_ref().map_or("", |model| &*model.name);
            (refusal(&full, &format!("the model \"{name}\""), Some(name), None), true)
        }
    })
}

/// What it is called in `X-RateLimit-Resource`, in the record, and in a sentence.
fn names(what: What) -> (&'static str, &'static str, &'static str) {
    match what {
        What::Requests => ("requests", "rpm_limit", "requests per minute"),
        What::Tokens => ("tokens", "tpm_limit", "tokens per minute"),
        What::Places => ("concurrency", "concurrency_limit", "requests at the same time"),
        What::FreeMinute => ("free_requests_per_minute", "free_rpm_limit", "requests to free models per minute"),
        What::FreeDay => ("free_requests_per_day", "free_daily_limit", "requests to free models per day"),
    }
}

/// What the caller can do about it. `poor`: the limits, where more credit would give it more free requests.
fn advice(full: &Full, poor: Option<FreeTierLimits>) -> String {
    let tokens = full.tokens;
    match (full.what, full.refusal, poor) {
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

/// `of`: the model, where it is one that is full; else the limit is the caller's.
fn refusal(full: &Full, whose: &str, of: Option<&str>, poor: Option<FreeTierLimits>) -> Failure {
    let (resource, word, units) = names(full.what);
    let advice = advice(full, poor);
    let wait_s = full.refusal.retry_after_ns().map(|wait_ns| wait_ns.div_ceil(1_000_000_000).max(1));
    let again = wait_s.map_or(String::new(), |wait_s| format!("; try again in {wait_s} s"));
    let message = format!("{whose} is limited to {} {units}{advice}{again}", full.limit);
    let mut failure = Failure::new(ErrorKind::RateLimited, message).word(word);
    failure.hint("x-ratelimit-limit", full.limit);
    failure.hint("x-ratelimit-remaining", full.remaining);
    if let Some(full_at_ms) = full.full_at_ms {
        failure.hint("x-ratelimit-reset", full_at_ms);
    }
    let named = of.and_then(|model| HeaderValue::try_from(format!("{resource}:{model}")).ok());
    failure.hints.push(("x-ratelimit-resource", named.unwrap_or(HeaderValue::from_static(resource))));
    match (full.refusal, wait_s) {
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

    /// What records know the model by, where it has rates of its own; else 0.
    pub(crate) fn model(&self) -> u64 {
        self.model.as_ref().map_or(0, Admission::id)
    }

    /// The request goes on with another model: the one before has its place back, and its tokens.
    pub(crate) fn move_to(&mut self, model: Option<Admission>) {
        self.model = model;
    }

    /// What was really used; the difference to the estimate is given back or charged.
    pub(crate) fn settle(mut self, usage: &Usage, now_ms: u64) {
        let used = usage.total_prompt_tokens().saturating_add(usage.completion_tokens);
        let estimate = std::mem::take(&mut self.tokens);
        self.gates().for_each(|gate| gate.settle(estimate, used, now_ms));
        if let Some(model) = self.model.take() {
            model.settle(used, now_ms);
        }
    }

    fn gates(&self) -> impl Iterator<Item = &Gate> {
        self.payers.iter().flat_map(|(chain, taken)| chain.at_places(*taken)).map(|tenant| &tenant.gate)
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let unused = Taken { tokens: self.tokens, free_day_ms: self.free_day_ms };
        for gate in self.gates() {
            let held = gate.leave(unused);
            debug_assert!(held, "a place is given back twice");
        }
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
