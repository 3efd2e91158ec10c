//! The service tier that a reply was served in, in the words of who reads it.

use fairlead_ir::{Dialect, Text};

/// What a caller is told; `None` where its dialect has no word for it, or no place.
pub(crate) fn told<'t>(source: Dialect, caller: Dialect, tier: &Text<'t>) -> Option<Text<'t>> {
    use Dialect::{AnthropicMessages, BedrockConverse, GeminiGenerate, OpenaiChat, OpenaiResponses};
    if source == caller {
        return Some(tier.clone());
    }
    let is_usual = matches!(tier.as_bytes(), b"default" | b"standard" | b"STANDARD" | b"on_demand");
    match caller {
        OpenaiChat if source == OpenaiResponses => Some(tier.clone()),
        OpenaiChat | OpenaiResponses if is_usual => Some(Text::word("default")),
        OpenaiChat | OpenaiResponses => matches!(tier.as_bytes(), b"auto" | b"flex" | b"scale" | b"priority").then(|| tier.clone()),
        AnthropicMessages if is_usual => Some(Text::word("standard")),
        AnthropicMessages => matches!(tier.as_bytes(), b"priority" | b"batch").then(|| tier.clone()),
        BedrockConverse => matches!(tier.as_bytes(), b"default" | b"flex" | b"priority").then(|| tier.clone()),
        GeminiGenerate => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Dialect::{AnthropicMessages, GeminiGenerate, OpenaiChat, OpenaiResponses};

    #[test]
    fn tiers_are_told_in_the_readers_words() {
        let check = |source, caller, tier: &'static str, expected: Option<&'static str>| {
            assert_eq!(told(source, caller, &Text::word(tier)), expected.map(Text::word), "{source:?} {caller:?} {tier}");
        };
        check(OpenaiChat, OpenaiChat, "ultrafast", Some("ultrafast"));
        check(OpenaiChat, OpenaiResponses, "priority", Some("priority"));
        check(OpenaiChat, OpenaiResponses, "ultrafast", None);
        check(OpenaiResponses, OpenaiChat, "ultrafast", Some("ultrafast"));
        check(OpenaiChat, AnthropicMessages, "default", Some("standard"));
        check(OpenaiChat, AnthropicMessages, "flex", None);
        check(AnthropicMessages, OpenaiChat, "standard", Some("default"));
        check(AnthropicMessages, OpenaiChat, "batch", None);
        check(OpenaiChat, GeminiGenerate, "default", None);
    }
}
