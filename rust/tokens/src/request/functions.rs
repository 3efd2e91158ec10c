//! OpenAI's overheads, and how it turns definitions of functions into tokens (OpenAI Cookbook, "How to count tokens with tiktoken", 6 and 7).

use serde_json::Value;

use super::{RequestError, Tally, each, text};
use crate::counter::Counter;
use crate::encoding::Encoding;

/// `<|start|>`, `<|message|>`, `<|end|>` of a message.
pub(super) const TOKENS_PER_MESSAGE: u64 = 3;
/// A name beside the role.
pub(super) const TOKENS_PER_NAME: u64 = 1;
/// `<|start|>assistant<|message|>`, which primes the reply.
pub(super) const REPLY: u64 = 3;
/// A call beside its name and arguments: a recipient, a channel and a format (OpenAI's harmony format).
pub(super) const TOKENS_PER_CALL: u64 = 3;

const FUNCTION_OF_O200K: u64 = 7;
const FUNCTION_OF_CL100K: u64 = 10;
const PROPERTIES: u64 = 3;
const PROPERTY: u64 = 3;
const ENUM_ITEM: u64 = 3;
/// What an enum costs less than its items.
const ENUM: u64 = 3;
const ALL_FUNCTIONS: u64 = 12;
/// Definitions in definitions; beyond, they count as JSON.
const DEEPEST: usize = 16;

/// `tools` as Chat and Responses have them, and Chat's old `functions`.
pub(super) fn count_tools(tally: &mut Tally, body: &Value) -> Result<(), RequestError> {
    let mut functions = false;
    each(body, "tools", |tool| {
        // Chat has the definition inside, Responses flat.
        let definition = ["function", "custom"].into_iter().map(|key| &tool[key]).find(|inner| inner.is_object()).unwrap_or(tool);
        if matches!(text(tool, "type")?, "function" | "custom" | "") {
            functions = true;
            count_function(tally, definition)
        } else {
            tally.definition(tool);
            Ok(())
        }
    })?;
    each(body, "functions", |function| {
        functions = true;
        count_function(tally, function)
    })?;
    tally.count.tools += if functions { ALL_FUNCTIONS } else { 0 };
    Ok(())
}

fn count_function(tally: &mut Tally, function: &Value) -> Result<(), RequestError> {
    tally.count.tools += if tally.counter == Counter::Exact(Encoding::Cl100kBase) { FUNCTION_OF_CL100K } else { FUNCTION_OF_O200K };
    line(tally, &[text(function, "name")?, text(function, "description")?]);
    count_properties(tally, &function["parameters"], 0)?;
    // Of a custom tool.
    tally.definition(&function["format"]);
    Ok(())
}

fn count_properties(tally: &mut Tally, schema: &Value, depth: usize) -> Result<(), RequestError> {
    if depth > DEEPEST {
        tally.definition(schema);
        return Ok(());
    }
    for key in ["anyOf", "oneOf", "allOf", "$defs", "definitions", "$ref"] {
        tally.definition(&schema[key]);
    }
    count_properties_of(tally, schema, depth)?;
    if schema["items"].is_object() { count_properties(tally, &schema["items"], depth + 1) } else { Ok(()) }
}

fn count_properties_of(tally: &mut Tally, schema: &Value, depth: usize) -> Result<(), RequestError> {
    let Some(properties) = schema["properties"].as_object().filter(|properties| !properties.is_empty()) else { return Ok(()) };
    tally.count.tools += PROPERTIES;
    for (name, property) in properties {
        tally.count.tools += PROPERTY;
        // A type may be a list of types.
        let kind = property["type"]
            .as_str()
            .map_or_else(|| if property["type"].is_null() { String::new() } else { property["type"].to_string() }, str::to_owned);
        line(tally, &[name, &kind, text(property, "description").map_err(|error| error.inside(name))?]);
        if let Some(items) = property["enum"].as_array() {
            let texts: u64 =
                items.iter().map(|item| tally.counter.count(&item.as_str().map_or_else(|| item.to_string(), str::to_owned))).sum();
            tally.count.tools += texts + (ENUM_ITEM * items.len() as u64).saturating_sub(ENUM);
        }
        count_properties(tally, property, depth + 1)?;
    }
    Ok(())
}

/// `name:description`, without a full stop at its end.
fn line(tally: &mut Tally, parts: &[&str]) {
    let line = parts.join(":");
    tally.count.tools += tally.counter.count(line.strip_suffix('.').unwrap_or(&line));
}
