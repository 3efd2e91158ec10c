//! How an attempt ended, and what follows from it: whose fault, what is counted, what cools down, where to go next. One table.

use fairlead_ir::{ErrorKind, Fault};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A whole reply, or one the caller's own limit ended.
    Success,
    /// The caller went away; nothing is known about the provider.
    Cancelled,
    /// The provider refused the request as the caller wrote it: 400, 405, 409, 413, 422 and the like.
    Rejected,
    /// The prompt is too long for this model.
    ContextOverflow,
    /// The model or a filter before it will not answer this.
    Refused,
    /// 401: the provider does not know our key.
    Unauthorized,
    /// 402: our account there is empty.
    Unpaid,
    /// 403: our key may not do this.
    Forbidden,
    /// 404: the provider does not know the model.
    UnknownModel,
    /// 429.
    RateLimited,
    /// 503, 529: it says that it is overloaded.
    Overloaded,
    /// The model is being loaded: a local server, or one that sleeps.
    Loading,
    /// Any other 5xx.
    Unavailable,
    /// Nothing was sent: name, connection or handshake failed.
    Unreachable,
    /// 408, 504, 524, or silence for too long before the first content.
    TimedOut,
    /// Garbage, an error in the stream, an empty reply or a cut one, before the first content.
    Broken,
    /// The same after content went out: nothing can be tried again.
    BrokenLate,
}

/// What the uptime counts. OpenRouter's definition: 400, 403, 413 and 429 are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uptime {
    /// For it.
    Good,
    /// Against it.
    Bad,
    /// Not at all.
    Excluded,
}

/// What it means to the endpoint's breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// It works.
    Success,
    /// It answers, so it is up; its share of successes does not change.
    Alive,
    /// It does not work.
    Failure,
    /// It will not work until somebody changes something: open at once.
    Trip,
    /// Nothing.
    Silent,
}

/// What is not used for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cools {
    /// Nothing beside what the breaker does.
    Nothing,
    /// This key at this endpoint: limits are often a model's own.
    Lane,
    /// This key at the whole provider.
    Key,
}

/// Where to go next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nowhere: the caller gets this answer.
    Never,
    /// Another key at the same endpoint, else the next endpoint.
    NextKey,
    /// The next endpoint.
    NextEndpoint,
    /// An endpoint of another model.
    NextModel,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whose fault.
    pub fault: Fault,
    /// What the uptime counts.
    pub uptime: Uptime,
    /// What the breaker makes of it.
    pub circuit: Circuit,
    /// What cools down.
    pub cools: Cools,
    /// Where to go next.
    pub retry: Retry,
}

impl Class {
    /// Every class, in the table's order.
    pub const ALL: [Class; 17] = [
        Class::Success,
        Class::Cancelled,
        Class::Rejected,
        Class::ContextOverflow,
        Class::Refused,
        Class::Unauthorized,
        Class::Unpaid,
        Class::Forbidden,
        Class::UnknownModel,
        Class::RateLimited,
        Class::Overloaded,
        Class::Loading,
        Class::Unavailable,
        Class::Unreachable,
        Class::TimedOut,
        Class::Broken,
        Class::BrokenLate,
    ];

    /// The table.
    #[rustfmt::skip]
    pub const fn verdict(self) -> Verdict {
        use Circuit::{Alive, Failure, Silent, Trip};
        use Cools::{Key, Lane, Nothing};
        use Fault::{Caller, Operator, Provider};
        use Retry::{Never, NextEndpoint, NextKey, NextModel};
        use Uptime::{Bad, Excluded, Good};
        match self {
            Class::Success =>         of(Caller,   Good,     Circuit::Success, Nothing, Never),
            Class::Cancelled =>       of(Caller,   Excluded, Silent,           Nothing, Never),
            Class::Rejected =>        of(Caller,   Excluded, Alive,            Nothing, Never),
            Class::ContextOverflow => of(Caller,   Excluded, Alive,            Nothing, NextModel),
            Class::Refused =>         of(Caller,   Excluded, Alive,            Nothing, NextModel),
            Class::Unauthorized =>    of(Operator, Bad,      Silent,           Key,     NextKey),
            Class::Unpaid =>          of(Operator, Bad,      Silent,           Key,     NextKey),
            Class::Forbidden =>       of(Operator, Excluded, Silent,           Lane,    NextKey),
            Class::UnknownModel =>    of(Operator, Bad,      Trip,             Nothing, NextEndpoint),
            Class::RateLimited =>     of(Provider, Excluded, Silent,           Lane,    NextKey),
            Class::Overloaded =>      of(Provider, Bad,      Failure,          Nothing, NextEndpoint),
            Class::Loading =>         of(Provider, Excluded, Silent,           Lane,    NextEndpoint),
            Class::Unavailable =>     of(Provider, Bad,      Failure,          Nothing, NextEndpoint),
            Class::Unreachable =>     of(Provider, Bad,      Failure,          Nothing, NextEndpoint),
            Class::TimedOut =>        of(Provider, Bad,      Failure,          Nothing, NextEndpoint),
            Class::Broken =>          of(Provider, Bad,      Failure,          Nothing, NextEndpoint),
            Class::BrokenLate =>      of(Provider, Bad,      Failure,          Nothing, Never),
        }
    }

