//! What families of real models refuse, demand and do differently, as data. A model's name may end in one: `sim/tools-claude-new`.

/// The traits of a family; see the table in `README.md`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    /// `temperature`, `top_p`, `top_k`, penalties.
    pub(crate) takes_sampling: bool,
    pub(crate) takes_forced_tools: bool,
    /// A conversation that ends with the assistant's words.
    pub(crate) takes_prefill: bool,
    pub(crate) takes_stops: bool,
    pub(crate) takes_system: bool,
    pub(crate) takes_tools: bool,
    /// Chat's old `max_tokens`.
    pub(crate) takes_max_tokens: bool,
    /// Chat's function tools together with a reasoning effort.
    pub(crate) takes_tools_with_effort: bool,
    pub(crate) reasons: bool,
    pub(crate) takes_thinking_off: bool,
    /// Anthropic's `budget_tokens`; those without take `adaptive` only.
    pub(crate) takes_budgets: bool,
    pub(crate) takes_adaptive: bool,
    /// Gemini's `thinkingLevel`.
    pub(crate) takes_levels: bool,
    /// Gemini's structured output beside tools.
    pub(crate) takes_schema_with_tools: bool,
    /// Anthropic's system messages between the others.
    pub(crate) takes_late_system: bool,
    /// Signatures hold for the exact prefix.
    pub(crate) binds_prefix: bool,
    /// Fields that OpenAI does not know.
    pub(crate) takes_unknown_fields: bool,
    /// Gemini's first function call of a step must have its signature.
    pub(crate) demands_signatures: bool,
    /// Assistant messages with tool calls must have their `reasoning_content`.
    pub(crate) demands_reasoning: bool,
    /// Says what it wrote to its implicit cache.
    pub(crate) reports_cache_writes: bool,
    pub(crate) host: &'static Host,
}

/// How a host that is compatible with chat completions differs in its replies.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) reasoning: ReasoningPlace,
    pub(crate) usage: UsagePlace,
    pub(crate) figures: Figures,
    /// A chunk without choices, id, model and object comes first.
    pub(crate) blank_first_chunk: bool,
    /// A comment that comes before the first chunk.
    pub(crate) comment: Option<&'static str>,
    pub(crate) calls: Calls,
    /// `content` is a list of chunks.
    pub(crate) chunked_content: bool,
    /// Tool calls end with `stop`.
    pub(crate) always_stop: bool,
}

/// Where the reasoning stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReasoningPlace {
    /// A field of this name beside `content`.
    Field(&'static str),
    /// `reasoning` and `reasoning_details`.
    Details,
    /// Between `<think>` and `</think>` in the content.
    Tags,
    /// `thinking` chunks of the content.
    Chunks,
    Nowhere,
}

/// Where a stream's usage stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UsagePlace {
    /// In a chunk of its own if asked for.
    OnRequest,
    /// In the chunk with the finish reason, asked for or not.
    LastChunk,
    /// There, inside the choice.
    Choice,
    /// There, in `x_groq`, and in a chunk of its own if asked for.
    XGroq,
    /// In every chunk, if asked for.
    EveryChunk,
    /// In a chunk of its own that has a choice with an empty delta.
    WithChoice,
}

/// What is odd about the figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figures {
    Usual,
    /// Reasoning is not in `completion_tokens`, but in `total_tokens`.
    ReasoningOutside,
    /// `prompt_cache_hit_tokens` and `prompt_cache_miss_tokens` too.
    HitAndMiss,
    /// `cost` as an object.
    CostObject,
    /// `cost` as a number, and its details.
    CostNumber,
    /// No details.
    Bare,
}

/// How tool calls are streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calls {
    Fragments,
    /// Each in one delta.
    Whole,
    /// Each in one delta, the arguments an object.
    WholeObjects,
    /// Each in one delta with index 0.
    WholeIndexZero,
    /// In fragments without an index.
    NoIndex,
}

/// As OpenAI does it, except that reasoning is shown.
const USUAL: Host = Host {
    reasoning: ReasoningPlace::Field("reasoning_content"),
    usage: UsagePlace::OnRequest,
    figures: Figures::Usual,
    blank_first_chunk: false,
    comment: None,
    calls: Calls::Fragments,
    chunked_content: false,
    always_stop: false,
};

/// Takes everything that its dialect has.
pub(crate) const PLAIN: Family = Family {
    name: "",
    takes_sampling: true,
    takes_forced_tools: true,
    takes_prefill: true,
    takes_stops: true,
    takes_system: true,
    takes_tools: true,
    takes_max_tokens: true,
    takes_tools_with_effort: true,
    reasons: true,
    takes_thinking_off: true,
    takes_budgets: true,
    takes_adaptive: true,
    takes_levels: true,
    takes_schema_with_tools: true,
    takes_late_system: true,
    binds_prefix: false,
    takes_unknown_fields: false,
    demands_signatures: true,
    demands_reasoning: false,
    reports_cache_writes: false,
    host: &USUAL,
};

