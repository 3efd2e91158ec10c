//! Errors as AWS writes them: the class in the header `x-amzn-ErrorType` or, in a stream, as the exception's type; the body a message.

use fairlead_ir::ErrorKind;

use crate::error::{Details, ProviderError, read_or, with_provider_text};
use crate::write::Object;

/// An exception of a stream, its type and its payload.
pub(crate) fn read_exception(class: &[u8], payload: &[u8]) -> ProviderError {
    read(None, &String::from_utf8_lossy(class), payload, "the provider reported an error without a message")
}

/// An error response with its status. `class` is the value of `x-amzn-ErrorType`; without it the body may name one (`__type`).
pub(crate) fn read_response(status: u16, class: Option<&str>, body: &[u8]) -> ProviderError {
    let in_body = || serde_json::from_slice::<serde_json::Value>(body).ok()?.get("__type")?.as_str().map(str::to_owned);
    let class = class.map(str::to_owned).or_else(in_body).unwrap_or_default();
    read(Some(status), &class, body, &format!("the provider answered {status} without a message"))
}

fn read(status: Option<u16>, class: &str, body: &[u8], otherwise: &str) -> ProviderError {
    let class = bare(class);
    let read = read_or(body, otherwise);
    let by_status = status.map(ErrorKind::from_provider_status);
    // These are about our account, whatever class a host puts beside them.
    let kind = by_status.filter(|_| matches!(status, Some(401..=403))).or_else(|| kind_of(class, &read.message));
    let kind = kind.or_else(|| by_model(class, body)).or(by_status).unwrap_or(read.kind);
    let code = if class.is_empty() { read.code } else { class.to_owned() };
    // AWS's words would mean nothing to the SDKs of other dialects.
    ProviderError { kind, told: read.told, message: read.message, code, own: crate::error::OwnWords::default() }
}

/// The class without the namespace before it and the address behind it: letters and digits.
fn bare(class: &str) -> &str {
    let class = class.split(':').next().unwrap_or_default();
    let class = class.rsplit('#').next().unwrap_or_default().trim();
    let end = class.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(class.len());
    &class[..end]
}

/// What a class means. Streams begin it with a small letter.
fn kind_of(class: &str, message: &str) -> Option<ErrorKind> {
    let is = |known: &str| class.eq_ignore_ascii_case(known);
    let any = |known: &[&str]| known.iter().any(|known| is(known));
    Some(match () {
        () if any(&["ThrottlingException", "TooManyRequestsException", "ServiceQuotaExceededException"]) => ErrorKind::ProviderRateLimited,
        () if any(&["ServiceUnavailableException", "ServiceUnavailable", "ModelNotReadyException"]) => ErrorKind::ProviderOverloaded,
        () if is("ModelTimeoutException") => ErrorKind::ProviderTimeout,
        () if any(&["InternalServerException", "InternalFailure", "InternalServerError"]) => ErrorKind::ProviderUnavailable,
        // The name of the model is ours, and so is how it may be called.
        () if is("ValidationException") && is_about_model(message) => ErrorKind::ProviderCredential,
        () if is("ValidationException") => ErrorKind::ProviderRejected,
        () if any(&CREDENTIAL_CLASSES) => ErrorKind::ProviderCredential,
        () => return None,
    })
}

const CREDENTIAL_CLASSES: [&str; 9] = [
    "AccessDeniedException",
    "ResourceNotFoundException",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "IncompleteSignatureException",
    "MissingAuthenticationTokenException",
    "ExpiredTokenException",
    "ExpiredToken",
    "InvalidClientTokenId",
];

fn is_about_model(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["model identifier is invalid", "on-demand throughput", "end of its life"].iter().any(|words| message.contains(words))
}

/// The model's own failure, told by its status. It is behind AWS: its 401 is not about our key.
fn by_model(class: &str, body: &[u8]) -> Option<ErrorKind> {
    let is = |known: &str| class.eq_ignore_ascii_case(known);
    if !is("ModelErrorException") && !is("ModelStreamErrorException") {
        return None;
    }
    let value = serde_json::from_slice::<serde_json::Value>(body).unwrap_or_default();
    let status = value.get("originalStatusCode").and_then(serde_json::Value::as_u64).and_then(|status| u16::try_from(status).ok());
    Some(match status {
        Some(400 | 413 | 422) => ErrorKind::ProviderRejected,
        Some(status @ (408 | 429 | 500..)) => ErrorKind::from_provider_status(status),
        _ => ErrorKind::ProviderUnavailable,
    })
}

