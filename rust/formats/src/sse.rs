//! Server-sent events: finding, reading and writing them.
//!
//! * [`Framer`] finds where events end in bytes that arrive in any pieces. It copies nothing; the relay forwards the
//!   events as they came and looks into few of them with [`event_name`], [`data`] and [`data_range`].
//! * [`Decoder`] gives whole decoded events, as the WHATWG's text says a client must read them. It is the library's.
//! * [`encode`] writes one event.
//!
//! Lines end with LF, CRLF or CR, mixed. Framing is on bytes: a character is never cut by it, and bytes that are not
//! UTF-8 pass (the decoder replaces them).

use core::fmt;
use core::ops::Range;
use std::borrow::Cow;

use memchr::memchr2;

use crate::json::is_complete;

/// An event exceeds the size limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// The limit in bytes.
    pub max_event_bytes: usize,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a server-sent event exceeds {} bytes", self.max_event_bytes)
    }
}

impl core::error::Error for TooLarge {}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Finds event boundaries in a byte stream that arrives in any pieces.
///
/// Every blank line ends an event, also one without fields (a lone blank line, a comment), so that keep-alives can be
/// forwarded when they come. When a piece ends with the CR of a blank line the event ends there; if an LF follows in
/// the next piece, it belongs to that line end, ends nothing, and lies at the front of the next event, where all
/// readers of this module ignore it.
#[derive(Clone, Debug)]
pub struct Framer {
    max_event_bytes: usize,
    /// Bytes of the current event in earlier pieces.
    event_bytes: usize,
    /// Nothing of the current line has come yet.
    line_is_empty: bool,
    /// The last byte was a CR, so an LF now belongs to it.
    after_cr: bool,
    /// How many bytes of a byte-order mark the stream began with; 3 also when there is none.
    mark_bytes: usize,
}

impl Framer {
    /// A framer at the start of a stream. An event may have `max_event_bytes`, its blank line included.
    #[must_use]
    pub fn new(max_event_bytes: usize) -> Self {
        Self { max_event_bytes, event_bytes: 0, line_is_empty: true, after_cr: false, mark_bytes: 0 }
    }

    /// The end of the next event in `new`, scanning from offset `from`: the offset just behind its blank line.
    ///
    /// `new` continues what was scanned before. Call it with `from` 0, then with each offset it returned, until it
    /// returns `None`: then all of `new` is scanned, and its rest belongs to an event that goes on in the next piece.
    ///
    /// # Errors
    /// [`TooLarge`] when the current event exceeds the limit. The stream cannot be framed any further.
    #[inline]
    pub fn next_end(&mut self, new: &[u8], from: usize) -> Result<Option<usize>, TooLarge> {
        let from = from.min(new.len());
        let mut at = if self.after_cr || self.mark_bytes < BYTE_ORDER_MARK.len() { self.resume(new, from) } else { from };
        loop {
            if self.line_is_empty && matches!(new.get(at), Some(b'\n' | b'\r')) {
                let end = self.behind_line_end(new, at);
                return self.end_event(end - from).map(|()| Some(end));
            }
            let Some(found) = new.get(at..).and_then(|rest| memchr2(b'\n', b'\r', rest)) else { break };
            at = self.behind_line_end(new, at + found);
            self.line_is_empty = true;
        }
        self.line_is_empty &= at >= new.len();
        self.grow_event(new.len() - from)?;
        Ok(None)
    }

