//! Anthropic Messages.

use serde_json::Value;

use super::{RequestError, Tally, each, list, text, text_or_parts, wrong};
use crate::counter::Counter;
use crate::estimate::Family;

/// Fitted to Anthropic's example (14 tokens for a system prompt of four and a message of four) and to a bare "Hi" (8).
pub(super) const TOKENS_PER_MESSAGE: u64 = 3;
pub(super) const REPLY: u64 = 3;
/// A call or a result inside a message, like a message.
pub(super) const TOKENS_PER_CALL: u64 = 4;

pub(super) fn count(tally: &mut Tally, body: &Value) -> Result<(), RequestError> {
    if list(body, "messages")?.is_empty() {
        return Err(wrong("must have messages").inside("messages"));
    }
    text_or_parts(tally, body, "system", count_block)?;
    each(body, "messages", |message| {
        tally.overhead(TOKENS_PER_MESSAGE);
        text_or_parts(tally, message, "content", count_block)
    })?;
    count_tools(tally, body)?;
    tally.definition(&body["output_config"]["format"]["schema"]);
    tally.overhead(REPLY);
    Ok(())
}

fn count_tools(tally: &mut Tally, body: &Value) -> Result<(), RequestError> {
    each(body, "tools", |tool| {
        for key in ["name", "description", "input_schema"] {
            match &tool[key] {
                Value::String(text) => tally.count.tools += tally.counter.count(text),
                definition => tally.definition(definition),
            }
        }
        Ok(())
    })?;
    if !list(body, "tools")?.is_empty() {
        tally.count.tools += tool_prompt(tally.counter, text(&body["tool_choice"], "type")?);
    }
    Ok(())
}

/// The prompt that Anthropic adds when there are tools ("Tool use", token counts by model): Claude 4's up to 4.6, and Opus 5's.
pub(super) const fn tool_prompt(counter: Counter, choice: &str) -> u64 {
    let forced = matches!(choice.as_bytes(), b"any" | b"tool");
    match counter {
        Counter::Estimated(Family::Claude) => {
            if forced {
                313
            } else {
                346
            }
        }
        Counter::Estimated(Family::ClaudeFine) => {
            if forced {
                406
            } else {
                286
            }
        }
        _ => 0,
    }
}

fn count_block(tally: &mut Tally, block: &Value) -> Result<(), RequestError> {
    match text(block, "type")? {
        "text" => tally.field(block, "text"),
        "thinking" => tally.field(block, "thinking"),
        // Sealed: not known here.
        "redacted_thinking" => Ok(()),
        "image" | "document" => count_source(tally, block),
        "tool_use" | "server_tool_use" | "mcp_tool_use" => {
            tally.overhead(TOKENS_PER_CALL);
            tally.field(block, "name")?;
            tally.json(&block["input"]);
            Ok(())
        }
        "tool_result" | "mcp_tool_result" => {
            tally.overhead(TOKENS_PER_CALL);
            text_or_parts(tally, block, "content", count_block)
        }
        "search_result" => {
            tally.field(block, "source")?;
            tally.field(block, "title")?;
            text_or_parts(tally, block, "content", count_block)
        }
        _ => {
            tally.json(block);
            Ok(())
        }
    }
}

fn count_source(tally: &mut Tally, block: &Value) -> Result<(), RequestError> {
    let source = &block["source"];
    let is_image = text(block, "type")? == "image";
    for key in ["title", "context"] {
        tally.field(block, key)?;
    }
    match text(source, "type")? {
        "text" => tally.field(source, "data"),
        "content" => text_or_parts(tally, source, "content", count_block),
        // base64, url, file.
        _ if is_image => {
            tally.image(text(source, "data")?, "");
            Ok(())
        }
        _ => {
            tally.file("application/pdf", text(source, "data")?, "");
            Ok(())
        }
    }
}
