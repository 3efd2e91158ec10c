//! What an endpoint does differently from its dialect's own words: flags by name, kept as data in the catalogue.
//!
//! Code asks for a trait, never for a provider. A reader of replies needs no flag where the bytes themselves tell (a reply with
//! `reasoning_content` has `reasoning_content`); flags are for what must be known before anything is sent, and for what is ambiguous.

use std::fmt;

macro_rules! traits {
    ($($name:ident: $text:literal,)+) => {
        /// What an endpoint does differently. All false: exactly as its dialect's owner documents it.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Traits {
            $(#[doc = $text] pub $name: bool,)+
        }

        impl Traits {
            /// Every name with its meaning, in the order of documentation.
            pub const ALL: &'static [(&'static str, &'static str)] = &[$((stringify!($name), $text),)+];

            /// None of them.
            pub const NONE: Traits = Traits { $($name: false,)+ };

            fn set(&mut self, name: &str) -> bool {
                match name {
                    $(stringify!($name) => self.$name = true,)+
                    _ => return false,
                }
                true
            }
        }
    };
}

traits! {
    no_stream_options: "answers 400 to `stream_options`",
    legacy_max_tokens: "knows the output limit of a chat request as `max_tokens`",
    no_developer_role: "knows `system`, not `developer`",
    no_system_role: "knows no instructions: they are put before the first user's text",
    no_mid_system: "takes instructions only before the first message: later ones become a user's text",
    no_parallel_tool_calls: "does not know `parallel_tool_calls`",
    no_forced_tool_choice: "refuses to be forced to call a tool",
    no_strict_tools: "does not know `strict` on tools",
    no_json_schema: "does not know JSON Schema as a form of reply",
    no_json_object: "does not know the JSON object as a form of reply",
    no_sampling: "refuses `temperature`, `top_p` and `top_k`",
    no_stop: "does not know stop sequences",
    no_penalties: "does not know penalties",
    no_seed: "does not know `seed`",
    no_prefill: "refuses a conversation that ends with the assistant",
    no_custom_tools: "does not know tools that take free text: they become functions with one text",
    cache_control_parts: "takes Anthropic's `cache_control` in chat requests",
    cache_breakpoints: "takes OpenAI's `prompt_cache_breakpoint` on parts of messages",
    random_seed: "knows `seed` as `random_seed`",
    object_arguments: "wants the arguments of tool calls as an object where OpenAI has text",
    media_tool_results: "takes images in a chat's tool messages",
    no_thinking_chat_tools: "refuses tools in chat requests unless `reasoning_effort` is `none`, and takes them in Responses (OpenAI's GPT-5.4 and later)",
    native_completions: "serves legacy completions itself",
    open_sampling: "knows `top_k`, `min_p`, `top_a` and `repetition_penalty` in chat requests",
    openrouter_reasoning: "takes OpenRouter's `reasoning` object and `reasoning_details`",
    reasoning_in: "wants earlier thoughts back as `reasoning` of chat messages",
    reasoning_content_in: "wants earlier thoughts back as `reasoning_content` of chat messages",
    reasoning_content_required: "refuses an assistant's message of a tool turn without `reasoning_content`",
    reasoning_outside_completion: "counts reasoning beside the completion's tokens, not inside",
    no_encrypted_reasoning: "refuses to be asked for encrypted reasoning (OpenAI's models that do not think)",
    content_lists: "writes the texts and thoughts of chat replies as lists (Mistral)",
    think_tags: "writes thoughts into the text, between `<think>` and `</think>`",
    budget_thinking: "thinks with `thinking.budget_tokens` and knows no effort (Anthropic's older models on Bedrock)",
    adaptive_thinking: "thinks with `thinking.type = adaptive` and `output_config.effort` (Anthropic's newer models)",
    always_thinking: "refuses to have its thinking switched off",
    native_schema: "takes `output_config.format` (Anthropic's newer models)",
    raw_predict: "takes Messages with the model in the path (`:rawPredict`) and the version in the body (Claude on Vertex AI)",
    block_binding: "checks the prefix of thoughts and can be asked to drop those that do not fit (Anthropic's newest models)",
    no_function_ids: "refuses `id` on function calls and results (Vertex)",
    thinking_level: "takes `thinkingLevel` instead of `thinkingBudget` (Gemini 3)",
    thought_signatures: "refuses the first call of a step without a thought signature (Gemini 3)",
    no_media_results: "refuses media in the answers of functions (Gemini before 3)",
    schema_without_tools: "refuses a schema of the reply together with tools (Gemini before 3)",
}

/// A name that is no trait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownTrait(
    /// The name.
    pub String,
);

impl fmt::Display for UnknownTrait {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{}\" is no quirk", self.0)
    }
}

impl core::error::Error for UnknownTrait {}

impl Traits {
    /// The traits with these names.
    ///
    /// # Errors
    /// The first name that is none.
    pub fn from_names<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Result<Traits, UnknownTrait> {
        let mut traits = Traits::default();
        for name in names {
            if !traits.set(name.as_ref()) {
                return Err(UnknownTrait(name.as_ref().to_owned()));
            }
        }
        Ok(traits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_once() {
        let names: Vec<&str> = Traits::ALL.iter().map(|(name, _)| *name).collect();
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), names.len());
        assert!(Traits::from_names(&names).is_ok_and(|traits| traits.no_stream_options && traits.schema_without_tools));
        assert_eq!(Traits::from_names(["no_seed", "nose"]), Err(UnknownTrait("nose".to_owned())));
    }
}
