//! Which endpoint serves a request, and in which dialect. One model, its first endpoint that speaks the client's dialect, else the first
//! that can be translated to; fallbacks and balancing will make this a list, and everything after it already takes the choice as given.

use super::failure::{Failure, shown};
use crate::routes::Ask;
use fairlead_formats::request::{Facts, Purpose};
use fairlead_ir::{Dialect, ErrorKind};
use fairlead_snapshot::{Endpoint, Found, Model, Operation, Principal, Provider, Snapshot, Target};

/// An endpoint in a snapshot, as indexes, so that it can outlive the borrow, and the dialect it is spoken to in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    model: usize,
    endpoint: usize,
    pub(crate) upstream: Dialect,
    /// What the endpoint is asked to do.
    pub(crate) operation: Operation,
    /// The preset would rather have the call refused than lose anything.
    pub(crate) strict: bool,
    /// The preset wants cache marks where the caller put none.
    pub(crate) automatic_cache: bool,
}

impl Choice {
    pub(crate) fn model(self, snapshot: &Snapshot) -> &Model {
        &snapshot.models[self.model]
    }

    pub(crate) fn endpoint(self, snapshot: &Snapshot) -> &Endpoint {
        &self.model(snapshot).endpoints[self.endpoint]
    }

    pub(crate) fn provider(self, snapshot: &Snapshot) -> &Provider {
        &snapshot.providers[self.endpoint(snapshot).provider]
    }

    /// Where the request goes. `choose` found it there.
    pub(crate) fn target(self, snapshot: &Snapshot) -> Option<&Target> {
        self.endpoint(snapshot).target(self.upstream)
    }
}

/// Chooses, or says what stands in the way.
pub(crate) fn choose(snapshot: &Snapshot, principal: &Principal, facts: &Facts, ask: &Ask) -> Result<Choice, Failure> {
    let found = snapshot.find(&facts.model).ok_or_else(|| unknown_model(snapshot, &facts.model))?;
    let model = &snapshot.models[found.model];
    if !principal.may_use(&model.id) {
        let message = format!("this key may not use the model {}", shown(&model.id));
        return Err(Failure::new(ErrorKind::PermissionDenied, message).param(Some("model")));
    }
    place(model, ask, facts)
        .map(|(endpoint, upstream, operation)| {
            let Found { model, strict_translation: strict, automatic_cache } = found;
            Choice { model, endpoint, upstream, operation, strict, automatic_cache }
        })
        .ok_or_else(|| no_endpoint(model, ask.purpose))
}

/// The first endpoint that does the work as it is asked for, else the first that does it in another dialect.
fn place(model: &Model, ask: &Ask, facts: &Facts) -> Option<(usize, Dialect, Operation)> {
    let generation = if facts.stream { Operation::Stream } else { Operation::Generate };
    let as_asked = match ask.purpose {
        Purpose::Embeddings => (Dialect::OpenaiChat, Operation::Embeddings),
        Purpose::Completions => (Dialect::OpenaiChat, Operation::Completions),
        Purpose::Generate | Purpose::CountTokens => (ask.dialect, generation),
    };
    // Tried last, so that the provider says itself what it will not take.
    let takes = |endpoint: &Endpoint, dialect| {
        !(dialect == Dialect::OpenaiChat && facts.thinks_with_tools && endpoint.traits.no_thinking_chat_tools)
    };
    let translated = || match ask.purpose {
        Purpose::Embeddings => None,
        _ => first(model, &fidelity(ask.dialect).map(|dialect| (dialect, generation)), takes),
    };
    first(model, &[as_asked], takes).or_else(translated).or_else(|| first(model, &[as_asked], |_, _| true))
}

/// The first endpoint that goes one of these ways and `takes` the request there; each way is asked in this order.
fn first(model: &Model, ways: &[(Dialect, Operation)], takes: impl Fn(&Endpoint, Dialect) -> bool) -> Option<(usize, Dialect, Operation)> {
    let serves = |endpoint: &Endpoint, dialect, operation| {
        let known = operation != Operation::Completions || endpoint.traits.native_completions;
        known && takes(endpoint, dialect) && endpoint.target(dialect).is_some_and(|target| target.request_line(operation).is_some())
    };
    model.endpoints.iter().enumerate().find_map(|(index, endpoint)| {
        let (dialect, operation) = ways.iter().find(|(dialect, operation)| serves(endpoint, *dialect, *operation))?;
        Some((index, *dialect, *operation))
    })
}

/// Dialects in the order in which they keep most of what a client of `dialect` says.
const fn fidelity(dialect: Dialect) -> [Dialect; 5] {
    use Dialect::{AnthropicMessages, BedrockConverse, GeminiGenerate, OpenaiChat, OpenaiResponses};
    match dialect {
        OpenaiChat => [OpenaiChat, OpenaiResponses, AnthropicMessages, GeminiGenerate, BedrockConverse],
        OpenaiResponses => [OpenaiResponses, OpenaiChat, AnthropicMessages, GeminiGenerate, BedrockConverse],
        AnthropicMessages => [AnthropicMessages, BedrockConverse, OpenaiResponses, GeminiGenerate, OpenaiChat],
        GeminiGenerate => [GeminiGenerate, OpenaiResponses, AnthropicMessages, BedrockConverse, OpenaiChat],
        BedrockConverse => [BedrockConverse, AnthropicMessages, OpenaiResponses, GeminiGenerate, OpenaiChat],
    }
}

