//! Tool calls of whole messages, read and written.

use fairlead_ir::block::{Arguments, ToolCall};
use fairlead_ir::{Block, Kind, Member, Origin, Raw, Text};

use super::leftover;
use super::parts::keep_unknown;
use crate::json;
use crate::read::{Malformed, Reader};
use crate::text::{quote, unquote};
use crate::write::Object;

/// Reads one of `tool_calls`. The id is empty where there is none.
pub(crate) fn read_call<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Block<'a>, Malformed> {
    let (mut id, mut call, mut rest) = (None, None, Vec::new());
    reader.object(|key, reader| {
        match key.name() {
            "id" => id = reader.optional(Reader::text)?,
            // Which of the two it is, the other member tells; `index` is for streams.
            "type" | "index" => reader.skip()?,
            "function" => call = Some(read_function(reader, &mut rest)?),
            "custom" => call = Some(read_custom(reader)?),
            _ => keep_unknown(&key, reader, &mut rest)?,
        }
        Ok(())
    })?;
    let (name, arguments) = call.ok_or_else(|| Malformed::new("must have a function"))?;
    let call = ToolCall { id: id.unwrap_or_default(), name, arguments };
    Ok(Block { rest, ..Block::new(Kind::ToolCall(call), origin) })
}

/// Reads `function` or the older `function_call`: a name and its arguments.
pub(crate) fn read_function<'a>(reader: &mut Reader<'a>, rest: &mut Vec<Member<'a>>) -> Result<(Text<'a>, Arguments<'a>), Malformed> {
    let (mut name, mut arguments) = (None, no_arguments());
    let mut inner = Vec::new();
    reader.object(|key, reader| {
        match key.name() {
            "name" => name = Some(reader.text()?),
            "arguments" => arguments = read_arguments(reader)?,
            _ => keep_unknown(&key, reader, &mut inner)?,
        }
        Ok(())
    })?;
    leftover::keep("function", &inner, rest);
    let name = name.ok_or_else(|| Malformed::new("must have a name"))?;
    Ok((name, arguments))
}

fn read_custom<'a>(reader: &mut Reader<'a>) -> Result<(Text<'a>, Arguments<'a>), Malformed> {
    let (mut name, mut input) = (None, Text::EMPTY);
    reader.object(|key, reader| {
        match key.name() {
            "name" => name = Some(reader.text()?),
            "input" => input = reader.text()?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    let name = name.ok_or_else(|| Malformed::new("must have a name"))?;
    Ok((name, Arguments::Free(input)))
}

/// A JSON text in a string; some hosts send the value itself. Nothing means no arguments.
fn read_arguments<'a>(reader: &mut Reader<'a>) -> Result<Arguments<'a>, Malformed> {
    Ok(match reader.kind()? {
        json::Kind::Null => {
            reader.skip()?;
            no_arguments()
        }
        json::Kind::String => match reader.text()? {
            text if text.as_bytes().iter().all(|byte| *byte == b' ') => no_arguments(),
            text => Arguments::Quoted(text),
        },
        _ => Arguments::Json(reader.raw()?),
    })
}

const fn no_arguments() -> Arguments<'static> {
    Arguments::Quoted(Text::word("{}"))
}

/// Writes `id`, `type` and the call itself; `name` is what the reader of these bytes calls the tool.
pub(crate) fn write_call(id: &Text<'_>, name: &Text<'_>, arguments: &Arguments<'_>, rest: &[Member<'_>], call: &mut Object<'_>) {
    call.escaped("id", id);
    match arguments {
        Arguments::Free(input) => call.text("type", "custom").object("custom", |custom| {
            custom.escaped("name", name).escaped("input", input);
        }),
        arguments => call.text("type", "function").object("function", |function| {
            write_function(name, arguments, function);
            leftover::restore(rest, "function", function);
        }),
    };
    leftover::write_others(rest, &["function"], call);
}

/// Writes `name` and `arguments`.
pub(crate) fn write_function(name: &Text<'_>, arguments: &Arguments<'_>, function: &mut Object<'_>) {
    function.escaped("name", name);
    match arguments {
        Arguments::Json(value) => function.escaped("arguments", &quote(value)),
        Arguments::Quoted(text) | Arguments::Free(text) => function.escaped("arguments", text),
    };
}

