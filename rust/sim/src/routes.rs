//! Paths, and everything that is checked before a reply begins.

use crate::Shared;
use crate::call::{Call, Fields};
use crate::connection::Connection;
use crate::exchange::{After, Exchange, respond};
use crate::identity;
use crate::ledger::{Dialect, Outcome};
use crate::plan::{Model, Plan, flaky_fault};
use crate::reply::{Refusal, Reply};
use crate::request::{Head, Request};
use crate::script::Script;
use crate::tally::Tally;
use crate::{anthropic_messages, openai_chat};
use serde::Deserialize;
use serde_json::json;
use std::sync::atomic::Ordering;

/// A unary reply is made whole in memory.
const MAX_UNARY_BYTES: u64 = 256 << 20;
/// When the models were made, in their own listing.
const MODELS_CREATED: u64 = 1_767_225_600;

/// Answers `request`; the result says what becomes of the connection.
pub(crate) async fn answer(connection: &mut Connection, shared: &Shared, request: &Request) -> After {
    let path = request.head.path.as_str();
    if let Some(path) = path.strip_prefix("/sim/") {
        return control(connection, shared, request, path).await;
    }
    match path.strip_prefix("/v1").unwrap_or(path) {
        "/chat/completions" => chat(connection, shared, request, Dialect::OpenaiChat).await,
        "/messages" => chat(connection, shared, request, Dialect::AnthropicMessages).await,
        "/messages/count_tokens" => plain(connection, shared, request, Dialect::AnthropicMessages, count_tokens).await,
        path if path == "/models" || path.starts_with("/models/") => {
            let dialect = if request.head.anthropic_version { Dialect::AnthropicMessages } else { Dialect::OpenaiChat };
            plain(connection, shared, request, dialect, models).await
        }
        _ => plain(connection, shared, request, Dialect::OpenaiChat, unknown_path).await,
    }
}

/// Answers what was no HTTP request, and counts it as refused.
pub(crate) async fn refuse_unreadable(connection: &mut Connection, shared: &Shared, status: u16, text: &str) -> After {
    let mut tally = Tally::new(shared, None, &[]);
    tally.record.model = shared.ledger().intern("");
    tally.record.status = status;
    tally.record.outcome = Outcome::Refused;
    let body = Refusal::new(status, text).code("malformed_http").body(Dialect::OpenaiChat, "");
    respond(connection, status, &[], body.as_bytes(), true, Some(&mut tally)).await;
    After::CloseUnread
}

/// A request for a reply of a model.
async fn chat(connection: &mut Connection, shared: &Shared, request: &Request, dialect: Dialect) -> After {
    let mut tally = Tally::new(shared, Some(dialect), &request.body);
    let number = tally.record.request;
    if shared.recording.load(Ordering::Relaxed) {
        shared.recorder().push(number, &request.raw_head, &request.body);
    }
    let request_id = identity::id("req_", 24, !shared.options.seed, number);
    let prepared = match prepare(shared, &request.head, &request.body, dialect) {
        Ok(prepared) => prepared,
        Err(refusal) => {
            tally.record.model = shared.ledger().intern("");
            tally.record.status = refusal.status;
            tally.record.outcome = Outcome::Refused;
            return refuse(connection, &refusal, dialect, &request_id, request.head.close, Some(&mut tally)).await;
        }
    };
    prepared.note(shared, &mut tally);
    let reply = Reply {
        dialect,
        id: dialect.reply_id(shared.options.seed, number),
        created: tally.created(),
        model: &prepared.name,
        include_usage: prepared.include_usage,
        plan: &prepared.plan,
        script: &prepared.script,
    };
    Exchange::new(connection, shared, &reply, &request.head, &request_id).run(prepared.stream, &mut tally).await
}

/// A valid request, and the reply that it will get.
struct Prepared {
    name: String,
    stream: bool,
    include_usage: bool,
    script: Script,
    plan: Plan,
}

impl Prepared {
    fn note(&self, shared: &Shared, tally: &mut Tally<'_>) {
        let record = &mut tally.record;
        record.model = shared.ledger().intern(&self.name);
        record.tag = self.script.tag;
        record.stream = self.stream;
        record.status = 200;
        record.prompt_tokens = self.plan.prompt_tokens;
        record.cached_tokens = self.script.cached_tokens;
        record.cache_write_tokens = self.script.cache_write_tokens;
        record.planned_tokens = self.plan.completion_tokens();
        record.reasoning_tokens = self.plan.reasoning_tokens();
    }
}