    /// How many bytes the current, unfinished event has so far.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.event_bytes
    }

    /// What a new piece may begin with: the LF of a CRLF that was cut, and the stream's byte-order mark.
    #[cold]
    fn resume(&mut self, new: &[u8], from: usize) -> usize {
        let mut at = from;
        while self.mark_bytes < BYTE_ORDER_MARK.len()
            && let Some(&byte) = new.get(at)
        {
            if byte != BYTE_ORDER_MARK[self.mark_bytes] {
                // The beginning of a mark without its end is text.
                self.line_is_empty &= self.mark_bytes == 0;
                self.mark_bytes = BYTE_ORDER_MARK.len();
                break;
            }
            self.mark_bytes += 1;
            at += 1;
        }
        if self.after_cr
            && let Some(&byte) = new.get(at)
        {
            self.after_cr = false;
            at += usize::from(byte == b'\n');
        }
        at
    }

    /// Behind the line end that begins at `at`.
    #[inline]
    fn behind_line_end(&mut self, new: &[u8], at: usize) -> usize {
        if new.get(at) == Some(&b'\n') {
            return at + 1;
        }
        match new.get(at + 1) {
            Some(b'\n') => at + 2,
            Some(_) => at + 1,
            None => {
                self.after_cr = true;
                at + 1
            }
        }
    }

    #[inline]
    fn end_event(&mut self, bytes: usize) -> Result<(), TooLarge> {
        self.grow_event(bytes)?;
        self.event_bytes = 0;
        Ok(())
    }

    #[inline]
    fn grow_event(&mut self, bytes: usize) -> Result<(), TooLarge> {
        self.event_bytes = self.event_bytes.saturating_add(bytes);
        if self.event_bytes > self.max_event_bytes {
            return Err(TooLarge { max_event_bytes: self.max_event_bytes });
        }
        Ok(())
    }
}

/// The value of an event's last `event:` field, `None` without one or when it is empty.
///
/// `event` is one event as [`Framer`] cuts it. A byte-order mark at its start is ignored.
#[must_use]
pub fn event_name(event: &[u8]) -> Option<&[u8]> {
    let event = &event[mark_end(event)..];
    lines(event).filter_map(|line| field(&event[line], b"event")).last().filter(|name| !name.is_empty())
}

/// The event's data: without a copy when it stands on one line, else the lines joined with LF in `scratch`.
///
/// `None` when the event has no `data` field, such as a comment.
#[must_use]
pub fn data<'a>(event: &'a [u8], scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    match find_data(event) {
        Data::None => None,
        Data::One(range) => Some(&event[range]),
        Data::Several => {
            scratch.clear();
            join_data(&event[mark_end(event)..], scratch);
            Some(scratch)
        }
    }
}

/// Where the event's data lies in `event`, when it stands on exactly one line.
#[must_use]
pub fn data_range(event: &[u8]) -> Option<Range<usize>> {
    match find_data(event) {
        Data::One(range) => Some(range),
        Data::None | Data::Several => None,
    }
}

/// Whether an event counts although the stream ended before its blank line: its data is one whole JSON object, array or
/// string, or `[DONE]`; or it has no field at all, as a body that is no event stream.
///
/// Providers that close without the last blank line would lose their usage otherwise. A number or a bare word could be
/// the beginning of a longer one, and an event without data says nothing.
#[must_use]
pub fn is_whole(event: &[u8]) -> bool {
    let mut joined = Vec::new();
    if join_data(&event[mark_end(event)..], &mut joined) {
        return is_whole_data(&joined);
    }
    matches!(event.trim_ascii().first(), Some(b'{' | b'[' | b'<'))
}

enum Data {
    None,
    One(Range<usize>),
    Several,
}

#[inline]
fn find_data(event: &[u8]) -> Data {
    // Most events of most providers: one line that begins with `data:`, and the blank one.
    if event.starts_with(b"data:")
        && let Some(end) = memchr2(b'\n', b'\r', event)
        && matches!(&event[end..], b"\n\n" | b"\r\n\r\n" | b"\r\r")
    {
        return Data::One(value_start(event, b"data".len())..end);
    }
    find_data_by_lines(event)
}

fn find_data_by_lines(event: &[u8]) -> Data {
    let mark = mark_end(event);
    let mut found = Data::None;
    for line in lines(&event[mark..]) {
        let line = line.start + mark..line.end + mark;
        let Some(value) = field(&event[line.clone()], b"data") else { continue };
        if !matches!(found, Data::None) {
            return Data::Several;
        }
        found = Data::One(line.end - value.len()..line.end);
    }
    found
}

/// Appends the data lines of `event` to `out`, joined with LF; says whether there are any.
fn join_data(event: &[u8], out: &mut Vec<u8>) -> bool {
    let mut has_data = false;
    for value in lines(event).filter_map(|line| field(&event[line], b"data")) {
        if has_data {
            out.push(b'\n');
        }
        has_data = true;
        out.extend_from_slice(value);
    }
    has_data
}

