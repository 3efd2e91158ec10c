//! Names of request parameters in each dialect, for messages about them.

use crate::dialect::Dialect;

/// A parameter that dialects spell differently or lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Param {
    /// The output limit.
    MaxOutputTokens,
    /// `temperature`.
    Temperature,
    /// `top_p`.
    TopP,
    /// `top_k`.
    TopK,
    /// `min_p`.
    MinP,
    /// `top_a`.
    TopA,
    /// `frequency_penalty`.
    FrequencyPenalty,
    /// `presence_penalty`.
    PresencePenalty,
    /// `repetition_penalty`.
    RepetitionPenalty,
    /// `seed`.
    Seed,
    /// Stop sequences.
    Stop,
    /// The number of replies.
    Choices,
    /// Whether probabilities are wanted.
    Logprobs,
    /// How many alternatives.
    TopLogprobs,
    /// `logit_bias`.
    LogitBias,
    /// `prediction`.
    Prediction,
    /// How hard to think.
    Effort,
    /// A budget of thinking tokens.
    ReasoningBudget,
    /// Whether to think.
    ReasoningEnabled,
    /// What is shown of thoughts.
    ReasoningShow,
    /// The form of the reply's text.
    Format,
    /// `verbosity`.
    Verbosity,
    /// Kinds of output.
    Modalities,
    /// Voice and format of spoken output.
    Audio,
    /// The tools.
    Tools,
    /// Which tools may be called.
    ToolChoice,
    /// Whether several calls may come at once.
    ParallelToolCalls,
    /// The cache key.
    CacheKey,
    /// How long the prompt stays cached.
    CacheRetention,
    /// Caching up to the last block.
    CacheAutomatic,
    /// The end user.
    User,
    /// The caller's labels.
    Metadata,
    /// The service tier.
    ServiceTier,
    /// Whether the provider keeps the reply.
    Store,
}

impl Param {
    /// Every parameter, for tests and documentation.
    #[rustfmt::skip]
    pub const ALL: [Param; 34] = [
        Param::MaxOutputTokens, Param::Temperature, Param::TopP, Param::TopK, Param::MinP, Param::TopA, Param::FrequencyPenalty,
        Param::PresencePenalty, Param::RepetitionPenalty, Param::Seed, Param::Stop, Param::Choices, Param::Logprobs, Param::TopLogprobs,
        Param::LogitBias, Param::Prediction, Param::Effort, Param::ReasoningBudget, Param::ReasoningEnabled, Param::ReasoningShow,
        Param::Format, Param::Verbosity, Param::Modalities, Param::Audio, Param::Tools, Param::ToolChoice, Param::ParallelToolCalls,
        Param::CacheKey, Param::CacheRetention, Param::CacheAutomatic, Param::User, Param::Metadata, Param::ServiceTier, Param::Store,
    ];

