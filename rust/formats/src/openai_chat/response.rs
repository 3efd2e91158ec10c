//! Completions and chunks as clients shall see them: which bytes change, and what a whole reply says.

pub(crate) mod decode;
pub(crate) mod encode;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use fairlead_ir::{Finish, NanoUsd, Usage};
use memchr::memmem::Finder;

use super::wire::{Choices, Outline, PlacedUsage, TEXT_PART, read_usage, word};
use crate::identity::Identity;
use crate::json::walk::{self, Member, as_u64};
use crate::json::{Kind, Reject};
use crate::patch::{Patch, Unspliced, name, shifted};
use crate::reply::Seen;
use crate::splice::Edits;
use crate::write::{Object, write_number};

/// Which of the two objects is edited; they differ in a few names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape<'a> {
    /// With the figures that stand in where the provider sent none.
    Completion(&'a Usage),
    Chunk,
    /// The same of legacy completions.
    Text(&'a Usage),
    TextChunk,
}

/// Where a completion's text is.
pub(crate) const COMPLETION_PART: &str = "message";
/// Where a chunk's text is.
pub(crate) const CHUNK_PART: &str = "delta";

impl<'s> Shape<'s> {
    fn object(self) -> &'static [u8] {
        match self {
            Shape::Completion(_) => br#""chat.completion""#,
            Shape::Chunk => br#""chat.completion.chunk""#,
            Shape::Text(_) | Shape::TextChunk => br#""text_completion""#,
        }
    }

    fn part(self) -> &'static str {
        match self {
            Shape::Completion(_) => COMPLETION_PART,
            Shape::Chunk => CHUNK_PART,
            Shape::Text(_) | Shape::TextChunk => TEXT_PART,
        }
    }

    fn part_kind(self) -> Kind {
        match self {
            Shape::Completion(_) | Shape::Chunk => Kind::Object,
            Shape::Text(_) | Shape::TextChunk => Kind::String,
        }
    }

    fn billed(self) -> Option<&'s Usage> {
        match self {
            Shape::Completion(billed) | Shape::Text(billed) => Some(billed),
            Shape::Chunk | Shape::TextChunk => None,
        }
    }

    /// What stands in for a part that is missing: Azure's last chunk has none.
    fn empty_part(self) -> &'static [u8] {
        match self {
            Shape::Completion(_) => br#"{"role":"assistant","content":null}"#,
            Shape::Chunk => b"{}",
            Shape::Text(_) | Shape::TextChunk => br#""""#,
        }
    }
}

/// Takes what a whole reply says into `seen`. `false` when it is no completion: it has no choices. `part`: as in [`Outline::read`].
pub(crate) fn read(body: &[u8], part: &str, seen: &mut Seen) -> Result<bool, Reject> {
    let outline = Outline::read(body, part)?;
    if outline.error.is_some() {
        seen.fail(body);
    }
    let Some(choices) = outline.choices else { return Ok(false) };
    seen.take_names(outline.id, outline.model, outline.created);
    seen.take_tier(outline.tier);
    take_choices(&choices, seen);
    take_usage(outline.usage.or(choices.usage), seen);
    Ok(choices.count > 0)
}

/// Takes finish and content of the choices into `seen`.
pub(crate) fn take_choices(choices: &Choices<'_>, seen: &mut Seen) {
    seen.take_content(choices.content, choices.content_bytes);
    if let (Some(finish), None) = (&choices.finish, &seen.finish) {
        seen.take_finish(finish, choices.native_finish.as_deref().unwrap_or(finish), choices.matched_stop);
    }
    if let Some(error) = choices.error {
        seen.fail(error);
    }
    if choices.finish.as_deref().is_some_and(|finish| Finish::from_native(finish) == Finish::Error) {
        seen.fail_without_message();
    }
}

