//! What a request of this dialect says, as far as routing and metering care; its reader and its writer stand below.

pub(crate) mod decode;
pub(crate) mod encode;
mod schema;
mod turns;

use crate::json::Kind;
use crate::json::walk::{self, Member, as_str, as_u64};
use crate::patch::name;
use crate::request::{Body, FIRST_OWN, Refusal, keys};

/// Both spellings that Google takes.
const GENERATION_CONFIG: [usize; 2] = [FIRST_OWN, FIRST_OWN + 1];
pub(crate) const TOOLS: usize = FIRST_OWN + 2;
pub(crate) const TIER: usize = FIRST_OWN + 3;

/// The members that are looked for.
pub(crate) static KEYS: [&str; FIRST_OWN + 4] = keys("contents", ["generationConfig", "generation_config", "tools", "serviceTier"]);

/// The cap on completion tokens of one reply, and how many replies are asked for. Where something is said twice the larger one counts, so
/// that a reservation is never too small.
pub(crate) fn limits<F: AsRef<[u8]>>(body: &Body<'_, F>) -> Result<(Option<u64>, u64), Refusal> {
    let (mut tokens, mut choices) = (None, None);
    for index in GENERATION_CONFIG {
        let Some((kind, range)) = body.value(index).filter(|(kind, _)| *kind != Kind::Null) else { continue };
        if kind != Kind::Object {
            return Err(body.wrong_type(index, "an object"));
        }
        for member in walk::members(&body.text(range)).map_while(Result::ok) {
            let slot = match &*name(member.key) {
                b"maxOutputTokens" | b"max_output_tokens" => &mut tokens,
                b"candidateCount" | b"candidate_count" => &mut choices,
                _ => continue,
            };
            *slot = (*slot).max(whole_number(&member)?);
        }
    }
    Ok((tokens, choices.unwrap_or(1)))
}

/// A whole number, also written as a text or with a point and zeros.
fn whole_number(member: &Member<'_>) -> Result<Option<u64>, Refusal> {
    let text = match member.kind {
        Kind::Null => return Ok(None),
        Kind::String => as_str(member.value).unwrap_or_default().into_owned(),
        _ => String::from_utf8_lossy(member.value).into_owned(),
    };
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if zeros.bytes().all(|byte| byte == b'0') => whole,
        _ => &text,
    };
    let wrong = || {
        let name = String::from_utf8_lossy(member.key);
        Refusal::field("generationConfig", format!("\"generationConfig.{name}\" must be a whole number, 0 or more"))
    };
    as_u64(whole.as_bytes()).map(Some).ok_or_else(wrong)
}

#[cfg(test)]
pub(crate) mod tests;
