//! The tokens of an encoding and their ranks, found by their bytes.
//!
//! The file that `include_bytes!` puts into the binary is in the order of ranks and is used where it lies; what is made on first use is an
//! index into it: where each token begins, a table of all pairs of bytes, because merging begins with those, and a table of hashes. Most of what
//! merging looks for is not there, so that table has a byte of each hash apart from the ranks: these bytes fit a core's own cache, and as a rule they are
//! all that is read.

/// The rank of what is no token.
pub(crate) const NO_RANK: u32 = u32::MAX;

const PAIRS: usize = 1 << 16;

/// Tokens and ranks of one encoding.
pub(crate) struct Vocabulary {
    bytes: &'static [u8],
    starts: Box<[u32]>,
    pairs: Box<[u32]>,
    /// Of each place of the table, a byte of the hash of what is there; 0 is a free place. At most half of them are taken.
    tags: Box<[u8]>,
    ranks: Box<[u32]>,
    longest: usize,
}

impl Vocabulary {
    /// Indexes a file as `examples/make_data` writes it. Of a file that is cut short, the tokens that are there are known.
    pub(crate) fn new(file: &'static [u8]) -> Vocabulary {
        let (count, rest) = file.split_first_chunk::<4>().map_or((0, file), |(count, rest)| (u32::from_le_bytes(*count) as usize, rest));
        let (lengths, bytes) = rest.split_at(count.min(rest.len()));
        let mut starts = Vec::with_capacity(count + 1);
        starts.push(0);
        let mut end = 0;
        for &length in lengths {
            end += u32::from(length);
            starts.push(end);
        }
        let places = (2 * count + 1).next_power_of_two();
        let mut vocabulary = Vocabulary {
            bytes,
            starts: starts.into(),
            pairs: vec![NO_RANK; PAIRS].into(),
            tags: vec![0; places].into(),
            ranks: vec![NO_RANK; places].into(),
            longest: lengths.iter().copied().max().unwrap_or(0).into(),
        };
        for rank in 0..lengths.len() as u32 {
            vocabulary.add(rank);
        }
        vocabulary
    }

    /// The rank of these bytes, or [`NO_RANK`].
    #[inline]
    pub(crate) fn rank(&self, token: &[u8]) -> u32 {
        if let [first, second] = *token {
            return self.pair(first, second);
        }
        if token.len() > self.longest {
            return NO_RANK;
        }
        let (mut place, tag) = self.home(token);
        loop {
            let held = self.tags[place];
            if held == 0 {
                return NO_RANK;
            }
            if held == tag && self.token(self.ranks[place]) == token {
                return self.ranks[place];
            }
            place = (place + 1) & (self.tags.len() - 1);
        }
    }

    /// The rank of two bytes, or [`NO_RANK`].
    #[inline]
    pub(crate) fn pair(&self, first: u8, second: u8) -> u32 {
        self.pairs[usize::from(first) << 8 | usize::from(second)]
    }

    /// The most bytes a token has.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    fn add(&mut self, rank: u32) {
        let token = self.token(rank);
        if let [first, second] = *token {
            self.pairs[usize::from(first) << 8 | usize::from(second)] = rank;
            return;
        }
        let (mut place, tag) = self.home(token);
        while self.tags[place] != 0 {
            place = (place + 1) & (self.tags.len() - 1);
        }
        (self.tags[place], self.ranks[place]) = (tag, rank);
    }

    fn token(&self, rank: u32) -> &'static [u8] {
        let (start, end) = (self.starts[rank as usize] as usize, self.starts[rank as usize + 1] as usize);
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// Where to look for a token first, and its byte.
    #[inline]
    fn home(&self, token: &[u8]) -> (usize, u8) {
        let hash = hash(token);
        (hash as usize & (self.tags.len() - 1), ((hash >> 56) as u8).max(1))
    }
}

/// Multiply and fold, eight bytes at a time; the last eight overlap. The table is fixed and nobody can add to it, so nobody can choose keys
/// that collide in it; what they can choose is to look for keys that are not there, and at half load those end soon.
#[inline]
fn hash(token: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = (token.len() as u64).wrapping_mul(FACTOR);
    let mut fold = |word: u64| {
        let product = u128::from(state ^ word) * u128::from(FACTOR);
        state = (product >> 64) as u64 ^ product as u64;
    };
    if let Some(last) = token.last_chunk::<8>() {
        for words in token.chunks_exact(8) {
            fold(words.first_chunk().map_or(0, |word| u64::from_le_bytes(*word)));
        }
        if !token.len().is_multiple_of(8) {
            fold(u64::from_le_bytes(*last));
        }
    } else if let (Some(first), Some(last)) = (token.first_chunk::<4>(), token.last_chunk::<4>()) {
        fold(u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last)));
    } else {
        fold(token.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)));
    }
    state
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{NO_RANK, Vocabulary};

    #[test]
    fn tokens_are_found_and_nothing_else() {
        for file in [&include_bytes!("../data/o200k_base.vocabulary")[..], include_bytes!("../data/cl100k_base.vocabulary")] {
            let vocabulary = Vocabulary::new(file);
            let count = vocabulary.starts.len() as u32 - 1;
            let ranks: HashMap<&[u8], u32> = (0..count).map(|rank| (vocabulary.token(rank), rank)).collect();
            assert!(count > 100_000 && ranks.len() == count as usize);
            for (&token, &rank) in &ranks {
                assert_eq!(vocabulary.rank(token), rank);
                for near in [&token[1..], &token[..token.len() - 1], &[token, b"e"].concat()] {
                    assert_eq!(vocabulary.rank(near), ranks.get(near).copied().unwrap_or(NO_RANK), "{near:?}");
                }
            }
        }
    }

    #[test]
    fn a_file_that_is_cut_short_knows_what_is_there() {
        let whole = b"\x02\0\0\0\x01\x03abcd";
        assert_eq!((Vocabulary::new(whole).rank(b"a"), Vocabulary::new(whole).rank(b"bcd")), (0, 1));
        for end in 0..whole.len() {
            assert!(matches!(Vocabulary::new(&whole[..end]).rank(b"a"), 0 | NO_RANK));
        }
    }
}
