//! A streamed answer. Head and frames are held until the first content, so that a failure before it keeps its real status; then frames
//! pass as they come, and only those the tap points at are changed. The terminal is released after the settlement is written.

use super::attempt::Attempting;
use super::call::Call;
use super::failure::Failure;
use super::reply::{self, Broken, ReplyBody};
use super::whole;
use crate::upstream::{Deadline, Exchange, ExchangeError, Fill};
use bytes::{Bytes, BytesMut};
use fairlead_formats::error::{self, Details};
use fairlead_formats::sse::Framer;
use fairlead_formats::tap::{Action, Tap};
use fairlead_ir::{Dialect, ErrorKind};
use fairlead_ledger::Outcome;
use http::{HeaderMap, Response};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// Runs a call whose client wants a stream.
pub(crate) async fn answer(call: Box<Call>, attempting: Attempting, withhold_usage: bool, headers: HeaderMap) -> Response<ReplyBody> {
    let mut relay = Box::new(Relay::new(call, attempting, withhold_usage, headers));
    match poll_fn(|context| relay.poll_commit(context)).await {
        Commit::Content => {
            let passed = std::mem::take(&mut relay.passed);
            reply::stream(relay, passed, false)
        }
        Commit::Early => reply::stream(relay, HeaderMap::with_capacity(8), true),
        Commit::Failed(failure) => whole::fail(&mut relay.call, failure),
        Commit::Refused(exchange) => {
            let failure = whole::refused(&mut relay.call, *exchange).await;
            whole::fail(&mut relay.call, failure)
        }
    }
}

/// What decides the response's head.
enum Commit {
    /// Content has come: 200, and it stays 200.
    Content,
    /// Nothing came for so long that the client gets its head now.
    Early,
    /// It failed first.
    Failed(Failure),
    /// The provider answered with a status that is no success.
    Refused(Box<Exchange>),
}

/// A stream in progress.
pub(crate) struct Relay {
    pub(crate) call: Box<Call>,
    stage: Stage,
    tap: Tap,
    framer: Framer,
    /// The beginning of an event whose end has not come yet.
    partial: BytesMut,
    /// What the client gets next. Before the commitment: what is held back.
    ready: BytesMut,
    committed: bool,
    /// What is in `ready` is the last.
    told: bool,
    /// The dialect's last event has been seen.
    ended: bool,
    /// It ended with a CR, which may be half of a CRLF.
    after_cr: bool,
    /// A failure to tell after the output that came before it.
    pending_failure: Option<Box<Step>>,
    /// When bytes last came from the provider.
    read_at: Instant,
    /// The provider's headers that the client sees.
    passed: HeaderMap,
    /// Until the commitment: when the head goes out without content. After an early one: the next keep-alive.
    quiet: Deadline,
    content_at: Instant,
}

enum Stage {
    /// On the way to the provider's head.
    Attempting(Pin<Box<dyn Future<Output = Result<Exchange, ExchangeError>>>>),
    /// Frames are coming.
    Streaming(Box<Exchange>),
    /// Nothing more comes from the provider.
    Ended,
}

/// What one step gave.
enum Step {
    /// Complete events for the client; empty when all were withheld.
    Output(Bytes),
    /// The provider is done.
    End,
    Failed(Failure),
    Refused(Box<Exchange>),
}

/// A prompt of more tokens does not exist: no model has a window of a hundred million.
const MOST_PROMPT_TOKENS: u64 = 100_000_000;

/// How long the end of the provider's framing may lag behind its terminal event.
const TAIL: Duration = Duration::from_secs(1);

impl Relay {
    fn new(call: Box<Call>, attempting: Attempting, withhold_usage: bool, headers: HeaderMap) -> Relay {
        let settings = &call.snapshot.settings;
        let now = Instant::now();
        Relay {
            tap: Tap::new(call.dialect(), std::sync::Arc::new(call.identity()), withhold_usage),
            framer: Framer::new(settings.limits.event_bytes),
            partial: BytesMut::new(),
            ready: BytesMut::new(),
            committed: false,
            told: false,
            ended: false,
            after_cr: false,
            pending_failure: None,
            read_at: now,
            passed: headers,
            quiet: Deadline::after(now, Duration::from_millis(settings.timeouts.early_head_ms)),
            content_at: now,
            stage: Stage::Attempting(Box::pin(attempting.send())),
            call,
        }
    }

