//! Prometheus text from all workers' counters. Every name is documented in `docs/metrics.md`.

use super::counters::{BUCKETS, Count, Counters, Histogram, bucket_bound_us};
use crate::content::Contents;
use crate::decisions::Decisions;
use crate::repeats::{Named, Repeats};
use crate::responses::{Responses, Tallies};
use fairlead_ir::Severity;
use fairlead_ledger::Outcome;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What is not counted by a worker.
pub(crate) struct Gauges<'a> {
    pub(crate) responses: Option<&'a Responses>,
    pub(crate) content: Option<&'a Contents>,
    pub(crate) repeats: Option<&'a Repeats>,
    pub(crate) decisions: Option<&'a Decisions>,
    pub(crate) ready: bool,
    pub(crate) draining: bool,
    pub(crate) journal_healthy: bool,
    pub(crate) snapshot_version: u64,
    pub(crate) keys: usize,
    pub(crate) waiting: usize,
    /// Invariants of the ledger, and how often each was found not to hold.
    pub(crate) violations: [(&'static str, u64); 4],
}

/// Renders the exposition text (version 0.0.4).
pub(crate) fn render<'a>(workers: impl Iterator<Item = &'a Counters> + Clone, gauges: &Gauges<'_>) -> String {
    let mut text = Text { out: String::with_capacity(8 << 10) };
    let sum = |field: fn(&Counters) -> &Count| workers.clone().map(|counters| field(counters).get()).sum::<u64>();

    text.head("fairlead_replies_total", "counter", "Replies to clients by status class; 0 for clients that left before one.");
    for class in 0..6 {
        let total: u64 = workers.clone().map(|counters| counters.replies[class].get()).sum();
        text.sample("fairlead_replies_total", &format!("class=\"{class}xx\""), total);
    }
    text.head("fairlead_generations_total", "counter", "Settled generations by outcome.");
    for outcome in Outcome::ALL {
        let total: u64 = workers.clone().map(|counters| counters.outcomes[outcome as usize].get()).sum();
        text.sample("fairlead_generations_total", &format!("outcome=\"{}\"", outcome.name()), total);
    }
    text.head("fairlead_lossy_generations_total", "counter", "Settled generations that lost something on the way, by the worst loss.");
    for severity in Severity::ALL {
        let total: u64 = workers.clone().map(|counters| counters.lossy[usize::from(severity.number())].get()).sum();
        text.sample("fairlead_lossy_generations_total", &format!("severity=\"{}\"", severity.name()), total);
    }
    for (name, kind, help, field) in PLAIN {
        text.head(name, kind, help);
        text.sample(name, "", sum(*field));
    }
    for (name, help, field) in HISTOGRAMS {
        text.histogram(name, help, workers.clone().map(field));
    }
    let tally = |of: fn(&Tallies) -> &AtomicU64| gauges.responses.map_or(0, |responses| of(responses.tallies()).load(Relaxed));
    let (logged, dropped) =
        gauges.decisions.map(Decisions::tallies).map_or((0, 0), |tallies| (tallies.written.load(Relaxed), tallies.dropped.load(Relaxed)));
    for (name, help, value) in [
        ("fairlead_decisions_logged_total", "Decisions that were written to their log.", logged),
        (
            "fairlead_decisions_dropped_total",
            "Decisions that should have been logged and were not: the disk could not keep up, or take them.",
            dropped,
        ),
        (
            "fairlead_responses_unwritten_total",
            "Responses that should have been kept and could not be written.",
            tally(|tallies| &tallies.unwritten),
        ),
        (
            "fairlead_responses_unreadable_total",
            "Kept responses that were asked for and are damaged.",
            tally(|tallies| &tallies.unreadable),
        ),
        (
            "fairlead_content_lost_total",
            "Generations whose content should have been kept and was not: too much at once, or the disk did not take it.",
            gauges.content.map_or(0, Contents::lost),
        ),
        (
            "fairlead_content_unreadable_total",
            "Content that was asked for and is damaged.",
            gauges.content.map_or(0, |content| content.files().tallies().unreadable.load(Relaxed)),
        ),
    ] {
        text.head(name, "counter", help);
        text.sample(name, "", value);
    }
    text.head("fairlead_ledger_violations_total", "counter", "Books that were found wrong, by what was wrong; 0, always.");
    for (invariant, found) in gauges.violations {
        text.sample("fairlead_ledger_violations_total", &format!("invariant=\"{invariant}\""), found);
    }
    let evicted = gauges.repeats.map_or(0, |repeats| repeats.cache.evicted.load(Relaxed));
    text.head("fairlead_response_cache_evicted_total", "counter", "Cached replies that made room for others before their time.");
    text.sample("fairlead_response_cache_evicted_total", "", evicted);
    let (responses, responses_bytes) = gauges.responses.map_or((0, 0), Responses::size);
    let (contents, content_bytes) = gauges.content.map_or((0, 0), |content| content.files().size());
    let (cached, cached_bytes) = gauges.repeats.map_or((0, 0), |repeats| repeats.cache.size());
    let (named, named_bytes) = gauges.repeats.and_then(|repeats| repeats.named.as_ref()).map_or((0, 0), Named::size);
    for (name, help, value) in [
        ("fairlead_responses_kept", "Responses that are kept.", responses),
        ("fairlead_responses_kept_bytes", "What they take of the disk.", responses_bytes),
        ("fairlead_content_kept", "Generations whose content is kept.", contents),
        ("fairlead_content_kept_bytes", "What that takes of the disk.", content_bytes),
        ("fairlead_response_cache_entries", "Replies in the response cache.", cached),
        ("fairlead_response_cache_bytes", "What they take of the memory.", cached_bytes),
        ("fairlead_idempotent_replies_kept", "Requests with an Idempotency-Key that are remembered.", named),
        ("fairlead_idempotent_replies_kept_bytes", "What they take of the disk.", named_bytes),
        ("fairlead_decisions_bytes", "What the log of decisions takes of the disk.", gauges.decisions.map_or(0, Decisions::bytes)),
        ("fairlead_ready", "1 while requests are taken.", u64::from(gauges.ready)),
        ("fairlead_draining", "1 while the process is stopping.", u64::from(gauges.draining)),
        (
            "fairlead_journal_healthy",
            "0 after a write or sync of the journal failed; paid work is refused then.",
            u64::from(gauges.journal_healthy),
        ),
        ("fairlead_snapshot_version", "Version of the configuration in force.", gauges.snapshot_version),
        ("fairlead_keys", "Gateway keys known.", gauges.keys as u64),
        ("fairlead_requests_waiting", "Requests that wait for a provider's key to be free.", gauges.waiting as u64),
    ] {
        text.head(name, "gauge", help);
        text.sample(name, "", value);
    }
    text.out
}

