//! The shapes of messages and their events: where things stand and what the figures mean. Reads in place, builds nothing.

pub(crate) mod block;
pub(crate) mod citation;
pub(crate) mod stop;
pub(crate) mod usage;

use core::ops::Range;

use fairlead_ir::{NanoUsd, Tier, Usage};

use crate::decimal::{count, count_in, nano_usd};
use crate::json::walk::{self, Member, as_str};
use crate::json::{Kind, Reject};
use crate::openai_chat::wire::{is_error, is_hollow};
use crate::patch::name;
use crate::reply::{Figured, Missing};

/// Appends a value on one line, as event streams need it: line ends stand between tokens only, where any white space does.
pub(crate) fn write_line(value: &[u8], out: &mut Vec<u8>) {
    out.extend(value.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
}

/// Where the members of a message or an event lie; the last one where a name occurs twice, as most parsers have it.
#[derive(Debug, Default)]
pub(crate) struct Outline<'a> {
    /// The type word with its quotes.
    pub(crate) kind: &'a [u8],
    pub(crate) id: Option<&'a [u8]>,
    pub(crate) model: Option<&'a [u8]>,
    pub(crate) stop_reason: Option<&'a [u8]>,
    pub(crate) stop_sequence: bool,
    pub(crate) content: Option<&'a [u8]>,
    pub(crate) usage: Option<&'a [u8]>,
    /// Where `usage` begins in the walked text.
    pub(crate) usage_start: usize,
    pub(crate) error: bool,
    pub(crate) message: Option<&'a [u8]>,
    pub(crate) delta: Option<&'a [u8]>,
    pub(crate) block: Option<&'a [u8]>,
    /// The number of a block.
    pub(crate) index: Option<&'a [u8]>,
}

impl<'a> Outline<'a> {
    pub(crate) fn read(object: &'a [u8]) -> Result<Outline<'a>, Reject> {
        let mut outline = Outline::default();
        for member in walk::members(object) {
            let member = member?;
            match &*name(member.key) {
                b"type" => outline.kind = member.value,
                b"error" => outline.error = is_error(member.value),
                b"stop_sequence" => outline.stop_sequence = member.kind == Kind::String,
                _ => outline.read_value(&member),
            }
        }
        Ok(outline)
    }

    fn read_value(&mut self, member: &Member<'a>) {
        let slot = match (&*name(member.key), member.kind) {
            (b"id", Kind::String) => &mut self.id,
            (b"model", Kind::String) => &mut self.model,
            (b"stop_reason", Kind::String) => &mut self.stop_reason,
            (b"content", Kind::Array) => &mut self.content,
            (b"usage", Kind::Object) => {
                self.usage_start = member.value_range.start;
                &mut self.usage
            }
            (b"message", Kind::Object) => &mut self.message,
            (b"delta", Kind::Object) => &mut self.delta,
            (b"content_block", Kind::Object) => &mut self.block,
            (b"index", Kind::Number) => &mut self.index,
            _ => return,
        };
        *slot = Some(member.value);
    }
}

/// Whether a content block holds something, and how many bytes of it. Any block but an empty text or thinking does:
/// a tool call has begun, or media or a server's tool result has come.
pub(crate) fn read_block(block: &[u8]) -> Result<(bool, u64), Reject> {
    let (mut is_text, mut bytes) = (false, 0_u64);
    for member in walk::members(block) {
        let member = member?;
        match (&*name(member.key), member.kind) {
            (b"type", _) => is_text = matches!(member.value, br#""text""# | br#""thinking""#),
            (b"text" | b"thinking" | b"name", Kind::String) => bytes += member.value.len() as u64 - 2,
            (b"input", Kind::Object) if !is_hollow(member.value) => bytes += member.value.len() as u64,
            _ => {}
        }
    }
    Ok((!is_text || bytes > 0, bytes))
}

/// The texts of a delta that count as content; a signature proves reasoning that is not shown.
const DELTA_TEXTS: [&[u8]; 3] = [b"text", b"thinking", b"partial_json"];

/// As [`read_block`], for a delta.
pub(crate) fn read_delta(delta: &[u8]) -> Result<(bool, u64), Reject> {
    let (mut content, mut bytes) = (false, 0_u64);
    for member in walk::members(delta) {
        let member = member?;
        let length = if member.kind == Kind::String { member.value.len() as u64 - 2 } else { 0 };
        let key = &*name(member.key);
        if DELTA_TEXTS.contains(&key) {
            bytes += length;
        }
        content |= length > 0 && (DELTA_TEXTS.contains(&key) || key == b"signature");
    }
    Ok((content, bytes))
}

/// Adds to `holes` where the varying texts of a `content_block_delta` lie (between their quotes, offsets in `event`).
pub(crate) fn find_texts(event: &[u8], holes: &mut Vec<(Range<usize>, bool)>) -> Result<(), Reject> {
    let Some(delta) = walk::member(event, "delta")? else { return Ok(()) };
    for member in walk::members(delta.value) {
        let member = member?;
        if member.kind == Kind::String && DELTA_TEXTS.contains(&&*name(member.key)) {
            let start = delta.value_range.start + member.value_range.start;
            holes.push((start + 1..start + member.value.len() - 1, true));
        }
    }
    Ok(())
}

/// The figures of a message's usage. In a stream later ones overwrite earlier ones, field by field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    cache_write_5m: Option<u64>,
    cache_write_1h: Option<u64>,
    thinking: Option<u64>,
    web_searches: Option<u64>,
    /// What compaction used on the way: billed, but not in the totals.
    compaction: Usage,
    pub(crate) cost: Option<NanoUsd>,
    tier: Option<Tier>,
    /// Served in the tier that is asked for by `speed`.
    is_fast: bool,
}

impl Figures {
    /// Takes the figures of a usage object; what it leaves out or gives as `null` stays.
    pub(crate) fn merge(&mut self, usage: &[u8]) {
        for member in walk::members(usage).map_while(Result::ok) {
            self.merge_member(&member);
        }
    }

