//! Sleeps to the microsecond: tokio's timers count milliseconds, which is longer than a whole request.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A kernel timer that the runtime waits on.
#[derive(Debug)]
pub(super) struct Timer {
    descriptor: AsyncFd<OwnedFd>,
}

impl Timer {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: takes two integers and returns a new descriptor or -1.
        let raw = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `raw` is open, ours, and owned by nobody else.
        let descriptor = unsafe { OwnedFd::from_raw_fd(raw) };
        // SAFETY: `AsyncFd` owns the descriptor, nothing here takes it out or closes it before the `AsyncFd` goes.
        let descriptor = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?;
        Ok(Self { descriptor })
    }

    /// Returns at once when the time has passed already.
    pub(super) async fn sleep_until(&self, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        self.arm(left)?;
        loop {
            let mut guard = self.descriptor.readable().await?;
            match guard.try_io(|descriptor| read_expirations(descriptor.get_ref())) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }

    fn arm(&self, left: Duration) -> io::Result<()> {
        let seconds = libc::time_t::try_from(left.as_secs()).map_err(io::Error::other)?;
        let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let value = libc::timespec { tv_sec: seconds, tv_nsec: left.subsec_nanos().into() };
        let setting = libc::itimerspec { it_interval: zero, it_value: value };
        // SAFETY: the descriptor is an open timer, `setting` lives through the call, no old value is asked for.
        let code = unsafe { libc::timerfd_settime(self.descriptor.get_ref().as_raw_fd(), 0, &raw const setting, std::ptr::null_mut()) };
        if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

fn read_expirations(descriptor: &OwnedFd) -> io::Result<()> {
    let mut count = [0_u8; 8];
    // SAFETY: the descriptor is open and `count` has the eight bytes that a timer gives.
    let read = unsafe { libc::read(descriptor.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    if read < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
