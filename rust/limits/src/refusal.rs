//! Why something was not taken, and when it can be.

/// A refusal by a limit. Ordered by how long it lasts: the longest of several is what they come to together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// No time can be told: it fits when somebody gives a place back, or when a grant comes.
    UntilGiven,
    /// It fits after so many nanoseconds and not before, if nobody else takes anything meanwhile. [`u64::MAX`]: that long or longer.
    After {
        /// Counted from the `now` of the call.
        retry_after_ns: u64,
    },
    /// It never fits: it is more than the whole limit, or a total is used up.
    Never,
}

impl Refusal {
    /// For how long to wait at least; `None` where no time is known or waiting does not help.
    pub const fn retry_after_ns(self) -> Option<u64> {
        match self {
            Refusal::After { retry_after_ns } => Some(retry_after_ns),
            Refusal::UntilGiven | Refusal::Never => None,
        }
    }

    /// The same, said so much later.
    pub(crate) const fn sooner(self, passed_ns: u64) -> Refusal {
        match self {
            Refusal::After { retry_after_ns } => Refusal::After { retry_after_ns: retry_after_ns.saturating_sub(passed_ns) },
            refusal => refusal,
        }
    }
}
