//! Whether a JSON value fits a JSON Schema, as far as can be said without a library for it: types, members, elements, choices and bounds.
//! References and patterns are not followed. Work is bounded by depth and by bytes read, whatever stands in either text.

use std::borrow::Cow;

use crate::json::Kind;
use crate::json::walk::{self, Member, as_bool, as_str, as_u64, unescape};

/// How deep schemas are followed.
const DEEPEST: usize = 24;
/// How many bytes are walked over for one verdict: below a millisecond.
const MOST_WALKED_BYTES: usize = 1 << 20;

/// Whether a value fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    Fits,
    /// Nothing is known to break it, and something could not be looked at.
    Unknown,
    Breaks,
}

impl Fit {
    /// Both must fit.
    pub(super) fn and(self, other: Fit) -> Fit {
        self.max(other)
    }

    pub(super) fn verdict(self) -> Option<bool> {
        match self {
            Fit::Fits => Some(true),
            Fit::Unknown => None,
            Fit::Breaks => Some(false),
        }
    }

    fn of(fits: bool) -> Fit {
        if fits { Fit::Fits } else { Fit::Breaks }
    }
}

/// Bytes that may still be walked over.
pub(super) struct Fuel(usize);

impl Fuel {
    pub(super) fn new() -> Fuel {
        Fuel(MOST_WALKED_BYTES)
    }

    fn burn(&mut self, bytes: usize) -> bool {
        let left = self.0.checked_sub(bytes.max(1));
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

/// Whether `value` fits `schema`; both are known to be JSON.
pub(super) fn check(schema: &[u8], value: &[u8], fuel: &mut Fuel) -> Fit {
    Checking { fuel }.schema(schema, value, 0)
}

struct Checking<'f> {
    fuel: &'f mut Fuel,
}

impl Checking<'_> {
    fn schema(&mut self, schema: &[u8], value: &[u8], depth: usize) -> Fit {
        if depth > DEEPEST || !self.fuel.burn(schema.len()) {
            return Fit::Unknown;
        }
        let Some(kind) = value.first().and_then(|byte| Kind::of(*byte)) else { return Fit::Unknown };
        match schema {
            b"true" => return Fit::Fits,
            b"false" => return Fit::Breaks,
            [b'{', ..] => {}
            _ => return Fit::Unknown,
        }
        // What stands beside a reference does not count in the older drafts.
        if find(schema, "$ref").is_some() || find(schema, "$dynamicRef").is_some() {
            return Fit::Unknown;
        }
        if kind == Kind::Null && find(schema, "nullable").is_some_and(|nullable| nullable.value == b"true") {
            return Fit::Fits;
        }
        let mut fit = Fit::Fits;
        for keyword in walk::members(schema) {
            let Ok(keyword) = keyword else { return Fit::Unknown };
            fit = fit.and(self.keyword(&keyword, schema, value, kind, depth));
            if fit == Fit::Breaks {
                return fit;
            }
        }
        fit
    }

    fn keyword(&mut self, keyword: &Member<'_>, schema: &[u8], value: &[u8], kind: Kind, depth: usize) -> Fit {
        let Some(name) = unescape(keyword.key) else { return Fit::Unknown };
        let (rule, is_text, is_object, is_array) = (keyword.value, kind == Kind::String, kind == Kind::Object, kind == Kind::Array);
        if COUNTS.contains(&&*name) && !self.fuel.burn(value.len()) {
            return Fit::Unknown;
        }
        match &*name {
            "type" => is_of_type(rule, value, kind),
            "enum" => any(walk::elements(rule).map(|known| known.map_or(Fit::Unknown, |known| self.equal(known.value, value)))),
            "const" => self.equal(rule, value),
            "properties" if is_object => self.members(rule, value, depth),
            "required" if is_object => self.required(rule, value),
            "additionalProperties" if is_object => self.others(rule, schema, value, depth),
            "minProperties" | "maxProperties" if is_object => is_within(&name, rule, walk::members(value).count()),
            "items" if is_array && find(schema, "prefixItems").is_none() => self.elements(rule, value, depth),
            "minItems" | "maxItems" if is_array => is_within(&name, rule, walk::elements(value).count()),
            "minLength" | "maxLength" if is_text => as_str(value).map_or(Fit::Unknown, |text| is_within(&name, rule, text.chars().count())),
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" if kind == Kind::Number => is_bounded(&name, rule, value),
            "anyOf" => any(walk::elements(rule).map(|option| option.map_or(Fit::Unknown, |it| self.schema(it.value, value, depth + 1)))),
            "allOf" => walk::elements(rule)
                .map(|part| part.map_or(Fit::Unknown, |part| self.schema(part.value, value, depth + 1)))
                .fold(Fit::Fits, Fit::and),
            "oneOf" => self.one_of(rule, value, depth),
            // They say nothing of a value of another kind.
            "properties" | "required" | "additionalProperties" | "minProperties" | "maxProperties" | "patternProperties" if !is_object => {
                Fit::Fits
            }
            "items" | "minItems" | "maxItems" | "uniqueItems" | "prefixItems" | "contains" if !is_array => Fit::Fits,
            "minLength" | "maxLength" | "pattern" if !is_text => Fit::Fits,
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" if kind != Kind::Number => Fit::Fits,
            // They say nothing of any value.
            "title" | "description" | "default" | "example" | "examples" | "format" | "nullable" | "deprecated" | "readOnly"
            | "writeOnly" | "strict" | "propertyOrdering" | "contentEncoding" | "contentMediaType" | "definitions" => Fit::Fits,
            name if name.starts_with('$') || name.starts_with("x-") => Fit::Fits,
            _ => Fit::Unknown,
        }
    }

