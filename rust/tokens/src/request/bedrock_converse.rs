//! AWS Bedrock Converse. Messages are framed as the model's own API frames them: Claude's as in Messages, all others' as in Chat.

use serde_json::Value;

use super::anthropic_messages::{self, tool_prompt};
use super::{RequestError, Tally, each, functions, list, text, wrong};

pub(super) fn count(tally: &mut Tally, body: &Value) -> Result<(), RequestError> {
    if list(body, "messages")?.is_empty() {
        return Err(wrong("must have messages").inside("messages"));
    }
    let (per_message, reply) = if tally.is_claude() {
        (anthropic_messages::TOKENS_PER_MESSAGE, anthropic_messages::REPLY)
    } else {
        (functions::TOKENS_PER_MESSAGE, functions::REPLY)
    };
    each(body, "system", |block| count_block(tally, block))?;
    each(body, "messages", |message| {
        tally.overhead(per_message);
        each(message, "content", |block| count_block(tally, block))
    })?;
    count_tools(tally, &body["toolConfig"]).map_err(|error| error.inside("toolConfig"))?;
    tally.definition(&body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"]);
    tally.overhead(reply);
    Ok(())
}

fn count_tools(tally: &mut Tally, config: &Value) -> Result<(), RequestError> {
    each(config, "tools", |tool| {
        let specification = &tool["toolSpec"];
        for key in ["name", "description"] {
            tally.count.tools += tally.counter.count(text(specification, key)?);
        }
        tally.definition(&specification["inputSchema"]["json"]);
        Ok(())
    })?;
    if !list(config, "tools")?.is_empty() {
        let choice = if config["toolChoice"]["any"].is_null() && config["toolChoice"]["tool"].is_null() { "auto" } else { "any" };
        tally.count.tools += tool_prompt(tally.counter, choice);
    }
    Ok(())
}

fn count_block(tally: &mut Tally, block: &Value) -> Result<(), RequestError> {
    let Some((kind, value)) = block.as_object().and_then(|block| block.iter().next()) else { return Ok(()) };
    match kind.as_str() {
        "text" => tally.field(block, "text"),
        "guardContent" => tally.field(&value["text"], "text"),
        "reasoningContent" => tally.field(&value["reasoningText"], "text"),
        "image" | "video" | "audio" | "document" => count_file(tally, kind, value),
        "toolUse" => {
            tally.overhead(anthropic_messages::TOKENS_PER_CALL);
            tally.field(value, "name")?;
            tally.json(&value["input"]);
            Ok(())
        }
        "toolResult" => {
            tally.overhead(anthropic_messages::TOKENS_PER_CALL);
            each(value, "content", |block| count_block(tally, block))
        }
        "json" => {
            tally.json(value);
            Ok(())
        }
        "cachePoint" => Ok(()),
        _ => {
            tally.json(value);
            Ok(())
        }
    }
}

fn count_file(tally: &mut Tally, kind: &str, file: &Value) -> Result<(), RequestError> {
    tally.field(file, "name")?;
    if file["source"]["text"].is_string() {
        return tally.field(&file["source"], "text");
    }
    let is_text = matches!(text(file, "format")?, "txt" | "md" | "csv" | "html");
    let media_type = match kind {
        "document" if is_text => "text/plain".to_owned(),
        "document" => "application/pdf".to_owned(),
        kind => format!("{kind}/"),
    };
    tally.file(&media_type, text(&file["source"], "bytes")?, "");
    Ok(())
}
