//! A unary answer: read whole, understood, settled, spliced, sent.

use super::attempt;
use super::attempt::Attempting;
use super::call::{Attended, Call, CutOff, Presence, Work};
use super::failover::{self, Standby};
use super::failure::Failure;
use super::intake::YIELD_AFTER_BYTES;
use super::reply::{self, ReplyBody};
use super::stateful;
use super::translate::Back;
use super::{Sending, Way};
use crate::upstream::{Exchange, ExchangeError, Fill};
use crate::worker::{Worker, unix_ms};
use bytes::{Bytes, BytesMut};
use fairlead_formats::error::{self, MAX_CODE_BYTES, MAX_MESSAGE_BYTES, ProviderError, Told};
use fairlead_formats::figures;
use fairlead_formats::identity::Identity;
use fairlead_formats::redact::redact;
use fairlead_formats::reply::{Reply, ReplyScan};
use fairlead_formats::request::Purpose;
use fairlead_formats::splice::Edits;
use fairlead_ir::{Elsewhere, ErrorKind, Fault, Finish, Manner, Usage};
use fairlead_ledger::Outcome;
use fairlead_router::health::{LONGEST_HINT_MS, hinted_ms};
use fairlead_snapshot::Snapshot;
use http::Response;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::task::JoinError;
use tokio::time::Instant;

/// Runs a call whose client wants one JSON body.
pub(crate) async fn answer(call: Box<Call>, sending: Sending, headers: HeaderMap) -> Response<ReplyBody> {
    let mut attended = begin(call, sending, headers);
    let response = poll_fn(|context| attended.poll(|work| work.answer.as_mut().poll(context))).await;
    attended.done();
    response
}

/// Not in `answer` itself: there the work would take its room in every connection's task, although it is boxed.
fn begin(call: Box<Call>, sending: Sending, headers: HeaderMap) -> Attended<Answering> {
    let presence = call.presence().clone();
    Attended::new(Answering { presence, answer: Box::pin(finish(call, sending, headers)) })
}

/// Runs a call whose answer nobody reads, to its end.
pub(crate) async fn unheard(call: Box<Call>, sending: Sending) {
    finish(call, sending, HeaderMap::new()).await;
}

/// Attempt after attempt, until one answers or none is left.
async fn finish(mut call: Box<Call>, mut sending: Sending, mut headers: HeaderMap) -> Response<ReplyBody> {
    loop {
        let Sending { attempting, way, mut standby } = sending;
        let failure = match run(&mut call, attempting, way, &mut headers).await {
            Ok(body) => {
                record(&mut call, &body);
                keep(&mut call, &body).await;
                if let Err(failure) = durable(&mut call).await {
                    return reply::failed(&call, &failure, headers);
                }
                return reply::answer(&call, headers, body);
            }
            Err(failure) => failure,
        };
        sending = match next(&mut call, &mut standby, &failure).await {
            Some(sending) => sending,
            None => return fail(&mut call, failure, headers),
        };
        headers.clear();
    }
}

/// Until the settlement is on the disk, where that is asked for.
async fn durable(call: &mut Call) -> Result<(), Failure> {
    match call.durable.take() {
        Some(durable) => {
            durable.await.map_err(|error| Failure::store(format!("whether the usage journal has kept this call is not certain: {error}")))
        }
        None => Ok(()),
    }
}

async fn next(call: &mut Call, standby: &mut Option<Box<Standby>>, failure: &Failure) -> Option<Sending> {
    let (standby, class) = failover::leave(call, standby, failure)?;
    // Boxed: it is large, and rare.
    let next = Box::pin(standby.next(call.worker.clone(), call.snapshot.clone(), class)).await?;
    call.may_go_on().then(|| next.begin(call))
}

/// Where content is logged, the answer is part of it.
fn record(call: &mut Call, body: &ReplyBody) {
    if let Some(recorder) = &mut call.recorder
        && let Some(stateful::Reply::Whole(pieces)) = stateful::whole(body)
    {
        recorder.hear_whole(pieces);
    }
}

