//! What a Responses request says beside the members that all dialects have.

pub(crate) mod decode;
pub(crate) mod encode;
mod encode_input;
#[cfg(test)]
mod tests;

use crate::request::{Body, FIRST_OWN, Refusal, keys};

const MAX_OUTPUT_TOKENS: usize = FIRST_OWN;
const BACKGROUND: usize = FIRST_OWN + 1;

/// The members that are looked for.
pub(crate) static KEYS: [&str; FIRST_OWN + 2] = keys("input", ["max_output_tokens", "background"]);

/// The cap on output tokens.
pub(crate) fn max_output_tokens<F: AsRef<[u8]>>(body: &Body<'_, F>) -> Result<Option<u64>, Refusal> {
    body.whole_number(MAX_OUTPUT_TOKENS)
}

/// A reply that is to be asked for later would look like an empty one, and be paid for again elsewhere.
pub(crate) fn refuse_background<F: AsRef<[u8]>>(body: &Body<'_, F>) -> Result<(), Refusal> {
    if body.flag(BACKGROUND)? {
        let message = "\"background\" (replies that are asked for later) is not in this version; leave it out".to_owned();
        return Err(Refusal::field("background", message));
    }
    Ok(())
}
