//! The tools on offer.

use fairlead_ir::block::CacheMark;
use fairlead_ir::{Raw, Severity, Text, Tool, ToolChoice, ToolKind};

use super::Job;
use super::conversation::{Message, called};
use super::fit::sent_name;
use crate::bedrock_converse::wire::block::Content;
use crate::bedrock_converse::wire::write_cache_point;
use crate::json::walk;
use crate::text::join;
use crate::write::{Array, Object};

/// A tool, written, and its mark.
pub(super) struct Offer {
    json: Vec<u8>,
    pub(super) mark: Option<CacheMark>,
}

impl Offer {
    pub(super) const fn new(json: Vec<u8>) -> Offer {
        Offer { json, mark: None }
    }

    pub(super) fn write(&self, list: &mut Array<'_>) {
        list.raw(&self.json);
        if let Some(mark) = self.mark {
            write_cache_point(mark, list.element());
        }
    }
}

/// The tools that can be sent. A conversation that holds calls is refused without any, so they are declared then as far as they are known.
pub(super) fn offer(job: &mut Job<'_, '_>, messages: &[Message<'_>]) -> Vec<Offer> {
    let request = job.request;
    let is_allowed = |tool: &Tool<'_>| match &request.tool_choice {
        Some(ToolChoice::Allowed { names, .. }) => names.contains(&tool.name),
        _ => true,
    };
    let tools: Vec<Offer> = request.tools.iter().filter(|tool| is_allowed(tool)).filter_map(|tool| fit(job, tool)).collect();
    if !tools.is_empty() || job.own || !are_used(messages) {
        return tools;
    }
    let reason =
        "the conversation holds calls of tools that are not offered; they were declared by name and their calls forbidden in words";
    job.losses.param(fairlead_ir::Param::Tools, request.source, Severity::Changed, reason);
    let mut names = called(messages);
    let unnamed = Text::word("tool");
    if names.is_empty() {
        names.push(&unnamed);
    }
    names.iter().map(|name| Offer::new(write_spec(name, None, EMPTY_SCHEMA, None))).collect()
}

/// Whether the conversation holds calls or results.
pub(super) fn are_used(messages: &[Message<'_>]) -> bool {
    let pieces = messages.iter().flat_map(|message| &message.pieces);
    pieces.into_iter().any(|piece| matches!(piece.content, Content::Call { .. } | Content::Result { .. }))
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
    Some(Offer { json, mark: tool.cache })
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
    const SCHEMA: &[u8] =
        br#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}"#;
    let name = sent_name(&tool.name);
    job.bridge.tool(&name, &tool.name, true);
    let note = format.and_then(read_grammar).map(|(syntax, definition)| {
        job.losses.block(tool.origin, Severity::Changed, "grammars are not enforced here; it was put into the description");
        let [before, between] = [Text::word("The text under \\\"input\\\" must fit this "), Text::word(" grammar:\\n")];
        join([&before, &syntax, &between, &definition], "")
    });
    let said: Vec<&Text<'_>> = tool.description.iter().filter(|text| !text.is_empty()).chain(&note).collect();
    write_spec(&name, Some(&join(said, r"\n\n")), SCHEMA, None)
}

/// Syntax and definition of a grammar: side by side as Responses has them, or one level deeper as chat does.
fn read_grammar<'r>(format: &'r Raw<'_>) -> Option<(Text<'r>, Text<'r>)> {
    let format = format.as_bytes();
    let inner = walk::member(format, "grammar").ok()?.map_or(format, |member| member.value);
    let text = |name| match walk::member(inner, name).ok()??.value {
        [b'"', inside @ .., b'"'] => Some(Text::escaped(inside)),
        _ => None,
    };
    let definition = text("definition")?;
    Some((text("syntax").unwrap_or(Text::EMPTY), definition))
}
