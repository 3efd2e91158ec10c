//! What accompanied the tool calls of replies, for clients that send back nothing but texts and calls.
//!
//! A turn is found by scope and the ids of its calls, all of them in their order: some servers number calls from 0 in every reply, and the
//! thoughts of another conversation must not be found. Bounded in bytes; what was not used for a while goes, the longest unused first.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use fairlead_ir::block::{Maker, Thought};
use fairlead_ir::{Kind, Text, Turn};
use ring::digest::{Context, SHA256};

use super::Limits;
use super::slot::{Place, Shape};
use crate::text;

/// What accompanied the calls of one turn.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) maker: Maker<'static>,
    pub(super) notes: Vec<Note>,
}

/// Something that a client may not send back.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) place: Place,
    pub(super) what: What,
}

/// What it is.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// A whole thought.
    Thought { thought: Thought<'static>, seal: Option<Text<'static>> },
    /// The seal of something else.
    Seal { shape: Shape, seal: Text<'static> },
}

impl Note {
    /// Bytes that it takes, nearly.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Note>()
            + match &self.what {
                What::Seal { seal, .. } => seal.as_bytes().len(),
                What::Thought { thought, seal } => {
                    let id = thought.id.as_ref().map_or(0, |id| id.as_bytes().len());
                    let parts = thought.parts.iter().map(|part| size_of_val(part) + part.text.as_bytes().len());
                    id + parts.sum::<usize>() + seal.as_ref().map_or(0, |seal| seal.as_bytes().len())
                }
            }
    }

    pub(super) fn is_sealed(&self) -> bool {
        !matches!(&self.what, What::Thought { seal: None, .. })
    }
}

/// Names a turn: the first half of a hash over its scope and the ids of its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 16]);

impl Key {
    /// `None` without calls, and where one has no id.
    pub(super) fn of<'t>(scope: u64, ids: impl IntoIterator<Item = &'t Text<'t>>) -> Option<Key> {
        let mut context = Context::new(&SHA256);
        context.update(&scope.to_le_bytes());
        let mut any = false;
        for id in ids {
            if id.is_empty() {
                return None;
            }
            any = true;
            let plain = text::decode(id);
            let plain = plain.as_ref().map_or(id.as_bytes(), |plain| plain.as_bytes());
            context.update(&(plain.len() as u64).to_le_bytes());
            context.update(plain);
        }
        let digest = context.finish();
        let first = digest.as_ref().first_chunk::<16>()?;
        any.then_some(Key(*first))
    }

    pub(super) fn of_turn(scope: u64, turn: &Turn<'_>) -> Option<Key> {
        Key::of(
            scope,
            turn.blocks.iter().filter_map(|block| match &block.kind {
                Kind::ToolCall(call) => Some(&call.id),
                _ => None,
            }),
        )
    }
}

/// The memory. Its lock is held for map operations only.
#[derive(Debug)]
pub(super) struct Memory {
    limits: Limits,
    store: Mutex<Store>,
}

#[derive(Debug, Default)]
struct Store {
    bytes: usize,
    ticks: u64,
    /// When each turn was used last, as a number that only grows.
    used: HashMap<Key, u64>,
    turns: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    turn: Arc<Remembered>,
    bytes: usize,
    used_ms: u64,
}

impl Memory {
    pub(super) fn new(limits: Limits) -> Memory {
        Memory { limits, store: Mutex::default() }
    }

    /// A larger turn would push out too many others.
    pub(super) fn longest_turn_bytes(&self) -> usize {
        self.limits.memory_bytes / 8
    }

    pub(super) fn put(&self, key: Key, turn: Remembered, now_ms: u64) {
        const OVERHEAD_BYTES: usize = 2 * size_of::<Key>() + size_of::<Entry>() + size_of::<Remembered>() + 64;
        let bytes = OVERHEAD_BYTES + turn.notes.iter().map(Note::bytes).sum::<usize>();
        let turn = Arc::new(turn);
        let mut store = self.lock();
        store.expire(now_ms, self.limits.memory_ms);
        store.forget(&key);
        if bytes > self.longest_turn_bytes() {
            return;
        }
        while store.bytes + bytes > self.limits.memory_bytes && store.drop_oldest() {}
        store.insert(Entry { key, turn, bytes, used_ms: now_ms });
    }

