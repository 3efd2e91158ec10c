//! `application/vnd.amazon.eventstream`: AWS's binary framing of streams.
//!
//! * [`Framer`] finds where messages end in bytes that arrive in any pieces. It copies nothing but a message's first twelve bytes.
//! * [`read`] checks and opens one message; [`Message::kind`] says what it tells, [`Message::name`] and [`Message::data`] what a reader of
//!   streams takes.
//! * [`encode`] writes one message.
//!
//! A message is its length and the length of its headers (big-endian, 32 bits each), a CRC-32 of these eight bytes, the headers, the payload,
//! and a CRC-32 of all before it. Both checksums are checked, and lengths before anything is waited for: a stream that is something else
//! (a proxy's page, a JSON error) is known by its first twelve bytes.

use core::fmt;

/// What the header `content-type` of such a stream says.
pub const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";
/// The most bytes of headers in a message; the limit of AWS's own client.
pub const MAX_HEADERS_BYTES: usize = 128 << 10;
/// The most bytes of payload in a message; the limit of AWS's own client.
pub const MAX_PAYLOAD_BYTES: usize = 24 << 20;

/// Both lengths and their checksum.
const PRELUDE_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 4;
/// A message without headers and payload.
const LEAST_BYTES: usize = PRELUDE_BYTES + CHECKSUM_BYTES;

/// Why bytes are no message. The stream cannot be framed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The first twelve bytes do not carry their checksum: damaged, or no event stream at all.
    PreludeChecksum,
    /// The message does not carry its checksum.
    MessageChecksum,
    /// The lengths contradict each other, or the message is not as long as it says.
    Length,
    /// The payload exceeds this limit, in bytes.
    PayloadTooLarge(usize),
    /// The headers exceed [`MAX_HEADERS_BYTES`].
    HeadersTooLarge,
    /// The headers are cut or of an unknown type.
    Header,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::PreludeChecksum => formatter.write_str("the bytes are no event stream: the checksum of a message's lengths is wrong"),
            Fault::MessageChecksum => formatter.write_str("the checksum of a message of the event stream is wrong"),
            Fault::Length => formatter.write_str("the lengths of a message of the event stream are wrong"),
            Fault::PayloadTooLarge(limit) => write!(formatter, "a message of the event stream exceeds {limit} bytes"),
            Fault::HeadersTooLarge => write!(formatter, "the headers of a message of the event stream exceed {MAX_HEADERS_BYTES} bytes"),
            Fault::Header => formatter.write_str("a header of the event stream is malformed"),
        }
    }
}

impl core::error::Error for Fault {}

/// Finds the ends of messages in a byte stream that arrives in any pieces.
#[derive(Clone, Debug)]
pub struct Framer {
    max_payload_bytes: usize,
    /// What has come of the current message's prelude.
    prelude: [u8; PRELUDE_BYTES],
    prelude_bytes: usize,
    /// Bytes of the current message that are still to come behind its prelude.
    missing_bytes: usize,
    /// Bytes of the current message that have come.
    pending_bytes: usize,
    fault: Option<Fault>,
}

impl Framer {
    /// A framer at the start of a stream whose messages may carry `max_payload_bytes`, at most [`MAX_PAYLOAD_BYTES`].
    #[must_use]
    pub fn new(max_payload_bytes: usize) -> Framer {
        Framer {
            max_payload_bytes: max_payload_bytes.min(MAX_PAYLOAD_BYTES),
            prelude: [0; PRELUDE_BYTES],
            prelude_bytes: 0,
            missing_bytes: 0,
            pending_bytes: 0,
            fault: None,
        }
    }

