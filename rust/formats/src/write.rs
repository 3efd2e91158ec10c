//! Writes small JSON objects member by member, in the order given: error bodies and in-band error frames.

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

    /// A text, or nothing at all when there is none.
    pub(crate) fn optional_text(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }

    pub(crate) fn number(&mut self, key: &str, value: u64) -> &mut Self {
        write_number(self.key(key), value);
        self
    }

    pub(crate) fn object(&mut self, key: &str, members: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        let mut inner = Object::open(self.key(key));
        members(&mut inner);
        inner.close();
        self
    }

    pub(crate) fn close(self) {
        self.out.push(b'}');
    }

    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        write_string(self.out, key);
        self.out.push(b':');
        self.out
    }
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

    #[test]
    fn members_come_in_order_with_commas() {
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        object.text("a", "x\"\u{2028}").number("b", u64::MAX).optional_text("c", None).object("d", |inner| {
            inner.raw("e", b"null");
        });
        object.close();
        assert_eq!(std::str::from_utf8(&out).unwrap(), r#"{"a":"x\"\u2028","b":18446744073709551615,"d":{"e":null}}"#);
    }

    #[test]
    fn zero_is_a_digit() {
        let mut out = Vec::new();
        write_number(&mut out, 0);
        assert_eq!(out, b"0");
    }
}
