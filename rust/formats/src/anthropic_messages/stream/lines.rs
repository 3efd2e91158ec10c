//! The lines of a message stream. The SDKs look at `event:` alone, so it always stands.

use fairlead_ir::Text;

use crate::write::{Object, write_escaped, write_number};

/// What a delta brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text,
    Thinking,
    Signature,
    Arguments,
    /// A JSON value instead of a text.
    Citation,
}

/// Writes an event called `name` with these members behind its type.
pub(super) fn event(name: &str, out: &mut Vec<u8>, members: impl FnOnce(&mut Object<'_>)) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    let mut object = Object::open(out);
    object.text("type", name);
    members(&mut object);
    object.close();
    out.extend_from_slice(b"\n\n");
}

/// Writes the start of the block with this number.
pub(super) fn start(index: u64, block: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":");
    write_number(out, index);
    out.extend_from_slice(b",\"content_block\":");
    out.extend_from_slice(block);
    out.extend_from_slice(b"}\n\n");
}

/// Writes a piece of the block with this number.
#[inline]
pub(super) fn delta(piece: Piece, index: u64, text: &[u8], out: &mut Vec<u8>) {
    let (before, after): (&[u8], &[u8]) = match piece {
        Piece::Text => (br#","delta":{"type":"text_delta","text":""#, b"\"}}\n\n"),
        Piece::Thinking => (br#","delta":{"type":"thinking_delta","thinking":""#, b"\"}}\n\n"),
        Piece::Signature => (br#","delta":{"type":"signature_delta","signature":""#, b"\"}}\n\n"),
        Piece::Arguments => (br#","delta":{"type":"input_json_delta","partial_json":""#, b"\"}}\n\n"),
        Piece::Citation => (br#","delta":{"type":"citations_delta","citation":"#, b"}}\n\n"),
    };
    out.reserve(160 + text.len());
    out.extend_from_slice(b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":");
    write_number(out, index);
    out.extend_from_slice(before);
    out.extend_from_slice(text);
    out.extend_from_slice(after);
}

/// Writes the end of the block with this number.
pub(super) fn stop(index: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":");
    write_number(out, index);
    out.extend_from_slice(b"}\n\n");
}

/// How a block begins whose first piece is this.
pub(super) const fn start_of(piece: Piece) -> &'static [u8] {
    match piece {
        Piece::Text | Piece::Citation | Piece::Arguments => br#"{"type":"text","text":""}"#,
        Piece::Thinking | Piece::Signature => br#"{"type":"thinking","thinking":"","signature":""}"#,
    }
}

/// How a tool call begins.
pub(super) fn call(id: &Text<'_>, name: &Text<'_>) -> Vec<u8> {
    let mut json = Vec::with_capacity(64 + id.as_bytes().len() + name.as_bytes().len());
    let mut object = Object::open(&mut json);
    object.text("type", "tool_use").escaped("id", id).escaped("name", name).raw("input", b"{}");
    object.close();
    json
}

/// A redacted thought, which is all in its start.
pub(super) fn redacted(data: &[u8]) -> Vec<u8> {
    let mut json = br#"{"type":"redacted_thinking","data":"#.to_vec();
    write_escaped(&mut json, &Text::escaped(data));
    json.push(b'}');
    json
}

/// An escaped text, escaped once more.
pub(super) fn escape_again(text: &[u8]) -> Vec<u8> {
    let mut again = Vec::with_capacity(text.len() + 8);
    for byte in text {
        if matches!(byte, b'\\' | b'"') {
            again.push(b'\\');
        }
        again.push(*byte);
    }
    again
}
