//! The requests of an HTTP/1.1 connection as their bytes pass by on their way to hyper: where each head begins and each body ends. Most
//! clients wait for a reply before they send the next request; what a client sends sooner is kept until its turn has come.

use super::arriving::{Arriving, Framing};
use bytes::{Buf, BytesMut};
use fairlead_http1 as http1;
use tokio::time::Instant;

/// Where a connection's bytes have got to.
#[derive(Default)]
pub(crate) struct Passing {
    /// A head that hyper has made no request of yet.
    head: Option<Arriving>,
    /// It came behind a body whose end was lost, so it may have begun elsewhere.
    head_is_doubtful: bool,
    /// The body of the last head that was complete.
    body: Body,
    /// What came behind that body before its request was over. hyper has the same bytes in its buffer, which bounds them.
    behind: BytesMut,
    /// A body's end was lost.
    astray: bool,
}

#[derive(Default)]
enum Body {
    /// Behind it a head begins.
    #[default]
    Ended,
    Within(http1::Body),
    /// Its end is not known. What comes when the request is over is looked at as the next head, but nothing is believed of it.
    Lost,
}

/// A body of more pieces than this in one read is not followed, so that no read takes long.
const PIECES: usize = 4096;

/// More than hyper keeps.
const BEHIND_BYTES: usize = 512 << 10;

impl Passing {
    /// Looks at the next bytes of the connection. `busy`: a request is in progress.
    pub(crate) fn pass(&mut self, bytes: &[u8], busy: bool, at: impl Fn() -> Instant) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.waits(busy) {
                return self.keep(rest);
            }
            rest = &rest[self.step(rest, &at)..];
        }
    }

    /// The head that is now being read.
    pub(crate) fn head(&self) -> Option<&Arriving> {
        self.head.as_ref()
    }

    /// hyper has made a request of the head: when it began to arrive, and what was seen of it.
    pub(crate) fn begin(&mut self) -> Option<(Instant, Framing)> {
        let head = self.head.take();
        let began = head.as_ref().map(|head| (head.since, if self.head_is_doubtful { Framing::Unseen } else { head.framing() }));
        if !head.as_ref().is_some_and(Arriving::is_complete) {
            self.lose();
        }
        began
    }

    /// The request is over: what came behind it is looked at as if it came now.
    pub(crate) fn end(&mut self) {
        while !self.behind.is_empty() && !self.waits(false) {
            let mut behind = std::mem::take(&mut self.behind);
            let taken = self.step(&behind, &Instant::now);
            behind.advance(taken);
            self.behind = behind;
        }
    }

    /// Whether what comes belongs to a later request than the one whose turn it is.
    fn waits(&self, busy: bool) -> bool {
        !matches!(self.body, Body::Within(_)) && (busy || self.head.as_ref().is_some_and(Arriving::is_complete))
    }

    fn keep(&mut self, bytes: &[u8]) {
        if matches!(self.body, Body::Lost) {
            return;
        }
        if self.behind.len() + bytes.len() > BEHIND_BYTES {
            return self.lose();
        }
        self.behind.extend_from_slice(bytes);
    }

    fn lose(&mut self) {
        self.astray = true;
        self.body = Body::Lost;
        self.behind = BytesMut::new();
    }

    /// Takes bytes of one head or of one body; how many.
    fn step(&mut self, bytes: &[u8], at: &impl Fn() -> Instant) -> usize {
        if let Body::Within(body) = &mut self.body {
            let taken = follow(body, bytes);
            if body.is_done() {
                self.body = Body::Ended;
            } else if taken.is_none() {
                self.lose();
            }
            return taken.unwrap_or(bytes.len());
        }
        let head = self.head.get_or_insert_with(|| {
            self.head_is_doubtful = self.astray;
            Arriving::new(at())
        });
        let taken = head.pass(bytes);
        if head.is_complete() {
            self.body = match head.body() {
                // Its request is refused for that, and the connection closed.
                None => Body::Lost,
                Some(http1::Framing::Empty) => Body::Ended,
                Some(framing) => Body::Within(http1::Body::new(framing, &http1::Limits::default())),
            };
        }
        taken
    }
}

