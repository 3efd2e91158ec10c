//! Reads the JSON of a dialect in one pass: each value is entered, taken or skipped, once.
//!
//! A fault carries the path of the value that is wrong, put together on the way out of the reader, so that reading without a fault
//! pays nothing for it. The text must be known to be JSON ([`Reader::checked`], or a scanner has seen it): what is skipped is not looked at.

use std::borrow::Cow;
use std::fmt;

use fairlead_ir::{Member, Raw, Text};

use crate::json::walk::{self, Cursor, unescape};
use crate::json::{Kind, Reject, is_complete, plain_ascii};

/// A value that is not what its dialect wants there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The JSON path from the top of the body, such as `messages[3].content`. Empty: the body itself.
    pub path: String,
    /// What is wrong, as the end of a sentence about the value, such as `must be a string`.
    pub problem: Cow<'static, str>,
}

impl Malformed {
    pub(crate) fn new(problem: impl Into<Cow<'static, str>>) -> Malformed {
        Malformed { path: String::new(), problem: problem.into() }
    }

    /// The same fault, seen from the object that holds the value under `key`.
    pub(crate) fn in_member(self, key: &str) -> Malformed {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        Malformed { path: format!("{key}{dot}{}", self.path), ..self }
    }

    /// The same fault, seen from the array that holds the value at `index`.
    pub(crate) fn in_element(self, index: usize) -> Malformed {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        Malformed { path: format!("[{index}]{dot}{}", self.path), ..self }
    }
}

impl From<Reject> for Malformed {
    fn from(reject: Reject) -> Malformed {
        Malformed::new(format!("is {reject}"))
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(out, "the body {}", self.problem),
            path => write!(out, "\"{path}\" {}", self.problem),
        }
    }
}

impl core::error::Error for Malformed {}

/// The name of a member.
#[derive(Clone, Debug)]
pub(crate) struct Key<'a> {
    raw: &'a [u8],
    name: Cow<'a, str>,
}

impl<'a> Key<'a> {
    #[inline]
    fn new(raw: &'a [u8]) -> Key<'a> {
        // One that is no text (half of a surrogate pair) is nobody's name.
        let name = plain_ascii(raw).map(Cow::Borrowed).or_else(|| unescape(raw));
        Key { raw, name: name.unwrap_or_default() }
    }

    /// Escapes decoded.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// A place before a value.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Reader<'a> {
    /// Before the value of a text that is known to be JSON.
    pub(crate) fn new(text: &'a [u8]) -> Reader<'a> {
        Reader { cursor: Cursor::new(text) }
    }

    /// As [`Reader::new`], of a text that may be anything.
    pub(crate) fn checked(text: &'a [u8]) -> Result<Reader<'a>, Malformed> {
        if is_complete(text) { Ok(Reader::new(text)) } else { Err(Malformed::new("is not valid JSON")) }
    }

    /// What the next value is.
    pub(crate) fn kind(&self) -> Result<Kind, Malformed> {
        Ok(self.cursor.kind()?)
    }

    /// Reads an object, member by member. `member` must take or skip the value. Of members with the same name, whatever it does last counts.
    pub(crate) fn object(&mut self, mut member: impl FnMut(Key<'a>, &mut Reader<'a>) -> Result<(), Malformed>) -> Result<(), Malformed> {
        if self.kind()? != Kind::Object {
            return Err(Malformed::new("must be an object"));
        }
        let mut level = self.cursor.enter(b'{')?;
        while let Some(raw) = self.cursor.next_key(&mut level)? {
            let key = Key::new(raw);
            let name = key.clone();
            member(key, self).map_err(|fault| fault.in_member(name.name()))?;
        }
        Ok(())
    }

    /// Reads an array, element by element. `element` must take or skip the value.
    pub(crate) fn array(&mut self, mut element: impl FnMut(usize, &mut Reader<'a>) -> Result<(), Malformed>) -> Result<(), Malformed> {
        if self.kind()? != Kind::Array {
            return Err(Malformed::new("must be an array"));
        }
        let mut level = self.cursor.enter(b'[')?;
        let mut index = 0;
        while self.cursor.next_element(&mut level)? {
            element(index, self).map_err(|fault| fault.in_element(index))?;
            index += 1;
        }
        Ok(())
    }

    /// Takes a value as written.
    pub(crate) fn raw(&mut self) -> Result<Raw<'a>, Malformed> {
        Ok(Raw::json(self.cursor.skip()?))
    }

    /// Takes a value as it stands.
    pub(crate) fn slice(&mut self) -> Result<&'a [u8], Malformed> {
        Ok(self.cursor.skip()?)
    }

    /// Steps over a value.
    pub(crate) fn skip(&mut self) -> Result<(), Malformed> {
        self.cursor.skip()?;
        Ok(())
    }

    /// Takes a member that the dialect's reader does not know.
    pub(crate) fn member(&mut self, key: &Key<'a>) -> Result<Member<'a>, Malformed> {
        Ok(Member { name: Text::escaped(key.raw), value: self.raw()? })
    }

    /// Takes a string.
    pub(crate) fn text(&mut self) -> Result<Text<'a>, Malformed> {
        match self.cursor.skip()? {
            [b'"', inside @ .., b'"'] => Ok(Text::escaped(inside)),
            _ => Err(Malformed::new("must be a string")),
        }
    }

    /// Takes a string and decodes its escapes.
    pub(crate) fn decoded(&mut self) -> Result<Cow<'a, str>, Malformed> {
        walk::as_str(self.cursor.skip()?).ok_or_else(|| Malformed::new("must be a string"))
    }

    /// Takes a number as written.
    pub(crate) fn number(&mut self) -> Result<Raw<'a>, Malformed> {
        if self.kind()? == Kind::Number { self.raw() } else { Err(Malformed::new("must be a number")) }
    }

