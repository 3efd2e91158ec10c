//! Steps through one object or array that is complete in memory, and reads single values.
//!
//! Only the level that is walked is checked. A nested value is skipped by matching brackets outside strings, so what
//! is inside one may be anything; use [`Scanner`](super::Scanner) where the verdict matters. Garbage ends in a
//! [`Reject`], never in a panic, and nothing recurses.

use core::ops::Range;
use std::borrow::Cow;

use super::scan::is_whole;
use super::simd::{Window, baseline, plain_ascii, skip_plain};
use super::{DEFAULT_MAX_DEPTH, Kind, Reason, Reject, skip_space};

/// One member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// The name as written between its quotes, escapes not decoded.
    pub key: &'a [u8],
    /// Where `key` lies in the walked slice, without the quotes.
    pub key_range: Range<usize>,
    /// The value as written.
    pub value: &'a [u8],
    /// Where `value` lies in the walked slice.
    pub value_range: Range<usize>,
    /// What the value is.
    pub kind: Kind,
}

impl Member<'_> {
    /// Whether the decoded name is `name`.
    #[inline]
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        is_name(self.key, name)
    }
}

/// Whether a member's name, as written, is `name` once it is decoded.
#[inline]
fn is_name(written: &[u8], name: &str) -> bool {
    match plain_ascii(written) {
        Some(plain) => plain == name,
        None => unescape(written).is_some_and(|decoded| decoded == name),
    }
}

/// One element of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// The value as written.
    pub value: &'a [u8],
    /// Where `value` lies in the walked slice.
    pub value_range: Range<usize>,
    /// What the value is.
    pub kind: Kind,
}

/// The members of the object that `object` holds, in order; white space around it is allowed.
///
/// After the first `Err` the iterator ends.
#[inline]
#[must_use]
pub fn members(object: &[u8]) -> MemberIter<'_> {
    MemberIter { walk: Walk::new(object, b'{') }
}

/// The elements of the array that `array` holds, in order; white space around it is allowed.
///
/// After the first `Err` the iterator ends.
#[inline]
#[must_use]
pub fn elements(array: &[u8]) -> ElementIter<'_> {
    ElementIter { walk: Walk::new(array, b'[') }
}

/// The first member of `object` whose decoded name is `name`. Members behind it are not looked at.
///
/// # Errors
/// What is wrong with the object before that member, or anywhere when there is none.
pub fn member<'a>(object: &'a [u8], name: &str) -> Result<Option<Member<'a>>, Reject> {
    let mut cursor = Cursor::new(object);
    let mut level = cursor.enter(b'{')?;
    while let Some((key_range, _)) = cursor.next_key_range(&mut level)? {
        let kind = cursor.kind()?;
        let value_range = cursor.skip_range(kind)?;
        let key = &object[key_range.clone()];
        if is_name(key, name) {
            return Ok(Some(Member { key, key_range, value: &object[value_range.clone()], value_range, kind }));
        }
    }
    cursor.end()?;
    Ok(None)
}

/// The first member of `object` of each of these decoded names, in one pass.
///
/// # Errors
/// What is wrong with the object.
pub(crate) fn first_members<'a, const N: usize>(object: &'a [u8], names: [&str; N]) -> Result<[Option<Member<'a>>; N], Reject> {
    let mut found = [const { None }; N];
    for member in members(object) {
        let member = member?;
        let decoded = unescape(member.key);
        if let Some(at) = decoded.and_then(|decoded| names.iter().position(|name| decoded == **name)) {
            found[at].get_or_insert(member);
        }
    }
    Ok(found)
}

/// The decoded text of a string value, quotes included in `value`. Borrowed when it holds no escape.
///
/// `None` when `value` is no string, is not UTF-8, or holds a malformed escape, half of a surrogate pair or a control
/// character.
#[must_use]
pub fn as_str(value: &[u8]) -> Option<Cow<'_, str>> {
    let [b'"', text @ .., b'"'] = value else { return None };
    unescape(text)
}

