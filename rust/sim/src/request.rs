//! Reads HTTP/1.1 requests, strictly: what two parsers could read differently is refused with a text that says why,
//! because the caller is a gateway under test and must not send it.

use crate::connection::{Connection, Gone};
use bytes::{Bytes, BytesMut};
use httparse::{EMPTY_HEADER, Status};

const MAX_HEAD_BYTES: usize = 64 * 1024;
const MAX_HEADERS: usize = 128;
/// A chunk's size line: 16 hexadecimal digits and CRLF.
const MAX_CHUNK_LINE_BYTES: usize = 18;

/// A whole request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) head: Head,
    /// The head as it came, with its empty line.
    pub(crate) raw_head: Bytes,
    pub(crate) body: Bytes,
}

impl Request {
    /// The value of the header `name`; of several, the first.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All headers in order, names as they were sent, values without white space around them.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        // Heads that are not UTF-8 where it matters have been refused; a value that is not elsewhere is left out.
        let lines = self.raw_head.split(|&byte| byte == b'\n').skip(1);
        lines.filter_map(|line| std::str::from_utf8(line).ok()?.split_once(':')).map(|(name, value)| (name, value.trim()))
    }
}

/// What the simulator wants to know of a head.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    /// The value of `Authorization: Bearer`, `x-api-key`, `x-goog-api-key` or `api-key`.
    pub(crate) credential: Option<String>,
    pub(crate) anthropic_version: bool,
    pub(crate) json: bool,
    /// HTTP/1.1 (not 1.0).
    pub(crate) http_1_1: bool,
    pub(crate) close: bool,
    framing: Framing,
    expects_continue: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Framing {
    #[default]
    None,
    Length(usize),
    Chunked,
}

/// Why there is no request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoRequest {
    /// The connection ended, between requests or within one.
    Gone,
    /// To be answered with this status and text; the connection cannot be used further.
    Refused(u16, String),
}

impl From<Gone> for NoRequest {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

/// The next request of `connection`, with a body of at most `max_body_bytes`.
pub(crate) async fn read_request(connection: &mut Connection, max_body_bytes: usize) -> Result<Request, NoRequest> {
    let (head, head_bytes) = loop {
        if let Some(parsed) = parse_head(connection.inbound())? {
            break parsed;
        }
        connection.fill(0).await?;
    };
    let raw_head = connection.take(head_bytes);
    if head.expects_continue && connection.inbound().is_empty() {
        connection.write(b"HTTP/1.1 100 Continue\r\n\r\n", None).await?;
    }
    let body = match head.framing {
        Framing::None => Bytes::new(),
        Framing::Length(length) if length > max_body_bytes => return Err(too_large(max_body_bytes)),
        Framing::Length(length) => {
            need(connection, length).await?;
            connection.take(length)
        }
        Framing::Chunked => read_chunks(connection, max_body_bytes).await?,
    };
    Ok(Request { head, raw_head, body })
}

async fn read_chunks(connection: &mut Connection, max_body_bytes: usize) -> Result<Bytes, NoRequest> {
    let mut body = BytesMut::new();
    loop {
        let size = read_chunk_size(connection).await?;
        if body.len() + size > max_body_bytes {
            return Err(too_large(max_body_bytes));
        }
        need(connection, size + 2).await?;
        let chunk = connection.take(size + 2);
        let Some(data) = chunk.strip_suffix(b"\r\n") else {
            return Err(refused(if size == 0 { "trailers are not accepted" } else { "chunk is longer than its size" }));
        };
        if size == 0 {
            return Ok(body.freeze());
        }
        body.extend_from_slice(data);
    }
}

async fn read_chunk_size(connection: &mut Connection) -> Result<usize, NoRequest> {
    let line_bytes = loop {
        let line = connection.inbound();
        if let Some(end) = memchr::memchr(b'\n', line.get(..MAX_CHUNK_LINE_BYTES).unwrap_or(line)) {
            break end + 1;
        }
        if line.len() >= MAX_CHUNK_LINE_BYTES {
            return Err(refused("chunk size line is too long (extensions are not accepted)"));
        }
        connection.fill(0).await?;
    };
    let line = connection.take(line_bytes);
    let digits = line.strip_suffix(b"\r\n").ok_or_else(|| refused("chunk size line ends in a bare LF"))?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(refused(&format!("chunk size {:?} is not a hexadecimal number", String::from_utf8_lossy(digits))));
    }
    let size = std::str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
    size.filter(|&size| size < usize::MAX / 2).ok_or_else(|| refused("chunk size is out of range"))
}

/// Reads on until `count` bytes are there.
async fn need(connection: &mut Connection, count: usize) -> Result<(), Gone> {
    while connection.inbound().len() < count {
        connection.fill(count - connection.inbound().len()).await?;
    }
    Ok(())
}

