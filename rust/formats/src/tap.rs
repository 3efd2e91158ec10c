//! A tap on a stream: looks at each event on its way to the client, and rewrites the few that need it.
//!
//! The relay hands every complete event to [`Tap::inspect`] and does what the [`Sight`] says. On `/v1` all events pass as they
//! came except those with the final usage; on `/api/v1` every chat chunk is rewritten, of Messages and Responses only the first and
//! the last ones. Ordinary frames are recognised by comparing bytes with an earlier one (`template.rs`) and never parsed.

use std::sync::Arc;

use fairlead_ir::{Delta, Dialect, ErrorKind, Event, Finish, Head, Losses, Manner, NanoUsd, Text, Tier, Usage};

use crate::anthropic_messages::stream::EventTap;
use crate::bedrock_converse::stream::MessageTap;
use crate::error::{self, Details, ProviderError, Skeleton};
use crate::gemini_generate::stream::PartTap;
use crate::identity::Identity;
use crate::json::{Reason, Reject};
use crate::openai_chat::stream::{ChunkTap, DONE};
use crate::patch::Unspliced;
use crate::reply::{Missing, Seen};
use crate::splice::Edits;
use crate::sse;
use crate::template::Template;
use crate::text::escape;
use crate::tool_calls::Watch;
use crate::translate::dialects::StreamEncoder;
use crate::translate::{Bridge, Wanted};
use crate::{cut, figures, metadata, openai_completions, openai_responses};

/// What to do with an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Send it as it came.
    #[default]
    Pass,
    /// Send what [`Tap::rewrite`] makes of it.
    Rewrite,
    /// Send nothing: a usage chunk nobody asked for, an error (which is told in the client's dialect instead), or noise that
    /// breaks clients.
    Withhold,
}

/// What an event is. All flags are about this event, not about the stream so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// What to do with it.
    pub action: Action,
    /// The reply begins with it: from here on a failure must be told in the stream.
    pub first_content: bool,
    /// It brought a usage object: new figures, or what should have been some.
    pub usage: bool,
    /// What it brought is final as far as we know: [`Tap::rewrite`] wants the cost now.
    pub bill: bool,
    /// It says why the reply ended.
    pub finish: bool,
    /// With it [`Tap::terminal`] became true.
    pub terminal: bool,
    /// It is the dialect's last one (`[DONE]`, `message_stop`, `response.completed`). Nothing of the stream is sent after it.
    pub end: bool,
    /// The stream has failed; see [`Tap::error`].
    pub error: bool,
    /// A comment, a ping or noise: proof of a living connection, not of a working model.
    pub keep_alive: bool,
    /// Figures may be in it that nobody can believe: see [`figures`](crate::figures).
    pub absurd: bool,
}

/// The state of one stream.
#[derive(Debug)]
pub struct Tap {
    identity: Arc<Identity>,
    withhold_usage: bool,
    spoken: Spoken,
    seen: Seen,
    losses: Losses,
    answered: bool,
    terminal: bool,
    /// The end or an error has come: what follows is not sent.
    closed: bool,
    template: Template,
    edits: Edits,
    scratch: Vec<u8>,
    /// The tool calls, where somebody wants to know whether they are sound.
    watch: Option<Box<Watch>>,
}

/// What one dialect's tap found in an event.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    pub(crate) action: Action,
    pub(crate) usage: bool,
    pub(crate) bill: bool,
    pub(crate) finish: bool,
    pub(crate) end: bool,
    pub(crate) error: bool,
    pub(crate) keep_alive: bool,
    /// Others like it differ only in their texts.
    pub(crate) ordinary: bool,
}

impl Look {
    pub(crate) fn error() -> Look {
        Look { action: Action::Withhold, error: true, ..Look::default() }
    }

    /// Noise that is not passed on.
    fn noise() -> Look {
        Look { action: Action::Withhold, keep_alive: true, ..Look::default() }
    }

    fn comment() -> Look {
        Look { keep_alive: true, ..Look::default() }
    }
}

#[derive(Debug)]
enum Spoken {
    Chat(ChunkTap),
    Responses(openai_responses::stream::EventTap),
    Messages(EventTap),
    Generate(PartTap),
    Converse(Box<MessageTap>),
}

impl Spoken {
    fn dialect(&self) -> Dialect {
        match self {
            Spoken::Chat(_) => Dialect::OpenaiChat,
            Spoken::Responses(_) => Dialect::OpenaiResponses,
            Spoken::Messages(_) => Dialect::AnthropicMessages,
            Spoken::Generate(_) => Dialect::GeminiGenerate,
            Spoken::Converse(_) => Dialect::BedrockConverse,
        }
    }
}