/// The value of a non-negative whole number, written without point or exponent. `None` for anything else and beyond 64 bits.
#[must_use]
pub fn as_u64(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 1 && value[0] == b'0' {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// The value of `true` or `false`, `None` for anything else.
#[must_use]
pub fn as_bool(value: &[u8]) -> Option<bool> {
    match value {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// Appends `text` to `out` as a JSON string, quotes included.
///
/// Besides what JSON demands, U+2028 and U+2029 are escaped: some clients split event streams at them.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let bytes = text.as_bytes();
    if bytes.len() < SHORT && plain_ascii(bytes).is_some() {
        out.extend_from_slice(bytes);
        out.push(b'"');
        return;
    }
    let mut written = 0;
    let mut at = 0;
    let (mut window, mut high) = (Window::NONE, false);
    loop {
        let plain = skip_plain(baseline(), bytes, at, &mut window, &mut high);
        let stop = if high { separator(bytes, at, plain) } else { plain };
        at = stop;
        let Some(&byte) = bytes.get(at) else { break };
        out.extend_from_slice(&bytes[written..at]);
        at += write_escape(out, byte, &bytes[at..]);
        written = at;
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}

/// Below this length blocks of 64 bytes do not pay.
const SHORT: usize = 64;

/// The first U+2028 or U+2029 in `bytes[from..to]`, else `to`.
fn separator(bytes: &[u8], from: usize, to: usize) -> usize {
    // Both are E2 80 A8 and E2 80 A9; 0xe2 is a first byte only.
    memchr::memchr_iter(0xe2, &bytes[from..to])
        .map(|found| from + found)
        .find(|&at| matches!(bytes.get(at..at + 3), Some([_, 0x80, 0xa8 | 0xa9])))
        .unwrap_or(to)
}

/// Writes the escape of the character that starts with `byte`; returns how many bytes it has in the source.
fn write_escape(out: &mut Vec<u8>, byte: u8, rest: &[u8]) -> usize {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        0..0x20 => {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]]);
            return 1;
        }
        _ => {
            out.extend_from_slice(if rest.get(2) == Some(&0xa8) { b"\\u2028" } else { b"\\u2029" });
            return 3;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
    1
}

/// The text of a string without its quotes. `None` as in [`as_str`].
pub(crate) fn unescape(raw: &[u8]) -> Option<Cow<'_, str>> {
    if raw.len() < SHORT
        && let Some(plain) = plain_ascii(raw)
    {
        return Some(Cow::Borrowed(plain));
    }
    let (mut window, mut high) = (Window::NONE, false);
    let plain = skip_plain(baseline(), raw, 0, &mut window, &mut high);
    if plain == raw.len() {
        return simdutf8::basic::from_utf8(raw).ok().map(Cow::Borrowed);
    }
    let raw = simdutf8::basic::from_utf8(raw).ok()?;
    let mut text = String::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        let stop = skip_plain(baseline(), raw.as_bytes(), at, &mut window, &mut high);
        text.push_str(raw.get(at..stop)?);
        at = stop;
        if stop < raw.len() {
            let (character, length) = read_escape(raw.as_bytes().get(stop..)?)?;
            text.push(character);
            at += length;
        }
    }
    Some(Cow::Owned(text))
}

/// The character that the escape at the start of `bytes` means, and the escape's length.
fn read_escape(bytes: &[u8]) -> Option<(char, usize)> {
    let [b'\\', kind, rest @ ..] = bytes else { return None };
    let simple = match kind {
        b'"' | b'\\' | b'/' => char::from(*kind),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return read_unicode(rest),
        _ => return None,
    };
    Some((simple, 2))
}

/// As `read_escape`, given what follows `\u`.
fn read_unicode(rest: &[u8]) -> Option<(char, usize)> {
    let first = hex(rest)?;
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(first).map(|character| (character, 6));
    }
    let [b'\\', b'u', low @ ..] = rest.get(4..)? else { return None };
    let low = hex(low)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
    char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + low).map(|character| (character, 12))
}

fn hex(bytes: &[u8]) -> Option<u32> {
    bytes.get(..4)?.iter().try_fold(0, |value, byte| Some(value << 4 | char::from(*byte).to_digit(16)?))
}

/// Iterator of [`members`].
#[derive(Clone, Debug)]
pub struct MemberIter<'a> {
    walk: Walk<'a>,
}

impl<'a> Iterator for MemberIter<'a> {
    type Item = Result<Member<'a>, Reject>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.walk.next(|cursor, level| {
            let Some((key_range, _)) = cursor.next_key_range(level)? else { return Ok(None) };
            let kind = cursor.kind()?;
            let value_range = cursor.skip_range(kind)?;
            let (key, value) = (&cursor.text[key_range.clone()], &cursor.text[value_range.clone()]);
            Ok(Some(Member { key, key_range, value, value_range, kind }))
        })
    }
}

