//! Writes a whole reply in this dialect.

use fairlead_ir::block::{Arguments, Thought, ToolCall};
use fairlead_ir::response::{Choice, Stop};
use fairlead_ir::{Block, Dialect, Kind, Losses, Manner, NanoUsd, Response, Severity, Text};

use crate::gemini_generate::wire::grounding::{self, Collected};
use crate::gemini_generate::wire::part::{write_call, write_media, write_opaque, write_text};
use crate::gemini_generate::wire::{finish_word, logprobs, rfc3339, write_usage};
use crate::identity::Identity;
use crate::text::{decode, escape, quote};
use crate::translate::{Bridge, Face};
use crate::write::{Array, Object};

/// Appends the body of `response` as the caller shall see it; `cost` is what the caller pays.
pub(crate) fn encode(response: &Response<'_>, face: &Face<'_>, cost: Option<NanoUsd>, out: &mut Vec<u8>, losses: &mut Losses) {
    let own = response.source == Dialect::GeminiGenerate;
    let mut body = Object::open(out);
    let blocked =
        response.choices.first().and_then(|choice| choice.stop.as_ref()?.details.as_ref()).filter(|_| own && is_blocked(response));
    match blocked {
        Some(feedback) => drop(body.raw("promptFeedback", feedback.as_bytes())),
        None => {
            let mut candidates = Array::open(body.key("candidates"));
            for (index, choice) in response.choices.iter().enumerate() {
                let candidate = Candidate { response, index, own, bridge: face.bridge, losses: &mut *losses };
                candidates.object(|object| candidate.write(choice, object));
            }
            candidates.close();
        }
    }
    if response.usage.is_some() || cost.is_some() {
        body.object("usageMetadata", |usage| write_usage(response.usage.as_ref(), cost, usage));
    }
    write_names(&response.id, &response.model, response.created_s, face.identity, &mut body);
    if own {
        let in_candidate = |name: &Text<'_>| name.as_bytes().starts_with(b"candidates[");
        response.rest.iter().filter(|member| !in_candidate(&member.name)).for_each(|member| {
            body.members(std::slice::from_ref(member));
        });
    } else {
        lose_members(response, losses);
    }
    body.close();
}

/// Whether the reply says only why the prompt got none.
fn is_blocked(response: &Response<'_>) -> bool {
    let [Choice { blocks, stop: Some(Stop { details: Some(details), .. }), .. }] = response.choices.as_slice() else { return false };
    blocks.is_empty() && details.as_bytes().starts_with(b"{")
}

/// Writes what a reply or chunk says about itself. On `/v1` the provider's own names stand where it has some.
pub(crate) fn write_names(id: &Text<'_>, model: &Text<'_>, created_s: Option<u64>, identity: &Identity, body: &mut Object<'_>) {
    let native = identity.manner() == Manner::Native;
    let name = |theirs: &Text<'_>, ours: &str| match native && !theirs.is_empty() {
        true => theirs.clone().into_owned(),
        false => escape(ours).into_owned(),
    };
    body.escaped("modelVersion", &name(model, identity.model()));
    body.escaped("responseId", &name(id, identity.generation_id()));
    if let Some(created_s) = created_s {
        body.text("createTime", &rfc3339(created_s));
    }
    if !native {
        body.text("provider", identity.provider());
    }
}

fn lose_members(response: &Response<'_>, losses: &mut Losses) {
    for member in &response.rest {
        let path = String::from_utf8_lossy(member.name.as_bytes()).into_owned();
        losses.at(path, Severity::Hint, "Gemini's replies have no place for it");
    }
    if response.unusual_tier().is_some() {
        losses.at("service_tier".to_owned(), Severity::Hint, "Gemini's replies do not name a tier");
    }
}

/// One candidate while it is written.
struct Candidate<'c> {
    response: &'c Response<'c>,
    index: usize,
    own: bool,
    bridge: &'c Bridge,
    losses: &'c mut Losses,
}

