//! Service tiers: how soon a provider answers, and at which price.

use crate::dialect::Dialect;

/// A service tier, as providers sell and report it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Tier {
    /// As always.
    #[default]
    Standard = 0,
    /// Cheaper and later.
    Flex = 1,
    /// Dearer and sooner.
    Priority = 2,
    /// The same under another name, with some providers at a price of its own.
    Fast = 3,
    /// Dearer still, and sooner.
    Ultrafast = 4,
    /// Bought in advance.
    Scale = 5,
    /// Hours later, in batches.
    Batch = 6,
}

impl Tier {
    /// Every tier, in the order of the stored numbers.
    pub const ALL: [Tier; 7] = [Tier::Standard, Tier::Flex, Tier::Priority, Tier::Fast, Tier::Ultrafast, Tier::Scale, Tier::Batch];

    /// The number that journals store.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The tier with this number.
    pub fn from_number(number: u8) -> Option<Tier> {
        Tier::ALL.get(usize::from(number)).copied()
    }

    /// The word of requests, prices and tags.
    pub const fn name(self) -> &'static str {
        match self {
            Tier::Standard => "default",
            Tier::Flex => "flex",
            Tier::Priority => "priority",
            Tier::Fast => "fast",
            Tier::Ultrafast => "ultrafast",
            Tier::Scale => "scale",
            Tier::Batch => "batch",
        }
    }

    /// The word that asks for it in a dialect; `None` where nothing does. Messages say it in `speed`, the others in `service_tier`.
    pub const fn word(self, dialect: Dialect) -> Option<&'static str> {
        match (dialect, self) {
            (_, Tier::Standard | Tier::Batch) => None,
            (Dialect::OpenaiChat | Dialect::OpenaiResponses, tier) => Some(tier.name()),
            (Dialect::GeminiGenerate | Dialect::BedrockConverse, Tier::Flex | Tier::Priority) => Some(self.name()),
            (Dialect::AnthropicMessages, Tier::Fast) => Some(self.name()),
            (Dialect::GeminiGenerate | Dialect::BedrockConverse | Dialect::AnthropicMessages, _) => None,
        }
    }

    /// Whether who asks for `asked` is content with this one: `priority` and `fast` are two names of one thing.
    pub const fn is_as_good_as(self, asked: Tier) -> bool {
        self as u8 == asked as u8 || matches!((self, asked), (Tier::Priority, Tier::Fast) | (Tier::Fast, Tier::Priority))
    }

    /// The tier that a word of any dialect means, in requests as in replies; `None` of one that nobody here knows.
    pub fn from_word(word: &[u8]) -> Option<Tier> {
        const STANDARD: [&[u8]; 5] = [b"auto", b"default", b"standard", b"standard_only", b"on_demand"];
        if STANDARD.iter().any(|usual| usual.eq_ignore_ascii_case(word)) {
            return Some(Tier::Standard);
        }
        Tier::ALL.into_iter().find(|tier| tier.name().as_bytes().eq_ignore_ascii_case(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_tiers() {
        let check = |word: &str, tier| assert_eq!(Tier::from_word(word.as_bytes()), tier, "{word}");
        for tier in Tier::ALL {
            check(tier.name(), Some(tier));
            assert_eq!(Tier::from_number(tier.number()), Some(tier));
        }
        check("auto", Some(Tier::Standard));
        check("STANDARD", Some(Tier::Standard));
        check("PRIORITY", Some(Tier::Priority));
        check("reserved", None);
        check("", None);
        assert_eq!(Tier::from_number(7), None);
    }
}
