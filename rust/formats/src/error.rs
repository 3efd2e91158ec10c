//! Errors on the way out, in the caller's dialect and manner, and on the way in, in whatever shape a provider wrote them.
//!
//! Status, words and fault of a kind stand in `fairlead_ir::error`, once. This file and the dialects' `error` files only spell
//! them. Text that came from a provider must have gone through [`redact`](crate::redact::redact) before it is written here.

use std::borrow::Cow;

use fairlead_ir::{Dialect, ErrorKind, Manner, Text};
use serde_json::Value;

use crate::availability::Availability;
use crate::text;
use crate::write::Object;
use crate::{anthropic_messages, bedrock_converse, gemini_generate, openai_chat, openai_responses};

/// The longest message and code told of a provider's error, in bytes. Cut with [`shorten`], after credentials have been taken out: a
/// piece of one is not recognised.
pub const MAX_MESSAGE_BYTES: usize = 2000;
/// As [`MAX_MESSAGE_BYTES`], for codes and the like.
pub const MAX_CODE_BYTES: usize = 100;

/// So much of an error is read; more says nothing more.
pub const MAX_READ_BYTES: usize = 64 << 10;

/// So much of a text is kept of what was read, up to the end of a word, so that no credential is cut.
const KEPT_BYTES: usize = 8 << 10;

/// What an error says beside its kind and message. All optional; the provider's text already redacted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Details<'a> {
    /// Display name of the provider that failed.
    pub provider_name: Option<&'a str>,
    /// The provider's own error body as text.
    pub raw: Option<&'a str>,
    /// The provider's own code or type word.
    pub provider_code: Option<&'a str>,
    /// The provider's own words where its error is the caller's answer: on `/v1` they stand as they came.
    pub own: Option<&'a OwnWords>,
    /// The generation this error ends.
    pub generation_id: Option<&'a str>,
    /// The request field that is wrong.
    pub param: Option<&'a str>,
    /// The HTTP status where it is not the kind's: a provider's own 413 or 422 that the caller shall see.
    pub status: Option<u16>,
    /// Attempts before this one that failed too; told on OpenRouter's manner only.
    pub previous: &'a [Previous<'a>],
    /// Why nothing can serve the request; told on OpenRouter's manner only.
    pub availability: Option<&'a Availability>,
}

/// The failure of an attempt that was followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Previous<'a> {
    /// Display name of the provider that failed.
    pub provider: &'a str,
    /// OpenRouter's word for it.
    pub code: &'a str,
    /// The provider's HTTP status, or that of the kind where it gave none that says so.
    pub status: u16,
}

impl Previous<'_> {
    /// Adds the failures before this one to an error or its metadata, where there are any.
    pub(crate) fn write(all: &[Previous<'_>], metadata: &mut Object<'_>) {
        if all.is_empty() {
            return;
        }
        metadata.array("previous_errors", |array| {
            for previous in all {
                array.object(|error| {
                    error.text("provider", previous.provider).text("code", previous.code).number("status", u64::from(previous.status));
                });
            }
        });
    }
}

/// What the frame of an in-band error repeats of the stream it ends, so that strict clients accept it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skeleton<'a> {
    /// The `id` the client has seen so far.
    pub id: &'a str,
    /// The `model` the client has seen so far.
    pub model: &'a str,
    /// Display name of the provider; written on OpenRouter's manner only.
    pub provider: &'a str,
    /// Unix seconds.
    pub created_s: u64,
    /// The number of this event, in dialects that number them.
    pub sequence_number: u64,
}

/// A provider's error, understood as far as possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderError {
    /// What it means to us.
    pub kind: ErrorKind,
    /// Who says so, and whose the message is.
    pub told: Told,
    /// What went wrong. Printable, but neither redacted nor cut to length. Never empty.
    pub message: String,
    /// The provider's most specific code or type word, or its number as text; empty when it gave none. Neither redacted nor cut.
    pub code: String,
    /// Its words one by one.
    pub own: OwnWords,
}

impl ProviderError {
    /// A failure that a stream's reader met in the provider's words.
    pub fn in_stream(kind: ErrorKind, message: &Text<'_>, code: Option<&Text<'_>>) -> ProviderError {
        let plain = |text: &Text<'_>| text::decode(text).map(Cow::into_owned).unwrap_or_default();
        let (message, code) = (plain(message), code.map(plain).unwrap_or_default());
        let message = if message.is_empty() { "the provider failed and did not say why".to_owned() } else { message };
        ProviderError { kind, told: Told::ByProvider, message, code, own: OwnWords::default() }
    }

