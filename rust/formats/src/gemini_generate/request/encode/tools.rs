//! Tools and which of them may or must be called.

use fairlead_ir::request::Format;
use fairlead_ir::{Param, Raw, Severity, Text, Tool, ToolChoice, ToolKind};

use super::Writing;
use crate::gemini_generate::request::schema::{OF_ONE_TEXT, without_const};
use crate::gemini_generate::wire::media::write_inner;
use crate::read::Reader;
use crate::translate::tools::read_grammar;
use crate::write::{Array, Object, write_escaped};

/// The tool that stands for a form of reply, unless a tool of the caller is called so.
const FORMAT_TOOL: &str = "final_answer";

/// Writes `tools` and `toolConfig`.
pub(super) fn write(writing: &mut Writing<'_, '_>, body: &mut Object<'_>) {
    let mut json = Vec::new();
    let mut list = Array::open(&mut json);
    write_list(writing, &mut list);
    list.close();
    if json != b"[]" {
        body.raw("tools", &json);
    }
    write_config(writing, body);
}

/// Functions that follow one another stand together, in their order; every other tool stands alone.
fn write_list(writing: &mut Writing<'_, '_>, list: &mut Array<'_>) {
    let tools = &writing.request.tools;
    let mut at = 0;
    while at < tools.len() {
        let run = tools[at..].iter().take_while(|tool| is_function(tool)).count();
        let is_last = run > 0 && !tools[at + run..].iter().any(is_function);
        let format = if is_last { format_tool(writing) } else { None };
        if run > 0 {
            list.object(|object| {
                object.array("functionDeclarations", |functions| {
                    tools[at..at + run].iter().for_each(|tool| write_function(tool, writing, functions));
                    format.iter().for_each(|schema| write_format_tool(schema, writing, functions));
                });
            });
        }
        at += run;
        if let Some(tool) = tools.get(at) {
            write_other(tool, writing, list);
            at += 1;
        }
    }
}

fn is_function(tool: &Tool<'_>) -> bool {
    matches!(tool.kind, ToolKind::Function { .. } | ToolKind::Custom { .. })
}

fn write_function(tool: &Tool<'_>, writing: &mut Writing<'_, '_>, functions: &mut Array<'_>) {
    let sent = writing.tool_name(&tool.name);
    let is_custom = matches!(tool.kind, ToolKind::Custom { .. });
    writing.bridge.tool(&sent, &tool.name, is_custom);
    lose_marks(tool, writing);
    if tool.strict == Some(true) && writing.target.traits.no_strict_tools {
        let reason = "the model's arguments are not made to fit the schema";
        writing.losses.block(tool.origin, Severity::Changed, reason);
    }
    functions.object(|function| {
        function.escaped("name", &sent);
        match &tool.kind {
            ToolKind::Custom { format } => write_custom(tool, format.as_ref(), writing, function),
            ToolKind::Function { parameters } => {
                function.optional_escaped("description", tool.description.as_ref());
                if let Some(parameters) = parameters {
                    function.raw("parametersJsonSchema", without_const(parameters).as_bytes());
                }
            }
            ToolKind::WebSearch { .. } | ToolKind::Hosted { .. } => {}
        }
        if writing.own {
            function.members(&tool.rest);
        }
    });
    writing.lose_rest(tool.origin, &tool.rest);
}

fn lose_marks(tool: &Tool<'_>, writing: &mut Writing<'_, '_>) {
    if tool.cache.is_some() {
        writing.losses.block(tool.origin, Severity::Hint, "Gemini caches prompts by itself");
    }
}

/// A tool that takes free text becomes a function of one text; what bounds the text is said in words.
fn write_custom(tool: &Tool<'_>, format: Option<&Raw<'_>>, writing: &mut Writing<'_, '_>, function: &mut Object<'_>) {
    let grammar = format.and_then(read_grammar);
    let mut description = tool.description.as_ref().map(|text| text.as_bytes().to_vec()).unwrap_or_default();
    if let Some((_, definition)) = &grammar {
        writing.losses.block(tool.origin, Severity::Changed, "Gemini enforces no grammar; it is told in the description");
        let before = if description.is_empty() { "" } else { "\\n\\n" };
        description.extend_from_slice(format!("{before}The input must follow this grammar:\\n").as_bytes());
        description.extend_from_slice(definition.as_bytes());
    }
    if !description.is_empty() {
        write_escaped(function.key("description"), &Text::owned(description));
    }
    function.raw("parametersJsonSchema", OF_ONE_TEXT);
}

/// The schema that a tool stands for, where the model takes none beside tools.
fn format_tool(writing: &Writing<'_, '_>) -> Option<Raw<'static>> {
    let beside_tools = writing.target.traits.schema_without_tools && !writing.is_as_asked();
    match &writing.request.output.format {
        Some(Format::JsonSchema { schema, .. }) if beside_tools && writing.request.tool_choice != Some(ToolChoice::None) => {
            Some(without_const(schema))
        }
        _ => None,
    }
}

