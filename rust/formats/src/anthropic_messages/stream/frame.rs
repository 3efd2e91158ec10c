//! One event's data, read in one pass.

use fairlead_ir::Text;

use super::decode::inside;
use crate::json::walk::{Cursor, Level, as_u64};
use crate::json::{Kind, Reject};
use crate::openai_chat::wire::is_error;

/// What an event says.
#[derive(Debug, Default)]
pub(super) struct Frame<'a> {
    /// The type word.
    pub(super) kind: Option<&'a [u8]>,
    pub(super) index: Option<u64>,
    pub(super) error: bool,
    pub(super) message: Option<&'a [u8]>,
    pub(super) block: Option<&'a [u8]>,
    pub(super) usage: Option<&'a [u8]>,
    pub(super) piece: Piece<'a>,
    pub(super) stop_reason: Option<&'a [u8]>,
    pub(super) stop_sequence: Option<&'a [u8]>,
    pub(super) stop_details: Option<&'a [u8]>,
}

/// What a delta brings.
#[derive(Debug, Default)]
pub(super) struct Piece<'a> {
    pub(super) kind: PieceKind,
    pub(super) text: Text<'a>,
    pub(super) citation: Option<&'a [u8]>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PieceKind {
    Text,
    Thinking,
    Signature,
    Arguments,
    Citation,
    /// Of a compaction.
    Content,
    #[default]
    Unknown,
}

impl<'a> Frame<'a> {
    pub(super) fn read(data: &'a [u8]) -> Result<Frame<'a>, Reject> {
        let mut frame = Frame::default();
        let mut cursor = Cursor::new(data);
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            match &*key {
                b"type" => frame.kind = word(cursor.skip()?),
                b"index" => frame.index = as_u64(cursor.skip()?),
                b"delta" if cursor.kind()? == Kind::Object => frame.read_delta(&mut cursor)?,
                b"message" => frame.message = object(cursor.skip()?),
                b"content_block" => frame.block = object(cursor.skip()?),
                b"usage" => frame.usage = object(cursor.skip()?),
                b"error" => frame.error = is_error(cursor.skip()?),
                _ => drop(cursor.skip()?),
            }
        }
        cursor.end()?;
        Ok(frame)
    }

    fn read_delta(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Reject> {
        let mut level: Level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            let value = cursor.skip()?;
            match &*key {
                b"type" => self.piece.kind = kind_of(value),
                b"text" | b"thinking" | b"partial_json" | b"signature" | b"content" => self.piece.text = inside(value),
                b"citation" => self.piece.citation = object(value),
                b"stop_reason" => self.stop_reason = word(value).map(|_| value),
                b"stop_sequence" => self.stop_sequence = word(value).map(|_| value),
                b"stop_details" => self.stop_details = object(value),
                _ => {}
            }
        }
        Ok(())
    }
}

fn kind_of(value: &[u8]) -> PieceKind {
    match value {
        br#""text_delta""# => PieceKind::Text,
        br#""thinking_delta""# => PieceKind::Thinking,
        br#""signature_delta""# => PieceKind::Signature,
        br#""input_json_delta""# => PieceKind::Arguments,
        br#""citations_delta""# => PieceKind::Citation,
        br#""compaction_delta""# => PieceKind::Content,
        _ => PieceKind::Unknown,
    }
}

/// The inside of a string.
fn word(value: &[u8]) -> Option<&[u8]> {
    match value {
        [b'"', inside @ .., b'"'] => Some(inside),
        _ => None,
    }
}

fn object(value: &[u8]) -> Option<&[u8]> {
    value.starts_with(b"{").then_some(value)
}
