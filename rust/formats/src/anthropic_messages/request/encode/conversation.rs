//! Turns as Anthropic wants them: the system prompt apart, one speaker's turns together, and every tool call answered first thing in the
//! message behind it.

use fairlead_ir::block::ToolResult;
use fairlead_ir::{Block, Kind, Role, Severity, Text, Turn};

use super::Job;
use super::blocks::{Content, Piece, fit};
use crate::translate::answers::{Calls, Ids};
use crate::translate::message::{self, Speaker, lose_name, lose_rest, named, reminder, stray_heading};

const IDS: Ids = Ids { longest_bytes: 128, signs: b"_-" };

/// One message.
pub(super) type Message<'r> = message::Message<'r, Piece<'r>>;

/// The system prompt: the leading instructions, block by block, so that cache marks stay where they are.
pub(super) fn system<'r>(job: &mut Job<'_, 'r>) -> Vec<Piece<'r>> {
    let request = job.request;
    let mut pieces = Vec::new();
    for turn in &request.turns[..request.leading_instructions()] {
        lose_name(job, turn);
        lose_rest(job, turn);
        pieces.extend(turn.blocks.iter().filter_map(|block| fit(job, block, Speaker::System)));
    }
    pieces
}

/// The conversation behind the system prompt.
pub(super) fn lay_out<'r>(job: &mut Job<'_, 'r>) -> Vec<Message<'r>> {
    let request = job.request;
    let turns = &request.turns[request.leading_instructions()..];
    let mut layout = Layout { job, messages: Vec::new(), calls: Calls::new(IDS), taken: Vec::new() };
    for (index, turn) in turns.iter().enumerate() {
        if turn.role != Role::Assistant {
            layout.answer_calls(&turns[index..]);
        }
        layout.take(turn);
    }
    layout.answer_calls(&[]);
    layout.messages
}

struct Layout<'l, 'j, 'r> {
    job: &'l mut Job<'j, 'r>,
    messages: Vec<Message<'r>>,
    /// The calls of the assistant's message that is being laid out.
    calls: Calls<'r>,
    /// The results that have found their place.
    taken: Vec<*const Block<'r>>,
}

impl<'r> Layout<'_, '_, 'r> {
    fn take(&mut self, turn: &'r Turn<'r>) {
        match turn.role {
            Role::Assistant => self.take_assistant(turn),
            Role::User => self.take_user(turn),
            Role::System | Role::Developer => self.take_instruction(turn),
        }
        self.take_rest(turn);
    }

    fn take_assistant(&mut self, turn: &'r Turn<'r>) {
        lose_name(self.job, turn);
        for block in &turn.blocks {
            let Some(mut piece) = fit(self.job, block, Speaker::Assistant) else { continue };
            if let (Content::Call { id, .. }, Kind::ToolCall(call)) = (&mut piece.content, &block.kind) {
                *id = self.calls.open(call, block.origin);
            }
            if self.messages.is_empty() && !self.job.own {
                // The first message must be a user's.
                let reason = "a conversation begins with the user here; a user's message \".\" was put before it";
                self.job.losses.block(turn.origin, Severity::Changed, reason);
                self.push(Speaker::User, Piece::of_text(Text::word(".")));
            }
            self.push(Speaker::Assistant, piece);
        }
    }

    /// Puts the results of the open calls right behind them, from wherever they stand before the assistant's next turn.
    fn answer_calls(&mut self, turns: &'r [Turn<'r>]) {
        if self.calls.is_empty() {
            return;
        }
        let before_reply = turns.iter().take_while(|turn| turn.role != Role::Assistant).filter(|turn| turn.role == Role::User);
        for block in before_reply.flat_map(|turn| &turn.blocks) {
            let Kind::ToolResult(result) = &block.kind else { continue };
            if let Some(id) = self.calls.claim(result) {
                self.taken.push(block);
                let piece = Piece::of_result(self.job, block, result, id);
                self.push(Speaker::User, piece);
            }
        }
        for id in self.calls.close(self.job) {
            self.push(Speaker::User, Piece::new(Content::Unanswered(id)));
        }
    }

    fn take_user(&mut self, turn: &'r Turn<'r>) {
        let mut name = turn.name.as_ref();
        for block in &turn.blocks {
            match &block.kind {
                Kind::ToolResult(_) if self.taken.contains(&std::ptr::from_ref(block)) => {}
                Kind::ToolResult(result) => self.take_stray(block, result),
                _ => {
                    let Some(mut piece) = fit(self.job, block, Speaker::User) else { continue };
                    if let Content::Text { text, .. } = &mut piece.content
                        && let Some(name) = name.take()
                    {
                        *text = named(self.job, turn, name, text);
                    }
                    self.push(Speaker::User, piece);
                }
            }
        }
        if name.is_some() {
            lose_name(self.job, turn);
        }
    }

    /// A result whose call is not in the message before it.
    fn take_stray(&mut self, block: &'r Block<'r>, result: &'r ToolResult<'r>) {
        self.job.losses.block(block.origin, Severity::Changed, "the result answers no call of the message before it; it was sent as text");
        self.push(Speaker::User, Piece::of_text(stray_heading(result)));
        for inner in &result.content {
            let piece = Piece::of_inner(self.job, inner);
            piece.into_iter().for_each(|piece| self.push(Speaker::User, piece));
        }
    }

    /// Instructions stay where they are: moved to the front, they would change the prefix that caches and signatures depend on.
    fn take_instruction(&mut self, turn: &'r Turn<'r>) {
        lose_name(self.job, turn);
        let as_user = self.job.target.traits.no_mid_system;
        let mut said = false;
        for block in &turn.blocks {
            let Some(mut piece) = fit(self.job, block, Speaker::System) else { continue };
            said = true;
            if let Content::Text { text, .. } = &mut piece.content
                && as_user
            {
                *text = reminder(text);
            }
            self.push(if as_user { Speaker::User } else { Speaker::System }, piece);
        }
        if said && as_user {
            let reason = "the model takes instructions only before the first message; this one was sent as a user's text";
            self.job.losses.block(turn.origin, Severity::Changed, reason);
        }
    }

    fn push(&mut self, speaker: Speaker, piece: Piece<'r>) {
        message::push(&mut self.messages, speaker, piece);
    }

    fn take_rest(&mut self, turn: &'r Turn<'r>) {
        match self.messages.last_mut() {
            Some(message) if self.job.own => message.rest.extend(turn.rest.iter().cloned()),
            _ => lose_rest(self.job, turn),
        }
    }
}
