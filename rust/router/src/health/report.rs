//! What is known of an endpoint, for people and lists.

use super::rolling::{POINTS, Percentiles, Window};
use super::{Standing, State};
use crate::board::{Board, Entry};
use fairlead_ir::Tier;
use serde::Serialize;
use std::sync::atomic::Ordering;

const DAY_MINUTES: usize = 24 * 60;

/// What is known of an endpoint that was used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report<'a> {
    /// Its stable id.
    pub endpoint: u64,
    /// Catalogue id of its model.
    pub model: &'a str,
    /// Its provider's slug, with the region behind a slash where one is named, and a tier.
    pub provider: &'a str,
    /// The service tier that it was asked for, where the endpoint sells that beside its usual one: each has a health of its own.
    pub service_tier: Option<&'static str>,
    /// What its breaker says.
    pub breaker: State,
    /// Failures weighed in the last thirty seconds.
    pub outage: bool,
    /// By its uptime.
    pub standing: Standing,
    /// Percent of its attempts that succeeded, of the last five minutes, thirty minutes and day; `None` below a hundred attempts.
    pub uptime: [Option<f64>; 3],
    /// To the first content of the last thirty minutes, in milliseconds.
    pub first_token_ms: Option<Quantiles<u32>>,
    /// Tokens per second of the last thirty minutes.
    pub tokens_per_second: Option<Quantiles<f64>>,
    /// Replies of the last two hours that called tools, by whether all their calls were sound. `None` before the first.
    pub tool_calls: Option<ToolCalls>,
    /// Credentials that may be used now, and all of them.
    pub keys: [usize; 2],
}

/// Replies that called tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ToolCalls {
    /// Every call was of a known tool, with arguments that fit it.
    pub sound: u32,
    /// Some call was not.
    pub unsound: u32,
}

impl ToolCalls {
    /// Of the counts, unless there are none.
    pub(crate) fn of((sound, unsound): (u32, u32)) -> Option<ToolCalls> {
        (sound + unsound > 0).then_some(ToolCalls { sound, unsound })
    }
}

/// OpenRouter's percentiles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "they are their names")]
pub struct Quantiles<T> {
    pub p50: T,
    pub p75: T,
    pub p90: T,
    pub p99: T,
}

impl<T> Quantiles<T> {
    fn of(percentiles: &Percentiles, map: impl Fn(u32) -> T) -> Option<Quantiles<T>> {
        let at = |point: u32| {
            let place = POINTS.iter().position(|known| *known == point)?;
            percentiles.values.get(place).copied().map(&map)
        };
        if percentiles.samples == 0 {
            return None;
        }
        Some(Quantiles { p50: at(50)?, p75: at(75)?, p90: at(90)?, p99: at(99)? })
    }
}

impl Board {
    /// What is known of every endpoint that was used; tiers that they sell stand behind them all.
    pub fn reports(&self, now_ms: u64) -> impl Iterator<Item = Report<'_>> {
        let is_known = move |entry: &&Entry| entry.health.was_used() || entry.turns.iter().any(|turn| !turn.is_free(now_ms, 0));
        self.all_entries().filter(is_known).map(move |entry| self.report(entry, now_ms))
    }

    fn report<'a>(&'a self, entry: &'a Entry, now_ms: u64) -> Report<'a> {
        let pulse = entry.health.pulse(now_ms);
        let (latency, throughput) = entry.health.percentiles(now_ms, Window::Thirty);
        let free = entry.turns.iter().filter(|turn| turn.is_free(now_ms, 0)).count();
        Report {
            endpoint: entry.id,
            model: &self.model(entry).id,
            provider: &entry.tag,
            service_tier: entry.asks.map(Tier::name),
            breaker: pulse.state,
            outage: pulse.outage,
            standing: pulse.standing,
            uptime: [5, 30, DAY_MINUTES].map(|minutes| entry.health.uptime(now_ms, minutes).map(|share| share * 100.0)),
            first_token_ms: Quantiles::of(&latency, |ms| ms),
            tokens_per_second: Quantiles::of(&throughput, |tenths| f64::from(tenths) / 10.0),
            tool_calls: ToolCalls::of(entry.health.tool_calls(now_ms)),
            keys: [free, entry.turns.len()],
        }
    }
}

impl super::Endpoint {
    /// Whether anything is known of it.
    fn was_used(&self) -> bool {
        self.last_success_ms.load(Ordering::Relaxed) > 0 || self.last_bad_ms.load(Ordering::Relaxed) > 0
    }
}
