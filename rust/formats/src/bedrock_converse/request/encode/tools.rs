//! The tools on offer.

use fairlead_ir::{Param, Raw, Severity, Text, Tool, ToolKind};

use super::Job;
use super::conversation::Message;
use super::fit::sent_name;
use crate::json::walk;
use crate::text::{join, quote};
use crate::translate::form::Wish;
use crate::translate::message::{called, uses_tools};
use crate::translate::tools::{FREE_TEXT, Offer, allowed, grammar_note};
use crate::write::Object;

/// The tools that can be sent. A conversation that holds calls is refused without any, so they are declared then as far as they are known.
pub(super) fn offer(job: &mut Job<'_, '_>, messages: &[Message<'_>]) -> Vec<Offer> {
    let tools: Vec<Offer> = allowed(job).filter_map(|tool| fit(job, tool)).collect();
    if !tools.is_empty() || job.own || !uses_tools(messages) {
        return tools;
    }
    let reason =
        "the conversation holds calls of tools that are not offered; they were declared by name and their calls forbidden in words";
    job.lose(Param::Tools, Severity::Changed, reason);
    let mut names = called(messages);
    let unnamed = Text::word("tool");
    if names.is_empty() {
        names.push(&unnamed);
    }
    names.iter().map(|name| Offer { is_empty: true, ..Offer::new(write_spec(name, None, EMPTY_SCHEMA, None)) }).collect()
}

const EMPTY_SCHEMA: &[u8] = br#"{"type":"object","properties":{}}"#;

fn fit(job: &mut Job<'_, '_>, tool: &Tool<'_>) -> Option<Offer> {
    let json = match &tool.kind {
        ToolKind::Function { parameters } if job.own => own(tool, parameters.as_ref()),
        ToolKind::Function { parameters } => function(job, tool, parameters.as_ref()),
        ToolKind::Custom { format } => custom(job, tool, format.as_ref()),
        ToolKind::Hosted { raw, .. } | ToolKind::WebSearch { raw } if job.own => raw.as_bytes().to_vec(),
        ToolKind::Hosted { .. } | ToolKind::WebSearch { .. } => {
            job.losses.block(tool.origin, Severity::Dropped, "only the provider whose tool it is can run it");
            return None;
        }
    };
    if !job.own {
        job.losses.members(tool.origin, &tool.rest, Severity::Dropped, "this provider's tools have no such member");
    }
    Some(Offer { mark: tool.cache, ..Offer::new(json) })
}

/// A tool of this dialect, as it came.
fn own(tool: &Tool<'_>, parameters: Option<&Raw<'_>>) -> Vec<u8> {
    let mut json = Vec::with_capacity(256);
    let mut object = Object::open(&mut json);
    object.object("toolSpec", |spec| {
        spec.escaped("name", &tool.name).optional_escaped("description", tool.description.as_ref());
        if let Some(schema) = parameters {
            spec.object("inputSchema", |input| {
                input.raw("json", schema.as_bytes());
            });
        }
        if let Some(strict) = tool.strict {
            spec.flag("strict", strict);
        }
        spec.members(&tool.rest);
    });
    object.close();
    json
}

fn function(job: &mut Job<'_, '_>, tool: &Tool<'_>, parameters: Option<&Raw<'_>>) -> Vec<u8> {
    let name = sent_name(&tool.name);
    job.bridge.tool(&name, &tool.name, false);
    let strict = tool.strict.filter(|strict| *strict);
    if strict.is_some() && job.target.traits.no_strict_tools {
        job.losses.block(tool.origin, Severity::Changed, "the model cannot be held to the schema");
    }
    let strict = strict.filter(|_| !job.target.traits.no_strict_tools);
    let schema = parameters.map_or(EMPTY_SCHEMA, |raw| if is_hollow(raw.as_bytes()) { EMPTY_SCHEMA } else { raw.as_bytes() });
    write_spec(&name, tool.description.as_ref(), schema, strict)
}

/// A schema that says nothing is refused.
fn is_hollow(schema: &[u8]) -> bool {
    walk::members(schema).next().is_none_or(|member| member.is_err())
}

/// Appends a `toolSpec` in its object. Empty descriptions are refused.
pub(super) fn write_spec(name: &Text<'_>, description: Option<&Text<'_>>, schema: &[u8], strict: Option<bool>) -> Vec<u8> {
    let mut json = Vec::with_capacity(schema.len() + 256);
    let mut object = Object::open(&mut json);
    object.object("toolSpec", |spec| {
        spec.escaped("name", name).optional_escaped("description", description.filter(|text| !text.is_empty()));
        spec.object("inputSchema", |input| {
            input.raw("json", schema);
        });
        if let Some(strict) = strict {
            spec.flag("strict", strict);
        }
    });
    object.close();
    json
}

/// A tool that takes free text becomes one that takes an object with the text under `input`.
fn custom(job: &mut Job<'_, '_>, tool: &Tool<'_>, format: Option<&Raw<'_>>) -> Vec<u8> {
    let name = sent_name(&tool.name);
    job.bridge.tool(&name, &tool.name, true);
    let note = grammar_note(job, tool, format);
    let said: Vec<&Text<'_>> = tool.description.iter().filter(|text| !text.is_empty()).chain(&note).collect();
    write_spec(&name, Some(&join(said, r"\n\n")), FREE_TEXT, None)
}

/// `outputConfig.textFormat` for a reply that shall fit a schema, which stands in a string. The model is always held to it.
pub(super) fn hold(wish: &Wish<'_>, job: &mut Job<'_, '_>) -> Option<Vec<u8>> {
    if job.target.traits.no_json_schema && !job.own {
        return None;
    }
    let schema = wish.enforced(job)?;
    let mut format = Vec::with_capacity(schema.as_bytes().len() * 2);
    let mut object = Object::open(&mut format);
    object.text("type", "json_schema").object("structure", |structure| {
        structure.object("jsonSchema", |json_schema| {
            json_schema.escaped("schema", &quote(&schema));
            json_schema.optional_escaped("name", wish.name).optional_escaped("description", wish.description);
        });
    });
    object.close();
    Some(format)
}

/// The tool that stands for the form of a reply.
pub(super) fn of_form(wish: &Wish<'_>, job: &mut Job<'_, '_>, name: &Text<'_>, description: &Text<'_>) -> Vec<u8> {
    let reason = "the model is not held to all of the schema; it was sent as a tool whose call is the reply";
    job.lose(Param::Format, Severity::Changed, reason);
    write_spec(name, Some(description), wish.schema.as_bytes(), None)
}

/// Whether a call's input can fit the schema: inputs are objects.
pub(super) fn is_object_schema(schema: &[u8]) -> bool {
    walk::member(schema, "type").ok().flatten().is_some_and(|kind| kind.value == br#""object""#)
}