/// The end of the byte-order mark that the event starts with, 0 without one.
fn mark_end(event: &[u8]) -> usize {
    // Before it there may be the LF of a CRLF that was cut.
    let cut = usize::from(event.first() == Some(&b'\n'));
    if event[cut..].starts_with(BYTE_ORDER_MARK) { cut + BYTE_ORDER_MARK.len() } else { 0 }
}

/// The lines of `event` without their ends; blank ones are left out.
fn lines(event: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let start = at;
        if start >= event.len() {
            return None;
        }
        let end = memchr2(b'\n', b'\r', &event[start..]).map_or(event.len(), |found| start + found);
        at = end + 1;
        Some(start..end)
    })
    // The LF of a CRLF makes a blank line here, so leaving blank ones out serves both.
    .filter(|line| !line.is_empty())
}

/// The value of `line` if its field is `name`.
#[inline]
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(name)? {
        [] => Some(&[]),
        [b':', ..] => Some(&line[value_start(line, name.len())..]),
        _ => None,
    }
}

/// Where the value begins, behind the colon and one space, of a line whose field name has `name_len` bytes.
#[inline]
fn value_start(line: &[u8], name_len: usize) -> usize {
    let value = name_len + 1;
    value + usize::from(line.get(value) == Some(&b' '))
}

/// One decoded event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its type; `message` when the stream names none.
    pub event: String,
    /// Its data, several lines joined with LF.
    pub data: String,
    /// The last id that the stream gave, here or in an earlier event; empty before the first.
    pub id: String,
    /// The last reconnection time in milliseconds that the stream gave since the event before.
    pub retry: Option<u64>,
}

/// One decoded event, where it lies in the stream if it can: see [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRef<'a> {
    /// Its type; `message` when the stream names none.
    pub event: &'a str,
    /// Its data, several lines joined with LF.
    pub data: &'a str,
    /// The last id that the stream gave, here or in an earlier event; empty before the first.
    pub id: &'a str,
    /// The last reconnection time in milliseconds that the stream gave since the event before.
    pub retry: Option<u64>,
}

impl From<EventRef<'_>> for Event {
    fn from(event: EventRef<'_>) -> Event {
        let EventRef { event, data, id, retry } = event;
        Event { event: event.to_owned(), data: data.to_owned(), id: id.to_owned(), retry }
    }
}

/// Decodes a byte stream that arrives in any pieces into events, as the WHATWG's text says.
///
/// One byte-order mark at the start is dropped, comments and unknown fields are ignored, bytes that are not UTF-8
/// become U+FFFD, an event without data is not reported (its id counts for later ones), an id with a NUL is ignored,
/// a retry of anything but digits is ignored.
///
/// One thing is read more kindly, in [`finish`](Self::finish): servers that forget the last blank line.
#[derive(Clone, Debug)]
pub struct Decoder {
    framer: Framer,
    max_event_bytes: usize,
    /// The beginning of an event whose end has not come.
    partial: Vec<u8>,
    /// Nothing of the stream is decoded yet, so a byte-order mark may come.
    at_start: bool,
    last_id: String,
    retry: Option<u64>,
}

impl Decoder {
    /// A decoder at the start of a stream. An event may have `max_event_bytes`, its blank line included.
    #[must_use]
    pub fn new(max_event_bytes: usize) -> Self {
        Self {
            framer: Framer::new(max_event_bytes),
            max_event_bytes,
            partial: Vec::new(),
            at_start: true,
            last_id: String::new(),
            retry: None,
        }
    }