/// The class of a kind, as the header `x-amzn-ErrorType` has it.
pub(crate) const fn class(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest
        | ErrorKind::MethodNotAllowed
        | ErrorKind::PayloadTooLarge
        | ErrorKind::HeadersTooLarge
        | ErrorKind::ProviderRejected => "ValidationException",
        ErrorKind::Authentication => "UnrecognizedClientException",
        ErrorKind::PaymentRequired | ErrorKind::PermissionDenied => "AccessDeniedException",
        ErrorKind::NotFound | ErrorKind::ModelNotFound => "ResourceNotFoundException",
        ErrorKind::RequestTimeout | ErrorKind::ProviderTimeout => "ModelTimeoutException",
        ErrorKind::RateLimited | ErrorKind::ProviderRateLimited => "ThrottlingException",
        ErrorKind::ProviderOverloaded | ErrorKind::StoreUnavailable | ErrorKind::Draining => "ServiceUnavailableException",
        ErrorKind::Internal | ErrorKind::ProviderUnavailable | ErrorKind::ProviderCredential => "InternalServerException",
    }
}

/// The type of the exception that ends a stream: there are fewer of them than classes.
pub(crate) const fn exception(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest
        | ErrorKind::MethodNotAllowed
        | ErrorKind::PayloadTooLarge
        | ErrorKind::HeadersTooLarge
        | ErrorKind::ProviderRejected
        | ErrorKind::Authentication
        | ErrorKind::PaymentRequired
        | ErrorKind::PermissionDenied
        | ErrorKind::NotFound
        | ErrorKind::ModelNotFound => "validationException",
        ErrorKind::RateLimited | ErrorKind::ProviderRateLimited => "throttlingException",
        ErrorKind::ProviderOverloaded | ErrorKind::StoreUnavailable | ErrorKind::Draining => "serviceUnavailableException",
        ErrorKind::RequestTimeout | ErrorKind::ProviderTimeout | ErrorKind::ProviderUnavailable | ErrorKind::ProviderCredential => {
            "modelStreamErrorException"
        }
        ErrorKind::Internal => "internalServerException",
    }
}

/// Appends the body of an error response or of an exception. The class goes into a header: see [`class`] and [`exception`].
pub(crate) fn write_body(message: &str, details: &Details<'_>, out: &mut Vec<u8>) {
    let mut body = Object::open(out);
    body.text("message", &with_provider_text(message, details));
    body.close();
}