/// Iterator of [`elements`].
#[derive(Clone, Debug)]
pub struct ElementIter<'a> {
    walk: Walk<'a>,
}

impl<'a> Iterator for ElementIter<'a> {
    type Item = Result<Element<'a>, Reject>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.walk.next(|cursor, level| {
            if !cursor.next_element(level)? {
                return Ok(None);
            }
            let kind = cursor.kind()?;
            let value_range = cursor.skip_range(kind)?;
            Ok(Some(Element { value: &cursor.text[value_range.clone()], value_range, kind }))
        })
    }
}

/// The place of an iterator in its container, which is all there is in the text.
#[derive(Clone, Debug)]
struct Walk<'a> {
    cursor: Cursor<'a>,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Before the container, which this byte opens.
    Before(u8),
    Inside(Level),
    Ended,
}

impl<'a> Walk<'a> {
    #[inline]
    fn new(text: &'a [u8], open: u8) -> Self {
        Self { cursor: Cursor::new(text), stage: Stage::Before(open) }
    }

    #[inline]
    fn next<T>(&mut self, read: impl FnOnce(&mut Cursor<'a>, &mut Level) -> Result<Option<T>, Reject>) -> Option<Result<T, Reject>> {
        let item = self.open().and_then(|()| match &mut self.stage {
            Stage::Inside(level) => read(&mut self.cursor, level),
            _ => Ok(None),
        });
        match item {
            Ok(Some(item)) => Some(Ok(item)),
            Ok(None) if matches!(self.stage, Stage::Ended) => None,
            end => {
                self.stage = Stage::Ended;
                end.and_then(|_| self.cursor.end()).err().map(Err)
            }
        }
    }

    #[inline]
    fn open(&mut self) -> Result<(), Reject> {
        if let Stage::Before(open) = self.stage {
            self.stage = Stage::Inside(self.cursor.enter(open)?);
        }
        Ok(())
    }
}

/// A place before a value, for reading nested values in one pass: each value is either entered or skipped, once.
///
/// As with [`members`], only what is entered is checked, unless it is [`strict`](Cursor::strict).
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    window: Window,
    is_strict: bool,
}

/// A container that was entered.
#[derive(Clone, Debug)]
pub(crate) struct Level {
    close: u8,
    begun: bool,
}

impl Level {
    /// Whether nothing was found in it so far.
    pub(crate) fn is_empty(&self) -> bool {
        !self.begun
    }
}

