//! Why a reply ended, in OpenRouter's five words, and how each dialect spells it.

/// Why a reply ended. The provider's own word is kept beside it (`native_finish_reason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finish {
    /// The model stopped by itself or met a stop sequence.
    Stop,
    /// A token limit was reached.
    Length,
    /// The model wants tools run.
    ToolCalls,
    /// A filter or refusal ended it.
    ContentFilter,
    /// The provider failed.
    Error,
}

impl Finish {
    /// OpenRouter's (and OpenAI's) word.
    pub const fn name(self) -> &'static str {
        match self {
            Finish::Stop => "stop",
            Finish::Length => "length",
            Finish::ToolCalls => "tool_calls",
            Finish::ContentFilter => "content_filter",
            Finish::Error => "error",
        }
    }

    /// Maps a provider's word. Case does not matter (some send `STOP`); unknown words mean `stop`, the raw word stays visible.
    pub fn from_native(native: &str) -> Finish {
        let is = |words: &[&str]| words.iter().any(|word| native.eq_ignore_ascii_case(word));
        match () {
            () if is(&["stop", "end_turn", "stop_sequence"]) => Finish::Stop,
            () if is(&["length", "max_tokens", "model_context_window_exceeded", "max_output_tokens"]) => Finish::Length,
            () if is(&["tool_calls", "function_call", "tool_use"]) => Finish::ToolCalls,
            () if is(&["content_filter", "refusal", "safety", "recitation", "prohibited_content", "blocklist", "spii"]) => {
                Finish::ContentFilter
            }
            () if is(&["error", "failed"]) => Finish::Error,
            () => Finish::Stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_both_dialects() {
        for (native, finish) in [
            ("stop", Finish::Stop),
            ("STOP", Finish::Stop),
            ("end_turn", Finish::Stop),
            ("stop_sequence", Finish::Stop),
            ("max_tokens", Finish::Length),
            ("length", Finish::Length),
            ("tool_use", Finish::ToolCalls),
            ("function_call", Finish::ToolCalls),
            ("refusal", Finish::ContentFilter),
            ("error", Finish::Error),
            ("brand_new", Finish::Stop),
        ] {
            assert_eq!(Finish::from_native(native), finish, "{native}");
        }
    }
}
