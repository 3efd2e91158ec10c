//! The Gregorian calendar in UTC: days from dates, dates from days, and the intervals that budgets and daily limits are counted in.
//!
//! Integers, from 1970 on; leap seconds do not exist, as in Unix time. The arithmetic is Howard Hinnant's ("chrono-compatible low-level date
//! algorithms"): years begin in March, so that the leap day is a year's last.

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;

/// From the first of March of the year 0 to the first of January 1970.
const DAYS_BEFORE_1970: u64 = 719_468;
const DAYS_OF_ERA: u64 = 146_097;
const YEARS_OF_ERA: u64 = 400;

/// Days from the first of January 1970 to a date from then on; `month` is 1 to 12, `day` begins with 1.
///
/// A day that the month does not have is counted on into the next one. A date before 1970 is day 0. Years may have 15 digits.
pub const fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let shifted_year = if month > 2 { year } else { year.saturating_sub(1) };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * shifted_year + shifted_year / 4 - shifted_year / 100 + shifted_year / 400 + day_of_year;
    days.saturating_sub(DAYS_BEFORE_1970)
}

/// Year, month (1 to 12) and day (1 to 31) so many days after the first of January 1970.
pub const fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_BEFORE_1970;
    let (era, day_of_era) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * YEARS_OF_ERA + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// What is counted together, in UTC; the words are OpenRouter's `limit_reset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interval {
    /// A day from midnight.
    Daily,
    /// Seven days from Monday's midnight.
    Weekly,
    /// A month from the midnight of its first.
    Monthly,
    /// Everything: it never begins anew.
    Total,
}