/// Takes a usage object into `seen`; whether it held figures.
pub(crate) fn take_usage(usage: Option<PlacedUsage>, seen: &mut Seen) -> bool {
    let Some(PlacedUsage { range, read: Some(figured) }) = usage else { return false };
    seen.usage_range = Some(range);
    seen.take_figures(figured);
    true
}

/// Edits a completion or chunk that begins at `base` of the edited text.
///
/// Returns whether another object that differs only in its texts would be edited in the same way.
pub(crate) fn edit(
    object: &[u8],
    base: usize,
    shape: Shape<'_>,
    identity: &Identity,
    cost: Option<NanoUsd>,
    tools: &mut ToolCalls,
    edits: &mut Edits,
) -> Result<bool, Unspliced> {
    let mut editor = Editor { shape, identity, cost, tools, edits, repeatable: true };
    if identity.is_openrouter() {
        editor.edit_openrouter(object, base)?
    } else {
        editor.edit_native(object, base)?
    }
    Ok(editor.repeatable)
}

/// How many tool calls a stream has begun, for hosts that do not number them.
#[derive(Debug, Default)]
pub(crate) struct ToolCalls {
    begun: u64,
}

impl ToolCalls {
    /// The number of a call that came without one: a new one when it brings an id or a name, else the open one.
    fn number(&mut self, begins: bool) -> u64 {
        self.begun += u64::from(begins || self.begun == 0);
        self.begun - 1
    }

    fn saw(&mut self, index: u64) {
        self.begun = self.begun.max(index.saturating_add(1));
    }
}

struct Editor<'a> {
    shape: Shape<'a>,
    identity: &'a Identity,
    cost: Option<NanoUsd>,
    tools: &'a mut ToolCalls,
    edits: &'a mut Edits,
    repeatable: bool,
}

