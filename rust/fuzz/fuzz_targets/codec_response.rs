//! Any bytes as whole replies of any dialect on the way to every dialect: see `judge::response`.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../formats/tests/codecs/judge.rs"]
#[expect(dead_code, reason = "the other targets ask about the rest")]
mod judge;

// The first byte chooses the dialect, the second traits and the length of the pieces.
fuzz_target!(|data: &[u8]| judge::response(data));
