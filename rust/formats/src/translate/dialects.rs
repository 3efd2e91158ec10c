//! What the dialects' readers and writers do, under one name each.

use std::sync::Arc;

use fairlead_ir::{Dialect, ErrorKind, Event, Losses, NanoUsd, Request, Response, Text, Usage};

use super::calls::CallIds;
use super::{Bridge, Face, Target, refusal, tier};
use crate::error::Details;
use crate::identity::Identity;
use crate::json::is_complete;
use crate::read::Malformed;
use crate::request::Refusal;
use crate::traits::Traits;
use crate::{anthropic_messages, bedrock_converse, cut, gemini_generate, openai_chat, openai_completions, openai_responses, sse};

/// A request in the target's dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The JSON body.
    pub body: Vec<u8>,
    /// What could not be kept.
    pub losses: Losses,
    /// What the way back of this call needs.
    pub bridge: Bridge,
}

/// Reads a caller's request.
///
/// # Errors
/// The body is not JSON, or breaks its dialect: the message names the JSON path.
pub fn decode_request(dialect: Dialect, body: &[u8]) -> Result<Request<'_>, Refusal> {
    if is_complete(body) { decode_scanned_request(dialect, body) } else { Err(refusal(Malformed::new("is not valid JSON"))) }
}

/// As [`decode_request`], of a body that a [`RequestScan`](crate::request::RequestScan) has found to be JSON.
///
/// # Errors
/// The body breaks its dialect.
pub fn decode_scanned_request(dialect: Dialect, body: &[u8]) -> Result<Request<'_>, Refusal> {
    let read = match dialect {
        Dialect::OpenaiChat => openai_chat::request::decode::decode(body),
        Dialect::OpenaiResponses => openai_responses::request::decode::decode(body),
        Dialect::AnthropicMessages => anthropic_messages::request::decode::decode(body),
        Dialect::GeminiGenerate => gemini_generate::request::decode::decode(body),
        Dialect::BedrockConverse => bedrock_converse::request::decode::decode(body),
    };
    read.map_err(refusal)
}

/// Writes a request for a provider.
///
/// # Errors
/// What the caller asks for cannot be said in the target's dialect, and leaving it out would change the meaning.
pub fn encode_request(request: &Request<'_>, target: &Target<'_>) -> Result<Encoded, Refusal> {
    let mut encoded = Encoded { body: Vec::new(), losses: Losses::new(), bridge: Bridge::of(request) };
    let Encoded { body, losses, bridge } = &mut encoded;
    match target.dialect {
        Dialect::OpenaiChat => openai_chat::request::encode::encode(request, target, body, losses, bridge),
        Dialect::OpenaiResponses => openai_responses::request::encode::encode(request, target, body, losses, bridge),
        Dialect::AnthropicMessages => anthropic_messages::request::encode::encode(request, target, body, losses, bridge),
        Dialect::GeminiGenerate => gemini_generate::request::encode::encode(request, target, body, losses, bridge),
        Dialect::BedrockConverse => bedrock_converse::request::encode::encode(request, target, body, losses, bridge),
    }?;
    Ok(encoded)
}

/// Reads a provider's whole reply.
///
/// # Errors
/// The body is not JSON, or no reply of that dialect.
pub fn decode_response<'a>(dialect: Dialect, body: &'a [u8], traits: &Traits) -> Result<Response<'a>, Malformed> {
    if is_complete(body) { decode_scanned_response(dialect, body, traits) } else { Err(Malformed::new("is not valid JSON")) }
}

/// As [`decode_response`], of a body that a [`ReplyScan`](crate::reply::ReplyScan) has found to be JSON.
///
/// # Errors
/// The body is no reply of that dialect.
pub fn decode_scanned_response<'a>(dialect: Dialect, body: &'a [u8], traits: &Traits) -> Result<Response<'a>, Malformed> {
    let mut response = match dialect {
        Dialect::OpenaiChat => openai_chat::response::decode::decode(body, traits),
        Dialect::OpenaiResponses => openai_responses::response::decode::decode(body, traits),
        Dialect::AnthropicMessages => anthropic_messages::response::decode::decode(body, traits),
        Dialect::GeminiGenerate => gemini_generate::response::decode::decode(body, traits),
        Dialect::BedrockConverse => bedrock_converse::response::decode::decode(body, traits),
    }?;
    CallIds::whole(&mut response);
    Ok(response)
}

