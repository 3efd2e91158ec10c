//! One choice of a stream: blocks out of deltas that only say what is new.

use fairlead_ir::block::{Citation, Media, MediaClass, MediaSource, ThoughtShape};
use fairlead_ir::{Delta, Event, Head, Raw, Stop, StopReason, Text};

use super::calls::Calls;
use super::frame::{self, Fragment, Hole, Parts};
use crate::json::is_complete;
use crate::json::walk::{self, Cursor};
use crate::openai_chat::wire::citations::read_annotation;
use crate::openai_chat::wire::message::read_image;
use crate::openai_chat::wire::tags::{Piece, Tags};
use crate::openai_chat::wire::thoughts::{Entry, Form, THOUGHT_SIGNATURE};
use crate::openai_chat::wire::words::{settled, stop_reason};
use crate::read::{Malformed, Reader};
use crate::text::{decode, is_sound};

/// So many signatures may wait for their calls.
const MAX_WAITING_SEALS: usize = 1024;

/// Takes the events of a stream.
pub(super) type Sink<'s> = &'s mut dyn FnMut(Event<'_>);

/// The state of one choice.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) index: u32,
    salt: u32,
    next: u32,
    text: Option<u32>,
    refusal: Option<u32>,
    /// A refusal has been begun.
    refused: bool,
    thought: Option<OpenThought>,
    calls: Calls,
    /// Signatures whose calls have not begun: id and data.
    waiting_seals: Vec<(Text<'static>, Text<'static>)>,
    tags: Option<Tags>,
    finish: Option<Finish>,
}

#[derive(Debug)]
struct OpenThought {
    block: u32,
    index: Option<u64>,
    id: Option<Text<'static>>,
    /// The readable part that is being written.
    part: Option<(u32, ThoughtShape)>,
    seal: Option<Text<'static>>,
}

/// Why the choice ended, in the host's words.
#[derive(Debug)]
struct Finish {
    reason: StopReason,
    native: Text<'static>,
    sequence: Option<Text<'static>>,
}

impl Choice {
    pub(super) fn new(index: u32, salt: u32, think_tags: bool) -> Choice {
        Choice {
            index,
            salt,
            next: 0,
            text: None,
            refusal: None,
            refused: false,
            thought: None,
            calls: Calls::default(),
            waiting_seals: Vec::new(),
            tags: think_tags.then(Tags::default),
            finish: None,
        }
    }

    /// Whether its end was told.
    pub(super) fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// Whether its end is a failure.
    pub(super) fn has_failed(&self) -> bool {
        self.finish.as_ref().is_some_and(|finish| finish.reason == StopReason::Failed)
    }

    /// Takes what a chunk says about this choice.
    pub(super) fn take(&mut self, choice: &frame::Choice<'_>, sink: Sink<'_>) -> Result<(), Malformed> {
        self.take_parts(&choice.delta, sink).map_err(|fault| fault.in_member("delta"))?;
        if let Some(logprobs) = choice.logprobs.filter(|logprobs| is_complete(logprobs)) {
            sink(Event::Logprobs { choice: self.index, logprobs: Raw::json(logprobs) });
        }
        if let (Some(word), None) = (choice.finish, &self.finish) {
            self.take_finish(word, choice, sink);
        }
        Ok(())
    }

    /// Takes the text of a chunk that is otherwise the same as the one before; it is known to be sound.
    pub(super) fn go_on(&mut self, hole: Hole, text: &[u8], sink: Sink<'_>) -> Result<(), Malformed> {
        match hole {
            Hole::Content => self.say(text, sink),
            Hole::Reasoning => self.think(ThoughtShape::Full, text, sink),
            Hole::Arguments(index) => {
                let at = self.calls.place(&Fragment { index, ..Fragment::default() }, self.salt, self.index)?;
                let piece = self.calls.list[at].piece_of_text(Text::escaped(text));
                self.tell_arguments(at, piece, sink);
            }
        }
        Ok(())
    }