/// Appends the payload of the exception of `kind`.
pub(crate) fn write_exception(kind: ErrorKind, message: &str, details: &Details<'_>, out: &mut Vec<u8>) {
    let mut body = Object::open(out);
    body.text("message", &with_provider_text(message, details));
    if exception(kind) == "modelStreamErrorException" {
        body.number("originalStatusCode", u64::from(details.status.unwrap_or(kind.row().status)));
        body.optional_text("originalMessage", details.raw);
    }
    body.close();
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorKind as K;

    #[test]
    fn a_class_says_what_a_status_does_not() {
        let check = |status, class: Option<&str>, body: &str, kind, code: &str| {
            let read = read_response(status, class, body.as_bytes());
            assert_eq!((read.kind, read.code.as_str()), (kind, code), "{status} {class:?} {body}");
        };
        let body = r#"{"message":"m"}"#;
        check(429, Some("ThrottlingException"), body, K::ProviderRateLimited, "ThrottlingException");
        check(429, Some("ModelNotReadyException"), body, K::ProviderOverloaded, "ModelNotReadyException");
        check(400, Some("ServiceQuotaExceededException"), body, K::ProviderRateLimited, "ServiceQuotaExceededException");
        check(400, Some("ValidationException:http://internal.amazon.com/coral/x/"), body, K::ProviderRejected, "ValidationException");
        check(
            400,
            Some("ValidationException"),
            r#"{"message":"The provided model identifier is invalid."}"#,
            K::ProviderCredential,
            "ValidationException",
        );
        check(
            403,
            Some("com.amazon.coral.service#UnrecognizedClientException"),
            body,
            K::ProviderCredential,
            "UnrecognizedClientException",
        );
        check(403, Some("AccessDeniedException"), body, K::ProviderCredential, "AccessDeniedException");
        for status in [401, 402, 403] {
            check(status, Some("ValidationException"), body, K::ProviderCredential, "ValidationException");
        }
        check(402, Some("ServiceQuotaExceededException"), body, K::ProviderCredential, "ServiceQuotaExceededException");
        check(404, Some("ResourceNotFoundException"), body, K::ProviderCredential, "ResourceNotFoundException");
        check(408, Some("ModelTimeoutException"), body, K::ProviderTimeout, "ModelTimeoutException");
        check(500, Some("InternalServerException"), body, K::ProviderUnavailable, "InternalServerException");
        check(503, Some("ServiceUnavailableException"), body, K::ProviderOverloaded, "ServiceUnavailableException");
        check(424, Some("ModelErrorException"), body, K::ProviderUnavailable, "ModelErrorException");
        check(
            424,
            Some("ModelErrorException"),
            r#"{"message":"m","originalStatusCode":429}"#,
            K::ProviderRateLimited,
            "ModelErrorException",
        );
        check(
            424,
            Some("ModelErrorException"),
            r#"{"message":"m","originalStatusCode":401}"#,
            K::ProviderUnavailable,
            "ModelErrorException",
        );
        check(424, Some("ModelErrorException"), r#"{"message":"m","originalStatusCode":400}"#, K::ProviderRejected, "ModelErrorException");
        check(403, None, r#"{"__type":"x#ExpiredTokenException","message":"m"}"#, K::ProviderCredential, "ExpiredTokenException");
        check(429, Some(" ThrottlingException\u{1b}[31m"), body, K::ProviderRateLimited, "ThrottlingException");
        check(429, Some("BrandNewException"), body, K::ProviderRateLimited, "BrandNewException");
        check(502, None, "<html><title>Bad Gateway</title>", K::ProviderUnavailable, "");
        assert_eq!(read_response(500, None, b"").message, "the provider answered 500 without a message");
        assert_eq!(read_response(400, Some("ValidationException"), br#"{"Message":"M"}"#).message, "M");
    }

    #[test]
    fn exceptions_of_streams_are_read() {
        let check = |class: &str, payload: &str, kind, message: &str| {
            let read = read_exception(class.as_bytes(), payload.as_bytes());
            assert_eq!((read.kind, read.message.as_str(), read.code.as_str()), (kind, message, class), "{class}");
        };
        check("throttlingException", r#"{"message":"slow"}"#, K::ProviderRateLimited, "slow");
        check("validationException", r#"{"message":"no"}"#, K::ProviderRejected, "no");
        check("modelStreamErrorException", r#"{"message":"m","originalStatusCode":529}"#, K::ProviderOverloaded, "m");
        check("internalServerException", "{}", K::ProviderUnavailable, "the provider reported an error without a message");
        check("brandNewException", r#"{"message":"m"}"#, K::ProviderUnavailable, "m");
    }

    #[test]
    fn every_kind_is_written_as_it_is_read() {
        for kind in ErrorKind::ALL {
            let mut body = Vec::new();
            write_body("m", &Details::default(), &mut body);
            assert_eq!(body, br#"{"message":"m"}"#);
            let again = read_response(kind.row().status, Some(class(kind)), &body);
            assert_eq!(again.kind.row().retry, class_is_retried(class(kind)), "{kind:?}");
            let mut payload = Vec::new();
            write_exception(kind, "m", &Details::default(), &mut payload);
            assert_eq!(read_exception(exception(kind).as_bytes(), &payload).message, "m");
        }
        let details = Details { raw: Some("oops"), provider_name: Some("Lab"), ..Details::default() };
        let mut payload = Vec::new();
        write_exception(ErrorKind::ProviderTimeout, "late", &details, &mut payload);
        let expected = r#"{"message":"late (Lab said: oops)","originalStatusCode":504,"originalMessage":"oops"}"#;
        assert_eq!(String::from_utf8_lossy(&payload), expected);
    }

    /// What AWS's own clients retry.
    fn class_is_retried(class: &str) -> bool {
        ["ThrottlingException", "ServiceUnavailableException", "ModelTimeoutException", "InternalServerException"].contains(&class)
    }
}
