//! Any bytes as an event stream: no cut matters, the decoder gives what the reference gives.

#![no_main]

use fairlead_formats::sse::{self, Decoder, Event, Framer};
use libfuzzer_sys::fuzz_target;

#[path = "../../formats/src/sse/reference.rs"]
mod reference;

// The first byte chooses the length of the pieces.
fuzz_target!(|data: &[u8]| {
    let [last_of_piece, stream @ ..] = data else { return };
    let size = usize::from(*last_of_piece) + 1;
    let whole = decode([stream]);
    assert_eq!(decode(stream.chunks(size)), whole);
    assert_eq!(whole.0, reference::reference(stream));
    assert_eq!(read(stream.chunks(size)), read([stream]));
});

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, Vec<Event>) {
    let mut decoder = Decoder::new(usize::MAX);
    let (mut events, mut last) = (Vec::new(), Vec::new());
    for piece in pieces {
        assert!(decoder.feed(piece, &mut events).is_ok());
    }
    decoder.finish(&mut last);
    (events, last)
}

/// Name and data of each event as the relay reads them.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(Option<Vec<u8>>, Option<Vec<u8>>)> {
    let mut framer = Framer::new(usize::MAX);
    let (mut events, mut event) = (Vec::new(), Vec::new());
    let mut scratch = Vec::new();
    for piece in pieces {
        let mut from = 0;
        while let Ok(Some(end)) = framer.next_end(piece, from) {
            event.extend_from_slice(&piece[from..end]);
            events.push((sse::event_name(&event).map(<[u8]>::to_vec), sse::data(&event, &mut scratch).map(<[u8]>::to_vec)));
            event.clear();
            from = end;
        }
        event.extend_from_slice(&piece[from..]);
    }
    events
}