fn prepare(shared: &Shared, head: &Head, body: &[u8], dialect: Dialect) -> Result<Prepared, Refusal> {
    check_method(head, "POST")?;
    check_credential(shared, head, dialect)?;
    check_headers(head, dialect)?;
    let call =
        Call::parse(body).map_err(|error| Refusal::bad_request(format!("We could not parse the JSON body of your request: {error}")))?;
    let name = call.model.as_ref().map(|model| model.0.as_ref()).unwrap_or_default();
    let max_tokens = match dialect {
        Dialect::OpenaiChat => check_openai(&call)?,
        Dialect::AnthropicMessages => check_anthropic(&call)?,
    };
    let model = Model::find(name).ok_or_else(|| unknown_model(name, dialect))?;
    let mut script = match call.sim {
        Some(script) => Script::parse(script.get()).map_err(|error| Refusal::bad_request(format!("sim: {error}")).param("sim"))?,
        None => Script::default(),
    };
    let stream = call.stream.unwrap_or(false);
    let plan = Plan::new(model, &call, &script, max_tokens).map_err(Refusal::bad_request)?;
    if !stream && plan.bytes() > MAX_UNARY_BYTES {
        return Err(Refusal::bad_request(format!("sim: a unary reply may have {MAX_UNARY_BYTES} bytes at most")));
    }
    if model == Model::Flaky && script.fault.is_none() {
        script.fault = flaky_fault(shared.options.seed, shared.flaky_requests.fetch_add(1, Ordering::Relaxed));
    }
    let include_usage = call.stream_options.as_ref().and_then(|Fields(options)| options.include_usage).unwrap_or(false);
    Ok(Prepared { name: name.to_owned(), stream, include_usage, script, plan })
}

fn check_method(head: &Head, method: &str) -> Result<(), Refusal> {
    if head.method == method {
        return Ok(());
    }
    Err(Refusal::new(405, format!("Not allowed to {} on {} (use {method})", head.method, head.path)).code("method_not_allowed"))
}

fn check_credential(shared: &Shared, head: &Head, dialect: Dialect) -> Result<(), Refusal> {
    let given = head.credential.as_deref().unwrap_or_default();
    if given.is_empty() {
        return Err(Refusal::new(
            401,
            match dialect {
                Dialect::OpenaiChat => "You didn't provide an API key.",
                Dialect::AnthropicMessages => "x-api-key header is required",
            },
        ));
    }
    if shared.options.api_key.as_deref().is_some_and(|expected| expected != given) {
        return Err(match dialect {
            Dialect::OpenaiChat => Refusal::new(401, "Incorrect API key provided.").code("invalid_api_key"),
            Dialect::AnthropicMessages => Refusal::new(401, "invalid x-api-key"),
        });
    }
    Ok(())
}

fn check_headers(head: &Head, dialect: Dialect) -> Result<(), Refusal> {
    if !head.json {
        return Err(Refusal::bad_request("Content-Type must be application/json"));
    }
    if dialect == Dialect::AnthropicMessages && !head.anthropic_version {
        return Err(Refusal::bad_request("anthropic-version: header is required"));
    }
    Ok(())
}

/// OpenAI's rules; returns the token limit.
fn check_openai(call: &Call<'_>) -> Result<Option<u32>, Refusal> {
    if call.model.as_ref().is_none_or(|model| model.0.is_empty()) {
        return Err(Refusal::bad_request("you must provide a model parameter").param("model"));
    }
    match &call.messages {
        None => {
            return Err(Refusal::bad_request("Missing required parameter: 'messages'.")
                .param("messages")
                .code("missing_required_parameter"));
        }
        Some(messages) if messages.is_empty() => {
            return Err(Refusal::bad_request("Invalid 'messages': empty array.").param("messages").code("empty_array"));
        }
        Some(_) => check_roles(call, OPENAI_ROLES)?,
    }
    if call.stream_options.is_some() && call.stream != Some(true) {
        return Err(
            Refusal::bad_request("The 'stream_options' parameter is only allowed when 'stream' is enabled.").param("stream_options")
        );
    }
    if call.n.is_some_and(|n| n != 1) {
        return Err(Refusal::bad_request("The simulator gives one choice: 'n' must be 1.").param("n"));
    }
    if call.max_tokens.is_some() && call.max_completion_tokens.is_some() {
        return Err(Refusal::bad_request("Set either 'max_tokens' or 'max_completion_tokens', not both.").param("max_tokens"));
    }
    token_limit(call.max_completion_tokens.or(call.max_tokens), 1)
}