    /// What a provider's status means where its body says nothing more exact ([`Class::ContextOverflow`], [`Class::Refused`],
    /// [`Class::Loading`]).
    pub const fn of_status(status: u16) -> Class {
        match status {
            200..=299 => Class::Success,
            401 => Class::Unauthorized,
            402 => Class::Unpaid,
            403 => Class::Forbidden,
            404 => Class::UnknownModel,
            408 | 504 | 524 => Class::TimedOut,
            429 => Class::RateLimited,
            503 | 529 => Class::Overloaded,
            400..=499 => Class::Rejected,
            _ => Class::Unavailable,
        }
    }

    /// What a kind of error means where no status is at hand: an error in a stream, or one of our own making before the first content.
    pub const fn of_kind(kind: ErrorKind) -> Class {
        match kind {
            ErrorKind::ProviderUnavailable => Class::Broken,
            ErrorKind::ProviderOverloaded => Class::Overloaded,
            ErrorKind::ProviderRateLimited => Class::RateLimited,
            ErrorKind::ProviderTimeout => Class::TimedOut,
            ErrorKind::ProviderCredential => Class::Unauthorized,
            // The rest is between the caller and us.
            _ => Class::Rejected,
        }
    }

    /// A short name for records.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Success => "success",
            Class::Cancelled => "cancelled",
            Class::Rejected => "rejected",
            Class::ContextOverflow => "context_overflow",
            Class::Refused => "refused",
            Class::Unauthorized => "unauthorized",
            Class::Unpaid => "unpaid",
            Class::Forbidden => "forbidden",
            Class::UnknownModel => "unknown_model",
            Class::RateLimited => "rate_limited",
            Class::Overloaded => "overloaded",
            Class::Loading => "loading",
            Class::Unavailable => "unavailable",
            Class::Unreachable => "unreachable",
            Class::TimedOut => "timed_out",
            Class::Broken => "broken",
            Class::BrokenLate => "broken_late",
        }
    }
}

const fn of(fault: Fault, uptime: Uptime, circuit: Circuit, cools: Cools, retry: Retry) -> Verdict {
    Verdict { fault, uptime, circuit, cools, retry }
}

/// What an attempt told about its endpoint. What is not known is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub class: Class,
    /// When the provider wants to be asked again ([`crate::health::retry_after_ms`]).
    pub retry_after_ms: Option<u64>,
    /// To the first content.
    pub first_token_ms: Option<u32>,
    /// From the request sent to the end.
    pub total_ms: Option<u32>,
    /// What it gave.
    pub completion_tokens: u32,
    /// Where tools were on offer: whether every call was well-formed, of a known name and by its schema.
    pub tools: Option<bool>,
}

impl Outcome {
    /// An outcome of which only its class is known.
    pub const fn of(class: Class) -> Outcome {
        Outcome { class, retry_after_ms: None, first_token_ms: None, total_ms: None, completion_tokens: 0, tools: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_against_uptime_is_openrouters_list() {
        let check = |status, uptime| assert_eq!(Class::of_status(status).verdict().uptime, uptime, "{status}");
        for status in [400, 403, 413, 429] {
            check(status, Uptime::Excluded);
        }
        for status in [401, 402, 404, 408, 500, 502, 503, 504, 524, 529] {
            check(status, Uptime::Bad);
        }
        check(200, Uptime::Good);
    }

    #[test]
    fn advice_agrees_with_whose_fault_it_is() {
        for class in Class::ALL {
            let Verdict { fault, circuit, retry, .. } = class.verdict();
            if fault == Fault::Caller {
                assert!(matches!(retry, Retry::Never | Retry::NextModel), "{class:?}");
                assert!(!matches!(circuit, Circuit::Failure | Circuit::Trip), "{class:?}");
            } else {
                assert!(retry != Retry::Never || class == Class::BrokenLate, "{class:?}");
            }
        }
        let mut names = Class::ALL.map(Class::name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Class::ALL.len());
    }

    #[test]
    fn statuses_and_kinds_agree_on_whose_fault_it_is() {
        for status in (400..=404).chain([408, 413, 422, 429, 500, 502, 503, 504, 524, 529]) {
            let fault = Class::of_status(status).verdict().fault;
            assert_eq!(fault, ErrorKind::from_provider_status(status).row().fault, "{status}");
        }
        for kind in ErrorKind::ALL.into_iter().filter(|kind| kind.row().fault == Fault::Provider) {
            assert_eq!(Class::of_kind(kind).verdict().fault, Fault::Provider, "{kind:?}");
        }
    }
}