    /// The end of the next message in `new`, going on from offset `from`: the offset just behind it.
    ///
    /// `new` continues what came before. Call it with `from` 0, then with each offset it returned, until it returns `None`: then the rest
    /// of `new` belongs to a message that goes on in the next piece.
    ///
    /// # Errors
    /// The lengths of a message are damaged or beyond the limits. Every later call fails the same way.
    #[inline]
    pub fn next_end(&mut self, new: &[u8], from: usize) -> Result<Option<usize>, Fault> {
        let mut at = from.min(new.len());
        if self.prelude_bytes < PRELUDE_BYTES {
            at += self.take_prelude(&new[at..])?;
            if self.prelude_bytes < PRELUDE_BYTES {
                return Ok(None);
            }
        }
        let come = new.len() - at;
        if come < self.missing_bytes {
            self.missing_bytes -= come;
            self.pending_bytes += come;
            return Ok(None);
        }
        at += self.missing_bytes;
        (self.prelude_bytes, self.missing_bytes, self.pending_bytes) = (0, 0, 0);
        Ok(Some(at))
    }

    /// How many bytes the current, unfinished message has so far; 0 between messages.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    fn take_prelude(&mut self, new: &[u8]) -> Result<usize, Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let missing = &mut self.prelude[self.prelude_bytes..];
        let taken = missing.len().min(new.len());
        missing[..taken].copy_from_slice(&new[..taken]);
        self.prelude_bytes += taken;
        self.pending_bytes += taken;
        if self.prelude_bytes == PRELUDE_BYTES {
            match Lengths::read(&self.prelude).and_then(|lengths| lengths.within(self.max_payload_bytes)) {
                Ok(lengths) => self.missing_bytes = lengths.total - PRELUDE_BYTES,
                Err(fault) => {
                    // So that a later call finds the fault again.
                    self.prelude_bytes = 0;
                    self.fault = Some(fault);
                    return Err(fault);
                }
            }
        }
        Ok(taken)
    }
}

/// What a prelude says.
#[derive(Clone, Copy)]
struct Lengths {
    total: usize,
    headers: usize,
}

impl Lengths {
    fn read(message: &[u8]) -> Result<Lengths, Fault> {
        let Some(([lengths @ .., c0, c1, c2, c3], _)) = message.split_first_chunk::<PRELUDE_BYTES>() else { return Err(Fault::Length) };
        let [t0, t1, t2, t3, h0, h1, h2, h3] = *lengths;
        if u32::from_be_bytes([*c0, *c1, *c2, *c3]) != crc32fast::hash(lengths) {
            return Err(Fault::PreludeChecksum);
        }
        let size = |bytes| usize::try_from(u32::from_be_bytes(bytes)).map_err(|_| Fault::Length);
        let lengths = Lengths { total: size([t0, t1, t2, t3])?, headers: size([h0, h1, h2, h3])? };
        if lengths.total < LEAST_BYTES || lengths.total - LEAST_BYTES < lengths.headers { Err(Fault::Length) } else { Ok(lengths) }
    }

    fn within(self, max_payload_bytes: usize) -> Result<Lengths, Fault> {
        if self.headers > MAX_HEADERS_BYTES {
            return Err(Fault::HeadersTooLarge);
        }
        if self.total - LEAST_BYTES - self.headers > max_payload_bytes {
            return Err(Fault::PayloadTooLarge(max_payload_bytes));
        }
        Ok(self)
    }
}

/// One message, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    headers: &'a [u8],
    payload: &'a [u8],
}

/// What a message tells, by its headers `:message-type`, `:event-type`, `:exception-type`, `:error-code` and `:error-message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// An event of this type; the payload is its body.
    Event(&'a [u8]),
    /// A failure that the service models, of this type; the payload is its body.
    Exception(&'a [u8]),
    /// A failure that it does not: there is no payload.
    Error {
        /// Its code.
        code: &'a [u8],
        /// Its words.
        message: &'a [u8],
    },
    /// None of these, or a message without a type.
    Unknown,
}

/// Checks and opens one message as [`Framer`] cuts it.
///
/// # Errors
/// A checksum, a length or a header is wrong.
pub fn read(message: &[u8]) -> Result<Message<'_>, Fault> {
    let lengths = Lengths::read(message)?.within(MAX_PAYLOAD_BYTES)?;
    if lengths.total != message.len() {
        return Err(Fault::Length);
    }
    let Some((checked, checksum)) = message.split_last_chunk::<CHECKSUM_BYTES>() else { return Err(Fault::Length) };
    if u32::from_be_bytes(*checksum) != crc32fast::hash(checked) {
        return Err(Fault::MessageChecksum);
    }
    let (headers, payload) = checked[PRELUDE_BYTES..].split_at(lengths.headers);
    let message = Message { headers, payload };
    if message.headers().any(|header| header.is_err()) { Err(Fault::Header) } else { Ok(message) }
}

