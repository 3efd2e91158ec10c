//! Values that satisfy a JSON schema: the arguments of tool calls, and structured output.

use serde_json::{Map, Value, json};

/// Deeper than this, only what a schema requires is made; recursive schemas would not end otherwise.
const GENEROUS_DEPTH: usize = 8;
const MAX_DEPTH: usize = 24;
/// Values within a value. What would come behind them is an empty object.
const MAX_VALUES: u32 = 10_000;
const MAX_TEXT_BYTES: usize = 64 * 1024;

/// The simplest value that satisfies `schema`; an empty schema gives an object.
pub(crate) fn example(schema: &Value) -> Value {
    Maker { root: schema, left: MAX_VALUES }.fit(schema, 0)
}

/// Makes one value.
struct Maker<'s> {
    root: &'s Value,
    /// Values that may still be made.
    left: u32,
}

impl Maker<'_> {
    fn fit(&mut self, schema: &Value, depth: usize) -> Value {
        if depth > MAX_DEPTH || self.left == 0 {
            return json!({});
        }
        self.left -= 1;
        if let Some(target) = reference(schema, self.root) {
            return self.fit(target, depth + 1);
        }
        if let Some(value) = schema.get("const") {
            return value.clone();
        }
        if let Some(first) = schema.get("enum").and_then(|values| values.get(0)) {
            return first.clone();
        }
        if let Some(chosen) = ["anyOf", "oneOf"].iter().find_map(|name| choose(schema.get(name)?, depth)) {
            return self.fit(&merged(schema, &[chosen]), depth + 1);
        }
        if let Some(all) = schema.get("allOf").and_then(Value::as_array) {
            let parts: Vec<&Value> = all.iter().map(|part| reference(part, self.root).unwrap_or(part)).collect();
            return self.fit(&merged(schema, &parts), depth + 1);
        }
        match kind(schema) {
            Some("string") => Value::String(text(schema)),
            Some("integer") => number(schema, true),
            Some("number") => number(schema, false),
            Some("boolean") => json!(true),
            Some("array") => self.array(schema, depth),
            Some("null") => Value::Null,
            _ => self.object(schema, depth),
        }
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let required = schema.get("required").and_then(Value::as_array);
        let required: Vec<&str> = required.into_iter().flatten().filter_map(Value::as_str).collect();
        let mut fields = Map::new();
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if depth < GENEROUS_DEPTH || required.contains(&name.as_str()) {
                fields.insert(name.clone(), self.fit(property, depth + 1));
            }
        }
        let further = schema.get("additionalProperties").filter(|further| further.is_object());
        for name in required {
            if !fields.contains_key(name) {
                let value = further.map_or_else(|| json!("example"), |further| self.fit(further, depth + 1));
                fields.insert(name.to_owned(), value);
            }
        }
        Value::Object(fields)
    }

    fn array(&mut self, schema: &Value, depth: usize) -> Value {
        let least = schema.get("minItems").and_then(|least| least.as_u64().or_else(|| least.as_str()?.parse().ok()));
        let unique = schema.get("uniqueItems").and_then(Value::as_bool).unwrap_or(false);
        let places = schema.get("prefixItems").and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
        let length = usize::try_from(least.unwrap_or(0)).unwrap_or(0).max(places.len());
        let empty = json!({});
        let mut entries = Vec::new();
        for index in 0..length {
            if self.left == 0 {
                break;
            }
            let schema = places.get(index).or_else(|| schema.get("items")).unwrap_or(&empty);
            entries.push(match self.fit(schema, depth + 1) {
                Value::String(text) if unique && index > 0 => json!(format!("{text}{index}")),
                Value::Number(number) if unique => {
                    number.as_i64().map_or(json!(number), |number| json!(number.saturating_add(index as i64)))
                }
                value => value,
            });
        }
        Value::Array(entries)
    }
}

/// What a `$ref` into the schema itself points at.
fn reference<'s>(schema: &Value, root: &'s Value) -> Option<&'s Value> {
    let pointer = schema.get("$ref")?.as_str()?.strip_prefix('#')?;
    root.pointer(pointer)
}

/// The first alternative; far down in a recursion, null where that is one.
fn choose(alternatives: &Value, depth: usize) -> Option<&Value> {
    let alternatives = alternatives.as_array()?;
    let null = alternatives.iter().find(|alternative| kind(alternative) == Some("null"));
    null.filter(|_| depth > GENEROUS_DEPTH).or(alternatives.first())
}

/// `schema` without its combinations, and `parts` on top of it.
fn merged(schema: &Value, parts: &[&Value]) -> Value {
    let mut whole: Map<String, Value> = schema.as_object().cloned().unwrap_or_default();
    for name in ["anyOf", "oneOf", "allOf"] {
        whole.remove(name);
    }
    for (name, value) in parts.iter().filter_map(|part| part.as_object()).flatten() {
        match (whole.get_mut(name), value) {
            (Some(Value::Object(there)), Value::Object(more)) => there.extend(more.clone()),
            (Some(Value::Array(there)), Value::Array(more)) if name == "required" => there.extend(more.clone()),
            _ => drop(whole.insert(name.clone(), value.clone())),
        }
    }
    Value::Object(whole)
}

