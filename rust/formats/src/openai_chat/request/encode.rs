//! The canonical representation as a chat request: OpenAI's own words, less what an endpoint's traits forbid, plus what they allow.

use fairlead_ir::block::CacheMark;
use fairlead_ir::request::{Effort, Format, Show};
use fairlead_ir::{Dialect, Kind, Losses, Member, Origin, Param, Raw, Request, Role, Severity, Text};

use super::messages::write_messages;
use super::parts::Style;
use super::tools::write_tools;
use crate::openai_chat::wire::leftover;
use crate::request::Refusal;
use crate::traits::Traits;
use crate::translate::thinking::{OPENAI_EFFORTS, effort_of_budget};
use crate::translate::{Bridge, Target, plain_name};
use crate::write::{Object, write_escaped};

/// The most stop sequences that OpenAI takes.
const MAX_STOPS: usize = 4;
/// The longest name of a tool or schema.
pub(super) const MAX_NAME_BYTES: usize = 64;
/// Objects whose unknown members stand in the request's `rest` under the object's name.
const INNER: [&str; 3] = ["reasoning", "stream_options", "response_format"];

/// Appends the body for `target` to `out`.
///
/// # Errors
/// The endpoint cannot take the conversation in any form: it ends with the assistant, and the endpoint refuses that.
pub(crate) fn encode(
    request: &Request<'_>,
    target: &Target<'_>,
    out: &mut Vec<u8>,
    losses: &mut Losses,
    bridge: &mut Bridge,
) -> Result<(), Refusal> {
    refuse_prefill(request, target)?;
    let style = Style::new(request.source, target.traits);
    let mut writing = Writing { request, target, traits: target.traits, own: style.own, style, losses, bridge };
    let mut body = Object::open(out);
    body.text("model", target.model);
    writing.stream(&mut body);
    writing.limit(&mut body);
    writing.sampling(&mut body);
    writing.reasoning(&mut body);
    writing.output(&mut body);
    writing.cache(&mut body);
    writing.labels(&mut body);
    write_tools(&mut writing, &mut body);
    write_messages(&mut writing, &mut body);
    writing.rest(&mut body);
    body.close();
    Ok(())
}

fn refuse_prefill(request: &Request<'_>, target: &Target<'_>) -> Result<(), Refusal> {
    let last = request.turns.last().filter(|turn| turn.role == Role::Assistant);
    let is_prefill = last.is_some_and(|turn| !turn.blocks.iter().any(|block| matches!(block.kind, Kind::ToolCall(_))));
    if is_prefill && target.traits.no_prefill {
        let message = format!("{} refuses a conversation that ends with the assistant; end it with the user", target.model);
        return Err(Refusal::field("messages", message));
    }
    Ok(())
}

/// A request on its way into a body.
pub(super) struct Writing<'w, 'r> {
    pub(super) request: &'w Request<'r>,
    pub(super) target: &'w Target<'w>,
    pub(super) traits: Traits,
    /// Read from this dialect.
    pub(super) own: bool,
    pub(super) style: Style,
    pub(super) losses: &'w mut Losses,
    pub(super) bridge: &'w mut Bridge,
}

