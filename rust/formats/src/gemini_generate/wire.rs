//! Words and figures of this dialect: finish reasons, usage, ids of calls that came without one, times.

pub(crate) mod grounding;
pub(crate) mod logprobs;
pub(crate) mod media;
pub(crate) mod outline;
pub(crate) mod part;

use core::ops::Range;

use fairlead_ir::calendar::{civil_from_days, days_from_civil};
use fairlead_ir::{NanoUsd, StopReason, Text, Tier, Usage};

use crate::decimal::{count, nano_usd};
use crate::json::skip_space;
use crate::json::walk::{self, Cursor, as_str};
use crate::patch::name;
use crate::reply::{Figured, Missing};
use crate::write::Object;

/// The documented value (`skip_thought_signature_validator` in base64) for the signature of a call that Gemini did not make.
pub(crate) static NO_SIGNATURE: Text<'static> = Text::word("c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=");

/// What a `finishReason` or `blockReason` means. Case does not matter; an unknown word means the end, the word itself stays visible.
pub(crate) fn stop_reason(native: &[u8]) -> StopReason {
    const FILTERS: [&str; 13] = [
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "IMAGE_OTHER",
        "MODEL_ARMOR",
        "ESCALATION",
        "PUP_LIMITED_DISABLED",
    ];
    const FAILURES: [&str; 7] = [
        "OTHER",
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "NO_IMAGE",
    ];
    let is = |words: &[&str]| words.iter().any(|word| native.eq_ignore_ascii_case(word.as_bytes()));
    match () {
        // The same request with the reply's token goes on where it was cut.
        () if is(&["MAX_TOKENS", "CONTINUATION"]) => StopReason::MaxTokens,
        () if is(&FILTERS) => StopReason::ContentFilter,
        () if is(&FAILURES) => StopReason::Failed,
        () => StopReason::End,
    }
}

/// The `finishReason` for a reply of another dialect. Calls end with `STOP`, too.
pub(crate) const fn finish_word(reason: StopReason) -> &'static str {
    match reason {
        StopReason::End | StopReason::StopSequence | StopReason::ToolCalls | StopReason::Pause | StopReason::Compaction => "STOP",
        StopReason::MaxTokens | StopReason::ContextWindow => "MAX_TOKENS",
        StopReason::ContentFilter | StopReason::Refusal => "SAFETY",
        StopReason::Failed => "OTHER",
    }
}

/// The figures of `usageMetadata`: running totals, so that later ones overwrite earlier ones, field by field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    prompt: Option<u64>,
    tool_prompt: Option<u64>,
    cached: Option<u64>,
    candidates: Option<u64>,
    thoughts: Option<u64>,
    total: Option<u64>,
    /// Web searches told beside the figures, in `groundingMetadata`.
    pub(crate) web_searches: u64,
    /// What a gateway in between put there.
    pub(crate) cost: Option<NanoUsd>,
    tier: Option<Tier>,
}

impl Figures {
    /// Takes the figures of a `usageMetadata` object.
    pub(crate) fn merge(&mut self, usage: &[u8]) {
        if !self.merge_plain(usage) {
            walk::members(usage).map_while(Result::ok).for_each(|member| self.take(&name(member.key), member.value));
        }
    }

    /// As [`Figures::merge`]; whether it was one object and nothing else, at its own level, with names that hold no escapes.
    ///
    /// Figures come with every chunk: names and whole numbers are read byte by byte, which for their few bytes is faster than any vector.
    pub(crate) fn merge_plain(&mut self, usage: &[u8]) -> bool {
        let mut at = skip_space(usage, 0);
        if usage.get(at) != Some(&b'{') {
            return false;
        }
        at = skip_space(usage, at + 1);
        if usage.get(at) == Some(&b'}') {
            return skip_space(usage, at + 1) == usage.len();
        }
        loop {
            let Some((key, value)) = Figures::next_figure(usage, at) else { return false };
            self.take(&usage[key], &usage[value.clone()]);
            at = skip_space(usage, value.end);
            match usage.get(at) {
                Some(b',') => at = skip_space(usage, at + 1),
                Some(b'}') => return skip_space(usage, at + 1) == usage.len(),
                _ => return false,
            }
        }
    }

    /// Where the name and the value of the member at `at` lie.
    fn next_figure(usage: &[u8], at: usize) -> Option<(Range<usize>, Range<usize>)> {
        let key = at + 1;
        let key = key..key + usage.get(at..)?.strip_prefix(b"\"")?.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        let colon = skip_space(usage, key.end + 1);
        let value = skip_space(usage, colon + 1);
        if usage.get(key.end) != Some(&b'"') || usage.get(colon) != Some(&b':') {
            return None;
        }
        let rest = usage.get(value..)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_whole = digits > 0 && matches!(rest.get(digits), Some(b',' | b'}' | b' ' | b'\n' | b'\r' | b'\t'));
        let length = if is_whole { digits } else { Cursor::new(rest).skip().ok()?.len() };
        Some((key, value..value + length))
    }

