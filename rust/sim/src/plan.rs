//! What a reply will say: the models' characters, overridden by the script, cut off at the caller's token limit.

use crate::ask::{Ask, Structure, Thinking, Tool, ToolChoice};
use crate::example::example;
use crate::family::{self, Family, PLAIN};
use crate::identity::scatter;
use crate::script::{ContentFilter, CutBy, Fault, Script, ToolAnomaly};
use serde_json::json;
use std::time::Duration;

const LOREM: &[&str] = &[
    "Lorem",
    " ipsum",
    " dolor",
    " sit",
    " amet,",
    " consectetur",
    " adipiscing",
    " elit,",
    " sed",
    " do",
    " eiusmod",
    " tempor",
    " incididunt",
    " ut",
    " labore",
    " et",
    " dolore",
    " magna",
    " aliqua.",
    " Ut",
    " enim",
    " ad",
    " minim",
    " veniam,",
    " quis",
    " nostrud",
    " exercitation",
    " ullamco",
    " laboris",
    " nisi",
    " ut",
    " aliquip.",
];
const THOUGHTS: &[&str] = &["First", " look", " at", " what", " is", " asked,", " then", " weigh", " the", " ways", " to", " answer."];
/// Bytes of a tool call's arguments, or of structured output, per token.
const ARGUMENT_BYTES_PER_TOKEN: u32 = 6;
/// Looking for stop sequences needs the text at once.
const MAX_BYTES_TO_STOP_IN: u64 = 16 << 20;

/// The models on offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Model {
    /// Says the last user text again, word by word.
    Echo,
    /// Text at once.
    Fast,
    /// 300 ms to the first token, then 20 ms each.
    Slow,
    /// Fails often, but the same way for the same seed and number of the request.
    Flaky,
    /// Thinks, then answers.
    Reason,
    /// Calls the first tool offered; given a tool's result, repeats it.
    Tools,
    /// As `Tools`, but thinks first, and without tools says the user's text again. A family's own model.
    Agent,
}

impl Model {
    pub(crate) const ALL: [Self; 7] = [Self::Echo, Self::Fast, Self::Slow, Self::Flaky, Self::Reason, Self::Tools, Self::Agent];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "sim/echo",
            Self::Fast => "sim/fast",
            Self::Slow => "sim/slow",
            Self::Flaky => "sim/flaky",
            Self::Reason => "sim/reason",
            Self::Tools => "sim/tools",
            Self::Agent => "sim/agent",
        }
    }

    fn bare_name(self) -> &'static str {
        self.name().strip_prefix("sim/").unwrap_or_default()
    }

    fn tokens(self) -> u32 {
        match self {
            Self::Slow => 40,
            Self::Flaky | Self::Reason => 24,
            Self::Echo | Self::Fast | Self::Tools | Self::Agent => 32,
        }
    }
}

/// Who answers: a model, with the traits of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Persona {
    pub(crate) model: Model,
    pub(crate) family: &'static Family,
}

impl Persona {
    /// `model`, `family` or `model-family`, with or without `sim/`.
    pub(crate) fn find(name: &str) -> Option<Self> {
        let bare = name.strip_prefix("sim/").unwrap_or(name);
        if let Some(family) = family::find(bare) {
            return Some(Self { model: Model::Agent, family });
        }
        let (model, family) = match bare.split_once('-') {
            Some((model, family)) => (model, family::find(family)?),
            None => (bare, &PLAIN),
        };
        let model = Model::ALL.into_iter().find(|known| known.bare_name() == model)?;
        Some(Self { model, family })
    }

    /// Whether a family was named.
    pub(crate) fn has_family(self) -> bool {
        !self.family.name.is_empty()
    }
}

/// What `sim/flaky` does with its request number `count` (from 0): of twelve, four are a 503, one a 429, one a cut; `None`: it works.
pub(crate) fn flaky_fault(seed: u64, count: u64) -> Option<Fault> {
    let draw = scatter(seed, count);
    let status = |status| Some(Fault::Status { status, retry_after: Some("1".to_owned()), body: None });
    match draw % 12 {
        0..=3 => status(503),
        4 => status(429),
        5 => Some(Fault::Cut { after_frames: 2 + (draw >> 32) % 8, how: CutBy::Fin, after_bytes: 0 }),
        _ => None,
    }
}

