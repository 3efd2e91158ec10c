//! OpenAI's legacy completions: a text goes on, without roles.

use crate::ask::{Ask, TOKENS_PER_MESSAGE, Transcript};
use crate::cache::Policy;
use crate::context::Context;
use crate::openai::{check, check_range, check_sampling, invalid};
use crate::openai_chat::{logprob, push_usage};
use crate::plan::{Finish, Segment};
use crate::reply::{Frames, Refusal, Reply, Wishes, push, push_segment, quoted};
use crate::script::{Opening, Terminal};
use crate::shape::{Kind, Shape, closed};
use serde_json::Value;

const DEFAULT_MAX_TOKENS: u32 = 16;
const MAX_LOGPROBS: f64 = 5.0;
const MAX_CHOICES: f64 = 128.0;
const MAX_PROMPTS: usize = 128;

const TEXT_OR_TOKENS: Kind = Kind::Either(&[Kind::Text, Kind::Integer, Kind::List(&Kind::Integer)]);
static ENTRY: Kind = TEXT_OR_TOKENS;
static STREAM_OPTIONS: Shape = closed(&[("include_usage", Kind::Bool), ("include_obfuscation", Kind::Bool)], &[]);
static REQUEST: Shape = closed(
    &[
        ("model", Kind::Text),
        ("prompt", Kind::Either(&[Kind::Text, Kind::List(&ENTRY)])),
        ("suffix", Kind::Text),
        ("max_tokens", Kind::Integer),
        ("temperature", Kind::Number),
        ("top_p", Kind::Number),
        ("n", Kind::Integer),
        ("best_of", Kind::Integer),
        ("stream", Kind::Bool),
        ("stream_options", Kind::Object(&STREAM_OPTIONS)),
        ("logprobs", Kind::Integer),
        ("echo", Kind::Bool),
        ("stop", Kind::Either(&[Kind::Text, Kind::List(&Kind::Text)])),
        ("presence_penalty", Kind::Number),
        ("frequency_penalty", Kind::Number),
        ("logit_bias", Kind::Map(&Kind::Number)),
        ("seed", Kind::Integer),
        ("user", Kind::Text),
        ("sim", Kind::Any),
    ],
    &["model", "prompt"],
);

/// Judges `body`, and reads what it asks for.
pub(crate) fn read(context: &Context<'_>, body: &Value) -> Result<Ask<'static>, Refusal> {
    check(body, &REQUEST)?;
    check_sampling(body, context.persona.family, &[("temperature", 1.0), ("top_p", 1.0)])?;
    check_range(body, "temperature", 0.0, 2.0)?;
    check_range(body, "top_p", 0.0, 1.0)?;
    check_range(body, "n", 1.0, MAX_CHOICES)?;
    check_range(body, "logprobs", 0.0, MAX_LOGPROBS)?;
    check_range(body, "max_tokens", 0.0, f64::MAX)?;
    let number = |name: &str| body.get(name).and_then(Value::as_u64).map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    let choices = number("n").unwrap_or(1);
    let best_of = number("best_of").unwrap_or(choices);
    if best_of < choices {
        return Err(invalid("best_of", "must be greater than or equal to 'n'.", "invalid_value"));
    }
    let streams = body.get("stream") == Some(&Value::Bool(true));
    if streams && best_of > choices {
        return Err(Refusal::bad_request("Cannot stream results with best_of > n.").param("stream"));
    }
    if !streams && body.get("stream_options").is_some_and(Value::is_object) {
        return Err(
            Refusal::bad_request("The 'stream_options' parameter is only allowed when 'stream' is enabled.").param("stream_options")
        );
    }
    let prompts = prompts(body);
    if prompts.is_empty() || prompts.len() > MAX_PROMPTS {
        return Err(invalid("prompt", &format!("expected between 1 and {MAX_PROMPTS} prompts."), "invalid_value"));
    }
    let mut transcript = Transcript::new();
    let mut tokens = TOKENS_PER_MESSAGE;
    for prompt in &prompts {
        tokens += TOKENS_PER_MESSAGE + prompt.tokens();
        transcript.message("prompt");
        transcript.text(prompt.text());
        transcript.end_block(&Value::from(prompt.text()), None);
    }
    let stop = body.get("stop");
    let stops =
        stop.and_then(Value::as_str).into_iter().chain(stop.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str));
    let max_tokens = number("max_tokens").unwrap_or(DEFAULT_MAX_TOKENS);
    Ok(Ask {
        prompt_tokens: tokens,
        prompts: prompts.iter().map(|prompt| prompt.text().to_owned()).collect(),
        max_tokens: Some(max_tokens),
        stops: stops.map(str::to_owned).collect(),
        choices,
        logprobs: number("logprobs"),
        cache: context.cache(&transcript, Policy::Implicit, ""),
        ..Ask::default()
    })
}

