//! The shapes of completions and chunks: where things stand and what the figures mean. Reads in place, builds nothing.

pub(crate) mod calls;
pub(crate) mod citations;
pub(crate) mod leftover;
pub(crate) mod message;
pub(crate) mod parts;
pub(crate) mod tags;
pub(crate) mod thoughts;
pub(crate) mod usage;
pub(crate) mod words;

use core::ops::Range;
use std::borrow::Cow;

use fairlead_ir::{NanoUsd, Usage};

use crate::decimal::{count, nano_usd};
use crate::json::walk::{self, Cursor, as_str};
use crate::json::{Kind, Reject};
use crate::patch::{name, shifted};
use crate::reply::{Figured, Missing};

/// What a completion or chunk says, read in one pass; the last of members of one name counts, as most parsers have it.
#[derive(Debug, Default)]
pub(crate) struct Outline<'a> {
    pub(crate) id: Option<&'a [u8]>,
    pub(crate) model: Option<&'a [u8]>,
    pub(crate) created: Option<&'a [u8]>,
    pub(crate) tier: Option<&'a [u8]>,
    /// The value of a top-level `error` that is not `null`, `false` or empty.
    pub(crate) error: Option<&'a [u8]>,
    /// `None` unless `choices` is an array.
    pub(crate) choices: Option<Choices<'a>>,
    /// A `usage` that is an object.
    pub(crate) usage: Option<PlacedUsage>,
}

/// A usage object: where it lies in the text, and what it says if it holds figures.
#[derive(Clone, Debug)]
pub(crate) struct PlacedUsage {
    pub(crate) range: Range<usize>,
    pub(crate) read: Option<Figured>,
}

impl<'a> Outline<'a> {
    /// `part` is `delta` in chunks, `message` in completions, [`TEXT_PART`] in both of the legacy kind.
    pub(crate) fn read(object: &'a [u8], part: &str) -> Result<Outline<'a>, Reject> {
        Outline::read_from(Cursor::new(object), part)
    }

    /// As [`read`](Outline::read), of the object that is all `cursor` has before it.
    pub(crate) fn read_from(mut cursor: Cursor<'a>, part: &str) -> Result<Outline<'a>, Reject> {
        let mut outline = Outline::default();
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            match (&*key, cursor.kind()?) {
                (b"choices", Kind::Array) => outline.choices = Some(Choices::read(&mut cursor, part)?),
                (b"usage", Kind::Object) => outline.usage = Some(PlacedUsage::read(&mut cursor)?),
                (b"id", _) => outline.id = Some(cursor.skip()?),
                (b"model", _) => outline.model = Some(cursor.skip()?),
                (b"created", _) => outline.created = Some(cursor.skip()?),
                (b"error", _) => outline.error = Some(cursor.skip()?).filter(|value| is_error(value)).or(outline.error),
                (b"service_tier", Kind::String) => outline.tier = Some(cursor.skip()?),
                _ => drop(cursor.skip()?),
            }
        }
        cursor.end()?;
        Ok(outline)
    }
}

/// Where the text of a choice stands in legacy completions, whole and in pieces: no object, the text itself. Some hosts write it beside
/// the `delta` of chat chunks, where it says the same a second time.
pub(crate) const TEXT_PART: &str = "text";

/// Whether the value of a member called `error` reports one: some hosts always send it, as `null` or empty.
pub(crate) fn is_error(value: &[u8]) -> bool {
    match value {
        b"null" | b"false" | b"0" | b"\"\"" => false,
        [b'{', ..] => !is_hollow(value),
        _ => true,
    }
}

/// What the choices of a completion or chunk say together.
#[derive(Debug, Default)]
pub(crate) struct Choices<'a> {
    pub(crate) count: usize,
    /// Any text, reasoning, refusal, media or tool call.
    pub(crate) content: bool,
    /// Bytes of text, reasoning and tool calls as written in JSON, for an estimate.
    pub(crate) content_bytes: u64,
    /// A tool call begins here, which happens once per call.
    pub(crate) begins_call: bool,
    /// The first choice's reason that is a non-empty text.
    pub(crate) finish: Option<Cow<'a, str>>,
    /// The reason in the words of a provider behind the provider, where it tells.
    pub(crate) native_finish: Option<Cow<'a, str>>,
    /// A stop sequence is named (vLLM, SGLang).
    pub(crate) matched_stop: bool,
    pub(crate) error: Option<&'a [u8]>,
    /// Moonshot puts the usage here.
    pub(crate) usage: Option<PlacedUsage>,
}

