//! The conversation as chat messages.
//!
//! A turn becomes the same messages whatever follows it, so that a longer conversation begins with the bytes of the shorter one. What
//! must wait (instructions before the first user's text, pictures that tools returned) goes to the front of the next user's message.

use fairlead_ir::block::{Arguments, Media, MediaSource, ToolCall, ToolResult};
use fairlead_ir::{Block, Kind, Origin, Role, Severity, Text, Turn};

use super::assistant::Said;
use super::encode::Writing;
use crate::openai_chat::wire::calls::wrapped;
use crate::text::{join, quote};
use crate::write::{Array, Object};

/// Writes `messages`.
pub(super) fn write_messages(writing: &mut Writing<'_, '_>, body: &mut Object<'_>) {
    let request = writing.request;
    let leading = request.leading_instructions();
    let words = writing.format_in_words().map(|words| Block::text(words, Origin::member("response_format")));
    body.array("messages", |list| {
        let mut conversation = Conversation { writing, list, waiting: Vec::new(), returned: Vec::new(), unnamed: Unnamed::default() };
        // Before everything: behind the instructions it would move when they grow.
        conversation.form_of_reply(words.as_ref());
        for (at, turn) in request.turns.iter().enumerate() {
            match turn.role {
                Role::System | Role::Developer => conversation.instruction(turn, at < leading),
                Role::User => conversation.user(turn, at),
                Role::Assistant => conversation.assistant(turn, at),
            }
        }
        conversation.flush();
    });
}

/// Messages being written.
struct Conversation<'c, 'w, 'r, 'o> {
    writing: &'c mut Writing<'w, 'r>,
    list: &'c mut Array<'o>,
    /// Instructions for the front of the next user's message, where the endpoint knows no instructions.
    waiting: Vec<&'c Block<'c>>,
    /// Media that tools returned, with the calls' ids, for the same place.
    returned: Vec<(Text<'c>, &'c Block<'c>)>,
    unnamed: Unnamed<'c>,
}

impl<'c> Conversation<'c, '_, '_, '_> {
    /// What the instructions must say about the form of the reply.
    fn form_of_reply(&mut self, words: Option<&'c Block<'c>>) {
        match words {
            Some(block) if self.writing.traits.no_system_role => self.waiting.push(block),
            Some(block) => self.message("system", &Turn::new(Role::System, block.origin), &[block]),
            None => {}
        }
    }

    fn instruction(&mut self, turn: &'c Turn<'c>, is_leading: bool) {
        let traits = self.writing.traits;
        let blocks = self.taken(&turn.blocks);
        if traits.no_system_role && is_leading {
            self.waiting.extend(blocks);
            return;
        }
        self.flush();
        if !is_leading && (traits.no_system_role || traits.no_mid_system) {
            return self.reminder(turn, &blocks);
        }
        let role = if turn.role == Role::Developer && !traits.no_developer_role { "developer" } else { "system" };
        self.message(role, turn, &blocks);
    }

