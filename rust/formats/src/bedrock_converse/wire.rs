//! Words and shapes that requests, replies and streams share.

pub(crate) mod block;
pub(crate) mod citation;
pub(crate) mod media;

use fairlead_ir::block::{CacheMark, CacheTtl};
use fairlead_ir::{NanoUsd, StopReason, Usage};

use crate::decimal::count;
use crate::read::{Malformed, Reader};
use crate::write::Object;

/// Unwraps a member that must be there.
pub(crate) fn required<T>(value: Option<T>, name: &'static str) -> Result<T, Malformed> {
    value.ok_or_else(|| Malformed::new("is missing").in_member(name))
}

/// What a `stopReason` means; words that nobody knows yet mean that the model ended. `called`: the message holds tool calls. A message
/// that was cut stays cut, because its last call may be.
pub(crate) fn stop_reason(word: &[u8], called: bool) -> StopReason {
    match word {
        b"max_tokens" => StopReason::MaxTokens,
        b"model_context_window_exceeded" => StopReason::ContextWindow,
        b"guardrail_intervened" | b"content_filtered" => StopReason::ContentFilter,
        b"malformed_model_output" | b"malformed_tool_use" => StopReason::Failed,
        // Not in the list that AWS publishes, but Claude's own words.
        b"refusal" => StopReason::Refusal,
        b"pause_turn" => StopReason::Pause,
        _ if called => StopReason::ToolCalls,
        b"stop_sequence" => StopReason::StopSequence,
        _ => StopReason::End,
    }
}

/// The `stopReason` of a reply.
pub(crate) const fn stop_word(reason: StopReason) -> &'static str {
    match reason {
        StopReason::End | StopReason::Pause | StopReason::Compaction => "end_turn",
        StopReason::StopSequence => "stop_sequence",
        StopReason::MaxTokens => "max_tokens",
        StopReason::ContextWindow => "model_context_window_exceeded",
        StopReason::ToolCalls => "tool_use",
        StopReason::ContentFilter | StopReason::Refusal => "content_filtered",
        StopReason::Failed => "malformed_model_output",
    }
}

/// The stop sequence in `additionalModelResponseFields`: whole replies have it at the top, streams under `delta`, as the paths ask that
/// requests send.
pub(crate) fn stop_sequence<'a>(fields: &Reader<'a>) -> Option<fairlead_ir::Text<'a>> {
    let mut inner = None;
    let mut ahead = fields.clone();
    let read = ahead.object(|key, reader| {
        if key.name() == "delta" {
            inner = reader.peek("stop_sequence");
        }
        reader.skip()
    });
    fields.peek("stop_sequence").or(inner).filter(|_| read.is_ok())
}

/// Reads a `usage`: disjoint buckets. `None` when neither input nor output is told, or one figure is negative: then none of them is one.
pub(crate) fn read_usage(reader: &mut Reader<'_>) -> Result<Option<Usage>, Malformed> {
    let (mut input, mut output, mut read, mut written, mut hour) = (None, None, None, None, Some(0));
    let mut are_figures = true;
    reader.object(|key, reader| {
        let slot = match key.name() {
            "inputTokens" => &mut input,
            "outputTokens" => &mut output,
            "cacheReadInputTokens" => &mut read,
            "cacheWriteInputTokens" => &mut written,
            "cacheDetails" => {
                hour = reader.optional(hour_tokens)?.unwrap_or(Some(0));
                return Ok(());
            }
            _ => return reader.skip(),
        };
        let told = reader.optional(tokens)?;
        are_figures &= told != Some(None);
        *slot = told.flatten();
        Ok(())
    })?;
    let Some(hour) = hour.filter(|_| are_figures && (input.is_some() || output.is_some())) else { return Ok(None) };
    Ok(Some(Usage {
        prompt_tokens: input.unwrap_or(0),
        cache_read_tokens: read.unwrap_or(0),
        cache_write_tokens: written.unwrap_or(hour).saturating_sub(hour),
        cache_write_1h_tokens: hour,
        completion_tokens: output.unwrap_or(0),
        // Thoughts are in the output and not told apart.
        ..Usage::default()
    }))
}