impl<'r> Writing<'_, 'r> {
    pub(super) fn lose(&mut self, param: Param, severity: Severity, reason: &'static str) {
        self.losses.param(param, self.request, severity, reason);
    }

    /// Tells the loss of members that only another dialect knows.
    pub(super) fn lose_members(&mut self, origin: Origin, rest: &[Member<'_>]) {
        if !self.own {
            self.losses.members(origin, rest, Severity::Dropped, "only the dialect it was written in knows it");
        }
    }

    /// A tool's name as it is sent.
    pub(super) fn sent_name<'n>(&self, name: &'n Text<'_>) -> Text<'n> {
        if self.own { name.borrowed() } else { plain_name(name, MAX_NAME_BYTES, false) }
    }

    /// Whether the request was read from one of OpenAI's dialects.
    fn is_from_openai(&self) -> bool {
        matches!(self.request.source, Dialect::OpenaiChat | Dialect::OpenaiResponses)
    }

    /// Usage is always asked for: the bill is made from it.
    fn stream(&mut self, body: &mut Object<'_>) {
        if !self.request.stream {
            return;
        }
        body.flag("stream", true);
        if !self.traits.no_stream_options {
            body.object("stream_options", |options| {
                options.flag("include_usage", true);
                if self.own {
                    leftover::restore(&self.request.rest, "stream_options", options);
                }
            });
        }
    }

    fn limit(&mut self, body: &mut Object<'_>) {
        if let Some(limit) = self.request.max_output_tokens {
            body.number(self.limit_name(), limit);
        }
    }

    fn limit_name(&self) -> &'static str {
        if self.traits.legacy_max_tokens { "max_tokens" } else { "max_completion_tokens" }
    }

    fn sampling(&mut self, body: &mut Object<'_>) {
        let Traits { no_sampling, no_penalties, no_seed, random_seed, open_sampling, .. } = self.traits;
        let sampling = &self.request.sampling;
        const REFUSED: &str = "the endpoint refuses it";
        const UNKNOWN: &str = "the endpoint does not know it";
        for (param, name, value, taken, reason) in [
            (Param::Temperature, "temperature", &sampling.temperature, !no_sampling, REFUSED),
            (Param::TopP, "top_p", &sampling.top_p, !no_sampling, REFUSED),
            (Param::TopK, "top_k", &sampling.top_k, open_sampling && !no_sampling, UNKNOWN),
            (Param::MinP, "min_p", &sampling.min_p, open_sampling, UNKNOWN),
            (Param::TopA, "top_a", &sampling.top_a, open_sampling, UNKNOWN),
            (Param::FrequencyPenalty, "frequency_penalty", &sampling.frequency_penalty, !no_penalties, UNKNOWN),
            (Param::PresencePenalty, "presence_penalty", &sampling.presence_penalty, !no_penalties, UNKNOWN),
            (Param::RepetitionPenalty, "repetition_penalty", &sampling.repetition_penalty, open_sampling, UNKNOWN),
            (Param::Seed, if random_seed { "random_seed" } else { "seed" }, &sampling.seed, !no_seed, UNKNOWN),
            (Param::LogitBias, "logit_bias", &sampling.logit_bias, true, UNKNOWN),
            (Param::Prediction, "prediction", &sampling.prediction, true, UNKNOWN),
        ] {
            self.value(param, name, value.as_ref(), taken, reason, body);
        }
        self.stops(body);
        if let Some(choices) = sampling.choices {
            body.number("n", choices);
        }
        if let Some(wanted) = sampling.logprobs {
            body.flag("logprobs", wanted);
        }
        if let Some(count) = sampling.top_logprobs {
            body.number("top_logprobs", count);
        }
    }

    fn value(&mut self, param: Param, name: &str, value: Option<&Raw<'r>>, taken: bool, reason: &'static str, body: &mut Object<'_>) {
        match value {
            Some(value) if taken => {
                body.raw(name, value.as_bytes());
            }
            Some(_) => self.lose(param, Severity::Dropped, reason),
            None => {}
        }
    }

    fn stops(&mut self, body: &mut Object<'_>) {
        let mut stops = self.request.sampling.stop.as_slice();
        if stops.is_empty() {
            return;
        }
        if self.traits.no_stop {
            return self.lose(Param::Stop, Severity::Dropped, "the endpoint does not know stop sequences");
        }
        if stops.len() > MAX_STOPS && !self.own && !self.traits.open_sampling {
            stops = &stops[..MAX_STOPS];
            self.lose(Param::Stop, Severity::Changed, "chat takes four stop sequences: the first four are sent");
        }
        body.array("stop", |list| {
            stops.iter().for_each(|stop| {
                list.escaped(stop);
            })
        });
    }

    fn reasoning(&mut self, body: &mut Object<'_>) {
        let wish = self.request.reasoning;
        if self.traits.openrouter_reasoning {
            return self.reasoning_object(body);
        }
        if self.own {
            self.lose_leftovers("reasoning");
        }
        if wish.show == Some(Show::Summary) {
            self.lose(Param::ReasoningShow, Severity::Hint, "chat cannot ask for summaries: what is shown is the provider's choice");
        }
        let effort = match wish.enabled {
            Some(false) => Some(Effort::None),
            _ => wish.effort.or_else(|| self.effort_of_budget()),
        };
        let Some(effort) = effort else { return };
        if self.target.efforts == [Effort::None] {
            // Such a model does not know the parameter, so that there is nothing to switch off.
            if effort > Effort::None {
                self.lose(Param::Effort, Severity::Dropped, "the model does not think");
            }
            return;
        }
        let known = self.known_effort(effort);
        if known != Some(effort) {
            self.lose(wish.said_how_much(), Severity::Changed, "the model does not know this effort: the nearest one is sent");
        }
        if let Some(known) = known {
            body.text("reasoning_effort", known.word());
        }
    }

    /// The nearest effort that the model knows; any is known where the catalogue names none.
    fn known_effort(&self, effort: Effort) -> Option<Effort> {
        let switched_off = effort == Effort::None && self.traits.always_thinking;
        match self.target.efforts {
            [] if switched_off => None,
            [] => Some(effort),
            offered if switched_off => effort.nearest(&offered.iter().copied().filter(|step| *step != Effort::None).collect::<Vec<_>>()),
            offered => effort.nearest(offered),
        }
    }

    /// The effort whose share of the output limit is nearest to the budget.
    fn effort_of_budget(&mut self) -> Option<Effort> {
        let budget = self.request.reasoning.budget_tokens?;
        self.lose(Param::ReasoningBudget, Severity::Changed, "chat has no budget for thinking: the nearest effort is sent");
        let limit = self.request.max_output_tokens.or(self.target.max_output_tokens);
        effort_of_budget(budget, limit, &OPENAI_EFFORTS)
    }

    /// OpenRouter's object.
    fn reasoning_object(&mut self, body: &mut Object<'_>) {
        let wish = self.request.reasoning;
        let inner = self.own && self.request.rest.iter().any(|member| member.name.is("reasoning"));
        if wish == fairlead_ir::request::Reasoning::default() && !inner {
            return;
        }
        // The one or the other, says OpenRouter; a caller of this dialect knows what it sends.
        let budget = wish.budget_tokens.filter(|_| wish.effort.is_none() || self.own);
        if wish.budget_tokens.is_some() && budget.is_none() {
            self.lose(Param::ReasoningBudget, Severity::Hint, "effort and budget do not go together: the effort is sent");
        }
        body.object("reasoning", |reasoning| {
            reasoning.optional_text("effort", wish.effort.map(Effort::word));
            if let Some(budget) = budget {
                reasoning.number("max_tokens", budget);
            }
            if let Some(enabled) = wish.enabled {
                reasoning.flag("enabled", enabled);
            }
            match wish.show {
                Some(Show::Nothing) => {
                    reasoning.flag("exclude", true);
                }
                Some(Show::Full) => {
                    reasoning.flag("exclude", false);
                }
                Some(Show::Summary) if !inner => {
                    reasoning.text("summary", "auto");
                }
                _ => {}
            }
            if self.own {
                self.restore_reasoning(wish.show, reasoning);
            }
        });
    }

    fn restore_reasoning(&self, show: Option<Show>, reasoning: &mut Object<'_>) {
        let leftovers = || self.request.rest.iter().filter(|member| member.name.is("reasoning"));
        let has_summary =
            leftovers().any(|member| crate::json::walk::member(member.value.as_bytes(), "summary").is_ok_and(|found| found.is_some()));
        if show == Some(Show::Summary) && !has_summary && leftovers().next().is_some() {
            reasoning.text("summary", "auto");
        }
        leftover::restore(&self.request.rest, "reasoning", reasoning);
    }

    /// Unknown members of an object that is not written.
    fn lose_leftovers(&mut self, name: &str) {
        if self.request.rest.iter().any(|member| member.name.is(name)) {
            self.losses.at(name.to_owned(), Severity::Dropped, "the endpoint does not know these members of it");
        }
    }

    fn output(&mut self, body: &mut Object<'_>) {
        let output = &self.request.output;
        body.optional_escaped("verbosity", output.verbosity.as_ref());
        if let Some(modalities) = &output.modalities {
            // Gemini's words are upper-case.
            body.key("modalities").extend(modalities.as_bytes().iter().map(u8::to_ascii_lowercase));
        }
        match &output.audio {
            Some(audio) if self.own => {
                body.raw("audio", audio.as_bytes());
            }
            Some(_) => self.lose(Param::Audio, Severity::Dropped, "voices are described in another way in chat"),
            None => {}
        }
        self.format(body);
    }

    fn format(&mut self, body: &mut Object<'_>) {
        match &self.request.output.format {
            None => {}
            Some(Format::Text) => {
                body.raw("response_format", br#"{"type":"text"}"#);
            }
            Some(Format::Other(raw)) if self.own => {
                body.raw("response_format", raw.as_bytes());
            }
            Some(Format::Other(_)) => self.lose(Param::Format, Severity::Dropped, "only the dialect it was written in knows it"),
            Some(Format::JsonObject) => self.json_object(body),
            Some(Format::JsonSchema { name, description, schema, strict }) if !self.traits.no_json_schema => {
                let name = name.as_ref().map_or(Text::word("response"), |name| self.sent_name(name));
                body.object("response_format", |format| {
                    format.text("type", "json_schema").object("json_schema", |inner| {
                        inner.escaped("name", &name).optional_escaped("description", description.as_ref());
                        inner.raw("schema", schema.as_bytes());
                        if let Some(strict) = strict {
                            inner.flag("strict", *strict);
                        }
                        if self.own {
                            leftover::restore(&self.request.rest, "response_format", inner);
                        }
                    });
                });
            }
            Some(Format::JsonSchema { .. }) => {
                self.lose(Param::Format, Severity::Changed, "the endpoint does not know JSON Schema: it stands in the instructions");
                self.json_object(body);
            }
        }
    }

    fn json_object(&mut self, body: &mut Object<'_>) {
        if !self.traits.no_json_object {
            body.raw("response_format", br#"{"type":"json_object"}"#);
        } else if self.request.output.format == Some(Format::JsonObject) {
            self.lose(Param::Format, Severity::Changed, "the endpoint cannot be held to JSON: the instructions ask for it");
        }
    }

    /// What the instructions must say about the form of the reply because the endpoint has no parameter for it, escaped.
    pub(super) fn format_in_words(&self) -> Option<Text<'static>> {
        match &self.request.output.format {
            Some(Format::JsonSchema { schema, .. }) if self.traits.no_json_schema => {
                let mut words = b"Answer with JSON that fits this JSON Schema, and with nothing else: ".to_vec();
                words.extend_from_slice(crate::text::quote(schema).as_bytes());
                Some(Text::owned(words))
            }
            Some(Format::JsonObject) if self.traits.no_json_object => {
                Some(Text::word("Answer with one JSON object, and with nothing else."))
            }
            _ => None,
        }
    }

    fn cache(&mut self, body: &mut Object<'_>) {
        let cache = &self.request.cache;
        body.optional_escaped("prompt_cache_key", cache.key.as_ref());
        match &cache.retention {
            Some(retention) if self.is_from_openai() => {
                body.escaped("prompt_cache_retention", retention);
            }
            Some(_) => self.lose(Param::CacheRetention, Severity::Hint, "another provider's word"),
            None => {}
        }
        // OpenRouter marks the last block itself, so that no mark moves from call to call.
        let wanted = self.target.automatic_cache && !has_marks(self.request);
        let mark = cache.automatic.or_else(|| wanted.then(CacheMark::default));
        if self.style.takes_cache_control() {
            self.style.write_mark(mark, body);
        } else if cache.automatic.is_some() {
            self.lose(Param::CacheAutomatic, Severity::Hint, "the endpoint takes no cache marks");
        }
    }

    fn labels(&mut self, body: &mut Object<'_>) {
        let labels = &self.request.labels;
        body.optional_escaped("user", labels.user.as_ref());
        match &labels.metadata {
            // OpenAI refuses labels of replies that it does not keep.
            Some(metadata) if self.own || labels.store == Some(true) => {
                body.raw("metadata", metadata.as_bytes());
            }
            Some(_) => self.lose(Param::Metadata, Severity::Hint, "chat takes labels only with replies that are kept"),
            None => {}
        }
        match labels.service_tier.as_ref().map(|tier| self.tier(tier)) {
            Some(Some(tier)) => write_escaped(body.key("service_tier"), &tier),
            Some(None) => self.lose(Param::ServiceTier, Severity::Hint, "the provider has no such tier"),
            None => {}
        }
        match labels.store {
            // Not to keep it is what chat does anyway, and many hosts do not know the word.
            Some(store) if self.own || store => {
                body.flag("store", store);
            }
            _ => {}
        }
    }

    fn tier<'t>(&self, tier: &'t Text<'r>) -> Option<Text<'t>> {
        const WORDS: [&str; 6] = ["auto", "default", "flex", "scale", "priority", "fast"];
        if self.is_from_openai() || WORDS.iter().any(|word| tier.is(word)) {
            return Some(tier.borrowed());
        }
        // Anthropic's and Gemini's words for the usual one.
        ["standard", "standard_only", "STANDARD"].iter().any(|word| tier.is(word)).then(|| Text::word("default"))
    }

    fn rest(&mut self, body: &mut Object<'_>) {
        for member in &self.request.rest {
            if INNER.iter().any(|name| member.name.is(name)) && self.own {
                continue;
            }
            let name = String::from_utf8_lossy(member.name.as_bytes());
            let is_taken = member.name.is(self.limit_name()) && self.request.max_output_tokens.is_some();
            if !self.own {
                self.losses.at(name.into_owned(), member.loss(), "only the dialect it was written in knows it");
            } else if is_taken {
                self.losses.at(name.into_owned(), Severity::Dropped, "differs from the limit under its other name, which counts");
            } else {
                body.members(std::slice::from_ref(member));
            }
        }
    }
}

fn has_marks(request: &Request<'_>) -> bool {
    let marked = |block: &fairlead_ir::Block<'_>| block.cache.is_some();
    request.tools.iter().any(|tool| tool.cache.is_some()) || request.turns.iter().any(|turn| turn.blocks.iter().any(marked))
}