impl<'a> Choices<'a> {
    /// Reads the array that is next.
    fn read(cursor: &mut Cursor<'a>, part: &str) -> Result<Choices<'a>, Reject> {
        let mut choices = Choices::default();
        let mut level = cursor.enter(b'[')?;
        while cursor.next_element(&mut level)? {
            choices.count += 1;
            match cursor.kind()? {
                Kind::Object => choices.read_one(cursor, part)?,
                _ => drop(cursor.skip()?),
            }
        }
        Ok(choices)
    }

    fn read_one(&mut self, cursor: &mut Cursor<'a>, part: &str) -> Result<(), Reject> {
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            match (&*key, cursor.kind()?) {
                (key, Kind::Object) if key == part.as_bytes() => self.read_part(cursor)?,
                (key, Kind::String) if key == b"text" && part == TEXT_PART => {
                    let bytes = text_bytes(cursor.skip()?);
                    self.add(bytes);
                    self.content |= bytes > 0;
                }
                (b"usage", Kind::Object) => self.usage = Some(PlacedUsage::read(cursor)?),
                (b"finish_reason", _) => take_word(&mut self.finish, cursor.skip()?),
                (b"native_finish_reason", _) => take_word(&mut self.native_finish, cursor.skip()?),
                (b"stop_reason" | b"matched_stop", kind) => {
                    self.matched_stop |= kind != Kind::Null;
                    cursor.skip()?;
                }
                (b"error", _) => self.error = Some(cursor.skip()?).filter(|value| is_error(value)).or(self.error),
                _ => drop(cursor.skip()?),
            }
        }
        Ok(())
    }

    fn read_part(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Reject> {
        let before = self.content_bytes;
        let mut reasoning_bytes = 0;
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            match (&*key, cursor.kind()?) {
                (b"content" | b"refusal", Kind::String) => self.add(text_bytes(cursor.skip()?)),
                // One and the same text under two names, where a host serves two kinds of clients.
                (b"reasoning" | b"reasoning_content", Kind::String) => reasoning_bytes = text_bytes(cursor.skip()?).max(reasoning_bytes),
                (b"tool_calls", Kind::Array) => self.read_tool_calls(cursor)?,
                (b"content", Kind::Array) | (b"function_call", Kind::Object) => {
                    let value = cursor.skip()?;
                    self.add(if is_hollow(value) { 0 } else { value.len() as u64 });
                }
                // Their bytes are no measure of tokens, or repeat what is counted already.
                (b"images" | b"reasoning_details", Kind::Array) | (b"audio", Kind::Object) => self.content |= !is_hollow(cursor.skip()?),
                _ => drop(cursor.skip()?),
            }
        }
        self.add(reasoning_bytes);
        self.content |= self.content_bytes > before;
        Ok(())
    }

