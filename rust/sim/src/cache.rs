//! Prompt caching as the providers report it: a bounded memory of prompt prefixes that were seen, and what of a prompt was in it.

use crate::digest::Fingerprint;
use std::collections::{HashSet, VecDeque};

const MAX_PREFIXES: usize = 65_536;
/// How many blocks before a mark are looked at for a shorter prefix that is there.
const LOOK_BACK_BLOCKS: usize = 20;
/// A shorter prefix is not cached without a mark.
const MIN_IMPLICIT_TOKENS: u64 = 32;

/// The end of a block of a prompt: everything up to it, and how many tokens that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Boundary {
    pub(crate) prefix: Fingerprint,
    pub(crate) tokens: u64,
    pub(crate) mark: Option<Lifetime>,
}

/// How long a marked prefix is to be kept. The simulator keeps all alike and reports them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    Short,
    Long,
}

/// What a provider caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Up to the caller's marks.
    Marked,
    /// All it sees.
    Implicit,
}

/// What of a prompt was read from the cache and what was written to it, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CacheUse {
    pub(crate) read: u32,
    pub(crate) written: u32,
    /// Of those written, the ones with the long lifetime.
    pub(crate) written_long: u32,
}

/// Prefixes that were seen, the oldest forgotten first.
#[derive(Debug, Default)]
pub(crate) struct PromptCache {
    known: HashSet<(Fingerprint, Fingerprint)>,
    order: VecDeque<(Fingerprint, Fingerprint)>,
}

impl PromptCache {
    /// Looks the prompt's prefixes up and remembers them; `scope` is who may share them.
    pub(crate) fn visit(&mut self, scope: Fingerprint, boundaries: &[Boundary], policy: Policy) -> CacheUse {
        let read = self.hit(scope, boundaries, policy);
        let kept = boundaries.iter().filter(|boundary| match policy {
            Policy::Marked => boundary.mark.is_some(),
            Policy::Implicit => boundary.tokens >= MIN_IMPLICIT_TOKENS,
        });
        let (mut end, mut long) = (read, 0);
        for boundary in kept {
            self.remember((scope, boundary.prefix));
            if boundary.mark == Some(Lifetime::Long) {
                long += boundary.tokens.saturating_sub(end.max(read));
            }
            end = end.max(boundary.tokens);
        }
        let tokens = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        CacheUse { read: tokens(read), written: tokens(end - read), written_long: tokens(long) }
    }

    /// The tokens of the longest known prefix.
    fn hit(&self, scope: Fingerprint, boundaries: &[Boundary], policy: Policy) -> u64 {
        let mut reach = if policy == Policy::Implicit { usize::MAX } else { 0 };
        for boundary in boundaries.iter().rev() {
            if policy == Policy::Marked && boundary.mark.is_some() {
                reach = LOOK_BACK_BLOCKS;
            }
            if reach > 0 && self.known.contains(&(scope, boundary.prefix)) {
                return boundary.tokens;
            }
            reach = reach.saturating_sub(1);
        }
        0
    }

    fn remember(&mut self, entry: (Fingerprint, Fingerprint)) {
        if self.known.insert(entry) {
            self.order.push_back(entry);
        }
        if self.order.len() > MAX_PREFIXES {
            self.order.pop_front().map(|oldest| self.known.remove(&oldest));
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(blocks: &[(u64, u64, Option<Lifetime>)]) -> Vec<Boundary> {
        blocks.iter().map(|&(prefix, tokens, mark)| Boundary { prefix, tokens, mark }).collect()
    }

    const SHORT: Option<Lifetime> = Some(Lifetime::Short);
    const LONG: Option<Lifetime> = Some(Lifetime::Long);

    #[test]
    fn marks_decide() {
        let mut cache = PromptCache::default();
        let mut check = |blocks: &[(u64, u64, Option<Lifetime>)], read: u32, written: u32, written_long: u32| {
            let seen = cache.visit(1, &prompt(blocks), Policy::Marked);
            assert_eq!(seen, CacheUse { read, written, written_long }, "{blocks:?}");
        };
        check(&[(1, 10, None), (2, 20, None)], 0, 0, 0);
        check(&[(1, 10, SHORT), (2, 20, None)], 0, 10, 0);
        check(&[(1, 10, SHORT), (2, 20, None)], 10, 0, 0);
        check(&[(1, 10, None), (2, 20, SHORT)], 10, 10, 0);
        check(&[(1, 10, LONG), (2, 20, SHORT), (3, 50, LONG)], 20, 30, 30);
        check(&[(9, 10, LONG), (8, 30, SHORT)], 0, 30, 10);
    }

    #[test]
    fn a_mark_looks_back_so_far() {
        let long: Vec<_> = (0..40).map(|block| (block, block * 10, (block == 5 || block == 39).then_some(Lifetime::Short))).collect();
        let mut cache = PromptCache::default();
        cache.visit(1, &prompt(&[(5, 50, SHORT)]), Policy::Marked);
        assert_eq!(cache.visit(1, &prompt(&long), Policy::Marked).read, 50);
        let mut cache = PromptCache::default();
        cache.visit(1, &prompt(&[(5, 50, SHORT)]), Policy::Marked);
        let unmarked: Vec<_> = long.iter().map(|&(prefix, tokens, mark)| (prefix, tokens, mark.filter(|_| prefix == 39))).collect();
        assert_eq!(cache.visit(1, &prompt(&unmarked), Policy::Marked).read, 0);
    }

    #[test]
    fn implicit_needs_some_length_and_the_same_scope() {
        let mut cache = PromptCache::default();
        let short = prompt(&[(1, 10, None), (2, 20, None)]);
        cache.visit(1, &short, Policy::Implicit);
        assert_eq!(cache.visit(1, &short, Policy::Implicit), CacheUse::default());
        let longer = prompt(&[(1, 10, None), (2, 40, None)]);
        assert_eq!(cache.visit(1, &longer, Policy::Implicit).written, 40);
        let longest = prompt(&[(1, 10, None), (2, 40, None), (3, 90, None)]);
        assert_eq!((cache.visit(2, &longest, Policy::Implicit).read, cache.visit(1, &longest, Policy::Implicit).read), (0, 40));
    }

    #[test]
    fn it_forgets_the_oldest() {
        let mut cache = PromptCache::default();
        for prefix in 0..=MAX_PREFIXES as u64 {
            cache.visit(1, &prompt(&[(prefix, 50, SHORT)]), Policy::Marked);
        }
        assert_eq!(cache.known.len(), MAX_PREFIXES);
        assert_eq!(cache.visit(1, &prompt(&[(0, 50, SHORT)]), Policy::Marked).read, 0);
    }
}
