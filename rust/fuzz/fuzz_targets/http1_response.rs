//! A reply in any bytes, at any split: nothing panics, no split matters, httparse agrees about the head.

#![no_main]

use fairlead_http1::{Framing, Limits};
use libfuzzer_sys::fuzz_target;

#[path = "../../http1/tests/codec/exchange.rs"]
mod exchange;
#[path = "../../http1/tests/codec/oracle.rs"]
mod oracle;

// The first byte chooses method and limits, the second the length of the pieces.
fuzz_target!(|data: &[u8]| {
    let [flags, last_of_piece, bytes @ ..] = data else { return };
    let method_is_head = flags & 1 != 0;
    let limits = if flags & 2 == 0 { Limits::default() } else { SMALL };
    let piece_bytes = usize::from(*last_of_piece) + 1;

    oracle::compare(bytes);
    let whole = exchange::read([bytes], method_is_head, &limits);
    assert_eq!(exchange::read(bytes.chunks(piece_bytes), method_is_head, &limits), whole);
    let whole = exchange::read_body(Framing::Chunked, [bytes], &limits);
    assert_eq!(exchange::read_body(Framing::Chunked, bytes.chunks(piece_bytes), &limits), whole);
});

/// So small that every limit is met by short inputs.
const SMALL: Limits = Limits { head_bytes: 64, headers: 2, chunk_line_bytes: 3, trailer_bytes: 10 };
