//! Response heads: status line, header fields, and what they say about the body.

use core::ops::Range;

use crate::syntax::{is_blank, is_token_byte, is_value};
use crate::{Error, Limits};

/// A parsed response head. Its header ranges index the input that was given to [`Head::parse`].
///
/// Keep one per connection and parse into it again and again: the header list keeps its capacity.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The status code, 100 to 999. RFC 9110 asks that a client treats 600 and above like 500.
    pub status: u16,
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub version_minor: u8,
    /// Length of the head in bytes, blank line included; the body starts here.
    pub len: usize,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether the peer lets this connection carry another exchange once the body is complete.
    pub keep_alive: bool,
    fields: Vec<Field>,
}

/// How the end of a body is found (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body, whatever the headers say: reply to HEAD, 1xx, 204, 304.
    #[default]
    Empty,
    /// Exactly this many bytes.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Everything until the peer closes.
    UntilClose,
}

/// How far [`Head::parse`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The head is not complete; call again with the same bytes and more behind them.
    Partial,
    /// A complete 1xx head of `len` bytes. Drop them and parse what follows; the final head is still to come.
    Interim {
        /// Bytes to drop.
        len: usize,
    },
    /// The final head is complete; [`Head::len`] says where it ends.
    Complete,
}

impl Head {
    /// An empty head to parse into.
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses the head at the start of `input`, all bytes received since the previous message. `method_is_head` says
    /// that the request was a HEAD, whose reply has no body.
    ///
    /// Nothing is remembered between calls: after [`Parsed::Partial`] the whole input is read again, at about a
    /// nanosecond per byte and never more than [`Limits::head_bytes`]. Malformed lines are refused as soon as their
    /// line end has arrived, a first byte that is not HTTP at once. Unless the result is `Complete` or `Interim`, the
    /// fields of `self` mean nothing.
    ///
    /// # Errors
    /// Any of the variants of [`Error`] that speak of heads; which one does not depend on how the bytes were split.
    pub fn parse(&mut self, input: &[u8], method_is_head: bool, limits: &Limits) -> Result<Parsed, Error> {
        self.fields.clear();
        let window = &input[..input.len().min(limits.head_bytes)];
        match self.parse_lines(window, limits)? {
            Some(announced) => self.conclude(announced, method_is_head),
            None if window.len() == limits.head_bytes => Err(Error::HeadTooLarge),
            None => Ok(Parsed::Partial),
        }
    }

    /// The first value of the header `name` (compared without case), without surrounding white space. `input` is what
    /// was given to [`Head::parse`].
    pub fn header<'a>(&self, input: &'a [u8], name: &str) -> Option<&'a [u8]> {
        let field = self.fields.iter().find(|field| field.is_named(input, name))?;
        input.get(field.value.clone())
    }

    /// All header fields as (name, value) in the order and spelling of the wire. `input` is what was given to
    /// [`Head::parse`].
    pub fn headers<'a>(&'a self, input: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.fields.iter().filter_map(|field| Some((input.get(field.name.clone())?, input.get(field.value.clone())?)))
    }

    /// Reads line by line; `None` when the blank line has not come yet.
    fn parse_lines(&mut self, window: &[u8], limits: &Limits) -> Result<Option<Announced>, Error> {
        refuse_other_protocols(window)?;
        let Some(line) = next_line(window, 0)? else { return Ok(None) };
        let mut next = line.end + 2;
        (self.version_minor, self.status) = parse_status_line(&window[line])?;
        let mut announced = Announced::default();
        loop {
            let Some(line) = next_line(window, next)? else { return Ok(None) };
            next = line.end + 2;
            if line.is_empty() {
                self.len = next;
                return Ok(Some(announced));
            }
            if self.fields.len() == limits.headers {
                return Err(Error::TooManyHeaders);
            }
            let field = parse_field(window, line)?;
            announced.note(&window[field.name.clone()], &window[field.value.clone()], self.version_minor)?;
            self.fields.push(field);
        }
    }

    /// Decides framing and persistence from status, method and what the fields announced.
    fn conclude(&mut self, announced: Announced, method_is_head: bool) -> Result<Parsed, Error> {
        let interim = self.status < 200;
        if self.status == 101 {
            return Err(Error::SwitchingProtocols);
        }
        if interim && (announced.length.is_some() || announced.chunked) {
            return Err(Error::InterimWithBody);
        }
        self.framing = if interim || method_is_head || matches!(self.status, 204 | 304) {
            Framing::Empty
        } else if announced.chunked {
            Framing::Chunked
        } else {
            announced.length.map_or(Framing::UntilClose, Framing::Length)
        };
        // A 204 that announces a body has none by RFC 9112 6.3, yet its sender may think otherwise.
        let disputed = self.status == 204 && (announced.chunked || announced.length.is_some_and(|length| length > 0));
        let persistent = !announced.close && (self.version_minor == 1 || announced.keep_alive);
        self.keep_alive = persistent && !disputed && self.framing != Framing::UntilClose;
        Ok(if interim { Parsed::Interim { len: self.len } } else { Parsed::Complete })
    }
}