impl Candidate<'_> {
    fn write(mut self, choice: &Choice<'_>, candidate: &mut Object<'_>) {
        let mut cited = Collected::default();
        let mut parts = Vec::new();
        let mut list = Array::open(&mut parts);
        let mut number = 0;
        for block in &choice.blocks {
            let mut part = Vec::new();
            self.write_block(block, number, &mut cited, &mut part);
            if !part.is_empty() {
                list.raw(&part);
                number += match &block.kind {
                    Kind::Thought(thought) if !self.bridge.hide_thoughts => thought.parts.len().max(1),
                    _ => 1,
                };
            }
        }
        list.close();
        candidate.object("content", |content| {
            content.raw("parts", &parts).text("role", "model");
        });
        if let Some(stop) = &choice.stop {
            self.write_stop(stop, candidate);
        }
        candidate.number("index", self.index as u64);
        if let Some(theirs) = &choice.logprobs
            && !logprobs::write(theirs, candidate.key("logprobsResult"))
        {
            self.losses.at(format!("choices[{}].logprobs", self.index), Severity::Dropped, "it is not of the shape that OpenAI documents");
        }
        match self.own {
            true => self.write_rest(candidate),
            false => cited.write(candidate),
        }
    }

    fn write_stop(&mut self, stop: &Stop<'_>, candidate: &mut Object<'_>) {
        if self.own {
            candidate.escaped("finishReason", &stop.native);
            if let Some(message) = &stop.details {
                candidate.raw("finishMessage", message.as_bytes());
            }
            return;
        }
        candidate.text("finishReason", finish_word(stop.reason));
        let unplaced = [
            (stop.sequence.is_some(), "stop_sequence", "Gemini does not say which stop sequence was met"),
            (stop.details.is_some(), "stop_details", "Gemini's replies have no place for details of the end"),
        ];
        for (_, path, reason) in unplaced.into_iter().filter(|(is_there, ..)| *is_there) {
            self.losses.at(path.to_owned(), Severity::Hint, reason);
        }
    }

    fn write_rest(&self, candidate: &mut Object<'_>) {
        let prefix = format!("candidates[{}].", self.index);
        for member in &self.response.rest {
            if let Some(name) = member.name.as_bytes().strip_prefix(prefix.as_bytes()) {
                candidate.members(&[fairlead_ir::Member { name: Text::escaped(name), value: member.value.borrowed() }]);
            }
        }
    }

    /// Writes a block as one part, or as several with commas between them; nothing when it has no place.
    fn write_block(&mut self, block: &Block<'_>, number: usize, cited: &mut Collected, out: &mut Vec<u8>) {
        let seal = block.seal.as_ref().map(|seal| &seal.data);
        let rest = if self.own { block.rest.as_slice() } else { &[] };
        match &block.kind {
            Kind::Text { text, citations } => {
                for citation in citations {
                    let bytes = citation.range.and_then(|range| grounding::bytes(text, range));
                    cited.add(number, bytes, citation);
                }
                write_text(text, false, seal, rest, out);
            }
            Kind::Refusal(text) => write_text(text, false, seal, rest, out),
            Kind::Thought(thought) => self.write_thought(thought, seal, block, out),
            Kind::ToolCall(call) => self.write_call(call, seal, block, out),
            Kind::Media(media) => {
                if let Err(reason) = write_media(media, self.own, seal, rest, out) {
                    out.clear();
                    self.losses.block(block.origin, Severity::Dropped, reason);
                }
            }
            Kind::Opaque { raw, .. } if self.own => write_opaque(raw, seal, rest, out),
            Kind::Opaque { word, .. } => {
                let word = String::from_utf8_lossy(word.as_bytes()).into_owned();
                self.losses.block(block.origin, Severity::Dropped, format!("\"{word}\" has no place in Gemini's replies"));
            }
            // No model answers a tool.
            Kind::ToolResult(_) => self.losses.block(block.origin, Severity::Dropped, "a tool's answer has no place in a reply"),
        }
        if !self.own && !block.rest.is_empty() {
            self.losses.block(block.origin, Severity::Hint, "Gemini's replies have no place for some members of it");
        }
    }

    fn write_thought(&self, thought: &Thought<'_>, seal: Option<&Text<'_>>, block: &Block<'_>, out: &mut Vec<u8>) {
        let rest = if self.own { block.rest.as_slice() } else { &[] };
        let parts = if self.bridge.hide_thoughts { &[] } else { thought.parts.as_slice() };
        let Some((last, others)) = parts.split_last() else {
            if seal.is_some() {
                write_text(&Text::EMPTY, true, seal, rest, out);
            }
            return;
        };
        for part in others {
            write_text(&part.text, true, None, &[], out);
            out.push(b',');
        }
        write_text(&last.text, true, seal, rest, out);
    }

    fn write_call(&mut self, call: &ToolCall<'_>, seal: Option<&Text<'_>>, block: &Block<'_>, out: &mut Vec<u8>) {
        let rest = if self.own { block.rest.as_slice() } else { &[] };
        if stands_for_text(&call.name, self.bridge) {
            let text = match &call.arguments {
                Arguments::Json(raw) => quote(raw),
                Arguments::Quoted(text) | Arguments::Free(text) => text.borrowed(),
            };
            return write_text(&text, false, seal, rest, out);
        }
        let (name, _) = self.bridge.original(&call.name);
        let id = Some(&call.id).filter(|id| !id.is_empty());
        if !write_call(id, &name, &call.arguments, seal, rest, out) {
            let reason = "the arguments are no JSON object; they stand as the text \"_raw\" in one";
            self.losses.block(block.origin, Severity::Changed, reason);
        }
    }
}

/// Whether a call of this tool is the reply's text.
pub(crate) fn stands_for_text(name: &Text<'_>, bridge: &Bridge) -> bool {
    bridge.format_tool.as_deref().is_some_and(|tool| decode(name).is_some_and(|name| name == tool))
}
