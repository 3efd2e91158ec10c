//! One reply on its way to the caller: timing, frames, faults, and the counting of all that.

use crate::Shared;
use crate::connection::{Connection, Gone};
use crate::ledger::Outcome;
use crate::outgoing::{Framing, Outgoing};
use crate::reply::{Frames, Refusal, Reply, StreamWriter, headers, push};
use crate::request::Head;
use crate::script::{AfterReply, BadFraming, CutBy, ExtraFrame, Fault, Script};
use crate::tally::Tally;
use serde_json::Value;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

const GARBAGE: &[u8] = b"data: {\"garbage\":\"\xff\xfe\x00 <html><body>502 Bad Gateway</body></html>\n\n";

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Keep,
    Close,
    /// By RST.
    Reset,
    /// The caller may still be sending.
    CloseUnread,
}

/// Sends a small JSON reply with a known length. With a tally, the reply is the end of that request.
pub(crate) async fn respond(
    connection: &mut Connection,
    status: u16,
    headers: &[(&str, String)],
    body: &[u8],
    close: bool,
    tally: Option<&mut Tally<'_>>,
) -> After {
    let mut head = Vec::with_capacity(512 + body.len());
    push_status(status, &mut head);
    push_headers("application/json", headers, &mut head);
    end_head(Framing::Length, body.len(), close, &mut head);
    head.extend_from_slice(body);
    let sent = match tally {
        Some(tally) => {
            tally.mark_head();
            let sent = connection.write(&head, Some(tally.settling_counter())).await;
            tally.settling = sent.is_ok();
            sent
        }
        None => connection.write(&head, None).await,
    };
    if sent.is_err() || close { After::Close } else { After::Keep }
}

/// A valid request that gets its reply.
pub(crate) struct Exchange<'e> {
    connection: &'e mut Connection,
    shared: &'e Shared,
    reply: &'e Reply<'e>,
    script: &'e Script,
    request_id: &'e str,
    http_1_1: bool,
    /// The caller's wish.
    close: bool,
}

impl<'e> Exchange<'e> {
    pub(crate) fn new(connection: &'e mut Connection, shared: &'e Shared, reply: &'e Reply<'e>, head: &Head, request_id: &'e str) -> Self {
        Self { connection, shared, reply, script: reply.script, request_id, http_1_1: head.http_1_1, close: head.close }
    }

    /// Sends the reply, or what the script wants instead, and notes in `tally` what happened.
    pub(crate) async fn run(mut self, stream: bool, tally: &mut Tally<'_>) -> After {
        let fault = self.script.fault.as_ref();
        tally.record.fault = fault.map(Fault::name);
        let end = match fault {
            Some(fault) if fault.after_frames().is_none() => self.fault_instead(fault, stream, tally).await,
            _ if stream => self.stream(tally).await,
            fault => self.unary(fault, tally).await,
        };
        end.unwrap_or_else(|Gone| {
            tally.record.outcome = Outcome::ClientGone;
            After::Close
        })
    }

    async fn unary(&mut self, fault: Option<&Fault>, tally: &mut Tally<'_>) -> Result<After, Gone> {
        self.produce(tally).await?;
        let mut body = match fault {
            Some(Fault::ErrorEvent { .. }) => self.reply.error_event(0, &mut Frames::new(self.reply.line_ending())).into_bytes(),
            Some(Fault::Garbage { .. }) => GARBAGE.to_vec(),
            _ => self.reply.unary(),
        };
        // Spaces for ever have no length.
        let endless = matches!(fault, Some(Fault::Comments { .. }));
        let framing = if self.http_1_1 && (endless || self.script.chunked != Some(false)) { Framing::Chunked } else { Framing::Length };
        let head = self.head("application/json", framing, body.len());
        let mut out = Outgoing::new(head, framing, self.script.split);
        tally.mark_head();
        match fault {
            Some(&Fault::Cut { how, after_bytes, .. }) => {
                out.flush_cut(self.connection, &body, after_bytes).await?;
                return Ok(cut(how, tally));
            }
            Some(Fault::Stall { .. }) => {
                out.flush_cut(self.connection, &body, body.len() / 2).await?;
                return Err(self.connection.until_gone().await);
            }
            Some(&Fault::Comments { every_ms, .. }) => return Err(self.repeat(b" ", every_ms, &mut out).await),
            Some(_) => tally.record.outcome = Outcome::Fault,
            None => tally.record.outcome = Outcome::Complete,
        }
        let tokens = if fault.is_none() { tally.record.produced_tokens } else { 0 };
        out.push(&body, tokens);
        body.clear();
        let sent = out.finish(self.connection, tally.settling_counter()).await;
        tally.record.delivered_tokens = out.delivered_tokens();
        sent?;
        tally.settling = true;
        Ok(self.after(framing))
    }

