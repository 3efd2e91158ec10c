//! How a Responses client reads errors: OpenAI's shape on `/v1`, OpenRouter's on `/api/v1`, as in chat; inside a stream the event that
//! ends it.

use fairlead_ir::{ErrorKind, Manner};

use super::wire::envelope::{Envelope, Status};
use crate::error::{Details, Skeleton};
use crate::json::walk::write_string;
use crate::write::Object;

/// The status of a reply that failed. The message is the provider's, redacted.
pub(crate) fn failure<'a>(manner: Manner, kind: ErrorKind, message: &'a str, details: &Details<'a>) -> Status<'a> {
    // OpenAI's own words on its own route: clients look for `context_length_exceeded` and the like.
    let own = details.own.and_then(|own| own.code.as_deref()).filter(|_| manner == Manner::Native);
    let more = (manner == Manner::Openrouter).then_some((kind, *details));
    Status::Failed { code: own.unwrap_or(code(kind)), message, more }
}

/// The nearest of the few codes that strict clients know.
fn code(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::RateLimited | ErrorKind::ProviderRateLimited => "rate_limit_exceeded",
        ErrorKind::InvalidRequest | ErrorKind::ProviderRejected => "invalid_prompt",
        _ => "server_error",
    }
}

/// Appends the event that ends a stream with an error. Nothing follows it.
pub(crate) fn write_event(
    manner: Manner,
    skeleton: &Skeleton<'_>,
    kind: ErrorKind,
    message: &str,
    details: &Details<'_>,
    out: &mut Vec<u8>,
) {
    let (mut id, mut model) = (Vec::new(), Vec::new());
    write_string(&mut id, skeleton.id);
    write_string(&mut model, skeleton.model);
    let envelope = Envelope {
        id: &id,
        model: &model,
        created_s: skeleton.created_s,
        status: failure(manner, kind, message, details),
        output: b"[]",
        usage: None,
        service_tier: None,
        provider: Some(skeleton.provider).filter(|_| manner == Manner::Openrouter),
        kept_after: None,
    };
    out.extend_from_slice(b"event: response.failed\ndata: ");
    let mut event = Object::open(out);
    event.text("type", "response.failed").number("sequence_number", skeleton.sequence_number);
    envelope.write(event.key("response"));
    event.close();
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::error::{OwnWords, Previous};

    fn check(manner: Manner, kind: ErrorKind, details: &Details<'_>, pieces: &[&str]) {
        let skeleton = Skeleton { id: "resp_1", model: "acme/fast", provider: "Lab", created_s: 7, sequence_number: 12 };
        let mut out = Vec::new();
        write_event(manner, &skeleton, kind, "no", details, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":12,"), "{text}");
        assert!(text.ends_with("\n\n"));
        let data = text.lines().nth(1).unwrap().strip_prefix("data: ").unwrap();
        let event: serde_json::Value = serde_json::from_str(data).unwrap();
        assert!(event.get("error").is_none(), "openai's SDK raises at once when an event has this member");
        for piece in pieces {
            assert!(text.contains(piece), "{piece} in {text}");
        }
    }

    #[test]
    fn a_stream_ends_with_a_failed_reply() {
        let plain = Details::default();
        check(
            Manner::Native,
            ErrorKind::ProviderTimeout,
            &plain,
            &[r#""status":"failed""#, r#""error":{"code":"server_error","message":"no"}"#],
        );
        check(Manner::Native, ErrorKind::ProviderRateLimited, &plain, &[r#""code":"rate_limit_exceeded""#]);
        let words = OwnWords { code: Some("context_length_exceeded".to_owned()), ..OwnWords::default() };
        let own = Details { own: Some(&words), ..Details::default() };
        check(Manner::Native, ErrorKind::ProviderRejected, &own, &[r#""code":"context_length_exceeded""#]);
        let openrouter = [r#""code":"invalid_prompt""#, r#""error_type":"invalid_request""#, r#""provider":"Lab""#];
        check(Manner::Openrouter, ErrorKind::ProviderRejected, &own, &openrouter);
        let previous = [Previous { provider: "First", code: "timeout", status: 504 }];
        let trail = Details { provider_name: Some("Lab"), raw: Some("oops"), previous: &previous, ..Details::default() };
        let metadata = concat!(
            r#""error":{"code":"server_error","message":"no","metadata":{"error_type":"provider_unavailable","provider_name":"Lab","raw":"oops","#,
            r#""provider_error":"oops","previous_errors":[{"provider":"First","code":"timeout","status":504}]}}"#
        );
        check(Manner::Openrouter, ErrorKind::ProviderUnavailable, &trail, &[metadata]);
        check(Manner::Native, ErrorKind::ProviderUnavailable, &trail, &[r#""error":{"code":"server_error","message":"no"}"#]);
    }
}
