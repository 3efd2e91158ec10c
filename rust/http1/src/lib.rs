//! HTTP/1.1 towards providers: writes request heads, reads response heads and bodies.
//!
//! The crate decides what bytes mean and nothing else. It opens no socket, reads no clock and, once a [`Head`] has
//! grown its header list, allocates nothing: [`Head::parse`] and [`Body::step`] hand back ranges of the caller's buffer.
//! The caller owns that buffer, the timeouts and the connection pool.
//!
//! One exchange looks like this:
//!
//! 1. [`RequestHead`] appends the request head to a buffer; the caller writes it and the body.
//! 2. [`Head::parse`] is called on all bytes received so far until it says [`Parsed::Complete`]. A [`Parsed::Interim`]
//!    head (100, 103 …) is dropped by the caller, who also bounds how many of them it accepts.
//! 3. [`Body::step`] is called on what follows the head until [`Body::is_done`]. When the peer closes first,
//!    [`Body::finish`] tells a complete reply from a truncated one.
//! 4. The connection may be used again only if [`Head::keep_alive`] holds, the body is done, the request was written in
//!    full, and **no byte is left over** behind the body.
//!
//! The reading side follows RFC 9112 and takes the strict branch wherever the RFC leaves one, because a response that
//! two parsers read differently puts one caller's reply into another's connection. It is lenient in two places that
//! cannot be read two ways: the space behind the status code may be missing when there is no reason phrase, and bytes
//! from 0x80 up may stand in field values and reason phrases.
//!
//! Deliberately absent: a server side, upgrades (101 is an error), content codings, trailer values (checked, then
//! dropped), chunked request bodies (the gateway always knows the length).

#![forbid(unsafe_code)]

mod body;
mod error;
mod head;
mod request;
mod syntax;

pub use body::{Body, Step};
pub use error::Error;
pub use head::{Framing, Head, Parsed};
pub use request::RequestHead;

/// Bounds on what a peer may make us hold or read through, each in the unit of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest response head, from the first byte of the status line to the end of the blank line.
    pub head_bytes: usize,
    /// Most header fields in one head.
    pub headers: usize,
    /// Longest chunk-size line with its extensions, without CRLF. The extensions of one body may together take at
    /// most four times as much, so that a peer cannot wrap every byte of payload into kilobytes of nothing.
    pub chunk_line_bytes: usize,
    /// Longest trailer section, CRLFs included.
    pub trailer_bytes: usize,
}

impl Default for Limits {
    /// 32 KiB head, 100 headers, 4 KiB chunk line, 8 KiB trailers.
    fn default() -> Self {
        Self { head_bytes: 32 * 1024, headers: 100, chunk_line_bytes: 4 * 1024, trailer_bytes: 8 * 1024 }
    }
}
