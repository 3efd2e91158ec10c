//! A caller's socket: reads into one buffer, writes whole slices, and notices while writing or waiting that the caller has left.

use bytes::{Bytes, BytesMut};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

/// Room for reading a head; most requests fit whole.
const READ_BYTES: usize = 16 * 1024;
/// Bytes of a next request that are taken in while a reply is under way. Beyond it a leaving caller is noticed by writing only.
const MAX_PIPELINED_BYTES: usize = 64 * 1024;
/// An idle connection does not keep a larger buffer.
const MAX_IDLE_BYTES: usize = 1 << 20;
/// How long a refused caller may go on sending before the connection is closed under it.
const LINGER: Duration = Duration::from_secs(2);

/// The caller closed its side, or the connection broke. (A caller that only shuts down its sending side counts as gone,
/// as with other servers of this kind.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// One accepted connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    inbound: BytesMut,
    /// Made once and then moved from deadline to deadline.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, inbound: BytesMut::new(), timer: None }
    }

    /// What has been read and not yet taken.
    pub(crate) fn inbound(&self) -> &[u8] {
        &self.inbound
    }

    /// Takes the first `count` bytes of what has been read (all, if it is less).
    pub(crate) fn take(&mut self, count: usize) -> Bytes {
        self.inbound.split_to(count.min(self.inbound.len())).freeze()
    }

    /// Reads what there is, waiting for at least one byte; `expected_bytes` more are likely to come.
    pub(crate) async fn fill(&mut self, expected_bytes: usize) -> Result<(), Gone> {
        self.inbound.reserve(expected_bytes.max(READ_BYTES));
        match self.stream.read_buf(&mut self.inbound).await {
            Ok(0) | Err(_) => Err(Gone),
            Ok(_) => Ok(()),
        }
    }

    /// Gives back the memory that a large request needed; to be called between requests.
    pub(crate) fn shrink(&mut self) {
        if self.inbound.is_empty() && self.inbound.capacity() > MAX_IDLE_BYTES {
            self.inbound = BytesMut::new();
        }
    }

    /// Writes all of `bytes`, unless the caller leaves first. With `settling`, the counter has gone up by one when the
    /// last byte reaches the socket, and stays so if the write succeeds: the caller may see the end of the reply before
    /// this thread has done another step, and whoever reads the ledger waits for the counter.
    pub(crate) async fn write(&mut self, bytes: &[u8], settling: Option<&AtomicU64>) -> Result<(), Gone> {
        let mut rest = bytes;
        poll_fn(|context| {
            if self.poll_gone(context).is_ready() {
                return Poll::Ready(Err(Gone));
            }
            while !rest.is_empty() {
                settling.map(|count| count.fetch_add(1, Ordering::SeqCst));
                let written = Pin::new(&mut self.stream).poll_write(context, rest);
                let count = if let Poll::Ready(Ok(count)) = written { count } else { 0 };
                rest = rest.get(count..).unwrap_or_default();
                if !rest.is_empty() {
                    settling.map(|count| count.fetch_sub(1, Ordering::SeqCst));
                }
                match written {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(_) if count == 0 => return Poll::Ready(Err(Gone)),
                    Poll::Ready(_) => {}
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Waits for `deadline`, unless the caller leaves first.
    pub(crate) async fn wait_until(&mut self, deadline: Instant) -> Result<(), Gone> {
        let mut timer = self.timer.take().unwrap_or_else(|| Box::pin(sleep_until(deadline)));
        timer.as_mut().reset(deadline);
        let end = poll_fn(|context| match self.poll_gone(context) {
            Poll::Ready(gone) => Poll::Ready(Err(gone)),
            Poll::Pending => timer.as_mut().poll(context).map(Ok),
        })
        .await;
        self.timer = Some(timer);
        end
    }

    /// Waits until the caller has left.
    pub(crate) async fn until_gone(&mut self) -> Gone {
        poll_fn(|context| self.poll_gone(context)).await
    }

    /// Ends the connection with a RST, so that the caller sees an error instead of an end.
    pub(crate) fn reset(self) {
        // A failure leaves an ordinary close: nothing better is possible on a socket that is broken already.
        let _ = self.stream.set_zero_linger();
    }

    /// Ends our side, then reads away for a moment what the caller still sends: closing with unread bytes would be a RST,
    /// which can overtake the reply.
    pub(crate) async fn close_unread(mut self) {
        let drain = async {
            let _ = self.stream.shutdown().await;
            while !matches!(self.stream.read_buf(&mut self.inbound).await, Ok(0) | Err(_)) {
                self.inbound.clear();
            }
        };
        let _ = timeout(LINGER, drain).await;
    }

    /// Ready when the caller has left. Whatever else it sends is kept for the next request.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<Gone> {
        while self.inbound.len() < MAX_PIPELINED_BYTES {
            self.inbound.reserve(1024);
            let read = pin!(self.stream.read_buf(&mut self.inbound));
            match ready!(read.poll(context)) {
                Ok(0) | Err(_) => return Poll::Ready(Gone),
                Ok(_) => {}
            }
        }
        Poll::Pending
    }
}
