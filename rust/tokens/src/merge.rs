//! Byte-pair merging: how many tokens a piece becomes.
//!
//! ```text
//! parts = the bytes of the piece
//! while two neighbouring parts together are a token:
//!     join the two whose token has the lowest rank; of several, the leftmost
//! ```
//!
//! Three ways, by length. A short piece is done as it stands above, in arrays on the stack: searching a few numbers is cheaper than keeping
//! them in order. A longer one keeps the pairs in a tree. One longer than [`WINDOW`] is done window by window, so that time is linear and
//! memory constant whatever a client sends:
//!
//! A sequence of tokens is the merging of its text exactly if each two neighbours are the merging of *their* text. (Within the two, merging
//! happens in the same order alone as in the whole; so if they stay two alone, no merge crosses their border in the whole, and the other
//! way round.) So if the mergings of two windows that overlap have a token in common, at the same place, then the first up to that token
//! and the second after it are the merging of both.

use crate::vocabulary::{NO_RANK, Vocabulary};

/// Bytes of a piece whose pairs are searched. Measured with Chinese, Japanese and Thai: the tree wins from here on.
const SHORT: usize = 32;
const PLACE_BITS: u32 = 5;
const PLACE_MASK: u32 = (1 << PLACE_BITS) - 1;
const NO_KEY: u32 = u32::MAX;
/// Bytes that are merged at a time.
const WINDOW: usize = 4096;

/// The number of tokens that a piece becomes. A piece that is a token is not for here: its rank says so at less cost.
pub(crate) fn count(vocabulary: &Vocabulary, piece: &[u8]) -> usize {
    match piece.len() {
        0..=1 => piece.len(),
        2..=SHORT => count_short(vocabulary, piece),
        _ if piece.len() <= WINDOW => merged(vocabulary, piece).1,
        _ => count_long(vocabulary, piece, WINDOW),
    }
}

fn count_short(vocabulary: &Vocabulary, piece: &[u8]) -> usize {
    let end = piece.len();
    // A part is known by the place it begins at. `keys` has the rank of a part with the next one, and the place below it, so that the
    // least key is the leftmost of the lowest rank; of parts that are gone, and of the last one, it is `NO_KEY`.
    let mut keys = [NO_KEY; SHORT];
    let mut next = [0u8; SHORT];
    let mut previous = [0u8; SHORT];
    for at in 0..end {
        next[at] = at as u8 + 1;
        previous[at] = (at as u8).wrapping_sub(1);
    }
    for (at, pair) in piece.windows(2).enumerate() {
        keys[at] = key(vocabulary.pair(pair[0], pair[1]), at);
    }
    let mut parts = end;
    loop {
        let lowest = keys[..end].iter().fold(NO_KEY, |least, &key| least.min(key));
        if lowest == NO_KEY {
            return parts;
        }
        parts -= 1;
        let at = (lowest & PLACE_MASK) as usize;
        let gone = usize::from(next[at]);
        let after = usize::from(next[gone]);
        keys[gone] = NO_KEY;
        next[at] = after as u8;
        keys[at] = NO_KEY;
        if after < end {
            previous[after] = at as u8;
            keys[at] = key(vocabulary.rank(&piece[at..usize::from(next[after])]), at);
        }
        if at > 0 {
            let before = usize::from(previous[at]);
            keys[before] = key(vocabulary.rank(&piece[before..after]), before);
        }
    }
}

/// Ranks are below 2^18 and places below 2^5.
const fn key(rank: u32, at: usize) -> u32 {
    if rank == NO_RANK { NO_KEY } else { rank << PLACE_BITS | at as u32 }
}

/// Where each token of a piece ends.
fn ends(vocabulary: &Vocabulary, piece: &[u8]) -> Vec<usize> {
    let (next, count) = merged(vocabulary, piece);
    let mut found = Vec::with_capacity(count);
    let mut at = 0;
    while at < piece.len() {
        at = next[at] as usize;
        found.push(at);
    }
    found
}

