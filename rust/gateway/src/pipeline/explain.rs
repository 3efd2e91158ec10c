//! Why a request would go where it would go: the decision made, shown and not carried out.

use super::failure::Failure;
use super::intake::Intake;
use super::plan::{self, Asking};
use super::preset;
use super::scan;
use crate::routes::Ask;
use crate::worker::unix_ms;
use bytes::Bytes;
use fairlead_formats::request::{Address, Purpose, Refusal};
use fairlead_ir::{Dialect, ErrorKind, Manner};
use fairlead_router::{Board, Explanation, Pins};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;

/// What shall be explained.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    /// The request's body.
    body: Box<RawValue>,
    /// The dialect it is written in, or the [other form](form) of OpenAI's.
    #[serde(default = "chat")]
    dialect: String,
    /// The model that the path names, of a Gemini request.
    #[serde(default)]
    model: Option<String>,
    /// Whether a Gemini request is to be streamed.
    #[serde(default)]
    stream: bool,
    /// Patterns of models that the key may use; empty: all.
    #[serde(default)]
    models: Vec<String>,
    /// The account whose conversations are looked up.
    #[serde(default)]
    account: u64,
    /// Everything random comes out of this; absent: something new.
    #[serde(default)]
    seed: Option<u64>,
}

fn chat() -> String {
    Dialect::OpenaiChat.name().to_owned()
}

#[derive(Serialize)]
struct Answer<'a> {
    /// Tokens that the prompt was estimated to have.
    prompt_tokens: u64,
    #[serde(flatten)]
    explanation: Explanation<'a>,
    /// What the caller would be told, where nothing can be tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
}

#[derive(Serialize)]
struct Wrong<'a> {
    status: u16,
    message: &'a str,
    param: Option<&'a str>,
}

/// The explanation as JSON, or what is wrong with the question: `{"error": {status, message, param}}`.
pub(crate) fn explain(board: &Arc<Board>, pins: &Pins, now_ms: u64, question: &[u8]) -> Vec<u8> {
    let answered = serde_json::from_slice(question)
        .map_err(|error| Failure::new(ErrorKind::InvalidRequest, format!("the question: {error}")))
        .and_then(|question| answer(board, pins, now_ms, question));
    answered.unwrap_or_else(|failure| {
        let wrong = Wrong { status: failure.status(), message: &failure.message, param: failure.param.as_deref() };
        serde_json::to_vec(&serde_json::json!({ "error": wrong })).unwrap_or_default()
    })
}

fn answer(board: &Arc<Board>, pins: &Pins, now_ms: u64, question: Question) -> Result<Vec<u8>, Failure> {
    let Question { body, dialect, model, stream, models, account, seed } = question;
    let (purpose, dialect) = form(&dialect).ok_or_else(|| {
        let known = Dialect::ALL.map(Dialect::name).join(", ");
        let message = format!("dialect: one of {known}, {COMPLETIONS}, {EMBEDDINGS} is expected");
        Failure::new(ErrorKind::InvalidRequest, message).param(Some("dialect"))
    })?;
    let address = model.map(|model| Address { model, stream });
    let mut ask = Ask { purpose, dialect, manner: Manner::Openrouter, address, json_array: false, answers: None };
    let mut scan = scan(&mut ask, board.snapshot().settings.limits.json_depth);
    let body = Bytes::copy_from_slice(body.get().as_bytes());
    scan.feed(&body).map_err(refused)?;
    let frames = vec![body];
    let facts = scan.finish(&frames).map_err(refused)?;
    let mut intake = Intake { bytes: facts.body_bytes as u64, frames, facts, waited: Duration::ZERO, queued: Duration::ZERO, said: None };
    preset::fill_here(board.snapshot(), &mut intake)?;
    let allowed = |id: &str| models.is_empty() || models.iter().any(|pattern| fairlead_snapshot::matches(pattern, id));
    let seed = seed.unwrap_or_else(|| fairlead_router::hash(&unix_ms().to_le_bytes()));
    let asking = Asking { allowed: &allowed, account, session: None, seed, now_ms, unix_ms: unix_ms(), is_kept: false };
    let weighed = plan::weigh(board.clone(), pins, &asking, &intake, &ask)?;
    let explanation = Explanation::new(&weighed.board, &weighed.plan, seed);
    let refusal = weighed.plan.steps.is_empty().then(|| weighed.refusal(ask.purpose).into_message());
    let answer = Answer { prompt_tokens: weighed.prompt_tokens(), explanation, refusal };
    serde_json::to_vec(&answer).map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))
}

/// Bodies of OpenAI's that are no conversations.
const COMPLETIONS: &str = "openai_completions";
const EMBEDDINGS: &str = "openai_embeddings";

/// What a body in these words is for, and the dialect that it belongs to.
fn form(name: &str) -> Option<(Purpose, Dialect)> {
    match name {
        COMPLETIONS => Some((Purpose::Completions, Dialect::OpenaiChat)),
        EMBEDDINGS => Some((Purpose::Embeddings, Dialect::OpenaiChat)),
        _ => Dialect::from_name(name).map(|dialect| (Purpose::Generate, dialect)),
    }
}

fn refused(refusal: Refusal) -> Failure {
    Failure::new(refusal.kind, refusal.message).param(refusal.param)
}
