//! What a generation was asked and what it said, as text: what is kept where content is logged, in the shape of OpenRouter's
//! `/generation/content`.
//!
//! Read from the bytes that the client sent and got, in whatever dialect. Everything is bounded: what a bound takes away is said by
//! [`Asked::is_cut`] and [`Said::is_cut`], and never just missing.

use std::borrow::Cow;

use fairlead_ir::block::Arguments;
use fairlead_ir::{Delta, Dialect, Event, Head, Kind, Text, Traits};

use crate::json::Kind as JsonKind;
use crate::json::walk::{as_str, elements, member, unescape};
use crate::request::Purpose;
use crate::sse;
use crate::translate::dialects::{StreamDecoder, decode_response};
use crate::translate::wire::Wire;
use crate::write::{Array, Object};

/// A longer event of a client's stream is not read, nor a longer element of an array: none of ours is.
const MOST_EVENT_BYTES: usize = 64 << 20;
/// What has room for so much keeps it for the next event.
const KEPT_BYTES: usize = 64 << 10;

/// What a generation was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `{"messages": […]}`, each as its client wrote it and instructions as the first of them, or `{"prompt": "…"}`: JSON.
    pub json: Vec<u8>,
    /// Something was left out: earlier messages, or the end of the only one.
    pub is_cut: bool,
}

impl Asked {
    /// What the body of a request asks. Of more than `most_bytes` the last messages are kept that fit whole; if none does, the beginning
    /// of the last.
    pub fn read(dialect: Dialect, purpose: Purpose, body: &[u8], most_bytes: usize) -> Asked {
        let value = |name| member(body, name).ok().flatten().map(|member| (member.value, member.kind));
        match purpose {
            Purpose::Completions => return Asked::prompt(value("prompt").map_or(&b"\"\""[..], |(prompt, _)| prompt), most_bytes),
            Purpose::Embeddings => return Asked::prompt(value("input").map_or(&b"\"\""[..], |(input, _)| input), most_bytes),
            Purpose::Generate | Purpose::CountTokens => {}
        }
        let mut messages: Vec<Cow<'_, [u8]>> = Vec::new();
        let (instructions, turns) = match dialect {
            Dialect::OpenaiChat => (None, "messages"),
            Dialect::AnthropicMessages | Dialect::BedrockConverse => (value("system"), "messages"),
            Dialect::OpenaiResponses => (value("instructions"), "input"),
            Dialect::GeminiGenerate => (value("systemInstruction").or_else(|| value("system_instruction")), "contents"),
        };
        if let Some((instructions, kind)) = instructions
            && kind != JsonKind::Null
        {
            messages.push(Cow::Owned(message("system", instructions)));
        }
        match value(turns) {
            Some((text, JsonKind::String)) => messages.push(Cow::Owned(message("user", text))),
            Some((list, JsonKind::Array)) => {
                messages.extend(elements(list).map_while(Result::ok).map(|element| Cow::Borrowed(element.value)));
            }
            _ => {}
        }
        Asked::fitting(&messages, most_bytes)
    }

    fn fitting(messages: &[Cow<'_, [u8]>], most_bytes: usize) -> Asked {
        let mut left = most_bytes;
        let fits = |message: &&Cow<'_, [u8]>| {
            let bytes = message.len() + 1;
            let fits = bytes <= left;
            left = left.saturating_sub(bytes);
            fits
        };
        let kept = messages.iter().rev().take_while(fits).count();
        if kept == 0
            && let Some(last) = messages.last()
        {
            return Asked { is_cut: true, ..Asked::prompt(last, most_bytes) };
        }
        let mut json = Vec::new();
        let mut object = Object::open(&mut json);
        object.array("messages", |array| {
            messages[messages.len() - kept..].iter().for_each(|message| {
                array.raw(message);
            });
        });
        object.close();
        Asked { json, is_cut: kept < messages.len() }
    }

    /// A text, or any other value as it was written.
    fn prompt(value: &[u8], most_bytes: usize) -> Asked {
        let text = as_str(value).unwrap_or_else(|| String::from_utf8_lossy(value));
        let kept = text.floor_char_boundary(most_bytes);
        let mut json = Vec::new();
        let mut object = Object::open(&mut json);
        object.text("prompt", &text[..kept]);
        object.close();
        Asked { json, is_cut: kept < text.len() }
    }
}

