//! What Claude demands wherever it is served: Anthropic's own API and Bedrock say the same about thinking, in the same words.

use crate::ask::Thinking;
use crate::family::Family;
use crate::seal::Broken;
use serde_json::Value;

const MIN_BUDGET_TOKENS: u64 = 1_024;

/// What a request says about thinking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) thinking: Thinking,
    /// The thoughts may be read.
    pub(crate) shows: bool,
    /// Inside a tool loop, the assistant's turn must begin with a thought.
    pub(crate) leads: bool,
}

/// Reads the parameter `thinking` in a call with these parameters; an error is in Claude's words.
pub(crate) fn read(
    family: &Family,
    thinking: Option<&Value>,
    max_tokens: Option<u64>,
    forced: bool,
    sampling: &Value,
) -> Result<Wish, String> {
    let Some(thinking) = thinking.filter(|thinking| !thinking.is_null()) else { return Ok(Wish { shows: true, ..Wish::default() }) };
    let kind = thinking.get("type").and_then(Value::as_str).unwrap_or_default();
    let shows = thinking.get("display").is_none_or(|display| display != "omitted");
    match kind {
        "enabled" => check_budget(family, thinking, max_tokens)?,
        "adaptive" | "between_tools" if !family.takes_adaptive => return Err("adaptive thinking is not supported on this model".to_owned()),
        "adaptive" | "between_tools" => {}
        "disabled" if family.takes_thinking_off => return Ok(Wish { thinking: Thinking::Off, shows, leads: false }),
        "disabled" => return Err("\"thinking.type.disabled\" is not supported for this model.".to_owned()),
        other => {
            return Err(format!(
                "thinking: Input tag '{other}' found using 'type' does not match any of the expected tags: 'adaptive', 'disabled', 'enabled'"
            ));
        }
    }
    if forced {
        return Err("Thinking may not be enabled when tool_choice forces tool use.".to_owned());
    }
    if sampling.get("temperature").and_then(Value::as_f64).is_some_and(|temperature| temperature != 1.0) {
        return Err("`temperature` may only be set to 1 when thinking is enabled or in adaptive mode.".to_owned());
    }
    if sampling.get("top_k").is_some_and(|top| !top.is_null()) {
        return Err("`top_k` must be unset when thinking is enabled or in adaptive mode.".to_owned());
    }
    if sampling.get("top_p").and_then(Value::as_f64).is_some_and(|top| top < 0.95) {
        return Err("`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled or in adaptive mode.".to_owned());
    }
    Ok(Wish { thinking: Thinking::On, shows, leads: kind == "enabled" })
}

fn check_budget(family: &Family, thinking: &Value, max_tokens: Option<u64>) -> Result<(), String> {
    if !family.reasons {
        return Err("thinking is not supported on this model".to_owned());
    }
    if !family.takes_budgets {
        return Err(
            "\"thinking.type.enabled\" is not supported for this model. Use \"thinking.type.adaptive\" and \"output_config.effort\" to control thinking behavior."
                .to_owned(),
        );
    }
    match thinking.get("budget_tokens").and_then(Value::as_u64) {
        None => Err("thinking.enabled.budget_tokens: Field required".to_owned()),
        Some(budget) if budget < MIN_BUDGET_TOKENS => {
            Err(format!("thinking.enabled.budget_tokens: Input should be greater than or equal to {MIN_BUDGET_TOKENS}"))
        }
        Some(budget) if max_tokens.is_some_and(|limit| limit <= budget) => {
            Err("`max_tokens` must be greater than `thinking.budget_tokens`.".to_owned())
        }
        Some(_) => Ok(()),
    }
}

/// Why the thought at `place` is not taken.
pub(crate) fn broken_thought(place: &str, field: &str, block: &str, broken: Broken) -> String {
    match broken {
        Broken::Altered | Broken::Foreign(_) => format!("{place}: Invalid `{field}` in `{block}` block"),
        Broken::Prefix => format!(
            "{place}: `{block}` blocks are bound to the content that precedes them, and that content has changed. Send the conversation as it was, or remove the block."
        ),
    }
}

/// What is missing at `place`, which begins an assistant turn inside a tool loop with `found`.
pub(crate) fn missing_thought(place: &str, found: &str) -> String {
    format!(
        "{place}.type: Expected `thinking` or `redacted_thinking`, but found `{found}`. When `thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks). We recommend you include thinking blocks from previous turns."
    )
}