    fn members(&mut self, properties: &[u8], value: &[u8], depth: usize) -> Fit {
        self.each_member(properties, value, depth, |property| property.map(|property| property.value))
    }

    /// Each member of `value` by the schema that `rule` has for it, given what `properties` says of its name.
    fn each_member<'s>(
        &mut self,
        properties: &'s [u8],
        value: &[u8],
        depth: usize,
        rule: impl Fn(Option<Member<'s>>) -> Option<&'s [u8]>,
    ) -> Fit {
        let mut fit = Fit::Fits;
        for member in walk::members(value) {
            let Ok(member) = member else { return Fit::Unknown };
            if !self.fuel.burn(properties.len()) {
                return fit.and(Fit::Unknown);
            }
            let Some(name) = unescape(member.key) else { return Fit::Unknown };
            if let Some(schema) = rule(find(properties, &name)) {
                fit = fit.and(self.schema(schema, member.value, depth + 1));
            }
        }
        fit
    }

    fn required(&mut self, names: &[u8], value: &[u8]) -> Fit {
        let mut fit = Fit::Fits;
        for name in walk::elements(names) {
            if !self.fuel.burn(value.len()) {
                return fit.and(Fit::Unknown);
            }
            let found = name.ok().and_then(|name| as_str(name.value)).map(|name| Fit::of(find(value, &name).is_some()));
            fit = fit.and(found.unwrap_or(Fit::Unknown));
        }
        fit
    }

    /// Members that `properties` does not name.
    fn others(&mut self, rule: &[u8], schema: &[u8], value: &[u8], depth: usize) -> Fit {
        if rule == b"true" {
            return Fit::Fits;
        }
        if find(schema, "patternProperties").is_some() {
            return Fit::Unknown;
        }
        let properties = find(schema, "properties");
        let properties = properties.as_ref().map_or(&b"{}"[..], |properties| properties.value);
        self.each_member(properties, value, depth, |property| property.is_none().then_some(rule))
    }

    fn elements(&mut self, rule: &[u8], value: &[u8], depth: usize) -> Fit {
        let mut fit = Fit::Fits;
        for element in walk::elements(value) {
            fit = fit.and(element.map_or(Fit::Unknown, |element| self.schema(rule, element.value, depth + 1)));
            if fit == Fit::Breaks || self.fuel.0 == 0 {
                break;
            }
        }
        fit
    }

    fn equal(&mut self, known: &[u8], value: &[u8]) -> Fit {
        if self.fuel.burn(value.len()) { is_equal(known, value) } else { Fit::Unknown }
    }

    fn one_of(&mut self, options: &[u8], value: &[u8], depth: usize) -> Fit {
        let (mut fitting, mut unknown) = (0, 0);
        for option in walk::elements(options) {
            match option.map_or(Fit::Unknown, |option| self.schema(option.value, value, depth + 1)) {
                Fit::Fits => fitting += 1,
                Fit::Unknown => unknown += 1,
                Fit::Breaks => {}
            }
        }
        match (fitting, unknown) {
            (2.., _) | (0, 0) => Fit::Breaks,
            (1, 0) => Fit::Fits,
            _ => Fit::Unknown,
        }
    }
}

