//! Cache points: at most four, the caller's or, where it set none and wishes so, ours.

use fairlead_ir::block::CacheTtl;
use fairlead_ir::{Param, Severity};

use super::Job;
use super::conversation::Message;
use crate::bedrock_converse::wire::TTLS;
use crate::bedrock_converse::wire::block::Piece;
use crate::translate::marks::{MOST_MARKS, drop_beyond, mark_last, place_automatically, slots};
use crate::translate::tools::Offer;

/// Leaves as many marks as are allowed, or puts some where there are none.
pub(super) fn place<'r>(job: &mut Job<'_, '_>, tools: &mut [Offer], system: &mut [Piece<'r>], messages: &mut [Message<'r>]) {
    if job.own {
        return;
    }
    if let Some(mark) = job.request.cache.automatic {
        // The provider has no mark of its own accord: it is put behind the last block.
        let last = messages.last_mut().is_some_and(|message| mark_last(&mut message.pieces, mark));
        if !last && !mark_last(system, mark) {
            job.lose(Param::CacheAutomatic, Severity::Hint, "there is no block that could be marked");
        }
    }
    let wished = slots(tools, system, messages).filter(|slot| slot.is_some()).count();
    if wished == 0 && job.target.automatic_cache {
        return place_automatically(tools, system, messages);
    }
    if wished > MOST_MARKS {
        let path = Param::CacheAutomatic.path(job.request.source).to_owned();
        job.losses.at(path, Severity::Hint, "at most four cache marks are taken; the first of the rest were left out");
        drop_beyond(MOST_MARKS, tools, system, messages);
    }
    let mut changed = false;
    for mark in slots(tools, system, messages).flatten() {
        let ttl = mark.ttl.and_then(|ttl| ttl.nearest(&TTLS));
        changed |= ttl != mark.ttl;
        // The usual life needs no word, which older models do not know.
        mark.ttl = ttl.filter(|ttl| *ttl != CacheTtl::FiveMinutes);
    }
    let changed = order_lives(tools, system, messages) || changed;
    if changed {
        let path = Param::CacheRetention.path(job.request.source).to_owned();
        job.losses.at(
            path,
            Severity::Hint,
            "prompts are cached for five minutes or an hour, and none longer than what is before it; the nearest was asked for",
        );
    }
}

/// A longer life may not stand behind a shorter one. Whether one did.
fn order_lives<'r>(tools: &mut [Offer], system: &mut [Piece<'r>], messages: &mut [Message<'r>]) -> bool {
    let (mut only_short, mut changed) = (false, false);
    for mark in slots(tools, system, messages).flatten() {
        changed |= only_short && mark.ttl.is_some();
        mark.ttl = mark.ttl.filter(|_| !only_short);
        only_short |= mark.ttl.is_none();
    }
    changed
}