/// Where one header field stands in the input.
#[derive(Clone, Debug)]
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

impl Field {
    fn is_named(&self, input: &[u8], name: &str) -> bool {
        input.get(self.name.clone()).is_some_and(|own| own.eq_ignore_ascii_case(name.as_bytes()))
    }
}

/// What the header fields say about body and connection, before status and method have their word.
#[derive(Clone, Copy, Default)]
struct Announced {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

impl Announced {
    fn note(&mut self, name: &[u8], value: &[u8], version_minor: u8) -> Result<(), Error> {
        // The length decides for nearly all fields, so that one comparison is made at most.
        match name.len() {
            10 if name.eq_ignore_ascii_case(b"connection") => self.note_connection(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.note_length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.note_coding(value, version_minor)?,
            _ => return Ok(()),
        }
        if self.chunked && self.length.is_some() { Err(Error::LengthAndTransferEncoding) } else { Ok(()) }
    }

    fn note_connection(&mut self, value: &[u8]) {
        for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn note_length(&mut self, value: &[u8]) -> Result<(), Error> {
        if self.length.is_some() {
            return Err(Error::RepeatedContentLength);
        }
        self.length = Some(parse_decimal(value).ok_or(Error::ContentLength)?);
        Ok(())
    }

    fn note_coding(&mut self, value: &[u8], version_minor: u8) -> Result<(), Error> {
        if version_minor == 0 {
            return Err(Error::TransferEncodingInHttp10);
        }
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Error::TransferEncoding);
        }
        self.chunked = true;
        Ok(())
    }
}

/// Tells a peer that speaks something else (TLS, SSH, HTTP/2) from its first bytes, without waiting for a line end.
fn refuse_other_protocols(window: &[u8]) -> Result<(), Error> {
    let length = window.len().min(HTTP.len());
    if window[..length] == HTTP[..length] { Ok(()) } else { Err(Error::NotHttp) }
}

const HTTP: &[u8] = b"HTTP/";

/// The line that starts at `start`, without its CRLF; `None` when its end has not come yet.
fn next_line(window: &[u8], start: usize) -> Result<Option<Range<usize>>, Error> {
    let Some(length) = memchr::memchr(b'\n', &window[start..]) else { return Ok(None) };
    let line_feed = start + length;
    if length == 0 || window[line_feed - 1] != b'\r' {
        return Err(Error::BareLineFeed);
    }
    Ok(Some(start..line_feed - 1))
}

/// Minor version and status code of `HTTP/1.x NNN[ reason]`.
fn parse_status_line(line: &[u8]) -> Result<(u8, u16), Error> {
    let rest = line.strip_prefix(HTTP).ok_or(Error::NotHttp)?;
    let (version, rest) = rest.split_at_checked(3).ok_or(Error::Version)?;
    let version_minor = match version {
        b"1.1" => 1,
        b"1.0" => 0,
        _ => return Err(Error::Version),
    };
    let (code, reason) = match rest {
        [b' ', hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9', reason @ ..] => {
            (u16::from(hundreds - b'0') * 100 + u16::from(tens - b'0') * 10 + u16::from(ones - b'0'), reason)
        }
        _ => return Err(Error::StatusLine),
    };
    match reason {
        [] => Ok((version_minor, code)),
        [b' ', text @ ..] if is_value(text) => Ok((version_minor, code)),
        _ => Err(Error::StatusLine),
    }
}

/// Where name and value of the non-empty `line` stand; the value without surrounding white space.
fn parse_field(window: &[u8], line: Range<usize>) -> Result<Field, Error> {
    let text = &window[line.clone()];
    let name_length = text.iter().take_while(|&&byte| is_token_byte(byte)).count();
    match text.get(name_length) {
        Some(b':') if name_length > 0 => {}
        Some(b' ' | b'\t') if name_length == 0 => return Err(Error::FoldedHeader),
        _ => return Err(Error::HeaderName),
    }
    let raw = &text[name_length + 1..];
    if !is_value(raw) {
        return Err(Error::HeaderValue);
    }
    let leading = raw.iter().take_while(|&&byte| is_blank(byte)).count();
    let trailing = raw[leading..].iter().rev().take_while(|&&byte| is_blank(byte)).count();
    Ok(Field { name: line.start..line.start + name_length, value: line.start + name_length + 1 + leading..line.end - trailing })
}

/// A plain decimal number: digits only, at least one, no overflow.
fn parse_decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}
