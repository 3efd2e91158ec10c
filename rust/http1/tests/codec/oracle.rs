//! httparse as a second opinion on heads. The fuzz target runs the same code.
//!
//! httparse reads heads only: it knows nothing of framing, persistence or interim replies, and it is lenient where HTTP
//! in the wild is. So what we accept it must accept, with the same outcome; what it accepts and we refuse must be one
//! of the known differences.

use fairlead_http1::{Error, Head, Limits, Parsed};

/// Compares both opinions on `input`.
pub(crate) fn compare(input: &[u8]) {
    let limits = Limits::default();
    let mut slots = [httparse::EMPTY_HEADER; 100];
    let mut theirs = httparse::Response::new(&mut slots);
    let verdict = theirs.parse(input);
    let mut ours = Head::new();
    match ours.parse(input, false, &limits) {
        Ok(Parsed::Complete | Parsed::Interim { .. }) => {
            assert_eq!(verdict, Ok(httparse::Status::Complete(ours.len)), "we accept, they do not");
            assert_eq!((theirs.code, theirs.version), (Some(ours.status), Some(ours.version_minor)));
            let fields = theirs.headers.iter().map(|field| (field.name.as_bytes(), field.value));
            assert!(ours.headers(input).eq(fields), "the fields differ");
        }
        Ok(Parsed::Partial) => assert!(!matches!(verdict, Ok(httparse::Status::Complete(_))), "they are done, we are not"),
        Err(error) => assert!(verdict.is_err() || is_known_difference(error, input), "they accept, we say: {error}"),
    }
}

/// What httparse lets pass and we refuse on purpose.
fn is_known_difference(error: Error, input: &[u8]) -> bool {
    match error {
        // It takes LF alone for a line end, and passes over blank lines in front of the status line.
        Error::BareLineFeed => input.contains(&b'\n'),
        Error::NotHttp => input.starts_with(b"\r") || input.starts_with(b"\n"),
        // It takes any three digits for a status code.
        Error::StatusLine => input.get(8..10) == Some(b" 0"),
        // It counts fields, not bytes.
        Error::HeadTooLarge => input.len() >= Limits::default().head_bytes,
        // It leaves the meaning of fields and codes to its caller.
        Error::SwitchingProtocols
        | Error::ContentLength
        | Error::RepeatedContentLength
        | Error::TransferEncoding
        | Error::TransferEncodingInHttp10
        | Error::LengthAndTransferEncoding
        | Error::InterimWithBody => true,
        _ => false,
    }
}