    /// Whether another model may take what this one refused: with a larger window, or another filter. Nobody has a word for that which all
    /// others share, so a message counts too where it can mean nothing else.
    pub fn is_of_this_model(&self) -> bool {
        let words = [Some(&self.code), self.own.kind.as_ref(), self.own.code.as_ref()];
        let has = |known: &[&str]| words.iter().flatten().any(|word| known.iter().any(|known| word.eq_ignore_ascii_case(known)));
        let message = self.message.to_ascii_lowercase();
        self.kind == ErrorKind::ProviderRejected
            && (has(&POLICY_WORDS) || has(&LENGTH_WORDS) || OF_THIS_MODEL.iter().any(|phrase| message.contains(phrase)))
    }

    /// What came is nothing that the dialect knows.
    pub fn garbage(problem: &str) -> ProviderError {
        let message = format!("the provider sent something else than its dialect: {problem}");
        ProviderError { kind: ErrorKind::ProviderUnavailable, told: Told::ByUs, message, code: String::new(), own: OwnWords::default() }
    }
}

/// Who says that a provider failed, and in whose words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The provider, in its own.
    ByProvider,
    /// The provider, in none: the message is ours.
    WithoutWords,
    /// We, in ours: what came is no reply.
    ByUs,
}

/// The texts of an error's `type`, `code` and `param`, as the provider wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnWords {
    /// `type`.
    pub kind: Option<String>,
    /// `code`, or Anthropic's `details.error_code`.
    pub code: Option<String>,
    /// `param`: the request's field that is wrong.
    pub param: Option<String>,
}

impl OwnWords {
    /// All of them made over.
    pub fn map(&self, change: impl Fn(&str) -> String) -> OwnWords {
        let each = |word: &Option<String>| word.as_deref().map(&change);
        OwnWords { kind: each(&self.kind), code: each(&self.code), param: each(&self.param) }
    }
}

/// The JSON body of an error response. Responses and dialects without a spelling of their own yet get chat's.
pub fn body(dialect: Dialect, manner: Manner, kind: ErrorKind, message: &str, details: &Details<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + message.len());
    match dialect {
        Dialect::AnthropicMessages => anthropic_messages::error::write_body(manner, kind, message, details, &mut out),
        Dialect::GeminiGenerate => gemini_generate::error::write_body(kind, message, details, &mut out),
        Dialect::BedrockConverse => bedrock_converse::error::write_body(message, details, &mut out),
        _ => openai_chat::error::write_body(manner, kind, message, details, &mut out),
    }
    out
}

/// Appends the frames that end a stream with an error after content has been sent: nothing may follow them.
pub fn event(
    dialect: Dialect,
    manner: Manner,
    skeleton: &Skeleton<'_>,
    kind: ErrorKind,
    message: &str,
    details: &Details<'_>,
    out: &mut Vec<u8>,
) {
    match dialect {
        Dialect::AnthropicMessages => anthropic_messages::error::write_event(manner, kind, message, details, out),
        Dialect::GeminiGenerate => gemini_generate::error::write_event(kind, message, details, out),
        Dialect::BedrockConverse => bedrock_converse::stream::encode::write_failure(kind, message, details, out),
        Dialect::OpenaiResponses => openai_responses::error::write_event(manner, skeleton, kind, message, details, out),
        _ => openai_chat::error::write_event(manner, skeleton, kind, message, details, out),
    }
}

/// Reads an error that has no status of its own: a frame inside a stream, or a 200 whose body is an error object.
///
/// Any of the usual shapes is understood, of HTML the title is taken. Without a word that says more, the kind is
/// [`ErrorKind::ProviderUnavailable`].
pub fn read(body: &[u8]) -> ProviderError {
    read_or(body, "the provider reported an error without a message")
}

/// As [`read`], with what to say where the provider has no words.
pub fn read_or(body: &[u8], otherwise: &str) -> ProviderError {
    let reading = Reading::of(body);
    let kind = reading.kind().unwrap_or(ErrorKind::ProviderUnavailable);
    reading.into_error(kind, otherwise)
}

