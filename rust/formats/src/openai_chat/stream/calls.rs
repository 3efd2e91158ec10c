//! Tool calls out of fragments: which fragment belongs to which call, whatever numbers and ids a host gives.
//!
//! A fragment with an id of its own begins a call unless that call is there; one with a name and no id begins a call unless the same name
//! is still being written; one with arguments alone goes on with its number's call, or with the last one. Two ids are never merged.

use fairlead_ir::Text;

use super::frame::Fragment;
use crate::json::is_complete;
use crate::openai_chat::response::decode::made_id;
use crate::read::Malformed;
use crate::text::{is_sound, quote};

/// So many calls one choice may have; more are no reply.
pub(super) const MAX_CALLS: usize = 1024;

/// A call that has begun.
#[derive(Debug)]
pub(super) struct Call {
    index: Option<u64>,
    pub(super) id: Text<'static>,
    /// The id is ours.
    made: bool,
    pub(super) name: Text<'static>,
    pub(super) free: bool,
    /// Its block, once its name is known.
    pub(super) block: Option<u32>,
    pub(super) open: bool,
    /// Whether any piece of its arguments was told.
    pub(super) told: bool,
    /// Arguments that came before the name.
    pub(super) waiting: Vec<u8>,
    pub(super) progress: Progress,
}

/// The calls of one choice.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pub(super) list: Vec<Call>,
}

impl Calls {
    /// The number in the list of the call that the fragment belongs to, which is a new one at times.
    pub(super) fn place(&mut self, fragment: &Fragment<'_>, salt: u32, choice: u32) -> Result<usize, Malformed> {
        let found = match (fragment.id, fragment.name) {
            (Some(id), name) => self.by_id(id, fragment.index, name),
            (None, Some(name)) => self.by_name(name, fragment.index),
            (None, None) => self.by_index(fragment.index).or(self.list.len().checked_sub(1)),
        };
        match found {
            Some(at) => Ok(at),
            None => self.begin(fragment, salt, choice),
        }
    }

    fn by_id(&self, id: &[u8], index: Option<u64>, name: Option<&[u8]>) -> Option<usize> {
        let same = |call: &Call| call.id.as_bytes() == id && (index.is_none() || call.index.is_none() || index == call.index);
        let late = |at: &usize| self.list[*at].made && name.is_none_or(|name| self.list[*at].name.as_bytes() == name);
        self.list.iter().rposition(same).or_else(|| self.by_index(Some(index?)).filter(late))
    }

    fn by_name(&self, name: &[u8], index: Option<u64>) -> Option<usize> {
        let candidate = match index {
            Some(_) => self.by_index(index),
            None => self.list.len().checked_sub(1),
        };
        candidate.filter(|at| {
            let call = &self.list[*at];
            call.name.is_empty() || call.name.as_bytes() == name && !call.progress.is_done()
        })
    }

    fn by_index(&self, index: Option<u64>) -> Option<usize> {
        self.list.iter().rposition(|call| index.is_some() && call.index == index)
    }

    fn begin(&mut self, fragment: &Fragment<'_>, salt: u32, choice: u32) -> Result<usize, Malformed> {
        if self.list.len() >= MAX_CALLS {
            return Err(Malformed::new(format!("has more than {MAX_CALLS} tool calls")));
        }
        let number = self.list.len();
        let own = fragment.id.filter(|id| is_sound(id) && self.list.iter().all(|call| call.id.as_bytes() != *id));
        let id = match own {
            Some(id) => Text::owned(id.to_vec()),
            None => made_id(salt, choice, number as u32),
        };
        self.list.push(Call {
            index: fragment.index,
            id,
            made: own.is_none(),
            name: Text::EMPTY,
            free: fragment.free,
            block: None,
            open: false,
            told: false,
            waiting: Vec::new(),
            progress: Progress::default(),
        });
        Ok(number)
    }
}

impl Call {
    /// What of the fragment's arguments goes on the call: a piece of their text. Nothing for what repeats or says nothing.
    pub(super) fn piece<'d>(&mut self, arguments: &'d [u8]) -> Result<Option<Text<'d>>, Malformed> {
        let piece = match arguments {
            [b'"', inside @ .., b'"'] if is_sound(inside) => Text::escaped(inside),
            value if !value.starts_with(b"\"") && is_complete(value) => quote(&fairlead_ir::Raw::json(value)),
            _ => return Err(Malformed::new("is no text").in_member("arguments")),
        };
        Ok(self.piece_of_text(piece))
    }

    /// As [`piece`](Self::piece), of a text that is known to be sound.
    pub(super) fn piece_of_text<'d>(&mut self, piece: Text<'d>) -> Option<Text<'d>> {
        if self.free {
            return Some(piece).filter(|piece| !piece.is_empty());
        }
        // `{}` in front of the arguments is a placeholder, and alone it is what a call without arguments has anyway.
        let says_nothing = piece.is_empty() || !self.progress.has_begun() && piece.is("{}") || self.progress.is_done();
        if says_nothing {
            return None;
        }
        self.progress.feed(piece.as_bytes());
        Some(piece)
    }
}

/// How far a JSON text inside a JSON string has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    depth: u32,
    in_string: bool,
    after_backslash: bool,
    begun: bool,
    done: bool,
}

impl Progress {
    fn has_begun(self) -> bool {
        self.begun
    }

    /// Whether the object, array or string that began has ended.
    pub(super) fn is_done(self) -> bool {
        self.done
    }

    /// Takes the next piece, whose escapes are whole.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        let mut at = 0;
        while let Some(&byte) = piece.get(at) {
            let (byte, length) = match (byte, piece.get(at + 1)) {
                (b'\\', Some(b'u')) => (unicode(piece.get(at + 2..at + 6)), 6),
                (b'\\', Some(b'n' | b'r' | b't' | b'b' | b'f')) => (b' ', 2),
                (b'\\', Some(&escaped)) => (escaped, 2),
                (byte, _) => (byte, 1),
            };
            self.step(byte);
            at += length;
        }
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            match byte {
                _ if self.after_backslash => self.after_backslash = false,
                b'\\' => self.after_backslash = true,
                b'"' => {
                    self.in_string = false;
                    self.done |= self.depth == 0;
                }
                _ => {}
            }
            return;
        }
        self.begun |= byte != b' ';
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.done |= self.depth == 0;
            }
            _ => {}
        }
    }
}

/// The character of a `\u` escape as far as it matters here.
fn unicode(hex: Option<&[u8]>) -> u8 {
    match hex {
        Some(b"0022") => b'"',
        Some(b"005c" | b"005C") => b'\\',
        Some(b"007b" | b"007B") => b'{',
        Some(b"007d" | b"007D") => b'}',
        Some(b"005b" | b"005B") => b'[',
        Some(b"005d" | b"005D") => b']',
        _ => b'x',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_done_when_they_are() {
        for (pieces, done) in [
            (&[r"{}"][..], true),
            (&["{", r#"\"a\""#, ":", r#"\"}\""#], false),
            (&["{", r#"\"a\""#, ":", r#"\"}\\\"\""#, "}"], true),
            (&[r#"{\"a\":\"\\\\\"}"#], true),
            (&[r#"{\u0022a\u0022:{"#, "}"], false),
            (&[r"\n ", "[1]"], true),
            (&["12"], false),
            (&[], false),
        ] {
            let mut progress = Progress::default();
            pieces.iter().for_each(|piece| progress.feed(piece.as_bytes()));
            assert_eq!(progress.is_done(), done, "{pieces:?}");
        }
    }
}
