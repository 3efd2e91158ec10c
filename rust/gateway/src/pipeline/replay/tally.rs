//! The sums of a replay, and how they are told.

use super::{Again, Cost, Place};
use crate::decisions::segment::Unreadable;
use fairlead_ir::Tier;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// Sums over decisions.
#[derive(Default)]
pub(super) struct Tally {
    decisions: u64,
    first_ms: Option<u64>,
    last_ms: u64,
    same: u64,
    same_first: u64,
    /// Refused then, served now.
    newly_possible: u64,
    /// By the first choices then and now.
    changed: BTreeMap<(Place, Place), Sum>,
    /// By the model's name and why; of those that were served then.
    impossible: BTreeMap<(String, String), Sum>,
    comparable: Sum,
    expected: Expected,
    would_fail: Sum,
    pub(super) unreadable_records: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Sum {
    decisions: u64,
    then_nanousd: i64,
    now_nanousd: i64,
}

impl Sum {
    fn add(&mut self, then_nanousd: i64, now_nanousd: i64) {
        self.decisions += 1;
        self.then_nanousd = self.then_nanousd.saturating_add(then_nanousd);
        self.now_nanousd = self.now_nanousd.saturating_add(now_nanousd);
    }
}

/// Decisions without a reply to go by.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Expected {
    decisions: u64,
    then_nanousd: i64,
    now_usd: f64,
}

impl Tally {
    pub(super) fn add(&mut self, again: &Again, then_nanousd: Option<i64>, now: Option<Cost>) {
        self.decisions += 1;
        let at_ms = again.generation.unix_ms();
        self.first_ms = Some(self.first_ms.map_or(at_ms, |first_ms| first_ms.min(at_ms)));
        self.last_ms = self.last_ms.max(at_ms);
        let first = again.first();
        self.same += u64::from(again.is_same || again.then.is_empty() && first.is_none());
        let charged = then_nanousd.unwrap_or(0);
        match (again.then.first(), first, &again.now) {
            (None, None, _) => self.same_first += 1,
            (None, Some(_), _) => self.newly_possible += 1,
            (Some(_), None, now) => {
                let reason = now.as_ref().err().cloned().unwrap_or_default();
                self.impossible.entry((again.name.clone(), reason)).or_default().add(charged, 0);
            }
            (Some(then), Some(first), _) if *then == first => self.same_first += 1,
            (Some(then), Some(first), _) => {
                let now_nanousd = if let Some(Cost::Exact(nanousd)) = now { nanousd } else { 0 };
                // Where there is no figure for now, the one for then would mislead.
                let charged = if matches!(now, Some(Cost::Exact(_))) { charged } else { 0 };
                self.changed.entry((*then, first)).or_default().add(charged, now_nanousd);
            }
        }
        match now {
            Some(Cost::Exact(nanousd)) => self.comparable.add(charged, nanousd),
            Some(Cost::Expected(usd)) => {
                self.expected.decisions += 1;
                self.expected.then_nanousd = self.expected.then_nanousd.saturating_add(charged);
                self.expected.now_usd += usd;
            }
            Some(Cost::Failed) => self.would_fail.add(charged, 0),
            None => {}
        }
    }

    pub(super) fn summary(&self, unreadable: Unreadable) -> Vec<u8> {
        let mut changed: Vec<Changed> =
            self.changed.iter().map(|((then, now), sum)| Changed { then: *then, now: *now, sum: *sum }).collect();
        changed.sort_by_key(|changed| std::cmp::Reverse(changed.sum.decisions));
        let mut impossible: Vec<Impossible<'_>> = self
            .impossible
            .iter()
            .map(|((model, reason), sum)| Impossible { model, reason, decisions: sum.decisions, then_nanousd: sum.then_nanousd })
            .collect();
        impossible.sort_by_key(|impossible| std::cmp::Reverse(impossible.decisions));
        let summary = Summary {
            decisions: self.decisions,
            first_ms: self.first_ms,
            last_ms: self.first_ms.map(|_| self.last_ms),
            same: self.same,
            same_first: self.same_first,
            newly_possible: self.newly_possible,
            changed,
            impossible,
            cost: self.comparable,
            expected: self.expected,
            would_fail: self.would_fail,
            unreadable: Lost {
                records: self.unreadable_records,
                blocks: unreadable.blocks,
                segments: unreadable.segments,
                cut_off: unreadable.cut_off,
            },
        };
        serde_json::to_vec(&summary).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Summary<'a> {
    /// Those that were made again.
    decisions: u64,
    first_ms: Option<u64>,
    last_ms: Option<u64>,
    /// The same endpoints in the same order, spoken to in the same dialects.
    same: u64,
    /// The same first choice, or as before none.
    same_first: u64,
    newly_possible: u64,
    changed: Vec<Changed>,
    impossible: Vec<Impossible<'a>>,
    /// Of those with a reply to go by.
    cost: Sum,
    expected: Expected,
    would_fail: Sum,
    unreadable: Lost,
}

#[derive(Serialize)]
struct Changed {
    then: Place,
    now: Place,
    #[serde(flatten)]
    sum: Sum,
}

#[derive(Serialize)]
struct Impossible<'a> {
    model: &'a str,
    reason: &'a str,
    decisions: u64,
    then_nanousd: i64,
}

#[derive(Serialize)]
struct Lost {
    records: u64,
    blocks: u64,
    segments: u64,
    cut_off: u64,
}

/// A decision, told.
#[derive(Serialize)]
pub(super) struct Told {
    id: String,
    at_ms: u64,
    name: String,
    /// First choices.
    then: Option<Place>,
    now: Option<Place>,
    same: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    then_nanousd: Option<i64>,
    now_nanousd: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_usd: Option<f64>,
    /// Nobody would be left who did not fail then, or had a key to spare.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    would_fail: bool,
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut place = serializer.serialize_struct("Place", 2)?;
        place.serialize_field("endpoint", &self.endpoint)?;
        place.serialize_field("tier", &self.tier.map(Tier::name))?;
        place.end()
    }
}

impl Again {
    /// The first choice now.
    fn first(&self) -> Option<Place> {
        self.now.as_ref().ok()?.first().map(|choice| choice.place)
    }
}

pub(super) fn told(again: &Again, id: String, then_nanousd: Option<i64>, now: Option<Cost>) -> Told {
    let first = again.first();
    Told {
        id,
        at_ms: again.generation.unix_ms(),
        name: again.name.clone(),
        then: again.then.first().copied(),
        now: first,
        same: again.is_same || again.then.is_empty() && first.is_none(),
        reason: again.now.as_ref().err().cloned(),
        then_nanousd,
        now_nanousd: match now {
            Some(Cost::Exact(nanousd)) => Some(nanousd),
            Some(Cost::Failed) => Some(0),
            Some(Cost::Expected(_)) | None => None,
        },
        expected_usd: if let Some(Cost::Expected(usd)) = now { Some(usd) } else { None },
        would_fail: now == Some(Cost::Failed),
    }
}
