//! The upstream side by hand: one vectored write for the request, replies passed on as they are read.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::pieces::Pieces;
use super::{Gateway, IDLE_HAND, ReplyBody, ReplyError};
use crate::wire;

/// Room for one read, in bytes.
const READ_BYTES: usize = 16 * 1024;
/// Largest response head, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// An upstream connection and what was read from it ahead.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    unread: BytesMut,
}

/// Sends the request and waits for the reply's head.
pub(super) async fn send(gateway: &Gateway, path: &str, body: Pieces) -> io::Result<Response<ReplyBody>> {
    let mut request = body;
    let head = request_head(gateway, path, request.remaining());
    request.push_front(head);
    if let Some(idle) = IDLE_HAND.with_borrow_mut(Vec::pop) {
        // The upstream may have closed an idle connection: one more try, on a new one.
        if let Ok(reply) = exchange(idle, request.clone()).await {
            return Ok(reply);
        }
    }
    let stream = TcpStream::connect(gateway.upstream).await?;
    stream.set_nodelay(true)?;
    exchange(Connection { stream, unread: BytesMut::new() }, request).await
}

fn request_head(gateway: &Gateway, path: &str, length: usize) -> Bytes {
    let mut head = Vec::with_capacity(256);
    for part in [
        b"POST ",
        path.as_bytes(),
        b" HTTP/1.1\r\nhost: ",
        gateway.host.as_bytes(),
        b"\r\nauthorization: ",
        gateway.authorization.as_bytes(),
        b"\r\ncontent-type: application/json\r\ncontent-length: ",
        length.to_string().as_bytes(),
        b"\r\n\r\n",
    ] {
        head.extend_from_slice(part);
    }
    Bytes::from(head)
}

async fn exchange(mut connection: Connection, mut request: Pieces) -> io::Result<Response<ReplyBody>> {
    connection.stream.write_all_buf(&mut request).await?;
    let head = loop {
        connection.unread.reserve(READ_BYTES);
        if connection.stream.read_buf(&mut connection.unread).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match wire::parse_head(&connection.unread).map_err(invalid)? {
            Some(head) => break head,
            None if connection.unread.len() > MAX_HEAD_BYTES => return Err(invalid("the response head is too large")),
            None => {}
        }
    };
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status).map_err(invalid)?;
    if let Some(range) = head.content_type {
        let value = HeaderValue::from_bytes(&connection.unread[range]).map_err(invalid)?;
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    connection.unread.advance(head.len);
    let mut reply = Reply { connection: Some(connection), decoder: wire::Body::new(head.framing), keep_alive: head.keep_alive };
    reply.release_if_done();
    Ok(response.map(|()| ReplyBody::Hand(reply)))
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// A reply that is still being read. Dropped early, it closes the connection.
#[derive(Debug)]
pub(super) struct Reply {
    connection: Option<Connection>,
    decoder: wire::Body,
    keep_alive: bool,
}

impl Reply {
    /// The next payload among what was read already.
    fn decoded(&mut self) -> Result<Option<Bytes>, ReplyError> {
        let Some(connection) = &mut self.connection else { return Ok(None) };
        let step = self.decoder.step(&connection.unread).map_err(|_error| ReplyError)?;
        let mut taken = connection.unread.split_to(step.consumed);
        taken.truncate(step.payload.end);
        taken.advance(step.payload.start);
        self.release_if_done();
        Ok((!taken.is_empty()).then(|| taken.freeze()))
    }

    /// A connection whose reply is complete serves the next request.
    fn release_if_done(&mut self) {
        if !self.decoder.is_done() {
            return;
        }
        let Some(connection) = self.connection.take() else { return };
        if self.keep_alive && connection.unread.is_empty() {
            IDLE_HAND.with_borrow_mut(|idle| idle.push(connection));
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = ReplyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>> {
        let reply = self.get_mut();
        loop {
            if let Some(data) = reply.decoded()? {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            let Some(connection) = &mut reply.connection else { return Poll::Ready(None) };
            connection.unread.reserve(READ_BYTES);
            let read = pin!(connection.stream.read_buf(&mut connection.unread));
            let count = ready!(std::future::Future::poll(read, context)).map_err(|_error| ReplyError)?;
            if count == 0 {
                reply.decoder.finish().map_err(|_error| ReplyError)?;
                reply.release_if_done();
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.decoder.is_done()
    }

    fn size_hint(&self) -> SizeHint {
        self.decoder.announced().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
