//! The shapes of replies and their events: where things stand and what the figures mean. Reads in place, builds nothing.

pub(crate) mod envelope;
pub(crate) mod items;
pub(crate) mod media;

use std::sync::LazyLock;

use fairlead_ir::{NanoUsd, StopReason, Text, Usage};
use memchr::memmem::Finder;

use crate::decimal::{count, count_in, nano_usd};
use crate::json::walk::{self, Cursor, Member};
use crate::json::{Kind, Reject};
use crate::openai_chat::wire::is_error;
use crate::patch::name;
use crate::reply::{Figured, Missing};

/// Where the members of a reply lie; the last one where a name occurs twice, as most parsers have it.
#[derive(Debug, Default)]
pub(crate) struct Outline<'a> {
    pub(crate) id: Option<&'a [u8]>,
    pub(crate) model: Option<&'a [u8]>,
    pub(crate) created: Option<&'a [u8]>,
    pub(crate) tier: Option<&'a [u8]>,
    /// The word without its quotes.
    pub(crate) status: &'a [u8],
    /// The word in `incomplete_details`, without its quotes.
    pub(crate) reason: &'a [u8],
    /// What the output says; `None` where there is none.
    pub(crate) content: Option<Content>,
    pub(crate) usage: Option<&'a [u8]>,
    /// Where `usage` begins in the walked text.
    pub(crate) usage_start: usize,
    /// The value of an `error` that reports one.
    pub(crate) error: Option<&'a [u8]>,
    pub(crate) web_searches: Option<u64>,
}

impl<'a> Outline<'a> {
    pub(crate) fn read(object: &'a [u8]) -> Result<Outline<'a>, Reject> {
        let mut outline = Outline::default();
        let mut cursor = Cursor::new(object);
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            match (&*key, cursor.kind()?) {
                (b"output", Kind::Array) => outline.content = Some(Content::read(&mut cursor)?),
                (b"usage", Kind::Object) => {
                    outline.usage_start = cursor.at();
                    outline.usage = Some(cursor.skip()?);
                }
                (name, kind) => outline.take(name, kind, cursor.skip()?),
            }
        }
        cursor.end()?;
        Ok(outline)
    }

    /// Takes the member that is called so.
    pub(crate) fn take(&mut self, name: &[u8], kind: Kind, value: &'a [u8]) {
        match (name, kind) {
            (b"id", Kind::String) => self.id = Some(value),
            (b"model", Kind::String) => self.model = Some(value),
            (b"created_at", Kind::Number) => self.created = Some(value),
            (b"service_tier", Kind::String) => self.tier = Some(value),
            (b"status", Kind::String) => self.status = inside(value),
            (b"incomplete_details", Kind::Object) => self.reason = string_in(value, "reason").unwrap_or_default(),
            (b"usage", Kind::Object) => self.usage = Some(value),
            (b"error", _) => self.error = Some(value).filter(|value| is_error(value)),
            (b"tool_usage", Kind::Object) => {
                let search = walk::member(value, "web_search").ok().flatten();
                self.web_searches =
                    search.filter(|search| search.kind == Kind::Object).and_then(|search| count_in(&search, "num_requests"));
            }
            _ => {}
        }
    }

    /// The figures, if there are any.
    pub(crate) fn figured(&self) -> Option<Figured> {
        Figures::read(self.usage?).figured(self.web_searches())
    }

    /// Searches that a provider bills: what it says, else those that the output shows.
    pub(crate) fn web_searches(&self) -> u64 {
        self.web_searches.or_else(|| self.content.map(|content| content.searches)).unwrap_or(0)
    }
}

/// A string without its quotes.
pub(crate) fn inside(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or_default()
}

/// The string called `key` in an object, without its quotes.
pub(crate) fn string_in<'a>(object: &'a [u8], key: &str) -> Option<&'a [u8]> {
    walk::member(object, key).ok().flatten().filter(|member| member.kind == Kind::String).map(|member| inside(member.value))
}

/// What an output says: whether there is any content, how many bytes of it, and of what kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) any: bool,
    /// Bytes of texts as written in JSON, for an estimate.
    pub(crate) bytes: u64,
    pub(crate) calls: bool,
    pub(crate) refusal: bool,
    /// Searches that a provider bills: those that looked for something, not those that opened a page.
    pub(crate) searches: u64,
}

