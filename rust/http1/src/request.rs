//! Request heads, written so that no value can start a second header or a second request.

use crate::Error;
use crate::syntax::{is_token, is_value};

/// A request head that is being appended to a buffer.
///
/// The steps consume the writer, so that nothing can follow a refused one: an error takes every byte of this head back
/// out of the buffer. Host and framing fields are the writer's own, which is why a request has exactly one of each.
///
/// ```
/// # fn main() -> Result<(), fairlead_http1::Error> {
/// let mut out = Vec::new();
/// fairlead_http1::RequestHead::start(&mut out, "POST", "/v1/chat/completions", "api.example.com")?
///     .header("content-type", b"application/json")?
///     .end_with_body(2);
/// assert_eq!(
///     out,
///     b"POST /v1/chat/completions HTTP/1.1\r\nhost: api.example.com\r\n\
///       content-type: application/json\r\ncontent-length: 2\r\n\r\n"
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a head without its end is no request"]
pub struct RequestHead<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> RequestHead<'a> {
    /// Appends the request line and the Host field. `target` is path and query, already percent-encoded; `host` is
    /// name or address with an optional port, as in a URL.
    ///
    /// # Errors
    /// [`Error::RequestMethod`], [`Error::RequestTarget`], [`Error::RequestHost`]; nothing is appended then.
    pub fn start(out: &'a mut Vec<u8>, method: &str, target: &str, host: &str) -> Result<Self, Error> {
        refuse_unless(is_token(method.as_bytes()), Error::RequestMethod)?;
        refuse_unless(is_target(target.as_bytes()), Error::RequestTarget)?;
        refuse_unless(is_host(host.as_bytes()), Error::RequestHost)?;
        let start = out.len();
        append(out, &[method.as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\nhost: ", host.as_bytes(), b"\r\n"]);
        Ok(Self { out, start })
    }

    /// Appends one field. The value goes out as it is; the recipient ignores white space around it.
    ///
    /// # Errors
    /// [`Error::RequestHeaderName`] for anything but a token, and for `host`, `content-length`, `transfer-encoding`;
    /// [`Error::RequestHeaderValue`] for control bytes. The whole head is taken back then.
    pub fn header(self, name: &str, value: &[u8]) -> Result<Self, Error> {
        let verdict = refuse_unless(is_token(name.as_bytes()) && !is_own(name), Error::RequestHeaderName)
            .and_then(|()| refuse_unless(is_value(value), Error::RequestHeaderValue));
        if let Err(error) = verdict {
            self.out.truncate(self.start);
            return Err(error);
        }
        append(self.out, &[name.as_bytes(), b": ", value, b"\r\n"]);
        Ok(self)
    }

    /// Ends the head of a request whose body is `length_bytes` long; the caller writes exactly that many behind it.
    pub fn end_with_body(self, length_bytes: u64) {
        self.out.extend_from_slice(b"content-length: ");
        append_decimal(self.out, length_bytes);
        self.out.extend_from_slice(b"\r\n\r\n");
    }

    /// Ends the head of a request that has no body, such as GET.
    pub fn end_without_body(self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

fn refuse_unless(valid: bool, error: Error) -> Result<(), Error> {
    if valid { Ok(()) } else { Err(error) }
}

/// Fields that the writer itself is responsible for.
fn is_own(name: &str) -> bool {
    ["host", "content-length", "transfer-encoding"].iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// Origin form: starts with `/`, visible ASCII only, no fragment.
fn is_target(target: &[u8]) -> bool {
    target.first() == Some(&b'/') && target.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'#')
}

/// What may stand in a registered name, an address (brackets for IPv6) and a port.
fn is_host(host: &[u8]) -> bool {
    let may_stand = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte);
    !host.is_empty() && host.iter().all(may_stand)
}

fn append(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    out.reserve(pieces.iter().map(|piece| piece.len()).sum());
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

fn append_decimal(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0u8; 20]; // u64::MAX has 20
    let mut first = digits.len();
    let mut rest = number;
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}
