//! What a reply will say: the models' characters, overridden by the script, cut off at the caller's token limit.

use crate::call::{Call, Tool};
use crate::identity::scatter;
use crate::script::{CutBy, Fault, Script};
use serde_json::{Value, json};
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
/// Bytes of a tool call's arguments per token.
const ARGUMENT_BYTES_PER_TOKEN: usize = 6;

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
}

impl Model {
    pub(crate) const ALL: [Self; 6] = [Self::Echo, Self::Fast, Self::Slow, Self::Flaky, Self::Reason, Self::Tools];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "sim/echo",
            Self::Fast => "sim/fast",
            Self::Slow => "sim/slow",
            Self::Flaky => "sim/flaky",
            Self::Reason => "sim/reason",
            Self::Tools => "sim/tools",
        }
    }

    /// The model called `name`, with or without `sim/`.
    pub(crate) fn find(name: &str) -> Option<Self> {
        let bare = name.strip_prefix("sim/").unwrap_or(name);
        Self::ALL.into_iter().find(|model| model.name().strip_prefix("sim/") == Some(bare))
    }

    fn tokens(self) -> u32 {
        match self {
            Self::Slow => 40,
            Self::Flaky | Self::Reason => 24,
            Self::Echo | Self::Fast | Self::Tools => 32,
        }
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
    pub(crate) segments: Vec<Segment>,
    pub(crate) finish: Finish,
    pub(crate) delay: Duration,
    pub(crate) first_token: Duration,
    pub(crate) pace: Duration,
    pub(crate) prompt_tokens: u32,
}

/// Why the reply ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    Stop,
    Length,
    ToolCalls,
}

/// A run of pieces of one kind. `tokens` may be fewer than the source has (the limit) or more (it starts over).
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) kind: SegmentKind,
    pub(crate) tokens: u32,
    source: TokenSource,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SegmentKind {
    Reasoning,
    Text,
    /// Its first piece, an empty one, is the call's name.
    ToolCall {
        index: u32,
        name: String,
    },
}

