//! What a preset says for a request that does not say it itself: put into the body as bytes, the client's own are not touched.
//!
//! The merge is shallow and the request wins, member by member, also by saying `null`. Members that mean the same are one ([`RIVALS`]): who
//! says `max_completion_tokens` has said `max_tokens`. Three things are not members of a chat request alone:
//!
//! * objects that hold what chat has side by side ([`CONTAINERS`]) are merged by their members;
//! * `tools` are joined: the request's own, then those of the preset that have other names;
//! * the system prompt goes where the dialect has it, unless the request brings instructions of its own.
//!
//! New members stand before the client's, always in the same order, so that a conversation that goes on begins with the same bytes.

mod forms;
#[cfg(test)]
mod tests;

use core::ops::Range;
use std::borrow::Cow;

use fairlead_ir::preset::{Field, Form, Template};
use fairlead_ir::{Dialect, Losses};

use crate::json::Kind;
use crate::json::walk::{Member, as_str, elements, member, members, write_string};
use crate::patch::name;
use crate::request::Purpose;
use crate::splice::{Edits, Misplaced};

pub use forms::compile;

/// Objects of Responses, Messages and Gemini whose members are chat's top-level ones.
const CONTAINERS: [&str; 3] = ["text", "output_config", "generationConfig"];

/// Members that mean the same to a dialect: who says one of them has said them all. Under Gemini's spelling for what has two.
const RIVALS: [(Dialect, &[&str]); 7] = [
    (Dialect::OpenaiChat, &["max_tokens", "max_completion_tokens"]),
    (Dialect::OpenaiChat, &["reasoning", "reasoning_effort", "include_reasoning"]),
    (Dialect::OpenaiChat, &["tool_choice", "function_call"]),
    (Dialect::AnthropicMessages, &["thinking", "output_config.effort"]),
    (Dialect::AnthropicMessages, &["output_config.format", "output_format"]),
    (Dialect::AnthropicMessages, &["service_tier", "speed"]),
    (
        Dialect::GeminiGenerate,
        &["generationConfig.responseMimeType", "generationConfig.responseSchema", "generationConfig.responseJsonSchema"],
    ),
];

/// Members that mean what one endpoint takes and another does not.
const WORDS_OF_ENDPOINTS: [(Dialect, &[&str]); 3] = [
    (Dialect::OpenaiChat, &["reasoning", "include_reasoning"]),
    (Dialect::AnthropicMessages, &["thinking", "output_config.effort", "output_config.format"]),
    (
        Dialect::GeminiGenerate,
        &["generationConfig.thinkingConfig", "generationConfig.responseJsonSchema", "generationConfig.responseSchema"],
    ),
];

/// A body with what its presets say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// The body; it has to be scanned again. `None`: there was nothing to put in.
    pub body: Option<Vec<u8>>,
    /// What the presets say and this way to ask has no words for. Paths are the preset's own.
    pub losses: Losses,
    /// Something was put in that endpoints of the same dialect say differently: how the model thinks, or the form of its reply.
    pub has_words_of_endpoints: bool,
    /// The limit of a chat's reply was put in.
    pub has_limit: bool,
    /// A service tier was put in.
    pub has_tier: bool,
}

/// Puts into a body what `templates` say and it does not; of those, the first that says something wins. `body` is known to be JSON.
///
/// # Errors
/// Never for a body that a scan has accepted.
pub fn fill(templates: &[&Template], dialect: Dialect, purpose: Purpose, body: &[u8]) -> Result<Filled, Misplaced> {
    let mut filling = Filling::new(dialect, purpose, body, conversation_in(dialect, purpose, body));
    for template in templates {
        filling.take(form(template, dialect, purpose));
    }
    filling.write()
}

/// Where the object lies that the members go into: the body, but of Google's count the whole request in it.
fn conversation_in(dialect: Dialect, purpose: Purpose, body: &[u8]) -> Range<usize> {
    let mut whole = None;
    if (purpose, dialect) == (Purpose::CountTokens, Dialect::GeminiGenerate) {
        whole =
            members(body).map_while(Result::ok).find(|found| found.kind == Kind::Object && name_of(dialect, found.key) == WHOLE_REQUEST);
    }
    whole.map_or(0..body.len(), |whole| whole.value_range)
}

const WHOLE_REQUEST: &str = "generateContentRequest";