    /// Waits as long as the reply takes to be made. A caller who leaves meanwhile has made us produce a part.
    async fn produce(&mut self, tally: &mut Tally<'_>) -> Result<(), Gone> {
        let plan = self.reply.plan;
        let tokens = plan.completion_tokens();
        let start = Instant::now();
        let waited = self.wait(plan.delay + plan.due(tokens.saturating_sub(1))).await;
        tally.record.produced_tokens = match waited {
            Ok(()) => tokens,
            Err(Gone) => plan.produced_by(start.elapsed().saturating_sub(plan.delay)),
        };
        waited
    }

    async fn stream(&mut self, tally: &mut Tally<'_>) -> Result<After, Gone> {
        self.wait(self.reply.plan.delay).await?;
        let framing = if self.http_1_1 && self.script.chunked != Some(false) { Framing::Chunked } else { Framing::Close };
        let head = self.head(self.reply.stream_type(), framing, 0);
        let mut frames = StreamState {
            out: Outgoing::new(head, framing, self.script.split),
            written: 0,
            batched: 0,
            extras: &self.script.extra_frames,
            fault: self.script.fault.as_ref(),
        };
        tally.mark_head();
        let end = match &self.script.reply_frames {
            Some(scripted) => self.scripted_stream(scripted, &mut frames, tally).await,
            None => self.planned_stream(&mut frames, tally).await,
        };
        tally.record.delivered_tokens = frames.out.delivered_tokens();
        match end? {
            Some(after) => Ok(after),
            None => Ok(self.after(framing)),
        }
    }

    /// Opening, tokens, closing. `Some` if a fault has put an end to it.
    async fn planned_stream(&mut self, state: &mut StreamState<'_>, tally: &mut Tally<'_>) -> Result<Option<After>, Gone> {
        let plan = self.reply.plan;
        let mut writer = StreamWriter::new(self.reply);
        let mut frames = Frames::new(self.reply.line_ending());
        let start = Instant::now();
        writer.opening(&mut frames);
        if let Some(after) = self.emit(&frames, state, false, tally).await? {
            return Ok(Some(after));
        }
        for (position, index) in plan.steps() {
            let Some(segment) = plan.segments.get(position) else { break };
            self.wait_until(start, plan.due(tally.record.produced_tokens)).await?;
            tally.record.produced_tokens += 1;
            frames.clear();
            writer.piece(position, segment, index, &mut frames);
            if let Some(after) = self.emit(&frames, state, false, tally).await? {
                return Ok(Some(after));
            }
        }
        if plan.completion_tokens() == 0 {
            self.wait_until(start, plan.first_token).await?;
        }
        frames.clear();
        writer.closing(&mut frames);
        self.end_stream(&frames, state, tally).await
    }

