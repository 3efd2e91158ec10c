//! What a bucket is filled with, and how fast.

use std::fmt;
use std::num::NonZeroU32;

/// Nanoseconds of a minute, the period of `rpm` and `tpm`.
pub const MINUTE_NS: u64 = 60_000_000_000;

/// A limit: `units` per `period_ns`, refilled continuously, and at most `burst` at once.
///
/// Within these bounds nothing that a bucket computes can overflow: every product of two of them and a time fits 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    units: u64,
    period_ns: u64,
    burst: u64,
}

impl Rate {
    /// The most units per period, and the largest burst: what 10¹² per minute come to in a year, and as much again.
    pub const MOST_UNITS: u64 = 1_000_000_000_000_000_000;
    /// The longest period: a leap year.
    pub const LONGEST_PERIOD_NS: u64 = 366 * 24 * 60 * MINUTE_NS;

    /// `units` per period; the burst is the limit.
    pub const fn new(units: u64, period_ns: u64) -> Result<Rate, InvalidRate> {
        if units == 0 || units > Rate::MOST_UNITS {
            return Err(InvalidRate::Units);
        }
        if period_ns == 0 || period_ns > Rate::LONGEST_PERIOD_NS {
            return Err(InvalidRate::Period);
        }
        Ok(Rate { units, period_ns, burst: units })
    }

    /// `units` per minute; the burst is the limit.
    pub const fn per_minute(units: u64) -> Result<Rate, InvalidRate> {
        Rate::new(units, MINUTE_NS)
    }

    /// So many requests per minute; the burst is the limit.
    pub const fn requests(per_minute: NonZeroU32) -> Rate {
        let units = per_minute.get() as u64;
        Rate { units, period_ns: MINUTE_NS, burst: units }
    }

    /// The same with another burst.
    pub const fn with_burst(self, burst: u64) -> Result<Rate, InvalidRate> {
        if burst == 0 || burst > Rate::MOST_UNITS {
            return Err(InvalidRate::Burst);
        }
        Ok(Rate { burst, ..self })
    }

    /// Units per period: the `X-RateLimit-Limit` of a reply.
    pub const fn units(&self) -> u64 {
        self.units
    }

    /// How long a period is.
    pub const fn period_ns(&self) -> u64 {
        self.period_ns
    }

    /// The most units that can be taken at once.
    pub const fn burst(&self) -> u64 {
        self.burst
    }
}

/// A rate that nothing could be limited by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidRate {
    /// Zero, or more than [`Rate::MOST_UNITS`].
    Units,
    /// Zero, or longer than [`Rate::LONGEST_PERIOD_NS`].
    Period,
    /// Zero, or more than [`Rate::MOST_UNITS`].
    Burst,
}

impl fmt::Display for InvalidRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidRate::Units => write!(f, "a rate is 1 to {} units per period", Rate::MOST_UNITS),
            InvalidRate::Period => write!(f, "a period is 1 to {} nanoseconds (366 days)", Rate::LONGEST_PERIOD_NS),
            InvalidRate::Burst => write!(f, "a burst is 1 to {} units", Rate::MOST_UNITS),
        }
    }
}

impl std::error::Error for InvalidRate {}
