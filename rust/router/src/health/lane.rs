//! Credentials: which of a provider's keys a request goes out with. What is wrong with a key holds at the whole provider ([`Key`]); what is
//! used up may be one model's own limit, and is kept for each endpoint apart ([`Lane`]).

use super::queue::Queue;
use super::quota::{Meter, Quota};
use crate::random::Draws;
use fairlead_snapshot::CredentialLimits;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A limit that nobody has met.
const UNLIMITED: u32 = u32::MAX;
/// What an exhausted limit without a word on its end waits, and a rate limit the first time; it doubles up to a minute.
const FIRST_MS: u64 = 1_000;
const LONGEST_MS: u64 = 60_000;
/// A key that was refused is not asked again for so long; it doubles up to an hour. Somebody has to change something.
const REFUSED_MS: u64 = 60_000;
const LONGEST_REFUSED_MS: u64 = 3_600_000;

/// A credential of a provider.
#[derive(Debug, Default)]
pub(crate) struct Key {
    refused_until_ms: AtomicU64,
    refusals: AtomicU32,
    in_flight: AtomicU32,
    requests: Pace,
    tokens: Pace,
    /// Where those stand who wait for a credential, of whatever provider.
    queue: Arc<Queue>,
}

/// A rate of so many a minute, with a burst of a whole minute: the moment at which all that was taken will have been earned, in
/// microseconds.
#[derive(Debug, Default)]
struct Pace(AtomicU64);

const MINUTE_US: u64 = 60_000_000;

impl Pace {
    fn has(&self, now_ms: u64, amount: u64, per_minute: u64) -> bool {
        let ends_us = self.0.load(Ordering::Relaxed).max(now_ms * 1000).saturating_add(cost_us(amount, per_minute));
        ends_us <= now_ms * 1000 + MINUTE_US
    }

    /// How long until it [`has`](Pace::has) so much, if nobody takes any before. More than a minute's worth it never has.
    fn wait_ms(&self, now_ms: u64, amount: u64, per_minute: u64) -> u64 {
        if self.has(now_ms, amount, per_minute) {
            return 0;
        }
        let taken_us = self.0.load(Ordering::Relaxed).saturating_sub(now_ms * 1000);
        let spare_us = MINUTE_US.saturating_sub(cost_us(amount, per_minute));
        taken_us.saturating_sub(spare_us).div_ceil(1000).max(1)
    }

    fn take(&self, now_ms: u64, amount: u64, per_minute: u64) {
        let taken = |ends_us: u64| Some(ends_us.max(now_ms * 1000).saturating_add(cost_us(amount, per_minute)));
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken);
    }
}

const fn cost_us(amount: u64, per_minute: u64) -> u64 {
    match amount.saturating_mul(MINUTE_US).checked_div(per_minute) {
        Some(cost_us) => cost_us,
        // A limit of nothing allows nothing.
        None => MINUTE_US + 1,
    }
}

impl Key {
    pub(crate) fn new(queue: Arc<Queue>) -> Key {
        Key { queue, ..Key::default() }
    }

    fn may_take(&self, now_ms: u64, tokens: u64, limits: &CredentialLimits) -> bool {
        self.refused_until_ms.load(Ordering::Relaxed) <= now_ms && self.is_within(now_ms, tokens, limits)
    }

    fn is_within(&self, now_ms: u64, tokens: u64, limits: &CredentialLimits) -> bool {
        limits.max_concurrency.is_none_or(|most| u64::from(self.in_flight.load(Ordering::Relaxed)) < most)
            && limits.rpm.is_none_or(|rpm| self.requests.has(now_ms, 1, rpm))
            && limits.tpm.is_none_or(|tpm| self.tokens.has(now_ms, tokens, tpm))
    }

    /// The provider refused it.
    pub(crate) fn refused(&self, now_ms: u64) {
        let times = self.refusals.fetch_add(1, Ordering::Relaxed).min(8);
        let until_ms = now_ms + (REFUSED_MS << times).min(LONGEST_REFUSED_MS);
        self.refused_until_ms.fetch_max(until_ms, Ordering::Relaxed);
    }

    fn accepted(&self) {
        self.refusals.store(0, Ordering::Relaxed);
        self.refused_until_ms.store(0, Ordering::Relaxed);
    }
}

/// A credential at an endpoint.
#[derive(Debug)]
pub(crate) struct Lane {
    cool_until_ms: AtomicU64,
    strikes: AtomicU32,
    in_flight: AtomicU32,
    /// Most at a time, learned: halved or so by a rate limit that nothing was said about before, one more for each round of successes.
    window: AtomicU32,
    progress: AtomicU32,
    requests: Left,
    tokens: Left,
}

