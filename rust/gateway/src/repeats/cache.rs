//! Replies by what was asked, in memory only: bounded in bytes, the one that was longest not asked for goes first, each for a time.

use super::deleted::{Deleted, is_response};
use super::{Copy, Key};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The replies.
#[derive(Default)]
pub(crate) struct Cache {
    shelf: Mutex<Shelf>,
    deleted: Arc<Deleted>,
    /// Replies that made room for others before their time.
    pub(crate) evicted: AtomicU64,
}

/// A reply that was found.
#[derive(Clone)]
pub(crate) struct Cached {
    pub(crate) copy: Arc<Copy>,
    pub(crate) age_ms: u64,
    pub(crate) ttl_seconds: u64,
}

#[derive(Default)]
struct Shelf {
    entries: HashMap<Key, Entry>,
    /// By the turn of their last use.
    by_use: BTreeMap<u64, Key>,
    turn: u64,
    bytes: u64,
}

struct Entry {
    copy: Arc<Copy>,
    kept_at_ms: u64,
    ttl_seconds: u64,
    used: u64,
}

impl Entry {
    fn is_over(&self, now_ms: u64) -> bool {
        self.kept_at_ms.saturating_add(self.ttl_seconds.saturating_mul(1000)) <= now_ms
    }
}

impl Cache {
    /// One that keeps no copies of these.
    pub(super) fn without(deleted: Arc<Deleted>) -> Cache {
        Cache { deleted, ..Cache::default() }
    }

    /// The reply to this, unless its time is over.
    pub(crate) fn find(&self, key: &Key, now_ms: u64) -> Option<Cached> {
        let mut shelf = self.shelf.lock();
        if shelf.entries.get(key)?.is_over(now_ms) {
            shelf.take(key);
            return None;
        }
        let turn = shelf.next_turn();
        let entry = shelf.entries.get_mut(key)?;
        let before = std::mem::replace(&mut entry.used, turn);
        let found = Cached { copy: entry.copy.clone(), age_ms: now_ms.saturating_sub(entry.kept_at_ms), ttl_seconds: entry.ttl_seconds };
        shelf.by_use.remove(&before);
        shelf.by_use.insert(turn, *key);
        Some(found)
    }

    /// Keeps a reply in place of one that was there. Others make room; one that is larger than all of them may be is not kept, nor is one of
    /// a response that was deleted.
    pub(crate) fn keep(&self, key: Key, copy: Arc<Copy>, ttl_seconds: u64, most_bytes: u64, now_ms: u64) {
        let is_deleted = self.deleted.has(key.scope.key, &copy.facts, &copy.body, now_ms);
        let mut shelf = self.shelf.lock();
        shelf.take(&key);
        if is_deleted || copy.bytes() > most_bytes {
            return;
        }
        let used = shelf.next_turn();
        shelf.bytes += copy.bytes();
        shelf.by_use.insert(used, key);
        shelf.entries.insert(key, Entry { copy, kept_at_ms: now_ms, ttl_seconds, used });
        self.evict(&mut shelf, most_bytes);
    }

    pub(crate) fn forget(&self, key: &Key) {
        self.shelf.lock().take(key);
    }

    /// Lets go of a key's replies that are this response.
    pub(super) fn forget_response(&self, of: u64, id: &str) {
        // Looked at without the lock: they may be long.
        let shelf = self.shelf.lock();
        let theirs: Vec<(Key, Arc<Copy>)> =
            shelf.entries.iter().filter(|(key, _)| key.scope.key == of).map(|(key, entry)| (*key, entry.copy.clone())).collect();
        drop(shelf);
        for (key, copy) in theirs.iter().filter(|(_, copy)| is_response(&copy.facts, &copy.body, id)) {
            let mut shelf = self.shelf.lock();
            if shelf.entries.get(key).is_some_and(|entry| Arc::ptr_eq(&entry.copy, copy)) {
                shelf.take(key);
            }
        }
    }

    pub(super) fn sweep(&self, most_bytes: u64, known: Option<&HashSet<u64>>, now_ms: u64) {
        let mut shelf = self.shelf.lock();
        let is_gone = |key: &Key, entry: &Entry| entry.is_over(now_ms) || known.is_some_and(|known| !known.contains(&key.scope.key));
        let gone: Vec<Key> = shelf.entries.iter().filter(|(key, entry)| is_gone(key, entry)).map(|(key, _)| *key).collect();
        gone.iter().for_each(|key| shelf.take(key));
        self.evict(&mut shelf, most_bytes);
    }

    /// How many there are, and what they take of the memory.
    pub(crate) fn size(&self) -> (u64, u64) {
        let shelf = self.shelf.lock();
        (shelf.entries.len() as u64, shelf.bytes)
    }

