//! How a Gemini client reads errors: Google's shape on both manners.

use fairlead_ir::ErrorKind;

use crate::error::{Details, with_provider_text};
use crate::write::Object;

/// Appends the body of an error response.
pub(crate) fn write_body(kind: ErrorKind, message: &str, details: &Details<'_>, out: &mut Vec<u8>) {
    let row = kind.row();
    let message = with_provider_text(message, details);
    let mut body = Object::open(out);
    body.object("error", |error| {
        error.number("code", u64::from(details.status.unwrap_or(row.status)));
        error.text("message", &message).text("status", status(kind));
        error.array("details", |list| {
            list.object(|info| write_info(row.openrouter, details, info));
            if let Some(param) = details.param {
                list.object(|request| write_violation(param, &message, request));
            }
        });
    });
    body.close();
}

/// Appends the event that ends a stream with an error. Nothing follows it.
pub(crate) fn write_event(kind: ErrorKind, message: &str, details: &Details<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    write_body(kind, message, details, out);
    out.extend_from_slice(b"\n\n");
}

/// What of an error has no place of its own in Google's shape.
fn write_info(reason: &str, details: &Details<'_>, info: &mut Object<'_>) {
    info.text("@type", "type.googleapis.com/google.rpc.ErrorInfo").text("reason", &reason.to_ascii_uppercase()).text("domain", "fairlead");
    let known = [("provider", details.provider_name), ("provider_code", details.provider_code), ("generation_id", details.generation_id)];
    if known.iter().any(|(_, value)| value.is_some()) {
        info.object("metadata", |metadata| {
            for (key, value) in known {
                metadata.optional_text(key, value);
            }
        });
    }
}

fn write_violation(param: &str, message: &str, request: &mut Object<'_>) {
    request.text("@type", "type.googleapis.com/google.rpc.BadRequest").array("fieldViolations", |list| {
        list.object(|violation| {
            violation.text("field", param).text("description", message);
        });
    });
}

/// Google's word for a kind (`google.rpc.Code`).
const fn status(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest | ErrorKind::PayloadTooLarge | ErrorKind::HeadersTooLarge | ErrorKind::ProviderRejected => {
            "INVALID_ARGUMENT"
        }
        ErrorKind::Authentication => "UNAUTHENTICATED",
        ErrorKind::PaymentRequired => "FAILED_PRECONDITION",
        ErrorKind::PermissionDenied => "PERMISSION_DENIED",
        ErrorKind::NotFound | ErrorKind::ModelNotFound => "NOT_FOUND",
        ErrorKind::MethodNotAllowed => "UNIMPLEMENTED",
        ErrorKind::RequestTimeout | ErrorKind::ProviderTimeout => "DEADLINE_EXCEEDED",
        ErrorKind::RateLimited | ErrorKind::ProviderRateLimited => "RESOURCE_EXHAUSTED",
        ErrorKind::Internal => "INTERNAL",
        ErrorKind::ProviderUnavailable
        | ErrorKind::ProviderOverloaded
        | ErrorKind::ProviderCredential
        | ErrorKind::StoreUnavailable
        | ErrorKind::Draining => "UNAVAILABLE",
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn bodies_and_events() {
        let details = Details { generation_id: Some("gen-1"), param: Some("contents"), ..Details::default() };
        let mut out = Vec::new();
        write_body(ErrorKind::InvalidRequest, "no", &details, &mut out);
        let body = concat!(
            r#"{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT","details":["#,
            r#"{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"INVALID_REQUEST","domain":"fairlead","metadata":{"generation_id":"gen-1"}},"#,
            r#"{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"contents","description":"no"}]}]}}"#
        );
        assert_eq!(std::str::from_utf8(&out).unwrap(), body);
        out.clear();
        write_event(ErrorKind::ProviderOverloaded, "busy", &Details { status: Some(529), ..Details::default() }, &mut out);
        let event = concat!(
            r#"data: {"error":{"code":529,"message":"busy","status":"UNAVAILABLE","details":["#,
            r#"{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"PROVIDER_OVERLOADED","domain":"fairlead"}]}}"#,
            "\n\n"
        );
        assert_eq!(std::str::from_utf8(&out).unwrap(), event);
    }
}
