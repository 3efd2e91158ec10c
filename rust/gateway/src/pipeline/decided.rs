//! A decision on its way into the log, and how a record says what was asked.

use super::plan::{Asked, Asking, Weighed, named};
use crate::decisions::Notes;
use crate::routes::Ask;
use crate::worker::Worker;
use fairlead_formats::request::{Facts, Purpose};
use fairlead_ir::{Dialect, GenerationId};
use fairlead_router::{Board, Decided};

/// Where the decision about this request is written down, if it is. A count goes nowhere.
pub(super) fn notes<'a>(worker: &'a Worker, board: &Board, ask: &Ask) -> Option<&'a Notes> {
    worker.decisions.as_ref().filter(|_| board.snapshot().settings.decisions && ask.purpose != Purpose::CountTokens)
}

/// Writes a decision down.
pub(super) fn note(notes: &Notes, generation: GenerationId, weighed: &Weighed, patterns: &[String], asking: &Asking<'_>, facts: &Facts) {
    let session = facts.session_id.as_deref().or(asking.session);
    let Weighed { board, plan, need, asked, said, pin, recording, .. } = weighed;
    let names = named(facts, session);
    let decided = Decided { board, names, patterns, wishes: said, need, pin: *pin, seed: asking.seed, plan, recording };
    notes.add(generation, asked.byte(), |out| decided.write(out));
}

/// In the place of what was asked: a request of which nothing was sent, because every key was at its limit for longer than it could wait.
const GAVE_UP: u8 = 1 << 7;

/// Writes down that the request whose decision was written down has given up waiting.
pub(super) fn note_gave_up(worker: &Worker, board: &Board, ask: &Ask, generation: GenerationId) {
    if let Some(notes) = notes(worker, board, ask) {
        notes.add_about(generation, GAVE_UP);
    }
}

/// Whether a record says that.
pub(super) const fn has_given_up(asked: u8) -> bool {
    asked == GAVE_UP
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
        assert_eq!(Asked::from_byte(GAVE_UP), None);
    }
}
