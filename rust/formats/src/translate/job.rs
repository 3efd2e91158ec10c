//! A request while it is written, for writers in several steps.

use fairlead_ir::{Dialect, Losses, Member, Param, Request, Severity};

use super::{Bridge, Target};
use crate::request::Refusal;

/// What every step looks at.
pub(crate) struct Job<'j, 'r> {
    pub(crate) request: &'r Request<'r>,
    pub(crate) target: &'j Target<'j>,
    /// The request was read from the target's dialect: nobody's words need translating.
    pub(crate) own: bool,
    pub(crate) losses: &'j mut Losses,
    pub(crate) bridge: &'j mut Bridge,
}

impl<'j, 'r> Job<'j, 'r> {
    pub(crate) fn new(request: &'r Request<'r>, target: &'j Target<'j>, losses: &'j mut Losses, bridge: &'j mut Bridge) -> Job<'j, 'r> {
        Job { request, target, own: request.source == target.dialect, losses, bridge }
    }

    pub(crate) fn lose(&mut self, param: Param, severity: Severity, reason: &'static str) {
        self.losses.param(param, self.request, severity, reason);
    }

    /// Tells the loss of what is said of keeping replies and prompts, where the provider takes no word about it.
    pub(crate) fn lose_keeping(&mut self) {
        if self.request.labels.store == Some(true) {
            self.lose(Param::Store, Severity::Hint, "the provider does not keep replies");
        }
        if self.request.cache.key.is_some() {
            self.lose(Param::CacheKey, Severity::Hint, "the provider's cache has no keys");
        }
        if self.request.cache.retention.is_some() {
            self.lose(Param::CacheRetention, Severity::Hint, "the provider's cache is told by marks how long to keep");
        }
    }

    /// Tells that the caller's labels stay with us.
    pub(crate) fn lose_metadata(&mut self) {
        if self.request.labels.metadata.as_ref().is_some_and(|metadata| !metadata.is("{}") && !metadata.is("null")) {
            self.lose(Param::Metadata, Severity::Hint, "labels are not sent to the provider");
        }
    }

    /// Tells the loss of a member of the request that only another dialect knows.
    pub(crate) fn lose_parameter(&mut self, member: &Member<'_>) {
        let path = String::from_utf8_lossy(member.name.as_bytes()).into_owned();
        self.losses.at(path, member.loss(), "this provider has no such parameter");
    }

    /// The refusal of a conversation that ends with the assistant.
    pub(crate) fn unfinished(&self) -> Refusal {
        let model = self.target.model;
        let message =
            format!("the conversation ends with the assistant, whose message \"{model}\" does not continue; end with a user's message");
        Refusal::field(self.conversation(), message)
    }

    /// The member that holds the conversation, as the caller has it.
    fn conversation(&self) -> &'static str {
        match self.request.source {
            Dialect::OpenaiChat | Dialect::AnthropicMessages | Dialect::BedrockConverse => "messages",
            Dialect::OpenaiResponses => "input",
            Dialect::GeminiGenerate => "contents",
        }
    }

    /// The refusal of a conversation of which nothing is left: what was left out, so that its writer sees which words were not understood.
    pub(crate) fn nothing_left(&self) -> Refusal {
        const NAMED: usize = 3;
        let place = self.conversation();
        let gone = self.losses.as_slice().iter().filter(|loss| loss.severity == Severity::Dropped);
        let gone: Vec<String> = gone.take(NAMED).map(|loss| format!("{} ({})", loss.path, loss.reason)).collect();
        let left_out = if gone.is_empty() { String::new() } else { format!("; left out: {}", gone.join(", ")) };
        let message = format!("nothing of \"{place}\" can be sent to this model{left_out}; add a user's message with text");
        Refusal::field(place, message)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use crate::translate::{Target, dialects};
    use fairlead_ir::Dialect::{self, AnthropicMessages, BedrockConverse, GeminiGenerate, OpenaiChat, OpenaiResponses};

    #[test]
    fn a_conversation_of_which_nothing_is_left() {
        let check = |source: Dialect, body: &str, words: &str| {
            for target in [AnthropicMessages, BedrockConverse] {
                let request = dialects::decode_request(source, body.as_bytes()).unwrap();
                let refusal = dialects::encode_request(&request, &Target::new(target, "m")).unwrap_err();
                assert!(refusal.message.contains(words), "{}", refusal.message);
            }
        };
        let strange = r#"{"messages":[{"role":"user","content":[{"type":"strange"}]}]}"#;
        check(OpenaiChat, strange, r#""messages" can be sent to this model; left out: messages[0].content[0] (only the dialect"#);
        check(OpenaiResponses, r#"{"messages":[]}"#, r#"nothing of "input" can be sent to this model; add a user's message"#);
        check(GeminiGenerate, r#"{"contents":[]}"#, r#"nothing of "contents" can be sent to this model; add a user's message"#);
    }
}