impl Tap {
    /// A tap on a stream in `dialect`. `withhold_usage`: the client did not ask for the usage
    /// chunk that we had the provider send ([`Facts::withhold_usage`](crate::request::Facts::withhold_usage)).
    pub fn new(dialect: Dialect, identity: Arc<Identity>, withhold_usage: bool) -> Tap {
        let spoken = match dialect {
            Dialect::AnthropicMessages => Spoken::Messages(EventTap::default()),
            Dialect::GeminiGenerate => Spoken::Generate(PartTap::default()),
            Dialect::OpenaiResponses => Spoken::Responses(openai_responses::stream::EventTap::default()),
            Dialect::BedrockConverse => Spoken::Converse(Box::default()),
            Dialect::OpenaiChat => Spoken::Chat(ChunkTap::default()),
        };
        Tap::of(spoken, identity, withhold_usage)
    }

    /// As [`Tap::new`], on a stream of legacy completions from a provider that serves them itself.
    pub fn completions(identity: Arc<Identity>, withhold_usage: bool) -> Tap {
        Tap::of(Spoken::Chat(ChunkTap::legacy()), identity, withhold_usage)
    }

    fn of(spoken: Spoken, identity: Arc<Identity>, withhold_usage: bool) -> Tap {
        Tap {
            identity,
            withhold_usage,
            spoken,
            seen: Seen::default(),
            losses: Losses::new(),
            answered: false,
            terminal: false,
            closed: false,
            template: Template::default(),
            edits: Edits::new(),
            scratch: Vec::new(),
            watch: None,
        }
    }

    /// Has the tool calls watched. Those of a translated stream are seen by whoever reads it: then the watch comes here at the end.
    pub fn watch(&mut self, watch: Box<Watch>) {
        self.watch = Some(watch);
    }

    /// Whether the tool calls of the stream, which is over, are sound. `None` where nobody watches, there are none, or nobody can say.
    pub fn has_sound_calls(&self) -> Option<bool> {
        self.watch.as_ref()?.verdict()
    }

    /// Looks at one complete event, with its blank line.
    #[inline]
    pub fn inspect(&mut self, event: &[u8]) -> Sight {
        // Templates are learned from content only, so there was content before.
        if !self.closed
            && let Some(bytes) = self.template.matches(event)
        {
            self.seen.content_bytes = self.seen.content_bytes.saturating_add(bytes);
            return Sight { action: self.ordinary_action(), ..Sight::default() };
        }
        self.inspect_slowly(event)
    }

    /// Appends `event` as the client shall see it. `cost` is what the client pays, known when [`Sight::bill`] was set.
    #[inline]
    pub fn rewrite(&mut self, event: &[u8], cost: Option<NanoUsd>, out: &mut Vec<u8>) {
        if !self.template.render(event, out) {
            self.rewrite_slowly(event, cost, out);
        }
    }

    /// The provider's figures once they are final or running totals; zero is a figure, `None` means not reported.
    pub fn usage(&self) -> Option<&Usage> {
        self.seen.usage.as_ref()
    }

    /// What of [`usage`](Self::usage) is none of the provider's figures.
    pub fn missing(&self) -> Missing {
        self.seen.missing
    }

    /// What Messages says of the prompt at the start, with no completion: for settling a stream that is cut before its figures.
    pub fn prompt_usage(&self) -> Option<Usage> {
        match &self.spoken {
            // Gemini's running totals are figures from the start.
            Spoken::Chat(_) | Spoken::Responses(_) | Spoken::Generate(_) | Spoken::Converse(_) => None,
            Spoken::Messages(tap) => tap.prompt_usage(),
        }
    }

    /// The cost that the provider itself put into `usage.cost`.
    pub fn reported_cost(&self) -> Option<NanoUsd> {
        self.seen.reported_cost
    }

    /// The service tier in which the provider says it served.
    pub fn tier(&self) -> Option<Tier> {
        self.seen.tier
    }

    /// Why the reply ended, and the provider's own word for it (empty when none came).
    pub fn finish(&self) -> (Option<Finish>, &str) {
        (self.seen.finish, &self.seen.native_finish)
    }

    /// The provider's own reply id; empty when it sent none.
    pub fn upstream_id(&self) -> &str {
        &self.seen.upstream_id
    }

    /// Whether the reply has begun: content, or an end that is known to be meant.
    pub fn saw_content(&self) -> bool {
        self.answered
    }

    /// Bytes of content so far as written in JSON, for an estimate of a stream that ends without usage.
    pub fn content_bytes(&self) -> u64 {
        self.seen.content_bytes
    }

