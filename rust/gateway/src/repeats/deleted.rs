//! Responses that were deleted: which copies are of one, and that none is kept which was on its way when it went.

use super::Facts;
use fairlead_formats::conversation;
use parking_lot::Mutex;
use std::collections::VecDeque;

/// A response is kept before its copies are, by as much as files take to be written.
const ON_ITS_WAY_MS: u64 = 60_000;

/// Those that were deleted a moment ago.
#[derive(Default)]
pub(super) struct Deleted(Mutex<VecDeque<Gone>>);

struct Gone {
    at_ms: u64,
    key: u64,
    id: String,
}

impl Gone {
    fn is_long_ago(&self, now_ms: u64) -> bool {
        self.at_ms.saturating_add(ON_ITS_WAY_MS) <= now_ms
    }
}

impl Deleted {
    pub(super) fn add(&self, key: u64, id: &str, now_ms: u64) {
        let mut all = self.0.lock();
        while all.front().is_some_and(|gone| gone.is_long_ago(now_ms)) {
            all.pop_front();
        }
        all.push_back(Gone { at_ms: now_ms, key, id: id.to_owned() });
    }

    /// Whether a copy of this key's is of one of them.
    pub(super) fn has(&self, key: u64, facts: &Facts, body: &[u8], now_ms: u64) -> bool {
        let of_key = |gone: &&Gone| gone.key == key && !gone.is_long_ago(now_ms);
        let ids: Vec<String> = self.0.lock().iter().filter(of_key).map(|gone| gone.id.clone()).collect();
        ids.iter().any(|id| is_response(facts, body, id))
    }
}

/// Whether a reply is the response with this id.
pub(super) fn is_response(facts: &Facts, body: &[u8], id: &str) -> bool {
    // Nearly none has it anywhere.
    if memchr::memmem::find(body, id.as_bytes()).is_none() {
        return false;
    }
    let found = if facts.streamed {
        conversation::response_in(body).and_then(|response| conversation::id_of(&response))
    } else {
        conversation::id_of(body)
    };
    found.as_deref() == Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repeats::tests::responses;

    #[test]
    fn a_copy_is_of_the_response_that_it_is() {
        let check = |id: &str, expected: [bool; 3]| {
            let found = responses("resp_1").map(|copy| is_response(&copy.facts, &copy.body, id));
            assert_eq!(found, expected, "{id}");
        };
        check("resp_1", [true, true, false]);
        check("resp_later", [false, false, true]);
        check("resp_", [false; 3]);
        check("completed", [false; 3]);
    }

    #[test]
    fn what_was_deleted_is_known_for_a_moment() {
        let deleted = Deleted::default();
        let [copy, ..] = responses("resp_1");
        let check = |key, now_ms, expected| assert_eq!(deleted.has(key, &copy.facts, &copy.body, now_ms), expected, "{key} at {now_ms}");
        check(2, 5, false);
        deleted.add(2, "resp_1", 5);
        check(2, 5, true);
        check(2, 4 + ON_ITS_WAY_MS, true);
        check(2, 5 + ON_ITS_WAY_MS, false);
        check(3, 5, false);
        deleted.add(2, "resp_2", 5 + ON_ITS_WAY_MS);
        assert_eq!(deleted.0.lock().len(), 1);
    }
}