fn message(role: &str, content: &[u8]) -> Vec<u8> {
    let mut json = Vec::with_capacity(content.len() + 32);
    let mut object = Object::open(&mut json);
    object.text("role", role).raw("content", content);
    object.close();
    json
}

/// How a reply's bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One JSON body of the dialect.
    Whole(Dialect),
    /// The dialect's events.
    Events(Dialect),
    /// The events of a stream as the elements of one JSON array, as Gemini's clients may ask for them.
    Array(Dialect),
    /// One JSON body of legacy completions.
    WholeCompletion,
    /// Events of legacy completions.
    Completions,
}

/// A reply's bytes on their way to its text, in pieces of any size.
#[derive(Debug)]
pub struct Hearing {
    form: Form,
    framing: Option<Framing>,
    decoder: Option<StreamDecoder>,
    pending: Vec<u8>,
    scratch: Vec<u8>,
    said: Said,
    /// What comes now cannot be read, or is not wanted.
    over: bool,
}

/// Where the parts of a stream end, each of which is read by itself.
#[derive(Debug)]
enum Framing {
    Events(Wire),
    Elements(Elements),
}

impl Framing {
    /// The end of the next part that is whole in the piece `new`, going on from `from`.
    fn next_end(&mut self, new: &[u8], from: usize) -> Result<Option<usize>, String> {
        match self {
            Framing::Events(wire) => wire.next_end(new, from),
            Framing::Elements(elements) => Ok(elements.next_end(new, from)),
        }
    }
}

/// Where the elements of an array of objects end, by brackets outside strings; what is inside of them, their reader sees to.
#[derive(Debug, Default)]
struct Elements {
    /// Containers that are open, the array among them.
    depth: usize,
    in_string: bool,
    /// What comes next stands behind a backslash.
    is_escaped: bool,
}