    /// A later instruction where the endpoint takes instructions at the start only: a user's text that says what it is.
    fn reminder(&mut self, turn: &Turn<'_>, blocks: &[&Block<'_>]) {
        let texts = blocks.iter().filter_map(|block| match &block.kind {
            Kind::Text { text, .. } => Some(text),
            _ => None,
        });
        let (open, close) = (Text::word(r"<system-reminder>\n"), Text::word(r"\n</system-reminder>"));
        let text = join([&open, &join(texts, r"\n\n"), &close], "");
        self.writing.losses.block(
            turn.origin,
            Severity::Changed,
            "the endpoint takes instructions at the start only: it became a user's text",
        );
        self.list.object(|message| {
            message.text("role", "user").escaped("content", &text);
        });
    }

    fn user(&mut self, turn: &'c Turn<'c>, at: usize) {
        let mut others = Vec::new();
        for (number, block) in turn.blocks.iter().enumerate() {
            match &block.kind {
                Kind::ToolResult(result) => {
                    let id = self.unnamed.answered(result, at, number);
                    self.result(block, result, id);
                }
                _ => others.push(block),
            }
        }
        if others.is_empty() && !turn.blocks.is_empty() {
            return;
        }
        let others = self.taken(others);
        self.message("user", turn, &others);
    }

    /// The blocks that can be written; of the others the loss is told.
    fn taken<'b>(&mut self, blocks: impl IntoIterator<Item = &'b Block<'b>>) -> Vec<&'b Block<'b>> {
        let style = self.writing.style;
        blocks.into_iter().filter(|block| style.takes(block, self.writing.losses)).collect()
    }

    /// A message of these blocks. A user's begins with what was waiting for it.
    fn message(&mut self, role: &str, turn: &Turn<'_>, blocks: &[&Block<'_>]) {
        let (style, own) = (self.writing.style, self.writing.own);
        let is_user = turn.role == Role::User;
        let waiting = if is_user { std::mem::take(&mut self.waiting) } else { Vec::new() };
        let returned = if is_user { std::mem::take(&mut self.returned) } else { Vec::new() };
        self.list.object(|message| {
            message.text("role", role).optional_escaped("name", turn.name.as_ref());
            match blocks {
                [] if waiting.is_empty() && returned.is_empty() => {
                    message.text("content", "");
                }
                [Block { kind: Kind::Text { text, .. }, .. }]
                    if waiting.is_empty() && returned.is_empty() && !style.needs_part(blocks[0]) =>
                {
                    message.escaped("content", text);
                }
                blocks => {
                    message.array("content", |parts| {
                        waiting.iter().for_each(|block| style.write(block, parts));
                        write_returned(&returned, style, parts);
                        blocks.iter().for_each(|block| style.write(block, parts));
                    });
                }
            }
            if own {
                message.members(&turn.rest);
            }
        });
        self.writing.lose_members(turn.origin, &turn.rest);
    }

    /// Writes what waits for a user's message that does not come.
    fn flush(&mut self) {
        if !self.waiting.is_empty() || !self.returned.is_empty() {
            self.message("user", &Turn::new(Role::User, Origin::default()), &[]);
        }
    }

    fn result(&mut self, block: &'c Block<'c>, result: &'c ToolResult<'c>, id: Text<'c>) {
        let pieces: Vec<Piece<'c>> = result.content.iter().filter_map(|inner| self.piece(inner, &id)).collect();
        let (style, own) = (self.writing.style, self.writing.own);
        self.tell_changes(block, result);
        let all_texts: Option<Vec<&Text<'_>>> = pieces.iter().map(Piece::text).collect();
        self.list.object(|message| {
            message.text("role", "tool").escaped("tool_call_id", &id);
            // Only this dialect's own callers know who wants the name: the id says as much.
            message.optional_escaped("name", result.name.as_ref().filter(|_| own));
            match all_texts {
                Some(texts) if texts.len() < 2 || !own => {
                    message.escaped("content", &join(texts, r"\n"));
                }
                _ => {
                    message.array("content", |parts| pieces.iter().for_each(|piece| piece.write(style, parts)));
                }
            }
            style.write_mark(block.cache, message);
            if own {
                message.members(&block.rest);
            }
        });
        self.writing.lose_members(block.origin, &block.rest);
    }

    fn tell_changes(&mut self, block: &Block<'_>, result: &ToolResult<'_>) {
        if result.is_error {
            self.writing.losses.block(block.origin, Severity::Hint, "chat has no mark for failed tools: the text stands as it is");
        }
        if block.cache.is_some() && !self.writing.style.takes_marks() {
            self.writing.losses.block(block.origin, Severity::Hint, "the endpoint takes no cache marks");
        }
    }

    /// What stands in the tool's message for one block of its result.
    fn piece(&mut self, inner: &'c Block<'c>, id: &Text<'c>) -> Option<Piece<'c>> {
        match &inner.kind {
            Kind::Text { text, .. } if !self.writing.style.needs_part(inner) => {
                self.writing.style.takes(inner, self.writing.losses);
                Some(Piece::Text(text.borrowed()))
            }
            Kind::Opaque { word, raw } if word.is("json") && !self.writing.own => Some(Piece::Text(quote(raw))),
            Kind::Media(Media { source: MediaSource::Plain(text), .. }) if self.writing.style.takes(inner, self.writing.losses) => {
                Some(Piece::Text(text.borrowed()))
            }
            _ if !self.writing.style.takes(inner, self.writing.losses) => None,
            Kind::Media(_) if !self.writing.traits.media_tool_results => {
                self.returned.push((id.clone(), inner));
                let reason = "the endpoint takes texts only from tools: it stands in the next user's message";
                self.writing.losses.block(inner.origin, Severity::Changed, reason);
                Some(Piece::Text(Text::word("(See the attachment in the next user message.)")))
            }
            _ => Some(Piece::Part(inner)),
        }
    }

    fn assistant(&mut self, turn: &'c Turn<'c>, at: usize) {
        self.flush();
        let unnamed = &mut self.unnamed;
        let said = Said::of(self.writing, turn, |call, number| unnamed.called(call, at, number));
        self.list.object(|message| said.write(self.writing, turn, message));
        self.writing.lose_members(turn.origin, &turn.rest);
    }
}

