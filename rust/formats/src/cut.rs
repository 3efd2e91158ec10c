//! The end of a stream that the gateway cuts before the model is done, because the money held for it is used up. In every dialect it is the end
//! of a reply that has become too long, with the figures; and it says why, where the dialect has a place for it.

use fairlead_ir::{Dialect, Raw, Stop, StopReason, Text};

/// The provider's word for the end in records, and in `native_finish_reason`: there is none, this is ours.
pub const WORD: &str = "budget";

/// The same for people: a comment before the last events, and Gemini's `finishMessage`.
pub const SAID: &str = "the budget that was held for this reply is used up";

/// Appends a comment, which belongs to the event behind it. Gemini's readers take none; Converse has none.
pub(crate) fn comment(dialect: Dialect, out: &mut Vec<u8>) {
    if !matches!(dialect, Dialect::GeminiGenerate | Dialect::BedrockConverse) {
        out.extend_from_slice(b": ");
        out.extend_from_slice(SAID.as_bytes());
        out.push(b'\n');
    }
}

/// Why a reply ends that is cut, for a reader of this dialect.
pub(crate) fn stop(dialect: Dialect) -> Stop<'static> {
    let native = match dialect {
        Dialect::GeminiGenerate => "MAX_TOKENS",
        Dialect::AnthropicMessages | Dialect::BedrockConverse => "max_tokens",
        Dialect::OpenaiChat | Dialect::OpenaiResponses => WORD,
    };
    let details = (dialect == Dialect::GeminiGenerate).then(|| Raw::owned(format!("\"{SAID}\"").into_bytes()));
    Stop { reason: StopReason::MaxTokens, native: Text::word(native), sequence: None, details }
}
