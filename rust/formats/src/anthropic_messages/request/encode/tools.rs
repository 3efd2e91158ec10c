//! The tools on offer.

use std::borrow::Cow;

use fairlead_ir::{Param, Raw, Severity, Text, Tool, ToolKind};

use super::blocks::sent_name;
use super::conversation::Message;
use super::{Job, cache};
use crate::json::walk;
use crate::text::{join, quote};
use crate::translate::form::Wish;
use crate::translate::message::called;
use crate::translate::schema;
use crate::translate::tools::{FREE_TEXT, Offer, allowed, grammar_note};
use crate::write::Object;

/// All tools, in the caller's order.
pub(super) fn offer(job: &mut Job<'_, '_>, messages: &[Message<'_>]) -> Vec<Offer> {
    let offers: Vec<Offer> = allowed(job).filter_map(|tool| offer_one(job, tool)).collect();
    if offers.is_empty() { offer_called(job, messages) } else { offers }
}

/// A conversation with tool calls must come with tools: where there is none to offer, empty ones are declared, that cannot be called.
fn offer_called(job: &mut Job<'_, '_>, messages: &[Message<'_>]) -> Vec<Offer> {
    let names = called(messages);
    if !names.is_empty() {
        job.lose(Param::Tools, Severity::Changed, "the conversation has tool calls and the request no tools; empty ones were declared");
    }
    let declare = |name: &&Text<'_>| {
        let mut json = Vec::new();
        let mut object = Object::open(&mut json);
        object.escaped("name", name).raw("input_schema", br#"{"type":"object"}"#);
        object.close();
        Offer { is_empty: true, ..Offer::new(json) }
    };
    names.iter().map(declare).collect()
}

fn offer_one(job: &mut Job<'_, '_>, tool: &Tool<'_>) -> Option<Offer> {
    let json = match &tool.kind {
        ToolKind::WebSearch { raw } | ToolKind::Hosted { raw, .. } if job.own => {
            let mark = tool.cache.filter(|_| !cache::is_marked(raw));
            return Some(Offer { mark, ..Offer::new(raw.as_bytes().to_vec()) });
        }
        ToolKind::WebSearch { raw } => web_search(job, tool, raw),
        ToolKind::Hosted { word, .. } => {
            let word = String::from_utf8_lossy(word.as_bytes());
            job.losses.block(tool.origin, Severity::Dropped, format!("only its own provider runs the tool \"{word}\""));
            return None;
        }
        ToolKind::Function { parameters } => function(job, tool, parameters.as_ref()),
        ToolKind::Custom { format } => custom(job, tool, format.as_ref()),
    };
    if !job.own {
        job.losses.members(tool.origin, &tool.rest, Severity::Dropped, "this provider's tools have no such member");
    }
    Some(Offer { mark: tool.cache, ..Offer::new(json) })
}

fn function(job: &mut Job<'_, '_>, tool: &Tool<'_>, parameters: Option<&Raw<'_>>) -> Vec<u8> {
    let name = sent_name(&tool.name);
    job.bridge.tool(&name, &tool.name, false);
    let no_parameters = Raw::json(br#"{"type":"object","properties":{}}"#);
    let parameters = parameters.filter(|raw| !raw.is("null")).unwrap_or(&no_parameters);
    let fitted = fit_parameters(job, tool, parameters);
    let mut json = Vec::with_capacity(parameters.as_bytes().len() + 256);
    let mut object = Object::open(&mut json);
    object.escaped("name", &name);
    let description = described(tool.description.as_ref(), fitted.note.as_ref());
    object.optional_escaped("description", description.as_deref().filter(|text| !text.is_empty()));
    object.raw("input_schema", &fitted.schema);
    if let Some(strict) = fitted.strict {
        object.flag("strict", strict);
    }
    if job.own {
        object.members(&tool.rest);
    }
    object.close();
    json
}

struct Parameters<'p> {
    schema: Cow<'p, [u8]>,
    strict: Option<bool>,
    /// What of the schema must be said in words.
    note: Option<Text<'static>>,
}

fn fit_parameters<'p>(job: &mut Job<'_, '_>, tool: &Tool<'_>, parameters: &'p Raw<'p>) -> Parameters<'p> {
    let plain = schema::as_object(parameters.as_bytes());
    let note = plain.unions.map(|unions| {
        job.losses.block(tool.origin, Severity::Changed, "a choice at the top of the schema is not taken; it was put into the description");
        join([&Text::word("The arguments must also fit this JSON Schema: "), &quote(&Raw::owned(unions))], "")
    });
    let schema = plain.schema;
    match tool.strict {
        Some(true) if job.own => Parameters { schema, strict: Some(true), note },
        Some(true) if job.target.traits.no_strict_tools => {
            job.losses.block(tool.origin, Severity::Changed, "the model cannot be held to the schema");
            Parameters { schema, strict: None, note }
        }
        Some(true) => match schema::strict(&schema) {
            Some(strict) => {
                if strict.changed {
                    job.losses.block(
                        tool.origin,
                        Severity::Changed,
                        "bounds in the schema are not enforced; they were put into descriptions",
                    );
                }
                Parameters { schema: Cow::Owned(strict.json), strict: Some(true), note }
            }
            None => {
                job.losses.block(tool.origin, Severity::Changed, "the schema is more than can be enforced; it was sent without \"strict\"");
                Parameters { schema, strict: None, note }
            }
        },
        strict => Parameters { schema, strict: strict.filter(|_| job.own), note },
    }
}