/// Before anybody has the answer: the next request finds what it goes on from.
async fn keep(call: &mut Call, body: &ReplyBody) {
    if let Some(keeping) = call.take_keeping()
        && let Some(reply) = stateful::whole(body)
    {
        // If that came to nothing the answer is still one.
        let _ = keeping.keep(reply).await;
    }
}

/// An answer that may have to be waited for although its client has left.
struct Answering {
    presence: Rc<Presence>,
    answer: Pin<Box<dyn Future<Output = Response<ReplyBody>>>>,
}

impl Work for Answering {
    fn billed_whole(&self) -> Option<&Rc<Presence>> {
        Some(&self.presence).filter(|presence| presence.is_billed_whole())
    }

    /// Nobody will read the answer: all it is for is its usage.
    async fn finish(mut self) {
        poll_fn(|context| match self.answer.as_mut().poll(context) {
            Poll::Pending if self.presence.held_bytes.get() > UNHEARD_BYTES => Poll::Ready(()),
            polled => polled.map(drop),
        })
        .await;
    }
}

/// Most bytes held of an answer, or of one event of a stream, that nobody will read. A longer one is left, and settled with our own count.
pub(crate) const UNHEARD_BYTES: usize = 1 << 20;

/// Settles a call that failed before anything was sent to the client, and tells the client. `passed` has the headers of the provider's
/// head, where one came.
pub(crate) fn fail(call: &mut Call, failure: Failure, passed: HeaderMap) -> Response<ReplyBody> {
    if !call.seen.billable {
        call.upstream_done(Instant::now());
    }
    call.note_failure(&failure);
    call.record_failure(&failure);
    let settled = call.settle(Outcome::Failed, failure.status(), failure.word);
    // A journal that failed now is the more important news.
    reply::failed(call, settled.as_ref().err().unwrap_or(&failure), passed)
}

