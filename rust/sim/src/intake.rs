//! Everything that is checked before a reply begins, and what the reply will be.

use crate::anthropic_vertex::Unwrapped;
use crate::ask::Ask;
use crate::call::{Call, Fields};
use crate::context::Context;
use crate::ledger::Dialect;
use crate::plan::{Model, Persona, Plan, flaky_fault};
use crate::reply::{self, Refusal, Wire, Wishes};
use crate::request::{Head, Request};
use crate::script::Script;
use crate::tally::Tally;
use crate::{
    Shared, anthropic_messages, anthropic_vertex, bedrock_converse, gemini_generate, openai_chat, openai_completions, openai_embeddings,
    openai_responses, sigv4,
};
use serde_json::Value;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

/// A unary reply is made whole in memory.
const MAX_UNARY_BYTES: u64 = 256 << 20;

/// A valid request, and the reply that it will get.
pub(crate) struct Prepared<'a> {
    pub(crate) name: String,
    pub(crate) persona: Persona,
    pub(crate) strict: bool,
    pub(crate) stream: bool,
    pub(crate) wire: Wire,
    pub(crate) wishes: Wishes,
    pub(crate) ask: Ask<'a>,
    pub(crate) script: Script,
    pub(crate) plan: Plan,
    /// Who asks.
    pub(crate) credential: String,
    /// The body, if it was read whole; else null.
    pub(crate) body: Value,
}

impl Prepared<'_> {
    /// Puts what is known of the reply into the record.
    pub(crate) fn note(&self, shared: &Shared, tally: &mut Tally<'_>) {
        let record = &mut tally.record;
        record.model = shared.ledger().intern(&self.name);
        record.tag = self.script.tag;
        record.stream = self.stream;
        record.status = 200;
        record.prompt_tokens = self.plan.prompt_tokens;
        record.cached_tokens = self.plan.cached_tokens;
        record.cache_write_tokens = self.plan.cache_write_tokens;
        record.planned_tokens = self.plan.completion_tokens();
        record.reasoning_tokens = self.plan.reasoning_tokens();
    }
}

/// Checks `request` and plans the reply.
pub(crate) fn prepare<'r>(shared: &Shared, request: &'r Request, dialect: Dialect) -> Result<Prepared<'r>, Refusal> {
    check_method(&request.head, "POST")?;
    let credential = check_credential(shared, request, dialect)?;
    check_headers(&request.head, dialect)?;
    match dialect {
        Dialect::OpenaiChat | Dialect::AnthropicMessages => prepare_fast(shared, request, dialect, credential),
        _ => prepare_judged(shared, request, dialect, credential),
    }
}

/// The liberal way of the two dialects that have one; whoever is to be judged is read again.
fn prepare_fast<'r>(shared: &Shared, request: &'r Request, dialect: Dialect, credential: String) -> Result<Prepared<'r>, Refusal> {
    let call = Call::parse(&request.body).map_err(unparsed)?;
    let name = call.model.as_ref().map(|model| model.0.as_ref()).unwrap_or_default();
    let max_tokens = match dialect {
        Dialect::AnthropicMessages => anthropic_messages::check(&call)?,
        _ => openai_chat::check(&call)?,
    };
    let persona = find(name, dialect)?;
    let script = script(shared, call.sim.map(|script| script.get()))?;
    let context = Context { shared, request, dialect, persona, credential };
    let stream = call.stream.unwrap_or(false);
    let usage = call.stream_options.as_ref().and_then(|Fields(options)| options.include_usage).unwrap_or(false);
    let wishes = Wishes { usage, obfuscation: false, tier: call.tier() };
    let strict = script.strict.unwrap_or(persona.has_family() || shared.judging.load(Ordering::Relaxed));
    let ask = match dialect {
        Dialect::AnthropicMessages if strict => anthropic_messages::read(&context, &parse(&request.body)?, version_header(request))?,
        _ if strict => openai_chat::read(&context, &parse(&request.body)?)?,
        _ => call.ask(max_tokens),
    };
    Intake { context, name, strict, stream, wire: Wire::Events, wishes, script }.plan(ask, Value::Null)
}