fn described<'t>(description: Option<&'t Text<'t>>, note: Option<&Text<'_>>) -> Option<Cow<'t, Text<'t>>> {
    match (description, note) {
        (description, None) => description.map(Cow::Borrowed),
        (None, Some(note)) => Some(Cow::Owned(note.clone().into_owned())),
        (Some(description), Some(note)) => Some(Cow::Owned(join([description, note], r"\n\n"))),
    }
}

/// A tool that takes free text becomes one that takes an object with the text under `input`.
fn custom(job: &mut Job<'_, '_>, tool: &Tool<'_>, format: Option<&Raw<'_>>) -> Vec<u8> {
    let name = sent_name(&tool.name);
    job.bridge.tool(&name, &tool.name, true);
    let note = grammar_note(job, tool, format);
    let mut json = Vec::with_capacity(512);
    let mut object = Object::open(&mut json);
    object.escaped("name", &name);
    object.optional_escaped("description", described(tool.description.as_ref(), note.as_ref()).as_deref().filter(|text| !text.is_empty()));
    object.raw("input_schema", FREE_TEXT);
    object.close();
    json
}

/// `output_config.format` for a reply that shall fit a schema.
pub(super) fn hold(wish: &Wish<'_>, job: &mut Job<'_, '_>) -> Option<Vec<u8>> {
    if !job.target.traits.native_schema {
        return None;
    }
    let schema = wish.enforced(job)?;
    Some([br#"{"type":"json_schema","schema":"#, schema.as_bytes(), b"}"].concat())
}

/// The tool that stands for the form of a reply.
pub(super) fn of_form(wish: &Wish<'_>, job: &mut Job<'_, '_>, name: &Text<'_>, description: &Text<'_>) -> Vec<u8> {
    let plain = schema::as_object(wish.schema.as_bytes());
    let strict = if wish.strict == Some(true) && !job.target.traits.no_strict_tools { schema::strict(&plain.schema) } else { None };
    match &strict {
        Some(strict) if !strict.changed => {}
        _ => job.lose(Param::Format, Severity::Changed, "the model is not held to all of the schema"),
    }
    job.lose(Param::Format, Severity::Hint, "the schema was sent as a tool that must be called; its call is the reply");
    let mut json = Vec::with_capacity(plain.schema.len() + 256);
    let mut object = Object::open(&mut json);
    object.escaped("name", name).escaped("description", description);
    match &strict {
        Some(strict) => object.raw("input_schema", &strict.json).flag("strict", true),
        None => object.raw("input_schema", &plain.schema),
    };
    object.close();
    json
}

/// Anthropic's own search in the place of another provider's.
fn web_search(job: &mut Job<'_, '_>, tool: &Tool<'_>, raw: &Raw<'_>) -> Vec<u8> {
    let raw = raw.as_bytes();
    let inside = |object: Option<&[u8]>, name: &str| -> Option<Vec<u8>> {
        let value = walk::member(object?, name).ok()??.value;
        (value != b"null").then(|| value.to_vec())
    };
    let filters = inside(Some(raw), "filters");
    let place = inside(Some(raw), "user_location");
    // Chat puts the place itself one level deeper.
    let place = inside(place.as_deref(), "approximate").or(place);
    if inside(Some(raw), "search_context_size").is_some() {
        job.losses.block(tool.origin, Severity::Hint, "how much a search brings cannot be said here");
    }
    let mut json = Vec::with_capacity(128);
    let mut object = Object::open(&mut json);
    object.text("type", "web_search_20250305").text("name", "web_search");
    for name in ["allowed_domains", "blocked_domains"] {
        let domains = inside(Some(raw), name).or_else(|| inside(filters.as_deref(), name));
        if let Some(domains) = domains.filter(|domains| domains.starts_with(b"[") && domains != b"[]") {
            object.raw(name, &domains);
        }
    }
    if let Some(uses) = inside(Some(raw), "max_uses") {
        object.raw("max_uses", &uses);
    }
    if let Some(place) = place.filter(|place| place.starts_with(b"{")) {
        object.object("user_location", |object| {
            object.text("type", "approximate");
            for name in ["city", "region", "country", "timezone"] {
                if let Some(value) = inside(Some(&place), name) {
                    object.raw(name, &value);
                }
            }
        });
    }
    object.close();
    json
}
