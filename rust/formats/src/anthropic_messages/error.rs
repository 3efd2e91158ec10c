//! How a Messages client reads errors: Anthropic's shape on both manners; OpenRouter's adds `error_type`.

use fairlead_ir::{ErrorKind, Manner};

use crate::error::{Details, Previous, with_provider_text};
use crate::write::Object;

/// Appends the body of an error response.
pub(crate) fn write_body(manner: Manner, kind: ErrorKind, message: &str, details: &Details<'_>, out: &mut Vec<u8>) {
    let row = kind.row();
    let word = details.own.and_then(|own| own.kind.as_deref()).unwrap_or(row.anthropic);
    let mut body = Object::open(out);
    body.text("type", "error").object("error", |error| {
        error.text("type", word).text("message", &with_provider_text(message, details));
        if manner == Manner::Openrouter {
            error.text("error_type", row.openrouter);
            Previous::write(details.previous, error);
            if let Some(availability) = details.availability {
                availability.write(error);
            }
        }
        // By this word, not by the type, the SDKs know what they can recover from.
        if let Some(code) = details.own.and_then(|own| own.code.as_deref()) {
            error.object("details", |details| {
                details.text("error_code", code);
            });
        }
    });
    body.optional_text("request_id", details.generation_id);
    body.close();
}

/// Appends the event that ends a stream with an error. The event name is what the SDKs look at; nothing follows it.
pub(crate) fn write_event(manner: Manner, kind: ErrorKind, message: &str, details: &Details<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: error\ndata: ");
    write_body(manner, kind, message, details, out);
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::error::OwnWords;

    #[test]
    fn codes_are_details() {
        let own = OwnWords { code: Some("thread_not_found".to_owned()), ..OwnWords::default() };
        let mut out = Vec::new();
        let details = Details { own: Some(&own), ..Details::default() };
        write_body(Manner::Native, ErrorKind::ProviderRejected, "gone", &details, &mut out);
        let body =
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"gone","details":{"error_code":"thread_not_found"}}}"#;
        assert_eq!(std::str::from_utf8(&out).unwrap(), body);
    }

    #[test]
    fn bodies_and_events() {
        let details = Details { generation_id: Some("gen-1"), ..Details::default() };
        let mut out = Vec::new();
        write_body(Manner::Openrouter, ErrorKind::ProviderOverloaded, "Overloaded", &details, &mut out);
        let body = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded","error_type":"provider_overloaded"},"request_id":"gen-1"}"#;
        assert_eq!(std::str::from_utf8(&out).unwrap(), body);
        out.clear();
        let previous = [Previous { provider: "First", code: "timeout", status: 504 }];
        let details = Details { previous: &previous, ..Details::default() };
        write_event(Manner::Openrouter, ErrorKind::ProviderTimeout, "late", &details, &mut out);
        let event = concat!(
            "event: error\n",
            r#"data: {"type":"error","error":{"type":"timeout_error","message":"late","error_type":"timeout","#,
            r#""previous_errors":[{"provider":"First","code":"timeout","status":504}]}}"#,
            "\n\n"
        );
        assert_eq!(std::str::from_utf8(&out).unwrap(), event);
        out.clear();
        write_body(Manner::Native, ErrorKind::ProviderTimeout, "late", &details, &mut out);
        assert_eq!(std::str::from_utf8(&out).unwrap(), r#"{"type":"error","error":{"type":"timeout_error","message":"late"}}"#);
        out.clear();
        write_event(Manner::Native, ErrorKind::ProviderTimeout, "late", &Details::default(), &mut out);
        let event = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"timeout_error\",\"message\":\"late\"}}\n\n";
        assert_eq!(std::str::from_utf8(&out).unwrap(), event);
    }
}