impl Elements {
    fn next_end(&mut self, new: &[u8], from: usize) -> Option<usize> {
        for (at, byte) in new.iter().enumerate().skip(from) {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_string => self.is_escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'[' | b'{' => self.depth += 1,
                b']' | b'}' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 1 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

impl Hearing {
    /// Before the first byte. Each text of the reply may have `most_bytes`.
    pub fn new(form: Form, most_bytes: usize) -> Hearing {
        let events = |dialect| Some(Framing::Events(Wire::new(dialect, MOST_EVENT_BYTES)));
        let decoder = |dialect| Some(StreamDecoder::new(dialect, Traits::NONE));
        let (framing, decoder) = match form {
            Form::Events(dialect) => (events(dialect), decoder(dialect)),
            Form::Completions => (events(Dialect::OpenaiChat), None),
            Form::Array(dialect) => (Some(Framing::Elements(Elements::default())), decoder(dialect)),
            Form::Whole(_) | Form::WholeCompletion => (None, None),
        };
        Hearing { form, framing, decoder, pending: Vec::new(), scratch: Vec::new(), said: Said::new(most_bytes), over: false }
    }

    /// What it takes of the memory, about: what has not been read, and what has been said.
    pub fn held_bytes(&self) -> usize {
        self.pending.capacity() + self.scratch.capacity() + self.said.held_bytes()
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.over {
            return;
        }
        let known = self.pending.len();
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(bytes);
        let (mut begin, mut from, mut framed) = (0, 0, true);
        while let Some(framing) = &mut self.framing {
            match framing.next_end(bytes, from) {
                Ok(Some(end)) => {
                    self.part(&pending[begin..known + end]);
                    (begin, from) = (known + end, end);
                }
                Ok(None) => break,
                Err(_) => {
                    framed = false;
                    break;
                }
            }
        }
        pending.drain(..begin);
        pending.shrink_to(KEPT_BYTES);
        // Of a body that is read whole there is far more around a text than in it, never more than this.
        self.not_read(!framed || pending.len() > MOST_EVENT_BYTES);
        if !self.over {
            self.pending = pending;
        }
    }

    /// What was said, at the end of the reply.
    pub fn finish(mut self) -> Said {
        let rest = std::mem::take(&mut self.pending);
        match self.form {
            // Nothing was sent.
            _ if rest.is_empty() => {}
            Form::Whole(dialect) => self.whole(dialect, &rest),
            Form::WholeCompletion => self.completion(&rest),
            Form::Events(_) | Form::Completions => {
                if let Some(Framing::Events(wire)) = &self.framing
                    && wire.is_whole(&rest)
                {
                    self.event(&rest);
                }
            }
            // The end of the array, or half an element.
            Form::Array(_) => {}
        }
        self.said.end();
        self.said
    }

    fn part(&mut self, part: &[u8]) {
        match self.form {
            _ if self.over => {}
            Form::Array(_) => self.element(part),
            _ => self.event(part),
        }
    }

    /// An object, and what stands between it and the one before.
    fn element(&mut self, part: &[u8]) {
        let (Some(decoder), Some(begin)) = (&mut self.decoder, memchr::memchr(b'{', part)) else { return };
        let said = &mut self.said;
        let read = decoder.event(None, &part[begin..], &mut |event| said.take(&event));
        self.not_read(read.is_err());
    }

    fn event(&mut self, event: &[u8]) {
        if self.form == Form::Completions {
            let mut scratch = std::mem::take(&mut self.scratch);
            if let Some(data) = sse::data(event, &mut scratch) {
                self.completion(data);
            }
            self.scratch = scratch;
            return;
        }
        let Some(decoder) = &mut self.decoder else { return };
        let said = &mut self.said;
        let read = decoder.read(event, &mut self.scratch, &mut |event| said.take(&event));
        self.not_read(read.is_err());
    }

    fn whole(&mut self, dialect: Dialect, body: &[u8]) {
        let Ok(response) = decode_response(dialect, body, &Traits::NONE) else { return self.not_read(true) };
        for (number, choice) in response.choices.iter().enumerate() {
            for block in &choice.blocks {
                self.said.block(number, &block.kind);
            }
        }
    }

    fn completion(&mut self, body: &[u8]) {
        let Some(choices) = member(body, "choices").ok().flatten() else { return };
        for choice in elements(choices.value).map_while(Result::ok) {
            let number = member(choice.value, "index").ok().flatten().and_then(|index| crate::json::walk::as_u64(index.value));
            if let Some([b'"', text @ .., b'"']) = member(choice.value, "text").ok().flatten().map(|text| text.value) {
                self.said.choice(number.unwrap_or(0) as usize).0.push(&Text::escaped(text));
            }
        }
    }

    /// What follows is no reply that we know, so that something of it may be missing.
    fn not_read(&mut self, failed: bool) {
        self.over |= failed;
        self.said.is_cut |= failed;
    }
}

/// What a reply said, as far as it is text.
#[derive(Debug)]
pub struct Said {
    most_bytes: usize,
    /// Per choice: what it said, and what it thought.
    choices: Vec<(Words, Words)>,
    calls: Vec<Called>,
    /// Something was left out: a text was longer than it may be, or could not be read.
    pub is_cut: bool,
}

#[derive(Debug)]
struct Called {
    place: (u32, u32),
    name: String,
    arguments: Words,
}

impl Said {
    fn new(most_bytes: usize) -> Said {
        Said { most_bytes, choices: Vec::new(), calls: Vec::new(), is_cut: false }
    }

    /// `{"completion", "reasoning"}`, null where there is no such text; several choices one below the other; and `tool_calls` where the
    /// model called any, each with `name` and `arguments`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut object = Object::open(out);
        for (name, texts) in [("completion", self.joined(|choice| &choice.0)), ("reasoning", self.joined(|choice| &choice.1))] {
            match texts.is_empty() {
                true => object.raw(name, b"null"),
                false => object.text(name, &texts),
            };
        }
        if !self.calls.is_empty() {
            object.array("tool_calls", |array| self.write_calls(array));
        }
        object.close();
    }

    fn write_calls(&self, array: &mut Array<'_>) {
        for call in &self.calls {
            array.object(|object| {
                object.text("name", &call.name).text("arguments", &call.arguments.text);
            });
        }
    }

    fn held_bytes(&self) -> usize {
        let texts = self.choices.iter().map(|(said, thought)| said.held_bytes() + thought.held_bytes());
        texts.chain(self.calls.iter().map(|call| call.name.capacity() + call.arguments.held_bytes())).sum()
    }

    fn joined(&self, of: impl Fn(&(Words, Words)) -> &Words) -> String {
        let texts: Vec<&str> = self.choices.iter().map(|choice| of(choice).text.as_str()).filter(|text| !text.is_empty()).collect();
        texts.join("\n\n")
    }

    fn choice(&mut self, number: usize) -> &mut (Words, Words) {
        // As many as may be asked for, and no more than that whatever a reply says.
        let number = number.min(127);
        let each = self.most_bytes / (number + 1);
        while self.choices.len() <= number {
            self.choices.push((Words::new(each), Words::new(each)));
        }
        &mut self.choices[number]
    }

    fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Delta { choice, delta: Delta::Text(text), .. } => self.choice(*choice as usize).0.push(text),
            Event::Delta { choice, delta: Delta::Thought { text, .. }, .. } => self.choice(*choice as usize).1.push(text),
            Event::Delta { choice, block, delta: Delta::Arguments(text) } => {
                if let Some(call) = self.calls.iter_mut().rev().find(|call| call.place == (*choice, *block)) {
                    call.arguments.push(text);
                }
            }
            Event::Open { choice, block, head: Head::ToolCall { name, .. } } => self.call((*choice, *block), name),
            _ => {}
        }
    }

