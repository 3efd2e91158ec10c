//! The form of the reply: a schema the model is held to, else a tool that stands for it, else words.

use fairlead_ir::request::Format;
use fairlead_ir::{Param, Raw, Severity, Text};

use super::calling::{Calling, Choice};
use super::tools::Offer;
use super::{Job, schema, thinking};
use crate::text::{join, quote};

/// What became of the form that was asked for: at most one of these.
#[derive(Default)]
pub(crate) struct Form {
    /// The dialect's own word for it.
    pub(crate) format: Option<Vec<u8>>,
    /// A tool whose call is the reply.
    pub(crate) tool: Option<Offer>,
    /// Words for the system prompt.
    pub(crate) instruction: Option<Text<'static>>,
}

/// A schema that the reply shall fit.
pub(crate) struct Wish<'w> {
    pub(crate) schema: &'w Raw<'w>,
    pub(crate) strict: Option<bool>,
    pub(crate) name: Option<&'w Text<'w>>,
    pub(crate) description: Option<&'w Text<'w>>,
}

/// How a dialect writes each of them.
pub(crate) struct Writer {
    /// The form that holds the model to the schema; `None` where it cannot be held.
    pub(crate) native: fn(&Wish<'_>, &mut Job<'_, '_>) -> Option<Vec<u8>>,
    /// Whether the arguments of a tool can fit the schema.
    pub(crate) fits_arguments: fn(&[u8]) -> bool,
    /// The tool of this name and description with the schema as its arguments, and the losses that it means.
    pub(crate) tool: fn(&Wish<'_>, &mut Job<'_, '_>, &Text<'_>, &Text<'_>) -> Vec<u8>,
    /// A tool's name as it is sent.
    pub(crate) sent_name: for<'n> fn(&'n Text<'_>) -> Text<'n>,
}

/// Decides the form. May change `calling`, so that the tool that stands for the reply is called.
pub(crate) fn plan(job: &mut Job<'_, '_>, writer: &Writer, tools: &[Offer], calling: &mut Calling<'_>) -> Form {
    match &job.request.output.format {
        None | Some(Format::Text) => Form::default(),
        Some(Format::JsonObject) => {
            job.lose(Param::Format, Severity::Changed, "the model is not held to JSON; it was asked for it in words");
            let instruction = Text::word("Reply with one JSON object and nothing else: no introduction, no explanation, no code fence.");
            Form { instruction: Some(instruction), ..Form::default() }
        }
        Some(Format::JsonSchema { schema, strict, name, description }) => {
            let wish = Wish { schema, strict: *strict, name: name.as_ref(), description: description.as_ref() };
            let native = (writer.native)(&wish, job).map(|format| Form { format: Some(format), ..Form::default() });
            native.or_else(|| wish.tool(job, writer, tools, calling)).unwrap_or_else(|| wish.words(job))
        }
        Some(Format::Other(raw)) if job.own => Form { format: Some(raw.as_bytes().to_vec()), ..Form::default() },
        Some(Format::Other(_)) => {
            job.lose(Param::Format, Severity::Dropped, "only the dialect it was written in knows this form");
            Form::default()
        }
    }
}

impl<'w> Wish<'w> {
    /// The schema as a model is held to it; what comes from the target's own dialect stays as it is. `None` when none can be held to it.
    pub(crate) fn enforced(&self, job: &mut Job<'_, '_>) -> Option<Raw<'w>> {
        if job.own {
            return Some(self.schema.borrowed());
        }
        let strict = schema::strict(self.schema.as_bytes())?;
        if strict.changed {
            job.lose(Param::Format, Severity::Changed, "bounds in the schema are not enforced; they were put into descriptions");
        }
        Some(Raw::owned(strict.json))
    }

    /// A tool with the schema as its arguments that must be called; the way home makes its call the reply's text again. Beside the
    /// caller's own tools the model must call one of them all. Models that think cannot be forced.
    fn tool(&self, job: &mut Job<'_, '_>, writer: &Writer, tools: &[Offer], calling: &mut Calling<'_>) -> Option<Form> {
        let can_force = !job.target.traits.no_forced_tool_choice && !thinking::is_wanted(job);
        if !can_force || !(writer.fits_arguments)(self.schema.as_bytes()) {
            return None;
        }
        if calling.is_forced() {
            // The reply is a call of one of the caller's tools, whose text has no form.
            return Some(Form::default());
        }
        let name = free_name(job, writer);
        let purpose = Text::word("Gives the final reply to the user. Call it once, with the whole reply.");
        let said = [Some(&purpose), self.name, self.description];
        let json = (writer.tool)(self, job, &name, &join(said.into_iter().flatten(), r"\n"));
        job.bridge.format_tool = Some(String::from_utf8_lossy(name.as_bytes()).into_owned());
        calling.choice = match &calling.choice {
            Choice::Unsaid | Choice::Auto if !tools.is_empty() => Choice::Any,
            _ => Choice::Tool(name),
        };
        Some(Form { tool: Some(Offer::new(json)), ..Form::default() })
    }

    fn words(&self, job: &mut Job<'_, '_>) -> Form {
        job.lose(Param::Format, Severity::Changed, "the model is not held to the schema; it was asked in words");
        let ask = Text::word(
            r"Reply with one JSON value that fits this JSON Schema and nothing else: no introduction, no explanation, no code fence.\n",
        );
        Form { instruction: Some(join([&ask, &quote(self.schema)], "")), ..Form::default() }
    }
}

/// A name that none of the caller's tools has.
fn free_name(job: &Job<'_, '_>, writer: &Writer) -> Text<'static> {
    let mut name = b"reply".to_vec();
    while job.request.tools.iter().any(|tool| (writer.sent_name)(&tool.name).as_bytes() == name) {
        name.push(b'_');
    }
    Text::owned(name)
}
