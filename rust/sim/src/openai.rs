//! What OpenAI's dialects have in common when they judge a request: the words for what does not fit, names, strict schemas.

use crate::family::Family;
use crate::reply::Refusal;
use crate::shape::{self, Misfit, Shape, What};
use serde_json::Value;

const MAX_NAME_LETTERS: usize = 64;
/// Not in a strict schema.
const FOREIGN_KEYWORDS: &[&str] =
    &["allOf", "not", "dependentRequired", "dependentSchemas", "if", "then", "else", "patternProperties", "propertyNames", "oneOf"];

/// Checks `body` against `shape`, in OpenAI's words.
pub(crate) fn check(body: &Value, shape: &Shape) -> Result<(), Refusal> {
    shape::check(body, shape).map_err(|misfit| refusal(&misfit))
}

fn refusal(misfit: &Misfit) -> Refusal {
    let place = misfit.bracketed();
    let (message, code) = match &misfit.what {
        What::Unknown => (format!("Unknown parameter: '{place}'."), "unknown_parameter"),
        What::Missing => (format!("Missing required parameter: '{place}'."), "missing_required_parameter"),
        What::Type { expected, found } => {
            (format!("Invalid type for '{place}': expected {expected}, but got {found} instead."), "invalid_type")
        }
        What::Choice { found, known } => (format!("Invalid value: '{found}'. Supported values are: {}.", listed(known)), "invalid_value"),
        What::Members(count) => (format!("Invalid '{place}': expected exactly one field, but got {count}."), "invalid_value"),
    };
    Refusal::bad_request(message).param(place).code(code)
}

/// `'a', 'b', and 'c'`
pub(crate) fn listed(values: &[&str]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
    match quoted.as_slice() {
        [only] => only.clone(),
        [first, second] => format!("{first} and {second}"),
        [most @ .., last] => format!("{}, and {last}", most.join(", ")),
        [] => String::new(),
    }
}

/// A value that OpenAI does not take at `place`.
pub(crate) fn invalid(place: &str, what: &str, code: &'static str) -> Refusal {
    Refusal::bad_request(format!("Invalid '{place}': {what}")).param(place.to_owned()).code(code)
}

/// A parameter that this model does not take.
pub(crate) fn unsupported(name: &str) -> Refusal {
    Refusal::bad_request(format!("Unsupported parameter: '{name}' is not supported with this model."))
        .param(name.to_owned())
        .code("unsupported_parameter")
}

/// Checks a function's or a schema's name.
pub(crate) fn check_name(name: &str, place: &str) -> Result<(), Refusal> {
    if name.is_empty() {
        return Err(invalid(
            place,
            "empty string. Expected a string with minimum length 1, but got an empty string instead.",
            "empty_string",
        ));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
        let what = "string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.";
        return Err(invalid(place, what, "invalid_value"));
    }
    check_length(name, MAX_NAME_LETTERS, place)
}

/// Checks that `text` has at most `most` letters.
pub(crate) fn check_length(text: &str, most: usize, place: &str) -> Result<(), Refusal> {
    let length = text.chars().count();
    if length <= most {
        return Ok(());
    }
    let what = format!("string too long. Expected a string with maximum length {most}, but got a string with length {length} instead.");
    Err(invalid(place, &what, "string_above_max_length"))
}

/// Checks that the number at `place`, if there is one, lies between `least` and `most`.
pub(crate) fn check_range(body: &Value, place: &str, least: f64, most: f64) -> Result<(), Refusal> {
    let Some(number) = body.get(place).and_then(Value::as_f64) else { return Ok(()) };
    let kind = if body.get(place).is_some_and(Value::is_f64) { "decimal" } else { "integer" };
    if number < least {
        let code = if kind == "integer" { "integer_below_min_value" } else { "decimal_below_min_value" };
        return Err(invalid(place, &format!("{kind} below minimum value. Expected a value >= {least}, but got {number} instead."), code));
    }
    if number > most {
        let code = if kind == "integer" { "integer_above_max_value" } else { "decimal_above_max_value" };
        return Err(invalid(place, &format!("{kind} above maximum value. Expected a value <= {most}, but got {number} instead."), code));
    }
    Ok(())
}

/// Checks that none of `names` is used with a family that does not take sampling parameters. The default value is let through.
pub(crate) fn check_sampling(body: &Value, family: &Family, names: &[(&str, f64)]) -> Result<(), Refusal> {
    if family.takes_sampling {
        return Ok(());
    }
    for (name, default) in names {
        let given = body.get(*name).filter(|value| !value.is_null());
        if given.is_some_and(|value| value.as_f64() != Some(*default)) {
            return Err(unsupported(name));
        }
    }
    Ok(())
}

/// Checks `metadata`: 16 pairs of short texts.
pub(crate) fn check_metadata(body: &Value) -> Result<(), Refusal> {
    let Some(pairs) = body.get("metadata").and_then(Value::as_object) else { return Ok(()) };
    if pairs.len() > 16 {
        let what = format!(
            "too many properties. Expected an object with at most 16 properties, but got an object with {} properties instead.",
            pairs.len()
        );
        return Err(invalid("metadata", &what, "object_above_max_properties"));
    }
    for (name, value) in pairs {
        check_length(name, 64, "metadata")?;
        check_length(value.as_str().unwrap_or_default(), 512, &format!("metadata.{name}"))?;
    }
    Ok(())
}

