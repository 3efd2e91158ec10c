//! Puts back what was on a turn of the model, or between its blocks.
//!
//! Most dialects keep blocks in order: there a seal finds its block, and a remembered thought its place between two. Chat is flat: one
//! text, then the calls. What stood between them is known from the places of what was sealed, and the text is cut again where it was cut.

use std::collections::VecDeque;

use fairlead_ir::block::Seal;
use fairlead_ir::{Block, Kind, Origin, Text};

use super::slot::{Place, Shape, cut, units};

/// Something to put back.
#[derive(Debug)]
pub(super) struct Item<'a> {
    pub(super) place: Place,
    pub(super) what: Piece<'a>,
}

/// What it is.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    /// A thought.
    Block(Block<'a>),
    /// The seal of something that is no thought.
    Seal(Loose<'a>),
}

/// A seal that is not on its block.
#[derive(Debug)]
pub(super) struct Loose<'a> {
    pub(super) shape: Shape,
    pub(super) seal: Seal<'a>,
    /// Where it was found.
    pub(super) origin: Origin,
}

/// Puts `items`, in the order of their places, into a turn that has none of them. `flat`: its order says nothing.
/// Returns where the seals were found that have no block any more.
pub(super) fn insert<'a>(blocks: &mut Vec<Block<'a>>, mut items: Vec<Item<'a>>, flat: bool) -> Vec<Origin> {
    items.sort_by_key(|item| item.place.ordinal);
    let mut line = Line::new(std::mem::take(blocks), flat, items.len());
    let mut lost = Vec::new();
    for Item { place, what } in items {
        line.advance(&place);
        match what {
            Piece::Block(block) => line.done.push(block),
            Piece::Seal(loose) => {
                let origin = loose.origin;
                if !line.seal(loose) {
                    lost.push(origin);
                }
            }
        }
    }
    *blocks = line.finish();
    lost
}

/// Puts a seal on its block in a turn whose order is that of the reply. `at`: behind which block it came. `false`: there is none.
pub(super) fn attach<'a>(blocks: &mut Vec<Block<'a>>, at: usize, place: &Place, loose: Loose<'a>) -> bool {
    let found = match &loose.shape {
        Shape::Text { units: 0 } => {
            let mut block = Block::text(Text::EMPTY, loose.origin);
            block.seal = Some(loose.seal);
            blocks.insert(at.min(blocks.len()), block);
            return true;
        }
        Shape::Text { units: wanted } => {
            text_at(blocks, place.text_units, *wanted).or_else(|| before(blocks, at, |kind| matches!(kind, Kind::Text { .. })))
        }
        Shape::Call { id } => {
            let is_call = |kind: &Kind<'_>| matches!(kind, Kind::ToolCall(call) if call.id == *id);
            blocks
                .iter()
                .position(|block| block.seal.is_none() && is_call(&block.kind))
                .or_else(|| before(blocks, at, |kind| matches!(kind, Kind::ToolCall(_))))
        }
        Shape::Other => before(blocks, at, is_other),
        Shape::Thought { .. } => None,
    };
    match found.and_then(|found| blocks.get_mut(found)) {
        Some(block) => {
            block.seal = Some(loose.seal);
            true
        }
        None => false,
    }
}

/// The text of so many units that has so many units of text before it.
fn text_at(blocks: &[Block<'_>], begin: u64, wanted: u64) -> Option<usize> {
    let mut place = Place::default();
    blocks.iter().position(|block| {
        let is_there = place.text_units == begin && block.seal.is_none();
        place.pass(block);
        is_there && matches!(&block.kind, Kind::Text { text, .. } if units(text) == wanted)
    })
}

/// The nearest block before `at` that is such and has no seal.
fn before(blocks: &[Block<'_>], at: usize, is_such: impl Fn(&Kind<'_>) -> bool) -> Option<usize> {
    blocks.iter().take(at).rposition(|block| block.seal.is_none() && is_such(&block.kind))
}

fn is_other(kind: &Kind<'_>) -> bool {
    matches!(kind, Kind::Media(_) | Kind::Refusal(_) | Kind::Opaque { .. })
}

/// A turn while things are put into it.
struct Line<'a> {
    done: Vec<Block<'a>>,
    /// Texts of a flat turn, which come as soon as a place needs them; empty otherwise.
    texts: VecDeque<Block<'a>>,
    others: VecDeque<Block<'a>>,
    flat: bool,
    passed: Place,
}

