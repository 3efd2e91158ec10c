//! Paths: who answers what.

use crate::anthropic_vertex::Unwrapped;
use crate::call::Call;
use crate::connection::Connection;
use crate::context::Context;
use crate::exchange::{After, Exchange, respond};
use crate::intake::{Target, check_credential, check_headers, check_method, find, parse, prepare, version_header};
use crate::ledger::{Dialect, Outcome};
use crate::reply::{Refusal, Reply};
use crate::request::Request;
use crate::tally::Tally;
use crate::{Shared, anthropic_messages, anthropic_vertex, bedrock_converse, gemini_generate, openai_chat, openai_responses};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// When the models were made, in their own listing.
const MODELS_CREATED: u64 = 1_767_225_600;

/// Answers `request`; the result says what becomes of the connection.
pub(crate) async fn answer(connection: &mut Connection, shared: &Shared, request: &Request) -> After {
    let path = request.head.path.as_str();
    if let Some(path) = path.strip_prefix("/sim/") {
        return control(connection, shared, request, path).await;
    }
    if anthropic_vertex::is_path(path) {
        return vertex(connection, shared, request).await;
    }
    if path.contains("/models/") && is_gemini_action(path) {
        return gemini(connection, shared, request).await;
    }
    if path.starts_with("/model/") {
        return bedrock(connection, shared, request).await;
    }
    match path.strip_prefix("/v1beta").or_else(|| path.strip_prefix("/v1")).unwrap_or(path) {
        "/chat/completions" => chat(connection, shared, request, Dialect::OpenaiChat).await,
        "/messages" => chat(connection, shared, request, Dialect::AnthropicMessages).await,
        "/completions" => chat(connection, shared, request, Dialect::OpenaiCompletions).await,
        "/embeddings" => chat(connection, shared, request, Dialect::OpenaiEmbeddings).await,
        "/responses" => chat(connection, shared, request, Dialect::OpenaiResponses).await,
        path if path.starts_with("/responses/") => {
            plain(connection, shared, request, Dialect::OpenaiResponses, openai_responses::manage).await
        }
        "/messages/count_tokens" => plain(connection, shared, request, Dialect::AnthropicMessages, count_tokens).await,
        path if path == "/models" || path.starts_with("/models/") => {
            let dialect = if request.head.anthropic_version {
                Dialect::AnthropicMessages
            } else if request.header("x-goog-api-key").is_some()
                || request.head.query.as_deref().is_some_and(|query| query.contains("key="))
            {
                Dialect::GeminiGenerate
            } else {
                Dialect::OpenaiChat
            };
            plain(connection, shared, request, dialect, models).await
        }
        _ => plain(connection, shared, request, Dialect::OpenaiChat, unknown_path).await,
    }
}

/// Whether a path ends with one of Gemini's methods.
fn is_gemini_action(path: &str) -> bool {
    let action = path.rsplit_once(':').map(|(_, action)| action);
    action.is_some_and(|action| ["generateContent", "streamGenerateContent", "countTokens"].contains(&action))
}

async fn gemini(connection: &mut Connection, shared: &Shared, request: &Request) -> After {
    let dialect = Dialect::GeminiGenerate;
    if request.head.path.ends_with(":countTokens") {
        return plain(connection, shared, request, dialect, count_gemini_tokens).await;
    }
    chat(connection, shared, request, dialect).await
}

async fn vertex(connection: &mut Connection, shared: &Shared, request: &Request) -> After {
    let dialect = Dialect::AnthropicVertex;
    if anthropic_vertex::is_count(&request.head.path) {
        return plain(connection, shared, request, dialect, count_vertex_tokens).await;
    }
    chat(connection, shared, request, dialect).await
}

async fn bedrock(connection: &mut Connection, shared: &Shared, request: &Request) -> After {
    let dialect = Dialect::BedrockConverse;
    match request.head.path.rsplit('/').next().unwrap_or_default() {
        "converse" | "converse-stream" => chat(connection, shared, request, dialect).await,
        "count-tokens" => plain(connection, shared, request, dialect, count_bedrock_tokens).await,
        _ => plain(connection, shared, request, dialect, unknown_path).await,
    }
}

fn count_bedrock_tokens(shared: &Shared, request: &Request, dialect: Dialect) -> Result<String, Refusal> {
    check_method(&request.head, "POST")?;
    let credential = check_credential(shared, request, dialect)?;
    check_headers(&request.head, dialect)?;
    let persona = find(&Target::of_bedrock(request).model, dialect)?;
    bedrock_converse::count_tokens(&Context { shared, request, dialect, persona, credential })
}

fn count_vertex_tokens(shared: &Shared, request: &Request, dialect: Dialect) -> Result<String, Refusal> {
    check_method(&request.head, "POST")?;
    let credential = check_credential(shared, request, dialect)?;
    check_headers(&request.head, dialect)?;
    let Unwrapped { body, version } = anthropic_vertex::unwrap(request, parse(&request.body)?)?;
    let persona = find(body.get("model").and_then(Value::as_str).unwrap_or_default(), dialect)?;
    let tokens = anthropic_messages::count(&Context { shared, request, dialect, persona, credential }, &body, version)?;
    Ok(json!({"input_tokens": tokens}).to_string())
}

