//! What a request, its presets, its key and the settings say about giving replies again.

use crate::pipeline::failure::{Failure, shown};
use crate::pipeline::head::flag;
use fairlead_ir::ErrorKind;
use fairlead_snapshot::{Preset, Principal, Snapshot};
use http::HeaderMap;

const CACHE: &str = "x-openrouter-cache";
const TTL: &str = "x-openrouter-cache-ttl";
const CLEAR: &str = "x-openrouter-cache-clear";
const NAME: &str = "idempotency-key";

/// OpenRouter's bounds of a time.
const TTL_SECONDS_MAX: u64 = 86_400;
const NAME_BYTES_MAX: usize = 255;

/// Where the reply shall be cached, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caching {
    pub(super) ttl_seconds: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) cache: Option<Caching>,
    /// What is cached is let go of first.
    pub(super) clears: bool,
    pub(super) name: Option<Vec<u8>>,
}

impl Asked {
    /// A preset that says no wins; then the request counts, the presets, its key, the settings.
    ///
    /// # Errors
    /// A header has a value that it cannot have, or two.
    pub(super) fn read(headers: &HeaderMap, snapshot: &Snapshot, presets: &[usize], principal: &Principal) -> Result<Asked, Failure> {
        let wish = match once(headers, CACHE)? {
            None => None,
            value => Some(flag("X-OpenRouter-Cache", value)?),
        };
        let ttl_seconds = once(headers, TTL)?.map(ttl_seconds).transpose()?;
        let clears = flag("X-OpenRouter-Cache-Clear", once(headers, CLEAR)?)?;
        let name = once(headers, NAME)?.map(name).transpose()?;
        let said = || presets.iter().map(|position| &snapshot.presets[*position]);
        let forbids = said().any(|preset| preset.cache_enabled == Some(false));
        let by_preset = || said().find_map(|preset| preset.cache_enabled);
        let wish = wish.or_else(by_preset).or(principal.response_cache).unwrap_or(snapshot.settings.response_cache);
        let cache = (wish && !forbids).then(|| {
            let by_preset = || said().find_map(|Preset { cache_ttl_seconds, .. }| *cache_ttl_seconds);
            Caching { ttl_seconds: ttl_seconds.or_else(by_preset).unwrap_or(snapshot.settings.response_cache_ttl_seconds) }
        });
        Ok(Asked { cache, clears, name })
    }

    pub(super) fn is_nothing(&self) -> bool {
        *self == Asked::default()
    }
}

/// Whether it has a name under which it runs once.
pub(in crate::pipeline) fn is_named(headers: &HeaderMap) -> bool {
    headers.contains_key(NAME)
}

/// What a header says. Of two that differ neither is taken: under the wrong name a request runs twice, or is not run.
fn once<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a [u8]>, Failure> {
    let mut values = headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii());
    let first = values.next();
    if values.any(|other| Some(other) != first) {
        return Err(Failure::new(ErrorKind::InvalidRequest, format!("the header {name} has two values; send it once")));
    }
    Ok(first)
}

fn ttl_seconds(value: &[u8]) -> Result<u64, Failure> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let seconds = text.and_then(|text| text.parse().ok()).filter(|seconds| (1..=TTL_SECONDS_MAX).contains(seconds));
    seconds.ok_or_else(|| wrong(&format!("X-OpenRouter-Cache-TTL must be a whole number of seconds from 1 to {TTL_SECONDS_MAX}"), value))
}

fn name(value: &[u8]) -> Result<Vec<u8>, Failure> {
    let fits = (1..=NAME_BYTES_MAX).contains(&value.len()) && value.iter().all(|byte| (b' '..=b'~').contains(byte));
    if fits {
        Ok(value.to_vec())
    } else {
        Err(wrong(&format!("Idempotency-Key must be 1 to {NAME_BYTES_MAX} printable characters of ASCII"), value))
    }
}

fn wrong(rule: &str, value: &[u8]) -> Failure {
    Failure::new(ErrorKind::InvalidRequest, format!("{rule}, not {}", shown(&String::from_utf8_lossy(value))))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use http::{HeaderName, HeaderValue};

    fn snapshot(settings: &str) -> Snapshot {
        let presets =
            r#"[{"name":"never","cache_enabled":false},{"name":"always","cache_enabled":true,"cache_ttl_seconds":60},{"name":"mute"}]"#;
        let json = format!(r#"{{"version":1,"settings":{settings},"providers":[],"models":[],"presets":{presets}}}"#);
        Snapshot::from_json(json.as_bytes()).unwrap()
    }

    fn read(headers: &[(&'static str, &'static str)], settings: &str, presets: &[usize], key: Option<bool>) -> Result<Asked, String> {
        let map = headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        let mut principal = Principal::process(1);
        principal.response_cache = key;
        Asked::read(&map, &snapshot(settings), presets, &principal).map_err(Failure::into_message)
    }

    #[test]
    fn who_says_what() {
        const ON: &str = r#"{"response_cache":true,"response_cache_ttl_seconds":9}"#;
        let check = |headers: &[(&'static str, &'static str)], settings, presets: &[usize], key, ttl: Option<u64>| {
            let asked = read(headers, settings, presets, key).unwrap();
            assert_eq!(asked.cache.map(|cache| cache.ttl_seconds), ttl, "{headers:?} {settings} {presets:?} {key:?}");
        };
        let (yes, no) = ([(CACHE, "true")], [(CACHE, "false")]);
        check(&[], "{}", &[], None, None);
        check(&yes, "{}", &[], None, Some(300));
        check(&[(CACHE, "true"), (TTL, "86400")], "{}", &[], None, Some(86_400));
        check(&[(TTL, "60")], "{}", &[], None, None);
        check(&[], ON, &[], None, Some(9));
        check(&no, ON, &[], None, None);
        check(&[], ON, &[], Some(false), None);
        check(&[], "{}", &[], Some(true), Some(300));
        check(&no, "{}", &[1], Some(true), None);
        check(&yes, ON, &[0], Some(true), None);
        check(&[], ON, &[2, 0], None, None);
        check(&[], "{}", &[2, 1], Some(false), Some(60));
        check(&[(TTL, "5")], "{}", &[1], None, Some(5));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |name, value, says: &str| {
            let said = read(&[(name, value)], "{}", &[], None).unwrap_err();
            assert!(said.contains(says) && said.contains(value), "{said}");
        };
        for value in ["0", "86401", "-1", "1.5", "300s", "+5", "99999999999999999999"] {
            check(TTL, value, "X-OpenRouter-Cache-TTL");
        }
        check(CACHE, "yes", "X-OpenRouter-Cache");
        check(CLEAR, "maybe", "X-OpenRouter-Cache-Clear");
        assert!(read(&[(NAME, "")], "{}", &[], None).unwrap_err().contains("Idempotency-Key"));
        assert!(read(&[(NAME, "a\tb")], "{}", &[], None).unwrap_err().contains("Idempotency-Key"));
        for (name, one, other) in [(NAME, "a", "b"), (CACHE, "true", "false"), (TTL, "1", "2"), (CLEAR, "true", "false")] {
            let said = read(&[(name, one), (name, other)], "{}", &[], None).unwrap_err();
            assert_eq!(said, format!("the header {name} has two values; send it once"));
            assert_eq!(read(&[(name, one), (name, one)], "{}", &[], None), read(&[(name, one)], "{}", &[], None));
        }
    }
}
