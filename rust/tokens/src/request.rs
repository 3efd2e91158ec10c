#![doc = include_str!("request.md")]

use std::fmt;

use fairlead_ir::Dialect;
use serde_json::Value;

use crate::counter::Counter;
use crate::estimate::Family;
use crate::media::Vision;
use crate::media::size;

mod anthropic_messages;
mod bedrock_converse;
mod functions;
mod gemini_generate;
mod openai_chat;
mod openai_responses;

/// The tokens of a request, by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCount {
    /// Texts of messages, calls and results.
    pub text: u64,
    /// Definitions of tools and of the reply's format, with what they cost beside their texts.
    pub tools: u64,
    /// Images, sounds, films and documents.
    pub media: u64,
    /// What frames messages and primes the reply.
    pub overhead: u64,
}

impl RequestCount {
    /// All of it.
    pub const fn total(&self) -> u64 {
        self.text + self.tools + self.media + self.overhead
    }
}

/// A body that cannot be counted: what is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError {
    /// The JSON path, such as `messages[2].content`; empty for the body itself.
    pub path: String,
    /// What is wrong there.
    pub reason: String,
}

impl fmt::Display for RequestError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { out.write_str(&self.reason) } else { write!(out, "{}: {}", self.path, self.reason) }
    }
}

impl std::error::Error for RequestError {}

/// Counts the input tokens of a request body. `model` is needed where the body does not name it (Gemini, Bedrock) and wins where it does.
/// Texts are counted exactly if the model's encoding is public, and estimated otherwise; unknown models too. Whatever else is asked for
/// in the body does not matter: a request that only wants the count (without limit, or inside Google's `generateContentRequest`) is as good.
///
/// # Errors
/// The body is no JSON object, or a member that counts has the wrong type: the error names its path.
pub fn count_request(body: &[u8], dialect: Dialect, model: Option<&str>) -> Result<RequestCount, RequestError> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| RequestError { path: String::new(), reason: format!("the body is no JSON: {error}") })?;
    if !body.is_object() {
        return Err(wrong("the body must be an object"));
    }
    let model = model.or_else(|| body["model"].as_str()).unwrap_or_default();
    let mut tally = Tally { counter: Counter::for_model(model), vision: Vision::of(model), count: RequestCount::default() };
    match dialect {
        Dialect::OpenaiChat => openai_chat::count(&mut tally, &body),
        Dialect::OpenaiResponses => openai_responses::count(&mut tally, &body),
        Dialect::AnthropicMessages => anthropic_messages::count(&mut tally, &body),
        Dialect::GeminiGenerate => gemini_generate::count(&mut tally, &body),
        Dialect::BedrockConverse => bedrock_converse::count(&mut tally, &body),
    }?;
    Ok(tally.count)
}

/// What a dialect's reader adds to.
struct Tally {
    counter: Counter,
    vision: Vision,
    count: RequestCount,
}

impl Tally {
    fn text(&mut self, text: &str) {
        self.count.text += self.counter.count(text);
    }

    /// The text of a field, if it is there.
    fn field(&mut self, of: &Value, key: &'static str) -> Result<(), RequestError> {
        self.text(text(of, key)?);
        Ok(())
    }

    /// A value as compact JSON: arguments that are objects, and what this version does not know.
    fn json(&mut self, value: &Value) {
        if !value.is_null() {
            self.text(&value.to_string());
        }
    }

    /// A definition as compact JSON.
    fn definition(&mut self, value: &Value) {
        if !value.is_null() {
            self.count.tools += self.counter.count(&value.to_string());
        }
    }

    fn overhead(&mut self, tokens: u64) {
        self.count.overhead += tokens;
    }

    /// An image in base64, as a `data:` address, or elsewhere.
    fn image(&mut self, data: &str, detail: &str) {
        self.count.media += self.vision.image(size::of_base64(payload(data)), detail);
    }

    /// A file by its media type: its base64, or nothing of it.
    fn file(&mut self, media_type: &str, data: &str, detail: &str) {
        let bytes = payload(data).len() as u64 / 4 * 3;
        self.count.media += match media_type.split('/').next() {
            Some("image") => return self.image(data, detail),
            Some("audio") => self.vision.sound(bytes.max(1)),
            Some("video") => self.vision.film(bytes.max(1)),
            Some("text") if !data.is_empty() => {
                let text = size::decoded(payload(data), usize::MAX);
                return self.text(&String::from_utf8_lossy(&text));
            }
            _ => self.vision.document(bytes.max(1)),
        };
    }

    fn is_claude(&self) -> bool {
        matches!(self.counter, Counter::Estimated(Family::Claude | Family::ClaudeFine))
    }
}

/// What follows `;base64,` in a `data:` address; anything else is itself.
fn payload(data: &str) -> &str {
    data.strip_prefix("data:").and_then(|address| address.split_once(',')).map_or(data, |(_, payload)| payload)
}

/// The media type of a `data:` address.
fn media_type(data: &str) -> &str {
    data.strip_prefix("data:").and_then(|address| address.split([';', ',']).next()).unwrap_or_default()
}

// --- reading ----------------------------------------------------------------------------------------------------------

/// An error here; [`RequestError::inside`] says where that is.
fn wrong(reason: &str) -> RequestError {
    RequestError { path: String::new(), reason: reason.to_owned() }
}

impl RequestError {
    fn inside(mut self, outer: &str) -> RequestError {
        let separator = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{outer}{separator}{}", self.path);
        self
    }
}

/// The text of a field; empty if it is missing or null.
fn text<'a>(of: &'a Value, key: &'static str) -> Result<&'a str, RequestError> {
    match &of[key] {
        Value::Null => Ok(""),
        Value::String(text) => Ok(text),
        _ => Err(wrong("must be a string").inside(key)),
    }
}

/// The elements of a field; none if it is missing or null.
fn list<'a>(of: &'a Value, key: &'static str) -> Result<&'a [Value], RequestError> {
    match &of[key] {
        Value::Null => Ok(&[]),
        Value::Array(elements) => Ok(elements),
        _ => Err(wrong("must be an array").inside(key)),
    }
}

/// Does something with each element of a field, which must be objects.
fn each(of: &Value, key: &'static str, mut with: impl FnMut(&Value) -> Result<(), RequestError>) -> Result<(), RequestError> {
    for (index, element) in list(of, key)?.iter().enumerate() {
        let done = if element.is_object() { with(element) } else { Err(wrong("must be an object")) };
        done.map_err(|error| error.inside(&format!("{key}[{index}]")))?;
    }
    Ok(())
}

/// A field that is a text, or a list of parts, or missing.
fn text_or_parts(
    tally: &mut Tally,
    of: &Value,
    key: &'static str,
    part: impl Fn(&mut Tally, &Value) -> Result<(), RequestError>,
) -> Result<(), RequestError> {
    match &of[key] {
        Value::Null => Ok(()),
        Value::String(text) => {
            tally.text(text);
            Ok(())
        }
        Value::Array(_) => each(of, key, |element| part(tally, element)),
        _ => Err(wrong("must be a string or an array").inside(key)),
    }
}

#[cfg(test)]
mod tests;