    fn read_tool_calls(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Reject> {
        let mut level = cursor.enter(b'[')?;
        while cursor.next_element(&mut level)? {
            self.content = true;
            match cursor.kind()? {
                Kind::Object => self.read_tool_call(cursor)?,
                _ => drop(cursor.skip()?),
            }
        }
        Ok(())
    }

    fn read_tool_call(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Reject> {
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            match (&*key, cursor.kind()?) {
                (b"function", Kind::Object) => self.read_function(cursor)?,
                _ => drop(cursor.skip()?),
            }
        }
        Ok(())
    }

    fn read_function(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Reject> {
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            let bytes = text_bytes(cursor.skip()?);
            self.begins_call |= bytes > 0 && *key == *b"name";
            self.add(bytes);
        }
        Ok(())
    }

    fn add(&mut self, bytes: u64) {
        self.content_bytes = self.content_bytes.saturating_add(bytes);
    }
}

/// Bytes between a string's quotes; 0 for anything else.
fn text_bytes(value: &[u8]) -> u64 {
    if value.starts_with(b"\"") { value.len().saturating_sub(2) as u64 } else { 0 }
}

/// `[]` or `{}`, with any white space.
pub(crate) fn is_hollow(container: &[u8]) -> bool {
    !container.iter().any(|byte| !matches!(byte, b'[' | b']' | b'{' | b'}' | b' ' | b'\n' | b'\r' | b'\t'))
}

/// A non-empty text; some hosts send `""` where others send `null`.
pub(crate) fn word(value: &[u8]) -> Option<Cow<'_, str>> {
    as_str(value).filter(|word| !word.is_empty())
}

/// The first one counts.
fn take_word<'a>(slot: &mut Option<Cow<'a, str>>, value: &'a [u8]) {
    if slot.is_none() {
        *slot = word(value);
    }
}

/// What a usage object says, and the cost in it if it is a number.
pub(crate) fn read_usage(object: &[u8]) -> Option<Figured> {
    PlacedUsage::read(&mut Cursor::new(object)).ok()?.read
}

/// As [`read_usage`], of a reply that has no completion: all tokens are the prompt's, under whichever name.
pub(crate) fn read_prompt_usage(object: &[u8]) -> Option<Figured> {
    let figures = Figures::read(&mut Cursor::new(object)).ok()?;
    let prompt = figures.prompt.or(figures.total);
    let usage = Figures { prompt, completion: None, ..figures }.usage()?;
    Some(Figured {
        usage: Usage { completion_tokens: 0, reasoning_tokens: 0, ..usage },
        missing: Missing::default(),
        cost: figures.cost,
        tier: None,
    })
}

/// As [`read_usage`], for a host that is known to count reasoning beside the completion (`reasoning_outside`).
pub(crate) fn read_usage_of(object: &[u8], reasoning_outside: bool) -> Option<Usage> {
    let figures = Figures::read(&mut Cursor::new(object)).ok()?;
    let mut usage = figures.usage()?;
    if reasoning_outside {
        usage.reasoning_tokens = figures.reasoning.unwrap_or(0);
        usage.completion_tokens = figures.completion.unwrap_or(0).saturating_add(usage.reasoning_tokens);
    }
    Some(usage)
}

impl PlacedUsage {
    /// Reads the object that is next. One that is broken inside holds no figures; the rest of the text may still be good.
    fn read(cursor: &mut Cursor<'_>) -> Result<PlacedUsage, Reject> {
        let before = cursor.clone();
        let read = match Figures::read(cursor) {
            Ok(figures) => {
                let missing = Missing { prompt: figures.prompt.is_none(), completion: figures.completion.is_none() };
                figures.usage().map(|usage| Figured { usage, missing, cost: figures.cost, tier: None })
            }
            Err(reject) if cursor.is_strict() => return Err(reject),
            Err(_) => {
                *cursor = before.clone();
                cursor.skip()?;
                None
            }
        };
        Ok(PlacedUsage { range: before.at()..cursor.at(), read })
    }
}

/// The figures as the hosts name them; `prompt` includes what was cached.
#[derive(Default)]
struct Figures {
    prompt: Option<u64>,
    completion: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    cache_write: Option<u64>,
    reasoning: Option<u64>,
    web_searches: Option<u64>,
    cost: Option<NanoUsd>,
}

