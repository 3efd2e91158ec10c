//! Properties: what is encoded is decoded at any split, and no input does harm.

use fairlead_http1::{Framing, Limits};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::exchange::{End, Final, Reply, read};
use crate::oracle;
use crate::vectors::{rows, unescape};

proptest! {
    #[test]
    fn a_reply_is_read_as_it_was_written(reply in any_reply(), cuts in prop::collection::vec(any::<Index>(), 0..12)) {
        let (bytes, expected) = reply;
        prop_assert_eq!(&read(split(&bytes, &cuts), false, &Limits::default()), &expected);
        prop_assert_eq!(&read(bytes.chunks(1), false, &Limits::default()), &expected);
        oracle::compare(&bytes);
    }

    #[test]
    fn a_cut_reply_is_never_taken_for_a_whole_one(reply in any_reply(), at in any::<Index>()) {
        let (bytes, expected) = reply;
        let End::Done { leftover } = expected.end else { return Ok(()) };
        let whole = bytes.len() - leftover;
        let cut = read([&bytes[..at.index(whole)]], false, &Limits::default());
        if !matches!(cut.head, Some(Final { framing: Framing::UntilClose, .. })) {
            prop_assert!(!matches!(cut.end, End::Done { .. }), "{:?}", cut);
        }
        prop_assert!(expected.payload.starts_with(&cut.payload));
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
        method_is_head in any::<bool>(),
    ) {
        check_any(&bytes, &cuts, method_is_head)?;
        check_any(&[b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".as_slice(), &bytes].concat(), &cuts, method_is_head)?;
    }

    #[test]
    fn likely_pieces_do_no_harm(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..24),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
        method_is_head in any::<bool>(),
    ) {
        check_any(&pieces.concat(), &cuts, method_is_head)?;
    }

    #[test]
    fn damaged_vectors_do_no_harm(
        vector in prop::sample::select(vectors()),
        damage in prop::collection::vec((any::<Index>(), 0..4u8, prop::sample::select(BYTES)), 1..4),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
    ) {
        check_any(&damaged(vector, &damage), &cuts, false)?;
    }
}

/// Checks that nothing panics, that no split matters and that the oracle agrees. Limits are small now and then, so that
/// they too are met.
fn check_any(bytes: &[u8], cuts: &[Index], method_is_head: bool) -> Result<(), TestCaseError> {
    oracle::compare(bytes);
    for limits in [Limits::default(), Limits { head_bytes: 64, headers: 2, chunk_line_bytes: 3, trailer_bytes: 10 }] {
        let whole = read([bytes], method_is_head, &limits);
        prop_assert_eq!(&read(split(bytes, cuts), method_is_head, &limits), &whole);
        prop_assert_eq!(&read(bytes.chunks(1), method_is_head, &limits), &whole);
    }
    Ok(())
}

fn split<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([bytes.len()]).collect();
    ends.sort_unstable();
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends.iter().copied()).map(|(start, end)| &bytes[start..end]).collect()
}

/// Bytes of a reply, with interim heads in front and bytes behind, and what must be read from them.
fn any_reply() -> impl Strategy<Value = (Vec<u8>, Reply)> {
    let body = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6);
    let behind = prop::collection::vec(any::<u8>(), 0..4);
    (0..3usize, any_status(), any_fields(), any_framing(), body, any::<bool>(), behind).prop_map(
        |(interims, status, mut fields, framing, body, close, behind)| {
            let payload = body.concat();
            let framing = if framing == Framing::Length(0) { Framing::Length(payload.len() as u64) } else { framing };
            fields.extend(framing_field(framing));
            if close {
                fields.push(("Connection".into(), b"x, Close".to_vec()));
            }
            let mut bytes = b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n".repeat(interims);
            bytes.extend_from_slice(format!("HTTP/1.1 {status} Any Reason\r\n").as_bytes());
            for (name, value) in &fields {
                bytes.extend_from_slice(&[name.as_bytes(), b": ", value, b" \r\n"].concat());
            }
            bytes.extend_from_slice(b"\r\n");
            bytes.extend(encode_body(framing, &body));
            let leftover = if framing == Framing::UntilClose { 0 } else { behind.len() };
            bytes.extend_from_slice(&behind[..leftover]);
            let keep_alive = !close && framing != Framing::UntilClose;
            let fields = fields.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect();
            let head = Some(Final { status, version_minor: 1, framing, keep_alive, fields });
            (bytes, Reply { interims, head, payload, end: End::Done { leftover } })
        },
    )
}

