//! Instructions and the conversation.
//!
//! Gemini wants turns that alternate, every call answered in the turn behind it by as many answers as there were calls, and a signature on
//! the first call of a step. What a turn becomes depends on the turns before it and on the answers to its calls, never on what follows
//! these, so that a longer conversation begins with the same bytes.

use fairlead_ir::block::{Media, MediaSource, Seal, Thought, ToolCall, ToolResult};
use fairlead_ir::{Block, Kind, Member, Origin, Role, Severity, Text, Turn};

use super::Writing;
use crate::gemini_generate::wire::NO_SIGNATURE;
use crate::gemini_generate::wire::media::write_inner;
use crate::gemini_generate::wire::part::{write_answer, write_call, write_media, write_opaque, write_text};
use crate::text::quote;
use crate::write::{Array, Object, write_escaped};

const USER: &str = "user";
const MODEL: &str = "model";

/// Writes the leading instructions where the model takes them apart from the conversation.
pub(super) fn write_system(writing: &mut Writing<'_, '_>, body: &mut Object<'_>) {
    let turns = &writing.request.turns[..apart(writing)];
    if turns.iter().all(|turn| turn.blocks.is_empty()) {
        return;
    }
    let mut json = Vec::new();
    let mut parts = Array::open(&mut json);
    for turn in turns {
        writing.lose_rest(turn.origin, &turn.rest);
        for block in &turn.blocks {
            write_instruction(block, writing, &mut parts);
        }
    }
    parts.close();
    if json != b"[]" {
        body.object("systemInstruction", |system| {
            system.raw("parts", &json);
            if writing.own {
                for turn in turns {
                    system.members(&turn.rest);
                }
            }
        });
    }
}

/// How many leading turns are written apart from the conversation: none where the model knows no instructions, or would have nothing else.
fn apart(writing: &Writing<'_, '_>) -> usize {
    let leading = writing.request.leading_instructions();
    let alone = leading == writing.request.turns.len() && !writing.own;
    if writing.target.traits.no_system_role || alone { 0 } else { leading }
}

fn write_instruction(block: &Block<'_>, writing: &mut Writing<'_, '_>, parts: &mut Array<'_>) {
    lose_marks(block, writing);
    let seal = block.seal.as_ref().map(|seal| &seal.data);
    match &block.kind {
        Kind::Text { text, .. } if text.is_empty() && seal.is_none() => {}
        Kind::Text { text, .. } => write_text(text, false, seal, own_rest(block, writing), parts.element()),
        Kind::Media(media) if writing.own => {
            let mut part = Vec::new();
            if write_media(media, true, seal, &block.rest, &mut part).is_ok() {
                parts.raw(&part);
            }
        }
        Kind::Opaque { raw, .. } if writing.own => write_opaque(raw, seal, &block.rest, parts.element()),
        _ => writing.losses.block(block.origin, Severity::Dropped, "Gemini takes instructions as text only"),
    }
}

/// Writes the conversation.
pub(super) fn write(writing: &mut Writing<'_, '_>, body: &mut Object<'_>) {
    let turns = &writing.request.turns[apart(writing)..];
    let out = body.key("contents");
    out.push(b'[');
    let leading = writing.request.leading_instructions() - apart(writing);
    let mut contents = Contents { writing, out, role: None, first: true, leading, step_has_call: false, open: Vec::new() };
    match contents.writing.own {
        true => turns.iter().for_each(|turn| contents.own_turn(turn)),
        false => contents.turns(turns),
    }
    contents.end();
    contents.out.push(b']');
}

/// The conversation while it is written.
struct Contents<'c, 'w, 'r> {
    writing: &'c mut Writing<'w, 'r>,
    out: &'c mut Vec<u8>,
    /// Whose content is open.
    role: Option<&'static str>,
    first: bool,
    /// So many instructions stand at the front of the conversation.
    leading: usize,
    /// The model's content has a call already.
    step_has_call: bool,
    /// The calls that were not answered yet.
    open: Vec<OpenCall<'w>>,
}

/// A call that waits for its answer.
struct OpenCall<'w> {
    id: &'w Text<'w>,
    name: &'w Text<'w>,
    origin: Origin,
}

/// An answer, and whether a call took it.
struct Answer<'w> {
    block: &'w Block<'w>,
    result: &'w ToolResult<'w>,
    taken: bool,
}

impl<'w> Contents<'_, 'w, '_> {
    /// The place for the next part of `role`, in a content that is open or opened for it.
    fn part(&mut self, role: &'static str) -> &mut Vec<u8> {
        if self.role == Some(role) {
            self.out.push(b',');
            return self.out;
        }
        self.end();
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out.extend_from_slice(format!("{{\"role\":\"{role}\",\"parts\":[").as_bytes());
        (self.role, self.step_has_call) = (Some(role), false);
        self.out
    }

