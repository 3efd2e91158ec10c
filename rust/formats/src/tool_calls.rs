//! Whether a reply's tool calls are sound: each one of a tool that the request offers, with arguments that are one JSON object and fit the
//! tool's schema. The router prefers endpoints whose calls are.
//!
//! What cannot be judged is not: tools or calls that are too large, schemas with keywords that are not known here, replies that make no
//! sense. Nothing is read before a reply has a call, and the tools not before the reply has ended.

mod schema;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use fairlead_ir::block::{Arguments, ToolCall};
use fairlead_ir::{Delta, Dialect, Event, Head, Kind, Raw, Request, Response, Text, Tool, ToolKind};
use memchr::memmem;

use self::schema::Fit;
use crate::request::Facts;
use crate::text::{is_blank, unquote};
use crate::traits::Traits;
use crate::translate::Bridge;
use crate::translate::dialects::{self, StreamDecoder};

/// Longer lists of tools, calls and whole replies are not judged: judging is done on the request's own thread.
const MOST_BYTES: usize = 64 << 10;
/// More calls are not judged.
const MOST_CALLS: usize = 64;

/// The tools that a request offers, kept until its reply has ended.
#[derive(Debug)]
pub struct Offer {
    dialect: Dialect,
    /// A request of that dialect with nothing in it but the tools.
    request: Vec<u8>,
}

impl Offer {
    /// What a request offers; `frames` are the slices that were scanned. `None` without tools, and where they are too large to be kept.
    ///
    /// The tools are copied, so that neither the conversation nor the connection's buffer is held for them.
    pub fn keep<F: AsRef<[u8]>>(facts: &Facts, frames: &[F]) -> Option<Arc<Offer>> {
        let tools = facts.tools(frames, MOST_BYTES)?;
        let conversation = if facts.dialect == Dialect::OpenaiResponses { "input" } else { "messages" };
        let mut request = Vec::with_capacity(tools.len() + 32);
        for part in [br#"{"tools":"#, &*tools, br#",""#, conversation.as_bytes(), br#"":[]}"#] {
            request.extend_from_slice(part);
        }
        Some(Arc::new(Offer { dialect: facts.dialect, request }))
    }

    /// Judges a whole reply as the provider sent it, in this dialect; it is known to be JSON. `None` where it has no calls, or nobody can say.
    pub fn judge_body(&self, dialect: Dialect, body: &[u8]) -> Option<bool> {
        if body.len() > MOST_BYTES || !mentions_calls(dialect, body) {
            return None;
        }
        self.judge_reply(&dialects::decode_scanned_response(dialect, body, &Traits::NONE).ok()?, None)
    }

    /// As [`Offer::judge_body`], of a reply that was read; `bridge` knows under which names the provider got the tools.
    pub fn judge_reply(&self, response: &Response<'_>, bridge: Option<&Bridge>) -> Option<bool> {
        let blocks = || response.choices.iter().flat_map(|choice| &choice.blocks);
        let calls = || {
            blocks().filter_map(|block| match &block.kind {
                Kind::ToolCall(call) => Some(call),
                _ => None,
            })
        };
        let arguments = |call: &ToolCall<'_>| match &call.arguments {
            Arguments::Json(raw) => raw.as_bytes().len(),
            Arguments::Quoted(text) | Arguments::Free(text) => text.as_bytes().len(),
        };
        if calls().count() > MOST_CALLS || calls().map(arguments).sum::<usize>() > MOST_BYTES {
            return None;
        }
        let called = calls().map(|call| match &call.arguments {
            Arguments::Json(raw) => (&call.name, Some(raw.borrowed())),
            Arguments::Quoted(text) | Arguments::Free(text) => (&call.name, value_of(text)),
        });
        self.judge(called, bridge)
    }

    /// Judges calls, each as name and arguments; `None` for arguments that are no JSON.
    fn judge<'c>(&self, calls: impl Iterator<Item = (&'c Text<'c>, Option<Raw<'c>>)>, bridge: Option<&Bridge>) -> Option<bool> {
        let mut calls = calls.filter(|(name, _)| !bridge.is_some_and(|bridge| bridge.is_format(name))).peekable();
        calls.peek()?;
        let request = dialects::decode_scanned_request(self.dialect, &self.request).ok()?;
        let mut fuel = schema::Fuel::new();
        let mut sound = Fit::Fits;
        for (name, arguments) in calls {
            let name = bridge.map_or_else(|| name.borrowed(), |bridge| bridge.original(name).0);
            sound = sound.and(judge_one(&request, &name, arguments.as_ref(), &mut fuel));
        }
        sound.verdict()
    }
}