/// The head at the start of `bytes` and its length; `None` if it is not complete.
fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, NoRequest> {
    let mut storage = [EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut storage);
    let status = parsed.parse(bytes).map_err(|error| match error {
        httparse::Error::TooManyHeaders => NoRequest::Refused(431, format!("more than {MAX_HEADERS} headers")),
        error => refused(&format!("malformed head: {error}")),
    })?;
    let Status::Complete(length) = status else {
        return if bytes.len() > MAX_HEAD_BYTES { Err(head_too_large()) } else { Ok(None) };
    };
    if length > MAX_HEAD_BYTES {
        return Err(head_too_large());
    }
    let raw = bytes.get(..length).unwrap_or_default();
    if memchr::memchr_iter(b'\n', raw).any(|position| position.checked_sub(1).and_then(|before| raw.get(before)) != Some(&b'\r')) {
        return Err(refused("bare LF in the head"));
    }
    let mut head = read_request_line(&parsed)?;
    read_headers(parsed.headers, &mut head)?;
    Ok(Some((head, length)))
}

fn read_request_line(parsed: &httparse::Request<'_, '_>) -> Result<Head, NoRequest> {
    let target = parsed.path.unwrap_or_default();
    if !target.starts_with('/') {
        return Err(refused("the target must be a path"));
    }
    if target.contains('#') {
        return Err(refused("fragment in the target"));
    }
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    Ok(Head {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query,
        http_1_1: parsed.version == Some(1),
        close: parsed.version != Some(1),
        ..Head::default()
    })
}

fn read_headers(headers: &[httparse::Header<'_>], head: &mut Head) -> Result<(), NoRequest> {
    let mut seen = Seen::default();
    for header in headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let value = || std::str::from_utf8(header.value).map_err(|_| refused(&format!("header {} is not UTF-8", header.name)));
        match header.name.len() {
            4 if is("host") => once(&mut seen.host, "Host")?,
            14 if is("content-length") => {
                once(&mut seen.length, "Content-Length")?;
                head.framing = Framing::Length(parse_length(header.value)?);
            }
            17 if is("transfer-encoding") => {
                once(&mut seen.encoding, "Transfer-Encoding")?;
                if !header.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(refused("Transfer-Encoding other than chunked"));
                }
            }
            10 if is("connection") => {
                let options = value()?.split(',').map(str::trim);
                head.close |= options.into_iter().any(|option| option.eq_ignore_ascii_case("close"));
            }
            7 if is("upgrade") => return Err(refused("Upgrade is not offered")),
            6 if is("expect") => {
                if !header.value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(NoRequest::Refused(417, "Expect other than 100-continue".to_owned()));
                }
                head.expects_continue = true;
            }
            12 if is("content-type") => {
                once(&mut seen.kind, "Content-Type")?;
                let kind = value()?.split(';').next().unwrap_or_default().trim();
                head.json = kind.eq_ignore_ascii_case("application/json");
            }
            16 if is("content-encoding") && !header.value.eq_ignore_ascii_case(b"identity") => {
                return Err(NoRequest::Refused(415, "Content-Encoding other than identity".to_owned()));
            }
            13 if is("authorization") => {
                once(&mut seen.authorization, "Authorization")?;
                let bearer = value()?.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
                head.credential = bearer.map(|(_, token)| token.trim().to_owned()).or(head.credential.take());
            }
            9 if is("x-api-key") => {
                once(&mut seen.api_key, "x-api-key")?;
                head.credential = Some(value()?.to_owned());
            }
            14 if is("x-goog-api-key") => {
                once(&mut seen.google_key, "x-goog-api-key")?;
                head.credential = Some(value()?.to_owned());
            }
            7 if is("api-key") => head.credential = Some(value()?.to_owned()),
            17 if is("anthropic-version") => {
                once(&mut seen.version, "anthropic-version")?;
                head.anthropic_version = !header.value.is_empty();
            }
            _ => {}
        }
    }
    finish_headers(head, &seen)
}

fn finish_headers(head: &mut Head, seen: &Seen) -> Result<(), NoRequest> {
    if !seen.host && head.http_1_1 {
        return Err(refused("no Host header"));
    }
    if seen.encoding {
        if seen.length {
            return Err(refused("Content-Length and Transfer-Encoding together"));
        }
        if !head.http_1_1 {
            return Err(refused("Transfer-Encoding in HTTP/1.0"));
        }
        head.framing = Framing::Chunked;
    }
    Ok(())
}

/// Headers that must not come twice.
#[derive(Default)]
struct Seen {
    host: bool,
    length: bool,
    encoding: bool,
    kind: bool,
    authorization: bool,
    api_key: bool,
    google_key: bool,
    version: bool,
}

