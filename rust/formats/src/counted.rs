//! Answers to requests that ask how many tokens a prompt has.

use fairlead_ir::Dialect;

use crate::write::Object;

/// The JSON body that says `tokens` in `dialect`; `only_text`: none of them are media's, which Google's clients see apart. `None` where
/// the dialect has no such question (chat).
pub fn body(dialect: Dialect, tokens: u64, only_text: bool) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut body = Object::open(&mut out);
    match dialect {
        Dialect::OpenaiChat => return None,
        Dialect::OpenaiResponses => body.text("object", "response.input_tokens").number("input_tokens", tokens),
        Dialect::AnthropicMessages => body.number("input_tokens", tokens),
        Dialect::GeminiGenerate => write_total(tokens, only_text, &mut body),
        Dialect::BedrockConverse => body.number("inputTokens", tokens),
    };
    body.close();
    Some(out)
}

fn write_total<'b, 'o>(tokens: u64, only_text: bool, body: &'b mut Object<'o>) -> &'b mut Object<'o> {
    body.number("totalTokens", tokens);
    if only_text {
        body.array("promptTokensDetails", |details| {
            details.object(|text| {
                text.text("modality", "TEXT").number("tokenCount", tokens);
            });
        });
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_has_its_own_words() {
        let check = |dialect, only_text, expected: Option<&str>| {
            assert_eq!(body(dialect, 14, only_text).as_deref(), expected.map(str::as_bytes), "{dialect:?}");
        };
        check(Dialect::OpenaiChat, true, None);
        check(Dialect::OpenaiResponses, true, Some(r#"{"object":"response.input_tokens","input_tokens":14}"#));
        check(Dialect::AnthropicMessages, false, Some(r#"{"input_tokens":14}"#));
        let details = r#"{"totalTokens":14,"promptTokensDetails":[{"modality":"TEXT","tokenCount":14}]}"#;
        check(Dialect::GeminiGenerate, true, Some(details));
        check(Dialect::GeminiGenerate, false, Some(r#"{"totalTokens":14}"#));
        check(Dialect::BedrockConverse, true, Some(r#"{"inputTokens":14}"#));
    }
}