/// `None` for a negative number.
fn tokens(reader: &mut Reader<'_>) -> Result<Option<u64>, Malformed> {
    Ok(count(reader.number()?.as_bytes()))
}

/// The tokens that were written to the cache for an hour; `None` where a number is negative.
fn hour_tokens(reader: &mut Reader<'_>) -> Result<Option<u64>, Malformed> {
    let mut sum = Some(0_u64);
    reader.array(|_, reader| {
        let is_hour = reader.peek("ttl").is_some_and(|ttl| ttl.is(CacheTtl::OneHour.word()));
        reader.object(|key, reader| match key.name() {
            "inputTokens" => {
                let tokens = tokens(reader)?;
                sum = sum.zip(tokens).map(|(sum, tokens)| sum.saturating_add(if is_hour { tokens } else { 0 }));
                Ok(())
            }
            _ => reader.skip(),
        })
    })?;
    Ok(sum)
}

/// Writes the members of a `usage`.
pub(crate) fn write_usage(usage: &Usage, cost: Option<NanoUsd>, object: &mut Object<'_>) {
    let written = usage.cache_write_tokens.saturating_add(usage.cache_write_1h_tokens);
    object.number("inputTokens", usage.prompt_tokens).number("outputTokens", usage.completion_tokens);
    object.number("totalTokens", usage.total_prompt_tokens().saturating_add(usage.completion_tokens));
    if usage.cache_read_tokens > 0 || written > 0 {
        object.number("cacheReadInputTokens", usage.cache_read_tokens).number("cacheWriteInputTokens", written);
    }
    if written > 0 {
        object.array("cacheDetails", |details| {
            for (ttl, tokens) in [(CacheTtl::FiveMinutes, usage.cache_write_tokens), (CacheTtl::OneHour, usage.cache_write_1h_tokens)] {
                if tokens > 0 {
                    details.object(|detail| {
                        detail.text("ttl", ttl.word()).number("inputTokens", tokens);
                    });
                }
            }
        });
    }
    if let Some(cost) = cost {
        cost.write(object.key("cost"));
    }
}

/// Reads a `cachePoint`; `None` for one of a kind or with members that nobody knows.
pub(crate) fn read_cache_point(reader: &mut Reader<'_>) -> Result<Option<CacheMark>, Malformed> {
    let mut mark = Some(CacheMark::default());
    reader.object(|key, reader| {
        match (key.name(), &mut mark) {
            ("type", mark) if !reader.text()?.is("default") => *mark = None,
            ("type", _) => {}
            ("ttl", mark) => {
                if let Some(word) = reader.optional(Reader::text)? {
                    let ttl = CacheTtl::from_word(word.as_bytes());
                    *mark = mark.filter(|_| ttl.is_some()).map(|_| CacheMark { ttl });
                }
            }
            (_, mark) => {
                *mark = None;
                reader.skip()?;
            }
        }
        Ok(())
    })?;
    Ok(mark)
}

/// The lives of caches that can be asked for.
pub(crate) const TTLS: [CacheTtl; 2] = [CacheTtl::FiveMinutes, CacheTtl::OneHour];

