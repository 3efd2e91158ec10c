//! The figures as clients read them.

use fairlead_ir::{NanoUsd, Usage};

use crate::write::Object;

/// Writes the members of a usage object; `is_openrouter`: with what its clients insist on.
pub(crate) fn write_usage(usage: &Usage, cost: Option<NanoUsd>, is_openrouter: bool, object: &mut Object<'_>) {
    let prompt = usage.total_prompt_tokens();
    object.number("prompt_tokens", prompt).number("completion_tokens", usage.completion_tokens);
    object.number("total_tokens", prompt.saturating_add(usage.completion_tokens));
    if let Some(cost) = cost {
        cost.write(object.key("cost"));
    }
    if is_openrouter {
        object.flag("is_byok", false);
    }
    object.object("prompt_tokens_details", |details| {
        details.number("cached_tokens", usage.cache_read_tokens);
        details.number("cache_write_tokens", usage.cache_write_tokens.saturating_add(usage.cache_write_1h_tokens));
    });
    object.object("completion_tokens_details", |details| {
        details.number("reasoning_tokens", usage.reasoning_tokens);
    });
    if usage.web_searches > 0 {
        object.object("server_tool_use_details", |details| {
            details.number("web_search_requests", usage.web_searches);
        });
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::openai_chat::wire::read_usage_of;

    #[test]
    fn figures_come_back() {
        let usage = Usage {
            prompt_tokens: 5,
            cache_read_tokens: 3,
            cache_write_tokens: 2,
            completion_tokens: 7,
            reasoning_tokens: 4,
            web_searches: 1,
            ..Usage::default()
        };
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        write_usage(&usage, Some(NanoUsd(1500)), true, &mut object);
        object.close();
        let expected = concat!(
            r#"{"prompt_tokens":10,"completion_tokens":7,"total_tokens":17,"cost":0.0000015,"is_byok":false,"#,
            r#""prompt_tokens_details":{"cached_tokens":3,"cache_write_tokens":2},"completion_tokens_details":{"reasoning_tokens":4},"#,
            r#""server_tool_use_details":{"web_search_requests":1}}"#
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert_eq!(read_usage_of(expected.as_bytes(), false), Some(usage));
    }
}