impl<'a> Line<'a> {
    fn new(blocks: Vec<Block<'a>>, flat: bool, more: usize) -> Line<'a> {
        let mut line = Line {
            done: Vec::with_capacity(blocks.len() + more),
            texts: VecDeque::new(),
            others: VecDeque::new(),
            flat,
            passed: Place::default(),
        };
        for block in blocks {
            match block.kind {
                Kind::Text { .. } if flat => line.texts.push_back(block),
                // Thoughts that nobody sealed come first in every flat turn.
                Kind::Thought(_) if flat => line.done.push(block),
                _ => line.others.push_back(block),
            }
        }
        line
    }

    /// Lets everything pass that stood before `place`.
    fn advance(&mut self, place: &Place) {
        loop {
            let lacks_text = self.passed.text_units < place.text_units;
            let lacks_calls = self.passed.calls < place.calls;
            let queue = if lacks_text && self.flat && !self.texts.is_empty() {
                &mut self.texts
            } else if lacks_calls || lacks_text && !self.flat {
                &mut self.others
            } else {
                return;
            };
            let Some(block) = queue.pop_front() else { return };
            let room = place.text_units.saturating_sub(self.passed.text_units);
            let (block, rest) = if lacks_text { cut_block(block, room) } else { (block, None) };
            if let Some(rest) = rest {
                queue.push_front(rest);
            }
            self.pass(block);
        }
    }

    fn pass(&mut self, block: Block<'a>) {
        self.passed.pass(&block);
        self.done.push(block);
    }

    fn seal(&mut self, loose: Loose<'a>) -> bool {
        let seal = Some(loose.seal);
        let found = match &loose.shape {
            Shape::Text { units: 0 } => {
                self.done.push(Block { seal, ..Block::text(Text::EMPTY, loose.origin) });
                return true;
            }
            Shape::Text { units } => return self.seal_text(*units, seal),
            Shape::Call { id } => {
                let is_such =
                    |block: &&mut Block<'a>| matches!(&block.kind, Kind::ToolCall(call) if call.id == *id && block.seal.is_none());
                let waiting = self.others.iter_mut().find(is_such);
                waiting.or_else(|| self.done.iter_mut().find(is_such))
            }
            Shape::Other => self.others.iter_mut().find(|block| block.seal.is_none() && is_other(&block.kind)),
            Shape::Thought { .. } => None,
        };
        match found {
            Some(block) => {
                block.seal = seal;
                true
            }
            None => false,
        }
    }

    /// Seals the next text, up to so many units of it.
    fn seal_text(&mut self, wanted: u64, seal: Option<Seal<'a>>) -> bool {
        let queue = if self.flat { &mut self.texts } else { &mut self.others };
        let is_free = |block: &Block<'_>| block.seal.is_none() && matches!(block.kind, Kind::Text { .. });
        let Some(at) = queue.iter().position(is_free) else { return false };
        let ahead: Vec<Block<'a>> = queue.drain(..at).collect();
        let Some(block) = queue.pop_front() else { return false };
        let (mut block, rest) = cut_block(block, wanted);
        if let Some(rest) = rest {
            queue.push_front(rest);
        }
        block.seal = seal;
        ahead.into_iter().chain([block]).for_each(|block| self.pass(block));
        true
    }

    fn finish(mut self) -> Vec<Block<'a>> {
        self.done.extend(self.texts);
        self.done.extend(self.others);
        self.done
    }
}

