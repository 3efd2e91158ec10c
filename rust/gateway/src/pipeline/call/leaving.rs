//! Clients that leave before their answer is whole. Where the provider's meter stops with the connection, the work stops. Where it runs
//! on, the work runs on unheard: the provider bills all of it, and only its own figures say how much that is.
//!
//! Unheard work is bounded in number, in time and in what it holds. What exceeds that is dropped, which settles it with what is known by
//! then. A drain waits for it as for any other; a stop does not.

use super::progress::Noted;
use crate::upstream::exchange::Dispatch;
use crate::worker::Worker;
use parking_lot::Mutex;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// What the client's side of a call and the work on it both see.
pub(crate) struct Presence {
    pub(crate) dispatch: Dispatch,
    pub(super) noted: Noted,
    /// Bytes of an answer that is read whole, as far as it has come.
    pub(crate) held_bytes: Cell<usize>,
    client_left: Cell<bool>,
    /// The provider that is asked now bills all of a reply, whoever leaves.
    billed_whole: Cell<bool>,
    worker: Rc<Worker>,
    /// The key that pays.
    key: u64,
}

/// The process stops, and whoever waits is to be told.
pub(crate) struct CutOff;

impl Presence {
    pub(super) fn new(worker: Rc<Worker>, key: u64, billed_whole: bool, noted: Noted) -> Presence {
        Presence {
            dispatch: Dispatch::default(),
            noted,
            held_bytes: Cell::new(0),
            client_left: Cell::new(false),
            billed_whole: Cell::new(billed_whole),
            worker,
            key,
        }
    }

    /// Another provider is asked.
    pub(super) fn begin_again(&self, billed_whole: bool) {
        self.noted.may_be_sent(&self.worker);
        self.dispatch.sent_at.set(None);
        self.dispatch.stale.set(None);
        self.held_bytes.set(0);
        self.billed_whole.set(billed_whole);
    }

    /// Runs an attempt, and notes where the first one has to wait before it can be sent.
    pub(crate) async fn noting<T>(&self, attempt: impl Future<Output = T>) -> T {
        let mut attempt = pin!(attempt);
        poll_fn(|context| {
            let polled = attempt.as_mut().poll(context);
            if polled.is_pending() {
                self.noted.look(&self.worker, &self.dispatch);
            }
            polled
        })
        .await
    }

    pub(crate) fn is_billed_whole(&self) -> bool {
        self.billed_whole.get()
    }

    pub(super) fn client_left(&self) -> bool {
        self.client_left.get()
    }

    /// Whether a client waits here that a stop of the process cuts off.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.worker.shared.stopping() && !self.client_left()
    }

    /// Runs what a client waits for to its end, or until the process stops.
    pub(crate) async fn unless_cut_off<T>(&self, mut work: Pin<&mut impl Future<Output = T>>) -> Result<T, CutOff> {
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Pending if self.is_cut_off() => Poll::Ready(Err(CutOff)),
            polled => polled.map(Ok),
        })
        .await
    }

    /// Whether work that the provider bills whole goes on without its client: the provider has all of the request.
    fn outlives_client(&self) -> bool {
        self.dispatch.sent_at.get().is_some() && !self.worker.shared.stopping()
    }
}

/// Work for a client.
pub(crate) trait Work: 'static {
    /// Asked when the client leaves before the work is done: its presence, where the provider's meter runs on.
    fn billed_whole(&self) -> Option<&Rc<Presence>>;

    /// The rest of the work.
    fn finish(self) -> impl Future<Output = ()> + 'static;
}

/// Work that a client waits for, until it is done. Dropping it before is the client's leaving.
pub(crate) struct Attended<W: Work>(Option<W>);

impl<W: Work> Attended<W> {
    pub(crate) fn new(work: W) -> Attended<W> {
        Attended(Some(work))
    }

    /// Goes on with the work.
    pub(crate) fn poll<T>(&mut self, work: impl FnOnce(&mut W) -> Poll<T>) -> Poll<T> {
        self.0.as_mut().map_or(Poll::Pending, work)
    }

    /// The work is complete; nothing of it is left to run on.
    pub(crate) fn done(mut self) {
        self.0 = None;
    }
}

impl<W: Work> Drop for Attended<W> {
    fn drop(&mut self) {
        let Some(work) = self.0.take() else { return };
        let Some(presence) = work.billed_whole().filter(|presence| presence.outlives_client()).cloned() else { return };
        presence.client_left.set(true);
        let Some(place) = UNHEARD.take(presence.key) else { return };
        let awaited = presence.worker.awaited();
        tokio::task::spawn_local(async move {
            // Out of time, it is dropped and settles itself.
            let _ = tokio::time::timeout(LONGEST, work.finish()).await;
            drop((place, awaited));
        });
    }
}

/// Work that runs on in this process.
static UNHEARD: Places = Places(Mutex::new(Vec::new()));

/// The most of it at a time, and how long each may take (`reliability.md` 6).
const MOST: usize = 64;
pub(crate) const LONGEST: Duration = Duration::from_secs(120);

/// Whose work has the places, by key.
struct Places(Mutex<Vec<u64>>);

impl Place {
    /// A place for other work whose client has left, as of [`Places::take`].
    pub(crate) fn take(key: u64) -> Option<Place> {
        UNHEARD.take(key)
    }
}

/// One of the places for unheard work, free again when dropped.
pub(crate) struct Place {
    places: &'static Places,
    key: u64,
}

impl Places {
    /// A place for work that `key` pays, unless that has as many as are left: then no key can take them all.
    fn take(&'static self, key: u64) -> Option<Place> {
        let mut taken = self.0.lock();
        let own = taken.iter().filter(|&&other| other == key).count();
        let left = MOST - taken.len().min(MOST);
        (own < left).then(|| {
            taken.push(key);
            Place { places: self, key }
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        if let Some(at) = taken.iter().position(|&key| key == self.key) {
            taken.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes places for a key until it gets none.
    fn take_all(places: &'static Places, key: u64) -> Vec<Place> {
        std::iter::from_fn(|| places.take(key)).take(MOST + 1).collect()
    }

    #[test]
    fn places_are_bounded_and_come_free() {
        static PLACES: Places = Places(Mutex::new(Vec::new()));
        let mut places: Vec<_> = (1..=100).map(|key| take_all(&PLACES, key)).collect();
        let counts: Vec<_> = places.iter().map(Vec::len).collect();
        assert_eq!(counts[..8], [32, 16, 8, 4, 2, 1, 1, 0], "a key leaves as many as it has");
        assert_eq!(PLACES.0.lock().len(), MOST);
        places[0].pop();
        assert!(PLACES.take(1).is_none(), "it has more than others could get");
        assert!(PLACES.take(8).is_some(), "an attempt in vain takes no place");
        drop(places);
        assert!(PLACES.0.lock().is_empty());
        assert_eq!(take_all(&PLACES, 1).len(), MOST / 2);
    }
}