    fn end(&mut self) {
        if self.role.take().is_some() {
            self.out.extend_from_slice(b"]}");
        }
    }

    /// A turn of this dialect, as it was.
    fn own_turn(&mut self, turn: &'w Turn<'_>) {
        self.end();
        let role = if turn.role == Role::Assistant { MODEL } else { USER };
        for block in &turn.blocks {
            match &block.kind {
                Kind::ToolResult(result) => self.answer(result.name.as_ref().unwrap_or(&Text::EMPTY), result, block, &mut Vec::new()),
                _ => self.block(role, block),
            }
        }
        if self.role.take().is_some() {
            self.out.push(b']');
            for member in &turn.rest {
                self.out.push(b',');
                write_escaped(self.out, &member.name);
                self.out.push(b':');
                self.out.extend_from_slice(member.value.as_bytes());
            }
            self.out.push(b'}');
        }
    }

    /// Turns of another dialect: neighbours of one role become one content.
    fn turns(&mut self, turns: &'w [Turn<'_>]) {
        let mut at = 0;
        while at < turns.len() {
            let run = turns[at..].iter().take_while(|turn| turn.role != Role::Assistant).count();
            match run {
                0 => self.turn(MODEL, &turns[at]),
                _ => self.user_turns(&turns[at..at + run]),
            }
            at += run.max(1);
        }
    }

    /// Everything between two turns of the model: first the answers to its calls, one each and in the order of the calls.
    fn user_turns(&mut self, turns: &'w [Turn<'_>]) {
        let mut answers: Vec<Answer<'w>> = turns.iter().flat_map(|turn| &turn.blocks).filter_map(Answer::of).collect();
        let mut media = Vec::new();
        for call in std::mem::take(&mut self.open) {
            let name = self.writing.tool_name(call.name);
            match answers.iter_mut().find(|answer| answer.is_for(&call)) {
                Some(answer) => {
                    answer.taken = true;
                    self.answer(&name, answer.result, answer.block, &mut media);
                }
                None => self.missing_answer(&name, &call),
            }
        }
        media.into_iter().for_each(|block| self.block(USER, block));
        for turn in turns {
            self.turn(USER, turn);
        }
        let is_stray = |answer: &&Answer<'_>| !answer.taken;
        for answer in answers.iter().filter(is_stray) {
            self.stray_answer(answer);
        }
    }

    /// The blocks of a turn but its answers to calls.
    fn turn(&mut self, role: &'static str, turn: &'w Turn<'_>) {
        self.writing.lose_rest(turn.origin, &turn.rest);
        if turn.role.is_instruction() {
            return self.late_instruction(turn);
        }
        let mut name = turn.name.as_ref();
        for block in &turn.blocks {
            match (&block.kind, name) {
                (Kind::ToolResult(_), _) => {}
                (Kind::Text { text, .. }, Some(speaker)) if !text.is_empty() => {
                    name = None;
                    self.writing.losses.block(
                        turn.origin,
                        Severity::Changed,
                        "Gemini knows no names of speakers; it stands before the text",
                    );
                    let named = [speaker.as_bytes(), b": ", text.as_bytes()].concat();
                    let kind = Kind::Text { text: Text::owned(named), citations: Vec::new() };
                    self.block_of(role, block, &kind);
                }
                _ => self.block(role, block),
            }
        }
        if name.is_some() {
            self.writing.losses.block(turn.origin, Severity::Dropped, "Gemini knows no names of speakers, and no text could carry it");
        }
    }

    /// An instruction amid the conversation stays where it is: moved to the front it would change every prefix.
    fn late_instruction(&mut self, turn: &'w Turn<'_>) {
        let is_leading = self.leading > 0;
        self.leading = self.leading.saturating_sub(1);
        let reason = match is_leading {
            true => "the model takes no instructions apart from the conversation; they are sent as a user's text",
            false => "Gemini takes instructions at the front only; this one is sent as a user's text",
        };
        self.writing.losses.block(turn.origin, Severity::Changed, reason);
        for block in &turn.blocks {
            match &block.kind {
                Kind::Text { text, .. } if !text.is_empty() => {
                    let marked = match is_leading {
                        true => text.borrowed(),
                        false => Text::owned([b"<system>\\n", text.as_bytes(), b"\\n</system>"].concat()),
                    };
                    self.block_of(USER, block, &Kind::Text { text: marked, citations: Vec::new() });
                }
                _ => self.block(USER, block),
            }
        }
    }

    fn block(&mut self, role: &'static str, block: &'w Block<'_>) {
        if let Kind::ToolCall(call) = &block.kind {
            lose_marks(block, self.writing);
            self.open.push(OpenCall { id: &call.id, name: &call.name, origin: block.origin });
            return self.call(call, block);
        }
        self.block_of(role, block, &block.kind);
    }

    /// Writes `kind` in the place of the block's own.
    fn block_of(&mut self, role: &'static str, block: &Block<'_>, kind: &Kind<'_>) {
        lose_marks(block, self.writing);
        let (origin, own) = (block.origin, self.writing.own);
        let seal = seal_of(block);
        let rest = own_rest(block, self.writing);
        match kind {
            Kind::Text { text, .. } if text.is_empty() && seal.is_none() => {}
            Kind::Text { text, citations } => {
                if !citations.is_empty() {
                    self.writing.losses.block(origin, Severity::Hint, "Gemini has no place for citations in a request");
                }
                write_text(text, false, seal, rest, self.part(role));
            }
            Kind::Refusal(text) => {
                self.writing.losses.block(origin, Severity::Hint, "Gemini knows no refusals; it is sent as a text");
                write_text(text, false, seal, rest, self.part(role));
            }
            Kind::Thought(thought) => self.thought(role, thought, block),
            Kind::Media(media) => self.media(role, media, block),
            Kind::Opaque { raw, .. } if own => write_opaque(raw, seal, rest, self.part(role)),
            Kind::Opaque { word, .. } => {
                let word = String::from_utf8_lossy(word.as_bytes()).into_owned();
                self.writing.losses.block(
                    origin,
                    Severity::Dropped,
                    format!("\"{word}\" means something to the dialect it was written in only"),
                );
            }
            // They are written by those who know the calls.
            Kind::ToolCall(_) | Kind::ToolResult(_) => {}
        }
    }

    fn thought(&mut self, role: &'static str, thought: &Thought<'_>, block: &Block<'_>) {
        let (seal, rest) = (seal_of(block), own_rest(block, self.writing));
        let Some((last, others)) = thought.parts.split_last() else {
            match seal {
                Some(_) => write_text(&Text::EMPTY, true, seal, rest, self.part(role)),
                None => self.writing.losses.block(block.origin, Severity::Hint, "of this thought there is no text"),
            }
            return;
        };
        for part in others {
            write_text(&part.text, true, None, &[], self.part(role));
        }
        write_text(&last.text, true, seal, rest, self.part(role));
    }

    fn media(&mut self, role: &'static str, media: &Media<'_>, block: &Block<'_>) {
        lose_media_hints(media, block.origin, self.writing);
        let mut part = Vec::new();
        match write_media(media, self.writing.own, seal_of(block), own_rest(block, self.writing), &mut part) {
            Ok(()) => self.part(role).extend_from_slice(&part),
            Err(reason) => self.writing.losses.block(block.origin, Severity::Dropped, reason),
        }
    }

    fn call(&mut self, call: &ToolCall<'_>, block: &Block<'_>) {
        let name = self.writing.tool_name(&call.name);
        let id = self.id(&call.id);
        let rest = own_rest(block, self.writing);
        self.part(MODEL);
        let is_first = !std::mem::replace(&mut self.step_has_call, true);
        let needs_seal = is_first && self.writing.target.traits.thought_signatures;
        let seal = seal_of(block).or(Some(&NO_SIGNATURE).filter(|_| needs_seal));
        if !write_call(id, &name, &call.arguments, seal, rest, self.out) {
            let reason = "the arguments are no JSON object; Gemini gets them as the text \"_raw\" of one";
            self.writing.losses.block(block.origin, Severity::Changed, reason);
        }
    }

    fn id<'t>(&self, id: &'t Text<'t>) -> Option<&'t Text<'t>> {
        Some(id).filter(|id| !id.is_empty() && !self.writing.target.traits.no_function_ids)
    }

    /// Writes an answer; media that cannot be in it are left in `media`.
    fn answer(&mut self, name: &Text<'_>, result: &'w ToolResult<'_>, block: &'w Block<'_>, media: &mut Vec<&'w Block<'w>>) {
        lose_marks(block, self.writing);
        let (mut values, mut parts) = (Vec::new(), Vec::new());
        let mut list = Array::open(&mut parts);
        for inner in &result.content {
            self.sort_answer(inner, block.origin, &mut values, &mut list, media);
        }
        list.close();
        let id = self.id(&result.id);
        let rest = own_rest(block, self.writing);
        let mut part = Object::open(self.part(USER));
        part.object("functionResponse", |answer| {
            answer.optional_escaped("id", id).escaped("name", name);
            write_answer(&values, result.is_error, answer.key("response"));
            if parts != b"[]" {
                answer.raw("parts", &parts);
            }
            write_inner("functionResponse", rest, answer);
        });
        part.close();
    }

    /// Puts a piece of an answer where Gemini has a place for its like.
    fn sort_answer(
        &mut self,
        inner: &'w Block<'_>,
        origin: Origin,
        values: &mut Vec<&'w Block<'w>>,
        parts: &mut Array<'_>,
        media: &mut Vec<&'w Block<'w>>,
    ) {
        let why_not = match &inner.kind {
            Kind::Text { .. } | Kind::Refusal(_) | Kind::Media(Media { source: MediaSource::Plain(_), .. }) => {
                values.push(inner);
                return;
            }
            Kind::Opaque { word, .. } if word.is("json") => {
                values.push(inner);
                return;
            }
            Kind::Media(_) if self.writing.target.traits.no_media_results && !self.writing.own => {
                media.push(inner);
                self.writing.losses.block(origin, Severity::Changed, "the model takes no media in answers; they follow the answers");
                return;
            }
            Kind::Media(found) => {
                lose_media_hints(found, origin, self.writing);
                let mut part = Vec::new();
                let written = write_media(found, self.writing.own, seal_of(inner), own_rest(inner, self.writing), &mut part);
                match written {
                    Ok(()) => {
                        parts.raw(&part);
                        return;
                    }
                    Err(reason) => reason,
                }
            }
            _ => "a part of the answer means something to the dialect it was written in only",
        };
        self.writing.losses.block(origin, Severity::Dropped, why_not);
    }

    fn missing_answer(&mut self, name: &Text<'_>, call: &OpenCall<'_>) {
        let id = self.id(call.id);
        let mut part = Object::open(self.part(USER));
        part.object("functionResponse", |answer| {
            answer.optional_escaped("id", id).escaped("name", name).raw("response", br#"{"error":"no answer was given"}"#);
        });
        part.close();
        self.writing.losses.block(
            call.origin,
            Severity::Changed,
            "Gemini wants an answer to every call; an error stands for the missing one",
        );
    }

    fn stray_answer(&mut self, answer: &Answer<'w>) {
        let reason = "Gemini takes answers to the calls just before them only; this one is sent as a text";
        self.writing.losses.block(answer.block.origin, Severity::Changed, reason);
        for block in &answer.result.content {
            match &block.kind {
                Kind::Opaque { word, raw } if word.is("json") => {
                    write_text(&quote(raw), false, None, &[], self.part(USER));
                }
                _ => self.block(USER, block),
            }
        }
    }
}

