//! Requests on their way. Who comes while another of the same key is on its way follows it, on whatever worker either is.

use super::{Copy, Digest, Key};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch::{Receiver, Sender, channel};

/// All of them.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<Key, Flight>>);

struct Flight {
    landed: Receiver<Landed>,
    /// What the first of them asks.
    asks: Digest,
}

/// What came of the first.
enum Landed {
    NotYet,
    /// There is nothing to give, and where it was to be kept is being cleared.
    LettingGo,
    Failed,
    With(Arc<Copy>),
}

/// Whether somebody was there before.
pub(crate) enum Entered {
    Lead(Lead),
    Follow(Following),
}

/// The first. Dropping it tells the others that they get nothing from it.
pub(crate) struct Lead {
    flights: Arc<Flights>,
    key: Key,
    landed: Sender<Landed>,
}

/// Another one.
pub(crate) struct Following {
    landed: Receiver<Landed>,
    pub(crate) asks: Digest,
}

impl Flights {
    /// Follows who is on the way, or leads.
    pub(crate) fn enter(self: &Arc<Self>, key: Key, asks: Digest) -> Entered {
        let mut flights = self.0.lock();
        if let Some(flight) = flights.get(&key) {
            return Entered::Follow(Following { landed: flight.landed.clone(), asks: flight.asks });
        }
        let (landed, following) = channel(Landed::NotYet);
        flights.insert(key, Flight { landed: following, asks });
        Entered::Lead(Lead { flights: self.clone(), key, landed })
    }

    /// Leads, whoever is on the way: those who follow already get what they wait for, those who come follow this one.
    pub(crate) fn lead(self: &Arc<Self>, key: Key, asks: Digest) -> Lead {
        let (landed, following) = channel(Landed::NotYet);
        self.0.lock().insert(key, Flight { landed: following, asks });
        Lead { flights: self.clone(), key, landed }
    }
}

impl Lead {
    /// Whether those who come now follow this one.
    pub(crate) fn is_current(&self) -> bool {
        self.flights.0.lock().get(&self.key).is_some_and(|flight| flight.landed.same_channel(&self.landed.subscribe()))
    }

    /// Says that nothing comes of it, before that is so everywhere: those who come meanwhile wait for it.
    pub(crate) fn let_go(&self) {
        self.landed.send_replace(Landed::LettingGo);
    }

    /// Tells those who follow. Who comes from now on must find the reply where it is kept.
    pub(crate) fn land(self, copy: Arc<Copy>) {
        self.landed.send_replace(Landed::With(copy));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock();
        if flights.get(&self.key).is_some_and(|flight| flight.landed.same_channel(&self.landed.subscribe())) {
            flights.remove(&self.key);
        }
        drop(flights);
        self.landed.send_if_modified(|landed| {
            let is_open = matches!(landed, Landed::NotYet | Landed::LettingGo);
            if is_open {
                *landed = Landed::Failed;
            }
            is_open
        });
    }
}

impl Following {
    /// Whether something may still come of the first.
    pub(crate) fn is_under_way(&self) -> bool {
        matches!(*self.landed.borrow(), Landed::NotYet)
    }

    /// What came of the first; `None` where it has nothing to give.
    pub(crate) async fn arrival(mut self) -> Option<Arc<Copy>> {
        match &*self.landed.wait_for(|landed| matches!(landed, Landed::Failed | Landed::With(_))).await.ok()? {
            Landed::With(copy) => Some(copy.clone()),
            Landed::NotYet | Landed::LettingGo | Landed::Failed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;
    use crate::repeats::tests::{copy, scope};

    fn key(digest: u8) -> Key {
        Key::new(scope(1, 2), [digest; 32])
    }

    fn lead(flights: &Arc<Flights>, digest: u8) -> Lead {
        match flights.enter(key(digest), [digest; 32]) {
            Entered::Lead(lead) => lead,
            Entered::Follow(_) => panic!("somebody is on the way"),
        }
    }

    fn follow(flights: &Arc<Flights>, digest: u8) -> Following {
        match flights.enter(key(digest), [9; 32]) {
            Entered::Follow(following) => following,
            Entered::Lead(_) => panic!("nobody is on the way"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn followers_get_what_the_first_got() {
        let flights = Arc::<Flights>::default();
        let first = lead(&flights, 1);
        drop(lead(&flights, 2));
        let waiting: Vec<_> = (0..3).map(|_| follow(&flights, 1)).collect();
        assert_eq!(waiting[0].asks, [1; 32]);
        first.land(copy("a"));
        for following in waiting {
            assert_eq!(following.arrival().await.unwrap().body, "a");
        }
        lead(&flights, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn followers_of_one_that_fails_are_told() {
        let flights = Arc::<Flights>::default();
        let first = lead(&flights, 1);
        let following = follow(&flights, 1);
        drop(first);
        assert!(following.arrival().await.is_none());
        assert!(flights.0.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_while_one_lets_go_waits_for_it() {
        let flights = Arc::<Flights>::default();
        let first = lead(&flights, 1);
        assert!(follow(&flights, 1).is_under_way());
        first.let_go();
        let following = follow(&flights, 1);
        assert!(!following.is_under_way());
        let mut arrival = std::pin::pin!(following.arrival());
        assert!(tokio::time::timeout(std::time::Duration::from_secs(9), &mut arrival).await.is_err());
        drop(first);
        assert!(arrival.await.is_none());
        lead(&flights, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_the_lead_has_those_who_come() {
        let flights = Arc::<Flights>::default();
        let first = lead(&flights, 1);
        let following = follow(&flights, 1);
        let second = flights.lead(key(1), [1; 32]);
        assert!(second.is_current() && !first.is_current());
        let later = follow(&flights, 1);
        first.land(copy("a"));
        assert_eq!(following.arrival().await.unwrap().body, "a");
        second.land(copy("b"));
        assert_eq!(later.arrival().await.unwrap().body, "b");
        assert!(flights.0.lock().is_empty());
    }
}
