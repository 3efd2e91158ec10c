//! Thoughts that a model writes into its text, between `<think>` and `</think>`.

/// The tag that begins a thought; nothing but white space stands before it.
const OPEN: &[u8] = b"<think>";
/// The tag that ends it.
const CLOSE: &[u8] = b"</think>";

/// Takes thoughts out of a text that comes in pieces.
#[derive(Debug, Default)]
pub(crate) struct Tags {
    state: State,
    /// What may be the beginning of a tag.
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Before,
    /// Behind the first tag, before anything was thought.
    Opened,
    Inside,
    /// Behind the last tag, before anything was said.
    Closed,
    After,
}

/// What a piece of the text turned out to be, escaped as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    Thought(&'t [u8]),
    Said(&'t [u8]),
}

impl Tags {
    /// Takes the next piece of the escaped text.
    pub(crate) fn feed(&mut self, text: &[u8], sink: &mut dyn FnMut(Piece<'_>)) {
        if self.state == State::After {
            return say(text, sink);
        }
        unescape_brackets(text, &mut self.held);
        let held = std::mem::take(&mut self.held);
        let rest = self.look(&held, sink);
        self.held = held[rest..].to_vec();
    }

    /// Ends the text: what looked like the beginning of a tag was none.
    pub(crate) fn finish(&mut self, sink: &mut dyn FnMut(Piece<'_>)) {
        let held = std::mem::take(&mut self.held);
        match self.state {
            State::Opened | State::Inside if !held.is_empty() => sink(Piece::Thought(&held)),
            State::Opened | State::Inside => {}
            State::Before | State::Closed | State::After => say(&held, sink),
        }
    }

    /// Tells what is certain; returns where the rest begins.
    fn look(&mut self, held: &[u8], sink: &mut dyn FnMut(Piece<'_>)) -> usize {
        let mut at = 0;
        loop {
            let rest = &held[at..];
            let blank = white(rest);
            match self.state {
                State::Before if rest[blank..].starts_with(OPEN) => {
                    self.state = State::Opened;
                    at += blank + OPEN.len();
                }
                State::Before if OPEN.starts_with(&rest[blank..]) => return at,
                State::Before => self.state = State::After,
                State::Opened | State::Closed if blank > 0 => at += blank,
                State::Opened | State::Closed if rest.is_empty() => return at,
                State::Opened => self.state = State::Inside,
                State::Closed => self.state = State::After,
                State::Inside => match memchr::memmem::find(rest, CLOSE) {
                    Some(end) => {
                        think(&rest[..end], sink);
                        self.state = State::Closed;
                        at += end + CLOSE.len();
                    }
                    None => {
                        let kept = (0..rest.len()).find(|from| CLOSE.starts_with(&rest[*from..])).unwrap_or(rest.len());
                        think(&rest[..kept], sink);
                        return at + kept;
                    }
                },
                State::After => {
                    say(rest, sink);
                    return held.len();
                }
            }
        }
    }
}

fn say(text: &[u8], sink: &mut dyn FnMut(Piece<'_>)) {
    if !text.is_empty() {
        sink(Piece::Said(text));
    }
}

fn think(text: &[u8], sink: &mut dyn FnMut(Piece<'_>)) {
    if !text.is_empty() {
        sink(Piece::Thought(text));
    }
}

/// The length of the white space that an escaped text begins with.
fn white(text: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += match text.get(at..) {
            Some([b' ', ..]) => 1,
            Some([b'\\', b'n' | b'r' | b't', ..]) => 2,
            _ => return at,
        };
    }
}

/// Appends the text with its angle brackets as themselves: some JSON writers escape them.
fn unescape_brackets(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let escape = &rest[at..];
        let (written, length): (&[u8], usize) = match escape.get(..6) {
            Some(b"\\u003c" | b"\\u003C") => (b"<", 6),
            Some(b"\\u003e" | b"\\u003E") => (b">", 6),
            _ => (&escape[..escape.len().min(2)], 2),
        };
        out.extend_from_slice(written);
        rest = escape.get(length..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(pieces: &[&[u8]]) -> (String, String) {
        let (mut thought, mut said) = (Vec::new(), Vec::new());
        let mut sink = |piece: Piece<'_>| match piece {
            Piece::Thought(text) => thought.extend_from_slice(text),
            Piece::Said(text) => said.extend_from_slice(text),
        };
        let mut tags = Tags::default();
        pieces.iter().for_each(|piece| tags.feed(piece, &mut sink));
        tags.finish(&mut sink);
        (String::from_utf8_lossy(&thought).into_owned(), String::from_utf8_lossy(&said).into_owned())
    }

    const CASES: [(&str, &str, &str); 10] = [
        (r"<think>\nhm</think>\n\nhi", "hm", "hi"),
        (r"\n <think>hm</think>hi", "hm", "hi"),
        (r"\u003cthink\u003ehm\u003C/think\u003Ehi", "hm", "hi"),
        ("hi <think>no</think>", "", "hi <think>no</think>"),
        ("<thin", "", "<thin"),
        ("<think>hm", "hm", ""),
        ("<think>a < b </thin", "a < b </thin", ""),
        ("<think></think>hi", "", "hi"),
        (r"<think>a\\u003cb</think>x", r"a\\u003cb", "x"),
        ("", "", ""),
    ];

    #[test]
    fn thoughts_are_taken_out() {
        for (text, thought, said) in CASES {
            assert_eq!(split(&[text.as_bytes()]), (thought.to_owned(), said.to_owned()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_same(case in prop::sample::select(CASES.to_vec()), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let (text, thought, said) = case;
            // An escape is never cut: each piece was a whole JSON string.
            let whole: Vec<usize> = (0..=text.len()).filter(|at| !cuts_escape(text.as_bytes(), *at)).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| *cut.get(&whole)).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([text.len()]) {
                pieces.push(&text.as_bytes()[from..cut]);
                from = cut;
            }
            prop_assert_eq!(split(&pieces), (thought.to_owned(), said.to_owned()));
        }
    }

    fn cuts_escape(text: &[u8], cut: usize) -> bool {
        let mut at = 0;
        while at < cut {
            at += match text.get(at..at + 2) {
                Some(b"\\u") => 6,
                Some([b'\\', _]) => 2,
                _ => 1,
            };
        }
        at != cut
    }
}
