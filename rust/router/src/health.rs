//! Health: what attempts have told about endpoints and keys. Atomics only, shared by all workers, found once per snapshot by stable ids
//! ([`Registry`]), so that nothing is forgotten when descriptions change.

mod breaker;
pub(crate) mod budget;
pub(crate) mod lane;
pub mod outcome;
pub mod queue;
mod quota;
mod registry;
mod report;
mod retry_after;
mod rolling;
mod slots;

use breaker::{Breaker, FULL};
use outcome::{Circuit, Outcome, Uptime};
use rolling::Rolling;
use serde::Serialize;
use slots::{Counted, Slots};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub(crate) use breaker::FULL as FULL_SHARE;
pub use breaker::{Admission, State};
pub use quota::{Meter, Quota};
pub use registry::Registry;
pub(crate) use registry::Shelves;
pub use report::{Quantiles, Report, ToolCalls};
pub use retry_after::{LONGEST_HINT_MS, LONGEST_MS as LONGEST_RETRY_AFTER_MS, hinted_ms, retry_after_ms};
pub use rolling::{Percentiles, Window};

/// Below so many attempts an uptime says nothing.
const LEAST_ATTEMPTS: u32 = 100;
/// Uptimes, in percent, below which an endpoint is degraded, and down.
const NORMAL: u32 = 95;
const DEGRADED: u32 = 80;
/// The uptime that routing goes by: of the last five minutes.
const ROUTED_MINUTES: usize = 5;
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 3_600_000;
const QUARTER_MS: u64 = 900_000;
/// An endpoint without a success for so long may be asleep: its next first token says nothing about the ones after it.
const COLD_MS: u64 = 600_000;
/// How old percentiles may be when routing reads them.
const FRESH_MS: u64 = 1_000;

/// The health of an endpoint.
#[derive(Debug)]
pub struct Endpoint {
    breaker: Breaker,
    minutes: Slots<30>,
    hours: Slots<24>,
    tools: Slots<8>,
    last_success_ms: AtomicU64,
    last_bad_ms: AtomicU64,
    /// A moving mean of what it gives, in sixteenths of a token; 0: unknown.
    completion: AtomicU32,
    /// Made with the first success: most endpoints of a catalogue are never used.
    rolling: OnceLock<Box<Measured>>,
    fresh: Fresh,
}

#[derive(Debug)]
struct Measured {
    first_token_ms: Rolling,
    /// In tenths of a token per second, over the whole time of the reply.
    throughput: Rolling,
}

/// [`Pace`] as it was up to a second ago.
#[derive(Debug)]
struct Fresh {
    made_ms: AtomicU64,
    first_token_ms: FreshPercentiles,
    throughput: FreshPercentiles,
    /// Sound ones above, the others below.
    tools: AtomicU64,
    day: AtomicU32,
}

#[derive(Debug)]
struct FreshPercentiles {
    samples: AtomicU32,
    values: [AtomicU32; rolling::POINTS.len()],
}

impl FreshPercentiles {
    const fn new() -> FreshPercentiles {
        FreshPercentiles { samples: AtomicU32::new(0), values: [const { AtomicU32::new(0) }; rolling::POINTS.len()] }
    }

    fn store(&self, percentiles: &Percentiles) {
        self.samples.store(percentiles.samples, Ordering::Relaxed);
        for (value, new) in self.values.iter().zip(percentiles.values) {
            value.store(new, Ordering::Relaxed);
        }
    }

    fn load(&self) -> Percentiles {
        let mut percentiles = Percentiles { samples: self.samples.load(Ordering::Relaxed), ..Percentiles::default() };
        for (value, kept) in percentiles.values.iter_mut().zip(&self.values) {
            *value = kept.load(Ordering::Relaxed);
        }
        percentiles
    }
}

/// What every decision needs to know of an endpoint's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// What the breaker says.
    pub state: State,
    /// Failures weighed in the last thirty seconds.
    pub outage: bool,
    /// By its uptime.
    pub standing: Standing,
    /// Its share of requests after an outage, in thousandths.
    pub ramp: u16,
    /// No key is free.
    pub is_full: bool,
    /// What it usually gives, in tokens; 0: unknown.
    pub completion_tokens: u32,
}

