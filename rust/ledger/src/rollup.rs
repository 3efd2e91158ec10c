//! Folds generations into rollups: what happened by window (minutes to months) and dimension, as exact integers.
//!
//! A [`Fold`] collects what one transaction brings; what it adds up to are rows for SQL. What counts where:
//!
//! * A generation counts once, in the window of its settlement, however it ended: void, recovered and cancelled ones are requests, too.
//! * What a shadow cost stands at the shadow's own place; it is nobody's request and has no other sum there. All that came of it stands by
//!   the models that were asked for and got the copy.
//! * Durations stand for all together and by place in hours, days and months, and by key, arm, preset and shadow in days and months.

use crate::histogram::Histogram;
use fairlead_ir::Interval;
use foldhash::fast::FixedState;
use std::collections::HashMap;
use std::hash::Hash;

/// How many sums a row has, in the order of the table; the first is the number of requests.
pub const SUMS: usize = 12;
/// Where among them what the attempts cost stands.
const UPSTREAM_COST: usize = 8;
/// Sums of one window and value.
pub type Sums = [i64; SUMS];

/// How long windows are, as SQL numbers them. The zone's are only made where there is a reporting zone that is not UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Res {
    Minute,
    Quarter,
    Hour,
    Day,
    Month,
    ZoneDay,
    ZoneMonth,
}

/// What rows are about, as SQL numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Dim {
    Total,
    Place,
    Key,
    Team,
    User,
    App,
    Arm,
    Preset,
    Shadow,
}

const MINUTE_MS: i64 = 60_000;
const QUARTER_MS: i64 = 900_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;

/// Where windows begin.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// From which moment on the zone's clock is how far ahead of UTC, in milliseconds, ascending; empty where days are UTC's alone.
    zone: Vec<(i64, i64)>,
}

impl Clock {
    /// With the reporting zone's offsets: from a moment (Unix milliseconds) on, so many milliseconds ahead of UTC; ascending.
    pub fn new(zone: Vec<(i64, i64)>) -> Clock {
        Clock { zone }
    }

    fn zone_day(&self, at_ms: i64) -> i64 {
        let next = self.zone.partition_point(|(from_ms, _)| *from_ms <= at_ms);
        let ahead_ms = next.checked_sub(1).and_then(|index| self.zone.get(index)).map_or(0, |(_, ahead_ms)| *ahead_ms);
        start(at_ms + ahead_ms, DAY_MS)
    }
}

fn start(at_ms: i64, length_ms: i64) -> i64 {
    at_ms - at_ms.rem_euclid(length_ms)
}

/// The first moment of the month in which a moment lies; what is before 1970 counts to its first month.
fn month_start(at_ms: i64) -> i64 {
    Interval::Monthly.start_ms(at_ms.max(0).unsigned_abs()) as i64
}

/// A generation as SQL has it, or what came of a shadow.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names are those of the columns")]
pub struct Row<'a> {
    pub account_id: i64,
    pub key_id: i64,
    pub team_id: i64,
    pub user_id: i64,
    pub settled_at_ms: i64,
    pub model: &'a str,
    pub provider: &'a str,
    /// What the application is known by; empty where it says nothing.
    pub app: &'a str,
    pub split: &'a str,
    pub arm: &'a str,
    pub preset: &'a str,
    pub outcome: &'a str,
    pub error: &'a str,
    pub streamed: bool,
    pub prompt_tokens: u64,
    pub cache_read_tokens: u64,
    pub cache_write_tokens: u64,
    pub cache_write_1h_tokens: u64,
    pub completion_tokens: u64,
    pub reasoning_tokens: u64,
    pub charged_nanousd: i64,
    pub upstream_cost_nanousd: i64,
    pub content_us: u64,
    pub total_us: u64,
}

/// One of a generation's attempts.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names are those of the columns")]
pub struct Tried<'a> {
    pub provider: &'a str,
    pub endpoint_id: i64,
    pub error: &'a str,
    pub is_shadow: bool,
}

