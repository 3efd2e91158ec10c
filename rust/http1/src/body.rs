//! Bodies, decoded in place: each step says which part of the caller's buffer is payload.

use core::ops::Range;

use crate::syntax::{is_blank, is_token_byte, is_value_byte};
use crate::{Error, Framing, Limits};

/// Incremental decoder of one body. Any split of the same bytes gives the same payload, then the same end or error.
#[derive(Clone, Debug)]
pub struct Body {
    state: State,
    /// Bytes still to come of a sized body or chunk; while a size line is read, the size so far.
    left: u64,
    /// Bytes of the current chunk-size line, or of the trailer section.
    line_bytes: usize,
    /// Extension bytes in all chunk-size lines so far.
    extension_bytes: usize,
    chunk_line_bytes_limit: usize,
    trailer_bytes_limit: usize,
}

/// What one [`Body::step`] took from the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that are dealt with, payload included.
    pub consumed: usize,
    /// The part of the input that is payload; it lies within `0..consumed` and may be empty.
    pub payload: Range<usize>,
}

impl Body {
    /// A decoder at the first byte behind the head.
    pub fn new(framing: Framing, limits: &Limits) -> Self {
        let (state, left) = match framing {
            Framing::Empty | Framing::Length(0) => (State::Done, 0),
            Framing::Length(length) => (State::Length, length),
            Framing::Chunked => (State::SizeStart, 0),
            Framing::UntilClose => (State::UntilClose, 0),
        };
        Self {
            state,
            left,
            line_bytes: 0,
            extension_bytes: 0,
            chunk_line_bytes_limit: limits.chunk_line_bytes,
            trailer_bytes_limit: limits.trailer_bytes,
        }
    }

