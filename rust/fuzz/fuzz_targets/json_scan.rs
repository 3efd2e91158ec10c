//! Any bytes as a JSON text: no cut matters, the verdict is `serde_json`'s, the walkers agree with the scanner.

#![no_main]

use fairlead_formats::json::{Reject, Scanner, walk};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// One level less than `serde_json` refuses.
const MAX_DEPTH: u16 = 127;

// The first byte chooses the length of the pieces.
fuzz_target!(|data: &[u8]| {
    let [last_of_piece, text @ ..] = data else { return };
    let whole = scan([text]);
    assert_eq!(scan(text.chunks(usize::from(*last_of_piece) + 1)), whole);

    match serde_json::from_slice::<Value>(text) {
        Ok(value) => assert_eq!(whole.is_ok(), value.is_object(), "{whole:?}"),
        // The grammar allows a number that no double holds; the parser stops there.
        Err(error) if error.to_string().contains("number out of range") => {}
        Err(error) => assert!(whole.is_err(), "{error}"),
    }
    if whole.is_ok() {
        assert!(walk::members(text).all(|member| member.is_ok()));
    }
    for member in walk::members(text).flatten() {
        assert_eq!(&text[member.value_range.clone()], member.value);
        let _ = (walk::as_str(member.value), walk::as_u64(member.value), walk::as_bool(member.value));
        let _ = (walk::members(member.value).count(), walk::elements(member.value).count());
    }
});

/// The verdict on the text that `pieces` make up; the number of members when it is accepted.
fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<usize, Reject> {
    let mut scanner = Scanner::new(&[], MAX_DEPTH);
    for piece in pieces {
        scanner.feed(piece)?;
    }
    scanner.finish().map(|members| members.len())
}
