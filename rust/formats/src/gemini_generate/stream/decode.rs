//! Reads a stream of this dialect.
//!
//! A chunk is a whole partial reply: its parts come behind those of the chunks before. Unsigned texts that follow one another are pieces
//! of one block; a part with a signature is a block of its own, because the signature has to return on the very part it came with.
//! The end is told by a `finishReason`, which some models write on every chunk, so that it counts when the connection has ended.

use fairlead_ir::block::{Arguments, Citation, ThoughtShape};
use fairlead_ir::response::Stop;
use fairlead_ir::{Delta, ErrorKind, Event, Head, Origin, Raw, StopReason, Text, Usage};
use memchr::memmem;

use super::fragments::{Fragments, quoted};
use super::shape::{Ordinary, Shapes};
use crate::error;
use crate::gemini_generate::response::decode::Feedback;
use crate::gemini_generate::wire::grounding::{self, Cited, is_plain};
use crate::gemini_generate::wire::part::{self, Call, Data, Part};
use crate::gemini_generate::wire::{Figures, fingerprint, logprobs, made_id, stop_reason, unix_seconds};
use crate::json::{Kind, is_complete};
use crate::openai_chat::wire::is_error;
use crate::read::{Malformed, Reader};
use crate::text::{escape, quote, unquote};
use crate::traits::Traits;

/// So many candidates are read; Google's limit is 8.
const MAX_CHOICES: u64 = 64;

/// What a decoder's events go to.
type Sink<'s> = &'s mut dyn FnMut(Event<'_>);

/// The state of one stream.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    started: bool,
    /// [`Event::End`] or [`Event::Fail`] was sent.
    ended: bool,
    choices: Vec<Channel>,
    figures: Figures,
    /// The figures that were sent last.
    usage: Option<Usage>,
    /// Why the prompt gets no answer: the word, and all of it.
    blocked: Option<(Vec<u8>, Vec<u8>)>,
    /// Tells ids of this reply from those of others.
    seed: u64,
    /// Ids that were made.
    made: u32,
    shapes: Shapes,
}

/// One candidate.
#[derive(Debug, Default)]
struct Channel {
    /// Something of it came.
    seen: bool,
    next: u32,
    open: Open,
    /// Text blocks so far, and whether their characters are bytes.
    texts: u32,
    foreign: bool,
    calls: bool,
    /// The last `finishReason`; empty when none came.
    finish: Vec<u8>,
    message: Option<Vec<u8>>,
    /// Citations that were sent.
    cited: usize,
    searches: u64,
}

/// The block that is open.
#[derive(Debug, Default)]
enum Open {
    #[default]
    Nothing,
    Text,
    Thought,
    /// A call whose arguments come in pieces, with its signature.
    Call(Fragments, Option<Vec<u8>>),
}

impl Decoder {
    /// Before the first event. Nothing of this dialect's streams is ambiguous, so that no trait is asked.
    pub(crate) fn new(_traits: Traits) -> Decoder {
        Decoder::default()
    }

    /// Takes the data of one event; it has no name in this dialect.
    ///
    /// # Errors
    /// The data is not what this dialect sends: the stream has failed.
    pub(crate) fn event(&mut self, _name: Option<&[u8]>, data: &[u8], sink: Sink<'_>) -> Result<(), Malformed> {
        let data = data.trim_ascii();
        // Gateways in between send `[DONE]`, and wrap their comments into data.
        if self.ended || matches!(data, b"" | [b':', ..] | b"[DONE]") {
            return Ok(());
        }
        if let Some(ordinary) = self.shapes.read(data)
            && ordinary.usage.is_none_or(|usage| self.figures.merge_plain(usage))
        {
            return self.ordinary(&ordinary, sink);
        }
        if !is_json(data) {
            return Err(Malformed::new("is not valid JSON"));
        }
        let mut reader = Reader::new(data);
        match reader.kind()? {
            // A piece of a stream that was asked for without `alt=sse`, or an error in Google's odd wrapping.
            Kind::Array => reader.array(|_, reader| self.chunk(reader, data, sink)),
            _ => {
                self.chunk(&mut reader, data, sink)?;
                self.shapes.learn(data);
                Ok(())
            }
        }
    }