/// Whether a tool may be called `name`: letters, digits, `_` and `-`, `most` of them at most.
pub(crate) fn is_tool_name(name: &str, most: usize) -> bool {
    !name.is_empty() && name.len() <= most && is_plain(name)
}

/// Letters, digits, `_` and `-`.
pub(crate) fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// What Claude does not take in the schema of structured output; `None`: it takes it.
pub(crate) fn schema_mistake(schema: &Value) -> Option<String> {
    let fields = schema.as_object()?;
    let unsupported = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems"];
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or("schema");
    if let Some(name) = unsupported.iter().find(|name| fields.contains_key(**name)) {
        return Some(format!("For '{kind}' type, property '{name}' is not supported"));
    }
    if let Some(name) = ["patternProperties", "if", "then", "else", "not", "oneOf"].iter().find(|name| fields.contains_key(**name)) {
        return Some(format!("'{name}' is not supported"));
    }
    if fields.get("minItems").and_then(Value::as_u64).is_some_and(|least| least > 1) {
        return Some("For 'array' type, 'minItems' values other than 0 or 1 are not supported".to_owned());
    }
    if kind == "object" && fields.get("additionalProperties") != Some(&Value::Bool(false)) {
        return Some("For 'object' type, 'additionalProperties' must be explicitly set to false".to_owned());
    }
    let named = ["properties", "$defs", "definitions"]
        .into_iter()
        .filter_map(|name| fields.get(name)?.as_object())
        .flatten()
        .map(|(_, inner)| inner);
    let listed = ["anyOf", "allOf"].into_iter().filter_map(|name| fields.get(name)?.as_array()).flatten();
    named.chain(listed).chain(fields.get("items")).find_map(schema_mistake)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::family::{PLAIN, find};
    use serde_json::json;

    #[test]
    fn thinking_has_its_rules() {
        let check = |family: &str, thinking: Value, forced: bool, sampling: Value, needle: &str| {
            let family = find(family).unwrap_or(&PLAIN);
            let error = read(family, Some(&thinking), Some(4_000), forced, &sampling).unwrap_err();
            assert!(error.contains(needle), "{thinking}: {error}");
        };
        let enabled = |budget: u64| json!({"type": "enabled", "budget_tokens": budget});
        check("", json!({"type": "enabled"}), false, json!({}), "Field required");
        check("", enabled(1_000), false, json!({}), "greater than or equal to 1024");
        check("", enabled(4_000), false, json!({}), "`max_tokens` must be greater");
        check("", json!({"type": "on"}), false, json!({}), "does not match any of the expected tags");
        check("", enabled(2_000), true, json!({}), "forces tool use");
        check("", enabled(2_000), false, json!({"temperature": 0.5}), "`temperature` may only be set to 1");
        check("", enabled(2_000), false, json!({"top_k": 5}), "`top_k` must be unset");
        check("", enabled(2_000), false, json!({"top_p": 0.5}), "0.95");
        check("claude", json!({"type": "adaptive"}), false, json!({}), "adaptive thinking is not supported");
        check("claude-new", enabled(2_000), false, json!({}), "\"thinking.type.enabled\" is not supported");
        check("claude-new", json!({"type": "disabled"}), false, json!({}), "\"thinking.type.disabled\" is not supported");
        let wish = read(&PLAIN, Some(&json!({"type": "adaptive", "display": "omitted"})), None, false, &json!({}));
        assert_eq!(wish, Ok(Wish { thinking: Thinking::On, shows: false, leads: false }));
    }

    #[test]
    fn schemas_have_their_limits() {
        let check = |schema: Value, needle: Option<&str>| {
            let mistake = schema_mistake(&schema);
            assert_eq!(mistake.is_some(), needle.is_some(), "{schema}: {mistake:?}");
            assert!(mistake.unwrap_or_default().contains(needle.unwrap_or_default()), "{schema}");
        };
        let object = |property: Value| json!({"type": "object", "properties": {"a": property}, "additionalProperties": false});
        check(object(json!({"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "string"}]}})), None);
        check(json!({"type": "object"}), Some("'additionalProperties' must be explicitly set to false"));
        check(object(json!({"type": "integer", "minimum": 1})), Some("For 'integer' type, property 'minimum' is not supported"));
        check(object(json!({"type": "array", "minItems": 2})), Some("'minItems' values other than 0 or 1"));
        check(object(json!({"oneOf": []})), Some("'oneOf' is not supported"));
        check(object(json!({"items": {"type": "object"}})), Some("'object' type"));
    }
}
