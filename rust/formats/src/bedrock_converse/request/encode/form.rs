//! The form of the reply: a schema the model is held to, else a tool that stands for it, else words.

use fairlead_ir::request::Format;
use fairlead_ir::{Param, Raw, Severity, Text};

use super::calling::{Calling, Choice};
use super::fit::sent_name;
use super::tools::{Offer, write_spec};
use super::{Job, thinking};
use crate::anthropic_messages::request::encode::schema;
use crate::json::walk;
use crate::text::{join, quote};
use crate::write::Object;

/// What became of the form that was asked for: at most one of these.
#[derive(Default)]
pub(super) struct Form {
    /// `outputConfig.textFormat`.
    pub(super) format: Option<Vec<u8>>,
    /// A tool whose call is the reply.
    pub(super) tool: Option<Offer>,
    /// Words for the system prompt.
    pub(super) instruction: Option<Text<'static>>,
}

/// Decides the form. May change `calling`, so that the tool that stands for the reply is called.
pub(super) fn plan(job: &mut Job<'_, '_>, tools: &[Offer], calling: &mut Calling<'_>) -> Form {
    match &job.request.output.format {
        None | Some(Format::Text) => Form::default(),
        Some(Format::JsonObject) => {
            job.lose(Param::Format, Severity::Changed, "the model is not held to JSON; it was asked for it in words");
            let instruction = Text::word("Reply with one JSON object and nothing else: no introduction, no explanation, no code fence.");
            Form { instruction: Some(instruction), ..Form::default() }
        }
        Some(Format::JsonSchema { schema, name, description, .. }) => {
            let wish = Wish { schema, name: name.as_ref(), description: description.as_ref() };
            wish.native(job).or_else(|| wish.tool(job, tools, calling)).unwrap_or_else(|| wish.words(job))
        }
        Some(Format::Other(raw)) if job.own => Form { format: Some(raw.as_bytes().to_vec()), ..Form::default() },
        Some(Format::Other(_)) => {
            job.lose(Param::Format, Severity::Dropped, "only the dialect it was written in knows this form");
            Form::default()
        }
    }
}

struct Wish<'w> {
    schema: &'w Raw<'w>,
    name: Option<&'w Text<'w>>,
    description: Option<&'w Text<'w>>,
}

impl Wish<'_> {
    /// The model is always held to the schema, which stands in a string. Objects must be closed and bounds are not taken, as with Anthropic.
    fn native(&self, job: &mut Job<'_, '_>) -> Option<Form> {
        if job.target.traits.no_json_schema && !job.own {
            return None;
        }
        let fitting = if job.own { None } else { Some(schema::strict(self.schema.as_bytes())?) };
        if fitting.as_ref().is_some_and(|fitting| fitting.changed) {
            job.lose(Param::Format, Severity::Changed, "bounds in the schema are not enforced; they were put into descriptions");
        }
        let fitting = fitting.map(|fitting| Raw::owned(fitting.json));
        let sent = fitting.as_ref().unwrap_or(self.schema);
        let mut format = Vec::with_capacity(self.schema.as_bytes().len() * 2);
        let mut object = Object::open(&mut format);
        object.text("type", "json_schema").object("structure", |structure| {
            structure.object("jsonSchema", |json_schema| {
                json_schema.escaped("schema", &quote(sent));
                json_schema.optional_escaped("name", self.name).optional_escaped("description", self.description);
            });
        });
        object.close();
        Some(Form { format: Some(format), ..Form::default() })
    }

    /// A tool with the schema as its input that must be called; the way home makes its call the reply's text again. Beside the caller's own
    /// tools the model must call one of them all. Models that think cannot be forced.
    fn tool(&self, job: &mut Job<'_, '_>, tools: &[Offer], calling: &mut Calling<'_>) -> Option<Form> {
        let can_force = !job.target.traits.no_forced_tool_choice && !thinking::is_wanted(job);
        if !can_force || !is_object_schema(self.schema.as_bytes()) {
            return None;
        }
        if calling.is_forced() {
            // The reply is a call of one of the caller's tools, whose text has no form.
            return Some(Form::default());
        }
        let name = tool_name(job);
        let purpose = Text::word("Gives the final reply to the user. Call it once, with the whole reply.");
        let said = [Some(&purpose), self.name, self.description];
        let description = join(said.into_iter().flatten(), r"\n");
        let json = write_spec(&name, Some(&description), self.schema.as_bytes(), None);
        job.bridge.format_tool = Some(String::from_utf8_lossy(name.as_bytes()).into_owned());
        calling.choice = match &calling.choice {
            Choice::Unsaid | Choice::Auto if !tools.is_empty() => Choice::Any,
            _ => Choice::Tool(name),
        };
        job.lose(
            Param::Format,
            Severity::Changed,
            "the model is not held to all of the schema; it was sent as a tool whose call is the reply",
        );
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
fn tool_name(job: &Job<'_, '_>) -> Text<'static> {
    let mut name = b"reply".to_vec();
    while job.request.tools.iter().any(|tool| sent_name(&tool.name).as_bytes() == name) {
        name.push(b'_');
    }
    Text::owned(name)
}

/// Whether a call's input can fit the schema: inputs are objects.
fn is_object_schema(schema: &[u8]) -> bool {
    walk::member(schema, "type").ok().flatten().is_some_and(|kind| kind.value == br#""object""#)
}