    /// A chunk that is like others before it but for its text and figures.
    fn ordinary(&mut self, chunk: &Ordinary<'_>, sink: Sink<'_>) -> Result<(), Malformed> {
        let (choice, place) = self.place(chunk.choice)?;
        let (channel, text) = (&mut self.choices[place], Text::escaped(chunk.text));
        match chunk.thought {
            true => channel.thought(choice, text, None, sink),
            false => channel.text(choice, text, None, sink),
        }
        if chunk.usage.is_some() {
            self.tell_usage(sink);
        }
        Ok(())
    }

    /// The connection has ended.
    pub(crate) fn finish(&mut self, sink: Sink<'_>) {
        if self.ended {
            return;
        }
        if !self.started {
            sink(Event::Start { id: Text::EMPTY, model: Text::EMPTY, created_s: None });
        }
        self.ended = true;
        let mut seen = self.choices.iter().filter(|channel| channel.seen).peekable();
        let is_whole = match seen.peek() {
            None => self.blocked.is_some(),
            Some(_) => seen.all(|channel| !channel.finish.is_empty()),
        };
        if !is_whole {
            let message = Text::word("the provider's stream ended before the reply did");
            return sink(Event::Fail { kind: ErrorKind::ProviderUnavailable, message, code: Some(Text::word("upstream_truncated")) });
        }
        self.stop(sink);
        sink(Event::End);
    }

    fn stop(&mut self, sink: Sink<'_>) {
        for (choice, channel) in (0_u32..).zip(&mut self.choices).filter(|(_, channel)| channel.seen) {
            channel.close(choice, sink);
            let reason = match stop_reason(&channel.finish) {
                // Calls end with `STOP`.
                StopReason::End if channel.calls => StopReason::ToolCalls,
                reason => reason,
            };
            let details = channel.message.as_deref().map(Raw::json);
            let stop = Stop { reason, native: Text::escaped(&channel.finish), sequence: None, details };
            sink(Event::Stop { choice, stop });
        }
        if let (Some((reason, raw)), true) = (&self.blocked, self.choices.iter().all(|channel| !channel.seen)) {
            let (native, details) = (Text::escaped(reason), Some(Raw::json(raw)));
            sink(Event::Stop { choice: 0, stop: Stop { reason: StopReason::ContentFilter, native, sequence: None, details } });
        }
    }

    fn chunk(&mut self, reader: &mut Reader<'_>, data: &[u8], sink: Sink<'_>) -> Result<(), Malformed> {
        if self.ended {
            return reader.skip();
        }
        self.start(reader, data, sink)?;
        let mut failed = false;
        reader.object(|key, reader| match (key.name(), reader.kind()?) {
            ("candidates", Kind::Array) => reader.array(|_, reader| self.candidate(reader, sink)),
            ("usageMetadata", Kind::Object) => {
                self.figures.merge(reader.raw()?.as_bytes());
                Ok(())
            }
            ("promptFeedback", Kind::Object) => {
                let feedback = Feedback::read(reader)?;
                if let Some(reason) = feedback.reason {
                    self.blocked = Some((reason.as_bytes().to_vec(), feedback.raw.as_bytes().to_vec()));
                }
                Ok(())
            }
            ("error", _) => {
                failed |= is_error(reader.raw()?.as_bytes());
                Ok(())
            }
            _ => reader.skip(),
        })?;
        self.tell_usage(sink);
        if failed {
            self.fail(data, sink);
        }
        Ok(())
    }

