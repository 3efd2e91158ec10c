//! Which endpoint has a conversation's prompt in its cache. A table of fixed size without locks: a word of check makes a torn entry a missed
//! one, and a wrong one would only cost a cache miss, because whatever is pinned passes the same filters as everything else.

use crate::board::{Board, Entry};
use crate::need::{Conversation, Need};
use crate::random::join;
use std::sync::atomic::{AtomicU64, Ordering};

/// How long a pin holds where the endpoint's cache does not say.
const IDLE_SECONDS: u64 = 600;
/// Longer is not believed.
const LONGEST_SECONDS: u64 = 86_400;
/// Entries that a conversation may lie in.
const WAYS: usize = 8;

/// A pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The endpoint's stable id.
    pub endpoint: u64,
    /// The position of the credential: caches belong to accounts.
    pub key: u16,
}

/// Pins of all conversations.
#[derive(Debug)]
pub struct Pins {
    entries: Box<[PinEntry]>,
}

#[derive(Debug, Default)]
struct PinEntry {
    /// The conversation's hash, mixed with the two other words.
    check: AtomicU64,
    endpoint: AtomicU64,
    /// The second until which it holds, and the key's position below.
    until: AtomicU64,
}

const KEY_BITS: u32 = 16;

impl Pins {
    /// A table for about so many conversations, 24 bytes each; the ones that end first make room.
    pub fn new(conversations: usize) -> Pins {
        let sets = conversations.div_ceil(WAYS).max(1).next_power_of_two();
        Pins { entries: (0..sets * WAYS).map(|_| PinEntry::default()).collect() }
    }

    /// Where a conversation is pinned.
    pub fn get(&self, conversation: u64, now_ms: u64) -> Option<Pin> {
        self.set(conversation).iter().find_map(|entry| {
            let (check, endpoint, until) = entry.load();
            (check == conversation ^ endpoint ^ until && until >> KEY_BITS > now_ms / 1000).then_some(Pin { endpoint, key: until as u16 })
        })
    }

    /// Pins a conversation, or refreshes its pin.
    pub fn put(&self, conversation: u64, pin: Pin, ttl_seconds: u64, now_ms: u64) {
        let until = (now_ms / 1000 + ttl_seconds.min(LONGEST_SECONDS)) << KEY_BITS | u64::from(pin.key);
        let set = self.set(conversation);
        let mine = set.iter().find(|entry| {
            let (check, endpoint, until) = entry.load();
            check == conversation ^ endpoint ^ until
        });
        let soonest = || set.iter().min_by_key(|entry| entry.until.load(Ordering::Relaxed));
        if let Some(entry) = mine.or_else(soonest) {
            entry.endpoint.store(pin.endpoint, Ordering::Relaxed);
            entry.until.store(until, Ordering::Relaxed);
            entry.check.store(conversation ^ pin.endpoint ^ until, Ordering::Release);
        }
    }

    fn set(&self, conversation: u64) -> &[PinEntry] {
        let sets = self.entries.len() / WAYS;
        let first = (conversation as usize & (sets - 1)) * WAYS;
        &self.entries[first..first + WAYS]
    }
}

impl PinEntry {
    fn load(&self) -> (u64, u64, u64) {
        (self.check.load(Ordering::Acquire), self.endpoint.load(Ordering::Relaxed), self.until.load(Ordering::Relaxed))
    }
}

/// A conversation of an account with a model. A router's own conversations are with no model: whatever it picked is picked again.
pub(crate) fn key(need: &Need, model_hash: u64) -> Option<u64> {
    need.conversation.map(|conversation| join(join(need.account, model_hash), conversation.hash))
}

/// What pins a conversation to `openrouter/auto` and its like.
pub(crate) const ROUTER_HASH: u64 = 1;

/// Pins what a successful reply told: at once where the caller names the session, else once a cache was used, and only where a cached prompt
/// is cheaper. For as long as the endpoint keeps it.
pub(crate) fn remember(pins: &Pins, board: &Board, entry: &Entry, need: &Need, through_router: bool, reply: &Reply, now_ms: u64) {
    let starts = |conversation: &Conversation| conversation.explicit || reply.used_cache;
    if !need.conversation.as_ref().is_some_and(starts) || !entry.caches() {
        return;
    }
    let pin = Pin { endpoint: entry.id, key: reply.key };
    let ttl_seconds = ttl_seconds(&board.endpoint(entry).cache_ttl_seconds, reply.cache_seconds);
    let keys = [Some(board.model_hash(entry.model)), through_router.then_some(ROUTER_HASH)];
    for key in keys.into_iter().flatten().filter_map(|hash| key(need, hash)) {
        pins.put(key, pin, ttl_seconds, now_ms);
    }
}

/// What a reply told of the cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    pub(crate) key: u16,
    pub(crate) used_cache: bool,
    /// How long the caller asked the prompt to be kept.
    pub(crate) cache_seconds: Option<u64>,
}

/// What was asked for, if the endpoint has it; else its shortest.
fn ttl_seconds(kept: &[u64], asked: Option<u64>) -> u64 {
    let Some(shortest) = kept.first() else { return asked.unwrap_or(IDLE_SECONDS) };
    asked.and_then(|asked| kept.iter().rfind(|kept| **kept <= asked)).copied().unwrap_or(*shortest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_hold_for_their_time_and_are_refreshed() {
        let pins = Pins::new(64);
        let pin = |endpoint| Pin { endpoint, key: 3 };
        pins.put(42, pin(7), 600, 1_000_000);
        let check = |now_ms, expected| assert_eq!(pins.get(42, now_ms), expected, "{now_ms}");
        check(1_000_000, Some(pin(7)));
        check(1_599_999, Some(pin(7)));
        check(1_600_000, None);
        pins.put(42, pin(8), 600, 1_500_000);
        check(1_600_000, Some(pin(8)));
        assert_eq!(pins.get(43, 1_500_000), None);
    }

    #[test]
    fn memory_is_bounded_and_the_ones_that_end_first_make_room() {
        let pins = Pins::new(WAYS);
        for conversation in 1..=WAYS as u64 + 1 {
            pins.put(conversation, Pin { endpoint: conversation, key: 0 }, 600 + conversation, 0);
        }
        assert_eq!(pins.entries.len(), WAYS);
        assert_eq!(pins.get(1, 0), None);
        assert!((2..=WAYS as u64 + 1).all(|conversation| pins.get(conversation, 0).is_some()));
    }

    #[test]
    fn what_the_endpoint_keeps_decides() {
        let check = |kept: &[u64], asked, expected| assert_eq!(ttl_seconds(kept, asked), expected, "{kept:?} {asked:?}");
        check(&[], None, IDLE_SECONDS);
        check(&[], Some(3_600), 3_600);
        check(&[300, 3_600], None, 300);
        check(&[300, 3_600], Some(3_600), 3_600);
        check(&[300, 3_600], Some(60), 300);
    }
}
