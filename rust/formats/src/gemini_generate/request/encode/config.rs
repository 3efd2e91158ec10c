//! `generationConfig`: sampling, limits, thoughts and the form of the reply.

use fairlead_ir::request::{Effort, Format, Show};
use fairlead_ir::{Param, Raw, Severity};

use super::Writing;
use crate::gemini_generate::request::schema::without_const;
use crate::gemini_generate::wire::media::write_inner;
use crate::json::Kind;
use crate::read::Reader;
use crate::text::escape;
use crate::write::Object;

/// The most thinking tokens that every model with budgets takes.
const MAX_BUDGET_TOKENS: u64 = 24_576;
/// Less makes no thought.
const MIN_BUDGET_TOKENS: u64 = 1_024;
/// The least budget of models that cannot stop thinking.
const LEAST_BUDGET_TOKENS: u64 = 128;
/// The output limit of the models with budgets, where nobody says one.
const USUAL_OUTPUT_TOKENS: u64 = 65_536;
/// The steps that have a word here.
const LEVELS: [Effort; 5] = [Effort::Minimal, Effort::Low, Effort::Medium, Effort::High, Effort::Xhigh];
/// So many stop sequences are taken.
const MAX_STOPS: usize = 5;

/// Writes `generationConfig`, unless there is nothing to say.
pub(super) fn write(writing: &mut Writing<'_, '_>, body: &mut Object<'_>) {
    let mut json = Vec::new();
    let mut config = Object::open(&mut json);
    write_sampling(writing, &mut config);
    write_limits(writing, &mut config);
    write_thinking(writing, &mut config);
    write_format(writing, &mut config);
    write_output(writing, &mut config);
    if writing.own {
        write_inner("generationConfig", &writing.request.rest, &mut config);
    }
    config.close();
    if json != b"{}" {
        body.raw("generationConfig", &json);
    }
}

fn write_sampling(writing: &mut Writing<'_, '_>, config: &mut Object<'_>) {
    const REFUSED: &str = "the model refuses it";
    let (sampling, traits) = (&writing.request.sampling, writing.target.traits);
    let places = [
        (Param::Temperature, "temperature", &sampling.temperature, traits.no_sampling),
        (Param::TopP, "topP", &sampling.top_p, traits.no_sampling),
        (Param::TopK, "topK", &sampling.top_k, traits.no_sampling),
        (Param::PresencePenalty, "presencePenalty", &sampling.presence_penalty, traits.no_penalties),
        (Param::FrequencyPenalty, "frequencyPenalty", &sampling.frequency_penalty, traits.no_penalties),
        (Param::Seed, "seed", &sampling.seed, traits.no_seed),
    ];
    for (param, key, value, refused) in places {
        match value {
            Some(_) if refused => writing.lose(param, Severity::Dropped, REFUSED),
            Some(value) => write_number(param, key, value, writing, config),
            None => {}
        }
    }
    let absent = [
        (Param::MinP, &sampling.min_p),
        (Param::TopA, &sampling.top_a),
        (Param::RepetitionPenalty, &sampling.repetition_penalty),
        (Param::LogitBias, &sampling.logit_bias),
        (Param::Prediction, &sampling.prediction),
    ];
    for (param, _) in absent.into_iter().filter(|(_, value)| value.is_some()) {
        writing.lose(param, Severity::Dropped, "Gemini has no such parameter");
    }
}

/// Writes a number that is within Gemini's bounds.
fn write_number(param: Param, key: &str, value: &Raw<'_>, writing: &mut Writing<'_, '_>, config: &mut Object<'_>) {
    let number = std::str::from_utf8(value.as_bytes()).ok().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    match param {
        Param::Temperature if number > 2.0 && !writing.own => {
            writing.lose(param, Severity::Changed, "Gemini takes 2 at most");
            config.raw(key, b"2");
        }
        Param::Seed if number.abs() > f64::from(i32::MAX) && !writing.own => {
            writing.lose(param, Severity::Dropped, "Gemini takes seeds of 32 bits only");
        }
        _ => drop(config.raw(key, value.as_bytes())),
    }
}

fn write_limits(writing: &mut Writing<'_, '_>, config: &mut Object<'_>) {
    let sampling = &writing.request.sampling;
    let numbers =
        [("maxOutputTokens", writing.request.max_output_tokens), ("candidateCount", sampling.choices), ("logprobs", sampling.top_logprobs)];
    for (key, number) in numbers {
        if let Some(number) = number {
            config.number(key, number);
        }
    }
    if let Some(wanted) = sampling.logprobs {
        config.flag("responseLogprobs", wanted);
    }
    if sampling.stop.is_empty() {
        return;
    }
    if writing.target.traits.no_stop {
        return writing.lose(Param::Stop, Severity::Dropped, "the model refuses stop sequences");
    }
    let taken = if writing.own { sampling.stop.len() } else { sampling.stop.len().min(MAX_STOPS) };
    config.array("stopSequences", |list| list.texts(&sampling.stop[..taken]));
    if taken < sampling.stop.len() {
        writing.lose(Param::Stop, Severity::Dropped, format!("Gemini takes {MAX_STOPS} stop sequences; only the first are sent"));
    }
}

