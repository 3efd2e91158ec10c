//! Blocks of a stream that can only be told whole: pictures, and what the service runs itself.

use fairlead_ir::block::{Media, MediaClass, MediaSource};
use fairlead_ir::{Head, Member, Raw, Text};

use crate::bedrock_converse::wire::media::mime_of;
use crate::read::Malformed;
use crate::text::{base64_bytes, base64_text, unquote};
use crate::write::Object;

/// As much as is held of all blocks that are open at a time: an event is at most 24 MiB.
const MOST_BYTES: usize = 32 << 20;

/// A block whose pieces are being gathered.
#[derive(Debug)]
pub(super) enum Held {
    /// A picture, in bytes: pieces in base64 cannot be joined where they are padded.
    Image { format: Vec<u8>, bytes: Vec<u8> },
    /// A call that the service runs: what it began with, and its input as written.
    Call { members: Vec<Member<'static>>, input: Vec<u8> },
    /// What came out of it: what it began with, and its content without brackets.
    Result { members: Vec<Member<'static>>, content: Vec<u8> },
    /// Something that nobody knows yet, and that nobody can be told of.
    Unknown,
}

impl Held {
    /// How many bytes it holds.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Held::Image { bytes, .. } => bytes.len(),
            Held::Call { input, .. } => input.len(),
            Held::Result { content, .. } => content.len(),
            Held::Unknown => 0,
        }
    }

    /// Adds a piece of a picture.
    pub(super) fn add_image(&mut self, base64: &Text<'_>) -> Result<(), Malformed> {
        match self {
            Held::Image { bytes, .. } => {
                bytes.extend(base64_bytes(base64).ok_or_else(|| Malformed::new("must be base64").in_member("delta"))?);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Adds a piece of a call's input.
    pub(super) fn add_input(&mut self, piece: &Text<'_>) {
        if let Held::Call { input, .. } = self {
            input.extend_from_slice(piece.as_bytes());
        }
    }

    /// Adds the elements of a result's content: the array as written.
    pub(super) fn add_content(&mut self, array: &Raw<'_>) {
        if let (Held::Result { content, .. }, [b'[', elements @ .., b']']) = (self, array.as_bytes())
            && !elements.trim_ascii().is_empty()
        {
            if !content.is_empty() {
                content.push(b',');
            }
            content.extend_from_slice(elements);
        }
    }

    /// The block, now that all of it has come; `None` when there is nothing to tell.
    pub(super) fn into_head(self) -> Option<Head<'static>> {
        match self {
            Held::Image { format, bytes } if !bytes.is_empty() => {
                let mime = mime_of(MediaClass::Image, &format).map_or(Text::EMPTY, Text::word);
                let source = MediaSource::Base64 { mime, data: base64_text(&bytes) };
                Some(Head::Media(Media { class: MediaClass::Image, source, detail: None, name: None }))
            }
            Held::Call { members, input } => {
                let input = unquote(&Text::owned(input)).unwrap_or(Raw::json(b"{}"));
                Some(opaque("toolUse", &members, "input", input.as_bytes()))
            }
            Held::Result { members, content } => {
                let content = [b"[", &content[..], b"]"].concat();
                Some(opaque("toolResult", &members, "content", &content))
            }
            Held::Image { .. } | Held::Unknown => None,
        }
    }
}

/// Whether this much may be held.
pub(super) fn check_room(held: usize) -> Result<(), Malformed> {
    if held > MOST_BYTES { Err(Malformed::new("is part of a block that is too large").in_member("delta")) } else { Ok(()) }
}

/// The block as a whole reply has it.
fn opaque(word: &'static str, members: &[Member<'static>], last: &str, value: &[u8]) -> Head<'static> {
    let mut raw = Vec::with_capacity(value.len() + 128);
    let mut block = Object::open(&mut raw);
    block.object(word, |object| {
        object.members(members).raw(last, value);
    });
    block.close();
    Head::Opaque { word: Text::word(word), raw: Raw::owned(raw) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_of_any_length_join(bytes in any::<Vec<u8>>(), size in 1..10_usize) {
            let mut held = Held::Image { format: Vec::new(), bytes: Vec::new() };
            for piece in bytes.chunks(size) {
                held.add_image(&base64_text(piece)).unwrap();
            }
            let joined = match held {
                Held::Image { bytes, .. } => Some(bytes),
                _ => None,
            };
            prop_assert_eq!(joined, Some(bytes));
        }
    }
}
