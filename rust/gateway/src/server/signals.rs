//! SIGTERM and SIGINT begin a drain, whether or not the interpreter is alive to hear them.

use signal_hook::consts::{SIGINT, SIGTERM};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How urgently the process was asked to end. Both signals count alike.
#[derive(Clone, Default)]
pub(crate) struct Signals {
    asked: Arc<AtomicBool>,
    hurried: Arc<AtomicBool>,
}

impl Signals {
    /// Registers the handlers: the first signal asks for a drain, the second cuts it short, and the third ends the process on the spot
    /// with the exit code that shells give to a signal. All they do is to change flags, or to exit.
    pub(crate) fn listen() -> io::Result<Signals> {
        let signals = Signals::default();
        for signal in [SIGTERM, SIGINT] {
            // Handlers run in the order of registration, so this one sees what the signals before it have left.
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, signals.hurried.clone())?;
            let heard = signals.clone();
            // SAFETY: the action neither allocates, locks nor panics: it stores to atomics.
            unsafe { signal_hook::low_level::register(signal, move || heard.note())? };
        }
        Ok(signals)
    }

    fn note(&self) {
        if self.asked.swap(true, Ordering::Relaxed) {
            self.hurried.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the process shall end.
    pub(crate) fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Whether it shall not wait for what is running.
    pub(crate) fn hurried(&self) -> bool {
        self.hurried.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_in_a_hurry() {
        let signals = Signals::default();
        for expected in [(false, false), (true, false), (true, true), (true, true)] {
            assert_eq!((signals.asked(), signals.hurried()), expected);
            signals.note();
        }
    }
}