impl Content {
    /// Reads an output.
    fn read(cursor: &mut Cursor<'_>) -> Result<Content, Reject> {
        let mut content = Content::default();
        let mut level = cursor.enter(b'[')?;
        while cursor.next_element(&mut level)? {
            match cursor.kind()? {
                Kind::Object => content.read_item(cursor)?,
                _ => drop(cursor.skip()?),
            }
        }
        Ok(content)
    }

    /// Takes an item. One that only begins says nothing yet, unless it is a call.
    pub(crate) fn add_item(&mut self, item: &[u8]) -> Result<(), Reject> {
        self.read_item(&mut Cursor::new(item))
    }

    fn read_item(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Reject> {
        let (mut word, mut action, mut sealed) = (&b""[..], None, false);
        let (mut texts, mut call_bytes) = (Content::default(), 0);
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            match (&*key, cursor.kind()?) {
                (b"type", Kind::String) => word = inside(cursor.skip()?),
                (b"content" | b"summary", Kind::Array) => texts.read_texts(cursor)?,
                (b"encrypted_content", Kind::String) => sealed = !inside(cursor.skip()?).is_empty(),
                (b"name" | b"arguments" | b"input", Kind::String) => call_bytes += inside(cursor.skip()?).len() as u64,
                (b"action", Kind::Object) => action = string_in(cursor.skip()?, "type"),
                _ => drop(cursor.skip()?),
            }
        }
        match word {
            b"message" | b"reasoning" => {
                self.any |= texts.any || sealed && word == b"reasoning";
                self.bytes += texts.bytes;
                self.refusal |= texts.refusal;
            }
            b"function_call" | b"custom_tool_call" => {
                (self.any, self.calls) = (true, true);
                self.bytes += call_bytes;
            }
            _ => {
                self.any = true;
                self.searches += u64::from(word == b"web_search_call" && is_search(action));
            }
        }
        Ok(())
    }

    fn read_texts(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Reject> {
        let mut parts = cursor.enter(b'[')?;
        while cursor.next_element(&mut parts)? {
            if cursor.kind()? != Kind::Object {
                cursor.skip()?;
                continue;
            }
            let mut level = cursor.enter(b'{')?;
            while let Some(key) = cursor.next_name(&mut level)? {
                match (&*key, cursor.kind()?) {
                    (b"type", Kind::String) => self.refusal |= inside(cursor.skip()?) == b"refusal",
                    (b"text" | b"refusal", Kind::String) => self.bytes += inside(cursor.skip()?).len() as u64,
                    _ => drop(cursor.skip()?),
                }
            }
        }
        self.any = self.bytes > 0;
        Ok(())
    }
}

/// Whether a `web_search_call` with this kind of action searched.
fn is_search(action: Option<&[u8]>) -> bool {
    action.is_none_or(|word| word == b"search")
}

/// Why a reply with this status ended, and the word for it. `None` while it has not.
pub(crate) fn stop_of<'a>(status: &'a [u8], reason: &'a [u8], calls: bool, refusal: bool) -> Option<(StopReason, &'a [u8])> {
    Some(match (status, reason) {
        (b"queued" | b"in_progress", _) => return None,
        (b"incomplete", b"content_filter") => (StopReason::ContentFilter, reason),
        (b"incomplete", b"max_messages") => (StopReason::Pause, reason),
        (b"incomplete", b"steered") => (StopReason::End, reason),
        // Cut calls are no calls to be run.
        (b"incomplete", b"") => (StopReason::MaxTokens, status),
        (b"incomplete", _) => (StopReason::MaxTokens, reason),
        (b"failed" | b"cancelled", _) => (StopReason::Failed, status),
        _ if calls => (StopReason::ToolCalls, status),
        _ if refusal => (StopReason::Refusal, status),
        _ => (StopReason::End, status),
    })
}

/// The figures of a usage object; `input` includes what was cached.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    input: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    cache_write: Option<u64>,
    reasoning: Option<u64>,
    cost: Option<NanoUsd>,
    /// Said to be outside of the output by the endpoint's traits.
    reasoning_outside: bool,
}

impl Figures {
    /// Reads what can be read; what is broken holds no figures.
    pub(crate) fn read(usage: &[u8]) -> Figures {
        let mut figures = Figures::default();
        for member in walk::members(usage).map_while(Result::ok) {
            figures.read_member(&member);
        }
        figures
    }

    /// The same figures of an endpoint that counts reasoning beside the output.
    pub(crate) fn outside(self, reasoning_outside: bool) -> Figures {
        Figures { reasoning_outside, ..self }
    }

