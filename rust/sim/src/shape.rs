//! What a dialect's JSON may look like, as data: tables of fields, and one walk that finds the first thing that does not fit.
//! Every dialect has its own words for that, so a [`Misfit`] says only where and what.

use serde_json::Value;
use std::fmt::Write as _;

/// What may stand in a place. A null counts as an absent field everywhere.
#[derive(Debug)]
pub(crate) enum Kind {
    Any,
    Text,
    Bool,
    Integer,
    Number,
    Object(&'static Shape),
    List(&'static Kind),
    /// An object with keys of the caller's.
    Map(&'static Kind),
    /// An object whose field `tag` says which shape it has; with `default`, the tag may be absent.
    Tagged {
        tag: &'static str,
        default: Option<&'static str>,
        cases: &'static [(&'static str, &'static Shape)],
    },
    /// An object with exactly one of the fields.
    Union(&'static Shape),
    /// The first of these whose outermost type is the value's.
    Either(&'static [Kind]),
    /// One of these texts.
    OneOf(&'static [&'static str]),
}

/// The fields of an object.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) fields: &'static [(&'static str, Kind)],
    pub(crate) required: &'static [&'static str],
    /// Whether other fields may stand beside them.
    pub(crate) open: bool,
}

/// An object with these fields and no others.
pub(crate) const fn closed(fields: &'static [(&'static str, Kind)], required: &'static [&'static str]) -> Shape {
    Shape { fields, required, open: false }
}

/// An object of anything.
pub(crate) static OPEN: Shape = Shape { fields: &[], required: &[], open: true };

/// One step of a path into JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// The first thing that does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) path: Vec<Step>,
    pub(crate) what: What,
}

/// What does not fit at a [`Misfit`]'s path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// There is no such field.
    Unknown,
    /// The field is required and absent.
    Missing,
    Type {
        expected: &'static str,
        found: &'static str,
    },
    /// The text is none of those.
    Choice {
        found: String,
        known: Vec<&'static str>,
    },
    /// So many of a union's fields are there instead of one.
    Members(usize),
}

impl Misfit {
    /// `messages.0.content`
    pub(crate) fn dotted(&self) -> String {
        let steps: Vec<String> = self.path.iter().map(Step::to_string).collect();
        steps.join(".")
    }

    /// `messages[0].content`
    pub(crate) fn bracketed(&self) -> String {
        bracketed(&self.path)
    }

    /// The last key of the path.
    pub(crate) fn name(&self) -> &str {
        self.path.iter().rev().find_map(|step| if let Step::Key(key) = step { Some(key.as_str()) } else { None }).unwrap_or_default()
    }

    /// The path without its last step.
    pub(crate) fn parent(&self) -> &[Step] {
        self.path.split_last().map_or(&[], |(_, parent)| parent)
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(key) => formatter.write_str(key),
            Self::Index(index) => write!(formatter, "{index}"),
        }
    }
}

/// `messages[0].content`
pub(crate) fn bracketed(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        // Writing to a String cannot fail.
        let _ = match step {
            Step::Key(key) if text.is_empty() => write!(text, "{key}"),
            Step::Key(key) => write!(text, ".{key}"),
            Step::Index(index) => write!(text, "[{index}]"),
        };
    }
    text
}

/// Checks that `value` is an object of `shape`.
pub(crate) fn check(value: &Value, shape: &Shape) -> Result<(), Misfit> {
    let mut path = Vec::new();
    object(value, shape, None, &mut path).map_err(|what| Misfit { path, what })
}

