//! Figures of a provider that nobody can believe: counts beyond [`Usage::MOST_TOKENS`], which break clients that read 64-bit numbers and
//! would be charged by whoever bills by them. They are not passed on: what was billed stands in their place.
//!
//! Looked at only where an event has figures at all, and changed only where one of them is absurd.

use fairlead_ir::Usage;

use crate::json::walk::{elements, members};
use crate::json::{Kind, is_complete};
use crate::splice::Edits;
use crate::sse;
use crate::write::write_number;

/// Digits that no credible figure has.
const LONG: usize = 11;

/// Whether a number of so many digits may stand in there. One look at every eleventh byte.
pub fn may_be_absurd(text: &[u8]) -> bool {
    let mut at = LONG - 1;
    while at < text.len() {
        if text[at].is_ascii_digit() {
            let before = text[..at].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
            let behind = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            if before + behind >= LONG {
                return true;
            }
        }
        at += LONG;
    }
    false
}

/// The same of a usage object, where it may also be written with an exponent.
pub fn may_be_absurd_usage(usage: &[u8]) -> bool {
    let is_exponent = |at: usize| usage[..at].last().is_some_and(u8::is_ascii_digit);
    may_be_absurd(usage) || memchr::memchr2_iter(b'e', b'E', usage).any(is_exponent)
}

/// The reply `body`, or one event, with figures that can be believed: what was billed in place of each that cannot. `None` where all of
/// them can.
pub fn believable(text: &[u8], billed: &Usage) -> Option<Vec<u8>> {
    let data = match is_complete(text) {
        true => 0..text.len(),
        false => sse::data_range(text)?,
    };
    let mut edits = Edits::default();
    look(&text[data.clone()], data.start, false, billed, &mut edits, 0);
    let mut out = Vec::with_capacity(text.len());
    (!edits.is_empty() && edits.apply(text, &mut out).is_ok()).then_some(out)
}

/// Deeper than any usage stands.
const DEPTH: usize = 8;

fn look(object: &[u8], base: usize, in_usage: bool, billed: &Usage, edits: &mut Edits, depth: usize) {
    if depth > DEPTH {
        return;
    }
    for member in members(object).map_while(Result::ok) {
        let place = base + member.value_range.start;
        let is_usage = in_usage || ["usage", "usageMetadata", "message", "response"].iter().any(|name| member.is(name));
        match member.kind {
            // A message or a response has its usage inside; nothing else of it is a figure of ours to judge.
            Kind::Object if is_usage => {
                let in_usage = in_usage || member.is("usage") || member.is("usageMetadata");
                look(member.value, place, in_usage, billed, edits, depth + 1);
            }
            // Some hosts have it beside the choice.
            Kind::Array if member.is("choices") => elements(member.value).map_while(Result::ok).for_each(|choice| {
                look(choice.value, place + choice.value_range.start, false, billed, edits, depth + 1);
            }),
            Kind::Number if in_usage && is_absurd(member.value) => {
                let Some(believed) = figure_of(member.key, billed) else { continue };
                let mut figure = Vec::with_capacity(LONG);
                write_number(&mut figure, believed);
                // Members come in order, each once.
                let _ = edits.replace(place..place + member.value.len(), &figure);
            }
            _ => {}
        }
    }
}

fn is_absurd(number: &[u8]) -> bool {
    let value: Option<f64> = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
    value.is_none_or(|value| value.abs() > Usage::MOST_TOKENS as f64)
}

