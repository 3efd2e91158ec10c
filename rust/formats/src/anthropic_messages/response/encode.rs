//! A whole reply of any dialect as a Messages client reads it.

use fairlead_ir::block::{Citation, Seal, Thought, ThoughtPart, ToolCall};
use fairlead_ir::{Block, Choice, Dialect, Kind, Losses, NanoUsd, Response, Severity, StopReason, Text};

use crate::anthropic_messages::wire::stop::Ending;
use crate::anthropic_messages::wire::{citation, usage};
use crate::text::{join, quote};
use crate::translate::tier;
use crate::translate::{Face, arguments};
use crate::write::{Array, Object};

/// Writes the body of the reply; `cost` is what the caller pays.
pub(crate) fn encode(response: &Response<'_>, face: &Face<'_>, cost: Option<NanoUsd>, out: &mut Vec<u8>, losses: &mut Losses) {
    let own = response.source == Dialect::AnthropicMessages;
    let identity = face.identity;
    let nothing = Choice::default();
    let choice = response.choices.first().unwrap_or(&nothing);
    lose_others(response, choice, own, losses);
    let mut message = Object::open(out);
    match identity.is_openrouter() || response.id.is_empty() {
        true => message.text("id", identity.generation_id()),
        false => message.escaped("id", &response.id),
    };
    message.text("type", "message").text("role", "assistant");
    match identity.is_openrouter() || response.model.is_empty() {
        true => message.text("model", identity.model()),
        false => message.escaped("model", &response.model),
    };
    if identity.is_openrouter() {
        message.text("provider", identity.provider());
    }
    let mut content = Content { own, face, losses, calls: 0 };
    message.array("content", |list| choice.blocks.iter().for_each(|block| content.write(block, list)));
    let called = content.calls > 0;
    if choice.stop.as_ref().is_some_and(|stop| stop.reason == StopReason::Failed) {
        losses.at("stop_reason".to_owned(), Severity::Changed, "a failure of the model has no word here; it was told as a refusal");
    }
    Ending::new(choice.stop.as_ref(), own, called).write(&mut message);
    let tier = response.service_tier.as_ref().and_then(|word| tier::told(response.source, Dialect::AnthropicMessages, word));
    if tier.is_none() && response.service_tier.is_some() {
        losses.at("service_tier".to_owned(), Severity::Hint, "messages have no word for this tier");
    }
    let beside = usage::Beside { cost, openrouter: identity.is_openrouter(), service_tier: tier.as_ref() };
    usage::write(&response.usage.unwrap_or_default(), &beside, &mut message);
    for member in response.rest.iter().filter(|member| own && !(identity.is_openrouter() && member.name.is("provider"))) {
        message.members(std::slice::from_ref(member));
    }
    message.close();
}

/// What a message has no place for.
fn lose_others(response: &Response<'_>, choice: &Choice<'_>, own: bool, losses: &mut Losses) {
    for other in 1..response.choices.len() {
        losses.at(format!("choices[{other}]"), Severity::Dropped, "a message is one reply");
    }
    if choice.logprobs.is_some() {
        losses.at("choices[0].logprobs".to_owned(), Severity::Dropped, "messages have no probabilities");
    }
    for member in response.rest.iter().filter(|_| !own) {
        let path = String::from_utf8_lossy(member.name.as_bytes()).into_owned();
        losses.at(path, Severity::Hint, "messages have no such member");
    }
}

struct Content<'c> {
    own: bool,
    face: &'c Face<'c>,
    losses: &'c mut Losses,
    /// Calls that the reader sees as such.
    calls: usize,
}

