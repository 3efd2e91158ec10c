//! The record of a generation that was answered with a reply from the cache: it is a generation like any other, but for nothing.

use super::{Client, content, particulars, scopes};
use crate::pipeline::failure::Failure;
use crate::pipeline::head::Head;
use crate::pipeline::intake::Intake;
use crate::repeats::Copy;
use crate::routes::Ask;
use crate::worker::Worker;
use fairlead_ir::{GenerationId, NanoUsd, Usage};
use fairlead_journal::{Durable, ReserveRef};
use fairlead_ledger::{CacheHit, Flags, Outcome, Settle, Timings};
use fairlead_snapshot::{Principal, Snapshot};
use tokio::time::Instant;

/// Who asked what, and what was found.
pub(in crate::pipeline) struct Hit<'a> {
    pub(in crate::pipeline) worker: &'a Worker,
    pub(in crate::pipeline) snapshot: &'a Snapshot,
    pub(in crate::pipeline) principal: &'a Principal,
    pub(in crate::pipeline) head: &'a Head<'a>,
    pub(in crate::pipeline) ask: &'a Ask,
    pub(in crate::pipeline) presets: &'a [usize],
    /// Its id among the scopes; 0 where none has limits.
    pub(in crate::pipeline) end_user: u64,
    pub(in crate::pipeline) generation: GenerationId,
    pub(in crate::pipeline) began: Instant,
    pub(in crate::pipeline) copy: &'a Copy,
}

/// Writes both of its records, logs its content where that is wanted, and returns what the end of the reply waits for. Its reservation is of nothing: it is there because the journal
/// keeps room for terminals by it.
///
/// # Errors
/// When the journal cannot take them.
pub(in crate::pipeline) fn settle(hit: &Hit<'_>, intake: &mut Intake) -> Result<(Option<Durable>, u64), Failure> {
    let Hit { worker, snapshot, principal, head, ask, presets: named, end_user, generation, began, copy } = *hit;
    let (now, waited) = (Instant::now(), intake.waited);
    let (started_at_ms, scopes) = (generation.unix_ms(), scopes(principal, end_user, 0));
    let total_us = now.saturating_duration_since(began).as_micros() as u64;
    let own_us = total_us.saturating_sub(waited.as_micros() as u64);
    let client = Client::new(head, intake);
    let (preset, preset_version) = super::presets(snapshot, named);
    let record = Settle {
        generation,
        started_at_ms,
        settled_at_ms: worker.unix_ms_at(now).max(started_at_ms),
        scopes,
        dialect: ask.reply_dialect(),
        manner: ask.manner,
        streamed: intake.facts.stream,
        outcome: Outcome::Completed,
        flags: Flags::CONTENT,
        status: 200,
        error: "",
        requested_model: &client.requested_model,
        model: &copy.facts.model,
        provider: &copy.facts.provider,
        finish: &copy.facts.finish,
        native_finish: &copy.facts.native_finish,
        usage: Usage::default(),
        reserved: NanoUsd(0),
        charged: NanoUsd(0),
        price_version: snapshot.version,
        timings: Timings { content_us: total_us, total_us, own_us, ..Timings::default() },
        referer: &client.referer,
        title: &client.title,
        user_agent: &client.user_agent,
        end_user: &client.end_user,
        session: &client.session,
        attempts: Vec::new(),
        upstream_dialect: None,
        losses: Vec::new(),
        losses_more: 0,
        split: "",
        arm: "",
        preset: &preset,
        preset_version: &preset_version,
        hit: Some(CacheHit { source: copy.generation(), saved: copy.charged() }),
        particulars: particulars(intake),
    };
    let reservation = ReserveRef {
        generation,
        started_at_ms,
        scopes,
        reserved: NanoUsd(0),
        model: record.model,
        provider: record.provider,
        prompt_tokens_estimate: 0,
        prompt_cost_estimate: NanoUsd(0),
        price_version: snapshot.version,
    };
    let mut journal = worker.journal.borrow_mut();
    let written = journal.reserve(&reservation).and_then(|()| journal.settle(&record));
    written.map_err(|error| {
        worker.counters.journal_failures.add(1);
        Failure::store(format!("the usage journal could not record this call: {error}"))
    })?;
    worker.counters.settled(&record);
    content::record_hit(hit, intake);
    Ok((journal.durable(), own_us))
}