fn form(template: &Template, dialect: Dialect, purpose: Purpose) -> &Form {
    match (purpose, dialect) {
        (Purpose::Completions, _) => &template.completions,
        (Purpose::Embeddings, _) => &template.embeddings,
        (_, Dialect::OpenaiResponses) => &template.responses,
        (_, Dialect::AnthropicMessages) => &template.messages,
        (_, Dialect::GeminiGenerate) => &template.gemini,
        (_, Dialect::OpenaiChat | Dialect::BedrockConverse) => &template.chat,
    }
}

/// A name as it is compared: escapes decoded, and Google's second spelling turned into its first.
fn name_of(dialect: Dialect, key: &[u8]) -> String {
    let name = String::from_utf8_lossy(&name(key)).into_owned();
    if dialect != Dialect::GeminiGenerate {
        return name;
    }
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut camel, word| {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
        camel
    })
}

/// A body on its way to being filled.
struct Filling<'b, 't> {
    dialect: Dialect,
    purpose: Purpose,
    body: &'b [u8],
    /// Where the object stands that members go into.
    object: Range<usize>,
    /// Its members, by their names as they are compared.
    own: Vec<(String, Member<'b>)>,
    /// The paths that something is said at: by the body, then by the presets so far.
    said: Vec<String>,
    /// So many of them by the body.
    said_by_body: usize,
    fields: Vec<&'t Field>,
    instruction: Option<&'t [u8]>,
    tools: Tools<'t>,
    losses: Losses,
}

impl<'b, 't> Filling<'b, 't> {
    fn new(dialect: Dialect, purpose: Purpose, body: &'b [u8], object: Range<usize>) -> Filling<'b, 't> {
        let own: Vec<_> =
            members(&body[object.clone()]).map_while(Result::ok).map(|member| (name_of(dialect, member.key), member)).collect();
        let mut said: Vec<String> = own.iter().map(|(name, _)| name.clone()).collect();
        for (container, outer) in own.iter().filter(|(name, outer)| CONTAINERS.contains(&name.as_str()) && outer.kind == Kind::Object) {
            let inner = members(outer.value).map_while(Result::ok);
            said.extend(inner.map(|inner| format!("{container}.{}", name_of(dialect, inner.key))));
        }
        // In chat's older way they are a list of another kind.
        let tools = own.iter().find(|(name, _)| name == TOOLS || name == "functions").map(|(_, tools)| tools);
        let is_older = tools.is_some() && !said.iter().any(|said| said == TOOLS);
        let tools = Tools { is_closed: is_older || tools.is_some_and(|own| own.kind != Kind::Array), ..Tools::of(dialect, tools) };
        let said_by_body = said.len();
        Filling {
            dialect,
            purpose,
            body,
            object,
            own,
            said,
            said_by_body,
            fields: Vec::new(),
            instruction: None,
            tools,
            losses: Losses::new(),
        }
    }

    fn own(&self, name: &str) -> Option<&Member<'b>> {
        self.own.iter().find(|(own, _)| own == name).map(|(_, member)| member)
    }

    /// Takes over what one preset says and nobody has said before it.
    fn take(&mut self, form: &'t Form) {
        let before = self.said.len();
        for field in &form.fields {
            // What a count counts.
            if self.purpose == Purpose::CountTokens && &*field.name != TOOLS {
                continue;
            }
            let path = field.path();
            if field.within.is_none() && &*field.name == TOOLS {
                self.tools.join(&field.value);
            } else if !self.is_said(before, &path) && !self.has_other_container(field) {
                self.fields.push(field);
                self.said.push(path);
            }
        }
        if let Some(instruction) = form.instruction.as_deref().filter(|_| self.instruction.is_none() && !self.is_instructed()) {
            self.instruction = Some(instruction);
        }
        for loss in form.losses.as_slice() {
            let field = name_of(self.dialect, loss.path.split(['.', '[']).next().unwrap_or_default().as_bytes());
            let is_about = |said: &String| said.rsplit('.').next() == Some(&field) && said != TOOLS;
            if !self.said[..self.said_by_body].iter().any(is_about) {
                self.losses.at(loss.path.clone(), loss.severity, loss.reason.clone());
            }
        }
    }

    /// Whether one of the first so many paths says what this one does.
    fn is_said(&self, before: usize, path: &str) -> bool {
        let same =
            RIVALS.iter().find(|(dialect, names)| *dialect == self.dialect && names.contains(&path)).map_or(&[][..], |(_, names)| names);
        self.said[..before].iter().any(|said| said == path || same.contains(&said.as_str()))
    }

