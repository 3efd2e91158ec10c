//! Chat completions as hosts write them that are compatible, but odd; and tool calls that go wrong on purpose. Slower than the usual way,
//! which is why that one knows nothing of this.

use super::{call_id, finish_reason, usage_json};
use crate::family::{Calls, Figures, Host, PLAIN, ReasoningPlace, UsagePlace};
use crate::plan::{Finish, Segment, SegmentKind};
use crate::reply::{Frames, Reply, Usage};
use crate::script::{Opening, Terminal, ToolAnomaly};
use serde_json::{Map, Value, json};

/// Whether a reply has to be written here.
pub(super) fn is_odd(reply: &Reply<'_>) -> bool {
    reply.persona.family.host != PLAIN.host || !reply.script.tool_anomalies.is_empty()
}

/// A `chat.completion`.
pub(super) fn unary(reply: &Reply<'_>) -> Value {
    let host = reply.persona.family.host;
    let choices: Vec<Value> = (0..reply.plan.choices)
        .map(|choice| {
            let said: Vec<&Segment> = reply.plan.segments.iter().filter(|segment| segment.choice == choice).collect();
            json!({"index": choice, "message": message(reply, host, &said), "finish_reason": finish(reply, host), "logprobs": null})
        })
        .collect();
    let mut body = json!({"id": reply.id, "object": "chat.completion", "created": reply.created, "model": reply.model, "choices": choices});
    if let Some(usage) = reply.usage() {
        body["usage"] = figures(host, usage);
    }
    if host.usage == UsagePlace::XGroq {
        body["x_groq"] = json!({"id": reply.part_id("req_01", 24, 99)});
    }
    if host.blank_first_chunk {
        body["prompt_filter_results"] = filter_results();
    }
    body
}

fn message(reply: &Reply<'_>, host: &Host, said: &[&Segment]) -> Value {
    let text_of =
        |kind: &SegmentKind| said.iter().filter(|segment| segment.kind == *kind).map(|segment| segment.text()).collect::<String>();
    let (thoughts, text) = (text_of(&SegmentKind::Reasoning), text_of(&SegmentKind::Text));
    let calls: Vec<Value> = said.iter().filter_map(|segment| whole_call(reply, host, segment, false)).collect();
    let mut message = Map::new();
    message.insert("role".to_owned(), json!("assistant"));
    let mut content = json!(text);
    match host.reasoning {
        _ if thoughts.is_empty() => {}
        ReasoningPlace::Field(name) => drop(message.insert(name.to_owned(), json!(thoughts))),
        ReasoningPlace::Details => {
            message.insert("reasoning".to_owned(), json!(thoughts));
            message.insert("reasoning_details".to_owned(), json!([details(&thoughts)]));
        }
        ReasoningPlace::Tags => content = json!(format!("<think>{thoughts}</think>{text}")),
        ReasoningPlace::Chunks => content = json!([thinking_chunk(&thoughts), text_chunk(&text)]),
        ReasoningPlace::Nowhere => {}
    }
    let refusal = text_of(&SegmentKind::Refusal);
    if !refusal.is_empty() {
        message.insert("refusal".to_owned(), json!(refusal));
    }
    let silent = text.is_empty() && (content == "" || host.chunked_content) && (!calls.is_empty() || !refusal.is_empty());
    message.insert("content".to_owned(), if silent { Value::Null } else { content });
    if !calls.is_empty() {
        message.insert("tool_calls".to_owned(), json!(calls));
    }
    Value::Object(message)
}