    /// The script's own frames; the plan's tokens count as produced with the last of them.
    async fn scripted_stream(
        &mut self,
        scripted: &[String],
        state: &mut StreamState<'_>,
        tally: &mut Tally<'_>,
    ) -> Result<Option<After>, Gone> {
        let plan = self.reply.plan;
        let mut frames = Frames::new(self.reply.line_ending());
        let start = Instant::now();
        for (number, raw) in (1_u32..).zip(scripted) {
            self.wait_until(start, plan.due(number - 1)).await?;
            let last = number as usize == scripted.len();
            frames.clear();
            frames.bytes.extend_from_slice(&self.reply.scripted_frame(raw));
            frames.end_raw(if last { plan.completion_tokens() } else { 0 });
            if last {
                tally.record.produced_tokens = plan.completion_tokens();
                break;
            }
            if let Some(after) = self.emit(&frames, state, false, tally).await? {
                return Ok(Some(after));
            }
        }
        self.end_stream(&frames, state, tally).await
    }

    /// The last frames, the end of the body, and what the script has beyond the last frame.
    async fn end_stream(&mut self, frames: &Frames, state: &mut StreamState<'_>, tally: &mut Tally<'_>) -> Result<Option<After>, Gone> {
        if let Some(after) = self.emit(frames, state, true, tally).await? {
            return Ok(Some(after));
        }
        while let Some(extra) = state.next_extra(u64::MAX) {
            state.out.flush(self.connection).await?;
            state.out.push(&self.reply.scripted_frame(extra), 0);
        }
        if state.fault_is_due() {
            return self.strike(&[], state, tally).await.map(Some);
        }
        tally.record.outcome = Outcome::Complete;
        state.out.finish(self.connection, tally.settling_counter()).await?;
        tally.settling = true;
        Ok(None)
    }

    /// Writes `frames`, each by itself or in batches; the last is held back for the end of the body if `hold_last`.
    async fn emit(
        &mut self,
        frames: &Frames,
        state: &mut StreamState<'_>,
        hold_last: bool,
        tally: &mut Tally<'_>,
    ) -> Result<Option<After>, Gone> {
        for index in 0..frames.len() {
            let Some((bytes, tokens)) = frames.get(index) else { break };
            while let Some(extra) = state.next_extra(state.written) {
                state.out.push(&self.reply.scripted_frame(extra), 0);
                state.out.flush(self.connection).await?;
            }
            if state.fault_is_due() {
                return self.strike(bytes, state, tally).await.map(Some);
            }
            state.out.push(bytes, tokens);
            state.written += 1;
            state.batched += 1;
            let held = hold_last && index + 1 == frames.len();
            if !held && state.batched >= self.script.batch {
                state.batched = 0;
                state.out.flush(self.connection).await?;
            }
        }
        Ok(None)
    }

    /// The fault strikes in the stream, before `next_frame`.
    async fn strike(&mut self, next_frame: &[u8], state: &mut StreamState<'_>, tally: &mut Tally<'_>) -> Result<After, Gone> {
        state.out.flush(self.connection).await?;
        let mut last = Vec::new();
        match state.fault {
            Some(&Fault::Cut { how, after_bytes, .. }) => {
                state.out.flush_cut(self.connection, next_frame, after_bytes).await?;
                return Ok(cut(how, tally));
            }
            Some(&Fault::Comments { every_ms, .. }) => {
                let Some(comment) = self.reply.keep_alive() else { return Err(self.connection.until_gone().await) };
                return Err(self.repeat(comment.as_bytes(), every_ms, &mut state.out).await);
            }
            Some(Fault::ErrorEvent { .. }) => {
                let mut frames = Frames::new(self.reply.line_ending());
                self.reply.error_event(state.written, &mut frames);
                last = frames.bytes;
            }
            Some(Fault::Garbage { .. }) => last.extend_from_slice(GARBAGE),
            _ => return Err(self.connection.until_gone().await),
        }
        tally.record.outcome = Outcome::Fault;
        state.out.push(&last, 0);
        state.out.finish(self.connection, tally.settling_counter()).await?;
        tally.settling = true;
        Ok(self.after(state.out.framing()))
    }