impl Editor<'_> {
    /// `/v1`: the usage object gains the cost, wherever it is.
    fn edit_native(&mut self, object: &[u8], base: usize) -> Result<(), Unspliced> {
        for member in walk::members(object) {
            let member = member?;
            match (&*name(member.key), member.kind) {
                (b"usage", Kind::Object) => self.edit_usage(member.value, base + member.value_range.start)?,
                (b"choices", Kind::Array) => {
                    let base = base + member.value_range.start;
                    for choice in walk::elements(member.value) {
                        let choice = choice?;
                        if choice.kind == Kind::Object {
                            self.edit_usage_of(choice.value, base + choice.value_range.start)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// `/api/v1`: everything that OpenRouter's clients insist on.
    fn edit_openrouter(&mut self, object: &[u8], base: usize) -> Result<(), Unspliced> {
        let identity = self.identity;
        let (mut id, mut kind, mut created, mut model, mut provider, mut fingerprint, mut choices, mut usage) =
            (true, true, true, true, true, true, true, true);
        for member in walk::members(object) {
            let member = member?;
            let place = shifted(&member.value_range, base);
            match &*name(member.key) {
                b"id" => self.replace_missing(&mut id, place, identity.generation_id_json())?,
                b"model" => self.replace_missing(&mut model, place, identity.model_json())?,
                b"provider" => self.replace_missing(&mut provider, place, identity.provider_json())?,
                b"object" if member.value == self.shape.object() => kind = false,
                b"object" => self.replace_missing(&mut kind, place, self.shape.object())?,
                b"created" if as_u64(member.value).is_some() => created = false,
                b"created" => self.replace_missing(&mut created, place, &self.created())?,
                b"system_fingerprint" => fingerprint = false,
                b"choices" if member.kind == Kind::Array => {
                    choices = false;
                    self.edit_choices(member.value, place.start)?;
                }
                b"choices" => self.replace_missing(&mut choices, place, b"[]")?,
                b"usage" if member.kind == Kind::Object => {
                    usage = false;
                    self.edit_usage(member.value, place.start)?;
                }
                b"usage" => {
                    if let Some(billed) = self.stand_in() {
                        self.replace_missing(&mut usage, place, &billed)?;
                    }
                }
                _ => {}
            }
        }
        let mut patch = Patch::default();
        if usage && let Some(billed) = self.stand_in() {
            patch.insert("usage", &billed);
        }
        patch.insert_if(id, "id", identity.generation_id_json());
        patch.insert_if(kind, "object", self.shape.object());
        if created {
            patch.insert("created", &self.created());
        }
        patch.insert_if(model, "model", identity.model_json());
        patch.insert_if(provider, "provider", identity.provider_json());
        patch.insert_if(fingerprint, "system_fingerprint", b"null");
        patch.insert_if(choices, "choices", b"[]");
        patch.write(object, base, self.edits)
    }

    /// A usage object for a completion that has none.
    fn stand_in(&self) -> Option<Vec<u8>> {
        let (billed, cost) = (self.shape.billed()?, self.cost?);
        let (mut json, mut price) = (Vec::new(), Vec::new());
        cost.write(&mut price);
        let (prompt, completion) = (billed.total_prompt_tokens(), billed.completion_tokens);
        let mut usage = Object::open(&mut json);
        usage.number("prompt_tokens", prompt).number("completion_tokens", completion);
        usage.number("total_tokens", prompt.saturating_add(completion)).raw("cost", &price).raw("is_byok", b"false");
        usage.object("prompt_tokens_details", |details| {
            details.number("cached_tokens", billed.cache_read_tokens);
        });
        usage.object("completion_tokens_details", |details| {
            details.number("reasoning_tokens", billed.reasoning_tokens);
        });
        usage.close();
        Some(json)
    }

    fn created(&self) -> Vec<u8> {
        let mut text = Vec::new();
        write_number(&mut text, self.identity.created_s());
        text
    }

    fn replace_missing(&mut self, missing: &mut bool, place: core::ops::Range<usize>, value: &[u8]) -> Result<(), Unspliced> {
        *missing = false;
        Ok(self.edits.replace(place, value)?)
    }

    fn edit_choices(&mut self, array: &[u8], base: usize) -> Result<(), Unspliced> {
        for (number, choice) in walk::elements(array).enumerate() {
            let choice = choice?;
            if choice.kind == Kind::Object {
                self.edit_choice(choice.value, base + choice.value_range.start, number)?;
            }
        }
        Ok(())
    }

    fn edit_choice(&mut self, choice: &[u8], base: usize, number: usize) -> Result<(), Unspliced> {
        let (mut index, mut finish, mut native, mut part) = (true, true, true, true);
        let mut finish_value: &[u8] = b"null";
        for member in walk::members(choice) {
            let member = member?;
            let place = shifted(&member.value_range, base);
            match &*name(member.key) {
                b"index" => index = false,
                b"native_finish_reason" => native = false,
                b"finish_reason" => {
                    finish = false;
                    finish_value = self.edit_finish(&member, place)?;
                }
                b"usage" if member.kind == Kind::Object => self.edit_usage(member.value, place.start)?,
                key if key == self.shape.part().as_bytes() => {
                    part = false;
                    match member.kind {
                        Kind::Object if self.shape.part_kind() == Kind::Object => self.edit_part(member.value, place.start)?,
                        kind if kind == self.shape.part_kind() => {}
                        _ => self.edits.replace(place, self.shape.empty_part())?,
                    }
                }
                _ => {}
            }
        }
        let mut patch = Patch::default();
        if index {
            let mut text = Vec::new();
            write_number(&mut text, number as u64);
            patch.insert("index", &text);
        }
        patch.insert_if(part, self.shape.part(), self.shape.empty_part());
        patch.insert_if(finish, "finish_reason", b"null");
        patch.insert_if(native, "native_finish_reason", finish_value);
        patch.write(choice, base, self.edits)
    }

    /// Maps the reason to one of the five words; returns the provider's own, as JSON.
    fn edit_finish<'v>(&mut self, member: &Member<'v>, place: core::ops::Range<usize>) -> Result<&'v [u8], Unspliced> {
        match word(member.value) {
            Some(native) => {
                let mapped = Finish::from_native(&native).name();
                if mapped != native {
                    self.edits.replace(place, format!("\"{mapped}\"").as_bytes())?;
                }
                Ok(member.value)
            }
            None if member.kind == Kind::Null => Ok(b"null"),
            None => self.edits.replace(place, b"null").map(|()| &b"null"[..]).map_err(Unspliced::from),
        }
    }

    fn edit_part(&mut self, part: &[u8], base: usize) -> Result<(), Unspliced> {
        let mut role = self.shape != Shape::Chunk;
        for member in walk::members(part) {
            let member = member?;
            let place = shifted(&member.value_range, base);
            match (&*name(member.key), member.kind) {
                (b"role", Kind::String) => role = false,
                (b"role", _) => self.replace_missing(&mut role, place, br#""assistant""#)?,
                (b"tool_calls", Kind::Array) => self.edit_tool_calls(member.value, place.start)?,
                _ => {}
            }
        }
        let mut patch = Patch::default();
        patch.insert_if(role, "role", br#""assistant""#);
        patch.write(part, base, self.edits)
    }

    fn edit_tool_calls(&mut self, array: &[u8], base: usize) -> Result<(), Unspliced> {
        for call in walk::elements(array) {
            let call = call?;
            if call.kind == Kind::Object {
                self.edit_tool_call(call.value, base + call.value_range.start)?;
            }
        }
        Ok(())
    }

    fn edit_tool_call(&mut self, call: &[u8], base: usize) -> Result<(), Unspliced> {
        let (mut index, mut id, mut id_place, mut has_name, mut kind) = (None, false, None, false, None);
        for member in walk::members(call) {
            let member = member?;
            match &*name(member.key) {
                b"index" => index = as_u64(member.value),
                b"id" => {
                    id = word(member.value).is_some();
                    id_place = Some(shifted(&member.value_range, base));
                }
                b"type" => kind = Some((word(member.value).is_some(), shifted(&member.value_range, base))),
                b"function" if member.kind == Kind::Object => {
                    has_name = walk::member(member.value, "name")?.is_some_and(|name| word(name.value).is_some());
                }
                _ => {}
            }
        }
        let begins = id || has_name;
        let number = match index {
            Some(index) => index,
            None => self.tools.number(begins),
        };
        self.tools.saw(number);
        let mut patch = Patch::default();
        if self.shape == Shape::Chunk && index.is_none() {
            // The number depends on the calls before, so the same bytes may need another one next time.
            self.repeatable = false;
            let mut text = Vec::new();
            write_number(&mut text, number);
            patch.insert("index", &text);
        }
        if self.shape != Shape::Chunk {
            match kind {
                Some((true, _)) => {}
                Some((false, place)) => self.edits.replace(place, br#""function""#)?,
                None => patch.insert("type", br#""function""#),
            }
        }
        if !id && (has_name || self.shape != Shape::Chunk) {
            self.repeatable = false;
            let minted = self.identity.tool_call_id_json(usize::try_from(number).unwrap_or(usize::MAX));
            match id_place {
                Some(place) => self.edits.replace(place, &minted)?,
                None => patch.insert("id", &minted),
            }
        }
        patch.write(call, base, self.edits)
    }

    fn edit_usage_of(&mut self, choice: &[u8], base: usize) -> Result<(), Unspliced> {
        match walk::member(choice, "usage")? {
            Some(usage) if usage.kind == Kind::Object => self.edit_usage(usage.value, base + usage.value_range.start),
            _ => Ok(()),
        }
    }

    fn edit_usage(&mut self, usage: &[u8], base: usize) -> Result<(), Unspliced> {
        let mut patch = Patch::default();
        set_cost(usage, base, self.cost, &mut patch, self.edits)?;
        if self.identity.is_openrouter() {
            self.complete_usage(usage, base, &mut patch)?;
        }
        patch.write(usage, base, self.edits)
    }

    /// The figures whose absence or wrong type breaks strict clients.
    fn complete_usage(&mut self, usage: &[u8], base: usize, patch: &mut Patch) -> Result<(), Unspliced> {
        let figures = read_usage(usage).map(|figured| figured.usage).unwrap_or_default();
        let prompt = figures.total_prompt_tokens();
        let numbers = [
            ("prompt_tokens", prompt),
            ("completion_tokens", figures.completion_tokens),
            ("total_tokens", prompt.saturating_add(figures.completion_tokens)),
        ];
        for (key, value) in numbers {
            set_number(usage, base, key, value, patch, self.edits)?;
        }
        let details = [
            ("prompt_tokens_details", "cached_tokens", figures.cache_read_tokens),
            ("completion_tokens_details", "reasoning_tokens", figures.reasoning_tokens),
        ];
        for (group, key, value) in details {
            self.complete_details(usage, base, (group, key, value), patch)?;
        }
        match walk::member(usage, "is_byok")? {
            Some(member) if member.value == b"false" => Ok(()),
            Some(member) => Ok(self.edits.replace(shifted(&member.value_range, base), b"false")?),
            None => {
                patch.insert("is_byok", b"false");
                Ok(())
            }
        }
    }

    fn complete_details(
        &mut self,
        usage: &[u8],
        base: usize,
        (group, key, value): (&'static str, &'static str, u64),
        patch: &mut Patch,
    ) -> Result<(), Unspliced> {
        let whole = || format!("{{\"{key}\":{value}}}").into_bytes();
        match walk::member(usage, group)? {
            Some(details) if details.kind == Kind::Object => {
                let base = base + details.value_range.start;
                let mut inner = Patch::default();
                set_number(details.value, base, key, value, &mut inner, self.edits)?;
                inner.write(details.value, base, self.edits)?;
            }
            Some(details) => self.edits.replace(shifted(&details.value_range, base), &whole())?,
            None => patch.insert(group, &whole()),
        }
        Ok(())
    }
}

static COST_KEY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"cost\""));

/// Gives the usage object its cost: replaced where there is one, whatever it was. Without a known cost it stays as it is.
pub(crate) fn set_cost(usage: &[u8], base: usize, cost: Option<NanoUsd>, patch: &mut Patch, edits: &mut Edits) -> Result<(), Unspliced> {
    let Some(cost) = cost else { return Ok(()) };
    if COST_KEY.find(usage).is_none() && !usage.contains(&b'\\') {
        // Most providers name no price: no need to look at every figure.
        patch.insert_written("cost", |members| cost.write(members));
        return Ok(());
    }
    let mut text = Vec::with_capacity(24);
    cost.write(&mut text);
    let mut missing = true;
    for member in walk::members(usage) {
        let member = member?;
        if member.is("cost") {
            missing = false;
            edits.replace(shifted(&member.value_range, base), &text)?;
        }
    }
    patch.insert_if(missing, "cost", &text);
    Ok(())
}

/// Makes sure that `key` is a number: a missing one is inserted, one of another type replaced.
pub(crate) fn set_number(
    object: &[u8],
    base: usize,
    key: &'static str,
    value: u64,
    patch: &mut Patch,
    edits: &mut Edits,
) -> Result<(), Unspliced> {
    let member = walk::member(object, key)?;
    if member.as_ref().is_some_and(|member| member.kind == Kind::Number) {
        return Ok(());
    }
    let mut text = Vec::new();
    write_number(&mut text, value);
    match member {
        Some(member) => edits.replace(shifted(&member.value_range, base), &text)?,
        None => patch.insert(key, &text),
    }
    Ok(())
}
