//! Requests that wait because every credential that could serve them is in use. Those who pay for them (API keys) take turns, so that one that
//! sends a thousand at once holds up nobody else for more than one.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// More than these do not wait; they are told at once.
pub const MOST_WAITING: usize = 10_000;

/// Who waits, in the order in which they are served.
///
/// Start-time fair queueing: each request begins in a round, no two of one payer in the same, and rounds are served one after the other.
#[derive(Debug, Default)]
pub struct Queue {
    /// So many wait: all that anybody looks at as long as nobody does.
    length: AtomicUsize,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    waiting: BTreeMap<Turn, Waiting>,
    /// Each payer's last round.
    rounds: HashMap<u64, u64>,
    /// The round that is being served.
    round: u64,
    arrivals: u64,
}

/// A round, and who came first in it.
type Turn = (u64, u64);

#[derive(Debug)]
struct Waiting {
    /// Ids of the endpoints that could serve it.
    endpoints: Box<[u64]>,
    called: bool,
    waker: Option<Waker>,
}

impl Waiting {
    fn call(&mut self) {
        self.called = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Queue {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.length.load(Ordering::Relaxed)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether somebody waits for one of these endpoints: who comes now stands behind.
    pub fn is_waited_for(&self, mut endpoints: impl Iterator<Item = u64>) -> bool {
        if self.is_empty() {
            return false;
        }
        let line = self.line();
        endpoints.any(|endpoint| line.waiting.values().any(|waiting| waiting.endpoints.contains(&endpoint)))
    }

    /// A place in the line. `None`: it is too long.
    pub fn enter(self: &Arc<Queue>, payer: u64, endpoints: Box<[u64]>) -> Option<Place> {
        let mut line = self.line();
        if line.waiting.len() >= MOST_WAITING {
            return None;
        }
        let round = line.rounds.get(&payer).map_or(line.round, |last| line.round.max(last + 1));
        line.arrivals += 1;
        let turn = (round, line.arrivals);
        line.rounds.insert(payer, round);
        line.waiting.insert(turn, Waiting { endpoints, called: false, waker: None });
        self.length.store(line.waiting.len(), Ordering::Relaxed);
        drop(line);
        Some(Place { queue: Arc::clone(self), turn })
    }

    /// A credential has been given back: whoever is first may look.
    pub fn call_first(&self) {
        if !self.is_empty()
            && let Some((_, first)) = self.line().waiting.iter_mut().next()
        {
            first.call();
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        // Each change is whole before anything in it could panic.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the line, given up when it is dropped.
#[derive(Debug)]
pub struct Place {
    queue: Arc<Queue>,
    turn: Turn,
}

impl Place {
    /// Ready when it is called. Then it tries; in vain, it calls the [`next`](Place::call_next) and waits again.
    pub fn poll_called(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut line = self.queue.line();
        let Some(waiting) = line.waiting.get_mut(&self.turn) else { return Poll::Ready(()) };
        if std::mem::take(&mut waiting.called) {
            return Poll::Ready(());
        }
        waiting.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// What was given back does not help this one, or leaves something over: the next in line may look.
    pub fn call_next(&self) {
        self.queue.line().call_behind(self.turn);
    }
}

impl Line {
    fn call_behind(&mut self, turn: Turn) {
        use std::ops::Bound::{Excluded, Unbounded};
        if let Some((_, next)) = self.waiting.range_mut((Excluded(turn), Unbounded)).next() {
            next.call();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut line = self.queue.line();
        line.round = line.round.max(self.turn.0);
        // Served, it has left something over perhaps; given up while it was called, somebody else must be.
        line.call_behind(self.turn);
        line.waiting.remove(&self.turn);
        if line.waiting.is_empty() {
            (line.rounds, line.round) = (HashMap::new(), 0);
        }
        self.queue.length.store(line.waiting.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn is_called(place: &Place) -> bool {
        place.poll_called(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// Serves one at a time; in which order the payers are served.
    fn served(payers: &[u64]) -> Vec<u64> {
        let queue = Arc::new(Queue::default());
        let mut waiting: Vec<_> = payers.iter().map(|payer| (*payer, queue.enter(*payer, Box::new([1])).unwrap())).collect();
        let mut served = Vec::new();
        while !waiting.is_empty() {
            queue.call_first();
            let called = waiting.iter().position(|(_, place)| is_called(place)).unwrap();
            let (payer, place) = waiting.remove(called);
            served.push(payer);
            drop(place);
            // Who was called as it left finds nothing.
            let _ = waiting.iter().filter(|(_, place)| is_called(place)).count();
        }
        assert!(queue.is_empty());
        served
    }

    #[test]
    fn payers_take_turns() {
        assert_eq!(served(&[1, 1, 1, 1, 2, 3]), [1, 2, 3, 1, 1, 1]);
        assert_eq!(served(&[1, 2, 2, 1, 1]), [1, 2, 2, 1, 1]);
        assert_eq!(served(&[1]), [1]);
    }

    #[test]
    fn a_late_payer_waits_for_one_round_not_for_all() {
        let queue = Arc::new(Queue::default());
        let mut greedy: Vec<_> = (0..5).map(|_| queue.enter(1, Box::new([1])).unwrap()).collect();
        // Two are served before anybody else comes.
        drop(greedy.drain(..2));
        let late = queue.enter(2, Box::new([1])).unwrap();
        queue.call_first();
        assert!(is_called(&late));
    }

    #[test]
    fn who_leaves_while_called_calls_the_next() {
        let queue = Arc::new(Queue::default());
        let [first, second] = [1, 2].map(|payer| queue.enter(payer, Box::new([7])).unwrap());
        queue.call_first();
        drop(first);
        assert!(is_called(&second) && !is_called(&second));
        queue.call_first();
        assert!(is_called(&second));
    }

    #[test]
    fn those_who_wait_for_something_else_do_not_stand_in_the_way() {
        let queue = Arc::new(Queue::default());
        let place = queue.enter(1, Box::new([7, 8])).unwrap();
        assert!(queue.is_waited_for([8].into_iter()) && !queue.is_waited_for([9].into_iter()));
        drop(place);
        assert!(!queue.is_waited_for([8].into_iter()));
    }

    #[test]
    fn the_line_has_an_end() {
        let queue = Arc::new(Queue::default());
        let places: Vec<_> = (0..MOST_WAITING as u64).map(|payer| queue.enter(payer, Box::new([])).unwrap()).collect();
        assert!(queue.enter(1, Box::new([])).is_none());
        drop(places);
        assert!(queue.enter(1, Box::new([])).is_some());
    }
}
