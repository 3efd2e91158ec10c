//! The canonical representation as a `text_completion`.

use fairlead_ir::{Block, Choice, Kind, Losses, NanoUsd, Response, Severity, Text, Usage};

use super::wire::write_logprobs;
use crate::openai_chat::response::encode::{arguments_text, finish_word, is_format_tool, write_head, write_native};
use crate::openai_chat::wire::usage::write_usage;
use crate::text::join;
use crate::translate::{Bridge, Face};
use crate::write::Object;

/// Appends the completion as the caller shall see it; `cost` is what it pays.
pub(crate) fn encode(response: &Response<'_>, face: &Face<'_>, cost: Option<NanoUsd>, out: &mut Vec<u8>, losses: &mut Losses) {
    let identity = face.identity;
    let mut body = Object::open(out);
    write_head(response, identity, "text_completion", &mut body);
    body.array("choices", |list| {
        for (at, choice) in response.choices.iter().enumerate() {
            list.object(|object| write_choice(choice, at, face, object, losses));
        }
    });
    if let Some(usage) = response.usage.or_else(|| cost.map(|_| Usage::default())) {
        body.object("usage", |object| write_usage(&usage, cost, identity.is_openrouter(), object));
    }
    body.close();
    if response.unusual_tier().is_some() {
        losses.at("service_tier".to_owned(), Severity::Hint, "completions have no place for it");
    }
    for member in &response.rest {
        let name = String::from_utf8_lossy(member.name.as_bytes()).into_owned();
        losses.at(name, Severity::Hint, "only the dialect it was written in knows it");
    }
}

fn write_choice(choice: &Choice<'_>, at: usize, face: &Face<'_>, object: &mut Object<'_>, losses: &mut Losses) {
    let texts: Vec<Text<'_>> = choice.blocks.iter().filter_map(|block| text_of(block, face.bridge, losses)).collect();
    object.escaped("text", &join(&texts, "")).number("index", at as u64);
    write_logprobs(choice.logprobs.as_ref(), &mut 0, object.key("logprobs"));
    object.text("finish_reason", finish_word(choice.stop.as_ref().map(|stop| stop.reason), false, false, face.bridge));
    if face.identity.is_openrouter() {
        write_native(choice.stop.as_ref(), object);
    }
    if let Some(stop) = &choice.stop {
        // As vLLM names it.
        object.optional_escaped("stop_reason", stop.sequence.as_ref());
        if stop.details.is_some() {
            losses.at("stop_details".to_owned(), Severity::Hint, "completions say why a reply ended in one word");
        }
    }
}

/// What of a block is text: all there is room for.
fn text_of<'b>(block: &'b Block<'_>, bridge: &Bridge, losses: &mut Losses) -> Option<Text<'b>> {
    let (severity, reason) = match &block.kind {
        Kind::Text { text, citations } => {
            if !citations.is_empty() {
                losses.block(block.origin, Severity::Dropped, "completions cite nothing");
            }
            return Some(text.borrowed());
        }
        Kind::Refusal(text) => return Some(text.borrowed()),
        Kind::ToolCall(call) if is_format_tool(&call.name, bridge) => return Some(arguments_text(&call.arguments)),
        Kind::Thought(_) => (Severity::Hint, "completions have no place for thoughts"),
        _ => (Severity::Dropped, "completions hold text only"),
    };
    losses.block(block.origin, severity, reason);
    None
}

#[cfg(test)]
mod tests;