/// The type: lower-cased, because Gemini writes it in capitals; the first that is not null where there are several.
fn kind(schema: &Value) -> Option<&'static str> {
    let names: Vec<&str> = match schema.get("type")? {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let known = ["string", "integer", "number", "boolean", "array", "object", "null"];
    let mut found = names.iter().filter_map(|name| known.iter().find(|known| known.eq_ignore_ascii_case(name)).copied());
    let first = found.next()?;
    Some(if first == "null" { found.next().unwrap_or(first) } else { first })
}

fn number(schema: &Value, whole: bool) -> Value {
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    let step = bound("multipleOf").filter(|step| *step > 0.0);
    let mut value = 1.0_f64;
    if let Some(most) = bound("maximum") {
        value = value.min(most);
    }
    if let Some(most) = bound("exclusiveMaximum").filter(|most| value >= *most) {
        value = if whole { (most - 1.0).floor() } else { most - 0.5 };
    }
    if let Some(least) = bound("minimum") {
        value = value.max(least);
    }
    if let Some(least) = bound("exclusiveMinimum").filter(|least| value <= *least) {
        value = match bound("maximum").or(bound("exclusiveMaximum")) {
            Some(most) if !whole => (least + most) / 2.0,
            _ => (least + 1.0).floor(),
        };
    }
    if let Some(step) = step {
        value = (value / step).ceil() * step;
    }
    if whole || value.fract() == 0.0 { json!(value.ceil() as i64) } else { json!(value) }
}

fn text(schema: &Value) -> String {
    let length = |name: &str| schema.get(name).and_then(Value::as_u64).and_then(|length| usize::try_from(length).ok());
    let own = match schema.get("format").and_then(Value::as_str) {
        Some("date-time") => "2026-01-01T00:00:00Z",
        Some("date") => "2026-01-01",
        Some("time") => "00:00:00Z",
        Some("duration") => "PT1S",
        Some("email") => "a@example.com",
        Some("uri" | "url") => "https://example.com",
        Some("hostname") => "example.com",
        Some("ipv4") => "192.0.2.1",
        Some("ipv6") => "2001:db8::1",
        Some("uuid") => "00000000-0000-4000-8000-000000000000",
        _ => "example",
    };
    let mut text = match schema.get("pattern").and_then(Value::as_str) {
        Some(pattern) => from_pattern(pattern),
        None => own.to_owned(),
    };
    while text.chars().count() < length("minLength").unwrap_or(0).min(MAX_TEXT_BYTES) {
        text.push(text.chars().next_back().unwrap_or('x'));
    }
    if let Some(most) = length("maxLength") {
        text = text.chars().take(most).collect();
    }
    text
}

/// The shortest text that a regular expression of the plain kind matches: literals, classes, groups, alternatives, repetitions.
/// Look-around and back references are taken as empty.
fn from_pattern(pattern: &str) -> String {
    let mut rest = pattern.strip_prefix('^').unwrap_or(pattern).chars().peekable();
    let mut text = String::new();
    alternatives(&mut rest, &mut text, 0);
    text
}

type Rest<'p> = std::iter::Peekable<std::str::Chars<'p>>;

/// The first alternative goes to `text`, the others are read away; ends behind the closing parenthesis.
fn alternatives(rest: &mut Rest<'_>, text: &mut String, depth: usize) {
    let mut first = true;
    while let Some(character) = rest.next() {
        let mut piece = String::new();
        match character {
            ')' => return,
            '|' => {
                first = false;
                continue;
            }
            '(' if depth < MAX_DEPTH => {
                let silent = group_start(rest);
                alternatives(rest, &mut piece, depth + 1);
                if silent {
                    piece.clear();
                }
            }
            '[' => piece.extend(class(rest)),
            '\\' => piece.extend(rest.next().and_then(escaped)),
            '.' => piece.push('x'),
            '^' | '$' => {}
            other => piece.push(other),
        }
        let repeats = repetition(rest);
        if first {
            let room = MAX_TEXT_BYTES.saturating_sub(text.len()) / piece.len().max(1);
            text.push_str(&piece.repeat(repeats.min(room)));
        }
    }
}

/// Reads `?:`, `?<name>` and the like; true for those that match nothing themselves.
fn group_start(rest: &mut Rest<'_>) -> bool {
    if rest.next_if_eq(&'?').is_none() {
        return false;
    }
    match rest.next() {
        Some('<') if !matches!(rest.peek(), Some('=' | '!')) => {
            rest.by_ref().find(|character| *character == '>');
            false
        }
        Some(':') => false,
        _ => true,
    }
}

