//! The error table: every way a call can fail, with its status, each dialect's word for it, whose fault it is and whether a retry helps.
//!
//! Status codes and OpenRouter's words follow `decisions.md` ("Statuses") and OpenRouter's published list; Anthropic's and OpenAI's
//! words are what their SDKs map to exception classes.

/// Whose fault a failure is: decides what the caller is told, who pays and which endpoint cools down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The caller must change something.
    Caller,
    /// The provider failed; another one may succeed.
    Provider,
    /// Our configuration, credential or storage.
    Operator,
}

/// Where the same call may fare better, as long as nothing of a reply has reached the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Elsewhere {
    /// Nowhere: it is the call that is wrong, or we are.
    Nowhere,
    /// At another model: this one cannot, wherever it is served.
    Model,
    /// At another endpoint.
    Endpoint,
    /// At the same endpoint with another key of ours, or at another endpoint.
    Key,
}

/// A kind of failure. One row of [`ErrorKind::row`] each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is not understood or not allowed in this form.
    InvalidRequest,
    /// No key, an unknown key or a disabled key.
    Authentication,
    /// No credit, or a key's or budget's limit is used up.
    PaymentRequired,
    /// The key may not do this (model not allowed, policy).
    PermissionDenied,
    /// Unknown path.
    NotFound,
    /// Unknown model, or nothing serves it under the caller's constraints.
    ModelNotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The caller sent its request too slowly.
    RequestTimeout,
    /// The body is larger than the limit.
    PayloadTooLarge,
    /// More or longer headers than the limit.
    HeadersTooLarge,
    /// A rate or concurrency limit of ours.
    RateLimited,
    /// Ours: something broke that should not.
    Internal,
    /// The provider failed or sent what cannot be used.
    ProviderUnavailable,
    /// The provider says it is overloaded.
    ProviderOverloaded,
    /// The provider's own rate limit.
    ProviderRateLimited,
    /// The provider did not answer in time.
    ProviderTimeout,
    /// The provider refused the request as the caller wrote it.
    ProviderRejected,
    /// The provider refused *our* credential, credit or model name.
    ProviderCredential,
    /// Our store or journal cannot take paid work.
    StoreUnavailable,
    /// The server is stopping.
    Draining,
}

/// One row of the error table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorRow {
    /// HTTP status, also `error.code` on OpenRouter's routes.
    pub status: u16,
    /// OpenRouter's `metadata.error_type`.
    pub openrouter: &'static str,
    /// OpenAI's `error.type`.
    pub openai: &'static str,
    /// Anthropic's `error.type`.
    pub anthropic: &'static str,
    /// Whose fault.
    pub fault: Fault,
    /// Whether the same call may succeed later or elsewhere. False becomes `x-should-retry: false`.
    pub retry: bool,
    /// Where it may, at once.
    pub elsewhere: Elsewhere,
}

impl ErrorKind {
    /// Every kind, for tests and documentation.
    pub const ALL: [ErrorKind; 20] = [
        ErrorKind::InvalidRequest,
        ErrorKind::Authentication,
        ErrorKind::PaymentRequired,
        ErrorKind::PermissionDenied,
        ErrorKind::NotFound,
        ErrorKind::ModelNotFound,
        ErrorKind::MethodNotAllowed,
        ErrorKind::RequestTimeout,
        ErrorKind::PayloadTooLarge,
        ErrorKind::HeadersTooLarge,
        ErrorKind::RateLimited,
        ErrorKind::Internal,
        ErrorKind::ProviderUnavailable,
        ErrorKind::ProviderOverloaded,
        ErrorKind::ProviderRateLimited,
        ErrorKind::ProviderTimeout,
        ErrorKind::ProviderRejected,
        ErrorKind::ProviderCredential,
        ErrorKind::StoreUnavailable,
        ErrorKind::Draining,
    ];