fn judge_one(request: &Request<'_>, name: &Text<'_>, arguments: Option<&Raw<'_>>, fuel: &mut schema::Fuel) -> Fit {
    let Some(tool) = request.tools.iter().find(|tool| is_named(tool, name)) else {
        // The provider's own tools may bring names along that nobody has listed.
        let all_are_listed = request.tools.iter().all(|tool| matches!(tool.kind, ToolKind::Function { .. } | ToolKind::Custom { .. }));
        return if all_are_listed { Fit::Breaks } else { Fit::Unknown };
    };
    if matches!(tool.kind, ToolKind::Custom { .. }) {
        // It takes any text.
        return Fit::Fits;
    }
    let Some(arguments) = arguments.filter(|arguments| arguments.as_bytes().starts_with(b"{")) else { return Fit::Breaks };
    match &tool.kind {
        ToolKind::Function { parameters: Some(parameters) } => schema::check(parameters.as_bytes(), arguments.as_bytes(), fuel),
        _ => Fit::Fits,
    }
}

/// One name may be written in several ways.
fn is_named(tool: &Tool<'_>, name: &Text<'_>) -> bool {
    tool.name == *name || crate::text::decode(&tool.name).is_some_and(|known| crate::text::decode(name).is_some_and(|name| name == known))
}

/// The arguments that a text holds. Models that have nothing to say write nothing.
fn value_of(text: &Text<'_>) -> Option<Raw<'static>> {
    if is_blank(text) { Some(Raw::json(b"{}")) } else { unquote(text) }
}

/// The calls of a stream, as it comes.
#[derive(Debug)]
pub struct Watch {
    offer: Arc<Offer>,
    bridge: Option<Arc<Bridge>>,
    /// Reads a stream that nobody else reads, from its first call on.
    decoder: Option<StreamDecoder>,
    calls: Vec<Called>,
    bytes: usize,
    /// More than is judged, or nothing that makes sense.
    is_lost: bool,
}

#[derive(Debug)]
struct Called {
    choice: u32,
    block: u32,
    name: Text<'static>,
    arguments: Vec<u8>,
}

impl Watch {
    /// Before the first event. `bridge` knows under which names the provider got the tools, where they were written anew.
    pub fn new(offer: Arc<Offer>, bridge: Option<Arc<Bridge>>) -> Watch {
        Watch { offer, bridge, decoder: None, calls: Vec::new(), bytes: 0, is_lost: false }
    }

    /// Takes the data of an event of this dialect that passes unread.
    pub(crate) fn read(&mut self, dialect: Dialect, name: Option<&[u8]>, data: &[u8]) {
        if self.is_lost || self.decoder.is_none() && !mentions_calls(dialect, data) {
            return;
        }
        let mut decoder = self.decoder.take().unwrap_or_else(|| StreamDecoder::new(dialect, Traits::NONE));
        self.is_lost |= decoder.event(name, data, &mut |event| self.event(&event)).is_err();
        self.decoder = Some(decoder);
    }

    /// Whether a call has begun in a stream that passes unread.
    pub(crate) fn has_begun(&self) -> bool {
        self.decoder.is_some()
    }

    /// Takes an event that was read.
    pub fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Open { choice, block, head: Head::ToolCall { name, .. } } => {
                let name = name.borrowed().into_owned();
                if self.has_room(name.as_bytes().len()) && self.calls.len() < MOST_CALLS {
                    self.calls.push(Called { choice: *choice, block: *block, name, arguments: Vec::new() });
                } else {
                    self.is_lost = true;
                }
            }
            Event::Delta { choice, block, delta: Delta::Arguments(text) } if self.has_room(text.as_bytes().len()) => {
                let called = self.calls.iter_mut().rev().find(|called| (called.choice, called.block) == (*choice, *block));
                if let Some(called) = called {
                    called.arguments.extend_from_slice(text.as_bytes());
                }
            }
            _ => {}
        }
    }

    fn has_room(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        if self.bytes > MOST_BYTES {
            (self.is_lost, self.calls) = (true, Vec::new());
        }
        !self.is_lost
    }

    /// Judges the calls of a stream that is over. `None` where there are none, or nobody can say.
    pub fn verdict(&self) -> Option<bool> {
        if self.is_lost {
            return None;
        }
        let calls = self.calls.iter().map(|called| (&called.name, value_of(&Text::escaped(&called.arguments))));
        self.offer.judge(calls, self.bridge.as_deref())
    }
}

/// Whether a reply or an event of a stream may have a call. Those that have one are read, the others are not.
fn mentions_calls(dialect: Dialect, data: &[u8]) -> bool {
    let word: &[u8] = match dialect {
        Dialect::OpenaiChat => br#""tool_calls""#,
        // Of a function, or of a tool that takes free text.
        Dialect::OpenaiResponses => br#"_call""#,
        Dialect::AnthropicMessages => br#""tool_use""#,
        Dialect::GeminiGenerate => br#""functionCall""#,
        Dialect::BedrockConverse => br#""toolUse""#,
    };
    // Some hosts have an empty list in every chunk.
    let has_some = |at: usize| {
        let behind = data[at + word.len()..].iter().find(|byte| !matches!(byte, b':' | b'[' | b' ' | b'\t' | b'\r' | b'\n'));
        dialect != Dialect::OpenaiChat || behind == Some(&b'{')
    };
    memmem::find_iter(data, word).any(has_some)
}