impl Default for Pulse {
    fn default() -> Pulse {
        Pulse { state: State::Closed, outage: false, standing: Standing::Normal, ramp: FULL, is_full: false, completion_tokens: 0 }
    }
}

/// An endpoint by its uptime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// At least 95 %, or too little is known.
    #[default]
    Normal,
    /// At least 80 %: behind the others.
    Degraded,
    /// A fallback only.
    Down,
}

/// What only some orders need to know, up to a second old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// To the first content, in milliseconds.
    pub first_token_ms: Percentiles,
    /// In tenths of a token per second.
    pub throughput: Percentiles,
    /// Requests with tools of two hours whose calls were sound, and those whose were not.
    pub tools: (u32, u32),
    /// Attempts of the last day, for popularity.
    pub day: u32,
}

impl Default for Endpoint {
    fn default() -> Endpoint {
        Endpoint {
            breaker: Breaker::new(),
            minutes: Slots::new(MINUTE_MS),
            hours: Slots::new(HOUR_MS),
            tools: Slots::new(QUARTER_MS),
            last_success_ms: AtomicU64::new(0),
            last_bad_ms: AtomicU64::new(0),
            completion: AtomicU32::new(0),
            rolling: OnceLock::new(),
            fresh: Fresh {
                made_ms: AtomicU64::new(0),
                first_token_ms: FreshPercentiles::new(),
                throughput: FreshPercentiles::new(),
                tools: AtomicU64::new(0),
                day: AtomicU32::new(0),
            },
        }
    }
}

impl Endpoint {
    /// Lets a request in, or not.
    pub fn admit(&self, now_ms: u64) -> Admission {
        self.breaker.admit(now_ms)
    }

    /// A probe that told nothing.
    pub(crate) fn abandon(&self, now_ms: u64) {
        self.breaker.abandon(now_ms);
    }

    /// What an attempt told.
    pub fn note(&self, outcome: &Outcome, now_ms: u64, seed: u64) {
        let verdict = outcome.class.verdict();
        match verdict.circuit {
            Circuit::Success => self.breaker.success(now_ms),
            Circuit::Alive => self.breaker.alive(now_ms),
            Circuit::Failure => drop(self.breaker.failure(now_ms, outcome.retry_after_ms, seed)),
            Circuit::Trip => self.breaker.trip(now_ms, seed),
            Circuit::Silent => {}
        }
        if verdict.uptime != Uptime::Excluded {
            let good = verdict.uptime == Uptime::Good;
            self.minutes.add(now_ms, good);
            self.hours.add(now_ms, good);
            if !good {
                self.last_bad_ms.fetch_max(now_ms, Ordering::Relaxed);
            }
        }
        if verdict.circuit == Circuit::Success {
            self.measure(outcome, now_ms);
        }
        if let Some(sound) = outcome.tools {
            self.tools.add(now_ms, sound);
        }
    }

    fn measure(&self, outcome: &Outcome, now_ms: u64) {
        let was_cold = self.is_cold(now_ms);
        self.last_success_ms.fetch_max(now_ms, Ordering::Relaxed);
        if outcome.completion_tokens > 0 {
            self.learn_completion(outcome.completion_tokens);
        }
        if was_cold {
            return;
        }
        let measured = self.rolling.get_or_init(|| Box::new(Measured { first_token_ms: Rolling::new(), throughput: Rolling::new() }));
        if let Some(first_token_ms) = outcome.first_token_ms {
            measured.first_token_ms.add(now_ms, first_token_ms);
        }
        if let Some(total_ms) = outcome.total_ms.filter(|_| outcome.completion_tokens > 0) {
            let tenths = u64::from(outcome.completion_tokens) * 10_000 / u64::from(total_ms.max(1));
            measured.throughput.add(now_ms, u32::try_from(tenths).unwrap_or(u32::MAX));
        }
    }

    /// A moving mean over some sixteen replies.
    fn learn_completion(&self, tokens: u32) {
        let tokens = tokens.min(u32::MAX >> 4) << 4;
        let learned = |mean: u32| Some(if mean == 0 { tokens } else { mean - mean / 16 + tokens / 16 }.max(1));
        let _ = self.completion.fetch_update(Ordering::Relaxed, Ordering::Relaxed, learned);
    }

