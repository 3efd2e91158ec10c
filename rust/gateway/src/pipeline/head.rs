//! A request's headers, read once: what each step needs, found in a single pass instead of a dozen look-ups.

use super::failure::{Failure, shown};
use super::reply::headers_too_large;
use fairlead_ir::{Dialect, ErrorKind};
use fairlead_snapshot::Limits;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Version};

/// Headers of the client that providers may see, under the name they see it; all others stay here. Most of all its key.
const PASSED: [(&str, &str); 6] = [
    ("anthropic-version", "anthropic-version"),
    ("anthropic-beta", "anthropic-beta"),
    ("x-anthropic-beta", "anthropic-beta"),
    ("openai-beta", "openai-beta"),
    ("traceparent", "traceparent"),
    ("tracestate", "tracestate"),
];

pub(super) fn flag(name: &str, value: Option<&[u8]>) -> Result<bool, Failure> {
    match value {
        None | Some(b"false" | b"0") => Ok(false),
        Some(b"true" | b"1") => Ok(true),
        Some(other) => {
            let message = format!("{name} must be true or false, not {}", shown(&String::from_utf8_lossy(other)));
            Err(Failure::new(ErrorKind::InvalidRequest, message))
        }
    }
}

/// Headers a key may come in, besides `Authorization: Bearer`, in the order of preference.
const KEYS: [&str; 3] = ["x-api-key", "x-goog-api-key", "api-key"];

/// How the headers begin that are OpenRouter's own.
const OPENROUTER: &str = "x-openrouter-";

/// What a request's headers say.
#[derive(Default)]
pub(crate) struct Head<'a> {
    bearer: Option<&'a [u8]>,
    keys: [Option<&'a [u8]>; KEYS.len()],
    /// Lines for the provider, each under our spelling.
    passed: Vec<(&'static str, &'a [u8])>,
    pub(crate) user_agent: Option<&'a [u8]>,
    pub(crate) referer: Option<&'a [u8]>,
    title: Option<&'a [u8]>,
    openrouter_title: Option<&'a [u8]>,
    pub(crate) session: Option<&'a [u8]>,
    /// `X-Fairlead-Strict`.
    strict: Option<&'a [u8]>,
    /// `X-Fairlead-Explain`.
    explain: Option<&'a [u8]>,
    /// `X-OpenRouter-Metadata`.
    metadata: Option<&'a [u8]>,
    coding: Option<&'a [u8]>,
    /// It may be answered with a reply that another request got: `Idempotency-Key`, `X-OpenRouter-Cache` and its relatives.
    pub(crate) repeats: bool,
    /// The client waits for `100 Continue` before it sends its body.
    pub(crate) expects: bool,
    upgrades: bool,
    hosts: usize,
    /// A Transfer-Encoding other than chunked.
    transfer_coding: Option<&'a [u8]>,
}

impl<'a> Head<'a> {
    pub(crate) fn read(headers: &'a HeaderMap) -> Head<'a> {
        let mut head = Head::default();
        for (name, value) in headers {
            head.note(name.as_str(), value);
        }
        head
    }

    fn note(&mut self, name: &str, value: &'a HeaderValue) {
        let value = value.as_bytes();
        match name {
            "authorization" => self.bearer = self.bearer.or(bearer(value)),
            "user-agent" => self.user_agent = Some(value),
            // OpenRouter's attribution header is literally called so; a browser's own comes second.
            "http-referer" => self.referer = Some(value),
            "referer" => self.referer = self.referer.or(Some(value)),
            "x-title" => self.title = Some(value),
            _ if name.starts_with(OPENROUTER) => match &name[OPENROUTER.len()..] {
                "title" => self.openrouter_title = Some(value),
                // The second is its older name.
                "metadata" | "experimental-metadata" => self.metadata = Some(value),
                "cache" | "cache-ttl" | "cache-clear" => self.repeats = true,
                _ => {}
            },
            "x-session-id" => self.session = Some(value),
            "idempotency-key" => self.repeats = true,
            "x-fairlead-strict" => self.strict = Some(value),
            "x-fairlead-explain" => self.explain = Some(value),
            "content-encoding" if !value.eq_ignore_ascii_case(b"identity") => self.coding = Some(value),
            "expect" => self.expects = true,
            "upgrade" => self.upgrades = true,
            "host" => self.hosts += 1,
            "transfer-encoding" if !value.eq_ignore_ascii_case(b"chunked") => self.transfer_coding = Some(value),
            "accept" | "accept-encoding" | "transfer-encoding" | "content-type" | "content-length" | "connection" => {}
            _ => {
                if let Some(place) = KEYS.iter().position(|key| *key == name) {
                    self.keys[place] = self.keys[place].or(Some(value.trim_ascii()));
                } else if let Some((_, ours)) = PASSED.iter().find(|(theirs, _)| *theirs == name) {
                    self.passed.push((*ours, value));
                }
            }
        }
    }

    /// The key, wherever the client put it.
    pub(crate) fn key(&self) -> Option<&'a [u8]> {
        self.bearer.or_else(|| self.keys.iter().find_map(|key| *key)).filter(|key| !key.is_empty())
    }