    /// Decodes `bytes`, the next piece of the stream, and appends the events that end in it to `out`.
    ///
    /// # Errors
    /// [`TooLarge`] when an event exceeds the limit; events before it are in `out`. The stream cannot be decoded any
    /// further, and later calls fail too.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<Event>) -> Result<(), TooLarge> {
        self.feed_each(bytes, |event| out.push(event.into()))
    }

    /// As [`feed`](Self::feed), without a copy of each event.
    ///
    /// # Errors
    /// As those of [`feed`](Self::feed).
    pub fn feed_each(&mut self, bytes: &[u8], mut each: impl FnMut(EventRef<'_>)) -> Result<(), TooLarge> {
        let mut from = 0;
        while let Some(end) = self.framer.next_end(bytes, from)? {
            let piece = &bytes[from..end];
            if self.partial.is_empty() {
                self.decode(piece, &mut each);
            } else {
                let mut event = core::mem::take(&mut self.partial);
                event.extend_from_slice(piece);
                self.decode(&event, &mut each);
                event.clear();
                self.partial = event;
            }
            from = end;
        }
        self.partial.extend_from_slice(&bytes[from..]);
        Ok(())
    }

    /// Ends the stream; the decoder is then as new.
    ///
    /// An event without its blank line is dropped, as the WHATWG says, unless its data is one whole JSON object,
    /// array or string, or `[DONE]`: providers that close without the last blank line would lose their usage
    /// otherwise. A number or a bare word could be the beginning of a longer one and is dropped.
    pub fn finish(&mut self, out: &mut Vec<Event>) {
        self.finish_each(|event| out.push(event.into()));
    }

    /// As [`finish`](Self::finish), without a copy of the event.
    pub fn finish_each(&mut self, each: impl FnMut(EventRef<'_>)) {
        let rest = core::mem::take(&mut self.partial);
        let mut joined = Vec::new();
        if join_data(self.without_first_mark(&rest), &mut joined) && is_whole_data(&joined) {
            self.decode(&rest, each);
        }
        *self = Self::new(self.max_event_bytes);
    }

    /// `event` without a byte-order mark that begins the stream; elsewhere a mark is part of the field's name.
    fn without_first_mark<'a>(&self, event: &'a [u8]) -> &'a [u8] {
        if self.at_start { event.strip_prefix(BYTE_ORDER_MARK).unwrap_or(event) } else { event }
    }

    /// Reads the fields of one event and reports it, if it has data.
    #[inline]
    fn decode(&mut self, event: &[u8], mut each: impl FnMut(EventRef<'_>)) {
        let event = self.without_first_mark(event);
        self.at_start = false;
        let (mut name, mut data): (&[u8], Option<&[u8]>) = (b"", None);
        let mut joined = Vec::new();
        for line in lines(event) {
            let line = &event[line];
            if let Some(value) = field(line, b"data") {
                match data.replace(value) {
                    None => {}
                    Some(before) if joined.is_empty() => joined = [before, b"\n", value].concat(),
                    Some(_) => joined.extend([b"\n", value].concat()),
                }
            } else if let Some(value) = field(line, b"event") {
                name = value;
            } else if let Some(value) = field(line, b"id").filter(|value| !value.contains(&0)) {
                self.last_id = String::from_utf8_lossy(value).into_owned();
            } else if let Some(value) = field(line, b"retry") {
                self.retry = read_retry(value).or(self.retry);
            }
        }
        let Some(data) = data.map(|last| if joined.is_empty() { last } else { &joined }) else { return };
        let name = if name.is_empty() { b"message" } else { name };
        each(EventRef { event: &lossy(name), data: &lossy(data), id: &self.last_id, retry: self.retry.take() });
    }
}

/// As text; what is not UTF-8 becomes U+FFFD.
#[inline]
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    simdutf8::basic::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

fn is_whole_data(data: &[u8]) -> bool {
    let data = data.trim_ascii();
    data == b"[DONE]" || matches!(data.first(), Some(b'{' | b'[' | b'"')) && is_complete(data)
}

/// Milliseconds, if the value is digits only and fits.
fn read_retry(value: &[u8]) -> Option<u64> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(value).ok()?.parse().ok()
}

/// Appends one event to `out`: `event:` if there is a name, a `data:` line per line of `data`, and the blank line.
///
/// A line break of any kind in `data` starts a new line, so a CR is read back as LF (JSON text has neither). A name
/// cannot hold a line break; it is cut there.
pub fn encode(event: Option<&str>, data: &str, out: &mut Vec<u8>) {
    out.reserve(data.len() + event.map_or(0, |name| name.len() + 8) + 8);
    if let Some(name) = event {
        let name = name.as_bytes();
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(&name[..memchr2(b'\n', b'\r', name).unwrap_or(name.len())]);
        out.push(b'\n');
    }
    let mut rest = data.as_bytes();
    loop {
        out.extend_from_slice(b"data: ");
        let end = memchr2(b'\n', b'\r', rest);
        out.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
        out.push(b'\n');
        let Some(end) = end else { break };
        let line_end = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[end + line_end..];
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests;
