//! A moment that moves forward often and is reached rarely.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// A timer whose moment may be pushed back for the price of a store: the runtime's timer is only touched when it fires early.
pub(crate) struct Deadline {
    at: Instant,
    armed: Option<Armed>,
}

struct Armed {
    at: Instant,
    sleep: Pin<Box<Sleep>>,
    /// Who is woken; while it is the same task and nothing came closer, the timer need not be asked again.
    waker: Waker,
}

impl Deadline {
    /// A deadline at `at`. Nothing is registered until it is polled.
    pub(crate) fn at(at: Instant) -> Deadline {
        Deadline { at, armed: None }
    }

    pub(crate) fn after(now: Instant, wait: Duration) -> Deadline {
        Deadline::at(now + wait)
    }

    pub(crate) fn moment(&self) -> Instant {
        self.at
    }

    /// Moves the moment.
    pub(crate) fn set(&mut self, at: Instant) {
        self.at = at;
    }

    /// Ready once the moment has passed; the task is woken then.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        let armed = self.armed.get_or_insert_with(|| Armed { at, sleep: Box::pin(sleep_until(at)), waker: Waker::noop().clone() });
        loop {
            let closer = at < armed.at;
            let fired = armed.sleep.is_elapsed();
            if !closer && !fired && armed.waker.will_wake(context.waker()) {
                return Poll::Pending;
            }
            if closer || fired && at > armed.at {
                armed.sleep.as_mut().reset(at);
                armed.at = at;
            }
            armed.waker.clone_from(context.waker());
            ready!(armed.sleep.as_mut().poll(context));
            if at <= armed.at {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    fn paused() -> tokio::runtime::Runtime {
        #[expect(clippy::unwrap_used, reason = "tests")]
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
    }

    #[test]
    fn a_moved_deadline_fires_at_its_last_moment() {
        paused().block_on(async {
            let start = Instant::now();
            let mut deadline = Deadline::after(start, Duration::from_secs(5));
            let mut polls = 0;
            poll_fn(|context| {
                polls += 1;
                if polls == 1 {
                    let pending = deadline.poll(context);
                    deadline.set(start + Duration::from_secs(30));
                    return pending;
                }
                deadline.poll(context)
            })
            .await;
            assert_eq!(start.elapsed().as_secs(), 30);
            deadline.set(Instant::now() + Duration::from_secs(1));
            poll_fn(|context| deadline.poll(context)).await;
            assert_eq!(start.elapsed().as_secs(), 31);
        });
    }

    #[test]
    fn a_deadline_can_come_closer() {
        paused().block_on(async {
            let start = Instant::now();
            let mut deadline = Deadline::after(start, Duration::from_secs(60));
            let mut first = true;
            poll_fn(|context| {
                if std::mem::take(&mut first) {
                    assert!(deadline.poll(context).is_pending());
                    deadline.set(start + Duration::from_secs(2));
                }
                deadline.poll(context)
            })
            .await;
            assert_eq!(start.elapsed().as_secs(), 2);
        });
    }
}
