//! The record of the request at hand. It reaches the ledger when it is dropped, whatever became of the request.

use crate::Shared;
use crate::ledger::{Dialect, Outcome, Record};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A record under way.
#[derive(Debug)]
pub(crate) struct Tally<'s> {
    shared: &'s Shared,
    received: Instant,
    pub(crate) record: Record,
    /// Whether the end of the reply went out and readers of the ledger wait for us.
    pub(crate) settling: bool,
}

impl<'s> Tally<'s> {
    /// A request that has just been read whole.
    pub(crate) fn new(shared: &'s Shared, dialect: Option<Dialect>, body: &[u8]) -> Self {
        shared.open.fetch_add(1, Ordering::SeqCst);
        let received_unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let record = Record {
            request: shared.requests.fetch_add(1, Ordering::Relaxed),
            tag: 0,
            received_unix_ms: u64::try_from(received_unix_ms).unwrap_or(u64::MAX),
            head_after_ms: None,
            end_after_ms: 0,
            body_bytes: u32::try_from(body.len()).unwrap_or(u32::MAX),
            body_crc32: crc32fast::hash(body),
            prompt_tokens: 0,
            cached_tokens: 0,
            cache_write_tokens: 0,
            reasoning_tokens: 0,
            planned_tokens: 0,
            produced_tokens: 0,
            delivered_tokens: 0,
            model: 0,
            status: 0,
            dialect,
            stream: false,
            // What it is if nobody says otherwise: the simulator was stopped in the middle.
            outcome: Outcome::Cut,
            fault: None,
        };
        Self { shared, received: Instant::now(), record, settling: false }
    }

    /// Seconds since 1970 at the receipt.
    pub(crate) fn created(&self) -> u64 {
        self.record.received_unix_ms / 1000
    }

    /// Notes that the head goes out now.
    pub(crate) fn mark_head(&mut self) {
        self.record.head_after_ms = Some(self.elapsed_ms());
    }

    /// What the last write of the reply counts up, see [`crate::connection::Connection::write`]; then [`Self::settling`] must be set.
    pub(crate) fn settling_counter(&self) -> &'s AtomicU64 {
        &self.shared.settling
    }

    fn elapsed_ms(&self) -> u32 {
        u32::try_from(self.received.elapsed().as_millis()).unwrap_or(u32::MAX)
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        self.record.end_after_ms = self.elapsed_ms();
        self.shared.ledger().push(self.record.clone());
        if self.settling {
            self.shared.settling.fetch_sub(1, Ordering::SeqCst);
        }
        if self.shared.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.shared.drained.notify_waiters();
        }
    }
}
