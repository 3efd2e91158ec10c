//! UTF-8 across slices: at most three bytes of a character that a slice's edge cut are kept.

/// Where validation stands between two slices.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    /// The first bytes of a character whose rest is in the next slice.
    pending: [u8; 4],
    pending_len: usize,
}

impl Utf8 {
    /// Whether a character is cut open, so that the next slice must be checked even if it is ASCII.
    pub(super) fn is_pending(&self) -> bool {
        self.pending_len > 0
    }

    /// How many bytes of that character came so far.
    pub(super) fn pending_len(&self) -> usize {
        self.pending_len
    }

    /// Checks `bytes`, the continuation of what was checked before.
    ///
    /// # Errors
    /// Where the bad character begins, relative to `bytes`: negative when it began in an earlier slice.
    pub(super) fn check(&mut self, bytes: &[u8]) -> Result<(), isize> {
        let rest = self.close_pending(bytes)?;
        let skipped = (bytes.len() - rest.len()).cast_signed();
        let (whole, tail) = rest.split_at(rest.len() - cut_character_len(rest));
        if simdutf8::basic::from_utf8(whole).is_err() {
            let at = core::str::from_utf8(whole).map_or_else(|error| error.valid_up_to(), str::len);
            return Err(skipped + at.cast_signed());
        }
        self.open(tail).map_err(|()| skipped + whole.len().cast_signed())
    }

    /// Completes the character that the last slice left open; returns what follows it.
    fn close_pending<'a>(&mut self, mut bytes: &'a [u8]) -> Result<&'a [u8], isize> {
        let began = self.pending_len.cast_signed();
        while self.pending_len > 0
            && let Some((&byte, rest)) = bytes.split_first()
        {
            self.pending[self.pending_len & 3] = byte;
            self.pending_len += 1;
            bytes = rest;
            match core::str::from_utf8(&self.pending[..self.pending_len.min(4)]) {
                Ok(_) => self.pending_len = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(-began),
            }
        }
        Ok(bytes)
    }

    /// Keeps the begun character `tail` (0 to 3 bytes) for the next slice, if it can still become one.
    fn open(&mut self, tail: &[u8]) -> Result<(), ()> {
        if core::str::from_utf8(tail).is_err_and(|error| error.error_len().is_some()) {
            return Err(());
        }
        for &byte in tail {
            self.pending[self.pending_len & 3] = byte;
            self.pending_len += 1;
        }
        Ok(())
    }
}

/// How many bytes at the end belong to a character that is longer than what is there.
fn cut_character_len(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let byte = bytes[bytes.len() - back];
        // A continuation byte says nothing; the first other byte from the end decides.
        if byte & 0xc0 != 0x80 {
            let length = match byte {
                0xf0.. => 4,
                0xe0.. => 3,
                0xc0.. => 2,
                _ => 1,
            };
            return if length > back { back } else { 0 };
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Utf8;

    /// The verdict over `pieces`: where the first bad character begins, or whether the text ends inside one.
    fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Option<isize>, bool) {
        let mut utf8 = Utf8::default();
        let mut offset = 0;
        for piece in pieces {
            if let Err(at) = utf8.check(piece) {
                return (Some(offset + at), false);
            }
            offset += piece.len().cast_signed();
        }
        (None, utf8.is_pending())
    }

    fn expected(text: &[u8]) -> (Option<isize>, bool) {
        match core::str::from_utf8(text) {
            Ok(_) => (None, false),
            Err(error) if error.error_len().is_none() => (None, true),
            Err(error) => (Some(error.valid_up_to().cast_signed()), false),
        }
    }

    fn check(text: &[u8]) {
        let expected = expected(text);
        assert_eq!(run([text]), expected, "{text:x?}");
        assert_eq!(run(text.chunks(1)), expected, "{text:x?} by bytes");
        for cut in 0..=text.len() {
            assert_eq!(run([&text[..cut], &text[cut..]]), expected, "{text:x?} cut at {cut}");
        }
    }

    #[test]
    fn table() {
        let good = "aé中😀\u{10ffff}\u{7ff}\u{800}\u{ffff}\u{10000}".as_bytes();
        check(good);
        let bad: &[&[u8]] = &[
            b"\x80",
            b"\xc0\x80",
            b"\xc1\xbf",
            b"\xe0\x80\x80",
            b"\xed\xa0\x80",
            b"\xf0\x80\x80\x80",
            b"\xf4\x90\x80\x80",
            b"\xf5\x80\x80\x80",
            b"\xff",
            b"\xe4\xb8",
            b"\xe4\xb8a",
            b"\xf0\x9f\x98",
            b"\xc3",
            b"\xc3\xc3\xa9",
        ];
        for fragment in bad {
            for (before, after) in [("", ""), ("ab", ""), ("", "cd"), ("é", "é")] {
                check(&[before.as_bytes(), fragment, after.as_bytes()].concat());
            }
        }
    }

    proptest! {
        #[test]
        fn any_split_of_any_bytes(text in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0xe4), Just(0xb8), Just(0xad), Just(b'a')], 0..24)) {
            check(&text);
        }
    }
}