impl<'a> Message<'a> {
    /// What stands between headers and checksum.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The headers in their order.
    pub const fn headers(&self) -> Headers<'a> {
        Headers { rest: self.headers }
    }

    /// The text of the first header called `name`.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().flatten().find(|header| header.name == name.as_bytes()).and_then(|header| match header.value {
            Value::Text(text) => Some(text),
            _ => None,
        })
    }

    /// The name of the event that it tells, as readers of a dialect's streams take it: the type of an event or exception. A failure that the
    /// service does not model is an internal one. `None` for a message that tells nothing.
    #[must_use]
    pub fn name(&self) -> Option<&'a [u8]> {
        match self.kind() {
            Kind::Event(name) | Kind::Exception(name) => Some(name),
            Kind::Error { .. } => Some(b"internalServerException"),
            Kind::Unknown => None,
        }
    }

    /// The data beside [`Message::name`]: the payload, or the words of a failure that has none.
    #[must_use]
    pub fn data(&self) -> &'a [u8] {
        match self.kind() {
            Kind::Error { code, message } => {
                if message.is_empty() {
                    code
                } else {
                    message
                }
            }
            _ => self.payload,
        }
    }

    /// What it tells.
    #[must_use]
    pub fn kind(&self) -> Kind<'a> {
        let text = |name| self.text(name).unwrap_or_default();
        match self.text(":message-type") {
            Some(b"event") => Kind::Event(text(":event-type")),
            Some(b"exception") => Kind::Exception(text(":exception-type")),
            Some(b"error") => Kind::Error { code: text(":error-code"), message: text(":error-message") },
            _ => Kind::Unknown,
        }
    }
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name, at most 255 bytes; AWS's own begin with a colon.
    pub name: &'a [u8],
    /// Its value.
    pub value: Value<'a>,
}

/// The value of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Types 0 and 1.
    Flag(bool),
    /// Type 2.
    Byte(i8),
    /// Type 3.
    Short(i16),
    /// Type 4.
    Int(i32),
    /// Type 5.
    Long(i64),
    /// Type 6: at most 65,535 bytes.
    Bytes(&'a [u8]),
    /// Type 7: at most 65,535 bytes, meant to be UTF-8.
    Text(&'a [u8]),
    /// Type 8: milliseconds since 1970.
    Timestamp(i64),
    /// Type 9.
    Uuid([u8; 16]),
}

/// Iterator of [`Message::headers`]. Ends after the first fault, which a message that was [`read`] does not have.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = Result<Header<'a>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let header = self.read().ok_or(Fault::Header);
        if header.is_err() {
            self.rest = &[];
        }
        Some(header)
    }
}

impl<'a> Headers<'a> {
    fn read(&mut self) -> Option<Header<'a>> {
        let [length] = self.number()?;
        let name = self.take(usize::from(length))?;
        let [kind] = self.number()?;
        let value = match kind {
            0 => Value::Flag(true),
            1 => Value::Flag(false),
            2 => Value::Byte(i8::from_be_bytes(self.number()?)),
            3 => Value::Short(i16::from_be_bytes(self.number()?)),
            4 => Value::Int(i32::from_be_bytes(self.number()?)),
            5 => Value::Long(i64::from_be_bytes(self.number()?)),
            6 => Value::Bytes(self.sized()?),
            7 => Value::Text(self.sized()?),
            8 => Value::Timestamp(i64::from_be_bytes(self.number()?)),
            9 => Value::Uuid(self.number()?),
            _ => return None,
        };
        Some(Header { name, value })
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    fn number<const BYTES: usize>(&mut self) -> Option<[u8; BYTES]> {
        self.take(BYTES)?.try_into().ok()
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_be_bytes(self.number()?);
        self.take(usize::from(length))
    }
}

