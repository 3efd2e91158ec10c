//! Figures of a provider that nobody can believe: counts beyond [`Usage::MOST_TOKENS`], which break clients that read 64-bit numbers and
//! would be charged by whoever bills by them, and counts below zero. They are not passed on: what was billed stands in their place.
//!
//! Looked at only where an event has figures at all, and changed only where one of them is absurd.

use fairlead_ir::Usage;

use crate::json::walk::{Member, elements, member as member_of, members};
use crate::json::{Kind, is_complete};
use crate::splice::Edits;
use crate::sse;
use crate::write::write_number;

/// Digits that no credible figure has.
const LONG: usize = 11;

/// Whether a number below zero or of so many digits may stand in there. One look for minus signs, and one at every eleventh byte.
pub fn may_be_absurd(text: &[u8]) -> bool {
    may_be_negative(text) || may_be_long(text)
}

/// Whether a minus stands where a value begins, before a digit.
fn may_be_negative(text: &[u8]) -> bool {
    let begins_value = |at: usize| text[..at].last().is_some_and(|before| matches!(before, b':' | b' ' | b'\t' | b'\n' | b'\r'));
    memchr::memchr_iter(b'-', text).any(|at| text.get(at + 1).is_some_and(u8::is_ascii_digit) && begins_value(at))
}