    /// Whether there is evidence that the reply is complete: a finish reason or `[DONE]`; `stop_reason` or `message_stop`;
    /// `response.completed` or `response.incomplete`.
    pub fn terminal(&self) -> bool {
        self.terminal
    }

    /// The failure the stream reported, or why what came cannot be used.
    pub fn error(&self) -> Option<&ProviderError> {
        self.seen.error.as_ref()
    }

    /// Whoever translates the stream cannot go on: it has failed. The first failure counts.
    pub fn fail(&mut self, error: ProviderError) {
        self.closed = true;
        self.seen.error.get_or_insert(error);
    }

    /// Appends the frames that tell the client of a failure after content, in the names it has seen so far.
    pub fn write_error(&self, kind: ErrorKind, message: &str, details: &Details<'_>, out: &mut Vec<u8>) {
        let (identity, seen) = (&*self.identity, &self.seen);
        let native = identity.manner() == Manner::Native;
        let or = |theirs: &'_ str, ours: &'_ str| if native && !theirs.is_empty() { theirs.to_owned() } else { ours.to_owned() };
        let (id, model) = (or(&seen.upstream_id, identity.generation_id()), or(&seen.model, identity.model()));
        let created_s = seen.created_s.unwrap_or(identity.created_s());
        let sequence_number = self.sequence_number();
        let skeleton = Skeleton { id: &id, model: &model, provider: identity.provider(), created_s, sequence_number };
        match &self.spoken {
            Spoken::Chat(tap) if tap.is_legacy() => {
                openai_completions::error::write_event(identity.manner(), &skeleton, kind, message, details, out);
            }
            _ => error::event(self.dialect(), identity.manner(), &skeleton, kind, message, details, out),
        }
    }

    /// Appends what ends the block that is open, of Messages: what is seen from now on does not reach the client. [`Tap::cut`] comes behind it.
    pub fn close_block(&self, out: &mut Vec<u8>) {
        if let Spoken::Messages(tap) = &self.spoken {
            tap.close_block(out);
        }
    }

    /// Appends the end of a stream of one choice that is cut here, in the names it has seen so far. Of Responses, whose end repeats the whole reply,
    /// and of Converse it is written by who has seen that: [`StreamEncoder::cut`].
    pub fn cut(&self, usage: &Usage, cost: NanoUsd, out: &mut Vec<u8>) {
        let dialect = self.dialect();
        let mut bridge = Bridge::default();
        bridge.include_usage = !self.withhold_usage;
        let wanted = Wanted { source: dialect, identity: Arc::clone(&self.identity), bridge: Arc::new(bridge), json_array: false };
        let mut encoder = match &self.spoken {
            Spoken::Messages(_) => {
                cut::comment(dialect, out);
                return EventTap::cut(&self.identity, usage, cost, out);
            }
            Spoken::Chat(tap) if tap.is_legacy() => StreamEncoder::completions(wanted),
            Spoken::Chat(_) | Spoken::Generate(_) => StreamEncoder::new(dialect, wanted),
            Spoken::Responses(_) | Spoken::Converse(_) => return,
        };
        let Seen { upstream_id, model, created_s, .. } = &self.seen;
        let mut said = Vec::new();
        encoder.event(&Event::Start { id: escape(upstream_id), model: escape(model), created_s: *created_s }, &mut said);
        if !matches!(self.spoken, Spoken::Generate(_)) {
            // The role was told, and helpers of clients join what is told twice.
            encoder.event(&Event::Open { choice: 0, block: 0, head: Head::Text }, &mut said);
            encoder.event(&Event::Delta { choice: 0, block: 0, delta: Delta::Text(Text::word(" ")) }, &mut said);
        }
        encoder.cut(1, 0, usage, cost, out);
    }

    /// How many events the client has got of a stream that numbers them.
    pub fn sequence_number(&self) -> u64 {
        match &self.spoken {
            Spoken::Responses(tap) => tap.sequence_number(),
            Spoken::Chat(_) | Spoken::Messages(_) | Spoken::Generate(_) | Spoken::Converse(_) => 0,
        }
    }

    /// Appends a chunk of chat that holds nothing but `member`: for the end of a stream that had no other place for it.
    pub fn write_chunk(&self, member: &[u8], out: &mut Vec<u8>) {
        if let Spoken::Chat(tap) = &self.spoken {
            let object = if tap.is_legacy() { "text_completion" } else { "chat.completion.chunk" };
            metadata::write_chunk(object, &self.identity, member, out);
        }
    }

