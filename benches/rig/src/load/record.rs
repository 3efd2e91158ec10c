//! What a run counted, and its report.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::check::Checker;
use super::connection::Timings;

/// Histograms keep three digits up to this time, in nanoseconds; what is longer counts as this.
const MAX_NS: u64 = 120_000_000_000;
/// Digits that histograms keep.
const DIGITS: u8 = 3;

/// Counters of one phase.
#[derive(Debug)]
pub struct Record {
    /// Checked, complete replies.
    pub requests: u64,
    /// Failed or wrong replies.
    pub errors: u64,
    /// Connections that had to be opened again inside the window.
    pub reconnects: u64,
    first_error: Option<String>,
    frames: u64,
    bytes: u64,
    latency: Option<Histogram<u64>>,
    first_content: Option<Histogram<u64>>,
    gap: Option<Histogram<u64>>,
    late: Option<Histogram<u64>>,
}

/// The report of a run: one JSON object. Times are nanoseconds.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Checked, complete replies.
    pub requests: u64,
    /// Failed or wrong replies.
    pub errors: u64,
    /// What was wrong with the first of them.
    pub first_error: Option<String>,
    /// Connections that had to be opened again.
    pub reconnects: u64,
    /// Server-sent events, the terminal one included.
    pub frames: u64,
    /// Bytes of replies, heads and framing included.
    pub bytes: u64,
    /// From the window's start to the last reply's end.
    pub duration_ns: u64,
    /// From the intended start to the reply's end.
    pub latency_ns: Option<Summary>,
    /// From the intended start to the first content of a stream.
    pub first_content_ns: Option<Summary>,
    /// Between one piece of content and the next in a stream.
    pub gap_ns: Option<Summary>,
    /// From the intended start to the moment of sending: how late the generator itself was.
    pub late_ns: Option<Summary>,
}

/// Percentiles of one histogram.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// How many values.
    pub count: u64,
    /// Half were at most this.
    pub p50: u64,
    /// Nine in ten were at most this.
    pub p90: u64,
    /// 99 in 100 were at most this.
    pub p99: u64,
    /// The largest.
    pub max: u64,
}

impl Record {
    pub(super) fn new() -> Self {
        let histogram = || Histogram::new_with_max(MAX_NS, DIGITS).ok();
        Self {
            requests: 0,
            errors: 0,
            reconnects: 0,
            first_error: None,
            frames: 0,
            bytes: 0,
            latency: histogram(),
            first_content: histogram(),
            gap: histogram(),
            late: histogram(),
        }
    }

    /// Counts a reply that passed every check.
    pub(super) fn complete(&mut self, timings: &Timings, checker: &Checker) {
        self.requests += 1;
        self.frames += checker.frames();
        self.bytes += timings.bytes;
        add(&mut self.latency, between(timings.intended, timings.finished));
        add(&mut self.late, between(timings.intended, timings.sent));
        if let Some(at) = checker.first_content_at() {
            add(&mut self.first_content, between(timings.intended, at));
        }
        for gap in checker.gaps_ns() {
            add(&mut self.gap, *gap);
        }
    }

    /// Counts a reply that did not.
    pub(super) fn fail(&mut self, failure: &str) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| failure.to_owned());
    }

    pub(super) fn report(&self, took: Duration) -> Report {
        Report {
            requests: self.requests,
            errors: self.errors,
            first_error: self.first_error.clone(),
            reconnects: self.reconnects,
            frames: self.frames,
            bytes: self.bytes,
            duration_ns: nanoseconds(took),
            latency_ns: summary(&self.latency),
            first_content_ns: summary(&self.first_content),
            gap_ns: summary(&self.gap),
            late_ns: summary(&self.late),
        }
    }
}

fn add(histogram: &mut Option<Histogram<u64>>, value_ns: u64) {
    if let Some(histogram) = histogram {
        histogram.saturating_record(value_ns);
    }
}

fn summary(histogram: &Option<Histogram<u64>>) -> Option<Summary> {
    let histogram = histogram.as_ref().filter(|histogram| !histogram.is_empty())?;
    Some(Summary {
        count: histogram.len(),
        p50: histogram.value_at_quantile(0.5),
        p90: histogram.value_at_quantile(0.9),
        p99: histogram.value_at_quantile(0.99),
        max: histogram.max(),
    })
}

fn between(start: Instant, end: Instant) -> u64 {
    nanoseconds(end.saturating_duration_since(start))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
