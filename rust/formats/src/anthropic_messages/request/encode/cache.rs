//! Cache marks: at most four, the caller's or, where it set none and wishes so, ours.

use fairlead_ir::block::{CacheMark, CacheTtl};
use fairlead_ir::{Raw, Severity};

use super::Job;
use super::blocks::Piece;
use super::conversation::Message;
use crate::json::walk;
use crate::translate::marks::{MOST_MARKS, drop_beyond, place_automatically, slots};
use crate::translate::tools::Offer;
use crate::write::Object;

/// Leaves as many marks as are allowed, or puts some where there are none.
pub(super) fn place<'r>(job: &mut Job<'_, '_>, tools: &mut [Offer], system: &mut [Piece<'r>], messages: &mut [Message<'r>]) {
    let fixed = usize::from(job.request.cache.automatic.is_some()) + written_marks(tools, system, messages);
    let wished = slots(tools, system, messages).filter(|slot| slot.is_some()).count();
    if fixed + wished == 0 && job.target.automatic_cache {
        return place_automatically(tools, system, messages);
    }
    if fixed + wished > MOST_MARKS {
        job.losses.at(
            "cache_control".to_owned(),
            Severity::Hint,
            "at most four cache marks are taken; the first of the rest were left out",
        );
        drop_beyond(MOST_MARKS.saturating_sub(fixed), tools, system, messages);
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

/// Marks inside what is written as it came.
fn written_marks(tools: &[Offer], system: &[Piece<'_>], messages: &[Message<'_>]) -> usize {
    let pieces = messages.iter().flat_map(|message| &message.pieces).chain(system);
    pieces.filter(|piece| piece.is_marked_inside()).count() + tools.iter().filter(|tool| is_marked(&Raw::json(&tool.json))).count()
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