    /// Runs until it is known what the head of the response is.
    fn poll_commit(&mut self, context: &mut Context<'_>) -> Poll<Commit> {
        loop {
            let step = match self.poll_step(context) {
                Poll::Ready(step) => step,
                Poll::Pending => {
                    ready!(self.quiet.poll(context));
                    self.committed = true;
                    self.keep_alive();
                    return Poll::Ready(Commit::Early);
                }
            };
            match step {
                Step::Output(bytes) => {
                    self.ready.extend_from_slice(&bytes);
                    if self.call.seen.content || self.ended || self.ready.len() > self.call.snapshot.settings.limits.hold_bytes {
                        self.committed = true;
                        return Poll::Ready(Commit::Content);
                    }
                }
                Step::End if self.tap.saw_content() || self.tap.terminal() && self.call.wants_nothing() => {
                    self.committed = true;
                    return Poll::Ready(Commit::Content);
                }
                Step::End => {
                    let message = format!("{} ended its stream without content", self.call.provider().name);
                    return Poll::Ready(Commit::Failed(Failure::new(ErrorKind::ProviderUnavailable, message).word("empty_reply")));
                }
                Step::Failed(failure) => return Poll::Ready(Commit::Failed(failure)),
                Step::Refused(exchange) => return Poll::Ready(Commit::Refused(exchange)),
            }
        }
    }

