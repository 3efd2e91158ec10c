//! Turns as Converse wants them: the system prompt apart, one speaker's turns together, the user first, and every tool call answered first
//! thing in the message behind it.

use fairlead_ir::block::{MediaClass, ToolResult};
use fairlead_ir::{Block, Kind, Origin, Role, Severity, Text, Turn};

use super::fit::{fit, fit_inner};
use super::media::Names;
use super::{Job, Refusal};
use crate::bedrock_converse::wire::block::{Content, Piece};
use crate::translate::answers::{Calls, Ids};
use crate::translate::message::{self, Speaker, lose_name, lose_rest, named, reminder, stray_heading};

const IDS: Ids = Ids { longest_bytes: 64, signs: b"_.:-" };

/// One message.
pub(super) type Message<'r> = message::Message<'r, Piece<'r>>;

/// How many turns are the system prompt. This dialect has a place for it and may begin its messages with another instruction.
fn leading(job: &Job<'_, '_>) -> usize {
    match job.own {
        true => job.request.turns.iter().take_while(|turn| turn.origin == Origin::member("system")).count(),
        false => job.request.leading_instructions(),
    }
}

/// The system prompt: the leading instructions, block by block, so that cache marks stay where they are.
pub(super) fn system<'r>(job: &mut Job<'_, 'r>) -> Result<Vec<Piece<'r>>, Refusal> {
    let request = job.request;
    let mut pieces = Vec::new();
    for turn in &request.turns[..leading(job)] {
        lose_name(job, turn);
        if !job.own {
            lose_rest(job, turn);
        }
        for block in &turn.blocks {
            pieces.extend(fit(job, block, Speaker::System, &mut Names::default())?);
        }
    }
    Ok(pieces)
}

/// The conversation behind the system prompt, which goes to its front where the model takes none.
pub(super) fn lay_out<'r>(job: &mut Job<'_, 'r>, system: &mut Vec<Piece<'r>>) -> Result<Vec<Message<'r>>, Refusal> {
    let turns = &job.request.turns[leading(job)..];
    if job.own {
        return turns.iter().map(|turn| as_it_came(job, turn)).collect();
    }
    let mut layout = Layout { job, messages: Vec::new(), calls: Calls::new(IDS), heard: false, names: Names::default() };
    layout.take_system(system);
    for turn in turns {
        layout.take(turn)?;
    }
    layout.settle();
    layout.messages.retain(|message| !message.pieces.is_empty());
    Ok(layout.messages)
}

/// Puts words of ours behind the system prompt, or before the first message where the model takes none.
pub(super) fn instruct<'r>(
    job: &Job<'_, 'r>,
    instructions: impl Iterator<Item = Text<'r>>,
    system: &mut Vec<Piece<'r>>,
    messages: &mut [Message<'r>],
) {
    let instructions: Vec<Piece<'r>> = instructions.map(Piece::text).collect();
    match messages.first_mut() {
        Some(first) if job.target.traits.no_system_role && !job.own && first.speaker == Speaker::User => {
            first.pieces.splice(0..0, instructions);
        }
        _ => system.extend(instructions),
    }
}

/// A message of this dialect.
fn as_it_came<'r>(job: &mut Job<'_, 'r>, turn: &'r Turn<'r>) -> Result<Message<'r>, Refusal> {
    let speaker = match turn.role {
        Role::User => Speaker::User,
        Role::Assistant => Speaker::Assistant,
        Role::System | Role::Developer => Speaker::System,
    };
    let mut message = Message { speaker, pieces: Vec::with_capacity(turn.blocks.len()), rest: turn.rest.clone() };
    for block in &turn.blocks {
        message.pieces.extend(fit(job, block, speaker, &mut Names::default())?);
    }
    Ok(message)
}

struct Layout<'l, 'j, 'r> {
    job: &'l mut Job<'j, 'r>,
    messages: Vec<Message<'r>>,
    /// The calls that the next message of the user must answer.
    calls: Calls<'r>,
    /// Somebody but the assistant spoke since the calls.
    heard: bool,
    names: Names,
}

impl<'r> Layout<'_, '_, 'r> {
    fn take_system(&mut self, system: &mut Vec<Piece<'r>>) {
        if self.job.target.traits.no_system_role && !system.is_empty() {
            let reason = "the model takes no instructions; they were put before the first user's text";
            let origin = self.job.request.turns.first().map(|turn| turn.origin).unwrap_or_default();
            self.job.losses.block(origin, Severity::Changed, reason);
            system.drain(..).for_each(|piece| self.push(Speaker::User, piece));
        }
    }

    fn take(&mut self, turn: &'r Turn<'r>) -> Result<(), Refusal> {
        lose_rest(self.job, turn);
        match turn.role {
            Role::Assistant => self.take_assistant(turn),
            Role::User => self.take_user(turn),
            Role::System | Role::Developer => self.take_instruction(turn),
        }
    }

    fn take_assistant(&mut self, turn: &'r Turn<'r>) -> Result<(), Refusal> {
        lose_name(self.job, turn);
        if self.heard {
            self.settle();
        }
        for block in &turn.blocks {
            let Some(mut piece) = fit(self.job, block, Speaker::Assistant, &mut self.names)? else { continue };
            if let (Content::Call { id, .. }, Kind::ToolCall(call)) = (&mut piece.content, &block.kind) {
                *id = self.calls.open(call, block.origin);
            }
            if self.messages.is_empty() {
                let reason = "a conversation begins with the user here; a user's message \".\" was put before it";
                self.job.losses.block(turn.origin, Severity::Changed, reason);
                self.push(Speaker::User, Piece::text(Text::word(".")));
            }
            self.push(Speaker::Assistant, piece);
        }
        Ok(())
    }

