//! The named events of a stream: what each one says, and whether the client gets it as it came.
//!
//! Nearly all events are told by their name alone; only those of the reply's own life and the beginning of items are looked into.

pub(crate) mod decode;
pub(crate) mod encode;
mod frame;
mod shape;
#[cfg(test)]
mod tests;

use fairlead_ir::NanoUsd;

use super::response::{edit, take_end, take_names};
use super::wire::{Content, Outline, delta_bytes, string_in};
use crate::identity::Identity;
use crate::json::walk;
use crate::json::{Kind, Reject};
use crate::openai_chat::wire::is_error;
use crate::patch::Unspliced;
use crate::reply::Seen;
use crate::splice::Edits;
use crate::tap::{Action, Look};

/// The part of a tap that belongs to this dialect.
#[derive(Debug, Default)]
pub(crate) struct EventTap {
    /// How many events the client has got, which is the number of the next one.
    sent: u64,
    calls: bool,
    refusal: bool,
}

impl EventTap {
    /// The number of the next event.
    pub(crate) fn sequence_number(&self) -> u64 {
        self.sent
    }

    /// Reads an event into `seen`; `name` is what its `event:` line says.
    pub(crate) fn read(&mut self, name: Option<&[u8]>, event: &[u8], seen: &mut Seen, identity: &Identity) -> Result<Look, Reject> {
        let look = match name {
            Some(name) => self.read_named(name, event, seen, identity)?,
            None => self.read_unnamed(event, seen, identity)?,
        };
        self.sent += u64::from(look.action != Action::Withhold);
        Ok(look)
    }

    /// Some servers send the data alone, which says the same.
    fn read_unnamed(&mut self, event: &[u8], seen: &mut Seen, identity: &Identity) -> Result<Look, Reject> {
        for member in walk::members(event) {
            let member = member?;
            if member.is("error") && is_error(member.value) {
                seen.fail(event);
                return Ok(Look::error());
            }
        }
        match string_in(event, "type") {
            Some(name) => self.read_named(name, event, seen, identity),
            None => Ok(Look::default()),
        }
    }

    fn read_named(&mut self, name: &[u8], event: &[u8], seen: &mut Seen, identity: &Identity) -> Result<Look, Reject> {
        match name {
            name if name.ends_with(b".delta") => {
                let bytes = delta_bytes(event);
                self.refusal |= name == b"response.refusal.delta";
                seen.take_content(bytes > 0, bytes);
                Ok(Look::default())
            }
            b"response.output_item.added" => {
                let Some(item) = walk::member(event, "item")?.filter(|item| item.kind == Kind::Object) else { return Ok(Look::default()) };
                let mut content = Content::default();
                if !matches!(string_in(item.value, "type"), Some(b"message" | b"reasoning") | None) {
                    content.add_item(item.value)?;
                }
                self.calls |= content.calls;
                seen.take_content(content.any, content.bytes);
                Ok(Look::default())
            }
            b"response.created" | b"response.in_progress" | b"response.queued" => {
                if let Some(response) = response_of(event)? {
                    take_names(&Outline::read(response)?, seen);
                }
                let action = if identity.renames() { Action::Rewrite } else { Action::Pass };
                Ok(Look { action, ..Look::default() })
            }
            b"response.completed" | b"response.incomplete" | b"response.failed" | b"response.cancelled" => {
                self.read_end(&name[b"response.".len()..], event, seen, identity)
            }
            b"error" | b"response.error" => {
                seen.fail(event);
                Ok(Look::error())
            }
            name => Ok(Look { keep_alive: !name.starts_with(b"response."), ..Look::default() }),
        }
    }

    fn read_end(&mut self, word: &[u8], event: &[u8], seen: &mut Seen, identity: &Identity) -> Result<Look, Reject> {
        let outline = response_of(event)?.map(Outline::read).transpose()?.unwrap_or_default();
        take_names(&outline, seen);
        if matches!(word, b"failed" | b"cancelled") {
            match outline.error {
                Some(error) => seen.fail(error),
                None => seen.fail_without_message(),
            }
            return Ok(Look::error());
        }
        let whole = outline.content.unwrap_or_default();
        if !seen.content {
            // A server that streams nothing but the end.
            seen.take_content(whole.any, whole.bytes);
        }
        let content = Content { calls: self.calls || whole.calls, refusal: self.refusal || whole.refusal, ..whole };
        let usage = take_end(&outline, word, content, seen);
        let action = if usage || identity.renames() { Action::Rewrite } else { Action::Pass };
        Ok(Look { action, usage, bill: usage, finish: true, end: true, ..Look::default() })
    }

    /// Writes down the edits of the event whose data stands at `base`.
    pub(crate) fn edit(event: &[u8], base: usize, identity: &Identity, cost: Option<NanoUsd>, edits: &mut Edits) -> Result<(), Unspliced> {
        let status = match string_in(event, "type") {
            Some(b"response.completed") => "completed",
            Some(b"response.incomplete") => "incomplete",
            _ => "in_progress",
        };
        for member in walk::members(event) {
            let member = member?;
            if member.is("response") && member.kind == Kind::Object {
                edit(member.value, base + member.value_range.start, status, identity, cost, None, edits)?;
            }
        }
        Ok(())
    }
}

fn response_of(event: &[u8]) -> Result<Option<&[u8]>, Reject> {
    Ok(walk::member(event, "response")?.filter(|response| response.kind == Kind::Object).map(|response| response.value))
}
