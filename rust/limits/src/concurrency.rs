//! How many at the same time.

use std::num::NonZeroU32;

use crate::refusal::Refusal;

/// Places, of which so many are held. Plain numbers: who takes a place keeps a guard of its own that gives it back exactly once.
///
/// It is not kept over a restart, which nobody survives that held a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    limit: NonZeroU32,
    held: u32,
}

impl Concurrency {
    /// So many places, all free.
    pub const fn new(limit: NonZeroU32) -> Concurrency {
        Concurrency { limit, held: 0 }
    }

    /// Takes a place.
    pub fn acquire(&mut self) -> Result<(), Refusal> {
        self.peek()?;
        self.hold();
        Ok(())
    }

    /// What [`Concurrency::acquire`] would say.
    pub const fn peek(&self) -> Result<(), Refusal> {
        if self.held < self.limit.get() { Ok(()) } else { Err(Refusal::UntilGiven) }
    }

    /// Without asking.
    pub(crate) const fn hold(&mut self) {
        self.held = self.held.saturating_add(1);
    }

    /// Gives a place back. False where none is held: the caller has given one back twice, and nothing changes.
    #[must_use = "false is a mistake of the caller's"]
    pub const fn release(&mut self) -> bool {
        let held = self.held > 0;
        self.held = self.held.saturating_sub(1);
        held
    }

    /// Places that are held; more than the limit after it was lowered.
    pub const fn held(&self) -> u32 {
        self.held
    }

    /// Places that are free.
    pub const fn remaining(&self) -> u32 {
        self.limit.get().saturating_sub(self.held)
    }

    /// How many there are.
    pub const fn limit(&self) -> NonZeroU32 {
        self.limit
    }

    /// Another number of places. Those that are held stay held; where they are too many, nobody gets one until enough came back.
    pub const fn set_limit(&mut self, limit: NonZeroU32) {
        self.limit = limit;
    }
}
