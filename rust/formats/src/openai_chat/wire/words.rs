//! Why a reply ended, in the words of the many hosts that speak this dialect.

use fairlead_ir::StopReason;

/// What a host's word means. Case does not matter (some send `STOP`); unknown words mean that the model had said everything, and the word
/// itself stays visible.
pub(crate) fn stop_reason(native: &str) -> StopReason {
    let is = |words: &[&str]| words.iter().any(|word| native.eq_ignore_ascii_case(word));
    match () {
        () if is(&["stop", "eos", "end_turn"]) => StopReason::End,
        () if is(&["stop_sequence"]) => StopReason::StopSequence,
        () if is(&["length", "max_tokens", "max_output_tokens"]) => StopReason::MaxTokens,
        // Mistral's word for a full context.
        () if is(&["model_length", "model_context_window_exceeded"]) => StopReason::ContextWindow,
        () if is(&["tool_calls", "function_call", "tool_use"]) => StopReason::ToolCalls,
        // `sensitive` is GLM's.
        () if is(&["content_filter", "sensitive", "safety", "recitation", "prohibited_content", "blocklist", "spii"]) => {
            StopReason::ContentFilter
        }
        () if is(&["refusal"]) => StopReason::Refusal,
        // The last two are GLM's and DeepSeek's.
        () if is(&["error", "failed", "network_error", "insufficient_system_resource"]) => StopReason::Failed,
        () => StopReason::End,
    }
}

/// The reason that stands when it is known what the reply holds: hosts say `stop` beside calls, `tool_calls` without any, and `stop` behind
/// the words of a refusal. A reply that was cut is cut, whatever it holds.
pub(crate) fn settled(reason: StopReason, has_calls: bool, refused: bool) -> StopReason {
    match reason {
        StopReason::End | StopReason::StopSequence if has_calls => StopReason::ToolCalls,
        StopReason::End | StopReason::ToolCalls if refused && !has_calls => StopReason::Refusal,
        StopReason::ToolCalls if !has_calls => StopReason::End,
        reason => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_many_hosts() {
        for (native, has_calls, refused, reason) in [
            ("stop", false, false, StopReason::End),
            ("STOP", false, false, StopReason::End),
            ("eos", false, false, StopReason::End),
            ("brand_new", false, false, StopReason::End),
            ("stop", true, false, StopReason::ToolCalls),
            ("tool_calls", true, false, StopReason::ToolCalls),
            ("tool_calls", false, false, StopReason::End),
            ("function_call", true, false, StopReason::ToolCalls),
            ("length", true, false, StopReason::MaxTokens),
            ("MAX_TOKENS", false, false, StopReason::MaxTokens),
            ("model_length", false, false, StopReason::ContextWindow),
            ("content_filter", true, false, StopReason::ContentFilter),
            ("sensitive", false, false, StopReason::ContentFilter),
            ("insufficient_system_resource", false, false, StopReason::Failed),
            ("network_error", false, false, StopReason::Failed),
            ("error", false, false, StopReason::Failed),
            ("stop", false, true, StopReason::Refusal),
            ("stop", true, true, StopReason::ToolCalls),
            ("length", false, true, StopReason::MaxTokens),
        ] {
            assert_eq!(settled(stop_reason(native), has_calls, refused), reason, "{native}");
        }
    }
}