impl Content<'_> {
    fn write(&mut self, block: &Block<'_>, list: &mut Array<'_>) {
        match &block.kind {
            Kind::Text { text, citations } => self.write_text(block, text, citations, list),
            Kind::Refusal(text) => self.write_text(block, text, &[], list),
            Kind::Thought(thought) => return self.write_thought(block, thought, list),
            Kind::ToolCall(call) => self.write_call(block, call, list),
            Kind::Opaque { raw, .. } if self.own => list.element().extend_from_slice(raw.as_bytes()),
            Kind::Opaque { .. } => self.lose(block, "only the provider's dialect knows it"),
            Kind::Media(_) => self.lose(block, "messages of the model hold no media"),
            Kind::ToolResult(_) => self.lose(block, "messages of the model hold no results of tools"),
        }
        if let Some(seal) = &block.seal {
            write_carrier(seal, list);
        }
        if !self.own {
            self.losses.members(block.origin, &block.rest, Severity::Hint, "blocks have no such member here");
        }
    }

    fn lose(&mut self, block: &Block<'_>, reason: &'static str) {
        self.losses.block(block.origin, Severity::Dropped, reason);
    }

    fn write_text(&mut self, block: &Block<'_>, text: &Text<'_>, citations: &[Citation<'_>], list: &mut Array<'_>) {
        if text.is_empty() && citations.is_empty() {
            return;
        }
        let own = self.own;
        let cited = citations.iter().filter(|cited| citation::is_writable(cited, own)).count();
        if cited < citations.len() {
            self.losses.block(block.origin, Severity::Hint, "sources without an address cannot be cited here");
        }
        list.object(|object| {
            object.text("type", "text").escaped("text", text);
            if cited > 0 {
                object.array("citations", |list| {
                    citations.iter().filter(|cited| citation::is_writable(cited, own)).for_each(|cited| {
                        citation::write(cited, own, list.element());
                    });
                });
            }
            self.write_rest(block, object);
        });
    }

    /// Typed clients want a signature; an empty one is none.
    fn write_thought(&mut self, block: &Block<'_>, thought: &Thought<'_>, list: &mut Array<'_>) {
        let hidden = self.face.bridge.hide_thoughts;
        let seal = block.seal.as_ref().map(|seal| &seal.data);
        if let (Some(data), true) = (seal, thought.redacted) {
            list.object(|object| {
                object.text("type", "redacted_thinking").escaped("data", data);
            });
            return;
        }
        let readable = if hidden { Text::EMPTY } else { readable(thought) };
        if readable.is_empty() && seal.is_none() {
            return;
        }
        list.object(|object| {
            object.text("type", "thinking").escaped("thinking", &readable).escaped("signature", seal.unwrap_or(&Text::EMPTY));
            self.write_rest(block, object);
        });
    }

    fn write_call(&mut self, block: &Block<'_>, call: &ToolCall<'_>, list: &mut Array<'_>) {
        let (input, was_object) = arguments::as_object(&call.arguments);
        let bridge = self.face.bridge;
        if bridge.format_tool.as_deref().is_some_and(|form| call.name.is(form)) {
            // The call stands for the reply's text.
            list.object(|object| {
                object.text("type", "text").escaped("text", &quote(&input));
            });
            return;
        }
        if !was_object {
            self.losses.block(block.origin, Severity::Changed, "arguments are an object here; these were put under \"_raw\"");
        }
        self.calls += 1;
        list.object(|object| {
            object.text("type", "tool_use");
            match call.id.is_empty() {
                true => object.raw("id", &self.face.identity.tool_call_id_json(self.calls - 1)),
                false => object.escaped("id", &call.id),
            };
            object.escaped("name", &bridge.original(&call.name).0).raw("input", input.as_bytes());
            self.write_rest(block, object);
        });
    }

    fn write_rest(&self, block: &Block<'_>, object: &mut Object<'_>) {
        if self.own {
            object.members(&block.rest);
        }
    }
}

/// A seal that sits on something else than a thought has no place in this dialect. Clients return every block as it was, so it travels
/// in a thought without words behind the block it belongs to.
fn write_carrier(seal: &Seal<'_>, list: &mut Array<'_>) {
    list.object(|object| {
        object.text("type", "thinking").text("thinking", "").escaped("signature", &seal.data);
    });
}

/// What can be read of a thought: the parts of a summary are paragraphs.
fn readable<'t>(thought: &'t Thought<'_>) -> Text<'t> {
    match thought.parts.as_slice() {
        [] => Text::EMPTY,
        [ThoughtPart { text, .. }] => text.borrowed(),
        parts => join(parts.iter().map(|part| &part.text), r"\n\n"),
    }
}