/// A reply, ready to be written in any dialect. Every piece is one completion token.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What is said, one choice after another.
    pub(crate) segments: Vec<Segment>,
    /// Pieces (segment, index) in another order than one segment after the other; usually empty.
    order: Vec<(usize, u32)>,
    pub(crate) choices: u32,
    pub(crate) finish: Finish,
    pub(crate) delay: Duration,
    pub(crate) first_token: Duration,
    pub(crate) pace: Duration,
    pub(crate) prompt_tokens: u32,
    pub(crate) cached_tokens: u32,
    pub(crate) cache_write_tokens: u32,
}

/// Why the reply ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finish {
    Stop,
    /// At this text, which the caller had asked for.
    StopSequence(String),
    Length,
    ToolCalls,
    Refusal,
    ContentFilter,
}

/// A run of pieces of one kind. `tokens` may be fewer than the source has (the limit) or more (it starts over).
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) kind: SegmentKind,
    pub(crate) choice: u32,
    pub(crate) tokens: u32,
    /// Whether all that was to be said is there.
    pub(crate) whole: bool,
    source: TokenSource,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SegmentKind {
    Reasoning,
    Text,
    /// The model declines, in words.
    Refusal,
    /// Its first piece, an empty one, is the call's name.
    ToolCall {
        index: u32,
        name: String,
        /// A custom tool of OpenAI's: its input is text.
        takes_text: bool,
    },
}

#[derive(Debug, Clone)]
enum TokenSource {
    Words(&'static [&'static str]),
    Repeated(String),
    Pieces { text: String, ends: Vec<usize> },
}

impl TokenSource {
    fn words_of(text: String) -> Self {
        let ends = word_ends(&text);
        Self::Pieces { text, ends }
    }

    /// Pieces of at least so many bytes; the last has what is left.
    fn pieces_of(text: String, piece_bytes: u32) -> (String, Vec<usize>) {
        let mut ends = Vec::new();
        let mut end = 0;
        for (position, character) in text.char_indices() {
            let after = position + character.len_utf8();
            if after - end >= piece_bytes as usize || after == text.len() {
                ends.push(after);
                end = after;
            }
        }
        (text, ends)
    }

    fn len(&self) -> usize {
        match self {
            Self::Words(words) => words.len(),
            Self::Repeated(_) => 1,
            Self::Pieces { ends, .. } => ends.len(),
        }
    }

    fn token(&self, index: u32) -> &str {
        let position = index as usize % self.len().max(1);
        match self {
            Self::Words(words) => words.get(position).copied().unwrap_or_default(),
            Self::Repeated(token) => token,
            Self::Pieces { text, ends } => {
                let start = position.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
                ends.get(position).and_then(|&end| text.get(start..end)).unwrap_or_default()
            }
        }
    }
}

impl Segment {
    fn new(kind: SegmentKind, tokens: u32, source: TokenSource) -> Self {
        Self { kind, choice: 0, tokens, whole: true, source }
    }

    /// Piece number `index`, below `tokens`.
    pub(crate) fn piece(&self, index: u32) -> &str {
        self.source.token(index)
    }

    pub(crate) fn text(&self) -> String {
        (0..self.tokens).map(|index| self.piece(index)).collect()
    }

    pub(crate) fn is_call(&self) -> bool {
        matches!(self.kind, SegmentKind::ToolCall { .. })
    }

    fn bytes(&self) -> u64 {
        match &self.source {
            TokenSource::Repeated(token) => token.len() as u64 * u64::from(self.tokens),
            TokenSource::Words(_) => 16 * u64::from(self.tokens),
            TokenSource::Pieces { text, ends } => text.len() as u64 * (u64::from(self.tokens) / ends.len().max(1) as u64 + 1),
        }
    }
}

