//! Tools and the choice among them, written.

use fairlead_ir::{Origin, Param, Severity, Text, Tool, ToolChoice, ToolKind};

use super::encode::Writing;
use crate::json::Kind;
use crate::json::walk;
use crate::openai_chat::wire::leftover;
use crate::text::escape;
use crate::write::{Array, Object};

/// Writes `tools`, `tool_choice` and `parallel_tool_calls`, in the caller's order.
pub(super) fn write_tools(writing: &mut Writing<'_, '_>, body: &mut Object<'_>) {
    let request = writing.request;
    let mut any = false;
    if request.tools.iter().any(|tool| goes_into_list(tool, writing)) {
        any = true;
        body.array("tools", |list| request.tools.iter().for_each(|tool| write_tool(writing, tool, list)));
    } else {
        request.tools.iter().for_each(|tool| lose_tool(writing, tool));
    }
    for tool in &request.tools {
        if let ToolKind::WebSearch { raw } = &tool.kind
            && !is_in_list(tool, writing)
        {
            write_search_options(writing, tool, raw.as_bytes(), body);
        }
    }
    // OpenAI refuses a choice among nothing.
    if any {
        write_choice(writing, body);
        write_parallel(writing, body);
    } else if matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { .. })) {
        writing.lose(Param::ToolChoice, Severity::Dropped, "there is no tool to choose");
    }
}

/// Whether anything of the tool is written into the list.
fn goes_into_list(tool: &Tool<'_>, writing: &Writing<'_, '_>) -> bool {
    match tool.kind {
        ToolKind::Function { .. } | ToolKind::Custom { .. } => true,
        ToolKind::WebSearch { .. } => is_in_list(tool, writing),
        ToolKind::Hosted { .. } => writing.own,
    }
}

/// Whether a web search stood in the list of this dialect; otherwise it is a parameter of the request.
fn is_in_list(tool: &Tool<'_>, writing: &Writing<'_, '_>) -> bool {
    writing.own && tool.origin != Origin::member("web_search_options")
}

fn lose_tool(writing: &mut Writing<'_, '_>, tool: &Tool<'_>) {
    if let ToolKind::Hosted { .. } = tool.kind {
        writing.losses.block(tool.origin, Severity::Dropped, "the provider has no such tool");
    }
}

