//! A request on its way to a provider: what the provider made returns to it as it was, what it did not make does not go there.

use fairlead_ir::block::{Maker, Seal, Thought, ThoughtPart, ThoughtShape};
use fairlead_ir::{Block, Dialect, Kind, Losses, Origin, Request, Role, Severity, Text, Turn};

use super::memory::{Memory, Note, What};
use super::rebuild::{self, Item, Loose, Piece};
use super::slot::{Place, Shape, regroup, units};
use super::token::{Found, Opened, Sealer};

/// Nobody but its maker can read such state, so that to this provider the conversation says the same without it.
const OF_ANOTHER_MAKER: &str =
    "the state of thoughts is another model's, account's or provider's, which alone can read it; it was left out";
const OF_ANOTHER_DIALECT: &str = "the state of thoughts is of the dialect it was written in only; it was left out";
/// The provider may have been its maker: what it thought is lost.
const BROKEN: &str = "the state of thoughts is not as it was given out, or was given to somebody else; it was left out";
const HOMELESS: &str = "what the state of thoughts belonged to is not in the conversation any more; it was left out";

/// One request on its way.
pub(super) struct Opening<'o> {
    pub(super) sealer: &'o Sealer,
    pub(super) memory: &'o Memory,
    /// Who will answer.
    pub(super) maker: &'o Maker<'o>,
    pub(super) scope: u64,
    pub(super) now_ms: u64,
    /// The dialect it was read from.
    pub(super) source: Dialect,
    pub(super) losses: Losses,
}

/// What becomes of a seal.
enum Fate<'a> {
    Stays(Seal<'a>),
    Returns(Opened),
    /// It only marked a thought of another maker that has no state: whoever writes the thought judges what becomes of it.
    Marked,
    Goes(Severity, &'static str),
}

impl Opening<'_> {
    pub(super) fn run(mut self, request: &mut Request<'_>) -> Losses {
        request.turns.retain_mut(|turn| {
            let said_something = !turn.blocks.is_empty();
            self.results(turn);
            if turn.blocks.iter().any(|block| block.seal.is_some()) {
                self.turn(turn);
            }
            self.remember(turn);
            // A turn that was nothing but state is none any more: providers refuse empty messages.
            !(said_something && turn.blocks.is_empty())
        });
        self.losses
    }

    fn judge<'a>(&self, seal: Seal<'a>) -> Fate<'a> {
        match self.sealer.open(self.scope, &seal.data) {
            Found::Bare if self.source == self.maker.dialect => Fate::Stays(seal),
            Found::Bare => Fate::Goes(Severity::Hint, OF_ANOTHER_DIALECT),
            Found::Token(opened) if opened.maker == *self.maker => Fate::Returns(opened),
            Found::Token(opened) if opened.data.is_empty() => Fate::Marked,
            Found::Token(_) => Fate::Goes(Severity::Hint, OF_ANOTHER_MAKER),
            Found::Broken => Fate::Goes(Severity::Changed, BROKEN),
        }
    }

    fn is_flat(&self) -> bool {
        self.source == Dialect::OpenaiChat
    }

    /// Pieces of tools' answers, which may carry what a model once wrote.
    fn results(&mut self, turn: &mut Turn<'_>) {
        for block in &mut turn.blocks {
            let Kind::ToolResult(result) = &mut block.kind else { continue };
            for inner in &mut result.content {
                let Some(seal) = inner.seal.take() else { continue };
                match self.judge(seal) {
                    Fate::Stays(seal) => inner.seal = Some(seal),
                    Fate::Returns(opened) => inner.seal = returned(opened.maker, opened.data),
                    Fate::Marked => {}
                    Fate::Goes(severity, reason) => self.losses.block(inner.origin, severity, reason),
                }
            }
        }
    }

    fn turn(&mut self, turn: &mut Turn<'_>) {
        let mut opened = OpenedTurn { blocks: Vec::with_capacity(turn.blocks.len()), items: Vec::new(), loose: Vec::new() };
        for mut block in std::mem::take(&mut turn.blocks) {
            let Some(seal) = block.seal.take() else {
                opened.blocks.push(block);
                continue;
            };
            match self.judge(seal) {
                Fate::Stays(seal) => {
                    block.seal = Some(seal);
                    opened.blocks.push(block);
                }
                Fate::Returns(token) => {
                    if !opened.take(block, token, self.is_flat()) {
                        self.losses.block(turn.origin, Severity::Changed, HOMELESS);
                    }
                }
                Fate::Marked => opened.blocks.extend(without_seal(block)),
                Fate::Goes(severity, reason) => {
                    self.losses.block(block.origin, severity, reason);
                    opened.blocks.extend(without_seal(block));
                }
            }
        }
        let lost = opened.settle(self.is_flat(), &mut turn.blocks);
        lost.into_iter().for_each(|origin| self.losses.block(origin, Severity::Changed, HOMELESS));
    }

    /// Gives a turn with calls back what its client did not send back.
    fn remember(&self, turn: &mut Turn<'_>) {
        if turn.role != Role::Assistant || turn.blocks.iter().any(|block| block.seal.is_some()) {
            return;
        }
        let Some(remembered) = self.memory.get(self.scope, turn, self.now_ms) else { return };
        if remembered.maker != *self.maker {
            return;
        }
        // The memory has the turn's thoughts with more than their texts.
        turn.blocks.retain(|block| !matches!(block.kind, Kind::Thought(_)));
        let items = remembered.notes.iter().map(|note| item(note, &remembered.maker, turn.origin)).collect();
        // What is not there any more was taken out by the caller, who did not send its seal either: nothing that was sent is lost.
        rebuild::insert(&mut turn.blocks, items, self.is_flat());
    }
}

