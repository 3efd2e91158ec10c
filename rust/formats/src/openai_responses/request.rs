//! What a Responses request says beside the members that all dialects have.

pub(crate) mod decode;
pub(crate) mod encode;
mod encode_input;
pub(crate) mod state;
#[cfg(test)]
mod tests;

use crate::request::{Body, FIRST_OWN, Refusal, keys};

const MAX_OUTPUT_TOKENS: usize = FIRST_OWN;
const BACKGROUND: usize = FIRST_OWN + 1;
const STORE: usize = FIRST_OWN + 2;
const INCLUDE: usize = FIRST_OWN + 3;
const PREVIOUS_RESPONSE: usize = FIRST_OWN + 4;
const CONVERSATION: usize = FIRST_OWN + 5;
pub(crate) const TOOLS: usize = FIRST_OWN + 6;
pub(crate) const CACHE_KEY: usize = FIRST_OWN + 7;
pub(crate) const METADATA: usize = FIRST_OWN + 8;
pub(crate) const MAX_TOOL_CALLS: usize = FIRST_OWN + 9;

/// The members that are looked for.
pub(crate) static KEYS: [&str; FIRST_OWN + 10] = keys(
    "input",
    [
        "max_output_tokens",
        "background",
        "store",
        "include",
        "previous_response_id",
        "conversation",
        "tools",
        "prompt_cache_key",
        "metadata",
        "max_tool_calls",
    ],
);

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
