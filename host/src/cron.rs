//! Cron schedules, and when they fire.
//!
//! ```text
//! grammar    the syntax of schedules
//! dst        from wall-clock times to instants, including daylight-saving changes
//! missed     firings that were missed
//! policies   the options, by name
//! ```
//!
//! `grammar` defines the syntax. The library `croner` gets only expressions that it accepts, except
//! for schedules that an older release stored.
//!
//! Invariant: no clock and no I/O. Instants are microseconds since 1970-01-01T00:00:00Z; schedules
//! fire on whole seconds.

mod dst;
mod grammar;
mod missed;
mod policies;
#[cfg(test)]
mod tests;

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};
use croner::{CronPattern, Weekday};

use self::dst::WallClock;
pub use self::grammar::Refused;
pub use self::missed::{LATE_US_MAX, MISSED_MAX, Missed};
pub use self::policies::{Dst, Misfire, Overlap};

const US_PER_SECOND: i64 = 1_000_000;

/// The maximum length of an expression.
pub const EXPRESSION_BYTES_MAX: usize = 256;

/// How many days a search covers. A 29 February on a given weekday can be 40 years away if a year
/// such as 2100, which is not a leap year, lies between.
const DAYS_AHEAD_MAX: u64 = 50 * 366;

/// The start of the search that checks whether an expression ever fires: 2000-01-01T00:00:00Z.
const PROBE_US: i64 = 946_684_800 * US_PER_SECOND;

/// A cron expression in a time zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Matches the days.
    pattern: CronPattern,
    seconds: Vec<u32>,
    minutes: Vec<u32>,
    hours: Vec<u32>,
    clock: WallClock,
    /// Why this release would refuse the expression, if an older release stored it.
    objection: Option<Refused>,
}

impl Schedule {
    /// Parses an expression and the name of an IANA time zone.
    ///
    /// # Errors
    /// `Refused` if one of them is invalid, or if the schedule never fires.
    pub fn parse(expression: &str, zone: &str, dst: Dst) -> Result<Self, Refused> {
        if expression.len() > EXPRESSION_BYTES_MAX {
            let reason = format!("it has more than {EXPRESSION_BYTES_MAX} bytes");
            return Err(Refused::schedule(expression, reason));
        }
        let normal = grammar::normalise(expression)?;
        Self::of_library(expression, &normal, zone, dst)
    }

    /// Parses a stored schedule. An expression that only an older release accepted keeps its
    /// meaning: the library parses it unchanged, and [`Schedule::objection`] returns why it would
    /// be refused now.
    ///
    /// # Errors
    /// `Refused` if the library cannot parse it either.
    pub fn parse_stored(expression: &str, zone: &str, dst: Dst) -> Result<Self, Refused> {
        Self::parse(expression, zone, dst).or_else(|refused| {
            let schedule = Self::of_library(expression, expression, zone, dst)?;
            Ok(Self { objection: Some(refused), ..schedule })
        })
    }

    /// Returns why this release would refuse the schedule, if it would.
    #[must_use]
    pub fn objection(&self) -> Option<&Refused> {
        self.objection.as_ref()
    }

    /// Parses `normal`, the normal form of `expression`, with the library.
    fn of_library(expression: &str, normal: &str, zone: &str, dst: Dst) -> Result<Self, Refused> {
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed);
        let pattern = match parser.build().parse(normal) {
            Ok(cron) => cron.pattern,
            Err(error) => return Err(Refused::schedule(expression, error.to_string())),
        };
        let zone: Tz = zone.parse().map_err(|_| Refused {
            field: "zone",
            given: zone.to_owned(),
            reason: "it is not a time zone".to_owned(),
            allowed: "names of the IANA database, such as Europe/Berlin".to_owned(),
        })?;
        let values = |field: Vec<u16>| field.into_iter().map(u32::from).collect();
        let schedule = Self {
            seconds: values(pattern.seconds.values()),
            minutes: values(pattern.minutes.values()),
            hours: values(pattern.hours.values()),
            clock: WallClock { zone, dst, is_elapsing: is_elapsing(pattern.as_str()) },
            pattern,
            objection: None,
        };
        match schedule.next_after(PROBE_US) {
            Some(_) => Ok(schedule),
            None => Err(Refused::schedule(expression, "it never fires")),
        }
    }

    /// Returns the first firing strictly after an instant; `None` if it is more than 50 years away,
    /// or if the calendar ends.
    #[must_use]
    pub fn next_after(&self, us: i64) -> Option<i64> {
        let after = us.div_euclid(US_PER_SECOND);
        let first = self.first_after(after, false);
        let next = if self.clock.repeats() {
            let again = self.first_after(after, true);
            first.into_iter().chain(again).min()
        } else {
            first
        };
        next?.checked_mul(US_PER_SECOND)
    }

    /// Returns the first `n` firings strictly after an instant, in order.
    #[must_use]
    pub fn upcoming(&self, after_us: i64, n: usize) -> Vec<i64> {
        let next = |us: &i64| self.next_after(*us);
        std::iter::successors(self.next_after(after_us), next).take(n).collect()
    }

    /// Returns the first firing after `after`. Steps through the matching wall-clock times. Each
    /// stands for its first instant or, with `again`, for its last. In both cases later times are
    /// later instants.
    fn first_after(&self, after: i64, again: bool) -> Option<i64> {
        let mut local = self.clock.start_of_walk(after, again)?;
        let last_day = local.date().checked_add_days(Days::new(DAYS_AHEAD_MAX))?;
        loop {
            local = self.next_match(local, last_day)?;
            if let Some(at) = self.clock.instant(local, again)
                && at > after
            {
                return Some(at);
            }
            local = local.checked_add_signed(TimeDelta::seconds(1))?;
        }
    }

    /// Returns the first wall-clock time at or after `from` that matches.
    fn next_match(&self, from: NaiveDateTime, last_day: NaiveDate) -> Option<NaiveDateTime> {
        if self.matches_day(from.date())
            && let Some(time) = self.next_time(from.time())
        {
            return Some(from.date().and_time(time));
        }
        let midnight = self.next_time(NaiveTime::MIN)?;
        let mut days = from.date().iter_days().skip(1).take_while(|day| *day <= last_day);
        days.find(|day| self.matches_day(*day)).map(|day| day.and_time(midnight))
    }

    fn matches_day(&self, day: NaiveDate) -> bool {
        let weekday = Weekday::from_days_from_sunday(day.weekday().num_days_from_sunday());
        self.pattern.month_match(day.month()).unwrap_or(false)
            && self.pattern.day_match(day.year(), day.month(), day.day(), weekday).unwrap_or(false)
    }

    fn next_time(&self, from: NaiveTime) -> Option<NaiveTime> {
        let from = (from.hour(), from.minute(), from.second());
        for hour in self.hours.iter().copied().filter(|hour| *hour >= from.0) {
            for minute in self.minutes.iter().copied() {
                if (hour, minute) < (from.0, from.1) {
                    continue;
                }
                let mut seconds = self.seconds.iter().copied();
                if let Some(second) = seconds.find(|second| (hour, minute, *second) >= from) {
                    return NaiveTime::from_hms_opt(hour, minute, second);
                }
            }
        }
        None
    }
}

/// Whether the hour or minute begins with `*`, so that the schedule describes intervals and not a
/// time of day.
fn is_elapsing(expression: &str) -> bool {
    let fields: Vec<&str> = expression.split_whitespace().collect();
    let without_seconds = fields.len().saturating_sub(5);
    fields.iter().skip(without_seconds).take(2).any(|field| field.starts_with('*'))
}