async fn run(call: &mut Call, attempting: Attempting, way: Way, headers: &mut HeaderMap) -> Result<ReplyBody, Failure> {
    let sent = call.presence().unless_cut_off(pin!(attempting.send(call.presence().clone()))).await;
    let mut exchange = or_cut_off(call, sent)?.map_err(|error| unreachable(call, &error))?;
    call.head_arrived(&exchange);
    pass_headers(&exchange, headers);
    let most_bytes = call.snapshot.settings.limits.reply_bytes;
    if !call.seen.billable {
        let refusal = read_refusal(exchange, total_deadline(call), call.worker.clone(), call.snapshot.clone());
        let refusal = call.presence().unless_cut_off(pin!(refusal)).await;
        return Err(or_cut_off(call, refusal).map_or_else(|cut_off| cut_off, |refusal| refused(call, refusal)));
    }
    if let Some(coding) = unasked_coding(&exchange) {
        return Err(garbage(call, &compressed(coding)));
    }
    if is_event_stream(&exchange) {
        return Err(garbage(call, "it answered with an event stream where one JSON body was asked for"));
    }
    let mut scan = match &way {
        Way::Bytes { purpose: Purpose::Completions, .. } => ReplyScan::completions(),
        Way::Bytes { purpose: Purpose::Embeddings, .. } => ReplyScan::embeddings(),
        Way::Bytes { .. } => ReplyScan::new(call.dialect()),
        Way::Translated(back) => ReplyScan::new(back.upstream()),
    };
    let mut valid = Ok(());
    let mut in_pieces = false;
    let until = total_deadline(call);
    let held_bytes = &call.presence().held_bytes;
    let content_idle = Duration::from_millis(call.snapshot.settings.timeouts.content_idle_ms);
    let body = read(&mut exchange, most_bytes, until, content_idle, held_bytes, |piece| {
        in_pieces = true;
        if valid.is_ok() {
            valid = scan.feed(piece)
        }
    });
    let body = call.presence().unless_cut_off(pin!(body)).await;
    let body = or_cut_off(call, body)?.map_err(|error| broken(call, &error))?;
    let done_at = exchange.read_at;
    call.upstream_done(done_at);
    exchange.release(&call.worker.upstream, call.snapshot.settings.limits.pool_idle);
    // Most are small, came at once and are as usual: one pass checks and reads them.
    let at_once = if in_pieces || body.len() >= ASIDE_FROM_BYTES { None } else { scan.read_at_once(&body) };
    if at_once.is_none() && !in_pieces {
        valid = scan.feed(&body);
    }
    // What is not JSON may still say what went wrong.
    if valid.is_err() {
        let said = error::read_or(&body, "the provider sent something else than a reply");
        return Err(reported(call, &ProviderError { kind: ErrorKind::ProviderUnavailable, ..said }).word("garbage"));
    }
    let mut reply = match at_once {
        Some(reply) => reply,
        None => {
            let read = aside(body.len(), {
                let body = body.clone();
                move || scan.finish(&body)
            });
            read.await?.map_err(|error| {
                let word = if error.told == Told::ByUs { "garbage" } else { "provider_error" };
                reported(call, &error).word(word)
            })?
        }
    };
    note(call, &mut reply);
    if reply.empty && !call.wants_nothing() {
        return Err(empty(call));
    }
    if call.may_change_model() && !reply.content && reply.finish == Some(Finish::ContentFilter) {
        return Err(declined(call));
    }
    call.content_arrived(done_at);
    if let Way::Translated(back) = way {
        return translated(call, *back, body).await;
    }
    if let Some(offer) = &call.offer {
        let sound = offer.judge_body(call.dialect(), &body);
        call.note_calls(sound);
    }
    let is_absurd = reply.is_absurd(&body);
    let identity = if call.manner() == Manner::Openrouter || call.is_kept() { call.identity() } else { Identity::unnamed() };
    let bill = call.bill(Outcome::Completed);
    let spliced = if body.len() < COPY_BELOW_BYTES {
        let mut changes = call.worker.edits.borrow_mut();
        changes.clear();
        let edited = reply.edits(&body, &identity, &bill.usage, bill.charged, &mut changes);
        // Exactly as long as it gets: then the body takes it over without a copy.
        let mut whole = Vec::with_capacity(changes.result_len(body.len()));
        (edited.is_ok() && changes.apply(&body, &mut whole).is_ok()).then(|| ReplyBody::from(whole))
    } else {
        let spliced = aside(body.len(), move || {
            let mut changes = Edits::default();
            reply.edits(&body, &identity, &bill.usage, bill.charged, &mut changes).ok()?;
            attempt::spliced(&[body], &changes).ok()
        });
        spliced.await?.map(ReplyBody::pieces)
    };
    let Some(spliced) = spliced else {
        call.nothing_was_shown();
        return Err(garbage(call, UNSPLICED));
    };
    call.settle(Outcome::Completed, 200, "")?;
    Ok(if is_absurd { believable(spliced, &bill.usage) } else { spliced })
}

/// The answer without figures that nobody can believe.
#[cold]
fn believable(answer: ReplyBody, billed: &Usage) -> ReplyBody {
    let Some(stateful::Reply::Whole(pieces)) = stateful::whole(&answer) else { return answer };
    figures::believable(&pieces.concat(), billed).map_or(answer, ReplyBody::from)
}

/// The reply in the client's dialect. What it costs is known before it is written, and settled once that has gone well.
async fn translated(call: &mut Call, back: Back, body: Bytes) -> Result<ReplyBody, Failure> {
    let (identity, bill, offer) = (call.identity(), call.bill(Outcome::Completed), call.offer.clone());
    let written = aside(body.len(), move || back.reply(&body, &identity, &bill, offer.as_deref())).await?;
    let (reply, losses, sound) = written.map_err(|error| {
        // It is no answer to anybody.
        call.nothing_was_shown();
        reported(call, &error).word("garbage")
    })?;
    call.note_losses(&losses);
    call.note_calls(sound);
    call.settle(Outcome::Completed, 200, "")?;
    Ok(ReplyBody::from(reply))
}

/// What came of work that a client waits for, or what to tell it because the process stops.
fn or_cut_off<T>(call: &mut Call, outcome: Result<T, CutOff>) -> Result<T, Failure> {
    outcome.map_err(|CutOff| call.cut_off())
}

/// Bodies from this size on are read beside the worker, so that no poll of it takes longer than 200 µs.
const ASIDE_FROM_BYTES: usize = 64 << 10;