fn class(rest: &mut Rest<'_>) -> Option<char> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut found = None;
    let mut members = Vec::new();
    while let Some(character) = rest.next() {
        let member = match character {
            ']' if !members.is_empty() || found.is_some() => break,
            '\\' => rest.next().and_then(escaped),
            other => Some(other),
        };
        members.extend(member);
        found = found.or(member);
    }
    if negated { ['x', '0', ' ', '-'].into_iter().find(|candidate| !members.contains(candidate)) } else { found }
}

fn escaped(character: char) -> Option<char> {
    match character {
        'd' => Some('0'),
        'w' | 'S' | 'D' => Some('x'),
        's' => Some(' '),
        'W' => Some('-'),
        'n' => Some('\n'),
        't' => Some('\t'),
        'b' | 'B' => None,
        other => Some(other),
    }
}

/// How often the piece before must come at least.
fn repetition(rest: &mut Rest<'_>) -> usize {
    let times = match rest.peek() {
        Some('*' | '?') => 0,
        Some('+') => 1,
        Some('{') => {
            let inside: String = rest.clone().skip(1).take_while(|character| *character != '}').collect();
            let Ok(times) = inside.split(',').next().unwrap_or_default().parse::<usize>() else { return 1 };
            rest.nth(inside.chars().count());
            times.min(MAX_TEXT_BYTES)
        }
        _ => return 1,
    };
    rest.next();
    rest.next_if_eq(&'?');
    times
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_satisfy_their_schemas() {
        let check = |schema: Value, value: Value| assert_eq!(example(&schema), value, "{schema}");
        check(json!({}), json!({}));
        check(json!({"type": "string"}), json!("example"));
        check(json!({"type": ["null", "string"]}), json!("example"));
        check(json!({"type": "STRING", "minLength": 9}), json!("exampleee"));
        check(json!({"type": "string", "maxLength": 2}), json!("ex"));
        check(json!({"type": "string", "format": "date"}), json!("2026-01-01"));
        check(json!({"type": "integer"}), json!(1));
        check(json!({"type": "integer", "minimum": 5}), json!(5));
        check(json!({"type": "integer", "exclusiveMinimum": 5}), json!(6));
        check(json!({"type": "integer", "maximum": -3}), json!(-3));
        check(json!({"type": "integer", "minimum": 10, "multipleOf": 4}), json!(12));
        check(json!({"type": "number", "exclusiveMaximum": 1}), json!(0.5));
        check(json!({"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 2}), json!(1.5));
        check(json!({"type": "boolean"}), json!(true));
        check(json!({"const": [1]}), json!([1]));
        check(json!({"enum": ["b", "a"]}), json!("b"));
        check(json!({"type": "array", "items": {"type": "integer"}}), json!([]));
        check(json!({"type": "array", "minItems": 2, "items": {"type": "integer"}}), json!([1, 1]));
        check(json!({"type": "array", "minItems": 2, "uniqueItems": true, "items": {"type": "string"}}), json!(["example", "example1"]));
        check(json!({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}]}), json!([1, 2]));
        check(json!({"type": "object", "required": ["a"]}), json!({"a": "example"}));
        check(json!({"type": "object", "required": ["a"], "additionalProperties": {"type": "integer"}}), json!({"a": 1}));
        check(json!({"anyOf": [{"type": "integer"}, {"type": "null"}], "minimum": 3}), json!(3));
        let parts = json!([{"properties": {"a": {"type": "integer"}}}, {"$ref": "#/$defs/b"}]);
        let definitions = json!({"b": {"properties": {"b": {"const": 2}}, "required": ["b"]}});
        check(json!({"type": "object", "allOf": parts, "$defs": definitions}), json!({"a": 1, "b": 2}));
    }

    #[test]
    fn recursion_ends() {
        let node = json!({"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}});
        assert!(example(&node).to_string().len() < 100_000);
        let names: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        let properties: Map<String, Value> = names.iter().map(|name| (name.clone(), json!({"$ref": "#"}))).collect();
        assert!(example(&json!({"type": "object", "properties": properties, "required": names})).to_string().len() < 1_000_000);
        let many =
            json!({"type": "array", "minItems": u64::MAX, "items": {"type": "array", "minItems": 1_000_000, "items": {"type": "null"}}});
        assert!(example(&many).to_string().len() < 1_000_000);
        example(&json!({"$ref": "#"}));
    }

    #[test]
    fn patterns_are_matched() {
        for (pattern, text) in [
            ("^[A-Z]{3}-\\d{2,4}$", "AAA-00"),
            ("^(cat|dog)s?$", "cat"),
            ("a+b*c?", "a"),
            ("^(?:x(?<n>y))$", "xy"),
            ("^[^x]$", "0"),
            ("^\\w+@\\w+\\.com$", "x@x.com"),
            ("{x", "{x"),
        ] {
            assert_eq!(from_pattern(pattern), text, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn any_pattern_is_taken(pattern in "[a-z(|)\\[\\]{}0-9,+*?\\\\^$.]{0,30}") {
            prop_assert!(from_pattern(&pattern).len() <= MAX_TEXT_BYTES + 30);
        }
    }
}
