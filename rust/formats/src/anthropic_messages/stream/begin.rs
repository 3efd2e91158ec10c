//! How a block begins. Milder than a reader of whole blocks: imitators leave out what comes later anyway.

use fairlead_ir::{Raw, Text};

use super::decode::inside;
use crate::json::is_complete;
use crate::json::walk;
use crate::patch::name;
use crate::read::Malformed;
use crate::text::{is_sound, unquote};
use crate::write::{Object, write_escaped};

/// What a `content_block` begins with.
pub(super) enum Begun<'a> {
    Text {
        text: Text<'a>,
        citations: Option<&'a [u8]>,
    },
    Thought {
        text: Text<'a>,
        signature: Text<'a>,
    },
    Redacted(Text<'a>),
    Call {
        id: Text<'a>,
        name: Text<'a>,
        input: Raw<'a>,
    },
    /// A block that no other dialect knows.
    Whole(Raw<'a>),
}

#[derive(Default)]
struct Members<'a> {
    kind: Text<'a>,
    text: Text<'a>,
    thinking: Text<'a>,
    signature: Text<'a>,
    data: Text<'a>,
    id: Text<'a>,
    name: Text<'a>,
    input: Option<&'a [u8]>,
    citations: Option<&'a [u8]>,
}

pub(super) fn read(block: &[u8]) -> Result<Begun<'_>, Malformed> {
    // Rare, and what is kept whole must be whole.
    if !is_complete(block) {
        return Err(Malformed::new("is not valid JSON").in_member("content_block"));
    }
    let members = Members::read(block)?;
    let texts = [&members.text, &members.thinking, &members.signature, &members.data, &members.id, &members.name];
    if !texts.into_iter().all(|text| is_sound(text.as_bytes())) {
        return Err(Malformed::new("holds bytes that are no text").in_member("content_block"));
    }
    Ok(match members.kind.as_bytes() {
        b"text" => Begun::Text { text: members.text, citations: members.citations },
        b"thinking" => Begun::Thought { text: members.thinking, signature: members.signature },
        b"redacted_thinking" => Begun::Redacted(members.data),
        b"tool_use" => Begun::Call { id: members.id, name: members.name, input: Raw::json(members.input.unwrap_or(b"{}")) },
        _ => Begun::Whole(Raw::json(block)),
    })
}

impl<'a> Members<'a> {
    fn read(block: &'a [u8]) -> Result<Members<'a>, Malformed> {
        let mut members = Members::default();
        for member in walk::members(block) {
            let member = member?;
            let slot = match &*name(member.key) {
                b"type" => &mut members.kind,
                b"text" => &mut members.text,
                b"thinking" => &mut members.thinking,
                b"signature" => &mut members.signature,
                b"data" => &mut members.data,
                b"id" => &mut members.id,
                b"name" => &mut members.name,
                b"input" => {
                    members.input = member.value.starts_with(b"{").then_some(member.value);
                    continue;
                }
                b"citations" => {
                    members.citations = member.value.starts_with(b"[").then_some(member.value);
                    continue;
                }
                _ => continue,
            };
            *slot = inside(member.value);
        }
        Ok(members)
    }
}

/// The block `start` with what came behind it: its `input` as JSON, or its `content` as text. What makes no sense is left out.
pub(super) fn joined(start: &[u8], member: &str, pieces: &[u8]) -> Vec<u8> {
    let text = Text::escaped(pieces);
    let value = match member {
        _ if pieces.is_empty() => None,
        "input" => unquote(&text),
        _ => {
            let mut quoted = Vec::with_capacity(pieces.len() + 2);
            write_escaped(&mut quoted, &text);
            is_complete(&quoted).then(|| Raw::owned(quoted))
        }
    };
    let Some(value) = value else { return start.to_vec() };
    let mut out = Vec::with_capacity(start.len() + pieces.len());
    let mut object = Object::open(&mut out);
    for known in walk::members(start).map_while(Result::ok).filter(|known| !known.is(member)) {
        object.escaped_key(&Text::escaped(known.key)).extend_from_slice(known.value);
    }
    object.raw(member, value.as_bytes());
    object.close();
    out
}

/// The type word of a block.
pub(super) fn word(block: &[u8]) -> Text<'_> {
    walk::member(block, "type").ok().flatten().map_or(Text::EMPTY, |member| inside(member.value))
}
