//! Which endpoints may serve a request, in which order and in which dialects. Everything after it takes the order as given: balancing and
//! health will make it here, and nowhere else.

use super::failure::{Failure, shown};
use crate::routes::Ask;
use fairlead_formats::request::{Facts, Purpose};
use fairlead_ir::{Dialect, ErrorKind};
use fairlead_snapshot::{Endpoint, Found, Model, Operation, Principal, Provider, Snapshot, Target};

/// An endpoint in a snapshot, as indexes, so that it can outlive the borrow, and the dialect it is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Whether both are endpoints of one model.
    pub(crate) fn is_of_model_of(self, other: Choice) -> bool {
        self.model == other.model
    }

    /// How many credentials it can be asked with.
    pub(crate) fn credentials(self, snapshot: &Snapshot) -> usize {
        self.target(snapshot).map_or(0, |target| target.heads.len())
    }

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

/// Where a request may go, what is tried first in front.
pub(crate) struct Plan {
    pub(crate) first: Choice,
    /// What may be tried when that fails; no endpoint stands here twice.
    pub(crate) rest: Vec<Choice>,
}

impl Plan {
    /// Goes to the next choice, if there is one.
    pub(crate) fn leave_first(&mut self) -> bool {
        let next = (!self.rest.is_empty()).then(|| self.rest.remove(0));
        next.map(|next| self.first = next).is_some()
    }
}

/// Makes the plan, or says what stands in the way: the models as the request names them, each with its endpoints in the catalogue's order,
/// those that speak the client's dialect before those that are translated to.
pub(crate) fn choose(snapshot: &Snapshot, principal: &Principal, facts: &Facts, ask: &Ask) -> Result<Plan, Failure> {
    let most = snapshot.settings.attempts.max(1);
    let named = named(snapshot, principal, &facts.model, "model")?;
    let mut first = places(snapshot, named, ask, facts);
    if facts.fallback_models.is_empty() {
        let choice = first.next().ok_or_else(|| no_endpoint(&snapshot.models[named.model], ask.purpose))?;
        return Ok(Plan { first: choice, rest: first.take(most - 1).collect() });
    }
    let mut all: Vec<Choice> = first.collect();
    for name in &facts.fallback_models {
        let found = self::named(snapshot, principal, name, "models")?;
        if all.iter().all(|choice| choice.model != found.model) {
            all.extend(places(snapshot, found, ask, facts));
        }
    }
    all.truncate(most);
    let mut all = all.into_iter();
    let first = all.next().ok_or_else(|| no_endpoint(&snapshot.models[named.model], ask.purpose))?;
    Ok(Plan { first, rest: all.collect() })
}

/// The model that `param` of the request names, if this key may use it.
fn named(snapshot: &Snapshot, principal: &Principal, name: &str, param: &'static str) -> Result<Found, Failure> {
    let found = snapshot.find(name).ok_or_else(|| unknown_model(snapshot, name).param(Some(param)))?;
    let id = &snapshot.models[found.model].id;
    if !principal.may_use(id) {
        let message = format!("this key may not use the model {}", shown(id));
        return Err(Failure::new(ErrorKind::PermissionDenied, message).param(Some(param)));
    }
    Ok(found)
}

/// The endpoints of a model that can do what is asked, each in its best way: those that do it as it is asked for, then those that do it in
/// another dialect, and last those that will say themselves what they do not take.
fn places<'a>(snapshot: &'a Snapshot, found: Found, ask: &'a Ask, facts: &'a Facts) -> impl Iterator<Item = Choice> + 'a {
    let Found { model, strict_translation: strict, automatic_cache } = found;
    let endpoints = &snapshot.models[model].endpoints;
    let most = if facts.allow_fallbacks { endpoints.len() } else { 1 };
    let ways = [Way::AsAsked, Way::Translated, Way::Reluctant].into_iter().flat_map(move |way| {
        let enumerated = endpoints.iter().enumerate();
        enumerated.filter_map(move |(index, endpoint)| {
            let (best, upstream, operation) = best_way(endpoint, ask, facts)?;
            (best == way).then_some((index, upstream, operation))
        })
    });
    ways.take(most).map(move |(endpoint, upstream, operation)| Choice { model, endpoint, upstream, operation, strict, automatic_cache })
}

