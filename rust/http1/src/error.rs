//! Everything that can be wrong, with its stable name and its sentence side by side.

use core::fmt;

/// Why a message was refused. Those named `Request…` are the caller's own mistake and nothing was written; all others
/// are the peer's, and its connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Error {
    /// The first bytes are not `HTTP/`.
    NotHttp,
    /// A version other than 1.0 and 1.1.
    Version,
    /// The status line has not the form `HTTP/1.x NNN reason`, or its code is below 100.
    StatusLine,
    /// 101: we never ask for another protocol.
    SwitchingProtocols,
    /// A line ends with LF alone.
    BareLineFeed,
    /// A header line starts with a space or tab (obsolete folding).
    FoldedHeader,
    /// A header name is empty, not a token, or not directly followed by a colon.
    HeaderName,
    /// A header value contains NUL, CR or another control byte.
    HeaderValue,
    /// The head is longer than [`Limits::head_bytes`](crate::Limits::head_bytes).
    HeadTooLarge,
    /// More header fields than [`Limits::headers`](crate::Limits::headers).
    TooManyHeaders,
    /// Content-Length is not a plain decimal number that fits 64 bits.
    ContentLength,
    /// Content-Length stands more than once, be it with the same value.
    RepeatedContentLength,
    /// Transfer-Encoding is repeated or something else than exactly `chunked`.
    TransferEncoding,
    /// Transfer-Encoding in an HTTP/1.0 response.
    TransferEncodingInHttp10,
    /// Content-Length and Transfer-Encoding together.
    LengthAndTransferEncoding,
    /// A 1xx head that announces a body.
    InterimWithBody,
    /// A chunk size is not plain hexadecimal, or does not fit 64 bits.
    ChunkSize,
    /// A chunk-size line is longer than [`Limits::chunk_line_bytes`](crate::Limits::chunk_line_bytes).
    ChunkLineTooLong,
    /// A chunk extension contains a control byte, or all of them together are too long.
    ChunkExtension,
    /// Chunk data or a chunk-size line is not followed by CRLF.
    ChunkEnd,
    /// A trailer field is malformed or not ended by CRLF.
    Trailer,
    /// The trailer section is longer than [`Limits::trailer_bytes`](crate::Limits::trailer_bytes).
    TrailerTooLarge,
    /// The peer closed before the body was complete.
    Truncated,
    /// The request method is not a token.
    RequestMethod,
    /// The request target does not start with `/`, or contains a space, control, `#` or non-ASCII byte.
    RequestTarget,
    /// The host is empty or contains a byte that no host and port contains.
    RequestHost,
    /// A request header name is not a token, or is one that only the writer itself may write.
    RequestHeaderName,
    /// A request header value contains NUL, CR, LF or another control byte.
    RequestHeaderValue,
}

impl Error {
    /// A short name that never changes, for metrics, logs and tests.
    pub fn kind(self) -> &'static str {
        self.kind_and_text().0
    }

    fn kind_and_text(self) -> (&'static str, &'static str) {
        match self {
            Self::NotHttp => ("not_http", "the reply does not start with HTTP/"),
            Self::Version => ("version", "the reply's HTTP version is neither 1.0 nor 1.1"),
            Self::StatusLine => ("status_line", "the status line is malformed"),
            Self::SwitchingProtocols => ("switching_protocols", "status 101 without a request to upgrade"),
            Self::BareLineFeed => ("bare_line_feed", "a line of the head ends with LF instead of CRLF"),
            Self::FoldedHeader => ("folded_header", "a header line starts with white space"),
            Self::HeaderName => ("header_name", "a header name is malformed"),
            Self::HeaderValue => ("header_value", "a header value contains a control byte"),
            Self::HeadTooLarge => ("head_too_large", "the head is longer than allowed"),
            Self::TooManyHeaders => ("too_many_headers", "the head has more fields than allowed"),
            Self::ContentLength => ("content_length", "Content-Length is not a plain decimal number"),
            Self::RepeatedContentLength => ("repeated_content_length", "Content-Length stands more than once"),
            Self::TransferEncoding => ("transfer_encoding", "Transfer-Encoding is not exactly one `chunked`"),
            Self::TransferEncodingInHttp10 => ("transfer_encoding_in_http10", "Transfer-Encoding in an HTTP/1.0 reply"),
            Self::LengthAndTransferEncoding => ("length_and_transfer_encoding", "Content-Length and Transfer-Encoding together"),
            Self::InterimWithBody => ("interim_with_body", "an interim (1xx) reply announces a body"),
            Self::ChunkSize => ("chunk_size", "a chunk size is not a plain hexadecimal number"),
            Self::ChunkLineTooLong => ("chunk_line_too_long", "a chunk-size line is longer than allowed"),
            Self::ChunkExtension => ("chunk_extension", "a chunk extension is malformed or too long"),
            Self::ChunkEnd => ("chunk_end", "a chunk or its size line is not followed by CRLF"),
            Self::Trailer => ("trailer", "a trailer field is malformed"),
            Self::TrailerTooLarge => ("trailer_too_large", "the trailer section is longer than allowed"),
            Self::Truncated => ("truncated", "the connection closed before the body was complete"),
            Self::RequestMethod => ("request_method", "the request method is not a token"),
            Self::RequestTarget => ("request_target", "the request target contains a byte that may not be sent"),
            Self::RequestHost => ("request_host", "the request host contains a byte that may not be sent"),
            Self::RequestHeaderName => ("request_header_name", "a request header name may not be sent"),
            Self::RequestHeaderValue => ("request_header_value", "a request header value contains a control byte"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kind_and_text().1)
    }
}

impl core::error::Error for Error {}
