//! The breaker of an endpoint: shut out after a run of failures or a bad ratio, let in again by one probe, and then step by step, so that
//! no herd comes over a server that has just got up. A 429 is no broken server and never comes here.

use super::slots::Slots;
use crate::random::mix;
use serde::Serialize;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// So many failures in a row open it.
const RUN: u32 = 5;
/// So do fewer successes than failures among at least so many of the last thirty seconds.
const LEAST_SAMPLES: u32 = 20;
/// Half a minute in slots of five seconds.
pub(crate) const SLOTS: usize = 6;
const SLOT_MS: u64 = 5_000;
/// How long it stays open: the first time, and at most. Half of it is jitter. Longer would spare an invisible probe every ten seconds, and
/// would keep the load away from a server that is well again for longer than the half minute that is promised.
const FIRST_MS: u64 = 1_000;
const LONGEST_MS: u64 = 10_000;
/// A provider that does not know the model will not learn it within seconds.
const TRIPPED_MS: u64 = 60_000;
/// What a provider says is believed up to here.
const LONGEST_HINT_MS: u64 = 300_000;
/// A probe that nobody reports on is given up after this.
const LEASE_MS: u64 = 60_000;
/// From the first success after an outage to the full share.
pub(crate) const RAMP_MS: u64 = 20_000;
/// Closed for so long, the next opening counts as the first one.
const FORGIVEN_MS: u64 = 600_000;

/// What a breaker says at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// In use.
    #[default]
    Closed,
    /// Not to be used unless nothing else is left.
    Open,
    /// Open, and it is time for one request to try.
    Due,
}

/// Whether a request may go there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Open,
    /// It may, and everybody waits for how it goes.
    Probe,
    /// It may not: the endpoint is shut out, or another request tries.
    Denied,
}

#[derive(Debug)]
pub(crate) struct Breaker {
    /// `Word`: one word, so that a state is never half of another.
    word: AtomicU64,
    run: AtomicU32,
    window: Slots<SLOTS>,
}

/// What a breaker is in, how often it opened of late, and a moment: until when (open, probing) or since when (closed; 0: always).
#[derive(Clone, Copy, PartialEq, Eq)]
struct Word {
    phase: Phase,
    trips: u8,
    moment_ms: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    Open,
    Probing,
}

impl Word {
    const fn pack(self) -> u64 {
        self.moment_ms << 16 | (self.trips as u64) << 8 | self.phase as u64
    }

    const fn unpack(word: u64) -> Word {
        let phase = match word & 0xff {
            0 => Phase::Closed,
            1 => Phase::Open,
            _ => Phase::Probing,
        };
        Word { phase, trips: (word >> 8) as u8, moment_ms: word >> 16 }
    }
}

impl Breaker {
    pub(crate) const fn new() -> Breaker {
        Breaker { word: AtomicU64::new(0), run: AtomicU32::new(0), window: Slots::new(SLOT_MS) }
    }

    pub(crate) fn state(&self, now_ms: u64) -> State {
        let word = self.load();
        match word.phase {
            Phase::Closed => State::Closed,
            Phase::Open | Phase::Probing if now_ms >= word.moment_ms => State::Due,
            Phase::Open | Phase::Probing => State::Open,
        }
    }

    /// The share of its requests that it may have again, in thousandths.
    pub(crate) fn ramp(&self, now_ms: u64) -> u16 {
        let word = self.load();
        if word.phase != Phase::Closed || word.moment_ms == 0 {
            return FULL;
        }
        let since_ms = now_ms.saturating_sub(word.moment_ms).min(RAMP_MS);
        // A tenth at once, so that it is measured at all.
        (100 + 900 * since_ms / RAMP_MS) as u16
    }

    /// Since when it has been closed; 0: always, or it is not.
    pub(crate) fn closed_since_ms(&self) -> u64 {
        let word = self.load();
        if word.phase == Phase::Closed { word.moment_ms } else { 0 }
    }

    /// Whether the failures of the last half minute weigh: a fifth of what was tried.
    pub(crate) fn had_outage(&self, now_ms: u64) -> bool {
        let counted = self.window.sum(now_ms, SLOTS, 0);
        counted.bad > 0 && counted.bad * 5 >= counted.total()
    }

    /// Lets a request in, or not; at most one probe is under way at a time.
    pub(crate) fn admit(&self, now_ms: u64) -> Admission {
        let word = self.load();
        match word.phase {
            Phase::Closed => Admission::Open,
            Phase::Open | Phase::Probing if now_ms < word.moment_ms => Admission::Denied,
            Phase::Open | Phase::Probing => {
                let leased = Word { phase: Phase::Probing, trips: word.trips, moment_ms: now_ms + LEASE_MS };
                if self.swap(word, leased) { Admission::Probe } else { Admission::Denied }
            }
        }
    }

    /// A probe that ended without telling anything: the next one may try.
    pub(crate) fn abandon(&self, now_ms: u64) {
        let word = self.load();
        if word.phase == Phase::Probing {
            self.swap(word, Word { phase: Phase::Open, moment_ms: now_ms, ..word });
        }
    }

    /// An answer of a server that works, whatever it said.
    pub(crate) fn alive(&self, now_ms: u64) {
        self.run.store(0, Ordering::Relaxed);
        let word = self.load();
        // Also of an attempt that went there as the last resort.
        if word.phase != Phase::Closed && self.swap(word, Word { phase: Phase::Closed, moment_ms: now_ms.max(1), ..word }) {
            self.window.clear();
        }
    }

