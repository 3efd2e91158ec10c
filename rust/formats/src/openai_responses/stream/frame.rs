//! Events as bytes: their name, their number, their members.

use fairlead_ir::Text;

use crate::write::{Object, write_number};

/// Numbers the events of one stream.
#[derive(Debug, Default)]
pub(super) struct Frames {
    next: u64,
}

impl Frames {
    /// The next event has this number.
    pub(super) fn go_on_from(&mut self, next: u64) {
        self.next = next;
    }

    /// Writes an event with the members that `write` adds.
    pub(super) fn event(&mut self, word: &str, out: &mut Vec<u8>, write: impl FnOnce(&mut Object<'_>)) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(b"\ndata: ");
        let mut json = Object::open(out);
        json.text("type", word).number("sequence_number", self.next);
        write(&mut json);
        json.close();
        out.extend_from_slice(b"\n\n");
        self.next += 1;
    }

    /// Writes a piece of a text. `middle` are the members that say where it belongs, `tail` those behind it, each with a comma before.
    pub(super) fn delta(&mut self, word: &str, middle: &[u8], text: &Text<'_>, tail: &str, out: &mut Vec<u8>) {
        let text = text.as_bytes();
        out.reserve(2 * word.len() + middle.len() + text.len() + tail.len() + 80);
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(b"\ndata: {\"type\":\"");
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(b"\",\"sequence_number\":");
        write_number(out, self.next);
        out.extend_from_slice(middle);
        out.extend_from_slice(b",\"delta\":\"");
        out.extend_from_slice(text);
        out.push(b'"');
        out.extend_from_slice(tail.as_bytes());
        out.extend_from_slice(b"}\n\n");
        self.next += 1;
    }
}