/// A reported count above this is a provider's mistake; it is stored with its generation and kept out of the sums.
const MOST_CREDIBLE_TOKENS: u64 = 1_000_000_000_000;
/// How attempts end that did not fail: another was faster, the client left, or the process stopped.
const NOBODYS_FAULT: [&str; 4] = [OVERTAKEN, "client_gone", "shutting_down", "interrupted"];
const OVERTAKEN: &str = "overtaken";

impl<'a> Row<'a> {
    fn taken(&self, tried: &[Tried<'_>]) -> Taken<'a> {
        let credible = |count: u64| if count <= MOST_CREDIBLE_TOKENS { count as i64 } else { 0 };
        let first_content_us = (self.streamed && self.content_us > 0).then_some(self.content_us);
        let streaming_us = self.total_us.saturating_sub(self.content_us);
        let is_timed = first_content_us.is_some() && streaming_us > 0 && self.completion_tokens <= MOST_CREDIBLE_TOKENS;
        Taken {
            account: self.account_id,
            key: self.key_id,
            team: self.team_id,
            user: self.user_id,
            settled_ms: self.settled_at_ms,
            place: Place { model: self.model, provider: self.provider, endpoint: self.endpoint(tried) },
            app: self.app,
            split: self.split,
            arm: self.arm,
            preset: self.preset,
            sums: [
                1,
                i64::from(self.outcome == "failed"),
                credible(self.prompt_tokens),
                credible(self.cache_read_tokens),
                credible(self.cache_write_tokens) + credible(self.cache_write_1h_tokens),
                credible(self.completion_tokens),
                credible(self.reasoning_tokens),
                self.charged_nanousd,
                self.upstream_cost_nanousd,
                i64::from(was_retried(tried)),
                if is_timed { self.completion_tokens as i64 } else { 0 },
                if is_timed { i64::try_from(streaming_us).unwrap_or(0) } else { 0 },
            ],
            first_content_us,
            whole_us: (self.outcome == "completed").then_some(self.total_us),
            error: self.error,
        }
    }

    /// The endpoint that answered, else the last one that was asked; of the provider that the generation names.
    fn endpoint(&self, tried: &[Tried<'_>]) -> i64 {
        let own = tried.iter().filter(|tried| tried.provider == self.provider);
        let rank = |tried: &&Tried<'_>| match tried.error {
            "" => 2,
            OVERTAKEN => 0,
            _ => 1,
        };
        own.max_by_key(rank).map_or(0, |tried| tried.endpoint_id)
    }
}

/// Whether another attempt followed one that failed.
fn was_retried(tried: &[Tried<'_>]) -> bool {
    let Some((_, followed)) = tried.split_last() else { return false };
    followed.iter().any(|tried| !tried.error.is_empty() && !NOBODYS_FAULT.contains(&tried.error))
}

/// What is folded of a generation.
#[derive(Clone, Copy, Debug)]
struct Taken<'a> {
    account: i64,
    key: i64,
    /// 0 where there is none, as the user.
    team: i64,
    user: i64,
    settled_ms: i64,
    place: Place<'a>,
    /// Empty where there is none, as all names.
    app: &'a str,
    split: &'a str,
    arm: &'a str,
    preset: &'a str,
    sums: Sums,
    first_content_us: Option<u64>,
    whole_us: Option<u64>,
    error: &'a str,
}

/// A model at an endpoint of a provider; empty and 0 where nobody was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Place<'a> {
    pub model: &'a str,
    pub provider: &'a str,
    pub endpoint: i64,
}

type Map<K, V> = HashMap<K, V, FixedState>;

/// Numbers for values in the order in which they come.
#[derive(Debug)]
struct Numbers<K>(Map<K, usize>, Vec<K>);

impl<K> Default for Numbers<K> {
    fn default() -> Numbers<K> {
        Numbers(Map::default(), Vec::new())
    }
}

impl<K: Clone + Eq + Hash> Numbers<K> {
    fn of(&mut self, value: K) -> usize {
        *self.0.entry(value).or_insert_with_key(|value| {
            self.1.push(value.clone());
            self.1.len() - 1
        })
    }
}

/// Texts and their numbers.
#[derive(Debug, Default)]
struct Texts(Map<Box<str>, usize>, Vec<Box<str>>);

impl Texts {
    fn of(&mut self, text: &str) -> usize {
        if let Some(number) = self.0.get(text) {
            return *number;
        }
        let number = self.1.len();
        self.1.push(text.into());
        self.0.insert(text.into(), number);
        number
    }
}

/// What is known of durations in one window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// Until the first content of streams.
    pub first_content: Histogram,
    /// Of completed calls.
    pub whole: Histogram,
}