    /// Whether it may be asleep: give its first token more time, and blame nothing on it.
    pub fn is_cold(&self, now_ms: u64) -> bool {
        let last_ms = self.last_success_ms.load(Ordering::Relaxed);
        last_ms == 0 || now_ms.saturating_sub(last_ms) > COLD_MS
    }

    /// What every decision needs to know, but for its keys.
    pub fn pulse(&self, now_ms: u64) -> Pulse {
        let completion_tokens = self.completion.load(Ordering::Relaxed) / 16;
        let last_bad_ms = self.last_bad_ms.load(Ordering::Relaxed);
        let state = self.breaker.state(now_ms);
        // Most endpoints, most of the time.
        if last_bad_ms == 0 || (now_ms.saturating_sub(last_bad_ms) > ROUTED_MINUTES as u64 * MINUTE_MS && state == State::Closed) {
            return Pulse { completion_tokens, state, ..Pulse::default() };
        }
        Pulse {
            state,
            outage: self.breaker.had_outage(now_ms),
            standing: self.standing(now_ms),
            ramp: self.breaker.ramp(now_ms),
            is_full: false,
            completion_tokens,
        }
    }

    /// By the last five minutes, but by nothing before its last recovery: what a probe has proved counts more than history.
    fn standing(&self, now_ms: u64) -> Standing {
        let closed_since_ms = self.breaker.closed_since_ms();
        let since = if closed_since_ms == 0 { 0 } else { self.minutes.number(closed_since_ms) + 1 };
        let Counted { good, bad } = self.minutes.sum(now_ms, ROUTED_MINUTES, since);
        match good + bad {
            total if total < LEAST_ATTEMPTS || good * 100 >= total * NORMAL => Standing::Normal,
            total if good * 100 >= total * DEGRADED => Standing::Degraded,
            _ => Standing::Down,
        }
    }

    /// What some orders need to know; at most a second old.
    pub fn pace(&self, now_ms: u64) -> Pace {
        if self.last_success_ms.load(Ordering::Relaxed) == 0 {
            return Pace::default();
        }
        let made_ms = self.fresh.made_ms.load(Ordering::Acquire);
        let due = made_ms == 0 || now_ms.abs_diff(made_ms) >= FRESH_MS;
        if due && self.fresh.made_ms.compare_exchange(made_ms, now_ms.max(1), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.refresh(now_ms);
        }
        let tools = self.fresh.tools.load(Ordering::Relaxed);
        Pace {
            first_token_ms: self.fresh.first_token_ms.load(),
            throughput: self.fresh.throughput.load(),
            tools: ((tools >> 32) as u32, tools as u32),
            day: self.fresh.day.load(Ordering::Relaxed),
        }
    }

    fn refresh(&self, now_ms: u64) {
        let (first_token_ms, throughput) = self.percentiles(now_ms, Window::Five);
        self.fresh.first_token_ms.store(&first_token_ms);
        self.fresh.throughput.store(&throughput);
        let (sound, unsound) = self.tool_calls(now_ms);
        self.fresh.tools.store(u64::from(sound) << 32 | u64::from(unsound), Ordering::Relaxed);
        self.fresh.day.store(self.hours.sum(now_ms, 24, 0).total(), Ordering::Relaxed);
    }

    /// Replies of the last two hours whose tool calls were sound, and those whose were not.
    pub(crate) fn tool_calls(&self, now_ms: u64) -> (u32, u32) {
        let Counted { good, bad } = self.tools.sum(now_ms, 8, 0);
        (good, bad)
    }

    /// Time to the first content in milliseconds, and throughput in tenths of a token per second: for showing.
    pub fn percentiles(&self, now_ms: u64, window: Window) -> (Percentiles, Percentiles) {
        let Some(measured) = self.rolling.get() else { return Default::default() };
        (measured.first_token_ms.percentiles(now_ms, window), measured.throughput.percentiles(now_ms, window))
    }

    /// The share of good attempts among those of the last 5, 30 or 1,440 minutes that count; `None` below a hundred of them.
    pub fn uptime(&self, now_ms: u64, minutes: usize) -> Option<f64> {
        let counted = if minutes <= 30 { self.minutes.sum(now_ms, minutes, 0) } else { self.hours.sum(now_ms, minutes / 60, 0) };
        (counted.total() >= LEAST_ATTEMPTS).then(|| f64::from(counted.good) / f64::from(counted.total()))
    }
}

#[cfg(test)]
mod tests;
