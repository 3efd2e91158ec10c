//! A preset's fields in the words of every way to ask: written once as chat has them, and by the translations into the other dialects.

use fairlead_ir::preset::{Field, Form, Template};
use fairlead_ir::{Dialect, Losses, Severity, Tier};

use super::CONTAINERS;
use crate::extension::{EXTENSIONS, Treatment};
use crate::json::walk::{as_str, member, members, write_string};
use crate::json::{Kind, is_complete};
use crate::request::Refusal;
use crate::traits::Traits;
use crate::translate::{Target, dialects};

/// The field that is not a member of requests: what leads the conversation.
pub(super) const SYSTEM_PROMPT: &str = "system_prompt";

/// Whether a field is a service tier that is not the usual one: the gateway understands it in every dialect.
fn is_said_alike(field: &Field) -> bool {
    let is_usual = || as_str(&field.value).and_then(|word| Tier::from_word(word.as_bytes())) == Some(Tier::Standard);
    &*field.name == "service_tier" && !is_usual()
}

/// What legacy completions have of chat's fields.
#[rustfmt::skip]
const OF_COMPLETIONS: [&str; 16] = [
    "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "min_p", "top_a", "frequency_penalty", "presence_penalty",
    "repetition_penalty", "seed", "stop", "n", "logit_bias", "service_tier", "prompt_cache_key",
];

/// What embeddings have of them.
const OF_EMBEDDINGS: [&str; 1] = ["service_tier"];

/// More than any model writes: so that no share of the limit, and no limit that a dialect demands, is taken for the preset's.
const NO_LIMIT: u64 = 1 << 40;

/// Makes the template of a preset from its fields: a JSON object in chat's words, with `system_prompt` beside them.
///
/// # Errors
/// A field is no chat request's, has a value that chat does not know, or is not for presets. The refusal's `param` is its path.
pub fn compile(fields: &[u8]) -> Result<Template, Refusal> {
    if !is_complete(fields) || !fields.trim_ascii().starts_with(b"{") {
        return Err(Refusal::field("fields", "the fields are no JSON object".to_owned()));
    }
    let mut chat = Form::default();
    let mut prompt = None;
    for field in members(fields).map_while(Result::ok) {
        let name = as_str(&[b"\"", field.key, b"\""].concat()).unwrap_or_default().into_owned();
        check_name(&name)?;
        if name == SYSTEM_PROMPT {
            let text = as_str(field.value).ok_or_else(|| Refusal::field(SYSTEM_PROMPT, "\"system_prompt\" must be a string".to_owned()))?;
            prompt = Some(text.into_owned());
            continue;
        }
        chat.fields.push(Field { within: None, name: name.into(), value: field.value.into() });
    }
    let written = Written::of(&chat)?;
    let mut template = Template {
        responses: written.form(Dialect::OpenaiResponses, &chat)?,
        messages: written.form(Dialect::AnthropicMessages, &chat)?,
        gemini: written.form(Dialect::GeminiGenerate, &chat)?,
        completions: only(&chat, &OF_COMPLETIONS, "completions have no such parameter"),
        embeddings: only(&chat, &OF_EMBEDDINGS, "embeddings have no such parameter"),
        chat,
    };
    if let Some(prompt) = prompt {
        instruct(&mut template, &prompt);
    }
    Ok(template)
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let extension = EXTENSIONS.iter().find(|row| row.key == name);
    let message = match (name, extension) {
        ("model" | "messages" | "prompt" | "input" | "contents" | "stream" | "stream_options" | "user", _) => {
            format!("\"{name}\" is the request's own to say; take it out of the preset")
        }
        (_, Some(row)) if row.treatment == Treatment::NotInThisVersion || name == "plugins" => {
            format!("\"{name}\" ({}) is not in this version", row.feature)
        }
        (_, Some(_)) => format!("\"{name}\" is no field of a request that a preset could say for it"),
        _ => return Ok(()),
    };
    Err(Refusal { param: Some(name.to_owned().into()), ..Refusal::field("fields", message) })
}

/// Those fields that are known there; of the others a loss each.
fn only(chat: &Form, known: &[&str], reason: &'static str) -> Form {
    let mut form = Form::default();
    for field in &chat.fields {
        match known.contains(&&*field.name) {
            true => form.fields.push(field.clone()),
            false => form.losses.at(field.name.to_string(), Severity::Dropped, reason),
        }
    }
    form
}