/// How well an endpoint suits, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    AsAsked,
    Translated,
    Reluctant,
}

/// The best way to ask an endpoint, if there is one.
fn best_way(endpoint: &Endpoint, ask: &Ask, facts: &Facts) -> Option<(Way, Dialect, Operation)> {
    let generation = if facts.stream { Operation::Stream } else { Operation::Generate };
    let (dialect, operation) = match ask.purpose {
        Purpose::Embeddings => (Dialect::OpenaiChat, Operation::Embeddings),
        Purpose::Completions => (Dialect::OpenaiChat, Operation::Completions),
        Purpose::Generate | Purpose::CountTokens => (ask.dialect, generation),
    };
    // Tried last, so that the provider says itself what it will not take.
    let takes = |dialect| !(dialect == Dialect::OpenaiChat && facts.thinks_with_tools && endpoint.traits.no_thinking_chat_tools);
    let serves = |dialect, operation| {
        let known = operation != Operation::Completions || endpoint.traits.native_completions;
        known && endpoint.target(dialect).is_some_and(|target| target.request_line(operation).is_some())
    };
    let as_asked = serves(dialect, operation);
    if as_asked && takes(dialect) {
        return Some((Way::AsAsked, dialect, operation));
    }
    if ask.purpose != Purpose::Embeddings {
        let other = fidelity(ask.dialect).into_iter().find(|dialect| takes(*dialect) && serves(*dialect, generation));
        if let Some(dialect) = other {
            return Some((Way::Translated, dialect, generation));
        }
    }
    as_asked.then_some((Way::Reluctant, dialect, operation))
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
    use fairlead_snapshot::Directory;

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

    fn check(snapshot: &Snapshot, purpose: Purpose, dialect: Dialect, members: &str, expected: &[(usize, Dialect, Operation)]) {
        let ask = Ask { purpose, dialect, manner: Manner::Native, address: None, json_array: false };
        let facts = facts(dialect, &format!(r#"{{"model":"a/b","messages":[]{members}}}"#));
        let found = snapshot.find("a/b").unwrap();
        let places: Vec<_> =
            places(snapshot, found, &ask, &facts).map(|choice| (choice.endpoint, choice.upstream, choice.operation)).collect();
        assert_eq!(places, expected, "{purpose:?} {dialect:?} {members}");
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
        let gemini = Dialect::GeminiGenerate;
        let both = snapshot(&["gemini_generate", "bedrock_converse"], &["openai_chat"], &[]);
        check(&both, Purpose::Generate, OpenaiChat, "", &[(1, OpenaiChat, Generate), (0, gemini, Generate)]);
        check(&both, Purpose::Generate, OpenaiChat, r#","stream":true"#, &[(1, OpenaiChat, Stream), (0, gemini, Stream)]);
        check(&both, Purpose::Generate, OpenaiChat, r#","provider":{"allow_fallbacks":false}"#, &[(1, OpenaiChat, Generate)]);
        let converse_first = [(0, BedrockConverse, Generate), (1, OpenaiChat, Generate)];
        check(&both, Purpose::Generate, AnthropicMessages, r#","max_tokens":1"#, &converse_first);
        check(&both, Purpose::Embeddings, OpenaiChat, "", &[(1, OpenaiChat, Embeddings)]);
        check(&both, Purpose::Completions, OpenaiChat, "", &[(0, gemini, Generate), (1, OpenaiChat, Generate)]);
        let native = snapshot(&["gemini_generate"], &["openai_chat"], &["native_completions"]);
        check(&native, Purpose::Completions, OpenaiChat, "", &[(1, OpenaiChat, Completions), (0, gemini, Generate)]);
        let converse = snapshot(&["bedrock_converse"], &["bedrock_converse"], &[]);
        check(&converse, Purpose::Embeddings, OpenaiChat, "", &[]);
        let tools = r#","tools":[{"type":"function"}]"#;
        let picky = snapshot(&["openai_chat"], &["openai_responses"], &["no_thinking_chat_tools"]);
        check(&picky, Purpose::Generate, OpenaiChat, "", &[(0, OpenaiChat, Generate), (1, OpenaiResponses, Generate)]);
        // Where nobody else is left, the provider says itself what it will not take.
        check(&picky, Purpose::Generate, OpenaiChat, tools, &[(1, OpenaiResponses, Generate), (0, OpenaiChat, Generate)]);
    }

    #[test]
    fn models_are_tried_as_they_are_named() {
        let json = |attempts: usize| {
            let model = |id: &str, endpoints: &[u32]| {
                let endpoint =
                    |id: &u32| format!(r#"{{"id":{id},"provider":"p","upstream_model":"m","price":{{"prompt":1,"completion":1}}}}"#);
                let endpoints = endpoints.iter().map(endpoint).collect::<Vec<_>>().join(",");
                format!(r#"{{"id":"{id}","aliases":["{id}-alias"],"endpoints":[{endpoints}]}}"#)
            };
            let models = [model("a/b", &[1, 2]), model("a/c", &[3, 4]), model("a/d", &[5])].join(",");
            format!(
                r#"{{"version":1,"settings":{{"attempts":{attempts}}},"providers":[{{"slug":"p","name":"P","dialects":{{"openai_chat":"http://p.test/v1"}}}}],"models":[{models}]}}"#
            )
        };
        let directory = Directory::default();
        let hash = [0xab; 32];
        let key = format!(r#"{{"id":1,"hash":"{}","account":1,"models":["a/b","a/c"]}}"#, "ab".repeat(32));
        directory.apply(format!(r#"{{"epoch":1,"seq":1,"upsert":[{key}]}}"#).as_bytes()).unwrap();
        let principal = directory.find(&hash).unwrap();
        let check = |attempts: usize, members: &str, expected: Result<&[u64], &str>| {
            let snapshot = Snapshot::from_json(json(attempts).as_bytes()).unwrap();
            let ask =
                Ask { purpose: Purpose::Generate, dialect: Dialect::OpenaiChat, manner: Manner::Native, address: None, json_array: false };
            let facts = facts(Dialect::OpenaiChat, &format!(r#"{{{members},"messages":[]}}"#));
            let planned = choose(&snapshot, &principal, &facts, &ask);
            let ids = planned.map(|plan| {
                let all = std::iter::once(plan.first).chain(plan.rest);
                all.map(|choice| choice.endpoint(&snapshot).id).collect::<Vec<_>>()
            });
            assert_eq!(ids.as_deref().map_err(|failure| failure.message.as_str()), expected, "{members}");
        };
        check(3, r#""model":"a/b""#, Ok(&[1, 2]));
        check(1, r#""model":"a/b""#, Ok(&[1]));
        check(9, r#""model":"a/b","models":["a/c","a/b-alias","a/c-alias"]"#, Ok(&[1, 2, 3, 4]));
        check(3, r#""models":["a/c","a/b"]"#, Ok(&[3, 4, 1]));
        check(9, r#""models":["a/c","a/b"],"provider":{"allow_fallbacks":false}"#, Ok(&[3, 1]));
        check(3, r#""model":"a/b","models":["a/x"]"#, Err("there is no model \"a/x\"; did you mean \"a/b\"?"));
        check(3, r#""model":"a/b","models":["a/d"]"#, Err("this key may not use the model \"a/d\""));
    }
}