fn count_gemini_tokens(shared: &Shared, request: &Request, dialect: Dialect) -> Result<String, Refusal> {
    check_method(&request.head, "POST")?;
    let credential = check_credential(shared, request, dialect)?;
    check_headers(&request.head, dialect)?;
    let persona = find(&Target::of_gemini(request).model, dialect)?;
    gemini_generate::count_tokens(&Context { shared, request, dialect, persona, credential })
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
    let request_id = dialect.request_id(shared.options.seed, number);
    let prepared = match prepare(shared, request, dialect) {
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
        persona: prepared.persona,
        strict: prepared.strict,
        wire: prepared.wire,
        wishes: prepared.wishes,
        request: &prepared.body,
        ask: &prepared.ask,
        plan: &prepared.plan,
        script: &prepared.script,
        sealer: &shared.sealer,
        credential: &prepared.credential,
    };
    reply.remember(shared);
    Exchange::new(connection, shared, &reply, &request.head, &request_id).run(prepared.stream, &mut tally).await
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
    let body = refusal.body(dialect, request_id);
    respond(connection, refusal.status, &refusal.headers(dialect, request_id), body.as_bytes(), close, tally).await
}

fn unknown_path(_: &Shared, request: &Request, _: Dialect) -> Result<String, Refusal> {
    Err(Refusal::new(404, format!("Unknown request URL: {} {}", request.head.method, request.head.path)).code("unknown_url"))
}

fn models(shared: &Shared, request: &Request, dialect: Dialect) -> Result<String, Refusal> {
    check_method(&request.head, "GET")?;
    check_credential(shared, request, dialect)?;
    let (_, name) = request.head.path.split_once("/models").unwrap_or_default();
    let Some(name) = name.strip_prefix('/') else {
        return Ok(match dialect {
            Dialect::AnthropicMessages => anthropic_messages::models(),
            Dialect::GeminiGenerate => gemini_generate::models(),
            _ => openai_chat::models(MODELS_CREATED),
        });
    };
    let name = name.replace("%2F", "/").replace("%2f", "/");
    find(&name, dialect)?;
    Ok(match dialect {
        Dialect::AnthropicMessages => anthropic_messages::model(&name),
        Dialect::GeminiGenerate => gemini_generate::model(&name),
        _ => openai_chat::model(&name, MODELS_CREATED),
    })
}

fn count_tokens(shared: &Shared, request: &Request, dialect: Dialect) -> Result<String, Refusal> {
    check_method(&request.head, "POST")?;
    let credential = check_credential(shared, request, dialect)?;
    check_headers(&request.head, dialect)?;
    let call = Call::parse(&request.body).map_err(Refusal::bad_request)?;
    let persona = find(call.model.as_ref().map(|model| model.0.as_ref()).unwrap_or_default(), dialect)?;
    let tokens = if persona.has_family() || shared.judging.load(Ordering::Relaxed) {
        anthropic_messages::count(
            &Context { shared, request, dialect, persona, credential },
            &parse(&request.body)?,
            version_header(request),
        )?
    } else {
        call.prompt_tokens()
    };
    Ok(json!({"input_tokens": tokens}).to_string())
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
            let [after, limit, body_bytes] = numbers(query, ["after", "limit", "body_bytes"])?;
            let bounded = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
            Ok(shared.ledger_json(after.unwrap_or(0), limit.map_or(usize::MAX, bounded), body_bytes.map(bounded)))
        }
        ("DELETE", "ledger") => {
            shared.ledger().reset();
            shared.prompt_cache().clear();
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
            let on = switch(request)?;
            shared.recording.store(on, Ordering::Relaxed);
            Ok(json!({"on": on}).to_string())
        }
        ("POST", "judge") => {
            let on = switch(request)?;
            shared.judging.store(on, Ordering::Relaxed);
            Ok(json!({"on": on}).to_string())
        }
        ("POST", "next") => {
            let scripts: Vec<serde_json::Value> = serde_json::from_slice(&request.body)
                .map_err(|error| Refusal::bad_request(format!("{error}; expected a list of scripts")))?;
            let count = shared.queue_scripts(scripts.iter().map(ToString::to_string)).map_err(Refusal::bad_request)?;
            Ok(json!({"queued": count}).to_string())
        }
        ("DELETE", "next") => {
            shared.forget_scripts();
            Ok("{}".to_owned())
        }
        (_, "healthz" | "ledger" | "requests" | "record" | "next" | "judge") => {
            Err(Refusal::new(405, format!("{} is not for {path}", request.head.method)))
        }
        _ => Err(Refusal::new(404, format!("no /sim/{path}; there are healthz, ledger, requests, record, next, judge"))),
    }
}

/// Whether something is to be on.
fn switch(request: &Request) -> Result<bool, Refusal> {
    let Switch { on } =
        serde_json::from_slice(&request.body).map_err(|error| Refusal::bad_request(format!("{error}; expected {{\"on\": true|false}}")))?;
    Ok(on)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
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