    /// Sends `text` again and again, until the caller leaves.
    async fn repeat(&mut self, text: &[u8], every_ms: u32, out: &mut Outgoing) -> Gone {
        loop {
            out.push(text, 0);
            let sent = out.flush(self.connection).await;
            // Never a busy loop: at least a millisecond.
            let waited = self.connection.wait_until(Instant::now() + Duration::from_millis(every_ms.max(1).into())).await;
            if let Err(gone) = sent.and(waited) {
                return gone;
            }
        }
    }

    /// A fault that stands in place of the reply.
    async fn fault_instead(&mut self, fault: &Fault, stream: bool, tally: &mut Tally<'_>) -> Result<After, Gone> {
        // What follows is no 200, and costs nothing if the caller leaves during the delay.
        tally.record.status = 0;
        self.wait(self.reply.plan.delay).await?;
        tally.record.outcome = Outcome::Fault;
        match fault {
            Fault::StallHead {} => Err(self.connection.until_gone().await),
            Fault::Status { status, retry_after, body } => {
                tally.record.status = *status;
                let refusal = Refusal { retry_after: retry_after.clone(), ..Refusal::new(*status, status_message(*status)) };
                let mut headers = self.with_scripted(refusal.headers(self.reply.dialect, self.request_id));
                headers.extend(retry_after.clone().map(|value| ("retry-after", value)));
                let body = match body {
                    Some(Value::String(text)) => text.clone(),
                    Some(value) => value.to_string(),
                    None => refusal.body(self.reply.dialect, self.request_id),
                };
                Ok(respond(self.connection, *status, &headers, body.as_bytes(), self.close, Some(tally)).await)
            }
            Fault::Empty {} => self.empty(stream, tally).await,
            Fault::BadFraming { which } => self.bad_framing(*which, stream, tally).await,
            _ => Ok(After::Close),
        }
    }

    async fn empty(&mut self, stream: bool, tally: &mut Tally<'_>) -> Result<After, Gone> {
        tally.record.status = 200;
        let chunked = self.http_1_1 && self.script.chunked != Some(false);
        let (kind, framing) = match (stream, chunked) {
            (true, true) => (self.reply.stream_type(), Framing::Chunked),
            (true, false) => (self.reply.stream_type(), Framing::Close),
            (false, true) => ("application/json", Framing::Chunked),
            (false, false) => ("application/json", Framing::Length),
        };
        let mut out = Outgoing::new(self.head(kind, framing, 0), framing, self.script.split);
        tally.mark_head();
        out.finish(self.connection, tally.settling_counter()).await?;
        tally.settling = true;
        Ok(self.after(framing))
    }

    async fn bad_framing(&mut self, which: BadFraming, stream: bool, tally: &mut Tally<'_>) -> Result<After, Gone> {
        let (kind, body) =
            if stream { ("text/event-stream", b"data: [DONE]\n\n".to_vec()) } else { ("application/json", self.reply.unary()) };
        let length = body.len();
        let mut wire = Vec::with_capacity(length + 256);
        push_status(200, &mut wire);
        push(&mut wire, format_args!("content-type: {kind}\r\n"));
        match which {
            BadFraming::ClTe => {
                push(&mut wire, format_args!("content-length: {length}\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n"))
            }
            BadFraming::DupCl => push(&mut wire, format_args!("content-length: {length}\r\ncontent-length: {}\r\n\r\n", length + 1)),
            BadFraming::BadChunk => push(&mut wire, format_args!("transfer-encoding: chunked\r\n\r\nzz\r\n")),
            BadFraming::BareLf => {
                push(&mut wire, format_args!("content-length: {length}\r\n\r\n"));
                wire.retain(|&byte| byte != b'\r');
            }
        }
        wire.extend_from_slice(&body);
        if matches!(which, BadFraming::ClTe | BadFraming::BadChunk) {
            wire.extend_from_slice(b"\r\n0\r\n\r\n");
        }
        tally.record.status = 200;
        tally.mark_head();
        self.connection.write(&wire, Some(tally.settling_counter())).await?;
        tally.settling = true;
        Ok(After::Close)
    }

