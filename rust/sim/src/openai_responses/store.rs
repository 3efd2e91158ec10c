//! Responses that are kept in memory: to be looked at, and to be gone on from.

use super::finished;
use crate::Shared;
use crate::context::account;
use crate::digest::Fingerprint;
use crate::intake::{check_credential, check_method, parse};
use crate::ledger::Dialect;
use crate::reply::{Refusal, Reply};
use crate::request::Request;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};

const MAX_RESPONSES: usize = 1_024;
const MAX_BYTES: usize = 64 << 20;

/// The last responses that callers wanted kept.
#[derive(Debug, Default)]
pub(crate) struct Store {
    responses: HashMap<String, Kept>,
    order: VecDeque<String>,
    bytes: usize,
}

/// One response, and the conversation that led to it.
#[derive(Debug)]
struct Kept {
    account: Fingerprint,
    object: Value,
    /// The input items, those of earlier responses first.
    input: Vec<Value>,
    bytes: usize,
}

impl Store {
    fn keep(&mut self, id: &str, kept: Kept) {
        if kept.bytes > MAX_BYTES {
            return;
        }
        self.bytes += kept.bytes;
        self.responses.insert(id.to_owned(), kept);
        self.order.push_back(id.to_owned());
        while self.order.len() > MAX_RESPONSES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, id: &str) -> bool {
        let kept = self.responses.remove(id);
        self.bytes -= kept.as_ref().map_or(0, |kept| kept.bytes);
        kept.is_some()
    }

    fn find(&self, account: Fingerprint, id: &str) -> Option<&Kept> {
        self.responses.get(id).filter(|kept| kept.account == account)
    }

    /// All items up to and with response `id`.
    pub(super) fn conversation(&self, account: Fingerprint, id: &str) -> Option<Vec<Value>> {
        let kept = self.find(account, id)?;
        let output = kept.object.get("output").and_then(Value::as_array);
        Some(kept.input.iter().chain(output.into_iter().flatten()).cloned().collect())
    }

    /// The output item called `id`, with the one before it in its response.
    pub(super) fn item(&self, account: Fingerprint, id: &str) -> Option<(Value, Option<Value>)> {
        let kept = self.responses.values().filter(|kept| kept.account == account);
        kept.filter_map(|kept| kept.object.get("output")?.as_array()).find_map(|items| {
            let position = items.iter().position(|item| item.get("id").is_some_and(|known| known == id))?;
            let before = position.checked_sub(1).and_then(|before| items.get(before));
            Some((items.get(position)?.clone(), before.cloned()))
        })
    }
}

/// Keeps the response, if the caller has not said otherwise.
pub(crate) fn remember(reply: &Reply<'_>, shared: &Shared) {
    if reply.request.get("store").is_some_and(|store| store == false) || reply.script.fault.is_some() || reply.script.reply.is_some() {
        return;
    }
    let Ok(object) = serde_json::from_str::<Value>(&finished(reply)) else { return };
    let account = account(reply.credential);
    let previous = reply.request.get("previous_response_id").and_then(Value::as_str);
    let mut store = shared.responses();
    let mut input = previous.and_then(|id| store.conversation(account, id)).unwrap_or_default();
    input.extend(input_items(reply.request));
    let bytes = object.to_string().len() + input.iter().map(|item| item.to_string().len()).sum::<usize>();
    store.keep(&reply.id, Kept { account, object, input, bytes });
}

/// `input` as a list.
pub(super) fn input_items(body: &Value) -> Vec<Value> {
    match body.get("input") {
        Some(Value::String(text)) => vec![json!({"role": "user", "content": text})],
        Some(Value::Array(items)) => items.clone(),
        _ => Vec::new(),
    }
}

/// `/responses/{id}` and what is below it, and `/responses/input_tokens`.
pub(crate) fn manage(shared: &Shared, request: &Request, dialect: Dialect) -> Result<String, Refusal> {
    let credential = check_credential(shared, request, dialect)?;
    let account = account(&credential);
    let (_, path) = request.head.path.split_once("/responses/").unwrap_or_default();
    if path == "input_tokens" {
        check_method(&request.head, "POST")?;
        let tokens = super::rules::count(shared, request, credential, &parse(&request.body)?)?;
        return Ok(json!({"object": "response.input_tokens", "input_tokens": tokens}).to_string());
    }
    let (id, below) = path.split_once('/').unwrap_or((path, ""));
    let mut store = shared.responses();
    let Some(kept) = store.find(account, id) else { return Err(not_found(id)) };
    match (request.head.method.as_str(), below) {
        ("GET", "") => Ok(kept.object.to_string()),
        ("GET", "input_items") => {
            let items: Vec<Value> = kept.input.iter().enumerate().map(|(number, item)| full_item(id, number, item)).collect();
            let id_of = |item: Option<&Value>| item.and_then(|item| item.get("id")).cloned();
            let (first, last) = (id_of(items.first()), id_of(items.last()));
            Ok(json!({"object": "list", "data": items, "first_id": first, "last_id": last, "has_more": false}).to_string())
        }
        ("POST", "cancel") => Err(Refusal::bad_request("Cannot cancel a synchronous response.")),
        ("DELETE", "") => {
            store.forget(id);
            Ok(json!({"id": id, "object": "response", "deleted": true}).to_string())
        }
        (method, _) => Err(Refusal::new(405, format!("Not allowed to {method} on {}", request.head.path)).code("method_not_allowed")),
    }
}

/// Input item number `number` with everything that it lacks.
fn full_item(response: &str, number: usize, item: &Value) -> Value {
    let mut item = item.clone();
    let Some(fields) = item.as_object_mut() else { return item };
    fields.entry("type").or_insert_with(|| json!("message"));
    fields.entry("id").or_insert_with(|| json!(format!("msg_{number}_{response}")));
    fields.entry("status").or_insert_with(|| json!("completed"));
    let kind = if fields.get("role").is_some_and(|role| role == "assistant") { "output_text" } else { "input_text" };
    if let Some(text) = fields.get("content").and_then(Value::as_str) {
        let mut part = json!({"type": kind, "text": text});
        if kind == "output_text" {
            part["annotations"] = json!([]);
        }
        fields.insert("content".to_owned(), json!([part]));
    }
    item
}

fn not_found(id: &str) -> Refusal {
    Refusal::new(404, format!("Response with id '{id}' not found."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first() {
        let mut store = Store::default();
        let kept = || Kept { account: 1, object: json!({}), input: Vec::new(), bytes: 10 };
        for number in 0..=MAX_RESPONSES {
            store.keep(&format!("resp_{number}"), kept());
        }
        assert!(store.find(1, "resp_0").is_none() && store.find(1, "resp_1").is_some() && store.find(2, "resp_1").is_none());
        assert_eq!(store.bytes, MAX_RESPONSES * 10);
        store.keep("large", Kept { bytes: MAX_BYTES, ..kept() });
        assert_eq!((store.responses.len(), store.bytes), (1, MAX_BYTES));
        store.keep("too large", Kept { bytes: MAX_BYTES + 1, ..kept() });
        assert!(store.forget("large") && !store.forget("large"));
        assert_eq!(store.bytes, 0);
    }
}