fn write_tool(writing: &mut Writing<'_, '_>, tool: &Tool<'_>, list: &mut Array<'_>) {
    match &tool.kind {
        ToolKind::Function { parameters } => {
            let name = writing.sent_name(&tool.name);
            writing.bridge.tool(&name, &tool.name, false);
            let strict = known_strict(writing, tool);
            write_own(writing, tool, "function", list, |function| {
                function.escaped("name", &name).optional_escaped("description", tool.description.as_ref());
                if let Some(parameters) = parameters {
                    function.raw("parameters", parameters.as_bytes());
                }
                if let Some(strict) = strict {
                    function.flag("strict", strict);
                }
            });
        }
        ToolKind::Custom { format } if !writing.traits.no_custom_tools => {
            let name = writing.sent_name(&tool.name);
            writing.bridge.tool(&name, &tool.name, false);
            write_own(writing, tool, "custom", list, |custom| {
                custom.escaped("name", &name).optional_escaped("description", tool.description.as_ref());
                if let Some(format) = format {
                    custom.raw("format", format.as_bytes());
                }
            });
        }
        ToolKind::Custom { format } => {
            let name = writing.sent_name(&tool.name);
            writing.bridge.tool(&name, &tool.name, true);
            writing.losses.block(tool.origin, Severity::Changed, "the endpoint knows no tools that take free text: it became a function");
            let description = with_grammar(tool.description.as_ref(), format.as_ref().map(|format| format.as_bytes()));
            write_own(writing, tool, "function", list, |function| {
                function.escaped("name", &name).optional_escaped("description", description.as_ref());
                function.raw("parameters", br#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}"#);
            });
        }
        ToolKind::WebSearch { raw } | ToolKind::Hosted { raw, .. } if goes_into_list(tool, writing) => {
            list.raw(raw.as_bytes());
        }
        ToolKind::WebSearch { .. } | ToolKind::Hosted { .. } => lose_tool(writing, tool),
    }
}

fn known_strict(writing: &mut Writing<'_, '_>, tool: &Tool<'_>) -> Option<bool> {
    if tool.strict == Some(true) && writing.traits.no_strict_tools {
        writing.losses.block(tool.origin, Severity::Dropped, "the endpoint cannot be held to the schema of a tool's arguments");
    }
    tool.strict.filter(|_| !writing.traits.no_strict_tools)
}

fn write_own(writing: &mut Writing<'_, '_>, tool: &Tool<'_>, place: &str, list: &mut Array<'_>, members: impl FnOnce(&mut Object<'_>)) {
    list.object(|outer| {
        outer.text("type", place).object(place, |inner| {
            members(inner);
            if writing.own {
                leftover::restore(&tool.rest, place, inner);
            }
        });
        if writing.style.takes_cache_control() {
            writing.style.write_mark(tool.cache, outer);
        }
        if writing.own {
            leftover::write_others(&tool.rest, &["function", "custom"], outer);
        }
    });
    if tool.cache.is_some() && !writing.style.takes_cache_control() {
        writing.losses.block(tool.origin, Severity::Hint, "the endpoint takes no cache marks on tools");
    }
    writing.lose_members(tool.origin, &tool.rest);
}

/// A description that says how the text of a former custom tool must look.
fn with_grammar<'d>(description: Option<&'d Text<'_>>, format: Option<&[u8]>) -> Option<Text<'d>> {
    let grammar = format.filter(|format| !matches!(walk::member(format, "type"), Ok(Some(kind)) if kind.value == b"\"text\""));
    let Some(grammar) = grammar else { return description.map(Text::borrowed) };
    let mut words = description.map_or_else(Vec::new, |description| description.as_bytes().to_vec());
    if !words.is_empty() {
        words.extend_from_slice(br"\n\n");
    }
    words.extend_from_slice(b"The input is one text of this form: ");
    words.extend_from_slice(escape(&String::from_utf8_lossy(grammar)).as_bytes());
    Some(Text::owned(words))
}

/// A search as a parameter of the request; other dialects' options are not its own.
fn write_search_options(writing: &mut Writing<'_, '_>, tool: &Tool<'_>, raw: &[u8], body: &mut Object<'_>) {
    if writing.own {
        body.raw("web_search_options", raw);
        return;
    }
    body.raw("web_search_options", b"{}");
    let is_bare =
        walk::members(raw).all(|member| member.is_ok_and(|member| matches!(member.key, b"type" | b"name") || member.kind == Kind::Null));
    if !is_bare {
        writing.losses.block(tool.origin, Severity::Changed, "the options of another provider's search are not carried over");
    }
}

fn write_choice(writing: &mut Writing<'_, '_>, body: &mut Object<'_>) {
    let Some(choice) = &writing.request.tool_choice else { return };
    let forced = matches!(choice, ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. });
    if forced && writing.traits.no_forced_tool_choice {
        writing.lose(Param::ToolChoice, Severity::Changed, "the endpoint refuses to be forced to call a tool: it may call one");
        body.text("tool_choice", "auto");
        return;
    }
    match choice {
        ToolChoice::Auto => {
            body.text("tool_choice", "auto");
        }
        ToolChoice::None => {
            body.text("tool_choice", "none");
        }
        ToolChoice::Required => {
            body.text("tool_choice", "required");
        }
        ToolChoice::Named(name) => {
            body.object("tool_choice", |choice| write_named(writing, name, choice));
        }
        ToolChoice::Allowed { required, names } => {
            body.object("tool_choice", |choice| {
                choice.text("type", "allowed_tools").object("allowed_tools", |allowed| {
                    allowed.text("mode", if *required { "required" } else { "auto" });
                    allowed.array("tools", |list| {
                        names.iter().for_each(|name| {
                            list.object(|tool| write_named(writing, name, tool));
                        })
                    });
                });
            });
        }
        ToolChoice::Other(raw) if writing.own => {
            body.raw("tool_choice", raw.as_bytes());
        }
        ToolChoice::Other(_) => writing.lose(Param::ToolChoice, Severity::Dropped, "only the dialect it was written in knows it"),
    }
}

fn write_named(writing: &Writing<'_, '_>, name: &Text<'_>, choice: &mut Object<'_>) {
    let is_custom = writing.request.tools.iter().any(|tool| tool.name == *name && matches!(tool.kind, ToolKind::Custom { .. }));
    let place = if is_custom && !writing.traits.no_custom_tools { "custom" } else { "function" };
    let sent = writing.sent_name(name);
    choice.text("type", place).object(place, |inner| {
        inner.escaped("name", &sent);
    });
}

fn write_parallel(writing: &mut Writing<'_, '_>, body: &mut Object<'_>) {
    match writing.request.parallel_tool_calls {
        Some(parallel) if !writing.traits.no_parallel_tool_calls => {
            body.flag("parallel_tool_calls", parallel);
        }
        Some(false) => writing.lose(Param::ParallelToolCalls, Severity::Dropped, "the endpoint cannot be told to call one tool at a time"),
        _ => {}
    }
}