/// Where the token that begins at each place ends (at other places, nothing of use), and how many there are. The piece is shorter than 4 GiB.
fn merged(vocabulary: &Vocabulary, piece: &[u8]) -> (Vec<u32>, usize) {
    let end = piece.len();
    let mut parts = end;
    // Parts are a linked list by the place they begin at.
    let mut next: Vec<u32> = (1..=end as u32).collect();
    let mut previous: Vec<u32> = (0..end as u32).map(|at| at.saturating_sub(1)).collect();
    let mut ranks = Tournament::new(piece.windows(2).map(|pair| vocabulary.pair(pair[0], pair[1])));
    while let Some(at) = ranks.lowest() {
        parts -= 1;
        let gone = next[at] as usize;
        let after = next[gone] as usize;
        next[at] = after as u32;
        ranks.set(gone, NO_RANK);
        let joined = if after < end {
            previous[after] = at as u32;
            vocabulary.rank(&piece[at..next[after] as usize])
        } else {
            NO_RANK
        };
        ranks.set(at, joined);
        if at > 0 {
            let before = previous[at] as usize;
            ranks.set(before, vocabulary.rank(&piece[before..after]));
        }
    }
    (next, parts)
}

/// The rank of each part with the next one, and where the lowest is: a binary tree in which every node has the lesser of its two children.
struct Tournament {
    /// The root is at 1, the children of `n` at `2n` and `2n + 1`, the leaves in the second half: a rank, and below it the place.
    nodes: Vec<u64>,
}

impl Tournament {
    fn new(ranks: impl ExactSizeIterator<Item = u32>) -> Tournament {
        // A power of two, so that of equal ranks the leftmost is the least wherever it is; one more, for the last part has no next one.
        let leaves = (ranks.len() + 1).next_power_of_two();
        let mut nodes = vec![u64::MAX; 2 * leaves];
        for (at, rank) in ranks.enumerate() {
            nodes[leaves + at] = node(rank, at);
        }
        for parent in (1..leaves).rev() {
            nodes[parent] = nodes[2 * parent].min(nodes[2 * parent + 1]);
        }
        Tournament { nodes }
    }

    /// The leftmost place of the lowest rank, if there is one.
    fn lowest(&self) -> Option<usize> {
        (self.nodes[1] != u64::MAX).then_some(self.nodes[1] as u32 as usize)
    }

    fn set(&mut self, at: usize, rank: u32) {
        let mut index = self.nodes.len() / 2 + at;
        let mut least = node(rank, at);
        while self.nodes[index] != least {
            self.nodes[index] = least;
            if index == 1 {
                return;
            }
            least = least.min(self.nodes[index ^ 1]);
            index /= 2;
        }
    }
}

const fn node(rank: u32, at: usize) -> u64 {
    if rank == NO_RANK { u64::MAX } else { (rank as u64) << 32 | at as u64 }
}

fn count_long(vocabulary: &Vocabulary, piece: &[u8], window: usize) -> usize {
    // Far enough from the edge of a window that tokens there are settled, as a rule; it is checked, not assumed.
    let margin = 4 * vocabulary.longest();
    let mut counted = 0;
    let mut covered = piece.len().min(window);
    let mut left = ends(vocabulary, &piece[..covered]);
    while covered < piece.len() {
        // The next window begins where a token does.
        let Some(&start) = left.iter().rev().find(|end| **end + margin <= covered) else { return ends(vocabulary, piece).len() };
        covered = piece.len().min(start + window);
        let mut right = ends(vocabulary, &piece[start..covered]);
        right.iter_mut().for_each(|end| *end += start);
        let Some((in_left, in_right)) = common_token(&left, &right, start) else { return ends(vocabulary, piece).len() };
        counted += in_left + 1;
        left = right.split_off(in_right + 1);
    }
    counted + left.len()
}

