//! The request body, read only as far as the simulator needs it. Both dialects share one struct: their fields do not clash.

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// Tokens that every message costs beside its text.
const TOKENS_PER_MESSAGE: u64 = 3;
/// Bytes of text that make one token.
const BYTES_PER_TOKEN: u64 = 4;

/// A chat request of either dialect. Unknown fields are ignored, known ones must have the right type and come once.
#[derive(Debug, Deserialize)]
pub(crate) struct Call<'a> {
    #[serde(borrow)]
    pub(crate) model: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) messages: Option<Vec<Fields<Message<'a>>>>,
    #[serde(borrow)]
    system: Option<Content<'a>>,
    pub(crate) stream: Option<bool>,
    pub(crate) stream_options: Option<Fields<StreamOptions>>,
    pub(crate) max_tokens: Option<i64>,
    pub(crate) max_completion_tokens: Option<i64>,
    pub(crate) n: Option<i64>,
    #[serde(borrow)]
    pub(crate) tools: Option<Vec<&'a RawValue>>,
    tool_choice: Option<serde_json::Value>,
    #[serde(borrow)]
    pub(crate) sim: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct StreamOptions {
    pub(crate) include_usage: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Message<'a> {
    #[serde(borrow)]
    pub(crate) role: Text<'a>,
    #[serde(borrow)]
    content: Option<Content<'a>>,
}

/// A tool the caller offers: its name and the JSON schema of its arguments.
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) schema: serde_json::Value,
}

impl<'a> Call<'a> {
    /// The call in `body`, or what is wrong with it and where.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|error| format!("body is not UTF-8: {error}"))?;
        serde_json::from_str(text).map(|Fields(call)| call).map_err(|error| error.to_string())
    }

    /// All messages in order.
    pub(crate) fn messages(&self) -> impl DoubleEndedIterator<Item = &Message<'a>> {
        self.messages.iter().flatten().map(|Fields(message)| message)
    }

    /// The prompt's tokens: 3, and for each message (Anthropic's `system` is one) 3 and a quarter of the bytes of its text,
    /// rounded up. Text is what stands in string contents, `text` parts and tool results; everything else is free.
    pub(crate) fn prompt_tokens(&self) -> u64 {
        let messages = self.messages().filter_map(|message| message.content.as_ref());
        let silent = self.messages().filter(|message| message.content.is_none()).count() as u64;
        let texts: u64 = messages.chain(&self.system).map(|content| TOKENS_PER_MESSAGE + content.bytes().div_ceil(BYTES_PER_TOKEN)).sum();
        TOKENS_PER_MESSAGE * (1 + silent) + texts
    }

    /// The text of the last message that the user wrote (a message of tool results alone is not one).
    pub(crate) fn last_user_text(&self) -> String {
        let mut messages = self.messages().rev();
        let content = messages.find(|message| message.role.0 == "user" && !message.is_tool_result());
        content.and_then(|message| message.content.as_ref()).map(Content::joined).unwrap_or_default()
    }

    /// The text of the last message, if it is the result of a tool.
    pub(crate) fn last_tool_result(&self) -> Option<String> {
        let last = self.messages().next_back()?;
        last.is_tool_result().then(|| last.content.as_ref().map(Content::joined).unwrap_or_default())
    }

    /// Whether the caller wants no tool called.
    pub(crate) fn refuses_tools(&self) -> bool {
        let choice = self.tool_choice.as_ref();
        choice.is_some_and(|choice| choice.as_str().or_else(|| choice.get("type")?.as_str()) == Some("none"))
    }

    /// The offered tool number `index`, in either dialect's shape.
    pub(crate) fn tool(&self, index: usize) -> Option<Tool> {
        let mut offered: serde_json::Value = serde_json::from_str(self.tools.as_ref()?.get(index)?.get()).ok()?;
        let description = if offered.get("function").is_some() { offered.get_mut("function")?.take() } else { offered };
        let schema = description.get("parameters").or_else(|| description.get("input_schema"));
        Some(Tool { name: description.get("name")?.as_str()?.to_owned(), schema: schema.cloned().unwrap_or_default() })
    }
}

impl Message<'_> {
    fn is_tool_result(&self) -> bool {
        self.role.0 == "tool" || self.content.as_ref().is_some_and(|content| content.tool_result)
    }
}

/// A struct that is written as an object; by itself, serde would take a list of the fields' values too.
#[derive(Debug)]
pub(crate) struct Fields<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Fields<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor(PhantomData)).map(Fields)
    }
}

struct FieldsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FieldsVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}

