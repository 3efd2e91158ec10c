//! Kept-alive connections of one worker. Last in, first out: the warmest socket is used, the others age out.

use super::connection::Connection;
use fairlead_snapshot::Origin;
use std::cell::RefCell;
use std::collections::HashMap;
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::time::Instant;

/// Idle connections by origin. A connection comes back only after a complete exchange, so nobody meets another's bytes.
#[derive(Default)]
pub(crate) struct Pool {
    idle: RefCell<HashMap<String, Vec<Idle>, foldhash::fast::RandomState>>,
}

struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

impl Pool {
    /// A connection that is fresh enough and has not stirred since it was put back.
    pub(crate) fn take(&self, origin: &Origin, now: Instant, idle_for: Duration) -> Option<Box<Connection>> {
        let mut idle = self.idle.borrow_mut();
        let stack = idle.get_mut(&origin.key)?;
        while let Some(Idle { connection, since }) = stack.pop() {
            if now.duration_since(since) > idle_for {
                // Everything below is older still.
                stack.clear();
                return None;
            }
            if now < connection.expires_at && !connection.io.stirred(&mut Context::from_waker(Waker::noop())) {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for the next exchange, up to `most` per origin; the oldest goes.
    pub(crate) fn put(&self, origin: &Origin, mut connection: Box<Connection>, now: Instant, most: usize) {
        if now >= connection.expires_at || most == 0 {
            return;
        }
        connection.reused = true;
        let mut idle = self.idle.borrow_mut();
        let stack = match idle.get_mut(&origin.key) {
            Some(stack) => stack,
            None => idle.entry(origin.key.clone()).or_default(),
        };
        if stack.len() >= most {
            stack.remove(0);
        }
        stack.push(Idle { connection, since: now });
    }

    /// Closes what has been idle too long, also for origins nobody asks for any more.
    pub(crate) fn sweep(&self, now: Instant, idle_for: Duration) {
        self.idle.borrow_mut().retain(|_, stack| {
            stack.retain(|idle| now.duration_since(idle.since) <= idle_for && now < idle.connection.expires_at);
            !stack.is_empty()
        });
    }

    /// Idle connections, all origins together.
    pub(crate) fn len(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }
}