/// The dialects that are always judged.
fn prepare_judged<'r>(shared: &Shared, request: &'r Request, dialect: Dialect, credential: String) -> Result<Prepared<'r>, Refusal> {
    let body = parse(&request.body)?;
    let Unwrapped { body, version } = match dialect {
        Dialect::AnthropicVertex => anthropic_vertex::unwrap(request, body)?,
        _ => Unwrapped { body, version: "" },
    };
    let target = Target::of(request, &body, dialect);
    let name = target.model.as_str();
    if name.is_empty() {
        return Err(Refusal::bad_request("you must provide a model parameter").param("model"));
    }
    let persona = find(name, dialect)?;
    let script = script(shared, scripted(&body).map(Value::to_string).as_deref())?;
    let context = Context { shared, request, dialect, persona, credential };
    let flag = |pointer: &str| body.pointer(pointer).and_then(Value::as_bool);
    let wishes = Wishes {
        usage: flag("/stream_options/include_usage").unwrap_or(false),
        obfuscation: flag("/stream_options/include_obfuscation").unwrap_or(true),
        tier: reply::tier(body.get("service_tier")),
    };
    let ask = match dialect {
        Dialect::AnthropicVertex => anthropic_messages::read(&context, &body, version)?,
        Dialect::GeminiGenerate => gemini_generate::read(&context, &body)?,
        Dialect::BedrockConverse => bedrock_converse::read(&context, &body)?,
        Dialect::OpenaiCompletions => openai_completions::read(&context, &body)?,
        Dialect::OpenaiEmbeddings => openai_embeddings::read(&body)?,
        _ => openai_responses::read(&context, &body)?,
    };
    Intake { context, name, strict: true, stream: target.stream, wire: target.wire, wishes, script }.plan(ask, body)
}

/// What some dialects say in the path and others in the body.
pub(crate) struct Target {
    pub(crate) model: String,
    stream: bool,
    wire: Wire,
}

impl Target {
    fn of(request: &Request, body: &Value, dialect: Dialect) -> Self {
        match dialect {
            Dialect::GeminiGenerate => return Self::of_gemini(request),
            Dialect::BedrockConverse => return Self::of_bedrock(request),
            _ => {}
        }
        let model = body.get("model").and_then(Value::as_str).unwrap_or_default();
        let stream = body.get("stream").and_then(Value::as_bool).unwrap_or(false);
        Self { model: model.to_owned(), stream, wire: Wire::Events }
    }

    /// `…/models/{model}:{action}`; models may have slashes and colons themselves.
    pub(crate) fn of_gemini(request: &Request) -> Self {
        let (_, path) = request.head.path.split_once("/models/").unwrap_or_default();
        let (model, action) = path.rsplit_once(':').unwrap_or((path, ""));
        let events = request.head.query.as_deref().is_some_and(|query| query.split('&').any(|pair| pair == "alt=sse"));
        Self {
            model: percent_decoded(model),
            stream: action == "streamGenerateContent",
            wire: if events { Wire::Events } else { Wire::Array },
        }
    }

    /// `/model/{model}/{action}`
    pub(crate) fn of_bedrock(request: &Request) -> Self {
        let path = request.head.path.strip_prefix("/model/").unwrap_or_default();
        let (model, action) = path.rsplit_once('/').unwrap_or((path, ""));
        let wire = if action == "converse-stream" { Wire::Binary } else { Wire::Events };
        Self { model: percent_decoded(model), stream: wire == Wire::Binary, wire }
    }
}

/// Where a body has its script: Amazon's own field for what it does not know, else the top.
fn scripted(body: &Value) -> Option<&Value> {
    body.pointer("/additionalModelRequestFields/sim").or_else(|| body.get("sim"))
}

