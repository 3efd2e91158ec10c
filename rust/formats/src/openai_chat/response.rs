//! Completions and chunks as clients shall see them: which bytes change, and what a whole reply says.

pub(crate) mod decode;
pub(crate) mod encode;
#[cfg(test)]
mod tests;

use core::cell::LazyCell;
use core::ops::Range;
use std::sync::LazyLock;

use fairlead_ir::{Finish, NanoUsd, Usage};
use memchr::memmem::Finder;

use super::wire::{Choices, Outline, PlacedUsage, TEXT_PART, read_usage, word};
use crate::identity::Identity;
use crate::json::walk::{self, Cursor, Member, as_u64};
use crate::json::{Kind, Reject};
use crate::patch::{Patch, Unspliced, shifted};
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
    read_from(Cursor::new(body), body, part, seen)
}

/// As [`read`], of a body that nobody has checked but for UTF-8. What is refused may be good: see [`Cursor::strict`].
pub(crate) fn read_strictly(body: &[u8], part: &str, seen: &mut Seen) -> Result<bool, Reject> {
    read_from(Cursor::strict(body), body, part, seen)
}

fn read_from<'a>(cursor: Cursor<'a>, body: &'a [u8], part: &str, seen: &mut Seen) -> Result<bool, Reject> {
    let outline = Outline::read_from(cursor, part)?;
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