    /// Sends [`Event::Start`] with what the first chunk says behind its candidates, and the first figures: the prompt's are known.
    fn start(&mut self, reader: &Reader<'_>, data: &[u8], sink: Sink<'_>) -> Result<(), Malformed> {
        if self.started {
            return Ok(());
        }
        let (mut id, mut model, mut created_s) = (Text::EMPTY, Text::EMPTY, None);
        reader.clone().object(|key, reader| {
            match (key.name(), reader.kind()?) {
                ("responseId", Kind::String) => id = reader.text()?,
                ("modelVersion", Kind::String) => model = reader.text()?,
                ("createTime", Kind::String) => created_s = unix_seconds(reader.text()?.as_bytes()),
                ("usageMetadata", Kind::Object) => self.figures.merge(reader.raw()?.as_bytes()),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        self.seed = fingerprint(if id.is_empty() { data } else { id.as_bytes() });
        self.started = true;
        sink(Event::Start { id, model, created_s });
        self.tell_usage(sink);
        Ok(())
    }

    fn tell_usage(&mut self, sink: Sink<'_>) {
        self.figures.web_searches = self.choices.iter().map(|channel| channel.searches).sum();
        let usage = self.figures.usage();
        if let Some(usage) = usage.filter(|usage| self.usage != Some(*usage)) {
            self.usage = Some(usage);
            sink(Event::Usage(usage));
        }
    }

    fn fail(&mut self, data: &[u8], sink: Sink<'_>) {
        self.ended = true;
        let error = error::read(data);
        let code = Some(error.code.as_str()).filter(|code| !code.is_empty()).map(escape);
        sink(Event::Fail { kind: error.kind, message: escape(&error.message), code });
    }

    fn candidate(&mut self, reader: &mut Reader<'_>, sink: Sink<'_>) -> Result<(), Malformed> {
        let (mut index, mut content, mut finish, mut message) = (0, None, None, None);
        let (mut grounding, mut recited, mut probabilities) = (None, None, None);
        reader.object(|key, reader| {
            match (key.name(), reader.kind()?) {
                (_, Kind::Null) => return reader.skip(),
                ("index", _) => {
                    index = reader.whole()?;
                    return Ok(());
                }
                ("finishReason", _) => {
                    finish = Some(reader.text()?);
                    return Ok(());
                }
                ("finishMessage", Kind::String) => {
                    message = Some(reader.raw()?);
                    return Ok(());
                }
                // Which candidate it is may stand behind them.
                ("content", _) => content = Some(reader.clone()),
                ("groundingMetadata", Kind::Object) => grounding = Some(reader.clone()),
                ("citationMetadata", Kind::Object) => recited = Some(reader.clone()),
                ("logprobsResult", Kind::Object) => probabilities = Some(reader.clone()),
                _ => {}
            }
            reader.skip()
        })?;
        let (choice, place) = self.place(index)?;
        if let Some(mut content) = content {
            content.object(|key, reader| match (key.name(), reader.kind()?) {
                ("parts", Kind::Array) => reader.array(|_, reader| {
                    let part = part::read(reader, Origin::default())?;
                    self.part(choice, place, part, sink)
                }),
                _ => reader.skip(),
            })?;
        }
        let channel = &mut self.choices[place];
        channel.seen = true;
        if let Some(finish) = finish.filter(|word| !word.is_empty() && !word.is("FINISH_REASON_UNSPECIFIED")) {
            channel.finish.clear();
            channel.finish.extend_from_slice(finish.as_bytes());
        }
        channel.message = message.map(|message| message.as_bytes().to_vec()).or(channel.message.take());
        channel.grounding(choice, grounding, recited, sink)?;
        if let Some(mut probabilities) = probabilities {
            sink(Event::Logprobs { choice, logprobs: logprobs::read(&mut probabilities)? });
        }
        Ok(())
    }

    /// The candidate's number, and its place among ours.
    fn place(&mut self, index: u64) -> Result<(u32, usize), Malformed> {
        let (Ok(choice), Ok(place), true) = (u32::try_from(index), usize::try_from(index), index < MAX_CHOICES) else {
            return Err(Malformed::new("is a candidate too many"));
        };
        if place >= self.choices.len() {
            self.choices.resize_with(place + 1, Channel::default);
        }
        Ok((choice, place))
    }

    fn part(&mut self, choice: u32, place: usize, part: Part<'_>, sink: Sink<'_>) -> Result<(), Malformed> {
        let channel = &mut self.choices[place];
        match part.data {
            Data::Text(text) => channel.text(choice, text, part.signature, sink),
            Data::Thought(text) => channel.thought(choice, text, part.signature, sink),
            Data::Call(call) => return self.call(choice, place, call, part.signature, sink),
            Data::Media(media) => channel.whole(choice, Head::Media(media), part.signature, sink),
            Data::Opaque { word, raw } => channel.whole(choice, Head::Opaque { word, raw }, part.signature, sink),
            Data::Result(_) => return Err(Malformed::new("is the answer of a function")),
        }
        Ok(())
    }

    fn call(&mut self, choice: u32, place: usize, call: Call<'_>, signature: Option<Text<'_>>, sink: Sink<'_>) -> Result<(), Malformed> {
        if let (Open::Call(fragments, seal), None) = (&mut self.choices[place].open, &call.name) {
            take_fragments(fragments, &call)?;
            *seal = signature.map(|seal| seal.as_bytes().to_vec()).or(seal.take());
            if !call.continues {
                self.choices[place].close(choice, sink);
            }
            return Ok(());
        }
        let Some(name) = call.name.clone() else {
            // The empty call that ends the pieces of one may come once too often.
            let is_empty = call.fragments.is_none() && call.arguments.is_none();
            return if is_empty { Ok(()) } else { Err(Malformed::new("holds a call without a name")) };
        };
        let id = match call.id.clone() {
            Some(id) => id,
            None => {
                self.made += 1;
                made_id(self.seed, self.made - 1)
            }
        };
        let channel = &mut self.choices[place];
        channel.calls = true;
        let block = channel.open(choice, Head::ToolCall { id, name, free: false }, sink);
        if call.fragments.is_some() || call.continues {
            let mut fragments = Fragments::default();
            take_fragments(&mut fragments, &call)?;
            channel.open = Open::Call(fragments, signature.map(|seal| seal.as_bytes().to_vec()));
            if !call.continues {
                channel.close(choice, sink);
            }
            return Ok(());
        }
        sink(Event::Delta { choice, block, delta: Delta::Arguments(arguments_text(call.arguments)) });
        seal_and_close(choice, block, signature, sink);
        Ok(())
    }
}

impl Channel {
    /// Opens a block behind those that there are; the one that was open is closed.
    fn open(&mut self, choice: u32, head: Head<'_>, sink: Sink<'_>) -> u32 {
        self.close(choice, sink);
        let block = self.next;
        self.next += 1;
        self.seen = true;
        sink(Event::Open { choice, block, head });
        block
    }

    fn close(&mut self, choice: u32, sink: Sink<'_>) {
        let block = self.next.saturating_sub(1);
        match std::mem::take(&mut self.open) {
            Open::Nothing => {}
            Open::Text | Open::Thought => sink(Event::Close { choice, block }),
            Open::Call(fragments, seal) => {
                sink(Event::Delta { choice, block, delta: Delta::Arguments(quoted(&fragments.json())) });
                seal_and_close(choice, block, seal.as_deref().map(Text::escaped), sink);
            }
        }
    }

    fn text(&mut self, choice: u32, text: Text<'_>, signature: Option<Text<'_>>, sink: Sink<'_>) {
        if text.is_empty() && signature.is_none() {
            return;
        }
        self.foreign = self.foreign || !is_plain(&text);
        let block = match &self.open {
            Open::Text if signature.is_none() => self.next - 1,
            _ => self.open_text(choice, sink),
        };
        if !text.is_empty() {
            sink(Event::Delta { choice, block, delta: Delta::Text(text) });
        }
        self.end_signed(choice, block, signature, sink);
    }

    fn open_text(&mut self, choice: u32, sink: Sink<'_>) -> u32 {
        let block = self.open(choice, Head::Text, sink);
        self.open = Open::Text;
        self.texts += 1;
        block
    }

    fn thought(&mut self, choice: u32, text: Text<'_>, signature: Option<Text<'_>>, sink: Sink<'_>) {
        if text.is_empty() && signature.is_none() {
            return;
        }
        let block = match &self.open {
            Open::Thought if signature.is_none() => self.next - 1,
            _ => {
                let block = self.open(choice, Head::Thought { id: None, redacted: false }, sink);
                self.open = Open::Thought;
                block
            }
        };
        if !text.is_empty() {
            let delta = Delta::Thought { shape: ThoughtShape::Summary, part: 0, text };
            sink(Event::Delta { choice, block, delta });
        }
        self.end_signed(choice, block, signature, sink);
    }

    /// A part with a signature ends its block.
    fn end_signed(&mut self, choice: u32, block: u32, signature: Option<Text<'_>>, sink: Sink<'_>) {
        if signature.is_some() {
            self.open = Open::Nothing;
            seal_and_close(choice, block, signature, sink);
        }
    }

    /// A block that comes in one piece.
    fn whole(&mut self, choice: u32, head: Head<'_>, signature: Option<Text<'_>>, sink: Sink<'_>) {
        let block = self.open(choice, head, sink);
        seal_and_close(choice, block, signature, sink);
    }

    fn grounding(
        &mut self,
        choice: u32,
        grounding: Option<Reader<'_>>,
        recited: Option<Reader<'_>>,
        sink: Sink<'_>,
    ) -> Result<(), Malformed> {
        let mut cited = Vec::new();
        if let Some(mut reader) = grounding {
            let grounding = grounding::read(&mut reader)?;
            self.searches = self.searches.max(grounding.searches);
            cited.extend(grounding.cited);
        }
        if let Some(mut reader) = recited {
            cited.extend(grounding::read_recited(&mut reader)?);
        }
        // Every chunk may tell all of them again.
        let known = self.cited.min(cited.len());
        self.cited = self.cited.max(cited.len());
        for one in cited.drain(known..) {
            self.cite(choice, one, sink);
        }
        Ok(())
    }

    fn cite(&mut self, choice: u32, cited: Cited<'_>, sink: Sink<'_>) {
        let block = if matches!(self.open, Open::Text) { self.next - 1 } else { self.open_text(choice, sink) };
        // Places count bytes of the whole text: known to be ours while it is one block of plain characters.
        let range = cited.bytes.filter(|_| self.texts == 1 && !self.foreign);
        sink(Event::Delta { choice, block, delta: Delta::Citation(Citation { range, ..cited.citation }) });
    }
}

/// Whether the data is JSON; halves of surrogate pairs may stand alone, because providers split pairs over two chunks.
fn is_json(data: &[u8]) -> bool {
    is_complete(data) || has_halves_only(data)
}

#[cold]
fn has_halves_only(data: &[u8]) -> bool {
    let mut whole = data.to_vec();
    for at in memmem::find_iter(data, b"\\u") {
        // Anything but a half stays as it is; what stands there matters to nobody.
        if let Some([b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F']) = data.get(at + 2..at + 4) {
            whole[at + 2..at + 4].copy_from_slice(b"00");
        }
    }
    is_complete(&whole)
}

fn seal_and_close(choice: u32, block: u32, signature: Option<Text<'_>>, sink: Sink<'_>) {
    if let Some(seal) = signature {
        sink(Event::Delta { choice, block, delta: Delta::Seal(seal) });
    }
    sink(Event::Close { choice, block });
}

fn take_fragments(fragments: &mut Fragments, call: &Call<'_>) -> Result<(), Malformed> {
    match &call.fragments {
        Some(raw) => fragments.add(&mut Reader::new(raw.as_bytes())),
        None => Ok(()),
    }
}

/// Arguments as the text of a JSON string. What is no JSON stands as a text in an object.
fn arguments_text(arguments: Option<Arguments<'_>>) -> Text<'_> {
    match arguments {
        None => Text::word("{}"),
        Some(Arguments::Json(raw)) => quote(&raw),
        Some(Arguments::Quoted(text)) if unquote(&text).is_some() => text,
        Some(arguments) => {
            let mut json = Vec::new();
            part::write_arguments(&arguments, &mut json);
            quoted(&json)
        }
    }
}
