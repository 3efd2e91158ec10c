//! Clients that leave before their answer is whole. Where the provider's meter stops with the connection, the work stops. Where it runs
//! on, the work runs on unheard: the provider bills all of it, and only its own figures say how much that is.
//!
//! Unheard work is bounded in number and time. What exceeds either is dropped, which settles it with what is known by then. A drain waits for it as for any other; a stop does not.

use crate::upstream::exchange::Dispatch;
use crate::worker::Worker;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

/// What the client's side of a call and the work on it both see.
pub(crate) struct Presence {
    pub(crate) dispatch: Dispatch,
    client_left: Cell<bool>,
    worker: Rc<Worker>,
}

/// The process stops, and whoever waits is to be told.
pub(crate) struct CutOff;

impl Presence {
    pub(super) fn new(worker: Rc<Worker>) -> Presence {
        Presence { dispatch: Dispatch::default(), client_left: Cell::new(false), worker }
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
        let Some(place) = Place::take(&UNHEARD) else { return };
        let awaited = presence.worker.awaited();
        tokio::task::spawn_local(async move {
            // Out of time, it is dropped and settles itself.
            let _ = tokio::time::timeout(LONGEST, work.finish()).await;
            drop((place, awaited));
        });
    }
}

/// Work that runs on in this process.
static UNHEARD: AtomicUsize = AtomicUsize::new(0);

/// The most of it at a time, and how long each may take (`reliability.md` 6).
const MOST: usize = 64;
const LONGEST: Duration = Duration::from_secs(120);

/// One of the places for unheard work, free again when dropped.
struct Place(&'static AtomicUsize);

impl Place {
    fn take(taken: &'static AtomicUsize) -> Option<Place> {
        let place = Place(taken);
        (taken.fetch_add(1, Ordering::Relaxed) < MOST).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_free() {
        static TAKEN: AtomicUsize = AtomicUsize::new(0);
        let mut places: Vec<_> = (0..MOST).filter_map(|_| Place::take(&TAKEN)).collect();
        assert_eq!(places.len(), MOST);
        assert!(Place::take(&TAKEN).is_none() && Place::take(&TAKEN).is_none(), "an attempt takes no place");
        places.pop();
        assert!(Place::take(&TAKEN).is_some());
        drop(places);
        assert_eq!(TAKEN.load(Ordering::Relaxed), 0);
    }
}