/// The first units of a text, and the rest where there is more. What cannot be cut there stays whole. Marks, sources and unknown members
/// stay with the last piece, so that a cache mark does not move to the front.
fn cut_block(block: Block<'_>, wanted: u64) -> (Block<'_>, Option<Block<'_>>) {
    let Block { kind: Kind::Text { text, citations }, .. } = &block else { return (block, None) };
    match cut(text, wanted) {
        Some((first, rest)) if wanted > 0 && !rest.is_empty() => {
            let first = Block::text(first, block.origin);
            let kind = Kind::Text { text: rest, citations: citations.clone() };
            (first, Some(Block { kind, ..block }))
        }
        _ => (block, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_ir::Raw;
    use fairlead_ir::block::{Arguments, Thought, ThoughtPart, ThoughtShape, ToolCall};
    use proptest::prelude::*;

    /// `"(a)"` a thought, `"f!"` a call, anything else a text; `+x`: sealed with x.
    fn block(sketch: &str) -> Block<'static> {
        let (said, seal) = sketch.split_once('+').map_or((sketch, None), |(said, seal)| (said, Some(seal)));
        let owned = |text: &str| Text::owned(text.as_bytes().to_vec());
        let kind = if let Some(thought) = said.strip_prefix('(') {
            let parts = vec![ThoughtPart { shape: ThoughtShape::Full, text: owned(thought.trim_end_matches(')')) }];
            Kind::Thought(Thought { parts, ..Thought::default() })
        } else if let Some(name) = said.strip_suffix('!') {
            Kind::ToolCall(ToolCall { id: owned(name), name: owned(name), arguments: Arguments::Json(Raw::json(b"{}")) })
        } else {
            Kind::Text { text: owned(said), citations: Vec::new() }
        };
        let mut block = Block::new(kind, Origin::default());
        block.seal = seal.map(|seal| Seal { data: owned(seal), maker: None });
        block
    }

    fn sketch(blocks: &[Block<'_>]) -> String {
        let lossy = |text: &Text<'_>| String::from_utf8_lossy(text.as_bytes()).into_owned();
        let one = |block: &Block<'_>| {
            let said = match &block.kind {
                Kind::Text { text, .. } => lossy(text),
                Kind::ToolCall(call) => lossy(&call.name) + "!",
                Kind::Thought(thought) => format!("({})", thought.parts.iter().map(|part| lossy(&part.text)).collect::<String>()),
                other => format!("{other:?}"),
            };
            said + &block.seal.as_ref().map_or(String::new(), |seal| format!("+{}", lossy(&seal.data)))
        };
        blocks.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    /// What is to be put back into a reply, and the reply without it.
    fn taken_apart(reply: &[Block<'static>], flat: bool) -> (Vec<Block<'static>>, Vec<Item<'static>>) {
        let (mut place, mut items, mut rest) = (Place::default(), Vec::new(), Vec::new());
        for block in reply {
            let mut left = block.clone();
            match (&block.kind, left.seal.take()) {
                (Kind::Thought(_), _) => items.push(Item { place, what: Piece::Block(block.clone()) }),
                (_, Some(seal)) => {
                    items.push(Item { place, what: Piece::Seal(Loose { shape: Shape::of(block), seal, origin: Origin::default() }) });
                    rest.push(left);
                }
                _ => rest.push(left),
            }
            place.pass(block);
        }
        rest.retain(|block| !matches!(&block.kind, Kind::Text { text, .. } if text.is_empty()));
        if flat {
            let is_text = |block: &Block<'_>| matches!(block.kind, Kind::Text { .. });
            let (texts, calls): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_text);
            let joined = texts.iter().map(|text| sketch(std::slice::from_ref(text))).collect::<String>();
            rest = if joined.is_empty() { calls } else { std::iter::once(self::block(&joined)).chain(calls).collect() };
        }
        (rest, items)
    }

    fn check(reply: &str) {
        let reply: Vec<Block<'static>> = reply.split(' ').map(block).collect();
        for flat in [false, true] {
            let (mut blocks, items) = taken_apart(&reply, flat);
            assert_eq!(insert(&mut blocks, items, flat), [], "{blocks:?}");
            assert_eq!(sketch(&blocks), sketch(&reply), "flat: {flat}");
        }
    }

    #[test]
    fn a_reply_is_put_together_again() {
        check("(a)+s text f!");
        check("(a)+s (b)+t f! g!");
        check("(a)+s one (b)+t two f!");
        check("(a)+s one f! (b)+t g!");
        check("(a) text+s f!+t g!");
        check("one+s two f!");
        check("one+s two+t");
        check("text +s");
        check("(a)+s f!+t g!+u");
    }

    #[test]
    fn what_a_client_changed_stays_near() {
        let check = |reply: &str, came: &str, flat, expected: &str, lost: usize| {
            let reply: Vec<Block<'static>> = reply.split(' ').map(block).collect();
            let (_, items) = taken_apart(&reply, flat);
            let mut blocks: Vec<Block<'static>> = came.split(' ').map(block).collect();
            assert_eq!(insert(&mut blocks, items, flat).len(), lost);
            assert_eq!(sketch(&blocks), expected);
        };
        // A text that lost its end, and one that is gone.
        check("text.. (a)+s f!", "text f!", true, "text (a)+s f!", 0);
        check("text (a)+s f!", "f!", true, "(a)+s f!", 0);
        check("text+s f!", "tex f!", true, "tex+s f!", 0);
        check("text+s f!", "f!", true, "f!", 1);
        check("text+s f!", "f!", false, "f!", 1);
        // A call that is another one now.
        check("f!+s", "g!", false, "g!", 1);
        check("(a)+s f!", "g!", true, "(a)+s g!", 0);
    }

    #[test]
    fn seals_find_their_blocks_in_order() {
        let check = |came: &str, at: usize, place: Place, sealed: &str, expected: Option<&str>| {
            let mut blocks: Vec<Block<'static>> = came.split(' ').map(block).collect();
            let mut sealed = block(sealed);
            let seal = sealed.seal.take();
            let loose = seal.map(|seal| Loose { shape: Shape::of(&sealed), seal, origin: Origin::default() });
            let found = loose.is_some_and(|loose| attach(&mut blocks, at, &place, loose));
            assert_eq!(found.then(|| sketch(&blocks)).as_deref(), expected, "{came}");
        };
        let behind = |text_units| Place { text_units, ..Place::default() };
        check("one two", 2, behind(0), "one+s", Some("one+s two"));
        check("one two", 2, behind(3), "two+s", Some("one two+s"));
        check("ones two", 1, behind(0), "one+s", Some("ones+s two"));
        check("one two", 1, behind(3), "+s", Some("one +s two"));
        check("f! g!", 1, behind(0), "f!+s", Some("f!+s g!"));
        check("f! g!", 1, behind(0), "h!+s", Some("f!+s g!"));
        check("f!+t one", 2, behind(0), "f!+s", None);
        check("f!", 0, behind(0), "one+s", None);
    }

    proptest! {
        #[test]
        fn no_block_gets_lost(
            reply in prop::collection::vec("[a-c]{1,3}|\\([a-c]\\)|[f-h]!", 1..8),
            came in prop::collection::vec("[a-c]{1,3}|[f-h]!", 1..8),
            sealed in any::<u8>(),
            flat in any::<bool>(),
        ) {
            let reply: Vec<Block<'static>> =
                reply.iter().enumerate().map(|(at, said)| block(&if sealed >> at & 1 == 1 { format!("{said}+s") } else { said.clone() })).collect();
            let (_, items) = taken_apart(&reply, flat);
            let mut blocks: Vec<Block<'static>> = came.iter().map(|said| block(said)).collect();
            let texts = |blocks: &[Block<'_>]| blocks.iter().filter_map(|block| match &block.kind {
                Kind::Text { text, .. } => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
                _ => None,
            }).collect::<String>();
            let calls = |blocks: &[Block<'_>]| blocks.iter().filter(|block| matches!(block.kind, Kind::ToolCall(_))).count();
            let (text, count) = (texts(&blocks), calls(&blocks));
            let thoughts = items.iter().filter(|item| matches!(item.what, Piece::Block(_))).count();
            insert(&mut blocks, items, flat);
            prop_assert_eq!((texts(&blocks), calls(&blocks)), (text, count));
            prop_assert_eq!(blocks.iter().filter(|block| matches!(block.kind, Kind::Thought(_))).count(), thoughts);
        }
    }
}
