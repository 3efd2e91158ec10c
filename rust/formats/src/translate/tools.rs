//! Tools, as dialects that know only functions are offered them.

use fairlead_ir::block::CacheMark;
use fairlead_ir::{Raw, Severity, Text, Tool, ToolChoice};

use super::Job;
use crate::json::walk;
use crate::text::join;

/// A tool, written but for its cache mark.
pub(crate) struct Offer {
    pub(crate) json: Vec<u8>,
    pub(crate) mark: Option<CacheMark>,
    /// It is there for the conversation's sake and must not be called.
    pub(crate) is_empty: bool,
}

impl Offer {
    pub(crate) const fn new(json: Vec<u8>) -> Offer {
        Offer { json, mark: None, is_empty: false }
    }
}

/// The caller's tools that may be called, for dialects that cannot name them in the choice.
pub(crate) fn allowed<'r>(job: &Job<'_, 'r>) -> impl Iterator<Item = &'r Tool<'r>> + use<'r> {
    let request = job.request;
    request.tools.iter().filter(|tool| match &request.tool_choice {
        Some(ToolChoice::Allowed { names, .. }) => names.contains(&tool.name),
        _ => true,
    })
}

/// The arguments of a tool that takes free text, where there are only functions: the text stands under `input`.
pub(crate) const FREE_TEXT: &[u8] =
    br#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}"#;

/// What must be said in words of the form of a free text.
pub(crate) fn grammar_note(job: &mut Job<'_, '_>, tool: &Tool<'_>, format: Option<&Raw<'_>>) -> Option<Text<'static>> {
    let (syntax, definition) = read_grammar(format?)?;
    job.losses.block(tool.origin, Severity::Changed, "grammars are not enforced here; it was put into the description");
    let [before, between] = [Text::word("The text under \\\"input\\\" must fit this "), Text::word(" grammar:\\n")];
    Some(join([&before, &syntax, &between, &definition], ""))
}

/// Syntax and definition of a grammar: side by side as Responses has them, or one level deeper as chat does.
pub(crate) fn read_grammar<'r>(format: &'r Raw<'_>) -> Option<(Text<'r>, Text<'r>)> {
    let format = format.as_bytes();
    let inner = walk::member(format, "grammar").ok()?.map_or(format, |member| member.value);
    let text = |name| match walk::member(inner, name).ok()??.value {
        [b'"', inside @ .., b'"'] => Some(Text::escaped(inside)),
        _ => None,
    };
    let definition = text("definition")?;
    Some((text("syntax").unwrap_or(Text::EMPTY), definition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grammar_is_found_in_both_shapes() {
        for (format, expected) in [
            (r#"{"type":"grammar","syntax":"lark","definition":"start: \"a\""}"#, Some(("lark", r#"start: \"a\""#))),
            (r#"{"type":"grammar","grammar":{"syntax":"regex","definition":"x"}}"#, Some(("regex", "x"))),
            (r#"{"definition":"x"}"#, Some(("", "x"))),
            (r#"{"type":"text"}"#, None),
        ] {
            let expected = expected.map(|(syntax, definition)| (Text::word(syntax), Text::word(definition)));
            assert_eq!(read_grammar(&Raw::json(format.as_bytes())), expected, "{format}");
        }
    }
}