    /// What accompanied the calls of `turn`. It counts as used now: a conversation that lives keeps all of its turns.
    pub(super) fn get(&self, scope: u64, turn: &Turn<'_>, now_ms: u64) -> Option<Arc<Remembered>> {
        if self.is_empty() {
            return None;
        }
        let key = Key::of_turn(scope, turn)?;
        let mut store = self.lock();
        store.expire(now_ms, self.limits.memory_ms);
        let entry = store.forget(&key)?;
        let turn = Arc::clone(&entry.turn);
        store.insert(Entry { used_ms: entry.used_ms.max(now_ms), ..entry });
        Some(turn)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().used.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Store> {
        // Nothing inside can be left half done but the count of bytes, which then errs on the safe side.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    fn insert(&mut self, entry: Entry) {
        self.ticks += 1;
        self.bytes += entry.bytes;
        self.used.insert(entry.key, self.ticks);
        self.turns.insert(self.ticks, entry);
    }

    fn forget(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.turns.remove(&self.used.remove(key)?)?;
        self.bytes -= entry.bytes;
        Some(entry)
    }

    fn drop_oldest(&mut self) -> bool {
        let Some((_, entry)) = self.turns.pop_first() else { return false };
        self.bytes -= entry.bytes;
        self.used.remove(&entry.key);
        true
    }

    fn expire(&mut self, now_ms: u64, keep_ms: u64) {
        let is_old = |entry: &Entry| now_ms.saturating_sub(entry.used_ms) >= keep_ms;
        while self.turns.first_key_value().is_some_and(|(_, entry)| is_old(entry)) {
            self.drop_oldest();
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use fairlead_ir::block::{Arguments, ToolCall};
    use fairlead_ir::{Block, Dialect, Origin, Raw, Role};
    use proptest::prelude::*;

    fn remembered(bytes: usize) -> Remembered {
        let maker = Maker { dialect: Dialect::OpenaiChat, provider: Text::EMPTY, account: Text::EMPTY, model: Text::EMPTY };
        let what = What::Seal { shape: Shape::Other, seal: Text::owned(vec![b'x'; bytes]) };
        Remembered { maker, notes: vec![Note { place: Place::default(), what }] }
    }

    fn turn(ids: &[&str]) -> Turn<'static> {
        let mut turn = Turn::new(Role::Assistant, Origin::default());
        for id in ids {
            let call =
                ToolCall { id: Text::owned(id.as_bytes().to_vec()), name: Text::word("f"), arguments: Arguments::Json(Raw::json(b"{}")) };
            turn.blocks.push(Block::new(Kind::ToolCall(call), Origin::default()));
        }
        turn
    }

    fn put(memory: &Memory, ids: &[&str], bytes: usize, now_ms: u64) {
        memory.put(Key::of_turn(1, &turn(ids)).unwrap(), remembered(bytes), now_ms);
    }

    fn check(memory: &Memory, scope: u64, ids: &[&str], now_ms: u64, is_there: bool) {
        assert_eq!(memory.get(scope, &turn(ids), now_ms).is_some(), is_there, "{scope} {ids:?} at {now_ms}");
    }

    #[test]
    fn a_turn_is_found_by_scope_and_all_of_its_calls() {
        let memory = Memory::new(Limits::default());
        check(&memory, 1, &["a"], 0, false);
        put(&memory, &["a", "b/"], 10, 0);
        check(&memory, 1, &["a", "b/"], 0, true);
        check(&memory, 1, &["a", r"b\/"], 0, true);
        check(&memory, 2, &["a", "b/"], 0, false);
        check(&memory, 1, &["a"], 0, false);
        check(&memory, 1, &["b/", "a"], 0, false);
        check(&memory, 1, &["ab", "/"], 0, false);
        check(&memory, 1, &[], 0, false);
        assert_eq!(Key::of_turn(1, &turn(&["a", ""])), None);
    }

    #[test]
    fn what_is_not_used_is_forgotten() {
        let memory = Memory::new(Limits { memory_ms: 100, ..Limits::default() });
        put(&memory, &["a"], 10, 1000);
        put(&memory, &["b"], 10, 1000);
        check(&memory, 1, &["a"], 1099, true);
        check(&memory, 1, &["b"], 1100, false);
        check(&memory, 1, &["a"], 1198, true);
        check(&memory, 1, &["a"], 1298, false);
        assert_eq!(memory.bytes(), 0);
        // A clock that goes back forgets nothing.
        put(&memory, &["c"], 10, 2000);
        check(&memory, 1, &["c"], 10, true);
        check(&memory, 1, &["c"], 2099, true);
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let limits = Limits { memory_bytes: 16_384, ..Limits::default() };
        let memory = Memory::new(limits);
        for number in 0..12 {
            put(&memory, &[&format!("call_{number}")], 1000, 0);
        }
        check(&memory, 1, &["call_0"], 0, true);
        for number in 12..23 {
            put(&memory, &[&format!("call_{number}")], 1000, 0);
        }
        check(&memory, 1, &["call_0"], 0, true);
        check(&memory, 1, &["call_1"], 0, false);
        check(&memory, 1, &["call_22"], 0, true);
        put(&memory, &["too long"], 2048, 0);
        check(&memory, 1, &["too long"], 0, false);
        put(&memory, &["call_22"], 1, 0);
        assert!(memory.bytes() <= limits.memory_bytes);
    }

    #[test]
    fn no_memory_remembers_nothing() {
        let memory = Memory::new(Limits { memory_bytes: 0, ..Limits::default() });
        put(&memory, &["a"], 1, 0);
        assert!(memory.is_empty());
    }

    proptest! {
        #[test]
        fn bytes_are_bounded_and_counted(steps in prop::collection::vec((0_u8..20, 0_usize..3000, 0_u64..50, any::<bool>()), 0..80)) {
            let limits = Limits { memory_bytes: 16_384, memory_ms: 300 };
            let (memory, mut now_ms) = (Memory::new(limits), 0);
            for (number, bytes, later_ms, is_put) in steps {
                now_ms += later_ms;
                let id = number.to_string();
                if is_put { put(&memory, &[&id], bytes, now_ms) } else { memory.get(1, &turn(&[&id]), now_ms); }
                let store = memory.lock();
                prop_assert!(store.bytes <= limits.memory_bytes);
                prop_assert_eq!(store.bytes, store.turns.values().map(|entry| entry.bytes).sum::<usize>());
                prop_assert_eq!(store.used.len(), store.turns.len());
                prop_assert!(store.turns.values().all(|entry| now_ms - entry.used_ms < limits.memory_ms));
            }
        }
    }
}
