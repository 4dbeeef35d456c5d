//! Converts wall-clock times to instants.
//!
//! ```text
//! spring    01:59:59 │ 03:00:00          a gap: 02:30 does not exist
//! autumn    02:59:59 │ 02:00:00          a fold: 02:30 exists twice
//! ```
//!
//! A schedule at a time of day follows its policy on these days:
//!
//! ```text
//!        in a gap                                in a fold
//! skip   does not fire                           fires the first time
//! once   fires at the first instant after it     fires the first time
//! both   fires at the first instant after it     fires both times
//! ```
//!
//! Several times in one gap map to one instant and fire once. A schedule whose hour or minute
//! begins with `*`, such as `0 * * * *` or `*/5 * * * *`, describes intervals. Under every policy
//! it fires at each instant whose wall-clock time matches, as in Vixie cron.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;

use super::Dst;

/// How a schedule interprets wall-clock times.
#[derive(Debug, Clone)]
pub(super) struct WallClock {
    pub(super) zone: Tz,
    pub(super) dst: Dst,
    /// Whether the schedule describes intervals.
    pub(super) is_elapsing: bool,
}

impl WallClock {
    /// Whether a time that exists twice fires twice.
    pub(super) fn repeats(&self) -> bool {
        self.is_elapsing || self.dst == Dst::Both
    }

    /// Returns the instant at which a wall-clock time fires, in seconds. For a time that exists
    /// twice this is the first instant or, with `again`, the last.
    pub(super) fn instant(&self, local: NaiveDateTime, again: bool) -> Option<i64> {
        match self.zone.from_local_datetime(&local) {
            MappedLocalTime::Single(at) => Some(at.timestamp()),
            MappedLocalTime::Ambiguous(first, last) => {
                Some(if again { last.timestamp() } else { first.timestamp() })
            }
            MappedLocalTime::None if self.is_elapsing || self.dst == Dst::Skip => None,
            MappedLocalTime::None => self.end_of_gap(local),
        }
    }

    /// Returns a wall-clock time such that no earlier time has an instant after `after`.
    ///
    /// This is the time at `after`, unless that time occurs again. Then earlier times occur again
    /// too, back to the start of the fold.
    pub(super) fn start_of_walk(&self, after: i64, again: bool) -> Option<NaiveDateTime> {
        let local = self.local(after)?;
        if again
            && let Some(last) = self.instant(local, true)
            && last > after
        {
            let turned = |at: i64| self.offset(at) == self.offset(last);
            return self.local(first_where(after, last, turned));
        }
        Some(local)
    }

    /// Returns the first instant whose wall-clock time is after one that does not exist.
    fn end_of_gap(&self, local: NaiveDateTime) -> Option<i64> {
        // No zone was ever a day away from UTC, and no gap was longer than a day.
        let far = TimeDelta::days(2).num_seconds();
        let as_utc = local.and_utc().timestamp();
        // A time exists at both ends, unless the calendar ends.
        self.local(as_utc - far)?;
        self.local(as_utc + far)?;
        let is_past = |at: i64| self.local(at).is_some_and(|there| there > local);
        Some(first_where(as_utc - far, as_utc + far, is_past))
    }

    fn local(&self, at: i64) -> Option<NaiveDateTime> {
        let utc = DateTime::from_timestamp(at, 0)?.naive_utc();
        utc.checked_add_offset(self.zone.offset_from_utc_datetime(&utc).fix())
    }

    fn offset(&self, at: i64) -> Option<i32> {
        let utc = DateTime::from_timestamp(at, 0)?.naive_utc();
        Some(self.zone.offset_from_utc_datetime(&utc).fix().local_minus_utc())
    }
}

/// Returns the first second after `before` at which `holds` is true. It must be false at `before`,
/// true at `end`, and change once in between.
fn first_where(mut before: i64, mut end: i64, holds: impl Fn(i64) -> bool) -> i64 {
    while end - before > 1 {
        let middle = before + (end - before) / 2;
        if holds(middle) {
            end = middle;
        } else {
            before = middle;
        }
    }
    end
}