    fn read_member(&mut self, member: &Member<'_>) {
        match (&*name(member.key), member.kind) {
            (b"input_tokens", _) => self.input = count(member.value),
            (b"output_tokens", _) => self.output = count(member.value),
            (b"total_tokens", _) => self.total = count(member.value),
            (b"input_tokens_details", Kind::Object) => {
                self.cached = count_in(member, "cached_tokens");
                self.cache_write = count_in(member, "cache_write_tokens");
            }
            (b"output_tokens_details", Kind::Object) => self.reasoning = count_in(member, "reasoning_tokens"),
            (b"cost", Kind::Number) => self.cost = nano_usd(member.value),
            _ => {}
        }
    }

    /// What is known; `None` when neither input nor output was told.
    pub(crate) fn figured(&self, web_searches: u64) -> Option<Figured> {
        let missing = Missing { prompt: self.input.is_none(), completion: self.output.is_none() };
        self.usage(web_searches).map(|usage| Figured { usage, missing, cost: self.cost, tier: None })
    }

    /// Disjoint buckets.
    pub(crate) fn usage(&self, web_searches: u64) -> Option<Usage> {
        if self.input.is_none() && self.output.is_none() {
            return None;
        }
        let input = self.input.unwrap_or(0);
        let cache_read_tokens = self.cached.unwrap_or(0).min(input);
        let cache_write_tokens = self.cache_write.unwrap_or(0).min(input - cache_read_tokens);
        let (completion_tokens, reasoning_tokens) = self.completion();
        Some(Usage {
            prompt_tokens: input - cache_read_tokens - cache_write_tokens,
            cache_read_tokens,
            cache_write_tokens,
            completion_tokens,
            reasoning_tokens,
            web_searches,
            ..Usage::default()
        })
    }

    /// Output with reasoning inside; hosts that leave it outside are told by their total, or by a trait.
    fn completion(&self) -> (u64, u64) {
        let output = self.output.unwrap_or(0);
        let reasoning = self.reasoning.unwrap_or(0);
        let without = self.input.unwrap_or(0).saturating_add(output);
        let by_total = self.total.is_some_and(|total| total != without && total == without.saturating_add(reasoning));
        let outside = reasoning > 0 && (by_total || self.reasoning_outside && self.total != Some(without));
        if outside { (output.saturating_add(reasoning), reasoning) } else { (output, reasoning.min(output)) }
    }
}

/// Bytes of the text called `delta` in an event, without reading the rest of it.
pub(crate) fn delta_bytes(event: &[u8]) -> u64 {
    const KEY: &[u8] = b"\"delta\":";
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEY));
    let Some(at) = FINDER.find(event) else { return 0 };
    let Some([b'"', text @ ..]) = event.get(at + KEY.len()..).map(<[u8]>::trim_ascii_start) else { return 0 };
    let mut end = 0;
    while let Some(found) = text.get(end..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        end += found;
        if text[end] == b'"' {
            return end as u64;
        }
        end += 2;
    }
    0
}

/// Appends a text with its quotes, `name` and a colon before it.
pub(crate) fn write_prefixed(out: &mut Vec<u8>, name: Option<&Text<'_>>, text: &Text<'_>) {
    out.push(b'"');
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
    }
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// What the ids of items are made of: the generation's id without its signs.
pub(crate) fn stem(generation_id: &str) -> String {
    generation_id.strip_prefix("gen-").unwrap_or(generation_id).chars().filter(char::is_ascii_alphanumeric).collect()
}