    /// Decodes from the start of `input`, bytes that were received but not consumed yet.
    ///
    /// A step ends where a second piece of payload would begin, at the end of the body, or at the end of the input; so
    /// it consumes something unless the input is empty or the body done, and the end of the body is seen in the same
    /// step as the last payload if its bytes are there. Bytes behind the body are never consumed.
    ///
    /// # Errors
    /// The variants of [`Error`] that speak of chunks and trailers. Payload in front of the mistake is handed out
    /// first. An error is final: every later call returns it again.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, Error> {
        if let State::Failed(error) = self.state {
            return Err(error);
        }
        let mut consumed = 0;
        let mut payload = 0..0;
        while let Some(&byte) = input.get(consumed) {
            match self.state {
                State::Done => break,
                State::Length | State::Data | State::UntilClose => {
                    if !payload.is_empty() {
                        break;
                    }
                    payload = consumed..consumed + self.take_payload(input.len() - consumed);
                    consumed = payload.end;
                }
                _ => match self.advance(byte) {
                    Ok(state) => {
                        self.state = state;
                        consumed += 1;
                    }
                    Err(_) if !payload.is_empty() => break,
                    Err(error) => return Err(self.fail(error)),
                },
            }
        }
        Ok(Step { consumed, payload })
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Takes note that the peer closed. `Ok` if the body is complete thereby or was already.
    ///
    /// # Errors
    /// [`Error::Truncated`] if bytes are missing, or the error that an earlier step ended with.
    pub fn finish(&mut self) -> Result<(), Error> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            State::Failed(error) => Err(error),
            _ => Err(self.fail(Error::Truncated)),
        }
    }

    fn fail(&mut self, error: Error) -> Error {
        self.state = State::Failed(error);
        error
    }

    /// How many of `available` bytes are payload; moves on when the piece is complete.
    fn take_payload(&mut self, available: usize) -> usize {
        if matches!(self.state, State::UntilClose) {
            return available;
        }
        // Where usize is narrower than u64, a piece that does not fit is longer than anything available.
        let taken = usize::try_from(self.left).map_or(available, |left| left.min(available));
        self.left -= taken as u64;
        if self.left == 0 {
            self.state = if matches!(self.state, State::Data) { State::DataCr } else { State::Done };
        }
        taken
    }

    /// The state behind one byte of chunk framing. On error nothing has changed, so that the byte can be met again.
    fn advance(&mut self, byte: u8) -> Result<State, Error> {
        match (self.state, byte) {
            (State::SizeStart | State::Size, _) if byte.is_ascii_hexdigit() => self.size_digit(byte),
            (State::Size, b'\r') => Ok(State::SizeLf),
            (State::Size | State::SizeBlank, b';') => self.line_byte(State::Extension),
            (State::Size | State::SizeBlank, _) if is_blank(byte) => self.line_byte(State::SizeBlank),
            (State::SizeStart | State::Size | State::SizeBlank, _) => Err(Error::ChunkSize),
            (State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Extension, _) => self.extension(byte),
            (State::SizeLf, b'\n') => Ok(self.size_complete()),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::SizeStart),
            (State::SizeLf | State::DataCr | State::DataLf, _) => Err(Error::ChunkEnd),
            (_, _) => self.trailer(byte),
        }
    }

    fn size_digit(&mut self, byte: u8) -> Result<State, Error> {
        if self.left >> 60 != 0 {
            return Err(Error::ChunkSize);
        }
        let state = self.line_byte(State::Size)?;
        self.left = self.left << 4 | hexadecimal_value(byte);
        Ok(state)
    }

    /// Counts one byte of a chunk-size line.
    fn line_byte(&mut self, next: State) -> Result<State, Error> {
        if self.line_bytes == self.chunk_line_bytes_limit {
            return Err(Error::ChunkLineTooLong);
        }
        self.line_bytes += 1;
        Ok(next)
    }

    /// Extensions mean nothing to us; they are only kept from hiding a line end or going on for ever.
    fn extension(&mut self, byte: u8) -> Result<State, Error> {
        let limit = self.chunk_line_bytes_limit.saturating_mul(4);
        if !is_value_byte(byte) || self.extension_bytes == limit {
            return Err(Error::ChunkExtension);
        }
        let state = self.line_byte(State::Extension)?;
        self.extension_bytes += 1;
        Ok(state)
    }

    fn size_complete(&mut self) -> State {
        self.line_bytes = 0;
        if self.left > 0 { State::Data } else { State::TrailerStart }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, Error> {
        let next = match (self.state, byte) {
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart | State::TrailerName, _) if is_token_byte(byte) => State::TrailerName,
            (State::TrailerName, b':') => State::TrailerValue,
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, _) if is_value_byte(byte) => State::TrailerValue,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            _ => return Err(Error::Trailer),
        };
        if self.line_bytes == self.trailer_bytes_limit {
            return Err(Error::TrailerTooLarge);
        }
        self.line_bytes += 1;
        Ok(next)
    }
}

/// What the next byte is.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Not part of this body.
    Done,
    /// Refused before it is looked at.
    Failed(Error),
    /// Payload, `left` bytes of it.
    Length,
    /// Payload, until the peer closes.
    UntilClose,
    /// The first digit of a chunk size.
    SizeStart,
    /// A further digit, or what may follow the digits.
    Size,
    /// More white space behind the size, or the `;` of an extension.
    SizeBlank,
    /// Part of an extension, or the CR that ends its line.
    Extension,
    /// The LF that ends a chunk-size line.
    SizeLf,
    /// Payload of a chunk, `left` bytes of it.
    Data,
    /// The CR behind the payload of a chunk.
    DataCr,
    /// The LF behind that CR.
    DataLf,
    /// The first byte of a trailer name, or the CR of the blank line.
    TrailerStart,
    /// Part of a trailer name, or its colon.
    TrailerName,
    /// Part of a trailer value, or the CR that ends its line.
    TrailerValue,
    /// The LF that ends a trailer line.
    TrailerLf,
    /// The LF that ends the body.
    EndLf,
}

/// The value of an ASCII hexadecimal digit.
fn hexadecimal_value(digit: u8) -> u64 {
    u64::from(if digit.is_ascii_digit() { digit - b'0' } else { (digit | 0x20) - b'a' + 10 })
}