/// How thinking is steered: by a word or by a number of tokens.
enum Steering {
    Level(Effort),
    Budget(u64),
    /// The model decides.
    Free,
    Nothing,
}

fn write_thinking(writing: &mut Writing<'_, '_>, config: &mut Object<'_>) {
    let mut json = Vec::new();
    let mut thinking = Object::open(&mut json);
    match writing.is_as_asked() {
        true => write_thinking_as_asked(writing, &mut thinking),
        false => write_steered_thinking(writing, &mut thinking),
    }
    thinking.close();
    if json != b"{}" {
        config.raw("thinkingConfig", &json);
    }
}

/// In the words of the same dialect, whatever the provider says of them.
fn write_thinking_as_asked(writing: &Writing<'_, '_>, thinking: &mut Object<'_>) {
    let reasoning = writing.request.reasoning;
    if let Some(effort) = reasoning.effort {
        thinking.text("thinkingLevel", &effort.word().to_ascii_uppercase());
    }
    match (reasoning.budget_tokens, reasoning.enabled) {
        (Some(tokens), _) => drop(thinking.number("thinkingBudget", tokens)),
        (None, Some(true)) => drop(thinking.raw("thinkingBudget", b"-1")),
        (None, Some(false)) => drop(thinking.number("thinkingBudget", 0)),
        (None, None) => {}
    }
    if let Some(show) = reasoning.show {
        thinking.flag("includeThoughts", show != Show::Nothing);
    }
    write_inner("generationConfig.thinkingConfig", &writing.request.rest, thinking);
}

fn write_steered_thinking(writing: &mut Writing<'_, '_>, thinking: &mut Object<'_>) {
    let steering = steer(writing);
    match steering {
        Steering::Level(effort) => drop(thinking.text("thinkingLevel", &effort.word().to_ascii_uppercase())),
        Steering::Budget(tokens) => drop(thinking.number("thinkingBudget", tokens)),
        Steering::Free if !writing.target.traits.thinking_level => drop(thinking.raw("thinkingBudget", b"-1")),
        Steering::Free | Steering::Nothing => {}
    }
    if !matches!(steering, Steering::Nothing | Steering::Budget(0)) {
        // Who asks for thinking sees it, unless they say otherwise.
        thinking.flag("includeThoughts", writing.request.reasoning.show != Some(Show::Nothing));
    }
}

fn steer(writing: &mut Writing<'_, '_>) -> Steering {
    let reasoning = writing.request.reasoning;
    let traits = writing.target.traits;
    let limit = writing.request.max_output_tokens.or(writing.target.max_output_tokens).unwrap_or(USUAL_OUTPUT_TOKENS).max(1);
    if reasoning.enabled == Some(false) || reasoning.effort == Some(Effort::None) {
        return off(writing);
    }
    match (reasoning.effort, reasoning.budget_tokens) {
        (Some(effort), budget) if traits.thinking_level => {
            if budget.is_some() {
                writing.lose(Param::ReasoningBudget, Severity::Changed, "the model takes a level instead of a budget; the effort gave it");
            }
            Steering::Level(level(effort, Param::Effort, writing))
        }
        (None, Some(tokens)) if traits.thinking_level => {
            let share = tokens.saturating_mul(1_000) / limit;
            let effort = LEVELS.into_iter().min_by_key(|effort| effort.budget_per_mille().abs_diff(share)).unwrap_or(Effort::Medium);
            writing.lose(Param::ReasoningBudget, Severity::Changed, "the model takes a level instead of a budget; the nearest is sent");
            Steering::Level(level(effort, Param::ReasoningBudget, writing))
        }
        (_, Some(tokens)) => Steering::Budget(tokens),
        (Some(effort), None) => {
            let tokens = limit.saturating_mul(effort.budget_per_mille()) / 1_000;
            Steering::Budget(tokens.clamp(MIN_BUDGET_TOKENS, MAX_BUDGET_TOKENS))
        }
        (None, None) if reasoning.enabled == Some(true) => Steering::Free,
        (None, None) => Steering::Nothing,
    }
}

