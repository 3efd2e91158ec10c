//! Cache marks, for dialects that take at most four: which are kept, and where ours stand when the caller set none.

use fairlead_ir::block::CacheMark;

use super::message::{Message, Piece, Speaker};
use super::tools::Offer;

/// More are refused.
pub(crate) const MOST_MARKS: usize = 4;

/// All places of marks, in the order in which they are cached.
pub(crate) fn slots<'s, P: Piece>(
    tools: &'s mut [Offer],
    system: &'s mut [P],
    messages: &'s mut [Message<'_, P>],
) -> impl Iterator<Item = &'s mut Option<CacheMark>> {
    let in_messages = messages.iter_mut().flat_map(|message| message.pieces.iter_mut().map(P::mark));
    tools.iter_mut().map(|tool| &mut tool.mark).chain(system.iter_mut().map(P::mark)).chain(in_messages)
}

/// Leaves `most` marks: tools and system keep theirs first, then the last ones of the conversation.
pub(crate) fn drop_beyond<P: Piece>(most: usize, tools: &mut [Offer], system: &mut [P], messages: &mut [Message<'_, P>]) {
    let mut left = most;
    let mut keep = |mark: &mut Option<CacheMark>| match left {
        0 => *mark = None,
        _ => left -= usize::from(mark.is_some()),
    };
    system.iter_mut().rev().for_each(|piece| keep(piece.mark()));
    tools.iter_mut().rev().for_each(|tool| keep(&mut tool.mark));
    messages.iter_mut().rev().for_each(|message| message.pieces.iter_mut().rev().for_each(|piece| keep(piece.mark())));
}

/// Marks the last tool, the last instruction and the last two messages of the user: the newer one writes what the next request reads,
/// the older one reads what the request before wrote.
pub(crate) fn place_automatically<P: Piece>(tools: &mut [Offer], system: &mut [P], messages: &mut [Message<'_, P>]) {
    let mark = CacheMark::default();
    if let Some(tool) = tools.last_mut() {
        tool.mark = Some(mark);
    }
    mark_last(system, mark);
    let of_user = messages.iter_mut().rev().filter(|message| message.speaker == Speaker::User);
    of_user.take(2).for_each(|message| {
        mark_last(&mut message.pieces, mark);
    });
}

/// Marks the last block that can be; whether there is one.
pub(crate) fn mark_last<P: Piece>(pieces: &mut [P], mark: CacheMark) -> bool {
    let last = pieces.iter_mut().rev().find(|piece| piece.can_be_marked());
    last.map(|piece| *piece.mark() = piece.mark().or(Some(mark))).is_some()
}