    /// The JSON path in `dialect`; the common name where the dialect has none.
    pub const fn path(self, dialect: Dialect) -> &'static str {
        let names = self.names();
        match dialect {
            Dialect::OpenaiChat => names.0,
            Dialect::OpenaiResponses => names.1,
            Dialect::AnthropicMessages => names.2,
            Dialect::GeminiGenerate => names.3,
            Dialect::BedrockConverse => names.4,
        }
    }

    /// In the order of the dialects' numbers.
    #[rustfmt::skip]
    const fn names(self) -> (&'static str, &'static str, &'static str, &'static str, &'static str) {
        match self {
            Param::MaxOutputTokens   => ("max_completion_tokens", "max_output_tokens", "max_tokens", "generationConfig.maxOutputTokens", "inferenceConfig.maxTokens"),
            Param::Temperature       => ("temperature", "temperature", "temperature", "generationConfig.temperature", "inferenceConfig.temperature"),
            Param::TopP              => ("top_p", "top_p", "top_p", "generationConfig.topP", "inferenceConfig.topP"),
            Param::TopK              => ("top_k", "top_k", "top_k", "generationConfig.topK", "additionalModelRequestFields.top_k"),
            Param::MinP              => ("min_p", "min_p", "min_p", "min_p", "min_p"),
            Param::TopA              => ("top_a", "top_a", "top_a", "top_a", "top_a"),
            Param::FrequencyPenalty  => ("frequency_penalty", "frequency_penalty", "frequency_penalty", "generationConfig.frequencyPenalty", "frequency_penalty"),
            Param::PresencePenalty   => ("presence_penalty", "presence_penalty", "presence_penalty", "generationConfig.presencePenalty", "presence_penalty"),
            Param::RepetitionPenalty => ("repetition_penalty", "repetition_penalty", "repetition_penalty", "repetition_penalty", "repetition_penalty"),
            Param::Seed              => ("seed", "seed", "seed", "generationConfig.seed", "seed"),
            Param::Stop              => ("stop", "stop", "stop_sequences", "generationConfig.stopSequences", "inferenceConfig.stopSequences"),
            Param::Choices           => ("n", "n", "n", "generationConfig.candidateCount", "n"),
            Param::Logprobs          => ("logprobs", "include", "logprobs", "generationConfig.responseLogprobs", "logprobs"),
            Param::TopLogprobs       => ("top_logprobs", "top_logprobs", "top_logprobs", "generationConfig.logprobs", "top_logprobs"),
            Param::LogitBias         => ("logit_bias", "logit_bias", "logit_bias", "logit_bias", "logit_bias"),
            Param::Prediction        => ("prediction", "prediction", "prediction", "prediction", "prediction"),
            Param::Effort            => ("reasoning_effort", "reasoning.effort", "output_config.effort", "generationConfig.thinkingConfig.thinkingLevel", "outputConfig.effort"),
            Param::ReasoningBudget   => ("reasoning.max_tokens", "reasoning.max_tokens", "thinking.budget_tokens", "generationConfig.thinkingConfig.thinkingBudget", "additionalModelRequestFields.thinking.budget_tokens"),
            Param::ReasoningEnabled  => ("reasoning.enabled", "reasoning.enabled", "thinking.type", "generationConfig.thinkingConfig", "additionalModelRequestFields.thinking.type"),
            Param::ReasoningShow     => ("reasoning.exclude", "reasoning.summary", "thinking.display", "generationConfig.thinkingConfig.includeThoughts", "additionalModelRequestFields.thinking.display"),
            Param::Format            => ("response_format", "text.format", "output_config.format", "generationConfig.responseJsonSchema", "outputConfig.textFormat"),
            Param::Verbosity         => ("verbosity", "text.verbosity", "verbosity", "verbosity", "verbosity"),
            Param::Modalities        => ("modalities", "modalities", "modalities", "generationConfig.responseModalities", "modalities"),
            Param::Audio             => ("audio", "audio", "audio", "generationConfig.speechConfig", "audio"),
            Param::Tools             => ("tools", "tools", "tools", "tools", "toolConfig.tools"),
            Param::ToolChoice        => ("tool_choice", "tool_choice", "tool_choice", "toolConfig.functionCallingConfig", "toolConfig.toolChoice"),
            Param::ParallelToolCalls => ("parallel_tool_calls", "parallel_tool_calls", "tool_choice.disable_parallel_tool_use", "parallel_tool_calls", "parallel_tool_calls"),
            Param::CacheKey          => ("prompt_cache_key", "prompt_cache_key", "prompt_cache_key", "cachedContent", "prompt_cache_key"),
            Param::CacheRetention    => ("prompt_cache_retention", "prompt_cache_retention", "prompt_cache_retention", "prompt_cache_retention", "prompt_cache_retention"),
            Param::CacheAutomatic    => ("cache_control", "cache_control", "cache_control", "cache_control", "cache_control"),
            Param::User              => ("user", "user", "metadata.user_id", "user", "requestMetadata.user"),
            Param::Metadata          => ("metadata", "metadata", "metadata", "labels", "requestMetadata"),
            Param::ServiceTier       => ("service_tier", "service_tier", "service_tier", "serviceTier", "serviceTier"),
            Param::Store             => ("store", "store", "store", "store", "store"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_has_a_name_in_every_dialect() {
        for param in Param::ALL {
            for dialect in Dialect::ALL {
                assert!(!param.path(dialect).is_empty(), "{param:?} in {dialect:?}");
            }
        }
    }
}
