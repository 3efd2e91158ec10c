//! The promises of `fairlead_ir::event`, as a check for the decoders' tests and as a source of streams for the encoders'.

use std::collections::BTreeMap;

use fairlead_ir::block::{Citation, Media, MediaClass, MediaSource, ThoughtShape};
use fairlead_ir::{Delta, ErrorKind, Event, Head, Raw, Stop, StopReason, Text, Usage};
use proptest::prelude::*;

/// A decoder's event, kept.
pub(crate) fn kept(event: &Event<'_>) -> Event<'static> {
    let text = |text: &Text<'_>| text.clone().into_owned();
    let maybe = |text: &Option<Text<'_>>| text.clone().map(Text::into_owned);
    match event {
        Event::Start { id, model, created_s } => Event::Start { id: text(id), model: text(model), created_s: *created_s },
        Event::Open { choice, block, head } => Event::Open { choice: *choice, block: *block, head: kept_head(head) },
        Event::Delta { choice, block, delta } => Event::Delta { choice: *choice, block: *block, delta: kept_delta(delta) },
        Event::Close { choice, block } => Event::Close { choice: *choice, block: *block },
        Event::Logprobs { choice, logprobs } => Event::Logprobs { choice: *choice, logprobs: logprobs.clone().into_owned() },
        Event::Stop { choice, stop } => Event::Stop {
            choice: *choice,
            stop: Stop {
                reason: stop.reason,
                native: text(&stop.native),
                sequence: maybe(&stop.sequence),
                details: stop.details.clone().map(Raw::into_owned),
            },
        },
        Event::Tier(tier) => Event::Tier(text(tier)),
        Event::Usage(usage) => Event::Usage(*usage),
        Event::KeepAlive => Event::KeepAlive,
        Event::Fail { kind, message, code } => Event::Fail { kind: *kind, message: text(message), code: maybe(code) },
        Event::End => Event::End,
    }
}

fn kept_head(head: &Head<'_>) -> Head<'static> {
    let text = |text: &Text<'_>| text.clone().into_owned();
    let maybe = |text: &Option<Text<'_>>| text.clone().map(Text::into_owned);
    match head {
        Head::Text => Head::Text,
        Head::Refusal => Head::Refusal,
        Head::Thought { id, redacted } => Head::Thought { id: maybe(id), redacted: *redacted },
        Head::ToolCall { id, name, free } => Head::ToolCall { id: text(id), name: text(name), free: *free },
        Head::Media(media) => Head::Media(Media {
            class: media.class,
            source: match &media.source {
                MediaSource::Base64 { mime, data } => MediaSource::Base64 { mime: text(mime), data: text(data) },
                MediaSource::Url { url, mime } => MediaSource::Url { url: text(url), mime: maybe(mime) },
                MediaSource::File(id) => MediaSource::File(text(id)),
                MediaSource::Plain(plain) => MediaSource::Plain(text(plain)),
            },
            detail: maybe(&media.detail),
            name: maybe(&media.name),
        }),
        Head::Opaque { word, raw } => Head::Opaque { word: text(word), raw: raw.clone().into_owned() },
    }
}

fn kept_delta(delta: &Delta<'_>) -> Delta<'static> {
    let text = |text: &Text<'_>| text.clone().into_owned();
    let maybe = |text: &Option<Text<'_>>| text.clone().map(Text::into_owned);
    match delta {
        Delta::Text(piece) => Delta::Text(text(piece)),
        Delta::Thought { shape, part, text: piece } => Delta::Thought { shape: *shape, part: *part, text: text(piece) },
        Delta::Arguments(piece) => Delta::Arguments(text(piece)),
        Delta::Seal(seal) => Delta::Seal(text(seal)),
        Delta::Citation(citation) => Delta::Citation(Citation {
            url: maybe(&citation.url),
            title: maybe(&citation.title),
            quote: maybe(&citation.quote),
            range: citation.range,
            raw: citation.raw.clone().into_owned(),
        }),
    }
}

/// The first promise that a whole stream breaks.
///
/// A keep-alive may come before everything, and a failure may be all there is. Whether the arguments of a call are JSON is the model's
/// doing; that there are any is the decoder's.
pub(crate) fn check(events: &[Event<'_>]) -> Result<(), String> {
    let mut seen = Seen::default();
    for (at, event) in events.iter().enumerate() {
        seen.take(event).map_err(|broken| format!("event {at} ({event:?}): {broken}"))?;
    }
    if seen.ended { Ok(()) } else { Err("the stream has neither end nor failure".to_owned()) }
}

#[derive(Default)]
struct Seen {
    started: bool,
    ended: bool,
    choices: BTreeMap<u32, SeenChoice>,
}

#[derive(Default)]
struct SeenChoice {
    blocks: Vec<SeenBlock>,
    stopped: bool,
}

struct SeenBlock {
    kind: SeenKind,
    open: bool,
    pieces: bool,
    part: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SeenKind {
    Text,
    Refusal,
    Thought,
    Call { free: bool },
    Whole,
}

impl Seen {
    fn take(&mut self, event: &Event<'_>) -> Result<(), String> {
        if self.ended {
            return Err("something follows the end".to_owned());
        }
        let before_start = matches!(event, Event::Start { .. } | Event::KeepAlive | Event::Fail { .. });
        if !self.started && !before_start {
            return Err("something comes before the start".to_owned());
        }
        match event {
            Event::Start { .. } if self.started => return Err("a second start".to_owned()),
            Event::Start { .. } => self.started = true,
            Event::Open { choice, block, head } => self.choice(*choice)?.open(*block, head)?,
            Event::Delta { choice, block, delta } => self.choice(*choice)?.piece(*block, delta)?,
            Event::Close { choice, block } => self.choice(*choice)?.close(*block)?,
            Event::Logprobs { choice, .. } => drop(self.choice(*choice)?),
            Event::Stop { choice, .. } => self.choice(*choice)?.stop()?,
            Event::Tier(_) | Event::Usage(_) | Event::KeepAlive => {}
            Event::Fail { .. } => self.ended = true,
            Event::End => self.end()?,
        }
        Ok(())
    }

    fn choice(&mut self, choice: u32) -> Result<&mut SeenChoice, String> {
        let choice = self.choices.entry(choice).or_default();
        if choice.stopped { Err("something of a choice follows its stop".to_owned()) } else { Ok(choice) }
    }

    fn end(&mut self) -> Result<(), String> {
        self.ended = true;
        if self.choices.is_empty() || self.choices.values().any(|choice| !choice.stopped) {
            return Err("the end comes before a stop of every choice".to_owned());
        }
        Ok(())
    }
}

impl SeenChoice {
    fn open(&mut self, block: u32, head: &Head<'_>) -> Result<(), String> {
        if usize::try_from(block) != Ok(self.blocks.len()) {
            return Err(format!("block {block} is not the next one"));
        }
        let kind = match head {
            Head::Text => SeenKind::Text,
            Head::Refusal => SeenKind::Refusal,
            Head::Thought { .. } => SeenKind::Thought,
            Head::ToolCall { id, .. } if id.is_empty() => return Err("a call without an id".to_owned()),
            Head::ToolCall { free, .. } => SeenKind::Call { free: *free },
            Head::Media(_) | Head::Opaque { .. } => SeenKind::Whole,
        };
        self.blocks.push(SeenBlock { kind, open: true, pieces: false, part: None });
        Ok(())
    }

    fn opened(&mut self, block: u32) -> Result<&mut SeenBlock, String> {
        let found = usize::try_from(block).ok().and_then(|block| self.blocks.get_mut(block));
        found.filter(|block| block.open).ok_or_else(|| format!("block {block} is not open"))
    }

    fn piece(&mut self, block: u32, delta: &Delta<'_>) -> Result<(), String> {
        let block = self.opened(block)?;
        let fits = match delta {
            Delta::Text(_) => matches!(block.kind, SeenKind::Text | SeenKind::Refusal),
            Delta::Thought { part, .. } => {
                let next = block.part.map_or(0, |part| part + 1);
                if *part > next || block.part.is_some_and(|before| *part < before) {
                    return Err(format!("part {part} is out of order"));
                }
                block.part = Some(*part);
                block.kind == SeenKind::Thought
            }
            Delta::Arguments(text) => {
                block.pieces |= !text.is_empty();
                matches!(block.kind, SeenKind::Call { .. })
            }
            Delta::Seal(_) => true,
            Delta::Citation(_) => block.kind == SeenKind::Text,
        };
        if fits { Ok(()) } else { Err("a piece of another kind of block".to_owned()) }
    }

    fn close(&mut self, block: u32) -> Result<(), String> {
        let block = self.opened(block)?;
        block.open = false;
        if block.kind == (SeenKind::Call { free: false }) && !block.pieces {
            return Err("a call without arguments".to_owned());
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<(), String> {
        self.stopped = true;
        if self.blocks.iter().any(|block| block.open) { Err("a choice stops with a block open".to_owned()) } else { Ok(()) }
    }
}

/// Streams that keep the promises: up to two choices, several blocks open at a time, all kinds of blocks and pieces, a failure at times.
pub(crate) fn streams() -> impl Strategy<Value = Vec<Event<'static>>> {
    let step = (0_u8..16, any::<bool>(), any::<prop::sample::Index>(), any::<u8>());
    (prop::collection::vec(step, 0..40), any::<bool>()).prop_map(|(steps, fails)| {
        let mut made = Made::default();
        for (what, second, which, pick) in steps {
            made.step(what, usize::from(second), &which, pick);
        }
        made.end(fails)
    })
}

const PIECES: [&str; 6] = ["a", "", r"\n", "é ", r"\ud83d", r#"\ude00\\\""#];
const OBJECTS: [&[&str]; 3] = [&["{}"], &[r#"{\"a\":"#, "1", "}"], &["{", r#"\"b\":\"\\n\""#, "", "}"]];

struct Made {
    events: Vec<Event<'static>>,
    choices: [MadeChoice; 2],
}

#[derive(Default)]
struct MadeChoice {
    used: bool,
    blocks: Vec<MadeBlock>,
}

struct MadeBlock {
    open: bool,
    head: Head<'static>,
    part: Option<u32>,
    /// What of the arguments is still to come.
    arguments: Vec<&'static str>,
}

impl Default for Made {
    fn default() -> Made {
        let start = Event::Start { id: Text::word("reply-1"), model: Text::word("lab-model"), created_s: Some(7) };
        Made { events: vec![start], choices: Default::default() }
    }
}

impl Made {
    fn step(&mut self, what: u8, choice: usize, which: &prop::sample::Index, pick: u8) {
        match what {
            0..=5 => self.open(choice, what, pick),
            6..=11 => self.piece(choice, which, pick),
            12 | 13 => self.close(choice, which),
            14 => self.events.push(Event::KeepAlive),
            _ if self.choices[choice].used => {
                self.events.push(Event::Logprobs { choice: choice as u32, logprobs: Raw::json(br#"{"content":[]}"#) });
            }
            _ => self.events.push(Event::Usage(Usage { prompt_tokens: 3, completion_tokens: u64::from(pick), ..Usage::default() })),
        }
    }

    fn open(&mut self, choice: usize, what: u8, pick: u8) {
        let made = &mut self.choices[choice];
        made.used = true;
        let block = made.blocks.len() as u32;
        let id = || Text::owned(format!("call_{choice}_{block}").into_bytes());
        let free = pick.is_multiple_of(5);
        let head = match what {
            0 => Head::Text,
            1 => Head::Refusal,
            2 => Head::Thought { id: (pick.is_multiple_of(3)).then(|| Text::word("rs_1")), redacted: pick.is_multiple_of(7) },
            3 | 4 => Head::ToolCall { id: id(), name: Text::word(["f", "get_weather"][usize::from(pick) % 2]), free },
            _ if pick.is_multiple_of(2) => Head::Media(Media {
                class: MediaClass::Image,
                source: MediaSource::Base64 { mime: Text::word("image/png"), data: Text::word("iVBORw0KGgo=") },
                detail: None,
                name: None,
            }),
            _ => Head::Opaque { word: Text::word("odd"), raw: Raw::json(br#"{"type":"odd"}"#) },
        };
        let arguments = match &head {
            Head::ToolCall { free: false, .. } => OBJECTS[usize::from(pick) % OBJECTS.len()].to_vec(),
            _ => Vec::new(),
        };
        made.blocks.push(MadeBlock { open: true, head: head.clone(), part: None, arguments });
        self.events.push(Event::Open { choice: choice as u32, block, head });
    }

    fn open_block(&self, choice: usize, which: &prop::sample::Index) -> Option<usize> {
        let open: Vec<usize> = (0..self.choices[choice].blocks.len()).filter(|at| self.choices[choice].blocks[*at].open).collect();
        (!open.is_empty()).then(|| *which.get(&open))
    }

    fn piece(&mut self, choice: usize, which: &prop::sample::Index, pick: u8) {
        let Some(at) = self.open_block(choice, which) else { return };
        let block = &mut self.choices[choice].blocks[at];
        let text = Text::word(PIECES[usize::from(pick) % PIECES.len()]);
        let delta = match &block.head {
            _ if pick.is_multiple_of(11) => Delta::Seal(Text::word(["c2VhbA==", "b3RoZXI="][usize::from(pick) % 2])),
            Head::Text if pick.is_multiple_of(5) => Delta::Citation(Citation {
                url: Some(Text::word("https://example.org")),
                title: Some(Text::word("Example")),
                quote: None,
                range: Some((0, 1)),
                raw: Raw::json(br#"{"type":"url_citation","url_citation":{"url":"https://example.org"}}"#),
            }),
            Head::Text | Head::Refusal => Delta::Text(text),
            Head::Thought { redacted: false, .. } => {
                let part = block.part.map_or(0, |part| part + u32::from(pick.is_multiple_of(4)));
                block.part = Some(part);
                Delta::Thought { shape: ThoughtShape::Full, part, text }
            }
            Head::ToolCall { free: true, .. } => Delta::Arguments(text),
            Head::ToolCall { .. } if !block.arguments.is_empty() => Delta::Arguments(Text::word(block.arguments.remove(0))),
            _ => return,
        };
        self.events.push(Event::Delta { choice: choice as u32, block: at as u32, delta });
    }

    fn close(&mut self, choice: usize, which: &prop::sample::Index) {
        if let Some(at) = self.open_block(choice, which) {
            self.close_block(choice, at);
        }
    }

    fn close_block(&mut self, choice: usize, at: usize) {
        let block = &mut self.choices[choice].blocks[at];
        block.open = false;
        let (choice, at) = (choice as u32, at as u32);
        for piece in std::mem::take(&mut block.arguments) {
            self.events.push(Event::Delta { choice, block: at, delta: Delta::Arguments(Text::word(piece)) });
        }
        self.events.push(Event::Close { choice, block: at });
    }

    fn end(mut self, fails: bool) -> Vec<Event<'static>> {
        if fails {
            let code = Some(Text::word("overloaded_error"));
            self.events.push(Event::Fail { kind: ErrorKind::ProviderOverloaded, message: Text::word("Overloaded"), code });
            return self.events;
        }
        self.choices[0].used = true;
        for choice in 0..self.choices.len() {
            if !self.choices[choice].used {
                continue;
            }
            for at in 0..self.choices[choice].blocks.len() {
                if self.choices[choice].blocks[at].open {
                    self.close_block(choice, at);
                }
            }
            let calls = self.choices[choice].blocks.iter().any(|block| matches!(block.head, Head::ToolCall { .. }));
            let (reason, native) = if calls { (StopReason::ToolCalls, "tool_use") } else { (StopReason::End, "end_turn") };
            let stop = Stop { reason, native: Text::word(native), sequence: None, details: None };
            self.events.push(Event::Stop { choice: choice as u32, stop });
        }
        self.events.push(Event::End);
        self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Event<'static> {
        Event::Start { id: Text::EMPTY, model: Text::EMPTY, created_s: None }
    }

    fn stop() -> Event<'static> {
        Event::Stop { choice: 0, stop: Stop { reason: StopReason::End, native: Text::EMPTY, sequence: None, details: None } }
    }

    fn open(block: u32, head: Head<'static>) -> Event<'static> {
        Event::Open { choice: 0, block, head }
    }

    fn call(id: &'static str) -> Head<'static> {
        Head::ToolCall { id: Text::word(id), name: Text::word("f"), free: false }
    }

    fn close(block: u32) -> Event<'static> {
        Event::Close { choice: 0, block }
    }

    #[test]
    fn every_promise_can_be_broken() {
        let piece = |block| Event::Delta { choice: 0, block, delta: Delta::Text(Text::word("a")) };
        let part = |part| {
            let delta = Delta::Thought { shape: ThoughtShape::Full, part, text: Text::word("a") };
            Event::Delta { choice: 0, block: 0, delta }
        };
        let thought = || open(0, Head::Thought { id: None, redacted: false });
        let fail = || Event::Fail { kind: ErrorKind::Internal, message: Text::EMPTY, code: None };
        for (events, broken) in [
            (vec![start(), stop(), Event::End], None),
            (vec![Event::KeepAlive, fail()], None),
            (vec![start(), open(0, Head::Text), fail()], None),
            (vec![start(), open(0, Head::Text), open(1, call("x"))], Some("neither end nor failure")),
            (vec![stop(), Event::End], Some("before the start")),
            (vec![start(), start()], Some("second start")),
            (vec![start(), Event::End], Some("before a stop")),
            (vec![start(), stop(), Event::End, Event::KeepAlive], Some("follows the end")),
            (vec![start(), stop(), stop()], Some("follows its stop")),
            (vec![start(), open(1, Head::Text)], Some("not the next one")),
            (vec![start(), open(0, Head::Text), close(0), piece(0)], Some("not open")),
            (vec![start(), piece(0)], Some("not open")),
            (vec![start(), open(0, Head::Text), stop()], Some("with a block open")),
            (vec![start(), open(0, call("")), close(0)], Some("without an id")),
            (vec![start(), open(0, call("x")), close(0)], Some("without arguments")),
            (vec![start(), open(0, call("x")), piece(0)], Some("another kind")),
            (vec![start(), thought(), part(1)], Some("out of order")),
            (vec![start(), thought(), part(0), part(1), part(0)], Some("out of order")),
        ] {
            let got = check(&events);
            match broken {
                None => assert_eq!(got, Ok(()), "{events:?}"),
                Some(broken) => assert!(got.as_ref().is_err_and(|got| got.contains(broken)), "{events:?}: {got:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn made_streams_keep_the_promises(events in streams()) {
            prop_assert_eq!(check(&events), Ok(()));
            prop_assert!(events.iter().all(|event| kept(event) == *event));
        }
    }
}