/// Each of them walks over the whole value.
const COUNTS: [&str; 6] = ["minProperties", "maxProperties", "minItems", "maxItems", "minLength", "maxLength"];

/// The member of an object; nothing where it is none.
fn find<'s>(object: &'s [u8], name: &str) -> Option<Member<'s>> {
    walk::member(object, name).ok().flatten()
}

/// At least one must fit.
fn any(fits: impl Iterator<Item = Fit>) -> Fit {
    fits.min().unwrap_or(Fit::Breaks)
}

fn is_of_type(rule: &[u8], value: &[u8], kind: Kind) -> Fit {
    let is = |name: &[u8]| match as_str(name).as_deref() {
        Some("object") => Fit::of(kind == Kind::Object),
        Some("array") => Fit::of(kind == Kind::Array),
        Some("string") => Fit::of(kind == Kind::String),
        Some("boolean") => Fit::of(matches!(kind, Kind::True | Kind::False)),
        Some("null") => Fit::of(kind == Kind::Null),
        Some("number") => Fit::of(kind == Kind::Number),
        Some("integer") => Fit::of(kind == Kind::Number && number(value).is_some_and(|number| number.fract() == 0.0)),
        _ => Fit::Unknown,
    };
    match rule {
        [b'[', ..] => any(walk::elements(rule).map(|name| name.map_or(Fit::Unknown, |name| is(name.value)))),
        name => is(name),
    }
}

/// Containers that are written alike are equal; of others nothing is said.
fn is_equal(known: &[u8], value: &[u8]) -> Fit {
    let kinds = [known, value].map(|text| text.first().and_then(|byte| Kind::of(*byte)));
    match kinds {
        _ if known == value => Fit::Fits,
        [Some(Kind::String), Some(Kind::String)] => match (as_str(known), as_str(value)) {
            (Some(known), Some(value)) => Fit::of(known == value),
            _ => Fit::Unknown,
        },
        [Some(Kind::Number), Some(Kind::Number)] => Fit::of(number(known) == number(value)),
        [Some(Kind::Object), Some(Kind::Object)] | [Some(Kind::Array), Some(Kind::Array)] => Fit::Unknown,
        _ => Fit::Breaks,
    }
}

/// `min…` and `max…` of a count.
fn is_within(name: &str, rule: &[u8], count: usize) -> Fit {
    let bound = as_str(rule).map_or(Cow::Borrowed(rule), |text| Cow::Owned(text.into_owned().into_bytes()));
    let (Some(bound), count) = (as_u64(&bound), count as u64) else { return Fit::Unknown };
    Fit::of(if name.starts_with("min") { count >= bound } else { count <= bound })
}

fn is_bounded(name: &str, rule: &[u8], value: &[u8]) -> Fit {
    // In an older draft the exclusive ones are flags of the others.
    let (Some(bound), Some(value)) = (number(rule), number(value)) else {
        return if as_bool(rule) == Some(false) { Fit::Fits } else { Fit::Unknown };
    };
    Fit::of(match name {
        "minimum" => value >= bound,
        "maximum" => value <= bound,
        "exclusiveMinimum" => value > bound,
        _ => value < bound,
    })
}

