//! The scanner: one pass over a text that comes in slices, validating everything, reporting the wanted members.
//!
//! Pseudo-code: *after a value, a comma or the container's end; after a comma, a key or a value; …* – the grammar as a
//! loop over [`State`], with one bit per open container. A state ends at a token, not at a byte: strings are skipped
//! in blocks ([`super::string`]). When a slice ends inside a token, the token's own small state is kept and the next
//! slice goes on there, so nothing is ever copied, except a top-level key that a slice's edge cuts.

use super::media::Media;
use super::members::{Keys, Members, Recorder};
use super::number::Number;
use super::simd::{Job, Level, Simd, Window};
use super::string::Text;
use super::utf8::Utf8;
use super::{Fault, Kind, Reason, Reject, skip_space};

/// The depth limit to use when there is no reason for another.
pub const DEFAULT_MAX_DEPTH: u16 = 128;

/// The largest depth limit; a larger one is taken as this.
pub const MAX_DEPTH: u16 = 1024;

/// A resumable, validating scanner of one JSON text.
///
/// Feed it the text in slices that may be cut anywhere, also inside a character or an escape, then [`finish`]. The
/// verdict, and where a text is refused, do not depend on the cuts.
///
/// ```
/// use fairlead_formats::json::Scanner;
///
/// let mut scanner = Scanner::new(&["model", "stream"], 128);
/// scanner.feed(br#"{"mod"#)?;
/// scanner.feed(br#"el": "a/b"}"#)?;
/// let members = scanner.finish()?;
/// assert_eq!(members.value(0), Some(10..15));
/// assert_eq!(members.value(1), None);
/// # Ok::<(), fairlead_formats::json::Reject>(())
/// ```
///
/// [`finish`]: Scanner::finish
#[derive(Debug)]
pub struct Scanner<'k> {
    recorder: Recorder<'k>,
    level: Level,
    any_value: bool,
    media: Media,
    /// Length of the slices before the current one.
    offset: usize,
    state: State,
    text: Text,
    number: Number,
    /// What is left of `true`, `false` or `null`.
    literal: &'static [u8],
    depth: u16,
    max_depth: u16,
    /// Bit n: the container at depth n is an object.
    objects: [u64; MAX_DEPTH as usize / 64],
    /// Whether the innermost open container is an object.
    in_object: bool,
    /// The beginning of a top-level key that a slice's edge cut.
    cut_key: Vec<u8>,
    key_is_cut: bool,
    utf8: Utf8,
    /// Whether a string of the current slice may hold a byte of 0x80 or above; unset when none does.
    high: bool,
    rejected: Option<Reject>,
}

/// What comes next, apart from white space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The text's value.
    Start,
    /// A key or `}`.
    FirstKey,
    /// A key.
    Key,
    /// The rest of a key.
    KeyText,
    /// `:`
    Colon,
    /// A value or `]`.
    FirstElement,
    /// A value.
    Value,
    /// The rest of a string.
    ValueText,
    /// The rest of a number.
    Number,
    /// The rest of a literal.
    Literal,
    /// `,` or the end of the container.
    AfterValue,
    /// Nothing.
    End,
}