/// The first token that two lists of ends have in common, as the index of its end in each. `start` is an end in `left`, and where `right` begins.
fn common_token(left: &[usize], right: &[usize], start: usize) -> Option<(usize, usize)> {
    let mut in_left = left.iter().position(|&end| end == start)? + 1;
    let mut in_right = 0;
    // Whether the ends before these two are the same.
    let mut together = true;
    loop {
        let (&end_left, &end_right) = (left.get(in_left)?, right.get(in_right)?);
        if end_left == end_right && together {
            return Some((in_left, in_right));
        }
        together = end_left == end_right;
        in_left += usize::from(end_left <= end_right);
        in_right += usize::from(end_right <= end_left);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::{common_token, count, count_long, ends};
    use crate::vocabulary::{NO_RANK, Vocabulary};

    static VOCABULARIES: LazyLock<[Vocabulary; 2]> = LazyLock::new(|| {
        [
            Vocabulary::new(include_bytes!("../data/o200k_base.vocabulary")),
            Vocabulary::new(include_bytes!("../data/cl100k_base.vocabulary")),
        ]
    });

    /// The definition, word by word.
    fn oracle(vocabulary: &Vocabulary, piece: &[u8]) -> Vec<usize> {
        let mut ends: Vec<usize> = (1..=piece.len()).collect();
        let start = |ends: &[usize], part: usize| if part == 0 { 0 } else { ends[part - 1] };
        loop {
            let joined = |part: usize| vocabulary.rank(&piece[start(&ends, part)..ends[part + 1]]);
            match (0..ends.len().saturating_sub(1)).map(|part| (joined(part), part)).min() {
                Some((rank, part)) if rank != NO_RANK => ends.remove(part),
                _ => return ends,
            };
        }
    }

    fn check(piece: &[u8]) {
        for vocabulary in &*VOCABULARIES {
            let expected = oracle(vocabulary, piece);
            if vocabulary.rank(piece) == NO_RANK {
                assert_eq!(count(vocabulary, piece), expected.len(), "{piece:?}");
            }
            assert_eq!(ends(vocabulary, piece), expected, "{piece:?}");
            // A margin of 512 bytes fits these windows, in the first barely.
            for window in [700, 1000] {
                assert_eq!(count_long(vocabulary, piece, window), expected.len(), "{piece:?} in windows of {window}");
            }
        }
    }

    #[test]
    fn every_way_merges_as_defined() {
        for unit in ["a", " ", "\n", "-", "=", "中", "é", "ab", "aab", " \t", "\u{301}", "tokenization", "<|endoftext|>"] {
            for length in [0, 1, 2, 3, 5, 16, 31, 32, 33, 64, 300, 1500] {
                check(&unit.bytes().cycle().take(length).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_common_token_begins_and_ends_together() {
        assert_eq!(common_token(&[3, 5, 9], &[5, 9], 3), Some((1, 0)));
        // Both have an end at 8, of different tokens; 8 to 12 is the same.
        assert_eq!(common_token(&[3, 5, 8, 12], &[6, 8, 12], 3), Some((3, 2)));
        assert_eq!(common_token(&[3, 5, 8], &[6, 8, 12], 3), None);
        assert_eq!(common_token(&[3], &[6], 4), None);
    }

    fn stretches() -> impl Strategy<Value = Vec<u8>> {
        let stretch = prop_oneof![
            (prop::sample::select(&b" \n-=a0\xe4\xb8"[..]), 1..400usize).prop_map(|(byte, times)| vec![byte; times]),
            "[a-z]{1,60}".prop_map(String::into_bytes),
            "\\PC{1,30}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 1..60),
        ];
        prop::collection::vec(stretch, 0..8).prop_map(|stretches| stretches.concat())
    }

    proptest! {
        // The definition takes the square of the length.
        #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, ..ProptestConfig::default() })]
        #[test]
        fn any_bytes_merge_as_defined(piece in stretches()) {
            check(&piece);
        }
    }
}
