//! A body as the list of the pieces it arrived in, written with one vectored call and never copied together.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Bytes in several pieces, read from the front.
#[derive(Debug, Clone, Default)]
pub(super) struct Pieces {
    list: VecDeque<Bytes>,
    remaining: usize,
}

impl Pieces {
    /// Puts a piece before the others: a request head.
    pub(super) fn push_front(&mut self, piece: Bytes) {
        self.remaining += piece.len();
        self.list.push_front(piece);
    }
}

impl From<Vec<Bytes>> for Pieces {
    fn from(list: Vec<Bytes>) -> Self {
        let remaining = list.iter().map(Bytes::len).sum();
        Self { list: list.into_iter().filter(|piece| !piece.is_empty()).collect(), remaining }
    }
}

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.list.front().map_or(&[], |piece| piece)
    }

    fn advance(&mut self, mut count: usize) {
        self.remaining -= count;
        while let Some(front) = self.list.front_mut() {
            if front.len() > count {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.list.pop_front();
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.list) {
            *slice = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_like_the_joined_bytes(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..8),
            steps in prop::collection::vec(1_usize..30, 0..40),
        ) {
            let joined = parts.concat();
            let mut pieces = Pieces::from(parts.into_iter().map(Bytes::from).collect::<Vec<_>>());
            let mut at = 0;
            for step in steps {
                prop_assert_eq!(pieces.remaining(), joined.len() - at);
                let mut slices = [IoSlice::new(&[]); 16];
                let filled = pieces.chunks_vectored(&mut slices);
                let seen: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
                prop_assert_eq!(&seen, &joined[at..]);
                let step = step.min(joined.len() - at);
                pieces.advance(step);
                at += step;
            }
        }
    }
}
