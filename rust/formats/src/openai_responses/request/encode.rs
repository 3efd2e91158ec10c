//! Writes a request as a Responses provider wants it.
//!
//! Stateless: nothing is asked to be stored unless the caller did, and sealed thoughts come back with the reply instead. A request that
//! was read from this dialect is written with everything it had.

use fairlead_ir::block::CacheTtl;
use fairlead_ir::request::{Effort, Format, Show};
use fairlead_ir::{Dialect, Losses, Member, Param, Raw, Request, Severity, Text, ToolChoice, ToolKind};

use super::decode::{INCLUDE_LOGPROBS, INCLUDE_SEALS, OF_REASONING, OF_TEXT};
use super::encode_input::Input;
use crate::read::Reader;
use crate::request::Refusal;
use crate::text;
use crate::translate::thinking::{OPENAI_EFFORTS, effort_of_budget};
use crate::translate::{Bridge, Target, plain_name};
use crate::write::{Array, Object};

/// The longest name of a tool, and of a call's id.
pub(super) const MAX_NAME_BYTES: usize = 64;
/// The fewest output tokens OpenAI takes.
const MIN_OUTPUT_TOKENS: u64 = 16;
/// The lives of caches that are sold.
pub(super) const CACHE_TTLS: [CacheTtl; 2] = [CacheTtl::ThirtyMinutes, CacheTtl::TwelveHours];

/// Appends the body.
///
/// # Errors
/// The provider would refuse it, and no other body means the same.
pub(crate) fn encode(
    request: &Request<'_>,
    target: &Target<'_>,
    out: &mut Vec<u8>,
    losses: &mut Losses,
    bridge: &mut Bridge,
) -> Result<(), Refusal> {
    bridge.hide_thoughts |= request.reasoning.show == Some(Show::Nothing);
    let own = request.source == Dialect::OpenaiResponses;
    let mut body = Object::open(out);
    body.text("model", target.model);
    if request.stream {
        body.flag("stream", true);
    }
    let mut encoder = Encoder { request, target, own, losses, bridge };
    encoder.write_input(&mut body)?;
    encoder.write_tools(&mut body);
    encoder.write_limits(&mut body);
    encoder.write_sampling(&mut body);
    encoder.write_include(&mut body);
    encoder.write_reasoning(&mut body);
    encoder.write_output(&mut body);
    encoder.write_cache(&mut body);
    encoder.write_labels(&mut body);
    encoder.write_rest(&mut body);
    body.close();
    Ok(())
}

struct Encoder<'e, 'a> {
    request: &'e Request<'a>,
    target: &'e Target<'e>,
    /// The request was read from this dialect.
    own: bool,
    losses: &'e mut Losses,
    bridge: &'e mut Bridge,
}

impl Encoder<'_, '_> {
    fn lose(&mut self, param: Param, severity: Severity, reason: &'static str) {
        self.losses.param(param, self.request, severity, reason);
    }

    fn write_input(&mut self, body: &mut Object<'_>) -> Result<(), Refusal> {
        let prompt = self.schema_prompt();
        let mut input = Input::new(self.request, self.target, self.losses);
        input.refuse_prefill()?;
        if let Some(instructions) = input.instructions() {
            body.escaped("instructions", &instructions);
        }
        body.array("input", |items| {
            // At the beginning, which stays the same while the conversation goes on.
            if let Some(prompt) = prompt {
                items.object(|item| {
                    item.text("type", "message").text("role", "system").text("content", &prompt);
                });
            }
            input.write(items);
        });
        Ok(())
    }

    /// The last rungs of the ladder: a provider that knows no schema is asked in words.
    fn schema_prompt(&self) -> Option<String> {
        match &self.request.output.format {
            Some(Format::JsonSchema { schema, .. }) if self.target.traits.no_json_schema => Some(format!(
                "Answer with one JSON value that fits this JSON Schema, and nothing else:\n{}",
                String::from_utf8_lossy(schema.as_bytes())
            )),
            Some(Format::JsonObject) if self.target.traits.no_json_object => {
                Some("Answer with one JSON object, and nothing else.".to_owned())
            }
            _ => None,
        }
    }