fn write_format_tool(schema: &Raw<'_>, writing: &mut Writing<'_, '_>, functions: &mut Array<'_>) {
    let mut name = FORMAT_TOOL.to_owned();
    while writing.request.tools.iter().any(|tool| tool.name.is(&name)) {
        name.push('_');
    }
    writing.lose(Param::Format, Severity::Changed, "the model takes no schema beside tools; a tool stands for it, called by choice");
    functions.object(|function| {
        function.text("name", &name);
        function.text("description", "Call this, and nothing else, to give the final answer to the user. The arguments are the answer.");
        function.raw("parametersJsonSchema", schema.as_bytes());
    });
    writing.bridge.format_tool = Some(name);
}

fn write_other(tool: &Tool<'_>, writing: &mut Writing<'_, '_>, list: &mut Array<'_>) {
    lose_marks(tool, writing);
    match &tool.kind {
        ToolKind::WebSearch { raw } | ToolKind::Hosted { raw, .. } if writing.own => drop(list.raw(raw.as_bytes())),
        ToolKind::WebSearch { raw } => {
            list.raw(br#"{"googleSearch":{}}"#);
            if has_options(raw) {
                writing.losses.block(tool.origin, Severity::Changed, "Gemini's web search has no options like these");
            }
        }
        ToolKind::Hosted { word, .. } => {
            let word = String::from_utf8_lossy(word.as_bytes()).into_owned();
            writing.losses.block(tool.origin, Severity::Dropped, format!("Gemini has no tool \"{word}\""));
        }
        ToolKind::Function { .. } | ToolKind::Custom { .. } => {}
    }
}

/// Whether a web search says more than that it is one.
fn has_options(raw: &Raw<'_>) -> bool {
    let mut options = false;
    let read = Reader::new(raw.as_bytes()).object(|key, reader| {
        options |= !matches!(key.name(), "type" | "name");
        reader.skip()
    });
    read.is_ok() && options
}

fn write_config(writing: &mut Writing<'_, '_>, body: &mut Object<'_>) {
    if writing.request.parallel_tool_calls == Some(false) {
        writing.lose(Param::ParallelToolCalls, Severity::Dropped, "Gemini cannot be held to one call at a time");
    }
    let mut json = Vec::new();
    let mut config = Object::open(&mut json);
    write_calling(writing, &mut config);
    if writing.own {
        write_inner("toolConfig", &writing.request.rest, &mut config);
    }
    config.close();
    if json != b"{}" {
        body.raw("toolConfig", &json);
    }
}

fn write_calling(writing: &mut Writing<'_, '_>, config: &mut Object<'_>) {
    if let (Some(ToolChoice::Other(raw)), true) = (&writing.request.tool_choice, writing.own) {
        config.raw("functionCallingConfig", raw.as_bytes());
        return;
    }
    let mut json = Vec::new();
    let mut calling = Object::open(&mut json);
    if writing.own || writing.request.tools.iter().any(is_function) {
        let (mode, names) = mode(writing);
        calling.optional_text("mode", mode);
        if !names.is_empty() {
            calling.array("allowedFunctionNames", |list| list.texts(&names));
        }
    }
    if writing.own {
        write_inner("toolConfig.functionCallingConfig", &writing.request.rest, &mut calling);
    }
    calling.close();
    if json != b"{}" {
        config.raw("functionCallingConfig", &json);
    }
}

/// The mode and the functions that it is bound to.
fn mode<'w>(writing: &mut Writing<'w, '_>) -> (Option<&'static str>, Vec<Text<'w>>) {
    let (request, traits) = (writing.request, writing.target.traits);
    let strict = !traits.no_strict_tools && request.tools.iter().any(|tool| is_function(tool) && tool.strict == Some(true));
    let free = if strict { "VALIDATED" } else { "AUTO" };
    let forced =
        matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. }));
    if forced && traits.no_forced_tool_choice {
        writing.lose(Param::ToolChoice, Severity::Changed, "the model cannot be made to call a tool; it decides");
        return (Some(free), Vec::new());
    }
    match &request.tool_choice {
        None => (Some(free).filter(|_| strict), Vec::new()),
        Some(ToolChoice::Auto) => (Some(free), Vec::new()),
        Some(ToolChoice::None) => (Some("NONE"), Vec::new()),
        Some(ToolChoice::Required) => (Some("ANY"), Vec::new()),
        Some(ToolChoice::Named(name)) => (Some("ANY"), vec![writing.tool_name(name)]),
        Some(ToolChoice::Allowed { required, names }) => {
            let names = names.iter().map(|name| writing.tool_name(name)).collect();
            // Names are taken in these two modes only.
            let unforced = if writing.own { free } else { "VALIDATED" };
            (Some(if *required { "ANY" } else { unforced }), names)
        }
        Some(ToolChoice::Other(_)) => {
            writing.lose(Param::ToolChoice, Severity::Dropped, "Gemini has no such choice; the model decides");
            (Some(free), Vec::new())
        }
    }
}
