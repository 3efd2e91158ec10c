//! Google Gemini `generateContent`, with field names in either spelling.

use serde_json::Value;

use super::{RequestError, Tally, each, text, wrong};

/// A role; Google's example of a chat of two short messages has two more tokens than their texts.
const TOKENS_PER_CONTENT: u64 = 1;

pub(super) fn count(tally: &mut Tally, body: &Value) -> Result<(), RequestError> {
    // `countTokens` may have the request inside.
    match either(body, "generateContentRequest", "generate_content_request") {
        Value::Null => count_contents(tally, body),
        inside if inside.is_object() => count_contents(tally, inside).map_err(|error| error.inside("generateContentRequest")),
        _ => Err(wrong("must be an object").inside("generateContentRequest")),
    }
}

fn count_contents(tally: &mut Tally, body: &Value) -> Result<(), RequestError> {
    if matches!(&body["contents"], Value::Null) || body["contents"].as_array().is_some_and(Vec::is_empty) {
        return Err(wrong("must have contents").inside("contents"));
    }
    let resolution = text(either(body, "generationConfig", "generation_config"), "mediaResolution")?.to_owned();
    let system = either(body, "systemInstruction", "system_instruction");
    if let Some(system) = system.as_str() {
        tally.text(system);
    } else {
        some(system, "parts", |part| count_part(tally, part, &resolution)).map_err(|error| error.inside("systemInstruction"))?;
    }
    some(body, "contents", |content| {
        tally.overhead(TOKENS_PER_CONTENT);
        some(content, "parts", |part| count_part(tally, part, &resolution))
    })?;
    each(body, "tools", |tool| {
        tally.definition(tool);
        Ok(())
    })?;
    let config = either(body, "generationConfig", "generation_config");
    tally.definition(either(config, "responseSchema", "responseJsonSchema"));
    Ok(())
}

fn count_part(tally: &mut Tally, part: &Value, resolution: &str) -> Result<(), RequestError> {
    let (inline, file) = (either(part, "inlineData", "inline_data"), either(part, "fileData", "file_data"));
    if part["text"].is_string() {
        return tally.field(part, "text");
    }
    if inline.is_object() || file.is_object() {
        let media = if inline.is_object() { inline } else { file };
        let kind = either(media, "mimeType", "mime_type").as_str().unwrap_or_default();
        let own = text(&part["mediaResolution"], "level")?;
        tally.file(kind, text(media, "data")?, if own.is_empty() { resolution } else { own });
        return Ok(());
    }
    let known = [
        ("functionCall", "function_call"),
        ("functionResponse", "function_response"),
        ("executableCode", "executable_code"),
        ("codeExecutionResult", "code_execution_result"),
    ];
    match known.into_iter().map(|(camel, snake)| either(part, camel, snake)).find(|value| !value.is_null()) {
        // Without its id, its thought signature and what else is not for the model.
        Some(value) => tally.json(value),
        None if part.as_object().is_some_and(serde_json::Map::is_empty) => {}
        None => tally.json(part),
    }
    Ok(())
}

/// As [`each`]; Google takes a lone object for a list of one.
fn some(of: &Value, key: &'static str, mut with: impl FnMut(&Value) -> Result<(), RequestError>) -> Result<(), RequestError> {
    if of[key].is_object() { with(&of[key]).map_err(|error| error.inside(key)) } else { each(of, key, with) }
}

fn either<'a>(of: &'a Value, camel: &str, snake: &str) -> &'a Value {
    if of[camel].is_null() { &of[snake] } else { &of[camel] }
}
