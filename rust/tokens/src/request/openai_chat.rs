//! OpenAI Chat Completions, and what its compatible servers add.

use serde_json::Value;

use super::functions::{self, REPLY, TOKENS_PER_CALL, TOKENS_PER_MESSAGE, TOKENS_PER_NAME};
use super::{RequestError, Tally, each, list, media_type, text, text_or_parts, wrong};

pub(super) fn count(tally: &mut Tally, body: &Value) -> Result<(), RequestError> {
    if list(body, "messages")?.is_empty() {
        return Err(wrong("must have messages").inside("messages"));
    }
    each(body, "messages", |message| count_message(tally, message))?;
    functions::count_tools(tally, body)?;
    tally.definition(&body["response_format"]["json_schema"]["schema"]);
    tally.overhead(REPLY);
    Ok(())
}

fn count_message(tally: &mut Tally, message: &Value) -> Result<(), RequestError> {
    tally.overhead(TOKENS_PER_MESSAGE);
    tally.field(message, "role")?;
    if !text(message, "name")?.is_empty() {
        tally.field(message, "name")?;
        tally.overhead(TOKENS_PER_NAME);
    }
    text_or_parts(tally, message, "content", count_part)?;
    for key in ["refusal", "reasoning_content", "reasoning"] {
        tally.field(message, key)?;
    }
    each(message, "tool_calls", |call| {
        let called = if call["custom"].is_object() { &call["custom"] } else { &call["function"] };
        count_call(tally, called)
    })?;
    if message["function_call"].is_object() { count_call(tally, &message["function_call"]) } else { Ok(()) }
}

fn count_call(tally: &mut Tally, called: &Value) -> Result<(), RequestError> {
    tally.overhead(TOKENS_PER_CALL);
    tally.field(called, "name")?;
    match &called["arguments"] {
        // As Mistral and Ollama have it.
        Value::Object(_) => tally.json(&called["arguments"]),
        _ => tally.field(called, "arguments")?,
    }
    tally.field(called, "input")
}

pub(super) fn count_part(tally: &mut Tally, part: &Value) -> Result<(), RequestError> {
    match text(part, "type")? {
        "text" => tally.field(part, "text"),
        "refusal" => tally.field(part, "refusal"),
        "image_url" => {
            let image = &part["image_url"];
            let (address, detail) =
                if let Some(address) = image.as_str() { (address, "") } else { (text(image, "url")?, text(image, "detail")?) };
            tally.image(address, detail);
            Ok(())
        }
        "input_audio" => {
            tally.file("audio/", text(&part["input_audio"], "data")?, "");
            Ok(())
        }
        "file" => {
            let data = text(&part["file"], "file_data")?;
            tally.file(media_type(data), data, "");
            Ok(())
        }
        _ => {
            tally.json(part);
            Ok(())
        }
    }
}