/// What was billed of what the dialects call so; nothing of other counts by their names. What else a provider says there is its own affair.
fn figure_of(key: &[u8], billed: &Usage) -> Option<u64> {
    let prompt = billed.total_prompt_tokens();
    Some(match key {
        b"prompt_tokens" | b"promptTokenCount" => prompt,
        // Of Messages alone they leave the cached ones out, and those are not billed where these are not believed.
        b"input_tokens" | b"inputTokens" => prompt,
        b"completion_tokens" | b"output_tokens" | b"outputTokens" => billed.completion_tokens,
        b"candidatesTokenCount" => billed.completion_tokens.saturating_sub(billed.reasoning_tokens),
        b"total_tokens" | b"totalTokenCount" | b"totalTokens" => prompt.saturating_add(billed.completion_tokens),
        b"reasoning_tokens" | b"thoughtsTokenCount" | b"thinking_tokens" => billed.reasoning_tokens,
        b"cached_tokens" | b"cachedContentTokenCount" | b"cache_read_input_tokens" | b"prompt_cache_hit_tokens" => billed.cache_read_tokens,
        _ if key.ends_with(b"okens") || key.ends_with(b"TokenCount") || key.ends_with(b"_requests") => 0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const BILLED: Usage = Usage {
        prompt_tokens: 5,
        cache_read_tokens: 2,
        cache_write_tokens: 0,
        cache_write_1h_tokens: 0,
        completion_tokens: 9,
        reasoning_tokens: 4,
        web_searches: 0,
    };

    fn check(text: &str, expected: Option<&str>) {
        let made = believable(text.as_bytes(), &BILLED).map(|text| String::from_utf8(text).unwrap());
        assert_eq!(made.as_deref(), expected, "{text}");
        assert!(expected.is_none() || may_be_absurd(text.as_bytes()), "{text}");
    }

    #[test]
    fn what_cannot_be_believed_is_what_was_billed() {
        check(
            r#"{"id":12345678901234,"usage":{"prompt_tokens":9223372036854775808,"completion_tokens":3,"total_tokens":9223372036854775811,"cost":0.000012345678901}}"#,
            Some(r#"{"id":12345678901234,"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":16,"cost":0.000012345678901}}"#),
        );
        check(
            "data: {\"usage\":{\"prompt_tokens_details\":{\"cached_tokens\":18446744073709551616,\"x_tokens\":-18446744073709551616}}}\r\n\r\n",
            Some("data: {\"usage\":{\"prompt_tokens_details\":{\"cached_tokens\":2,\"x_tokens\":0}}}\r\n\r\n"),
        );
        check(
            r#"{"type":"message_start","message":{"content":[],"usage":{"input_tokens":99999999999,"output_tokens":1}}}"#,
            Some(r#"{"type":"message_start","message":{"content":[],"usage":{"input_tokens":7,"output_tokens":1}}}"#),
        );
        check(
            r#"{"type":"response.completed","response":{"created_at":99999999999,"usage":{"output_tokens":99999999999,"output_tokens_details":{"reasoning_tokens":99999999999}}}}"#,
            Some(
                r#"{"type":"response.completed","response":{"created_at":99999999999,"usage":{"output_tokens":9,"output_tokens_details":{"reasoning_tokens":4}}}}"#,
            ),
        );
        check(
            r#"{"usageMetadata":{"promptTokenCount":99999999999,"candidatesTokenCount":99999999999,"totalTokenCount":99999999999}}"#,
            Some(r#"{"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":5,"totalTokenCount":16}}"#),
        );
        check(
            r#"{"choices":[{"index":0,"usage":{"completion_tokens":99999999999}}]}"#,
            Some(r#"{"choices":[{"index":0,"usage":{"completion_tokens":9}}]}"#),
        );
        assert!(may_be_absurd_usage(br#"{"prompt_tokens":1e30}"#) && !may_be_absurd_usage(br#"{"prompt_tokens":7,"completion_tokens":3}"#));
        let exponent = believable(br#"{"usage":{"prompt_tokens":1e+30}}"#, &BILLED);
        assert_eq!(exponent.as_deref(), Some(br#"{"usage":{"prompt_tokens":7}}"#.as_slice()));
        // What is no count by its name is the provider's own affair.
        check(r#"{"usage":{"prompt_tokens":7,"x_":10000000000,"at_ms":99999999999999}}"#, None);
        // A text is a text.
        check(r#"{"choices":[{"delta":{"content":"usage: 99999999999"}}],"created":99999999999,"usage":{"prompt_tokens":7}}"#, None);
        check(r#"{"usage":{"prompt_tokens":4294967296}}"#, None);
        check("data: [DONE]\n\n", None);
    }

    #[test]
    fn long_numbers_are_seen_wherever_they_stand() {
        for before in 0..30 {
            for digits in 0..30 {
                let text = format!("{}{}{}", "x".repeat(before), "9".repeat(digits), "y".repeat(7));
                assert_eq!(may_be_absurd(text.as_bytes()), digits >= LONG, "{before} {digits}");
            }
        }
    }
}
