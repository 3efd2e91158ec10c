//! How a chat client reads errors: OpenAI's shape on `/v1`, OpenRouter's on `/api/v1`.

use fairlead_ir::{ErrorKind, Manner};

use crate::error::{Details, OwnWords, Previous, Skeleton, with_provider_text};
use crate::write::Object;

/// Appends the body of an error response.
pub(crate) fn write_body(manner: Manner, kind: ErrorKind, message: &str, details: &Details<'_>, out: &mut Vec<u8>) {
    let mut body = Object::open(out);
    body.object("error", |error| write_error(manner, kind, message, details, error));
    body.close();
}

/// The chunk that carries an error: its name, and what its choice says beside the reason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub(crate) object: &'static str,
    pub(crate) part: &'static str,
}

const CHAT: Form = Form { object: "chat.completion.chunk", part: r#""delta":{"content":""}"# };

/// Appends a whole chunk with the error in it, then the terminal. A bare `{"error":…}` breaks OpenRouter's SDKs; without
/// `finish_reason` some clients take the text so far for a complete answer.
pub(crate) fn write_event(
    manner: Manner,
    skeleton: &Skeleton<'_>,
    kind: ErrorKind,
    message: &str,
    details: &Details<'_>,
    out: &mut Vec<u8>,
) {
    write_event_as(CHAT, manner, skeleton, kind, message, details, out);
}

/// As [`write_event`], in a relative's form.
pub(crate) fn write_event_as(
    form: Form,
    manner: Manner,
    skeleton: &Skeleton<'_>,
    kind: ErrorKind,
    message: &str,
    details: &Details<'_>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"data: ");
    let mut chunk = Object::open(out);
    chunk.text("id", skeleton.id).text("object", form.object).number("created", skeleton.created_s);
    chunk.text("model", skeleton.model);
    let native = match manner {
        Manner::Native => "",
        Manner::Openrouter => {
            chunk.text("provider", skeleton.provider).raw("system_fingerprint", b"null");
            r#","native_finish_reason":"error""#
        }
    };
    chunk.array("choices", |choices| {
        choices.raw(format!(r#"{{"index":0,{},"finish_reason":"error"{native}}}"#, form.part).as_bytes());
    });
    chunk.object("error", |error| write_error(manner, kind, message, details, error));
    chunk.close();
    out.extend_from_slice(b"\n\ndata: [DONE]\n\n");
}

fn write_error(manner: Manner, kind: ErrorKind, message: &str, details: &Details<'_>, error: &mut Object<'_>) {
    match manner {
        Manner::Native => write_native(kind, message, details, error),
        Manner::Openrouter => write_openrouter(kind, message, details, error),
    }
}

fn write_native(kind: ErrorKind, message: &str, details: &Details<'_>, error: &mut Object<'_>) {
    let own = |word: fn(&OwnWords) -> &Option<String>| details.own.and_then(|own| word(own).as_deref());
    error.text("message", &with_provider_text(message, details));
    error.text("type", own(|own| &own.kind).unwrap_or(kind.row().openai));
    match details.param.or(own(|own| &own.param)) {
        Some(param) => error.text("param", param),
        None => error.raw("param", b"null"),
    };
    match own(|own| &own.code).or(code(kind)) {
        Some(code) => error.text("code", code),
        None => error.raw("code", b"null"),
    };
}

fn write_openrouter(kind: ErrorKind, message: &str, details: &Details<'_>, error: &mut Object<'_>) {
    let status = u64::from(details.status.unwrap_or(kind.row().status));
    error.number("code", status).text("message", message).object("metadata", |metadata| write_metadata(kind, details, metadata));
    if let Some(availability) = details.availability {
        availability.write(error);
    }
}

/// What OpenRouter says of an error beside its code and message.
pub(crate) fn write_metadata(kind: ErrorKind, details: &Details<'_>, metadata: &mut Object<'_>) {
    metadata.text("error_type", kind.row().openrouter);
    metadata.optional_text("provider_name", details.provider_name);
    metadata.optional_text("raw", details.raw);
    // The older name of the same thing, for sample code that still reads it.
    metadata.optional_text("provider_error", details.raw);
    metadata.optional_text("provider_code", details.provider_code);
    metadata.optional_text("param", details.param.or(details.own.and_then(|own| own.param.as_deref())));
    Previous::write(details.previous, metadata);
}

/// OpenAI's `error.code`: its own word where it has one, so that code written against OpenAI finds what it looks for.
fn code(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::Authentication => Some("invalid_api_key"),
        ErrorKind::PaymentRequired => Some("insufficient_quota"),
        ErrorKind::ModelNotFound => Some("model_not_found"),
        ErrorKind::InvalidRequest | ErrorKind::ProviderRejected => None,
        other => Some(other.row().openrouter),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::availability::{Availability, AvailabilityCode, Constraint};

    const DETAILS: Details<'_> = Details {
        provider_name: Some("Lab"),
        raw: Some("{\"oops\":1}"),
        provider_code: Some("busy"),
        own: None,
        generation_id: Some("gen-1"),
        param: None,
        status: None,
        previous: &[Previous { provider: "First", code: "provider_overloaded", status: 529 }],
        availability: None,
    };

    const SKELETON: Skeleton<'_> = Skeleton { id: "chatcmpl-1", model: "acme/fast", provider: "Lab", created_s: 7, sequence_number: 0 };

    fn check_body(manner: Manner, kind: ErrorKind, details: &Details<'_>, expected: &str) {
        let mut out = Vec::new();
        write_body(manner, kind, "no", details, &mut out);
        assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
    }

    #[test]
    fn bodies_of_both_manners() {
        let plain = Details { param: Some("model"), ..Details::default() };
        check_body(
            Manner::Native,
            ErrorKind::InvalidRequest,
            &plain,
            r#"{"error":{"message":"no","type":"invalid_request_error","param":"model","code":null}}"#,
        );
        let text = |text: &str| Some(text.to_owned());
        let own = OwnWords { kind: text("BadRequest"), code: text("context_length_exceeded"), param: text("messages") };
        let own = Details { own: Some(&own), ..Details::default() };
        check_body(
            Manner::Native,
            ErrorKind::ProviderRejected,
            &own,
            r#"{"error":{"message":"no","type":"BadRequest","param":"messages","code":"context_length_exceeded"}}"#,
        );
        check_body(
            Manner::Openrouter,
            ErrorKind::ProviderRejected,
            &own,
            r#"{"error":{"code":400,"message":"no","metadata":{"error_type":"invalid_request","param":"messages"}}}"#,
        );
        check_body(
            Manner::Native,
            ErrorKind::ProviderOverloaded,
            &DETAILS,
            r#"{"error":{"message":"no (Lab said: {\"oops\":1})","type":"server_error","param":null,"code":"provider_overloaded"}}"#,
        );
        check_body(
            Manner::Openrouter,
            ErrorKind::ProviderOverloaded,
            &DETAILS,
            concat!(
                r#"{"error":{"code":503,"message":"no","metadata":{"error_type":"provider_overloaded","provider_name":"Lab","#,
                r#""raw":"{\"oops\":1}","provider_error":"{\"oops\":1}","provider_code":"busy","#,
                r#""previous_errors":[{"provider":"First","code":"provider_overloaded","status":529}]}}}"#
            ),
        );
        let availability = Availability {
            code: AvailabilityCode::ConstraintFiltered,
            retry_after_s: None,
            requested_models: vec!["a/b".to_owned()],
            affected_providers: vec!["lab".to_owned(), "two".to_owned()],
            excluded_by: vec!["max_price"],
            fallback_models: Vec::new(),
            constraint: Some(Constraint { field: "provider.max_price.prompt", detail: "raise it".to_owned() }),
        };
        let unavailable = Details { availability: Some(&availability), ..Details::default() };
        check_body(
            Manner::Openrouter,
            ErrorKind::NotFound,
            &unavailable,
            concat!(
                r#"{"error":{"code":404,"message":"no","metadata":{"error_type":"not_found"},"availability":{"code":"constraint_filtered","#,
                r#""retryable":false,"retry_after":null,"requested_models":["a/b"],"affected_providers":["lab","two"],"#,
                r#""excluded_by":["max_price"],"fallback_models":[],"#,
                r#""constraint":{"field":"provider.max_price.prompt","detail":"raise it"},"docs_url":null}}}"#
            ),
        );
        check_body(
            Manner::Native,
            ErrorKind::NotFound,
            &unavailable,
            r#"{"error":{"message":"no","type":"invalid_request_error","param":null,"code":"not_found"}}"#,
        );
        let full =
            Availability { code: AvailabilityCode::CapacityExhausted, retry_after_s: Some(7), constraint: None, ..availability.clone() };
        let mut out = Vec::new();
        let full = Details { availability: Some(&full), ..Details::default() };
        write_body(Manner::Openrouter, ErrorKind::RateLimited, "no", &full, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(r#""code":"capacity_exhausted","retryable":true,"retry_after":7,"#), "{text}");
        assert!(text.contains(r#""constraint":null"#), "{text}");
        check_body(
            Manner::Openrouter,
            ErrorKind::Authentication,
            &Details::default(),
            r#"{"error":{"code":401,"message":"no","metadata":{"error_type":"authentication"}}}"#,
        );
    }

    fn check_event(manner: Manner, expected: &str) {
        let mut out = Vec::new();
        write_event(manner, &SKELETON, ErrorKind::ProviderTimeout, "no", &Details::default(), &mut out);
        assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
    }

    #[test]
    fn frames_of_both_manners_end_the_stream() {
        check_event(
            Manner::Native,
            concat!(
                r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"acme/fast","#,
                r#""choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}],"#,
                r#""error":{"message":"no","type":"server_error","param":null,"code":"timeout"}}"#,
                "\n\ndata: [DONE]\n\n"
            ),
        );
        check_event(
            Manner::Openrouter,
            concat!(
                r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"acme/fast","provider":"Lab","#,
                r#""system_fingerprint":null,"#,
                r#""choices":[{"index":0,"delta":{"content":""},"finish_reason":"error","native_finish_reason":"error"}],"#,
                r#""error":{"code":504,"message":"no","metadata":{"error_type":"timeout"}}}"#,
                "\n\ndata: [DONE]\n\n"
            ),
        );
    }
}
