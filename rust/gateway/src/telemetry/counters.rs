//! The counters of one worker.

use fairlead_ir::{Severity, Usage};
use fairlead_ledger::{Outcome, Settle};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// A number with one writer. Readers on other threads see it a moment later.
#[derive(Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    pub(crate) fn subtract(&self, less: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(less), Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of duration buckets in microseconds: powers of two from 16 µs to over an hour.
pub(crate) const BUCKETS: usize = 28;

/// The bound of bucket `index`.
pub(crate) const fn bucket_bound_us(index: usize) -> u64 {
    16 << index
}

/// A histogram of durations.
#[derive(Default)]
pub(crate) struct Histogram {
    pub(crate) buckets: [Count; BUCKETS],
    pub(crate) sum_us: Count,
}

impl Histogram {
    pub(crate) fn observe(&self, duration_us: u64) {
        let index = ((duration_us.max(1) - 1) >> 4).checked_ilog2().map_or(0, |power| power as usize + 1);
        self.buckets[index.min(BUCKETS - 1)].add(1);
        self.sum_us.add(duration_us);
    }
}

/// One worker's counters.
#[derive(Default)]
pub(crate) struct Counters {
    /// Replies by status, 100 to 599 cut to hundreds: index 1 to 5; 0 for clients that left before one.
    pub(crate) replies: [Count; 6],
    /// Generations by outcome.
    pub(crate) outcomes: [Count; Outcome::ALL.len()],
    /// Generations whose provider speaks another dialect than their client.
    pub(crate) translations: Count,
    /// Generations with losses, by the worst one's severity.
    pub(crate) lossy: [Count; Severity::ALL.len()],
    pub(crate) prompt_tokens: Count,
    pub(crate) completion_tokens: Count,
    pub(crate) cached_tokens: Count,
    pub(crate) charged_nanousd: Count,
    pub(crate) upstream_cost_nanousd: Count,
    pub(crate) reserved_nanousd: Count,
    pub(crate) frames: Count,
    pub(crate) resent: Count,
    pub(crate) connections_accepted: Count,
    pub(crate) connections_open: Count,
    pub(crate) requests_open: Count,
    pub(crate) pool_idle: Count,
    pub(crate) journal_failures: Count,
    pub(crate) shadows_sent: Count,
    pub(crate) shadows_failed: Count,
    pub(crate) shadows_dropped: Count,
    pub(crate) cache_hits: Count,
    pub(crate) cache_misses: Count,
    pub(crate) cache_saved_nanousd: Count,
    pub(crate) idempotent_replays: Count,
    pub(crate) duration: Histogram,
    pub(crate) content: Histogram,
    pub(crate) own: Histogram,
    pub(crate) turns: Histogram,
    turns_until_sample: Count,
}

/// One in so many turns of a connection is timed: often enough to find long ones under load, and free.
const TURNS_PER_SAMPLE: u64 = 64;

impl Counters {
    /// Runs one turn of a connection on its worker; some are timed.
    pub(crate) fn turn<T>(&self, turn: impl FnOnce() -> T) -> T {
        let left = self.turns_until_sample.get();
        if left > 0 {
            self.turns_until_sample.set(left - 1);
            return turn();
        }
        self.turns_until_sample.set(TURNS_PER_SAMPLE - 1);
        let began = Instant::now();
        let outcome = turn();
        self.turns.observe(began.elapsed().as_micros() as u64);
        outcome
    }

    /// A reply with this status; 0 when the client left before one.
    pub(crate) fn replied(&self, status: u16) {
        self.replies[usize::from(status / 100).min(5)].add(1);
    }

    /// What came of a shadow. It is no generation: nobody asked for it.
    pub(crate) fn shadow_settled<T>(&self, settle: &Settle<T>) {
        if settle.outcome != Outcome::Completed {
            self.shadows_failed.add(1);
        }
        self.upstream_cost_nanousd.add(settle.attempts.iter().map(|attempt| attempt.upstream_cost.0.unsigned_abs()).sum());
    }