/// A compatible host, with parameters of its own.
const HOSTED: Family = Family { takes_unknown_fields: true, ..PLAIN };

/// All families there are.
pub(crate) static FAMILIES: &[Family] = &[
    Family { name: "claude", takes_adaptive: false, takes_late_system: false, ..PLAIN },
    Family {
        name: "claude-new",
        takes_sampling: false,
        takes_forced_tools: false,
        takes_prefill: false,
        takes_thinking_off: false,
        takes_budgets: false,
        binds_prefix: true,
        ..PLAIN
    },
    Family { name: "gpt", reasons: false, host: &Host { reasoning: ReasoningPlace::Nowhere, ..USUAL }, ..PLAIN },
    Family {
        name: "gpt-new",
        takes_sampling: false,
        takes_stops: false,
        takes_max_tokens: false,
        takes_tools_with_effort: false,
        reports_cache_writes: true,
        host: &Host { reasoning: ReasoningPlace::Nowhere, ..USUAL },
        ..PLAIN
    },
    Family { name: "gemini", demands_signatures: false, takes_levels: false, takes_schema_with_tools: false, ..PLAIN },
    Family { name: "gemini-new", takes_thinking_off: false, ..PLAIN },
    Family { name: "gemma", takes_system: false, takes_tools: false, reasons: false, ..PLAIN },
    Family {
        name: "deepseek",
        demands_reasoning: true,
        host: &Host { figures: Figures::HitAndMiss, comment: Some(": keep-alive"), ..USUAL },
        ..HOSTED
    },
    Family {
        name: "vllm",
        host: &Host { reasoning: ReasoningPlace::Field("reasoning"), usage: UsagePlace::EveryChunk, figures: Figures::Bare, ..USUAL },
        ..HOSTED
    },
    Family { name: "sglang", host: &Host { calls: Calls::NoIndex, figures: Figures::Bare, ..USUAL }, ..HOSTED },
    Family { name: "groq", host: &Host { reasoning: ReasoningPlace::Field("reasoning"), usage: UsagePlace::XGroq, ..USUAL }, ..HOSTED },
    Family { name: "together", host: &Host { reasoning: ReasoningPlace::Tags, figures: Figures::Bare, ..USUAL }, ..HOSTED },
    Family { name: "fireworks", host: &Host { usage: UsagePlace::LastChunk, calls: Calls::Whole, ..USUAL }, ..HOSTED },
    Family {
        name: "perplexity",
        host: &Host { reasoning: ReasoningPlace::Tags, usage: UsagePlace::LastChunk, figures: Figures::CostObject, ..USUAL },
        ..HOSTED
    },
    Family { name: "xai", takes_stops: false, host: &Host { figures: Figures::ReasoningOutside, ..USUAL }, ..HOSTED },
    Family {
        name: "openrouter",
        host: &Host {
            reasoning: ReasoningPlace::Details,
            usage: UsagePlace::WithChoice,
            figures: Figures::CostNumber,
            comment: Some(": OPENROUTER PROCESSING"),
            ..USUAL
        },
        ..HOSTED
    },
    Family { name: "moonshot", host: &Host { usage: UsagePlace::Choice, figures: Figures::Bare, ..USUAL }, ..HOSTED },
    Family {
        name: "mistral",
        host: &Host {
            reasoning: ReasoningPlace::Chunks,
            usage: UsagePlace::LastChunk,
            figures: Figures::Bare,
            calls: Calls::WholeObjects,
            chunked_content: true,
            ..USUAL
        },
        ..HOSTED
    },
    Family { name: "azure", host: &Host { reasoning: ReasoningPlace::Nowhere, blank_first_chunk: true, ..USUAL }, ..PLAIN },
    Family {
        name: "ollama",
        host: &Host {
            reasoning: ReasoningPlace::Field("reasoning"),
            calls: Calls::WholeIndexZero,
            always_stop: true,
            figures: Figures::Bare,
            ..USUAL
        },
        ..HOSTED
    },
];

/// The family called `name`.
pub(crate) fn find(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_has_every_family() {
        let manual = include_str!("../README.md");
        for family in FAMILIES {
            assert!(manual.contains(&format!("| `{}` |", family.name)), "{}", family.name);
            assert_eq!(find(family.name), Some(family));
        }
        assert_eq!(find(""), None);
    }
}
