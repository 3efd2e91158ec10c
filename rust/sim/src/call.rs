//! The body of a request in chat completions or Anthropic's messages, read in one go and only as far as a reply depends on it: the fast
//! and liberal way. Both dialects share one struct: their fields do not clash.

use crate::ask::{Ask, BYTES_PER_TOKEN, Structure, TOKENS_PER_MESSAGE, ToolChoice, Tools};
use crate::reply;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

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
    service_tier: Option<serde_json::Value>,
    pub(crate) n: Option<i64>,
    #[serde(borrow)]
    tools: Option<Vec<&'a RawValue>>,
    tool_choice: Option<serde_json::Value>,
    stop: Option<serde_json::Value>,
    stop_sequences: Option<serde_json::Value>,
    response_format: Option<serde_json::Value>,
    output_config: Option<serde_json::Value>,
    logprobs: Option<serde_json::Value>,
    top_logprobs: Option<serde_json::Value>,
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

impl<'a> Call<'a> {
    /// The call in `body`, or what is wrong with it and where.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|error| format!("body is not UTF-8: {error}"))?;
        serde_json::from_str(text).map(|Fields(call)| call).map_err(|error| error.to_string())
    }

    /// The service tier that serves it, in OpenAI's dialect.
    pub(crate) fn tier(&self) -> &'static str {
        reply::tier(self.service_tier.as_ref())
    }

    /// What it asks for, with the token limit that the dialect has found.
    pub(crate) fn ask(&self, max_tokens: Option<u32>) -> Ask<'a> {
        Ask {
            prompt_tokens: self.prompt_tokens(),
            last_user_text: self.last_user_text(),
            last_tool_result: self.last_tool_result(),
            tools: self.tools.clone().map(Tools::Raw).unwrap_or_default(),
            tool_choice: self.tool_choice(),
            max_tokens,
            stops: self.stop.iter().chain(&self.stop_sequences).flat_map(texts).collect(),
            choices: self.n.map_or(1, |n| u32::try_from(n).unwrap_or(1)),
            logprobs: self.logprobs(),
            structure: self.structure(),
            ..Ask::default()
        }
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
    fn last_user_text(&self) -> Cow<'a, str> {
        let mut messages = self.messages().rev();
        let content = messages.find(|message| message.role.0 == "user" && !message.is_tool_result());
        content.and_then(|message| message.content.as_ref()).map(Content::joined).unwrap_or_default()
    }

    /// The text of the last message, if it is the result of a tool.
    fn last_tool_result(&self) -> Option<String> {
        let last = self.messages().next_back()?;
        last.is_tool_result().then(|| last.content.as_ref().map(Content::joined).unwrap_or_default().into_owned())
    }

    fn tool_choice(&self) -> ToolChoice {
        let Some(choice) = &self.tool_choice else { return ToolChoice::Auto };
        let name = choice.get("function").unwrap_or(choice).get("name").and_then(serde_json::Value::as_str);
        match choice.as_str().or_else(|| choice.get("type")?.as_str()) {
            Some("none") => ToolChoice::None,
            Some("any" | "required") => ToolChoice::Any,
            Some("tool" | "function") => name.map_or(ToolChoice::Any, |name| ToolChoice::Named(name.to_owned())),
            _ => ToolChoice::Auto,
        }
    }

    fn logprobs(&self) -> Option<u32> {
        let wanted = self.logprobs.as_ref().is_some_and(|wanted| *wanted == true);
        let top = self.top_logprobs.as_ref().and_then(serde_json::Value::as_u64).unwrap_or(0);
        wanted.then(|| u32::try_from(top.min(20)).unwrap_or(0))
    }

    /// OpenAI's `response_format`, Anthropic's `output_config.format`.
    fn structure(&self) -> Structure {
        let own = self.output_config.as_ref().and_then(|config| config.get("format"));
        let Some(format) = self.response_format.as_ref().or(own) else { return Structure::Free };
        let schema = format.pointer("/json_schema/schema").or_else(|| format.get("schema"));
        match (format.get("type").and_then(serde_json::Value::as_str), schema) {
            (Some("json_schema"), Some(schema)) => Structure::Schema(schema.clone()),
            (Some("json_schema" | "json_object"), _) => Structure::Json,
            _ => Structure::Free,
        }
    }
}

/// The texts of a string or a list of strings.
fn texts(value: &serde_json::Value) -> Vec<String> {
    let list = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
    list.iter().filter_map(|text| text.as_str().filter(|text| !text.is_empty()).map(str::to_owned)).collect()
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

impl<'a> Content<'a> {
    fn bytes(&self) -> u64 {
        self.texts.iter().map(|text| text.len() as u64).sum()
    }

    fn joined(&self) -> Cow<'a, str> {
        match self.texts.as_slice() {
            [only] => only.clone(),
            texts => Cow::Owned(texts.concat()),
        }
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
        let ask = call.ask(None);
        assert_eq!((ask.last_user_text.as_ref(), ask.last_tool_result.as_deref()), ("second", Some("42")));
    }

    #[test]
    fn reads_what_both_dialects_spell_differently() {
        let check = |body: &str, choice: ToolChoice, stops: &[&str], structure: Structure| {
            let call = Call::parse(body.as_bytes()).unwrap();
            let ask = call.ask(None);
            let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
            assert_eq!((ask.tool_choice, ask.stops, ask.structure), (choice, stops, structure), "{body}");
        };
        let named = || ToolChoice::Named("look".to_owned());
        check("{}", ToolChoice::Auto, &[], Structure::Free);
        check(r#"{"tool_choice":"none","stop":"a"}"#, ToolChoice::None, &["a"], Structure::Free);
        check(r#"{"tool_choice":{"type":"none"},"stop_sequences":["a","b"]}"#, ToolChoice::None, &["a", "b"], Structure::Free);
        check(r#"{"tool_choice":"required","stop":null}"#, ToolChoice::Any, &[], Structure::Free);
        check(r#"{"tool_choice":{"type":"any"},"response_format":{"type":"json_object"}}"#, ToolChoice::Any, &[], Structure::Json);
        let schema = || Structure::Schema(serde_json::json!({"const": 1}));
        check(
            r#"{"tool_choice":{"type":"function","function":{"name":"look"}},
            "response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"const":1}}}}"#,
            named(),
            &[],
            schema(),
        );
        check(
            r#"{"tool_choice":{"type":"tool","name":"look"},"output_config":{"format":{"type":"json_schema","schema":{"const":1}}}}"#,
            named(),
            &[],
            schema(),
        );
        assert_eq!(Call::parse(br#"{"logprobs":true,"top_logprobs":2}"#).unwrap().ask(None).logprobs, Some(2));
        assert_eq!(Call::parse(br#"{"logprobs":false,"top_logprobs":2}"#).unwrap().ask(None).logprobs, None);
    }
}
