//! Legacy completions for callers whose model is served in one of the dialects: as those of [`dialects`](super::dialects).
//!
//! Read as a chat of one message ([`Request::source`] is chat). What cannot be done so is refused, because leaving it out would
//! change what the text means: several prompts or tokens, `suffix`, `echo`, the best of more replies than are asked for.

use fairlead_ir::{Dialect, Losses, NanoUsd, Param, Request, Response};

use super::dialects::{Encoded, encode_request as encode_chat};
use super::{Face, Target, refusal};
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

/// Writes a request that was read here for a provider of any dialect. Losses are named as completions name them.
///
/// # Errors
/// As [`dialects::encode_request`](super::dialects::encode_request).
pub fn encode_request(request: &Request<'_>, target: &Target<'_>) -> Result<Encoded, Refusal> {
    let encoded = encode_chat(request, target)?;
    Ok(Encoded { losses: renamed(&encoded.losses), ..encoded })
}

/// Writes a whole reply for a caller; `cost` becomes `usage.cost`. Returns what could not be kept.
pub fn encode_response(response: &Response<'_>, face: &Face<'_>, cost: Option<NanoUsd>, out: &mut Vec<u8>) -> Losses {
    let mut losses = Losses::new();
    response::encode(response, face, cost, out, &mut losses);
    losses
}

/// Chat's names that are others in completions.
const NAMES: [(Param, &str); 2] = [(Param::MaxOutputTokens, "max_tokens"), (Param::TopLogprobs, "logprobs")];

fn renamed(losses: &Losses) -> Losses {
    let mut renamed = Losses::new();
    for loss in losses.as_slice() {
        let own = NAMES.iter().find(|(param, _)| param.path(Dialect::OpenaiChat) == loss.path);
        let path = own.map_or(loss.path.as_str(), |(_, name)| name);
        // One member says what two say in chat.
        if own.is_none() || renamed.as_slice().iter().all(|before| before.path != path) {
            renamed.at(path.to_owned(), loss.severity, loss.reason.clone());
        }
    }
    renamed
}
