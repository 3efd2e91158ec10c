//! Replies as clients shall see them: which bytes change, and what a whole reply says.

pub(crate) mod decode;
pub(crate) mod encode;
#[cfg(test)]
mod tests;

use fairlead_ir::{NanoUsd, Usage};

use super::wire::envelope::write_usage;
use super::wire::{Content, Figures, Outline, stop_of};
use crate::identity::Identity;
use crate::json::walk;
use crate::json::{Kind, Reject};
use crate::openai_chat::response::set_cost;
use crate::patch::{Patch, Unspliced, name, shifted};
use crate::reply::Seen;
use crate::splice::Edits;

/// Takes what a whole reply says into `seen`. `false` when it is no reply: it has no output.
pub(crate) fn read(body: &[u8], seen: &mut Seen) -> Result<bool, Reject> {
    let outline = Outline::read(body)?;
    take_names(&outline, seen);
    if let Some(error) = outline.error {
        seen.fail(error);
    } else if matches!(outline.status, b"failed" | b"cancelled") {
        seen.fail_without_message();
    }
    let Some(content) = outline.content else { return Ok(false) };
    seen.take_content(content.any, content.bytes);
    take_end(&outline, outline.status, content, seen);
    Ok(true)
}

/// Takes id, model, time and tier.
pub(crate) fn take_names(outline: &Outline<'_>, seen: &mut Seen) {
    seen.take_names(outline.id, outline.model, outline.created);
    seen.take_tier(outline.tier);
}

/// Takes why a reply ended, and its figures; whether it has a usage object, with figures or without: the cost stands there.
pub(crate) fn take_end(outline: &Outline<'_>, status: &[u8], content: Content, seen: &mut Seen) -> bool {
    let status = if status.is_empty() { b"completed" } else { status };
    if let Some((reason, native)) = stop_of(status, outline.reason, content.calls, content.refusal) {
        seen.take_finish(reason.finish().name(), &String::from_utf8_lossy(native), false);
    }
    let Some(usage) = outline.usage else { return false };
    seen.usage_range = Some(outline.usage_start..outline.usage_start + usage.len());
    outline.figured().into_iter().for_each(|figured| seen.take_figures(figured));
    true
}