impl Figures {
    fn read(cursor: &mut Cursor<'_>) -> Result<Figures, Reject> {
        let mut figures = Figures::default();
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            match cursor.kind()? {
                Kind::Object => figures.read_details(&key, cursor)?,
                _ => figures.read_number(&key, cursor.skip()?),
            }
        }
        Ok(figures)
    }

    fn read_number(&mut self, key: &[u8], value: &[u8]) {
        match key {
            b"prompt_tokens" => self.prompt = count(value),
            b"completion_tokens" => self.completion = count(value),
            b"total_tokens" => self.total = count(value),
            b"cost" => self.cost = nano_usd(value),
            // DeepSeek's and Moonshot's places for the same figure.
            b"prompt_cache_hit_tokens" | b"cached_tokens" => self.cached = self.cached.or(count(value)),
            // Perplexity's place.
            b"reasoning_tokens" => self.reasoning = self.reasoning.or(count(value)),
            _ => {}
        }
    }

    fn read_details(&mut self, group: &[u8], cursor: &mut Cursor<'_>) -> Result<(), Reject> {
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            let value = cursor.skip()?;
            match (group, &*key) {
                (b"prompt_tokens_details", b"cached_tokens") => self.cached = count(value).or(self.cached),
                (b"prompt_tokens_details", b"cache_write_tokens") => self.cache_write = count(value),
                (b"completion_tokens_details", b"reasoning_tokens") => self.reasoning = count(value).or(self.reasoning),
                (b"server_tool_use_details" | b"server_tool_use", b"web_search_requests") => self.web_searches = count(value),
                _ => {}
            }
        }
        Ok(())
    }

    /// Disjoint buckets. A host that says neither prompt nor completion says nothing; zero is a figure.
    fn usage(&self) -> Option<Usage> {
        if self.prompt.is_none() && self.completion.is_none() {
            return None;
        }
        let prompt = self.prompt.unwrap_or(0);
        let cache_read_tokens = self.cached.unwrap_or(0).min(prompt);
        let cache_write_tokens = self.cache_write.unwrap_or(0).min(prompt - cache_read_tokens);
        let (completion_tokens, reasoning_tokens) = self.completion();
        Some(Usage {
            prompt_tokens: prompt - cache_read_tokens - cache_write_tokens,
            cache_read_tokens,
            cache_write_tokens,
            completion_tokens,
            reasoning_tokens,
            web_searches: self.web_searches.unwrap_or(0),
            ..Usage::default()
        })
    }

    /// Completion with reasoning inside. xAI and Perplexity leave it outside, which only their total gives away.
    fn completion(&self) -> (u64, u64) {
        let completion = self.completion.unwrap_or(0);
        let reasoning = self.reasoning.unwrap_or(0);
        let without = self.prompt.unwrap_or(0).saturating_add(completion);
        let outside = reasoning > 0 && self.total.is_some_and(|total| total != without && total == without.saturating_add(reasoning));
        if outside { (completion.saturating_add(reasoning), reasoning) } else { (completion, reasoning.min(completion)) }
    }
}

/// The names of texts that differ from frame to frame in one and the same kind of delta.
const TEXTS: [&[u8]; 6] = [b"content", b"reasoning", b"reasoning_content", b"refusal", b"text", b"summary"];

