//! Events as chunks: OpenAI's grammar on `/v1`, OpenRouter's on `/api/v1`.
//!
//! Every chunk repeats the same head, rendered once; a piece of text costs one copy of head, text and tail. Calls are numbered densely per
//! choice, and say id, type and name once. Blocks that are open at the same time need no order: chat has none.

use std::sync::Arc;

use fairlead_ir::block::{Citation, Media, MediaClass, MediaSource, ThoughtShape};
use fairlead_ir::{Delta, ErrorKind, Event, Head, NanoUsd, StopReason, Text, Usage};

use super::head::ChunkHead;
use crate::error::Details;
use crate::identity::Identity;
use crate::openai_chat::error::write_event;
use crate::openai_chat::response::encode::{finish_word, freed, is_format_tool, write_image, write_new_audio};
use crate::openai_chat::wire::citations::{characters, write_annotation};
use crate::openai_chat::wire::thoughts::{ENCRYPTED, PLAIN, SIGNED, THOUGHT_SIGNATURE, is_encrypted, write_data};
use crate::translate::Bridge;
use crate::write::{Object, write_escaped, write_number};

/// Writes a stream, event by event.
#[derive(Debug)]
pub(crate) struct Encoder {
    identity: Arc<Identity>,
    bridge: Arc<Bridge>,
    head: ChunkHead,
    choices: Vec<Choice>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Choice {
    index: u32,
    /// The role was told.
    begun: bool,
    blocks: Vec<Block>,
    calls: usize,
    /// Words of a refusal were told.
    refused: bool,
    /// Thoughts and whatever else is sealed.
    details: u64,
    /// The last entry's signature, when it was a signed `reasoning.text`: its index and itself.
    signed: Option<(u64, Text<'static>)>,
    characters: u64,
    stop: Option<(StopReason, Text<'static>, Option<Text<'static>>)>,
}

#[derive(Debug)]
struct Block {
    open: bool,
    kind: Kind,
    seal: Option<Text<'static>>,
}

#[derive(Debug)]
enum Kind {
    /// Text, and where it begins in the whole.
    Text {
        from: u64,
    },
    Refusal,
    /// A thought with its number among the details, its id, and the shape of its last piece.
    Thought {
        index: u64,
        id: Option<Text<'static>>,
        redacted: bool,
        shape: Option<ThoughtShape>,
        told: bool,
    },
    /// A call: its number and id.
    Call {
        number: usize,
        id: Text<'static>,
        free: bool,
    },
    /// A call whose wrapped text is told when it is whole.
    Wrapped {
        number: usize,
        id: Text<'static>,
        arguments: Vec<u8>,
    },
    /// A further call where the caller knows one at a time, or what chat has no place for.
    Nothing,
}

impl Encoder {
    /// At the start of a stream to a client that shall see it as `identity` and `bridge` say.
    pub(crate) fn new(identity: Arc<Identity>, bridge: Arc<Bridge>) -> Encoder {
        let head = ChunkHead::new(Arc::clone(&identity), "chat.completion.chunk");
        Encoder { identity, bridge, head, choices: Vec::new(), closed: false }
    }

    /// Appends what the client sees of an event: of stops and usage nothing yet.
    pub(crate) fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.closed {
            return;
        }
        match event {
            Event::Start { id, model, created_s } => self.head.start(id, model, *created_s),
            Event::Open { choice, head, .. } => self.open(*choice, head, out),
            Event::Delta { choice, block, delta } => self.delta(*choice, *block, delta, out),
            Event::Close { choice, block } => self.close(*choice, *block, out),
            Event::Logprobs { choice, logprobs } => {
                let (begun, index) = self.begin(*choice);
                self.chunk(
                    index,
                    begun,
                    out,
                    |_| {},
                    |object| {
                        object.raw("logprobs", logprobs.as_bytes());
                    },
                );
            }
            Event::Stop { choice, stop } => {
                let sequence = stop.sequence.clone().map(Text::into_owned);
                self.choice(*choice).stop = Some((stop.reason, stop.native.clone().into_owned(), sequence));
            }
            Event::Tier(tier) => self.head.tier(tier),
            Event::KeepAlive => self.keep_alive(out),
            Event::Usage(_) | Event::Fail { .. } | Event::End => {}
        }
    }

    /// Appends the end of the stream: why each choice ended, the usage for clients that see it, and the terminal.
    pub(crate) fn finish(&mut self, usage: Option<&Usage>, cost: Option<NanoUsd>, out: &mut Vec<u8>) {
        if self.closed {
            return;
        }
        self.closed = true;
        if self.choices.is_empty() {
            self.choice(0);
        }
        for at in 0..self.choices.len() {
            self.finish_choice(at, out);
        }
        self.head.end(usage, cost, self.bridge.include_usage, out);
    }

    /// Appends the error that ends the stream, and the terminal.
    pub(crate) fn fail(&mut self, kind: ErrorKind, message: &str, details: &Details<'_>, out: &mut Vec<u8>) {
        if self.closed {
            return;
        }
        self.closed = true;
        write_event(self.identity.manner(), &self.head.skeleton(), kind, message, details, out);
    }

    /// Appends a comment, which every client steps over.
    pub(crate) fn keep_alive(&mut self, out: &mut Vec<u8>) {
        if !self.closed {
            out.extend_from_slice(b": keep-alive\n\n");
        }
    }

    // --- heads --------------------------------------------------------------------------------------------------------

    fn choice(&mut self, index: u32) -> &mut Choice {
        let at = match self.choices.iter().position(|choice| choice.index == index) {
            Some(at) => at,
            None => {
                self.choices.push(Choice { index, ..Choice::default() });
                self.choices.len() - 1
            }
        };
        &mut self.choices[at]
    }

    /// Whether the role was told before, and the choice's index; from now on it was.
    fn begin(&mut self, choice: u32) -> (bool, u32) {
        let choice = self.choice(choice);
        (std::mem::replace(&mut choice.begun, true), choice.index)
    }

    /// A chunk with these members of the delta and of the choice.
    fn chunk(&self, index: u32, begun: bool, out: &mut Vec<u8>, delta: impl FnOnce(&mut Object<'_>), choice: impl FnOnce(&mut Object<'_>)) {
        out.extend_from_slice(self.head.bytes());
        let mut object = Object::open(out);
        object.number("index", u64::from(index)).object("delta", |inner| {
            if !begun {
                inner.text("role", "assistant");
            }
            delta(inner);
        });
        choice(&mut object);
        object.raw("finish_reason", b"null");
        if self.identity.is_openrouter() {
            object.raw("native_finish_reason", b"null");
        }
        object.close();
        out.extend_from_slice(b"]}\n\n");
    }

    /// A chunk with these members of the delta.
    fn told(&mut self, choice: u32, out: &mut Vec<u8>, delta: impl FnOnce(&mut Object<'_>)) {
        let (begun, index) = self.begin(choice);
        self.chunk(index, begun, out, delta, |_| {});
    }

    /// The common chunk: a piece of text under one name.
    fn text(&mut self, choice: u32, name: &str, text: &Text<'_>, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let (begun, index) = self.begin(choice);
        out.extend_from_slice(self.head.bytes());
        out.extend_from_slice(b"{\"index\":");
        write_number(out, u64::from(index));
        out.extend_from_slice(if begun { b",\"delta\":{\"" } else { b",\"delta\":{\"role\":\"assistant\",\"" });
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        write_escaped(out, text);
        let tail: &[u8] = if self.identity.is_openrouter() {
            b"},\"finish_reason\":null,\"native_finish_reason\":null}]}\n\n"
        } else {
            b"},\"finish_reason\":null}]}\n\n"
        };
        out.extend_from_slice(tail);
    }

    // --- blocks -------------------------------------------------------------------------------------------------------

    fn open(&mut self, choice: u32, head: &Head<'_>, out: &mut Vec<u8>) {
        let kind = match head {
            Head::Text => Kind::Text { from: self.choice(choice).characters },
            Head::Refusal => Kind::Refusal,
            Head::Thought { id, redacted } => {
                let state = self.choice(choice);
                let index = state.details;
                state.details += 1;
                let id = id.clone().map(Text::into_owned);
                Kind::Thought { index, id, redacted: *redacted, shape: None, told: false }
            }
            Head::ToolCall { name, .. } if is_format_tool(name, &self.bridge) => Kind::Text { from: self.choice(choice).characters },
            Head::ToolCall { id, name, free } => self.open_call(choice, id, name, *free, out),
            Head::Media(media) => {
                self.media(choice, media, out);
                Kind::Nothing
            }
            Head::Opaque { .. } => Kind::Nothing,
        };
        self.choice(choice).blocks.push(Block { open: true, kind, seal: None });
    }

    fn open_call(&mut self, choice: u32, id: &Text<'_>, name: &Text<'_>, free: bool, out: &mut Vec<u8>) -> Kind {
        let bridge = Arc::clone(&self.bridge);
        let (name, wrapped) = bridge.original(name);
        let state = self.choice(choice);
        let number = state.calls;
        state.calls += 1;
        if bridge.legacy_functions {
            if number > 0 {
                return Kind::Nothing;
            }
            self.told(choice, out, |delta| {
                delta.object("function_call", |call| {
                    call.escaped("name", &name).text("arguments", "");
                });
            });
            return Kind::Call { number, id: Text::EMPTY, free: false };
        }
        let custom = free || wrapped;
        self.told(choice, out, |delta| {
            delta.array("tool_calls", |list| {
                list.object(|call| {
                    call.number("index", number as u64).escaped("id", id);
                    let (word, empty) = if custom { ("custom", "input") } else { ("function", "arguments") };
                    call.text("type", word).object(word, |inner| {
                        inner.escaped("name", &name).text(empty, "");
                    });
                });
            });
        });
        let id = id.clone().into_owned();
        if wrapped && !free { Kind::Wrapped { number, id, arguments: Vec::new() } } else { Kind::Call { number, id, free } }
    }

    fn media(&mut self, choice: u32, media: &Media<'_>, out: &mut Vec<u8>) {
        match (media.class, &media.source) {
            (MediaClass::Image, MediaSource::Base64 { .. } | MediaSource::Url { .. }) => self.told(choice, out, |delta| {
                delta.array("images", |list| write_image(media, list.element()));
            }),
            (MediaClass::Audio, MediaSource::Base64 { data, .. }) => {
                let identity = Arc::clone(&self.identity);
                self.told(choice, out, |delta| {
                    delta.object("audio", |audio| {
                        audio.escaped("data", data);
                        write_new_audio(&identity, audio);
                    });
                });
            }
            _ => {}
        }
    }

    fn delta(&mut self, choice: u32, block: u32, delta: &Delta<'_>, out: &mut Vec<u8>) {
        let Some(state) = self.choice(choice).blocks.get_mut(block as usize) else { return };
        match (&mut state.kind, delta) {
            (_, Delta::Seal(seal)) => state.seal = Some(seal.clone().into_owned()),
            (Kind::Text { .. }, Delta::Text(text) | Delta::Arguments(text)) => {
                self.choice(choice).characters += characters(text);
                self.text(choice, "content", text, out);
            }
            (Kind::Refusal, Delta::Text(text)) => {
                self.choice(choice).refused |= !text.is_empty();
                self.text(choice, "refusal", text, out);
            }
            (Kind::Text { from }, Delta::Citation(citation)) => {
                let from = *from;
                self.cite(choice, from, citation, out);
            }
            (Kind::Thought { .. }, Delta::Thought { shape, text, .. }) => self.thought(choice, block, *shape, text, out),
            (Kind::Wrapped { arguments, .. }, Delta::Arguments(piece)) => arguments.extend_from_slice(piece.as_bytes()),
            (Kind::Call { number, free, .. }, Delta::Arguments(piece)) => {
                let (number, free) = (*number, *free);
                self.arguments(choice, number, free, piece, out);
            }
            _ => {}
        }
    }

    fn arguments(&mut self, choice: u32, number: usize, free: bool, piece: &Text<'_>, out: &mut Vec<u8>) {
        if piece.is_empty() {
            return;
        }
        let legacy = self.bridge.legacy_functions;
        self.told(choice, out, |delta| {
            if legacy {
                delta.object("function_call", |call| {
                    call.escaped("arguments", piece);
                });
                return;
            }
            delta.array("tool_calls", |list| {
                list.object(|call| {
                    let (word, key) = if free { ("custom", "input") } else { ("function", "arguments") };
                    call.number("index", number as u64).object(word, |inner| {
                        inner.escaped(key, piece);
                    });
                });
            });
        });
    }

    /// A source, with the characters of the whole text that cite it: as given, or the block's so far.
    fn cite(&mut self, choice: u32, from: u64, citation: &Citation<'_>, out: &mut Vec<u8>) {
        let Some(url) = &citation.url else { return };
        let so_far = self.choice(choice).characters;
        let range = match citation.range {
            Some((start, end)) => (from.saturating_add(start), from.saturating_add(end)),
            None => (from, so_far),
        };
        self.told(choice, out, |delta| {
            delta.array("annotations", |list| {
                list.object(|annotation| write_annotation(citation, url, range, annotation));
            });
        });
    }

    fn thought(&mut self, choice: u32, block: u32, shape: ThoughtShape, text: &Text<'_>, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let hidden = self.bridge.hide_thoughts;
        let name = if self.identity.is_openrouter() { "reasoning" } else { "reasoning_content" };
        let state = self.choice(choice);
        let Some(Block { kind: Kind::Thought { index, id, shape: last, told, .. }, .. }) = state.blocks.get_mut(block as usize) else {
            return;
        };
        *last = Some(shape);
        if hidden {
            return;
        }
        let (index, id) = (*index, id.clone().filter(|_| !std::mem::replace(told, true)));
        let is_summary = shape == ThoughtShape::Summary;
        let companion = state.signed.take().filter(|(signed, _)| !is_summary && *signed != index);
        self.told(choice, out, |delta| {
            delta.escaped(name, text).array("reasoning_details", |entries| {
                if let Some((index, signature)) = &companion {
                    entries.object(|entry| write_data(signature, None, SIGNED, *index, entry));
                }
                entries.object(|entry| {
                    let (word, key) = if is_summary { ("reasoning.summary", "summary") } else { ("reasoning.text", "text") };
                    entry.text("type", word).escaped(key, text).optional_escaped("id", id.as_ref());
                    entry.text("format", PLAIN).number("index", index);
                });
            });
        });
    }

    fn close(&mut self, choice: u32, block: u32, out: &mut Vec<u8>) {
        let Some(state) = self.choice(choice).blocks.get_mut(block as usize).filter(|block| block.open) else { return };
        state.open = false;
        let seal = state.seal.take();
        match std::mem::replace(&mut state.kind, Kind::Nothing) {
            Kind::Thought { index, id, redacted, shape, .. } => {
                if let Some(seal) = seal {
                    self.seal_thought(choice, seal, index, id, (redacted, shape), out);
                }
            }
            Kind::Wrapped { number, id, arguments } => {
                if let fairlead_ir::block::Arguments::Free(text) = freed(&fairlead_ir::block::Arguments::Quoted(Text::owned(arguments))) {
                    self.arguments(choice, number, true, &text, out);
                }
                self.seal_other(choice, seal, Some(&id), out);
            }
            Kind::Call { id, .. } => self.seal_other(choice, seal, Some(&id), out),
            Kind::Text { .. } | Kind::Refusal | Kind::Nothing => self.seal_other(choice, seal, None, out),
        }
    }

    fn seal_thought(
        &mut self,
        choice: u32,
        seal: Text<'static>,
        index: u64,
        id: Option<Text<'static>>,
        (redacted, shape): (bool, Option<ThoughtShape>),
        out: &mut Vec<u8>,
    ) {
        let encrypted = is_encrypted(id.is_some(), redacted, shape);
        self.told(choice, out, |delta| {
            delta.array("reasoning_details", |entries| {
                entries.object(|entry| {
                    if encrypted {
                        return write_data(&seal, id.as_ref(), if redacted { SIGNED } else { ENCRYPTED }, index, entry);
                    }
                    entry.text("type", "reasoning.text").escaped("signature", &seal).text("format", SIGNED).number("index", index);
                });
            });
        });
        self.choice(choice).signed = (!encrypted).then_some((index, seal));
    }

    /// The signature of what is no thought: a call's with its id.
    fn seal_other(&mut self, choice: u32, seal: Option<Text<'static>>, id: Option<&Text<'_>>, out: &mut Vec<u8>) {
        let Some(seal) = seal else { return };
        let state = self.choice(choice);
        let index = state.details;
        state.details += 1;
        state.signed = None;
        let id = id.filter(|id| !id.is_empty());
        self.told(choice, out, |delta| {
            delta.array("reasoning_details", |entries| {
                entries.object(|entry| write_data(&seal, id, THOUGHT_SIGNATURE, index, entry));
            });
        });
    }

    // --- ends ---------------------------------------------------------------------------------------------------------

    fn finish_choice(&mut self, at: usize, out: &mut Vec<u8>) {
        let choice = &mut self.choices[at];
        let begun = std::mem::replace(&mut choice.begun, true);
        let (index, has_calls, refused) = (choice.index, choice.calls > 0, choice.refused);
        let stop = choice.stop.take();
        out.extend_from_slice(self.head.bytes());
        let mut object = Object::open(out);
        object.number("index", u64::from(index)).object("delta", |delta| {
            if !begun {
                delta.text("role", "assistant").text("content", "");
            }
        });
        object.text("finish_reason", finish_word(stop.as_ref().map(|stop| stop.0), has_calls, refused, &self.bridge));
        if self.identity.is_openrouter() {
            match stop.as_ref().map(|stop| &stop.1).filter(|native| !native.is_empty()) {
                Some(native) => object.escaped("native_finish_reason", native),
                None => object.raw("native_finish_reason", b"null"),
            };
        }
        // As vLLM names it.
        object.optional_escaped("stop_reason", stop.as_ref().and_then(|stop| stop.2.as_ref()));
        object.close();
        out.extend_from_slice(b"]}\n\n");
    }
}
