//! What the router learns from a call's attempts: how each ended, how fast it was, what its headers said of limits, and which endpoint has
//! the conversation in its cache now.

use super::Call;
use crate::pipeline::failure::Failure;
use crate::pipeline::plan::{Journey, Leg};
use crate::upstream::Exchange;
use fairlead_ir::{Elsewhere, ErrorKind, Finish, Usage};
use fairlead_ledger::Outcome as Settled;
use fairlead_router::health::outcome::{Class, Outcome};
use fairlead_router::health::{Quota, retry_after_ms};
use fairlead_router::{Attempt, Board, Need, Told};
use std::sync::Arc;
use tokio::time::Instant;

/// The longer of the two times that Anthropic's models keep a prompt.
const HOUR_SECONDS: u64 = 3_600;

/// The attempt in progress, as the router knows it.
pub(super) struct Learning {
    board: Arc<Board>,
    /// Taken when it is over.
    attempt: Option<Attempt>,
    conversation: Option<Box<(Need, Told)>>,
    /// How it failed, where that is known.
    failed: Option<Class>,
    retry_after_ms: Option<u64>,
    quota: Option<Quota>,
    /// Whether the reply's tool calls are sound.
    sound: Option<bool>,
}

impl Learning {
    pub(super) fn new(journey: &Journey, leg: Leg) -> Learning {
        Learning {
            board: journey.board().clone(),
            attempt: Some(leg.attempt),
            conversation: journey.conversation(),
            failed: None,
            retry_after_ms: None,
            quota: None,
            sound: None,
        }
    }

    /// Another attempt begins.
    pub(super) fn begin_again(&mut self, attempt: Attempt) {
        self.attempt = Some(attempt);
        (self.failed, self.retry_after_ms, self.quota, self.sound) = (None, None, None, None);
    }

    /// What the head of a reply says of limits and of when to come again.
    pub(super) fn head_arrived(&mut self, exchange: &Exchange, now_ms: u64) {
        self.quota = Quota::read(exchange.headers(), now_ms);
        if exchange.status() >= 400 {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let said: Vec<(String, String)> =
                exchange.headers().map(|(name, value)| (text(name).to_ascii_lowercase(), text(value))).collect();
            self.retry_after_ms = retry_after_ms(said.iter().map(|(name, value)| (&name[..], &value[..])), None, now_ms);
        }
    }
}

impl Call {
    /// Whether the tool calls of the reply, which has come whole, are sound. One that ended at its limit or was filtered may have been cut within
    /// one, which is nobody's fault.
    pub(crate) fn note_calls(&mut self, sound: Option<bool>) {
        self.learning.sound = sound.filter(|_| !matches!(self.finish, Some(Finish::Length | Finish::ContentFilter)));
    }

    /// Why the attempt failed; the first reason counts.
    pub(crate) fn note_failure(&mut self, failure: &Failure) {
        if self.learning.failed.is_none() {
            self.learning.failed = Some(self.class_of(failure));
        }
        if self.learning.retry_after_ms.is_none() {
            // Google says it in the body alone, from where it has become a hint.
            self.learning.retry_after_ms = failure.retry_after_ms();
        }
    }

    /// How an attempt failed that ended so.
    fn class_of(&self, failure: &Failure) -> Class {
        let status = self.attempt.status;
        let refused = status >= 400;
        match failure.elsewhere {
            Elsewhere::Model if failure.word == "refusal" || failure.kind.row().openrouter == "content_policy_violation" => Class::Refused,
            Elsewhere::Model => Class::ContextOverflow,
            _ if self.seen.content && Class::of_kind(failure.kind) != Class::Rejected => Class::BrokenLate,
            // The body may know better than the status: what the caller named is not there, or a bad key has a 400.
            _ if refused && failure.kind == ErrorKind::ProviderRejected => Class::Rejected,
            _ if refused && failure.kind == ErrorKind::ProviderCredential && !(401..=404).contains(&status) => Class::Unauthorized,
            _ if refused => Class::of_status(status),
            _ if status == 0 && matches!(failure.word, "resolve_failed" | "connect_failed" | "tls_failed" | "connect_timeout") => {
                Class::Unreachable
            }
            _ => match Class::of_kind(failure.kind) {
                // It is ours: the process stops, the store fails, the client breaks off. Nothing is known about the provider.
                Class::Rejected => Class::Cancelled,
                class => class,
            },
        }
    }

    /// The attempt is over and another may follow: what the router goes by.
    pub(super) fn learn_failed(&mut self, at: Instant) -> Class {
        let class = self.learning.failed.unwrap_or(Class::Broken);
        self.learn(class, 0, at);
        class
    }

    /// The call is settled: so is its last attempt.
    pub(super) fn learn_settled(&mut self, outcome: Settled, usage: Option<&Usage>, at: Instant) {
        let class = match outcome {
            Settled::Completed => Class::Success,
            Settled::Failed => self.learning.failed.unwrap_or(Class::Cancelled),
            Settled::Cancelled | Settled::Void | Settled::Recovered => Class::Cancelled,
        };
        if class == Class::Success
            && let (Some(attempt), Some(conversation)) = (&self.learning.attempt, &self.learning.conversation)
        {
            let (need, told) = &**conversation;
            let wrote_for_an_hour = usage.is_some_and(|usage| usage.cache_write_1h_tokens > 0);
            let used_cache = wrote_for_an_hour || usage.is_some_and(|usage| usage.cache_read_tokens + usage.cache_write_tokens > 0);
            let told = Told { used_cache, cache_seconds: wrote_for_an_hour.then_some(HOUR_SECONDS), ..*told };
            let shared = &self.worker.shared;
            attempt.remember(&self.learning.board, &shared.pins, need, told, shared.routing_ms(at.into_std()));
        }
        self.learn(class, usage.map_or(0, |usage| usage.completion_tokens), at);
    }

    pub(super) fn learn(&mut self, class: Class, completion_tokens: u64, at: Instant) {
        let Some(attempt) = self.learning.attempt.take() else { return };
        let attempt_us = self.since_began(self.attempt_at);
        let since_attempt_ms = |us: u64| u32::try_from(us.saturating_sub(attempt_us) / 1000).unwrap_or(u32::MAX);
        let content_us = self.timings.content_us;
        let outcome = Outcome {
            class,
            retry_after_ms: self.learning.retry_after_ms,
            first_token_ms: (content_us > 0).then(|| since_attempt_ms(content_us)),
            total_ms: Some(since_attempt_ms(self.since_began(at))),
            completion_tokens: u32::try_from(completion_tokens).unwrap_or(u32::MAX),
            tools: self.learning.sound.filter(|_| class == Class::Success),
        };
        attempt.finish(&outcome, self.learning.quota.as_ref(), self.worker.shared.routing_ms(at.into_std()));
    }
}