/// Anthropic's rules; returns the token limit.
fn check_anthropic(call: &Call<'_>) -> Result<Option<u32>, Refusal> {
    if call.model.as_ref().is_none_or(|model| model.0.is_empty()) {
        return Err(Refusal::bad_request("model: Field required"));
    }
    if call.max_tokens.is_none() {
        return Err(Refusal::bad_request("max_tokens: Field required"));
    }
    match &call.messages {
        None => return Err(Refusal::bad_request("messages: Field required")),
        Some(messages) if messages.is_empty() => return Err(Refusal::bad_request("messages: at least one message is required")),
        Some(_) => check_roles(call, ANTHROPIC_ROLES)?,
    }
    token_limit(call.max_tokens, 0)
}

const OPENAI_ROLES: &[&str] = &["system", "developer", "user", "assistant", "tool", "function"];
const ANTHROPIC_ROLES: &[&str] = &["user", "assistant", "system"];

fn check_roles(call: &Call<'_>, known: &[&str]) -> Result<(), Refusal> {
    match call.messages().position(|message| !known.contains(&message.role.0.as_ref())) {
        Some(position) => {
            Err(Refusal::bad_request(format!("messages[{position}].role: must be one of {}", known.join(", "))).param("messages"))
        }
        None => Ok(()),
    }
}

fn token_limit(limit: Option<i64>, least: i64) -> Result<Option<u32>, Refusal> {
    match limit {
        None => Ok(None),
        Some(limit) if limit < least => Err(Refusal::bad_request(format!("max_tokens: must be at least {least}")).param("max_tokens")),
        Some(limit) => Ok(Some(u32::try_from(limit).unwrap_or(u32::MAX))),
    }
}

fn unknown_model(name: &str, dialect: Dialect) -> Refusal {
    match dialect {
        Dialect::OpenaiChat => {
            Refusal::new(404, format!("The model `{name}` does not exist or you do not have access to it.")).code("model_not_found")
        }
        Dialect::AnthropicMessages => Refusal::new(404, format!("model: {name}")),
    }
}

/// A request that is answered at once and is none for the ledger.
async fn plain(
    connection: &mut Connection,
    shared: &Shared,
    request: &Request,
    dialect: Dialect,
    handle: fn(&Shared, &Request, Dialect) -> Result<String, Refusal>,
) -> After {
    match handle(shared, request, dialect) {
        Ok(body) => respond(connection, 200, &[], body.as_bytes(), request.head.close, None).await,
        Err(refusal) => refuse(connection, &refusal, dialect, "req_0", request.head.close, None).await,
    }
}

async fn refuse(
    connection: &mut Connection,
    refusal: &Refusal,
    dialect: Dialect,
    request_id: &str,
    close: bool,
    tally: Option<&mut Tally<'_>>,
) -> After {
    let headers = match dialect {
        Dialect::OpenaiChat => openai_chat::headers(request_id),
        Dialect::AnthropicMessages => anthropic_messages::headers(request_id),
    };
    let body = refusal.body(dialect, request_id);
    respond(connection, refusal.status, &headers, body.as_bytes(), close, tally).await
}

fn unknown_path(_: &Shared, request: &Request, _: Dialect) -> Result<String, Refusal> {
    Err(Refusal::new(404, format!("Unknown request URL: {} {}", request.head.method, request.head.path)).code("unknown_url"))
}