    pub(crate) fn success(&self, now_ms: u64) {
        self.alive(now_ms);
        self.window.add(now_ms, true);
    }

    /// Whether this failure opened it.
    pub(crate) fn failure(&self, now_ms: u64, hint_ms: Option<u64>, seed: u64) -> bool {
        self.window.add(now_ms, false);
        let run = self.run.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let word = self.load();
        let counted = self.window.sum(now_ms, SLOTS, 0);
        let bad_ratio = counted.total() >= LEAST_SAMPLES && counted.bad > counted.good;
        match word.phase {
            Phase::Closed if run < RUN && !bad_ratio => false,
            // Those that were under way when it opened say nothing new.
            Phase::Open => false,
            Phase::Closed | Phase::Probing => self.open(word, now_ms, hint_ms, seed),
        }
    }

    /// Opens it at once: the provider does not know the model.
    pub(crate) fn trip(&self, now_ms: u64, seed: u64) {
        let word = self.load();
        if word.phase != Phase::Open {
            self.open(word, now_ms, Some(TRIPPED_MS), seed);
        }
    }

    fn open(&self, word: Word, now_ms: u64, hint_ms: Option<u64>, seed: u64) -> bool {
        let forgiven = word.phase == Phase::Closed && now_ms.saturating_sub(word.moment_ms) > FORGIVEN_MS;
        let trips = if forgiven { 0 } else { word.trips };
        let backoff_ms = (FIRST_MS << trips.min(16)).min(LONGEST_MS);
        let jittered_ms = backoff_ms / 2 + mix(seed ^ now_ms) % (backoff_ms / 2 + 1);
        let wait_ms = jittered_ms.max(hint_ms.unwrap_or(0).min(LONGEST_HINT_MS));
        self.swap(word, Word { phase: Phase::Open, trips: trips.saturating_add(1), moment_ms: now_ms + wait_ms })
    }

    fn load(&self) -> Word {
        Word::unpack(self.word.load(Ordering::Acquire))
    }

    fn swap(&self, from: Word, to: Word) -> bool {
        self.word.compare_exchange(from.pack(), to.pack(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// A full share, in thousandths.
pub(crate) const FULL: u16 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(at_ms: u64) -> Breaker {
        let breaker = Breaker::new();
        for _ in 1..RUN {
            assert!(!breaker.failure(at_ms, None, 1));
        }
        assert!(breaker.failure(at_ms, None, 1));
        breaker
    }

    #[test]
    fn a_run_of_failures_opens_it_and_one_probe_closes_it() {
        let breaker = opened(10_000);
        assert_eq!((breaker.state(10_100), breaker.admit(10_100)), (State::Open, Admission::Denied));
        assert_eq!(breaker.state(11_000), State::Due);
        assert_eq!((breaker.admit(11_000), breaker.admit(11_000)), (Admission::Probe, Admission::Denied));
        breaker.success(11_500);
        assert_eq!((breaker.state(11_500), breaker.admit(11_500)), (State::Closed, Admission::Open));
        assert!(!breaker.had_outage(11_500), "what was before the probe is over");
        assert_eq!((breaker.ramp(11_500), breaker.ramp(21_500), breaker.ramp(31_500)), (100, 550, 1000));
    }

    #[test]
    fn a_failed_probe_waits_longer_and_a_lost_one_is_given_up() {
        let breaker = opened(0);
        assert_eq!(breaker.admit(1_000), Admission::Probe);
        breaker.failure(1_000, None, 1);
        assert_eq!(breaker.state(1_900), State::Open);
        assert_eq!(breaker.admit(3_000), Admission::Probe);
        assert_eq!(breaker.admit(3_000 + LEASE_MS), Admission::Probe);
        breaker.abandon(70_000);
        assert_eq!(breaker.admit(70_000), Admission::Probe);
    }

    #[test]
    fn hints_are_honoured_up_to_a_bound() {
        let breaker = Breaker::new();
        for _ in 0..RUN {
            breaker.failure(0, Some(1_000_000), 1);
        }
        assert_eq!((breaker.state(LONGEST_HINT_MS - 1), breaker.state(LONGEST_HINT_MS)), (State::Open, State::Due));
    }

    #[test]
    fn a_bad_ratio_opens_it_without_a_run() {
        let breaker = Breaker::new();
        let opened = (0..100u64).position(|number| {
            if number % 3 == 0 {
                breaker.success(number * 100);
                return false;
            }
            breaker.failure(number * 100, None, 1)
        });
        assert_eq!(opened, Some(19), "with the twentieth sample");
    }

    #[test]
    fn single_failures_among_many_successes_are_no_outage() {
        let breaker = Breaker::new();
        breaker.failure(0, None, 1);
        assert!(breaker.had_outage(0));
        for _ in 0..10 {
            breaker.success(0);
        }
        assert!(!breaker.had_outage(0));
        assert_eq!(breaker.state(0), State::Closed);
    }

    #[test]
    fn waits_double_up_to_a_bound() {
        let breaker = opened(0);
        let mut now_ms = 0;
        for trip in 1..10 {
            now_ms += LONGEST_MS;
            assert_eq!(breaker.admit(now_ms), Admission::Probe);
            breaker.failure(now_ms, None, trip);
            let least = (FIRST_MS << trip).min(LONGEST_MS) / 2;
            assert_eq!(breaker.state(now_ms + least - 1), State::Open, "{trip}");
            assert_eq!(breaker.state(now_ms + 2 * least), State::Due, "{trip}");
        }
    }
}
