//! How a call ended whose reply may be kept: told by its settlement, asked by whoever keeps it.

use fairlead_ledger::{Outcome, Settle};
use std::cell::{Cell, RefCell};

/// Filled by the call.
#[derive(Default)]
pub(crate) struct Ended {
    begun: Cell<bool>,
    charged: Cell<i64>,
    told: Cell<bool>,
    good: RefCell<Option<Good>>,
}

/// Of a reply that went well and whole.
pub(super) struct Good {
    pub(super) generation: String,
    pub(super) model: String,
    pub(super) provider: String,
    pub(super) finish: String,
    pub(super) native_finish: String,
    /// Nano-dollars.
    pub(super) charged: i64,
}

impl Ended {
    /// It is reserved: from here on it may cost something.
    pub(crate) fn begin(&self) {
        self.begun.set(true);
    }

    /// It is settled. `is_whole`: all of it was told, and recorded.
    pub(crate) fn note(&self, record: &Settle<&str>, is_whole: bool) {
        self.told.set(true);
        self.charged.set(record.charged.0);
        if record.outcome == Outcome::Completed && record.status == 200 && is_whole {
            *self.good.borrow_mut() = Some(Good {
                generation: String::from_utf8_lossy(&record.generation.text()).into_owned(),
                model: record.model.to_owned(),
                provider: record.provider.to_owned(),
                finish: record.finish.to_owned(),
                native_finish: record.native_finish.to_owned(),
                charged: record.charged.0,
            });
        }
    }

    /// Whether nobody has paid anything for it, and nobody will.
    pub(super) fn was_free(&self) -> bool {
        !self.begun.get() || self.told.get() && self.charged.get() == 0
    }

    pub(super) fn take_good(&self) -> Option<Good> {
        self.good.take()
    }
}
