//! When a provider wants to be asked again, in all the ways that they say it: seconds, a date, milliseconds, Go's durations, seconds since
//! 1970, RFC 3339, and Google's `retryDelay` in the body. A hint that is read wrongly is worse than none: `500ms` is no 500 seconds.

use fairlead_ir::calendar::days_from_civil;
use serde_json::Value;

/// Nothing is believed beyond five minutes; what was due in the past is due now.
pub const LONGEST_MS: u64 = 300_000;
/// What a client is told to wait at most: limits of a day exist, longer ones nobody waits for.
pub const LONGEST_HINT_MS: u64 = 86_400_000;
/// Up to here `x-ratelimit-reset` counts seconds from now, beyond it since 1970.
const RELATIVE_SECONDS: f64 = 30.0 * 86_400.0;

/// Headers whose smallest value counts, where none of the general ones is there.
const PER_LIMIT: [&str; 8] = [
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "anthropic-ratelimit-requests-reset",
    "anthropic-ratelimit-tokens-reset",
    "anthropic-ratelimit-input-tokens-reset",
    "anthropic-ratelimit-output-tokens-reset",
    "ratelimit-reset",
    "x-ratelimit-reset-after",
];

/// How long to wait, from a reply's headers (names in lower case) and the body of its error; `now_ms` is Unix time. In this order:
/// `Retry-After`, `retry-after-ms`, `x-ratelimit-reset`, the smallest reset of a single limit, `retryDelay`.
pub fn retry_after_ms<'a>(headers: impl Iterator<Item = (&'a str, &'a str)> + Clone, body: Option<&[u8]>, now_ms: u64) -> Option<u64> {
    let value = |wanted: &str| headers.clone().find(|(name, _)| *name == wanted).map(|(_, value)| value.trim());
    let per_limit = || PER_LIMIT.iter().filter_map(|name| reset_ms(value(name)?, now_ms)).min();
    let general = |name| value(name).and_then(|text| wait_ms(name, text, now_ms));
    general("retry-after")
        .or_else(|| general("retry-after-ms"))
        .or_else(|| value("x-ratelimit-reset").and_then(|text| reset_ms(text, now_ms)))
        .or_else(per_limit)
        .or_else(|| body.and_then(retry_delay_ms))
        .map(|ms| ms.min(LONGEST_MS))
}

/// What `retry-after` or `retry-after-ms` says, if it makes sense and is no more than [`LONGEST_HINT_MS`]: for passing it on.
pub fn hinted_ms(name: &str, text: &str, now_ms: u64) -> Option<u64> {
    wait_ms(name, text.trim(), now_ms).filter(|ms| *ms <= LONGEST_HINT_MS)
}

/// The value of one of the general headers. Not clamped.
fn wait_ms(name: &str, text: &str, now_ms: u64) -> Option<u64> {
    match name {
        "retry-after-ms" => number(text).map(|ms| ms as u64),
        _ => delay_ms(text).or_else(|| moment_ms(text).map(|at_ms| at_ms.saturating_sub(now_ms))),
    }
}

/// A reset: a delay, a moment, or a number that is one or the other by its size. Not clamped.
pub(crate) fn reset_ms(text: &str, now_ms: u64) -> Option<u64> {
    if let Some(seconds) = number(text).filter(|seconds| *seconds >= RELATIVE_SECONDS) {
        // Some count milliseconds since 1970.
        let at_ms = if seconds > 1e11 { seconds } else { seconds * 1000.0 };
        return Some((at_ms as u64).saturating_sub(now_ms));
    }
    delay_ms(text).or_else(|| moment_ms(text).map(|at_ms| at_ms.saturating_sub(now_ms)))
}

/// A plain number that is not negative.
fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|number: &f64| plain && number.is_finite())
}