    pub(crate) fn settled<T>(&self, settle: &Settle<T>) {
        let Usage { completion_tokens, cache_read_tokens, .. } = settle.usage;
        self.outcomes[settle.outcome as usize].add(1);
        if settle.upstream_dialect.is_some() {
            self.translations.add(1);
        }
        if let Some(hit) = settle.hit {
            self.cache_hits.add(1);
            self.cache_saved_nanousd.add(hit.saved.0.unsigned_abs());
        }
        if let Some(severity) = settle.worst_loss() {
            self.lossy[usize::from(severity.number())].add(1);
        }
        self.prompt_tokens.add(settle.usage.total_prompt_tokens());
        self.completion_tokens.add(completion_tokens);
        self.cached_tokens.add(cache_read_tokens);
        self.charged_nanousd.add(settle.charged.0.unsigned_abs());
        self.upstream_cost_nanousd.add(settle.attempts.iter().map(|attempt| attempt.upstream_cost.0.unsigned_abs()).sum());
        self.duration.observe(settle.timings.total_us);
        self.own.observe(settle.timings.own_us);
        if settle.timings.content_us > 0 {
            self.content.observe(settle.timings.content_us);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_ir::{Dialect, GenerationId, Manner, NanoUsd};
    use fairlead_ledger::{Flags, Loss, Scopes, Timings};

    fn translated(upstream_dialect: Option<Dialect>, severities: &[Severity]) -> Settle<&'static str> {
        Settle {
            generation: GenerationId(1),
            started_at_ms: 0,
            settled_at_ms: 0,
            scopes: Scopes::default(),
            dialect: Dialect::OpenaiChat,
            manner: Manner::Native,
            streamed: false,
            outcome: Outcome::Completed,
            flags: Flags::default(),
            status: 200,
            error: "",
            requested_model: "",
            model: "",
            provider: "",
            finish: "",
            native_finish: "",
            usage: Usage::default(),
            reserved: NanoUsd(0),
            charged: NanoUsd(0),
            price_version: 0,
            timings: Timings::default(),
            referer: "",
            title: "",
            user_agent: "",
            end_user: "",
            session: "",
            attempts: Vec::new(),
            upstream_dialect,
            losses: severities.iter().map(|severity| Loss { path: "", reason: "", severity: *severity }).collect(),
            losses_more: 0,
            split: "",
            preset: "",
            preset_version: "",
            hit: None,
            particulars: fairlead_ledger::Particulars::default(),
            arm: "",
        }
    }

    #[test]
    fn a_lossy_generation_counts_once_by_its_worst_loss() {
        use Severity::{Changed, Dropped, Hint};
        let other = Some(Dialect::GeminiGenerate);
        let counters = Counters::default();
        let settled: [(Option<Dialect>, &[Severity]); 6] = [
            (None, &[]),
            (None, &[Dropped]),
            (other, &[]),
            (other, &[Hint, Hint]),
            (other, &[Hint, Changed, Hint]),
            (other, &[Changed, Dropped]),
        ];
        for (upstream_dialect, severities) in settled {
            counters.settled(&translated(upstream_dialect, severities));
        }
        assert_eq!(counters.translations.get(), 4);
        assert_eq!(counters.lossy.each_ref().map(Count::get), [1, 1, 2]);
    }

    #[test]
    fn buckets_hold_up_to_their_bound() {
        for (duration_us, bucket) in [(0, 0), (16, 0), (17, 1), (32, 1), (33, 2), (1 << 20, 16), (u64::MAX, BUCKETS - 1)] {
            let histogram = Histogram::default();
            histogram.observe(duration_us);
            assert_eq!(histogram.buckets[bucket].get(), 1, "{duration_us} µs");
            assert!(bucket == BUCKETS - 1 || duration_us <= bucket_bound_us(bucket));
        }
    }
}
