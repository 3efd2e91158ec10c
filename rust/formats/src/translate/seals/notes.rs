//! Takes notes of a reply as it passes: where its seals stand, and what a client may not send back.

use fairlead_ir::block::{Maker, Thought, ThoughtPart, ThoughtShape};
use fairlead_ir::{Block, Delta, Head, Kind, Text};

use super::Shared;
use super::memory::{Key, Note, Remembered, What};
use super::slot::{Place, Shape, Slot, units};

/// The notes of one reply among those of a generation.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Behind the last block that began.
    place: Place,
    open: Vec<OpenBlock>,
    calls: Vec<Text<'static>>,
    notes: Vec<Note>,
    bytes: usize,
    /// The reply is too long to be remembered.
    full: bool,
}

/// A block of a stream that goes on.
#[derive(Debug)]
struct OpenBlock {
    block: u32,
    place: Place,
    kind: OpenKind,
    /// As the provider wrote it.
    seal: Option<Text<'static>>,
}

#[derive(Debug)]
enum OpenKind {
    Thought { redacted: bool, id: Option<Text<'static>>, parts: Vec<OpenPart> },
    Text { units: u64 },
    Call { id: Text<'static> },
    Other,
}

#[derive(Debug)]
struct OpenPart {
    number: u32,
    shape: ThoughtShape,
    units: u64,
    text: Vec<u8>,
}

impl Notes {
    /// Notes a whole block, and puts a token in the place of its seal.
    pub(super) fn whole(&mut self, block: &mut Block<'_>, maker: &Maker<'_>, scope: u64, shared: &Shared) {
        let place = self.place;
        self.place.pass(block);
        let shape = Shape::of(block);
        let seal = block.seal.take().filter(|seal| !seal.data.is_empty());
        if let Shape::Call { id } = &shape {
            self.calls.push(id.clone());
        }
        let what = match (&block.kind, &seal) {
            (Kind::Thought(thought), seal) => {
                Some(What::Thought { thought: owned(thought), seal: seal.as_ref().map(|seal| seal.data.clone().into_owned()) })
            }
            (_, Some(seal)) => Some(What::Seal { shape: shape.clone(), seal: seal.data.clone().into_owned() }),
            (_, None) => None,
        };
        if let Some(what) = what {
            self.note(Note { place, what }, shared);
        }
        block.seal = seal.map(|mut seal| {
            seal.data = shared.sealer.seal(scope, maker, &Slot { place, shape }, &seal.data);
            seal.maker = None;
            seal
        });
    }

    pub(super) fn open(&mut self, block: u32, head: &Head<'_>) {
        let place = self.place;
        self.place.ordinal = self.place.ordinal.saturating_add(1);
        let kind = match head {
            Head::Thought { id, redacted } => {
                OpenKind::Thought { redacted: *redacted, id: id.clone().map(Text::into_owned), parts: Vec::new() }
            }
            Head::Text => OpenKind::Text { units: 0 },
            Head::ToolCall { id, .. } => {
                self.place.calls = self.place.calls.saturating_add(1);
                self.calls.push(id.clone().into_owned());
                OpenKind::Call { id: id.clone().into_owned() }
            }
            Head::Refusal | Head::Media(_) | Head::Opaque { .. } => OpenKind::Other,
        };
        self.open.push(OpenBlock { block, place, kind, seal: None });
    }

    /// Notes a piece; of a seal, the token that stands for it.
    pub(super) fn piece(&mut self, block: u32, delta: &Delta<'_>, maker: &Maker<'_>, scope: u64, shared: &Shared) -> Option<Text<'static>> {
        let known = self.open.iter_mut().find(|known| known.block == block);
        let Some(known) = known else {
            // No decoder sends one for a block that is not open; forwarded bare, it would be no use.
            let slot = Slot { place: self.place, shape: Shape::Other };
            return match delta {
                Delta::Seal(seal) if !seal.is_empty() => Some(shared.sealer.seal(scope, maker, &slot, seal)),
                _ => None,
            };
        };
        match (delta, &mut known.kind) {
            (Delta::Seal(seal), _) => {
                known.seal = Some(seal.clone().into_owned()).filter(|seal| !seal.is_empty());
                known.seal.as_ref().map(|seal| shared.sealer.seal(scope, maker, &known.slot(), seal))
            }
            (Delta::Text(text), OpenKind::Text { units: count }) => {
                let more = units(text);
                *count += more;
                self.place.text_units += more;
                None
            }
            (Delta::Thought { shape, part, text }, OpenKind::Thought { parts, .. }) => {
                let keep = !self.full;
                let piece = if keep { text.as_bytes() } else { &[] };
                match parts.last_mut().filter(|last| last.number == *part) {
                    Some(last) => {
                        last.units += units(text);
                        last.text.extend_from_slice(piece);
                    }
                    None => parts.push(OpenPart { number: *part, shape: *shape, units: units(text), text: piece.to_vec() }),
                }
                self.grow(piece.len(), shared);
                None
            }
            _ => None,
        }
    }

    /// Where an open thought stands that has no state.
    pub(super) fn stateless(&self, block: u32) -> Option<Slot> {
        let known = self.open.iter().find(|known| known.block == block)?;
        (matches!(known.kind, OpenKind::Thought { .. }) && known.seal.is_none()).then(|| known.slot())
    }

    pub(super) fn close(&mut self, block: u32, shared: &Shared) {
        let Some(at) = self.open.iter().position(|known| known.block == block) else { return };
        let known = self.open.swap_remove(at);
        let shape = known.slot().shape;
        let what = match (known.kind, known.seal) {
            (OpenKind::Thought { redacted, id, parts }, seal) => {
                let parts = parts.into_iter().map(|part| ThoughtPart { shape: part.shape, text: Text::owned(part.text) });
                Some(What::Thought { thought: Thought { parts: parts.collect(), redacted, id }, seal })
            }
            (_, Some(seal)) => Some(What::Seal { shape, seal }),
            (_, None) => None,
        };
        if let Some(what) = what {
            self.note(Note { place: known.place, what }, shared);
        }
    }

    /// Remembers what accompanied the calls, when there is anything that its maker will want back.
    pub(super) fn commit(&mut self, maker: &Maker<'_>, scope: u64, now_ms: u64, shared: &Shared) {
        let Notes { calls, notes, full, .. } = std::mem::take(self);
        if full || !notes.iter().any(Note::is_sealed) {
            return;
        }
        let Some(key) = Key::of(scope, &calls) else { return };
        shared.memory.put(key, Remembered { maker: owned_maker(maker), notes }, now_ms);
    }

    fn note(&mut self, note: Note, shared: &Shared) {
        self.grow(note.bytes(), shared);
        if !self.full {
            self.notes.push(note);
        }
    }

    /// Counts what is kept; what becomes too long for the memory is not kept at all.
    fn grow(&mut self, bytes: usize, shared: &Shared) {
        self.bytes += bytes;
        // The text of a thought is counted as it comes and again when it is noted.
        if !self.full && self.bytes > 2 * shared.memory.longest_turn_bytes() {
            self.full = true;
            self.notes = Vec::new();
            self.open.iter_mut().for_each(OpenBlock::forget);
        }
    }
}

impl OpenBlock {
    fn slot(&self) -> Slot {
        let shape = match &self.kind {
            OpenKind::Thought { redacted, id, parts } => {
                Shape::Thought { redacted: *redacted, id: id.clone(), parts: parts.iter().map(|part| (part.shape, part.units)).collect() }
            }
            OpenKind::Text { units } => Shape::Text { units: *units },
            OpenKind::Call { id } => Shape::Call { id: id.clone() },
            OpenKind::Other => Shape::Other,
        };
        Slot { place: self.place, shape }
    }

    fn forget(&mut self) {
        if let OpenKind::Thought { parts, .. } = &mut self.kind {
            parts.iter_mut().for_each(|part| part.text = Vec::new());
        }
    }
}

fn owned(thought: &Thought<'_>) -> Thought<'static> {
    let parts = thought.parts.iter().map(|part| ThoughtPart { shape: part.shape, text: part.text.clone().into_owned() });
    Thought { parts: parts.collect(), redacted: thought.redacted, id: thought.id.clone().map(Text::into_owned) }
}

pub(super) fn owned_maker(maker: &Maker<'_>) -> Maker<'static> {
    Maker {
        dialect: maker.dialect,
        provider: maker.provider.clone().into_owned(),
        account: maker.account.clone().into_owned(),
        model: maker.model.clone().into_owned(),
    }
}
