//! What a provider's headers say of its own limits.

use super::retry_after::reset_ms;

/// What is left of a credential's limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Of requests.
    pub requests: Meter,
    /// Of tokens; where several kinds are counted, of the scarcest.
    pub tokens: Meter,
}

/// What is left of one limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    /// Left until the reset.
    pub remaining: Option<u64>,
    /// Until it is full again.
    pub reset_ms: Option<u64>,
}

/// Names of the headers of one limit: what is left, and until when.
const REQUESTS: [(&str, &str); 3] = [
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
];
const TOKENS: [(&str, &str); 4] = [
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
];

/// No name is shorter.
const SHORTEST: usize = REQUESTS[2].1.len();

impl Quota {
    /// What a reply's headers say, in any case of letters; `None` where they say nothing. `now_ms` is Unix time.
    pub fn read<'a>(headers: impl Iterator<Item = (&'a [u8], &'a [u8])>, now_ms: u64) -> Option<Quota> {
        let mut remaining = [None; REQUESTS.len() + TOKENS.len()];
        let mut resets = remaining.map(|_: Option<u64>| None);
        // Most headers are told from these by their length and first letter.
        for (name, value) in headers.filter(|(name, _)| name.len() >= SHORTEST && matches!(name[0] | 0x20, b'x' | b'a')) {
            let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
            for (position, (left, reset)) in REQUESTS.iter().chain(&TOKENS).enumerate() {
                if is(left) {
                    remaining[position] = text(value).and_then(|text| text.parse::<u64>().ok());
                } else if is(reset) {
                    resets[position] = text(value);
                }
            }
        }
        let scarcest = |from: usize, to: usize| {
            let known = (from..to).filter(|position| remaining[*position].is_some());
            let position = known.min_by_key(|position| remaining[*position])?;
            Some(Meter { remaining: remaining[position], reset_ms: resets[position].and_then(|text| reset_ms(text, now_ms)) })
        };
        let (requests, tokens) = (scarcest(0, REQUESTS.len()), scarcest(REQUESTS.len(), remaining.len()));
        (requests.is_some() || tokens.is_some())
            .then(|| Quota { requests: requests.unwrap_or_default(), tokens: tokens.unwrap_or_default() })
    }
}

fn text(value: &[u8]) -> Option<&str> {
    str::from_utf8(value).ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openai_and_anthropic_are_understood() {
        let check = |headers: &[(&str, &str)], requests: Meter, tokens: Meter| {
            let found = Quota::read(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())), 1_795_266_000_000);
            assert_eq!(found, Some(Quota { requests, tokens }), "{headers:?}");
        };
        let meter = |remaining, reset_ms| Meter { remaining: Some(remaining), reset_ms: Some(reset_ms) };
        check(
            &[
                ("X-RateLimit-Remaining-Requests", " 59"),
                ("x-ratelimit-reset-requests", "1s"),
                ("x-ratelimit-remaining-tokens", "149984"),
                ("x-ratelimit-reset-tokens", "6m0s"),
            ],
            meter(59, 1_000),
            meter(149_984, 360_000),
        );
        check(
            &[
                ("anthropic-ratelimit-requests-remaining", "3"),
                ("anthropic-ratelimit-requests-reset", "2026-11-21T13:00:12Z"),
                ("anthropic-ratelimit-input-tokens-remaining", "100"),
                ("anthropic-ratelimit-input-tokens-reset", "2026-11-21T13:00:30Z"),
                ("anthropic-ratelimit-output-tokens-remaining", "7"),
                ("anthropic-ratelimit-output-tokens-reset", "2026-11-21T13:00:10Z"),
            ],
            meter(3, 12_000),
            meter(7, 10_000),
        );
        check(&[("x-ratelimit-remaining", "0")], Meter { remaining: Some(0), reset_ms: None }, Meter::default());
        assert_eq!(Quota::read([(&b""[..], &b"x"[..]), (b"content-type", b"x"), (b"x-ratelimit-remaining", b"many")].into_iter(), 0), None);
    }
}
