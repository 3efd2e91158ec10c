//! What a completions request says, as far as routing and metering care; its reader stands below.

pub(crate) mod decode;

use crate::json::{Kind, walk};
use crate::openai_chat;
use crate::request::{Body, FIRST_OWN, MESSAGES, Refusal, keys};

const BEST_OF: usize = FIRST_OWN + 4;

/// The members that are looked for: those that both have, in chat's order so that chat's readers find them, and one more.
pub(crate) static KEYS: [&str; FIRST_OWN + 5] = keys("prompt", ["stream_options", "max_completion_tokens", "max_tokens", "n", "best_of"]);

/// How many texts are written in all: so many for each prompt, those that `best_of` throws away among them.
pub(crate) fn choices<F: AsRef<[u8]>>(body: &Body<'_, F>) -> Result<u64, Refusal> {
    let each = openai_chat::request::choices(body)?.max(body.whole_number(BEST_OF)?.unwrap_or(1));
    Ok(each.saturating_mul(prompts(body)))
}

/// An array of numbers is one prompt in tokens; any other has one prompt per element.
fn prompts<F: AsRef<[u8]>>(body: &Body<'_, F>) -> u64 {
    let Some((Kind::Array, range)) = body.value(MESSAGES) else { return 1 };
    let text = body.text(range);
    let mut elements = walk::elements(&text).map_while(Result::ok).peekable();
    if elements.peek().is_some_and(|first| first.kind == Kind::Number) {
        return 1;
    }
    elements.count().max(1) as u64
}

#[cfg(test)]
mod tests;