    fn take(&mut self, key: &[u8], value: &[u8]) {
        let slot = match key {
            b"promptTokenCount" => &mut self.prompt,
            b"toolUsePromptTokenCount" => &mut self.tool_prompt,
            b"cachedContentTokenCount" => &mut self.cached,
            b"candidatesTokenCount" => &mut self.candidates,
            b"thoughtsTokenCount" => &mut self.thoughts,
            b"totalTokenCount" => &mut self.total,
            b"cost" => {
                self.cost = nano_usd(value).or(self.cost);
                return;
            }
            b"serviceTier" | b"trafficType" => {
                self.tier = as_str(value).and_then(|word| tier_of(&word)).or(self.tier);
                return;
            }
            _ => return,
        };
        *slot = count(value).or(*slot);
    }

    /// Disjoint buckets; `None` when no figure was ever told (early chunks have `trafficType` only). Zeros are not written by this
    /// dialect's owner, so that what is absent beside other figures is zero.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.prompt.or(self.candidates).or(self.thoughts).or(self.total)?;
        let prompt = self.prompt.unwrap_or(0).saturating_add(self.tool_prompt.unwrap_or(0));
        let cached = self.cached.unwrap_or(0);
        // They are a part of it; without it they say how much of it there was at least.
        let cached = if self.prompt.is_some() { cached.min(prompt) } else { cached };
        let thoughts = self.thoughts.unwrap_or(0);
        let rest = || self.total.unwrap_or(0).saturating_sub(prompt).saturating_sub(thoughts);
        Some(Usage {
            prompt_tokens: prompt.saturating_sub(cached),
            cache_read_tokens: cached,
            completion_tokens: self.candidates.unwrap_or_else(rest).saturating_add(thoughts),
            reasoning_tokens: thoughts,
            web_searches: self.web_searches,
            ..Usage::default()
        })
    }

    /// As [`Figures::usage`], with what of it nobody told.
    pub(crate) fn figured(&self) -> Option<Figured> {
        let completion = self.candidates.is_none() && self.thoughts.is_none() && self.total.is_none();
        let missing = Missing { prompt: self.prompt.is_none(), completion };
        self.usage().map(|usage| Figured { usage, missing, cost: self.cost, tier: self.tier })
    }
}

/// The tier in Google's words: those of Gemini's own API, and those of its cloud, which names the traffic.
fn tier_of(word: &str) -> Option<Tier> {
    Tier::from_word(word.strip_prefix("ON_DEMAND_").unwrap_or(word).as_bytes())
}

/// Writes the members of `usageMetadata`, with what the caller pays.
pub(crate) fn write_usage(usage: Option<&Usage>, cost: Option<NanoUsd>, object: &mut Object<'_>) {
    if let Some(usage) = usage {
        let prompt = usage.total_prompt_tokens();
        object.number("promptTokenCount", prompt);
        object.number("candidatesTokenCount", usage.completion_tokens.saturating_sub(usage.reasoning_tokens));
        for (key, tokens) in [("cachedContentTokenCount", usage.cache_read_tokens), ("thoughtsTokenCount", usage.reasoning_tokens)] {
            if tokens > 0 {
                object.number(key, tokens);
            }
        }
        object.number("totalTokenCount", prompt.saturating_add(usage.completion_tokens));
    }
    if let Some(cost) = cost {
        cost.write(object.key("cost"));
    }
}

/// FNV-1a: the same everywhere and always. No secret depends on it.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// An id for the call at place `number` of a reply that came without one. `seed` differs from reply to reply.
pub(crate) fn made_id(seed: u64, number: u32) -> Text<'static> {
    Text::owned(format!("call_{seed:016x}_{number}").into_bytes())
}

/// Unix seconds of an RFC 3339 time in UTC, such as `2026-02-03T04:05:06.789Z`.
pub(crate) fn unix_seconds(time: &[u8]) -> Option<u64> {
    let number = |from: usize, to: usize| walk_digits(time.get(from..to)?);
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if !time.ends_with(b"Z") || separators.iter().any(|(at, byte)| time.get(*at) != Some(byte)) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = (number(11, 13)? * 60 + number(14, 16)?) * 60 + number(17, 19)?;
    Some(days_from_civil(year, month, day) * 86_400 + seconds)
}

/// The same time as RFC 3339 writes it.
pub(crate) fn rfc3339(unix_seconds: u64) -> String {
    let (year, month, day) = civil_from_days(unix_seconds / 86_400);
    let second = unix_seconds % 86_400;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60)
}

