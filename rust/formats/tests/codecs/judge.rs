//! What must hold for any bytes that a codec is given, for tests and for the fuzz targets, which include this file.
//!
//! The first byte of an input chooses the dialect it is read as, the second what else may vary; the rest is the body or stream.

use std::sync::Arc;

use fairlead_formats::eventstream;
use fairlead_formats::identity::Identity;
use fairlead_formats::json::is_complete;
use fairlead_formats::read::Malformed;
use fairlead_formats::sse;
use fairlead_formats::traits::Traits;
use fairlead_formats::translate::{Bridge, Face, Target, Wanted, dialects, stream::Stream};
use fairlead_ir::{Dialect, Event, Manner, Request, Response, Text};

/// An event of a stream may have so many bytes here.
const EVENT_BYTES: usize = 1 << 16;

/// Any bytes as a request: refused, or written in every dialect as JSON that is read again, the same on every call. For an endpoint of its
/// own dialect with nothing special about it, what was written settles.
pub(crate) fn request(data: &[u8]) {
    let Some((source, choice, body)) = parts(data) else { return };
    let Ok(request) = dialects::decode_request(source, body) else { return };
    for dialect in Dialect::ALL {
        let target = Target { traits: traits(choice), automatic_cache: choice & 1 != 0, ..Target::new(dialect, "lab-model") };
        let Ok(made) = dialects::encode_request(&request, &target) else { continue };
        assert!(is_complete(&made.body), "{dialect:?}: {}", shown(&made.body));
        assert_eq!(dialects::encode_request(&request, &target).as_ref(), Ok(&made), "not the same twice");
        let again = dialects::decode_request(dialect, &made.body);
        let again = again.unwrap_or_else(|refusal| {
            panic!("{dialect:?} refuses what it wrote of {source:?}: {refusal:?}\n{}\n{}", shown(&made.body), shown(body))
        });
        if dialect == source && choice == 0 {
            settles(&again, &target);
        }
    }
}

/// What is read and written again and again in the request's own dialect stays the same after the first time: a repair repairs once.
fn settles(request: &Request<'_>, target: &Target<'_>) {
    let write = |request: &Request<'_>| {
        let request = Request { model: Text::word(target.model), ..request.clone() };
        dialects::encode_request(&request, target).unwrap_or_else(|refusal| panic!("refused when written again: {refusal:?}")).body
    };
    let second = write(request);
    let read = dialects::decode_request(target.dialect, &second).unwrap_or_else(|refusal| panic!("refused when read again: {refusal:?}"));
    assert_eq!(shown(&write(&read)), shown(&second));
}

/// Any bytes as a whole reply: no reply, or written for every dialect's caller as JSON that is a reply again.
pub(crate) fn response(data: &[u8]) {
    let Some((source, choice, body)) = parts(data) else { return };
    let Ok(response) = dialects::decode_response(source, body, &reply_traits(choice)) else { return };
    for dialect in Dialect::ALL {
        let out = written(dialect, &response);
        assert!(is_complete(&out), "{dialect:?}: {}", shown(&out));
        assert_eq!(written(dialect, &response), out, "not the same twice");
        let again = dialects::decode_response(dialect, &out, &Traits::NONE);
        let known = again.as_ref().map_or_else(|fault| is_unrepaired(fault, &out), |_| true);
        assert!(known, "{dialect:?} does not know what it wrote of {source:?}: {again:?}\n{}\n{}", shown(&out), shown(body));
    }
}

fn written(dialect: Dialect, response: &Response<'_>) -> Vec<u8> {
    let (identity, bridge, mut out) = (identity(), Bridge::default(), Vec::new());
    dialects::encode_response(dialect, response, &Face { identity: &identity, bridge: &bridge }, None, &mut out);
    out
}

/// Any bytes as a stream: no cut matters, and what each dialect's caller gets is a stream with one end.
pub(crate) fn stream(data: &[u8]) {
    let Some((source, choice, bytes)) = parts(data) else { return };
    for dialect in Dialect::ALL {
        let whole = translated(source, dialect, choice, [bytes]);
        let size = usize::from(choice) % 64 + 1;
        assert_eq!(shown(&translated(source, dialect, choice, bytes.chunks(size))), shown(&whole), "cut by {size}");
        let mut ends = 0;
        let is_read = for_each_event(dialect, &whole, |event| ends += usize::from(matches!(event, Event::End | Event::Fail { .. })));
        assert!(!is_read || ends == 1, "{dialect:?}: {ends} ends\n{}", shown(&whole));
    }
}