/// Reads the body of an error response with its status. The status decides, except where a provider's word is known to be truer.
pub fn read_response(status: u16, body: &[u8]) -> ProviderError {
    let reading = Reading::of(body);
    let by_status = ErrorKind::from_provider_status(status);
    let kind = match (status, reading.kind()) {
        // Gemini answers 400 to a bad key, OpenAI 429 to an empty account: no other request to this key would fare better.
        (400 | 429, Some(ErrorKind::ProviderCredential)) => ErrorKind::ProviderCredential,
        // A moderation refusal is about the prompt, not about our key.
        (403, Some(ErrorKind::ProviderRejected)) if reading.has_word(&POLICY_WORDS) => ErrorKind::ProviderRejected,
        // What is not found is the caller's conversation, not our model.
        (404, _) if reading.has_word(&[THREAD_NOT_FOUND]) => ErrorKind::ProviderRejected,
        // What is not found, or (Google) may not be seen, is a file or the like, whose id only the caller can have.
        (403 | 404, _) if reading.is_about_the_callers_own() => ErrorKind::ProviderRejected,
        // What is not found is something that the caller named, such as an item of a conversation that was not kept.
        (404, _) if reading.own.param.as_deref().is_some_and(|param| param != "model") => ErrorKind::ProviderRejected,
        _ => by_status,
    };
    reading.into_error(kind, &format!("the provider answered {status} without a message"))
}

/// How long a provider's error body asks to wait, in milliseconds: Google says it there (`RetryInfo`), not in a header.
pub fn retry_after_ms(body: &[u8]) -> Option<u64> {
    let value: Value = serde_json::from_slice(&body[..body.len().min(MAX_READ_BYTES)]).ok()?;
    let value = value.as_array().and_then(|list| list.first()).unwrap_or(&value);
    let delay = details(value.get("error")?).find_map(|detail| detail.get("retryDelay")?.as_str())?;
    let (seconds, fraction) = delay.strip_suffix('s')?.split_once('.').unwrap_or((delay.strip_suffix('s')?, ""));
    let thousandths = fraction.bytes().chain([b'0'; 3]).take(3).try_fold(0, |sum, byte| Some(sum * 10 + digit(byte)?))?;
    let seconds = seconds.bytes().try_fold(0_u64, |sum, byte| sum.checked_mul(10)?.checked_add(digit(byte)?));
    seconds?.checked_mul(1_000)?.checked_add(thousandths)
}

fn digit(byte: u8) -> Option<u64> {
    byte.is_ascii_digit().then(|| u64::from(byte - b'0'))
}

/// Google's details of an error.
fn details(error: &Value) -> impl Iterator<Item = &Value> {
    error.get("details").and_then(Value::as_array).into_iter().flatten()
}

/// As [`read_response`], of a provider that says the class of its error in a header (AWS: `x-amzn-ErrorType`).
pub fn read_response_of_class(status: u16, class: Option<&str>, body: &[u8]) -> ProviderError {
    bedrock_converse::error::read_response(status, class, body)
}

/// The class to put into that header, of an error told in Converse's dialect.
pub const fn converse_class(kind: ErrorKind) -> &'static str {
    bedrock_converse::error::class(kind)
}

/// The start of a text up to the end of a word, without an ellipsis.
fn kept(text: &str) -> &str {
    if text.len() <= KEPT_BYTES {
        return text;
    }
    let start = &text[..text.floor_char_boundary(KEPT_BYTES)];
    start.rfind(char::is_whitespace).map_or("", |end| &start[..end])
}

