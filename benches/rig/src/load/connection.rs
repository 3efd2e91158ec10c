//! One keep-alive connection: a request out in one write, the reply's payload into the checker as it is read.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::check::Checker;
use crate::wire::{self, Head};

/// Room for one read, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// When a request started and ended, and how many bytes came back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timings {
    /// When it should have been sent.
    pub(super) intended: Instant,
    /// When it was sent.
    pub(super) sent: Instant,
    /// When its reply was complete.
    pub(super) finished: Instant,
    /// Bytes read.
    pub(super) bytes: u64,
}

/// A connection to the target.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) target: SocketAddr,
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
    reusable: bool,
}

impl Connection {
    pub(super) async fn open(target: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        Ok(Self { target, stream, buffer: vec![0; BUFFER_BYTES], filled: 0, reusable: true })
    }

    /// Whether the last reply allows another request here.
    pub(super) fn is_reusable(&self) -> bool {
        self.reusable
    }

    /// Sends a request and reads its reply to the end. An error is a sentence for the report.
    pub(super) async fn exchange(&mut self, request: &[u8], checker: &mut Checker) -> Result<Timings, String> {
        let mut reading = self.begin(request, checker).await?;
        while !reading.body.is_done() {
            self.more(&mut reading, checker).await?;
        }
        if self.filled != 0 {
            return Err(format!("{} bytes follow the end of the reply", self.filled));
        }
        let finished = Instant::now();
        checker.finish()?;
        self.reusable = reading.keep_alive;
        Ok(Timings { intended: reading.sent, sent: reading.sent, finished, bytes: reading.bytes })
    }

    /// Sends a request and returns at the first content; the stream stays open.
    pub(super) async fn open_stream(&mut self, request: &[u8], checker: &mut Checker) -> Result<Timings, String> {
        let mut reading = self.begin(request, checker).await?;
        while checker.first_content_at().is_none() {
            if reading.body.is_done() {
                return Err("the stream ended before its first content".to_owned());
            }
            self.more(&mut reading, checker).await?;
        }
        Ok(Timings { intended: reading.sent, sent: reading.sent, finished: Instant::now(), bytes: reading.bytes })
    }

    /// Sends the request, reads the head and whatever payload came with it.
    async fn begin(&mut self, request: &[u8], checker: &mut Checker) -> Result<Reading, String> {
        self.reusable = false;
        let sent = Instant::now();
        self.stream.write_all(request).await.map_err(|error| format!("write: {error}"))?;
        let mut bytes = 0;
        let head = loop {
            bytes += self.read().await?;
            if self.filled == 0 || bytes == 0 {
                return Err("the connection closed before a reply".to_owned());
            }
            if let Some(head) = wire::parse_head(&self.buffer[..self.filled]).map_err(|error| error.to_string())? {
                break head;
            }
            if self.filled == self.buffer.len() {
                return Err("the response head is too large".to_owned());
            }
        };
        self.check_head(&head, checker)?;
        self.drop_front(head.len);
        let body = wire::Body::new(head.framing);
        let mut reading = Reading { body, sent, bytes, keep_alive: head.keep_alive };
        self.decode(&mut reading, checker)?;
        Ok(reading)
    }

    fn check_head(&self, head: &Head, checker: &mut Checker) -> Result<(), String> {
        let content_type = head.content_type.clone().map_or(&[][..], |range| &self.buffer[range]);
        checker.head(head.status, content_type).map_err(|failure| {
            let body = String::from_utf8_lossy(&self.buffer[head.len..self.filled.min(head.len + 300)]);
            format!("{failure}: {body}")
        })
    }

    async fn more(&mut self, reading: &mut Reading, checker: &mut Checker) -> Result<(), String> {
        let count = self.read().await?;
        if count == 0 {
            return reading.body.finish().map_err(|error| error.to_string());
        }
        reading.bytes += count;
        self.decode(reading, checker)
    }

    async fn read(&mut self) -> Result<u64, String> {
        let count = self.stream.read(&mut self.buffer[self.filled..]).await.map_err(|error| format!("read: {error}"))?;
        self.filled += count;
        Ok(count as u64)
    }

    /// Gives the checker all payload that was read; bytes of unfinished framing stay.
    fn decode(&mut self, reading: &mut Reading, checker: &mut Checker) -> Result<(), String> {
        let now = Instant::now();
        let mut at = 0;
        while !reading.body.is_done() {
            let step = reading.body.step(&self.buffer[at..self.filled]).map_err(|error| error.to_string())?;
            if step.consumed == 0 {
                break;
            }
            checker.payload(&self.buffer[at..][step.payload], now)?;
            at += step.consumed;
        }
        self.drop_front(at);
        Ok(())
    }

    fn drop_front(&mut self, count: usize) {
        self.buffer.copy_within(count..self.filled, 0);
        self.filled -= count;
    }
}

/// A reply that is being read.
struct Reading {
    body: wire::Body,
    sent: Instant,
    bytes: u64,
    keep_alive: bool,
}