/// Whether the id of a reasoning item is one of ours, `rs_<stem>_<number>`: no provider has kept such an item.
pub(crate) fn is_minted(id: &Text<'_>) -> bool {
    id.as_bytes().strip_prefix(b"rs_").is_some_and(|id| id.contains(&b'_'))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn check_usage(object: &str, expected: Option<Usage>) {
        assert_eq!(Figures::read(object.as_bytes()).usage(0), expected, "{object}");
    }

    #[test]
    fn usage_in_disjoint_buckets() {
        let plain = Usage { prompt_tokens: 9, completion_tokens: 2, ..Usage::default() };
        check_usage(r#"{"input_tokens":9,"output_tokens":2,"total_tokens":11}"#, Some(plain));
        check_usage(r#"{"input_tokens":0,"output_tokens":0}"#, Some(Usage::default()));
        check_usage("{}", None);
        check_usage("null", None);
        let openai = r#"{"input_tokens":100,"input_tokens_details":{"cached_tokens":60,"cache_write_tokens":30},"output_tokens":50,"output_tokens_details":{"reasoning_tokens":40},"total_tokens":150}"#;
        let cached = Usage {
            prompt_tokens: 10,
            cache_read_tokens: 60,
            cache_write_tokens: 30,
            completion_tokens: 50,
            reasoning_tokens: 40,
            ..Usage::default()
        };
        check_usage(openai, Some(cached));
        let absurd = r#"{"input_tokens":5,"output_tokens":1,"input_tokens_details":{"cached_tokens":7,"cache_write_tokens":7},"output_tokens_details":{"reasoning_tokens":9}}"#;
        check_usage(absurd, Some(Usage { cache_read_tokens: 5, completion_tokens: 1, reasoning_tokens: 1, ..Usage::default() }));
        let outside = r#"{"input_tokens":10,"output_tokens":5,"total_tokens":35,"output_tokens_details":{"reasoning_tokens":20}}"#;
        check_usage(outside, Some(Usage { prompt_tokens: 10, completion_tokens: 25, reasoning_tokens: 20, ..Usage::default() }));
    }

    #[test]
    fn a_trait_says_that_reasoning_is_outside_where_no_total_tells() {
        let usage = br#"{"input_tokens":10,"output_tokens":5,"output_tokens_details":{"reasoning_tokens":20}}"#;
        assert_eq!(Figures::read(usage).outside(true).usage(0).unwrap().completion_tokens, 25);
    }

    #[test]
    fn searches_are_counted_by_the_bill_or_by_items() {
        let check = |body: &str, expected| {
            let outline = Outline::read(body.as_bytes()).unwrap();
            assert_eq!(outline.figured().unwrap().usage.web_searches, expected, "{body}");
        };
        let usage = r#""usage":{"input_tokens":1,"output_tokens":1}"#;
        let items = r#""output":[{"type":"web_search_call","action":{"type":"search"}},{"type":"web_search_call","action":{"type":"open_page"}},{"type":"web_search_call"}]"#;
        check(&format!("{{{usage},{items}}}"), 2);
        check(&format!(r#"{{{usage},{items},"tool_usage":{{"web_search":{{"num_requests":5}}}}}}"#), 5);
        check(&format!("{{{usage}}}"), 0);
    }

    #[test]
    fn what_counts_as_content() {
        let check = |items: &str, any, bytes, calls, refusal| {
            let content = Content::read(&mut Cursor::new(format!("[{items}]").as_bytes())).unwrap();
            assert_eq!(content, Content { any, bytes, calls, refusal, searches: content.searches }, "{items}");
        };
        check("", false, 0, false, false);
        check(r#"{"type":"message","content":[]}"#, false, 0, false, false);
        check(r#"{"type":"message","content":[{"type":"output_text","text":"hi"}]}"#, true, 2, false, false);
        check(r#"{"type":"message","content":[{"type":"refusal","refusal":"no!"}]}"#, true, 3, false, true);
        check(r#"{"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}]}"#, true, 2, false, false);
        check(r#"{"type":"reasoning","summary":[],"encrypted_content":"x"}"#, true, 0, false, false);
        check(r#"{"type":"reasoning","summary":[]}"#, false, 0, false, false);
        check(r#"{"type":"function_call","name":"f","arguments":"{}"}"#, true, 3, true, false);
        check(r#"{"type":"web_search_call"}"#, true, 0, false, false);
    }

    #[test]
    fn deltas_are_measured_without_reading_them() {
        let check = |event: &str, bytes| assert_eq!(delta_bytes(event.as_bytes()), bytes, "{event}");
        check(r#"{"type":"x","delta":"ab\"c","logprobs":[]}"#, 5);
        check(r#"{"delta": "ab"}"#, 2);
        check(r#"{"delta":""}"#, 0);
        check(r#"{"delta":{"a":1}}"#, 0);
        check(r#"{"text":"\"delta\":\"ab\""}"#, 0);
        check(r#"{"delta":"ab\"#, 0);
        check("{}", 0);
    }

    #[test]
    fn ids_of_ours_are_told_from_the_providers() {
        for (id, minted) in [("rs_0192abc_3", true), ("rs_68a1f0c1", false), ("fc_1_2", false), ("", false)] {
            assert_eq!(is_minted(&Text::word(id)), minted, "{id}");
        }
        assert_eq!(stem("gen-0192-ab_c"), "0192abc");
    }
}