    fn block(&mut self, choice: usize, kind: &Kind<'_>) {
        match kind {
            Kind::Text { text, .. } | Kind::Refusal(text) => self.choice(choice).0.push(text),
            Kind::Thought(thought) => thought.parts.iter().for_each(|part| self.choice(choice).1.push(&part.text)),
            Kind::ToolCall(call) => {
                self.call((choice as u32, 0), &call.name);
                let Some(called) = self.calls.last_mut() else { return };
                match &call.arguments {
                    Arguments::Json(value) => called.arguments.push_plain(&String::from_utf8_lossy(value.as_bytes())),
                    Arguments::Quoted(text) | Arguments::Free(text) => called.arguments.push(text),
                }
            }
            Kind::Media(_) | Kind::ToolResult(_) | Kind::Opaque { .. } => {}
        }
    }

    fn call(&mut self, place: (u32, u32), name: &Text<'_>) {
        const MOST_CALLS: usize = 256;
        if self.calls.len() == MOST_CALLS {
            self.is_cut = true;
            return;
        }
        let used: usize = self.calls.iter().map(|call| call.arguments.text.len()).sum();
        let name = unescape(name.as_bytes()).unwrap_or_default().chars().take(256).collect();
        self.calls.push(Called { place, name, arguments: Words::new(self.most_bytes.saturating_sub(used)) });
    }

    fn end(&mut self) {
        let texts = self.choices.iter_mut().flat_map(|(said, thought)| [said, thought]);
        for words in texts.chain(self.calls.iter_mut().map(|call| &mut call.arguments)) {
            self.is_cut |= words.end();
        }
    }
}

/// A text that comes in pieces and may have so many bytes.
#[derive(Debug, Default)]
struct Words {
    text: String,
    most_bytes: usize,
    /// What ends in half of a character: providers split pairs of surrogates.
    half: Vec<u8>,
    is_cut: bool,
}

impl Words {
    fn new(most_bytes: usize) -> Words {
        Words { most_bytes, ..Words::default() }
    }

    fn push(&mut self, text: &Text<'_>) {
        if self.is_cut {
            return;
        }
        if self.half.is_empty()
            && let Some(plain) = unescape(text.as_bytes())
        {
            return self.push_plain(&plain);
        }
        let mut escaped = std::mem::take(&mut self.half);
        escaped.extend_from_slice(text.as_bytes());
        self.half = escaped.split_off(whole_characters(&escaped));
        let mended = mend_halves(&escaped);
        self.push_plain(&unescape(&mended).unwrap_or_default());
    }

    fn push_plain(&mut self, plain: &str) {
        let kept = plain.floor_char_boundary(self.most_bytes.saturating_sub(self.text.len()));
        self.text.push_str(&plain[..kept]);
        self.is_cut |= kept < plain.len();
    }

    fn held_bytes(&self) -> usize {
        self.text.capacity() + self.half.capacity()
    }

    /// Whether something is missing, at the end.
    fn end(&mut self) -> bool {
        self.is_cut |= !std::mem::take(&mut self.half).is_empty();
        self.is_cut
    }
}