#[derive(Debug)]
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
    /// Piece number `index`, below `tokens`.
    pub(crate) fn piece(&self, index: u32) -> &str {
        self.source.token(index)
    }

    pub(crate) fn text(&self) -> String {
        (0..self.tokens).map(|index| self.piece(index)).collect()
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
    /// The reply of `model` to `call` under `script`; an error is the caller's.
    pub(crate) fn new(model: Model, call: &Call<'_>, script: &Script, max_tokens: Option<u32>) -> Result<Self, String> {
        let prompt_tokens = script.prompt_tokens.unwrap_or_else(|| u32::try_from(call.prompt_tokens()).unwrap_or(u32::MAX));
        if u64::from(script.cached_tokens) + u64::from(script.cache_write_tokens) > u64::from(prompt_tokens) {
            return Err(format!("sim: more cached tokens than the prompt's {prompt_tokens}"));
        }
        let calls = tool_calls(model, call, script)?;
        let mut segments = vec![reasoning(model, script), text(model, call, script, !calls.is_empty())];
        segments.extend(calls);
        let capped = cap(&mut segments, max_tokens);
        let calls_tool = segments.iter().any(|segment| matches!(segment.kind, SegmentKind::ToolCall { .. }));
        let slow =
            |scripted: Option<u32>, own: u64| Duration::from_millis(scripted.map_or(if model == Model::Slow { own } else { 0 }, u64::from));
        Ok(Self {
            finish: if capped {
                Finish::Length
            } else if calls_tool {
                Finish::ToolCalls
            } else {
                Finish::Stop
            },
            segments,
            delay: slow(script.delay_ms, 0),
            first_token: slow(script.first_token_ms, 300),
            pace: slow(script.pace_ms, 20),
            prompt_tokens,
        })
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

fn reasoning(model: Model, script: &Script) -> Segment {
    let tokens = script.reasoning_tokens.unwrap_or(if model == Model::Reason { 12 } else { 0 });
    Segment { kind: SegmentKind::Reasoning, tokens, source: TokenSource::Words(THOUGHTS) }
}

fn text(model: Model, call: &Call<'_>, script: &Script, calls_tool: bool) -> Segment {
    let scripted = script.token_text.clone().or_else(|| script.token_bytes.map(|bytes| "x".repeat(bytes as usize)));
    let (source, own_tokens) = match (model, scripted) {
        (_, Some(token)) => (TokenSource::Repeated(token), model.tokens()),
        (Model::Echo, _) => own_words(call.last_user_text()),
        (Model::Tools, _) => match call.last_tool_result() {
            Some(result) => own_words(format!("The tool said: {result}")),
            None => (TokenSource::Words(LOREM), model.tokens()),
        },
        _ => (TokenSource::Words(LOREM), model.tokens()),
    };
    let tokens = script.tokens.unwrap_or(if calls_tool { 0 } else { own_tokens });
    Segment { kind: SegmentKind::Text, tokens, source }
}

fn own_words(text: String) -> (TokenSource, u32) {
    let source = TokenSource::words_of(text);
    let tokens = u32::try_from(source.len()).unwrap_or(u32::MAX);
    (source, tokens)
}

fn tool_calls(model: Model, call: &Call<'_>, script: &Script) -> Result<Vec<Segment>, String> {
    let offered = call.tools.as_ref().map_or(0, Vec::len);
    let wants_call = model == Model::Tools && offered > 0 && !call.refuses_tools() && call.last_tool_result().is_none();
    let count = script.tool_calls.unwrap_or(u32::from(wants_call));
    if count > 0 && offered == 0 {
        return Err("sim: tool_calls needs tools in the request".to_owned());
    }
    if count > 128 {
        return Err("sim: at most 128 tool_calls".to_owned());
    }
    (0..count)
        .map(|index| {
            let position = index as usize % offered;
            let tool = call.tool(position).ok_or_else(|| format!("tools[{position}]: not a function with a name"))?;
            Ok(tool_call(index, tool))
        })
        .collect()
}

fn tool_call(index: u32, tool: Tool) -> Segment {
    let text = example(&tool.schema, 0).to_string();
    // The name is a piece of its own, before the arguments.
    let mut ends = vec![0];
    let mut end = 0;
    for (position, character) in text.char_indices() {
        let after = position + character.len_utf8();
        if after - end >= ARGUMENT_BYTES_PER_TOKEN || after == text.len() {
            ends.push(after);
            end = after;
        }
    }
    let tokens = u32::try_from(ends.len()).unwrap_or(u32::MAX);
    Segment { kind: SegmentKind::ToolCall { index, name: tool.name }, tokens, source: TokenSource::Pieces { text, ends } }
}

/// A value that fits `schema` as far as types and enumerations go; a tool's arguments are always an object.
fn example(schema: &Value, depth: usize) -> Value {
    if let Some(first) = schema.get("enum").and_then(|values| values.get(0)) {
        return first.clone();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => json!("example"),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("null") => Value::Null,
        _ if depth < 16 => {
            let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
            Value::Object(properties.map(|(name, schema)| (name.clone(), example(schema, depth + 1))).collect())
        }
        _ => json!({}),
    }
}

/// Cuts the reply off at `max_tokens`; true if anything was lost.
fn cap(segments: &mut Vec<Segment>, max_tokens: Option<u32>) -> bool {
    let mut left = max_tokens.unwrap_or(u32::MAX);
    let mut capped = false;
    for segment in segments.iter_mut() {
        capped |= segment.tokens > left;
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
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn plan(model: Model, body: &str, script: &str, max_tokens: Option<u32>) -> Plan {
        Plan::new(model, &Call::parse(body.as_bytes()).unwrap(), &Script::parse(script).unwrap(), max_tokens).unwrap()
    }

    #[test]
    fn names_with_and_without_prefix() {
        for model in Model::ALL {
            assert_eq!(Model::find(model.name()), Some(model));
            assert_eq!(Model::find(model.name().strip_prefix("sim/").unwrap()), Some(model));
        }
        assert_eq!(Model::find("sim/sim/echo"), None);
        assert_eq!(Model::find(""), None);
    }

    #[test]
    fn the_limit_cuts_the_reply() {
        let check = |script: &str, max_tokens: Option<u32>, tokens: u32, reasoning: u32, finish: Finish| {
            let plan = plan(Model::Fast, "{}", script, max_tokens);
            assert_eq!(
                (plan.completion_tokens(), plan.reasoning_tokens(), plan.finish),
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
        assert_eq!(segment.kind, SegmentKind::ToolCall { index: 0, name: "look".to_owned() });
        assert_eq!(segment.piece(0), "");
        let arguments: Value = serde_json::from_str(&segment.text()).unwrap();
        assert_eq!(arguments, json!({"city": "example", "unit": "c", "days": 1, "where": {"on": true}}));
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