    fn merge_member(&mut self, member: &Member<'_>) {
        let (slot, value) = match &*name(member.key) {
            b"input_tokens" => (&mut self.input, count(member.value)),
            b"output_tokens" => (&mut self.output, count(member.value)),
            b"cache_read_input_tokens" => (&mut self.cache_read, count(member.value)),
            b"cache_creation_input_tokens" => (&mut self.cache_write, count(member.value)),
            b"output_tokens_details" => (&mut self.thinking, count_in(member, "thinking_tokens")),
            b"server_tool_use" => (&mut self.web_searches, count_in(member, "web_search_requests")),
            b"cache_creation" => {
                self.cache_write_1h = count_in(member, "ephemeral_1h_input_tokens").or(self.cache_write_1h);
                (&mut self.cache_write_5m, count_in(member, "ephemeral_5m_input_tokens"))
            }
            b"cost" if member.kind == Kind::Number => {
                self.cost = nano_usd(member.value).or(self.cost);
                return;
            }
            b"service_tier" => {
                self.tier = as_str(member.value).and_then(|word| Tier::from_word(word.as_bytes())).or(self.tier);
                return;
            }
            b"speed" if member.kind == Kind::String => {
                self.is_fast = member.value == br#""fast""#;
                return;
            }
            b"iterations" if member.kind == Kind::Array => {
                self.compaction = compaction(member.value);
                return;
            }
            _ => return,
        };
        *slot = value.or(*slot);
    }

    /// What is known so far; `None` when neither input nor output was ever told.
    pub(crate) fn figured(&self) -> Option<Figured> {
        let missing = Missing { prompt: self.input.is_none(), completion: self.output.is_none() };
        self.usage().map(|usage| Figured { usage, missing, cost: self.cost, tier: self.served_tier() })
    }

    fn served_tier(&self) -> Option<Tier> {
        if self.is_fast { Some(Tier::Fast) } else { self.tier }
    }

    /// The start of a stream has a number of output tokens that counts nothing yet.
    pub(crate) fn forget_output(&mut self) {
        self.output = None;
    }

    /// Disjoint buckets, `None` when neither input nor output was ever told.
    pub(crate) fn usage(&self) -> Option<Usage> {
        if self.input.is_none() && self.output.is_none() {
            return None;
        }
        let hour = self.cache_write_1h.unwrap_or(0);
        let short = match self.cache_write {
            Some(all) => all.saturating_sub(hour),
            None => self.cache_write_5m.unwrap_or(0),
        };
        let completion_tokens = self.output.unwrap_or(0);
        let own = Usage {
            prompt_tokens: self.input.unwrap_or(0),
            cache_read_tokens: self.cache_read.unwrap_or(0),
            cache_write_tokens: short,
            cache_write_1h_tokens: hour,
            completion_tokens,
            reasoning_tokens: self.thinking.unwrap_or(0).min(completion_tokens),
            web_searches: self.web_searches.unwrap_or(0),
        };
        Some(sum(&own, &self.compaction))
    }
}

/// The usage of the compaction steps, which the totals leave out. With a fallback message the totals are the bill.
fn compaction(iterations: &[u8]) -> Usage {
    let mut all = Usage::default();
    for step in walk::elements(iterations).map_while(Result::ok).filter(|step| step.kind == Kind::Object) {
        let kind = walk::member(step.value, "type").ok().flatten().map_or(&b""[..], |kind| kind.value);
        match kind {
            br#""fallback_message""# => return Usage::default(),
            br#""compaction""# => {
                let mut figures = Figures::default();
                // A step has no steps of its own; without this, nesting would recurse.
                for member in walk::members(step.value).map_while(Result::ok).filter(|member| !member.is("iterations")) {
                    figures.merge_member(&member);
                }
                all = sum(&all, &figures.usage().unwrap_or_default());
            }
            _ => {}
        }
    }
    all
}

