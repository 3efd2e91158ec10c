//! Writes JSON member by member, in the order given.

use fairlead_ir::{Member, Text};

use crate::json::walk::write_string;

/// An object being written; [`Object::close`] ends it.
pub(crate) struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> Object<'o> {
    pub(crate) fn open(out: &'o mut Vec<u8>) -> Object<'o> {
        out.push(b'{');
        Object { out, empty: true }
    }

    /// A member whose value is already JSON.
    pub(crate) fn raw(&mut self, key: &str, value: &[u8]) -> &mut Self {
        self.key(key).extend_from_slice(value);
        self
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) -> &mut Self {
        write_string(self.key(key), value);
        self
    }

    /// A text that is already escaped.
    pub(crate) fn escaped(&mut self, key: &str, value: &Text<'_>) -> &mut Self {
        write_escaped(self.key(key), value);
        self
    }

    /// A text, or nothing at all when there is none.
    pub(crate) fn optional_text(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }

    /// As [`Object::escaped`], or nothing at all when there is none.
    pub(crate) fn optional_escaped(&mut self, key: &str, value: Option<&Text<'_>>) -> &mut Self {
        match value {
            Some(value) => self.escaped(key, value),
            None => self,
        }
    }

    pub(crate) fn number(&mut self, key: &str, value: u64) -> &mut Self {
        write_number(self.key(key), value);
        self
    }

    pub(crate) fn flag(&mut self, key: &str, value: bool) -> &mut Self {
        self.raw(key, if value { b"true" } else { b"false" })
    }

    pub(crate) fn object(&mut self, key: &str, members: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        let mut inner = Object::open(self.key(key));
        members(&mut inner);
        inner.close();
        self
    }

    pub(crate) fn array(&mut self, key: &str, elements: impl FnOnce(&mut Array<'_>)) -> &mut Self {
        let mut inner = Array::open(self.key(key));
        elements(&mut inner);
        inner.close();
        self
    }

    /// Members as they were read.
    pub(crate) fn members(&mut self, members: &[Member<'_>]) -> &mut Self {
        for member in members {
            self.comma();
            write_escaped(self.out, &member.name);
            self.out.push(b':');
            self.out.extend_from_slice(member.value.as_bytes());
        }
        self
    }

    /// The members of an object that is written without white space.
    pub(crate) fn inside(&mut self, object: &[u8]) -> &mut Self {
        if let [b'{', members @ .., b'}'] = object
            && !members.is_empty()
        {
            self.comma();
            self.out.extend_from_slice(members);
        }
        self
    }

    /// Members written by hand, each with a comma before it; something must stand before them.
    pub(crate) fn place(&mut self, members: &[u8]) -> &mut Self {
        self.out.extend_from_slice(members);
        self
    }

    /// The place for a value under `key`, to be written by hand.
    pub(crate) fn key(&mut self, key: &str) -> &mut Vec<u8> {
        self.comma();
        write_string(self.out, key);
        self.out.push(b':');
        self.out
    }

    /// As [`Object::key`], of a name that is already escaped.
    pub(crate) fn escaped_key(&mut self, key: &Text<'_>) -> &mut Vec<u8> {
        self.comma();
        write_escaped(self.out, key);
        self.out.push(b':');
        self.out
    }

    pub(crate) fn close(self) {
        self.out.push(b'}');
    }

    fn comma(&mut self) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
    }
}

/// An array being written; [`Array::close`] ends it.
pub(crate) struct Array<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> Array<'o> {
    pub(crate) fn open(out: &'o mut Vec<u8>) -> Array<'o> {
        out.push(b'[');
        Array { out, empty: true }
    }

    /// An element that is already JSON.
    pub(crate) fn raw(&mut self, value: &[u8]) -> &mut Self {
        self.element().extend_from_slice(value);
        self
    }

    /// A text that is already escaped.
    pub(crate) fn escaped(&mut self, value: &Text<'_>) -> &mut Self {
        write_escaped(self.element(), value);
        self
    }

    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        write_string(self.element(), value);
        self
    }

    pub(crate) fn object(&mut self, members: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        let mut inner = Object::open(self.element());
        members(&mut inner);
        inner.close();
        self
    }

    /// Texts that are already escaped, one after the other.
    pub(crate) fn texts(&mut self, values: &[Text<'_>]) {
        for value in values {
            self.escaped(value);
        }
    }

    /// Whether nothing was written yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.empty
    }

    /// The place for an element, to be written by hand.
    pub(crate) fn element(&mut self) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out
    }

    pub(crate) fn close(self) {
        self.out.push(b']');
    }
}

/// Appends a text that is already escaped, with its quotes.
pub(crate) fn write_escaped(out: &mut Vec<u8>, text: &Text<'_>) {
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Appends a whole number as decimal digits.
pub(crate) fn write_number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use fairlead_ir::Raw;

    #[test]
    fn members_come_in_order_with_commas() {
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        object.text("a", "x\"\u{2028}").number("b", u64::MAX).optional_text("c", None).object("d", |inner| {
            inner.raw("e", b"null");
        });
        object.array("f", |array| {
            assert!(array.is_empty());
            array.escaped(&Text::escaped(br"\ud83d")).object(|_| {}).text("\"");
        });
        object.members(&[Member { name: Text::word("g"), value: Raw::json(b"[1]") }]).flag("h", false);
        object.close();
        let expected = r#"{"a":"x\"\u2028","b":18446744073709551615,"d":{"e":null},"f":["\ud83d",{},"\""],"g":[1],"h":false}"#;
        assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
    }

    #[test]
    fn zero_is_a_digit() {
        let mut out = Vec::new();
        write_number(&mut out, 0);
        assert_eq!(out, b"0");
    }
}