impl Interval {
    /// All of them that begin anew, by name.
    pub const NAMED: [(&'static str, Interval); 3] =
        [("daily", Interval::Daily), ("weekly", Interval::Weekly), ("monthly", Interval::Monthly)];

    /// The interval of this name; what never begins anew has none.
    pub fn from_name(name: &str) -> Option<Interval> {
        Interval::NAMED.iter().find(|(known, _)| *known == name).map(|(_, interval)| *interval)
    }

    /// When the interval that `unix_ms` lies in began, Unix milliseconds; 0 for [`Interval::Total`].
    ///
    /// The first week began on Monday, the 29th of December 1969: it counts from 0.
    pub const fn start_ms(self, unix_ms: u64) -> u64 {
        let days = unix_ms / DAY_MS;
        match self {
            Interval::Daily => days * DAY_MS,
            Interval::Weekly => days.saturating_sub(days_since_monday(days)) * DAY_MS,
            Interval::Monthly => {
                let (year, month, _) = civil_from_days(days);
                days_from_civil(year, month, 1) * DAY_MS
            }
            Interval::Total => 0,
        }
    }

    /// When the next one begins, Unix milliseconds; `None` for [`Interval::Total`].
    pub const fn end_ms(self, unix_ms: u64) -> Option<u64> {
        let days = unix_ms / DAY_MS;
        let next = match self {
            Interval::Daily => days + 1,
            Interval::Weekly => days + 7 - days_since_monday(days),
            Interval::Monthly => match civil_from_days(days) {
                (year, 12, _) => days_from_civil(year + 1, 1, 1),
                (year, month, _) => days_from_civil(year, month + 1, 1),
            },
            Interval::Total => return None,
        };
        Some(next.saturating_mul(DAY_MS))
    }
}

/// How far a clock may be behind the beginning of an interval that a counter has already been in.
///
/// Up to this much, what is counted still counts in that interval: one that has begun is not gone back from, whatever the order of arrival
/// around midnight. A clock that is further back had been wrong: the interval becomes the one it shows now, with what was counted so far, so
/// that a counter is never locked by a date in the future and nothing is given twice for the step itself.
pub const SET_BACK_MS: u64 = 3_600_000;

/// What becomes of a counter of an interval as time goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It goes on.
    Stays,
    /// A later interval has begun, at this moment: it counts from 0.
    Begins(u64),
    /// The clock was set back by more than [`SET_BACK_MS`]: it goes on with what it has, in the interval that began at this moment.
    SetBack(u64),
}

impl Interval {
    /// What becomes at `now_ms` of a counter whose interval began at `start_ms`.
    pub const fn turn(self, start_ms: u64, now_ms: u64) -> Turn {
        let now_start_ms = self.start_ms(now_ms);
        if now_start_ms > start_ms {
            Turn::Begins(now_start_ms)
        } else if start_ms.saturating_sub(now_ms) > SET_BACK_MS {
            Turn::SetBack(now_start_ms)
        } else {
            Turn::Stays
        }
    }
}

/// The first of January 1970 was a Thursday.
const fn days_since_monday(days: u64) -> u64 {
    (days + 3) % 7
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every day of 800 years, counted up by the rules of leap years as one learns them at school.
    #[test]
    fn every_day_has_its_date_and_every_date_its_day() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        let (mut month_began, mut week_began) = (0, 0);
        for days in 0..292_194 {
            assert_eq!(civil_from_days(days), (year, month, day));
            assert_eq!(days_from_civil(year, month, day), days);
            // The fourth day was a Sunday.
            week_began = if days >= 4 && (days - 4) % 7 == 0 { days } else { week_began };
            month_began = if day == 1 { days } else { month_began };
            let noon = days * DAY_MS + DAY_MS / 2;
            assert_eq!(Interval::Daily.start_ms(noon), days * DAY_MS);
            assert_eq!(Interval::Weekly.start_ms(noon), week_began * DAY_MS);
            assert_eq!(Interval::Monthly.start_ms(noon), month_began * DAY_MS);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1];
            (year, month, day) = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (_, last) if last == length => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
        }
    }

    #[test]
    fn intervals_meet_without_a_gap() {
        fn check(interval: Interval, unix_ms: u64, start: (u64, u64, u64), end: (u64, u64, u64)) {
            let at = |(year, month, day)| days_from_civil(year, month, day) * DAY_MS;
            assert_eq!(interval.start_ms(unix_ms), at(start), "{interval:?} {unix_ms}");
            assert_eq!(interval.end_ms(unix_ms), Some(at(end)), "{interval:?} {unix_ms}");
        }
        // Saturday, the 21st of November 2026, 19:33:20 UTC.
        let now = 1_795_289_600_000;
        check(Interval::Daily, now, (2026, 11, 21), (2026, 11, 22));
        check(Interval::Weekly, now, (2026, 11, 16), (2026, 11, 23));
        check(Interval::Monthly, now, (2026, 11, 1), (2026, 12, 1));
        let last_of_year = days_from_civil(2027, 1, 1) * DAY_MS - 1;
        check(Interval::Daily, last_of_year, (2026, 12, 31), (2027, 1, 1));
        check(Interval::Weekly, last_of_year, (2026, 12, 28), (2027, 1, 4));
        check(Interval::Monthly, last_of_year, (2026, 12, 1), (2027, 1, 1));
        check(Interval::Monthly, days_from_civil(2028, 2, 29) * DAY_MS, (2028, 2, 1), (2028, 3, 1));
        check(Interval::Weekly, 0, (1970, 1, 1), (1970, 1, 5));
        assert_eq!((Interval::Total.start_ms(now), Interval::Total.end_ms(now)), (0, None));
    }

    #[test]
    fn no_time_is_too_late() {
        for interval in [Interval::Daily, Interval::Weekly, Interval::Monthly, Interval::Total] {
            assert!(interval.start_ms(u64::MAX) < u64::MAX);
            assert_ne!(interval.end_ms(u64::MAX), Some(0));
        }
        assert_eq!(days_from_civil(1969, 12, 31), 0);
        assert_eq!(days_from_civil(0, 1, 1), 0);
    }

    #[test]
    fn names_are_openrouters() {
        for (name, interval) in Interval::NAMED {
            assert_eq!(Interval::from_name(name), Some(interval));
        }
        assert_eq!(Interval::from_name("Daily"), None);
    }
}