/// Seconds, or a duration as Go writes it: `6m0s`, `1.5s`, `500ms`, `1h2m`.
fn delay_ms(text: &str) -> Option<u64> {
    if let Some(seconds) = number(text) {
        return Some((seconds * 1000.0).ceil() as u64);
    }
    let (mut rest, mut total_ms) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let amount = number(&rest[..digits])?;
        let unit = &rest[digits..];
        let letters = unit.find(|character: char| !character.is_alphabetic()).unwrap_or(unit.len());
        total_ms += amount
            * match &unit[..letters] {
                "h" => 3_600_000.0,
                "m" => 60_000.0,
                "s" => 1000.0,
                "ms" => 1.0,
                "us" | "µs" | "μs" => 0.001,
                "ns" => 0.000_001,
                _ => return None,
            };
        rest = &unit[letters..];
    }
    (!text.is_empty()).then_some(total_ms.ceil() as u64)
}

/// A moment as Unix milliseconds: RFC 3339, or a date of HTTP in any of its three spellings.
fn moment_ms(text: &str) -> Option<u64> {
    rfc3339_ms(text).or_else(|| http_date_ms(text))
}

/// `2026-11-21T13:00:00Z`, with or without a fraction, or with an offset.
fn rfc3339_ms(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let mut parts = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let (clock, offset) = match time.find(['Z', 'z', '+', '-']) {
        Some(at) => time.split_at(at),
        None => return None,
    };
    let offset_minutes = match offset.strip_prefix(['+', '-']) {
        Some(rest) => {
            let (hours, minutes) = rest.split_once(':')?;
            let minutes = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
            if offset.starts_with('-') { -minutes } else { minutes }
        }
        None => 0,
    };
    unix_ms(year, month, day, clock, offset_minutes)
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT`, `Sun Nov  6 08:49:37 1994`.
fn http_date_ms(text: &str) -> Option<u64> {
    let month = |name: &str| MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name)).map(|position| position as i64 + 1);
    let mut words = text.split([' ', '-', ',']).filter(|word| !word.is_empty()).skip(1);
    let first = words.next()?;
    if let Ok(day) = first.parse::<i64>() {
        let month = month(words.next()?)?;
        let year = words.next()?.parse::<i64>().ok()?;
        // Two digits: the nearest such year, as HTTP asks.
        let year = if year < 70 {
            year + 2000
        } else if year < 100 {
            year + 1900
        } else {
            year
        };
        return unix_ms(year, month, day, words.next()?, 0);
    }
    let (month, day, clock) = (month(first)?, words.next()?.parse().ok()?, words.next()?);
    unix_ms(words.next()?.parse().ok()?, month, day, clock, 0)
}

fn unix_ms(year: i64, month: i64, day: i64, clock: &str, offset_minutes: i64) -> Option<u64> {
    let mut parts = clock.split(':');
    let (hours, minutes) = (parts.next()?.parse::<i64>().ok()?, parts.next()?.parse::<i64>().ok()?);
    let seconds = number(parts.next()?)?;
    let sound = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !sound || hours > 24 || minutes > 59 || seconds > 60.0 {
        return None;
    }
    let days = days_from_civil(year as u64, month as u64, day as u64) as i64;
    let minutes = (days * 24 + hours) * 60 + minutes - offset_minutes;
    u64::try_from(minutes).ok().map(|minutes| minutes * 60_000 + (seconds * 1000.0) as u64)
}

/// `error.details[].retryDelay` of Google's APIs, alone or in a list of one.
fn retry_delay_ms(body: &[u8]) -> Option<u64> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let error = body.get("error").or_else(|| body.get(0)?.get("error"))?;
    error.get("details")?.as_array()?.iter().find_map(|detail| delay_ms(detail.get("retryDelay")?.as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 21 November 2026, 13:00:00 UTC.
    const NOW_MS: u64 = 1_795_266_000_000;

    fn check(name: &str, value: &str, expected: Option<u64>) {
        let headers = [("content-type", "application/json"), (name, value)];
        assert_eq!(retry_after_ms(headers.into_iter(), None, NOW_MS), expected, "{name}: {value}");
    }

    #[test]
    fn all_formats_are_read() {
        // Seconds.
        check("retry-after", "7", Some(7_000));
        check("retry-after", "0.25", Some(250));
        // Dates, all three spellings.
        check("retry-after", "Sat, 21 Nov 2026 13:00:20 GMT", Some(20_000));
        check("retry-after", "Saturday, 21-Nov-26 13:01:00 GMT", Some(60_000));
        check("retry-after", "Sat Nov 21 13:00:05 2026", Some(5_000));
        // Milliseconds.
        check("retry-after-ms", "1500", Some(1_500));
        // Go's durations.
        check("x-ratelimit-reset-requests", "500ms", Some(500));
        check("x-ratelimit-reset-tokens", "1m0.5s", Some(60_500));
        check("retry-after", "2s", Some(2_000));
        // Seconds since 1970, and milliseconds.
        check("x-ratelimit-reset", "1795266030", Some(30_000));
        check("x-ratelimit-reset", "1795266030000", Some(30_000));
        check("x-ratelimit-reset", "30", Some(30_000));
        // RFC 3339.
        check("anthropic-ratelimit-tokens-reset", "2026-11-21T13:00:12Z", Some(12_000));
        check("anthropic-ratelimit-requests-reset", "2026-11-21T14:00:01.5+01:00", Some(1_500));
    }

    #[test]
    fn google_says_it_in_the_body() {
        let body = br#"{"error":{"code":429,"details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure"},
            {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.07s"}]}}"#;
        assert_eq!(retry_after_ms([].into_iter(), Some(body), NOW_MS), Some(34_070));
        let list = [b"[", body.as_slice(), b"]"].concat();
        assert_eq!(retry_after_ms([].into_iter(), Some(&list), NOW_MS), Some(34_070));
        assert_eq!(retry_after_ms([].into_iter(), Some(b"<html>"), NOW_MS), None);
        let header = [("retry-after", "1")];
        assert_eq!(retry_after_ms(header.into_iter(), Some(body), NOW_MS), Some(1_000), "a header goes first");
    }

    #[test]
    fn hints_are_clamped_and_nonsense_is_none() {
        check("retry-after", "86400", Some(LONGEST_MS));
        check("retry-after", "6h0m0s", Some(LONGEST_MS));
        check("retry-after", "Sat, 21 Nov 2020 13:00:20 GMT", Some(0));
        check("x-ratelimit-reset", "1795265000", Some(0));
        for nonsense in
            ["", "-1", "soon", "5 apples", "1e3", "NaN", "inf", "99:99", "1d", "Sat, 99 Foo 2026 13:00:20 GMT", "2026-13-01T00:00:00Z"]
        {
            check("retry-after", nonsense, None);
        }
    }

    #[test]
    fn what_a_client_is_told_makes_sense() {
        let check = |name: &str, text: &str, expected| assert_eq!(hinted_ms(name, text, NOW_MS), expected, "{name}: {text}");
        check("retry-after", "7", Some(7_000));
        check("retry-after", " 3600 ", Some(3_600_000));
        check("retry-after", "86400", Some(LONGEST_HINT_MS));
        check("retry-after", "Sat, 21 Nov 2026 13:00:20 GMT", Some(20_000));
        check("retry-after-ms", "1500", Some(1_500));
        for nonsense in ["86401", "99999999999999999999", "-1", "soon", "", "Sat, 21 Nov 2099 13:00:20 GMT"] {
            check("retry-after", nonsense, None);
        }
        for nonsense in ["86400001", "-5", "2s"] {
            check("retry-after-ms", nonsense, None);
        }
    }

    #[test]
    fn the_first_that_says_something_wins_and_of_limits_the_soonest() {
        let check = |headers: &[(&str, &str)], expected| {
            assert_eq!(retry_after_ms(headers.iter().copied(), None, NOW_MS), Some(expected), "{headers:?}");
        };
        check(&[("retry-after-ms", "10"), ("retry-after", "2")], 2_000);
        check(&[("retry-after", "soon"), ("retry-after-ms", "10")], 10);
        check(&[("x-ratelimit-reset-tokens", "6m0s"), ("x-ratelimit-reset-requests", "1s")], 1_000);
    }
}
