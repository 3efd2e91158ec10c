//! Byte-pair merging: how many tokens a piece becomes.
//!
//! ```text
//! parts = the bytes of the piece
//! while two neighbouring parts together are a token:
//!     join the two whose token has the lowest rank; of several, the leftmost
//! ```
//!
//! Three ways, by length. A short piece is done as it stands above, in arrays on the stack: searching a few numbers is cheaper than keeping
//! them in order. A longer one keeps the pairs in a heap. One longer than [`WINDOW`] is done window by window, so that time is linear and
//! memory constant whatever a client sends:
//!
//! A sequence of tokens is the merging of its text exactly if each two neighbours are the merging of *their* text. (Within the two, merging
//! happens in the same order alone as in the whole; so if they stay two alone, no merge crosses their border in the whole, and the other
//! way round.) So if the mergings of two windows that overlap have a token in common, at the same place, then the first up to that token
//! and the second after it are the merging of both.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::vocabulary::{NO_RANK, Vocabulary};

/// Bytes of a piece that is searched rather than kept in a heap. Measured: equal at about this length.
const SHORT: usize = 48;
/// Bytes that are merged at a time.
const WINDOW: usize = 4096;

/// The number of tokens that a piece becomes. A piece that is a token is not for here: its rank says so at less cost.
pub(crate) fn count(vocabulary: &Vocabulary, piece: &[u8]) -> usize {
    match piece.len() {
        0..=1 => piece.len(),
        2..=SHORT => count_short(vocabulary, piece),
        _ if piece.len() <= WINDOW => ends(vocabulary, piece).len(),
        _ => count_long(vocabulary, piece, WINDOW),
    }
}

fn count_short(vocabulary: &Vocabulary, piece: &[u8]) -> usize {
    // A part is known by where it begins; `ranks[i]` is that of parts i and i + 1 together. The last has no follower.
    let mut starts = [0u8; SHORT + 1];
    let mut ranks = [NO_RANK; SHORT];
    for (index, pair) in piece.windows(2).enumerate() {
        starts[index + 1] = index as u8 + 1;
        ranks[index] = vocabulary.pair(pair[0], pair[1]);
    }
    let mut parts = piece.len();
    starts[parts] = parts as u8;
    loop {
        let mut lowest = 0;
        for index in 1..parts {
            if ranks[index] < ranks[lowest] {
                lowest = index;
            }
        }
        if ranks[lowest] == NO_RANK {
            return parts;
        }
        starts.copy_within(lowest + 2..=parts, lowest + 1);
        ranks.copy_within(lowest + 1..parts, lowest);
        parts -= 1;
        ranks[parts] = NO_RANK;
        let joined = |index: usize| {
            if index + 1 < parts { vocabulary.rank(&piece[usize::from(starts[index])..usize::from(starts[index + 2])]) } else { NO_RANK }
        };
        ranks[lowest] = joined(lowest);
        if lowest > 0 {
            ranks[lowest - 1] = joined(lowest - 1);
        }
    }
}

/// Where each token of a piece ends. The piece is shorter than 4 GiB.
fn ends(vocabulary: &Vocabulary, piece: &[u8]) -> Vec<usize> {
    let end = piece.len() as u32;
    // Parts are a linked list by the place they begin at; `ranks` is that of a part with its follower. A joined part's rank is gone.
    let mut next: Vec<u32> = (1..=end).collect();
    let mut previous: Vec<u32> = (0..end).map(|at| at.saturating_sub(1)).collect();
    let mut ranks: Vec<u32> = piece.windows(2).map(|pair| vocabulary.pair(pair[0], pair[1])).chain([NO_RANK]).collect();
    let entry = |rank: u32, at: u32| Reverse(u64::from(rank) << 32 | u64::from(at));
    let mut heap: BinaryHeap<_> =
        ranks.iter().zip(0..end).filter(|(rank, _)| **rank != NO_RANK).map(|(&rank, at)| entry(rank, at)).collect();
    while let Some(Reverse(lowest)) = heap.pop() {
        let (rank, at) = ((lowest >> 32) as u32, lowest as u32);
        // An entry that a later one replaced. The same rank at the same place is the same token.
        if ranks[at as usize] != rank {
            continue;
        }
        let gone = next[at as usize];
        ranks[gone as usize] = NO_RANK;
        let after = next[gone as usize];
        next[at as usize] = after;
        if after < end {
            previous[after as usize] = at;
        }
        let before = (at > 0).then(|| previous[at as usize]);
        for first in before.into_iter().chain([at]) {
            let second = next[first as usize];
            let joined = if second < end { vocabulary.rank(&piece[first as usize..next[second as usize] as usize]) } else { NO_RANK };
            ranks[first as usize] = joined;
            if joined != NO_RANK {
                heap.push(entry(joined, first));
            }
        }
    }
    let mut found = Vec::new();
    let mut at = 0;
    while at < end {
        at = next[at as usize];
        found.push(at as usize);
    }
    found
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

    use super::{count, count_long, ends};
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
            for length in [0, 1, 2, 3, 5, 16, 47, 48, 49, 50, 300, 1500] {
                check(&unit.bytes().cycle().take(length).collect::<Vec<_>>());
            }
        }
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
