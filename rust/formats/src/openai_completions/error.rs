//! Errors inside a stream of completions; whole errors are chat's.

use fairlead_ir::{ErrorKind, Manner};

use crate::error::{Details, Skeleton};
use crate::openai_chat::error::{Form, write_event_as};

const TEXT: Form = Form { object: "text_completion", part: r#""text":"","logprobs":null"# };

/// Appends a whole chunk with the error in it, then the terminal.
pub(crate) fn write_event(
    manner: Manner,
    skeleton: &Skeleton<'_>,
    kind: ErrorKind,
    message: &str,
    details: &Details<'_>,
    out: &mut Vec<u8>,
) {
    write_event_as(TEXT, manner, skeleton, kind, message, details, out);
}