/// Writes a whole reply for a caller; `cost` becomes `usage.cost`. Returns what could not be kept.
pub fn encode_response(dialect: Dialect, response: &Response<'_>, face: &Face<'_>, cost: Option<NanoUsd>, out: &mut Vec<u8>) -> Losses {
    let mut losses = Losses::new();
    match dialect {
        Dialect::OpenaiChat => openai_chat::response::encode::encode(response, face, cost, out, &mut losses),
        Dialect::OpenaiResponses => openai_responses::response::encode::encode(response, face, cost, out, &mut losses),
        Dialect::AnthropicMessages => anthropic_messages::response::encode::encode(response, face, cost, out, &mut losses),
        Dialect::GeminiGenerate => gemini_generate::response::encode::encode(response, face, cost, out, &mut losses),
        Dialect::BedrockConverse => bedrock_converse::response::encode::encode(response, face, cost, out, &mut losses),
    }
    losses
}

/// Calls the same method of whichever dialect it is, or of a relative that only some have.
macro_rules! each {
    ($value:expr, $kind:ident $(+ $relative:ident)?, $inner:ident => $call:expr) => {
        match $value {
            $kind::Chat($inner) => $call,
            $kind::Responses($inner) => $call,
            $kind::Messages($inner) => $call,
            $kind::Gemini($inner) => $call,
            $kind::Converse($inner) => $call,
            $($kind::$relative($inner) => $call,)?
        }
    };
}

/// Reads a provider's stream, event by event. What its events promise stands in `fairlead_ir::event`.
#[derive(Debug)]
pub struct StreamDecoder {
    decoder: Decoder,
    ids: CallIds,
}

#[derive(Debug)]
enum Decoder {
    Chat(Box<openai_chat::stream::decode::Decoder>),
    Responses(Box<openai_responses::stream::decode::Decoder>),
    Messages(Box<anthropic_messages::stream::decode::Decoder>),
    Gemini(Box<gemini_generate::stream::decode::Decoder>),
    Converse(Box<bedrock_converse::stream::decode::Decoder>),
}

impl StreamDecoder {
    /// Before the first event.
    pub fn new(dialect: Dialect, traits: Traits) -> StreamDecoder {
        let decoder = match dialect {
            Dialect::OpenaiChat => Decoder::Chat(Box::new(openai_chat::stream::decode::Decoder::new(traits))),
            Dialect::OpenaiResponses => Decoder::Responses(Box::new(openai_responses::stream::decode::Decoder::new(traits))),
            Dialect::AnthropicMessages => Decoder::Messages(Box::new(anthropic_messages::stream::decode::Decoder::new(traits))),
            Dialect::GeminiGenerate => Decoder::Gemini(Box::new(gemini_generate::stream::decode::Decoder::new(traits))),
            Dialect::BedrockConverse => Decoder::Converse(Box::new(bedrock_converse::stream::decode::Decoder::new(traits))),
        };
        StreamDecoder { decoder, ids: CallIds::default() }
    }

    /// Whether events are AWS's binary messages.
    pub(super) const fn is_binary(&self) -> bool {
        matches!(self.decoder, Decoder::Converse(_))
    }

    /// Takes one event: its name and data, of Converse those of [`Message`](crate::eventstream::Message).
    ///
    /// # Errors
    /// It is nothing that the dialect sends: the stream has failed.
    pub fn event(&mut self, name: Option<&[u8]>, data: &[u8], sink: &mut dyn FnMut(Event<'_>)) -> Result<(), Malformed> {
        let StreamDecoder { decoder, ids } = self;
        each!(decoder, Decoder, decoder => decoder.event(name, data, &mut |event| sink(ids.event(event))))
    }

    /// The connection has ended: what is still promised comes, or the failure.
    pub fn finish(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        let StreamDecoder { decoder, ids } = self;
        each!(decoder, Decoder, decoder => decoder.finish(&mut |event| sink(ids.event(event))));
    }
}

/// Writes a stream for a caller, event by event.
#[derive(Debug)]
pub struct StreamEncoder {
    source: Dialect,
    dialect: Dialect,
    encoder: Encoder,
}

#[derive(Debug)]
enum Encoder {
    Chat(Box<openai_chat::stream::encode::Encoder>),
    Responses(Box<openai_responses::stream::encode::Encoder>),
    Messages(Box<anthropic_messages::stream::encode::Encoder>),
    Gemini(Box<gemini_generate::stream::encode::Encoder>),
    Converse(Box<bedrock_converse::stream::encode::Encoder>),
    Completions(Box<openai_completions::stream::Encoder>),
}

/// How a stream for a caller is made.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The provider's dialect: what only it knows has a place where the caller speaks it too.
    pub source: Dialect,
    /// How the caller shall see the reply.
    pub identity: Arc<Identity>,
    /// What of the request matters.
    pub bridge: Arc<Bridge>,
    /// Gemini without `alt=sse`: one JSON array instead of events.
    pub json_array: bool,
}