fn any_status() -> impl Strategy<Value = u16> {
    (200..1000u16).prop_filter("has a body", |status| !matches!(status, 204 | 304))
}

fn any_fields() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let visible = prop_oneof![33..=126u8, 128..=255u8];
    let inner = prop_oneof![4 => visible.clone(), 1 => Just(b' '), 1 => Just(b'\t')];
    let value = (visible.clone(), prop::collection::vec(inner, 0..20), visible)
        .prop_map(|(first, middle, last)| [&[first], middle.as_slice(), &[last]].concat());
    prop::collection::vec(("x-[!#$%&'*+.^_`|~0-9A-Za-z-]{1,16}", value), 0..12)
}

/// Content-Length 0 stands for whatever length the payload has.
fn any_framing() -> impl Strategy<Value = Framing> {
    prop::sample::select(&[Framing::Length(0), Framing::Chunked, Framing::UntilClose][..])
}

fn framing_field(framing: Framing) -> Option<(String, Vec<u8>)> {
    match framing {
        Framing::Length(length) => Some(("Content-Length".into(), length.to_string().into_bytes())),
        Framing::Chunked => Some(("transfer-encoding".into(), b"Chunked".to_vec())),
        Framing::Empty | Framing::UntilClose => None,
    }
}

/// Chunks alternate in spelling; every third one carries an extension, and a body of many chunks has trailers.
fn encode_body(framing: Framing, pieces: &[Vec<u8>]) -> Vec<u8> {
    if framing != Framing::Chunked {
        return pieces.concat();
    }
    let mut bytes = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let size = if index % 2 == 0 { format!("{:x}", piece.len()) } else { format!("{:04X}", piece.len()) };
        let extension = if index % 3 == 0 { ";name=\"value\"" } else { "" };
        bytes.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
    }
    let trailers = if pieces.len() > 3 { "x-checksum: 1\r\ny:\r\n" } else { "" };
    bytes.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
    bytes
}

/// Every head and every chunked body of the tables as a whole reply.
fn vectors() -> Vec<Vec<u8>> {
    let heads = rows("heads.tsv").into_iter().map(|row| [unescape(&row[2]).as_slice(), b"5\r\nhello\r\n0\r\n\r\n"].concat());
    let chunked = rows("bodies.tsv").into_iter().filter(|row| row[1] == "chunked");
    let bodies = chunked.map(|row| [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), unescape(&row[2])].concat());
    heads.chain(bodies).collect()
}

fn damaged(mut bytes: Vec<u8>, damage: &[(Index, u8, u8)]) -> Vec<u8> {
    for (place, manner, byte) in damage {
        let at = place.index(bytes.len() + 1);
        match manner {
            0 => bytes.insert(at, *byte),
            1 if at < bytes.len() => bytes[at] = *byte,
            2 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// Bytes that mean something somewhere.
const BYTES: &[u8] = b"\r\n\t\0 :;,\"015aF+-xX\x0b\x7f\x80\xff";

/// What heads and chunked bodies are made of, with a few near misses.
const PIECES: &[&[u8]] = &[
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 ",
    b"Content-Length: 5\r\n",
    b"Content-Length: ",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: ",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"x-name: value\r\n",
    b": ",
    b"\r\n",
    b"\r\n\r\n",
    b"\r",
    b"\n",
    b"0\r\n\r\n",
    b"0\r\n",
    b"5\r\nhello\r\n",
    b"5;ext=1\r\nhello\r\n",
    b"ffffffffffffffff\r\n",
    b"hello",
    b"5",
    b" ",
    b"\0",
    b"\xff",
];