fn may_be_long(text: &[u8]) -> bool {
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

/// The same of a usage object, where it may also be written with an exponent. One pass that does not stop at each `e`: every name has some.
pub fn may_be_absurd_usage(usage: &[u8]) -> bool {
    let behind = usage.get(1..).unwrap_or_default();
    let is_exponent = |before: &u8, at: &u8| before.is_ascii_digit() & at.eq_ignore_ascii_case(&b'e');
    may_be_absurd(usage) || usage.iter().zip(behind).fold(false, |seen, (before, at)| seen | is_exponent(before, at))
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
    let is_ours =
        |member: &Member<'_>| member.kind == Kind::Number && is_absurd(member.value) && figure_of(object, member.key, billed).is_some();
    // The sum of what is ours is ours as well.
    let sums_ours = in_usage && members(object).map_while(Result::ok).any(|member| is_ours(&member));
    for member in members(object).map_while(Result::ok) {
        let place = base + member.value_range.start;
        let is_usage = in_usage || ["usage", "usageMetadata", "message", "response"].iter().any(|name| member.is(name));
        match member.kind {
            // A message or a response has its usage inside; nothing else of it is a figure of ours to judge.
            Kind::Object if is_usage => {
                let in_usage = in_usage || member.is("usage") || member.is("usageMetadata");
                look(member.value, place, in_usage, billed, edits, depth + 1);
            }
            // Some hosts have it beside the choice. Inside of it, lists divide the figures by media.
            Kind::Array if in_usage || member.is("choices") => elements(member.value).map_while(Result::ok).for_each(|element| {
                look(element.value, place + element.value_range.start, in_usage, billed, edits, depth + 1);
            }),
            Kind::Number if in_usage && (is_absurd(member.value) || sums_ours && is_sum(member.key)) => {
                let Some(believed) = figure_of(object, member.key, billed) else { continue };
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
    value.is_none_or(|value| !(0.0..=Usage::MOST_TOKENS as f64).contains(&value))
}

/// What was billed of what the dialects call so; nothing of other counts by their names. What else a provider says there is its own affair.
fn figure_of(usage: &[u8], key: &[u8], billed: &Usage) -> Option<u64> {
    let prompt = billed.total_prompt_tokens();
    Some(match key {
        // Messages alone count the cached ones beside them.
        b"input_tokens" if counts_cached_beside(usage) => billed.prompt_tokens,
        b"prompt_tokens" | b"promptTokenCount" | b"input_tokens" | b"inputTokens" => prompt,
        b"completion_tokens" | b"output_tokens" | b"outputTokens" => billed.completion_tokens,
        b"candidatesTokenCount" => billed.completion_tokens.saturating_sub(billed.reasoning_tokens),
        b"total_tokens" | b"totalTokenCount" | b"totalTokens" => prompt.saturating_add(billed.completion_tokens),
        b"reasoning_tokens" | b"thoughtsTokenCount" | b"thinking_tokens" => billed.reasoning_tokens,
        b"cached_tokens" | b"cachedContentTokenCount" | b"cache_read_input_tokens" | b"prompt_cache_hit_tokens" => billed.cache_read_tokens,
        _ if key.ends_with(b"okens") || key.ends_with(b"okenCount") || key.ends_with(b"_requests") => 0,
        _ => return None,
    })
}

fn is_sum(key: &[u8]) -> bool {
    matches!(key, b"total_tokens" | b"totalTokenCount" | b"totalTokens")
}

fn counts_cached_beside(usage: &[u8]) -> bool {
    ["cache_read_input_tokens", "cache_creation_input_tokens"].iter().any(|name| matches!(member_of(usage, name), Ok(Some(_))))
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
            r#"{"usageMetadata":{"promptTokensDetails":[{"modality":"TEXT","tokenCount":99999999999},{"modality":"AUDIO","tokenCount":-1}]}}"#,
            Some(r#"{"usageMetadata":{"promptTokensDetails":[{"modality":"TEXT","tokenCount":0},{"modality":"AUDIO","tokenCount":0}]}}"#),
        );
        check(
            r#"{"choices":[{"index":0,"usage":{"completion_tokens":99999999999}}]}"#,
            Some(r#"{"choices":[{"index":0,"usage":{"completion_tokens":9}}]}"#),
        );
        for exponent in ["1e30", "1E30", "9.5e+30"] {
            assert!(may_be_absurd_usage(format!(r#"{{"prompt_tokens":{exponent}}}"#).as_bytes()));
        }
        assert!(!may_be_absurd_usage(b"") && !may_be_absurd_usage(br#"{"prompt_tokens":7,"completion_tokens":3}"#));
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
    fn nobody_uses_less_than_nothing() {
        check(
            r#"{"usage":{"prompt_tokens":-1,"completion_tokens": -7.5,"total_tokens":-2e0,"prompt_tokens_details":{"cached_tokens":-4,"audio_tokens":-1}}}"#,
            Some(
                r#"{"usage":{"prompt_tokens":7,"completion_tokens": 9,"total_tokens":16,"prompt_tokens_details":{"cached_tokens":2,"audio_tokens":0}}}"#,
            ),
        );
        check(
            "data: {\"type\":\"message_delta\",\"usage\":{\"input_tokens\":-1,\"cache_read_input_tokens\":2,\"output_tokens\":3}}\n\n",
            Some("data: {\"type\":\"message_delta\",\"usage\":{\"input_tokens\":5,\"cache_read_input_tokens\":2,\"output_tokens\":3}}\n\n"),
        );
        check(
            r#"{"usageMetadata":{"promptTokenCount":-1,"candidatesTokenCount":-1,"thoughtsTokenCount":-1,"totalTokenCount":-2}}"#,
            Some(r#"{"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":5,"thoughtsTokenCount":4,"totalTokenCount":16}}"#),
        );
        // What was summed up of it is believed no more.
        check(
            r#"{"usage":{"total_tokens":8,"prompt_tokens":-1,"completion_tokens":9}}"#,
            Some(r#"{"usage":{"total_tokens":16,"prompt_tokens":7,"completion_tokens":9}}"#),
        );
        // Zero is a figure with any sign, a cost and a time are no counts, and a text is a text.
        check(r#"{"usage":{"prompt_tokens":-0,"completion_tokens":-0.0}}"#, None);
        check(r#"{"usage":{"prompt_tokens":7,"cost":-3,"at_ms":-1},"logprob":-1.5,"content":"usage: -1"}"#, None);
        // The names of models and days are no reason to look.
        assert!(!may_be_absurd(br#"{"id":"r-1","modelVersion":"gemini-2.5-flash-2026-01-02","usageMetadata":{"promptTokenCount":7}}"#));
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