/// Checks a schema that is to be followed strictly; `owner` is `response_format 'x'` or `function 'x'`.
pub(crate) fn check_strict_schema(schema: &Value, owner: &str, place: &str) -> Result<(), Refusal> {
    let wrong = |context: &str, what: String| {
        Refusal::bad_request(format!("Invalid schema for {owner}: In context={context}, {what}"))
            .param(place.to_owned())
            .code("invalid_json_schema")
    };
    if schema.get("type").and_then(Value::as_str) != Some("object") || schema.get("anyOf").is_some() {
        return Err(wrong("()", "schema must be a JSON Schema of 'type: \"object\"'.".to_owned()));
    }
    strict(schema, &mut Vec::new()).map_err(|(context, what)| wrong(&context, what))
}

fn strict(schema: &Value, path: &mut Vec<String>) -> Result<(), (String, String)> {
    let Some(fields) = schema.as_object() else { return Ok(()) };
    if let Some(foreign) = FOREIGN_KEYWORDS.iter().find(|keyword| fields.contains_key(**keyword)) {
        return Err((tuple(path), format!("'{foreign}' is not permitted.")));
    }
    let properties = fields.get("properties").and_then(Value::as_object);
    if properties.is_some() || fields.get("type").is_some_and(|kind| kind == "object") {
        if fields.get("additionalProperties") != Some(&Value::Bool(false)) {
            return Err((tuple(path), "'additionalProperties' is required to be supplied and to be false.".to_owned()));
        }
        let required: Vec<&str> =
            fields.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        if let Some((missing, _)) = properties.into_iter().flatten().find(|(name, _)| !required.contains(&name.as_str())) {
            let what =
                format!("'required' is required to be supplied and to be an array including every key in properties. Missing '{missing}'.");
            return Err((tuple(path), what));
        }
    }
    for (keyword, inner) in fields {
        match (keyword.as_str(), inner) {
            ("properties" | "$defs" | "definitions", Value::Object(named)) => {
                for (name, schema) in named {
                    inside(schema, &[keyword, name], path)?;
                }
            }
            ("items", schema) => inside(schema, &["items"], path)?,
            ("anyOf", Value::Array(schemas)) => {
                for (index, schema) in schemas.iter().enumerate() {
                    inside(schema, &["anyOf", &index.to_string()], path)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn inside(schema: &Value, steps: &[&str], path: &mut Vec<String>) -> Result<(), (String, String)> {
    path.extend(steps.iter().map(|step| (*step).to_owned()));
    strict(schema, path)?;
    path.truncate(path.len() - steps.len());
    Ok(())
}

/// The path as Python writes a tuple.
fn tuple(path: &[String]) -> String {
    match path {
        [only] => format!("('{only}',)"),
        path => format!("({})", path.iter().map(|step| format!("'{step}'")).collect::<Vec<_>>().join(", ")),
    }
}

/// Whether any text of `value` has the word JSON, which `json_object` demands.
pub(crate) fn speaks_of_json(value: &Value) -> bool {
    match value {
        Value::String(text) => text.to_ascii_lowercase().contains("json"),
        Value::Array(values) => values.iter().any(speaks_of_json),
        Value::Object(fields) => fields.values().any(speaks_of_json),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn strict_schemas_are_closed_and_complete() {
        let check = |schema: Value, needle: &str| {
            let refusal = check_strict_schema(&schema, "function 'f'", "tools[0]").unwrap_err();
            assert!(refusal.message.contains(needle), "{schema}: {}", refusal.message);
        };
        let object = |properties: Value| {
            let names: Vec<String> = properties.as_object().unwrap().keys().cloned().collect();
            json!({"type": "object", "properties": properties, "required": names, "additionalProperties": false})
        };
        assert_eq!(check_strict_schema(&object(json!({"a": {"type": "array", "items": object(json!({}))}})), "", ""), Ok(()));
        check(json!({"type": "string"}), "must be a JSON Schema of");
        check(json!({"type": "object", "properties": {}}), "context=(), 'additionalProperties'");
        check(json!({"type": "object", "properties": {"a": {}}, "additionalProperties": false}), "Missing 'a'");
        check(object(json!({"a": {"type": "object"}})), "context=('properties', 'a'), 'additionalProperties'");
        check(object(json!({"a": {"items": {"allOf": []}}})), "context=('properties', 'a', 'items'), 'allOf' is not permitted");
        check(object(json!({"a": {"anyOf": [{}, {"type": "object"}]}})), "('properties', 'a', 'anyOf', '1')");
    }

    #[test]
    fn names_have_their_letters() {
        for (name, good) in [("look", true), ("a-b_9", true), ("", false), ("a.b", false), ("é", false), (&"x".repeat(65), false)] {
            assert_eq!(check_name(name, "tools[0].name").is_ok(), good, "{name}");
        }
    }

    #[test]
    fn values_are_listed() {
        assert_eq!(listed(&["a"]), "'a'");
        assert_eq!(listed(&["a", "b"]), "'a' and 'b'");
        assert_eq!(listed(&["a", "b", "c"]), "'a', 'b', and 'c'");
    }
}