/// How many of these bytes are of the body; `None` where that cannot be told.
fn follow(body: &mut http1::Body, bytes: &[u8]) -> Option<usize> {
    let mut taken = 0;
    for _ in 0..PIECES {
        taken += body.step(&bytes[taken..]).ok()?.consumed;
        if body.is_done() || taken == bytes.len() {
            return Some(taken);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const SEEN: Framing = Framing::Seen { length: false };
    const SIZED: Framing = Framing::Seen { length: true };

    /// Passes `first` before the first request's turn and `second` during it, however they are cut; what is seen of the heads.
    fn check(first: &str, second: &str, expected: &[Framing]) {
        for split in 0..=first.len() {
            let mut passing = Passing::default();
            for read in [&first[..split], &first[split..]] {
                passing.pass(read.as_bytes(), false, Instant::now);
            }
            let mut seen = vec![passing.begin().unwrap().1];
            passing.pass(second.as_bytes(), true, Instant::now);
            passing.end();
            while passing.head().is_some() {
                seen.push(passing.begin().unwrap().1);
                passing.end();
            }
            assert_eq!(seen, expected, "{first:?} cut at {split}, then {second:?}");
        }
    }

    const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    const POST: &str = "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\n";
    const CHUNKED: &str = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";

    #[test]
    fn heads_are_seen_behind_other_requests() {
        check(GET, "", &[SEEN]);
        check(&[GET, POST, "GET /\r\n", CHUNKED].concat(), "5\r\nhello\r\n0\r\n\r\n", &[SEEN, SIZED, SEEN]);
        check(&[GET, CHUNKED, "5;x=y\r\nGET /\r\n0\r\nt: u\r\n\r\n", POST].concat(), "hello", &[SEEN, SEEN, SIZED]);
        check(&[POST, "he"].concat(), &["llo", GET, CHUNKED].concat(), &[SIZED, SEEN, SEEN]);
        check(POST, "hello", &[SIZED]);
        check(GET, "GET / HTTP/1.1\r\nho", &[SEEN, Framing::Unseen]);
        check(GET, "BAD\r\n\r\n", &[SEEN, Framing::Unseen]);
    }

    #[test]
    fn where_a_body_ends_is_not_guessed() {
        let both = "POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n";
        let twice = "POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n";
        let padded = format!("POST / HTTP/1.1\r\ncontent-length: {:021}\r\n\r\n", 5);
        let coded = "POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n";
        for (head, framing) in [(both, SIZED), (twice, Framing::Doubtful), (&padded, Framing::Doubtful), (coded, SEEN)] {
            check(head, GET, &[framing]);
        }
        check(CHUNKED, &["x\r\n", GET].concat(), &[SEEN]);
        check(CHUNKED, &"1\r\nx\r\n".repeat(PIECES + 1), &[SEEN]);
        check(GET, &"x".repeat(BEHIND_BYTES + 1), &[SEEN]);
    }

    #[test]
    fn nothing_is_believed_of_a_head_behind_a_body_whose_end_was_lost() {
        let pieces = "1\r\nx\r\n".repeat(PIECES + 1);
        for (head, body, expected) in [(GET, "", SIZED), (CHUNKED, pieces.as_str(), Framing::Unseen), ("x\r\n", "", Framing::Unseen)] {
            let mut passing = Passing::default();
            passing.pass(head.as_bytes(), false, Instant::now);
            passing.begin().unwrap();
            passing.pass(body.as_bytes(), true, Instant::now);
            passing.end();
            passing.pass(POST.as_bytes(), false, Instant::now);
            assert_eq!(passing.begin().unwrap().1, expected, "behind {head:?}");
        }
    }

    #[test]
    fn thousands_of_requests_in_one_read_are_looked_at_once_each() {
        let mut passing = Passing::default();
        passing.pass(GET.repeat(10_000).as_bytes(), false, Instant::now);
        let seen = (0..10_000).map(|_| (passing.begin().unwrap().1, passing.end()).0).filter(|framing| *framing == SEEN).count();
        assert_eq!((seen, passing.behind.is_empty()), (10_000, true));
    }
}
