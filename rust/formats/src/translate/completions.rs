//! Legacy completions for callers whose model is served in one of the dialects: as those of [`dialects`](super::dialects),
//! whose `encode_request` writes these, too.
//!
//! Read as a chat of one message ([`Request::source`] is chat). What cannot be done so is refused, because leaving it out would
//! change what the text means: several prompts or tokens, `suffix`, `echo`, the best of more replies than are asked for.

use fairlead_ir::{Losses, NanoUsd, Request, Response};

use super::{Face, refusal};
use crate::json::is_complete;
use crate::openai_completions::{request, response};
use crate::read::Malformed;
use crate::request::Refusal;

/// Reads a caller's request.
///
/// # Errors
/// The body is not JSON, breaks its dialect, or asks for what cannot be done through chat: the message names the JSON path.
pub fn decode_request(body: &[u8]) -> Result<Request<'_>, Refusal> {
    if !is_complete(body) {
        return Err(refusal(Malformed::new("is not valid JSON")));
    }
    request::decode::decode(body).map_err(refusal)
}

/// Writes a whole reply for a caller; `cost` becomes `usage.cost`. Returns what could not be kept.
pub fn encode_response(response: &Response<'_>, face: &Face<'_>, cost: Option<NanoUsd>, out: &mut Vec<u8>) -> Losses {
    let mut losses = Losses::new();
    response::encode(response, face, cost, out, &mut losses);
    losses
}