impl StreamEncoder {
    /// Before the first event.
    pub fn new(dialect: Dialect, wanted: Wanted) -> StreamEncoder {
        let Wanted { source, identity, bridge, json_array } = wanted;
        let encoder = match dialect {
            Dialect::OpenaiChat => Encoder::Chat(Box::new(openai_chat::stream::encode::Encoder::new(identity, bridge))),
            Dialect::OpenaiResponses => Encoder::Responses(Box::new(openai_responses::stream::encode::Encoder::new(identity, bridge))),
            Dialect::AnthropicMessages => {
                Encoder::Messages(Box::new(anthropic_messages::stream::encode::Encoder::new(source, identity, bridge)))
            }
            Dialect::GeminiGenerate => {
                let framing = if json_array {
                    gemini_generate::stream::encode::Framing::Array
                } else {
                    gemini_generate::stream::encode::Framing::Events
                };
                Encoder::Gemini(Box::new(gemini_generate::stream::encode::Encoder::new(source, framing, identity, bridge)))
            }
            Dialect::BedrockConverse => Encoder::Converse(Box::new(bedrock_converse::stream::encode::Encoder::new(identity, bridge))),
        };
        StreamEncoder { source, dialect, encoder }
    }

    /// Before the first event, of a stream of legacy completions.
    pub fn completions(wanted: Wanted) -> StreamEncoder {
        let encoder = Encoder::Completions(Box::new(openai_completions::stream::Encoder::new(wanted.identity, wanted.bridge)));
        StreamEncoder { source: wanted.source, dialect: Dialect::OpenaiChat, encoder }
    }

    /// Appends what the event becomes. Ends and usage are kept for [`finish`](StreamEncoder::finish).
    pub fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if let Event::Tier(word) = event {
            return self.tier(word, out);
        }
        each!(&mut self.encoder, Encoder + Completions, encoder => encoder.event(event, out));
    }

    /// A tier in the reader's words; one that it has no word for is left out.
    #[cold]
    fn tier(&mut self, word: &Text<'_>, out: &mut Vec<u8>) {
        if let Some(word) = tier::told(self.source, self.dialect, word) {
            let event = Event::Tier(word);
            each!(&mut self.encoder, Encoder + Completions, encoder => encoder.event(&event, out));
        }
    }

    /// Appends the end of the stream with what was used and what it cost.
    pub fn finish(&mut self, usage: Option<&Usage>, cost: Option<NanoUsd>, out: &mut Vec<u8>) {
        each!(&mut self.encoder, Encoder + Completions, encoder => encoder.finish(usage, cost, out));
    }

    /// Appends the end of a stream that is cut here, with what was used and what it cost: every one of the `choices` that has not ended, of which
    /// `ended` has a bit each, ends as one that is too long.
    pub fn cut(&mut self, choices: u32, ended: u64, usage: &Usage, cost: NanoUsd, out: &mut Vec<u8>) {
        cut::comment(self.dialect, out);
        for choice in (0..choices).filter(|choice| ended.checked_shr(*choice).is_none_or(|bits| bits & 1 == 0)) {
            self.event(&Event::Stop { choice, stop: cut::stop(self.dialect) }, out);
        }
        self.finish(Some(usage), Some(cost), out);
    }

    /// The client has this event as the provider sent it, and will get the rest of the stream from here.
    pub fn adopt(&mut self, event: &[u8], scratch: &mut Vec<u8>) {
        if let Encoder::Responses(encoder) = &mut self.encoder
            && let Some(data) = sse::data(event, scratch)
        {
            encoder.adopt(sse::event_name(event), data);
        }
    }

    /// The client has had so many events as the provider sent them, in dialects that number theirs.
    pub fn go_on_from(&mut self, events: u64) {
        if let Encoder::Responses(encoder) = &mut self.encoder {
            encoder.go_on_from(events);
        }
    }

    /// Appends the failure that ends the stream, in the dialect's own way.
    pub fn fail(&mut self, kind: ErrorKind, message: &str, details: &Details<'_>, out: &mut Vec<u8>) {
        each!(&mut self.encoder, Encoder + Completions, encoder => encoder.fail(kind, message, details, out));
    }

    /// Goes on after another stream for the same caller that said nothing but that it lives: in dialects that number their events, this one's
    /// follow.
    pub fn continue_after(&mut self, other: StreamEncoder) {
        if let (Encoder::Responses(encoder), Encoder::Responses(other)) = (&mut self.encoder, other.encoder) {
            encoder.continue_after(*other);
        }
    }

    /// Appends a sign of life, where the dialect has one.
    pub fn keep_alive(&mut self, out: &mut Vec<u8>) {
        each!(&mut self.encoder, Encoder + Completions, encoder => encoder.keep_alive(out));
    }
}
