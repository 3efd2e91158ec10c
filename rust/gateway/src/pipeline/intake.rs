//! The request body: read as it comes, scanned once, never copied. What is wrong with it is told after it has been taken off the
//! wire, so that the answer reaches a client that is still sending.

use super::failure::Failure;
use super::head::Head;
use super::preset::Said;
use crate::upstream::Deadline;
use crate::worker::Worker;
use bytes::{Bytes, BytesMut};
use fairlead_formats::request::{Facts, RequestScan};
use fairlead_ir::ErrorKind;
use fairlead_snapshot::{Limits, Settings, Timeouts};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// A request body on its way in.
pub(crate) enum Arriving {
    /// From a client's connection.
    Wire(Incoming),
    /// From this process, whole.
    Whole(Bytes),
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Arriving::Wire(incoming) => Pin::new(incoming).poll_frame(context),
            Arriving::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Arriving::Wire(incoming) => incoming.size_hint(),
            Arriving::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

/// A request body and what routing needs of it.
#[derive(Clone)]
pub(crate) struct Intake {
    pub(crate) frames: Vec<Bytes>,
    pub(crate) bytes: u64,
    pub(crate) facts: Facts,
    /// How long we waited for the client to send it.
    pub(crate) waited: Duration,
    /// How long it stood in line.
    pub(crate) queued: Duration,
    /// Of a body that presets said something for.
    pub(crate) said: Option<Box<Said>>,
}

/// After this much of a body the worker's other connections get their turn: scanning it takes less than 100 µs.
pub(crate) const YIELD_AFTER_BYTES: usize = 256 << 10;

/// Reads the body of an inference request, and checks it with `scan`. One without a conversation may be of another dialect, where `otherwise`
/// finds one in it.
pub(crate) async fn read(
    worker: &Worker,
    head: &Head<'_>,
    body: Arriving,
    mut scan: RequestScan,
    otherwise: Option<Box<RequestScan>>,
    settings: &Settings,
    began: Instant,
) -> Result<Intake, Failure> {
    let mut reader = Reader::new(worker, body, began, &settings.timeouts, &settings.limits);
    if reader.body.size_hint().exact().is_some_and(|bytes| bytes > settings.limits.body_bytes) {
        if !head.expects {
            reader.discard().await;
        }
        return Err(too_large(settings.limits.body_bytes));
    }
    let mut frames = Frames::default();
    let mut unyielded = 0;
    let scanned = loop {
        let frame = match reader.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => break scan.finish(frames.end()).map_err(refused),
            Err(failure) => return Err(failure),
        };
        if let Err(refusal) = scan.feed(&frame) {
            break Err(refused(refusal));
        }
        unyielded += frame.len().max(FRAME_COST_BYTES);
        frames.push(frame);
        if unyielded > YIELD_AFTER_BYTES {
            unyielded = 0;
            tokio::task::yield_now().await;
        }
    };
    let scanned = match (scanned, otherwise) {
        (Err(failure), Some(other)) => Box::pin(rescan(*other, &frames.done, failure)).await,
        (scanned, _) => scanned,
    };
    match scanned {
        Ok(facts) => {
            Ok(Intake { frames: frames.done, bytes: reader.bytes, facts, waited: reader.waited, queued: Duration::ZERO, said: None })
        }
        Err(failure) => {
            reader.discard().await;
            Err(failure)
        }
    }
}

/// What a body that came whole says in another dialect, if it holds a conversation there. Where it is nothing in either, and only the
/// conversation is missing in the first, `failure`, what is wrong in the other one is told.
async fn rescan(mut scan: RequestScan, frames: &[Bytes], failure: Failure) -> Result<Facts, Failure> {
    for frame in frames {
        for piece in frame.chunks(YIELD_AFTER_BYTES) {
            if scan.feed(piece).is_err() {
                return Err(failure);
            }
            tokio::task::yield_now().await;
        }
    }
    match scan.finish(frames) {
        Ok(facts) if !facts.messages_range.is_empty() => Ok(facts),
        Err(refusal) if failure.param.as_deref() == Some("messages") => Err(refused(refusal)),
        Ok(_) | Err(_) => Err(failure),
    }
}

/// Takes a body off the wire that nobody wants, so that a client that is still sending reads the refusal.
pub(crate) async fn discard(worker: &Worker, body: Arriving, began: Instant, settings: &Settings) {
    Reader::new(worker, body, began, &settings.timeouts, &settings.limits).discard().await;
}

/// Reads a small body whole, for requests that are only forwarded.
pub(crate) async fn read_small(
    worker: &Worker,
    body: Arriving,
    began: Instant,
    settings: &Settings,
    most_bytes: u64,
) -> Result<Vec<Bytes>, Failure> {
    let limits = Limits { body_bytes: most_bytes, ..settings.limits.clone() };
    let mut reader = Reader::new(worker, body, began, &settings.timeouts, &limits);
    let mut frames = Frames::default();
    while let Some(frame) = reader.next().await? {
        frames.push(frame);
    }
    frames.end();
    Ok(frames.done)
}