/// What is left of a limit that the provider told.
#[derive(Debug)]
struct Left {
    remaining: AtomicU64,
    until_ms: AtomicU64,
}

impl Left {
    const fn new() -> Left {
        Left { remaining: AtomicU64::new(u64::MAX), until_ms: AtomicU64::new(0) }
    }

    fn has(&self, now_ms: u64, amount: u64) -> bool {
        now_ms >= self.until_ms.load(Ordering::Relaxed) || self.remaining.load(Ordering::Relaxed) >= amount
    }

    fn wait_ms(&self, now_ms: u64, amount: u64) -> u64 {
        if self.has(now_ms, amount) { 0 } else { self.until_ms.load(Ordering::Relaxed).saturating_sub(now_ms) }
    }

    fn was_told(&self) -> bool {
        self.until_ms.load(Ordering::Relaxed) > 0
    }

    fn take(&self, amount: u64) {
        let taken = |remaining: u64| (remaining != u64::MAX).then(|| remaining.saturating_sub(amount));
        let _ = self.remaining.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken);
    }

    fn learn(&self, meter: Meter, now_ms: u64) {
        let Some(remaining) = meter.remaining else { return };
        self.remaining.store(remaining, Ordering::Relaxed);
        self.until_ms.store(now_ms + meter.reset_ms.unwrap_or(FIRST_MS).min(LONGEST_MS), Ordering::Relaxed);
    }
}

impl Default for Lane {
    fn default() -> Lane {
        Lane {
            cool_until_ms: AtomicU64::new(0),
            strikes: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            window: AtomicU32::new(UNLIMITED),
            progress: AtomicU32::new(0),
            requests: Left::new(),
            tokens: Left::new(),
        }
    }
}

impl Lane {
    fn may_take(&self, now_ms: u64, tokens: u64) -> bool {
        self.cool_until_ms.load(Ordering::Relaxed) <= now_ms
            && self.in_flight.load(Ordering::Relaxed) < self.window.load(Ordering::Relaxed)
            && self.requests.has(now_ms, 1)
            && self.tokens.has(now_ms, tokens)
    }

    /// What the headers of a reply say.
    pub(crate) fn learn(&self, quota: &Quota, now_ms: u64) {
        self.requests.learn(quota.requests, now_ms);
        self.tokens.learn(quota.tokens, now_ms);
    }

    /// Not now: a model that is being loaded.
    pub(crate) fn cool(&self, now_ms: u64, hint_ms: Option<u64>) {
        let strikes = self.strikes.fetch_add(1, Ordering::Relaxed).min(16);
        let wait_ms = hint_ms.unwrap_or((FIRST_MS << strikes).min(LONGEST_MS));
        self.cool_until_ms.fetch_max(now_ms + wait_ms, Ordering::Relaxed);
    }