/// Appends one message. What does not fit its place (a name of more than 255 bytes, a value of more than 65,535) is cut.
pub fn encode(headers: &[Header<'_>], payload: &[u8], out: &mut Vec<u8>) {
    let frame = Frame::begin(out);
    headers.iter().for_each(|header| write_header(header, out));
    let frame = frame.headers_end(out);
    out.extend_from_slice(payload);
    frame.finish(out);
}

/// Appends an event of this type whose JSON payload `write` appends.
pub(crate) fn event(event_type: &str, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    modelled("event", ":event-type", event_type, out, write);
}

/// Appends an exception of this type whose JSON payload `write` appends.
pub(crate) fn exception(exception_type: &str, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    modelled("exception", ":exception-type", exception_type, out, write);
}

fn modelled(message_type: &str, type_header: &str, word: &str, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let frame = Frame::begin(out);
    // In the order in which AWS writes them.
    for (name, value) in [(type_header, word), (":content-type", "application/json"), (":message-type", message_type)] {
        write_header(&Header { name: name.as_bytes(), value: Value::Text(value.as_bytes()) }, out);
    }
    let frame = frame.headers_end(out);
    write(out);
    frame.finish(out);
}

/// A message being written at the end of a buffer.
struct Frame {
    start: usize,
    headers_bytes: usize,
}

impl Frame {
    fn begin(out: &mut Vec<u8>) -> Frame {
        let start = out.len();
        out.extend_from_slice(&[0; PRELUDE_BYTES]);
        Frame { start, headers_bytes: 0 }
    }

    fn headers_end(self, out: &[u8]) -> Frame {
        Frame { headers_bytes: out.len() - self.start - PRELUDE_BYTES, ..self }
    }

    fn finish(self, out: &mut Vec<u8>) {
        let total = out.len() - self.start + CHECKSUM_BYTES;
        let message = &mut out[self.start..];
        // Both fit: nobody holds 4 GiB of text in one delta.
        message[..4].copy_from_slice(&(total as u32).to_be_bytes());
        message[4..8].copy_from_slice(&(self.headers_bytes as u32).to_be_bytes());
        let checksum = crc32fast::hash(&message[..8]);
        message[8..PRELUDE_BYTES].copy_from_slice(&checksum.to_be_bytes());
        let checksum = crc32fast::hash(message);
        out.extend_from_slice(&checksum.to_be_bytes());
    }
}

fn write_header(header: &Header<'_>, out: &mut Vec<u8>) {
    let length = u8::try_from(header.name.len()).unwrap_or(u8::MAX);
    out.push(length);
    out.extend_from_slice(&header.name[..usize::from(length)]);
    let mut fixed = |kind: u8, value: &[u8]| {
        out.push(kind);
        out.extend_from_slice(value);
    };
    match header.value {
        Value::Flag(true) => fixed(0, &[]),
        Value::Flag(false) => fixed(1, &[]),
        Value::Byte(value) => fixed(2, &value.to_be_bytes()),
        Value::Short(value) => fixed(3, &value.to_be_bytes()),
        Value::Int(value) => fixed(4, &value.to_be_bytes()),
        Value::Long(value) => fixed(5, &value.to_be_bytes()),
        Value::Bytes(value) => write_sized(6, value, out),
        Value::Text(value) => write_sized(7, value, out),
        Value::Timestamp(value) => fixed(8, &value.to_be_bytes()),
        Value::Uuid(value) => fixed(9, &value),
    }
}

fn write_sized(kind: u8, value: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.push(kind);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&value[..usize::from(length)]);
}

#[cfg(test)]
mod tests;