/// What OpenRouter's SDKs insist on, and what stands there when the provider leaves it out.
const MANDATORY: [(&str, &[u8]); 14] = [
    ("object", br#""response""#),
    ("output", b"[]"),
    ("completed_at", b"null"),
    ("error", b"null"),
    ("incomplete_details", b"null"),
    ("instructions", b"null"),
    ("metadata", b"null"),
    ("parallel_tool_calls", b"true"),
    ("temperature", b"null"),
    ("top_p", b"null"),
    ("tool_choice", br#""auto""#),
    ("tools", b"[]"),
    ("presence_penalty", b"null"),
    ("frequency_penalty", b"null"),
];

/// Edits a reply that begins at `base` of the edited text: a body, or what an event brings. `billed` stands in for the usage of a whole
/// reply that has none, `status` for a status that is missing.
pub(crate) fn edit(
    reply: &[u8],
    base: usize,
    status: &str,
    identity: &Identity,
    cost: Option<NanoUsd>,
    billed: Option<&Usage>,
    edits: &mut Edits,
) -> Result<(), Unspliced> {
    let openrouter = identity.is_openrouter();
    let (mut id, mut model, mut provider, mut created, mut usage, mut no_status) = (true, true, true, true, true, true);
    let mut missing = MANDATORY.map(|_| true);
    let kept_after = identity.kept_after_json();
    let (mut no_store, mut no_previous) = (kept_after.is_some(), kept_after.is_some());
    for member in walk::members(reply) {
        let member = member?;
        let place = shifted(&member.value_range, base);
        let key = name(member.key);
        if let Some(row) = MANDATORY.iter().position(|(name, _)| name.as_bytes() == &*key) {
            missing[row] = false;
        }
        let (missing, value) = match &*key {
            b"usage" if member.kind == Kind::Object => {
                usage = false;
                edit_usage(member.value, place.start, identity, cost, edits)?;
                continue;
            }
            b"usage" => match (billed, cost) {
                (Some(billed), Some(cost)) if openrouter => {
                    usage = false;
                    edits.replace(place, &usage_of(billed, cost))?;
                    continue;
                }
                _ => continue,
            },
            b"created_at" => {
                created = false;
                continue;
            }
            b"status" => {
                no_status = false;
                continue;
            }
            b"store" | b"previous_response_id" => {
                let Some(kept_after) = kept_after else { continue };
                let is_store = &*key == b"store";
                *(if is_store { &mut no_store } else { &mut no_previous }) = false;
                edits.replace(place, if is_store { b"true" } else { kept_after })?;
                continue;
            }
            b"id" => (&mut id, identity.generation_id_json()),
            b"model" => (&mut model, identity.model_json()),
            b"provider" => (&mut provider, identity.provider_json()),
            _ => continue,
        };
        *missing = false;
        if openrouter {
            edits.replace(place, value)?;
        }
    }
    let mut patch = Patch::default();
    patch.insert_if(no_store, "store", b"true");
    patch.insert_if(no_previous, "previous_response_id", kept_after.unwrap_or_default());
    if !openrouter {
        return patch.write(reply, base, edits);
    }
    patch.insert_if(id, "id", identity.generation_id_json());
    patch.insert_if(model, "model", identity.model_json());
    patch.insert_if(provider, "provider", identity.provider_json());
    if created {
        patch.insert("created_at", identity.created_s().to_string().as_bytes());
    }
    patch.insert_if(no_status, "status", format!("\"{status}\"").as_bytes());
    for ((name, value), missing) in MANDATORY.into_iter().zip(missing) {
        patch.insert_if(missing, name, value);
    }
    if let (true, Some(billed), Some(cost)) = (usage, billed, cost) {
        patch.insert("usage", &usage_of(billed, cost));
    }
    patch.write(reply, base, edits)
}

/// A usage object where the provider sent none.
fn usage_of(billed: &Usage, cost: NanoUsd) -> Vec<u8> {
    let mut json = Vec::new();
    write_usage(billed, Some(cost), true, &mut json);
    json
}

/// Gives a usage object its cost, and on `/api/v1` what strict clients want in it. Without a known cost it stays as it is.
fn edit_usage(usage: &[u8], base: usize, identity: &Identity, cost: Option<NanoUsd>, edits: &mut Edits) -> Result<(), Unspliced> {
    if cost.is_none() {
        return Ok(());
    }
    let mut patch = Patch::default();
    set_cost(usage, base, cost, &mut patch, edits)?;
    if identity.is_openrouter() {
        match walk::member(usage, "is_byok")? {
            Some(member) => edits.replace(shifted(&member.value_range, base), b"false")?,
            None => patch.insert("is_byok", b"false"),
        }
        complete_usage(usage, base, &mut patch, edits)?;
    }
    patch.write(usage, base, edits)
}

/// The figures whose absence or wrong type breaks strict clients.
fn complete_usage(usage: &[u8], base: usize, patch: &mut Patch, edits: &mut Edits) -> Result<(), Unspliced> {
    let figures = Figures::read(usage).usage(0).unwrap_or_default();
    let (input, output) = (figures.total_prompt_tokens(), figures.completion_tokens);
    let members = [
        ("input_tokens", Kind::Number, input.to_string()),
        ("output_tokens", Kind::Number, output.to_string()),
        ("total_tokens", Kind::Number, input.saturating_add(output).to_string()),
        ("input_tokens_details", Kind::Object, format!(r#"{{"cached_tokens":{}}}"#, figures.cache_read_tokens)),
        ("output_tokens_details", Kind::Object, format!(r#"{{"reasoning_tokens":{}}}"#, figures.reasoning_tokens)),
    ];
    for (name, kind, value) in members {
        match walk::member(usage, name)? {
            Some(member) if member.kind == kind => {}
            Some(member) => edits.replace(shifted(&member.value_range, base), value.as_bytes())?,
            None => patch.insert(name, value.as_bytes()),
        }
    }
    Ok(())
}