    /// The table.
    #[rustfmt::skip]
    pub const fn row(self) -> ErrorRow {
        use Elsewhere::{Endpoint, Key, Nowhere};
        use Fault::{Caller, Operator, Provider};
        match self {
            ErrorKind::InvalidRequest =>      of(400, "invalid_request",      "invalid_request_error", "invalid_request_error", Caller,   false, Nowhere),
            ErrorKind::Authentication =>      of(401, "authentication",       "invalid_request_error", "authentication_error",  Caller,   false, Nowhere),
            ErrorKind::PaymentRequired =>     of(402, "payment_required",     "insufficient_quota",    "billing_error",         Caller,   false, Nowhere),
            ErrorKind::PermissionDenied =>    of(403, "permission_denied",    "invalid_request_error", "permission_error",      Caller,   false, Nowhere),
            ErrorKind::NotFound =>            of(404, "not_found",            "invalid_request_error", "not_found_error",       Caller,   false, Nowhere),
            ErrorKind::ModelNotFound =>       of(404, "not_found",            "invalid_request_error", "not_found_error",       Caller,   false, Nowhere),
            ErrorKind::MethodNotAllowed =>    of(405, "invalid_request",      "invalid_request_error", "invalid_request_error", Caller,   false, Nowhere),
            ErrorKind::RequestTimeout =>      of(408, "timeout",              "invalid_request_error", "timeout_error",         Caller,   true, Nowhere),
            ErrorKind::PayloadTooLarge =>     of(413, "payload_too_large",    "invalid_request_error", "request_too_large",     Caller,   false, Nowhere),
            ErrorKind::HeadersTooLarge =>     of(431, "invalid_request",      "invalid_request_error", "invalid_request_error", Caller,   false, Nowhere),
            ErrorKind::RateLimited =>         of(429, "rate_limit_exceeded",  "rate_limit_error",      "rate_limit_error",      Caller,   true, Nowhere),
            ErrorKind::Internal =>            of(500, "server",               "server_error",          "api_error",             Operator, false, Nowhere),
            ErrorKind::ProviderUnavailable => of(502, "provider_unavailable", "server_error",          "api_error",             Provider, true, Endpoint),
            ErrorKind::ProviderOverloaded =>  of(503, "provider_overloaded",  "server_error",          "overloaded_error",      Provider, true, Endpoint),
            ErrorKind::ProviderRateLimited => of(429, "rate_limit_exceeded",  "rate_limit_error",      "rate_limit_error",      Provider, true, Endpoint),
            ErrorKind::ProviderTimeout =>     of(504, "timeout",              "server_error",          "timeout_error",         Provider, true, Endpoint),
            ErrorKind::ProviderRejected =>    of(400, "invalid_request",      "invalid_request_error", "invalid_request_error", Caller,   false, Nowhere),
            ErrorKind::ProviderCredential =>  of(502, "provider_unavailable", "server_error",          "api_error",             Operator, false, Key),
            ErrorKind::StoreUnavailable =>    of(503, "server",               "server_error",          "overloaded_error",      Operator, true, Nowhere),
            ErrorKind::Draining =>            of(503, "server",               "server_error",          "overloaded_error",      Operator, true, Nowhere),
        }
    }

    /// What a provider's status means to us. An upstream 401, 402 or 403 is about *our* key, a 404 about *our* model name.
    pub const fn from_provider_status(status: u16) -> ErrorKind {
        match status {
            401..=404 => ErrorKind::ProviderCredential,
            408 | 504 | 524 => ErrorKind::ProviderTimeout,
            429 => ErrorKind::ProviderRateLimited,
            503 | 529 => ErrorKind::ProviderOverloaded,
            400..=499 => ErrorKind::ProviderRejected,
            _ => ErrorKind::ProviderUnavailable,
        }
    }
}

const fn of(
    status: u16,
    openrouter: &'static str,
    openai: &'static str,
    anthropic: &'static str,
    fault: Fault,
    retry: bool,
    elsewhere: Elsewhere,
) -> ErrorRow {
    ErrorRow { status, openrouter, openai, anthropic, fault, retry, elsewhere }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_fault_is_a_4xx_and_ours_is_a_5xx() {
        for kind in ErrorKind::ALL {
            let row = kind.row();
            match row.fault {
                Fault::Caller => assert!((400..500).contains(&row.status), "{kind:?}"),
                Fault::Operator => assert!(row.status >= 500, "{kind:?}"),
                Fault::Provider => assert!(row.status >= 500 || row.status == 429, "{kind:?}"),
            }
        }
    }

    #[test]
    fn only_what_a_provider_did_is_tried_elsewhere() {
        for kind in ErrorKind::ALL {
            let row = kind.row();
            let of_provider = row.fault == Fault::Provider || kind == ErrorKind::ProviderCredential;
            assert_eq!(row.elsewhere != Elsewhere::Nowhere, of_provider, "{kind:?}");
        }
    }

    #[test]
    fn a_provider_never_makes_a_401_for_the_caller() {
        for status in 300..=599 {
            assert_ne!(ErrorKind::from_provider_status(status).row().status, 401);
        }
    }
}
