//! Counting a text that arrives in pieces.

use crate::classes::{Class, class_at};
use crate::counter::Counter;
use crate::estimate::Estimation;

/// The longest held-back text whose tokens are counted for a running count; a longer one is estimated until it can be cut.
const COUNTED_BYTES: usize = 256;

/// Counts a text piece by piece; what it says at the end is what counting the whole at once says.
///
/// With an [`Encoding`](crate::Encoding) a text is counted up to the last place where the pre-tokenizer is sure to cut, whatever follows,
/// and the rest is held back: a word as a rule. Each byte is looked at once and counted once as settled, so a stream costs what its text
/// costs at once, plus at most 256 bytes per call for the running count. What is held back is at most one run without such
/// a place: letters of one script without a mark between them, spaces, or the same sign many times.
#[derive(Debug)]
pub struct StreamCounter {
    counter: Counter,
    settled: u64,
    held: String,
    /// Where in `held` the next look begins, one character before what is new.
    seen: usize,
    estimation: Estimation,
}

impl StreamCounter {
    /// Nothing was fed yet.
    pub fn new(counter: Counter) -> StreamCounter {
        StreamCounter { counter, settled: 0, held: String::new(), seen: 0, estimation: counter.estimation() }
    }

    /// Takes the next piece of the text and returns the tokens so far.
    ///
    /// Until [`finish`](StreamCounter::finish) that is a likely figure: what follows may join the last word and make fewer tokens or more.
    pub fn feed(&mut self, text: &str) -> u64 {
        let Counter::Exact(encoding) = self.counter else {
            self.estimation.add(text);
            return self.estimation.tokens();
        };
        self.held.push_str(text);
        if let Some(cut) = self.last_cut() {
            self.settled += encoding.count(&self.held[..cut]);
            self.held.drain(..cut);
            self.seen = self.seen.saturating_sub(cut);
        }
        self.settled + if self.held.len() <= COUNTED_BYTES { encoding.count(&self.held) } else { self.held.len() as u64 / 4 }
    }

    /// The text is over: its tokens, exact with an encoding. The counter is then as new.
    pub fn finish(&mut self) -> u64 {
        let tokens = match self.counter {
            Counter::Exact(encoding) => self.settled + encoding.count(&self.held),
            Counter::Estimated(_) => self.estimation.tokens(),
        };
        *self = StreamCounter::new(self.counter);
        tokens
    }

    /// The last sure cut in what is new, and remembers where that ends.
    fn last_cut(&mut self) -> Option<usize> {
        let text = self.held.as_bytes();
        let (mut before, mut at) = class_at(text, self.seen)?;
        let mut cut = None;
        while let Some((class, next)) = class_at(text, at) {
            if is_cut(before, class, text[at]) {
                cut = Some(at);
            }
            (self.seen, before, at) = (at, class, next);
        }
        cut
    }
}

/// Whether both pre-tokenizers cut between two characters, whatever stands before and after them, and cut what stands before the same way
/// if the text ends there. `first` is the first byte of the second character.
///
/// Read off the patterns in `split.rs`: no alternative spans these, and none but the ones of white space looks beyond its end.
fn is_cut(before: Class, after: Class, first: u8) -> bool {
    if before.is(Class::SPACE) {
        return false;
    }
    if after.is(Class::SPACE) || before.is(Class::NUMBER) != after.is(Class::NUMBER) {
        return !before.is(Class::NEWLINE) || !after.is(Class::WHITESPACE);
    }
    if before.is(Class::NEWLINE) {
        // A slash may follow line ends that follow a sign.
        return !after.is(Class::WHITESPACE) && first != b'/';
    }
    // An apostrophe may begin a contraction.
    before.is(Class::LETTER) && (after.is(Class::NEWLINE) || (after.is_other() && first != b'\''))
}