/// `text` with its percent escapes resolved; what is no escape, and what would not be UTF-8, stays.
pub(crate) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = tail.get(..2).filter(|_| byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
        {
            Some(decoded) => {
                bytes.push(decoded);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// What is known of a request when it has been read.
struct Intake<'i> {
    context: Context<'i>,
    name: &'i str,
    strict: bool,
    stream: bool,
    wire: Wire,
    wishes: Wishes,
    script: Script,
}

impl Intake<'_> {
    fn plan<'r>(self, ask: Ask<'r>, body: Value) -> Result<Prepared<'r>, Refusal> {
        let Self { context, name, strict, stream, wire, wishes, mut script } = self;
        let Context { shared, dialect, persona, .. } = context;
        let plan = match dialect {
            Dialect::OpenaiEmbeddings => Plan::without_words(&ask, &script),
            _ => Plan::new(persona, strict, &ask, &script).map_err(Refusal::bad_request)?,
        };
        if !stream && plan.bytes() > MAX_UNARY_BYTES {
            return Err(Refusal::bad_request(format!("sim: a unary reply may have {MAX_UNARY_BYTES} bytes at most")));
        }
        if plan.is_blocked() {
            blocked(dialect)?;
        }
        if persona.model == Model::Flaky && script.fault.is_none() {
            script.fault = flaky_fault(shared.options.seed, shared.flaky_requests.fetch_add(1, Ordering::Relaxed));
        }
        Ok(Prepared {
            name: name.to_owned(),
            persona,
            strict,
            stream,
            wire,
            wishes,
            ask,
            script,
            plan,
            credential: context.credential,
            body,
        })
    }
}

/// The body as JSON.
pub(crate) fn parse(body: &[u8]) -> Result<Value, Refusal> {
    let body: Value = serde_json::from_slice(body).map_err(|error| unparsed(error.to_string()))?;
    if body.is_object() { Ok(body) } else { Err(unparsed("expected an object".to_owned())) }
}

fn unparsed(error: String) -> Refusal {
    Refusal::bad_request(format!("We could not parse the JSON body of your request: {error}"))
}

/// The script in the request, or else the next one that was set up for whoever comes.
fn script(shared: &Shared, own: Option<&str>) -> Result<Script, Refusal> {
    let queued = if own.is_none() { shared.next_script() } else { None };
    match own.or(queued.as_deref()) {
        Some(script) => Script::parse(script).map_err(|error| Refusal::bad_request(format!("sim: {error}")).param("sim")),
        None => Ok(Script::default()),
    }
}

/// Dialects in which a blocked prompt is an error.
fn blocked(dialect: Dialect) -> Result<(), Refusal> {
    match dialect {
        Dialect::OpenaiChat | Dialect::OpenaiCompletions => Err(Refusal::bad_request(
            "The response was filtered due to the prompt triggering the content management policy. Please modify your prompt and retry.",
        )
        .param("prompt")
        .code("content_filter")),
        Dialect::OpenaiResponses => Err(Refusal::bad_request(
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again with a different prompt.",
        )
        .code("invalid_prompt")),
        _ => Ok(()),
    }
}

pub(crate) fn find(name: &str, dialect: Dialect) -> Result<Persona, Refusal> {
    Persona::find(name).ok_or_else(|| match dialect {
        Dialect::AnthropicMessages => Refusal::new(404, format!("model: {name}")),
        Dialect::AnthropicVertex => {
            Refusal::new(404, format!("Publisher Model `{name}` was not found or your project does not have access to it."))
        }
        Dialect::BedrockConverse => Refusal::bad_request("The provided model identifier is invalid."),
        Dialect::GeminiGenerate => {
            let what = "is not found for API version v1beta, or is not supported for generateContent";
            let advice = "Call ListModels to see the list of available models and their supported methods.";
            Refusal::new(404, format!("models/{name} {what}. {advice}"))
        }
        _ => Refusal::new(404, format!("The model `{name}` does not exist or you do not have access to it.")).code("model_not_found"),
    })
}