/// A JSON string, borrowed from the body where it has no escapes.
#[derive(Debug)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor).map(Text)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// What a message says: a string, or parts of which those with text count.
#[derive(Debug, Default)]
struct Content<'a> {
    texts: Vec<Cow<'a, str>>,
    tool_result: bool,
}

impl Content<'_> {
    fn bytes(&self) -> u64 {
        self.texts.iter().map(|text| text.len() as u64).sum()
    }

    fn joined(&self) -> String {
        self.texts.concat()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string or a list of parts")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Content { texts: vec![Cow::Borrowed(text)], tool_result: false })
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Content { texts: vec![Cow::Owned(text.to_owned())], tool_result: false })
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Content::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let mut content = Content::default();
        while let Some(Fields(part)) = parts.next_element::<Fields<Part<'de>>>()? {
            content.tool_result |= part.kind.is_some_and(|kind| kind.0 == "tool_result");
            content.texts.extend(part.text.map(|text| text.0));
            content.texts.extend(part.content.into_iter().flat_map(|nested| nested.texts));
        }
        Ok(content)
    }

    // Results of hosted tools may be one object; they hold no text of the conversation.
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Content::default())
    }
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<Content<'a>>,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn prompt_tokens_count_text_only() {
        let check = |body: &str, tokens: u64| assert_eq!(Call::parse(body.as_bytes()).unwrap().prompt_tokens(), tokens, "{body}");
        check("{}", 3);
        check(r#"{"messages":[{"role":"user","content":"12345"}]}"#, 3 + 3 + 2);
        check(r#"{"messages":[{"role":"assistant","content":null}]}"#, 3 + 3);
        check(r#"{"messages":[{"role":"user","content":"é\n"}]}"#, 3 + 3 + 1);
        check(r#"{"system":[{"type":"text","text":"1234"}],"messages":[{"role":"user","content":"1234"}]}"#, 3 + 4 + 4);
        check(r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:"}}]}]}"#, 3 + 3);
        check(
            r#"{"messages":[{"role":"user","content":[{"type":"tool_result","content":[{"type":"text","text":"12345678"}]}]}]}"#,
            3 + 3 + 2,
        );
    }

    #[test]
    fn bad_bodies_say_what_is_wrong() {
        let check = |body: &[u8], needle: &str| {
            let error = Call::parse(body).unwrap_err();
            assert!(error.contains(needle), "{error}");
        };
        check(b"{", "EOF");
        check(b"{} x", "trailing characters");
        check(br#"{"model":"a","model":"b"}"#, "duplicate field `model`");
        check(br#"{"stream":"yes"}"#, "expected a boolean");
        check(br#"{"messages":[{"content":"x"}]}"#, "missing field `role`");
        check(br#"{"messages":[{"role":"user","content":7}]}"#, "a string or a list of parts");
        check(b"{\"model\":\"\xff\"}", "not UTF-8");
        check("[".repeat(100_000).as_bytes(), "expected an object");
        check(br#"{"messages":[["user","x"]]}"#, "expected an object");
        check(format!("{{\"x\":{}", "[".repeat(100_000)).as_bytes(), "EOF");
        check(format!("{{\"tool_choice\":{}", "[".repeat(100_000)).as_bytes(), "recursion limit");
    }

    #[test]
    fn finds_what_to_answer() {
        let call = Call::parse(
            br#"{"messages":[{"role":"user","content":"first"},{"role":"user","content":[{"type":"text","text":"se"},{"type":"text","text":"cond"}]},
            {"role":"assistant","content":null},{"role":"tool","content":"42"}]}"#,
        )
        .unwrap();
        assert_eq!(call.last_user_text(), "second");
        assert_eq!(call.last_tool_result().unwrap(), "42");
        assert!(!call.refuses_tools());
        assert!(Call::parse(br#"{"tool_choice":"none"}"#).unwrap().refuses_tools());
        assert!(Call::parse(br#"{"tool_choice":{"type":"none"}}"#).unwrap().refuses_tools());
    }

    #[test]
    fn reads_tools_of_both_dialects() {
        let check = |tools: &str, name: Option<&str>| {
            let body = format!(r#"{{"tools":[{tools}]}}"#);
            assert_eq!(Call::parse(body.as_bytes()).unwrap().tool(0).map(|tool| tool.name).as_deref(), name, "{tools}");
        };
        check(r#"{"type":"function","function":{"name":"look","parameters":{"type":"object"}}}"#, Some("look"));
        check(r#"{"name":"look","input_schema":{"type":"object"}}"#, Some("look"));
        check(r#"{"type":"function"}"#, None);
        check("", None);
    }
}