    /// A rate limit.
    pub(crate) fn limited(&self, now_ms: u64, hint_ms: Option<u64>) {
        self.cool(now_ms, hint_ms);
        // Whoever tells what is left needs no guess.
        if self.requests.was_told() || self.tokens.was_told() {
            return;
        }
        // Multiplicative decrease, from what was really in use.
        let in_flight = self.in_flight.load(Ordering::Relaxed).max(1);
        let less = |window: u32| Some((u64::from(window.min(in_flight)) * 7 / 10).max(1) as u32);
        let _ = self.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    fn succeeded(&self) {
        self.strikes.store(0, Ordering::Relaxed);
        let window = self.window.load(Ordering::Relaxed);
        // Additive increase: one more for each window's worth of successes.
        if window != UNLIMITED && self.progress.fetch_add(1, Ordering::Relaxed) + 1 >= window {
            self.progress.store(0, Ordering::Relaxed);
            self.window.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A way out with one credential: what is known of it at this endpoint and at the provider, and what it is allowed.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) lane: Arc<Lane>,
    pub(crate) key: Arc<Key>,
    pub(crate) limits: CredentialLimits,
}

impl Turn {
    /// Whether what is configured would ever let a request of so many tokens out.
    pub(crate) fn is_ever_free(&self, tokens: u64) -> bool {
        self.limits.tpm.is_none_or(|tpm| tokens <= tpm)
    }

    /// Whether a request of so many tokens may go out with it now.
    pub(crate) fn is_free(&self, now_ms: u64, tokens: u64) -> bool {
        self.lane.may_take(now_ms, tokens) && self.key.may_take(now_ms, tokens, &self.limits)
    }

    /// Whether what is configured allows it, whatever the provider said.
    pub(crate) fn is_within_limits(&self, now_ms: u64, tokens: u64) -> bool {
        self.key.is_within(now_ms, tokens, &self.limits)
    }

    /// How long until time alone could make it free for a request that [`is ever`](Turn::is_ever_free) let out; what only another request's end can
    /// give does not count.
    pub(crate) fn wait_ms(&self, now_ms: u64, tokens: u64) -> u64 {
        let Turn { lane, key, limits } = self;
        let until = |until_ms: &AtomicU64| until_ms.load(Ordering::Relaxed).saturating_sub(now_ms);
        let waits = [
            until(&lane.cool_until_ms),
            until(&key.refused_until_ms),
            lane.requests.wait_ms(now_ms, 1),
            lane.tokens.wait_ms(now_ms, tokens),
            limits.rpm.map_or(0, |rpm| key.requests.wait_ms(now_ms, 1, rpm)),
            limits.tpm.map_or(0, |tpm| key.tokens.wait_ms(now_ms, tokens, tpm)),
        ];
        waits.into_iter().max().unwrap_or(0)
    }

    pub(crate) fn take(&self, now_ms: u64, tokens: u64) {
        for in_flight in [&self.lane.in_flight, &self.key.in_flight] {
            in_flight.fetch_add(1, Ordering::Relaxed);
        }
        self.lane.requests.take(1);
        self.lane.tokens.take(tokens);
        if let Some(rpm) = self.limits.rpm {
            self.key.requests.take(now_ms, 1, rpm);
        }
        if let Some(tpm) = self.limits.tpm {
            self.key.tokens.take(now_ms, tokens, tpm);
        }
    }

    pub(crate) fn give_back(&self) {
        for in_flight in [&self.lane.in_flight, &self.key.in_flight] {
            in_flight.fetch_sub(1, Ordering::Relaxed);
        }
        self.key.queue.call_first();
    }

    pub(crate) fn succeeded(&self) {
        self.lane.succeeded();
        self.key.accepted();
    }
}

/// Which of these to go out with: a free one by weight, `preferred` before all others; those in `tried` are out. One of weight 0 only when
/// no other is free.
pub(crate) fn choose(turns: &[Turn], now_ms: u64, tokens: u64, preferred: Option<usize>, tried: u64, draws: &mut Draws) -> Option<usize> {
    let free = |position: usize| !was_tried(tried, position) && turns[position].is_free(now_ms, tokens);
    if let [_] = turns {
        return free(0).then_some(0);
    }
    if let Some(position) = preferred.filter(|position| *position < turns.len() && free(*position)) {
        return Some(position);
    }
    let weight = |position: usize| u64::from(turns[position].limits.weight);
    let total: u64 = (0..turns.len()).filter(|position| free(*position)).map(weight).sum();
    if total == 0 {
        return (0..turns.len()).find(|position| free(*position));
    }
    let mut left = draws.number() % total;
    (0..turns.len()).filter(|position| free(*position)).find(|position| match left.checked_sub(weight(*position)) {
        Some(less) => {
            left = less;
            false
        }
        None => true,
    })
}

/// Beyond so many keys of one provider, those that were tried are not told apart.
const TOLD_APART: usize = u64::BITS as usize;

const fn was_tried(tried: u64, position: usize) -> bool {
    position < TOLD_APART && tried >> position & 1 == 1
}

/// `tried`, and this one.
pub(crate) const fn mark(tried: u64, position: usize) -> u64 {
    if position < TOLD_APART { tried | 1 << position } else { tried }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn turn(limits: CredentialLimits) -> Turn {
        Turn { lane: Arc::default(), key: Arc::default(), limits }
    }

    fn weighted(weight: u32) -> Turn {
        turn(CredentialLimits { weight, ..CredentialLimits::NONE })
    }

    #[test]
    fn configured_rates_are_kept_exactly() {
        let turn = turn(CredentialLimits { rpm: Some(60), tpm: Some(1_000), ..CredentialLimits::NONE });
        let taken = (0..100)
            .filter(|_| {
                turn.is_free(0, 10) && {
                    turn.take(0, 10);
                    true
                }
            })
            .count();
        assert_eq!(taken, 60);
        assert!(!turn.is_free(999, 10) && turn.is_free(1_000, 10));
        assert!(!turn.is_free(1_000, 600), "400 tokens are left");
        assert!(turn.is_free(60_000, 1_000) && turn.is_ever_free(1_000));
        assert!(!turn.is_free(600_000, 1_001) && !turn.is_ever_free(1_001), "more than the limit never goes out");
    }

    #[test]
    fn how_long_time_alone_takes() {
        let check = |turn: &Turn, now_ms, tokens, expected| {
            assert_eq!(turn.wait_ms(now_ms, tokens), expected);
            assert!(turn.is_free(now_ms + expected, tokens), "then it is free");
            assert!(expected == 0 || !turn.is_free(now_ms + expected - 1, tokens), "and not before");
        };
        let paced = turn(CredentialLimits { rpm: Some(60), tpm: Some(1_000), ..CredentialLimits::NONE });
        check(&paced, 0, 10, 0);
        (0..60).for_each(|_| paced.take(0, 10));
        check(&paced, 0, 10, 1_000);
        check(&paced, 300, 10, 700);
        check(&paced, 1_000, 600, 11_000);
        check(&paced, 0, 1_000, 36_000);
        let cooled = turn(CredentialLimits::NONE);
        cooled.lane.limited(0, Some(7_000));
        check(&cooled, 2_000, 1, 5_000);
        cooled.key.refused(0);
        check(&cooled, 2_000, 1, 58_000);
        let told = turn(CredentialLimits::NONE);
        told.lane.learn(&Quota { requests: Meter { remaining: Some(0), reset_ms: Some(4_000) }, tokens: Meter::default() }, 0);
        check(&told, 1_000, 1, 3_000);
    }

    #[test]
    fn concurrency_is_kept() {
        let turn = turn(CredentialLimits { max_concurrency: Some(2), ..CredentialLimits::NONE });
        turn.take(0, 1);
        turn.take(0, 1);
        assert!(!turn.is_free(0, 1));
        turn.give_back();
        assert!(turn.is_free(0, 1));
    }

    #[test]
    fn a_rate_limit_cools_the_lane_and_a_refusal_the_key() {
        let key = Arc::new(Key::default());
        let lanes = [(); 2].map(|()| Turn { lane: Arc::default(), key: Arc::clone(&key), limits: CredentialLimits::NONE });
        lanes[0].lane.limited(0, Some(7_000));
        assert!(!lanes[0].is_free(6_999, 1) && lanes[0].is_free(7_000, 1) && lanes[1].is_free(0, 1));
        key.refused(0);
        assert!(!lanes[1].is_free(59_999, 1) && lanes[1].is_free(60_000, 1));
        lanes[1].succeeded();
        assert!(lanes[1].is_free(0, 1));
    }

    #[test]
    fn without_a_word_waits_double_and_the_window_shrinks_and_grows() {
        let turn = weighted(1);
        (0..10).for_each(|_| turn.take(0, 1));
        turn.lane.limited(0, None);
        assert!(!turn.is_free(999, 1));
        assert_eq!(turn.lane.window.load(Ordering::Relaxed), 7);
        turn.lane.limited(1_000, None);
        assert!(!turn.is_free(2_999, 1));
        (0..6).for_each(|_| turn.give_back());
        assert!(!turn.is_free(3_000, 1), "four are under way, four are allowed");
        (0..4).for_each(|_| turn.succeeded());
        assert!(turn.is_free(3_000, 1), "and now five");
    }

    #[test]
    fn what_headers_say_is_kept_until_the_reset() {
        let turn = weighted(1);
        let meter = |remaining| Meter { remaining: Some(remaining), reset_ms: Some(5_000) };
        turn.lane.learn(&Quota { requests: meter(1), tokens: meter(100) }, 0);
        assert!(!turn.is_free(0, 101) && turn.is_free(0, 100));
        turn.take(0, 50);
        assert!(!turn.is_free(4_999, 1) && turn.is_free(5_000, 1));
    }

    #[test]
    fn keys_are_drawn_by_weight() {
        let turns = [weighted(3), weighted(1), weighted(0)];
        let mut draws = Draws::new(5);
        let mut counts = [0; 3];
        for _ in 0..4_000 {
            counts[choose(&turns, 0, 1, None, 0, &mut draws).unwrap()] += 1;
        }
        assert!((2_850..3_150).contains(&counts[0]) && counts[2] == 0, "{counts:?}");
        assert_eq!(choose(&turns, 0, 1, Some(2), 0, &mut draws), Some(2), "a pinned key goes first");
        assert_eq!(choose(&turns, 0, 1, None, mark(mark(0, 0), 1), &mut draws), Some(2), "the spare one");
        assert_eq!(choose(&turns, 0, 1, None, 0b111, &mut draws), None);
    }
}