pub(crate) fn check_method(head: &Head, method: &str) -> Result<(), Refusal> {
    if head.method == method {
        return Ok(());
    }
    Err(Refusal::new(405, format!("Not allowed to {} on {} (use {method})", head.method, head.path)).code("method_not_allowed"))
}

/// The key, if it is good; of a signed request, the access key.
pub(crate) fn check_credential(shared: &Shared, request: &Request, dialect: Dialect) -> Result<String, Refusal> {
    let in_query = || {
        let query = request.head.query.as_deref().filter(|_| dialect == Dialect::GeminiGenerate)?;
        query.split('&').find_map(|pair| pair.strip_prefix("key=")).map(percent_decoded)
    };
    let given = match dialect {
        // Google takes tokens there, and no keys.
        Dialect::AnthropicVertex => request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned),
        _ => request.head.credential.clone().or_else(in_query),
    };
    let given = given.unwrap_or_default();
    if given.is_empty() {
        return match dialect {
            Dialect::BedrockConverse => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                sigv4::verify(request, "bedrock", &shared.options.aws_secret_access_key, now).map(str::to_owned)
            }
            Dialect::AnthropicMessages => Err(Refusal::new(401, "x-api-key header is required")),
            Dialect::AnthropicVertex => Err(Refusal::new(401, "Request is missing required authentication credential.")),
            Dialect::GeminiGenerate => Err(Refusal::new(
                403,
                "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API.",
            )),
            _ => Err(Refusal::new(401, "You didn't provide an API key.")),
        };
    }
    if shared.options.api_key.as_deref().is_some_and(|expected| expected != given) {
        return Err(match dialect {
            Dialect::AnthropicMessages => Refusal::new(401, "invalid x-api-key"),
            Dialect::AnthropicVertex => {
                Refusal::new(401, "Request had invalid authentication credentials.").code("ACCESS_TOKEN_TYPE_UNSUPPORTED")
            }
            Dialect::BedrockConverse => {
                Refusal::new(403, "The security token included in the request is invalid.").code("UnrecognizedClientException")
            }
            Dialect::GeminiGenerate => Refusal::bad_request("API key not valid. Please pass a valid API key.").code("API_KEY_INVALID"),
            _ => Refusal::new(401, "Incorrect API key provided.").code("invalid_api_key"),
        });
    }
    Ok(given)
}

/// The version that Anthropic's own API is told in a header.
pub(crate) fn version_header(request: &Request) -> &str {
    request.header("anthropic-version").unwrap_or_default()
}

pub(crate) fn check_headers(head: &Head, dialect: Dialect) -> Result<(), Refusal> {
    if !head.json {
        return Err(Refusal::bad_request("Content-Type must be application/json"));
    }
    if dialect == Dialect::AnthropicMessages && !head.anthropic_version {
        return Err(Refusal::bad_request("anthropic-version: header is required"));
    }
    Ok(())
}

/// Checks that all roles are `known` to the dialect.
pub(crate) fn check_roles(call: &Call<'_>, known: &[&str]) -> Result<(), Refusal> {
    match call.messages().position(|message| !known.contains(&message.role.0.as_ref())) {
        Some(position) => {
            Err(Refusal::bad_request(format!("messages[{position}].role: must be one of {}", known.join(", "))).param("messages"))
        }
        None => Ok(()),
    }
}

/// A limit on tokens, as far as there is one.
pub(crate) fn token_limit(limit: Option<i64>, least: i64) -> Result<Option<u32>, Refusal> {
    match limit {
        None => Ok(None),
        Some(limit) if limit < least => Err(Refusal::bad_request(format!("max_tokens: must be at least {least}")).param("max_tokens")),
        Some(limit) => Ok(Some(u32::try_from(limit).unwrap_or(u32::MAX))),
    }
}