    fn evict(&self, shelf: &mut Shelf, most_bytes: u64) {
        while shelf.bytes > most_bytes
            && let Some((_, key)) = shelf.by_use.first_key_value()
        {
            let key = *key;
            shelf.take(&key);
            self.evicted.fetch_add(1, Relaxed);
        }
    }
}

impl Shelf {
    fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    fn take(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.by_use.remove(&entry.used);
            self.bytes -= entry.copy.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repeats::tests::{copy, responses, scope};
    use std::iter::repeat_n;

    const MANY: u64 = 1 << 20;

    fn key(account: u64, key: u64, digest: u8) -> Key {
        Key::new(scope(account, key), [digest; 32])
    }

    fn check(cache: &Cache, key: Key, now_ms: u64, expected: Option<(&str, u64)>) {
        let found = cache.find(&key, now_ms);
        let found = found.as_ref().map(|found| (std::str::from_utf8(&found.copy.body).unwrap_or_default(), found.age_ms));
        assert_eq!(found, expected, "{key:?} at {now_ms}");
    }

    #[test]
    fn a_reply_is_found_by_its_own_key_for_its_time() {
        let cache = Cache::default();
        cache.keep(key(1, 2, 3), copy("a"), 300, MANY, 1_000);
        check(&cache, key(1, 2, 3), 1_000, Some(("a", 0)));
        check(&cache, key(1, 2, 3), 300_999, Some(("a", 299_999)));
        for other in [key(1, 2, 4), key(1, 4, 3), key(4, 2, 3)] {
            check(&cache, other, 1_000, None);
        }
        check(&cache, key(1, 2, 3), 301_000, None);
        assert_eq!(cache.size(), (0, 0));
    }

    #[test]
    fn a_later_reply_takes_the_place() {
        let cache = Cache::default();
        cache.keep(key(1, 2, 3), copy("a"), 300, MANY, 0);
        let size = cache.size();
        cache.keep(key(1, 2, 3), copy("b"), 300, MANY, 5);
        check(&cache, key(1, 2, 3), 5, Some(("b", 0)));
        assert_eq!(cache.size(), size);
        cache.forget(&key(1, 2, 3));
        assert_eq!(cache.size(), (0, 0));
    }

    #[test]
    fn a_response_that_is_deleted_goes_and_stays_away() {
        let deleted = Arc::<Deleted>::default();
        let cache = Cache::without(deleted.clone());
        let put = |of: u64| {
            for (digest, copy) in responses("resp_1").into_iter().enumerate() {
                cache.keep(key(1, of, digest as u8), copy, 300, MANY, 0);
            }
        };
        let there = |of: u64| [0, 1, 2].map(|digest| cache.find(&key(1, of, digest), 0).is_some());
        put(2);
        put(3);
        cache.forget_response(2, "resp_1");
        assert_eq!((there(2), there(3)), ([false, false, true], [true; 3]));
        deleted.add(2, "resp_1", 0);
        put(2);
        assert_eq!((there(2), cache.size().0), ([false, false, true], 4));
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let cache = Cache::default();
        let each = copy("a").bytes();
        for digest in 0..3 {
            cache.keep(key(1, 1, digest), copy("a"), 300, 3 * each, 0);
        }
        check(&cache, key(1, 1, 0), 0, Some(("a", 0)));
        cache.keep(key(1, 1, 9), copy("a"), 300, 3 * each, 0);
        check(&cache, key(1, 1, 0), 0, Some(("a", 0)));
        check(&cache, key(1, 1, 1), 0, None);
        assert_eq!((cache.size(), cache.evicted.load(Relaxed)), ((3, 3 * each), 1));
        let large: String = repeat_n('a', 4 * each as usize).collect();
        cache.keep(key(1, 1, 0), copy(&large), 300, 3 * each, 0);
        check(&cache, key(1, 1, 0), 0, None);
        assert_eq!(cache.size().0, 2, "nothing else had to go for it");
        cache.sweep(each, None, 0);
        assert_eq!(cache.size().0, 1, "a bound that shrinks holds for what is there");
    }

    #[test]
    fn what_is_over_or_nobodys_is_swept() {
        let cache = Cache::default();
        cache.keep(key(1, 1, 1), copy("a"), 1, MANY, 0);
        cache.keep(key(1, 1, 2), copy("a"), 9, MANY, 0);
        cache.keep(key(1, 2, 1), copy("a"), 9, MANY, 0);
        cache.sweep(MANY, None, 1_000);
        assert_eq!(cache.size().0, 2);
        cache.sweep(MANY, Some(&HashSet::from([2])), 1_000);
        check(&cache, key(1, 2, 1), 1_000, Some(("a", 1_000)));
        assert_eq!(cache.size().0, 1);
    }
}