    fn take_parts(&mut self, parts: &Parts<'_>, sink: Sink<'_>) -> Result<(), Malformed> {
        let mut readable = false;
        if let Some(details) = parts.details {
            readable = self.take_details(details, sink).map_err(|fault| fault.in_member("reasoning_details"))?;
        }
        if let Some(reasoning) = parts.reasoning.filter(|_| !readable) {
            let text = inside(reasoning).map_err(|fault| fault.in_member("reasoning"))?;
            self.think(ThoughtShape::Full, text, sink);
        }
        if let Some(content) = parts.content {
            self.take_content(content, sink).map_err(|fault| fault.in_member("content"))?;
        }
        if let Some(refusal) = parts.refusal {
            self.refuse(inside(refusal).map_err(|fault| fault.in_member("refusal"))?, sink);
        }
        if let Some(annotations) = parts.annotations {
            self.take_annotations(annotations, sink).map_err(|fault| fault.in_member("annotations"))?;
        }
        if let Some(images) = parts.images {
            self.take_images(images, sink).map_err(|fault| fault.in_member("images"))?;
        }
        if let Some(audio) = parts.audio {
            self.take_audio(audio, sink).map_err(|fault| fault.in_member("audio"))?;
        }
        if let Some(calls) = parts.calls {
            self.take_calls(calls, sink).map_err(|fault| fault.in_member("tool_calls"))?;
        }
        if let Some(call) = parts.function_call {
            let fragment = Fragment::read_older(&mut Cursor::new(call))?;
            self.take_call(&fragment, sink).map_err(|fault| fault.in_member("function_call"))?;
        }
        Ok(())
    }

    // --- texts --------------------------------------------------------------------------------------------------------

    fn take_content(&mut self, content: &[u8], sink: Sink<'_>) -> Result<(), Malformed> {
        match content.first() {
            Some(b'"') => self.say(inside(content)?, sink),
            Some(b'[') => self.take_chunks(content, sink)?,
            _ => return Err(Malformed::new("must be a string or an array")),
        }
        Ok(())
    }

    /// A piece of the reply's text, known to be sound.
    pub(super) fn say(&mut self, text: &[u8], sink: Sink<'_>) {
        let Some(mut tags) = self.tags.take() else { return self.tell(text, sink) };
        tags.feed(text, &mut |piece| self.take_piece(piece, sink));
        self.tags = Some(tags);
    }

    fn take_piece(&mut self, piece: Piece<'_>, sink: Sink<'_>) {
        match piece {
            Piece::Thought(text) => self.think(ThoughtShape::Full, text, sink),
            Piece::Said(text) => self.tell(text, sink),
        }
    }

    fn tell(&mut self, text: &[u8], sink: Sink<'_>) {
        self.tell_in(|choice| &mut choice.text, Head::Text, text, sink);
    }

    fn refuse(&mut self, text: &[u8], sink: Sink<'_>) {
        self.refused |= !text.is_empty();
        self.tell_in(|choice| &mut choice.refusal, Head::Refusal, text, sink);
    }

    fn tell_in(&mut self, slot: fn(&mut Choice) -> &mut Option<u32>, head: Head<'_>, text: &[u8], sink: Sink<'_>) {
        if text.is_empty() {
            return;
        }
        let block = self.block(slot, head, sink);
        sink(Event::Delta { choice: self.index, block, delta: Delta::Text(Text::escaped(text)) });
    }

    /// The open block of a kind that is remembered in `slot`, begun where there is none.
    fn block(&mut self, slot: fn(&mut Choice) -> &mut Option<u32>, head: Head<'_>, sink: Sink<'_>) -> u32 {
        if let Some(block) = *slot(self) {
            return block;
        }
        self.close_texts(sink);
        let block = self.open(head, sink);
        *slot(self) = Some(block);
        block
    }

