//! Turns as Anthropic wants them: the system prompt apart, one speaker's turns together, and every tool call answered first thing in the
//! message behind it.

use std::collections::HashSet;

use fairlead_ir::block::ToolResult;
use fairlead_ir::{Block, Kind, Member, Role, Severity, Text, Turn};

use super::Job;
use super::blocks::{Content, Piece, fit};
use crate::text::join;
use crate::translate::plain_name;

/// One message.
pub(super) struct Message<'r> {
    pub(super) speaker: Speaker,
    pub(super) pieces: Vec<Piece<'r>>,
    /// Members that only this dialect knows.
    pub(super) rest: Vec<Member<'r>>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    User,
    Assistant,
    System,
}

impl Speaker {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Speaker::User => "user",
            Speaker::Assistant => "assistant",
            Speaker::System => "system",
        }
    }
}

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
    let mut layout = Layout { job, messages: Vec::new(), used_ids: HashSet::new(), calls: Vec::new(), call_count: 0, taken: Vec::new() };
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
    /// Ids of calls as sent: each must occur once in a conversation.
    used_ids: HashSet<Vec<u8>>,
    /// The calls of the assistant's message that is being laid out.
    calls: Vec<Call<'r>>,
    call_count: usize,
    /// The results that have found their place.
    taken: Vec<*const Block<'r>>,
}

struct Call<'r> {
    block: &'r Block<'r>,
    id: &'r Text<'r>,
    name: &'r Text<'r>,
    sent: Text<'r>,
    answered: bool,
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
                let sent = self.unique_id(&call.id);
                *id = sent.clone();
                self.calls.push(Call { block, id: &call.id, name: &call.name, sent, answered: false });
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

    /// An id in the alphabet that is allowed, made where there is none, and different from all before it.
    fn unique_id(&mut self, id: &Text<'r>) -> Text<'r> {
        const LONGEST_ID_BYTES: usize = 128;
        self.call_count += 1;
        let mut sent = match id.is_empty() {
            true => Text::owned(format!("call_{}", self.call_count).into_bytes()),
            false => plain_name(id, LONGEST_ID_BYTES, false),
        };
        let first = sent.clone();
        let mut again = 2;
        while !self.used_ids.insert(sent.as_bytes().to_vec()) {
            sent = Text::owned([first.as_bytes(), format!("_{again}").as_bytes()].concat());
            again += 1;
        }
        sent
    }

    /// Puts the results of the open calls right behind them, from wherever they stand before the assistant's next turn.
    fn answer_calls(&mut self, turns: &'r [Turn<'r>]) {
        if self.calls.is_empty() {
            return;
        }
        let before_reply = turns.iter().take_while(|turn| turn.role != Role::Assistant).filter(|turn| turn.role == Role::User);
        for block in before_reply.flat_map(|turn| &turn.blocks) {
            let Kind::ToolResult(result) = &block.kind else { continue };
            if let Some(id) = self.claim(result) {
                self.taken.push(block);
                let piece = Piece::of_result(self.job, block, result, id);
                self.push(Speaker::User, piece);
            }
        }
        for call in std::mem::take(&mut self.calls).into_iter().filter(|call| !call.answered) {
            let reason = "the call has no result in the conversation; an error was put in its place";
            self.job.losses.block(call.block.origin, Severity::Changed, reason);
            self.push(Speaker::User, Piece::new(Content::Unanswered(call.sent)));
        }
    }

    /// The sent id of the call that `result` answers. Without ids, calls of a name are answered in order.
    fn claim(&mut self, result: &ToolResult<'_>) -> Option<Text<'r>> {
        let mut open = self.calls.iter_mut().filter(|call| !call.answered);
        let call = match (&result.id, &result.name) {
            (id, _) if !id.is_empty() => open.find(|call| call.id == id),
            (_, Some(name)) => open.find(|call| call.name == name),
            _ => open.next(),
        }?;
        call.answered = true;
        Some(call.sent.clone())
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
                        *text = join([name, &Text::word(": "), text], "");
                        self.job.losses.block(turn.origin, Severity::Changed, "speakers have no names here; it stands before the text");
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
        let what = if result.id.is_empty() { result.name.as_ref().unwrap_or(&result.id) } else { &result.id };
        let heading = join([&Text::word("Result of the tool call "), what, &Text::word(":")], "");
        self.push(Speaker::User, Piece::of_text(heading));
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
                *text = join([&Text::word("<system-reminder>"), &*text, &Text::word("</system-reminder>")], r"\n");
            }
            self.push(if as_user { Speaker::User } else { Speaker::System }, piece);
        }
        if said && as_user {
            let reason = "the model takes instructions only before the first message; this one was sent as a user's text";
            self.job.losses.block(turn.origin, Severity::Changed, reason);
        }
    }

    fn push(&mut self, speaker: Speaker, piece: Piece<'r>) {
        match self.messages.last_mut() {
            Some(message) if message.speaker == speaker => message.pieces.push(piece),
            _ => self.messages.push(Message { speaker, pieces: vec![piece], rest: Vec::new() }),
        }
    }

    fn take_rest(&mut self, turn: &'r Turn<'r>) {
        match self.messages.last_mut() {
            Some(message) if self.job.own => message.rest.extend(turn.rest.iter().cloned()),
            _ => lose_rest(self.job, turn),
        }
    }
}

fn lose_name(job: &mut Job<'_, '_>, turn: &Turn<'_>) {
    if turn.name.is_some() {
        job.losses.block(turn.origin, Severity::Hint, "speakers have no names here");
    }
}

fn lose_rest(job: &mut Job<'_, '_>, turn: &Turn<'_>) {
    job.losses.members(turn.origin, &turn.rest, Severity::Dropped, "this provider's messages have no such member");
}

/// Whether the conversation waits for the model behind tool results, and the calls they answer were not introduced by a thought that
/// can be sent: models that think with a budget refuse that.
pub(super) fn is_thoughtless_loop(messages: &[Message<'_>]) -> bool {
    let [.., calls, results] = messages else { return false };
    let waits = results.pieces.first().is_some_and(|piece| matches!(piece.content, Content::Result { .. } | Content::Unanswered(_)));
    let thought = calls.pieces.first().is_some_and(|piece| matches!(piece.content, Content::Thinking { .. } | Content::Redacted(_)));
    results.speaker == Speaker::User && waits && !thought
}

/// Names of the tools that were called, in order of their first call.
pub(super) fn called<'m>(messages: &'m [Message<'_>]) -> Vec<&'m Text<'m>> {
    let mut names: Vec<&Text<'_>> = Vec::new();
    for piece in messages.iter().flat_map(|message| &message.pieces) {
        if let Content::Call { name, .. } = &piece.content
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}