fn number(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn judged(schema: &serde_json::Value, value: &serde_json::Value) -> Option<bool> {
        check(schema.to_string().as_bytes(), value.to_string().as_bytes(), &mut Fuel::new()).verdict()
    }

    #[test]
    fn values_fit_or_do_not() {
        let (fits, breaks, unknown) = (Some(true), Some(false), None);
        for (schema, value, expected) in [
            (json!({}), json!({"a": 1}), fits),
            (json!({"type": "object"}), json!([]), breaks),
            (json!({"type": ["string", "null"]}), json!(null), fits),
            (json!({"type": ["string", "null"]}), json!(1), breaks),
            (json!({"type": "integer"}), json!(1.0), fits),
            (json!({"type": "integer"}), json!(1.5), breaks),
            (json!({"type": "number"}), json!(1.5), fits),
            (json!({"type": "number"}), json!("1"), breaks),
            (json!({"type": "boolean"}), json!(false), fits),
            (json!({"type": "boolean"}), json!("false"), breaks),
            (json!({"type": "string", "nullable": true}), json!(null), fits),
            (json!({"type": "colour"}), json!(1), unknown),
            (json!({"enum": ["a", 1, null]}), json!(1.0), fits),
            (json!({"enum": ["a", 1, null]}), json!("\u{61}"), fits),
            (json!({"enum": ["a", 1, null]}), json!(true), breaks),
            (json!({"enum": [[1]]}), json!([2]), unknown),
            (json!({"const": "a"}), json!("b"), breaks),
            (json!({"required": ["a"]}), json!({"a": null}), fits),
            (json!({"required": ["a"]}), json!({"b": 1}), breaks),
            (json!({"properties": {"a": false}}), json!({"a": 1}), breaks),
            (json!({"properties": {"a": {}}, "additionalProperties": false}), json!({"a": 1}), fits),
            (json!({"properties": {"a": {}}, "additionalProperties": false}), json!({"a": 1, "b": 1}), breaks),
            (json!({"additionalProperties": false}), json!({}), fits),
            (json!({"additionalProperties": {"type": "string"}}), json!({"a": 1}), breaks),
            (json!({"additionalProperties": false, "patternProperties": {"^x": {}}}), json!({"xy": 1}), unknown),
            (json!({"items": {"type": "string"}}), json!(["a", 1]), breaks),
            (json!({"items": [{"type": "string"}]}), json!(["a"]), unknown),
            (json!({"minItems": 2}), json!([1]), breaks),
            (json!({"minItems": "2"}), json!([1, 2]), fits),
            (json!({"maxLength": 2}), json!("\u{e4}\u{f6}"), fits),
            (json!({"maxLength": 2}), json!("abc"), breaks),
            (json!({"minimum": 3}), json!(2), breaks),
            (json!({"exclusiveMaximum": 3}), json!(3), breaks),
            (json!({"minimum": 3, "exclusiveMinimum": true}), json!(3), unknown),
            (json!({"minimum": 3}), json!("2"), fits),
            (json!({"pattern": "^a"}), json!("b"), unknown),
            (json!({"pattern": "^a"}), json!(1), fits),
            (json!({"type": "string", "pattern": "^a"}), json!(1), breaks),
            (json!({"anyOf": [{"type": "string"}, {"type": "null"}]}), json!(null), fits),
            (json!({"anyOf": [{"type": "string"}, {"type": "null"}]}), json!(1), breaks),
            (json!({"anyOf": [{"type": "string"}, {"$ref": "#/x"}]}), json!(1), unknown),
            (json!({"anyOf": [{"type": "string"}, {"$ref": "#/x"}]}), json!("a"), fits),
            (json!({"oneOf": [{"type": "string"}, {"type": "integer"}]}), json!(1), fits),
            (json!({"oneOf": [{"type": "number"}, {"type": "integer"}]}), json!(1), breaks),
            (json!({"oneOf": [{"type": "string"}]}), json!(1), breaks),
            (json!({"allOf": [{"type": "object"}, {"required": ["a"]}]}), json!({}), breaks),
            (json!({"$ref": "#/$defs/a", "type": "string"}), json!(1), unknown),
            (json!({"properties": {"a": {"$ref": "#/$defs/a"}}}), json!({"a": 1}), unknown),
            (json!({"properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["b"]}), json!({"a": 1}), breaks),
            (json!({"properties": {"a": {"$ref": "#/$defs/a"}}}), json!({"b": 1}), fits),
            (json!({"if": {}, "then": false}), json!(1), unknown),
            (json!({"$schema": "x", "title": "x", "description": "x", "default": 1, "format": "date", "x-own": 1}), json!(1), fits),
        ] {
            assert_eq!(judged(&schema, &value), expected, "{schema} {value}");
        }
    }

    #[test]
    fn work_is_bounded() {
        let deep = |levels: usize| (0..levels).fold(json!({"type": "string"}), |inner, _| json!({"anyOf": [inner.clone(), inner]}));
        assert_eq!(judged(&deep(12), &json!(1)), None);
        assert_eq!(judged(&deep(6), &json!(1)), Some(false));
        let nested = (0..DEEPEST + 2).fold(json!({}), |inner, _| json!({"items": inner}));
        let value = (0..DEEPEST + 2).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(judged(&nested, &value), None);
        let many: serde_json::Map<_, _> = (0..4_000).map(|number| (format!("member{number}"), json!({}))).collect();
        assert_eq!(judged(&json!({"properties": many}), &serde_json::Value::Object(many.clone())), None);
    }
}
