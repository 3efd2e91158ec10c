//! Chunks: what each one says, and whether the client gets it as it came.

mod calls;
mod choice;
pub(crate) mod decode;
pub(crate) mod encode;
mod frame;
pub(crate) mod head;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use core::ops::Range;

use super::response::{CHUNK_PART, Shape, ToolCalls, edit, take_choices, take_usage};
use super::wire::{Outline, TEXT_PART, find_texts};
use crate::identity::Identity;
use crate::json::Reject;
use crate::patch::Unspliced;
use crate::reply::Seen;
use crate::splice::Edits;
use crate::tap::{Action, Look};
use fairlead_ir::NanoUsd;

/// The event that ends a stream.
pub(crate) const DONE: &[u8] = b"[DONE]";

/// The part of a tap that belongs to this dialect.
#[derive(Debug, Default)]
pub(crate) struct ChunkTap {
    tools: ToolCalls,
    /// The chunks are those of legacy completions.
    legacy: bool,
}

impl ChunkTap {
    pub(crate) fn legacy() -> ChunkTap {
        ChunkTap { legacy: true, ..ChunkTap::default() }
    }

    pub(crate) fn is_legacy(&self) -> bool {
        self.legacy
    }

    fn part(&self) -> &'static str {
        if self.legacy { TEXT_PART } else { CHUNK_PART }
    }

    /// Reads one chunk into `seen`.
    ///
    /// Errors are looked for before choices: a frame with both is an error, not an empty success.
    pub(crate) fn read(&self, chunk: &[u8], seen: &mut Seen, identity: &Identity, withhold_usage: bool) -> Result<Look, Reject> {
        let outline = Outline::read(chunk, self.part())?;
        if outline.error.is_some() {
            seen.fail(chunk);
            return Ok(Look::error());
        }
        let choices = outline.choices.unwrap_or_default();
        seen.take_names(outline.id, outline.model, outline.created);
        seen.take_tier(outline.tier);
        let finished_before = seen.finish.is_some();
        take_choices(&choices, seen);
        if seen.error.is_some() {
            return Ok(Look::error());
        }
        let is_usage_chunk = outline.usage.is_some() && choices.count == 0;
        let usage = outline.usage.or(choices.usage);
        let has_usage = usage.is_some();
        let has_figures = take_usage(usage, seen);
        // Some hosts repeat running totals in every chunk; only the last ones are the bill. What holds no figures is one behind the end alone.
        let is_bill = has_usage && (seen.finish.is_some() || is_usage_chunk && has_figures);
        let action = match () {
            () if withhold_usage && is_usage_chunk => Action::Withhold,
            () if identity.is_openrouter() || is_bill => Action::Rewrite,
            () => Action::Pass,
        };
        let finish = seen.finish.is_some() && !finished_before;
        let ordinary = choices.content && !choices.begins_call && !has_usage && choices.finish.is_none();
        Ok(Look { action, usage: has_usage, bill: is_bill, finish, ordinary, ..Look::default() })
    }

    /// Writes down the edits of the chunk at `base`; whether its like would be edited in the same way.
    pub(crate) fn edit(
        &mut self,
        chunk: &[u8],
        base: usize,
        identity: &Identity,
        cost: Option<NanoUsd>,
        edits: &mut Edits,
    ) -> Result<bool, Unspliced> {
        let shape = if self.legacy { Shape::TextChunk } else { Shape::Chunk };
        edit(chunk, base, shape, identity, cost, &mut self.tools, edits)
    }

    /// Where the varying texts of a chunk lie, and whether they are content.
    pub(crate) fn find_texts(&self, chunk: &[u8], texts: &mut Vec<(Range<usize>, bool)>) -> Result<(), Reject> {
        find_texts(chunk, self.part(), texts)
    }
}