    fn write_tools(&mut self, body: &mut Object<'_>) {
        let mut tools = Vec::new();
        let mut array = Array::open(&mut tools);
        for number in 0..self.request.tools.len() {
            self.write_tool(number, &mut array);
        }
        let none = array.is_empty();
        array.close();
        if !none || self.own && !self.request.tools.is_empty() {
            body.raw("tools", &tools);
        }
        self.write_tool_choice(none, body);
        match self.request.parallel_tool_calls {
            Some(false) if self.target.traits.no_parallel_tool_calls => {
                self.lose(Param::ParallelToolCalls, Severity::Dropped, "the provider cannot be told to call one tool at a time");
            }
            Some(parallel) if !self.target.traits.no_parallel_tool_calls && (self.own || !none) => {
                body.flag("parallel_tool_calls", parallel);
            }
            _ => {}
        }
    }

    fn write_tool(&mut self, number: usize, array: &mut Array<'_>) {
        let request = self.request;
        let tool = &request.tools[number];
        match &tool.kind {
            ToolKind::Function { parameters } => {
                let name = self.tool_name(&tool.name);
                array.object(|json| {
                    json.text("type", "function").escaped("name", &name);
                    json.optional_escaped("description", tool.description.as_ref());
                    match parameters {
                        Some(parameters) => json.raw("parameters", parameters.as_bytes()),
                        None if self.own => json.raw("parameters", b"null"),
                        None => json.raw("parameters", br#"{"type":"object","properties":{}}"#),
                    };
                    self.write_strict(tool.strict, json);
                    self.write_tool_rest(number, json);
                });
            }
            ToolKind::Custom { format } if self.target.traits.no_custom_tools => {
                let name = sent_name(&tool.name, self.own);
                self.bridge.tool(&name, &tool.name, true);
                self.losses.block(tool.origin, Severity::Changed, "the provider knows no tools that take free text: it became a function");
                array.object(|json| {
                    json.text("type", "function").escaped("name", &name);
                    write_wrapped_description(tool.description.as_ref(), format.as_ref(), json.key("description"));
                    json.raw("parameters", br#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}"#);
                    self.write_strict(Some(false), json);
                    self.write_tool_rest(number, json);
                });
            }
            ToolKind::Custom { format } => {
                let name = self.tool_name(&tool.name);
                array.object(|json| {
                    json.text("type", "custom").escaped("name", &name);
                    json.optional_escaped("description", tool.description.as_ref());
                    if let Some(format) = format {
                        write_custom_format(format, json.key("format"));
                    }
                    self.write_tool_rest(number, json);
                });
            }
            ToolKind::WebSearch { raw } | ToolKind::Hosted { raw, .. } if self.own => {
                array.raw(raw.as_bytes());
            }
            ToolKind::WebSearch { raw } => self.write_search(number, raw, array),
            ToolKind::Hosted { word, .. } => {
                let reason = format!("the provider has no tool like {}", String::from_utf8_lossy(word.as_bytes()));
                self.losses.block(tool.origin, Severity::Dropped, reason);
            }
        }
    }

    /// Only here a tool is strict unless it says otherwise.
    fn write_strict(&mut self, strict: Option<bool>, json: &mut Object<'_>) {
        match strict {
            Some(true) if self.target.traits.no_strict_tools => {
                let reason = "the provider does not bind arguments to their schema";
                self.lose(Param::Tools, Severity::Changed, reason);
            }
            _ if self.target.traits.no_strict_tools => {}
            Some(strict) => {
                json.flag("strict", strict);
            }
            None if self.own => {}
            None => {
                json.flag("strict", false);
            }
        }
    }

    fn write_tool_rest(&mut self, number: usize, json: &mut Object<'_>) {
        let request = self.request;
        let tool = &request.tools[number];
        if self.own {
            json.members(&tool.rest);
        }
        if !self.own {
            self.losses.members(tool.origin, &tool.rest, Severity::Dropped, "tools of this provider have no such member");
        }
        if tool.cache.is_some() {
            self.losses.block(tool.origin, Severity::Hint, "the provider takes cache marks on messages only");
        }
    }

    /// A web search of another dialect, with the options that both have.
    fn write_search(&mut self, number: usize, raw: &Raw<'_>, array: &mut Array<'_>) {
        let origin = self.request.tools[number].origin;
        let losses = &mut *self.losses;
        array.object(|json| {
            json.text("type", "web_search");
            let mut inside = Reader::new(raw.as_bytes());
            // What is no object has no options.
            let _ = inside.object(|key, reader| {
                let value = reader.raw()?;
                match key.name() {
                    "type" | "name" => {}
                    "search_context_size" | "user_location" | "filters" => {
                        json.raw(key.name(), value.as_bytes());
                    }
                    "allowed_domains" => {
                        json.object("filters", |filters| {
                            filters.raw("allowed_domains", value.as_bytes());
                        });
                    }
                    name if !value.is("{}") && !value.is("null") => {
                        losses.at(format!("{origin}.{name}"), Severity::Dropped, "the provider's web search has no such option");
                    }
                    _ => {}
                }
                Ok(())
            });
        });
    }

    fn tool_name(&mut self, name: &Text<'_>) -> Text<'static> {
        let sent = sent_name(name, self.own);
        self.bridge.tool(&sent, name, false);
        sent
    }

    fn write_tool_choice(&mut self, no_tools: bool, body: &mut Object<'_>) {
        let request = self.request;
        let Some(choice) = &request.tool_choice else { return };
        let forced = match choice {
            ToolChoice::Required | ToolChoice::Named(_) => true,
            ToolChoice::Allowed { required, .. } => *required,
            _ => false,
        };
        if no_tools && !self.own {
            if forced {
                self.lose(Param::ToolChoice, Severity::Dropped, "no tool is left that could be called");
            }
            return;
        }
        let forced_is_refused = forced && self.target.traits.no_forced_tool_choice;
        if forced_is_refused {
            self.lose(Param::ToolChoice, Severity::Changed, "the provider refuses to be forced to call a tool");
        }
        match choice {
            ToolChoice::None => {
                body.text("tool_choice", "none");
            }
            ToolChoice::Allowed { names, required } => {
                let mode = if *required && !forced_is_refused { "required" } else { "auto" };
                body.object("tool_choice", |json| {
                    json.text("type", "allowed_tools").text("mode", mode);
                    json.array("tools", |array| {
                        names.iter().for_each(|name| {
                            array.object(|json| self.write_named(name, json));
                        })
                    });
                });
            }
            ToolChoice::Auto => {
                body.text("tool_choice", "auto");
            }
            _ if forced_is_refused => {
                body.text("tool_choice", "auto");
            }
            ToolChoice::Required => {
                body.text("tool_choice", "required");
            }
            ToolChoice::Named(name) => {
                body.object("tool_choice", |json| self.write_named(name, json));
            }
            ToolChoice::Other(raw) if self.own => {
                body.raw("tool_choice", raw.as_bytes());
            }
            ToolChoice::Other(_) => self.lose(Param::ToolChoice, Severity::Dropped, "the provider knows no such choice"),
        }
    }

    fn write_named(&self, name: &Text<'_>, json: &mut Object<'_>) {
        let kind = self.request.tools.iter().find(|tool| tool.name == *name).map(|tool| &tool.kind);
        match kind {
            Some(ToolKind::WebSearch { .. }) if !self.own => {
                json.text("type", "web_search");
            }
            Some(ToolKind::Custom { .. }) if !self.target.traits.no_custom_tools => {
                json.text("type", "custom").escaped("name", &sent_name(name, self.own));
            }
            _ => {
                json.text("type", "function").escaped("name", &sent_name(name, self.own));
            }
        }
    }

    fn write_limits(&mut self, body: &mut Object<'_>) {
        let Some(limit) = self.request.max_output_tokens else { return };
        if limit < MIN_OUTPUT_TOKENS && !self.own {
            self.lose(Param::MaxOutputTokens, Severity::Changed, "the provider takes no limit below 16 tokens");
            body.number("max_output_tokens", MIN_OUTPUT_TOKENS);
        } else {
            body.number("max_output_tokens", limit);
        }
    }

    fn write_sampling(&mut self, body: &mut Object<'_>) {
        let sampling = &self.request.sampling;
        let traits = self.target.traits;
        // Parameter, name, value, whether the provider takes it, why not.
        const NO_SAMPLING: &str = "the model chooses its tokens by itself";
        const UNKNOWN: &str = "the provider has no such parameter";
        let open = self.own || traits.open_sampling;
        let numbers = [
            (Param::Temperature, "temperature", &sampling.temperature, !traits.no_sampling, NO_SAMPLING),
            (Param::TopP, "top_p", &sampling.top_p, !traits.no_sampling, NO_SAMPLING),
            (Param::TopK, "top_k", &sampling.top_k, open && !traits.no_sampling, UNKNOWN),
            (Param::MinP, "min_p", &sampling.min_p, open, UNKNOWN),
            (Param::TopA, "top_a", &sampling.top_a, open, UNKNOWN),
            (Param::FrequencyPenalty, "frequency_penalty", &sampling.frequency_penalty, open && !traits.no_penalties, UNKNOWN),
            (Param::PresencePenalty, "presence_penalty", &sampling.presence_penalty, open && !traits.no_penalties, UNKNOWN),
            (Param::RepetitionPenalty, "repetition_penalty", &sampling.repetition_penalty, open, UNKNOWN),
            (Param::Seed, "seed", &sampling.seed, open && !traits.no_seed, UNKNOWN),
            (Param::LogitBias, "logit_bias", &sampling.logit_bias, false, UNKNOWN),
            (Param::Prediction, "prediction", &sampling.prediction, false, UNKNOWN),
        ];
        for (param, name, value, taken, why) in numbers {
            match value {
                Some(value) if taken => {
                    body.raw(name, value.as_bytes());
                }
                Some(_) => self.lose(param, Severity::Dropped, why),
                None => {}
            }
        }
        if !sampling.stop.is_empty() {
            if open && !traits.no_stop {
                body.array("stop", |array| {
                    sampling.stop.iter().for_each(|stop| {
                        array.escaped(stop);
                    })
                });
            } else {
                self.lose(Param::Stop, Severity::Dropped, UNKNOWN);
            }
        }
        if let Some(count) = sampling.top_logprobs {
            body.number("top_logprobs", count);
        }
        if sampling.choices.is_some_and(|choices| choices > 1) {
            self.lose(Param::Choices, Severity::Dropped, "the provider gives one reply");
        }
    }

    fn write_include(&mut self, body: &mut Object<'_>) {
        let request = self.request;
        let seals = match request.reasoning.seals {
            Some(seals) => seals,
            None => !self.own && !self.target.traits.no_encrypted_reasoning && self.target.efforts != [Effort::None],
        };
        let mut include = Vec::new();
        let mut array = Array::open(&mut include);
        if seals {
            array.text(INCLUDE_SEALS);
        }
        if request.sampling.logprobs == Some(true) {
            array.text(INCLUDE_LOGPROBS);
        }
        if let Some(more) = request.rest.iter().find(|member| self.own && member.name.is("include")) {
            let _ = Reader::new(more.value.as_bytes()).array(|_, reader| {
                array.raw(reader.raw()?.as_bytes());
                Ok(())
            });
        }
        let none = array.is_empty();
        array.close();
        if !none {
            body.raw("include", &include);
        }
    }

    fn write_reasoning(&mut self, body: &mut Object<'_>) {
        let mut reasoning = Vec::new();
        let mut json = Object::open(&mut reasoning);
        let effort = self.effort();
        if let Some(effort) = effort {
            json.text("effort", effort.word());
        }
        if self.own {
            if let Some(budget) = self.request.reasoning.budget_tokens {
                json.number("max_tokens", budget);
            }
            if let Some(enabled) = self.request.reasoning.enabled {
                json.flag("enabled", enabled);
            }
        }
        let rest = self.rest_of(OF_REASONING);
        let summary = self.summary(effort).filter(|_| !rest.iter().any(|member| member.name.is("summary")));
        json.optional_text("summary", summary);
        if self.own && self.request.reasoning.show == Some(Show::Nothing) {
            json.flag("exclude", true);
        }
        json.members(&rest);
        json.close();
        if reasoning != b"{}" {
            body.raw("reasoning", &reasoning);
        }
    }

    /// How hard to think, in a word that the model knows.
    fn effort(&mut self) -> Option<Effort> {
        let wanted = self.wanted_effort()?;
        let offered = self.target.efforts;
        let param = self.request.reasoning.said_how_much();
        if offered == [Effort::None] {
            if wanted > Effort::None {
                self.lose(param, Severity::Dropped, "the model does not think");
            }
            return None;
        }
        let can_rest = !self.target.traits.always_thinking;
        let known: Vec<Effort> = match offered {
            [] => Effort::ALL.to_vec(),
            offered => offered.to_vec(),
        };
        let known: Vec<Effort> = known.into_iter().filter(|effort| can_rest || *effort != Effort::None).collect();
        let nearest = wanted.nearest(&known)?;
        if nearest != wanted {
            self.lose(param, Severity::Changed, "the model does not know this effort: the nearest one was asked for");
        }
        Some(nearest)
    }

    fn wanted_effort(&mut self) -> Option<Effort> {
        let reasoning = self.request.reasoning;
        match (reasoning.effort, reasoning.budget_tokens, reasoning.enabled) {
            (Some(effort), ..) if self.own => Some(effort),
            // Its own words for the rest are written as they are.
            _ if self.own => None,
            (_, _, Some(false)) => Some(Effort::None),
            (Some(effort), ..) => Some(effort),
            (_, Some(budget), _) => {
                self.lose(Param::ReasoningBudget, Severity::Changed, "the provider takes an effort instead of a number of tokens");
                let limit = self.request.max_output_tokens.or(self.target.max_output_tokens);
                effort_of_budget(budget, limit, &OPENAI_EFFORTS)
            }
            (_, _, Some(true)) => Some(Effort::Medium),
            (None, None, None) => None,
        }
    }

    /// Which summary of the thoughts is asked for. Who asks for thinking gets one, as with OpenRouter, unless it shall not be seen.
    fn summary(&self, effort: Option<Effort>) -> Option<&'static str> {
        match self.request.reasoning.show {
            Some(Show::Full) if self.own => Some("detailed"),
            _ if self.target.efforts == [Effort::None] => None,
            Some(Show::Summary | Show::Full) => Some("auto"),
            Some(Show::Nothing) => None,
            None => effort.filter(|effort| *effort != Effort::None && !self.own).map(|_| "auto"),
        }
    }

    fn write_output(&mut self, body: &mut Object<'_>) {
        let request = self.request;
        let output = &request.output;
        let mut text = Vec::new();
        let mut json = Object::open(&mut text);
        if let Some(format) = &output.format {
            self.write_format(format, &mut json);
        }
        json.optional_escaped("verbosity", output.verbosity.as_ref());
        json.members(&self.rest_of(OF_TEXT));
        json.close();
        if text != b"{}" {
            body.raw("text", &text);
        }
        match &output.modalities {
            Some(modalities) if self.own => {
                body.raw("modalities", modalities.as_bytes());
            }
            Some(modalities) if !modalities.as_bytes().eq_ignore_ascii_case(br#"["text"]"#) => {
                self.lose(Param::Modalities, Severity::Dropped, "the provider writes text");
            }
            _ => {}
        }
        if output.audio.is_some() {
            self.lose(Param::Audio, Severity::Dropped, "the provider does not speak");
        }
    }

    fn write_format(&mut self, format: &Format<'_>, json: &mut Object<'_>) {
        let traits = self.target.traits;
        let asked_in_words = "the provider is asked in words: it knows no such form of reply";
        match format {
            Format::Text => {
                json.object("format", |format| {
                    format.text("type", "text");
                });
            }
            Format::JsonObject if traits.no_json_object => self.lose(Param::Format, Severity::Changed, asked_in_words),
            Format::JsonObject => {
                json.object("format", |format| {
                    format.text("type", "json_object");
                });
            }
            Format::JsonSchema { .. } if traits.no_json_schema => {
                self.lose(Param::Format, Severity::Changed, asked_in_words);
                if !traits.no_json_object {
                    json.object("format", |format| {
                        format.text("type", "json_object");
                    });
                }
            }
            Format::JsonSchema { name, description, schema, strict } => {
                json.object("format", |format| {
                    // OpenAI demands a name.
                    let name = name.as_ref().filter(|name| !name.is_empty()).map_or(Text::word("reply"), |name| sent_name(name, self.own));
                    format.text("type", "json_schema").escaped("name", &name).optional_escaped("description", description.as_ref());
                    format.raw("schema", schema.as_bytes());
                    if let Some(strict) = strict {
                        format.flag("strict", *strict);
                    }
                });
            }
            Format::Other(raw) if self.own => {
                json.raw("format", raw.as_bytes());
            }
            Format::Other(_) => self.lose(Param::Format, Severity::Dropped, "the provider knows no such form of reply"),
        }
    }

    fn write_cache(&mut self, body: &mut Object<'_>) {
        let cache = &self.request.cache;
        body.optional_escaped("prompt_cache_key", cache.key.as_ref());
        body.optional_escaped("prompt_cache_retention", cache.retention.as_ref());
        match &cache.automatic {
            Some(mark) if self.own => {
                body.object("cache_control", |json| {
                    json.text("type", "ephemeral").optional_text("ttl", mark.ttl.map(CacheTtl::word));
                });
            }
            Some(_) => self.lose(Param::CacheAutomatic, Severity::Hint, "the provider caches the beginning of prompts by itself"),
            None => {}
        }
    }

    fn write_labels(&mut self, body: &mut Object<'_>) {
        let labels = &self.request.labels;
        body.optional_escaped("user", labels.user.as_ref());
        if let Some(metadata) = &labels.metadata {
            body.raw("metadata", metadata.as_bytes());
        }
        match (&labels.service_tier, self.own) {
            (Some(tier), true) => {
                body.escaped("service_tier", tier);
            }
            (Some(tier), false) => match service_tier(tier) {
                Some(tier) => {
                    body.text("service_tier", tier);
                }
                None => self.lose(Param::ServiceTier, Severity::Dropped, "the provider has no such tier"),
            },
            (None, _) => {}
        }
        // Here a reply is kept unless one says no, elsewhere it is not unless one says yes.
        match (labels.store, self.own) {
            (Some(store), _) => {
                body.flag("store", store);
            }
            (None, false) => {
                body.flag("store", false);
            }
            (None, true) => {}
        }
    }

    /// The members kept under dotted names of `place`, under their own names.
    fn rest_of(&self, place: &str) -> Vec<Member<'_>> {
        let all = self.request.rest.iter().filter(|_| self.own);
        all.filter(|member| member.name.as_bytes().starts_with(place.as_bytes()))
            .map(|member| Member { name: member.name.piece(place.len()..member.name.as_bytes().len()), value: member.value.borrowed() })
            .collect()
    }

    fn write_rest(&mut self, body: &mut Object<'_>) {
        for member in &self.request.rest {
            let name = member.name.as_bytes();
            if !self.own {
                let path = String::from_utf8_lossy(name).into_owned();
                self.losses.at(path, member.loss(), "the provider has no such parameter");
            } else if name != b"include" && !name.starts_with(OF_REASONING.as_bytes()) && !name.starts_with(OF_TEXT.as_bytes()) {
                body.members(std::slice::from_ref(member));
            }
        }
    }
}

/// A name that OpenAI takes; what came from this dialect is not touched.
pub(super) fn sent_name(name: &Text<'_>, own: bool) -> Text<'static> {
    if own { name.clone().into_owned() } else { plain_name(name, MAX_NAME_BYTES, false).into_owned() }
}

/// OpenAI's word for another dialect's tier.
fn service_tier(tier: &Text<'_>) -> Option<&'static str> {
    const OWN: [&str; 7] = ["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"];
    match tier.as_bytes() {
        b"standard_only" | b"standard" => Some("default"),
        tier => OWN.into_iter().find(|own| own.as_bytes().eq_ignore_ascii_case(tier)),
    }
}

/// What a tool that takes free text is for, with the grammar that its text must follow.
fn write_wrapped_description(description: Option<&Text<'_>>, format: Option<&Raw<'_>>, out: &mut Vec<u8>) {
    out.push(b'"');
    let description = description.map(Text::as_bytes).unwrap_or_default();
    out.extend_from_slice(description);
    if let Some(format) = format.filter(|format| Reader::new(format.as_bytes()).peek("type").is_none_or(|word| !word.is("text"))) {
        if !description.is_empty() {
            out.extend_from_slice(br"\n\n");
        }
        out.extend_from_slice(b"`input` must follow this format: ");
        let mut flat = Vec::new();
        write_custom_format(format, &mut flat);
        out.extend_from_slice(text::quote(&Raw::owned(flat)).as_bytes());
    }
    out.push(b'"');
}

/// The format of a custom tool; chat puts what belongs to a grammar one level deeper.
fn write_custom_format(format: &Raw<'_>, out: &mut Vec<u8>) {
    let mut grammar = None;
    let _ = Reader::new(format.as_bytes()).object(|key, reader| {
        let value = reader.raw()?;
        if key.name() == "grammar" && value.as_bytes().starts_with(b"{") {
            grammar = Some(value.into_owned());
        }
        Ok(())
    });
    let Some(grammar) = grammar else { return out.extend_from_slice(format.as_bytes()) };
    let mut json = Object::open(out);
    json.text("type", "grammar");
    let _ = Reader::new(grammar.as_bytes()).object(|key, reader| {
        let member = reader.member(&key)?;
        if key.name() != "type" {
            json.members(&[member]);
        }
        Ok(())
    });
    json.close();
}
