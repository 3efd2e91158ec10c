//! Embeddings as clients shall see them: which bytes change, and what a reply says.

use fairlead_ir::{NanoUsd, Usage};

use crate::identity::Identity;
use crate::json::walk::{Cursor, as_u64};
use crate::json::{Kind, Reject};
use crate::openai_chat::response::{set_cost, set_number};
use crate::openai_chat::wire::{is_error, read_prompt_usage};
use crate::patch::{Patch, Unspliced};
use crate::reply::Seen;
use crate::splice::Edits;
use crate::write::{Object, write_number};

/// Takes what a reply says into `seen`. `false` when it is no list of embeddings.
pub(crate) fn read(body: &[u8], seen: &mut Seen) -> Result<bool, Reject> {
    let (mut is_list, mut id, mut model) = (false, None, None);
    let mut cursor = Cursor::new(body);
    let mut level = cursor.enter(b'{')?;
    while let Some(key) = cursor.next_name(&mut level)? {
        match (&*key, cursor.kind()?) {
            (b"data", Kind::Array) => {
                is_list = true;
                seen.content = !is_empty(cursor.skip()?);
            }
            (b"usage", Kind::Object) => {
                let usage = cursor.skip()?;
                let end = cursor.at();
                seen.usage_range = Some(end - usage.len()..end);
                if let Some(figured) = read_prompt_usage(usage) {
                    seen.take_figures(figured);
                }
            }
            (b"id", _) => id = Some(cursor.skip()?),
            (b"model", _) => model = Some(cursor.skip()?),
            (b"service_tier", _) => seen.take_tier(Some(cursor.skip()?)),
            (b"error", _) => {
                if is_error(cursor.skip()?) {
                    seen.fail(body);
                }
            }
            _ => drop(cursor.skip()?),
        }
    }
    seen.take_names(id, model, None);
    Ok(is_list)
}

fn is_empty(array: &[u8]) -> bool {
    array.get(1..).is_none_or(|inside| inside.trim_ascii_start().starts_with(b"]"))
}

/// Edits a reply for `/api/v1`: OpenRouter's names, and what its clients insist on. `billed` are the figures that stand in where
/// the provider sent none. One pass: the vectors are long.
pub(crate) fn edit(body: &[u8], identity: &Identity, cost: Option<NanoUsd>, billed: &Usage, edits: &mut Edits) -> Result<(), Unspliced> {
    let names = [
        ("id", identity.generation_id_json()),
        ("model", identity.model_json()),
        ("provider", identity.provider_json()),
        ("object", br#""list""#),
    ];
    let (mut found, mut has_usage) = ([false; 4], false);
    let mut cursor = Cursor::new(body);
    let mut level = cursor.enter(b'{')?;
    while let Some(key) = cursor.next_name(&mut level)? {
        let (kind, start) = (cursor.kind()?, cursor.at());
        if *key == *b"data" && kind == Kind::Array {
            edit_data(&mut cursor, body, edits)?;
            continue;
        }
        let value = cursor.skip()?;
        if let Some(at) = names.iter().position(|(name, _)| *key == *name.as_bytes()) {
            found[at] = true;
            replace(value, start, names[at].1, edits)?;
        } else if *key == *b"usage" {
            has_usage = true;
            match kind {
                Kind::Object => edit_usage(value, start, cost, edits)?,
                _ => replace(value, start, &stand_in(billed, cost), edits)?,
            }
        }
    }
    let mut missing = Patch::default();
    for ((key, value), found) in names.into_iter().zip(found) {
        missing.insert_if(!found, key, value);
    }
    if !has_usage {
        missing.insert("usage", &stand_in(billed, cost));
    }
    missing.write(body, 0, edits)
}

/// Puts `wanted` in the place of a value that begins at `start`.
fn replace(value: &[u8], start: usize, wanted: &[u8], edits: &mut Edits) -> Result<(), Unspliced> {
    if value == wanted {
        return Ok(());
    }
    Ok(edits.replace(start..start + value.len(), wanted)?)
}

fn edit_usage(usage: &[u8], base: usize, cost: Option<NanoUsd>, edits: &mut Edits) -> Result<(), Unspliced> {
    let prompt = read_prompt_usage(usage).map_or(0, |figured| figured.usage.total_prompt_tokens());
    let mut patch = Patch::default();
    set_cost(usage, base, cost, &mut patch, edits)?;
    set_number(usage, base, "prompt_tokens", prompt, &mut patch, edits)?;
    set_number(usage, base, "total_tokens", prompt, &mut patch, edits)?;
    patch.write(usage, base, edits)
}

fn stand_in(billed: &Usage, cost: Option<NanoUsd>) -> Vec<u8> {
    let mut json = Vec::new();
    let prompt = billed.total_prompt_tokens();
    let mut usage = Object::open(&mut json);
    usage.number("prompt_tokens", prompt).number("total_tokens", prompt);
    if let Some(cost) = cost {
        cost.write(usage.key("cost"));
    }
    usage.close();
    json
}

fn edit_data(cursor: &mut Cursor<'_>, body: &[u8], edits: &mut Edits) -> Result<(), Unspliced> {
    let mut level = cursor.enter(b'[')?;
    let mut number = 0;
    while cursor.next_element(&mut level)? {
        match cursor.kind()? {
            Kind::Object => edit_embedding(cursor, body, number, edits)?,
            _ => drop(cursor.skip()?),
        }
        number += 1;
    }
    Ok(())
}

fn edit_embedding(cursor: &mut Cursor<'_>, body: &[u8], number: usize, edits: &mut Edits) -> Result<(), Unspliced> {
    let (mut has_kind, mut has_index, begin) = (false, false, cursor.at());
    let mut level = cursor.enter(b'{')?;
    while let Some(key) = cursor.next_name(&mut level)? {
        let (key, start) = (key, cursor.at());
        let value = cursor.skip()?;
        match &*key {
            b"object" => {
                has_kind = true;
                replace(value, start, br#""embedding""#, edits)?;
            }
            b"index" => {
                has_index = true;
                if as_u64(value).is_none() {
                    replace(value, start, &decimal(number), edits)?;
                }
            }
            _ => {}
        }
    }
    let mut patch = Patch::default();
    patch.insert_if(!has_kind, "object", br#""embedding""#);
    patch.insert_if(!has_index, "index", &decimal(number));
    patch.write(&body[begin..cursor.at()], begin, edits)
}

fn decimal(number: usize) -> Vec<u8> {
    let mut text = Vec::new();
    write_number(&mut text, number as u64);
    text
}