fn once(seen: &mut bool, name: &str) -> Result<(), NoRequest> {
    if std::mem::replace(seen, true) { Err(refused(&format!("{name} comes twice"))) } else { Ok(()) }
}

fn parse_length(value: &[u8]) -> Result<usize, NoRequest> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let length = if digits { std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()) } else { None };
    length.ok_or_else(|| refused(&format!("Content-Length {:?} is not a number", String::from_utf8_lossy(value))))
}

fn refused(text: &str) -> NoRequest {
    NoRequest::Refused(400, text.to_owned())
}

fn head_too_large() -> NoRequest {
    NoRequest::Refused(431, format!("head of more than {MAX_HEAD_BYTES} bytes"))
}

fn too_large(max_body_bytes: usize) -> NoRequest {
    NoRequest::Refused(413, format!("body of more than {max_body_bytes} bytes"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn ambiguous_heads_are_refused() {
        let check = |lines: &str, needle: &str| {
            let head = format!("POST /v1 HTTP/1.1\r\n{lines}\r\n\r\n");
            let Err(NoRequest::Refused(status, text)) = parse_head(head.as_bytes()) else { panic!("{lines}: accepted") };
            assert!((400..500).contains(&status) && text.contains(needle), "{lines}: {status} {text}");
        };
        check("X: y", "no Host");
        check("Host: a\r\nHost: a", "Host comes twice");
        check("Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", "together");
        check("Host: a\r\nContent-Length: 1\r\nContent-Length: 1", "twice");
        check("Host: a\r\nContent-Length: +1", "not a number");
        check("Host: a\r\nContent-Length: 1, 1", "not a number");
        check("Host: a\r\nContent-Length: ", "not a number");
        check("Host: a\r\nContent-Length: 99999999999999999999999", "not a number");
        check("Host: a\r\nTransfer-Encoding: gzip, chunked", "other than chunked");
        check("Host: a\r\nTransfer-Encoding : chunked", "malformed");
        check("Host: a\r\n folded", "malformed");
        check("Host: a\nX: y", "bare LF");
        check("Host: a\rX: y", "malformed");
        check("Host: a\r\nX: \0", "malformed");
        check("Host: a\r\nAuthorization: Bearer x\r\nAuthorization: Bearer y", "twice");
        check("Host: a\r\nContent-Encoding: gzip", "identity");
        check("Host: a\r\nUpgrade: websocket", "Upgrade");
        check(&format!("Host: a\r\n{}", "X: y\r\n".repeat(200)), "headers");
        check(&format!("Host: a\r\nX: {}", "y".repeat(70_000)), "head of more");
    }

    #[test]
    fn targets_must_be_paths() {
        for target in ["http://a/v1", "*", "a", "/v1#x"] {
            assert!(parse_head(format!("POST {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).is_err(), "{target}");
        }
    }

    #[test]
    fn reads_what_matters() {
        let bytes = b"POST /v1/messages?beta=true HTTP/1.1\r\nhost: a\r\nX-API-Key: k\r\nContent-Type: application/json; charset=utf-8\r\n\
            anthropic-version: 2023-06-01\r\nCONTENT-LENGTH: 12\r\nConnection: keep-alive, Close\r\n\r\nrest";
        let (head, length) = parse_head(bytes).unwrap().unwrap();
        assert_eq!(length, bytes.len() - 4);
        let expected = Head {
            method: "POST".to_owned(),
            path: "/v1/messages".to_owned(),
            query: Some("beta=true".to_owned()),
            credential: Some("k".to_owned()),
            anthropic_version: true,
            json: true,
            http_1_1: true,
            close: true,
            framing: Framing::Length(12),
            expects_continue: false,
        };
        assert_eq!(head, expected);
    }

    #[test]
    fn headers_can_be_looked_up() {
        let raw_head = Bytes::from_static(b"GET / HTTP/1.1\r\nHost: a:80\r\nX-Two:  b c \r\nx-two: d\r\nX-Raw: \xff\r\n\r\n");
        let request = Request { head: Head::default(), raw_head, body: Bytes::new() };
        assert_eq!((request.header("x-two"), request.header("host"), request.header("x-raw")), (Some("b c"), Some("a:80"), None));
        assert_eq!(request.headers().count(), 3);
    }

    #[test]
    fn waits_for_the_rest() {
        let whole = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for end in 0..whole.len() {
            assert_eq!(parse_head(&whole[..end]), Ok(None), "{end}");
        }
        assert!(parse_head(whole).unwrap().is_some());
        assert!(parse_head(&[b'a'; MAX_HEAD_BYTES + 1]).is_err());
    }
}
