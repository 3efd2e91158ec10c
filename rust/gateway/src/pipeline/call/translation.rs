//! What the record says of the way between the client's dialect and the provider's.

use fairlead_ir::{Dialect, Losses};
use fairlead_journal::record::LOSSES_MAX;
use fairlead_ledger::Loss;

/// Empty, and without an allocation, where the bytes pass as they are.
#[derive(Default)]
pub(super) struct Translation {
    /// The dialect spoken with the provider, where it is not the client's.
    pub(super) upstream_dialect: Option<Dialect>,
    /// At most [`LOSSES_MAX`], in the order they were met.
    losses: Vec<fairlead_ir::Loss>,
    /// Those that found no place.
    pub(super) losses_more: u32,
    /// How many of those of a stream were noted.
    of_stream: usize,
}

impl Translation {
    /// Adds losses. When they are too many, those that matter least go, of these the latest first.
    pub(super) fn note(&mut self, losses: &Losses) {
        losses.as_slice().iter().for_each(|loss| self.add(loss));
    }

    /// Adds those of a growing list that are new.
    pub(super) fn note_stream(&mut self, losses: &Losses) {
        for loss in losses.as_slice().iter().skip(std::mem::replace(&mut self.of_stream, losses.as_slice().len())) {
            self.add(loss);
        }
    }

    /// Those that are held.
    pub(super) fn noted(&self) -> &[fairlead_ir::Loss] {
        &self.losses
    }

    /// As the record has them.
    pub(super) fn losses(&self) -> Vec<Loss<&str>> {
        self.losses.iter().map(|loss| Loss { path: loss.path.as_str(), reason: &*loss.reason, severity: loss.severity }).collect()
    }

    fn add(&mut self, loss: &fairlead_ir::Loss) {
        if self.losses.len() >= LOSSES_MAX {
            self.losses_more = self.losses_more.saturating_add(1);
            // From the end: of several that matter equally little, `min_by_key` takes the first it sees.
            let least = self.losses.iter().enumerate().rev().min_by_key(|(_, held)| held.severity);
            match least {
                Some((place, held)) if held.severity < loss.severity => drop(self.losses.remove(place)),
                _ => return,
            }
        }
        self.losses.push(loss.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_ir::Severity::{self, Changed, Dropped, Hint};

    fn check(noted: &[&[(Severity, usize)]], kept: &[(Severity, std::ops::Range<usize>)], more: u32) {
        let mut translation = Translation::default();
        for group in noted {
            let mut losses = Losses::new();
            for (place, (severity, count)) in group.iter().enumerate() {
                (0..*count).for_each(|n| losses.at(format!("{place}.{n}"), *severity, "gone"));
            }
            translation.note(&losses);
        }
        let found: Vec<(Severity, &str)> = translation.losses().iter().map(|loss| (loss.severity, loss.path)).collect();
        let wanted: Vec<(Severity, String)> = kept
            .iter()
            .enumerate()
            .flat_map(|(place, (severity, range))| range.clone().map(move |n| (*severity, format!("{place}.{n}"))))
            .collect();
        assert_eq!(found, wanted.iter().map(|(severity, path)| (*severity, path.as_str())).collect::<Vec<_>>(), "{noted:?}");
        assert_eq!(translation.losses_more, more, "{noted:?}");
    }

    #[test]
    fn what_matters_most_is_kept_in_its_order() {
        check(&[&[]], &[], 0);
        check(&[&[(Hint, 32)]], &[(Hint, 0..32)], 0);
        check(&[&[(Hint, 40)]], &[(Hint, 0..32)], 8);
        check(&[&[(Hint, 40), (Dropped, 3)]], &[(Hint, 0..29), (Dropped, 0..3)], 11);
        check(&[&[(Changed, 31), (Hint, 9), (Dropped, 2)]], &[(Changed, 0..30), (Hint, 0..0), (Dropped, 0..2)], 10);
        check(&[&[(Dropped, 33), (Hint, 2), (Changed, 1)]], &[(Dropped, 0..32)], 4);
    }

    #[test]
    fn request_and_reply_add_up() {
        check(&[&[(Changed, 20)], &[(Hint, 0), (Hint, 20)]], &[(Changed, 0..20), (Hint, 0..12)], 8);
    }

    #[test]
    fn a_stream_tells_its_losses_again_and_again() {
        let (mut translation, mut losses) = (Translation::default(), Losses::new());
        translation.note_stream(&losses);
        for path in ["a", "b"] {
            losses.at(path.to_owned(), Dropped, "gone");
            translation.note_stream(&losses);
            translation.note_stream(&losses);
        }
        assert_eq!(translation.losses().iter().map(|loss| loss.path).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn nothing_lost_allocates_nothing() {
        let translation = Translation::default();
        assert_eq!((translation.losses.capacity(), translation.losses().capacity()), (0, 0));
    }
}