    /// Whoever translates the stream tells what it has lost so far.
    pub fn know_losses(&mut self, losses: &Losses) {
        if losses.as_slice().len() != self.losses.as_slice().len() {
            self.losses = losses.clone();
        }
    }

    /// What the stream has lost so far.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// The dialect of the stream.
    pub fn dialect(&self) -> Dialect {
        self.spoken.dialect()
    }

    fn ordinary_action(&self) -> Action {
        if self.rewrites_ordinary() { Action::Rewrite } else { Action::Pass }
    }

    fn rewrites_ordinary(&self) -> bool {
        matches!(self.spoken, Spoken::Chat(_)) && self.identity.is_openrouter()
    }

    fn inspect_slowly(&mut self, event: &[u8]) -> Sight {
        let mut look = self.look(event);
        if look.action == Action::Pass && self.identity.is_openrouter() && event.starts_with(BYTE_ORDER_MARK) {
            // Several clients lose their first delta to it; on `/v1` it is the provider's to send.
            look.action = Action::Rewrite;
        }
        self.closed |= look.end || look.error;
        let good = self.seen.error.is_none();
        let terminal = good && !self.terminal && (look.end || self.seen.finish.is_some());
        self.terminal |= terminal;
        let first_content = good && !self.answered && self.seen.is_answer();
        self.answered |= first_content;
        let Look { action, usage, bill, finish, end, error, keep_alive, .. } = look;
        // What Messages says of the prompt comes before all content.
        let is_credible = || self.seen.usage.as_ref().is_none_or(Usage::is_credible);
        let absurd = (usage || !self.answered) && (figures::may_be_absurd(event) || !is_credible());
        Sight { action, first_content, usage, bill, finish, terminal, end, error, keep_alive, absurd }
    }

    fn look(&mut self, event: &[u8]) -> Look {
        if let Spoken::Converse(tap) = &mut self.spoken {
            return if self.closed { Look::noise() } else { tap.read(event, &mut self.seen) };
        }
        let mut scratch = core::mem::take(&mut self.scratch);
        let look = match sse::data(event, &mut scratch).map(<[u8]>::trim_ascii) {
            None => self.look_at_bare(event),
            // An empty event breaks most clients; `data: : keepalive` is a comment that some gateway wrapped.
            Some([] | [b':', ..]) => Look::noise(),
            Some(DONE) => self.look_at_done(),
            // Some clients append what follows the end.
            Some(_) if self.closed => Look::noise(),
            Some(data) => self.look_at_data(event, data),
        };
        self.scratch = scratch;
        look
    }

    /// An event without data: a comment, or a body that is no event stream at all.
    fn look_at_bare(&mut self, event: &[u8]) -> Look {
        match event.trim_ascii().first() {
            Some(b'{' | b'[' | b'<') if !self.closed => {
                self.seen.fail_with_body(event.trim_ascii());
                Look::error()
            }
            // Google's Python client breaks on comments.
            _ if matches!(self.spoken, Spoken::Generate(_)) => Look::noise(),
            _ => Look::comment(),
        }
    }

    fn look_at_done(&mut self) -> Look {
        match self.spoken {
            // Some gateways end such a stream with it too; its clients ignore it.
            Spoken::Messages(_) | Spoken::Responses(_) if self.seen.error.is_none() => Look::comment(),
            Spoken::Chat(_) if !self.closed => Look { end: true, ..Look::default() },
            _ => Look::noise(),
        }
    }

    fn look_at_data(&mut self, event: &[u8], data: &[u8]) -> Look {
        let look = match &mut self.spoken {
            Spoken::Chat(tap) => tap.read(data, &mut self.seen, &self.identity, self.withhold_usage),
            Spoken::Responses(tap) => tap.read(sse::event_name(event), data, &mut self.seen, &self.identity),
            Spoken::Messages(tap) => tap.read(data, &mut self.seen, &self.identity),
            Spoken::Generate(tap) => tap.read(data, &mut self.seen),
            // Its messages are no lines of text and were looked at before.
            Spoken::Converse(_) => return Look::noise(),
        };
        match look {
            Ok(look) => {
                if let Some(watch) = &mut self.watch {
                    watch.read(self.spoken.dialect(), sse::event_name(event), data);
                }
                if look.ordinary && !self.rewrites_ordinary() {
                    self.learn(event, false);
                }
                look
            }
            Err(reject) => {
                self.fail_with_garbage(data, reject);
                Look::error()
            }
        }
    }

    /// What is no JSON object may still be words: a proxy's page, or a plain sentence.
    fn fail_with_garbage(&mut self, data: &[u8], reject: Reject) {
        match reject.reason {
            Reason::Expected(_) if reject.offset == 0 => self.seen.fail(data),
            _ => self.seen.fail_with_garbage(reject),
        }
    }