impl<'a> Cursor<'a> {
    /// Before the value that `text` holds; white space around it is allowed.
    #[inline]
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self { text, at: skip_space(text, 0), window: Window::NONE, is_strict: false }
    }

    /// As `new`, checking all that it steps over as the [`Scanner`](super::Scanner) does, but for UTF-8, which is the caller's to check.
    ///
    /// It knows the usual only: what it refuses (a name with an escape, say) may be good. What it has read to the end is.
    pub(crate) fn strict(text: &'a [u8]) -> Self {
        Self { is_strict: true, ..Self::new(text) }
    }

    #[inline]
    pub(crate) fn is_strict(&self) -> bool {
        self.is_strict
    }

    /// The offset of the value that is next.
    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// What the next value is.
    #[inline]
    pub(crate) fn kind(&self) -> Result<Kind, Reject> {
        self.text.get(self.at).and_then(|byte| Kind::of(*byte)).ok_or_else(|| self.unexpected("a value"))
    }

    /// Steps over the next value, which is returned as written.
    #[inline]
    pub(crate) fn skip(&mut self) -> Result<&'a [u8], Reject> {
        let kind = self.kind()?;
        let range = self.skip_range(kind)?;
        Ok(&self.text[range])
    }

    #[inline]
    fn skip_range(&mut self, kind: Kind) -> Result<Range<usize>, Reject> {
        let start = self.at;
        let (end, is_checked) = match kind {
            Kind::String => skip_text(self.text, start, &mut self.window).map(|(end, has_escape)| (end, !has_escape))?,
            Kind::Object | Kind::Array => skip_container(self.text, start, &mut self.window).map(|end| (end, end - start == 2))?,
            _ => (skip_scalar(self.text, start, kind)?, true),
        };
        if self.is_strict && !is_checked && !is_whole(&self.text[start..end]) {
            return Err(self.unexpected("a value"));
        }
        self.at = end;
        Ok(start..end)
    }

    /// Enters the next value, which must be the object that `{` opens or the array that `[` opens.
    #[inline]
    pub(crate) fn enter(&mut self, open: u8) -> Result<Level, Reject> {
        let is_object = open == b'{';
        if self.text.get(self.at) != Some(&open) {
            return Err(self.unexpected(if is_object { "'{'" } else { "'['" }));
        }
        self.at += 1;
        Ok(Level { close: if is_object { b'}' } else { b']' }, begun: false })
    }

    /// Steps to the next member's value; returns its key as written, or `None` behind the object's end.
    #[inline]
    pub(crate) fn next_key(&mut self, level: &mut Level) -> Result<Option<&'a [u8]>, Reject> {
        Ok(self.next_key_range(level)?.map(|(range, _)| &self.text[range]))
    }

    /// As `next_key`, with its escapes decoded: nobody writes `"\u0063hoices"`, but it means the same to every client.
    #[inline]
    pub(crate) fn next_name(&mut self, level: &mut Level) -> Result<Option<Cow<'a, [u8]>>, Reject> {
        Ok(self.next_key_range(level)?.map(|(range, has_escape)| {
            let key = &self.text[range];
            if has_escape { decoded(key) } else { Cow::Borrowed(key) }
        }))
    }

    /// Where the next member's key stands, and whether it holds an escape.
    #[inline]
    fn next_key_range(&mut self, level: &mut Level) -> Result<Option<(Range<usize>, bool)>, Reject> {
        if !self.next_element(level)? {
            return Ok(None);
        }
        let start = self.at;
        if self.text.get(start) != Some(&b'"') {
            return Err(self.unexpected("a member name"));
        }
        let (end, has_escape) = skip_text(self.text, start, &mut self.window)?;
        if has_escape && self.is_strict {
            return Err(self.unexpected("a name without escapes"));
        }
        self.at = skip_space(self.text, end);
        if self.text.get(self.at) != Some(&b':') {
            return Err(self.unexpected("':'"));
        }
        self.at = skip_space(self.text, self.at + 1);
        Ok(Some((start + 1..end - 1, has_escape)))
    }

    /// Steps to the next element; `false` behind the array's end.
    #[inline]
    pub(crate) fn next_element(&mut self, level: &mut Level) -> Result<bool, Reject> {
        self.at = skip_space(self.text, self.at);
        match self.text.get(self.at) {
            Some(byte) if *byte == level.close => {
                self.at += 1;
                return Ok(false);
            }
            Some(b',') if level.begun => self.at = skip_space(self.text, self.at + 1),
            _ if level.begun => return Err(self.unexpected(if level.close == b'}' { "',' or '}'" } else { "',' or ']'" })),
            _ => {}
        }
        level.begun = true;
        Ok(true)
    }

    /// Nothing may follow.
    pub(crate) fn end(&mut self) -> Result<(), Reject> {
        self.at = skip_space(self.text, self.at);
        if self.at < self.text.len() { Err(Reject::new(self.at, Reason::Trailing)) } else { Ok(()) }
    }

    #[cold]
    fn unexpected(&self, what: &'static str) -> Reject {
        let reason = if self.at >= self.text.len() { Reason::Truncated } else { Reason::Expected(what) };
        Reject::new(self.at, reason)
    }
}

/// A member's name, as written, with its escapes decoded; as it is where they are damaged.
#[cold]
pub(crate) fn decoded(key: &[u8]) -> Cow<'_, [u8]> {
    unescape(key).map_or(Cow::Borrowed(key), |name| Cow::Owned(name.into_owned().into_bytes()))
}

/// Behind the string whose opening quote stands at `start`.
#[inline]
fn skip_string(text: &[u8], start: usize, window: &mut Window) -> Result<usize, Reject> {
    Ok(skip_text(text, start, window)?.0)
}

/// As `skip_string`, and whether it holds an escape.
#[inline]
fn skip_text(text: &[u8], start: usize, window: &mut Window) -> Result<(usize, bool), Reject> {
    let (mut high, mut has_escape) = (false, false);
    let mut at = start + 1;
    loop {
        at = skip_plain(baseline(), text, at, window, &mut high);
        match text.get(at) {
            Some(b'"') => return Ok((at + 1, has_escape)),
            Some(b'\\') => {
                has_escape = true;
                at = (at + 2).min(text.len());
            }
            Some(_) => return Err(Reject::new(at, Reason::ControlCharacter)),
            None => return Err(Reject::new(at, Reason::Truncated)),
        }
    }
}