/// The system prompt where each dialect has it.
fn instruct(template: &mut Template, prompt: &str) {
    let mut quoted = Vec::with_capacity(prompt.len() + 2);
    write_string(&mut quoted, prompt);
    let around = |before: &[u8], after: &[u8]| Some([before, &quoted, after].concat().into_boxed_slice());
    template.chat.instruction = around(br#"{"role":"system","content":"#, b"}");
    template.gemini.instruction = around(br#"{"parts":[{"text":"#, b"}]}");
    template.responses.instruction = around(b"", b"");
    template.messages.instruction = around(b"", b"");
    template.completions.losses.at(SYSTEM_PROMPT.to_owned(), Severity::Dropped, "completions have no instructions");
    template.embeddings.losses.at(SYSTEM_PROMPT.to_owned(), Severity::Dropped, "embeddings have no instructions");
}

/// A chat request that says nothing, and one that says what the preset does.
struct Written {
    empty: Vec<u8>,
    full: Vec<u8>,
    has_budget: bool,
    /// The preset says what of the thoughts is shown.
    shows: bool,
}

impl Written {
    fn of(chat: &Form) -> Result<Written, Refusal> {
        let empty = br#"{"model":"m","messages":[{"role":"user","content":"."}]}"#.to_vec();
        let mut full = empty[..empty.len() - 1].to_vec();
        for field in chat.fields.iter().filter(|field| !is_said_alike(field)) {
            full.push(b',');
            write_string(&mut full, &field.name);
            full.push(b':');
            full.extend_from_slice(&field.value);
        }
        full.push(b'}');
        let request = dialects::decode_scanned_request(Dialect::OpenaiChat, &full)?;
        let has_budget = request.reasoning.budget_tokens.is_some();
        let shows = request.reasoning.show.is_some();
        Ok(Written { empty, full, has_budget, shows })
    }

    /// What the preset's request has in a dialect and the empty one has not.
    fn form(&self, dialect: Dialect, chat: &Form) -> Result<Form, Refusal> {
        let traits = Traits {
            // The newest words, which the dialect's own reader takes in for every endpoint; a budget has only the older ones.
            adaptive_thinking: !self.has_budget,
            thinking_level: !self.has_budget,
            native_schema: true,
            ..Traits::NONE
        };
        let target = Target { traits, max_output_tokens: Some(NO_LIMIT), ..Target::new(dialect, "m") };
        let write = |chat: &[u8]| -> Result<(Vec<u8>, Losses), Refusal> {
            let request = dialects::decode_scanned_request(Dialect::OpenaiChat, chat)?;
            let encoded = dialects::encode_request(&request, &target)?;
            Ok((encoded.body, encoded.losses))
        };
        let (empty, (full, losses)) = (write(&self.empty)?.0, write(&self.full)?);
        let mut fields: Vec<Field> = chat.fields.iter().filter(|field| is_said_alike(field)).cloned().collect();
        if dialect == Dialect::GeminiGenerate {
            fields.iter_mut().for_each(|field| field.name = "serviceTier".into());
        }
        differences(&full, &empty, None, &mut fields);
        if !self.shows {
            fields.iter_mut().for_each(forget_display);
        }
        // What a translation says to the model in words would be a system prompt that nobody wrote.
        let count = fields.len();
        fields.retain(|field| field.within.is_some() || !CONVERSATION.contains(&&*field.name));
        let losses = if fields.len() < count { without_words(&losses) } else { losses };
        Ok(Form { fields, instruction: None, losses })
    }
}

/// Where dialects have their conversations.
const CONVERSATION: [&str; 6] = ["system", "systemInstruction", "instructions", "messages", "contents", "input"];

/// The same losses where nothing is said in words: gone is what that stood for.
fn without_words(losses: &Losses) -> Losses {
    let mut found = Losses::new();
    for loss in losses.as_slice() {
        match loss.reason.contains("in words") {
            true => found.at(loss.path.clone(), Severity::Dropped, "a client of this dialect cannot say it"),
            false => found.at(loss.path.clone(), loss.severity, loss.reason.clone()),
        }
    }
    found
}

/// What a client of Messages is shown is as its dialect has it; only clients of other dialects expect more, and older models refuse to be asked.
fn forget_display(field: &mut Field) {
    const ASKED: &[u8] = br#","display":"summarized""#;
    let at = field.value.windows(ASKED.len()).position(|part| part == ASKED).filter(|_| &*field.name == "thinking");
    if let Some(at) = at {
        field.value = [&field.value[..at], &field.value[at + ASKED.len()..]].concat().into();
    }
}

/// Adds the members of an object that another one does not have, or has otherwise.
fn differences(full: &[u8], empty: &[u8], within: Option<&'static str>, fields: &mut Vec<Field>) {
    for found in members(full).map_while(Result::ok) {
        let name = as_str(&[b"\"", found.key, b"\""].concat()).unwrap_or_default().into_owned();
        let other = member(empty, &name).ok().flatten();
        if other.as_ref().is_some_and(|other| other.value == found.value) {
            continue;
        }
        match CONTAINERS.into_iter().find(|container| within.is_none() && *container == name && found.kind == Kind::Object) {
            Some(container) => differences(found.value, other.map_or(b"{}", |other| other.value), Some(container), fields),
            None => fields.push(Field { within, name: name.into(), value: found.value.into() }),
        }
    }
}