/// The code of the `\u` and four digits that a text begins with.
fn code(escaped: &[u8]) -> Option<u16> {
    let digits = escaped.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

const FIRST_HALVES: std::ops::Range<u16> = 0xd800..0xdc00;
const SECOND_HALVES: std::ops::Range<u16> = 0xdc00..0xe000;
const ESCAPE_BYTES: usize = 6;

/// How many bytes of a text are whole characters: all of them, unless it ends in the first half of one.
fn whole_characters(escaped: &[u8]) -> usize {
    let at = escaped.len().saturating_sub(ESCAPE_BYTES);
    let backslashes = escaped[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
    let is_half = backslashes % 2 == 0 && code(&escaped[at..]).is_some_and(|code| FIRST_HALVES.contains(&code));
    if is_half { at } else { escaped.len() }
}

/// The same text with U+FFFD for each half of a character that stands alone.
fn mend_halves(escaped: &[u8]) -> Vec<u8> {
    let mut mended = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        mended.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let is_half =
            |from: usize, halves: &std::ops::Range<u16>| rest.get(from..).and_then(code).is_some_and(|code| halves.contains(&code));
        let (known, taken): (&[u8], usize) = match (is_half(0, &FIRST_HALVES), is_half(0, &SECOND_HALVES)) {
            (true, _) if is_half(ESCAPE_BYTES, &SECOND_HALVES) => (&rest[..2 * ESCAPE_BYTES], 2 * ESCAPE_BYTES),
            (true, _) | (_, true) => (b"\\ufffd", ESCAPE_BYTES),
            (false, false) => (&rest[..rest.len().min(2)], rest.len().min(2)),
        };
        mended.extend_from_slice(known);
        rest = &rest[taken..];
    }
    mended.extend_from_slice(rest);
    mended
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use Dialect::{AnthropicMessages, BedrockConverse, GeminiGenerate, OpenaiChat, OpenaiResponses};

    #[test]
    fn what_is_asked_is_messages_or_a_prompt() {
        let check = |dialect, purpose, body: &str, expected: &str| {
            let asked = Asked::read(dialect, purpose, body.as_bytes(), 1 << 20);
            assert_eq!((std::str::from_utf8(&asked.json).unwrap(), asked.is_cut), (expected, false), "{body}");
        };
        let said = Purpose::Generate;
        check(
            OpenaiChat,
            said,
            r#"{"model":"m","messages":[{"role":"system","content":"s"}, {"role":"user","content":[{"type":"text","text":"a"}]}],"n":1}"#,
            r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"a"}]}]}"#,
        );
        check(
            AnthropicMessages,
            said,
            r#"{"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":"a"}]}"#,
            r#"{"messages":[{"role":"system","content":[{"type":"text","text":"s"}]},{"role":"user","content":"a"}]}"#,
        );
        check(
            OpenaiResponses,
            said,
            r#"{"instructions":"s","input":"a"}"#,
            r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"a"}]}"#,
        );
        check(
            OpenaiResponses,
            said,
            r#"{"instructions":null,"input":[{"role":"user","content":"a"}]}"#,
            r#"{"messages":[{"role":"user","content":"a"}]}"#,
        );
        check(
            GeminiGenerate,
            said,
            r#"{"systemInstruction":{"parts":[{"text":"s"}]},"contents":[{"parts":[{"text":"a"}]}]}"#,
            r#"{"messages":[{"role":"system","content":{"parts":[{"text":"s"}]}},{"parts":[{"text":"a"}]}]}"#,
        );
        check(BedrockConverse, said, r#"{"messages":[1]}"#, r#"{"messages":[1]}"#);
        check(OpenaiChat, said, "{}", r#"{"messages":[]}"#);
        check(OpenaiChat, Purpose::Completions, r#"{"prompt":"Once\nupon"}"#, r#"{"prompt":"Once\nupon"}"#);
        check(OpenaiChat, Purpose::Completions, r#"{"prompt":["a","b"]}"#, r#"{"prompt":"[\"a\",\"b\"]"}"#);
        check(OpenaiChat, Purpose::Embeddings, r#"{"input":"words"}"#, r#"{"prompt":"words"}"#);
    }

    #[test]
    fn what_is_asked_is_bounded_and_says_so() {
        let body = br#"{"messages":[{"role":"user","content":"first"},{"role":"user","content":"the last one"}]}"#;
        let check = |most_bytes, expected: &str| {
            let asked = Asked::read(OpenaiChat, Purpose::Generate, body, most_bytes);
            assert_eq!((std::str::from_utf8(&asked.json).unwrap(), asked.is_cut), (expected, true), "{most_bytes}");
        };
        check(60, r#"{"messages":[{"role":"user","content":"the last one"}]}"#);
        check(10, r#"{"prompt":"{\"role\":\"u"}"#);
        let asked = Asked::read(OpenaiChat, Purpose::Completions, r#"{"prompt":"aäö"}"#.as_bytes(), 2);
        assert_eq!((asked.json.as_slice(), asked.is_cut), (br#"{"prompt":"a"}"#.as_slice(), true));
    }

    fn heard(form: Form, most_bytes: usize, reply: &[u8], piece: usize) -> (String, bool) {
        let mut hearing = Hearing::new(form, most_bytes);
        reply.chunks(piece).for_each(|piece| hearing.feed(piece));
        let said = hearing.finish();
        let mut json = Vec::new();
        said.write(&mut json);
        (String::from_utf8(json).unwrap(), said.is_cut)
    }

    /// Of every form, in pieces of every size.
    fn check(form: Form, reply: &str, expected: &str) {
        for piece in [1, 3, 7, reply.len()] {
            assert_eq!(heard(form, 1 << 20, reply.as_bytes(), piece), (expected.to_owned(), false), "{reply} in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_said_is_its_text() {
        check(
            Form::Whole(OpenaiChat),
            r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"H\u00e9","reasoning":"hm","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},"finish_reason":"tool_calls"}]}"#,
            r#"{"completion":"Hé","reasoning":"hm","tool_calls":[{"name":"f","arguments":"{\"a\":1}"}]}"#,
        );
        check(
            Form::Whole(OpenaiChat),
            r#"{"id":"c","choices":[{"index":0,"message":{"content":"a"}},{"index":1,"message":{"content":"b"}}]}"#,
            r#"{"completion":"a\n\nb","reasoning":null}"#,
        );
        check(
            Form::Whole(AnthropicMessages),
            r#"{"id":"m","type":"message","role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"text","text":"Hi"}],"stop_reason":"end_turn"}"#,
            r#"{"completion":"Hi","reasoning":"hm"}"#,
        );
        check(Form::WholeCompletion, r#"{"choices":[{"text":"Hi","index":0}]}"#, r#"{"completion":"Hi","reasoning":null}"#);
        let chat = |delta: &str| format!("data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{delta}}}]}}\n\n");
        let streamed: String = [r#"{"role":"assistant","content":"H"}"#, r#"{"content":"\ud83d"}"#, r#"{"content":"\ude00!"}"#]
            .iter()
            .map(|delta| chat(delta))
            .collect();
        check(
            Form::Events(OpenaiChat),
            &format!(": keep-alive\n\n{streamed}data: [DONE]\n\n"),
            "{\"completion\":\"H\u{1f600}!\",\"reasoning\":null}",
        );
        let calls: String = [
            r#"{"tool_calls":[{"index":0,"id":"1","type":"function","function":{"name":"f","arguments":""}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}"#,
        ]
        .iter()
        .map(|delta| chat(delta))
        .collect();
        check(
            Form::Events(OpenaiChat),
            &format!("{calls}data: [DONE]\n\n"),
            r#"{"completion":null,"reasoning":null,"tool_calls":[{"name":"f","arguments":"{\"a\":1}"}]}"#,
        );
        check(
            Form::Completions,
            "data: {\"choices\":[{\"text\":\"a\",\"index\":0}]}\n\ndata: {\"choices\":[{\"text\":\"b\",\"index\":0}]}\n\ndata: [DONE]\n\n",
            r#"{"completion":"ab","reasoning":null}"#,
        );
        let gemini = r#"{"candidates":[{"content":{"parts":[{"text":"a"}],"role":"model"}}]}"#;
        check(Form::Array(GeminiGenerate), &format!("[{gemini},\n{gemini}]"), r#"{"completion":"aa","reasoning":null}"#);
        // One that broke off, in an element or between two.
        check(Form::Array(GeminiGenerate), &format!("[{gemini}"), r#"{"completion":"a","reasoning":null}"#);
        check(Form::Array(GeminiGenerate), &format!("[{gemini},\r\n{}", &gemini[..40]), r#"{"completion":"a","reasoning":null}"#);
        let brackets = gemini.replace(r#""a""#, r#""a]}\"[{\\""#);
        check(Form::Array(GeminiGenerate), &format!("[{brackets},{gemini}]\n"), r#"{"completion":"a]}\"[{\\a","reasoning":null}"#);
        check(Form::Events(GeminiGenerate), &format!("data: {gemini}\r\n\r\n"), r#"{"completion":"a","reasoning":null}"#);
    }

    /// A half that nothing completes is shown as what it is, and what follows it is not lost.
    #[test]
    fn half_characters_do_not_swallow_what_follows() {
        let check = |pieces: &[&str], expected: &str| {
            let events =
                pieces.iter().map(|piece| format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{piece}\"}}}}]}}\n\n"));
            let reply: String = events.chain(["data: [DONE]\n\n".to_owned()]).collect();
            let expected = format!("{{\"completion\":\"{expected}\",\"reasoning\":null}}");
            assert_eq!(heard(Form::Events(OpenaiChat), 1 << 20, reply.as_bytes(), 9), (expected, false), "{pieces:?}");
        };
        check(&["a", r"\ud83d", r"\ude00", "b"], "a\u{1f600}b");
        check(&["a", r"\ud83d", "b", "c"], "a\u{fffd}bc");
        check(&["a", r"\ud83d", r"\ud83d", r"\ude00b"], "a\u{fffd}\u{1f600}b");
        check(&[r"a\ude00b\ud83dc", r"\u00e9"], "a\u{fffd}b\u{fffd}c\u{e9}");
        check(&[r"a\\ud83d", "b"], r"a\\ud83db");
        check(&["a", r"\ud83d", r"\n"], "a\u{fffd}\\n");
    }

    /// What a stream has said is not held as the bytes it came in.
    #[test]
    fn no_more_of_a_stream_is_held_than_what_it_says() {
        let check = |form, begin: &str, part: &str, most_bytes: usize| {
            let mut hearing = Hearing::new(form, 100);
            hearing.feed(begin.as_bytes());
            for _ in 0..1_000 {
                hearing.feed(part.as_bytes());
            }
            assert!(hearing.held_bytes() <= most_bytes, "{form:?}: {} bytes", hearing.held_bytes());
        };
        let gemini = format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{}"}}],"role":"model"}}}}]}}"#, "a".repeat(1_000));
        check(Form::Array(GeminiGenerate), "[", &format!("{gemini},"), 70_000);
        check(Form::Events(GeminiGenerate), "", &format!("data: {gemini}\n\n"), 70_000);
        // A part that does not end is: who holds it sees how much.
        let mut hearing = Hearing::new(Form::Array(GeminiGenerate), 100);
        (0..1_000).for_each(|_| hearing.feed(&gemini.as_bytes()[..1_000]));
        assert!(hearing.held_bytes() >= 1_000_000);
        // What is too long to be read is let go of.
        let mut hearing = Hearing::new(Form::Whole(GeminiGenerate), 100);
        let junk = vec![b'['; MOST_EVENT_BYTES / 2 + 1];
        (0..2).for_each(|_| hearing.feed(&junk));
        assert_eq!(hearing.held_bytes(), 0);
        assert!(hearing.finish().is_cut);
    }

    #[test]
    fn nothing_said_is_nothing_missing() {
        for form in
            [Form::Whole(OpenaiChat), Form::Events(OpenaiChat), Form::Array(GeminiGenerate), Form::Completions, Form::WholeCompletion]
        {
            assert_eq!(heard(form, 9, b"", 1), (r#"{"completion":null,"reasoning":null}"#.to_owned(), false), "{form:?}");
        }
    }

    #[test]
    fn what_is_said_is_bounded_and_says_so() {
        let reply = r#"{"id":"c","choices":[{"index":0,"message":{"content":"0123456789"}}]}"#;
        let form = Form::Whole(OpenaiChat);
        assert_eq!(heard(form, 4, reply.as_bytes(), 9), (r#"{"completion":"0123","reasoning":null}"#.to_owned(), true));
        assert_eq!(heard(form, 10, reply.as_bytes(), 9), (r#"{"completion":"0123456789","reasoning":null}"#.to_owned(), false));
        // What cannot be read is not taken for silence.
        assert_eq!(heard(form, 10, b"not JSON", 9), (r#"{"completion":null,"reasoning":null}"#.to_owned(), true));
        let half = r#"data: {"choices":[{"index":0,"delta":{"content":"a\ud83d"}}]}"#;
        let (_, is_cut) = heard(Form::Events(OpenaiChat), 10, format!("{half}\n\n").as_bytes(), 9);
        assert!(is_cut);
    }
}