    /// Mistral's list of chunks.
    fn take_chunks(&mut self, chunks: &[u8], sink: Sink<'_>) -> Result<(), Malformed> {
        for chunk in walk::elements(chunks) {
            let chunk = chunk?.value;
            let reader = Reader::new(chunk);
            match reader.peek("type") {
                Some(word) if word.is("text") => {
                    let text = reader.peek("text").unwrap_or_default();
                    self.say(sound(&text)?, sink);
                }
                Some(word) if word.is("thinking") => self.take_thinking(chunk, sink)?,
                Some(word) if is_complete(chunk) => self.whole(Head::Opaque { word, raw: Raw::json(chunk) }, sink),
                _ => return Err(Malformed::new("must be chunks with a type")),
            }
        }
        Ok(())
    }

    fn take_thinking(&mut self, chunk: &[u8], sink: Sink<'_>) -> Result<(), Malformed> {
        let Some(inner) = walk::member(chunk, "thinking")? else { return Ok(()) };
        for part in walk::elements(inner.value) {
            let text = Reader::new(part?.value).peek("text").unwrap_or_default();
            self.think(ThoughtShape::Full, sound(&text)?, sink);
        }
        Ok(())
    }

    fn take_annotations(&mut self, annotations: &[u8], sink: Sink<'_>) -> Result<(), Malformed> {
        if !is_complete(annotations) {
            return Err(Malformed::new("is not valid JSON"));
        }
        for annotation in walk::elements(annotations) {
            let citation = read_annotation(&mut Reader::new(annotation?.value))?;
            self.cite(citation, sink);
        }
        Ok(())
    }

    /// Sources belong to the text; some hosts send them before it.
    fn cite(&mut self, citation: Citation<'_>, sink: Sink<'_>) {
        let block = self.block(|choice| &mut choice.text, Head::Text, sink);
        sink(Event::Delta { choice: self.index, block, delta: Delta::Citation(citation) });
    }

    // --- media --------------------------------------------------------------------------------------------------------

    fn take_images(&mut self, images: &[u8], sink: Sink<'_>) -> Result<(), Malformed> {
        if !is_complete(images) {
            return Err(Malformed::new("is not valid JSON"));
        }
        for image in walk::elements(images) {
            if let Some(media) = read_image(&mut Reader::new(image?.value))? {
                self.whole(Head::Media(media), sink);
            }
        }
        Ok(())
    }

    /// Sound comes in pieces that can be told apart; what is said in it comes as a transcript, which is text.
    fn take_audio(&mut self, audio: &[u8], sink: Sink<'_>) -> Result<(), Malformed> {
        let reader = Reader::new(audio);
        if let Some(transcript) = reader.peek("transcript") {
            self.tell(sound(&transcript)?, sink);
        }
        if let Some(data) = reader.peek("data").filter(|data| !data.is_empty()) {
            sound(&data)?;
            let source = MediaSource::Base64 { mime: Text::EMPTY, data };
            self.whole(Head::Media(Media { class: MediaClass::Audio, source, detail: None, name: None }), sink);
        }
        Ok(())
    }

    // --- thoughts -----------------------------------------------------------------------------------------------------

    fn think(&mut self, shape: ThoughtShape, text: &[u8], sink: Sink<'_>) {
        if text.is_empty() {
            return;
        }
        if self.thought.as_ref().is_none_or(|thought| thought.seal.is_some()) {
            self.begin_thought(None, None, false, sink);
        }
        self.tell_thought(shape, text, sink);
    }

    fn tell_thought(&mut self, shape: ThoughtShape, text: &[u8], sink: Sink<'_>) {
        let choice = self.index;
        let Some(thought) = &mut self.thought else { return };
        let part = match thought.part {
            Some((part, before)) if before == shape => part,
            Some((part, _)) => part + 1,
            None => 0,
        };
        thought.part = Some((part, shape));
        let delta = Delta::Thought { shape, part, text: Text::escaped(text) };
        sink(Event::Delta { choice, block: thought.block, delta });
    }

