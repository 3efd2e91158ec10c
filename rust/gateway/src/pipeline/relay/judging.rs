//! What the events of a stream mean for the call: its clocks, its bill, its record, and whether it has failed.

use crate::pipeline::call::Call;
use crate::pipeline::failure::Failure;
use crate::pipeline::whole;
use fairlead_formats::tap::{Sight, Tap};
use fairlead_ir::{ErrorKind, Finish};
use fairlead_ledger::Outcome;
use fairlead_ledger::settle::Bill;
use tokio::time::Instant;

/// A prompt of more tokens does not exist: no model has a window of a hundred million.
const MOST_PROMPT_TOKENS: u64 = 100_000_000;

/// What an event means for the call. `Ok` with the bill where the event shows it or ends the stream; the error when the stream has failed with it.
#[inline]
pub(super) fn judge(
    call: &mut Call,
    content_at: &mut Instant,
    read_at: Instant,
    tap: &Tap,
    sight: &Sight,
) -> Result<Option<Bill>, Failure> {
    call.worker.counters.frames.add(1);
    if !sight.keep_alive {
        *content_at = read_at;
    }
    if sight.first_content && call.may_change_model() && tap.content_bytes() == 0 && tap.finish().0 == Some(Finish::ContentFilter) {
        note(call, tap);
        call.seen.content = false;
        return Err(whole::declined(call));
    }
    if sight.first_content {
        call.content_arrived(read_at);
    }
    if sight.usage || sight.finish || sight.end {
        note(call, tap);
    }
    if sight.error {
        return Err(provider_failed(call, tap));
    }
    if sight.end {
        if !tap.saw_content() && !call.wants_nothing() {
            return Err(whole::empty(call));
        }
        return complete(call, tap, read_at).map(Some);
    }
    if call.is_note_due(tap.content_bytes(), read_at) {
        note(call, tap);
        call.note_progress(read_at);
    }
    Ok((sight.bill || sight.absurd).then(|| call.bill(Outcome::Completed)))
}

/// Takes over what the tap knows, for the bill and the record.
pub(super) fn note(call: &mut Call, tap: &Tap) {
    let (finish, native) = tap.finish();
    call.note_finish(finish, native);
    call.note_upstream_id(tap.upstream_id());
    call.note_usage(tap.usage().copied(), tap.missing(), tap.reported_cost(), tap.tier());
    call.note_stream_losses(tap.losses());
    call.seen.content = tap.saw_content();
    call.seen.completion_tokens_estimate = whole::estimate_tokens(tap.content_bytes());
    if let Some(prompt) = tap.prompt_usage() {
        // What the provider says of the prompt is better than our guess, if it can be believed. There is no prompt of nothing.
        let said = prompt.total_prompt_tokens();
        if (1..=MOST_PROMPT_TOKENS).contains(&said) {
            call.seen.prompt_tokens_estimate = said;
        }
    }
}

/// The whole answer has come: settle before its end is passed on.
pub(super) fn complete(call: &mut Call, tap: &Tap, read_at: Instant) -> Result<Bill, Failure> {
    note(call, tap);
    call.note_calls(tap.has_sound_calls());
    call.upstream_done(read_at);
    call.settle(Outcome::Completed, 200, "")
}

fn provider_failed(call: &Call, tap: &Tap) -> Failure {
    match tap.error() {
        Some(error) => whole::reported(call, error).word("stream_error"),
        None => Failure::new(ErrorKind::ProviderUnavailable, format!("{} failed", call.provider().name)),
    }
}