fn walk_digits(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use proptest::prelude::*;

    fn check(objects: &[&str], expected: Option<Usage>) {
        let mut figures = Figures::default();
        objects.iter().for_each(|object| figures.merge(object.as_bytes()));
        assert_eq!(figures.usage(), expected, "{objects:?}");
    }

    #[test]
    fn usage_in_disjoint_buckets() {
        let plain = Usage { prompt_tokens: 10, completion_tokens: 5, ..Usage::default() };
        check(&[r#"{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":15}"#], Some(plain));
        check(&[r#"{"trafficType":"ON_DEMAND"}"#], None);
        check(&[" { } "], None);
        let odd = r#" {"x":[{"promptTokenCount":1}], "promptTokenC\u006funt" : 10 ,"candidatesTokenCount":5.0} "#;
        check(&[odd], Some(plain));
        assert!(!Figures::default().merge_plain(odd.as_bytes()));
        for (usage, plain) in
            [("{\"a\":1}", true), ("{\"a\":1", false), ("{\"a\":1}}", false), ("{\"a\"1}", false), ("{\"a\":1,}", false), ("{,}", false)]
        {
            assert_eq!(Figures::default().merge_plain(usage.as_bytes()), plain, "{usage}");
        }
        check(
            &[
                r#"{"promptTokenCount":10,"toolUsePromptTokenCount":3,"cachedContentTokenCount":4,"candidatesTokenCount":5,"thoughtsTokenCount":7,"totalTokenCount":25}"#,
            ],
            Some(Usage { prompt_tokens: 9, cache_read_tokens: 4, completion_tokens: 12, reasoning_tokens: 7, ..Usage::default() }),
        );
        check(&[r#"{"promptTokenCount":10,"totalTokenCount":10}"#], Some(Usage { prompt_tokens: 10, ..Usage::default() }));
        check(&[r#"{"promptTokenCount":10,"totalTokenCount":15}"#], Some(plain));
        check(&[r#"{"promptTokenCount":10,"thoughtsTokenCount":2,"totalTokenCount":12}"#].repeat(2), {
            Some(Usage { prompt_tokens: 10, completion_tokens: 2, reasoning_tokens: 2, ..Usage::default() })
        });
    }

    #[test]
    fn running_totals_overwrite() {
        let early = r#"{"promptTokenCount":10,"totalTokenCount":10}"#;
        let late = r#"{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":15}"#;
        check(
            &[early, late, r#"{"trafficType":"ON_DEMAND"}"#],
            Some(Usage { prompt_tokens: 10, completion_tokens: 5, ..Usage::default() }),
        );
    }

    #[test]
    fn written_usage_reads_back() {
        let usage = Usage { prompt_tokens: 9, cache_read_tokens: 4, completion_tokens: 12, reasoning_tokens: 7, ..Usage::default() };
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        write_usage(Some(&usage), Some(NanoUsd(1_500_000)), &mut object);
        object.close();
        let expected = r#"{"promptTokenCount":13,"candidatesTokenCount":5,"cachedContentTokenCount":4,"thoughtsTokenCount":7,"totalTokenCount":25,"cost":0.0015}"#;
        assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
        check(&[expected], Some(usage));
    }

    #[test]
    fn every_word_has_a_meaning() {
        for (native, reason) in [
            ("STOP", StopReason::End),
            ("stop", StopReason::End),
            ("MAX_TOKENS", StopReason::MaxTokens),
            ("CONTINUATION", StopReason::MaxTokens),
            ("SAFETY", StopReason::ContentFilter),
            ("IMAGE_SAFETY", StopReason::ContentFilter),
            ("MODEL_ARMOR", StopReason::ContentFilter),
            ("MALFORMED_FUNCTION_CALL", StopReason::Failed),
            ("MISSING_THOUGHT_SIGNATURE", StopReason::Failed),
            ("BRAND_NEW", StopReason::End),
        ] {
            assert_eq!(stop_reason(native.as_bytes()), reason, "{native}");
        }
    }

    #[test]
    fn times() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2024-02-29T12:00:00.123456Z", Some(1_709_208_000)),
            ("2026-11-20T23:59:59Z", Some(1_795_219_199)),
            ("2026-11-20", None),
            ("2026-13-20T23:59:59Z", None),
            ("", None),
        ] {
            assert_eq!(unix_seconds(text.as_bytes()), seconds, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_time_reads_back(seconds in 0..253_402_300_800_u64) {
            prop_assert_eq!(unix_seconds(rfc3339(seconds).as_bytes()), Some(seconds));
        }

        #[test]
        fn garbage_is_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (unix_seconds(&bytes), stop_reason(&bytes));
        }
    }
}