/// Runs `work` over `bytes` of text: here when that is quick, else on the runtime's helper threads.
pub(crate) async fn aside<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    if bytes < ASIDE_FROM_BYTES {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(undone)
}

/// Work on a helper thread came to nothing. If it panicked, so does this request, and the worker's own handling of that applies; else the
/// runtime is on its way down.
pub(crate) fn undone(error: JoinError) -> Failure {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Failure::draining(),
    }
}

fn note(call: &mut Call, reply: &mut Reply) {
    call.note_usage(reply.usage, reply.missing, reply.reported_cost, reply.tier);
    call.seen.content = reply.content;
    call.seen.completion_tokens_estimate = estimate_tokens(reply.content_bytes);
    call.take_words(std::mem::take(&mut reply.upstream_id), reply.finish, std::mem::take(&mut reply.native_finish));
}

/// Nothing came although it said 200.
pub(crate) fn empty(call: &Call) -> Failure {
    Failure::new(ErrorKind::ProviderUnavailable, format!("{} sent an empty reply", call.provider().name)).word("empty_reply")
}

/// A refusal without a word of its own, where another model may be asked.
pub(crate) fn declined(call: &Call) -> Failure {
    let message = format!("{} declined to answer", call.provider().name);
    Failure::new(ErrorKind::ProviderRejected, message).word("refusal").elsewhere(Elsewhere::Model)
}

/// Tokens of so many bytes of content, for replies without usage: about four bytes each, the usual figure for English.
pub(crate) const fn estimate_tokens(content_bytes: u64) -> u64 {
    content_bytes.div_ceil(estimated_bytes(1))
}

/// Bytes of content of so many tokens.
pub(crate) const fn estimated_bytes(tokens: u64) -> u64 {
    tokens.saturating_mul(4)
}

/// A reply below this size is written out anew around its edits, which is cheaper to send than slices.
const COPY_BELOW_BYTES: usize = 16 << 10;

const UNSPLICED: &str = "its reply cannot be completed";

/// When the whole call has taken too long.
pub(crate) fn total_deadline(call: &Call) -> Instant {
    call.began() + Duration::from_millis(call.snapshot.settings.timeouts.total_ms)
}

