//! SIGTERM and SIGINT begin a drain, whether or not the interpreter is alive to hear them.

use signal_hook::consts::{SIGINT, SIGTERM};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that the first SIGTERM or SIGINT raises.
#[derive(Clone, Default)]
pub(crate) struct Signals {
    asked: Arc<AtomicBool>,
}

impl Signals {
    /// Registers the handlers: they only store to a flag, which is all a handler may safely do. A second signal ends the process at
    /// once, for somebody at a keyboard who does not want to wait for a drain.
    pub(crate) fn listen() -> io::Result<Signals> {
        let signals = Signals::default();
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register_conditional_shutdown(signal, 130, signals.asked.clone())?;
            signal_hook::flag::register(signal, signals.asked.clone())?;
        }
        Ok(signals)
    }

    pub(crate) fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}