fn unknown_model(snapshot: &Snapshot, name: &str) -> Failure {
    let message = match (snapshot.nearest(name), name.strip_prefix("@preset/")) {
        (Some(near), _) => format!("there is no model {}; did you mean \"{near}\"?", shown(name)),
        (None, Some(preset)) => format!("there is no preset {}; a table [presets.NAME] of the configuration makes one", shown(preset)),
        (None, None) => format!("there is no model {}; GET /api/v1/models lists them", shown(name)),
    };
    Failure::new(ErrorKind::ModelNotFound, message).param(Some("model"))
}

fn no_endpoint(model: &Model, purpose: Purpose) -> Failure {
    let what = match purpose {
        Purpose::Embeddings => "turns texts into vectors",
        Purpose::Completions | Purpose::Generate | Purpose::CountTokens => "can be spoken to in any dialect",
    };
    Failure::new(ErrorKind::ModelNotFound, format!("no endpoint of {} {what}", shown(&model.id))).param(Some("model"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use fairlead_formats::request::RequestScan;
    use fairlead_ir::Manner;

    /// Two endpoints; `first` and `second` are their dialects, `quirks` those of both.
    fn snapshot(first: &[&str], second: &[&str], quirks: &[&str]) -> Snapshot {
        let list = |words: &[&str]| words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(",");
        let bases = Dialect::ALL.map(|dialect| format!("\"{}\":\"http://p.test/v1\"", dialect.name())).join(",");
        let endpoint = |id: u32, dialects: &[&str]| {
            let (dialects, quirks) = (list(dialects), list(quirks));
            format!(
                r#"{{"id":{id},"provider":"p","upstream_model":"m","dialects":[{dialects}],"quirks":[{quirks}],"price":{{"prompt":1,"completion":1}}}}"#
            )
        };
        let endpoints = [endpoint(1, first), endpoint(2, second)].join(",");
        let json = format!(
            r#"{{"version":1,"providers":[{{"slug":"p","name":"P","dialects":{{{bases}}}}}],"models":[{{"id":"a/b","endpoints":[{endpoints}]}}]}}"#
        );
        Snapshot::from_json(json.as_bytes()).unwrap()
    }

    fn facts(dialect: Dialect, body: &str) -> Facts {
        let mut scan = RequestScan::new(dialect, 64);
        scan.feed(body.as_bytes()).unwrap();
        scan.finish(&[body.as_bytes()]).unwrap()
    }

    fn check(snapshot: &Snapshot, purpose: Purpose, dialect: Dialect, members: &str, expected: Option<(usize, Dialect, Operation)>) {
        let ask = Ask { purpose, dialect, manner: Manner::Native, address: None, json_array: false };
        let facts = facts(dialect, &format!(r#"{{"model":"a/b","messages":[]{members}}}"#));
        assert_eq!(place(&snapshot.models[0], &ask, &facts), expected, "{purpose:?} {dialect:?} {members}");
    }

    #[test]
    fn what_is_not_known_is_told_apart() {
        let snapshot = snapshot(&["openai_chat"], &["openai_chat"], &[]);
        let check = |name: &str, words: &str| assert_eq!(unknown_model(&snapshot, name).message, words);
        check("a/c", "there is no model \"a/c\"; did you mean \"a/b\"?");
        check("something", "there is no model \"something\"; GET /api/v1/models lists them");
        check("@preset/x", "there is no preset \"x\"; a table [presets.NAME] of the configuration makes one");
    }

    #[test]
    fn the_clients_dialect_goes_first_then_what_keeps_most() {
        use Dialect::{AnthropicMessages, BedrockConverse, OpenaiChat, OpenaiResponses};
        use Operation::{Completions, Embeddings, Generate, Stream};
        let both = snapshot(&["gemini_generate", "bedrock_converse"], &["openai_chat"], &[]);
        check(&both, Purpose::Generate, OpenaiChat, "", Some((1, OpenaiChat, Generate)));
        check(&both, Purpose::Generate, OpenaiChat, r#","stream":true"#, Some((1, OpenaiChat, Stream)));
        check(&both, Purpose::Generate, AnthropicMessages, r#","max_tokens":1"#, Some((0, BedrockConverse, Generate)));
        check(&both, Purpose::Embeddings, OpenaiChat, "", Some((1, OpenaiChat, Embeddings)));
        check(&both, Purpose::Completions, OpenaiChat, "", Some((0, Dialect::GeminiGenerate, Generate)));
        let native = snapshot(&["gemini_generate"], &["openai_chat"], &["native_completions"]);
        check(&native, Purpose::Completions, OpenaiChat, "", Some((1, OpenaiChat, Completions)));
        let converse = snapshot(&["bedrock_converse"], &["bedrock_converse"], &[]);
        check(&converse, Purpose::Embeddings, OpenaiChat, "", None);
        let tools = r#","tools":[{"type":"function"}]"#;
        let picky = snapshot(&["openai_chat"], &["openai_responses"], &["no_thinking_chat_tools"]);
        check(&picky, Purpose::Generate, OpenaiChat, "", Some((0, OpenaiChat, Generate)));
        check(&picky, Purpose::Generate, OpenaiChat, tools, Some((1, OpenaiResponses, Generate)));
        // Nowhere else to go: the provider says itself what it will not take.
        let chat = snapshot(&["openai_chat"], &["openai_chat"], &["no_thinking_chat_tools"]);
        check(&chat, Purpose::Generate, OpenaiChat, tools, Some((0, OpenaiChat, Generate)));
    }
}