impl<'w> Answer<'w> {
    fn of(block: &'w Block<'_>) -> Option<Answer<'w>> {
        match &block.kind {
            Kind::ToolResult(result) => Some(Answer { block, result, taken: false }),
            _ => None,
        }
    }

    fn is_for(&self, call: &OpenCall<'_>) -> bool {
        let same_name = self.result.name.as_ref().is_none_or(|name| name == call.name);
        !self.taken && if self.result.id.is_empty() { same_name } else { self.result.id == *call.id }
    }
}

fn seal_of<'b>(block: &'b Block<'_>) -> Option<&'b Text<'b>> {
    block.seal.as_ref().map(|Seal { data, .. }| data)
}

/// What is kept with a block, where it may be written.
fn own_rest<'b>(block: &'b Block<'b>, writing: &Writing<'_, '_>) -> &'b [Member<'b>] {
    if writing.own { &block.rest } else { &[] }
}

fn lose_marks(block: &Block<'_>, writing: &mut Writing<'_, '_>) {
    if block.cache.is_some() {
        writing.losses.block(block.origin, Severity::Hint, "Gemini caches prompts by itself");
    }
    writing.lose_rest(block.origin, &block.rest);
}

fn lose_media_hints(media: &Media<'_>, origin: Origin, writing: &mut Writing<'_, '_>) {
    if writing.own {
        return;
    }
    if media.detail.is_some() {
        writing.losses.block(origin, Severity::Hint, "Gemini chooses itself how closely to look");
    }
    if media.name.is_some() {
        writing.losses.block(origin, Severity::Hint, "Gemini has no place for a file's name");
    }
    if matches!(media.source, MediaSource::Plain(_)) {
        writing.losses.block(origin, Severity::Changed, "Gemini knows no documents of plain text; it is sent as a text");
    }
}
