//! A stream's events between the thread that has them and whoever reads them: as much as is there is taken at once, and no more is kept
//! than a reader can be behind.

use parking_lot::Mutex;
use std::task::{Context, Poll, Waker};

/// From so many bytes on the provider is not read any further until the reader has taken them.
const MOST_BYTES: usize = 256 << 10;

/// Events that wait for their reader.
#[derive(Debug, Default)]
pub struct Feed(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The data of the events: JSON texts, each with a comma behind it.
    events: Vec<u8>,
    /// The reader has found nothing and wants to be told.
    wanted: bool,
    /// Whoever has more waits for room.
    writer: Option<Waker>,
}

impl Feed {
    /// All events that are there, as one JSON array; if there are none, the reader is told when there are.
    pub fn take(&self) -> Option<Vec<u8>> {
        let mut state = self.0.lock();
        if state.events.is_empty() {
            state.wanted = true;
            return None;
        }
        let mut events = std::mem::take(&mut state.events);
        let writer = state.writer.take();
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
        // The last comma.
        events.pop();
        events.push(b']');
        Some(events)
    }

    /// Adds events, each with a comma behind it. Whether the reader is to be told.
    pub(super) fn put(&self, events: &[u8]) -> bool {
        if events.is_empty() {
            return false;
        }
        let mut state = self.0.lock();
        if state.events.is_empty() {
            state.events.push(b'[');
        }
        state.events.extend_from_slice(events);
        std::mem::take(&mut state.wanted)
    }

    /// Waits until the reader is not too far behind.
    pub(super) fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.events.len() < MOST_BYTES {
            return Poll::Ready(());
        }
        state.writer = Some(context.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(feed: &Feed) -> bool {
        feed.poll_room(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn events_are_taken_all_at_once() {
        let feed = Feed::default();
        assert_eq!(feed.take(), None);
        assert!(feed.put(b"{},"), "the reader wants to be told");
        assert!(!feed.put(b"1,2,"), "once");
        assert_eq!(feed.take().as_deref(), Some(b"[{},1,2]".as_slice()));
        assert!(!feed.put(b""));
        assert_eq!(feed.take(), None);
        assert!(!feed.put(b""), "nothing is no news");
        assert!(feed.put(b"3,"));
        assert_eq!(feed.take().as_deref(), Some(b"[3]".as_slice()));
    }

    #[test]
    fn a_reader_that_is_behind_holds_the_writer() {
        let feed = Feed::default();
        assert!(room(&feed));
        feed.put(&vec![b'1'; MOST_BYTES]);
        assert!(!room(&feed));
        assert!(feed.take().is_some());
        assert!(room(&feed));
    }
}