// On an error, `path` is left where it happened.
fn fits(value: &Value, kind: &Kind, path: &mut Vec<Step>) -> Result<(), What> {
    match kind {
        Kind::Any => Ok(()),
        Kind::Object(shape) => object(value, shape, None, path),
        Kind::List(kind) => {
            for (index, entry) in value.as_array().ok_or_else(|| wrong("an array", value))?.iter().enumerate() {
                step(Step::Index(index), entry, kind, path)?;
            }
            Ok(())
        }
        Kind::Map(kind) => {
            for (key, entry) in value.as_object().ok_or_else(|| wrong("an object", value))? {
                step(Step::Key(key.clone()), entry, kind, path)?;
            }
            Ok(())
        }
        Kind::Tagged { tag, default, cases } => tagged(value, tag, *default, cases, path),
        Kind::Union(shape) => {
            object(value, shape, None, path)?;
            let members = value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()).count();
            if members == 1 { Ok(()) } else { Err(What::Members(members)) }
        }
        Kind::Either(kinds) => match kinds.iter().find(|kind| outermost(kind, value)) {
            Some(kind) => fits(value, kind, path),
            None => Err(wrong(kinds.first().map_or("a value", expected), value)),
        },
        Kind::OneOf(known) => match value.as_str() {
            Some(text) if known.contains(&text) => Ok(()),
            Some(text) => Err(What::Choice { found: text.to_owned(), known: known.to_vec() }),
            None => Err(wrong("a string", value)),
        },
        Kind::Text | Kind::Bool | Kind::Integer | Kind::Number if outermost(kind, value) => Ok(()),
        Kind::Text | Kind::Bool | Kind::Integer | Kind::Number => Err(wrong(expected(kind), value)),
    }
}

fn step(step: Step, value: &Value, kind: &Kind, path: &mut Vec<Step>) -> Result<(), What> {
    path.push(step);
    fits(value, kind, path)?;
    path.pop();
    Ok(())
}

fn object(value: &Value, shape: &Shape, tag: Option<&str>, path: &mut Vec<Step>) -> Result<(), What> {
    let fields = value.as_object().ok_or_else(|| wrong("an object", value))?;
    for name in shape.required {
        if fields.get(*name).is_none_or(Value::is_null) {
            path.push(Step::Key((*name).to_owned()));
            return Err(What::Missing);
        }
    }
    for (name, field) in fields.iter().filter(|(_, field)| !field.is_null()) {
        match shape.fields.iter().find(|(known, _)| known == name) {
            Some((_, kind)) => step(Step::Key(name.clone()), field, kind, path)?,
            None if shape.open || tag == Some(name) => {}
            None => {
                path.push(Step::Key(name.clone()));
                return Err(What::Unknown);
            }
        }
    }
    Ok(())
}

fn tagged(
    value: &Value,
    tag: &'static str,
    default: Option<&'static str>,
    cases: &'static [(&'static str, &'static Shape)],
    path: &mut Vec<Step>,
) -> Result<(), What> {
    let fields = value.as_object().ok_or_else(|| wrong("an object", value))?;
    let found = match (fields.get(tag).filter(|found| !found.is_null()), default) {
        (Some(Value::String(found)), _) => found.as_str(),
        (None, Some(default)) => default,
        (None, None) => {
            path.push(Step::Key(tag.to_owned()));
            return Err(What::Missing);
        }
        (Some(other), _) => {
            path.push(Step::Key(tag.to_owned()));
            return Err(wrong("a string", other));
        }
    };
    match cases.iter().find(|(name, _)| *name == found) {
        Some((_, shape)) => object(value, shape, Some(tag), path),
        None => {
            path.push(Step::Key(tag.to_owned()));
            Err(What::Choice { found: found.to_owned(), known: cases.iter().map(|(name, _)| *name).collect() })
        }
    }
}

fn outermost(kind: &Kind, value: &Value) -> bool {
    match kind {
        Kind::Any => true,
        Kind::Text | Kind::OneOf(_) => value.is_string(),
        Kind::Bool => value.is_boolean(),
        Kind::Integer => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        Kind::Number => value.is_number(),
        Kind::List(_) => value.is_array(),
        Kind::Object(_) | Kind::Map(_) | Kind::Tagged { .. } | Kind::Union(_) => value.is_object(),
        Kind::Either(kinds) => kinds.iter().any(|kind| outermost(kind, value)),
    }
}