/// Takes a usage object into `seen`; whether it held figures. One without any has its place all the same: the cost stands there.
pub(crate) fn take_usage(usage: Option<PlacedUsage>, seen: &mut Seen) -> bool {
    let Some(PlacedUsage { range, read }) = usage else { return false };
    seen.usage_range = Some(range);
    let has_figures = read.is_some();
    read.into_iter().for_each(|figured| seen.take_figures(figured));
    has_figures
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
        let mut cursor = Cursor::new(object);
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            match (&*key, cursor.kind()?) {
                (b"usage", Kind::Object) => self.edit_usage(&mut cursor, base)?,
                (b"choices", Kind::Array) => self.edit_usage_of_choices(&mut cursor, base)?,
                _ => drop(cursor.skip()?),
            }
        }
        Ok(cursor.end()?)
    }

    fn edit_usage_of_choices(&mut self, cursor: &mut Cursor<'_>, base: usize) -> Result<(), Unspliced> {
        let mut level = cursor.enter(b'[')?;
        while cursor.next_element(&mut level)? {
            if cursor.kind()? != Kind::Object {
                cursor.skip()?;
                continue;
            }
            let mut level = cursor.enter(b'{')?;
            while let Some(key) = cursor.next_name(&mut level)? {
                match (&*key, cursor.kind()?) {
                    (b"usage", Kind::Object) => self.edit_usage(cursor, base)?,
                    _ => drop(cursor.skip()?),
                }
            }
        }
        Ok(())
    }

    /// `/api/v1`: everything that OpenRouter's clients insist on.
    fn edit_openrouter(&mut self, object: &[u8], base: usize) -> Result<(), Unspliced> {
        let identity = self.identity;
        let (mut id, mut kind, mut created, mut model, mut provider, mut fingerprint, mut choices, mut usage) =
            (true, true, true, true, true, true, true, true);
        let mut cursor = Cursor::new(object);
        let brace = base + cursor.at();
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            match (&*key, cursor.kind()?) {
                (b"choices", Kind::Array) => {
                    choices = false;
                    self.edit_choices(&mut cursor, base)?;
                    continue;
                }
                (b"usage", Kind::Object) => {
                    usage = false;
                    self.edit_usage(&mut cursor, base)?;
                    continue;
                }
                _ => {}
            }
            let (value, place) = skip(&mut cursor, base)?;
            match &*key {
                b"id" => self.replace_missing(&mut id, place, identity.generation_id_json())?,
                b"model" => self.replace_missing(&mut model, place, identity.model_json())?,
                b"provider" => self.replace_missing(&mut provider, place, identity.provider_json())?,
                b"object" if value == self.shape.object() => kind = false,
                b"object" => self.replace_missing(&mut kind, place, self.shape.object())?,
                b"created" if as_u64(value).is_some() => created = false,
                b"created" => self.replace_missing(&mut created, place, &self.created())?,
                b"system_fingerprint" => fingerprint = false,
                b"choices" => self.replace_missing(&mut choices, place, b"[]")?,
                b"usage" => {
                    if let Some(billed) = self.stand_in() {
                        self.replace_missing(&mut usage, place, &billed)?;
                    }
                }
                _ => {}
            }
        }
        cursor.end()?;
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
        patch.write_behind(brace, level.is_empty(), self.edits)
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

    fn replace_missing(&mut self, missing: &mut bool, place: Range<usize>, value: &[u8]) -> Result<(), Unspliced> {
        *missing = false;
        Ok(self.edits.replace(place, value)?)
    }

    fn edit_choices(&mut self, cursor: &mut Cursor<'_>, base: usize) -> Result<(), Unspliced> {
        let mut level = cursor.enter(b'[')?;
        let mut number = 0;
        while cursor.next_element(&mut level)? {
            match cursor.kind()? {
                Kind::Object => self.edit_choice(cursor, base, number)?,
                _ => drop(cursor.skip()?),
            }
            number += 1;
        }
        Ok(())
    }

    fn edit_choice(&mut self, cursor: &mut Cursor<'_>, base: usize, number: u64) -> Result<(), Unspliced> {
        let (mut index, mut finish, mut native, mut part) = (true, true, true, true);
        let mut finish_value: &[u8] = b"null";
        let brace = base + cursor.at();
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            let kind = cursor.kind()?;
            let is_part = *key == *self.shape.part().as_bytes();
            part &= !is_part;
            if is_part && kind == Kind::Object && self.shape.part_kind() == Kind::Object {
                self.edit_part(cursor, base)?;
                continue;
            }
            if *key == *b"usage" && kind == Kind::Object {
                self.edit_usage(cursor, base)?;
                continue;
            }
            let (value, place) = skip(cursor, base)?;
            match &*key {
                b"index" => index = false,
                b"native_finish_reason" => native = false,
                b"finish_reason" => {
                    finish = false;
                    finish_value = self.edit_finish(value, kind, place)?;
                }
                _ if is_part && kind != self.shape.part_kind() => self.edits.replace(place, self.shape.empty_part())?,
                _ => {}
            }
        }
        let mut patch = Patch::default();
        if index {
            let mut text = Vec::new();
            write_number(&mut text, number);
            patch.insert("index", &text);
        }
        patch.insert_if(part, self.shape.part(), self.shape.empty_part());
        patch.insert_if(finish, "finish_reason", b"null");
        patch.insert_if(native, "native_finish_reason", finish_value);
        patch.write_behind(brace, level.is_empty(), self.edits)
    }

    /// Maps the reason to one of the five words; returns the provider's own, as JSON.
    fn edit_finish<'v>(&mut self, value: &'v [u8], kind: Kind, place: Range<usize>) -> Result<&'v [u8], Unspliced> {
        match word(value) {
            Some(native) => {
                let mapped = Finish::from_native(&native).name();
                if mapped != native {
                    self.edits.replace(place, format!("\"{mapped}\"").as_bytes())?;
                }
                Ok(value)
            }
            None if kind == Kind::Null => Ok(b"null"),
            None => self.edits.replace(place, b"null").map(|()| &b"null"[..]).map_err(Unspliced::from),
        }
    }

    fn edit_part(&mut self, cursor: &mut Cursor<'_>, base: usize) -> Result<(), Unspliced> {
        let mut role = self.shape != Shape::Chunk;
        let brace = base + cursor.at();
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            match (&*key, cursor.kind()?) {
                (b"tool_calls", Kind::Array) => self.edit_tool_calls(cursor, base)?,
                (b"role", kind) => {
                    let (_, place) = skip(cursor, base)?;
                    match kind {
                        Kind::String => role = false,
                        _ => self.replace_missing(&mut role, place, br#""assistant""#)?,
                    }
                }
                _ => drop(cursor.skip()?),
            }
        }
        let mut patch = Patch::default();
        patch.insert_if(role, "role", br#""assistant""#);
        patch.write_behind(brace, level.is_empty(), self.edits)
    }

    fn edit_tool_calls(&mut self, cursor: &mut Cursor<'_>, base: usize) -> Result<(), Unspliced> {
        let mut level = cursor.enter(b'[')?;
        while cursor.next_element(&mut level)? {
            match cursor.kind()? {
                Kind::Object => self.edit_tool_call(cursor, base)?,
                _ => drop(cursor.skip()?),
            }
        }
        Ok(())
    }

    fn edit_tool_call(&mut self, cursor: &mut Cursor<'_>, base: usize) -> Result<(), Unspliced> {
        let (mut index, mut id, mut id_place, mut has_name, mut kind) = (None, false, None, false, None);
        let brace = base + cursor.at();
        let mut level = cursor.enter(b'{')?;
        while let Some(key) = cursor.next_name(&mut level)? {
            let is_object = cursor.kind()? == Kind::Object;
            let (value, place) = skip(cursor, base)?;
            match &*key {
                b"index" => index = as_u64(value),
                b"id" => {
                    id = word(value).is_some();
                    id_place = Some(place);
                }
                b"type" => kind = Some((word(value).is_some(), place)),
                b"function" if is_object => has_name = walk::member(value, "name")?.is_some_and(|name| word(name.value).is_some()),
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
        patch.write_behind(brace, level.is_empty(), self.edits)
    }

    /// Edits the usage object that is next.
    fn edit_usage(&mut self, cursor: &mut Cursor<'_>, base: usize) -> Result<(), Unspliced> {
        let base = base + cursor.at();
        let usage = cursor.skip()?;
        let mut patch = Patch::default();
        set_cost(usage, base, self.cost, &mut patch, self.edits)?;
        if self.identity.is_openrouter() {
            self.complete_usage(usage, base, &mut patch)?;
        }
        patch.write(usage, base, self.edits)
    }

    /// The figures whose absence or wrong type breaks strict clients.
    fn complete_usage(&mut self, usage: &[u8], base: usize, patch: &mut Patch) -> Result<(), Unspliced> {
        // Most say everything, and need not be read again.
        let figures = LazyCell::new(|| read_usage(usage).map(|figured| figured.usage).unwrap_or_default());
        let figures = || &*figures;
        let [prompt_tokens, completion_tokens, total_tokens, prompt_details, completion_details, is_byok] = walk::first_members(
            usage,
            ["prompt_tokens", "completion_tokens", "total_tokens", PROMPT_DETAILS, COMPLETION_DETAILS, "is_byok"],
        )?;
        let numbers = [
            (prompt_tokens, "prompt_tokens", Usage::total_prompt_tokens as fn(&Usage) -> u64),
            (completion_tokens, "completion_tokens", |usage| usage.completion_tokens),
            (total_tokens, "total_tokens", |usage| usage.total_prompt_tokens().saturating_add(usage.completion_tokens)),
        ];
        for (member, key, value) in numbers {
            put_number(member, base, key, || value(figures()), patch, self.edits)?;
        }
        let details = [
            (prompt_details, PROMPT_DETAILS, "cached_tokens", (|usage| usage.cache_read_tokens) as fn(&Usage) -> u64),
            (completion_details, COMPLETION_DETAILS, "reasoning_tokens", |usage| usage.reasoning_tokens),
        ];
        for (member, group, key, value) in details {
            self.complete_details(member, base, (group, key), || value(figures()), patch)?;
        }
        match is_byok {
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
        details: Option<Member<'_>>,
        base: usize,
        (group, key): (&'static str, &'static str),
        value: impl Fn() -> u64,
        patch: &mut Patch,
    ) -> Result<(), Unspliced> {
        let whole = || format!("{{\"{key}\":{}}}", value()).into_bytes();
        match details {
            Some(details) if details.kind == Kind::Object => {
                let base = base + details.value_range.start;
                let mut inner = Patch::default();
                put_number(walk::member(details.value, key)?, base, key, value, &mut inner, self.edits)?;
                inner.write(details.value, base, self.edits)?;
            }
            Some(details) => self.edits.replace(shifted(&details.value_range, base), &whole())?,
            None => patch.insert(group, &whole()),
        }
        Ok(())
    }
}

const PROMPT_DETAILS: &str = "prompt_tokens_details";
const COMPLETION_DETAILS: &str = "completion_tokens_details";

/// Steps over the next value: as written, and its place when the text begins at `base`.
fn skip<'a>(cursor: &mut Cursor<'a>, base: usize) -> Result<(&'a [u8], Range<usize>), Reject> {
    let start = base + cursor.at();
    let value = cursor.skip()?;
    Ok((value, start..start + value.len()))
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
    put_number(walk::member(object, key)?, base, key, || value, patch, edits)
}

/// As [`set_number`], of the member as it was found.
fn put_number(
    member: Option<Member<'_>>,
    base: usize,
    key: &'static str,
    value: impl FnOnce() -> u64,
    patch: &mut Patch,
    edits: &mut Edits,
) -> Result<(), Unspliced> {
    if member.as_ref().is_some_and(|member| member.kind == Kind::Number) {
        return Ok(());
    }
    let mut text = Vec::new();
    write_number(&mut text, value());
    match member {
        Some(member) => edits.replace(shifted(&member.value_range, base), &text)?,
        None => patch.insert(key, &text),
    }
    Ok(())
}