/// Cuts `text` to at most `limit` bytes, at a character, with an ellipsis when something is lost.
pub fn shorten(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let ellipsis = '…';
    let mut end = limit.saturating_sub(ellipsis.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut short = text[..end].to_owned();
    short.push(ellipsis);
    short
}

/// `message`, with the provider's own text behind it where that is not the same: dialects whose errors have no place for it.
pub(crate) fn with_provider_text(message: &str, details: &Details<'_>) -> String {
    const QUOTED_BYTES: usize = 500;
    match details.raw {
        Some(raw) if !raw.trim().is_empty() && !raw.contains(message) && !message.contains(raw.trim()) => {
            let name = details.provider_name.unwrap_or("the provider");
            format!("{message} ({name} said: {})", shorten(raw.trim(), QUOTED_BYTES))
        }
        _ => message.to_owned(),
    }
}

/// What stands in a provider's error body.
#[derive(Default)]
struct Reading {
    message: String,
    /// Code and type words, the most specific first.
    words: Vec<String>,
    /// A status inside the body.
    status: Option<u16>,
    own: OwnWords,
}

impl Reading {
    fn of(body: &[u8]) -> Reading {
        let body = &body[..body.len().min(MAX_READ_BYTES)];
        match serde_json::from_slice::<Value>(body) {
            Ok(value) => Reading::of_json(&value),
            Err(_) => Reading { message: plain_text(body).unwrap_or_default(), ..Reading::default() },
        }
    }

    fn of_json(value: &Value) -> Reading {
        // Google wraps errors of streams in an array.
        let value = value.as_array().and_then(|list| list.first()).unwrap_or(value);
        let error = match value.get("error").or_else(|| value.pointer("/errors/0")) {
            Some(error) if is_truthy(error) => error,
            _ => value,
        };
        let word = |key: &str| error.get(key)?.as_str().filter(|word| !word.is_empty()).map(str::to_owned);
        // `error` is what kind of event it is, not what kind of error.
        let kind = word("type").filter(|word| word != "error");
        // Anthropic's are among its details.
        let inner = || error.pointer("/details/error_code")?.as_str().filter(|word| !word.is_empty()).map(str::to_owned);
        let own = OwnWords { kind, code: word("code").or_else(inner), param: word("param") };
        let message = message_of(error).or_else(|| message_of(value)).unwrap_or_default();
        let mut reading = Reading { message, own, ..Reading::default() };
        details(error).for_each(|detail| reading.add_word(detail.get("reason")));
        for path in ["/metadata/error_type", "/details/error_code", "/code", "/status", "/error_type", "/type"] {
            reading.add_word(error.pointer(path));
        }
        if !std::ptr::eq(error, value) {
            ["/code", "/status", "/status_code"].iter().for_each(|path| reading.add_word(value.pointer(path)));
        }
        reading
    }

    fn add_word(&mut self, value: Option<&Value>) {
        let word = match value {
            Some(Value::String(word)) if !word.is_empty() => word.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => return,
        };
        match word.parse::<u16>() {
            Ok(status) if (400..=599).contains(&status) => self.status = self.status.or(Some(status)),
            _ => self.words.push(word),
        }
    }

    fn kind(&self) -> Option<ErrorKind> {
        let by_word = self.words.iter().find_map(|word| kind_of_word(word));
        // `invalid_request_error` beside 401, or `server_error` beside 503, says less than the number does.
        let is_vague =
            matches!(by_word, Some(ErrorKind::ProviderRejected | ErrorKind::ProviderUnavailable)) && !self.has_word(&POLICY_WORDS);
        match self.status.map(ErrorKind::from_provider_status) {
            Some(by_status) if is_vague => Some(by_status),
            by_status => by_word.or(by_status),
        }
    }

    /// It is about something that the caller named by its id. Whoever speaks of a model means what we called it.
    fn is_about_the_callers_own(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        !message.contains("model") && OF_THE_CALLER.iter().any(|words| message.contains(words))
    }

    fn has_word(&self, words: &[&str]) -> bool {
        self.words.iter().any(|own| words.iter().any(|word| own.eq_ignore_ascii_case(word)))
    }

    fn into_error(self, kind: ErrorKind, otherwise: &str) -> ProviderError {
        let said = printable(kept(self.message.trim()));
        let (told, message) = match said.trim() {
            "" => (Told::WithoutWords, otherwise.to_owned()),
            _ => (Told::ByProvider, said),
        };
        let code = self.words.into_iter().next().or_else(|| self.status.map(|status| status.to_string()));
        let own = self.own.map(|word| printable(kept(word)));
        ProviderError { kind, told, message, code: printable(kept(&code.unwrap_or_default())), own }
    }
}

/// `null`, `false`, `""` and `0` beside a good reply are no errors; some hosts always send the member.
fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => number.as_u64() != Some(0),
        _ => true,
    }
}

fn message_of(value: &Value) -> Option<String> {
    if let Value::String(text) = value {
        return Some(text.clone());
    }
    ["message", "Message", "msg", "detail", "error_description", "title"].iter().find_map(|key| match value.get(key)? {
        Value::String(text) => Some(text.clone()),
        // FastAPI's list of what is wrong where.
        Value::Array(list) => list.first().and_then(message_of),
        Value::Object(_) => value.get(key).and_then(message_of),
        _ => None,
    })
}

