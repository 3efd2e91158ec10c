#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Published with AWS's SDKs as examples of valid and damaged messages.
const EMPTY: &str = "0000001000000000 05c248eb 7d98c8ff";
const PAYLOAD_ONLY: &str = "0000001d00000000 fd528c5a 7b27666f6f273a27626172277d c3653936";
const TEXT_HEADER: &str =
    "0000003d00000020 07fd8396 0c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e 7b27666f6f273a27626172277d 8d9c08b1";
const INT_HEADER: &str = "0000002d00000010 41c424b8 0a6576656e742d74797065040000a00c 7b27666f6f273a27626172277d 36f480a0";

#[test]
fn published_messages_are_read_and_written() {
    let text = [Header { name: b"content-type", value: Value::Text(b"application/json") }];
    let int = [Header { name: b"event-type", value: Value::Int(0xa00c) }];
    for (hex, headers, payload) in [
        (EMPTY, &[][..], &b""[..]),
        (PAYLOAD_ONLY, &[], b"{'foo':'bar'}"),
        (TEXT_HEADER, &text, b"{'foo':'bar'}"),
        (INT_HEADER, &int, b"{'foo':'bar'}"),
    ] {
        let published = bytes(hex);
        let message = read(&published).unwrap();
        assert_eq!(message.payload(), payload);
        assert_eq!(message.headers().collect::<Result<Vec<_>, _>>().unwrap(), headers);
        let mut written = Vec::new();
        encode(headers, payload, &mut written);
        assert_eq!(written, published);
    }
}

#[test]
fn damage_is_found_where_it_is() {
    let good = bytes(TEXT_HEADER);
    let check = |at: usize, fault: Fault| {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert_eq!(read(&bad), Err(fault), "byte {at}");
    };
    (0..12).for_each(|at| check(at, Fault::PreludeChecksum));
    (12..good.len()).for_each(|at| check(at, Fault::MessageChecksum));
    (0..good.len()).for_each(|end| assert!(read(&good[..end]).is_err()));
    assert_eq!(read(&[&good[..], b"x"].concat()), Err(Fault::Length));
}

/// Correct checksums around lengths that lie.
fn prelude(total: u32, headers: u32) -> Vec<u8> {
    let mut made = [total.to_be_bytes(), headers.to_be_bytes()].concat();
    made.extend(crc32fast::hash(&made).to_be_bytes());
    made
}

#[test]
fn a_stream_is_judged_by_its_first_twelve_bytes() {
    let check = |bytes: &[u8], fault: Fault| {
        let mut framer = Framer::new(100);
        assert_eq!(framer.next_end(bytes, 0), Err(fault));
        // It stays so.
        assert_eq!(framer.next_end(&bytes_of_a_good_message(), 0), Err(fault));
    };
    check(b"{\"message\":\"no\"}", Fault::PreludeChecksum);
    check(b"<html><head><title>", Fault::PreludeChecksum);
    check(&prelude(15, 0), Fault::Length);
    check(&prelude(16, 1), Fault::Length);
    check(&prelude(u32::MAX, (MAX_HEADERS_BYTES + 1) as u32), Fault::HeadersTooLarge);
    check(&prelude(16 + 101, 0), Fault::PayloadTooLarge(100));
    check(&prelude(u32::MAX, 0), Fault::PayloadTooLarge(100));
    assert_eq!(Framer::new(100).next_end(&prelude(16 + 100, 0), 0), Ok(None));
    assert_eq!(
        Framer::new(usize::MAX).next_end(&prelude(17 + MAX_PAYLOAD_BYTES as u32, 0), 0),
        Err(Fault::PayloadTooLarge(MAX_PAYLOAD_BYTES))
    );
}

fn bytes_of_a_good_message() -> Vec<u8> {
    bytes(EMPTY)
}

#[test]
fn headers_that_are_cut_or_unknown_are_faults() {
    for headers in [&b"\x05ab"[..], b"\x01a", b"\x01a\x0a", b"\x01a\x07\x00\x05abc", b"\x01a\x04\x00", b"\x01a\x09short"] {
        let frame = |out: &mut Vec<u8>| {
            let frame = Frame::begin(out);
            out.extend_from_slice(headers);
            frame.headers_end(out).finish(out);
        };
        let mut message = Vec::new();
        frame(&mut message);
        assert_eq!(read(&message), Err(Fault::Header), "{headers:?}");
    }
}

