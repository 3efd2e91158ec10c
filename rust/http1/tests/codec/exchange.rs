//! A caller of the codec, reduced to what matters: a buffer that fills piece by piece and is drained as it is consumed.
//! The fuzz target runs the same code.

use fairlead_http1::{Body, Error, Framing, Head, Limits, Parsed};

/// All that a caller learns from one reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Interim heads in front of the final one.
    pub(crate) interims: usize,
    /// The final head, if it came.
    pub(crate) head: Option<Final>,
    /// The decoded body, as far as it came.
    pub(crate) payload: Vec<u8>,
    /// How it ended.
    pub(crate) end: End,
}

/// What stood in the final head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Final {
    pub(crate) status: u16,
    pub(crate) version_minor: u8,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// How a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer closed before the final head was complete.
    NoHead,
    /// Complete; so many bytes stood behind it.
    Done { leftover: usize },
    /// Refused.
    Refused(Error),
}

/// Reads one reply that arrives in `pieces`, after which the peer closes.
pub(crate) fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, method_is_head: bool, limits: &Limits) -> Reply {
    let mut reader = Reader::new(method_is_head, *limits);
    for piece in pieces {
        reader.buffer.extend_from_slice(piece);
        if let Err(error) = reader.advance() {
            return reader.ended(End::Refused(error));
        }
    }
    let end = match &mut reader.body {
        None => End::NoHead,
        Some(body) => match body.finish() {
            Ok(()) => End::Done { leftover: reader.buffer.len() },
            Err(error) => End::Refused(error),
        },
    };
    reader.ended(end)
}

/// Decodes a body on its own; otherwise like [`read`].
pub(crate) fn read_body<'a>(framing: Framing, pieces: impl IntoIterator<Item = &'a [u8]>, limits: &Limits) -> (Vec<u8>, End) {
    let mut reader = Reader::new(false, *limits);
    reader.body = Some(Body::new(framing, limits));
    for piece in pieces {
        reader.buffer.extend_from_slice(piece);
        if let Err(error) = reader.advance() {
            return (reader.payload, End::Refused(error));
        }
    }
    let finished = reader.body.as_mut().map_or(Ok(()), Body::finish);
    (reader.payload, finished.map_or_else(End::Refused, |()| End::Done { leftover: reader.buffer.len() }))
}

struct Reader {
    buffer: Vec<u8>,
    head: Head,
    body: Option<Body>,
    method_is_head: bool,
    limits: Limits,
    interims: usize,
    last: Option<Final>,
    payload: Vec<u8>,
}

impl Reader {
    fn new(method_is_head: bool, limits: Limits) -> Self {
        Self { buffer: Vec::new(), head: Head::new(), body: None, method_is_head, limits, interims: 0, last: None, payload: Vec::new() }
    }

    fn ended(self, end: End) -> Reply {
        Reply { interims: self.interims, head: self.last, payload: self.payload, end }
    }

    fn advance(&mut self) -> Result<(), Error> {
        while self.body.is_none() {
            match self.head.parse(&self.buffer, self.method_is_head, &self.limits)? {
                Parsed::Partial => return Ok(()),
                Parsed::Interim { len } => {
                    assert!(len > 0 && len <= self.buffer.len(), "an interim head lies within the input");
                    self.interims += 1;
                    self.buffer.drain(..len);
                }
                Parsed::Complete => self.accept_head(),
            }
        }
        self.decode()
    }

    fn accept_head(&mut self) {
        let head = &self.head;
        assert!(head.len <= self.buffer.len() && head.len <= self.limits.head_bytes, "a head lies within input and limit");
        let fields: Vec<_> = head.headers(&self.buffer).map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        assert!(fields.len() <= self.limits.headers, "no more fields than allowed");
        self.last = Some(Final {
            status: head.status,
            version_minor: head.version_minor,
            framing: head.framing,
            keep_alive: head.keep_alive,
            fields,
        });
        self.body = Some(Body::new(head.framing, &self.limits));
        self.buffer.drain(..head.len);
    }

    fn decode(&mut self) -> Result<(), Error> {
        let Some(body) = &mut self.body else { return Ok(()) };
        while !body.is_done() {
            let step = body.step(&self.buffer)?;
            let range = step.payload;
            assert!(step.consumed <= self.buffer.len(), "a step consumes no more than there is");
            assert!(range.start <= range.end && range.end <= step.consumed, "payload lies within what was consumed");
            assert!(step.consumed > 0 || self.buffer.is_empty(), "a step consumes something if it can");
            self.payload.extend_from_slice(&self.buffer[range]);
            self.buffer.drain(..step.consumed);
            if step.consumed == 0 {
                break;
            }
        }
        Ok(())
    }
}