    fn begin_thought(&mut self, id: Option<Text<'_>>, index: Option<u64>, redacted: bool, sink: Sink<'_>) {
        self.close_texts(sink);
        let block = self.open(Head::Thought { id: id.as_ref().map(Text::borrowed), redacted }, sink);
        self.thought = Some(OpenThought { block, index, id: id.map(Text::into_owned), part: None, seal: None });
    }

    /// Takes OpenRouter's entries; whether one of them was readable.
    fn take_details(&mut self, details: &[u8], sink: Sink<'_>) -> Result<bool, Malformed> {
        let mut readable = false;
        for element in walk::elements(details) {
            let element = element?.value;
            let entry = Entry::read(&mut Reader::new(element))?;
            for text in [Some(&entry.text), entry.signature.as_ref(), entry.id.as_ref()].into_iter().flatten() {
                sound(text)?;
            }
            readable |= matches!(entry.form, Form::Text | Form::Summary) && !entry.text.is_empty();
            match entry.form {
                Form::Text => self.take_readable(ThoughtShape::Full, entry, sink),
                Form::Summary => self.take_readable(ThoughtShape::Summary, entry, sink),
                Form::Encrypted => self.take_encrypted(entry, sink)?,
                Form::Other(word, _) if is_complete(element) => self.whole(Head::Opaque { word, raw: Raw::json(element) }, sink),
                Form::Other(..) => return Err(Malformed::new("is not valid JSON")),
            }
        }
        Ok(readable)
    }

    /// Whether an entry goes on with the open thought.
    fn goes_on(&self, entry: &Entry<'_>) -> bool {
        let same =
            |thought: &OpenThought| thought.index == entry.index && (entry.id.is_none() || thought.id.is_none() || thought.id == entry.id);
        self.thought.as_ref().is_some_and(same)
    }

    fn take_readable(&mut self, shape: ThoughtShape, entry: Entry<'_>, sink: Sink<'_>) {
        let is_sealed = self.thought.as_ref().is_some_and(|thought| thought.seal.is_some());
        let says_nothing = entry.text.is_empty() && entry.signature.is_none();
        if says_nothing {
            return;
        }
        if !self.goes_on(&entry) || is_sealed && !entry.text.is_empty() {
            self.begin_thought(entry.id, entry.index, false, sink);
        }
        if !entry.text.is_empty() {
            self.tell_thought(shape, entry.text.as_bytes(), sink);
        }
        if let Some(signature) = entry.signature {
            self.seal_thought(signature, sink);
        }
    }

    fn take_encrypted(&mut self, entry: Entry<'_>, sink: Sink<'_>) -> Result<(), Malformed> {
        if entry.may_be_of_call() && self.seal_call(&entry, sink)? {
            return Ok(());
        }
        let seal = self.thought.as_ref().and_then(|thought| thought.seal.as_ref());
        let goes_on = self.goes_on(&entry);
        if goes_on && seal.is_some_and(|seal| *seal == entry.text) {
            return Ok(());
        }
        if !goes_on || seal.is_some() {
            let redacted = entry.is_redacted();
            self.begin_thought(entry.id, entry.index, redacted, sink);
        }
        self.seal_thought(entry.text, sink);
        Ok(())
    }

    fn seal_thought(&mut self, seal: Text<'_>, sink: Sink<'_>) {
        let choice = self.index;
        if let Some(thought) = &mut self.thought {
            sink(Event::Delta { choice, block: thought.block, delta: Delta::Seal(seal.borrowed()) });
            thought.seal = Some(seal.into_owned());
        }
    }