impl Plan {
    /// The reply of `persona` to `ask` under `script`; an error is the caller's. Strict calls are answered by a model that heeds
    /// everything it is told.
    pub(crate) fn new(persona: Persona, strict: bool, ask: &Ask<'_>, script: &Script) -> Result<Self, String> {
        let model = persona.model;
        let prompt_tokens = script.prompt_tokens.unwrap_or_else(|| u32::try_from(ask.prompt_tokens).unwrap_or(u32::MAX));
        let cached_tokens = script.cached_tokens.unwrap_or(ask.cache.read);
        let cache_write_tokens = script.cache_write_tokens.unwrap_or(ask.cache.written);
        if u64::from(cached_tokens) + u64::from(cache_write_tokens) > u64::from(prompt_tokens) {
            return Err(format!("sim: more cached tokens than the prompt's {prompt_tokens}"));
        }
        let (segments, finish, choices) = say_all(persona, strict, ask, script)?;
        let slow =
            |scripted: Option<u32>, own: u64| Duration::from_millis(scripted.map_or(if model == Model::Slow { own } else { 0 }, u64::from));
        Ok(Self {
            finish,
            order: if script.has(ToolAnomaly::Interleaved) { interleaved(&segments) } else { Vec::new() },
            segments,
            choices,
            delay: slow(script.delay_ms, 0),
            first_token: slow(script.first_token_ms, 300),
            pace: slow(script.pace_ms, 20),
            prompt_tokens,
            cached_tokens,
            cache_write_tokens,
        })
    }

    /// A reply that says nothing, to a request of which only the prompt counts.
    pub(crate) fn without_words(ask: &Ask<'_>, script: &Script) -> Self {
        Self {
            segments: Vec::new(),
            order: Vec::new(),
            choices: 1,
            finish: Finish::Stop,
            delay: Duration::from_millis(script.delay_ms.unwrap_or(0).into()),
            first_token: Duration::from_millis(script.first_token_ms.unwrap_or(0).into()),
            pace: Duration::ZERO,
            prompt_tokens: script.prompt_tokens.unwrap_or_else(|| u32::try_from(ask.prompt_tokens).unwrap_or(u32::MAX)),
            cached_tokens: 0,
            cache_write_tokens: 0,
        }
    }

    /// Whether the prompt itself was blocked, so that there is nothing.
    pub(crate) fn is_blocked(&self) -> bool {
        self.finish == Finish::ContentFilter && self.segments.is_empty()
    }

    /// All pieces as (segment, index), in the order in which they come.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (usize, u32)> {
        let usual = if self.order.is_empty() { self.segments.as_slice() } else { &[] };
        let usual = usual.iter().enumerate().flat_map(|(position, segment)| (0..segment.tokens).map(move |index| (position, index)));
        self.order.iter().copied().chain(usual)
    }

    pub(crate) fn completion_tokens(&self) -> u32 {
        self.segments.iter().map(|segment| segment.tokens).sum()
    }

    pub(crate) fn reasoning_tokens(&self) -> u32 {
        self.segments.iter().filter(|segment| segment.kind == SegmentKind::Reasoning).map(|segment| segment.tokens).sum()
    }

    /// An upper bound of the bytes of all pieces.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(Segment::bytes).sum()
    }

    /// When piece number `index` is due, counted from the head.
    pub(crate) fn due(&self, index: u32) -> Duration {
        self.first_token + self.pace * index
    }

    /// How many pieces exist at `elapsed` after the head would have been sent.
    pub(crate) fn produced_by(&self, elapsed: Duration) -> u32 {
        let Some(since_first) = elapsed.checked_sub(self.first_token) else { return 0 };
        let steps = since_first.as_nanos().checked_div(self.pace.as_nanos());
        let produced = steps.map_or(u32::MAX, |steps| u32::try_from(steps + 1).unwrap_or(u32::MAX));
        produced.min(self.completion_tokens())
    }
}

/// What all choices say, why they end, and how many there are. Several prompts have choices of their own each.
fn say_all(persona: Persona, strict: bool, ask: &Ask<'_>, script: &Script) -> Result<(Vec<Segment>, Finish, u32), String> {
    let texts: Vec<&str> = match ask.prompts.as_slice() {
        [] => vec![ask.last_user_text.as_ref()],
        prompts => prompts.iter().map(String::as_str).collect(),
    };
    let (mut all, mut ends, mut choices) = (Vec::new(), Finish::Stop, 0);
    for text in texts {
        let (segments, finish) = say(persona, strict, ask, text, script)?;
        for _ in 0..ask.choices.max(1) {
            all.extend(segments.iter().map(|segment| Segment { choice: choices, ..segment.clone() }));
            choices += 1;
        }
        ends = finish;
    }
    Ok((all, ends, choices))
}