#[test]
fn events_exceptions_and_errors_are_told_apart() {
    let mut out = Vec::new();
    event("messageStart", &mut out, |payload| payload.extend_from_slice(b"{}"));
    assert_eq!(read(&out).unwrap().kind(), Kind::Event(b"messageStart"));
    assert_eq!(read(&out).unwrap().payload(), b"{}");
    out.clear();
    exception("throttlingException", &mut out, |_| {});
    assert_eq!(read(&out).unwrap().kind(), Kind::Exception(b"throttlingException"));
    let text = |name: &'static str, value: &'static str| Header { name: name.as_bytes(), value: Value::Text(value.as_bytes()) };
    let check = |headers: &[Header<'_>], kind: Kind<'_>| {
        let mut out = Vec::new();
        encode(headers, b"", &mut out);
        assert_eq!(read(&out).unwrap().kind(), kind);
    };
    let error = [text(":message-type", "error"), text(":error-code", "InternalError"), text(":error-message", "down")];
    check(&error, Kind::Error { code: b"InternalError", message: b"down" });
    for (headers, data) in [(&error[..], &b"down"[..]), (&error[..2], b"InternalError")] {
        let mut out = Vec::new();
        encode(headers, b"", &mut out);
        let message = read(&out).unwrap();
        assert_eq!((message.name(), message.data()), (Some(&b"internalServerException"[..]), data));
    }
    check(&[text(":message-type", "new")], Kind::Unknown);
    check(&[], Kind::Unknown);
    check(&[Header { name: b":message-type", value: Value::Int(1) }], Kind::Unknown);
}

fn any_header() -> impl Strategy<Value = (Vec<u8>, u8, Vec<u8>)> {
    (prop::collection::vec(any::<u8>(), 0..20), 0..10_u8, prop::collection::vec(any::<u8>(), 16..40))
}

fn header<'a>((name, kind, data): &'a (Vec<u8>, u8, Vec<u8>)) -> Header<'a> {
    let long = i64::from_be_bytes(data[..8].try_into().unwrap());
    let value = match kind {
        0 | 1 => Value::Flag(*kind == 0),
        2 => Value::Byte(long as i8),
        3 => Value::Short(long as i16),
        4 => Value::Int(long as i32),
        5 => Value::Long(long),
        6 => Value::Bytes(data),
        7 => Value::Text(data),
        8 => Value::Timestamp(long),
        _ => Value::Uuid(data[..16].try_into().unwrap()),
    };
    Header { name, value }
}

/// Every message of a stream, with what is left behind the last one.
fn cut<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, usize) {
    let mut framer = Framer::new(MAX_PAYLOAD_BYTES);
    let (mut messages, mut message) = (Vec::new(), Vec::new());
    for piece in pieces {
        let mut from = 0;
        while let Ok(Some(end)) = framer.next_end(piece, from) {
            message.extend_from_slice(&piece[from..end]);
            messages.push(std::mem::take(&mut message));
            from = end;
        }
        message.extend_from_slice(&piece[from..]);
    }
    (messages, framer.pending_bytes())
}

proptest! {
    #[test]
    fn what_was_written_is_read_at_any_split(
        messages in prop::collection::vec((prop::collection::vec(any_header(), 0..4), prop::collection::vec(any::<u8>(), 0..60)), 0..6),
        size in 1..70_usize,
        lost in 0..20_usize,
    ) {
        let (mut stream, mut ends) = (Vec::new(), vec![0]);
        for (headers, payload) in &messages {
            let headers: Vec<_> = headers.iter().map(header).collect();
            encode(&headers, payload, &mut stream);
            ends.push(stream.len());
            let message = read(&stream[ends[ends.len() - 2]..]).unwrap();
            prop_assert_eq!(message.payload(), &payload[..]);
            prop_assert_eq!(message.headers().collect::<Result<Vec<_>, _>>().unwrap(), headers);
        }
        let (read_back, pending) = cut(stream.chunks(size));
        prop_assert_eq!(pending, 0);
        prop_assert_eq!(read_back.concat(), stream.clone());
        prop_assert_eq!(read_back.len(), messages.len());
        // A stream that is cut says so, unless it is cut between messages.
        let left = stream.len().saturating_sub(lost);
        let (whole, pending) = cut(stream[..left].chunks(size));
        prop_assert_eq!(pending, left - whole.concat().len());
        prop_assert_eq!(pending == 0, ends.contains(&left));
    }

    #[test]
    fn any_bytes_are_a_fault_or_a_message(data in prop::collection::vec(any::<u8>(), 0..64), size in 1..20_usize) {
        let _ = read(&data);
        prop_assert_eq!(cut(data.chunks(size)).0, cut([&data[..]]).0);
    }
}