    /// The next bytes for the client, once the head is out.
    pub(crate) fn poll_output(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        loop {
            if !self.ready.is_empty() {
                return Poll::Ready(Some(Ok(self.ready.split().freeze())));
            }
            if self.told {
                return Poll::Ready(None);
            }
            let step = match self.poll_step(context) {
                Poll::Ready(step) => step,
                Poll::Pending if self.call.seen.content => return Poll::Pending,
                Poll::Pending => {
                    ready!(self.quiet.poll(context));
                    self.keep_alive();
                    continue;
                }
            };
            match step {
                Step::Output(bytes) if !bytes.is_empty() => return Poll::Ready(Some(Ok(bytes))),
                Step::Output(_) => {}
                Step::End => self.end(),
                Step::Failed(failure) => self.fail(failure),
                Step::Refused(exchange) => self.refuse(&exchange),
            }
        }
    }

    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        if let Some(failed) = self.pending_failure.take() {
            return Poll::Ready(*failed);
        }
        if let Stage::Attempting(attempt) = &mut self.stage {
            let exchange = match ready!(attempt.as_mut().poll(context)) {
                Ok(exchange) => exchange,
                Err(error) => return Poll::Ready(Step::Failed(whole::unreachable(&mut self.call, &error))),
            };
            if let Some(step) = self.head_arrived(exchange) {
                return Poll::Ready(step);
            }
        }
        let Stage::Streaming(exchange) = &mut self.stage else {
            return Poll::Ready(Step::End);
        };
        let fill = match exchange.poll_fill(context) {
            Poll::Ready(fill) => fill,
            Poll::Pending => {
                let timeouts = &self.call.snapshot.settings.timeouts;
                let until = if self.ended {
                    exchange.read_at + TAIL
                } else {
                    let content_idle = self.content_at + Duration::from_millis(timeouts.content_idle_ms);
                    exchange.silent_at().min(content_idle).min(whole::total_deadline(&self.call))
                };
                ready!(exchange.poll_until(until, context));
                Err(ExchangeError::IdleTimeout)
            }
        };
        self.read_at = exchange.read_at;
        Poll::Ready(match fill {
            Ok(Fill::Payload(payload)) if self.ended => Step::Output(self.last_line_feed(&payload)),
            Ok(Fill::Payload(payload)) => self.take(payload),
            Ok(Fill::End) => self.take_rest(),
            // After the terminal nothing can be missing.
            Err(_) if self.ended => Step::End,
            Err(error) => Step::Failed(whole::broken(&self.call, &error)),
        })
    }

    /// Looks at the head; `None` when frames may be read.
    fn head_arrived(&mut self, exchange: Exchange) -> Option<Step> {
        self.call.head_arrived(&exchange);
        self.content_at = exchange.head_at;
        if !self.call.seen.billable {
            self.stage = Stage::Ended;
            return Some(Step::Refused(Box::new(exchange)));
        }
        whole::pass_headers(&exchange, &mut self.passed);
        self.stage = Stage::Streaming(Box::new(exchange));
        None
    }

    /// After the end nothing passes but the LF of a CRLF whose CR was the last byte sent.
    fn last_line_feed(&mut self, payload: &Bytes) -> Bytes {
        let wanted = std::mem::take(&mut self.after_cr) && payload.first() == Some(&b'\n');
        if wanted { payload.slice(..1) } else { Bytes::new() }
    }

    /// Complete events of a payload, changed where the tap says so. The rest waits for its end.
    fn take(&mut self, payload: Bytes) -> Step {
        if self.partial.is_empty() {
            return self.take_events(payload);
        }
        match self.framer.next_end(&payload, 0) {
            Err(_) => Step::Failed(self.too_large()),
            Ok(None) => {
                self.partial.extend_from_slice(&payload);
                Step::Output(Bytes::new())
            }
            Ok(Some(end)) => {
                self.partial.extend_from_slice(&payload[..end]);
                let event = self.partial.split().freeze();
                let mut batch = Batch::new(event.clone());
                let step = self.see(&event, 0..event.len(), &mut batch);
                let first = batch.finish(event.len());
                if step.is_some() || end == payload.len() || self.ended {
                    return step.map_or(Step::Output(first.clone()), |failed| self.after(first, failed));
                }
                match self.take_events(payload.slice(end..)) {
                    Step::Output(more) => Step::Output(join(first, more)),
                    failed => self.after(first, failed),
                }
            }
        }
    }

    fn take_events(&mut self, payload: Bytes) -> Step {
        let mut batch = Batch::new(payload.clone());
        let mut at = 0;
        while !self.ended {
            let end = match self.framer.next_end(&payload, at) {
                Ok(Some(end)) => end,
                Ok(None) => break,
                Err(_) => return Step::Failed(self.too_large()),
            };
            if let Some(failed) = self.see(&payload[at..end], at..end, &mut batch) {
                let before = batch.finish(at);
                return self.after(before, failed);
            }
            at = end;
        }
        if self.ended {
            at += self.last_line_feed(&payload.slice(at..)).len();
        } else if at < payload.len() {
            self.partial.extend_from_slice(&payload[at..]);
        }
        Step::Output(batch.finish(at))
    }

    /// The provider closed its body. An event without its blank line counts if it is whole.
    fn take_rest(&mut self) -> Step {
        if let Stage::Streaming(exchange) = std::mem::replace(&mut self.stage, Stage::Ended) {
            exchange.release(&self.call.worker.upstream, self.call.snapshot.settings.limits.pool_idle);
        }
        if self.partial.is_empty() || self.ended {
            return Step::End;
        }
        if self.partial.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            // The LF of a CRLF whose CR ended the last event: no event, but it passes as it came.
            return Step::Output(self.partial.split().freeze());
        }
        self.partial.extend_from_slice(b"\n\n");
        let event = self.partial.split().freeze();
        let mut batch = Batch::new(event.clone());
        let step = self.see(&event, 0..event.len(), &mut batch);
        let last = batch.finish(event.len());
        step.map_or(Step::Output(last.clone()), |failed| self.after(last, failed))
    }

    /// One event: what it tells, and what becomes of it. `Some` when the stream has failed with it.
    #[inline]
    fn see(&mut self, event: &[u8], place: std::ops::Range<usize>, batch: &mut Batch) -> Option<Step> {
        let sight = self.tap.inspect(event);
        self.call.worker.counters.frames.add(1);
        if !sight.keep_alive {
            self.content_at = self.read_at;
        }
        if sight.first_content {
            self.call.content_arrived(self.read_at);
        }
        if sight.usage || sight.finish || sight.end {
            self.note();
        }
        if sight.error {
            return Some(Step::Failed(self.provider_failed()));
        }
        if sight.end && !self.tap.saw_content() && !self.call.wants_nothing() {
            return Some(Step::Failed(whole::empty(&self.call)));
        }
        if sight.end {
            if let Err(failure) = self.complete() {
                return Some(Step::Failed(failure));
            }
            self.ended = true;
            self.after_cr = event.ends_with(b"\r");
        }
        match sight.action {
            Action::Pass => {}
            Action::Withhold => drop(batch.change(place)),
            Action::Rewrite => {
                let cost = sight.bill.then(|| self.call.bill(Outcome::Completed).charged);
                self.tap.rewrite(event, cost, batch.change(place));
            }
        }
        None
    }

    /// Takes over what the tap knows, for the bill and the record.
    fn note(&mut self) {
        let (finish, native) = self.tap.finish();
        self.call.note_finish(finish, native);
        self.call.note_upstream_id(self.tap.upstream_id());
        self.call.seen.usage = self.tap.usage().copied();
        self.call.seen.reported_cost = self.tap.reported_cost();
        self.call.seen.content = self.tap.saw_content();
        let estimate = whole::estimate_tokens(self.tap.content_bytes());
        self.call.seen.completion_tokens_estimate = estimate;
        if let Some(prompt) = self.tap.prompt_usage() {
            // What the provider says of the prompt is better than our guess, if it can be believed.
            let said = prompt.total_prompt_tokens();
            if said <= MOST_PROMPT_TOKENS {
                self.call.seen.prompt_tokens_estimate = said;
            }
        }
    }

    /// The whole answer has come: settle before its end is passed on.
    fn complete(&mut self) -> Result<(), Failure> {
        self.note();
        self.call.upstream_done(self.read_at);
        self.call.settle(Outcome::Completed, 200, "").map(drop)
    }

    /// The provider is done and nothing of it is left.
    fn end(&mut self) {
        self.told = true;
        if !self.call.is_open() {
            return;
        }
        if !self.tap.saw_content() && self.tap.terminal() && !self.call.wants_nothing() {
            let failure = whole::empty(&self.call);
            return self.fail(failure);
        }
        if !self.tap.terminal() {
            let name = &self.call.provider().name;
            let failure = Failure::new(ErrorKind::ProviderUnavailable, format!("{name}: {}", ExchangeError::Truncated)).word("truncated");
            return self.fail(failure);
        }
        if let Err(failure) = self.complete() {
            self.tell(&failure);
        }
    }

    /// A failure after the head went out: settled, then told in the stream.
    fn fail(&mut self, failure: Failure) {
        (self.told, self.stage) = (true, Stage::Ended);
        self.note();
        let settled = self.call.settle(Outcome::Failed, 200, failure.word);
        self.tell(settled.as_ref().err().unwrap_or(&failure));
    }

    /// An error status after an early head. Its body is not waited for: the status says enough for an error inside a stream.
    fn refuse(&mut self, exchange: &Exchange) {
        let status = exchange.status();
        let error = error::read_response(status, b"");
        let failure = whole::reported(&self.call, &error).word("provider_status");
        self.fail(failure);
    }

    fn tell(&mut self, failure: &Failure) {
        let text = self.call.generation().text();
        let details = Details {
            provider_name: Some(&self.call.provider().name),
            raw: failure.raw.as_deref(),
            provider_code: failure.code.as_deref(),
            generation_id: std::str::from_utf8(&text).ok(),
            param: None,
            status: None,
        };
        let mut frames = Vec::new();
        self.tap.write_error(failure.kind, &failure.message, &details, &mut frames);
        self.ready.extend_from_slice(&frames);
    }

    /// Output that precedes a failure must reach the client before the failure is told.
    fn after(&mut self, before: Bytes, failed: Step) -> Step {
        if before.is_empty() || !self.committed && !self.call.seen.content {
            return failed;
        }
        self.pending_failure = Some(Box::new(failed));
        Step::Output(before)
    }

    fn provider_failed(&mut self) -> Failure {
        let Some(error) = self.tap.error() else {
            return Failure::new(ErrorKind::ProviderUnavailable, format!("{} failed", self.call.provider().name));
        };
        whole::reported(&self.call, error).word("stream_error")
    }

    fn too_large(&self) -> Failure {
        let most = self.call.snapshot.settings.limits.event_bytes;
        let message = format!("{} sent an event larger than the {most} bytes allowed", self.call.provider().name);
        Failure::new(ErrorKind::ProviderUnavailable, message).word("event_too_large")
    }

    /// Proof of life towards the client until content comes; only ever between events.
    fn keep_alive(&mut self) {
        let frame: &[u8] = match self.call.dialect() {
            Dialect::AnthropicMessages => b"event: ping\ndata: {\"type\": \"ping\"}\n\n",
            _ => b": keep-alive\n\n",
        };
        self.ready.extend_from_slice(frame);
        let wait = Duration::from_millis(self.call.snapshot.settings.timeouts.keepalive_ms);
        self.quiet.set(Instant::now() + wait);
    }
}

