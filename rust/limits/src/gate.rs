//! What several requests share of somebody's rates, behind a lock: from all of those that a request concerns, or from none.

use crate::bucket::Bucket;
use crate::claim::{Claim, take_all};
use crate::concurrency::Concurrency;
use crate::free_tier::{FreeTier, FreeTierLimits};
use crate::rate::Rate;
use crate::refusal::Refusal;
use crate::sync::{Mutex, MutexGuard};
use fairlead_ir::NanoUsd;
use std::num::NonZeroU32;
use std::sync::PoisonError;

/// How much of a minute's requests and tokens is left, and how many calls are running.
#[derive(Debug)]
pub struct Rates {
    /// Requests per minute.
    pub requests: Option<Bucket>,
    /// Tokens per minute.
    pub tokens: Option<Bucket>,
    /// Calls at the same time. Never taken away: whoever holds a place gives it back here.
    pub places: Concurrency,
    /// Of an account that has asked a free model anything, where that is limited.
    pub free: Option<Box<FreeTier>>,
    /// Of an account: credit ever bought.
    pub bought: NanoUsd,
}

/// What somebody's rates shall be; absent: not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests per minute.
    pub requests: Option<Rate>,
    /// Tokens per minute.
    pub tokens: Option<Rate>,
    /// Calls at the same time.
    pub places: Option<NonZeroU32>,
}

impl RateLimits {
    /// Whether there is any.
    pub fn is_limited(&self) -> bool {
        self.requests.is_some() || self.tokens.is_some() || self.places.is_some()
    }
}

/// No limit of calls at the same time.
const UNLIMITED: NonZeroU32 = NonZeroU32::MAX;

impl Rates {
    /// What was taken stays taken.
    pub fn limit(&mut self, limits: &RateLimits, now_ns: u64) {
        refit(&mut self.requests, limits.requests, now_ns);
        refit(&mut self.tokens, limits.tokens, now_ns);
        self.places.set_limit(limits.places.unwrap_or(UNLIMITED));
    }

    /// So much was taken of them before anybody counted here.
    pub fn resume(&mut self, requests: u64, tokens: u64, now_ns: u64) {
        for (bucket, units) in [(&mut self.requests, requests), (&mut self.tokens, tokens)] {
            if let Some(bucket) = bucket {
                bucket.charge(units, now_ns);
            }
        }
    }

    /// Whether nothing is taken of them, so that forgetting them changes nothing.
    pub fn is_untouched(&self, now_ns: u64) -> bool {
        let is_full = |bucket: &Option<Bucket>| bucket.is_none_or(|bucket| bucket.full_after_ns(now_ns) == 0);
        self.places.held() == 0 && is_full(&self.requests) && is_full(&self.tokens)
    }
}

fn refit(bucket: &mut Option<Bucket>, rate: Option<Rate>, now_ns: u64) {
    match (&mut *bucket, rate) {
        (Some(bucket), Some(rate)) if bucket.rate() != rate => bucket.change(rate, now_ns),
        (Some(_), Some(_)) => {}
        (_, rate) => *bucket = rate.map(Bucket::new),
    }
}

/// Rates that are shared.
#[derive(Debug)]
pub struct Gate(Mutex<Rates>);

impl Default for Gate {
    /// Nothing is limited.
    fn default() -> Gate {
        let places = Concurrency::new(UNLIMITED);
        Gate(Mutex::new(Rates { requests: None, tokens: None, places, free: None, bought: NanoUsd(0) }))
    }
}

/// Which limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Requests per minute.
    Requests,
    /// Tokens per minute.
    Tokens,
    /// Calls at the same time.
    Places,
    /// Requests to free models per minute.
    FreeMinute,
    /// Requests to free models per day.
    FreeDay,
}

/// What one request wants of all gates.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Tokens that it may use.
    pub tokens: u64,
    /// At least these are wanted; of the rest, what the smallest limit can ever give.
    pub least_tokens: u64,
    /// It is one to a free model: the limits of these, and which of the gates is the account's.
    pub free: Option<(usize, FreeTierLimits)>,
}

/// What was taken of every gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Tokens.
    pub tokens: u64,
    /// The day of its free request.
    pub free_day_ms: Option<u64>,
}

