//! From several limits or from none.

use crate::bucket::Bucket;
use crate::concurrency::Concurrency;
use crate::lease::Lease;
use crate::refusal::Refusal;
use crate::window::Window;

/// What is wanted of one limit.
#[derive(Debug)]
pub enum Claim<'a> {
    /// So many units of a rate.
    Rate(&'a mut Bucket, u64),
    /// So many units of a calendar window.
    Window(&'a mut Window, u64),
    /// So many units of what was granted.
    Lease(&'a mut Lease, u64),
    /// A place.
    Place(&'a mut Concurrency),
}

/// Nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which of the claims is refused the longest; the first of equals.
    pub claim: usize,
    /// For how long: all of them fit then.
    pub refusal: Refusal,
}

/// Takes everything or nothing. `now_ns` is Unix time, which windows need; without one of them it may be any clock's.
///
/// No claim can be made twice of one limit in one call: the borrow of it says so. All the limits must be held (locked) at once, by the caller.
pub fn take_all(claims: &mut [Claim<'_>], now_ns: u64) -> Result<(), Refused> {
    let mut longest: Option<Refused> = None;
    for (claim, wanted) in claims.iter_mut().enumerate() {
        if let Err(refusal) = wanted.fits(now_ns)
            && longest.is_none_or(|longest| refusal > longest.refusal)
        {
            longest = Some(Refused { claim, refusal });
        }
    }
    if let Some(refused) = longest {
        return Err(refused);
    }
    claims.iter_mut().for_each(Claim::spend);
    Ok(())
}

impl Claim<'_> {
    /// Brings the limit up to now and asks it.
    fn fits(&mut self, now_ns: u64) -> Result<(), Refusal> {
        let now_ms = now_ns / 1_000_000;
        match self {
            Claim::Rate(bucket, n) => {
                bucket.refill(now_ns);
                bucket.fits(*n, now_ns)
            }
            Claim::Window(window, n) => {
                window.turn(now_ms);
                // Windows begin with a millisecond that may have begun already.
                window.fits(*n, now_ms).map_err(|refusal| refusal.sooner(now_ns % 1_000_000))
            }
            Claim::Lease(lease, n) => {
                lease.expire(now_ns);
                lease.fits(*n)
            }
            Claim::Place(places) => places.peek(),
        }
    }

    /// What fitted a moment ago.
    fn spend(&mut self) {
        match self {
            Claim::Rate(bucket, n) => bucket.spend(*n),
            Claim::Window(window, n) => window.spend(*n),
            Claim::Lease(lease, n) => lease.spend(*n),
            Claim::Place(places) => places.hold(),
        }
    }
}