/// A body's frames as they came, but for tiny ones: keeping each would cost many times their bytes.
#[derive(Default)]
struct Frames {
    done: Vec<Bytes>,
    joined: BytesMut,
}

/// Shorter frames are joined, unless they are the first.
const JOIN_BELOW_BYTES: usize = 2 << 10;

/// What a frame costs however short it is, in terms of bytes scanned.
const FRAME_COST_BYTES: usize = 1 << 10;

impl Frames {
    fn push(&mut self, frame: Bytes) {
        if frame.len() < JOIN_BELOW_BYTES && !self.done.is_empty() {
            return self.joined.extend_from_slice(&frame);
        }
        self.end();
        self.done.push(frame);
    }

    /// All of them, once there are no more.
    fn end(&mut self) -> &[Bytes] {
        if !self.joined.is_empty() {
            self.done.push(self.joined.split().freeze());
        }
        &self.done
    }
}

/// The body's framing is wrong, or its end is missing.
fn broken(error: &hyper::Error) -> Failure {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    let message = match cause {
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => "the body's chunked coding is malformed",
        _ => "the body ended before it was complete",
    };
    Failure::new(ErrorKind::InvalidRequest, message).closing()
}

fn refused(refusal: fairlead_formats::request::Refusal) -> Failure {
    Failure::new(refusal.kind, refusal.message).param(refusal.param)
}

fn too_large(most_bytes: u64) -> Failure {
    Failure::new(ErrorKind::PayloadTooLarge, format!("the body is larger than the {most_bytes} bytes allowed")).closing()
}

/// A body being read under its limits.
struct Reader<'a> {
    worker: &'a Worker,
    body: Arriving,
    bytes: u64,
    most_bytes: u64,
    began: Instant,
    grace: Duration,
    bytes_per_second: u64,
    deadline: Option<Deadline>,
    waited: Duration,
}

impl Reader<'_> {
    fn new<'a>(worker: &'a Worker, body: Arriving, began: Instant, timeouts: &Timeouts, limits: &Limits) -> Reader<'a> {
        Reader {
            worker,
            body,
            bytes: 0,
            most_bytes: limits.body_bytes,
            began,
            grace: Duration::from_millis(timeouts.body_grace_ms),
            bytes_per_second: limits.body_bytes_per_second.max(1),
            deadline: None,
            waited: Duration::ZERO,
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let mut waiting_since = None;
        let frame = poll_fn(|context| self.poll_next(&mut waiting_since, context)).await;
        if let Some(since) = waiting_since {
            self.waited += Instant::now().duration_since(since);
        }
        let frame = frame?;
        self.bytes += frame.as_ref().map_or(0, |frame| frame.len() as u64);
        if self.bytes > self.most_bytes {
            self.discard().await;
            return Err(too_large(self.most_bytes));
        }
        Ok(frame)
    }

    fn poll_next(&mut self, waiting_since: &mut Option<Instant>, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Failure>> {
        loop {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers mean nothing here.
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Ok(Some(data)));
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(&error))),
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Pending if self.worker.shared.stopping() => return Poll::Ready(Err(Failure::draining().closing())),
                Poll::Pending => {
                    waiting_since.get_or_insert_with(Instant::now);
                    let until =
                        self.began + self.grace + Duration::from_micros(self.bytes.saturating_mul(1_000_000) / self.bytes_per_second);
                    let deadline = self.deadline.get_or_insert_with(|| Deadline::at(until));
                    deadline.set(until);
                    return deadline
                        .poll(context)
                        .map(|()| Err(Failure::new(ErrorKind::RequestTimeout, "the body came too slowly").closing()));
                }
            }
        }
    }

    /// Takes the rest off the wire so that the refusal is read: up to as much again as is allowed, for no longer than the grace, and not
    /// beyond a stop of the process.
    async fn discard(&mut self) {
        let until = Instant::now() + self.grace;
        let most_bytes = self.bytes.saturating_add(self.most_bytes.saturating_mul(2));
        let mut deadline = Deadline::at(until);
        poll_fn(|context| {
            while let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
                let Some(Ok(frame)) = frame else {
                    return Poll::Ready(());
                };
                self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                if self.bytes > most_bytes {
                    return Poll::Ready(());
                }
            }
            if self.worker.shared.stopping() {
                return Poll::Ready(());
            }
            deadline.poll(context)
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiny_frames_are_joined_in_their_order() {
        let mut frames = Frames::default();
        let large = vec![b'x'; JOIN_BELOW_BYTES];
        for frame in [b"{".as_slice(), b"a", b"b", &large, b"c", &large, b"d", b"e"] {
            frames.push(Bytes::copy_from_slice(frame));
        }
        let lengths: Vec<usize> = frames.end().iter().map(Bytes::len).collect();
        assert_eq!(lengths, [1, 2, large.len(), 1, large.len(), 2]);
        assert_eq!(frames.done.concat(), [b"{ab".as_slice(), &large, b"c", &large, b"de"].concat());
    }
}