/// Nothing was taken: a gate is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Which.
    pub gate: usize,
    /// In what: what is refused the longest.
    pub what: What,
    /// For how long.
    pub refusal: Refusal,
    /// Tokens that were wanted.
    pub tokens: u64,
    /// The limit.
    pub limit: u64,
    /// What is left of it.
    pub remaining: u64,
    /// When all of it is there again, Unix milliseconds, where time alone brings it.
    pub full_at_ms: Option<u64>,
    /// Credit ever bought, of an account.
    pub bought: NanoUsd,
}

impl Gate {
    /// The rates, for as long as the guard lives.
    pub fn rates(&self) -> MutexGuard<'_, Rates> {
        // A panic between two additions is none of theirs.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request, its tokens and a place, of all of these or of none. Whoever takes of several takes of them in the same order as everybody.
    /// What is held is given back by [`Gate::leave`].
    ///
    /// # Errors
    /// The gate that is full for the longest.
    pub fn enter(gates: &[&Gate], wanted: Wanted, now_ms: u64) -> Result<Taken, Full> {
        let now_ns = now_ms.saturating_mul(1_000_000);
        let mut guards: Vec<MutexGuard<'_, Rates>> = gates.iter().map(|gate| gate.rates()).collect();
        let most = guards.iter().filter_map(|rates| Some(rates.tokens?.rate().burst())).min().unwrap_or(u64::MAX);
        let tokens = wanted.tokens.min(most.max(wanted.least_tokens));
        let (mut claims, mut whats) = (Vec::with_capacity(3 * guards.len() + 2), Vec::with_capacity(3 * guards.len() + 2));
        for (gate, rates) in guards.iter_mut().enumerate() {
            let Rates { requests, tokens: tokens_left, places, free, bought } = &mut **rates;
            if let Some((_, limits)) = wanted.free.filter(|(account, _)| *account == gate) {
                let free = free.get_or_insert_with(|| Box::new(FreeTier::new(&limits)));
                claims.extend(free.claims(&limits, *bought, now_ns));
                whats.extend([(gate, What::FreeMinute), (gate, What::FreeDay)]);
            }
            let requests = requests.as_mut().map(|bucket| (Claim::Rate(bucket, 1), What::Requests));
            let tokens = tokens_left.as_mut().map(|bucket| (Claim::Rate(bucket, tokens), What::Tokens));
            for (claim, what) in requests.into_iter().chain(tokens).chain([(Claim::Place(places), What::Places)]) {
                claims.push(claim);
                whats.push((gate, what));
            }
        }
        let refused = match take_all(&mut claims, now_ns) {
            Ok(()) => {
                let free = wanted.free.and_then(|(account, _)| guards[account].free.as_ref());
                return Ok(Taken { tokens, free_day_ms: free.map(|free| free.day.start_ms()) });
            }
            Err(refused) => refused,
        };
        drop(claims);
        let (gate, what) = whats[refused.claim];
        let rates = &guards[gate];
        let (limit, remaining, full_at_ms) = what.level(rates, now_ms);
        Err(Full { gate, what, refusal: refused.refusal, tokens, limit, remaining, full_at_ms, bought: rates.bought })
    }

    /// Of the tokens that were taken so many were used: the difference is given back or charged.
    pub fn settle(&self, taken: u64, used: u64, now_ms: u64) {
        let Some(bucket) = &mut self.rates().tokens else { return };
        if used <= taken {
            bucket.refund(taken - used);
        } else {
            bucket.charge(used - taken, now_ms.saturating_mul(1_000_000));
        }
    }

    /// Gives the place back, and what was taken and not used. False where no place was held: that is a mistake of the caller's.
    #[must_use = "false is a mistake of the caller's"]
    pub fn leave(&self, unused: Taken) -> bool {
        let mut rates = self.rates();
        if let (Some(free), Some(day_ms)) = (&mut rates.free, unused.free_day_ms) {
            free.refund(day_ms);
        }
        if let Some(bucket) = &mut rates.tokens {
            bucket.refund(unused.tokens);
        }
        rates.places.release()
    }
}

impl What {
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
