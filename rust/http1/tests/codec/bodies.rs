//! Bodies against their table, at every split, and at their limits.

use fairlead_http1::{Body, Error, Framing, Limits, Step};

use crate::exchange::{End, read_body};
use crate::vectors::{every_split, rows, unescape};

#[test]
fn every_vector_has_its_outcome_at_every_split() {
    for row in rows("bodies.tsv") {
        let [name, framing, input, payload, expected] = row.as_slice() else { panic!("not five columns: {row:?}") };
        let (framing, input, payload) = (parse_framing(framing), unescape(input), unescape(payload));
        for pieces in every_split(&input) {
            let (read, end) = read_body(framing, pieces.iter().copied(), &Limits::default());
            assert_eq!((read.as_slice(), &words(end)), (payload.as_slice(), expected), "{name} as {pieces:?}");
        }
    }
}

#[test]
fn one_step_takes_one_piece_and_the_framing_around_it() {
    let mut body = Body::new(Framing::Chunked, &Limits::default());
    let input = b"5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\nHTTP";
    assert_eq!(body.step(input), Ok(Step { consumed: 13, payload: 3..8 }));
    assert!(!body.is_done());
    assert_eq!(body.step(&input[13..]), Ok(Step { consumed: 10, payload: 0..3 }));
    assert!(body.is_done());
    assert_eq!(body.step(&input[23..]), Ok(Step { consumed: 0, payload: 0..0 }));
    assert_eq!(body.finish(), Ok(()));
}

#[test]
fn payload_comes_before_the_mistake_and_the_mistake_is_final() {
    let mut body = Body::new(Framing::Chunked, &Limits::default());
    let input = b"5\r\nhello!";
    assert_eq!(body.step(input), Ok(Step { consumed: 8, payload: 3..8 }));
    assert_eq!(body.step(&input[8..]), Err(Error::ChunkEnd));
    assert_eq!(body.step(b"\r\n0\r\n\r\n"), Err(Error::ChunkEnd));
    assert_eq!(body.step(b""), Err(Error::ChunkEnd));
    assert_eq!(body.finish(), Err(Error::ChunkEnd));
    assert!(!body.is_done());
}

#[test]
fn a_truncated_body_stays_truncated() {
    let mut body = Body::new(Framing::Length(2), &Limits::default());
    assert_eq!(body.finish(), Err(Error::Truncated));
    assert_eq!(body.step(b"ok"), Err(Error::Truncated));
}

#[test]
fn nothing_follows_the_close() {
    let mut body = Body::new(Framing::UntilClose, &Limits::default());
    assert_eq!(body.step(b"ok"), Ok(Step { consumed: 2, payload: 0..2 }));
    assert_eq!(body.finish(), Ok(()));
    assert!(body.is_done());
    assert_eq!(body.step(b"more"), Ok(Step { consumed: 0, payload: 0..0 }));
}

#[test]
fn limits_are_exact() {
    let limits = Limits { chunk_line_bytes: 4, trailer_bytes: 8, ..Limits::default() };
    check(&limits, b"0005\r\nhello\r\n0;ab\r\n\r\n", "done 0");
    check(&limits, b"00005\r\nhello\r\n0\r\n\r\n", "error chunk_line_too_long");
    check(&limits, b"5;abc\r\nhello\r\n0\r\n\r\n", "error chunk_line_too_long");
    check(&limits, b"5   ;\r\nhello\r\n0\r\n\r\n", "error chunk_line_too_long");
    check(&limits, b"0\r\na: b\r\n\r\n", "done 0");
    check(&limits, b"0\r\na: bc\r\n\r\n", "error trailer_too_large");
    check(&limits, b"0\r\n\r\n", "done 0");
    // Two extension bytes a line: the ninth line would be the seventeenth byte, four times the line limit being sixteen.
    let line = b"1;ab\r\nx\r\n";
    check(&limits, &[line.repeat(8).as_slice(), b"0\r\n\r\n"].concat(), "done 0");
    check(&limits, &[line.repeat(9).as_slice(), b"0\r\n\r\n"].concat(), "error chunk_extension");
}

#[test]
fn default_limits_are_those_written_down() {
    let limits = Limits::default();
    let lines = |extension: usize| [b"0;".as_slice(), &b"e".repeat(extension), b"\r\n\r\n"].concat();
    check(&limits, &lines(4096 - 2), "done 0");
    check(&limits, &lines(4096 - 1), "error chunk_line_too_long");
    let trailers = |length: usize| [b"0\r\nt:".as_slice(), &b"e".repeat(length), b"\r\n\r\n"].concat();
    check(&limits, &trailers(8192 - 6), "done 0");
    check(&limits, &trailers(8192 - 5), "error trailer_too_large");
}

/// Checks how a chunked body ends, whole and byte by byte.
fn check(limits: &Limits, input: &[u8], expected: &str) {
    let (_, whole) = read_body(Framing::Chunked, [input], limits);
    let (_, by_byte) = read_body(Framing::Chunked, input.chunks(1), limits);
    assert_eq!((words(whole).as_str(), words(by_byte).as_str()), (expected, expected), "{}", input.escape_ascii());
}

fn parse_framing(text: &str) -> Framing {
    match text.split_once(':') {
        Some(("length", length)) => Framing::Length(length.parse().unwrap()),
        _ => match text {
            "chunked" => Framing::Chunked,
            "until-close" => Framing::UntilClose,
            "empty" => Framing::Empty,
            _ => panic!("no such framing: {text}"),
        },
    }
}

/// The end in the words of the table.
fn words(end: End) -> String {
    match end {
        End::Done { leftover } => format!("done {leftover}"),
        End::Refused(error) => format!("error {}", error.kind()),
        End::NoHead => "no head".to_owned(),
    }
}
