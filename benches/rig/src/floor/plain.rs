//! The upstream side by hyper's client: the usual way to write such a gateway.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::{Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::pieces::Pieces;
use super::{Gateway, IDLE_HYPER, ReplyBody, ReplyError};

/// An upstream connection; its task owns the socket.
pub(super) type Connection = SendRequest<OnePiece>;

/// Sends the request and waits for the reply's head.
pub(super) async fn send(gateway: &Gateway, path: &str, body: Pieces) -> io::Result<Response<ReplyBody>> {
    while let Some(mut idle) = IDLE_HYPER.with_borrow_mut(Vec::pop) {
        if idle.ready().await.is_err() {
            continue;
        }
        // The upstream may have closed an idle connection: one more try, on a new one.
        if let Ok(reply) = exchange(gateway, idle, path, body.clone()).await {
            return Ok(reply);
        }
        break;
    }
    let stream = TcpStream::connect(gateway.upstream).await?;
    stream.set_nodelay(true)?;
    let (connection, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Its errors reach the request that waits for a reply.
    tokio::spawn(async move { drop(driver.await) });
    exchange(gateway, connection, path, body).await
}

async fn exchange(gateway: &Gateway, mut connection: Connection, path: &str, body: Pieces) -> io::Result<Response<ReplyBody>> {
    let request = Request::post(path)
        .header(header::HOST, gateway.host.clone())
        .header(header::AUTHORIZATION, gateway.authorization.clone())
        .header(header::CONTENT_TYPE, "application/json")
        .body(OnePiece(Some(body)))
        .map_err(io::Error::other)?;
    let (mut parts, body) = connection.send_request(request).await.map_err(io::Error::other)?.into_parts();
    let mut response = Response::new(());
    *response.status_mut() = parts.status;
    if let Some(value) = parts.headers.remove(header::CONTENT_TYPE) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    let mut reply = Reply { connection: Some(connection), first: None, body };
    // hyper hands the head over before it asks for the body; without waiting here each reply would take two writes.
    reply.first = poll_fn(|context| reply.poll_body(context)).await;
    Ok(response.map(|()| ReplyBody::Hyper(reply)))
}

/// A request body of one frame, which may be many pieces.
pub(super) struct OnePiece(Option<Pieces>);

impl Body for OnePiece {
    type Data = Pieces;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Result<Frame<Pieces>, Self::Error>>> {
        Poll::Ready(self.get_mut().0.take().map(|pieces| Ok(Frame::data(pieces))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |pieces| pieces.remaining() as u64))
    }
}

/// A reply that is still being read. Dropped early, it closes the connection.
pub(super) struct Reply {
    connection: Option<Connection>,
    /// What was read together with the head.
    first: Option<Result<Frame<Bytes>, ReplyError>>,
    body: Incoming,
}

impl Reply {
    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context).map_err(|_error| ReplyError);
        if matches!(frame, Poll::Ready(None)) || matches!(frame, Poll::Ready(Some(Ok(_)))) && self.body.is_end_stream() {
            self.release();
        }
        frame
    }

    /// A connection whose reply is complete serves the next request.
    fn release(&mut self) {
        if let Some(connection) = self.connection.take().filter(|connection| !connection.is_closed()) {
            IDLE_HYPER.with_borrow_mut(|idle| idle.push(connection));
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = ReplyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>> {
        let reply = self.get_mut();
        match reply.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => reply.poll_body(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // What was taken out already still belongs to the length.
        let taken = match &self.first {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len) as u64,
            _ => 0,
        };
        self.body.size_hint().exact().map_or_else(SizeHint::default, |rest| SizeHint::with_exact(taken + rest))
    }
}
