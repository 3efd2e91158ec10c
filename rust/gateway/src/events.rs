//! News for the control plane: an eventfd that its loop watches, and a few flags behind it. What is lost here can be asked again.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};

/// A kind of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Event {
    /// The journal has records that were not there at the last look.
    Journal = 1,
    /// A drain has begun.
    Draining = 2,
    /// The data plane is down.
    Stopped = 4,
    /// There is news of calls that this process has made itself.
    Calls = 8,
}

impl Event {
    /// Every kind.
    pub const ALL: [Event; 4] = [Event::Journal, Event::Draining, Event::Stopped, Event::Calls];

    /// The name Python sees.
    pub const fn name(self) -> &'static str {
        match self {
            Event::Journal => "journal",
            Event::Draining => "draining",
            Event::Stopped => "stopped",
            Event::Calls => "calls",
        }
    }
}

/// The bell.
pub struct Events {
    descriptor: OwnedFd,
    pending: AtomicU32,
}

impl Events {
    /// A bell that nobody has rung.
    ///
    /// # Errors
    /// When the process is out of file descriptors.
    pub fn new() -> io::Result<Events> {
        // SAFETY: no pointers; the result is checked before it is used.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Events { descriptor, pending: AtomicU32::new(0) })
    }

    /// For the loop to watch; readable when [`Events::take`] has something.
    pub fn descriptor(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    /// Rings, unless the same news is already waiting.
    pub fn ring(&self, event: Event) {
        if self.pending.fetch_or(event as u32, Ordering::AcqRel) & event as u32 == 0 {
            let one = 1u64.to_ne_bytes();
            // SAFETY: eight valid bytes; a full counter (EAGAIN) still leaves it readable, which is all that matters.
            let _ = unsafe { libc::write(self.descriptor.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }

    /// Takes all news and silences the bell.
    pub fn take(&self) -> impl Iterator<Item = Event> {
        let mut count = [0u8; 8];
        // SAFETY: eight writable bytes; an empty counter (EAGAIN) is fine.
        let _ = unsafe { libc::read(self.descriptor.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        let pending = self.pending.swap(0, Ordering::AcqRel);
        Event::ALL.into_iter().filter(move |event| pending & *event as u32 != 0)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn readable(events: &Events) -> bool {
        let mut poll = libc::pollfd { fd: events.descriptor(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid entry, no waiting.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }

    #[test]
    fn rings_until_taken() {
        let events = Events::new().unwrap();
        assert!(!readable(&events));
        events.ring(Event::Journal);
        events.ring(Event::Journal);
        events.ring(Event::Stopped);
        assert!(readable(&events));
        assert_eq!(events.take().collect::<Vec<_>>(), [Event::Journal, Event::Stopped]);
        assert!(!readable(&events));
        events.ring(Event::Journal);
        assert!(readable(&events));
    }
}
