//! Heads against their table, at every split, and at their limits.

use fairlead_http1::{Error, Framing, Head, Limits, Parsed};

use crate::exchange::{End, read};
use crate::vectors::{every_split, rows, unescape};

#[test]
fn every_vector_has_its_outcome() {
    for row in rows("heads.tsv") {
        let [name, method, input, expected] = row.as_slice() else { panic!("not four columns: {row:?}") };
        let input = unescape(input);
        assert_eq!(&outcome(&input, method == "HEAD", &Limits::default()), expected, "{name}");
    }
}

#[test]
fn no_split_changes_a_vector() {
    for row in rows("heads.tsv") {
        let (method_is_head, input) = (row[1] == "HEAD", unescape(&row[2]));
        let whole = read([input.as_slice()], method_is_head, &Limits::default());
        for pieces in every_split(&input) {
            assert_eq!(read(pieces.iter().copied(), method_is_head, &Limits::default()), whole, "{} as {pieces:?}", row[0]);
        }
    }
}

#[test]
fn a_prefix_of_a_good_head_is_partial() {
    for row in rows("heads.tsv").into_iter().filter(|row| row[3].starts_with("complete")) {
        let input = unescape(&row[2]);
        for length in 0..input.len() {
            assert_eq!(outcome(&input[..length], false, &Limits::default()), "partial", "{} at {length}", row[0]);
        }
    }
}

#[test]
fn limits_are_exact() {
    let head = b"HTTP/1.1 200 OK\r\na: 1\r\nb: 2\r\n\r\n";
    let exact = Limits { head_bytes: head.len(), headers: 2, ..Limits::default() };
    let check = |input: &[u8], limits: &Limits, expected: &str| assert_eq!(outcome(input, false, limits), expected);
    check(head, &exact, "complete 200 1 until-close close 2");
    check(head, &Limits { head_bytes: head.len() - 1, ..exact }, "error head_too_large");
    check(&head[..head.len() - 1], &Limits { head_bytes: head.len() - 1, ..exact }, "error head_too_large");
    check(&head[..head.len() - 2], &Limits { head_bytes: head.len() - 1, ..exact }, "partial");
    check(head, &Limits { headers: 1, ..exact }, "error too_many_headers");
    check(head, &Limits { headers: 0, ..exact }, "error too_many_headers");
    check(b"HTTP/1.1 200 OK\r\n\r\n", &Limits { headers: 0, ..exact }, "complete 200 1 until-close close 0");
    check(b"", &Limits { head_bytes: 0, ..exact }, "error head_too_large");
}

#[test]
fn default_limits_are_those_written_down() {
    let fields = |count: usize| [b"HTTP/1.1 200 OK\r\n".as_slice(), &b"x: y\r\n".repeat(count), b"\r\n"].concat();
    assert_eq!(outcome(&fields(100), false, &Limits::default()), "complete 200 1 until-close close 100");
    assert_eq!(outcome(&fields(101), false, &Limits::default()), "error too_many_headers");
    let endless = [b"HTTP/1.1 200 OK\r\nx: ".as_slice(), &b"y".repeat(40 * 1024)].concat();
    assert_eq!(outcome(&endless, false, &Limits::default()), "error head_too_large");
    assert_eq!(outcome(&endless[..32 * 1024 - 1], false, &Limits::default()), "partial");
}

#[test]
fn headers_are_found_without_case_and_first_wins() {
    let input = b"HTTP/1.1 200 OK\r\nX-One:  a b \r\nx-two:\r\nx-one: c\r\n\r\nx-three: body";
    let mut head = Head::new();
    assert_eq!(head.parse(input, false, &Limits::default()), Ok(Parsed::Complete));
    let check = |name: &str, expected: Option<&[u8]>| assert_eq!(head.header(input, name), expected, "{name}");
    check("x-one", Some(b"a b"));
    check("X-TWO", Some(b""));
    check("x-three", None);
    check("x-on", None);
    check("", None);
    let names: Vec<_> = head.headers(input).map(|(name, _)| name).collect();
    assert_eq!(names, [b"X-One".as_slice(), b"x-two", b"x-one"]);
    // Another input than the parsed one gives nothing or something else, never a panic.
    assert_eq!(head.header(b"HTTP", "x-one"), None);
    assert_eq!(head.headers(b"HTTP").count(), 0);
}

#[test]
fn a_head_is_used_again_from_scratch() {
    let mut head = Head::new();
    let first = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    assert_eq!(head.parse(first, false, &Limits::default()), Ok(Parsed::Complete));
    let second = b"HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\n";
    assert_eq!(head.parse(second, false, &Limits::default()), Ok(Parsed::Complete));
    assert_eq!((head.status, head.framing, head.keep_alive, head.len), (404, Framing::Length(3), true, second.len()));
    assert_eq!(head.headers(second).count(), 1);
}

#[test]
fn interim_heads_are_passed_over() {
    let input = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    for pieces in every_split(input) {
        let reply = read(pieces, false, &Limits::default());
        assert_eq!((reply.interims, reply.payload.as_slice(), reply.end), (2, b"ok".as_slice(), End::Done { leftover: 0 }));
        assert_eq!(reply.head.map(|head| (head.status, head.fields.len())), Some((200, 1)));
    }
}

#[test]
fn a_refused_head_says_why() {
    assert_eq!(Error::BareLineFeed.to_string(), "a line of the head ends with LF instead of CRLF");
    assert_eq!(Error::BareLineFeed.kind(), "bare_line_feed");
}

/// The outcome of one call, in the words of the table.
fn outcome(input: &[u8], method_is_head: bool, limits: &Limits) -> String {
    let mut head = Head::new();
    match head.parse(input, method_is_head, limits) {
        Err(error) => format!("error {}", error.kind()),
        Ok(Parsed::Partial) => "partial".to_owned(),
        Ok(Parsed::Interim { len }) => format!("interim {len}"),
        Ok(Parsed::Complete) => {
            let framing = match head.framing {
                Framing::Empty => "empty".to_owned(),
                Framing::Length(length) => format!("length:{length}"),
                Framing::Chunked => "chunked".to_owned(),
                Framing::UntilClose => "until-close".to_owned(),
            };
            let persistence = if head.keep_alive { "keep" } else { "close" };
            let fields = head.headers(input).count();
            format!("complete {} {} {framing} {persistence} {fields}", head.status, head.version_minor)
        }
    }
}
