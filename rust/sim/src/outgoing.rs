//! Turns a reply into the writes that were asked for: framing, batches, splits.

use crate::connection::{Connection, Gone};
use crate::script::Split;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Chunked,
    /// The head has told the length.
    Length,
    /// By the end of the connection.
    Close,
}

/// The unsent part of a reply. What one flush sends is one write, unless the reply is to be split.
#[derive(Debug)]
pub(crate) struct Outgoing {
    framing: Framing,
    split: Split,
    /// Bytes of body that have no framing yet.
    payload: Vec<u8>,
    /// Completion tokens among them.
    tokens: u32,
    /// Bytes ready for the socket.
    wire: Vec<u8>,
    /// Where else a write must end.
    cuts: Vec<usize>,
    delivered_tokens: u32,
}

impl Outgoing {
    /// Starts with a head (bytes, up to and with its empty line).
    pub(crate) fn new(head: Vec<u8>, framing: Framing, split: Split) -> Self {
        Self { framing, split, payload: Vec::new(), tokens: 0, wire: head, cuts: Vec::new(), delivered_tokens: 0 }
    }

    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    /// Completion tokens that the socket has taken.
    pub(crate) fn delivered_tokens(&self) -> u32 {
        self.delivered_tokens
    }

    /// Adds bytes of body that carry so many completion tokens.
    pub(crate) fn push(&mut self, payload: &[u8], tokens: u32) {
        self.payload.extend_from_slice(payload);
        self.tokens += tokens;
    }

    /// Writes everything added so far.
    pub(crate) async fn flush(&mut self, connection: &mut Connection) -> Result<(), Gone> {
        self.frame_payload();
        self.write(connection, None).await
    }

    /// Writes the rest and the end of the body; on success `settling` has gone up by one, see [`Connection::write`].
    pub(crate) async fn finish(&mut self, connection: &mut Connection, settling: &AtomicU64) -> Result<(), Gone> {
        self.frame_payload();
        if self.framing == Framing::Chunked {
            self.wire.extend_from_slice(b"0\r\n\r\n");
        }
        if self.wire.is_empty() {
            settling.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        self.write(connection, Some(settling)).await
    }

    /// Writes a part of `payload`, announced as the whole: what a cut connection leaves behind.
    pub(crate) async fn flush_cut(&mut self, connection: &mut Connection, payload: &[u8], bytes: usize) -> Result<(), Gone> {
        self.flush(connection).await?;
        if bytes == 0 {
            return Ok(());
        }
        if self.framing == Framing::Chunked {
            chunk_size(payload.len(), &mut self.wire);
        }
        self.wire.extend_from_slice(payload.get(..bytes).unwrap_or(payload));
        self.write(connection, None).await
    }

    fn frame_payload(&mut self) {
        if self.payload.is_empty() {
            return;
        }
        let piece_bytes = if let Split::Payload(bytes) = self.split { bytes } else { self.payload.len() };
        for piece in self.payload.chunks(piece_bytes) {
            if self.framing == Framing::Chunked {
                chunk_size(piece.len(), &mut self.wire);
                self.wire.extend_from_slice(piece);
                self.wire.extend_from_slice(b"\r\n");
            } else {
                self.wire.extend_from_slice(piece);
            }
            if let Split::Payload(_) = self.split {
                self.cuts.push(self.wire.len());
            }
        }
        self.payload.clear();
    }

    async fn write(&mut self, connection: &mut Connection, settling: Option<&AtomicU64>) -> Result<(), Gone> {
        if self.split == Split::None {
            if !self.wire.is_empty() {
                connection.write(&self.wire, settling).await?;
            }
        } else {
            self.write_split(connection, settling).await?;
        }
        self.wire.clear();
        self.cuts.clear();
        self.delivered_tokens += std::mem::take(&mut self.tokens);
        Ok(())
    }

    async fn write_split(&mut self, connection: &mut Connection, settling: Option<&AtomicU64>) -> Result<(), Gone> {
        let mut start = 0;
        while start < self.wire.len() {
            let end = self.write_end(start);
            let last = if end == self.wire.len() { settling } else { None };
            connection.write(self.wire.get(start..end).unwrap_or_default(), last).await?;
            start = end;
            if start < self.wire.len() {
                // The reader gets a chance to see the piece by itself.
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Where the write that begins at `start` ends.
    fn write_end(&self, start: usize) -> usize {
        match self.split {
            Split::EveryByte => start + 1,
            Split::Payload(_) => {
                let next = self.cuts.partition_point(|&cut| cut <= start);
                self.cuts.get(next).copied().unwrap_or(self.wire.len())
            }
            Split::None => self.wire.len(),
        }
    }
}

fn chunk_size(bytes: usize, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{bytes:x}\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_end_where_the_split_says() {
        let check = |split: Split, framing: Framing, expected: &[&str]| {
            let mut out = Outgoing::new(b"HEAD".to_vec(), framing, split);
            out.push(b"abc", 1);
            out.push(b"de", 1);
            out.frame_payload();
            let mut writes = Vec::new();
            let mut start = 0;
            while start < out.wire.len() {
                let end = out.write_end(start);
                writes.push(String::from_utf8_lossy(&out.wire[start..end]).into_owned());
                start = end;
            }
            assert_eq!(writes, expected, "{split:?} {framing:?}");
        };
        check(Split::None, Framing::Chunked, &["HEAD5\r\nabcde\r\n"]);
        check(Split::Payload(2), Framing::Chunked, &["HEAD2\r\nab\r\n", "2\r\ncd\r\n", "1\r\ne\r\n"]);
        check(Split::Payload(2), Framing::Length, &["HEADab", "cd", "e"]);
        check(Split::EveryByte, Framing::Close, &["H", "E", "A", "D", "a", "b", "c", "d", "e"]);
    }
}