    fn take_user(&mut self, turn: &'r Turn<'r>) -> Result<(), Refusal> {
        self.heard = true;
        let mut name = turn.name.as_ref();
        let (mut document, mut text) = (false, false);
        for block in &turn.blocks {
            if let Kind::ToolResult(result) = &block.kind {
                self.take_result(block, result)?;
                continue;
            }
            let Some(mut piece) = fit(self.job, block, Speaker::User, &mut self.names)? else { continue };
            document |= matches!(piece.content, Content::Media { class: MediaClass::Document, .. });
            if let Content::Text(said) = &mut piece.content {
                text = true;
                if let Some(name) = name.take() {
                    *said = named(self.job, turn, name, said);
                }
            }
            self.push(Speaker::User, piece);
        }
        if document && !text {
            // A document without a text is refused. Looked at turn by turn, so that what is written does not depend on what follows.
            self.push(Speaker::User, Piece::text(Text::word(".")));
        }
        if name.is_some() {
            lose_name(self.job, turn);
        }
        Ok(())
    }

    fn take_result(&mut self, block: &'r Block<'r>, result: &'r ToolResult<'r>) -> Result<(), Refusal> {
        let Some(id) = self.calls.claim(result) else { return self.take_stray(block, result) };
        let mut content = Vec::with_capacity(result.content.len());
        for inner in &result.content {
            content.extend(fit_inner(self.job, inner, &mut self.names)?);
        }
        if content.is_empty() {
            content.push(Piece::text(Text::word("(empty)")));
        }
        lose_members(self.job, block);
        // A mark inside a result moves behind it.
        let mark = block.cache.or_else(|| result.content.iter().rev().find_map(|inner| inner.cache));
        let content = Content::Result { id, content, is_error: result.is_error };
        self.push(Speaker::User, Piece { mark, ..Piece::new(content) });
        Ok(())
    }

    /// A result whose call is not in the message before it.
    fn take_stray(&mut self, block: &'r Block<'r>, result: &'r ToolResult<'r>) -> Result<(), Refusal> {
        self.job.losses.block(block.origin, Severity::Changed, "the result answers no call of the message before it; it was sent as text");
        lose_members(self.job, block);
        self.push(Speaker::User, Piece::text(stray_heading(result)));
        for inner in &result.content {
            let piece = match fit_inner(self.job, inner, &mut self.names)? {
                Some(Piece { content: Content::Json(raw), .. }) => Some(Piece::text(crate::text::quote(&raw))),
                piece => piece,
            };
            piece.into_iter().for_each(|piece| self.push(Speaker::User, piece));
        }
        Ok(())
    }

    /// Instructions stay where they are: moved to the front, they would change the prefix that caches and signatures depend on. Between a
    /// call and its answer there is no room for a message, and the first one is the user's.
    fn take_instruction(&mut self, turn: &'r Turn<'r>) -> Result<(), Refusal> {
        lose_name(self.job, turn);
        let as_user = self.job.target.traits.no_mid_system || !self.calls.is_empty() || self.messages.is_empty();
        self.heard = true;
        let mut said = false;
        for block in &turn.blocks {
            let Some(mut piece) = fit(self.job, block, Speaker::System, &mut self.names)? else { continue };
            said = true;
            if let Content::Text(text) = &mut piece.content
                && as_user
            {
                *text = reminder(text);
            }
            self.push(if as_user { Speaker::User } else { Speaker::System }, piece);
        }
        if said && as_user {
            let reason = "no instruction can stand here; it was sent as a user's text";
            self.job.losses.block(turn.origin, Severity::Changed, reason);
        }
        Ok(())
    }

    /// Ends the user's message behind calls: their answers first, in their order, an error for each call without one, then the rest.
    fn settle(&mut self) {
        let heard = std::mem::take(&mut self.heard);
        if self.calls.is_empty() || !heard {
            return;
        }
        if self.messages.last().is_none_or(|message| message.speaker != Speaker::User) {
            self.messages.push(Message { speaker: Speaker::User, pieces: Vec::new(), rest: Vec::new() });
        }
        let Some(message) = self.messages.last_mut() else { return };
        let is_result = |piece: &Piece<'_>| matches!(piece.content, Content::Result { .. });
        let (mut ordered, others): (Vec<_>, Vec<_>) = std::mem::take(&mut message.pieces).into_iter().partition(is_result);
        for id in self.calls.close(self.job) {
            let content = vec![Piece::text(Text::word("No result."))];
            ordered.push(Piece::new(Content::Result { id, content, is_error: true }));
        }
        ordered.extend(others);
        message.pieces = ordered;
    }

    fn push(&mut self, speaker: Speaker, piece: Piece<'r>) {
        message::push(&mut self.messages, speaker, piece);
    }
}

/// Loses the members of a block that only another dialect knows.
pub(super) fn lose_members(job: &mut Job<'_, '_>, block: &Block<'_>) {
    if !job.own {
        job.losses.members(block.origin, &block.rest, Severity::Dropped, "this provider's blocks have no such member");
    }
}