    /// Whether the body has something else where the field's object would be, such as `null`.
    fn has_other_container(&self, field: &Field) -> bool {
        field.within.and_then(|within| self.own(within)).is_some_and(|container| container.kind != Kind::Object)
    }

    /// Whether the body brings instructions of its own.
    fn is_instructed(&self) -> bool {
        let (place, conversation) = match self.dialect {
            Dialect::OpenaiChat | Dialect::BedrockConverse => ("", "messages"),
            Dialect::OpenaiResponses => ("instructions", "input"),
            Dialect::AnthropicMessages => ("system", "messages"),
            Dialect::GeminiGenerate => ("systemInstruction", "contents"),
        };
        let is_instruction = |message: &[u8]| {
            let role = member(message, "role").ok().flatten().and_then(|role| as_str(role.value).map(Cow::into_owned));
            matches!(role.as_deref(), Some("system" | "developer"))
        };
        let mut messages = self.own(conversation).filter(|list| list.kind == Kind::Array).into_iter().flat_map(|list| elements(list.value));
        self.own(place).is_some() || messages.any(|message| message.is_ok_and(|message| is_instruction(message.value)))
    }

    fn write(self) -> Result<Filled, Misplaced> {
        let mut edits = Edits::new();
        let has = |words: &[&str]| self.fields.iter().any(|field| words.contains(&field.path().as_str()));
        let words = WORDS_OF_ENDPOINTS.iter().filter(|(dialect, _)| *dialect == self.dialect).any(|(_, words)| has(words));
        let has_limit = (self.dialect, self.purpose) == (Dialect::OpenaiChat, Purpose::Generate) && has(RIVALS[0].1);
        let has_tier = has(&["service_tier", "serviceTier"]);
        let mut front = Vec::new();
        if let Some(instruction) = self.instruction {
            self.write_instruction(instruction, &mut front, &mut edits)?;
        }
        self.fields.iter().filter(|field| field.within.is_none()).for_each(|field| put(&mut front, &field.name, &field.value));
        for container in CONTAINERS {
            self.write_container(container, &mut front, &mut edits)?;
        }
        self.tools.write(self.own(TOOLS), self.object.start, &mut front, &mut edits)?;
        insert(&mut edits, self.object.start, &self.body[self.object.clone()], front)?;
        let mut body = None;
        if !edits.is_empty() {
            edits.apply(self.body, body.insert(Vec::new()))?;
        }
        Ok(Filled { body, losses: self.losses, has_words_of_endpoints: words, has_limit, has_tier })
    }

    fn write_instruction(&self, instruction: &[u8], front: &mut Vec<u8>, edits: &mut Edits) -> Result<(), Misplaced> {
        let name = match self.dialect {
            Dialect::OpenaiResponses => "instructions",
            Dialect::AnthropicMessages => "system",
            Dialect::GeminiGenerate => "systemInstruction",
            Dialect::OpenaiChat | Dialect::BedrockConverse => {
                let Some(messages) = self.own("messages") else { return Ok(()) };
                return insert(edits, self.object.start + messages.value_range.start, messages.value, instruction.to_vec());
            }
        };
        put(front, name, instruction);
        Ok(())
    }

    /// Into the object that the body has, or into a new one.
    fn write_container(&self, container: &'static str, front: &mut Vec<u8>, edits: &mut Edits) -> Result<(), Misplaced> {
        let mut inner = Vec::new();
        self.fields.iter().filter(|field| field.within == Some(container)).for_each(|field| put(&mut inner, &field.name, &field.value));
        match self.own(container) {
            _ if inner.is_empty() => {}
            Some(own) => insert(edits, self.object.start + own.value_range.start, own.value, inner)?,
            None => put(front, container, &[b"{", inner.as_slice(), b"}"].concat()),
        }
        Ok(())
    }
}

/// Appends a member to those that are put in together.
fn put(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    separate(out);
    write_string(out, name);
    out.push(b':');
    out.extend_from_slice(value);
}

fn separate(out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.push(b',');
    }
}

/// Puts members, or an element, before the others of `container`, which stands at `start`.
fn insert(edits: &mut Edits, start: usize, container: &[u8], mut new: Vec<u8>) -> Result<(), Misplaced> {
    if new.is_empty() {
        return Ok(());
    }
    let open = container.len() - container.trim_ascii_start().len();
    if !matches!(container[open + 1..].trim_ascii_start().first(), Some(b'}' | b']')) {
        new.push(b',');
    }
    edits.insert(start + open + 1, &new)
}

