//! JSON Schemas as Claude is held to them, by Anthropic and by Bedrock.
//!
//! What it cannot enforce (bounds, patterns with a look around, open objects) goes into descriptions, where the model still reads it.

use std::borrow::Cow;

use fairlead_ir::Text;

use crate::json::walk;
use crate::write::{Object, write_escaped};

/// A schema for the arguments of a tool: the top must be an object and no choice between several.
pub(crate) struct AtTop<'s> {
    pub(crate) schema: Cow<'s, [u8]>,
    /// What was taken out: an object with the choices.
    pub(crate) unions: Option<Vec<u8>>,
}

const UNIONS: [&[u8]; 3] = [b"anyOf", b"oneOf", b"allOf"];

/// `schema` with an object at its top.
pub(crate) fn as_object(schema: &[u8]) -> AtTop<'_> {
    let members = || walk::members(schema).map_while(Result::ok);
    let has_unions = members().any(|member| UNIONS.contains(&member.key));
    if !has_unions && is_object(schema) && members().any(|member| member.key == b"type") {
        return AtTop { schema: Cow::Borrowed(schema), unions: None };
    }
    let (mut kept, mut unions) = (Vec::with_capacity(schema.len() + 16), Vec::new());
    let (mut object, mut taken) = (Object::open(&mut kept), Object::open(&mut unions));
    object.text("type", "object");
    for member in members().filter(|member| member.key != b"type") {
        let place = if UNIONS.contains(&member.key) { &mut taken } else { &mut object };
        write_member(&member, member.value, place);
    }
    object.close();
    taken.close();
    AtTop { schema: Cow::Owned(kept), unions: has_unions.then_some(unions) }
}

/// Whether the top of the schema is an object: it says so, or says nothing else.
pub(crate) fn is_object(schema: &[u8]) -> bool {
    match walk::member(schema, "type") {
        Ok(Some(kind)) => kind.value == br#""object""#,
        Ok(None) => schema.starts_with(b"{"),
        Err(_) => false,
    }
}

/// A schema that can be enforced.
pub(crate) struct Strict {
    pub(crate) json: Vec<u8>,
    /// It allows more or less than the original.
    pub(crate) changed: bool,
}

/// `schema` as it can be enforced; `None` when it refers to itself or leaves too many members open to be.
pub(crate) fn strict(schema: &[u8]) -> Option<Strict> {
    let mut fitting = Fitting::default();
    let mut json = Vec::with_capacity(schema.len() + 64);
    fitting.schema(schema, 0, &mut json)?;
    let fits = fitting.optional_members <= MOST_OPTIONAL_MEMBERS && !fitting.is_recursive();
    fits.then_some(Strict { json, changed: fitting.changed })
}

const MOST_OPTIONAL_MEMBERS: usize = 24;
const DEEPEST: usize = 64;

#[derive(Default)]
struct Fitting<'s> {
    changed: bool,
    optional_members: usize,
    /// The definition that is being read; empty: none.
    definition: &'s [u8],
    /// Which definition refers to which.
    references: Vec<(&'s [u8], &'s [u8])>,
}

/// What to do with a member of a schema.
enum Treatment {
    Copy,
    Schema,
    Schemas,
    Definitions,
    Members,
    Rename,
    Describe,
    Close,
    Leave,
}

impl<'s> Fitting<'s> {
    fn schema(&mut self, schema: &'s [u8], depth: usize, out: &mut Vec<u8>) -> Option<()> {
        match schema.first() {
            _ if depth > DEEPEST => return None,
            Some(b'{') => {}
            // `true`: anything.
            Some(b't') => {
                out.extend_from_slice(b"{}");
                return Some(());
            }
            _ => return None,
        }
        let has = |name: &[u8]| walk::members(schema).map_while(Result::ok).any(|member| member.key == name);
        let of_objects = has(b"properties") || is_type_object(schema);
        let mut described = Vec::new();
        let mut object = Object::open(out);
        let mut description = None;
        for member in walk::members(schema) {
            let member = member.ok()?;
            match self.treatment(&member, has(b"anyOf"), of_objects) {
                Treatment::Copy => write_member(&member, member.value, &mut object),
                Treatment::Schema => self.schema(member.value, depth + 1, key(&member, &mut object))?,
                Treatment::Schemas => self.schemas(member.value, depth + 1, key(&member, &mut object))?,
                Treatment::Rename => self.schemas(member.value, depth + 1, object.key("anyOf"))?,
                Treatment::Members => {
                    self.count_optional(schema, member.value);
                    self.members(member.value, depth + 1, false, key(&member, &mut object))?;
                }
                Treatment::Definitions => self.members(member.value, depth + 1, depth == 0, key(&member, &mut object))?,
                Treatment::Describe => {
                    self.changed = true;
                    describe(&member, &mut described);
                }
                Treatment::Close => self.changed |= member.value != b"false",
                Treatment::Leave if member.key == b"description" => description = Some(member.value),
                Treatment::Leave => {}
            }
        }
        write_description(description, &described, &mut object);
        if of_objects {
            object.flag("additionalProperties", false);
            // Closed, an object without members holds nothing.
            self.changed |= !has(b"properties") && !has(b"additionalProperties");
        }
        object.close();
        Some(())
    }