    /// Takes the key from the query (`?key=`), where Gemini's clients may put it, if no header has one.
    pub(crate) fn take_key_from(&mut self, query: Option<&'a str>) {
        let key = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("key=")));
        self.keys[0] = self.keys[0].or(key.map(str::as_bytes));
    }

    /// Whether the client would rather be refused than lose anything in a translation.
    pub(crate) fn strict(&self) -> Result<bool, Failure> {
        flag("X-Fairlead-Strict", self.strict)
    }

    /// Whether the client wants to know why its request went where it went.
    pub(crate) fn wants_explanation(&self) -> Result<bool, Failure> {
        flag("X-Fairlead-Explain", self.explain)
    }

    /// Whether the client wants `openrouter_metadata`. As OpenRouter has it, any other word than the one means no.
    pub(crate) fn wants_metadata(&self) -> bool {
        self.metadata.is_some_and(|value| value.eq_ignore_ascii_case(b"enabled"))
    }

    /// The bearer token alone.
    pub(crate) fn bearer(&self) -> Option<&'a [u8]> {
        self.bearer
    }

    /// The app's name.
    pub(crate) fn title(&self) -> Option<&'a [u8]> {
        self.openrouter_title.or(self.title)
    }

    /// The client's lines that a provider gets that is spoken to in `upstream`: all of them in the client's own dialect, else those that
    /// mean something there.
    pub(crate) fn passed_to(&self, client: Dialect, upstream: Dialect) -> impl Iterator<Item = (&'static str, &'a [u8])> {
        self.passed.iter().copied().filter(move |(name, _)| match *name {
            // Which version of an API a client understands says nothing about a reply that it never sees.
            _ if upstream == client => true,
            "anthropic-version" => false,
            "anthropic-beta" => upstream == Dialect::AnthropicMessages,
            "openai-beta" => matches!(upstream, Dialect::OpenaiChat | Dialect::OpenaiResponses),
            _ => true,
        })
    }

    /// What every request must fulfil, whatever it asks for.
    pub(crate) fn check(&self, version: Version) -> Result<(), Failure> {
        // RFC 9112 3.2; HTTP/2 has a pseudo-header instead.
        if version == Version::HTTP_11 && self.hosts != 1 {
            let message = format!("an HTTP/1.1 request has one Host header; this one has {}", self.hosts);
            return Err(Failure::new(ErrorKind::InvalidRequest, message).closing());
        }
        if let Some(coding) = self.transfer_coding {
            let coding = shown(&String::from_utf8_lossy(coding));
            let message = format!("Transfer-Encoding {coding} is not accepted; only chunked is");
            return Err(Failure::new(ErrorKind::InvalidRequest, message).closing());
        }
        if self.upgrades {
            let message = "protocol upgrades (WebSocket) are not supported; send a plain HTTP request";
            return Err(Failure::new(ErrorKind::InvalidRequest, message));
        }
        if let Some(coding) = self.coding {
            let coding = shown(&String::from_utf8_lossy(coding));
            let message = format!("Content-Encoding {coding} is not accepted; send the body uncompressed");
            return Err(Failure::new(ErrorKind::InvalidRequest, message));
        }
        Ok(())
    }
}

/// HTTP/2's headers against the limits; HTTP/1.1's have been counted as they were read.
pub(crate) fn check_size(parts: &Parts, limits: &Limits) -> Result<(), Failure> {
    if parts.version != Version::HTTP_2 || parts.headers.len() <= limits.headers && list_bytes(&parts.headers) <= limits.header_bytes {
        return Ok(());
    }
    Err(Failure::new(ErrorKind::HeadersTooLarge, headers_too_large(limits.headers, limits.header_bytes)))
}