/// Everything one choice says, and why it ends.
fn say(persona: Persona, strict: bool, ask: &Ask<'_>, said: &str, script: &Script) -> Result<(Vec<Segment>, Finish), String> {
    if script.content_filter == Some(ContentFilter::Prompt) {
        return Ok((Vec::new(), Finish::ContentFilter));
    }
    let mut segments = vec![reasoning(persona, strict, ask, script)];
    if let Some(refusal) = &script.refusal {
        let (source, tokens) = own_words(refusal.clone());
        segments.push(Segment::new(SegmentKind::Refusal, tokens, source));
    } else {
        let calls = tool_calls(persona, strict, ask, script)?;
        segments.push(text(persona, ask, said, script, !calls.is_empty()));
        segments.extend(calls);
    }
    let stopped = stop(&mut segments, &ask.stops)?;
    let capped = cap(&mut segments, ask.max_tokens);
    let finish = if capped {
        Finish::Length
    } else if script.refusal.is_some() {
        Finish::Refusal
    } else if script.content_filter.is_some() {
        Finish::ContentFilter
    } else if let Some(stopped) = stopped {
        Finish::StopSequence(stopped)
    } else if segments.iter().any(Segment::is_call) {
        Finish::ToolCalls
    } else {
        Finish::Stop
    };
    Ok((segments, finish))
}

fn reasoning(persona: Persona, strict: bool, ask: &Ask<'_>, script: &Script) -> Segment {
    let thinks = match (persona.model, ask.thinking) {
        _ if !persona.family.reasons => false,
        (Model::Reason, Thinking::Off) => !strict,
        // Models of which thinking cannot be turned off think unless told otherwise; the plain agent is one of them.
        (Model::Reason, _) => true,
        (Model::Agent, Thinking::Unsaid) => !persona.has_family() || !persona.family.takes_thinking_off,
        (_, Thinking::On) => strict,
        _ => false,
    };
    let tokens = script.reasoning_tokens.unwrap_or(if thinks { 12 } else { 0 });
    Segment::new(SegmentKind::Reasoning, tokens, TokenSource::Words(THOUGHTS))
}

fn text(persona: Persona, ask: &Ask<'_>, said: &str, script: &Script, calls_tool: bool) -> Segment {
    let model = persona.model;
    let scripted = script.token_text.clone().or_else(|| script.token_bytes.map(|bytes| "x".repeat(bytes as usize)));
    let (source, own_tokens) = match (model, scripted, &ask.last_tool_result) {
        (_, Some(token), _) => (TokenSource::Repeated(token), model.tokens()),
        _ if ask.structure != Structure::Free => structured(&ask.structure, said),
        (Model::Tools | Model::Agent, _, Some(result)) => own_words(format!("The tool said: {result}")),
        (Model::Echo | Model::Agent, ..) => own_words(said.to_owned()),
        _ => (TokenSource::Words(LOREM), model.tokens()),
    };
    let tokens = script.tokens.unwrap_or(if calls_tool { 0 } else { own_tokens });
    Segment::new(SegmentKind::Text, tokens, source)
}

fn own_words(text: String) -> (TokenSource, u32) {
    let source = TokenSource::words_of(text);
    let tokens = u32::try_from(source.len()).unwrap_or(u32::MAX);
    (source, tokens)
}

/// JSON of the form that was asked for.
fn structured(structure: &Structure, text: &str) -> (TokenSource, u32) {
    let value = match structure {
        Structure::Schema(schema) => example(schema),
        _ => json!({ "text": text }),
    };
    let (text, ends) = TokenSource::pieces_of(value.to_string(), ARGUMENT_BYTES_PER_TOKEN);
    let source = TokenSource::Pieces { text, ends };
    let tokens = u32::try_from(source.len()).unwrap_or(u32::MAX);
    (source, tokens)
}