/// Text that is no JSON: an HTML page becomes its title, white space is folded. `None` where it is no text either, but something
/// compressed, say.
fn plain_text(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let garbled = text.chars().filter(|character| *character == char::REPLACEMENT_CHARACTER).count();
    if text.chars().any(is_unprintable) || garbled > text.chars().count() / 8 {
        return None;
    }
    let text = html_title(&text).unwrap_or_else(|| text.into_owned());
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Without what no terminal or log should be made to show.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !is_unprintable(*character)).collect()
}

fn is_unprintable(character: char) -> bool {
    character.is_control() && !character.is_whitespace()
}

fn html_title(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    if !lower.trim_start().starts_with('<') {
        return None;
    }
    let between = |open: &str, close: &str| {
        let start = lower.find(open)? + open.len();
        let end = start + lower[start..].find(close)?;
        Some(text[start..end].to_owned())
    };
    Some(between("<title>", "</title>").or_else(|| between("<h1>", "</h1>")).unwrap_or_else(|| "an HTML page".to_owned()))
}

/// Anthropic's word for a conversation that it no longer holds; its SDKs then send it whole.
const THREAD_NOT_FOUND: &str = "thread_not_found";

/// Words about what the prompt says.
const POLICY_WORDS: [&str; 5] = ["content_policy_violation", "content_filter", "refusal", "moderation", "content_policy"];

/// Words about a prompt that does not fit into the model's window.
const LENGTH_WORDS: [&str; 5] = [
    "context_length_exceeded",
    "token_limit_exceeded",
    "context_window_exceeded",
    "model_context_window_exceeded",
    "exceed_context_size_error",
];

/// Both in the messages of those who have no word for it: of lengths Anthropic, Google, vLLM and its relatives, Bedrock, Mistral; of filters
/// OpenAI, Azure, Anthropic.
const OF_THIS_MODEL: [&str; 10] = [
    "prompt is too long",
    "input is too long",
    "maximum context length",
    "context window",
    "input token count",
    "too many tokens",
    "too large for model with",
    "violating our usage policy",
    "content management policy",
    "content filtering policy",
];

/// Words of messages about things at a provider that callers name by their ids: files, containers, cached prompts, skills, stores of vectors.
const OF_THE_CALLER: [&str; 13] = [
    "file_id",
    "file_0",
    "file-",
    "files/",
    "file not found",
    "access the file",
    "cachedcontent",
    "cached content",
    "container_",
    "container with id",
    "container not found",
    "skill_0",
    "vector store",
];

