//! OpenAI Responses.

use serde_json::Value;

use super::functions::{self, REPLY, TOKENS_PER_CALL, TOKENS_PER_MESSAGE};
use super::{RequestError, Tally, each, media_type, text, text_or_parts, wrong};

pub(super) fn count(tally: &mut Tally, body: &Value) -> Result<(), RequestError> {
    if !text(body, "instructions")?.is_empty() {
        count_text(tally, "system", text(body, "instructions")?);
    }
    match &body["input"] {
        Value::String(input) => count_text(tally, "user", input),
        Value::Array(_) => each(body, "input", |item| count_item(tally, item))?,
        // A stored prompt or an earlier response stands in its place; what those have is not known here.
        Value::Null => {}
        _ => return Err(wrong("must be a string or an array").inside("input")),
    }
    functions::count_tools(tally, body)?;
    tally.definition(&body["text"]["format"]["schema"]);
    tally.overhead(REPLY);
    Ok(())
}

fn count_text(tally: &mut Tally, role: &str, content: &str) {
    tally.overhead(TOKENS_PER_MESSAGE);
    tally.text(role);
    tally.text(content);
}

fn count_item(tally: &mut Tally, item: &Value) -> Result<(), RequestError> {
    match text(item, "type")? {
        "" | "message" => {
            tally.overhead(TOKENS_PER_MESSAGE);
            tally.field(item, "role")?;
            text_or_parts(tally, item, "content", count_part)
        }
        "function_call" | "custom_tool_call" => {
            tally.overhead(TOKENS_PER_MESSAGE + TOKENS_PER_CALL);
            ["name", "arguments", "input"].into_iter().try_for_each(|key| tally.field(item, key))
        }
        "function_call_output" | "custom_tool_call_output" => {
            tally.overhead(TOKENS_PER_MESSAGE);
            tally.text("tool");
            text_or_parts(tally, item, "output", count_part)
        }
        // Summaries are for people; what is sealed is not known here, and the provider drops it after the turn it belongs to.
        "reasoning" | "item_reference" | "compaction" => Ok(()),
        _ => {
            tally.json(item);
            Ok(())
        }
    }
}

fn count_part(tally: &mut Tally, part: &Value) -> Result<(), RequestError> {
    match text(part, "type")? {
        "input_text" | "output_text" => tally.field(part, "text"),
        "refusal" => tally.field(part, "refusal"),
        "input_image" => {
            tally.image(text(part, "image_url")?, text(part, "detail")?);
            Ok(())
        }
        "input_file" => {
            let data = text(part, "file_data")?;
            tally.file(media_type(data), data, "");
            Ok(())
        }
        "input_audio" => {
            tally.file("audio/", text(&part["input_audio"], "data")?, "");
            Ok(())
        }
        _ => {
            tally.json(part);
            Ok(())
        }
    }
}