/// Arguments as a JSON value; what is no JSON is put into an object. Says whether it had to be.
pub(crate) fn as_value<'a>(arguments: &'a Arguments<'_>) -> (Raw<'a>, bool) {
    match arguments {
        Arguments::Json(value) => (value.borrowed(), true),
        Arguments::Quoted(text) => match unquote(text) {
            Some(value) => (value, true),
            None => (wrapped("_raw", text), false),
        },
        Arguments::Free(text) => (wrapped("input", text), true),
    }
}

/// An object with this text in it.
pub(crate) fn wrapped(name: &str, text: &Text<'_>) -> Raw<'static> {
    let mut json = Vec::with_capacity(text.as_bytes().len() + name.len() + 8);
    let mut object = Object::open(&mut json);
    object.escaped(name, text);
    object.close();
    Raw::owned(json)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn read(call: &str) -> Result<Block<'_>, String> {
        read_call(&mut Reader::checked(call.as_bytes()).unwrap(), Origin::default()).map_err(|fault| fault.to_string())
    }

    #[test]
    fn calls_in_every_spelling() {
        let check = |call: &str, id: &str, arguments: Arguments<'_>| {
            let Kind::ToolCall(read) = read(call).unwrap().kind else { unreachable!() };
            assert_eq!((read.id, read.name, read.arguments), (Text::word(id), Text::word("f"), arguments), "{call}");
        };
        let none = || Arguments::Quoted(Text::word("{}"));
        check(
            r#"{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}"#,
            "c",
            Arguments::Quoted(Text::escaped(br#"{\"a\":1}"#)),
        );
        check(r#"{"function":{"name":"f","arguments":{"a":1}}}"#, "", Arguments::Json(Raw::json(br#"{"a":1}"#)));
        check(r#"{"id":"c","function":{"name":"f","arguments":""}}"#, "c", none());
        check(r#"{"id":"c","function":{"name":"f","arguments":null}}"#, "c", none());
        check(r#"{"id":null,"index":0,"function":{"name":"f"}}"#, "", none());
        check(r#"{"id":"c","type":"custom","custom":{"name":"f","input":"*** Begin"}}"#, "c", Arguments::Free(Text::word("*** Begin")));
    }

    #[test]
    fn calls_come_back_as_they_were() {
        for call in [
            r#"{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}"#,
            r#"{"id":"c","type":"function","function":{"name":"f","arguments":"{}","extra":1},"extra_content":{"x":2}}"#,
            r#"{"id":"c","type":"custom","custom":{"name":"f","input":"a\nb"}}"#,
        ] {
            let block = read(call).unwrap();
            let Kind::ToolCall(read) = &block.kind else { unreachable!() };
            let mut out = Vec::new();
            let mut object = Object::open(&mut out);
            write_call(&read.id, &read.name, &read.arguments, &block.rest, &mut object);
            object.close();
            assert_eq!(String::from_utf8(out).unwrap(), call);
        }
    }

    #[test]
    fn arguments_become_values() {
        for (arguments, value, whole) in [
            (Arguments::Quoted(Text::escaped(br#"{\"a\":1}"#)), r#"{"a":1}"#, true),
            (Arguments::Quoted(Text::escaped(br#"{\"a\":"#)), r#"{"_raw":"{\"a\":"}"#, false),
            (Arguments::Json(Raw::json(b"{}")), "{}", true),
            (Arguments::Free(Text::word("x")), r#"{"input":"x"}"#, true),
        ] {
            assert_eq!(as_value(&arguments), (Raw::json(value.as_bytes()), whole));
        }
    }

    #[test]
    fn what_is_no_call_is_a_fault() {
        assert_eq!(read(r#"{"id":"c"}"#).unwrap_err(), "the body must have a function");
        assert_eq!(read(r#"{"function":{"arguments":"{}"}}"#).unwrap_err(), r#""function" must have a name"#);
        assert_eq!(read(r#"{"function":{"name":7}}"#).unwrap_err(), r#""function.name" must be a string"#);
    }
}