fn wrong(expected: &'static str, found: &Value) -> What {
    What::Type { expected, found: found_type(found) }
}

fn expected(kind: &Kind) -> &'static str {
    match kind {
        Kind::Any => "a value",
        Kind::Text | Kind::OneOf(_) => "a string",
        Kind::Bool => "a boolean",
        Kind::Integer => "an integer",
        Kind::Number => "a number",
        Kind::List(_) => "an array",
        Kind::Object(_) | Kind::Map(_) | Kind::Tagged { .. } | Kind::Union(_) => "an object",
        Kind::Either(kinds) => kinds.first().map_or("a value", expected),
    }
}

fn found_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a decimal number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    static PART: Shape = Shape { fields: &[("text", Kind::Text)], required: &["text"], open: false };
    static PARTS: Kind = Kind::Tagged { tag: "type", default: None, cases: &[("text", &PART), ("any", &OPEN)] };
    static WHOLE: Shape = Shape {
        fields: &[
            ("content", Kind::Either(&[Kind::Text, Kind::List(&PARTS)])),
            ("count", Kind::Integer),
            ("either", Kind::Union(&Shape { fields: &[("a", Kind::Bool), ("b", Kind::Number)], required: &[], open: false })),
            ("map", Kind::Map(&Kind::Text)),
            ("mode", Kind::OneOf(&["on", "off"])),
        ],
        required: &["content"],
        open: false,
    };

    #[test]
    fn what_fits_is_taken() {
        for value in [
            json!({"content": "x", "count": 3, "either": {"a": true}, "map": {"k": "v"}, "mode": "on"}),
            json!({"content": [{"type": "text", "text": "x"}, {"type": "any", "more": 1}], "count": null, "either": {"a": null, "b": 1}}),
            json!({"content": [], "count": 3.0}),
        ] {
            assert_eq!(check(&value, &WHOLE), Ok(()), "{value}");
        }
    }

    #[test]
    fn the_first_misfit_is_found() {
        let check = |value: Value, path: &str, what: What| {
            let misfit = check(&value, &WHOLE).unwrap_err();
            assert_eq!((misfit.bracketed().as_str(), &misfit.what), (path, &what), "{value}");
        };
        check(json!([]), "", What::Type { expected: "an object", found: "an array" });
        check(json!({}), "content", What::Missing);
        check(json!({"content": null}), "content", What::Missing);
        check(json!({"content": "x", "more": 1}), "more", What::Unknown);
        check(json!({"content": 1}), "content", What::Type { expected: "a string", found: "an integer" });
        check(json!({"content": "x", "count": 1.5}), "count", What::Type { expected: "an integer", found: "a decimal number" });
        check(json!({"content": [{"text": "x"}]}), "content[0].type", What::Missing);
        check(json!({"content": [{"type": "text", "text": "x"}, {"type": "text"}]}), "content[1].text", What::Missing);
        check(json!({"content": [{"type": "text", "text": "x", "y": 1}]}), "content[0].y", What::Unknown);
        check(json!({"content": [{"type": "z"}]}), "content[0].type", What::Choice { found: "z".to_owned(), known: vec!["text", "any"] });
        check(json!({"content": "x", "either": {}}), "either", What::Members(0));
        check(json!({"content": "x", "either": {"a": true, "b": 1}}), "either", What::Members(2));
        check(json!({"content": "x", "map": {"k": 1}}), "map.k", What::Type { expected: "a string", found: "an integer" });
        check(json!({"content": "x", "mode": "up"}), "mode", What::Choice { found: "up".to_owned(), known: vec!["on", "off"] });
    }

    #[test]
    fn paths_in_both_spellings() {
        let misfit = check(&json!({"content": [{"type": "text", "text": 1}]}), &WHOLE).unwrap_err();
        assert_eq!((misfit.dotted().as_str(), misfit.bracketed().as_str(), misfit.name()), ("content.0.text", "content[0].text", "text"));
        assert_eq!(bracketed(misfit.parent()), "content[0]");
    }
}
