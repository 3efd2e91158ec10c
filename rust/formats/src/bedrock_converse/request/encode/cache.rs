//! Cache points: at most four, the caller's or, where it set none and wishes so, ours.

use fairlead_ir::block::{CacheMark, CacheTtl};
use fairlead_ir::{Param, Severity};

use super::Job;
use super::conversation::{Message, Speaker};
use super::fit::can_be_marked;
use super::tools::Offer;
use crate::bedrock_converse::wire::TTLS;
use crate::bedrock_converse::wire::block::Piece;

/// More are refused.
const MOST_MARKS: usize = 4;

/// Leaves as many marks as are allowed, or puts some where there are none.
pub(super) fn place(job: &mut Job<'_, '_>, tools: &mut [Offer], system: &mut [Piece<'_>], messages: &mut [Message<'_>]) {
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
        return mark_automatically(tools, system, messages);
    }
    if wished > MOST_MARKS {
        let path = Param::CacheAutomatic.path(job.request.source).to_owned();
        job.losses.at(path, Severity::Hint, "at most four cache marks are taken; the first of the rest were left out");
        drop_marks(tools, system, messages);
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
fn order_lives(tools: &mut [Offer], system: &mut [Piece<'_>], messages: &mut [Message<'_>]) -> bool {
    let (mut only_short, mut changed) = (false, false);
    for mark in slots(tools, system, messages).flatten() {
        changed |= only_short && mark.ttl.is_some();
        mark.ttl = mark.ttl.filter(|_| !only_short);
        only_short |= mark.ttl.is_none();
    }
    changed
}

/// All places of marks, in the order in which they are cached.
fn slots<'s>(
    tools: &'s mut [Offer],
    system: &'s mut [Piece<'_>],
    messages: &'s mut [Message<'_>],
) -> impl Iterator<Item = &'s mut Option<CacheMark>> {
    let in_messages = messages.iter_mut().flat_map(|message| message.pieces.iter_mut().map(|piece| &mut piece.mark));
    tools.iter_mut().map(|tool| &mut tool.mark).chain(system.iter_mut().map(|piece| &mut piece.mark)).chain(in_messages)
}

/// Tools and system keep theirs first, then the last ones of the conversation.
fn drop_marks(tools: &mut [Offer], system: &mut [Piece<'_>], messages: &mut [Message<'_>]) {
    let mut left = MOST_MARKS;
    let mut keep = |mark: &mut Option<CacheMark>| match left {
        0 => *mark = None,
        _ => left -= usize::from(mark.is_some()),
    };
    system.iter_mut().rev().for_each(|piece| keep(&mut piece.mark));
    tools.iter_mut().rev().for_each(|tool| keep(&mut tool.mark));
    messages.iter_mut().rev().for_each(|message| message.pieces.iter_mut().rev().for_each(|piece| keep(&mut piece.mark)));
}

/// The last tool, the last instruction and the last two messages of the user: the newer one writes what the next request reads, the
/// older one reads what the request before wrote.
fn mark_automatically(tools: &mut [Offer], system: &mut [Piece<'_>], messages: &mut [Message<'_>]) {
    let mark = CacheMark::default();
    tools.iter_mut().next_back().into_iter().for_each(|tool| tool.mark = Some(mark));
    mark_last(system, mark);
    let of_user = messages.iter_mut().rev().filter(|message| message.speaker == Speaker::User);
    of_user.take(2).for_each(|message| {
        mark_last(&mut message.pieces, mark);
    });
}

/// Marks the last block that can be; whether there is one.
fn mark_last(pieces: &mut [Piece<'_>], mark: CacheMark) -> bool {
    let last = pieces.iter_mut().rev().find(|piece| can_be_marked(&piece.content));
    last.map(|piece| piece.mark = piece.mark.or(Some(mark))).is_some()
}