type Field = fn(&Counters) -> &Count;

const PLAIN: &[(&str, &str, &str, Field)] = &[
    ("fairlead_translations_total", "counter", "Settled generations whose provider spoke another dialect than the client.", |counters| {
        &counters.translations
    }),
    ("fairlead_prompt_tokens_total", "counter", "Prompt tokens, cached ones included.", |counters| &counters.prompt_tokens),
    ("fairlead_cached_tokens_total", "counter", "Prompt tokens read from a provider's cache.", |counters| &counters.cached_tokens),
    ("fairlead_completion_tokens_total", "counter", "Completion tokens, reasoning included.", |counters| &counters.completion_tokens),
    ("fairlead_charged_nanousd_total", "counter", "Charged to accounts, nano-dollars.", |counters| &counters.charged_nanousd),
    ("fairlead_upstream_cost_nanousd_total", "counter", "What providers will invoice, nano-dollars.", |counters| {
        &counters.upstream_cost_nanousd
    }),
    ("fairlead_reserved_nanousd_total", "counter", "Reserved before calls, nano-dollars.", |counters| &counters.reserved_nanousd),
    ("fairlead_stream_events_total", "counter", "Server-sent events passed to clients.", |counters| &counters.frames),
    ("fairlead_upstream_resent_total", "counter", "Requests sent again because a kept-alive connection had gone stale.", |counters| {
        &counters.resent
    }),
    ("fairlead_journal_failures_total", "counter", "Records the journal refused.", |counters| &counters.journal_failures),
    ("fairlead_shadows_sent_total", "counter", "Copies of requests that were sent to a second model.", |counters| &counters.shadows_sent),
    ("fairlead_shadows_failed_total", "counter", "Those of them that did not complete.", |counters| &counters.shadows_failed),
    (
        "fairlead_shadows_dropped_total",
        "counter",
        "Copies that should have been sent and were not: too many, too large, or no key was free.",
        |counters| &counters.shadows_dropped,
    ),
    ("fairlead_response_cache_hits_total", "counter", "Requests answered from the response cache.", |counters| &counters.cache_hits),
    ("fairlead_response_cache_misses_total", "counter", "Requests that asked for the cache and went to a provider.", |counters| {
        &counters.cache_misses
    }),
    ("fairlead_response_cache_saved_nanousd_total", "counter", "What the hits would have been charged, nano-dollars.", |counters| {
        &counters.cache_saved_nanousd
    }),
    ("fairlead_idempotent_replays_total", "counter", "Replies given again because of an Idempotency-Key.", |counters| {
        &counters.idempotent_replays
    }),
    ("fairlead_connections_accepted_total", "counter", "Client connections accepted.", |counters| &counters.connections_accepted),
    ("fairlead_connections_open", "gauge", "Client connections open.", |counters| &counters.connections_open),
    ("fairlead_requests_open", "gauge", "Requests in progress.", |counters| &counters.requests_open),
    ("fairlead_upstream_idle_connections", "gauge", "Kept-alive connections to providers.", |counters| &counters.pool_idle),
];

