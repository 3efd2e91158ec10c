//! Cache marks: at most four, the caller's or, where it set none and wishes so, ours.

use fairlead_ir::block::{CacheMark, CacheTtl};
use fairlead_ir::{Raw, Severity};

use super::Job;
use super::blocks::Piece;
use super::conversation::{Message, Speaker};
use super::tools::Offer;
use crate::json::walk;
use crate::write::Object;

/// Anthropic refuses more.
const MOST_MARKS: usize = 4;

/// Leaves as many marks as are allowed, or puts some where there are none.
pub(super) fn place(job: &mut Job<'_, '_>, tools: &mut [Offer], system: &mut [Piece<'_>], messages: &mut [Message<'_>]) {
    let fixed = usize::from(job.request.cache.automatic.is_some()) + written_marks(tools, system, messages);
    let wished = slots(tools, system, messages).filter(|slot| slot.is_some()).count();
    if fixed + wished == 0 && job.target.automatic_cache {
        return mark_automatically(tools, system, messages);
    }
    if fixed + wished > MOST_MARKS {
        job.losses.at(
            "cache_control".to_owned(),
            Severity::Hint,
            "at most four cache marks are taken; the first of the rest were left out",
        );
        drop_marks(MOST_MARKS.saturating_sub(fixed), tools, system, messages);
    }
    // A longer time may not stand behind a shorter one.
    let mut only_short = false;
    for mark in slots(tools, system, messages).flatten() {
        mark.ttl = mark.ttl.and_then(|ttl| ttl.nearest(&[CacheTtl::FiveMinutes, CacheTtl::OneHour]));
        if only_short && mark.ttl == Some(CacheTtl::OneHour) {
            mark.ttl = None;
            let reason = "an hour cannot stand behind a shorter time; the shorter one was sent";
            job.losses.at("cache_control".to_owned(), Severity::Hint, reason);
        }
        only_short |= mark.ttl != Some(CacheTtl::OneHour);
    }
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

/// Marks inside what is written as it came.
fn written_marks(tools: &[Offer], system: &[Piece<'_>], messages: &[Message<'_>]) -> usize {
    let pieces = messages.iter().flat_map(|message| &message.pieces).chain(system);
    pieces.filter(|piece| piece.is_marked_inside()).count() + tools.iter().filter(|tool| tool.is_marked_inside()).count()
}

/// Tools and system keep theirs first, then the last ones of the conversation.
fn drop_marks(most: usize, tools: &mut [Offer], system: &mut [Piece<'_>], messages: &mut [Message<'_>]) {
    let mut left = most;
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
    let mark = Some(CacheMark::default());
    tools.iter_mut().next_back().into_iter().for_each(|tool| tool.mark = mark);
    mark_last(system);
    let of_user = messages.iter_mut().rev().filter(|message| message.speaker == Speaker::User);
    of_user.take(2).for_each(|message| mark_last(&mut message.pieces));
}

fn mark_last(pieces: &mut [Piece<'_>]) {
    if let Some(piece) = pieces.iter_mut().rev().find(|piece| piece.can_be_marked()) {
        piece.mark = Some(CacheMark::default());
    }
}

/// Writes a `cache_control`.
pub(super) fn write(mark: CacheMark, out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    object.text("type", "ephemeral");
    if let Some(ttl) = mark.ttl.and_then(|ttl| ttl.nearest(&[CacheTtl::FiveMinutes, CacheTtl::OneHour])) {
        object.text("ttl", ttl.word());
    }
    object.close();
}

/// Writes the object `raw`, with a mark in it where one is wished.
pub(super) fn write_marked(raw: &[u8], mark: Option<CacheMark>, out: &mut Vec<u8>) {
    out.extend_from_slice(raw);
    if let Some(mark) = mark
        && out.pop() == Some(b'}')
    {
        out.extend_from_slice(br#","cache_control":"#);
        write(mark, out);
        out.push(b'}');
    }
}

/// Whether `raw` brings its own mark.
pub(super) fn is_marked(raw: &Raw<'_>) -> bool {
    walk::member(raw.as_bytes(), "cache_control").ok().flatten().is_some_and(|member| member.value != b"null")
}
