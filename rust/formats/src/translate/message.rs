//! A conversation as messages of blocks, for dialects in which one speaker's turns stand together and calls are answered first thing in
//! the message behind them.

use fairlead_ir::block::{CacheMark, ToolResult};
use fairlead_ir::{Kind, Member, Severity, Text, Turn};

use super::Job;
use crate::text::join;

/// One message.
pub(crate) struct Message<'r, P> {
    pub(crate) speaker: Speaker,
    pub(crate) pieces: Vec<P>,
    /// Members that only the target's dialect knows.
    pub(crate) rest: Vec<Member<'r>>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaker {
    User,
    Assistant,
    System,
}

impl Speaker {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Speaker::User => "user",
            Speaker::Assistant => "assistant",
            Speaker::System => "system",
        }
    }
}

/// A dialect's block, as far as the rules look at it that dialects share.
pub(crate) trait Piece {
    fn part(&self) -> Part<'_>;
    /// Whether a cache mark may stand on it.
    fn can_be_marked(&self) -> bool;
    fn mark(&mut self) -> &mut Option<CacheMark>;
}

/// What a block is to a conversation with tools.
pub(crate) enum Part<'p> {
    Thought,
    /// A call of the tool with this name.
    Call(&'p Text<'p>),
    Result,
    Other,
}

/// Appends a block to the last message if it is `speaker`'s, else to a new one.
pub(crate) fn push<P>(messages: &mut Vec<Message<'_, P>>, speaker: Speaker, piece: P) {
    match messages.last_mut() {
        Some(message) if message.speaker == speaker => message.pieces.push(piece),
        _ => messages.push(Message { speaker, pieces: vec![piece], rest: Vec::new() }),
    }
}

/// Whether the conversation waits for the model behind tool results, and the calls they answer were not introduced by a thought that
/// can be sent: models that think with a budget refuse that.
pub(crate) fn is_thoughtless_loop<P: Piece>(messages: &[Message<'_, P>]) -> bool {
    let [.., calls, results] = messages else { return false };
    let waits = results.pieces.first().is_some_and(|piece| matches!(piece.part(), Part::Result));
    let thought = calls.pieces.first().is_some_and(|piece| matches!(piece.part(), Part::Thought));
    results.speaker == Speaker::User && waits && !thought
}

/// Whether the conversation holds calls or results.
pub(crate) fn uses_tools<P: Piece>(messages: &[Message<'_, P>]) -> bool {
    let mut pieces = messages.iter().flat_map(|message| &message.pieces);
    pieces.any(|piece| matches!(piece.part(), Part::Call(_) | Part::Result))
}

/// Names of the tools that were called, as sent, in order of their first call.
pub(crate) fn called<'m, P: Piece>(messages: &'m [Message<'_, P>]) -> Vec<&'m Text<'m>> {
    let mut names: Vec<&Text<'_>> = Vec::new();
    for piece in messages.iter().flat_map(|message| &message.pieces) {
        if let Part::Call(name) = piece.part()
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

/// Why a block of this kind is left out of what `speaker` says.
pub(crate) fn unfit(kind: &Kind<'_>, speaker: Speaker) -> &'static str {
    match (kind, speaker) {
        (Kind::Opaque { .. }, _) => "only the dialect it was written in knows it",
        (Kind::Media(_), Speaker::Assistant) => "media that the model made are not taken back",
        (_, Speaker::System) => "instructions are text here",
        _ => "it cannot stand in this speaker's message",
    }
}

/// What a user with a name says.
pub(crate) fn named(job: &mut Job<'_, '_>, turn: &Turn<'_>, name: &Text<'_>, text: &Text<'_>) -> Text<'static> {
    job.losses.block(turn.origin, Severity::Changed, "speakers have no names here; it stands before the text");
    join([name, &Text::word(": "), text], "")
}

/// An instruction in a user's message.
pub(crate) fn reminder(text: &Text<'_>) -> Text<'static> {
    join([&Text::word("<system-reminder>"), text, &Text::word("</system-reminder>")], r"\n")
}

/// What stands before the blocks of a result whose call is not in the message before it.
pub(crate) fn stray_heading(result: &ToolResult<'_>) -> Text<'static> {
    let what = if result.id.is_empty() { result.name.as_ref().unwrap_or(&result.id) } else { &result.id };
    join([&Text::word("Result of the tool call "), what, &Text::word(":")], "")
}

/// Tells the loss of a speaker's name.
pub(crate) fn lose_name(job: &mut Job<'_, '_>, turn: &Turn<'_>) {
    if turn.name.is_some() {
        job.losses.block(turn.origin, Severity::Hint, "speakers have no names here");
    }
}

/// Tells the loss of a turn's members that only another dialect knows.
pub(crate) fn lose_rest(job: &mut Job<'_, '_>, turn: &Turn<'_>) {
    job.losses.members(turn.origin, &turn.rest, Severity::Dropped, "this provider's messages have no such member");
}
