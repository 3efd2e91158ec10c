//! Takes credentials out of text that providers wrote before a caller or a log sees it.
//!
//! Providers repeat the key they refused, whole or masked. The text is cut into words; a word is hidden when it is one of the
//! secrets in use, when it begins like a known kind of key, when it follows `Bearer`, or when it is a long random-looking run
//! shortly after a word such as `key` or `token`. It errs on the side of hiding: losing a word of an error message costs nothing.

/// What stands in place of a hidden word.
pub const HIDDEN: &str = "[redacted]";

/// How keys of known vendors begin.
const PREFIXES: [&str; 26] = [
    "sk-",
    "sk_",
    "pk-",
    "pk_",
    "rk-",
    "rk_",
    "gsk_",
    "csk-",
    "xai-",
    "pplx-",
    "nvapi-",
    "hf_",
    "r8_",
    "fw_",
    "tgp_",
    "glpat-",
    "ghp_",
    "gho_",
    "github_pat_",
    "xoxb-",
    "AIza",
    "AKIA",
    "ASIA",
    "ABSK",
    "eyJ",
    "ya29.",
];

/// Words after which a long run is taken for a credential. Compared in lower case against the end of the word before.
const NAMES: [&str; 9] = ["key", "keys", "token", "secret", "password", "authorization", "credential", "credentials", "signature"];

/// How many words after one of [`NAMES`] are looked at: `API key provided: …`, `token you sent is …`.
const REACH_WORDS: usize = 4;

/// The shortest run that counts as one after a name.
const RUN_BYTES: usize = 16;

/// The shortest secret replaced wherever it stands; a shorter one would tear holes into prose.
const SECRET_BYTES: usize = 6;

/// The text without anything that looks like a credential, and without each of the exact `secrets`.
pub fn redact(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| secret.len() >= SECRET_BYTES) {
        text = text.replace(*secret, HIDDEN);
    }
    hide_words(&text)
}

fn hide_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut context = Context::default();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = is_word_char(first);
        let end = rest.find(|other| is_word_char(other) != is_word).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        out.push_str(if is_word && context.hides(run) { HIDDEN } else { run });
        rest = after;
    }
    out
}

/// Asterisks and dots belong to masked keys (`sk-ab****yz`), the rest to base64, base64url and hex.
fn is_word_char(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.' | '+' | '/' | '~' | '*')
}

/// What the words before say about the next one.
#[derive(Default)]
struct Context {
    words_since_name: Option<usize>,
    after_bearer: bool,
}

impl Context {
    fn hides(&mut self, word: &str) -> bool {
        let hidden = looks_like_key(word)
            || (self.after_bearer && is_bearer_token(word))
            || (self.words_since_name.is_some_and(|words| words < REACH_WORDS) && is_random_run(word));
        self.after_bearer = word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic");
        self.words_since_name = if is_name(word) { Some(0) } else { self.words_since_name.map(|words| words + 1) };
        hidden
    }
}

fn looks_like_key(word: &str) -> bool {
    PREFIXES.iter().any(|prefix| word.strip_prefix(prefix).is_some_and(|rest| rest.len() >= SECRET_BYTES))
}

fn is_bearer_token(word: &str) -> bool {
    word.len() >= 20 || (word.len() >= 8 && word.bytes().any(|byte| byte.is_ascii_digit() || byte == b'*'))
}

fn is_name(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let last = lower.trim_end_matches('.').rsplit(['-', '_', '.', '/']).next().unwrap_or_default();
    NAMES.contains(&last) || lower.ends_with("apikey")
}

/// Long, without the shape of a path or a word: has digits (or masking) and, unless it is hex, letters.
fn is_random_run(word: &str) -> bool {
    let word = word.trim_end_matches('.');
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit() || byte == b'*');
    word.len() >= RUN_BYTES && has_digit && !word.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(redact(text, &["plain-operator-secret"]), expected);
    }

    #[test]
    fn credentials_are_hidden() {
        check("Incorrect API key provided: sk-proj-abc123def456ghi.", "Incorrect API key provided: [redacted]");
        check("Incorrect API key provided: sk-ab*****************yz. Find it", "Incorrect API key provided: [redacted] Find it");
        check("API key AIzaSyA1234567890abcdefghij is invalid", "API key [redacted] is invalid");
        check("Authorization: Bearer abcdef123456", "Authorization: Bearer [redacted]");
        check("bearer AbCdEfGhIjKlMnOpQrStUv", "bearer [redacted]");
        check(r#"{"api_key":"0123456789abcdef0123456789abcdef"}"#, r#"{"api_key":"[redacted]"}"#);
        check("x-api-key=9f8e7d6c5b4a39281706f5e4d3c2b1a0&b=1", "x-api-key=[redacted]&b=1");
        check("the token you sent, 3q2+7w/AbCdEf0123456789==, is old", "the token you sent, [redacted]==, is old");
        check("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln end", "jwt [redacted] end");
        check("key plain-operator-secret!", "key [redacted]!");
        check("url https://x/?key=AIzaSyA1234567890abcdefghij&alt=sse", "url https://x/?key=[redacted]&alt=sse");
        check("OPENAI_APIKEY 0123456789abcdef", "OPENAI_APIKEY [redacted]");
        check("AKIAIOSFODNN7EXAMPLE", "[redacted]");
    }

    #[test]
    fn prose_survives() {
        for text in [
            "",
            "Missing bearer token",
            "Bearer authentication is required",
            "You can find your API key at https://platform.openai.com/account/api-keys.",
            "This model's maximum context length is 128000 tokens.",
            "Rate limit reached for gpt-4o in organization org-abc on tokens per min (TPM): Limit 30000",
            "request id req_011CSHoEeqs5C35K2UUqR7Fy",
            "Überlastet – später noch einmal, 日本語",
            "max_tokens: 4096 > 2048, which is the maximum",
            "a short key sk-1 stays",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn a_short_secret_does_not_tear_prose() {
        assert_eq!(redact("a test of the best", &["test", ""]), "a test of the best");
    }

    proptest! {
        #[test]
        fn a_secret_in_use_never_survives(before in ".{0,20}", secret in "[!-~]{6,40}", after in ".{0,20}") {
            prop_assume!(!HIDDEN.contains(&secret));
            let text = format!("{before}{secret}{after}");
            prop_assert!(!redact(&text, &[&secret]).contains(&secret));
        }

        #[test]
        fn a_vendor_key_never_survives(before in "[ a-z:]{0,20}", secret in "sk-[A-Za-z0-9]{12,40}") {
            let text = format!("{before} \"{secret}\"");
            prop_assert!(!redact(&text, &[]).contains(&secret));
        }
    }
}
