//! The tokens of an encoding and their ranks, found by their bytes.
//!
//! The file that `include_bytes!` puts into the binary is in the order of ranks and is used where it lies; what is made on first use is an
//! index into it: where each token begins (4 bytes per token), a table of hashes (8 bytes per place, at most half of them taken) and a
//! table of all pairs of bytes, because merging begins with those.

/// The rank of what is no token.
pub(crate) const NO_RANK: u32 = u32::MAX;

const PAIRS: usize = 1 << 16;
/// A place of the table: the upper bits of the hash, and in these lower ones the rank plus one; 0 is a free place.
const RANK_BITS: u32 = 24;
const RANK_MASK: u64 = (1 << RANK_BITS) - 1;

/// Tokens and ranks of one encoding.
pub(crate) struct Vocabulary {
    bytes: &'static [u8],
    starts: Box<[u32]>,
    pairs: Box<[u32]>,
    places: Box<[u64]>,
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
        let mut vocabulary = Vocabulary {
            bytes,
            starts: starts.into(),
            pairs: vec![NO_RANK; PAIRS].into(),
            places: vec![0; (2 * count).next_power_of_two()].into(),
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
        let hash = hash(token);
        let mut place = self.home(hash);
        loop {
            let held = self.places[place];
            if held == 0 {
                return NO_RANK;
            }
            let rank = (held & RANK_MASK) as u32 - 1;
            if (held ^ hash) >> RANK_BITS == 0 && self.token(rank) == token {
                return rank;
            }
            place = (place + 1) & (self.places.len() - 1);
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
        let hash = hash(token);
        let mut place = self.home(hash);
        while self.places[place] != 0 {
            place = (place + 1) & (self.places.len() - 1);
        }
        self.places[place] = (hash & !RANK_MASK) | u64::from(rank + 1);
    }

    fn token(&self, rank: u32) -> &'static [u8] {
        let (start, end) = (self.starts[rank as usize] as usize, self.starts[rank as usize + 1] as usize);
        self.bytes.get(start..end).unwrap_or_default()
    }

    fn home(&self, hash: u64) -> usize {
        // The lower bits are not stored, so they tell more where to look than the upper ones would.
        hash as usize & (self.places.len() - 1)
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