    /// Takes a whole number that is not negative.
    pub(crate) fn whole(&mut self) -> Result<u64, Malformed> {
        walk::as_u64(self.cursor.skip()?).ok_or_else(|| Malformed::new("must be a whole number that is not negative"))
    }

    /// Takes `true` or `false`.
    pub(crate) fn flag(&mut self) -> Result<bool, Malformed> {
        walk::as_bool(self.cursor.skip()?).ok_or_else(|| Malformed::new("must be true or false"))
    }

    /// Takes what `take` takes, or `null` as nothing.
    pub(crate) fn optional<T>(&mut self, take: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>) -> Result<Option<T>, Malformed> {
        if self.kind()? == Kind::Null {
            self.skip()?;
            return Ok(None);
        }
        take(self).map(Some)
    }

    /// The string under `name` in the object that is next, without taking the object. `None` when it is no object or holds no such string.
    pub(crate) fn peek(&self, name: &str) -> Option<Text<'a>> {
        let mut ahead = self.cursor.clone();
        let mut level = ahead.enter(b'{').ok()?;
        while let Some(raw) = ahead.next_key(&mut level).ok()? {
            let value = ahead.skip().ok()?;
            if raw == name.as_bytes() || raw.contains(&b'\\') && Key::new(raw).name() == name {
                return match value {
                    [b'"', inside @ .., b'"'] => Some(Text::escaped(inside)),
                    _ => None,
                };
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn roles(body: &str) -> Result<Vec<String>, String> {
        let mut roles = Vec::new();
        let read = Reader::checked(body.as_bytes()).and_then(|mut reader| {
            reader.object(|key, reader| match key.name() {
                "messages" => reader.array(|_, reader| {
                    reader.object(|key, reader| match key.name() {
                        "role" => {
                            roles.push(reader.decoded()?.into_owned());
                            Ok(())
                        }
                        "n" => reader.optional(Reader::whole).map(drop),
                        _ => reader.skip(),
                    })
                }),
                _ => reader.skip(),
            })
        });
        read.map(|()| roles).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_fault_names_its_place() {
        for (body, expected) in [
            (r#"{"a":[{}],"messages":[{"role":"user"},{"r\u006fle":"\u0041"}]}"#, Ok(vec!["user".to_owned(), "A".to_owned()])),
            (r#"{"messages":[{"n":null},{"n":-1}]}"#, Err(r#""messages[1].n" must be a whole number that is not negative"#.to_owned())),
            (r#"{"messages":[{},[]]}"#, Err(r#""messages[1]" must be an object"#.to_owned())),
            (r#"{"messages":{}}"#, Err(r#""messages" must be an array"#.to_owned())),
            ("[]", Err("the body must be an object".to_owned())),
            (r#"{"messages":[}"#, Err("the body is not valid JSON".to_owned())),
        ] {
            assert_eq!(roles(body), expected, "{body}");
        }
    }

    #[test]
    fn looking_ahead_takes_nothing() {
        let mut reader = Reader::new(br#"{"x":{"type":"inner"},"ty\u0070e":"outer"}"#);
        assert_eq!(reader.peek("type"), Some(Text::word("outer")));
        assert_eq!(reader.peek("x"), None);
        assert_eq!(reader.peek("y"), None);
        let mut names = Vec::new();
        reader
            .object(|key, reader| {
                names.push(reader.member(&key)?.name);
                Ok(())
            })
            .unwrap();
        assert_eq!(names, [Text::word("x"), Text::escaped(br"ty\u0070e")]);
    }
}