/// Writes a `cachePoint` in its block.
pub(crate) fn write_cache_point(mark: CacheMark, out: &mut Vec<u8>) {
    let mut block = Object::open(out);
    block.object("cachePoint", |point| {
        point.text("type", "default");
        point.optional_text("ttl", mark.ttl.and_then(|ttl| ttl.nearest(&TTLS)).map(CacheTtl::word));
    });
    block.close();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_in_disjoint_buckets() {
        let check = |json: &str, expected: Option<Usage>| {
            assert_eq!(read_usage(&mut Reader::new(json.as_bytes())), Ok(expected), "{json}");
        };
        let plain = Usage { prompt_tokens: 10, completion_tokens: 5, ..Usage::default() };
        check(r#"{"inputTokens":10,"outputTokens":5,"totalTokens":15}"#, Some(plain));
        check("{}", None);
        check(r#"{"totalTokens":15}"#, None);
        check(r#"{"inputTokens":0,"outputTokens":0}"#, Some(Usage::default()));
        let cached = Usage { cache_read_tokens: 7, cache_write_tokens: 3, cache_write_1h_tokens: 2, ..plain };
        check(
            r#"{"inputTokens":10,"outputTokens":5,"cacheReadInputTokens":7,"cacheWriteInputTokens":5,"cacheDetails":[{"ttl":"1h","inputTokens":2},{"inputTokens":3,"ttl":"5m"}]}"#,
            Some(cached),
        );
        check(r#"{"inputTokens":10,"outputTokens":5,"cacheReadInputTokens":7,"cacheWriteInputTokens":5}"#, {
            Some(Usage { cache_write_tokens: 5, cache_write_1h_tokens: 0, ..cached })
        });
        check(r#"{"inputTokens":-1,"outputTokens":5}"#, None);
        check(r#"{"inputTokens":10,"outputTokens":5,"cacheReadInputTokens":-7}"#, None);
        check(r#"{"inputTokens":10,"outputTokens":5,"cacheDetails":[{"ttl":"1h","inputTokens":-2}]}"#, None);
        for bad in [r#"{"inputTokens":"1"}"#, r#"{"cacheDetails":[1]}"#] {
            assert!(read_usage(&mut Reader::new(bad.as_bytes())).is_err(), "{bad}");
        }
    }

    #[test]
    fn usage_is_written_as_it_is_read() {
        let usage = Usage {
            prompt_tokens: 10,
            completion_tokens: 5,
            cache_read_tokens: 7,
            cache_write_tokens: 3,
            cache_write_1h_tokens: 2,
            ..Usage::default()
        };
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        write_usage(&usage, Some(NanoUsd(1_500)), &mut object);
        object.close();
        assert_eq!(
            String::from_utf8_lossy(&out),
            concat!(
                r#"{"inputTokens":10,"outputTokens":5,"totalTokens":27,"cacheReadInputTokens":7,"cacheWriteInputTokens":5,"#,
                r#""cacheDetails":[{"ttl":"5m","inputTokens":3},{"ttl":"1h","inputTokens":2}],"cost":0.0000015}"#
            )
        );
        assert_eq!(read_usage(&mut Reader::new(&out)), Ok(Some(usage)));
    }

    #[test]
    fn stop_reasons() {
        for (word, called, reason) in [
            ("end_turn", false, StopReason::End),
            ("end_turn", true, StopReason::ToolCalls),
            ("tool_use", true, StopReason::ToolCalls),
            ("tool_use", false, StopReason::End),
            ("max_tokens", true, StopReason::MaxTokens),
            ("stop_sequence", false, StopReason::StopSequence),
            ("guardrail_intervened", false, StopReason::ContentFilter),
            ("content_filtered", true, StopReason::ContentFilter),
            ("malformed_tool_use", true, StopReason::Failed),
            ("malformed_model_output", false, StopReason::Failed),
            ("model_context_window_exceeded", false, StopReason::ContextWindow),
            ("brand_new", false, StopReason::End),
        ] {
            assert_eq!(stop_reason(word.as_bytes(), called), reason, "{word} {called}");
        }
    }

    #[test]
    fn a_stop_sequence_is_found_where_it_was_asked_for() {
        for (json, found) in [
            (r####"{"stop_sequence":"###"}"####, Some("###")),
            (r####"{"delta":{"stop_sequence":"###"}}"####, Some("###")),
            (r#"{"delta":{"stop_sequence":null}}"#, None),
            ("{}", None),
            ("null", None),
        ] {
            assert_eq!(stop_sequence(&Reader::new(json.as_bytes())), found.map(fairlead_ir::Text::word), "{json}");
        }
    }
}
