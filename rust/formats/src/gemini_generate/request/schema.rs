//! Schemas between JSON Schema and what Google makes of it.
//!
//! `parameters` and `responseSchema` are a subset of OpenAPI 3.0: types in capitals, `nullable`, counts as texts. The newer
//! `parametersJsonSchema` and `responseJsonSchema` are JSON Schema but for `const`.

use fairlead_ir::Raw;
use memchr::memmem;

use crate::json::Kind;
use crate::read::{Malformed, Reader};
use crate::text::decode;
use crate::write::{Array, Object};

/// The schema in JSON Schema, from Google's OpenAPI.
pub(super) fn from_openapi<'a>(schema: &Raw<'a>) -> Result<Raw<'a>, Malformed> {
    let mut out = Vec::with_capacity(schema.as_bytes().len() + 32);
    write_schema(&mut Reader::new(schema.as_bytes()), Change::FromOpenapi, &mut out)?;
    Ok(Raw::owned(out))
}

/// The schema without `const`, which becomes an `enum` of one.
pub(super) fn without_const(schema: &Raw<'_>) -> Raw<'static> {
    let mut out = Vec::with_capacity(schema.as_bytes().len() + 32);
    let may_have = memmem::find(schema.as_bytes(), b"\"const\"").is_some();
    if !may_have || write_schema(&mut Reader::new(schema.as_bytes()), Change::WithoutConst, &mut out).is_err() {
        out.clear();
        out.extend_from_slice(schema.as_bytes());
    }
    Raw::owned(out)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    FromOpenapi,
    WithoutConst,
}

/// What stands under a keyword.
enum Holds {
    Schema,
    Schemas,
    NamedSchemas,
    Value,
}

fn holds(keyword: &str) -> Holds {
    match keyword {
        "items"
        | "additionalProperties"
        | "not"
        | "if"
        | "then"
        | "else"
        | "contains"
        | "propertyNames"
        | "unevaluatedItems"
        | "unevaluatedProperties" => Holds::Schema,
        "anyOf" | "oneOf" | "allOf" | "prefixItems" => Holds::Schemas,
        "properties" | "$defs" | "definitions" | "patternProperties" | "dependentSchemas" => Holds::NamedSchemas,
        _ => Holds::Value,
    }
}

/// Writes the schema that is next, changed. Schemas nest no deeper than JSON that was checked.
fn write_schema(reader: &mut Reader<'_>, change: Change, out: &mut Vec<u8>) -> Result<(), Malformed> {
    if reader.kind()? != Kind::Object {
        out.extend_from_slice(reader.raw()?.as_bytes());
        return Ok(());
    }
    let facts = Facts::read(reader.clone(), change)?;
    let mut object = Object::open(out);
    reader.object(|key, reader| {
        let keyword = if change == Change::FromOpenapi { canonical(key.name()) } else { key.name() };
        match (change, keyword) {
            (Change::FromOpenapi, "nullable") => reader.skip()?,
            (Change::FromOpenapi, "type") => write_type(reader, &facts, &mut object)?,
            (Change::FromOpenapi, "format") if reader.clone().raw()?.is("\"enum\"") => reader.skip()?,
            (Change::FromOpenapi, "enum") if facts.nullable => write_enum(reader, &mut object)?,
            (Change::FromOpenapi, keyword) if is_count(keyword) => write_count(keyword, reader, &mut object)?,
            (Change::WithoutConst, "enum") if facts.has_const => reader.skip()?,
            (Change::WithoutConst, "const") => {
                let value = reader.raw()?;
                object.array("enum", |list| {
                    list.raw(value.as_bytes());
                });
            }
            _ => write_keyword(keyword, reader, change, &facts, &mut object)?,
        }
        Ok(())
    })?;
    object.close();
    Ok(())
}

fn write_keyword(keyword: &str, reader: &mut Reader<'_>, change: Change, facts: &Facts, object: &mut Object<'_>) -> Result<(), Malformed> {
    match (holds(keyword), reader.kind()?) {
        (Holds::Schema, Kind::Object) => write_schema(reader, change, object.key(keyword)),
        (Holds::Schema | Holds::Schemas, Kind::Array) => {
            let mut list = Array::open(object.key(keyword));
            reader.array(|_, reader| write_schema(reader, change, list.element()))?;
            if keyword == "anyOf" && facts.nullable && !facts.has_type {
                list.raw(br#"{"type":"null"}"#);
            }
            list.close();
            Ok(())
        }
        (Holds::NamedSchemas, Kind::Object) => {
            let mut named = Object::open(object.key(keyword));
            reader.object(|key, reader| write_schema(reader, change, named.key(key.name())))?;
            named.close();
            Ok(())
        }
        _ => {
            object.raw(keyword, reader.raw()?.as_bytes());
            Ok(())
        }
    }
}

/// What must be known of a schema before its members are written.
#[derive(Default)]
struct Facts {
    nullable: bool,
    has_type: bool,
    has_const: bool,
}

impl Facts {
    fn read(mut reader: Reader<'_>, change: Change) -> Result<Facts, Malformed> {
        let mut facts = Facts::default();
        reader.object(|key, reader| {
            match key.name() {
                "nullable" if change == Change::FromOpenapi => facts.nullable = reader.optional(Reader::flag)?.unwrap_or(false),
                "type" => {
                    facts.has_type = true;
                    reader.skip()?;
                }
                "const" => {
                    facts.has_const = true;
                    reader.skip()?;
                }
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(facts)
    }
}

fn write_type(reader: &mut Reader<'_>, facts: &Facts, object: &mut Object<'_>) -> Result<(), Malformed> {
    if reader.kind()? != Kind::String {
        object.raw("type", reader.raw()?.as_bytes());
        return Ok(());
    }
    let word = reader.decoded()?.to_ascii_lowercase();
    match word.as_str() {
        "type_unspecified" => {}
        word if facts.nullable && word != "null" => {
            object.array("type", |list| {
                list.text(word).text("null");
            });
        }
        word => {
            object.text("type", word);
        }
    }
    Ok(())
}

/// An `enum` that may also be `null`.
fn write_enum(reader: &mut Reader<'_>, object: &mut Object<'_>) -> Result<(), Malformed> {
    let mut list = Array::open(object.key("enum"));
    let mut has_null = false;
    reader.array(|_, reader| {
        has_null |= reader.kind()? == Kind::Null;
        list.raw(reader.raw()?.as_bytes());
        Ok(())
    })?;
    if !has_null {
        list.raw(b"null");
    }
    list.close();
    Ok(())
}

/// Counts are 64-bit numbers, which Google's JSON writes as texts.
fn write_count(keyword: &str, reader: &mut Reader<'_>, object: &mut Object<'_>) -> Result<(), Malformed> {
    if reader.kind()? != Kind::String {
        object.raw(keyword, reader.raw()?.as_bytes());
        return Ok(());
    }
    let text = reader.text()?;
    match decode(&text).filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())) {
        Some(digits) => object.raw(keyword, digits.as_bytes()),
        None => object.escaped(keyword, &text),
    };
    Ok(())
}

fn is_count(keyword: &str) -> bool {
    matches!(keyword, "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties")
}

/// The usual spelling of a keyword that Google also takes with underscores.
fn canonical(keyword: &str) -> &str {
    match keyword {
        "any_of" => "anyOf",
        "max_items" => "maxItems",
        "min_items" => "minItems",
        "max_length" => "maxLength",
        "min_length" => "minLength",
        "max_properties" => "maxProperties",
        "min_properties" => "minProperties",
        "property_ordering" => "propertyOrdering",
        "additional_properties" => "additionalProperties",
        "prefix_items" => "prefixItems",
        keyword => keyword,
    }
}

/// The schema of a function that takes one text.
pub(super) const OF_ONE_TEXT: &[u8] = br#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}"#;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn openapi_becomes_json_schema() {
        let check = |schema: &str, expected: &str| {
            let read = from_openapi(&Raw::json(schema.as_bytes())).unwrap();
            assert_eq!(std::str::from_utf8(read.as_bytes()).unwrap(), expected, "{schema}");
        };
        check(r#"{"type":"STRING"}"#, r#"{"type":"string"}"#);
        check(r#"{"type":"INTEGER","format":"int32","nullable":true}"#, r#"{"type":["integer","null"],"format":"int32"}"#);
        check(
            r#"{"nullable":true,"type":"STRING","format":"enum","enum":["a","b"]}"#,
            r#"{"type":["string","null"],"enum":["a","b",null]}"#,
        );
        check(
            r#"{"type":"OBJECT","properties":{"type":{"type":"STRING"},"nullable":{"type":"ARRAY","items":{"type":"NUMBER"},"min_items":"2"}},"required":["type"]}"#,
            r#"{"type":"object","properties":{"type":{"type":"string"},"nullable":{"type":"array","items":{"type":"number"},"minItems":2}},"required":["type"]}"#,
        );
        check(r#"{"any_of":[{"type":"STRING"}],"nullable":true}"#, r#"{"anyOf":[{"type":"string"},{"type":"null"}]}"#);
        check(r#"{"type":"TYPE_UNSPECIFIED","description":"x"}"#, r#"{"description":"x"}"#);
    }

    #[test]
    fn a_constant_becomes_an_enum_where_it_is_a_keyword() {
        let check = |schema: &str, expected: &str| {
            let read = without_const(&Raw::json(schema.as_bytes()));
            assert_eq!(std::str::from_utf8(read.as_bytes()).unwrap(), expected, "{schema}");
        };
        check(r#"{ "type" : "string" }"#, r#"{ "type" : "string" }"#);
        check(r#"{"const":"a"}"#, r#"{"enum":["a"]}"#);
        check(r#"{"enum":["a","b"],"const":"a"}"#, r#"{"enum":["a"]}"#);
        check(
            r#"{"properties":{"const":{"const":1}},"required":["const"],"anyOf":[{"const":null}],"default":{"const":2}}"#,
            r#"{"properties":{"const":{"enum":[1]}},"required":["const"],"anyOf":[{"enum":[null]}],"default":{"const":2}}"#,
        );
    }
}