impl Durations {
    fn add(&mut self, other: &Durations) {
        self.first_content.add(&other.first_content);
        self.whole.add(&other.whole);
    }
}

/// Account, dimension, start of the window, value.
type Spot = (i64, Dim, i64, i64);
/// Account, dimension, UTC day, day of the zone, value, place.
type PairSpot = (i64, Dim, i64, i64, i64, i64);
/// Account, dimension, the finest window that it has, day of the zone, value.
type DurationSpot = (i64, Dim, i64, i64, i64);

/// What generations add to the rollups, before it is stored.
#[derive(Debug, Default)]
pub struct Fold {
    clock: Clock,
    texts: Texts,
    places: Numbers<(usize, usize, i64)>,
    names: Numbers<(Dim, usize, usize)>,
    minutes: Map<Spot, Sums>,
    pairs: Map<PairSpot, Sums>,
    durations: Map<DurationSpot, Durations>,
    /// Account, hour, place, class.
    errors: Map<(i64, i64, i64, usize), i64>,
    newest_ms: Option<i64>,
}

/// The numbers that SQL has for places and names, in the order of [`Fold::places`] and [`Fold::names`].
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Ids<'a> {
    pub places: &'a [i64],
    pub names: &'a [i64],
}

impl Ids<'_> {
    fn of(self, dim: Dim, value: i64) -> i64 {
        let numbers = match dim {
            Dim::Place => self.places,
            Dim::App | Dim::Arm | Dim::Preset | Dim::Shadow => self.names,
            _ => return value,
        };
        self.at(numbers, value)
    }

    fn place(self, value: i64) -> i64 {
        self.at(self.places, value)
    }

    fn at(self, numbers: &[i64], value: i64) -> i64 {
        usize::try_from(value).ok().and_then(|index| numbers.get(index)).copied().unwrap_or(0)
    }
}

impl Fold {
    /// Of nothing.
    pub fn new(clock: Clock) -> Fold {
        Fold { clock, ..Fold::default() }
    }

    /// Whether nothing was taken.
    pub fn is_empty(&self) -> bool {
        self.minutes.is_empty()
    }

    /// The last minute in which something was settled.
    pub fn newest_ms(&self) -> Option<i64> {
        self.newest_ms
    }