fn text_chunk(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn thinking_chunk(text: &str) -> Value {
    json!({"type": "thinking", "thinking": [{"type": "text", "text": text}]})
}

fn details(text: &str) -> Value {
    json!({"type": "reasoning.text", "text": text, "format": "unknown", "index": 0})
}

fn filter_results() -> Value {
    let results = json!({"hate": {"filtered": false, "severity": "safe"}, "jailbreak": {"filtered": false, "detected": false}});
    json!([{"prompt_index": 0, "content_filter_results": results}])
}

fn finish(reply: &Reply<'_>, host: &Host) -> Value {
    if host.always_stop && reply.plan.finish == Finish::ToolCalls && reply.script.finish.is_none() {
        return json!("stop");
    }
    serde_json::from_str(&finish_reason(reply)).unwrap_or_default()
}

/// The usual figures, and what is odd about them.
fn figures(host: &Host, usage: Usage) -> Value {
    let mut figures = usage_json(usage);
    let number = |value: i128| i64::try_from(value).map_or_else(|_| json!(u64::MAX / 2 + 1), |value| json!(value));
    match host.figures {
        Figures::Usual => {}
        Figures::ReasoningOutside => figures["completion_tokens"] = number(usage.completion - usage.reasoning),
        Figures::HitAndMiss => {
            figures["prompt_cache_hit_tokens"] = number(usage.cached);
            figures["prompt_cache_miss_tokens"] = number(usage.prompt - usage.cached);
        }
        Figures::CostObject => figures["cost"] = json!({"input_tokens_cost": 0.001, "output_tokens_cost": 0.002, "total_cost": 0.003}),
        Figures::CostNumber => {
            let parts = json!({"upstream_inference_prompt_cost": 0.001, "upstream_inference_completions_cost": 0.002});
            (figures["cost"], figures["cost_details"], figures["is_byok"]) = (json!(0.003), parts, json!(false));
        }
        Figures::Bare => {
            figures = json!({"prompt_tokens": number(usage.prompt), "completion_tokens": number(usage.completion),
                "total_tokens": number(usage.prompt + usage.completion)});
        }
    }
    figures
}

/// A call with all its arguments; with `streamed`, as a delta with its index.
fn whole_call(reply: &Reply<'_>, host: &Host, segment: &Segment, streamed: bool) -> Option<Value> {
    let SegmentKind::ToolCall { index, name, .. } = &segment.kind else { return None };
    let text = segment.text();
    let as_object = host.calls == Calls::WholeObjects || reply.script.has(ToolAnomaly::ObjectArguments);
    let arguments = serde_json::from_str::<Value>(&text).ok().filter(|_| as_object).unwrap_or_else(|| json!(text));
    let mut call = json!({"type": "function", "function": {"name": name, "arguments": arguments}});
    if !reply.script.has(ToolAnomaly::NoId) {
        let id = if reply.script.has(ToolAnomaly::RepeatedId) { 0 } else { *index };
        call["id"] = json!(call_id(reply, if streamed { *index } else { id }));
    }
    if let (true, Some(index)) = (streamed, shown_index(reply, host, *index)) {
        call["index"] = json!(index);
    }
    Some(call)
}

/// The index that call number `index` gets in a stream, if any.
fn shown_index(reply: &Reply<'_>, host: &Host, index: u32) -> Option<u32> {
    let has = |anomaly| reply.script.has(anomaly);
    if host.calls == Calls::NoIndex || has(ToolAnomaly::NoIndex) {
        return None;
    }
    if host.calls == Calls::WholeIndexZero || has(ToolAnomaly::ZeroIndex) {
        return Some(0);
    }
    Some(if has(ToolAnomaly::ShiftedIndex) { index + 1 } else { index })
}

/// Writes the chunks of one stream.
#[derive(Debug)]
pub(super) struct OddStream<'a> {
    reply: &'a Reply<'a>,
    host: &'static Host,
    /// Tokens so far, and thoughts among them.
    tokens: u32,
    thoughts: u32,
    /// Tokens that no chunk has carried yet.
    hidden: u32,
    chunks: u32,
}

impl<'a> OddStream<'a> {
    pub(super) fn new(reply: &'a Reply<'a>) -> Self {
        Self { reply, host: reply.persona.family.host, tokens: 0, thoughts: 0, hidden: 0, chunks: 0 }
    }

    pub(super) fn opening(&mut self, frames: &mut Frames) {
        if self.reply.script.opening == Opening::PingFirst {
            frames.lone_line(": ping");
        }
        if let Some(comment) = self.host.comment {
            frames.lone_line(comment);
        }
        if self.host.blank_first_chunk {
            let blank =
                json!({"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": filter_results()});
            self.write(&blank, frames);
        }
        let times = if self.reply.script.opening == Opening::Twice { 2 } else { 1 };
        for _ in 0..times {
            for choice in 0..self.reply.plan.choices {
                self.delta(choice, json!({"role": "assistant", "content": ""}), frames);
            }
        }
    }

    pub(super) fn piece(&mut self, segment: &Segment, index: u32, frames: &mut Frames) {
        self.tokens += 1;
        self.hidden += 1;
        let text = segment.piece(index);
        let delta = match &segment.kind {
            SegmentKind::Text => Some(json!({"content": if self.host.chunked_content { json!([text_chunk(text)]) } else { json!(text) }})),
            SegmentKind::Refusal => Some(json!({"refusal": text})),
            SegmentKind::Reasoning => {
                self.thoughts += 1;
                self.thought(segment, index)
            }
            SegmentKind::ToolCall { .. } => self.call(segment, index),
        };
        if let Some(delta) = delta {
            self.delta(segment.choice, delta, frames);
        }
    }