    /// Puts a signature on the call with its id, or keeps it until that call begins; `false`: it is no call's.
    fn seal_call(&mut self, entry: &Entry<'_>, sink: Sink<'_>) -> Result<bool, Malformed> {
        let Some(id) = &entry.id else { return Ok(false) };
        let choice = self.index;
        let called = self.calls.list.iter().find(|call| call.id == *id && call.open);
        if let Some(block) = called.and_then(|call| call.block) {
            sink(Event::Delta { choice, block, delta: Delta::Seal(entry.text.borrowed()) });
            return Ok(true);
        }
        if !entry.format.as_ref().is_some_and(|format| format.is(THOUGHT_SIGNATURE)) {
            return Ok(false);
        }
        if self.waiting_seals.len() >= MAX_WAITING_SEALS {
            return Err(Malformed::new(format!("has more than {MAX_WAITING_SEALS} signatures without a call")));
        }
        self.waiting_seals.push((id.clone().into_owned(), entry.text.clone().into_owned()));
        Ok(true)
    }

    // --- calls --------------------------------------------------------------------------------------------------------

    fn take_calls(&mut self, calls: &[u8], sink: Sink<'_>) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(calls);
        let mut level = cursor.enter(b'[')?;
        let mut at = 0;
        while cursor.next_element(&mut level)? {
            let fragment = Fragment::read(&mut cursor)?;
            self.take_call(&fragment, sink).map_err(|fault| fault.in_element(at))?;
            at += 1;
        }
        Ok(())
    }

    fn take_call(&mut self, fragment: &Fragment<'_>, sink: Sink<'_>) -> Result<(), Malformed> {
        let says_nothing = fragment.id.is_none() && fragment.name.is_none() && fragment.arguments.is_none_or(|text| text == b"\"\"");
        if says_nothing {
            return Ok(());
        }
        let at = self.calls.place(fragment, self.salt, self.index)?;
        if let Some(name) = fragment.name.filter(|_| self.calls.list[at].block.is_none()) {
            self.calls.list[at].name = Text::owned(checked(name)?.to_vec());
            self.calls.list[at].free |= fragment.free;
            self.open_call(at, sink);
        }
        if let Some(arguments) = fragment.arguments {
            let piece = self.calls.list[at].piece(arguments)?;
            self.tell_arguments(at, piece, sink);
        }
        Ok(())
    }

    fn tell_arguments(&mut self, at: usize, piece: Option<Text<'_>>, sink: Sink<'_>) {
        let call = &mut self.calls.list[at];
        match (call.block.filter(|_| call.open), piece) {
            (Some(block), Some(piece)) => {
                call.told = true;
                sink(Event::Delta { choice: self.index, block, delta: Delta::Arguments(piece) });
            }
            (None, Some(piece)) if call.block.is_none() => call.waiting.extend_from_slice(piece.as_bytes()),
            _ => {}
        }
    }

    /// Opens the block of a call whose name is known, and closes those that are done.
    fn open_call(&mut self, at: usize, sink: Sink<'_>) {
        self.close_texts(sink);
        for earlier in 0..at {
            if self.calls.list[earlier].progress.is_done() {
                self.close_call(earlier, sink);
            }
        }
        let block = self.next;
        self.next += 1;
        let choice = self.index;
        let call = &mut self.calls.list[at];
        (call.block, call.open) = (Some(block), true);
        let head = Head::ToolCall { id: call.id.borrowed(), name: call.name.borrowed(), free: call.free };
        sink(Event::Open { choice, block, head });
        if let Some(waiting) = self.waiting_seals.iter().position(|(id, _)| *id == call.id) {
            let (_, seal) = self.waiting_seals.swap_remove(waiting);
            sink(Event::Delta { choice, block, delta: Delta::Seal(seal) });
        }
        if !call.waiting.is_empty() {
            call.told = true;
            sink(Event::Delta { choice, block, delta: Delta::Arguments(Text::escaped(&call.waiting)) });
            call.waiting = Vec::new();
        }
    }