type HistogramField = fn(&Counters) -> &Histogram;

const HISTOGRAMS: &[(&str, &str, HistogramField)] = &[
    ("fairlead_generation_duration_seconds", "From admission to settlement.", |counters| &counters.duration),
    ("fairlead_first_content_seconds", "From admission to the first content.", |counters| &counters.content),
    ("fairlead_own_work_seconds", "Our own share of a generation.", |counters| &counters.own),
    ("fairlead_turn_seconds", "How long a connection kept its worker; one turn in 64 is timed.", |counters| &counters.turns),
];

struct Text {
    out: String,
}

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        let _ = match labels {
            "" => writeln!(self.out, "{name} {value}"),
            _ => writeln!(self.out, "{name}{{{labels}}} {value}"),
        };
    }

    fn histogram<'a>(&mut self, name: &str, help: &str, workers: impl Iterator<Item = &'a Histogram> + Clone) {
        self.head(name, "histogram", help);
        let mut total = 0;
        for bucket in 0..BUCKETS {
            total += workers.clone().map(|histogram| histogram.buckets[bucket].get()).sum::<u64>();
            let bound = if bucket == BUCKETS - 1 { "+Inf".to_owned() } else { seconds(bucket_bound_us(bucket)) };
            self.sample(&format!("{name}_bucket"), &format!("le=\"{bound}\""), total);
        }
        let sum_us: u64 = workers.map(|histogram| histogram.sum_us.get()).fold(0, u64::wrapping_add);
        let _ = writeln!(self.out, "{name}_sum {}", seconds(sum_us));
        self.sample(&format!("{name}_count"), "", total);
    }
}

/// Microseconds as seconds, exactly.
fn seconds(duration_us: u64) -> String {
    format!("{}.{:06}", duration_us / 1_000_000, duration_us % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_merged() {
        let workers = [Counters::default(), Counters::default()];
        workers[0].prompt_tokens.add(3);
        workers[1].prompt_tokens.add(4);
        workers[1].duration.observe(20);
        let gauges = Gauges {
            responses: None,
            content: None,
            repeats: None,
            decisions: None,
            ready: true,
            draining: false,
            journal_healthy: true,
            snapshot_version: 9,
            keys: 2,
            waiting: 3,
            violations: [("reserved", 0), ("spent", 2), ("windows", 0), ("database", 0)],
        };
        let text = render(workers.iter(), &gauges);
        for line in [
            "fairlead_prompt_tokens_total 7",
            "fairlead_generation_duration_seconds_bucket{le=\"0.000016\"} 0",
            "fairlead_generation_duration_seconds_bucket{le=\"0.000032\"} 1",
            "fairlead_generation_duration_seconds_bucket{le=\"+Inf\"} 1",
            "fairlead_generation_duration_seconds_sum 0.000020",
            "fairlead_ready 1",
            "fairlead_snapshot_version 9",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }
}
