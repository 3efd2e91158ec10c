//! The wire formats by name, and the two manners in which the traffic port speaks them.

/// A wire format. The names are fixed by the contract and used in configuration, catalogue and Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI Chat Completions.
    OpenaiChat,
    /// OpenAI Responses.
    OpenaiResponses,
    /// Anthropic Messages.
    AnthropicMessages,
    /// Google Gemini `generateContent`.
    GeminiGenerate,
    /// AWS Bedrock Converse.
    BedrockConverse,
}

impl Dialect {
    /// Every dialect, in the order of their stable numbers.
    pub const ALL: [Dialect; 5] =
        [Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::AnthropicMessages, Dialect::GeminiGenerate, Dialect::BedrockConverse];

    /// The contract's name, such as `openai_chat`.
    pub const fn name(self) -> &'static str {
        match self {
            Dialect::OpenaiChat => "openai_chat",
            Dialect::OpenaiResponses => "openai_responses",
            Dialect::AnthropicMessages => "anthropic_messages",
            Dialect::GeminiGenerate => "gemini_generate",
            Dialect::BedrockConverse => "bedrock_converse",
        }
    }

    /// The dialect with this contract name.
    pub fn from_name(name: &str) -> Option<Dialect> {
        Dialect::ALL.into_iter().find(|dialect| dialect.name() == name)
    }

    /// A number that journals store; never reused for another dialect.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The dialect with this stored number.
    pub fn from_number(number: u8) -> Option<Dialect> {
        Dialect::ALL.get(usize::from(number)).copied()
    }
}

/// How replies look. Fixed by the path prefix: `/api/v1` is OpenRouter's, `/v1` the dialect's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Manner {
    /// `/v1`: bytes as the provider sent them, except that `usage` gains `cost`.
    Native,
    /// `/api/v1`: id, model, provider and OpenRouter's mandatory fields are spliced in.
    Openrouter,
}

#[cfg(test)]
mod tests {
    use super::Dialect;

    #[test]
    fn names_and_numbers_round_trip() {
        for dialect in Dialect::ALL {
            assert_eq!(Dialect::from_name(dialect.name()), Some(dialect));
            assert_eq!(Dialect::from_number(dialect.number()), Some(dialect));
        }
        assert_eq!(Dialect::from_name("cohere"), None);
        assert_eq!(Dialect::from_number(5), None);
    }
}