/// The nearest level that the model knows.
fn level(effort: Effort, param: Param, writing: &mut Writing<'_, '_>) -> Effort {
    let known: Vec<Effort> =
        LEVELS.into_iter().filter(|level| writing.target.efforts.is_empty() || writing.target.efforts.contains(level)).collect();
    let level = effort.nearest(&known).unwrap_or(effort.nearest(&LEVELS).unwrap_or(Effort::High));
    if level != effort {
        let reason = format!("the model does not know \"{}\"; \"{}\" is sent", effort.word(), level.word());
        writing.lose(param, Severity::Changed, reason);
    }
    level
}

fn off(writing: &mut Writing<'_, '_>) -> Steering {
    let traits = writing.target.traits;
    if !traits.thinking_level && !traits.always_thinking {
        return Steering::Budget(0);
    }
    let param = writing.request.reasoning.said_whether();
    if !traits.thinking_level {
        writing.lose(param, Severity::Changed, "the model's thinking cannot be switched off; the least budget is sent");
        return Steering::Budget(LEAST_BUDGET_TOKENS);
    }
    let least = LEVELS.into_iter().find(|level| writing.target.efforts.is_empty() || writing.target.efforts.contains(level));
    writing.lose(param, Severity::Changed, "the model's thinking cannot be switched off; the least level is sent");
    Steering::Level(least.unwrap_or(Effort::Minimal))
}

fn write_format(writing: &mut Writing<'_, '_>, config: &mut Object<'_>) {
    const JSON: &str = "application/json";
    let traits = writing.target.traits;
    let beside_tools = traits.schema_without_tools && !writing.request.tools.is_empty() && !writing.is_as_asked();
    match &writing.request.output.format {
        None => {}
        Some(Format::Text) if !writing.own => {}
        Some(Format::Text) => drop(config.text("responseMimeType", "text/plain")),
        // The tools stand for it: see `tools`.
        Some(Format::JsonSchema { .. }) if beside_tools && writing.bridge.format_tool.is_some() => {}
        Some(Format::JsonObject | Format::JsonSchema { .. }) if beside_tools || traits.no_json_object && traits.no_json_schema => {
            writing.lose(Param::Format, Severity::Dropped, "the model takes no form of reply here; say in the prompt what is wanted");
        }
        Some(Format::JsonObject) if traits.no_json_object => {
            writing.lose(Param::Format, Severity::Dropped, "the model cannot be made to answer with an object");
        }
        Some(Format::JsonObject) => drop(config.text("responseMimeType", JSON)),
        Some(Format::JsonSchema { .. }) if traits.no_json_schema => {
            writing.lose(Param::Format, Severity::Changed, "the model knows no schemas; it is made to answer with some JSON");
            config.text("responseMimeType", JSON);
        }
        Some(Format::JsonSchema { description, schema, .. }) => {
            config.text("responseMimeType", JSON).raw("responseJsonSchema", without_const(schema).as_bytes());
            if description.is_some() {
                writing.lose(Param::Format, Severity::Hint, "Gemini has no place for a description of the form");
            }
        }
        Some(Format::Other(raw)) if writing.own => copy_members(raw, config),
        Some(Format::Other(_)) => writing.lose(Param::Format, Severity::Dropped, "Gemini has no such form of reply"),
    }
}

fn copy_members(raw: &Raw<'_>, config: &mut Object<'_>) {
    let mut reader = Reader::new(raw.as_bytes());
    // What was put together here is an object.
    let _ = reader.object(|key, reader| {
        config.members(&[reader.member(&key)?]);
        Ok(())
    });
}

fn write_output(writing: &mut Writing<'_, '_>, config: &mut Object<'_>) {
    let output = &writing.request.output;
    if let Some(modalities) = &output.modalities {
        match writing.own {
            true => drop(config.raw("responseModalities", modalities.as_bytes())),
            false => write_modalities(modalities, config),
        }
    }
    if let Some(audio) = &output.audio {
        match writing.own {
            true => drop(config.raw("speechConfig", audio.as_bytes())),
            false => writing.lose(Param::Audio, Severity::Dropped, "Gemini's voices have other names"),
        }
    }
    if output.verbosity.is_some() {
        writing.lose(Param::Verbosity, Severity::Dropped, "Gemini has no such parameter");
    }
}

/// A list of lower-case words in capitals.
fn write_modalities(modalities: &Raw<'_>, config: &mut Object<'_>) {
    let mut words = Vec::new();
    let read = Reader::new(modalities.as_bytes()).array(|_, reader| match reader.kind()? {
        Kind::String => {
            words.push(escape(&reader.decoded()?.to_ascii_uppercase()).into_owned());
            Ok(())
        }
        _ => reader.skip(),
    });
    if read.is_ok() {
        config.array("responseModalities", |list| list.texts(&words));
    }
}
