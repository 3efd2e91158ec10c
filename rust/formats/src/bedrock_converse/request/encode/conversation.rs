//! Turns as Converse wants them: the system prompt apart, one speaker's turns together, the user first, and every tool call answered first
//! thing in the message behind it.

use std::collections::HashSet;

use fairlead_ir::block::{MediaClass, ToolResult};
use fairlead_ir::{Block, Kind, Member, Origin, Role, Severity, Text, Turn};

use super::fit::{fit, fit_inner};
use super::media::Names;
use super::{Job, Refusal};
use crate::bedrock_converse::wire::block::{Content, Piece};
use crate::text::join;
use crate::translate::plain_name;

/// One message.
pub(super) struct Message<'r> {
    pub(super) speaker: Speaker,
    pub(super) pieces: Vec<Piece<'r>>,
    /// Members that only this dialect knows.
    pub(super) rest: &'r [Member<'r>],
}

impl<'r> Message<'r> {
    fn new(speaker: Speaker) -> Message<'r> {
        Message { speaker, pieces: Vec::new(), rest: &[] }
    }
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
        lose_rest(job, turn);
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
    let mut layout = Layout {
        job,
        messages: Vec::new(),
        used_ids: HashSet::new(),
        calls: Vec::new(),
        call_count: 0,
        heard: false,
        names: Names::default(),
    };
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
    let mut message = Message { rest: &turn.rest, ..Message::new(speaker) };
    for block in &turn.blocks {
        message.pieces.extend(fit(job, block, speaker, &mut Names::default())?);
    }
    Ok(message)
}

struct Layout<'l, 'j, 'r> {
    job: &'l mut Job<'j, 'r>,
    messages: Vec<Message<'r>>,
    /// Ids of calls as sent: each must occur once in a conversation.
    used_ids: HashSet<Vec<u8>>,
    /// The calls that the next message of the user must answer.
    calls: Vec<Call<'r>>,
    call_count: usize,
    /// Somebody but the assistant spoke since the calls.
    heard: bool,
    names: Names,
}

struct Call<'r> {
    origin: Origin,
    id: &'r Text<'r>,
    name: &'r Text<'r>,
    sent: Text<'r>,
    answered: bool,
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
                let sent = self.unique_id(&call.id);
                *id = sent.clone();
                self.calls.push(Call { origin: block.origin, id: &call.id, name: &call.name, sent, answered: false });
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

    /// An id that is allowed, made where there is none, and different from all before it.
    fn unique_id(&mut self, id: &'r Text<'r>) -> Text<'r> {
        const LONGEST_ID_BYTES: usize = 64;
        // Room for a number behind it.
        const LONGEST_FIRST_BYTES: usize = 54;
        let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(byte);
        self.call_count += 1;
        let mut sent = match id.as_bytes() {
            [] => Text::owned(format!("call_{}", self.call_count).into_bytes()),
            bytes if bytes.len() <= LONGEST_ID_BYTES && bytes.iter().all(is_allowed) => id.borrowed(),
            _ => plain_name(id, LONGEST_ID_BYTES, false),
        };
        let first = sent.as_bytes()[..sent.as_bytes().len().min(LONGEST_FIRST_BYTES)].to_vec();
        let mut again = 2;
        while !self.used_ids.insert(sent.as_bytes().to_vec()) {
            sent = Text::owned([&first[..], format!("_{again}").as_bytes()].concat());
            again += 1;
        }
        sent
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
                    *said = join([name, &Text::word(": "), said], "");
                    self.job.losses.block(turn.origin, Severity::Changed, "speakers have no names here; it stands before the text");
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
        let Some(id) = self.claim(result) else { return self.take_stray(block, result) };
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

    /// The sent id of the open call that `result` answers. Without ids, calls of a name are answered in order.
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

    /// A result whose call is not in the message before it.
    fn take_stray(&mut self, block: &'r Block<'r>, result: &'r ToolResult<'r>) -> Result<(), Refusal> {
        self.job.losses.block(block.origin, Severity::Changed, "the result answers no call of the message before it; it was sent as text");
        lose_members(self.job, block);
        let what = if result.id.is_empty() { result.name.as_ref().unwrap_or(&result.id) } else { &result.id };
        let heading = join([&Text::word("Result of the tool call "), what, &Text::word(":")], "");
        self.push(Speaker::User, Piece::text(heading));
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
                *text = join([&Text::word("<system-reminder>"), &*text, &Text::word("</system-reminder>")], r"\n");
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
            self.messages.push(Message::new(Speaker::User));
        }
        let Some(message) = self.messages.last_mut() else { return };
        let is_result = |piece: &Piece<'_>| matches!(piece.content, Content::Result { .. });
        let (mut ordered, others): (Vec<_>, Vec<_>) = std::mem::take(&mut message.pieces).into_iter().partition(is_result);
        for call in self.calls.drain(..).filter(|call| !call.answered) {
            let reason = "the call has no result in the conversation; an error was put in its place";
            self.job.losses.block(call.origin, Severity::Changed, reason);
            let content = vec![Piece::text(Text::word("No result."))];
            ordered.push(Piece::new(Content::Result { id: call.sent, content, is_error: true }));
        }
        ordered.extend(others);
        message.pieces = ordered;
    }

    fn push(&mut self, speaker: Speaker, piece: Piece<'r>) {
        match self.messages.last_mut() {
            Some(message) if message.speaker == speaker => message.pieces.push(piece),
            _ => self.messages.push(Message { pieces: vec![piece], ..Message::new(speaker) }),
        }
    }
}

fn lose_name(job: &mut Job<'_, '_>, turn: &Turn<'_>) {
    if turn.name.is_some() {
        job.losses.block(turn.origin, Severity::Hint, "speakers have no names here");
    }
}

fn lose_rest(job: &mut Job<'_, '_>, turn: &Turn<'_>) {
    if !job.own {
        job.losses.members(turn.origin, &turn.rest, Severity::Dropped, "this provider's messages have no such member");
    }
}

/// Loses the members of a block that only another dialect knows.
pub(super) fn lose_members(job: &mut Job<'_, '_>, block: &Block<'_>) {
    if !job.own {
        job.losses.members(block.origin, &block.rest, Severity::Dropped, "this provider's blocks have no such member");
    }
}

/// Whether the conversation waits for the model behind tool results, and the calls they answer were not introduced by a thought that
/// can be sent: models that think with a budget refuse that.
pub(super) fn is_thoughtless_loop(messages: &[Message<'_>]) -> bool {
    let [.., calls, results] = messages else { return false };
    let waits = results.pieces.first().is_some_and(|piece| matches!(piece.content, Content::Result { .. }));
    let thought = calls.pieces.first().is_some_and(|piece| matches!(piece.content, Content::Thought { .. } | Content::Redacted(_)));
    results.speaker == Speaker::User && waits && !thought
}

/// Names of the tools that were called, as sent, in order of their first call.
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