/// Reads a reply's body as one piece. `held_bytes` counts what has come; `watch` sees every slice once there is a second, and nothing of a body
/// that comes in one.
///
/// White space keeps the connection alive while the provider works, and is as good as silence for `content_idle`.
async fn read(
    exchange: &mut Exchange,
    most_bytes: u64,
    until: Instant,
    content_idle: Duration,
    held_bytes: &Cell<usize>,
    mut watch: impl FnMut(&[u8]),
) -> Result<Bytes, ExchangeError> {
    let mut content_at = exchange.head_at;
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    let mut unyielded = 0;
    loop {
        let fill = poll_fn(|context| match exchange.poll_fill(context) {
            Poll::Pending => {
                let until = until.min(exchange.silent_at()).min(content_at + content_idle);
                exchange.poll_until(until, context).map(|()| Err(ExchangeError::IdleTimeout))
            }
            ready => ready,
        });
        let piece = match fill.await? {
            Fill::Payload(piece) => piece,
            Fill::End if whole.is_empty() => return Ok(first),
            Fill::End => return Ok(whole.freeze()),
        };
        if (first.len().max(whole.len()) + piece.len()) as u64 > most_bytes {
            return Err(ExchangeError::TooLarge);
        }
        held_bytes.set(held_bytes.get() + piece.len());
        if !piece.trim_ascii_start().is_empty() {
            content_at = exchange.read_at;
        }
        if first.is_empty() {
            first = piece;
            continue;
        }
        if whole.is_empty() {
            watch(&first);
            let announced = exchange.length().unwrap_or(0).min(most_bytes) as usize;
            whole.reserve(announced.max(2 * (first.len() + piece.len())));
            whole.extend_from_slice(&first);
        }
        watch(&piece);
        whole.extend_from_slice(&piece);
        unyielded += piece.len();
        if unyielded > YIELD_AFTER_BYTES {
            unyielded = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// Headers of the provider's reply that clients see whatever comes of it: its request ids. Its quotas are ours, not theirs.
pub(crate) fn pass_headers(exchange: &Exchange, passed: &mut HeaderMap) {
    for (name, value) in exchange.headers() {
        // The length decides for nearly all of them.
        let known = match name.len() {
            10 => "request-id",
            12 => "x-request-id",
            _ => continue,
        };
        if name.eq_ignore_ascii_case(known.as_bytes())
            && let Ok(value) = HeaderValue::from_bytes(value)
        {
            passed.insert(HeaderName::from_static(known), value);
        }
    }
}

/// The coding that a provider compressed its reply with although it was asked for none.
pub(crate) fn unasked_coding(exchange: &Exchange) -> Option<&'static str> {
    let value = exchange.header("content-encoding")?;
    ["gzip", "br", "zstd", "deflate", "compress", "x-gzip"].into_iter().find(|coding| value.eq_ignore_ascii_case(coding.as_bytes()))
}

/// What is told of such a reply.
pub(crate) fn compressed(coding: &str) -> String {
    format!("the provider sent {coding}, which was not asked for")
}

pub(crate) fn is_event_stream(exchange: &Exchange) -> bool {
    exchange
        .header("content-type")
        .is_some_and(|value| value.get(..17).is_some_and(|start| start.eq_ignore_ascii_case(b"text/event-stream")))
}

/// An answer with a status that is no success.
pub(crate) struct Refusal {
    status: u16,
    error: ProviderError,
    hints: Vec<(&'static str, HeaderValue)>,
}

/// How long the body of a refusal is waited for.
const REFUSAL_WAIT: Duration = Duration::from_secs(10);

/// Reads what a provider says to a status that is no success.
pub(crate) async fn read_refusal(mut exchange: Exchange, until: Instant, worker: Rc<Worker>, snapshot: Arc<Snapshot>) -> Refusal {
    let status = exchange.status();
    let (until, nobodys) = (until.min(Instant::now() + REFUSAL_WAIT), Cell::new(0));
    let body = read(&mut exchange, error::MAX_READ_BYTES as u64, until, REFUSAL_WAIT, &nobodys, |_| ()).await.unwrap_or_default();
    // AWS names the class of an error in a header.
    let mut error = match exchange.header("x-amzn-errortype").map(String::from_utf8_lossy) {
        Some(class) => error::read_response_of_class(status, Some(&class), &body),
        None => error::read_response(status, &body),
    };
    let hints = retry_hints(&exchange, &body);
    if let (Told::WithoutWords, Some(coding)) = (error.told, unasked_coding(&exchange)) {
        error.message = format!("the provider answered {status} and sent {coding}, which was not asked for");
    }
    exchange.release(&worker.upstream, snapshot.settings.limits.pool_idle);
    Refusal { status, error, hints }
}

/// What the caller is told of a refusal depends on whose fault it is.
pub(crate) fn refused(call: &Call, refusal: Refusal) -> Failure {
    let mut failure = reported(call, &refusal.error).word("provider_status");
    failure.hints = refusal.hints;
    if refusal.status == 404 && failure.elsewhere == Elsewhere::Key {
        // It is our name for the model, and no key makes it right.
        failure.elsewhere = Elsewhere::Endpoint;
    }
    // The caller's own mistake keeps the provider's status (400, 413, 422 …); ours and the provider's have the table's.
    if failure.kind.row().fault == Fault::Caller {
        failure.status = Some(refusal.status);
    }
    failure
}

/// What a provider says of asking again, as far as it makes sense: times that can be read, within a day, in the forms that every client knows.
fn retry_hints(exchange: &Exchange, body: &[u8]) -> Vec<(&'static str, HeaderValue)> {
    let text = |name| exchange.header(name).and_then(|value| std::str::from_utf8(value).ok());
    let wait_ms = |name| hinted_ms(name, text(name)?, unix_ms());
    let mut hints = Vec::new();
    if let Some(wait_ms) = wait_ms("retry-after") {
        hints.push(("retry-after", HeaderValue::from(wait_ms.div_ceil(1000))));
    }
    if let Some(wait_ms) = wait_ms("retry-after-ms") {
        hints.push(("retry-after-ms", HeaderValue::from(wait_ms)));
    }
    // Google says it in the body alone.
    if hints.is_empty()
        && let Some(wait_ms) = error::retry_after_ms(body).filter(|wait_ms| *wait_ms <= LONGEST_HINT_MS)
    {
        hints.push(("retry-after", HeaderValue::from(wait_ms.div_ceil(1000))));
        hints.push(("retry-after-ms", HeaderValue::from(wait_ms)));
    }
    if let Some(word) = text("x-should-retry").and_then(|said| ["true", "false"].into_iter().find(|word| *word == said)) {
        hints.push(("x-should-retry", HeaderValue::from_static(word)));
    }
    hints
}

/// A failure that the provider put into words. They pass to the caller without anything that looks like a credential, and only then cut
/// to length. Where they are about our own account there, the message is ours and theirs stand beside it.
pub(crate) fn reported(call: &Call, error: &ProviderError) -> Failure {
    let provider = call.provider();
    let secrets = provider.exposed_secrets();
    let told = |text: &str, limit: usize| error::shorten(&redact(text, &secrets), limit);
    let text = told(&error.message, MAX_MESSAGE_BYTES);
    let message = match error.kind {
        ErrorKind::ProviderCredential => {
            format!("{} refused the gateway's own credential, credit or model name; its operator must look at it", provider.name)
        }
        ErrorKind::ProviderRejected => text.clone(),
        _ => format!("{}: {text}", provider.name),
    };
    let mut failure = Failure::new(error.kind, message).word("provider_error");
    if error.is_of_this_model() {
        failure.elsewhere = Elsewhere::Model;
    }
    failure.raw = (error.told == Told::ByProvider).then_some(text);
    failure.code = (!error.code.is_empty()).then(|| told(&error.code, MAX_CODE_BYTES));
    failure.own = (error.kind == ErrorKind::ProviderRejected).then(|| Box::new(error.own.map(|word| told(word, MAX_CODE_BYTES))));
    failure
}

/// No head came.
pub(crate) fn unreachable(call: &mut Call, error: &ExchangeError) -> Failure {
    call.attempt_failed(error);
    failure_of(call, error)
}

/// The reply broke off or made no sense.
pub(crate) fn broken(call: &Call, error: &ExchangeError) -> Failure {
    failure_of(call, error)
}

fn failure_of(call: &Call, error: &ExchangeError) -> Failure {
    let kind = if error.is_timeout() { ErrorKind::ProviderTimeout } else { ErrorKind::ProviderUnavailable };
    Failure::new(kind, format!("{}: {error}", call.provider().name)).word(error.word())
}

pub(crate) fn garbage(call: &Call, what: &str) -> Failure {
    Failure::new(ErrorKind::ProviderUnavailable, format!("{}: {what}", call.provider().name)).word("garbage")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use std::future::pending;

    fn check(task: tokio::task::JoinHandle<()>, runtime: &tokio::runtime::Runtime) -> ErrorKind {
        undone(runtime.block_on(task).unwrap_err()).kind
    }

    /// Where work over so many bytes is done: on the thread that asks, or another.
    #[test]
    fn only_what_is_quick_is_done_here() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let here = std::thread::current().id();
        for (bytes, is_here) in [(0, true), (ASIDE_FROM_BYTES - 1, true), (ASIDE_FROM_BYTES, false), (32 << 20, false)] {
            let done = runtime.block_on(aside(bytes, || std::thread::current().id())).ok();
            assert_eq!(done.map(|there| there == here), Some(is_here), "{bytes}");
        }
    }

    #[test]
    fn work_that_was_never_done_is_no_panic() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dropped = runtime.spawn(pending());
        dropped.abort();
        assert_eq!(check(dropped, &runtime), ErrorKind::Draining);
    }

    #[test]
    #[should_panic(expected = "its own words")]
    fn a_panic_stays_one() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let panicked = runtime.spawn(async { std::panic::resume_unwind(Box::new("its own words")) });
        check(panicked, &runtime);
    }
}
