//! Chunks on the byte path: what each one says, and whether the client gets it as it came. The reader and the writer of streams stand below.

pub(crate) mod decode;
pub(crate) mod encode;
mod fragments;
mod shape;
#[cfg(test)]
mod tests;

use fairlead_ir::NanoUsd;

use self::shape::Shapes;
use super::wire::Figures;
use super::wire::outline::Outline;
use crate::json::{Kind, Reject, walk};
use crate::openai_chat::response::set_cost;
use crate::patch::{Patch, Unspliced, name};
use crate::reply::Seen;
use crate::splice::Edits;
use crate::tap::{Action, Look};

/// The part of a tap that belongs to this dialect.
#[derive(Debug, Default)]
pub(crate) struct PartTap {
    figures: Figures,
    /// A call has come, so that the end is one for calls.
    calls: bool,
    shapes: Shapes,
}

impl PartTap {
    /// Reads the data of one event into `seen`.
    pub(crate) fn read(&mut self, chunk: &[u8], seen: &mut Seen) -> Result<Look, Reject> {
        let has_usage = match self.shapes.read(chunk) {
            Some(ordinary) if ordinary.usage.is_none_or(|usage| self.figures.merge_plain(usage)) => {
                seen.take_content(!ordinary.text.is_empty(), ordinary.text.len() as u64);
                if ordinary.usage.is_some() {
                    self.figures.figured().into_iter().for_each(|figured| seen.take_figures(figured));
                }
                ordinary.usage.is_some()
            }
            _ => {
                let outline = Outline::read(chunk)?;
                if outline.error {
                    seen.fail(chunk);
                    return Ok(Look::error());
                }
                let finished = seen.finish.is_some();
                let has_usage = outline.tell(chunk, &mut self.figures, &mut self.calls, seen);
                if seen.finish.is_none() {
                    self.shapes.learn(chunk);
                }
                return Ok(look(has_usage, finished, seen));
            }
        };
        Ok(look(has_usage, seen.finish.is_some(), seen))
    }

    /// Writes down the edits of the event whose data stands at `base`: the cost where the final figures are.
    pub(crate) fn edit(chunk: &[u8], base: usize, cost: Option<NanoUsd>, edits: &mut Edits) -> Result<bool, Unspliced> {
        for member in walk::members(chunk) {
            let member = member?;
            if member.kind == Kind::Object && &*name(member.key) == b"usageMetadata" {
                let base = base + member.value_range.start;
                let mut patch = Patch::default();
                set_cost(member.value, base, cost, &mut patch, edits)?;
                patch.write(member.value, base, edits)?;
            }
        }
        Ok(false)
    }
}

/// Figures are running totals: those that come with the end, or behind it, are the bill.
fn look(usage: bool, finished_before: bool, seen: &Seen) -> Look {
    let bill = usage && seen.finish.is_some();
    let action = if bill { Action::Rewrite } else { Action::Pass };
    Look { action, usage, bill, finish: seen.finish.is_some() && !finished_before, ..Look::default() }
}