    fn thought(&self, segment: &Segment, index: u32) -> Option<Value> {
        let text = segment.piece(index);
        match self.host.reasoning {
            ReasoningPlace::Field(name) => Some(json!({ name: text })),
            ReasoningPlace::Details => Some(json!({"content": "", "reasoning": text, "reasoning_details": [details(text)]})),
            ReasoningPlace::Tags => {
                let (start, end) = (if index == 0 { "<think>" } else { "" }, if index + 1 == segment.tokens { "</think>" } else { "" });
                Some(json!({"content": format!("{start}{text}{end}")}))
            }
            ReasoningPlace::Chunks => Some(json!({"content": [thinking_chunk(text)]})),
            ReasoningPlace::Nowhere => None,
        }
    }

    fn call(&self, segment: &Segment, index: u32) -> Option<Value> {
        let SegmentKind::ToolCall { index: call, name, .. } = &segment.kind else { return None };
        let has = |anomaly| self.reply.script.has(anomaly);
        let whole = matches!(self.host.calls, Calls::Whole | Calls::WholeObjects | Calls::WholeIndexZero);
        if whole || has(ToolAnomaly::Whole) || has(ToolAnomaly::ObjectArguments) {
            let last = index + 1 == segment.tokens;
            return whole_call(self.reply, self.host, segment, true).filter(|_| last).map(|call| json!({"tool_calls": [call]}));
        }
        let mut function = Map::new();
        let late = has(ToolAnomaly::LateName) && segment.tokens > 1;
        if index == u32::from(late) || has(ToolAnomaly::RepeatedName) {
            function.insert("name".to_owned(), json!(name));
        }
        function.insert("arguments".to_owned(), json!(segment.piece(index)));
        let mut delta = Map::new();
        if let Some(index) = shown_index(self.reply, self.host, *call) {
            delta.insert("index".to_owned(), json!(index));
        }
        if (index == 0 || has(ToolAnomaly::RepeatedId)) && !has(ToolAnomaly::NoId) {
            delta.insert("id".to_owned(), json!(call_id(self.reply, *call)));
            delta.insert("type".to_owned(), json!("function"));
        }
        delta.insert("function".to_owned(), Value::Object(function));
        Some(json!({"tool_calls": [delta]}))
    }

    pub(super) fn closing(&mut self, frames: &mut Frames) {
        let usages = self.reply.stream_usages();
        let last = usages.last().map(|usage| figures(self.host, *usage));
        for choice in 0..self.reply.plan.choices {
            let mut chunk = self.chunk(choice, json!({}), finish(self.reply, self.host));
            match (self.host.usage, &last) {
                (UsagePlace::LastChunk, Some(usage)) => chunk["usage"] = usage.clone(),
                (UsagePlace::Choice, Some(usage)) => chunk["choices"][0]["usage"] = usage.clone(),
                (UsagePlace::XGroq, usage) => chunk["x_groq"] = json!({"id": self.reply.part_id("req_01", 24, 99), "usage": usage}),
                _ => {}
            }
            self.write(&chunk, frames);
        }
        let on_request = matches!(self.host.usage, UsagePlace::OnRequest | UsagePlace::EveryChunk | UsagePlace::XGroq);
        if (on_request && self.reply.wishes.usage) || self.host.usage == UsagePlace::WithChoice {
            for usage in usages {
                let mut chunk = self.chunk(0, json!({"role": "assistant", "content": ""}), Value::Null);
                if self.host.usage != UsagePlace::WithChoice {
                    chunk["choices"] = json!([]);
                }
                chunk["usage"] = figures(self.host, usage);
                self.write(&chunk, frames);
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

    fn delta(&mut self, choice: u32, delta: Value, frames: &mut Frames) {
        let mut chunk = self.chunk(choice, delta, Value::Null);
        if let (UsagePlace::EveryChunk, true, Some(usage)) = (self.host.usage, self.reply.wishes.usage, self.reply.usage()) {
            let so_far = Usage { completion: self.tokens.into(), reasoning: self.thoughts.into(), ..usage };
            chunk["usage"] = figures(self.host, so_far);
        }
        if self.host.usage == UsagePlace::XGroq && self.chunks == 0 {
            chunk["x_groq"] = json!({"id": self.reply.part_id("req_01", 24, 99)});
        }
        self.write(&chunk, frames);
    }

    fn chunk(&self, choice: u32, delta: Value, finish: Value) -> Value {
        let Reply { id, created, model, .. } = self.reply;
        let choice = json!({"index": choice, "delta": delta, "finish_reason": finish});
        json!({"id": id, "object": "chat.completion.chunk", "created": created, "model": model, "choices": [choice]})
    }

    fn write(&mut self, chunk: &Value, frames: &mut Frames) {
        self.chunks += 1;
        frames.push("data: ");
        frames.push(&chunk.to_string());
        frames.end_line();
        frames.end_frame(std::mem::take(&mut self.hidden));
    }
}