/// What a code or type word of a provider means. Unknown words mean nothing.
fn kind_of_word(word: &str) -> Option<ErrorKind> {
    let lower = word.to_ascii_lowercase();
    Some(match lower.as_str() {
        "rate_limit_error"
        | "rate_limit_exceeded"
        | "rate_limited"
        | "too_many_requests"
        | "resource_exhausted"
        | "tokens"
        | "requests" => ErrorKind::ProviderRateLimited,
        "overloaded_error"
        | "overloaded"
        | "server_overloaded"
        | "engine_overloaded"
        | "provider_overloaded"
        | "service_unavailable"
        | "unavailable"
        | "capacity_exhausted" => ErrorKind::ProviderOverloaded,
        "timeout_error" | "timeout" | "request_timeout" | "deadline_exceeded" => ErrorKind::ProviderTimeout,
        "authentication_error"
        | "authentication"
        | "unauthenticated"
        | "invalid_api_key"
        | "api_key_invalid"
        | "api_key_service_blocked"
        | "service_disabled"
        | "consumer_suspended"
        | "billing_disabled"
        | "permission_error"
        | "permission_denied"
        | "billing_error"
        | "payment_required"
        | "insufficient_quota"
        | "billing_hard_limit_reached"
        | "account_deactivated"
        | "enforced_spend_limit_reached"
        | "contract_spend_limit_reached"
        | "not_found_error"
        | "not_found"
        | "model_not_found" => ErrorKind::ProviderCredential,
        "invalid_request_error"
        | "invalid_request"
        | "bad_request"
        | "badrequesterror"
        | "invalid_argument"
        | "invalid_prompt"
        | "context_length_exceeded"
        | "max_tokens_exceeded"
        | "string_above_max_length"
        | "string_too_long"
        | "unsupported_parameter"
        | "unsupported_value"
        | "unprocessable"
        | "unprocessable_entity"
        | "request_too_large"
        | "payload_too_large" => ErrorKind::ProviderRejected,
        "api_error"
        | "server_error"
        | "server"
        | "internal"
        | "internal_error"
        | "internal_server_error"
        | "provider_unavailable"
        | "upstream_error"
        | "bad_gateway" => ErrorKind::ProviderUnavailable,
        word if POLICY_WORDS.contains(&word) => ErrorKind::ProviderRejected,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorKind as K;

    fn check(body: &str, kind: ErrorKind, message: &str, code: &str) {
        check_bytes(body.as_bytes(), kind, message, code);
    }

    fn check_bytes(body: &[u8], kind: ErrorKind, message: &str, code: &str) {
        let read = read(body);
        let ours = message == "the provider reported an error without a message";
        assert_eq!(read.told, if ours { Told::WithoutWords } else { Told::ByProvider });
        let body = String::from_utf8_lossy(body);
        assert_eq!((read.kind, read.message.as_str(), read.code.as_str()), (kind, message, code), "{body}");
    }

    #[test]
    fn the_usual_shapes_are_read() {
        let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#;
        check(overloaded, K::ProviderOverloaded, "Overloaded", "overloaded_error");
        let openai = r#"{"error":{"message":"bad key","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#;
        check(openai, K::ProviderCredential, "bad key", "invalid_api_key");
        let openrouter = r#"{"error":{"code":429,"message":"slow","metadata":{"error_type":"rate_limit_exceeded"}}}"#;
        check(openrouter, K::ProviderRateLimited, "slow", "rate_limit_exceeded");
        check(r#"{"error":{"code":503,"message":"down"}}"#, K::ProviderOverloaded, "down", "503");
        let vllm = r#"{"object":"error","message":"no such model","type":"NotFoundError","param":null,"code":404}"#;
        check(vllm, K::ProviderCredential, "no such model", "NotFoundError");
        let gemini = r#"[{"error":{"code":429,"message":"Quota","status":"RESOURCE_EXHAUSTED"}}]"#;
        check(gemini, K::ProviderRateLimited, "Quota", "RESOURCE_EXHAUSTED");
        let bad_key = br#"{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}"#;
        let read = read_response(400, bad_key);
        assert_eq!((read.kind, read.code.as_str()), (K::ProviderCredential, "API_KEY_INVALID"));
        check(r#"{"error":"model is loading"}"#, K::ProviderUnavailable, "model is loading", "");
        check(r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#, K::ProviderUnavailable, "field required", "");
        check(r#"{"detail":"Not authenticated"}"#, K::ProviderUnavailable, "Not authenticated", "");
        check(r#"{"errors":[{"message":"no","code":"x"}]}"#, K::ProviderUnavailable, "no", "x");
        check(
            r#"{"error":{"message":"Slow down","type":"tokens","code":"rate_limit_exceeded"}}"#,
            K::ProviderRateLimited,
            "Slow down",
            "rate_limit_exceeded",
        );
        check(
            r#"{"error":{"message":"m","type":"invalid_request_error","code":429}}"#,
            K::ProviderRateLimited,
            "m",
            "invalid_request_error",
        );
        check(r#"{"error":{"message":"m","type":"server_error","code":503}}"#, K::ProviderOverloaded, "m", "server_error");
        check(r#"{"error":{"message":"cut","code":"502"},"status_code":502}"#, K::ProviderUnavailable, "cut", "502");
    }

    #[test]
    fn what_is_no_json_is_shortened() {
        let page = "<!DOCTYPE html>\n<html><head><title>502 Bad\n Gateway</title></head></html>";
        check(page, K::ProviderUnavailable, "502 Bad Gateway", "");
        check("upstream connect\n error", K::ProviderUnavailable, "upstream connect error", "");
        check("", K::ProviderUnavailable, "the provider reported an error without a message", "");
        check("{}", K::ProviderUnavailable, "the provider reported an error without a message", "");
        assert_eq!(shorten(&"é".repeat(2000), 11), "éééé…");
    }

    #[test]
    fn only_what_is_printable_is_quoted() {
        let wordless = "the provider reported an error without a message";
        check_bytes(b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xabV*", K::ProviderUnavailable, wordless, "");
        check_bytes(b"\x28\xb5\xd9\xfd\xc3(\xff\xfe", K::ProviderUnavailable, wordless, "");
        check_bytes(b"Dienst \xfcberlastet, sp\xe4ter", K::ProviderUnavailable, "Dienst \u{fffd}berlastet, sp\u{fffd}ter", "");
        check_bytes("busy\u{1b}[31m".as_bytes(), K::ProviderUnavailable, wordless, "");
        check(r#"{"error":{"message":"a\u0000b\n\u001b[31mc","code":"x\u0007"}}"#, K::ProviderUnavailable, "ab\n[31mc", "x");
        check(r#"{"error":{"message":"\u0000"}}"#, K::ProviderUnavailable, wordless, "");
    }

    /// However long an error is, little of it is read, and no word of it is cut: a cut credential would not be recognised.
    #[test]
    fn no_word_is_cut_before_credentials_are_taken_out() {
        for filler in ["x ", "é "] {
            for shift in 0..40 {
                let text = " ".repeat(shift).replace(' ', "-")
                    + " "
                    + &filler.repeat(KEPT_BYTES / filler.len() - 10)
                    + "sk-secret-0123456789 "
                    + &"tail ".repeat(20_000);
                let read = read(text.as_bytes());
                assert!(read.message.len() <= KEPT_BYTES, "{}", read.message.len());
                let pieces = read.message.matches("sk-").count();
                assert_eq!(pieces, read.message.matches("sk-secret-0123456789").count(), "{shift}");
            }
        }
        // One word without an end may be one credential.
        assert_eq!(kept(&"x".repeat(KEPT_BYTES + 1)), "");
    }

    #[test]
    fn own_words_are_kept_apart() {
        let check = |body: &str, kind: Option<&str>, code: Option<&str>, param: Option<&str>| {
            let own = read(body.as_bytes()).own;
            assert_eq!((own.kind.as_deref(), own.code.as_deref(), own.param.as_deref()), (kind, code, param), "{body}");
        };
        let openai =
            r#"{"error":{"message":"too long","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#;
        check(openai, Some("invalid_request_error"), Some("context_length_exceeded"), Some("messages"));
        check(r#"{"error":{"message":"m","type":"x","param":null,"code":null}}"#, Some("x"), None, None);
        check(
            r#"{"object":"error","message":"m","type":"BadRequestError","param":"n","code":400}"#,
            Some("BadRequestError"),
            None,
            Some("n"),
        );
        check(r#"{"type":"error","error":{"type":"request_too_large","message":"m"}}"#, Some("request_too_large"), None, None);
        check(r#"{"error":{"type":"a","message":"m","details":{"error_code":"b"}}}"#, Some("a"), Some("b"), None);
        check(r#"{"type":"error","code":"server_error","message":"m","param":null}"#, None, Some("server_error"), None);
        check("words", None, None, None);
    }

    #[test]
    fn status_and_words_together() {
        for (status, body, kind) in [
            (401, r#"{"error":{"message":"m","type":"invalid_request_error"}}"#, K::ProviderCredential),
            (400, r#"{"error":{"message":"m","type":"invalid_request_error"}}"#, K::ProviderRejected),
            (400, r#"{"error":{"message":"m","code":"invalid_api_key"}}"#, K::ProviderCredential),
            (429, r#"{"error":{"message":"m","code":"insufficient_quota"}}"#, K::ProviderCredential),
            (429, r#"{"error":{"message":"m","type":"rate_limit_error"}}"#, K::ProviderRateLimited),
            (403, r#"{"error":{"message":"m","code":403,"metadata":{"error_type":"content_policy_violation"}}}"#, K::ProviderRejected),
            (403, r#"{"error":{"message":"m","type":"invalid_request_error"}}"#, K::ProviderCredential),
            (404, r#"{"error":{"message":"m","type":"not_found_error","details":{"error_code":"thread_not_found"}}}"#, K::ProviderRejected),
            (404, r#"{"error":{"message":"m","type":"not_found_error"}}"#, K::ProviderCredential),
            (404, r#"{"error":{"message":"m","type":"invalid_request_error","param":"input","code":null}}"#, K::ProviderRejected),
            (
                404,
                r#"{"error":{"message":"m","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#,
                K::ProviderCredential,
            ),
            (
                404,
                r#"{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
                K::ProviderCredential,
            ),
            (529, r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#, K::ProviderOverloaded),
            (500, "m", K::ProviderUnavailable),
        ] {
            let error = read_response(status, body.as_bytes());
            assert_eq!((error.kind, error.message.as_str()), (kind, "m"), "{status} {body}");
        }
        assert_eq!(read_response(500, b"").message, "the provider answered 500 without a message");
    }

    #[test]
    fn what_the_caller_named_is_the_callers() {
        let check = |status: u16, message: &str, kind: K| {
            let body = format!(r#"{{"type":"error","error":{{"type":"not_found_error","message":"{message}"}}}}"#);
            assert_eq!(read_response(status, body.as_bytes()).kind, kind, "{status} {message}");
        };
        check(404, "File not found: file_011CNha8iCJcU1wXNR6q4V8w", K::ProviderRejected);
        check(404, "No such file_id", K::ProviderRejected);
        check(404, "No file found with id 'file-abc123'", K::ProviderRejected);
        check(404, "Container with id 'cntr_1' not found.", K::ProviderRejected);
        check(403, "You do not have permission to access the File abc or it may not exist.", K::ProviderRejected);
        check(403, "CachedContent not found (or permission denied)", K::ProviderRejected);
        check(404, "model: claude-old", K::ProviderCredential);
        check(404, "The model `file-reader` does not exist", K::ProviderCredential);
        check(403, "Your key may not do this", K::ProviderCredential);
        check(401, "file_id", K::ProviderCredential);
    }

    #[test]
    fn what_another_model_may_take() {
        let check = |status: u16, body: &str, expected: bool| {
            assert_eq!(read_response(status, body.as_bytes()).is_of_this_model(), expected, "{status} {body}");
        };
        let openai = r#"{"error":{"message":"no","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#;
        check(400, openai, true);
        check(413, openai, true);
        check(500, openai, false);
        check(
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}"#,
            true,
        );
        check(400, r#"{"error":{"code":400,"message":"The input token count (9) exceeds the maximum","status":"INVALID_ARGUMENT"}}"#, true);
        check(400, r#"{"object":"error","message":"This model's maximum context length is 8 tokens.","type":"BadRequestError"}"#, true);
        check(400, r#"{"error":{"message":"m","type":"invalid_request_error","code":"content_policy_violation"}}"#, true);
        check(403, r#"{"error":{"message":"m","code":403,"metadata":{"error_type":"content_policy_violation"}}}"#, true);
        check(400, r#"{"error":{"message":"flagged as potentially violating our usage policy","code":"invalid_prompt"}}"#, true);
        check(400, r#"{"error":{"message":"no such field","type":"invalid_request_error","param":"x"}}"#, false);
        check(400, r#"{"error":{"message":"max_tokens must be at least 1","type":"invalid_request_error"}}"#, false);
        check(422, r#"{"detail":"m"}"#, false);
    }

    #[test]
    fn the_providers_text_is_quoted_once() {
        let details = Details { raw: Some("no quota"), provider_name: Some("Lab"), ..Details::default() };
        assert_eq!(with_provider_text("refused", &details), "refused (Lab said: no quota)");
        assert_eq!(with_provider_text("no quota", &details), "no quota");
        assert_eq!(with_provider_text("Lab: no quota left", &details), "Lab: no quota left");
        assert_eq!(with_provider_text("refused", &Details::default()), "refused");
    }

    #[test]
    fn a_wait_that_stands_in_the_body() {
        for (delay, expected) in
            [("34.074824224s", Some(34_074)), ("3s", Some(3_000)), ("0.5s", Some(500)), ("3", None), ("-1s", None), ("", None)]
        {
            let info = format!(r#"{{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"{delay}"}}"#);
            let body = format!(r#"{{"error":{{"code":429,"details":[{{"reason":"x"}},{info}]}}}}"#);
            assert_eq!(retry_after_ms(body.as_bytes()), expected, "{delay}");
            assert_eq!(retry_after_ms(format!("[{body}]").as_bytes()), expected, "{delay}");
        }
        assert_eq!(retry_after_ms(b"<html>"), None);
    }
}