    /// Remembers `event`, as it came or as edited, so that its like need no reading.
    fn learn(&mut self, event: &[u8], edited: bool) {
        // What is recognised is not read, and pieces of arguments must be.
        if self.watch.as_ref().is_some_and(|watch| watch.has_begun()) {
            return;
        }
        let Some(range) = sse::data_range(event).filter(|_| self.template.is_curious()) else { return };
        let mut texts = Vec::new();
        let found = match &self.spoken {
            Spoken::Chat(tap) => tap.find_texts(&event[range.clone()], &mut texts),
            Spoken::Messages(_) => EventTap::find_texts(&event[range.clone()], &mut texts),
            // Its figures differ from chunk to chunk; it recognises its ordinary ones itself.
            Spoken::Generate(_) | Spoken::Converse(_) => return,
            // Its events are numbered, so no two have the same bytes around their texts.
            Spoken::Responses(_) => return,
        };
        if found.is_ok() {
            texts.iter_mut().for_each(|(text, _)| *text = range.start + text.start..range.start + text.end);
            self.template.learn(event, &texts, edited.then_some(&self.edits));
        }
    }

    fn rewrite_slowly(&mut self, event: &[u8], cost: Option<NanoUsd>, out: &mut Vec<u8>) {
        let unmarked = event.strip_prefix(BYTE_ORDER_MARK).unwrap_or(event);
        if !self.identity.is_openrouter() {
            out.extend_from_slice(&event[..event.len() - unmarked.len()]);
        }
        let written = match sse::data_range(unmarked) {
            Some(range) => self.rewrite_line(unmarked, range, cost, out),
            None => self.rewrite_lines(unmarked, cost, out),
        };
        if written.is_err() {
            // `[DONE]`, comments, or an object of an unexpected shape.
            out.extend_from_slice(unmarked);
        }
    }

    /// The usual event, whose data stands on one line: everything around the edits stays as it came.
    fn rewrite_line(
        &mut self,
        event: &[u8],
        range: core::ops::Range<usize>,
        cost: Option<NanoUsd>,
        out: &mut Vec<u8>,
    ) -> Result<(), Unspliced> {
        let repeatable = self.edit(&event[range.clone()], range.start, cost)?;
        self.edits.apply(event, out)?;
        let worth_learning = repeatable && cost.is_none() && self.answered && self.rewrites_ordinary() && self.template.is_curious();
        if worth_learning && self.is_ordinary(&event[range]) {
            self.learn(event, true);
        }
        Ok(())
    }

    /// Data on several lines is joined to one, because an edit could not say where a line ends.
    fn rewrite_lines(&mut self, event: &[u8], cost: Option<NanoUsd>, out: &mut Vec<u8>) -> Result<(), Unspliced> {
        let mut joined = Vec::new();
        let Some(data) = sse::data(event, &mut joined) else {
            out.extend_from_slice(event);
            return Ok(());
        };
        // A line feed between tokens is white space, and inside a string JSON has none.
        let data: Vec<u8> = data.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect();
        self.edit(&data, 0, cost)?;
        let mut edited = Vec::new();
        self.edits.apply(&data, &mut edited)?;
        if let Some(name) = sse::event_name(event) {
            out.extend_from_slice(b"event: ");
            out.extend_from_slice(name);
            out.push(b'\n');
        }
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&edited);
        out.extend_from_slice(b"\n\n");
        Ok(())
    }

    fn edit(&mut self, data: &[u8], base: usize, cost: Option<NanoUsd>) -> Result<bool, Unspliced> {
        self.edits.clear();
        match &mut self.spoken {
            Spoken::Chat(tap) => tap.edit(data, base, &self.identity, cost, &mut self.edits),
            Spoken::Responses(_) => {
                openai_responses::stream::EventTap::edit(data, base, &self.identity, cost, &mut self.edits).map(|()| false)
            }
            Spoken::Messages(tap) => tap.edit(data, base, &self.identity, cost, &mut self.edits),
            Spoken::Generate(_) => PartTap::edit(data, base, cost, &mut self.edits),
            Spoken::Converse(_) => Ok(false),
        }
    }

    /// Whether a chunk is one of many: content, and neither usage nor finish. Read again, because frames may have been looked
    /// at long before they are rewritten (the relay holds them until the first content).
    fn is_ordinary(&self, data: &[u8]) -> bool {
        let mut seen = Seen::default();
        let Spoken::Chat(tap) = &self.spoken else { return false };
        tap.read(data, &mut seen, &self.identity, false).is_ok_and(|look| look.ordinary)
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