impl Drop for Relay {
    /// The client left, or all was said. What is known by now is what the call is settled with.
    fn drop(&mut self) {
        if self.call.is_open() {
            self.note();
        }
    }
}

/// The events of one payload on their way out: a slice of it while nothing changes, a copy from the first change on.
struct Batch {
    payload: Bytes,
    kept_from: usize,
    changed: Option<Vec<u8>>,
}

impl Batch {
    fn new(payload: Bytes) -> Batch {
        Batch { payload, kept_from: 0, changed: None }
    }

    /// Leaves out the event at `place`; what is written to the returned buffer comes in its stead.
    fn change(&mut self, place: std::ops::Range<usize>) -> &mut Vec<u8> {
        let buffer = self.changed.get_or_insert_with(|| Vec::with_capacity(self.payload.len() + 256));
        buffer.extend_from_slice(&self.payload[self.kept_from..place.start]);
        self.kept_from = place.end;
        buffer
    }

    /// Everything up to `end`.
    fn finish(self, end: usize) -> Bytes {
        let kept = self.kept_from..end.max(self.kept_from);
        match self.changed {
            None => self.payload.slice(kept),
            Some(mut buffer) => {
                buffer.extend_from_slice(&self.payload[kept]);
                Bytes::from(buffer)
            }
        }
    }
}

fn join(first: Bytes, second: Bytes) -> Bytes {
    match (first.is_empty(), second.is_empty()) {
        (true, _) => second,
        (_, true) => first,
        _ => [first, second].concat().into(),
    }
}
