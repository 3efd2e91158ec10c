//! What counts the texts of a model: its encoding, or the estimator.

use crate::encoding::Encoding;
use crate::estimate::{Estimation, Family, estimate};
use crate::model;

/// Counts texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Exactly, by a public encoding.
    Exact(Encoding),
    /// By the estimator.
    Estimated(Family),
}

impl Counter {
    /// The best there is for a model: exact if its encoding is public.
    pub fn for_model(name: &str) -> Counter {
        model::encoding(name).map_or_else(|| Counter::Estimated(model::family(name)), Counter::Exact)
    }

    /// The tokens of a text.
    pub fn count(self, text: &str) -> u64 {
        match self {
            Counter::Exact(encoding) => encoding.count(text),
            Counter::Estimated(family) => estimate(text, family),
        }
    }

    /// Whether counts are exact.
    pub const fn is_exact(self) -> bool {
        matches!(self, Counter::Exact(_))
    }

    /// Of no text yet, for the family that counts most alike.
    pub(crate) const fn estimation(self) -> Estimation {
        Estimation::new(match self {
            Counter::Exact(Encoding::O200kBase) => Family::O200k,
            Counter::Exact(Encoding::Cl100kBase) => Family::Cl100k,
            Counter::Estimated(family) => family,
        })
    }
}
