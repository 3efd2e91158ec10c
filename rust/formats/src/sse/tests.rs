//! Framer and decoder against vectors, and against a reference that reads the whole stream at once, under every cut.

#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use serde_json::Value;

#[path = "reference.rs"]
mod reference;

use reference::reference;

use super::{Decoder, Event, Framer, TooLarge, data, data_range, encode, event_name};

/// What the stream decodes to when it comes in `pieces`: events, events at the end, and whether it was too large.
fn decode<'a>(max_event_bytes: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, Vec<Event>, bool) {
    let mut decoder = Decoder::new(max_event_bytes);
    let (mut events, mut last) = (Vec::new(), Vec::new());
    for piece in pieces {
        if decoder.feed(piece, &mut events).is_err() {
            assert_eq!(decoder.feed(b"\n\ndata: x\n\n", &mut Vec::new()), Err(TooLarge { max_event_bytes }));
            return (events, last, true);
        }
    }
    decoder.finish(&mut last);
    decoder.finish(&mut events);
    (events, last, false)
}

/// Cuts of `length` bytes: whole, each single cut, every size of equal pieces up to 9.
fn cuts(length: usize) -> Vec<Vec<usize>> {
    let mut cuts: Vec<Vec<usize>> = vec![Vec::new()];
    cuts.extend((0..=length).map(|cut| vec![cut]));
    cuts.extend((1..9).map(|size| (0..length).step_by(size).collect()));
    cuts
}

fn pieces<'a>(stream: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut from = 0;
    let mut pieces = Vec::new();
    for &cut in cuts {
        pieces.push(&stream[from..cut]);
        from = cut;
    }
    pieces.push(&stream[from..]);
    pieces
}

/// The events of the stream as the framer cuts it, and the rest behind the last one.
fn frame(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut framer = Framer::new(usize::MAX);
    let (mut events, mut event) = (Vec::new(), Vec::new());
    for piece in pieces {
        let mut from = 0;
        while let Some(end) = framer.next_end(piece, from).unwrap() {
            event.extend_from_slice(&piece[from..end]);
            events.push(std::mem::take(&mut event));
            from = end;
        }
        event.extend_from_slice(&piece[from..]);
        assert_eq!(framer.pending_bytes(), event.len());
    }
    (events, event)
}

/// What the relay's readers see in one event.
fn read(event: &[u8]) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let mut scratch = b"left over".to_vec();
    let joined = data(event, &mut scratch).map(<[u8]>::to_vec);
    if let Some(range) = data_range(event) {
        assert_eq!(Some(&event[range]), joined.as_deref());
    } else {
        assert!(joined.as_ref().is_none_or(|joined| joined.contains(&b'\n')), "{:?}", String::from_utf8_lossy(event));
    }
    (event_name(event).map(<[u8]>::to_vec), joined)
}

/// Every cut gives the same frames (but for the LF of a cut CRLF) and the same fields in them.
fn check_framer(stream: &[u8], cuts: &[Vec<usize>]) -> usize {
    let (whole, rest) = frame(&[stream]);
    let fields: Vec<_> = whole.iter().map(|event| read(event)).collect();
    for cuts in cuts {
        let (events, tail) = frame(&pieces(stream, cuts));
        assert_eq!([events.concat(), tail].concat(), stream);
        assert_eq!(events.iter().map(|event| read(event)).collect::<Vec<_>>(), fields, "{cuts:?} {:?}", String::from_utf8_lossy(stream));
        for (event, whole) in events.iter().zip(&whole) {
            assert_eq!(event.trim_ascii(), whole.trim_ascii());
        }
    }
    assert!(!rest.ends_with(b"\n\n"));
    whole.len()
}

fn check_against_reference(stream: &[u8], cuts: &[Vec<usize>]) {
    let expected = reference(stream);
    for cuts in cuts {
        let (events, _, too_large) = decode(usize::MAX, pieces(stream, cuts));
        assert!(!too_large);
        assert_eq!(events, expected, "{cuts:?} {:?}", String::from_utf8_lossy(stream));
    }
    check_framer(stream, cuts);
}

fn expected_events(events: &Value) -> Vec<Event> {
    let text = |value: &Value, default: &str| value.as_str().unwrap_or(default).to_owned();
    let event = |event: &Value| Event {
        event: text(&event["event"], "message"),
        data: text(&event["data"], ""),
        id: text(&event["id"], ""),
        retry: event["retry"].as_u64(),
    };
    events.as_array().map_or_else(Vec::new, |events| events.iter().map(event).collect())
}