    fn head(&self, kind: &str, framing: Framing, length: usize) -> Vec<u8> {
        let mut head = Vec::with_capacity(1024);
        push_status(200, &mut head);
        push_headers(kind, &self.with_scripted(headers(self.reply.dialect, self.request_id)), &mut head);
        end_head(framing, length, self.announces_close(), &mut head);
        head
    }

    /// The dialect's own headers and the script's, which replace those of the same name.
    fn with_scripted(&self, own: Vec<(&'static str, String)>) -> Vec<(&'e str, String)> {
        let script = self.script;
        let is_scripted = |name: &str| script.headers.keys().any(|key| key.eq_ignore_ascii_case(name));
        let own = own.into_iter().filter(|(name, _)| !is_scripted(name));
        own.chain(script.headers.iter().map(|(name, value)| (&**name, value.clone()))).collect()
    }

    fn announces_close(&self) -> bool {
        self.close || self.script.connection == AfterReply::Close || self.shared.stopping.load(Ordering::SeqCst)
    }

    /// What becomes of the connection after a message with a proper end.
    fn after(&self, framing: Framing) -> After {
        let keep = !self.announces_close() && self.script.connection == AfterReply::Keep && framing != Framing::Close;
        if keep { After::Keep } else { After::Close }
    }

    async fn wait(&mut self, time: Duration) -> Result<(), Gone> {
        if time.is_zero() { Ok(()) } else { self.connection.wait_until(Instant::now() + time).await }
    }

    /// Waits until `due` after `start`; deadlines instead of pauses, so that a slow write does not shift all that follows.
    async fn wait_until(&mut self, start: Instant, due: Duration) -> Result<(), Gone> {
        if due.is_zero() { Ok(()) } else { self.connection.wait_until(start + due).await }
    }
}

/// Where a stream stands.
struct StreamState<'s> {
    out: Outgoing,
    /// The stream's own frames so far, those held back included.
    written: u64,
    batched: u32,
    /// Those still to come.
    extras: &'s [ExtraFrame],
    fault: Option<&'s Fault>,
}

impl<'s> StreamState<'s> {
    /// The next extra frame, if its place is at or before frame number `written`.
    fn next_extra(&mut self, written: u64) -> Option<&'s str> {
        let (next, rest) = self.extras.split_first()?;
        (next.after_frames() <= written).then(|| {
            self.extras = rest;
            next.raw()
        })
    }

    fn fault_is_due(&self) -> bool {
        self.fault.and_then(Fault::after_frames) == Some(self.written)
    }
}

fn cut(how: CutBy, tally: &mut Tally<'_>) -> After {
    tally.record.outcome = Outcome::Cut;
    match how {
        CutBy::Fin => After::Close,
        CutBy::Rst => After::Reset,
    }
}

/// The type, unless it is among the headers, and the headers.
fn push_headers(kind: &str, headers: &[(&str, String)], head: &mut Vec<u8>) {
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        push(head, format_args!("content-type: {kind}\r\n"));
    }
    for (name, value) in headers {
        push(head, format_args!("{name}: {value}\r\n"));
    }
}

fn push_status(status: u16, head: &mut Vec<u8>) {
    push(head, format_args!("HTTP/1.1 {status} {}\r\n", reason(status)));
}

fn end_head(framing: Framing, length: usize, close: bool, head: &mut Vec<u8>) {
    if close || framing == Framing::Close {
        push(head, format_args!("connection: close\r\n"));
    }
    match framing {
        Framing::Chunked => push(head, format_args!("transfer-encoding: chunked\r\n\r\n")),
        Framing::Length => push(head, format_args!("content-length: {length}\r\n\r\n")),
        Framing::Close => push(head, format_args!("\r\n")),
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        529 => "Overloaded",
        _ => "Error",
    }
}

fn status_message(status: u16) -> &'static str {
    match status {
        429 => "Rate limit reached for requests. Please try again later.",
        503 | 529 => "The engine is currently overloaded, please try again later.",
        _ => "The simulator was told to fail.",
    }
}