    /// A generation that is not stored yet, and its attempts.
    pub fn take(&mut self, row: &Row<'_>, tried: &[Tried<'_>]) {
        let own =
            tried.iter().any(|tried| tried.is_shadow).then(|| tried.iter().filter(|tried| !tried.is_shadow).copied().collect::<Vec<_>>());
        self.fold(&row.taken(own.as_deref().unwrap_or(tried)));
    }

    fn fold(&mut self, taken: &Taken<'_>) {
        let (account, hour) = (taken.account, start(taken.settled_ms, HOUR_MS));
        let place = self.place(taken);
        let names = [(Dim::App, taken.app, ""), (Dim::Arm, taken.split, taken.arm), (Dim::Preset, taken.preset, "")]
            .map(|(dim, name, part)| (dim, self.name(dim, name, part)));
        self.add(taken, place, &taken.sums, &names);
        let [_, arm, preset] = names;
        self.add_durations(taken, &[(Dim::Total, Some(0)), (Dim::Place, Some(place)), (Dim::Key, Some(taken.key)), arm, preset]);
        if !taken.error.is_empty() {
            let class = self.texts.of(taken.error);
            *self.errors.entry((account, hour, place, class)).or_default() += 1;
        }
    }

    /// What came of a shadow. `split` is the model that was asked for and `arm` the one that got the copy; empty where that is not known.
    pub fn take_shadow(&mut self, row: &Row<'_>, tried: &[Tried<'_>]) {
        self.fold_shadow(&row.taken(tried));
    }

    fn fold_shadow(&mut self, taken: &Taken<'_>) {
        let mut cost = [0; SUMS];
        cost[UPSTREAM_COST] = taken.sums[UPSTREAM_COST];
        let place = self.place(taken);
        let app = self.name(Dim::App, taken.app, "");
        self.add(taken, place, &cost, &[(Dim::App, app)]);
        if let Some(shadow) = self.name(Dim::Shadow, taken.split, taken.arm) {
            add_up(self.minutes.entry((taken.account, Dim::Shadow, start(taken.settled_ms, MINUTE_MS), shadow)).or_default(), &taken.sums);
            self.add_durations(taken, &[(Dim::Shadow, Some(shadow))]);
        }
    }

    fn place(&mut self, taken: &Taken<'_>) -> i64 {
        let (model, provider) = (self.texts.of(taken.place.model), self.texts.of(taken.place.provider));
        self.places.of((model, provider, taken.place.endpoint)) as i64
    }

    /// Adds sums wherever the generation counts.
    fn add(&mut self, taken: &Taken<'_>, place: i64, sums: &Sums, names: &[(Dim, Option<i64>)]) {
        let minute = start(taken.settled_ms, MINUTE_MS);
        self.newest_ms = self.newest_ms.max(Some(minute));
        let (day, zone_day) = (start(minute, DAY_MS), self.clock.zone_day(start(minute, QUARTER_MS)));
        let some = |id: i64| (id != 0).then_some(id);
        let ids = [
            (Dim::Total, Some(0)),
            (Dim::Place, Some(place)),
            (Dim::Key, Some(taken.key)),
            (Dim::Team, some(taken.team)),
            (Dim::User, some(taken.user)),
        ];
        for (dim, value) in ids.into_iter().chain(names.iter().copied()) {
            let Some(value) = value else { continue };
            add_up(self.minutes.entry((taken.account, dim, minute, value)).or_default(), sums);
            if IN_PAIRS.contains(&dim) {
                add_up(self.pairs.entry((taken.account, dim, day, zone_day, value, place)).or_default(), sums);
            }
        }
    }

    fn add_durations(&mut self, taken: &Taken<'_>, values: &[(Dim, Option<i64>)]) {
        if taken.first_content_us.is_none() && taken.whole_us.is_none() {
            return;
        }
        let zone_day = self.clock.zone_day(start(taken.settled_ms, QUARTER_MS));
        for (dim, value) in values {
            let Some(value) = value else { continue };
            let finest = start(taken.settled_ms, if in_hours(*dim) { HOUR_MS } else { DAY_MS });
            let durations = self.durations.entry((taken.account, *dim, finest, zone_day, *value)).or_default();
            if let Some(us) = taken.first_content_us {
                durations.first_content.count(us);
            }
            if let Some(us) = taken.whole_us {
                durations.whole.count(us);
            }
        }
    }

    fn name(&mut self, dim: Dim, name: &str, part: &str) -> Option<i64> {
        if name.is_empty() {
            return None;
        }
        let (name, part) = (self.texts.of(name), self.texts.of(part));
        Some(self.names.of((dim, name, part)) as i64)
    }

    /// The places that were seen.
    pub fn places(&self) -> impl Iterator<Item = Place<'_>> {
        let text = |number: usize| self.texts.1[number].as_ref();
        self.places.1.iter().map(move |(model, provider, endpoint)| Place {
            model: text(*model),
            provider: text(*provider),
            endpoint: *endpoint,
        })
    }

    /// The applications, arms and presets that were seen: dimension, name, part (the arm of a split).
    pub fn names(&self) -> impl Iterator<Item = (Dim, &str, &str)> {
        let text = |number: usize| self.texts.1[number].as_ref();
        self.names.1.iter().map(move |(dim, name, part)| (*dim, text(*name), text(*part)))
    }

    /// Resolution, account, dimension, start, value and sums of every window, in the order of the table's key.
    pub fn rollups(&self, ids: Ids<'_>) -> Vec<(Res, i64, Dim, i64, i64, Sums)> {
        let mut minutes: Map<Spot, Sums> = Map::default();
        for ((account, dim, minute, value), sums) in &self.minutes {
            add_up(minutes.entry((*account, *dim, *minute, ids.of(*dim, *value))).or_default(), sums);
        }
        let quarters = coarser(&minutes, |at_ms| start(at_ms, QUARTER_MS));
        let hours = coarser(&quarters, |at_ms| start(at_ms, HOUR_MS));
        let days = coarser(&hours, |at_ms| start(at_ms, DAY_MS));
        let months = coarser(&days, month_start);
        let mut all = vec![(Res::Month, months), (Res::Day, days), (Res::Hour, hours)];
        if !self.clock.zone.is_empty() {
            let zone_days = coarser(&quarters, |at_ms| self.clock.zone_day(at_ms));
            all.push((Res::ZoneMonth, coarser(&zone_days, month_start)));
            all.push((Res::ZoneDay, zone_days));
        }
        all.extend([(Res::Quarter, quarters), (Res::Minute, minutes)]);
        let rows = all.into_iter().flat_map(|(res, windows)| {
            windows.into_iter().map(move |((account, dim, at_ms, value), sums)| (res, account, dim, at_ms, value, sums))
        });
        sorted(rows, |(res, account, dim, at_ms, value, _)| (*account, *res, *dim, *at_ms, *value))
    }

    /// Resolution, account, dimension, start, value, place and sums of every pair, in the order of the table's key.
    pub fn pairs(&self, ids: Ids<'_>) -> Vec<(Res, i64, Dim, i64, i64, i64, Sums)> {
        let mut windows: Map<(Res, i64, Dim, i64, i64, i64), Sums> = Map::default();
        for ((account, dim, day, zone_day, value, place), sums) in &self.pairs {
            for (res, at_ms) in self.days(*day, *zone_day) {
                let spot = (res, *account, *dim, at_ms, ids.of(*dim, *value), ids.place(*place));
                add_up(windows.entry(spot).or_default(), sums);
            }
        }
        let rows =
            windows.into_iter().map(|((res, account, dim, at_ms, value, place), sums)| (res, account, dim, at_ms, value, place, sums));
        sorted(rows, |(res, account, dim, at_ms, value, place, _)| (*account, *res, *dim, *at_ms, *value, *place))
    }

    /// Resolution, account, dimension, start, value and what is known of durations there, in the order of the table's key.
    pub fn durations(&self, ids: Ids<'_>) -> Vec<(Res, i64, Dim, i64, i64, Durations)> {
        let mut windows: Map<(Res, i64, Dim, i64, i64), Durations> = Map::default();
        for ((account, dim, finest, zone_day, value), durations) in &self.durations {
            let hour = in_hours(*dim).then_some((Res::Hour, *finest));
            for (res, at_ms) in hour.into_iter().chain(self.days(start(*finest, DAY_MS), *zone_day)) {
                windows.entry((res, *account, *dim, at_ms, ids.of(*dim, *value))).or_default().add(durations);
            }
        }
        let rows = windows.into_iter().map(|((res, account, dim, at_ms, value), durations)| (res, account, dim, at_ms, value, durations));
        sorted(rows, |(res, account, dim, at_ms, value, _)| (*account, *res, *dim, *at_ms, *value))
    }

    /// Resolution, account, start, place, class and count of every error, in the order of the table's key.
    pub fn errors(&self, ids: Ids<'_>) -> Vec<(Res, i64, i64, i64, &str, i64)> {
        let mut windows: Map<(Res, i64, i64, i64, usize), i64> = Map::default();
        for ((account, hour, place, class), count) in &self.errors {
            let day = start(*hour, DAY_MS);
            for (res, at_ms) in [(Res::Hour, *hour), (Res::Day, day), (Res::Month, month_start(day))] {
                *windows.entry((res, *account, at_ms, ids.place(*place), *class)).or_default() += count;
            }
        }
        let rows = windows
            .into_iter()
            .map(|((res, account, at_ms, place, class), count)| (res, account, at_ms, place, self.texts.1[class].as_ref(), count));
        sorted(rows, |(res, account, at_ms, place, _, _)| (*account, *res, *at_ms, *place))
    }

    /// The windows that pairs and durations of a day stand in.
    fn days(&self, day: i64, zone_day: i64) -> impl Iterator<Item = (Res, i64)> {
        let zone = (!self.clock.zone.is_empty()).then_some([(Res::ZoneDay, zone_day), (Res::ZoneMonth, month_start(zone_day))]);
        [(Res::Day, day), (Res::Month, month_start(day))].into_iter().chain(zone.into_iter().flatten())
    }
}