fn tool_calls(persona: Persona, strict: bool, ask: &Ask<'_>, script: &Script) -> Result<Vec<Segment>, String> {
    let offered = ask.tools.len();
    let forced = strict && matches!(ask.tool_choice, ToolChoice::Any | ToolChoice::Named(_));
    let inclined = matches!(persona.model, Model::Tools | Model::Agent) || forced;
    let wants_call = inclined && offered > 0 && ask.tool_choice != ToolChoice::None && ask.last_tool_result.is_none();
    let mut count = script.tool_calls.unwrap_or(u32::from(wants_call));
    if count > 0 && offered == 0 {
        return Err("sim: tool_calls needs tools in the request".to_owned());
    }
    if count > 128 {
        return Err("sim: at most 128 tool_calls".to_owned());
    }
    if strict && ask.single_call {
        count = count.min(1);
    }
    let first = match &ask.tool_choice {
        ToolChoice::Named(name) => ask.tools.position(name).unwrap_or(0),
        _ => 0,
    };
    (0..count)
        .map(|index| {
            let position = (first + index as usize) % offered;
            let tool = ask.tools.get(position).ok_or_else(|| format!("tools[{position}]: not a function with a name"))?;
            Ok(tool_call(index, tool, script))
        })
        .collect()
}

fn tool_call(index: u32, tool: Tool, script: &Script) -> Segment {
    let text = match &script.arguments {
        Some(scripted) => scripted.clone(),
        None if script.has(ToolAnomaly::EmptyArguments) => String::new(),
        None if tool.takes_text => "example input".to_owned(),
        // Arguments are an object, whatever the schema says.
        None => Some(example(&tool.schema)).filter(serde_json::Value::is_object).unwrap_or_else(|| json!({})).to_string(),
    };
    let piece_bytes = if script.has(ToolAnomaly::Whole) { u32::MAX } else { script.argument_bytes.unwrap_or(ARGUMENT_BYTES_PER_TOKEN) };
    let (text, mut ends) = TokenSource::pieces_of(text, piece_bytes);
    // The name is a piece of its own, before the arguments.
    ends.insert(0, 0);
    let tokens = u32::try_from(ends.len()).unwrap_or(u32::MAX);
    let kind = SegmentKind::ToolCall { index, name: tool.name, takes_text: tool.takes_text };
    Segment::new(kind, tokens, TokenSource::Pieces { text, ends })
}

/// Ends the text at the first of `stops` in it, and says which that was.
fn stop(segments: &mut Vec<Segment>, stops: &[String]) -> Result<Option<String>, String> {
    if stops.is_empty() {
        return Ok(None);
    }
    let Some(position) = segments.iter().position(|segment| segment.kind == SegmentKind::Text) else { return Ok(None) };
    let Some(segment) = segments.get_mut(position) else { return Ok(None) };
    if segment.bytes() > MAX_BYTES_TO_STOP_IN {
        return Err(format!("sim: with stop sequences, a text may have {MAX_BYTES_TO_STOP_IN} bytes at most"));
    }
    let text = segment.text();
    let found = stops.iter().filter_map(|stop| text.find(stop.as_str()).map(|at| (at, stop))).min();
    let Some((at, stop)) = found else { return Ok(None) };
    let (source, tokens) = own_words(text.get(..at).unwrap_or_default().to_owned());
    *segment = Segment { source, tokens, ..segment.clone() };
    segments.truncate(position + 1);
    Ok(Some(stop.clone()))
}

/// The pieces of all tool calls in turns; those of other segments stay where they are.
fn interleaved(segments: &[Segment]) -> Vec<(usize, u32)> {
    let mut order = Vec::new();
    let (calls, others): (Vec<_>, Vec<_>) = segments.iter().enumerate().partition(|(_, segment)| segment.is_call());
    for (position, segment) in others {
        order.extend((0..segment.tokens).map(|index| (position, index)));
    }
    let longest = calls.iter().map(|(_, segment)| segment.tokens).max().unwrap_or(0);
    for index in 0..longest {
        order.extend(calls.iter().filter(|(_, segment)| index < segment.tokens).map(|&(position, _)| (position, index)));
    }
    order
}

/// Cuts the reply off at `max_tokens`; true if anything was lost.
fn cap(segments: &mut Vec<Segment>, max_tokens: Option<u32>) -> bool {
    let mut left = max_tokens.unwrap_or(u32::MAX);
    let mut capped = false;
    for segment in segments.iter_mut() {
        segment.whole = segment.tokens <= left;
        capped |= !segment.whole;
        segment.tokens = segment.tokens.min(left);
        left -= segment.tokens;
    }
    segments.retain(|segment| segment.tokens > 0);
    capped
}

