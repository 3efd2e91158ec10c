//! Request heads: what is written, what is refused, and that a refused head leaves nothing behind.

use fairlead_http1::{Error, RequestHead};
use proptest::prelude::*;

#[test]
fn a_head_is_written_in_order() {
    let mut out = b"earlier".to_vec();
    RequestHead::start(&mut out, "POST", "/v1/messages?beta=true", "api.example.com:8443")
        .and_then(|head| head.header("x-api-key", b"secret"))
        .and_then(|head| head.header("x-empty", b""))
        .unwrap()
        .end_with_body(u64::MAX);
    let expected = "earlierPOST /v1/messages?beta=true HTTP/1.1\r\nhost: api.example.com:8443\r\nx-api-key: secret\r\nx-empty: \r\n\
                    content-length: 18446744073709551615\r\n\r\n";
    assert_eq!(out, expected.as_bytes());
}

#[test]
fn a_length_of_zero_is_written_and_no_body_is_not() {
    let write = |end: fn(RequestHead<'_>)| {
        let mut out = Vec::new();
        end(RequestHead::start(&mut out, "GET", "/", "[::1]:80").unwrap());
        out
    };
    assert_eq!(write(|head| head.end_with_body(0)), b"GET / HTTP/1.1\r\nhost: [::1]:80\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(write(|head| head.end_without_body()), b"GET / HTTP/1.1\r\nhost: [::1]:80\r\n\r\n");
}

#[test]
fn what_could_start_another_line_is_refused() {
    check("POST\r\n", "/", "h", "a", b"b", Error::RequestMethod);
    check("", "/", "h", "a", b"b", Error::RequestMethod);
    check("PO ST", "/", "h", "a", b"b", Error::RequestMethod);
    for target in ["", "v1", "http://h/", "*", "/ HTTP/1.1", "/\r\nx: y", "/\0", "/\t", "/#x", "/\u{e4}", "/\x7f"] {
        check("GET", target, "h", "a", b"b", Error::RequestTarget);
    }
    for host in ["", "h\r\nx: y", "h x", "h/x", "user@h", "h?x", "h#x", "h\0", "\u{e4}", "h\\x"] {
        check("GET", "/", host, "a", b"b", Error::RequestHost);
    }
    for name in ["", "a b", "a:", "a\r\nb", "a\0", "\u{e4}", "Host", "content-length", "Transfer-Encoding"] {
        check("GET", "/", "h", name, b"b", Error::RequestHeaderName);
    }
    for value in [b"b\r\nc: d".as_slice(), b"b\n", b"b\r", b"\0", b"\x7f", b"\x1b[2J"] {
        check("GET", "/", "h", "a", value, Error::RequestHeaderValue);
    }
}

proptest! {
    #[test]
    fn what_is_accepted_is_read_back_as_one_request(
        method in "[A-Z]{1,8}",
        target in "/[!-~]{0,40}",
        host in "[a-z0-9.:\\[\\]-]{1,20}",
        fields in prop::collection::vec(("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", prop::collection::vec(any::<u8>(), 0..24)), 0..12),
        length in prop::option::of(any::<u64>()),
    ) {
        let mut out = Vec::new();
        let written = RequestHead::start(&mut out, &method, &target, &host)
            .and_then(|head| fields.iter().try_fold(head, |head, (name, value)| head.header(name, value)))
            .map(|head| match length {
                Some(length) => head.end_with_body(length),
                None => head.end_without_body(),
            });
        if written.is_err() {
            prop_assert!(out.is_empty());
            return Ok(());
        }
        let mut slots = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut slots);
        prop_assert_eq!(request.parse(&out), Ok(httparse::Status::Complete(out.len())));
        prop_assert_eq!((request.method, request.path, request.version), (Some(method.as_str()), Some(target.as_str()), Some(1)));
        let read: Vec<_> = request.headers.iter().map(|field| (field.name, field.value.to_vec())).collect();
        let framing = length.map(|length| ("content-length", length.to_string().into_bytes()));
        let expected: Vec<_> = [("host", host.as_bytes().to_vec())]
            .into_iter()
            .chain(fields.iter().map(|(name, value)| (name.as_str(), trimmed(value).to_vec())))
            .chain(framing)
            .collect();
        prop_assert_eq!(read, expected);
    }
}

/// Checks that a request is refused with `expected` and that the buffer is as before.
fn check(method: &str, target: &str, host: &str, name: &str, value: &[u8], expected: Error) {
    let mut out = b"earlier".to_vec();
    let refused = RequestHead::start(&mut out, method, target, host)
        .and_then(|head| head.header("x-first", b"1"))
        .and_then(|head| head.header(name, value))
        .map(RequestHead::end_without_body);
    assert_eq!(refused, Err(expected), "{method:?} {target:?} {host:?} {name:?} {value:?}");
    assert_eq!(out, b"earlier");
}

fn trimmed(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().take_while(|byte| is_blank(byte)).count();
    let end = value[start..].iter().rev().take_while(|byte| is_blank(byte)).count();
    &value[start..value.len() - end]
}