fn models(shared: &Shared, request: &Request, dialect: Dialect) -> Result<String, Refusal> {
    check_method(&request.head, "GET")?;
    check_credential(shared, &request.head, dialect)?;
    let (_, name) = request.head.path.split_once("/models").unwrap_or_default();
    let Some(name) = name.strip_prefix('/') else {
        return Ok(match dialect {
            Dialect::OpenaiChat => openai_chat::models(MODELS_CREATED),
            Dialect::AnthropicMessages => anthropic_messages::models(),
        });
    };
    let name = name.replace("%2F", "/").replace("%2f", "/");
    let model = Model::find(&name).ok_or_else(|| unknown_model(&name, dialect))?;
    Ok(match dialect {
        Dialect::OpenaiChat => openai_chat::model(model, MODELS_CREATED),
        Dialect::AnthropicMessages => anthropic_messages::model(model),
    })
}

fn count_tokens(shared: &Shared, request: &Request, dialect: Dialect) -> Result<String, Refusal> {
    check_method(&request.head, "POST")?;
    check_credential(shared, &request.head, dialect)?;
    check_headers(&request.head, dialect)?;
    let call = Call::parse(&request.body).map_err(Refusal::bad_request)?;
    let name = call.model.as_ref().map(|model| model.0.as_ref()).unwrap_or_default();
    Model::find(name).ok_or_else(|| unknown_model(name, dialect))?;
    Ok(json!({"input_tokens": call.prompt_tokens()}).to_string())
}

/// `/sim/…`: the simulator's own endpoints; no key needed.
async fn control(connection: &mut Connection, shared: &Shared, request: &Request, path: &str) -> After {
    while path == "ledger" && shared.is_settling() {
        tokio::task::yield_now().await;
    }
    let (status, body) = match control_reply(shared, request, path) {
        Ok(body) => (200, body),
        Err(refusal) => (refusal.status, json!({"error": refusal.message}).to_string()),
    };
    respond(connection, status, &[], body.as_bytes(), request.head.close, None).await
}

fn control_reply(shared: &Shared, request: &Request, path: &str) -> Result<String, Refusal> {
    let query = request.head.query.as_deref().unwrap_or_default();
    match (request.head.method.as_str(), path) {
        ("GET", "healthz") => Ok(r#"{"status":"ok"}"#.to_owned()),
        ("GET", "ledger") => {
            let [after, limit] = numbers(query, ["after", "limit"])?;
            let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
            Ok(shared.ledger_json(after.unwrap_or(0), limit))
        }
        ("DELETE", "ledger") => {
            shared.ledger().reset();
            shared.flaky_requests.store(0, Ordering::Relaxed);
            Ok("{}".to_owned())
        }
        ("GET", "requests") => {
            let [last] = numbers(query, ["last"])?;
            Ok(shared.recorder().json(last.map_or(usize::MAX, |last| usize::try_from(last).unwrap_or(usize::MAX))))
        }
        ("DELETE", "requests") => {
            shared.recorder().clear();
            Ok("{}".to_owned())
        }
        ("POST", "record") => {
            let wish: Recording = serde_json::from_slice(&request.body)
                .map_err(|error| Refusal::bad_request(format!("{error}; expected {{\"on\": true|false}}")))?;
            shared.recording.store(wish.on, Ordering::Relaxed);
            Ok(json!({"on": wish.on}).to_string())
        }
        (_, "healthz" | "ledger" | "requests" | "record") => Err(Refusal::new(405, format!("{} is not for {path}", request.head.method))),
        _ => Err(Refusal::new(404, format!("no /sim/{path}; there are healthz, ledger, requests, record"))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recording {
    on: bool,
}

/// The values of `names` in `query`; any other name, and what is no number, is an error.
fn numbers<const N: usize>(query: &str, names: [&str; N]) -> Result<[Option<u64>; N], Refusal> {
    let mut values = [None; N];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = names.iter().position(|known| *known == name).and_then(|position| values.get_mut(position));
        let slot = slot.ok_or_else(|| Refusal::bad_request(format!("unknown parameter {name:?}; there are {}", names.join(", "))))?;
        *slot = Some(text.parse().map_err(|_| Refusal::bad_request(format!("{name}: {text:?} is not a number")))?);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn queries_are_strict() {
        assert_eq!(numbers("after=3&limit=4", ["after", "limit"]), Ok([Some(3), Some(4)]));
        assert_eq!(numbers("", ["after"]), Ok([None]));
        for query in ["after=", "after=x", "befor=3", "after=-1"] {
            assert_eq!(numbers(query, ["after"]).unwrap_err().status, 400, "{query}");
        }
    }
}