/// Ends of the words of `text`, each with the white space before it; white space at the end is a word of its own.
fn word_ends(text: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut in_word = false;
    for (position, character) in text.char_indices() {
        if character.is_whitespace() && in_word {
            ends.push(position);
        }
        in_word = !character.is_whitespace();
    }
    if !text.is_empty() {
        ends.push(text.len());
    }
    ends
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::call::Call;
    use proptest::prelude::*;
    use serde_json::Value;

    fn plan(model: Model, body: &str, script: &str, max_tokens: Option<u32>) -> Plan {
        let call = Call::parse(body.as_bytes()).unwrap();
        Plan::new(Persona { model, family: &PLAIN }, false, &call.ask(max_tokens), &Script::parse(script).unwrap()).unwrap()
    }

    #[test]
    fn names_with_and_without_prefix_and_family() {
        let check = |name: &str, expected: Option<(Model, &str)>| {
            let found = Persona::find(name).map(|persona| (persona.model, persona.family.name));
            assert_eq!(found, expected, "{name}");
        };
        for model in Model::ALL {
            check(model.name(), Some((model, "")));
            check(model.bare_name(), Some((model, "")));
        }
        check("sim/claude-new", Some((Model::Agent, "claude-new")));
        check("sim/echo-claude-new", Some((Model::Echo, "claude-new")));
        check("tools-gpt", Some((Model::Tools, "gpt")));
        for name in ["sim/sim/echo", "", "echo-", "echo-x", "-gpt", "claude-echo"] {
            check(name, None);
        }
    }

    #[test]
    fn the_limit_cuts_the_reply() {
        let check = |script: &str, max_tokens: Option<u32>, tokens: u32, reasoning: u32, finish: Finish| {
            let plan = plan(Model::Fast, "{}", script, max_tokens);
            assert_eq!(
                (plan.completion_tokens(), plan.reasoning_tokens(), plan.finish.clone()),
                (tokens, reasoning, finish),
                "{script} {max_tokens:?}"
            );
        };
        check("{}", None, 32, 0, Finish::Stop);
        check("{}", Some(32), 32, 0, Finish::Stop);
        check("{}", Some(31), 31, 0, Finish::Length);
        check(r#"{"tokens":5,"reasoning_tokens":4}"#, Some(6), 6, 4, Finish::Length);
        check(r#"{"tokens":5,"reasoning_tokens":4}"#, Some(3), 3, 3, Finish::Length);
        check(r#"{"tokens":0}"#, None, 0, 0, Finish::Stop);
        check("{}", Some(0), 0, 0, Finish::Length);
    }

    #[test]
    fn tools_are_called_with_arguments_that_fit() {
        let tools = r#"{"tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object","properties":
            {"city":{"type":"string"},"unit":{"enum":["c","f"]},"days":{"type":"integer"},"where":{"type":"object","properties":{"on":{"type":"boolean"}}}}}}}]}"#;
        let plan = plan(Model::Tools, tools, "{}", None);
        assert_eq!(plan.finish, Finish::ToolCalls);
        let [segment] = plan.segments.as_slice() else { panic!("{:?}", plan.segments) };
        assert_eq!(segment.kind, SegmentKind::ToolCall { index: 0, name: "look".to_owned(), takes_text: false });
        assert_eq!(segment.piece(0), "");
        let arguments: Value = serde_json::from_str(&segment.text()).unwrap();
        assert_eq!(arguments, json!({"city": "example", "unit": "c", "days": 1, "where": {"on": true}}));
    }

    #[test]
    fn stop_sequences_end_the_text() {
        let check = |stops: &str, text: &str, finish: Finish| {
            let body = format!(r#"{{"messages":[{{"role":"user","content":"one two three"}}],"stop":{stops}}}"#);
            let plan = plan(Model::Echo, &body, "{}", None);
            assert_eq!((plan.segments.iter().map(Segment::text).collect::<String>(), plan.finish), (text.to_owned(), finish), "{stops}");
        };
        let stopped = |stop: &str| Finish::StopSequence(stop.to_owned());
        check(r#"["four"]"#, "one two three", Finish::Stop);
        check(r#"["three"," two"]"#, "one", stopped(" two"));
        check(r#""wo t""#, "one t", stopped("wo t"));
        check(r#"["one"]"#, "", stopped("one"));
    }

    #[test]
    fn calls_take_turns() {
        let tools = r#"{"tools":[{"name":"a"},{"name":"b"}]}"#;
        let plan = plan(Model::Tools, tools, r#"{"tool_calls":2,"tool_anomalies":["interleaved"],"tokens":1}"#, None);
        let steps: Vec<_> = plan.steps().collect();
        assert_eq!(steps, [(0, 0), (1, 0), (2, 0), (1, 1), (2, 1)]);
        assert_eq!(steps.len(), plan.completion_tokens() as usize);
    }

    #[test]
    fn arguments_come_in_the_pieces_asked_for() {
        let pieces = |script: &str| -> Vec<String> {
            let plan = plan(Model::Tools, r#"{"tools":[{"name":"a","input_schema":{"properties":{"é":{"const":"ü"}}}}]}"#, script, None);
            plan.steps().map(|(position, index)| plan.segments[position].piece(index).to_owned()).collect()
        };
        assert_eq!(pieces(r#"{"argument_bytes":1}"#), ["", "{", "\"", "é", "\"", ":", "\"", "ü", "\"", "}"]);
        assert_eq!(pieces(r#"{"tool_anomalies":["whole"]}"#), ["", r#"{"é":"ü"}"#]);
        assert_eq!(pieces(r#"{"tool_anomalies":["empty_arguments"]}"#), [""]);
        assert_eq!(pieces(r#"{"arguments":"{\"broken"}"#).concat(), r#"{"broken"#);
    }

    #[test]
    fn structured_output_fits_its_schema() {
        let said = |format: &str| {
            let body = format!(r#"{{"messages":[{{"role":"user","content":"x y"}}],"response_format":{format}}}"#);
            plan(Model::Echo, &body, "{}", None).segments[0].text()
        };
        assert_eq!(said(r#"{"type":"text"}"#), "x y");
        assert_eq!(said(r#"{"type":"json_object"}"#), r#"{"text":"x y"}"#);
        let schema = r#"{"properties":{"days":{"type":"integer","minimum":3}}}"#;
        assert_eq!(said(&format!(r#"{{"type":"json_schema","json_schema":{{"name":"n","schema":{schema}}}}}"#)), r#"{"days":3}"#);
    }

    #[test]
    fn every_choice_says_the_same() {
        let plan = plan(Model::Fast, r#"{"n":3}"#, r#"{"tokens":2}"#, None);
        assert_eq!((plan.completion_tokens(), plan.choices), (6, 3));
        assert_eq!(plan.segments.iter().map(|segment| segment.choice).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn production_follows_the_clock() {
        let plan = plan(Model::Fast, "{}", r#"{"first_token_ms":100,"pace_ms":10,"tokens":5}"#, None);
        let check = |ms: u64, tokens: u32| assert_eq!(plan.produced_by(Duration::from_millis(ms)), tokens, "{ms} ms");
        check(0, 0);
        check(99, 0);
        check(100, 1);
        check(109, 1);
        check(110, 2);
        check(140, 5);
        check(9_999, 5);
        assert_eq!(plan.due(4), Duration::from_millis(140));
    }

    #[test]
    fn flaky_fails_as_announced() {
        let faults: Vec<_> = (0..12_000).filter_map(|count| flaky_fault(1, count)).collect();
        let share = |name: &str| faults.iter().filter(|fault| format!("{fault:?}").contains(name)).count();
        for (name, expected) in [("status: 503", 4_000), ("status: 429", 1_000), ("Cut", 1_000)] {
            assert!(share(name).abs_diff(expected) < 200, "{name}: {}", share(name));
        }
    }

    proptest! {
        #[test]
        fn words_add_up_to_the_text(text in "[a-z é\n\u{2003}🦀]{0,60}") {
            let source = TokenSource::words_of(text.clone());
            let joined: String = (0..source.len() as u32).map(|index| source.token(index)).collect();
            prop_assert_eq!(joined, text);
        }
    }
}