#[test]
fn vectors() {
    let path = format!("{}/../../tests/vectors/sse/events.json", env!("CARGO_MANIFEST_DIR"));
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for case in cases {
        let stream = match case["hex"].as_str() {
            Some(hex) => (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect(),
            None => case["text"].as_str().unwrap().as_bytes().to_vec(),
        };
        let limit = case["max_event_bytes"].as_u64().map_or(1 << 20, |limit| usize::try_from(limit).unwrap());
        let too_large = case["too_large"].as_bool().unwrap_or(false);
        let expected = (expected_events(&case["events"]), expected_events(&case["finish"]), too_large);
        let cuts = cuts(stream.len());
        for cuts in &cuts {
            assert_eq!(decode(limit, pieces(&stream, cuts)), expected, "{} cut at {cuts:?}", case["name"]);
        }
        if !too_large {
            assert_eq!(reference(&stream), expected.0, "{}: the reference", case["name"]);
            assert_eq!(check_framer(&stream, &cuts), usize::try_from(case["frames"].as_u64().unwrap()).unwrap(), "{}", case["name"]);
        }
    }
}

#[test]
fn readers() {
    let check = |event: &str, name: Option<&str>, joined: Option<&str>, range: Option<std::ops::Range<usize>>| {
        let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        assert_eq!(read(event.as_bytes()), (bytes(name), bytes(joined)), "{event:?}");
        assert_eq!(data_range(event.as_bytes()), range, "{event:?}");
    };
    check("data: {}\n\n", None, Some("{}"), Some(6..8));
    check("data:{}\r\n\r\n", None, Some("{}"), Some(5..7));
    check("data: \r\r", None, Some(""), Some(6..6));
    check("data\n\n", None, Some(""), Some(4..4));
    check("\ndata: a\n\n", None, Some("a"), Some(7..8));
    check("\u{feff}data: a\n\n", None, Some("a"), Some(9..10));
    check("\n\u{feff}data: a\n\n", None, Some("a"), Some(10..11));
    check("event: ping\ndata: {}\n\n", Some("ping"), Some("{}"), Some(18..20));
    check("data: a\nevent:x\n\n", Some("x"), Some("a"), Some(6..7));
    check("data: a\r\ndata: b\r\n\r\n", None, Some("a\nb"), None);
    check("data: a\n", None, Some("a"), Some(6..7));
    check("data: a", None, Some("a"), Some(6..7));
    check(": ping\n\n", None, None, None);
    check("\n", None, None, None);
    check("", None, None, None);
    check("event:\ndatum: 1\n\n", None, None, None);
}

#[test]
fn the_limit_holds_in_any_pieces() {
    let stream = b"data: 123456\n\n";
    for limit in 0..20 {
        for cuts in cuts(stream.len()) {
            let mut framer = Framer::new(limit);
            let outcome = pieces(stream, &cuts).into_iter().try_for_each(|piece| framer.next_end(piece, 0).map(drop));
            assert_eq!(outcome.is_ok(), limit >= stream.len(), "{limit} {cuts:?}");
            assert_eq!(outcome.is_err(), framer.next_end(b"x", 0).is_err() && limit < stream.len());
        }
    }
}

#[test]
fn encoding() {
    let check = |event: Option<&str>, data: &str, expected: &str| {
        let mut out = b"before".to_vec();
        encode(event, data, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("before{expected}"));
    };
    check(None, "{}", "data: {}\n\n");
    check(Some("ping"), "{}", "event: ping\ndata: {}\n\n");
    check(Some("a\ndata: forged"), "x", "event: a\ndata: x\n\n");
    check(None, "", "data: \n\n");
    check(None, "a\nb\r\nc\rd\n", "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n");
}

const LINE_ENDS: &[&[u8]] = &[b"\n", b"\n\n", b"\r", b"\r\n", b"\r\n\r\n", b"\r\r"];
const FIELDS: &[&[u8]] = &[b"data: ", b"data:", b"data", b"event: e", b"id: 1", b"id", b"retry: 7", b": c", b":", b"x: y", b" data: "];
const TEXTS: &[&[u8]] = &[b"a", b" ", b"{}", b"\0", b"\xc3\xa9", b"\xe4\xb8", b"\xff", b"12", b"\xef\xbb\xbf", b"\xef\xbb"];

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => proptest::sample::select(LINE_ENDS),
        3 => proptest::sample::select(FIELDS),
        2 => proptest::sample::select(TEXTS),
    ];
    proptest::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_stream_in_any_pieces(stream in stream()) {
        check_against_reference(&stream, &cuts(stream.len()));
    }

    #[test]
    fn any_bytes_in_any_pieces(stream in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'\r'), Just(b':')], 0..40)) {
        check_against_reference(&stream, &cuts(stream.len()));
    }

    #[test]
    fn what_is_encoded_is_decoded(events in proptest::collection::vec((proptest::option::of("[a-z_]{1,8}"), "[^\r]{0,20}"), 0..5), size in 1_usize..30) {
        let mut stream = Vec::new();
        for (event, data) in &events {
            encode(event.as_deref(), data, &mut stream);
        }
        let decoded = decode(usize::MAX, stream.chunks(size)).0;
        prop_assert_eq!(decoded.len(), events.len());
        for (decoded, (event, data)) in decoded.iter().zip(&events) {
            prop_assert_eq!((&decoded.event[..], &decoded.data), (event.as_deref().unwrap_or("message"), data));
        }
    }
}