fn item<'a>(note: &Note, maker: &Maker<'static>, origin: Origin) -> Item<'a> {
    let sealed = |seal: &Text<'static>| Seal { data: seal.clone(), maker: Some(maker.clone()) };
    let what = match &note.what {
        What::Thought { thought, seal } => {
            let mut block = Block::new(Kind::Thought(thought.clone()), origin);
            block.seal = seal.as_ref().map(sealed);
            Piece::Block(block)
        }
        What::Seal { shape, seal } => Piece::Seal(Loose { shape: shape.clone(), seal: sealed(seal), origin }),
    };
    Item { place: note.place, what }
}

/// What the maker wrote; nothing where the token only marked a thought.
fn returned(maker: Maker<'static>, data: Text<'static>) -> Option<Seal<'static>> {
    (!data.is_empty()).then_some(Seal { data, maker: Some(maker) })
}

/// What is left of a block without its seal. A thought's id is its maker's, too.
fn without_seal(mut block: Block<'_>) -> Option<Block<'_>> {
    let says_nothing = match &mut block.kind {
        Kind::Thought(thought) => {
            thought.id = None;
            thought.parts.is_empty()
        }
        Kind::Text { text, .. } => text.is_empty(),
        _ => false,
    };
    (!says_nothing || block.cache.is_some()).then_some(block)
}

/// A turn while its tokens are opened.
struct OpenedTurn<'a> {
    blocks: Vec<Block<'a>>,
    /// Of a flat turn: thoughts that are put where they stood.
    items: Vec<Item<'a>>,
    /// Seals that came behind their block, with how many blocks were there.
    loose: Vec<(usize, Place, Loose<'a>)>,
}

impl<'a> OpenedTurn<'a> {
    /// Takes a block with what its token held; `false`: the token was another kind of block's.
    fn take(&mut self, mut block: Block<'a>, opened: Opened, flat: bool) -> bool {
        let Opened { maker, slot, data } = opened;
        let seal = returned(maker, data);
        match (&mut block.kind, slot.shape) {
            (Kind::Thought(thought), Shape::Thought { redacted, id, parts }) => {
                if parts.is_empty() && !thought.parts.is_empty() {
                    // Its text is another thought's, which nobody sealed: some clients join what stands side by side.
                    let other = Thought { parts: std::mem::take(&mut thought.parts), ..Thought::default() };
                    self.blocks.push(Block::new(Kind::Thought(other), block.origin));
                }
                (thought.redacted, thought.id) = (redacted, id);
                self.regroup(thought, &parts);
                block.seal = seal;
                match flat {
                    true => self.items.push(Item { place: slot.place, what: Piece::Block(block) }),
                    false => self.blocks.push(block),
                }
            }
            (Kind::Thought(thought), shape) if thought.parts.is_empty() => {
                let Some(seal) = seal else { return true };
                let loose = Loose { shape, seal, origin: block.origin };
                self.loose.push((self.blocks.len(), slot.place, loose));
            }
            (Kind::Text { .. }, Shape::Text { .. })
            | (Kind::ToolCall(_), Shape::Call { .. })
            | (Kind::Media(_) | Kind::Refusal(_) | Kind::Opaque { .. }, Shape::Other) => {
                block.seal = seal;
                self.blocks.push(block);
            }
            _ => {
                self.blocks.push(block);
                return false;
            }
        }
        true
    }

    /// Gives the thought its parts again; some dialects make a block of each, or of every piece of a stream, and seal the last, which may
    /// be empty.
    fn regroup(&mut self, thought: &mut Thought<'a>, wanted: &[(ThoughtShape, u64)]) {
        let length = |parts: &[ThoughtPart<'_>]| parts.iter().map(|part| units(&part.text)).sum::<u64>();
        let whole: u64 = wanted.iter().map(|(_, units)| *units).sum();
        let mut found = length(&thought.parts);
        if found > 0 && regroup(thought, wanted) || found >= whole {
            return;
        }
        let mut at = self.blocks.len();
        while found < whole {
            let before = match at.checked_sub(1).and_then(|before| self.blocks.get(before)) {
                Some(Block { kind: Kind::Thought(before), seal: None, rest, .. }) if rest.is_empty() => before,
                _ => return,
            };
            found += length(&before.parts);
            at -= 1;
        }
        let pieces = self.blocks[at..].iter().filter_map(|block| match &block.kind {
            Kind::Thought(piece) => Some(piece.parts.iter().cloned()),
            _ => None,
        });
        let mut joined = thought.clone();
        joined.parts = pieces.flatten().chain(thought.parts.iter().cloned()).collect();
        if regroup(&mut joined, wanted) {
            self.blocks.truncate(at);
            thought.parts = joined.parts;
        }
    }

    /// Puts everything in its place; returns where seals were found that have none.
    fn settle(self, flat: bool, into: &mut Vec<Block<'a>>) -> Vec<Origin> {
        let OpenedTurn { blocks, mut items, loose } = self;
        *into = blocks;
        if flat {
            items.extend(loose.into_iter().map(|(_, place, loose)| Item { place, what: Piece::Seal(loose) }));
            return if items.is_empty() { Vec::new() } else { rebuild::insert(into, items, true) };
        }
        let mut lost = Vec::new();
        // From behind, so that what is put in moves nothing that is still to be found.
        for (at, place, loose) in loose.into_iter().rev() {
            let origin = loose.origin;
            if !rebuild::attach(into, at, &place, loose) {
                lost.push(origin);
            }
        }
        lost
    }
}
