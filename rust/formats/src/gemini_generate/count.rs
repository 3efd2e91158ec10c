//! What a request to count tokens says: the conversation itself, or a whole request with the conversation inside.

use core::ops::Range;

use crate::json::Kind;
use crate::json::walk;
use crate::patch::{name, shifted};
use crate::request::{Body, FIRST_OWN, Refusal, keys};

/// Both spellings that Google takes.
const WHOLE_REQUEST: [usize; 2] = [FIRST_OWN, FIRST_OWN + 1];

/// The members that are looked for.
pub(crate) static KEYS: [&str; FIRST_OWN + 2] = keys("contents", ["generateContentRequest", "generate_content_request"]);

/// Where the conversation lies inside a whole request.
pub(crate) fn contents<F: AsRef<[u8]>>(body: &Body<'_, F>) -> Result<Range<usize>, Refusal> {
    let missing = || Refusal::field("contents", "\"contents\" is missing; send the conversation as an array".to_owned());
    let index =
        WHOLE_REQUEST.into_iter().find(|index| body.value(*index).is_some_and(|(kind, _)| kind != Kind::Null)).ok_or_else(missing)?;
    let (kind, range) = body.value(index).ok_or_else(missing)?;
    if kind != Kind::Object {
        return Err(body.wrong_type(index, "an object"));
    }
    let inside = body.text(range.clone());
    let found = walk::members(&inside).map_while(Result::ok).find(|member| &*name(member.key) == b"contents").ok_or_else(missing)?;
    match found.kind {
        Kind::Array | Kind::Object => Ok(shifted(&found.value_range, range.start)),
        _ => Err(Refusal::field("contents", "\"generateContentRequest.contents\" must be an array".to_owned())),
    }
}
