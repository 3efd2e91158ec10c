//! A text in pieces counts as the text at once.

use fairlead_tokens::{Counter, Encoding, Family, StreamCounter};
use proptest::prelude::*;

const COUNTERS: [Counter; 3] =
    [Counter::Exact(Encoding::O200kBase), Counter::Exact(Encoding::Cl100kBase), Counter::Estimated(Family::Claude)];

fn check(pieces: &[&str]) {
    let text = pieces.concat();
    for counter in COUNTERS {
        let mut stream = StreamCounter::new(counter);
        for piece in pieces {
            stream.feed(piece);
        }
        assert_eq!(stream.finish(), counter.count(&text), "{counter:?} {pieces:?}");
        // It is as new.
        assert_eq!(stream.feed("a"), 1);
    }
}

#[test]
fn pieces_count_as_the_whole() {
    check(&[]);
    check(&["", "Hello", "", " wor", "ld", "!"]);
    check(&["don", "'", "t", " can'", "t"]);
    check(&["a  ", "  b"]);
    check(&["a \n", " \n b", "\n", "  "]);
    check(&["Wait.", "\n", "/", "/ x"]);
    check(&["12", "3", "4", "5x", "6"]);
    check(&["HTTP", "Server", "Error"]);
    check(&["e", "\u{301}", "e", "x\u{301}", "1\u{301}", " \u{301}"]);
    check(&["中文", "，", "字。", "\u{3000}\u{3000}字"]);
    check(&["x'", "\u{17f}", "t"]);
}

#[test]
fn long_runs_are_held_back_and_counted_once() {
    for run in ["a", " ", "\n", "中", "1", "-"] {
        let pieces = vec![run; 3000];
        check(&pieces);
        check(&[&["b"], pieces.as_slice(), &["b b"]].concat());
    }
}

#[test]
fn a_running_count_follows_the_text() {
    let mut stream = StreamCounter::new(COUNTERS[0]);
    assert_eq!(["The", " quick", " brown", " fox"].map(|piece| stream.feed(piece)), [1, 2, 3, 4]);
    assert_eq!(stream.finish(), 4);
}

/// What pre-tokenizers look at: letters of every kind, marks, contractions, digits, signs, spaces, line ends.
const BITS: &str = "[ \u{a0}\u{3000}\t\n\r]{1,3}|['\u{17f}sStTrReEvVlLdDmM]{1,4}|[a-zA-Z]{1,5}|[0-9²½]{1,4}|[.,/!(\"_*-]{1,3}|[éßǅʰЖж中あ한ा\u{301}\u{20dd}]{1,3}|\\PC{1,3}";

proptest! {
    #[test]
    fn any_text_in_any_pieces_counts_as_the_whole(bits in prop::collection::vec(BITS, 0..12), size in 1..8usize) {
        // In the pieces it was made of, and in pieces of one size.
        check(&bits.iter().map(String::as_str).collect::<Vec<_>>());
        let text = bits.concat();
        let characters: Vec<char> = text.chars().collect();
        let pieces: Vec<String> = characters.chunks(size).map(|piece| piece.iter().collect()).collect();
        check(&pieces.iter().map(String::as_str).collect::<Vec<_>>());
    }
}