    fn close_call(&mut self, at: usize, sink: Sink<'_>) {
        let choice = self.index;
        let call = &mut self.calls.list[at];
        let Some(block) = call.block.filter(|_| call.open) else { return };
        call.open = false;
        if !call.told && !call.free {
            sink(Event::Delta { choice, block, delta: Delta::Arguments(Text::word("{}")) });
        }
        sink(Event::Close { choice, block });
    }

    // --- ends ---------------------------------------------------------------------------------------------------------

    fn open(&mut self, head: Head<'_>, sink: Sink<'_>) -> u32 {
        let block = self.next;
        self.next += 1;
        sink(Event::Open { choice: self.index, block, head });
        block
    }

    /// A block that comes whole.
    fn whole(&mut self, head: Head<'_>, sink: Sink<'_>) {
        self.close_texts(sink);
        let block = self.open(head, sink);
        sink(Event::Close { choice: self.index, block });
    }

    /// Closes what another kind of block ends: deltas do not say so.
    fn close_texts(&mut self, sink: Sink<'_>) {
        let thought = self.thought.take().map(|thought| thought.block);
        for block in [thought, self.text.take(), self.refusal.take()].into_iter().flatten() {
            sink(Event::Close { choice: self.index, block });
        }
    }

    fn close_all(&mut self, sink: Sink<'_>) {
        if let Some(mut tags) = self.tags.take() {
            tags.finish(&mut |piece| self.take_piece(piece, sink));
        }
        self.close_texts(sink);
        for at in 0..self.calls.list.len() {
            let call = &self.calls.list[at];
            // A call that never got a name: what it was given must not vanish.
            if call.block.is_none() && !call.waiting.is_empty() {
                self.open_call(at, sink);
            }
            self.close_call(at, sink);
        }
        for (id, seal) in std::mem::take(&mut self.waiting_seals) {
            self.begin_thought(Some(id), None, false, sink);
            self.seal_thought(seal, sink);
        }
        self.close_texts(sink);
    }

    fn take_finish(&mut self, word: &[u8], choice: &frame::Choice<'_>, sink: Sink<'_>) {
        let word = Text::escaped(word);
        let sequence = choice.sequence.filter(|sequence| is_sound(sequence));
        let reason = match stop_reason(&decode(&word).unwrap_or_default()) {
            StopReason::End if sequence.is_some() => StopReason::StopSequence,
            reason => reason,
        };
        let native = choice.native.unwrap_or(word.as_bytes());
        let native = if is_sound(native) { Text::owned(native.to_vec()) } else { Text::EMPTY };
        self.finish = Some(Finish { reason, native, sequence: sequence.map(|text| Text::owned(text.to_vec())) });
        if reason != StopReason::Failed {
            self.close_all(sink);
        }
    }

    /// Tells the end. Without a word for it, the stream's own end is the word.
    pub(super) fn stop(&mut self, sink: Sink<'_>) {
        self.close_all(sink);
        let has_calls = self.calls.list.iter().any(|call| call.block.is_some());
        let finish = self.finish.take().unwrap_or(Finish { reason: StopReason::End, native: Text::EMPTY, sequence: None });
        let reason = settled(finish.reason, has_calls, self.refused);
        let stop = Stop { reason, native: finish.native, sequence: finish.sequence, details: None };
        sink(Event::Stop { choice: self.index, stop });
    }
}

/// The inside of a string that may be passed on.
pub(super) fn inside(value: &[u8]) -> Result<&[u8], Malformed> {
    match value {
        [b'"', inside @ .., b'"'] => checked(inside),
        _ => Err(Malformed::new("must be a string")),
    }
}

fn checked(inside: &[u8]) -> Result<&[u8], Malformed> {
    if is_sound(inside) { Ok(inside) } else { Err(Malformed::new("is no text")) }
}

fn sound<'t>(text: &'t Text<'_>) -> Result<&'t [u8], Malformed> {
    checked(text.as_bytes())
}