/// What a caller of `target` gets of a provider's stream.
pub(crate) fn translated<'a>(source: Dialect, target: Dialect, choice: u8, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let wanted = Wanted { source, identity: Arc::new(identity()), bridge: Arc::default(), json_array: false };
    let mut stream = Stream::new(target, reply_traits(choice), EVENT_BYTES, wanted);
    let mut out = Vec::new();
    pieces.into_iter().for_each(|piece| stream.feed(piece, &mut out));
    stream.finish(None, &mut out);
    out
}

/// Reads a stream that we wrote. Every event must be one that its dialect's reader knows; false where it stopped at one that nobody can
/// repair.
pub(crate) fn for_each_event(dialect: Dialect, stream: &[u8], mut sink: impl FnMut(Event<'_>)) -> bool {
    let mut decoder = dialects::StreamDecoder::new(dialect, Traits::NONE);
    let mut read = |name: Option<&[u8]>, data: &[u8]| {
        let read = decoder.event(name, data, &mut sink);
        let known = read.as_ref().map_or_else(|fault| is_unrepaired(fault, data), |()| true);
        assert!(known, "{dialect:?} does not know what it wrote: {read:?}\n{}\nin {}", shown(data), shown(stream));
        read.is_ok()
    };
    let all = if dialect == Dialect::BedrockConverse {
        messages(stream).iter().all(|bytes| match eventstream::read(bytes) {
            Ok(message) => read(message.name(), message.data()),
            Err(fault) => panic!("{fault}"),
        })
    } else {
        let mut events = Vec::new();
        let mut decoder = sse::Decoder::new(usize::MAX);
        assert!(decoder.feed(stream, &mut events).is_ok());
        decoder.finish(&mut events);
        events.iter().all(|event| read(Some(event.event.as_bytes()).filter(|name| *name != b"message"), event.data.as_bytes()))
    };
    decoder.finish(&mut sink);
    all
}

/// What a provider gets wrong and nobody can repair, so that strict readers refuse it in what we wrote as they would in what came: calls
/// without a name, and half of a surrogate pair, which passes because the other half may come in the next piece.
fn is_unrepaired(fault: &Malformed, text: &[u8]) -> bool {
    let has_half = shown(text).to_ascii_lowercase().contains("\\ud");
    fault.problem == "holds a call without a name" || fault.problem == "is not valid JSON" && has_half
}

fn messages(stream: &[u8]) -> Vec<&[u8]> {
    let mut framer = eventstream::Framer::new(eventstream::MAX_PAYLOAD_BYTES);
    let (mut messages, mut from) = (Vec::new(), 0);
    while let Ok(Some(end)) = framer.next_end(stream, from) {
        messages.push(&stream[from..end]);
        from = end;
    }
    assert_eq!(from, stream.len(), "the stream ends inside a message");
    messages
}

fn parts(data: &[u8]) -> Option<(Dialect, u8, &[u8])> {
    let [source, choice, rest @ ..] = data else { return None };
    Some((Dialect::ALL[usize::from(*source) % Dialect::ALL.len()], *choice, rest))
}

/// Traits that change what is written, a different set for each choice.
fn traits(choice: u8) -> Traits {
    let bit = |number: u8| choice >> number & 1 == 1;
    Traits {
        no_mid_system: bit(1),
        no_system_role: bit(2),
        no_json_schema: bit(3),
        no_custom_tools: bit(4),
        openrouter_reasoning: bit(5),
        reasoning_content_in: bit(6),
        adaptive_thinking: bit(5),
        budget_thinking: bit(6),
        thought_signatures: bit(7),
        object_arguments: bit(7),
        media_tool_results: bit(4),
        ..Traits::NONE
    }
}

/// Traits that change how replies are read.
fn reply_traits(choice: u8) -> Traits {
    Traits { think_tags: choice & 0x40 != 0, reasoning_outside_completion: choice & 0x80 != 0, ..Traits::NONE }
}

fn identity() -> Identity {
    Identity::new(Manner::Native, "gen-1", "acme/fast", "Lab", 7)
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