/// Behind the object or array that begins at `start`.
fn skip_container(text: &[u8], start: usize, window: &mut Window) -> Result<usize, Reject> {
    // One bit per open container, innermost lowest: 1 for an object.
    let mut open = 0_u128;
    let mut depth = 0_u16;
    let mut at = start;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                at = skip_string(text, at, window)?;
                continue;
            }
            b'{' | b'[' => {
                // The level that is walked counts too.
                if depth + 1 >= DEFAULT_MAX_DEPTH {
                    return Err(Reject::new(at, Reason::TooDeep(DEFAULT_MAX_DEPTH)));
                }
                depth += 1;
                open = open << 1 | u128::from(byte == b'{');
            }
            b'}' | b']' => {
                if (open & 1 == 1) != (byte == b'}') {
                    return Err(Reject::new(at, Reason::Expected("the other bracket")));
                }
                depth -= 1;
                open >>= 1;
                if depth == 0 {
                    return Ok(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    Err(Reject::new(text.len(), Reason::Truncated))
}

/// Behind the number or literal that begins at `start`.
#[inline]
fn skip_scalar(text: &[u8], start: usize, kind: Kind) -> Result<usize, Reject> {
    let mut end = start + 1;
    // Counts are most of what there is.
    if matches!(text[start], b'1'..=b'9') {
        while text.get(end).is_some_and(u8::is_ascii_digit) {
            end += 1;
        }
        if matches!(text.get(end), Some(b',' | b'}' | b']')) {
            return Ok(end);
        }
    }
    while text.get(end).is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')) {
        end += 1;
    }
    if kind == Kind::Number {
        return check_number(text, start, end);
    }
    if text[start + 1..end] != *kind.literal_rest() {
        let cut = end == text.len() && kind.literal_rest().starts_with(&text[start + 1..end]);
        return Err(Reject::new(end, if cut { Reason::Truncated } else { Reason::Literal }));
    }
    Ok(end)
}

fn check_number(text: &[u8], start: usize, end: usize) -> Result<usize, Reject> {
    let mut number = super::number::Number::first(text[start]);
    for (at, &byte) in text.iter().enumerate().take(end).skip(start + 1) {
        number = number.next(byte).ok_or_else(|| Reject::new(at, Reason::Number))?;
    }
    if !number.is_whole() {
        return Err(Reject::new(end, if end == text.len() { Reason::Truncated } else { Reason::Number }));
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::{Kind, Reason, Reject};
    use super::{Cursor, as_bool, as_str, as_u64, elements, first_members, member, members, write_string};

    /// The members as `(key, value)` texts, or the reason and offset of the first fault.
    fn list(object: &str) -> Result<Vec<(String, String)>, (Reason, usize)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        members(object.as_bytes())
            .map(|member| {
                let member = member.map_err(|reject| (reject.reason, reject.offset))?;
                assert_eq!(&object.as_bytes()[member.key_range.clone()], member.key);
                assert_eq!(&object.as_bytes()[member.value_range.clone()], member.value);
                assert_eq!(Kind::of(member.value[0]), Some(member.kind));
                Ok((text(member.key), text(member.value)))
            })
            .collect()
    }

    #[test]
    fn members_table() {
        let check = |object: &str, expected: &[(&str, &str)]| {
            let expected = expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            assert_eq!(list(object), Ok(expected), "{object}");
        };
        check(" { } ", &[]);
        check(r#"{"a":1}"#, &[("a", "1")]);
        check(
            "\n{ \"a\" : -1.5e3 ,\"b\\\"\":\"x\\\\\",\r\n\"c\":[1,{\"d\":\"]\"}] , \"e\":{}, \"f\":null}\t",
            &[("a", "-1.5e3"), ("b\\\"", "\"x\\\\\""), ("c", "[1,{\"d\":\"]\"}]"), ("e", "{}"), ("f", "null")],
        );
        // Inside a nested value only brackets and strings are looked at.
        check(r#"{"a":[1 2 nonsense,,],"a":{"x"}}"#, &[("a", "[1 2 nonsense,,]"), ("a", r#"{"x"}"#)]);
    }

    #[test]
    fn faults_table() {
        let check = |object: &str, reason: Reason, offset: usize| {
            let outcome: Vec<_> = members(object.as_bytes()).collect();
            assert_eq!(outcome.last().cloned().and_then(Result::err), Some(Reject::new(offset, reason)), "{object}");
            assert_eq!(outcome.iter().filter(|item| item.is_err()).count(), 1, "{object}");
        };
        check("", Reason::Truncated, 0);
        check("[]", Reason::Expected("'{'"), 0);
        check("{", Reason::Truncated, 1);
        check("{,", Reason::Expected("a member name"), 1);
        check("{\"a\"", Reason::Truncated, 4);
        check("{\"a\" 1}", Reason::Expected("':'"), 5);
        check("{\"a\":}", Reason::Expected("a value"), 5);
        check("{\"a\":1", Reason::Truncated, 6);
        check("{\"a\":1]", Reason::Expected("',' or '}'"), 6);
        check("{\"a\":1,}", Reason::Expected("a member name"), 7);
        check("{\"a\":1} x", Reason::Trailing, 8);
        check("{\"a\":\"x", Reason::Truncated, 7);
        check("{\"a\":\"x\\", Reason::Truncated, 8);
        check("{\"a\":\"x\ny\"}", Reason::ControlCharacter, 7);
        check("{\"a\":[1}]", Reason::Expected("the other bracket"), 7);
        check("{\"a\":[[1]", Reason::Truncated, 9);
        check("{\"a\":01}", Reason::Number, 6);
        check("{\"a\":1.}", Reason::Number, 7);
        check("{\"a\":1.", Reason::Truncated, 7);
        check("{\"a\":trve}", Reason::Literal, 9);
        check("{\"a\":tru", Reason::Truncated, 8);
        check(&format!("{{\"a\":{}", "[".repeat(100_000)), Reason::TooDeep(128), 132);
        check(&format!("{{\"a\":{}", "{\"b\":".repeat(100_000)), Reason::TooDeep(128), 640);
    }

    #[test]
    fn first_members_table() {
        let check = |object: &str, expected: [Option<&str>; 2]| {
            let found = first_members(object.as_bytes(), ["a", "b"]).unwrap();
            assert_eq!(found.map(|member| member.map(|member| member.value)), expected.map(|value| value.map(str::as_bytes)), "{object}");
        };
        check("{}", [None, None]);
        check(r#"{"b":2,"c":3,"a":1,"b":4}"#, [Some("1"), Some("2")]);
        check(r#"{"\u0061":1,"a":2}"#, [Some("1"), None]);
        assert!(first_members(br#"{"a":1"#, ["a"]).is_err());
    }

    #[test]
    fn names_table() {
        let check = |object: &str, expected: &[&[u8]]| {
            let mut cursor = Cursor::new(object.as_bytes());
            let mut level = cursor.enter(b'{').unwrap();
            let mut found = Vec::new();
            while let Some(name) = cursor.next_name(&mut level).unwrap() {
                found.push(name.into_owned());
                cursor.skip().unwrap();
            }
            assert_eq!(found, expected, "{object}");
        };
        check("{}", &[]);
        check(r#"{"a":"\n","\u0063hoices":1,"":2}"#, &[b"a", b"choices", b""]);
        // Damaged ones stay what they are.
        check(r#"{"\ud800":1}"#, &[br"\ud800"]);
    }

    #[test]
    fn elements_table() {
        let check = |array: &str, expected: &[&str]| {
            let found: Result<Vec<_>, _> = elements(array.as_bytes()).map(|element| element.map(|element| element.value)).collect();
            assert_eq!(found.unwrap(), expected.iter().map(|value| value.as_bytes()).collect::<Vec<_>>(), "{array}");
        };
        check("[]", &[]);
        check(" [ 1 , \"]\" ,[2], {\"a\":[]},true ] ", &["1", "\"]\"", "[2]", "{\"a\":[]}", "true"]);
        assert!(elements(b"[1,]").any(|element| element.is_err()));
        assert!(elements(b"{}").any(|element| element.is_err()));
        let deepest = format!("[{}{}]", "[".repeat(127), "]".repeat(127));
        assert!(elements(deepest.as_bytes()).all(|element| element.is_ok()));
    }

    #[test]
    fn member_by_name() {
        let object = br#"{"a":1,"\u0062":2,"a":3,"c":}"#;
        assert_eq!(member(object, "a").unwrap().unwrap().value, b"1");
        assert_eq!(member(object, "b").unwrap().unwrap().value, b"2");
        assert!(member(object, "c").is_err());
        assert_eq!(member(b"{}", "c"), Ok(None));
    }

    #[test]
    fn readers_table() {
        for (text, number) in [
            ("0", Some(0)),
            ("12", Some(12)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("012", None),
            ("-1", None),
            ("1.0", None),
            ("1e2", None),
            ("\"1\"", None),
            ("", None),
        ] {
            assert_eq!(as_u64(text.as_bytes()), number, "{text}");
        }
        for (text, value) in [("true", Some(true)), ("false", Some(false)), ("null", None), ("True", None), ("\"true\"", None)] {
            assert_eq!(as_bool(text.as_bytes()), value, "{text}");
        }
        for text in [
            "",
            "\"",
            "x",
            "\"a\"b\"",
            "\"\\\"",
            "\"\\ud83d\"",
            "\"\\ud83d\\u0041\"",
            "\"\\ude00\"",
            "\"\\x\"",
            "\"\\u+123\"",
            "\"\n\"",
            "\"\\u12\"",
        ] {
            assert_eq!(as_str(text.as_bytes()), None, "{text}");
        }
        assert_eq!(as_str(b"\"\xff\""), None);
        assert!(matches!(as_str("\"é\"".as_bytes()), Some(std::borrow::Cow::Borrowed("é"))));
    }

    #[test]
    fn separators_are_escaped() {
        let mut out = Vec::new();
        write_string(&mut out, "a\u{2028}b\u{2029}c\u{2027}â\u{202a}\u{1f}\"");
        assert_eq!(String::from_utf8(out).unwrap(), "\"a\\u2028b\\u2029c\u{2027}â\u{202a}\\u001f\\\"\"");
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,40}".prop_map(Value::from),
            Just(Value::Null)
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(".{0,8}", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn walking_finds_what_serde_finds(map in proptest::collection::btree_map(".{0,8}", json(), 0..5), indented in any::<bool>()) {
            let value = Value::Object(map.into_iter().collect());
            let text = if indented { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let mut found = serde_json::Map::new();
            for member in members(text.as_bytes()) {
                let member = member.unwrap();
                let key = as_str(&text.as_bytes()[member.key_range.start - 1..=member.key_range.end]).unwrap().into_owned();
                prop_assert!(member.is(&key));
                found.insert(key, serde_json::from_slice(member.value).unwrap());
            }
            prop_assert_eq!(Value::Object(found), value);
        }

        #[test]
        fn strings_go_there_and_back(text in prop_oneof![any::<String>(), "[\\x00-\\x22\\\\\u{2026}-\u{202b}é]{0,90}"]) {
            let mut out = Vec::new();
            write_string(&mut out, &text);
            prop_assert_eq!(as_str(&out).unwrap(), &text[..]);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), &text[..]);
            prop_assert!(!out.windows(3).any(|bytes| matches!(bytes, [0xe2, 0x80, 0xa8 | 0xa9])));
        }

        #[test]
        fn strings_are_read_as_serde_reads_them(parts in proptest::collection::vec(proptest::sample::select(vec!["\\n", "\\u00e9", "\\ud83d", "\\ude00", "\\ud83d\\ude00", "x", "é", "\\", "\"", "\u{1}", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"]), 0..8)) {
            let text = format!("\"{}\"", parts.concat());
            let expected = serde_json::from_str::<String>(&text).ok();
            prop_assert_eq!(as_str(text.as_bytes()).map(std::borrow::Cow::into_owned), expected);
        }

        #[test]
        fn garbage_ends(parts in proptest::collection::vec(prop_oneof![any::<u8>(), proptest::sample::select(b"{}[]\"\\,:0-.etrufalsn ".to_vec())], 0..60)) {
            for text in [parts.clone(), [b"{\"a\":", &parts[..]].concat(), [b"[", &parts[..]].concat()] {
                prop_assert!(members(&text).filter(Result::is_err).count() <= 1);
                prop_assert!(elements(&text).filter(Result::is_err).count() <= 1);
                let _ = (as_str(&text), as_u64(&text), as_bool(&text));
            }
        }
    }
}