impl<'k> Scanner<'k> {
    /// A scanner of a text whose top level is an object.
    ///
    /// `keys` are the names of the top-level members to report, decoded: a body's `"\u006dodel"` is `model`. At most
    /// [`MAX_WANTED`](super::MAX_WANTED) of them, none with a backslash; more are a programming error (the rest is not
    /// looked for).
    /// `max_depth` is how many containers may be open at once, the top level included, at most [`MAX_DEPTH`].
    #[must_use]
    pub fn new(keys: &'k [&'k str], max_depth: u16) -> Self {
        Self::with_level(keys, max_depth, Level::detect())
    }

    /// As [`new`](Self::new) for names that were laid out before.
    #[must_use]
    pub fn prepared(keys: &'k Keys, max_depth: u16) -> Self {
        Self::with_recorder(Recorder::prepared(keys), max_depth, Level::detect())
    }

    pub(super) fn with_level(keys: &'k [&'k str], max_depth: u16, level: Level) -> Self {
        Self::with_recorder(Recorder::new(keys), max_depth, level)
    }

    fn with_recorder(recorder: Recorder<'k>, max_depth: u16, level: Level) -> Self {
        Self {
            recorder,
            level,
            any_value: false,
            media: Media::default(),
            offset: 0,
            state: State::Start,
            text: Text::OPENED,
            number: Number::Integer,
            literal: b"",
            depth: 0,
            max_depth: max_depth.min(MAX_DEPTH),
            objects: [0; MAX_DEPTH as usize / 64],
            in_object: false,
            cut_key: Vec::new(),
            key_is_cut: false,
            utf8: Utf8::default(),
            high: false,
            rejected: None,
        }
    }

    /// Scans the next part of the text.
    ///
    /// # Errors
    /// The first thing that is wrong. The scanner then keeps that verdict, whatever is fed to it.
    pub fn feed(&mut self, slice: &[u8]) -> Result<(), Reject> {
        if let Some(reject) = &self.rejected {
            return Err(reject.clone());
        }
        let outcome = self.level.run(Feed { scanner: self, slice });
        if let Err(reject) = self.check_utf8(slice, outcome) {
            self.rejected = Some(reject.clone());
            return Err(reject);
        }
        self.offset += slice.len();
        self.high = false;
        Ok(())
    }

    /// Ends the text.
    ///
    /// # Errors
    /// The verdict of an earlier [`feed`](Self::feed), or [`Reason::Truncated`].
    pub fn finish(self) -> Result<Members, Reject> {
        if let Some(reject) = self.rejected {
            return Err(reject);
        }
        let number_ends = self.state == State::Number && self.depth == 0 && self.number.is_whole();
        if self.state == State::End || number_ends {
            return Ok(self.recorder.finish(&self.media));
        }
        Err(Reject::new(self.offset, Reason::Truncated))
    }

    /// Adds the verdict on UTF-8 to the grammar's, so that the earlier fault is reported.
    #[inline]
    fn check_utf8(&mut self, slice: &[u8], outcome: Result<(), Fault>) -> Result<(), Reject> {
        match outcome {
            Ok(()) if !self.high && !self.utf8.is_pending() => Ok(()),
            Ok(()) => self.utf8.check(slice).map_err(|at| self.not_utf8(at)),
            Err(Fault { at, reason }) => {
                self.utf8.check(&slice[..at.min(slice.len())]).map_err(|at| self.not_utf8(at))?;
                // A character that the fault interrupts began before it.
                if self.utf8.is_pending() {
                    return Err(self.not_utf8(at.cast_signed() - self.utf8.pending_len().cast_signed()));
                }
                Err(Reject::new(self.offset + at, reason))
            }
        }
    }

    #[cold]
    fn not_utf8(&self, at: isize) -> Reject {
        Reject::new(self.offset.saturating_add_signed(at), Reason::Utf8)
    }

    /// The grammar's loop over one slice.
    ///
    /// The states stand in the order in which a text passes them, each behind its own test, rather than in one `match`:
    /// where the next state is known the compiler goes straight to it, and no jump depends on a table.
    #[inline(always)]
    fn run<S: Simd>(&mut self, simd: S, bytes: &[u8]) -> Result<(), Fault> {
        let mut at = 0;
        let mut state = self.state;
        let mut window = Window::NONE;
        // Where the current key's text begins in this slice.
        let mut key_from = 0;
        loop {
            if matches!(state, State::Key | State::FirstKey) {
                at = skip_space(bytes, at);
                match bytes.get(at) {
                    Some(b'"') => {
                        self.open_key(at);
                        key_from = at + 1;
                        state = State::KeyText;
                    }
                    Some(b'}') if state == State::FirstKey => state = self.close_container(at),
                    Some(_) => return Err(self.unexpected(state, at)),
                    None => break,
                }
                at += 1;
            }
            if state == State::KeyText {
                let Some(end) = self.text.read(simd, bytes, at, &mut window, &mut self.high)? else {
                    self.keep_cut_key(bytes, key_from);
                    break;
                };
                self.end_key(bytes, key_from, end - 1)?;
                at = end;
                state = State::Colon;
            }
            if state == State::Colon {
                at = skip_space(bytes, at);
                match bytes.get(at) {
                    Some(b':') => at += 1,
                    Some(_) => return Err(self.unexpected(state, at)),
                    None => break,
                }
                state = State::Value;
            }
            if matches!(state, State::Value | State::FirstElement | State::Start) {
                at = skip_space(bytes, at);
                let Some(&byte) = bytes.get(at) else { break };
                state =
                    if byte == b']' && state == State::FirstElement { self.close_container(at) } else { self.open_value(state, byte, at)? };
                at += 1;
            }
            if state == State::ValueText {
                let from = at;
                let Some(end) = self.text.read(simd, bytes, at, &mut window, &mut self.high)? else {
                    self.media.text_cut(&bytes[from..]);
                    break;
                };
                self.media.text_ended(&bytes[from..end - 1]);
                at = end;
                state = self.end_value(at);
            } else if state == State::Number {
                let Some(end) = self.read_number(bytes, at)? else { break };
                at = end;
                state = self.end_value(at);
            } else if state == State::Literal {
                let Some(end) = self.read_literal(bytes, at)? else { break };
                at = end;
                state = self.end_value(at);
            }
            while state == State::AfterValue {
                at = skip_space(bytes, at);
                state = match bytes.get(at) {
                    Some(b',') if self.in_object => State::Key,
                    Some(b',') => State::Value,
                    Some(b'}') if self.in_object => self.close_container(at),
                    Some(b']') if !self.in_object => self.close_container(at),
                    Some(_) => return Err(self.unexpected(state, at)),
                    None => break,
                };
                at += 1;
            }
            if at >= bytes.len() {
                break;
            }
            if state == State::End {
                at = skip_space(bytes, at);
                if at < bytes.len() {
                    return Err(self.unexpected(state, at));
                }
                break;
            }
        }
        self.state = state;
        Ok(())
    }

    #[inline(always)]
    fn open_key(&mut self, at: usize) {
        self.text = Text::OPENED;
        if self.depth == 1 {
            self.recorder.key_started(self.offset + at);
        }
    }

    /// Enters the value whose first byte stands at `at`.
    #[inline(always)]
    fn open_value(&mut self, state: State, byte: u8, at: usize) -> Result<State, Fault> {
        if self.depth <= 1 {
            self.open_shallow_value(state, byte, at)?;
        }
        if byte == b'"' {
            self.text = Text::OPENED;
            return Ok(State::ValueText);
        }
        if byte.is_ascii_digit() || byte == b'-' {
            self.number = Number::first(byte);
            return Ok(State::Number);
        }
        if byte == b'{' || byte == b'[' {
            return self.open_container(byte == b'{', at);
        }
        let literal = Kind::of(byte).map_or(&b""[..], Kind::literal_rest);
        if literal.is_empty() {
            return Err(self.unexpected(state, at));
        }
        self.literal = literal;
        Ok(State::Literal)
    }

    /// A value of the text itself or of a top-level member.
    fn open_shallow_value(&mut self, state: State, byte: u8, at: usize) -> Result<(), Fault> {
        let Some(kind) = Kind::of(byte) else { return Err(self.unexpected(state, at)) };
        if self.depth == 1 {
            self.recorder.value_started(self.offset + at, kind);
        } else if kind != Kind::Object && !self.any_value {
            return Err(Fault::new(at, Reason::NotAnObject));
        }
        Ok(())
    }

    #[inline(always)]
    fn open_container(&mut self, is_object: bool, at: usize) -> Result<State, Fault> {
        if self.depth >= self.max_depth {
            return Err(Fault::new(at, Reason::TooDeep(self.max_depth)));
        }
        if self.depth == 0 {
            self.recorder.opened(self.offset + at);
        }
        let (word, bit) = (usize::from(self.depth / 64), self.depth % 64);
        self.objects[word] = self.objects[word] & !(1 << bit) | u64::from(is_object) << bit;
        self.depth += 1;
        self.in_object = is_object;
        Ok(if is_object { State::FirstKey } else { State::FirstElement })
    }

    /// Leaves the innermost container, whose last byte stands at `at`.
    #[inline(always)]
    fn close_container(&mut self, at: usize) -> State {
        self.depth -= 1;
        if self.depth == 0 {
            self.recorder.closed(self.offset + at);
            return State::End;
        }
        let outer = self.depth - 1;
        self.in_object = self.objects[usize::from(outer / 64)] >> (outer % 64) & 1 == 1;
        self.end_value(at + 1)
    }

    /// A value ends before `end`.
    #[inline(always)]
    fn end_value(&mut self, end: usize) -> State {
        match self.depth {
            0 => return State::End,
            1 => self.recorder.value_ended(self.offset + end),
            _ => {}
        }
        State::AfterValue
    }

    /// A key ends; its text is `bytes[from..end]`, or what was kept and that.
    #[inline(always)]
    fn end_key(&mut self, bytes: &[u8], from: usize, end: usize) -> Result<(), Fault> {
        if self.depth != 1 {
            return Ok(());
        }
        let in_slice = bytes.get(from..end).unwrap_or_default();
        let outcome = if self.key_is_cut {
            self.key_is_cut = false;
            self.cut_key.extend_from_slice(in_slice);
            let outcome = self.recorder.key_ended(&self.cut_key);
            self.cut_key.clear();
            outcome
        } else {
            self.recorder.key_ended(in_slice)
        };
        outcome.map_err(|reason| Fault::new(end, reason))
    }

    /// Keeps the part of a top-level key that this slice holds, as far as it can matter.
    fn keep_cut_key(&mut self, bytes: &[u8], from: usize) {
        if self.depth != 1 {
            return;
        }
        self.key_is_cut = true;
        // One byte more than can match is enough to know that the key is none of the wanted.
        let room = (self.recorder.longest_raw_key() + 1).saturating_sub(self.cut_key.len());
        let part = bytes.get(from..).unwrap_or_default();
        self.cut_key.extend_from_slice(&part[..part.len().min(room)]);
    }

    /// Reads on in a number; `None` when the slice ends before it does.
    #[inline(always)]
    fn read_number(&mut self, bytes: &[u8], from: usize) -> Result<Option<usize>, Fault> {
        let mut at = from;
        let mut number = self.number;
        loop {
            if number.takes_digits() {
                while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                    at += 1;
                }
            }
            let Some(&byte) = bytes.get(at) else {
                self.number = number;
                return Ok(None);
            };
            if number.ends_before(byte) {
                return Ok(Some(at));
            }
            number = number.next(byte).ok_or_else(|| Fault::new(at, Reason::Number))?;
            at += 1;
        }
    }

    /// Reads on in `true`, `false` or `null`; `None` when the slice ends before it does.
    #[inline(always)]
    fn read_literal(&mut self, bytes: &[u8], from: usize) -> Result<Option<usize>, Fault> {
        let mut at = from;
        while let Some((&expected, rest)) = self.literal.split_first() {
            match bytes.get(at) {
                None => return Ok(None),
                Some(&byte) if byte == expected => self.literal = rest,
                Some(_) => return Err(Fault::new(at, Reason::Literal)),
            }
            at += 1;
        }
        Ok(Some(at))
    }

    #[cold]
    fn unexpected(&self, state: State, at: usize) -> Fault {
        let reason = match state {
            State::Start if self.any_value => Reason::Expected("a value"),
            State::Start => Reason::NotAnObject,
            State::FirstKey => Reason::Expected("a member name or '}'"),
            State::Key => Reason::Expected("a member name"),
            State::Colon => Reason::Expected("':'"),
            State::FirstElement => Reason::Expected("a value or ']'"),
            State::AfterValue if self.in_object => Reason::Expected("',' or '}'"),
            State::AfterValue => Reason::Expected("',' or ']'"),
            State::End => Reason::Trailing,
            _ => Reason::Expected("a value"),
        };
        Fault::new(at, reason)
    }
}

/// Whether `text` is one whole JSON value of any kind, as strictly as [`Scanner`] sees it, at the default depth.
#[must_use]
pub fn is_complete(text: &[u8]) -> bool {
    is_value(text, DEFAULT_MAX_DEPTH)
}

fn is_value(text: &[u8], max_depth: u16) -> bool {
    let mut scanner = Scanner { any_value: true, ..Scanner::new(&[], max_depth) };
    scanner.feed(text).is_ok() && scanner.finish().is_ok()
}

/// As [`is_complete`], of a value inside others: it may be nested half as deep.
pub(super) fn is_whole(value: &[u8]) -> bool {
    is_value(value, DEFAULT_MAX_DEPTH / 2)
}

/// One slice through the widest instruction set.
struct Feed<'s, 'k> {
    scanner: &'s mut Scanner<'k>,
    slice: &'s [u8],
}

impl Job for Feed<'_, '_> {
    type Output = Result<(), Fault>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        self.scanner.run(simd, self.slice)
    }
}