/// The size of a header list as HTTP/2 counts it (RFC 9113 6.5.2).
fn list_bytes(headers: &HeaderMap) -> usize {
    const LINE_BYTES: usize = 32;
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + LINE_BYTES).sum()
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn check(headers: &[(&'static str, &'static str)], key: Option<&str>) {
        assert_eq!(Head::read(&map(headers)).key(), key.map(str::as_bytes), "{headers:?}");
    }

    #[test]
    fn keys_are_found_where_clients_put_them() {
        check(&[("authorization", "Bearer sk-1")], Some("sk-1"));
        check(&[("authorization", "bearer  sk-1 ")], Some("sk-1"));
        check(&[("authorization", "Bearer sk-1"), ("x-api-key", "sk-2")], Some("sk-1"));
        check(&[("x-goog-api-key", "sk-3"), ("x-api-key", "sk-2")], Some("sk-2"));
        check(&[("authorization", "Basic abc"), ("x-goog-api-key", "sk-3")], Some("sk-3"));
        check(&[("api-key", "sk-4")], Some("sk-4"));
        check(&[("authorization", "Bearer ")], None);
        check(&[("authorization", "Bear")], None);
        check(&[], None);
    }

    #[test]
    fn only_listed_headers_pass() {
        let headers = map(&[
            ("anthropic-beta", "a"),
            ("x-anthropic-beta", "b"),
            ("cookie", "c"),
            ("x-fairlead-principal", "d"),
            ("traceparent", "e"),
        ]);
        let head = Head::read(&headers);
        let mut names: Vec<_> = head.passed.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        assert_eq!(names, ["anthropic-beta", "anthropic-beta", "traceparent"]);
    }

    #[test]
    fn headers_of_a_dialect_pass_to_it_alone() {
        use Dialect::{AnthropicMessages, BedrockConverse, OpenaiChat, OpenaiResponses};
        let headers = map(&[("anthropic-version", "a"), ("anthropic-beta", "b"), ("openai-beta", "c"), ("tracestate", "d")]);
        let head = Head::read(&headers);
        let check = |client, upstream, expected: &str| {
            let mut passed: Vec<_> = head.passed_to(client, upstream).flat_map(|(_, value)| value.iter().copied()).collect();
            passed.sort_unstable();
            assert_eq!(passed, expected.as_bytes(), "{client:?} {upstream:?}");
        };
        check(AnthropicMessages, AnthropicMessages, "abcd");
        check(OpenaiChat, AnthropicMessages, "bd");
        check(OpenaiChat, OpenaiResponses, "cd");
        check(AnthropicMessages, BedrockConverse, "d");
    }

    #[test]
    fn gemini_keys_may_stand_in_the_query() {
        let check = |headers: &[(&'static str, &'static str)], query, key: Option<&str>| {
            let headers = map(headers);
            let mut head = Head::read(&headers);
            head.take_key_from(query);
            assert_eq!(head.key(), key.map(str::as_bytes), "{query:?}");
        };
        check(&[], Some("alt=sse&key=sk-1"), Some("sk-1"));
        check(&[("x-goog-api-key", "sk-2")], Some("key=sk-1"), Some("sk-1"));
        check(&[("authorization", "Bearer sk-3")], Some("key=sk-1"), Some("sk-3"));
        check(&[], Some("keys=sk-1"), None);
        check(&[], None, None);
    }

    #[test]
    fn metadata_is_asked_for_by_one_word() {
        let check = |name: &'static str, value: &'static str, wants| {
            assert_eq!(Head::read(&map(&[(name, value)])).wants_metadata(), wants, "{name}: {value}");
        };
        check("x-openrouter-metadata", "enabled", true);
        check("x-openrouter-metadata", "Enabled", true);
        check("x-openrouter-experimental-metadata", "enabled", true);
        check("x-openrouter-metadata", "disabled", false);
        check("x-openrouter-metadata", "true", false);
        check("x-openrouter-title", "enabled", false);
    }

    #[test]
    fn strictness_is_a_word() {
        let check = |value: &'static str, strict| {
            let headers = map(&[("x-fairlead-strict", value)]);
            assert_eq!(Head::read(&headers).strict().ok(), strict, "{value}");
        };
        check("true", Some(true));
        check("1", Some(true));
        check("false", Some(false));
        check("yes", None);
    }

    #[test]
    fn what_no_request_may_have() {
        let check = |headers: &[(&'static str, &'static str)], version, fine| {
            assert_eq!(Head::read(&map(headers)).check(version).is_ok(), fine, "{headers:?} {version:?}");
        };
        check(&[("host", "a")], Version::HTTP_11, true);
        check(&[("host", "a"), ("content-encoding", "identity"), ("transfer-encoding", "Chunked")], Version::HTTP_11, true);
        check(&[("host", "a"), ("upgrade", "websocket")], Version::HTTP_11, false);
        check(&[("host", "a"), ("content-encoding", "gzip")], Version::HTTP_11, false);
        check(&[("host", "a"), ("transfer-encoding", "gzip, chunked")], Version::HTTP_11, false);
        check(&[], Version::HTTP_11, false);
        check(&[], Version::HTTP_10, true);
        check(&[], Version::HTTP_2, true);
    }
}