/// Adds to `holes` where the varying texts of a chunk lie (between their quotes, offsets in `chunk`), and whether they count
/// as content. Padding against traffic analysis varies too and counts for nothing. `part`: as in [`Outline::read`].
pub(crate) fn find_texts(chunk: &[u8], part: &str, holes: &mut Vec<(Range<usize>, bool)>) -> Result<(), Reject> {
    for member in walk::members(chunk) {
        let member = member?;
        match (&*name(member.key), member.kind) {
            (b"obfuscation", Kind::String) => holes.push((between_quotes(&member.value_range), false)),
            (b"choices", Kind::Array) => {
                for choice in walk::elements(member.value) {
                    let choice = choice?;
                    let Some(found) = walk::member(choice.value, part)? else { continue };
                    let base = member.value_range.start + choice.value_range.start;
                    match found.kind {
                        Kind::Object => find_texts_of_delta(found.value, base + found.value_range.start, holes)?,
                        Kind::String if part == TEXT_PART => holes.push((between_quotes(&shifted(&found.value_range, base)), true)),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn find_texts_of_delta(delta: &[u8], base: usize, holes: &mut Vec<(Range<usize>, bool)>) -> Result<(), Reject> {
    let mut reasoning_counted = false;
    for member in walk::members(delta) {
        let member = member?;
        let value = base + member.value_range.start..base + member.value_range.end;
        match (&*name(member.key), member.kind) {
            (b"reasoning" | b"reasoning_content", Kind::String) => {
                holes.push((between_quotes(&value), !reasoning_counted));
                reasoning_counted = true;
            }
            (key, Kind::String) if TEXTS.contains(&key) => holes.push((between_quotes(&value), true)),
            (b"reasoning_details", Kind::Array) => find_texts_of_elements(member.value, value.start, &TEXTS, false, holes)?,
            (b"tool_calls", Kind::Array) => {
                for call in walk::elements(member.value) {
                    let call = call?;
                    if let Some(function) = walk::member(call.value, "function")?.filter(|function| function.kind == Kind::Object) {
                        let base = value.start + call.value_range.start + function.value_range.start;
                        find_texts_of_object(function.value, base, &[b"arguments"], true, holes)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn find_texts_of_elements(
    array: &[u8],
    base: usize,
    names: &[&[u8]],
    counted: bool,
    holes: &mut Vec<(Range<usize>, bool)>,
) -> Result<(), Reject> {
    for element in walk::elements(array) {
        let element = element?;
        if element.kind == Kind::Object {
            find_texts_of_object(element.value, base + element.value_range.start, names, counted, holes)?;
        }
    }
    Ok(())
}

fn find_texts_of_object(
    object: &[u8],
    base: usize,
    names: &[&[u8]],
    counted: bool,
    holes: &mut Vec<(Range<usize>, bool)>,
) -> Result<(), Reject> {
    for member in walk::members(object) {
        let member = member?;
        if member.kind == Kind::String && names.contains(&&*name(member.key)) {
            holes.push((between_quotes(&(base + member.value_range.start..base + member.value_range.end)), counted));
        }
    }
    Ok(())
}

fn between_quotes(value: &Range<usize>) -> Range<usize> {
    value.start + 1..value.end - 1
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn usage(prompt_tokens: u64, cache_read_tokens: u64, cache_write_tokens: u64, completion_tokens: u64, reasoning_tokens: u64) -> Usage {
        Usage { prompt_tokens, cache_read_tokens, cache_write_tokens, completion_tokens, reasoning_tokens, ..Usage::default() }
    }

    fn check(object: &str, expected: Option<Usage>, cost: Option<i64>) {
        let read = read_usage(object.as_bytes()).map(|read| (read.usage, read.cost));
        assert_eq!(read, expected.map(|usage| (usage, cost.map(NanoUsd))), "{object}");
    }

    #[test]
    fn a_half_that_is_no_number_is_missing() {
        for (object, prompt, completion) in [
            (r#"{"prompt_tokens":1,"completion_tokens":1}"#, false, false),
            (r#"{"prompt_tokens":0,"completion_tokens":0}"#, false, false),
            (r#"{"completion_tokens":7}"#, true, false),
            (r#"{"prompt_tokens":-1,"completion_tokens":7}"#, true, false),
            (r#"{"prompt_tokens":"12","completion_tokens":7}"#, true, false),
            (r#"{"prompt_tokens":null,"completion_tokens":7}"#, true, false),
            (r#"{"prompt_tokens":{},"completion_tokens":7}"#, true, false),
            (r#"{"prompt_tokens":12}"#, false, true),
            (r#"{"prompt_tokens":12,"completion_tokens":-7}"#, false, true),
        ] {
            let read = read_usage(object.as_bytes()).unwrap();
            assert_eq!(read.missing, Missing { prompt, completion }, "{object}");
        }
    }

    #[test]
    fn usage_of_many_hosts() {
        check(r#"{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}"#, Some(usage(9, 0, 0, 2, 0)), None);
        check(r#"{"prompt_tokens":0,"completion_tokens":0}"#, Some(usage(0, 0, 0, 0, 0)), None);
        check(r#"{}"#, None, None);
        check(r#"{"cost":1}"#, None, None);
        check(r#"{"prompt_tokens":9,"completion_tokens":NaN}"#, None, None);
        let openai = r#"{"prompt_tokens":100,"completion_tokens":50,"prompt_tokens_details":{"cached_tokens":60,"cache_write_tokens":30},"completion_tokens_details":{"reasoning_tokens":40}}"#;
        check(openai, Some(usage(10, 60, 30, 50, 40)), None);
        let deepseek = r#"{"prompt_tokens":100,"completion_tokens":5,"prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36}"#;
        check(deepseek, Some(usage(36, 64, 0, 5, 0)), None);
        let xai = r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":35,"completion_tokens_details":{"reasoning_tokens":20}}"#;
        check(xai, Some(usage(10, 0, 0, 25, 20)), None);
        let perplexity = r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"reasoning_tokens":3,"cost":{"total_cost":0.01}}"#;
        check(perplexity, Some(usage(10, 0, 0, 5, 3)), None);
        let openrouter =
            r#"{"prompt_tokens":10,"completion_tokens":5,"cost":0.00001425,"is_byok":false,"prompt_tokens_details":{"cached_tokens":0}}"#;
        check(openrouter, Some(usage(10, 0, 0, 5, 0)), Some(14_250));
        check(r#"{"prompt_tokens":1.0,"completion_tokens":2,"cost":1.2e-07}"#, Some(usage(1, 0, 0, 2, 0)), Some(120));
        let absurd = r#"{"prompt_tokens":5,"completion_tokens":9223372036854775808,"prompt_tokens_details":{"cached_tokens":7,"cache_write_tokens":7}}"#;
        check(absurd, Some(usage(0, 5, 0, 1 << 63, 0)), None);
        check(r#"{"prompt_tokens":null,"completion_tokens":3,"prompt_tokens_details":null}"#, Some(usage(0, 0, 0, 3, 0)), None);
        let searches = r#"{"prompt_tokens":1,"completion_tokens":1,"server_tool_use_details":{"web_search_requests":2}}"#;
        check(searches, Some(Usage { web_searches: 2, ..usage(1, 0, 0, 1, 0) }), None);
    }

    #[test]
    fn reasoning_beside_the_completion() {
        for (object, completion, reasoning) in [
            (r#"{"prompt_tokens":10,"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":20}}"#, 25, 20),
            (r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"reasoning_tokens":3}"#, 8, 3),
            (r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":18,"reasoning_tokens":3}"#, 8, 3),
        ] {
            let usage = read_usage_of(object.as_bytes(), true).unwrap();
            assert_eq!((usage.completion_tokens, usage.reasoning_tokens), (completion, reasoning), "{object}");
        }
    }

    fn check_content(delta: &str, content: bool, bytes: u64) {
        let array = format!(r#"[{{"index":0,"delta":{delta},"finish_reason":null}}]"#);
        let choices = Choices::read(&mut Cursor::new(array.as_bytes()), "delta").unwrap();
        assert_eq!((choices.content, choices.content_bytes), (content, bytes), "{delta}");
    }

    #[test]
    fn what_counts_as_content() {
        check_content(r#"{"role":"assistant","content":""}"#, false, 0);
        check_content(r#"{"role":"assistant","content":null,"refusal":null}"#, false, 0);
        check_content("{}", false, 0);
        check_content(r#"{"content":" "}"#, true, 1);
        check_content(r#"{"reasoning_content":"hm"}"#, true, 2);
        check_content(r#"{"reasoning":"hm","reasoning_details":[{"type":"reasoning.text","text":"hm"}]}"#, true, 2);
        check_content(r#"{"reasoning":null,"reasoning_details":[]}"#, false, 0);
        check_content(r#"{"reasoning_details":[{"type":"reasoning.encrypted","data":"x"}]}"#, true, 0);
        check_content(r#"{"refusal":"no"}"#, true, 2);
        check_content(r#"{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":""}}]}"#, true, 1);
        check_content(r#"{"tool_calls":[]}"#, false, 0);
        check_content(r#"{"images":[{"type":"image_url"}]}"#, true, 0);
        check_content(r#"{"audio":{}}"#, false, 0);
        check_content(r#"{"content":[{"type":"text","text":"a"}]}"#, true, 28);
    }

    #[test]
    fn a_broken_usage_spoils_nothing_else() {
        let outline = Outline::read(br#"{"usage":{"prompt_tokens":nan},"id":"a"}"#, "delta").unwrap();
        assert_eq!((outline.id, outline.usage.unwrap().range), (Some(&br#""a""#[..]), 9..30));
    }

    /// Nobody writes names like that, but they mean the same to every client.
    #[test]
    fn names_with_escapes_are_names() {
        let escaped = |text: &str| {
            ["cached_tokens", "reasoning_tokens", "web_search_requests", "function", "name", "arguments", "delta", "content", "text"]
                .iter()
                .fold(text.to_owned(), |text, name| {
                    let (first, rest) = name.split_at(1);
                    text.replace(&format!("\"{name}\":"), &format!("\"\\u{:04x}{rest}\":", first.as_bytes()[0]))
                })
        };
        let object = r#"{"prompt_tokens":9,"completion_tokens":8,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":3},"server_tool_use":{"web_search_requests":2}}"#;
        check(&escaped(object), Some(Usage { web_searches: 2, ..usage(5, 4, 0, 8, 3) }), None);
        let call = r#"{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{}"}}]}"#;
        let array = format!(r#"[{{"index":0,"delta":{}}}]"#, escaped(call));
        let choices = Choices::read(&mut Cursor::new(array.as_bytes()), "delta").unwrap();
        assert_eq!((choices.begins_call, choices.content_bytes), (true, 3));
        let chunk = r#"{"choices":[{"delta":{"content":"ab","reasoning_details":[{"text":"cd"}],"tool_calls":[{"function":{"arguments":"ef"}}]}}]}"#;
        let (mut plain, mut found) = (Vec::new(), Vec::new());
        find_texts(chunk.as_bytes(), "delta", &mut plain).unwrap();
        find_texts(escaped(chunk).as_bytes(), "delta", &mut found).unwrap();
        let texts = |holes: &[(Range<usize>, bool)], chunk: &str| -> Vec<_> {
            holes.iter().map(|(range, counted)| (chunk[range.clone()].to_owned(), *counted)).collect()
        };
        assert_eq!(texts(&found, &escaped(chunk)), texts(&plain, chunk));
    }

    #[test]
    fn finish_words() {
        let read = |choice: &str| {
            let array = format!("[{choice}]");
            let choices = Choices::read(&mut Cursor::new(array.as_bytes()), "delta").unwrap();
            (choices.finish.map(Cow::into_owned), choices.matched_stop)
        };
        assert_eq!(read(r#"{"finish_reason":null}"#), (None, false));
        assert_eq!(read(r#"{"finish_reason":""}"#), (None, false));
        assert_eq!(read(r#"{"finish_reason":"stop","stop_reason":null}"#), (Some("stop".to_owned()), false));
        assert_eq!(read(r#"{"finish_reason":"stop","stop_reason":"END"}"#), (Some("stop".to_owned()), true));
    }

    #[test]
    fn texts_that_vary() {
        let chunk = br#"{"choices":[{"delta":{"content":"ab","tool_calls":[{"function":{"arguments":"cd"}}]}}],"obfuscation":"ef"}"#;
        let mut holes = Vec::new();
        find_texts(chunk, "delta", &mut holes).unwrap();
        let texts: Vec<_> = holes.iter().map(|(range, counted)| (&chunk[range.clone()], *counted)).collect();
        assert_eq!(texts, [(&b"ab"[..], true), (b"cd", true), (b"ef", false)]);
    }
}