    fn treatment(&mut self, member: &walk::Member<'s>, has_any_of: bool, of_objects: bool) -> Treatment {
        match member.key {
            b"type" | b"enum" | b"const" | b"default" | b"required" | b"title" => Treatment::Copy,
            b"$ref" => {
                self.refer(member.value);
                Treatment::Copy
            }
            b"properties" => Treatment::Members,
            b"$defs" | b"definitions" => Treatment::Definitions,
            b"items" if member.value.starts_with(b"{") => Treatment::Schema,
            b"anyOf" | b"allOf" => Treatment::Schemas,
            b"oneOf" if !has_any_of => Treatment::Rename,
            b"additionalProperties" if of_objects => Treatment::Close,
            b"minItems" if matches!(member.value, b"0" | b"1") => Treatment::Copy,
            b"format" if FORMATS.contains(&member.value) => Treatment::Copy,
            b"pattern" if !looks_around(member.value) => Treatment::Copy,
            b"description" | b"$schema" | b"$id" | b"$comment" => Treatment::Leave,
            _ => Treatment::Describe,
        }
    }

    fn schemas(&mut self, list: &'s [u8], depth: usize, out: &mut Vec<u8>) -> Option<()> {
        out.push(b'[');
        for (index, element) in walk::elements(list).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            self.schema(element.ok()?.value, depth, out)?;
        }
        out.push(b']');
        Some(())
    }

    /// An object of schemas by name.
    fn members(&mut self, schemas: &'s [u8], depth: usize, are_definitions: bool, out: &mut Vec<u8>) -> Option<()> {
        let mut object = Object::open(out);
        for member in walk::members(schemas) {
            let member = member.ok()?;
            if are_definitions {
                self.definition = member.key;
            }
            self.schema(member.value, depth, key(&member, &mut object))?;
        }
        if are_definitions {
            self.definition = b"";
        }
        object.close();
        Some(())
    }

    fn count_optional(&mut self, schema: &'s [u8], properties: &'s [u8]) {
        let required = walk::member(schema, "required").ok().flatten().map_or(0, |list| walk::elements(list.value).count());
        self.optional_members += walk::members(properties).count().saturating_sub(required);
    }

    fn refer(&mut self, target: &'s [u8]) {
        // `"#/$defs/name"`; `"#"` is the schema itself.
        let inside = target.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(target);
        let name = match inside.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => &inside[slash + 1..],
            None => b"#",
        };
        self.references.push((self.definition, name));
    }

    /// Whether a definition leads back to itself.
    fn is_recursive(&self) -> bool {
        let leads_back = |start: &'s [u8]| {
            let (mut reached, mut at) = (vec![start], 0);
            while let Some(from) = reached.get(at).copied() {
                at += 1;
                for (_, to) in self.references.iter().filter(|(source, _)| *source == from) {
                    if *to == start {
                        return true;
                    }
                    if !reached.contains(to) {
                        reached.push(to);
                    }
                }
            }
            false
        };
        self.references.iter().any(|(from, to)| *to == b"#" || leads_back(from))
    }
}

/// Formats of texts that are enforced.
const FORMATS: [&[u8]; 10] = [
    br#""date-time""#,
    br#""time""#,
    br#""date""#,
    br#""duration""#,
    br#""email""#,
    br#""hostname""#,
    br#""uri""#,
    br#""ipv4""#,
    br#""ipv6""#,
    br#""uuid""#,
];

