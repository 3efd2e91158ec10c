//! The named events of a message stream: what each one says, and whether the client gets it as it came.

mod begin;
pub(crate) mod decode;
pub(crate) mod encode;
mod frame;
mod lines;

use core::ops::Range;

use fairlead_ir::{Dialect, NanoUsd, Usage};

use super::response::{edit_message, edit_usage, take_stop};
use super::wire::stop::Ending;
use super::wire::usage::{Beside, write as write_usage};
use super::wire::{Figures, Outline, find_texts, read_block, read_delta};
use crate::cut;
use crate::decimal::count;
use crate::identity::Identity;
use crate::json::walk;
use crate::json::{Kind, Reject};
use crate::patch::{Unspliced, name};
use crate::reply::Seen;
use crate::splice::Edits;
use crate::tap::{Action, Look};

/// The part of a tap that belongs to this dialect.
#[derive(Debug, Default)]
pub(crate) struct EventTap {
    figures: Figures,
    /// A `message_start` with usage has come: its prompt figures are real, its `output_tokens` is a placeholder.
    started: bool,
    /// The number of the block that has begun and not ended.
    open: Option<u64>,
}

impl EventTap {
    /// Reads the data of one event into `seen`.
    pub(crate) fn read(&mut self, event: &[u8], seen: &mut Seen, identity: &Identity) -> Result<Look, Reject> {
        let outline = Outline::read(event)?;
        if outline.error {
            seen.fail(event);
            return Ok(Look::error());
        }
        match outline.kind {
            br#""content_block_delta""# => {
                let (content, bytes) = outline.delta.map(read_delta).transpose()?.unwrap_or_default();
                seen.take_content(content, bytes);
                Ok(Look { ordinary: content, ..Look::default() })
            }
            br#""content_block_start""# => {
                let (content, bytes) = outline.block.map(read_block).transpose()?.unwrap_or_default();
                seen.take_content(content, bytes);
                self.open = outline.index.and_then(count);
                Ok(Look::default())
            }
            br#""content_block_stop""# => {
                self.open = None;
                Ok(Look::default())
            }
            br#""message_start""# => self.read_start(&outline, seen, identity),
            br#""message_delta""# => self.read_delta(&outline, seen),
            br#""message_stop""# => Ok(Look { end: true, ..Look::default() }),
            br#""ping""# => Ok(Look { keep_alive: true, ..Look::default() }),
            br#""error""# => {
                seen.fail(event);
                Ok(Look::error())
            }
            _ => Ok(Look::default()),
        }
    }

    /// What is known of the prompt before the final figures, with no completion.
    pub(crate) fn prompt_usage(&self) -> Option<Usage> {
        let figured = self.figures.figured().filter(|figured| self.started && !figured.missing.prompt)?;
        Some(Usage { completion_tokens: 0, reasoning_tokens: 0, ..figured.usage })
    }

    fn read_start(&mut self, outline: &Outline<'_>, seen: &mut Seen, identity: &Identity) -> Result<Look, Reject> {
        let Some(message) = outline.message else { return Ok(Look::default()) };
        let message = Outline::read(message)?;
        seen.take_names(message.id, message.model, None);
        if let Some(usage) = message.usage {
            self.figures.merge(usage);
            self.figures.forget_output();
            self.started = true;
        }
        let action = if identity.is_openrouter() { Action::Rewrite } else { Action::Pass };
        Ok(Look { action, ..Look::default() })
    }

    fn read_delta(&mut self, outline: &Outline<'_>, seen: &mut Seen) -> Result<Look, Reject> {
        let mut finish = false;
        if let Some(delta) = outline.delta {
            let delta = Outline::read(delta)?;
            finish = take_stop(delta.stop_reason, delta.stop_sequence, seen);
        }
        let Some(usage) = outline.usage else { return Ok(Look { finish, ..Look::default() }) };
        self.figures.merge(usage);
        self.figures.figured().into_iter().for_each(|figured| seen.take_figures(figured));
        Ok(Look { action: Action::Rewrite, usage: true, bill: true, finish, ..Look::default() })
    }

    /// Appends the end of the block that is open.
    pub(crate) fn close_block(&self, out: &mut Vec<u8>) {
        if let Some(index) = self.open {
            lines::stop(index, out);
        }
    }

    /// Appends the end of a message that is cut here, behind its last block.
    pub(crate) fn cut(identity: &Identity, usage: &Usage, cost: NanoUsd, out: &mut Vec<u8>) {
        let stop = cut::stop(Dialect::AnthropicMessages);
        let beside = Beside { cost: Some(cost), openrouter: identity.is_openrouter(), service_tier: None };
        lines::event("message_delta", out, |event| {
            event.object("delta", |delta| Ending::new(Some(&stop), true, false).write(delta));
            write_usage(usage, &beside, event);
        });
        lines::event("message_stop", out, |_| {});
    }

    /// Writes down the edits of the event whose data stands at `base`.
    pub(crate) fn edit(
        &mut self,
        event: &[u8],
        base: usize,
        identity: &Identity,
        cost: Option<NanoUsd>,
        edits: &mut Edits,
    ) -> Result<bool, Unspliced> {
        for member in walk::members(event) {
            let member = member?;
            match (&*name(member.key), member.kind) {
                // The cost is in `message_delta`; here the figures are not final.
                (b"message", Kind::Object) => edit_message(member.value, base + member.value_range.start, identity, None, None, edits)?,
                (b"usage", Kind::Object) => edit_usage(member.value, base + member.value_range.start, identity, cost, edits)?,
                _ => {}
            }
        }
        Ok(true)
    }

    pub(crate) fn find_texts(event: &[u8], texts: &mut Vec<(Range<usize>, bool)>) -> Result<(), Reject> {
        find_texts(event, texts)
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