fn sum(one: &Usage, other: &Usage) -> Usage {
    Usage {
        prompt_tokens: one.prompt_tokens.saturating_add(other.prompt_tokens),
        cache_read_tokens: one.cache_read_tokens.saturating_add(other.cache_read_tokens),
        cache_write_tokens: one.cache_write_tokens.saturating_add(other.cache_write_tokens),
        cache_write_1h_tokens: one.cache_write_1h_tokens.saturating_add(other.cache_write_1h_tokens),
        completion_tokens: one.completion_tokens.saturating_add(other.completion_tokens),
        reasoning_tokens: one.reasoning_tokens.saturating_add(other.reasoning_tokens),
        web_searches: one.web_searches.saturating_add(other.web_searches),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn check(objects: &[&str], expected: Option<Usage>) {
        let mut figures = Figures::default();
        objects.iter().for_each(|object| figures.merge(object.as_bytes()));
        assert_eq!(figures.usage(), expected, "{objects:?}");
    }

    #[test]
    fn usage_in_disjoint_buckets() {
        let plain = Usage { prompt_tokens: 10, completion_tokens: 5, ..Usage::default() };
        check(&[r#"{"input_tokens":10,"output_tokens":5}"#], Some(plain));
        check(&["{}"], None);
        check(&[r#"{"input_tokens":0,"output_tokens":0}"#], Some(Usage::default()));
        let cached = Usage { cache_read_tokens: 7, cache_write_tokens: 3, cache_write_1h_tokens: 2, ..plain };
        check(
            &[
                r#"{"input_tokens":10,"cache_read_input_tokens":7,"cache_creation_input_tokens":5,"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":2},"output_tokens":5}"#,
            ],
            Some(cached),
        );
        check(
            &[
                r#"{"input_tokens":10,"cache_read_input_tokens":7,"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":2},"output_tokens":5}"#,
            ],
            Some(cached),
        );
        let more = Usage { reasoning_tokens: 4, web_searches: 2, ..plain };
        check(
            &[
                r#"{"input_tokens":10,"output_tokens":5,"output_tokens_details":{"thinking_tokens":4},"server_tool_use":{"web_search_requests":2,"web_fetch_requests":1}}"#,
            ],
            Some(more),
        );
    }

    #[test]
    fn later_figures_overwrite_field_by_field() {
        let start = r#"{"input_tokens":10,"cache_read_input_tokens":7,"cache_creation_input_tokens":0,"output_tokens":1}"#;
        let end = r#"{"output_tokens":5,"cache_read_input_tokens":null}"#;
        let merged = Usage { prompt_tokens: 10, cache_read_tokens: 7, completion_tokens: 5, ..Usage::default() };
        check(&[start, end], Some(merged));
        check(&[start, end, r#"{"input_tokens":12,"output_tokens":6}"#], Some(Usage { prompt_tokens: 12, completion_tokens: 6, ..merged }));
    }

    #[test]
    fn compaction_is_billed_and_a_fallback_is_not_added() {
        let steps = r#""iterations":[{"type":"compaction","input_tokens":100,"output_tokens":9},{"type":"message","input_tokens":10,"output_tokens":5}]"#;
        let usage = format!(r#"{{"input_tokens":10,"output_tokens":5,{steps}}}"#);
        check(&[&usage], Some(Usage { prompt_tokens: 110, completion_tokens: 14, ..Usage::default() }));
        check(&[&usage, &usage], Some(Usage { prompt_tokens: 110, completion_tokens: 14, ..Usage::default() }));
        let fallback =
            r#"{"input_tokens":10,"output_tokens":5,"iterations":[{"type":"compaction","input_tokens":9},{"type":"fallback_message"}]}"#;
        check(&[fallback], Some(Usage { prompt_tokens: 10, completion_tokens: 5, ..Usage::default() }));
    }

    #[test]
    fn blocks_and_deltas() {
        for (block, expected) in [
            (r#"{"type":"text","text":""}"#, (false, 0)),
            (r#"{"type":"text","text":"hi"}"#, (true, 2)),
            (r#"{"type":"thinking","thinking":"","signature":""}"#, (false, 0)),
            (r#"{"type":"tool_use","id":"t","name":"get","input":{}}"#, (true, 3)),
            (r#"{"type":"redacted_thinking","data":"x"}"#, (true, 0)),
        ] {
            assert_eq!(read_block(block.as_bytes()).unwrap(), expected, "{block}");
        }
        for (delta, expected) in [
            (r#"{"type":"text_delta","text":""}"#, (false, 0)),
            (r#"{"type":"text_delta","text":"ab"}"#, (true, 2)),
            (r#"{"type":"thinking_delta","thinking":"abc"}"#, (true, 3)),
            (r#"{"type":"input_json_delta","partial_json":"{"}"#, (true, 1)),
            (r#"{"type":"signature_delta","signature":"s"}"#, (true, 0)),
            (r#"{"type":"text_delta","\u0074ext":"ab"}"#, (true, 2)),
            (r#"{"type":"signature_delta","\u0073ignature":"s"}"#, (true, 0)),
        ] {
            assert_eq!(read_delta(delta.as_bytes()).unwrap(), expected, "{delta}");
        }
    }
}
