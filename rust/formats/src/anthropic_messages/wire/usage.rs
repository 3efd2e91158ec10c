//! The figures of a reply, as Anthropic writes them.

use fairlead_ir::{NanoUsd, Text, Usage};

use crate::write::Object;

/// What stands beside the figures.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Beside<'b> {
    /// What the caller pays.
    pub(crate) cost: Option<NanoUsd>,
    /// OpenRouter's manner has a member more.
    pub(crate) openrouter: bool,
    pub(crate) service_tier: Option<&'b Text<'b>>,
}

/// Writes the member `usage`, which typed clients cannot do without; what is not known is zero.
pub(crate) fn write(usage: &Usage, beside: &Beside<'_>, object: &mut Object<'_>) {
    object.object("usage", |object| {
        object.number("input_tokens", usage.prompt_tokens);
        object.number("cache_creation_input_tokens", usage.cache_write_tokens.saturating_add(usage.cache_write_1h_tokens));
        object.number("cache_read_input_tokens", usage.cache_read_tokens);
        object.object("cache_creation", |object| {
            object.number("ephemeral_5m_input_tokens", usage.cache_write_tokens);
            object.number("ephemeral_1h_input_tokens", usage.cache_write_1h_tokens);
        });
        object.number("output_tokens", usage.completion_tokens);
        if usage.reasoning_tokens > 0 {
            object.object("output_tokens_details", |object| {
                object.number("thinking_tokens", usage.reasoning_tokens);
            });
        }
        if usage.web_searches > 0 {
            object.object("server_tool_use", |object| {
                object.number("web_search_requests", usage.web_searches);
            });
        }
        object.optional_escaped("service_tier", beside.service_tier);
        if let Some(cost) = beside.cost {
            cost.write(object.key("cost"));
        }
        if beside.openrouter {
            object.flag("is_byok", false);
        }
    });
}