fn is_type_object(schema: &[u8]) -> bool {
    walk::member(schema, "type").ok().flatten().is_some_and(|kind| memchr::memmem::find(kind.value, br#""object""#).is_some())
}

/// Look-around, word boundaries and references back are not enforced.
fn looks_around(pattern: &[u8]) -> bool {
    const REFUSED: [&[u8]; 7] = [b"(?=", b"(?!", b"(?<", br"\\b", br"\\B", br"\\1", br"\\2"];
    REFUSED.iter().any(|part| memchr::memmem::find(pattern, part).is_some())
}

/// The place for a member's value, under its own name.
fn key<'o>(member: &walk::Member<'_>, object: &'o mut Object<'_>) -> &'o mut Vec<u8> {
    object.escaped_key(&Text::escaped(member.key))
}

fn write_member(member: &walk::Member<'_>, value: &[u8], object: &mut Object<'_>) {
    key(member, object).extend_from_slice(value);
}

/// Adds `name: value` to the texts of a description.
fn describe(member: &walk::Member<'_>, described: &mut Vec<u8>) {
    described.extend_from_slice(if described.is_empty() { b"" } else { b", " });
    described.extend_from_slice(member.key);
    described.extend_from_slice(b": ");
    described.extend_from_slice(crate::text::quote(&fairlead_ir::Raw::json(member.value)).as_bytes());
}

fn write_description(description: Option<&[u8]>, described: &[u8], object: &mut Object<'_>) {
    let said = match description {
        Some([b'"', inside @ .., b'"']) => inside,
        _ => b"",
    };
    if said.is_empty() && described.is_empty() {
        return;
    }
    let text = match (said, described) {
        (said, []) => said.to_vec(),
        ([], described) => described.to_vec(),
        (said, described) => [said, b" (", described, b")"].concat(),
    };
    write_escaped(object.key("description"), &Text::owned(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_that_cannot_be_enforced() {
        let check = |schema: &str, expected: Option<(&str, bool)>| {
            let strict = strict(schema.as_bytes()).map(|strict| (String::from_utf8_lossy(&strict.json).into_owned(), strict.changed));
            let expected = expected.map(|(json, changed)| (json.to_owned(), changed));
            assert_eq!(strict, expected, "{schema}");
        };
        check(
            r#"{"type":"string","minLength":0,"maxLength":3}"#,
            Some((r#"{"type":"string","description":"minLength: 0, maxLength: 3"}"#, true)),
        );
        check(
            r#"{"type":"array","minItems":1,"items":{"oneOf":[{"const":1}]}}"#,
            Some((r#"{"type":"array","minItems":1,"items":{"anyOf":[{"const":1}]}}"#, false)),
        );
        check(r#"{"type":"array","minItems":2}"#, Some((r#"{"type":"array","description":"minItems: 2"}"#, true)));
        check(
            r#"{"type":"object","additionalProperties":{"type":"string"}}"#,
            Some((r#"{"type":"object","additionalProperties":false}"#, true)),
        );
        check(
            r#"{"type":"object","properties":{"additionalProperties":{"type":"null"}},"required":["additionalProperties"]}"#,
            Some((
                r#"{"type":"object","properties":{"additionalProperties":{"type":"null"}},"required":["additionalProperties"],"additionalProperties":false}"#,
                false,
            )),
        );
        check(
            r#"{"type":"string","pattern":"^a+$","format":"uuid"}"#,
            Some((r#"{"type":"string","pattern":"^a+$","format":"uuid"}"#, false)),
        );
        check(r#"{"type":"string","format":"color"}"#, Some((r#"{"type":"string","description":"format: \"color\""}"#, true)));
        check(
            r##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"type":"null"}},"$ref":"#/$defs/a"}"##,
            Some((r##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"type":"null"}},"$ref":"#/$defs/a"}"##, false)),
        );
        check(r##"{"$defs":{"a":{"anyOf":[{"$ref":"#/$defs/b"}]},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}"##, None);
        check(r##"{"type":"array","items":{"$ref":"#"}}"##, None);
        let many: Vec<String> = (0..25).map(|index| format!(r#""m{index}":{{}}"#)).collect();
        check(&format!(r#"{{"type":"object","properties":{{{}}}}}"#, many.join(",")), None);
        check("true", Some(("{}", false)));
        check("false", None);
    }
}