/// One prompt: a text, or so many tokens.
enum Prompt<'b> {
    Text(&'b str),
    Tokens(usize),
}

impl Prompt<'_> {
    fn tokens(&self) -> u64 {
        match self {
            Self::Text(text) => (text.len() as u64).div_ceil(crate::ask::BYTES_PER_TOKEN),
            Self::Tokens(count) => *count as u64,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Tokens(_) => "",
        }
    }
}

fn prompts(body: &Value) -> Vec<Prompt<'_>> {
    match body.get("prompt") {
        Some(Value::String(text)) => vec![Prompt::Text(text)],
        Some(Value::Array(entries)) if entries.first().is_some_and(Value::is_number) => vec![Prompt::Tokens(entries.len())],
        Some(Value::Array(entries)) => entries
            .iter()
            .map(|entry| match entry {
                Value::String(text) => Prompt::Text(text),
                Value::Array(tokens) => Prompt::Tokens(tokens.len()),
                _ => Prompt::Tokens(1),
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The prompt that stands before choice number `choice`, if the caller wants it repeated.
fn echo<'r>(reply: &'r Reply<'_>, choice: u32) -> &'r str {
    if reply.request.get("echo") != Some(&Value::Bool(true)) {
        return "";
    }
    let prompt = choice / (reply.plan.choices / u32::try_from(reply.ask.prompts.len().max(1)).unwrap_or(1)).max(1);
    reply.ask.prompts.get(prompt as usize).map(String::as_str).unwrap_or_default()
}

/// A `text_completion`.
pub(crate) fn unary(reply: &Reply<'_>) -> Vec<u8> {
    let mut out = start(reply).into_bytes();
    for choice in 0..reply.plan.choices {
        if choice > 0 {
            out.push(b',');
        }
        let mut text = Vec::new();
        let said: Vec<&Segment> = reply.plan.segments.iter().filter(|segment| segment.choice == choice).collect();
        said.iter().for_each(|segment| push_segment(segment, &mut text));
        let echo = quoted(echo(reply, choice));
        push(&mut out, format_args!(r#"{{"text":{}"#, echo.trim_end_matches('"')));
        // An empty echo is only its two quotes, of which the first must stay.
        if echo == "\"\"" {
            out.push(b'"');
        }
        out.extend_from_slice(&text);
        push(
            &mut out,
            format_args!(r#"","index":{choice},"logprobs":{},"finish_reason":{}}}"#, logprobs(reply, &said), finish_reason(reply)),
        );
    }
    out.push(b']');
    if let Some(usage) = reply.usage() {
        out.push(b',');
        push_usage(usage, &mut out);
    }
    out.push(b'}');
    out
}

fn start(reply: &Reply<'_>) -> String {
    let Reply { id, created, .. } = reply;
    format!(r#"{{"id":"{id}","object":"text_completion","created":{created},"model":{},"choices":["#, quoted(reply.model))
}

fn finish_reason(reply: &Reply<'_>) -> String {
    reply.finish(match reply.plan.finish {
        Finish::Length => "length",
        Finish::ContentFilter => "content_filter",
        _ => "stop",
    })
}

/// The old form: lists beside each other.
fn logprobs(reply: &Reply<'_>, said: &[&Segment]) -> String {
    let pieces: Vec<(&str, u32)> = said.iter().flat_map(|segment| (0..segment.tokens).map(|index| (segment.piece(index), index))).collect();
    piece_logprobs(reply, &pieces, 0)
}

fn piece_logprobs(reply: &Reply<'_>, pieces: &[(&str, u32)], mut offset: usize) -> String {
    let Some(top) = reply.ask.logprobs else { return "null".to_owned() };
    let (mut tokens, mut likely, mut tops, mut offsets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (text, index) in pieces {
        tokens.push(quoted(text));
        likely.push(format!("{:.2}", logprob(*index, 0)));
        let ranks = (0..top).map(|rank| {
            let name = if rank == 0 { (*text).to_owned() } else { format!("{text}{rank}") };
            format!("{}:{:.2}", quoted(&name), logprob(*index, rank))
        });
        tops.push(format!("{{{}}}", ranks.collect::<Vec<_>>().join(",")));
        offsets.push(offset.to_string());
        offset += text.chars().count();
    }
    let [tokens, likely, tops, offsets] = [tokens, likely, tops, offsets].map(|list| list.join(","));
    format!(r#"{{"tokens":[{tokens}],"token_logprobs":[{likely}],"top_logprobs":[{tops}],"text_offset":[{offsets}]}}"#)
}

/// The chunks of a stream, which have the form of the whole.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    reply: &'a Reply<'a>,
    start: String,
    usage_null: &'static str,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(reply: &'a Reply<'a>) -> Self {
        let Wishes { usage, .. } = reply.wishes;
        Self { reply, start: start(reply), usage_null: if usage { r#","usage":null"# } else { "" } }
    }

    pub(crate) fn opening(&mut self, frames: &mut Frames) {
        if self.reply.script.opening == Opening::PingFirst {
            frames.lone_line(": ping");
        }
        for choice in 0..self.reply.plan.choices {
            let echo = echo(self.reply, choice);
            if !echo.is_empty() {
                self.chunk(choice, echo, "null", "null", 0, frames);
            }
        }
    }

    pub(crate) fn piece(&mut self, segment: &Segment, index: u32, frames: &mut Frames) {
        let text = segment.piece(index);
        let logprobs = piece_logprobs(self.reply, &[(text, index)], 0);
        self.chunk(segment.choice, text, &logprobs, "null", 1, frames);
    }

    pub(crate) fn closing(&mut self, frames: &mut Frames) {
        let reason = finish_reason(self.reply);
        for choice in 0..self.reply.plan.choices {
            self.chunk(choice, "", "null", &reason, 0, frames);
        }
        if self.reply.wishes.usage {
            for usage in self.reply.stream_usages() {
                frames.push("data: ");
                frames.push(&self.start);
                frames.push("],");
                push_usage(usage, &mut frames.bytes);
                frames.push("}");
                frames.end_line();
                frames.end_frame(0);
            }
        }
        let terminals = match self.reply.script.terminal {
            Terminal::Normal => 1,
            Terminal::Absent => 0,
            Terminal::Twice => 2,
        };
        for _ in 0..terminals {
            frames.lone_line("data: [DONE]");
        }
    }

    fn chunk(&self, choice: u32, text: &str, logprobs: &str, reason: &str, tokens: u32, frames: &mut Frames) {
        frames.push("data: ");
        frames.push(&self.start);
        let (text, usage_null) = (quoted(text), self.usage_null);
        push(
            &mut frames.bytes,
            format_args!(r#"{{"text":{text},"index":{choice},"logprobs":{logprobs},"finish_reason":{reason}}}]{usage_null}}}"#),
        );
        frames.end_line();
        frames.end_frame(tokens);
    }
}
