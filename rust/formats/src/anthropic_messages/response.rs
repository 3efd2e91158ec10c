//! Messages as clients shall see them: which bytes change, and what a whole reply says.

pub(crate) mod decode;
pub(crate) mod encode;

use fairlead_ir::{NanoUsd, Usage};

use super::wire::{Figures, Outline, read_block};
use crate::identity::Identity;
use crate::json::walk::{self, as_str};
use crate::json::{Kind, Reject};
use crate::openai_chat::response::set_cost;
use crate::patch::{Patch, Unspliced, name, shifted};
use crate::reply::Seen;
use crate::splice::Edits;
use crate::write::Object;

/// Takes what a whole reply says into `seen`. `false` when it is no message: it has no content.
pub(crate) fn read(body: &[u8], seen: &mut Seen) -> Result<bool, Reject> {
    let outline = Outline::read(body)?;
    if outline.error || outline.kind == br#""error""# {
        seen.fail(body);
    }
    let Some(content) = outline.content else { return Ok(false) };
    for block in walk::elements(content) {
        let block = block?;
        if block.kind == Kind::Object {
            let (content, bytes) = read_block(block.value)?;
            seen.take_content(content, bytes);
        }
    }
    seen.take_names(outline.id, outline.model, None);
    take_stop(outline.stop_reason, outline.stop_sequence, seen);
    if let Some(usage) = outline.usage {
        let mut figures = Figures::default();
        figures.merge(usage);
        seen.usage_range = Some(outline.usage_start..outline.usage_start + usage.len());
        figures.figured().into_iter().for_each(|figured| seen.take_figures(figured));
    }
    Ok(true)
}

/// Takes a stop reason; whether there was one.
pub(crate) fn take_stop(reason: Option<&[u8]>, sequence: bool, seen: &mut Seen) -> bool {
    let Some(reason) = reason.and_then(as_str) else { return false };
    seen.take_finish(&reason, &reason, sequence || reason == "stop_sequence");
    true
}

/// A usage object where the provider sent none.
fn usage_of(billed: &Usage, cost: NanoUsd) -> Vec<u8> {
    let (mut json, mut price) = (Vec::new(), Vec::new());
    cost.write(&mut price);
    let mut usage = Object::open(&mut json);
    usage.number("input_tokens", billed.prompt_tokens).number("output_tokens", billed.completion_tokens);
    usage.raw("cost", &price).raw("is_byok", b"false");
    usage.close();
    json
}

/// Edits a message that begins at `base` of the edited text: the reply's body, or what `message_start` brings. `billed` stands in for
/// the usage of a whole reply that has none.
pub(crate) fn edit_message(
    message: &[u8],
    base: usize,
    identity: &Identity,
    cost: Option<NanoUsd>,
    billed: Option<&Usage>,
    edits: &mut Edits,
) -> Result<(), Unspliced> {
    let (mut id, mut model, mut provider, mut usage) = (true, true, true, true);
    for member in walk::members(message) {
        let member = member?;
        let place = shifted(&member.value_range, base);
        let (missing, value) = match &*name(member.key) {
            b"usage" if member.kind == Kind::Object => {
                usage = false;
                edit_usage(member.value, place.start, identity, cost, edits)?;
                continue;
            }
            b"usage" => match (billed, cost) {
                (Some(billed), Some(cost)) => {
                    usage = false;
                    edits.replace(place, &usage_of(billed, cost))?;
                    continue;
                }
                _ => continue,
            },
            b"id" => (&mut id, identity.generation_id_json()),
            b"model" => (&mut model, identity.model_json()),
            b"provider" => (&mut provider, identity.provider_json()),
            _ => continue,
        };
        *missing = false;
        if identity.is_openrouter() {
            edits.replace(place, value)?;
        }
    }
    let mut patch = Patch::default();
    if identity.is_openrouter() {
        patch.insert_if(id, "id", identity.generation_id_json());
        patch.insert_if(model, "model", identity.model_json());
        patch.insert_if(provider, "provider", identity.provider_json());
        if let (true, Some(billed), Some(cost)) = (usage, billed, cost) {
            patch.insert("usage", &usage_of(billed, cost));
        }
    }
    patch.write(message, base, edits)
}

/// Gives a usage object its cost, and on `/api/v1` `is_byok`. Without a known cost it stays as it is.
pub(crate) fn edit_usage(
    usage: &[u8],
    base: usize,
    identity: &Identity,
    cost: Option<NanoUsd>,
    edits: &mut Edits,
) -> Result<(), Unspliced> {
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
    }
    patch.write(usage, base, edits)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
