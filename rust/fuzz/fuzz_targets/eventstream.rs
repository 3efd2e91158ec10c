//! Any bytes as AWS's event stream: no cut matters, what is read is written the same, damage is never a message.

#![no_main]

use fairlead_formats::eventstream::{self, Framer, MAX_PAYLOAD_BYTES};
use libfuzzer_sys::fuzz_target;

// The first byte chooses the length of the pieces, the second the bit that is damaged.
fuzz_target!(|data: &[u8]| {
    let [last_of_piece, damage, stream @ ..] = data else { return };
    let whole = cut([stream]);
    assert_eq!(cut(stream.chunks(usize::from(*last_of_piece) + 1)), whole);
    for bytes in whole {
        let Ok(message) = eventstream::read(&bytes) else { continue };
        let _ = message.kind();
        let headers: Vec<_> = message.headers().flatten().collect();
        let mut again = Vec::new();
        eventstream::encode(&headers, message.payload(), &mut again);
        assert_eq!(again, bytes);
        let at = usize::from(*damage) % again.len();
        again[at] ^= 1 << (damage % 8);
        assert!(eventstream::read(&again).is_err());
    }
});

fn cut<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut framer = Framer::new(MAX_PAYLOAD_BYTES);
    let (mut messages, mut message) = (Vec::new(), Vec::new());
    for piece in pieces {
        let mut from = 0;
        while let Ok(Some(end)) = framer.next_end(piece, from) {
            message.extend_from_slice(&piece[from..end]);
            messages.push(std::mem::take(&mut message));
            from = end;
        }
        message.extend_from_slice(&piece[from..]);
    }
    messages
}