/// Puts elements behind those of `array`, which stands at `start`.
fn append(edits: &mut Edits, start: usize, array: &[u8], mut new: Vec<u8>) -> Result<(), Misplaced> {
    if new.is_empty() {
        return Ok(());
    }
    if elements(array).next().is_some() {
        new.insert(0, b',');
    }
    edits.insert(start + array.len() - 1, &new)
}

const TOOLS: &str = "tools";
const DECLARATIONS: &str = "functionDeclarations";

/// The tools of presets that the body does not have.
struct Tools<'t> {
    dialect: Dialect,
    /// The body says that it has none, or what nobody understands.
    is_closed: bool,
    known: Vec<Vec<u8>>,
    elements: Vec<&'t [u8]>,
    /// Google's functions, which stand in lists of their own.
    declarations: Vec<&'t [u8]>,
}

impl<'t> Tools<'t> {
    fn of(dialect: Dialect, own: Option<&Member<'_>>) -> Tools<'t> {
        let mut tools = Tools { dialect, is_closed: false, known: Vec::new(), elements: Vec::new(), declarations: Vec::new() };
        for element in own.into_iter().flat_map(|own| elements(own.value)).map_while(Result::ok) {
            match declarations_of(dialect, element.value) {
                Some(list) => elements(list.value).map_while(Result::ok).for_each(|declared| tools.known.push(identity(declared.value))),
                None => tools.known.push(identity(element.value)),
            }
        }
        tools
    }

    /// Adds those whose names are new.
    fn join(&mut self, list: &'t [u8]) {
        for element in elements(list).map_while(Result::ok).filter(|_| !self.is_closed) {
            let Some(declared) = declarations_of(self.dialect, element.value) else {
                if is_new(&mut self.known, element.value) {
                    self.elements.push(element.value);
                }
                continue;
            };
            for declaration in elements(declared.value).map_while(Result::ok) {
                if is_new(&mut self.known, declaration.value) {
                    self.declarations.push(declaration.value);
                }
            }
        }
    }

    fn write(&self, own: Option<&Member<'_>>, base: usize, front: &mut Vec<u8>, edits: &mut Edits) -> Result<(), Misplaced> {
        let (declarations, mut new) = (self.declarations.join(&b","[..]), self.elements.join(&b","[..]));
        let mut own_list = None;
        for element in own.into_iter().flat_map(|own| elements(own.value).map_while(Result::ok)) {
            own_list = own_list.or_else(|| declarations_of(self.dialect, element.value).map(|list| (element.value_range.start, list)));
        }
        match (own, own_list) {
            _ if declarations.is_empty() => {}
            (Some(own), Some((at, list))) => {
                append(edits, base + own.value_range.start + at + list.value_range.start, list.value, declarations)?;
            }
            _ => {
                separate(&mut new);
                new.extend_from_slice(&[b"{\"", DECLARATIONS.as_bytes(), b"\":[", &declarations, b"]}"].concat());
            }
        }
        match own {
            _ if new.is_empty() => Ok(()),
            Some(own) => append(edits, base + own.value_range.start, own.value, new),
            None => {
                put(front, TOOLS, &[b"[", new.as_slice(), b"]"].concat());
                Ok(())
            }
        }
    }
}

/// The list of functions of one of Google's tools.
fn declarations_of(dialect: Dialect, tool: &[u8]) -> Option<Member<'_>> {
    let mut found = members(tool).map_while(Result::ok).filter(|_| dialect == Dialect::GeminiGenerate);
    found.find(|member| member.kind == Kind::Array && name_of(dialect, member.key) == DECLARATIONS)
}

fn is_new(known: &mut Vec<Vec<u8>>, tool: &[u8]) -> bool {
    let identity = identity(tool);
    let is_new = !known.contains(&identity);
    if is_new {
        known.push(identity);
    }
    is_new
}

/// What a tool is known by: its name, else its kind.
fn identity(tool: &[u8]) -> Vec<u8> {
    let inside = |outer: &str| member(tool, outer).ok().flatten().and_then(|outer| member(outer.value, "name").ok().flatten());
    let named = inside("function").or_else(|| inside("custom")).or_else(|| member(tool, "name").ok().flatten());
    let named = named.or_else(|| member(tool, "type").ok().flatten()).filter(|name| name.kind == Kind::String);
    match named {
        Some(name) => as_str(name.value).unwrap_or_default().into_owned().into_bytes(),
        None => members(tool).map_while(Result::ok).next().map_or_else(|| tool.to_vec(), |first| name(first.key).into_owned()),
    }
}