/// A piece of a tool's message.
enum Piece<'b> {
    Text(Text<'b>),
    Part(&'b Block<'b>),
}

impl Piece<'_> {
    fn text(&self) -> Option<&Text<'_>> {
        match self {
            Piece::Text(text) => Some(text),
            Piece::Part(_) => None,
        }
    }

    fn write(&self, style: super::parts::Style, parts: &mut Array<'_>) {
        match self {
            Piece::Text(text) => {
                parts.object(|part| {
                    part.text("type", "text").escaped("text", text);
                });
            }
            Piece::Part(block) => style.write(block, parts),
        }
    }
}

/// Media that tools returned, each call's behind a line that names the call.
fn write_returned(returned: &[(Text<'_>, &Block<'_>)], style: super::parts::Style, parts: &mut Array<'_>) {
    let mut named = None;
    for (id, block) in returned {
        if named != Some(id) {
            let words = join([&Text::word("Returned by the tool call "), id, &Text::word(":")], "");
            parts.object(|part| {
                part.text("type", "text").escaped("text", &words);
            });
            named = Some(id);
        }
        style.write(block, parts);
    }
}

/// Ids for calls that came without: made from the call's place, found again by name and order.
#[derive(Default)]
struct Unnamed<'b> {
    open: Vec<(Text<'b>, Text<'static>)>,
}

impl<'b> Unnamed<'b> {
    fn called(&mut self, call: &'b ToolCall<'b>, turn: usize, block: usize) -> Text<'b> {
        if !call.id.is_empty() {
            return call.id.borrowed();
        }
        let id = made_id(turn, block);
        self.open.push((call.name.borrowed(), id.clone()));
        id
    }

    fn answered(&mut self, result: &'b ToolResult<'b>, turn: usize, block: usize) -> Text<'b> {
        if !result.id.is_empty() {
            return result.id.borrowed();
        }
        let by_name = self.open.iter().position(|(name, _)| result.name.as_ref().is_none_or(|wanted| wanted == name));
        match by_name {
            Some(at) => self.open.remove(at).1,
            None => made_id(turn, block),
        }
    }
}

fn made_id(turn: usize, block: usize) -> Text<'static> {
    Text::owned(format!("call_{turn}_{block}").into_bytes())
}

/// Arguments as the endpoint takes them: free text becomes an object where it knows no custom tools.
pub(super) fn known_arguments<'a>(arguments: &'a Arguments<'_>, no_custom_tools: bool) -> Arguments<'a> {
    match arguments {
        Arguments::Free(text) if no_custom_tools => Arguments::Json(wrapped("input", text)),
        Arguments::Free(text) => Arguments::Free(text.borrowed()),
        Arguments::Json(value) => Arguments::Json(value.borrowed()),
        Arguments::Quoted(text) => Arguments::Quoted(text.borrowed()),
    }
}