/// The dimensions whose days and months are also kept by place: what each did by model, provider and endpoint.
const IN_PAIRS: [Dim; 5] = [Dim::Key, Dim::Team, Dim::App, Dim::Arm, Dim::Preset];

/// Whether the durations of a dimension are also kept in hours.
fn in_hours(dim: Dim) -> bool {
    matches!(dim, Dim::Total | Dim::Place)
}

/// What they add up to is far below the limit: counts are believed up to 10¹², amounts are those of a ledger that holds them all in one number.
fn add_up(into: &mut Sums, sums: &Sums) {
    into.iter_mut().zip(sums).for_each(|(into, sum)| *into = into.saturating_add(*sum));
}

fn coarser(windows: &Map<Spot, Sums>, start_of: impl Fn(i64) -> i64) -> Map<Spot, Sums> {
    let mut found: Map<Spot, Sums> = Map::default();
    for ((account, dim, at_ms, value), sums) in windows {
        add_up(found.entry((*account, *dim, start_of(*at_ms), *value)).or_default(), sums);
    }
    found
}

fn sorted<R, K: Ord>(rows: impl Iterator<Item = R>, key: impl Fn(&R) -> K) -> Vec<R> {
    let mut rows: Vec<R> = rows.collect();
    rows.sort_by_key(key);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_MS: i64 = 1_763_742_000_000; // 2025-11-21, 16:20 UTC

    fn taken(settled_ms: i64) -> Taken<'static> {
        Taken {
            account: 1,
            key: 7,
            team: 0,
            user: 3,
            settled_ms,
            place: Place { model: "acme/fast", provider: "lab", endpoint: 5 },
            app: "app.example",
            split: "",
            arm: "",
            preset: "resilient",
            sums: [1; SUMS],
            first_content_us: Some(250_000),
            whole_us: None,
            error: "",
        }
    }

    #[test]
    fn months_begin_where_the_calendar_says() {
        for (at_ms, month) in [
            (AT_MS, 1_761_955_200_000),
            (0, 0),
            (-1, 0),
            (951_782_400_000, 949_363_200_000),     // 2000-02-29
            (1_709_164_799_999, 1_706_745_600_000), // 2024-02-28
            (1_704_067_199_999, 1_701_388_800_000), // 2023-12-31
        ] {
            assert_eq!(month_start(at_ms), month, "{at_ms}");
        }
    }

    #[test]
    fn every_window_of_every_dimension_has_the_sums() {
        let mut fold = Fold::new(Clock::default());
        fold.fold(&taken(AT_MS));
        fold.fold(&taken(AT_MS + 59_000));
        fold.fold(&taken(AT_MS + MINUTE_MS));
        let ids = Ids { places: &[40], names: &[50, 51] };
        assert_eq!(fold.names().collect::<Vec<_>>(), [(Dim::App, "app.example", ""), (Dim::Preset, "resilient", "")]);
        let rows = fold.rollups(ids);
        // Six dimensions; two minutes, one of everything else.
        assert_eq!(rows.len(), 6 * (2 + 4));
        let requests = |res: Res, dim: Dim| -> i64 { rows.iter().filter(|row| (row.0, row.2) == (res, dim)).map(|row| row.5[0]).sum() };
        for res in [Res::Minute, Res::Quarter, Res::Hour, Res::Day, Res::Month] {
            for dim in [Dim::Total, Dim::Place, Dim::Key, Dim::User, Dim::App, Dim::Preset] {
                assert_eq!(requests(res, dim), 3, "{res:?} {dim:?}");
            }
        }
        assert!(rows.iter().all(|row| row.4 == [0, 40, 7, 0, 3, 50, 0, 51, 0][row.2 as usize]));
        let pairs: Vec<_> =
            fold.pairs(ids).into_iter().map(|(res, _, dim, _, value, place, sums)| (res, dim, value, place, sums[0])).collect();
        let day = [(Dim::Key, 7), (Dim::App, 50), (Dim::Preset, 51)].map(|(dim, value)| (Res::Day, dim, value, 40, 3));
        assert_eq!(pairs, [day, day.map(|pair| (Res::Month, pair.1, pair.2, pair.3, pair.4))].concat());
        let durations: Vec<_> =
            fold.durations(ids).iter().map(|row| (row.0, row.2, row.4, row.5.first_content.total(), row.5.whole.total())).collect();
        let place = |res| (res, Dim::Place, 40, 3, 0);
        let key = |res| (res, Dim::Key, 7, 3, 0);
        let preset = |res| (res, Dim::Preset, 51, 3, 0);
        let total = |res| (res, Dim::Total, 0, 3, 0);
        let of_days = |res| [total(res), place(res), key(res), preset(res)];
        assert_eq!(durations, [&[total(Res::Hour), place(Res::Hour)][..], &of_days(Res::Day), &of_days(Res::Month)].concat());
    }

    #[test]
    fn a_zone_has_days_of_its_own() {
        // Half an hour past midnight in Kathmandu (+5:45), then an hour earlier.
        let ahead_ms = 23 * QUARTER_MS;
        let midnight_utc = start(AT_MS, DAY_MS);
        let mut fold = Fold::new(Clock::new(vec![(i64::MIN, ahead_ms)]));
        fold.fold(&taken(midnight_utc - ahead_ms + 30 * MINUTE_MS));
        fold.fold(&taken(midnight_utc - ahead_ms - 30 * MINUTE_MS));
        let ids = Ids { places: &[1], names: &[1, 2] };
        let days: Vec<_> =
            fold.rollups(ids).into_iter().filter(|row| row.0 == Res::ZoneDay && row.2 == Dim::Total).map(|row| row.3).collect();
        assert_eq!(days, [midnight_utc - DAY_MS, midnight_utc]);
        for rows in [
            fold.pairs(ids).iter().filter(|row| row.0 == Res::ZoneDay).count(),
            fold.durations(ids).iter().filter(|row| row.0 == Res::ZoneDay).count(),
        ] {
            assert!(rows >= 4 && rows % 2 == 0, "{rows}");
        }
    }

    #[test]
    fn a_shadow_has_a_cost_where_requests_are_counted_and_all_of_it_by_itself() {
        let sums: Sums = std::array::from_fn(|index| index as i64 + 1);
        let mut fold = Fold::new(Clock::default());
        fold.fold_shadow(&Taken { sums, split: "acme/any", arm: "a", error: "timeout", ..taken(AT_MS) });
        let ids = Ids { places: &[1], names: &[2, 3] };
        assert!(fold.errors(ids).is_empty());
        let durations: Vec<_> = fold.durations(ids).iter().map(|row| (row.0, row.2, row.4)).collect();
        assert_eq!(durations, [(Res::Day, Dim::Shadow, 3), (Res::Month, Dim::Shadow, 3)]);
        let mut cost = [0; SUMS];
        cost[UPSTREAM_COST] = sums[UPSTREAM_COST];
        for (_, _, dim, _, _, found) in fold.rollups(ids) {
            assert_eq!(found, if dim == Dim::Shadow { sums } else { cost }, "{dim:?}");
            assert!(!matches!(dim, Dim::Arm | Dim::Preset));
        }
    }
}
