//! A decision on its way into the log, and how a record says what was asked.

use super::plan::{Asked, Asking, Weighed, named};
use crate::decisions::Notes;
use crate::routes::Ask;
use crate::worker::Worker;
use fairlead_formats::request::{Facts, Purpose};
use fairlead_ir::{Dialect, GenerationId};
use fairlead_router::names::{self, Pick};
use fairlead_router::{Board, Decided};

/// Where the decision about this request is written down, if it is. A count goes nowhere.
pub(super) fn notes<'a>(worker: &'a Worker, board: &Board, ask: &Ask) -> Option<&'a Notes> {
    worker.decisions.as_ref().filter(|_| board.snapshot().settings.decisions && ask.purpose != Purpose::CountTokens)
}

/// Writes a decision down.
pub(super) fn note(notes: &Notes, generation: GenerationId, weighed: &Weighed, patterns: &[String], asking: &Asking<'_>, facts: &Facts) {
    let session = facts.session_id.as_deref().or(asking.session);
    let Weighed { board, plan, wanted, need, asked, said, pin, recording, .. } = weighed;
    let auto = if let Pick::Auto(auto) = &wanted.pick { Some(auto) } else { None };
    let names = names::Request { auto, ..named(facts, session) };
    let decided = Decided { board, names, patterns, wishes: said, need, pin: *pin, seed: asking.seed, plan, recording };
    notes.add(generation, asked.byte(), |out| decided.write(out));
}

/// In the place of what was asked: a request of which nothing was sent, because every key was at its limit for longer than it, or its client,
/// could wait.
const IN_VAIN: u8 = 1 << 7;

/// A request that waits. Dropping this writes down that it did so in vain.
pub(super) struct Waiting<'a> {
    notes: Option<&'a Notes>,
    generation: GenerationId,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(worker: &'a Worker, board: &Board, ask: &Ask, generation: GenerationId) -> Waiting<'a> {
        Waiting { notes: notes(worker, board, ask), generation }
    }

    /// It was not in vain.
    pub(super) fn end_well(mut self) {
        self.notes = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(notes) = self.notes {
            notes.add_about(self.generation, IN_VAIN);
        }
    }
}

/// Whether a record says that a request waited in vain.
pub(super) const fn was_in_vain(asked: u8) -> bool {
    asked == IN_VAIN
}

/// By their numbers in records: new ones come last.
const PURPOSES: [Purpose; 4] = [Purpose::Generate, Purpose::Completions, Purpose::Embeddings, Purpose::CountTokens];

impl Asked {
    /// As a record says it: the purpose, the dialect, and two flags.
    fn byte(self) -> u8 {
        let Asked { purpose, dialect, stream, thinks_with_tools } = self;
        purpose as u8 | dialect.number() << 2 | u8::from(stream) << 5 | u8::from(thinks_with_tools) << 6
    }

    /// What a record said; `None`: nothing that this version knows.
    pub(super) fn from_byte(byte: u8) -> Option<Asked> {
        let dialect = Dialect::from_number(byte >> 2 & 7).filter(|_| byte < 1 << 7)?;
        let purpose = *PURPOSES.get(usize::from(byte & 3))?;
        Some(Asked { purpose, dialect, stream: byte >> 5 & 1 == 1, thinks_with_tools: byte >> 6 & 1 == 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_reads_back() {
        for purpose in PURPOSES {
            for dialect in Dialect::ALL {
                for flags in 0..4 {
                    let asked = Asked { purpose, dialect, stream: flags & 1 == 1, thinks_with_tools: flags & 2 == 2 };
                    assert_eq!(Asked::from_byte(asked.byte()), Some(asked));
                }
            }
        }
        assert_eq!(Asked::from_byte(7 << 2), None);
        assert_eq!(Asked::from_byte(IN_VAIN), None);
    }
}
