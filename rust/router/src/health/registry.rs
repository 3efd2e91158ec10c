//! Where health is kept, by ids that outlive snapshots. It is asked when a board is made, never by a request.

use super::Endpoint;
use super::budget::Budget;
use super::lane::{Key, Lane};
use super::queue::Queue;
use crate::hedge::Hedges;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// The health of everything that was ever on a board and still is.
#[derive(Debug, Default)]
pub struct Registry(Mutex<Shelves>);

#[derive(Debug, Default)]
pub(crate) struct Shelves {
    endpoints: HashMap<u64, Arc<Endpoint>>,
    /// By endpoint and name of the credential.
    lanes: HashMap<(u64, String), Arc<Lane>>,
    /// By provider and name of the credential.
    keys: HashMap<(String, String), Arc<Key>>,
    budgets: HashMap<String, Arc<Budget>>,
    queue: Arc<Queue>,
    hedges: Arc<Hedges>,
}

impl Registry {
    /// Forgets everything: a board that is made from now on begins without a past. One that is in use keeps what it has.
    pub fn forget(&self) {
        let mut shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Who waits goes on waiting.
        *shelves = Shelves { queue: Arc::clone(&shelves.queue), ..Shelves::default() };
    }

    /// Takes out what a board needs; what no board holds any more is forgotten.
    pub(crate) fn open<T>(&self, take: impl FnOnce(&mut Shelves) -> T) -> T {
        // A panic while it was open left it whole: shelves only gain entries.
        let mut shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = take(&mut shelves);
        shelves.tidy();
        taken
    }
}

impl Shelves {
    pub(crate) fn endpoint(&mut self, id: u64) -> Arc<Endpoint> {
        find(&mut self.endpoints, id)
    }

    pub(crate) fn lane(&mut self, endpoint: u64, credential: &str) -> Arc<Lane> {
        find(&mut self.lanes, (endpoint, credential.to_owned()))
    }

    pub(crate) fn key(&mut self, provider: &str, credential: &str) -> Arc<Key> {
        let Shelves { keys, queue, .. } = self;
        let key = keys.entry((provider.to_owned(), credential.to_owned()));
        Arc::clone(key.or_insert_with(|| Arc::new(Key::new(Arc::clone(queue)))))
    }

    pub(crate) fn budget(&mut self, provider: &str) -> Arc<Budget> {
        find(&mut self.budgets, provider.to_owned())
    }

    pub(crate) fn hedges(&self) -> Arc<Hedges> {
        Arc::clone(&self.hedges)
    }

    pub(crate) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }

    fn tidy(&mut self) {
        self.endpoints.retain(|_, kept| Arc::strong_count(kept) > 1);
        self.lanes.retain(|_, kept| Arc::strong_count(kept) > 1);
        self.keys.retain(|_, kept| Arc::strong_count(kept) > 1);
        self.budgets.retain(|_, kept| Arc::strong_count(kept) > 1);
    }
}

fn find<K: Eq + Hash, V: Default>(shelf: &mut HashMap<K, Arc<V>>, key: K) -> Arc<V> {
    Arc::clone(shelf.entry(key).or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_the_same_and_what_is_not_is_forgotten() {
        let registry = Registry::default();
        let first = registry.open(|shelves| shelves.endpoint(7));
        let other = registry.open(|shelves| shelves.endpoint(8));
        assert!(Arc::ptr_eq(&first, &registry.open(|shelves| shelves.endpoint(7))));
        drop(other);
        registry.open(|shelves| {
            shelves.key("lab", "one");
            shelves.lane(7, "one");
            shelves.budget("lab");
        });
        registry.open(|shelves| {
            assert_eq!((shelves.endpoints.len(), shelves.lanes.len(), shelves.keys.len(), shelves.budgets.len()), (1, 0, 0, 0));
        });
    }
}
